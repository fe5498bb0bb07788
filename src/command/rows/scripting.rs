//! Rows: scripts and functions.

use super::super::spec::{Class, Command, Flags, Merge, Since};
use super::{any, container, counted, help, keyed, refused, row};

pub(super) const ROWS: &[Command] = &[
    keyed("eval", -3, counted(2)),
    keyed("eval_ro", -3, counted(2)).with(Flags::READONLY),
    keyed("evalsha", -3, counted(2)),
    keyed("evalsha_ro", -3, counted(2)).with(Flags::READONLY),
    keyed("fcall", -3, counted(2)),
    keyed("fcall_ro", -3, counted(2)).with(Flags::READONLY),
    container("script", SCRIPT),
    container("function", FUNCTION),
];

const SCRIPT: &[Command] = &[
    row("load", 3, Class::EveryPrimary(Merge::First)),
    row("exists", -3, Class::EveryPrimary(Merge::And)),
    row("flush", -2, Class::EveryPrimary(Merge::First)),
    // Nodes where nothing runs answer NOTBUSY; one that killed something outweighs them.
    row("kill", 2, Class::EveryPrimary(Merge::Special)),
    refused(
        "debug",
        -3,
        "SCRIPT DEBUG is not available through the proxy: it takes over a node's connection",
    )
    .with(Flags::ARITY_GREW),
    any("show", 3).since(Since::valkey(8, 0)),
    help(),
];

const FUNCTION: &[Command] = &[
    row("load", -3, Class::EveryPrimary(Merge::First)).with(Flags::WRITE),
    row("delete", 3, Class::EveryPrimary(Merge::First)).with(Flags::WRITE),
    row("flush", -2, Class::EveryPrimary(Merge::First)).with(Flags::WRITE),
    row("restore", -3, Class::EveryPrimary(Merge::First)).with(Flags::WRITE),
    row("kill", 2, Class::EveryPrimary(Merge::Special)),
    any("list", -2),
    any("dump", 2),
    any("stats", 2),
    help(),
];
