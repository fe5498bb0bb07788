//! A shared backend that a large reply occupies for a while: it is taken out of use, so that nobody waits behind it.
//!
//! New parts go to another backend of the same node. Clients with parts under way on the old one are not read until these
//! are answered, so each client's commands to one key keep their order. What other clients have asked behind the large
//! reply is asked again on the new backend, if it may be. The rest has to wait: for a while at the pace of the client of the
//! large reply, then the backend is read however slow that client is, up to its output limit.

use std::collections::HashSet;
use std::time::Duration;

use crate::base::arena::Key;
use crate::proxy::backend::Backend;
use crate::proxy::client::Client;
use crate::proxy::engine::Engine;
use crate::proxy::order;
use crate::proxy::part::{InFlight, Owner, Part};

/// Backends of one worker that are detached at once; one more large reply is waited for by who comes behind it.
const MOST_DETACHED: usize = 256;

/// How long others who wait behind a large reply have to wait for its client, and how much waits for that one meanwhile,
/// in units of [`super::Sizes::pace`].
pub(super) const MOST_CROWDED_WAIT: Duration = Duration::from_secs(2);
const CROWDED_PACES: usize = 32;

/// Backends without work that a node keeps to take the place of one that is detached.
const MOST_SPARES: usize = 1;

impl Engine {
    /// Takes a shared backend, which a large reply occupies, out of use until all its parts are answered.
    pub(super) fn detach(&mut self, key: Key<Backend>) {
        let Some(b) = self.backends.get_mut(key) else { return };
        // Few use other databases; who comes behind a large reply there waits.
        let shared = !b.kind.dedicated && !b.kind.listener && !b.kind.nudges && b.kind.db == 0;
        if !shared || b.detached || b.retired || self.streams.detached >= MOST_DETACHED {
            return;
        }
        b.detached = true;
        b.detached_at = self.now;
        self.streams.detached += 1;
        let (node, kind) = (b.node, b.kind);
        if let Some(n) = self.nodes.get_mut(node) {
            let fits = |k: &Key<Backend>| self.backends.get(*k).is_some_and(|b| b.kind == kind && !b.retired);
            let spare = n.spares.iter().position(fits).map(|i| n.spares.swap_remove(i));
            n.shared[kind.index()] = spare.unwrap_or_default();
        }
        self.let_others_by(key);
    }

    /// A detached backend has answered all: it takes parts again, or waits until it is needed, or is closed.
    pub(in crate::proxy) fn reattach(&mut self, key: Key<Backend>) {
        let Some(b) = self.backends.get_mut(key) else { return };
        self.streams.detached -= 1;
        (b.detached, b.crowded) = (false, false);
        let index = b.kind.index();
        let Some(n) = self.nodes.get_mut(b.node) else { return };
        if self.backends.get(n.shared[index]).is_none() {
            n.shared[index] = key;
        } else if n.spares.len() < MOST_SPARES {
            n.spares.push(key);
        } else {
            self.drop_backend(key);
        }
    }

    /// Whether reading a backend may wait for the client whose reply it brings, of which `waiting` bytes wait for it: if
    /// nobody else waits for the backend, and no parked part of the client does, whose time is limited. Who does has to
    /// wait as well for a while, if much waits for the client already.
    pub(super) fn may_hold(&mut self, key: Key<Backend>, client: Key<Client>, waiting: usize) -> bool {
        let parked = |c: &Client| c.active.as_ref().is_some_and(|a| !a.parked.is_empty());
        if self.clients.get(client).is_some_and(parked) {
            return false;
        }
        let Some(b) = self.backends.get(key).filter(|b| b.detached || b.kind.dedicated) else { return false };
        if !b.crowded {
            return true;
        }
        let crowded = self.is_crowded(b);
        let Some(b) = self.backends.get_mut(key) else { return false };
        b.crowded = crowded;
        let patient = self.now.since(b.detached_at) < MOST_CROWDED_WAIT;
        !crowded || (patient && waiting >= CROWDED_PACES * self.streams.sizes.pace)
    }

