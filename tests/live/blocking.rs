//! Commands that wait, beside a standalone server, and by the thousand.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::support::compare::Pair;
use crate::support::frame::{items, request, text};
use crate::support::keys::{slot, tag_where};
use crate::support::wait::{let_pass, timed};
use crate::support::{wait_until, Cluster, Proxy, RawClient};
use crate::{client, fixture, pair};

const PATIENCE: Duration = Duration::from_secs(20);

/// How many clients are blocked at all nodes of a cluster.
fn blocked(cluster: &Cluster) -> usize {
    let at = |n: &crate::support::Server| {
        n.info("clients", "blocked_clients").and_then(|v| v.parse::<usize>().ok())
    };
    cluster.nodes.iter().filter_map(at).sum()
}

fn wait_blocked(cluster: &Cluster, count: usize) {
    wait_until(&format!("{count} are blocked"), PATIENCE, || blocked(cluster) == count);
}

fn resp3_pair() -> Pair {
    let p = pair();
    Pair { proxy: p.proxy.resp3(), server: p.server.resp3() }
}

#[test]
fn data_that_is_there_is_returned_at_once_and_absence_after_the_timeout() {
    for mut p in [pair(), resp3_pair()] {
        for line in [
            "DEL bl:l",
            "DEL bl:z",
            "DEL bl:x",
            "RPUSH bl:l a b c d e f g h",
            "BLPOP bl:l 0",
            "BRPOP {bl:l}none bl:l 0",
            "BLMOVE bl:l bl:l LEFT RIGHT 0",
            "BRPOPLPUSH bl:l bl:l 0",
            "BLMPOP 0 2 {bl:l}none bl:l LEFT COUNT 2",
            "ZADD bl:z 1 a 2 b 3 c 4.5 d",
            "BZPOPMIN bl:z 0",
            "BZPOPMAX bl:z 0",
            "BZMPOP 0 1 bl:z MIN COUNT 5",
            "XADD bl:x 1-1 f v",
            "XREAD BLOCK 0 STREAMS bl:x 0",
            "XGROUP CREATE bl:x g 0",
            "XREADGROUP GROUP g c BLOCK 0 STREAMS bl:x >",
            "XGROUP DESTROY bl:x g",
            "BLPOP bl:none 0.05",
            "BRPOP bl:none 0.05",
            "BLMOVE bl:none bl:none LEFT LEFT 0.05",
            "BRPOPLPUSH bl:none bl:none 0.05",
            "BLMPOP 0.05 1 bl:none LEFT",
            "BZPOPMIN bl:none 0.05",
            "BZPOPMAX bl:none 0.05",
            "BZMPOP 0.05 1 bl:none MIN",
            "XREAD BLOCK 50 STREAMS bl:none 0",
            "XREAD BLOCK 50 STREAMS bl:x $",
            "BLPOP bl:none 0x0.1",
            "BLPOP bl:none 1e-2",
        ] {
            p.same_line(line);
        }
    }
}

#[test]
fn errors_are_those_of_a_server() {
    let mut p = pair();
    p.same_line("SET bl:s x");
    for line in [
        "BLPOP bl:n abc",
        "BLPOP bl:n -1",
        "BLPOP bl:n inf",
        "BLPOP bl:n nan",
        "BLPOP bl:n 1e20",
        "BLPOP bl:n",
        "BLPOP",
        "BLMOVE bl:n bl:n UP DOWN 1",
        "BLMPOP 1 0 bl:n LEFT",
        "BLMPOP x 1 bl:n LEFT",
        "BZMPOP -1 1 bl:n MIN",
        "XREAD BLOCK x STREAMS bl:n 0",
        "XREAD BLOCK -1 STREAMS bl:n 0",
        "XREAD BLOCK 1",
        "BLPOP bl:s 1",
        "XREADGROUP GROUP g c BLOCK 1 STREAMS bl:n >",
        "BZPOPMIN bl:s 1",
        "BRPOPLPUSH bl:s {bl:s}n 1",
    ] {
        p.same_line(line);
    }
}

