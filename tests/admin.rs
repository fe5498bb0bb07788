//! The admin server over real sockets, with a worker that is only a thread with counters.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use log::LevelFilter;
use redis_cluster_proxy::config::Config;
use redis_cluster_proxy::net::admin::{spawn, AdminHandle, AdminParts};
use redis_cluster_proxy::net::channel;
use redis_cluster_proxy::net::clock::Clock;
use redis_cluster_proxy::net::mesh::{Message, WorkerHandle};
use redis_cluster_proxy::net::topology::{self, TopologyHandle};
use redis_cluster_proxy::stats::{Counters, Totals};

/// Nothing waits for it to pass but a test that fails.
const SOON: Duration = Duration::from_secs(20);

/// An admin server with one worker that answers and one that does not.
struct Admin {
    handle: AdminHandle,
    topology: TopologyHandle,
    levels: Receiver<LevelFilter>,
    _mute: channel::Receiver<Message>,
    _poll: mio::Poll,
}

impl Admin {
    /// `node` is where the topology thread asks.
    fn start(node: SocketAddr) -> Admin {
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap());
        let (busy, messages) = channel::channel(usize::MAX);
        std::thread::spawn(move || count(&messages));
        let (deaf, mute) = channel::channel(usize::MAX);
        let workers = vec![WorkerHandle::new(busy, Arc::clone(&waker)), WorkerHandle::new(deaf, waker)];
        workers[0].client_added();
        let topology = topology::spawn(config(node), Vec::new()).unwrap();
        let (sender, levels) = channel();
        let parts = AdminParts { workers, topology: topology.clone(), set_log_level: setter(sender) };
        let handle = spawn("127.0.0.1:0", parts).unwrap();
        Admin { handle, topology, levels, _mute: mute, _poll: poll }
    }

    fn get(&self, target: &str) -> Reply {
        get(self.handle.addr(), target)
    }

    fn send(&self, request: &str) -> Reply {
        send(self.handle.addr(), request)
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.handle.stop();
        self.topology.stop();
    }
}

fn get(addr: SocketAddr, target: &str) -> Reply {
    send(addr, &format!("GET {target} HTTP/1.1\r\nHost: here\r\n\r\n"))
}

fn send(addr: SocketAddr, request: &str) -> Reply {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    Reply::read(&mut stream)
}

fn setter(sender: Sender<LevelFilter>) -> Box<dyn Fn(LevelFilter) + Send + Sync> {
    let sender = Mutex::new(sender);
    Box::new(move |level| sender.lock().unwrap().send(level).unwrap())
}

/// A worker that has read one more command each time it is asked.
fn count(messages: &channel::Receiver<Message>) {
    let mut totals = Totals { counters: Counters { moved: 7, ..Counters::default() }, ..Totals::default() };
    while let Some(message) = messages.recv() {
        if let Message::Counters(sender) = message {
            totals.counters.requests += 1;
            sender.send(totals.clone());
        }
    }
}

/// A cluster of one node that answers every connection with the same text.
fn node(state: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let port = addr.port();
    let slots = format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}\r\n");
    let answer = format!("{slots}${}\r\n{state}\r\n$21\r\nredis_version:7.0.15\n\r\n", state.len());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 1024]).and_then(|_| stream.write_all(answer.as_bytes()));
        }
    });
    addr
}

fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn config(node: SocketAddr) -> Arc<Config> {
    Arc::new(Config {
        startup_nodes: vec![node.to_string()],
        connect_timeout: Duration::from_secs(1),
        slots_reload_interval: Duration::from_secs(3600),
        workers: 2,
        reply_timeout: Duration::from_secs(1),
        retry_timeout: Duration::from_secs(1),
        ..Config::for_tests()
    })
}

