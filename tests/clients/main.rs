//! Real client libraries through the proxy, while slots move and a primary is replaced behind it.
//!
//! Each library does its work in the language it is made for: a script here (or a function, for the Rust crate) that
//! goes on until it is told to stop, checks every result, and says `N passed, N failed` at its end.

#[path = "../support/mod.rs"]
mod support;

mod rust_crate;
mod script;

use std::path::Path;

use script::Script;
use support::{Cluster, Proxy};

/// Operations that a library has to have done before, during and after each change.
const SHARE: u64 = 500;

/// Runs `script` while slots move and a replica takes over.
fn drive(name: &str, program: &str, script: &str, args: &[&str]) {
    let cluster = Cluster::start();
    let mut proxy = Proxy::start(&cluster, &["-max-procs", "2"]);
    let mut script = Script::start(program, script, proxy.port, args);
    script.wait_done(SHARE);
    cluster.reshard(0..60, 1);
    script.wait_done(SHARE);
    cluster.failover(cluster.replicas_of(2)[0]);
    script.wait_done(SHARE);
    cluster.reshard(0..30, 0);
    script.wait_done(SHARE);
    let end = script.stop();
    println!("{name}: {}", end.closing_line);
    assert!(end.is_success, "{name}:\n{}", end.text);
    proxy.assert_alive();
}

fn in_project(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).to_str().unwrap().to_string()
}

#[test]
fn redis_py_with_its_defaults() {
    drive("redis-py", &in_project("target/venv/bin/python"), "redis_py.py", &[]);
}

#[test]
fn redis_py_with_resp2() {
    drive("redis-py, RESP2", &in_project("target/venv/bin/python"), "redis_py.py", &["2"]);
}

#[test]
fn ioredis_with_its_defaults() {
    drive("ioredis", "node", "ioredis.cjs", &[]);
}

#[test]
fn node_redis_with_resp2() {
    drive("node-redis, RESP2", "node", "node_redis.cjs", &["2"]);
}

#[test]
fn node_redis_with_resp3() {
    drive("node-redis, RESP3", "node", "node_redis.cjs", &["3"]);
}

#[test]
fn the_cluster_client_of_redis_py() {
    drive("redis-py, cluster client", &in_project("target/venv/bin/python"), "redis_py_cluster.py", &[]);
}

#[test]
fn the_cluster_client_of_ioredis() {
    drive("ioredis, cluster client", "node", "ioredis_cluster.cjs", &[]);
}
