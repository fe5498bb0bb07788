//! Clients that have to authenticate and have not: for how long they may be connected, and how much of what they send is
//! answered.
//!
//! All that a stranger gets is errors, so a few are enough for those that have been set up wrongly; a flood of them must not
//! take from the others what the worker can do.

use std::time::Duration;

use super::client::Client;
use super::dispatch::Step;
use super::engine::{Alarm, Engine};
use crate::base::arena::Key;
use crate::base::time::Time;

/// How often strangers may send something again, all of them.
const PERIOD: Duration = Duration::from_millis(10);

/// What is answered of them in a period: requests, and kilobytes of requests.
const AT_ONCE: usize = 128;

/// What strangers may send yet.
#[derive(Debug, Default)]
pub struct Strangers {
    /// Begin of the period.
    since: Time,
    /// What was answered in it.
    answered: usize,
    /// Some are held up until its end.
    waiting: bool,
}

impl Engine {
    /// Whether the request of a stranger, of so many bytes, is answered now; else the client is held up.
    pub(super) fn admit_stranger(&mut self, key: Key<Client>, bytes: usize) -> Option<Step> {
        let strangers = &mut self.strangers;
        if self.now.since(strangers.since) >= PERIOD {
            (strangers.since, strangers.answered) = (self.now, 0);
        }
        if strangers.answered < AT_ONCE || self.draining {
            strangers.answered += 1 + bytes / 1024;
            return None;
        }
        if !strangers.waiting {
            strangers.waiting = true;
            self.timers.set(strangers.since.after(PERIOD), Alarm::Strangers);
        }
        self.hold(key);
        Some(Step::Wait)
    }

    /// Strangers may go on.
    pub(super) fn strangers_alarm(&mut self) {
        self.strangers.waiting = false;
        self.release_held();
    }

    /// A client may be a stranger only for so long.
    pub(super) fn stranger_alarm(&mut self, key: Key<Client>) {
        let Some(c) = self.clients.get(key) else { return };
        if c.authenticated {
            return self.set_idle_timer(key);
        }
        log::debug!("client {} ({}) closed: it has not authenticated", c.id, c.peer);
        self.close_client(key);
    }

    pub(super) fn set_stranger_timer(&mut self, key: Key<Client>) {
        let at = self.now.after(self.config.auth_timeout);
        let timer = self.timers.set(at, Alarm::Stranger(key));
        if let Some(c) = self.clients.get_mut(key) {
            c.timer = timer;
        }
    }
}
