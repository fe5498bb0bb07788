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

/// Appends a boolean: 1 or 0 in RESP2.
pub fn boolean(out: &mut Vec<u8>, value: bool, protocol: Protocol) {
    let text: &[u8] = match (protocol, value) {
        (Protocol::Resp2, true) => b":1\r\n",
        (Protocol::Resp2, false) => b":0\r\n",
        (Protocol::Resp3, true) => b"#t\r\n",
        (Protocol::Resp3, false) => b"#f\r\n",
    };
    out.extend_from_slice(text);
}

/// Appends a double: a bulk string in RESP2. The digits are the fewest that read back as the same value, as servers
/// write them since Redis 7.2.
pub fn double(out: &mut Vec<u8>, value: f64, protocol: Protocol) {
    let text = double_text(value);
    match protocol {
        Protocol::Resp2 => bulk(out, text.as_bytes()),
        Protocol::Resp3 => line(out, b',', text.as_bytes()),
    }
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

/// Decimal exponents from here on are written with an `e`, as a server does.
const LARGEST_PLAIN: f64 = 1e21;
/// Below this, too.
const SMALLEST_PLAIN: f64 = 1e-7;

fn double_text(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "nan".into()
    } else if value.is_infinite() {
        if value > 0.0 { "inf" } else { "-inf" }.into()
    } else if size >= LARGEST_PLAIN {
        format!("{value:e}").replacen('e', "e+", 1)
    } else if size < SMALLEST_PLAIN && size > 0.0 {
        format!("{value:e}")
    } else {
        format!("{value}")
    }
}

fn pick<T>(protocol: Protocol, resp2: T, resp3: T) -> T {
    match protocol {
        Protocol::Resp2 => resp2,
        Protocol::Resp3 => resp3,
    }
}
