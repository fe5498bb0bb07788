//! Where the requests of a client end and where their arguments stand. Knows no command; copies no byte.
//!
//! Every rule, odd ones included, is that of Redis 7.0.15 (`processInlineBuffer`, `processMultibulkBuffer`) fed one
//! byte at a time, so the outcome never depends on how the bytes were cut into segments:
//!
//! - a count or length line ends at the first CR; the byte behind it is skipped unseen, as are the two behind a body;
//! - a NUL hides every line end behind it, so such a line can only become too long;
//! - an argument's first byte is looked at only when its length line is complete.
//!
//! [`RequestParser::parse`] first tries the shape that nearly all traffic has, up to 99 arguments that are all here,
//! straight through the bytes. Whatever does not fit goes on in the careful half, from the argument where the straight
//! one stopped.

mod rest;

use memchr::memchr2;

use super::number::{one_digit, parse_i64, short_length, two_digits};
use super::{inline, Limits, RequestError, Span};
pub use rest::RequestRest;

/// What the bytes seen by [`RequestParser::parse`] begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A request that is not all here; call again with the same bytes and more.
    Incomplete,
    /// A whole request of `len` bytes whose arguments are in [`RequestParser::spans`]; at least one.
    Request {
        /// Bytes of the frame.
        len: usize,
    },
    /// A whole inline request, for [`inline::split`]; not blank.
    Inline {
        /// Bytes of the line, its line end included.
        len: usize,
    },
    /// A blank line or a request without arguments: skipped without a reply.
    Empty {
        /// Bytes to skip.
        len: usize,
    },
    /// The client broke the protocol; it gets this reply and is closed.
    Error(RequestError),
}

/// Finds requests in the bytes of one client, resuming where it stopped when they were incomplete.
#[derive(Debug, Default)]
pub struct RequestParser {
    /// Storage for spans; only the first `found` are of the present request.
    spans: Vec<Span>,
    found: usize,
    /// Arguments of the present request that are still to come.
    left: usize,
    /// Where the unfinished line or body begins.
    pos: usize,
    /// Bytes of the unfinished line that hold no line end.
    searched: usize,
    /// Length of the unfinished body.
    body: usize,
    missing: usize,
    state: State,
    #[cfg(test)]
    pub(super) steps: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Between requests.
    #[default]
    Fresh,
    /// In an inline request.
    Inline,
    /// In the line that tells the number of arguments.
    Count,
    /// In the line that tells the length of an argument.
    Length,
    /// In the bytes of an argument, or the two behind it.
    Body,
}

/// Arguments that there is always storage for, once there is any.
const SMALL_ARGS: usize = 9;
/// Spans kept between requests, at most.
const KEPT_SPANS: usize = 4096;
/// Spans that the storage grows by as long as arguments arrive.
const SPAN_BATCH: usize = 64;
/// The most that [`RequestParser::needed`] tells, bytes: a peer's announcement should not size a buffer.
const MAX_NEEDED: usize = 1024 * 1024;
/// The shortest argument, `$0\r\n\r\n`, bytes.
const SHORTEST_ARGUMENT: usize = 6;

impl RequestParser {
    /// A parser between two requests.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks for one request at the start of `bytes`, which begin where the unfinished request began (or the next
    /// one, when there is none). After [`Parsed::Request`], [`Parsed::Inline`] and [`Parsed::Empty`] the next call
    /// begins a new request; after an error the parser is of no further use.
    #[inline]
    pub fn parse(&mut self, bytes: &[u8], limits: &Limits) -> Parsed {
        if self.state == State::Fresh {
            if let Some(len) = self.straight(bytes, limits) {
                return Parsed::Request { len };
            }
        }
        self.careful(bytes, limits)
    }

    /// The arguments of the request found last, valid until the next call of [`RequestParser::parse`].
    #[inline]
    pub fn spans(&self) -> &[Span] {
        self.spans.get(..self.found).unwrap_or_default()
    }

    /// Forgets the unfinished request.
    pub fn reset(&mut self) {
        self.state = State::Fresh;
        self.found = 0;
        self.missing = 0;
    }

    /// Whether no unfinished request is remembered.
    #[inline]
    pub fn is_fresh(&self) -> bool {
        self.state == State::Fresh
    }

    /// How many bytes are missing at least, as of the last [`Parsed::Incomplete`]; at most 1 MiB, at least 1.
    pub fn needed(&self) -> usize {
        self.missing.clamp(1, MAX_NEEDED)
    }

