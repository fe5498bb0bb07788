//! Request -> plan -> parts: looks the command up, decides, and sends parts to backends.

use std::mem;

use super::backend::{Backend, Kind, State};
use super::client::{Client, NO_COMMAND};
use super::engine::{Alarm, Effect, Engine, Hint};
use super::errors;
use super::forms;
use super::multi;
use super::nodes::Node;
use super::part::{Owner, Part, NO_SLOT};
use super::silence::SUSPECT_AFTER;
use crate::base::arena::Key;
use crate::base::time::Time;
use crate::command::{self, Class, Command, Flags, KeyError, Keys, Unknown};
use crate::config::ReadPrefer;
use crate::resp::{encode, Args};

/// Unwritten and unanswered bytes of one backend above which parts for it wait with their client.
pub(super) const MOST_WINDOW: usize = 64 << 20;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is under way or answered.
    Taken,
    /// It must be handed in again when the client's earlier requests are answered.
    Wait,
}

/// Why a part cannot be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// No node is known that serves the slot.
    Unserved,
    /// The node cannot be connected at the moment.
    Paused,
    /// This node's circuit is open.
    Hopeless(Key<Node>),
    /// Too much waits for the node already.
    Full,
}

impl Engine {
    /// One whole request of a client.
    #[inline]
    pub(super) fn request(&mut self, key: Key<Client>, args: &Args<'_>) -> Step {
        let Some(c) = self.clients.get_mut(key) else { return Step::Taken };
        let command = match command::resolve(args) {
            Ok(command) => command,
            Err(unknown) => {
                c.last_command = NO_COMMAND;
                return self.foreign(key, args, unknown);
            }
        };
        c.last_command = command.id;
        c.traffic.commands += 1;
        let (stranger, subscriber, tracks) = (!c.authenticated, c.subscriber.is_some(), c.tracking.is_some());
        if stranger && !command.flags.has(Flags::NO_AUTH) {
            return self.stranger_request(key, command, args);
        }
        if !command::arity_ok(command, args.len()) {
            return self.wrong_arity(key, command, args);
        }
        if command.flags.has(Flags::NEWER) && self.answers_unknown(command) {
            return self.unknown_here(key, command, args);
        }
        if self.refusals.has(command.id) {
            return self.refuse_as_told(key, command);
        }
        if subscriber {
            if let Some(step) = self.subscriber_request(key, command, args) {
                return step;
            }
        }
        let step = match self.watchful {
            false => self.queue_or_carry_out(key, command, args),
            true => self.under_watch(key, command, args),
        };
        match step {
            Step::Taken => self.counters.requests += 1,
            Step::Wait => self.comes_again(key),
        }
        if tracks && step == Step::Taken {
            self.track(key, command, args);
        }
        step
    }

    /// A request will be handed in, and counted, again.
    #[cold]
    fn comes_again(&mut self, key: Key<Client>) {
        if let Some(c) = self.clients.get_mut(key) {
            c.traffic.commands -= 1;
        }
    }

