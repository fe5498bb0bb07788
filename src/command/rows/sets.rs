//! Rows: sets.

use super::super::spec::Command;
use super::{counted, ro, rw, ALL, KEY, TWO};

pub(super) const ROWS: &[Command] = &[
    rw("sadd", -3, KEY),
    rw("srem", -3, KEY),
    ro("smembers", 2, KEY),
    ro("sismember", 3, KEY),
    ro("smismember", -3, KEY),
    ro("scard", 2, KEY),
    rw("spop", -2, KEY),
    ro("srandmember", -2, KEY),
    ro("sscan", -3, KEY),
    rw("smove", 4, TWO),
    ro("sdiff", -2, ALL),
    ro("sinter", -2, ALL),
    ro("sunion", -2, ALL),
    ro("sintercard", -3, counted(1)),
    rw("sdiffstore", -3, ALL),
    rw("sinterstore", -3, ALL),
    rw("sunionstore", -3, ALL),
];
