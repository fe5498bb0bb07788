//! Transactions: blocks on the shared backend, watched keys on dedicated ones, and what becomes of both when nodes change.

use std::time::Duration;

use redis_cluster_proxy::proxy::Hint;

use crate::rig::{cmd, Rig, A, B, C, SLOTS_A, SLOTS_B, SLOTS_C};

const ABORTED: &[u8] = b"-EXECABORT Transaction discarded because of previous errors.\r\n";
const CROSSED: &[u8] = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n";
const UNWATCHED: &[u8] =
    b"-EXECABORT Transaction discarded because its keys are not watched: WATCH failed.\r\n";
/// MULTI, one command and EXEC as a node answers them, without the last reply.
const QUEUED: &[u8] = b"+OK\r\n+QUEUED\r\n";

fn script(commands: &[&[&str]]) -> Vec<u8> {
    commands.iter().flat_map(|c| cmd(c)).collect()
}

fn incr_b() -> Vec<u8> {
    script(&[&["MULTI"], &["INCR", "b"], &["EXEC"]])
}

#[test]
fn a_transaction_is_sent_at_exec_as_one_block() {
    let rig = Rig::three();
    let (c, other) = (rig.client(), rig.client());
    c.sends_cmd(&["MULTI"]).sends_cmd(&["SET", "b", "1"]).receives(b"+OK\r\n+QUEUED\r\n");
    other.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).expects_nothing();
    c.sends_cmd(&["INCR", "b"]).receives(b"+QUEUED\r\n").sends_cmd(&["EXEC"]);
    other.sends_cmd(&["GET", "b"]);
    let a = rig.node(A);
    a.expects(&["MULTI"]).expects(&["SET", "b", "1"]).expects(&["INCR", "b"]).expects(&["EXEC"]);
    a.expects(&["GET", "b"]).expects_nothing();
    a.replies_in_pieces(b"$-1\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:2\r\n$1\r\n2\r\n", 3);
    c.receives(b"*2\r\n+OK\r\n:2\r\n");
    other.receives(b"$-1\r\n$1\r\n2\r\n");
    assert_eq!(rig.open(A), 1);
}

#[test]
fn an_empty_transaction_needs_no_node() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(script(&[&["MULTI"], &["EXEC"], &["MULTI"], &["DISCARD"]]));
    c.receives(b"+OK\r\n*0\r\n+OK\r\n+OK\r\n");
    assert_eq!(rig.connects(A) + rig.connects(B) + rig.connects(C), 0);
}

#[test]
fn keys_of_two_slots_abort_the_transaction_and_nothing_is_sent() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(script(&[&["MULTI"], &["SET", "b", "1"], &["SET", "c", "1"], &["SET", "b", "2"], &["EXEC"]]));
    c.receives(b"+OK\r\n+QUEUED\r\n").receives(CROSSED).receives(b"+QUEUED\r\n").receives(ABORTED);
    c.sends(script(&[&["MULTI"], &["MGET", "b", "c"], &["EXEC"], &["EXEC"]]));
    c.receives(b"+OK\r\n").receives(CROSSED).receives(ABORTED).receives(b"-ERR EXEC without MULTI\r\n");
    assert_eq!(rig.connects(A), 0);
}

