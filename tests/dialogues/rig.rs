//! What the dialogues are written with: one engine without sockets, a virtual clock, clients and nodes by script.
//!
//! Everything here shares one `World`. After each step of a script the world carries out what the engine asks for, the
//! way the reactor does, until nothing is left to do, and checks the engine's invariants. When a test ends without a
//! failure, whatever was sent and not expected, or asked and not answered, fails it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use redis_cluster_proxy::base::time::Time;
use redis_cluster_proxy::cluster::{NodeInfo, ShardInfo, SlotMap, Software};
use redis_cluster_proxy::config::Config;
use redis_cluster_proxy::proxy::{Engine, Hint, Sizes, Surroundings};
use redis_cluster_proxy::resp::encode;

use crate::peers::{Client, Node, Role};
use crate::world::{Meeting, World};

/// The nodes of [`Rig::three`].
pub const A: &str = "127.0.0.1:7001";
pub const B: &str = "127.0.0.1:7002";
pub const C: &str = "127.0.0.1:7003";
/// Where a fourth node would be.
pub const D: &str = "127.0.0.1:7004";

/// Slots of three primaries, as `redis-cli --cluster create` deals them.
pub const SLOTS_A: RangeInclusive<u16> = 0..=5460;
pub const SLOTS_B: RangeInclusive<u16> = 5461..=10922;
pub const SLOTS_C: RangeInclusive<u16> = 10923..=16383;

/// One engine, its clock, and whoever talks to it.
pub struct Rig {
    world: Rc<RefCell<World>>,
    names: HashMap<String, String>,
    software: Software,
}

impl Rig {
    /// An engine with the default configuration but for what `change` does to it; no topology yet.
    pub fn with(change: impl FnOnce(&mut Config)) -> Rig {
        let mut config = Config::for_tests();
        change(&mut config);
        let now = Time::from_micros(1_000_000);
        let around = Surroundings {
            worker: 0,
            workers: 1,
            seed: 42,
            local_ip: Some("10.1.0.9".parse().unwrap()),
            started: now,
            port: 8088,
            pid: 1,
        };
        let password = config.password.clone();
        let engine = Engine::new(Arc::new(config), around, now);
        Rig {
            world: Rc::new(RefCell::new(World::new(engine, now, password))),
            names: HashMap::new(),
            software: Software::default(),
        }
    }

    /// Three primaries, [`A`], [`B`] and [`C`], no replicas.
    pub fn three() -> Rig {
        Rig::three_with(|_| {})
    }

