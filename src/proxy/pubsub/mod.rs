//! Publish and subscribe: many clients share one subscription per worker and node.
//!
//! A *topic* is a channel, a pattern or a sharded channel that some client of this worker wants. A *listener* is a
//! backend that only subscribes; there is at most one to each node. Which listeners carry a topic:
//!
//! | topic | carried by |
//! |---|---|
//! | channel, pattern | one node, the *main* one: a cluster passes every message on to all its nodes |
//! | that may see keyspace events | the main node and every primary, since nodes keep these events to themselves |
//! | sharded channel | the owner of its slot |
//! | changes of keys | every primary |
//!
//! `Engine::settle` makes that true for one topic and is called whenever something about it has changed; what cannot
//! be done now is tried again soon. A message is passed on only if it comes from the node that has to bring it, so
//! a change of nodes may lose messages and does not double them. A client's SUBSCRIBE is confirmed when the nodes have
//! confirmed theirs, and until then nothing but further subscriptions overtakes it.
//!
//! PUBLISH answers how many subscribers this proxy has: a node knows one subscription of each worker at most, and not who
//! shares it. What other proxies and the nodes themselves have is known to nobody.
//!
//! | file | owns |
//! |---|---|
//! | `hub` | topics, and which clients and listeners belong to them |
//! | `subscriber` | what one client has subscribed to |
//! | `commands` | what clients ask for |
//! | `publish` | PUBLISH, SPUBLISH |
//! | `listen` | subscriptions at the nodes |
//! | `messages` | what listeners receive, passed on |
//! | `changes` | the topic of changes, for `tracking` |
//! | `audience` | how many clients of all workers have subscribed to what |
//! | `inquiry` | PUBSUB |
//! | `names`, `encode` | names that may be keyspace events, patterns; frames |

mod audience;
mod changes;
mod commands;
mod encode;
mod hub;
mod inquiry;
mod listen;
mod messages;
mod names;
mod publish;
mod subscriber;

pub use audience::Audience;
pub use hub::{Hub, Topic};
pub use subscriber::Subscriber;

/// What the name of a topic stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// SUBSCRIBE: the channel of this name.
    Channel,
    /// PSUBSCRIBE: all channels that match.
    Pattern,
    /// SSUBSCRIBE: the sharded channel of this name.
    Shard,
    /// CLIENT TRACKING: what changes at any primary; there is one such topic, without a name.
    Changes,
}

impl Scope {
    /// How many scopes there are.
    pub const COUNT: usize = 4;

    /// The command that subscribes, in the lower case of confirmations.
    pub fn subscribe(self) -> &'static str {
        ["subscribe", "psubscribe", "ssubscribe", "client|tracking"][self as usize]
    }

    /// The command that ends a subscription.
    pub fn unsubscribe(self) -> &'static str {
        ["unsubscribe", "punsubscribe", "sunsubscribe", "client|tracking"][self as usize]
    }
}
