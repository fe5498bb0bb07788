//! WAIT: how many replicas of every primary have what the client has written.

use crate::rig::{bulk, cmd, Rig, A, B, C};

/// What a primary says: how far its stream is, and how far each replica.
fn stream(id: &str, offset: u64, replicas: &[u64]) -> Vec<u8> {
    let mut text =
        format!("# Replication\r\nrole:master\r\nmaster_replid:{id}\r\nmaster_repl_offset:{offset}\r\n");
    for (i, at) in replicas.iter().enumerate() {
        text.push_str(&format!("slave{i}:ip=127.0.0.1,port=1,state=online,offset={at},lag=0\r\n"));
    }
    bulk(text.as_bytes())
}

const QUESTION: [&str; 2] = ["INFO", "replication"];
const NUDGE: [&str; 3] = ["WAIT", "2147483647", "1"];

/// What is written to a node in a round.
#[derive(Clone, Copy, PartialEq)]
enum Round {
    /// The question only; no nudge has been sent to it ever.
    First,
    Again,
    Nudged,
}

/// All primaries are asked, and say this.
fn asked(rig: &Rig, round: Round, offset: u64, replicas: [&[u64]; 3]) {
    for (node, replicas) in [A, B, C].into_iter().zip(replicas) {
        if round == Round::Nudged {
            rig.node(node).expects(&NUDGE).replies(b":0\r\n");
        }
        let plain = rig.node(node).behind(usize::from(round != Round::First));
        plain.expects(&QUESTION).replies(stream(node, offset, replicas));
    }
}

#[test]
fn wait_counts_the_replicas_that_have_all_that_was_written_before() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends([cmd(&["SET", "b", "1"]), cmd(&["WAIT", "1", "0"]), cmd(&["GET", "b"])].concat());
    rig.node(A).expects(&["SET", "b", "1"]).expects_nothing().replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
    asked(&rig, Round::First, 100, [&[90, 0], &[100, 100], &[100, 100]]);
    c.receives_nothing();
    rig.advance_ms(1);
    asked(&rig, Round::Nudged, 137, [&[99, 0], &[137, 137], &[137, 137]]);
    c.receives_nothing();
    rig.advance_ms(4);
    asked(&rig, Round::Nudged, 174, [&[100, 0], &[174, 137], &[174, 174]]);
    c.receives(b":1\r\n");
    rig.node(A).behind(1).expects(&["GET", "b"]).replies(b"$1\r\n1\r\n");
    c.receives(b"$1\r\n1\r\n");
}

#[test]
fn wait_ends_when_its_time_is_over_and_tells_what_was_reached() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["WAIT", "2", "3"]);
    asked(&rig, Round::First, 100, [&[100], &[100], &[100]]);
    rig.advance_ms(1);
    asked(&rig, Round::Nudged, 100, [&[100], &[100], &[100]]);
    c.receives_nothing();
    rig.advance_ms(4);
    asked(&rig, Round::Nudged, 100, [&[100], &[100], &[]]);
    c.receives(b":0\r\n").sends_cmd(&["WAIT", "0", "0"]);
    asked(&rig, Round::Again, 100, [&[100], &[100], &[100, 100]]);
    c.receives(b":1\r\n");
}

#[test]
fn a_primary_that_another_one_follows_may_have_lost_what_was_written() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["WAIT", "1", "0"]);
    asked(&rig, Round::First, 100, [&[90], &[100], &[100]]);
    rig.advance_ms(1);
    for (node, id) in [(A, "other"), (B, B), (C, C)] {
        rig.node(node).expects(&NUDGE).replies(b":0\r\n");
        rig.node(node).behind(1).expects(&QUESTION).replies(stream(id, 200, &[200]));
    }
    c.receives_error("UNBLOCKED", &["instance state changed"]);
}

#[test]
fn a_client_that_leaves_while_it_waits_leaves_nothing_behind() {
    let rig = Rig::three();
    for (hangs_up, first) in [(false, Round::First), (true, Round::Again)] {
        let c = rig.client();
        c.sends_cmd(&["WAIT", "1", "0"]);
        asked(&rig, first, 100, [&[], &[], &[]]);
        rig.advance_ms(1);
        asked(&rig, Round::Nudged, 100, [&[], &[], &[]]);
        match hangs_up {
            false => c.resets(),
            true => drop(c.half_closes()),
        }
        rig.advance_ms(200);
        let counters = rig.counters();
        assert_eq!((counters.gathers, counters.clients, counters.in_flight), (0, 0, 0));
    }
}

#[test]
fn client_unblock_ends_the_waiting_for_replicas() {
    let rig = Rig::three();
    let (c, other) = (rig.client(), rig.client());
    let mut round = Round::First;
    for (how, reply) in [("TIMEOUT", ":0"), ("ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK")] {
        c.sends_cmd(&["CLIENT", "ID"]);
        let id = c.receives_line().trim_start_matches(':').to_owned();
        c.sends_cmd(&["WAIT", "1", "0"]);
        asked(&rig, round, 100, [&[100], &[100], &[]]);
        other.sends_cmd(&["CLIENT", "UNBLOCK", &id, how]).receives(b":1\r\n");
        rig.advance_ms(1);
        asked(&rig, Round::Nudged, 100, [&[100], &[100], &[]]);
        c.receives(format!("{reply}\r\n"));
        other.sends_cmd(&["CLIENT", "UNBLOCK", &id]).receives(b":0\r\n");
        round = Round::Again;
    }
}

#[test]
fn an_orderly_stop_ends_the_waiting_for_replicas() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["WAIT", "1", "0"]);
    asked(&rig, Round::First, 100, [&[100], &[100], &[]]);
    rig.advance_ms(1);
    rig.drain();
    c.is_open();
    asked(&rig, Round::Nudged, 100, [&[100], &[100], &[]]);
    c.receives(b":0\r\n").is_closed();
}
