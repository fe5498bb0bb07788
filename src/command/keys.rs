//! Where the keys of a request are. Owns the reading of arguments that name keys; must not know nodes or slot maps.

use super::slot::slot;
use super::spec::{Class, Command, Flags, Keys};
use crate::resp::Args;

/// Why the keys of a request give no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The keys hash to different slots; nothing may be sent.
    CrossSlot,
    /// The arguments that say where the keys are make no sense (`EVAL s abc`, XREAD without STREAMS).
    ///
    /// The request may be sent to any primary, which answers with the error of its own version: the texts differ between
    /// commands and versions, and some depend on the server's state. Nothing is executed, because these commands check
    /// all their arguments before they touch a key. Inside MULTI such a request is queued like any other, as a server
    /// does.
    Unroutable,
}

/// The positions of the keys of one request among its arguments, in the order in which a server lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPositions {
    /// A key before the others, 0 when there is none: argument 0 is never a key.
    head: usize,
    next: usize,
    end: usize,
    step: usize,
}

/// Finds the keys of a request whose row is `command`; for a sub-command its own row.
///
/// The positions are within the arguments, even when there are fewer than the arity asks for: then there are fewer keys.
///
/// # Errors
/// [`KeyError::Unroutable`].
pub fn keys(command: &Command, args: &Args<'_>) -> Result<KeyPositions, KeyError> {
    let argc = args.len();
    match command.keys {
        Keys::None => Ok(KeyPositions::NONE),
        Keys::Range { first, last, step } => Ok(range(first, last, step, argc)),
        Keys::Counted { count, first, step, dest } => {
            let (head, next, step) = (usize::from(dest), usize::from(first), usize::from(step));
            let n = counted(args.get(usize::from(count))).ok_or(KeyError::Unroutable)?;
            match n.checked_mul(step).and_then(|n| n.checked_add(next)) {
                Some(end) if end <= argc => Ok(KeyPositions { head, next, end, step }),
                _ => Err(KeyError::Unroutable),
            }
        }
        Keys::Streams => streams(command, args).ok_or(KeyError::Unroutable),
        Keys::SortStore => Ok(KeyPositions::pair(1, sort_destination(args), argc)),
        Keys::GeoStore { options } => {
            Ok(KeyPositions::pair(1, geo_destination(args, usize::from(options)), argc))
        }
        Keys::Migrate => migrate(args).ok_or(KeyError::Unroutable),
    }
}

/// The key of a command that has exactly one, as argument 1; `None` for all others. The short way for the hot path.
#[inline]
pub fn first_key<'a>(command: &Command, args: &Args<'a>) -> Option<&'a [u8]> {
    match command.keys {
        Keys::Range { first: 1, last: 1, .. } => args.get(1),
        _ => None,
    }
}

/// The one slot of all keys of a request, `None` when it has no key and so may go to any primary.
///
/// # Errors
/// [`KeyError::CrossSlot`] and [`KeyError::Unroutable`].
#[inline]
pub fn slot_of(command: &Command, args: &Args<'_>) -> Result<Option<u16>, KeyError> {
    match first_key(command, args) {
        Some(key) => Ok(Some(slot(key))),
        None => slot_of_many(command, args),
    }
}

/// Whether this request may wait for another client: always for BLPOP and its like, for XREAD and XREADGROUP only with
/// the option BLOCK.
pub fn blocks(command: &Command, args: &Args<'_>) -> bool {
    command.class == Class::Blocking
        && (command.keys != Keys::Streams || stream_options(command, args).is_some_and(|o| o.block.is_some()))
}

/// Which argument of XREAD or XREADGROUP is the value of BLOCK.
pub fn block_argument(command: &Command, args: &Args<'_>) -> Option<usize> {
    stream_options(command, args)?.block
}

impl KeyPositions {
    const NONE: KeyPositions = KeyPositions { head: 0, next: 0, end: 0, step: 1 };

    /// Argument `first`, if there is one, and then perhaps another.
    fn pair(first: usize, second: Option<usize>, argc: usize) -> Self {
        let head = if first < argc { first } else { 0 };
        match second {
            None => KeyPositions { head, ..KeyPositions::NONE },
            Some(second) => KeyPositions { head, next: second, end: second + 1, step: 1 },
        }
    }
}

impl Iterator for KeyPositions {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.head != 0 {
            return Some(std::mem::take(&mut self.head));
        }
        let at = self.next;
        if at >= self.end {
            return None;
        }
        self.next = at + self.step;
        Some(at)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let n = usize::from(self.head != 0) + self.end.saturating_sub(self.next).div_ceil(self.step);
        (n, Some(n))
    }
}

impl ExactSizeIterator for KeyPositions {}

fn slot_of_many(command: &Command, args: &Args<'_>) -> Result<Option<u16>, KeyError> {
    let mut found = None;
    for key in keys(command, args)?.filter_map(|at| args.get(at)) {
        let slot = slot(key);
        if *found.get_or_insert(slot) != slot {
            return Err(KeyError::CrossSlot);
        }
    }
    Ok(found)
}

