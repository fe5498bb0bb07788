//! The loads: what each client sends in one round, and what a node answers. Knows no engine.

use redis_cluster_proxy::base::random::Random;
use redis_cluster_proxy::command;
use redis_cluster_proxy::resp::{encode, Args};

/// Bytes of a large value, and nodes of the cluster, when nobody says how many; the nodes are primaries all, with as
/// many slots each.
pub const LARGE: usize = 1024;
pub const NODES: u16 = 3;

/// One load.
#[derive(Clone, Copy)]
pub struct Load {
    /// What `--load` takes.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// Clients at once.
    pub clients: usize,
    /// Requests of each client in one round, sent in one go.
    pub pipeline: usize,
    /// Whether the node that has the first request of each client answers after all the others.
    pub first_comes_last: bool,
    /// Nodes of the cluster.
    pub nodes: u16,
    /// Clients that are connected besides and say nothing.
    pub idle: usize,
    /// Bytes of a large value.
    pub large: usize,
    /// The arguments of the request at this place of a pipeline.
    request: fn(usize, &Load, &mut Random) -> Vec<String>,
}

pub const LOADS: &[Load] = &[
    row("get-p1", "GET, 3 bytes, no pipeline", 1, |_, _, r| words(&["GET", &key(r)])),
    row("get-p32", "GET, 3 bytes, pipelines of 32", 32, |_, _, r| words(&["GET", &key(r)])),
    row("set-p32", "SET, 3 bytes, pipelines of 32", 32, |_, _, r| words(&["SET", &key(r), "xxx"])),
    row("get-1k-p16", "GET, 1 KiB, pipelines of 16", 16, |_, _, r| words(&["GET", &large_key(r)])),
    row("set-1k-p16", "SET, 1 KiB, pipelines of 16", 16, |_, load, r| {
        words(&["SET", &key(r), &"x".repeat(load.large)])
    }),
    row("mix-p32", "many commands, some answered by the proxy, pipelines of 32", 32, mixed),
    row("mget10-p8", "MGET of 10 keys over all nodes, pipelines of 8", 8, mget),
    Load {
        first_comes_last: true,
        ..row("reorder-p32", "as get-p32, but the first reply comes last", 32, lagging)
    },
];

const fn row(
    name: &'static str,
    about: &'static str,
    pipeline: usize,
    request: fn(usize, &Load, &mut Random) -> Vec<String>,
) -> Load {
    let (clients, nodes, idle, large) = (50, NODES, 0, LARGE);
    Load { name, about, clients, pipeline, first_comes_last: false, nodes, idle, large, request }
}

impl Load {
    /// What one client sends in one round.
    pub fn requests(&self, random: &mut Random) -> Vec<u8> {
        let mut out = Vec::new();
        (0..self.pipeline).for_each(|place| encode::request(&mut out, &(self.request)(place, self, random)));
        out
    }
}

/// The node that serves a slot, of so many.
pub fn node_of(slot: u16, nodes: u16) -> u16 {
    (u32::from(slot) * u32::from(nodes) / 16384) as u16
}

/// What a node (or the proxy, for PING) answers, with large values of `large` bytes. Values show which key they belong to.
pub fn answer(args: &Args<'_>, large: usize, out: &mut Vec<u8>) {
    let arg = |i| args.get(i).unwrap_or_default();
    match arg(0).to_ascii_uppercase().as_slice() {
        b"GET" => value(arg(1), large, out),
        b"MGET" => {
            encode::array(out, args.len() - 1);
            args.iter().skip(1).for_each(|key| value(key, large, out));
        }
        b"HGETALL" => {
            encode::array(out, 6);
            (0..6).for_each(|_| value(arg(1), large, out));
        }
        b"INCR" | b"LPUSH" | b"EXPIRE" => encode::integer(out, 1),
        b"PING" => out.extend_from_slice(b"+PONG\r\n"),
        _ => out.extend_from_slice(b"+OK\r\n"),
    }
}

fn value(key: &[u8], large: usize, out: &mut Vec<u8>) {
    match key {
        [b'n', ..] => out.extend_from_slice(b"$-1\r\n"),
        [b'l', ..] => encode::bulk(out, &key[key.len() - 1..].repeat(large)),
        _ => encode::bulk(out, &key[key.len() - 3..]),
    }
}

/// A key as `redis-benchmark -r 1000000` makes it.
fn key(random: &mut Random) -> String {
    format!("key:{:012}", random.below(1_000_000))
}

fn large_key(random: &mut Random) -> String {
    format!("large:{:010}", random.below(1_000_000))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

fn mixed(place: usize, _: &Load, random: &mut Random) -> Vec<String> {
    let key = key(random);
    match place % 8 {
        0 => words(&["SET", &key, "a value of some length", "EX", "3600"]),
        1 => words(&["get", &key]),
        2 => words(&["HGETALL", &key]),
        3 => words(&["INCR", &key]),
        4 => words(&["GET", &format!("none:{key}")]),
        5 => words(&["LPUSH", &key, "one", "two"]),
        6 => words(&["EXPIRE", &format!("{{tag:{key}}}:session"), "3600"]),
        _ => words(&["PING"]),
    }
}

fn mget(_: usize, _: &Load, random: &mut Random) -> Vec<String> {
    std::iter::once("MGET".to_owned()).chain((0..10).map(|_| key(random))).collect()
}

/// The first key lives on node 0, the others do not.
fn lagging(place: usize, load: &Load, random: &mut Random) -> Vec<String> {
    loop {
        let key = key(random);
        if (node_of(command::slot(key.as_bytes()), load.nodes) == 0) == (place == 0) {
            return words(&["GET", &key]);
        }
    }
}
