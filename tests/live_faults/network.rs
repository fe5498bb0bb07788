//! A network that drops packets: what loopback cannot show. Each node has a host of its own, all of them on one bridge.

use std::process::Command;
use std::time::Duration;

use crate::dying::{assert_only_what_must_be, lost_primary, UNWATCHED};
use crate::scene::{append_only_file, Scene};
use crate::support::frame::{self, show};
use crate::support::namespace::{self, Bridge};
use crate::support::wait::{let_pass, timed};
use crate::support::{wait_until, Cluster, Proxy};
use crate::witness::probe::key;
use crate::witness::Crowd;

fn on_a_bridge() -> (Bridge, Cluster) {
    let bridge = Bridge::new();
    (0..6).for_each(|i| bridge.add(i));
    (bridge, Cluster::on_hosts(Bridge::place))
}

/// Its packets are dropped, those to the proxy and those to the other nodes; later it is there again.
#[test]
fn twelve_clients_and_a_primary_whose_cable_is_pulled() {
    if !namespace::alone("network::twelve_clients_and_a_primary_whose_cable_is_pulled") {
        return;
    }
    let (bridge, cluster) = on_a_bridge();
    let scene = Scene::with("cable pulled", cluster, &[], Crowd::TWELVE);
    lost_primary(&scene, |_| bridge.unplug(0));
    let file = append_only_file(&scene.cluster, 0);
    bridge.plug(0);
    scene.cluster.wait_ok();
    scene.witness.wait_answered(3000);
    let (all, ..) = scene.end();
    assert_only_what_must_be(&all, &file);
}

/// Only the proxy does not reach the node, so nobody is promoted: what is for it fails after a while, then at once.
#[test]
fn a_primary_that_only_the_proxy_does_not_reach() {
    if !namespace::alone("network::a_primary_that_only_the_proxy_does_not_reach") {
        return;
    }
    let (bridge, cluster) = on_a_bridge();
    let flags = ["-max-procs", "1", "-retry-timeout", "3s", "-reply-timeout", "3s", "-connect-timeout", "1s"];
    let crowd = Crowd { pipelines: 2, transactions: 1, queues: 0, channels: 0 };
    let scene = Scene::with("cut off from the proxy", cluster, &flags, crowd);
    let mut c = scene.proxy.client();
    for (how, cut) in
        [("dropped", Bridge::misdirect as fn(&Bridge, usize, bool)), ("unreachable", Bridge::refuse_route)]
    {
        cut(&bridge, 0, true);
        wait_until("its circuit opens", Duration::from_secs(20), || {
            scene.proxy.metric_sum("circuits_open ") > 0.0
        });
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            let (_, took) = timed(|| c.call(&["GET", &key(0)]));
            longest = longest.max(took);
            let_pass(Duration::from_millis(10));
        }
        cut(&bridge, 0, false);
        let (_, back) = timed(|| {
            wait_until("it is used again", Duration::from_secs(30), || {
                c.call(&["SET", &key(0).replace("probe", "again"), "1"]) == b"+OK\r\n"
            });
        });
        scene.note(&format!(
            "{how}: longest of 100 requests with an open circuit {} ms, back after {} ms",
            longest.as_millis(),
            back.as_millis()
        ));
        assert!(longest < Duration::from_secs(1), "{how}: a request waited {longest:?}");
        scene.witness.wait_answered(500);
    }
    let (all, ..) = scene.end();
    all.assert_true();
    all.assert_errors_only(&[
        "outcome of this command is unknown",
        "could be reached within",
        "has not answered for",
        UNWATCHED,
    ]);
    assert!(all.stale.is_empty(), "{:?}", all.stale);
    for other in &all.probes[1..] {
        assert!(other.us < 1_000_000, "a client of another shard waited: {other:?}");
    }
}

/// The system keeps sending what a closed connection had not delivered. A write whose outcome was told to be unknown came
/// to its node when the network was back, and undid what was acknowledged since.
#[test]
fn a_write_that_the_network_had_dropped_was_executed_behind_later_ones() {
    if !namespace::alone("network::a_write_that_the_network_had_dropped_was_executed_behind_later_ones") {
        return;
    }
    let (bridge, cluster) = on_a_bridge();
    let proxy =
        Proxy::with_admin(&cluster, &["-max-procs", "1", "-reply-timeout", "1s", "-connect-timeout", "1s"]);
    let mut c = proxy.client();
    let key = key(0);
    assert_eq!(c.call(&["SET", &key, "first"]), b"+OK\r\n");
    bridge.misdirect(0, true);
    let reply = c.call(&["SET", &key, "dropped"]);
    assert!(frame::text(&reply).ends_with("the outcome of this command is unknown"), "{}", show(&reply));
    assert_eq!(undelivered(&Bridge::addr(0)), [""; 0], "the system still sends these");
    bridge.misdirect(0, false);
    wait_until("it is used again", Duration::from_secs(30), || c.call(&["SET", &key, "last"]) == b"+OK\r\n");
    assert_eq!(c.call(&["GET", &key]), b"$4\r\nlast\r\n");
}

/// Connections to `host` that this side has closed and that hold data for it.
fn undelivered(host: &str) -> Vec<String> {
    let output = Command::new("ss").args(["-Htn", "state", "fin-wait-1", "dst", host]).output().expect("ss");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
