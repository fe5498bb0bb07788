//! Values as a server writes them, appended to a buffer that the caller lends. Knows no command.

use super::Protocol;

/// Appends a request as an array of bulk strings.
pub fn request<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    array(out, args.len());
    for arg in args {
        bulk(out, arg.as_ref());
    }
}

/// Appends the head of an array of `len` elements, which the caller appends next.
pub fn array(out: &mut Vec<u8>, len: usize) {
    head(out, b'*', len as u64);
}

/// Appends the head of a map of `len` entries: RESP2 has an array of twice as many elements.
pub fn map(out: &mut Vec<u8>, len: usize, protocol: Protocol) {
    match protocol {
        Protocol::Resp2 => head(out, b'*', (len as u64).saturating_mul(2)),
        Protocol::Resp3 => head(out, b'%', len as u64),
    }
}

/// Appends the head of a set of `len` elements: an array in RESP2.
pub fn set(out: &mut Vec<u8>, len: usize, protocol: Protocol) {
    head(out, pick(protocol, b'*', b'~'), len as u64);
}

/// Appends the head of a push message of `len` elements: an array in RESP2.
pub fn push(out: &mut Vec<u8>, len: usize, protocol: Protocol) {
    head(out, pick(protocol, b'*', b'>'), len as u64);
}

/// Appends a bulk string.
#[inline]
pub fn bulk(out: &mut Vec<u8>, body: &[u8]) {
    head(out, b'$', body.len() as u64);
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
}

/// Appends a null where a bulk string could stand.
pub fn null(out: &mut Vec<u8>, protocol: Protocol) {
    out.extend_from_slice(pick(protocol, b"$-1\r\n", b"_\r\n"));
}

/// Appends a null where an array could stand.
pub fn null_array(out: &mut Vec<u8>, protocol: Protocol) {
    out.extend_from_slice(pick(protocol, b"*-1\r\n", b"_\r\n"));
}

/// Appends an integer.
pub fn integer(out: &mut Vec<u8>, value: i64) {
    out.push(b':');
    write_signed(out, value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a simple string. Line ends in it become blanks, since they would end it.
pub fn simple(out: &mut Vec<u8>, text: &[u8]) {
    line(out, b'+', text);
}

/// Appends an error, `text` beginning with its code (`ERR ...`). Line ends in it become blanks, as in a server.
pub fn error(out: &mut Vec<u8>, text: &[u8]) {
    line(out, b'-', text);
}

/// Appends a verbatim string of plain text: a bulk string in RESP2.
pub fn verbatim(out: &mut Vec<u8>, text: &[u8], protocol: Protocol) {
    match protocol {
        Protocol::Resp2 => bulk(out, text),
        Protocol::Resp3 => {
            const FORMAT: &[u8] = b"txt:";
            head(out, b'=', (text.len() as u64).saturating_add(FORMAT.len() as u64));
            out.extend_from_slice(FORMAT);
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends `value` in decimal.
#[inline]
pub fn write_decimal(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0' + value as u8);
        return;
    }
    write_long(out, value);
}

fn write_signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    write_decimal(out, value.unsigned_abs());
}

/// Digits of the largest `u64`.
const MAX_DIGITS: usize = 20;

fn write_long(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [b'0'; MAX_DIGITS];
    let mut first = MAX_DIGITS;
    for (i, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        first = i;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// A type byte, a number and a line end.
#[inline]
fn head(out: &mut Vec<u8>, kind: u8, number: u64) {
    if number < 10 {
        out.extend_from_slice(&[kind, b'0' + number as u8, b'\r', b'\n']);
        return;
    }
    out.push(kind);
    write_long(out, number);
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    let start = out.len();
    out.extend_from_slice(text);
    for byte in out.iter_mut().skip(start).filter(|b| matches!(**b, b'\r' | b'\n')) {
        *byte = b' ';
    }
    out.extend_from_slice(b"\r\n");
}

fn pick<T>(protocol: Protocol, resp2: T, resp3: T) -> T {
    match protocol {
        Protocol::Resp2 => resp2,
        Protocol::Resp3 => resp3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Protocol::{Resp2, Resp3};

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"<".to_vec();
        write(&mut out);
        String::from_utf8_lossy(&out).replace("\r\n", "|")
    }

    #[test]
    fn decimals() {
        let numbers = [0, 9, 10, 99, 100, 101, 12345, 1 << 32, 10_000_000_000_000_000_000, u64::MAX];
        for number in numbers {
            assert_eq!(written(|o| write_decimal(o, number)), format!("<{number}"));
        }
        for number in [0, 7, -7, 10, -10, i64::MAX, i64::MIN] {
            assert_eq!(written(|o| integer(o, number)), format!("<:{number}|"));
        }
    }

    #[test]
    fn requests() {
        assert_eq!(written(|o| request(o, &["GET", "a b"])), "<*2|$3|GET|$3|a b|");
        assert_eq!(written(|o| request(o, &[b"".to_vec(), vec![b'x'; 11]])), "<*2|$0||$11|xxxxxxxxxxx|");
        assert_eq!(written(|o| array(o, 10)), "<*10|");
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(written(|o| simple(o, b"OK")), "<+OK|");
        assert_eq!(written(|o| error(o, b"ERR a\r\nb\nc")), "<-ERR a  b c|");
    }

    #[test]
    fn each_protocol_has_its_own_forms() {
        type Case<'a> = (&'a dyn Fn(&mut Vec<u8>, Protocol), &'a str, &'a str);
        let cases: [Case<'_>; 6] = [
            (&null, "<$-1|", "<_|"),
            (&null_array, "<*-1|", "<_|"),
            (&|o, p| map(o, 7, p), "<*14|", "<%7|"),
            (&|o, p| set(o, 7, p), "<*7|", "<~7|"),
            (&|o, p| push(o, 3, p), "<*3|", "<>3|"),
            (&|o, p| verbatim(o, b"text", p), "<$4|text|", "<=8|txt:text|"),
        ];
        for (write, resp2, resp3) in cases {
            assert_eq!(written(|o| write(o, Resp2)), resp2);
            assert_eq!(written(|o| write(o, Resp3)), resp3);
        }
    }
}
