//! Inputs for the targets: kept ones, changed by lot, and ones made of nothing.

use std::cell::RefCell;

use redis_cluster_proxy::base::random::Random;

/// Longest input.
const MOST: usize = 2048;

/// Pieces that a change puts in.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"*1\r\n",
    b"$1\r\n",
    b"*-1\r\n",
    b"$-1\r\n",
    b"$536870912\r\n",
    b"*1048577\r\n",
    b"*2147483648\r\n",
    b"\0",
    b"\xff",
    b":",
    b"-",
    b"MOVED 1 ",
    b"ASK 16383 ",
    b"127.0.0.1:7001",
    b"[::1]:1",
    b"%2\r\n",
    b">3\r\n",
    b"|1\r\n",
    b"*?\r\n",
    b"$?\r\n",
    b"=5\r\ntxt:",
    b"\n-",
    b"=",
    b"9999999999",
    b"1h",
    b"64kb",
    b"\"",
    b"'",
    b"\\x41",
];

/// An input made of `seeds`.
pub fn mutate(random: &RefCell<Random>, seeds: &[Vec<u8>]) -> Vec<u8> {
    let below = |n: usize| random.borrow_mut().number() as usize % n.max(1);
    let mut data = match below(8) {
        0 => (0..below(400)).map(|_| below(256) as u8).collect(),
        _ => seeds.get(below(seeds.len())).cloned().unwrap_or_default(),
    };
    for _ in 0..below(12) {
        let at = below(data.len() + 1);
        let end = (at + below(40)).min(data.len());
        match below(7) {
            0 if at < data.len() => data[at] ^= 1 << below(8),
            1 if at < data.len() => data[at] = below(256) as u8,
            2 => drop(data.drain(at..end)),
            3 => drop(data.splice(at..at, PIECES[below(PIECES.len())].iter().copied())),
            4 => {
                let copy = data[at..end].to_vec();
                let to = below(data.len() + 1);
                data.splice(to..to, copy);
            }
            5 => {
                let other = seeds.get(below(seeds.len())).cloned().unwrap_or_default();
                data.truncate(at);
                data.extend_from_slice(&other[below(other.len() + 1)..]);
            }
            _ => drop(data.splice(at..at, (0..below(30)).map(|_| below(256) as u8).collect::<Vec<u8>>())),
        }
    }
    data.truncate(MOST);
    data
}
