//! The test bed: the engine with clients and nodes that are buffers. Plays the part of the reactor.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redis_cluster_proxy::base::arena::Key;
use redis_cluster_proxy::base::random::Random;
use redis_cluster_proxy::base::time::Time;
use redis_cluster_proxy::cluster::{NodeInfo, ShardInfo, SlotMap};
use redis_cluster_proxy::config::Config;
use redis_cluster_proxy::proxy::{Backend, Client, Effect, Engine, Intake, Surroundings};
use redis_cluster_proxy::resp::{Args, Limits, Parsed, RequestParser};

use crate::loads::{answer, node_of, Load};

/// How far the clock moves per round: about what a busy worker needs for one.
const ROUND: Duration = Duration::from_micros(200);

/// Where all clients come from.
const PEER: ([u8; 4], u16) = ([127, 0, 0, 1], 50_000);

/// An engine under one load.
pub struct Bed {
    engine: Engine,
    now: Time,
    clients: Vec<Person>,
    nodes: Vec<Node>,
    /// By place of a backend: its node.
    node_at: Vec<usize>,
    load: Load,
    requests_per_round: u64,
    dirty_clients: Vec<Key<Client>>,
    dirty_backends: Vec<Key<Backend>>,
}

/// A client.
struct Person {
    key: Key<Client>,
    sends: Vec<u8>,
    /// What it must get in each round.
    gets: Vec<u8>,
}

/// A node: what it is sent in a round, once that is known, and what it answers.
#[derive(Default)]
struct Node {
    backend: Key<Backend>,
    is_sent: usize,
    says: Vec<u8>,
    knows: bool,
}

impl Bed {
    pub fn new(load: &Load) -> Self {
        let around = Surroundings {
            worker: 0,
            workers: 1,
            seed: 1,
            local_ip: None,
            started: Time::default(),
            port: 8088,
            pid: 1,
        };
        let mut engine = Engine::new(Arc::new(Config::default()), around, Time::default());
        engine.topology(&topology(load.nodes));
        let mut random = Random::new(7);
        let clients = (0..load.clients).map(|_| Person::new(&mut engine, load, &mut random)).collect();
        (0..load.idle).for_each(|_| _ = engine.client_opened(PEER.into()));
        let mut bed = Bed {
            engine,
            now: Time::default(),
            clients,
            nodes: (0..load.nodes).map(|_| Node::default()).collect(),
            node_at: vec![0; usize::from(load.nodes)],
            load: *load,
            requests_per_round: (load.clients * load.pipeline) as u64,
            dirty_clients: Vec::new(),
            dirty_backends: Vec::new(),
        };
        bed.learn();
        bed
    }

    /// Requests that one round answers.
    pub fn requests_per_round(&self) -> u64 {
        self.requests_per_round
    }

    /// All clients send their pipelines, the nodes answer, all clients get their replies.
    pub fn round(&mut self) {
        self.send();
        self.flush_backends();
        self.answer();
        let (got, due) = (self.flush_clients(|_, _| {}), self.clients.iter().map(|c| c.gets.len()).sum());
        assert_eq!(got, due, "replies are missing");
    }

    /// The first rounds: backends are opened, nodes find out what they are asked, and every reply is checked.
    fn learn(&mut self) {
        self.send();
        self.connect();
        self.flush_backends();
        self.answer();
        self.flush_clients(|_, _| {});
        self.send();
        self.flush_backends();
        self.nodes.iter_mut().for_each(|n| n.knows = true);
        self.answer();
        // Clients were opened before anything else, so their places are those of their keys.
        let due: Vec<Vec<u8>> = self.clients.iter().map(|c| c.gets.clone()).collect();
        let mut seen = 0;
        self.flush_clients(|key, output| {
            seen += 1;
            assert!(due[key.index()] == output, "wrong replies: {}", String::from_utf8_lossy(output));
        });
        assert_eq!(seen, due.len());
    }

    fn send(&mut self) {
        self.now = self.now.after(ROUND);
        self.engine.tick(self.now);
        for client in &self.clients {
            let taken = self.engine.client_bytes(client.key, &client.sends);
            assert_eq!(taken, (client.sends.len(), Intake::More));
        }
    }

    /// Opens what the engine wants opened and answers the greetings.
    fn connect(&mut self) {
        let mut effects = Vec::new();
        self.engine.take_effects(&mut effects);
        for effect in effects {
            let Effect::Connect(key, addr) = effect else { panic!("{effect:?}") };
            self.nodes[usize::from(addr.port())].backend = key;
            self.node_at[key.index()] = usize::from(addr.port());
            self.engine.backend_connected(key);
        }
        self.flush_backends();
        self.answer();
    }

    fn flush_backends(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty_backends);
        self.engine.take_dirty_backends(&mut dirty);
        for key in dirty.drain(..) {
            let output = self.engine.backend_output(key);
            self.nodes[self.node_at[key.index()]].hear(output, self.load.large);
            let len = output.len();
            self.engine.backend_written(key, len);
        }
        self.dirty_backends = dirty;
    }

    fn answer(&mut self) {
        let first = usize::from(self.load.first_comes_last);
        for i in 0..self.nodes.len() {
            let last = self.nodes.len();
            let node = &mut self.nodes[(first + i) % last];
            let consumed = self.engine.backend_bytes(node.backend, &node.says);
            assert_eq!(consumed, node.says.len());
            if !node.knows {
                node.says.clear();
            }
        }
    }

    /// Takes what the clients are sent; how many bytes that was.
    fn flush_clients(&mut self, mut look: impl FnMut(Key<Client>, &[u8])) -> usize {
        let mut dirty = std::mem::take(&mut self.dirty_clients);
        self.engine.take_dirty_clients(&mut dirty);
        let mut total = 0;
        for key in dirty.drain(..) {
            let output = self.engine.client_output(key);
            look(key, output);
            let len = output.len();
            total += len;
            self.engine.client_written(key, len);
        }
        self.dirty_clients = dirty;
        total
    }
}

impl Person {
    fn new(engine: &mut Engine, load: &Load, random: &mut Random) -> Self {
        let (sends, mut gets) = (load.requests(random), Vec::new());
        each_request(&sends, |args| answer(args, load.large, &mut gets));
        Person { key: engine.client_opened(PEER.into()), sends, gets }
    }
}

impl Node {
    /// Takes in a write of the proxy.
    fn hear(&mut self, bytes: &[u8], large: usize) {
        if self.knows {
            assert_eq!(bytes.len(), self.is_sent, "every round must be the same");
        } else {
            self.is_sent = bytes.len();
            each_request(bytes, |args| answer(args, large, &mut self.says));
        }
    }
}

fn each_request(mut bytes: &[u8], mut what: impl FnMut(&Args<'_>)) {
    let (mut parser, limits) = (RequestParser::new(), Limits::default());
    while !bytes.is_empty() {
        let Parsed::Request { len } = parser.parse(bytes, &limits) else { panic!("no whole request") };
        what(&Args::new(&bytes[..len], parser.spans()));
        bytes = &bytes[len..];
    }
}

/// Node `i` has port `i`.
fn topology(nodes: u16) -> SlotMap {
    let mut map = SlotMap::empty();
    for i in 0..nodes {
        let addr = SocketAddr::from(([127, 0, 0, 1], i));
        map.nodes.push(NodeInfo { id: String::new(), addr, name: addr.to_string() });
        map.shards.push(ShardInfo { primary: i, replicas: Vec::new() });
    }
    for (slot, shard) in map.slots.iter_mut().zip(0u16..).map(|(s, i)| (i, s)) {
        *shard = node_of(slot, nodes);
    }
    map
}
