//! Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Without WATCH the commands are checked and queued here and sent at EXEC as one contiguous block on the shared backend of
//! their slot, so no other command can come between them. With WATCH the client is lent a backend of its own from WATCH
//! to EXEC, DISCARD, UNWATCH or RESET. A transaction that a node refuses before it executed anything (its slot has moved)
//! is sent again as a whole; a watched one is answered as if a watched key had changed, so that the client tries again.
//!
//! Commands that the proxy answers itself, or that go to many nodes, are queued as well; then EXEC is played (`play`).

use super::backend::Kind;
use super::client::Client;
use super::dispatch::Step;
use super::engine::Engine;
use super::errors;
use super::forms;
use super::lease::{Lease, Watched};
use super::part::{Owner, Part, NO_SLOT};
use super::pause::may_write;
use super::play::{self, Place, Score};
use super::scripts::is_eval;
use crate::base::arena::Key;
use crate::command::{self, Class, Command, Flags, KeyError, Local};
use crate::resp::{encode, Args, Limits, Parsed, Protocol, RequestParser};

pub(super) const BEGIN: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
pub(super) const END: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";
const ABORTED: &[u8] = b"EXECABORT Transaction discarded because of previous errors.";
const UNWATCHED: &[u8] = b"EXECABORT Transaction discarded because its keys are not watched: WATCH failed.";

/// A transaction that is being queued.
#[derive(Debug)]
pub struct Multi {
    /// MULTI and the commands, as they came.
    bytes: Vec<u8>,
    commands: u32,
    /// The slot of all keys so far.
    slot: Option<u16>,
    /// A command was refused: EXEC will be, too.
    spoiled: bool,
    /// What EXEC has to play.
    pub(super) score: Score,
    /// A command may change data.
    writes: bool,
    /// A command brings a script.
    evaluates: bool,
}

impl Multi {
    /// Memory that it holds, in bytes.
    pub fn memory(&self) -> usize {
        std::mem::size_of::<Self>() + self.bytes.capacity()
    }

    fn new(slot: Option<u16>) -> Self {
        Multi {
            bytes: BEGIN.to_vec(),
            commands: 0,
            slot,
            spoiled: false,
            score: Score::default(),
            writes: false,
            evaluates: false,
        }
    }

    /// Whether EXEC will run a script that comes with its text.
    pub(super) fn evaluates(&self) -> bool {
        self.evaluates && !self.spoiled
    }

    /// The slot of all keys.
    pub(super) fn slot(&self) -> u16 {
        self.slot.unwrap_or(NO_SLOT)
    }

    /// MULTI and the commands.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many commands are queued.
    pub fn commands(&self) -> u32 {
        self.commands
    }
}

impl Engine {
    /// MULTI, EXEC, DISCARD, WATCH, UNWATCH.
    pub(super) fn transaction(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) -> Step {
        match row.name {
            "multi" => self.counted(row, |e| e.multi(key)),
            "exec" => self.exec(key, row),
            "discard" => self.counted(row, |e| e.discard(key)),
            "watch" => self.watch(key, row, args),
            _ => self.counted(row, |e| e.unwatch(key)),
        }
    }

    /// Whether the client's next commands are queued rather than carried out.
    pub(super) fn in_multi(&self, key: Key<Client>) -> bool {
        self.clients.get(key).is_some_and(|c| c.multi.is_some())
    }

    /// Whether a command is carried out at once also inside MULTI.
    pub(super) fn leaves_queue(row: &Command) -> bool {
        match row.class {
            Class::Transaction => row.name != "unwatch",
            Class::Local(local) => matches!(local, Local::Quit | Local::Reset),
            _ => false,
        }
    }

    /// A command inside MULTI.
    pub(super) fn queue(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) -> Step {
        if row.flags.has(Flags::NO_MULTI) {
            return self.refuse_no_multi(key, &command::full_name(row.id));
        }
        if may_write(row) {
            self.queues_write(key);
        }
        if is_eval(row) {
            self.queues_script(key);
        }
        let slot = match row.class {
            Class::Slot | Class::Split(_) | Class::Blocking | Class::Publish => {
                match command::slot_of(row, args) {
                    Err(KeyError::CrossSlot) => return self.crossed(key),
                    Ok(slot) => slot,
                    Err(KeyError::Unroutable) => None,
                }
            }
            Class::AnyPrimary | Class::Transaction | Class::Local(Local::Ping | Local::Echo) => None,
            Class::Refused(why) => return self.refuse_in_multi(key, |out| errors::refused(out, why)),
            _ => return self.queue_own(key, row, args),
        };
        self.enqueue(key, slot, args)
    }

