//! Commands that the table does not know. The first use of a name asks the cluster by COMMAND INFO; its client, and every
//! other one that uses the name meanwhile, is held up and handed in again when the answer has come.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::backend::Kind;
use super::client::Client;
use super::dispatch::Step;
use super::engine::{Alarm, Engine};
use super::errors;
use super::part::{Owner, Part, NO_SLOT};
use super::pause::may_write;
use super::redirect::{self, Verdict};
use crate::base::arena::{Arena, Key};
use crate::base::time::Time;
use crate::command::{self, Command, Foreign, Place, Unknown};
use crate::resp::{encode, Args, Value};

/// Names remembered, known and unknown ones together.
const MOST_NAMES: usize = 1024;

/// Longest name that a cluster is asked for, in bytes.
const LONGEST_NAME: usize = 128;

/// How long a name that the cluster does not know is not asked for again: a module may be loaded.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);

/// How long the same error is given to all who ask.
const FAILED_FOR: Duration = Duration::from_millis(100);

/// Pause between two tries.
const RETRY: Duration = Duration::from_millis(50);

/// What one worker knows of names that are not in the table.
#[derive(Debug, Default)]
pub struct Catalog {
    names: HashMap<Vec<u8>, Entry>,
    lookups: Arena<Lookup>,
}

/// A question to the cluster under way.
#[derive(Debug)]
pub struct Lookup {
    name: Vec<u8>,
    since: Time,
}

#[derive(Clone, Debug)]
enum Entry {
    Asked,
    Known(Arc<Foreign>),
    Unknown(Time),
    /// A whole error frame.
    Failed(Arc<[u8]>, Time),
}

impl Catalog {
    fn find(&mut self, name: &[u8], now: Time) -> Option<Entry> {
        let entry = self.names.get(name)?;
        match entry {
            Entry::Unknown(until) | Entry::Failed(_, until) if *until <= now => None,
            entry => Some(entry.clone()),
        }
    }

    /// Those under way are as many as clients wait for them, at most.
    fn put(&mut self, name: Vec<u8>, entry: Entry) {
        if self.names.len() >= MOST_NAMES && !self.names.contains_key(&name) {
            self.names.retain(|_, e| matches!(e, Entry::Asked));
        }
        self.names.insert(name, entry);
    }
}

impl Engine {
    /// A request that the table does not know.
    #[cold]
    pub(super) fn foreign(&mut self, key: Key<Client>, args: &Args<'_>, unknown: Unknown) -> Step {
        let asks = self.nodes.known() && self.clients.get(key).is_some_and(|c| c.authenticated);
        let name = match unknown {
            Unknown::Command if asks => name_of(args),
            _ => None,
        };
        let Some(name) = name else { return self.nobody_knows(key, args, unknown) };
        match self.catalog.find(&name, self.now) {
            Some(Entry::Known(row)) => self.known_foreign(key, &row, args),
            Some(Entry::Unknown(_)) => self.nobody_knows(key, args, unknown),
            Some(Entry::Failed(error, _)) => {
                self.spoil(key);
                self.reply(key, &error)
            }
            Some(Entry::Asked) => self.hold_up(key),
            None => {
                self.catalog.put(name.clone(), Entry::Asked);
                let lookup = self.catalog.lookups.insert(Lookup { name, since: self.now });
                self.look_up(lookup);
                self.hold_up(key)
            }
        }
    }

    /// Asks some primary, or tries to again later.
    pub(super) fn look_up(&mut self, key: Key<Lookup>) {
        let Some(lookup) = self.catalog.lookups.get(key) else { return };
        let mut request = Vec::new();
        encode::request(&mut request, &[&b"COMMAND"[..], b"INFO", &lookup.name]);
        let since = lookup.since;
        let (owner, born_us, kind) = (Owner::Lookup(key), self.now_us(), Kind::default());
        let part = Part { owner, born_us, slot: NO_SLOT, command: 0, attempts: 0, kind, block: false };
        match self.backend_for(&part) {
            Ok(backend) => self.push(backend, part, &request),
            Err(_) if self.now.since(since) >= self.config.retry_timeout => {
                let mut error = Vec::new();
                errors::gave_up(&mut error, NO_SLOT, self.now.since(since));
                self.looked_up(key, Entry::Failed(error.into(), self.now.after(FAILED_FOR)));
            }
            Err(_) => self.look_up_later(key),
        }
    }

    /// The node that was asked was lost, or cannot answer now.
    pub(super) fn look_up_later(&mut self, key: Key<Lookup>) {
        self.timers.set(self.now.after(RETRY), Alarm::Lookup(key));
    }

    /// A node answered COMMAND INFO.
    pub(super) fn lookup_answered(&mut self, key: Key<Lookup>, frame: &[u8]) {
        let Some(lookup) = self.catalog.lookups.get(key) else { return };
        let in_time = self.now.since(lookup.since) < self.config.retry_timeout;
        if in_time && redirect::verdict(frame) != Verdict::Reply {
            return self.look_up_later(key);
        }
        let entry = match Value::parse(frame) {
            Ok(Some((Value::Array(all), _))) => match all.first().and_then(Foreign::read) {
                Some(row) => Entry::Known(Arc::new(row)),
                None => Entry::Unknown(self.now.after(UNKNOWN_FOR)),
            },
            Ok(Some((Value::Error(_), _))) => Entry::Failed(frame.into(), self.now.after(FAILED_FOR)),
            _ => Entry::Unknown(self.now.after(UNKNOWN_FOR)),
        };
        self.looked_up(key, entry);
    }