    /// The whole of a small request, or `None` with the state for [`RequestParser::careful`] to go on with.
    #[inline]
    fn straight(&mut self, bytes: &[u8], limits: &Limits) -> Option<usize> {
        let word = u32::from_le_bytes(*bytes.first_chunk()?);
        let (count, first) = match one_digit(word, b'*') {
            Some(count) => (count, 4),
            None => (two_digits(word, b'*')?, 5),
        };
        if count == 0 || count > limits.args() {
            return None;
        }
        if !(count..=KEPT_SPANS).contains(&self.spans.len()) {
            self.refit(count);
        }
        let (end, found) = take_small(bytes, first, self.spans.get_mut(..count)?, limits);
        self.found = found;
        if found < count {
            self.stop_at(end, count - found);
            return None;
        }
        Some(end)
    }

    /// Leaves the careful half to go on at the length line at `pos`.
    #[cold]
    fn stop_at(&mut self, pos: usize, left: usize) {
        self.left = left;
        self.state = State::Length;
        self.next_line(pos);
    }

    /// Brings the storage for spans to the size that the straight half needs, and gives back what one huge request
    /// made it grow to.
    #[cold]
    fn refit(&mut self, count: usize) {
        let size = count.max(SMALL_ARGS);
        self.spans.resize(size, Span::default());
        self.spans.shrink_to(size);
    }

    #[inline(never)]
    fn careful(&mut self, bytes: &[u8], limits: &Limits) -> Parsed {
        let outcome = loop {
            let step = match self.state {
                State::Fresh => self.begin(bytes),
                State::Inline => self.inline(bytes, limits),
                State::Count => self.count(bytes, limits),
                State::Length => self.lengths(bytes, limits),
                State::Body => self.body(bytes),
            };
            match step {
                Ok(Step::On) => {}
                Ok(Step::Wait(missing)) => {
                    self.missing = missing;
                    return Parsed::Incomplete;
                }
                Ok(Step::Done(parsed)) => break parsed,
                Err(error) => break Parsed::Error(error),
            }
        };
        self.state = State::Fresh;
        outcome
    }

    fn begin(&mut self, bytes: &[u8]) -> Result<Step, RequestError> {
        let Some(first) = bytes.first() else { return Ok(Step::Wait(1)) };
        (self.pos, self.searched, self.found, self.left) = (0, 0, 0, 0);
        self.state = if *first == b'*' { State::Count } else { State::Inline };
        Ok(Step::On)
    }

    fn inline(&mut self, bytes: &[u8], limits: &Limits) -> Result<Step, RequestError> {
        let Some(end) = self.line_end(bytes, b'\n', limits.max_inline, RequestError::TooBigInline)? else {
            return Ok(Step::Wait(1));
        };
        let len = end + 1;
        let blank = inline::is_blank(bytes.get(..len).unwrap_or_default());
        Ok(Step::Done(if blank { Parsed::Empty { len } } else { Parsed::Inline { len } }))
    }

    fn count(&mut self, bytes: &[u8], limits: &Limits) -> Result<Step, RequestError> {
        let Some(end) = self.line_end(bytes, b'\r', limits.max_inline, RequestError::TooBigMultibulkCount)?
        else {
            return Ok(Step::Wait(1));
        };
        if end + 1 >= bytes.len() {
            return Ok(Step::Wait(1));
        }
        let count = arguments(bytes.get(1..end).unwrap_or_default(), limits)?;
        self.next_line(end + 2);
        if count == 0 {
            return Ok(Step::Done(Parsed::Empty { len: end + 2 }));
        }
        self.left = count;
        self.state = State::Length;
        Ok(Step::On)
    }

    /// Any number of small whole arguments, then the length of one that is not.
    fn lengths(&mut self, bytes: &[u8], limits: &Limits) -> Result<Step, RequestError> {
        if self.searched == 0 {
            self.small_arguments(bytes, limits);
            if self.left == 0 {
                return Ok(Step::Done(Parsed::Request { len: self.pos }));
            }
        }
        self.length(bytes, limits)
    }

