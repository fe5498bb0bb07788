//! Decimal numbers as the protocol writes them.

/// The digit of a line `kind` digit CR, from its first four bytes (little-endian); the fourth is not looked at.
///
/// Subtracting what the line would be with the digit 0 leaves the digit, in its place, and nothing else: any other
/// byte leaves a bit elsewhere, and the rotation brings that above 9.
#[inline(always)]
pub(super) fn one_digit(word: u32, kind: u8) -> Option<usize> {
    let zero = u32::from_le_bytes([kind, b'0', b'\r', 0]);
    let digit = (word & 0x00ff_ffff).wrapping_sub(zero).rotate_right(8);
    if digit > 9 {
        return None;
    }
    Some(digit as usize)
}

/// The number in a line `kind` digit digit CR, from its four bytes (little-endian), the first digit not 0.
///
/// Works as [`one_digit`]: what is left is the tens in the lowest byte and the ones in the next.
#[inline(always)]
pub(super) fn two_digits(word: u32, kind: u8) -> Option<usize> {
    let zero = u32::from_le_bytes([kind, b'0', b'0', b'\r']);
    let digits = word.wrapping_sub(zero).rotate_right(8);
    let (tens, ones) = (digits & 0xff, digits >> 8);
    if tens.wrapping_sub(1) >= 9 || ones > 9 {
        return None;
    }
    Some((tens * 10 + ones) as usize)
}

/// Most digits that [`short_length`] reads.
const SHORT_DIGITS: usize = 7;

/// The length that `text` begins with and how many digits it has, up to seven and none of them a leading zero. A
/// longer number is cut off: the caller looks at what follows the digits.
#[inline]
pub(super) fn short_length(text: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    let mut count = 0;
    for byte in text.iter().take(SHORT_DIGITS) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        value = value * 10 + usize::from(digit);
        count += 1;
    }
    matches!(text.first(), Some(b'1'..=b'9')).then_some((value, count))
}

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
    use super::*;

    #[test]
    fn reads_one_and_two_digits_from_a_word() {
        for value in 0..=u32::from(u16::MAX) {
            let [a, b] = (value as u16).to_le_bytes();
            let one = (a.is_ascii_digit() && b == b'\r').then(|| usize::from(a - b'0'));
            assert_eq!(one_digit(u32::from_le_bytes([b'*', a, b, b'?']), b'*'), one);
            let text = std::str::from_utf8(&[a, b]).ok().map(str::to_owned);
            let two = text.filter(|_| a.is_ascii_digit() && b.is_ascii_digit() && a != b'0');
            assert_eq!(
                two_digits(u32::from_le_bytes([b'$', a, b, b'\r']), b'$'),
                two.and_then(|t| t.parse().ok())
            );
            assert_eq!(one_digit(u32::from_le_bytes([b'$', a, b, b'?']), b'*'), None);
            assert_eq!(two_digits(u32::from_le_bytes([b'$', a, b, b'\n']), b'$'), None);
        }
    }

    #[test]
    fn reads_short_lengths() {
        let cases =
            [("1\r", Some((1, 1))), ("1234567\r", Some((1_234_567, 7))), ("12345678", Some((1_234_567, 7)))];
        for (text, expected) in cases {
            assert_eq!(short_length(text.as_bytes()), expected, "{text}");
        }
        for text in ["", "0", "01", "-1", "x"] {
            assert_eq!(short_length(text.as_bytes()), None, "{text}");
        }
    }

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
