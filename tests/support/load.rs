//! Clients that write and read while something happens to the cluster, and know what they must find.
//!
//! Every client has keys of its own, spread over all slots, and sends small pipelines: count, write, read back, write
//! and read several slots. So it notices an error, a lost or doubled write, a swapped or stale reply at once.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::frame::{self, show};
use super::raw::RawClient;
use super::wait::wait_until;

/// Keys of each kind per client.
const KEYS: u64 = 40;
/// Commands of one round.
const ROUND: u64 = 5;

/// Clients at work, each in a thread of its own.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Report>>,
}

/// What one client, or all together, saw.
#[derive(Debug, Default)]
pub struct Report {
    /// Commands that were answered.
    pub answered: u64,
    /// Texts of error replies with the command they answered.
    pub errors: Vec<String>,
    /// Replies that contradict what was acknowledged before.
    pub wrong: Vec<String>,
    /// Commands that were executed more often than they were sent.
    pub doubled: Vec<String>,
    /// How connections were lost.
    pub lost: Vec<String>,
    counters: Vec<(String, Counter)>,
}

/// What is known of one counter key: `acknowledged` increments, and some that may or may not have happened.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    acknowledged: i64,
    unknown: i64,
}

impl Load {
    /// Starts `clients` clients of the server or proxy on `port`.
    pub fn start(port: u16, clients: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let start_one = |id| {
            let mut worker = Worker::new(id, RawClient::connect(port));
            let (stop, done) = (stop.clone(), done.clone());
            thread::spawn(move || worker.run(&stop, &done))
        };
        let threads = (0..clients).map(start_one).collect();
        Load { stop, done, threads }
    }

    /// Waits until `n` more commands were answered.
    pub fn wait_answered(&self, n: u64) {
        let goal = self.done.load(Ordering::Relaxed) + n;
        wait_until(&format!("{n} more commands answered"), Duration::from_secs(60), || {
            self.done.load(Ordering::Relaxed) >= goal
        });
    }

    /// Ends all clients and returns what they saw together.
    pub fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Report::default();
        for thread in self.threads {
            all.add(thread.join().expect("a load client"));
        }
        all
    }
}

impl Report {
    /// Panics unless every command was answered, rightly and without an error.
    pub fn assert_clean(&self) {
        assert!(self.answered > 0, "nothing was answered");
        assert!(self.errors.is_empty(), "{} errors, first {:?}", self.errors.len(), first(&self.errors));
        assert!(self.wrong.is_empty(), "{} wrong replies, first {:?}", self.wrong.len(), first(&self.wrong));
        self.assert_connected();
    }

    /// Panics when a client lost its connection or a command was executed twice.
    pub fn assert_connected(&self) {
        assert!(self.lost.is_empty(), "{} lost connections, first {:?}", self.lost.len(), first(&self.lost));
        assert!(
            self.doubled.is_empty(),
            "{} doubled writes, first {:?}",
            self.doubled.len(),
            first(&self.doubled)
        );
    }

    /// Panics unless all counters hold what was acknowledged, and nothing beyond what may have happened.
    pub fn assert_counted(&self, mut client: RawClient) {
        for (key, counter) in &self.counters {
            let value: i64 = frame::text(&client.call(&["GET", key])).parse().unwrap_or(0);
            let range = counter.acknowledged..=counter.acknowledged + counter.unknown;
            assert!(range.contains(&value), "{key} is {value}, should be in {range:?}");
        }
    }

    fn add(&mut self, other: Report) {
        self.answered += other.answered;
        self.errors.extend(other.errors);
        self.wrong.extend(other.wrong);
        self.doubled.extend(other.doubled);
        self.lost.extend(other.lost);
        self.counters.extend(other.counters);
    }
}

fn first(texts: &[String]) -> &[String] {
    &texts[..texts.len().min(3)]
}

struct Worker {
    id: usize,
    client: RawClient,
    report: Report,
}

