//! An engine before a cluster that is played by the test, node by node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redis_cluster_proxy::base::arena::Key;
use redis_cluster_proxy::base::time::Time;
use redis_cluster_proxy::cluster::{NodeInfo, ShardInfo, SlotMap, SLOTS};
use redis_cluster_proxy::config::Config;
use redis_cluster_proxy::proxy::{Backend, Client, Effect, Engine, Surroundings};

/// How many primaries there are; each owns an equal share of the slots.
pub const NODES: usize = 3;

/// An engine, its nodes and its clients.
pub struct Rig {
    pub engine: Engine,
    /// Clients that the engine has closed.
    pub closed: Vec<Key<Client>>,
    now: Time,
    backends: Vec<Connection>,
    dead: Vec<usize>,
    unread: Vec<(Key<Client>, Vec<u8>)>,
}

/// A backend of the engine.
struct Connection {
    key: Key<Backend>,
    node: usize,
    listener: bool,
    /// What was written to it and not looked at.
    written: String,
    /// What was said to it and not confirmed.
    open: Vec<String>,
}

impl Rig {
    pub fn new(config: Config) -> Rig {
        let now = Time::from_micros(1_000_000);
        let around =
            Surroundings { worker: 0, workers: 1, seed: 1, local_ip: None, started: now, port: 1, pid: 1 };
        let engine = Engine::new(Arc::new(config), around, now);
        let (closed, backends, dead, unread) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut rig = Rig { engine, closed, now, backends, dead, unread };
        rig.topology_without(NODES);
        rig
    }

    /// Publishes the topology; the node of this number, if there is one, is gone and the next one has its slots.
    pub fn topology_without(&mut self, gone: usize) {
        self.engine.topology(&map_without(gone));
        self.turn();
    }

    pub fn client(&mut self) -> Key<Client> {
        self.engine.client_opened(SocketAddr::from(([127, 0, 0, 1], 9)))
    }

    /// A client whose subscription is confirmed.
    pub fn subscriber(&mut self, words: &str) -> Key<Client> {
        let client = self.client();
        self.send(client, words);
        self.confirm_all();
        client
    }

    /// A client sends one command.
    pub fn send(&mut self, client: Key<Client>, words: &str) {
        self.send_all(client, &[words]);
    }

    /// A client sends several commands in one go.
    pub fn send_all(&mut self, client: Key<Client>, commands: &[&str]) {
        let bytes: String = commands.iter().map(|c| request(&c.split(' ').collect::<Vec<_>>())).collect();
        self.hand_in(client, bytes.into_bytes());
    }

    /// Clients whose reading was stopped are read again, where the engine wants it.
    pub fn resume(&mut self) {
        self.turn();
        let mut ready = Vec::new();
        self.engine.take_ready(&mut ready);
        for key in ready {
            if let Some(at) = self.unread.iter().position(|(k, _)| *k == key) {
                let (_, bytes) = self.unread.remove(at);
                self.hand_in(key, bytes);
            }
        }
    }

    /// What a client gets now, line ends shown as `|`.
    pub fn got(&mut self, client: Key<Client>) -> String {
        self.turn();
        let mut all = String::new();
        loop {
            let output = String::from_utf8(self.engine.client_output(client).to_vec()).unwrap();
            self.engine.client_written(client, output.len());
            if output.is_empty() {
                return all.replace("\r\n", "|");
            }
            all.push_str(&output);
        }
    }

    /// The listener of a node.
    pub fn listener(&self, node: usize) -> Option<Key<Backend>> {
        self.backends.iter().find(|b| b.node == node && b.listener).map(|b| b.key)
    }

    /// The nodes that have a listener.
    pub fn listeners(&mut self) -> Vec<usize> {
        self.confirm_all();
        let mut nodes: Vec<usize> = self.backends.iter().filter(|b| b.listener).map(|b| b.node).collect();
        nodes.sort_unstable();
        nodes
    }

    /// The only node that has a listener.
    pub fn only_listener(&mut self) -> usize {
        self.turn();
        let nodes: Vec<usize> = self.backends.iter().filter(|b| b.listener).map(|b| b.node).collect();
        assert_eq!(nodes.len(), 1, "{nodes:?}");
        nodes[0]
    }

    pub fn is_connected(&self, node: usize) -> bool {
        self.backends.iter().any(|b| b.node == node)
    }

    /// What was said to a node's listener since the last look.
    pub fn said(&mut self, node: usize) -> Vec<String> {
        self.said_to(node, true)
    }

