//! CLUSTER: the proxy as one node with all slots.

use std::time::Duration;

use crate::support::frame::{integer, is_error, items, request, text};
use crate::support::keys::tag_where;
use crate::support::{wait_until, Proxy, Server};
use crate::{client, fixture};

/// A server in cluster mode that owns all slots, with replies as they are after an address was announced.
pub fn lone_node() -> Server {
    let server = Server::standalone(&["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]);
    assert_eq!(server.client().line("CLUSTER ADDSLOTSRANGE 0 16383"), b"+OK\r\n");
    wait_until("the cluster of one node is well", Duration::from_secs(10), || {
        server.text("CLUSTER INFO").starts_with("cluster_state:ok")
    });
    server
}

/// What differs between two nodes by their nature: ids, of shards too, ports, epochs.
fn neutral(reply: &[u8], ids: &[String; 2], port: u16) -> String {
    let text = String::from_utf8_lossy(reply).replace(&ids[0], "ID").replace(&ids[1], "SHARD");
    let bus = port.checked_add(10_000).unwrap_or(0);
    text.replace(&format!(":{port}@{bus}"), ":PORT@BUS").replace(&format!(":{port}\r"), ":PORT\r")
}

#[test]
fn forms_are_those_of_a_node_that_owns_all_slots() {
    let server = lone_node();
    for protocol in ["2", "3"] {
        let (mut c, mut s) = (client(), server.client());
        let (ours, theirs) = (text(&c.line("CLUSTER MYID")), text(&s.line("CLUSTER MYID")));
        assert!(ours.len() == 40 && ours.bytes().all(|b| b.is_ascii_hexdigit()), "{ours}");
        // Servers that have no such id answer with one and the same error.
        let (our_shard, their_shard) =
            (text(&c.line("CLUSTER MYSHARDID")), text(&s.line("CLUSTER MYSHARDID")));
        assert_eq!(our_shard.len(), their_shard.len(), "{our_shard}");
        c.line(&format!("HELLO {protocol}"));
        s.line(&format!("HELLO {protocol}"));
        for line in ["CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER LINKS", "CLUSTER KEYSLOT {x}y"] {
            let (got, expected) = (c.line(line), s.line(line));
            assert_eq!(
                neutral(&got, &[ours.clone(), our_shard.clone()], fixture().proxy.port),
                neutral(&expected, &[theirs.clone(), their_shard.clone()], server.port),
                "{line}"
            );
        }
        for (line, id) in
            [("CLUSTER COUNT-FAILURE-REPORTS", true), ("CLUSTER REPLICAS", true), ("CLUSTER SLAVES", false)]
        {
            let own = |of: &str| if id { format!("{line} {of}") } else { format!("{line} abc") };
            assert_eq!(c.line(&own(&ours)), s.line(&own(&theirs)), "{line}");
        }
    }
}

#[test]
fn nodes_and_info_have_the_fields_of_a_server() {
    let server = lone_node();
    let (mut c, mut s) = (client(), server.client());
    let (got, expected) = (text(&c.line("CLUSTER NODES")), text(&s.line("CLUSTER NODES")));
    assert_eq!(got.lines().count(), 1);
    // All but the id, the address and the epoch.
    let rest = |line: &str| {
        line.split(' ')
            .enumerate()
            .filter(|(i, _)| ![0, 1, 6].contains(i))
            .map(|(_, w)| w.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(rest(&got), rest(&expected));
    let names =
        |text: &str| text.lines().map(|l| l.split(':').next().unwrap().to_owned()).collect::<Vec<_>>();
    let (got, expected) = (text(&c.line("CLUSTER INFO")), text(&s.line("CLUSTER INFO")));
    assert_eq!(names(&got), names(&expected));
    assert!(got.starts_with("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"), "{got}");
}

#[test]
fn errors_are_those_of_a_server() {
    let server = lone_node();
    let (mut c, mut s) = (client(), server.client());
    for line in [
        "CLUSTER COUNTKEYSINSLOT x",
        "CLUSTER COUNTKEYSINSLOT -1",
        "CLUSTER COUNTKEYSINSLOT 16384",
        "CLUSTER COUNTKEYSINSLOT 99999999999999999999999",
        "CLUSTER GETKEYSINSLOT 5 -1",
        "CLUSTER GETKEYSINSLOT x 10",
        "CLUSTER GETKEYSINSLOT 16384 10",
        "CLUSTER GETKEYSINSLOT 5 x",
        "CLUSTER COUNT-FAILURE-REPORTS abc",
        "CLUSTER REPLICAS abc",
        "CLUSTER KEYSLOT",
        "CLUSTER FOO",
        "CLUSTER",
        "CLUSTER HELP",
        "READONLY",
        "READWRITE",
    ] {
        assert_eq!(String::from_utf8_lossy(&c.line(line)), String::from_utf8_lossy(&s.line(line)), "{line}");
    }
}

#[test]
fn nothing_that_changes_the_cluster_gets_through() {
    let mut c = client();
    for line in [
        "CLUSTER ADDSLOTS 1",
        "CLUSTER FORGET abc",
        "CLUSTER RESET HARD",
        "CLUSTER FAILOVER",
        "CLUSTER SETSLOT 1 STABLE",
        "CLUSTER MEET 127.0.0.1 1",
        "ASKING",
    ] {
        let reply = c.line(line);
        assert!(
            is_error(&reply) && text(&reply).contains("not available through the proxy"),
            "{}",
            text(&reply)
        );
    }
}

#[test]
fn keys_of_a_slot_come_from_its_owner() {
    let mut c = client();
    for third in 0..3 {
        let tag = tag_where(|slot| slot / 5462 == third);
        let slot = integer(&c.line(&format!("CLUSTER KEYSLOT {tag}")));
        let count = |c: &mut crate::RawClient| integer(&c.line(&format!("CLUSTER COUNTKEYSINSLOT {slot}")));
        let before = count(&mut c);
        assert_eq!(c.line(&format!("SET view:{{{tag}}} v")), b"+OK\r\n");
        assert_eq!(count(&mut c), before + 1);
        let keys = c.line(&format!("CLUSTER GETKEYSINSLOT {slot} 1000"));
        assert!(items(&keys).iter().any(|k| text(k) == format!("view:{{{tag}}}")));
    }
}

#[test]
fn the_announced_address_is_what_clients_are_told() {
    let proxy = Proxy::start(&fixture().cluster, &["-announce-addr", "redis.example.com:7777"]);
    let mut c = proxy.client();
    c.send(&request(&["CLUSTER", "SLOTS"]));
    let reply = String::from_utf8(c.frame()).unwrap();
    assert!(reply.contains("$17\r\nredis.example.com\r\n:7777\r\n"), "{reply}");
    assert!(text(&c.line("INFO server")).contains("tcp_port:7777\r\n"));
}
