//! Hostile and unlucky clients: what they do to memory and to the others.
//!
//! Each attack runs beside clients that measure how long their commands take, before it and during it, in the same run.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::cluster;
use crate::support::frame::request;
use crate::support::wait::{eventually, let_pass, timed};
use crate::support::{wait_until, Cluster, Proxy, RawClient};

/// Memory that may be left when an attack is over.
const LEFT_KIB: u64 = 16 * 1024;
/// What the machine may add to a percentile, besides the factor.
const NOISE: Duration = Duration::from_millis(40);
/// Attempts, of which one has to be quiet enough.
const ATTEMPTS: u32 = 4;

/// The 99th percentile of what three clients measure, each with a thousand commands a second at most: what attackers get
/// done is up to the proxy, not to how much of the processors these leave.
fn p99(port: u16, password: Option<&str>) -> Duration {
    let measure = || {
        let mut c = RawClient::connect(port);
        if let Some(password) = password {
            assert_eq!(c.call(&["AUTH", password]), b"+OK\r\n");
        }
        let one = |i: usize| {
            let_pass(Duration::from_millis(1));
            timed(|| assert_eq!(c.call(&["SET", &format!("calm:{i}"), "1"]), b"+OK\r\n")).1
        };
        (0..1000).map(one).collect::<Vec<Duration>>()
    };
    let mut all: Vec<Duration> = thread::scope(|scope| {
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(measure)).collect();
        clients.into_iter().flat_map(|c| c.join().unwrap()).collect()
    });
    all.sort_unstable();
    all[all.len() * 99 / 100]
}

/// Runs `attack` in a thread until it is told to stop; others must hardly notice, and memory must return.
fn others_hardly_notice(name: &str, flags: &[&str], attack: impl Fn(u16, &AtomicBool) -> u64 + Sync) {
    others_hardly_notice_on(cluster(), name, flags, attack);
}

fn others_hardly_notice_on(
    cluster: &Cluster,
    name: &str,
    flags: &[&str],
    attack: impl Fn(u16, &AtomicBool) -> u64 + Sync,
) {
    let flags: Vec<&str> = ["-max-procs", "2"].iter().chain(flags).copied().collect();
    let mut proxy = Proxy::with_admin(cluster, &flags);
    let password = flags.iter().position(|f| *f == "-password").map(|i| flags[i + 1]);
    let before = proxy.rss_kib();
    let stop = AtomicBool::new(false);
    let (mut calm, mut attacked) = (Duration::ZERO, Duration::MAX);
    let acts = thread::scope(|scope| {
        let mut acts = 0;
        // Also when a measurement fails: the attacker would go on for ever.
        let _stop = OnDrop(|| stop.store(true, Ordering::Relaxed));
        for _ in 0..ATTEMPTS {
            stop.store(false, Ordering::Relaxed);
            calm = calm.max(p99(proxy.port, password));
            let attacker = scope.spawn(|| {
                step_back();
                attack(proxy.port, &stop)
            });
            attacked = attacked.min(p99(proxy.port, password));
            stop.store(true, Ordering::Relaxed);
            acts += attacker.join().unwrap();
            if attacked <= calm * 2 + NOISE {
                break;
            }
        }
        acts
    });
    let peak = proxy.peak_rss_kib().saturating_sub(before);
    println!("{name}: {acts} acts; p99 {calm:?}, attacked {attacked:?}; {peak} KiB more at the peak");
    assert!(acts > 0, "nothing happened");
    assert!(attacked <= calm * 2 + NOISE, "{name}: p99 {calm:?} became {attacked:?}");
    proxy.assert_alive();
    wait_until("the attackers are forgotten", Duration::from_secs(20), || {
        proxy.metric_sum("proxy_clients ") == 0.0
    });
    let left = || proxy.rss_kib().saturating_sub(before);
    let returned = eventually(Duration::from_secs(10), || left() < LEFT_KIB);
    assert!(returned, "{name}: {} KiB more than before", left());
}

