//! Rows: publish and subscribe.

use super::super::spec::{Class, Command, Merge};
use super::{container, help, keyed, row, ALL, KEY};

pub(super) const ROWS: &[Command] = &[
    row("publish", 3, Class::PubSub),
    keyed("spublish", 3, KEY),
    row("subscribe", -2, Class::PubSub),
    row("unsubscribe", -1, Class::PubSub),
    row("psubscribe", -2, Class::PubSub),
    row("punsubscribe", -1, Class::PubSub),
    keyed("ssubscribe", -2, ALL).class(Class::PubSub),
    keyed("sunsubscribe", -1, ALL).class(Class::PubSub),
    container("pubsub", PUBSUB),
];

/// A node knows only its own subscribers.
const PUBSUB: &[Command] = &[
    row("channels", -2, Class::EveryNode(Merge::Special)),
    row("numpat", 2, Class::EveryNode(Merge::Special)),
    row("numsub", -2, Class::EveryNode(Merge::Special)),
    row("shardchannels", -2, Class::EveryNode(Merge::Special)),
    row("shardnumsub", -2, Class::EveryNode(Merge::Special)),
    help(),
];
