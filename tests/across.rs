//! Questions to all workers, as dialogues of several engines without sockets: each worker an engine, their caller here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redis_cluster_proxy::base::arena::Key;
use redis_cluster_proxy::base::time::Time;
use redis_cluster_proxy::cluster::{NodeInfo, ShardInfo, SlotMap, SLOTS};
use redis_cluster_proxy::config::Config;
use redis_cluster_proxy::proxy::{
    Answer, Ask, Backend, Client, Effect, Engine, Host, Intake, Question, Surroundings,
};

/// All workers of a proxy, and what travels between them.
struct Proxy {
    engines: Vec<Engine>,
    now: Time,
    /// Workers that get no messages.
    dead: Vec<usize>,
    /// Backends that engines want connected, by worker.
    connects: Vec<(usize, Key<Backend>)>,
    closed: Vec<(usize, Key<Client>)>,
    opened: u16,
}

/// A client and its worker.
type Who = (usize, Key<Client>);

impl Proxy {
    fn new(workers: usize) -> Self {
        Self::with(workers, Config::for_tests())
    }

    fn with(workers: usize, config: Config) -> Self {
        let now = Time::from_micros(5_000_000);
        let config = Arc::new(config);
        let engine = |worker| {
            let around =
                Surroundings { worker, workers, seed: 1, local_ip: None, started: now, port: 6379, pid: 7 };
            let mut engine = Engine::new(Arc::clone(&config), around, now);
            engine.set_wall(1_700_000_000_000_000);
            engine.topology(&one_primary());
            engine
        };
        let engines = (0..workers).map(engine).collect();
        Proxy { engines, now, dead: Vec::new(), connects: Vec::new(), closed: Vec::new(), opened: 0 }
    }

    fn client(&mut self, worker: usize) -> Who {
        self.opened += 1;
        let key = self.engines[worker].client_opened(SocketAddr::from(([10, 0, 0, 1], 1000 + self.opened)));
        self.engines[worker].client_reached(key, SocketAddr::from(([10, 0, 0, 9], 6379)), 30);
        (worker, key)
    }

    /// A client sends inline commands; what of them was taken in.
    fn send(&mut self, who: Who, lines: &str) -> (usize, Intake) {
        let text = lines.replace('\n', "\r\n") + "\r\n";
        let taken = self.engines[who.0].client_bytes(who.1, text.as_bytes());
        self.deliver();
        taken
    }

    /// A client sends commands, all of which are taken in; what it gets, once all is quiet.
    fn says(&mut self, who: Who, lines: &str) -> String {
        let (consumed, _) = self.send(who, lines);
        assert_eq!(consumed, lines.len() + 2 + lines.matches('\n').count(), "{lines} was not all taken in");
        self.gets(who)
    }

    fn gets(&mut self, who: Who) -> String {
        let output = self.engines[who.0].client_output(who.1).to_vec();
        self.engines[who.0].client_written(who.1, output.len());
        self.deliver();
        String::from_utf8_lossy(&output).into_owned()
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.engines.iter_mut().for_each(|e| e.tick(self.now));
        self.deliver();
    }

    /// Carries out effects until there are none.
    fn deliver(&mut self) {
        loop {
            let mut all = Vec::new();
            for (worker, engine) in self.engines.iter_mut().enumerate() {
                let mut effects = Vec::new();
                engine.take_effects(&mut effects);
                all.extend(effects.into_iter().map(|e| (worker, e)));
                engine.check_invariants();
            }
            if all.is_empty() {
                return;
            }
            for (worker, effect) in all {
                self.effect(worker, effect);
            }
        }
    }

    fn effect(&mut self, worker: usize, effect: Effect) {
        match effect {
            Effect::Ask(ask, question) => self.ask(worker, ask, &question),
            Effect::Show(to, lines) => self.engines[to].watched(&lines),
            Effect::Connect(key, _) => self.connects.push((worker, key)),
            Effect::CloseClient(key) => self.closed.push((worker, key)),
            Effect::CloseBackend(_) | Effect::Refresh(_) => {}
        }
    }

