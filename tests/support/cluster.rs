//! A real cluster, made from nothing and taken down with the test.

use std::path::Path;
use std::time::Duration;

use super::frame;
use super::keys::SLOTS;
use super::nodes::{parse, NodeRow};
use super::ports::free_port;
use super::raw::RawClient;
use super::relay::Relay;
use super::server::{binary, Place, Server};
use super::temp::TempDir;
use super::wait::wait_until;

/// How long a change may take to reach all nodes.
const SETTLE: Duration = Duration::from_secs(60);

/// Options of every node.
const CLUSTER_OPTIONS: [&str; 4] = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];

/// A running cluster; its nodes are in the order in which they were made, primaries first.
#[derive(Debug)]
pub struct Cluster {
    /// All nodes, whatever role they have by now.
    pub nodes: Vec<Server>,
    dir: TempDir,
}

impl Cluster {
    /// Three primaries with a replica each.
    pub fn start() -> Cluster {
        Self::with(3, 3, &[])
    }

    /// `primaries` nodes with equal shares of the slots, `replicas` nodes spread over them, further server options.
    pub fn with(primaries: usize, replicas: usize, options: &[&str]) -> Cluster {
        Self::form(Self::launch(&binary(), primaries + replicas, options), primaries)
    }

    /// Three primaries with a replica each, whose append-only files tell what they have executed: each reply is sent
    /// after its command was written there.
    pub fn remembering(options: &[&str]) -> Cluster {
        let file = ["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"];
        let all: Vec<&str> = file.into_iter().chain(options.iter().copied()).collect();
        Self::form(Self::launch_in(TempDir::in_memory("cluster"), &binary(), 6, &all), 3)
    }

    /// As [`Cluster::remembering`], each node on a host of its own.
    pub fn on_hosts(place: impl Fn(usize) -> Place) -> Cluster {
        let dir = TempDir::in_memory("cluster");
        let cluster = Self::launch_each(dir, &binary(), 6, |i, _| {
            let place = place(i);
            let file =
                ["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"];
            let all = file.into_iter().chain(["--cluster-announce-ip", place.host.as_str()]);
            (all.map(String::from).collect(), place)
        });
        Self::form(cluster, 3)
    }

    /// Three primaries; clients reach the first one by a relay.
    pub fn behind_relay() -> (Cluster, Relay) {
        let port = free_port();
        let bus = |own: u16| (own + 10_000).to_string();
        let cluster = Self::launch_each(TempDir::new("cluster"), &binary(), 3, |i, own| match i {
            0 => {
                let announced =
                    ["--cluster-announce-port", &port.to_string(), "--cluster-announce-bus-port", &bus(own)];
                (announced.map(String::from).to_vec(), Place::here())
            }
            _ => (Vec::new(), Place::here()),
        });
        let relay = Relay::start(port, cluster.nodes[0].port);
        (Self::form(cluster, 3), relay)
    }

    /// As [`Cluster::with`], of a server of its own and without replicas.
    pub fn with_server(program: &Path, primaries: usize, options: &[&str]) -> Cluster {
        Self::form(Self::launch(&program.to_string_lossy(), primaries, options), primaries)
    }

    fn form(cluster: Cluster, primaries: usize) -> Cluster {
        cluster.share_out_slots(primaries);
        cluster.meet();
        cluster.attach_replicas(primaries);
        cluster.wait_ok();
        cluster
    }

    /// Adds a node without slots that all others know; returns its number.
    pub fn add_node(&mut self) -> usize {
        let i = self.nodes.len();
        let node_dir = self.dir.path().join(format!("node-{i}"));
        std::fs::create_dir_all(&node_dir).unwrap();
        let node = Server::start(&binary(), free_port(), &node_dir, &CLUSTER_OPTIONS);
        node.wait_ready();
        node.ok(&format!("CLUSTER SET-CONFIG-EPOCH {}", 100 + i));
        self.nodes.push(node);
        self.meet();
        self.wait_ok();
        i
    }

