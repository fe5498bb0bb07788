//! One cluster and one proxy, and what a client sees of them.
//!
//! All tests here share the cluster and run side by side: every test uses keys of its own and leaves the nodes alone.
//! What happens when nodes come and go is in `live_faults`, flags and signals are in `live_process`.

#[path = "../support/mod.rs"]
mod support;

mod blocking;
mod clients;
mod core;
mod crowd;
mod crowds;
mod databases;
mod errors;
mod fanout;
mod flow;
mod info;
mod modules;
mod monitor;
mod password;
mod protocol;
mod pubsub;
mod raw;
mod replicas;
mod resp3;
mod scan;
mod session;
mod streams;
mod tracking;
mod transactions;
mod view;
mod wait;

use std::sync::OnceLock;

use redis_cluster_proxy::cluster::Software;
use support::compare::Pair;
use support::{Cluster, Proxy, RawClient, Server};

/// What the tests share. It ends with the process.
struct Fixture {
    cluster: Cluster,
    proxy: Proxy,
    /// A standalone server of the same version, to compare with.
    server: Server,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let cluster = Cluster::start();
        let proxy = Proxy::start(&cluster, &["-max-procs", "2"]);
        Fixture { cluster, proxy, server: Server::standalone(&[]) }
    })
}

/// A client of the proxy.
fn client() -> RawClient {
    fixture().proxy.client()
}

/// What the nodes run.
fn software() -> Software {
    Software::parse(fixture().server.text("INFO server").as_bytes())
}

/// Whether the nodes are Valkey.
fn is_valkey() -> bool {
    software().name() == "valkey"
}

/// A client of the proxy and one of a standalone server.
fn pair() -> Pair {
    Pair::connect(fixture().proxy.port, fixture().server.port)
}
