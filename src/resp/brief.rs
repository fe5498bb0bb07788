//! The requests that most traffic consists of, found with as few instructions as possible: a short name, up to eight
//! arguments behind it, nothing missing. Whatever is not of that shape is [`super::RequestParser`]'s; both must agree on
//! where such a request ends and what is in it.

use super::number::{one_digit, short_length, two_digits};

/// The longest name, bytes.
const NAME: usize = 8;
/// Most digits of the length of an argument.
const DIGITS: usize = 4;
/// The longest frame of such a request, bytes: nine arguments of 9999 bytes, each with its framing.
pub const LONGEST_BRIEF: usize = 4 + 9 * (9_999 + 9);

/// A request that is all here, with a name and at least one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brief {
    /// The name, its first byte lowest, moved up so that its last byte is the highest; zeros below it.
    pub name: u64,
    /// Bytes of the name, 1 to 8.
    pub name_len: usize,
    /// Number of arguments, the name included.
    pub args: usize,
    /// Where argument 1 begins.
    pub start: usize,
    /// Where argument 1 ends.
    pub end: usize,
    /// Bytes of the frame.
    pub len: usize,
}

/// The request at the start of `bytes`, if it is such a one.
#[inline(always)]
pub fn brief(bytes: &[u8]) -> Option<Brief> {
    let head: &[u8; 16] = bytes.first_chunk()?;
    let (lines, name) = head.split_at(8);
    let lines = u64::from_le_bytes(*lines.first_chunk()?);
    let (args, name_len) = head_of(lines)?;
    let name = u64::from_le_bytes(*name.first_chunk()?) << (64 - 8 * name_len);
    let (start, end) = body(bytes, 8 + name_len + 2)?;
    let mut at = end + 2;
    for _ in 2..args {
        at = body(bytes, at)?.1 + 2;
    }
    (at <= bytes.len()).then_some(Brief { name, name_len, args, start, end, len: at })
}

/// The digits in the lines `*` digit CR LF `$` digit CR LF, the first one 2 to 9 and the other 1 to 8.
#[inline(always)]
fn head_of(lines: u64) -> Option<(usize, usize)> {
    // Subtracting what the lines would be with zeros leaves the digits and nothing else: any other byte leaves more.
    let digits = lines.wrapping_sub(u64::from_le_bytes(*b"*0\r\n$0\r\n"));
    if digits & !0x0000_0f00_0000_0f00 != 0 {
        return None;
    }
    let (args, name_len) = ((digits >> 8) as usize & 0xff, (digits >> 40) as usize);
    ((2..=9).contains(&args) && (1..=NAME).contains(&name_len)).then_some((args, name_len))
}

/// Where the argument at `at` begins and ends, its length at most four digits long.
#[inline(always)]
fn body(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = bytes.get(at..)?;
    let word = u32::from_le_bytes(*rest.first_chunk()?);
    if let Some(len) = two_digits(word, b'$') {
        return Some((at + 5, at + 5 + len));
    }
    if let Some(len) = one_digit(word, b'$') {
        return Some((at + 4, at + 4 + len));
    }
    longer_body(rest).map(|(start, end)| (at + start, at + end))
}

#[inline(never)]
fn longer_body(rest: &[u8]) -> Option<(usize, usize)> {
    let line = rest.strip_prefix(b"$")?;
    let (len, digits) = short_length(line)?;
    let start = digits + 3;
    (digits <= DIGITS && line.get(digits) == Some(&b'\r')).then_some((start, start + len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::resp::{encode, Limits, Parsed, RequestParser};

    /// What the parser makes of a request that [`brief`] takes.
    fn assert_agrees(bytes: &[u8]) -> bool {
        let Some(found) = brief(bytes) else { return false };
        let mut parser = RequestParser::new();
        let parsed = parser.parse(bytes, &Limits::default());
        assert_eq!(parsed, Parsed::Request { len: found.len }, "{}", bytes.escape_ascii());
        let spans = parser.spans();
        assert_eq!(spans.len(), found.args);
        let (name, key) = (spans[0], spans[1]);
        assert_eq!((key.start as usize, key.end as usize), (found.start, found.end));
        let name = &bytes[name.start as usize..name.end as usize];
        assert_eq!(&found.name.to_le_bytes()[8 - found.name_len..], name);
        true
    }

    #[test]
    fn takes_short_requests_that_are_all_here() {
        let long = "x".repeat(9999);
        let cases: [&[&str]; 6] = [
            &["GET", "k"],
            &["SET", "key:000000000001", "xxx"],
            &["INCRBYFL", "", "0123456789"],
            &["SET", "k", &long, "EX", "3600"],
            &["A", "b", "c", "d", "e", "f", "g", "h", "i"],
            &["HSET", &long, ""],
        ];
        for case in cases {
            let mut bytes = Vec::new();
            encode::request(&mut bytes, case);
            for cut in 0..bytes.len() {
                assert_eq!(brief(&bytes[..cut]), None, "{case:?} {cut}");
            }
            assert!(assert_agrees(&bytes), "{case:?}");
            bytes.extend_from_slice(b"*1\r\n");
            assert!(assert_agrees(&bytes), "{case:?}");
            assert!(bytes.len() <= LONGEST_BRIEF);
        }
    }

    #[test]
    fn leaves_everything_else() {
        let longer = "x".repeat(10_000);
        for words in [&["PING"][..], &["INCRBYFLO", "k"], &["", "k"], &["SET", "k", &longer], &["A"; 10]] {
            let mut bytes = Vec::new();
            encode::request(&mut bytes, words);
            assert_eq!(brief(&bytes), None, "{words:?}");
        }
        for bytes in [
            &b"*2\r\n$3\r\nGET\r\n$-1\r\nxxxx"[..],
            b"*2\r\n$3\r\nGET\r\n$01\r\nxxxx",
            b"*2\r\n$3\r\nGET\r\n$00001\r\nxxxx",
            b"*2\r\n$3\r\nGET\r\n:1\r\nxxxx",
            b"*02\r\n$3\r\nGET\r\n$1\r\nk\r\n",
            b"*2\r\n$9\r\nGETGETGET\r\n$1\r\nk\r\n",
            b"*0\r\n$3\r\nGET\r\n$1\r\nk\r\n",
            b"GET some key or other\r\n",
        ] {
            assert_eq!(brief(bytes), None, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn agrees_with_the_parser_on_damaged_requests() {
        let mut random = Random::new(11);
        let mut taken = 0;
        for _ in 0..200_000 {
            let mut bytes =
                b"*3\r\n$3\r\nSET\r\n$2\r\nab\r\n$12\r\n0123456789ab\r\n*1\r\n$4\r\nPING\r\n".to_vec();
            for _ in 0..random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = b"0123456789$*\r\n-a\0"[random.below(17) as usize];
            }
            taken += usize::from(assert_agrees(&bytes));
        }
        assert!(taken > 20_000, "{taken}");
    }
}
