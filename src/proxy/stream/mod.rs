//! Large replies and large requests, passed on as they come instead of being held whole.
//!
//! | file | owns |
//! |---|---|
//! | `replies` | a reply that is passed on before its end has come; the pace of its client |
//! | `requests` | a request that is passed on before its end has come |
//! | `detach` | the shared backend that such a reply occupies: how nobody waits behind it |

mod detach;
mod replies;
mod requests;

pub(super) use replies::Taker;
pub use requests::Upload;

use crate::base::arena::Key;

use std::time::Duration;

use super::backend::Backend;
use super::engine::Engine;
use super::nodes::Node;

/// How long a client may take nothing of a large reply, or send nothing of a large request, that its node waits for.
const MOST_STALL: Duration = Duration::from_secs(60);

/// Replies that wait for a client hold up the backends that bring more from this part of its output limit on.
const SWAMPED_PART: usize = 8;

/// From which sizes on bytes are passed on as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of an unfinished reply from which on it is passed on. A shorter one is held until it is whole, so that its
    /// request can be sent again if the node is lost.
    pub begin: usize,
    /// Bytes from which on a reply or a request gets a backend of its own.
    pub large: usize,
    /// Bytes on their way to a client, or to a node, above which no more are read for it.
    pub pace: usize,
    /// Bytes of replies waiting for a client above which no more are read for it, unless it is an unfinished one. No more
    /// than a part of the client's output limit.
    pub swamp: usize,
    /// Keys of an MGET that are asked for at once, at first; then as many as bring `large` bytes.
    pub slice: usize,
}

impl Sizes {
    /// Whether an unfinished reply, of which `here` bytes have come and so many are `announced`, is passed on.
    #[inline]
    pub(super) fn are_passed_by(&self, here: usize, announced: u64) -> bool {
        here >= self.begin || announced >= self.large as u64
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes { begin: 256 << 10, large: 1 << 20, pace: 256 << 10, swamp: usize::MAX, slice: 1024 }
    }
}

/// What a backend's bytes are just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Replies, each taken when it is whole.
    Replies,
    /// Messages of topics, and replies.
    Messages,
    /// The rest of a reply of which some has been passed on, or dropped as nobody wants it.
    Rest,
    /// Too early: the request is not all there.
    Request,
}

/// What a worker knows of its streams beside the backends themselves.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub sizes: Sizes,
    /// Backends whose reading shall go on.
    pub go_on: Vec<Key<Backend>>,
    /// Backends that take no new parts because of a large reply.
    pub detached: usize,
    /// Large requests under way.
    pub uploads: usize,
    /// Much waited for some client when it got its last reply.
    pub swamped: bool,
    /// The node that answered a part of a request last.
    pub answered_by: Key<Node>,
}

impl Engine {
    /// From which sizes on requests and replies are passed on as they come; to be set before anything has come.
    pub fn set_sizes(&mut self, sizes: Sizes) {
        let swamp = sizes.swamp.min(self.config.client_output_limit / SWAMPED_PART);
        self.streams.sizes = Sizes { swamp, ..sizes };
    }
}
