//! Nodes that cannot be reached, do not answer, or answer what nobody asked.

use std::time::Duration;

use redis_cluster_proxy::proxy::Hint;

use crate::rig::{at, cmd, Rig, A, B, C, D, SLOTS_A, SLOTS_B, SLOTS_C};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn a_reply_that_nobody_asked_for_closes_the_connection_and_reaches_nobody() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$1\r\n1\r\n$1\r\nX\r\n");
    c.receives(b"$1\r\n1\r\n");
    assert_eq!(rig.open(A), 0);
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$1\r\n2\r\n");
    c.receives(b"$1\r\n2\r\n");
}

#[test]
fn a_reply_to_an_idle_connection_closes_it() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$1\r\n1\r\n").replies(b"-ERR idle too long\r\n");
    c.receives(b"$1\r\n1\r\n").receives_nothing();
    assert_eq!(rig.open(A), 0);
}

/// A node refuses a request that is too large before it has seen all of it; the next reply would be taken for the
/// wrong request.
#[test]
fn a_reply_to_a_request_that_is_not_fully_sent_closes_the_connection() {
    let rig = Rig::three();
    let (c1, c2, c3) = (rig.client(), rig.client(), rig.client());
    c1.sends_cmd(&["GET", "hello"]);
    let large = vec![b'x'; 1000];
    let set = cmd(&[&b"SET"[..], b"b", &large]);
    rig.node(A).expects(&["GET", "hello"]).takes(Some(500));
    c2.sends(&set);
    c3.sends_cmd(&["SET", "b", "2"]);
    rig.node(A).expects_bytes(&set[..500]);
    rig.node(A).replies(b"$-1\r\n-ERR Protocol error: invalid bulk length\r\n");
    c1.receives(b"$-1\r\n");
    c2.receives_nothing();
    rig.advance_ms(50);
    // Its last byte was not written, so it was not executed.
    assert_eq!(rig.node(A).received_len(), set.len() + cmd(&["SET", "b", "2"]).len());
    for command in rig.node(A).takes_commands() {
        rig.node(A).replies(if command[2] == large { b"+large\r\n" } else { b"+small\r\n" });
    }
    c2.receives(b"+large\r\n");
    c3.receives(b"+small\r\n");
    assert_eq!(rig.connects(A), 2);
}

#[test]
fn bytes_that_are_no_reply_close_the_connection() {
    for junk in [&b"?\r\n"[..], b"$x\r\n", b"$3\r\nabcd\r\n", b"HTTP/1.1 400 Bad Request\r\n", b"*1\r\n;\r\n"]
    {
        let rig = Rig::three();
        let (c1, c2) = (rig.client(), rig.client());
        c1.sends_cmd(&["GET", "b"]);
        c2.sends_cmd(&["INCR", "b"]);
        rig.node(A).expects(&["GET", "b"]).expects(&["INCR", "b"]).replies([b"$1\r\n1\r\n", junk].concat());
        c1.receives(b"$1\r\n1\r\n");
        c2.receives_error("ERR node 127.0.0.1:7001", &["outcome", "unknown"]);
    }
}

#[test]
fn a_late_reply_to_a_client_that_left_reaches_nobody() {
    let rig = Rig::three();
    let c1 = rig.client();
    c1.sends_cmd(&["GET", "b"]).sends_cmd(&["GET", "b"]);
    let c2 = rig.client();
    c2.sends_cmd(&["GET", "b"]);
    c1.resets();
    // The next client gets the place of the one that left.
    let c3 = rig.client();
    c3.sends_cmd(&["GET", "b"]);
    let a = rig.node(A);
    (0..4).for_each(|_| {
        a.expects(&["GET", "b"]);
    });
    a.replies(b"$3\r\nold\r\n").replies(b"-MOVED 3300 127.0.0.1:7002\r\n").replies(b"$1\r\n2\r\n$1\r\n3\r\n");
    c2.receives(b"$1\r\n2\r\n");
    c3.receives(b"$1\r\n3\r\n");
    rig.hints();
    assert_eq!(rig.connects(B), 0);
}

