//! Commands for many nodes, SCAN and scripts, as dialogues of the engine with three shards, without sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redis_cluster_proxy::base::arena::Key;
use redis_cluster_proxy::base::time::Time;
use redis_cluster_proxy::cluster::{NodeInfo, ShardInfo, SlotMap, SLOTS};
use redis_cluster_proxy::config::Config;
use redis_cluster_proxy::proxy::{Backend, Client, Effect, Engine, Surroundings};
use redis_cluster_proxy::resp::{children, Args, Limits, Parsed, RequestParser};

/// Ports of the primaries; each has a replica ten higher.
const PRIMARIES: [u16; 3] = [7001, 7002, 7003];
const REPLICAS: [u16; 3] = [7011, 7012, 7013];
/// Lowest slots of the shards.
const LOWEST: [u16; 3] = [0, 5461, 10923];

/// An engine and what its nodes were asked.
struct Rig {
    engine: Engine,
    now: Time,
    backends: BTreeMap<usize, (Key<Backend>, u16)>,
    /// Ports that refuse connections.
    down: Vec<u16>,
    /// What each node was asked and has not answered, with the backend.
    asked: BTreeMap<u16, Vec<(Key<Backend>, String)>>,
}

impl Rig {
    fn new() -> Self {
        let now = Time::from_micros(1_000_000);
        let around =
            Surroundings { worker: 0, workers: 1, seed: 1, local_ip: None, started: now, port: 1, pid: 1 };
        let engine = Engine::new(Arc::new(Config::for_tests()), around, now);
        let (backends, down, asked) = Default::default();
        let mut rig = Rig { engine, now, backends, down, asked };
        rig.engine.topology(&topology(&PRIMARIES, &REPLICAS));
        rig
    }

    fn client(&mut self) -> Key<Client> {
        self.engine.client_opened(SocketAddr::from(([127, 0, 0, 1], 9)))
    }

    /// A client sends commands, words separated by blanks; the nodes see them.
    fn send(&mut self, client: Key<Client>, commands: &[&str]) {
        let bytes = commands.iter().map(|c| request(c)).collect::<String>();
        assert_eq!(self.engine.client_bytes(client, bytes.as_bytes()).0, bytes.len());
        self.flow();
    }

    /// Carries out effects and takes what is written to nodes, until nothing is left to do.
    fn flow(&mut self) {
        loop {
            let (mut effects, mut dirty) = (Vec::new(), Vec::new());
            self.engine.take_effects(&mut effects);
            self.engine.take_dirty_backends(&mut dirty);
            if effects.is_empty() && dirty.is_empty() {
                return self.engine.check_invariants();
            }
            for effect in effects {
                match effect {
                    Effect::Connect(key, addr) if self.down.contains(&addr.port()) => {
                        self.engine.backend_gone(key, "connection refused".into());
                    }
                    Effect::Connect(key, addr) => {
                        self.backends.insert(key.index(), (key, addr.port()));
                        self.engine.backend_connected(key);
                    }
                    Effect::CloseBackend(key) | Effect::ResetBackend(key) => {
                        self.backends.remove(&key.index());
                        self.asked.values_mut().for_each(|a| a.retain(|(k, _)| *k != key));
                    }
                    Effect::Ask(..) | Effect::Show(..) => {}
                    Effect::CloseClient(_) | Effect::Refresh(_) => {}
                }
            }
            dirty.into_iter().for_each(|key| self.take_output(key));
        }
    }

    fn take_output(&mut self, key: Key<Backend>) {
        let output = self.engine.backend_output(key).to_vec();
        self.engine.backend_written(key, output.len());
        let Some((_, port)) = self.backends.get(&key.index()).copied() else { return };
        for command in commands(&output) {
            match command.split(' ').next() {
                Some("CLIENT" | "READONLY" | "HELLO") => {
                    self.engine.backend_bytes(key, b"+OK\r\n");
                }
                _ => self.asked.entry(port).or_default().push((key, command)),
            }
        }
    }

    /// What every node that was asked something was asked, oldest first.
    fn questions(&self) -> Vec<(u16, String)> {
        let of = |(port, asked): (&u16, &Vec<(Key<Backend>, String)>)| {
            asked.iter().map(|(_, c)| (*port, c.clone())).collect::<Vec<_>>()
        };
        self.asked.iter().flat_map(of).collect()
    }

