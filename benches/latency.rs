//! Latency at a fixed rate: requests are sent when their time has come, whether earlier ones are answered or not (open
//! loop), so a server that stalls cannot slow the load down.
//!
//! ```text
//! cargo bench --bench latency -- direct=6379 relay=6380 proxy=8088
//! cargo bench --bench latency -- --rate 10000 --clients 20 --seconds 5 --turns 5 direct=6379 proxy=8088
//! cargo bench --bench latency -- --clients 50 --beside 100000 proxy=8088
//! ```
//!
//! Each target (a name and a port of this host) gets the load in turn. Printed are the medians over all turns of the 50th
//! and 99th percentile in microseconds, and what they are beside the first target in the same turn. A client is two
//! threads, one that sends GET and SET by turns and one that reads. With `--beside` each target gets the load twice in a
//! turn: alone, and beside one more client that sends so many commands in one pipeline, again and again; then its second
//! line is what that does to the others.

#![allow(clippy::disallowed_methods)] // It is a client, and times what it sees.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// What the command line asks for.
struct Wish {
    rate: u64,
    clients: u64,
    seconds: u64,
    turns: usize,
    /// Commands in a pipeline of the client beside; 0 without one.
    beside: u64,
    targets: Vec<(String, u16)>,
}

/// Percentiles in microseconds.
#[derive(Clone, Copy)]
struct Seen {
    p50: f64,
    p99: f64,
}

