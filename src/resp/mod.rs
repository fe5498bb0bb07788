//! Ring 1: bytes to frames and back, RESP2 and RESP3. Knows no command, no slot, no socket.

mod args;

pub use args::{Args, Span};
