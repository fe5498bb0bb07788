//! What goes wrong and is set right: redirects, parts that must wait, lost backends, timeouts.
//!
//! A part is sent again only if the node cannot have executed it (its last byte was never written, or the node said
//! so), or if it only reads. Parts that cannot be sent now are *parked* with their client, in order: they are tried
//! again after a pause and whenever the topology changes, until the retry timeout. A client with parked parts is not
//! read, and its later parts of the same slot wait behind them, so its commands to one key keep their order.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use super::backend::{Backend, Kind, State};
use super::client::Client;
use super::engine::{Alarm, Effect, Engine, Hint};
use super::errors;
use super::nodes::Node;
use super::part::{Greeting, InFlight, Owner, Part, NO_SLOT};
use super::redirect::{self, Verdict};
use crate::base::arena::Key;
use crate::cluster::{Redirect, RedirectKind};
use crate::command::{self, Class, Command, Flags};
use crate::resp::encode;

/// Redirects of one part that are followed at once; further ones wait a little each.
const QUICK_REDIRECTS: u8 = 5;

/// First and longest pause before a parked part is tried again.
const FIRST_PAUSE_MS: u64 = 2;
const LONGEST_PAUSE_MS: u64 = 100;

/// A part that waits to be sent again.
#[derive(Debug)]
pub struct Parked {
    /// Which part.
    pub part: Part,
    /// Its request.
    bytes: Box<[u8]>,
    /// What to answer when time runs out: what a node said last, or nothing if none was reached.
    error: Option<Box<[u8]>>,
}

/// Why a backend was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It could not be connected: this is the system's word.
    Connect(String),
    /// The connect or the handshake took too long.
    ConnectTimeout,
    /// It was still being connected when the node lost its slots.
    Demoted,
    /// It did not answer in time.
    ReplyTimeout,
    /// The connection was closed or reset: this is the system's word.
    Closed(String),
    /// It said something that makes no sense.
    Protocol(String),
    /// It did not accept a greeting, with this error.
    Rejected(Greeting, Vec<u8>),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Connect(why) => write!(f, "cannot connect: {why}"),
            Loss::ConnectTimeout => f.write_str("connecting took too long"),
            Loss::Demoted => f.write_str("it has no slots any more"),
            Loss::ReplyTimeout => f.write_str("no reply in time"),
            Loss::Closed(why) => f.write_str(why),
            Loss::Protocol(why) => write!(f, "protocol error: {why}"),
            Loss::Rejected(greeting, answer) => {
                write!(f, "{greeting:?} refused: {}", String::from_utf8_lossy(answer).trim_end())
            }
        }
    }
}

impl Engine {
    /// The socket of a backend failed or was closed by the node.
    pub fn backend_gone(&mut self, key: Key<Backend>, why: String) {
        let Some(b) = self.backends.get(key) else { return };
        let loss = if b.state == State::Connecting { Loss::Connect(why) } else { Loss::Closed(why) };
        self.lose_backend(key, loss);
    }

    /// A node answered that a part was not executed.
    pub(super) fn redirect(
        &mut self,
        from: Key<Node>,
        mut part: Part,
        request: &[u8],
        verdict: Verdict<'_>,
        error: &[u8],
    ) {
        part.attempts = part.attempts.saturating_add(1);
        match verdict {
            Verdict::Redirect(target) if target.kind == RedirectKind::Moved => {
                self.counters.moved += 1;
                self.effects.push(Effect::Refresh(Hint::Moved(target.slot)));
                match self.target_node(from, &target) {
                    Some(node) => {
                        self.nodes.correct(target.slot, node);
                        self.follow(part, request, error);
                    }
                    None => self.park(part, request, Some(error)),
                }
            }
            Verdict::Redirect(target) => {
                self.counters.ask += 1;
                match self.target_node(from, &target) {
                    Some(node) if !self.waits_behind(&part) => self.ask(node, part, request, error),
                    _ => self.park(part, request, Some(error)),
                }
            }
            Verdict::Retry { refresh } => {
                self.counters.retries += 1;
                if refresh {
                    self.effects.push(Effect::Refresh(Hint::Unserved));
                }
                self.park(part, request, Some(error));
            }
            Verdict::Reply => self.answer(&part, error),
        }
    }