    /// A node answers its oldest question; `|` stands for a line end.
    fn answer(&mut self, port: u16, reply: &str) {
        let asked = self.asked.get_mut(&port).filter(|a| !a.is_empty());
        let (key, _) = asked.unwrap_or_else(|| panic!("{port} was asked nothing")).remove(0);
        let reply = reply.replace('|', "\r\n");
        assert_eq!(self.engine.backend_bytes(key, reply.as_bytes()), reply.len());
        self.flow();
    }

    fn answer_all(&mut self, ports: &[u16], replies: &[&str]) {
        ports.iter().zip(replies).for_each(|(port, reply)| self.answer(*port, reply));
    }

    /// What a client is sent now; `|` stands for a line end.
    fn replies(&mut self, client: Key<Client>) -> String {
        let mut dirty = Vec::new();
        self.engine.take_dirty_clients(&mut dirty);
        let output = String::from_utf8(self.engine.client_output(client).to_vec()).unwrap();
        self.engine.client_written(client, output.len());
        output.replace("\r\n", "|")
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now.after(time);
        while self.now < end {
            self.now = self.now.after(Duration::from_millis(5));
            self.engine.tick(self.now);
            self.flow();
        }
    }

    /// One command whose parts are answered by these nodes; the reply.
    fn ask(&mut self, command: &str, ports: &[u16], replies: &[&str]) -> String {
        let client = self.client();
        self.send(client, &[command]);
        let questions: Vec<_> = ports.iter().map(|p| (*p, command.to_string())).collect();
        assert_eq!(self.questions(), questions);
        self.answer_all(ports, replies);
        let reply = self.replies(client);
        self.engine.client_gone(client);
        assert_eq!(self.engine.holdings().gathers, 0);
        reply
    }
}

fn topology(primaries: &[u16], replicas: &[u16]) -> SlotMap {
    let mut map = SlotMap::empty();
    for port in primaries.iter().chain(replicas) {
        let addr = SocketAddr::from(([127, 0, 0, 1], *port));
        map.nodes.push(NodeInfo { id: port.to_string(), addr, name: addr.to_string() });
    }
    for (i, port) in (0u16..).zip(primaries) {
        let index = |p: u16| map.nodes.iter().position(|n| n.addr.port() == p).unwrap() as u16;
        let replicas = replicas.iter().filter(|r| **r == port + 10).map(|r| index(*r)).collect();
        map.shards.push(ShardInfo { primary: i, replicas });
        let end = LOWEST.get(usize::from(i) + 1).map_or(SLOTS, |s| usize::from(*s));
        map.slots[usize::from(LOWEST[usize::from(i)])..end].fill(i);
    }
    map
}

fn request(command: &str) -> String {
    let words: Vec<&str> = command.split(' ').collect();
    let bulks: String = words.iter().map(|w| format!("${}\r\n{w}\r\n", w.len())).collect();
    format!("*{}\r\n{bulks}", words.len())
}

fn commands(mut bytes: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let mut parser = RequestParser::new();
        let Parsed::Request { len } = parser.parse(bytes, &Limits::default()) else {
            panic!("not whole: {}", bytes.escape_ascii())
        };
        let args = Args::new(&bytes[..len], parser.spans());
        all.push(args.iter().map(String::from_utf8_lossy).collect::<Vec<_>>().join(" "));
        bytes = &bytes[len..];
    }
    all
}

fn all_nodes() -> Vec<u16> {
    [PRIMARIES, REPLICAS].concat()
}

#[test]
fn every_primary_is_asked_before_any_answers_and_the_replies_are_merged() {
    let mut rig = Rig::new();
    assert_eq!(rig.ask("DBSIZE", &PRIMARIES, &[":1|", ":0|", ":41|"]), ":42|");
    assert_eq!(rig.ask("KEYS *", &PRIMARIES, &["*1|$1|a|", "*0|", "*2|$1|b|$1|c|"]), "*3|$1|a|$1|b|$1|c|");
    assert_eq!(rig.ask("FLUSHALL ASYNC", &PRIMARIES, &["+OK|", "+OK|", "+OK|"]), "+OK|");
    assert_eq!(rig.ask("RANDOMKEY", &PRIMARIES, &["$-1|", "$1|k|", "$-1|"]), "$1|k|");
    assert_eq!(rig.ask("RANDOMKEY", &PRIMARIES, &["$-1|", "$-1|", "$-1|"]), "$-1|");
    let exists = ["*2|:1|:1|", "*2|:1|:0|", "*2|:1|:1|"];
    assert_eq!(rig.ask("SCRIPT EXISTS a b", &PRIMARIES, &exists), "*2|:1|:0|");
}

