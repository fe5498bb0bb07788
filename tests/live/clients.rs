//! CLIENT: the list, killing, pausing and muting, over all workers. Compared with a standalone server where its bytes do
//! not depend on the moment.

use std::time::Duration;

use redis_cluster_proxy::net::clock::Clock;

use crate::support::frame::{integer, request, text};
use crate::support::{wait_until, RawClient};
use crate::{client, fixture, pair};

/// The value of a field in a line of CLIENT LIST.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}=");
    line.trim_end()
        .split(' ')
        .find_map(|f| f.strip_prefix(&prefix))
        .unwrap_or_else(|| panic!("no {name} in {line}"))
}

fn names(line: &str) -> Vec<String> {
    line.trim_end().split(' ').filter_map(|f| Some(f.split_once('=')?.0.to_owned())).collect()
}

fn id(c: &mut RawClient) -> i64 {
    integer(&c.line("CLIENT ID"))
}

fn is_closed(c: &mut RawClient) -> bool {
    c.try_call(&["PING"]).is_err()
}

#[test]
fn errors_and_small_answers_are_those_of_a_server() {
    let mut p = pair();
    for line in [
        "CLIENT LIST TYPE master",
        "CLIENT LIST TYPE replica",
        "CLIENT LIST TYPE nosuch",
        "CLIENT LIST TYPE",
        "CLIENT LIST ID",
        "CLIENT LIST ID x",
        "CLIENT LIST ID 0",
        "CLIENT LIST ID -5",
        "CLIENT LIST ID 1 x",
        "CLIENT LIST FOO",
        "CLIENT LIST FOO BAR",
        "CLIENT LIST TYPE pubsub ID 999999999",
        "CLIENT LIST TYPE primary",
        "CLIENT LIST ID 999999999 TYPE normal",
        "CLIENT LIST USER nosuch",
        "CLIENT LIST NAME nosuch",
        "CLIENT LIST NAME",
        "CLIENT LIST MAXAGE x",
        "CLIENT LIST MAXAGE 0",
        "CLIENT LIST IDLE 100000",
        "CLIENT LIST IDLE -1",
        "CLIENT LIST FLAGS P!",
        "CLIENT LIST FLAGS xO",
        "CLIENT LIST NOT-FLAGS ?",
        "CLIENT LIST LIB-NAME nosuch",
        "CLIENT LIST DB x",
        "CLIENT LIST NOT-DB x",
        "CLIENT LIST IP 1.2.3.4",
        "CLIENT LIST CAPA rz",
        "CLIENT LIST NOT-CAPA z",
        "CLIENT LIST NOT-ID 0",
        "CLIENT LIST NOT-ID x",
        "CLIENT LIST NOT-USER default",
        "CLIENT LIST NOT-IDLE 1",
        "CLIENT LIST NOT-SKIPME yes",
        "CLIENT LIST SKIPME maybe",
        "CLIENT KILL MAXAGE 100000",
        "CLIENT KILL MAXAGE x",
        "CLIENT KILL MAXAGE 0",
        "CLIENT KILL TYPE primary",
        "CLIENT KILL ID 999999999 999999998",
        "CLIENT KILL NOT-IP 127.0.0.1",
        "CLIENT CAPA",
        "CLIENT CAPA redirect",
        "CLIENT SETINFO x y",
        "CLIENT SETINFO LIB-name nm",
        "CLIENT NO-TOUCH foo",
        "CLIENT NO-TOUCH on",
        "CLIENT IMPORT-SOURCE",
        "CLIENT KILL 1.2.3.4:5",
        "CLIENT KILL ID 999999999",
        "CLIENT KILL ID 0",
        "CLIENT KILL ID x",
        "CLIENT KILL ID -1",
        "CLIENT KILL TYPE nosuch",
        "CLIENT KILL TYPE master",
        "CLIENT KILL TYPE pubsub",
        "CLIENT KILL USER nosuch",
        "CLIENT KILL ADDR 1.2.3.4:5",
        "CLIENT KILL LADDR 1.2.3.4:5",
        "CLIENT KILL SKIPME maybe",
        "CLIENT KILL ID",
        "CLIENT KILL ID 1 ADDR",
        "CLIENT KILL FOO BAR",
        "CLIENT KILL a b c d",
        "CLIENT KILL ID 999999999 USER default SKIPME yes",
        "CLIENT KILL",
        "CLIENT REPLY FOO",
        "CLIENT REPLY ON",
        "CLIENT NO-EVICT foo",
        "CLIENT PAUSE x",
        "CLIENT PAUSE -1",
        "CLIENT PAUSE 0",
        "CLIENT PAUSE 0 FOO",
        "CLIENT PAUSE 0 WRITE",
        "CLIENT PAUSE 0 ALL X",
        "CLIENT PAUSE 99999999999999999999",
        "CLIENT UNPAUSE",
        "CLIENT UNBLOCK 999999999",
        "CLIENT UNBLOCK x",
        "CLIENT UNBLOCK 1 FOO",
        "CLIENT UNBLOCK 999999999 ERROR",
        "CLIENT UNBLOCK 999999999 TIMEOUT",
        "CLIENT UNBLOCK 3 TIMEOUT x",
        "CLIENT UNBLOCK -1",
        "CLIENT GETREDIR",
        "CLIENT TRACKINGINFO",
        "CLIENT HELP",
        "CLIENT HELP x",
        "CLIENT FOO",
        "CLIENT",
        "ROLE",
    ] {
        p.same_line(line);
    }
    p.proxy = p.proxy.resp3();
    p.server = p.server.resp3();
    for line in ["CLIENT TRACKINGINFO", "CLIENT GETREDIR", "ROLE", "CLIENT LIST TYPE master"] {
        p.same_line(line);
    }
}

