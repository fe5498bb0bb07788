//! Nodes that come back at other addresses, names that mean other ones, a cluster that is away and back: found again
//! without a restart of the proxy.

use std::time::Duration;

use crate::dying::{UNKNOWN, UNWATCHED};
use crate::scene::Scene;
use crate::support::namespace;
use crate::support::ports::free_port;
use crate::support::server::Place;
use crate::support::wait::timed;
use crate::support::{wait_until, Cluster, Proxy};
use crate::witness::probe::key;
use crate::witness::{Crowd, Witness};

const CROWD: Crowd = Crowd { pipelines: 3, transactions: 1, queues: 1, channels: 0 };

/// What clients hear of a cluster, or a shard, that is away.
const AWAY: &[&str] = &["CLUSTERDOWN", UNKNOWN[0], UNWATCHED];

fn on_loopback(last: usize) -> Place {
    Place { host: format!("127.0.0.{last}"), prefix: Vec::new() }
}

/// As when the pods of a StatefulSet are made anew: each node keeps its id and gets another address. At the end none of
/// the startup nodes is there.
#[test]
fn clients_notice_nothing_of_nodes_that_move_one_by_one() {
    let cluster = Cluster::on_hosts(|i| on_loopback(2 + i));
    let mut scene = Scene::with("all nodes move", cluster, &[], CROWD);
    for i in 0..6 {
        if scene.cluster.primaries().contains(&i) {
            scene.cluster.failover(scene.cluster.replicas_of(i)[0]);
        }
        scene.cluster.nodes[i].move_to(&format!("127.0.0.{}", 20 + i), free_port());
        scene.cluster.wait_ok();
        scene.witness.wait_answered(300);
    }
    let (all, ..) = scene.end();
    all.assert_unnoticed();
}

/// All nodes stop, and start again at other addresses; only a name tells where.
#[test]
fn a_cluster_that_is_away_and_back_elsewhere_is_found_by_its_name() {
    if !namespace::alone("addresses::a_cluster_that_is_away_and_back_elsewhere_is_found_by_its_name") {
        return;
    }
    let names = namespace::Names::new();
    names.set("redis.test", "127.0.0.2");
    let mut cluster = Cluster::on_hosts(|i| on_loopback(2 + i));
    let startup = format!("redis.test:{}", cluster.nodes[0].port);
    let proxy = Proxy::launch(&startup, &["-max-procs", "2", "-retry-timeout", "2s"]);
    proxy.wait_serving(None);
    let witness = Witness::start(proxy.port, CROWD);
    witness.wait_answered(2000);
    cluster.nodes.iter_mut().for_each(|n| n.kill());
    let mut c = proxy.client();
    let reply = c.call(&["GET", &key(0)]);
    assert!(reply.starts_with(b"-CLUSTERDOWN"), "{}", crate::support::frame::show(&reply));
    for (i, node) in cluster.nodes.iter_mut().enumerate() {
        let port = node.port;
        node.move_to(&format!("127.0.1.{}", 2 + i), port);
    }
    names.set("redis.test", "127.0.1.2");
    cluster.introduce();
    cluster.wait_ok();
    let (_, found) = timed(|| {
        wait_until("it is found again", Duration::from_secs(30), || {
            (0..3).all(|third| c.call(&["GET", &key(third)]).starts_with(b"$"))
        });
    });
    eprintln!("[away and back elsewhere] served {} ms after the cluster was whole", found.as_millis());
    witness.wait_answered(2000);
    let all = witness.stop();
    eprintln!("[away and back elsewhere] {all}");
    all.assert_true();
    all.assert_errors_only(AWAY);
    assert!(all.stale.is_empty(), "its files kept everything: {:?}", all.stale);
}

/// A primary and its replica are gone: clear errors after the bound, and all is well when one is back.
#[test]
fn a_shard_that_is_gone_is_missed_and_found_again() {
    let cluster = Cluster::remembering(&["--cluster-require-full-coverage", "no"]);
    let mut scene = Scene::with("a whole shard gone", cluster, &["-retry-timeout", "3s"], CROWD);
    scene.cluster.nodes[3].kill();
    scene.cluster.nodes[0].kill();
    let mut c = scene.proxy.client();
    let (reply, took) = timed(|| c.call(&["GET", &key(0)]));
    assert!(reply.starts_with(b"-CLUSTERDOWN"), "{}", crate::support::frame::show(&reply));
    assert!(took < Duration::from_secs(6), "the error came after {took:?}");
    let (_, fast) = timed(|| {
        wait_until("errors come at once", Duration::from_secs(30), || {
            timed(|| c.call(&["GET", &key(0)])).1 < Duration::from_millis(500)
        });
    });
    scene.cluster.nodes[0].restart();
    let (_, back) = timed(|| {
        wait_until("it is used again", Duration::from_secs(60), || {
            c.call(&["GET", &key(0)]).starts_with(b"$")
        });
    });
    scene.note(&format!(
        "first error after {} ms, errors at once {} ms later, served {} ms after the restart",
        took.as_millis(),
        fast.as_millis(),
        back.as_millis()
    ));
    scene.cluster.nodes[3].restart();
    scene.cluster.wait_ok();
    scene.witness.wait_answered(1000);
    let (all, ..) = scene.end();
    all.assert_true();
    all.assert_errors_only(AWAY);
    assert!(all.stale.is_empty(), "its file kept everything: {:?}", all.stale);
    for other in &all.probes[1..] {
        assert!(other.us < 1_000_000, "a client of another shard waited: {other:?}");
    }
}
