//! Numbered databases: backends of their own for each, opened when they are needed and closed when they are not.

use crate::rig::{cmd, Rig, A, B, C};

const TIME: &[u8] = b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n";

/// A client in a database, tried at whichever node a request without a key goes to.
fn selects(rig: &Rig, db: &str) -> crate::peers::Client {
    let c = rig.client();
    c.sends_cmd(&["SELECT", db]).receives_nothing();
    answer_time(rig, TIME);
    c.receives(b"+OK\r\n");
    c
}

/// Answers TIME at the node that was asked for it.
fn answer_time(rig: &Rig, reply: &[u8]) {
    for node in [A, B, C] {
        if rig.open(node) > 0 && rig.node(node).received_len() > 0 {
            rig.node(node).expects(&["TIME"]).replies(reply);
        }
    }
}

#[test]
fn each_database_has_backends_of_its_own() {
    let rig = Rig::three();
    let (zero, one) = (rig.client(), selects(&rig, "1"));
    zero.sends_cmd(&["SET", "b", "0"]);
    rig.node(A).expects(&["SET", "b", "0"]).replies(b"+OK\r\n");
    one.sends([cmd(&["SET", "b", "1"]), cmd(&["SELECT", "0"]), cmd(&["GET", "b"])].concat());
    // What is in flight is answered before the database changes.
    let (before, newest) = (rig.connects(A), rig.node(A));
    newest.expects(&["SET", "b", "1"]).expects_nothing().replies(b"+OK\r\n");
    let mut found = 0;
    for age in 0..before {
        let node = rig.node(A).behind(age);
        if node.received_len() > 0 {
            node.expects(&["GET", "b"]).replies(b"$1\r\n0\r\n");
            found += 1;
        }
    }
    assert_eq!(found, 1);
    zero.receives(b"+OK\r\n");
    one.receives(b"+OK\r\n+OK\r\n$1\r\n0\r\n");
    assert_eq!(rig.connects(A), before);
}

/// In a debug build the worker stopped at it.
#[test]
fn a_split_is_of_the_database_of_its_client() {
    let rig = Rig::three();
    let (zero, one) = (rig.client(), selects(&rig, "1"));
    one.sends_cmd(&["MGET", "b", "c"]);
    for (node, key) in [(A, "b"), (B, "c")] {
        rig.node(node).expects(&["mget", key]).replies(b"*1\r\n$1\r\n1\r\n");
    }
    one.receives(b"*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
    let before = rig.connects(B);
    zero.sends_cmd(&["MSET", "b", "0", "c", "0"]);
    for (node, key) in [(A, "b"), (B, "c")] {
        rig.node(node).expects(&["mset", key, "0"]).replies(b"+OK\r\n");
    }
    zero.receives(b"+OK\r\n");
    assert_eq!(rig.connects(B), before + 1);
}

#[test]
fn what_a_node_says_of_a_missing_database_is_the_reply_and_believed_for_a_while() {
    let rig = Rig::three();
    [A, B, C].iter().for_each(|node| rig.by_hand(node));
    let c = rig.client();
    c.sends([cmd(&["SELECT", "16"]), cmd(&["PING"])].concat());
    let asked = [A, B, C].into_iter().find(|node| rig.connects(node) > 0).unwrap();
    rig.node(asked).accepts().expects(&["SELECT", "16"]).replies(b"-ERR DB index is out of range\r\n");
    c.receives(b"-ERR DB index is out of range\r\n+PONG\r\n");
    c.sends_cmd(&["SELECT", "17"]).receives(b"-ERR DB index is out of range\r\n");
    c.sends_cmd(&["SELECT", "-1"]).receives(b"-ERR DB index is out of range\r\n");
    assert_eq!(rig.connects(A) + rig.connects(B) + rig.connects(C), 1);
    c.sends_cmd(&["SELECT", "15"]).receives_nothing();
    assert_eq!(rig.connects(A) + rig.connects(B) + rig.connects(C), 2);
    // The node is not taken for a sick one.
    assert!(rig.hints().is_empty());
    rig.leave_unfinished();
}

#[test]
fn backends_of_other_databases_are_closed_when_nobody_uses_them() {
    let rig = Rig::three();
    let c = selects(&rig, "3");
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
    let open = || rig.open(A) + rig.open(B) + rig.open(C);
    rig.advance_ms(50_000);
    assert!(open() > 0);
    rig.advance_ms(30_000);
    assert_eq!(open(), 0);
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
}

#[test]
fn backends_of_other_databases_are_bounded_in_number() {
    let rig = Rig::three();
    for db in 1..=100 {
        let c = selects(&rig, &db.to_string());
        c.sends_cmd(&["SET", "b", "x"]);
        rig.node(A).expects(&["SET", "b", "x"]).replies(b"+OK\r\n");
        c.receives(b"+OK\r\n");
    }
    assert_eq!(rig.open(A), 64);
}

#[test]
fn a_dedicated_backend_is_told_the_database_of_its_next_client() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["BLPOP", "b", "0"]);
    rig.dedicated(A).expects(&["BLPOP", "b", "0"]).replies(b"*2\r\n$1\r\nb\r\n$1\r\nx\r\n");
    c.receives(b"*2\r\n$1\r\nb\r\n$1\r\nx\r\n");
    let other = selects(&rig, "2");
    let open = rig.open(A);
    other.sends_cmd(&["BLPOP", "b", "0"]);
    assert_eq!(rig.open(A), open);
    let d = (0..open).map(|i| rig.node(A).behind(i)).find(|n| n.received_len() > 0).unwrap();
    d.expects(&["SELECT", "2"]).expects_nothing().replies(b"+OK\r\n");
    d.expects(&["BLPOP", "b", "0"]).replies(b"*2\r\n$1\r\nb\r\n$1\r\ny\r\n");
    other.receives(b"*2\r\n$1\r\nb\r\n$1\r\ny\r\n");
}

#[test]
fn a_transaction_may_go_through_several_databases() {
    let rig = Rig::three();
    let c = selects(&rig, "1");
    c.sends([&["MULTI"][..], &["INCR", "b"], &["SELECT", "0"], &["INCR", "b"], &["EXEC"]].map(cmd).concat());
    c.receives(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    let block = [&["MULTI"][..], &["INCR", "b"], &["EXEC"]].map(cmd).concat();
    for n in ["1", "5"] {
        rig.node(A).expects_bytes(&block).expects_nothing();
        rig.node(A).replies(format!("+OK\r\n+QUEUED\r\n*1\r\n:{n}\r\n"));
    }
    c.receives(b"*3\r\n:1\r\n+OK\r\n:5\r\n");
    c.sends_cmd(&["CLIENT", "INFO"]);
    assert!(String::from_utf8_lossy(&c.takes_received()).contains(" db=0 "));
}
