//! Clients that work while something happens to the cluster, and remember exactly what they were told.
//!
//! Every value is unique and every key has one writer, so each reply can be checked: is it for this client and this key,
//! is it not older than what was acknowledged before it was asked, is nothing executed twice, is nothing put in the place
//! of an error. Whatever a reply says that cannot be is *wrong*; what is merely older than it should be is *stale*.

mod channel;
mod ledger;
mod line;
mod pipeline;
pub mod probe;
mod queue;
mod testimony;
mod transaction;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::{wait_until, RawClient};
use ledger::Ledger;
use line::{now_us, Line};
pub use testimony::{Kind, Testimony};

/// How many clients of each kind are at work.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Pipelines of INCR, SET, GET, MSET and MGET over all slots, and GETs of what others write.
    pub pipelines: usize,
    /// MULTI ... EXEC, with and without WATCH.
    pub transactions: usize,
    /// RPUSH by one client, BLPOP by another.
    pub queues: usize,
    /// PUBLISH and SPUBLISH by one client, SUBSCRIBE and SSUBSCRIBE by another.
    pub channels: usize,
}

impl Crowd {
    /// Twelve clients that do everything, besides the probes of the three shards.
    pub const TWELVE: Crowd = Crowd { pipelines: 6, transactions: 2, queues: 1, channels: 1 };
}

/// The clients at work, each in a thread of its own.
pub struct Witness {
    board: Arc<Board>,
    threads: Vec<JoinHandle<Testimony>>,
}

/// What one client does until it is told to stop.
type Work = Box<dyn FnOnce(&Arc<Board>) -> Testimony + Send>;

/// What all clients share.
#[derive(Debug)]
struct Board {
    port: u16,
    stop: AtomicBool,
    answered: AtomicU64,
    /// Clients that have begun.
    begun: AtomicU64,
    /// Microseconds at which the first good write to the probed slots of each third ended, after `fault_us`.
    first_write: [AtomicU64; 3],
    fault_us: AtomicU64,
}

impl Board {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn connect(self: &Arc<Self>, name: String) -> Line {
        Line::new(name, RawClient::connect(self.port), self.clone())
    }
}

impl Witness {
    /// Starts a crowd at the proxy on `port`; returns when all of them have begun.
    pub fn start(port: u16, crowd: Crowd) -> Witness {
        let board = Arc::new(Board {
            port,
            stop: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            first_write: Default::default(),
            fault_us: AtomicU64::new(u64::MAX),
        });
        let ledger = Arc::new(Ledger::new(crowd.pipelines));
        let mut threads = Vec::new();
        let mut start = |work: Work| {
            let board = board.clone();
            threads.push(thread::spawn(move || work(&board)));
        };
        for id in 0..crowd.pipelines {
            let ledger = ledger.clone();
            start(Box::new(move |board| pipeline::run(board, id, &ledger)));
        }
        (0..crowd.transactions).for_each(|id| start(Box::new(move |board| transaction::run(board, id))));
        for id in 0..crowd.queues {
            let told = Arc::new(queue::Told::default());
            let also = told.clone();
            start(Box::new(move |board| queue::produce(board, id, &told)));
            start(Box::new(move |board| queue::consume(board, id, &also)));
        }
        for id in 0..crowd.channels {
            let told = Arc::new(channel::Told::default());
            let also = told.clone();
            start(Box::new(move |board| channel::publish(board, id, &told)));
            start(Box::new(move |board| channel::listen(board, id, &also)));
        }
        (0..3).for_each(|third| start(Box::new(move |board| probe::run(board, third))));
        let witness = Witness { board, threads };
        let all = witness.threads.len() as u64;
        wait_until("all clients have begun", Duration::from_secs(30), || {
            witness.board.begun.load(Ordering::Relaxed) == all
        });
        witness
    }

    /// Waits until `n` more commands were answered.
    pub fn wait_answered(&self, n: u64) {
        let goal = self.board.answered.load(Ordering::Relaxed) + n;
        wait_until(&format!("{n} more commands answered"), Duration::from_secs(90), || {
            self.board.answered.load(Ordering::Relaxed) >= goal
        });
    }

    /// From now on the first good write to each third of the slots is looked for. Returns the time, see [`now_us`].
    pub fn mark_fault(&self) -> u64 {
        let now = now_us();
        self.board.first_write.iter().for_each(|t| t.store(0, Ordering::Relaxed));
        self.board.fault_us.store(now, Ordering::Relaxed);
        now
    }

    /// Waits until a write to this third of the slots that was sent after the fault, or waited since then, has succeeded.
    /// Returns when that was.
    pub fn first_write(&self, third: usize, limit: Duration) -> u64 {
        wait_until("a good write after the fault", limit, || {
            self.board.first_write[third].load(Ordering::Relaxed) > 0
        });
        self.board.first_write[third].load(Ordering::Relaxed)
    }

    /// Ends all clients and returns what they saw together.
    pub fn stop(self) -> Testimony {
        self.board.stop.store(true, Ordering::Relaxed);
        let mut all = Testimony::default();
        for thread in self.threads {
            all.add(thread.join().expect("a client of the witness"));
        }
        all
    }
}

/// The time on the clock of all measurements, in microseconds.
pub fn clock_us() -> u64 {
    now_us()
}
