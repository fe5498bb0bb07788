//! The loop of the topology thread: wait, pick nodes, ask, judge, publish.

use std::collections::HashMap;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::journal::{self, Journal};
use super::names::{startup_addrs, Names};
use super::node::{Answer, AskError, Link};
use super::{Hint, Shared};
use crate::base::sort;
use crate::base::time::Time;
use crate::cluster::{Judge, Policy, Report, SlotMap, Urgency, Verdict, SLOTS};
use crate::config::Config;
use crate::net::channel::{Nothing, Receiver};
use crate::net::clock::Clock;
use crate::net::memory::{self, Keeper};
use crate::net::mesh::{Message, WorkerHandle};

/// Shortest time between two refreshes.
const MIN_GAP: Duration = Duration::from_millis(100);
/// How long a node may take to accept a connection, and to answer. A slower one is passed over for the next.
const PATIENCE_WITH_NODE: Duration = Duration::from_secs(1);
/// How long an unconfirmed map stands against one that is doubted.
const PATIENCE_WITH_MAP: Duration = Duration::from_secs(10);
/// How long a node that failed is asked after all the others.
const GRUDGE: Duration = Duration::from_secs(30);
/// Nodes of the present map that one refresh asks, at most, before it turns to the startup nodes.
const KNOWN_PER_ROUND: usize = 5;
/// Addresses of startup nodes that one refresh asks, at most.
const STARTUP_PER_ROUND: usize = 16;
/// How long nodes must tell the same as before until a MOVED that says otherwise counts as a confused node's. Until then
/// those that were asked may not have heard yet, and workers would be led back to where a slot was.
const NEWS_TRAVEL: Duration = Duration::from_secs(1);
/// Connections kept open between refreshes, at most.
const MAX_LINKS: usize = 16;

/// Everything the topology thread owns.
pub(super) struct Refresher {
    config: Arc<Config>,
    workers: Vec<WorkerHandle>,
    shared: Arc<Shared>,
    clock: Clock,
    policy: Policy,
    judge: Judge,
    journal: Journal,
    names: Names,
    links: HashMap<SocketAddr, Link>,
    troubled: HashMap<SocketAddr, Time>,
    present: Arc<SlotMap>,
    /// A worker had a reason to ask: it is answered also when nothing changed, as a MOVED of a confused node may have
    /// led it astray.
    hinted: bool,
    /// When the first MOVED was reported that is not answered yet.
    moved: Option<Time>,
    turn: usize,
    keeper: Keeper,
}

/// What one refresh has met with so far.
#[derive(Default)]
struct Round {
    asked: Vec<SocketAddr>,
    last_error: Option<String>,
}

impl Refresher {
    pub(super) fn new(
        config: Arc<Config>,
        workers: Vec<WorkerHandle>,
        shared: Arc<Shared>,
        clock: Clock,
    ) -> Self {
        let now = clock.now();
        let interval = config.slots_reload_interval;
        shared.board().status.stale_after = (interval * 3).max(Duration::from_secs(5));
        let seed = clock.wall_micros() ^ (u64::from(std::process::id()) << 32);
        Refresher {
            config,
            workers,
            shared,
            clock,
            policy: Policy::new(MIN_GAP, interval, seed, now),
            judge: Judge::new(PATIENCE_WITH_MAP, now),
            journal: Journal::default(),
            names: Names::default(),
            links: HashMap::new(),
            troubled: HashMap::new(),
            present: Arc::new(SlotMap::empty()),
            hinted: false,
            moved: None,
            turn: 0,
            keeper: Keeper::new(now),
        }
    }

    /// Runs until told to stop.
    pub(super) fn run(mut self, hints: &Receiver<Hint>) {
        let mut starts = true;
        while self.wait(hints) {
            self.refresh();
            if mem::take(&mut starts) {
                memory::leave_start();
            }
        }
    }

