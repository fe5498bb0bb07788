//! Node bytes -> replies: frames them, finds who waits, and passes them on in order.

use std::mem;

use super::backend::{Backend, State};
use super::client::Client;
use super::engine::{Alarm, Effect, Engine};
use super::errors;
use super::loss::Loss;
use super::part::{Greeting, InFlight, Owner, Part};
use super::redirect::{self, Verdict};
use super::scripts;
use super::silence::SUSPECT_AFTER;
use super::stream::Flow;
use crate::base::arena::Key;
use crate::command;
use crate::resp::{self, Scan};

impl Engine {
    /// The socket of a backend is connected.
    pub fn backend_connected(&mut self, key: Key<Backend>) {
        if let Some(b) = self.backends.get_mut(key) {
            b.connected(self.now);
        }
        self.mark_backend(key);
    }

    /// What can be written to a backend now.
    #[inline]
    pub fn backend_output(&self, key: Key<Backend>) -> &[u8] {
        self.backends.get(key).map_or(&[], |b| b.output())
    }

    /// The first `n` bytes of [`Engine::backend_output`] were written. A backend must be reported here, with 0 if
    /// nothing could be written, each time it was taken from the dirty list.
    #[inline]
    pub fn backend_written(&mut self, key: Key<Backend>, n: usize) {
        if let Some(b) = self.backends.get_mut(key) {
            b.dirty = false;
            if n > 0 && !b.asked() {
                b.progress = self.now;
            }
            b.full = n < b.output().len();
            b.window.wrote(n);
            if b.flow == Flow::Request {
                self.request_written(key);
            }
        }
    }

    /// The socket of a backend can be written again.
    pub fn backend_writable(&mut self, key: Key<Backend>) {
        // The system says so with every reply.
        if self.backends.get(key).is_some_and(|b| b.full) {
            self.mark_backend(key);
        }
    }

    /// The socket of a client can be written again.
    pub fn client_writable(&mut self, key: Key<Client>) {
        self.mark_client(key);
    }

    /// Bytes from a node: what was not consumed of the last call, and what came since. Returns how many bytes were
    /// consumed; what was not is the beginning of a reply.
    pub fn backend_bytes(&mut self, key: Key<Backend>, data: &[u8]) -> usize {
        self.grew(data.len());
        let suspect = |b: &&Backend| b.suspect && !b.kind.listener;
        if self.backends.get(key).filter(suspect).is_some_and(|b| self.speaks_too_late(b.node, data)) {
            self.counters.reply_timeouts += 1;
            self.lose_backend(key, Loss::ReplyTimeout);
            return data.len();
        }
        let mut at = 0;
        let mut large = false;
        match self.backends.get(key).map(|b| b.flow) {
            Some(Flow::Replies) | None => {}
            Some(Flow::Request) => return self.early_bytes(key, data),
            Some(Flow::Messages) => return self.listener_bytes(key, data),
            Some(Flow::Rest) => {
                let (consumed, ended) = self.rest_of_reply(key, data);
                if !ended {
                    self.replies_seen(key);
                    return consumed;
                }
                at = consumed;
            }
        }
        while at < data.len() {
            at = self.express_replies(key, data, at);
            if at == data.len() {
                break;
            }
            let Some(b) = self.backends.get_mut(key) else { return data.len() };
            let scanned = mem::take(&mut b.scanned);
            match b.framer.scan(&data[at + scanned..]) {
                Ok(Scan::Done(n)) => {
                    let end = at + scanned + n;
                    self.frame(key, &data[at..end]);
                    at = end;
                }
                Ok(Scan::More(n)) => {
                    b.scanned = scanned + n;
                    large = self.streams.sizes.are_passed_by(b.scanned, b.framer.announced());
                    break;
                }
                Err(error) => {
                    self.lose_backend(key, Loss::Protocol(error.to_string()));
                    return data.len();
                }
            }
        }
        if large {
            at += self.begin_reply(key, &data[at..]);
        }
        if self.streams.swamped {
            self.hold_for_swamped(key);
        }
        self.replies_seen(key);
        at
    }

