//! What INFO shows of the workers and of the host.

use crate::base::sort;
use crate::proxy::across::Answer;
use crate::proxy::client::Client;
use crate::proxy::engine::Engine;
use crate::resp;
use crate::stats::{Counters, Totals, Usages};

/// Kinds of errors counted apart; further ones are counted in the total only, as in a server.
const MOST_CODES: usize = 128;

/// What one worker counted, or all of them.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub(super) counters: Counters,
    /// Clients that wait by their own or somebody's wish.
    pub(super) blocked: u64,
    /// Clients that have subscribed to something.
    pub(super) subscribers: u64,
    /// Clients that watch keys.
    pub(super) watching: u64,
    /// Clients that track keys.
    pub(super) tracking: u64,
    /// Keys that these have read, how often each, and the prefixes of others.
    pub(super) tracked: [u64; 3],
    pub(super) errors: ErrorCounts,
    pub(super) commands: Usages,
}

/// How many errors of each kind clients got; the kind is the first word.
#[derive(Clone, Debug, Default)]
pub struct ErrorCounts(Vec<(String, u64)>);

/// What the engine cannot know of the process and the machine it runs on. All of it is for showing only.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Unix time of the origin of [`crate::base::time::Time`], in microseconds.
    pub wall_us: u64,
    /// Tells this run of the process from others.
    pub run: u64,
    /// Name and version of the system, and the machine's architecture.
    pub os: String,
    /// Path of the program.
    pub executable: String,
    /// Resident memory of the process, in bytes; 0 when unknown.
    pub resident_bytes: u64,
    /// CPU time of the process in user mode, in microseconds.
    pub user_us: u64,
    /// CPU time of the process in the kernel, in microseconds.
    pub system_us: u64,
}

impl Figures {
    /// Adds those of another worker.
    pub fn add(&mut self, other: &Figures) {
        self.counters.add(&other.counters);
        self.blocked += other.blocked;
        self.subscribers += other.subscribers;
        self.watching += other.watching;
        self.tracking += other.tracking;
        self.tracked.iter_mut().zip(other.tracked).for_each(|(sum, n)| *sum += n);
        self.commands.add(&other.commands);
        for (code, count) in &other.errors.0 {
            self.errors.add(code, *count);
        }
    }
}

impl ErrorCounts {
    /// Kinds and how many of each, in the order of the alphabet.
    pub(super) fn sorted(&self) -> Vec<(&str, u64)> {
        let mut all: Vec<_> = self.0.iter().map(|(code, count)| (code.as_str(), *count)).collect();
        sort::by_key(&mut all, |one| *one);
        all
    }

    fn add(&mut self, code: &str, count: u64) {
        match self.0.iter_mut().find(|(known, _)| known == code) {
            Some((_, known)) => *known += count,
            None => {
                self.0.push((code.to_owned(), count));
                self.0.truncate(MOST_CODES);
            }
        }
    }
}

impl Engine {
    /// What this worker adds to INFO.
    pub(in crate::proxy) fn figures(&mut self) -> Figures {
        self.tally.settle();
        let count = |is: fn(&Client) -> bool| self.clients.iter().filter(|(_, c)| is(c)).count() as u64;
        Figures {
            counters: self.counters().since(self.tally.base()),
            blocked: count(|c| c.held || c.is_blocked()),
            subscribers: count(|c| c.subscriber.is_some()),
            watching: count(|c| c.lease.as_deref().is_some_and(|l| l.watched_slot().is_some())),
            tracking: count(|c| c.tracking.is_some()),
            tracked: self.tracked(),
            errors: self.error_counts.clone(),
            commands: self.tally.usages(),
        }
    }

    /// What the page of metrics shows.
    pub fn totals(&mut self) -> Totals {
        self.tally.settle();
        Totals { counters: self.counters(), commands: self.tally.usages() }
    }

    /// CONFIG RESETSTAT on this worker: what INFO shows is counted from zero again.
    pub(in crate::proxy) fn reset_stats(&mut self) -> Answer {
        self.error_counts = ErrorCounts::default();
        let counters = self.counters();
        self.tally.reset(counters);
        Answer::Done
    }

    /// An error goes to a client.
    #[cold]
    pub(in crate::proxy) fn note_error(&mut self, reply: &[u8]) {
        self.counters.error_replies += 1;
        let text = resp::error_text(reply).unwrap_or_default();
        let code = text.split(|b| matches!(b, b' ' | b'\r' | b'\n')).next().unwrap_or_default();
        self.error_counts.add(&String::from_utf8_lossy(code), 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_their_first_word_and_summed() {
        let mut a = Figures::default();
        a.errors.add("ERR", 2);
        let mut b = Figures { blocked: 3, ..Figures::default() };
        b.errors.add("WRONGTYPE", 1);
        b.errors.add("ERR", 1);
        a.add(&b);
        assert_eq!((a.blocked, a.errors.sorted()), (3, vec![("ERR", 3), ("WRONGTYPE", 1)]));
    }

    #[test]
    fn what_clients_make_up_does_not_grow_without_bound() {
        let mut counts = ErrorCounts::default();
        (0..1000).for_each(|i| counts.add(&i.to_string(), 1));
        assert_eq!(counts.sorted().len(), MOST_CODES);
    }
}