    /// Takes the last node, which owns nothing, out of the cluster and ends it.
    pub fn remove_node(&mut self, i: usize) {
        let id = self.id(i);
        let mut gone = self.nodes.remove(i);
        gone.kill();
        self.nodes.iter().for_each(|n| n.ok(&format!("CLUSTER FORGET {id}")));
        self.wait_ok();
    }

    /// Tells all nodes where the others are now.
    pub fn introduce(&self) {
        self.meet();
    }

    /// A connection to node `i`.
    pub fn client(&self, i: usize) -> RawClient {
        self.nodes[i].client()
    }

    /// The addresses of all nodes as `-startup-nodes` takes them.
    pub fn startup_nodes(&self) -> String {
        self.nodes.iter().map(|n| format!("{}:{}", n.host, n.port)).collect::<Vec<_>>().join(",")
    }

    /// The cluster as the first node that answers sees it.
    pub fn rows(&self) -> Vec<NodeRow> {
        let text = self.nodes.iter().find_map(|n| n.try_text("CLUSTER NODES"));
        parse(&text.expect("a live node"))
    }

    /// The nodes that own slots now.
    pub fn primaries(&self) -> Vec<usize> {
        let rows = self.rows();
        let owns = |port| rows.iter().any(|r| r.port == port && r.is_live_primary && !r.slots.is_empty());
        (0..self.nodes.len()).filter(|i| owns(self.nodes[*i].port)).collect()
    }

    /// The live replicas of node `i`.
    pub fn replicas_of(&self, i: usize) -> Vec<usize> {
        let rows = self.rows();
        let id = rows.iter().find(|r| r.port == self.nodes[i].port).map(|r| r.id.clone());
        let ports: Vec<u16> =
            rows.iter().filter(|r| !r.has_failed && r.primary == id).map(|r| r.port).collect();
        (0..self.nodes.len()).filter(|n| ports.contains(&self.nodes[*n].port)).collect()
    }

    /// The node that owns a slot.
    pub fn owner(&self, slot: u16) -> usize {
        let rows = self.rows();
        let port = rows.iter().find(|r| r.is_live_primary && r.owns(slot)).map(|r| r.port);
        self.nodes
            .iter()
            .position(|n| Some(n.port) == port)
            .unwrap_or_else(|| panic!("no owner of slot {slot}"))
    }

    /// Waits until every live node sees a whole cluster in which every replica follows its primary.
    pub fn wait_ok(&self) {
        wait_until("cluster is whole", SETTLE, || {
            self.live()
                .all(|n| n.info_of_cluster("cluster_state").as_deref() == Some("ok") && self.is_linked(n))
        });
        self.wait_agreed();
        wait_until("all nodes list all replicas", SETTLE, || self.live().all(|n| self.lists_replicas(n)));
    }

    /// Waits until all live nodes tell the same of every other one: its role, its primary, its slots.
    pub fn wait_agreed(&self) {
        wait_until("nodes agree", SETTLE, || {
            let texts = self.nodes.iter().filter_map(|n| n.try_text("CLUSTER NODES"));
            let views: Vec<Vec<NodeRow>> = texts.map(|t| sorted(&t)).collect();
            views.windows(2).all(|w| is_same_view(&w[0], &w[1]))
        });
    }

    /// Makes replica `i` the primary of its shard while both live; returns when all nodes know it.
    pub fn failover(&self, i: usize) {
        self.take_over(i);
        self.wait_ok();
    }

    /// Makes replica `i` the primary of its shard while both live; returns when both say so. The old primary holds up
    /// writes until then.
    pub fn take_over(&self, i: usize) {
        let port = self.nodes[i].info("replication", "master_port").expect("a replica");
        let old = self.nodes.iter().find(|n| n.port.to_string() == port).expect("its primary");
        self.nodes[i].ok("CLUSTER FAILOVER");
        let says = |n: &Server, role: &str| n.info("replication", "role").as_deref() == Some(role);
        wait_until("failover", SETTLE, || says(&self.nodes[i], "master") && says(old, "slave"));
    }

