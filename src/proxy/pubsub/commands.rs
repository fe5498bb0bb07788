//! What clients ask for: SUBSCRIBE and its kin, and what else a subscriber may do.

use std::mem;

use super::hub::Topic;
use super::subscriber::{Pending, Subscriber};
use super::{encode, Scope};
use crate::base::arena::Key;
use crate::command::{self, Class, Command, Local};
use crate::proxy::client::Client;
use crate::proxy::dispatch::Step;
use crate::proxy::engine::Engine;
use crate::proxy::errors;
use crate::proxy::order::Sequence;
use crate::proxy::part::NO_SLOT;
use crate::resp::Args;

impl Engine {
    /// A command of [`Class::PubSub`].
    pub(in crate::proxy) fn pubsub(
        &mut self,
        key: Key<Client>,
        row: &'static Command,
        args: &Args<'_>,
    ) -> Step {
        if row.container() == "pubsub" {
            return self.inquire(key, row, args);
        }
        // CLIENT REPLY OFF does not silence subscriptions.
        if let Some(active) = self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut()) {
            active.order.set_muting(false);
        }
        match row.name {
            "subscribe" => self.subscribe(key, Scope::Channel, args),
            "psubscribe" => self.subscribe(key, Scope::Pattern, args),
            "ssubscribe" => self.subscribe(key, Scope::Shard, args),
            "unsubscribe" => self.unsubscribe(key, Scope::Channel, args),
            "punsubscribe" => self.unsubscribe(key, Scope::Pattern, args),
            "sunsubscribe" => self.unsubscribe(key, Scope::Shard, args),
            _ => self.refuse(key, |out| errors::not_yet(out, row)),
        }
    }

    /// A request of a client that has subscriptions; `None` when they make no difference to it.
    #[cold]
    pub(in crate::proxy) fn subscriber_request(
        &mut self,
        key: Key<Client>,
        row: &'static Command,
        args: &Args<'_>,
    ) -> Option<Step> {
        let c = self.clients.get(key)?;
        let subscriber = c.subscriber.as_deref()?;
        let subscribes =
            row.class == Class::PubSub && matches!(row.name, "subscribe" | "psubscribe" | "ssubscribe");
        if subscribes {
            return None;
        }
        // What it may do depends on how they end.
        if !subscriber.pending.is_empty() && self.must_wait(key) {
            return Some(Step::Wait);
        }
        if self.clients.get(key)?.resp3 {
            return None;
        }
        match row.class {
            Class::PubSub if row.container().is_empty() => None,
            Class::Local(Local::Quit | Local::Reset) => None,
            Class::Local(Local::Ping) if args.len() > 2 => None,
            Class::Local(Local::Ping) => {
                let mut out = Vec::new();
                encode::pong(&mut out, args.get(1).unwrap_or_default());
                Some(self.reply(key, &out))
            }
            _ => Some(self.refuse(key, |out| encode::not_now(out, row))),
        }
    }

    /// Ends all subscriptions of a client without a word, as RESET does.
    pub(in crate::proxy) fn leave_all(&mut self, key: Key<Client>) {
        if let Some(subscriber) = self.clients.get_mut(key).and_then(|c| c.subscriber.take()) {
            self.subscriber_gone(*subscriber);
        }
    }

    /// What a client had that is none any more.
    pub(in crate::proxy) fn subscriber_gone(&mut self, subscriber: Subscriber) {
        for (topic, place) in subscriber.places() {
            self.leave_place(topic, place);
        }
        for pending in subscriber.pending {
            self.release(&pending.topics);
        }
    }

    /// Nodes have confirmed a topic: requests that waited for it go on.
    pub(super) fn carried(&mut self, key: Key<Topic>) {
        let Some(topic) = self.hub.get_mut(key) else { return };
        for (client, sequence) in mem::take(&mut topic.waiters) {
            let pending = self.clients.get_mut(client).and_then(|c| c.subscriber.as_deref_mut());
            let pending = pending.and_then(|s| s.pending.iter_mut().find(|p| p.sequence == sequence));
            if let Some(pending) = pending {
                pending.missing = pending.missing.saturating_sub(1);
                self.confirm_ready(client);
            }
        }
    }

    /// A request that cannot be carried out: `error` is its reply, as a whole frame.
    pub(super) fn fail_subscribe(&mut self, client: Key<Client>, sequence: Sequence, error: &[u8]) {
        let Some(subscriber) = self.clients.get_mut(client).and_then(|c| c.subscriber.as_deref_mut()) else {
            return;
        };
        let Some(at) = subscriber.pending.iter().position(|p| p.sequence == sequence) else { return };
        let Some(pending) = subscriber.pending.remove(at) else { return };
        self.tidy_subscriber(client);
        for topic in &pending.topics {
            if let Some(t) = self.hub.get_mut(*topic) {
                t.waiters.retain(|w| *w != (client, sequence));
            }
        }
        self.reply_to(client, sequence, error);
        self.release(&pending.topics);
        if pending.scope == Scope::Changes {
            self.stop_tracking(client);
        }
        self.confirm_ready(client);
    }

    /// Sharded channels may be of several slots: clients subscribe anew to all that they had at once.
    fn subscribe(&mut self, key: Key<Client>, scope: Scope, args: &Args<'_>) -> Step {
        let Some(c) = self.clients.get(key) else { return Step::Taken };
        // No message may come in front of the confirmation, so replies to other requests must not delay it.
        let queued = c.subscriber.as_deref().is_some_and(|s| !s.pending.is_empty());
        if !queued && self.must_wait(key) {
            return Step::Wait;
        }
        let mut slots = args.iter().skip(1).map(command::slot);
        let unserved = match scope {
            Scope::Shard => slots.find(|slot| self.nodes.primary(*slot).is_none()),
            _ => self.nodes.any_primary(self.now).is_none().then_some(NO_SLOT),
        };
        if let Some(slot) = unserved {
            self.nobody_serves();
            let mut error = Vec::new();
            errors::unserved(&mut error, slot, self.nodes.known());
            return self.reply(key, &error);
        }
        let topics: Vec<Key<Topic>> = args.iter().skip(1).map(|n| self.hub.enter(scope, n)).collect();
        let Some(c) = self.clients.get_mut(key) else { return Step::Taken };
        let active = c.active.get_or_insert_with(|| self.actives.take());
        let sequence = active.order.admit(args.frame().len() as u32);
        self.await_topics(key, sequence, scope, topics);
        Step::Taken
    }

    /// Has an admitted request wait until its topics are carried.
    pub(super) fn await_topics(
        &mut self,
        key: Key<Client>,
        sequence: Sequence,
        scope: Scope,
        topics: Vec<Key<Topic>>,
    ) {
        let mut missing = Vec::new();
        for topic in &topics {
            let carried = self.is_carried(*topic);
            let Some(t) = self.hub.get_mut(*topic) else { continue };
            t.holds += 1;
            if !carried {
                t.waiters.push((key, sequence));
                missing.push(*topic);
            }
        }
        let pending = Pending { sequence, scope, topics, missing: missing.len(), born: self.now };
        if let Some(c) = self.clients.get_mut(key) {
            c.subscriber.get_or_insert_with(Box::default).pending.push_back(pending);
        }
        for topic in missing {
            self.settle(topic);
        }
        self.confirm_ready(key);
    }

    /// Confirms the requests of a client for which nothing is missing, oldest first.
    fn confirm_ready(&mut self, key: Key<Client>) {
        while let Some(pending) = self
            .clients
            .get_mut(key)
            .and_then(|c| c.subscriber.as_deref_mut())
            .and_then(Subscriber::next_ready)
        {
            let mut reply = Vec::new();
            for topic in &pending.topics {
                self.join(key, pending.scope, *topic, &mut reply);
            }
            self.release(&pending.topics);
            self.tidy_subscriber(key);
            self.reply_to(key, pending.sequence, &reply);
        }
    }

    /// Makes a client a subscriber of a topic, if it is none, and appends the confirmation.
    fn join(&mut self, key: Key<Client>, scope: Scope, topic: Key<Topic>, out: &mut Vec<u8>) {
        if scope == Scope::Changes {
            return self.tracking_begins(key, out);
        }
        let Some(c) = self.clients.get_mut(key) else { return };
        let protocol = c.protocol();
        let Some(subscriber) = c.subscriber.as_deref_mut() else { return };
        if !subscriber.has(scope, topic) {
            subscriber.put(scope, topic, self.hub.join(topic, key));
        }
        let Some(t) = self.hub.get(topic) else { return };
        encode::confirmation(out, protocol, scope.subscribe(), Some(&t.name), subscriber.count(scope));
    }

    fn unsubscribe(&mut self, key: Key<Client>, scope: Scope, args: &Args<'_>) -> Step {
        let Some(c) = self.clients.get(key) else { return Step::Taken };
        let (protocol, verb) = (c.protocol(), scope.unsubscribe());
        let mut out = Vec::new();
        if args.len() > 1 {
            for name in args.iter().skip(1) {
                if let Some(topic) = self.hub.find(scope, name) {
                    self.leave(key, scope, topic);
                }
                encode::confirmation(&mut out, protocol, verb, Some(name), self.subscriptions(key, scope));
            }
        } else {
            for topic in c.subscriber.as_deref().map(|s| s.topics(scope)).unwrap_or_default() {
                let Some(name) = self.hub.get(topic).map(|t| t.name.clone()) else { continue };
                self.leave(key, scope, topic);
                encode::confirmation(&mut out, protocol, verb, Some(&name), self.subscriptions(key, scope));
            }
            if out.is_empty() {
                encode::confirmation(&mut out, protocol, verb, None, self.subscriptions(key, scope));
            }
        }
        self.tidy_subscriber(key);
        self.reply(key, &out)
    }

    fn subscriptions(&self, key: Key<Client>, scope: Scope) -> usize {
        self.clients.get(key).and_then(|c| c.subscriber.as_deref()).map_or(0, |s| s.count(scope))
    }

    fn leave(&mut self, key: Key<Client>, scope: Scope, topic: Key<Topic>) {
        let subscriber = self.clients.get_mut(key).and_then(|c| c.subscriber.as_deref_mut());
        if let Some(place) = subscriber.and_then(|s| s.take(scope, topic)) {
            self.leave_place(topic, place);
        }
    }

    /// Frees a place among the subscribers of a topic; the one that takes it is told.
    fn leave_place(&mut self, key: Key<Topic>, place: u32) {
        let Some(topic) = self.hub.get(key) else { return };
        let scope = topic.scope;
        let moved = self.hub.leave(key, place);
        let wanted = self.hub.get(key).is_some_and(Topic::is_wanted);
        let moved = moved.and_then(|k| self.clients.get_mut(k)).and_then(|c| c.subscriber.as_deref_mut());
        if let Some(subscriber) = moved {
            subscriber.put(scope, key, place);
        }
        if !wanted {
            self.settle(key);
        }
    }

    /// A request no longer holds its topics.
    pub(super) fn release(&mut self, topics: &[Key<Topic>]) {
        for key in topics {
            let Some(topic) = self.hub.get_mut(*key) else { continue };
            topic.holds = topic.holds.saturating_sub(1);
            if !topic.is_wanted() {
                self.settle(*key);
            }
        }
    }

    /// Frees what a client without subscriptions does not need.
    fn tidy_subscriber(&mut self, key: Key<Client>) {
        if let Some(c) = self.clients.get_mut(key) {
            c.subscriber.take_if(|s| s.is_empty());
        }
    }
}
