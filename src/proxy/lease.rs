//! Dedicated backends: lent to one client, taken from and given back to the pool of their node.
//!
//! A backend goes back to the pool only when nothing is in flight on it and the client has left no state there; else it
//! is closed. A client's lease outlives the loss of its backend: a blocked client gets another one, a watching client is
//! told at EXEC that its keys may have changed.

use std::mem;
use std::time::Duration;

use super::backend::{Backend, Kind, State};
use super::client::Client;
use super::dispatch::{Step, Unsent};
use super::engine::{Effect, Engine};
use super::nodes::Node;
use super::part::{InFlight, Owner, Part, NO_SLOT};
use crate::base::arena::Key;
use crate::base::time::Time;
use crate::command::Command;
use crate::resp::encode;

/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86400);

/// A client's claim to a backend of its own.
#[derive(Debug)]
pub struct Lease {
    /// The backend; [`Key::NONE`] while it has none.
    backend: Key<Backend>,
    purpose: Purpose,
}

/// What a client needs a backend of its own for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It watches keys of this slot.
    Watch {
        /// The slot.
        slot: u16,
        /// How many WATCH commands there were.
        commands: u32,
        /// How many keys these named.
        keys: u32,
        /// Changes may have been missed: the transaction must fail.
        broken: bool,
        /// It waits besides, on the same backend, as in [`Purpose::Block`].
        blocked: Option<Option<Time>>,
    },
    /// Its transaction with watched keys is on its way.
    Exec,
    /// It waits at most until this time, or for ever.
    Block(Option<Time>),
    /// Its large request is passed on as it comes.
    Upload,
}

/// How well keys were watched up to EXEC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// The backend that watches them knows whether they have changed.
    Always,
    /// Changes may have been missed.
    Missed,
    /// Not at all: every WATCH was answered with an error.
    Never,
}

impl Lease {
    /// A lease without a backend yet.
    pub fn new(purpose: Purpose) -> Self {
        Lease { backend: Key::NONE, purpose }
    }

    /// As [`Lease::new`], for a client that begins to watch keys of `slot`.
    pub fn watch(slot: u16) -> Self {
        Lease::new(Purpose::Watch { slot, commands: 0, keys: 0, broken: false, blocked: None })
    }

    /// The slot whose keys are watched.
    pub fn watched_slot(&self) -> Option<u16> {
        match self.purpose {
            Purpose::Watch { slot, .. } => Some(slot),
            _ => None,
        }
    }

    /// How many keys are watched, repeated ones counted again.
    pub fn watched_keys(&self) -> u32 {
        match self.purpose {
            Purpose::Watch { keys, .. } => keys,
            _ => 0,
        }
    }

    /// One more WATCH of so many keys; false when it is for another slot.
    pub fn watch_more(&mut self, wanted: u16, more: usize) -> bool {
        match &mut self.purpose {
            Purpose::Watch { slot, commands, keys, .. } if *slot == wanted => {
                *commands += 1;
                *keys = keys.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
                true
            }
            _ => false,
        }
    }

    /// A client that watches keys waits for another client from now on; false when it cannot on the same backend.
    fn block(&mut self, wanted: u16, until: Option<Time>) -> bool {
        match &mut self.purpose {
            Purpose::Watch { slot, blocked, .. } if *slot == wanted => {
                *blocked = Some(until);
                true
            }
            _ => false,
        }
    }

    /// The client that watches keys waits no more. False when it never did, or does nothing but wait.
    fn unblock(&mut self) -> bool {
        match &mut self.purpose {
            Purpose::Watch { blocked, .. } => blocked.take().is_some(),
            _ => false,
        }
    }

    /// A command goes to another backend. True when keys were watched before: changes of those will be missed.
    pub fn watch_elsewhere(&mut self) -> bool {
        match &mut self.purpose {
            Purpose::Watch { commands, broken, blocked, .. } if *commands > 1 || blocked.is_some() => {
                *broken = true;
                true
            }
            _ => false,
        }
    }

    /// EXEC comes; returns what has become of the watched keys.
    pub fn end_watch(&mut self) -> Watched {
        let broken = matches!(self.purpose, Purpose::Watch { broken: true, .. });
        self.purpose = Purpose::Exec;
        match self.backend == Key::NONE {
            _ if broken => Watched::Missed,
            true => Watched::Never,
            false => Watched::Always,
        }
    }

    /// Whether a large request is passed on.
    pub fn is_for_upload(&self) -> bool {
        self.purpose == Purpose::Upload
    }

