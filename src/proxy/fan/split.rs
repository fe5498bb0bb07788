//! Commands that are split by slot: a part per slot, and one reply out of theirs.
//!
//! A part costs about as much as a whole request, and there are as many as keys when these are spread. So a part is
//! written straight into the window of its backend, its keys as they came; what a request collects is lent from a pool;
//! and the elements of the replies are copied once when they come and once when they leave.

use std::mem;

use super::super::client::Client;
use super::super::dispatch::Step;
use super::super::engine::Engine;
use super::super::errors;
use super::super::order::Sequence;
use super::super::part::{Owner, Part};
use super::{aggregate, Gather, Work};
use crate::base::append::append;
use crate::base::arena::Key;
use crate::base::pool::Reusable;
use crate::cluster::SLOTS;
use crate::command::{self, Class, Command, Split};
use crate::resp::{self, encode, Args, Limits, Parsed, RequestParser};

/// What a split request waits for; lent from a pool.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Splits {
    merge: Split,
    /// The first error of any part; it becomes the reply.
    error: Option<Vec<u8>>,
    /// Sum of integer replies.
    sum: i64,
    /// Array replies, one after the other, each without its header.
    elements: Vec<u8>,
    /// The parts of an array reply.
    parts: Vec<Slice>,
    /// By key, in the order of the request: its part. Empty when every key is a part of its own, in that order.
    part_of: Vec<u16>,
}

/// What a part adds to an array reply.
#[derive(Clone, Copy, Debug)]
struct Slice {
    /// How many elements it must have.
    keys: usize,
    /// Where in [`Splits::elements`] its next unused element begins.
    next: usize,
    /// Where its last element ends.
    end: usize,
}

impl Splits {
    pub(super) fn memory(&self) -> usize {
        self.elements.capacity() + size_of_val(self.part_of.as_slice())
    }

    /// Prepares for the replies to `keys` keys that are sent one by one.
    fn prepare_alone(&mut self, merge: Split, keys: usize) {
        self.merge = merge;
        if merge == Split::Values {
            self.parts.resize(keys, Slice { keys: 1, next: 0, end: 0 });
            // The next request that this is lent for may need it.
            self.part_of.reserve(keys);
        }
    }

    /// Prepares for the replies to `keys`, which are sorted by slot; how many parts these are.
    pub(super) fn prepare(&mut self, merge: Split, keys: &[Keyed]) -> usize {
        self.merge = merge;
        if merge != Split::Values {
            return groups(keys).count();
        }
        self.part_of.resize(keys.len(), 0);
        for (index, group) in groups(keys).enumerate() {
            self.parts.push(Slice { keys: group.len(), next: 0, end: 0 });
            for key in group {
                self.part_of[key.position()] = index as u16;
            }
        }
        self.parts.len()
    }

    /// Takes in the reply of part `index`.
    pub(super) fn take(&mut self, index: u16, reply: &[u8]) {
        if reply.first().is_some_and(|b| resp::is_error(*b)) {
            self.error.get_or_insert_with(|| reply.to_vec());
        } else {
            self.take_in(index, reply, 0, reply.len());
        }
    }

    /// Takes in the reply `data[start..end]` of part `index`, which is no error.
    #[inline]
    pub(in crate::proxy) fn take_in(&mut self, index: u16, data: &[u8], start: usize, end: usize) {
        if !self.merge_in(usize::from(index), data, start, end) && self.error.is_none() {
            let mut error = Vec::new();
            errors::unmergeable(&mut error);
            self.error = Some(error);
        }
    }

