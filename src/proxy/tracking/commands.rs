//! CLIENT TRACKING, CACHING, TRACKINGINFO and GETREDIR. Texts and forms are those of Redis 7.0.15.

use super::{Options, Tracking};
use crate::base::arena::Key;
use crate::base::sort;
use crate::proxy::across::{Question, Then};
use crate::proxy::client::Client;
use crate::proxy::dispatch::Step;
use crate::proxy::engine::Engine;
use crate::proxy::order::Sequence;
use crate::proxy::session::SYNTAX;
use crate::resp::{encode, Args};

impl Engine {
    /// CLIENT TRACKING.
    pub(in crate::proxy) fn client_tracking(&mut self, key: Key<Client>, args: &Args<'_>) -> Step {
        let options = match Options::read(args) {
            Ok(options) => options,
            Err(error) => return self.refuse(key, |out| out.extend_from_slice(&error)),
        };
        match options.redirect {
            Some(id) => {
                self.ask_workers(key, Question::Find(id), Then::Track(Box::new(options)));
            }
            None => {
                let Some(c) = self.clients.get_mut(key) else { return Step::Taken };
                let sequence = c.active.get_or_insert_with(|| self.actives.take()).order.admit(0);
                self.change_tracking(key, sequence, options, Key::NONE);
            }
        }
        // What it asks behind this is to be tracked.
        self.must_wait(key);
        Step::Taken
    }

    /// Whether the client that is to be told was found, all workers have said.
    pub(in crate::proxy) fn redirect_found(
        &mut self,
        key: Key<Client>,
        sequence: Sequence,
        options: Options,
        target: Option<Key<Client>>,
    ) {
        match target {
            Some(target) => self.change_tracking(key, sequence, options, target),
            None => {
                let text = b"-ERR The client ID you want redirect to does not exist\r\n";
                self.reply_to(key, sequence, text);
            }
        }
    }

    /// The client under this id, if it is one of this worker.
    pub(in crate::proxy) fn find_client(&self, id: i64) -> Option<Key<Client>> {
        self.clients.iter().find(|(_, c)| i64::try_from(c.id) == Ok(id)).map(|(key, _)| key)
    }

    /// Ends what the client has begun.
    pub(in crate::proxy) fn stop_tracking(&mut self, key: Key<Client>) {
        if let Some(tracking) = self.clients.get_mut(key).and_then(|c| c.tracking.take()) {
            self.tracking_gone(key, &tracking);
        }
    }

    /// What a client had that is none any more, or tracks no more. What it has read is forgotten when it changes.
    pub(in crate::proxy) fn tracking_gone(&mut self, key: Key<Client>, tracking: &Tracking) {
        if !tracking.on {
            return;
        }
        self.tracker.clients.retain(|k| *k != key);
        self.tracker.broadcast.retain(|k| *k != key);
        if self.tracker.clients.is_empty() {
            self.tracker = Default::default();
        }
        self.leave_changes();
    }

    fn change_tracking(
        &mut self,
        key: Key<Client>,
        sequence: Sequence,
        options: Options,
        target: Key<Client>,
    ) {
        if options.on == Some(false) {
            self.stop_tracking(key);
            return self.reply_to(key, sequence, b"+OK\r\n");
        }
        let Some(c) = self.clients.get_mut(key) else { return };
        let old = c.tracking.as_deref().filter(|t| t.on);
        let options = match options.joined(old.map(|t| &t.options)) {
            Ok(options) => options,
            Err(text) => {
                let mut error = Vec::new();
                encode::error(&mut error, &text);
                return self.reply_to(key, sequence, &error);
            }
        };
        let tracking = c.tracking.get_or_insert_with(Box::default);
        (tracking.options, tracking.target, tracking.broken) = (options, target, false);
        match tracking.on {
            true => self.reply_to(key, sequence, b"+OK\r\n"),
            false => self.join_changes(key, sequence),
        }
    }

