//! What one client, or all together, saw.

use std::collections::BTreeMap;
use std::fmt;

use crate::support::frame;

/// A wait of a client for one reply.
#[derive(Clone, Debug, Default)]
pub struct Wait {
    pub us: u64,
    /// Who, for what, since when.
    pub what: String,
}

/// An acknowledged write that was not there any more when it was read.
#[derive(Clone, Debug)]
pub struct Lost {
    pub key: String,
    /// Its number among the writes of the key.
    pub number: u64,
    pub kind: Kind,
}

/// What kind of write it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value, which has its number in it.
    Value,
    /// So many increments.
    Counter,
    /// So many pops from a list.
    Pop,
}

#[derive(Debug, Default)]
pub struct Testimony {
    pub clients: u64,
    pub requests: u64,
    /// Error replies by their text, with digits as `N`.
    pub errors: BTreeMap<String, u64>,
    /// How connections were lost.
    pub drops: Vec<String>,
    /// Replies that cannot be.
    pub wrong: Vec<String>,
    /// Reads of what was older than acknowledged.
    pub stale: Vec<String>,
    /// Acknowledged writes that such reads did not find.
    pub lost: Vec<Lost>,
    /// Elements that were pushed and not popped.
    pub missed: u64,
    /// Messages that were published and did not come.
    pub messages_missed: u64,
    /// Messages that came behind a later one.
    pub messages_again: u64,
    /// Transactions that failed because of WATCH, though nobody else wrote there.
    pub conflicts: u64,
    /// The longest wait of those who work on all shards.
    pub longest: Wait,
    /// The longest wait of the probe of each third of the slots.
    pub probes: [Wait; 3],
    /// Counters: key, acknowledged increments, increments that may have happened.
    pub counters: Vec<(String, u64, u64)>,
}

impl Testimony {
    pub fn error(&mut self, text: &str) {
        *self.errors.entry(without_digits(text)).or_default() += 1;
    }

    pub fn waited(&mut self, who: &str, request: &[u8], us: u64, sent: u64) {
        if us > self.longest.us {
            let what = format!("{who}, {}, sent at {} ms", frame::show(request), sent / 1000);
            self.longest = Wait { us, what };
        }
    }

    pub fn add(&mut self, other: Testimony) {
        self.clients += other.clients;
        self.requests += other.requests;
        for (text, n) in other.errors {
            *self.errors.entry(text).or_default() += n;
        }
        self.drops.extend(other.drops);
        self.wrong.extend(other.wrong);
        self.stale.extend(other.stale);
        self.lost.extend(other.lost);
        self.missed += other.missed;
        self.messages_missed += other.messages_missed;
        self.messages_again += other.messages_again;
        self.conflicts += other.conflicts;
        self.counters.extend(other.counters);
        longer(&mut self.longest, other.longest);
        for (mine, its) in self.probes.iter_mut().zip(other.probes) {
            longer(mine, its);
        }
    }

    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Panics unless nothing was noticed at all: no error, drop, wrong, stale, lost or missing reply.
    pub fn assert_unnoticed(&self) {
        assert!(self.requests > 1000, "too little was asked: {}", self.requests);
        assert_eq!(self.error_count(), 0, "errors: {:?}", self.errors);
        self.assert_true();
        assert!(self.stale.is_empty(), "{} stale, first {:?}", self.stale.len(), first(&self.stale));
        assert_eq!(self.missed, 0, "messages or elements are missing");
    }

    /// Panics unless every client stayed connected and nothing that it was told was wrong.
    pub fn assert_true(&self) {
        assert!(self.drops.is_empty(), "{} drops, first {:?}", self.drops.len(), first(&self.drops));
        assert!(self.wrong.is_empty(), "{} wrong, first {:?}", self.wrong.len(), first(&self.wrong));
    }

    /// Panics when an error says something else than any of `texts`, each of which is a part of it.
    pub fn assert_errors_only(&self, texts: &[&str]) {
        for text in self.errors.keys() {
            assert!(
                texts.iter().any(|t| text.contains(t)),
                "unexpected error {text:?} among {:?}",
                self.errors
            );
        }
    }
}

impl fmt::Display for Testimony {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} clients, {} requests, {} errors, {} drops, {} wrong, {} stale, {} elements missed, \
             {} messages missed, {} again, {} WATCH conflicts, longest wait {} ms",
            self.clients,
            self.requests,
            self.error_count(),
            self.drops.len(),
            self.wrong.len(),
            self.stale.len(),
            self.missed,
            self.messages_missed,
            self.messages_again,
            self.conflicts,
            self.longest.us / 1000,
        )?;
        let probes: Vec<String> = self.probes.iter().map(|p| format!("{}", p.us / 1000)).collect();
        write!(f, ", by shard {} ms", probes.join(" / "))?;
        if self.longest.us > 200_000 {
            write!(f, "\n    the longest was of {}", self.longest.what)?;
        }
        for (text, n) in &self.errors {
            write!(f, "\n    {n} x {text}")?;
        }
        Ok(())
    }
}

fn longer(mine: &mut Wait, its: Wait) {
    if its.us > mine.us {
        *mine = its;
    }
}

fn first(texts: &[String]) -> &[String] {
    &texts[..texts.len().min(3)]
}

fn without_digits(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c.is_ascii_digit() {
            true if out.ends_with('N') => {}
            true => out.push('N'),
            false => out.push(c),
        }
    }
    out
}
