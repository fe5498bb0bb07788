//! MONITOR: one stream of what passes through the proxy.

use std::time::Duration;

use crate::fixture;
use crate::support::frame::{request, text};
use crate::support::{wait_until, Proxy, RawClient, Server};

/// Lines up to the one that shows `PING end`, without time and address.
fn until_end(c: &mut RawClient) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = text(&c.frame());
        let (head, shown) = line.split_once("] ").expect("a line of MONITOR");
        let (time, rest) = head.split_once(" [0 127.0.0.1:").expect("time, database, address");
        assert!(time.parse::<f64>().is_ok_and(|t| t > 1_600_000_000.0), "{line}");
        assert_eq!(time.split('.').nth(1).map(str::len), Some(6), "{line}");
        assert!(rest.parse::<u16>().is_ok(), "{line}");
        if shown == "\"PING\" \"end\"" {
            return lines;
        }
        lines.push(shown.to_owned());
    }
}

#[test]
fn lines_are_those_of_a_server() {
    let proxy = Proxy::start(&fixture().cluster, &["-max-procs", "1"]);
    let server = Server::standalone(&[]);
    let commands: Vec<Vec<u8>> = [
        &["PING"][..],
        &["AUTH", "x"],
        &["AUTH", "u", "p"],
        &["HELLO", "2", "AUTH", "default", "p", "SETNAME", "x"],
        &["hello", "3", "setname", "x"],
        &["HELLO"],
        &["set", "monitor:k", "a\0\r\n\"\\\x07\x08\t\x7f ü"],
        &["NOSUCH", "a"],
        &["GET"],
        &["CLIENT", "ID"],
        &["CLIENT", "LIST"],
        &["CLIENT", "REPLY", "ON"],
        &["CLIENT", "SETNAME", ""],
        &["GET", "monitor:k"],
        &["INFO", "server"],
        &["COMMAND", "COUNT"],
        &["SELECT", "0"],
        &["PING", "end"],
    ]
    .iter()
    .map(|args| request(args))
    .collect();
    let lines = [proxy.port, server.port].map(|port| {
        let (mut monitor, mut c) = (RawClient::connect(port), RawClient::connect(port));
        assert_eq!(monitor.line("MONITOR"), b"+OK\r\n");
        for command in &commands {
            c.send(command);
            c.frame();
        }
        until_end(&mut monitor)
    });
    assert_eq!(lines[0], lines[1]);
}

#[test]
fn a_monitor_sees_all_workers_and_can_still_ask() {
    let proxy = Proxy::start(&fixture().cluster, &["-max-procs", "2"]);
    let mut clients: Vec<RawClient> = (0..6).map(|_| proxy.client()).collect();
    let mut monitors = [proxy.client(), proxy.client()];
    monitors.iter_mut().for_each(|m| assert_eq!(m.line("MONITOR"), b"+OK\r\n"));
    for (i, c) in clients.iter_mut().enumerate() {
        assert_eq!(c.line(&format!("SET monitor:{i} v")), b"+OK\r\n");
    }
    for m in &mut monitors {
        let mut seen: Vec<String> = (0..6).map(|_| text(&m.frame())).collect();
        seen.sort_by_key(|l| l.split_once("] ").map(|s| s.1.to_owned()));
        for (i, line) in seen.iter().enumerate() {
            assert!(line.ends_with(&format!("] \"SET\" \"monitor:{i}\" \"v\"")), "{line}");
        }
    }
    assert_eq!(monitors[0].line("PING"), b"+PONG\r\n");
    assert!(text(&monitors[0].frame()).ends_with("\"PING\""));
    for line in ["GET x", "DEL x", "PUBLISH a b"] {
        let reply = monitors[0].line(line);
        assert_eq!(reply, b"-ERR Replica can't interact with the keyspace\r\n", "{line}");
    }
    assert_eq!(monitors[0].line("RESET"), b"+RESET\r\n");
    assert_eq!(clients[0].line("PING x"), b"$1\r\nx\r\n");
    assert_eq!(monitors[0].line("PING y"), b"$1\r\ny\r\n", "it sees nothing any more");
}

#[test]
fn a_monitor_that_does_not_read_is_closed_and_nobody_else_notices() {
    let proxy = Proxy::with_admin(&fixture().cluster, &["-max-procs", "2", "-client-output-limit", "1mb"]);
    let mut monitor = proxy.client();
    assert_eq!(monitor.line("MONITOR"), b"+OK\r\n");
    let mut c = proxy.client();
    let value = "v".repeat(100_000);
    wait_until("the monitor is closed", Duration::from_secs(20), || {
        assert_eq!(c.call(&["SET", "monitor:big", &value]), b"+OK\r\n");
        proxy.metric_sum("output_limit_closes_total") == 1.0
    });
    assert_eq!(c.line("STRLEN monitor:big"), b":100000\r\n");
}
