//! CLIENT TRACKING: clients that keep copies of what they read, and are told when it has changed.
//!
//! The connections to the nodes are shared, so no node can know which client reads what. A worker with such clients asks
//! each primary to be told of *all* changes there (`CLIENT TRACKING ON BCAST` on the listeners of `pubsub`), and knows by
//! its own table who has to be told of which.
//!
//! What must hold is that a client is told of each change to what it has read. So
//!
//! - a message takes its place behind the requests that the client has in flight, as their replies may be older than the
//!   change. A key is forgotten with the message, and what the client reads after that is noted anew;
//! - whatever may have been missed is made good by a message that all has changed: when a listener is lost, and when a
//!   primary has begun to tell, since it may have been read before;
//! - reads of such a client do not go to replicas, which may be behind the message.
//!
//! A table that has grown too large is emptied in the same way. Nodes do not say who changed a key, so NOLOOP spares nobody
//! the messages about its own writes.
//!
//! | file | owns |
//! |---|---|
//! | `options` | the arguments; pure |
//! | `table` | who has read which keys; pure |
//! | `commands` | CLIENT TRACKING, CACHING, TRACKINGINFO, GETREDIR |
//! | `reads` | what is noted of a client's requests |
//! | `messages` | what is sent to clients |

mod commands;
mod messages;
mod options;
mod reads;
mod table;

use crate::base::arena::Key;
use crate::proxy::backend::Backend;
use crate::proxy::client::Client;
use table::Table;

pub use options::Options;

/// What one client wants to be told; it has one of these only while it does.
#[derive(Debug, Default)]
pub struct Tracking {
    /// What it asked for.
    pub options: Options,
    /// Whether it was told that tracking is on; nothing is noted before.
    on: bool,
    /// The client of [`Options::redirect`], on whichever worker.
    target: Key<Client>,
    /// That client had gone when there was something to tell it.
    pub broken: bool,
    /// CLIENT CACHING was sent: the next command, or transaction, is read as that says.
    caching: bool,
    /// It was told that all has changed and has read nothing since.
    told_all: bool,
    /// What it is told behind an EXEC that is being played.
    late: Vec<u8>,
}

impl Tracking {
    /// The id of the client that is told in place of this one, 0 if none is.
    pub fn redirect(&self) -> i64 {
        self.options.redirect.unwrap_or(0)
    }
}

/// The tracking clients of a worker, and what they have read.
#[derive(Debug, Default)]
pub struct Tracker {
    clients: Vec<Key<Client>>,
    /// Those among them that are told of all keys.
    broadcast: Vec<Key<Client>>,
    table: Table,
    /// Nodes that were emptied, each once; then the next round begins.
    flushed: Vec<Key<Backend>>,
}
