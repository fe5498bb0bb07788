//! `-read-prefer`: who answers reads, and that nobody but primaries sees writes.

use crate::support::frame::request;
use crate::support::{wait_until, Cluster, Proxy, RawClient};
use std::time::Duration;

/// Calls of the commands used here, on the primaries and on the replicas.
fn calls(cluster: &Cluster, command: &str) -> (u64, u64) {
    let primaries = cluster.primaries();
    let replicas: Vec<usize> = (0..cluster.nodes.len()).filter(|i| !primaries.contains(i)).collect();
    (cluster.calls_of(&primaries, command), cluster.calls_of(&replicas, command))
}

/// Writes, then reads until the replicas have it (replication is asynchronous).
fn write_and_read(c: &mut RawClient, keys: usize) {
    for i in 0..keys {
        let (key, value) = (format!("rp:{i}"), format!("v{i}"));
        assert_eq!(c.call(&["SET", &key, &value]), b"+OK\r\n");
        let expected = &request(&[&value])[4..];
        wait_until("replica has the value", Duration::from_secs(10), || c.call(&["GET", &key]) == expected);
    }
}

#[test]
fn replicas_answer_reads_and_never_see_writes() {
    let cluster = Cluster::start();
    for (prefer, to_replicas) in [("0", false), ("1", true), ("slave", true), ("2", true), ("master", false)]
    {
        let proxy = Proxy::start(&cluster, &["-read-prefer", prefer, "-max-procs", "1"]);
        let mut c = proxy.client();
        let (before_get, before_set) = (calls(&cluster, "get"), calls(&cluster, "setnx"));
        write_and_read(&mut c, 200);
        for i in 0..100 {
            c.call(&["SETNX", &format!("rp:new:{prefer}:{i}"), "1"]);
        }
        let (get, set) = (calls(&cluster, "get"), calls(&cluster, "setnx"));
        // Replicas count what primaries replicate to them, so a write is proved by its answer and by the primaries' count.
        assert_eq!(set.0 - before_set.0, 100, "-read-prefer {prefer}: primaries saw every SETNX");
        let (primary_gets, replica_gets) = (get.0 - before_get.0, get.1 - before_get.1);
        let (few, many) =
            if to_replicas { (primary_gets, replica_gets) } else { (replica_gets, primary_gets) };
        assert!(
            many >= 200 && few == 0,
            "-read-prefer {prefer}: {primary_gets} on primaries, {replica_gets} on replicas"
        );
    }
}

#[test]
fn reads_go_on_when_replicas_are_gone() {
    let mut cluster = Cluster::start();
    let proxy = Proxy::start(&cluster, &["-read-prefer", "1", "-max-procs", "1"]);
    let mut c = proxy.client();
    write_and_read(&mut c, 50);
    for i in 3..6 {
        cluster.nodes[i].kill();
    }
    for i in 0..50 {
        assert_eq!(
            c.call(&["GET", &format!("rp:{i}")]),
            &request(&[format!("v{i}")])[4..],
            "with no replica left"
        );
    }
}
