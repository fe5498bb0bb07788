//! Lost backends: why they were lost, and what becomes of each of their parts.
//!
//! A part is sent again only if the node cannot have executed it because its last byte was never written, or if it only
//! reads; else its client is told that the outcome is unknown.

use std::collections::HashSet;
use std::fmt;
use std::mem;

use super::backend::{Backend, State};
use super::engine::{Alarm, Effect, Engine, Hint};
use super::errors;
use super::nodes::Node;
use super::part::{Greeting, InFlight, Owner, Part};
use super::redirect::{self, Verdict};
use super::silence::SUSPECT_AFTER;
use super::stream::Flow;
use crate::base::arena::Key;
use crate::command::{self, Class, Command, Flags};

/// Why a backend was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It could not be connected: this is the system's word.
    Connect(String),
    /// The connect or the handshake took too long.
    ConnectTimeout,
    /// The node lost its slots before the connection was of use, or while it was silent.
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

    /// A backend's timer: its connect or its oldest part may have taken too long.
    pub(super) fn backend_alarm(&mut self, key: Key<Backend>) {
        let Some(b) = self.backends.get_mut(key) else { return };
        // An alarm of the same moment may have set it anew.
        self.timers.cancel(mem::take(&mut b.timer));
        let connects = b.state != State::Ready;
        if b.fifo.is_empty() {
            return self.idle_backend_alarm(key);
        }
        if b.held {
            return self.held_alarm(key);
        }
        if b.flow == Flow::Request && !connects {
            return self.upload_alarm(key);
        }
        let (since, patience) = match connects {
            true => (b.born, self.config.connect_timeout),
            false => (b.progress, b.patience),
        };
        let (doubted, due) = (since.after(SUSPECT_AFTER), since.after(patience));
        if due <= self.now {
            self.counters.reply_timeouts += u64::from(!connects);
            return self.lose_backend(key, if connects { Loss::ConnectTimeout } else { Loss::ReplyTimeout });
        }
        // What waits at its node by its client's wish may be silent for as long as it likes.
        let waits = !connects && patience > self.config.reply_timeout;
        let silent = !waits && doubted <= self.now;
        let next = match (waits, silent) {
            (true, _) => due,
            (_, false) => doubted.min(due),
            (_, true) => self.now.after(SUSPECT_AFTER).min(due),
        };
        b.timer = self.timers.set(next, Alarm::Backend(key));
        if silent {
            self.suspect(key);
        }
    }

    /// Closes a backend and decides for each of its parts whether it is sent again or answered with an error.
    pub(super) fn lose_backend(&mut self, key: Key<Backend>, loss: Loss) {
        let Some(mut b) = self.backends.remove(key) else { return };
        self.timers.cancel(b.timer);
        self.unlink(&b, key);
        self.counters.backend_failures += 1;
        self.effects.push(Effect::ResetBackend(key));
        let name = self.node_lost(b.node, &b, &loss);
        self.note_failure(b.node, &b, &loss);
        self.lease_lost(&b);
        let repeat = self.repeatable(&b);
        for (i, InFlight { part, len }) in mem::take(&mut b.fifo).into_iter().enumerate() {
            self.wanders_no_more(&part, key);
            if i == 0 && b.flow == Flow::Rest {
                self.cut_off(&part, &name);
                b.window.acknowledge(len as usize);
                continue;
            }
            if self.upload_lost(&part, b.flow != Flow::Request && i < repeat.len(), &name, &loss) {
                b.window.acknowledge(len as usize);
                continue;
            }
            let again = repeat.get(i).is_none_or(|r| *r);
            self.part_lost(&part);
            self.rescue(part, b.window.front(len as usize), again, &name, &loss);
            b.window.acknowledge(len as usize);
        }
        if b.kind.listener {
            self.listener_gone(key, b.node);
        }
        self.nodes.forget(b.node);
    }

    /// For each part of a lost backend that was written: whether it may be sent again. It may if it only reads, unless
    /// its client wrote to the same slot behind it: that may have been executed, and the read must not see it.
    pub(super) fn repeatable(&self, b: &Backend) -> Vec<bool> {
        let mut left = b.window.awaited();
        let written = b.fifo.iter().take_while(|f| {
            let whole = f.len as usize <= left;
            left = left.saturating_sub(f.len as usize);
            whole
        });
        let written = written.count();
        // By client and slot; no slot for what was done to all of them.
        let (mut changed, mut changers) = (HashSet::new(), HashSet::new());
        let mut repeat = vec![false; written];
        for (i, f) in b.fifo.iter().enumerate().take(written).rev() {
            let Some(client) = self.client_of(&f.part) else { continue };
            let command = command::by_id(f.part.command);
            let client = client.index();
            let slot = (!is_wide(command)).then_some(f.part.slot);
            repeat[i] = may_repeat(command);
            if repeat[i] {
                let behind = |s| changed.contains(&(client, s));
                repeat[i] = !behind(slot) && !behind(None) && (slot.is_some() || !changers.contains(&client));
            } else {
                changed.insert((client, slot));
                changers.insert(client);
            }
        }
        repeat
    }

    /// A part of a lost backend, which may be sent again or not.
    fn rescue(&mut self, mut part: Part, request: &[u8], again: bool, node: &str, loss: &Loss) {
        if let Owner::Ask(ask) = part.owner {
            return self.part_answered(ask, b"-ERR node lost\r\n");
        }
        if let Owner::Lookup(lookup) = part.owner {
            return self.look_up_later(lookup);
        }
        if !matches!(part.owner, Owner::Client(..) | Owner::Gather(..)) {
            return;
        }
        let mut text = Vec::new();
        match loss {
            Loss::Rejected(greeting, answer) if redirect::verdict(answer) == Verdict::Reply => match greeting
            {
                Greeting::Select => text.extend_from_slice(answer),
                _ => errors::misconfigured(&mut text, node, answer),
            },
            // Not executed, and nobody watches any more.
            _ if part.block && part.kind.dedicated && again => return self.answer_null_array(&part),
            // What a command does that the table does not know is unknown, too.
            _ if part.kind.dedicated && !part.block && (again || !is_foreign(&part)) => {
                part.attempts = part.attempts.saturating_add(1);
                if let Some(request) = self.reissue(&mut part, request) {
                    self.park(part, &request, None);
                }
                return;
            }
            _ if again => {
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
        if let Loss::Rejected(Greeting::Select, answer) = loss {
            // The node is well; a client has asked for a database that is not there.
            if redirect::verdict(answer) == Verdict::Reply {
                self.no_database(b.kind.db, answer);
            }
            return name;
        }
        if b.state != State::Ready && *loss != Loss::Demoted {
            n.failed(self.now, &mut self.random);
            self.nodes.distrust(node);
        }
        match loss {
            Loss::Rejected(Greeting::Auth, answer) => {
                let answer = String::from_utf8_lossy(answer);
                log::error!("node {name} does not accept the proxy's -password: {}", answer.trim_end());
            }
            _ if b.retired => log::info!("connection to removed node {name} closed: {loss}"),
            _ if b.kind.dedicated && b.fifo.is_empty() => {
                log::debug!("idle connection to node {name} lost: {loss}")
            }
            _ if again => log::debug!("node {name} still lost: {loss}"),
            _ => log::warn!("node {name} lost with {} parts in flight: {loss}", b.fifo.len()),
        }
        self.effects.push(Effect::Refresh(Hint::NodeLost(addr)));
        name
    }
}

fn is_foreign(part: &Part) -> bool {
    command::is_stand_in(command::by_id(part.command))
}

/// Whether executing a command twice is as good as once: it only reads, or asks a node about itself.
fn may_repeat(command: &Command) -> bool {
    let asks = matches!(command.class, Class::AnyPrimary | Class::Info) && !command.flags.has(Flags::WRITE);
    command.flags.has(Flags::READONLY) || asks
}

/// Whether a command reads or writes keys of all slots (KEYS, SCAN, FLUSHALL).
fn is_wide(command: &Command) -> bool {
    let of_keys = command.flags.has(Flags::READONLY) || command.flags.has(Flags::WRITE);
    matches!(command.class, Class::EveryPrimary(_) | Class::Scan) && of_keys
}
