//! The nodes that this worker knows, and which of them serves which slot.

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use super::backend::{Backend, Kind};
use super::circuit::Circuit;
use super::engine::Alarm;
use crate::base::arena::{Arena, Key};
use crate::base::random::Random;
use crate::base::time::Time;
use crate::base::wheel::TimerKey;
use crate::cluster::{SlotMap, NO_SHARD, SLOTS};

/// First and longest pause after a failed connect.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(1000);

/// One server of the cluster, with this worker's shared backends to it.
#[derive(Debug)]
pub struct Node {
    /// Where it is reached.
    pub addr: SocketAddr,
    /// `host:port` as the cluster names it.
    pub name: String,
    /// Shared backends by [`Kind::index`]; [`Key::NONE`] where there is none.
    pub shared: [Key<Backend>; Kind::COUNT],
    /// Shared backends of other databases than 0.
    pub others: Vec<(Kind, Key<Backend>)>,
    /// Dedicated backends that are lent to nobody.
    pub idle: Vec<Key<Backend>>,
    /// How many dedicated backends there are, lent ones too.
    pub dedicated: usize,
    /// Shared backends without work, for when one is detached.
    pub spares: Vec<Key<Backend>>,
    /// Whether the present topology lists it.
    pub listed: bool,
    /// Whether it owned slots before the present topology.
    owned: bool,
    /// Failed connects in a row.
    failures: u32,
    /// No new connect before this time.
    closed_until: Time,
    /// Whether it is worth asking.
    pub circuit: Circuit,
    /// When its open circuit is probed.
    pub probe: TimerKey<Alarm>,
}

impl Node {
    fn new(addr: SocketAddr, name: String) -> Self {
        let shared = [Key::NONE; Kind::COUNT];
        Node {
            addr,
            name,
            shared,
            others: Vec::new(),
            idle: Vec::new(),
            dedicated: 0,
            spares: Vec::new(),
            listed: false,
            owned: false,
            failures: 0,
            closed_until: Time::default(),
            circuit: Circuit::default(),
            probe: Key::NONE,
        }
    }

    /// Its shared backend of a kind; [`Key::NONE`] where there is none.
    #[inline]
    pub fn shared_of(&self, kind: Kind) -> Key<Backend> {
        match kind.db {
            0 => self.shared[kind.index()],
            _ => self.others.iter().find(|(k, _)| *k == kind).map_or(Key::NONE, |(_, key)| *key),
        }
    }

    /// How long until a connect may be tried; `None` when it may now.
    pub fn pause(&self, now: Time) -> Option<Duration> {
        (self.closed_until > now).then(|| self.closed_until.since(now))
    }

    /// Whether it may be connected now and is worth it.
    pub fn is_usable(&self, now: Time) -> bool {
        self.pause(now).is_none() && !self.circuit.is_open()
    }

    /// A connect or a handshake failed: the next one waits longer, with jitter so that workers do not march in step.
    pub fn failed(&mut self, now: Time, random: &mut Random) {
        let full = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        let half = full / 2;
        self.failures += 1;
        self.closed_until =
            now.after(half + Duration::from_micros(random.below(half.as_micros() as u64 + 1)));
    }

    /// Whether the last connect or handshake failed.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// A handshake succeeded.
    pub fn succeeded(&mut self) {
        if self.failures > 0 {
            log::info!("node {} found again", self.name);
        }
        self.failures = 0;
        self.closed_until = Time::default();
        self.circuit.greeted();
    }
}

/// One primary and its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shard {
    primary: Key<Node>,
    replicas: Vec<Key<Node>>,
}

/// Slot -> shard -> nodes, as this worker sees it: the published topology, corrected by MOVED.
#[derive(Debug)]
pub struct Nodes {
    nodes: Arena<Node>,
    by_addr: HashMap<SocketAddr, Key<Node>>,
    shards: Vec<Shard>,
    slots: Vec<u16>,
    /// What the topology says of the slots that MOVED has corrected since it was published.
    corrected: BTreeMap<u16, u16>,
    /// Counts changes of who serves what.
    epoch: u32,
    /// The shards by the lowest slot of each, and the epoch that they are of.
    walk: Vec<(u16, Key<Node>)>,
    walk_epoch: Option<u32>,
    /// Whether a topology was ever published.
    known: bool,
    /// Spreads requests without a slot, and reads over replicas.
    turn: usize,
}

impl Default for Nodes {
    fn default() -> Self {
        Nodes {
            nodes: Arena::default(),
            by_addr: HashMap::new(),
            shards: Vec::new(),
            slots: vec![NO_SHARD; SLOTS],
            corrected: BTreeMap::new(),
            epoch: 0,
            walk: Vec::new(),
            walk_epoch: None,
            known: false,
            turn: 0,
        }
    }
}

