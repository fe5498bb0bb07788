//! Subscriptions at the nodes: which listener carries which topic, made true and kept true.

use std::time::Duration;

use super::encode::order;
use super::hub::{Link, Topic};
use super::Scope;
use crate::base::arena::Key;
use crate::cluster::RedirectKind;
use crate::proxy::backend::{Backend, Kind, State};
use crate::proxy::client::Client;
use crate::proxy::dispatch::Unsent;
use crate::proxy::engine::{Alarm, Effect, Engine, Hint};
use crate::proxy::errors;
use crate::proxy::nodes::Node;
use crate::proxy::order::Sequence;
use crate::proxy::part::{Owner, Part, NO_SLOT};
use crate::proxy::redirect::{self, Verdict};
use crate::resp::{self, encode};

/// First and longest pause before what could not be settled is tried again.
const FIRST_PAUSE_MS: u64 = 5;
const LONGEST_PAUSE_MS: u64 = 200;

/// How often listeners are looked after: those that said nothing for half as long are asked whether they are still
/// there, those without topics are closed.
const LISTENER_PAUSE: Duration = Duration::from_secs(5);

/// How long the main node keeps its part while the topology does not list it. A node that has just become a replica is
/// often left out for a moment, and still gets every message.
const UNLISTED_PATIENCE: Duration = Duration::from_secs(10);

/// Refusals of one topic that are acted upon at once; further ones wait a little each.
const QUICK_REFUSALS: u32 = 3;

impl Engine {
    /// Makes true what should be of one topic: every node that has to carry it is told to, all others are told not to,
    /// whoever waits is answered, and a topic that nobody wants is forgotten.
    pub(super) fn settle(&mut self, key: Key<Topic>) {
        let nodes = self.carriers(key);
        self.end_links(key, &nodes);
        let mut done = !nodes.is_empty();
        for node in nodes {
            done &= self.begin_link(key, node).is_ok();
        }
        if self.hub.forget(key) {
            return;
        }
        if !done && self.hub.get(key).is_some_and(Topic::is_wanted) {
            self.settle_later(key);
        }
        self.answer_waiters(key);
    }

    /// Whether all nodes that have to carry a topic do. A primary that cannot be reached does not count, or nobody
    /// could listen to the events of the others.
    pub(super) fn is_carried(&self, key: Key<Topic>) -> bool {
        let Some(t) = self.hub.get(key) else { return false };
        if t.scope == Scope::Shard {
            return self.nodes.primary(t.slot).is_some_and(|n| t.is_carried_by(n));
        }
        let failing = |n: Key<Node>| self.nodes.get(n).is_none_or(Node::is_failing);
        (t.scope == Scope::Changes || t.is_carried_by(self.hub.main))
            && (!t.everywhere || self.nodes.primaries().all(|n| t.is_carried_by(n) || failing(n)))
    }

    /// Settles a topic again after a pause.
    pub(super) fn settle_later(&mut self, key: Key<Topic>) {
        let Some(t) = self.hub.get_mut(key) else { return };
        if !std::mem::replace(&mut t.unsettled, true) {
            self.hub.unsettled.push(key);
        }
        if self.hub.settle_timer == Key::NONE {
            let full = (FIRST_PAUSE_MS << self.hub.tries.min(10)).min(LONGEST_PAUSE_MS);
            self.hub.tries = self.hub.tries.saturating_add(1);
            let pause = Duration::from_millis(full / 2 + self.random.below(full / 2 + 1));
            self.hub.settle_timer = self.timers.set(self.now.after(pause), Alarm::Settle);
        }
    }

    /// The pause is over.
    pub(in crate::proxy) fn settle_alarm(&mut self) {
        self.hub.settle_timer = Key::NONE;
        for key in std::mem::take(&mut self.hub.unsettled) {
            if let Some(t) = self.hub.get_mut(key) {
                t.unsettled = false;
            }
            self.give_up_waiters(key);
            self.settle(key);
        }
        if self.hub.unsettled.is_empty() {
            self.hub.tries = 0;
        }
    }

