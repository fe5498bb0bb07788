//! KEYS of many keys: what the nodes have is passed on while it comes.
//!
//! Replies count as unfinished from 100 bytes on, as large from 1000 on; a client is waited for above 500 bytes.

use crate::rig::{bulk, cmd, Rig, A, B, C};

const KEYS: &[&str] = &["KEYS", "*"];

/// So many elements, which begin with `name`.
fn elements(name: &str, n: usize) -> Vec<u8> {
    (0..n).flat_map(|i| bulk(format!("{name}:{i:04}").as_bytes())).collect()
}

fn reply(name: &str, n: usize) -> Vec<u8> {
    [format!("*{n}\r\n").into_bytes(), elements(name, n)].concat()
}

/// A client that has asked for the keys of all nodes.
fn asks(rig: &Rig) -> crate::peers::Client {
    let c = rig.client();
    c.sends_cmd(KEYS);
    for addr in [A, B, C] {
        rig.node(addr).expects(KEYS);
    }
    c
}

#[test]
fn keys_are_passed_on_once_it_is_known_how_many_there_are() {
    let rig = Rig::streaming();
    let c = asks(&rig);
    let (a, b) = (reply("a", 100), reply("b", 200));
    rig.node(B).replies(&b[..300]);
    rig.node(A).replies(&a[..700]);
    c.receives_nothing();
    rig.node(C).replies(reply("c", 2));
    c.receives([b"*302\r\n", &a[6..700]].concat());
    rig.node(A).behind(0).replies(&a[700..1000]);
    c.receives(&a[700..1000]);
    rig.node(B).replies(&b[300..]);
    c.receives_nothing();
    rig.node(A).replies(&a[1000..]);
    c.receives([&a[1000..], &elements("b", 200), &elements("c", 2)].concat());
    c.sends_cmd(&["PING"]).receives(b"+PONG\r\n");
    assert_eq!((rig.counters().in_flight, rig.counters().requests), (0, 2));
}

#[test]
fn what_comes_in_any_order_and_in_any_pieces_is_one_reply() {
    let whole = [b"*330\r\n".to_vec(), elements("a", 100), elements("b", 200), elements("c", 30)].concat();
    for size in [7, 101, 640, 5000] {
        for order in [[A, B, C], [C, B, A], [B, A, C]] {
            let rig = Rig::streaming();
            let c = asks(&rig);
            c.sends_cmd(&["ECHO", "behind"]);
            for addr in order {
                let bytes = match addr {
                    A => reply("a", 100),
                    B => reply("b", 200),
                    _ => reply("c", 30),
                };
                rig.node(addr).replies_in_pieces(&bytes, size);
            }
            c.receives([&whole[..], b"$6\r\nbehind\r\n"].concat());
            c.sends_cmd(&["STRLEN", "b"]);
            rig.node(A).expects(&["STRLEN", "b"]).replies(b":1\r\n");
            c.receives(b":1\r\n");
        }
    }
}

#[test]
fn an_error_of_one_node_is_the_reply_and_what_others_send_is_dropped() {
    for first in [false, true] {
        let rig = Rig::streaming();
        let c = asks(&rig);
        let b = reply("b", 200);
        if first {
            rig.node(A).replies(b"-NOPERM no\r\n");
        }
        rig.node(B).replies(&b[..1500]);
        if !first {
            rig.node(A).replies(b"-NOPERM no\r\n");
        }
        rig.node(C).replies(reply("c", 2));
        c.receives_nothing();
        rig.node(B).replies(&b[1500..]);
        c.receives_error("ERR node", &["NOPERM no"]);
        c.sends_cmd(&["PING"]).receives(b"+PONG\r\n");
        assert_eq!(rig.counters().in_flight, 0);
    }
}

#[test]
fn a_reply_that_is_no_array_is_no_reply_for_all() {
    let rig = Rig::streaming();
    let c = asks(&rig);
    let b = reply("b", 200);
    rig.node(B).replies(&b[..1500]);
    rig.node(A).replies(b":7\r\n");
    rig.node(C).replies(reply("c", 2));
    rig.node(B).replies(&b[1500..]);
    c.receives_error("ERR", &[]);
    assert_eq!(rig.counters().in_flight, 0);
}

#[test]
fn a_node_that_is_lost_before_its_turn_is_asked_again() {
    let rig = Rig::streaming();
    let c = asks(&rig);
    let b = reply("b", 200);
    rig.node(B).replies(&b[..1500]).closes();
    rig.advance_ms(200);
    rig.node(A).replies(reply("a", 1));
    rig.node(C).replies(reply("c", 1));
    rig.node(B).expects(KEYS).replies(reply("b", 3));
    c.receives([b"*5\r\n".to_vec(), elements("a", 1), elements("b", 3), elements("c", 1)].concat());
}