#[test]
fn others_wake_a_blocked_client_and_what_it_sent_behind_waits() {
    for (block, wake, expected) in [
        ("BLPOP bw:1 0", "RPUSH bw:1 v", &b"*2\r\n$4\r\nbw:1\r\n$1\r\nv\r\n"[..]),
        ("BLMOVE bw:2 bw:2 LEFT LEFT 0", "RPUSH bw:2 v", b"$1\r\nv\r\n"),
        ("BZPOPMAX bw:3 0", "ZADD bw:3 1 v", b"*3\r\n$4\r\nbw:3\r\n$1\r\nv\r\n$1\r\n1\r\n"),
        (
            "XREAD BLOCK 0 STREAMS bw:4 $",
            "XADD bw:4 1-1 f v",
            b"*1\r\n*2\r\n$4\r\nbw:4\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n",
        ),
    ] {
        let mut c = client();
        let words = |line: &str| request(&line.split(' ').collect::<Vec<_>>());
        c.send(
            &[words("SET bw:before 1"), words(block), words("PING"), words("MGET bw:before bw:none")]
                .concat(),
        );
        assert_eq!(c.frame(), b"+OK\r\n");
        c.set_patience(Duration::from_millis(100));
        assert!(c.try_frame().is_err(), "{block}");
        c.set_patience(PATIENCE);
        client().line(wake);
        assert_eq!(c.frame(), expected, "{block}");
        assert_eq!(c.frame(), b"+PONG\r\n");
        assert_eq!(c.frame(), b"*2\r\n$1\r\n1\r\n$-1\r\n");
    }
}

#[test]
fn neither_reply_timeout_nor_idle_timeout_ends_a_blocked_command() {
    let flags = ["-max-procs", "1", "-reply-timeout", "1s", "-client-idle-timeout", "1s"];
    let proxy = Proxy::start(&fixture().cluster, &flags);
    let (reply, took) = timed(|| proxy.client().line("BLPOP bt:none 3"));
    assert_eq!(reply, b"*-1\r\n");
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(5), "{took:?}");
}

/// A cluster and a proxy of their own, so that the clients blocked there can be counted.
fn alone() -> (Cluster, Proxy) {
    let cluster = Cluster::with(3, 0, &[]);
    let proxy = Proxy::start(&cluster, &["-max-procs", "2"]);
    (cluster, proxy)
}

#[test]
fn clients_of_one_key_are_woken_in_order_and_cancelled_when_they_leave() {
    let (cluster, proxy) = alone();
    let mut all: Vec<RawClient> = Vec::new();
    for i in 1..=100 {
        let mut c = proxy.client();
        c.send_command(&["BLPOP", "order", "0"]);
        all.push(c);
        wait_blocked(&cluster, i);
    }
    // Every third leaves: abruptly, by half-closing, or while it has more to say.
    let mut stay = Vec::new();
    for (i, mut c) in all.into_iter().enumerate() {
        match i % 9 {
            0 => drop(c),
            3 => c.half_close(),
            6 => c.send(&request(&["PING"])),
            _ => stay.push(c),
        }
    }
    let left = stay.len();
    wait_blocked(&cluster, left);
    let mut pusher = proxy.client();
    for i in 0..left {
        pusher.line(&format!("RPUSH order {i}"));
    }
    for (i, c) in stay.iter_mut().enumerate() {
        assert_eq!(text(items(&c.frame())[1]), i.to_string());
    }
    assert_eq!(pusher.line("LLEN order"), b":0\r\n");
    // A client that is gone at once blocks nobody either.
    let mut figure = |name: &str| -> usize {
        let info = text(&pusher.line("INFO"));
        info.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')?.parse().ok()).expect("a figure")
    };
    let come = figure("total_connections_received") + 20;
    for _ in 0..20 {
        let mut c = proxy.client();
        c.send_command(&["BLPOP", "order", "0"]);
    }
    wait_until("they have come and gone", PATIENCE, || {
        figure("total_connections_received") == come && figure("connected_clients") == left + 1
    });
    wait_blocked(&cluster, 0);
    assert_eq!(pusher.line("RPUSH order x"), b":1\r\n");
    assert_eq!(pusher.line("LLEN order"), b":1\r\n", "somebody who has gone took it");
}

