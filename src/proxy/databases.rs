//! Numbered databases: SELECT of another one than 0, where the cluster has them (Valkey 9 with `cluster-databases`).
//!
//! Whether there is such a database only a node can tell, so SELECT opens a backend there, or uses one, and asks something
//! harmless; what the node says to SELECT is the reply. Each database has shared backends of its own, opened when they are
//! needed, closed when they have been idle for a while, and bounded in number per node. A dedicated backend, which is one
//! client's at a time, is told the database whenever it is lent to somebody who is in another.

use std::time::Duration;

use super::backend::{Backend, Kind, State};
use super::client::Client;
use super::dispatch::{Step, Unsent};
use super::engine::{Alarm, Engine};
use super::fan::Work;
use super::nodes::Node;
use super::order::Sequence;
use super::part::{Owner, Part, NO_SLOT};
use super::session::{number, NOT_AN_INTEGER};
use crate::base::arena::Key;
use crate::base::time::Time;
use crate::command;
use crate::resp::Args;

/// Shared backends of other databases than 0 per worker and node, at most.
const MOST_BACKENDS: usize = 64;

/// A shared backend of another database than 0 that nobody has used for so long is closed.
const MOST_IDLE: Duration = Duration::from_secs(60);

/// How long it is believed that there is no such database.
const NONE_FOR: Duration = Duration::from_secs(5);

/// As a server says it of numbers that fit no database at all.
const OUT_OF_RANGE: &[u8] = b"ERR value is out of range, value must between -2147483648 and 2147483647";

/// From this database on a node has said there are none: an error, which is believed for a while.
#[derive(Debug)]
pub struct Missing {
    from: u16,
    error: Box<[u8]>,
    until: Time,
}

impl Engine {
    /// SELECT. Whatever the client has sent before is answered first, and it is not read before this is.
    pub(super) fn select(&mut self, key: Key<Client>, args: &Args<'_>) -> Step {
        let Some(n) = number(args.get(1).unwrap_or_default()) else {
            return self.refuse(key, |out| out.extend_from_slice(NOT_AN_INTEGER));
        };
        let Ok(n) = i32::try_from(n) else {
            return self.refuse(key, |out| out.extend_from_slice(OUT_OF_RANGE));
        };
        // No cluster has so many databases: the node says what it says of too high ones.
        let db = u16::try_from(n).unwrap_or(u16::MAX);
        let Some(c) = self.clients.get(key) else { return Step::Taken };
        if c.db == db {
            return self.reply(key, b"+OK\r\n");
        }
        if self.must_wait(key) {
            return Step::Wait;
        }
        if db == 0 {
            self.set_database(key, 0);
            return self.reply(key, b"+OK\r\n");
        }
        match self.missing_database(db) {
            Some(error) => self.reply(key, &error),
            None => self.try_database(key, db, args.frame().len()),
        }
    }

    /// A node has answered in a database, or said that there is none.
    pub(super) fn selected(&mut self, key: Key<Client>, sequence: Sequence, db: u16, reply: &[u8]) {
        if reply.first() == Some(&b'-') {
            return self.reply_to(key, sequence, reply);
        }
        self.set_database(key, db);
        self.reply_to(key, sequence, b"+OK\r\n");
    }

    /// A client that waits for nothing is in another database from now on.
    pub(super) fn set_database(&mut self, key: Key<Client>, db: u16) {
        let Some(c) = self.clients.get_mut(key) else { return };
        c.db = db;
        let leased = self.leased(key).filter(|b| self.backends.get(*b).is_some_and(|b| b.kind.db != db));
        if let Some(backend) = leased {
            self.switch_database(backend, db);
        }
    }

    /// Tells a dedicated backend on which nothing is under way to use another database; what follows waits for the answer.
    pub(super) fn switch_database(&mut self, key: Key<Backend>, db: u16) {
        let patience = self.config.reply_timeout;
        let Some(b) = self.backends.get_mut(key) else { return };
        b.select(db, self.now);
        if b.timer == Key::NONE {
            b.timer = self.timers.set(self.now.after(patience), Alarm::Backend(key));
        }
        self.mark_backend(key);
    }

    /// A node has refused SELECT of a backend.
    pub(super) fn no_database(&mut self, db: u16, error: &[u8]) {
        let from = if error.starts_with(b"-ERR SELECT is not allowed") { 1 } else { db };
        self.missing_database = Some(Missing { from, error: error.into(), until: self.now.after(NONE_FOR) });
    }

    fn missing_database(&self, db: u16) -> Option<Box<[u8]>> {
        let missing = self.missing_database.as_ref().filter(|m| m.from <= db && m.until > self.now)?;
        Some(missing.error.clone())
    }

    fn try_database(&mut self, key: Key<Client>, db: u16, bytes: usize) -> Step {
        let (Some(row), Some(select)) = (command::lookup(b"time"), command::lookup(b"select")) else {
            return Step::Taken;
        };
        let Some(c) = self.clients.get_mut(key) else { return Step::Taken };
        let kind = Kind { resp3: c.resp3, db, ..Kind::default() };
        let gather = self.gather(key, select, bytes, 1, Work::Select(db));
        if let Some(c) = self.clients.get_mut(key) {
            c.barrier = true;
        }
        let (owner, born_us) = (Owner::Gather(gather, 0), self.now_us());
        let part = Part { owner, born_us, slot: NO_SLOT, command: row.id, attempts: 0, kind, block: false };
        self.send(part, b"*1\r\n$4\r\nTIME\r\n");
        Step::Taken
    }

    /// Makes room for one more shared backend of another database.
    #[cold]
    pub(super) fn admit_database(&mut self, node: Key<Node>) -> Result<(), Unsent> {
        let n = self.nodes.get(node).ok_or(Unsent::Unserved)?;
        if n.others.len() < MOST_BACKENDS {
            return Ok(());
        }
        let idles = |k: &&Key<Backend>| {
            self.backends.get(**k).is_some_and(|b| b.state == State::Ready && b.fifo.is_empty())
        };
        let Some(idle) = n.others.iter().map(|(_, key)| key).find(idles).copied() else {
            return Err(Unsent::Full);
        };
        self.drop_backend(idle);
        Ok(())
    }

    /// The timer of a backend on which nothing is under way.
    pub(super) fn idle_backend_alarm(&mut self, key: Key<Backend>) {
        self.shrink_scratch();
        let Some(b) = self.backends.get_mut(key) else { return };
        b.give_back();
        if (b.kind.db == 0 && !b.kind.nudges) || b.kind.dedicated {
            return;
        }
        let due = b.progress.after(MOST_IDLE);
        if due > self.now {
            b.timer = self.timers.set(due, Alarm::Backend(key));
        } else {
            let node = b.node;
            self.drop_backend(key);
            self.nodes.forget(node);
        }
    }
}
