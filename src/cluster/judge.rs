//! Whether a topology that a node tells may replace the present one. Hands out verdicts; asks nobody.
//!
//! A node that was cut off from the majority keeps answering, with the topology of yesterday. Its answer is *doubted*
//! when it says `cluster_state:fail`, has an older epoch, or covers fewer slots: in the middle of a failover all other nodes
//! may have heard that the old primary is none any more, and not yet of the new one. Doubt must not last for ever, since a
//! cluster may really shrink or be reset: a doubted answer is believed when it was first given some seconds ago and more than
//! half of the present nodes give it, or when nobody has confirmed the present topology for a while.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::{ClusterInfo, SlotMap};
use crate::base::time::Time;

/// So long after it was told for the first time a doubted topology may be believed. Nodes tell each other every second, so
/// news of a failover is everywhere by then.
const STANDING: Duration = Duration::from_secs(3);

/// What one node answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who answered.
    pub from: SocketAddr,
    /// Its topology, resolved.
    pub map: SlotMap,
    /// Its standing; `None` when it did not say, which is no ground for doubt.
    pub info: Option<ClusterInfo>,
}

/// Why an answer is not believed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The node says `cluster_state:fail`.
    StateFail,
    /// The node's epoch is older than one already seen.
    OlderEpoch {
        /// Highest epoch seen so far.
        seen: u64,
        /// What the node says.
        told: u64,
    },
    /// Covered slots would be gone.
    FewerSlots {
        /// Slots covered by the present topology.
        covered: usize,
        /// Slots covered by the node's.
        told: usize,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::StateFail => write!(f, "it says cluster_state:fail"),
            Doubt::OlderEpoch { seen, told } => write!(f, "its epoch {told} is older than {seen}"),
            Doubt::FewerSlots { covered, told } => write!(f, "it covers {told} slots instead of {covered}"),
        }
    }
}

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It tells what is known already.
    Same,
    /// It replaces the present topology.
    Accept,
    /// Ask another node first.
    Doubtful(Doubt),
}

/// The ground for doubting `report` as the successor of `present`, if there is one. `seen` is the highest epoch that
/// an accepted answer came with. Nothing is doubted as long as `present` covers no slot.
pub fn accept(present: &SlotMap, seen: u64, report: &Report) -> Result<(), Doubt> {
    let covered = present.covered();
    if covered == 0 {
        return Ok(());
    }
    if let Some(info) = report.info {
        if !info.state_ok {
            return Err(Doubt::StateFail);
        }
        if info.current_epoch < seen {
            return Err(Doubt::OlderEpoch { seen, told: info.current_epoch });
        }
    }
    let told = report.map.covered();
    if told < covered {
        return Err(Doubt::FewerSlots { covered, told });
    }
    Ok(())
}

/// Remembers who doubted the present topology and when it was last confirmed.
#[derive(Debug)]
pub struct Judge {
    patience: Duration,
    epoch: u64,
    confirmed: Time,
    rival: Option<Rival>,
}

/// A topology that was told but not believed, and who told it.
#[derive(Debug)]
struct Rival {
    map: SlotMap,
    /// When it was told first.
    since: Time,
    told_by: Vec<SocketAddr>,
}

impl Judge {
    /// A judge that believes a doubted answer when the present topology was not confirmed for `patience`.
    pub fn new(patience: Duration, now: Time) -> Self {
        Judge { patience, epoch: 0, confirmed: now, rival: None }
    }

    /// Highest epoch that an accepted answer came with; lower again only after a doubted one had to be believed.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Judges `report` against `present`.
    pub fn judge(&mut self, now: Time, present: &SlotMap, report: &Report) -> Verdict {
        let trusted = accept(present, self.epoch, report);
        if report.map.same_topology(present) {
            if trusted.is_ok() {
                self.confirm(now, report);
            }
            return Verdict::Same;
        }
        match trusted {
            Err(doubt) if !self.overrule(now, present, report) => Verdict::Doubtful(doubt),
            _ => {
                self.epoch = 0;
                self.confirm(now, report);
                Verdict::Accept
            }
        }
    }

    fn confirm(&mut self, now: Time, report: &Report) {
        self.epoch = self.epoch.max(report.info.map_or(0, |i| i.current_epoch));
        self.confirmed = now;
        self.rival = None;
    }