/// Does something at the end of a scope, however that is left.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Attackers come from other machines: this thread gets only what nobody else wants of this one.
fn step_back() {
    let me = std::fs::read_link("/proc/thread-self").unwrap();
    let id = me.file_name().and_then(|name| name.to_str()).unwrap();
    let done = Command::new("chrt").args(["--idle", "--pid", "0", id]).status().unwrap();
    assert!(done.success(), "chrt --idle --pid 0 {id}");
}

fn connect(port: u16) -> Option<TcpStream> {
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.set_write_timeout(Some(Duration::from_secs(5))).ok()?;
    Some(stream)
}

/// Does something again and again; how often.
fn again(stop: &AtomicBool, mut act: impl FnMut()) -> u64 {
    let mut acts = 0;
    while !stop.load(Ordering::Relaxed) {
        act();
        acts += 1;
    }
    acts
}

#[test]
fn a_storm_of_connections() {
    others_hardly_notice("connect and close", &[], |port, stop| again(stop, || drop(connect(port))));
}

#[test]
fn a_storm_of_visits() {
    others_hardly_notice("connect, ask, go", &[], |port, stop| {
        again(stop, || {
            if let Some(mut s) = connect(port) {
                let _ = s.write_all(b"PING\r\n").and_then(|()| s.read(&mut [0; 16]));
            }
        })
    });
}

/// Requests without end from clients that read nothing.
#[test]
fn pipelines_that_nobody_reads() {
    others_hardly_notice("pipelines without reading", &["-client-output-limit", "4mb"], |port, stop| {
        let mut crowd: Vec<TcpStream> = (0..8).filter_map(|_| connect(port)).collect();
        crowd.iter().for_each(|s| s.set_nonblocking(true).unwrap());
        let bytes = [request(&["GET", "calm:1"]), request(&["ECHO", &"e".repeat(1000)])].concat().repeat(50);
        again(stop, || {
            let taken = crowd.iter_mut().filter_map(|s| s.write(&bytes).ok()).count();
            if taken == 0 {
                let_pass(Duration::from_millis(5));
            }
        })
    });
}

/// Each of them is below the limit of one client.
#[test]
fn a_crowd_that_together_holds_too_much() {
    let mut proxy = Proxy::with_admin(cluster(), &["-max-procs", "2", "-max-memory", "64mb"]);
    let mut other = proxy.client();
    assert_eq!(other.call(&["SET", "crowd:large", &"l".repeat(1 << 20)]), b"+OK\r\n");
    let before = proxy.rss_kib();
    let mut crowd = Vec::new();
    for _ in 0..60 {
        let mut s = connect(proxy.port).unwrap();
        s.write_all(&request(&["GET", "crowd:large"]).repeat(24)).unwrap();
        crowd.push(s);
        assert_eq!(other.line("PING"), b"+PONG\r\n");
    }
    wait_until("some are closed", Duration::from_secs(30), || {
        proxy.metric_sum("memory_limit_closes_total ") > 0.0
    });
    assert_eq!(other.call(&["SET", "crowd:small", "1"]), b"+OK\r\n");
    let more = (proxy.peak_rss_kib() - before) / 1024;
    println!("60 clients that read nothing: {more} MiB more at the peak with -max-memory 64mb");
    assert!(more < 200, "{more} MiB more than before with -max-memory 64mb");
    proxy.assert_alive();
}

/// A hundred clients that send a byte now and then, 10 KB/s together.
#[test]
fn trickles() {
    others_hardly_notice("trickles", &[], |port, stop| {
        let mut crowd: Vec<TcpStream> = (0..100).filter_map(|_| connect(port)).collect();
        let bytes = request(&["SET", "trickle", &"t".repeat(5000)]);
        let mut at = 0;
        again(stop, || {
            crowd.iter_mut().for_each(|s| drop(s.write(&bytes[at..=at])));
            at = (at + 1) % bytes.len();
            let_pass(Duration::from_millis(10));
        })
    });
}

