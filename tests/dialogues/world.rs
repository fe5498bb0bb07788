//! The event loop of the dialogues: carries out what the engine asks for, in the phases of the reactor's turn.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use redis_cluster_proxy::base::arena::Key;
use redis_cluster_proxy::base::time::Time;
use redis_cluster_proxy::cluster::SlotMap;
use redis_cluster_proxy::proxy::{Backend, Client, Effect, Engine, Hint, Intake};
use redis_cluster_proxy::resp::{Args, Limits, Parsed, RequestParser};

use crate::rig::cmd;

/// What happens when the proxy connects to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// It succeeds, and greetings are answered.
    Accept,
    /// It fails.
    Refuse,
    /// The script says what happens.
    ByHand,
}

/// A client's end of its connection.
pub struct ClientEnd {
    pub key: Key<Client>,
    /// Sent and not yet consumed by the proxy.
    pub unread: Vec<u8>,
    /// Came from the proxy and was not yet expected.
    pub received: Vec<u8>,
    pub paused: bool,
    /// Bytes to hand in that were not handed in before.
    pub fresh: bool,
    /// Will send nothing more.
    pub eof: bool,
    pub eof_told: bool,
    pub closed: bool,
    /// How many bytes it takes before its socket is full; `None` for any number.
    pub room: Option<usize>,
}

/// A node's end of one connection.
pub struct NodeEnd {
    pub key: Key<Backend>,
    pub addr: SocketAddr,
    pub connecting: bool,
    /// How many greetings were answered by the rig; `None` when the script does it.
    pub greet: bool,
    pub greeting: Vec<Vec<u8>>,
    /// Came from the proxy and was not yet expected.
    pub received: Vec<u8>,
    /// Sent and not yet consumed by the proxy.
    pub unread: Vec<u8>,
    pub gone: bool,
    pub room: Option<usize>,
    /// The proxy does not read it for now.
    pub paused: bool,
}

pub struct World {
    pub engine: Engine,
    pub now: Time,
    pub clients: Vec<ClientEnd>,
    pub conns: Vec<NodeEnd>,
    pub connects: Vec<(SocketAddr, Time)>,
    pub hints: Vec<Hint>,
    pub stepwise: bool,
    pub unfinished: bool,
    /// How often the engine was told the time.
    pub ticks: u64,
    password: String,
    meetings: HashMap<SocketAddr, Meeting>,
}

/// Turns without an end in sight: the engine spins.
const MOST_TURNS: usize = 100_000;

impl World {
    pub fn new(engine: Engine, now: Time, password: String) -> Self {
        World {
            engine,
            now,
            clients: Vec::new(),
            conns: Vec::new(),
            connects: Vec::new(),
            hints: Vec::new(),
            stepwise: false,
            unfinished: false,
            ticks: 0,
            password,
            meetings: HashMap::new(),
        }
    }

    pub fn meet(&mut self, addr: SocketAddr, how: Meeting) {
        self.meetings.insert(addr, how);
    }

    pub fn topology(&mut self, map: &SlotMap) {
        self.engine.topology(map);
        self.engine.check_invariants();
        self.settle();
    }

    /// Turns until nothing is left to do, unless the script makes the turns.
    pub fn settle(&mut self) {
        for _ in 0..MOST_TURNS {
            if self.stepwise || !self.turn() {
                return;
            }
        }
        panic!("the engine spins");
    }

    /// One turn. False when there was nothing to do.
    pub fn turn(&mut self) -> bool {
        self.ticks += 1;
        self.engine.tick(self.now);
        let mut busy = self.effects();
        for index in 0..self.clients.len() {
            busy |= self.pump(index);
        }
        busy |= self.read_on();
        let mut ready = Vec::new();
        self.engine.take_ready(&mut ready);
        for key in ready {
            busy = true;
            if let Some(index) = self.clients.iter().position(|c| c.key == key && !c.closed) {
                self.clients[index].paused = false;
                self.clients[index].fresh = true;
                self.pump(index);
            }
        }
        busy |= self.effects();
        busy |= self.flush();
        self.engine.check_invariants();
        busy
    }

