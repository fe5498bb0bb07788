//! A queue: one client pushes numbers, another waits for them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::testimony::{Kind, Lost, Testimony};
use super::Board;
use crate::support::frame::{self, items, request, show};
use crate::support::wait::let_pass;

/// Lists, in slots all over.
const LISTS: u64 = 6;

/// What the producer tells the consumer.
#[derive(Debug, Default)]
pub struct Told {
    pushed: AtomicU64,
    /// Numbers of which nobody knows whether they were pushed.
    unknown: Mutex<Vec<u64>>,
    done: AtomicBool,
}

fn list(id: usize, n: u64) -> String {
    format!("witness:queue:{id}:{}", n % LISTS)
}

pub fn produce(board: &Arc<Board>, id: usize, told: &Told) -> Testimony {
    let mut line = board.connect(format!("producer {id}"));
    let mut work = || -> io::Result<()> {
        let mut n = 0;
        while line.goes_on() {
            n += 1;
            let reply = line.ask(&["RPUSH", &list(id, n), &n.to_string()])?;
            if frame::is_error(&reply) {
                told.unknown.lock().unwrap().push(n);
            } else if reply.first() != Some(&b':') {
                line.wrong(format!("RPUSH answered {}", show(&reply)));
            }
            told.pushed.store(n, Ordering::SeqCst);
            let_pass(Duration::from_millis(1));
        }
        Ok(())
    };
    let ended = work();
    told.done.store(true, Ordering::SeqCst);
    line.end(ended)
}

/// Pops list after list. What was in the lists at the end is popped, too.
pub fn consume(board: &Arc<Board>, id: usize, told: &Told) -> Testimony {
    let mut line = board.connect(format!("consumer {id}"));
    let mut got: Vec<u64> = Vec::new();
    let mut lost = Vec::new();
    let mut work = || -> io::Result<()> {
        let (mut last, mut turn, mut empty) = ([(0, 0); LISTS as usize], 0, 0);
        while empty < LISTS {
            turn += 1;
            let done = told.done.load(Ordering::SeqCst);
            let blpop = request(&["BLPOP", &list(id, turn), "0.5"]);
            let reply = line.ask_all(&[blpop], Duration::from_millis(500))?.remove(0);
            if reply == b"*-1\r\n" || frame::is_error(&reply) {
                empty += u64::from(done);
                continue;
            }
            empty = 0;
            let pair = if reply.first() == Some(&b'*') { items(&reply) } else { Vec::new() };
            let number = pair.get(1).and_then(|v| frame::text(v).parse::<u64>().ok());
            match number {
                Some(n) if frame::text(pair[0]) == list(id, turn) && list(id, n) == list(id, turn) => {
                    let (last, pops) = &mut last[(turn % LISTS) as usize];
                    if n <= *last {
                        lost.push(Lost { key: list(id, turn), number: *pops, kind: Kind::Pop });
                    }
                    (*last, *pops) = (n, *pops + 1);
                    got.push(n);
                }
                _ => line.wrong(format!("BLPOP answered {}", show(&reply))),
            }
        }
        Ok(())
    };
    let ended = work();
    line.seen.missed += missing(&got, told);
    line.seen.stale.extend(lost.iter().map(|l| format!("an element of {} came again", l.key)));
    line.seen.lost.extend(lost);
    line.end(ended)
}

fn missing(got: &[u64], told: &Told) -> u64 {
    let unknown = told.unknown.lock().unwrap();
    let mut seen: Vec<u64> = got.to_vec();
    seen.sort_unstable();
    let last = told.pushed.load(Ordering::SeqCst);
    (1..=last).filter(|n| seen.binary_search(n).is_err() && !unknown.contains(n)).count() as u64
}