    /// A command for the proxy itself, or for many nodes.
    fn queue_own(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) -> Step {
        let Some(c) = self.clients.get(key) else { return Step::Taken };
        let watches = c.lease.is_some();
        let stays = row.name == "select" && args.get(1) == Some(c.db.to_string().as_bytes());
        let splits = match play::place(row) {
            Some(Place::Anywhere) => false,
            Some(Place::Between) if !watches => true,
            Some(Place::Between) if stays => false,
            Some(Place::Between) => {
                return self.refuse_in_multi(key, |out| errors::not_behind_watch(out, row));
            }
            None => return self.refuse_in_multi(key, |out| errors::not_in_multi(out, row)),
        };
        if let Some(multi) = self.clients.get_mut(key).and_then(|c| c.multi.as_deref_mut()) {
            multi.score.add(multi.bytes.len(), args.frame().len(), splits);
        }
        self.enqueue(key, None, args)
    }

    /// A command that may change data is to be queued.
    pub(super) fn queues_write(&mut self, key: Key<Client>) {
        if let Some(multi) = self.clients.get_mut(key).and_then(|c| c.multi.as_deref_mut()) {
            multi.writes = true;
        }
    }

    /// Whether EXEC of this client may change data.
    pub(super) fn exec_writes(&self, key: Key<Client>) -> bool {
        self.clients.get(key).and_then(|c| c.multi.as_deref()).is_some_and(|m| m.writes)
    }

    fn queues_script(&mut self, key: Key<Client>) {
        if let Some(multi) = self.clients.get_mut(key).and_then(|c| c.multi.as_deref_mut()) {
            multi.evaluates = true;
        }
    }

    /// A command that may be part of a transaction.
    pub(super) fn enqueue(&mut self, key: Key<Client>, slot: Option<u16>, args: &Args<'_>) -> Step {
        let most = self.config.max_request;
        let Some(multi) = self.clients.get_mut(key).and_then(|c| c.multi.as_deref_mut()) else {
            return Step::Taken;
        };
        if slot.is_some() && multi.slot.is_some() && slot != multi.slot {
            return self.crossed(key);
        }
        if multi.bytes.len() + args.frame().len() > most {
            return self.refuse_in_multi(key, |out| out.extend_from_slice(b"ERR transaction is too large"));
        }
        multi.slot = multi.slot.or(slot);
        multi.bytes.extend_from_slice(args.frame());
        multi.commands += 1;
        self.reply(key, b"+QUEUED\r\n")
    }

    /// A command that cannot be part of a transaction: EXEC will be refused.
    pub(super) fn refuse_in_multi(&mut self, key: Key<Client>, write: impl FnOnce(&mut Vec<u8>)) -> Step {
        self.spoil(key);
        self.refuse(key, write)
    }

    /// A command that a server does not take into a transaction.
    pub(super) fn refuse_no_multi(&mut self, key: Key<Client>, name: &str) -> Step {
        let named = self.software.has(forms::NO_MULTI_NAMES);
        self.refuse_in_multi(key, |out| match named {
            true => errors::say(out, format_args!("ERR Command '{name}' not allowed inside a transaction")),
            false => out.extend_from_slice(b"ERR Command not allowed inside a transaction"),
        })
    }

    /// MULTI or WATCH inside MULTI: Redis says so and goes on, Valkey gives the transaction up.
    fn refuse_nested(&mut self, key: Key<Client>, name: &str, text: &[u8]) -> Step {
        match self.software.has(forms::NESTING_ABORTS) {
            true => self.refuse_no_multi(key, name),
            false => self.refuse(key, |out| out.extend_from_slice(text)),
        }
    }

    /// Inside MULTI an error makes EXEC fail; outside nothing happens.
    pub(super) fn spoil(&mut self, key: Key<Client>) {
        if let Some(multi) = self.clients.get_mut(key).and_then(|c| c.multi.as_deref_mut()) {
            multi.spoiled = true;
        }
    }

    /// Forgets transaction and watched keys, for RESET and HELLO.
    pub(super) fn leave_transaction(&mut self, key: Key<Client>) {
        if let Some(c) = self.clients.get_mut(key) {
            c.multi = None;
        }
        self.stop_watching(key);
    }

    fn crossed(&mut self, key: Key<Client>) -> Step {
        self.refuse_in_multi(key, |out| out.extend_from_slice(errors::CROSS_SLOT))
    }

    fn multi(&mut self, key: Key<Client>) -> Step {
        let Some(c) = self.clients.get_mut(key) else { return Step::Taken };
        if c.multi.is_some() {
            return self.refuse_nested(key, "multi", b"ERR MULTI calls can not be nested");
        }
        let slot = c.lease.as_deref().and_then(Lease::watched_slot);
        c.multi = Some(Box::new(Multi::new(slot)));
        self.reply(key, b"+OK\r\n")
    }

    fn discard(&mut self, key: Key<Client>) -> Step {
        let multi = self.clients.get_mut(key).and_then(|c| c.multi.take());
        if multi.is_none() {
            return self.refuse(key, |out| out.extend_from_slice(b"ERR DISCARD without MULTI"));
        }
        self.stop_watching(key);
        self.reply(key, b"+OK\r\n")
    }