/// Each in the words of its version.
#[test]
fn a_nested_transaction_ends_the_outer_one_where_the_cluster_is_valkey() {
    let nested: &[u8] = b"-ERR MULTI calls can not be nested\r\n";
    let servers: [(&str, &[u8], &[u8]); 4] = [
        ("redis_version:8.2.3", nested, b"*0\r\n"),
        ("redis_version:7.2.4\nserver_name:valkey\nvalkey_version:7.2.8", nested, b"*0\r\n"),
        (
            "redis_version:7.2.4\nserver_name:valkey\nvalkey_version:8.1.1",
            b"-ERR Command not allowed inside a transaction\r\n",
            ABORTED,
        ),
        (
            "redis_version:7.2.4\nserver_name:valkey\nvalkey_version:9.1.2",
            b"-ERR Command 'multi' not allowed inside a transaction\r\n",
            ABORTED,
        ),
    ];
    for (info, refusal, end) in servers {
        let mut rig = Rig::with(|_| {});
        rig.runs(info);
        rig.topology(&[(A, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[]);
        let c = rig.client();
        c.sends(script(&[&["MULTI"], &["MULTI"], &["EXEC"]]));
        c.receives(b"+OK\r\n").receives(refusal).receives(end);
    }
}

#[test]
fn exec_with_arguments_ends_the_transaction_as_in_a_server() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(script(&[&["MULTI"], &["EXEC", "x"], &["EXEC"]]));
    c.receives(b"+OK\r\n-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n");
    c.receives(b"-ERR EXEC without MULTI\r\n");
}

#[test]
fn exec_tells_why_a_node_refused_a_command_that_was_queued() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(incr_b()).sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n");
    rig.node(A).expects_bytes(incr_b()).expects_bytes(incr_b());
    let oom = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    rig.node(A).replies(b"+OK\r\n").replies(oom).replies(ABORTED);
    let mut told = b"-EXECABORT Transaction discarded because of: ".to_vec();
    told.extend_from_slice(&oom[1..]);
    c.receives(&told);
    // It was the node's only word on the first one.
    c.receives(b"+OK\r\n+QUEUED\r\n");
    rig.node(A).replies(QUEUED).replies(b"*1\r\n:1\r\n");
    c.receives(b"*1\r\n:1\r\n");
}

#[test]
fn an_error_inside_the_reply_is_data_whatever_it_looks_like() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n");
    let reply = b"*1\r\n-MOVED 3300 127.0.0.1:7002\r\n";
    rig.node(A).expects_bytes(incr_b()).replies(QUEUED).replies(reply);
    c.receives(reply);
    assert_eq!((rig.connects(B), rig.hints()), (0, vec![]));
}

#[test]
fn transactions_in_one_segment_with_split_reads_and_pings_are_answered_in_order() {
    let rig = Rig::three();
    let c = rig.client();
    let in_c = [&["MULTI"][..], &["INCR", "c"], &["EXEC"]];
    c.sends(
        [incr_b(), cmd(&["MGET", "b", "c"]), cmd(&["PING"]), script(&in_c), incr_b(), cmd(&["PING"])]
            .concat(),
    );
    c.receives(b"+OK\r\n+QUEUED\r\n");
    rig.node(B).expects(&["mget", "c"]).expects_bytes(script(&in_c)).expects_nothing();
    rig.node(B).replies(b"*1\r\n$1\r\n5\r\n").replies(QUEUED).replies(b"*1\r\n:6\r\n");
    c.receives_nothing();
    rig.node(A).expects_bytes(incr_b()).expects(&["mget", "b"]).expects_bytes(incr_b()).expects_nothing();
    rig.node(A)
        .replies(QUEUED)
        .replies(b"*1\r\n:1\r\n*1\r\n$1\r\n1\r\n")
        .replies(QUEUED)
        .replies(b"*1\r\n:2\r\n");
    c.receives(b"*1\r\n:1\r\n*2\r\n$1\r\n1\r\n$1\r\n5\r\n+PONG\r\n");
    c.receives(b"+OK\r\n+QUEUED\r\n*1\r\n:6\r\n+OK\r\n+QUEUED\r\n*1\r\n:2\r\n+PONG\r\n");
}

#[test]
fn a_transaction_that_is_redirected_when_queued_is_sent_again_as_a_whole() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n");
    rig.node(A).expects_bytes(incr_b()).replies(b"+OK\r\n-MOVED 3300 127.0.0.1:7002\r\n");
    c.receives_nothing();
    rig.node(A).replies(ABORTED);
    rig.node(B).expects_bytes(incr_b()).expects_nothing().replies(QUEUED).replies(b"*1\r\n:1\r\n");
    c.receives(b"*1\r\n:1\r\n").receives_nothing();
    assert_eq!(rig.hints(), [Hint::Moved(3300)]);
    // Nothing of it is left for the next one.
    c.sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n");
    rig.node(B).expects_bytes(incr_b()).replies(QUEUED).replies(ABORTED);
    c.receives(ABORTED);
}

