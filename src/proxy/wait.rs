//! WAIT: how many replicas have what a client has written.
//!
//! A server knows up to where its replication stream went when a connection wrote last. Here the connections are shared, so
//! every primary is asked how far its stream is *now*: all that the client wrote before has been answered, and lies before
//! that. Then they are asked again until enough replicas of each have got so far, or the time is over; the answer is the
//! number that is true of every primary. Replicas tell their primaries each second how far they are, and at once when some
//! client waits for them: so before it is asked again each primary is *nudged* by a WAIT that no number of replicas can
//! fulfil and that ends after a millisecond or when the node looks, on a backend that is used for nothing else.
//!
//! A primary that another one follows meanwhile may have lost what was written: that is an error, as a server says it.

use std::time::Duration;

use super::backend::Kind;
use super::client::Client;
use super::dispatch::Step;
use super::engine::{Alarm, Engine};
use super::errors;
use super::fan::{Gather, Work};
use super::part::{InFlight, Owner, Part, NO_SLOT};
use super::session::{number, timeout, NOT_AN_INTEGER};
use crate::base::arena::Key;
use crate::base::time::Time;
use crate::command::{self, Command};
use crate::resp::{encode, Args, Value};

/// What is asked, and what makes replicas tell.
const QUESTION: &[u8] = b"*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n";
const NUDGE: &[u8] = b"*3\r\n$4\r\nWAIT\r\n$10\r\n2147483647\r\n$1\r\n1\r\n";

/// Shortest and longest pause before primaries are asked again, but for the first time.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

const CHANGED: &[u8] =
    b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n";
const UNREADABLE: &[u8] = b"-ERR a node did not tell how far its replicas are\r\n";

/// A client that waits for replicas.
#[derive(Debug)]
pub struct Waiting {
    /// How many replicas of each primary it wants.
    wanted: i64,
    /// `None` for ever.
    until: Option<Time>,
    pause: Duration,
    primaries: Vec<Primary>,
    /// What is answered instead of a number.
    failure: Option<Box<[u8]>>,
}

/// One of the primaries.
#[derive(Debug)]
struct Primary {
    /// A slot of its shard.
    slot: u16,
    /// Its stream, and where that was when the client began to wait.
    mark: Option<(String, u64)>,
    /// How many replicas have got there.
    reached: i64,
}

/// What a node says of its stream.
#[derive(Debug, PartialEq, Eq)]
struct Stream {
    id: String,
    offset: u64,
    /// Up to where each replica has it.
    replicas: Vec<u64>,
}

impl Waiting {
    /// Memory that it holds, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.primaries.len() * std::mem::size_of::<Primary>()
    }

    /// Takes in what primary `index` says.
    pub(super) fn take(&mut self, index: u16, reply: &[u8]) {
        let Some(primary) = self.primaries.get_mut(usize::from(index)) else { return };
        let failure = match Stream::read(reply) {
            Some(stream) => primary.take(stream).err(),
            None if reply.first() == Some(&b'-') => Some(reply),
            None => Some(UNREADABLE),
        };
        if let Some(failure) = failure {
            self.failure.get_or_insert_with(|| failure.into());
        }
    }

    /// The number that is true of every primary.
    fn reached(&self) -> i64 {
        self.primaries.iter().map(|p| p.reached).min().unwrap_or(0)
    }

    fn is_over(&self, now: Time) -> bool {
        self.failure.is_some() || self.reached() >= self.wanted || self.until.is_some_and(|t| t <= now)
    }

    /// Appends the reply.
    pub(super) fn answer(&self, out: &mut Vec<u8>) {
        match &self.failure {
            Some(failure) => out.extend_from_slice(failure),
            None => encode::integer(out, self.reached()),
        }
    }
}

impl Primary {
    fn take(&mut self, stream: Stream) -> Result<(), &'static [u8]> {
        let (id, offset) = self.mark.get_or_insert_with(|| (stream.id.clone(), stream.offset));
        if *id != stream.id {
            return Err(CHANGED);
        }
        let reached = stream.replicas.iter().filter(|r| **r >= *offset).count();
        self.reached = i64::try_from(reached).unwrap_or(i64::MAX);
        Ok(())
    }
}

