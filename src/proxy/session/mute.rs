//! CLIENT REPLY: clients that do not want replies. Their requests keep places in the order, whose replies are dropped.

use crate::base::arena::Key;
use crate::proxy::client::Client;
use crate::proxy::dispatch::Step;
use crate::proxy::engine::Engine;

/// Whether a client gets replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mute {
    /// CLIENT REPLY ON.
    #[default]
    Never,
    /// CLIENT REPLY SKIP: not to its next request.
    Next,
    /// CLIENT REPLY OFF.
    Always,
}

impl Engine {
    /// CLIENT REPLY ON, OFF, SKIP: only ON is answered.
    pub(super) fn client_reply(&mut self, key: Key<Client>, mode: &[u8]) -> Step {
        let is = |word: &[u8]| mode.eq_ignore_ascii_case(word);
        if is(b"on") {
            self.unmute(key);
            return self.reply(key, super::OK);
        }
        let mute = match (is(b"off"), is(b"skip")) {
            (true, _) => Mute::Always,
            (_, true) => Mute::Next,
            _ => return self.refuse(key, |out| out.extend_from_slice(super::SYNTAX)),
        };
        if let Some(c) = self.clients.get_mut(key).filter(|c| c.mute != Mute::Always) {
            c.mute = mute;
        }
        Step::Taken
    }

    /// The client gets replies again, also to the request that is being looked at.
    pub(super) fn unmute(&mut self, key: Key<Client>) {
        if let Some(c) = self.clients.get_mut(key) {
            c.mute = Mute::Never;
            c.active.iter_mut().for_each(|a| a.order.set_muting(false));
        }
    }

    /// Lets `take` take in one request of a client that wants no reply to it.
    #[cold]
    pub(in crate::proxy) fn muted(
        &mut self,
        key: Key<Client>,
        take: impl FnOnce(&mut Engine) -> (usize, Step),
    ) -> (usize, Step) {
        let Some(c) = self.clients.get_mut(key) else { return take(self) };
        let before = c.mute;
        if before == Mute::Next {
            c.mute = Mute::Never;
        }
        c.active.get_or_insert_with(|| self.actives.take()).order.set_muting(true);
        let taken = take(self);
        if let Some(c) = self.clients.get_mut(key) {
            c.active.iter_mut().for_each(|a| a.order.set_muting(false));
            if taken.1 == Step::Wait {
                c.mute = before;
            }
        }
        // What it does not hold any more is given back when it is looked at.
        self.mark_client(key);
        taken
    }
}
