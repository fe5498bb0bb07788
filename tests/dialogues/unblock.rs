//! CLIENT UNBLOCK: the node where a client waits is asked, and a command that no node has seen is answered at once.

use crate::rig::{keys_in, Rig, A, B, SLOTS_A, SLOTS_B};

const NIL: &[u8] = b"*-1\r\n";
const UNBLOCKED: &[u8] = b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n";

fn key() -> String {
    keys_in(&SLOTS_A, 1).remove(0)
}

#[test]
fn the_node_is_asked_and_what_it_says_is_the_reply() {
    for (reason, sent) in [(None, "TIMEOUT"), (Some("timeout"), "TIMEOUT"), (Some("ERROR"), "ERROR")] {
        let (rig, key) = (Rig::three(), key());
        let (blocked, asker) = (rig.client(), rig.client());
        blocked.sends_cmd(&["BLPOP", &key, "0"]).receives_nothing();
        rig.dedicated(A).expects(&["BLPOP", &key, "0"]);
        let words: Vec<&str> = ["CLIENT", "UNBLOCK", "1"].into_iter().chain(reason).collect();
        asker.sends_cmd(&words).receives_nothing();
        rig.node(A).expects(&["CLIENT", "UNBLOCK", "77", sent]);
        rig.dedicated(A).replies(if sent == "ERROR" { UNBLOCKED } else { NIL });
        blocked.receives(if sent == "ERROR" { UNBLOCKED } else { NIL });
        rig.node(A).replies(b":1\r\n");
        asker.receives(b":1\r\n");
        assert_eq!(rig.open(A), 1, "its connection is not lent again, or another client would be unblocked");
        blocked.sends_cmd(&["BLPOP", &key, "0"]).receives_nothing();
        rig.dedicated(A).expects(&["BLPOP", &key, "0"]).replies(b"*0\r\n");
        blocked.receives(b"*0\r\n");
    }
}

#[test]
fn what_the_node_has_popped_already_is_not_lost() {
    let (rig, key) = (Rig::three(), key());
    let (blocked, asker) = (rig.client(), rig.client());
    blocked.sends_cmd(&["BLPOP", &key, "0"]);
    rig.dedicated(A).expects(&["BLPOP", &key, "0"]);
    asker.sends_cmd(&["CLIENT", "UNBLOCK", "1"]);
    rig.dedicated(A).replies(b"*2\r\n$1\r\nk\r\n$1\r\nv\r\n");
    blocked.receives(b"*2\r\n$1\r\nk\r\n$1\r\nv\r\n");
    rig.node(A).expects(&["CLIENT", "UNBLOCK", "77", "TIMEOUT"]).replies(b":0\r\n");
    asker.receives(b":0\r\n");
}

#[test]
fn a_command_that_no_node_has_seen_is_answered_by_the_proxy() {
    for (reason, reply) in [("TIMEOUT", NIL), ("ERROR", UNBLOCKED)] {
        let (rig, key) = (Rig::three(), key());
        rig.by_hand(A);
        let (blocked, asker) = (rig.client(), rig.client());
        blocked.sends_cmd(&["BLPOP", &key, "0"]).receives_nothing();
        asker.sends_cmd(&["CLIENT", "UNBLOCK", "1", reason]).receives(b":1\r\n");
        blocked.receives(reply);
        assert_eq!(rig.open(A), 0);
        blocked.sends_cmd(&["PING"]).receives(b"+PONG\r\n");
    }
}

#[test]
fn a_command_that_waits_for_its_node_is_answered_by_the_proxy() {
    let rig = Rig::three();
    rig.refuse_connects(A);
    let (blocked, asker) = (rig.client(), rig.client());
    blocked.sends_cmd(&["BLMOVE", &key(), &key(), "LEFT", "LEFT", "0"]).receives_nothing();
    asker.sends_cmd(&["CLIENT", "UNBLOCK", "1"]).receives(b":1\r\n");
    blocked.receives(NIL);
    asker.sends_cmd(&["CLIENT", "UNBLOCK", "1"]).receives(b":0\r\n");
    rig.advance_ms(2000);
    blocked.receives_nothing();
}

#[test]
fn only_blocked_clients_are_unblocked_and_only_a_node_that_answers_says_so() {
    let (rig, key) = (Rig::three(), key());
    let (blocked, asker) = (rig.client(), rig.client());
    for id in ["1", "2", "99", "-5"] {
        asker.sends_cmd(&["CLIENT", "UNBLOCK", id]).receives(b":0\r\n");
    }
    blocked.sends_cmd(&["BLPOP", &key, "0"]);
    rig.dedicated(A).expects(&["BLPOP", &key, "0"]);
    asker.sends_cmd(&["CLIENT", "UNBLOCK", "1"]).receives_nothing();
    rig.advance_ms(1100);
    asker.receives_error("ERR the node where the client waits did not answer", &[]);
    rig.node(A).expects(&["CLIENT", "UNBLOCK", "77", "TIMEOUT"]).replies(b":1\r\n");
    rig.dedicated(A).replies(NIL);
    blocked.receives(NIL);
    asker.receives_nothing();
}

#[test]
fn a_client_whose_slot_nobody_served_may_block_again() {
    let (rig, key) = (Rig::three(), key());
    rig.topology(&[(B, SLOTS_B)], &[]);
    let c = rig.client();
    c.sends_cmd(&["BLPOP", &key, "0"]).receives_error("CLUSTERDOWN", &[]);
    rig.topology(&[(A, SLOTS_A), (B, SLOTS_B)], &[]);
    c.sends_cmd(&["BLPOP", &key, "0"]).receives_nothing();
    rig.dedicated(A).expects(&["BLPOP", &key, "0"]).replies(NIL);
    c.receives(NIL);
}

/// Closing its connection at the node instead could lose what is popped at this moment.
#[test]
fn an_orderly_stop_has_the_node_unblock_who_waits_there() {
    let (rig, key) = (Rig::three(), key());
    let (blocked, lucky) = (rig.client(), rig.client());
    blocked.sends_cmd(&["BLPOP", &key, "0"]);
    rig.dedicated(A).expects(&["BLPOP", &key, "0"]);
    rig.drain();
    blocked.is_open();
    rig.node(A).expects(&["CLIENT", "UNBLOCK", "77", "TIMEOUT"]).replies(b":1\r\n");
    rig.dedicated(A).replies(NIL);
    blocked.receives(NIL).is_closed();
    lucky.is_closed();
    assert!(rig.is_drained());
}

#[test]
fn an_orderly_stop_answers_a_blocking_command_that_no_node_has_seen() {
    let (rig, key) = (Rig::three(), key());
    rig.by_hand(A);
    let blocked = rig.client();
    blocked.sends_cmd(&["BLPOP", &key, "0"]).receives_nothing();
    rig.drain();
    blocked.receives(NIL).is_closed();
    assert!(rig.is_drained());
}
