//! What the host may do to the proxy: descriptors that run out, streams that are closed or full, stops under load.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::cluster;
use crate::support::daemon::Daemon;
use crate::support::frame::{request, show};
use crate::support::keys::tag_where;
use crate::support::load::Load;
use crate::support::ports::free_port;
use crate::support::proxy::BINARY;
use crate::support::temp::TempDir;
use crate::support::wait::{eventually, timed};
use crate::support::{wait_until, Cluster, Proxy, RawClient};

const LIMIT: Duration = Duration::from_secs(30);

/// Starts the proxy by a shell that sets the scene; `exec "$0" "$@"` is the proxy.
fn start_by(scene: &str, cluster: &Cluster, dir: &Path, flags: &[&str]) -> (Daemon, u16) {
    let port = free_port();
    let (addr, nodes) = (format!("127.0.0.1:{port}"), cluster.startup_nodes());
    let mut args = vec!["-c", scene, BINARY, "-addr", &addr, "-startup-nodes", &nodes];
    args.extend(flags);
    let daemon = Daemon::start("sh", &args, &dir.join("output"));
    wait_until("the proxy serves", LIMIT, || serves(port));
    (daemon, port)
}

fn serves(port: u16) -> bool {
    RawClient::try_connect(port)
        .is_ok_and(|mut c| c.try_call(&["SET", "up", "1"]).is_ok_and(|r| r == b"+OK\r\n"))
}

/// CPU time of a process in ticks of 1/100 s.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Clients that block take two descriptors each, and more connect than there is room for: those who are there are served,
/// connections to nodes are found again, nothing spins, and all is well when there is room again.
#[test]
fn out_of_descriptors() {
    let cluster = Cluster::with(3, 0, &[]);
    let dir = TempDir::new("descriptors");
    let scene = r#"ulimit -n 160; exec "$0" "$@""#;
    let flags = ["-max-procs", "2", "-logtostderr", "-retry-timeout", "3s"];
    let (mut daemon, port) = start_by(scene, &cluster, dir.path(), &flags);
    let mut regular = RawClient::connect(port);
    let mut blocked: Vec<RawClient> = (0..45).map(|_| RawClient::connect(port)).collect();
    blocked.iter_mut().for_each(|c| c.send_command(&["BLPOP", "nothing", "0"]));
    let waits =
        |node: &crate::support::Server| node.info("clients", "blocked_clients").as_deref() == Some("45");
    wait_until("all are blocked at their node", LIMIT, || cluster.nodes.iter().any(waits));
    // These wait in the system's queue.
    let outside: Vec<_> = (0..60).filter_map(|_| RawClient::try_connect(port).ok()).collect();
    wait_until("descriptors have run out", LIMIT, || daemon.output().contains("cannot accept clients"));
    let tags = [tag_where(|s| s < 5000), tag_where(|s| s > 6000 && s < 10_000), tag_where(|s| s > 12_000)];
    for round in 0..3 {
        for node in &cluster.nodes {
            node.call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        }
        for tag in &tags {
            let (reply, took) = timed(|| regular.call(&["SET", tag, "1"]));
            assert_eq!(show(&reply), show(b"+OK\r\n"), "round {round}");
            assert!(took < Duration::from_secs(3), "{took:?}");
        }
    }
    let (before, window) = (cpu_ticks(daemon.pid()), Duration::from_secs(2));
    crate::support::wait::let_pass(window);
    let used = cpu_ticks(daemon.pid()) - before;
    assert!(used < 100, "{used} ticks of CPU in {window:?} with nothing to do");
    drop((blocked, outside));
    wait_until("there is room again", LIMIT, || serves(port));
    assert_eq!(regular.line("PING"), b"+PONG\r\n");
    let told = daemon.output().matches("cannot accept clients").count();
    assert!(told <= 6, "told {told} times");
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(LIMIT).code(), Some(0));
}