    /// False when the reply has not the form that the command's replies have.
    #[inline]
    fn merge_in(&mut self, index: usize, data: &[u8], start: usize, end: usize) -> bool {
        let reply = &data[start..end];
        match self.merge {
            Split::Pairs => reply == b"+OK\r\n",
            Split::Sum => match resp::integer(reply) {
                Some(n) => {
                    self.sum = self.sum.saturating_add(n);
                    true
                }
                None => false,
            },
            Split::Values => {
                let Some(slice) = self.parts.get_mut(index) else { return false };
                let (count, elements) = match reply.starts_with(b"*1\r\n") {
                    true => (1, start + 4),
                    false => match aggregate(reply) {
                        Some((b'*', count, elements)) => (count, end - elements.len()),
                        _ => return false,
                    },
                };
                slice.next = self.elements.len();
                append(&mut self.elements, data, elements, end - elements);
                slice.end = self.elements.len();
                count == slice.keys
            }
        }
    }

    /// The one reply, when no part failed.
    fn write(&mut self, out: &mut Vec<u8>) {
        match self.merge {
            Split::Pairs => out.extend_from_slice(b"+OK\r\n"),
            Split::Sum => encode::integer(out, self.sum),
            Split::Values => {
                encode::array(out, self.part_of.len().max(self.parts.len()));
                self.write_elements(out);
            }
        }
    }

    /// The elements of an array reply, in the order of their keys.
    pub(super) fn write_elements(&mut self, out: &mut Vec<u8>) {
        if self.part_of.is_empty() {
            for slice in &self.parts {
                append(out, &self.elements, slice.next, slice.end - slice.next);
            }
        }
        for part in &self.part_of {
            let slice = &mut self.parts[usize::from(*part)];
            let rest = &self.elements[slice.next..slice.end];
            let len = match slice.keys {
                1 => rest.len(),
                // Never `None`: the framer has counted the elements of each part.
                _ => resp::frame_len(rest).unwrap_or(0),
            };
            append(out, &self.elements, slice.next, len);
            slice.next += len;
        }
    }

    /// Bytes of the elements so far.
    pub(super) fn bytes(&self) -> usize {
        self.elements.len()
    }

    /// What it failed with, if it did.
    pub(super) fn take_error(&mut self) -> Option<Vec<u8>> {
        self.error.take()
    }
}

impl Reusable for Box<Splits> {
    fn recycle(&mut self) -> Option<usize> {
        (self.error, self.sum) = (None, 0);
        self.elements.clear();
        self.parts.clear();
        self.part_of.clear();
        let parts = self.parts.capacity() * mem::size_of::<Slice>();
        Some(self.elements.capacity() + parts + self.part_of.capacity() * mem::size_of::<u16>())
    }
}

/// One key of a split request: its slot and, below that, which key it is; so they sort by slot, and repeated keys stay
/// in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::proxy) struct Keyed(u64);

impl Keyed {
    fn new(slot: u16, position: u32) -> Self {
        Keyed(u64::from(slot) << 32 | u64::from(position))
    }

    /// The keys among `args`, of which one stands for each `stride`.
    pub(super) fn all<'a>(args: &'a Args<'_>, stride: usize) -> impl Iterator<Item = Keyed> + 'a {
        let name = move |i: usize| args.get(1 + i * stride).unwrap_or_default();
        (0..(args.len() - 1) / stride).map(move |i| Keyed::new(command::slot(name(i)), i as u32))
    }

    pub(super) fn slot(self) -> u16 {
        (self.0 >> 32) as u16
    }

    fn position(self) -> usize {
        self.0 as u32 as usize
    }
}

impl Engine {
    /// A command whose keys may lie in several slots.
    pub(in crate::proxy) fn split(
        &mut self,
        key: Key<Client>,
        row: &'static Command,
        split: Split,
        args: &Args<'_>,
    ) -> Step {
        let stride = stride(split);
        if (args.len() - 1) % stride != 0 {
            return self.refuse(key, |out| command::wrong_arity_error(row, out));
        }
        let mut keys = mem::take(&mut self.keys);
        keys.clear();
        keys.extend(Keyed::all(args, stride));
        let slot = keys[0].slot();
        let step = match keys.iter().all(|k| k.slot() == slot) {
            true => self.send_whole(key, row, slot, args.frame()),
            false => self.split_by_slot(key, row, split, args, &mut keys),
        };
        if keys.capacity() <= KEEP_KEYS {
            self.keys = keys;
        }
        step
    }