    /// How long the node may take to answer.
    fn patience(&self, now: Time, usual: Duration) -> Duration {
        match self.blocked_until() {
            Some(None) => FOR_EVER,
            Some(Some(until)) => until.since(now).saturating_add(usual),
            None => usual,
        }
    }

    /// Until when a blocked client waits; `None` when it does not block.
    pub fn blocked_until(&self) -> Option<Option<Time>> {
        match self.purpose {
            Purpose::Block(until) => Some(until),
            Purpose::Watch { blocked, .. } => blocked,
            Purpose::Exec | Purpose::Upload => None,
        }
    }
}

impl Engine {
    /// Whether a backend serves one client only.
    pub fn is_private(&self, key: Key<Backend>) -> bool {
        self.backends.get(key).is_some_and(|b| b.kind.dedicated)
    }

    /// Sends a request on the client's own backend, and reads no further request of it until the reply has come.
    pub(super) fn send_dedicated(
        &mut self,
        key: Key<Client>,
        row: &'static Command,
        slot: u16,
        frame: &[u8],
    ) -> Step {
        let Some(c) = self.clients.get_mut(key) else { return Step::Taken };
        let kind = Kind { resp3: c.resp3, dedicated: true, db: c.db, ..Kind::default() };
        let active = c.active.get_or_insert_with(|| self.actives.take());
        let sequence = active.order.admit(frame.len() as u32);
        c.barrier = true;
        let owner = Owner::Client(key, sequence);
        let part =
            Part { owner, born_us: self.now_us(), slot, command: row.id, attempts: 0, kind, block: false };
        self.send(part, frame);
        Step::Taken
    }

    /// The backend lent to the part's client, lent now if it has none.
    pub(super) fn lease_for(&mut self, part: &Part) -> Result<Key<Backend>, Unsent> {
        let client = self.client_of(part).ok_or(Unsent::Unserved)?;
        let lease = self.clients.get(client).and_then(|c| c.lease.as_deref()).ok_or(Unsent::Unserved)?;
        if self.backends.get(lease.backend).is_some() {
            return Ok(lease.backend);
        }
        let node = match part.slot {
            NO_SLOT => self.nodes.any_primary(self.now),
            slot => self.nodes.primary(slot),
        };
        let backend = self.take_idle(node.ok_or(Unsent::Unserved)?, part.kind)?;
        let Some(lease) = self.clients.get_mut(client).and_then(|c| c.lease.as_deref_mut()) else {
            return Err(Unsent::Unserved);
        };
        lease.backend = backend;
        if let Some(b) = self.backends.get_mut(backend) {
            b.user = client;
        }
        self.set_patience(client);
        Ok(backend)
    }

    /// A client needs a backend of its own to wait until a time; true when it may.
    pub(super) fn lease_to_block(&mut self, client: Key<Client>, slot: u16, until: Option<Time>) -> bool {
        let Some(c) = self.clients.get_mut(client) else { return false };
        let Some(lease) = c.lease.as_deref_mut() else {
            c.lease = Some(Box::new(Lease::new(Purpose::Block(until))));
            return true;
        };
        let fits = lease.block(slot, until);
        self.set_patience(client);
        fits
    }

    /// A client waits for no other any more, and so may not need a backend of its own.
    pub(super) fn end_blocking(&mut self, client: Key<Client>) {
        let lease = self.clients.get_mut(client).and_then(|c| c.lease.as_deref_mut());
        match lease.map(|l| (l.purpose, l.unblock())) {
            Some((Purpose::Block(_), _)) => self.end_lease(client),
            Some((_, true)) => self.set_patience(client),
            _ => {}
        }
    }

    /// The client's backend may take as long to answer as the client means to wait.
    fn set_patience(&mut self, client: Key<Client>) {
        let Some(lease) = self.clients.get(client).and_then(|c| c.lease.as_deref()) else { return };
        let Some(b) = self.backends.get_mut(lease.backend) else { return };
        b.patience = lease.patience(self.now, self.config.reply_timeout);
        if b.state == State::Ready {
            // The timer is that of its last use; the next part sets it anew.
            self.timers.cancel(mem::take(&mut b.timer));
        }
    }

    /// The backend that a client has of its own now.
    pub(super) fn leased(&self, client: Key<Client>) -> Option<Key<Backend>> {
        self.clients.get(client)?.lease.as_deref().map(|l| l.backend).filter(|b| *b != Key::NONE)
    }

