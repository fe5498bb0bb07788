//! Rows: hashes.

use super::super::spec::Command;
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
    rw("hexpire", -6, KEY).newer(),
    rw("hexpireat", -6, KEY).newer(),
    rw("hpexpire", -6, KEY).newer(),
    rw("hpexpireat", -6, KEY).newer(),
    rw("hpersist", -5, KEY).newer(),
    ro("httl", -5, KEY).newer(),
    ro("hpttl", -5, KEY).newer(),
    ro("hexpiretime", -5, KEY).newer(),
    ro("hpexpiretime", -5, KEY).newer(),
    rw("hgetdel", -5, KEY).newer(),
    rw("hgetex", -5, KEY).newer(),
    rw("hsetex", -6, KEY).newer(),
];