    /// Hands in what a client has sent.
    fn pump(&mut self, index: usize) -> bool {
        let c = &mut self.clients[index];
        if c.closed || c.paused {
            return false;
        }
        let mut busy = false;
        if c.fresh && !c.unread.is_empty() {
            busy = true;
            c.fresh = false;
            let (consumed, intake) = self.engine.client_bytes(c.key, &c.unread);
            c.unread.drain(..consumed);
            c.paused = intake != Intake::More;
        }
        if c.eof && !c.eof_told && !c.paused {
            busy = true;
            c.eof_told = true;
            self.engine.client_eof(c.key);
        }
        busy
    }

    fn effects(&mut self) -> bool {
        let mut effects = Vec::new();
        self.engine.take_effects(&mut effects);
        let busy = !effects.is_empty();
        for effect in effects {
            match effect {
                // One worker: nobody else is asked or shown anything.
                Effect::Ask(ask, question) if question.wants_host() => {
                    let answer = self.engine.question(&question);
                    self.engine.answered(ask, answer);
                }
                Effect::Ask(..) | Effect::Show(..) => {}
                Effect::Connect(key, addr) => self.connect(key, addr),
                Effect::CloseBackend(key) | Effect::ResetBackend(key) => {
                    self.conns.iter_mut().filter(|c| c.key == key).for_each(|c| c.gone = true);
                }
                Effect::CloseClient(key) => {
                    self.clients.iter_mut().filter(|c| c.key == key).for_each(|c| c.closed = true);
                }
                Effect::Refresh(hint) => self.hints.push(hint),
            }
        }
        busy
    }

    fn connect(&mut self, key: Key<Backend>, addr: SocketAddr) {
        self.connects.push((addr, self.now));
        let how = self.meetings.get(&addr).copied().unwrap_or(Meeting::Accept);
        self.conns.push(NodeEnd {
            key,
            addr,
            connecting: true,
            greet: how != Meeting::ByHand,
            greeting: Vec::new(),
            received: Vec::new(),
            unread: Vec::new(),
            gone: how == Meeting::Refuse,
            room: None,
            paused: false,
        });
        match how {
            Meeting::Accept => {
                self.connected(self.conns.len() - 1);
            }
            Meeting::Refuse => self.engine.backend_gone(key, "Connection refused (os error 111)".into()),
            Meeting::ByHand => {}
        }
    }

    pub fn connected(&mut self, conn: usize) {
        self.conns[conn].connecting = false;
        self.engine.backend_connected(self.conns[conn].key);
    }

    /// Writes what the engine wants written, as far as there is room.
    fn flush(&mut self) -> bool {
        let (mut backends, mut clients) = (Vec::new(), Vec::new());
        self.engine.take_dirty_backends(&mut backends);
        let busy = !backends.is_empty();
        for key in backends {
            self.flush_backend(key);
        }
        self.engine.take_dirty_clients(&mut clients);
        let busy = busy || !clients.is_empty();
        for key in clients {
            self.flush_client(key);
        }
        busy
    }

    fn flush_backend(&mut self, key: Key<Backend>) {
        let Some(at) = self.conns.iter().position(|c| c.key == key && !c.gone) else { return };
        let output = self.engine.backend_output(key);
        let conn = &mut self.conns[at];
        assert!(!conn.connecting || output.is_empty(), "bytes for a socket that is not connected");
        let n = output.len().min(conn.room.unwrap_or(usize::MAX));
        conn.received.extend_from_slice(&output[..n]);
        conn.room = conn.room.map(|r| r - n);
        self.engine.backend_written(key, n);
        if conn.greet {
            self.greet(at);
        }
    }

    /// Answers greetings as a node does.
    fn greet(&mut self, at: usize) {
        while let Some((len, words)) = first_command(&self.conns[at].received) {
            self.conns[at].received.drain(..len);
            let answer = match words[0].as_slice() {
                b"AUTH" if words[1] == self.password.as_bytes() => &b"+OK\r\n"[..],
                b"AUTH" => b"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
                b"HELLO" => b"%2\r\n+proto\r\n:3\r\n+role\r\n+master\r\n",
                b"CLIENT" if words[1] == b"ID" => b":77\r\n",
                _ => b"+OK\r\n",
            };
            let last = words[..] == [&b"CLIENT"[..], b"SETNAME", b"redis-cluster-proxy"];
            self.conns[at].greeting.push(words.join(&b' '));
            self.replies(at, answer);
            if last {
                self.conns[at].greet = false;
                return;
            }
        }
    }

