//! Silent nodes: suspected when they leave a question unanswered, and not believed any more when they have lost their
//! slots meanwhile.
//!
//! A primary that was frozen or cut off does not know of the promotion of its replica when it is back. For a moment it
//! executes what lies in its sockets and says so; then it hears of its successor and forgets all of it.

use std::time::Duration;

use super::backend::{Backend, State};
use super::engine::{Alarm, Effect, Engine, Hint};
use super::loss::Loss;
use super::nodes::Node;
use super::redirect::{self, Verdict};
use crate::base::arena::Key;

/// A node that is asked and says nothing for so long may be dead: the topology is asked for, and nothing more is written
/// there, so that it can go to a successor.
pub const SUSPECT_AFTER: Duration = Duration::from_secs(1);

/// How long a node that owns no slots any more may take to answer what it was asked when it still did.
const DEMOTED_PATIENCE: Duration = Duration::from_millis(500);

/// The same for one that was silent already: one that lives answers what it has held up as soon as it is demoted.
const SUSPECT_PATIENCE: Duration = Duration::from_millis(100);

impl Engine {
    /// A node has been silent for a while although it was asked.
    pub(super) fn suspect(&mut self, key: Key<Backend>) {
        let Some(b) = self.backends.get_mut(key) else { return };
        let Some(n) = self.nodes.get(b.node) else { return };
        self.effects.push(Effect::Refresh(Hint::NodeSilent(n.addr)));
        if b.state == State::Ready && n.circuit.is_half_open() && b.answered.is_none() {
            self.counters.reply_timeouts += 1;
            return self.lose_backend(key, Loss::ReplyTimeout);
        }
        // A request that was not written in full is not answered.
        if b.state == State::Ready && b.asked() && !b.kind.listener {
            b.suspect = true;
            b.window.hold();
        }
    }

    /// Whether a node that was silent, and that has lost its slots meanwhile, says anything but that it knows so: what it
    /// has done with what it was asked, it has not done as a primary, and it will be undone.
    #[cold]
    pub(super) fn speaks_too_late(&self, node: Key<Node>, data: &[u8]) -> bool {
        let line = data.split_inclusive(|b| *b == b'\n').next().unwrap_or_default();
        self.nodes.is_demoted(node) && redirect::verdict(line) == Verdict::Reply
    }

    /// Backends to nodes that have lost all they owned: what waits there for a connect or a greeting is routed anew at
    /// once, and what waits for a reply is given up soon, as the node may have lost its slots because it is dead.
    pub(super) fn hurry_demoted(&mut self) {
        let silent = self.silent_nodes();
        for key in self.backends.keys() {
            let Some(b) = self.backends.get_mut(key) else { continue };
            // A node that was removed may be back before its last reply was.
            b.retired &= self.nodes.get(b.node).is_none_or(|n| !n.listed);
            if b.kind.replica || !self.nodes.is_demoted(b.node) {
                // What waits on a dedicated backend has a patience of its own.
                if !b.kind.dedicated {
                    b.patience = self.config.reply_timeout;
                }
                continue;
            }
            let silent = silent.contains(&b.node);
            if b.state != State::Ready || (silent && b.fifo.is_empty() && b.user != Key::NONE) {
                self.lose_backend(key, Loss::Demoted);
                continue;
            }
            if silent && !b.fifo.is_empty() && !b.kind.listener {
                b.suspect = true;
                b.window.hold();
            }
            if b.patience <= DEMOTED_PATIENCE {
                // Its time runs already; the same topology comes again and again.
                continue;
            }
            b.patience = if b.suspect { SUSPECT_PATIENCE } else { DEMOTED_PATIENCE };
            b.progress = self.now;
            let due = self.now.after(b.patience);
            self.timers.cancel(b.timer);
            b.timer = self.timers.set(due, Alarm::Backend(key));
        }
    }

    /// Nodes that were silent on any connection; it is enough that one of them was noticed.
    fn silent_nodes(&self) -> Vec<Key<Node>> {
        self.backends.iter().filter(|(_, b)| b.suspect).map(|(_, b)| b.node).collect()
    }
}
