//! Errors that say "not executed, try again": what is tried, how often, and what the client hears in the end.

use std::time::Duration;

use redis_cluster_proxy::proxy::Hint;

use crate::rig::{cmd, Rig, A, B, D, SLOTS_A, SLOTS_B};

const NOT_EXECUTED: &[(&str, bool)] = &[
    ("TRYAGAIN Multiple keys request during rehashing of slot", false),
    ("LOADING Redis is loading the dataset in memory", false),
    ("CLUSTERDOWN The cluster is down", true),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", true),
    ("READONLY You can't write against a read only replica.", true),
];

#[test]
fn what_was_not_executed_is_tried_again_until_it_is() {
    for (error, refresh) in NOT_EXECUTED {
        let rig = Rig::three();
        let c = rig.client();
        c.sends_cmd(&["MSETNX", "{b}1", "x", "{b}2", "y"]);
        for _ in 0..3 {
            rig.node(A).expects(&["MSETNX", "{b}1", "x", "{b}2", "y"]).expects_nothing();
            rig.node(A).replies(format!("-{error}\r\n")).expects_nothing();
            assert_eq!(rig.hints().contains(&Hint::Unserved), *refresh, "{error}");
            rig.advance_ms(100);
        }
        c.receives_nothing();
        rig.node(A).expects(&["MSETNX", "{b}1", "x", "{b}2", "y"]).replies(b":1\r\n");
        c.receives(b":1\r\n");
    }
}

#[test]
fn after_the_retry_timeout_the_nodes_own_error_is_passed_on() {
    for (error, _) in NOT_EXECUTED {
        let rig = Rig::three_with(|c| c.retry_timeout = Duration::from_secs(2));
        let c = rig.client();
        c.sends_cmd(&["SET", "b", "1"]);
        let begin = rig.now_ms();
        let mut tries = 0;
        while c.received_len() == 0 {
            assert!(rig.now_ms() - begin < 2200, "{error}: no end after {tries} tries");
            if rig.node(A).received_len() > 0 {
                tries += 1;
                rig.node(A).expects(&["SET", "b", "1"]).replies(format!("-{error}\r\n"));
            }
            rig.advance_ms(1);
        }
        c.receives(format!("-{error}\r\n"));
        assert!(rig.now_ms() - begin >= 2000);
        // Pauses grow: a node in trouble is not asked every other millisecond by everybody.
        assert!((10..80).contains(&tries), "{error}: {tries} tries in two seconds");
    }
}

#[test]
fn what_a_node_has_refused_for_good_is_passed_on_at_once() {
    let rig = Rig::three();
    let c = rig.client();
    for error in [
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "NOREPLICAS Not enough good replicas to write.",
        "NOAUTH Authentication required.",
        "NOSCRIPT No matching script. Please use EVAL.",
        "BUSY Redis is busy running a script.",
        "CROSSSLOT Keys in request don't hash to the same slot",
        "ERR unknown command 'GET', with args beginning with: 'b' ",
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "TRYAGAINX no",
    ] {
        c.sends_cmd(&["GET", "b"]);
        rig.node(A).expects(&["GET", "b"]).replies(format!("-{error}\r\n")).expects_nothing();
        c.receives(format!("-{error}\r\n"));
    }
    assert_eq!(rig.hints(), []);
}

/// A script has perhaps written before it made such an error: it must not run twice.
#[test]
fn a_script_that_looks_not_executed_runs_once() {
    let rig = Rig::three();
    let c = rig.client();
    let eval = ["EVAL", "redis.call('INCR', KEYS[1]) return redis.error_reply('TRYAGAIN later')", "1", "b"];
    for error in [
        "TRYAGAIN later",
        "LOADING the next page",
        "MOVED 1 127.0.0.1:7002",
        "ASK 1 127.0.0.1:7002",
        "READONLY You can't write against a read only replica. script: f5b1, on @user_script:1.",
    ] {
        c.sends_cmd(&eval);
        rig.node(A).expects(&eval).replies(format!("-{error}\r\n")).expects_nothing();
        c.receives(format!("-{error}\r\n"));
        rig.advance_ms(200);
        rig.node(A).expects_nothing();
    }
    // What the server itself says is another matter.
    c.sends_cmd(&eval);
    for error in
        ["TRYAGAIN Multiple keys request during rehashing of slot", "CLUSTERDOWN The cluster is down"]
    {
        rig.node(A).expects(&eval).replies(format!("-{error}\r\n"));
        rig.advance_ms(100);
    }
    rig.node(A).expects(&eval).replies(b"-MOVED 3300 127.0.0.1:7002\r\n");
    rig.node(B).expects(&eval).replies(b":1\r\n");
    c.receives(b":1\r\n");
}

