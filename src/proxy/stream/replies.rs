//! Replies that are passed on before their end has come.
//!
//! Once more than [`super::Sizes::begin`] bytes of an unfinished reply are here, or a larger one is announced, what has
//! come is given to its client, if it is that client's turn. From then on the reply belongs to that client alone: should
//! its node be lost in the middle, the client is closed, as it can neither get the rest nor an error.
//!
//! A client that takes its reply slowly stops the reading of the backend ("held"), but only where nobody else waits
//! behind the reply, or not yet for long; else more and more of it waits for the client, up to its output limit.

use std::mem;

use super::detach::MOST_CROWDED_WAIT;
use super::{Flow, MOST_STALL};
use crate::base::arena::Key;
use crate::proxy::backend::Backend;
use crate::proxy::client::Client;
use crate::proxy::engine::{Alarm, Engine};
use crate::proxy::fan::Gather;
use crate::proxy::loss::Loss;
use crate::proxy::part::{Owner, Part};
use crate::resp::{self, Scan};

/// Who gets an unfinished reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Taker {
    /// This client, now.
    Client(Key<Client>),
    /// This client, after its earlier requests are answered.
    Later(Key<Client>),
    /// It is taken when it is whole: by the parts of a split request, or by the proxy itself.
    Whole,
    Nobody,
}

impl Engine {
    /// Passes on what has come of the unfinished reply that `data` begins with. Returns how many bytes were consumed.
    #[cold]
    pub(in crate::proxy) fn begin_reply(&mut self, key: Key<Backend>, data: &[u8]) -> usize {
        let Some(b) = self.backends.get_mut(key) else { return 0 };
        let Some(&front) = b.fifo.front() else { return self.doubt(key, data) };
        if !b.window.front_written(front.len.max(1) as usize) {
            return self.doubt(key, data);
        }
        // Whoever waits behind this reply may not be who waited behind the last one.
        b.crowded = true;
        let whole = data.first().is_none_or(|b| resp::is_push(*b) || resp::is_error(*b));
        let (scanned, announced) = (b.scanned, b.framer.announced());
        if announced >= self.streams.sizes.large as u64 || scanned >= self.streams.sizes.large {
            self.detach(key);
        }
        if whole {
            return 0;
        }
        let head = self.part_begins(&front.part, &data[..scanned]);
        if head > 0 {
            // It may have to wait for others.
            self.detach(key);
        }
        match self.taker(&front.part) {
            Taker::Whole => 0,
            Taker::Later(client) => {
                if scanned > self.config.client_output_limit {
                    self.output_limit(client);
                } else if self.may_hold(key, client, 0) {
                    self.hold_source(key, client);
                }
                0
            }
            Taker::Client(_) | Taker::Nobody => {
                if let Some(b) = self.backends.get_mut(key) {
                    b.scanned = 0;
                    b.flow = Flow::Rest;
                }
                self.counters.replies_streamed += 1;
                self.pass_on(key, &front.part, &data[head..scanned]);
                scanned
            }
        }
    }

    /// More of a reply that is passed on. Returns how much of `data` was consumed and whether the reply has ended.
    #[cold]
    pub(in crate::proxy) fn rest_of_reply(&mut self, key: Key<Backend>, data: &[u8]) -> (usize, bool) {
        let Some(b) = self.backends.get_mut(key) else { return (data.len(), false) };
        let Some(&front) = b.fifo.front() else { return (self.doubt(key, data), false) };
        match b.framer.scan(data) {
            Ok(Scan::More(n)) => {
                self.pass_on(key, &front.part, &data[..n]);
                (n, false)
            }
            Ok(Scan::Done(n)) => {
                b.fifo.pop_front();
                b.window.acknowledge(front.len as usize);
                b.flow = Flow::Replies;
                b.passed = 0;
                self.wanders_no_more(&front.part, key);
                if !matches!(front.part.owner, Owner::Gather(..)) {
                    self.tally.answered(&front.part, self.now);
                }
                self.end_reply(&front.part, &data[..n]);
                (n, true)
            }
            Err(error) => {
                self.lose_backend(key, Loss::Protocol(error.to_string()));
                (data.len(), false)
            }
        }
    }

