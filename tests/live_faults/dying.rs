//! Primaries that die or freeze under the load of many clients.

use std::time::Duration;

use crate::scene::{append_only_file, prove_lost, Scene};
use crate::support::Cluster;
use crate::witness::{Crowd, Testimony};

/// What a client may hear of writes that were on their way to a node that was lost.
pub const UNKNOWN: &[&str] = &["the outcome of this command is unknown"];

/// What EXEC says after a WATCH that failed for one of these reasons.
pub const UNWATCHED: &str = "EXECABORT Transaction discarded because its keys are not watched";

/// The first good write to the lost slots follows the promotion by so much at most; the figures that are printed are to
/// be below 200 ms, and the rest is for busy machines.
const FIRST_WRITE: Duration = Duration::from_millis(1500);

pub fn lost_primary(scene: &Scene, fault: impl FnOnce(&Scene)) {
    let begin = scene.witness.mark_fault();
    fault(scene);
    let promoted = scene.promoted(3);
    let first = scene.witness.first_write(0, Duration::from_secs(30));
    let lag = first.saturating_sub(promoted);
    scene.note(&format!(
        "promoted after {} ms, first good write {} ms later",
        (promoted - begin) / 1000,
        lag as f64 / 1000.0
    ));
    assert!(lag < FIRST_WRITE.as_micros() as u64, "the first good write came {lag} us after the promotion");
    scene.witness.wait_answered(3000);
}

pub fn assert_only_what_must_be(all: &Testimony, file: &[u8]) {
    all.assert_true();
    all.assert_errors_only(UNKNOWN);
    let (lost, unproven) = prove_lost(all, file);
    eprintln!(
        "    {lost} acknowledged writes lost by the cluster's asynchronous replication, {} others",
        unproven.len()
    );
    assert!(unproven.is_empty(), "stale, and never executed: {:?}", &unproven[..unproven.len().min(3)]);
}

#[test]
fn twelve_clients_and_a_primary_that_is_killed() {
    let scene = Scene::start("SIGKILL", &[], Crowd::TWELVE);
    lost_primary(&scene, |s| s.cluster.nodes[0].crash());
    let file = append_only_file(&scene.cluster, 0);
    let (all, ..) = scene.end();
    assert_only_what_must_be(&all, &file);
}

/// A cluster that needs all slots refuses all of them from the moment when it has noticed until the promotion; one that
/// does not goes on, and so do the clients of the other shards.
#[test]
fn clients_of_other_shards_go_on_while_a_primary_is_dead() {
    let cluster = Cluster::remembering(&["--cluster-require-full-coverage", "no"]);
    let scene = Scene::with("SIGKILL, others", cluster, &[], Crowd::TWELVE);
    lost_primary(&scene, |s| s.cluster.nodes[0].crash());
    let file = append_only_file(&scene.cluster, 0);
    let (all, ..) = scene.end();
    assert_only_what_must_be(&all, &file);
    for other in &all.probes[1..] {
        assert!(other.us < 1_000_000, "a client of another shard waited: {other:?}");
    }
}

#[test]
fn twelve_clients_and_a_primary_that_freezes_and_thaws() {
    let scene = Scene::start("SIGSTOP", &[], Crowd::TWELVE);
    lost_primary(&scene, |s| s.cluster.nodes[0].pause());
    // What it holds is thrown away when it follows the new primary.
    let file = append_only_file(&scene.cluster, 0);
    scene.cluster.nodes[0].resume();
    scene.cluster.wait_ok();
    scene.witness.wait_answered(3000);
    let (all, ..) = scene.end();
    assert_only_what_must_be(&all, &file);
}
