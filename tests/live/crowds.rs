//! Crowds that wait: ten thousand subscribers, a thousand blocked clients, and what they leave behind.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::fixture;
use crate::support::frame::{integer, items, request, show};
use crate::support::wait::let_pass;
use crate::support::{wait_until, Cluster, Proxy};

/// Resident memory above that of the start which may be left when a crowd has gone.
const LEFT_KIB: u64 = 3 * 1024;

/// A connection that holds no buffer, as there are thousands of them.
struct Visitor(TcpStream);

impl Visitor {
    fn connect(port: u16) -> Visitor {
        let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Visitor(stream)
    }

    fn send(&mut self, args: &[&str]) {
        self.0.write_all(&request(args)).expect("send");
    }

    fn expect(&mut self, bytes: &[u8]) {
        let mut got = vec![0; bytes.len()];
        self.0.read_exact(&mut got).unwrap_or_else(|e| panic!("{e} in place of {}", show(bytes)));
        assert_eq!(show(&got), show(bytes));
    }

    fn read_to_end(&mut self) -> usize {
        let mut all = Vec::new();
        // A reset is an end, too.
        let _ = self.0.read_to_end(&mut all);
        all.len()
    }
}

/// As many of `wanted` as this process may have sockets for, with room for all other tests.
fn affordable(wanted: usize) -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|l| l.starts_with("Max open files")).unwrap();
    let most = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX);
    let size = wanted.min(most.saturating_sub(most.min(16_000) / 3));
    if size < wanted {
        eprintln!("only {most} files may be open: {size} clients in place of {wanted}");
    }
    size
}

fn visitors(proxy: &Proxy, size: usize) -> Vec<Visitor> {
    (0..size).map(|_| Visitor::connect(proxy.port)).collect()
}

/// Connections to nodes that have subscribed to a channel.
fn carried(channel: &str) -> i64 {
    let count = |i: usize| {
        let reply = fixture().cluster.client(i).line(&format!("PUBSUB NUMSUB {channel}"));
        integer(items(&reply)[1])
    };
    (0..fixture().cluster.nodes.len()).map(count).sum()
}

fn confirmed(channel: &str) -> Vec<u8> {
    [&b"*3\r\n"[..], &request(&["subscribe", channel])[4..], b":1\r\n"].concat()
}

fn memory_returns(proxy: &Proxy, before: u64) {
    let left = || proxy.rss_kib().saturating_sub(before);
    wait_until("all clients are gone", Duration::from_secs(20), || {
        proxy.client().line("CLIENT LIST").windows(4).filter(|w| w == b" fd=").count() == 1
    });
    let returned = crate::support::wait::eventually(Duration::from_secs(90), || left() < LEFT_KIB);
    assert!(returned, "{} KiB more than the {before} KiB of the start", left());
}

#[test]
fn ten_thousand_subscribers_cost_one_subscription_per_worker_and_one_that_does_not_read_delays_nobody() {
    let flags = ["-max-procs", "2", "-max-clients", "11000", "-pubsub-output-limit", "1mb"];
    let proxy = Proxy::start(&fixture().cluster, &flags);
    let before = proxy.rss_kib();
    let size = affordable(10_000);
    let mut crowd = visitors(&proxy, size);
    crowd.iter_mut().for_each(|c| c.send(&["SUBSCRIBE", "crowds"]));
    crowd.iter_mut().for_each(|c| c.expect(&confirmed("crowds")));
    assert_eq!(carried("crowds"), 2);
    let mut publisher = proxy.client();
    let counted = publisher.line("PUBSUB NUMSUB crowds");
    assert_eq!(integer(items(&counted)[1]), size as i64);
    let mut everybody_gets = |text: &str| {
        assert_eq!(integer(&publisher.call(&["PUBLISH", "crowds", text])), size as i64);
        let message = request(&["message", "crowds", text]);
        crowd.iter_mut().for_each(|c| c.expect(&message));
    };
    everybody_gets("first");
    let (mut slow, mut flood) = (Visitor::connect(proxy.port), proxy.client());
    slow.send(&["SUBSCRIBE", "crowds:slow"]);
    slow.expect(&confirmed("crowds:slow"));
    let large = "x".repeat(100_000);
    for round in 0..3 {
        (0..100).for_each(|_| drop(flood.call(&["PUBLISH", "crowds:slow", &large])));
        everybody_gets(&format!("round {round}"));
    }
    assert!(proxy.log().contains("bytes of messages wait for it"), "{}", proxy.log());
    assert!(slow.read_to_end() < 300 * large.len());
    drop(crowd);
    wait_until("nobody is subscribed", Duration::from_secs(20), || carried("crowds") == 0);
    drop((publisher, flood, slow));
    memory_returns(&proxy, before);
}

/// Clients that wait at the nodes.
fn blocked(cluster: &Cluster) -> usize {
    let count =
        |n: &crate::support::Server| n.info("clients", "blocked_clients").unwrap().parse::<usize>().unwrap();
    cluster.nodes.iter().map(count).sum()
}

