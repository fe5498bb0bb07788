//! What the engine of one worker costs per request, without sockets: clients and nodes are buffers in memory.
//!
//! ```text
//! cargo bench --bench engine                                          all loads, timed
//! cargo bench --bench engine -- --load get-p32 --requests 3200000     one load, that many requests
//! cargo bench --bench engine -- --list                                the loads
//! ```
//!
//! `--clients`, `--nodes`, `--idle` (clients that say nothing) and `--large` (bytes of large values) change the loads.
//!
//! A load is a round of requests that is repeated. In the first rounds the nodes read what they get and answer it, and
//! every reply is checked; what they then got and said is kept, and in the rounds that count they say it again without
//! looking. So next to nothing but the engine runs, and the instructions of one request are those of a run with many
//! requests less those of a run with few, divided by how many more there were. `tools/instructions.py` counts them that
//! way, by callgrind.

#[path = "engine/bed.rs"]
mod bed;
#[path = "engine/loads.rs"]
mod loads;

use std::process::ExitCode;

use bed::Bed;
use loads::{Load, LOADS};
use redis_cluster_proxy::net::clock::Clock;

/// Requests of a load when nobody says how many: about a second each.
const REQUESTS: u64 = 3_000_000;

/// Rounds before those that count: one in which all is learnt, and some in which buffers find their size.
const WARM_UP: u64 = 4;

/// What the command line asks for.
struct Wish {
    loads: Vec<Load>,
    requests: u64,
    list: bool,
}

fn main() -> ExitCode {
    let wish = match wish(std::env::args().skip(1)) {
        Ok(wish) => wish,
        Err(error) => {
            eprintln!("engine: {error}");
            return ExitCode::from(2);
        }
    };
    for load in wish.loads {
        if wish.list {
            println!("{:14} {}", load.name, load.about);
        } else {
            run(&load, wish.requests);
        }
    }
    ExitCode::SUCCESS
}

/// Reads the command line; `--bench` comes from cargo and says nothing.
fn wish(mut args: impl Iterator<Item = String>) -> Result<Wish, String> {
    let mut wish = Wish { loads: LOADS.to_vec(), requests: REQUESTS, list: false };
    let mut changes = Vec::new();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bench" => {}
            "--list" => wish.list = true,
            "--load" => wish.loads = vec![load(&args.next().unwrap_or_default())?],
            "--requests" | "--clients" | "--nodes" | "--idle" | "--large" => {
                let text = args.next().unwrap_or_default();
                let number = text.parse().map_err(|_| format!("{arg} {text:?}: want a number"))?;
                changes.push((arg, number));
            }
            other => return Err(format!("{other}: see the head of benches/engine.rs")),
        }
    }
    for (what, number) in changes {
        match what.as_str() {
            "--clients" => wish.loads.iter_mut().for_each(|l| l.clients = number),
            "--nodes" => wish.loads.iter_mut().for_each(|l| l.nodes = number as u16),
            "--idle" => wish.loads.iter_mut().for_each(|l| l.idle = number),
            "--large" => wish.loads.iter_mut().for_each(|l| l.large = number),
            _ => wish.requests = number as u64,
        }
    }
    Ok(wish)
}

fn load(name: &str) -> Result<Load, String> {
    let names: Vec<&str> = LOADS.iter().map(|l| l.name).collect();
    let found = LOADS.iter().find(|l| l.name == name).copied();
    found.ok_or_else(|| format!("--load {name:?}: want one of {}", names.join(", ")))
}

fn run(load: &Load, requests: u64) {
    let mut bed = Bed::new(load);
    for _ in 0..WARM_UP {
        bed.round();
    }
    let rounds = requests.div_ceil(bed.requests_per_round()).max(1);
    let clock = Clock::new();
    let start = clock.now();
    for _ in 0..rounds {
        bed.round();
    }
    let seconds = clock.now().since(start).as_secs_f64();
    let done = rounds * bed.requests_per_round();
    println!(
        "{:14} {done:9} requests {:8.1} ns/request {:10.0} requests/s",
        load.name,
        seconds / done as f64 * 1e9,
        done as f64 / seconds
    );
}