    /// Keeps a part with its client until it can be sent; `error` is what a node said of it.
    pub(super) fn park(&mut self, part: Part, request: &[u8], error: Option<&[u8]>) {
        if self.age(&part) >= self.config.retry_timeout {
            return self.give_up(&part, error);
        }
        let Some(key) = self.client_of(&part) else { return self.orphan(&part) };
        let Some(active) = self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut()) else {
            return self.orphan(&part);
        };
        active.parked.push_back(Parked { part, bytes: request.into(), error: error.map(Into::into) });
        self.note_waiting(key);
        self.set_parked_timer(key);
    }

    /// Tries a client's parked parts again, oldest first; what still cannot be sent stays, with all behind it that has
    /// the same slot.
    pub(super) fn retry_parked(&mut self, key: Key<Client>) {
        let Some(active) = self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut()) else { return };
        let timer = mem::take(&mut active.parked_timer);
        let parked = mem::take(&mut active.parked);
        self.timers.cancel(timer);
        let mut held = Vec::new();
        for p in parked {
            self.retry(key, p, &mut held);
        }
        let Some(c) = self.clients.get_mut(key) else { return };
        let Some(active) = c.active.as_deref_mut() else { return };
        if active.parked.is_empty() {
            active.parked_tries = 0;
            self.mark_client(key);
        }
        self.note_waiting(key);
        self.set_parked_timer(key);
    }

    /// Keeps the list of clients with parked parts true.
    fn note_waiting(&mut self, key: Key<Client>) {
        let Some(active) = self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut()) else { return };
        let waits = !active.parked.is_empty();
        match (mem::replace(&mut active.waiting, waits), waits) {
            (false, true) => self.waiting.push(key),
            (true, false) => self.waiting.retain(|k| *k != key),
            _ => {}
        }
    }

    /// A backend's timer: its connect or its oldest part may have taken too long.
    pub(super) fn backend_alarm(&mut self, key: Key<Backend>) {
        let Some(b) = self.backends.get_mut(key) else { return };
        b.timer = Key::NONE;
        if b.state != State::Ready {
            return self.lose_backend(key, Loss::ConnectTimeout);
        }
        if b.fifo.is_empty() {
            return;
        }
        let due = b.progress.after(b.patience);
        if due > self.now {
            b.timer = self.timers.set(due, Alarm::Backend(key));
        } else {
            self.counters.reply_timeouts += 1;
            self.lose_backend(key, Loss::ReplyTimeout);
        }
    }

    /// Closes a backend and decides for each of its parts whether it is sent again or answered with an error.
    pub(super) fn lose_backend(&mut self, key: Key<Backend>, loss: Loss) {
        let Some(mut b) = self.backends.remove(key) else { return };
        self.timers.cancel(b.timer);
        self.unlink(&b, key);
        self.counters.backend_failures += 1;
        self.effects.push(Effect::CloseBackend(key));
        let name = self.node_lost(b.node, &b, &loss);
        for InFlight { part, len } in mem::take(&mut b.fifo) {
            let written = b.window.front_written(len as usize);
            self.rescue(part, b.window.front(len as usize), written, &name, &loss);
            b.window.acknowledge(len as usize);
        }
        if b.kind.listener {
            self.listener_gone(key, b.node);
        }
        self.nodes.forget(b.node);
    }

    /// Gives a reply to whoever waits for a part.
    pub(super) fn answer(&mut self, part: &Part, frame: &[u8]) {
        match part.owner {
            Owner::Client(client, sequence) => self.reply_to(client, sequence, frame),
            Owner::Gather(gather, index) => self.gather_reply(gather, index, frame),
            Owner::Handshake(_) | Owner::Asking | Owner::Listener(..) => {}
        }
    }

    /// Sends a redirected part on, behind what its client has parked for the same slot.
    fn follow(&mut self, part: Part, request: &[u8], error: &[u8]) {
        if part.attempts > QUICK_REDIRECTS || self.waits_behind(&part) {
            self.park(part, request, Some(error));
        } else {
            self.send(part, request);
        }
    }

    /// ASKING and the part, back to back.
    fn ask(&mut self, node: Key<Node>, part: Part, request: &[u8], error: &[u8]) {
        if part.attempts > QUICK_REDIRECTS && part.attempts % 2 == 0 {
            return self.park(part, request, Some(error));
        }
        match self.shared_backend(node, Kind { replica: false, ..part.kind }) {
            Ok(backend) => {
                let mut asking = Vec::new();
                encode::request(&mut asking, &["ASKING"]);
                self.push(backend, Part { owner: Owner::Asking, slot: NO_SLOT, ..part }, &asking);
                self.push(backend, part, request);
            }
            Err(_) => self.park(part, request, Some(error)),
        }
    }

    fn retry(&mut self, key: Key<Client>, parked: Parked, held: &mut Vec<u16>) {
        let Parked { part, bytes, error } = parked;
        if self.clients.get(key).is_none() {
            return self.orphan(&part);
        }
        if self.age(&part) >= self.config.retry_timeout {
            return self.give_up(&part, error.as_deref());
        }
        let before = self.parked_len(key);
        if !held.contains(&part.slot) {
            self.send(part, &bytes);
        } else if let Some(parked) = self.parked_of(key) {
            parked.push_back(Parked { part, bytes, error });
            return;
        }
        // `send` may have parked it again, and does not know what a node said of it before.
        if self.parked_len(key) > before {
            held.push(part.slot);
            if let Some(p) = self.parked_of(key).and_then(|p| p.back_mut()) {
                p.error = error;
            }
        }
    }

    fn parked_of(&mut self, key: Key<Client>) -> Option<&mut VecDeque<Parked>> {
        self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut()).map(|a| &mut a.parked)
    }

    fn parked_len(&mut self, key: Key<Client>) -> usize {
        self.parked_of(key).map_or(0, |p| p.len())
    }

    fn set_parked_timer(&mut self, key: Key<Client>) {
        let Some(active) = self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut()) else { return };
        if active.parked.is_empty() || active.parked_timer != Key::NONE {
            return;
        }
        let full = (FIRST_PAUSE_MS << active.parked_tries.min(10)).min(LONGEST_PAUSE_MS);
        active.parked_tries = active.parked_tries.saturating_add(1);
        let pause = full / 2 + self.random.below(full / 2 + 1);
        active.parked_timer =
            self.timers.set(self.now.after(Duration::from_millis(pause.max(1))), Alarm::Parked(key));
    }

    /// Whether the part's client has parked a part of the same slot, which must go first.
    fn waits_behind(&mut self, part: &Part) -> bool {
        let Some(key) = self.client_of(part) else { return false };
        self.parked_of(key).is_some_and(|p| p.iter().any(|p| p.part.slot == part.slot))
    }

    fn client_of(&self, part: &Part) -> Option<Key<Client>> {
        match part.owner {
            Owner::Client(client, _) => Some(client),
            Owner::Gather(gather, _) => self.gathers.get(gather).map(|g| g.client),
            Owner::Handshake(_) | Owner::Asking | Owner::Listener(..) => None,
        }
    }

    /// A part whose client has gone.
    fn orphan(&mut self, part: &Part) {
        self.answer(part, b"-ERR client gone\r\n");
    }

    fn give_up(&mut self, part: &Part, error: Option<&[u8]>) {
        self.counters.proxy_errors += 1;
        let mut text = Vec::new();
        match error {
            Some(error) => text.extend_from_slice(error),
            None => errors::gave_up(&mut text, part.slot, self.age(part)),
        }
        self.answer(part, &text);
    }

    fn age(&self, part: &Part) -> Duration {
        Duration::from_micros(u64::from(self.now_us().wrapping_sub(part.born_us)))
    }

    /// A part of a lost backend.
    fn rescue(&mut self, mut part: Part, request: &[u8], written: bool, node: &str, loss: &Loss) {
        if !matches!(part.owner, Owner::Client(..) | Owner::Gather(..)) {
            return;
        }
        let mut text = Vec::new();
        match loss {
            Loss::Rejected(_, answer) if redirect::verdict(answer) == Verdict::Reply => {
                errors::misconfigured(&mut text, node, answer);
            }
            _ if !written || may_repeat(command::by_id(part.command)) => {
                self.counters.retries += 1;
                part.attempts = part.attempts.saturating_add(1);
                return self.park(part, request, None);
            }
            Loss::ReplyTimeout => errors::outcome_unknown(&mut text, node, "took too long"),
            _ => errors::outcome_unknown(&mut text, node, "was lost"),
        }
        self.counters.proxy_errors += 1;
        self.answer(&part, &text);
    }

    /// Logs the loss of a backend, makes its node wait before the next connect where that failed, and asks for the
    /// topology. Returns the node's name.
    fn node_lost(&mut self, node: Key<Node>, b: &Backend, loss: &Loss) -> String {
        let Some(n) = self.nodes.get_mut(node) else { return String::new() };
        let (name, addr, again) = (n.name.clone(), n.addr, n.is_failing());
        if b.state != State::Ready {
            n.failed(self.now, &mut self.random);
        }
        match loss {
            Loss::Rejected(Greeting::Auth, answer) => {
                let answer = String::from_utf8_lossy(answer);
                log::error!("node {name} does not accept the proxy's -password: {}", answer.trim_end());
            }
            _ if b.retired => log::info!("connection to removed node {name} closed: {loss}"),
            _ if again => log::debug!("node {name} still lost: {loss}"),
            _ => log::warn!("node {name} lost with {} parts in flight: {loss}", b.fifo.len()),
        }
        self.effects.push(Effect::Refresh(Hint::NodeLost(addr)));
        name
    }

    /// The node that a redirect points to; `None` for a host name that is not known yet.
    pub(super) fn target_node(&mut self, from: Key<Node>, target: &Redirect<'_>) -> Option<Key<Node>> {
        if target.host.is_empty() {
            let mut addr = self.nodes.get(from)?.addr;
            addr.set_port(target.port);
            return Some(self.nodes.at(addr, &addr.to_string()));
        }
        match target.host.parse() {
            Ok(ip) => {
                let addr = SocketAddr::new(ip, target.port);
                Some(self.nodes.at(addr, &addr.to_string()))
            }
            Err(_) => self.nodes.named(target.host, target.port),
        }
    }
}

/// Whether executing a command twice is as good as once: it only reads, or asks a node about itself.
fn may_repeat(command: &Command) -> bool {
    let asks = matches!(command.class, Class::AnyPrimary | Class::Info) && !command.flags.has(Flags::WRITE);
    command.flags.has(Flags::READONLY) || asks
}
