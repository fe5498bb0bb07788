//! Clients of all kinds. They know what may be answered, count errors by their text, and connect again when they have
//! lost their connection, which they must not.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::frame::{body, is_error, items, request, show, text};
use crate::support::wait::let_pass;
use crate::support::RawClient;

/// Between two rounds of one client: a load that leaves room for what else the machine does.
const PAUSE: Duration = Duration::from_millis(3);

/// What clients saw.
#[derive(Debug, Default)]
pub struct Tally {
    requests: u64,
    errors: BTreeMap<String, u64>,
    /// Replies that cannot be.
    wrong: Vec<String>,
    /// Values that were acknowledged and are gone: a cluster loses them when a primary dies.
    stale: u64,
    lost: Vec<String>,
    popped: HashSet<String>,
    messages: u64,
    /// Times that a subscriber heard nothing for a while.
    silences: u64,
}

type Job = fn(&mut Seat) -> io::Result<()>;

const JOBS: &[(&str, Job)] = &[
    ("plain", plain),
    ("plain", plain),
    ("plain", plain),
    ("split", split),
    ("split", split),
    ("transaction", transaction),
    ("pipeline", pipeline),
    ("push", push),
    ("pop", pop),
    ("pop", pop),
    ("publish", publish),
    ("subscribe", subscribe),
    ("large", large),
    ("visit", visit),
];

/// All clients, each in a thread of its own.
pub struct Jobs {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Tally>>,
}

impl Jobs {
    pub fn start(port: u16) -> Jobs {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |(id, (name, job)): (usize, &(&'static str, Job))| {
            let (stop, name, job) = (Arc::clone(&stop), *name, *job);
            thread::spawn(move || work(port, id, name, job, &stop))
        };
        Jobs { threads: JOBS.iter().enumerate().map(start).collect(), stop }
    }

    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        self.threads.into_iter().for_each(|t| all.add(t.join().expect("a client")));
        all
    }
}

fn work(port: u16, id: usize, name: &'static str, job: Job, stop: &AtomicBool) -> Tally {
    let mut seat = Seat { port, id, n: 0, client: RawClient::connect(port), tally: Tally::default() };
    while !stop.load(Ordering::Relaxed) {
        seat.n += 1;
        if let Err(e) = job(&mut seat) {
            seat.tally.lost.push(format!("{name}: {e}"));
            seat.client = RawClient::connect(port);
        }
        let_pass(PAUSE);
    }
    seat.tally
}

/// One client at work.
struct Seat {
    port: u16,
    id: usize,
    n: u64,
    client: RawClient,
    tally: Tally,
}

impl Seat {
    /// A reply that is no error.
    fn ask(&mut self, args: &[&str]) -> io::Result<Option<Vec<u8>>> {
        let reply = self.client.try_call(args)?;
        Ok(self.take(reply))
    }

    fn take(&mut self, reply: Vec<u8>) -> Option<Vec<u8>> {
        self.tally.requests += 1;
        if !is_error(&reply) {
            return Some(reply);
        }
        let digits = |c: char| if c.is_ascii_digit() { '0' } else { c };
        let mut kind: String = text(&reply).chars().map(digits).collect();
        while kind.contains("00") {
            kind = kind.replace("00", "0");
        }
        *self.tally.errors.entry(kind).or_default() += 1;
        None
    }

    fn expect(&mut self, right: bool, what: impl FnOnce() -> String) {
        if !right {
            self.tally.wrong.push(what());
        }
    }
}

fn plain(s: &mut Seat) -> io::Result<()> {
    let (key, value) = (format!("plain:{}:{}", s.id, s.n % 200), format!("{}-{}", s.id, s.n));
    s.ask(&["INCR", &format!("count:{}:{}", s.id, s.n % 200)])?;
    let written = s.ask(&["SET", &key, &value])?.is_some();
    let Some(reply) = s.ask(&["GET", &key])? else { return Ok(()) };
    // Nobody else writes there, so it is this value or one before it.
    let own = reply == b"$-1\r\n" || text(&reply).starts_with(&format!("{}-", s.id));
    s.expect(own, || format!("GET {key}: {}", show(&reply)));
    s.tally.stale += u64::from(written && text(&reply) != value);
    Ok(())
}

fn split(s: &mut Seat) -> io::Result<()> {
    let keys: Vec<String> = (0..20).map(|i| format!("split:{}:{}:{i}", s.id, s.n % 20)).collect();
    let value = format!("{}-{}", s.id, s.n);
    let pairs: Vec<&str> = keys.iter().flat_map(|k| [k.as_str(), &value]).collect();
    s.ask(&[&["MSET"], &pairs[..]].concat())?;
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    if let Some(reply) = s.ask(&[&["MGET"], &names[..]].concat())? {
        let of_own = |v: &&[u8]| *v == b"$-1\r\n" || text(v).starts_with(&format!("{}-", s.id));
        let right = items(&reply).len() == 20 && items(&reply).iter().all(of_own);
        s.expect(right, || format!("MGET: {}", show(&reply)));
    }
    Ok(())
}

