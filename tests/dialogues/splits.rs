//! Commands that are split by slot: positions, merging, and what becomes of the whole when a part goes wrong.

use std::collections::HashMap;

use crate::rig::{bulk, cmd, keys_in, Rig, A, B, C, D, SLOTS_A, SLOTS_B};

#[test]
fn mget_asks_once_per_slot_and_keeps_positions_and_repeated_keys() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["MGET", "a", "b", "{a}2", "a", "c", "b"]);
    rig.node(A).expects(&["mget", "b", "b"]).expects_nothing();
    rig.node(B).expects(&["mget", "c"]).replies(b"*1\r\n$-1\r\n");
    rig.node(C).expects(&["mget", "a", "{a}2", "a"]).replies(b"*3\r\n$1\r\n1\r\n$0\r\n\r\n$1\r\n1\r\n");
    c.receives_nothing();
    rig.node(A).replies(b"*2\r\n$5\r\n-ERR \r\n$1\r\nB\r\n");
    c.receives(b"*6\r\n$1\r\n1\r\n$5\r\n-ERR \r\n$0\r\n\r\n$1\r\n1\r\n$-1\r\n$1\r\nB\r\n");
}

#[test]
fn keys_of_one_slot_are_not_split_and_travel_unchanged() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["mGet", "{b}1", "b"]).sends_cmd(&["DEL", "b"]);
    rig.node(A).expects(&["mGet", "{b}1", "b"]).expects(&["DEL", "b"]).replies(b"*2\r\n$-1\r\n$-1\r\n:0\r\n");
    c.receives(b"*2\r\n$-1\r\n$-1\r\n:0\r\n");
}

/// It was answered CROSSSLOT; a server counts the arguments first.
#[test]
fn msetnx_of_two_slots_without_its_last_value_has_the_wrong_number_of_arguments() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["MSETNX", "a", "1", "b"])
        .receives(b"-ERR wrong number of arguments for 'msetnx' command\r\n");
    c.sends_cmd(&["MSETNX", "a", "1", "b", "2"]).receives_error("CROSSSLOT", &[]);
}

#[test]
fn mset_keeps_the_order_of_a_repeated_key() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["MSET", "c", "1", "b", "2", "c", "3"]);
    rig.node(B).expects(&["mset", "c", "1", "c", "3"]).replies(b"+OK\r\n");
    c.receives_nothing();
    rig.node(A).expects(&["mset", "b", "2"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
}

#[test]
fn mset_with_half_a_pair_is_refused_and_nothing_is_sent() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["MSET", "a", "1", "b"]).receives(b"-ERR wrong number of arguments for 'mset' command\r\n");
    c.sends_cmd(&["MSET", "a"]).receives(b"-ERR wrong number of arguments for 'mset' command\r\n");
    assert_eq!(rig.connects(A) + rig.connects(B) + rig.connects(C), 0);
}

#[test]
fn counts_are_summed_over_the_slots_and_repeated_keys_are_the_nodes_affair() {
    for name in ["DEL", "UNLINK", "EXISTS", "TOUCH"] {
        let rig = Rig::three();
        let c = rig.client();
        c.sends_cmd(&[name, "b", "c", "b", "a"]);
        let lower = name.to_lowercase();
        rig.node(A).expects(&[lower.as_str(), "b", "b"]).replies(b":2\r\n");
        rig.node(B).expects(&[lower.as_str(), "c"]).replies(b":1\r\n");
        rig.node(C).expects(&[lower.as_str(), "a"]).replies(b":0\r\n");
        c.receives(b":3\r\n");
    }
}

/// Never a nil, an OK or a zero in its place, whichever part comes last.
#[test]
fn an_error_in_any_part_is_the_reply_of_the_whole() {
    let cases: &[(&[&str], &[u8], &[u8])] = &[
        (&["MGET", "b", "c"], b"*1\r\n$1\r\n1\r\n", b"-WRONGTYPE x\r\n"),
        (
            &["MSET", "b", "1", "c", "2"],
            b"+OK\r\n",
            b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        ),
        (&["DEL", "b", "c"], b":1\r\n", b"-MISCONF x\r\n"),
        (&["EXISTS", "b", "c"], b":1\r\n", b"-NOPERM x\r\n"),
    ];
    for (command, fine, error) in cases {
        for error_last in [false, true] {
            let rig = Rig::three();
            let c = rig.client();
            c.sends_cmd(command).sends_cmd(&["PING"]);
            let (a, b) = (rig.node(A), rig.node(B));
            (a.received_len() > 0 && b.received_len() > 0).then_some(()).expect("both parts are under way");
            let lower = command[0].to_lowercase();
            let half = (command.len() - 1) / 2;
            a.expects(&[&[lower.as_str()], &command[1..1 + half]].concat());
            b.expects(&[&[lower.as_str()], &command[1 + half..]].concat());
            if error_last {
                a.replies(fine);
                c.receives_nothing();
                b.replies(error);
            } else {
                b.replies(error);
                c.receives_nothing();
                a.replies(fine);
            }
            c.receives(error).receives(b"+PONG\r\n");
        }
    }
}

