//! Nodes that fail for longer than anybody should wait: their requests fail at once until a probe says otherwise.

use std::time::Duration;

use crate::rig::{Rig, A, B, C, D, SLOTS_A, SLOTS_B, SLOTS_C};

const FAST: &str = "CLUSTERDOWN Node 127.0.0.1:7001 of slot 3300 has not answered for";

/// A rig in which nobody waits for longer than two seconds.
fn rig() -> Rig {
    Rig::three_with(|c| {
        c.retry_timeout = Duration::from_secs(2);
        c.reply_timeout = Duration::from_secs(2);
        c.connect_timeout = Duration::from_millis(500);
    })
}

/// A rig whose node A refuses connects for so long that its circuit is open.
fn opened() -> Rig {
    let rig = rig();
    rig.refuse_connects(A);
    let c = rig.client();
    c.sends_cmd(&["SET", "b", "1"]);
    rig.advance_ms(1900);
    c.receives_nothing();
    assert_eq!(rig.counters().circuits_open, 0, "a short failover is waited for");
    rig.advance_ms(1500);
    c.receives_error("CLUSTERDOWN N", &["slot 3300"]);
    rig.advance_ms(1000);
    // The first one that is refused a connection again.
    c.sends_cmd(&["SET", "b", "1"]);
    rig.advance_ms(10);
    c.receives_error(FAST, &[]);
    assert_eq!(rig.counters().circuits_open, 1);
    rig
}

/// Each request to a dead node waited for the whole retry timeout.
#[test]
fn requests_to_a_node_that_is_long_dead_queued_for_the_retry_timeout_each() {
    let rig = opened();
    let c = rig.client();
    for i in 0..20 {
        c.sends_cmd(&["SET", "b", "1"]).receives_error(FAST, &["ms"]);
        c.sends_cmd(&["GET", "b"]).receives_error(FAST, &[]);
        c.sends_cmd(&["MGET", "b", "c"]);
        rig.node(B).expects(&["mget", "c"]).replies(b"*1\r\n$-1\r\n");
        c.receives_error(FAST, &[]);
        c.sends_cmd(&["GET", "c"]);
        rig.node(B).expects(&["GET", "c"]).replies(b"$-1\r\n");
        c.receives(b"$-1\r\n");
        rig.advance_ms(100 + i);
    }
    c.is_open();
    let counters = rig.counters();
    assert_eq!((counters.circuits_opened, counters.circuits_open), (1, 1));
    assert!(counters.failed_at_once >= 60, "{}", counters.failed_at_once);
}

