//! Questions to all workers, as dialogues of several engines without sockets: each worker an engine, their caller here.

mod info;
mod rig;

use std::time::Duration;

use redis_cluster_proxy::config::Config;
use redis_cluster_proxy::proxy::{Answer, Effect, Intake};

use rig::{ids, Proxy, Who};

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

/// They wait for the same nodes.
#[test]
fn a_client_of_another_worker_is_company_for_one_that_pipelines() {
    let mut p = Proxy::new(2);
    let (flood, other) = (p.client(0), p.client(1));
    let gets = vec!["GET k"; 5000].join("\n");
    p.wait(Duration::from_millis(1));
    p.says(other, "PING");
    p.wait(Duration::from_millis(99));
    assert_eq!(p.send(flood, &gets), (48 * "GET k\r\n".len(), Intake::Paused));
    p.wait(Duration::from_millis(1));
    let later = p.client(0);
    let (taken, _) = p.send(later, &gets);
    assert_eq!(taken, 512 * "GET k\r\n".len(), "nobody else has asked for a while: all that a turn takes");
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
fn a_transaction_that_only_reads_is_not_held_up_by_a_pause_of_writes() {
    let mut p = Proxy::new(2);
    let (a, b, c) = (p.client(0), p.client(1), p.client(1));
    assert_eq!(p.says(c, "MULTI\nSET k v"), "+OK\r\n+QUEUED\r\n");
    assert_eq!(p.says(a, "CLIENT PAUSE 1000 WRITE"), "+OK\r\n");
    assert_eq!(p.says(b, "MULTI\nGET k\nEXEC"), "+OK\r\n+QUEUED\r\n");
    let node = p.backend();
    assert!(p.node_gets(node).ends_with("*1\r\n$4\r\nEXEC\r\n"));
    p.node_says(node, "+OK\r\n+QUEUED\r\n*1\r\n$1\r\nv\r\n");
    assert_eq!(p.gets(b), "*1\r\n$1\r\nv\r\n");
    assert_eq!(p.send(c, "EXEC"), (0, Intake::Paused), "it writes");
    assert_eq!(p.says(a, "CLIENT UNPAUSE"), "+OK\r\n");
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
fn the_client_list_shows_what_a_slow_client_has_not_taken() {
    let mut p = Proxy::new(2);
    let (slow, b) = (p.client(0), p.client(1));
    let echo = format!("ECHO {}", "x".repeat(10_000));
    for (echoes, shown) in [(1, "obl=10010 oll=0 omem=0"), (3, "obl=16384 oll=2 omem=23656")] {
        for _ in 0..echoes {
            p.send(slow, &echo);
        }
        let list = p.says(b, "CLIENT LIST");
        assert!(list.lines().any(|l| l.contains("addr=10.0.0.1:1001 ") && l.contains(shown)), "{list}");
    }
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

#[test]
fn publish_and_pubsub_count_the_subscribers_of_all_workers() {
    let mut p = Proxy::new(3);
    let subscribers = [p.client(0), p.client(0), p.client(1)];
    let publisher = p.client(2);
    for who in subscribers {
        let mut got = p.says(who, "SUBSCRIBE news");
        if let Some((worker, listener)) = p.connects.pop() {
            p.greet_listener((worker, listener));
            p.node_says((worker, listener), ">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
        }
        got.push_str(&p.gets(who));
        assert_eq!(got, "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    }
    assert_eq!(p.says(publisher, "PUBLISH news x"), "");
    let node = p.backend();
    p.node_gets(node);
    p.node_says(node, ":2\r\n");
    assert_eq!(p.gets(publisher), ":3\r\n");
    p.engines[1].client_gone(subscribers[2].1);
    p.says(subscribers[0], "UNSUBSCRIBE news");
    assert_eq!(p.says(publisher, "PUBSUB NUMSUB news"), "*2\r\n$4\r\nnews\r\n:1\r\n");
    p.says(publisher, "PUBLISH news x");
    p.node_gets(node);
    p.node_says(node, ":2\r\n");
    assert_eq!(p.gets(publisher), ":1\r\n");
}