#[test]
fn a_transaction_that_is_redirected_at_exec_is_sent_again_as_a_whole() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n");
    rig.node(A).expects_bytes(incr_b()).replies(QUEUED).replies(b"-MOVED 3300 127.0.0.1:7002\r\n");
    rig.node(B).expects_bytes(incr_b()).replies(QUEUED).replies(b"*1\r\n:1\r\n");
    c.receives(b"*1\r\n:1\r\n");
}

#[test]
fn a_transaction_waits_while_its_slot_is_half_moved() {
    for refusal in [
        &b"-ASK 3300 127.0.0.1:7002\r\n"[..],
        b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
    ] {
        let rig = Rig::three();
        let c = rig.client();
        c.sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n");
        for _ in 0..3 {
            rig.node(A).expects_bytes(incr_b()).replies(b"+OK\r\n").replies(refusal).replies(ABORTED);
            c.receives_nothing();
            rig.node(A).expects_nothing();
            rig.advance_ms(200);
        }
        rig.node(A)
            .expects_bytes(incr_b())
            .replies(b"+OK\r\n-MOVED 3300 127.0.0.1:7002\r\n")
            .replies(ABORTED);
        rig.advance_ms(200);
        rig.node(B).expects_bytes(incr_b()).replies(QUEUED).replies(b"*1\r\n:1\r\n");
        c.receives(b"*1\r\n:1\r\n").receives_nothing();
    }
}

#[test]
fn a_transaction_whose_node_was_lost_before_its_last_byte_was_written_is_sent_again() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n").takes(Some(incr_b().len() - 1));
    c.receives(b"$-1\r\n").sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n");
    rig.node(A).expects_bytes(&incr_b()[..incr_b().len() - 1]).replies(QUEUED).closes();
    c.receives_nothing();
    rig.advance_ms(500);
    rig.node(A).expects_bytes(incr_b()).replies(QUEUED).replies(b"*1\r\n:1\r\n");
    c.receives(b"*1\r\n:1\r\n");
}

#[test]
fn a_transaction_whose_node_was_lost_after_it_was_written_has_an_unknown_outcome() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n");
    rig.node(A).expects_bytes(incr_b()).replies(QUEUED).closes();
    c.receives_error("ERR", &["unknown"]);
    rig.advance_ms(1000);
    assert_eq!(rig.connects(A), 1);
    c.sends_cmd(&["PING"]).receives(b"+PONG\r\n");
}

#[test]
fn watched_keys_live_on_a_backend_of_their_own_from_watch_to_exec() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n").sends_cmd(&["WATCH", "b"]);
    assert_eq!(rig.open(A), 2);
    rig.node(A).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n").sends_cmd(&["GET", "b"]);
    rig.node(A).behind(1).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n").sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n");
    rig.node(A).expects_bytes(incr_b()).replies(QUEUED).replies(b"*-1\r\n");
    c.receives(b"*-1\r\n");
    // Clean again, it serves the next one.
    rig.client().sends_cmd(&["WATCH", "b"]);
    rig.node(A).expects(&["WATCH", "b"]);
    assert_eq!(rig.open(A), 2);
    rig.leave_unfinished();
}

/// The watched backend is another connection than the one on which the SET is under way.
#[test]
fn exec_on_a_dedicated_backend_does_not_overtake_the_clients_own_writes() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["WATCH", "b"]);
    rig.node(A).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n").sends([cmd(&["SET", "b", "1"]), incr_b()].concat());
    let (shared, own) = (rig.node(A), rig.node(A).behind(1));
    shared.expects(&["SET", "b", "1"]);
    own.expects_nothing();
    shared.replies(b"+OK\r\n");
    own.expects_bytes(incr_b()).replies(QUEUED).replies(b"*-1\r\n");
    c.receives(b"+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n");
}

