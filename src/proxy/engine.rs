//! The engine of one worker: what it holds, and the events that come in from its caller.
//!
//! The caller owns sockets and clocks. It tells the engine the time, hands in bytes and lifecycle events, writes what
//! `client_output` and `backend_output` offer for every key on the dirty lists, and carries out [`Effect`]s. The control
//! flow that spans several objects is in the sibling files, as further `impl Engine` blocks: `intake` (client bytes ->
//! requests), `dispatch` (request -> parts), `deliver` (node bytes -> replies), `recover` (what goes wrong).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::across::{Ask, Question};
use super::backend::Backend;
use super::budget::Budget;
use super::client::{Active, Client};
use super::databases::Missing;
use super::fan::{Gather, Keyed, Splits};
use super::foreign::{Catalog, Lookup};
use super::info::{ErrorCounts, Host};
use super::monitor::Watchers;
use super::nodes::{Node, Nodes};
use super::pause::Pause;
use super::pubsub::{Audience, Hub};
use super::refusals::Refusals;
use super::scripts::Scripts;
use super::share::{Company, Share};
use super::strangers::Strangers;
use super::stream::{Sizes, Streams};
use super::tally::Tally;
use super::tracking::Tracker;
use crate::base::arena::{Arena, Key};
use crate::base::pool::Pool;
use crate::base::random::Random;
use crate::base::time::Time;
use crate::base::wheel::Wheel;
use crate::cluster::{SlotMap, Software};
use crate::config::Config;
use crate::resp::{Limits, RequestParser};
use crate::stats::Counters;

/// Clients' working sets kept for the next one.
const SPARE_ACTIVES: usize = 16 * 1024;
/// Collections of split requests kept for the next one.
const SPARE_SPLITS: usize = 1024;

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
    /// The same, and what the socket has not delivered yet must never arrive: it was sent to another node meanwhile, or
    /// its outcome is said to be unknown and what comes after it may be executed first.
    ResetBackend(Key<Backend>),
    /// Close the socket of this client; the key is stale already.
    CloseClient(Key<Client>),
    /// The topology may have changed.
    Refresh(Hint),
    /// Bring this question to [`Engine::question`] of all other workers and their answers to [`Engine::answered`], for
    /// one that has ended [`super::Answer::Done`]. If it [wants the host](Question::wants_host), tell it this engine by
    /// [`Engine::set_host`] first and then put the question to this engine, too.
    Ask(Key<Ask>, Arc<Question>),
    /// Bring these bytes to [`Engine::watched`] of this worker.
    Show(usize, Vec<u8>),
}

/// Why the topology may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A node answered MOVED for this slot.
    Moved(u16),
    /// This node cannot be reached, or was lost.
    NodeLost(SocketAddr),
    /// This node has not answered for a while.
    NodeSilent(SocketAddr),
    /// A slot has nobody who serves it.
    Unserved,
}

/// What a timer of the engine is for.
#[derive(Clone, Copy, Debug)]
pub enum Alarm {
    /// Connect timeout, then reply timeout.
    Backend(Key<Backend>),
    /// A node with an open circuit is due to be probed.
    Probe(Key<Node>),
    /// Parked parts are due for another try.
    Parked(Key<Client>),
    /// Idle timeout.
    Idle(Key<Client>),
    /// A client must have authenticated by now.
    Stranger(Key<Client>),
    /// Strangers that are held up may go on.
    Strangers,
    /// Answers to a question take too long.
    Ask(Key<Ask>),
    /// The cluster is due to be asked again for a command.
    Lookup(Key<Lookup>),
    /// End of CLIENT PAUSE.
    PauseEnd,
    /// Topics are due to be settled again.
    Settle,
    /// Listeners are looked after.
    Listeners,
    /// Primaries are asked again how far their replicas are.
    Replicas(Key<Gather>),
    /// A client that closed its side right behind a blocking command has waited long enough.
    HungUp(Key<Client>),
    /// End of an orderly stop.
    Drain,
}

