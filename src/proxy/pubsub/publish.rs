//! PUBLISH and SPUBLISH.

use super::Scope;
use crate::base::arena::Key;
use crate::command::{self, Command};
use crate::proxy::client::Client;
use crate::proxy::dispatch::Step;
use crate::proxy::engine::Engine;
use crate::proxy::fan::Work;
use crate::proxy::order::Sequence;
use crate::proxy::part::{Owner, Part, NO_SLOT};
use crate::resp::{self, encode, Args};

impl Engine {
    /// A node passes messages on in the order in which it gets them, so all that is published to a channel goes to one
    /// node: that of the slot which the channel has as a key.
    pub(in crate::proxy) fn publish(
        &mut self,
        key: Key<Client>,
        row: &'static Command,
        args: &Args<'_>,
    ) -> Step {
        let channel = args.get(1).unwrap_or_default();
        let scope = if row.name == "spublish" { Scope::Shard } else { Scope::Channel };
        let mut slot = command::slot(channel);
        if scope == Scope::Channel && self.nodes.primary(slot).is_none() {
            slot = NO_SLOT;
        }
        let kind = self.kind_for(key, row);
        let gather = self.gather(key, row, args.frame().len(), 1, Work::Publish(scope, channel.into()));
        let (owner, born_us) = (Owner::Gather(gather, 0), self.now_us());
        let part = Part { owner, born_us, slot, command: row.id, attempts: 0, kind, block: false };
        self.send(part, args.frame());
        Step::Taken
    }

    /// The node has published a message. What it counts is one subscription of each worker at most; what the client wants
    /// to know is how many have subscribed.
    pub(in crate::proxy) fn published(
        &mut self,
        key: Key<Client>,
        sequence: Sequence,
        (scope, channel): (Scope, &[u8]),
        reply: &[u8],
    ) {
        if resp::integer(reply).is_none() {
            return self.reply_to(key, sequence, reply);
        }
        let count = self.hub.audience.of_message(scope, channel);
        self.reply_by(key, sequence, |out| encode::integer(out, count));
    }
}