#[test]
fn the_latency_histogram_does_not_count_what_a_replica_repeats() {
    let mut rig = Rig::new();
    let one = "*2|$3|set|*4|$5|calls|:2|$14|histogram_usec|*2|:1|:2|";
    let all = "*2|$3|set|*4|$5|calls|:6|$14|histogram_usec|*2|:1|:6|";
    assert_eq!(rig.ask("LATENCY HISTOGRAM set", &PRIMARIES, &[one; 3]), all);
}

#[test]
fn every_node_is_asked_replicas_included() {
    let mut rig = Rig::new();
    assert_eq!(rig.ask("CONFIG SET maxmemory 0", &all_nodes(), &["+OK|"; 6]), "+OK|");
    assert_eq!(rig.ask("SLOWLOG LEN", &all_nodes(), &[":1|"; 6]), ":6|");
    let empty = "*0|";
    let slow = ["*1|*2|:0|:50|", empty, "*1|*2|:7|:90|", empty, "*1|*2|:3|:70|", empty];
    assert_eq!(rig.ask("SLOWLOG GET 2", &all_nodes(), &slow), "*2|*2|:7|:90|*2|:3|:70|");
}

#[test]
fn replies_of_many_nodes_keep_their_place_in_a_pipeline() {
    let mut rig = Rig::new();
    let client = rig.client();
    rig.send(client, &["PING", "KEYS *", "ECHO x", "DBSIZE"]);
    for port in [7003, 7001, 7002] {
        rig.answer(port, "*1|$1|k|");
    }
    assert_eq!(rig.replies(client), "+PONG|*3|$1|k|$1|k|$1|k|$1|x|");
    rig.answer_all(&PRIMARIES, &[":1|"; 3]);
    assert_eq!(rig.replies(client), ":3|");
    rig.send(client, &["DBSIZE", "KEYS *"]);
    for port in PRIMARIES {
        let asked = rig.asked.get_mut(&port).unwrap();
        assert_eq!(asked.len(), 2);
        rig.answer(port, ":1|");
        if port != 7003 {
            rig.answer(port, "*0|");
        }
    }
    assert_eq!(rig.replies(client), ":3|");
    rig.answer(7003, "*1|$1|z|");
    assert_eq!(rig.replies(client), "*1|$1|z|");
}

#[test]
fn an_error_of_one_node_names_it_and_one_of_all_does_not() {
    let mut rig = Rig::new();
    let refused = ["+OK|", "-OOM command not allowed|", "+OK|"];
    assert_eq!(
        rig.ask("FLUSHALL", &PRIMARIES, &refused),
        "-ERR node 127.0.0.1:7002: OOM command not allowed|"
    );
    assert_eq!(rig.ask("FLUSHALL x", &PRIMARIES, &["-ERR syntax error|"; 3]), "-ERR syntax error|");
    let mut one = ["+OK|"; 6];
    one[4] = "-ERR no|";
    assert_eq!(rig.ask("CONFIG SET a b", &all_nodes(), &one), "-ERR node 127.0.0.1:7012: ERR no|");
    let odd = [":1|", "+OK|", ":1|"];
    assert!(rig.ask("DBSIZE", &PRIMARIES, &odd).starts_with("-ERR a node answered"));
}

#[test]
fn a_part_for_a_primary_follows_a_failover() {
    let mut rig = Rig::new();
    let client = rig.client();
    rig.down = vec![7002];
    rig.send(client, &["FLUSHALL"]);
    rig.answer_all(&[7001, 7003], &["+OK|"; 2]);
    rig.wait(Duration::from_millis(100));
    assert_eq!(rig.questions(), []);
    assert_eq!(rig.replies(client), "");
    rig.engine.topology(&topology(&[7001, 7012, 7003], &[7011, 7013]));
    rig.flow();
    assert_eq!(rig.questions(), [(7012, "FLUSHALL".to_string())]);
    rig.answer(7012, "+OK|");
    assert_eq!(rig.replies(client), "+OK|");
}