    /// What was said to a node's shared backend since the last look.
    pub fn said_shared(&mut self, node: usize) -> Vec<String> {
        self.said_to(node, false)
    }

    /// A node confirms one subscription or its end, or that it tells of changes.
    pub fn confirm(&mut self, node: usize, verb: &str, name: &str) {
        if verb == "CLIENT" {
            return self.receive(node, b"+OK\r\n");
        }
        let bytes = format!(">3\r\n${}\r\n{verb}\r\n${}\r\n{name}\r\n:1\r\n", verb.len(), name.len());
        self.receive(node, bytes.as_bytes());
    }

    /// All nodes confirm everything.
    pub fn confirm_all(&mut self) {
        self.turn();
        for node in 0..NODES {
            if self.listener(node).is_none() {
                continue;
            }
            for command in self.said(node) {
                if let Some((verb, name)) = command.split_once(' ') {
                    self.confirm(node, verb, name);
                }
            }
        }
        self.turn();
    }

    /// A node's listener receives a message.
    pub fn message(&mut self, node: usize, words: &str) {
        let frame = request(&words.split(' ').collect::<Vec<_>>()).replacen('*', ">", 1);
        self.receive(node, frame.as_bytes());
    }

    /// A node answers the subscription to a sharded channel with MOVED.
    pub fn moved(&mut self, node: usize, channel: &str, to: usize) {
        let slot = redis_cluster_proxy::command::slot(channel.as_bytes());
        self.receive(node, format!("-MOVED {slot} 127.0.0.1:{}\r\n", port(to)).as_bytes());
    }

    /// A node tells of changes of keys.
    pub fn changed(&mut self, node: usize, keys: &str) {
        let keys = request(&keys.split(' ').collect::<Vec<_>>());
        self.receive(node, format!(">2\r\n$10\r\ninvalidate\r\n{keys}").as_bytes());
    }

    /// A node tells that it was emptied.
    pub fn emptied(&mut self, node: usize) {
        self.receive(node, b">2\r\n$10\r\ninvalidate\r\n_\r\n");
    }

    /// A client that speaks RESP3 and is told of changes.
    pub fn tracker(&mut self, options: &str) -> Key<Client> {
        let client = self.client();
        self.send(client, "HELLO 3");
        self.got(client);
        self.send(client, &format!("CLIENT TRACKING ON{options}"));
        self.confirm_all();
        assert_eq!(self.got(client), "+OK|");
        client
    }

    /// A node's listener receives bytes.
    pub fn receive(&mut self, node: usize, bytes: &[u8]) {
        self.turn();
        let key = self.listener(node).expect("a listener");
        assert_eq!(self.engine.backend_bytes(key, bytes), bytes.len());
        self.turn();
    }

    /// The only shared backend receives bytes.
    pub fn answer_shared(&mut self, text: &str) {
        self.turn();
        let waits = |b: &&Connection| !b.listener && !b.open.is_empty();
        let key = self.backends.iter().find(waits).expect("a shared backend that was asked").key;
        assert_eq!(self.engine.backend_bytes(key, text.as_bytes()), text.len());
        self.backends.iter_mut().for_each(|b| b.open.clear());
        self.turn();
    }

    /// A node closes its connections and refuses new ones.
    pub fn kill(&mut self, node: usize) {
        self.turn();
        self.dead.push(node);
        let keys: Vec<Key<Backend>> =
            self.backends.iter().filter(|b| b.node == node).map(|b| b.key).collect();
        keys.into_iter().for_each(|k| self.engine.backend_gone(k, "reset".into()));
        self.turn();
    }

    /// A node accepts connections again.
    pub fn revive(&mut self, node: usize) {
        self.dead.retain(|n| *n != node);
    }

    /// Lets time pass in small steps.
    pub fn wait(&mut self, time: Duration) {
        let end = self.now.after(time);
        while self.now < end {
            self.now = self.now.after(Duration::from_millis(1)).min(end);
            self.engine.tick(self.now);
            self.turn();
        }
    }

    /// As [`Rig::wait`]; listeners answer PING and confirm what they are told.
    pub fn wait_with_signs_of_life(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / 100 {
            self.wait(Duration::from_millis(100));
            for node in 0..NODES {
                if self.listener(node).is_none() {
                    continue;
                }
                for command in self.said(node) {
                    match command.split_once(' ') {
                        Some((verb, name)) => self.confirm(node, verb, name),
                        None => self.receive(node, b"+PONG\r\n"),
                    }
                }
            }
        }
    }

