//! The arguments of one request as positions in its bytes.

/// One argument: `bytes[start..end]` of the frame it belongs to. A frame is at most 4 GiB - 1 long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte of the argument's body.
    pub start: u32,
    /// Offset behind the last byte of the argument's body.
    pub end: u32,
}

/// Bytes behind an argument's body.
const LINE_END: usize = 2;

/// The arguments of one request, the command name first, borrowed from the bytes of its frame.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// The arguments of `bytes` that stand at `spans`; every span must lie within `bytes`.
    pub fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        debug_assert!(spans.iter().all(|s| s.start <= s.end && s.end as usize <= bytes.len()));
        Args { bytes, spans }
    }

    /// How many arguments there are, the command name included.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no argument at all, not even a name.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The argument at `i` (0 is the command name), or `None` behind the last one.
    #[inline]
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        self.spans.get(i).map(|s| &self.bytes[s.start as usize..s.end as usize])
    }

    /// Where in the frame the arguments from `first` up to `end`, exclusive, stand, with their lengths and line ends. `first`
    /// is not 0, as the name has the head of the request in front of it.
    #[inline]
    pub fn encoded(&self, first: usize, end: usize) -> Option<(usize, usize)> {
        let behind = |i: usize| self.spans.get(i).map(|s| s.end as usize + LINE_END);
        Some((behind(first.checked_sub(1)?)?, behind(end.checked_sub(1)?)?))
            .filter(|(start, end)| start <= end)
    }

    /// Where the arguments stand in [`Args::frame`].
    pub fn spans(&self) -> &'a [Span] {
        self.spans
    }

    /// The whole frame that these arguments were found in, as it came from the client.
    pub fn frame(&self) -> &'a [u8] {
        self.bytes
    }

    /// The arguments in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        let bytes = self.bytes;
        self.spans.iter().map(move |s| &bytes[s.start as usize..s.end as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::{Limits, Parsed, RequestParser};

    #[test]
    fn arguments_can_be_taken_as_they_came() {
        let frame = b"*4\r\n$4\r\nMSET\r\n$1\r\nk\r\n$0\r\n\r\n$10\r\n0123456789\r\n";
        let mut parser = RequestParser::new();
        assert_eq!(parser.parse(frame, &Limits::default()), Parsed::Request { len: frame.len() });
        let args = Args::new(frame, parser.spans());
        let encoded = |first, end| args.encoded(first, end).map(|(start, end)| &frame[start..end]);
        assert_eq!(encoded(1, 3), Some(&b"$1\r\nk\r\n$0\r\n\r\n"[..]));
        assert_eq!(encoded(3, 4), Some(&b"$10\r\n0123456789\r\n"[..]));
        assert_eq!((encoded(0, 2), encoded(3, 5), encoded(3, 1)), (None, None, None));
    }
}
