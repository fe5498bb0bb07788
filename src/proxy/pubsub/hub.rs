//! Topics: which clients want them, and which listeners carry them. Knows no bytes on the wire.

use std::collections::HashMap;
use std::sync::Arc;

use super::{names, Audience, Scope};
use crate::base::arena::{Arena, Key};
use crate::base::time::Time;
use crate::base::wheel::TimerKey;
use crate::command;
use crate::proxy::backend::Backend;
use crate::proxy::client::Client;
use crate::proxy::engine::Alarm;
use crate::proxy::nodes::Node;
use crate::proxy::order::Sequence;
use crate::proxy::part::NO_SLOT;

/// Capacity of a list or table up to which it is not shrunk.
const KEEP_CAPACITY: usize = 64;

/// Something that clients of this worker have subscribed to, or are about to.
#[derive(Debug)]
pub struct Topic {
    /// What its name stands for.
    pub scope: Scope,
    /// Channel or pattern.
    pub name: Arc<[u8]>,
    /// Of a sharded channel, else [`NO_SLOT`].
    pub slot: u16,
    /// Every primary has to carry it: it may see keyspace events, or is about changes.
    pub everywhere: bool,
    /// Clients whose subscription is confirmed; each knows its place here.
    pub subscribers: Vec<Key<Client>>,
    /// Requests under way that name it, counted as often as they do.
    pub holds: usize,
    /// Requests that wait until it is carried; some of their clients may have left.
    pub waiters: Vec<(Key<Client>, Sequence)>,
    /// What was said of it to listeners.
    pub links: Vec<Link>,
    /// Refusals in a row.
    pub refusals: u32,
    /// Whether it is on [`Hub::unsettled`].
    pub unsettled: bool,
}

/// What a listener was told of a topic.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Whose listener.
    pub node: Key<Node>,
    /// The listener.
    pub backend: Key<Backend>,
    /// Whether it was told last to subscribe, not to unsubscribe.
    pub on: bool,
    /// How many such commands it has not answered.
    pub unanswered: u32,
    /// How many main nodes had been chosen when it was told.
    pub era: u32,
}

/// All topics of a worker, and what goes with them.
#[derive(Debug, Default)]
pub struct Hub {
    topics: Arena<Topic>,
    by_name: [HashMap<Arc<[u8]>, Key<Topic>>; Scope::COUNT],
    /// The subscribers of all workers, counted.
    pub audience: Arc<Audience>,
    /// The node that brings what every node has.
    pub main: Key<Node>,
    /// When the main node was last seen in the topology.
    pub main_listed: Time,
    /// How many main nodes have been chosen.
    pub era: u32,
    /// The main node that was lost last: another one is preferred.
    pub lost: Key<Node>,
    /// All listeners.
    pub listeners: Vec<Key<Backend>>,
    /// Topics that are to be settled again soon.
    pub unsettled: Vec<Key<Topic>>,
    /// When that will be.
    pub settle_timer: TimerKey<Alarm>,
    /// How often that was done in a row.
    pub tries: u32,
    /// When listeners are looked after.
    pub listener_timer: TimerKey<Alarm>,
    /// The routing epoch that topics were settled by.
    pub epoch: u32,
    /// Bytes passed on to clients in this turn.
    pub fanned: usize,
}

impl Hub {
    /// Whether there is no topic.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// All topics, by place.
    pub fn keys(&self) -> Vec<Key<Topic>> {
        self.topics.keys()
    }

    /// All topics, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Key<Topic>, &Topic)> {
        self.topics.iter()
    }

    /// The topic under `key`.
    #[inline]
    pub fn get(&self, key: Key<Topic>) -> Option<&Topic> {
        self.topics.get(key)
    }

    /// The topic under `key`.
    #[inline]
    pub fn get_mut(&mut self, key: Key<Topic>) -> Option<&mut Topic> {
        self.topics.get_mut(key)
    }

    /// The topic of this name.
    #[inline]
    pub fn find(&self, scope: Scope, name: &[u8]) -> Option<Key<Topic>> {
        self.by_name[scope as usize].get(name).copied()
    }

    /// The topic of this name, made if there is none. Whoever made it must give it a subscriber or a hold, or settle it.
    pub fn enter(&mut self, scope: Scope, name: &[u8]) -> Key<Topic> {
        if let Some(key) = self.find(scope, name) {
            return key;
        }
        let name: Arc<[u8]> = name.into();
        let key = self.topics.insert(Topic::new(scope, name.clone()));
        self.by_name[scope as usize].insert(name, key);
        key
    }

    /// Adds a subscriber to a topic; returns its place.
    pub fn join(&mut self, key: Key<Topic>, client: Key<Client>) -> u32 {
        let Some(topic) = self.topics.get_mut(key) else { return 0 };
        self.audience.join(topic.scope, &topic.name);
        topic.join(client)
    }

    /// Takes the subscriber of a topic at `place` out; returns the one that has that place now.
    pub fn leave(&mut self, key: Key<Topic>, place: u32) -> Option<Key<Client>> {
        let topic = self.topics.get_mut(key)?;
        self.audience.leave(topic.scope, &topic.name);
        topic.leave(place)
    }

    /// Takes a topic out that nobody wants and no listener carries. False when there is something left of it.
    pub fn forget(&mut self, key: Key<Topic>) -> bool {
        if self.topics.get(key).is_none_or(|t| t.is_wanted() || !t.links.is_empty()) {
            return false;
        }
        if let Some(topic) = self.topics.remove(key) {
            let names = &mut self.by_name[topic.scope as usize];
            names.remove(&topic.name);
            if names.capacity() > KEEP_CAPACITY && names.len() < names.capacity() / 8 {
                names.shrink_to(KEEP_CAPACITY);
            }
        }
        self.topics.shrink_if_empty();
        true
    }
}

