//! INFO: what it sums, and what of commands it tells.

use std::time::Duration;

use crate::rig::{field, Proxy};

#[test]
fn commandstats_and_latencystats_tell_of_each_command_of_all_workers() {
    let mut p = Proxy::new(2);
    let (a, b) = (p.client(0), p.client(1));
    p.says(b, "GET k\nGET k\nLPUSH k x\nGET\nMULTI\nGET k\nDISCARD\nEXEC\nINCR k\nPING\nSELECT x");
    let node = p.backend();
    p.node_gets(node);
    p.wait(Duration::from_millis(3));
    p.node_says(node, "$1\r\nv\r\n$1\r\nv\r\n-WRONGTYPE no list\r\n-OOM command not allowed\r\n");
    p.says(a, "PING");
    let info = p.says(a, "INFO commandstats latencystats");
    for (name, value) in [
        ("cmdstat_get", "calls=3,usec=6000,usec_per_call=3000.00,rejected_calls=1,failed_calls=0"),
        ("cmdstat_lpush", "calls=1,usec=3000,usec_per_call=3000.00,rejected_calls=0,failed_calls=1"),
        ("cmdstat_ping", "calls=2,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0"),
        ("cmdstat_select", "calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=1"),
        ("cmdstat_incr", "calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0"),
        ("cmdstat_exec", "calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=1"),
        ("cmdstat_multi", "calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0"),
        ("latency_percentiles_usec_get", "p50=3071.000,p99=3071.000,p99.9=3071.000"),
    ] {
        assert_eq!(field(&info, name), Some(value), "{name} in {info}");
    }
    assert!(!info.contains("latency_percentiles_usec_ping"), "no time was taken: {info}");
    assert_eq!(p.engines[1].totals().commands.iter().count(), 8);
    for shown_in in ["INFO", "INFO default", "INFO errorstats"] {
        p.send(a, shown_in);
        p.wait(Duration::from_millis(1001));
        assert!(!p.gets(a).contains("cmdstat_"), "{shown_in}");
    }
}

#[test]
fn config_resetstat_resets_what_info_shows_of_commands_and_errors() {
    let mut p = Proxy::new(2);
    let (a, b) = (p.client(0), p.client(1));
    p.says(b, "PING\nGET");
    p.send(a, "CONFIG RESETSTAT");
    let node = p.backend();
    p.node_gets(node);
    p.node_says(node, "+OK\r\n");
    assert_eq!(p.gets(a), "+OK\r\n");
    let info = p.says(a, "INFO commandstats errorstats latencystats");
    let names: Vec<&str> = info.lines().filter_map(|l| Some(l.split_once(':')?.0)).collect();
    assert_eq!(
        names,
        ["cmdstat_info", "cmdstat_config|resetstat", "latency_percentiles_usec_config|resetstat"],
        "{info}"
    );
    assert_eq!(p.engines[1].counters().requests, 1, "metrics of the whole proxy are not reset");
}

#[test]
fn info_sums_workers_and_primaries() {
    let mut p = Proxy::new(2);
    let (a, b) = (p.client(0), p.client(1));
    p.says(b, "PING\nCLIENT NOSUCH");
    p.send(a, "INFO");
    let node = p.backend();
    assert_eq!(p.node_gets(node), "*1\r\n$4\r\nINFO\r\n");
    let text = "used_memory:2048\r\nmaxmemory_policy:allkeys-lru\r\ndb0:keys=3,expires=1,avg_ttl=9\r\n";
    p.node_says(node, &format!("${}\r\n{text}\r\n", text.len()));
    let info = p.gets(a);
    for (name, value) in [
        ("connected_clients", "2"),
        ("total_connections_received", "2"),
        ("total_error_replies", "1"),
        ("errorstat_ERR", "count=1"),
        ("used_memory", "2048"),
        ("used_memory_human", "2.00K"),
        ("maxmemory_policy", "allkeys-lru"),
        ("db0", "keys=3,expires=1,avg_ttl=9"),
        ("tcp_port", "6379"),
        ("executable", "/bin/proxy"),
        ("proxy_workers", "2"),
        ("proxy_used_memory_rss", "9"),
    ] {
        assert_eq!(field(&info, name), Some(value), "{name} in {info}");
    }
}

#[test]
fn info_does_not_wait_for_a_node_for_long_nor_stops_its_client() {
    let mut p = Proxy::new(2);
    let a = p.client(0);
    assert_eq!(p.says(a, "INFO keyspace\nPING"), "");
    p.wait(Duration::from_millis(1001));
    assert_eq!(p.gets(a), "$12\r\n# Keyspace\r\n\r\n+PONG\r\n");
    let node = p.backend();
    p.node_gets(node);
    assert!(p.says(a, "INFO server").contains("redis_mode:standalone"), "it asks no node");
    p.engines[0].backend_gone(node.1, "gone".into());
    for _ in 0..2 {
        p.send(a, "INFO keyspace");
        if let Some((worker, backend)) = p.connects.pop() {
            p.engines[worker].backend_gone(backend, "refused".into());
        }
        assert_eq!(p.gets(a), "$12\r\n# Keyspace\r\n\r\n", "a node that cannot be reached is not waited for");
    }
}

#[test]
fn info_clients_has_the_fields_of_newer_servers_where_the_nodes_have_them() {
    let mut p = Proxy::new(2);
    let (a, b) = (p.client(0), p.client(1));
    p.send(b, "SUBSCRIBE news");
    p.connects.clear();
    p.send(a, "INFO clients");
    let node = p.backend();
    let newer = "watching_clients:7\r\ntotal_blocking_keys:5\r\n";
    for (text, watching, blocking) in [("", None, None), (newer, Some("0"), Some("5"))] {
        p.node_gets(node);
        p.node_says(node, &format!("${}\r\n{text}\r\n", text.len()));
        let info = p.gets(a);
        assert_eq!(field(&info, "blocked_clients"), Some("0"));
        assert_eq!(field(&info, "watching_clients"), watching, "{info}");
        assert_eq!(field(&info, "pubsub_clients"), watching.map(|_| "1"), "{info}");
        assert_eq!(field(&info, "total_blocking_keys"), blocking, "{info}");
        p.send(a, "INFO clients");
    }
}
