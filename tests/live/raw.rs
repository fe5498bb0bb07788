//! Whole dialogues as bytes, sent at once, in single bytes and cut at random: the same bytes and the same open or closed
//! end as with a standalone server.

use crate::support::compare::Pair;
use crate::support::frame::request;
use crate::support::RawClient;
use crate::{fixture, is_valkey, pair};

/// Leaves two patterns at once: the order of the confirmations is random on Redis 8 and on Valkey.
const PATTERNS: &[u8] = b"PSUBSCRIBE raw:* raw:?\r\nSUBSCRIBE\r\nPUNSUBSCRIBE\r\nUNSUBSCRIBE\r\nECHO x\r\n";
/// Valkey since 9.1 takes it as one word.
const QUOTES: &[u8] = b"ECHO 'a'b\r\n";

/// Dialogues after which the connection is open.
const OPEN: &[&[u8]] = &[
    b"PING\r\n*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\n",
    b"MULTI\r\nSET raw:{m}a 1\r\nINCR raw:{m}a\r\nEXEC\r\nGET raw:{m}a\r\n",
    b"MULTI\r\nGET\r\nSET raw:{m}b 1\r\nEXEC\r\nEXEC\r\n",
    b"MULTI\r\nNOSUCH\r\nDISCARD\r\nDISCARD\r\n",
    b"WATCH raw:{m}c\r\nSET raw:{m}c 1\r\nMULTI\r\nGET raw:{m}c\r\nEXEC\r\nMULTI\r\nGET raw:{m}c\r\nEXEC\r\n",
    b"HELLO 3 NOSUCH\r\nHELLO 9\r\nHELLO x\r\n",
    b"CLIENT REPLY SKIP\r\nPING\r\nPING 1\r\nCLIENT REPLY OFF\r\nPING 2\r\nGET raw:none\r\nCLIENT REPLY ON\r\nPING 3\r\n",
    b"SET raw:s v\r\nGET raw:s\r\nGETRANGE raw:s 0 0\r\nLPUSH raw:s x\r\nGET\r\n",
    b"*3\r\n$3\r\nSET\r\n$5\r\nraw:b\r\n$6\r\na\r\n$1\r\r\n*2\r\n$3\r\nGET\r\n$5\r\nraw:b\r\n",
    b"SUBSCRIBE raw:ch\r\nGET raw:s\r\nEXEC\r\nPING\r\nPING x\r\nUNSUBSCRIBE raw:ch\r\nGET raw:none\r\n",
    PATTERNS,
    b"SUBSCRIBE raw:ch2\r\nMULTI\r\nRESET\r\nPING\r\n",
    b"EXEC x\r\nEXEC\r\nUNWATCH\r\nRESET\r\nRESET x\r\n",
];

/// Dialogues that end with a close. Not among them: QUIT after CLIENT REPLY OFF, where a server forgets to close because
/// it has nothing to write; the proxy closes.
const CLOSED: &[&[u8]] = &[
    b"PING\r\nQUIT\r\nPING\r\n",
    b"SET raw:q 1\r\nGET raw:q\r\nQUIT\r\nSET raw:q 2\r\n",
    b"MULTI\r\nSET raw:{n}a 1\r\n*x\r\n",
    b"MULTI\r\nSET raw:{n}a 1\r\nQUIT\r\nEXEC\r\n",
    b"MULTI\r\nSET raw:{n}a 1\r\nEXEC\r\n*2\r\n$3\r\nGET\r\n:1\r\n",
    b"SUBSCRIBE raw:ch3\r\nQUIT\r\n",
    b"SUBSCRIBE raw:ch4\r\n*1\r\n$-7\r\n",
    QUOTES,
    b"GET raw:none\r\n*1\r\n$999999999999\r\n",
    b"*2147483647\r\n$4\r\nPING\r\n*\r\n",
];

#[test]
fn dialogues_have_the_bytes_of_a_server_however_they_are_cut() {
    for protocol in ["2", "3"] {
        for dialogue in OPEN.iter().filter(|d| **d != PATTERNS || is_redis_7()) {
            for cut in cuts(dialogue.len()) {
                speak(protocol, dialogue, &cut).same_and_alive(b"");
            }
        }
    }
}

#[test]
fn dialogues_that_end_are_closed_after_the_bytes_of_a_server() {
    for protocol in ["2", "3"] {
        for dialogue in CLOSED.iter().filter(|d| **d != QUOTES || !is_valkey()) {
            for cut in cuts(dialogue.len()) {
                let mut p = speak(protocol, dialogue, &cut);
                p.same_and_closed(b"");
            }
        }
    }
}

/// Whether the nodes are Redis 7: Valkey says that it is, too.
fn is_redis_7() -> bool {
    !is_valkey() && fixture().server.text("INFO server").contains("redis_version:7.")
}

/// A dialogue that was sent to both sides, to the proxy in pieces.
fn speak(protocol: &str, dialogue: &[u8], cut: &[usize]) -> Pair {
    let mut p = pair();
    for c in [&mut p.proxy, &mut p.server] {
        c.send(&request(&["HELLO", protocol]));
        c.frame();
    }
    p.server.send(dialogue);
    send_cut(&mut p.proxy, dialogue, cut);
    p
}

/// The other side may have closed before the last byte: what was sent in vain does not matter.
fn send_cut(c: &mut RawClient, bytes: &[u8], cut: &[usize]) {
    let ends = cut.iter().copied().chain([bytes.len()]);
    let mut from = 0;
    for to in ends {
        if c.try_send(&bytes[from..to]).is_err() {
            return;
        }
        from = to;
    }
}

/// Not at all, at every byte, and in some ways in between that are the same in every run.
fn cuts(len: usize) -> Vec<Vec<usize>> {
    let every = |step: usize| (1..len).filter(|i| i % step == 0 || i * i % 11 == step).collect();
    vec![Vec::new(), every(1), every(5), every(7)]
}
