//! Large replies: passed on as they come, at the pace of their client, with nobody waiting behind them.
//!
//! Replies count as unfinished from 100 bytes on, as large from 1000 on; a client is waited for above 500 bytes.

use crate::rig::{bulk, cmd, Rig, A, B};

/// A value of so many bytes, each place different from its neighbours.
fn value(len: usize) -> Vec<u8> {
    bulk(&(0..len).map(|i| b'a' + (i % 23) as u8).collect::<Vec<u8>>())
}

#[test]
fn a_large_reply_reaches_its_client_before_its_end_has_come() {
    let rig = Rig::streaming();
    let c = rig.client();
    let reply = value(5000);
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(&reply[..1500]);
    c.receives(&reply[..1500]);
    rig.node(A).replies(&reply[1500..1501]);
    c.receives(&reply[1500..1501]);
    rig.node(A).replies(&reply[1501..]);
    c.receives(&reply[1501..]).sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
    assert_eq!(rig.counters().replies_streamed, 1);
}

#[test]
fn a_reply_cut_anywhere_arrives_unchanged_and_so_does_the_next() {
    let nested = [&b"*3\r\n$2\r\n-x\r\n"[..], &value(1200), b"%1\r\n+a\r\n:1\r\n"].concat();
    for reply in [value(3000), nested, b"*400\r\n".iter().copied().chain(b":7\r\n".repeat(400)).collect()] {
        for size in [1, 7, 99, 100, 101, 640, 2500] {
            let rig = Rig::streaming();
            let c = rig.client();
            c.sends([cmd(&["GET", "b"]), cmd(&["GET", "b"])].concat());
            rig.node(A).expects(&["GET", "b"]).expects(&["GET", "b"]);
            rig.node(A).replies_in_pieces(&[&reply[..], b"$1\r\n1\r\n"].concat(), size);
            c.receives([&reply[..], b"$1\r\n1\r\n"].concat());
        }
    }
}

#[test]
fn what_others_ask_while_a_large_reply_comes_goes_to_another_connection() {
    let rig = Rig::streaming();
    let (large, other) = (rig.client(), rig.client());
    let reply = value(5000);
    large.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(&reply[..1500]);
    other.sends_cmd(&["SET", "b", "1"]);
    rig.node(A).expects(&["SET", "b", "1"]).replies(b"+OK\r\n");
    other.receives(b"+OK\r\n");
    rig.node(A).behind(1).replies(&reply[1500..]);
    large.receives(&reply);
    assert_eq!((rig.open(A), rig.connects(A)), (2, 2));
    // The old connection waits to be of use again.
    large.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(&reply[..1500]);
    other.sends_cmd(&["GET", "b"]);
    rig.node(A).behind(1).expects(&["GET", "b"]).replies(b"$-1\r\n");
    other.receives(b"$-1\r\n");
    rig.node(A).replies(&reply[1500..]);
    large.receives(&reply);
    assert_eq!((rig.open(A), rig.connects(A)), (2, 2));
}

#[test]
fn reads_behind_a_large_reply_are_asked_again_and_writes_wait() {
    let rig = Rig::streaming();
    let (large, reader, writer) = (rig.client(), rig.client(), rig.client());
    let reply = value(5000);
    large.sends_cmd(&["GET", "b"]);
    reader.sends_cmd(&["GET", "b"]);
    writer.sends([cmd(&["INCR", "b"]), cmd(&["GET", "b"])].concat());
    let old = rig.node(A);
    old.expects(&["GET", "b"]).expects(&["GET", "b"]).expects(&["INCR", "b"]).expects(&["GET", "b"]);
    old.replies(&reply[..1500]);
    rig.node(A).expects(&["GET", "b"]).expects_nothing().replies(b"$1\r\n1\r\n");
    reader.receives(b"$1\r\n1\r\n");
    // What follows a write of the same client is not asked before it is answered.
    writer.receives_nothing().sends_cmd(&["INCR", "b"]);
    rig.node(A).expects_nothing();
    rig.node(A).behind(1).replies([&reply[1500..], b"$1\r\n0\r\n:1\r\n$1\r\n1\r\n"].concat());
    large.receives(&reply);
    writer.receives(b":1\r\n$1\r\n1\r\n");
    reader.receives_nothing();
    rig.node(A).expects(&["INCR", "b"]).replies(b":2\r\n");
    writer.receives(b":2\r\n");
}

