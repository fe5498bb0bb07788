//! The same random stream of commands to one standalone server and, through the proxy, to a cluster: equal replies.
//!
//! What is sent is in `words` (the commands) and `stream` (how they follow one another), how replies are compared is in
//! `compare`. What a cluster cannot do is left out by name in `left_out::LEFT_OUT`, and `refusals` tests its errors instead.
//!
//! Environment: `DIFF_SEED` (1 when unset) and `DIFF_COMMANDS` (how many, 20,000 when unset).

#[path = "../support/mod.rs"]
mod support;

mod compare;
#[path = "../simulation/dice.rs"]
#[allow(dead_code)]
mod dice;
mod left_out;
mod refusals;
mod run;
mod stream;
mod words;

use std::sync::{Mutex, MutexGuard, OnceLock};

use support::{Cluster, Proxy, Server};

/// What the tests share. It ends with the process.
struct Fixture {
    cluster: Cluster,
    server: Server,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| Fixture { cluster: Cluster::start(), server: Server::standalone(&[]) })
}

/// Nobody else writes to the cluster while this is held.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|e| e.into_inner())
}

#[test]
fn every_command_is_answered_as_a_standalone_server_answers_it() {
    let _alone = alone();
    let fixture = fixture();
    let proxy = Proxy::start(&fixture.cluster, &["-max-procs", "2"]);
    let (seed, commands) = (setting("DIFF_SEED", 1), setting("DIFF_COMMANDS", 20_000));
    run::Run::new(&proxy, &fixture.server, seed).run(commands as usize);
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}