#[test]
fn a_line_has_the_fields_of_a_server() {
    let mut p = pair();
    for c in [&mut p.proxy, &mut p.server] {
        c.line("CLIENT SETNAME line-test");
    }
    let (got, expected) = (p.proxy.line("CLIENT INFO"), p.server.line("CLIENT INFO"));
    assert_eq!(got[0], expected[0]);
    let (got, expected) = (text(&got), text(&expected));
    assert_eq!(names(&got), names(&expected), "{got}");
    for name in ["name", "flags", "db", "sub", "psub", "multi", "events", "cmd", "user", "redir", "resp"] {
        assert_eq!(field(&got, name), field(&expected, name), "{name}");
    }
    assert_eq!(field(&got, "laddr"), format!("127.0.0.1:{}", fixture().proxy.port));
    assert_eq!(field(&got, "addr"), p.proxy.stream().local_addr().unwrap().to_string());
    assert!(got.ends_with('\n') && field(&got, "fd").parse::<i32>().unwrap() > 2);
    p.proxy.line("NOSUCH");
    let id = id(&mut p.proxy);
    let list = text(&client().line(&format!("CLIENT LIST ID {id}")));
    assert_eq!(field(&list, "cmd"), "client|id");
    assert_eq!(text(&p.proxy.resp3().line("CLIENT INFO")).matches("resp=3").count(), 1);
}

#[test]
fn the_list_has_the_clients_of_all_workers() {
    let mut clients: Vec<RawClient> = (0..10).map(|_| client()).collect();
    let mut ids: Vec<i64> = clients.iter_mut().map(id).collect();
    ids.sort_unstable();
    let list = text(&clients[0].line("CLIENT LIST TYPE normal"));
    let listed: Vec<i64> = list.lines().map(|l| field(l, "id").parse().unwrap()).collect();
    assert!(listed.is_sorted());
    let ours: Vec<i64> = listed.into_iter().filter(|id| ids.contains(id)).collect();
    assert_eq!(ours, ids);
    clients[3].line("CLIENT SETNAME tester");
    let third = id(&mut clients[3]);
    let line = text(&clients[1].line(&format!("CLIENT LIST ID {third} 999999999")));
    assert_eq!((field(&line, "name"), line.lines().count()), ("tester", 1));
}

#[test]
fn clients_of_any_worker_are_killed() {
    let mut clients: Vec<RawClient> = (0..6).map(|_| client()).collect();
    let mut killer = client();
    for c in &mut clients[..4] {
        let id = id(c);
        assert_eq!(killer.line(&format!("CLIENT KILL ID {id}")), b":1\r\n");
        assert!(is_closed(c));
    }
    let addr = |c: &RawClient| c.stream().local_addr().unwrap();
    assert_eq!(killer.line(&format!("CLIENT KILL {}", addr(&clients[4]))), b"+OK\r\n");
    assert!(is_closed(&mut clients[4]));
    assert_eq!(killer.line(&format!("CLIENT KILL ADDR {} SKIPME yes", addr(&killer))), b":0\r\n");
    assert_eq!(killer.line(&format!("CLIENT KILL ADDR {} SKIPME no", addr(&killer))), b":1\r\n");
    assert!(is_closed(&mut killer));
    assert_eq!(clients[5].line("PING"), b"+PONG\r\n");
    let own = addr(&clients[5]);
    clients[5].send_command(&["CLIENT", "KILL", &own.to_string()]);
    assert_eq!(clients[5].until_closed(), b"+OK\r\n");
}

