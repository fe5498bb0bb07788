//! Client bytes -> requests: parsing, budgets, back-pressure, and the life of a client.

use std::mem;
use std::net::SocketAddr;

use super::client::{Active, Client};
use super::dispatch::Step;
use super::engine::{Alarm, Effect, Engine};
use super::order::Sequence;
use super::part::{Owner, Part};
use super::session::Mute;
use crate::base::arena::Key;
use crate::resp::{encode, inline, Args, Parsed, RequestError, RequestParser};

/// Bytes of requests in flight at which reading a client stops.
pub(super) const MOST_REQUEST_BYTES: usize = 4 << 20;

/// Bytes of replies that a client has not taken at which reading it stops.
pub(super) const MOST_BACKLOG: usize = 1 << 20;

/// What became of the bytes handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    /// What was not consumed is the beginning of a request; hand it in again with more behind it.
    More,
    /// Reading stops; the key will be on the ready list when what was not consumed shall be handed in again.
    Paused,
    /// Nothing more is wanted from this client.
    Closed,
}

impl Engine {
    /// A client was accepted.
    pub fn client_opened(&mut self, peer: SocketAddr) -> Key<Client> {
        let id = self.next_id;
        self.next_id += self.around.workers as u64;
        self.counters.clients_accepted += 1;
        let client = Client::new(id, peer, self.config.password.is_empty(), self.now);
        let stranger = !client.authenticated && !self.config.auth_timeout.is_zero();
        let key = self.clients.insert(client);
        if stranger {
            self.set_stranger_timer(key);
        } else {
            self.set_idle_timer(key);
        }
        key
    }

    /// By which address a client reached the proxy, and its socket's descriptor: CLUSTER and CLIENT LIST show them.
    pub fn client_reached(&mut self, key: Key<Client>, local: SocketAddr, descriptor: i32) {
        if let Some(c) = self.clients.get_mut(key) {
            c.local = local;
            c.descriptor = descriptor;
        }
    }

    /// A client was turned away because there are too many.
    pub fn client_refused(&mut self) {
        self.counters.clients_refused += 1;
    }

    /// Bytes from a client: what was not consumed of the last call, and what came since. Returns how many bytes were
    /// consumed.
    pub fn client_bytes(&mut self, key: Key<Client>, data: &[u8]) -> (usize, Intake) {
        let Some(c) = self.clients.get_mut(key) else { return (data.len(), Intake::Closed) };
        c.paused = false;
        c.heard = self.now;
        let uploading = c.uploading;
        let before = self.counters.requests;
        if uploading {
            let (consumed, intake) = self.upload_bytes(key, data);
            self.count_bytes(key, consumed);
            return self.taken_in(key, consumed, intake);
        }
        let (at, count) = self.express_first(key, data);
        if count > 0 && at == data.len() {
            self.share.sent(key, u64::from(count), true);
            return self.taken_in(key, at, Intake::More);
        }
        let stored = self.clients.get_mut(key).and_then(|c| c.active.as_mut()?.parser.take());
        let mut parser = stored.unwrap_or_else(|| mem::take(&mut self.parser));
        let (consumed, intake) =
            self.take_requests(key, data, (at, self.share.commands.saturating_sub(count)), &mut parser);
        self.put_parser(key, parser, data.len() - consumed);
        let commands = self.counters.requests.wrapping_sub(before);
        self.share.sent(key, commands, intake == Intake::More);
        self.taken_in(key, consumed, intake)
    }

    /// So many bytes of a client were taken, other than by the express way.
    fn count_bytes(&mut self, key: Key<Client>, len: usize) {
        if let Some(c) = self.clients.get_mut(key) {
            c.traffic.bytes_in += len as u64;
        }
    }

    #[inline]
    fn taken_in(&mut self, key: Key<Client>, consumed: usize, intake: Intake) -> (usize, Intake) {
        self.counters.client_bytes_in += consumed as u64;
        if intake == Intake::Paused {
            if let Some(c) = self.clients.get_mut(key) {
                c.paused = true;
            }
        } else if self.draining {
            self.close_if_done(key);
        }
        (consumed, intake)
    }

    /// The client will send nothing more; it still gets what it waits for.
    pub fn client_eof(&mut self, key: Key<Client>) {
        // What it has begun and will not end must not be executed.
        if self.clients.get(key).is_some_and(|c| c.uploading) {
            self.cut_upload(key);
        }
        if let Some(c) = self.clients.get_mut(key) {
            c.closing = true;
        }
        self.close_if_done(key);
        self.client_hung_up(key);
    }

