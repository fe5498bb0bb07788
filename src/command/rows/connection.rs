//! Rows: what concerns the client's own connection, answered in the proxy.

use super::super::spec::{Class, Command, Flags, Local, Since};
use super::{container, help, refused, row};

pub(super) const ROWS: &[Command] = &[
    local("ping", -1, Local::Ping),
    local("echo", 2, Local::Echo),
    local("select", 2, Local::Select),
    local("auth", -2, Local::Auth).with(Flags::NO_AUTH),
    local("hello", -1, Local::Hello).with(Flags::NO_AUTH),
    local("quit", -1, Local::Quit).with(Flags::NO_AUTH),
    local("reset", 1, Local::Reset).with(Flags::NO_AUTH),
    local("readonly", 1, Local::ReadOnly),
    local("readwrite", 1, Local::ReadWrite),
    refused(
        "asking",
        1,
        "ASKING is not available through the proxy: it follows the cluster's redirects itself",
    ),
    container("client", CLIENT),
];

const CLIENT: &[Command] = &[
    client("id", 2),
    client("setname", 3),
    client("getname", 2),
    client("setinfo", 4).since(Since::both((7, 2), (7, 2))),
    client("info", 2),
    client("list", -2),
    client("kill", -3),
    client("reply", 3),
    client("no-evict", 3),
    client("no-touch", 3).since(Since::both((7, 2), (7, 2))),
    client("pause", -3),
    client("unpause", 2),
    client("unblock", -3),
    client("getredir", 2),
    client("trackinginfo", 2),
    client("capa", -3).since(Since::valkey(8, 0)),
    client("caching", 3),
    client("tracking", -3),
    refused(
        "import-source",
        3,
        "CLIENT IMPORT-SOURCE is not available through the proxy: its connections are shared by many clients",
    )
    .since(Since::valkey(8, 1)),
    help(),
];

const fn local(name: &'static str, arity: i16, what: Local) -> Command {
    row(name, arity, Class::Local(what))
}

const fn client(name: &'static str, arity: i16) -> Command {
    local(name, arity, Local::Client)
}