    /// Takes hints until the next refresh is due; false when it is time to end.
    fn wait(&mut self, hints: &Receiver<Hint>) -> bool {
        loop {
            if self.shared.is_stopping() {
                return false;
            }
            // Of all threads this one has the time to look after memory.
            self.keeper.look(self.clock.now());
            let wait = self.policy.due().since(self.clock.now());
            match hints.recv_within(wait.min(Keeper::PERIOD)) {
                Ok(hint) => self.take(&hint),
                Err(Nothing::Yet) if wait > Keeper::PERIOD => {}
                Err(Nothing::Yet) => return !self.shared.is_stopping(),
                Err(Nothing::Ever) => return false,
            }
        }
    }

    fn take(&mut self, hint: &Hint) {
        let now = self.clock.now();
        let urgency = match hint {
            Hint::Moved(_) => {
                self.moved.get_or_insert(now);
                Urgency::Once
            }
            Hint::Unserved => Urgency::Watch,
            Hint::NodeLost(addr) => self.lost(now, *addr, Urgency::Watch),
            Hint::NodeSilent(addr) => self.lost(now, *addr, Urgency::Glance),
        };
        self.hinted = true;
        self.policy.hint(now, urgency);
    }

    /// A hint about a node that is no longer in the map is late news.
    fn lost(&mut self, now: Time, addr: SocketAddr, urgency: Urgency) -> Urgency {
        self.names.doubt(addr);
        if !self.present.nodes.iter().any(|n| n.addr == addr) {
            return Urgency::Once;
        }
        self.troubled.insert(addr, now);
        urgency
    }

    fn refresh(&mut self) {
        self.policy.started(self.clock.now());
        let mut round = Round::default();
        for addr in self.known_nodes() {
            if self.ask_in(&mut round, addr) {
                return;
            }
        }
        for addr in self.startup_nodes(&mut round) {
            if self.ask_in(&mut round, addr) {
                return;
            }
        }
        self.nobody(round);
    }

    /// Nodes of the present map, another one first each time, those that failed of late last.
    fn known_nodes(&mut self) -> Vec<SocketAddr> {
        let now = self.clock.now();
        self.troubled.retain(|_, since| now.since(*since) < GRUDGE);
        self.turn = self.turn.wrapping_add(1);
        let mut addrs: Vec<SocketAddr> = self.present.nodes.iter().map(|n| n.addr).collect();
        let by = self.turn % addrs.len().max(1);
        addrs.rotate_left(by);
        sort::by_key(&mut addrs, |addr| self.troubled.get(addr).copied());
        addrs.truncate(KNOWN_PER_ROUND);
        addrs
    }

    /// Addresses of the startup nodes, looked up anew, but for those that were asked already.
    fn startup_nodes(&mut self, round: &mut Round) -> Vec<SocketAddr> {
        let mut addrs = Vec::new();
        for node in &self.config.startup_nodes {
            match startup_addrs(node) {
                Ok(found) => addrs.extend(found),
                Err(e) => round.last_error = Some(e),
            }
        }
        addrs.retain(|a| !round.asked.contains(a));
        let by = self.turn % addrs.len().max(1);
        addrs.rotate_left(by);
        addrs.truncate(STARTUP_PER_ROUND);
        addrs
    }

    /// Asks one node; true when its answer settles this refresh.
    fn ask_in(&mut self, round: &mut Round, addr: SocketAddr) -> bool {
        if self.shared.is_stopping() || round.asked.contains(&addr) {
            return false;
        }
        round.asked.push(addr);
        let result = self.ask(addr);
        let why = match result {
            Ok(answer) => match self.consider(addr, answer) {
                Ok(()) => return true,
                Err(doubt) => (doubt, false),
            },
            Err(e) => (e.to_string(), !matches!(e, AskError::Io(_))),
        };
        let now = self.clock.now();
        self.troubled.insert(addr, now);
        journal::write(self.journal.node_failed(now, addr, &why.0, why.1));
        round.last_error = Some(format!("{addr}: {}", why.0));
        false
    }

