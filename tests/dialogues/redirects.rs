//! MOVED and ASK: who is asked next, what is learned, and where it ends.

use redis_cluster_proxy::proxy::Hint;

use crate::rig::{cmd, Rig, A, B, C, D, SLOTS_A, SLOTS_B, SLOTS_C};

#[test]
fn moved_corrects_the_slot_at_once_and_asks_for_the_topology() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["SET", "b", "1"]);
    rig.node(A).expects(&["SET", "b", "1"]).replies(b"-MOVED 3300 127.0.0.1:7002\r\n");
    rig.node(B).expects(&["SET", "b", "1"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
    assert_eq!(rig.hints(), [Hint::Moved(3300)]);
    // The slot is known from now on, and other slots of the node stay where they are.
    c.sends_cmd(&["GET", "b"]).sends_cmd(&["GET", "hello"]);
    rig.node(B).expects(&["GET", "b"]).expects_nothing().replies(b"$1\r\n1\r\n");
    rig.node(A).expects(&["GET", "hello"]).expects_nothing().replies(b"$-1\r\n");
    c.receives(b"$1\r\n1\r\n$-1\r\n");
    assert_eq!(rig.hints(), []);
    assert_eq!(rig.connects(B), 1);
}

#[test]
fn moved_to_a_node_that_no_topology_has_named_is_followed() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"-MOVED 3300 127.0.0.1:7004\r\n");
    rig.node(D).expects(&["GET", "b"]).replies(b"$1\r\n1\r\n");
    c.receives(b"$1\r\n1\r\n");
    for _ in 0..5 {
        c.sends_cmd(&["GET", "b"]);
        rig.node(D).expects(&["GET", "b"]).replies(b"$1\r\n1\r\n");
        c.receives(b"$1\r\n1\r\n");
    }
    assert_eq!(rig.connects(D), 1);
}

#[test]
fn addresses_of_every_form_are_understood() {
    let cases = [
        (":7004", "127.0.0.1:7004"),
        ("::1:7004", "[::1]:7004"),
        ("[2001:db8::7]:7004", "[2001:db8::7]:7004"),
        ("10.0.0.1:65535", "10.0.0.1:65535"),
    ];
    for (named, reached) in cases {
        let rig = Rig::three();
        let c = rig.client();
        c.sends_cmd(&["GET", "b"]);
        rig.node(A).expects(&["GET", "b"]).replies(format!("-MOVED 3300 {named}\r\n"));
        rig.node(reached).expects(&["GET", "b"]).replies(b"$1\r\n1\r\n");
        c.receives(b"$1\r\n1\r\n");
    }
}

#[test]
fn a_host_name_that_the_topology_knows_is_followed() {
    let mut rig = Rig::with(|_| {});
    rig.name(D, "redis-3.redis.svc:7004");
    rig.topology(&[(A, SLOTS_A), (D, SLOTS_B)], &[]);
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"-MOVED 3300 redis-3.redis.svc:7004\r\n");
    rig.node(D).expects(&["GET", "b"]).replies(b"$1\r\n1\r\n");
    c.receives(b"$1\r\n1\r\n");
}

/// Resolving names is not the worker's business: the request waits for the topology.
#[test]
fn moved_to_an_unknown_host_name_waits_for_the_topology_and_holds_up_nobody() {
    let mut rig = Rig::three();
    let (c1, c2) = (rig.client(), rig.client());
    c1.sends_cmd(&["SET", "b", "1"]);
    rig.node(A).expects(&["SET", "b", "1"]).replies(b"-MOVED 3300 redis-3:7004\r\n");
    c1.receives_nothing();
    assert_eq!(rig.hints(), [Hint::Moved(3300)]);
    c2.sends_cmd(&["GET", "hello"]);
    rig.node(A).expects(&["GET", "hello"]).replies(b"$-1\r\n");
    c2.receives(b"$-1\r\n");
    rig.name(D, "redis-3:7004");
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[]);
    rig.node(D).expects(&["SET", "b", "1"]).replies(b"+OK\r\n");
    c1.receives(b"+OK\r\n");
}

