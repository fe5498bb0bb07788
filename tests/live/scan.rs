//! SCAN over all primaries, on the stage of `fanout`.

use std::collections::{BTreeMap, BTreeSet};

use crate::fanout::{fill, keys_of_all_primaries, stage};
use crate::support::frame::{integer, is_error, items, show, text};
use crate::support::{Cluster, Proxy, RawClient};

/// Asks for steps of a scan, each from the next of `clients`, and counts how often each key came.
fn scan(clients: &mut [RawClient], options: &[&str]) -> BTreeMap<String, usize> {
    let (mut seen, mut cursor) = (BTreeMap::new(), "0".to_string());
    for step in 0.. {
        let client = &mut clients[step % 2];
        let reply = client.call(&[&["SCAN", &cursor], options].concat());
        let [next, keys] = items(&reply)[..] else { panic!("SCAN {cursor}: {}", show(&reply)) };
        cursor = text(next);
        assert!(cursor.parse::<u64>().is_ok_and(|c| c < 1 << 63), "{cursor}");
        items(keys).into_iter().for_each(|k| *seen.entry(text(k)).or_default() += 1);
        if cursor == "0" {
            break;
        }
    }
    seen
}

#[test]
fn a_scan_through_two_proxies_gives_every_key_once() {
    let stage = stage();
    let mut clients = [stage.proxies[0].client(), stage.proxies[1].client().resp3()];
    fill(&mut clients[0], "key:", 10_000);
    for i in 0..300 {
        clients[0].line(&format!("RPUSH list:{i} x"));
    }
    let all = scan(&mut clients, &["COUNT", "100"]);
    assert_eq!(all.len(), 10_300);
    assert!(all.values().all(|n| *n == 1), "a key came twice although nothing changed");
    assert_eq!(scan(&mut clients, &[]).len(), 10_300);
    assert_eq!(scan(&mut clients, &["MATCH", "key:1*", "COUNT", "1000"]).len(), 1111);
    assert_eq!(scan(&mut clients, &["COUNT", "77", "TYPE", "list", "MATCH", "*"]).len(), 300);
    assert_eq!(scan(&mut clients, &["TYPE", "hash", "COUNT", "5000"]).len(), 0);
}

/// Servers with a table per slot carry the slot in their cursors; many keys with one tag make one of these tables large.
#[test]
fn a_scan_of_twenty_thousand_keys_gives_each_of_them_once_whatever_its_options() {
    let stage = stage();
    let mut clients = [stage.proxies[0].client(), stage.proxies[1].client().resp3()];
    fill(&mut clients[0], "key:", 14_000);
    fill(&mut clients[0], "{tagged}:", 5_700);
    (0..300).for_each(|i| drop(clients[0].line(&format!("RPUSH list:{i} x"))));
    let ways: [(&[&str], usize); 12] = [
        (&[], 20_000),
        (&["COUNT", "1000"], 20_000),
        (&["COUNT", "1000000"], 20_000),
        (&["COUNT", "9223372036854775807"], 20_000),
        (&["MATCH", "*", "COUNT", "77"], 20_000),
        (&["TYPE", "string", "COUNT", "300"], 19_700),
        (&["TYPE", "list"], 300),
        (&["MATCH", "key:*", "COUNT", "500"], 14_000),
        (&["MATCH", "{tagged}*", "COUNT", "7"], 5_700),
        (&["MATCH", "{tagged}:1*", "COUNT", "100", "TYPE", "string"], 1_111),
        (&["MATCH", "{tagged}*", "COUNT", "100", "TYPE", "list"], 0),
        (&["MATCH", "*{tagged}*", "COUNT", "500"], 5_700),
    ];
    for (options, expected) in ways {
        let seen = scan(&mut clients, options);
        let often = seen.iter().filter(|(_, n)| **n != 1).count();
        assert_eq!((seen.len(), often), (expected, 0), "{options:?}");
    }
}