    /// All primaries tell of changes: the client may keep what it reads from now on.
    pub(in crate::proxy) fn tracking_begins(&mut self, key: Key<Client>, out: &mut Vec<u8>) {
        if let Some(tracking) = self.clients.get_mut(key).and_then(|c| c.tracking.as_deref_mut()) {
            tracking.on = true;
            self.tracker.clients.push(key);
            self.tracker.broadcast.extend(tracking.options.broadcast.then_some(key));
            self.hold_changes();
        }
        out.extend_from_slice(b"+OK\r\n");
    }

    /// CLIENT CACHING.
    pub(in crate::proxy) fn client_caching(&mut self, key: Key<Client>, word: &[u8]) -> Step {
        let Some(c) = self.clients.get_mut(key) else { return Step::Taken };
        // Inside a transaction it would be about what is behind it.
        let played = c.active.as_deref().is_some_and(|a| a.order.is_held());
        let tracking = c.tracking.as_deref_mut();
        let mode = tracking.as_deref().map(|t| (t.options.opt_in, t.options.opt_out));
        let (yes, no) = (word.eq_ignore_ascii_case(b"yes"), word.eq_ignore_ascii_case(b"no"));
        let text: &[u8] = match mode {
            None => {
                b"ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or \
OPTOUT mode enabled"
            }
            Some(_) if !yes && !no => SYNTAX,
            Some((false, _)) if yes => {
                b"ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."
            }
            Some((_, false)) if no => {
                b"ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."
            }
            Some(_) => b"",
        };
        if !text.is_empty() {
            return self.refuse(key, |out| out.extend_from_slice(text));
        }
        if let Some(tracking) = tracking {
            tracking.caching |= !played;
        }
        self.reply(key, b"+OK\r\n")
    }

    /// CLIENT TRACKINGINFO.
    pub(in crate::proxy) fn client_trackinginfo(&mut self, key: Key<Client>) -> Step {
        let Some(c) = self.clients.get(key) else { return Step::Taken };
        let (mut out, protocol) = (Vec::new(), c.protocol());
        let none = Tracking::default();
        let t = c.tracking.as_deref().unwrap_or(&none);
        let o = &t.options;
        let flags = [
            ("off", c.tracking.is_none()),
            ("on", c.tracking.is_some()),
            ("bcast", o.broadcast),
            ("optin", o.opt_in),
            ("caching-yes", o.opt_in && t.caching),
            ("optout", o.opt_out),
            ("caching-no", o.opt_out && t.caching),
            ("noloop", o.no_loop),
            ("broken_redirect", t.broken),
        ];
        encode::map(&mut out, 3, protocol);
        encode::bulk(&mut out, b"flags");
        encode::set(&mut out, flags.iter().filter(|(_, is)| *is).count(), protocol);
        for (name, _) in flags.iter().filter(|(_, is)| *is) {
            encode::bulk(&mut out, name.as_bytes());
        }
        encode::bulk(&mut out, b"redirect");
        encode::integer(&mut out, c.redirect());
        encode::bulk(&mut out, b"prefixes");
        encode::request(&mut out, &o.prefixes);
        self.reply(key, &out)
    }

    /// Keys that were read, how often, and the prefixes of those who broadcast, for INFO.
    pub(in crate::proxy) fn tracked(&self) -> [u64; 3] {
        let mut prefixes: Vec<&Vec<u8>> = Vec::new();
        for tracking in self.tracker.clients.iter().filter_map(|k| self.clients.get(*k)?.tracking.as_deref())
        {
            prefixes.extend(&tracking.options.prefixes);
        }
        sort::by(&mut prefixes, Ord::cmp);
        prefixes.dedup();
        [self.tracker.table.len(), self.tracker.table.items(), prefixes.len()].map(|n| n as u64)
    }
}

impl Client {
    /// CLIENT GETREDIR: -1 for one that does not track, 0 for one that does not redirect.
    pub fn redirect(&self) -> i64 {
        self.tracking.as_deref().map_or(-1, Tracking::redirect)
    }
}
