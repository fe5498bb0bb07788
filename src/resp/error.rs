//! What can be wrong with bytes from a client, and with bytes from a node.

use std::fmt;

/// A client broke the protocol. The connection is closed after the reply, since nobody knows where the next request
/// begins. Texts are those of Redis 7.0.15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The count behind `*` is no number, or too large.
    InvalidMultibulkLength,
    /// The length behind `$` is no number, negative or too large.
    InvalidBulkLength,
    /// More arguments than a client may send before it authenticated.
    UnauthenticatedMultibulkLength,
    /// A longer argument than a client may send before it authenticated.
    UnauthenticatedBulkLength,
    /// An argument begins with this byte in place of `$`.
    ExpectedBulk(u8),
    /// The line behind `*` does not end.
    TooBigMultibulkCount,
    /// The line behind `$` does not end.
    TooBigBulkCount,
    /// An inline request does not end.
    TooBigInline,
    /// The quotes of an inline request do not match.
    UnbalancedQuotes,
    /// The whole request is longer than [`super::Limits::max_request`]. A server has no text for this: it closes
    /// the connection when its query buffer reaches `client-query-buffer-limit`.
    TooBigRequest,
}

impl RequestError {
    /// Appends the error reply that the server sends, ready for the wire.
    pub fn write_reply(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"-ERR Protocol error: ");
        match self {
            RequestError::ExpectedBulk(byte) => {
                out.extend_from_slice(b"expected '$', got '");
                // A server blanks line ends in the text of an error.
                out.push(if matches!(byte, b'\r' | b'\n') { b' ' } else { byte });
                out.push(b'\'');
            }
            _ => out.extend_from_slice(self.text().as_bytes()),
        }
        out.extend_from_slice(b"\r\n");
    }

    fn text(self) -> &'static str {
        match self {
            RequestError::InvalidMultibulkLength => "invalid multibulk length",
            RequestError::InvalidBulkLength => "invalid bulk length",
            RequestError::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            RequestError::UnauthenticatedBulkLength => "unauthenticated bulk length",
            RequestError::ExpectedBulk(_) => "expected '$'",
            RequestError::TooBigMultibulkCount => "too big mbulk count string",
            RequestError::TooBigBulkCount => "too big bulk count string",
            RequestError::TooBigInline => "too big inline request",
            RequestError::UnbalancedQuotes => "unbalanced quotes in request",
            RequestError::TooBigRequest => "too big request",
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::ExpectedBulk(byte) => write!(f, "expected '$', got '{}'", byte.escape_ascii()),
            _ => f.write_str(self.text()),
        }
    }
}

impl std::error::Error for RequestError {}

/// A node broke the protocol. Its connection is closed: where its next reply begins is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// A value begins with a byte that is no RESP type.
    UnknownType(u8),
    /// A count or length is no number, out of range, or absent where the type needs one.
    InvalidLength,
    /// A line is longer than any node sends.
    LineTooLong,
    /// A line does not end in CRLF, or no CRLF stands behind a bulk.
    MissingLineEnd,
    /// A chunk or terminator of a streamed type where none is due, or one with half an entry before it.
    UnexpectedStreamPart,
    /// A scalar (boolean, null, integer) whose text is malformed.
    InvalidScalar,
    /// Values nested deeper than is followed.
    TooDeep,
    /// A frame that must hold elements is none of the aggregate types.
    NotAnAggregate,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyError::UnknownType(byte) => write!(f, "unknown reply type '{}'", byte.escape_ascii()),
            ReplyError::InvalidLength => f.write_str("invalid length in a reply"),
            ReplyError::LineTooLong => f.write_str("too long a line in a reply"),
            ReplyError::MissingLineEnd => f.write_str("missing line end in a reply"),
            ReplyError::UnexpectedStreamPart => f.write_str("unexpected part of a streamed reply"),
            ReplyError::InvalidScalar => f.write_str("malformed scalar in a reply"),
            ReplyError::TooDeep => f.write_str("reply nested too deeply"),
            ReplyError::NotAnAggregate => f.write_str("reply has no elements"),
        }
    }
}

impl std::error::Error for ReplyError {}
