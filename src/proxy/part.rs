//! A piece of a request on its way to one node.

use super::across::Ask;
use super::backend::Kind;
use super::client::Client;
use super::fan::Gather;
use super::foreign::Lookup;
use super::order::Sequence;
use super::pubsub::Topic;
use crate::base::arena::Key;

/// In [`Part::slot`]: the part has no key; any primary will do.
pub const NO_SLOT: u16 = u16::MAX;

/// Who waits for the reply.
#[derive(Clone, Copy, Debug)]
pub enum Owner {
    /// A client, for the request with this sequence.
    Client(Key<Client>, Sequence),
    /// A split request, for its part of this number.
    Gather(Key<Gather>, u16),
    /// A question about the whole proxy. It is never parked: what tells of a node itself does not wait for it.
    Ask(Key<Ask>),
    /// Those who use a command that the table does not know.
    Lookup(Key<Lookup>),
    /// The backend itself, for the greeting it sends on connect; the last reply opens it.
    Handshake(Greeting),
    /// Nobody: the `+OK` of ASKING or UNWATCH.
    Nobody,
    /// Nobody yet: the answer to a command inside a transaction, whose EXEC is the part.
    Step,
    /// A topic that this backend is told to carry (true) or not to. [`Key::NONE`] for a PING.
    Listener(Key<Topic>, bool),
}

/// The steps of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// AUTH: an error means that the proxy has the wrong password.
    Auth,
    /// HELLO 3: an error means that the node cannot speak RESP3.
    Hello,
    /// SELECT: an error means that the node has no such database.
    Select,
    /// READONLY: an error means that the node is no cluster node.
    ReadOnly,
    /// CLIENT ID: an error means that CLIENT UNBLOCK will not work, and does not matter else.
    Id,
    /// CLIENT SETNAME: an error does not matter.
    Name,
}

/// A piece of a request, without its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Who waits for the reply.
    pub owner: Owner,
    /// When the request was first routed, in microseconds of [`crate::base::time::Time`], cut to 32 bits.
    pub born_us: u32,
    /// The slot of its keys, or [`NO_SLOT`].
    pub slot: u16,
    /// Row of the command table.
    pub command: u16,
    /// How often it was sent before.
    pub attempts: u8,
    /// What kind of backend it needs.
    pub kind: Kind,
    /// It is a whole transaction, from MULTI to EXEC.
    pub block: bool,
}

/// A part that was appended to a backend's window.
#[derive(Clone, Copy, Debug)]
pub struct InFlight {
    /// Which part.
    pub part: Part,
    /// Its length in the window, in bytes.
    pub len: u32,
}
