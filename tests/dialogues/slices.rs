//! MGET of more keys than are asked for at once.

use crate::rig::{bulk, cmd, Rig, A, B, C};

const KEYS: usize = 3000;
/// Keys of the first slice.
const FIRST: usize = 1024;

fn names() -> Vec<String> {
    (0..KEYS).map(|i| format!("key{i}")).collect()
}

fn mget() -> Vec<u8> {
    let args: Vec<String> = std::iter::once("MGET".to_owned()).chain(names()).collect();
    cmd(&args)
}

/// The value of a key, about `len` bytes long.
fn value(key: &str, len: usize) -> Vec<u8> {
    bulk(format!("{key:->len$}").as_bytes())
}

/// The reply to all, with values about `len` bytes long.
fn whole(len: usize) -> Vec<u8> {
    let values: Vec<Vec<u8>> = names().iter().map(|k| value(k, len)).collect();
    [format!("*{KEYS}\r\n").into_bytes(), values.concat()].concat()
}

/// The nodes answer all that they have been asked so far; how many keys that was.
fn answer(rig: &Rig, len: usize) -> usize {
    let mut answered = 0;
    for addr in [A, B, C] {
        let commands = rig.node(addr).takes_commands();
        let mut replies = Vec::new();
        for command in &commands {
            let keys: Vec<&str> = command[1..].iter().map(|k| std::str::from_utf8(k).unwrap()).collect();
            replies.extend(format!("*{}\r\n", keys.len()).into_bytes());
            keys.iter().for_each(|k| replies.extend(value(k, len)));
            answered += keys.len();
        }
        // Behind the last one there may be the next slice.
        rig.node(addr).replies(replies);
    }
    answered
}

#[test]
fn many_keys_are_asked_for_in_slices_and_answered_in_order() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["STRLEN", "b"]).sends(mget()).sends_cmd(&["STRLEN", "b"]);
    rig.node(A).expects(&["STRLEN", "b"]).expects_nothing().replies(b":1\r\n");
    c.receives(b":1\r\n");
    assert_eq!(answer(&rig, 20), FIRST);
    c.receives_nothing();
    assert_eq!(answer(&rig, 20), KEYS - FIRST, "they are small");
    c.receives(whole(20));
    rig.node(A).expects(&["STRLEN", "b"]).replies(b":1\r\n");
    c.receives(b":1\r\n");
    assert_eq!(rig.counters().requests, 3);
}

#[test]
fn of_large_values_only_a_slice_is_here_at_a_time() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(mget());
    assert_eq!(answer(&rig, 2000), FIRST);
    assert!(c.received_len() > FIRST * 2000, "what is more than a MiB is not held back");
    let mut left = KEYS - FIRST;
    while left > 0 {
        let slice = answer(&rig, 2000);
        assert!((1..=600).contains(&slice), "{slice} keys at once");
        left -= slice;
    }
    c.receives(whole(2000)).sends_cmd(&["PING"]).receives(b"+PONG\r\n");
}

#[test]
fn a_client_that_takes_nothing_is_asked_for_no_more_keys() {
    let rig = Rig::three();
    let c = rig.client();
    c.takes(Some(0)).sends(mget());
    assert_eq!(answer(&rig, 2000), FIRST);
    assert_eq!(answer(&rig, 2000), 0);
    c.takes(None);
    while answer(&rig, 2000) > 0 {}
    c.receives(whole(2000));
}

#[test]
fn an_error_is_the_whole_reply_while_nothing_has_left() {
    for slice in 0..2 {
        let rig = Rig::three();
        let c = rig.client();
        c.sends(mget()).sends_cmd(&["PING"]);
        for _ in 0..slice {
            assert_eq!(answer(&rig, 20), FIRST);
        }
        let n = rig.node(A).takes_commands().len();
        rig.node(A).replies(b"-MISCONF x\r\n".repeat(n));
        c.receives_nothing();
        while answer(&rig, 20) > 0 {}
        c.receives(b"-MISCONF x\r\n+PONG\r\n");
    }
}

#[test]
fn an_error_behind_what_has_left_ends_the_connection() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(mget());
    assert_eq!(answer(&rig, 2000), FIRST);
    let n = rig.node(A).takes_commands().len();
    rig.node(A).replies(b"-MISCONF x\r\n".repeat(n));
    while answer(&rig, 2000) > 0 {}
    assert!(whole(2000).starts_with(&c.is_closed().takes_received()));
    assert_eq!(rig.counters().replies_cut, 1);
    assert_eq!(rig.counters().in_flight, 0);
}

#[test]
fn a_client_that_leaves_in_between_leaves_nothing_behind() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(mget());
    answer(&rig, 2000);
    c.takes_received();
    c.resets();
    while answer(&rig, 2000) > 0 {}
    let next = rig.client();
    next.sends_cmd(&["STRLEN", "b"]);
    rig.node(A).expects(&["STRLEN", "b"]).replies(b":1\r\n");
    next.receives(b":1\r\n");
    assert_eq!(rig.counters().in_flight, 0);
}

/// What has been asked is answered, and what is next waits for its new owner as ever.
#[test]
fn slots_may_move_between_slices() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(mget());
    assert_eq!(answer(&rig, 20), FIRST);
    for addr in [A, B] {
        let moved = rig.node(addr).takes_commands();
        for command in moved {
            let slot = redis_cluster_proxy::command::slot(&command[1]);
            rig.node(addr).replies(format!("-MOVED {slot} {C}\r\n"));
        }
    }
    while answer(&rig, 20) > 0 {}
    c.receives(whole(20));
}

#[test]
fn a_client_that_ends_its_side_gets_all_of_it() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(mget()).half_closes();
    while answer(&rig, 2000) > 0 {}
    c.receives(whole(2000)).is_closed();
}

#[test]
fn without_replies_there_are_no_slices() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["CLIENT", "REPLY", "OFF"]).sends(mget());
    assert_eq!(answer(&rig, 20), KEYS);
    c.receives_nothing().sends_cmd(&["CLIENT", "REPLY", "ON"]).receives(b"+OK\r\n");
}