impl Stream {
    /// Reads INFO; `None` when it is not that of a primary.
    fn read(reply: &[u8]) -> Option<Stream> {
        let (value, _) = Value::parse(reply).ok()??;
        let (mut primary, mut id, mut offset, mut replicas) = (false, None, None, Vec::new());
        for (name, value) in value.as_str()?.lines().filter_map(|l| l.split_once(':')) {
            match name {
                "role" => primary = value == "master",
                "master_replid" => id = Some(value.to_owned()),
                "master_repl_offset" => offset = value.parse().ok(),
                _ if is_numbered(name, "slave") => {
                    let field = |f: &str| value.split(',').find_map(|v| v.strip_prefix(f)?.strip_prefix('='));
                    let at = field("offset").filter(|_| field("state") == Some("online"));
                    replicas.extend(at.and_then(|o| o.parse::<u64>().ok()));
                }
                _ => {}
            }
        }
        primary.then_some(Stream { id: id?, offset: offset?, replicas })
    }
}

/// Whether `name` is this word with a number behind it.
fn is_numbered(name: &str, word: &str) -> bool {
    name.strip_prefix(word).is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

impl Engine {
    /// `WAIT numreplicas timeout`.
    pub(super) fn wait(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) -> Step {
        let wanted = args.get(1).and_then(number).ok_or(NOT_AN_INTEGER);
        let (wanted, timeout) = match (wanted, timeout(args.get(2).unwrap_or_default())) {
            (Ok(wanted), Ok(timeout)) => (wanted, timeout),
            (Err(error), _) | (_, Err(error)) => {
                return self.refuse(key, |out| out.extend_from_slice(error));
            }
        };
        // What the client wrote before must have been answered.
        if self.must_wait(key) {
            return Step::Wait;
        }
        let primary = |slot: u16| Primary { slot, mark: None, reached: 0 };
        let primaries: Vec<Primary> = self.nodes.walk().iter().map(|(slot, _)| primary(*slot)).collect();
        if primaries.is_empty() {
            self.nobody_serves();
            let mut error = Vec::new();
            errors::unserved(&mut error, NO_SLOT, self.nodes.known());
            return self.reply(key, &error);
        }
        let until = (!timeout.is_zero()).then(|| self.now.after(timeout));
        let parts = primaries.len();
        let waiting = Waiting { wanted, until, pause: Duration::ZERO, primaries, failure: None };
        let gather = self.gather(key, row, args.frame().len(), parts, Work::Wait(Box::new(waiting)));
        if let Some(c) = self.clients.get_mut(key) {
            (c.barrier, c.waits) = (true, true);
        }
        self.ask_primaries(gather, false);
        Step::Taken
    }

    /// A client that waits for replicas gets `instead`, or what was reached, with the next answers of the primaries. False when
    /// it waits for none.
    pub(super) fn end_waiting(&mut self, client: Key<Client>, instead: Option<&[u8]>) -> bool {
        if self.clients.get(client).is_none_or(|c| !c.waits) {
            return false;
        }
        let now = self.now;
        for key in self.gathers.keys() {
            let of_client = self.gathers.get_mut(key).filter(|g| g.client == client);
            let Some(waiting) = of_client.and_then(Gather::waiting) else { continue };
            waiting.until = Some(now);
            waiting.failure = waiting.failure.take().or(instead.map(Box::from));
        }
        true
    }

    /// All primaries have said how far they are. True when they will be asked again.
    pub(super) fn wait_goes_on(&mut self, key: Key<Gather>) -> bool {
        let now = self.now;
        let Some(waiting) = self.gathers.get_mut(key).and_then(Gather::waiting) else { return false };
        if waiting.is_over(now) {
            return false;
        }
        let pause = waiting.until.map_or(waiting.pause, |t| waiting.pause.min(t.since(now)));
        waiting.pause = (waiting.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        self.timers.set(now.after(pause), Alarm::Replicas(key));
        true
    }

    /// It is time to ask the primaries again.
    pub(super) fn replicas_alarm(&mut self, key: Key<Gather>) {
        let Some(client) = self.gathers.get(key).map(|g| g.client) else { return };
        match self.clients.get(client).map(|c| c.closing) {
            Some(false) => self.ask_primaries(key, true),
            // It has gone, or waits for nothing any more.
            gone => {
                self.gathers.remove(key);
                if gone.is_some() {
                    self.close_client(client);
                }
            }
        }
    }

    fn ask_primaries(&mut self, key: Key<Gather>, nudge: bool) {
        let Some(waiting) = self.gathers.get_mut(key).and_then(Gather::waiting) else { return };
        let slots: Vec<u16> = waiting.primaries.iter().map(|p| p.slot).collect();
        if let Some(gather) = self.gathers.get_mut(key) {
            gather.await_parts(slots.len());
        }
        let row = |name: &[u8]| command::lookup(name).map_or(0, |row| row.id);
        let (info, wait) = (row(b"info"), row(b"wait"));
        for (slot, index) in slots.into_iter().zip(0u16..) {
            let (owner, born_us, kind) = (Owner::Gather(key, index), self.now_us(), Kind::default());
            let part = Part { owner, born_us, slot, command: info, attempts: 0, kind, block: false };
            if nudge {
                self.nudge(Part { owner: Owner::Nobody, command: wait, kind: Kind::NUDGES, ..part });
            }
            self.send(part, QUESTION);
        }
    }

    /// Makes the replicas of a primary tell how far they are, unless that is under way.
    fn nudge(&mut self, part: Part) {
        let Ok(key) = self.backend_for(&part) else { return };
        let is_nudge = |f: &InFlight| matches!(f.part.owner, Owner::Nobody);
        if self.backends.get(key).is_some_and(|b| !b.fifo.iter().any(is_nudge)) {
            self.push(key, part, NUDGE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<u8> {
        let mut reply = Vec::new();
        encode::bulk(&mut reply, text.replace('|', "\r\n").as_bytes());
        reply
    }

    fn waiting(primaries: usize) -> Waiting {
        let primary = |slot| Primary { slot, mark: None, reached: 0 };
        let primaries = (0..primaries).map(|i| primary(i as u16)).collect();
        Waiting { wanted: 1, until: None, pause: Duration::ZERO, primaries, failure: None }
    }

    #[test]
    fn what_a_primary_says_of_its_stream_is_read() {
        let text = "# Replication|role:master|connected_slaves:2|slave0:ip=127.0.0.1,port=1,state=online,offset=90,lag=1|\
                    slave1:ip=::1,port=2,state=online,offset=100,lag=0,type=replica|slave2:ip=::1,port=3,state=wait_bgsave,offset=0|\
                    slaves_waiting_psync:7|master_replid:ab|master_repl_offset:100|";
        let stream = Stream { id: "ab".into(), offset: 100, replicas: vec![90, 100] };
        assert_eq!(Stream::read(&said(text)), Some(stream));
        assert_eq!(Stream::read(&said(&text.replace("role:master", "role:slave"))), None);
        assert_eq!(Stream::read(b"+OK\r\n"), None);
        assert_eq!(Stream::read(b"-ERR no\r\n"), None);
    }

    #[test]
    fn replicas_have_to_reach_where_the_stream_was_first() {
        let mut w = waiting(2);
        let says = |offset: u64, replica: u64| {
            said(&format!(
                "role:master|master_replid:a|master_repl_offset:{offset}|slave0:state=online,offset={replica}|"
            ))
        };
        w.take(0, &says(100, 90));
        w.take(1, &says(50, 50));
        assert_eq!(w.reached(), 0);
        w.take(0, &says(200, 100));
        assert_eq!(w.reached(), 1);
        assert!(w.is_over(Time::from_micros(1)));
        w.take(1, b"-CLUSTERDOWN no\r\n");
        w.take(0, &said("role:master|master_replid:b|master_repl_offset:300|"));
        let mut out = Vec::new();
        w.answer(&mut out);
        assert_eq!(out, b"-CLUSTERDOWN no\r\n");
        let mut w = waiting(1);
        w.take(0, &says(100, 90));
        w.take(
            0,
            &said("role:master|master_replid:b|master_repl_offset:300|slave0:state=online,offset=300|"),
        );
        assert_eq!(w.failure.as_deref(), Some(CHANGED));
    }
}