    /// Counts the doubted answer; true when it has to be believed all the same.
    fn overrule(&mut self, now: Time, present: &SlotMap, report: &Report) -> bool {
        let rival = self.rival(now, report);
        let voters = present.nodes.iter().filter(|n| rival.told_by.contains(&n.addr)).count();
        let stands = voters * 2 > present.nodes.len() && now.since(rival.since) >= STANDING;
        stands || now.since(self.confirmed) > self.patience
    }

    fn rival(&mut self, now: Time, report: &Report) -> &Rival {
        let mut rival = match self.rival.take() {
            Some(rival) if rival.map.same_topology(&report.map) => rival,
            _ => Rival { map: report.map.clone(), since: now, told_by: Vec::new() },
        };
        if !rival.told_by.contains(&report.from) {
            rival.told_by.push(report.from);
        }
        self.rival.insert(rival)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{NodeInfo, ShardInfo, NO_SHARD, SLOTS};

    const PATIENCE: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// `ports` are primaries that share the first `covered` slots evenly.
    fn map(ports: &[u16], covered: usize) -> SlotMap {
        let mut map = SlotMap::empty();
        for (port, index) in ports.iter().zip(0..) {
            map.nodes.push(NodeInfo { id: String::new(), addr: addr(*port), name: port.to_string() });
            map.shards.push(ShardInfo { primary: index, replicas: Vec::new() });
        }
        for slot in 0..covered {
            map.slots[slot] = u16::try_from(slot * ports.len() / covered).unwrap();
        }
        map
    }

    fn report(from: u16, map: SlotMap, state_ok: bool, epoch: u64) -> Report {
        Report {
            from: addr(from),
            map,
            info: Some(ClusterInfo { state_ok, current_epoch: epoch, my_epoch: 0 }),
        }
    }

    #[test]
    fn anything_is_better_than_nothing() {
        let mut judge = Judge::new(PATIENCE, at(0));
        let first = report(1, map(&[1], 5), false, 0);
        assert_eq!(judge.judge(at(0), &SlotMap::empty(), &first), Verdict::Accept);
    }

    #[test]
    fn an_empty_answer_to_an_empty_map_is_no_news() {
        let mut judge = Judge::new(PATIENCE, at(0));
        let empty = report(1, SlotMap::empty(), false, 0);
        assert_eq!(judge.judge(at(0), &SlotMap::empty(), &empty), Verdict::Same);
    }

    #[test]
    fn a_failover_is_accepted_at_once() {
        let (old, new) = (map(&[1, 2, 3], SLOTS), map(&[1, 2, 4], SLOTS));
        let mut judge = Judge::new(PATIENCE, at(0));
        assert_eq!(judge.judge(at(0), &old, &report(1, old.clone(), true, 3)), Verdict::Same);
        assert_eq!(judge.judge(at(1), &old, &report(1, new, true, 4)), Verdict::Accept);
        assert_eq!(judge.epoch(), 4);
    }

    #[test]
    fn a_minority_node_does_not_bring_back_yesterday() {
        let (old, new) = (map(&[1, 2, 3], SLOTS), map(&[1, 2, 4], SLOTS));
        let mut judge = Judge::new(PATIENCE, at(0));
        assert_eq!(judge.judge(at(0), &old, &report(1, new.clone(), true, 7)), Verdict::Accept);
        let stale = report(3, old.clone(), true, 6);
        let older = Verdict::Doubtful(Doubt::OlderEpoch { seen: 7, told: 6 });
        for second in 1..60 {
            assert_eq!(judge.judge(at(second), &new, &stale), older);
            assert_eq!(judge.judge(at(second), &new, &report(2, new.clone(), true, 7)), Verdict::Same);
        }
        let failing = report(3, old, false, 8);
        assert_eq!(judge.judge(at(60), &new, &failing), Verdict::Doubtful(Doubt::StateFail));
    }

    #[test]
    fn a_newcomer_that_knows_few_slots_is_doubted() {
        let old = map(&[1, 2, 3], SLOTS);
        let doubt = Doubt::FewerSlots { covered: SLOTS, told: 5461 };
        assert_eq!(accept(&old, 0, &report(9, map(&[9], 5461), true, 0)), Err(doubt));
    }

    /// All others have heard that a primary is a replica now, and not yet who has its slots.
    #[test]
    fn nobody_owned_the_slots_of_a_shard_in_the_middle_of_its_failover() {
        let old = map(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], SLOTS);
        let mut gap = old.clone();
        gap.slots.iter_mut().filter(|s| **s == 3).for_each(|s| *s = NO_SHARD);
        let mut judge = Judge::new(PATIENCE, at(0));
        assert_eq!(judge.judge(at(1), &old, &report(1, old.clone(), true, 3)), Verdict::Same);
        for from in [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12] {
            let verdict = judge.judge(at(1), &old, &report(from, gap.clone(), true, 3));
            assert!(matches!(verdict, Verdict::Doubtful(Doubt::FewerSlots { .. })), "{from}: {verdict:?}");
        }
        // It lasts, as after DELSLOTS.
        assert_eq!(judge.judge(at(4), &old, &report(1, gap, true, 3)), Verdict::Accept);
    }

