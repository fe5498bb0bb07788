//! Ring 1: bytes to frames and back, RESP2 and RESP3. Knows no command, no slot, no socket.

mod args;
mod brief;
mod children;
pub mod encode;
mod error;
mod head;
pub mod inline;
mod limits;
mod number;
mod peek;
mod quick;
mod reply;
mod request;
mod value;

pub use args::{Args, Span};
pub use brief::{brief, Brief, LONGEST_BRIEF};
pub use children::{children, Children};
pub use error::{ReplyError, RequestError};
pub use limits::Limits;
pub use peek::{bulk, frame_len, integer};
pub use quick::quick_frame;
pub use reply::{error_text, is_error, is_push, ReplyFramer, Scan};
pub use request::{Parsed, RequestParser, RequestRest};
pub use value::Value;

/// The version of the protocol that a connection speaks; HELLO switches it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What every connection begins with.
    #[default]
    Resp2,
    /// Maps, sets, doubles, pushes and the rest.
    Resp3,
}
