//! What the topology thread tells the operator: changes of state at once, lasting trouble again at growing intervals.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use crate::base::time::Time;
use crate::cluster::{Changes, SlotMap, SLOTS};

/// First and longest gap between two lines about the same trouble.
const FIRST_GAP: Duration = Duration::from_secs(10);
const LONGEST_GAP: Duration = Duration::from_secs(600);

/// A line for the log.
pub(super) type Line = (Level, String);

/// Remembers what was said, so as not to say it every time.
#[derive(Debug, Default)]
pub(super) struct Journal {
    outage: Option<Trouble>,
    nodes: HashMap<SocketAddr, Trouble>,
    told: bool,
}

/// One thing that is wrong.
#[derive(Debug)]
struct Trouble {
    text: String,
    since: Time,
    next: Time,
    gap: Duration,
}

impl Trouble {
    fn new(now: Time, text: &str) -> Self {
        Trouble { text: text.to_owned(), since: now, next: now, gap: FIRST_GAP }
    }

    /// Whether it is time to speak of it (again).
    fn speaks(&mut self, now: Time) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now.after(self.gap);
            self.gap = (self.gap * 2).min(LONGEST_GAP);
        }
        due
    }
}

impl Journal {
    /// A node gave no usable answer, or one that is not believed.
    pub(super) fn node_failed(
        &mut self,
        now: Time,
        addr: SocketAddr,
        why: &str,
        blunder: bool,
    ) -> Option<Line> {
        let trouble = self.nodes.entry(addr).or_insert_with(|| Trouble::new(now, why));
        if trouble.text != why {
            *trouble = Trouble { since: trouble.since, ..Trouble::new(now, why) };
        }
        // A blunder of the operator does not pass by itself, so it weighs more than a node that is away.
        let level = if blunder { Level::Error } else { Level::Warn };
        trouble.speaks(now).then(|| (level, format!("topology: no answer to use from node {addr}: {why}")))
    }

    /// A node gave an answer that is believed.
    pub(super) fn node_answered(&mut self, now: Time, addr: SocketAddr) -> Option<Line> {
        let trouble = self.nodes.remove(&addr)?;
        let seconds = now.since(trouble.since).as_secs();
        Some((Level::Info, format!("topology: node {addr} answers again after {seconds} s")))
    }

    /// Nobody gave a usable answer.
    pub(super) fn nobody_answered(&mut self, now: Time, asked: usize, last: &str) -> Option<Line> {
        let outage = self.outage.get_or_insert_with(|| Trouble::new(now, ""));
        let seconds = now.since(outage.since).as_secs();
        let line = format!(
            "topology: no usable answer from the cluster for {seconds} s ({asked} nodes asked); last: {last}"
        );
        outage.speaks(now).then_some((Level::Error, line))
    }

    /// Somebody gave a usable answer.
    pub(super) fn somebody_answered(&mut self, now: Time) -> Option<Line> {
        let outage = self.outage.take()?;
        let seconds = now.since(outage.since).as_secs();
        Some((Level::Info, format!("topology: the cluster answers again after {seconds} s")))
    }

    /// `new` takes the place of `old`.
    pub(super) fn published(&mut self, from: SocketAddr, old: &SlotMap, new: &SlotMap) -> Line {
        self.nodes.retain(|addr, _| new.nodes.iter().any(|n| n.addr == *addr));
        let covered = new.covered();
        let level = if covered < SLOTS { Level::Warn } else { Level::Info };
        if !std::mem::replace(&mut self.told, true) {
            let (nodes, primaries) = (new.nodes.len(), new.shards.len());
            let version = if new.software.is_known() { &new.software.to_string() } else { "unknown" };
            return (
                level,
                format!(
                    "topology from {from}: {nodes} nodes, {primaries} primaries, {covered} of {SLOTS} slots covered, \
                     server version {version}"
                ),
            );
        }
        let changes = Changes::between(old, new).to_string();
        let changes = if changes.is_empty() { "roles, names or versions differ".to_owned() } else { changes };
        (level, format!("topology from {from}: {changes}"))
    }
}

/// Writes a line, if there is one.
pub(super) fn write(line: Option<Line>) {
    if let Some((level, text)) = line {
        log::log!(level, "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{NodeInfo, ShardInfo};

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn map(ports: &[u16]) -> SlotMap {
        let mut map = SlotMap::empty();
        for port in ports {
            map.nodes.push(NodeInfo { id: String::new(), addr: addr(*port), name: format!("h:{port}") });
        }
        map.shards.push(ShardInfo { primary: 0, replicas: vec![] });
        map.slots.fill(0);
        map
    }

    #[test]
    fn an_outage_is_told_at_once_and_then_ever_more_rarely() {
        let mut journal = Journal::default();
        let told: Vec<u64> =
            (0..3600).filter(|s| journal.nobody_answered(at(*s), 3, "refused").is_some()).collect();
        assert_eq!(told, [0, 10, 30, 70, 150, 310, 630, 1230, 1830, 2430, 3030]);
        let (level, text) = journal.somebody_answered(at(3600)).unwrap();
        assert_eq!((level, text.as_str()), (Level::Info, "topology: the cluster answers again after 3600 s"));
        assert_eq!(journal.somebody_answered(at(3601)), None);
    }

    #[test]
    fn a_node_in_trouble_is_told_when_the_trouble_changes() {
        let mut journal = Journal::default();
        assert!(journal.node_failed(at(0), addr(1), "refused", false).is_some());
        assert!(journal.node_failed(at(1), addr(1), "refused", false).is_none());
        assert!(journal.node_failed(at(1), addr(2), "refused", false).is_some());
        let (level, text) = journal.node_failed(at(2), addr(1), "it rejects", true).unwrap();
        assert_eq!(level, Level::Error);
        assert!(text.ends_with("127.0.0.1:1: it rejects"), "{text}");
        let (_, text) = journal.node_answered(at(7), addr(1)).unwrap();
        assert!(text.ends_with("answers again after 7 s"), "{text}");
        assert_eq!(journal.node_answered(at(8), addr(1)), None);
    }

    #[test]
    fn the_first_map_is_summed_up_and_later_ones_compared() {
        let mut journal = Journal::default();
        let (level, text) = journal.published(addr(1), &SlotMap::empty(), &map(&[1, 2]));
        assert_eq!(level, Level::Info);
        assert!(text.contains("2 nodes, 1 primaries, 16384 of 16384 slots"), "{text}");
        assert!(text.ends_with("server version unknown"), "{text}");
        let (_, text) = journal.published(addr(1), &map(&[1, 2]), &map(&[1, 3]));
        assert!(text.contains("nodes added: h:3; nodes removed: h:2"), "{text}");
        let (_, text) = journal.published(addr(1), &map(&[1]), &map(&[1]));
        assert!(text.ends_with("roles, names or versions differ"), "{text}");
    }

    #[test]
    fn uncovered_slots_are_a_warning_and_removed_nodes_are_forgotten() {
        let mut journal = Journal::default();
        journal.node_failed(at(0), addr(9), "refused", false);
        let mut holes = map(&[1]);
        holes.slots[7] = crate::cluster::NO_SHARD;
        assert_eq!(journal.published(addr(1), &SlotMap::empty(), &holes).0, Level::Warn);
        assert_eq!(journal.node_answered(at(1), addr(9)), None);
    }
}
