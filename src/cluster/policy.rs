//! When to ask for the topology next. Pure: `now` and a seed are handed in, hints come from outside.
//!
//! Three gaps: the ordinary interval while all is quiet; a short one while something is being sorted out (a node was
//! lost, slots have no owner); a growing one, with jitter, while nobody answers. A hint cuts the ordinary interval
//! short, but never below the minimum gap and never into the growing one.

use std::time::Duration;

use crate::base::time::Time;

/// How long a hint keeps the short gap, if nothing renews it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Ask once, soon: a MOVED.
    Once,
    /// Keep asking at the short gap for a while: a lost node, an unserved slot. A failover takes the node timeout of
    /// the cluster (15 s by default) and about two seconds more.
    Watch,
    /// The same for a short while: a node that says nothing, which comes again as long as it lasts.
    Glance,
}

/// How long [`Urgency::Watch`] and [`Urgency::Glance`] last.
const WATCH: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_secs(3);

/// A refresh takes this share of the time at most while something is watched.
const LOAD: u32 = 10;

/// When to ask next.
#[derive(Debug)]
pub struct Policy {
    min_gap: Duration,
    interval: Duration,
    started: Option<Time>,
    /// How long the last refresh took.
    took: Duration,
    next: Time,
    hinted: bool,
    watch_until: Time,
    unsettled_since: Option<Time>,
    failures: u32,
    random: u64,
}

impl Policy {
    /// Asks at once, then every `interval` at most, `min_gap` at least. `seed` spreads the proxies of one cluster.
    pub fn new(min_gap: Duration, interval: Duration, seed: u64, now: Time) -> Self {
        let interval = interval.max(min_gap);
        // xorshift stays at 0 for ever, so 0 is not a seed.
        let random = seed.max(1);
        Policy {
            min_gap,
            interval,
            started: None,
            took: Duration::ZERO,
            next: now,
            hinted: false,
            watch_until: now,
            unsettled_since: None,
            failures: 0,
            random,
        }
    }

    /// Somebody has a reason to believe that the topology changed. Any number of hints is one refresh.
    pub fn hint(&mut self, now: Time, urgency: Urgency) {
        self.hinted = true;
        let span = match urgency {
            Urgency::Once => return,
            Urgency::Watch => WATCH,
            Urgency::Glance => GLANCE,
        };
        self.watch_until = self.watch_until.max(now.after(span));
    }

    /// When to ask next.
    pub fn due(&self) -> Time {
        match self.started {
            Some(started) if self.hinted && self.failures == 0 => started.after(self.min_gap).min(self.next),
            _ => self.next,
        }
    }

    /// A refresh begins; hints up to now are served by it.
    pub fn started(&mut self, now: Time) {
        self.started = Some(now);
        self.hinted = false;
    }

    /// The refresh that began last was answered. `settled` is false while slots have no owner or the nodes themselves
    /// say that something is wrong.
    pub fn succeeded(&mut self, now: Time, settled: bool) {
        self.failures = 0;
        self.took = self.started.map_or(Duration::ZERO, |started| now.since(started));
        self.unsettled_since = if settled { None } else { self.unsettled_since.or(Some(now)) };
        match self.watching(now) {
            true => self.plan(now, self.watch_gap(), self.min_gap / 2),
            false => self.plan(now, self.interval, self.min_gap),
        }
    }

    /// The topology changed: what the hints asked for is probably done, those that still matter will come again.
    pub fn changed(&mut self, now: Time) {
        self.watch_until = self.watch_until.min(now.after(self.min_gap * 10));
    }

    /// Nobody gave a usable answer.
    pub fn failed(&mut self, now: Time) {
        self.failures = self.failures.saturating_add(1);
        let doublings = (self.failures - 1).min(16);
        let gap = self.min_gap.saturating_mul(1 << doublings).min(self.interval);
        self.plan(now, gap, self.min_gap);
    }