    /// The client's socket is gone.
    pub fn client_gone(&mut self, key: Key<Client>) {
        self.remove_client(key);
    }

    /// What can be written to a client now.
    #[inline]
    pub fn client_output(&self, key: Key<Client>) -> &[u8] {
        self.clients.get(key).map_or(&[], |c| c.output())
    }

    /// The first `n` bytes of [`Engine::client_output`] were written. A client must be reported here, with 0 if nothing
    /// could be written, each time it was taken from the dirty list.
    pub fn client_written(&mut self, key: Key<Client>, n: usize) {
        let Some(c) = self.clients.get_mut(key) else { return };
        c.dirty = false;
        if n > 0 {
            c.heard = self.now;
        }
        self.counters.client_bytes_out += n as u64;
        c.traffic.bytes_out += n as u64;
        let mut waited_for = false;
        if let Some(active) = c.active.as_mut() {
            active.out.wrote(n);
            waited_for = !active.sources.is_empty() | active.slices.is_some();
        }
        if let Some(active) = c.active.take_if(|a| a.is_idle()) {
            self.actives.give(active);
        }
        if c.paused && !c.closing {
            self.resume(key);
        } else if c.closing || self.draining {
            self.close_if_done(key);
        }
        if waited_for {
            self.release_sources(key);
            self.next_slice(key);
        }
    }

    /// Closes a client that wants nothing more and has everything it waited for.
    pub(super) fn close_if_done(&mut self, key: Key<Client>) {
        let draining = self.draining;
        let ends = |c: &Client| c.closing || (draining && !c.paused && !c.ready);
        let done = |c: &Client| ends(c) && c.is_answered() && c.output().is_empty();
        if self.clients.get(key).is_some_and(done) {
            self.close_client(key);
        }
    }

    /// Closes a client at once.
    pub(super) fn close_client(&mut self, key: Key<Client>) {
        if self.remove_client(key) {
            self.effects.push(Effect::CloseClient(key));
        }
    }

    pub(super) fn close_all_clients(&mut self) {
        for key in self.clients.keys() {
            self.close_client(key);
        }
    }

    /// Nothing was heard of a client for a while.
    pub(super) fn idle_alarm(&mut self, key: Key<Client>) {
        let Some(c) = self.clients.get_mut(key) else { return };
        if !c.is_answered() || c.dirty || c.held || c.subscriber.is_some() {
            c.heard = self.now;
        }
        let quiet = self.now.since(c.heard) >= self.config.client_idle_timeout;
        if quiet {
            log::debug!("client {} ({}) closed: idle", c.id, c.peer);
            self.close_client(key);
        } else {
            self.set_idle_timer(key);
        }
    }

    pub(super) fn set_idle_timer(&mut self, key: Key<Client>) {
        let timeout = self.config.client_idle_timeout;
        let Some(c) = self.clients.get_mut(key) else { return };
        if !timeout.is_zero() {
            let at = c.heard.after(timeout).max(self.now);
            c.timer = self.timers.set(at, Alarm::Idle(key));
        }
    }

    fn take_requests(
        &mut self,
        key: Key<Client>,
        data: &[u8],
        (mut at, mut budget): (usize, u32),
        parser: &mut RequestParser,
    ) -> (usize, Intake) {
        // Whether what is next has been found not to be for the express way.
        let mut special = true;
        while at < data.len() {
            if let Some(stop) = self.stop(key) {
                return (if stop == Intake::Closed { data.len() } else { at }, stop);
            }
            if budget == 0 {
                self.make_ready(key);
                return (at, Intake::Paused);
            }
            let rest = &data[at..];
            if !mem::replace(&mut special, true) {
                let (len, count) = self.express_requests(key, rest, budget);
                at += len;
                budget -= count;
                continue;
            }
            budget -= 1;
            let (stranger, mute) =
                self.clients.get(key).map_or((true, Mute::Never), |c| (!c.authenticated, c.mute));
            let parsed = parser.parse(rest, if stranger { &self.stranger_limits } else { &self.limits });
            let (len, step) = match parsed {
                Parsed::Incomplete if parser.announced() >= self.streams.sizes.large => {
                    return (at, self.large_argument(key, rest, parser).unwrap_or(Intake::More));
                }
                Parsed::Incomplete => return (at, Intake::More),
                Parsed::Empty { len } => (len, Step::Taken),
                parsed if mute == Mute::Never => self.take_request(key, parsed, rest, parser),
                parsed => self.muted(key, |engine| engine.take_request(key, parsed, rest, parser)),
            };
            if step == Step::Wait {
                parser.reset();
                return (at, Intake::Paused);
            }
            self.count_bytes(key, len);
            at += len;
            special = false;
        }
        (at, Intake::More)
    }

