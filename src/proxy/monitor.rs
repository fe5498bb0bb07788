//! MONITOR: clients that are shown what passes through the proxy, on all workers, in a server's form.
//!
//! Each worker knows which workers have such clients. It writes a line for each request into a buffer, which leaves with
//! the effects of the turn, so that others get the lines of a turn in one message.

use std::net::SocketAddr;

use super::across::{Answer, Question, Then};
use super::client::Client;
use super::dispatch::Step;
use super::engine::{Effect, Engine};
use super::errors::say;
use super::order::Sequence;
use super::pause::may_write;
use super::session::Mute;
use crate::base::arena::Key;
use crate::command::{Class, Command, Flags};
use crate::resp::Args;

/// Who watches, as one worker knows it.
#[derive(Debug, Default)]
pub struct Watchers {
    /// Clients of this worker.
    clients: Vec<Key<Client>>,
    /// Other workers that have such clients.
    workers: Vec<usize>,
    /// Lines that they have not been sent.
    lines: Vec<u8>,
}

impl Watchers {
    /// Whether anybody watches.
    pub fn any(&self) -> bool {
        !self.clients.is_empty() || !self.workers.is_empty()
    }

    /// Clients of this worker that watch.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there are lines to be sent.
    pub fn has_lines(&self) -> bool {
        !self.lines.is_empty()
    }
}

impl Engine {
    /// MONITOR. It waits for the client's earlier requests, since its lines take no places in the order.
    pub(super) fn monitor(&mut self, key: Key<Client>) -> Step {
        if self.must_wait(key) {
            return Step::Wait;
        }
        let worker = self.around.worker;
        match self.clients.get(key) {
            Some(c) if c.monitor => self.reply(key, b"+OK\r\n"),
            _ => self.ask_workers(key, Question::Watch { worker, on: true }, Then::Monitor),
        }
    }

    /// Lines from another worker.
    pub fn watched(&mut self, lines: &[u8]) {
        for key in self.watchers.clients.clone() {
            self.show_to(key, lines);
        }
    }

    /// All workers send their lines: the client is told so and gets them from now on.
    pub(super) fn monitor_begins(&mut self, key: Key<Client>, sequence: Sequence) {
        self.reply_to(key, sequence, b"+OK\r\n");
        if let Some(c) = self.clients.get_mut(key).filter(|c| !c.monitor) {
            c.monitor = true;
            self.watchers.clients.push(key);
        }
        self.note_watchful();
    }

    /// The client watches no more: it has gone, or was reset.
    pub(super) fn unmonitor(&mut self, key: Key<Client>) {
        if let Some(c) = self.clients.get_mut(key).filter(|c| c.monitor) {
            c.monitor = false;
            self.monitor_gone(key);
        }
    }

    /// As [`Engine::unmonitor`], for a client that is not there any more.
    pub(super) fn monitor_gone(&mut self, key: Key<Client>) {
        self.watchers.clients.retain(|k| *k != key);
        self.note_watchful();
        self.watch_less();
    }

    /// Tells the other workers when nobody watches here any more, nor is about to.
    pub(super) fn watch_less(&mut self) {
        if self.watchers.clients.is_empty() && !self.monitor_asked() {
            self.tell(Question::Watch { worker: self.around.worker, on: false });
        }
    }

    /// Another worker wants this one's lines, or no more.
    pub(super) fn watch_for(&mut self, worker: usize, on: bool) -> Answer {
        let workers = &mut self.watchers.workers;
        workers.retain(|w| *w != worker);
        if on && worker != self.around.worker {
            workers.push(worker);
        }
        self.note_watchful();
        Answer::Done
    }

    /// Keeps the one flag true that requests look at.
    pub(super) fn note_watchful(&mut self) {
        self.watchful = self.pause.is_some() || self.watchers.any();
    }

