//! The syntax of flag values: Go's booleans, numbers and durations, sizes as in `redis.conf`, and `host:port`.
//!
//! Pure functions over text. Knows no flag; what a flag accepts beyond the syntax is said in `flags`.

use std::time::Duration;

/// A boolean as Go's `strconv.ParseBool` reads it.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A duration as Go's `time.ParseDuration` reads it: `250ms`, `3s`, `1m30s`, `1.5h`, `0`.
///
/// `None` for anything else, for negative durations, and for more than Go's 2^63-1 nanoseconds (292 years).
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut nanos: u128 = 0;
    loop {
        let (amount, after) = decimal(rest)?;
        let unit_len = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_len)?;
        nanos = nanos.checked_add(amount.times(unit_nanos(unit)?)?)?;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    i64::try_from(nanos).ok().and_then(|n| u64::try_from(n).ok()).map(Duration::from_nanos)
}

/// A number of bytes as in `redis.conf`: plain, or with `b`, `k` (1000), `kb` (1024), `m`, `mb`, `g`, `gb`, any case.
pub(super) fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Splits `host:port` at the last colon, so that IPv6 addresses may stand with or without brackets.
///
/// The host comes without brackets and may be empty. `None` when there is no colon, when the port is not a number
/// up to 65535, or when the host cannot be one (stray brackets, spaces, a colon in something that is no IPv6 address).
pub(super) fn host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return None; // `parse` would take "+1"
    }
    let port = port.parse().ok()?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').filter(|h| is_ipv6(h))?,
        None => host,
    };
    let well_formed = is_ipv6(host) || !host.contains(|c: char| c.is_whitespace() || ":[]/".contains(c));
    well_formed.then_some((host, port))
}

/// `host:port` in the one form that the resolver takes: brackets around IPv6 addresses.
pub(super) fn join_host_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// An unsigned decimal number, exact: `digits` divided by `scale`.
struct Decimal {
    digits: u128,
    scale: u128,
}

impl Decimal {
    fn times(&self, factor: u64) -> Option<u128> {
        Some(self.digits.checked_mul(u128::from(factor))? / self.scale)
    }
}

/// Reads digits with at most one point; at least one digit must stand on either side of it.
fn decimal(text: &str) -> Option<(Decimal, &str)> {
    /// Fraction digits beyond this many are below a nanosecond in every unit.
    const FRACTION_DIGITS: u32 = 18;
    let mut number = Decimal { digits: 0, scale: 1 };
    let (mut seen_digit, mut in_fraction, mut fraction_len) = (false, false, 0);
    let mut end = text.len();
    for (at, c) in text.char_indices() {
        match c.to_digit(10) {
            Some(_) if in_fraction && fraction_len == FRACTION_DIGITS => seen_digit = true,
            Some(digit) => {
                seen_digit = true;
                number.digits = number.digits.checked_mul(10)?.checked_add(u128::from(digit))?;
                if in_fraction {
                    fraction_len += 1;
                    number.scale *= 10;
                }
            }
            None if c == '.' && !in_fraction => in_fraction = true,
            None => {
                end = at;
                break;
            }
        }
    }
    let rest = text.get(end..)?;
    seen_digit.then_some((number, rest))
}

fn unit_nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

fn is_ipv6(host: &str) -> bool {
    // A zone ("%eth0") is the resolver's business; the address before it is checked.
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    address.parse::<std::net::Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        let good: &[(&str, u64)] = &[
            ("0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("30s", 30_000_000_000),
            ("250ms", 250_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("+5.s", 5_000_000_000),
            (".5s", 500_000_000),
            ("5.6s", 5_600_000_000),
            ("3h30m1s1ms1us1ns", 12_601_001_001_001),
            ("1\u{b5}s", 1_000),
            ("2\u{3bc}s", 2_000),
            ("0.3333333333333333333h", 1_200_000_000_000 - 1),
            ("9223372036854775807ns", i64::MAX as u64),
        ];
        for (text, nanos) in good {
            assert_eq!(duration(text), Some(Duration::from_nanos(*nanos)), "{text}");
        }
        let bad =
            ["", "3", "-", "+", "s", ".", ".s", "1.2.3s", "3x", "-3s", "3 s", "1d", "9223372036854775808ns"];
        for text in bad {
            assert_eq!(duration(text), None, "{text:?}");
        }
        assert_eq!(duration(&"9".repeat(60)), None);
    }

    #[test]
    fn sizes_read_as_in_redis_conf() {
        let good = [("0", 0), ("512", 512), ("1b", 1), ("1k", 1000), ("1kb", 1024), ("2MB", 2 << 20)];
        for (text, bytes) in
            good.into_iter().chain([("1m", 1_000_000), ("1g", 1_000_000_000), ("1Gb", 1 << 30)])
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in
            ["", "kb", "-1", "+1", "1 kb", "1tb", "1.5mb", "99999999999999999999", "99999999999gb", "1µ"]
        {
            assert_eq!(size(text), None, "{text:?}");
        }
    }

    #[test]
    fn addresses_split_at_the_last_colon() {
        let good = [
            ("localhost:80", ("localhost", 80)),
            (":0", ("", 0)),
            ("::1:7001", ("::1", 7001)),
            ("[fe80::1%eth0]:7001", ("fe80::1%eth0", 7001)),
            ("10.0.0.1:65535", ("10.0.0.1", 65535)),
        ];
        for (text, parts) in good {
            assert_eq!(host_port(text), Some(parts), "{text}");
        }
        let bad = [
            "",
            "host",
            "host:",
            "host:x",
            "host:65536",
            "host:+1",
            "a:b:1",
            "[::1:1",
            "[host]:1",
            "a b:1",
            "h/p:1",
        ];
        for text in bad {
            assert_eq!(host_port(text), None, "{text:?}");
        }
        assert_eq!(join_host_port("::1", 5), "[::1]:5");
        assert_eq!(join_host_port("h", 5), "h:5");
    }

    #[test]
    fn booleans_read_as_in_go() {
        assert_eq!(boolean("T"), Some(true));
        assert_eq!(boolean("False"), Some(false));
        assert_eq!(boolean("yes"), None);
        assert_eq!(boolean("tRUE"), None);
    }
}
