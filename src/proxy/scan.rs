//! SCAN: a walk over all primaries whose whole state is in the cursor, so that any proxy can go on with it.
//!
//! `cursor = node's cursor << 14 | slot`, where `slot` is the lowest slot of the shard that is being walked. A walk begins
//! at 0; when a node has no more, it goes on with the shard whose lowest slot is next, from that node's cursor 0; after
//! the last one the reply is 0. Where slots move during a walk, every shard that was not begun is still walked in full,
//! but a key that moves from a shard not yet walked to one that was is missed, as it would be by a client that walks the
//! nodes of a cluster itself.
//!
//! Node cursors: Redis up to 7.2 counts buckets of the whole table (a power of two of about the number of keys). Later
//! ones and Valkey 8 on have a table per slot, and shift the bucket left by 14 bits for the slot. So 49 bits are enough for
//! 2^35 keys in one slot.

use super::backend::Kind;
use super::client::Client;
use super::dispatch::Step;
use super::engine::Engine;
use super::errors;
use super::fan::{aggregate, Gather, Work};
use super::part::{Owner, Part, NO_SLOT};
use crate::base::arena::Key;
use crate::command::{self, Command};
use crate::resp::{self, encode, Args};

/// Bits of a cursor that hold a slot.
const SLOT_BITS: u32 = 14;

/// Node cursors from here on do not fit.
const NODE_CURSORS: u64 = 1 << (63 - SLOT_BITS);

/// What a server says of a cursor that is none.
const INVALID_CURSOR: &[u8] = b"ERR invalid cursor";

/// How many elements a server looks at when COUNT does not say.
const DEFAULT_COUNT: usize = 10;

/// One step of a walk. It asks the shard where the walk stands, and the following ones too as long as they are done at
/// once and fewer elements came than COUNT: so a small cluster is scanned in as few steps as a small server.
#[derive(Debug)]
pub struct Walk {
    /// Row of the command table.
    command: u16,
    kind: Kind,
    /// The request up to the cursor, and behind it.
    request: (Vec<u8>, Vec<u8>),
    count: usize,
    /// Whether all keys wanted are in one shard.
    only: bool,
    /// The slot that names the shard that was asked last, and the cursor that it gave.
    slot: u16,
    node_cursor: u64,
    /// How many elements came so far, and their bytes.
    found: usize,
    elements: Vec<u8>,
    /// The first error, a whole frame.
    error: Option<Vec<u8>>,
}

impl Walk {
    /// Memory that it holds, in bytes.
    pub fn memory(&self) -> usize {
        self.request.0.capacity() + self.request.1.capacity() + self.elements.capacity()
    }

    fn new(command: &Command, kind: Kind, args: &Args<'_>, only: bool) -> Self {
        let mut request = (Vec::new(), Vec::new());
        encode::array(&mut request.0, args.len());
        encode::bulk(&mut request.0, args.get(0).unwrap_or_default());
        args.iter().skip(2).for_each(|arg| encode::bulk(&mut request.1, arg));
        let count = Options::read(args).count.unwrap_or(DEFAULT_COUNT);
        let (command, elements, error) = (command.id, Vec::new(), None);
        Walk { command, kind, request, count, only, slot: 0, node_cursor: 0, found: 0, elements, error }
    }

    /// Takes in the reply of a node.
    fn take(&mut self, reply: &[u8]) {
        if reply.first() == Some(&b'-') {
            self.error = Some(reply.to_vec());
        } else if let Some((cursor, count, elements)) = read_reply(reply) {
            self.node_cursor = cursor;
            self.found += count;
            self.elements.extend_from_slice(elements);
        } else {
            errors::unmergeable(self.error.insert(Vec::new()));
        }
        if self.node_cursor >= NODE_CURSORS {
            errors::cursor_too_large(self.error.insert(Vec::new()), self.node_cursor);
        }
    }