    /// One whole frame of a node.
    pub(super) fn frame(&mut self, key: Key<Backend>, frame: &[u8]) {
        let first = frame[0];
        if resp::is_push(first) {
            return;
        }
        let Some(b) = self.backends.get_mut(key) else { return };
        let Some(&front) = b.fifo.front() else { return self.surplus(key) };
        // A command of a transaction, whose length is 0, needs at least the first byte of it to be written.
        if !b.window.front_written(front.len.max(1) as usize) {
            return self.surplus(key);
        }
        let odd = first == b'-' || front.part.attempts != 0;
        match front.part.owner {
            Owner::Client(client, sequence) if !odd => {
                b.answered(front.len);
                self.tally.answered(&front.part, self.now);
                self.reply_to(client, sequence, frame);
            }
            Owner::Gather(gather, index) if !odd => {
                b.answered(front.len);
                self.streams.answered_by = b.node;
                self.gather_reply(gather, index, frame);
            }
            _ => self.unusual(key, front, frame),
        }
    }

    /// Errors, parts of split requests, parts that were sent again, greetings.
    fn unusual(&mut self, key: Key<Backend>, front: InFlight, frame: &[u8]) {
        self.wanders_no_more(&front.part, key);
        let Some(b) = self.backends.get_mut(key) else { return };
        // EXEC only says that a command was refused; why is what the node said of that command.
        let refusal = match front.part.owner {
            Owner::Client(..) | Owner::Gather(..) if front.part.block => b.block_error.take(),
            _ => None,
        };
        let refusal = refusal.filter(|_| frame.starts_with(b"-EXECABORT"));
        let verdict = match front.part.owner {
            Owner::Client(..) | Owner::Gather(..) => {
                verdict_on(&front.part, refusal.as_deref().unwrap_or(frame))
            }
            _ => Verdict::Reply,
        };
        let of_script = scripts::is_script_error(frame) && scripts::is_single_call(&front.part);
        if verdict == Verdict::Reply && !of_script {
            b.answered(front.len);
            return match front.part.owner {
                Owner::Handshake(greeting) => self.greeting(key, greeting, frame),
                Owner::Step if resp::is_error(frame[0]) => {
                    b.block_error.get_or_insert_with(|| frame.into());
                }
                Owner::Nobody | Owner::Step => {}
                Owner::Listener(topic, on) => self.link_replied(key, topic, on, frame),
                // The client was told QUEUED, so it cannot know why.
                _ if refusal.is_some() => {
                    let mut error = Vec::new();
                    errors::aborted(&mut error, &refusal.unwrap_or_default());
                    self.answer(&front.part, &error);
                }
                _ => {
                    self.streams.answered_by = b.node;
                    let left =
                        matches!(front.part.owner, Owner::Client(client, _) if self.let_go(client, frame));
                    // It gets what it waited for before that, then it is closed without a word, as by a server.
                    self.answer(&front.part, if left { b"" } else { frame });
                }
            };
        }
        let mut request = mem::take(&mut self.scratch);
        request.clear();
        request.extend_from_slice(b.window.front(front.len as usize));
        b.answered(front.len);
        let from = b.node;
        if of_script && self.script_error(key, &front.part, &request, frame) {
            let part = Part { attempts: front.part.attempts + 1, ..front.part };
            self.follow(part, &request, frame);
        } else {
            self.redirect(from, front.part, &request, verdict, frame);
        }
        self.scratch = request;
    }