/// CPU time of a process so far, in ticks (`proc(5)`: the 14th and the 15th field).
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_thousand_blocked_clients_cost_no_cpu_are_woken_in_order_and_leave_nothing_behind() {
    const KEYS: usize = 10;
    let cluster = Cluster::with(3, 0, &[]);
    let proxy = Proxy::start(&cluster, &["-max-procs", "2"]);
    let before = proxy.rss_kib();
    let size = affordable(1000) / KEYS * KEYS;
    let mut crowd = visitors(&proxy, size);
    let key = |i: usize| format!("crowds:{}", i % KEYS);
    for (i, c) in crowd.iter_mut().enumerate() {
        c.send(&["BLPOP", &key(i), "0"]);
        if i % KEYS == KEYS - 1 {
            wait_until("one more waits for each key", Duration::from_secs(10), || blocked(&cluster) == i + 1);
        }
    }
    let start = ticks(proxy.pid());
    let_pass(Duration::from_secs(2));
    let used = ticks(proxy.pid()) - start;
    // The topology is read meanwhile, and freed memory given back; a worker that turns in vain would use 200.
    assert!(used < 10, "{used} ticks of CPU time in 2 s");
    let mut pusher = proxy.client();
    for i in 0..size {
        assert_eq!(pusher.call(&["RPUSH", &key(i), &i.to_string()]), b":1\r\n");
    }
    for (i, c) in crowd.iter_mut().enumerate() {
        c.expect(&request(&[key(i), i.to_string()]));
    }
    crowd.iter_mut().enumerate().for_each(|(i, c)| c.send(&["BLPOP", &key(i), "0"]));
    wait_until("all wait again", Duration::from_secs(20), || blocked(&cluster) == size);
    drop((crowd, pusher));
    wait_until("nobody waits", Duration::from_secs(20), || blocked(&cluster) == 0);
    memory_returns(&proxy, before);
}

#[test]
fn a_pipeline_of_everything_is_answered_in_order() {
    for hello in ["2", "3"] {
        let (mut c, tag) = (crate::client(), format!("all{hello}"));
        c.call(&["HELLO", hello]);
        let lines = [
            format!("MSET {tag}:a 1 {tag}:b 2"),
            format!("MGET {tag}:a {tag}:b {tag}:none"),
            "MULTI".into(),
            format!("RPUSH {tag}:q x y"),
            format!("LLEN {tag}:q"),
            "EXEC".into(),
            format!("BLPOP {tag}:q 0"),
            format!("BLPOP {tag}:empty 0.05"),
            format!("BLPOP {tag}:q 0"),
            format!("SUBSCRIBE {tag}"),
            format!("UNSUBSCRIBE {tag}"),
            format!("DEL {tag}:a {tag}:b"),
            "PING".into(),
        ];
        c.send(&lines.iter().flat_map(|l| request(&l.split(' ').collect::<Vec<_>>())).collect::<Vec<u8>>());
        let got: Vec<String> = c.frames(lines.len()).iter().map(|f| show(f).replace("\\r\\n", "|")).collect();
        let (nil, nil_array, push) = if hello == "3" { ("_", "_", ">") } else { ("$-1", "*-1", "*") };
        let expected = [
            "+OK|".to_string(),
            format!("*3|$1|1|$1|2|{nil}|"),
            "+OK|".into(),
            "+QUEUED|".into(),
            "+QUEUED|".into(),
            "*2|:2|:2|".into(),
            format!("*2|$6|{tag}:q|$1|x|"),
            format!("{nil_array}|"),
            format!("*2|$6|{tag}:q|$1|y|"),
            format!("{push}3|$9|subscribe|$4|{tag}|:1|"),
            format!("{push}3|$11|unsubscribe|$4|{tag}|:0|"),
            ":2|".into(),
            "+PONG|".into(),
        ];
        assert_eq!(got, expected);
    }
}

/// Clients stay connected, so it is not their leaving that frees memory.
#[test]
fn memory_is_given_back_after_a_request_of_fifty_thousand_keys() {
    let proxy = Proxy::start(&fixture().cluster, &["-max-procs", "1"]);
    let mut clients: Vec<_> = (0..3).map(|_| proxy.client()).collect();
    let keys: Vec<String> = (0..50_000).map(|i| format!("fifty:{i}")).collect();
    let of = |name: &'static str| -> Vec<&str> {
        std::iter::once(name).chain(keys.iter().map(String::as_str)).collect()
    };
    clients.iter_mut().for_each(|c| assert_eq!(c.call(&["GET", "fifty:0"]), b"$-1\r\n"));
    let before = proxy.rss_kib();
    for c in &mut clients {
        assert_eq!(items(&c.call(&of("MGET"))).len(), keys.len());
        assert_eq!(c.call(&of("DEL")), b":0\r\n");
    }
    let grown = proxy.rss_kib().saturating_sub(before);
    let left = || proxy.rss_kib().saturating_sub(before);
    let returned = crate::support::wait::eventually(Duration::from_secs(40), || left() < LEFT_KIB);
    println!("{grown} KiB more just behind the requests, {} KiB later", left());
    assert!(returned, "{} KiB more than the {before} KiB before", left());
    assert_eq!(clients[0].call(&["GET", "fifty:0"]), b"$-1\r\n");
}
