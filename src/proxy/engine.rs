//! The engine of one worker: what it holds, and the events that come in from its caller.
//!
//! The caller owns sockets and clocks. It tells the engine the time, hands in bytes and lifecycle events, writes what
//! `client_output` and `backend_output` offer for every key on the dirty lists, and carries out [`Effect`]s. The control
//! flow that spans several objects is in the sibling files, as further `impl Engine` blocks: `intake` (client bytes ->
//! requests), `dispatch` (request -> parts), `deliver` (node bytes -> replies), `recover` (what goes wrong).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::backend::{Backend, State};
use super::client::{Active, Client};
use super::fan::Gather;
use super::loss::Loss;
use super::nodes::{Node, Nodes};
use crate::base::arena::{Arena, Key};
use crate::base::pool::Pool;
use crate::base::random::Random;
use crate::base::time::Time;
use crate::base::wheel::Wheel;
use crate::cluster::SlotMap;
use crate::config::Config;
use crate::resp::{Limits, RequestParser};
use crate::stats::Counters;

/// Clients' working sets kept for the next busy client.
const SPARE_ACTIVES: usize = 1024;

/// How long a node that owns no slots any more may take to answer what it was asked when it still did.
const DEMOTED_PATIENCE: Duration = Duration::from_millis(500);

/// What the engine needs to know of the process it runs in.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Number of this worker, from 0.
    pub worker: usize,
    /// How many workers there are.
    pub workers: usize,
    /// Seed of jitter and spreading.
    pub seed: u64,
    /// This host's address as seen by the nodes, for `-read-prefer 2`.
    pub local_ip: Option<Ipv4Addr>,
    /// When the process started.
    pub started: Time,
    /// Port that clients connect to, for INFO.
    pub port: u16,
    /// Process id, for INFO.
    pub pid: u32,
}

/// What the caller must do for the engine.
#[derive(Debug)]
pub enum Effect {
    /// Connect this backend; then call `backend_connected` or `backend_gone`.
    Connect(Key<Backend>, SocketAddr),
    /// Close the socket of this backend; the key is stale already.
    CloseBackend(Key<Backend>),
    /// Close the socket of this client; the key is stale already.
    CloseClient(Key<Client>),
    /// The topology may have changed.
    Refresh(Hint),
}

/// Why the topology may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A node answered MOVED for this slot.
    Moved(u16),
    /// This node cannot be reached, or was lost.
    NodeLost(SocketAddr),
    /// A slot has nobody who serves it.
    Unserved,
}

/// What a timer of the engine is for.
#[derive(Clone, Copy, Debug)]
pub enum Alarm {
    /// Connect timeout, then reply timeout.
    Backend(Key<Backend>),
    /// Parked parts are due for another try.
    Parked(Key<Client>),
    /// Idle timeout.
    Idle(Key<Client>),
    /// A client that closed its side right behind a blocking command has waited long enough.
    HungUp(Key<Client>),
    /// End of an orderly stop.
    Drain,
}

/// What an engine holds, as numbers; everything that is added for a client or a node must go with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Clients connected.
    pub clients: usize,
    /// Backends connected or being connected.
    pub backends: usize,
    /// Nodes known.
    pub nodes: usize,
    /// Split requests under way.
    pub gathers: usize,
    /// Timers set.
    pub timers: usize,
    /// Entries on the list of clients that wait for the topology.
    pub waiting: usize,
    /// Parts that wait to be sent again, of all clients.
    pub parked: usize,
    /// Bytes of replies not taken by the client that has most of them.
    pub largest_backlog: usize,
}

/// One worker's data path without its sockets.
#[derive(Debug)]
pub struct Engine {
    pub(super) config: Arc<Config>,
    pub(super) around: Surroundings,
    pub(super) now: Time,
    pub(super) clients: Arena<Client>,
    pub(super) backends: Arena<Backend>,
    pub(super) nodes: Nodes,
    pub(super) gathers: Arena<Gather>,
    pub(super) timers: Wheel<Alarm>,
    pub(super) random: Random,
    pub(super) actives: Pool<Box<Active>>,
    pub(super) limits: Limits,
    pub(super) stranger_limits: Limits,
    pub(super) parser: RequestParser,
    /// Request or reply bytes under construction.
    pub(super) scratch: Vec<u8>,
    /// A part of a split request under construction.
    pub(super) scratch_part: Vec<u8>,
    /// The keys of a split request.
    pub(super) keys: Vec<(u16, u32)>,
    /// An inline request as a multibulk.
    pub(super) scratch_inline: Vec<u8>,
    pub(super) dirty_clients: Vec<Key<Client>>,
    pub(super) dirty_backends: Vec<Key<Backend>>,
    pub(super) ready: Vec<Key<Client>>,
    pub(super) effects: Vec<Effect>,
    pub(super) waiting: Vec<Key<Client>>,
    pub(super) counters: Counters,
    pub(super) server_version: String,
    pub(super) next_id: u64,
    pub(super) draining: bool,
    /// Clients of all workers, as last told by the caller.
    pub(super) clients_everywhere: u64,
}

