//! Ring 1: what commands mean. The table, where the keys are, which slot a key hashes to. Pure.

mod spec;

pub use spec::{Class, Command, Flags, Keys, Local, Merge, Split};