#[test]
fn a_part_answered_in_a_strange_form_is_an_error() {
    for strange in [&b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n"[..], b"*-1\r\n", b"$1\r\n1\r\n", b":1\r\n", b"*0\r\n"] {
        let rig = Rig::three();
        let c = rig.client();
        c.sends_cmd(&["MGET", "b", "c"]);
        rig.node(A).expects(&["mget", "b"]).replies(strange);
        rig.node(B).expects(&["mget", "c"]).replies(b"*1\r\n$1\r\n1\r\n");
        c.receives_error("ERR a node answered a part of this command in an unexpected form", &[]);
    }
}

#[test]
fn resp3_parts_keep_their_nulls_and_their_long_errors() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["HELLO", "3"]).takes_received();
    c.sends_cmd(&["MGET", "b", "c"]);
    rig.resp3(A).expects(&["mget", "b"]).replies(b"*1\r\n_\r\n");
    rig.resp3(B).expects(&["mget", "c"]).replies(b"*1\r\n$1\r\n1\r\n");
    c.receives(b"*2\r\n_\r\n$1\r\n1\r\n");
    c.sends_cmd(&["MGET", "b", "c"]);
    rig.resp3(A).expects(&["mget", "b"]).replies(b"!6\r\nERR no\r\n");
    rig.resp3(B).expects(&["mget", "c"]).replies(b"*1\r\n$1\r\n1\r\n");
    c.receives(b"!6\r\nERR no\r\n");
}

#[test]
fn only_the_redirected_part_moves_and_the_request_keeps_its_place() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["MGET", "a", "b", "c"]).sends_cmd(&["GET", "c"]);
    rig.node(A).expects(&["mget", "b"]).replies(b"-MOVED 3300 127.0.0.1:7004\r\n");
    rig.node(B).expects(&["mget", "c"]).expects(&["GET", "c"]).replies(b"*1\r\n$1\r\nC\r\n$1\r\nC\r\n");
    rig.node(C).expects(&["mget", "a"]).replies(b"*1\r\n$1\r\nA\r\n");
    c.receives_nothing();
    rig.node(D).expects(&["mget", "b"]).expects_nothing().replies(b"*1\r\n$1\r\nB\r\n");
    c.receives(b"*3\r\n$1\r\nA\r\n$1\r\nB\r\n$1\r\nC\r\n$1\r\nC\r\n");
}

#[test]
fn a_part_may_be_asked_elsewhere_and_another_may_have_to_wait() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["DEL", "b", "c"]);
    rig.node(A).expects(&["del", "b"]).replies(b"-ASK 3300 127.0.0.1:7003\r\n");
    rig.node(C).expects(&["ASKING"]).expects(&["del", "b"]).replies(b"+OK\r\n:1\r\n");
    rig.node(B).expects(&["del", "c"]).replies(b"-CLUSTERDOWN The cluster is down\r\n");
    c.receives_nothing();
    rig.advance_ms(50);
    rig.node(B).expects(&["del", "c"]).expects_nothing().replies(b":1\r\n");
    rig.node(A).expects_nothing();
    c.receives(b":2\r\n");
}

#[test]
fn a_lost_write_part_fails_the_whole_and_a_lost_read_part_is_asked_again() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["MSET", "b", "1", "c", "2"]).sends_cmd(&["MGET", "b", "c"]);
    rig.node(A).expects(&["mset", "b", "1"]).expects(&["mget", "b"]).closes();
    rig.node(B).expects(&["mset", "c", "2"]).expects(&["mget", "c"]);
    rig.node(B).replies(b"+OK\r\n*1\r\n$1\r\n2\r\n");
    c.receives_error("ERR node 127.0.0.1:7001", &["outcome", "unknown"]);
    rig.advance_ms(50);
    rig.node(A).expects(&["mget", "b"]).expects_nothing().replies(b"*1\r\n$-1\r\n");
    c.receives(b"*2\r\n$-1\r\n$1\r\n2\r\n");
}

#[test]
fn a_part_that_was_never_written_is_sent_elsewhere() {
    let rig = Rig::three();
    rig.by_hand(A);
    let c = rig.client();
    c.sends_cmd(&["DEL", "b", "c"]);
    rig.node(B).expects(&["del", "c"]).replies(b":1\r\n");
    rig.node(A).refuses_connect();
    rig.topology(&[(D, SLOTS_A), (B, SLOTS_B)], &[]);
    rig.node(D).expects(&["del", "b"]).replies(b":1\r\n");
    c.receives(b":2\r\n");
}

