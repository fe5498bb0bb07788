//! KEYS: the elements of all nodes' replies as one reply, passed on while they come.
//!
//! Once the head of each reply is here, what all have together is known, and nothing but the loss of a node can go wrong
//! any more: then the elements follow, those of one node after the other. Of the nodes that come later only so much is
//! read as shows the head (see `stream::replies`). Replies that are all here before that are joined at once.

use std::mem;

use super::super::client::Client;
use super::super::engine::Engine;
use super::super::order::{ReplyOrder, Sequence};
use super::super::part::{Owner, Part};
use super::super::stream::Taker;
use super::every::Asked;
use super::{aggregate, merge, Gather, Work};
use crate::base::arena::Key;
use crate::resp::encode;

/// How far a joined reply is.
#[derive(Debug)]
pub(super) struct Joint {
    /// By node: how many elements it has, once that is known.
    counts: Vec<Option<usize>>,
    /// The node whose elements are next, once some have been passed on.
    at: Option<usize>,
}

impl Joint {
    pub(super) fn new(nodes: usize) -> Self {
        Joint { counts: vec![None; nodes], at: None }
    }

    /// The reply of node `index` begins with `head`. How long the head is; `None` if it is not one that it can have: when
    /// the client has been told how many elements there are, and the node is asked again, it must have as many as before.
    pub(super) fn note(&mut self, index: usize, head: &[u8]) -> Option<usize> {
        let (b'*', count, elements) = aggregate(head)? else { return None };
        let noted = self.counts.get_mut(index)?;
        if self.at.is_none() {
            *noted = Some(count);
        }
        (*noted == Some(count)).then_some(head.len() - elements.len())
    }

    /// How many elements all have together, once that is known.
    pub(super) fn total(&self) -> Option<usize> {
        self.counts.iter().copied().try_fold(0usize, |sum, count| sum.checked_add(count?))
    }
}

impl Asked {
    /// How far its joined reply is, while that can be one.
    fn joint_mut(&mut self) -> Option<&mut Joint> {
        let failed = have_failed(&self.replies);
        self.joint.as_mut().filter(|j| !failed || j.at.is_some())
    }
}

/// Whether one of the replies that are here whole, and not empty, is no array.
fn have_failed(replies: &merge::Replies) -> bool {
    replies.iter().any(|r| r.first().is_some_and(|kind| *kind != b'*'))
}

impl Gather {
    fn asked_mut(&mut self) -> Option<&mut Asked> {
        match &mut self.work {
            Work::Asked(asked) if asked.joint.is_some() => Some(asked),
            _ => None,
        }
    }
}

impl Engine {
    /// Who gets the unfinished reply of a node to a part of a gathered request.
    pub(in crate::proxy) fn taker_of_part(&mut self, key: Key<Gather>, index: u16) -> Taker {
        let Some((client, sequence)) = self.gathers.get(key).map(|g| (g.client, g.sequence)) else {
            return Taker::Nobody;
        };
        let in_pieces = self.takes_pieces(client, sequence);
        let Some(asked) = self.gathers.get_mut(key).and_then(Gather::asked_mut) else { return Taker::Whole };
        match (in_pieces, asked.joint_mut()) {
            (None, _) | (_, None) => Taker::Nobody,
            (Some(false), _) => Taker::Whole,
            (_, Some(joint)) if joint.at == Some(usize::from(index)) => Taker::Client(client),
            _ => Taker::Later(client),
        }
    }

    /// Whether a client can get the reply to a request in pieces; `None` if it has gone.
    fn takes_pieces(&self, client: Key<Client>, sequence: Sequence) -> Option<bool> {
        let order = &self.clients.get(client)?.active.as_deref()?.order;
        Some(!order.is_muted(sequence) && !order.is_held())
    }

    /// Of the reply to a part this has come. How much of it, at its beginning, is not passed on to the client.
    pub(in crate::proxy) fn part_begins(&mut self, part: &Part, data: &[u8]) -> usize {
        let Owner::Gather(key, index) = part.owner else { return 0 };
        let Some(asked) = self.gathers.get_mut(key).and_then(Gather::asked_mut) else { return 0 };
        let Some(head) = asked.joint.as_mut().and_then(|j| j.note(usize::from(index), data)) else {
            self.break_off(key);
            return 0;
        };
        self.pass_joined(key, false);
        head
    }

