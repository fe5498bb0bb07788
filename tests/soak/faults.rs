//! What fails, in turn.

use std::time::Duration;

use crate::support::wait::let_pass;
use crate::support::{wait_until, Cluster};

/// How long a node stands still: longer than the cluster waits for it.
const STALL: Duration = Duration::from_secs(4);

#[derive(Debug, Default)]
pub struct Faults {
    counts: [u64; 5],
}

impl Faults {
    /// The fault of this round; the cluster is whole before it.
    pub fn next(&mut self, cluster: &mut Cluster, round: u64) {
        cluster.wait_ok();
        let kind = (round % 5) as usize;
        self.counts[kind] += 1;
        let primaries = cluster.primaries();
        let primary = primaries[round as usize / 5 % primaries.len()];
        match kind {
            0 => fail_over(cluster, primary),
            1 => {
                cluster.nodes[primary].kill();
                cluster.nodes[primary].restart();
            }
            2 => {
                let first = (round * 997 % 16000) as u16;
                cluster.reshard(first..first + 100, primary);
            }
            3 => {
                cluster.nodes[primary].pause();
                let_pass(STALL);
                cluster.nodes[primary].resume();
            }
            _ => {
                for node in &cluster.nodes {
                    node.call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
                    node.call(&["CLIENT", "KILL", "TYPE", "pubsub"]);
                }
            }
        }
    }

    pub fn told(&self) -> String {
        let [failovers, restarts, reshards, stalls, kills] = self.counts;
        format!("{failovers} failovers, {restarts} kills, {reshards} reshards, {stalls} stalls, {kills} times all connections")
    }
}

fn fail_over(cluster: &Cluster, primary: usize) {
    wait_until("the primary has a replica", Duration::from_secs(60), || {
        !cluster.replicas_of(primary).is_empty()
    });
    cluster.failover(cluster.replicas_of(primary)[0]);
}