    /// Bytes from a node; they are not worth a turn of their own.
    pub fn replies(&mut self, at: usize, bytes: &[u8]) {
        self.conns[at].unread.extend_from_slice(bytes);
        if !self.conns[at].paused {
            self.hand_in_replies(at);
        }
    }

    fn hand_in_replies(&mut self, at: usize) {
        let conn = &mut self.conns[at];
        let consumed = self.engine.backend_bytes(conn.key, &conn.unread);
        conn.unread.drain(..consumed);
        conn.paused = self.engine.is_held(conn.key);
    }

    /// Backends whose reading goes on.
    fn read_on(&mut self) -> bool {
        let mut keys = Vec::new();
        self.engine.take_held_backends(&mut keys);
        for key in &keys {
            if let Some(at) = self.conns.iter().position(|c| c.key == *key && !c.gone) {
                self.conns[at].paused = false;
                self.hand_in_replies(at);
            }
        }
        !keys.is_empty()
    }

    fn flush_client(&mut self, key: Key<Client>) {
        let Some(c) = self.clients.iter_mut().find(|c| c.key == key && !c.closed) else { return };
        let output = self.engine.client_output(key);
        let n = output.len().min(c.room.unwrap_or(usize::MAX));
        c.received.extend_from_slice(&output[..n]);
        c.room = c.room.map(|r| r - n);
        self.engine.client_written(key, n);
    }

    /// Lets time pass in the steps in which the engine wants to be told of it.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now.after(by);
        let millisecond = Duration::from_millis(1);
        while let Some(due) = self.engine.deadline().filter(|d| *d < end) {
            self.now = due.max(self.now.after(millisecond)).min(end);
            self.settle();
            self.turn_if_stepwise();
        }
        self.now = end;
        self.settle();
        self.turn_if_stepwise();
    }

    /// As [`World::advance`], but the engine is told late, as on a busy host.
    pub fn oversleep(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.settle();
    }

    fn turn_if_stepwise(&mut self) {
        if self.stepwise {
            self.turn();
        }
    }

    /// Nothing was sent that nobody expected, nothing asked that nobody answered.
    fn check_end(&mut self) {
        let now = self.now;
        for conn in &self.conns {
            assert!(
                conn.greet || conn.received.is_empty() || conn.gone,
                "{} got {}",
                conn.addr,
                show(&conn.received)
            );
        }
        for (i, c) in self.clients.iter().enumerate() {
            assert!(c.received.is_empty(), "client {i} got {}", show(&c.received));
            assert!(
                c.closed || c.unread.is_empty() || self.unfinished,
                "client {i}: not read: {}",
                show(&c.unread)
            );
        }
        if !self.unfinished {
            assert_eq!(self.engine.counters().in_flight, 0, "parts in flight at the end");
            assert!(self.engine.deadline().is_none_or(|d| d > now), "a timer was due");
        }
        for c in self.clients.iter().filter(|c| !c.closed) {
            self.engine.client_gone(c.key);
        }
        self.engine.check_invariants();
        let held = self.engine.holdings();
        assert_eq!((held.clients, held.waiting, held.parked), (0, 0, 0), "left behind by clients: {held:?}");
        assert!(held.gathers == 0 || self.unfinished, "split requests are left: {held:?}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check_end();
        }
    }
}

/// The first whole command in `bytes`: its length and its words.
pub fn first_command(bytes: &[u8]) -> Option<(usize, Vec<Vec<u8>>)> {
    let mut parser = RequestParser::new();
    let Parsed::Request { len } = parser.parse(bytes, &Limits::default()) else { return None };
    let words: Vec<Vec<u8>> = Args::new(&bytes[..len], parser.spans()).iter().map(<[u8]>::to_vec).collect();
    debug_assert_eq!(cmd(&words), &bytes[..len]);
    Some((len, words))
}

/// Bytes as text, the middle of long ones left out.
pub fn show(bytes: &[u8]) -> String {
    const MOST: usize = 400;
    if bytes.len() <= MOST {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    format!("{} bytes \"{}...\"", bytes.len(), bytes[..MOST].escape_ascii())
}