const MALFORMED: &[&[u8]] = &[
    b"*-2\r\n",
    b"*1048577\r\n",
    b"*99999999999999999999\r\n",
    b"*x\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$536870913\r\n",
    b"*1\r\n$99999999999999999999\r\n",
    b"*1\r\n:1\r\n",
    b"*1\r\n$1\r\nabc\r\n*1\r\n$4\r\nPING\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\n\r\n\r\n$1\r\nx",
    b"SET \"unbalanced\r\n",
    b"\0\0\0\0\r\n\xff\xfe\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"$5\r\nhello\r\n-ERR x\r\n:1\r\n%1\r\n",
    b"*0\r\n*-1\r\n\r\n\r\n*\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello \r\n",
];

#[test]
fn everything_malformed() {
    others_hardly_notice("malformed input", &[], |port, stop| {
        let mut turn = 0;
        let mut sink = [0; 4096];
        again(stop, || {
            if let Some(mut s) = connect(port) {
                let _ = s.write_all(MALFORMED[turn % MALFORMED.len()]);
                let _ = s.shutdown(std::net::Shutdown::Write);
                while s.read(&mut sink).is_ok_and(|n| n > 0) {}
            }
            turn += 1;
        })
    });
}

/// Lengths are announced and nothing comes: nothing is held for them.
#[test]
fn lengths_that_never_come_cost_no_memory() {
    let mut proxy = Proxy::start(cluster(), &["-max-procs", "2"]);
    let before = proxy.rss_kib();
    let mut crowd = Vec::new();
    for i in 0..500 {
        let mut s = connect(proxy.port).unwrap();
        let announced: &[u8] =
            [&b"*1048576\r\n$536870912\r\n"[..], b"*2\r\n$3\r\nGET\r\n$536870912\r\nabc"][i % 2];
        s.write_all(announced).unwrap();
        crowd.push(s);
    }
    let mut other = proxy.client();
    (0..100).for_each(|_| assert_eq!(other.line("PING"), b"+PONG\r\n"));
    let grown = proxy.peak_rss_kib().saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB for 500 clients that have sent 30 bytes each");
    proxy.assert_alive();
}

/// With a cluster of its own, as that has to have a password, too.
#[test]
fn a_flood_of_strangers() {
    let cluster = Cluster::with(3, 0, &["--requirepass", "secret", "--masterauth", "secret"]);
    others_hardly_notice_on(&cluster, "strangers", &["-password", "secret"], |port, stop| {
        let mut crowd: Vec<TcpStream> = (0..50).filter_map(|_| connect(port)).collect();
        crowd.iter().for_each(|s| s.set_nonblocking(true).unwrap());
        let bytes = [request(&["GET", "calm:1"]), request(&["SET", "calm:1", &"x".repeat(15_000)])].concat();
        again(stop, || {
            let taken = crowd.iter_mut().filter_map(|s| s.write(&bytes).ok()).count();
            if taken == 0 {
                let_pass(Duration::from_millis(5));
            }
        })
    });
}

/// Who does not say the password is shown the door, whatever else it says.
#[test]
fn strangers_are_closed_after_the_auth_timeout() {
    let nodes = cluster().startup_nodes();
    let proxy = Proxy::launch(&nodes, &["-max-procs", "2", "-password", "secret", "-auth-timeout", "1s"]);
    let (mut silent, mut busy, mut slow) = (proxy.client(), proxy.client(), proxy.client());
    let mut known = proxy.client();
    assert_eq!(known.call(&["AUTH", "secret"]), b"+OK\r\n");
    slow.send(b"*2\r\n$4\r\nAUTH\r\n$6\r\nsec");
    let busy_ended = eventually(Duration::from_secs(20), || busy.try_call(&["PING"]).is_err());
    assert!(busy_ended, "a stranger that keeps talking is closed, too");
    assert_eq!(silent.until_closed(), b"");
    assert_eq!(slow.until_closed(), b"");
    assert_eq!(known.line("ECHO x"), b"$1\r\nx\r\n");
}