impl Engine {
    /// An engine without clients, nodes or topology.
    pub fn new(config: Arc<Config>, around: Surroundings, now: Time) -> Self {
        let limits = Limits { max_request: config.max_request, ..Limits::default() };
        Engine {
            now,
            clients: Arena::default(),
            backends: Arena::default(),
            nodes: Nodes::default(),
            gathers: Arena::default(),
            timers: Wheel::new(now),
            random: Random::new(around.seed),
            actives: Pool::new(SPARE_ACTIVES),
            limits,
            stranger_limits: Limits::unauthenticated(),
            parser: RequestParser::new(),
            scratch: Vec::new(),
            scratch_part: Vec::new(),
            keys: Vec::new(),
            scratch_inline: Vec::new(),
            dirty_clients: Vec::new(),
            dirty_backends: Vec::new(),
            ready: Vec::new(),
            effects: Vec::new(),
            waiting: Vec::new(),
            counters: Counters::default(),
            server_version: String::new(),
            next_id: 1 + around.worker as u64,
            draining: false,
            clients_everywhere: 0,
            config,
            around,
        }
    }

    /// Tells the time; it never goes back. Due timers fire.
    pub fn tick(&mut self, now: Time) {
        self.now = self.now.max(now);
        if self.timers.next().is_none_or(|t| t > self.now) {
            return;
        }
        let mut due = Vec::new();
        self.timers.expire(self.now, &mut due);
        for alarm in due {
            match alarm {
                Alarm::Backend(key) => self.backend_alarm(key),
                Alarm::Parked(key) => self.retry_parked(key),
                Alarm::Idle(key) => self.idle_alarm(key),
                Alarm::HungUp(key) => self.client_hung_up(key),
                Alarm::Drain => self.close_all_clients(),
            }
        }
    }

    /// By when [`Engine::tick`] should be called next, if no event comes before; `None` for never.
    pub fn deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// What was counted, with the gauges filled in.
    pub fn counters(&self) -> Counters {
        let in_flight = self.backends.iter().map(|(_, b)| b.fifo.len() as u64).sum();
        let (clients, backends) = (self.clients.len() as u64, self.backends.len() as u64);
        Counters { clients, backends, in_flight, ..self.counters }
    }

    /// What is held now.
    pub fn holdings(&self) -> Holdings {
        let actives = || self.clients.iter().filter_map(|(_, c)| c.active.as_deref());
        Holdings {
            clients: self.clients.len(),
            backends: self.backends.len(),
            nodes: self.nodes.len(),
            gathers: self.gathers.len(),
            timers: self.timers.len(),
            waiting: self.waiting.len(),
            parked: actives().map(|a| a.parked.len()).sum(),
            largest_backlog: actives().map(|a| a.backlog()).max().unwrap_or(0),
        }
    }

    /// How many clients all workers serve together, for INFO.
    pub fn set_clients_everywhere(&mut self, clients: u64) {
        self.clients_everywhere = clients;
    }

    /// Moves the clients with something to write to `keys`.
    pub fn take_dirty_clients(&mut self, keys: &mut Vec<Key<Client>>) {
        keys.append(&mut self.dirty_clients);
    }

    /// Moves the backends with something to write to `keys`.
    pub fn take_dirty_backends(&mut self, keys: &mut Vec<Key<Backend>>) {
        keys.append(&mut self.dirty_backends);
    }

    /// Moves the clients whose reading shall go on to `keys`.
    pub fn take_ready(&mut self, keys: &mut Vec<Key<Client>>) {
        for key in &self.ready {
            if let Some(c) = self.clients.get_mut(*key) {
                c.ready = false;
            }
        }
        keys.append(&mut self.ready);
    }

    /// Whether some client's reading shall go on.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether there are effects to carry out or keys on a dirty list.
    pub fn has_output(&self) -> bool {
        !(self.effects.is_empty() && self.dirty_clients.is_empty() && self.dirty_backends.is_empty())
    }

    /// Puts a client on the ready list because its caller stopped reading it.
    pub fn read_again(&mut self, key: Key<Client>) {
        self.make_ready(key);
    }

