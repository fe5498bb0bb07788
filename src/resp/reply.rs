//! Where the replies of a node end, RESP2 and RESP3. Builds nothing, copies nothing, sees every byte once.
//!
//! One counter is all the state that nesting needs: the number of values still outstanding. An aggregate of `n`
//! elements takes one value away and adds `n`; an attribute adds its entries and takes nothing, since the value it
//! belongs to is still to come. Only streamed aggregates (`*?`), whose length nobody announced, remember what was
//! outstanding around them.
//!
//! Bodies of bulk strings are skipped as they come, so a reply of any size passes through a fixed buffer; lines are
//! short and stay with the caller until they are whole.

use memchr::memchr;

use super::number::parse_i64;
use super::quick::{quick_frame, take_quick, QUICK_LINE};
use super::ReplyError;

/// How far a frame was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The frame ends in front of this byte; the framer is ready for the next one.
    Done(usize),
    /// So many bytes belong to the unfinished frame and need not be seen again. The next call begins with the byte
    /// behind them, and with more bytes than there were.
    More(usize),
}

/// Finds the ends of the replies of one node, resuming where the bytes ran out.
#[derive(Debug, Default)]
pub struct ReplyFramer {
    /// Values to come before the innermost streamed aggregate may end, or the frame when there is none.
    left: u64,
    /// Bytes of the unfinished body to come.
    body: u64,
    /// Bytes of the unfinished line, from where the next call begins, that hold no line end.
    searched: usize,
    phase: Phase,
    /// Whether the unfinished body is a chunk of a streamed string.
    chunked: bool,
    /// The streamed aggregates that are open, innermost last.
    streams: Vec<Stream>,
    #[cfg(test)]
    pub(super) steps: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Between frames.
    #[default]
    Fresh,
    /// Where a value begins, or a streamed aggregate ends.
    Value,
    /// Where a chunk of a streamed string begins.
    Chunk,
    /// In the body of a bulk string.
    Body,
    /// At the line end behind a body.
    BodyEnd,
}

/// A streamed aggregate.
#[derive(Debug)]
struct Stream {
    /// Values outstanding around it, itself among them.
    outer: u64,
    /// Whether its elements come in pairs.
    pairs: bool,
    /// Whether an odd number of elements has begun.
    odd: bool,
}

/// Longest line of a simple string, an error, a double or a big number, bytes.
const MAX_TEXT_LINE: usize = 64 * 1024;
/// Longest line of anything else, bytes.
const MAX_SHORT_LINE: usize = 32;
/// Longest body, bytes: above any `proto-max-bulk-len` in sane use.
const MAX_BODY: i64 = u32::MAX as i64;
/// Most elements of one aggregate.
const MAX_ELEMENTS: i64 = i32::MAX as i64;
/// Streamed aggregates within one another, at most.
const MAX_STREAMS: usize = 32;

