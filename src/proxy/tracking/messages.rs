//! What tracking clients, or those they redirect to, are told.

use crate::base::arena::Key;
use crate::proxy::across::{Answer, Question, Then};
use crate::proxy::backend::Backend;
use crate::proxy::client::Client;
use crate::proxy::engine::Engine;
use crate::resp::{self, encode, Protocol};

/// The channel of messages to a client that speaks RESP2 (Redis documentation, "Client-side caching in Redis").
const CHANNEL: &[u8] = b"__redis__:invalidate";

impl Engine {
    /// A node tells of changes: an array of keys, or null for all.
    pub(in crate::proxy) fn changed(&mut self, from: Key<Backend>, frame: &[u8]) {
        let Ok(children) = resp::children(frame) else { return self.flushed(from) };
        let names: Vec<&[u8]> = children.filter_map(resp::bulk).collect();
        for name in &names {
            for reader in self.tracker.table.take(name) {
                // It may have read the key before it asked for all changes.
                if self.tracking_of(reader).is_some_and(|t| !t.options.broadcast) {
                    self.tell_changes(reader, Some(&[name]));
                }
            }
        }
        for key in self.tracker.broadcast.clone() {
            let prefixes = self.tracking_of(key).map(|t| t.options.prefixes.clone());
            for prefix in prefixes.unwrap_or_default() {
                let meant: Vec<&[u8]> = names.iter().copied().filter(|n| n.starts_with(&prefix)).collect();
                if !meant.is_empty() {
                    self.tell_changes(key, Some(&meant));
                }
            }
        }
    }

    /// A node was emptied. FLUSHALL empties one after the other, which is to be told once.
    fn flushed(&mut self, from: Key<Backend>) {
        if self.tracker.flushed.is_empty() || self.tracker.flushed.contains(&from) {
            self.tracker.flushed.clear();
            for key in self.tracker.clients.clone() {
                self.tracking_of(key).into_iter().for_each(|t| t.told_all = false);
            }
        }
        self.tracker.flushed.push(from);
        self.all_changed();
    }

    /// A node tells no more, and what has changed since nobody knows.
    pub(in crate::proxy) fn changes_missed(&mut self) {
        self.tracker.flushed.clear();
        self.all_changed();
    }

    /// Whatever tracking clients have read may have changed: those are told that have read something since they were told
    /// so last.
    pub(in crate::proxy) fn all_changed(&mut self) {
        self.tracker.table.clear();
        for key in self.tracker.clients.clone() {
            let told = self.tracking_of(key).map(|t| std::mem::replace(&mut t.told_all, true));
            if told == Some(false) {
                self.tell_changes(key, None);
            }
        }
    }

    /// A transaction was played to its end: what was to be told meanwhile follows.
    pub(in crate::proxy) fn tell_late(&mut self, key: Key<Client>) {
        if let Some(late) = self.tracking_of(key).map(|t| std::mem::take(&mut t.late)) {
            if !late.is_empty() {
                self.reply_now(key, &late);
            }
        }
    }

    /// Another worker's client redirects to one of this worker, perhaps. Whether it does.
    pub(in crate::proxy) fn redirected(
        &mut self,
        target: Key<Client>,
        id: i64,
        names: Option<&[Box<[u8]>]>,
    ) -> Answer {
        let is_here = self.clients.get(target).is_some_and(|c| i64::try_from(c.id) == Ok(id));
        if is_here {
            let names: Option<Vec<&[u8]>> = names.map(|n| n.iter().map(AsRef::as_ref).collect());
            self.tell_redirected(target, names.as_deref());
        }
        Answer::Count(i64::from(is_here))
    }

    /// The client that was to be told has gone.
    pub(in crate::proxy) fn redirect_broken(&mut self, key: Key<Client>) {
        let Some(tracking) = self.tracking_of(key) else { return };
        tracking.broken = true;
        let id = tracking.redirect();
        if self.clients.get(key).is_some_and(|c| c.resp3) {
            let mut frame = Vec::new();
            encode::push(&mut frame, 2, Protocol::Resp3);
            encode::bulk(&mut frame, b"tracking-redir-broken");
            encode::integer(&mut frame, id);
            self.tell_behind_replies(key, &frame);
        }
    }

