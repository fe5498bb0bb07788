//! The engine and both its sides, which do as they are told. Carries out what the engine asks for, as the reactor does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redis_cluster_proxy::base::arena::Key;
use redis_cluster_proxy::base::time::Time;
use redis_cluster_proxy::cluster::{NodeInfo, ShardInfo, SlotMap};
use redis_cluster_proxy::config::{Config, ReadPrefer};
use redis_cluster_proxy::proxy::{
    Answer, Ask, Backend, Client, Effect, Engine, Intake, Question, Scope, Surroundings,
};
use redis_cluster_proxy::resp::{encode, Args, Limits, Parsed, ReplyFramer, RequestParser, Scan};

use super::words::{answer, COMMANDS, REPLIES};

/// Clients of one run.
const MOST_CLIENTS: usize = 12;
/// Turns without an end in sight: the engine spins.
const MOST_TURNS: usize = 5000;

struct ClientEnd {
    key: Key<Client>,
    /// Sent and not yet consumed by the engine.
    unread: Vec<u8>,
    paused: bool,
    closed: bool,
    ended: bool,
    /// What was written to it, as far as it is no whole value yet.
    framer: ReplyFramer,
    partial: Vec<u8>,
}

struct NodeEnd {
    key: Key<Backend>,
    connecting: bool,
    gone: bool,
    unread: Vec<u8>,
    /// Written to it and not answered.
    received: Vec<u8>,
    /// Commands queued since MULTI.
    queued: Option<usize>,
}

pub struct World {
    engine: Engine,
    now: Time,
    clients: Vec<ClientEnd>,
    nodes: Vec<NodeEnd>,
    asks: Vec<(Key<Ask>, Arc<Question>)>,
    /// Another worker, without clients.
    other: Engine,
    workers: usize,
    drained: bool,
    /// Nobody can be connected any more.
    over: bool,
}

impl World {
    pub fn new(choice: u8) -> World {
        let has = |bit: u8| choice >> bit & 1 == 1;
        let mut config = Config::for_tests();
        if has(0) {
            config.password = "secret".into();
        }
        if has(1) {
            (config.client_output_limit, config.pubsub_output_limit) = (1024, 1024);
        }
        if has(2) {
            config.client_idle_timeout = Duration::from_millis(500);
        }
        if has(3) {
            config.read_prefer = ReadPrefer::Slave;
        }
        if has(4) {
            (config.backend_init_connections, config.backend_idle_connections) = (1, 2);
        }
        if has(5) {
            config.max_request = 1024;
        }
        if has(6) {
            config.refused_commands = vec!["flushall".into(), "config|set".into()];
        }
        let workers = if has(7) { 2 } else { 1 };
        let now = Time::from_micros(1_000_000);
        let around =
            Surroundings { worker: 0, workers, seed: 7, local_ip: None, started: now, port: 8088, pid: 1 };
        let config = Arc::new(config);
        let other = Engine::new(Arc::clone(&config), Surroundings { worker: 1, ..around.clone() }, now);
        let engine = Engine::new(config, around, now);
        let (clients, nodes, asks) = (Vec::new(), Vec::new(), Vec::new());
        let mut world =
            World { engine, now, clients, nodes, asks, other, workers, drained: false, over: false };
        world.topology(0);
        world.open_client();
        world
    }

    pub fn open_client(&mut self) {
        if self.clients.len() < MOST_CLIENTS && !self.drained {
            let key = self.engine.client_opened(([127, 0, 0, 1], 40_000 + self.clients.len() as u16).into());
            let (unread, framer, partial) = (Vec::new(), ReplyFramer::new(), Vec::new());
            let (paused, closed, ended) = (false, false, false);
            self.clients.push(ClientEnd { key, unread, paused, closed, ended, framer, partial });
        }
    }

    /// The open client that `choice` stands for.
    fn client(&self, choice: u8) -> Option<usize> {
        let open: Vec<usize> = (0..self.clients.len()).filter(|i| !self.clients[*i].closed).collect();
        open.get(usize::from(choice) % open.len().max(1)).copied()
    }

