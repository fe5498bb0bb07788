//! Requests at the level of bytes: what a standalone server answers, the proxy answers.

use crate::support::frame::{request, show};
use crate::support::wait::let_pass;
use crate::{client, is_valkey, pair};
use std::time::Duration;

/// Requests that have no reply and change nothing.
#[test]
fn empty_requests_are_ignored() {
    let mut p = pair();
    for bytes in [&b"*0\r\n"[..], b"*-1\r\n", b"*-5\r\n", b"\r\n", b"\n", b"   \r\n", b"*0\r\n\r\n*-1\r\n"] {
        p.same_and_alive(bytes);
    }
}

#[test]
fn a_bad_multibulk_length_ends_the_connection_after_earlier_replies() {
    for bytes in [
        &b"*abc\r\n"[..],
        b"*\r\n",
        b"*2147483648\r\n",
        b"*99999999999999999999\r\n",
        b"*1 \r\n",
        b"*+1\r\n",
        b"*01\r\n",
        b"*3x\r\n",
    ] {
        pair().same_and_closed(bytes);
        pair().same_and_closed(&[&b"PING\r\n*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n"[..], bytes].concat());
        let replies = pair().same_and_closed(
            &[&request(&["SET", "proto:a", "1"]), &request(&["GET", "proto:a"]), bytes].concat(),
        );
        assert!(replies.starts_with(b"+OK\r\n$1\r\n1\r\n-ERR Protocol error"), "{}", show(&replies));
    }
}

#[test]
fn a_bad_bulk_length_ends_the_connection() {
    for bulk in ["$-1", "$abc", "$", "$536870913", "$99999999999999999999", "$-5", "$1 ", "$+1", "$01"] {
        pair().same_and_closed(format!("*1\r\n{bulk}\r\n").as_bytes());
        pair().same_and_closed(format!("*2\r\n$4\r\nECHO\r\n{bulk}\r\n").as_bytes());
    }
}

#[test]
fn a_wrong_type_byte_in_a_multibulk_ends_the_connection() {
    for inner in ["x", ":1", "*1", "+OK", "-E", "$4\r\nECHO\r\n!"] {
        pair().same_and_closed(format!("*2\r\n{inner}\r\n").as_bytes());
    }
}

#[test]
fn inline_commands_are_taken_apart_as_in_a_server() {
    let mut p = pair();
    for bytes in [
        &b"PING\r\n"[..],
        b"PING\n",
        b"ping hello\r\n",
        b"  ECHO   x  \r\n",
        b"ECHO \"\\x41\\n\"\r\n",
        b"ECHO 'it\\'s'\r\n",
        b"ECHO \"a b\"\r\n",
        b"ECHO \"\"\r\n",
        b"ECHO ''\r\n",
        b"ECHO \"\\r\\t\\b\\a\\\\ \\\"q\\\"\"\r\n",
        b"ECHO '\\n'\r\n",
        b"SET inline:k \"v w\"\r\n",
        b"GET inline:k\r\n",
        b"ECHO a\tb\r\n",
        b"\tPING\r\n",
        b"ECHO \"\\xZZ\"\r\n",
        b"ECHO \"\\x4\"\r\n",
        b"NOSUCH \"a b\"\r\n",
        b"ECHO a\"b\"\r\n",
        b"GET\r\n",
    ] {
        p.same_and_alive(bytes);
    }
}

#[test]
fn unbalanced_quotes_end_the_connection() {
    for bytes in [&b"ECHO \"abc\r\n"[..], b"ECHO 'abc\r\n", b"\"\r\n", b"PING\r\nSET k \"\r\n"] {
        pair().same_and_closed(bytes);
    }
}

#[test]
fn a_word_right_behind_a_closing_quote_ends_the_connection() {
    for bytes in [&b"ECHO \"abc\"def\r\n"[..], b"ECHO 'a'b\r\n"] {
        // Valkey since 9.1 takes both as one word.
        if is_valkey() {
            let mut c = client();
            c.send(bytes);
            assert_eq!(c.until_closed(), b"-ERR Protocol error: unbalanced quotes in request\r\n");
        } else {
            pair().same_and_closed(bytes);
        }
    }
}

