//! The one topic that is no channel: what changes at the primaries, for clients that track it.

use super::hub::Topic;
use super::Scope;
use crate::base::arena::Key;
use crate::proxy::client::Client;
use crate::proxy::engine::Engine;
use crate::proxy::errors;
use crate::proxy::order::Sequence;
use crate::proxy::part::NO_SLOT;

impl Engine {
    /// Has a client's request wait until all primaries tell of changes; then `tracking_begins`.
    pub(in crate::proxy) fn join_changes(&mut self, key: Key<Client>, sequence: Sequence) {
        if self.nodes.any_primary(self.now).is_some() {
            let topic = self.hub.enter(Scope::Changes, b"");
            return self.await_topics(key, sequence, Scope::Changes, vec![topic]);
        }
        self.nobody_serves();
        let mut error = Vec::new();
        errors::unserved(&mut error, NO_SLOT, self.nodes.known());
        self.reply_to(key, sequence, &error);
        self.stop_tracking(key);
    }

    /// One more client wants to be told.
    pub(in crate::proxy) fn hold_changes(&mut self) {
        let key = self.changes();
        if let Some(topic) = self.hub.get_mut(key) {
            topic.holds += 1;
        }
    }

    /// One client less wants to be told.
    pub(in crate::proxy) fn leave_changes(&mut self) {
        let key = self.changes();
        self.release(&[key]);
    }

    fn changes(&self) -> Key<Topic> {
        self.hub.find(Scope::Changes, b"").unwrap_or_default()
    }
}
