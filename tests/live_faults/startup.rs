//! Startup nodes that are not there, and a cluster that comes later or loses slots.

use std::time::Duration;

use crate::support::frame::{is_error, show, text};
use crate::support::keys::tag_where;
use crate::support::ports::free_port;
use crate::support::wait::timed;
use crate::support::{wait_until, Cluster, Proxy, Server};

#[test]
fn one_live_startup_node_is_enough() {
    let cluster = Cluster::with(3, 0, &[]);
    let dead = [free_port(), free_port(), free_port()];
    let nodes = format!(
        "127.0.0.1:{},127.0.0.1:{},127.0.0.1:{},127.0.0.1:{}",
        dead[0], dead[1], cluster.nodes[2].port, dead[2]
    );
    let proxy = Proxy::launch(&nodes, &["-max-procs", "1", "-connect-timeout", "1s"]);
    proxy.wait_serving(None);
    assert_eq!(proxy.client().line("MSET one:a 1 one:b 2 one:c 3"), b"+OK\r\n");
}

#[test]
fn startup_nodes_may_be_host_names() {
    let cluster = Cluster::with(3, 0, &[]);
    let proxy = Proxy::launch(&format!("localhost:{}", cluster.nodes[1].port), &["-max-procs", "1"]);
    proxy.wait_serving(None);
}

/// Known nodes are asked when all startup nodes are gone.
#[test]
fn the_topology_is_followed_when_the_startup_node_is_gone() {
    let mut cluster = Cluster::start();
    let startup = format!("127.0.0.1:{}", cluster.nodes[0].port);
    let proxy = Proxy::launch(&startup, &["-max-procs", "1", "-retry-timeout", "15s"]);
    proxy.wait_serving(None);
    cluster.nodes[0].kill();
    cluster.wait_promoted(100, 0);
    let mut c = proxy.client();
    let tag = tag_where(|s| s < 5000);
    wait_until("its slots are served", Duration::from_secs(20), || c.call(&["SET", &tag, "1"]) == b"+OK\r\n");
    cluster.failover(cluster.replicas_of(1)[0]);
    let tag = tag_where(|s| s > 6000 && s < 10000);
    assert_eq!(c.call(&["SET", &tag, "1"]), b"+OK\r\n");
}

#[test]
fn an_unreachable_cluster_is_waited_for() {
    let port = free_port();
    let mut proxy =
        Proxy::launch(&format!("127.0.0.1:{port}"), &["-max-procs", "1", "-retry-timeout", "500ms"]);
    let mut c = proxy.client();
    assert_eq!(c.line("PING"), b"+PONG\r\n");
    let (reply, took) = timed(|| c.line("GET a"));
    assert!(text(&reply).starts_with("CLUSTERDOWN"), "{}", show(&reply));
    assert!(took < Duration::from_secs(10), "after {took:?}");
    let reply = c.line("MGET a b c");
    assert!(text(&reply).starts_with("CLUSTERDOWN"), "{}", show(&reply));
    proxy.assert_alive();
    // Later a node of one's own with all slots comes up where the proxy looks.
    let dir = crate::support::temp::TempDir::new("late");
    let node =
        Server::start(&crate::support::server::binary(), port, dir.path(), &["--cluster-enabled", "yes"]);
    node.wait_ready();
    node.ok("CLUSTER ADDSLOTSRANGE 0 16383");
    wait_until("it is found", Duration::from_secs(20), || c.line("SET a 1") == b"+OK\r\n");
    assert_eq!(c.line("GET a"), b"$1\r\n1\r\n");
}

/// A slot that nobody serves fails alone.
#[test]
fn an_uncovered_slot_fails_alone() {
    let cluster = Cluster::with(3, 0, &["--cluster-require-full-coverage", "no"]);
    let proxy = Proxy::start(&cluster, &["-max-procs", "1", "-retry-timeout", "500ms"]);
    let tag = tag_where(|s| s < 5000);
    let slot = crate::support::keys::slot(&tag);
    for node in &cluster.nodes {
        node.ok(&format!("CLUSTER DELSLOTS {slot}"));
    }
    let mut c = proxy.client();
    wait_until("the slot is gone", Duration::from_secs(20), || is_error(&c.call(&["GET", &tag])));
    let reply = c.call(&["GET", &tag]);
    assert!(text(&reply).starts_with("CLUSTERDOWN Hash slot not served"), "{}", show(&reply));
    let reply = c.call(&["MGET", "covered", &tag, "other"]);
    assert!(
        text(&reply).starts_with("CLUSTERDOWN Hash slot not served"),
        "one part fails, so all: {}",
        show(&reply)
    );
    let others = tag_where(|s| s > 6000);
    assert_eq!(c.call(&["SET", &others, "1"]), b"+OK\r\n");
}
