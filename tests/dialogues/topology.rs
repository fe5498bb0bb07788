//! Nodes come, go, change their parts and their names.

use std::time::Duration;

use crate::rig::{Rig, A, B, C, D, SLOTS_A, SLOTS_B, SLOTS_C};

/// What INFO says of the number of nodes.
fn nodes(rig: &Rig) -> usize {
    let c = rig.client();
    c.sends_cmd(&["INFO", "proxy"]);
    let text = String::from_utf8(c.takes_received()).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("proxy_nodes:"));
    line.and_then(|n| n.parse().ok()).unwrap()
}

#[test]
fn without_a_topology_commands_with_keys_are_refused_and_local_ones_are_not() {
    let rig = Rig::with(|_| {});
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]).receives_error("CLUSTERDOWN", &["not reached any node"]);
    c.sends_cmd(&["MGET", "a", "b"]).receives_error("CLUSTERDOWN", &[]);
    c.sends_cmd(&["TIME"]).receives_error("CLUSTERDOWN", &[]);
    c.sends_cmd(&["PING"]).receives(b"+PONG\r\n");
    rig.topology(&[(A, 0..=16383)], &[]);
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
}

#[test]
fn a_slot_that_nobody_serves_is_refused_in_a_servers_words() {
    let rig = Rig::with(|_| {});
    rig.topology(&[(A, SLOTS_A)], &[]);
    let c = rig.client();
    c.sends_cmd(&["GET", "c"]).receives_error("CLUSTERDOWN Hash slot not served", &["7365"]);
    assert!(!rig.hints().is_empty());
}

#[test]
fn a_removed_node_is_left_after_its_last_reply_and_forgotten() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["SET", "b", "1"]).sends_cmd(&["GET", "c"]);
    rig.node(B).expects(&["GET", "c"]).replies(b"$-1\r\n");
    rig.topology(&[(D, SLOTS_A), (D, SLOTS_B), (C, SLOTS_C)], &[]);
    // The idle connection to B goes at once, the one to A when it has answered.
    assert_eq!((rig.open(A), rig.open(B), nodes(&rig)), (1, 0, 3));
    rig.node(A).expects(&["SET", "b", "1"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n$-1\r\n");
    assert_eq!((rig.open(A), nodes(&rig)), (0, 2));
    c.sends_cmd(&["GET", "b"]);
    rig.node(D).expects(&["GET", "b"]).replies(b"$1\r\n1\r\n");
    c.receives(b"$1\r\n1\r\n");
}

#[test]
fn nodes_that_come_and_go_leave_nothing_behind() {
    let rig = Rig::three();
    let c = rig.client();
    for i in 0..3000u16 {
        let addr = format!("10.0.{}.{}:7000", i / 250, i % 250 + 1);
        rig.topology(&[(&addr, 0..=16383)], &[]);
        c.sends_cmd(&["GET", "b"]);
        rig.node(&addr).expects(&["GET", "b"]).replies(b"$-1\r\n");
        c.receives(b"$-1\r\n");
    }
    assert_eq!((nodes(&rig), rig.counters().backends), (1, 1));
}

#[test]
fn a_removed_node_that_returns_is_used_again() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[]);
    rig.topology(&[(A, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
    for _ in 0..2 {
        c.sends_cmd(&["GET", "b"]);
        rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
        c.receives(b"$-1\r\n");
    }
    assert_eq!(rig.connects(A), 1);
}

#[test]
fn a_topology_undoes_what_a_confused_node_said() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"-MOVED 3300 127.0.0.1:7002\r\n");
    rig.node(B).expects(&["GET", "b"]).replies(b"$-1\r\n");
    rig.topology(&[(A, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[]);
    c.receives(b"$-1\r\n").sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
}

#[test]
fn a_node_is_known_by_the_name_that_it_has_now() {
    let mut rig = Rig::three();
    rig.name(B, "redis-1:7002");
    rig.topology(&[(A, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[]);
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"-MOVED 3300 redis-1:7002\r\n");
    rig.node(B).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
}

/// The old primary may be dead, which its connection does not show.
#[test]
fn a_demoted_primary_has_half_a_second_for_what_it_was_asked() {
    let rig = Rig::three();
    let (reader, writer) = (rig.client(), rig.client());
    reader.sends_cmd(&["GET", "b"]);
    writer.sends_cmd(&["INCR", "b"]);
    rig.node(A).expects(&["GET", "b"]).expects(&["INCR", "b"]);
    // The same news may come again and again: each is no reason to wait longer.
    for _ in 0..6 {
        rig.topology(&[(D, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[(A, D)]);
        rig.advance_ms(100);
    }
    writer.receives_error("ERR node 127.0.0.1:7001 took too long", &["unknown"]);
    rig.node(D).expects(&["GET", "b"]).expects_nothing().replies(b"$-1\r\n");
    reader.receives(b"$-1\r\n");
}

#[test]
fn a_demoted_primary_that_answers_in_time_is_heard() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["INCR", "b"]);
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[(A, D)]);
    rig.advance_ms(400);
    rig.node(A).expects(&["INCR", "b"]).replies(b":1\r\n");
    c.receives(b":1\r\n");
    rig.advance_ms(5000);
}

#[test]
fn a_primary_that_was_demoted_once_has_all_its_time_again_when_it_is_back() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["INCR", "b"]);
    rig.node(A).expects(&["INCR", "b"]).replies(b":1\r\n");
    c.receives(b":1\r\n");
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[(A, D)]);
    rig.advance_ms(2000);
    rig.topology(&[(A, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[(D, A)]);
    c.sends_cmd(&["INCR", "b"]);
    rig.node(A).expects(&["INCR", "b"]);
    rig.advance_ms(3000);
    c.receives_nothing();
    rig.node(A).replies(b":2\r\n");
    c.receives(b":2\r\n");
}

#[test]
fn a_connect_to_a_node_that_lost_its_slots_is_not_waited_for() {
    let rig = Rig::three();
    rig.by_hand(A);
    let c = rig.client();
    c.sends_cmd(&["INCR", "b"]);
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[(A, D)]);
    rig.node(D).expects(&["INCR", "b"]).replies(b":1\r\n");
    c.receives(b":1\r\n");
    assert_eq!(rig.open(A), 0);
}

/// It owns nothing yet, which does not mean that it has lost anything.
#[test]
fn a_node_that_is_about_to_get_a_slot_has_all_its_time() {
    let rig = Rig::three();
    rig.by_hand(D);
    let c = rig.client();
    let same = || rig.topology(&[(A, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[]);
    c.sends_cmd(&["SET", "b", "1"]);
    rig.node(A).expects(&["SET", "b", "1"]).replies(b"-ASK 3300 127.0.0.1:7004\r\n");
    same();
    rig.node(D).accepts().greets().expects(&["ASKING"]).expects(&["SET", "b", "1"]);
    same();
    rig.advance_ms(3000);
    c.receives_nothing();
    rig.node(D).replies(b"+OK\r\n+OK\r\n");
    c.receives(b"+OK\r\n");
    assert_eq!(rig.connects(D), 1);
}

#[test]
fn commands_without_a_key_avoid_a_primary_that_cannot_be_reached() {
    let rig = Rig::three_with(|c| c.retry_timeout = Duration::from_secs(2));
    rig.refuse_connects(A);
    rig.refuse_connects(B);
    let c = rig.client();
    for _ in 0..12 {
        c.sends_cmd(&["TIME"]);
        rig.advance_ms(20);
        rig.node(C).expects(&["TIME"]).replies(b"*0\r\n");
        c.receives(b"*0\r\n");
    }
}