    fn ask(&mut self, from: usize, ask: Key<Ask>, question: &Question) {
        if question.wants_host() {
            let host = Host { run: 1, executable: "/bin/proxy".into(), resident_bytes: 9, ..Host::default() };
            self.engines[from].set_host(host);
            let answer = self.engines[from].question(question);
            self.engines[from].answered(ask, answer);
        }
        for to in (0..self.engines.len()).filter(|w| *w != from) {
            if !self.dead.contains(&to) {
                let answer = self.engines[to].question(question);
                self.engines[from].answered(ask, answer);
            }
        }
    }

    /// The backend that was asked for last, connected and greeted.
    fn backend(&mut self) -> (usize, Key<Backend>) {
        let (worker, key) = self.connects.pop().expect("a backend to connect");
        let engine = &mut self.engines[worker];
        engine.backend_connected(key);
        engine.backend_written(key, engine.backend_output(key).len());
        engine.backend_bytes(key, b"+OK\r\n");
        (worker, key)
    }

    fn node_gets(&mut self, (worker, key): (usize, Key<Backend>)) -> String {
        let engine = &mut self.engines[worker];
        let output = engine.backend_output(key).to_vec();
        engine.backend_written(key, output.len());
        String::from_utf8(output).unwrap()
    }

    fn node_says(&mut self, (worker, key): (usize, Key<Backend>), text: &str) {
        assert_eq!(self.engines[worker].backend_bytes(key, text.as_bytes()), text.len());
        self.deliver();
    }

