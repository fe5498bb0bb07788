//! Planned changes that take minutes, under the load of many clients: run by `make faults`, which prints the figures of
//! these and of all others.

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code)]
#[path = "../live_faults/scene.rs"]
mod scene;
#[allow(dead_code)]
#[path = "../live_faults/witness/mod.rs"]
mod witness;

use std::time::Duration;

use scene::Scene;
use support::wait::timed;
use support::Cluster;
use witness::Crowd;

#[test]
fn clients_notice_nothing_while_thousands_of_slots_move_both_ways() {
    let scene = Scene::start("reshard of 2 x 2500 slots", &[], Crowd::TWELVE);
    scene.cluster.reshard(0..2500, 1);
    scene.cluster.reshard(0..2500, 0);
    scene.witness.wait_answered(1000);
    let (all, ..) = scene.end();
    all.assert_unnoticed();
}

#[test]
fn clients_notice_nothing_while_a_shard_is_added_and_removed() {
    let mut scene = Scene::start("shard added and removed", &[], Crowd::TWELVE);
    let new = scene.cluster.add_node();
    // A quarter of what each of the others has.
    let share: Vec<u16> = (0..3).flat_map(|i| i * 5461..i * 5461 + 1365).collect();
    scene.cluster.reshard(share.iter().copied(), new);
    scene.witness.wait_answered(2000);
    for (i, slots) in share.chunks(1365).enumerate() {
        scene.cluster.reshard(slots.iter().copied(), i);
    }
    scene.cluster.remove_node(new);
    scene.witness.wait_answered(2000);
    let (all, _, proxy) = scene.end();
    all.assert_unnoticed();
    support::wait_until("the proxy forgets the node", Duration::from_secs(20), || {
        proxy.metric_sum("proxy_nodes ") == 6.0
    });
}

#[test]
fn clients_notice_nothing_of_a_rolling_restart_of_every_node() {
    let mut scene = Scene::start("rolling restart", &[], Crowd::TWELVE);
    for i in 0..6 {
        if scene.cluster.primaries().contains(&i) {
            scene.cluster.failover(scene.cluster.replicas_of(i)[0]);
        }
        scene.cluster.nodes[i].restart();
        scene.cluster.wait_ok();
        scene.witness.wait_answered(500);
    }
    let (all, ..) = scene.end();
    all.assert_unnoticed();
}

#[test]
fn clients_notice_nothing_of_many_failovers() {
    let scene = Scene::with("20 planned failovers", Cluster::remembering(&[]), &[], Crowd::TWELVE);
    let mut slowest = Duration::ZERO;
    for round in 0..20 {
        let shard = round % 3;
        let replica = if scene.cluster.primaries().contains(&shard) { shard + 3 } else { shard };
        let ((), took) = timed(|| scene.cluster.take_over(replica));
        slowest = slowest.max(took);
        scene.cluster.wait_ok();
        scene.witness.wait_answered(500);
    }
    scene.note(&format!("the slowest of them took {} ms", slowest.as_millis()));
    let (all, ..) = scene.end();
    all.assert_unnoticed();
}
