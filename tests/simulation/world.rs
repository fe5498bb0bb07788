//! The virtual world of one seed: clock, event queue, connections, and the phases from first client to last timer.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use redis_cluster_proxy::base::time::Time;
use redis_cluster_proxy::cluster::SlotMap;
use redis_cluster_proxy::proxy::{Engine, Surroundings};

use super::clients::FakeClient;
use super::cluster::Cluster;
use super::dice::Dice;
use super::driver::Conn;
use super::mix::Mix;
use super::oracle::Oracle;
use super::stream::{End, Item};
use super::totals::Totals;
use super::waits::Blocked;

/// Virtual time at which faults end, microseconds.
const FAULTS_END_US: u64 = 4_000_000;

/// Virtual time after which all subscriptions must be where they belong, microseconds.
const SETTLED_US: u64 = 20_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dir {
    /// To the engine.
    Up,
    /// From the engine.
    Down,
}

/// What a connection leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Client(usize),
    Node(usize),
    /// An address where nobody is.
    Nobody,
}

impl Peer {
    pub fn node(self) -> Option<usize> {
        match self {
            Peer::Node(node) => Some(node),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub enum Event {
    Arrive(usize, Dir),
    /// The engine's socket can be written again.
    Writable(usize),
    Connected(usize),
    Refused(usize),
    /// A client decides what to do next.
    Act(usize),
    /// A slow client reads.
    Read(usize),
    NewClient,
    Fault,
    Resume(usize),
    Restart(usize),
    Loaded(usize),
    Audible(usize),
    Promote(usize),
    /// A slot on its way to another shard: the next key.
    Migrate(usize),
    /// A blocked command, by its serial number, has waited long enough.
    TimeOut(u64),
    /// Blocked clients are given what they wait for.
    Feed,
    /// A message has come to a node from another one.
    Bus(usize, usize),
    /// The system gives connections to a node up whose host has gone silently.
    Keepalive(usize),
    /// A node is as quick as ever.
    Quick(usize),
    /// The topology thread asks.
    Ask,
    /// It publishes; also what was published before when it was given a hint.
    Publish(Rc<SlotMap>, bool),
}

pub struct World {
    pub now: u64,
    pub dice: Dice,
    pub mix: Mix,
    pub engine: Engine,
    pub conns: Vec<Conn>,
    pub clients: Vec<FakeClient>,
    pub cluster: Cluster,
    pub oracle: Oracle,
    pub totals: Totals,
    pub blocked: Vec<Blocked>,
    pub serial: u64,
    pub feeds: u32,
    /// When the last message from one node to another arrives.
    pub bus: BTreeMap<(usize, usize), u64>,
    /// Keys are drawn from this hash tag only.
    pub pinned: Option<usize>,
    pub queue: BTreeMap<(u64, u64), Event>,
    planned: u64,
    /// The topology thread is about to ask.
    pub asking: bool,
    pub published: Option<Rc<SlotMap>>,
    /// What was published before.
    pub past: Vec<Rc<SlotMap>>,
    pub healed: bool,
    /// Backends with bytes left unread by the last turn.
    pub again: Vec<usize>,
    /// Turns in a row in which nothing moved.
    pub idle_turns: u32,
    pub draining: bool,
    print: bool,
    transcript: u64,
    text: String,
}

impl World {
    pub fn new(seed: u64, print: bool) -> Self {
        let mut dice = Dice::new(seed);
        let mix = Mix::draw(&mut dice);
        let around = Surroundings {
            worker: 0,
            workers: 1,
            seed: dice.number(),
            local_ip: None,
            started: Time::default(),
            port: 1,
            pid: 1,
        };
        let now = dice.us(0, 5_000_000_000);
        let mut engine = Engine::new(Arc::new(mix.config.clone()), around, Time::from_micros(now));
        engine.set_sizes(mix.sizes);
        let mut world = World {
            now,
            engine,
            conns: Vec::new(),
            clients: Vec::new(),
            cluster: Cluster::new(&mix),
            oracle: Oracle::new(&mix),
            totals: Totals::default(),
            blocked: Vec::new(),
            serial: 0,
            feeds: 0,
            bus: BTreeMap::new(),
            pinned: None,
            past: Vec::new(),
            queue: BTreeMap::new(),
            planned: 0,
            asking: false,
            published: None,
            healed: false,
            again: Vec::new(),
            idle_turns: 0,
            draining: false,
            print,
            transcript: 0xcbf2_9ce4_8422_2325,
            text: String::new(),
            dice,
            mix,
        };
        world.note(format_args!("{:?}", world.mix.clone()));
        world
    }

    /// Lives through all phases; panics when something is wrong. Returns the hash of the transcript.
    pub fn live(&mut self) -> u64 {
        let start = self.now;
        if self.oracle.calm || self.dice.coin() {
            self.publish(Rc::new(self.cluster.map()), true);
        } else {
            self.plan_between(0, 100_000, Event::Ask);
        }
        for _ in 0..self.mix.clients {
            self.plan_between(0, 1_000_000, Event::NewClient);
        }
        if self.mix.fault_us > 0 {
            self.plan_between(0, self.mix.fault_us, Event::Fault);
        }
        self.run(start + FAULTS_END_US, |w| w.oracle.calm && w.all_done());
        self.heal();
        self.run(self.now + self.patience(), World::all_done);
        assert!(self.all_done(), "not answered although all is well again: {}", self.unanswered());
        // Silent listeners are noticed, subscriptions moved.
        self.run(self.now + SETTLED_US, |_| false);
        let probes = self.publish_probes();
        self.run(self.now + 2_000_000, |_| false);
        self.oracle.conclude();
        self.conclude_waits();
        self.conclude_topics(&probes);
        self.finish();
        self.transcript
    }

    /// Orderly stop; then nothing may be left.
    fn finish(&mut self) {
        self.note(format_args!("drain"));
        self.draining = true;
        self.engine.drain();
        let limit = self.mix.config.drain_timeout.as_micros() as u64;
        self.run(self.now + limit + 10_000, |w| w.engine.is_drained());
        assert!(self.engine.is_drained(), "clients are left after the drain timeout");
        let config = &self.mix.config;
        let longest = config.reply_timeout.max(config.connect_timeout).max(config.drain_timeout);
        let longest = longest.as_micros() as u64 * 2 + 2_000_000;
        self.run(self.now + longest, |_| false);
        let turns = self.totals.turns;
        self.run(self.now + longest, |_| false);
        let turns = self.totals.turns - turns;
        assert!(turns < 100, "{turns} turns although there was nothing to do");
        self.engine.topology(&SlotMap::empty());
        self.run(self.now + 1_000_000, |_| false);
        let left = self.engine.holdings();
        let open: Vec<_> =
            self.conns.iter().enumerate().filter(|(_, c)| c.open).map(|(i, c)| (i, c.peer)).collect();
        assert!(open.is_empty(), "connections are left: {open:?} {left:?}");
        assert_eq!(left, Default::default(), "something is left");
        assert_eq!(self.engine.counters().in_flight, 0);
    }

    /// How long it may take until everything is answered once faults have stopped, microseconds.
    fn patience(&self) -> u64 {
        let c = &self.mix.config;
        (c.retry_timeout + c.reply_timeout * 2 + c.connect_timeout * 2).as_micros() as u64 + 20_000_000
    }

    fn run(&mut self, end: u64, done: impl Fn(&World) -> bool) {
        while self.now < end && !done(self) {
            let event = self.queue.first_key_value().map(|(k, _)| k.0);
            let deadline = self.engine.deadline().map(|t| t.as_micros());
            let busy = self.engine.has_ready() || self.engine.has_output() || !self.again.is_empty();
            let next = if busy { Some(self.now) } else { event.into_iter().chain(deadline).min() };
            let Some(next) = next.filter(|t| *t < end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            self.turn();
            self.now += self.dice.us(1, 20);
        }
    }

    pub fn plan(&mut self, delay: u64, event: Event) {
        self.plan_at(self.now + delay, event);
    }

    pub fn plan_at(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.queue.insert((at, self.planned), event);
    }

    pub fn plan_between(&mut self, low: u64, high: u64, event: Event) {
        let delay = self.dice.us(low, high);
        self.plan(delay, event);
    }

    /// Sends bytes or an end, cut and delayed as the network likes, not before `at`.
    pub fn send(&mut self, conn: usize, dir: Dir, item: Item, at: u64) {
        let delays = self.mix.delay_us;
        let Item::Data(mut bytes) = item else {
            let at = at + self.dice.us(10, delays);
            let at = self.stream(conn, dir).send(at, item);
            return self.plan_at(at, Event::Arrive(conn, dir));
        };
        let trickles = self.stream(conn, dir).trickles && !self.healed;
        let cuts = if trickles { bytes.len().clamp(1, 200) } else { self.dice.between(1, self.mix.cuts) };
        let (delays, at) = if trickles { (3000, at.max(self.stream(conn, dir).last)) } else { (delays, at) };
        let mut at = at;
        for left in (0..cuts).rev() {
            let most = bytes.len();
            let len = match left {
                0 => most,
                _ if trickles => most.div_ceil(200).min(most),
                _ if most == 0 => most,
                _ => self.dice.below(most.min(40 + most / 4)),
            };
            let rest = bytes.split_off(len);
            if !bytes.is_empty() {
                if trickles {
                    at += self.dice.us(10, delays);
                }
                let at = at + self.dice.us(10, delays);
                let at = self.stream(conn, dir).send(at, Item::Data(bytes));
                self.plan_at(at, Event::Arrive(conn, dir));
            }
            bytes = rest;
        }
    }

    /// The peer of a connection closes it: properly, or not.
    pub fn break_conn(&mut self, conn: usize, reset: bool) {
        let c = &mut self.conns[conn];
        c.peer_open = false;
        c.disturbed = true;
        c.session.topics.clear();
        c.down.drop_arrived();
        self.unblock(conn);
        if !reset {
            return self.send(conn, Dir::Up, Item::Fin, self.now);
        }
        let lose = self.dice.coin();
        let at = self.now + self.dice.us(10, self.mix.delay_us);
        let at = self.conns[conn].up.reset(at, lose);
        self.plan_at(at, Event::Arrive(conn, Dir::Up));
    }

    pub fn stream(&mut self, conn: usize, dir: Dir) -> &mut super::stream::Stream {
        match dir {
            Dir::Up => &mut self.conns[conn].up,
            Dir::Down => &mut self.conns[conn].down,
        }
    }

    /// The peer has taken bytes: the engine may write more.
    pub fn drained(&mut self, conn: usize) {
        let down = &mut self.conns[conn].down;
        if down.blocked && down.room() > 0 {
            down.blocked = false;
            self.plan_between(1, 200, Event::Writable(conn));
        }
    }

    /// Bytes, or the end, have arrived at the peer of the engine.
    pub fn peer_input(&mut self, conn: usize) {
        match self.conns[conn].peer {
            _ if !self.conns[conn].peer_open => {
                self.conns[conn].down.drop_arrived();
                self.drained(conn);
                self.nobody_hears(conn);
            }
            Peer::Node(node) => self.node_input(conn, node),
            Peer::Client(client) => self.client_input(client),
            Peer::Nobody => {}
        }
    }

    pub fn publish(&mut self, map: Rc<SlotMap>, hinted: bool) {
        let same = self.published.as_ref().is_some_and(|p| p.same_topology(&map));
        if same && !hinted && !self.mix.publish_always {
            return;
        }
        self.note(format_args!("topology: {:?}", map.shards));
        self.engine.topology(&map);
        self.past.push(Rc::clone(&map));
        self.published = Some(map);
    }

    fn all_done(&self) -> bool {
        let over = |c: &FakeClient| c.done() || self.conns[c.conn].up.end == End::Reset;
        self.clients.len() >= self.mix.clients && self.clients.iter().all(over)
    }

    fn unanswered(&self) -> String {
        let open = self.clients.iter().filter(|c| !c.done());
        let text = |c: &FakeClient| format!("\n  client {}: {:?} {:?}", c.number, c.state, c.sent.front());
        open.map(text).collect::<String>() + &format!("\n  {:?}", self.engine.holdings())
    }

    /// One line of the transcript.
    pub fn note(&mut self, line: fmt::Arguments<'_>) {
        use std::fmt::Write;
        self.text.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{:>10} {line}", self.now);
        for byte in self.text.bytes() {
            self.transcript = (self.transcript ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.print {
            println!("{}", self.text);
        }
    }
}
