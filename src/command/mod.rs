//! Ring 1: what commands mean. The table, where the keys are, which slot a key hashes to. Pure.

mod foreign;
mod keys;
mod rows;
mod slot;
mod spec;
mod table;
mod texts;

pub use foreign::{is_stand_in, Foreign, Place};
pub use keys::{block_argument, blocks, first_key, keys, slot_of, KeyError, KeyPositions};
pub use slot::slot;
pub use spec::{Class, Command, Flags, Keys, Local, Merge, Since, Split};
pub use table::{
    arity_ok, by_id, commands, count, full_name, lookup, lookup_plain, resolve, subcommand, Unknown,
};
pub use texts::{unknown_command_error, unknown_subcommand_error, wrong_arity_error};