/// Its request in flight may be executed after one that goes to the new connection.
#[test]
fn a_client_with_a_write_behind_a_large_reply_is_not_read_until_it_is_answered() {
    let rig = Rig::streaming();
    let (large, other) = (rig.client(), rig.client());
    let reply = value(5000);
    large.sends_cmd(&["GET", "b"]);
    other.sends_cmd(&["SET", "b", "1"]);
    rig.node(A).expects(&["GET", "b"]).expects(&["SET", "b", "1"]).replies(&reply[..1500]);
    other.sends_cmd(&["GET", "b"]);
    large.receives(&reply[..1500]).sends_cmd(&["SET", "b", "2"]);
    assert_eq!(rig.connects(A), 1);
    rig.node(A).replies([&reply[1500..], b"+OK\r\n"].concat());
    other.receives(b"+OK\r\n");
    large.receives(&reply[1500..]);
    rig.node(A).expects(&["SET", "b", "2"]).expects(&["GET", "b"]).replies(b"+OK\r\n$1\r\n2\r\n");
    other.receives(b"$1\r\n2\r\n");
    large.receives(b"+OK\r\n");
}

#[test]
fn what_was_not_written_behind_a_large_reply_is_written_elsewhere() {
    let rig = Rig::streaming();
    let (large, other, third) = (rig.client(), rig.client(), rig.client());
    let reply = value(5000);
    large.sends_cmd(&["GET", "b"]);
    let old = rig.node(A);
    old.expects(&["GET", "b"]).takes(Some(0));
    other.sends([cmd(&["SET", "b", "1"]), cmd(&["GET", "b"])].concat());
    third.sends_cmd(&["APPEND", "b", "x"]);
    old.replies(&reply[..1500]);
    let new = rig.node(A);
    new.expects(&["SET", "b", "1"]).expects(&["GET", "b"]).expects(&["APPEND", "b", "x"]);
    new.replies(b"+OK\r\n$1\r\n1\r\n:2\r\n");
    other.receives(b"+OK\r\n$1\r\n1\r\n");
    third.receives(b":2\r\n");
    let old = rig.node(A).behind(1);
    old.takes(None).expects_nothing().replies(&reply[1500..]);
    large.receives(&reply);
}

/// A read must not be asked again behind a write of its client that may be executed before that.
#[test]
fn nothing_of_a_client_moves_whose_write_was_half_written() {
    let rig = Rig::streaming();
    let (large, other) = (rig.client(), rig.client());
    let reply = value(5000);
    large.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]);
    other.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).takes(Some(9));
    let set = cmd(&["SET", "b", "1"]);
    other.sends(&set);
    rig.node(A).expects_bytes(&set[..9]).replies(&reply[..1500]);
    assert_eq!(rig.connects(A), 1);
    rig.node(A).takes(None).expects_bytes(&set[9..]);
    rig.node(A).replies([&reply[1500..], b"$-1\r\n+OK\r\n"].concat());
    large.receives(&reply);
    other.receives(b"$-1\r\n+OK\r\n");
}

#[test]
fn a_client_that_takes_a_large_reply_slowly_sets_the_pace() {
    let rig = Rig::streaming();
    let c = rig.client();
    let reply = value(100_000);
    c.takes(Some(200)).sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(&reply[..600]);
    c.receives(&reply[..200]);
    let (mut sent, mut taken) = (600, 200);
    while taken < reply.len() {
        if rig.node(A).unread_len() == 0 {
            let next = (sent + 300).min(reply.len());
            rig.node(A).replies(&reply[sent..next]);
            sent = next;
        }
        let held = sent - rig.node(A).unread_len() - taken;
        assert!(held <= 900, "{held} bytes wait for a slow client");
        c.takes(Some(250));
        let more = c.received_len();
        c.receives(&reply[taken..taken + more]);
        taken += more;
    }
    assert_eq!((rig.node(A).unread_len(), rig.counters().in_flight), (0, 0));
}

