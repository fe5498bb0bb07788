//! A topology as a node told it: host names not yet resolved. Resolving is somebody else's work, handed in.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::{NodeInfo, ShardInfo, SlotMap, NO_SHARD, SLOTS};
use crate::base::sort;

/// One server, by the name the cluster has for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RawNode {
    /// Host name or address, never empty.
    pub host: String,
    /// Never 0.
    pub port: u16,
    /// Node id, empty when the reply had none (Redis 3).
    pub id: String,
}

/// Consecutive slots and who serves them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRange {
    /// First slot.
    pub first: u16,
    /// Last slot, included; not below `first`, below [`SLOTS`].
    pub last: u16,
    /// `None` when the node that was asked does not know where the primary is reached.
    pub primary: Option<RawNode>,
    /// Replicas whose address is known.
    pub replicas: Vec<RawNode>,
}

/// All ranges that one node told of; they do not overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawTopology {
    /// In the order of their slots.
    pub ranges: Vec<RawRange>,
}

impl RawTopology {
    /// The slot map of these ranges, with addresses from `lookup(host, port)`.
    ///
    /// Slots of a primary that `lookup` does not find have no shard; replicas that it does not find are left out.
    /// Nodes are in the order of their addresses and shards in the order of their first slots, so that two nodes
    /// that mean the same topology yield the same map, in whatever order they tell it. `epoch` and
    /// `software` are left for the caller to fill in.
    pub fn resolve(&self, mut lookup: impl FnMut(&str, u16) -> Option<SocketAddr>) -> SlotMap {
        let mut found = HashMap::new();
        for node in self.nodes() {
            found.entry((node.host.as_str(), node.port)).or_insert_with(|| lookup(&node.host, node.port));
        }
        let addr_of = |node: &RawNode| found.get(&(node.host.as_str(), node.port)).copied().flatten();
        let nodes = unique_nodes(self.nodes().filter_map(|n| Some((n, addr_of(n)?))));
        Assembly::new(nodes).fill(&self.ranges, addr_of)
    }

    fn nodes(&self) -> impl Iterator<Item = &RawNode> {
        self.ranges.iter().flat_map(|r| r.primary.iter().chain(&r.replicas))
    }
}

fn unique_nodes<'a>(found: impl Iterator<Item = (&'a RawNode, SocketAddr)>) -> Vec<NodeInfo> {
    let mut nodes: Vec<NodeInfo> = found
        .map(|(node, addr)| NodeInfo { id: node.id.clone(), addr, name: display_name(&node.host, node.port) })
        .collect();
    sort::by(&mut nodes, |a, b| (a.addr, &a.name).cmp(&(b.addr, &b.name)));
    nodes.dedup_by_key(|n| n.addr);
    nodes
}

