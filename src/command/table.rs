//! The table as one piece, and how a row is found in it. Owns ids and the index; must not know what any row means.
//!
//! Everything here is built at compile time. A name of up to 16 bytes is packed into one or two words (where it takes two,
//! the first and the last bytes of it, which overlap in the middle: with the length beside it that is still the whole
//! name), and bit 0x20 is set in each byte, which folds the two cases of a letter into one. One
//! multiplication picks a place in an open-addressed index of 2 KiB; the hottest rows were put in first and so sit in
//! their first place.

use std::num::NonZeroU16;

use super::foreign::stand_in;
use super::rows::THEMES;
use super::spec::{Class, Command, Flags, Keys, Since};
use crate::resp::Args;

/// Finds the row of a command by its name, in any case of letters; sub-commands are not found here.
#[inline]
pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    let Some(packed) = pack(name) else {
        return lookup_odd(name);
    };
    let place = place(packed, name.len());
    let entry = INDEX[place];
    let id = usize::from(entry);
    match COMMANDS.get(id) {
        Some(command) if PACKED[id] == packed && command.name.len() == name.len() => Some(command),
        _ if entry == EMPTY => None,
        _ => lookup_on(name, place),
    }
}

/// As [`lookup`], for a name of one to eight bytes that is packed already, as [`crate::resp::Brief::name`] is. Finds only
/// [plain](Command::plain) commands of letters alone, and not those that stand in another's place; and only if they take so
/// many arguments.
#[inline(always)]
pub fn lookup_plain(name: u64, len: usize, argc: usize) -> Option<&'static Command> {
    let packed = (name | CASE, 0);
    let id = usize::from(INDEX[place(packed, len)]);
    let command = COMMANDS.get(id)?;
    let found = PACKED[id] == packed && command.name.len() == len && command.plain;
    (found && arity_ok(command, argc)).then_some(command)
}

/// Finds the row of a sub-command of `container` by its own word, in any case of letters.
pub fn subcommand(container: &'static Command, name: &[u8]) -> Option<&'static Command> {
    container.subcommands.iter().find(|c| c.name.as_bytes().eq_ignore_ascii_case(name))
}

/// Finds the row that decides about a request: that of the command, or of the sub-command where it has some.
/// A container that stands alone is its own row; only COMMAND has an arity that allows that.
///
/// # Errors
/// [`Unknown`] when the table has no such row. The cluster may still know it: the table ends with Redis 8.2 and
/// Valkey 9.1, and modules bring commands of their own.
#[inline]
pub fn resolve(args: &Args<'_>) -> Result<&'static Command, Unknown> {
    let command = args.get(0).and_then(lookup).ok_or(Unknown::Command)?;
    if command.subcommands.is_empty() {
        return Ok(command);
    }
    match args.get(1) {
        None => Ok(command),
        Some(word) => subcommand(command, word).ok_or(Unknown::Subcommand(command)),
    }
}

/// What the table does not know.
#[derive(Clone, Copy, Debug)]
pub enum Unknown {
    /// The command itself.
    Command,
    /// The sub-command of this container.
    Subcommand(&'static Command),
}

/// Whether the command may be called with `argc` arguments, its own name included.
#[inline]
pub fn arity_ok(command: &Command, argc: usize) -> bool {
    let arity = usize::from(command.arity.unsigned_abs());
    argc == arity || (command.arity < 0 && argc > arity)
}

/// How many rows there are, sub-commands included: ids run from 0 to this, exclusive.
pub const fn count() -> usize {
    COMMAND_COUNT + SUBCOMMAND_COUNT
}

/// The row with an id that came from [`Command::id`], also of a row that stands for a command the table does not know.
///
/// # Panics
/// If no row has this id.
pub fn by_id(id: u16) -> &'static Command {
    let id = usize::from(id);
    if id < COMMAND_COUNT {
        &COMMANDS[id]
    } else if id < count() {
        &SUBCOMMANDS[id - COMMAND_COUNT]
    } else {
        stand_in(id)
    }
}

/// The name as a server writes it in its statistics: `get`, `config|get`. For an id as in [`by_id`].
pub fn full_name(id: u16) -> String {
    let command = by_id(id);
    match command.container() {
        "" => command.name.to_string(),
        container => format!("{container}|{}", command.name),
    }
}

/// All commands, each with its sub-commands inside.
pub fn commands() -> &'static [Command] {
    &COMMANDS
}

const COMMAND_COUNT: usize = count_commands();
const SUBCOMMAND_COUNT: usize = count_subcommands();

static COMMANDS: [Command; COMMAND_COUNT] = number_commands();
static SUBCOMMANDS: [Command; SUBCOMMAND_COUNT] = number_subcommands();
static PACKED: [Packed; COMMAND_COUNT] = pack_commands();
static INDEX: [u16; PLACES] = build_index();

const PLACES: usize = 1024;
/// In [`INDEX`]: no row here.
const EMPTY: u16 = !HAS_OTHER_BYTES;
/// In [`INDEX`], beside the id: the name has bytes that are no letters, which folding may confuse with others. It also
/// makes the entry look like no row to who looks only once.
const HAS_OTHER_BYTES: u16 = 1 << 15;

type Packed = (u64, u64);

/// Bit 0x20 in each byte: folds the two cases of a letter into one.
const CASE: u64 = 0x2020_2020_2020_2020;

/// The folded words of a name, or `None` for one that is empty or too long.
#[inline]
const fn pack(name: &[u8]) -> Option<Packed> {
    if name.len() <= 8 {
        return match pack_short(name) {
            Some(word) => Some((word | CASE, 0)),
            None => None,
        };
    }
    match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) if name.len() <= 16 => {
            Some((u64::from_le_bytes(*first) | CASE, u64::from_le_bytes(*last) | CASE))
        }
        _ => None,
    }
}

