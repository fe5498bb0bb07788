//! What belongs to one client's connection: HELLO, RESET, names, protocols; and what nodes push.

use crate::rig::{cmd, Rig, A, B};

#[test]
fn local_answers_keep_their_place_among_replies_of_nodes() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["PING"]).receives(b"+PONG\r\n");
    c.sends_cmd(&["GET", "b"]).sends_cmd(&["PING", "x"]).sends_cmd(&["ECHO", "y"]).sends_cmd(&["GET", "c"]);
    rig.node(B).expects(&["GET", "c"]).replies(b"$1\r\n2\r\n");
    c.receives_nothing();
    rig.node(A).expects(&["GET", "b"]).replies(b"$1\r\n1\r\n");
    c.receives(b"$1\r\n1\r\n$1\r\nx\r\n$1\r\ny\r\n$1\r\n2\r\n");
}

#[test]
fn select_of_what_no_database_can_be_needs_no_node() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["SELECT", "0"]).receives(b"+OK\r\n");
    c.sends_cmd(&["SELECT", "4294967296"]);
    c.receives(b"-ERR value is out of range, value must between -2147483648 and 2147483647\r\n");
    c.sends_cmd(&["SELECT", "x"]).receives(b"-ERR value is not an integer or out of range\r\n");
}

#[test]
fn clients_have_names_and_ids_of_their_own() {
    let rig = Rig::three();
    let (c1, c2) = (rig.client(), rig.client());
    c1.sends_cmd(&["CLIENT", "GETNAME"]).receives(b"$-1\r\n");
    c1.sends_cmd(&["CLIENT", "SETNAME", "one"]).receives(b"+OK\r\n");
    c1.sends_cmd(&["CLIENT", "GETNAME"]).receives(b"$3\r\none\r\n");
    c2.sends_cmd(&["CLIENT", "GETNAME"]).receives(b"$-1\r\n");
    c1.sends_cmd(&["CLIENT", "SETNAME", "a b"]).receives_error("ERR Client names cannot contain spaces", &[]);
    c1.sends_cmd(&["CLIENT", "ID"]);
    c2.sends_cmd(&["CLIENT", "ID"]);
    assert_ne!(c1.receives_line(), c2.receives_line());
}

/// The length of a HELLO reply and what it must say, without the version and the id.
fn receives_hello(c: &crate::peers::Client, head: &str, proto: u8) {
    let text = String::from_utf8(c.takes_received()).unwrap();
    assert!(text.starts_with(head), "{text:?}");
    for field in [
        "$6\r\nserver\r\n$5\r\nredis\r\n",
        &format!("$5\r\nproto\r\n:{proto}\r\n"),
        "$4\r\nmode\r\n$10\r\nstandalone\r\n",
        "$4\r\nrole\r\n$6\r\nmaster\r\n",
        "$7\r\nmodules\r\n*0\r\n",
    ] {
        assert!(text.contains(field), "{field:?} in {text:?}");
    }
}

#[test]
fn hello_in_the_middle_of_a_pipeline_waits_for_what_is_in_flight() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends([cmd(&["GET", "b"]), cmd(&["HELLO", "3"]), cmd(&["GET", "b"]), cmd(&["HELLO", "2"])].concat());
    rig.node(A).expects(&["GET", "b"]).expects_nothing();
    assert_eq!(rig.connects(A), 1);
    rig.node(A).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
    receives_hello(&c, "%7\r\n", 3);
    rig.resp3(A).expects(&["GET", "b"]).replies(b"_\r\n");
    c.receives(b"_\r\n");
    receives_hello(&c, "*14\r\n", 2);
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
}

#[test]
fn hello_refuses_what_a_server_refuses_and_changes_nothing() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["HELLO", "4"]).receives(b"-NOPROTO unsupported protocol version\r\n");
    c.sends_cmd(&["HELLO", "1"]).receives(b"-NOPROTO unsupported protocol version\r\n");
    c.sends_cmd(&["HELLO", "x"]).receives(b"-ERR Protocol version is not an integer or out of range\r\n");
    c.sends_cmd(&["HELLO", "3", "FOO"]).receives(b"-ERR Syntax error in HELLO option 'FOO'\r\n");
    c.sends_cmd(&["HELLO", "3", "AUTH", "x"]).receives(b"-ERR Syntax error in HELLO option 'AUTH'\r\n");
    c.sends_cmd(&["HELLO", "3", "SETNAME", "a b"]).receives_error("ERR Client names cannot", &[]);
    c.sends_cmd(&["CLIENT", "GETNAME"]).receives(b"$-1\r\n");
    c.sends_cmd(&["HELLO"]);
    receives_hello(&c, "*14\r\n", 2);
}

