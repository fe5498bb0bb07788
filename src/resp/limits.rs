//! How much a client may announce or send. Knows numbers only, not where they are checked.

/// Highest argument count a server takes: `INT_MAX` (Redis 7.0 `processMultibulkBuffer`).
const SERVER_MAX_ARGS: usize = i32::MAX as usize;
/// Default `proto-max-bulk-len` of a server, bytes.
const SERVER_MAX_BULK: usize = 512 * 1024 * 1024;
/// Longest inline request, count line or length line, bytes (`PROTO_INLINE_MAX_SIZE`).
const SERVER_MAX_INLINE: usize = 64 * 1024;
/// Counts before authentication (Redis 6.2.7 and later).
const UNAUTHENTICATED_MAX_ARGS: usize = 10;
/// Bytes of one argument before authentication.
const UNAUTHENTICATED_MAX_BULK: usize = 16 * 1024;

/// Limits for the requests of one client. The defaults are a server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arguments in one request, the command name included. Taken as 9 when lower.
    pub max_args: usize,
    /// Bytes in one argument. Taken as 99 when lower.
    pub max_bulk: usize,
    /// Bytes in an inline request, and in a line that announces a count or a length.
    pub max_inline: usize,
    /// Bytes in one whole request with its framing. Spans are 32 bits wide, so 4 GiB - 1 holds in any case.
    pub max_request: usize,
    /// Whether breaking `max_args` or `max_bulk` is reported as a server does to a client that has not authenticated.
    pub unauthenticated: bool,
}

impl Limits {
    /// What a server allows to a client that has yet to authenticate: 10 arguments of 16 KiB each. Inline requests
    /// are not restricted further, as there.
    pub fn unauthenticated() -> Self {
        Limits {
            max_args: UNAUTHENTICATED_MAX_ARGS,
            max_bulk: UNAUTHENTICATED_MAX_BULK,
            unauthenticated: true,
            ..Limits::default()
        }
    }

    /// Whether `count` arguments break even the limit of an authenticated client, which the server checks first.
    pub(super) fn beyond_server_args(count: i64) -> bool {
        usize::try_from(count).map_or(count > 0, |n| n > SERVER_MAX_ARGS)
    }

    /// Whether an argument of `len` bytes breaks even the limit of an authenticated client.
    pub(super) fn beyond_server_bulk(len: i64) -> bool {
        usize::try_from(len).map_or(len > 0, |n| n > SERVER_MAX_BULK)
    }

    /// [`Limits::max_args`] and its floor: requests so small are parsed without looking at limits.
    pub(super) fn args(&self) -> usize {
        self.max_args.max(9)
    }

    /// [`Limits::max_bulk`] and its floor.
    pub(super) fn bulk(&self) -> usize {
        self.max_bulk.max(99)
    }

    /// The longest frame that spans can describe and `max_request` allows, bytes.
    pub fn longest_frame(&self) -> usize {
        let addressable = usize::try_from(u32::MAX).unwrap_or(usize::MAX);
        self.max_request.min(addressable)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_args: SERVER_MAX_ARGS,
            max_bulk: SERVER_MAX_BULK,
            max_inline: SERVER_MAX_INLINE,
            max_request: 2 * SERVER_MAX_BULK,
            unauthenticated: false,
        }
    }
}