/// A name of one to eight bytes as one word: its last byte is the highest, below its first one are zeros.
#[inline]
const fn pack_short(name: &[u8]) -> Option<u64> {
    let len = name.len();
    let word = if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        first as u64 | (last as u64) << (8 * (len - 4))
    } else if let (Some(first), Some(last)) = (name.first_chunk::<2>(), name.last_chunk::<2>()) {
        let (first, last) = (u16::from_le_bytes(*first), u16::from_le_bytes(*last));
        first as u64 | (last as u64) << (8 * (len - 2))
    } else if let [only] = name {
        *only as u64
    } else {
        return None;
    };
    Some(word << (64 - 8 * len))
}

/// Where in [`INDEX`] the search for a name begins.
#[inline]
const fn place(packed: Packed, len: usize) -> usize {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let word = packed.0 ^ packed.1.rotate_left(29) ^ len as u64;
    (word.wrapping_mul(MIX) >> (64 - PLACES.trailing_zeros())) as usize
}

/// Goes on from a place that holds another row, or one whose name has to be compared byte by byte.
#[cold]
#[inline(never)]
fn lookup_on(name: &[u8], mut place: usize) -> Option<&'static Command> {
    loop {
        // EMPTY is no row either.
        let command = COMMANDS.get(usize::from(INDEX[place] & !HAS_OTHER_BYTES))?;
        if command.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(command);
        }
        place = (place + 1) % PLACES;
    }
}

/// The way of names that are not packed; few have them.
#[cold]
#[inline(never)]
fn lookup_odd(name: &[u8]) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.name.as_bytes().eq_ignore_ascii_case(name))
}

const fn build_index() -> [u16; PLACES] {
    let mut index = [EMPTY; PLACES];
    let mut id = 0;
    while id < COMMAND_COUNT {
        let name = COMMANDS[id].name.as_bytes();
        if let Some(packed) = pack(name) {
            let mut place = place(packed, name.len());
            while index[place] != EMPTY {
                place = (place + 1) % PLACES;
            }
            index[place] = if only_letters(name) { id as u16 } else { id as u16 | HAS_OTHER_BYTES };
        }
        id += 1;
    }
    index
}

const fn only_letters(name: &[u8]) -> bool {
    let mut i = 0;
    while i < name.len() {
        if !name[i].is_ascii_lowercase() {
            return false;
        }
        i += 1;
    }
    true
}

const fn pack_commands() -> [Packed; COMMAND_COUNT] {
    let mut all = [(0, 0); COMMAND_COUNT];
    let mut id = 0;
    while id < COMMAND_COUNT {
        if let Some(packed) = pack(COMMANDS[id].name.as_bytes()) {
            all[id] = packed;
        }
        id += 1;
    }
    all
}

/// What arrays of rows hold before their rows are filled in; none of it is left.
const BLANK: Command = Command {
    name: "",
    id: 0,
    arity: 0,
    of: None,
    flags: Flags(0),
    keys: Keys::None,
    since: Since::ALWAYS,
    class: Class::Container,
    plain: false,
    subcommands: &[],
};

const fn number_commands() -> [Command; COMMAND_COUNT] {
    let mut all = [BLANK; COMMAND_COUNT];
    let (mut id, mut subcommands_before) = (0, 0);
    let mut theme = 0;
    while theme < THEMES.len() {
        let mut i = 0;
        while i < THEMES[theme].len() {
            let row = THEMES[theme][i];
            // The numbered copies of its sub-commands, not those of the theme. An address for none would have to be relocated.
            let subcommands: &[Command] = match row.subcommands.len() {
                0 => &[],
                count => SUBCOMMANDS.split_at(subcommands_before).1.split_at(count).0,
            };
            all[id] = Command { id: id as u16, plain: is_plain(&row), subcommands, ..row };
            subcommands_before += row.subcommands.len();
            id += 1;
            i += 1;
        }
        theme += 1;
    }
    all
}

/// See [`Command::plain`].
const fn is_plain(row: &Command) -> bool {
    let one_key = matches!(row.keys, Keys::Range { first: 1, last: 1, .. });
    one_key && matches!(row.class, Class::Slot) && row.subcommands.is_empty()
}

const fn number_subcommands() -> [Command; SUBCOMMAND_COUNT] {
    let mut all = [BLANK; SUBCOMMAND_COUNT];
    let (mut n, mut of) = (0, 0);
    let mut theme = 0;
    while theme < THEMES.len() {
        let mut i = 0;
        while i < THEMES[theme].len() {
            let container = THEMES[theme][i];
            let mut j = 0;
            while j < container.subcommands.len() {
                let id = (COMMAND_COUNT + n) as u16;
                all[n] = Command { id, of: NonZeroU16::new(of), ..container.subcommands[j] };
                n += 1;
                j += 1;
            }
            of += 1;
            i += 1;
        }
        theme += 1;
    }
    all
}

const fn count_commands() -> usize {
    let (mut n, mut theme) = (0, 0);
    while theme < THEMES.len() {
        n += THEMES[theme].len();
        theme += 1;
    }
    n
}

const fn count_subcommands() -> usize {
    let (mut n, mut theme) = (0, 0);
    while theme < THEMES.len() {
        let mut i = 0;
        while i < THEMES[theme].len() {
            n += THEMES[theme][i].subcommands.len();
            i += 1;
        }
        theme += 1;
    }
    n
}

#[cfg(test)]
mod tests;
