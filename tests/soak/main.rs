//! Hours in minutes: a mixed load with a fault every 20 seconds, while memory, descriptors and what the engine holds are
//! read; at the end they are where they were after the warm-up.
//!
//! `SOAK_MINUTES=n` says how long, one minute when unset; `make soak MINUTES=20` shows the readings.

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod jobs;
mod readings;

use std::time::Duration;

use faults::Faults;
use jobs::Jobs;
use readings::Reading;
use support::wait::{eventually, let_pass};
use support::{wait_until, Cluster, Proxy};

/// How often something fails.
const FAULT_EVERY: Duration = Duration::from_secs(20);

/// How much more memory the last readings may show than those after the warm-up.
const MEMORY_SLACK_KIB: u64 = 8 * 1024;
const DESCRIPTOR_SLACK: u64 = 24;

#[test]
fn nothing_grows() {
    let minutes: u64 = std::env::var("SOAK_MINUTES").map_or(1, |m| m.parse().expect("SOAK_MINUTES"));
    let mut cluster = Cluster::start();
    let mut proxy = Proxy::with_admin(&cluster, &["-max-procs", "2", "-retry-timeout", "15s"]);
    let first = Reading::take(&proxy);
    let jobs = Jobs::start(proxy.port);
    let mut faults = Faults::default();
    let mut readings = vec![first];
    println!("{}", Reading::HEAD);
    println!("{first}");
    for round in 0..minutes * 3 {
        faults.next(&mut cluster, round);
        let_pass(FAULT_EVERY);
        proxy.assert_alive();
        let reading = Reading::take(&proxy);
        println!("{reading}");
        readings.push(reading);
    }
    cluster.wait_ok();
    let tally = jobs.stop();
    wait_until("all clients are gone", Duration::from_secs(30), || Reading::take(&proxy).clients == 0);
    let settled = eventually(Duration::from_secs(30), || Reading::take(&proxy).holds_nothing());
    let last = Reading::take(&proxy);
    println!("{last}\n{}\n{tally}", faults.told());
    assert!(settled, "something is held for nobody: {last}");
    tally.assert_right();
    let warm = readings[readings.len().div_ceil(3)];
    let memory = readings[readings.len() - 1].resident_kib.min(last.resident_kib);
    assert!(memory <= warm.resident_kib + MEMORY_SLACK_KIB, "memory grows: {warm}\n{last}");
    assert!(last.descriptors <= first.descriptors + DESCRIPTOR_SLACK, "descriptors grow: {first}\n{last}");
    assert_eq!(proxy.stop().code(), Some(0));
}
