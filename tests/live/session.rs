//! What belongs to one connection: HELLO, CLIENT, SELECT, RESET, QUIT. Answered by the proxy, in a server's words.

use crate::support::frame::{integer, is_error, items, request, show, text};
use crate::support::RawClient;
use crate::{client, fixture, pair};

/// The fields of a HELLO reply, in either protocol, in order.
fn fields(reply: &[u8]) -> Vec<(String, Vec<u8>)> {
    items(reply).chunks(2).map(|f| (text(f[0]), f[1].to_vec())).collect()
}

#[test]
fn hello_has_the_fields_of_a_standalone_server() {
    let is_plain = fixture().server.call(&["MODULE", "LIST"]) == b"*0\r\n";
    for args in [
        &["HELLO"][..],
        &["HELLO", "2"],
        &["HELLO", "3"],
        &["HELLO", "3", "SETNAME", "me"],
        &["hello", "2", "setname", "me"],
    ] {
        let mut p = pair();
        let (got, expected) = (p.proxy.call(args), p.server.call(args));
        assert_eq!(got[0], expected[0], "{}", show(&got));
        let (got, expected) = (fields(&got), fields(&expected));
        // The id differs from connection to connection. The proxy has no modules; newer servers have some built in.
        let others: &[&str] = if is_plain { &["id"] } else { &["id", "modules"] };
        let common = |all: &[(String, Vec<u8>)]| {
            all.iter().filter(|(k, _)| !others.contains(&k.as_str())).cloned().collect::<Vec<_>>()
        };
        assert_eq!(common(&got), common(&expected));
        let names = |all: &[(String, Vec<u8>)]| all.iter().map(|(k, _)| k.clone()).collect::<Vec<_>>();
        assert_eq!(names(&got), names(&expected));
        p.same_line("CLIENT GETNAME");
    }
}

#[test]
fn info_calls_the_server_what_the_nodes_call_themselves() {
    let mut p = pair();
    let lines = |info: &[u8]| {
        let names = ["redis_version:", "server_name:", "valkey_version:"];
        let of_a_name = |l: &&str| names.iter().any(|n| l.starts_with(n));
        text(info).lines().filter(of_a_name).map(str::to_owned).collect::<Vec<_>>()
    };
    let (ours, theirs) = (lines(&p.proxy.line("INFO server")), lines(&p.server.line("INFO server")));
    assert_eq!(ours, theirs);
}

#[test]
fn hello_refuses_what_a_server_refuses() {
    let mut p = pair();
    for line in [
        "HELLO 1",
        "HELLO 4",
        "HELLO abc",
        "HELLO 3 NOSUCH",
        "HELLO 3 AUTH a",
        "HELLO 3 SETNAME",
        "HELLO 2 SETNAME a\nb",
        "HELLO -1",
        "HELLO 99999999999999999999",
    ] {
        p.same_line(line);
        p.same_line("CLIENT GETNAME");
    }
    // Without a password in force, any will do.
    assert_eq!(p.proxy.line("HELLO 3 AUTH default anything")[0], b'%');
}

#[test]
fn a_client_keeps_its_name() {
    let mut p = pair();
    p.same_line("CLIENT GETNAME");
    p.same_line("CLIENT SETNAME worker-7");
    p.same_line("CLIENT GETNAME");
    p.same(&["CLIENT", "SETNAME", "with blank"]);
    p.same(&["CLIENT", "SETNAME", "with\nnewline"]);
    p.same_line("client getname");
    p.same(&["CLIENT", "SETNAME", ""]);
    p.same_line("CLIENT GETNAME");
    assert_eq!(client().line("CLIENT GETNAME"), b"$-1\r\n", "a name is of one connection");
}

#[test]
fn every_client_has_an_id_of_its_own() {
    let mut clients: Vec<RawClient> = (0..20).map(|_| client()).collect();
    let mut ids: Vec<i64> = clients.iter_mut().map(|c| integer(&c.line("CLIENT ID"))).collect();
    assert_eq!(integer(&clients[0].line("CLIENT ID")), ids[0], "and keeps it");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    assert!(ids[0] > 0);
}

#[test]
fn what_client_libraries_send_on_connect_is_answered() {
    let mut p = pair();
    for line in [
        "CLIENT SETINFO LIB-NAME redis-py",
        "CLIENT SETINFO LIB-VER 1.2.3",
        "CLIENT NO-EVICT ON",
        "CLIENT NO-EVICT OFF",
        "CLIENT NO-TOUCH ON",
        "CLIENT CAPA redirect",
        "SELECT 0",
        "PING",
        "PING hello",
    ] {
        p.same_line(line);
    }
    for line in ["READONLY", "READWRITE"] {
        assert_eq!(p.proxy.line(line), b"+OK\r\n", "{line}");
    }
}

#[test]
fn select_takes_no_other_database() {
    let mut c = client();
    for line in ["SELECT 1", "SELECT -1", "SELECT x", "SELECT 16"] {
        let reply = c.line(line);
        assert!(is_error(&reply), "{line}: {}", show(&reply));
    }
    assert_eq!(c.line("SELECT 0"), b"+OK\r\n");
}

#[test]
fn reset_gives_a_connection_its_first_state() {
    let mut p = pair();
    for c in [&mut p.proxy, &mut p.server] {
        assert_eq!(c.line("HELLO 3 SETNAME before")[0], b'%');
        assert_eq!(c.line("RESET"), b"+RESET\r\n");
    }
    p.same_line("CLIENT GETNAME");
    p.same_line("GET reset:none");
}

#[test]
fn quit_closes_after_earlier_replies_and_ignores_what_follows() {
    let bytes = [
        request(&["SET", "quit:k", "v"]),
        request(&["GET", "quit:k"]),
        request(&["QUIT"]),
        request(&["SET", "quit:k", "after"]),
        request(&["GET", "quit:k"]),
    ]
    .concat();
    assert_eq!(pair().same_and_closed(&bytes), b"+OK\r\n$1\r\nv\r\n+OK\r\n");
    assert_eq!(client().line("GET quit:k"), b"$1\r\nv\r\n");
}

#[test]
fn ping_and_echo_are_those_of_a_server() {
    let mut p = pair();
    for line in ["PING", "PING x", "ECHO x", "ping", "PING a b"] {
        p.same_line(line);
    }
    p.same(&[&b"ECHO"[..], b"\0\r\n\xff"]);
    p.same(&["PING", ""]);
}

/// Local answers stand in line with those that come from nodes.
#[test]
fn local_answers_keep_their_place_in_a_pipeline() {
    let mut p = pair();
    let mut bytes = Vec::new();
    for i in 0..500 {
        bytes.extend(request(&["SET", &format!("local:{i}"), &i.to_string()]));
        bytes.extend(request(&["PING", &i.to_string()]));
        bytes.extend(request(&["GET", &format!("local:{i}")]));
        bytes.extend(request(&["NOSUCH", &i.to_string()]));
        bytes.extend(request(&["ECHO", &i.to_string()]));
        bytes.extend(request(&["CLIENT", "GETNAME"]));
    }
    p.same_and_alive(&bytes);
}