/// What the engines of a process share.
#[derive(Clone, Debug, Default)]
pub struct Common {
    audience: Arc<Audience>,
    company: Arc<Company>,
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
    pub(super) asks: Arena<Ask>,
    pub(super) watchers: Watchers,
    pub(super) pause: Option<Pause>,
    /// Clients that the pause holds up.
    pub(super) held: Vec<Key<Client>>,
    /// Requests are looked at one by one: somebody watches, or a pause is in force.
    pub(super) watchful: bool,
    pub(super) error_counts: ErrorCounts,
    pub(super) host: Host,
    pub(super) catalog: Catalog,
    pub(super) refusals: Refusals,
    pub(super) missing_database: Option<Missing>,
    pub(super) scripts: Scripts,
    pub(super) hub: Hub,
    pub(super) tracker: Tracker,
    pub(super) streams: Streams,
    pub(super) budget: Budget,
    pub(super) share: Share,
    pub(super) strangers: Strangers,
    pub(super) timers: Wheel<Alarm>,
    pub(super) random: Random,
    pub(super) actives: Pool<Box<Active>>,
    pub(super) limits: Limits,
    pub(super) stranger_limits: Limits,
    pub(super) parser: RequestParser,
    /// Request or reply bytes under construction.
    pub(super) scratch: Vec<u8>,
    /// A part of a split request that cannot be sent now.
    pub(super) scratch_part: Vec<u8>,
    /// The keys of a split request.
    pub(super) keys: Vec<Keyed>,
    pub(super) splits: Pool<Box<Splits>>,
    /// An inline request as a multibulk.
    pub(super) scratch_inline: Vec<u8>,
    pub(super) dirty_clients: Vec<Key<Client>>,
    pub(super) dirty_backends: Vec<Key<Backend>>,
    pub(super) ready: Vec<Key<Client>>,
    pub(super) effects: Vec<Effect>,
    pub(super) waiting: Vec<Key<Client>>,
    pub(super) counters: Counters,
    pub(super) tally: Tally,
    /// What clients are told that they talk to: what the cluster runs, once it is known.
    pub(super) software: Software,
    /// Whether a node has told it.
    pub(super) knows_software: bool,
    pub(super) next_id: u64,
    pub(super) draining: bool,
}

impl Engine {
    /// An engine without clients, nodes or topology.
    pub fn new(config: Arc<Config>, around: Surroundings, now: Time) -> Self {
        let limits = Limits { max_request: config.max_request, ..Limits::default() };
        let (refusals, unknown) = Refusals::new(&config.refused_commands);
        if around.worker == 0 && !unknown.is_empty() {
            log::warn!("-refuse-commands: no such commands are known here: {}", unknown.join(", "));
        }
        let mut engine = Engine {
            now,
            clients: Arena::default(),
            backends: Arena::default(),
            nodes: Nodes::default(),
            gathers: Arena::default(),
            asks: Arena::default(),
            watchers: Watchers::default(),
            pause: None,
            held: Vec::new(),
            watchful: false,
            error_counts: ErrorCounts::default(),
            host: Host::default(),
            catalog: Catalog::default(),
            refusals,
            missing_database: None,
            scripts: Scripts::default(),
            hub: Hub::default(),
            tracker: Tracker::default(),
            streams: Streams::default(),
            budget: Budget::default(),
            share: Share::default(),
            strangers: Strangers::default(),
            timers: Wheel::new(now),
            random: Random::new(around.seed),
            actives: Pool::new(SPARE_ACTIVES),
            limits,
            stranger_limits: Limits::unauthenticated(),
            parser: RequestParser::new(),
            scratch: Vec::new(),
            scratch_part: Vec::new(),
            keys: Vec::new(),
            splits: Pool::new(SPARE_SPLITS),
            scratch_inline: Vec::new(),
            dirty_clients: Vec::new(),
            dirty_backends: Vec::new(),
            ready: Vec::new(),
            effects: Vec::new(),
            waiting: Vec::new(),
            counters: Counters::default(),
            tally: Tally::default(),
            software: Software::redis("7.0.0"),
            knows_software: false,
            next_id: 1 + around.worker as u64,
            draining: false,
            config,
            around,
        };
        engine.set_sizes(Sizes::default());
        engine
    }

    /// This engine works together with the others that have `common` from now on; call it before anything has come.
    pub fn set_common(&mut self, common: &Common) {
        self.hub.audience = Arc::clone(&common.audience);
        self.share.join(Arc::clone(&common.company));
    }

