//! Commands over all nodes, scripts and functions, on a cluster of their own: they see and change whole nodes, so
//! they run one after the other.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use crate::support::compare::Pair;
use crate::support::frame::{body, integer, is_error, items, show, text};
use crate::support::keys::tag_where;
use crate::support::{wait_until, Cluster, Proxy, RawClient, Server};

/// A cluster, two proxies before it and a standalone server.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) proxies: [Proxy; 2],
    server: Server,
}

/// The stage, empty, for one test at a time.
pub(crate) fn stage() -> MutexGuard<'static, Stage> {
    static STAGE: OnceLock<Mutex<Stage>> = OnceLock::new();
    let stage = STAGE.get_or_init(|| {
        let cluster = Cluster::start();
        let proxies = [(); 2].map(|()| Proxy::start(&cluster, &["-max-procs", "1"]));
        Mutex::new(Stage { cluster, proxies, server: Server::standalone(&[]) })
    });
    let stage = stage.lock().unwrap_or_else(|e| e.into_inner());
    for line in ["FLUSHALL", "SCRIPT FLUSH", "FUNCTION FLUSH"] {
        assert_eq!(show(&stage.client().line(line)), "+OK\\r\\n", "{line}");
        stage.server.ok(line);
    }
    stage
}

impl Stage {
    pub(crate) fn client(&self) -> RawClient {
        self.proxies[0].client()
    }

    pub(crate) fn pair(&self) -> Pair {
        Pair::connect(self.proxies[0].port, self.server.port)
    }

    fn pair3(&self) -> Pair {
        let p = self.pair();
        Pair { proxy: p.proxy.resp3(), server: p.server.resp3() }
    }
}

/// A key that the primary of each third of the slots owns.
pub(crate) fn keys_of_all_primaries() -> [String; 3] {
    [0, 1, 2].map(|third| format!("{{{}}}", tag_where(|slot| slot / 5462 == third)))
}

pub(crate) fn fill(client: &mut RawClient, prefix: &str, count: usize) {
    for start in (0..count).step_by(500) {
        let end = (start + 500).min(count);
        let mut args = vec!["MSET".to_string()];
        (start..end).for_each(|i| args.extend([format!("{prefix}{i}"), i.to_string()]));
        assert_eq!(client.call(&args), b"+OK\r\n");
    }
}

fn sorted(reply: &[u8]) -> Vec<String> {
    let mut all: Vec<String> = items(reply).into_iter().map(text).collect();
    all.sort();
    all
}

#[test]
fn the_keyspace_is_that_of_one_server() {
    let stage = stage();
    for mut p in [stage.pair(), stage.pair3()] {
        p.same_line("DBSIZE");
        p.same_line("KEYS *");
        p.same_line("RANDOMKEY");
        p.same_line("SCAN 0");
        fill(&mut p.proxy, "k", 1000);
        fill(&mut p.server, "k", 1000);
        assert_eq!(integer(&p.same_line("DBSIZE")), 1000);
        let (got, expected) = (p.proxy.line("SCAN 0 COUNT 5000"), p.server.line("SCAN 0 COUNT 5000"));
        assert_eq!(items(&got)[0], items(&expected)[0]);
        assert_eq!(sorted(items(&got)[1]), sorted(items(&expected)[1]));
        for pattern in ["*", "k1?", "none*", "k77", "k[12]", "{k}*"] {
            let (got, expected) = (p.proxy.call(&["KEYS", pattern]), p.server.call(&["KEYS", pattern]));
            assert_eq!(sorted(&got), sorted(&expected), "KEYS {pattern}");
            assert_eq!(got[0], expected[0]);
        }
        let randoms: BTreeSet<String> = (0..50).map(|_| text(&p.proxy.line("RANDOMKEY"))).collect();
        assert!(randoms.len() > 20 && randoms.iter().all(|k| k.starts_with('k')), "{randoms:?}");
        for line in ["FLUSHALL NOSUCH", "FLUSHDB SYNC ASYNC", "KEYS", "DBSIZE x", "FLUSHALL ASYNC", "DBSIZE"]
        {
            p.same_line(line);
        }
        fill(&mut p.proxy, "k", 100);
        p.same_line("FLUSHDB SYNC");
        assert_eq!(integer(&p.same_line("DBSIZE")), 0);
    }
}

#[test]
fn a_key_that_only_one_node_has_is_found() {
    let stage = stage();
    let mut c = stage.client();
    for key in keys_of_all_primaries() {
        c.call(&["SET", &key, "v"]);
        assert_eq!(text(&c.line("RANDOMKEY")), key);
        assert_eq!(sorted(&c.line("KEYS *")), [key.as_str()]);
        assert_eq!(integer(&c.line("DBSIZE")), 1);
        assert_eq!(c.line("FLUSHALL"), b"+OK\r\n");
    }
}

