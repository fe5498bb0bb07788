//! Rows: streams.

use super::super::spec::{Class, Command, Flags, Keys, Since};
use super::{container, help, ro, rw, KEY, SUBKEY};

pub(super) const ROWS: &[Command] = &[
    rw("xadd", -5, KEY),
    rw("xack", -4, KEY),
    rw("xdel", -3, KEY),
    ro("xlen", 2, KEY),
    ro("xrange", -4, KEY),
    ro("xrevrange", -4, KEY),
    ro("xread", -4, Keys::Streams).class(Class::Blocking).with(Flags::BLOCKING),
    rw("xreadgroup", -7, Keys::Streams).class(Class::Blocking).with(Flags::BLOCKING),
    ro("xpending", -3, KEY),
    rw("xclaim", -6, KEY),
    rw("xautoclaim", -6, KEY),
    rw("xtrim", -4, KEY),
    rw("xsetid", -3, KEY),
    rw("xackdel", -6, KEY).since(Since::redis(8, 2)),
    rw("xdelex", -5, KEY).since(Since::redis(8, 2)),
    container("xgroup", XGROUP),
    container("xinfo", XINFO),
];

const XGROUP: &[Command] = &[
    rw("create", -5, SUBKEY),
    rw("createconsumer", 5, SUBKEY),
    rw("delconsumer", 5, SUBKEY),
    rw("destroy", 4, SUBKEY),
    rw("setid", -5, SUBKEY),
    help(),
];

const XINFO: &[Command] =
    &[ro("consumers", 4, SUBKEY), ro("groups", 3, SUBKEY), ro("stream", -3, SUBKEY), help()];