    /// The topology may have changed.
    pub(in crate::proxy) fn settle_all(&mut self) {
        let epoch = self.nodes.epoch();
        if self.hub.is_empty() || (self.keeps_main() && self.hub.epoch == epoch) {
            return;
        }
        self.hub.epoch = epoch;
        for key in self.hub.keys() {
            self.settle(key);
        }
    }

    /// A listener is closed: what it carried must be carried anew.
    pub(in crate::proxy) fn listener_gone(&mut self, backend: Key<Backend>, node: Key<Node>) {
        self.hub.listeners.retain(|l| *l != backend);
        if self.hub.main == node {
            self.hub.main = Key::NONE;
            self.hub.lost = node;
        }
        let mut silent = false;
        for key in self.hub.keys() {
            let Some(t) = self.hub.get_mut(key) else { continue };
            if !t.unlink(backend) {
                continue;
            }
            silent |= t.scope == Scope::Changes;
            if !self.hub.forget(key) {
                self.settle_later(key);
            }
        }
        if silent {
            self.changes_missed();
        }
    }

    /// Looks after the listeners: closes those without topics, asks silent ones for a sign of life.
    pub(in crate::proxy) fn listener_alarm(&mut self) {
        self.hub.listener_timer = Key::NONE;
        if !self.keeps_main() {
            self.settle_all();
        }
        for key in self.hub.listeners.clone() {
            let Some(b) = self.backends.get(key) else { continue };
            let silent = self.now.since(b.progress) >= LISTENER_PAUSE / 2;
            if b.state != State::Ready || !b.fifo.is_empty() {
                continue;
            }
            if !self.hub.iter().any(|(_, t)| t.links.iter().any(|l| l.backend == key)) {
                let node = b.node;
                self.drop_backend(key);
                self.nodes.forget(node);
            } else if silent {
                let mut ping = Vec::new();
                encode::request(&mut ping, &["PING"]);
                self.say(key, Key::NONE, true, &ping);
            }
        }
        self.set_listener_timer();
    }

    /// A node answered what it was told of changes, or any topic with an error, or PING with whatever.
    pub(in crate::proxy) fn link_replied(
        &mut self,
        backend: Key<Backend>,
        key: Key<Topic>,
        on: bool,
        frame: &[u8],
    ) {
        let is_changes = self.hub.get(key).is_some_and(|t| t.scope == Scope::Changes);
        if !is_changes || resp::is_error(frame[0]) {
            return self.link_refused(backend, key, on, frame);
        }
        if on {
            // It may have been asked before it began to tell.
            self.all_changed();
        }
        self.link_confirmed(backend, key);
    }

    /// A node confirmed what it was told of a topic.
    pub(super) fn link_confirmed(&mut self, backend: Key<Backend>, key: Key<Topic>) {
        self.link_answered(backend, key);
        if let Some(t) = self.hub.get_mut(key) {
            t.refusals = 0;
        }
        if !self.hub.forget(key) {
            self.answer_waiters(key);
        }
    }

    /// A node answered what it was told of a topic with an error, or PING with whatever.
    fn link_refused(&mut self, backend: Key<Backend>, key: Key<Topic>, on: bool, frame: &[u8]) {
        self.link_answered(backend, key);
        let Some(t) = self.hub.get_mut(key) else { return };
        // Nothing can be left of a subscription that a node refuses to end.
        let nothing_left = t.link(backend).is_some_and(|l| l.unanswered == 0);
        if nothing_left {
            t.unlink(backend);
        }
        if !on {
            self.hub.forget(key);
            return;
        }
        t.refusals = t.refusals.saturating_add(1);
        let quick = t.refusals <= QUICK_REFUSALS;
        let from = self.backends.get(backend).map_or(Key::NONE, |b| b.node);
        match redirect::verdict(frame) {
            Verdict::Redirect(target) if target.kind == RedirectKind::Moved => {
                self.counters.moved += 1;
                self.effects.push(Effect::Refresh(Hint::Moved(target.slot)));
                if let Some(node) = self.target_node(from, &target) {
                    self.nodes.correct(target.slot, node);
                    if quick {
                        return self.settle(key);
                    }
                }
            }
            Verdict::Redirect(_) => {}
            Verdict::Retry { .. } => self.effects.push(Effect::Refresh(Hint::Unserved)),
            Verdict::Reply => {
                log::warn!("a subscription was refused: {}", String::from_utf8_lossy(frame).trim_end());
                self.fail_waiters(key, frame);
            }
        }
        if !self.hub.forget(key) {
            self.settle_later(key);
        }
    }