#[test]
fn a_loaded_script_runs_on_every_node() {
    let stage = stage();
    let mut p = stage.pair();
    let script = "return {KEYS[1] and 1, ARGV[1]}";
    let sha = text(&p.same(&["SCRIPT", "LOAD", script]));
    p.same(&["SCRIPT", "EXISTS", &sha, "nosuch", &"0".repeat(40)]);
    for key in keys_of_all_primaries() {
        p.same(&["EVALSHA", &sha, "1", &key, "a"]);
    }
    p.same(&["EVALSHA", &sha, "0", "a"]);
    p.same(&["EVALSHA", &"0".repeat(40), "0"]);
    p.same(&["EVALSHA", "short", "0"]);
    p.same_line("SCRIPT LOAD return(");
    p.same_line("SCRIPT FLUSH NOSUCH");
    p.same_line("SCRIPT FLUSH SYNC");
    p.same(&["SCRIPT", "EXISTS", &sha]);
    p.same(&["EVALSHA", &sha, "0", "a"]);
    p.same_line("SCRIPT KILL");
    p.same_line("FUNCTION KILL");
}

/// As client libraries do: by name first, by text when the server does not know it, then by name wherever the key is.
#[test]
fn a_script_that_was_run_once_is_known_everywhere() {
    let stage = stage();
    let mut p = stage.pair();
    let [first, second, third] = keys_of_all_primaries();
    let script = "return redis.call('INCR', KEYS[1])";
    let sha = {
        let reply = stage.server.call(&["SCRIPT", "LOAD", script]);
        stage.server.ok("SCRIPT FLUSH");
        text(&reply)
    };
    assert!(show(&p.same(&["EVALSHA", &sha, "1", &first])).starts_with("-NOSCRIPT"));
    p.same(&["EVAL", script, "1", &first]);
    for key in [&second, &third, &first, &second] {
        p.same(&["EVALSHA", &sha, "1", key]);
    }
    p.same(&["SCRIPT", "EXISTS", &sha]);
    // Nodes lose their scripts behind the proxy's back.
    stage.cluster.nodes[..3].iter().for_each(|n| n.ok("SCRIPT FLUSH"));
    for key in [&second, &third, &first] {
        p.same(&["EVALSHA", &sha, "1", key]);
    }
}

/// A server looks at the number of keys first, and never sees the script.
#[test]
fn a_script_of_an_eval_with_a_wrong_number_of_keys_is_not_known_afterwards() {
    let stage = stage();
    let mut p = stage.pair();
    let script = "return 'never read'";
    let sha = text(&p.same(&["SCRIPT", "LOAD", script]));
    p.same_line("SCRIPT FLUSH SYNC");
    for number in ["2", "-1", "1.5", "x", "01"] {
        p.same(&["EVAL", script, number, "k"]);
        p.same(&["EVALSHA", &sha, "1", "k"]);
        p.same(&["MULTI"]);
        p.same(&["EVAL", script, number, "k"]);
        p.same(&["EXEC"]);
        assert!(show(&p.same(&["EVALSHA", &sha, "1", "k"])).starts_with("-NOSCRIPT"), "{number}");
    }
}

#[test]
fn a_loaded_script_is_known_to_a_promoted_replica() {
    let cluster = Cluster::start();
    let proxy = Proxy::start(&cluster, &["-max-procs", "1"]);
    let mut c = proxy.client();
    let sha = text(&c.call(&["SCRIPT", "LOAD", "return redis.call('INCR', KEYS[1])"]));
    cluster.failover(4);
    for key in keys_of_all_primaries() {
        assert_eq!(c.call(&["EVALSHA", &sha, "1", &key]), b":1\r\n", "{key}");
    }
}

#[test]
fn functions_are_on_every_node() {
    let stage = stage();
    let mut p = stage.pair();
    let library = "#!lua name=lib\nredis.register_function('f', function(keys, args) return #keys end)";
    p.same(&["FUNCTION", "LOAD", library]);
    assert!(text(&p.same(&["FUNCTION", "LOAD", library])).starts_with("ERR Library 'lib' already exists"));
    p.same(&["FUNCTION", "LOAD", "REPLACE", library]);
    for key in keys_of_all_primaries() {
        p.same(&["FCALL", "f", "1", &key]);
    }
    p.same_line("FCALL f 0");
    p.same_line("FUNCTION LIST");
    let dump = p.proxy.line("FUNCTION DUMP");
    p.same_line("FUNCTION DELETE lib");
    p.same_line("FUNCTION DELETE lib");
    assert_eq!(p.proxy.call(&[&b"FUNCTION"[..], b"RESTORE", body(&dump)]), b"+OK\r\n");
    for key in keys_of_all_primaries() {
        assert_eq!(p.proxy.call(&["FCALL", "f", "1", &key]), b":1\r\n");
    }
    assert_eq!(p.proxy.line("FUNCTION FLUSH"), b"+OK\r\n");
    p.same_line("FUNCTION LIST");
}

