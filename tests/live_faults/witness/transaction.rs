//! Transactions: two counters and a value that must never differ.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::line::Line;
use super::testimony::{Kind, Lost, Testimony};
use super::Board;
use crate::support::frame::{self, items, request, show};

/// Slots that one client works on.
const TAGS: usize = 20;

struct Client {
    id: usize,
    line: Line,
    /// What each tag's counters hold at least, and how many more they may.
    counters: Vec<(i64, i64)>,
}

pub fn run(board: &Arc<Board>, id: usize) -> Testimony {
    let line = board.connect(format!("transaction {id}"));
    let mut client = Client { id, line, counters: vec![(0, 0); TAGS] };
    let ended = client.work();
    let counted = client.counters.iter().enumerate();
    client.line.seen.counters =
        counted.map(|(tag, c)| (client.key(tag, "b"), c.0 as u64, c.1 as u64)).collect();
    client.line.end(ended)
}

impl Client {
    fn work(&mut self) -> io::Result<()> {
        let mut round = 0;
        while self.line.goes_on() {
            round += 1;
            let tag = round % TAGS;
            let (a, b) = (self.key(tag, "a"), self.key(tag, "b"));
            let mut requests = Vec::new();
            // Every second one watches, and nobody else writes there, so it never fails for that.
            let watches = round % 2 == 0;
            if watches {
                requests.push(request(&["WATCH", &a]));
                requests.push(request(&["GET", &a]));
            }
            requests.push(request(&["MULTI"]));
            requests.push(request(&["INCR", &a]));
            requests.push(request(&["INCR", &b]));
            requests.push(request(&["GET", &a]));
            requests.push(request(&["EXEC"]));
            let replies = self.line.ask_all(&requests, Duration::ZERO)?;
            self.check(tag, replies.last().unwrap(), watches);
        }
        Ok(())
    }

    fn key(&self, tag: usize, name: &str) -> String {
        format!("{{witness:tx:{}:{tag}}}{name}", self.id)
    }

    fn check(&mut self, tag: usize, reply: &[u8], watched: bool) {
        let (least, unknown) = self.counters[tag];
        if frame::is_error(reply) {
            // An aborted one was not executed.
            if !frame::text(reply).starts_with("EXECABORT") {
                self.counters[tag].1 += 1;
            }
            return;
        }
        // The slot has moved or its node was lost since WATCH: the client is to begin again.
        if watched && reply == b"*-1\r\n" {
            self.line.seen.conflicts += 1;
            return;
        }
        let three = if reply.first() == Some(&b'*') { items(reply) } else { Vec::new() };
        let [a, b, value] = three.as_slice() else {
            return self.line.wrong(format!("EXEC answered {}", show(reply)));
        };
        if a.first() != Some(&b':') || a != b || frame::text(value) != frame::text(a) {
            return self.line.wrong(format!("not atomic: {}", show(reply)));
        }
        let count = frame::integer(a);
        let key = self.key(tag, "a");
        if count > least + 1 + unknown {
            self.line.wrong(format!("{key} is {count}, counted {} to {}", least + 1, least + 1 + unknown));
        } else if count <= least {
            self.line.seen.stale.push(format!("{key} is {count}, counted {}", least + 1));
            self.line.seen.lost.push(Lost { key, number: least as u64, kind: Kind::Counter });
        }
        self.counters[tag] = (count, 0);
    }
}
