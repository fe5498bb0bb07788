//! The topology thread against scripted nodes on the loopback interface.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis_cluster_proxy::cluster::{SlotMap, SLOTS};
use redis_cluster_proxy::config::Config;
use redis_cluster_proxy::net::channel;
use redis_cluster_proxy::net::mesh::{Message, WorkerHandle};
use redis_cluster_proxy::net::topology::{spawn, Hint, TopologyHandle};

/// Long enough for the slowest machine; nothing waits for it to pass but a test that fails.
const SOON: Duration = Duration::from_secs(20);

/// What a node answers to each question: CLUSTER SLOTS, CLUSTER INFO, INFO server.
type Script = Arc<Mutex<String>>;

/// A node that answers the topology thread from a script.
struct Node {
    addr: SocketAddr,
    script: Script,
    /// Questions and what was answered.
    asked: Receiver<(String, String)>,
}

impl Node {
    fn start() -> Node {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let script = Script::default();
        let (sender, asked) = channel();
        let shared = Arc::clone(&script);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (script, sender) = (Arc::clone(&shared), sender.clone());
                std::thread::spawn(move || serve(stream, &script, &sender));
            }
        });
        Node { addr, script, asked }
    }

    fn tell(&self, answer: String) {
        *self.script.lock().unwrap() = answer;
    }

    fn is_asked(&self) -> String {
        self.asked.recv_timeout(SOON).expect("a question").0
    }

    /// Changes the answer and waits until it was given.
    fn tells(&self, answer: &str) {
        self.tell(answer.to_owned());
        while self.asked.recv_timeout(SOON).expect("a question").1 != answer {}
    }
}

/// Answers and then closes the connection, as a node does with one that idles for long.
const ONCE: &str = "once ";

/// Each question ends with the words INFO server; an empty script closes the connection.
fn serve(mut stream: TcpStream, script: &Script, asked: &Sender<(String, String)>) {
    let mut question = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read) = stream.read(&mut piece) {
        if read == 0 {
            return;
        }
        question.extend_from_slice(&piece[..read]);
        if question.ends_with(b"$6\r\nserver\r\n") {
            let answer = script.lock().unwrap().clone();
            let text = answer.strip_prefix(ONCE).unwrap_or(&answer);
            let written = stream.write_all(text.as_bytes());
            let closes = text.is_empty() || text.len() < answer.len() || written.is_err();
            if closes {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
            let _ = asked.send((String::from_utf8(std::mem::take(&mut question)).unwrap(), answer));
            if closes {
                return;
            }
        }
    }
}

/// An address where nobody listens.
fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The answer of a node: `owners` share all slots evenly.
fn answer(owners: &[SocketAddr], epoch: u64) -> String {
    answer_in_state(owners, epoch, "ok")
}