    /// Refreshes that failed since the last one that did not.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    fn watching(&self, now: Time) -> bool {
        now < self.watch_until || self.unsettled_since.is_some_and(|since| now.since(since) < WATCH)
    }

    /// Half the minimum gap, so that a promotion is seen soon, unless the cluster has so many nodes that telling of them
    /// takes its time.
    fn watch_gap(&self) -> Duration {
        (self.min_gap / 2).max(self.took * LOAD).min(self.interval)
    }

    /// Up to a quarter off at random, but `least` at least. The gap counts from the end of the refresh that
    /// just ended, so a slow cluster is not asked without pause.
    fn plan(&mut self, now: Time, gap: Duration, least: Duration) {
        let off = gap.as_micros() as f64 / 4.0 * self.chance();
        let gap = gap.saturating_sub(Duration::from_micros(off as u64)).max(least);
        self.next = now.after(gap);
    }

    /// 0 up to 1, by xorshift64.
    fn chance(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 40) as f64 / (1u64 << 24) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const INTERVAL: Duration = Duration::from_secs(3);

    fn at(millis: u64) -> Time {
        Time::from_micros(millis * 1000)
    }

    fn policy() -> Policy {
        Policy::new(MIN, INTERVAL, 42, at(0))
    }

    /// Refreshes that begin and succeed before `end`, in milliseconds.
    fn run(policy: &mut Policy, end: u64, settled: bool) -> Vec<u64> {
        let mut begun = Vec::new();
        while policy.due() < at(end) {
            let now = policy.due();
            begun.push(now.as_millis());
            policy.started(now);
            policy.succeeded(now, settled);
        }
        begun
    }

    fn gaps(times: &[u64]) -> Vec<u64> {
        times.windows(2).map(|w| w[1] - w[0]).collect()
    }

    #[test]
    fn the_first_refresh_is_at_once_and_the_others_at_the_interval() {
        let mut policy = policy();
        let times = run(&mut policy, 60_000, true);
        assert_eq!(times[0], 0);
        assert!(gaps(&times).iter().all(|g| (2250..=3000).contains(g)), "{times:?}");
    }

    #[test]
    fn a_thousand_hints_are_one_refresh_after_the_minimum_gap() {
        let mut policy = policy();
        policy.started(at(0));
        policy.succeeded(at(1), true);
        for _ in 0..1000 {
            policy.hint(at(10), Urgency::Once);
        }
        assert_eq!(policy.due(), at(100));
        policy.started(at(100));
        policy.succeeded(at(101), true);
        assert!(policy.due() >= at(2350));
    }

    #[test]
    fn a_hint_long_after_the_last_refresh_is_due_at_once() {
        let mut policy = policy();
        policy.started(at(0));
        policy.succeeded(at(1), true);
        policy.hint(at(1500), Urgency::Once);
        assert!(policy.due() <= at(1500));
    }

    #[test]
    fn a_hint_during_a_refresh_asks_for_another_one() {
        let mut policy = policy();
        policy.started(at(0));
        policy.hint(at(5), Urgency::Once);
        policy.succeeded(at(10), true);
        assert_eq!(policy.due(), at(100));
    }

    #[test]
    fn hints_never_push_the_refresh_back() {
        let mut policy = policy();
        run(&mut policy, 10_000, true);
        let before = policy.due();
        policy.hint(at(10_000), Urgency::Once);
        assert!(policy.due() <= before);
    }

    #[test]
    fn a_lost_node_is_watched_for_a_while() {
        let mut policy = policy();
        policy.started(at(0));
        policy.succeeded(at(1), true);
        policy.hint(at(1), Urgency::Watch);
        let times = run(&mut policy, 60_000, true);
        let (watched, quiet): (Vec<u64>, Vec<u64>) = times.iter().partition(|t| **t < 30_060);
        assert!(gaps(&watched).iter().all(|g| *g == 50), "{watched:?}");
        assert!(gaps(&quiet).iter().all(|g| (2250..=3000).contains(g)), "{quiet:?}");
    }

    #[test]
    fn a_silent_node_is_watched_as_long_as_that_is_said_again() {
        let mut policy = policy();
        policy.started(at(0));
        policy.succeeded(at(1), true);
        policy.hint(at(1), Urgency::Glance);
        let times = run(&mut policy, 10_000, true);
        assert!(times.iter().filter(|t| **t < 3_000).count() > 50, "{times:?}");
        assert!(times.iter().filter(|t| **t > 3_100).count() < 5, "{times:?}");
    }

    #[test]
    fn a_cluster_that_takes_long_to_answer_is_not_watched_more_than_it_bears() {
        let mut policy = policy();
        policy.hint(at(0), Urgency::Watch);
        policy.started(at(0));
        policy.succeeded(at(40), true);
        assert!((at(340)..=at(440)).contains(&policy.due()), "{:?}", policy.due());
    }

    #[test]
    fn a_change_ends_the_watch() {
        let mut policy = policy();
        policy.hint(at(0), Urgency::Watch);
        policy.started(at(0));
        policy.changed(at(1));
        policy.succeeded(at(1), true);
        assert!(run(&mut policy, 10_000, true).len() < 26);
    }

    #[test]
    fn unserved_slots_are_watched_but_not_for_ever() {
        let mut policy = policy();
        let times = run(&mut policy, 120_000, false);
        let early = times.iter().filter(|t| **t < 30_000).count();
        let late = times.iter().filter(|t| **t >= 60_000).count();
        assert!((590..=610).contains(&early), "{early}");
        assert!((20..=27).contains(&late), "{late}");
    }

    #[test]
    fn failures_back_off_to_the_interval_and_hints_do_not_hurry_them() {
        let mut policy = policy();
        let mut times = Vec::new();
        for _ in 0..12 {
            let now = policy.due();
            times.push(now.as_millis());
            policy.started(now);
            policy.hint(now, Urgency::Watch);
            policy.failed(now);
        }
        let gaps = gaps(&times);
        for (gap, full) in gaps.iter().zip([100, 200, 400, 800, 1600, 3000, 3000, 3000]) {
            assert!((full * 3 / 4..=full).contains(gap) && *gap >= 100, "{gaps:?}");
        }
        assert_eq!(policy.failures(), 12);
        policy.succeeded(policy.due(), true);
        assert_eq!(policy.failures(), 0);
    }

    #[test]
    fn seeds_spread_the_proxies() {
        let due = |seed| {
            let mut policy = Policy::new(MIN, INTERVAL, seed, at(0));
            policy.started(at(0));
            policy.succeeded(at(0), true);
            policy.due()
        };
        assert_ne!(due(1), due(0x9E37_79B9_7F4A_7C15));
    }

    #[test]
    fn an_interval_below_the_minimum_gap_is_the_minimum_gap() {
        let mut policy = Policy::new(MIN, Duration::from_millis(1), 0, at(0));
        assert!(gaps(&run(&mut policy, 5_000, true)).iter().all(|g| *g == 100));
    }
}
