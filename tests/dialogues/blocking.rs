//! Commands that wait: on backends of their own, for as long as they may, through moves and losses of their node.

use std::time::Duration;

use crate::rig::{cmd, Rig, A, B, C, D, SLOTS_A, SLOTS_B, SLOTS_C};

const POPPED: &[u8] = b"*2\r\n$1\r\nb\r\n$1\r\nx\r\n";

#[test]
fn a_blocked_client_holds_up_nobody_but_itself() {
    let rig = Rig::three();
    let (c, other) = (rig.client(), rig.client());
    c.sends([cmd(&["SET", "b", "1"]), cmd(&["BLPOP", "b", "0"]), cmd(&["PING"])].concat());
    rig.node(A).expects(&["SET", "b", "1"]).expects_nothing().replies(b"+OK\r\n");
    c.receives(b"+OK\r\n").receives_nothing();
    assert_eq!(rig.open(A), 2);
    rig.node(A).expects(&["BLPOP", "b", "0"]);
    other.sends_cmd(&["RPUSH", "b", "x"]);
    rig.node(A).behind(1).expects(&["RPUSH", "b", "x"]).replies(b":1\r\n");
    other.receives(b":1\r\n");
    rig.node(A).replies(POPPED);
    c.receives(POPPED).receives(b"+PONG\r\n");
    // It goes back to the pool.
    other.sends_cmd(&["BLPOP", "b", "0"]);
    assert_eq!(rig.open(A), 2);
    rig.node(A).expects(&["BLPOP", "b", "0"]).replies(POPPED);
    other.receives(POPPED);
}

#[test]
fn no_timeout_but_its_own_ends_a_blocked_command() {
    let rig = Rig::three_with(|c| {
        c.reply_timeout = Duration::from_secs(1);
        c.client_idle_timeout = Duration::from_secs(2);
    });
    let (c, forever) = (rig.client(), rig.client());
    c.sends_cmd(&["BLPOP", "b", "30"]);
    rig.node(A).expects(&["BLPOP", "b", "30"]);
    forever.sends_cmd(&["BLPOP", "c", "0"]);
    rig.node(B).expects(&["BLPOP", "c", "0"]);
    rig.advance_ms(29_999);
    c.receives_nothing().is_open();
    rig.node(A).expects_nothing().replies(b"*-1\r\n");
    c.receives(b"*-1\r\n");
    rig.advance_ms(100_000_000);
    forever.is_open();
    rig.node(B).expects_nothing().replies(b"*2\r\n$1\r\nc\r\n$1\r\nx\r\n");
    forever.receives(b"*2\r\n$1\r\nc\r\n$1\r\nx\r\n");
    assert_eq!(rig.connects(A) + rig.connects(B), 2);
}

#[test]
fn a_node_that_does_not_answer_after_the_timeout_is_lost_and_nothing_is_popped() {
    let rig = Rig::three_with(|c| c.reply_timeout = Duration::from_secs(1));
    let c = rig.client();
    c.sends_cmd(&["BLPOP", "b", "3"]);
    rig.node(A).expects(&["BLPOP", "b", "3"]);
    rig.advance_ms(3_999);
    c.receives_nothing();
    rig.advance_ms(2);
    c.receives(b"*-1\r\n");
    assert_eq!(rig.open(A), 0);
}

#[test]
fn a_bad_timeout_is_the_servers_business_and_blocks_no_shared_backend() {
    // `0x1` is one second for a server.
    for timeout in ["abc", "-1", "1e20", "inf", "0x1", ""] {
        let rig = Rig::three();
        let (c, other) = (rig.client(), rig.client());
        c.sends_cmd(&["BLPOP", "b", timeout]);
        rig.node(A).expects(&["BLPOP", "b", timeout]);
        other.sends_cmd(&["GET", "b"]);
        rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
        other.receives(b"$-1\r\n");
        rig.node(A).behind(1).replies(b"-ERR timeout is negative\r\n");
        c.receives(b"-ERR timeout is negative\r\n");
        assert_eq!(rig.open(A), 2);
    }
}

