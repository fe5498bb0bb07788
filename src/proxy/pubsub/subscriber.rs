//! What one client has subscribed to. Knows topics by their keys only.

use std::collections::{BTreeMap, VecDeque};

use super::hub::Topic;
use super::Scope;
use crate::base::arena::Key;
use crate::base::sort;
use crate::base::time::Time;
use crate::proxy::order::Sequence;

/// The subscriptions of a client; it has one of these only while it has some.
#[derive(Debug, Default)]
pub struct Subscriber {
    /// By scope, by the place of the topic.
    topics: [BTreeMap<usize, Joined>; Scope::COUNT],
    /// How many topics were ever joined.
    joined: u64,
    /// Requests whose topics are not all carried yet, oldest first.
    pub pending: VecDeque<Pending>,
}

/// A topic that is subscribed to.
#[derive(Clone, Copy, Debug)]
struct Joined {
    topic: Key<Topic>,
    /// The client's place among its subscribers.
    place: u32,
    /// Its number among all that this client has joined.
    number: u64,
}

/// SUBSCRIBE, PSUBSCRIBE or SSUBSCRIBE on its way.
#[derive(Debug)]
pub struct Pending {
    /// The request's place in the client's order.
    pub sequence: Sequence,
    /// Which of the three.
    pub scope: Scope,
    /// What it names, in order.
    pub topics: Vec<Key<Topic>>,
    /// How many of them are not carried yet.
    pub missing: usize,
    /// When it came.
    pub born: Time,
}

impl Subscriber {
    /// Whether nothing is subscribed to or about to be.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.topics.iter().all(BTreeMap::is_empty)
    }

    /// The number that confirmations show: channels and patterns together, sharded channels by themselves.
    pub fn count(&self, scope: Scope) -> usize {
        match scope {
            Scope::Shard => self.len(Scope::Shard),
            _ => self.len(Scope::Channel) + self.len(Scope::Pattern),
        }
    }

    /// How many topics of a scope are subscribed to.
    pub fn len(&self, scope: Scope) -> usize {
        self.topics[scope as usize].len()
    }

    /// Whether the topic is subscribed to.
    pub fn has(&self, scope: Scope, topic: Key<Topic>) -> bool {
        self.topics[scope as usize].contains_key(&topic.index())
    }

    /// Notes the place among the subscribers of a topic.
    pub fn put(&mut self, scope: Scope, topic: Key<Topic>, place: u32) {
        self.joined += 1;
        let number = self.joined;
        let joined = self.topics[scope as usize].entry(topic.index());
        let joined = joined.or_insert(Joined { topic, place, number });
        (joined.topic, joined.place) = (topic, place);
    }

    /// Forgets a topic; returns the place among its subscribers.
    pub fn take(&mut self, scope: Scope, topic: Key<Topic>) -> Option<u32> {
        self.topics[scope as usize].remove(&topic.index()).map(|j| j.place)
    }

    /// All topics of a scope, in the order in which they were subscribed to, which is that of Redis 7 for patterns; other
    /// orders are random at a server.
    pub fn topics(&self, scope: Scope) -> Vec<Key<Topic>> {
        let mut all: Vec<Joined> = self.topics[scope as usize].values().copied().collect();
        sort::by_key(&mut all, |j| j.number);
        all.into_iter().map(|j| j.topic).collect()
    }

    /// All topics with the places among their subscribers.
    pub fn places(&self) -> impl Iterator<Item = (Key<Topic>, u32)> + '_ {
        self.topics.iter().flat_map(|t| t.values().map(|j| (j.topic, j.place)))
    }

    /// The oldest request, if nothing is missing for it any more.
    pub fn next_ready(&mut self) -> Option<Pending> {
        match self.pending.front() {
            Some(p) if p.missing == 0 => self.pending.pop_front(),
            _ => None,
        }
    }
}
