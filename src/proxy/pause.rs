//! CLIENT PAUSE: commands of a class wait, of all clients of all workers. As in a server everything is held up, also
//! what the proxy answers itself; only QUIT is not.

use super::across::Answer;
use super::client::Client;
use super::engine::{Alarm, Engine};
use crate::base::arena::Key;
use crate::base::time::Time;
use crate::base::wheel::TimerKey;
use crate::command::{Command, Flags};

/// Which commands wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Those that may change data.
    Write,
    /// All.
    All,
}

/// A pause that is in force.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    scope: Scope,
    until: Time,
    timer: TimerKey<Alarm>,
}

/// Commands that may write though their row does not say so: a server calls them `may_replicate`.
const MAY_WRITE: [&str; 6] = ["eval", "evalsha", "fcall", "pfcount", "publish", "spublish"];

impl Engine {
    /// CLIENT PAUSE on this worker. A second one can only make the first longer and wider, as in a server.
    pub(super) fn pause(&mut self, scope: Scope, until: Time) -> Answer {
        let (mut scope, mut until) = (scope, until);
        if let Some(p) = self.pause.take() {
            self.timers.cancel(p.timer);
            (scope, until) = (scope.max(p.scope), until.max(p.until));
        }
        if until > self.now {
            let timer = self.timers.set(until, Alarm::PauseEnd);
            self.pause = Some(Pause { scope, until, timer });
        }
        self.note_watchful();
        Answer::Done
    }

    /// CLIENT UNPAUSE on this worker, or the end of the time.
    pub(super) fn unpause(&mut self) -> Answer {
        if let Some(p) = self.pause.take() {
            self.timers.cancel(p.timer);
        }
        self.note_watchful();
        self.release_held();
        Answer::Done
    }

    /// Hands in again what clients were held up with; what must wait on is held up again.
    pub(super) fn release_held(&mut self) {
        for key in std::mem::take(&mut self.held) {
            if let Some(c) = self.clients.get_mut(key).filter(|c| c.held) {
                c.held = false;
                c.paused = false;
                self.make_ready(key);
            }
        }
    }

    /// Whether a command has to wait for the end of a pause.
    pub(super) fn is_held_up(&self, key: Key<Client>, command: &Command) -> bool {
        match self.pause {
            None => false,
            Some(Pause { scope: Scope::All, .. }) => command.name != "quit",
            // A transaction that was queued before the pause may write, too.
            Some(_) => may_write(command) || (command.name == "exec" && self.exec_writes(key)),
        }
    }

    /// Keeps a client until the end of the pause, or until the cluster has told of its command.
    pub(super) fn hold(&mut self, key: Key<Client>) {
        if let Some(c) = self.clients.get_mut(key).filter(|c| !c.held) {
            c.held = true;
            self.held.push(key);
        }
    }
}

/// Whether a command may change data.
pub(super) fn may_write(command: &Command) -> bool {
    command.flags.has(Flags::WRITE) || (command.container().is_empty() && MAY_WRITE.contains(&command.name))
}
