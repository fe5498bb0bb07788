//! CLIENT UNBLOCK: ends the waiting of a client of any worker.
//!
//! A blocked client waits at a node, on a dedicated backend that is a client of that node, with an id there. Only the
//! node knows whether it has popped something for it by now, so the node is asked to unblock it, and what the node says
//! is the reply: nothing that was popped is lost. The worker of the blocked client tells where it waits; the worker that
//! was asked sends the node's own CLIENT UNBLOCK on its shared backend. From then on the dedicated backend is lent to
//! nobody else, who would be unblocked instead. A command that no node can have seen yet is answered here.

use std::net::SocketAddr;

use super::across::{Answer, Ask};
use super::backend::{Backend, Kind, State};
use super::client::Client;
use super::engine::Engine;
use super::part::{Owner, Part, NO_SLOT};
use crate::base::arena::Key;
use crate::resp::encode;

/// As a Redis 7.0.15 server says it.
const UNBLOCKED: &[u8] = b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n";

/// Where a blocked client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    node: SocketAddr,
    /// The id that its backend has at the node.
    id: i64,
}

impl Engine {
    /// CLIENT UNBLOCK on this worker: how many clients it woke, or where the client waits.
    pub(super) fn unblock(&mut self, id: i64, error: bool) -> Answer {
        let is = |c: &Client| u64::try_from(id) == Ok(c.id) && c.is_blocked();
        let Some(key) = self.clients.iter().find(|(_, c)| is(c)).map(|(key, _)| key) else {
            return Answer::Count(0);
        };
        if self.end_waiting(key, error.then_some(UNBLOCKED)) {
            return Answer::Count(1);
        }
        match self.leased(key).filter(|b| self.may_have_been_read(*b)) {
            Some(backend) => self.unblock_there(backend),
            None => Answer::Count(i64::from(self.unblock_here(key, error))),
        }
    }

    /// An orderly stop: who is blocked gets the reply of its timeout, and nothing that was popped is lost.
    pub(super) fn unblock_all(&mut self) {
        let blocked: Vec<_> =
            self.clients.iter().filter(|(_, c)| c.is_blocked()).map(|(key, _)| key).collect();
        for key in blocked {
            if self.end_waiting(key, None) {
                continue;
            }
            if !self.unblock_at_node(key, false) {
                self.unblock_here(key, false);
            }
        }
    }

    /// Has the node where a client waits answer, as when the time is over or with an error; nobody waits for what it says to
    /// that. False when no node can have seen the command yet.
    pub(super) fn unblock_at_node(&mut self, key: Key<Client>, error: bool) -> bool {
        let Some(backend) = self.leased(key).filter(|b| self.may_have_been_read(*b)) else { return false };
        if let Answer::Waits(place) = self.unblock_there(backend) {
            self.ask_to_unblock(place, error);
        }
        true
    }

    /// Whether a blocked client that has hung up was let go by its node, so that nothing was popped for it.
    pub(super) fn let_go(&self, key: Key<Client>, reply: &[u8]) -> bool {
        reply == UNBLOCKED && self.clients.get(key).is_some_and(|c| c.closing)
    }

    /// Asks the node where a client waits; false when that is not possible.
    pub(super) fn send_unblock(&mut self, ask: Key<Ask>, place: Place, error: bool) -> bool {
        let Some(node) = self.nodes.find(place.node) else { return false };
        let Ok(backend) = self.shared_backend(node, Kind::default()) else { return false };
        let mut request = Vec::new();
        let id = place.id.to_string();
        encode::request(&mut request, &["CLIENT", "UNBLOCK", &id, if error { "ERROR" } else { "TIMEOUT" }]);
        let (owner, born_us, kind) = (Owner::Ask(ask), self.now_us(), Kind::default());
        let part = Part { owner, born_us, slot: NO_SLOT, command: 0, attempts: 0, kind, block: false };
        self.push(backend, part, &request);
        true
    }

    /// Whether the node may have read what waits on a dedicated backend.
    fn may_have_been_read(&self, backend: Key<Backend>) -> bool {
        self.backends.get(backend).is_some_and(|b| b.state == State::Ready && b.asked())
    }

    fn unblock_there(&mut self, backend: Key<Backend>) -> Answer {
        let Some(b) = self.backends.get_mut(backend) else { return Answer::Count(0) };
        // A node that does not tell ids cannot be asked.
        let (Some(id), Some(n)) = (b.id, self.nodes.get(b.node)) else { return Answer::Count(0) };
        b.unblocked = true;
        Answer::Waits(Place { node: n.addr, id })
    }

    /// Answers a client whose command is still here; false when there is none.
    fn unblock_here(&mut self, key: Key<Client>, error: bool) -> bool {
        let Some(part) = self.unpark(key).or_else(|| self.recall(key)) else { return false };
        let Some(c) = self.clients.get(key) else { return false };
        let mut out = Vec::new();
        match error {
            true => out.extend_from_slice(UNBLOCKED),
            false => encode::null_array(&mut out, c.protocol()),
        }
        self.answer(&part, &out);
        true
    }
}