    /// Waits until another node than `dead` owns the slot.
    pub fn wait_promoted(&self, slot: u16, dead: usize) {
        wait_until("a replica is promoted", SETTLE, || {
            let rows = self
                .nodes
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != dead)
                .find_map(|(_, n)| n.try_text("CLUSTER NODES"));
            rows.is_some_and(|t| {
                parse(&t).iter().any(|r| r.is_live_primary && r.owns(slot) && r.port != self.nodes[dead].port)
            })
        });
    }

    /// Moves slots to node `to` one after the other, keys included, as `redis-cli --cluster reshard` does.
    pub fn reshard(&self, slots: impl IntoIterator<Item = u16>, to: usize) {
        for slot in slots {
            let from = self.owner(slot);
            if from != to {
                self.move_slot(slot, from, to);
            }
        }
        self.wait_agreed();
    }

    /// Opens a slot for migration without moving a key: the owner answers ASK for keys it does not have.
    pub fn open_slot(&self, slot: u16, from: usize, to: usize) {
        self.nodes[to].ok(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", self.id(from)));
        self.nodes[from].ok(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", self.id(to)));
    }

    /// Moves at most `count` keys of an open slot; returns how many were there.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize, count: usize) -> usize {
        let mut source = self.client(from);
        let reply = source.line(&format!("CLUSTER GETKEYSINSLOT {slot} {count}"));
        let keys = frame::items(&reply);
        if keys.is_empty() {
            return 0;
        }
        let (host, port) = (self.nodes[to].host.as_bytes(), self.nodes[to].port.to_string());
        let mut request: Vec<&[u8]> = [b"MIGRATE", host, port.as_bytes(), b"", b"0", b"5000"].to_vec();
        request.extend([&b"REPLACE"[..], b"KEYS"]);
        request.extend(keys.iter().map(|k| frame::body(k)));
        let reply = source.call(&request);
        assert!(!frame::is_error(&reply), "MIGRATE: {}", frame::show(&reply));
        keys.len()
    }

    /// Gives an open slot to its new owner: first there, then where it was, then on the other primaries.
    pub fn close_slot(&self, slot: u16, from: usize, to: usize) {
        let id = self.id(to);
        let others = self.primaries().into_iter().filter(|i| *i != from && *i != to);
        for i in [to, from].into_iter().chain(others) {
            let reply = self.nodes[i].text(&format!("CLUSTER SETSLOT {slot} NODE {id}"));
            // A node that has given its last slot away becomes a replica when it hears so, which may be before this.
            let left = i == from && reply.starts_with("ERR Please use SETSLOT only with masters");
            assert!(left || reply == "OK", "slot {slot} for node {to} on node {i}: {reply}");
        }
    }

    /// The id of node `i`.
    pub fn id(&self, i: usize) -> String {
        self.nodes[i].text("CLUSTER MYID")
    }

    /// How often all nodes in `which` together have executed a command.
    pub fn calls_of(&self, which: &[usize], command: &str) -> u64 {
        which.iter().map(|i| self.nodes[*i].calls_of(command)).sum()
    }

    fn launch(program: &str, count: usize, options: &[&str]) -> Cluster {
        Self::launch_in(TempDir::new("cluster"), program, count, options)
    }

    fn launch_in(dir: TempDir, program: &str, count: usize, options: &[&str]) -> Cluster {
        let options: Vec<String> = options.iter().map(|o| o.to_string()).collect();
        Self::launch_each(dir, program, count, |_, _| (options.clone(), Place::here()))
    }

    /// `options` are those of a node by its number and its port, and where it runs.
    fn launch_each(
        dir: TempDir,
        program: &str,
        count: usize,
        options: impl Fn(usize, u16) -> (Vec<String>, Place),
    ) -> Cluster {
        let start = |i: usize| {
            let node_dir = dir.path().join(format!("node-{i}"));
            std::fs::create_dir_all(&node_dir).unwrap();
            let port = free_port();
            let (own, place) = options(i, port);
            let all: Vec<&str> = CLUSTER_OPTIONS.into_iter().chain(own.iter().map(String::as_str)).collect();
            Server::start_at(&place, program, port, &node_dir, &all)
        };
        let nodes: Vec<Server> = (0..count).map(start).collect();
        nodes.iter().for_each(Server::wait_ready);
        Cluster { nodes, dir }
    }

    fn share_out_slots(&self, primaries: usize) {
        let share = |i: usize| i * usize::from(SLOTS) / primaries;
        for i in 0..primaries {
            self.nodes[i].ok(&format!("CLUSTER ADDSLOTSRANGE {} {}", share(i), share(i + 1) - 1));
            self.nodes[i].ok(&format!("CLUSTER SET-CONFIG-EPOCH {}", i + 1));
        }
    }

    /// Every node is told of every other: quicker than waiting for gossip.
    fn meet(&self) {
        for (i, node) in self.nodes.iter().enumerate() {
            for other in &self.nodes[i + 1..] {
                node.ok(&format!("CLUSTER MEET {} {}", other.host, other.port));
            }
        }
        wait_until("all nodes know each other", SETTLE, || {
            self.nodes.iter().all(|n| {
                let rows = n.try_text("CLUSTER NODES").map(|t| parse(&t)).unwrap_or_default();
                rows.len() == self.nodes.len() && rows.iter().all(|r| !r.has_failed)
            })
        });
    }

    fn attach_replicas(&self, primaries: usize) {
        for i in primaries..self.nodes.len() {
            self.nodes[i].ok(&format!("CLUSTER REPLICATE {}", self.id(i % primaries)));
        }
    }

    fn live(&self) -> impl Iterator<Item = &Server> {
        self.nodes.iter().filter(|n| n.try_client().is_some())
    }

    /// Whether `CLUSTER SLOTS` of a node names every live replica: it leaves out those of which the node has not yet
    /// heard that they have received something.
    fn lists_replicas(&self, node: &Server) -> bool {
        let Some(text) = node.try_text("CLUSTER NODES") else { return false };
        let slots = frame::show_all(&node.client().line("CLUSTER SLOTS"));
        parse(&text)
            .iter()
            .filter(|r| r.primary.is_some() && !r.has_failed)
            .all(|r| slots.contains(&format!(":{}\\r", r.port)))
    }

    fn is_linked(&self, node: &Server) -> bool {
        match node.info("replication", "role").as_deref() {
            Some("slave") => node.info("replication", "master_link_status").as_deref() == Some("up"),
            role => role == Some("master"),
        }
    }

    fn move_slot(&self, slot: u16, from: usize, to: usize) {
        self.open_slot(slot, from, to);
        while self.move_keys(slot, from, to, 50) > 0 {}
        self.close_slot(slot, from, to);
    }
}

/// The rows of nodes that are there, by port.
fn sorted(text: &str) -> Vec<NodeRow> {
    let mut rows: Vec<NodeRow> = parse(text).into_iter().filter(|r| !r.has_failed).collect();
    rows.sort_by_key(|r| r.port);
    rows
}

fn is_same_view(a: &[NodeRow], b: &[NodeRow]) -> bool {
    let what = |r: &NodeRow| (r.port, r.primary.clone(), r.slots.clone());
    a.iter().map(what).eq(b.iter().map(what))
}

impl Server {
    /// One field of `CLUSTER INFO`.
    fn info_of_cluster(&self, field: &str) -> Option<String> {
        let text = self.try_text("CLUSTER INFO")?;
        let line = text.lines().find(|l| l.split(':').next() == Some(field))?;
        line.split_once(':').map(|(_, v)| v.trim().to_string())
    }
}
