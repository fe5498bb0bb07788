//! Faults of the engine that were found once, each named after its symptom: dialogues without sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redis_cluster_proxy::base::arena::Key;
use redis_cluster_proxy::base::time::Time;
use redis_cluster_proxy::cluster::{NodeInfo, ShardInfo, SlotMap, SLOTS};
use redis_cluster_proxy::config::Config;
use redis_cluster_proxy::proxy::{Backend, Client, Effect, Engine, Surroundings};

/// An engine, and a cluster of one primary that owns every slot.
struct Rig {
    engine: Engine,
    now: Time,
}

impl Rig {
    fn new(config: Config) -> Self {
        let now = Time::from_micros(1_000_000);
        let around =
            Surroundings { worker: 0, workers: 1, seed: 1, local_ip: None, started: now, port: 1, pid: 1 };
        let mut rig = Rig { engine: Engine::new(Arc::new(config), around, now), now };
        rig.engine.topology(&one_primary());
        rig
    }

    fn client(&mut self) -> Key<Client> {
        self.engine.client_opened(SocketAddr::from(([127, 0, 0, 1], 9)))
    }

    /// A client sends; the engine must take it all.
    fn send(&mut self, client: Key<Client>, text: &str) {
        assert_eq!(self.engine.client_bytes(client, text.as_bytes()).0, text.len());
    }

    /// The backend that the engine opens now, connected and greeted.
    fn backend(&mut self) -> Key<Backend> {
        let mut effects = Vec::new();
        self.engine.take_effects(&mut effects);
        let connect =
            effects.iter().find_map(|e| if let Effect::Connect(key, _) = e { Some(*key) } else { None });
        let key = connect.expect("a backend to connect");
        self.engine.backend_connected(key);
        assert!(self.written(key).starts_with("*3\r\n$6\r\nCLIENT"));
        self.engine.backend_bytes(key, b"+OK\r\n");
        key
    }

    /// What is written to a backend now, if it is on the dirty list.
    fn written(&mut self, backend: Key<Backend>) -> String {
        let mut dirty = Vec::new();
        self.engine.take_dirty_backends(&mut dirty);
        // Others must have gone since.
        assert!(dirty.iter().all(|k| *k == backend || self.engine.backend_output(*k).is_empty()));
        dirty.retain(|k| *k == backend);
        let output = self.engine.backend_output(backend).to_vec();
        self.engine.backend_written(backend, if dirty.is_empty() { 0 } else { output.len() });
        self.engine.check_invariants();
        if dirty.is_empty() {
            String::new()
        } else {
            String::from_utf8(output).unwrap()
        }
    }

    /// What is written to clients now, in the order of the dirty list.
    fn replies(&mut self) -> Vec<(Key<Client>, String)> {
        let mut dirty = Vec::new();
        self.engine.take_dirty_clients(&mut dirty);
        let mut replies = Vec::new();
        for key in dirty {
            let output = self.engine.client_output(key).to_vec();
            self.engine.client_written(key, output.len());
            replies.push((key, String::from_utf8(output).unwrap()));
        }
        replies
    }

    fn answer(&mut self, backend: Key<Backend>, text: &str) {
        assert_eq!(self.engine.backend_bytes(backend, text.as_bytes()), text.len());
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.engine.tick(self.now);
    }
}

fn one_primary() -> SlotMap {
    let addr = SocketAddr::from(([127, 0, 0, 1], 7001));
    let mut map = SlotMap::empty();
    map.nodes.push(NodeInfo { id: "a".into(), addr, name: addr.to_string() });
    map.shards.push(ShardInfo { primary: 0, replicas: Vec::new() });
    map.slots = vec![0; SLOTS];
    map
}

const GET: &str = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";

#[test]
fn a_partial_write_to_a_backend_is_no_broken_invariant() {
    let mut rig = Rig::new(Config::for_tests());
    let client = rig.client();
    rig.send(client, GET);
    let backend = rig.backend();
    let mut dirty = Vec::new();
    rig.engine.take_dirty_backends(&mut dirty);
    rig.engine.backend_written(backend, 5);
    rig.engine.check_invariants();
    rig.engine.backend_writable(backend);
    assert_eq!(rig.written(backend), GET[5..]);
}

