//! Real client libraries through the proxy, while slots move and a primary is replaced behind it.
//!
//! Each library does its work in the language it is made for: a script here (or a function, for the Rust crate) that
//! goes on until it is told to stop, checks every result, and says `N passed, N failed` at its end. Scripts that do all
//! of their work once, and the applications, run one after the other on a cluster that stays as it is.

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

/// Runs each script (name, program, script, arguments) to its end on one quiet cluster; all of them run, whatever fails.
fn run_all(scripts: &[(&str, &str, &str, &[&str])]) {
    let cluster = Cluster::start();
    let mut proxy = Proxy::start(&cluster, &["-max-procs", "2"]);
    let mut faults = String::new();
    for (name, program, script, args) in scripts {
        cluster.primaries().into_iter().for_each(|i| cluster.nodes[i].ok("FLUSHALL"));
        let end = Script::start(program, script, proxy.port, args).finish();
        println!("{name}: {}", end.closing_line);
        if !end.is_success {
            faults += &format!("{name}:\n{}\n", end.text);
        }
    }
    assert!(faults.is_empty(), "{faults}");
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

#[test]
fn what_libraries_build_on_top_of_commands() {
    let python = in_project("target/venv/bin/python");
    run_all(&[
        ("redis-py, features, RESP2", &python, "redis_py_features.py", &["2"]),
        ("redis-py, features, RESP3", &python, "redis_py_features.py", &["3"]),
        ("ioredis, features", "node", "ioredis_features.cjs", &[]),
        ("node-redis, features, RESP2", "node", "node_redis_features.cjs", &["2"]),
        ("node-redis, features, RESP3", "node", "node_redis_features.cjs", &["3"]),
    ]);
}

#[test]
fn applications() {
    let python = in_project("target/venv/bin/python");
    run_all(&[
        ("BullMQ", "node", "bullmq.cjs", &[]),
        ("RQ", &python, "rq_jobs.py", &[]),
        ("Celery", &python, "celery_jobs.py", &[]),
        ("express-rate-limit", "node", "rate_limit.cjs", &[]),
        ("Huey", &python, "huey_jobs.py", &[]),
        ("Dramatiq", &python, "dramatiq_jobs.py", &[]),
        ("Django", &python, "django_cache.py", &[]),
        ("Bee-Queue", "node", "bee_queue.cjs", &[]),
        ("socket.io", "node", "socket_io.cjs", &[]),
        ("express-session", "node", "sessions.cjs", &[]),
    ]);
}
