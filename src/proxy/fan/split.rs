//! Commands that are split by slot: a part per slot, and one reply out of theirs.

use std::mem;

use super::super::client::Client;
use super::super::dispatch::Step;
use super::super::engine::Engine;
use super::super::errors;
use super::super::part::{Owner, Part};
use super::{aggregate, Gather, Work};
use crate::base::arena::Key;
use crate::command::{self, Class, Command, Split};
use crate::resp::{self, encode, Args, Limits, Parsed, RequestParser};

/// What a split request waits for.
#[derive(Debug)]
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
    /// By key, in the order of the request: its part.
    part_of: Vec<u16>,
}

/// What a part adds to an array reply.
#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    /// How many elements it must have.
    keys: usize,
    /// Where in [`Splits::elements`] its next unused element begins.
    next: usize,
}

impl Splits {
    fn new(merge: Split, keys: &[Keyed]) -> Self {
        let (mut part_of, mut parts) = (Vec::new(), Vec::new());
        if merge == Split::Values {
            part_of.resize(keys.len(), 0);
            for (index, group) in groups(keys).enumerate() {
                parts.push(Slice { keys: group.len(), next: 0 });
                for (_, position) in group {
                    part_of[*position as usize] = index as u16;
                }
            }
        }
        Splits { merge, error: None, sum: 0, elements: Vec::new(), parts, part_of }
    }

    /// Takes in the reply of part `index`.
    pub(super) fn take(&mut self, index: u16, reply: &[u8]) {
        if reply.first().is_some_and(|b| resp::is_error(*b)) {
            self.error.get_or_insert_with(|| reply.to_vec());
        } else if !self.merge_in(usize::from(index), reply) && self.error.is_none() {
            let mut error = Vec::new();
            errors::unmergeable(&mut error);
            self.error = Some(error);
        }
    }

    /// False when the reply has not the form that the command's replies have.
    fn merge_in(&mut self, index: usize, reply: &[u8]) -> bool {
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
                let Some((b'*', count, elements)) = aggregate(reply) else { return false };
                slice.next = self.elements.len();
                self.elements.extend_from_slice(elements);
                count == slice.keys
            }
        }
    }

    /// The one reply.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) {
        if let Some(error) = self.error {
            return out.extend_from_slice(&error);
        }
        match self.merge {
            Split::Pairs => out.extend_from_slice(b"+OK\r\n"),
            Split::Sum => encode::integer(out, self.sum),
            Split::Values => {
                encode::array(out, self.part_of.len());
                for part in &self.part_of {
                    let slice = &mut self.parts[usize::from(*part)];
                    let rest = &self.elements[slice.next..];
                    // Never `None`: the framer has counted the elements of each part.
                    let len = resp::frame_len(rest).unwrap_or(0);
                    out.extend_from_slice(&rest[..len]);
                    slice.next += len;
                }
            }
        }
    }
}

/// One key of a split request: its slot and which key it is.
type Keyed = (u16, u32);

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
        let names = args.iter().skip(1).step_by(stride);
        keys.extend(names.zip(0u32..).map(|(name, i)| (command::slot(name), i)));
        let step = match keys.iter().all(|k| k.0 == keys[0].0) {
            true => self.send_whole(key, row, keys[0].0, args.frame()),
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
        if let Some((slot, _)) = keys.iter().find(|k| self.nodes.primary(k.0).is_none()) {
            let mut error = Vec::new();
            errors::unserved(&mut error, *slot, self.nodes.known());
            self.nobody_serves();
            self.reply_now(key, &error);
            return Step::Taken;
        }
        // Stable by position, as the position is part of what is compared: repeated keys stay in order.
        keys.sort_unstable();
        let work = Work::Split(Splits::new(split, keys));
        let gather = self.gather(key, row, args.frame().len(), groups(keys).count(), work);
        let kind = self.kind_for(key, row);
        let mut bytes = mem::take(&mut self.scratch_part);
        for (index, group) in groups(keys).enumerate() {
            bytes.clear();
            encode_part(&mut bytes, row, split, args, group);
            let owner = Owner::Gather(gather, index as u16);
            let part = Part {
                owner,
                born_us: self.now_us(),
                slot: group[0].0,
                command: row.id,
                attempts: 0,
                kind,
                block: false,
            };
            self.send(part, &bytes);
        }
        self.scratch_part = bytes;
        Step::Taken
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
        let keys: Vec<Keyed> = (0..count as u16).map(|i| (i, u32::from(i))).collect();
        let work = Work::Split(Splits::new(split, &keys));
        let (command, born_us) = (part.command, part.born_us);
        let gather =
            self.gathers.insert(Gather { client, sequence, parent, missing: count, command, born_us, work });
        let mut bytes = Vec::new();
        for (group, index) in groups(&keys).zip(0u16..) {
            bytes.clear();
            encode_part(&mut bytes, row, split, &args, group);
            self.follow(Part { owner: Owner::Gather(gather, index), ..*part }, &bytes, error);
        }
        true
    }
}

/// How many arguments belong to a key.
fn stride(split: Split) -> usize {
    match split {
        Split::Pairs => 2,
        Split::Values | Split::Sum => 1,
    }
}

/// Capacity in keys above which the list of keys is freed rather than kept.
const KEEP_KEYS: usize = 4096;

/// Sorted keys, slot by slot.
fn groups(keys: &[Keyed]) -> impl Iterator<Item = &[Keyed]> {
    keys.chunk_by(|a, b| a.0 == b.0)
}

/// The command with the keys of one slot only, and their values where they have some.
fn encode_part(out: &mut Vec<u8>, row: &'static Command, split: Split, args: &Args<'_>, group: &[Keyed]) {
    let stride = stride(split);
    encode::array(out, 1 + group.len() * stride);
    encode::bulk(out, row.name.as_bytes());
    for (_, position) in group {
        let first = 1 + *position as usize * stride;
        for i in first..first + stride {
            encode::bulk(out, args.get(i).unwrap_or_default());
        }
    }
}