/// The node is not at fault when a client is slow.
#[test]
fn a_slow_client_is_no_reply_timeout_and_a_stalled_one_is_closed() {
    let rig = Rig::streaming();
    let c = rig.client();
    let reply = value(100_000);
    c.takes(Some(0)).sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(&reply[..3000]);
    for _ in 0..10 {
        rig.advance_ms(30_000);
        c.takes(Some(10)).is_open();
    }
    assert_eq!(rig.counters().reply_timeouts, 0);
    c.receives(&reply[..100]);
    rig.advance_ms(75_000);
    c.is_closed();
    assert_eq!(rig.counters().output_limit_closes, 1);
    rig.leave_unfinished();
}

/// Somebody who waits behind a reply must not wait long for its client.
#[test]
fn a_node_is_read_on_for_a_write_behind_a_slow_client() {
    let rig = Rig::streaming();
    let (slow, writer) = (rig.client(), rig.client());
    let reply = value(100_000);
    slow.takes(Some(0)).sends_cmd(&["GET", "b"]);
    writer.sends_cmd(&["INCR", "b"]);
    rig.node(A).expects(&["GET", "b"]).expects(&["INCR", "b"]);
    rig.node(A).replies_in_pieces(&[&reply[..], b":1\r\n"].concat(), 900);
    assert!(rig.node(A).unread_len() > 80_000, "read without regard to its client");
    writer.receives_nothing();
    rig.advance_ms(2500);
    writer.receives(b":1\r\n");
    slow.takes(None).receives(&reply);
}

#[test]
fn a_slow_client_with_somebody_behind_it_is_closed_at_its_output_limit() {
    let rig = Rig::streaming_with(|c| c.client_output_limit = 5000);
    let (slow, writer) = (rig.client(), rig.client());
    let reply = value(100_000);
    slow.takes(Some(0)).sends_cmd(&["GET", "b"]);
    writer.sends_cmd(&["INCR", "b"]);
    rig.node(A).expects(&["GET", "b"]).expects(&["INCR", "b"]);
    rig.node(A).replies_in_pieces(&[&reply[..], b":1\r\n"].concat(), 900);
    rig.advance_ms(2500);
    slow.is_closed();
    writer.receives(b":1\r\n");
    assert_eq!(rig.counters().output_limit_closes, 1);
}

#[test]
fn a_node_lost_in_the_middle_of_a_reply_closes_its_client_and_no_other() {
    let rig = Rig::streaming();
    let (large, other, writer) = (rig.client(), rig.client(), rig.client());
    let reply = value(5000);
    large.sends([cmd(&["GET", "b"]), cmd(&["PING"])].concat());
    other.sends_cmd(&["GET", "b"]);
    writer.sends_cmd(&["INCR", "b"]);
    rig.node(A).expects(&["GET", "b"]).expects(&["GET", "b"]).expects(&["INCR", "b"]).replies(&reply[..400]);
    large.receives(&reply[..400]).is_open();
    rig.node(A).expects(&["GET", "b"]).behind(1).closes();
    large.is_closed();
    writer.receives_error("ERR node 127.0.0.1:7001 was lost", &["unknown"]);
    rig.node(A).replies(b"$-1\r\n");
    other.receives(b"$-1\r\n").is_open();
    writer.is_open();
}

/// It is held until it is whole, so that its request can be sent again.
#[test]
fn a_reply_below_the_threshold_is_asked_again_when_its_node_is_lost() {
    let rig = Rig::streaming();
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(&value(900)[..99]).closes();
    c.receives_nothing();
    rig.advance_ms(100);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
}

