//! Subscriptions while nodes die, restart, change roles and pass slots on.

use std::time::Duration;

use crate::support::frame::{integer, items, request, show, text};
use crate::support::keys::{slot, tag_where};
use crate::support::{wait_until, Cluster, Proxy, RawClient};

const PATIENCE: Duration = Duration::from_secs(30);

/// How many clients of node `i` have subscribed to a channel; 0 when it is down.
fn carried(cluster: &Cluster, i: usize, question: &str) -> i64 {
    let Some(mut node) = cluster.nodes[i].try_client() else { return 0 };
    let reply = node.line(question);
    if reply.starts_with(b":") {
        return integer(&reply);
    }
    integer(items(&reply)[1])
}

/// The node that carries a channel.
fn carrier(cluster: &Cluster, channel: &str) -> usize {
    let question = format!("PUBSUB NUMSUB {channel}");
    let carriers = || (0..6).filter(|i| carried(cluster, *i, &question) > 0).collect::<Vec<_>>();
    wait_until("one node carries the channel", PATIENCE, || carriers().len() == 1);
    carriers()[0]
}

fn assert_reached(proxy: &Proxy, subscriber: &mut RawClient, channel: &str, message: &str) {
    assert!(proxy.client().line(&format!("PUBLISH {channel} {message}")).starts_with(b":"));
    assert_eq!(show(&subscriber.frame()), show(&request(&["message", channel, message])));
}

#[test]
fn subscriptions_survive_the_death_of_their_node() {
    let mut cluster = Cluster::start();
    let proxy = Proxy::start(&cluster, &["-max-procs", "1", "-retry-timeout", "20s"]);
    let mut c = proxy.client();
    c.line("SUBSCRIBE death");
    let first = carrier(&cluster, "death");
    assert_reached(&proxy, &mut c, "death", "before");
    cluster.nodes[first].kill();
    let second = carrier(&cluster, "death");
    assert_ne!(first, second);
    assert_reached(&proxy, &mut c, "death", "after");
}

#[test]
fn subscriptions_survive_a_rolling_restart() {
    let mut cluster = Cluster::start();
    let proxy = Proxy::start(&cluster, &["-max-procs", "1"]);
    let mut c = proxy.client();
    c.line("SUBSCRIBE rolling");
    for i in 0..6 {
        if cluster.primaries().contains(&i) {
            cluster.failover(cluster.replicas_of(i)[0]);
        }
        cluster.nodes[i].restart();
        cluster.wait_ok();
        carrier(&cluster, "rolling");
        assert_reached(&proxy, &mut c, "rolling", &i.to_string());
    }
}

#[test]
fn keyspace_events_come_from_all_primaries_also_after_a_failover() {
    let cluster = Cluster::with(3, 3, &["--notify-keyspace-events", "KEA"]);
    let proxy = Proxy::start(&cluster, &["-max-procs", "1"]);
    let mut c = proxy.client();
    c.line("PSUBSCRIBE __keyevent@0__:set");
    let tags: Vec<String> = (0..3).map(|third| tag_where(|s| s / 5462 == third)).collect();
    let assert_events = |c: &mut RawClient| {
        let mut other = proxy.client();
        tags.iter().for_each(|t| assert_eq!(other.call(&["SET", t, "v"]), b"+OK\r\n"));
        let mut keys: Vec<String> = c.frames(3).iter().map(|f| text(items(f)[3])).collect();
        keys.sort_unstable();
        let mut expected = tags.clone();
        expected.sort_unstable();
        assert_eq!(keys, expected);
        assert_eq!(c.line("PING"), request(&["pong", ""]), "each event comes once");
    };
    assert_events(&mut c);
    for old in [0, 1] {
        let new = cluster.replicas_of(old)[0];
        cluster.failover(new);
        wait_until("the new primary is listened to", PATIENCE, || {
            carried(&cluster, new, "PUBSUB NUMPAT") == 1
        });
        assert_events(&mut c);
    }
}

#[test]
fn a_sharded_channel_follows_its_slot() {
    let cluster = Cluster::start();
    let proxy = Proxy::start(&cluster, &["-max-procs", "1"]);
    let channel = tag_where(|s| s < 5000);
    let mut c = proxy.client();
    c.call(&["SSUBSCRIBE", &channel]);
    for to in [1, 2, 0] {
        cluster.reshard([slot(&channel)], to);
        let question = format!("PUBSUB SHARDNUMSUB {channel}");
        wait_until("the new owner carries it", PATIENCE, || carried(&cluster, to, &question) == 1);
        assert_eq!(proxy.client().call(&["SPUBLISH", &channel, "moved"]), b":1\r\n");
        assert_eq!(show(&c.frame()), show(&request(&["smessage", &channel, "moved"])));
    }
    let new = cluster.replicas_of(0)[0];
    cluster.failover(new);
    let question = format!("PUBSUB SHARDNUMSUB {channel}");
    wait_until("the new primary carries it", PATIENCE, || carried(&cluster, new, &question) == 1);
    assert_eq!(proxy.client().call(&["SPUBLISH", &channel, "promoted"]), b":1\r\n");
    assert_eq!(show(&c.frame()), show(&request(&["smessage", &channel, "promoted"])));
}

/// Messages may be lost while another node takes over, but what comes, comes once and in order.
#[test]
fn messages_come_in_order_and_never_twice_while_their_node_dies() {
    let mut cluster = Cluster::start();
    let proxy = Proxy::start(&cluster, &["-max-procs", "1"]);
    let mut c = proxy.client();
    c.line("SUBSCRIBE probe");
    let dying = carrier(&cluster, "probe");
    let channel = tag_where(|s| cluster.owner(s) != dying);
    c.call(&["SUBSCRIBE", &channel]);
    let mut publisher = proxy.client();
    let mut published = 0;
    let mut publish = |n: usize| {
        for _ in 0..n {
            published += 1;
            publisher.call(&["PUBLISH", &channel, &published.to_string()]);
        }
        published
    };
    // A node that is behind with what the others tell it repeats what the dying one has brought already.
    let mut others: Vec<RawClient> = (0..6).filter(|i| *i != dying).map(|i| cluster.client(i)).collect();
    others.iter_mut().for_each(|o| drop(o.call(&["PSUBSCRIBE", &channel])));
    publish(500);
    others.iter_mut().for_each(|o| drop(o.frames(500)));
    cluster.nodes[dying].kill();
    publish(500);
    carrier(&cluster, &channel);
    let last = publish(1);
    let mut got: Vec<u64> = Vec::new();
    while got.last() != Some(&last) {
        got.push(text(items(&c.frame())[2]).parse().unwrap());
    }
    assert!(got.windows(2).all(|w| w[0] < w[1]), "{got:?}");
    assert!(got.len() > 500, "{}", got.len());
}
