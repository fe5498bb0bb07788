//! The text of MOVED and ASK errors. Knows nothing of what is done with them.

use super::SLOTS;

/// What a node asks of whoever sent it a command for a slot it does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectKind {
    /// The slot has another owner from now on.
    Moved,
    /// Only this command goes elsewhere, behind an ASKING; the slot keeps its owner.
    Ask,
}

/// A MOVED or ASK error, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect<'a> {
    /// MOVED or ASK.
    pub kind: RedirectKind,
    /// The slot it is about, below [`SLOTS`].
    pub slot: u16,
    /// Host name or address without brackets; empty means the host of the node that answered.
    pub host: &'a str,
    /// Never 0.
    pub port: u16,
}

impl Redirect<'_> {
    /// Whether the node itself does not know where the other one is reached. Redis 7 says `?` for a node without
    /// `cluster-announce-hostname` when `cluster-preferred-endpoint-type` is `hostname`.
    pub fn host_is_unknown(&self) -> bool {
        self.host == "?"
    }
}

/// Reads `MOVED <slot> <host>:<port>` or `ASK ...`, with or without the leading `-` and the line end.
///
/// `None` for every other error, and for redirects that make no sense. Does not allocate.
#[inline]
pub fn parse_redirect(error: &[u8]) -> Option<Redirect<'_>> {
    let error = error.strip_prefix(b"-").unwrap_or(error);
    if let Some(rest) = error.strip_prefix(b"MOVED ") {
        return parse_target(RedirectKind::Moved, rest);
    }
    parse_target(RedirectKind::Ask, error.strip_prefix(b"ASK ")?)
}

fn parse_target(kind: RedirectKind, rest: &[u8]) -> Option<Redirect<'_>> {
    let rest = rest.strip_suffix(b"\r\n").unwrap_or(rest);
    let space = memchr::memchr(b' ', rest)?;
    let slot = parse_u16(&rest[..space]).filter(|s| usize::from(*s) < SLOTS)?;
    let endpoint = &rest[space + 1..];
    // An IPv6 address comes without brackets, so only the last colon is certain.
    let colon = memchr::memrchr(b':', endpoint)?;
    let port = parse_u16(&endpoint[colon + 1..]).filter(|p| *p != 0)?;
    let host = host_text(&endpoint[..colon])?;
    Some(Redirect { kind, slot, host, port })
}

fn host_text(host: &[u8]) -> Option<&str> {
    let inner = host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]")).unwrap_or(host);
    let printable = inner.iter().all(|b| b.is_ascii_graphic());
    std::str::from_utf8(inner).ok().filter(|_| printable)
}

/// Digits only: no sign, no blanks, nothing above `u16::MAX`.
fn parse_u16(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 {
        return None;
    }
    let mut value = 0u32;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + u32::from(digit - b'0');
    }
    u16::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_taken_apart() {
        use RedirectKind::{Ask, Moved};
        // The second and third are what Redis 7.0.15 sends with an unknown-endpoint and a missing host name.
        let cases: &[(&str, RedirectKind, u16, &str, u16)] = &[
            ("MOVED 3999 127.0.0.1:6381", Moved, 3999, "127.0.0.1", 6381),
            ("-MOVED 12182 :7913\r\n", Moved, 12182, "", 7913),
            ("-MOVED 5061 ?:7912\r\n", Moved, 5061, "?", 7912),
            ("-MOVED 12182 node7913.example.com:7913\r\n", Moved, 12182, "node7913.example.com", 7913),
            ("ASK 0 ::1:7001", Ask, 0, "::1", 7001),
            ("ASK 16383 [fe80::1]:65535", Ask, 16383, "fe80::1", 65535),
            ("-ASK 1 2001:db8::7:7001", Ask, 1, "2001:db8::7", 7001),
        ];
        for (text, kind, slot, host, port) in cases {
            let expected = Redirect { kind: *kind, slot: *slot, host, port: *port };
            assert_eq!(parse_redirect(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_errors_and_malformed_redirects_are_none() {
        let cases: &[&[u8]] = &[
            b"",
            b"-",
            b"ERR unknown command",
            b"MOVED",
            b"MOVED ",
            b"MOVED 1",
            b"MOVED 1 ",
            b"MOVED 1 host",
            b"MOVED 1 host:",
            b"MOVED 1 host:0",
            b"MOVED 1 host:65536",
            b"MOVED 1 host:99999999999999999999",
            b"MOVED 1 host:-1",
            b"MOVED 16384 h:1",
            b"MOVED -1 h:1",
            b"MOVED x h:1",
            b"MOVED  1 h:1",
            b"MOVED 99999999999999999999 h:1",
            b"MOVED 1 h h:1",
            b"MOVED 1 h:1 more",
            b"MOVED 1 \xff\xfe:1",
            b"moved 1 h:1",
            b"MOVED1 1 h:1",
            b"ASKING 1 h:1",
            b"ASK 1",
        ];
        for text in cases {
            assert_eq!(parse_redirect(text), None, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn every_cut_of_a_redirect_is_harmless() {
        let whole = b"-MOVED 12182 ::1:7913\r\n";
        for end in 0..whole.len() {
            if let Some(redirect) = parse_redirect(&whole[..end]) {
                assert_eq!((redirect.slot, redirect.host.is_empty()), (12182, false));
            }
        }
    }

    #[test]
    fn an_unknown_host_says_so() {
        assert!(parse_redirect(b"MOVED 1 ?:7001").is_some_and(|r| r.host_is_unknown()));
        assert!(parse_redirect(b"MOVED 1 :7001").is_some_and(|r| !r.host_is_unknown()));
    }
}
