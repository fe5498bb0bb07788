//! What an operator does on purpose: clients notice nothing of it but some latency.

use std::time::Duration;

use crate::scene::Scene;
use crate::support::wait::timed;
use crate::support::Cluster;
use crate::witness::Crowd;

/// In a cluster that needs all slots the other primaries refuse what they are asked, for up to a second, when they hear that
/// the old primary is none any more before they hear of the new one; requests wait for that, too.
#[test]
fn twelve_clients_notice_nothing_of_planned_failovers() {
    let cluster = Cluster::remembering(&["--cluster-require-full-coverage", "no"]);
    let scene = Scene::with("planned failover", cluster, &[], Crowd::TWELVE);
    let mut slowest = Duration::ZERO;
    for replica in [3, 4, 5, 0] {
        let ((), took) = timed(|| scene.cluster.take_over(replica));
        slowest = slowest.max(took);
        scene.cluster.wait_ok();
        scene.witness.wait_answered(1500);
    }
    scene.note(&format!("the slowest of 4 failovers took {} ms", slowest.as_millis()));
    let (all, ..) = scene.end();
    all.assert_unnoticed();
    let limit = slowest.as_micros() as u64 + 500_000;
    assert!(all.longest.us < limit, "{:?} with failovers of {slowest:?}", all.longest);
}

#[test]
fn twelve_clients_notice_nothing_of_a_reshard() {
    let scene = Scene::start("reshard of 300 slots", &[], Crowd::TWELVE);
    scene.cluster.reshard(0..150, 1);
    scene.cluster.reshard(0..150, 0);
    scene.witness.wait_answered(1000);
    let (all, ..) = scene.end();
    all.assert_unnoticed();
}