#[test]
fn every_kind_of_request_fails_at_once() {
    let rig = opened();
    let c = rig.client();
    c.sends_cmd(&["BLPOP", "b", "0"]).receives_error(FAST, &[]);
    c.sends_cmd(&["WATCH", "b"]).receives_error(FAST, &[]);
    let c = rig.client();
    c.sends_cmd(&["MULTI"]).receives(b"+OK\r\n").sends_cmd(&["INCR", "b"]).receives(b"+QUEUED\r\n");
    c.sends_cmd(&["EXEC"]).receives_error(FAST, &[]);
    c.sends_cmd(&["DBSIZE"]);
    rig.node(B).expects(&["DBSIZE"]).replies(b":1\r\n");
    rig.node(C).expects(&["DBSIZE"]).replies(b":1\r\n");
    let line = c.receives_line();
    assert!(line.contains("127.0.0.1:7001") && line.contains("has not answered for"), "{line}");
    // What needs no key goes to the others.
    for _ in 0..4 {
        c.sends_cmd(&["TIME"]);
        let node = if rig.node(B).received_len() > 0 { B } else { C };
        rig.node(node).expects(&["TIME"]).replies(b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
        c.receives(b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
    }
}

#[test]
fn a_node_that_is_back_is_found_by_a_probe_within_a_second() {
    let rig = opened();
    rig.advance_ms(60_000);
    let times = rig.connect_times_ms(A);
    let pauses: Vec<u64> = times.windows(2).map(|t| t[1] - t[0]).rev().take(50).collect();
    assert!(pauses.iter().all(|p| (450..=1100).contains(p)), "{pauses:?}");
    rig.accept_connects(A);
    let c = rig.client();
    c.sends_cmd(&["SET", "b", "1"]).receives_error(FAST, &[]);
    rig.advance_ms(1100);
    c.sends_cmd(&["SET", "b", "1"]);
    rig.node(A).expects(&["SET", "b", "1"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
    assert_eq!(rig.counters().circuits_open, 0);
}

#[test]
fn a_promotion_ends_it_at_once() {
    let rig = opened();
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[(A, D)]);
    let c = rig.client();
    c.sends_cmd(&["SET", "b", "1"]);
    rig.node(D).expects(&["SET", "b", "1"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
}

#[test]
fn a_node_that_leaves_the_cluster_is_not_probed_any_more() {
    let rig = opened();
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[]);
    rig.advance_ms(2000);
    let connects = rig.connects(A);
    rig.advance_ms(10_000);
    assert_eq!(rig.connects(A), connects);
    assert_eq!(rig.counters().circuits_open, 0);
}

/// A node that takes requests and never answers: the first ones wait for the reply timeout, later ones for nothing, and
/// those that a probe lets in for a second.
#[test]
fn requests_to_a_node_that_never_answers_waited_for_the_reply_timeout_each() {
    let rig = rig();
    let (first, later) = (rig.client(), rig.client());
    first.sends_cmd(&["INCR", "b"]);
    rig.node(A).expects(&["INCR", "b"]);
    rig.advance_ms(2010);
    first.receives_error("ERR node 127.0.0.1:7001 took too long", &["unknown"]);
    later.sends_cmd(&["INCR", "b"]).receives_error(FAST, &[]);
    // The probe's greeting is answered, and again nothing else.
    rig.advance_ms(110);
    later.sends_cmd(&["INCR", "b"]).receives_nothing();
    rig.node(A).expects(&["INCR", "b"]);
    rig.advance_ms(1010);
    later.receives_error("ERR node 127.0.0.1:7001 took too long", &["unknown"]);
    later.sends_cmd(&["INCR", "b"]).receives_error(FAST, &[]);
    // Half open again, and this time it answers.
    rig.advance_ms(210);
    later.sends_cmd(&["INCR", "b"]);
    rig.node(A).expects(&["INCR", "b"]).replies(b":1\r\n");
    later.receives(b":1\r\n");
    // From now on it may take its time.
    later.sends_cmd(&["INCR", "b"]);
    rig.node(A).expects(&["INCR", "b"]);
    rig.advance_ms(1900);
    rig.node(A).replies(b":2\r\n");
    later.receives(b":2\r\n");
}

/// A node that accepts greetings and resets the connection at each request: reads do not go round for ever.
#[test]
fn a_node_that_resets_every_connection_is_left_alone_ever_longer() {
    let rig = rig();
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    let mut resets = 0;
    while c.received_len() == 0 && resets < 1000 {
        if rig.open(A) > 0 && rig.node(A).received_len() > 0 {
            resets += 1;
            rig.node(A).expects(&["GET", "b"]).closes();
        }
        rig.advance_ms(1);
    }
    c.receives_error("CLUSTERDOWN N", &["slot 3300"]);
    let mut let_in = 0;
    for _ in 0..1000 {
        c.sends_cmd(&["INCR", "b"]);
        if c.received_len() == 0 && rig.open(A) > 0 {
            let_in += 1;
            rig.node(A).expects(&["INCR", "b"]).closes();
            c.receives_error("ERR node 127.0.0.1:7001 was lost", &["unknown"]);
        } else {
            c.receives_error(FAST, &[]);
        }
        rig.advance_ms(10);
    }
    assert!((8..25).contains(&let_in), "{let_in} requests let in within ten seconds");
}

/// Nothing is held against a node that answers on one connection while another one fails.
#[test]
fn a_node_that_refuses_resp3_still_serves_resp2() {
    let rig = rig();
    let (plain, modern) = (rig.client(), rig.client());
    plain.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    plain.receives(b"$-1\r\n");
    modern.sends_cmd(&["HELLO", "3"]);
    modern.takes_received();
    rig.refuse_connects(A);
    modern.sends_cmd(&["GET", "b"]);
    for _ in 0..100 {
        plain.sends_cmd(&["GET", "b"]);
        rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
        plain.receives(b"$-1\r\n");
        rig.advance_ms(50);
    }
    modern.receives_error("CLUSTERDOWN No node of slot 3300", &[]);
    assert_eq!(rig.counters().circuits_opened, 0);
}

/// An idle connection that is closed, a lost one now and then: no reason to refuse anything.
#[test]
fn failures_that_have_nothing_to_do_with_one_another_do_not_add_up() {
    let rig = rig();
    let c = rig.client();
    for _ in 0..50 {
        c.sends_cmd(&["INCR", "b"]);
        rig.node(A).expects(&["INCR", "b"]).closes();
        c.receives_error("ERR node 127.0.0.1:7001 was lost", &["unknown"]);
        rig.advance_ms(6500);
    }
    assert_eq!(rig.counters().circuits_opened, 0);
}

/// Reads go round a replica whose circuit is open.
#[test]
fn a_replica_that_is_long_dead_costs_its_readers_nothing() {
    let rig = Rig::with(|c| {
        c.retry_timeout = Duration::from_secs(2);
        c.connect_timeout = Duration::from_millis(900);
    });
    rig.topology(&[(A, 0..=16383)], &[(D, A)]);
    let c = rig.client();
    c.sends_cmd(&["READONLY"]).receives(b"+OK\r\n");
    rig.by_hand(D);
    rig.leave_unfinished();
    let mut longest = 0;
    for round in 0..60 {
        c.sends_cmd(&["GET", "b"]);
        let begin = rig.now_ms();
        while rig.open(A) == 0 || rig.node(A).received_len() == 0 {
            rig.advance_ms(1);
        }
        if round > 50 {
            longest = longest.max(rig.now_ms() - begin);
        }
        rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
        c.receives(b"$-1\r\n");
        rig.advance_ms(100);
    }
    assert!(longest < 10, "waited {longest} ms for a replica");
    assert_eq!(rig.counters().circuits_open, 1);
}