#[test]
fn what_follows_a_watched_exec_waits_for_it() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends([cmd(&["WATCH", "b"]), incr_b(), cmd(&["GET", "b"])].concat());
    rig.node(A).expects(&["WATCH", "b"]).expects_nothing().replies(b"+OK\r\n");
    rig.node(A).expects_bytes(incr_b()).expects_nothing().replies(QUEUED);
    assert_eq!(rig.open(A), 1);
    rig.node(A).replies(b"*1\r\n:1\r\n");
    rig.node(A).expects(&["GET", "b"]).replies(b"$1\r\n1\r\n");
    c.receives(b"+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n:1\r\n$1\r\n1\r\n");
}

#[test]
fn watch_of_another_slot_is_refused() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["WATCH", "b", "c"]).receives(CROSSED).sends_cmd(&["WATCH", "b"]);
    rig.node(A).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n").sends_cmd(&["WATCH", "c"]).receives(CROSSED);
    c.sends_cmd(&["WATCH", "b", "{b}2"]);
    rig.node(A).expects(&["WATCH", "b", "{b}2"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n").sends(script(&[&["MULTI"], &["GET", "c"], &["EXEC"]]));
    c.receives(b"+OK\r\n").receives(CROSSED).receives(ABORTED);
    rig.node(A).expects(&["UNWATCH"]).replies(b"+OK\r\n");
}

#[test]
fn a_lost_backend_makes_a_watched_transaction_fail_as_if_a_key_had_changed() {
    for resp3 in [false, true] {
        let rig = Rig::three();
        let c = rig.client();
        if resp3 {
            c.sends_cmd(&["HELLO", "3"]);
            c.takes_received();
        }
        let node = || if resp3 { rig.resp3(A) } else { rig.node(A) };
        c.sends_cmd(&["WATCH", "b"]);
        node().expects(&["WATCH", "b"]).replies(b"+OK\r\n");
        c.receives(b"+OK\r\n");
        node().closes();
        let null = if resp3 { &b"_\r\n"[..] } else { b"*-1\r\n" };
        c.sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n").receives(null);
        assert_eq!(rig.open(A), 0);
        // The client's next try.
        rig.advance_ms(2000);
        c.sends_cmd(&["WATCH", "b"]);
        node().expects(&["WATCH", "b"]).replies(b"+OK\r\n");
        c.receives(b"+OK\r\n").sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n");
        node().expects_bytes(incr_b()).replies(QUEUED).replies(b"*1\r\n:1\r\n");
        c.receives(b"*1\r\n:1\r\n");
    }
}

#[test]
fn a_moved_slot_makes_a_watched_transaction_fail_and_the_next_try_succeeds() {
    let moved = b"-MOVED 3300 127.0.0.1:7002\r\n";
    for refusal in [[&b"+OK\r\n"[..], moved, ABORTED].concat(), [QUEUED, moved].concat()] {
        let rig = Rig::three();
        let c = rig.client();
        c.sends_cmd(&["WATCH", "b"]);
        rig.node(A).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
        c.receives(b"+OK\r\n").sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n");
        rig.node(A).expects_bytes(incr_b()).replies(refusal);
        c.receives(b"*-1\r\n").sends_cmd(&["WATCH", "b"]);
        rig.node(B).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
        c.receives(b"+OK\r\n").sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n");
        rig.node(B).expects_bytes(incr_b()).replies(QUEUED).replies(b"*1\r\n:1\r\n");
        c.receives(b"*1\r\n:1\r\n");
    }
}

/// The first WATCH is still in force at the node that has lost the slot; nobody else may get that connection.
#[test]
fn a_second_watch_that_is_redirected_makes_the_transaction_fail() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["WATCH", "b"]);
    rig.node(A).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n").sends_cmd(&["WATCH", "{b}2"]);
    rig.node(A).expects(&["WATCH", "{b}2"]).replies(b"-MOVED 3300 127.0.0.1:7002\r\n");
    assert_eq!(rig.open(A), 0);
    rig.node(B).expects(&["WATCH", "{b}2"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n").sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n*-1\r\n");
    assert_eq!(rig.open(B), 0, "it watches still");
}

