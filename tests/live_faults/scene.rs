//! A cluster, a proxy, and clients that work before it: where scenarios play.

use std::fs;
use std::time::Duration;

use crate::support::frame::{self, show};
use crate::support::{wait_until, Cluster, Proxy};
use crate::witness::{clock_us, Crowd, Kind, Testimony, Witness};

/// How long a promotion may take in a cluster with a node timeout of two seconds, on a busy machine.
const PROMOTION: Duration = Duration::from_secs(60);

pub struct Scene {
    name: &'static str,
    pub cluster: Cluster,
    pub proxy: Proxy,
    pub witness: Witness,
}

impl Scene {
    /// Three primaries with a replica each, a proxy with two workers, and the crowd at work.
    pub fn start(name: &'static str, flags: &[&str], crowd: Crowd) -> Scene {
        Self::with(name, Cluster::remembering(&[]), flags, crowd)
    }

    pub fn with(name: &'static str, cluster: Cluster, flags: &[&str], crowd: Crowd) -> Scene {
        let all: Vec<&str> = ["-max-procs", "2"].into_iter().chain(flags.iter().copied()).collect();
        let proxy = Proxy::with_admin(&cluster, &all);
        let witness = Witness::start(proxy.port, crowd);
        witness.wait_answered(3000);
        Scene { name, cluster, proxy, witness }
    }

    /// Waits until node `i` says that it is a primary, seen by asking it alone; returns when it was seen.
    pub fn promoted(&self, i: usize) -> u64 {
        let mut direct = self.cluster.client(i);
        wait_until("the replica is promoted", PROMOTION, || {
            let reply = direct.call(&["ROLE"]);
            frame::text(frame::items(&reply)[0]) == "master"
        });
        clock_us()
    }

    /// Says a figure of this scene.
    pub fn note(&self, what: &str) {
        eprintln!("\n[{}] {what}", self.name);
    }

    /// Ends the clients, prints their figures, and compares the counters with what the servers hold.
    pub fn end(mut self) -> (Testimony, Cluster, Proxy) {
        let mut all = self.witness.stop();
        eprintln!("\n[{}] {all}", self.name);
        self.proxy.assert_alive();
        let mut client = self.proxy.client();
        for (key, acknowledged, unknown) in &all.counters {
            let reply = client.call(&["GET", key]);
            let value = frame::text(&reply).parse::<u64>().unwrap_or(0);
            if frame::is_error(&reply) || value > acknowledged + unknown {
                all.wrong.push(format!("{key} is {}, counted {acknowledged} + {unknown}", show(&reply)));
            } else if value < *acknowledged {
                all.stale.push(format!("{key} is {value}, counted {acknowledged}"));
            }
        }
        (all, self.cluster, self.proxy)
    }
}

/// Of the acknowledged writes that were not there any more: how many a dead node has in its file, so that the proxy had
/// them executed and the cluster lost them; and those that it has not.
pub fn prove_lost(all: &Testimony, file: &[u8]) -> (usize, Vec<String>) {
    let calls = |name: &str, key: &str| count(file, &format!("{name}\r\n${}\r\n{key}\r\n", key.len()));
    let has = |key: &str, number: u64, kind: Kind| match kind {
        Kind::Value => count(file, &format!("{key}={number};")) > 0,
        Kind::Counter => calls("INCR", key) >= number as usize,
        Kind::Pop => calls("LPOP", key) >= number as usize,
    };
    let (lost, unproven): (Vec<_>, Vec<_>) = all.lost.iter().partition(|l| has(&l.key, l.number, l.kind));
    (lost.len(), unproven.iter().map(|l| format!("{l:?}")).collect())
}

/// What node `i` has executed since it was started, as long as it was not made anew.
pub fn append_only_file(cluster: &Cluster, i: usize) -> Vec<u8> {
    let Ok(entries) = fs::read_dir(cluster.nodes[i].dir().join("appendonlydir")) else { return Vec::new() };
    let mut all = Vec::new();
    for entry in entries.flatten() {
        all.extend(fs::read(entry.path()).unwrap_or_default());
    }
    all
}

fn count(file: &[u8], text: &str) -> usize {
    memchr::memmem::find_iter(file, text.as_bytes()).count()
}
