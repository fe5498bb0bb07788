//! Rows: the server itself: introspection, configuration, persistence, replication.

use super::super::spec::{Class, Command, Flags, Local, Merge, Since};
use super::{any, container, help, refused, ro, row, SUBKEY};

pub(super) const ROWS: &[Command] = &[
    row("info", -1, Class::Info),
    any("time", 1),
    any("lolwut", -1).with(Flags::READONLY),
    any("lastsave", 1),
    row("role", 1, Class::Local(Local::Role)),
    row("monitor", 1, Class::Monitor),
    // COMMAND also works without a sub-command, so it has a class of its own.
    Command { subcommands: COMMAND, ..any("command", -1) },
    container("config", CONFIG),
    container("slowlog", SLOWLOG),
    container("commandlog", COMMANDLOG).since(Since::valkey(8, 1)),
    container("latency", LATENCY),
    container("memory", MEMORY),
    container("module", MODULE),
    container("acl", ACL),
    row("save", 1, Class::EveryPrimary(Merge::First)).with(Flags::NO_MULTI),
    row("bgsave", -1, Class::EveryPrimary(Merge::First)),
    row("bgrewriteaof", 1, Class::EveryPrimary(Merge::First)),
    refused(
        "debug",
        -2,
        "DEBUG is not available through the proxy: it can crash or stop a node of the cluster",
    ),
    refused(
        "failover",
        -1,
        "FAILOVER is not available through the proxy: the cluster manages its own primaries",
    ),
    refused(
        "psync",
        -3,
        "PSYNC is not available through the proxy: replicas connect to a node of the cluster",
    )
    .with(Flags::NO_MULTI),
    refused(
        "replconf",
        -1,
        "REPLCONF is not available through the proxy: replicas connect to a node of the cluster",
    ),
    refused(
        "replicaof",
        3,
        "REPLICAOF is not available through the proxy: it is not allowed in cluster mode",
    ),
    refused(
        "shutdown",
        -1,
        "SHUTDOWN is not available through the proxy: it would stop a node of the cluster",
    )
    .with(Flags::NO_MULTI),
    refused("slaveof", 3, "SLAVEOF is not available through the proxy: it is not allowed in cluster mode"),
    refused("sync", 1, "SYNC is not available through the proxy: replicas connect to a node of the cluster")
        .with(Flags::NO_MULTI),
];

const COMMAND: &[Command] = &[
    any("count", 2),
    any("docs", -2),
    any("getkeys", -3).with(Flags::ARITY_GREW),
    any("getkeysandflags", -3).with(Flags::ARITY_GREW),
    any("info", -2),
    any("list", -2),
    help(),
];

const CONFIG: &[Command] = &[
    any("get", -3),
    row("set", -4, Class::EveryNode(Merge::First)),
    row("resetstat", 2, Class::EveryNode(Merge::First)),
    row("rewrite", 2, Class::EveryNode(Merge::First)),
    help(),
];

const SLOWLOG: &[Command] = &[
    row("get", -2, Class::EveryNode(Merge::Special)),
    row("len", 2, Class::EveryNode(Merge::Sum)),
    row("reset", 2, Class::EveryNode(Merge::First)),
    help(),
];

const COMMANDLOG: &[Command] = &[
    row("get", 4, Class::EveryNode(Merge::Special)).since(Since::valkey(8, 1)),
    row("len", 3, Class::EveryNode(Merge::Sum)).since(Since::valkey(8, 1)),
    row("reset", 3, Class::EveryNode(Merge::First)).since(Since::valkey(8, 1)),
    help().since(Since::valkey(8, 1)),
];

const LATENCY: &[Command] = &[
    row("doctor", 2, Class::EveryNode(Merge::Special)),
    row("graph", 3, Class::EveryNode(Merge::Special)),
    // A replica counts again what its primary has.
    row("histogram", -2, Class::EveryPrimary(Merge::Special)),
    row("history", 3, Class::EveryNode(Merge::Concat)),
    row("latest", 2, Class::EveryNode(Merge::Concat)),
    row("reset", -2, Class::EveryNode(Merge::Sum)),
    help(),
];

const MEMORY: &[Command] = &[
    ro("usage", -3, SUBKEY),
    any("doctor", 2),
    any("malloc-stats", 2),
    any("stats", 2),
    row("purge", 2, Class::EveryNode(Merge::First)),
    help(),
];

const NO_MODULES: &str = "MODULE LOAD, LOADEX and UNLOAD are not available through the proxy: \
    modules are managed on the nodes of the cluster";

const MODULE: &[Command] = &[
    any("list", 2),
    refused("load", -3, NO_MODULES),
    refused("loadex", -3, NO_MODULES),
    refused("unload", 3, NO_MODULES),
    help(),
];

const NO_USERS: &str = "ACL commands that change users are not available through the proxy: \
    users are managed on the nodes of the cluster";

const ACL: &[Command] = &[
    any("cat", -2),
    any("whoami", 2),
    any("genpass", -2),
    any("dryrun", -4),
    any("getuser", 3),
    any("list", 2),
    any("log", -2),
    any("users", 2),
    refused("deluser", -3, NO_USERS),
    refused("load", 2, NO_USERS),
    refused("save", 2, NO_USERS),
    refused("setuser", -3, NO_USERS),
    help(),
];