fn display_name(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// A slot map that is being put together.
struct Assembly {
    map: SlotMap,
    node_at: HashMap<SocketAddr, u16>,
    shard_of_primary: HashMap<u16, u16>,
}

impl Assembly {
    /// `nodes` are at most [`RawTopology`]'s limit, far below 65,535: the parser saw to it.
    fn new(nodes: Vec<NodeInfo>) -> Self {
        let node_at = nodes.iter().zip(0u16..).map(|(node, index)| (node.addr, index)).collect();
        Assembly { map: SlotMap { nodes, ..SlotMap::empty() }, node_at, shard_of_primary: HashMap::new() }
    }

    fn fill(mut self, ranges: &[RawRange], addr_of: impl Fn(&RawNode) -> Option<SocketAddr>) -> SlotMap {
        for range in ranges {
            let Some(primary) = range.primary.as_ref().and_then(&addr_of) else { continue };
            let Some(primary) = self.node_at.get(&primary).copied() else { continue };
            let shard = self.shard(primary);
            self.serve(range, shard);
            for replica in range.replicas.iter().filter_map(&addr_of) {
                self.add_replica(shard, replica);
            }
        }
        for shard in &mut self.map.shards {
            sort::by_key(&mut shard.replicas, |node| *node);
        }
        self.map
    }

    fn shard(&mut self, primary: u16) -> u16 {
        let shards = &mut self.map.shards;
        *self.shard_of_primary.entry(primary).or_insert_with(|| {
            shards.push(ShardInfo { primary, replicas: Vec::new() });
            // At most one shard per range, hence per slot.
            u16::try_from(shards.len() - 1).unwrap_or(NO_SHARD)
        })
    }

    fn serve(&mut self, range: &RawRange, shard: u16) {
        let slots = usize::from(range.first)..(usize::from(range.last) + 1).min(SLOTS);
        if let Some(slots) = self.map.slots.get_mut(slots) {
            slots.fill(shard);
        }
    }

    fn add_replica(&mut self, shard: u16, addr: SocketAddr) {
        let Some(replica) = self.node_at.get(&addr).copied() else { return };
        let Some(shard) = self.map.shards.get_mut(usize::from(shard)) else { return };
        if shard.primary != replica && !shard.replicas.contains(&replica) {
            shard.replicas.push(replica);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: u16) -> RawNode {
        RawNode { host: host.into(), port, id: format!("id-{port}") }
    }

    fn range(first: u16, last: u16, primary: Option<RawNode>, replicas: Vec<RawNode>) -> RawRange {
        RawRange { first, last, primary, replicas }
    }

    fn literal(host: &str, port: u16) -> Option<SocketAddr> {
        host.parse().ok().map(|ip| SocketAddr::new(ip, port))
    }

    #[test]
    fn ranges_of_one_primary_are_one_shard() {
        let raw = RawTopology {
            ranges: vec![
                range(0, 99, Some(node("10.0.0.2", 1)), vec![node("10.0.0.3", 1)]),
                range(100, 199, Some(node("10.0.0.1", 1)), vec![]),
                range(200, 299, Some(node("10.0.0.2", 1)), vec![node("10.0.0.3", 1), node("10.0.0.4", 1)]),
            ],
        };
        let map = raw.resolve(literal);
        assert_eq!(
            map.nodes.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(),
            ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1"]
        );
        assert_eq!(
            map.shards,
            [ShardInfo { primary: 1, replicas: vec![2, 3] }, ShardInfo { primary: 0, replicas: vec![] }]
        );
        assert_eq!((map.slots[0], map.slots[100], map.slots[299], map.slots[300]), (0, 1, 0, NO_SHARD));
        assert_eq!((map.slots.len(), map.covered()), (SLOTS, 300));
    }

    #[test]
    fn the_order_of_replicas_does_not_matter() {
        let (a, b) = (node("10.0.0.2", 1), node("10.0.0.3", 1));
        let of = |replicas| RawTopology { ranges: vec![range(0, 1, Some(node("10.0.0.1", 1)), replicas)] };
        assert_eq!(of(vec![a.clone(), b.clone()]).resolve(literal), of(vec![b, a]).resolve(literal));
    }

    #[test]
    fn each_name_is_looked_up_once() {
        let mut asked = Vec::new();
        let raw = RawTopology {
            ranges: vec![
                range(0, 1, Some(node("a", 1)), vec![node("b", 1)]),
                range(2, 3, Some(node("a", 1)), vec![node("b", 1)]),
            ],
        };
        let map = raw.resolve(|host, port| {
            asked.push(host.to_owned());
            literal(if host == "a" { "10.0.0.1" } else { "10.0.0.2" }, port)
        });
        assert_eq!(asked, ["a", "b"]);
        assert_eq!((map.nodes[0].name.as_str(), map.covered()), ("a:1", 4));
    }

    #[test]
    fn unknown_names_leave_slots_uncovered_and_replicas_out() {
        let raw = RawTopology {
            ranges: vec![
                range(0, 1, Some(node("nowhere", 1)), vec![node("10.0.0.3", 1)]),
                range(2, 3, Some(node("10.0.0.1", 1)), vec![node("nowhere", 1)]),
                range(4, 5, None, vec![]),
            ],
        };
        let map = raw.resolve(literal);
        assert_eq!((map.slots[0], map.slots[2], map.slots[4]), (NO_SHARD, 0, NO_SHARD));
        assert_eq!(map.shards.len(), 1);
        assert!(map.shards[0].replicas.is_empty());
    }

    #[test]
    fn two_names_of_one_address_are_one_node() {
        let raw = RawTopology {
            ranges: vec![
                range(0, 1, Some(node("a", 1)), vec![node("b", 1)]),
                range(2, 3, Some(node("b", 1)), vec![]),
            ],
        };
        let map = raw.resolve(|_, port| literal("::1", port));
        assert_eq!((map.nodes.len(), map.shards.len(), map.covered()), (1, 1, 4));
        assert!(map.shards[0].replicas.is_empty());
    }

    #[test]
    fn ipv6_names_get_brackets() {
        let raw = RawTopology { ranges: vec![range(0, 0, Some(node("::1", 7001)), vec![])] };
        assert_eq!(raw.resolve(literal).nodes[0].name, "[::1]:7001");
    }
}