    fn split_by_slot(
        &mut self,
        key: Key<Client>,
        row: &'static Command,
        split: Split,
        args: &Args<'_>,
        keys: &mut [Keyed],
    ) -> Step {
        if let Some(unserved) = keys.iter().find(|k| self.nodes.primary(k.slot()).is_none()) {
            let mut error = Vec::new();
            errors::unserved(&mut error, unserved.slot(), self.nodes.known());
            self.nobody_serves();
            self.reply_now(key, &error);
            return Step::Taken;
        }
        if split == Split::Values && keys.len() > self.streams.sizes.slice {
            if let Some(step) = self.begin_slices(key, row, args) {
                return step;
            }
        }
        let mut splits = self.splits.take();
        let alone = are_alone(keys);
        let parts = if alone {
            splits.prepare_alone(split, keys.len());
            keys.len()
        } else {
            keys.sort_unstable();
            splits.prepare(split, keys)
        };
        let gather = self.gather(key, row, args.frame().len(), parts, Work::Split(splits));
        let (kind, born_us) = (self.kind_for(key, row), self.now_us());
        let owner = Owner::Gather(gather, 0);
        let part = Part { owner, born_us, slot: 0, command: row.id, attempts: 0, kind, block: false };
        if alone {
            self.send_alone(gather, part, row, stride(split), args, keys);
            return Step::Taken;
        }
        for (group, index) in groups(keys).zip(0u16..) {
            let part = Part { owner: Owner::Gather(gather, index), slot: group[0].slot(), ..part };
            self.send_by(part, |out| write_part(out, row, stride(split), args, group));
        }
        Step::Taken
    }

    /// Sends each key as a part of its own, as `part` but for its number and its slot.
    #[inline]
    fn send_alone(
        &mut self,
        gather: Key<Gather>,
        part: Part,
        row: &'static Command,
        stride: usize,
        args: &Args<'_>,
        keys: &[Keyed],
    ) {
        let mut head = mem::take(&mut self.scratch);
        let len = write_padded_head(&mut head, row, stride);
        let plain = part.kind.is_plain();
        for key in keys {
            let (slot, position) = (key.slot(), key.position());
            // Slots are 16 bits, so are the numbers of keys that have one each.
            let part = Part { owner: Owner::Gather(gather, position as u16), slot, ..part };
            let Some((start, end)) = args.encoded(1 + position * stride, 1 + (position + 1) * stride) else {
                continue;
            };
            let ready = plain.then(|| self.nodes.shared_primary(slot, part.kind)).flatten();
            let sent = ready.is_some_and(|backend| {
                self.push_ready(backend, part, |out| {
                    append(out, &head, 0, len);
                    append(out, args.frame(), start, end - start);
                })
            });
            if !sent {
                self.send_by(part, |out| write_part(out, row, stride, args, &[*key]));
            }
        }
        self.scratch = head;
    }

    /// All parts are answered, for the client or for a part of another split.
    pub(super) fn finish_split(
        &mut self,
        key: Key<Client>,
        sequence: Sequence,
        parent: Option<(Key<Gather>, u16)>,
        mut splits: Box<Splits>,
    ) {
        match (splits.error.take(), parent) {
            (Some(error), None) => self.reply_to(key, sequence, &error),
            (None, None) => self.reply_by(key, sequence, |out| splits.write(out)),
            (Some(error), Some((parent, index))) => self.gather_reply(parent, index, &error),
            (None, Some((parent, index))) => {
                let mut reply = Vec::new();
                splits.write(&mut reply);
                self.gather_reply(parent, index, &reply);
            }
        }
        self.splits.give(splits);
    }
}

/// Most keys of one part that are asked for one by one.
const MOST_SINGLE_KEYS: usize = 10_000;

