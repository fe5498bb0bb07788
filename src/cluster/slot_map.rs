//! The immutable table slot -> shard -> nodes that the topology thread publishes to every worker.

use std::net::SocketAddr;

use super::Software;

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
    /// What the node that answered runs.
    pub software: Software,
}

impl SlotMap {
    /// A map in which nobody serves anything.
    pub fn empty() -> Self {
        SlotMap {
            nodes: Vec::new(),
            shards: Vec::new(),
            slots: vec![NO_SHARD; SLOTS],
            epoch: 0,
            software: Software::default(),
        }
    }

    /// How many slots have a shard.
    pub fn covered(&self) -> usize {
        self.slots.iter().filter(|s| **s != NO_SHARD).count()
    }

    /// Whether both say the same of nodes, names, shards and slots. Epochs do not count, since nodes hear of a new one
    /// at different times; nor do server versions, which differ between nodes while an upgrade rolls, unless this one
    /// is not known yet.
    pub fn same_topology(&self, other: &SlotMap) -> bool {
        self.software.is_known() == other.software.is_known()
            && self.slots == other.slots
            && self.shards == other.shards
            && self.nodes == other.nodes
    }

    /// The node that serves `slot`, its primary.
    pub fn primary_of_slot(&self, slot: u16) -> Option<&NodeInfo> {
        self.primary_of_shard(*self.slots.get(usize::from(slot))?)
    }

    /// The primary of the shard at this index of [`SlotMap::shards`]; `None` for [`NO_SHARD`].
    pub fn primary_of_shard(&self, shard: u16) -> Option<&NodeInfo> {
        let shard = self.shards.get(usize::from(shard))?;
        self.nodes.get(usize::from(shard.primary))
    }

    /// The index in [`SlotMap::nodes`] of the node that a redirect calls `host` and `port`, by its name or address.
    pub fn node_named(&self, host: &str, port: u16) -> Option<usize> {
        let addr = host.parse().ok().map(|ip| SocketAddr::new(ip, port));
        self.nodes.iter().position(|node| match addr {
            Some(addr) => node.addr == addr,
            None => node.name.rsplit_once(':').is_some_and(|(name, p)| name == host && p.parse() == Ok(port)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_nodes() -> SlotMap {
        let node = |name: &str, addr: &str| NodeInfo {
            id: String::new(),
            name: name.into(),
            addr: addr.parse().unwrap(),
        };
        let mut map = SlotMap::empty();
        map.nodes = vec![node("redis-0.svc:7001", "10.0.0.1:7001"), node("[::1]:7002", "[::1]:7002")];
        map.shards = vec![ShardInfo { primary: 1, replicas: vec![0] }];
        map.slots[5] = 0;
        map
    }

    #[test]
    fn nodes_are_found_by_name_and_by_address() {
        let map = two_nodes();
        assert_eq!(map.node_named("redis-0.svc", 7001), Some(0));
        assert_eq!(map.node_named("10.0.0.1", 7001), Some(0));
        assert_eq!(map.node_named("::1", 7002), Some(1));
        assert_eq!(map.node_named("redis-0.svc", 7002), None);
        assert_eq!(map.node_named("::1", 7001), None);
        assert_eq!(map.node_named("", 7001), None);
    }

    #[test]
    fn primaries_of_slots() {
        let map = two_nodes();
        assert_eq!(map.primary_of_slot(5).map(|n| n.addr.port()), Some(7002));
        assert_eq!(map.primary_of_slot(6), None);
        assert_eq!(map.primary_of_slot(u16::MAX), None);
        assert_eq!(SlotMap::empty().covered(), 0);
    }

    #[test]
    fn epochs_and_versions_do_not_make_a_difference_but_names_do() {
        let mut map = two_nodes();
        map.software = Software::redis("7.0.15");
        let mut other = SlotMap { epoch: 9, software: Software::redis("7.2.4"), ..map.clone() };
        assert!(map.same_topology(&other));
        other.nodes[0].name.push('x');
        assert!(!map.same_topology(&other));
        assert!(!map.same_topology(&SlotMap { software: Software::default(), ..map.clone() }));
    }
}