#[test]
fn the_rest_of_a_reply_whose_client_has_left_is_dropped() {
    let rig = Rig::streaming();
    let (large, other) = (rig.client(), rig.client());
    let reply = value(50_000);
    large.takes(Some(0)).sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(&reply[..3000]);
    large.resets();
    rig.node(A).replies(&reply[3000..20_000]);
    assert_eq!(rig.node(A).unread_len(), 0);
    rig.node(A).replies(&reply[20_000..]);
    other.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    other.receives(b"$-1\r\n");
    assert_eq!(rig.open(A), 1);
}

#[test]
fn a_large_reply_that_its_client_does_not_want_is_dropped_as_it_comes() {
    let rig = Rig::streaming();
    let c = rig.client();
    let reply = value(50_000);
    c.sends([cmd(&["CLIENT", "REPLY", "SKIP"]), cmd(&["GET", "b"]), cmd(&["PING"])].concat());
    rig.node(A).expects(&["GET", "b"]).replies(&reply[..20_000]);
    assert_eq!(rig.node(A).unread_len(), 0);
    c.receives_nothing();
    rig.node(A).replies(&reply[20_000..]);
    c.receives(b"+PONG\r\n");
}

/// Its turn has not come, so it is not read on; its turn comes, and it is.
#[test]
fn a_large_reply_waits_for_the_reply_before_it() {
    let rig = Rig::streaming();
    let (c, other) = (rig.client(), rig.client());
    let reply = value(50_000);
    c.sends([cmd(&["GET", "c"]), cmd(&["GET", "b"])].concat());
    rig.node(B).expects(&["GET", "c"]);
    let old = rig.node(A);
    old.expects(&["GET", "b"]).replies(&reply[..1200]);
    old.replies(&reply[1200..40_000]);
    assert!(old.unread_len() >= 38_800, "read although it is not its turn");
    other.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    other.receives(b"$-1\r\n");
    c.receives_nothing();
    rig.node(B).replies(b"$1\r\n0\r\n");
    c.receives([b"$1\r\n0\r\n", &reply[..40_000]].concat());
    rig.node(A).behind(1).replies(&reply[40_000..]);
    c.receives(&reply[40_000..]);
}

/// A request that was redirected may come behind a later one of its client, which then must not wait for its turn unread.
#[test]
fn a_large_reply_before_its_turn_does_not_stop_the_reply_before_it() {
    let rig = Rig::streaming();
    let c = rig.client();
    let reply = value(50_000);
    c.sends([cmd(&["MGET", "b", "c"]), cmd(&["GET", "b"])].concat());
    rig.node(A).expects(&["mget", "b"]).expects(&["GET", "b"]);
    rig.node(B).expects(&["mget", "c"]).replies(format!("-ASK 7365 {A}\r\n"));
    let old = rig.node(A);
    old.expects(&["ASKING"]).expects(&["mget", "c"]);
    old.replies([b"*1\r\n$-1\r\n", &reply[..3000]].concat());
    old.replies([&reply[3000..], b"+OK\r\n*1\r\n$-1\r\n"].concat());
    c.receives([b"*2\r\n$-1\r\n$-1\r\n", &reply[..]].concat());
}

#[test]
fn a_split_with_a_large_part_is_whole_and_delays_nobody() {
    let rig = Rig::streaming();
    let (c, other) = (rig.client(), rig.client());
    let reply = value(5000);
    c.sends_cmd(&["MGET", "b", "c"]);
    rig.node(B).expects(&["mget", "c"]).replies(b"*1\r\n$1\r\nc\r\n");
    let part = [b"*1\r\n", &reply[..]].concat();
    rig.node(A).expects(&["mget", "b"]).replies(&part[..2000]);
    c.receives_nothing();
    other.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    other.receives(b"$-1\r\n");
    rig.node(A).behind(1).replies(&part[2000..]);
    c.receives([b"*2\r\n", &reply[..], b"$1\r\nc\r\n"].concat());
}

/// An error may tell that the request was not executed, however long it is.
#[test]
fn a_long_error_is_not_passed_on_before_it_is_whole() {
    let rig = Rig::streaming();
    let c = rig.client();
    c.sends_cmd(&["HELLO", "3"]).takes_received();
    c.sends_cmd(&["GET", "b"]);
    let error = [b"!2000\r\n".to_vec(), vec![b'e'; 2000], b"\r\n".to_vec()].concat();
    rig.resp3(A).expects(&["GET", "b"]).replies(&error[..1500]);
    c.receives_nothing();
    rig.resp3(A).behind(0).replies(&error[1500..]);
    c.receives(&error);
}