impl Topic {
    fn new(scope: Scope, name: Arc<[u8]>) -> Self {
        let slot = if scope == Scope::Shard { command::slot(&name) } else { NO_SLOT };
        let everywhere = match scope {
            Scope::Channel => names::is_event(&name),
            Scope::Pattern => names::may_match_event(&name),
            Scope::Shard => false,
            Scope::Changes => true,
        };
        let (subscribers, waiters, links) = (Vec::new(), Vec::new(), Vec::new());
        let (holds, refusals, unsettled) = (0, 0, false);
        Topic { scope, name, slot, everywhere, subscribers, holds, waiters, links, refusals, unsettled }
    }

    /// Whether any client has subscribed or is about to.
    pub fn is_wanted(&self) -> bool {
        !self.subscribers.is_empty() || self.holds > 0
    }

    /// Whether the listener of `node` has confirmed its subscription.
    pub fn is_carried_by(&self, node: Key<Node>) -> bool {
        self.links.iter().any(|l| l.node == node && l.on && l.unanswered == 0)
    }

    /// What the listener `backend` was told.
    pub fn link(&mut self, backend: Key<Backend>) -> Option<&mut Link> {
        self.links.iter_mut().find(|l| l.backend == backend)
    }

    /// Forgets what the listener `backend` was told. False when that was nothing.
    pub fn unlink(&mut self, backend: Key<Backend>) -> bool {
        let before = self.links.len();
        self.links.retain(|l| l.backend != backend);
        self.links.len() < before
    }

    /// Adds a subscriber; returns its place.
    fn join(&mut self, client: Key<Client>) -> u32 {
        self.subscribers.push(client);
        // There are fewer clients than keys of an arena.
        (self.subscribers.len() - 1) as u32
    }

    /// Takes the subscriber at `place` out; returns the one that has that place now.
    fn leave(&mut self, place: u32) -> Option<Key<Client>> {
        let place = place as usize;
        if place >= self.subscribers.len() {
            return None;
        }
        self.subscribers.swap_remove(place);
        let (len, capacity) = (self.subscribers.len(), self.subscribers.capacity());
        if capacity > KEEP_CAPACITY && len < capacity / 4 {
            self.subscribers.shrink_to(len * 2);
        }
        self.subscribers.get(place).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_forgotten_when_nobody_wants_it_and_nobody_carries_it() {
        let mut hub = Hub::default();
        let key = hub.enter(Scope::Channel, b"a");
        assert_eq!(hub.enter(Scope::Channel, b"a"), key);
        assert_ne!(hub.enter(Scope::Pattern, b"a"), key);
        let place = hub.join(key, Key::NONE);
        let topic = hub.get_mut(key).unwrap();
        let link = Link { node: Key::NONE, backend: Key::NONE, on: true, unanswered: 0, era: 0 };
        topic.links.push(link);
        assert!(!hub.forget(key));
        assert_eq!(hub.leave(key, place), None);
        assert!(!hub.forget(key), "a listener still carries it");
        assert!(hub.get_mut(key).unwrap().unlink(Key::NONE));
        assert!(hub.forget(key));
        assert_eq!(hub.find(Scope::Channel, b"a"), None);
    }

    #[test]
    fn a_place_that_becomes_free_is_taken_by_the_last_and_memory_is_given_back() {
        let mut arena: Arena<Client> = Arena::default();
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let clients: Vec<Key<Client>> =
            (0..1000).map(|i| arena.insert(Client::new(i, peer, true, Default::default()))).collect();
        let mut topic = Topic::new(Scope::Channel, b"a"[..].into());
        let places: Vec<u32> = clients.iter().map(|c| topic.join(*c)).collect();
        assert_eq!(topic.leave(places[3]), Some(clients[999]));
        assert_eq!(topic.subscribers[3], clients[999]);
        (0..998).for_each(|_| assert!(topic.leave(0).is_some()));
        assert_eq!(topic.subscribers.len(), 1);
        assert!(topic.subscribers.capacity() <= 2 * KEEP_CAPACITY);
        assert_eq!(topic.leave(7), None);
    }
}
