//! Requests need no memory once buffers have found their size: counted by an allocator that counts, for the engine alone
//! under the loads of the bench, and for a whole worker with its sockets.

#[path = "../../benches/engine/bed.rs"]
mod bed;
mod counting;
#[allow(dead_code)]
#[path = "../../benches/engine/loads.rs"]
mod loads;
#[path = "../support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bed::Bed;
use counting::{by_all_threads, by_this_thread, Counting};
use loads::LOADS;
use redis_cluster_proxy::config::Config;
use redis_cluster_proxy::net::server;
use support::{wait_until, Cluster};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Rounds before the counted ones.
const WARM_UP: usize = 20;
/// Counted rounds.
const ROUNDS: usize = 20;

/// One test at a time, as all threads are counted.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn the_engine_allocates_nothing_for_a_request() {
    let _alone = alone();
    for load in LOADS {
        let mut bed = Bed::new(load);
        (0..WARM_UP).for_each(|_| bed.round());
        let before = by_this_thread();
        (0..ROUNDS).for_each(|_| bed.round());
        let requests = ROUNDS as u64 * bed.requests_per_round();
        assert_eq!(by_this_thread() - before, 0, "allocations in {requests} requests of {}", load.name);
    }
}

#[test]
fn an_allocation_is_counted() {
    let _alone = alone();
    let (mine, all) = (by_this_thread(), by_all_threads());
    let bytes = std::hint::black_box(vec![1u8; 100]);
    assert!(by_this_thread() > mine && by_all_threads() > all, "{}", bytes.len());
}

/// Clients that know what they send and get, and need no memory for it.
struct Crowd {
    clients: Vec<TcpStream>,
    requests: Vec<u8>,
    replies: Vec<u8>,
    got: Vec<u8>,
}

impl Crowd {
    fn new(addr: std::net::SocketAddr) -> Crowd {
        let (mut requests, mut replies) = (Vec::new(), Vec::new());
        for i in 0..16 {
            requests.extend(format!("*3\r\n$3\r\nSET\r\n$6\r\nkey:{i:02}\r\n$3\r\nxyz\r\n").bytes());
            requests.extend(format!("*2\r\n$3\r\nGET\r\n$6\r\nkey:{i:02}\r\n").bytes());
            replies.extend(b"+OK\r\n$3\r\nxyz\r\n");
        }
        requests.extend(b"*4\r\n$4\r\nMGET\r\n$6\r\nkey:01\r\n$6\r\nkey:02\r\n$6\r\nkey:03\r\n");
        replies.extend(b"*3\r\n$3\r\nxyz\r\n$3\r\nxyz\r\n$3\r\nxyz\r\n");
        let connect = |_| {
            let stream = TcpStream::connect(addr).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream
        };
        let clients = (0..8).map(connect).collect();
        let got = vec![0; replies.len()];
        Crowd { clients, requests, replies, got }
    }

    fn round(&mut self) {
        for client in &mut self.clients {
            client.write_all(&self.requests).unwrap();
        }
        for client in &mut self.clients {
            client.read_exact(&mut self.got).unwrap();
            assert!(self.got == self.replies);
        }
    }
}

#[test]
fn a_worker_allocates_nothing_for_a_request() {
    let _alone = alone();
    let cluster = Cluster::with(3, 0, &[]);
    let config = Config {
        addr: "127.0.0.1:0".into(),
        startup_nodes: cluster.nodes.iter().map(|n| format!("127.0.0.1:{}", n.port)).collect(),
        slots_reload_interval: Duration::from_secs(3600),
        workers: 1,
        ..Config::default()
    };
    let server = server::start(&Arc::new(config)).unwrap();
    let mut crowd = Crowd::new(server.addr);
    wait_until("the proxy serves", Duration::from_secs(20), || {
        let mut client = TcpStream::connect(server.addr).unwrap();
        // On two nodes, so that both are connected.
        client.write_all(b"*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$1\r\n1\r\n").unwrap();
        let mut got = [0; 3];
        client.read_exact(&mut got).is_ok() && &got == b"+OK"
    });
    (0..WARM_UP).for_each(|_| crowd.round());
    // How requests fall into turns is a matter of chance, and with it how large buffers get: one quiet time is enough.
    let quiet = || {
        let before = by_all_threads();
        (0..ROUNDS).for_each(|_| crowd.round());
        by_all_threads() == before
    };
    wait_until("no allocation in some thousand requests", Duration::from_secs(60), quiet);
    server.stop();
}