    /// What the parser has found at the start of `rest`; how long it is, and what became of it.
    #[inline]
    fn take_request(
        &mut self,
        key: Key<Client>,
        parsed: Parsed,
        rest: &[u8],
        parser: &RequestParser,
    ) -> (usize, Step) {
        match parsed {
            Parsed::Request { len } => (len, self.request(key, &Args::new(&rest[..len], parser.spans()))),
            Parsed::Inline { len } => (len, self.inline_request(key, &rest[..len])),
            Parsed::Error(error) => (rest.len(), self.protocol_error(key, error)),
            Parsed::Incomplete | Parsed::Empty { .. } => (0, Step::Taken),
        }
    }

    /// Why no further request may be taken from a client now.
    #[inline]
    pub(super) fn stop(&mut self, key: Key<Client>) -> Option<Intake> {
        let (epoch, most) = (self.nodes.epoch(), self.share.in_flight);
        let Some(c) = self.clients.get_mut(key) else { return Some(Intake::Closed) };
        if c.closing {
            return Some(Intake::Closed);
        }
        let Some(active) = c.active.as_deref() else {
            c.epoch = epoch;
            c.barrier = false;
            return None;
        };
        if active.order.is_settled() {
            c.epoch = epoch;
            c.barrier = false;
        }
        // What a transaction in play fills, only its end can empty.
        let full = !active.order.is_held() && is_full(active, most);
        // A slot may have moved since its last request was sent: its order is kept by waiting for the replies.
        let moved = c.epoch != epoch;
        (full || moved || c.barrier || !active.parked.is_empty()).then_some(Intake::Paused)
    }

    /// Puts a paused client on the ready list when nothing stops it any more.
    fn resume(&mut self, key: Key<Client>) {
        let stopped = self.stop(key).is_some();
        let Some(c) = self.clients.get_mut(key) else { return };
        let barrier = c.held || (c.barrier && !c.settled());
        if !stopped && !barrier {
            c.paused = false;
            c.barrier = false;
            self.make_ready(key);
        }
    }

    /// Keeps the state of an unfinished request, of which `unread` bytes have come, with its client, else the parser with
    /// the engine.
    fn put_parser(&mut self, key: Key<Client>, mut parser: RequestParser, unread: usize) {
        if !parser.is_fresh() {
            if let Some(c) = self.clients.get_mut(key) {
                let active = c.active.get_or_insert_with(|| self.actives.take());
                (active.parser, active.unread) = (Some(parser), unread);
                return;
            }
            parser.reset();
        }
        self.parser = parser;
    }

    fn inline_request(&mut self, key: Key<Client>, line: &[u8]) -> Step {
        let args = match inline::split(line) {
            Ok(args) => args,
            Err(error) => return self.protocol_error(key, error),
        };
        let mut bytes = mem::take(&mut self.scratch_inline);
        bytes.clear();
        encode::request(&mut bytes, &args);
        let mut parser = RequestParser::new();
        let step = match parser.parse(&bytes, &self.limits) {
            Parsed::Request { .. } => self.request(key, &Args::new(&bytes, parser.spans())),
            _ => Step::Taken,
        };
        self.scratch_inline = bytes;
        step
    }

    /// The error behind all earlier replies, then the end.
    fn protocol_error(&mut self, key: Key<Client>, error: RequestError) -> Step {
        self.counters.protocol_errors += 1;
        let mut reply = Vec::new();
        error.write_reply(&mut reply);
        if !reply.is_empty() {
            self.reply_now(key, &reply);
        }
        if let Some(c) = self.clients.get_mut(key) {
            log::debug!("client {} ({}) closed: {error:?}", c.id, c.peer);
            c.closing = true;
        }
        self.mark_client(key);
        self.close_if_done(key);
        Step::Taken
    }