#[test]
fn a_node_that_cannot_be_reached_is_waited_for_and_then_named() {
    let mut rig = Rig::new();
    rig.down = vec![7002, 7013];
    let (keys, config) = (rig.client(), rig.client());
    rig.send(keys, &["KEYS *"]);
    rig.answer_all(&[7001, 7003], &["*0|"; 2]);
    rig.send(config, &["CONFIG RESETSTAT"]);
    rig.answer_all(&[7001, 7003, 7011, 7012], &["+OK|"; 4]);
    rig.wait(Duration::from_millis(50));
    assert_eq!((rig.replies(keys), rig.replies(config)), (String::new(), String::new()));
    rig.wait(Config::for_tests().retry_timeout + Duration::from_millis(500));
    let (keys, config) = (rig.replies(keys), rig.replies(config));
    assert!(
        keys.starts_with("-ERR node 127.0.0.1:7002: CLUSTERDOWN No node of slot 5461 could be"),
        "{keys}"
    );
    assert!(config.starts_with("-ERR node 127.0.0.1:7002 could not be reached within"), "{config}");
    assert_eq!(rig.engine.holdings().gathers, 0);
}

#[test]
fn a_write_for_all_primaries_is_never_sent_twice() {
    let mut rig = Rig::new();
    let client = rig.client();
    rig.send(client, &["FLUSHALL"]);
    rig.answer_all(&[7001, 7003], &["+OK|"; 2]);
    let (lost, _) = rig.asked[&7002][0];
    rig.engine.backend_gone(lost, "reset".into());
    rig.flow();
    rig.wait(Duration::from_millis(300));
    assert_eq!(rig.questions(), []);
    let reply = rig.replies(client);
    assert!(reply.starts_with("-ERR node 127.0.0.1:7002 was lost before it answered"), "{reply}");
    rig.send(client, &["DBSIZE"]);
    rig.answer_all(&[7001, 7003], &[":1|"; 2]);
    let (lost, _) = rig.asked[&7002][0];
    rig.engine.backend_gone(lost, "reset".into());
    rig.wait(Duration::from_millis(300));
    rig.answer(7002, ":5|");
    assert_eq!(rig.replies(client), ":7|", "what only reads is asked again");
}

#[test]
fn what_a_client_that_left_had_asked_leaves_nothing() {
    let mut rig = Rig::new();
    let client = rig.client();
    rig.send(client, &["KEYS *", "SCAN 0"]);
    rig.engine.client_gone(client);
    rig.answer(7001, "*0|");
    rig.answer(7001, "*2|$1|0|*0|");
    rig.answer_all(&[7002, 7003], &["*0|"; 2]);
    assert_eq!(rig.engine.holdings().gathers, 0);
}

#[test]
fn a_script_is_killed_from_another_connection_than_the_one_it_was_called_on() {
    let mut rig = Rig::new();
    let (caller, killer) = (rig.client(), rig.client());
    rig.send(caller, &["EVAL loop 1 {b}"]);
    let busy = rig.questions()[0].0;
    rig.wait(Duration::from_millis(10));
    rig.send(killer, &["SCRIPT KILL"]);
    let asked = &rig.asked[&busy];
    assert_eq!(asked.len(), 2);
    assert_ne!(asked[0].0, asked[1].0, "the kill waits behind the script");
    let (script, kill) = (asked[0].0, asked[1].0);
    rig.engine.backend_bytes(kill, b"+OK\r\n");
    rig.engine.backend_bytes(script, b"-ERR Error running script: killed\r\n");
    rig.asked.remove(&busy);
    for port in all_nodes().into_iter().filter(|p| *p != busy) {
        rig.answer(port, "-NOTBUSY No scripts in execution right now.|");
    }
    assert_eq!(rig.replies(killer), "+OK|");
    assert_eq!(rig.replies(caller), "-ERR Error running script: killed|");
    let idle = "-NOTBUSY No scripts in execution right now.|";
    assert_eq!(rig.ask("FUNCTION KILL", &all_nodes(), &[idle; 6]), idle);
}

#[test]
fn without_a_topology_there_is_an_error() {
    let now = Time::from_micros(1);
    let around =
        Surroundings { worker: 0, workers: 1, seed: 1, local_ip: None, started: now, port: 1, pid: 1 };
    let mut engine = Engine::new(Arc::new(Config::for_tests()), around, now);
    let client = engine.client_opened(SocketAddr::from(([127, 0, 0, 1], 9)));
    for command in ["KEYS *", "CONFIG RESETSTAT", "SCAN 0", "SCAN 16384"] {
        engine.client_bytes(client, request(command).as_bytes());
        let reply = engine.client_output(client).to_vec();
        engine.client_written(client, reply.len());
        assert!(reply.starts_with(b"-CLUSTERDOWN"), "{command}: {}", reply.escape_ascii());
    }
}

