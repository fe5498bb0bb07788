//! The immutable table slot -> shard -> nodes that the topology thread publishes to every worker.

use std::net::SocketAddr;

/// How many hash slots a Redis Cluster has (Redis Cluster specification, "Key distribution model").
pub const SLOTS: usize = 16384;

/// In [`SlotMap::slots`]: nobody serves this slot.
pub const NO_SHARD: u16 = u16::MAX;

/// One server of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeInfo {
    /// Node id as the cluster gives it (40 hex digits), empty when the reply had none.
    pub id: String,
    /// Where it is reached, resolved.
    pub addr: SocketAddr,
    /// `host:port` as the cluster named it (host name or address), for logs and redirects.
    pub name: String,
}

/// The nodes that serve a set of slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardInfo {
    /// Index of the primary in [`SlotMap::nodes`].
    pub primary: u16,
    /// Indexes of the replicas in [`SlotMap::nodes`].
    pub replicas: Vec<u16>,
}

/// The whole topology; replaced as one, never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotMap {
    /// All nodes, each once.
    pub nodes: Vec<NodeInfo>,
    /// All shards, each once.
    pub shards: Vec<ShardInfo>,
    /// For each slot the index of its shard in `shards`, or [`NO_SHARD`]. Always [`SLOTS`] long.
    pub slots: Vec<u16>,
    /// Highest config epoch the answering node knew, 0 when unknown.
    pub epoch: u64,
    /// `redis_version` of the node that answered, empty when unknown.
    pub server_version: String,
}

impl SlotMap {
    /// A map in which nobody serves anything.
    pub fn empty() -> Self {
        SlotMap {
            nodes: Vec::new(),
            shards: Vec::new(),
            slots: vec![NO_SHARD; SLOTS],
            epoch: 0,
            server_version: String::new(),
        }
    }

    /// How many slots have a shard.
    pub fn covered(&self) -> usize {
        self.slots.iter().filter(|s| **s != NO_SHARD).count()
    }
}