/// It can get neither the rest nor an error.
#[test]
fn a_client_whose_node_is_lost_in_the_middle_is_closed() {
    for (lost, other) in [(A, B), (B, A)] {
        let rig = Rig::streaming();
        let c = asks(&rig);
        rig.node(C).replies(reply("c", 1));
        rig.node(B).replies(&reply("b", 200)[..1500]);
        rig.node(A).replies(&reply("a", 200)[..1500]);
        c.is_open().takes_received();
        rig.node(lost).closes();
        if lost == B {
            // Its turn has not come, but how many there are is told.
            rig.advance_ms(200);
            rig.node(B).expects(KEYS).replies(reply("b", 199));
            rig.node(other).replies(&reply("a", 200)[1500..]);
            c.takes_received();
        }
        c.is_closed();
        if lost == A {
            rig.node(other).replies(&reply("b", 200)[1500..]);
        }
        assert_eq!(rig.counters().replies_cut, 1);
    }
}

#[test]
fn a_client_that_takes_keys_slowly_sets_the_pace() {
    let rig = Rig::streaming();
    let c = asks(&rig);
    c.takes(Some(0));
    let (a, b) = (reply("a", 400), reply("b", 400));
    rig.node(C).replies(reply("c", 1));
    rig.node(B).replies(&b);
    let mut sent = 0;
    while sent < a.len() && rig.node(A).unread_len() < 1000 {
        let end = a.len().min(sent + 200);
        rig.node(A).replies(&a[sent..end]);
        sent = end;
    }
    assert!(sent < 3000, "{sent} bytes were read for a client that takes nothing");
    c.takes(None);
    rig.node(A).replies(&a[sent..]);
    c.receives([b"*801\r\n".to_vec(), elements("a", 400), elements("b", 400), elements("c", 1)].concat());
}

#[test]
fn others_go_on_while_keys_wait_for_one_another() {
    let rig = Rig::streaming();
    let (c, other) = (asks(&rig), rig.client());
    let a = reply("a", 200);
    rig.node(A).replies(&a[..150]);
    other.sends_cmd(&["SET", "b", "1"]);
    rig.node(A).expects(&["SET", "b", "1"]).replies(b"+OK\r\n");
    other.receives(b"+OK\r\n");
    rig.node(A).behind(1).replies(&a[150..]);
    rig.node(B).replies(b"*0\r\n");
    rig.node(C).replies(b"*0\r\n");
    c.receives([b"*200\r\n".to_vec(), elements("a", 200)].concat());
}

#[test]
fn keys_wait_for_earlier_replies_of_their_client() {
    let rig = Rig::streaming();
    let c = rig.client();
    c.sends([cmd(&["STRLEN", "b"]), cmd(KEYS)].concat());
    rig.node(A).expects(&["STRLEN", "b"]).expects(KEYS);
    rig.node(B).expects(KEYS).replies(&reply("b", 200)[..1500]);
    rig.node(C).expects(KEYS).replies(reply("c", 200));
    c.receives_nothing();
    rig.node(A).replies(b":1\r\n*0\r\n");
    c.receives([&b":1\r\n*400\r\n"[..], &elements("b", 200)[..1494]].concat());
    rig.node(B).replies(&reply("b", 200)[1500..]);
    c.receives([&elements("b", 200)[1494..], &elements("c", 200)].concat());
}

#[test]
fn a_client_that_leaves_before_or_behind_the_first_keys_leaves_nothing_behind() {
    for begun in [false, true] {
        let rig = Rig::streaming();
        let c = asks(&rig);
        rig.node(A).replies(&reply("a", 200)[..1500]);
        rig.node(B).replies(&reply("b", 200)[..1500]);
        if begun {
            rig.node(C).replies(reply("c", 1));
            c.takes_received();
        }
        c.resets();
        rig.node(A).replies(&reply("a", 200)[1500..]);
        rig.node(B).replies(&reply("b", 200)[1500..]);
        if !begun {
            rig.node(C).replies(reply("c", 1));
        }
        let next = rig.client();
        next.sends_cmd(&["STRLEN", "b"]);
        rig.node(A).expects(&["STRLEN", "b"]).replies(b":1\r\n");
        next.receives(b":1\r\n");
        assert_eq!(rig.counters().in_flight, 0);
    }
}
