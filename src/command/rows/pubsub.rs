//! Rows: publish and subscribe.

use super::super::spec::{Class, Command};
use super::{container, help, keyed, row, ALL, KEY};

pub(super) const ROWS: &[Command] = &[
    row("publish", 3, Class::Publish),
    keyed("spublish", 3, KEY).class(Class::Publish),
    row("subscribe", -2, Class::PubSub),
    row("unsubscribe", -1, Class::PubSub),
    row("psubscribe", -2, Class::PubSub),
    row("punsubscribe", -1, Class::PubSub),
    keyed("ssubscribe", -2, ALL).class(Class::PubSub),
    keyed("sunsubscribe", -1, ALL).class(Class::PubSub),
    container("pubsub", PUBSUB),
];

/// Nodes know of the proxy only, not of its clients.
const PUBSUB: &[Command] = &[
    row("channels", -2, Class::PubSub),
    row("numpat", 2, Class::PubSub),
    row("numsub", -2, Class::PubSub),
    row("shardchannels", -2, Class::PubSub),
    row("shardnumsub", -2, Class::PubSub),
    help(),
];