#[test]
fn replies_to_the_parts_of_a_client_that_left_reach_nobody() {
    let rig = Rig::three();
    let (c1, c2) = (rig.client(), rig.client());
    c1.sends_cmd(&["MGET", "a", "b", "c"]);
    c2.sends_cmd(&["GET", "b"]);
    rig.node(B).expects(&["mget", "c"]).replies(b"-TRYAGAIN x\r\n");
    c1.resets();
    rig.node(A).expects(&["mget", "b"]).expects(&["GET", "b"]).replies(b"*1\r\n$1\r\nX\r\n$1\r\n1\r\n");
    rig.node(C).expects(&["mget", "a"]).replies(b"-MOVED 15495 127.0.0.1:7001\r\n");
    c2.receives(b"$1\r\n1\r\n");
}

#[test]
fn a_slot_that_nobody_serves_refuses_the_whole_and_nothing_is_sent() {
    let rig = Rig::with(|_| {});
    rig.topology(&[(A, SLOTS_A)], &[]);
    let c = rig.client();
    c.sends_cmd(&["DEL", "b", "c"]).receives_error("CLUSTERDOWN Hash slot not served", &["7365"]);
    assert_eq!(rig.connects(A), 0);
}

#[test]
fn split_requests_in_a_pipeline_answer_in_order() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(
        [cmd(&["EXISTS", "b", "c"]), cmd(&["MGET", "c", "b"]), cmd(&["MSET", "b", "1", "c", "2"])].concat(),
    );
    let (a, b) = (rig.node(A), rig.node(B));
    a.expects(&["exists", "b"]).expects(&["mget", "b"]).expects(&["mset", "b", "1"]);
    b.expects(&["exists", "c"]).expects(&["mget", "c"]).expects(&["mset", "c", "2"]);
    a.replies(b":1\r\n*1\r\n$1\r\nB\r\n+OK\r\n");
    c.receives_nothing();
    b.replies(b":0\r\n").replies(b"*1\r\n$-1\r\n").replies(b"+OK\r\n");
    c.receives(b":1\r\n*2\r\n$-1\r\n$1\r\nB\r\n+OK\r\n");
}

#[test]
fn mget_of_100_000_keys_comes_back_in_order() {
    let rig = Rig::three();
    let c = rig.client();
    let mut words = vec!["MGET".to_owned()];
    words.extend((0..100_000).map(|i| format!("key:{}", i % 60_000)));
    c.sends_cmd(&words);
    let (mut parts, mut before) = (0, usize::MAX);
    while parts != before {
        before = parts;
        for addr in [A, B, C] {
            let node = rig.node(addr);
            let mut reply = Vec::new();
            for part in node.takes_commands() {
                parts += 1;
                reply.extend(format!("*{}\r\n", part.len() - 1).into_bytes());
                part[1..].iter().for_each(|key| reply.extend(bulk(key)));
            }
            node.replies_in_pieces(&reply, 65536);
        }
    }
    assert!(parts <= 3 * 16384, "{parts} parts");
    let mut expected = b"*100000\r\n".to_vec();
    words[1..].iter().for_each(|key| expected.extend(bulk(key.as_bytes())));
    assert!(c.takes_received() == expected);
}

/// Splits of many sizes, answered by nodes that hold what was set.
#[test]
fn what_mset_sets_mget_finds() {
    let rig = Rig::three();
    let c = rig.client();
    let mut store: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    let keys = keys_in(&(0..=16383), 40);
    for n in 1..=40 {
        let pairs = keys[..n].iter().flat_map(|k| [k.clone(), format!("{k}-{n}")]);
        c.sends_cmd(&["MSET".to_owned()].into_iter().chain(pairs).collect::<Vec<_>>());
        serve(&rig, &mut store);
        c.receives(b"+OK\r\n");
        c.sends_cmd(&["MGET".to_owned()].into_iter().chain(keys.iter().rev().cloned()).collect::<Vec<_>>());
        serve(&rig, &mut store);
        let mut expected = b"*40\r\n".to_vec();
        for (i, key) in keys.iter().enumerate().rev() {
            expected.extend(if i < n { bulk(format!("{key}-{n}").as_bytes()) } else { b"$-1\r\n".to_vec() });
        }
        c.receives(expected);
    }
}

/// Answers what has come to the three nodes.
fn serve(rig: &Rig, store: &mut HashMap<Vec<u8>, Vec<u8>>) {
    for addr in [A, B, C].into_iter().filter(|a| rig.open(a) > 0) {
        let node = rig.node(addr);
        for part in node.takes_commands() {
            if part[0].eq_ignore_ascii_case(b"mset") {
                store.extend(part[1..].chunks(2).map(|kv| (kv[0].clone(), kv[1].clone())));
                node.replies(b"+OK\r\n");
            } else {
                let values = part[1..].iter().map(|k| store.get(k).map_or(b"$-1\r\n".to_vec(), |v| bulk(v)));
                let head = format!("*{}\r\n", part.len() - 1).into_bytes();
                node.replies([vec![head], values.collect()].concat().concat());
            }
        }
    }
}