#[test]
fn a_part_is_tried_again_although_a_client_that_waited_too_has_left() {
    let mut rig = Rig::new(Config::for_tests());
    let first = rig.client();
    rig.send(first, GET);
    let backend = rig.backend();
    assert_eq!(rig.written(backend), GET);
    rig.answer(backend, "-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
    rig.engine.client_gone(first);
    let second = rig.client();
    rig.send(second, GET);
    assert_eq!(rig.written(backend), GET);
    rig.answer(backend, "-TRYAGAIN Multiple keys request during rehashing of slot\r\n");
    rig.wait(Duration::from_millis(200));
    assert_eq!(rig.written(backend), GET);
    rig.answer(backend, "$1\r\nv\r\n");
    assert_eq!(rig.replies(), [(second, "$1\r\nv\r\n".to_owned())]);
}

#[test]
fn a_client_that_waited_long_for_a_reply_is_not_idle_when_it_comes() {
    let idle = Duration::from_secs(1);
    let mut rig = Rig::new(Config { client_idle_timeout: idle, ..Config::for_tests() });
    let client = rig.client();
    rig.send(client, GET);
    let backend = rig.backend();
    assert_eq!(rig.written(backend), GET);
    rig.wait(idle * 2);
    let looks = rig.engine.deadline().map(|t| t.since(rig.now));
    assert!(looks.is_some_and(|t| t > idle / 2), "the idle timer spins: {looks:?}");
    rig.answer(backend, "$1\r\nv\r\n");
    rig.wait(idle);
    assert_eq!(rig.replies(), [(client, "$1\r\nv\r\n".to_owned())]);
    rig.wait(idle * 2);
    assert_eq!(rig.engine.holdings().clients, 0);
}

#[test]
fn a_large_request_may_take_longer_to_send_than_a_reply_may_take() {
    let timeout = Duration::from_secs(1);
    let mut rig = Rig::new(Config { reply_timeout: timeout, ..Config::for_tests() });
    let client = rig.client();
    rig.send(client, GET);
    let backend = rig.backend();
    let mut dirty = Vec::new();
    for _ in 0..GET.len() {
        rig.wait(timeout / 2);
        rig.engine.backend_writable(backend);
        rig.engine.take_dirty_backends(&mut dirty);
        rig.engine.backend_written(backend, 1);
    }
    assert_eq!(rig.engine.counters().reply_timeouts, 0);
    rig.wait(timeout * 2);
    assert_eq!(rig.engine.counters().reply_timeouts, 1);
}

/// Two requests of one client to one key, written to one backend.
fn two_in_flight(rig: &mut Rig, first: &str, second: &str) -> (Key<Client>, Key<Backend>) {
    let client = rig.client();
    rig.send(client, first);
    rig.send(client, second);
    let backend = rig.backend();
    assert_eq!(rig.written(backend), first.to_owned() + second);
    (client, backend)
}

const SET_1: &str = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n1\r\n";
const SET_2: &str = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n2\r\n";
const TRY_AGAIN: &str = "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";

#[test]
fn a_read_is_not_repeated_behind_a_write_that_may_have_been_executed() {
    let mut rig = Rig::new(Config::for_tests());
    let (client, backend) = two_in_flight(&mut rig, GET, SET_1);
    rig.engine.backend_gone(backend, "reset".into());
    let replies = rig.replies();
    assert_eq!((replies.len(), replies[0].0), (1, client));
    assert_eq!(replies[0].1.matches("-ERR node").count(), 2, "{replies:?}");
    assert_eq!(rig.engine.holdings().parked, 0);
    let (_, backend) = two_in_flight(&mut rig, SET_1, GET);
    rig.engine.backend_gone(backend, "reset".into());
    assert_eq!(rig.engine.holdings().parked, 1);
}

#[test]
fn a_request_that_comes_back_goes_before_a_younger_one_that_waits() {
    let mut rig = Rig::new(Config::for_tests());
    let (_, first) = two_in_flight(&mut rig, SET_1, SET_2);
    rig.answer(first, "-MOVED 7629 127.0.0.1:7002\r\n");
    let second = rig.backend();
    assert_eq!(rig.written(second), SET_1);
    rig.answer(first, TRY_AGAIN);
    rig.answer(second, "-MOVED 7629 127.0.0.1:7001\r\n");
    let mut written = rig.written(first);
    rig.wait(Duration::from_millis(200));
    written += &rig.written(first);
    assert_eq!(written, SET_1.to_owned() + SET_2);
}

#[test]
fn a_request_does_not_overtake_an_older_one_that_was_sent_again() {
    let mut rig = Rig::new(Config::for_tests());
    let (_, owner) = two_in_flight(&mut rig, SET_1, SET_2);
    rig.answer(owner, "-ASK 7629 127.0.0.1:7002\r\n");
    let mut effects = Vec::new();
    rig.engine.take_effects(&mut effects);
    let refused =
        effects.iter().find_map(|e| if let Effect::Connect(key, _) = e { Some(*key) } else { None });
    rig.engine.backend_gone(refused.expect("a backend to connect"), "refused".into());
    rig.wait(Duration::from_millis(50));
    rig.wait(Duration::from_millis(50));
    assert_eq!(rig.written(owner), SET_1);
    rig.answer(owner, "-ASK 7629 127.0.0.1:7002\r\n");
    rig.answer(owner, "+OK\r\n");
    rig.wait(Duration::from_millis(200));
    assert_eq!(rig.written(owner), SET_2);
}

#[test]
fn a_redirected_request_of_a_client_that_has_gone_is_not_sent_again() {
    let mut rig = Rig::new(Config::for_tests());
    let (client, backend) = two_in_flight(&mut rig, SET_1, SET_2);
    rig.engine.client_gone(client);
    rig.answer(backend, "-MOVED 7629 127.0.0.1:7002\r\n+OK\r\n");
    assert!(!rig.engine.has_output());
    assert_eq!(rig.engine.counters().in_flight, 0);
}

#[test]
fn two_requests_that_wait_for_an_ask_target_do_not_wait_for_each_other() {
    let mut rig = Rig::new(Config::for_tests());
    let (_, owner) = two_in_flight(&mut rig, SET_1, SET_2);
    let ask = "-ASK 7629 127.0.0.1:7002\r\n";
    rig.answer(owner, ask);
    rig.answer(owner, ask);
    let mut effects = Vec::new();
    rig.engine.take_effects(&mut effects);
    let refused =
        effects.iter().find_map(|e| if let Effect::Connect(key, _) = e { Some(*key) } else { None });
    rig.engine.backend_gone(refused.expect("a backend to connect"), "refused".into());
    rig.wait(Duration::from_millis(50));
    rig.wait(Duration::from_millis(50));
    assert_eq!(rig.written(owner), SET_1.to_owned() + SET_2);
    rig.answer(owner, ask);
    rig.answer(owner, ask);
    let target = rig.backend();
    let asking = "*1\r\n$6\r\nASKING\r\n";
    assert_eq!(rig.written(target), format!("{asking}{SET_1}{asking}{SET_2}"));
}

#[test]
fn a_slot_that_moved_to_nowhere_is_served_again_by_its_published_owner() {
    let mut rig = Rig::new(Config::for_tests());
    let client = rig.client();
    rig.send(client, GET);
    let owner = rig.backend();
    assert_eq!(rig.written(owner), GET);
    rig.answer(owner, "-MOVED 7629 10.9.9.9:7000\r\n");
    let mut effects = Vec::new();
    rig.engine.take_effects(&mut effects);
    let refused =
        effects.iter().find_map(|e| if let Effect::Connect(key, _) = e { Some(*key) } else { None });
    rig.engine.backend_gone(refused.expect("a backend to connect"), "refused".into());
    rig.wait(Duration::from_millis(50));
    rig.wait(Duration::from_millis(50));
    assert_eq!(rig.written(owner), GET);
}
