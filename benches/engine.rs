//! What the engine of one worker costs per request, without sockets: clients and nodes are buffers in memory.
//!
//! ```text
//! cargo bench --bench engine                                          all loads, timed
//! cargo bench --bench engine -- --load get-p32 --requests 3200000     one load, that many requests
//! cargo bench --bench engine -- --list                                the loads
//! ```
//!
//! A load is a round of requests that is repeated. In the first rounds the nodes read what they get and answer it, and
//! every reply is checked; what they then got and said is kept, and in the rounds that count they say it again without
//! looking. So next to nothing but the engine runs, and the instructions of one request are those of a run with many
//! requests less those of a run with few, divided by how many more there were:
//!
//! ```text
//! valgrind --tool=callgrind target/release/deps/engine-... --load get-p32 --requests 16000
//! valgrind --tool=callgrind target/release/deps/engine-... --load get-p32 --requests 48000
//! ```

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
    loads: Vec<&'static Load>,
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
            run(load, wish.requests);
        }
    }
    ExitCode::SUCCESS
}

/// Reads `--load NAME`, `--requests N` and `--list`; `--bench` comes from cargo and says nothing.
fn wish(mut args: impl Iterator<Item = String>) -> Result<Wish, String> {
    let mut wish = Wish { loads: LOADS.iter().collect(), requests: REQUESTS, list: false };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bench" => {}
            "--list" => wish.list = true,
            "--load" => wish.loads = vec![load(&args.next().unwrap_or_default())?],
            "--requests" => {
                let text = args.next().unwrap_or_default();
                wish.requests = text.parse().map_err(|_| format!("--requests {text:?}: want a number"))?;
            }
            other => return Err(format!("{other}: want --load NAME, --requests N or --list")),
        }
    }
    Ok(wish)
}

fn load(name: &str) -> Result<&'static Load, String> {
    let names: Vec<&str> = LOADS.iter().map(|l| l.name).collect();
    let found = LOADS.iter().find(|l| l.name == name);
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