#[derive(Debug)]
struct Reply {
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn read(stream: &mut TcpStream) -> Reply {
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
        let body = bytes.split_off(end + 4);
        let head = String::from_utf8(bytes).unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        Reply { head, body }
    }

    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Asks until the reply is as wanted.
fn until(admin: &Admin, target: &str, what: impl Fn(&Reply) -> bool) -> Reply {
    let clock = Clock::new();
    let begun = clock.now();
    loop {
        let reply = admin.get(target);
        if what(&reply) {
            return reply;
        }
        assert!(clock.now().since(begun) < SOON, "{reply:?}");
    }
}

#[test]
fn a_covered_cluster_is_healthy() {
    let admin = Admin::start(node("cluster_state:ok"));
    let reply = until(&admin, "/healthz", |r| r.status() == 200);
    assert_eq!(reply.text(), "ok\n");
}

#[test]
fn an_unreachable_cluster_is_not_healthy_and_says_why() {
    let admin = Admin::start(nowhere());
    let reply = until(&admin, "/healthz", |r| r.text().contains("refused"));
    assert_eq!(reply.status(), 503);
}

#[test]
fn metrics_sum_the_workers_and_name_the_one_that_is_silent() {
    let admin = Admin::start(node("cluster_state:ok"));
    until(&admin, "/healthz", |r| r.status() == 200);
    let reply = admin.get("/metrics");
    assert!(reply.head.contains("Content-Type: text/plain; version=0.0.4"), "{}", reply.head);
    for line in [
        "requests_total 1",
        "moved_total 7",
        "worker_up{worker=\"0\"} 1",
        "worker_up{worker=\"1\"} 0",
        "worker_clients{worker=\"0\"} 1",
        "slots_covered 16384",
        "nodes 1",
    ] {
        assert!(reply.text().contains(&format!("redis_cluster_proxy_{line}\n")), "{line}\n{}", reply.text());
    }
    assert!(reply.text().contains("server_version=\"7.0.15\""), "{}", reply.text());
    assert!(admin.get("/metrics").text().contains("redis_cluster_proxy_requests_total 2\n"));
}

#[test]
fn the_log_level_is_handed_on() {
    let admin = Admin::start(nowhere());
    let cases = [
        ("debug", LevelFilter::Debug),
        ("info", LevelFilter::Info),
        ("warn", LevelFilter::Warn),
        ("error", LevelFilter::Error),
    ];
    for (name, level) in cases {
        let reply = admin.get(&format!("/setloglevel?level={name}"));
        assert_eq!((reply.status(), reply.text()), (200, format!("log level is {name}\n").as_str()));
        assert_eq!(admin.levels.try_recv(), Ok(level));
    }
    for target in ["/setloglevel", "/setloglevel?level=loud", "/setloglevel?lvl=info"] {
        assert_eq!(admin.get(target).status(), 400, "{target}");
    }
    assert!(admin.levels.try_recv().is_err());
}

#[test]
fn unknown_pages_list_those_there_are() {
    let admin = Admin::start(nowhere());
    for target in ["/index.html", "/nothing", "/debug/pprof/heap"] {
        let reply = admin.get(target);
        assert_eq!(reply.status(), 404);
        assert!(reply.text().contains("/healthz") && reply.text().contains("/metrics"), "{}", reply.text());
    }
    assert!(admin.get("/debug/pprof/").text().contains("go tool pprof"));
}

#[test]
fn what_is_not_a_get_is_refused() {
    let admin = Admin::start(nowhere());
    let reply = admin.send("POST /healthz HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(reply.status(), 405);
    assert!(reply.head.contains("Allow: GET\r\n"), "{}", reply.head);
    assert_eq!(admin.send("nonsense\r\n\r\n").status(), 400);
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(10_000));
    assert_eq!(admin.send(&long).status(), 431);
}

#[test]
fn a_request_may_come_in_pieces_or_not_at_all() {
    let admin = Admin::start(nowhere());
    drop(TcpStream::connect(admin.handle.addr()).unwrap());
    let mut stream = TcpStream::connect(admin.handle.addr()).unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in b"GET /nothing HTTP/1.1\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(Reply::read(&mut stream).status(), 404);
}

#[test]
fn a_busy_server_says_so_and_recovers() {
    let admin = Admin::start(nowhere());
    // Requests that never end; each has its place as soon as it is accepted, and they are accepted in order.
    let idle: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(admin.handle.addr()).unwrap()).collect();
    let mut fifth = TcpStream::connect(admin.handle.addr()).unwrap();
    let reply = Reply::read(&mut fifth);
    assert_eq!(reply.status(), 503);
    assert!(reply.text().contains("too many"), "{}", reply.text());
    for stream in &idle {
        stream.shutdown(Shutdown::Both).unwrap();
    }
    let clock = Clock::new();
    let begun = clock.now();
    // Until then a request may be refused and its connection reset.
    while !TcpStream::connect(admin.handle.addr()).is_ok_and(|s| is_served(&s)) {
        assert!(clock.now().since(begun) < SOON);
    }
}

fn is_served(mut stream: &TcpStream) -> bool {
    let mut text = String::new();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(b"GET /nothing HTTP/1.1\r\n\r\n").is_ok()
        && stream.read_to_string(&mut text).is_ok()
        && text.starts_with("HTTP/1.1 404")
}

