//! CLUSTER SLOTS: what is taken for a topology is sound, and so is the slot map that is made of it.

use std::net::SocketAddr;

use redis_cluster_proxy::cluster::{parse_slots, SlotMap, NO_SHARD, SLOTS};
use redis_cluster_proxy::resp::Value;

/// Looks at one input; its first byte chooses which names can be looked up.
pub fn check(data: &[u8]) {
    let [choice, bytes @ ..] = data else { return };
    let Ok(Some((value, len))) = Value::parse(bytes) else { return };
    assert!(len <= bytes.len());
    let Ok(topology) = parse_slots(&value, "asked.example") else { return };
    let mut next = 0;
    for range in &topology.ranges {
        assert!(range.first >= next && range.first <= range.last && usize::from(range.last) < SLOTS);
        next = range.last + 1;
        for node in range.primary.iter().chain(&range.replicas) {
            assert!(!node.host.is_empty() && node.port != 0);
        }
    }
    let map = topology.resolve(|host, port| look_up(host, port, *choice));
    sound(&map);
    assert!(map.same_topology(&topology.resolve(|host, port| look_up(host, port, *choice))));
}

fn look_up(host: &str, port: u16, choice: u8) -> Option<SocketAddr> {
    let known = host.len() % 4 != usize::from(choice % 5);
    let made_up = [10, 0, 0, host.bytes().fold(choice, u8::wrapping_add)];
    known.then(|| host.parse().map_or((made_up, port).into(), |ip| SocketAddr::new(ip, port)))
}

fn sound(map: &SlotMap) {
    assert_eq!(map.slots.len(), SLOTS);
    let is_node = |n: &u16| usize::from(*n) < map.nodes.len();
    assert!(map.slots.iter().all(|s| *s == NO_SHARD || usize::from(*s) < map.shards.len()));
    assert!(map.shards.iter().all(|s| is_node(&s.primary) && s.replicas.iter().all(is_node)));
    let covered = (0..SLOTS as u16).filter(|slot| map.primary_of_slot(*slot).is_some()).count();
    assert_eq!(covered, map.covered());
}