    /// As [`Rig::three`] with another configuration.
    pub fn three_with(change: impl FnOnce(&mut Config)) -> Rig {
        let rig = Rig::with(change);
        rig.topology(&[(A, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[]);
        rig
    }

    /// As [`Rig::three`], where what is called large is small.
    pub fn streaming() -> Rig {
        Rig::streaming_with(|_| {})
    }

    /// As [`Rig::streaming`] with another configuration.
    pub fn streaming_with(change: impl FnOnce(&mut Config)) -> Rig {
        let rig = Rig::three_with(change);
        rig.world.borrow_mut().engine.set_sizes(Sizes {
            begin: 100,
            large: 1000,
            pace: 500,
            ..Sizes::default()
        });
        rig
    }

    /// What the cluster calls the node at an address, in topologies from now on; else it is called by its address.
    pub fn name(&mut self, addr: &str, name: &str) {
        self.names.insert(addr.to_owned(), name.to_owned());
    }

    /// What the nodes say in INFO that they run, in topologies from now on.
    pub fn runs(&mut self, info: &str) {
        self.software = Software::parse(info.as_bytes());
    }

    /// Publishes a topology: primaries with their slots (a primary may come twice), then replicas with their primary.
    pub fn topology(&self, primaries: &[(&str, RangeInclusive<u16>)], replicas: &[(&str, &str)]) {
        let mut map = SlotMap { software: self.software.clone(), ..SlotMap::empty() };
        for (addr, slots) in primaries {
            let shard = self.shard_of(&mut map, addr);
            for slot in slots.clone() {
                map.slots[usize::from(slot)] = shard;
            }
        }
        for (replica, primary) in replicas {
            let node = self.node_of(&mut map, replica);
            let shard = self.shard_of(&mut map, primary);
            map.shards[usize::from(shard)].replicas.push(node);
        }
        self.world.borrow_mut().topology(&map);
    }

    fn shard_of(&self, map: &mut SlotMap, primary: &str) -> u16 {
        let primary = self.node_of(map, primary);
        if let Some(at) = map.shards.iter().position(|s| s.primary == primary) {
            return at as u16;
        }
        map.shards.push(ShardInfo { primary, replicas: Vec::new() });
        map.shards.len() as u16 - 1
    }

    fn node_of(&self, map: &mut SlotMap, text: &str) -> u16 {
        let addr = at(text);
        if let Some(at) = map.nodes.iter().position(|n| n.addr == addr) {
            return at as u16;
        }
        let name = self.names.get(text).cloned().unwrap_or_else(|| text.to_owned());
        map.nodes.push(NodeInfo { id: format!("{:040x}", addr.port()), addr, name });
        map.nodes.len() as u16 - 1
    }

    /// A client that has just connected.
    pub fn client(&self) -> Client {
        Client::new(&self.world)
    }

    /// The node at `addr` on the connection that RESP2 clients of primaries share.
    pub fn node(&self, addr: &str) -> Node {
        Node::new(&self.world, at(addr), Role::Plain)
    }

    /// The node at `addr` on the connection that speaks RESP3.
    pub fn resp3(&self, addr: &str) -> Node {
        Node::new(&self.world, at(addr), Role::Resp3)
    }

    /// The node at `addr` on the connection that has sent READONLY.
    pub fn replica(&self, addr: &str) -> Node {
        Node::new(&self.world, at(addr), Role::Replica)
    }

    /// The node at `addr` on the newest connection that was opened for one client.
    pub fn dedicated(&self, addr: &str) -> Node {
        Node::new(&self.world, at(addr), Role::Dedicated)
    }

    /// From now on connects to `addr` wait for the script ([`Node::accepts`], [`Node::refuses_connect`]), and so do
    /// greetings.
    pub fn by_hand(&self, addr: &str) {
        self.world.borrow_mut().meet(at(addr), Meeting::ByHand);
    }

    /// From now on connects to `addr` fail at once.
    pub fn refuse_connects(&self, addr: &str) {
        self.world.borrow_mut().meet(at(addr), Meeting::Refuse);
    }

    /// From now on connects to `addr` succeed and greetings are answered, as at first.
    pub fn accept_connects(&self, addr: &str) {
        self.world.borrow_mut().meet(at(addr), Meeting::Accept);
    }

    /// How many connects to `addr` there were so far.
    pub fn connects(&self, addr: &str) -> usize {
        let addr = at(addr);
        self.world.borrow().connects.iter().filter(|(a, _)| *a == addr).count()
    }

    /// When the connects to `addr` were, in milliseconds of the rig's clock.
    pub fn connect_times_ms(&self, addr: &str) -> Vec<u64> {
        let addr = at(addr);
        self.world.borrow().connects.iter().filter(|(a, _)| *a == addr).map(|(_, t)| t.as_millis()).collect()
    }

    /// How many connections to `addr` are open, those being connected among them.
    pub fn open(&self, addr: &str) -> usize {
        let addr = at(addr);
        self.world.borrow().conns.iter().filter(|c| c.addr == addr && !c.gone).count()
    }

    /// The hints at a changed topology since this was asked last.
    pub fn hints(&self) -> Vec<Hint> {
        std::mem::take(&mut self.world.borrow_mut().hints)
    }

    /// Lets time pass; timers fire when they are due.
    pub fn advance_ms(&self, ms: u64) {
        self.world.borrow_mut().advance(Duration::from_millis(ms));
    }

    /// As [`Rig::advance_ms`], but the engine is told of all of it at once.
    pub fn oversleep_ms(&self, ms: u64) {
        self.world.borrow_mut().oversleep(Duration::from_millis(ms));
    }

    /// The time on the rig's clock.
    pub fn now_ms(&self) -> u64 {
        self.world.borrow().now.as_millis()
    }

    /// How often the engine was told the time.
    pub fn ticks(&self) -> u64 {
        self.world.borrow().ticks
    }

    /// From now on nothing happens by itself: the script says when a turn of the event loop is due.
    pub fn turn_by_turn(&self) {
        self.world.borrow_mut().stepwise = true;
    }

    /// One turn of the event loop.
    pub fn turn(&self) {
        self.world.borrow_mut().turn();
    }

    /// Whether the engine has something to write or to do.
    pub fn has_output(&self) -> bool {
        self.world.borrow().engine.has_output()
    }

    /// Turns happen by themselves again.
    pub fn go_on(&self) {
        let mut world = self.world.borrow_mut();
        world.stepwise = false;
        world.settle();
    }

    /// The orderly stop begins.
    pub fn drain(&self) {
        let mut world = self.world.borrow_mut();
        world.engine.drain();
        world.settle();
    }

    /// Whether the orderly stop is complete.
    pub fn is_drained(&self) -> bool {
        self.world.borrow().engine.is_drained()
    }

    /// What the engine counted.
    pub fn counters(&self) -> redis_cluster_proxy::stats::Counters {
        self.world.borrow().engine.counters()
    }

    /// Requests may be left without an answer when the test ends.
    pub fn leave_unfinished(&self) {
        self.world.borrow_mut().unfinished = true;
    }
}

/// An address.
pub fn at(addr: &str) -> SocketAddr {
    addr.parse().unwrap()
}

/// A command as a client or the proxy writes it.
pub fn cmd<T: AsRef<[u8]>>(args: &[T]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::request(&mut out, args);
    out
}

/// A bulk string.
pub fn bulk(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::bulk(&mut out, body);
    out
}

/// `n` keys whose slots `wanted` holds, each in another slot.
pub fn keys_in(wanted: &RangeInclusive<u16>, n: usize) -> Vec<String> {
    let mut taken = Vec::new();
    let fits = |key: &String| {
        let slot = redis_cluster_proxy::command::slot(key.as_bytes());
        let fresh = wanted.contains(&slot) && !taken.contains(&slot);
        if fresh {
            taken.push(slot);
        }
        fresh
    };
    (0..).map(|i| format!("key{i}")).filter(fits).take(n).collect()
}