    /// The node that was to answer a part is lost; it will be asked again, or there will be an error.
    pub(in crate::proxy) fn part_lost(&mut self, part: &Part) {
        let Owner::Gather(key, index) = part.owner else { return };
        let joint = self.gathers.get_mut(key).and_then(|g| g.asked_mut()?.joint.as_mut());
        let Some(joint) = joint.filter(|j| j.at.is_none()) else { return };
        if let Some(count) = joint.counts.get_mut(usize::from(index)) {
            *count = None;
        }
    }

    /// The unfinished reply of a part has ended.
    pub(in crate::proxy) fn part_ended(&mut self, key: Key<Gather>, index: u16) {
        let now = usize::from(index);
        let Some(gather) = self.gathers.get_mut(key) else { return };
        let (command, born_us) = (gather.command, gather.born_us);
        let Some(joint) = gather.asked_mut().and_then(|a| a.joint.as_mut()).filter(|j| j.at == Some(now))
        else {
            // It was dropped.
            return self.gather_reply(key, index, b"*0\r\n");
        };
        joint.at = Some(now + 1);
        gather.missing -= 1;
        let none_is_missing = gather.missing == 0;
        if self.pass_joined(key, true) {
            self.tally.gathered(command, born_us, self.now, false);
        } else if none_is_missing {
            self.gathers.remove(key);
        }
    }

    /// Passes on what can be passed on of a joined reply; `moved` says that its next node is another one than before. True
    /// when all of it was; the request is forgotten then.
    pub(super) fn pass_joined(&mut self, key: Key<Gather>, mut moved: bool) -> bool {
        let Some(gather) = self.gathers.get_mut(key) else { return false };
        let (client, sequence, all_here) = (gather.client, gather.sequence, gather.missing == 0);
        let Some(Asked { joint: Some(joint), replies, .. }) = gather.asked_mut() else { return false };
        let active = self.clients.get_mut(client).and_then(|c| c.active.as_deref_mut());
        let can = |o: &ReplyOrder| o.is_head(sequence) && !o.is_muted(sequence) && !o.is_held();
        let Some(active) = active.filter(|a| can(&a.order)) else { return false };
        if joint.at.is_none() {
            let failed = have_failed(replies);
            let Some(total) = joint.total().filter(|_| !failed && !all_here) else {
                if failed {
                    // What is held is dropped.
                    self.release_sources(client);
                }
                return false;
            };
            encode::array(active.out.begin_reply(), total);
            (joint.at, moved) = (Some(0), true);
        }
        while let Some(at) = joint.at.filter(|at| replies.get(*at).is_some_and(|r| !r.is_empty())) {
            let reply = mem::take(&mut replies[at]);
            let Some(head) = joint.note(at, &reply) else {
                self.break_off(key);
                return false;
            };
            active.out.begin_reply().extend_from_slice(&reply[head..]);
            (joint.at, moved) = (Some(at + 1), true);
        }
        let done = joint.at == Some(replies.len());
        if done {
            active.order.complete(sequence, b"", active.out.tail());
            active.out.end_reply();
            self.gathers.remove(key);
        }
        // Not unless something has changed, or those that are held up would be looked at for ever.
        if moved {
            self.mark_client(client);
            self.release_sources(client);
        }
        done
    }

    /// A node has given something else than was to come. A client that has got some of the reply is closed; else that
    /// waits until all is here.
    fn break_off(&mut self, key: Key<Gather>) {
        let Some(gather) = self.gathers.get_mut(key) else { return };
        let client = gather.client;
        let Some(asked) = gather.asked_mut() else { return };
        if asked.joint.as_ref().is_none_or(|j| j.at.is_none()) {
            asked.joint = None;
            return self.release_sources(client);
        }
        if let Some(c) = self.clients.get(client) {
            log::warn!("client {} ({}) closed: the rest of a reply cannot be had", c.id, c.peer);
        }
        self.counters.replies_cut += 1;
        self.close_client(client);
    }
}
