//! Edge cases that come from clients: requests in every shape, what cannot be read, ends of connections.

use crc16::{State, XMODEM};

use crate::rig::{bulk, cmd, Rig, A, B, C};

#[test]
fn commands_go_to_the_owners_of_their_slots_and_replies_come_in_order() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["SET", "b", "1"]).sends_cmd(&["GET", "c"]).sends_cmd(&["GET", "a"]);
    rig.node(C).expects(&["GET", "a"]).replies(b"$1\r\n3\r\n");
    rig.node(B).expects(&["GET", "c"]).replies(b"$1\r\n2\r\n");
    c.receives_nothing();
    rig.node(A).expects(&["SET", "b", "1"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n$1\r\n2\r\n$1\r\n3\r\n");
}

#[test]
fn clients_share_one_connection_per_node_and_each_gets_its_own_replies() {
    let rig = Rig::three();
    let (c1, c2) = (rig.client(), rig.client());
    c1.sends_cmd(&["GET", "b"]);
    c2.sends_cmd(&["STRLEN", "b"]);
    c1.sends_cmd(&["TTL", "b"]);
    let a = rig.node(A);
    a.expects(&["GET", "b"]).expects(&["STRLEN", "b"]).expects(&["TTL", "b"]);
    a.replies(b"$-1\r\n:0\r\n:-2\r\n");
    c1.receives(b"$-1\r\n:-2\r\n");
    c2.receives(b":0\r\n");
    assert_eq!(rig.connects(A), 1);
}

#[test]
fn a_hash_tag_decides_the_slot_and_an_empty_or_unclosed_one_does_not() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"{user1000}.following", b"user1000"),
        (b"{}x", b"{}x"),
        (b"foo{}{bar}", b"foo{}{bar}"),
        (b"foo{{bar}}zap", b"{bar"),
        (b"foo{bar}{zap}", b"bar"),
        (b"foo{bar", b"foo{bar"),
        (b"nul\0{t\0}\r\n", b"t\0"),
        (b"\r\n$3\r\nfoo\r\n", b"\r\n$3\r\nfoo\r\n"),
        (b"", b""),
    ];
    for (key, hashed) in cases {
        let slot = State::<XMODEM>::calculate(hashed) % 16384;
        let rig = Rig::with(|_| {});
        let mut others = vec![(A, slot..=slot)];
        if slot > 0 {
            others.push((B, 0..=slot - 1));
        }
        if slot < 16383 {
            others.push((B, slot + 1..=16383));
        }
        rig.topology(&others, &[]);
        let c = rig.client();
        c.sends_cmd(&[&b"GET"[..], key]);
        rig.node(A).expects(&[&b"GET"[..], key]).replies(b"$-1\r\n");
        c.receives(b"$-1\r\n");
    }
}

#[test]
fn a_key_of_600_bytes_in_small_segments_is_hashed_whole() {
    let key = [&[b'x'; 600][..], b"{b}"].concat();
    let rig = Rig::three();
    let c = rig.client();
    c.sends_in_pieces(&cmd(&[&b"GET"[..], &key]), 100);
    rig.node(A).expects(&[&b"GET"[..], &key]).replies(b"+x\r\n");
    c.receives(b"+x\r\n");
}

#[test]
fn blank_lines_and_requests_without_arguments_are_ignored() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(b"\r\n*0\r\n*-1\r\n*-5\r\n\n").receives_nothing().is_open();
    c.sends_cmd(&["PING"]).receives(b"+PONG\r\n");
}

