//! MGET of very many keys: asked for slice by slice, so that only a slice of the replies is here at any time.
//!
//! The request waits for the client's earlier ones, and the client is not read until it is answered. What comes first is
//! held back up to [`Sizes::large`] bytes: until then an error of any part is the reply, as with fewer keys. Behind that the
//! client is closed, as with any large reply whose node is lost in the middle.

use super::super::client::{Active, Client};
use super::super::dispatch::Step;
use super::super::engine::Engine;
use super::super::intake::MOST_BACKLOG;
use super::super::order::Sequence;
use super::super::part::{Owner, Part};
use super::super::stream::Sizes;
use super::split::{groups, write_part, Keyed, Splits};
use super::{Gather, Work};
use crate::base::arena::Key;
use crate::command::{Command, Split};
use crate::resp::{encode, Args, Span};

/// Keys of a slice at least and at most, but for the first one.
const FEWEST: usize = 16;
const MOST: usize = 1 << 16;

/// A request that is asked for slice by slice.
#[derive(Debug)]
pub struct Slices {
    row: &'static Command,
    /// The request, and where its arguments are.
    request: Vec<u8>,
    spans: Vec<Span>,
    sequence: Sequence,
    /// A part, but for its number and its slot.
    like: Part,
    /// The argument that comes next, and whether those right before it are on their way.
    next: usize,
    under_way: bool,
    /// What has come so far and is held back; how much has come.
    kept: Vec<u8>,
    bytes: usize,
    begun: bool,
    sizes: Sizes,
}

impl Slices {
    /// Memory that it holds, in bytes.
    pub fn memory(&self) -> usize {
        self.request.capacity() + size_of_val(self.spans.as_slice()) + self.kept.capacity()
    }

    /// How many keys are asked for next.
    fn len(&self) -> usize {
        let (left, asked) = (self.spans.len() - self.next, self.next - 1);
        let wanted = match asked {
            0 => self.sizes.slice,
            _ => (self.sizes.large / (self.bytes / asked).max(1)).clamp(FEWEST, MOST),
        };
        wanted.min(left)
    }

    fn is_done(&self) -> bool {
        self.next == self.spans.len() && !self.under_way
    }

    /// Takes in the elements of a slice: to `active`'s client, or to what is held back. True when there is something for the
    /// client.
    fn take(&mut self, splits: &mut Splits, active: &mut Active) -> bool {
        self.under_way = false;
        self.bytes += splits.bytes();
        if !self.begun && self.bytes <= self.sizes.large && !self.is_done() {
            splits.write_elements(&mut self.kept);
            return false;
        }
        let out = active.out.begin_reply();
        if !self.begun {
            encode::array(out, self.spans.len() - 1);
            out.append(&mut self.kept);
            self.kept = Vec::new();
            self.begun = true;
        }
        splits.write_elements(out);
        true
    }
}

impl Engine {
    /// Asks for the first slice. `None` where the client cannot get a reply in pieces.
    pub(super) fn begin_slices(
        &mut self,
        key: Key<Client>,
        row: &'static Command,
        args: &Args<'_>,
    ) -> Option<Step> {
        let special = |a: &Active| a.order.is_held() || a.order.is_muting();
        if self.clients.get(key)?.active.as_deref().is_some_and(special) {
            return None;
        }
        if self.must_wait(key) {
            return Some(Step::Wait);
        }
        let (kind, born_us) = (self.kind_for(key, row), self.now_us());
        let c = self.clients.get_mut(key)?;
        // Until all is answered.
        c.barrier = true;
        let active = c.active.get_or_insert_with(|| self.actives.take());
        let sequence = active.order.admit(args.frame().len() as u32);
        let owner = Owner::Nobody;
        active.slices = Some(Box::new(Slices {
            row,
            request: args.frame().to_vec(),
            spans: args.spans().to_vec(),
            sequence,
            like: Part { owner, born_us, slot: 0, command: row.id, attempts: 0, kind, block: false },
            next: 1,
            under_way: false,
            kept: Vec::new(),
            bytes: 0,
            begun: false,
            sizes: self.streams.sizes,
        }));
        self.next_slice(key);
        Some(Step::Taken)
    }

    /// Asks for the next slice, unless there is none or the client has to take something first.
    pub(in crate::proxy) fn next_slice(&mut self, key: Key<Client>) {
        let Some(active) = self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut()) else { return };
        if active.backlog() >= MOST_BACKLOG {
            return;
        }
        // Taken out, as its bytes are read while parts are sent.
        let Some(mut slices) = active.slices.take_if(|s| !s.under_way && !s.is_done()) else { return };
        let count = slices.len();
        // What stands before the keys takes the place of the command's name.
        let args = Args::new(&slices.request, &slices.spans[slices.next - 1..slices.next + count]);
        let mut keys: Vec<Keyed> = Keyed::all(&args, 1).collect();
        keys.sort_unstable();
        let mut splits = self.splits.take();
        let missing = 1 + splits.prepare(Split::Values, &keys);
        let Part { command, born_us, .. } = slices.like;
        let (sequence, work) = (slices.sequence, Work::Slice(splits));
        let gather = Gather { client: key, sequence, parent: None, missing, command, born_us, work };
        let gather = self.gathers.insert(gather);
        for (group, index) in groups(&keys).zip(0u16..) {
            let owner = Owner::Gather(gather, index);
            let part = Part { owner, slot: group[0].slot(), ..slices.like };
            self.send_by(part, |out| write_part(out, slices.row, 1, &args, group));
        }
        slices.next += count;
        slices.under_way = true;
        if let Some(active) = self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut()) {
            active.slices = Some(slices);
        }
        // The one more that was missing until here, as all may have been answered at once.
        if self.gathers.get_mut(gather).is_some_and(|g| g.is_last()) {
            self.split_answered(gather);
        }
    }

    /// All parts of a slice are answered.
    pub(super) fn slice_answered(&mut self, key: Key<Client>, mut splits: Box<Splits>) {
        let error = splits.take_error();
        let active = self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut());
        if let Some((active, mut slices)) = active.and_then(|a| a.slices.take().map(|s| (a, s))) {
            match error {
                Some(error) => self.slices_failed(key, &slices, &error),
                None => {
                    let passed_on = slices.take(&mut splits, active);
                    if slices.is_done() {
                        active.order.complete(slices.sequence, b"", active.out.tail());
                        active.out.end_reply();
                        self.tally.gathered(slices.row.id, slices.like.born_us, self.now, false);
                    } else {
                        active.slices = Some(slices);
                    }
                    if passed_on {
                        self.mark_client(key);
                    }
                }
            }
        }
        self.splits.give(splits);
        self.next_slice(key);
    }

    fn slices_failed(&mut self, key: Key<Client>, slices: &Slices, error: &[u8]) {
        self.tally.gathered(slices.row.id, slices.like.born_us, self.now, true);
        if !slices.begun {
            return self.reply_to(key, slices.sequence, error);
        }
        if let Some(c) = self.clients.get(key) {
            let error = String::from_utf8_lossy(error);
            log::warn!("client {} ({}) closed in the middle of a reply: {}", c.id, c.peer, error.trim_end());
        }
        self.counters.replies_cut += 1;
        self.close_client(key);
    }
}