    fn said_to(&mut self, node: usize, listener: bool) -> Vec<String> {
        self.turn();
        let backend = self.backends.iter_mut().find(|b| b.node == node && b.listener == listener);
        let text = std::mem::take(&mut backend.expect("a backend").written);
        let words = text.split("\r\n").filter(|l| !l.starts_with(['$']));
        let mut commands: Vec<Vec<&str>> = Vec::new();
        for word in words.filter(|w| !w.is_empty()) {
            match word.strip_prefix('*').is_some_and(|n| n.parse::<u32>().is_ok()) {
                true => commands.push(Vec::new()),
                false => commands.last_mut().unwrap().push(word),
            }
        }
        commands.into_iter().map(|c| c.join(" ")).collect()
    }

    fn hand_in(&mut self, client: Key<Client>, bytes: Vec<u8>) {
        let taken = self.engine.client_bytes(client, &bytes).0;
        if taken < bytes.len() {
            self.unread.push((client, bytes[taken..].to_vec()));
        }
        self.turn();
    }

    /// Carries out what the engine wants and writes to nodes, until there is nothing left to do.
    fn turn(&mut self) {
        loop {
            let mut effects = Vec::new();
            self.engine.take_effects(&mut effects);
            let mut dirty = Vec::new();
            self.engine.take_dirty_backends(&mut dirty);
            if effects.is_empty() && dirty.is_empty() {
                break;
            }
            effects.into_iter().for_each(|e| self.carry_out(e));
            dirty.into_iter().for_each(|k| self.write(k));
        }
        let mut dirty = Vec::new();
        self.engine.take_dirty_clients(&mut dirty);
        // `got` writes; whoever is not looked at does not read.
        dirty.into_iter().for_each(|k| self.engine.client_written(k, 0));
        self.engine.check_invariants();
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Connect(key, addr) => self.connect(key, usize::from(addr.port() - port(0))),
            Effect::CloseBackend(key) | Effect::ResetBackend(key) => self.backends.retain(|b| b.key != key),
            Effect::CloseClient(key) => self.closed.push(key),
            Effect::Refresh(_) | Effect::Ask(..) | Effect::Show(..) => {}
        }
    }

    fn connect(&mut self, key: Key<Backend>, node: usize) {
        if self.dead.contains(&node) {
            return self.engine.backend_gone(key, "refused".into());
        }
        self.engine.backend_connected(key);
        let greeting = String::from_utf8(self.engine.backend_output(key).to_vec()).unwrap();
        self.engine.backend_written(key, greeting.len());
        let resp3 = greeting.contains("HELLO");
        let (written, open) = (String::new(), Vec::new());
        self.backends.push(Connection { key, node, listener: false, written, open });
        self.engine.backend_bytes(key, if resp3 { b"%0\r\n+OK\r\n" } else { b"+OK\r\n" });
    }

    fn write(&mut self, key: Key<Backend>) {
        let output = String::from_utf8(self.engine.backend_output(key).to_vec()).unwrap();
        self.engine.backend_written(key, output.len());
        if let Some(b) = self.backends.iter_mut().find(|b| b.key == key) {
            // Nobody else says this to a node, and clients in these tests use upper case.
            b.listener |= output.contains("subscribe\r\n") || output.contains("TRACKING\r\n");
            b.written.push_str(&output);
            b.open.extend((!output.is_empty()).then_some(output));
        }
    }
}

/// A command as clients send it.
pub fn request(args: &[&str]) -> String {
    let mut text = format!("*{}\r\n", args.len());
    args.iter().for_each(|a| text.push_str(&format!("${}\r\n{a}\r\n", a.len())));
    text
}

fn port(node: usize) -> u16 {
    7000 + node as u16
}

fn map_without(gone: usize) -> SlotMap {
    let mut map = SlotMap::empty();
    let present: Vec<usize> = (0..NODES).filter(|n| *n != gone).collect();
    for (i, node) in present.iter().enumerate() {
        let addr = SocketAddr::from(([127, 0, 0, 1], port(*node)));
        map.nodes.push(NodeInfo { id: node.to_string(), addr, name: addr.to_string() });
        map.shards.push(ShardInfo { primary: i as u16, replicas: Vec::new() });
    }
    for (slot, shard) in map.slots.iter_mut().enumerate() {
        let owner = slot * NODES / SLOTS;
        let heir = if owner == gone { (owner + 1) % NODES } else { owner };
        *shard = present.iter().position(|n| *n == heir).unwrap() as u16;
    }
    map
}
