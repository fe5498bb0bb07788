//! Sends the stream to both sides and collects what differs.

use std::collections::BTreeMap;

use super::compare::{first_difference, is_null, same, same_exec, How};
use super::left_out::{self, LEFT_OUT};
use super::stream::{Kind, Line, Sent, Stream};
use super::words::NEWER;
use crate::support::frame::{body, is_error, items, request, show};
use crate::support::{Proxy, RawClient, Server};

/// Connections on either side.
const LINES: usize = 4;
/// A run ends early with this many differences: later ones follow from them.
const ENOUGH: usize = 40;
const CROSS_SLOT: &[u8] = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n";

/// One connection on either side.
struct Wire {
    proxy: RawClient,
    server: RawClient,
    line: Line,
    /// What was queued since MULTI, and how its replies are compared.
    queued: Vec<(String, How)>,
}

/// A run of the stream.
pub struct Run {
    wires: Vec<Wire>,
    stream: Stream,
    seed: u64,
    done: usize,
    crossed: usize,
    failed: usize,
    /// How often what differed, and an example.
    differences: BTreeMap<String, (usize, String)>,
}

impl Run {
    /// Connects, and empties both sides.
    pub fn new(proxy: &Proxy, server: &Server, seed: u64) -> Run {
        // Half of them speak RESP3 from the start; HELLO and RESET in the stream change that.
        let connect = |i: usize, c: RawClient| if i % 2 == 0 { c } else { c.resp3() };
        let wires = (0..LINES)
            .map(|i| Wire {
                proxy: connect(i, proxy.client()),
                server: connect(i, server.client()),
                line: Line::default(),
                queued: Vec::new(),
            })
            .collect();
        let mut probe = server.client();
        let newer = NEWER.iter().filter(|p| knows(&mut probe, p.1)).collect();
        let kind = left_out::Server::of(&server.text("INFO server"));
        let stream = Stream::new(seed, dumps(&mut probe), newer, kind);
        for client in [&mut proxy.client(), &mut server.client()] {
            assert_eq!(client.line("FLUSHALL"), b"+OK\r\n");
        }
        Run { wires, stream, seed, done: 0, crossed: 0, failed: 0, differences: BTreeMap::new() }
    }

    /// Sends `count` commands and panics with what differed.
    pub fn run(mut self, count: usize) {
        while self.done < count && self.found() < ENOUGH {
            let wire = self.stream.dice.below(LINES);
            self.pipeline(wire);
            if self.stream.dice.chance(10) {
                self.walk();
            }
        }
        self.look_at_all();
        LEFT_OUT.iter().for_each(|(what, why)| eprintln!("left out: {what}: {why}"));
        eprintln!(
            "seed {}: {} commands, {} of them over slots, {} refused by the server, {} differences",
            self.seed,
            self.done,
            self.crossed,
            self.failed,
            self.found()
        );
        assert!(self.differences.is_empty(), "seed {}:\n{}", self.seed, self.report());
    }

    /// Some commands at once on one connection, cut anywhere on the way to the proxy.
    fn pipeline(&mut self, wire: usize) {
        let count = if self.stream.dice.chance(300) { 1 } else { self.stream.dice.between(2, 30) };
        let sent: Vec<Sent> = (0..count).map(|_| self.stream.next(&mut self.wires[wire].line)).collect();
        let to_server: Vec<u8> = sent.iter().filter(|s| !s.crosses).flat_map(|s| request(&s.args)).collect();
        let to_proxy: Vec<u8> = sent.iter().flat_map(|s| request(&s.args)).collect();
        self.wires[wire].server.send(&to_server);
        let mut rest = &to_proxy[..];
        while !rest.is_empty() {
            let most = if self.stream.dice.coin() { rest.len() } else { rest.len().min(40) };
            let (head, tail) = rest.split_at(self.stream.dice.between(1, most));
            self.wires[wire].proxy.send(head);
            rest = tail;
        }
        for s in &sent {
            self.compare(wire, s);
        }
        self.done += count;
    }

    fn compare(&mut self, wire: usize, sent: &Sent) {
        let w = &mut self.wires[wire];
        let expected = if sent.crosses { Ok(CROSS_SLOT.to_vec()) } else { w.server.try_frame() };
        let expected = match expected {
            Ok(expected) => expected,
            Err(e) => panic!("{}: the server: {e}\n{}", words(sent), self.report()),
        };
        let got = match w.proxy.try_frame() {
            Ok(got) => got,
            Err(e) => panic!("{}: {e}; server {}\n{}", words(sent), show(&expected), self.report()),
        };
        let queued = if sent.kind == Kind::Exec { std::mem::take(&mut w.queued) } else { Vec::new() };
        let is_same = match sent.kind {
            Kind::Exec => same_exec(&queued, &got, &expected),
            _ => same(sent.how, &got, &expected),
        };
        match sent.kind {
            Kind::Multi | Kind::Discard => w.queued.clear(),
            _ if expected == b"+QUEUED\r\n" => w.queued.push((words(sent), sent.how)),
            _ => {}
        }
        self.crossed += usize::from(sent.crosses);
        self.failed += usize::from(!sent.crosses && is_error(&expected));
        if !is_same {
            match first_difference(&queued, &got, &expected) {
                Some((what, got, expected)) => self.note(wire, format!("EXEC of {what}"), got, expected),
                None => self.note(wire, words(sent), &got, &expected),
            }
        }
    }