    /// Takes arguments as the straight half does. The storage grows with what arrives, not with what was announced.
    fn small_arguments(&mut self, bytes: &[u8], limits: &Limits) {
        while self.left > 0 {
            let batch = self.left.min(SPAN_BATCH);
            let full = self.found + batch;
            if self.spans.len() < full {
                self.spans.resize(full, Span::default());
            }
            let slots = self.spans.get_mut(self.found..full).unwrap_or_default();
            let (pos, taken) = take_small(bytes, self.pos, slots, limits);
            self.pos = pos;
            self.found += taken;
            self.left -= taken;
            if taken < batch {
                return;
            }
        }
    }

    fn length(&mut self, bytes: &[u8], limits: &Limits) -> Result<Step, RequestError> {
        let (start, len) = match ordinary_length(bytes, self.pos, limits) {
            Some(found) => found,
            None => match self.odd_length(bytes, limits)? {
                Some(found) => found,
                None => return Ok(Step::Wait(1)),
            },
        };
        let fits = start.checked_add(len).is_some_and(|end| end < limits.longest_frame().saturating_sub(1));
        if !fits {
            return Err(RequestError::TooBigRequest);
        }
        self.next_line(start);
        self.body = len;
        self.state = State::Body;
        Ok(Step::On)
    }