#[test]
fn a_scan_walks_all_shards_with_its_state_in_the_cursor() {
    let mut rig = Rig::new();
    let mut cursor = "0".to_string();
    let steps = [
        (7001, "0", "9", 9 << 14),
        (7001, "9", "0", 5461),
        (7002, "0", "417", (417 << 14) + 5461),
        (7002, "417", "0", 10923),
        (7003, "0", "0", 0),
    ];
    for (port, asked, node_cursor, next) in steps {
        let client = rig.client();
        rig.send(client, &[&format!("SCAN {cursor} MATCH * COUNT 2")]);
        assert_eq!(rig.questions(), [(port, format!("SCAN {asked} MATCH * COUNT 2"))]);
        rig.answer(port, &format!("*2|${}|{node_cursor}|*2|$1|k|$1|l|", node_cursor.len()));
        cursor = next.to_string();
        assert_eq!(rig.replies(client), format!("*2|${}|{cursor}|*2|$1|k|$1|l|", cursor.len()));
    }
}

#[test]
fn one_step_of_a_scan_goes_on_with_further_shards_up_to_its_count() {
    let mut rig = Rig::new();
    let client = rig.client();
    rig.send(client, &["SCAN 0 COUNT 3", "PING"]);
    rig.answer(7001, "*2|$1|0|*2|$1|a|$1|b|");
    assert_eq!(rig.questions(), [(7002, "SCAN 0 COUNT 3".to_string())]);
    rig.answer(7002, "*2|$1|0|*1|$1|c|");
    assert_eq!(rig.replies(client), "*2|$5|10923|*3|$1|a|$1|b|$1|c|+PONG|");
    rig.send(client, &["SCAN 0"]);
    rig.answer(7001, "*2|$1|0|*0|");
    rig.answer(7002, "*2|$1|0|*1|$1|c|");
    rig.answer(7003, "*2|$1|0|*0|");
    assert_eq!(rig.replies(client), "*2|$1|0|*1|$1|c|");
    rig.send(client, &["SCAN 0"]);
    rig.answer(7001, "*2|$1|0|*1|$1|a|");
    rig.answer(7002, "-ERR broken|");
    assert_eq!(rig.replies(client), "-ERR broken|");
    rig.send(client, &["SCAN 0"]);
    rig.answer(7001, "*2|$1|0|*1|$1|a|");
    rig.engine.client_gone(client);
    rig.answer(7002, "*2|$1|0|*0|");
    assert_eq!(rig.questions(), []);
    assert_eq!(rig.engine.holdings().gathers, 0);
}

#[test]
fn a_scan_goes_on_where_its_slot_is_now() {
    let mut rig = Rig::new();
    let client = rig.client();
    rig.engine.topology(&topology(&[7001, 7012, 7003], &[7011, 7013]));
    let cursor = (417 << 14) + 5461;
    rig.send(client, &[&format!("SCAN {cursor} COUNT 1")]);
    assert_eq!(rig.questions(), [(7012, "SCAN 417 COUNT 1".to_string())]);
    rig.answer(7012, "*2|$1|0|*1|$1|k|");
    assert_eq!(rig.replies(client), "*2|$5|10923|*1|$1|k|");
}

#[test]
fn a_pattern_with_a_tag_asks_only_the_owner_of_its_slot() {
    let mut rig = Rig::new();
    // Slot 3300 and slot 15495.
    for (pattern, port, slot) in [("{b}*", 7001, 3300), ("x{a}y?", 7003, 15495)] {
        let client = rig.client();
        rig.send(client, &[&format!("SCAN 0 COUNT 5 MATCH {pattern}")]);
        assert_eq!(rig.questions(), [(port, format!("SCAN 0 COUNT 5 MATCH {pattern}"))]);
        rig.answer(port, "*2|$2|16|*0|");
        let cursor = (16 << 14) + slot;
        assert_eq!(rig.replies(client), format!("*2|$6|{cursor}|*0|"));
        rig.send(client, &[&format!("SCAN {cursor} MATCH {pattern}")]);
        assert_eq!(rig.questions(), [(port, format!("SCAN 16 MATCH {pattern}"))]);
        rig.answer(port, "*2|$1|0|*0|");
        assert_eq!(rig.replies(client), "*2|$1|0|*0|");
    }
}