#[test]
fn block_is_found_wherever_it_stands() {
    let rig = Rig::three_with(|c| c.reply_timeout = Duration::from_secs(1));
    let c = rig.client();
    for words in [
        "XREADGROUP BLOCK 3000 GROUP g c STREAMS b >",
        "XREADGROUP GROUP block c COUNT 2 BLOCK 3000 NOACK STREAMS b >",
        "XREAD COUNT 2 BLOCK 3000 STREAMS b $",
        "XREAD BLOCK 1 BLOCK 3000 STREAMS b $",
        "BLMPOP 3 1 b LEFT",
        "BZMPOP 3 1 b MIN",
        "BZPOPMIN b 3",
        "BLMOVE b b LEFT LEFT 3",
        "BRPOPLPUSH b b 3",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        c.sends_cmd(&words);
        rig.node(A).expects(&words);
        rig.advance_ms(1_000);
        rig.node(A).expects_nothing().replies(b"-MOVED 3300 127.0.0.1:7002\r\n");
        let left: Vec<String> = words
            .iter()
            .map(|w| w.replace("3000", "2000"))
            .map(|w| if w == "3" { "2.000".into() } else { w })
            .collect();
        rig.node(B).expects(&left);
        rig.advance_ms(2_000);
        rig.node(B).expects_nothing().replies(b"-MOVED 3300 127.0.0.1:7001\r\n");
        c.receives(b"*-1\r\n").receives_nothing();
    }
}

#[test]
fn a_blocked_command_whose_node_is_lost_waits_at_the_next_one_with_the_time_left() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["BLPOP", "b", "20"]);
    rig.node(A).expects(&["BLPOP", "b", "20"]);
    rig.advance_ms(5_000);
    rig.refuse_connects(A);
    rig.node(A).closes();
    rig.advance_ms(3_000);
    c.receives_nothing();
    rig.topology(&[(B, 0..=10922), (C, SLOTS_C)], &[]);
    rig.node(B).expects(&["BLPOP", "b", "12.000"]).replies(POPPED);
    c.receives(POPPED).receives_nothing();
}

#[test]
fn a_blocked_command_ends_in_time_also_while_nobody_can_be_asked() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["BLPOP", "b", "2"]);
    rig.node(A).expects(&["BLPOP", "b", "2"]);
    rig.refuse_connects(A);
    rig.node(A).closes();
    rig.advance_ms(1_900);
    c.receives_nothing();
    rig.advance_ms(300);
    c.receives(b"*-1\r\n").sends_cmd(&["PING"]).receives(b"+PONG\r\n");
}

#[test]
fn a_blocked_command_that_was_given_up_leaves_nothing_behind() {
    let rig = Rig::three_with(|c| c.retry_timeout = Duration::from_millis(300));
    rig.refuse_connects(A);
    let c = rig.client();
    c.sends_cmd(&["BLPOP", "b", "0"]);
    rig.advance_ms(1_000);
    c.receives_error("CLUSTERDOWN", &["3300"]);
    c.sends_cmd(&["WATCH", "c"]);
    rig.node(B).expects(&["WATCH", "c"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
}

#[test]
fn a_node_that_becomes_a_replica_lets_go_and_the_command_is_issued_again() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["BLPOP", "b", "0"]);
    rig.node(A).expects(&["BLPOP", "b", "0"]);
    rig.node(A).replies(
        b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n",
    );
    c.receives_nothing();
    rig.topology(&[(B, 0..=5460), (B, SLOTS_B), (C, SLOTS_C)], &[]);
    rig.node(B).expects(&["BLPOP", "b", "0"]).replies(POPPED);
    c.receives(POPPED).receives_nothing();
}