/// A client that knows nothing of clusters must never see a redirect, not even when nothing else is left to say.
#[test]
fn a_redirect_that_leads_nowhere_ends_in_an_error_that_is_none() {
    for redirect in ["MOVED 3300 nowhere:7004", "MOVED 3300 ?:7004", "ASK 3300 nowhere:7004"] {
        let rig = Rig::three_with(|c| c.retry_timeout = std::time::Duration::from_millis(400));
        let c = rig.client();
        c.sends_cmd(&["GET", "b"]);
        let mut tries = 0;
        for _ in 0..600 {
            if rig.node(A).received_len() > 0 {
                rig.node(A).expects(&["GET", "b"]).replies(format!("-{redirect}\r\n"));
                tries += 1;
            }
            rig.advance_ms(1);
        }
        assert!((3..40).contains(&tries), "{tries} tries in 400 ms");
        c.receives_error("CLUSTERDOWN", &["3300"]).receives_nothing();
    }
}

#[test]
fn two_nodes_that_send_to_each_other_are_asked_less_and_less_until_the_retry_timeout() {
    let rig = Rig::three();
    let c = rig.client();
    let begin = rig.now_ms();
    c.sends_cmd(&["SET", "b", "1"]);
    let mut asked = 0;
    while c.received_len() == 0 {
        assert!(rig.now_ms() - begin < 11_000, "no end after {asked} redirects");
        for (node, other) in [(A, B), (B, A)] {
            if rig.open(node) > 0 && rig.node(node).received_len() > 0 {
                asked += 1;
                rig.node(node).expects(&["SET", "b", "1"]).replies(format!("-MOVED 3300 {other}\r\n"));
            }
        }
        rig.advance_ms(1);
    }
    c.receives_error("CLUSTERDOWN", &["3300"]);
    assert!(rig.now_ms() - begin >= 10_000);
    assert!((50..400).contains(&asked), "asked {asked} times in ten seconds");
}

#[test]
fn a_malformed_redirect_is_an_error_like_any_other() {
    let rig = Rig::three();
    let c = rig.client();
    for text in [
        "MOVED",
        "MOVED 3300",
        "MOVED 99999 127.0.0.1:7002",
        "MOVED 1 nohost",
        "MOVED x y:1",
        "ASK",
        "ASK 1 :",
    ] {
        c.sends_cmd(&["GET", "b"]);
        rig.node(A).expects(&["GET", "b"]).replies(format!("-{text}\r\n"));
        c.receives(format!("-{text}\r\n"));
    }
    assert_eq!(rig.connects(B), 0);
}

#[test]
fn ask_sends_asking_and_the_command_back_to_back_and_learns_nothing() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["SET", "b", "1"]);
    rig.node(A).expects(&["SET", "b", "1"]).replies(b"-ASK 3300 127.0.0.1:7002\r\n");
    rig.node(B).expects_bytes(b"*1\r\n$6\r\nASKING\r\n").expects(&["SET", "b", "1"]).expects_nothing();
    rig.node(B).replies(b"+OK\r\n");
    c.receives_nothing();
    rig.node(B).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n").receives_nothing();
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$1\r\n1\r\n");
    c.receives(b"$1\r\n1\r\n");
    assert_eq!(rig.hints(), []);
}

#[test]
fn nothing_gets_between_asking_and_its_command() {
    let rig = Rig::three();
    let (c1, c2) = (rig.client(), rig.client());
    c1.sends_cmd(&["GET", "b"]);
    c2.sends_cmd(&["GET", "c"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"-ASK 3300 127.0.0.1:7002\r\n");
    c2.sends_cmd(&["GET", "c"]);
    rig.node(B).expects(&["GET", "c"]).expects(&["ASKING"]).expects(&["GET", "b"]).expects(&["GET", "c"]);
    rig.node(B).replies(b"$1\r\n1\r\n+OK\r\n$1\r\n2\r\n$1\r\n3\r\n");
    c1.receives(b"$1\r\n2\r\n");
    c2.receives(b"$1\r\n1\r\n$1\r\n3\r\n");
}

#[test]
fn a_node_that_is_only_asked_for_a_migrating_slot_need_not_be_known() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends([cmd(&["GET", "b"]), cmd(&["SET", "b", "1"])].concat());
    rig.node(A).expects(&["GET", "b"]).expects(&["SET", "b", "1"]);
    rig.node(A).replies(b"-ASK 3300 127.0.0.1:7004\r\n-ASK 3300 127.0.0.1:7004\r\n");
    let d = rig.node(D);
    d.expects(&["ASKING"]).expects(&["GET", "b"]).expects(&["ASKING"]).expects(&["SET", "b", "1"]);
    d.replies(b"+OK\r\n$-1\r\n+OK\r\n+OK\r\n");
    c.receives(b"$-1\r\n+OK\r\n");
}

