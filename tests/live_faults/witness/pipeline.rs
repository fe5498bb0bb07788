//! Pipelines of reads and writes over all slots.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::ledger::{Ledger, KEYS};
use super::line::Line;
use super::testimony::{Kind, Lost, Testimony};
use super::Board;
use crate::support::frame::{self, request, show};

/// Keys that one MSET or MGET has: they are all over the slots.
const SEVERAL: usize = 6;
/// Rounds sent at once.
const DEPTH: usize = 3;

struct Client<'a> {
    id: usize,
    line: Line,
    ledger: &'a Ledger,
    counters: Vec<Counter>,
}

/// `acknowledged` increments, and some that may or may not have happened.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    acknowledged: u64,
    unknown: u64,
}

/// What was asked and what the reply must be.
enum Asked {
    Incr(usize),
    Set(Vec<(usize, u64)>),
    /// Keys of a client with what was acknowledged when it was asked.
    Get(usize, Vec<(usize, u64)>),
}

pub fn run(board: &Arc<Board>, id: usize, ledger: &Ledger) -> Testimony {
    let line = board.connect(format!("pipeline {id}"));
    let mut client = Client { id, line, ledger, counters: vec![Counter::default(); KEYS] };
    let ended = client.work();
    let counted = client.counters.iter().enumerate();
    client.line.seen.counters =
        counted.map(|(k, c)| (counter_key(id, k), c.acknowledged, c.unknown)).collect();
    client.line.end(ended)
}

impl Client<'_> {
    fn work(&mut self) -> io::Result<()> {
        let mut round = self.id * 7;
        while self.line.goes_on() {
            let mut asked = Vec::new();
            for _ in 0..DEPTH {
                round += 1;
                asked.extend(self.round(round));
            }
            let requests: Vec<Vec<u8>> = asked.iter().map(|(request, _)| request.clone()).collect();
            let replies = self.line.ask_all(&requests, Duration::ZERO)?;
            // In order: a reply says what the next one may be.
            for ((_, asked), reply) in asked.iter().zip(&replies) {
                match asked {
                    Asked::Incr(counter) => self.check_incr(*counter, reply),
                    Asked::Set(writes) => self.check_set(writes, reply),
                    Asked::Get(writer, reads) => self.check_get(*writer, reads, reply),
                }
            }
        }
        Ok(())
    }

    /// INCR, SET, GET of the same, MSET, MGET of the same, GET and MGET of what another client writes.
    fn round(&self, round: usize) -> Vec<(Vec<u8>, Asked)> {
        let one = round % (KEYS - SEVERAL);
        let several: Vec<usize> = (one + 1..=one + SEVERAL).collect();
        let other = (self.id + 1 + round) % self.ledger.clients();
        vec![
            (request(&["INCR", &counter_key(self.id, one)]), Asked::Incr(one)),
            self.set(&[one]),
            self.get(self.id, &[one]),
            self.set(&several),
            self.get(self.id, &several),
            self.get(other, &[one]),
            self.get(other, &several),
        ]
    }

    fn set(&self, keys: &[usize]) -> (Vec<u8>, Asked) {
        let writes: Vec<(usize, u64)> = keys.iter().map(|k| (*k, self.ledger.next(self.id, *k))).collect();
        let pairs =
            writes.iter().flat_map(|(k, n)| [Ledger::key(self.id, *k), Ledger::value(self.id, *k, *n)]);
        let name = if keys.len() == 1 { "SET" } else { "MSET" };
        let words: Vec<String> = [name.to_string()].into_iter().chain(pairs).collect();
        (request(&words), Asked::Set(writes))
    }

    fn get(&self, writer: usize, keys: &[usize]) -> (Vec<u8>, Asked) {
        let reads = keys.iter().map(|k| (*k, self.ledger.acknowledged(writer, *k))).collect();
        let name = if keys.len() == 1 { "GET" } else { "MGET" };
        let names = keys.iter().map(|k| Ledger::key(writer, *k));
        let words: Vec<String> = [name.to_string()].into_iter().chain(names).collect();
        (request(&words), Asked::Get(writer, reads))
    }

    fn check_incr(&mut self, key: usize, reply: &[u8]) {
        let counter = &mut self.counters[key];
        if frame::is_error(reply) {
            counter.unknown += 1;
            return;
        }
        if reply.first() != Some(&b':') {
            return self.line.wrong(format!("INCR answered {}", show(reply)));
        }
        let value = frame::integer(reply) as u64;
        let (least, most) = (counter.acknowledged + 1, counter.acknowledged + 1 + counter.unknown);
        let number = counter.acknowledged;
        *counter = Counter { acknowledged: value, unknown: 0 };
        let key = counter_key(self.id, key);
        if value > most {
            self.line.wrong(format!("{key} is {value}, counted {least} to {most}"));
        } else if value < least {
            self.line.seen.stale.push(format!("{key} is {value}, counted {least} to {most}"));
            self.line.seen.lost.push(Lost { key, number, kind: Kind::Counter });
        }
    }

    fn check_set(&mut self, writes: &[(usize, u64)], reply: &[u8]) {
        if reply == b"+OK\r\n" {
            writes.iter().for_each(|(k, n)| self.ledger.acknowledge(self.id, *k, *n));
        } else if !frame::is_error(reply) {
            self.line.wrong(format!("SET or MSET answered {}", show(reply)));
        }
    }

    fn check_get(&mut self, writer: usize, reads: &[(usize, u64)], reply: &[u8]) {
        if frame::is_error(reply) {
            return;
        }
        let values = match (reads.len(), reply.first()) {
            (1, Some(b'$')) => vec![reply],
            (n, Some(b'*')) if frame::items(reply).len() == n => frame::items(reply),
            _ => return self.line.wrong(format!("GET or MGET answered {}", show(reply))),
        };
        let checks: Vec<_> = reads.iter().copied().zip(values.into_iter().map(<[u8]>::to_vec)).collect();
        for ((key, acknowledged), value) in checks {
            self.check_value(writer, key, acknowledged, &value);
        }
    }

    fn check_value(&mut self, writer: usize, key: usize, acknowledged: u64, value: &[u8]) {
        let name = Ledger::key(writer, key);
        let number = match value {
            b"$-1\r\n" => Some(0),
            _ if value.first() == Some(&b'$') => Ledger::number(writer, key, &frame::text(value)),
            _ => None,
        };
        let Some(number) = number else {
            return self.line.wrong(format!("{name} is {}", show(value)));
        };
        // Replies are checked in order, so what is acknowledged by now was sent before a read of one's own key. A read of
        // somebody else's only has to find what was acknowledged when it was asked.
        let least = match writer == self.id {
            true => self.ledger.acknowledged(writer, key),
            false => acknowledged,
        };
        if number > self.ledger.sent(writer, key) {
            self.line.wrong(format!("{name} is number {number}, which was never sent"));
        } else if number < least {
            self.line.seen.stale.push(format!("{name} is number {number}, acknowledged was {least}"));
            for number in number + 1..=least {
                self.line.seen.lost.push(Lost { key: name.clone(), number, kind: Kind::Value });
            }
            self.ledger.give_up(writer, key, number);
        }
    }
}

pub fn counter_key(client: usize, key: usize) -> String {
    format!("witness:count:{client}:{key};")
}
