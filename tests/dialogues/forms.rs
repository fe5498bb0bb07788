//! What the proxy answers itself has the form of what the nodes run. The live suite compares bytes with the servers that there
//! are; here are the versions in between.

use crate::rig::{Rig, A, B, C, SLOTS_A, SLOTS_B, SLOTS_C};

fn redis(version: &str) -> String {
    format!("redis_version:{version}")
}

fn valkey(version: &str) -> String {
    format!("redis_version:7.2.4\nserver_name:valkey\nvalkey_version:{version}")
}

fn before(info: &str, password: &str) -> Rig {
    let mut rig = Rig::with(|c| c.password = password.into());
    rig.runs(info);
    rig.topology(&[(A, SLOTS_A), (B, SLOTS_B), (C, SLOTS_C)], &[]);
    rig
}

/// What a client gets for one command.
fn asked(info: &str, args: &[&str]) -> String {
    let rig = before(info, "");
    let c = rig.client();
    c.sends_cmd(args);
    String::from_utf8(c.takes_received()).unwrap()
}

#[test]
fn a_clients_line_has_the_fields_of_the_version() {
    let fields = ["capa", "watch", "lib-name", "io-thread", "tot-net-in", "tot-cmds"];
    for (info, shown) in [
        (redis("7.0.15"), ""),
        (redis("7.2.6"), "lib-name"),
        (redis("7.4.1"), "watch lib-name"),
        (redis("8.0.2"), "watch lib-name io-thread"),
        (redis("8.2.3"), "watch lib-name io-thread tot-net-in tot-cmds"),
        (valkey("7.2.7"), "lib-name"),
        (valkey("8.0.1"), "watch lib-name tot-net-in tot-cmds"),
        (valkey("9.1.2"), "capa watch lib-name tot-net-in tot-cmds"),
    ] {
        let line = asked(&info, &["CLIENT", "INFO"]);
        let has = |name: &&&str| line.contains(&format!(" {name}="));
        let all: Vec<&str> = fields.iter().filter(has).copied().collect();
        assert_eq!(all.join(" "), shown, "{info}: {line}");
    }
}

#[test]
fn a_clients_line_tells_what_it_has_sent_and_got_and_watches() {
    let rig = before(&valkey("9.1.2"), "");
    let c = rig.client();
    c.sends_cmd(&["CLIENT", "CAPA", "REDIRECT", "x"]).receives(b"+OK\r\n");
    c.sends_cmd(&["PING"]).receives(b"+PONG\r\n");
    c.sends_cmd(&["CLIENT", "INFO"]);
    let line = String::from_utf8(c.takes_received()).unwrap();
    assert!(line.contains(" capa=r ") && line.contains(" watch=0 "), "{line}");
    // Two requests of 47 and 14 bytes were answered by 5 and 7.
    assert!(line.ends_with(" tot-net-in=61 tot-net-out=12 tot-cmds=3\n\r\n"), "{line}");
}

#[test]
fn filters_of_the_client_list_are_those_of_the_version() {
    let (empty, syntax) = ("$0\r\n\r\n", "-ERR syntax error\r\n");
    let list = |info: &str, words: &str| {
        asked(info, &["CLIENT", "LIST"].into_iter().chain(words.split(' ')).collect::<Vec<_>>())
    };
    for (info, maxage, name) in [
        (redis("8.2.3"), syntax, syntax),
        (valkey("8.0.1"), syntax, syntax),
        (valkey("8.1.0"), empty, syntax),
        (valkey("9.0.0"), empty, empty),
    ] {
        assert_eq!(list(&info, "MAXAGE 1000 TYPE pubsub"), maxage, "{info}");
        assert_eq!(list(&info, "NAME nobody NOT-ID 7"), name, "{info}");
        assert_eq!(list(&info, "TYPE pubsub"), empty, "{info}");
    }
    let rig = before(&valkey("9.0.0"), "");
    let (a, b) = (rig.client(), rig.client());
    a.sends_cmd(&["CLIENT", "SETNAME", "first"]).receives(b"+OK\r\n");
    for (words, first, second) in [
        ("NAME first", true, false),
        ("NOT-NAME first", false, true),
        ("SKIPME yes", true, false),
        ("FLAGS N", true, true),
        ("NOT-FLAGS N", false, false),
        ("DB 0 IP 10.9.9.9 USER default", true, true),
        ("CAPA r", false, false),
        ("NAME first NOT-TYPE normal", false, false),
        ("NAME nobody NAME first", true, false),
    ] {
        let line: Vec<&str> = ["CLIENT", "LIST"].into_iter().chain(words.split(' ')).collect();
        b.sends_cmd(&line);
        let list = String::from_utf8(b.takes_received()).unwrap();
        assert_eq!(
            (list.contains(" name=first "), list.contains(" name= ")),
            (first, second),
            "{words}: {list}"
        );
    }
}

#[test]
fn commands_that_the_nodes_do_not_have_are_unknown() {
    let unknown = |reply: &str| reply.starts_with("-ERR unknown ");
    for (args, with, without) in [
        (&["CLIENT", "SETINFO", "LIB-NAME", "x"][..], redis("7.2.0"), redis("7.0.15")),
        (&["CLIENT", "CAPA", "redirect"], valkey("8.0.0"), redis("8.2.3")),
        (&["CLUSTER", "GETSLOTMIGRATIONS"], valkey("9.0.0"), valkey("8.1.0")),
        (&["WAITAOF", "0", "0", "0"], redis("7.2.0"), redis("7.0.15")),
        (&["CLUSTERSCAN", "0"], valkey("9.1.0"), valkey("9.0.0")),
        (&["COMMANDLOG", "GET"], valkey("8.1.0"), redis("8.2.3")),
        (&["COMMANDLOG", "GET", "1", "slow", "x"], valkey("8.1.0"), valkey("8.0.1")),
        (&["HGETEX", "k"], redis("8.0.0"), redis("7.4.1")),
        (&["XDELEX", "k"], redis("8.2.0"), valkey("9.1.0")),
    ] {
        assert!(!unknown(&asked(&with, args)), "{args:?} on {with}");
        assert!(unknown(&asked(&without, args)), "{args:?} on {without}");
    }
}

#[test]
fn a_stranger_learns_as_much_as_from_the_version() {
    let no_auth = "-NOAUTH Authentication required.\r\n";
    for (info, silent) in [(redis("8.2.3"), false), (valkey("8.0.1"), false), (valkey("9.0.0"), true)] {
        let rig = before(&info, "secret");
        let c = rig.client();
        for args in [&["NOSUCH"][..], &["GET"], &["CLIENT", "NOSUCH"], &["CLIENT", "ID", "x"]] {
            c.sends_cmd(args);
            let reply = String::from_utf8(c.takes_received()).unwrap();
            assert_eq!(reply == no_auth, silent, "{args:?} on {info}: {reply}");
        }
        c.sends_cmd(&["GET", "a"]).receives(no_auth.as_bytes());
    }
}