    fn node(&self, choice: u8, connecting: bool) -> Option<usize> {
        let fits = |i: &usize| !self.nodes[*i].gone && self.nodes[*i].connecting == connecting;
        let open: Vec<usize> = (0..self.nodes.len()).filter(fits).collect();
        open.get(usize::from(choice) % open.len().max(1)).copied()
    }

    pub fn client_sends(&mut self, choice: u8, bytes: &[u8]) {
        let Some(at) = self.client(choice).filter(|at| !self.clients[*at].ended) else { return };
        self.clients[at].unread.extend_from_slice(bytes);
        self.hand_in(at);
    }

    pub fn client_commands(&mut self, choice: u8, which: u8, count: u8) {
        let mut bytes = Vec::new();
        for i in 0..usize::from(count) {
            let words: Vec<&str> =
                COMMANDS[(usize::from(which) + i * 16) % COMMANDS.len()].split(' ').collect();
            encode::request(&mut bytes, &words);
        }
        self.client_sends(choice, &bytes);
    }

    fn hand_in(&mut self, at: usize) {
        let c = &mut self.clients[at];
        if c.closed || c.paused || c.unread.is_empty() {
            return;
        }
        let (consumed, intake) = self.engine.client_bytes(c.key, &c.unread);
        c.unread.drain(..consumed);
        c.paused = intake != Intake::More;
    }

    pub fn client_ends(&mut self, choice: u8) {
        let Some(at) = self.client(choice / 3) else { return };
        let key = self.clients[at].key;
        match choice % 3 {
            0 if self.clients[at].paused => self.engine.client_hung_up(key),
            0 => {
                self.clients[at].ended = true;
                self.engine.client_eof(key);
            }
            _ => {
                self.engine.client_gone(key);
                self.clients[at].closed = true;
            }
        }
    }

    pub fn node_sends(&mut self, choice: u8, bytes: &[u8]) {
        let Some(at) = self.node(choice, false) else { return };
        self.nodes[at].unread.extend_from_slice(bytes);
        self.hand_in_replies(at);
    }

    pub fn node_replies(&mut self, choice: u8, which: u8, count: u8) {
        for i in 0..usize::from(count) {
            self.node_sends(choice, REPLIES[(usize::from(which) + i * 7) % REPLIES.len()].as_bytes());
        }
    }

    fn hand_in_replies(&mut self, at: usize) {
        let n = &mut self.nodes[at];
        if !n.gone && !self.engine.is_held(n.key) {
            let consumed = self.engine.backend_bytes(n.key, &n.unread);
            n.unread.drain(..consumed);
            self.effects();
        }
    }

    /// All nodes answer what they have received, as they should.
    pub fn nodes_answer(&mut self, free: u8) {
        for at in 0..self.nodes.len() {
            while !self.nodes[at].gone && !self.nodes[at].connecting {
                let Some(words) = self.nodes[at].next_command() else { break };
                let reply = self.nodes[at].reply(&words, free);
                self.nodes[at].unread.extend(reply);
                self.hand_in_replies(at);
            }
        }
    }

    pub fn lose_node(&mut self, choice: u8) {
        if let Some(at) = self.node(choice, false) {
            self.nodes[at].gone = true;
            self.engine.backend_gone(self.nodes[at].key, "lost".into());
        }
    }

    pub fn connect(&mut self, choice: u8) {
        let Some(at) = self.node(choice / 4, true) else { return };
        let key = self.nodes[at].key;
        if choice % 4 == 0 || self.over {
            self.nodes[at].gone = true;
            self.engine.backend_gone(key, "refused".into());
        } else {
            self.nodes[at].connecting = false;
            self.engine.backend_connected(key);
        }
    }

    pub fn pass(&mut self, us: u64) {
        self.now = self.now.after(Duration::from_micros(us));
        self.engine.tick(self.now);
    }