    /// Reading a backend stops until its client has taken what waits for it.
    fn hold_source(&mut self, key: Key<Backend>, client: Key<Client>) {
        let active = self.clients.get_mut(client).and_then(|c| c.active.as_deref_mut());
        let Some((b, active)) = self.backends.get_mut(key).zip(active) else { return };
        if !b.held {
            b.held = true;
            active.sources.push(key);
            if b.crowded {
                self.timers.cancel(b.timer);
                let until = b.detached_at.after(MOST_CROWDED_WAIT);
                b.timer = self.timers.set(until, Alarm::Backend(key));
            }
        }
    }

    /// A client has taken something, or has gone: the backends that wait for it are read again.
    #[cold]
    pub(in crate::proxy) fn let_go_on(&mut self, sources: &mut Vec<Key<Backend>>) {
        for key in sources.drain(..) {
            if self.backends.get(key).is_some_and(|b| b.held) {
                self.streams.go_on.push(key);
            }
        }
    }

    /// As [`Engine::let_go_on`], once little enough waits for the client.
    #[cold]
    pub(in crate::proxy) fn release_sources(&mut self, client: Key<Client>) {
        let Some(active) = self.clients.get_mut(client).and_then(|c| c.active.as_deref_mut()) else { return };
        if active.out.unwritten().len() <= self.streams.sizes.pace / 2 {
            let sources = mem::take(&mut active.sources);
            let (held, mut free): (Vec<_>, Vec<_>) =
                sources.into_iter().partition(|k| self.is_swamped(client, *k));
            if let Some(active) = self.clients.get_mut(client).and_then(|c| c.active.as_deref_mut()) {
                active.sources = held;
            }
            self.let_go_on(&mut free);
        }
    }

    /// After replies of a backend to somebody for whom much waits: if the next one is for such a client, too, the backend
    /// is read on when the client has taken what it has. Many replies of ordinary size are as large as a large one.
    #[cold]
    pub(in crate::proxy) fn hold_for_swamped(&mut self, key: Key<Backend>) {
        self.streams.swamped = false;
        let Some(b) = self.backends.get(key).filter(|b| b.flow == Flow::Replies && !b.held) else { return };
        let Some(client) = b.fifo.front().and_then(|f| self.client_of(&f.part)) else { return };
        if !self.is_swamped(client, key) {
            return;
        }
        self.detach(key);
        let waiting = self.clients.get(client).and_then(|c| c.active.as_deref()).map_or(0, |a| a.backlog());
        if let Some(b) = self.backends.get_mut(key) {
            b.crowded = true;
        }
        if self.may_hold(key, client, waiting) {
            self.hold_source(key, client);
        }
    }

    /// Whether more waits for a client than should before a backend brings it another reply: of what it can take now if that
    /// reply is its next one, else of what comes before its turn as well.
    fn is_swamped(&self, client: Key<Client>, key: Key<Backend>) -> bool {
        let Some(front) = self.backends.get(key).and_then(|b| b.fifo.front()).map(|f| f.part) else {
            return false;
        };
        let Some(active) = self.clients.get(client).and_then(|c| c.active.as_deref()) else { return false };
        if self.client_of(&front) != Some(client) || active.order.is_held() {
            return false;
        }
        let waiting = match active.order.is_head(self.sequence_of(&front)) {
            true => active.out.unwritten().len(),
            false => active.backlog(),
        };
        waiting > self.streams.sizes.swamp
    }

    /// Whether a backend's remaining bytes shall not be handed in before it is among [`Engine::take_held_backends`].
    pub fn is_held(&self, key: Key<Backend>) -> bool {
        self.backends.get(key).is_some_and(|b| b.held)
    }

    /// Moves the backends whose reading shall go on to `keys`.
    pub fn take_held_backends(&mut self, keys: &mut Vec<Key<Backend>>) {
        for key in &self.streams.go_on {
            if let Some(b) = self.backends.get_mut(*key) {
                b.held = false;
            }
        }
        keys.append(&mut self.streams.go_on);
    }