    #[test]
    fn a_majority_of_the_present_nodes_overrules_the_doubt() {
        let (old, new) = (map(&[1, 2, 3], SLOTS), map(&[1], 100));
        let mut judge = Judge::new(PATIENCE, at(0));
        let told = |from| report(from, new.clone(), true, 0);
        assert!(matches!(judge.judge(at(1), &old, &told(1)), Verdict::Doubtful(_)));
        // The same node twice is one vote, and a stranger has none.
        assert!(matches!(judge.judge(at(1), &old, &told(1)), Verdict::Doubtful(_)));
        assert!(matches!(judge.judge(at(1), &old, &told(77)), Verdict::Doubtful(_)));
        assert_eq!(judge.judge(at(4), &old, &told(2)), Verdict::Accept);
    }

    #[test]
    fn votes_for_different_topologies_do_not_add_up() {
        let old = map(&[1, 2, 3], SLOTS);
        let mut judge = Judge::new(PATIENCE, at(0));
        for (from, covered) in [(1, 100), (2, 200), (3, 300), (1, 400)] {
            let told = report(from, map(&[1], covered), true, 0);
            assert!(matches!(judge.judge(at(1), &old, &told), Verdict::Doubtful(_)));
        }
    }

    #[test]
    fn doubt_ends_when_nobody_confirms_the_old_map() {
        let (old, new) = (map(&[1, 2, 3], SLOTS), map(&[1, 2, 4], SLOTS));
        let mut judge = Judge::new(PATIENCE, at(0));
        assert_eq!(judge.judge(at(5), &old, &report(1, old.clone(), true, 9)), Verdict::Same);
        // The cluster was reset: epochs start anew.
        let reset = report(1, new.clone(), true, 2);
        assert!(matches!(judge.judge(at(15), &old, &reset), Verdict::Doubtful(_)));
        assert_eq!(judge.judge(at(16), &old, &reset), Verdict::Accept);
        assert_eq!(judge.epoch(), 2);
        assert_eq!(judge.judge(at(16), &new, &reset), Verdict::Same);
    }

    #[test]
    fn a_failing_node_that_repeats_the_old_map_does_not_confirm_it() {
        let (old, new) = (map(&[1, 2, 3], SLOTS), map(&[1, 2, 4], SLOTS));
        let mut judge = Judge::new(PATIENCE, at(0));
        assert_eq!(judge.judge(at(11), &old, &report(1, old.clone(), false, 1)), Verdict::Same);
        assert_eq!(judge.judge(at(11), &old, &report(2, new, false, 1)), Verdict::Accept);
    }

    #[test]
    fn a_node_that_does_not_tell_its_standing_is_not_doubted_for_it() {
        let (old, new) = (map(&[1, 2, 3], SLOTS), map(&[1, 2, 4], SLOTS));
        let silent = Report { from: addr(1), map: new, info: None };
        assert_eq!(accept(&old, 9, &silent), Ok(()));
    }

    #[test]
    fn doubts_read_well_in_a_log() {
        assert_eq!(Doubt::StateFail.to_string(), "it says cluster_state:fail");
        assert_eq!(Doubt::OlderEpoch { seen: 9, told: 8 }.to_string(), "its epoch 8 is older than 9");
        assert_eq!(Doubt::FewerSlots { covered: 9, told: 8 }.to_string(), "it covers 8 slots instead of 9");
    }
}
