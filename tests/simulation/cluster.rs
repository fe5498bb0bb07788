//! The truth about the fake cluster: nodes, shards, who owns which slot, what migrates.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use redis_cluster_proxy::cluster::{NodeInfo, ShardInfo, SlotMap, Software, SLOTS};
use redis_cluster_proxy::command;

use super::mix::Mix;

#[derive(Debug)]
pub struct FakeNode {
    pub addr: SocketAddr,
    pub host: String,
    pub shard: usize,
    pub up: bool,
    pub stalled: bool,
    pub loading: bool,
    /// Connects are neither accepted nor refused.
    pub silent: bool,
    pub rejects_auth: bool,
    /// How long it takes to answer, at most, beyond the usual; microseconds.
    pub slow_us: u64,
    /// Messages that came while it stood still.
    pub backlog: Vec<usize>,
}

#[derive(Debug)]
pub struct FakeShard {
    pub primary: usize,
    pub nodes: Vec<usize>,
}

/// A slot that keys of the simulation lie in.
#[derive(Debug)]
pub struct FakeSlot {
    pub slot: u16,
    pub owner: usize,
    /// Who owned it before; nodes with old views still say so.
    pub before: usize,
    pub moving: Option<Moving>,
    /// The node that executes its commands, and those that did before.
    executor: usize,
    executors: BTreeSet<usize>,
}

/// A slot on its way to another shard.
#[derive(Debug)]
pub struct Moving {
    pub to: usize,
    /// Keys that are there already.
    pub moved: BTreeSet<usize>,
}

#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<FakeNode>,
    pub shards: Vec<FakeShard>,
    /// By hash tag.
    pub slots: Vec<FakeSlot>,
    pub names: bool,
}

impl Cluster {
    pub fn new(mix: &Mix) -> Self {
        let (mut nodes, mut shards) = (Vec::new(), Vec::new());
        for shard in 0..mix.shards {
            let first = nodes.len();
            for _ in 0..=mix.replicas {
                nodes.push(new_node(nodes.len(), shard));
            }
            shards.push(FakeShard { primary: first, nodes: (first..nodes.len()).collect() });
        }
        let slot = |tag: usize| command::slot(format!("{{h{tag}}}").as_bytes());
        let slots = (0..mix.tags).map(|tag| {
            let owner = home(slot(tag), mix.shards);
            let executor = shards[owner].primary;
            FakeSlot {
                slot: slot(tag),
                owner,
                before: owner,
                moving: None,
                executor,
                executors: BTreeSet::new(),
            }
        });
        let slots = slots.collect();
        Cluster { slots, nodes, shards, names: mix.names }
    }

    /// The node that executes commands for a slot.
    pub fn primary_of(&self, tag: usize) -> usize {
        self.shards[self.slots[tag].owner].primary
    }

    /// Hash tags whose commands are executed again by a node that has refused them in between.
    pub fn returned(&mut self) -> Vec<usize> {
        let mut tags = Vec::new();
        for tag in 0..self.slots.len() {
            let now = self.primary_of(tag);
            let slot = &mut self.slots[tag];
            let before = std::mem::replace(&mut slot.executor, now);
            if before != now {
                slot.executors.insert(before);
                if slot.executors.contains(&now) {
                    tags.push(tag);
                }
            }
        }
        tags
    }

    pub fn is_primary(&self, node: usize) -> bool {
        self.shards[self.nodes[node].shard].primary == node
    }

    pub fn at(&self, addr: SocketAddr) -> Option<usize> {
        self.nodes.iter().position(|n| n.addr == addr)
    }

    /// Gives a slot to another shard.
    pub fn give(&mut self, tag: usize, to: usize) {
        let slot = &mut self.slots[tag];
        slot.moving = None;
        if slot.owner != to {
            slot.before = slot.owner;
            slot.owner = to;
        }
    }

    /// Another node of the shard becomes its primary. False when there is none that could.
    pub fn promote(&mut self, shard: usize) -> bool {
        let old = self.shards[shard].primary;
        let fit = |n: &&usize| **n != old && self.nodes[**n].up && !self.nodes[**n].stalled;
        let next = self.shards[shard].nodes.iter().find(fit).copied();
        self.shards[shard].primary = next.unwrap_or(old);
        next.is_some()
    }

    /// What the topology thread would publish now.
    pub fn map(&self) -> SlotMap {
        let mut map = SlotMap { software: Software::redis("7.0.15"), ..SlotMap::empty() };
        let mut listed = Vec::new();
        for shard in &self.shards {
            let replicas = shard.nodes.iter().filter(|n| **n != shard.primary && self.nodes[**n].up);
            let first = listed.len() as u16;
            listed.push(shard.primary);
            listed.extend(replicas.copied());
            map.shards
                .push(ShardInfo { primary: first, replicas: (first + 1..listed.len() as u16).collect() });
        }
        map.nodes = listed.iter().map(|n| self.info(*n)).collect();
        for slot in 0..SLOTS as u16 {
            map.slots[usize::from(slot)] = home(slot, self.shards.len()) as u16;
        }
        for slot in &self.slots {
            map.slots[usize::from(slot.slot)] = slot.owner as u16;
        }
        map
    }

    fn info(&self, node: usize) -> NodeInfo {
        let n = &self.nodes[node];
        let name = if self.names { format!("{}:{}", n.host, n.addr.port()) } else { n.addr.to_string() };
        NodeInfo { id: format!("{node:040}"), addr: n.addr, name }
    }
}

fn new_node(number: usize, shard: usize) -> FakeNode {
    FakeNode {
        addr: SocketAddr::from(([10, 0, 0, 1], 7000 + number as u16)),
        host: format!("node-{number}.cluster"),
        shard,
        up: true,
        stalled: false,
        loading: false,
        silent: false,
        rejects_auth: false,
        slow_us: 0,
        backlog: Vec::new(),
    }
}

/// Who owns a slot at first.
fn home(slot: u16, shards: usize) -> usize {
    usize::from(slot) * shards / SLOTS
}