    /// Whether the step goes on with the next shard, should there be one.
    fn goes_on(&self) -> bool {
        self.error.is_none() && self.node_cursor == 0 && !self.only && self.found < self.count
    }
}

impl Engine {
    /// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`.
    pub(super) fn scan(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) -> Step {
        let Some(cursor) = args.get(1).and_then(parse_cursor) else {
            return self.refuse(key, |out| out.extend_from_slice(INVALID_CURSOR));
        };
        let only = Options::read(args).pattern.and_then(only_slot);
        let Some((node_cursor, slot)) = self.place(cursor, only) else {
            self.nobody_serves();
            let mut error = Vec::new();
            errors::unserved(&mut error, NO_SLOT, self.nodes.known());
            return self.reply(key, &error);
        };
        let (resp3, db) = self.clients.get(key).map_or((false, 0), |c| (c.resp3, c.db));
        // Never a replica: the order of its keys is another one.
        let walk = Walk::new(row, Kind { resp3, db, ..Kind::default() }, args, only.is_some());
        let gather = self.gather(key, row, args.frame().len(), 1, Work::Scan(Box::new(walk)));
        self.ask_shard(gather, slot, node_cursor);
        Step::Taken
    }

    /// A shard answered. True when another one was asked.
    pub(super) fn scan_reply(&mut self, key: Key<Gather>, reply: &[u8]) -> bool {
        let Some(walk) = self.gathers.get_mut(key).and_then(|g| g.walk()) else { return false };
        walk.take(reply);
        let next = if walk.goes_on() { self.nodes.shard_behind(walk.slot) } else { None };
        if let Some(slot) = next {
            self.ask_shard(key, slot, 0);
        }
        next.is_some()
    }

    /// The reply to the client, with the cursor of the whole walk.
    pub(super) fn finish_scan(&mut self, walk: &Walk, out: &mut Vec<u8>) {
        if let Some(error) = &walk.error {
            return out.extend_from_slice(error);
        }
        let next = match walk.node_cursor {
            0 if walk.only => 0,
            0 => self.nodes.shard_behind(walk.slot).map_or(0, u64::from),
            cursor => cursor << SLOT_BITS | u64::from(walk.slot),
        };
        out.reserve_exact(walk.elements.len() + 64);
        encode::array(out, 2);
        encode::bulk(out, next.to_string().as_bytes());
        encode::array(out, walk.found);
        out.extend_from_slice(&walk.elements);
    }

    fn ask_shard(&mut self, key: Key<Gather>, slot: u16, node_cursor: u64) {
        let Some(walk) = self.gathers.get_mut(key).and_then(|g| g.walk()) else { return };
        walk.slot = slot;
        let (command, kind) = (walk.command, walk.kind);
        let mut request = walk.request.0.clone();
        encode::bulk(&mut request, node_cursor.to_string().as_bytes());
        request.extend_from_slice(&walk.request.1);
        let owner = Owner::Gather(key, 0);
        self.send(
            Part { owner, born_us: self.now_us(), slot, command, attempts: 0, kind, block: false },
            &request,
        );
    }

    /// The cursor for the node, and the slot that says which one; `None` when there is none at all.
    fn place(&mut self, cursor: u64, only: Option<u16>) -> Option<(u64, u16)> {
        let (node_cursor, slot) = (cursor >> SLOT_BITS, (cursor % (1 << SLOT_BITS)) as u16);
        match only {
            // The cursor of another shard, from a step with another pattern, means nothing to this one.
            Some(only) if self.nodes.primary(slot) != self.nodes.primary(only) => Some((0, only)),
            Some(only) => Some((node_cursor, only)),
            None if cursor == 0 => self.nodes.walk().first().map(|(slot, _)| (0, *slot)),
            None => Some((node_cursor, slot)),
        }
    }
}

/// What of the options matters here; the node checks them all.
#[derive(Default)]
struct Options<'a> {
    pattern: Option<&'a [u8]>,
    count: Option<usize>,
}

