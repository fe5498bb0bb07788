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
use super::fan::{aggregate, Work};
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

/// One step of a walk that waits for its node.
#[derive(Debug)]
pub struct Walk {
    /// The slot that names the shard.
    slot: u16,
    /// Whether all keys wanted are in this shard.
    only: bool,
    reply: Vec<u8>,
}

impl Walk {
    /// Takes in the reply of the node.
    pub fn take(&mut self, reply: &[u8]) {
        self.reply = reply.to_vec();
    }
}

impl Engine {
    /// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`.
    pub(super) fn scan(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) -> Step {
        let Some(cursor) = args.get(1).and_then(parse_cursor) else {
            return self.refuse(key, |out| out.extend_from_slice(INVALID_CURSOR));
        };
        let only = pattern(args).and_then(only_slot);
        let Some((node_cursor, slot)) = self.place(cursor, only) else {
            self.nobody_serves();
            let mut error = Vec::new();
            errors::unserved(&mut error, NO_SLOT, self.nodes.known());
            return self.reply(key, &error);
        };
        let resp3 = self.clients.get(key).is_some_and(|c| c.resp3);
        let walk = Walk { slot, only: only.is_some(), reply: Vec::new() };
        let owner = Owner::Gather(self.gather(key, args.frame().len(), 1, Work::Scan(walk)), 0);
        // Never a replica: the order of its keys is another one.
        let kind = Kind { resp3, replica: false };
        let part = Part { owner, born_us: self.now_us(), slot, command: row.id, attempts: 0, kind };
        self.send(part, &request(args, node_cursor));
        Step::Taken
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

    /// The node's reply with the cursor of the whole walk.
    pub(super) fn finish_scan(&mut self, walk: Walk, out: &mut Vec<u8>) {
        if walk.reply.first() == Some(&b'-') {
            return out.extend_from_slice(&walk.reply);
        }
        let Some((node_cursor, elements)) = read_reply(&walk.reply) else {
            return errors::unmergeable(out);
        };
        let next = if node_cursor >= NODE_CURSORS {
            return errors::cursor_too_large(out, node_cursor);
        } else if node_cursor > 0 {
            node_cursor << SLOT_BITS | u64::from(walk.slot)
        } else if walk.only {
            0
        } else {
            let next = self.nodes.walk().iter().find(|(slot, _)| *slot > walk.slot);
            next.map_or(0, |(slot, _)| u64::from(*slot))
        };
        out.reserve_exact(walk.reply.len() + 32);
        encode::array(out, 2);
        encode::bulk(out, next.to_string().as_bytes());
        out.extend_from_slice(elements);
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

/// The value of the last MATCH; nothing where an option is not known, as its value might look like one.
fn pattern<'a>(args: &Args<'a>) -> Option<&'a [u8]> {
    let (mut at, mut pattern) = (2, None);
    while let Some(option) = args.get(at) {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        if is("MATCH") {
            pattern = args.get(at + 1);
        } else if !is("COUNT") && !is("TYPE") {
            return None;
        }
        at += 2;
    }
    pattern
}

/// The request with the node's cursor in the place of the client's.
fn request(args: &Args<'_>, cursor: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(args.frame().len() + 32);
    encode::array(&mut out, args.len());
    for (i, arg) in args.iter().enumerate() {
        if i == 1 {
            encode::bulk(&mut out, cursor.to_string().as_bytes());
        } else {
            encode::bulk(&mut out, arg);
        }
    }
    out
}

/// The cursor of a node's reply, and the bytes of the elements behind it.
fn read_reply(reply: &[u8]) -> Option<(u64, &[u8])> {
    let (b'*', 2, rest) = aggregate(reply)? else { return None };
    let len = resp::frame_len(rest)?;
    let (cursor, elements) = rest.split_at_checked(len)?;
    let (_, digits) = cursor.strip_suffix(b"\r\n")?.split_at_checked(memchr::memchr(b'\n', cursor)? + 1)?;
    Some((parse_cursor(digits)?, elements))
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
        assert_eq!(read_reply(reply), Some((417, &b"*1\r\n$1\r\nk\r\n"[..])));
        assert_eq!(read_reply(b"*1\r\n$1\r\n0\r\n"), None);
        assert_eq!(read_reply(b"*2\r\n*0\r\n*0\r\n"), None);
        assert_eq!(read_reply(b"+OK\r\n"), None);
    }
}