#[test]
fn a_node_that_does_not_answer_is_left_at_the_reply_timeout() {
    let rig = Rig::three_with(|c| {
        c.reply_timeout = ms(500);
        c.connect_timeout = ms(500);
        c.retry_timeout = ms(3000);
    });
    let (reader, writer, third, bystander) = (rig.client(), rig.client(), rig.client(), rig.client());
    bystander.sends_cmd(&["GET", "hello"]);
    rig.node(A).expects(&["GET", "hello"]).replies(b"$-1\r\n");
    bystander.receives(b"$-1\r\n");
    rig.advance_ms(1000);
    let (get, incr) = (cmd(&["GET", "b"]), cmd(&["INCR", "b"]));
    rig.node(A).takes(Some(get.len() + incr.len() + 3));
    reader.sends(&get);
    writer.sends(&incr).sends_cmd(&["PING"]);
    third.sends_cmd(&["APPEND", "b", "x"]);
    rig.node(A).expects_bytes(&get).expects_bytes(&incr).expects_bytes(b"*3\r");
    rig.advance_ms(490);
    writer.receives_nothing();
    bystander.sends_cmd(&["GET", "c"]);
    rig.node(B).expects(&["GET", "c"]).replies(b"$-1\r\n");
    bystander.receives(b"$-1\r\n");
    rig.hints();
    rig.advance_ms(15);
    assert_eq!(rig.hints(), [Hint::NodeLost(at(A))]);
    writer
        .receives_error("ERR node 127.0.0.1:7001 took too long", &["outcome", "unknown"])
        .receives(b"+PONG\r\n");
    // What only reads, and what was not written to its end, is sent again; what may have been executed is not.
    rig.advance_ms(50);
    let again = rig.node(A).takes_commands();
    assert_eq!(again.len(), 2);
    for command in again {
        rig.node(A).replies(if command[0] == b"GET" { b"$-1\r\n" } else { &b":1\r\n"[..] });
    }
    reader.receives(b"$-1\r\n");
    third.receives(b":1\r\n");
    assert_eq!((rig.connects(A), rig.counters().reply_timeouts), (2, 1));
}

/// The alarm that was set for connecting must not hide the one for the first reply.
#[test]
fn the_reply_timeout_of_a_new_connection_is_not_the_connect_timeout() {
    let rig = Rig::three_with(|c| {
        c.reply_timeout = ms(200);
        c.connect_timeout = ms(5000);
    });
    let c = rig.client();
    c.sends_cmd(&["INCR", "b"]);
    rig.node(A).expects(&["INCR", "b"]);
    rig.advance_ms(210);
    c.receives_error("ERR node 127.0.0.1:7001 took too long", &["unknown"]);
}

#[test]
fn a_node_that_answers_slowly_but_steadily_is_not_left() {
    let rig = Rig::three_with(|c| c.reply_timeout = ms(500));
    let c = rig.client();
    for _ in 0..10 {
        c.sends_cmd(&["GET", "b"]);
    }
    for _ in 0..10 {
        rig.advance_ms(400);
        rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
        c.receives(b"$-1\r\n");
    }
    // A long reply that comes in pieces is progress, too.
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$10\r\n");
    for _ in 0..10 {
        rig.advance_ms(400);
        rig.node(A).replies(b"x");
    }
    rig.node(A).replies(b"\r\n");
    c.receives(b"$10\r\nxxxxxxxxxx\r\n");
    assert_eq!(rig.connects(A), 1);
}

#[test]
fn an_idle_connection_is_not_timed_out_and_its_clock_starts_anew() {
    let rig = Rig::three_with(|c| c.reply_timeout = ms(500));
    let c = rig.client();
    for pause in [0, 499, 10_000, 300, 501] {
        rig.advance_ms(pause);
        c.sends_cmd(&["INCR", "b"]);
        rig.advance_ms(490);
        rig.node(A).expects(&["INCR", "b"]).replies(b":1\r\n");
        c.receives(b":1\r\n");
    }
    assert_eq!(rig.connects(A), 1);
}