    /// Tells a tracking client, or whom it redirects to, that keys have changed; all without `names`.
    fn tell_changes(&mut self, key: Key<Client>, names: Option<&[&[u8]]>) {
        let Some(tracking) = self.tracking_of(key) else { return };
        let (redirect, target) = (tracking.options.redirect, tracking.target);
        let Some(id) = redirect else {
            if self.clients.get(key).is_some_and(|c| c.resp3) {
                self.tell_behind_replies(key, &invalidation(names));
            }
            return;
        };
        if self.clients.get(target).is_some_and(|c| i64::try_from(c.id) == Ok(id)) {
            self.tell_redirected(target, names);
        } else if self.around.workers > 1 {
            let names = names.map(|n| n.iter().map(|name| Box::from(*name)).collect());
            self.tell_then(Question::Changed { target, id, names }, Then::Redirected(key));
        } else {
            self.redirect_broken(key);
        }
    }

    /// Tells a client what another one wants to know. With RESP2 it must have subscribed.
    fn tell_redirected(&mut self, key: Key<Client>, names: Option<&[&[u8]]>) {
        let Some(c) = self.clients.get_mut(key).filter(|c| !c.closing) else { return };
        let mut frame = Vec::new();
        match (c.resp3, c.subscriber.is_some()) {
            (true, _) => frame = invalidation(names),
            (false, true) => {
                encode::push(&mut frame, 3, Protocol::Resp2);
                encode::bulk(&mut frame, b"message");
                encode::bulk(&mut frame, CHANNEL);
                append_names(&mut frame, names, Protocol::Resp2);
            }
            (false, false) => return,
        }
        self.tell_between_replies(key, &frame);
    }

    /// A message that must not overtake replies to requests that the client has in flight.
    fn tell_behind_replies(&mut self, key: Key<Client>, frame: &[u8]) {
        let Some(c) = self.clients.get_mut(key).filter(|c| !c.closing) else { return };
        let (in_flight, held, waiting) =
            c.active.as_deref().map_or((0, false, 0), |a| (a.order.len(), a.order.is_held(), a.backlog()));
        // One that waits for another client has nothing else in flight, and that may take for ever.
        if in_flight == 1 && c.is_blocked() {
            return self.tell_between_replies(key, frame);
        }
        if held {
            // In the middle of EXEC's reply it would be taken for a part of it.
            let late = c.tracking.as_deref_mut().map(|t| {
                t.late.extend_from_slice(frame);
                t.late.len()
            });
            return self.told(key, waiting + late.unwrap_or(0), frame.len());
        }
        // CLIENT REPLY OFF does not silence it.
        let muting = self.set_muting(key, false);
        self.reply_now(key, frame);
        self.set_muting(key, muting);
        self.told(key, waiting, frame.len());
    }

    /// Whether it was so before.
    fn set_muting(&mut self, key: Key<Client>, muting: bool) -> bool {
        let active = self.clients.get_mut(key).and_then(|c| c.active.as_deref_mut());
        active.is_some_and(|a| {
            let before = a.order.is_muting();
            a.order.set_muting(muting);
            before
        })
    }

    /// A message that has nothing to do with what the client has in flight.
    fn tell_between_replies(&mut self, key: Key<Client>, frame: &[u8]) {
        let Some(c) = self.clients.get_mut(key) else { return };
        let active = c.active.get_or_insert_with(|| self.actives.take());
        let waiting = active.backlog() + active.out.aside();
        active.out.between().extend_from_slice(frame);
        self.mark_client(key);
        self.told(key, waiting, frame.len());
    }

    /// Clients that do not take their messages are closed like those that do not take their replies.
    fn told(&mut self, key: Key<Client>, waiting: usize, len: usize) {
        self.hub.fanned = self.hub.fanned.saturating_add(len);
        if waiting > self.config.client_output_limit {
            self.output_limit(key);
        }
        self.grew(len);
    }
}

/// The message as RESP3 has it.
fn invalidation(names: Option<&[&[u8]]>) -> Vec<u8> {
    let mut frame = Vec::new();
    encode::push(&mut frame, 2, Protocol::Resp3);
    encode::bulk(&mut frame, b"invalidate");
    append_names(&mut frame, names, Protocol::Resp3);
    frame
}

fn append_names(out: &mut Vec<u8>, names: Option<&[&[u8]]>, protocol: Protocol) {
    match names {
        Some(names) => encode::request(out, names),
        None => encode::null(out, protocol),
    }
}