    /// A node ended a subscription by itself: the slot has moved away.
    pub(super) fn link_ended(&mut self, backend: Key<Backend>, key: Key<Topic>) {
        let Some(t) = self.hub.get_mut(key) else { return };
        // Else the answer to what it was told meanwhile decides.
        if t.link(backend).is_some_and(|l| l.unanswered == 0) {
            t.unlink(backend);
            self.effects.push(Effect::Refresh(Hint::Unserved));
            self.settle(key);
        }
    }

    /// The nodes that have to carry a topic.
    fn carriers(&mut self, key: Key<Topic>) -> Vec<Key<Node>> {
        let Some(t) = self.hub.get(key).filter(|t| t.is_wanted()) else { return Vec::new() };
        if t.scope == Scope::Shard {
            return self.nodes.primary(t.slot).into_iter().collect();
        }
        let (everywhere, needs_main) = (t.everywhere, t.scope != Scope::Changes);
        let mut nodes: Vec<Key<Node>> = needs_main.then(|| self.main_node()).flatten().into_iter().collect();
        if everywhere {
            for node in self.nodes.primaries() {
                if !nodes.contains(&node) {
                    nodes.push(node);
                }
            }
        }
        nodes
    }

    /// The main node; another one is chosen when it was lost or is not part of the cluster any more. One that has
    /// become a replica stays.
    fn main_node(&mut self) -> Option<Key<Node>> {
        if !self.keeps_main() {
            let usable =
                |n: &Key<Node>| self.nodes.get(*n).is_some_and(|n| n.listed && n.is_usable(self.now));
            let mut nodes: Vec<Key<Node>> = self.nodes.primaries().filter(usable).collect();
            if nodes.len() > 1 {
                nodes.retain(|n| *n != self.hub.lost);
            }
            let chosen = self.random.below(nodes.len() as u64) as usize;
            self.hub.main = nodes.get(chosen).copied().unwrap_or_default();
            self.hub.era = self.hub.era.wrapping_add(1);
            self.hub.main_listed = self.now;
        }
        Some(self.hub.main).filter(|n| *n != Key::NONE)
    }

    /// Whether the main node stays what it is.
    fn keeps_main(&mut self) -> bool {
        let Some(main) = self.nodes.get(self.hub.main) else { return false };
        if main.listed {
            self.hub.main_listed = self.now;
        }
        self.now.since(self.hub.main_listed) < UNLISTED_PATIENCE
    }

    /// Tells a node to carry a topic, unless it was told before. One that carries it already and has become the main one
    /// is told again: what it says before it confirms that may be what its predecessor has brought.
    fn begin_link(&mut self, key: Key<Topic>, node: Key<Node>) -> Result<(), Unsent> {
        let era = self.hub.era;
        let is_main = node == self.hub.main;
        let told = |t: &Topic| {
            let counts = |l: &Link| !is_main || !t.everywhere || t.scope == Scope::Changes || l.era == era;
            t.links.iter().any(|l| l.node == node && l.on && counts(l))
        };
        if self.hub.get(key).is_none_or(told) {
            return Ok(());
        }
        let backend = self.shared_backend(node, Kind::LISTENER)?;
        if !self.hub.listeners.contains(&backend) {
            self.hub.listeners.push(backend);
            self.set_listener_timer();
        }
        self.tell_node(key, Link { node, backend, on: true, unanswered: 0, era });
        Ok(())
    }