fn answer_in_state(owners: &[SocketAddr], epoch: u64, state: &str) -> String {
    let mut text = format!("*{}\r\n", owners.len());
    for (index, owner) in owners.iter().enumerate() {
        let (first, end) = (index * SLOTS / owners.len(), (index + 1) * SLOTS / owners.len());
        let (host, port) = (owner.ip().to_string(), owner.port());
        text += &format!("*3\r\n:{first}\r\n:{}\r\n*2\r\n{}:{port}\r\n", end - 1, bulk(&host));
    }
    text += &bulk(&format!("cluster_state:{state}\r\ncluster_current_epoch:{epoch}\r\n"));
    text += &bulk("# Server\r\nredis_version:7.0.15\r\n");
    text
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn config(startup: &[String], interval: Duration, password: &str) -> Arc<Config> {
    Arc::new(Config {
        startup_nodes: startup.to_vec(),
        password: password.into(),
        connect_timeout: Duration::from_secs(1),
        slots_reload_interval: interval,
        ..Config::for_tests()
    })
}

/// A running topology thread and a worker that it publishes to. Stops it in the end.
struct Proxy {
    topology: TopologyHandle,
    messages: channel::Receiver<Message>,
    _poll: mio::Poll,
}

impl Proxy {
    fn start(startup: &[String], interval: Duration, password: &str) -> Proxy {
        let poll = mio::Poll::new().unwrap();
        let waker = Arc::new(mio::Waker::new(poll.registry(), mio::Token(0)).unwrap());
        let (sender, messages) = channel::channel(usize::MAX);
        let worker = WorkerHandle::new(sender, waker);
        let topology = spawn(config(startup, interval, password), vec![worker]).unwrap();
        Proxy { topology, messages, _poll: poll }
    }

    fn map(&self) -> Arc<SlotMap> {
        match self.messages.recv_within(SOON).expect("a map") {
            Message::Topology(map) => map,
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Waits until the status says so.
    fn until(&self, what: impl Fn(&redis_cluster_proxy::net::topology::TopologyStatus) -> bool) {
        let clock = redis_cluster_proxy::net::clock::Clock::new();
        let begun = clock.now();
        while !what(&self.topology.status()) {
            assert!(clock.now().since(begun) < SOON, "{:?}", self.topology.status());
            std::thread::yield_now();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.topology.stop();
    }
}

const QUICK: Duration = Duration::from_millis(100);
const NEVER: Duration = Duration::from_secs(3600);

fn primaries(map: &SlotMap) -> Vec<SocketAddr> {
    map.shards.iter().map(|s| map.nodes[usize::from(s.primary)].addr).collect()
}

#[test]
fn the_first_map_is_published_and_shown() {
    let node = Node::start();
    node.tell(answer(&[node.addr], 5));
    let proxy = Proxy::start(&[node.addr.to_string()], NEVER, "");
    let map = proxy.map();
    assert_eq!((map.covered(), map.epoch, map.software.version()), (SLOTS, 5, "7.0.15"));
    proxy.until(|s| s.refreshes == 1);
    let status = proxy.topology.status();
    assert_eq!((status.nodes, status.primaries, status.covered_slots, status.epoch), (1, 1, SLOTS, 5));
    assert!(status.is_fresh() && status.last_error.is_none() && status.failures == 0);
}

#[test]
fn a_dead_startup_node_is_passed_over() {
    let node = Node::start();
    node.tell(answer(&[node.addr], 1));
    let proxy = Proxy::start(&[nowhere().to_string(), node.addr.to_string()], NEVER, "");
    assert_eq!(primaries(&proxy.map()), [node.addr]);
}

#[test]
fn startup_nodes_that_leave_are_not_missed() {
    let (gone, stays) = (Node::start(), Node::start());
    gone.tell(answer(&[stays.addr], 1));
    stays.tell(answer(&[stays.addr], 1));
    let proxy = Proxy::start(&[gone.addr.to_string()], QUICK, "");
    proxy.map();
    gone.tell(String::new());
    let moved = nowhere();
    stays.tell(answer(&[stays.addr, moved], 2));
    assert_eq!(primaries(&proxy.map()), [stays.addr, moved]);
}

#[test]
fn when_all_known_nodes_are_gone_the_startup_nodes_are_asked_again() {
    let (startup, known) = (Node::start(), Node::start());
    startup.tell(answer(&[known.addr], 1));
    known.tell(answer(&[known.addr], 1));
    let proxy = Proxy::start(&[startup.addr.to_string()], QUICK, "");
    proxy.map();
    known.is_asked();
    startup.tell(answer(&[startup.addr], 2));
    known.tell(String::new());
    assert_eq!(primaries(&proxy.map()), [startup.addr]);
}

#[test]
fn an_equal_map_is_not_published_again() {
    let node = Node::start();
    node.tell(answer(&[node.addr], 1));
    let proxy = Proxy::start(&[node.addr.to_string()], QUICK, "");
    proxy.map();
    proxy.until(|s| s.refreshes >= 3);
    // A newer epoch alone makes no difference to anybody.
    node.tell(answer(&[node.addr], 2));
    proxy.until(|s| s.epoch == 2);
    assert!(proxy.messages.try_recv().is_err());
    let other = nowhere();
    node.tell(answer(&[node.addr, other], 3));
    assert_eq!(primaries(&proxy.map()), [node.addr, other]);
}

#[test]
fn a_hint_cuts_the_interval_short() {
    let node = Node::start();
    let other = nowhere();
    node.tell(answer(&[node.addr], 1));
    let proxy = Proxy::start(&[node.addr.to_string()], NEVER, "");
    proxy.map();
    for hint in [Hint::Moved(1), Hint::Unserved, Hint::NodeLost(node.addr)] {
        let refreshes = proxy.topology.status().refreshes;
        proxy.until(|s| s.refreshes >= 1);
        proxy.topology.hint(hint);
        proxy.until(|s| s.refreshes > refreshes);
        // Also an unchanged map is the answer to a hint: it undoes what a confused node's MOVED did to a worker.
        assert_eq!(primaries(&proxy.map()), [node.addr]);
    }
    // The lost node is watched: a later change is seen without another hint.
    node.tell(answer(&[node.addr, other], 2));
    assert_eq!(primaries(&proxy.map()), [node.addr, other]);
}

/// A node that has not heard of a failover yet tells the same as before: workers that a MOVED has led to the new primary
/// must not be led back.
#[test]
fn the_answer_of_a_node_that_lags_behind_undid_a_moved() {
    let node = Node::start();
    let other = nowhere();
    node.tell(answer(&[node.addr], 1));
    let proxy = Proxy::start(&[node.addr.to_string()], NEVER, "");
    proxy.map();
    proxy.topology.hint(Hint::Moved(1));
    proxy.until(|s| s.refreshes >= 3);
    node.tell(answer(&[node.addr, other], 2));
    assert_eq!(primaries(&proxy.map()), [node.addr, other], "the first thing that is told is new");
}

#[test]
fn a_flood_of_hints_neither_blocks_nor_floods_the_nodes() {
    let node = Node::start();
    node.tell(answer(&[node.addr], 1));
    let proxy = Proxy::start(&[node.addr.to_string()], NEVER, "");
    proxy.until(|s| s.refreshes == 1);
    for _ in 0..100_000 {
        proxy.topology.hint(Hint::Moved(7));
    }
    proxy.until(|s| s.refreshes >= 2);
    let asked = 1 + node.asked.try_iter().count();
    assert!(asked < 100, "asked {asked} times");
}

#[test]
fn a_node_cut_off_from_the_majority_is_not_believed() {
    let (good, stale) = (Node::start(), Node::start());
    let owners = [good.addr, stale.addr];
    good.tell(answer(&owners, 7));
    stale.tell(answer(&owners, 7));
    let proxy = Proxy::start(&[good.addr.to_string()], QUICK, "");
    proxy.map();
    // It is asked, doubted, and the other one is asked in its place.
    stale.tells(&answer_in_state(&[stale.addr], 6, "fail"));
    let refreshes = proxy.topology.status().refreshes;
    proxy.until(|s| s.refreshes > refreshes);
    assert!(proxy.messages.try_recv().is_err());
    assert_eq!(proxy.topology.status().failures, 0);
}

#[test]
fn the_password_goes_first_and_once_per_connection() {
    let node = Node::start();
    node.tell(format!("+OK\r\n{}", answer(&[node.addr], 1)));
    let proxy = Proxy::start(&[node.addr.to_string()], NEVER, "secret");
    proxy.map();
    assert!(node.is_asked().starts_with("*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n*2\r\n$7\r\nCLUSTER\r\n"));
    node.tell(answer(&[node.addr], 1));
    proxy.until(|s| s.refreshes == 1);
    proxy.topology.hint(Hint::Unserved);
    assert!(node.is_asked().starts_with("*2\r\n$7\r\nCLUSTER\r\n"));
    proxy.until(|s| s.refreshes >= 2);
}

#[test]
fn errors_of_nodes_are_explained() {
    let refused = |text: &str| format!("-{text}\r\n-{text}\r\n-{text}\r\n-{text}\r\n");
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    let cases = [
        ("bad", refused(wrong), "rejects the password of this proxy (check -password): WRONGPASS"),
        ("", refused("NOAUTH Authentication required."), "asks for a password, but -password is not set"),
        ("", refused("ERR This instance has cluster support disabled"), "no cluster node"),
        ("", "*0\r\n*0\r\n*0\r\n".to_owned(), "no slot that is served"),
        ("", "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(), "not RESP"),
        ("", String::new(), "closed the connection"),
    ];
    for (password, script, expected) in cases {
        let node = Node::start();
        node.tell(script);
        let proxy = Proxy::start(&[node.addr.to_string()], NEVER, password);
        proxy.until(|s| s.failures > 0);
        let error = proxy.topology.status().last_error.unwrap_or_default();
        assert!(error.contains(expected), "{error}");
        assert!(!proxy.topology.status().is_fresh());
    }
}

#[test]
fn a_node_without_a_password_is_used_all_the_same() {
    let node = Node::start();
    let no_password = "-ERR AUTH <password> called without any password configured for the default user. \
                       Are you sure your configuration is correct?\r\n";
    node.tell(format!("{no_password}{}", answer(&[node.addr], 1)));
    let proxy = Proxy::start(&[node.addr.to_string()], NEVER, "secret");
    assert_eq!(proxy.map().covered(), SLOTS);
}

#[test]
fn a_connection_closed_while_idle_is_no_failure() {
    let node = Node::start();
    node.tell(format!("{ONCE}{}", answer(&[node.addr], 1)));
    let proxy = Proxy::start(&[node.addr.to_string()], NEVER, "");
    proxy.until(|s| s.refreshes == 1);
    node.is_asked();
    proxy.topology.hint(Hint::Moved(1));
    proxy.until(|s| s.refreshes >= 2);
    assert_eq!(proxy.topology.status().failures, 0);
}

#[test]
fn host_names_are_resolved_before_they_are_published() {
    let node = Node::start();
    let port = node.addr.port();
    let slots = format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n{}:{port}\r\n", bulk("localhost"));
    node.tell(slots + &bulk("cluster_state:ok\r\n") + &bulk(""));
    let proxy = Proxy::start(&[format!("localhost:{port}"), node.addr.to_string()], NEVER, "");
    let map = proxy.map();
    assert_eq!(map.nodes[0].name, format!("localhost:{port}"));
    assert!(map.nodes[0].addr.ip().is_loopback() && map.nodes[0].addr.port() == port);
}