#[test]
fn an_error_of_one_node_names_it() {
    let stage = stage();
    let mut c = stage.client();
    let library = "#!lua name=lib\nredis.register_function('f', function() return 1 end)";
    let node = &stage.cluster.nodes[1];
    assert_eq!(text(&node.call(&["FUNCTION", "LOAD", library])), "lib");
    let reply = text(&c.call(&["FUNCTION", "LOAD", library]));
    assert_eq!(reply, format!("ERR node 127.0.0.1:{}: ERR Library 'lib' already exists", node.port));
}

#[test]
fn settings_reach_every_node() {
    let stage = stage();
    for mut c in [stage.client(), stage.client().resp3()] {
        for value in ["1234", "10000"] {
            assert_eq!(c.line(&format!("CONFIG SET slowlog-log-slower-than {value}")), b"+OK\r\n");
            for node in &stage.cluster.nodes {
                let reply = node.call(&["CONFIG", "GET", "slowlog-log-slower-than"]);
                assert_eq!(text(items(&reply)[1]), value, "node on port {}", node.port);
            }
            assert_eq!(text(items(&c.line("CONFIG GET slowlog-log-slower-than"))[1]), value);
        }
        assert_eq!(c.line("CONFIG RESETSTAT"), b"+OK\r\n");
        assert_eq!(c.line("MEMORY PURGE"), b"+OK\r\n");
    }
    let mut p = stage.pair();
    p.same_line("CONFIG SET nosuch 1");
    p.same_line("CONFIG REWRITE");
    p.same_line("CONFIG SET");
    p.same_line("CONFIG GET nosuch");
}

#[test]
fn the_slow_log_is_that_of_all_nodes() {
    let stage = stage();
    for mut c in [stage.client(), stage.client().resp3()] {
        c.line("CONFIG SET slowlog-log-slower-than 0");
        c.line("SLOWLOG RESET");
        for key in keys_of_all_primaries() {
            c.call(&["SET", &key, "slow"]);
        }
        c.line("CONFIG SET slowlog-log-slower-than 10000");
        let reply = c.line("SLOWLOG GET -1");
        let entries = items(&reply);
        for key in keys_of_all_primaries() {
            assert!(
                entries.iter().any(|e| sorted(items(e)[3]).contains(&key)),
                "no entry of {key}: {}",
                show(&reply)
            );
        }
        let times: Vec<i64> = entries.iter().map(|e| integer(items(e)[1])).collect();
        assert!(times.windows(2).all(|w| w[0] >= w[1]), "latest first: {times:?}");
        assert_eq!(integer(&c.line("SLOWLOG LEN")), entries.len() as i64);
        assert_eq!(items(&c.line("SLOWLOG GET 2")).len(), 2);
        assert_eq!(items(&c.line("SLOWLOG GET")).len(), entries.len().min(10));
        assert_eq!(c.line("SLOWLOG RESET"), b"+OK\r\n");
        assert_eq!(integer(&c.line("SLOWLOG LEN")), 0);
    }
    let mut p = stage.pair();
    for line in ["SLOWLOG GET abc", "SLOWLOG GET -2", "SLOWLOG GET 1 2", "SLOWLOG NOSUCH", "SLOWLOG GET 0"] {
        p.same_line(line);
    }
}

#[test]
fn latencies_are_those_of_all_nodes() {
    let stage = stage();
    let mut p = stage.pair3();
    for line in ["LATENCY LATEST", "LATENCY HISTORY command", "LATENCY GRAPH command", "LATENCY RESET"] {
        p.same_line(line);
    }
    let (mut c, mut two) = (p.proxy, stage.client());
    c.line("CONFIG RESETSTAT");
    for key in keys_of_all_primaries() {
        (0..5).for_each(|_| drop(c.call(&["STRLEN", &key])));
    }
    let reply = c.line("LATENCY HISTOGRAM strlen");
    let histogram = items(items(&reply)[1]);
    assert_eq!(integer(histogram[1]), 15, "{}", show(&reply));
    assert_eq!(integer(items(histogram[3]).last().unwrap()), 15);
    assert_eq!(items(&two.line("LATENCY HISTOGRAM strlen")).len(), 2);
    c.line("CONFIG SET latency-monitor-threshold 1");
    for i in [0, 2] {
        stage.cluster.nodes[i].ok("DEBUG SLEEP 0.02");
    }
    let reply = c.line("LATENCY LATEST");
    let commands = items(&reply).into_iter().filter(|e| text(items(e)[0]) == "command").count();
    assert_eq!(commands, 1, "{}", show(&reply));
    assert!(items(&c.line("LATENCY HISTORY command")).len() >= 2);
    for reply in [c.line("LATENCY GRAPH command"), c.line("LATENCY DOCTOR")] {
        assert_eq!(reply[0], b'=');
        for i in [0, 2] {
            let port = stage.cluster.nodes[i].port;
            assert!(text(&reply).contains(&format!("node 127.0.0.1:{port}:\n")), "{}", show(&reply));
        }
    }
    assert_eq!(two.line("LATENCY DOCTOR")[0], b'$');
    c.line("CONFIG SET latency-monitor-threshold 0");
    assert!(integer(&c.line("LATENCY RESET")) >= 2);
}

