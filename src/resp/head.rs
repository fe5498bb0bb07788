//! The first line of a value in a frame that is known to be whole. Frames that still arrive are
//! [`super::ReplyFramer`]'s.

use memchr::memchr;

use super::{number::parse_i64, ReplyError};

/// A type byte and the rest of its line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub kind: u8,
    /// Without the line end.
    pub text: &'a [u8],
}

impl<'a> Head<'a> {
    /// The head at the start of `bytes`, and what follows its line.
    pub fn split(bytes: &'a [u8]) -> Result<(Head<'a>, &'a [u8]), ReplyError> {
        let line = memchr(b'\n', bytes).and_then(|end| bytes.split_at_checked(end + 1));
        match line {
            Some(([kind, text @ .., b'\r', b'\n'], rest)) => Ok((Head { kind: *kind, text }, rest)),
            _ => Err(ReplyError::MissingLineEnd),
        }
    }

    /// Whether chunks or elements follow until a terminator.
    pub fn is_streamed(&self) -> bool {
        self.text == b"?"
    }

    /// The announced length or count.
    pub fn length(&self) -> Option<usize> {
        parse_i64(self.text).and_then(|n| usize::try_from(n).ok())
    }

    /// How many values follow as elements of an aggregate; keys and values count separately.
    pub fn elements(&self) -> Result<usize, ReplyError> {
        let per_entry = if matches!(self.kind, b'%' | b'|') { 2 } else { 1 };
        self.length().and_then(|n| n.checked_mul(per_entry)).ok_or(ReplyError::InvalidLength)
    }
}