    /// A request that is known, well-formed and allowed.
    #[inline]
    pub(super) fn queue_or_carry_out(
        &mut self,
        key: Key<Client>,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Step {
        match self.in_multi(key) && !Engine::leaves_queue(command) {
            true => self.count_queued(command, |engine| engine.queue(key, command, args)),
            false => self.carry_out(key, command, args),
        }
    }

    #[inline]
    pub(super) fn carry_out(&mut self, key: Key<Client>, command: &'static Command, args: &Args<'_>) -> Step {
        match command.class {
            Class::Slot => self.whole(key, command, args),
            _ => self.carry_out_other(key, command, args),
        }
    }

    #[inline(never)]
    fn carry_out_other(&mut self, key: Key<Client>, command: &'static Command, args: &Args<'_>) -> Step {
        match command.class {
            Class::Split(split) => self.split(key, command, split, args),
            Class::AnyPrimary => self.send_whole(key, command, NO_SLOT, args.frame()),
            Class::EveryPrimary(merge) => self.every_primary(key, command, merge, args),
            Class::EveryNode(merge) if command.container() == "config" && command.name == "set" => {
                self.config_set(key, command, merge, args)
            }
            Class::EveryNode(merge) => self.every_node(key, command, merge, args),
            Class::Scan => self.scan(key, command, args),
            Class::Local(local) => self.counted(command, |e| e.local(key, command, local, args)),
            Class::Publish => self.publish(key, command, args),
            Class::Wait => self.counted(command, |e| e.wait(key, command, args)),
            Class::PubSub => self.counted(command, |e| e.pubsub(key, command, args)),
            Class::Info => self.counted(command, |e| e.info(key, command, args)),
            Class::ClusterView => self.counted(command, |e| e.cluster_view(key, command, args)),
            Class::Monitor => self.counted(command, |e| e.monitor(key)),
            Class::Blocking if command::blocks(command, args) => self.block(key, command, args),
            Class::Blocking => self.whole(key, command, args),
            Class::Transaction => self.transaction(key, command, args),
            Class::Refused(why) => self.reject(key, command, |out| errors::refused(out, why)),
            _ => self.reject(key, command, |out| errors::not_yet(out, command)),
        }
    }

    /// A request that goes to one node as it is.
    #[inline(always)]
    pub(super) fn whole(&mut self, key: Key<Client>, command: &'static Command, args: &Args<'_>) -> Step {
        match command::slot_of(command, args) {
            Ok(slot) => {
                if let Keys::Counted { .. } = command.keys {
                    self.note_script(command, args);
                }
                self.send_whole(key, command, slot.unwrap_or(NO_SLOT), args.frame())
            }
            Err(error) => self.key_error(key, command, args, error),
        }
    }

    pub(super) fn key_error(
        &mut self,
        key: Key<Client>,
        command: &'static Command,
        args: &Args<'_>,
        e: KeyError,
    ) -> Step {
        match e {
            // A server counts first; the table's arity does not tell of pairs.
            KeyError::CrossSlot if command.name == "msetnx" && args.len() % 2 == 0 => {
                self.wrong_arity(key, command, args)
            }
            KeyError::CrossSlot => self.reject(key, command, |out| out.extend_from_slice(errors::CROSS_SLOT)),
            KeyError::Unroutable => self.send_whole(key, command, NO_SLOT, args.frame()),
        }
    }

    /// Gives the request its place in the client's order and sends it.
    #[inline(always)]
    pub(super) fn send_whole(
        &mut self,
        key: Key<Client>,
        command: &'static Command,
        slot: u16,
        frame: &[u8],
    ) -> Step {
        let kind = self.kind_for(key, command);
        let Some(c) = self.clients.get_mut(key) else { return Step::Taken };
        let active = c.active.get_or_insert_with(|| self.actives.take());
        let sequence = active.order.admit(frame.len() as u32);
        let owner = Owner::Client(key, sequence);
        let part = Part {
            owner,
            born_us: self.now_us(),
            slot,
            command: command.id,
            attempts: 0,
            kind,
            block: false,
        };
        self.send(part, frame);
        Step::Taken
    }

    /// Sends a part to the node of its slot, or parks it until that is possible.
    #[inline(always)]
    pub(super) fn send(&mut self, part: Part, bytes: &[u8]) {
        match self.backend_for(&part) {
            Ok(backend) => self.push(backend, part, bytes),
            Err(why) => self.unsent(part, bytes, why),
        }
    }

    /// A part that cannot be sent now: it fails, or waits.
    #[cold]
    fn unsent(&mut self, part: Part, bytes: &[u8], why: Unsent) {
        match why {
            Unsent::Unserved => self.unserved(part),
            Unsent::Hopeless(node) => self.fail_at_once(&part, node),
            Unsent::Paused | Unsent::Full => self.park(part, bytes, None),
        }
    }

    /// As [`Engine::send`], for a part that was not sent before and calls no script; its bytes are appended by `write`.
    #[inline]
    pub(super) fn send_by(&mut self, part: Part, write: impl FnOnce(&mut Vec<u8>)) {
        match self.backend_for(&part) {
            Ok(backend) => self.append(backend, |b, now| b.push_by(part, now, write)),
            Err(why) => {
                let mut bytes = mem::take(&mut self.scratch_part);
                bytes.clear();
                write(&mut bytes);
                self.unsent(part, &bytes, why);
                self.scratch_part = bytes;
            }
        }
    }

    /// Appends a part to a backend, its bytes by `write`. False, and nothing is done, when the backend has gone or is full.
    #[inline(always)]
    pub(super) fn push_ready(
        &mut self,
        key: Key<Backend>,
        part: Part,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let Some(b) = self.backends.get_mut(key).filter(|b| b.window.end() < MOST_WINDOW) else {
            return false;
        };
        b.push_by(part, self.now, write);
        b.watch(key, &mut self.timers, &mut self.dirty_backends, self.now);
        true
    }

    /// Appends a part to a backend that exists.
    #[inline(always)]
    pub(super) fn push(&mut self, key: Key<Backend>, part: Part, bytes: &[u8]) {
        if part.attempts != 0 {
            self.wanders(&part, key);
        }
        if self.scripts.may_be_called_by(&part) {
            self.load_scripts(key, &part, bytes);
        }
        self.append(key, |b, now| match part.block {
            false => b.push(part, bytes, now),
            true => b.push_block(part, bytes, multi::commands_in(bytes), now),
        });
    }

    #[inline(always)]
    fn append(&mut self, key: Key<Backend>, push: impl FnOnce(&mut Backend, Time)) {
        let Some(b) = self.backends.get_mut(key) else { return };
        push(b, self.now);
        b.watch(key, &mut self.timers, &mut self.dirty_backends, self.now);
    }

    /// The backend that a part should go to now, opened if need be.
    #[inline(always)]
    pub(super) fn backend_for(&mut self, part: &Part) -> Result<Key<Backend>, Unsent> {
        if part.kind.is_plain() && part.slot != NO_SLOT {
            let node = self.nodes.primary(part.slot).ok_or(Unsent::Unserved)?;
            return self.shared_backend(node, part.kind);
        }
        self.special_backend_for(part)
    }

    /// As [`Engine::backend_for`], for parts that are no matter of their slot's primary alone.
    #[inline(never)]
    fn special_backend_for(&mut self, part: &Part) -> Result<Key<Backend>, Unsent> {
        if part.kind.dedicated {
            return self.lease_for(part);
        }
        if part.kind.replica && part.attempts == 0 {
            if let Some(backend) = self.replica_for(part) {
                return Ok(backend);
            }
        }
        let node = match part.slot {
            NO_SLOT => match self.target_of(part) {
                Some(node) => return self.shared_backend(node, part.kind),
                None => self.nodes.any_primary(self.now),
            },
            slot => self.nodes.primary(slot),
        };
        self.shared_backend(node.ok_or(Unsent::Unserved)?, Kind { replica: false, ..part.kind })
    }

    /// A backend to some replica of the part's slot, near ones first where that is asked for.
    fn replica_for(&mut self, part: &Part) -> Option<Key<Backend>> {
        let near = self.around.local_ip.map(|ip| ip.octets());
        let same_idc = |n: &Node| match (n.addr.ip(), near) {
            (std::net::IpAddr::V4(ip), Some(here)) => ip.octets()[..2] == here[..2],
            _ => false,
        };
        let close = match self.config.read_prefer {
            ReadPrefer::SlaveSameIdc => self.nodes.replica(part.slot, self.now, same_idc),
            _ => None,
        };
        let node = close.or_else(|| self.nodes.replica(part.slot, self.now, |_| true))?;
        self.shared_backend(node, part.kind).ok()
    }

    /// The shared backend of a kind to a node, opened if there is none.
    #[inline]
    pub(super) fn shared_backend(&mut self, node: Key<Node>, kind: Kind) -> Result<Key<Backend>, Unsent> {
        let n = self.nodes.get(node).ok_or(Unsent::Unserved)?;
        let key = n.shared_of(kind);
        if let Some(b) = self.backends.get(key) {
            return if b.window.end() < MOST_WINDOW { Ok(key) } else { Err(Unsent::Full) };
        }
        if n.circuit.is_open() {
            return Err(Unsent::Hopeless(node));
        }
        if n.pause(self.now).is_some() {
            return Err(Unsent::Paused);
        }
        if kind.db != 0 {
            self.admit_database(node)?;
        }
        Ok(self.open_backend(node, kind))
    }

    #[cold]
    pub(super) fn open_backend(&mut self, node: Key<Node>, kind: Kind) -> Key<Backend> {
        let backend = Backend::new(node, kind, &self.config, self.now);
        let key = self.backends.insert(backend);
        let look = self.config.connect_timeout.min(SUSPECT_AFTER);
        let timer = self.timers.set(self.now.after(look), Alarm::Backend(key));
        if let Some(b) = self.backends.get_mut(key) {
            debug_assert_eq!(b.state, State::Connecting);
            b.timer = timer;
        }
        if let Some(n) = self.nodes.get_mut(node) {
            match (kind.dedicated, kind.db) {
                (true, _) => n.dedicated += 1,
                (_, 0) => n.shared[kind.index()] = key,
                _ => n.others.push((kind, key)),
            }
            self.effects.push(Effect::Connect(key, n.addr));
        }
        self.counters.backend_connects += 1;
        key
    }

    /// Which kind of backend a client's command goes to.
    #[inline(always)]
    pub(super) fn kind_for(&self, key: Key<Client>, command: &Command) -> Kind {
        let Some(c) = self.clients.get(key) else { return Kind::default() };
        // What a client reads while it watches decides what it writes, and what it keeps a copy of is told to be old by the
        // primary, so neither must be old.
        let replica = (c.readonly || self.config.read_prefer != ReadPrefer::Master)
            && command.flags.has(Flags::READONLY)
            && c.lease.is_none()
            && c.tracking.is_none();
        Kind { resp3: c.resp3, replica, db: c.db, ..Kind::default() }
    }

    /// Nobody serves the slot of a part.
    #[cold]
    pub(super) fn unserved(&mut self, part: Part) {
        self.nobody_serves();
        let mut error = Vec::new();
        match self.target_name(&part) {
            Some(name) => errors::has_left(&mut error, name),
            None => errors::unserved(&mut error, part.slot, self.nodes.known()),
        }
        self.answer(&part, &error);
    }

    pub(super) fn nobody_serves(&mut self) {
        self.counters.proxy_errors += 1;
        self.effects.push(Effect::Refresh(Hint::Unserved));
    }

    /// An error reply; `write` gives its text without `-` and line end.
    pub(super) fn refuse(&mut self, key: Key<Client>, write: impl FnOnce(&mut Vec<u8>)) -> Step {
        let mut text = Vec::new();
        write(&mut text);
        let mut reply = Vec::with_capacity(text.len() + 3);
        encode::error(&mut reply, &text);
        self.reply_now(key, &reply);
        Step::Taken
    }

    /// A request of a client that must authenticate first. Older servers look at its form before.
    #[cold]
    fn stranger_request(&mut self, key: Key<Client>, command: &'static Command, args: &Args<'_>) -> Step {
        if let Some(step) = self.admit_stranger(key, args.frame().len()) {
            return step;
        }
        let well_formed = command::arity_ok(command, args.len()) && !self.lacks(command);
        if !well_formed && !self.software.has(forms::AUTH_FIRST) {
            return self.wrong_arity(key, command, args);
        }
        self.reject_early(key, command, errors::NO_AUTH)
    }

    #[cold]
    fn wrong_arity(&mut self, key: Key<Client>, command: &'static Command, args: &Args<'_>) -> Step {
        if self.lacks(command) {
            return self.unknown_here(key, command, args);
        }
        let mut text = Vec::new();
        command::wrong_arity_error(command, &mut text);
        self.reject_early(key, command, &text)
    }

    /// A request is rejected before it is queued or carried out. A server that rejects EXEC gives up the transaction, and
    /// says so.
    fn reject_early(&mut self, key: Key<Client>, command: &'static Command, text: &[u8]) -> Step {
        if command.name != "exec" {
            self.spoil(key);
            return self.reject(key, command, |out| out.extend_from_slice(text));
        }
        self.leave_transaction(key);
        let why = text.strip_prefix(b"ERR ").unwrap_or(text);
        self.reject(key, command, |out| {
            out.extend_from_slice(b"EXECABORT Transaction discarded because of: ");
            out.extend_from_slice(why);
        })
    }

    /// Whether the proxy would answer, or refuse, a command that the nodes do not have. What is sent to them is for them to
    /// refuse.
    fn answers_unknown(&self, command: &'static Command) -> bool {
        let is_ours = matches!(command.class, Class::Local(_) | Class::ClusterView | Class::Refused(_));
        is_ours && self.lacks(command)
    }

    /// Whether the nodes are known not to have a command.
    fn lacks(&self, command: &'static Command) -> bool {
        self.knows_software && !self.software.has(command.since)
    }

    /// A command of the table that the nodes do not have.
    #[cold]
    fn unknown_here(&mut self, key: Key<Client>, command: &'static Command, args: &Args<'_>) -> Step {
        self.spoil(key);
        let container = args.get(0).and_then(command::lookup).filter(|_| !command.container().is_empty());
        self.unknown(key, args, container.map_or(Unknown::Command, Unknown::Subcommand))
    }

    #[cold]
    pub(super) fn unknown(&mut self, key: Key<Client>, args: &Args<'_>, unknown: Unknown) -> Step {
        let first = args.get(0).unwrap_or_default();
        if first.eq_ignore_ascii_case(b"post") || first.eq_ignore_ascii_case(b"host:") {
            return self.security_attack(key);
        }
        let stranger = self.clients.get(key).is_some_and(|c| !c.authenticated);
        let silent = stranger && self.software.has(forms::AUTH_FIRST);
        let lacking = matches!(unknown, Unknown::Subcommand(container) if self.lacks(container));
        self.refuse(key, |out| match unknown {
            _ if silent => out.extend_from_slice(errors::NO_AUTH),
            Unknown::Subcommand(_) if !lacking => command::unknown_subcommand_error(args, out),
            _ => command::unknown_command_error(args, out),
        })
    }

    /// An HTTP request: a page in somebody's browser tries to reach this port. Closed at once, as a server does.
    fn security_attack(&mut self, key: Key<Client>) -> Step {
        if let Some(c) = self.clients.get_mut(key) {
            log::warn!(
                "client {} ({}) closed: it speaks HTTP, perhaps a cross-protocol attack",
                c.id,
                c.peer
            );
        }
        self.close_client(key);
        Step::Taken
    }

    /// The time as parts keep it.
    #[inline]
    pub(super) fn now_us(&self) -> u32 {
        self.now.as_micros() as u32
    }
}