/// User and system time of a process so far, in ticks.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_thousand_blocked_clients_cost_no_cpu_and_their_memory_comes_back() {
    let (cluster, proxy) = alone();
    let round = || {
        let mut all: Vec<RawClient> = (0..1000).map(|_| proxy.client()).collect();
        for (i, c) in all.iter_mut().enumerate() {
            c.send_command(&["BLPOP", &format!("cpu:{}", i % 50), "0"]);
        }
        wait_blocked(&cluster, 1000);
        all
    };
    let first = round();
    let before = cpu_ticks(proxy.pid());
    let_pass(Duration::from_secs(2));
    let used = cpu_ticks(proxy.pid()) - before;
    assert!(used <= 4, "{used} ticks of 10 ms in two seconds");
    drop(first);
    wait_blocked(&cluster, 0);
    let after_first = proxy.rss_kib();
    for _ in 0..2 {
        drop(round());
        wait_blocked(&cluster, 0);
    }
    let grown = proxy.rss_kib().saturating_sub(after_first);
    assert!(grown < 4096, "{grown} KiB more after each thousand has left");
}

#[test]
fn a_blocked_client_follows_its_slot_and_its_node() {
    let mut cluster = Cluster::start();
    let proxy = Proxy::start(&cluster, &["-max-procs", "1", "-retry-timeout", "20s"]);
    let tag = tag_where(|s| s < 5000);
    let key = format!("{{{tag}}}list");
    let waiting = || {
        let mut c = proxy.client();
        c.set_patience(Duration::from_secs(30));
        c.send_command(&["BLPOP", &key, "0"]);
        wait_blocked(&cluster, 1);
        c
    };
    let push_and_pop = |mut c: RawClient, value: &str| {
        let mut pusher = proxy.client();
        pusher.set_patience(Duration::from_secs(30));
        assert_eq!(pusher.call(&["RPUSH", &key, value, "rest"]), b":2\r\n");
        assert_eq!(text(items(&c.frame())[1]), value);
        assert_eq!(pusher.call(&["LPOP", &key, "9"]), b"*1\r\n$4\r\nrest\r\n", "popped once");
    };
    let c = waiting();
    cluster.reshard([slot(&tag)], 1);
    push_and_pop(c, "moved");
    cluster.reshard([slot(&tag)], 0);
    let c = waiting();
    cluster.failover(3);
    push_and_pop(c, "failed over");
    cluster.failover(0);
    let mut c = waiting();
    let done = thread::spawn(move || c.frame());
    // Primaries that have not heard of the last failover would not vote for the next one.
    cluster.wait_agreed();
    cluster.nodes[0].kill();
    cluster.wait_promoted(slot(&tag), 0);
    let mut pusher = proxy.client();
    pusher.set_patience(Duration::from_secs(30));
    assert_eq!(pusher.call(&["RPUSH", &key, "killed"]), b":1\r\n");
    assert_eq!(text(items(&done.join().unwrap())[1]), "killed");
}

/// Where a client is blocked for ever, only the system's own probes tell that the node's host has gone.
#[test]
fn connections_to_nodes_are_probed_by_the_system() {
    let mut c = client();
    c.line("GET bl:probed");
    let process = format!("/proc/{}", fixture().proxy.pid());
    let own: Vec<String> = fs::read_dir(format!("{process}/fd"))
        .unwrap()
        .filter_map(|f| {
            fs::read_link(f.ok()?.path()).ok()?.to_str()?.strip_prefix("socket:[").map(str::to_owned)
        })
        .collect();
    let nodes: Vec<String> =
        fixture().cluster.nodes.iter().map(|n| format!("0100007F:{:04X}", n.port)).collect();
    let table = fs::read_to_string(format!("{process}/net/tcp")).unwrap();
    let lines = table.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
    // Peer, timer (02: keepalive; 01: something was just sent), inode.
    let timers: Vec<&str> = lines
        .filter(|c| nodes.iter().any(|n| n == c[2]) && own.iter().any(|i| c[9] == &i[..i.len() - 1]))
        .map(|c| &c[5][..2])
        .collect();
    // The topology thread has a deadline for whatever it waits for, and does without.
    assert!(timers.contains(&"02"), "{timers:?}");
}