    /// Three shards on ports 7001 to 7003 with a replica each, and what `choice` changes about that.
    pub fn topology(&mut self, choice: u8) {
        let mut map = SlotMap::empty();
        for i in 0..6u16 {
            let addr = SocketAddr::from(([127, 0, 0, 1], 7001 + i));
            map.nodes.push(NodeInfo { id: format!("{i:040}"), addr, name: addr.to_string() });
        }
        for shard in 0..3u16 {
            let swapped = choice >> shard & 1 == 1;
            let (primary, replica) = if swapped { (shard + 3, shard) } else { (shard, shard + 3) };
            let replicas = if choice & 8 == 0 { vec![replica] } else { Vec::new() };
            map.shards.push(ShardInfo { primary, replicas });
        }
        for slot in 0..map.slots.len() {
            let shard = slot as u16 / 5462;
            match choice >> 4 {
                0 => map.slots[slot] = shard,
                n if usize::from(n) == slot % 16 => {}
                n if n > 8 => map.slots[slot] = (shard + u16::from(n)) % 3,
                _ => map.slots[slot] = shard,
            }
        }
        map.epoch = u64::from(choice);
        self.engine.topology(&map);
    }

    pub fn other_worker(&mut self, choice: u8) {
        if self.workers == 1 {
            return;
        }
        let question = match choice % 9 {
            0 => Question::Figures,
            1 => Question::Unpause,
            2 => Question::Pause { scope: Scope::All, until: self.now.after(Duration::from_millis(50)) },
            3 => Question::Watch { worker: 1, on: choice > 100 },
            4 => Question::Unblock { id: i64::from(choice / 9), error: choice > 200 },
            5 => Question::ForgetScripts,
            6 => Question::RememberScript((*b"return").into()),
            _ => {
                if let Some((ask, question)) = self.asks.pop() {
                    let ended = choice > 200;
                    let answer = if ended { Answer::Done } else { self.other.question(&question) };
                    self.engine.answered(ask, answer);
                }
                return;
            }
        };
        self.engine.question(&question);
        self.engine.watched(b"+0.0 [0 x] \"get\" \"a\"\r\n");
    }

    pub fn drain(&mut self) {
        if !self.drained {
            self.drained = true;
            self.engine.drain();
        }
    }

    /// A turn of the reactor. False when there was nothing to do.
    pub fn turn(&mut self) -> bool {
        self.engine.tick(self.now);
        let mut busy = self.effects();
        let (mut held, mut ready) = (Vec::new(), Vec::new());
        self.engine.take_held_backends(&mut held);
        self.engine.take_ready(&mut ready);
        busy |= !ready.is_empty() || !held.is_empty();
        for key in held {
            if let Some(at) = self.nodes.iter().position(|n| n.key == key && !n.gone) {
                self.hand_in_replies(at);
            }
        }
        for key in ready {
            if let Some(at) = self.clients.iter().position(|c| c.key == key && !c.closed) {
                self.clients[at].paused = false;
                self.hand_in(at);
            }
        }
        busy |= self.effects();
        self.flush(None) | busy
    }

    /// What must hold after each operation.
    pub fn look(&mut self) {
        self.effects();
        self.engine.check_invariants();
    }

    fn effects(&mut self) -> bool {
        let mut effects = Vec::new();
        self.engine.take_effects(&mut effects);
        let busy = !effects.is_empty();
        for effect in effects {
            match effect {
                Effect::Connect(key, _) => {
                    let (unread, received) = (Vec::new(), Vec::new());
                    self.nodes.push(NodeEnd {
                        key,
                        connecting: true,
                        gone: false,
                        unread,
                        received,
                        queued: None,
                    });
                }
                Effect::CloseBackend(key) | Effect::ResetBackend(key) => {
                    self.nodes.iter_mut().filter(|n| n.key == key).for_each(|n| n.gone = true);
                }
                Effect::CloseClient(key) => {
                    self.clients.iter_mut().filter(|c| c.key == key).for_each(|c| c.closed = true);
                }
                Effect::Refresh(_) | Effect::Show(..) => {}
                Effect::Ask(ask, question) => {
                    if question.wants_host() {
                        let answer = self.engine.question(&question);
                        self.engine.answered(ask, answer);
                    }
                    if self.workers > 1 {
                        self.asks.push((ask, question));
                    }
                }
            }
        }
        busy
    }