/// Nobody closes the connections of a host that has gone.
#[test]
fn a_client_blocked_at_a_node_that_has_left_without_a_word_is_not_forgotten() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["BLPOP", "b", "0"]);
    rig.node(A).expects(&["BLPOP", "b", "0"]);
    rig.topology(&[(B, 0..=10922), (C, SLOTS_C)], &[]);
    rig.advance_ms(1_000);
    rig.node(B).expects(&["BLPOP", "b", "0"]).replies(POPPED);
    c.receives(POPPED).receives_nothing();
    assert_eq!(rig.open(A), 0);
}

#[test]
fn the_backend_of_a_client_that_was_blocked_while_its_node_left_and_came_back_is_not_leaked() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["BLPOP", "b", "0"]);
    rig.node(A).expects(&["BLPOP", "b", "0"]);
    rig.topology(&[(B, 0..=10922), (C, SLOTS_C)], &[]);
    rig.topology(&[(A, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[]);
    rig.node(A).replies(POPPED);
    c.receives(POPPED);
    rig.topology(&[(B, 0..=10922), (C, SLOTS_C)], &[]);
    assert_eq!(rig.open(A), 0);
}

#[test]
fn a_blocked_client_that_leaves_takes_its_backend_along() {
    let rig = Rig::three();
    let (leaves, hangs_up) = (rig.client(), rig.client());
    leaves.sends_cmd(&["BLPOP", "b", "0"]);
    rig.node(A).expects(&["BLPOP", "b", "0"]);
    leaves.resets();
    assert_eq!(rig.open(A), 0);
    hangs_up.sends_cmd(&["BLPOP", "b", "0"]);
    rig.node(A).expects(&["BLPOP", "b", "0"]);
    rig.advance_ms(200);
    hangs_up.hangs_up().is_closed();
    assert_eq!(rig.open(A), 0);
}

#[test]
fn a_client_that_closes_its_half_behind_a_blocking_command_gets_what_is_there_and_waits_no_longer() {
    let rig = Rig::three();
    let (lucky, late) = (rig.client(), rig.client());
    lucky.sends_cmd(&["BLPOP", "b", "0"]).half_closes();
    rig.dedicated(A).expects(&["BLPOP", "b", "0"]).replies(POPPED);
    rig.node(A).expects(&["CLIENT", "UNBLOCK", "77", "ERROR"]).replies(b":0\r\n");
    lucky.receives(POPPED).is_closed();
    late.sends_cmd(&["BLPOP", "b", "0"]).half_closes();
    rig.dedicated(A).expects(&["BLPOP", "b", "0"]);
    rig.node(A).behind(1).expects(&["CLIENT", "UNBLOCK", "77", "ERROR"]).replies(b":1\r\n");
    rig.dedicated(A).replies(b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
    late.receives_nothing().is_closed();
}

/// For 200 ms its node went on waiting, and what was pushed then was popped for nobody.
#[test]
fn nothing_is_popped_for_a_client_that_left_soon_after_it_began_to_wait() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["BLPOP", "b", "0"]);
    rig.dedicated(A).expects(&["BLPOP", "b", "0"]);
    rig.advance_ms(20);
    c.half_closes();
    let told = || {
        rig.node(A).expects(&["CLIENT", "UNBLOCK", "77", "ERROR"]).replies(b":0\r\n");
    };
    // It came before the command itself, by another connection; so it is told again.
    told();
    rig.advance_ms(20);
    told();
    for _ in 0..7 {
        rig.advance_ms(20);
        told();
    }
    // A node that never lets go loses the connection.
    rig.advance_ms(20);
    c.is_closed();
    assert_eq!(rig.open(A), 1);
}

#[test]
fn keys_of_two_slots_are_refused() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["BLPOP", "b", "c", "0"]).receives_error("CROSSSLOT", &[]);
    assert_eq!(rig.connects(A), 0);
}