#[test]
fn hello_may_name_the_client() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["hello", "3", "setname", "me"]);
    receives_hello(&c, "%7\r\n", 3);
    c.sends_cmd(&["CLIENT", "GETNAME"]).receives(b"$2\r\nme\r\n");
}

/// Replies are never converted, so the two protocols use connections of their own.
#[test]
fn clients_of_the_two_protocols_use_different_connections() {
    let rig = Rig::three();
    let (c2, c3) = (rig.client(), rig.client());
    c3.sends_cmd(&["HELLO", "3"]);
    receives_hello(&c3, "%7\r\n", 3);
    c2.sends_cmd(&["HGETALL", "b"]);
    c3.sends_cmd(&["HGETALL", "b"]);
    rig.resp3(A).expects(&["HGETALL", "b"]).expects_nothing().replies(b"%1\r\n$1\r\nf\r\n$1\r\nv\r\n");
    rig.node(A).expects(&["HGETALL", "b"]).expects_nothing().replies(b"*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
    c2.receives(b"*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
    c3.receives(b"%1\r\n$1\r\nf\r\n$1\r\nv\r\n");
    assert_eq!(rig.connects(A), 2);
}

#[test]
fn replies_of_every_form_pass_byte_for_byte() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["HELLO", "3"]).takes_received();
    let frames: &[&[u8]] = &[
        b"_\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"#t\r\n",
        b",1.5e3\r\n",
        b",inf\r\n",
        b"(3492890328409238509324850943850943825024385\r\n",
        b"!21\r\nSYNTAX invalid syntax\r\n",
        b"=15\r\ntxt:Some string\r\n",
        b"~2\r\n+a\r\n:1\r\n",
        b"%2\r\n+k\r\n*0\r\n+l\r\n~0\r\n",
        b"|1\r\n+ttl\r\n:3600\r\n$1\r\nv\r\n",
        b"*?\r\n:1\r\n:2\r\n.\r\n",
        b"$?\r\n;4\r\nHell\r\n;1\r\no\r\n;0\r\n",
        b"*3\r\n$0\r\n\r\n*1\r\n_\r\n-ERR inner\r\n",
        b"-ERR outer\r\n",
    ];
    for size in [usize::MAX, 1, 4] {
        for frame in frames {
            c.sends_cmd(&["GET", "b"]);
            rig.resp3(A).expects(&["GET", "b"]).replies_in_pieces(frame, size);
            c.receives(frame).receives_nothing();
        }
    }
}

#[test]
fn pushes_of_a_shared_connection_answer_nobody() {
    let rig = Rig::three();
    let (c1, c2) = (rig.client(), rig.client());
    for c in [&c1, &c2] {
        c.sends_cmd(&["HELLO", "3"]).takes_received();
        c.sends_cmd(&["GET", "b"]);
    }
    let push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nb\r\n";
    let a = rig.resp3(A);
    a.expects(&["GET", "b"]).expects(&["GET", "b"]);
    a.replies([&push[..], b"$1\r\n1\r\n", push, push, b"$1\r\n2\r\n", push].concat());
    c1.receives(b"$1\r\n1\r\n");
    c2.receives(b"$1\r\n2\r\n");
    a.replies_in_pieces(push, 1);
    assert_eq!(rig.open(A), 1);
}

#[test]
fn reset_forgets_the_protocol_and_the_name_behind_earlier_replies() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["HELLO", "3", "SETNAME", "me"]).takes_received();
    c.sends([cmd(&["GET", "b"]), cmd(&["RESET"]), cmd(&["CLIENT", "GETNAME"]), cmd(&["GET", "b"])].concat());
    rig.resp3(A).expects(&["GET", "b"]).expects_nothing().replies(b"_\r\n");
    c.receives(b"_\r\n+RESET\r\n$-1\r\n");
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
}

#[test]
fn a_node_that_does_not_speak_resp3_is_named_to_those_who_want_it() {
    let rig = Rig::three();
    rig.by_hand(A);
    let (c2, c3) = (rig.client(), rig.client());
    c3.sends_cmd(&["HELLO", "3"]).takes_received();
    c3.sends_cmd(&["GET", "b"]);
    rig.resp3(A).accepts().expects(&["HELLO", "3"]).expects(&["CLIENT", "SETNAME", "redis-cluster-proxy"]);
    rig.resp3(A).replies(b"-ERR unknown command 'HELLO'\r\n");
    c3.receives_error("ERR the proxy could not log in to node 127.0.0.1:7001", &["unknown command"]);
    rig.accept_connects(A);
    rig.advance_ms(50);
    c2.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c2.receives(b"$-1\r\n");
}
