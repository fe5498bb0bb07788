//! One direction of a virtual connection: bytes under way, bytes that have arrived, and how it ends.

use std::collections::VecDeque;

/// What is under way.
#[derive(Debug)]
pub enum Item {
    Data(Vec<u8>),
    /// The sender will send no more.
    Fin,
    /// The connection is broken.
    Reset,
}

/// How a stream has ended, as its receiver sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Open,
    Fin,
    Reset,
}

#[derive(Debug)]
pub struct Stream {
    transit: VecDeque<(u64, Item)>,
    /// Arrived and not taken by the receiver.
    pub arrived: Vec<u8>,
    /// Bytes under way and arrived.
    pub held: usize,
    /// Most bytes held; a writer may offer more, and gets rid of less.
    pub cap: usize,
    /// Time of the latest arrival that is planned.
    pub last: u64,
    pub end: End,
    /// The writer could not write all it had.
    pub blocked: bool,
    /// No more can be sent.
    pub closed: bool,
    /// Bytes come one by one, or nearly so.
    pub trickles: bool,
}

impl Stream {
    pub fn new(cap: usize) -> Self {
        Stream {
            transit: VecDeque::new(),
            arrived: Vec::new(),
            held: 0,
            cap,
            last: 0,
            end: End::Open,
            blocked: false,
            closed: false,
            trickles: false,
        }
    }

    pub fn room(&self) -> usize {
        self.cap.saturating_sub(self.held)
    }

    /// Sends an item that arrives at `at`, or behind all sent before. Returns when.
    pub fn send(&mut self, at: u64, item: Item) -> u64 {
        if self.closed {
            return at;
        }
        self.last = self.last.max(at);
        match &item {
            Item::Data(bytes) => self.held += bytes.len(),
            _ => self.closed = true,
        }
        self.transit.push_back((self.last, item));
        self.last
    }

    /// Breaks the stream: what is under way may be lost.
    pub fn reset(&mut self, at: u64, lose: bool) -> u64 {
        if lose {
            self.transit.clear();
            self.held = self.arrived.len();
            self.closed = false;
        }
        self.send(at, Item::Reset)
    }

    /// Moves what has arrived by `now` to `arrived`. True when something did.
    pub fn settle(&mut self, now: u64) -> bool {
        let mut moved = false;
        while self.transit.front().is_some_and(|(at, _)| *at <= now) {
            moved = true;
            match self.transit.pop_front() {
                Some((_, Item::Data(bytes))) => self.arrived.extend_from_slice(&bytes),
                Some((_, Item::Fin)) => self.end = End::Fin,
                Some((_, Item::Reset)) => {
                    self.end = End::Reset;
                    self.drop_arrived();
                }
                None => {}
            }
        }
        moved
    }

    /// Takes the first `n` bytes that have arrived.
    pub fn take(&mut self, n: usize) -> Vec<u8> {
        self.held -= n;
        self.arrived.drain(..n).collect()
    }

    pub fn drop_arrived(&mut self) {
        self.held -= self.arrived.len();
        self.arrived.clear();
    }
}