#[test]
fn an_inline_command_or_a_length_line_above_64_kib_ends_the_connection() {
    let long = vec![b'a'; 70 * 1024];
    pair().same_and_closed(&long);
    pair().same_and_closed(&[b"*", &vec![b'1'; 70 * 1024][..]].concat());
    pair().same_and_closed(&[b"*1\r\n$", &vec![b'1'; 70 * 1024][..]].concat());
}

#[test]
fn a_long_inline_command_below_64_kib_is_served() {
    let mut p = pair();
    p.same_and_alive(&[b"ECHO ", &vec![b'a'; 60 * 1024][..], b"\r\n"].concat());
}

#[test]
fn http_words_end_the_connection_without_a_reply() {
    for bytes in [
        &b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"Host: x\r\n",
        b"*1\r\n$5\r\nHost:\r\n",
        b"*2\r\n$4\r\npost\r\n$1\r\n/\r\n",
    ] {
        pair().same_and_closed(bytes);
        pair().same_and_closed(&[b"PING\r\n", bytes].concat());
    }
}

#[test]
fn command_names_may_be_of_any_case() {
    let mut p = pair();
    for line in [
        "sEt case:k v",
        "gEt case:k",
        "mget case:k",
        "pInG",
        "eChO x",
        "objECT eNcOding case:k",
        "dEl case:k",
    ] {
        p.same_line(line);
    }
}

/// Segments of one byte, and every way to cut a request in two.
#[test]
fn a_request_may_be_cut_at_every_byte() {
    let whole = [
        request(&["SET", "cut:k", "a\r\nb$1\r\n*2\r\n"]),
        request(&["GET", "cut:k"]),
        request(&["MGET", "cut:k", "cut:none", "cut:k"]),
        b"ECHO 'x y'\r\n".to_vec(),
        request(&["ECHO", "*1\r\n$4\r\nPING\r\n"]),
    ]
    .concat();
    let mut c = client();
    c.send(&whole);
    let expected = c.frames(5).concat();
    for byte in &whole {
        c.send(std::slice::from_ref(byte));
    }
    assert_eq!(show(&c.frames(5).concat()), show(&expected), "in single bytes");
    for cut in 1..whole.len() {
        c.send(&whole[..cut]);
        // Nothing can be waited for: an unfinished request has no effect to be seen. Most cuts arrive on their own.
        let_pass(Duration::from_micros(300));
        c.send(&whole[cut..]);
        assert_eq!(show(&c.frames(5).concat()), show(&expected), "cut at {cut}");
    }
}

#[test]
fn half_a_request_and_a_close_harm_nobody() {
    for bytes in
        [&b"*2\r\n$3\r\nGET\r\n$100\r\nabc"[..], b"*1", b"*", b"$", b"GET", b"*3\r\n$3\r\nSET\r\n$1\r\n"]
    {
        let mut c = client();
        c.send(bytes);
        drop(c);
    }
    assert_eq!(client().line("PING"), b"+PONG\r\n");
}

/// Nothing is allocated by a length that was only announced.
#[test]
fn announced_lengths_cost_no_memory() {
    let before = crate::fixture().proxy.rss_kib();
    let mut clients: Vec<_> = (0..50).map(|_| client()).collect();
    for c in &mut clients {
        c.send(b"*1048576\r\n$536870912\r\nabc");
    }
    assert_eq!(client().line("PING"), b"+PONG\r\n");
    let after = crate::fixture().proxy.rss_kib();
    // Other tests run meanwhile, one of them with a value of 20 MiB; 50 times 512 MiB would be 25 GiB.
    assert!(after < before + 400 * 1024, "{before} KiB before, {after} KiB after");
}