#[test]
fn commands_behind_a_waiting_one_keep_their_order_and_other_clients_go_on() {
    let rig = Rig::three();
    let (c, other) = (rig.client(), rig.client());
    c.sends([cmd(&["SET", "b", "1"]), cmd(&["SET", "b", "2"])].concat());
    rig.node(A).expects(&["SET", "b", "1"]).expects(&["SET", "b", "2"]);
    rig.node(A).replies(b"-LOADING x\r\n-LOADING x\r\n");
    c.sends_cmd(&["SET", "b", "3"]);
    other.sends_cmd(&["GET", "c"]);
    rig.node(B).expects(&["GET", "c"]).replies(b"$-1\r\n");
    other.receives(b"$-1\r\n");
    rig.advance_ms(50);
    rig.node(A).expects(&["SET", "b", "1"]).expects(&["SET", "b", "2"]);
    rig.node(A).replies(b"+OK\r\n+OK\r\n");
    rig.node(A).expects(&["SET", "b", "3"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n+OK\r\n+OK\r\n");
}

#[test]
fn a_waiting_command_goes_to_the_new_owner_as_soon_as_it_is_known() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["SET", "b", "1"]);
    rig.node(A).expects(&["SET", "b", "1"]).replies(b"-CLUSTERDOWN The cluster is down\r\n");
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B)], &[]);
    rig.node(D).expects(&["SET", "b", "1"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
}

#[test]
fn an_asked_command_that_must_wait_begins_again_at_the_owner() {
    let rig = Rig::three();
    let c = rig.client();
    let del = ["RENAMENX", "{b}1", "{b}2"];
    c.sends_cmd(&del);
    rig.node(A).expects(&del).replies(b"-ASK 3300 127.0.0.1:7002\r\n");
    rig.node(B).expects(&["ASKING"]).expects(&del).replies(b"+OK\r\n-TRYAGAIN x\r\n");
    rig.advance_ms(50);
    rig.node(A).expects(&del).replies(b"-MOVED 3300 127.0.0.1:7002\r\n");
    rig.node(B).expects(&del).replies(b":1\r\n");
    c.receives(b":1\r\n");
}

/// Different nodes may put off an earlier and a later command of one client to one key.
#[test]
fn commands_put_off_by_different_nodes_are_sent_in_the_clients_order() {
    let rig = Rig::three();
    rig.by_hand(D);
    let c = rig.client();
    c.sends([cmd(&["SET", "b", "1"]), cmd(&["SET", "b", "2"])].concat());
    rig.node(A).expects(&["SET", "b", "1"]).expects(&["SET", "b", "2"]);
    rig.node(A).replies(b"-MOVED 3300 127.0.0.1:7004\r\n");
    // The second one is put off by the old owner before the first one comes back from the new one.
    rig.node(A).replies(b"-CLUSTERDOWN The cluster is down\r\n");
    rig.node(D).refuses_connect();
    rig.topology(&[(B, 0..=16383)], &[]);
    rig.node(B).expects(&["SET", "b", "1"]).expects(&["SET", "b", "2"]).replies(b"+OK\r\n+OK\r\n");
    c.receives(b"+OK\r\n+OK\r\n");
}

/// What one client left behind must not keep the next one from being served.
#[test]
fn a_client_that_leaves_while_it_waits_does_not_stop_the_next_one() {
    let rig = Rig::three();
    let c1 = rig.client();
    c1.sends_cmd(&["SET", "b", "1"]);
    rig.node(A).expects(&["SET", "b", "1"]).replies(b"-LOADING x\r\n");
    c1.resets();
    rig.advance_ms(200);
    rig.node(A).expects_nothing();
    let c2 = rig.client();
    c2.sends_cmd(&["SET", "b", "2"]);
    rig.node(A).expects(&["SET", "b", "2"]).replies(b"-LOADING x\r\n");
    rig.advance_ms(200);
    rig.node(A).expects(&["SET", "b", "2"]).replies(b"+OK\r\n");
    c2.receives(b"+OK\r\n");
}

#[test]
fn keys_of_a_slot_that_moves_are_asked_for_one_by_one() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends([cmd(&["MGET", "b", "{b}2", "b"]), cmd(&["PING"])].concat());
    let a = rig.node(A);
    a.expects(&["MGET", "b", "{b}2", "b"]);
    a.replies(b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
    a.expects(&["mget", "b"]).expects(&["mget", "{b}2"]).expects(&["mget", "b"]).expects_nothing();
    a.replies(b"*1\r\n$1\r\n1\r\n-ASK 3300 127.0.0.1:7002\r\n*1\r\n$1\r\n1\r\n");
    rig.node(B).expects(&["ASKING"]).expects(&["mget", "{b}2"]).replies(b"+OK\r\n*1\r\n$1\r\n2\r\n");
    c.receives(b"*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n1\r\n+PONG\r\n").receives_nothing();
}

#[test]
fn a_part_of_a_split_command_whose_slot_moves_is_split_further() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["MSET", "c", "0", "b", "1", "{b}2", "2"]);
    rig.node(B).expects(&["mset", "c", "0"]).replies(b"+OK\r\n");
    let a = rig.node(A);
    a.expects(&["mset", "b", "1", "{b}2", "2"]);
    a.replies(b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
    a.expects(&["mset", "b", "1"]).expects(&["mset", "{b}2", "2"]).expects_nothing();
    a.replies(b"+OK\r\n-ASK 3300 127.0.0.1:7002\r\n");
    c.receives_nothing();
    rig.node(B).expects(&["ASKING"]).expects(&["mset", "{b}2", "2"]).replies(b"+OK\r\n-OOM full\r\n");
    c.receives(b"-OOM full\r\n").receives_nothing();
}

#[test]
fn counts_of_keys_asked_for_one_by_one_are_summed_up() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["DEL", "b", "{b}2"]);
    let a = rig.node(A);
    a.expects(&["DEL", "b", "{b}2"]).replies(b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
    a.expects(&["del", "b"]).expects(&["del", "{b}2"]).replies(b":1\r\n:1\r\n");
    c.receives(b":2\r\n").receives_nothing();
}