#[test]
fn standard_streams_that_are_closed_or_full() {
    for scene in [
        r#"exec "$0" "$@" <&- >&- 2>&-"#,
        r#"exec "$0" "$@" </dev/null >/dev/full 2>/dev/full"#,
        r#"ulimit -v 4000000; exec "$0" "$@""#,
    ] {
        let dir = TempDir::new("streams");
        let (mut daemon, port) = start_by(scene, cluster(), dir.path(), &["-logtostderr", "-v", "2"]);
        let mut c = RawClient::connect(port);
        for i in 0..200 {
            assert_eq!(c.call(&["SET", &format!("streams:{i}"), "1"]), b"+OK\r\n", "{scene}");
            // Lines are written about it.
            drop(RawClient::connect(port).try_send(b"*x\r\n"));
        }
        daemon.signal("HUP");
        assert_eq!(c.line("PING"), b"+PONG\r\n");
        daemon.signal("TERM");
        assert_eq!(daemon.wait_exit(LIMIT).code(), Some(0), "{scene}");
    }
}

/// Every request that was read by then is answered, and whoever waits for something is told that it ends.
#[test]
fn a_stop_under_load_answers_everybody() {
    let mut proxy = Proxy::start(cluster(), &["-max-procs", "2", "-drain-timeout", "20s"]);
    let stop = AtomicBool::new(false);
    let (mut idle, mut subscriber, mut blocked) = (proxy.client(), proxy.client(), proxy.client());
    assert_eq!(idle.line("PING"), b"+PONG\r\n");
    subscriber.line("SUBSCRIBE news");
    blocked.send_command(&["BLPOP", "stop:queue", "0"]);
    let mut waiting = proxy.client();
    wait_until("it is blocked", LIMIT, || waiting.line("CLIENT LIST").windows(9).any(|w| w == b"cmd=blpop"));
    let port = proxy.port;
    let (status, took, outcomes) = thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|id| {
                scope.spawn({
                    let stop = &stop;
                    move || until_closed(port, id, stop)
                })
            })
            .collect();
        wait_until("the load runs", LIMIT, || {
            String::from_utf8_lossy(&waiting.line("INFO stats")).lines().any(|l| {
                l.strip_prefix("total_commands_processed:")
                    .is_some_and(|n| n.trim().parse::<u64>().is_ok_and(|n| n > 5000))
            })
        });
        proxy.signal("TERM");
        let (status, took) = timed(|| proxy.wait_exit(LIMIT));
        stop.store(true, Ordering::Relaxed);
        (status, took, clients.into_iter().map(|c| c.join().unwrap()).collect::<Vec<_>>())
    });
    println!("stopped after {took:?}; answered and cut off of the last pipeline: {outcomes:?}");
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(10), "nobody had to be waited for, but it took {took:?}");
    // A pipeline is read as a whole or not at all, and what was read is answered.
    for (rounds, partly) in outcomes {
        assert!(rounds > 0 && partly == 0, "{partly} of 20 replies came before the end");
    }
    assert_eq!(show(&blocked.until_closed()), show(b"*-1\r\n"), "as if its time were over");
    assert_eq!(idle.until_closed(), b"");
    assert_eq!(subscriber.until_closed(), b"");
}

