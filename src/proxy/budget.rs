//! What the requests and replies of all clients of a worker may take in memory together.
//!
//! Each limit of its own bounds one client; many clients below theirs can still be too much for a small host. So a worker
//! that has something to do counts now and then what is held for its clients, and closes those that hold most until
//! its share of `-max-memory` is kept. That is what a server's `maxmemory-clients` does.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::mem;
use std::time::Duration;

use super::client::Client;
use super::engine::Engine;
use super::fan::Keyed;
use super::recover::Parked;
use crate::base::arena::Key;
use crate::base::sort;
use crate::base::time::Time;

/// Time between two counts; a count looks at each client once.
const PERIOD: Duration = Duration::from_millis(100);

/// Capacity in bytes of each scratch buffer that is kept.
const KEEP_SCRATCH: usize = 64 << 10;

/// A client that holds less than this is never closed for what all of them hold.
const SMALL: usize = 64 * 1024;

/// When to count again.
#[derive(Debug, Default)]
pub struct Budget {
    next: Time,
    /// Bytes that came from nodes, or were copied for subscribers, since the last count.
    grown: usize,
}

impl Engine {
    /// Counts, if it is time to; called once a turn.
    #[inline]
    pub(super) fn keep_budget(&mut self) {
        if self.now >= self.budget.next && self.config.max_memory != 0 {
            self.count_budget();
        }
    }

    /// So many bytes came from a node, or were copied for subscribers: with enough of them too much may be held before the
    /// next count is due.
    #[inline]
    pub(super) fn grew(&mut self, bytes: usize) {
        self.budget.grown = self.budget.grown.saturating_add(bytes);
        if self.budget.grown > self.config.max_memory / 16 && self.config.max_memory != 0 {
            self.count_budget();
        }
    }

    /// Gives back what only a large request needs.
    pub(super) fn shrink_scratch(&mut self) {
        for scratch in [&mut self.scratch, &mut self.scratch_part, &mut self.scratch_inline] {
            if scratch.capacity() > KEEP_SCRATCH {
                *scratch = Vec::new();
            }
        }
        if self.keys.capacity() > KEEP_SCRATCH / mem::size_of::<Keyed>() {
            self.keys = Vec::new();
        }
    }

    fn budget_share(&self) -> usize {
        self.config.max_memory / self.around.workers.max(1)
    }

    #[cold]
    fn count_budget(&mut self) {
        self.budget = Budget { next: self.now.after(PERIOD), grown: 0 };
        let (held, share) = (self.held_memory(), self.budget_share());
        let Some(over) = held.checked_sub(share).filter(|over| *over > 0) else { return };
        let mut by_client = self.memory_by_client();
        sort::by_key(&mut by_client, |(key, bytes)| (Reverse(*bytes), key.index()));
        let mut left = over;
        for (key, bytes) in by_client {
            if left == 0 || bytes < SMALL {
                break;
            }
            left = left.saturating_sub(bytes);
            self.evict(key, bytes, held);
        }
    }

    fn evict(&mut self, key: Key<Client>, bytes: usize, held: usize) {
        if let Some(c) = self.clients.get(key) {
            log::warn!(
                "client {} ({}) closed: {bytes} bytes are held for it, and for all of this worker's clients {held}, which is \
                 more than its share of -max-memory, {} bytes",
                c.id,
                c.peer,
                self.budget_share()
            );
        }
        self.counters.memory_limit_closes += 1;
        self.close_client(key);
    }

    /// Bytes held for all clients: their requests and replies, and what is on the way to and from the nodes.
    fn held_memory(&self) -> usize {
        let clients: usize = self.clients.iter().map(|(_, c)| of_client(c)).sum();
        let backends: usize = self.backends.iter().map(|(_, b)| b.window.memory()).sum();
        let gathers: usize = self.gathers.iter().map(|(_, g)| g.memory()).sum();
        clients + backends + gathers
    }

    /// What is held for each client that has anything under way. What lies in a window is its request, too.
    fn memory_by_client(&self) -> Vec<(Key<Client>, usize)> {
        let mut gathered: HashMap<usize, usize> = HashMap::new();
        for (_, gather) in self.gathers.iter() {
            *gathered.entry(gather.client.index()).or_default() += gather.memory();
        }
        let of = |key: Key<Client>, c: &Client| {
            let requests = c.active.as_deref().map_or(0, |a| a.order.pending_bytes());
            of_client(c) + requests + gathered.get(&key.index()).copied().unwrap_or(0)
        };
        self.clients.iter().map(|(key, c)| (key, of(key, c))).collect()
    }
}

fn of_client(c: &Client) -> usize {
    let active = c.active.as_deref();
    let parked = active.map_or(0, |a| a.parked.iter().map(Parked::memory).sum());
    active.map_or(0, |a| a.memory()) + parked + c.multi.as_deref().map_or(0, |m| m.memory())
}