    /// Moves what the caller must do to `effects`, in order.
    pub fn take_effects(&mut self, effects: &mut Vec<Effect>) {
        effects.append(&mut self.effects);
    }

    /// A published topology: slots are routed by it from now on, and what waited for one is tried again.
    pub fn topology(&mut self, map: &SlotMap) {
        self.server_version.clone_from(&map.server_version);
        for node in self.nodes.replace(map) {
            self.retire_node(node);
        }
        self.hurry_demoted();
        self.fill_pools();
        for client in std::mem::take(&mut self.waiting) {
            if let Some(active) = self.clients.get_mut(client).and_then(|c| c.active.as_deref_mut()) {
                active.waiting = false;
                self.retry_parked(client);
            }
        }
    }

    /// Orderly stop: every client is closed once its requests are answered, all of them after the drain timeout.
    pub fn drain(&mut self) {
        self.draining = true;
        self.timers.set(self.now.after(self.config.drain_timeout), Alarm::Drain);
        for key in self.clients.keys() {
            self.close_if_done(key);
        }
    }

    /// Whether no client is left.
    pub fn is_drained(&self) -> bool {
        self.clients.is_empty()
    }

    /// Backends to nodes that have lost all they owned: what waits there for a connect is routed anew at once, and what waits
    /// for a reply is given up soon, as the node may have lost its slots because it is dead.
    fn hurry_demoted(&mut self) {
        for key in self.backends.keys() {
            let Some(b) = self.backends.get_mut(key) else { continue };
            // A node that was removed may be back before its last reply was.
            b.retired &= self.nodes.get(b.node).is_none_or(|n| !n.listed);
            if b.kind.replica || !self.nodes.is_demoted(b.node) {
                // What waits on a dedicated backend has a patience of its own.
                if !b.kind.dedicated {
                    b.patience = self.config.reply_timeout;
                }
                continue;
            }
            if b.state == State::Connecting {
                self.lose_backend(key, Loss::Demoted);
                continue;
            }
            if b.patience <= DEMOTED_PATIENCE {
                // Its time runs already; the same topology comes again and again.
                continue;
            }
            b.patience = DEMOTED_PATIENCE;
            b.progress = self.now;
            let due = self.now.after(b.patience);
            self.timers.cancel(b.timer);
            b.timer = self.timers.set(due, Alarm::Backend(key));
        }
    }

    /// Closes the backends of a node that the topology does not list, now or when their last part is answered.
    fn retire_node(&mut self, node: Key<Node>) {
        for key in self.backends.keys() {
            let Some(b) = self.backends.get_mut(key).filter(|b| b.node == node) else { continue };
            b.retired = true;
            // One that is lent ends with its lease.
            if b.fifo.is_empty() && b.user == Key::NONE {
                self.drop_backend(key);
            }
        }
        self.nodes.forget(node);
    }

    /// Puts a backend on the dirty list.
    #[inline]
    pub(super) fn mark_backend(&mut self, key: Key<Backend>) {
        if let Some(b) = self.backends.get_mut(key) {
            if !b.dirty {
                b.dirty = true;
                self.dirty_backends.push(key);
            }
        }
    }

    /// Puts a client on the dirty list.
    #[inline]
    pub(super) fn mark_client(&mut self, key: Key<Client>) {
        if let Some(c) = self.clients.get_mut(key) {
            if !c.dirty {
                c.dirty = true;
                self.dirty_clients.push(key);
            }
        }
    }

    /// Puts a client on the ready list, once: each entry is a share of a turn.
    pub(super) fn make_ready(&mut self, key: Key<Client>) {
        if let Some(c) = self.clients.get_mut(key) {
            if !c.ready {
                c.ready = true;
                self.ready.push(key);
            }
        }
    }

    /// Asserts what must hold between two events; costs nothing in release builds.
    pub fn check_invariants(&self) {
        #[cfg(debug_assertions)]
        {
            for (key, b) in self.backends.iter() {
                let len: usize = b.fifo.iter().map(|f| f.len as usize).sum();
                assert!(
                    b.dirty || b.full || b.output().is_empty(),
                    "backend {key:?} is not on the dirty list"
                );
                assert_eq!(b.window.unanswered(), len, "backend {key:?}: window and FIFO differ");
            }
            for (key, c) in self.clients.iter() {
                let parked = c.active.as_ref().map_or(0, |a| a.parked.len());
                assert!(parked == 0 || !c.settled(), "client {key:?} has parked parts for no request");
            }
        }
    }
}
