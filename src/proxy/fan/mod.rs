//! Requests that are no single part with a reply that is passed on as it is: those that are split by slot, those that
//! go to many nodes, and SCAN, whose cursor is rewritten. Each has a [`Gather`] that owns its parts.
//!
//! | file | owns |
//! |---|---|
//! | `split` | MGET, MSET, DEL ...: a part per slot |
//! | `slices` | MGET of very many keys: one such request after the other |
//! | `every` | KEYS, CONFIG SET ...: a part per primary or per node |
//! | `joined` | KEYS: its one reply, passed on while those of the nodes come |
//! | `merge`, `latency` | how the replies of several nodes become one; pure |

mod every;
mod joined;
mod latency;
mod merge;
mod slices;
mod split;

use super::client::Client;
use super::engine::Engine;
use super::nodes::Node;
use super::order::Sequence;
use super::part::{Owner, Part};
use super::pubsub::Scope;
use super::scan::Walk;
use super::wait::Waiting;
use crate::base::arena::Key;
use crate::command::Command;
use every::Asked;
pub(in crate::proxy) use slices::Slices;
pub(in crate::proxy) use split::{Keyed, Splits};

/// A request that waits for its parts.
#[derive(Debug)]
pub struct Gather {
    /// Whose request.
    pub client: Key<Client>,
    /// Which of the client's requests.
    pub sequence: Sequence,
    /// Of which other request this is a part, if it is.
    parent: Option<(Key<Gather>, u16)>,
    /// Parts that have not been answered.
    missing: usize,
    /// Row of the command table.
    command: u16,
    /// When it came, as in [`Part::born_us`].
    born_us: u32,
    work: Work,
}

/// What is made of the replies of the parts.
#[derive(Debug)]
pub(in crate::proxy) enum Work {
    /// A part per slot.
    Split(Box<Splits>),
    /// The same, for some of its keys.
    Slice(Box<Splits>),
    /// A part per primary or per node.
    Asked(Box<Asked>),
    /// One part at a time, the step of a SCAN.
    Scan(Box<Walk>),
    /// SELECT of this database, tried at some primary.
    Select(u16),
    /// The question who serves the key of a large request.
    Upload,
    /// So many commands of a transaction that is played.
    Block(usize),
    /// WAIT, until replicas have caught up.
    Wait(Box<Waiting>),
    /// A message to this channel.
    Publish(Scope, Box<[u8]>),
}

impl Gather {
    /// Memory that it holds, in bytes.
    pub fn memory(&self) -> usize {
        let more = match &self.work {
            Work::Split(splits) | Work::Slice(splits) => splits.memory(),
            Work::Asked(asked) => asked.memory(),
            Work::Scan(walk) => walk.memory(),
            Work::Publish(_, channel) => channel.len(),
            Work::Wait(waiting) => waiting.memory(),
            Work::Select(_) | Work::Block(_) | Work::Upload => 0,
        };
        std::mem::size_of::<Self>() + more
    }

    /// Takes in the reply `data[start..end]` of a part of a split request, which is no error. How many parts are missing
    /// then; `None` when this is no split request.
    #[inline]
    pub(super) fn take_part(&mut self, index: u16, data: &[u8], start: usize, end: usize) -> Option<usize> {
        let (Work::Split(splits) | Work::Slice(splits)) = &mut self.work else { return None };
        splits.take_in(index, data, start, end);
        self.missing -= 1;
        Some(self.missing)
    }

    /// The node that part `index` is for, where it is not for the owner of its slot.
    pub fn target(&self, index: u16) -> Option<Key<Node>> {
        match &self.work {
            Work::Asked(asked) => asked.target(index),
            _ => None,
        }
    }

    /// The step of a SCAN that this is, if it is one; another part is expected.
    pub fn walk(&mut self) -> Option<&mut Walk> {
        match &mut self.work {
            Work::Scan(walk) => {
                self.missing = 1;
                Some(walk)
            }
            _ => None,
        }
    }

    /// The WAIT that this is, if it is one.
    pub fn waiting(&mut self) -> Option<&mut Waiting> {
        match &mut self.work {
            Work::Wait(waiting) => Some(waiting),
            _ => None,
        }
    }

    /// One part less is missing; whether none is then.
    fn is_last(&mut self) -> bool {
        self.missing -= 1;
        self.missing == 0
    }

    /// So many parts are expected from now on.
    pub fn await_parts(&mut self, parts: usize) {
        self.missing = parts;
    }

    /// The name of the node that part `index` is for, where it is not for the owner of its slot.
    fn target_name(&self, index: u16) -> Option<&str> {
        match &self.work {
            Work::Asked(asked) => asked.target_name(index),
            _ => None,
        }
    }
}

