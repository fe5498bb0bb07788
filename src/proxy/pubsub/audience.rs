//! How many clients of all workers have subscribed to what: the number that PUBLISH answers, and what PUBSUB tells.
//!
//! The engines of a process share it, since PUBLISH must not wait for what other workers have to say. It is written when
//! a client becomes a subscriber of something or ends that, and read by PUBLISH and PUBSUB; no other request comes here,
//! and nothing is held while it is locked but the lock.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{names, Scope};
use crate::base::sort;

/// Capacity of a table up to which it is not shrunk.
const KEEP_CAPACITY: usize = 64;

/// By scope: subscribers by channel or pattern, none of which has none.
type Tables = [HashMap<Arc<[u8]>, i64>; Scope::COUNT];

/// Who listens, counted over all workers.
#[derive(Debug, Default)]
pub struct Audience(RwLock<Tables>);

impl Audience {
    /// One more client has subscribed.
    pub(super) fn join(&self, scope: Scope, name: &Arc<[u8]>) {
        let mut tables = self.write();
        let table = &mut tables[scope as usize];
        match table.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(table.insert(Arc::clone(name), 1)),
        }
    }

    /// A client that had subscribed has not any more.
    pub(super) fn leave(&self, scope: Scope, name: &[u8]) {
        let mut tables = self.write();
        let table = &mut tables[scope as usize];
        match table.get_mut(name) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => drop(table.remove(name)),
            None => debug_assert!(false, "somebody left who had not joined"),
        }
        if table.capacity() > KEEP_CAPACITY && table.len() < table.capacity() / 8 {
            table.shrink_to(KEEP_CAPACITY);
        }
    }

    /// How many times a message is delivered: once for each subscriber of its channel, and once for each of each pattern
    /// that matches.
    pub(super) fn of_message(&self, scope: Scope, channel: &[u8]) -> i64 {
        let tables = self.read();
        let direct = tables[scope as usize].get(channel).copied().unwrap_or(0);
        let patterns = tables[Scope::Pattern as usize].iter().filter(|_| scope == Scope::Channel);
        direct + patterns.filter(|(p, _)| names::matches(p, channel)).map(|(_, n)| n).sum::<i64>()
    }

    /// How many subscribers a channel or pattern has.
    pub(in crate::proxy) fn of_topic(&self, scope: Scope, name: &[u8]) -> i64 {
        self.read()[scope as usize].get(name).copied().unwrap_or(0)
    }

    /// How many channels or patterns have subscribers.
    pub(super) fn topics(&self, scope: Scope) -> usize {
        self.read()[scope as usize].len()
    }

    /// The channels that have subscribers and match, in order.
    pub(super) fn names(&self, scope: Scope, pattern: Option<&[u8]>) -> Vec<Arc<[u8]>> {
        let matches = |name: &&Arc<[u8]>| pattern.is_none_or(|p| names::matches(p, name));
        let mut names: Vec<_> = self.read()[scope as usize].keys().filter(matches).cloned().collect();
        sort::by(&mut names, Ord::cmp);
        names
    }

    // A worker that panics ends the process, so what a poisoned lock guards makes no difference.
    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_counts_for_its_channel_and_for_each_pattern_that_matches() {
        let audience = Audience::default();
        let name = |text: &str| -> Arc<[u8]> { text.as_bytes().into() };
        for (scope, topic) in [
            (Scope::Channel, "news"),
            (Scope::Channel, "news"),
            (Scope::Pattern, "n*"),
            (Scope::Pattern, "*s"),
            (Scope::Pattern, "x*"),
            (Scope::Shard, "news"),
        ] {
            audience.join(scope, &name(topic));
        }
        assert_eq!(audience.of_message(Scope::Channel, b"news"), 4);
        assert_eq!(audience.of_message(Scope::Shard, b"news"), 1);
        assert_eq!(audience.of_message(Scope::Channel, b"nobody"), 1);
        assert_eq!((audience.of_topic(Scope::Channel, b"news"), audience.topics(Scope::Pattern)), (2, 3));
        audience.leave(Scope::Channel, b"news");
        audience.leave(Scope::Pattern, b"n*");
        assert_eq!(audience.of_message(Scope::Channel, b"news"), 2);
        audience.leave(Scope::Channel, b"news");
        assert_eq!(audience.names(Scope::Channel, None), []);
        assert_eq!(audience.names(Scope::Pattern, Some(b"x?")), [name("x*")]);
    }
}
