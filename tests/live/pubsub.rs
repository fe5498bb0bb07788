//! Publish and subscribe: the bytes of a server, however many clients share a subscription.

use std::time::Duration;

use crate::support::frame::{integer, items, request, show, text};
use crate::support::{wait_until, Proxy, RawClient};
use crate::{client, fixture, pair};

/// How many connections to nodes have subscribed to a channel.
fn carried(channel: &str) -> i64 {
    let count =
        |i: usize| integer(items(&fixture().cluster.client(i).line(&format!("PUBSUB NUMSUB {channel}")))[1]);
    (0..fixture().cluster.nodes.len()).map(count).sum()
}

fn push(words: &[&str]) -> Vec<u8> {
    [b">", &request(words)[1..]].concat()
}

#[test]
fn subscribers_get_the_bytes_of_a_server() {
    for hello in ["HELLO 2", "HELLO 3"] {
        let mut p = pair();
        let _ = (p.proxy.line(hello), p.server.line(hello));
        for line in [
            "UNSUBSCRIBE",
            "PUNSUBSCRIBE",
            "SUNSUBSCRIBE",
            "UNSUBSCRIBE bytes:x",
            "PUNSUBSCRIBE x",
            "SUNSUBSCRIBE x",
            "SUBSCRIBE bytes:a",
            "SUBSCRIBE bytes:a",
            "PSUBSCRIBE bytes:p*",
            "SSUBSCRIBE bytes:s",
            "PING",
            "PING x",
            "PING x y",
            "SUBSCRIBE",
            "nosuch a",
            "PUNSUBSCRIBE bytes:p*",
            "SUNSUBSCRIBE",
            "UNSUBSCRIBE bytes:x",
            "UNSUBSCRIBE",
            "PING",
            "SUBSCRIBE bytes:b",
            "PUNSUBSCRIBE",
            "RESET",
            "PING",
            "SSUBSCRIBE bytes:s",
        ] {
            p.same_line(line);
        }
        p.same_and_closed(
            &[request(&["SSUBSCRIBE", "bytes:s"]), request(&["QUIT"]), request(&["PING"])].concat(),
        );
    }
}

#[test]
fn a_resp2_subscriber_is_refused_what_a_server_refuses() {
    let mut p = pair();
    let lines = [
        "SUBSCRIBE few:a",
        "GET k",
        "CONFIG GET x",
        "CLIENT ID",
        "HELLO 3",
        "PUBLISH few:a x",
        "ECHO x",
        "MULTI",
    ];
    for line in lines {
        p.same_line(line);
    }
    p.same_and_alive(
        &["SET k v", "UNSUBSCRIBE few:a"].map(|l| request(&l.split(' ').collect::<Vec<_>>())).concat(),
    );
}

#[test]
fn a_confirmed_subscriber_gets_what_anybody_publishes_anywhere() {
    let mut c = client();
    assert!(c.line("SUBSCRIBE anywhere").starts_with(b"*3\r\n"));
    for i in 0..6 {
        fixture().cluster.client(i).line(&format!("PUBLISH anywhere {i}"));
        assert_eq!(show(&c.frame()), show(&request(&["message", "anywhere", &i.to_string()])));
    }
    client().line("PUBLISH anywhere proxy");
    assert_eq!(show(&c.frame()), show(&request(&["message", "anywhere", "proxy"])));
}

#[test]
fn messages_of_one_client_come_in_order() {
    let (mut c, mut publisher) = (client().resp3(), client());
    c.line("SUBSCRIBE order");
    let texts: Vec<String> = (0..2000).map(|i| i.to_string()).collect();
    publisher.send(&texts.iter().flat_map(|t| request(&["PUBLISH", "order", t])).collect::<Vec<u8>>());
    publisher.frames(texts.len());
    for t in &texts {
        assert_eq!(show(&c.frame()), show(&push(&["message", "order", t])));
    }
}

#[test]
fn a_message_comes_once_for_the_channel_and_once_for_each_pattern() {
    let mut c = client();
    c.line("SUBSCRIBE twice:a");
    c.line("PSUBSCRIBE twice:*");
    // Carried by every primary, as it may match keyspace events.
    c.line("PSUBSCRIBE *wice:a");
    client().line("PUBLISH twice:a x");
    let mut got: Vec<String> = c.frames(3).iter().map(|f| text(items(f)[1])).collect();
    got.sort_unstable();
    assert_eq!(got, ["*wice:a", "twice:*", "twice:a"]);
    assert_eq!(c.line("PING"), request(&["pong", ""]));
}

#[test]
fn sharded_channels_work_also_of_several_slots() {
    let mut c = client();
    assert!(c.line("SSUBSCRIBE {shard}a {shard}b").starts_with(b"*3\r\n"));
    c.frame();
    assert_eq!(client().line("SPUBLISH {shard}b x"), b":1\r\n");
    assert_eq!(show(&c.frame()), show(&request(&["smessage", "{shard}b", "x"])));
    // As one server has them. redis-py subscribes anew like this, and heard no more when it was refused.
    let mut p = pair();
    p.same_line("SSUBSCRIBE shard:a shard:b {shard}c");
    for _ in 1..3 {
        assert_eq!(show(&p.proxy.frame()), show(&p.server.frame()));
    }
    for channel in ["shard:a", "shard:b", "{shard}c"] {
        assert_eq!(client().line(&format!("SPUBLISH {channel} x")), b":1\r\n");
        assert_eq!(show(&p.proxy.frame()), show(&request(&["smessage", channel, "x"])));
    }
}

