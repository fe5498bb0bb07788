//! The rows of the command table, a file per theme. Owns what each command is; must not know how rows are found.
//!
//! Arity, flags and key positions are those of `COMMAND` of Redis 7.0; rows that say since when servers have them come from
//! Redis 8.2 and Valkey 9.1. The class of a row is the proxy's own decision.

mod cluster;
mod connection;
mod generic;
mod geo;
mod hashes;
mod lists;
mod probabilistic;
mod pubsub;
mod scripting;
mod server;
mod sets;
mod streams;
mod strings;
mod transactions;
mod vectors;
mod zsets;

use super::spec::{Class, Command, Flags, Keys, Since};

/// All rows, by theme. The hottest themes come first: they get the first places in the index.
pub(super) const THEMES: [&[Command]; 16] = [
    strings::ROWS,
    generic::ROWS,
    hashes::ROWS,
    lists::ROWS,
    sets::ROWS,
    zsets::ROWS,
    streams::ROWS,
    scripting::ROWS,
    pubsub::ROWS,
    transactions::ROWS,
    connection::ROWS,
    probabilistic::ROWS,
    geo::ROWS,
    server::ROWS,
    cluster::ROWS,
    vectors::ROWS,
];

/// Argument 1 is the only key.
const KEY: Keys = range(1, 1, 1);
/// Arguments 1 and 2 are the keys.
const TWO: Keys = range(1, 2, 1);
/// All arguments are keys.
const ALL: Keys = range(1, -1, 1);
/// All arguments but the last are keys.
const ALL_BUT_LAST: Keys = range(1, -2, 1);
/// Argument 2, the one behind the sub-command, is the only key.
const SUBKEY: Keys = range(2, 2, 1);

/// `count` is the argument with the number of keys; they follow it.
const fn counted(count: u8) -> Keys {
    Keys::Counted { count, first: count + 1, step: 1, dest: 0 }
}

const fn range(first: u8, last: i8, step: u8) -> Keys {
    Keys::Range { first, last, step }
}

/// A command without keys and flags.
const fn row(name: &'static str, arity: i16, class: Class) -> Command {
    let (flags, keys, since) = (Flags(0), Keys::None, Since::ALWAYS);
    Command { name, id: 0, arity, of: None, flags, keys, since, class, plain: false, subcommands: &[] }
}

/// A keyed command that neither only reads nor plainly writes (EVAL).
const fn keyed(name: &'static str, arity: i16, keys: Keys) -> Command {
    let command = row(name, arity, Class::Slot);
    let flags = if matches!(keys, Keys::Range { .. } | Keys::None) { Flags(0) } else { Flags::MOVABLE_KEYS };
    Command { keys, flags, ..command }
}

/// A keyed command that reads and never writes.
const fn ro(name: &'static str, arity: i16, keys: Keys) -> Command {
    keyed(name, arity, keys).with(Flags::READONLY)
}

/// A keyed command that may write.
const fn rw(name: &'static str, arity: i16, keys: Keys) -> Command {
    keyed(name, arity, keys).with(Flags::WRITE)
}

/// A keyed, writing command that may wait for another client.
const fn blocking(name: &'static str, arity: i16, keys: Keys) -> Command {
    rw(name, arity, keys).class(Class::Blocking).with(Flags::BLOCKING)
}

/// A command without keys that any primary answers.
const fn any(name: &'static str, arity: i16) -> Command {
    row(name, arity, Class::AnyPrimary)
}

/// The HELP that every container has; its text is the same on all nodes.
const fn help() -> Command {
    any("help", 2)
}

/// A command that is never forwarded.
const fn refused(name: &'static str, arity: i16, reason: &'static str) -> Command {
    row(name, arity, Class::Refused(reason))
}

/// A command that only has sub-commands.
const fn container(name: &'static str, subcommands: &'static [Command]) -> Command {
    let command = row(name, -2, Class::Container);
    Command { subcommands, ..command }
}

impl Command {
    /// The row with more flags.
    const fn with(self, flags: Flags) -> Command {
        let flags = self.flags.and(flags);
        Command { flags, ..self }
    }

    /// The row with another class.
    const fn class(self, class: Class) -> Command {
        Command { class, ..self }
    }

    /// The row as one that only some servers have.
    const fn since(self, since: Since) -> Command {
        Command { since, ..self.with(Flags::NEWER) }
    }
}