#[test]
fn an_address_in_use_is_one_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let topology = topology::spawn(config(nowhere()), Vec::new()).unwrap();
    for (addr, expected) in [(addr.as_str(), "in use"), ("127.0.0.1", ""), ("host.invalid:1", "")] {
        let parts = AdminParts {
            workers: Vec::new(),
            topology: topology.clone(),
            set_log_level: setter(channel().0),
        };
        let error = spawn(addr, parts).expect_err("no server").to_string();
        assert!(error.starts_with(&format!("-debug-addr {addr}: ")) && error.contains(expected), "{error}");
    }
    topology.stop();
}

#[test]
fn it_stops_when_told() {
    let admin = Admin::start(nowhere());
    assert_eq!(admin.get("/nothing").status(), 404);
    admin.handle.stop();
    let clock = Clock::new();
    let begun = clock.now();
    while TcpStream::connect(admin.handle.addr()).is_ok() {
        assert!(clock.now().since(begun) < SOON);
    }
}

#[cfg(not(feature = "profile"))]
#[test]
fn without_the_feature_there_are_no_profiles() {
    let admin = Admin::start(nowhere());
    let reply = admin.get("/debug/pprof/profile?seconds=1");
    assert_eq!(reply.status(), 501);
    assert!(reply.text().contains("feature `profile`"), "{}", reply.text());
}

#[cfg(all(feature = "profile", target_pointer_width = "64"))]
mod profiles {
    use std::hint::black_box;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[inline(never)]
    fn burn_for_the_profile(stop: &AtomicBool) -> u64 {
        let mut sum = 0u64;
        while !stop.load(Ordering::Relaxed) {
            for i in 0..10_000 {
                sum = black_box(sum.wrapping_mul(31).wrapping_add(i));
            }
        }
        sum
    }

    fn unpack(gzipped: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(gzipped).read_to_end(&mut out).expect("gzip");
        out
    }

    /// Tells a thread to stop when dropped, also by a failed assertion.
    struct Stop<'a>(&'a AtomicBool);

    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Takes one profile after the other until told to stop, and gives the last.
    fn keep_profiling(addr: SocketAddr, stop: &AtomicBool) -> Vec<u8> {
        let mut last = None;
        loop {
            let reply = get(addr, "/debug/pprof/profile?seconds=1");
            match reply.status() {
                200 => last = Some(reply.body),
                status => assert!(matches!(status, 409 | 503), "{reply:?}"),
            }
            if let Some(body) = last.take_if(|_| stop.load(Ordering::Relaxed)) {
                return body;
            }
        }
    }

    #[test]
    fn a_profile_names_what_was_running_and_only_one_runs_at_a_time() {
        let admin = Admin::start(nowhere());
        let addr = admin.handle.addr();
        let (stop_burning, stop_profiling) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let _stops = [Stop(&stop_burning), Stop(&stop_profiling)];
            scope.spawn(|| burn_for_the_profile(&stop_burning));
            let profiler = scope.spawn(|| keep_profiling(addr, &stop_profiling));
            let busy = until(&admin, "/debug/pprof/profile?seconds=1", |r| r.status() == 409);
            assert!(busy.text().contains("another profile"), "{}", busy.text());
            assert_eq!(admin.get("/healthz").status(), 503);
            stop_profiling.store(true, Ordering::Relaxed);
            let body = profiler.join().unwrap();
            assert_eq!(body[..2], [0x1f, 0x8b]);
            let profile = unpack(&body);
            let name = b"burn_for_the_profile";
            assert!(profile.windows(name.len()).any(|w| w == name), "{} bytes", profile.len());
        });
    }

    #[test]
    fn the_length_is_checked() {
        let admin = Admin::start(nowhere());
        for seconds in ["0", "301", "x", ""] {
            assert_eq!(admin.get(&format!("/debug/pprof/profile?seconds={seconds}")).status(), 400);
        }
    }
}

/// It needs nothing but the metrics: no other host, no other file.
#[test]
fn the_dashboard_is_one_page_that_reads_the_metrics() {
    let admin = Admin::start(nowhere());
    let reply = admin.get("/");
    assert_eq!(reply.status(), 200);
    let page = reply.text();
    assert!(page.contains("<!doctype html>") && page.contains("fetch('/metrics'"), "{page}");
    assert!(page.len() < 10_000, "{} bytes", page.len());
    for outside in ["http://", "https://", "src=", "href=", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    // Whatever the page shows is there.
    let metrics = admin.get("/metrics");
    for name in page.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).filter(|w| w.ends_with("_total"))
    {
        assert!(metrics.text().contains(&format!("redis_cluster_proxy_{name}")), "{name}");
    }
}
