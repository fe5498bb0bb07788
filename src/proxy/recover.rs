//! What goes wrong and is set right: redirects, parts that must wait, lost backends, timeouts.
//!
//! A part is sent again only if the node cannot have executed it (its last byte was never written, or the node said
//! so), or if it only reads. Parts that cannot be sent now are *parked* with their client, in order: they are tried
//! again after a pause and whenever the topology changes, until the retry timeout. A client with parked parts is not
//! read, and its later parts of the same slot wait behind them, so its commands to one key keep their order.

use std::collections::VecDeque;
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use super::backend::{Backend, Kind};
use super::client::{Client, Wandering};
use super::dispatch::Unsent;
use super::engine::{Alarm, Effect, Engine, Hint};
use super::errors;
use super::nodes::Node;
use super::order::{self, Sequence};
use super::part::{Owner, Part, NO_SLOT};
use super::redirect::{self, Verdict};
use crate::base::arena::Key;
use crate::cluster::{Redirect, RedirectKind};
use crate::resp::encode;

/// Redirects of one part that are followed at once; further ones wait a little each.
const QUICK_REDIRECTS: u8 = 5;

/// First and longest pause before a parked part is tried again.
const FIRST_PAUSE_MS: u64 = 2;
const LONGEST_PAUSE_MS: u64 = 100;

/// A part that waits to be sent again.
#[derive(Debug)]
pub struct Parked {
    /// Which part.
    pub part: Part,
    /// Of which request.
    sequence: Sequence,
    /// Its request.
    bytes: Box<[u8]>,
    /// What to answer when time runs out: what a node said last, or nothing if none was reached.
    error: Option<Box<[u8]>>,
}

impl Parked {
    /// Memory that it holds, in bytes.
    pub fn memory(&self) -> usize {
        std::mem::size_of::<Self>() + self.bytes.len() + self.error.as_ref().map_or(0, |e| e.len())
    }
}

impl Engine {
    /// A node answered that a part was not executed.
    pub(super) fn redirect(
        &mut self,
        from: Key<Node>,
        mut part: Part,
        request: &[u8],
        verdict: Verdict<'_>,
        error: &[u8],
    ) {
        // Nobody is left whose order could be kept.
        if self.client_of(&part).is_none_or(|k| self.clients.get(k).is_none()) {
            return self.orphan(&part);
        }
        part.attempts = part.attempts.saturating_add(1);
        if let (Verdict::Redirect(target), NO_SLOT) = (verdict, part.slot) {
            // The node has found a key where the proxy has not, see `KeyError::Unroutable`.
            part.slot = target.slot;
        }
        if matches!(verdict, Verdict::Redirect(target) if part.block && target.slot != part.slot) {
            return self.answer(&part, errors::BLOCK_CROSSES);
        }
        if part.kind.dedicated {
            return self.redirect_dedicated(from, part, request, verdict, error);
        }
        // ASKING holds for one command only, so a transaction waits until its slot has moved.
        let verdict = match verdict {
            Verdict::Redirect(target) if part.block && target.kind == RedirectKind::Ask => {
                Verdict::Retry { refresh: false }
            }
            verdict => verdict,
        };
        match verdict {
            Verdict::Redirect(target) if target.kind == RedirectKind::Moved => {
                self.counters.moved += 1;
                self.effects.push(Effect::Refresh(Hint::Moved(target.slot)));
                match self.target_node(from, &target) {
                    Some(node) => {
                        self.nodes.correct(target.slot, node);
                        self.follow(part, request, error);
                    }
                    None => self.park(part, request, Some(error)),
                }
            }
            Verdict::Redirect(target) => {
                self.counters.ask += 1;
                match self.target_node(from, &target) {
                    Some(node) if !self.waits_behind(&part) => self.ask(node, part, request, error),
                    _ => self.park(part, request, Some(error)),
                }
            }
            Verdict::Retry { .. }
                if error.starts_with(b"-TRYAGAIN") && self.split_by_key(&part, request, error) =>
            {
                self.counters.retries += 1;
            }
            Verdict::Retry { refresh } => {
                self.counters.retries += 1;
                if refresh {
                    self.effects.push(Effect::Refresh(Hint::Unserved));
                }
                if part.kind.replica && part.attempts == 1 {
                    // The next try goes to the primary, which has no part in this replica's trouble.
                    self.follow(part, request, error);
                } else {
                    self.park(part, request, Some(error));
                }
            }
            Verdict::Reply => self.answer(&part, error),
        }
    }

