//! Decimal numbers as the protocol writes them.

/// Reads a decimal as a server does (`string2ll`): no plus sign, no blank, no leading zero, no `-0`, within `i64`.
pub(super) fn parse_i64(text: &[u8]) -> Option<i64> {
    match text {
        [b'0'] => Some(0),
        [b'-', digits @ ..] => magnitude(digits).and_then(|m| 0i64.checked_sub_unsigned(m)),
        digits => magnitude(digits).and_then(|m| i64::try_from(m).ok()),
    }
}

/// A positive number without leading zeros.
fn magnitude(digits: &[u8]) -> Option<u64> {
    if !matches!(digits, [b'1'..=b'9', ..]) || digits.len() > 19 {
        return None;
    }
    let mut value: u64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // 19 digits stay below 10^19, which is less than 2^64.
        value = value * 10 + u64::from(digit);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::parse_i64;

    #[test]
    fn takes_what_a_server_takes() {
        for number in [0, 1, -1, 9, 10, -10, 65536, i64::MAX, i64::MIN, i64::MIN + 1] {
            assert_eq!(parse_i64(number.to_string().as_bytes()), Some(number));
        }
    }

    #[test]
    fn refuses_what_a_server_refuses() {
        for text in ["", "-", "+1", "-0", "00", "01", "-01", " 1", "1 ", "1x", "x", "--1", "1-", "1\r"] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
        let beyond =
            ["9223372036854775808", "-9223372036854775809", "18446744073709551617", "99999999999999999999"];
        for text in beyond {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
    }
}