#[test]
fn inside_a_transaction_nothing_blocks() {
    let rig = Rig::three();
    let c = rig.client();
    let all = [cmd(&["MULTI"]), cmd(&["BLPOP", "b", "0"]), cmd(&["EXEC"])].concat();
    c.sends(&all).receives(b"+OK\r\n+QUEUED\r\n");
    rig.node(A).expects_bytes(all).replies(b"+OK\r\n+QUEUED\r\n*1\r\n*-1\r\n");
    c.receives(b"*1\r\n*-1\r\n");
    assert_eq!(rig.open(A), 1);
}

#[test]
fn a_client_that_watches_keys_waits_where_it_watches() {
    let rig = Rig::three_with(|c| c.reply_timeout = Duration::from_secs(1));
    let c = rig.client();
    c.sends_cmd(&["WATCH", "b"]);
    let d = rig.dedicated(A);
    d.expects(&["WATCH", "b"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n").sends_cmd(&["BLPOP", "b", "5"]);
    d.expects(&["BLPOP", "b", "5"]);
    rig.advance_ms(4_999);
    c.receives_nothing().is_open();
    d.replies(POPPED);
    c.receives(POPPED);
    // It watches still, and the node is given no more time than usual again.
    c.sends([cmd(&["MULTI"]), cmd(&["INCR", "b"]), cmd(&["EXEC"])].concat()).receives(b"+OK\r\n+QUEUED\r\n");
    d.expects(&["MULTI"]).expects(&["INCR", "b"]).expects(&["EXEC"]);
    rig.advance_ms(999);
    c.receives_nothing();
    d.replies(b"+OK\r\n+QUEUED\r\n*-1\r\n");
    c.receives(b"*-1\r\n");
    assert_eq!(rig.connects(A), 1);
}

#[test]
fn a_client_that_watches_keys_cannot_wait_for_those_of_another_slot() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["WATCH", "b"]);
    let d = rig.dedicated(A);
    d.expects(&["WATCH", "b"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n").sends_cmd(&["BLPOP", "c", "5"]);
    c.receives_error("ERR between WATCH and EXEC", &["slot"]);
    c.sends_cmd(&["UNWATCH"]).receives(b"+OK\r\n");
    d.expects(&["UNWATCH"]).replies(b"+OK\r\n");
}

#[test]
fn a_watching_client_whose_waiting_goes_to_another_node_finds_its_keys_changed() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["WATCH", "b"]);
    rig.dedicated(A).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n").sends_cmd(&["BLPOP", "b", "0"]);
    rig.dedicated(A).expects(&["BLPOP", "b", "0"]).replies(b"-MOVED 3300 127.0.0.1:7002\r\n");
    rig.dedicated(B).expects(&["BLPOP", "b", "0"]).replies(POPPED);
    c.receives(POPPED);
    c.sends([cmd(&["MULTI"]), cmd(&["INCR", "b"]), cmd(&["EXEC"])].concat());
    c.receives(b"+OK\r\n+QUEUED\r\n*-1\r\n");
    rig.hints();
}

/// Two timers were due, and what the first one did set the second one anew.
#[test]
fn a_timer_was_left_of_a_backend_that_was_lent_when_it_was_due() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["BLPOP", "b", "0"]);
    rig.dedicated(A).expects(&["BLPOP", "b", "0"]);
    rig.advance_ms(900);
    rig.dedicated(A).replies(b"-CLUSTERDOWN The cluster is down\r\n");
    rig.oversleep_ms(200);
    rig.dedicated(A).expects(&["BLPOP", "b", "0"]).replies(b"*2\r\n$1\r\nb\r\n$1\r\nx\r\n");
    c.receives(b"*2\r\n$1\r\nb\r\n$1\r\nx\r\n");
    rig.topology(&[(D, 0..=16383)], &[]);
    assert_eq!((rig.open(A), rig.counters().timers), (0, 0));
}
