//! Rows: bitmaps and HyperLogLogs, both kept in strings.

use super::super::spec::Command;
use super::{any, range, ro, rw, ALL, KEY, SUBKEY};

pub(super) const ROWS: &[Command] = &[
    rw("setbit", 4, KEY),
    ro("getbit", 3, KEY),
    ro("bitcount", -2, KEY),
    ro("bitpos", -3, KEY),
    rw("bitfield", -2, KEY),
    ro("bitfield_ro", -2, KEY),
    rw("bitop", -4, range(2, -1, 1)),
    rw("pfadd", -2, KEY),
    // May write its cache into the key, but a server lists it as read-only, and a replica answers it.
    ro("pfcount", -2, ALL),
    rw("pfmerge", -2, ALL),
    rw("pfdebug", 3, SUBKEY),
    any("pfselftest", 1),
];
