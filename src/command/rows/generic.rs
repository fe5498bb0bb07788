//! Rows: commands on keys of any type, and on the whole key space.

use super::super::spec::{Class, Command, Flags, Keys, Merge, Since, Split};
use super::{container, help, refused, ro, row, rw, ALL, KEY, SUBKEY, TWO};

pub(super) const ROWS: &[Command] = &[
    rw("del", -2, ALL).class(Class::Split(Split::Sum)),
    rw("unlink", -2, ALL).class(Class::Split(Split::Sum)),
    ro("exists", -2, ALL).class(Class::Split(Split::Sum)),
    ro("touch", -2, ALL).class(Class::Split(Split::Sum)),
    rw("expire", -3, KEY),
    rw("pexpire", -3, KEY),
    rw("expireat", -3, KEY),
    rw("pexpireat", -3, KEY),
    ro("ttl", 2, KEY),
    ro("pttl", 2, KEY),
    ro("expiretime", 2, KEY),
    ro("pexpiretime", 2, KEY),
    rw("persist", 2, KEY),
    ro("type", 2, KEY),
    rw("rename", 3, TWO),
    rw("renamenx", 3, TWO),
    rw("copy", -3, TWO),
    ro("dump", 2, KEY),
    rw("restore", -4, KEY),
    rw("sort", -2, Keys::SortStore),
    // What a server calls movable are the patterns of BY and GET, which name no keys before the command runs.
    ro("sort_ro", -2, KEY).with(Flags::MOVABLE_KEYS),
    container("object", OBJECT),
    row("scan", -2, Class::Scan).with(Flags::READONLY),
    row("keys", 2, Class::EveryPrimary(Merge::Concat)).with(Flags::READONLY),
    row("dbsize", 1, Class::EveryPrimary(Merge::Sum)).with(Flags::READONLY),
    row("randomkey", 1, Class::EveryPrimary(Merge::AnyNonNil)).with(Flags::READONLY),
    row("flushall", -1, Class::EveryPrimary(Merge::First)).with(Flags::WRITE),
    row("flushdb", -1, Class::EveryPrimary(Merge::First)).with(Flags::WRITE),
    row("wait", 3, Class::Wait),
    refused("waitaof", 4, NO_WAITAOF).with(Flags::BLOCKING).since(Since::both((7, 2), (7, 2))),
    rw("move", 3, KEY),
    refused("swapdb", 3, "SWAPDB is not available through the proxy: it is not allowed in cluster mode")
        .with(Flags::WRITE),
    rw("migrate", -6, Keys::Migrate).class(Class::Refused(
        "MIGRATE is not available through the proxy: it would move keys out of the cluster's control",
    )),
    rw("restore-asking", -4, KEY).class(Class::Refused(
        "RESTORE-ASKING is not available through the proxy: nodes of the cluster use it among themselves",
    )),
    ro("clusterscan", -2, KEY)
        .class(Class::Refused("CLUSTERSCAN is not available through the proxy: SCAN walks the whole cluster"))
        .since(Since::valkey(9, 1)),
];

/// A node counts what its connection has written; a backend carries the writes of many clients.
const NO_WAITAOF: &str = "WAITAOF is not available through the proxy: \
    its connections to the cluster are shared by many clients, so the answer would be about the writes of others";

const OBJECT: &[Command] = &[
    ro("encoding", 3, SUBKEY),
    ro("freq", 3, SUBKEY),
    ro("idletime", 3, SUBKEY),
    ro("refcount", 3, SUBKEY),
    help(),
];
