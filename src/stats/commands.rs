//! Counters per command: plain arrays of one worker, indexed by the number of the command's row, summed on read. Must not
//! know what the rows mean.
//!
//! Times are counted in buckets that are at most an eighth of their value wide. The table is one zeroed allocation, of
//! which only the pages of commands that are used take memory; it is one of numbers, as only those are sure to be taken
//! zeroed from the system.

/// Times below this, in microseconds, have a bucket each; so many buckets has each further power of two.
const STEPS: u64 = 8;
/// Times are 32 bits of microseconds.
const BUCKETS: usize = bucket(u32::MAX) + 1;

/// Places of a row before its buckets.
const CALLS: usize = 0;
const USEC: usize = 1;
const FAILED: usize = 2;
const REJECTED: usize = 3;
const TIMES: usize = 4;

/// Places of a row.
const ROW: usize = TIMES + BUCKETS;
type Row = [u64; ROW];

/// What one worker counted of each command.
#[derive(Clone, Debug)]
pub struct CommandCounters {
    /// One row behind the other.
    places: Vec<u64>,
}

/// What was counted of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage(Box<Row>);

/// What was counted of all commands that were used, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usages(Vec<(u16, Usage)>);

impl CommandCounters {
    /// For commands with numbers below `commands`.
    pub fn new(commands: usize) -> Self {
        CommandCounters { places: vec![0; ROW * commands] }
    }

    #[inline]
    fn row(&mut self, command: u16) -> Option<&mut Row> {
        self.places.get_mut(ROW * usize::from(command)..)?.first_chunk_mut()
    }

    /// A command was answered `times` times, after `usec` each.
    #[inline]
    pub fn answered(&mut self, command: u16, usec: u32, times: u32) {
        if let Some(row) = self.row(command) {
            let times = u64::from(times);
            row[CALLS] += times;
            row[USEC] += u64::from(usec) * times;
            row[TIMES + bucket(usec)] += times;
        }
    }

    /// A command was called, and how long that took is not known or says nothing.
    pub fn called(&mut self, command: u16, times: u32) {
        self.add(command, CALLS, u64::from(times));
    }

    /// An answer was an error.
    pub fn failed(&mut self, command: u16) {
        self.add(command, FAILED, 1);
    }

    /// A command was refused before it was carried out.
    pub fn rejected(&mut self, command: u16) {
        self.add(command, REJECTED, 1);
    }

    fn add(&mut self, command: u16, place: usize, count: u64) {
        if let Some(row) = self.row(command) {
            row[place] += count;
        }
    }

    /// What was counted so far.
    pub fn usages(&self) -> Usages {
        let used = |row: &&Row| row[CALLS] | row[FAILED] | row[REJECTED] != 0;
        let rows = self.places.chunks_exact(ROW).filter_map(|row| row.first_chunk::<ROW>());
        let rows = (0u16..).zip(rows).filter(|(_, r)| used(r));
        Usages(rows.map(|(command, r)| (command, Usage(Box::new(*r)))).collect())
    }

    /// Counts from zero again.
    pub fn reset(&mut self) {
        *self = CommandCounters::new(self.places.len() / ROW);
    }
}

impl Usages {
    /// Adds what another worker counted.
    pub fn add(&mut self, other: &Usages) {
        for (command, usage) in &other.0 {
            match self.0.binary_search_by_key(command, |(c, _)| *c) {
                Ok(at) => {
                    let row = &mut self.0[at].1 .0;
                    row.iter_mut().zip(usage.0.iter()).for_each(|(a, b)| *a += b);
                }
                Err(at) => self.0.insert(at, (*command, usage.clone())),
            }
        }
    }

    /// Each command's number and what was counted of it.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Usage)> {
        self.0.iter().map(|(command, usage)| (*command, usage))
    }
}

impl Usage {
    /// How often it was called, rejected calls aside.
    pub fn calls(&self) -> u64 {
        self.0[CALLS]
    }

