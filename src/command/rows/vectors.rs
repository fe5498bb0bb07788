//! Rows: vector sets (Redis 8). The servers list arity -1 for them: the module itself checks the arguments.

use super::super::spec::{Command, Since};
use super::{ro, rw, KEY};

pub(super) const ROWS: &[Command] = &[
    rw("vadd", -1, KEY).since(Since::redis(8, 0)),
    ro("vcard", -1, KEY).since(Since::redis(8, 0)),
    ro("vdim", -1, KEY).since(Since::redis(8, 0)),
    ro("vemb", -1, KEY).since(Since::redis(8, 0)),
    ro("vgetattr", -1, KEY).since(Since::redis(8, 0)),
    ro("vinfo", -1, KEY).since(Since::redis(8, 0)),
    ro("vismember", -1, KEY).since(Since::redis(8, 0)),
    ro("vlinks", -1, KEY).since(Since::redis(8, 0)),
    ro("vrandmember", -1, KEY).since(Since::redis(8, 0)),
    rw("vrem", -1, KEY).since(Since::redis(8, 0)),
    rw("vsetattr", -1, KEY).since(Since::redis(8, 0)),
    ro("vsim", -1, KEY).since(Since::redis(8, 0)),
];
