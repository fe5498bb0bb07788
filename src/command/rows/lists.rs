//! Rows: lists.

use super::super::spec::Command;
use super::{blocking, counted, ro, rw, ALL_BUT_LAST, KEY, TWO};

pub(super) const ROWS: &[Command] = &[
    rw("lpush", -3, KEY),
    rw("rpush", -3, KEY),
    rw("lpop", -2, KEY),
    rw("rpop", -2, KEY),
    ro("lrange", 4, KEY),
    ro("llen", 2, KEY),
    ro("lindex", 3, KEY),
    rw("linsert", 5, KEY),
    ro("lpos", -3, KEY),
    rw("lpushx", -3, KEY),
    rw("rpushx", -3, KEY),
    rw("lrem", 4, KEY),
    rw("lset", 4, KEY),
    rw("ltrim", 4, KEY),
    rw("lmove", 5, TWO),
    rw("rpoplpush", 3, TWO),
    rw("lmpop", -4, counted(1)),
    blocking("blpop", -3, ALL_BUT_LAST),
    blocking("brpop", -3, ALL_BUT_LAST),
    blocking("blmove", 6, TWO),
    blocking("brpoplpush", 4, TWO),
    blocking("blmpop", -5, counted(2)),
];
