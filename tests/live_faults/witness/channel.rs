//! Channels: one client publishes numbers, another listens.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use super::testimony::Testimony;
use super::Board;
use crate::support::frame::{self, items, show};
use crate::support::wait::let_pass;

/// What the publisher and the listener tell each other.
#[derive(Debug, Default)]
pub struct Told {
    ready: AtomicBool,
    done: AtomicBool,
    /// The last number of each channel, that which nobody knows of included.
    last: [AtomicU64; 2],
    /// Publications with an unknown outcome.
    unknown: AtomicU64,
}

fn channels(id: usize) -> [String; 2] {
    [format!("witness:channel:{id}"), format!("witness:shard:{id}")]
}

pub fn publish(board: &Arc<Board>, id: usize, told: &Told) -> Testimony {
    let mut line = board.connect(format!("publisher {id}"));
    let names = channels(id);
    let mut work = || -> io::Result<()> {
        while line.goes_on() && !told.ready.load(Ordering::SeqCst) {
            let_pass(Duration::from_millis(1));
        }
        while line.goes_on() {
            for (i, command) in ["PUBLISH", "SPUBLISH"].iter().enumerate() {
                let number = told.last[i].fetch_add(1, Ordering::SeqCst) + 1;
                let reply = line.ask(&[command, names[i].as_str(), &number.to_string()])?;
                if frame::is_error(&reply) {
                    told.unknown.fetch_add(1, Ordering::SeqCst);
                } else if reply.first() != Some(&b':') {
                    line.wrong(format!("{command} answered {}", show(&reply)));
                }
            }
            let_pass(Duration::from_millis(2));
        }
        Ok(())
    };
    let ended = work();
    told.done.store(true, Ordering::SeqCst);
    line.end(ended)
}

pub fn listen(board: &Arc<Board>, id: usize, told: &Told) -> Testimony {
    let mut line = board.connect(format!("listener {id}"));
    let names = channels(id);
    let mut last = [0; 2];
    let mut came = 0;
    let mut work = || -> io::Result<()> {
        for (command, name) in ["SUBSCRIBE", "SSUBSCRIBE"].iter().zip(&names) {
            line.ask(&[*command, name.as_str()])?;
        }
        told.ready.store(true, Ordering::SeqCst);
        loop {
            let done = told.done.load(Ordering::SeqCst);
            let Some(message) = line.pushed(Duration::from_secs(1))? else {
                // Nothing is published any more, and for a second nothing came.
                match done {
                    true => return Ok(()),
                    false => continue,
                }
            };
            let parts = if message.first() == Some(&b'*') { items(&message) } else { Vec::new() };
            let channel = parts.get(1).and_then(|c| names.iter().position(|n| *n == frame::text(c)));
            let number = parts.get(2).and_then(|n| frame::text(n).parse::<u64>().ok());
            let (Some(i), Some(number)) = (channel, number) else {
                line.wrong(format!("a message is {}", show(&message)));
                continue;
            };
            if number > told.last[i].load(Ordering::SeqCst) {
                line.wrong(format!("message {number} of {} was never published", names[i]));
            }
            if number <= last[i] {
                // Nodes tell one another of messages; who changes from one to another may hear of one twice.
                line.seen.messages_again += 1;
                continue;
            }
            last[i] = number;
            came += 1;
        }
    };
    let ended = work();
    let published: u64 = told.last.iter().map(|n| n.load(Ordering::SeqCst)).sum();
    line.seen.messages_missed += published.saturating_sub(came + told.unknown.load(Ordering::SeqCst));
    line.end(ended)
}
