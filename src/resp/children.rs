//! The elements of an aggregate, one frame after the other, without building anything.

use super::{head::Head, ReplyError, ReplyFramer, Scan};

/// The element frames of one aggregate; see [`children`].
#[derive(Debug)]
pub struct Children<'a> {
    rest: &'a [u8],
    left: Left,
}

#[derive(Clone, Copy, Debug)]
enum Left {
    /// So many elements.
    Counted(usize),
    /// Elements up to a terminator.
    Streamed,
}

/// The immediate elements of `frame`, a whole array, set, push or map (keys and values in turn). An attribute in
/// front of the aggregate is skipped; one in front of an element belongs to that element.
///
/// Were `frame` cut short, the elements would end early: [`Children::announced`] tells how many there should be.
///
/// # Errors
///
/// [`ReplyError::NotAnAggregate`] for anything else, null arrays included; [`ReplyError::InvalidLength`].
pub fn children(frame: &[u8]) -> Result<Children<'_>, ReplyError> {
    let mut rest = frame;
    loop {
        let (head, body) = Head::split(rest)?;
        match head.kind {
            b'|' => {
                let mut attribute = Children { rest: body, left: Left::Counted(head.elements()?) };
                attribute.by_ref().for_each(drop);
                rest = attribute.rest;
            }
            b'*' if head.text == b"-1" => return Err(ReplyError::NotAnAggregate),
            b'*' | b'~' | b'>' | b'%' if head.is_streamed() => {
                return Ok(Children { rest: body, left: Left::Streamed });
            }
            b'*' | b'~' | b'>' | b'%' => {
                return Ok(Children { rest: body, left: Left::Counted(head.elements()?) });
            }
            _ => return Err(ReplyError::NotAnAggregate),
        }
    }
}

impl<'a> Children<'a> {
    /// How many elements are still to come; unknown (`None`) when they are streamed.
    pub fn announced(&self) -> Option<usize> {
        match self.left {
            Left::Counted(left) => Some(left),
            Left::Streamed => None,
        }
    }

    fn end(&mut self) -> Option<&'a [u8]> {
        self.rest = &[];
        None
    }
}

impl<'a> Iterator for Children<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match &mut self.left {
            Left::Counted(0) => return None,
            Left::Counted(left) => *left -= 1,
            Left::Streamed if self.rest.first() == Some(&b'.') => return self.end(),
            Left::Streamed => {}
        }
        match ReplyFramer::new().scan(self.rest) {
            Ok(Scan::Done(end)) => {
                let (frame, rest) = self.rest.split_at_checked(end)?;
                self.rest = rest;
                Some(frame)
            }
            _ => self.end(),
        }
    }
}