/// The importing node has closed the slot again, or has not opened it yet: it sends back to the owner.
#[test]
fn ask_and_moved_in_turn_come_to_an_end() {
    let rig = Rig::three();
    let c = rig.client();
    let begin = rig.now_ms();
    c.sends_cmd(&["GET", "b"]);
    let mut asked = 0;
    while c.received_len() == 0 {
        assert!(rig.now_ms() - begin < 11_000, "no end after {asked} redirects");
        if rig.node(A).received_len() > 0 {
            asked += 1;
            rig.node(A).expects(&["GET", "b"]).replies(b"-ASK 3300 127.0.0.1:7002\r\n");
        }
        if rig.open(B) > 0 && rig.node(B).received_len() > 0 {
            rig.node(B).expects(&["ASKING"]).expects(&["GET", "b"]);
            rig.node(B).replies(b"+OK\r\n-MOVED 3300 127.0.0.1:7001\r\n");
        }
        rig.advance_ms(1);
    }
    c.receives_error("CLUSTERDOWN", &["3300"]);
    assert!((50..400).contains(&asked), "asked {asked} times in ten seconds");
}

#[test]
fn commands_of_one_client_to_one_key_keep_their_order_through_a_move() {
    let rig = Rig::three();
    let (c, other) = (rig.client(), rig.client());
    c.sends([cmd(&["SET", "b", "1"]), cmd(&["SET", "b", "2"]), cmd(&["GET", "c"])].concat());
    let a = rig.node(A);
    a.expects(&["SET", "b", "1"]).expects(&["SET", "b", "2"]);
    rig.node(B).expects(&["GET", "c"]);
    a.replies(b"-MOVED 3300 127.0.0.1:7003\r\n");
    // The slot has moved: what the client sends now must not overtake what is still under way to the old owner.
    c.sends_cmd(&["SET", "b", "3"]);
    rig.node(C).expects(&["SET", "b", "1"]).expects_nothing();
    other.sends_cmd(&["SET", "b", "x"]);
    rig.node(C).expects(&["SET", "b", "x"]).expects_nothing();
    a.replies(b"-MOVED 3300 127.0.0.1:7003\r\n");
    rig.node(C).expects(&["SET", "b", "2"]).expects_nothing();
    rig.node(C).replies(b"+OK\r\n+OK\r\n+OK\r\n");
    other.receives(b"+OK\r\n");
    rig.node(C).expects_nothing();
    rig.node(B).replies(b"$-1\r\n");
    rig.node(C).expects(&["SET", "b", "3"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n+OK\r\n$-1\r\n+OK\r\n");
}

#[test]
fn a_new_topology_makes_a_client_wait_for_what_it_has_in_flight() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["SET", "b", "1"]);
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C), (A, 0..=0)], &[]);
    c.sends_cmd(&["SET", "b", "2"]);
    assert_eq!(rig.connects(D), 0);
    rig.node(A).expects(&["SET", "b", "1"]).replies(b"+OK\r\n");
    rig.node(D).expects(&["SET", "b", "2"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n+OK\r\n");
}

/// `SINTERCARD x c` has no number of keys; a node that finds `c` all the same may not own it.
#[test]
fn a_redirect_of_a_command_without_a_known_key_is_followed() {
    let rig = Rig::with(|_| {});
    rig.topology(&[(A, SLOTS_A)], &[]);
    let c = rig.client();
    c.sends_cmd(&["SINTERCARD", "x", "c"]);
    rig.node(A).expects(&["SINTERCARD", "x", "c"]).replies(b"-MOVED 7365 127.0.0.1:7002\r\n");
    rig.node(B)
        .expects(&["SINTERCARD", "x", "c"])
        .replies(b"-ERR value is not an integer or out of range\r\n");
    c.receives(b"-ERR value is not an integer or out of range\r\n");
}
