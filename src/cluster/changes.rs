//! What an operator wants to know about the step from one topology to the next.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;

use super::{NodeInfo, SlotMap};

/// The difference between two topologies, one log line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Names of nodes that are new.
    pub added: Vec<String>,
    /// Names of nodes that are gone.
    pub removed: Vec<String>,
    /// Name before and name now of nodes that have another address and the same id.
    pub moved: Vec<(String, String)>,
    /// Slots that another primary serves now: names of the old and the new one, and how many.
    pub handed_over: Vec<(String, String, usize)>,
    /// Covered slots before and now.
    pub covered: (usize, usize),
}

impl Changes {
    /// What is different in `new`.
    pub fn between(old: &SlotMap, new: &SlotMap) -> Self {
        let (old_at, new_at) = (by_addr(old), by_addr(new));
        let old_ids: HashMap<&str, &NodeInfo> = with_ids(old).collect();
        let mut changes = Changes { covered: (old.covered(), new.covered()), ..Changes::default() };
        let mut moved_from = HashSet::new();
        for node in new.nodes.iter().filter(|n| !old_at.contains(&n.addr)) {
            match old_ids.get(node.id.as_str()).filter(|o| !new_at.contains(&o.addr)) {
                Some(before) => {
                    moved_from.insert(before.addr);
                    changes.moved.push((before.name.clone(), node.name.clone()));
                }
                None => changes.added.push(node.name.clone()),
            }
        }
        let gone = |n: &&NodeInfo| !new_at.contains(&n.addr) && !moved_from.contains(&n.addr);
        changes.removed = old.nodes.iter().filter(gone).map(|n| n.name.clone()).collect();
        changes.handed_over = handed_over(old, new);
        changes
    }
}

impl fmt::Display for Changes {
    /// One line per kind of change, joined by `; `; empty when only names or versions differ.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.added.is_empty() {
            parts.push(format!("nodes added: {}", self.added.join(", ")));
        }
        if !self.removed.is_empty() {
            parts.push(format!("nodes removed: {}", self.removed.join(", ")));
        }
        parts.extend(self.moved.iter().map(|(old, new)| format!("node {old} is now at {new}")));
        let handed = self.handed_over.iter();
        parts.extend(handed.map(|(old, new, slots)| format!("{slots} slots went from {old} to {new}")));
        if self.covered.0 != self.covered.1 {
            parts.push(format!("covered slots: {} instead of {}", self.covered.1, self.covered.0));
        }
        f.write_str(&parts.join("; "))
    }
}

fn by_addr(map: &SlotMap) -> HashSet<SocketAddr> {
    map.nodes.iter().map(|n| n.addr).collect()
}

fn with_ids(map: &SlotMap) -> impl Iterator<Item = (&str, &NodeInfo)> {
    map.nodes.iter().filter(|n| !n.id.is_empty()).map(|n| (n.id.as_str(), n))
}

/// Counts slots by their old and new primary, where both exist and differ, in the order of the first such slot.
fn handed_over(old: &SlotMap, new: &SlotMap) -> Vec<(String, String, usize)> {
    let mut pairs: Vec<(u16, u16, usize)> = Vec::new();
    let mut place: HashMap<(u16, u16), usize> = HashMap::new();
    for (before, after) in old.slots.iter().zip(&new.slots) {
        let index = *place.entry((*before, *after)).or_insert_with(|| {
            pairs.push((*before, *after, 0));
            pairs.len() - 1
        });
        if let Some(pair) = pairs.get_mut(index) {
            pair.2 += 1;
        }
    }
    let named = pairs.into_iter().filter_map(|(before, after, slots)| {
        let (before, after) = (old.primary_of_shard(before)?, new.primary_of_shard(after)?);
        (before.addr != after.addr).then(|| (before.name.clone(), after.name.clone(), slots))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{ShardInfo, SLOTS};

    fn map(nodes: &[(&str, u16)], primaries: &[u16], covered: usize) -> SlotMap {
        let mut map = SlotMap::empty();
        for (id, port) in nodes {
            let addr = SocketAddr::from(([127, 0, 0, 1], *port));
            map.nodes.push(NodeInfo { id: (*id).into(), addr, name: format!("h:{port}") });
        }
        for primary in primaries {
            map.shards.push(ShardInfo { primary: *primary, replicas: vec![] });
        }
        for slot in 0..covered {
            map.slots[slot] = u16::try_from(slot * primaries.len() / covered).unwrap();
        }
        map
    }

    #[test]
    fn nothing_changed_is_an_empty_line() {
        let map = map(&[("a", 1), ("b", 2)], &[0, 1], SLOTS);
        assert_eq!(Changes::between(&map, &map).to_string(), "");
    }

    #[test]
    fn a_failover_names_both_primaries() {
        let nodes = [("a", 1), ("b", 2), ("c", 3)];
        let changes = Changes::between(&map(&nodes, &[0, 1], SLOTS), &map(&nodes, &[0, 2], SLOTS));
        assert_eq!(changes.handed_over, [("h:2".to_owned(), "h:3".to_owned(), 8192)]);
        assert_eq!(changes.to_string(), "8192 slots went from h:2 to h:3");
    }

    #[test]
    fn nodes_come_go_and_move() {
        let old = map(&[("a", 1), ("b", 2), ("c", 3)], &[0], SLOTS);
        let new = map(&[("a", 1), ("b", 20), ("d", 4)], &[0], 16000);
        assert_eq!(
            Changes::between(&old, &new).to_string(),
            "nodes added: h:4; nodes removed: h:3; node h:2 is now at h:20; covered slots: 16000 instead of 16384"
        );
    }

    #[test]
    fn nodes_without_ids_are_told_apart_by_address() {
        let changes = Changes::between(&map(&[("", 1)], &[0], 9), &map(&[("", 2)], &[0], 9));
        assert_eq!((changes.added.len(), changes.removed.len(), changes.moved.len()), (1, 1, 0));
    }

    #[test]
    fn the_first_map_only_adds() {
        let changes = Changes::between(&SlotMap::empty(), &map(&[("a", 1)], &[0], SLOTS));
        assert_eq!(changes.to_string(), "nodes added: h:1; covered slots: 16384 instead of 0");
    }
}
