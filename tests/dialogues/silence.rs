//! Nodes that say nothing while they are asked: suspected, held, and left for their successor.

use std::time::Duration;

use redis_cluster_proxy::proxy::Hint;

use crate::rig::{at, cmd, Rig, A, B, C, D, SLOTS_A, SLOTS_B, SLOTS_C};

/// A primary that freezes holds up nobody for the whole reply timeout: the topology is asked for early.
#[test]
fn a_frozen_primary_was_noticed_only_at_the_reply_timeout() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]);
    rig.advance_ms(990);
    assert_eq!(rig.hints(), []);
    rig.advance_ms(20);
    assert_eq!(rig.hints(), [Hint::NodeSilent(at(A))]);
    rig.advance_ms(3000);
    assert_eq!(rig.hints(), [Hint::NodeSilent(at(A)); 3], "as long as it lasts");
    rig.node(A).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
    rig.advance_ms(5000);
    assert_eq!((rig.hints(), rig.connects(A)), (vec![], 1));
}

#[test]
fn a_connect_that_nobody_answers_is_a_silence() {
    let rig = Rig::three();
    rig.by_hand(A);
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.advance_ms(1010);
    assert_eq!(rig.hints(), [Hint::NodeSilent(at(A))]);
    rig.node(A).accepts();
    rig.advance_ms(1000);
    assert_eq!(rig.hints(), [Hint::NodeSilent(at(A))], "a greeting that nobody answers is one, too");
    rig.node(A).greets().expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
}

/// What is written to a frozen node may be executed once it thaws: its outcome is unknown, where it could have waited.
#[test]
fn writes_that_came_while_a_node_was_frozen_had_an_unknown_outcome() {
    let rig = Rig::three();
    let (early, late, reader) = (rig.client(), rig.client(), rig.client());
    early.sends_cmd(&["INCR", "b"]);
    rig.node(A).expects(&["INCR", "b"]);
    rig.advance_ms(1010);
    late.sends_cmd(&["INCR", "b"]).sends_cmd(&["APPEND", "b", "x"]);
    reader.sends_cmd(&["GET", "b"]);
    rig.node(A).expects_nothing();
    rig.advance_ms(2000);
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[(A, D)]);
    rig.advance_ms(110);
    early.receives_error("ERR node 127.0.0.1:7001 took too long", &["outcome", "unknown"]);
    rig.advance_ms(10);
    let mut commands = rig.node(D).takes_commands();
    commands.sort();
    assert_eq!(commands, [vec![&b"APPEND"[..], b"b", b"x"], vec![b"GET", b"b"], vec![b"INCR", b"b"]]);
    rig.leave_unfinished();
}

#[test]
fn a_node_that_was_only_slow_gets_what_was_held_back_in_order() {
    let rig = Rig::three();
    let (c, other) = (rig.client(), rig.client());
    c.sends_cmd(&["EVAL", "slow", "1", "b"]);
    rig.node(A).expects(&["EVAL", "slow", "1", "b"]);
    rig.advance_ms(1500);
    other.sends_cmd(&["INCR", "b"]).sends_cmd(&["GET", "b"]);
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects_nothing().replies(b":1\r\n");
    rig.node(A).expects(&["INCR", "b"]).expects(&["GET", "b"]).expects(&["GET", "b"]);
    rig.node(A).replies(b":1\r\n$1\r\n1\r\n$1\r\n1\r\n");
    c.receives(b":1\r\n$1\r\n1\r\n");
    other.receives(b":1\r\n$1\r\n1\r\n");
    assert_eq!(rig.connects(A), 1);
}

/// A node that takes a large request slowly, or not for a while, gets the rest of it: it cannot answer before.
#[test]
fn a_request_that_was_not_written_in_full_is_not_held_back() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
    let set = cmd(&[&b"SET"[..], b"b", &[b'x'; 5000]]);
    rig.node(A).takes(Some(1000));
    c.sends(&set);
    rig.advance_ms(2500);
    rig.node(A).takes(None).expects_bytes(&set).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
}

/// `CLUSTER FAILOVER` holds writes up for longer than a second when the replica lags far behind; the old primary
/// answers them with MOVED once it is demoted.
#[test]
fn a_long_planned_failover_loses_nothing() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["INCR", "b"]);
    rig.node(A).expects(&["INCR", "b"]);
    rig.advance_ms(3000);
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[(A, D)]);
    rig.advance_ms(90);
    rig.node(A).replies(b"-MOVED 3300 127.0.0.1:7004\r\n");
    rig.node(D).expects(&["INCR", "b"]).replies(b":1\r\n");
    c.receives(b":1\r\n");
}