#[test]
fn bad_cursors_and_cursors_that_do_not_fit_are_errors() {
    let mut rig = Rig::new();
    let client = rig.client();
    for cursor in ["-1", "abc", "1x", "18446744073709551616"] {
        rig.send(client, &[&format!("SCAN {cursor} nonsense")]);
        assert_eq!(rig.replies(client), "-ERR invalid cursor|");
    }
    let largest = (1u64 << 49) - 1;
    rig.send(client, &["SCAN 0"]);
    rig.answer(7001, &format!("*2|$15|{largest}|*0|"));
    let reply = rig.replies(client);
    let cursor: u64 = reply.split('|').nth(2).unwrap().parse().unwrap();
    assert!(cursor < 1 << 63);
    rig.send(client, &[&format!("SCAN {cursor}")]);
    assert_eq!(rig.questions(), [(7001, format!("SCAN {largest}"))]);
    rig.answer(7001, &format!("*2|$15|{}|*0|", largest + 1));
    assert!(rig.replies(client).starts_with("-ERR the cursor 562949953421312 of a node is too large"));
    rig.send(client, &["SCAN 0 foo"]);
    rig.answer(7001, "-ERR syntax error|");
    assert_eq!(rig.replies(client), "-ERR syntax error|");
}

/// The name of the script `x`.
const X: &str = "11f6ad8ec52a2984abaafd7c3b516503785c2072";

#[test]
fn a_script_is_loaded_where_it_is_called_first() {
    let mut rig = Rig::new();
    let client = rig.client();
    rig.send(client, &["EVAL x 1 {b}", &format!("EVALSHA {X} 1 {{a}}"), "GET {a}"]);
    let want = [
        (7001, "EVAL x 1 {b}".to_string()),
        (7003, "SCRIPT LOAD x".to_string()),
        (7003, format!("EVALSHA {X} 1 {{a}}")),
        (7003, "GET {a}".to_string()),
    ];
    assert_eq!(rig.questions(), want);
    rig.answer(7001, ":1|");
    rig.answer_all(&[7003; 3], &[&format!("$40|{X}|"), ":2|", "$1|v|"]);
    assert_eq!(rig.replies(client), ":1|:2|$1|v|");
    rig.send(client, &[&format!("evalsha {} 1 {{a}}", X.to_uppercase())]);
    assert_eq!(rig.questions().len(), 1, "loaded once");
    rig.answer(7003, ":2|");
}

#[test]
fn a_script_is_loaded_before_the_transaction_that_calls_it() {
    let mut rig = Rig::new();
    let client = rig.client();
    rig.ask("SCRIPT LOAD x", &PRIMARIES, &["+x|"; 3]);
    let call = format!("EVALSHA {X} 1 {{a}}");
    rig.send(client, &["MULTI", "GET {a}", &call, "EXEC"]);
    let asked: Vec<String> = rig.questions().into_iter().map(|(_, command)| command).collect();
    assert_eq!(asked, ["SCRIPT LOAD x", "MULTI", "GET {a}", &call, "EXEC"]);
    rig.answer_all(&[7003; 5], &["+x|", "+OK|", "+QUEUED|", "+QUEUED|", "*2|$1|v|:1|"]);
    assert_eq!(rig.replies(client), "+OK|+QUEUED|+QUEUED|*2|$1|v|:1|");
}

#[test]
fn a_script_that_a_transaction_ran_is_found_by_its_name_on_another_node() {
    let mut rig = Rig::new();
    let client = rig.client();
    let call = format!("EVALSHA {X} 1 {{a}}");
    rig.send(client, &["MULTI", "EVAL x 1 {b}", "EXEC", "MULTI", &call, "EXEC"]);
    let there: Vec<String> =
        rig.questions().into_iter().filter(|(port, _)| *port == 7003).map(|(_, command)| command).collect();
    assert_eq!(there, ["SCRIPT LOAD x", "MULTI", &call, "EXEC"]);
    rig.answer_all(&[7001; 3], &["+OK|", "+QUEUED|", "*1|:1|"]);
    rig.answer_all(&[7003; 4], &["+x|", "+OK|", "+QUEUED|", "*1|:2|"]);
    assert_eq!(rig.replies(client), "+OK|+QUEUED|*1|:1|+OK|+QUEUED|*1|:2|");
}

#[test]
fn a_script_of_a_transaction_that_was_discarded_is_not_remembered() {
    let mut rig = Rig::new();
    let client = rig.client();
    rig.send(client, &["MULTI", "EVAL x 1 {b}", "DISCARD", &format!("EVALSHA {X} 1 {{a}}")]);
    assert_eq!(rig.questions(), [(7003, format!("EVALSHA {X} 1 {{a}}"))]);
    rig.answer(7003, "-NOSCRIPT No matching script.|");
    assert_eq!(rig.replies(client), "+OK|+QUEUED|+OK|-NOSCRIPT No matching script.|");
}