    /// A greeting was answered.
    fn greeting(&mut self, key: Key<Backend>, greeting: Greeting, frame: &[u8]) {
        // A node that is full says so to whatever came first, and closes; nothing was executed.
        if frame.starts_with(b"-ERR max number of clients") {
            let text = String::from_utf8_lossy(frame);
            return self.lose_backend(key, Loss::Closed(text.trim_end().to_owned()));
        }
        // CLIENT SETNAME is what tells that the node wants a password where there is none, or nobody from outside; other
        // errors of it do not matter.
        let matters = !matches!(greeting, Greeting::Name | Greeting::Id)
            || frame.starts_with(b"-NOAUTH")
            || frame.starts_with(b"-DENIED");
        if frame.first() == Some(&b'-') && matters {
            return self.lose_backend(key, Loss::Rejected(greeting, frame.to_vec()));
        }
        let Some(b) = self.backends.get_mut(key) else { return };
        if greeting == Greeting::Id {
            b.id = resp::integer(frame);
        }
        if !b.greeted() {
            return;
        }
        debug_assert_eq!(b.state, State::Ready);
        // From the connect timeout to the reply timeout, which may be the shorter one.
        let due = self.now.after(b.patience.min(SUSPECT_AFTER));
        self.timers.cancel(b.timer);
        b.progress = self.now;
        b.timer = self.timers.set(due, Alarm::Backend(key));
        let node = b.node;
        if let Some(n) = self.nodes.get_mut(node) {
            n.succeeded();
        }
        self.mark_backend(key);
    }

    /// A reply that nobody asked for, or that came before its request was written: whose the next ones are is unknown.
    fn surplus(&mut self, key: Key<Backend>) {
        self.lose_backend(key, Loss::Protocol("sent a reply that nobody asked for".into()));
    }

    /// After a batch of replies.
    pub(super) fn replies_seen(&mut self, key: Key<Backend>) {
        let now = self.now;
        let Some(b) = self.backends.get_mut(key) else { return };
        b.progress = now;
        b.window.tidy();
        match b.proven {
            true => b.answered = Some(now),
            // What came with the last greeting was nothing else: user data is written behind it.
            false => b.proven = b.state == State::Ready,
        }
        if b.suspect {
            b.suspect = false;
            b.window.open_gate();
            if !b.dirty {
                b.dirty = true;
                self.dirty_backends.push(key);
            }
        }
        if b.kind.dedicated && b.fifo.is_empty() {
            return self.dedicated_settled(key);
        }
        if (b.retired | b.detached) && b.fifo.is_empty() {
            if !b.retired {
                return self.reattach(key);
            }
            let node = b.node;
            self.drop_backend(key);
            self.nodes.forget(node);
        }
    }

    /// Closes a backend that nobody waits for.
    pub(super) fn drop_backend(&mut self, key: Key<Backend>) {
        let Some(b) = self.backends.remove(key) else { return };
        debug_assert!(b.fifo.is_empty());
        self.timers.cancel(b.timer);
        self.unlink(&b, key);
        self.effects.push(Effect::CloseBackend(key));
        if b.kind.listener {
            self.listener_gone(key, b.node);
        }
    }

    /// Takes a backend that has gone out of its node.
    pub(super) fn unlink(&mut self, b: &Backend, key: Key<Backend>) {
        self.streams.detached -= usize::from(b.detached);
        let Some(n) = self.nodes.get_mut(b.node) else { return };
        if b.kind.dedicated {
            n.dedicated = n.dedicated.saturating_sub(1);
            n.idle.retain(|k| *k != key);
            return;
        }
        n.spares.retain(|k| *k != key);
        if b.kind.db != 0 {
            n.others.retain(|(_, k)| *k != key);
            return;
        }
        let place = &mut n.shared[b.kind.index()];
        if *place == key {
            *place = Key::NONE;
        }
    }
}

/// What a node's answer to a part means; scripts can say anything.
fn verdict_on<'a>(part: &Part, frame: &'a [u8]) -> Verdict<'a> {
    match redirect::verdict(frame) {
        Verdict::Reply => Verdict::Reply,
        verdict => match command::by_id(part.command).name {
            "eval" | "evalsha" | "fcall" => redirect::script_verdict(frame, part.slot),
            _ => verdict,
        },
    }
}