#[test]
fn a_detached_connection_of_a_removed_node_is_closed_with_its_last_reply() {
    let rig = Rig::streaming();
    let c = rig.client();
    let reply = value(5000);
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(&reply[..1500]);
    rig.topology(&[(B, 0..=16383)], &[]);
    rig.node(A).replies(&reply[1500..]);
    c.receives(&reply);
    assert_eq!(rig.open(A), 0);
}

/// A large SET of `key`, and how much of it is before the value.
fn large_set(key: &str, len: usize) -> Vec<u8> {
    let value: Vec<u8> = (0..len).map(|i| b'a' + (i % 23) as u8).collect();
    cmd(&[&b"SET"[..], key.as_bytes(), &value])
}

const ASKED: &[&str] = &["EXISTS", "b"];

#[test]
fn a_large_request_reaches_its_node_before_its_end_has_come() {
    let rig = Rig::streaming();
    let c = rig.client();
    let set = [large_set("b", 5000), cmd(&["GET", "b"])].concat();
    c.sends(&set[..300]);
    rig.node(A).expects(ASKED).replies(b":0\r\n");
    rig.dedicated(A).expects_bytes(&set[..300]);
    for piece in set[300..].chunks(400) {
        c.sends(piece);
    }
    rig.dedicated(A).expects_bytes(&set[300..set.len() - cmd(&["GET", "b"]).len()]).expects_nothing();
    rig.dedicated(A).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
    rig.node(A).behind(1).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
    assert_eq!(rig.counters().requests_streamed, 1);
}