fn range(first: u8, last: i8, step: u8, argc: usize) -> KeyPositions {
    let end = if last >= 0 {
        (last.unsigned_abs() as usize + 1).min(argc)
    } else {
        (argc + 1).saturating_sub(last.unsigned_abs() as usize)
    };
    KeyPositions { head: 0, next: usize::from(first), end, step: usize::from(step) }
}

/// Reads a number of keys. What is no plain decimal number is an error, but a server looks for the keys by C's `atoi` before
/// it finds that out, and refuses them where it does not own their slot: so the request has to go there.
fn counted(arg: Option<&[u8]>) -> Option<usize> {
    match arg? {
        [digit @ b'0'..=b'9'] => Some(usize::from(digit - b'0')),
        text => usize::try_from(atoi(text)).ok().filter(|n| *n > 0),
    }
}

/// As the function of the C library that servers are built with: a `long` that is cut to an `int`.
fn atoi(text: &[u8]) -> i32 {
    let blanks = text.iter().take_while(|b| matches!(b, b' ' | b'\t'..=b'\r')).count();
    let text = &text[blanks..];
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let digits = digits.iter().take_while(|b| b.is_ascii_digit()).map(|b| i64::from(b - b'0'));
    let sign = if negative { -1 } else { 1 };
    digits.fold(0i64, |n, digit| n.saturating_mul(10).saturating_add(sign * digit)) as i32
}

/// What stands before the keys of XREAD and XREADGROUP.
struct StreamOptions {
    /// Position of the value of the last BLOCK, which counts.
    block: Option<usize>,
    /// Position of the word STREAMS.
    streams: usize,
}

/// Reads the options up to STREAMS one by one, with their values: a group, a consumer or a value may have the name of
/// an option. A word that is no option is passed over; the server refuses it.
fn stream_options(command: &Command, args: &Args<'_>) -> Option<StreamOptions> {
    let of_group = command.flags.has(Flags::WRITE);
    let (mut at, mut block) = (1, None);
    loop {
        let word = args.get(at)?;
        let is = |option: &str| word.eq_ignore_ascii_case(option.as_bytes());
        if is("STREAMS") {
            return Some(StreamOptions { block, streams: at });
        }
        block = if is("BLOCK") { Some(at + 1) } else { block };
        at += if of_group && is("GROUP") {
            3
        } else if is("BLOCK") || is("COUNT") || (of_group && is("CLAIM")) {
            2
        } else {
            1
        };
    }
}

fn streams(command: &Command, args: &Args<'_>) -> Option<KeyPositions> {
    let next = stream_options(command, args)?.streams + 1;
    let rest = args.len().checked_sub(next)?;
    // As many IDs as keys.
    (rest > 0 && rest % 2 == 0).then_some(KeyPositions { head: 0, next, end: next + rest / 2, step: 1 })
}

/// The argument behind the last STORE. Values of other options are passed over, the one of STORE is not: so does a
/// server's own search for keys (`sortGetKeys`).
fn sort_destination(args: &Args<'_>) -> Option<usize> {
    let (mut at, mut found) = (2, None);
    while let Some(word) = args.get(at) {
        let is = |option: &str| word.eq_ignore_ascii_case(option.as_bytes());
        at += if is("LIMIT") {
            3
        } else if is("GET") || is("BY") {
            2
        } else {
            if is("STORE") && at + 1 < args.len() {
                found = Some(at + 1);
            }
            1
        };
    }
    found
}

/// The argument behind the last STORE or STOREDIST, as a server's `georadiusGetKeys` finds it.
fn geo_destination(args: &Args<'_>, options: usize) -> Option<usize> {
    let (mut at, mut found) = (options, None);
    while at + 1 < args.len() {
        let is_store = args.get(at).is_some_and(|word| {
            word.eq_ignore_ascii_case(b"STORE") || word.eq_ignore_ascii_case(b"STOREDIST")
        });
        if is_store {
            at += 1;
            found = Some(at);
        }
        at += 1;
    }
    found
}

/// `MIGRATE host port key|"" db timeout [options] [KEYS key ...]`.
fn migrate(args: &Args<'_>) -> Option<KeyPositions> {
    let only = KeyPositions { head: 3, ..KeyPositions::NONE };
    if !args.get(3)?.is_empty() {
        return Some(only);
    }
    let mut at = 6;
    loop {
        let word = args.get(at)?;
        if word.eq_ignore_ascii_case(b"KEYS") {
            return Some(KeyPositions { head: 0, next: at + 1, end: args.len(), step: 1 });
        }
        at += if word.eq_ignore_ascii_case(b"AUTH") {
            2
        } else if word.eq_ignore_ascii_case(b"AUTH2") {
            3
        } else {
            1
        };
    }
}

#[cfg(test)]
mod tests;