/// The commands of one round and what they write.
struct Round {
    counter: usize,
    key: String,
    value: String,
    several: Vec<String>,
}

impl Worker {
    fn new(id: usize, client: RawClient) -> Self {
        let counters = (0..KEYS).map(|k| (format!("load:{id}:count:{k}"), Counter::default())).collect();
        Worker { id, client, report: Report { counters, ..Report::default() } }
    }

    fn run(&mut self, stop: &AtomicBool, done: &AtomicU64) -> Report {
        let mut n = 0;
        self.forget_earlier_runs();
        while !stop.load(Ordering::Relaxed) {
            if let Err(e) = self.round(n) {
                self.report.lost.push(format!("client {} in round {n}: {e}", self.id));
                break;
            }
            n += 1;
            done.fetch_add(ROUND, Ordering::Relaxed);
        }
        std::mem::take(&mut self.report)
    }

    fn forget_earlier_runs(&mut self) {
        for (key, _) in &self.report.counters {
            self.client.call(&["DEL", key]);
        }
    }

    fn round(&mut self, n: u64) -> io::Result<()> {
        let k = n % KEYS;
        let round = Round {
            counter: usize::try_from(k).unwrap(),
            key: format!("load:{}:value:{k}", self.id),
            value: format!("{}-{n}", self.id),
            several: (0..4).map(|i| format!("load:{}:several:{k}:{i}", self.id)).collect(),
        };
        self.client.try_send(&self.requests(&round))?;
        let mut replies = Vec::new();
        for _ in 0..ROUND {
            replies.push(self.client.try_frame()?);
        }
        self.report.answered += ROUND;
        self.check_count(&round, &replies[0]);
        self.check_written(&round, &replies[1..]);
        Ok(())
    }

    fn requests(&self, round: &Round) -> Vec<u8> {
        let (key, value) = (round.key.as_str(), round.value.as_str());
        let pairs = round.several.iter().flat_map(|k| [k.as_str(), value]);
        let keys = round.several.iter().map(String::as_str);
        [
            frame::request(&["INCR", self.report.counters[round.counter].0.as_str()]),
            frame::request(&["SET", key, value]),
            frame::request(&["GET", key]),
            frame::request(&["MSET"].into_iter().chain(pairs).collect::<Vec<_>>()),
            frame::request(&["MGET"].into_iter().chain(keys).collect::<Vec<_>>()),
        ]
        .concat()
    }

    fn check_count(&mut self, round: &Round, reply: &[u8]) {
        let (key, counter) = &mut self.report.counters[round.counter];
        if frame::is_error(reply) {
            counter.unknown += 1;
            self.report.errors.push(format!("INCR: {}", frame::text(reply)));
            return;
        }
        let value = frame::integer(reply);
        let range = counter.acknowledged + 1..=counter.acknowledged + 1 + counter.unknown;
        if value > *range.end() {
            self.report.doubled.push(format!("{key} is {value}, should be in {range:?}"));
        } else if value < *range.start() {
            self.report.wrong.push(format!("{key} is {value}, should be in {range:?}"));
        }
        *counter = Counter { acknowledged: value, unknown: 0 };
    }

    fn check_written(&mut self, round: &Round, replies: &[Vec<u8>]) {
        let value = frame::request(&[round.value.as_str()]).split_off(4);
        let values = [b"*4\r\n".to_vec(), value.repeat(4)].concat();
        let written = [b"+OK\r\n".to_vec(), value, b"+OK\r\n".to_vec(), values];
        for (i, name) in ["SET", "GET", "MSET", "MGET"].iter().enumerate() {
            let reply = &replies[i];
            let write_failed = i % 2 == 1 && frame::is_error(&replies[i - 1]);
            if frame::is_error(reply) {
                self.report.errors.push(format!("{name}: {}", frame::text(reply)));
            } else if *reply != written[i] && !write_failed {
                self.report.wrong.push(format!("{name}: {} instead of {}", show(reply), show(&written[i])));
            }
        }
    }
}
