//! Rows: strings.

use super::super::spec::{Class, Command, Keys, Since, Split};
use super::{range, ro, rw, ALL, KEY, TWO};

pub(super) const ROWS: &[Command] = &[
    ro("get", 2, KEY),
    rw("set", -3, KEY),
    ro("mget", -2, ALL).class(Class::Split(Split::Values)),
    rw("mset", -3, range(1, -1, 2)).class(Class::Split(Split::Pairs)),
    rw("incr", 2, KEY),
    rw("incrby", 3, KEY),
    rw("incrbyfloat", 3, KEY),
    rw("decr", 2, KEY),
    rw("decrby", 3, KEY),
    rw("setex", 4, KEY),
    rw("psetex", 4, KEY),
    rw("setnx", 3, KEY),
    rw("getset", 3, KEY),
    rw("getdel", 2, KEY),
    rw("getex", -2, KEY),
    rw("append", 3, KEY),
    ro("strlen", 2, KEY),
    ro("getrange", 4, KEY),
    ro("substr", 4, KEY),
    rw("setrange", 4, KEY),
    // All or nothing, so never split.
    rw("msetnx", -3, range(1, -1, 2)),
    rw("msetex", -4, Keys::Counted { count: 1, first: 2, step: 2, dest: 0 })
        .since(Since::both((8, 4), (9, 1))),
    ro("lcs", -3, TWO),
    rw("delifeq", 3, KEY).since(Since::valkey(9, 0)),
];
