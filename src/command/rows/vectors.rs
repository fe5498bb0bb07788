//! Rows: vector sets (Redis 8). The servers list arity -1 for them: the module itself checks the arguments.

use super::super::spec::Command;
use super::{ro, rw, KEY};

pub(super) const ROWS: &[Command] = &[
    rw("vadd", -1, KEY).newer(),
    ro("vcard", -1, KEY).newer(),
    ro("vdim", -1, KEY).newer(),
    ro("vemb", -1, KEY).newer(),
    ro("vgetattr", -1, KEY).newer(),
    ro("vinfo", -1, KEY).newer(),
    ro("vismember", -1, KEY).newer(),
    ro("vlinks", -1, KEY).newer(),
    ro("vrandmember", -1, KEY).newer(),
    rw("vrem", -1, KEY).newer(),
    rw("vsetattr", -1, KEY).newer(),
    ro("vsim", -1, KEY).newer(),
];