    /// Lends a client, which has no lease, a backend to this node.
    pub(super) fn lend(
        &mut self,
        client: Key<Client>,
        node: Key<Node>,
        kind: Kind,
        purpose: Purpose,
    ) -> Result<Key<Backend>, Unsent> {
        let backend = self.take_idle(node, kind)?;
        let Some(c) = self.clients.get_mut(client) else { return Err(Unsent::Unserved) };
        c.lease = Some(Box::new(Lease { backend, purpose }));
        if let Some(b) = self.backends.get_mut(backend) {
            b.user = client;
            if b.state == State::Ready {
                self.timers.cancel(mem::take(&mut b.timer));
            }
        }
        Ok(backend)
    }

    /// Takes back what a client has sent to a backend of its own, which is closed.
    pub(super) fn recall(&mut self, client: Key<Client>) -> Option<Part> {
        let backend = self.leased(client)?;
        let its = |f: &&InFlight| matches!(f.part.owner, Owner::Client(..));
        let part = self.backends.get(backend)?.fifo.iter().rfind(its)?.part;
        self.wanders_no_more(&part, backend);
        self.discard_backend(backend);
        if let Some(lease) = self.clients.get_mut(client).and_then(|c| c.lease.as_deref_mut()) {
            lease.watch_elsewhere();
            lease.backend = Key::NONE;
        }
        Some(part)
    }

    /// Takes the client's backend away, before its part is sent elsewhere.
    pub(super) fn unlease(&mut self, client: Key<Client>) {
        let Some(lease) = self.clients.get_mut(client).and_then(|c| c.lease.as_deref_mut()) else { return };
        let backend = mem::take(&mut lease.backend);
        if let Some(b) = self.backends.get_mut(backend) {
            b.user = Key::NONE;
            if b.fifo.is_empty() {
                self.give_back(backend);
            }
        }
    }

    /// Closes the client's backend, on which it has left something; it keeps its claim.
    pub(super) fn discard_leased(&mut self, client: Key<Client>) {
        let Some(lease) = self.clients.get_mut(client).and_then(|c| c.lease.as_deref_mut()) else { return };
        let backend = mem::take(&mut lease.backend);
        self.discard_backend(backend);
    }

    /// The client needs no backend of its own any more.
    pub(super) fn end_lease(&mut self, client: Key<Client>) {
        self.unlease(client);
        if let Some(c) = self.clients.get_mut(client) {
            c.lease = None;
        }
    }

    /// A client got its reply without having a backend: it waits no more.
    pub(super) fn end_unserved(&mut self, client: Key<Client>) {
        let Some(c) = self.clients.get_mut(client) else { return };
        let over = |l: &Lease| l.backend == Key::NONE && !matches!(l.purpose, Purpose::Watch { .. });
        c.lease.take_if(|l| over(l));
    }

    /// Watched keys are forgotten, here and at the node.
    pub(super) fn stop_watching(&mut self, client: Key<Client>) {
        let Some(lease) = self.clients.get(client).and_then(|c| c.lease.as_deref()) else { return };
        let backend = lease.backend;
        if let Some(b) = self.backends.get(backend) {
            let mut unwatch = Vec::new();
            encode::request(&mut unwatch, &["UNWATCH"]);
            let owner = Owner::Nobody;
            let (born_us, kind) = (self.now_us(), b.kind);
            let part = Part { owner, born_us, slot: NO_SLOT, command: 0, attempts: 0, kind, block: false };
            self.push(backend, part, &unwatch);
        }
        self.end_lease(client);
    }

    /// A client that watches keys has switched to another protocol: its backend, where nothing is in flight, follows.
    pub(super) fn switch_leased(&mut self, client: Key<Client>, resp3: bool) {
        let Some(lease) = self.clients.get(client).and_then(|c| c.lease.as_deref()) else { return };
        let backend = lease.backend;
        let Some(b) = self.backends.get_mut(backend).filter(|b| b.kind.resp3 != resp3) else { return };
        b.kind.resp3 = resp3;
        // One that is not connected yet says HELLO by itself.
        if b.state != State::Ready {
            return;
        }
        let kind = b.kind;
        let mut hello = Vec::new();
        encode::request(&mut hello, &["HELLO", if resp3 { "3" } else { "2" }]);
        let (owner, born_us) = (Owner::Nobody, self.now_us());
        let part = Part { owner, born_us, slot: NO_SLOT, command: 0, attempts: 0, kind, block: false };
        self.push(backend, part, &hello);
    }