/// The limit holds on all workers during a storm, is told in the server's words, and is free again afterwards.
#[test]
fn the_limit_of_clients_holds_in_a_storm() {
    let proxy = Proxy::with_admin(cluster(), &["-max-procs", "2", "-max-clients", "40"]);
    wait_until("nobody is connected", Duration::from_secs(10), || proxy.metric_sum("proxy_clients ") == 0.0);
    let mut regulars: Vec<RawClient> = (0..40).map(|_| proxy.client()).collect();
    regulars.iter_mut().for_each(|c| assert_eq!(c.line("PING"), b"+PONG\r\n"));
    let refused = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..300 {
                    let Ok(mut c) = RawClient::try_connect(proxy.port) else { continue };
                    assert_eq!(c.until_closed(), b"-ERR max number of clients reached\r\n");
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..20 {
            regulars.iter_mut().for_each(|c| assert_eq!(c.line("GET none"), b"$-1\r\n"));
        }
    });
    assert_eq!(refused.into_inner(), 900);
    assert_eq!(proxy.metric_sum("clients_refused_total"), 900.0);
    drop(regulars);
    wait_until("there is room again", Duration::from_secs(10), || {
        RawClient::try_connect(proxy.port)
            .is_ok_and(|mut c| c.try_call(&["PING"]).is_ok_and(|r| r == b"+PONG\r\n"))
    });
}

/// On all workers, and only those who are idle.
#[test]
fn idle_clients_are_closed_and_busy_ones_are_not() {
    let flags = ["-max-procs", "2", "-client-idle-timeout", "2s"];
    let proxy = Proxy::with_admin(cluster(), &flags);
    let mut idle: Vec<RawClient> = (0..60).map(|_| proxy.client()).collect();
    let (mut busy, mut subscriber, mut blocked) = (proxy.client(), proxy.client(), proxy.client());
    subscriber.line("SUBSCRIBE idle");
    blocked.send_command(&["BLPOP", "idle:nothing", "0"]);
    let all_closed = eventually(Duration::from_secs(20), || {
        assert_eq!(busy.line("PING"), b"+PONG\r\n");
        proxy.metric_sum("proxy_clients ") == 3.0
    });
    assert!(all_closed, "{} clients are left", proxy.metric_sum("proxy_clients "));
    idle.iter_mut().for_each(|c| assert_eq!(c.until_closed(), b""));
    assert_eq!(busy.line("PUBLISH idle x").first(), Some(&b':'));
    assert_eq!(subscriber.frame(), b"*3\r\n$7\r\nmessage\r\n$4\r\nidle\r\n$1\r\nx\r\n");
    assert_eq!(busy.line("RPUSH idle:nothing v"), b":1\r\n");
    assert_eq!(blocked.frame(), b"*2\r\n$12\r\nidle:nothing\r\n$1\r\nv\r\n");
}

/// The system is asked to probe silent clients, so that half-open connections end.
#[test]
fn silent_clients_are_probed() {
    let proxy = Proxy::start(cluster(), &["-max-procs", "2", "-tcp-keepalive", "77s"]);
    let client = proxy.client();
    let port = client.stream().local_addr().unwrap().port();
    // `sl local remote state queues timer:when ...`: timer 2 is keepalive, when in ticks of 1/100 s.
    let timer = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let (from, to) = (format!(":{:04X}", proxy.port), format!(":{port:04X}"));
        let line = table.lines().find(|l| {
            let words: Vec<&str> = l.split_whitespace().collect();
            words.len() > 5 && words[1].ends_with(&from) && words[2].ends_with(&to)
        })?;
        let (kind, ticks) = line.split_whitespace().nth(5)?.split_once(':')?;
        Some((kind.to_owned(), u64::from_str_radix(ticks, 16).ok()?))
    };
    wait_until("the keepalive timer runs", Duration::from_secs(10), || {
        timer().is_some_and(|(kind, ticks)| kind == "02" && (7_000..=7_700).contains(&ticks))
    });
}