fn main() -> ExitCode {
    match wish(std::env::args().skip(1)) {
        Ok(wish) if wish.targets.is_empty() => {
            println!("latency: no targets, see the head of benches/latency.rs")
        }
        Ok(wish) => run(&wish),
        Err(error) => {
            eprintln!("latency: {error}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn wish(mut args: impl Iterator<Item = String>) -> Result<Wish, String> {
    let mut wish = Wish { rate: 10_000, clients: 20, seconds: 5, turns: 3, beside: 0, targets: Vec::new() };
    while let Some(arg) = args.next() {
        if arg == "--bench" {
            continue;
        }
        let (what, text) = match arg.split_once('=') {
            Some((name, port)) => (name.to_owned(), port.to_owned()),
            None => (arg, args.next().unwrap_or_default()),
        };
        let number: u64 = text.parse().map_err(|_| format!("{what} {text:?}: want a number"))?;
        match what.as_str() {
            "--rate" => wish.rate = number.max(1),
            "--clients" => wish.clients = number.max(1),
            "--seconds" => wish.seconds = number.max(1),
            "--beside" => wish.beside = number,
            "--turns" => wish.turns = number.max(1) as usize,
            _ => wish.targets.push((what, number as u16)),
        }
    }
    Ok(wish)
}

fn run(wish: &Wish) {
    // By turn and target: alone, and beside a pipeline.
    let one = |port| (load(wish, port), (wish.beside > 0).then(|| load_beside(wish, port)));
    let turns: Vec<Vec<(Seen, Option<Seen>)>> =
        (0..wish.turns).map(|_| wish.targets.iter().map(|(_, port)| one(*port)).collect()).collect();
    for (i, (name, _)) in wish.targets.iter().enumerate() {
        let pairs: Vec<_> = turns.iter().map(|turn| (turn[i].0, turn[0].0)).collect();
        println!("{name:12} {}", medians(&pairs));
        let pairs: Vec<_> = turns.iter().filter_map(|turn| Some((turn[i].1?, turn[i].0))).collect();
        if !pairs.is_empty() {
            println!("{:12} {}   beside a pipeline of {}", "", medians(&pairs), wish.beside);
        }
    }
}

/// Medians of what was seen and of its ratio to something else.
fn medians(pairs: &[(Seen, Seen)]) -> String {
    let of = |what: fn(&Seen) -> f64| {
        let value = median(pairs.iter().map(|(seen, _)| what(seen)).collect());
        (value, median(pairs.iter().map(|(seen, base)| what(seen) / what(base)).collect()))
    };
    let ((p50, p50_ratio), (p99, p99_ratio)) = (of(|s| s.p50), of(|s| s.p99));
    format!("p50 {p50:7.0} us ({p50_ratio:.2})   p99 {p99:7.0} us ({p99_ratio:.2})")
}

/// One turn of one target, beside a client that sends a long pipeline again and again.
fn load_beside(wish: &Wish, port: u16) -> Seen {
    let stop = Arc::new(AtomicBool::new(false));
    let (told, depth) = (Arc::clone(&stop), wish.beside);
    let neighbour = thread::spawn(move || {
        let pipeline: String = (0..depth).map(|i| command(1_000_003, i)).collect();
        while !told.load(Ordering::Relaxed) {
            send_at_once(port, &pipeline, depth);
        }
    });
    let seen = load(wish, port);
    stop.store(true, Ordering::Relaxed);
    neighbour.join().expect("a neighbour");
    seen
}

/// One turn of one target.
fn load(wish: &Wish, port: u16) -> Seen {
    let each = wish.rate * wish.seconds / wish.clients;
    let pause = Duration::from_nanos(1_000_000_000 * wish.clients / wish.rate);
    let begin = Instant::now() + Duration::from_millis(50);
    let clients: Vec<_> = (0..wish.clients)
        .map(|i| {
            // Clients are spread over the time between two requests of one.
            let first = begin + pause * i as u32 / wish.clients as u32;
            thread::spawn(move || client(port, i, first, pause, each))
        })
        .collect();
    let mut all: Vec<u64> = clients.into_iter().flat_map(|c| c.join().expect("a client")).collect();
    all.sort_unstable();
    let percentile = |p: usize| all[(all.len() - 1) * p / 100] as f64 / 1000.0;
    Seen { p50: percentile(50), p99: percentile(99) }
}

/// Sends a pipeline and reads all of its replies.
fn send_at_once(port: u16, pipeline: &str, depth: u64) {
    let mut stream = connect(port);
    let mut sender = stream.try_clone().expect("a descriptor");
    thread::scope(|scope| {
        scope.spawn(move || sender.write_all(pipeline.as_bytes()).expect("a connection"));
        let (mut bytes, mut buffer, mut replies) = (Vec::new(), vec![0; 1 << 16], 0);
        while replies < depth {
            let count = stream.read(&mut buffer).expect("a reply");
            assert!(count > 0, "the connection was closed");
            bytes.extend_from_slice(&buffer[..count]);
            let mut at = 0;
            while let Some(len) = reply_len(&bytes[at..]) {
                (at, replies) = (at + len, replies + 1);
            }
            bytes.drain(..at);
        }
    });
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).expect("a listener");
    stream.set_nodelay(true).expect("a socket option");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket option");
    stream
}

/// SET and GET by turns.
fn command(client: u64, i: u64) -> String {
    let key = format!("lat:{:012}", (client * 7919 + i * 104_729) % 1_000_000);
    match i % 2 {
        0 => format!("*3\r\n$3\r\nSET\r\n$16\r\n{key}\r\n$3\r\nxyz\r\n"),
        _ => format!("*2\r\n$3\r\nGET\r\n$16\r\n{key}\r\n"),
    }
}

/// One client: nanoseconds of each of its requests.
fn client(port: u16, number: u64, first: Instant, pause: Duration, count: u64) -> Vec<u64> {
    let stream = connect(port);
    let mut sender = stream.try_clone().expect("a descriptor");
    let origin = Instant::now();
    let sent: Arc<Vec<AtomicU64>> = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
    let times = Arc::clone(&sent);
    let writer = thread::spawn(move || {
        for i in 0..count {
            thread::sleep((first + pause * i as u32).saturating_duration_since(Instant::now()));
            let request = command(number, i);
            times[i as usize].store(origin.elapsed().as_nanos() as u64, Ordering::Release);
            sender.write_all(request.as_bytes()).expect("a connection");
        }
    });
    let latencies = read(stream, &sent, origin);
    writer.join().expect("a writer");
    latencies
}

/// Reads a reply for each request: `+OK`, a null or three bytes.
fn read(mut stream: TcpStream, sent: &[AtomicU64], origin: Instant) -> Vec<u64> {
    let mut latencies = Vec::with_capacity(sent.len());
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while latencies.len() < sent.len() {
        let count = stream.read(&mut buffer).expect("a reply");
        assert!(count > 0, "the connection was closed");
        let now = origin.elapsed().as_nanos() as u64;
        bytes.extend_from_slice(&buffer[..count]);
        while let Some(len) = reply_len(&bytes) {
            bytes.drain(..len);
            latencies.push(now.saturating_sub(sent[latencies.len()].load(Ordering::Acquire)));
        }
    }
    latencies
}

fn reply_len(bytes: &[u8]) -> Option<usize> {
    let len = match bytes.get(..2)? {
        b"+O" | b"$-" => 5,
        b"$3" => 9,
        _ => panic!("an unexpected reply: {}", String::from_utf8_lossy(bytes)),
    };
    (bytes.len() >= len).then_some(len)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