impl<'a> Options<'a> {
    /// The last of each counts. Nothing counts where an option is not known, as its value might look like one.
    fn read(args: &Args<'a>) -> Self {
        let (mut at, mut options) = (2, Options::default());
        while let Some(option) = args.get(at) {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            let value = args.get(at + 1);
            if is("MATCH") {
                options.pattern = value;
            } else if is("COUNT") {
                options.count = value.and_then(|v| std::str::from_utf8(v).ok()?.parse().ok());
            } else if !is("TYPE") {
                return Options::default();
            }
            at += 2;
        }
        options
    }
}

/// The one slot of all keys that match a pattern, if there is one: the pattern has no wildcard, or none before the end of
/// a hash tag.
fn only_slot(pattern: &[u8]) -> Option<u16> {
    let wildcard = pattern.iter().position(|b| matches!(b, b'*' | b'?' | b'[' | b'\\'));
    let literal = &pattern[..wildcard.unwrap_or(pattern.len())];
    if wildcard.is_some() {
        let open = memchr::memchr(b'{', literal)?;
        let close = memchr::memchr(b'}', &literal[open + 1..])?;
        // An empty tag is no tag: the whole key counts.
        if close == 0 {
            return None;
        }
    }
    Some(command::slot(literal))
}

/// A cursor as any version of a server takes it: decimal digits, perhaps behind a plus. What versions differ in (blanks, a
/// minus, nothing at all) is refused.
fn parse_cursor(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The cursor of a node's reply, and the number and the bytes of the elements.
fn read_reply(reply: &[u8]) -> Option<(u64, usize, &[u8])> {
    let (b'*', 2, rest) = aggregate(reply)? else { return None };
    let len = resp::frame_len(rest)?;
    let (cursor, elements) = rest.split_at_checked(len)?;
    let (_, digits) = cursor.strip_suffix(b"\r\n")?.split_at_checked(memchr::memchr(b'\n', cursor)? + 1)?;
    let (b'*', count, elements) = aggregate(elements)? else { return None };
    Some((parse_cursor(digits)?, count, elements))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::slot;

    #[test]
    fn cursors_are_plain_decimals() {
        for (text, cursor) in [("0", 0), ("007", 7), ("+5", 5), ("18446744073709551615", u64::MAX)] {
            assert_eq!(parse_cursor(text.as_bytes()), Some(cursor), "{text}");
        }
        for text in ["", "+", "-1", " 1", "1 ", "1x", "abc", "0x10", "++1", "18446744073709551616", "1\0"] {
            assert_eq!(parse_cursor(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn patterns_that_keep_to_one_slot() {
        for (pattern, key) in [
            ("{tag}*", "tag"),
            ("user:{tag}:[ab]", "tag"),
            ("plain", "plain"),
            ("{}x", "{}x"),
            ("{{t}*", "{t"),
            ("x}{t}?", "t"),
            ("", ""),
        ] {
            let wanted = if key == "{t" { slot(b"{{t}") } else { slot(key.as_bytes()) };
            assert_eq!(only_slot(pattern.as_bytes()), Some(wanted), "{pattern}");
        }
        for pattern in
            ["*", "*{tag}", "?{tag}*", "{t*g}", "{tag*", "{}*", "[{]tag}*", "\\{tag}*", "{ta\\g}*", "a*{b}"]
        {
            assert_eq!(only_slot(pattern.as_bytes()), None, "{pattern}");
        }
    }

    #[test]
    fn replies_are_taken_apart() {
        let reply = b"*2\r\n$3\r\n417\r\n*1\r\n$1\r\nk\r\n";
        assert_eq!(read_reply(reply), Some((417, 1, &b"$1\r\nk\r\n"[..])));
        assert_eq!(read_reply(b"*1\r\n$1\r\n0\r\n"), None);
        assert_eq!(read_reply(b"*2\r\n*0\r\n*0\r\n"), None);
        assert_eq!(read_reply(b"+OK\r\n"), None);
    }
}
