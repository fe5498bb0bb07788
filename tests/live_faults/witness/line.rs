//! One connection whose replies are counted and timed.

// Tests live in real time.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::testimony::Testimony;
use super::Board;
use crate::support::frame::{self, request};
use crate::support::RawClient;

/// Microseconds since the first call in this process.
pub fn now_us() -> u64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(BEGIN.get_or_init(Instant::now).elapsed().as_micros()).unwrap()
}

pub struct Line {
    pub name: String,
    client: RawClient,
    board: Arc<Board>,
    pub seen: Testimony,
}

impl Line {
    pub fn new(name: String, client: RawClient, board: Arc<Board>) -> Line {
        client.set_patience(Duration::from_secs(40));
        let mut line = Line { name, client, board, seen: Testimony::default() };
        // Its first reply is not measured, since the proxy may have to connect.
        assert_eq!(line.client.call(&["PING"]), b"+PONG\r\n");
        line.seen.clients = 1;
        line.board.begun.fetch_add(1, Ordering::Relaxed);
        line
    }

    /// Sends requests at once and returns their replies; `waits` says how long one may take by its own wish.
    pub fn ask_all(&mut self, requests: &[Vec<u8>], waits: Duration) -> io::Result<Vec<Vec<u8>>> {
        let sent = now_us();
        self.client.try_send(&requests.concat())?;
        let mut replies = Vec::with_capacity(requests.len());
        for request in requests {
            let reply = self.client.try_frame()?;
            let took = now_us() - sent;
            self.seen.waited(&self.name, request, took.saturating_sub(waits.as_micros() as u64), sent);
            self.count(&reply);
            replies.push(reply);
        }
        Ok(replies)
    }

    pub fn ask(&mut self, args: &[impl AsRef<[u8]>]) -> io::Result<Vec<u8>> {
        let mut replies = self.ask_all(&[request(args)], Duration::ZERO)?;
        Ok(replies.remove(0))
    }

    /// The next frame that comes unasked; `None` when none does in time.
    pub fn pushed(&mut self, limit: Duration) -> io::Result<Option<Vec<u8>>> {
        self.client.set_patience(limit);
        let frame = self.client.try_frame();
        match frame {
            Ok(frame) => Ok(Some(frame)),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn count(&mut self, reply: &[u8]) {
        self.seen.requests += 1;
        self.board.answered.fetch_add(1, Ordering::Relaxed);
        if frame::is_error(reply) {
            self.seen.error(&frame::text(reply));
        }
    }

    pub fn goes_on(&self) -> bool {
        self.board.goes_on()
    }

    pub fn wrong(&mut self, what: String) {
        self.seen.wrong.push(format!("{}: {what}", self.name));
    }

    /// What it saw, and how its work ended.
    pub fn end(mut self, ended: io::Result<()>) -> Testimony {
        if let Err(e) = ended {
            self.seen.drops.push(format!("{}: {e}", self.name));
        }
        self.seen
    }
}