#[test]
fn a_backend_with_watched_keys_is_cleaned_or_closed_before_anybody_else_gets_it() {
    let ways: [(&[&[&str]], &[u8]); 4] = [
        (&[&["UNWATCH"]], b"+OK\r\n"),
        (&[&["MULTI"], &["DISCARD"]], b"+OK\r\n+OK\r\n"),
        (&[&["RESET"]], b"+RESET\r\n"),
        (&[&["MULTI"], &["SET"], &["EXEC"]], b"+OK\r\n-ERR wrong number of arguments"),
    ];
    for (way, reply) in ways {
        let rig = Rig::three();
        let (c, other) = (rig.client(), rig.client());
        c.sends_cmd(&["WATCH", "b"]);
        rig.node(A).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
        c.receives(b"+OK\r\n").sends(script(way)).receives(reply);
        c.takes_received();
        rig.node(A).expects(&["UNWATCH"]);
        other.sends_cmd(&["WATCH", "b"]);
        assert_eq!(rig.open(A), 2, "{way:?}: not clean yet");
        rig.node(A).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
        rig.node(A).behind(1).replies(b"+OK\r\n");
        other.receives(b"+OK\r\n");
        let third = rig.client();
        third.sends_cmd(&["WATCH", "b"]);
        assert_eq!(rig.open(A), 2, "{way:?}: clean now");
        rig.node(A).behind(1).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
        third.receives(b"+OK\r\n");
    }
}

#[test]
fn a_client_that_leaves_takes_its_backend_along() {
    for quits in [false, true] {
        let rig = Rig::three();
        let c = rig.client();
        c.sends_cmd(&["WATCH", "b"]);
        rig.node(A).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
        c.receives(b"+OK\r\n");
        if quits {
            c.sends_cmd(&["QUIT"]).receives(b"+OK\r\n").is_closed();
        } else {
            c.resets();
        }
        assert_eq!(rig.open(A), 0);
    }
}

#[test]
fn the_pool_keeps_as_many_backends_as_it_may() {
    for (most, kept) in [(0, 0), (2, 2), (100, 3)] {
        let rig = Rig::three_with(|c| {
            c.backend_idle_connections = most;
            c.backend_init_connections = 0;
        });
        let clients = [rig.client(), rig.client(), rig.client()];
        for c in &clients {
            c.sends_cmd(&["WATCH", "b"]);
            rig.node(A).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
            c.receives(b"+OK\r\n");
        }
        assert_eq!(rig.open(A), 3);
        for c in &clients {
            c.sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n");
            let at = (0..rig.open(A)).find(|n| rig.node(A).behind(*n).received_len() > 0).unwrap();
            rig.node(A).behind(at).expects_bytes(incr_b()).replies(QUEUED).replies(b"*1\r\n:1\r\n");
            c.receives(b"*1\r\n:1\r\n");
        }
        assert_eq!(rig.open(A), kept);
    }
}

#[test]
fn backends_are_opened_in_advance_and_closed_with_their_node() {
    let rig = Rig::three_with(|c| {
        c.backend_idle_connections = 5;
        c.backend_init_connections = 2;
    });
    assert_eq!((rig.open(A), rig.open(B), rig.open(C)), (2, 2, 2));
    let c = rig.client();
    c.sends_cmd(&["WATCH", "b"]);
    assert_eq!(rig.connects(A), 2);
    let at = (0..2).find(|n| rig.node(A).behind(*n).received_len() > 0).unwrap();
    rig.node(A).behind(at).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
    rig.topology(&[(A, SLOTS_A), (B, SLOTS_B), (B, SLOTS_C)], &[]);
    assert_eq!(rig.open(C), 0);
}

