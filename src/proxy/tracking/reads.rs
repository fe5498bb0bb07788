//! What is noted of the requests of a tracking client.

use super::Tracking;
use crate::base::arena::Key;
use crate::command::{self, Class, Command, Flags, Foreign, Local};
use crate::proxy::client::Client;
use crate::proxy::engine::Engine;
use crate::resp::{Args, Limits, Parsed, RequestParser};

impl Tracking {
    /// Whether the keys of a read count now.
    fn counts_reads(&self) -> bool {
        match (self.options.opt_in, self.options.opt_out) {
            (true, _) => self.caching,
            (_, true) => !self.caching,
            _ => true,
        }
    }
}

impl Engine {
    /// A request of a tracking client was taken.
    #[cold]
    pub(in crate::proxy) fn track(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) {
        if self.in_multi(key) {
            return;
        }
        self.note_read(key, row, args);
        // CLIENT CACHING is about the next command, or the next transaction.
        if row.class != Class::Local(Local::Client) {
            self.end_caching(key);
        }
    }

    /// As [`Engine::track`], for a command that the table does not know.
    pub(in crate::proxy) fn track_foreign(&mut self, key: Key<Client>, row: &Foreign, args: &Args<'_>) {
        if !self.in_multi(key) {
            self.note_foreign_read(key, row, args);
            self.end_caching(key);
        }
    }

    /// EXEC is about to be carried out, perhaps not for the first time: it reads what is queued.
    pub(in crate::proxy) fn track_transaction(&mut self, key: Key<Client>) {
        if self.tracking_of(key).is_none() {
            return;
        }
        let Some(multi) = self.clients.get(key).and_then(|c| c.multi.as_deref()) else { return };
        let (bytes, mut at) = (multi.bytes().to_vec(), 0);
        let (mut parser, limits) =
            (RequestParser::new(), Limits { max_request: usize::MAX, ..Limits::default() });
        while let Parsed::Request { len } = parser.parse(&bytes[at..], &limits) {
            let args = Args::new(&bytes[at..at + len], parser.spans());
            at += len;
            match command::resolve(&args) {
                Ok(row) => self.note_read(key, row, &args),
                Err(_) => {
                    let row = self.known_row(&args);
                    if let Some(row) = row.as_deref().and_then(|r| r.resolve(&args)) {
                        self.note_foreign_read(key, row, &args);
                    }
                }
            }
        }
    }

    /// The state of a client whose tracking has begun.
    pub(super) fn tracking_of(&mut self, key: Key<Client>) -> Option<&mut Tracking> {
        self.clients.get_mut(key)?.tracking.as_deref_mut().filter(|t| t.on)
    }

    fn note_read(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) {
        // Which keys a script reads is known to the node only; it must have declared them.
        if row.flags.has(Flags::READONLY) || matches!(row.name, "eval" | "evalsha" | "fcall") {
            let positions = command::keys(row, args).into_iter().flatten();
            self.note_keys(key, positions.filter_map(|at| args.get(at)));
        }
    }

    fn note_foreign_read(&mut self, key: Key<Client>, row: &Foreign, args: &Args<'_>) {
        if !row.has("write") {
            self.note_keys(key, row.keys(args));
        }
    }

    fn note_keys<'a>(&mut self, key: Key<Client>, names: impl Iterator<Item = &'a [u8]>) {
        let Some(tracking) = self.tracking_of(key) else { return };
        tracking.told_all = false;
        if tracking.options.broadcast || !tracking.counts_reads() {
            return;
        }
        names.for_each(|name| self.tracker.table.add(name, key));
        if self.tracker.table.is_full() {
            self.all_changed();
        }
    }

    fn end_caching(&mut self, key: Key<Client>) {
        if let Some(tracking) = self.tracking_of(key) {
            tracking.caching = false;
        }
    }
}
