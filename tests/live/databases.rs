//! Numbered databases of a Valkey cluster that has them, beside a standalone server of the same kind.

use std::path::{Path, PathBuf};

use crate::support::compare::Pair;
use crate::support::frame::{show, show_all, text};
use crate::support::{Cluster, Proxy, Server};

fn valkey() -> PathBuf {
    let Ok(server) = Path::new("target/venv/servers/valkey-9.1").canonicalize() else {
        panic!("tools/install-test-tools.sh installs the server");
    };
    server
}

fn start() -> (Cluster, Proxy, Server) {
    let cluster =
        Cluster::with_server(&valkey(), 3, &["--cluster-databases", "16", "--notify-keyspace-events", "KA"]);
    let proxy = Proxy::start(&cluster, &["-max-procs", "2"]);
    (cluster, proxy, Server::standalone_of(&valkey().to_string_lossy(), &[]))
}

/// A line each, by a client that goes through several databases.
const LINES: &[&str] = &[
    "FLUSHALL",
    "SELECT 1",
    "SET {d}a 1",
    "SET b 2",
    "MGET {d}a b nosuch",
    "DBSIZE",
    "SELECT 2",
    "DBSIZE",
    "GET {d}a",
    "SET {d}a two",
    "MOVE {d}a 3",
    "MOVE {d}a 3",
    "MOVE {d}a 2",
    "MOVE {d}a 99",
    "SELECT 3",
    "GET {d}a",
    "KEYS *",
    "COPY {d}a {d}c DB 4",
    "COPY {d}a {d}c DB 16",
    "SELECT 4",
    "RANDOMKEY",
    "SCAN 0 COUNT 100",
    "MULTI",
    "INCR {d}n",
    "SELECT 5",
    "INCR {d}n",
    "DBSIZE",
    "SELECT 99",
    "GET {d}n",
    "EXEC",
    "DBSIZE",
    "WATCH {d}n",
    "INCR {d}n",
    "MULTI",
    "GET {d}n",
    "EXEC",
    "WATCH {d}n",
    "SELECT 6",
    "MULTI",
    "GET {d}n",
    "EXEC",
    "BLPOP {d}l 0.01",
    "RPUSH {d}l x",
    "BLPOP {d}l 1",
    "EVAL return{redis.call('dbsize'),redis.call('exists',KEYS[1])} 1 {d}n",
    "SELECT 16",
    "SELECT -1",
    "SELECT 4294967296",
    "SELECT x",
    "SELECT 5",
    "FLUSHDB",
    "DBSIZE",
    "SELECT 4",
    "DBSIZE",
    "RESET",
    "DBSIZE",
    "SELECT 3",
    "FLUSHALL",
    "DBSIZE",
];

#[test]
fn every_command_is_about_the_clients_database() {
    let (_cluster, proxy, server) = start();
    for resp3 in [false, true] {
        let pair = Pair::connect(proxy.port, server.port);
        let mut pair = match resp3 {
            false => pair,
            true => Pair { proxy: pair.proxy.resp3(), server: pair.server.resp3() },
        };
        for line in LINES {
            pair.same_line(line);
        }
    }
}

#[test]
fn other_clients_stay_where_they_are_and_the_proxy_tells_who_is_where() {
    let (_cluster, proxy, _server) = start();
    let (mut zero, mut nine, mut seer) = (proxy.client(), proxy.client(), proxy.client());
    assert_eq!(zero.line("FLUSHALL"), b"+OK\r\n");
    assert_eq!(
        seer.line("PSUBSCRIBE __keyspace@9__:*"),
        b"*3\r\n$10\r\npsubscribe\r\n$16\r\n__keyspace@9__:*\r\n:1\r\n".as_slice()
    );
    assert_eq!(nine.line("SELECT 9"), b"+OK\r\n");
    for i in 0..30 {
        assert_eq!(nine.line(&format!("SET key{i} nine")), b"+OK\r\n");
        assert_eq!(zero.line(&format!("GET key{i}")), b"$-1\r\n");
        let event = text_of(&seer.frame());
        assert!(event.contains(&format!("__keyspace@9__:key{i}")), "{event}");
    }
    assert_eq!(zero.line("SET key0 zero"), b"+OK\r\n");
    let keyspace = text(&zero.line("INFO keyspace"));
    assert!(keyspace.contains("db0:keys=1,") && keyspace.contains("db9:keys=30,"), "{keyspace}");
    let info = text(&nine.line("CLIENT INFO"));
    assert!(info.contains(" db=9 "), "{info}");
    let mut monitor = proxy.client();
    assert_eq!(monitor.line("MONITOR"), b"+OK\r\n");
    assert_eq!(nine.line("GET key0"), b"$4\r\nnine\r\n");
    let shown = text(&monitor.frame());
    assert!(shown.contains(" [9 127.0.0.1:"), "{shown}");
    assert_eq!(show(&nine.line("SWAPDB 0 9")).split(' ').next(), Some("-ERR"));
}

fn text_of(frame: &[u8]) -> String {
    show_all(frame)
}

#[test]
fn where_there_is_one_database_others_are_refused_in_the_servers_words() {
    let node = crate::view::lone_node();
    let (mut c, mut n) = (crate::client(), node.client());
    for line in ["SELECT 1", "SELECT -1", "SELECT 99999", "SELECT x", "SELECT 0", "MOVE dbs:k 1"] {
        assert_eq!(show(&c.line(line)), show(&n.line(line)), "{line}");
    }
}
