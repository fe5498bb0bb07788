//! A node that accepts connections and never answers.

use std::time::Duration;

use crate::support::frame::{is_error, show};
use crate::support::keys::tag_where;
use crate::support::wait::timed;
use crate::support::{wait_until, Cluster, Proxy};

#[test]
fn others_go_on_while_one_node_stalls() {
    // A long node timeout, so that the cluster itself does not step in.
    let cluster = Cluster::with(3, 0, &["--cluster-node-timeout", "60000"]);
    let mut proxy =
        Proxy::start(&cluster, &["-max-procs", "1", "-reply-timeout", "2s", "-retry-timeout", "2s"]);
    let (stalled, fine) = (tag_where(|s| s < 5000), tag_where(|s| s > 6000 && s < 10000));
    let mut waiting = proxy.client();
    let mut other = proxy.client();
    cluster.nodes[0].pause();
    waiting.send_command(&["SET", &stalled, "1"]);
    for i in 0..500 {
        let (reply, took) = timed(|| other.call(&["SET", &fine, &i.to_string()]));
        assert_eq!(reply, b"+OK\r\n");
        assert!(took < Duration::from_secs(1), "a command to a healthy node took {took:?}");
    }
    let (reply, took) = timed(|| waiting.frame());
    assert!(is_error(&reply), "{}", show(&reply));
    assert!(took < Duration::from_secs(10), "the error came after {took:?}");
    assert_eq!(waiting.call(&["GET", &fine]), b"$3\r\n499\r\n", "the connection is still in use");
    cluster.nodes[0].resume();
    wait_until("the node is used again", Duration::from_secs(20), || {
        waiting.call(&["SET", &stalled, "2"]) == b"+OK\r\n"
    });
    proxy.assert_alive();
}

/// Late replies are never taken for those of later commands.
#[test]
fn replies_that_come_after_their_timeout_reach_nobody() {
    let cluster = Cluster::with(3, 0, &["--cluster-node-timeout", "60000"]);
    let proxy =
        Proxy::start(&cluster, &["-max-procs", "1", "-reply-timeout", "500ms", "-retry-timeout", "500ms"]);
    let tag = tag_where(|s| s < 5000);
    let mut c = proxy.client();
    for i in 0..100 {
        assert_eq!(c.call(&["SET", &format!("{{{tag}}}{i}"), &i.to_string()]), b"+OK\r\n");
    }
    for _ in 0..3 {
        cluster.nodes[0].pause();
        for i in 0..50 {
            c.send_command(&["GET", &format!("{{{tag}}}{i}")]);
        }
        let first = c.frame();
        assert!(is_error(&first), "{}", show(&first));
        cluster.nodes[0].resume();
        for i in 1..50 {
            let reply = c.frame();
            let value = format!("${}\r\n{i}\r\n", i.to_string().len());
            assert!(is_error(&reply) || reply == value.as_bytes(), "GET {i}: {}", show(&reply));
        }
        wait_until("the node is used again", Duration::from_secs(20), || {
            c.call(&["GET", &format!("{{{tag}}}77")]) == b"$2\r\n77\r\n"
        });
        for i in 0..100 {
            assert_eq!(
                crate::support::frame::text(&c.call(&["GET", &format!("{{{tag}}}{i}")])),
                i.to_string()
            );
        }
    }
}