/// The subscribers of both workers, and not the proxy as a subscriber of the nodes.
#[test]
fn pubsub_counts_the_clients_of_all_workers() {
    let mut p = pair();
    let (proxy, server) = (fixture().proxy.port, fixture().server.port);
    let mut clients = Vec::new();
    for port in [proxy, server] {
        for _ in 0..4 {
            let mut c = RawClient::connect(port);
            for line in ["SUBSCRIBE count:a", "PSUBSCRIBE count:*", "SSUBSCRIBE {count}s"] {
                c.line(line);
            }
            clients.push(c);
        }
    }
    for line in [
        "PUBSUB NUMSUB count:a count:x count:a",
        "PUBSUB NUMSUB",
        "PUBSUB SHARDNUMSUB {count}s count:a",
        "PUBSUB CHANNELS count:[a-c]",
        "PUBSUB CHANNELS count:x",
        "PUBSUB SHARDCHANNELS {count}*",
        "PUBSUB CHANNELS a b",
        "PUBSUB NUMPAT x",
        "PUBLISH count:a x",
        "PUBLISH count:b x",
        "SPUBLISH {count}s x",
        "SPUBLISH count:a x",
    ] {
        p.same_line(line);
    }
    assert!(p.proxy.line("PUBSUB NUMPAT").starts_with(b":"));
}

#[test]
fn a_transaction_may_publish() {
    let (mut c, mut publisher) = (client(), client());
    c.line("SUBSCRIBE multi:a");
    for (line, reply) in
        [("MULTI", "+OK"), ("PUBLISH multi:a 1", "+QUEUED"), ("PUBLISH multi:a 2", "+QUEUED")]
    {
        assert_eq!(text(&publisher.line(line)), reply[1..]);
    }
    assert!(publisher.line("EXEC").starts_with(b"*2\r\n:"));
    let expected = ["1", "2"].map(|t| request(&["message", "multi:a", t]));
    assert_eq!(show(&c.frames(2).concat()), show(&expected.concat()));
}

#[test]
fn a_subscription_in_the_middle_of_a_pipeline_keeps_the_order_of_replies() {
    let mut c = client().resp3();
    let lines = [
        "MSET pipe:a 1 pipe:b 2",
        "SUBSCRIBE pipe:news",
        "MGET pipe:a pipe:b",
        "PSUBSCRIBE pipe:*x",
        "UNSUBSCRIBE pipe:news",
        "PING",
    ];
    c.send(&lines.map(|l| request(&l.split(' ').collect::<Vec<_>>())).concat());
    let got: Vec<String> = c.frames(lines.len()).iter().map(|f| show(f).replace("\\r\\n", "|")).collect();
    let expected = [
        "+OK|",
        ">3|$9|subscribe|$9|pipe:news|:1|",
        "*2|$1|1|$1|2|",
        ">3|$10|psubscribe|$7|pipe:*x|:2|",
        ">3|$11|unsubscribe|$9|pipe:news|:1|",
        "+PONG|",
    ];
    assert_eq!(got, expected);
}

#[test]
fn two_thousand_subscribers_cost_one_subscription_per_worker() {
    let proxy = Proxy::start(&fixture().cluster, &["-max-procs", "2"]);
    let mut clients: Vec<RawClient> = (0..2500).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|c| c.send_command(&["SUBSCRIBE", "crowd"]));
    let confirmed = [&b"*3\r\n"[..], &request(&["subscribe", "crowd"])[4..], b":1\r\n"].concat();
    clients.iter_mut().for_each(|c| assert_eq!(show(&c.frame()), show(&confirmed)));
    assert_eq!(carried("crowd"), 2);
    let mut publisher = proxy.client();
    for round in 0..3 {
        let text = format!("round {round}");
        publisher.call(&["PUBLISH", "crowd", &text]);
        clients.iter_mut().for_each(|c| assert_eq!(c.frame(), request(&["message", "crowd", &text])));
    }
    drop(clients);
    wait_until("nobody is subscribed", Duration::from_secs(20), || carried("crowd") == 0);
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_without_delaying_others() {
    let proxy = Proxy::start(&fixture().cluster, &["-max-procs", "1", "-pubsub-output-limit", "1mb"]);
    let (mut slow, mut quick, mut publisher) = (proxy.client(), proxy.client(), proxy.client());
    slow.line("SUBSCRIBE slow");
    quick.line("SUBSCRIBE slow");
    let text = "x".repeat(100_000);
    // More than fits between the two in socket buffers.
    for _ in 0..300 {
        publisher.call(&["PUBLISH", "slow", &text]);
        assert_eq!(quick.frame().len(), request(&["message", "slow", &text]).len());
    }
    let got = slow.until_closed().len();
    assert!(got < 300 * text.len(), "{got} bytes");
    assert!(proxy.log().contains("bytes of messages wait for it"), "{}", proxy.log());
    assert_eq!(proxy.client().line("PING"), b"+PONG\r\n");
}

#[test]
fn memory_is_given_back_after_many_subscriptions() {
    let proxy = Proxy::start(&fixture().cluster, &["-max-procs", "1"]);
    let subscribe = |round: usize| {
        let names = (0..20_000).map(|i| format!("memory:{round}:{i}"));
        let args: Vec<String> = ["SUBSCRIBE".to_string()].into_iter().chain(names).collect();
        let mut c = proxy.client();
        c.send_command(&args);
        c.frames(20_000);
    };
    subscribe(0);
    wait_until("they are gone", Duration::from_secs(20), || carried("memory:0:7") == 0);
    let before = proxy.rss_kib();
    (1..6).for_each(subscribe);
    wait_until("they are gone", Duration::from_secs(20), || carried("memory:5:19999") == 0);
    wait_until("memory is given back", Duration::from_secs(20), || proxy.rss_kib() < before + 24 * 1024);
}