    /// Tells the time; it never goes back. Due timers fire.
    pub fn tick(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.hub.fanned = 0;
        self.tally.settle();
        self.keep_budget();
        self.share.begin_turn(self.ready.len(), self.now);
        if self.timers.next().is_none_or(|t| t > self.now) {
            return;
        }
        let mut due = Vec::new();
        self.timers.expire(self.now, &mut due);
        for alarm in due {
            match alarm {
                Alarm::Backend(key) => self.backend_alarm(key),
                Alarm::Probe(key) => self.probe(key),
                Alarm::Parked(key) => self.retry_parked(key),
                Alarm::Idle(key) => self.idle_alarm(key),
                Alarm::Stranger(key) => self.stranger_alarm(key),
                Alarm::Strangers => self.strangers_alarm(),
                Alarm::Ask(key) => self.ask_alarm(key),
                Alarm::Lookup(key) => self.look_up(key),
                Alarm::PauseEnd => {
                    self.unpause();
                }
                Alarm::Settle => self.settle_alarm(),
                Alarm::Listeners => self.listener_alarm(),
                Alarm::HungUp(key) => self.client_hung_up(key),
                Alarm::Replicas(key) => self.replicas_alarm(key),
                Alarm::Drain => self.close_all_clients(),
            }
        }
    }

    /// By when [`Engine::tick`] should be called next, if no event comes before; `None` for never.
    pub fn deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// What the engine cannot know of the process and the machine it runs on; for showing only.
    pub fn set_host(&mut self, host: Host) {
        self.host = host;
    }

    /// The Unix time at which the engine's time began, in microseconds; for showing only.
    pub fn set_wall(&mut self, wall_us: u64) {
        self.host.wall_us = wall_us;
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

    /// Whether some client's or backend's reading shall go on.
    pub fn has_ready(&self) -> bool {
        !(self.ready.is_empty() && self.streams.go_on.is_empty())
    }

    /// Whether there are effects to carry out or keys on a dirty list.
    pub fn has_output(&self) -> bool {
        let nothing =
            self.effects.is_empty() && self.dirty_clients.is_empty() && self.dirty_backends.is_empty();
        !nothing || self.watchers.has_lines()
    }

    /// Whether there is something to write both to clients and to nodes.
    pub fn has_output_both_ways(&self) -> bool {
        !self.dirty_clients.is_empty() && !self.dirty_backends.is_empty()
    }

    /// Among how many clients the caller has to share its turn, as all of them have more than it has taken.
    pub fn crowd(&self) -> usize {
        self.share.crowd
    }

    /// Puts a client on the ready list because its caller stopped reading it.
    pub fn read_again(&mut self, key: Key<Client>) {
        self.make_ready(key);
    }

    /// Moves what the caller must do to `effects`, in order.
    pub fn take_effects(&mut self, effects: &mut Vec<Effect>) {
        if self.watchers.has_lines() {
            self.send_lines();
        }
        effects.append(&mut self.effects);
    }

    /// A published topology: slots are routed by it from now on, and what waited for one is tried again.
    pub fn topology(&mut self, map: &SlotMap) {
        if map.software.is_known() {
            self.software.clone_from(&map.software);
            self.knows_software = true;
        }
        for node in self.nodes.replace(map) {
            self.retire_node(node);
        }
        self.share.spread(self.nodes.primaries().count());
        self.hurry_demoted();
        self.settle_all();
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
        self.unpause();
        self.unblock_all();
        self.timers.set(self.now.after(self.config.drain_timeout), Alarm::Drain);
        for key in self.clients.keys() {
            self.close_if_done(key);
        }
    }

    /// Whether no client is left.
    pub fn is_drained(&self) -> bool {
        self.clients.is_empty()
    }

    /// Closes the backends of a node that the topology does not list, now or when their last part is answered.
    fn retire_node(&mut self, node: Key<Node>) {
        for key in self.backends.keys() {
            // Listeners are closed when nothing is carried by them any more.
            let fits = |b: &&mut Backend| b.node == node && !b.kind.listener;
            let Some(b) = self.backends.get_mut(key).filter(fits) else { continue };
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
            for (_, t) in self.hub.iter() {
                let counted = self.hub.audience.of_topic(t.scope, &t.name);
                assert!(counted >= t.subscribers.len() as i64, "subscribers of {t:?} are not counted");
            }
        }
    }
}