    /// A client that had a backend of its own has gone: what it left there is unknown.
    pub(super) fn close_leased(&mut self, lease: &Lease) {
        self.discard_backend(lease.backend);
    }

    /// All parts of a dedicated backend were answered.
    pub(super) fn dedicated_settled(&mut self, key: Key<Backend>) {
        let Some(b) = self.backends.get(key) else { return };
        let user = b.user;
        let lease = self.clients.get(user).and_then(|c| c.lease.as_deref());
        match lease.map(|l| l.purpose) {
            Some(Purpose::Watch { .. }) => self.end_blocking(user),
            Some(_) => self.end_lease(user),
            None => self.give_back(key),
        }
    }

    /// A dedicated backend was lost. What its user watched may have changed since.
    pub(super) fn lease_lost(&mut self, b: &Backend) {
        let Some(lease) = self.clients.get_mut(b.user).and_then(|c| c.lease.as_deref_mut()) else { return };
        lease.backend = Key::NONE;
        lease.watch_elsewhere();
        if let Purpose::Watch { broken, .. } = &mut lease.purpose {
            // Else it is WATCH itself that fails, or is sent again.
            *broken |= !b.fifo.iter().any(|f| matches!(f.part.owner, Owner::Client(..)));
        }
    }

    /// Opens idle backends in advance, as `-backend-init-connections` says.
    pub(super) fn fill_pools(&mut self) {
        let wanted = self
            .share(self.config.backend_init_connections)
            .min(self.share(self.config.backend_idle_connections));
        for node in self.nodes.keys() {
            let ready = |n: &Node| n.listed && n.is_usable(self.now);
            let Some(n) = self.nodes.get(node).filter(|n| ready(n)) else { continue };
            for _ in n.idle.len()..wanted {
                let key = self.open_backend(node, Kind { dedicated: true, ..Kind::default() });
                if let Some(n) = self.nodes.get_mut(node) {
                    n.idle.push(key);
                }
            }
        }
    }

    /// This worker's share of a number that is meant for the whole process.
    fn share(&self, total: usize) -> usize {
        let workers = self.around.workers.max(1);
        total / workers + usize::from(self.around.worker < total % workers)
    }

    fn take_idle(&mut self, node: Key<Node>, kind: Kind) -> Result<Key<Backend>, Unsent> {
        let n = self.nodes.get_mut(node).ok_or(Unsent::Unserved)?;
        if n.circuit.is_open() {
            return Err(Unsent::Hopeless(node));
        }
        let in_db = |db| Kind { db, ..kind };
        let fits = |b: &Backend| in_db(b.kind.db) == b.kind && !b.retired;
        let place =
            |k: &Key<Backend>| self.backends.get(*k).filter(|b| fits(b)).map(|b| b.kind.db == kind.db);
        let last = |same| n.idle.iter().rposition(|k| place(k) == Some(same));
        if let Some(i) = last(true) {
            return Ok(n.idle.swap_remove(i));
        }
        // One that is not connected yet has its greeting to come.
        let ready = |i: &usize| self.backends.get(n.idle[*i]).is_some_and(|b| b.state == State::Ready);
        if let Some(i) = last(false).filter(ready) {
            let key = n.idle.swap_remove(i);
            self.switch_database(key, kind.db);
            return Ok(key);
        }
        if n.pause(self.now).is_some() {
            return Err(Unsent::Paused);
        }
        Ok(self.open_backend(node, kind))
    }

    /// Puts a dedicated backend into its node's pool, or closes it.
    fn give_back(&mut self, key: Key<Backend>) {
        let most = self.share(self.config.backend_idle_connections);
        let patience = self.config.reply_timeout;
        let Some(b) = self.backends.get_mut(key) else { return };
        let clean = b.state == State::Ready && b.fifo.is_empty() && b.block_error.is_none();
        let clean = clean && !b.retired && !b.unblocked;
        b.user = Key::NONE;
        b.patience = patience;
        let Some(n) = self.nodes.get_mut(b.node) else { return };
        let idles = n.idle.contains(&key);
        if idles && clean {
            return;
        }
        if !idles && clean && n.idle.len() < most {
            n.idle.push(key);
        } else {
            self.discard_backend(key);
        }
    }

    /// Closes a backend whose parts nobody waits for.
    fn discard_backend(&mut self, key: Key<Backend>) {
        let Some(b) = self.backends.remove(key) else { return };
        self.timers.cancel(b.timer);
        self.unlink(&b, key);
        self.effects.push(Effect::CloseBackend(key));
        self.nodes.forget(b.node);
    }
}