#[test]
fn a_read_is_not_repeated_when_a_flush_behind_it_may_have_been_executed() {
    let mut rig = Rig::new();
    let client = rig.client();
    rig.send(client, &["GET {b}", "FLUSHALL", "DBSIZE"]);
    rig.answer_all(&[7002, 7002, 7003, 7003], &["+OK|", ":0|", "+OK|", ":0|"]);
    let (lost, _) = rig.asked[&7001][0];
    rig.engine.backend_gone(lost, "reset".into());
    rig.wait(Duration::from_millis(300));
    assert_eq!(rig.questions(), [(7001, "DBSIZE".to_string())]);
    rig.answer(7001, ":0|");
    let reply = rig.replies(client);
    assert_eq!(reply.matches("the outcome of this command is unknown").count(), 2, "{reply}");
    assert!(reply.ends_with(":0|"));
}

#[test]
fn an_unknown_script_is_an_error_of_the_server() {
    let mut rig = Rig::new();
    let client = rig.client();
    let error = "-NOSCRIPT No matching script. Please use EVAL.|";
    rig.send(client, &[&format!("EVALSHA {X} 1 {{a}}")]);
    rig.answer(7003, error);
    assert_eq!(rig.replies(client), error);
    rig.send(client, &["EVAL x 0"]);
    let (port, _) = rig.questions()[0].clone();
    rig.answer(port, "-ERR Error compiling script (new function): x|");
    rig.replies(client);
    rig.send(client, &[&format!("EVALSHA {X} 1 {{a}}")]);
    assert_eq!(rig.questions().len(), 1, "what is no script is not loaded");
    rig.answer(7003, error);
    assert_eq!(rig.replies(client), error);
}

#[test]
fn a_node_that_lost_its_scripts_is_told_again_unless_a_later_command_would_be_overtaken() {
    let mut rig = Rig::new();
    let client = rig.client();
    let (call, error) = (format!("EVALSHA {X} 1 {{a}}"), "-NOSCRIPT No matching script.|");
    rig.send(client, &["EVAL x 1 {a}", &call]);
    rig.answer_all(&[7003; 3], &[":1|", "+x|", ":1|"]);
    rig.replies(client);
    rig.send(client, &[&call]);
    rig.answer(7003, error);
    assert_eq!(rig.questions(), [(7003, "SCRIPT LOAD x".to_string()), (7003, call.clone())]);
    rig.answer_all(&[7003; 2], &["+x|", ":1|"]);
    assert_eq!(rig.replies(client), ":1|");
    rig.send(client, &[&call, "GET {a}"]);
    rig.answer_all(&[7003; 2], &[error, "$1|v|"]);
    assert_eq!(rig.replies(client), format!("{error}$1|v|"));
    rig.send(client, &[&call]);
    assert_eq!(rig.questions().len(), 2, "loaded again the next time");
}

#[test]
fn scripts_are_forgotten_with_script_flush_and_known_ones_exist() {
    let mut rig = Rig::new();
    let none = "*1|:0|";
    let exists = format!("SCRIPT EXISTS {X}");
    assert_eq!(rig.ask(&exists, &PRIMARIES, &[none; 3]), none);
    assert_eq!(rig.ask("SCRIPT LOAD x", &PRIMARIES, &["+x|"; 3]), "+x|");
    assert_eq!(rig.ask(&exists, &PRIMARIES, &["*1|:1|", none, none]), "*1|:1|");
    assert_eq!(rig.ask("SCRIPT FLUSH", &PRIMARIES, &["+OK|"; 3]), "+OK|");
    assert_eq!(rig.ask(&exists, &PRIMARIES, &["*1|:1|", none, none]), none);
    let error = "-ERR Error compiling script x|";
    assert_eq!(rig.ask("SCRIPT LOAD x", &PRIMARIES, &[error; 3]), error);
    assert_eq!(rig.ask(&exists, &PRIMARIES, &[none; 3]), none);
}

#[test]
fn a_new_primary_gets_a_script_before_it_is_called() {
    let mut rig = Rig::new();
    let client = rig.client();
    rig.ask("SCRIPT LOAD x", &PRIMARIES, &["+x|"; 3]);
    rig.engine.topology(&topology(&[7001, 7002, 7013], &[7011, 7012]));
    rig.send(client, &[&format!("EVALSHA {X} 1 {{a}}")]);
    let want = [(7013, "SCRIPT LOAD x".to_string()), (7013, format!("EVALSHA {X} 1 {{a}}"))];
    assert_eq!(rig.questions(), want);
    rig.answer(7013, "+x|");
    rig.answer(7013, ":1|");
    assert_eq!(rig.replies(client), ":1|");
}