    /// Keeps a part with its client until it can be sent; `error` is what a node said of it.
    pub(super) fn park(&mut self, part: Part, request: &[u8], error: Option<&[u8]>) {
        if self.age(&part) >= self.config.retry_timeout {
            return self.give_up(&part, error);
        }
        let Some(key) = self.client_of(&part) else { return self.orphan(&part) };
        let sequence = self.sequence_of(&part);
        let Some(active) = self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut()) else {
            return self.orphan(&part);
        };
        let parked = Parked { part, sequence, bytes: request.into(), error: error.map(Into::into) };
        let mut sources = mem::take(&mut active.sources);
        let older = active.parked.iter().rposition(|p| !order::is_before(sequence, p.sequence));
        active.parked.insert(older.map_or(0, |i| i + 1), parked);
        // What it is parked behind may be among the replies that the client is waited for to take.
        self.let_go_on(&mut sources);
        self.note_waiting(key);
        self.set_parked_timer(key);
    }

    /// Tries a client's parked parts again, oldest first; what still cannot be sent stays, with all behind it that has
    /// the same slot.
    pub(super) fn retry_parked(&mut self, key: Key<Client>) {
        let Some(active) = self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut()) else { return };
        let timer = mem::take(&mut active.parked_timer);
        let parked = mem::take(&mut active.parked);
        self.timers.cancel(timer);
        let mut held = Vec::new();
        for p in parked {
            self.retry(key, p, &mut held);
        }
        let Some(c) = self.clients.get_mut(key) else { return };
        let Some(active) = c.active.as_deref_mut() else { return };
        if active.parked.is_empty() {
            active.parked_tries = 0;
            self.mark_client(key);
        }
        self.note_waiting(key);
        self.set_parked_timer(key);
    }

    /// Takes back the only parked part of a client.
    pub(super) fn unpark(&mut self, key: Key<Client>) -> Option<Part> {
        let active = self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut())?;
        let parked = active.parked.pop_front()?;
        debug_assert!(active.parked.is_empty());
        let timer = mem::take(&mut active.parked_timer);
        self.timers.cancel(timer);
        self.note_waiting(key);
        Some(parked.part)
    }

    /// Keeps the list of clients with parked parts true.
    fn note_waiting(&mut self, key: Key<Client>) {
        let Some(active) = self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut()) else { return };
        let waits = !active.parked.is_empty();
        match (mem::replace(&mut active.waiting, waits), waits) {
            (false, true) => self.waiting.push(key),
            (true, false) => self.waiting.retain(|k| *k != key),
            _ => {}
        }
    }

    /// Gives a reply to whoever waits for a part.
    pub(super) fn answer(&mut self, part: &Part, frame: &[u8]) {
        if part.kind.dedicated {
            self.end_block(part);
        }
        match part.owner {
            Owner::Client(client, sequence) => {
                self.tally.replied(part, frame, self.now);
                self.reply_to(client, sequence, frame);
                if part.kind.dedicated {
                    self.end_unserved(client);
                }
            }
            Owner::Gather(gather, index) => {
                let client = self.client_of(part).filter(|_| part.kind.dedicated);
                self.gather_reply(gather, index, frame);
                client.into_iter().for_each(|c| self.end_unserved(c));
            }
            Owner::Ask(ask) => self.part_answered(ask, frame),
            Owner::Lookup(lookup) => self.lookup_answered(lookup, frame),
            Owner::Handshake(_) | Owner::Nobody | Owner::Step | Owner::Listener(..) => {}
        }
    }

    /// A node let go of a part on a dedicated backend. A blocked client goes where the slot is; a transaction is answered
    /// as if a watched key had changed, because at the slot's new node nobody watches.
    fn redirect_dedicated(
        &mut self,
        from: Key<Node>,
        mut part: Part,
        request: &[u8],
        verdict: Verdict<'_>,
        error: &[u8],
    ) {
        let upload = self.is_upload(&part);
        if let Verdict::Redirect(target) = verdict {
            self.effects.push(Effect::Refresh(Hint::Moved(target.slot)));
            if let (RedirectKind::Moved, Some(node)) = (target.kind, self.target_node(from, &target)) {
                self.counters.moved += 1;
                self.nodes.correct(target.slot, node);
            }
        }
        if upload {
            let mut text = error.to_vec();
            if let Verdict::Redirect(_) = verdict {
                text.clear();
                errors::moved_meanwhile(&mut text, part.slot);
            }
            return self.answer(&part, &text);
        }
        if part.block {
            return self.answer_null_array(&part);
        }
        if let Some(request) = self.reissue(&mut part, request) {
            let moved = matches!(verdict, Verdict::Redirect(target) if target.kind == RedirectKind::Moved);
            match moved && part.attempts <= QUICK_REDIRECTS {
                true => self.send(part, &request),
                false => self.park(part, &request, Some(error)),
            }
        }
    }

    /// Sends a redirected part on, behind what its client has parked for the same slot.
    pub(super) fn follow(&mut self, part: Part, request: &[u8], error: &[u8]) {
        if part.attempts > QUICK_REDIRECTS || self.waits_behind(&part) {
            self.park(part, request, Some(error));
        } else {
            self.send_again(part, request, Some(error));
        }
    }

    /// Sends a part again, of which a node has said `error`. False when it has to wait.
    fn send_again(&mut self, part: Part, bytes: &[u8], error: Option<&[u8]>) -> bool {
        match self.backend_for(&part) {
            Ok(backend) if !self.overtakes(&part, backend) => self.push(backend, part, bytes),
            Err(Unsent::Unserved) => self.unserved(part),
            Err(Unsent::Hopeless(node)) => self.fail_at_once(&part, node),
            _ => {
                self.park(part, bytes, error);
                return false;
            }
        }
        true
    }

    /// ASKING and the part, back to back.
    fn ask(&mut self, node: Key<Node>, part: Part, request: &[u8], error: &[u8]) {
        if part.attempts > QUICK_REDIRECTS && part.attempts % 2 == 0 {
            return self.park(part, request, Some(error));
        }
        match self.shared_backend(node, Kind { replica: false, ..part.kind }) {
            Ok(backend) if self.overtakes(&part, backend) => self.park(part, request, Some(error)),
            Ok(backend) => {
                // Before ASKING, which holds for what follows it at once.
                if self.scripts.may_be_called_by(&part) {
                    self.load_scripts(backend, &part, request);
                }
                let mut asking = Vec::new();
                encode::request(&mut asking, &["ASKING"]);
                let swallowed = Part { owner: Owner::Nobody, slot: NO_SLOT, attempts: 0, ..part };
                self.push(backend, swallowed, &asking);
                self.push(backend, part, request);
            }
            Err(_) => self.park(part, request, Some(error)),
        }
    }

    fn retry(&mut self, key: Key<Client>, parked: Parked, held: &mut Vec<u16>) {
        let Parked { mut part, sequence, mut bytes, error } = parked;
        if self.clients.get(key).is_none() {
            return self.orphan(&part);
        }
        if self.age(&part) >= self.config.retry_timeout {
            return self.give_up(&part, error.as_deref());
        }
        if part.kind.dedicated && !part.block {
            let Some(request) = self.reissue_parked(&mut part, &bytes) else { return };
            bytes = request.into();
        }
        if held.contains(&part.slot) {
            if let Some(parked) = self.parked_of(key) {
                parked.push_back(Parked { part, sequence, bytes, error });
            }
        } else if !self.send_again(part, &bytes, error.as_deref()) {
            held.push(part.slot);
        }
    }

    fn parked_of(&mut self, key: Key<Client>) -> Option<&mut VecDeque<Parked>> {
        self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut()).map(|a| &mut a.parked)
    }

    fn set_parked_timer(&mut self, key: Key<Client>) {
        let Some(active) = self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut()) else { return };
        if active.parked.is_empty() || active.parked_timer != Key::NONE {
            return;
        }
        // A part that is sent each time and comes back each time waits longer, too.
        let sent = active.parked.front().map_or(0, |p| u32::from(p.part.attempts.saturating_sub(1)));
        let tries = active.parked_tries.max(sent);
        let full = (FIRST_PAUSE_MS << tries.min(10)).min(LONGEST_PAUSE_MS);
        active.parked_tries = active.parked_tries.saturating_add(1);
        let pause = full / 2 + self.random.below(full / 2 + 1);
        active.parked_timer =
            self.timers.set(self.now.after(Duration::from_millis(pause.max(1))), Alarm::Parked(key));
    }

    /// Whether the part's client has parked an older part of the same slot, which must go first.
    fn waits_behind(&mut self, part: &Part) -> bool {
        let Some(key) = self.client_of(part) else { return false };
        let sequence = self.sequence_of(part);
        let ahead = |p: &Parked| p.part.slot == part.slot && order::is_before(p.sequence, sequence);
        self.parked_of(key).is_some_and(|p| p.iter().any(ahead))
    }

    pub(super) fn sequence_of(&self, part: &Part) -> Sequence {
        match part.owner {
            Owner::Client(_, sequence) => sequence,
            Owner::Gather(gather, _) => self.gathers.get(gather).map_or(0, |g| g.sequence),
            Owner::Ask(_)
            | Owner::Lookup(_)
            | Owner::Handshake(_)
            | Owner::Nobody
            | Owner::Step
            | Owner::Listener(..) => 0,
        }
    }

    /// Whether the part's client has an older part of the same slot, sent again before, at another backend: sent to
    /// `backend` now, this one might be executed first.
    pub(super) fn overtakes(&self, part: &Part, backend: Key<Backend>) -> bool {
        let active = self.client_of(part).and_then(|k| self.clients.get(k)).and_then(|c| c.active.as_deref());
        let Some(active) = active.filter(|a| part.slot != NO_SLOT && !a.wandering.is_empty()) else {
            return false;
        };
        let sequence = self.sequence_of(part);
        let ahead = |w: &Wandering| {
            w.slot == part.slot && w.backend != backend && order::is_before(w.sequence, sequence)
        };
        active.wandering.iter().any(ahead)
    }

    /// A part is sent again, to `backend`.
    #[cold]
    pub(super) fn wanders(&mut self, part: &Part, backend: Key<Backend>) {
        let sequence = self.sequence_of(part);
        if let Some(wandering) = self.wandering_of(part) {
            wandering.push(Wandering { slot: part.slot, sequence, backend });
        }
    }

    /// A part left `backend`: answered, redirected or lost.
    pub(super) fn wanders_no_more(&mut self, part: &Part, backend: Key<Backend>) {
        if part.attempts == 0 {
            return;
        }
        let was = Wandering { slot: part.slot, sequence: self.sequence_of(part), backend };
        let Some(wandering) = self.wandering_of(part) else { return };
        if let Some(i) = wandering.iter().position(|w| *w == was) {
            wandering.remove(i);
        }
    }

    fn wandering_of(&mut self, part: &Part) -> Option<&mut Vec<Wandering>> {
        let key = self.client_of(part)?;
        self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut()).map(|a| &mut a.wandering)
    }

    pub(super) fn client_of(&self, part: &Part) -> Option<Key<Client>> {
        match part.owner {
            Owner::Client(client, _) => Some(client),
            Owner::Gather(gather, _) => self.gathers.get(gather).map(|g| g.client),
            Owner::Ask(_)
            | Owner::Lookup(_)
            | Owner::Handshake(_)
            | Owner::Nobody
            | Owner::Step
            | Owner::Listener(..) => None,
        }
    }

    /// A part whose client has gone.
    fn orphan(&mut self, part: &Part) {
        self.answer(part, b"-ERR client gone\r\n");
    }

    fn give_up(&mut self, part: &Part, error: Option<&[u8]>) {
        self.counters.proxy_errors += 1;
        let mut text = Vec::new();
        match error {
            // A redirect means nothing to a client that knows one server only.
            Some(error) if matches!(redirect::verdict(error), Verdict::Redirect(_)) => {
                errors::redirected(&mut text, part.slot, self.age(part));
            }
            Some(error) => text.extend_from_slice(error),
            None => match self.target_name(part) {
                Some(name) => errors::unreachable(&mut text, name, self.age(part)),
                None => errors::gave_up(&mut text, part.slot, self.age(part)),
            },
        }
        self.answer(part, &text);
    }

    fn age(&self, part: &Part) -> Duration {
        Duration::from_micros(u64::from(self.now_us().wrapping_sub(part.born_us)))
    }

    /// The node that a redirect points to; `None` for a host name that is not known yet.
    pub(super) fn target_node(&mut self, from: Key<Node>, target: &Redirect<'_>) -> Option<Key<Node>> {
        if target.host.is_empty() {
            let mut addr = self.nodes.get(from)?.addr;
            addr.set_port(target.port);
            return Some(self.nodes.at(addr, &addr.to_string()));
        }
        match target.host.parse() {
            Ok(ip) => {
                let addr = SocketAddr::new(ip, target.port);
                Some(self.nodes.at(addr, &addr.to_string()))
            }
            Err(_) => self.nodes.named(target.host, target.port),
        }
    }
}