/// What cannot be read ends the connection, but what was asked before is answered first.
#[test]
fn protocol_errors_come_behind_earlier_replies_and_end_the_connection() {
    let cases: &[(&[u8], &str)] = &[
        (b"*abc\r\n", "invalid multibulk length"),
        (b"*99999999999\r\n", "invalid multibulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$abc\r\n", "invalid bulk length"),
        (b"*1\r\n$-5\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*2\r\n$3\r\nGET\r\n:1\r\n", "expected '$', got ':'"),
        (b"get \"b\r\n", "unbalanced quotes in request"),
        (b"get 'b'c\r\n", "unbalanced quotes in request"),
    ];
    for (bytes, text) in cases {
        let rig = Rig::three();
        let c = rig.client();
        c.sends([&cmd(&["GET", "b"])[..], bytes, &cmd(&["SET", "b", "never"])].concat());
        c.receives_nothing().is_open();
        rig.node(A).expects(&["GET", "b"]).replies(b"$1\r\n1\r\n");
        c.receives(format!("$1\r\n1\r\n-ERR Protocol error: {text}\r\n")).is_closed();
    }
}

#[test]
fn an_endless_inline_request_is_too_big() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(vec![b'x'; 64 * 1024]).receives_nothing().is_open();
    c.sends(b"x").receives(b"-ERR Protocol error: too big inline request\r\n").is_closed();
}

#[test]
fn inline_requests_are_unquoted_and_travel_as_arrays() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(b"set b \"\\x41\\n\"\r\nget 'it\\'s b'\r\n  EXISTS   b  \n");
    rig.node(A).expects(&["set", "b", "A\n"]).expects(&["EXISTS", "b"]).replies(b"+OK\r\n:1\r\n");
    let owner = State::<XMODEM>::calculate(b"it's b") % 16384;
    let owner = if owner <= 5460 {
        A
    } else if owner <= 10922 {
        B
    } else {
        C
    };
    rig.node(owner).expects(&["get", "it's b"]).replies(b"$-1\r\n");
    c.receives(b"+OK\r\n$-1\r\n:1\r\n");
}

/// Bodies hold what looks like protocol, and segments end anywhere, in both directions.
#[test]
fn requests_and_replies_may_be_cut_anywhere() {
    let set = cmd(&["SET", "b", "x\r\n*1\r\n$4\r\nPING\r\n-MOVED 1 1.1.1.1:1\r\n"]);
    let request = [&set[..], b"PING\r\n", &cmd(&["GET", "b"]), &cmd(&["SET", "b", ""])].concat();
    let reply = b"+OK\r\n$25\r\n-MOVED 3300 1.1.1.1:1\r\n+\r\r\n+OK\r\n";
    let play = |cuts: &dyn Fn(&[u8]) -> Vec<Vec<u8>>| {
        let rig = Rig::three();
        let c = rig.client();
        cuts(&request).iter().for_each(|piece| {
            c.sends(piece);
        });
        let a = rig.node(A);
        a.expects_bytes(&set).expects(&["GET", "b"]).expects(&["SET", "b", ""]);
        cuts(reply).iter().for_each(|piece| {
            a.replies(piece);
        });
        c.receives(b"+OK\r\n+PONG\r\n").receives(&reply[5..]);
    };
    for at in 0..request.len() {
        play(&|bytes| vec![bytes[..at.min(bytes.len())].to_vec(), bytes[at.min(bytes.len())..].to_vec()]);
    }
    play(&|bytes| bytes.iter().map(|b| vec![*b]).collect());
    play(&|bytes| bytes.chunks(3).map(<[u8]>::to_vec).collect());
}

#[test]
fn names_of_commands_may_be_in_any_case_of_letters() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["gEt", "b"]).sends_cmd(&["PiNg"]);
    rig.node(A).expects(&["gEt", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n+PONG\r\n");
}

#[test]
fn what_a_server_refuses_is_refused_in_its_words_and_nothing_is_sent() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["GET"]).receives(b"-ERR wrong number of arguments for 'get' command\r\n");
    c.sends_cmd(&["CLIENT", "NONE"]).receives(b"-ERR unknown subcommand 'NONE'. Try CLIENT HELP.\r\n");
    c.sends_cmd(&["RENAME", "a", "b"])
        .receives(b"-CROSSSLOT Keys in request don't hash to the same slot\r\n");
    c.sends_cmd(&["MSETNX", "a", "1", "b", "2"]).receives_error("CROSSSLOT", &[]);
    assert_eq!(rig.connects(A) + rig.connects(B) + rig.connects(C), 0);
}