#[test]
fn the_joint_reply_is_one_whole_frame() {
    let mut rig = Rig::new();
    let many: String =
        std::iter::once("*3000|".to_string()).chain((0..3000).map(|i| format!("$4|{i:04}|"))).collect();
    let reply = rig.ask("KEYS *", &PRIMARIES, &[&many, "*0|", &many]).replace('|', "\r\n");
    let elements: Vec<&[u8]> = children(reply.as_bytes()).unwrap().collect();
    assert_eq!(elements.len(), 6000);
    assert_eq!(elements.concat().len() + b"*6000\r\n".len(), reply.len());
}

/// What a node says of a module's command with its key as argument 1.
const KEYED: &str = "*1|*10|$7|mod.get|:-2|*2|+readonly|+fast|:1|:1|:1|*0|*0|*0|*0|";

#[test]
fn a_command_of_a_module_is_asked_for_once_and_then_routed_by_its_keys() {
    let mut rig = Rig::new();
    let (a, b) = (rig.client(), rig.client());
    let bytes = request("MOD.GET {b}") + &request("PING");
    let (taken, _) = rig.engine.client_bytes(a, bytes.as_bytes());
    assert_eq!(taken, 0, "it waits");
    let (taken, _) = rig.engine.client_bytes(b, request("mod.get x").as_bytes());
    assert_eq!(taken, 0);
    rig.flow();
    let [(port, asked)] = &rig.questions()[..] else { panic!("{:?}", rig.questions()) };
    assert_eq!(asked, "COMMAND INFO mod.get");
    rig.answer(*port, KEYED);
    let mut ready = Vec::new();
    rig.engine.take_ready(&mut ready);
    assert_eq!(ready, [a, b]);
    assert_eq!(rig.engine.client_bytes(a, bytes.as_bytes()).0, bytes.len());
    rig.flow();
    let slot = redis_cluster_proxy::command::slot(b"b");
    let owner = PRIMARIES[LOWEST.iter().rposition(|lowest| slot >= *lowest).unwrap()];
    assert_eq!(rig.questions(), [(owner, "MOD.GET {b}".to_string())]);
    rig.answer(owner, "$1|v|");
    assert_eq!(rig.replies(a), "$1|v|+PONG|");
    rig.send(a, &["MOD.GET", "MULTI", "MOD.GET {b}", "MOD.GET {a}", "EXEC"]);
    assert_eq!(
        rig.replies(a),
        "-ERR wrong number of arguments for 'mod.get' command|+OK|+QUEUED|\
         -CROSSSLOT Keys in request don't hash to the same slot|\
         -EXECABORT Transaction discarded because of previous errors.|"
    );
    assert_eq!(rig.questions(), []);
}

#[test]
fn a_command_that_the_cluster_does_not_know_is_asked_for_again_after_a_while() {
    let mut rig = Rig::new();
    for _ in 0..2 {
        let client = rig.client();
        let bytes = request("NOSUCH x");
        assert_eq!(rig.engine.client_bytes(client, bytes.as_bytes()).0, 0);
        rig.flow();
        let (port, asked) = rig.questions()[0].clone();
        assert_eq!(asked, "COMMAND INFO nosuch");
        rig.answer(port, "*1|*-1|");
        rig.send(client, &["NOSUCH x"]);
        assert_eq!(rig.replies(client), "-ERR unknown command 'NOSUCH', with args beginning with: 'x' |");
        rig.wait(Duration::from_millis(5100));
        assert_eq!(rig.questions(), []);
    }
}

#[test]
fn a_lookup_whose_node_is_lost_is_sent_again() {
    let mut rig = Rig::new();
    let client = rig.client();
    rig.engine.client_bytes(client, request("MOD.GET {b}").as_bytes());
    rig.flow();
    let port = rig.questions()[0].0;
    let (lost, _) = rig.asked[&port][0];
    rig.engine.backend_gone(lost, "reset".into());
    rig.asked.clear();
    rig.wait(Duration::from_millis(200));
    let (port, asked) = rig.questions()[0].clone();
    assert_eq!(asked, "COMMAND INFO mod.get");
    rig.answer(port, KEYED);
    rig.send(client, &["MOD.GET {b}"]);
    assert_eq!(rig.questions()[0].1, "MOD.GET {b}");
}