impl ReplyFramer {
    /// A framer between two frames.
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows the frame that begins (or goes on) at the start of `bytes`.
    ///
    /// # Errors
    ///
    /// When the bytes are no RESP; then the framer is of no further use, and neither is the connection.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Scan, ReplyError> {
        if self.phase == Phase::Fresh {
            if let Some(end) = quick_frame(bytes) {
                return Ok(Scan::Done(end));
            }
        }
        self.follow(bytes)
    }

    /// Whether no unfinished frame is remembered.
    #[inline]
    pub fn is_fresh(&self) -> bool {
        self.phase == Phase::Fresh
    }

    /// How many bytes of the unfinished body are announced and still to come.
    #[inline]
    pub fn announced(&self) -> u64 {
        if self.phase == Phase::Body {
            self.body
        } else {
            0
        }
    }

    #[inline(never)]
    fn follow(&mut self, bytes: &[u8]) -> Result<Scan, ReplyError> {
        if self.phase == Phase::Fresh {
            if bytes.is_empty() {
                return Ok(Scan::More(0));
            }
            self.phase = Phase::Value;
            self.left = 1;
        }
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let step = match self.phase {
                Phase::Fresh => return Ok(Scan::Done(at)),
                Phase::Value => self.values(rest),
                Phase::Chunk => self.chunk(rest),
                Phase::Body => Ok(self.skip_body(rest)),
                Phase::BodyEnd => self.body_end(rest),
            };
            match step? {
                Step::On(n) => at += n,
                Step::Wait(n) => return Ok(Scan::More(at + n)),
            }
        }
    }

    /// Any number of small whole values, then the head of one that is not.
    fn values(&mut self, rest: &[u8]) -> Result<Step, ReplyError> {
        let mut at = 0;
        if self.searched == 0 {
            let due = self.left.max(1);
            let (end, taken) = take_quick(rest, due);
            at = end;
            if taken > 0 {
                self.begin_value();
                self.end_values(taken);
            }
            if taken == due {
                return Ok(Step::On(at));
            }
        }
        match self.line(rest.get(at..).unwrap_or_default())? {
            Some((kind, text)) => {
                self.head(kind, text)?;
                Ok(Step::On(at + text.len() + 3))
            }
            None => Ok(Step::Wait(at)),
        }
    }

    /// What follows from the line `kind` `text` where a value may begin.
    fn head(&mut self, kind: u8, text: &[u8]) -> Result<(), ReplyError> {
        match kind {
            b'.' => return self.end_stream(text),
            b';' => return Err(ReplyError::UnexpectedStreamPart),
            _ => self.begin_value(),
        }
        match kind {
            b'$' | b'!' | b'=' => self.blob(kind, text),
            b'*' | b'~' | b'>' | b'%' | b'|' => self.aggregate(kind, text),
            _ => {
                check_scalar(kind, text)?;
                self.end_value();
                Ok(())
            }
        }
    }

    fn blob(&mut self, kind: u8, text: &[u8]) -> Result<(), ReplyError> {
        match text {
            b"-1" if kind == b'$' => self.end_value(),
            b"?" if kind == b'$' => self.phase = Phase::Chunk,
            _ => {
                self.body = length(text, MAX_BODY)?;
                self.chunked = false;
                self.phase = Phase::Body;
            }
        }
        Ok(())
    }

    fn aggregate(&mut self, kind: u8, text: &[u8]) -> Result<(), ReplyError> {
        let pairs = matches!(kind, b'%' | b'|');
        match text {
            b"-1" if kind == b'*' => self.end_value(),
            b"?" if kind != b'|' => return self.begin_stream(pairs),
            _ => {
                let elements = length(text, MAX_ELEMENTS)? * if pairs { 2 } else { 1 };
                self.left = self.left.checked_add(elements).ok_or(ReplyError::InvalidLength)?;
                if kind != b'|' {
                    self.end_value();
                }
            }
        }
        Ok(())
    }

    fn chunk(&mut self, rest: &[u8]) -> Result<Step, ReplyError> {
        let Some((kind, text)) = self.line(rest)? else { return Ok(Step::Wait(0)) };
        if kind != b';' {
            return Err(ReplyError::UnexpectedStreamPart);
        }
        self.body = length(text, MAX_BODY)?;
        if self.body == 0 {
            self.phase = Phase::Value;
            self.end_value();
        } else {
            self.chunked = true;
            self.phase = Phase::Body;
        }
        Ok(Step::On(text.len() + 3))
    }

    fn skip_body(&mut self, rest: &[u8]) -> Step {
        match usize::try_from(self.body) {
            Ok(body) if body <= rest.len() => {
                self.phase = Phase::BodyEnd;
                Step::On(body)
            }
            _ => {
                self.body -= rest.len() as u64;
                Step::Wait(rest.len())
            }
        }
    }

    fn body_end(&mut self, rest: &[u8]) -> Result<Step, ReplyError> {
        match rest {
            [b'\r', b'\n', ..] => {
                if self.chunked {
                    self.phase = Phase::Chunk;
                } else {
                    self.phase = Phase::Value;
                    self.end_value();
                }
                Ok(Step::On(2))
            }
            [] | [b'\r'] => Ok(Step::Wait(0)),
            _ => Err(ReplyError::MissingLineEnd),
        }
    }

    /// The first byte of the line at the start of `rest` and its text without line end, once it is whole.
    fn line<'a>(&mut self, rest: &'a [u8]) -> Result<Option<(u8, &'a [u8])>, ReplyError> {
        let Some(kind) = rest.first() else { return Ok(None) };
        let limit = longest_line(*kind)?;
        let unseen = rest.get(self.searched..).unwrap_or_default();
        let hit = find_newline(unseen);
        let at = self.searched + hit.unwrap_or(unseen.len());
        #[cfg(test)]
        {
            self.steps += 1 + (at - self.searched) as u64;
        }
        if at > limit {
            return Err(ReplyError::LineTooLong);
        }
        if hit.is_none() {
            self.searched = at;
            return Ok(None);
        }
        self.searched = 0;
        match rest.get(1..at) {
            Some([text @ .., b'\r']) => Ok(Some((*kind, text))),
            _ => Err(ReplyError::MissingLineEnd),
        }
    }

    /// Counts a value that begins between the elements of a streamed aggregate; others were counted before.
    #[inline]
    fn begin_value(&mut self) {
        if self.left == 0 {
            self.left = 1;
            if let Some(stream) = self.streams.last_mut() {
                stream.odd = !stream.odd;
            }
        }
    }

    /// Counts a value off, and with the last one ends the frame.
    fn end_value(&mut self) {
        self.end_values(1);
    }

    fn end_values(&mut self, count: u64) {
        self.left = self.left.saturating_sub(count);
        if self.left == 0 && self.streams.is_empty() {
            self.phase = Phase::Fresh;
        }
    }

    fn begin_stream(&mut self, pairs: bool) -> Result<(), ReplyError> {
        if self.streams.len() >= MAX_STREAMS {
            return Err(ReplyError::TooDeep);
        }
        self.streams.push(Stream { outer: self.left, pairs, odd: false });
        self.left = 0;
        Ok(())
    }

    fn end_stream(&mut self, text: &[u8]) -> Result<(), ReplyError> {
        match self.streams.pop() {
            Some(stream) if self.left == 0 && text.is_empty() && !(stream.pairs && stream.odd) => {
                self.left = stream.outer;
                self.end_value();
                Ok(())
            }
            _ => Err(ReplyError::UnexpectedStreamPart),
        }
    }
}