/// A clock that is set, by an operator or by the time service, concerns nobody: what has to wait waits by another one.
#[test]
fn a_clock_that_jumps_harms_no_client() {
    let dir = TempDir::new("clock");
    let clock = dir.path().join("clock");
    let set = |by: &str| {
        fs::write(dir.path().join("next"), by).unwrap();
        fs::rename(dir.path().join("next"), &clock).unwrap();
    };
    set("+0d");
    let scene = format!(
        "LD_PRELOAD='/usr/$LIB/faketime/libfaketimeMT.so.1' FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 \
         FAKETIME_DONT_FAKE_MONOTONIC=1 exec \"$0\" \"$@\"",
        clock.display()
    );
    let flags = ["-max-procs", "2", "-logtostderr", "-v", "2", "-retry-timeout", "3s"];
    let (mut daemon, port) = start_by(&scene, cluster(), dir.path(), &flags);
    let load = Load::start(port, 4);
    let mut blocked = RawClient::connect(port);
    for by in ["-400d", "+400d", "-1h", "+1h", "+0d"] {
        load.wait_answered(300);
        blocked.send_command(&["BLPOP", "clock:nothing", "0.5"]);
        let before = days(&daemon);
        set(by);
        if by.ends_with("400d") {
            wait_until("its log has another date", LIMIT, || {
                drop(RawClient::connect(port));
                days(&daemon) > before
            });
        }
        let (reply, took) = timed(|| blocked.frame());
        assert_eq!(show(&reply), show(b"*-1\r\n"), "{by}");
        assert!(took < Duration::from_secs(5), "a wait of 500 ms took {took:?} when the clock went by {by}");
        load.wait_answered(300);
    }
    let report = load.stop();
    assert!(report.errors.is_empty() && report.wrong.is_empty() && report.lost.is_empty(), "{report:?}");
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(LIMIT).code(), Some(0));
}

/// How often the date of the log lines changed.
fn days(daemon: &Daemon) -> usize {
    let output = daemon.output();
    let dates: Vec<&str> = output.lines().filter_map(|l| l.split_whitespace().next()).collect();
    dates.windows(2).filter(|pair| pair[0] != pair[1] && pair[0].len() == 5 && pair[1].len() == 5).count()
}

/// Sends pipelines until the connection ends: how many were answered in full, how many replies of the last one came.
fn until_closed(port: u16, id: usize, stop: &AtomicBool) -> (u64, usize) {
    let mut c = RawClient::connect(port);
    let pipeline: Vec<u8> = (0..20).flat_map(|i| request(&["INCR", &format!("stop:{id}:{i}")])).collect();
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        if c.try_send(&pipeline).is_err() {
            break;
        }
        let came = (0..20).take_while(|_| c.try_frame().is_ok()).count();
        if came < 20 {
            return (rounds, came);
        }
        rounds += 1;
    }
    (rounds, 0)
}

/// What is popped for a client during a stop is not lost.
#[test]
fn a_stop_loses_nothing_that_is_popped() {
    let mut proxy = Proxy::start(cluster(), &["-max-procs", "2"]);
    let mut blocked: Vec<RawClient> = (0..20).map(|_| proxy.client()).collect();
    blocked.iter_mut().for_each(|c| c.send_command(&["BLPOP", "stop:pops", "0"]));
    let owner = cluster().owner(crate::support::keys::slot("stop:pops"));
    let mut node = cluster().client(owner);
    wait_until("all are blocked", LIMIT, || {
        String::from_utf8_lossy(&node.line("INFO clients")).contains("blocked_clients:20\r")
    });
    proxy.signal("TERM");
    let pushed: Vec<String> = (0..20).map(|i| format!("value-{i}")).collect();
    pushed.iter().for_each(|v| drop(node.call(&["RPUSH", "stop:pops", v])));
    let got: Vec<String> =
        blocked.iter_mut().map(|c| String::from_utf8_lossy(&c.until_closed()).into_owned()).collect();
    assert_eq!(proxy.wait_exit(LIMIT).code(), Some(0));
    let left = String::from_utf8_lossy(&node.line("LRANGE stop:pops 0 -1")).into_owned();
    for value in &pushed {
        let given = got.iter().filter(|g| g.contains(&format!("{value}\r\n"))).count();
        let there = left.contains(&format!("{value}\r\n"));
        assert_eq!(given + usize::from(there), 1, "{value}: given {given} times, still there: {there}");
    }
    assert!(eventually(LIMIT, || node.line("DEL stop:pops").starts_with(b":")));
}