#[test]
fn muted_requests_are_carried_out_and_not_answered() {
    let mut p = pair();
    let lines = [
        "CLIENT REPLY SKIP",
        "SET mute:1 a",
        "GET mute:1",
        "CLIENT REPLY OFF",
        "SET mute:2 b",
        "GET mute:2",
        "MGET mute:1 mute:2",
        "NOSUCH",
        "CLIENT REPLY SKIP",
        "CLIENT REPLY FOO",
        "CLIENT LIST",
        "CLIENT REPLY ON",
        "GET mute:2",
        "CLIENT REPLY SKIP",
        "CLIENT REPLY SKIP",
        "GET mute:1",
        "MGET mute:2 mute:1",
        "CLIENT REPLY SKIP",
        "CLIENT REPLY ON",
        "CLIENT REPLY OFF",
        "RESET",
        "GET mute:1",
    ];
    let bytes: Vec<u8> = lines.iter().flat_map(|l| request(&l.split(' ').collect::<Vec<_>>())).collect();
    p.same_and_alive(&bytes);
    // The same in pieces, so that replies come back in between.
    for piece in bytes.chunks(7) {
        p.proxy.send(piece);
        p.server.send(piece);
    }
    p.same_and_alive(b"");
}

#[test]
fn a_pause_of_writes_lets_reads_through_on_all_workers() {
    let proxy = crate::Proxy::start(&fixture().cluster, &["-max-procs", "2"]);
    let mut clients: Vec<RawClient> = (0..4).map(|_| proxy.client()).collect();
    let mut other = proxy.client();
    assert_eq!(other.line("CLIENT PAUSE 60000 WRITE"), b"+OK\r\n");
    for (i, c) in clients.iter_mut().enumerate() {
        let key = format!("pause:{i}");
        c.send(&[request(&["GET", &key]), request(&["SET", &key, "v"]), request(&["DEL", &key])].concat());
        assert_eq!(c.frame(), b"$-1\r\n");
        c.set_patience(Duration::from_millis(100));
        assert!(c.try_frame().is_err(), "the write is held up");
    }
    wait_until("all of them are shown as held up", Duration::from_secs(5), || {
        text(&other.line("CLIENT LIST")).matches("flags=b").count() == 4
    });
    assert!(text(&other.line("INFO clients")).contains("blocked_clients:4"));
    assert_eq!(other.line("CLIENT UNPAUSE"), b"+OK\r\n");
    for c in &mut clients {
        c.set_patience(Duration::from_secs(20));
        assert_eq!(c.frames(2), [b"+OK\r\n".to_vec(), b":1\r\n".to_vec()]);
    }
}

#[test]
fn a_pause_of_all_commands_ends_by_itself() {
    let proxy = crate::Proxy::start(&fixture().cluster, &["-max-procs", "2"]);
    let (mut a, mut b) = (proxy.client(), proxy.client());
    let start = Clock::new().now();
    assert_eq!(a.line("CLIENT PAUSE 300"), b"+OK\r\n");
    b.send_command(&["PING"]);
    a.send_command(&["CLIENT", "UNPAUSE"]);
    assert_eq!((b.frame(), a.frame()), (b"+PONG\r\n".to_vec(), b"+OK\r\n".to_vec()));
    let took = Clock::new().now().since(start);
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert_eq!(b.line("GET pause:none"), b"$-1\r\n");
}

#[test]
fn blocked_clients_of_all_workers_are_unblocked() {
    let proxy = crate::Proxy::start(&fixture().cluster, &["-max-procs", "2"]);
    let mut asker = proxy.client();
    let mut blocked: Vec<RawClient> = (0..4).map(|_| proxy.client()).collect();
    let ids: Vec<i64> = blocked.iter_mut().map(id).collect();
    for (i, c) in blocked.iter_mut().enumerate() {
        c.send_command(&["BLPOP", &format!("unblock:{i}"), "0"]);
    }
    let shown = |asker: &mut RawClient, n: usize| {
        text(&asker.line("INFO clients")).contains(&format!("blocked_clients:{n}\r\n"))
            && text(&asker.line("CLIENT LIST")).matches(" flags=b ").count() == n
    };
    wait_until("all are shown as blocked", Duration::from_secs(5), || shown(&mut asker, 4));
    for (i, c) in blocked.iter_mut().enumerate() {
        let reason = ["TIMEOUT", "ERROR"][i % 2];
        let command = format!("CLIENT UNBLOCK {} {reason}", ids[i]);
        // The node may not have read the command that waits.
        wait_until("it is woken", Duration::from_secs(5), || asker.line(&command) == b":1\r\n");
        let expected = ["*-1\r\n", "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"][i % 2];
        assert_eq!(c.frame(), expected.as_bytes());
        assert_eq!(asker.line(&command), b":0\r\n", "it waits no more");
        // Its connection to the node works as before, and nothing was lost.
        assert_eq!(c.line(&format!("RPUSH unblock:{i} v")), b":1\r\n");
        assert_eq!(c.line(&format!("BLPOP unblock:{i} 0")), request(&[&format!("unblock:{i}"), "v"]));
    }
    assert!(shown(&mut asker, 0));
}
