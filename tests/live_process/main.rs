//! The program as its operator meets it: flags, signals, logs, the admin address, the demo.

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod demo;
mod flags;
mod host;
mod hostile;
mod logs;
mod signals;
mod stop;
mod syscalls;
mod upgrade;

use std::sync::OnceLock;

use support::Cluster;

/// Three primaries that all tests here share; nobody changes anything about them.
fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::with(3, 0, &[]))
}