    /// A request while somebody watches or a pause is in force.
    #[cold]
    pub(super) fn under_watch(
        &mut self,
        key: Key<Client>,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Step {
        if self.is_held_up(key, command) && !self.is_playing(key) {
            self.hold(key);
            return Step::Wait;
        }
        let (origin, monitor) =
            self.clients.get(key).map_or((None, false), |c| (Some((c.db, c.peer)), c.monitor));
        if monitor && is_about_data(command) {
            return self.refuse_in_multi(key, |out| out.extend_from_slice(NO_DATA));
        }
        let step = self.queue_or_carry_out(key, command, args);
        if let (Step::Taken, Some(origin), true) = (step, origin, self.watchers.any() && is_shown(command)) {
            self.show(origin, command, args);
        }
        step
    }

    /// Moves the lines for other workers to the effects.
    pub(super) fn send_lines(&mut self) {
        let lines = std::mem::take(&mut self.watchers.lines);
        for worker in &self.watchers.workers {
            self.effects.push(Effect::Show(*worker, lines.clone()));
        }
    }

    fn show(&mut self, origin: (u16, SocketAddr), command: &Command, args: &Args<'_>) {
        let mut line = Vec::new();
        write_line(&mut line, self.host.wall_us.saturating_add(self.now.as_micros()), origin, command, args);
        self.watched(&line);
        if !self.watchers.workers.is_empty() {
            self.watchers.lines.extend_from_slice(&line);
        }
    }

    fn show_to(&mut self, key: Key<Client>, lines: &[u8]) {
        let Some(c) = self.clients.get_mut(key).filter(|c| c.mute != Mute::Always && !c.closing) else {
            return;
        };
        let active = c.active.get_or_insert_with(|| self.actives.take());
        let overdue = active.backlog() + active.out.aside() > self.config.client_output_limit;
        active.out.between().extend_from_slice(lines);
        self.mark_client(key);
        if overdue {
            self.output_limit(key);
        }
    }
}

/// What a server says to clients that MONITOR and want data as well.
const NO_DATA: &[u8] = b"ERR Replica can't interact with the keyspace";

fn is_about_data(command: &Command) -> bool {
    command.flags.has(Flags::READONLY) || may_write(command)
}

/// Commands that manage a server are not shown, as they may hold secrets; a server calls them `admin`.
fn is_shown(command: &Command) -> bool {
    match (command.container(), command.name) {
        ("", name) => !matches!(
            name,
            "monitor"
                | "save"
                | "bgsave"
                | "bgrewriteaof"
                | "debug"
                | "failover"
                | "shutdown"
                | "replicaof"
                | "slaveof"
                | "sync"
                | "psync"
                | "replconf"
                | "pfdebug"
                | "pfselftest"
        ),
        ("client", name) => !matches!(name, "kill" | "list" | "no-evict" | "pause" | "unblock" | "unpause"),
        ("acl", name) => matches!(name, "cat" | "whoami" | "genpass" | "help"),
        ("cluster", name) => {
            !matches!(name, "count-failure-reports" | "replicas" | "slaves")
                && !matches!(command.class, Class::Refused(_))
        }
        ("config" | "latency" | "slowlog" | "commandlog" | "module", name) => name == "help",
        _ => true,
    }
}

/// `+1700000000.123456 [0 127.0.0.1:50000] "GET" "k"`.
fn write_line(
    out: &mut Vec<u8>,
    wall_us: u64,
    (db, peer): (u16, SocketAddr),
    command: &Command,
    args: &Args<'_>,
) {
    say(out, format_args!("+{}.{:06} [{db} {peer}]", wall_us / 1_000_000, wall_us % 1_000_000));
    let secret_from = match command.name {
        "auth" => 1,
        "hello" => args.iter().position(|a| a.eq_ignore_ascii_case(b"auth")).map_or(usize::MAX, |at| at + 1),
        _ => usize::MAX,
    };
    let secrets = secret_from..secret_from.saturating_add(2);
    for (at, arg) in args.iter().enumerate() {
        out.extend_from_slice(b" \"");
        if secrets.contains(&at) {
            out.extend_from_slice(b"(redacted)");
        } else {
            quote(out, arg);
        }
        out.push(b'"');
    }
    out.extend_from_slice(b"\r\n");
}

/// As a server's `sdscatrepr`.
fn quote(out: &mut Vec<u8>, arg: &[u8]) {
    for byte in arg {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(*byte),
            _ => say(out, format_args!("\\x{byte:02x}")),
        }
    }
}