/// A page in a browser can be made to send such requests to a port of this machine.
#[test]
fn a_client_that_speaks_http_is_closed_without_a_word() {
    for first in ["POST / HTTP/1.1\r\n", "Host: example.com\r\n"] {
        let rig = Rig::three();
        let c = rig.client();
        c.sends([first.as_bytes(), b"SET b evil\r\n"].concat()).receives_nothing().is_closed();
        assert_eq!(rig.connects(A), 0);
    }
}

#[test]
fn values_that_look_like_errors_are_data() {
    let rig = Rig::three();
    let c = rig.client();
    let replies = [
        bulk(b"-MOVED 3300 127.0.0.1:7002"),
        b"*2\r\n-MOVED 3300 127.0.0.1:7002\r\n+OK\r\n".to_vec(),
        b"+ASK 3300 127.0.0.1:7002\r\n".to_vec(),
        b"*1\r\n-ASK 3300 127.0.0.1:7002\r\n".to_vec(),
        b"-ERR MOVED 3300 127.0.0.1:7002\r\n".to_vec(),
    ];
    for reply in replies {
        c.sends_cmd(&["EVAL", "return x", "1", "b"]);
        rig.node(A).expects(&["EVAL", "return x", "1", "b"]).replies(&reply);
        c.receives(&reply);
    }
    assert_eq!(rig.connects(B), 0);
    assert_eq!(rig.hints(), []);
}

#[test]
fn a_half_closed_client_gets_everything_it_waits_for() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(
        [cmd(&["GET", "b"]), cmd(&["MGET", "a", "c"]), cmd(&["PING"]), b"*1\r\n$4\r\nPI".to_vec()].concat(),
    );
    c.half_closes().is_open();
    rig.node(B).expects(&["mget", "c"]).replies(b"*1\r\n$1\r\nC\r\n");
    rig.node(A).expects(&["GET", "b"]).replies(b"$1\r\nB\r\n");
    c.receives(b"$1\r\nB\r\n").is_open();
    rig.node(C).expects(&["mget", "a"]).replies(b"*1\r\n$1\r\nA\r\n");
    c.receives(b"*2\r\n$1\r\nA\r\n$1\r\nC\r\n+PONG\r\n").is_closed();
}

#[test]
fn a_half_closed_client_that_reads_slowly_is_not_cut_off() {
    let rig = Rig::three();
    let c = rig.client();
    c.takes(Some(3)).sends_cmd(&["GET", "b"]).half_closes();
    rig.node(A).expects(&["GET", "b"]).replies(b"$5\r\nhello\r\n");
    c.receives(b"$5\r").is_open();
    c.takes(Some(4)).receives(b"\nhel").is_open();
    c.takes(None).receives(b"lo\r\n").is_closed();
}

#[test]
fn quit_answers_behind_earlier_replies_and_ignores_what_follows() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends([cmd(&["GET", "b"]), cmd(&["QUIT"]), cmd(&["SET", "b", "2"]), cmd(&["PING"])].concat());
    rig.node(A).expects(&["GET", "b"]).expects_nothing().replies(b"$1\r\n1\r\n");
    c.receives(b"$1\r\n1\r\n+OK\r\n").is_closed();
}

#[test]
fn a_client_that_resets_in_the_middle_of_a_request_leaves_nothing_behind() {
    let rig = Rig::three();
    for _ in 0..3 {
        let c = rig.client();
        c.sends(b"*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$100\r\nabc");
        c.resets();
    }
    let c = rig.client();
    c.sends_cmd(&["PING"]).receives(b"+PONG\r\n");
    assert_eq!(rig.counters().clients, 1);
}