impl Engine {
    /// A node has only some of the keys of a part, as its slot moves: each of them is sent alone, as it is at the one node or
    /// the other. False for a part that has no keys that could be parted.
    pub(in crate::proxy) fn split_by_key(&mut self, part: &Part, request: &[u8], error: &[u8]) -> bool {
        let row = command::by_id(part.command);
        let (Class::Split(split), false) = (row.class, part.block) else { return false };
        let (client, sequence, parent) = match part.owner {
            Owner::Client(client, sequence) => (client, sequence, None),
            Owner::Gather(gather, index) => match self.gathers.get(gather) {
                Some(g) => (g.client, g.sequence, Some((gather, index))),
                None => return false,
            },
            _ => return false,
        };
        let mut parser = RequestParser::new();
        let limits = Limits { max_request: usize::MAX, ..Limits::default() };
        let Parsed::Request { .. } = parser.parse(request, &limits) else { return false };
        let args = Args::new(request, parser.spans());
        let count = (args.len() - 1) / stride(split);
        if !(2..=MOST_SINGLE_KEYS).contains(&count) {
            return false;
        }
        // Numbered where others have their slot, so that each is a group of its own.
        let keys: Vec<Keyed> = (0..count as u16).map(|i| Keyed::new(i, u32::from(i))).collect();
        let mut splits = self.splits.take();
        splits.prepare_alone(split, count);
        let work = Work::Split(splits);
        let (command, born_us) = (part.command, part.born_us);
        let gather =
            self.gathers.insert(Gather { client, sequence, parent, missing: count, command, born_us, work });
        let mut bytes = Vec::new();
        for (group, index) in groups(&keys).zip(0u16..) {
            bytes.clear();
            write_part(&mut bytes, row, stride(split), &args, group);
            self.follow(Part { owner: Owner::Gather(gather, index), ..*part }, &bytes, error);
        }
        true
    }
}

/// Capacity in keys above which the list of keys is freed rather than kept.
const KEEP_KEYS: usize = 4096;

/// Arguments per key.
fn stride(split: Split) -> usize {
    match split {
        Split::Pairs => 2,
        Split::Values | Split::Sum => 1,
    }
}

/// Whether each of the keys has a slot of its own.
fn are_alone(keys: &[Keyed]) -> bool {
    let mut seen = [0u64; SLOTS / 64];
    keys.iter().all(|key| {
        let (word, bit) = (usize::from(key.slot()) / 64 % seen.len(), 1 << (key.slot() % 64));
        let first = seen[word] & bit == 0;
        seen[word] |= bit;
        first
    })
}

/// Sorted keys, slot by slot.
pub(super) fn groups(keys: &[Keyed]) -> impl Iterator<Item = &[Keyed]> {
    keys.chunk_by(|a, b| a.slot() == b.slot())
}

/// The command with the keys of one slot only, and their values where they have some.
#[inline(never)]
pub(super) fn write_part(
    out: &mut Vec<u8>,
    row: &'static Command,
    stride: usize,
    args: &Args<'_>,
    group: &[Keyed],
) {
    write_head(out, row, group.len() * stride);
    group.iter().for_each(|key| write_key(out, stride, args, *key));
}

/// What stands in front of the keys of a part.
fn write_head(out: &mut Vec<u8>, row: &'static Command, arguments: usize) {
    encode::array(out, 1 + arguments);
    encode::bulk(out, row.name.as_bytes());
}

/// As [`write_head`], into a buffer of its own with something behind it, so that it is cheap to [`append`]. Returns its length.
fn write_padded_head(head: &mut Vec<u8>, row: &'static Command, arguments: usize) -> usize {
    head.clear();
    write_head(head, row, arguments);
    let len = head.len();
    head.extend_from_slice(&[0; 64]);
    len
}

/// A key, and its value where it has one, as they came.
#[inline]
fn write_key(out: &mut Vec<u8>, stride: usize, args: &Args<'_>, key: Keyed) {
    let first = 1 + key.position() * stride;
    let Some((start, end)) = args.encoded(first, first + stride) else { return };
    append(out, args.frame(), start, end - start);
}