    /// Nothing is left of questions, monitors and pauses.
    fn assert_at_rest(&self) {
        for engine in &self.engines {
            let h = engine.holdings();
            assert_eq!((h.asks, h.monitors, h.held, h.timers), (0, 0, 0, 0), "{h:?}");
        }
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

/// The ids in a CLIENT LIST.
fn ids(list: &str) -> Vec<u64> {
    list.split("id=").skip(1).map(|l| l.split(' ').next().unwrap().parse().unwrap()).collect()
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split([' ', '\r', '\n']).find_map(|f| f.strip_prefix(name)?.strip_prefix(['=', ':']))
}

#[test]
fn the_client_list_has_the_clients_of_all_workers_oldest_id_first() {
    for workers in [1, 3] {
        let mut p = Proxy::new(workers);
        let all: Vec<Who> = (0..7).map(|i| p.client(i % workers)).collect();
        let list = p.says(all[3], "CLIENT LIST");
        let found = ids(&list);
        assert_eq!(found.len(), 7, "{list}");
        assert!(found.is_sorted(), "{found:?}");
        let line = list.lines().find(|l| l.contains("addr=10.0.0.1:1004 ")).unwrap();
        assert!(line.contains("laddr=10.0.0.9:6379 fd=30 name= age=0 idle=0 flags=N"), "{line}");
        assert!(line.contains(" cmd=client|list user=default redir=-1 resp=2"), "{line}");
        assert_eq!(list.matches("cmd=NULL").count(), 6);
        p.assert_at_rest();
    }
}

#[test]
fn ids_are_listed_in_the_order_in_which_they_are_asked_for() {
    let mut p = Proxy::new(2);
    let (a, b) = (p.client(0), p.client(1));
    let list = p.says(a, "CLIENT LIST ID 2 1 2 99");
    assert_eq!(ids(&list), [2, 1, 2]);
    assert_eq!(p.says(b, "CLIENT LIST TYPE pubsub"), "$0\r\n\r\n");
}

#[test]
fn answers_keep_their_place_in_the_order_of_replies() {
    let mut p = Proxy::new(2);
    let a = p.client(0);
    p.client(1);
    p.send(a, "GET k\nCLIENT KILL TYPE normal\nPING");
    let node = p.backend();
    assert_eq!(p.gets(a), "", "the reply of the node is still to come");
    p.node_gets(node);
    p.node_says(node, "$1\r\nv\r\n");
    assert_eq!(p.gets(a), "$1\r\nv\r\n:1\r\n+PONG\r\n");
}

#[test]
fn clients_of_other_workers_are_killed_and_who_asks_gets_its_reply_first() {
    let mut p = Proxy::new(2);
    let (a, b, c) = (p.client(0), p.client(1), p.client(1));
    assert_eq!(p.says(a, "CLIENT KILL ADDR 10.0.0.1:1002"), ":1\r\n");
    assert_eq!(p.closed, [b]);
    assert_eq!(p.says(a, "CLIENT KILL 10.0.0.1:1002"), "-ERR No such client\r\n");
    p.send(a, "CLIENT KILL LADDR 10.0.0.9:6379 SKIPME no\nSET ignored 1");
    assert_eq!(p.closed, [b, c]);
    assert_eq!(p.gets(a), ":2\r\n");
    assert_eq!(p.closed, [b, c, a]);
    assert!(p.connects.is_empty(), "what follows the kill is not carried out");
}

#[test]
fn a_worker_that_does_not_answer_costs_a_second_and_an_error() {
    let mut p = Proxy::new(3);
    p.dead = vec![2];
    let a = p.client(0);
    assert_eq!(p.says(a, "CLIENT LIST\nPING"), "");
    p.wait(Duration::from_millis(900));
    assert_eq!(p.gets(a), "");
    p.wait(Duration::from_millis(200));
    assert_eq!(p.gets(a), "-ERR a worker of the proxy did not answer within 1000 ms\r\n+PONG\r\n");
    p.assert_at_rest();
}

#[test]
fn an_answer_that_comes_too_late_or_to_nobody_is_ignored() {
    let mut p = Proxy::new(2);
    p.dead = vec![1];
    let a = p.client(0);
    p.engines[0].client_bytes(a.1, b"CLIENT LIST\r\n");
    let mut effects = Vec::new();
    p.engines[0].take_effects(&mut effects);
    let Some(Effect::Ask(ask, _)) = effects.pop() else { panic!("a question") };
    p.engines[0].client_gone(a.1);
    p.engines[0].answered(ask, Answer::Done);
    p.engines[0].answered(ask, Answer::Done);
    p.assert_at_rest();
}

#[test]
fn replies_are_dropped_where_the_client_wants_none() {
    let mut p = Proxy::new(2);
    let a = p.client(0);
    let lines = "CLIENT REPLY SKIP\nPING\nPING a\nCLIENT REPLY OFF\nPING b\nCLIENT REPLY SKIP\nPING c\nCLIENT NOSUCH\n\
                 CLIENT LIST\nGET\nCLIENT REPLY ON\nPING d\nCLIENT REPLY SKIP\nCLIENT REPLY SKIP\nPING e\nPING f\n\
                 CLIENT REPLY SKIP\nCLIENT REPLY ON";
    assert_eq!(p.says(a, lines), "$1\r\na\r\n+OK\r\n$1\r\nd\r\n$1\r\nf\r\n+OK\r\n");
    assert_eq!(p.says(a, "CLIENT REPLY OFF\nRESET\nPING"), "+RESET\r\n+PONG\r\n");
    assert_eq!(p.says(a, "CLIENT REPLY OFF\nQUIT"), "");
    assert_eq!(p.closed, [a]);
    p.assert_at_rest();
}

#[test]
fn replies_of_nodes_are_dropped_too_and_the_commands_carried_out() {
    let mut p = Proxy::new(1);
    let a = p.client(0);
    p.send(a, "GET k1\nCLIENT REPLY SKIP\nGET k2\nGET k3\nCLIENT REPLY OFF\nGET k4\nCLIENT REPLY ON\nGET k5");
    let node = p.backend();
    assert_eq!(p.node_gets(node).matches("GET").count(), 5);
    p.node_says(node, "+1\r\n+2\r\n+3\r\n-ERR 4\r\n+5\r\n");
    assert_eq!(p.gets(a), "+1\r\n+3\r\n+OK\r\n+5\r\n");
}

#[test]
fn a_pause_holds_up_writes_of_all_workers_until_it_ends() {
    let mut p = Proxy::new(2);
    let (a, b) = (p.client(0), p.client(1));
    assert_eq!(p.says(a, "CLIENT PAUSE 1000 WRITE"), "+OK\r\n");
    assert_eq!(p.send(b, "PING\nSET k v\nPING"), (6, Intake::Paused));
    assert_eq!(p.gets(b), "+PONG\r\n");
    assert!(p.connects.is_empty());
    assert!(p
        .says(a, "CLIENT LIST")
        .contains("addr=10.0.0.1:1002 laddr=10.0.0.9:6379 fd=30 name= age=0 idle=0 flags=b"));
    p.wait(Duration::from_millis(999));
    assert!(!p.engines[1].has_ready());
    p.wait(Duration::from_millis(2));
    let mut ready = Vec::new();
    p.engines[1].take_ready(&mut ready);
    assert_eq!(ready, [b.1]);
    assert_eq!(p.says(b, "SET k v\nPING"), "");
    assert_eq!(p.connects.len(), 1);
}

#[test]
fn a_pause_of_all_commands_ends_early_by_unpause_of_writes_only() {
    let mut p = Proxy::new(2);
    let (a, b) = (p.client(0), p.client(1));
    assert_eq!(p.says(a, "CLIENT PAUSE 1000 WRITE"), "+OK\r\n");
    assert_eq!(p.send(b, "SET k v"), (0, Intake::Paused));
    assert_eq!(p.says(a, "CLIENT UNPAUSE"), "+OK\r\n");
    assert!(p.engines[1].has_ready());
    assert_eq!(p.says(a, "CLIENT PAUSE 1000"), "+OK\r\n");
    assert_eq!(p.send(a, "CLIENT UNPAUSE"), (0, Intake::Paused), "as in a server");
    assert_eq!(p.says(b, "QUIT"), "+OK\r\n");
    p.wait(Duration::from_millis(1001));
    assert_eq!(p.says(a, "PING"), "+PONG\r\n");
    p.assert_at_rest();
}

#[test]
fn a_monitor_sees_the_commands_of_all_workers_without_secrets() {
    let mut p = Proxy::new(2);
    let (m, a, b) = (p.client(0), p.client(0), p.client(1));
    assert_eq!(p.says(m, "MONITOR"), "+OK\r\n");
    p.says(a, "PING");
    p.says(b, "AUTH user secret\nHELLO 2 AUTH default secret SETNAME x\nECHO \"a\\x00\\\"\\n\\xff\"\nCLIENT NOSUCH\nCLIENT LIST");
    p.says(b, "CLIENT ID");
    let seen = p.gets(m);
    let lines: Vec<&str> = seen.lines().map(|l| l.split_once(" [0 ").unwrap().1).collect();
    assert_eq!(
        lines,
        [
            "10.0.0.1:1002] \"PING\"",
            "10.0.0.1:1003] \"AUTH\" \"(redacted)\" \"(redacted)\"",
            "10.0.0.1:1003] \"HELLO\" \"2\" \"AUTH\" \"(redacted)\" \"(redacted)\" \"SETNAME\" \"x\"",
            "10.0.0.1:1003] \"ECHO\" \"a\\x00\\\"\\n\\xff\"",
            "10.0.0.1:1003] \"CLIENT\" \"ID\"",
        ]
    );
    assert!(seen.starts_with("+1700000005.000000 [0"), "{seen}");
    p.engines[0].client_gone(m.1);
    p.deliver();
    p.says(b, "PING");
    assert!(p.engines.iter().all(|e| !e.has_output() || e.holdings().monitors == 0));
    p.assert_at_rest();
}

#[test]
fn a_monitor_that_does_not_read_is_closed_at_its_limit() {
    let mut p = Proxy::with(2, Config { client_output_limit: 2000, ..Config::for_tests() });
    let (m, b) = (p.client(0), p.client(1));
    assert_eq!(p.says(m, "MONITOR"), "+OK\r\n");
    for _ in 0..100 {
        p.says(b, "PING");
    }
    assert_eq!(p.closed, [m]);
    assert_eq!(p.engines[0].counters().output_limit_closes, 1);
    assert_eq!(p.says(b, "PING"), "+PONG\r\n");
    p.assert_at_rest();
}

#[test]
fn info_sums_workers_and_primaries() {
    let mut p = Proxy::new(2);
    let (a, b) = (p.client(0), p.client(1));
    p.says(b, "PING\nCLIENT NOSUCH");
    p.send(a, "INFO");
    let node = p.backend();
    assert_eq!(p.node_gets(node), "*1\r\n$4\r\nINFO\r\n");
    let text = "used_memory:2048\r\nmaxmemory_policy:allkeys-lru\r\ndb0:keys=3,expires=1,avg_ttl=9\r\n";
    p.node_says(node, &format!("${}\r\n{text}\r\n", text.len()));
    let info = p.gets(a);
    for (name, value) in [
        ("connected_clients", "2"),
        ("total_connections_received", "2"),
        ("total_error_replies", "1"),
        ("errorstat_ERR", "count=1"),
        ("used_memory", "2048"),
        ("used_memory_human", "2.00K"),
        ("maxmemory_policy", "allkeys-lru"),
        ("db0", "keys=3,expires=1,avg_ttl=9"),
        ("tcp_port", "6379"),
        ("executable", "/bin/proxy"),
        ("proxy_workers", "2"),
        ("proxy_used_memory_rss", "9"),
    ] {
        assert_eq!(field(&info, name), Some(value), "{name} in {info}");
    }
}

#[test]
fn info_does_not_wait_for_a_node_for_long_nor_stops_its_client() {
    let mut p = Proxy::new(2);
    let a = p.client(0);
    assert_eq!(p.says(a, "INFO keyspace\nPING"), "");
    p.wait(Duration::from_millis(1001));
    assert_eq!(p.gets(a), "$12\r\n# Keyspace\r\n\r\n+PONG\r\n");
    let node = p.backend();
    p.node_gets(node);
    assert!(p.says(a, "INFO server").contains("redis_mode:standalone"), "it asks no node");
    p.engines[0].backend_gone(node.1, "gone".into());
    for _ in 0..2 {
        p.send(a, "INFO keyspace");
        if let Some((worker, backend)) = p.connects.pop() {
            p.engines[worker].backend_gone(backend, "refused".into());
        }
        assert_eq!(p.gets(a), "$12\r\n# Keyspace\r\n\r\n", "a node that cannot be reached is not waited for");
    }
}

#[test]
fn the_cluster_view_is_one_node_at_the_address_that_the_client_reached() {
    let mut p = Proxy::new(2);
    let (a, b) = (p.client(0), p.client(1));
    let id = p.says(a, "CLUSTER MYID");
    assert_eq!(p.says(b, "CLUSTER MYID"), id, "the same on all workers");
    let id = &id[5..45];
    assert_eq!(
        p.says(a, "CLUSTER SLOTS"),
        format!("*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$8\r\n10.0.0.9\r\n:6379\r\n$40\r\n{id}\r\n*0\r\n")
    );
    let nodes = p.says(a, "CLUSTER NODES");
    assert!(
        nodes.ends_with(&format!("{id} 10.0.0.9:6379@16379 myself,master - 0 0 1 connected 0-16383\n\r\n"))
    );
    assert_eq!(p.says(a, &format!("CLUSTER REPLICAS {id}")), "*0\r\n");
}

#[test]
fn the_announced_address_is_told_to_every_client() {
    let announce_addr = Some("[2001:db8::1]:7000".to_owned());
    let mut p = Proxy::with(1, Config { announce_addr, ..Config::for_tests() });
    let a = p.client(0);
    assert!(p.says(a, "CLUSTER SLOTS").contains("$11\r\n2001:db8::1\r\n:7000\r\n"));
    assert!(p.says(a, "CLUSTER NODES").contains(" 2001:db8::1:7000@17000 "));
}
