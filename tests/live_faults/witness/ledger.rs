//! What was written to each key: its writer's numbers, so that everybody knows what a reader must find.

use std::sync::atomic::{AtomicU64, Ordering};

/// Keys of each pipeline client.
pub const KEYS: usize = 60;

/// The values of a key are numbered; this is how far they are.
#[derive(Debug, Default)]
pub struct Entry {
    /// The newest number whose write was acknowledged.
    acknowledged: AtomicU64,
    /// The newest number that was sent.
    sent: AtomicU64,
}

/// The keys of all pipeline clients, written by one client each and read by all.
#[derive(Debug)]
pub struct Ledger {
    clients: Vec<Vec<Entry>>,
}

impl Ledger {
    pub fn new(clients: usize) -> Ledger {
        let entries = || (0..KEYS).map(|_| Entry::default()).collect();
        Ledger { clients: (0..clients).map(|_| entries()).collect() }
    }

    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    pub fn key(client: usize, key: usize) -> String {
        format!("witness:{client}:{key}")
    }

    pub fn value(client: usize, key: usize, number: u64) -> String {
        format!("witness:{client}:{key}={number};")
    }

    /// The number in a value; `None` when it is no value of this key.
    pub fn number(client: usize, key: usize, value: &str) -> Option<u64> {
        let number = value.strip_prefix(&format!("witness:{client}:{key}="))?.strip_suffix(';')?;
        number.parse().ok()
    }

    /// The number of the next value to write.
    pub fn next(&self, client: usize, key: usize) -> u64 {
        self.clients[client][key].sent.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub fn acknowledge(&self, client: usize, key: usize, number: u64) {
        self.clients[client][key].acknowledged.store(number, Ordering::SeqCst);
    }

    /// What a reader that asks now must find at least.
    pub fn acknowledged(&self, client: usize, key: usize) -> u64 {
        self.clients[client][key].acknowledged.load(Ordering::SeqCst)
    }

    /// What a reader that has asked may have found at most.
    pub fn sent(&self, client: usize, key: usize) -> u64 {
        self.clients[client][key].sent.load(Ordering::SeqCst)
    }

    /// A read has shown that the writes from `from` to `to` are gone: older values are right from now on.
    pub fn give_up(&self, client: usize, key: usize, found: u64) {
        self.clients[client][key].acknowledged.fetch_min(found, Ordering::SeqCst);
    }
}