    /// Takes a client out; parts in flight become tombstones. False when it was gone before.
    fn remove_client(&mut self, key: Key<Client>) -> bool {
        let Some(mut c) = self.clients.remove(key) else { return false };
        if let Some(lease) = c.lease.take() {
            self.close_leased(&lease);
        }
        self.timers.cancel(c.timer);
        if c.held {
            self.held.retain(|k| *k != key);
        }
        if c.monitor {
            self.monitor_gone(key);
        }
        if let Some(mut active) = c.active.take() {
            self.timers.cancel(active.parked_timer);
            if active.waiting {
                self.waiting.retain(|k| *k != key);
            }
            for parked in mem::take(&mut active.parked) {
                self.abandon(&parked.part);
            }
            self.let_go_on(&mut active.sources);
            self.streams.uploads -= usize::from(active.upload.is_some());
            self.actives.give(active);
        }
        if let Some(subscriber) = c.subscriber.take() {
            self.subscriber_gone(*subscriber);
        }
        if let Some(tracking) = c.tracking.take() {
            self.tracking_gone(key, &tracking);
        }
        self.shrink();
        true
    }

    /// When a client has gone: gives back what only more clients would need.
    fn shrink(&mut self) {
        let clients = self.clients.len();
        self.actives.shrink_to(clients);
        self.splits.shrink_to(clients);
        if clients == 0 {
            self.clients.shrink_if_empty();
            self.shrink_scratch();
        }
    }

    /// A parked part of a client that has gone: a split request that waited for it need not wait longer.
    fn abandon(&mut self, part: &Part) {
        if let Owner::Gather(gather, index) = part.owner {
            self.gather_reply(gather, index, b"-ERR client gone\r\n");
        }
    }

    /// A reply that is known at once; it takes its place behind the requests in flight.
    pub(super) fn reply_now(&mut self, key: Key<Client>, reply: &[u8]) {
        let Some(c) = self.clients.get_mut(key) else { return };
        let active = c.active.get_or_insert_with(|| self.actives.take());
        if active.order.is_empty() {
            if !active.order.is_muting() {
                active.out.tail().extend_from_slice(reply);
            }
        } else {
            let sequence = active.order.admit(0);
            active.order.complete(sequence, reply, active.out.tail());
        }
        if reply.first() == Some(&b'-') {
            self.note_error(reply);
        }
        self.mark_client(key);
    }

    /// The reply to an admitted request.
    pub(super) fn reply_to(&mut self, key: Key<Client>, sequence: Sequence, reply: &[u8]) {
        if matches!(reply.first(), Some(b'-' | b'!')) && self.clients.get(key).is_some() {
            self.note_error(reply);
        }
        self.reply_by(key, sequence, |out| out.extend_from_slice(reply));
    }

    /// The reply to an admitted request, which is no error and is appended by `write` to where it belongs.
    #[inline]
    pub(super) fn reply_by(
        &mut self,
        key: Key<Client>,
        sequence: Sequence,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let Some(c) = self.clients.get_mut(key) else { return };
        let Some(active) = c.active.as_deref_mut() else { return };
        let waiting = active.backlog();
        let overdue = waiting > self.config.client_output_limit;
        self.streams.swamped |= waiting > self.streams.sizes.swamp;
        active.order.complete_by(sequence, active.out.tail(), write);
        if !c.dirty {
            c.dirty = true;
            self.dirty_clients.push(key);
        }
        if overdue {
            self.output_limit(key);
        }
    }

    /// A client does not take its replies.
    #[cold]
    pub(super) fn output_limit(&mut self, key: Key<Client>) {
        if let Some(c) = self.clients.get(key) {
            log::warn!(
                "client {} ({}) closed: more than {} bytes of replies wait for it",
                c.id,
                c.peer,
                self.config.client_output_limit
            );
        }
        self.counters.output_limit_closes += 1;
        self.close_client(key);
    }
}

/// How many more requests a client may have in flight.
#[inline]
pub(super) fn room(active: &Active, most: usize) -> u32 {
    most.saturating_sub(active.order.len()) as u32
}

/// Whether so much of a client is under way that it must not be read.
#[inline]
fn is_full(active: &Active, most: usize) -> bool {
    active.order.len() >= most
        || active.order.pending_bytes() >= MOST_REQUEST_BYTES
        || active.backlog() >= MOST_BACKLOG
}