    /// Tells all listeners but those of `nodes` not to carry a topic any more.
    fn end_links(&mut self, key: Key<Topic>, nodes: &[Key<Node>]) {
        let links = self.hub.get(key).map(|t| t.links.clone()).unwrap_or_default();
        for link in links {
            if link.on && !nodes.contains(&link.node) {
                self.tell_node(key, Link { on: false, ..link });
            }
        }
    }

    /// Says to a listener what `link` says.
    fn tell_node(&mut self, key: Key<Topic>, link: Link) {
        let Some(t) = self.hub.get_mut(key) else { return };
        match t.link(link.backend) {
            Some(old) => {
                old.on = link.on;
                old.era = link.era;
                old.unanswered += 1;
            }
            None => t.links.push(Link { unanswered: 1, ..link }),
        }
        let mut request = Vec::with_capacity(t.name.len() + 48);
        order(&mut request, t.scope, &t.name, link.on);
        self.say(link.backend, key, link.on, &request);
    }

    fn say(&mut self, backend: Key<Backend>, topic: Key<Topic>, on: bool, request: &[u8]) {
        let (owner, kind) = (Owner::Listener(topic, on), Kind::LISTENER);
        let (born_us, slot) = (self.now_us(), NO_SLOT);
        let part = Part { owner, born_us, slot, command: 0, attempts: 0, kind, block: false };
        self.push(backend, part, request);
    }

    /// A listener has answered one more command about a topic; a link that is off and settled goes.
    fn link_answered(&mut self, backend: Key<Backend>, key: Key<Topic>) {
        let Some(t) = self.hub.get_mut(key) else { return };
        let Some(link) = t.link(backend) else { return };
        link.unanswered = link.unanswered.saturating_sub(1);
        if !link.on && link.unanswered == 0 {
            t.unlink(backend);
        }
    }

    fn answer_waiters(&mut self, key: Key<Topic>) {
        if self.hub.get(key).is_some_and(|t| !t.waiters.is_empty()) && self.is_carried(key) {
            self.carried(key);
        }
    }

    /// Requests that name a topic and have waited too long are answered with an error; those of clients that have left
    /// are forgotten.
    fn give_up_waiters(&mut self, key: Key<Topic>) {
        let Some(t) = self.hub.get_mut(key) else { return };
        let (slot, now, clients) = (t.slot, self.now, &self.clients);
        let waited = |(client, sequence): &(Key<Client>, Sequence)| {
            let subscriber = clients.get(*client)?.subscriber.as_deref()?;
            subscriber.pending.iter().find(|p| p.sequence == *sequence).map(|p| now.since(p.born))
        };
        t.waiters.retain(|w| waited(w).is_some());
        let longest = t.waiters.iter().filter_map(|w| Some((*w, waited(w)?)));
        let late: Vec<_> = longest.filter(|(_, waited)| *waited >= self.config.retry_timeout).collect();
        for ((client, sequence), waited) in late {
            self.counters.proxy_errors += 1;
            let mut error = Vec::new();
            errors::gave_up(&mut error, slot, waited);
            self.fail_subscribe(client, sequence, &error);
        }
    }

    fn fail_waiters(&mut self, key: Key<Topic>, error: &[u8]) {
        let Some(t) = self.hub.get_mut(key) else { return };
        for (client, sequence) in std::mem::take(&mut t.waiters) {
            self.fail_subscribe(client, sequence, error);
        }
    }

    fn set_listener_timer(&mut self) {
        if self.hub.listener_timer == Key::NONE && !self.hub.listeners.is_empty() {
            self.hub.listener_timer = self.timers.set(self.now.after(LISTENER_PAUSE), Alarm::Listeners);
        }
    }
}
