//! Connections to nodes that break: what is sent again, what is not, and what the clients hear.

use crate::rig::{cmd, Rig, A, B, D, SLOTS_A, SLOTS_B};

/// INCR and LPUSH must not run twice.
#[test]
fn a_write_in_flight_is_never_sent_again() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["INCR", "b"]).sends_cmd(&["LPUSH", "b", "x"]).sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["INCR", "b"]).expects(&["LPUSH", "b", "x"]).expects(&["GET", "b"]).closes();
    for _ in 0..2 {
        c.receives_error("ERR node 127.0.0.1:7001 was lost before it answered", &["outcome", "unknown"]);
    }
    rig.advance_ms(100);
    rig.node(A).expects(&["GET", "b"]).expects_nothing().replies(b"$1\r\n1\r\n");
    c.receives(b"$1\r\n1\r\n").is_open();
}

/// Which of three commands were written to their ends decides, byte by byte.
#[test]
fn a_write_is_sent_again_exactly_if_its_last_byte_was_not_written() {
    let commands = [cmd(&["INCR", "b"]), cmd(&["DECR", "b"]), cmd(&["APPEND", "b", "xyz"])];
    let whole = commands.concat();
    for written in 0..=whole.len() {
        let rig = Rig::three();
        let c = rig.client();
        c.sends_cmd(&["PING"]).receives(b"+PONG\r\n").sends_cmd(&["GET", "b"]);
        rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n").takes(Some(written));
        c.receives(b"$-1\r\n").sends(&whole);
        rig.node(A).expects_bytes(&whole[..written]).closes();
        rig.advance_ms(100);
        let mut end = 0;
        for command in &commands {
            end += command.len();
            if end <= written {
                c.receives_error("ERR node 127.0.0.1:7001 was lost", &["unknown"]);
            } else {
                rig.node(A).expects_bytes(command).replies(b":1\r\n");
                c.receives(b":1\r\n");
            }
        }
        c.receives_nothing();
    }
}

#[test]
fn replies_that_came_before_the_loss_count_and_half_a_reply_does_not() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["INCR", "b"]).sends_cmd(&["INCR", "b"]).sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["INCR", "b"]).expects(&["INCR", "b"]).expects(&["GET", "b"]);
    rig.node(A).replies(b":1\r\n:").closes();
    c.receives(b":1\r\n").receives_error("ERR node 127.0.0.1:7001 was lost", &["unknown"]);
    rig.advance_ms(100);
    rig.node(A).expects(&["GET", "b"]).replies(b"$1\r\n2\r\n");
    c.receives(b"$1\r\n2\r\n");
}

#[test]
fn every_request_gets_exactly_one_reply_through_many_losses() {
    let rig = Rig::three();
    let c = rig.client();
    for round in 0..30 {
        c.sends_cmd(&["INCR", "b"]).sends_cmd(&["GET", "c"]).sends_cmd(&["INCR", "b"]);
        let a = rig.node(A);
        a.expects(&["INCR", "b"]).expects(&["INCR", "b"]);
        rig.node(B).expects(&["GET", "c"]);
        if round % 2 == 0 {
            rig.node(B).replies(b"$-1\r\n");
            a.replies(b":1\r\n").closes();
        } else {
            a.replies(b":1\r\n").closes();
            rig.node(B).replies(b"$-1\r\n");
        }
        c.receives(b":1\r\n$-1\r\n").receives_error("ERR node", &["unknown"]).receives_nothing();
        rig.advance_ms(1000);
    }
}

#[test]
fn reads_of_a_lost_primary_are_asked_of_the_new_one() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).closes();
    rig.refuse_connects(A);
    rig.advance_ms(300);
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B)], &[]);
    rig.node(D).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
}

#[test]
fn a_connection_that_a_node_closed_while_idle_is_replaced_without_a_word() {
    let rig = Rig::three();
    let c = rig.client();
    for _ in 0..3 {
        c.sends_cmd(&["INCR", "b"]);
        rig.node(A).expects(&["INCR", "b"]).replies(b":1\r\n");
        c.receives(b":1\r\n");
        rig.node(A).closes();
    }
    assert_eq!(rig.connects(A), 3);
}

#[test]
fn an_asked_command_whose_node_is_lost_begins_again_at_the_owner() {
    let rig = Rig::three();
    let c = rig.client();
    let asking = cmd(&["ASKING"]);
    c.sends_cmd(&["SET", "c", "0"]);
    rig.node(B).expects(&["SET", "c", "0"]).replies(b"+OK\r\n").takes(Some(asking.len()));
    c.receives(b"+OK\r\n").sends_cmd(&["SET", "b", "1"]);
    rig.node(A).expects(&["SET", "b", "1"]).replies(b"-ASK 3300 127.0.0.1:7002\r\n");
    rig.node(B).expects_bytes(&asking).replies(b"+OK\r\n").closes();
    rig.advance_ms(50);
    rig.node(A).expects(&["SET", "b", "1"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
    c.sends_cmd(&["SET", "b", "2"]);
    rig.node(A).expects(&["SET", "b", "2"]).replies(b"-ASK 3300 127.0.0.1:7002\r\n");
    rig.node(B).expects(&["ASKING"]).expects(&["SET", "b", "2"]).replies(b"+OK\r\n").closes();
    c.receives_error("ERR node 127.0.0.1:7002 was lost", &["unknown"]);
}

#[test]
fn commands_that_change_nothing_but_have_no_key_are_asked_again() {
    let rig = Rig::with(|_| {});
    rig.topology(&[(A, 0..=16383)], &[]);
    let c = rig.client();
    c.sends_cmd(&["TIME"]);
    rig.node(A).expects(&["TIME"]).closes();
    rig.advance_ms(50);
    rig.node(A).expects(&["TIME"]).replies(b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
    c.receives(b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n");
    c.sends_cmd(&["EVAL", "return 1", "0"]);
    rig.node(A).expects(&["EVAL", "return 1", "0"]).closes();
    c.receives_error("ERR node", &["unknown"]);
}

#[test]
fn a_client_that_left_is_not_answered_and_its_unsent_work_is_dropped() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]).sends_cmd(&["SET", "b", "1"]);
    rig.node(A).expects(&["GET", "b"]).expects(&["SET", "b", "1"]);
    c.resets();
    rig.node(A).closes();
    rig.advance_ms(1000);
    assert_eq!(rig.connects(A), 1);
}