    fn exec(&mut self, key: Key<Client>, row: &'static Command) -> Step {
        // The dedicated backend must not overtake what the client has in flight on shared ones.
        let watches = self.clients.get(key).is_some_and(|c| c.lease.is_some());
        if watches && self.in_multi(key) && self.must_wait(key) {
            return Step::Wait;
        }
        self.note_scripts(key);
        self.track_transaction(key);
        let Some(c) = self.clients.get_mut(key) else { return Step::Taken };
        if c.multi.as_deref().is_some_and(|m| !m.spoiled && !m.score.is_empty()) {
            return self.counted(row, |e| e.play(key, row));
        }
        let Some(mut multi) = c.multi.take() else {
            return self
                .counted(row, |e| e.refuse(key, |out| out.extend_from_slice(b"ERR EXEC without MULTI")));
        };
        if multi.spoiled {
            self.stop_watching(key);
            return self.counted(row, |e| e.refuse(key, |out| out.extend_from_slice(ABORTED)));
        }
        let watching = c.lease.as_deref_mut().map(Lease::end_watch);
        multi.bytes.extend_from_slice(END);
        match watching {
            None if multi.commands == 0 => self.counted(row, |e| e.reply(key, b"*0\r\n")),
            None => self.send_block(key, row, &multi, false),
            Some(Watched::Always) => self.send_block(key, row, &multi, true),
            Some(watched) => self.counted(row, |e| e.refuse_unwatched(key, watched)),
        }
    }

    /// EXEC of a client whose keys were not watched all the time, so that it must not be executed. Where a change may
    /// have been missed it is answered as if there was one.
    pub(super) fn refuse_unwatched(&mut self, key: Key<Client>, watched: Watched) -> Step {
        // The backend that watched is gone; one that took its place watches still.
        if let Some(lease) = self.clients.get_mut(key).and_then(|c| c.lease.take()) {
            self.close_leased(&lease);
        }
        match watched {
            Watched::Never => self.refuse(key, |out| out.extend_from_slice(UNWATCHED)),
            _ => self.reply_null_array(key),
        }
    }

    fn send_block(&mut self, key: Key<Client>, row: &'static Command, multi: &Multi, watched: bool) -> Step {
        let Some(c) = self.clients.get_mut(key) else { return Step::Taken };
        let kind = Kind { resp3: c.resp3, dedicated: watched, db: c.db, ..Kind::default() };
        let active = c.active.get_or_insert_with(|| self.actives.take());
        let sequence = active.order.admit(multi.bytes.len() as u32);
        c.barrier |= watched;
        let owner = Owner::Client(key, sequence);
        let slot = multi.slot.unwrap_or(NO_SLOT);
        let part =
            Part { owner, born_us: self.now_us(), slot, command: row.id, attempts: 0, kind, block: true };
        self.send(part, &multi.bytes);
        Step::Taken
    }

    fn watch(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) -> Step {
        if self.in_multi(key) {
            return self.refuse_nested(key, "watch", b"ERR WATCH inside MULTI is not allowed");
        }
        // What the client wrote before must be there before it watches, and what it reads next must not come before.
        if self.must_wait(key) {
            return Step::Wait;
        }
        let slot = match command::slot_of(row, args) {
            Ok(Some(slot)) => slot,
            _ => return self.refuse(key, |out| out.extend_from_slice(errors::CROSS_SLOT)),
        };
        let Some(c) = self.clients.get_mut(key) else { return Step::Taken };
        let lease = c.lease.get_or_insert_with(|| Box::new(Lease::watch(slot)));
        if !lease.watch_more(slot, args.len() - 1) {
            return self.refuse(key, |out| out.extend_from_slice(errors::CROSS_SLOT));
        }
        self.send_dedicated(key, row, slot, args.frame())
    }

    fn unwatch(&mut self, key: Key<Client>) -> Step {
        if self.must_wait(key) {
            return Step::Wait;
        }
        self.stop_watching(key);
        self.reply(key, b"+OK\r\n")
    }

    /// The answer to a transaction that was not executed because a watched key may have changed.
    pub(super) fn answer_null_array(&mut self, part: &Part) {
        let mut out = Vec::new();
        encode::null_array(&mut out, if part.kind.resp3 { Protocol::Resp3 } else { Protocol::Resp2 });
        let client = self.client_of(part);
        self.answer(part, &out);
        if let Some(client) = client {
            self.end_lease(client);
        }
    }

    /// A null array, as the client's protocol has it.
    fn reply_null_array(&mut self, key: Key<Client>) -> Step {
        let Some(c) = self.clients.get(key) else { return Step::Taken };
        let mut out = Vec::new();
        encode::null_array(&mut out, c.protocol());
        self.reply(key, &out)
    }
}

/// How many requests `block` consists of.
pub(super) fn commands_in(block: &[u8]) -> usize {
    let mut parser = RequestParser::new();
    let limits = Limits { max_request: usize::MAX, ..Limits::default() };
    let (mut at, mut count) = (0, 0);
    while let Parsed::Request { len } = parser.parse(&block[at..], &limits) {
        at += len;
        count += 1;
    }
    debug_assert_eq!(at, block.len());
    count
}