    /// Writes what the engine wants written, at most `most` bytes of each.
    pub fn flush(&mut self, most: Option<usize>) -> bool {
        let (mut backends, mut clients) = (Vec::new(), Vec::new());
        self.engine.take_dirty_backends(&mut backends);
        self.engine.take_dirty_clients(&mut clients);
        let busy = !(backends.is_empty() && clients.is_empty());
        for key in backends {
            let Some(n) = self.nodes.iter_mut().find(|n| n.key == key && !n.gone) else { continue };
            let output = self.engine.backend_output(key);
            assert!(!n.connecting || output.is_empty(), "bytes for a socket that is not connected");
            let len = output.len().min(most.unwrap_or(usize::MAX));
            n.received.extend_from_slice(&output[..len]);
            let rest = output.len() > len;
            self.engine.backend_written(key, len);
            if rest {
                self.engine.backend_writable(key);
            }
        }
        for key in clients {
            let Some(c) = self.clients.iter_mut().find(|c| c.key == key && !c.closed) else { continue };
            let output = self.engine.client_output(key);
            let len = output.len().min(most.unwrap_or(usize::MAX));
            c.receive(&output[..len]);
            let rest = output.len() > len;
            self.engine.client_written(key, len);
            if rest {
                self.engine.client_writable(key);
            }
        }
        busy
    }

    fn settle(&mut self) {
        for _ in 0..MOST_TURNS {
            for _ in 0..self.nodes.len() {
                if self.over {
                    self.connect(0);
                }
            }
            if !self.turn() {
                return;
            }
            self.engine.check_invariants();
        }
        panic!("the engine spins: {:?}", self.engine.holdings());
    }

    /// An orderly stop, a minute of silence: nothing is left of any client.
    pub fn end(&mut self) {
        self.over = true;
        self.drain();
        let end = self.now.after(Duration::from_secs(60));
        while self.now < end {
            self.settle();
            let next = self.engine.deadline().map_or(end, |t| t.min(end));
            self.now = next.max(self.now.after(Duration::from_millis(100)));
        }
        self.settle();
        assert!(self.engine.is_drained() && self.clients.iter().all(|c| c.closed), "clients are left");
        let held = self.engine.holdings();
        let left = [held.gathers, held.asks, held.monitors, held.held, held.waiting, held.parked];
        assert_eq!(left, [0; 6], "left behind: {held:?}");
        assert_eq!(self.engine.counters().in_flight, 0, "parts in flight are left: {held:?}");
    }
}

impl ClientEnd {
    /// Whatever a client is sent is whole RESP values, one after the other.
    fn receive(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        let mut start = 0;
        loop {
            match self.framer.scan(&self.partial[start..]) {
                Ok(Scan::Done(n)) => start += n,
                Ok(Scan::More(n)) => {
                    self.partial.drain(..start + n);
                    return;
                }
                Err(e) => panic!("a client got {}: {e}", self.partial[start..].escape_ascii()),
            }
        }
    }
}

impl NodeEnd {
    /// Takes the next command off what was received; whatever a node is sent is whole requests.
    fn next_command(&mut self) -> Option<Vec<Vec<u8>>> {
        let mut parser = RequestParser::new();
        match parser.parse(&self.received, &Limits::default()) {
            Parsed::Incomplete => None,
            Parsed::Request { len } => {
                let args = Args::new(&self.received[..len], parser.spans());
                let words = args.iter().map(<[u8]>::to_vec).collect();
                self.received.drain(..len);
                Some(words)
            }
            other => panic!("a node got {}: {other:?}", self.received.escape_ascii()),
        }
    }

    fn reply(&mut self, words: &[Vec<u8>], free: u8) -> Vec<u8> {
        match (words[0].to_ascii_uppercase().as_slice(), self.queued) {
            (b"MULTI", _) => self.queued = Some(0),
            (b"EXEC", Some(n)) => {
                self.queued = None;
                return [format!("*{n}\r\n"), "+OK\r\n".repeat(n)].concat().into_bytes();
            }
            (b"DISCARD", _) => self.queued = None,
            (_, Some(n)) => {
                self.queued = Some(n + 1);
                return b"+QUEUED\r\n".to_vec();
            }
            _ => {}
        }
        answer(words, free)
    }
}
