//! Rows: transactions.

use super::super::spec::{Class, Command};
use super::{keyed, row, ALL};

pub(super) const ROWS: &[Command] = &[
    row("multi", 1, Class::Transaction),
    row("exec", 1, Class::Transaction),
    row("discard", 1, Class::Transaction),
    keyed("watch", -2, ALL).class(Class::Transaction),
    row("unwatch", 1, Class::Transaction),
];