    fn ask(&mut self, addr: SocketAddr) -> Result<Answer, AskError> {
        let timeout = self.config.connect_timeout.min(PATIENCE_WITH_NODE);
        // A kept link may have been closed by the node while it was idle; that says nothing about the node.
        if let Some(mut link) = self.links.remove(&addr) {
            match link.ask(&self.config.password, timeout) {
                Ok(answer) => return Ok(self.keep(addr, link, answer)),
                Err(AskError::Io(e)) if e.kind() != std::io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        let mut link = Link::connect(addr, timeout, self.clock)?;
        let answer = link.ask(&self.config.password, timeout)?;
        Ok(self.keep(addr, link, answer))
    }

    fn keep(&mut self, addr: SocketAddr, link: Link, answer: Answer) -> Answer {
        if self.links.len() >= MAX_LINKS {
            self.links.clear();
        }
        self.links.insert(addr, link);
        answer
    }

    /// Judges an answer; says why it is not believed.
    fn consider(&mut self, from: SocketAddr, answer: Answer) -> Result<(), String> {
        let now = self.clock.now();
        let names = &mut self.names;
        let mut map = answer.raw.resolve(|host, port| names.resolve(now, host, port));
        map.epoch = answer.info.map_or(0, |i| i.current_epoch);
        map.software = answer.software;
        if !map.software.is_known() {
            map.software.clone_from(&self.present.software);
        }
        if map.covered() == 0 {
            return Err("it knows of no slot that is served".into());
        }
        let report = Report { from, map, info: answer.info };
        let settled = report.map.covered() == SLOTS && report.info.is_none_or(|i| i.state_ok);
        match self.judge.judge(now, &self.present, &report) {
            Verdict::Doubtful(doubt) => return Err(doubt.to_string()),
            Verdict::Accept => self.publish(now, report),
            Verdict::Same if self.moved.is_some_and(|t| now.since(t) < NEWS_TRAVEL) => {
                self.policy.hint(now, Urgency::Once);
                self.answered(now, from, settled);
                return Ok(());
            }
            Verdict::Same if self.hinted => self.send_present(),
            Verdict::Same => {}
        }
        (self.hinted, self.moved) = (false, None);
        self.answered(now, from, settled);
        Ok(())
    }

    fn publish(&mut self, now: Time, report: Report) {
        let line = self.journal.published(report.from, &self.present, &report.map);
        journal::write(Some(line));
        self.present = Arc::new(report.map);
        self.links.retain(|addr, _| self.present.nodes.iter().any(|n| n.addr == *addr));
        self.send_present();
        self.policy.changed(now);
    }

    fn send_present(&self) {
        for worker in &self.workers {
            worker.send(Message::Topology(Arc::clone(&self.present)));
        }
    }

    fn answered(&mut self, now: Time, from: SocketAddr, settled: bool) {
        self.troubled.remove(&from);
        journal::write(self.journal.node_answered(now, from));
        journal::write(self.journal.somebody_answered(now));
        self.policy.succeeded(now, settled);
        let mut board = self.shared.board();
        board.confirmed = Some(now);
        let status = &mut board.status;
        status.nodes = self.present.nodes.len();
        status.primaries = self.present.shards.len();
        status.covered_slots = self.present.covered();
        status.epoch = self.judge.epoch();
        status.server_version = self.present.software.to_string();
        status.last_error = None;
        status.refreshes += 1;
    }

    fn nobody(&mut self, round: Round) {
        if self.shared.is_stopping() {
            return;
        }
        let now = self.clock.now();
        let last = round.last_error.unwrap_or_else(|| "the startup names have no address".into());
        journal::write(self.journal.nobody_answered(now, round.asked.len(), &last));
        self.policy.failed(now);
        let mut board = self.shared.board();
        board.status.last_error = Some(last);
        board.status.failures += 1;
    }
}