/// A primary that was frozen for so long that a replica was promoted executes what it was asked when it thaws, and forgets
/// it when it hears of the promotion: that must not be acknowledged.
#[test]
fn a_write_was_acknowledged_that_a_thawed_old_primary_executed_and_forgot() {
    let rig = Rig::three();
    let (writer, reader) = (rig.client(), rig.client());
    writer.sends_cmd(&["INCR", "b"]);
    reader.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["INCR", "b"]).expects(&["GET", "b"]);
    rig.advance_ms(3000);
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[(A, D)]);
    rig.advance_ms(50);
    rig.node(A).replies(b":7\r\n$1\r\n7\r\n");
    writer.receives_error("ERR node 127.0.0.1:7001 took too long", &["outcome", "unknown"]);
    rig.advance_ms(10);
    rig.node(D).expects(&["GET", "b"]).replies(b"$1\r\n6\r\n");
    reader.receives(b"$1\r\n6\r\n");
}

/// A frozen node accepts connections, as its system does it for it, and answers their greetings when it thaws.
#[test]
fn a_thawed_old_primary_got_writes_that_had_waited_for_its_greeting() {
    let rig = Rig::three();
    let (early, late) = (rig.client(), rig.client());
    early.sends_cmd(&["INCR", "b"]);
    rig.node(A).expects(&["INCR", "b"]);
    rig.by_hand(A);
    rig.advance_ms(1500);
    late.sends_cmd(&["WATCH", "b"]);
    rig.dedicated(A).accepts();
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[(A, D)]);
    rig.advance_ms(50);
    assert_eq!(rig.open(A), 1, "the connection that asked and was not answered");
    rig.dedicated(D).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
    late.receives(b"+OK\r\n").sends_cmd(&["UNWATCH"]).receives(b"+OK\r\n");
    rig.dedicated(D).expects(&["UNWATCH"]).replies(b"+OK\r\n");
    rig.advance_ms(60);
    early.receives_error("ERR node 127.0.0.1:7001 took too long", &["outcome", "unknown"]);
}

/// One connection that has shown the silence is enough: what others of the same node say after the promotion is as worthless.
#[test]
fn a_thawed_old_primary_was_believed_on_connections_that_had_been_silent_for_a_short_while() {
    let rig = Rig::three();
    let (early, late) = (rig.client(), rig.client());
    late.sends_cmd(&["BLPOP", "b", "0.01"]);
    rig.dedicated(A).expects(&["BLPOP", "b", "0.01"]).replies(b"*-1\r\n");
    late.receives(b"*-1\r\n");
    early.sends_cmd(&["INCR", "b"]);
    rig.node(A).expects(&["INCR", "b"]);
    rig.advance_ms(2500);
    late.sends_cmd(&["WATCH", "b"]);
    rig.dedicated(A).expects(&["WATCH", "b"]);
    rig.advance_ms(100);
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[(A, D)]);
    rig.advance_ms(50);
    rig.dedicated(A).replies(b"+OK\r\n");
    rig.advance_ms(60);
    rig.dedicated(D).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
    late.receives(b"+OK\r\n").sends_cmd(&["UNWATCH"]).receives(b"+OK\r\n");
    rig.dedicated(D).expects(&["UNWATCH"]).replies(b"+OK\r\n");
    early.receives_error("ERR node 127.0.0.1:7001 took too long", &["outcome", "unknown"]);
}

/// It had watched before the node froze; its transaction came after the promotion and was executed at the thawed node.
#[test]
fn a_transaction_that_was_watched_at_a_frozen_node_was_executed_there_after_the_promotion() {
    let rig = Rig::three();
    let (watcher, other) = (rig.client(), rig.client());
    watcher.sends_cmd(&["WATCH", "b"]);
    rig.dedicated(A).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
    watcher.receives(b"+OK\r\n");
    other.sends_cmd(&["INCR", "b"]);
    rig.node(A).expects(&["INCR", "b"]);
    rig.advance_ms(2500);
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[(A, D)]);
    for command in [&["MULTI"][..], &["INCR", "b"], &["EXEC"]] {
        watcher.sends_cmd(command);
    }
    watcher.receives(b"+OK\r\n+QUEUED\r\n*-1\r\n");
    rig.advance_ms(110);
    other.receives_error("ERR node 127.0.0.1:7001 took too long", &["outcome", "unknown"]);
}

#[test]
fn a_blocked_client_may_hear_nothing_for_as_long_as_it_likes() {
    let rig = Rig::three_with(|c| c.reply_timeout = Duration::from_secs(2));
    let c = rig.client();
    c.sends_cmd(&["BLPOP", "b", "0"]);
    rig.dedicated(A).expects(&["BLPOP", "b", "0"]);
    rig.advance_ms(60_000);
    assert_eq!(rig.hints(), []);
    rig.dedicated(A).replies(b"*2\r\n$1\r\nb\r\n$1\r\nx\r\n");
    c.receives(b"*2\r\n$1\r\nb\r\n$1\r\nx\r\n");
}
