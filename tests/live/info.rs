//! INFO: sections and fields as tools read them.

use std::collections::HashMap;
use std::time::Duration;

use crate::support::frame::{body, text};
use crate::support::{wait_until, Cluster, Proxy, RawClient};
use crate::{client, fixture, pair};

fn info(c: &mut RawClient, sections: &str) -> HashMap<String, String> {
    let reply = text(&c.line(format!("INFO {sections}").trim_end()));
    reply.lines().filter_map(|l| l.split_once(':')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn headings(reply: &[u8]) -> Vec<String> {
    text(reply).lines().filter(|l| l.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn sections_are_chosen_as_in_a_server() {
    let mut p = pair();
    for line in [
        "INFO",
        "INFO default",
        "INFO all",
        "INFO everything",
        "INFO server clients",
        "INFO Clients SERVER clients",
        "INFO keyspace cluster",
        "INFO modules",
        "INFO cpu nosuch",
        "INFO tls",
        "INFO threads",
        "INFO cluster_info scriptingengines",
        "INFO keysizes debug",
    ] {
        let (got, expected) = (headings(&p.proxy.line(line)), headings(&p.server.line(line)));
        // It has a section more.
        let ours: Vec<_> = got.into_iter().filter(|h| h != "# Proxy").collect();
        assert_eq!(ours, expected, "{line}");
    }
    for line in ["INFO nosuch", "INFO cluster", "INFO modules"] {
        p.same_line(line);
    }
    p.proxy = p.proxy.resp3();
    p.server = p.server.resp3();
    p.same_line("INFO cluster");
    p.same_line("INFO nosuch");
}

#[test]
fn every_field_is_one_that_a_server_has() {
    let mut p = pair();
    let theirs = info(&mut p.server, "everything");
    let always = ["server", "clients", "memory", "persistence", "stats", "replication", "cpu", "cluster"];
    for section in always.into_iter().chain(["tls", "keysizes"]) {
        let ours = info(&mut p.proxy, section);
        assert!(!ours.is_empty() || !always.contains(&section), "{section}");
        for (name, value) in ours {
            let theirs = theirs.get(&name).unwrap_or_else(|| panic!("{section}: no {name} in a server"));
            let is_number = |v: &str| v.parse::<f64>().is_ok();
            // Some builds have a name that happens to be no number.
            if name != "redis_git_sha1" {
                assert_eq!(is_number(&value), is_number(theirs), "{name}: {value:?} and {theirs:?}");
            }
        }
    }
}

#[test]
fn what_tools_read_is_there() {
    let mut p = pair();
    let (ours, theirs) = (info(&mut p.proxy, ""), info(&mut p.server, ""));
    for name in [
        "redis_version",
        "redis_mode",
        "server_mode",
        "os",
        "arch_bits",
        "loading",
        "role",
        "connected_slaves",
        "cluster_enabled",
    ] {
        assert_eq!(ours.get(name), theirs.get(name), "{name}");
    }
    for name in [
        "process_id",
        "run_id",
        "uptime_in_seconds",
        "connected_clients",
        "maxclients",
        "used_memory",
        "used_memory_human",
        "used_memory_rss",
        "used_memory_peak",
        "used_memory_vm_eval",
        "used_memory_functions",
        "maxmemory",
        "maxmemory_policy",
        "mem_fragmentation_ratio",
        "rdb_last_save_time",
        "aof_enabled",
        "total_connections_received",
        "total_commands_processed",
        "instantaneous_ops_per_sec",
        "total_net_input_bytes",
        "rejected_connections",
        "expired_keys",
        "evicted_keys",
        "keyspace_hits",
        "keyspace_misses",
        "used_cpu_sys",
        "used_cpu_user",
        "proxy_version",
    ] {
        assert!(ours.contains_key(name), "{name} is missing");
    }
    assert_eq!(ours["tcp_port"], fixture().proxy.port.to_string());
    assert_eq!(ours["run_id"].len(), 40);
    assert_eq!(ours["proxy_slots_covered"], "16384");
}

#[test]
fn figures_are_summed_over_workers() {
    let proxy = Proxy::start(&fixture().cluster, &["-max-procs", "2"]);
    let mut clients: Vec<RawClient> = (0..8).map(|_| proxy.client()).collect();
    // The clients of the start may still be leaving.
    wait_until("all and only our clients", Duration::from_secs(5), || {
        info(&mut clients[0], "clients")["connected_clients"] == "8"
    });
    let before: Vec<_> = clients.iter_mut().map(|c| info(c, "server")["run_id"].clone()).collect();
    assert!(before.iter().all(|id| *id == before[0]), "one process, one id: {before:?}");
    let commands = |c: &mut RawClient| info(c, "stats")["total_commands_processed"].parse::<u64>().unwrap();
    let start = commands(&mut clients[0]);
    clients.iter_mut().for_each(|c| (0..10).for_each(|_| drop(c.line("PING"))));
    assert_eq!(commands(&mut clients[5]), start + 81);
    clients.iter_mut().for_each(|c| drop(c.line("LPUSH info:e")));
    clients.iter_mut().for_each(|c| drop(c.line("EVAL x")));
    let errors = info(&mut clients[1], "errorstats");
    assert_eq!(errors["errorstat_ERR"], "count=16");
}

#[test]
fn keys_are_counted_over_primaries() {
    let cluster = Cluster::with(3, 0, &[]);
    let proxy = Proxy::start(&cluster, &["-max-procs", "2"]);
    let mut c = proxy.client();
    let start: i64 = keys(&mut c).0;
    for i in 0..30 {
        c.line(&format!("SET info:{i} v"));
    }
    for i in 0..10 {
        c.line(&format!("PEXPIRE info:{i} 1000000"));
    }
    let (keys, expires, ttl) = keys(&mut c);
    assert_eq!((keys, expires), (start + 30, 10));
    assert!((0..=1_000_000).contains(&ttl), "{ttl}");
}

/// Keys, those that expire, their mean time to live.
fn keys(c: &mut RawClient) -> (i64, i64, i64) {
    let all = info(c, "keyspace");
    let of = |name: &str| {
        let db0 = all.get("db0").expect("db0");
        db0.split(',').find_map(|f| f.strip_prefix(name)?.strip_prefix('=')?.parse().ok()).unwrap()
    };
    (of("keys"), of("expires"), of("avg_ttl"))
}

#[test]
fn info_keeps_its_place_in_a_pipeline() {
    let mut c = client();
    c.send(b"SET info:p v\r\nINFO\r\nGET info:p\r\nINFO keyspace\r\nPING\r\n");
    assert_eq!(c.frame(), b"+OK\r\n");
    assert!(body(&c.frame()).starts_with(b"# Server\r\n"));
    assert_eq!(c.frame(), b"$1\r\nv\r\n");
    assert!(body(&c.frame()).starts_with(b"# Keyspace\r\n"));
    assert_eq!(c.frame(), b"+PONG\r\n");
}
