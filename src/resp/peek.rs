//! Questions about the beginning of bytes that are whole frames.

use super::{number::parse_i64, ReplyFramer, Scan};

/// The value of an integer reply (`:n`), `None` for any other frame.
pub fn integer(frame: &[u8]) -> Option<i64> {
    parse_i64(frame.strip_prefix(b":")?.strip_suffix(b"\r\n")?)
}

/// The length in bytes of the first frame in `bytes`, `None` when it is not whole or no frame at all.
pub fn frame_len(bytes: &[u8]) -> Option<usize> {
    match ReplyFramer::new().scan(bytes) {
        Ok(Scan::Done(len)) => Some(len),
        _ => None,
    }
}

/// The body of a bulk string that is a whole frame.
pub fn bulk(frame: &[u8]) -> Option<&[u8]> {
    let body = frame.strip_prefix(b"$")?.strip_suffix(b"\r\n")?;
    let line = memchr::memchr(b'\n', body)?;
    body.get(line + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_lengths_are_read() {
        assert_eq!(integer(b":-12\r\n"), Some(-12));
        assert_eq!(integer(b"$1\r\n2\r\n"), None);
        assert_eq!(frame_len(b"$1\r\n2\r\n$1\r\n"), Some(7));
        assert_eq!(frame_len(b"$1\r\n2"), None);
        assert_eq!(frame_len(b"?"), None);
    }
}