#[test]
fn any_node_answers_what_needs_no_key() {
    let stage = stage();
    let mut p = stage.pair();
    for line in ["COMMAND COUNT", "COMMAND GETKEYS GET k", "ACL WHOAMI", "EVAL return(1) 0"] {
        p.same_line(line);
    }
    let mut c = p.proxy;
    assert_eq!(items(&c.line("TIME")).len(), 2);
    assert!(!is_error(&c.line("LOLWUT")));
    assert!(integer(&c.line("LASTSAVE")) > 0);
    assert_eq!(text(&c.line("ACL GENPASS")).len(), 64);
    assert!(items(&c.line("COMMAND DOCS get")).len() == 2);
    assert!(!is_error(&c.line("FUNCTION STATS")));
}

#[test]
fn an_endless_script_is_killed_through_the_proxy() {
    let stage = stage();
    let (mut caller, mut killer) = (stage.client(), stage.client());
    assert_eq!(killer.line("CONFIG SET lua-time-limit 50"), b"+OK\r\n");
    let [key, ..] = keys_of_all_primaries();
    caller.send_command(&["EVAL", "while true do end", "1", &key]);
    let node = &stage.cluster.nodes[0];
    wait_until("the script runs", Duration::from_secs(10), || {
        node.try_text("PING").is_some_and(|reply| reply.starts_with("BUSY"))
    });
    assert_eq!(killer.line("SCRIPT KILL"), b"+OK\r\n");
    let reply = caller.frame();
    assert!(is_error(&reply), "{}", show(&reply));
    assert_eq!(caller.call(&["SET", &key, "1"]), b"+OK\r\n");
    killer.line("CONFIG SET lua-time-limit 5000");
}

/// What a reply of many nodes may add to the memory of the proxy, however large it is.
const MOST_GROWTH_KIB: u64 = 16 * 1024;

#[test]
fn keys_of_all_nodes_are_passed_on_in_little_memory() {
    let stage = stage();
    let mut c = stage.client();
    for i in 0..3 {
        // 100,000 keys of 100 bytes on each primary, most of them in slots of others: KEYS does not mind.
        stage.cluster.nodes[i].ok(&format!("DEBUG POPULATE 100000 {}{i}", "x".repeat(90)));
    }
    let before = stage.proxies[0].peak_rss_kib();
    let reply = c.line("KEYS *");
    assert!(reply.len() > 30_000_000, "{}", reply.len());
    assert_eq!(items(&reply).len(), 300_000);
    let growth = stage.proxies[0].peak_rss_kib() - before;
    assert!(growth <= MOST_GROWTH_KIB, "{growth} KiB more for a reply of {} bytes", reply.len());
    assert_eq!(c.line("PING"), b"+PONG\r\n");
}

#[test]
fn an_mget_of_100_000_keys_is_answered_in_order_and_in_little_memory() {
    let stage = stage();
    let mut c = stage.client();
    let key = |i: usize| format!("many:{i}");
    let value = |i: usize| format!("{i:-<1000}");
    for first in (0..100_000).step_by(1000) {
        let mut set = vec!["MSET".to_owned()];
        (first..first + 1000).for_each(|i| set.extend([key(i), value(i)]));
        assert_eq!(c.call(&set), b"+OK\r\n");
    }
    let before = stage.proxies[0].peak_rss_kib();
    let get: Vec<String> = std::iter::once("MGET".to_owned()).chain((0..100_000).map(key)).collect();
    let reply = c.call(&get);
    assert!(reply.starts_with(b"*100000\r\n"));
    let mut rest = &reply[9..];
    for i in 0..100_000 {
        let expected = format!("$1000\r\n{}\r\n", value(i));
        assert!(rest.starts_with(expected.as_bytes()), "value {i}: {}", show(&rest[..20]));
        rest = &rest[expected.len()..];
    }
    assert!(rest.is_empty());
    let growth = stage.proxies[0].peak_rss_kib() - before;
    println!("MGET of 100,000 keys of 1,000 bytes: {growth} KiB more");
    assert!(growth <= MOST_GROWTH_KIB, "{growth} KiB more");
}