#[test]
fn a_scan_passes_over_nodes_that_have_no_keys() {
    let stage = stage();
    let mut clients = [stage.proxies[0].client(), stage.proxies[1].client()];
    assert!(scan(&mut clients, &[]).is_empty());
    for key in keys_of_all_primaries() {
        fill(&mut clients[0], &key, 200);
        for options in [&[][..], &["COUNT", "1"], &["COUNT", "100000"], &["MATCH", "*"]] {
            let seen = scan(&mut clients, options);
            assert!(seen.len() == 200 && seen.values().all(|n| *n == 1), "{key} {options:?}: {}", seen.len());
        }
        assert_eq!(clients[0].line("FLUSHALL"), b"+OK\r\n");
    }
}

/// No cursor that a walk gives, but somebody may try.
#[test]
fn a_scan_from_a_cursor_of_64_bits_goes_on_and_ends() {
    let stage = stage();
    let mut c = stage.client();
    fill(&mut c, "key:", 500);
    for start in [(1 << 49) - 1, 1 << 49, (1 << 63) - 1, 1 << 63, u64::MAX - 16384, u64::MAX] {
        let mut cursor = start.to_string();
        for step in 0.. {
            let reply = c.call(&["SCAN", &cursor, "COUNT", "50"]);
            assert!(!is_error(&reply) && step < 100, "from {start}, SCAN {cursor}: {}", show(&reply));
            cursor = text(items(&reply)[0]);
            if cursor == "0" {
                break;
            }
        }
    }
}

#[test]
fn a_scan_for_one_tag_asks_one_node() {
    let stage = stage();
    let mut clients = [stage.proxies[0].client(), stage.proxies[1].client()];
    fill(&mut clients[0], "other:", 1000);
    for key in keys_of_all_primaries() {
        fill(&mut clients[0], &key, 300);
        let nodes: Vec<usize> = (0..6).collect();
        let before: Vec<u64> = nodes.iter().map(|i| stage.cluster.nodes[*i].calls_of("scan")).collect();
        let seen = scan(&mut clients, &["MATCH", &format!("{key}*"), "COUNT", "50"]);
        assert_eq!(seen.len(), 300, "{key}");
        let asked = nodes.iter().filter(|i| stage.cluster.nodes[**i].calls_of("scan") > before[**i]);
        assert_eq!(asked.count(), 1, "{key}");
    }
}

#[test]
fn errors_of_a_scan_are_those_of_a_server() {
    let stage = stage();
    let mut p = stage.pair();
    for line in [
        "SCAN",
        "SCAN abc",
        "SCAN 1x",
        "SCAN 99999999999999999999",
        "SCAN abc COUNT abc",
        "SCAN 0 FOO",
        "SCAN 0 MATCH",
        "SCAN 0 COUNT 0",
        "SCAN 0 COUNT abc",
        "SCAN 0 COUNT",
        "SCAN +0",
        "SCAN 000",
    ] {
        p.same_line(line);
    }
}

#[test]
fn a_scan_survives_a_failover() {
    // A cluster of its own: the roles of its nodes change.
    let cluster = Cluster::start();
    let proxies = [(); 2].map(|()| Proxy::start(&cluster, &["-max-procs", "1"]));
    let mut clients = [proxies[0].client(), proxies[1].client()];
    fill(&mut clients[0], "key:", 2000);
    let reply = clients[0].line("SCAN 0 COUNT 10");
    let cursor = text(items(&reply)[0]);
    cluster.failover(3);
    let owner = cluster.owner(0);
    assert_eq!(owner, 3);
    // The promoted replica keeps its keys in another order: nothing is promised but that the walk goes on and ends.
    let mut cursor = cursor;
    let mut seen = BTreeSet::new();
    while cursor != "0" {
        let reply = clients[1].line(&format!("SCAN {cursor} COUNT 100"));
        assert!(!is_error(&reply), "{}", show(&reply));
        cursor = text(items(&reply)[0]);
        seen.extend(items(items(&reply)[1]).into_iter().map(text));
    }
    let dbsize = integer(&clients[0].line("DBSIZE"));
    // `wait_serving` left a key on each primary.
    assert_eq!(dbsize, 2003);
    assert!(seen.len() > 1300, "both other shards were walked in full: {}", seen.len());
}