    /// Microseconds of all calls whose time was taken.
    pub fn usec(&self) -> u64 {
        self.0[USEC]
    }

    /// Calls that were answered by an error.
    pub fn failed(&self) -> u64 {
        self.0[FAILED]
    }

    /// Calls that were refused before they were carried out.
    pub fn rejected(&self) -> u64 {
        self.0[REJECTED]
    }

    /// Calls whose time was taken.
    pub fn timed(&self) -> u64 {
        self.0[TIMES..].iter().sum()
    }

    /// Calls that took less than `usec`, which is exact for powers of two.
    pub fn below(&self, usec: u32) -> u64 {
        self.0[TIMES..TIMES + bucket(usec)].iter().sum()
    }

    /// The time in microseconds within which `share` (0 to 1) of the calls were answered; 0 if there were none.
    pub fn percentile(&self, share: f64) -> u64 {
        let wanted = ((self.timed() as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.0[TIMES..].iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return last_of(index);
            }
        }
        0
    }
}

/// The bucket of a time.
#[inline]
const fn bucket(usec: u32) -> usize {
    let usec = usec as u64;
    // How often it can be halved before fewer than two times STEPS remain.
    let halvings = 60 - (usec | STEPS).leading_zeros() as u64;
    (halvings * STEPS + (usec >> halvings)) as usize
}

/// The longest time in a bucket.
const fn last_of(index: usize) -> u64 {
    let index = index as u64;
    let halvings = (index / STEPS).saturating_sub(1);
    ((index - halvings * STEPS + 1) << halvings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_and_are_an_eighth_wide_at_most() {
        let mut random = crate::base::random::Random::new(5);
        let mut times: Vec<u32> = (0..2000).collect();
        times.extend((0..2000).map(|_| random.number() as u32 >> random.below(32)));
        times.push(u32::MAX);
        times.sort_unstable();
        assert_eq!((bucket(0), bucket(7), bucket(8), bucket(16)), (0, 7, 8, 16));
        for pair in times.windows(2) {
            assert!(bucket(pair[0]) <= bucket(pair[1]), "{pair:?}");
        }
        for usec in times {
            let last = last_of(bucket(usec));
            assert!(
                last >= u64::from(usec) && last - u64::from(usec) <= u64::from(usec) / 8,
                "{usec}: {last}"
            );
            assert!(bucket(usec) < BUCKETS);
            if let Ok(next) = u32::try_from(last + 1) {
                assert_eq!(bucket(next), bucket(usec) + 1, "{usec}");
            }
        }
    }

    #[test]
    fn what_workers_counted_is_summed() {
        let (mut a, mut b) = (CommandCounters::new(3), CommandCounters::new(3));
        a.answered(1, 100, 2);
        a.failed(1);
        b.answered(1, 300, 1);
        b.called(2, 4);
        b.rejected(0);
        b.called(9, 1);
        let mut sum = a.usages();
        sum.add(&b.usages());
        let seen: Vec<_> =
            sum.iter().map(|(c, u)| (c, u.calls(), u.usec(), u.failed(), u.rejected(), u.timed())).collect();
        assert_eq!(seen, [(0, 0, 0, 0, 1, 0), (1, 3, 500, 1, 0, 3), (2, 4, 0, 0, 0, 0)]);
        b.reset();
        assert_eq!(b.usages(), Usages::default());
    }

    #[test]
    fn percentiles_are_those_of_the_calls() {
        let mut counters = CommandCounters::new(1);
        for usec in 1..=1000 {
            counters.answered(0, usec, 1);
        }
        let usages = counters.usages();
        let (_, usage) = usages.iter().next().unwrap();
        for (share, exact) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (1.0, 1000.0)] {
            let told = usage.percentile(share) as f64;
            assert!((exact..=exact * 1.13).contains(&told), "{share}: {told}");
        }
        assert_eq!((usage.below(512), usage.below(1024), usage.below(1)), (511, 1000, 0));
        assert_eq!(Usage(Box::new([0; ROW])).percentile(0.99), 0);
    }
}