impl Engine {
    /// Gives a request of `bytes` its place in its client's order; `missing` parts will be answered.
    pub(super) fn gather(
        &mut self,
        client: Key<Client>,
        row: &Command,
        bytes: usize,
        missing: usize,
        work: Work,
    ) -> Key<Gather> {
        let active =
            self.clients.get_mut(client).map(|c| c.active.get_or_insert_with(|| self.actives.take()));
        let sequence = active.map_or(0, |a| a.order.admit(bytes as u32));
        let (command, born_us) = (row.id, self.now_us());
        self.gathers.insert(Gather { client, sequence, parent: None, missing, command, born_us, work })
    }

    /// Every part of a split request was answered, none by an error just now.
    pub(super) fn split_answered(&mut self, key: Key<Gather>) {
        let Some(Gather { client, sequence, parent, command, born_us, work, .. }) = self.gathers.remove(key)
        else {
            return;
        };
        let splits = match work {
            Work::Split(splits) => splits,
            Work::Slice(splits) => return self.slice_answered(client, splits),
            _ => return,
        };
        let errors = self.counters.error_replies;
        self.finish_split(client, sequence, parent, splits);
        if parent.is_none() {
            let failed = self.counters.error_replies != errors;
            self.tally.gathered(command, born_us, self.now, failed);
        }
    }

    /// A part of a gathered request was answered.
    pub(super) fn gather_reply(&mut self, key: Key<Gather>, index: u16, reply: &[u8]) {
        let Some(gather) = self.gathers.get(key) else { return };
        let (command, born_us, errors) = (gather.command, gather.born_us, self.counters.error_replies);
        let is_last = gather.missing <= 1;
        // A time that a client wanted to wait tells nothing.
        let no_request =
            matches!(gather.work, Work::Block(_) | Work::Upload | Work::Wait(_) | Work::Slice(_));
        let is_request = is_last && gather.parent.is_none() && !no_request;
        self.take_gathered(key, index, reply);
        if is_request && self.gathers.get(key).is_none() {
            self.tally.gathered(command, born_us, self.now, self.counters.error_replies != errors);
        }
    }

    fn take_gathered(&mut self, key: Key<Gather>, index: u16, reply: &[u8]) {
        let Some(gather) = self.gathers.get_mut(key) else { return };
        // What nobody will read need not be kept.
        let wanted = self.clients.get(gather.client).is_some();
        match &mut gather.work {
            Work::Split(splits) | Work::Slice(splits) if wanted => splits.take(index, reply),
            Work::Asked(asked) if wanted => asked.take(index, reply),
            Work::Wait(waiting) if wanted => waiting.take(index, reply),
            _ => {}
        }
        gather.missing -= 1;
        let missing = gather.missing;
        if (wanted && self.pass_joined(key, false)) || missing > 0 {
            return;
        }
        if wanted && (self.scan_reply(key, reply) || self.wait_goes_on(key)) {
            return;
        }
        let Some(Gather { client, sequence, parent, work, .. }) = self.gathers.remove(key) else { return };
        if !wanted {
            if let Some((parent, index)) = parent {
                self.gather_reply(parent, index, b"");
            }
            return;
        }
        match work {
            Work::Split(splits) => self.finish_split(client, sequence, parent, splits),
            Work::Slice(splits) => self.slice_answered(client, splits),
            Work::Asked(asked) => self.finish_asked(client, sequence, *asked),
            Work::Scan(walk) => {
                let mut out = Vec::new();
                self.finish_scan(&walk, &mut out);
                self.reply_to(client, sequence, &out);
            }
            Work::Wait(waiting) => {
                if let Some(c) = self.clients.get_mut(client) {
                    c.waits = false;
                }
                let mut out = Vec::new();
                waiting.answer(&mut out);
                self.reply_to(client, sequence, &out);
            }
            Work::Select(db) => self.selected(client, sequence, db, reply),
            Work::Upload => self.owner_answered(client, reply),
            Work::Block(commands) => self.block_answered(client, sequence, commands, reply),
            Work::Publish(scope, channel) => self.published(client, sequence, (scope, &channel), reply),
        }
    }

    /// The node that a part without a slot is for, unless any primary will do.
    pub(super) fn target_of(&self, part: &Part) -> Option<Key<Node>> {
        match part.owner {
            Owner::Gather(gather, index) => self.gathers.get(gather)?.target(index),
            _ => None,
        }
    }

    /// The name of the node that a part without a slot is for, unless any primary will do.
    pub(super) fn target_name(&self, part: &Part) -> Option<&str> {
        match part.owner {
            Owner::Gather(gather, index) => self.gathers.get(gather)?.target_name(index),
            _ => None,
        }
    }
}

/// The type, the number of elements and the elements of an aggregate reply; `None` for anything else.
pub(super) fn aggregate(reply: &[u8]) -> Option<(u8, usize, &[u8])> {
    let (kind, rest) = reply.split_first()?;
    let line = memchr::memchr(b'\n', rest)?;
    let count = std::str::from_utf8(rest.get(..line.checked_sub(1)?)?).ok()?.parse().ok()?;
    matches!(kind, b'*' | b'~' | b'%').then_some((*kind, count, &rest[line + 1..]))
}
