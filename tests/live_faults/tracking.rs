//! Clients with CLIENT TRACKING that keep copies: whatever happens to nodes, none of them is wrong for good.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::frame::{body, items};
use crate::support::keys::slot;
use crate::support::wait::eventually;
use crate::support::{wait_until, Cluster, Proxy, RawClient};

const KEYS: u64 = 300;
/// How long a copy may be wrong when all is quiet again.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client that keeps a copy of each value that it has read, until it is told that it has changed.
struct Keeper {
    client: RawClient,
    copies: HashMap<Vec<u8>, Vec<u8>>,
    told: u64,
    told_all: u64,
}

impl Keeper {
    fn new(proxy: &Proxy) -> Keeper {
        let mut client = proxy.client().resp3();
        assert_eq!(client.line("CLIENT TRACKING ON"), b"+OK\r\n");
        Keeper { client, copies: HashMap::new(), told: 0, told_all: 0 }
    }

    /// The reply to a command; messages before it are heeded.
    fn call(&mut self, args: &[&str]) -> Vec<u8> {
        self.client.send_command(args);
        self.reply()
    }

    fn reply(&mut self) -> Vec<u8> {
        loop {
            let frame = self.client.frame();
            if frame[0] != b'>' {
                return frame;
            }
            let [kind, keys] = items(&frame)[..] else { panic!("{frame:?}") };
            assert_eq!(body(kind), b"invalidate");
            if keys == b"_\r\n" {
                self.told_all += 1;
                self.copies.clear();
                continue;
            }
            for key in items(keys) {
                self.told += 1;
                self.copies.remove(body(key));
            }
        }
    }

    /// Reads those of some keys that it has no copy of in one go, and keeps what it gets.
    fn read(&mut self, first: u64) {
        self.call(&["PING"]);
        let keys = (0..8).map(|i| format!("copy:{}", (first + i * 37) % KEYS));
        let keys: Vec<String> = keys.filter(|k| !self.copies.contains_key(k.as_bytes())).collect();
        for key in &keys {
            self.client.send_command(&["GET", key]);
        }
        for key in keys {
            let value = self.reply();
            if value[0] == b'$' || value[0] == b'_' {
                self.copies.insert(key.into_bytes(), value);
            }
        }
    }

    /// Copies that are not what the nodes have.
    fn wrong(&mut self, truth: &mut RawClient) -> Vec<String> {
        self.call(&["PING"]);
        let all = self.copies.iter().map(|(key, copy)| (key.clone(), copy.clone()));
        let mut wrong = Vec::new();
        for (key, copy) in all.collect::<Vec<_>>() {
            let value = truth.call(&[&b"GET"[..], &key]);
            if value != copy {
                wrong.push(format!("{}: {copy:?} is {value:?}", String::from_utf8_lossy(&key)));
            }
        }
        wrong
    }
}

/// Copies are kept and values written while `faults` happen; afterwards every copy must be what the nodes have.
fn no_copy_is_wrong_for_good(name: &str, cluster: &Cluster, faults: impl FnOnce(&dyn Fn())) {
    let proxy = Proxy::start(cluster, &["-max-procs", "2"]);
    let (stop, writes, reads) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let mut keepers: Vec<Keeper> = (0..4).map(|_| Keeper::new(&proxy)).collect();
    thread::scope(|scope| {
        for writer in 0..2 {
            let (stop, writes, mut client) = (&stop, &writes, proxy.client());
            scope.spawn(move || {
                let mut n = writer;
                while !stop.load(Ordering::Relaxed) {
                    n += 2;
                    // An error is as good as any: what counts is what the nodes have in the end.
                    client.call(&["SET", &format!("copy:{}", n * 7919 % KEYS), &n.to_string()]);
                    writes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for (i, keeper) in keepers.iter_mut().enumerate() {
            let (stop, reads) = (&stop, &reads);
            scope.spawn(move || {
                let mut n = i as u64;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    keeper.read(n * 104_729);
                    reads.fetch_add(8, Ordering::Relaxed);
                }
            });
        }
        let goes_on = || {
            let (w, r) = (writes.load(Ordering::Relaxed) + 2000, reads.load(Ordering::Relaxed) + 2000);
            wait_until("reads and writes go on", Duration::from_secs(60), || {
                writes.load(Ordering::Relaxed) >= w && reads.load(Ordering::Relaxed) >= r
            });
        };
        goes_on();
        faults(&goes_on);
        goes_on();
        stop.store(true, Ordering::Relaxed);
    });
    let mut truth = proxy.client().resp3();
    let (mut kept, mut told, mut told_all) = (0, 0, 0);
    for keeper in &mut keepers {
        let mut wrong = Vec::new();
        let all_true = eventually(PATIENCE, || {
            wrong = keeper.wrong(&mut truth);
            wrong.is_empty()
        });
        assert!(all_true, "{} of {} copies: {wrong:#?}", wrong.len(), keeper.copies.len());
        (kept, told, told_all) = (kept + keeper.copies.len(), told + keeper.told, told_all + keeper.told_all);
    }
    let (writes, reads) = (writes.into_inner(), reads.into_inner());
    println!("{name}: {writes} writes, {reads} reads, {told} messages, {told_all} that all has changed; {kept} copies, none wrong");
    assert!(told > 100 && kept > 0);
}

#[test]
fn copies_stay_true_through_failovers() {
    let cluster = Cluster::start();
    no_copy_is_wrong_for_good("planned failovers", &cluster, |goes_on| {
        for replica in [3, 4] {
            cluster.take_over(replica);
            cluster.wait_ok();
            goes_on();
        }
    });
}

#[test]
fn copies_stay_true_while_slots_move() {
    let cluster = Cluster::with(3, 0, &[]);
    no_copy_is_wrong_for_good("reshard", &cluster, |goes_on| {
        let used = (0..KEYS).map(|i| slot(&format!("copy:{i}")));
        let moving: Vec<u16> = used.filter(|slot| cluster.owner(*slot) == 0).take(60).collect();
        cluster.reshard(moving.iter().copied(), 1);
        goes_on();
        cluster.reshard(moving, 0);
    });
}

#[test]
fn copies_stay_true_when_a_primary_dies() {
    let cluster = Cluster::start();
    let slot = slot("copy:0");
    no_copy_is_wrong_for_good("a primary killed", &cluster, |goes_on| {
        let dead = cluster.owner(slot);
        cluster.nodes[dead].crash();
        cluster.wait_promoted(slot, dead);
        goes_on();
    });
}
