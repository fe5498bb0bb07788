//! What an engine holds, as numbers: for metrics, and for tests that look whether anything is left behind.

use super::engine::Engine;
use crate::stats::Counters;

/// What an engine holds, as numbers; everything that is added for a client or a node must go with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Clients connected.
    pub clients: usize,
    /// Backends connected or being connected.
    pub backends: usize,
    /// Nodes known.
    pub nodes: usize,
    /// Split requests under way.
    pub gathers: usize,
    /// Questions to all workers under way.
    pub asks: usize,
    /// Clients that MONITOR.
    pub monitors: usize,
    /// Entries on the list of clients that CLIENT PAUSE holds up.
    pub held: usize,
    /// Timers set.
    pub timers: usize,
    /// Entries on the list of clients that wait for the topology.
    pub waiting: usize,
    /// Parts that wait to be sent again, of all clients.
    pub parked: usize,
    /// Bytes of replies not taken by the client that has most of them.
    pub largest_backlog: usize,
    /// Channels and patterns that clients have subscribed to, or that some node has not been told to forget.
    pub topics: usize,
}

impl Engine {
    /// What was counted, with the gauges filled in.
    pub fn counters(&self) -> Counters {
        let in_flight = self.backends.iter().map(|(_, b)| b.fifo.len() as u64).sum();
        let (clients, backends) = (self.clients.len() as u64, self.backends.len() as u64);
        let circuits_open = self.nodes.open_circuits() as u64;
        let held = self.holdings();
        Counters {
            clients,
            backends,
            in_flight,
            circuits_open,
            gathers: held.gathers as u64,
            parked: held.parked as u64,
            waiting: (held.waiting + held.held) as u64,
            topics: held.topics as u64,
            timers: held.timers as u64,
            ..self.counters
        }
    }

    /// What is held now.
    pub fn holdings(&self) -> Holdings {
        let actives = || self.clients.iter().filter_map(|(_, c)| c.active.as_deref());
        Holdings {
            clients: self.clients.len(),
            backends: self.backends.len(),
            nodes: self.nodes.len(),
            gathers: self.gathers.len(),
            asks: self.asks.len(),
            monitors: self.watchers.len(),
            held: self.held.len(),
            timers: self.timers.len(),
            waiting: self.waiting.len(),
            parked: actives().map(|a| a.parked.len()).sum(),
            largest_backlog: actives().map(|a| a.backlog()).max().unwrap_or(0),
            topics: self.hub.len(),
        }
    }
}