fn transaction(s: &mut Seat) -> io::Result<()> {
    let tag = s.n % 100;
    if s.n % 3 == 0 {
        s.ask(&["WATCH", &format!("{{tx{tag}}}:a")])?;
    }
    s.ask(&["MULTI"])?;
    s.ask(&["SET", &format!("{{tx{tag}}}:a"), "1"])?;
    s.ask(&["INCR", &format!("{{tx{tag}}}:b")])?;
    if let Some(reply) = s.ask(&["EXEC"])? {
        let right = reply == b"*-1\r\n" || items(&reply).len() == 2;
        s.expect(right, || format!("EXEC: {}", show(&reply)));
    }
    Ok(())
}

fn pipeline(s: &mut Seat) -> io::Result<()> {
    let echo = |i: u64| format!("{}-{i}", s.id);
    let bytes: Vec<u8> = (0..100)
        .flat_map(|i| match i % 2 {
            0 => request(&["GET", &format!("plain:0:{i}")]),
            _ => request(&["ECHO", &echo(i)]),
        })
        .collect();
    s.client.try_send(&bytes)?;
    for i in 0..100 {
        let reply = s.client.try_frame()?;
        let reply = s.take(reply);
        let right = i % 2 == 0 || reply.as_deref().map(text) == Some(format!("{}-{i}", s.id));
        s.expect(right, || format!("ECHO {i} in a pipeline: {reply:?}"));
    }
    Ok(())
}

fn push(s: &mut Seat) -> io::Result<()> {
    s.ask(&["RPUSH", &format!("queue:{}", s.n % 4), &format!("{}-{}", s.id, s.n)])?;
    Ok(())
}

fn pop(s: &mut Seat) -> io::Result<()> {
    if let Some(reply) = s.ask(&["BLPOP", &format!("queue:{}", s.n % 4), "1"])? {
        if let [_, value] = items(&reply)[..] {
            let value = String::from_utf8_lossy(body(value)).into_owned();
            s.tally.popped.insert(value);
        }
    }
    Ok(())
}

fn publish(s: &mut Seat) -> io::Result<()> {
    s.ask(&["PUBLISH", "soak", "message"])?;
    Ok(())
}

fn subscribe(s: &mut Seat) -> io::Result<()> {
    // Comes and goes, so that topics do, too.
    let mut client = RawClient::try_connect(s.port)?;
    let own = format!("soak:{}", s.n % 50);
    client.try_send(&request(&["SUBSCRIBE", "soak", &own]))?;
    client.set_patience(Duration::from_secs(2));
    for _ in 0..30 {
        match client.try_frame() {
            Ok(_) => s.tally.messages += 1,
            // Nobody publishes while the node is away, or any more.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => s.tally.silences += 1,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn large(s: &mut Seat) -> io::Result<()> {
    let value = "v".repeat(1 << 20);
    let_pass(Duration::from_millis(100));
    let key = format!("large:{}", s.n % 8);
    s.ask(&["SET", &key, &value])?;
    if let Some(reply) = s.ask(&["GET", &key])? {
        let right = reply == b"$-1\r\n" || body(&reply) == value.as_bytes();
        s.expect(right, || format!("GET {key} gave {} bytes", reply.len()));
    }
    Ok(())
}

fn visit(s: &mut Seat) -> io::Result<()> {
    let mut client = RawClient::try_connect(s.port)?;
    client.try_send(&request(&["GET", "plain:0:1"]))?;
    // Some go without waiting for the reply.
    if s.n % 2 == 0 {
        let reply = client.try_frame()?;
        s.take(reply);
    }
    Ok(())
}

impl Tally {
    fn add(&mut self, o: Tally) {
        self.requests += o.requests;
        self.stale += o.stale;
        self.messages += o.messages;
        self.silences += o.silences;
        self.wrong.extend(o.wrong);
        self.lost.extend(o.lost);
        o.errors.into_iter().for_each(|(text, n)| *self.errors.entry(text).or_default() += n);
        for value in o.popped {
            // A new primary may not have heard that a value was popped from the old one.
            self.stale += u64::from(!self.popped.insert(value));
        }
    }

    pub fn assert_right(&self) {
        assert!(self.requests > 0 && self.messages > 0 && !self.popped.is_empty());
        assert!(
            self.wrong.is_empty(),
            "{} wrong: {:?}",
            self.wrong.len(),
            &self.wrong[..self.wrong.len().min(5)]
        );
        assert!(self.lost.is_empty(), "{} lost: {:?}", self.lost.len(), &self.lost[..self.lost.len().min(5)]);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wrong, lost, popped) = (self.wrong.len(), self.lost.len(), self.popped.len());
        let (requests, stale, messages, silences) = (self.requests, self.stale, self.messages, self.silences);
        write!(
            f,
            "{requests} requests, {wrong} wrong, {lost} connections lost, {stale} lost by the cluster, \
             {popped} popped, {messages} messages, {silences} silences; errors:"
        )?;
        self.errors.iter().try_for_each(|(text, n)| write!(f, "\n{n:8} {text}"))
    }
}
