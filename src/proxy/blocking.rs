//! Commands that wait for another client: BLPOP and its kin, XREAD and XREADGROUP with BLOCK.
//!
//! Each waits on a dedicated backend; the client is not read meanwhile, as a server does not either. When the node loses
//! the slot or is lost, the command is sent again with the time that is left.

use std::time::Duration;

use super::client::Client;
use super::dispatch::Step;
use super::engine::Engine;
use super::lease::{Lease, Purpose};
use super::part::{Owner, Part};
use crate::base::arena::Key;
use crate::command::{self, Command, Keys};
use crate::resp::{encode, Args, Limits, Parsed, RequestParser};

/// How long a command waits, and where it says so.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Timeout {
    /// Index of the argument.
    argument: usize,
    /// It is in milliseconds, not in seconds.
    millis: bool,
    /// Zero means for ever.
    wait: Duration,
}

impl Engine {
    /// A command that may wait.
    pub(super) fn block(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) -> Step {
        // What the client sent before must be executed before.
        if self.must_wait(key) {
            return Step::Wait;
        }
        let slot = match command::slot_of(row, args) {
            Ok(Some(slot)) => slot,
            Ok(None) => return self.whole(key, row, args),
            Err(error) => return self.key_error(key, row, args, error),
        };
        // A watching client keeps its backend for that; a server forgets watched keys at the next EXEC only.
        let watching = self.clients.get(key).is_some_and(|c| c.lease.is_some());
        let Some(timeout) = timeout_of(row, args).filter(|_| !watching) else {
            return self.blocks_not(key, row, args);
        };
        let until = (!timeout.wait.is_zero()).then(|| self.now.after(timeout.wait));
        let Some(c) = self.clients.get_mut(key) else { return Step::Taken };
        c.lease = Some(Box::new(Lease::new(Purpose::Block(until))));
        self.send_dedicated(key, row, slot, args.frame())
    }

    /// A timeout that is no number: the server says so at once, whoever asks. A client that watches keys while it blocks
    /// is so strange that it is told to do one thing after the other.
    fn blocks_not(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) -> Step {
        match timeout_of(row, args) {
            None => self.whole(key, row, args),
            Some(_) => self.refuse(key, |out| {
                out.extend_from_slice(b"ERR blocking commands are not supported between WATCH and EXEC");
            }),
        }
    }

    /// A blocked part whose node has let go of it: its request with the time that is left, or `None` after it was
    /// answered because there is none left.
    pub(super) fn reissue(&mut self, part: &mut Part, request: &[u8]) -> Option<Vec<u8>> {
        let Owner::Client(client, _) = part.owner else { return Some(request.to_vec()) };
        let until = self.clients.get(client).and_then(|c| c.lease.as_deref()).and_then(Lease::blocked_until);
        self.unlease(client);
        let Some(until) = until else { return Some(request.to_vec()) };
        part.born_us = self.now_us();
        let row = command::by_id(part.command);
        match until {
            None => Some(request.to_vec()),
            Some(t) if t > self.now => Some(with_timeout(row, request, t.since(self.now))),
            Some(_) => {
                let protocol = self.clients.get(client).map(Client::protocol).unwrap_or_default();
                let mut out = Vec::new();
                match row.name {
                    "blmove" | "brpoplpush" => encode::null(&mut out, protocol),
                    _ => encode::null_array(&mut out, protocol),
                }
                self.end_lease(client);
                self.answer(part, &out);
                None
            }
        }
    }

    /// The client's side was closed while it is not read: a blocked client waits for nothing any more.
    pub fn client_hung_up(&mut self, key: Key<Client>) {
        let lease = self.clients.get(key).and_then(|c| c.lease.as_deref());
        if lease.is_some_and(|l| l.blocked_until().is_some()) {
            self.close_client(key);
        }
    }
}

/// The timeout of a blocking command; `None` when there is no valid one.
fn timeout_of(row: &Command, args: &Args<'_>) -> Option<Timeout> {
    let (argument, millis) = match (row.keys, row.name) {
        (Keys::Streams, _) => {
            // The group and the consumer of XREADGROUP may have any name.
            let options = if row.name == "xreadgroup" { 4 } else { 1 };
            let word = (options..args.len())
                .find(|i| args.get(*i).is_some_and(|a| a.eq_ignore_ascii_case(b"block")))?;
            (word + 1, true)
        }
        (_, "blmpop" | "bzmpop") => (1, false),
        _ => (args.len() - 1, false),
    };
    let text = std::str::from_utf8(args.get(argument)?).ok()?;
    let wait = match millis {
        true => Duration::from_millis(text.parse().ok()?),
        false => Duration::try_from_secs_f64(text.parse().ok()?).ok()?,
    };
    Some(Timeout { argument, millis, wait })
}

/// `request` with another timeout.
fn with_timeout(row: &Command, request: &[u8], left: Duration) -> Vec<u8> {
    let mut parser = RequestParser::new();
    let limits = Limits { max_request: usize::MAX, ..Limits::default() };
    let Parsed::Request { .. } = parser.parse(request, &limits) else { return request.to_vec() };
    let args = Args::new(request, parser.spans());
    let Some(timeout) = timeout_of(row, &args) else { return request.to_vec() };
    // Zero would mean for ever.
    let millis = left.as_millis().max(1);
    let text = match timeout.millis {
        true => millis.to_string(),
        false => format!("{}.{:03}", millis / 1000, millis % 1000),
    };
    let words: Vec<&[u8]> = args
        .iter()
        .enumerate()
        .map(|(i, word)| if i == timeout.argument { text.as_bytes() } else { word })
        .collect();
    let mut out = Vec::new();
    encode::request(&mut out, &words);
    out
}
