//! A proxy with `-password` before a cluster with `requirepass`.

use std::sync::OnceLock;

use crate::support::compare::Pair;
use crate::support::frame::{is_error, request, show, text};
use crate::support::{Cluster, Proxy, RawClient, Server};

const PASSWORD: &str = "s3cret";

struct Guarded {
    _cluster: Cluster,
    proxy: Proxy,
    server: Server,
}

fn guarded() -> &'static Guarded {
    static GUARDED: OnceLock<Guarded> = OnceLock::new();
    GUARDED.get_or_init(|| {
        let cluster = Cluster::with(3, 0, &["--requirepass", PASSWORD, "--masterauth", PASSWORD]);
        let proxy = Proxy::start(&cluster, &["-password", PASSWORD, "-max-procs", "1"]);
        Guarded { _cluster: cluster, proxy, server: Server::standalone(&["--requirepass", PASSWORD]) }
    })
}

fn stranger() -> Pair {
    let g = guarded();
    Pair { proxy: g.proxy.client(), server: RawClient::connect(g.server.port) }
}

#[test]
fn nothing_is_served_before_the_password() {
    let mut p = stranger();
    for line in [
        "GET a",
        "SET a 1",
        "PING",
        "ECHO x",
        "MGET a b",
        "CLIENT GETNAME",
        "SELECT 0",
        "COMMAND COUNT",
        "NOSUCH",
        "NOSUCH a b",
        "GET",
        "EVAL x 0",
        "EXEC",
        "MULTI",
        "CLIENT",
        "CLIENT NOSUCH",
        "CLIENT ID x",
        "CONFIG NOSUCH",
        "SUBSCRIBE",
        "WAITAOF",
        "HGETEX",
        "HELLO",
        "HELLO 3",
        "HELLO 3 SETNAME x",
        "HELLO 9",
        "AUTH a b c",
        "CLIENT SETNAME x",
    ] {
        p.same_line(line);
    }
}

#[test]
fn a_wrong_password_is_refused_in_the_servers_words() {
    let mut p = stranger();
    for line in [
        "AUTH wrong",
        "AUTH default wrong",
        "AUTH nobody s3cret",
        "AUTH s3cretx",
        "AUTH s3cre",
        "AUTH a b c",
        "HELLO 3 AUTH default wrong",
        "HELLO 3 AUTH nobody s3cret",
        "AUTH",
        "HELLO 9",
        "GET a",
    ] {
        p.same_line(line);
    }
    p.same(&["AUTH", ""]);
}

#[test]
fn the_right_password_opens_the_connection() {
    for auth in [&["AUTH", PASSWORD][..], &["AUTH", "default", PASSWORD], &["auth", PASSWORD]] {
        let mut p = stranger();
        assert_eq!(p.same(auth), b"+OK\r\n");
        p.same_line("SET pw:k v");
        p.same_line("GET pw:k");
        p.same_line("MGET pw:k pw:l pw:m");
        p.same_line("AUTH wrong");
        p.same_line("GET pw:k");
    }
}

#[test]
fn hello_may_carry_the_password() {
    let mut c = guarded().proxy.client();
    let reply = c.call(&["HELLO", "3", "AUTH", "default", PASSWORD, "SETNAME", "n"]);
    assert_eq!(reply[0], b'%', "{}", show(&reply));
    assert_eq!(c.line("CLIENT GETNAME"), b"$1\r\nn\r\n");
    assert_eq!(c.line("GET pw:none"), b"_\r\n");
}

#[test]
fn a_pipeline_may_begin_with_the_password() {
    let mut c = guarded().proxy.client();
    c.send(
        &[
            request(&["GET", "pw:a"]),
            request(&["AUTH", PASSWORD]),
            request(&["SET", "pw:a", "1"]),
            request(&["GET", "pw:a"]),
        ]
        .concat(),
    );
    assert_eq!(c.frames(4).concat(), b"-NOAUTH Authentication required.\r\n+OK\r\n+OK\r\n$1\r\n1\r\n");
}

#[test]
fn reset_asks_for_the_password_again() {
    let mut p = stranger();
    p.same(&["AUTH", PASSWORD]);
    p.same_line("RESET");
    p.same_line("GET pw:a");
}

#[test]
fn a_stranger_may_leave_politely() {
    assert_eq!(stranger().same_and_closed(&request(&["QUIT"])), b"+OK\r\n");
}

/// Who has not given the password may not make the proxy hold much for them.
#[test]
fn a_stranger_may_send_only_small_requests() {
    for bytes in [&b"*11\r\n"[..], b"*1048576\r\n", b"*2\r\n$16385\r\n", b"*1\r\n$536870912\r\n"] {
        stranger().same_and_closed(bytes);
    }
    let mut p = stranger();
    p.same(&[&b"AUTH"[..], &vec![b'x'; 16384]]);
    p.same(&["ECHO", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
}

#[test]
fn a_client_without_need_of_a_password_is_told_so() {
    let mut c = crate::client();
    let reply = c.line("AUTH anything");
    assert!(is_error(&reply), "{}", show(&reply));
    assert!(text(&reply).contains("without any password configured"), "{}", show(&reply));
    crate::pair().same_line("AUTH anything");
    assert_eq!(c.line("PING"), b"+PONG\r\n");
}