    /// The timer of a backend whose client is the one who is slow.
    pub(in crate::proxy) fn held_alarm(&mut self, key: Key<Backend>) {
        let (now, Some(b)) = (self.now, self.backends.get_mut(key)) else { return };
        b.progress = now;
        b.timer = self.timers.set(now.after(b.patience.min(MOST_CROWDED_WAIT)), Alarm::Backend(key));
        if b.crowded && now.since(b.detached_at) >= MOST_CROWDED_WAIT {
            return self.streams.go_on.push(key);
        }
        let Some(front) = b.fifo.front().map(|f| f.part) else { return };
        let Taker::Client(client) = self.taker(&front) else { return };
        let Some(c) = self.clients.get(client) else { return };
        if !c.output().is_empty() && now.since(c.heard) >= MOST_STALL {
            log::warn!("client {} ({}) closed: it takes nothing of a large reply", c.id, c.peer);
            self.counters.output_limit_closes += 1;
            self.close_client(client);
        }
    }

    /// The node of a reply that was passed on in part is lost: its client can get neither the rest nor an error.
    pub(in crate::proxy) fn cut_off(&mut self, part: &Part, node: &str) {
        match self.taker(part) {
            Taker::Client(client) => {
                if let Some(c) = self.clients.get(client) {
                    let (id, peer) = (c.id, c.peer);
                    log::warn!("client {id} ({peer}) closed: node {node} was lost in the middle of a reply");
                }
                self.counters.replies_cut += 1;
                self.close_client(client);
                // A joined reply waits for the others as well.
                self.end_reply(part, b"");
            }
            Taker::Later(_) | Taker::Whole | Taker::Nobody => self.end_reply(part, b""),
        }
    }

    fn taker(&mut self, part: &Part) -> Taker {
        match part.owner {
            Owner::Gather(gather, index) => self.taker_of_part(gather, index),
            Owner::Client(key, sequence) => {
                match self.clients.get(key).and_then(|c| c.active.as_deref()).map(|a| &a.order) {
                    Some(order) if order.is_muted(sequence) => Taker::Nobody,
                    // What holds the order waits for this reply.
                    Some(order) if order.is_held() => Taker::Whole,
                    Some(order) if order.is_head(sequence) => Taker::Client(key),
                    Some(_) => Taker::Later(key),
                    None => Taker::Nobody,
                }
            }
            Owner::Nobody => Taker::Nobody,
            _ => Taker::Whole,
        }
    }

    /// A piece from within a reply, not the last one.
    fn pass_on(&mut self, key: Key<Backend>, part: &Part, piece: &[u8]) {
        let Some(b) = self.backends.get_mut(key) else { return };
        b.passed = b.passed.saturating_add(piece.len());
        if b.passed >= self.streams.sizes.large {
            self.detach(key);
        }
        let Taker::Client(client) = self.taker(part) else { return };
        let Some(active) = self.clients.get_mut(client).and_then(|c| c.active.as_deref_mut()) else { return };
        let overdue = active.backlog() > self.config.client_output_limit;
        active.out.begin_reply().extend_from_slice(piece);
        let waiting = active.out.unwritten().len();
        self.mark_client(client);
        if overdue {
            self.output_limit(client);
        } else if waiting >= self.streams.sizes.pace && self.may_hold(key, client, waiting) {
            self.hold_source(key, client);
        }
    }

    /// The last piece of a reply.
    fn end_reply(&mut self, part: &Part, piece: &[u8]) {
        let (client, sequence) = match part.owner {
            Owner::Client(client, sequence) => (client, sequence),
            Owner::Gather(gather, index) => return self.end_part(part, (gather, index), piece),
            _ => return,
        };
        let Some(active) = self.clients.get_mut(client).and_then(|c| c.active.as_deref_mut()) else { return };
        active.order.complete(sequence, piece, active.out.tail());
        active.out.end_reply();
        self.mark_client(client);
    }

    /// The last piece of one of the replies that are joined.
    fn end_part(&mut self, part: &Part, (gather, index): (Key<Gather>, u16), piece: &[u8]) {
        if let Taker::Client(client) = self.taker(part) {
            if let Some(active) = self.clients.get_mut(client).and_then(|c| c.active.as_deref_mut()) {
                active.out.begin_reply().extend_from_slice(piece);
                self.mark_client(client);
            }
        }
        self.part_ended(gather, index);
    }

    /// A reply that cannot be one.
    fn doubt(&mut self, key: Key<Backend>, data: &[u8]) -> usize {
        self.lose_backend(key, Loss::Protocol("sent a reply that nobody asked for".into()));
        data.len()
    }
}
