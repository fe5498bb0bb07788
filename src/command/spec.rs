//! The words in which the command table says what a command is.

use std::num::NonZeroU16;

use super::table::by_id;

/// One command or sub-command, as a row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Lower-case name; of a sub-command only its own word (`get`, not `config|get`).
    pub name: &'static str,
    /// Dense number of the row, commands first, then sub-commands: an index for arrays of statistics. Not stable
    /// between versions of the program.
    pub id: u16,
    /// Number of arguments with the name (and, for a sub-command, its container's name); negative: at least so many.
    pub arity: i16,
    /// Of a sub-command the id of its container, see [`Command::container`].
    pub(super) of: Option<NonZeroU16>,
    /// What the server says of it.
    pub flags: Flags,
    /// Where its keys are.
    pub keys: Keys,
    /// Which servers have it.
    pub since: Since,
    /// What the proxy does with it.
    pub class: Class,
    /// Whether it goes as it is to the slot of its one key, which is argument 1: true for most that clients send.
    pub plain: bool,
    /// Rows of its sub-commands; empty for most.
    pub subcommands: &'static [Command],
}

impl Command {
    /// Of a sub-command the lower-case name of its container (`config`); empty for a command of its own.
    pub fn container(&self) -> &'static str {
        self.of.map_or("", |id| by_id(id.get()).name)
    }
}

/// A set of the flags a server lists for a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// May change data.
    pub const WRITE: Flags = Flags(1);
    /// Reads data and never changes it: may go to a replica, may be sent again.
    pub const READONLY: Flags = Flags(1 << 1);
    /// May wait for another client.
    pub const BLOCKING: Flags = Flags(1 << 2);
    /// Allowed before authentication.
    pub const NO_AUTH: Flags = Flags(1 << 3);
    /// Not allowed inside MULTI.
    pub const NO_MULTI: Flags = Flags(1 << 4);
    /// Its key positions depend on its arguments beyond what first/last/step say.
    pub const MOVABLE_KEYS: Flags = Flags(1 << 5);
    /// Not every server has it: [`Command::since`] says which do.
    pub const NEWER: Flags = Flags(1 << 6);
    /// Redis 7.0 takes fewer numbers of arguments than the row says, which is that of Redis 8 and Valkey 9: between the
    /// two the server decides.
    pub const ARITY_GREW: Flags = Flags(1 << 7);

    /// Both sets together.
    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether every flag of `other` is in this set.
    #[inline]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Where the keys of a command stand among its arguments (0 is the command's name, also for sub-commands:
/// the key of `OBJECT ENCODING k` is argument 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// No keys.
    None,
    /// Arguments `first`, `first + step`, ... up to `last`; a negative `last` counts from the end (-1 is the last).
    Range {
        /// First key.
        first: u8,
        /// Last key, or from the end when negative.
        last: i8,
        /// Distance between two keys.
        step: u8,
    },
    /// Argument `count` says how many keys follow from argument `first` on (EVAL, ZUNION, LMPOP ...); where `dest` is
    /// not 0, argument `dest` is a key too (ZUNIONSTORE).
    Counted {
        /// Argument that holds the number of keys.
        count: u8,
        /// First key.
        first: u8,
        /// Distance between two keys: 1, or 2 where each is followed by its value (MSETEX).
        step: u8,
        /// Destination key, or 0.
        dest: u8,
    },
    /// The first half of what follows the word STREAMS (XREAD, XREADGROUP).
    Streams,
    /// Argument 1 and what follows a STORE (SORT; the last STORE wins).
    SortStore,
    /// Argument 1 and what follows the last STORE or STOREDIST (GEORADIUS, GEORADIUSBYMEMBER); options start at `options`.
    GeoStore {
        /// First argument that may be STORE or STOREDIST.
        options: u8,
    },
    /// Argument 3 unless it is empty, else everything behind the word KEYS (MIGRATE).
    Migrate,
}

/// What the proxy does with a command; `commands.md` of the design has a paragraph for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Sent whole to the owner of the one slot of its keys, or to any primary when this invocation has no key
    /// (EVAL with 0 keys).
    Slot,
    /// Split into a part per slot, merged.
    Split(Split),
    /// No key: sent to any primary.
    AnyPrimary,
    /// Sent to every primary, merged.
    EveryPrimary(Merge),
    /// Sent to every node, merged.
    EveryNode(Merge),
    /// SCAN.
    Scan,
    /// May block: needs a dedicated backend.
    Blocking,
    /// MULTI, EXEC, DISCARD, WATCH, UNWATCH.
    Transaction,
    /// SUBSCRIBE and its kin, PUBSUB.
    PubSub,
    /// PUBLISH, SPUBLISH.
    Publish,
    /// WAIT.
    Wait,
    /// Answered in the proxy.
    Local(Local),
    /// CLUSTER sub-commands: the proxy shows itself as one node.
    ClusterView,
    /// INFO.
    Info,
    /// MONITOR.
    Monitor,
    /// Has sub-commands of different classes and does nothing without one; the row of the sub-command decides.
    Container,
    /// Never forwarded; the text (without `-ERR `) says why.
    Refused(&'static str),
}

/// Commands that are split by slot; says how the replies of the parts become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// MGET: the elements in the order of the keys.
    #[default]
    Values,
    /// MSET: `+OK` when all parts said so; arguments go in pairs.
    Pairs,
    /// DEL, UNLINK, EXISTS, TOUCH: the sum.
    Sum,
}

/// How the replies of several nodes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The first reply, when no node answered with an error.
    First,
    /// The sum of integers (DBSIZE).
    Sum,
    /// All elements of all arrays (KEYS).
    Concat,
    /// Element-wise logical and of integer arrays (SCRIPT EXISTS).
    And,
    /// A random reply that is not nil, if there is one (RANDOMKEY).
    AnyNonNil,
    /// Something of its own, by the command's name.
    Special,
}

/// Commands answered in the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Local {
    Auth,
    Hello,
    Select,
    Ping,
    Echo,
    Quit,
    Reset,
    ReadOnly,
    ReadWrite,
    Role,
    Client,
}

/// The version, in two numbers, with which Redis and with which Valkey began to do something; `None`: they do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    redis: Option<(u8, u8)>,
    valkey: Option<(u8, u8)>,
}

impl Since {
    /// What servers of both names have.
    pub const fn both(redis: (u8, u8), valkey: (u8, u8)) -> Self {
        Since { redis: Some(redis), valkey: Some(valkey) }
    }

    /// What only Redis has.
    pub const fn redis(major: u8, minor: u8) -> Self {
        Since { redis: Some((major, minor)), valkey: None }
    }

    /// What only Valkey has.
    pub const fn valkey(major: u8, minor: u8) -> Self {
        Since { redis: None, valkey: Some((major, minor)) }
    }

    /// Whether a version of Valkey, or of Redis, has it.
    pub fn includes(self, valkey: bool, version: (u8, u8)) -> bool {
        let first = if valkey { self.valkey } else { self.redis };
        first.is_some_and(|first| version >= first)
    }

    /// What no server has.
    pub const NEVER: Since = Since { redis: None, valkey: None };

    /// What every server has.
    pub const ALWAYS: Since = Since::both((0, 0), (0, 0));
}
