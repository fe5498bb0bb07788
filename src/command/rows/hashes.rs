//! Rows: hashes.

use super::super::spec::{Command, Since};
use super::{ro, rw, KEY};

pub(super) const ROWS: &[Command] = &[
    ro("hget", 3, KEY),
    rw("hset", -4, KEY),
    ro("hgetall", 2, KEY),
    ro("hmget", -3, KEY),
    rw("hmset", -4, KEY),
    rw("hdel", -3, KEY),
    ro("hexists", 3, KEY),
    rw("hincrby", 4, KEY),
    rw("hincrbyfloat", 4, KEY),
    ro("hkeys", 2, KEY),
    ro("hlen", 2, KEY),
    ro("hvals", 2, KEY),
    ro("hrandfield", -2, KEY),
    ro("hscan", -3, KEY),
    rw("hsetnx", 4, KEY),
    ro("hstrlen", 3, KEY),
    // Lifetimes of single fields.
    rw("hexpire", -6, KEY).since(EXPIRY),
    rw("hexpireat", -6, KEY).since(EXPIRY),
    rw("hpexpire", -6, KEY).since(EXPIRY),
    rw("hpexpireat", -6, KEY).since(EXPIRY),
    rw("hpersist", -5, KEY).since(EXPIRY),
    ro("httl", -5, KEY).since(EXPIRY),
    ro("hpttl", -5, KEY).since(EXPIRY),
    ro("hexpiretime", -5, KEY).since(EXPIRY),
    ro("hpexpiretime", -5, KEY).since(EXPIRY),
    rw("hgetdel", -5, KEY).since(Since::both((8, 0), (9, 1))),
    rw("hgetex", -5, KEY).since(Since::both((8, 0), (9, 0))),
    rw("hsetex", -6, KEY).since(Since::both((8, 0), (9, 0))),
];

/// Fields of hashes expire by themselves.
const EXPIRY: Since = Since::both((7, 4), (9, 0));