#[test]
fn a_node_that_refuses_connects_is_tried_with_growing_pauses_however_many_clients_wait() {
    let rig = Rig::three();
    rig.refuse_connects(A);
    let clients: Vec<_> = (0..100).map(|_| rig.client()).collect();
    for c in &clients {
        c.sends_cmd(&["SET", "b", "1"]);
    }
    rig.advance_ms(9_900);
    clients.iter().for_each(|c| {
        c.receives_nothing();
    });
    let times = rig.connect_times_ms(A);
    assert!((8..30).contains(&times.len()), "{} connects in ten seconds", times.len());
    let pauses: Vec<u64> = times.windows(2).map(|t| t[1] - t[0]).collect();
    assert!(pauses.iter().all(|p| *p >= 10), "{pauses:?}");
    assert!(pauses.iter().rev().take(4).all(|p| *p >= 500), "{pauses:?}");
    rig.advance_ms(2_000);
    for c in &clients {
        c.receives_error("CLUSTERDOWN No node of slot 3300 could be reached within", &["ms"]);
    }
}

#[test]
fn a_node_that_accepts_connects_again_gets_what_waited_for_it() {
    let rig = Rig::three();
    rig.refuse_connects(A);
    let c = rig.client();
    c.sends([cmd(&["SET", "b", "1"]), cmd(&["GET", "b"]), cmd(&["GET", "c"])].concat());
    rig.advance_ms(1000);
    rig.node(B).expects(&["GET", "c"]).replies(b"$-1\r\n");
    c.receives_nothing();
    rig.accept_connects(A);
    rig.advance_ms(1100);
    rig.node(A).expects(&["SET", "b", "1"]).expects(&["GET", "b"]).replies(b"+OK\r\n$1\r\n1\r\n");
    c.receives(b"+OK\r\n$1\r\n1\r\n$-1\r\n");
}

#[test]
fn a_connect_that_nobody_answers_ends_at_the_connect_timeout_and_the_request_at_the_retry_timeout() {
    let rig = Rig::three_with(|c| {
        c.connect_timeout = ms(300);
        c.retry_timeout = ms(1000);
    });
    rig.by_hand(A);
    let c = rig.client();
    c.sends_cmd(&["SET", "b", "1"]);
    rig.advance_ms(290);
    assert_eq!((rig.connects(A), rig.open(A)), (1, 1));
    rig.advance_ms(20);
    assert_eq!(rig.open(A), 0);
    rig.advance_ms(50);
    assert_eq!((rig.connects(A), rig.open(A)), (2, 1));
    c.receives_nothing();
    // The last connect may begin just before the end.
    rig.advance_ms(950);
    c.receives_error("CLUSTERDOWN No node of slot 3300 could be reached", &[]);
}

#[test]
fn a_greeting_that_nobody_answers_ends_at_the_connect_timeout_and_no_data_is_sent() {
    let rig = Rig::three_with(|c| c.connect_timeout = ms(300));
    rig.by_hand(A);
    let c = rig.client();
    c.sends_cmd(&["SET", "b", "1"]);
    rig.node(A).accepts().expects(&["CLIENT", "SETNAME", "redis-cluster-proxy"]);
    rig.advance_ms(290);
    rig.node(A).expects_nothing();
    rig.accept_connects(A);
    rig.advance_ms(100);
    rig.node(A).expects(&["SET", "b", "1"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
}

#[test]
fn what_waits_for_a_dead_primary_goes_to_the_new_one_at_once() {
    let rig = Rig::three();
    let c = rig.client();
    rig.refuse_connects(A);
    c.sends([cmd(&["SET", "b", "1"]), cmd(&["SET", "b", "2"])].concat());
    rig.advance_ms(700);
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[(A, D)]);
    rig.node(D).expects(&["SET", "b", "1"]).expects(&["SET", "b", "2"]).replies(b"+OK\r\n+OK\r\n");
    c.receives(b"+OK\r\n+OK\r\n");
}

#[test]
fn a_dead_shard_does_not_hold_up_the_others() {
    let rig = Rig::three();
    rig.refuse_connects(A);
    let (stuck, free) = (rig.client(), rig.client());
    stuck.sends_cmd(&["SET", "b", "1"]);
    for _ in 0..50 {
        free.sends_cmd(&["GET", "c"]).sends_cmd(&["GET", "a"]);
        rig.node(B).expects(&["GET", "c"]).replies(b":1\r\n");
        rig.node(C).expects(&["GET", "a"]).replies(b":2\r\n");
        free.receives(b":1\r\n:2\r\n");
        rig.advance_ms(10);
    }
    stuck.resets();
}