impl Nodes {
    /// Counts up whenever some slot may have got another node.
    #[inline]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether any topology is known yet.
    pub fn known(&self) -> bool {
        self.known
    }

    /// The node under `key`.
    #[inline]
    pub fn get(&self, key: Key<Node>) -> Option<&Node> {
        self.nodes.get(key)
    }

    /// The node under `key`.
    #[inline]
    pub fn get_mut(&mut self, key: Key<Node>) -> Option<&mut Node> {
        self.nodes.get_mut(key)
    }

    /// How many nodes are known.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// All nodes.
    pub fn keys(&self) -> Vec<Key<Node>> {
        self.nodes.keys()
    }

    /// Whether `node` owns any slot.
    pub fn is_primary(&self, node: Key<Node>) -> bool {
        self.shards.iter().any(|s| s.primary == node)
    }

    /// How many nodes are not worth asking.
    pub fn open_circuits(&self) -> usize {
        self.nodes.iter().filter(|(_, n)| n.circuit.is_open()).count()
    }

    /// All nodes that own slots.
    pub fn primaries(&self) -> impl Iterator<Item = Key<Node>> + '_ {
        self.shards.iter().map(|s| s.primary)
    }

    /// Whether `node` owned slots once and owns none now. One that is about to get its first has not lost any.
    pub fn is_demoted(&self, node: Key<Node>) -> bool {
        self.nodes.get(node).is_some_and(|n| n.owned) && !self.is_primary(node)
    }

    /// Who owns `slot`.
    #[inline]
    pub fn primary(&self, slot: u16) -> Option<Key<Node>> {
        let shard = *self.slots.get(usize::from(slot))?;
        self.shards.get(usize::from(shard)).map(|s| s.primary)
    }

    /// The shared backend of a kind to the primary of `slot`; [`Key::NONE`] or a stale key where it has none.
    #[inline]
    pub fn shared_primary(&self, slot: u16, kind: Kind) -> Option<Key<Backend>> {
        self.nodes.get(self.primary(slot)?).map(|n| n.shared[kind.index()])
    }

    /// How many slots have a primary.
    pub fn covered(&self) -> usize {
        self.slots.iter().filter(|s| **s != NO_SHARD).count()
    }

    /// The lowest slot of each shard and its primary, in the order of these slots; each primary once.
    pub fn walk(&mut self) -> &[(u16, Key<Node>)] {
        if self.walk_epoch != Some(self.epoch) {
            self.walk_epoch = Some(self.epoch);
            self.walk.clear();
            let mut last = NO_SHARD;
            for (slot, shard) in (0u16..).zip(&self.slots).filter(|(_, s)| **s != NO_SHARD) {
                let Some(Shard { primary, .. }) = self.shards.get(usize::from(*shard)) else { continue };
                if *shard != last && !self.walk.iter().any(|(_, p)| p == primary) {
                    self.walk.push((slot, *primary));
                }
                last = *shard;
            }
        }
        &self.walk
    }

    /// The lowest slot of the shard behind the one of `slot` in [`Nodes::walk`].
    pub fn shard_behind(&mut self, slot: u16) -> Option<u16> {
        self.walk().iter().map(|(lowest, _)| *lowest).find(|lowest| *lowest > slot)
    }

    /// All nodes of the present topology, primaries that MOVED told of included.
    pub fn present(&self) -> Vec<Key<Node>> {
        self.nodes.iter().filter(|(k, n)| n.listed || self.is_primary(*k)).map(|(k, _)| k).collect()
    }

    /// A replica of `slot` that `fits` and is usable, another one each time.
    pub fn replica(&mut self, slot: u16, now: Time, fits: impl Fn(&Node) -> bool) -> Option<Key<Node>> {
        let shard = self.shards.get(usize::from(*self.slots.get(usize::from(slot))?))?;
        self.turn = self.turn.wrapping_add(1);
        let count = shard.replicas.len();
        let usable = |k: &Key<Node>| self.nodes.get(*k).is_some_and(|n| n.is_usable(now) && fits(n));
        (0..count).map(|i| shard.replicas[(self.turn.wrapping_add(i)) % count]).find(usable)
    }

    /// Some primary, another one each time, one that is usable if there is one.
    pub fn any_primary(&mut self, now: Time) -> Option<Key<Node>> {
        self.turn = self.turn.wrapping_add(1);
        let count = self.shards.len();
        let primary = |i: usize| self.shards[(self.turn.wrapping_add(i)) % count].primary;
        let usable = |k: &Key<Node>| self.nodes.get(*k).is_some_and(|n| n.is_usable(now));
        (0..count).map(primary).find(usable).or_else(|| (count > 0).then(|| primary(0)))
    }

    /// The node at `addr`, made if it is new.
    pub fn at(&mut self, addr: SocketAddr, name: &str) -> Key<Node> {
        let nodes = &mut self.nodes;
        *self.by_addr.entry(addr).or_insert_with(|| nodes.insert(Node::new(addr, name.to_owned())))
    }

    /// The node at `addr`, if it is known.
    pub fn find(&self, addr: SocketAddr) -> Option<Key<Node>> {
        self.by_addr.get(&addr).copied()
    }

    /// The listed node that the cluster calls `host:port`.
    pub fn named(&self, host: &str, port: u16) -> Option<Key<Node>> {
        let is = |n: &Node| n.name.rsplit_once(':').is_some_and(|(h, p)| h == host && p.parse() == Ok(port));
        self.nodes.iter().find(|(_, n)| is(n)).map(|(k, _)| k)
    }

    /// A node answered that `slot` lives at `node`. False when that is known already.
    pub fn correct(&mut self, slot: u16, node: Key<Node>) -> bool {
        if self.primary(slot) == Some(node) {
            return false;
        }
        let shard = self.shards.iter().position(|s| s.primary == node).unwrap_or_else(|| {
            self.shards.push(Shard { primary: node, replicas: Vec::new() });
            self.shards.len() - 1
        });
        let Ok(shard) = u16::try_from(shard) else { return false };
        if let Some(s) = self.slots.get_mut(usize::from(slot)) {
            self.corrected.entry(slot).or_insert(*s);
            *s = shard;
        }
        self.epoch = self.epoch.wrapping_add(1);
        true
    }

    /// A node that MOVED may have named cannot be connected: slots that only a MOVED gave to it are where the topology
    /// says again. A topology that stays the same is not published again, so nothing else would put them right.
    pub fn distrust(&mut self, node: Key<Node>) {
        let shards = &self.shards;
        let its = |shard: u16| shards.get(usize::from(shard)).is_some_and(|s| s.primary == node);
        let (slots, before) = (&mut self.slots, self.corrected.len());
        self.corrected.retain(|slot, published| match slots.get_mut(usize::from(*slot)) {
            Some(shard) if *shard != *published && its(*shard) => {
                *shard = *published;
                false
            }
            _ => true,
        });
        let changed = self.corrected.len() < before;
        self.epoch = self.epoch.wrapping_add(u32::from(changed));
    }

    /// Takes over a published topology. Returns the nodes that it does not list.
    pub fn replace(&mut self, map: &SlotMap) -> Vec<Key<Node>> {
        let keys: Vec<Key<Node>> = map.nodes.iter().map(|n| self.at(n.addr, &n.name)).collect();
        for (key, info) in keys.iter().zip(&map.nodes) {
            if let Some(n) = self.nodes.get_mut(*key) {
                n.name.clone_from(&info.name);
            }
        }
        for node in self.nodes.keys() {
            if let Some(n) = self.nodes.get_mut(node) {
                n.listed = keys.contains(&node);
            }
        }
        let key = |i: &u16| keys.get(usize::from(*i)).copied().unwrap_or(Key::NONE);
        let shard = |s: &crate::cluster::ShardInfo| Shard {
            primary: key(&s.primary),
            replicas: s.replicas.iter().map(key).collect(),
        };
        let shards: Vec<Shard> = map.shards.iter().map(shard).collect();
        // The same topology may come again, to undo what a MOVED of a confused node did.
        if shards != self.shards || map.slots != self.slots {
            for shard in mem::replace(&mut self.shards, shards) {
                if let Some(n) = self.nodes.get_mut(shard.primary) {
                    n.owned = true;
                }
            }
            self.slots.clone_from(&map.slots);
            self.slots.resize(SLOTS, NO_SHARD);
            self.epoch = self.epoch.wrapping_add(1);
        }
        self.corrected.clear();
        self.known = true;
        self.nodes.iter().filter(|(_, n)| !n.listed).map(|(k, _)| k).collect()
    }

    /// Forgets a node that is not listed and has no backends and no timer any more.
    pub fn forget(&mut self, key: Key<Node>) {
        let idle = |n: &Node| n.dedicated == 0 && n.spares.is_empty() && n.probe == Key::NONE;
        let unused = |n: &Node| {
            !n.listed && idle(n) && n.others.is_empty() && n.shared.iter().all(|b| *b == Key::NONE)
        };
        if !self.nodes.get(key).is_some_and(unused) || self.is_primary(key) {
            return;
        }
        if let Some(n) = self.nodes.remove(key) {
            self.by_addr.remove(&n.addr);
        }
    }
}