    /// As [`ordinary_length`], for any line, once it is whole.
    fn odd_length(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<(usize, usize)>, RequestError> {
        let end = self.line_end(bytes, b'\r', limits.max_inline, RequestError::TooBigBulkCount)?;
        let Some(end) = end.filter(|end| end + 1 < bytes.len()) else { return Ok(None) };
        match bytes.get(self.pos..end).unwrap_or_default() {
            [b'$', digits @ ..] => Ok(Some((end + 2, body_length(digits, limits)?))),
            // The line may be empty: then the CR that ends it is what stands in place of the `$`.
            line => Err(RequestError::ExpectedBulk(line.first().copied().unwrap_or(b'\r'))),
        }
    }

    fn body(&mut self, bytes: &[u8]) -> Result<Step, RequestError> {
        let end = self.pos + self.body;
        let next = end + 2;
        if bytes.len() < next {
            let others = (self.left - 1).saturating_mul(SHORTEST_ARGUMENT);
            return Ok(Step::Wait((next - bytes.len()).saturating_add(others)));
        }
        self.record(Span { start: self.pos as u32, end: end as u32 });
        self.left -= 1;
        self.next_line(next);
        if self.left == 0 {
            return Ok(Step::Done(Parsed::Request { len: next }));
        }
        self.state = State::Length;
        Ok(Step::On)
    }

    /// Position of the `ending` of the line at `self.pos`, once it is there.
    fn line_end(
        &mut self,
        bytes: &[u8],
        ending: u8,
        limit: usize,
        too_big: RequestError,
    ) -> Result<Option<usize>, RequestError> {
        let line = bytes.get(self.pos..).unwrap_or_default();
        let unseen = line.get(self.searched..).unwrap_or_default();
        let hit = memchr2(ending, 0, unseen);
        let at = self.searched + hit.unwrap_or(unseen.len());
        #[cfg(test)]
        {
            self.steps += 1 + (at - self.searched) as u64;
        }
        self.searched = at;
        let ended = line.get(at) == Some(&ending);
        // Behind a NUL the line has no end, but it grows until it is too long.
        let length = if ended { at } else { line.len() };
        if length > limit {
            return Err(too_big);
        }
        Ok(ended.then_some(self.pos + at))
    }

    fn next_line(&mut self, pos: usize) {
        self.pos = pos;
        self.searched = 0;
    }

    /// Keeps the span of one more argument.
    fn record(&mut self, span: Span) {
        match self.spans.get_mut(self.found) {
            Some(slot) => *slot = span,
            None => self.spans.push(span),
        }
        self.found += 1;
    }
}

/// What one step of the careful half came to.
enum Step {
    /// The next step can be done at once.
    On,
    /// So many bytes are missing at least.
    Wait(usize),
    Done(Parsed),
}

/// Takes the whole arguments that begin at `at` into `slots`, as long as there are slots and the lengths have one or
/// two digits. Returns where it stopped and how many it took.
#[inline(always)]
fn take_small(bytes: &[u8], at: usize, slots: &mut [Span], limits: &Limits) -> (usize, usize) {
    // An argument that crosses the end of the longest frame is left for the careful half to refuse.
    let window = bytes.len().min(limits.longest_frame());
    let bytes = bytes.get(..window).unwrap_or(bytes);
    let mut at = at;
    let mut slots = slots.iter_mut();
    let count = slots.len();
    while let Some(slot) = slots.next() {
        let Some((start, end)) = small_body(bytes, at) else { return (at, count - slots.len() - 1) };
        *slot = Span { start: start as u32, end: end as u32 };
        at = end + 2;
    }
    (at, count)
}

/// Where the body of the argument at `at` begins and ends, when that and the two bytes behind it are here.
#[inline(always)]
fn small_body(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let word = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
    let (start, end) = match one_digit(word, b'$') {
        Some(len) => (at + 4, at + 4 + len),
        None => (at + 5, at + 5 + two_digits(word, b'$')?),
    };
    (end + 2 <= bytes.len()).then_some((start, end))
}

/// Where the body of the argument at `at` begins and its length, when that has up to seven digits.
fn ordinary_length(bytes: &[u8], at: usize, limits: &Limits) -> Option<(usize, usize)> {
    let line = bytes.get(at..)?.strip_prefix(b"$")?;
    let (len, digits) = short_length(line).filter(|(len, _)| *len <= limits.bulk())?;
    // One more byte, whatever it is, has to stand behind the CR.
    let whole = line.get(digits) == Some(&b'\r') && line.len() > digits + 1;
    whole.then_some((at + digits + 3, len))
}

/// The number of arguments that the text behind a `*` announces; 0 for none and for any negative number.
fn arguments(text: &[u8], limits: &Limits) -> Result<usize, RequestError> {
    let count = parse_i64(text).ok_or(RequestError::InvalidMultibulkLength)?;
    let allowed = usize::try_from(count.max(0)).ok().filter(|n| *n <= limits.args());
    allowed.ok_or(if limits.unauthenticated && !Limits::beyond_server_args(count) {
        RequestError::UnauthenticatedMultibulkLength
    } else {
        RequestError::InvalidMultibulkLength
    })
}

/// The bytes of an argument that the text behind a `$` announces.
fn body_length(text: &[u8], limits: &Limits) -> Result<usize, RequestError> {
    let len = parse_i64(text).filter(|len| *len >= 0).ok_or(RequestError::InvalidBulkLength)?;
    let allowed = usize::try_from(len).ok().filter(|n| *n <= limits.bulk());
    allowed.ok_or(if limits.unauthenticated && !Limits::beyond_server_bulk(len) {
        RequestError::UnauthenticatedBulkLength
    } else {
        RequestError::InvalidBulkLength
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in segments of `segment` bytes; returns how many bytes were searched for line ends, counting
    /// one more for each search.
    fn steps(bytes: &[u8], segment: usize) -> u64 {
        let mut parser = RequestParser::new();
        let limits = Limits::default();
        for end in (segment..bytes.len()).step_by(segment) {
            assert_eq!(parser.parse(&bytes[..end], &limits), Parsed::Incomplete);
        }
        assert_ne!(parser.parse(bytes, &limits), Parsed::Incomplete);
        parser.steps
    }

    #[test]
    fn a_large_argument_is_never_searched() {
        let mut bytes = b"*2\r\n$3\r\nSET\r\n$1000000\r\n".to_vec();
        bytes.resize(bytes.len() + 1_000_002, b'\n');
        for segment in [1, 1024] {
            assert!(steps(&bytes, segment) < 100);
        }
    }

    #[test]
    fn a_line_is_searched_once() {
        let inline = [vec![b'x'; 60_000], b"\r\n".to_vec()].concat();
        let count = [b"*".to_vec(), vec![b'1'; 60_000], b"\r\n".to_vec()].concat();
        for bytes in [inline, count] {
            for segment in [1, 1024] {
                let calls = (bytes.len() / segment + 2) as u64;
                assert!(steps(&bytes, segment) <= bytes.len() as u64 + calls);
            }
        }
    }

    #[test]
    fn many_arguments_are_each_seen_once() {
        let mut bytes = b"*20000\r\n".to_vec();
        bytes.extend_from_slice(&b"$3\r\nabc\r\n".repeat(20_000));
        // Each segment ends at most one search, and each search sees at most one length line.
        assert!(steps(&bytes, 1) <= 4 * bytes.len() as u64);
        assert!(steps(&bytes, 1 << 20) < 20);
    }

    #[test]
    fn an_announced_count_allocates_nothing() {
        let mut parser = RequestParser::new();
        assert_eq!(parser.parse(b"*2000000000\r\n$1\r\nx\r\n", &Limits::default()), Parsed::Incomplete);
        assert!(parser.spans.capacity() <= SPAN_BATCH);
    }
}
