//! The rest of a request that is passed on as it comes: where it ends, without holding it.

use super::{RequestParser, State, Step};
use crate::resp::{Limits, RequestError};

/// Follows an unfinished request to its end. The bytes are handed in once, what is not consumed again with more behind.
#[derive(Debug)]
pub struct RequestRest {
    /// Bytes that belong to it whatever they are.
    skip: usize,
    /// Arguments behind those bytes.
    left: usize,
    /// Bytes consumed.
    seen: usize,
    /// Reads length lines.
    lines: RequestParser,
}

impl RequestParser {
    /// Bytes of the argument that is announced and not all here; 0 when it is not that which is missing.
    #[inline]
    pub fn announced(&self) -> usize {
        if self.state == State::Body {
            self.body
        } else {
            0
        }
    }

    /// How many arguments the unfinished request has in all.
    pub fn announced_args(&self) -> usize {
        self.found + self.left
    }

    /// The unfinished request from its first byte on; it is [`RequestParser::announced`] that an argument follows.
    pub fn rest(&self) -> RequestRest {
        let skip = self.pos + self.body + 2;
        RequestRest { skip, left: self.left.saturating_sub(1), seen: 0, lines: RequestParser::new() }
    }
}

impl RequestRest {
    /// How many of `bytes` belong to the request and need not be seen again.
    ///
    /// # Errors
    /// As the parser would give for the whole request.
    pub fn take(&mut self, bytes: &[u8], limits: &Limits) -> Result<usize, RequestError> {
        let mut at = 0;
        loop {
            let body = self.skip.min(bytes.len() - at);
            self.skip -= body;
            at += body;
            if self.is_ended() || self.skip > 0 {
                break;
            }
            self.lines.pos = 0;
            match self.lines.length(bytes.get(at..).unwrap_or_default(), limits)? {
                Step::On => {
                    self.skip = self.lines.pos + self.lines.body + 2;
                    self.left -= 1;
                    let end = self.seen.saturating_add(at).saturating_add(self.skip);
                    if end > limits.longest_frame() {
                        return Err(RequestError::TooBigRequest);
                    }
                }
                Step::Wait(_) | Step::Done(_) => break,
            }
        }
        self.seen += at;
        Ok(at)
    }

    /// Whether the request has ended.
    pub fn is_ended(&self) -> bool {
        self.skip == 0 && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Parsed;

    fn rest_of(bytes: &[u8], here: usize) -> RequestRest {
        let mut parser = RequestParser::new();
        assert_eq!(parser.parse(&bytes[..here], &Limits::default()), Parsed::Incomplete);
        assert!(parser.announced() > 0);
        parser.rest()
    }

    #[test]
    fn the_end_is_found_however_the_rest_is_cut() {
        let request = b"*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$120\r\n".to_vec();
        let request = [request, vec![b'\r'; 122], b"$2\r\nEX\r\n$3\r\n100\r\n".to_vec()].concat();
        let bytes = [&request[..], b"*1\r\n$4\r\nPING\r\n"].concat();
        for size in 1..bytes.len() {
            let mut rest = rest_of(&bytes, 60);
            let (mut at, mut end) = (0, 0);
            while !rest.is_ended() {
                end = (end + size).min(bytes.len());
                at += rest.take(&bytes[at..end], &Limits::default()).unwrap();
            }
            assert_eq!(at, request.len(), "in pieces of {size}");
        }
    }

    #[test]
    fn errors_are_those_of_the_parser() {
        let begin = [b"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$120\r\n".to_vec(), vec![b'x'; 122]].concat();
        for (more, limits) in [
            (&b"$-1\r\n"[..], Limits::default()),
            (b"$abc\r\n", Limits::default()),
            (b":5\r\n", Limits::default()),
            (b"$100\r\n", Limits { max_request: 200, ..Limits::default() }),
            (b"$9999999999\r\n", Limits::default()),
        ] {
            let bytes = [&begin[..], more].concat();
            let Parsed::Error(error) = RequestParser::new().parse(&bytes, &limits) else {
                panic!("no error")
            };
            assert_eq!(rest_of(&bytes, 60).take(&bytes, &limits), Err(error));
        }
    }
}