/// Whether a frame that begins with `first` is a push message, which answers no request.
#[inline]
pub fn is_push(first: u8) -> bool {
    first == b'>'
}

/// Whether a frame that begins with `first` is an error.
#[inline]
pub fn is_error(first: u8) -> bool {
    matches!(first, b'-' | b'!')
}

/// The text of an error frame, code first, without type byte and line end; `None` when `frame` is no error.
pub fn error_text(frame: &[u8]) -> Option<&[u8]> {
    let text = frame.strip_suffix(b"\r\n")?;
    match text {
        [b'-', text @ ..] => Some(text),
        [b'!', rest @ ..] => rest.get(memchr(b'\n', rest)? + 1..),
        _ => None,
    }
}

enum Step {
    /// So many bytes are dealt with; go on behind them.
    On(usize),
    /// So many bytes are dealt with, and what follows them is too short.
    Wait(usize),
}

/// As `memchr`, quicker for the short lines that nearly all are.
fn find_newline(bytes: &[u8]) -> Option<usize> {
    let (near, far) = bytes.split_at_checked(QUICK_LINE).unwrap_or((bytes, &[]));
    near.iter().position(|b| *b == b'\n').or_else(|| Some(QUICK_LINE + memchr(b'\n', far)?))
}

/// How many bytes may stand in front of the `\n` of a line that begins with `kind`.
fn longest_line(kind: u8) -> Result<usize, ReplyError> {
    match kind {
        b'+' | b'-' | b',' | b'(' => Ok(MAX_TEXT_LINE),
        b'$' | b'*' | b':' | b'%' | b'~' | b'>' | b'|' | b'_' | b'#' | b'!' | b'=' | b';' | b'.' => {
            Ok(MAX_SHORT_LINE)
        }
        other => Err(ReplyError::UnknownType(other)),
    }
}

fn check_scalar(kind: u8, text: &[u8]) -> Result<(), ReplyError> {
    let good = match kind {
        b'_' => text.is_empty(),
        b'#' => matches!(text, b"t" | b"f"),
        b':' => is_integer(text),
        _ => true,
    };
    good.then_some(()).ok_or(ReplyError::InvalidScalar)
}

/// A decimal with an optional sign, of any size.
fn is_integer(text: &[u8]) -> bool {
    let digits = match text {
        [b'+' | b'-', digits @ ..] => digits,
        digits => digits,
    };
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// A length or count of at most `max`.
fn length(text: &[u8], max: i64) -> Result<u64, ReplyError> {
    let number = parse_i64(text).filter(|n| *n <= max).ok_or(ReplyError::InvalidLength)?;
    u64::try_from(number).map_err(|_| ReplyError::InvalidLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in segments of `segment` bytes; returns how many bytes were searched for line ends, counting
    /// one more for each search.
    fn steps(bytes: &[u8], segment: usize) -> u64 {
        let mut framer = ReplyFramer::new();
        let mut start = 0;
        for end in (segment..bytes.len()).step_by(segment) {
            match framer.scan(&bytes[start..end]) {
                Ok(Scan::More(n)) => start += n,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(framer.scan(&bytes[start..]), Ok(Scan::Done(bytes.len() - start)));
        framer.steps
    }

    #[test]
    fn a_large_body_is_never_searched() {
        let mut bytes = b"$1000000\r\n".to_vec();
        bytes.resize(bytes.len() + 1_000_000, b'\n');
        bytes.extend_from_slice(b"\r\n");
        for segment in [1, 1024] {
            assert!(steps(&bytes, segment) < 50);
        }
    }

    #[test]
    fn a_line_is_searched_once() {
        let bytes = [b"-ERR ".to_vec(), vec![b'x'; 60_000], b"\r\n".to_vec()].concat();
        for segment in [1, 1024] {
            let calls = (bytes.len() / segment + 2) as u64;
            assert!(steps(&bytes, segment) <= bytes.len() as u64 + calls);
        }
    }

    #[test]
    fn many_elements_are_each_seen_once() {
        let mut bytes = b"*20000\r\n".to_vec();
        bytes.extend_from_slice(&b"$3\r\nabc\r\n".repeat(20_000));
        assert!(steps(&bytes, 1) <= 3 * bytes.len() as u64);
        assert!(steps(&bytes, 1 << 20) < 20);
    }
}