    fn looked_up(&mut self, key: Key<Lookup>, entry: Entry) {
        if let Some(lookup) = self.catalog.lookups.remove(key) {
            self.catalog.put(lookup.name, entry);
            self.release_held();
        }
    }

    /// What the cluster has said of the command of a request, if it was asked.
    pub(super) fn known_row(&mut self, args: &Args<'_>) -> Option<Arc<Foreign>> {
        match self.catalog.find(&name_of(args)?, self.now)? {
            Entry::Known(row) => Some(row),
            _ => None,
        }
    }

    fn hold_up(&mut self, key: Key<Client>) -> Step {
        self.hold(key);
        Step::Wait
    }

    fn nobody_knows(&mut self, key: Key<Client>, args: &Args<'_>, unknown: Unknown) -> Step {
        self.spoil(key);
        self.unknown(key, args, unknown)
    }

    /// A request of a command that the cluster has described.
    fn known_foreign(&mut self, key: Key<Client>, row: &Foreign, args: &Args<'_>) -> Step {
        let Some(row) = row.resolve(args) else {
            return self.refuse_in_multi(key, |out| command::unknown_subcommand_error(args, out));
        };
        let stand_in = row.stand_in();
        if !row.arity_ok(args.len()) {
            return self.refuse_in_multi(key, |out| errors::wrong_arity_of(out, &row.name));
        }
        if self.refusals.has_name(&row.name) {
            return self.refuse_in_multi(key, |out| errors::refused_by_operator(out, &row.name));
        }
        // It would change what a connection is that others share.
        if row.has("pubsub") {
            return self.refuse_in_multi(key, |out| errors::not_yet_known(out, &row.name));
        }
        if self.clients.get(key).is_some_and(|c| c.subscriber.is_some()) {
            if let Some(step) = self.subscriber_request(key, stand_in, args) {
                return step;
            }
        }
        if self.watchful && self.is_held_up(key, stand_in) {
            return self.hold_up(key);
        }
        let step = match self.in_multi(key) {
            true => self.queue_foreign(key, row, args),
            false => self.send_foreign(key, row, stand_in, args),
        };
        if let Some(c) = self.clients.get_mut(key).filter(|_| step == Step::Taken) {
            c.traffic.commands += 1;
            self.counters.requests += 1;
            self.track_foreign(key, row, args);
        }
        step
    }

    fn queue_foreign(&mut self, key: Key<Client>, row: &Foreign, args: &Args<'_>) -> Step {
        if row.has("no_multi") {
            return self.refuse_no_multi(key, &row.name);
        }
        if may_write(row.stand_in()) {
            self.queues_write(key);
        }
        match row.place(args) {
            Place::Slot(slot) => self.enqueue(key, Some(slot), args),
            Place::Anywhere | Place::Hidden => self.enqueue(key, None, args),
            Place::Crossed => self.refuse_in_multi(key, |out| out.extend_from_slice(errors::CROSS_SLOT)),
        }
    }

    fn send_foreign(
        &mut self,
        key: Key<Client>,
        row: &Foreign,
        stand_in: &'static Command,
        args: &Args<'_>,
    ) -> Step {
        let place = row.place(args);
        let slot = match place {
            Place::Slot(slot) => slot,
            Place::Crossed => return self.refuse(key, |out| out.extend_from_slice(errors::CROSS_SLOT)),
            Place::Anywhere | Place::Hidden => NO_SLOT,
        };
        let blocks = row.has("blocking");
        // Neither may be overtaken, nor overtake: one by what blocks, one by what goes by another way.
        if (blocks || place == Place::Hidden) && self.must_wait(key) {
            return Step::Wait;
        }
        let Some(c) = self.clients.get_mut(key) else { return Step::Taken };
        c.barrier |= place == Place::Hidden;
        if !blocks {
            return self.send_whole(key, stand_in, slot, args.frame());
        }
        // How long it waits is known to the node only.
        if !self.lease_to_block(key, slot, None) {
            return self.refuse(key, |out| out.extend_from_slice(errors::BLOCKS_ELSEWHERE));
        }
        self.send_dedicated(key, stand_in, slot, args.frame())
    }
}

/// The name to ask for, in lower case; `None` for one that no command can have.
fn name_of(args: &Args<'_>) -> Option<Vec<u8>> {
    let name = args.get(0)?.to_ascii_lowercase();
    let fits = (1..=LONGEST_NAME).contains(&name.len());
    // COMMAND INFO knows sub-commands by `container|name`, which is no name to call anything by.
    let is_name = fits && name.iter().all(|b| b.is_ascii_graphic() && *b != b'|');
    (is_name && !matches!(name.as_slice(), b"post" | b"host:")).then_some(name)
}