/// Greetings are under way when the node leaves the cluster.
#[test]
fn a_backend_opened_in_advance_to_a_node_that_leaves_meanwhile_is_closed() {
    let rig = Rig::with(|c| {
        c.backend_idle_connections = 1;
        c.backend_init_connections = 1;
    });
    rig.by_hand(C);
    rig.topology(&[(A, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[]);
    assert_eq!(rig.open(C), 1);
    rig.topology(&[(A, SLOTS_A), (B, SLOTS_B), (B, SLOTS_C)], &[]);
    if rig.open(C) > 0 {
        rig.node(C).accepts().expects(&["CLIENT", "ID"]).replies(b":7\r\n").greets();
    }
    assert_eq!(rig.open(C), 0);
}

#[test]
fn another_protocol_is_followed_by_the_backend_that_watches() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["WATCH", "b"]);
    rig.node(A).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n").sends_cmd(&["HELLO", "3"]);
    c.takes_received();
    rig.node(A).expects(&["HELLO", "3"]).replies(b"%0\r\n");
    c.sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n");
    rig.node(A).expects(&["MULTI"]).expects(&["INCR", "b"]).expects(&["EXEC"]);
    rig.node(A).replies(b"+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
    c.receives(b"*1\r\n:1\r\n");
}

/// Neither as if its keys were watched, nor as if one of them had changed: nobody knows.
#[test]
fn a_transaction_behind_a_watch_that_failed_says_that_its_keys_are_not_watched() {
    let transactions: [&[&[&str]]; 2] = [&[&["INCR", "b"]], &[&["CLIENT", "GETNAME"], &["INCR", "b"]]];
    for commands in transactions {
        let rig = Rig::three_with(|c| c.retry_timeout = Duration::from_millis(300));
        rig.refuse_connects(A);
        let c = rig.client();
        c.sends_cmd(&["WATCH", "b"]);
        rig.advance_ms(1000);
        c.receives_error("CLUSTERDOWN", &["3300"]);
        rig.accept_connects(A);
        c.sends_cmd(&["MULTI"]).sends(script(commands)).sends_cmd(&["EXEC"]).receives(b"+OK\r\n");
        commands.iter().for_each(|_| {
            c.receives(b"+QUEUED\r\n");
        });
        c.receives(UNWATCHED);
        // It is over, as after any EXEC.
        c.sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n");
        rig.advance_ms(1000);
        rig.node(A).expects_bytes(incr_b()).replies(QUEUED).replies(b"*1\r\n:1\r\n");
        c.receives(b"*1\r\n:1\r\n");
    }
}

#[test]
fn a_watch_that_succeeds_behind_one_that_failed_is_in_force() {
    let rig = Rig::three_with(|c| c.retry_timeout = Duration::from_millis(300));
    rig.refuse_connects(A);
    let c = rig.client();
    c.sends_cmd(&["WATCH", "b"]);
    rig.advance_ms(1000);
    c.receives_error("CLUSTERDOWN", &["3300"]);
    rig.accept_connects(A);
    c.sends_cmd(&["WATCH", "b"]);
    rig.advance_ms(1000);
    rig.node(A).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n").sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n");
    rig.node(A).expects_bytes(incr_b()).replies(QUEUED).replies(b"*1\r\n:1\r\n");
    c.receives(b"*1\r\n:1\r\n");
}

/// Its protocol changes on the way, so that something of the client is in flight when the node goes.
#[test]
fn a_backend_that_is_lost_behind_a_change_of_protocol_makes_the_transaction_fail_as_if_a_key_had_changed() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["WATCH", "b"]);
    rig.node(A).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n").sends_cmd(&["HELLO", "3"]);
    c.takes_received();
    rig.node(A).expects(&["HELLO", "3"]).closes();
    c.sends(incr_b()).receives(b"+OK\r\n+QUEUED\r\n_\r\n");
}
