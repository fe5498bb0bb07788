//! What is counted of each command, for INFO commandstats and latencystats.
//!
//! The time of a command is that from its request to its reply, as this proxy sees it. Replies that come in the same turn
//! to the same command of the same age, as those of a pipeline do, are counted at once.

use super::client::Client;
use super::dispatch::Step;
use super::engine::Engine;
use super::part::Part;
use super::play;
use crate::base::arena::Key;
use crate::base::time::Time;
use crate::command::{self, Class, Command};
use crate::resp;
use crate::stats::{CommandCounters, Counters, Usages};

/// Errors by which a node refuses a command before it carries it out; redirects do not come so far.
const REJECTIONS: [&[u8]; 9] = [
    b"OOM ",
    b"MISCONF ",
    b"NOREPLICAS ",
    b"NOPERM ",
    b"READONLY ",
    b"BUSY ",
    b"LOADING ",
    b"MASTERDOWN ",
    b"CLUSTERDOWN ",
];

/// Counters, and the replies that are not in them yet.
#[derive(Debug)]
pub struct Tally {
    counters: CommandCounters,
    /// Of the replies not counted yet: to which command, when it came, how long it took, how many.
    command: u16,
    born_us: u32,
    usec: u32,
    replies: u32,
    /// They tell how long the command takes; a client that blocks waits for somebody else.
    timed: bool,
    base: Counters,
}

impl Default for Tally {
    fn default() -> Self {
        let counters = CommandCounters::new(command::count());
        Tally {
            counters,
            command: u16::MAX,
            born_us: 0,
            usec: 0,
            replies: 0,
            timed: false,
            base: Counters::default(),
        }
    }
}

impl Tally {
    /// A request was answered.
    #[inline]
    pub fn answered(&mut self, part: &Part, now: Time) {
        if part.command != self.command || part.born_us != self.born_us {
            self.begin(part, now);
        }
        self.replies += 1;
    }

    /// A request was answered with `frame`, which may be an error.
    pub fn replied(&mut self, part: &Part, frame: &[u8], now: Time) {
        let Some(error) = resp::error_text(frame) else { return self.answered(part, now) };
        if REJECTIONS.iter().any(|code| error.starts_with(code)) {
            return self.counters.rejected(part.command);
        }
        self.answered(part, now);
        self.counters.failed(part.command);
    }

    fn begin(&mut self, part: &Part, now: Time) {
        self.settle();
        self.command = part.command;
        self.born_us = part.born_us;
        self.usec = (now.as_micros() as u32).wrapping_sub(part.born_us);
        self.timed = !(part.kind.dedicated && command::by_id(part.command).class == Class::Blocking);
    }

    /// Counts what is not counted yet; to be called whenever time goes on.
    #[inline]
    pub fn settle(&mut self) {
        let replies = std::mem::take(&mut self.replies);
        match (replies, self.timed) {
            (0, _) => {}
            (_, true) => self.counters.answered(self.command, self.usec, replies),
            (_, false) => self.counters.called(self.command, replies),
        }
        // What is answered from now on took another time, even if it came at the same.
        self.command = u16::MAX;
    }

    /// The answer to a request was an error.
    pub fn failed(&mut self, command: u16) {
        self.counters.failed(command);
    }

    /// A request was refused before it was carried out.
    pub fn rejected(&mut self, command: u16) {
        self.counters.rejected(command);
    }

    /// A request of several parts was answered.
    pub fn gathered(&mut self, command: u16, born_us: u32, now: Time, failed: bool) {
        self.counters.answered(command, (now.as_micros() as u32).wrapping_sub(born_us), 1);
        if failed {
            self.counters.failed(command);
        }
    }

    /// What was counted so far.
    pub fn usages(&self) -> Usages {
        self.counters.usages()
    }

    /// Counts from zero again; the other counters of the worker stand at `base` now.
    pub fn reset(&mut self, base: Counters) {
        self.replies = 0;
        self.counters.reset();
        self.base = base;
    }

    /// Where the other counters stood when they were reset.
    pub fn base(&self) -> &Counters {
        &self.base
    }
}

/// The name of a command by its number in [`Usages`], as INFO shows it.
pub fn command_name(id: u16) -> String {
    command::full_name(id)
}

impl Engine {
    /// A request that the proxy answers itself: it is counted, its time is not.
    pub(super) fn counted(
        &mut self,
        row: &'static Command,
        carry_out: impl FnOnce(&mut Engine) -> Step,
    ) -> Step {
        let errors = self.counters.error_replies;
        let step = carry_out(self);
        if step == Step::Taken {
            self.tally.counters.called(row.id, 1);
            if self.counters.error_replies != errors {
                self.tally.failed(row.id);
            }
        }
        step
    }

    /// A command inside MULTI: it is counted when it is queued, and its time is part of EXEC's. What the proxy carries out
    /// itself is counted then.
    pub(super) fn count_queued(
        &mut self,
        row: &'static Command,
        queue: impl FnOnce(&mut Engine) -> Step,
    ) -> Step {
        let errors = self.counters.error_replies;
        let step = queue(self);
        match (step, self.counters.error_replies == errors) {
            (Step::Taken, true) if play::place(row).is_none() => self.tally.counters.called(row.id, 1),
            (Step::Taken, true) => {}
            (Step::Taken, false) => self.tally.rejected(row.id),
            (Step::Wait, _) => {}
        }
        step
    }

    /// An error reply to a request that is not carried out; `write` gives its text without `-` and line end.
    pub(super) fn reject(
        &mut self,
        key: Key<Client>,
        row: &Command,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Step {
        self.tally.rejected(row.id);
        self.refuse(key, write)
    }
}