    /// Whether something waits behind the reply at the front that is not to come after it anyway: of another client, or
    /// an earlier request of the same one that has been sent again.
    fn is_crowded(&self, b: &Backend) -> bool {
        let Some(front) = b.fifo.front().map(|f| f.part) else { return false };
        let (first, sequence) = (self.client_of(&front), self.sequence_of(&front));
        let anyway = |p: &Part| {
            let later = order::is_before(sequence, self.sequence_of(p));
            self.client_of(p) == first && later
        };
        b.fifo.iter().skip(1).any(|f| self.is_awaited(&f.part) && !anyway(&f.part))
    }

    /// Whether anybody waits for a part; for a question about the cluster, somebody who does has asked it.
    fn is_awaited(&self, part: &Part) -> bool {
        matches!(part.owner, Owner::Ask(_) | Owner::Lookup(_)) || self.waiting_client(part).is_some()
    }

    /// The client that waits for a part, if it is still there.
    fn waiting_client(&self, part: &Part) -> Option<Key<Client>> {
        self.client_of(part).filter(|c| self.clients.get(*c).is_some())
    }

    /// Asks again, on another backend, what may be asked again of what other clients have asked behind the front.
    fn let_others_by(&mut self, key: Key<Backend>) {
        let Some(b) = self.backends.get(key) else { return };
        let parts: Vec<InFlight> = b.fifo.iter().copied().collect();
        let moves = self.movable(b, &parts);
        let before = self.nodes.epoch().wrapping_sub(1);
        for part in &parts {
            let client = self.client_of(&part.part).unwrap_or_default();
            if let Some(c) = self.clients.get_mut(client) {
                c.epoch = before;
            }
        }
        let Some(b) = self.backends.get_mut(key) else { return };
        let (mut moved, mut start) = (Vec::new(), 0);
        for (f, moves) in b.fifo.iter_mut().zip(&moves) {
            if *moves {
                moved.push((f.part, b.window.ahead(start, f.len as usize).to_vec()));
                f.part.owner = Owner::Nobody;
            }
            start += f.len as usize;
        }
        // What was not written at all need not be.
        for _ in moves.iter().rev().take_while(|m| **m) {
            if !b.fifo.back().is_some_and(|last| b.window.take_back(last.len as usize)) {
                break;
            }
            b.fifo.pop_back();
        }
        for (mut part, bytes) in moved {
            part.attempts = part.attempts.saturating_add(1);
            self.send(part, &bytes);
        }
        let crowded = self.backends.get(key).is_some_and(|b| self.is_crowded(b));
        if let Some(b) = self.backends.get_mut(key) {
            b.crowded = crowded;
        }
    }

    /// Which of a backend's parts may go to another one: none that its node may have executed, unless it can be repeated,
    /// and of each client none behind one that stays. What was not written goes all together or not at all.
    fn movable(&self, b: &Backend, parts: &[InFlight]) -> Vec<bool> {
        let (repeat, awaited) = (self.repeatable(b), b.window.awaited());
        let mut stays: HashSet<usize> = HashSet::new();
        let (mut moves, mut start) = (Vec::with_capacity(parts.len()), 0);
        for (i, InFlight { part, len }) in parts.iter().enumerate() {
            let unwritten = start >= awaited;
            let may = i > 0 && part.attempts == 0 && !part.block && *len > 0;
            let may = may && repeat.get(i).copied().unwrap_or(unwritten);
            let client = self.waiting_client(part).map(Key::index);
            let moving = may && client.is_some_and(|c| !stays.contains(&c));
            moves.push(moving);
            stays.extend(self.client_of(part).map(Key::index).filter(|_| !moving));
            start += *len as usize;
        }
        if moves.iter().skip(repeat.len()).any(|m| !m) {
            // Then no client's reads may be asked behind what it has asked to be written.
            let behind: HashSet<usize> = parts
                .iter()
                .skip(repeat.len())
                .filter_map(|f| self.client_of(&f.part))
                .map(Key::index)
                .collect();
            for (moving, f) in moves.iter_mut().zip(parts) {
                *moving &= self.client_of(&f.part).is_some_and(|c| !behind.contains(&c.index()));
            }
        }
        moves
    }
}