#[test]
fn a_large_request_waits_for_the_earlier_ones_of_its_client() {
    let rig = Rig::streaming();
    let c = rig.client();
    let set = large_set("b", 5000);
    c.sends_cmd(&["GET", "b"]).sends(&set[..2000]);
    rig.node(A).expects(&["GET", "b"]).expects_nothing().replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
    rig.node(A).expects(ASKED).replies(b":1\r\n");
    rig.dedicated(A).expects_bytes(&set[..2000]);
    c.sends(&set[2000..]);
    rig.dedicated(A).expects_bytes(&set[2000..]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
}

#[test]
fn a_large_request_goes_where_its_slot_is_by_now() {
    let rig = Rig::streaming();
    let c = rig.client();
    let set = large_set("b", 5000);
    c.sends(&set[..2000]);
    rig.node(A).expects(ASKED).replies(format!("-MOVED 3300 {B}\r\n"));
    rig.node(B).expects(ASKED).replies(b":0\r\n");
    rig.dedicated(B).expects_bytes(&set[..2000]);
    c.sends(&set[2000..]);
    rig.dedicated(B).expects_bytes(&set[2000..]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
}

#[test]
fn a_large_request_for_a_slot_on_its_way_is_sent_behind_asking() {
    let rig = Rig::streaming();
    let c = rig.client();
    let set = large_set("b", 5000);
    c.sends(&set[..2000]);
    rig.node(A).expects(ASKED).replies(format!("-ASK 3300 {B}\r\n"));
    rig.node(B).expects(&["ASKING"]).expects(ASKED).replies(b"+OK\r\n:0\r\n");
    rig.dedicated(B).expects(&["ASKING"]).expects_bytes(&set[..2000]).replies(b"+OK\r\n");
    c.sends(&set[2000..]);
    rig.dedicated(B).expects_bytes(&set[2000..]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
}

#[test]
fn a_redirect_of_a_large_request_says_that_it_was_not_executed() {
    let rig = Rig::streaming();
    let c = rig.client();
    let set = large_set("b", 5000);
    c.sends(&set[..2000]);
    rig.node(A).expects(ASKED).replies(b":0\r\n");
    c.sends(&set[2000..]);
    rig.dedicated(A).expects_bytes(&set).replies(format!("-MOVED 3300 {B}\r\n"));
    c.receives_error("TRYAGAIN", &["3300", "not executed"]).sends_cmd(&["GET", "b"]);
    rig.node(B).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
}

#[test]
fn an_error_before_a_large_request_is_sent_is_its_reply() {
    let rig = Rig::streaming();
    let c = rig.client();
    let set = [large_set("b", 5000), cmd(&["PING"])].concat();
    c.sends(&set[..2000]);
    rig.node(A).expects(ASKED).replies(b"-NOPERM no\r\n");
    c.receives_nothing().sends(&set[2000..]);
    c.receives(b"-NOPERM no\r\n+PONG\r\n");
}

#[test]
fn a_node_lost_in_the_middle_of_a_request_has_not_executed_it() {
    let rig = Rig::streaming();
    let c = rig.client();
    let set = [large_set("b", 5000), cmd(&["PING"])].concat();
    c.sends(&set[..2000]);
    rig.node(A).expects(ASKED).replies(b":0\r\n");
    rig.dedicated(A).expects_bytes(&set[..2000]).closes();
    c.receives_nothing().sends(&set[2000..4000]).receives_nothing().sends(&set[4000..]);
    c.receives_error("ERR node 127.0.0.1:7001 was lost", &["not executed"]).receives(b"+PONG\r\n");
}

#[test]
fn a_node_lost_behind_a_large_request_may_have_executed_it() {
    let rig = Rig::streaming();
    let c = rig.client();
    let set = large_set("b", 5000);
    c.sends(&set[..2000]);
    rig.node(A).expects(ASKED).replies(b":0\r\n");
    c.sends(&set[2000..]);
    rig.dedicated(A).expects_bytes(&set).closes();
    c.receives_error("ERR node 127.0.0.1:7001 was lost", &["unknown"])
        .sends(b"PING\r\n")
        .receives(b"+PONG\r\n");
}

#[test]
fn a_refusal_before_the_end_of_a_large_request_is_its_reply() {
    let rig = Rig::streaming();
    let c = rig.client();
    let set = [large_set("b", 5000), cmd(&["PING"])].concat();
    c.sends(&set[..2000]);
    rig.node(A).expects(ASKED).replies(b":0\r\n");
    rig.dedicated(A).expects_bytes(&set[..2000]).replies(b"-ERR Protocol error: invalid bulk length\r\n");
    assert_eq!(rig.open(A), 1);
    c.receives_nothing().sends(&set[2000..]);
    c.receives(b"-ERR Protocol error: invalid bulk length\r\n+PONG\r\n");
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_request_has_not_sent_it() {
    for how in 0..3 {
        let rig = Rig::streaming();
        let c = rig.client();
        let set = large_set("b", 5000);
        c.sends(&set[..2000]);
        rig.node(A).expects(ASKED).replies(b":0\r\n");
        rig.dedicated(A).expects_bytes(&set[..2000]);
        match how {
            0 => c.resets(),
            1 => drop(c.half_closes().is_closed()),
            _ => {
                rig.advance_ms(80_000);
                c.is_closed();
            }
        }
        assert_eq!(rig.open(A), 1, "the connection with half a request is open");
    }
}

#[test]
fn a_protocol_error_within_a_large_request_closes_its_connection() {
    let rig = Rig::streaming();
    let c = rig.client();
    let begin = [b"*4\r\n$3\r\nSET\r\n$1\r\nb\r\n$2000\r\n".to_vec(), vec![b'x'; 2000]].concat();
    c.sends(&begin);
    rig.node(A).expects(ASKED).replies(b":0\r\n");
    rig.dedicated(A).expects_bytes(&begin);
    c.sends(b"\r\n$-5\r\n");
    c.receives(b"-ERR Protocol error: invalid bulk length\r\n").is_closed();
    assert_eq!(rig.open(A), 1);
}

#[test]
fn a_slow_node_sets_the_pace_of_a_large_request() {
    let rig = Rig::streaming();
    let c = rig.client();
    let set = large_set("b", 50_000);
    c.sends(&set[..600]);
    rig.node(A).expects(ASKED).replies(b":0\r\n");
    let mut got = rig.dedicated(A).received_len();
    rig.dedicated(A).expects_bytes(&set[..got]).takes(Some(0));
    let mut sent = 600;
    while got < set.len() {
        if c.unread_len() == 0 && sent < set.len() {
            let next = (sent + 300).min(set.len());
            c.sends(&set[sent..next]);
            sent = next;
        }
        assert!(sent - c.unread_len() - got <= 1100, "{} bytes are held", sent - c.unread_len() - got);
        rig.dedicated(A).takes(Some(250));
        let more = rig.dedicated(A).received_len();
        rig.dedicated(A).expects_bytes(&set[got..got + more]);
        got += more;
    }
    rig.dedicated(A).takes(None).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
}

/// Only what has one key, and nothing that is queued or watched over, is passed on as it comes.
#[test]
fn other_large_requests_are_held_until_they_are_whole() {
    let rig = Rig::streaming();
    let c = rig.client();
    let large = vec![b'x'; 3000];
    for request in [cmd(&[&b"MSET"[..], b"b", &large]), cmd(&[&b"EVAL"[..], &large, b"1", b"b"])] {
        c.sends(&request[..1500]);
        assert_eq!(rig.counters().requests_streamed, 0);
        c.sends(&request[1500..]);
        rig.node(A).expects_bytes(&request).replies(b"+OK\r\n");
        c.receives(b"+OK\r\n");
    }
    let set = large_set("b", 3000);
    c.sends_cmd(&["MULTI"])
        .receives(b"+OK\r\n")
        .sends(&set[..1500])
        .sends(&set[1500..])
        .receives(b"+QUEUED\r\n");
    c.sends_cmd(&["DISCARD"]).receives(b"+OK\r\n");
}

/// What was answered before is not lost with the request that it has not sent in full.
#[test]
fn replies_were_lost_with_a_large_request_that_its_client_did_not_end() {
    for answered in [false, true] {
        let rig = Rig::streaming();
        let c = rig.client();
        c.takes(Some(0)).sends_cmd(&["GET", "b"]);
        rig.node(A).expects(&["GET", "b"]).replies(b"$1\r\nx\r\n");
        let set = large_set("b", 5000);
        c.sends(&set[..2000]);
        rig.node(A).expects(ASKED);
        if answered {
            rig.node(A).replies(b":0\r\n");
            rig.dedicated(A).expects_bytes(&set[..2000]);
        }
        c.half_closes().is_open();
        if !answered {
            rig.node(A).replies(b":0\r\n");
        }
        assert_eq!(rig.open(A), 1, "the connection with half a request is open");
        c.takes(None).receives(b"$1\r\nx\r\n").is_closed();
    }
}

/// The cluster is asked about it behind a large reply whose client takes nothing.
#[test]
fn an_unknown_command_waited_a_minute_for_a_client_that_takes_nothing() {
    let rig = Rig::streaming();
    rig.topology(&[(A, 0..=16383)], &[]);
    let (slow, other) = (rig.client(), rig.client());
    slow.takes(Some(0)).sends_cmd(&["GET", "b"]);
    other.sends_cmd(&["NOSUCH", "b"]);
    rig.node(A).expects(&["GET", "b"]).expects(&["COMMAND", "INFO", "nosuch"]);
    let replies = [&bulk(&vec![b'v'; 30_000])[..], b"*1\r\n*-1\r\n"].concat();
    rig.node(A).replies(&replies[..20_000]).replies(&replies[20_000..]);
    rig.advance_ms(2_100);
    other.receives_error("ERR unknown command 'NOSUCH'", &["with args beginning with: 'b'"]);
    rig.leave_unfinished();
}

/// The system says that a connection can be written with every reply that comes by it; that cost a wait each.
#[test]
fn a_node_that_takes_more_and_for_which_nothing_waits_is_not_looked_at() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
    rig.turn_by_turn();
    rig.node(A).takes(None);
    assert!(!rig.has_output());
    rig.go_on();
}
