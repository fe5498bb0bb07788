//! What listeners receive: messages, passed on to all who subscribed, and confirmations.
//!
//! A message is not encoded anew: a RESP3 client gets the bytes of the node, a RESP2 client the same ones with another
//! type byte.

use std::mem;

use super::hub::{Link, Topic};
use super::{names, Scope};
use crate::base::arena::Key;
use crate::proxy::backend::Backend;
use crate::proxy::client::Client;
use crate::proxy::engine::Engine;
use crate::proxy::loss::Loss;
use crate::proxy::part::Owner;
use crate::resp::{self, bulk, Scan};

/// Bytes passed on to clients per turn at which listeners are not read further until the clients were written to.
const MOST_FANNED: usize = 16 << 20;

/// A push frame that means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Push<'a> {
    /// A message for the topic `name`, sent to `channel`.
    Message { scope: Scope, name: &'a [u8], channel: &'a [u8] },
    /// The topic `name` was subscribed to, or is no more.
    Confirmation { scope: Scope, name: &'a [u8], on: bool },
    /// These keys have changed: an array, or null for all.
    Changes(&'a [u8]),
}

impl Engine {
    /// As [`Engine::backend_bytes`], for a listener. It may take less than there is; then the key is among
    /// [`Engine::take_held_backends`].
    pub(in crate::proxy) fn listener_bytes(&mut self, key: Key<Backend>, data: &[u8]) -> usize {
        let mut at = 0;
        while at < data.len() {
            if self.hub.fanned >= MOST_FANNED {
                self.hold_reading(key);
                break;
            }
            let Some(b) = self.backends.get_mut(key) else { return data.len() };
            let scanned = mem::take(&mut b.scanned);
            match b.framer.scan(&data[at + scanned..]) {
                Ok(Scan::Done(n)) => {
                    let frame = &data[at..at + scanned + n];
                    at += frame.len();
                    if resp::is_push(frame[0]) {
                        self.pushed(key, frame);
                    } else {
                        self.frame(key, frame);
                    }
                }
                Ok(Scan::More(n)) => {
                    b.scanned = scanned + n;
                    break;
                }
                Err(error) => {
                    self.lose_backend(key, Loss::Protocol(error.to_string()));
                    return data.len();
                }
            }
        }
        self.replies_seen(key);
        at
    }

    /// The rest is for the next turn.
    fn hold_reading(&mut self, key: Key<Backend>) {
        let Some(b) = self.backends.get_mut(key) else { return };
        if !b.held {
            b.held = true;
            self.streams.go_on.push(key);
        }
    }

    fn pushed(&mut self, key: Key<Backend>, frame: &[u8]) {
        match read_push(frame) {
            Some(Push::Message { scope, name, channel }) => {
                let topic = self.hub.find(scope, name).unwrap_or_default();
                if self.brings(key, topic, channel) {
                    self.fan_out(topic, frame);
                }
            }
            Some(Push::Confirmation { scope, name, on }) => self.confirmed(key, scope, name, on),
            Some(Push::Changes(keys)) => self.changed(key, keys),
            None => {}
        }
    }

    /// A confirmation answers the oldest command, unless the node ended a subscription by itself.
    fn confirmed(&mut self, key: Key<Backend>, scope: Scope, name: &[u8], on: bool) {
        let Some(topic) = self.hub.find(scope, name) else { return };
        let Some(b) = self.backends.get_mut(key) else { return };
        let front = b.fifo.front().copied().filter(|f| b.window.front_written(f.len as usize));
        match front {
            Some(f) if matches!(f.part.owner, Owner::Listener(t, o) if t == topic && o == on) => {
                b.fifo.pop_front();
                b.window.acknowledge(f.len as usize);
                self.link_confirmed(key, topic);
            }
            _ if on => self.lose_backend(key, Loss::Protocol("confirmed what nobody asked for".into())),
            _ => self.link_ended(key, topic),
        }
    }

    /// Whether this listener is the one that has to bring a message on `channel` for a topic.
    fn brings(&self, key: Key<Backend>, topic: Key<Topic>, channel: &[u8]) -> bool {
        let Some(t) = self.hub.get(topic) else { return false };
        // What comes before it confirms is of an earlier time, when it was told to stop.
        let confirmed = |l: &&Link| l.backend == key && l.on && l.unanswered == 0;
        let Some(link) = t.links.iter().find(confirmed) else { return false };
        match (t.everywhere, t.everywhere && names::is_event(channel)) {
            (false, _) => true,
            // A replica repeats the events of its primary.
            (true, true) => self.nodes.is_primary(link.node),
            // One that has become the main node repeats what another has brought, up to its confirmation.
            (true, false) => link.node == self.hub.main && link.unanswered == 0,
        }
    }

    /// Appends a message to what every subscriber gets.
    fn fan_out(&mut self, topic: Key<Topic>, frame: &[u8]) {
        let Some(t) = self.hub.get(topic) else { return };
        let mut overdue = Vec::new();
        for key in &t.subscribers {
            let Some(c) = self.clients.get_mut(*key).filter(|c| !c.closing) else { continue };
            let active = c.active.get_or_insert_with(|| self.actives.take());
            if active.backlog() + active.out.aside() > self.config.pubsub_output_limit {
                overdue.push(*key);
                continue;
            }
            let out = active.out.between();
            out.reserve(frame.len());
            out.push(if c.resp3 { b'>' } else { b'*' });
            out.extend_from_slice(&frame[1..]);
            if !c.dirty {
                c.dirty = true;
                self.dirty_clients.push(*key);
            }
        }
        let copied = frame.len().saturating_mul(t.subscribers.len());
        self.hub.fanned = self.hub.fanned.saturating_add(copied);
        for key in overdue {
            self.close_slow_subscriber(key);
        }
        self.grew(copied);
    }

    /// A subscriber does not take its messages.
    #[cold]
    fn close_slow_subscriber(&mut self, key: Key<Client>) {
        if let Some(c) = self.clients.get(key) {
            let limit = self.config.pubsub_output_limit;
            log::warn!(
                "client {} ({}) closed: more than {limit} bytes of messages wait for it",
                c.id,
                c.peer
            );
        }
        self.counters.output_limit_closes += 1;
        self.close_client(key);
    }
}

/// Takes apart a push frame; `None` for those that are of no interest.
fn read_push(frame: &[u8]) -> Option<Push<'_>> {
    let mut children = resp::children(frame).ok()?;
    let kind = bulk(children.next()?)?;
    let second = children.next()?;
    if kind == b"invalidate" {
        return Some(Push::Changes(second));
    }
    let name = bulk(second)?;
    let (scope, rest) = match kind {
        [b'p', rest @ ..] => (Scope::Pattern, rest),
        // `subscribe` begins with an `s` too.
        [b's', rest @ ..] if !rest.starts_with(b"ubscribe") => (Scope::Shard, rest),
        _ => (Scope::Channel, kind),
    };
    match (rest, scope) {
        (b"message", Scope::Pattern) => Some(Push::Message { scope, name, channel: bulk(children.next()?)? }),
        (b"message", _) => Some(Push::Message { scope, name, channel: name }),
        (b"subscribe", _) => Some(Push::Confirmation { scope, name, on: true }),
        (b"unsubscribe", _) => Some(Push::Confirmation { scope, name, on: false }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn push_frames_are_told_apart() {
        let message = |scope, name, channel| Some(Push::Message { scope, name, channel });
        let confirmation = |scope, name, on| Some(Push::Confirmation { scope, name, on });
        let cases: [(&str, Option<Push<'_>>); 10] = [
            (">3|$7|message|$1|c|$4|data|", message(Scope::Channel, b"c", b"c")),
            (">3|$8|smessage|$1|c|$0||", message(Scope::Shard, b"c", b"c")),
            (">4|$8|pmessage|$2|c*|$2|c1|$0||", message(Scope::Pattern, b"c*", b"c1")),
            (">3|$9|subscribe|$0||:1|", confirmation(Scope::Channel, b"", true)),
            (">3|$10|ssubscribe|$1|c|:1|", confirmation(Scope::Shard, b"c", true)),
            (">3|$12|sunsubscribe|$1|c|:0|", confirmation(Scope::Shard, b"c", false)),
            (">3|$12|punsubscribe|$1|c|:0|", confirmation(Scope::Pattern, b"c", false)),
            (">3|$11|unsubscribe|_|:0|", None),
            (">2|$10|invalidate|*1|$1|k|", Some(Push::Changes(b"*1\r\n$1\r\nk\r\n"))),
            (">2|$10|invalidate|_|", Some(Push::Changes(b"_\r\n"))),
        ];
        for (text, expected) in cases {
            assert_eq!(read_push(text.replace('|', "\r\n").as_bytes()), expected, "{text}");
        }
    }
}
