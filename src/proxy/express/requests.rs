//! From the bytes of a client straight into the windows of backends. What `intake` and `dispatch` ask for each request is
//! asked once for all of them where it cannot change in between.

use super::super::backend::Kind;
use super::super::client::Client;
use super::super::dispatch::MOST_WINDOW;
use super::super::engine::Engine;
use super::super::intake::{room, MOST_REQUEST_BYTES};
use super::super::part::{Owner, Part};
use super::super::session::Mute;
use crate::base::arena::Key;
use crate::command;
use crate::config::ReadPrefer;
use crate::resp;

impl Client {
    /// Whether its plain commands go to the primary of their slot with no further question.
    #[inline]
    fn is_ordinary(&self) -> bool {
        let special = self.multi.is_some()
            || self.lease.is_some()
            || self.subscriber.is_some()
            || self.tracking.is_some();
        let changed = self.readonly | !self.authenticated | (self.db != 0) | (self.mute != Mute::Never);
        !(special | changed)
    }
}

impl Engine {
    /// Takes what it can of a client's bytes before anything else is looked at; as [`Engine::express_requests`].
    #[inline]
    pub(in crate::proxy) fn express_first(&mut self, key: Key<Client>, data: &[u8]) -> (usize, u32) {
        let begun = |c: &Client| c.active.as_deref().is_some_and(|a| a.parser.is_some());
        if self.clients.get(key).is_none_or(begun) || self.stop(key).is_some() {
            return (0, 0);
        }
        self.express_requests(key, data, self.share.commands)
    }

    /// Takes requests off the front of `data`, `most` at most, of a client that [`Engine::stop`] lets go on, up to the first
    /// one that is not for this way. Returns how many bytes and how many requests that were.
    pub(in crate::proxy) fn express_requests(
        &mut self,
        key: Key<Client>,
        data: &[u8],
        most: u32,
    ) -> (usize, u32) {
        let Some(c) = self.clients.get_mut(key) else { return (0, 0) };
        let special = self.watchful || self.config.read_prefer != ReadPrefer::Master;
        if special || !c.is_ordinary() || self.limits.longest_frame() < resp::LONGEST_BRIEF {
            return (0, 0);
        }
        let kind = Kind { resp3: c.resp3, ..Kind::default() };
        let born_us = self.now.as_micros() as u32;
        let in_flight = self.share.in_flight;
        let most = most.min(c.active.as_deref().map_or(in_flight as u32, |a| room(a, in_flight)));
        let (mut at, mut count) = (0, 0);
        while count < most {
            let Some(request) = resp::brief(&data[at..]) else { break };
            let Some(row) = command::lookup_plain(request.name, request.name_len, request.args) else {
                break;
            };
            if self.refusals.has(row.id) {
                break;
            }
            let slot = command::slot(&data[at + request.start..at + request.end]);
            let Some(backend) = self.nodes.shared_primary(slot, kind) else { break };
            let Some(b) = self.backends.get_mut(backend).filter(|b| b.window.end() < MOST_WINDOW) else {
                break;
            };
            let active = c.active.get_or_insert_with(|| self.actives.take());
            let owner = Owner::Client(key, active.order.admit(request.len as u32));
            let part = Part { owner, born_us, slot, command: row.id, attempts: 0, kind, block: false };
            b.push_from(part, data, at, request.len, self.now);
            b.watch(backend, &mut self.timers, &mut self.dirty_backends, self.now);
            c.last_command = row.id;
            at += request.len;
            count += 1;
            if active.order.pending_bytes() >= MOST_REQUEST_BYTES {
                break;
            }
        }
        c.traffic.commands += u64::from(count);
        c.traffic.bytes_in += at as u64;
        self.counters.requests += u64::from(count);
        (at, count)
    }
}
