//! Planned failovers, rolling restarts, and primaries that die under load.

use std::time::Duration;

use crate::support::frame::{is_error, show};
use crate::support::keys::tag_where;
use crate::support::load::{Load, Report};
use crate::support::{wait_until, Cluster, Proxy};

#[test]
fn clients_notice_nothing_of_planned_failovers() {
    let cluster = Cluster::start();
    let mut proxy = Proxy::start(&cluster, &["-max-procs", "2"]);
    let load = Load::start(proxy.port, 8);
    load.wait_answered(2000);
    for replica in [3, 4, 0] {
        cluster.failover(replica);
        load.wait_answered(2000);
    }
    let report = load.stop();
    report.assert_clean();
    report.assert_counted(proxy.client());
    proxy.assert_alive();
}

/// Each primary hands over before it is restarted, as an operator does it.
#[test]
fn clients_notice_nothing_of_a_rolling_restart() {
    let mut cluster = Cluster::start();
    let proxy = Proxy::start(&cluster, &["-max-procs", "2"]);
    let load = Load::start(proxy.port, 4);
    load.wait_answered(1000);
    for i in 0..6 {
        if cluster.primaries().contains(&i) {
            cluster.failover(cluster.replicas_of(i)[0]);
        }
        cluster.nodes[i].restart();
        cluster.wait_ok();
        load.wait_answered(500);
    }
    let report = load.stop();
    report.assert_clean();
    report.assert_counted(proxy.client());
}

/// Errors while a primary is dead: a write that was on its way may say that nobody knows; nothing else is an excuse.
fn assert_only_unknown_outcomes(report: &Report) {
    let unexpected = |e: &&String| !e.contains("unknown") && !e.contains("CLUSTERDOWN");
    let others: Vec<&String> = report.errors.iter().filter(unexpected).collect();
    assert!(
        others.is_empty(),
        "{} of {} errors are of another kind: {:?}",
        others.len(),
        report.errors.len(),
        &others[..others.len().min(5)]
    );
    assert!(
        report.errors.iter().all(|e| !e.starts_with("GET") || !e.contains("unknown")),
        "reads are retried: {:?}",
        report.errors
    );
}

#[test]
fn clients_stay_connected_when_a_primary_is_killed() {
    let mut cluster = Cluster::start();
    let mut proxy = Proxy::start(&cluster, &["-max-procs", "2", "-retry-timeout", "15s"]);
    let load = Load::start(proxy.port, 8);
    load.wait_answered(2000);
    cluster.nodes[0].kill();
    cluster.wait_promoted(100, 0);
    load.wait_answered(4000);
    let report = load.stop();
    report.assert_connected();
    assert_only_unknown_outcomes(&report);
    let mut c = proxy.client();
    let tag = tag_where(|s| s < 5000);
    assert_eq!(c.call(&["SET", &tag, "after"]), b"+OK\r\n", "the slots of the dead node are served again");
    proxy.assert_alive();
}

/// A command sent while nobody owns its slot waits for the new owner instead of failing.
#[test]
fn a_command_waits_for_the_promotion() {
    let mut cluster = Cluster::start();
    let proxy = Proxy::start(&cluster, &["-max-procs", "1", "-retry-timeout", "20s"]);
    let mut c = proxy.client();
    let tag = tag_where(|s| s < 5000);
    assert_eq!(c.call(&["SET", &tag, "before"]), b"+OK\r\n");
    wait_until("the replica has it", Duration::from_secs(10), || {
        cluster.nodes[3].text("DBSIZE") == cluster.nodes[0].text("DBSIZE")
    });
    cluster.nodes[0].kill();
    // Read-only, so it may be sent as often as needed.
    assert_eq!(c.call(&["GET", &tag]), b"$6\r\nbefore\r\n");
}

#[test]
fn a_restarted_node_is_used_again() {
    let mut cluster = Cluster::with(3, 0, &[]);
    let proxy = Proxy::start(&cluster, &["-max-procs", "1", "-retry-timeout", "1s"]);
    let mut c = proxy.client();
    let tag = tag_where(|s| s < 5000);
    assert_eq!(c.call(&["SET", &tag, "1"]), b"+OK\r\n");
    cluster.nodes[0].kill();
    let reply = c.call(&["SET", &tag, "2"]);
    assert!(is_error(&reply), "nobody can serve it: {}", show(&reply));
    cluster.nodes[0].restart();
    wait_until("the node is used again", Duration::from_secs(20), || {
        c.call(&["SET", &tag, "3"]) == b"+OK\r\n"
    });
}
