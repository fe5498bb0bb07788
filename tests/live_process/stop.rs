//! When a request is surely on its way to a stopped node.

use std::fs;
use std::time::Duration;

use crate::support::{wait_until, Cluster, Proxy};

/// Waits until the proxy has written something to node 0, which is stopped and so reads nothing: the kernel then
/// holds unread bytes on one of the node's sockets.
pub fn wait_in_flight(cluster: &Cluster, proxy: &Proxy) {
    let port = cluster.nodes[0].port;
    wait_until("a request reaches the stopped node", Duration::from_secs(10), || {
        assert!(fs::metadata(format!("/proc/{}", proxy.pid())).is_ok(), "the proxy is there");
        let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        table.lines().skip(1).any(|line| has_unread_bytes(line, port))
    });
}

/// A line of `/proc/net/tcp`: `sl local:port remote:port state tx_queue:rx_queue ...`, numbers in hexadecimal.
fn has_unread_bytes(line: &str, port: u16) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, state, queues, ..] = words.as_slice() else { return false };
    let established = *state == "01";
    let unread = queues.split(':').nth(1).and_then(|q| u32::from_str_radix(q, 16).ok()).unwrap_or(0);
    local.ends_with(&format!(":{port:04X}")) && established && unread > 0
}
