//! A seeded simulation of the engine: virtual clock, virtual network, fake clients, a fake cluster that fails in many
//! ways, and a judge who knows what each request may be answered, how often each write may have been executed, where each
//! element of a list is, what a transaction has seen, and who must get which message.
//!
//! `SIM_SEEDS=n` runs n seeds, `SIM_FIRST=x` begins with seed x, `SIM_SEED=x` runs that one and prints its transcript.

#[path = "simulation/clients.rs"]
mod clients;
#[path = "simulation/cluster.rs"]
mod cluster;
#[path = "simulation/dice.rs"]
mod dice;
#[path = "simulation/driver.rs"]
mod driver;
#[path = "simulation/faults.rs"]
mod faults;
#[path = "simulation/history.rs"]
mod history;
#[path = "simulation/mix.rs"]
mod mix;
#[path = "simulation/node.rs"]
mod node;
#[path = "simulation/oracle.rs"]
mod oracle;
#[path = "simulation/outages.rs"]
mod outages;
#[path = "simulation/stream.rs"]
mod stream;
#[path = "simulation/topics.rs"]
mod topics;
#[path = "simulation/totals.rs"]
mod totals;
#[path = "simulation/transactions.rs"]
mod transactions;
#[path = "simulation/waits.rs"]
mod waits;
#[path = "simulation/wire.rs"]
mod wire;
#[path = "simulation/world.rs"]
mod world;

use std::panic::{catch_unwind, AssertUnwindSafe};

use totals::Totals;
use world::World;

/// Seeds without `SIM_SEEDS`.
const SEEDS: u64 = 500;

/// Failed seeds shown, at most.
const MOST_SHOWN: usize = 30;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Hash of the transcript, and what happened.
///
/// # Errors
/// What is wrong, and how to see it again.
fn live(seed: u64, print: bool) -> Result<(u64, Totals), String> {
    let mut world = World::new(seed, print);
    match catch_unwind(AssertUnwindSafe(|| world.live())) {
        Ok(hash) => Ok((hash, world.totals())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text =
                text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned())).unwrap_or_default();
            Err(format!(
                "seed {seed}: {text}\nreplay: SIM_SEED={seed} cargo test --test simulation -- --nocapture"
            ))
        }
    }
}

#[test]
fn every_request_is_answered_rightly_whatever_fails() {
    if let Some(seed) = number("SIM_SEED") {
        let (_, totals) = live(seed, true).unwrap_or_else(|e| panic!("{e}"));
        return println!("{totals:#?}");
    }
    let first = number("SIM_FIRST").unwrap_or(1);
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let mut totals = Totals::default();
    let mut failures = Vec::new();
    for seed in first..first + seeds {
        match live(seed, false) {
            Ok((_, more)) => totals.add(&more),
            Err(text) => {
                eprintln!("{}", text.lines().next().unwrap_or_default());
                failures.push(text);
            }
        }
    }
    println!("{seeds} seeds: {totals:#?}");
    let (count, some) = (failures.len(), failures.len().min(MOST_SHOWN));
    assert!(count == 0, "{count} of {seeds} seeds failed\n{}", failures[..some].join("\n"));
    totals.show_that_it_was_worth_it(seeds);
}

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in [7, 8, 9] {
        let story = || live(seed, false).map(|s| s.0).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(story(), story(), "seed {seed}");
    }
}