    /// All keys by SCAN, whatever its steps and its order.
    fn walk(&mut self) {
        let ways = [&[][..], &["COUNT", "50"], &["TYPE", "list"], &["MATCH", "*:{t1*"]];
        let options: &[&str] = ways[self.stream.dice.below(ways.len())];
        let (mut proxy, mut server) = {
            let w = &self.wires[0];
            (reconnect(&w.proxy), reconnect(&w.server))
        };
        let (got, expected) = (scan(&mut proxy, options), scan(&mut server, options));
        if got != expected {
            let text = |k: &[Vec<u8>]| format!("{} keys: {}", k.len(), show(&k.join(&b' ')));
            self.note(0, format!("SCAN walk {options:?}"), text(&got).as_bytes(), text(&expected).as_bytes());
        }
    }

    /// In the end both sides hold the same data.
    fn look_at_all(&mut self) {
        let (mut proxy, mut server) = (reconnect(&self.wires[0].proxy), reconnect(&self.wires[0].server));
        for key in scan(&mut server, &[]) {
            let kind = server.call(&[b"TYPE", &key[..]]);
            let (command, how): (&[&[u8]], How) = match body(&kind) {
                b"string" => (&[b"GET"], How::Bytes),
                b"hash" => (&[b"HGETALL"], How::Pairs),
                b"list" => (&[b"LRANGE", b"0", b"-1"], How::Bytes),
                b"set" => (&[b"SMEMBERS"], How::Set),
                b"vectorset" => (&[b"VCARD"], How::Bytes),
                b"zset" => (&[b"ZRANGE", b"0", b"-1", b"WITHSCORES"], How::Bytes),
                _ => (&[b"XRANGE", b"-", b"+"], How::Bytes),
            };
            for (command, how) in
                [(command, how), (&[b"OBJECT", b"ENCODING"], How::Bytes), (&[b"TTL"], How::Near(2))]
            {
                let at = if command[0] == b"OBJECT" { 2 } else { 1 };
                let mut args = command.to_vec();
                args.insert(at, &key);
                let (got, expected) = (proxy.call(&args), server.call(&args));
                if !same(how, &got, &expected) {
                    self.note(0, format!("in the end: {}", show(&args.join(&b' '))), &got, &expected);
                }
            }
        }
    }

    fn note(&mut self, wire: usize, what: String, got: &[u8], expected: &[u8]) {
        let name = what.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let example = format!(
            "{} on {wire}: {what}\n    server {}\n    proxy  {}",
            self.done,
            show(expected),
            show(got)
        );
        self.differences.entry(name).or_insert((0, example)).0 += 1;
    }

    fn found(&self) -> usize {
        self.differences.values().map(|(n, _)| n).sum()
    }

    fn report(&self) -> String {
        let lines = self.differences.iter().map(|(name, (n, example))| format!("{n:4} {name}: {example}"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Payloads of RESTORE that both sides can read: made by a server of their version. The last two are broken.
fn dumps(server: &mut RawClient) -> Vec<Vec<u8>> {
    let values = [
        "SET dump 12345",
        "SET dump some-text",
        "RPUSH dump a b c 1 2 3",
        "HSET dump f1 1 f2 2",
        "SADD dump 1 2 3",
        "SADD dump a b c",
        "ZADD dump 1 a 2.5 b",
        "XADD dump 5-1 f1 v",
    ];
    let mut all: Vec<Vec<u8>> = values
        .iter()
        .map(|value| {
            server.line("DEL dump");
            assert!(!is_error(&server.line(value)), "{value}");
            body(&server.line("DUMP dump")).to_vec()
        })
        .collect();
    all.push(all[0][..5].to_vec());
    all.push(Vec::new());
    all
}

fn scan(client: &mut RawClient, options: &[&str]) -> Vec<Vec<u8>> {
    let (mut cursor, mut keys) = ("0".to_string(), Vec::new());
    loop {
        let reply = client.call(&[&["SCAN", &cursor][..], options].concat());
        let parts = items(&reply);
        keys.extend(items(parts[1]).into_iter().map(|k| body(k).to_vec()));
        cursor = show(body(parts[0]));
        if cursor == "0" {
            keys.sort();
            keys.dedup();
            return keys;
        }
    }
}

fn reconnect(client: &RawClient) -> RawClient {
    RawClient::connect(client.stream().peer_addr().unwrap().port())
}

/// Whether the server has the command of a pattern, and its sub-command or option where that says more.
fn knows(server: &mut RawClient, pattern: &str) -> bool {
    let name = pattern.split(' ').next().unwrap_or_default();
    let names = name.trim_matches(['[', ']']).split('|');
    names.into_iter().all(|n| {
        let info = server.call(&["COMMAND", "INFO", n]);
        !items(&info).iter().any(|i| is_null(i))
    })
}

fn words(sent: &Sent) -> String {
    show(&sent.args.join(&b' '))
}
