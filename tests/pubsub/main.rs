//! Publish and subscribe in the engine: dialogues without sockets.

mod rig;
mod tracking;

use std::time::Duration;

use redis_cluster_proxy::config::Config;
use rig::{request, Rig, NODES};

fn rig() -> Rig {
    Rig::new(Config::for_tests())
}

/// A channel whose slot the node with this number owns in the rig's first topology.
fn channel_of(node: usize) -> String {
    let owner = |name: &str| usize::from(redis_cluster_proxy::command::slot(name.as_bytes())) * NODES / 16384;
    (0..).map(|i| format!("s{i}")).find(|name| owner(name) == node).unwrap()
}

#[test]
fn many_clients_share_one_subscription_and_each_gets_its_own_protocol() {
    let mut rig = rig();
    let (a, b, c) = (rig.client(), rig.client(), rig.client());
    rig.send(c, "HELLO 3");
    rig.got(c);
    rig.send(a, "SUBSCRIBE news");
    rig.send(b, "SUBSCRIBE news");
    let main = rig.only_listener();
    assert_eq!(rig.said(main), ["subscribe news"]);
    assert_eq!(rig.got(a), "", "nothing is confirmed before the node has");
    rig.confirm(main, "subscribe", "news");
    assert_eq!(rig.got(a), "*3|$9|subscribe|$4|news|:1|");
    assert_eq!(rig.got(b), "*3|$9|subscribe|$4|news|:1|");
    rig.send(c, "SUBSCRIBE news");
    assert_eq!(rig.got(c), ">3|$9|subscribe|$4|news|:1|");
    assert!(rig.said(main).is_empty());
    rig.message(main, "message news hello");
    assert_eq!(rig.got(a), "*3|$7|message|$4|news|$5|hello|");
    assert_eq!(rig.got(b), "*3|$7|message|$4|news|$5|hello|");
    assert_eq!(rig.got(c), ">3|$7|message|$4|news|$5|hello|");
}

#[test]
fn counts_are_those_of_a_server() {
    let mut rig = rig();
    let c = rig.subscriber("SUBSCRIBE a b a");
    assert_eq!(rig.got(c), "*3|$9|subscribe|$1|a|:1|*3|$9|subscribe|$1|b|:2|*3|$9|subscribe|$1|a|:2|");
    rig.send(c, "PSUBSCRIBE p*");
    rig.confirm_all();
    assert_eq!(rig.got(c), "*3|$10|psubscribe|$2|p*|:3|");
    rig.send(c, "SSUBSCRIBE {a}1 {a}2");
    rig.confirm_all();
    assert_eq!(rig.got(c), "*3|$10|ssubscribe|$4|{a}1|:1|*3|$10|ssubscribe|$4|{a}2|:2|");
    rig.send(c, "UNSUBSCRIBE a x");
    assert_eq!(rig.got(c), "*3|$11|unsubscribe|$1|a|:2|*3|$11|unsubscribe|$1|x|:2|");
    rig.send(c, "UNSUBSCRIBE");
    rig.send(c, "PUNSUBSCRIBE");
    rig.send(c, "UNSUBSCRIBE");
    let left = "*3|$11|unsubscribe|$1|b|:1|*3|$12|punsubscribe|$2|p*|:0|*3|$11|unsubscribe|$-1|:0|";
    assert_eq!(rig.got(c), left);
    rig.send(c, "SUNSUBSCRIBE");
    assert_eq!(rig.got(c), "*3|$12|sunsubscribe|$4|{a}1|:1|*3|$12|sunsubscribe|$4|{a}2|:0|");
    rig.confirm_all();
    assert_eq!(rig.engine.holdings().topics, 0);
}

/// They were left in the order in which the proxy had found room for them.
#[test]
fn patterns_that_are_left_at_once_are_confirmed_in_the_order_of_subscribing() {
    let mut rig = rig();
    let c = rig.subscriber("PSUBSCRIBE p1 p2");
    rig.send(c, "PUNSUBSCRIBE p1");
    rig.confirm_all();
    rig.send(c, "PSUBSCRIBE p3");
    rig.confirm_all();
    rig.got(c);
    rig.send(c, "PUNSUBSCRIBE");
    assert_eq!(rig.got(c), "*3|$12|punsubscribe|$2|p2|:1|*3|$12|punsubscribe|$2|p3|:0|");
}

#[test]
fn a_resp2_subscriber_may_do_little_also_while_its_subscription_is_on_the_way() {
    let mut rig = rig();
    let c = rig.client();
    let pipeline = ["SUBSCRIBE a", "PING", "PING x", "GET k", "CONFIG GET x", "UNSUBSCRIBE", "PING"];
    rig.send_all(c, &pipeline);
    assert_eq!(rig.got(c), "");
    rig.confirm_all();
    rig.resume();
    let only = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context|";
    let expected = format!(
        "*3|$9|subscribe|$1|a|:1|*2|$4|pong|$0||*2|$4|pong|$1|x|-ERR Can't execute 'get': {only}\
         -ERR Can't execute 'config|get': {only}*3|$11|unsubscribe|$1|a|:0|+PONG|"
    );
    assert_eq!(rig.got(c), expected);
}

#[test]
fn a_resp3_subscriber_goes_on_with_its_commands() {
    let mut rig = rig();
    let c = rig.client();
    rig.send(c, "HELLO 3");
    rig.send(c, "SUBSCRIBE a");
    rig.confirm_all();
    rig.got(c);
    rig.send_all(c, &["GET k", "PING"]);
    let main = rig.only_listener();
    rig.message(main, "message a 1");
    assert_eq!(rig.got(c), ">3|$7|message|$1|a|$1|1|", "messages do not wait for replies");
    rig.answer_shared("$1\r\nv\r\n");
    assert_eq!(rig.got(c), "$1|v|+PONG|");
}

#[test]
fn replies_to_earlier_commands_stand_before_the_confirmation_and_no_message_does() {
    let mut rig = rig();
    let (c, other) = (rig.client(), rig.subscriber("SUBSCRIBE a"));
    rig.got(other);
    rig.send_all(c, &["GET k", "SUBSCRIBE a"]);
    let main = rig.only_listener();
    rig.message(main, "message a early");
    assert_eq!(rig.got(c), "");
    rig.answer_shared("$1\r\nv\r\n");
    rig.got(c);
    rig.resume();
    assert_eq!(rig.got(c), "*3|$9|subscribe|$1|a|:1|");
    rig.message(main, "message a late");
    assert_eq!(rig.got(c), "*3|$7|message|$1|a|$4|late|");
}

#[test]
fn pipelined_subscriptions_do_not_wait_for_one_another_and_are_confirmed_in_order() {
    let mut rig = rig();
    let c = rig.client();
    let (far, near) = (channel_of(2), channel_of(0));
    rig.send_all(c, &[&format!("SSUBSCRIBE {far}"), "SUBSCRIBE", &format!("SSUBSCRIBE {near}")]);
    assert_eq!(rig.said(0), [format!("ssubscribe {near}")]);
    rig.confirm(0, "ssubscribe", &near);
    rig.message(0, &format!("smessage {near} early"));
    assert_eq!(rig.got(c), "");
    assert_eq!(rig.said(2), [format!("ssubscribe {far}")]);
    rig.confirm(2, "ssubscribe", &far);
    let (n, f) = (near.len(), far.len());
    let error = "-ERR wrong number of arguments for 'subscribe' command|";
    let expected = format!("*3|$10|ssubscribe|${f}|{far}|:1|{error}*3|$10|ssubscribe|${n}|{near}|:2|");
    assert_eq!(rig.got(c), expected);
}

#[test]
fn the_last_client_to_leave_ends_the_subscription_and_everything_is_given_back() {
    let mut rig = rig();
    let before = rig.engine.holdings();
    let (a, b) = (rig.subscriber("SUBSCRIBE x y"), rig.subscriber("SUBSCRIBE x"));
    let main = rig.only_listener();
    rig.engine.client_gone(a);
    assert_eq!(rig.said(main), ["unsubscribe y"]);
    rig.engine.client_gone(b);
    assert_eq!(rig.said(main), ["unsubscribe x"]);
    rig.confirm(main, "unsubscribe", "y");
    rig.confirm(main, "unsubscribe", "x");
    assert_eq!(rig.engine.holdings().topics, 0);
    rig.wait(Duration::from_secs(11));
    assert_eq!(rig.engine.holdings(), before, "the listener is closed, too");
}

#[test]
fn a_channel_that_is_wanted_again_while_it_is_being_left_is_subscribed_to_again() {
    let mut rig = rig();
    let a = rig.subscriber("SUBSCRIBE x");
    let main = rig.only_listener();
    rig.engine.client_gone(a);
    let b = rig.client();
    rig.send(b, "SUBSCRIBE x");
    assert_eq!(rig.said(main), ["unsubscribe x", "subscribe x"]);
    rig.confirm(main, "unsubscribe", "x");
    assert_eq!(rig.got(b), "");
    rig.confirm(main, "subscribe", "x");
    assert_eq!(rig.got(b), "*3|$9|subscribe|$1|x|:1|");
}

#[test]
fn subscriptions_survive_the_loss_of_their_node() {
    let mut rig = rig();
    let c = rig.subscriber("SUBSCRIBE a b");
    rig.got(c);
    let first = rig.only_listener();
    rig.kill(first);
    rig.wait(Duration::from_millis(50));
    let second = rig.only_listener();
    assert_ne!(first, second);
    let mut said = rig.said(second);
    said.sort_unstable();
    assert_eq!(said, ["subscribe a", "subscribe b"]);
    rig.confirm(second, "subscribe", "a");
    rig.message(second, "message a again");
    assert_eq!(rig.got(c), "*3|$7|message|$1|a|$5|again|");
}

#[test]
fn a_subscription_that_no_node_takes_fails_after_a_while_and_leaves_nothing() {
    let mut rig = rig();
    (0..NODES).for_each(|n| rig.kill(n));
    let c = rig.client();
    rig.send(c, "SUBSCRIBE a b");
    rig.wait(Duration::from_secs(5));
    assert_eq!(rig.got(c), "");
    rig.wait(Duration::from_secs(6));
    let got = rig.got(c);
    assert!(got.starts_with("-CLUSTERDOWN No primary could be reached within 10"), "{got}");
    assert_eq!(rig.engine.holdings().topics, 0);
    rig.send(c, "PING");
    assert_eq!(rig.got(c), "+PONG|");
}

#[test]
fn a_refused_subscription_is_refused_to_whoever_waits_for_it() {
    let mut rig = rig();
    let c = rig.client();
    rig.send_all(c, &["SUBSCRIBE a b", "PING"]);
    let main = rig.only_listener();
    assert_eq!(rig.said(main), ["subscribe a", "subscribe b"]);
    rig.receive(main, b"-NOPERM No permissions to access a channel\r\n");
    rig.resume();
    assert_eq!(rig.got(c), "-NOPERM No permissions to access a channel|+PONG|");
    assert_eq!(rig.said(main), ["unsubscribe b"]);
}

#[test]
fn a_sharded_channel_follows_its_slot() {
    let mut rig = rig();
    let channel = channel_of(0);
    let c = rig.subscriber(&format!("SSUBSCRIBE {channel}"));
    rig.got(c);
    rig.confirm(0, "sunsubscribe", &channel);
    assert_eq!(rig.said(0), [format!("ssubscribe {channel}")], "it does not know better yet");
    rig.moved(0, &channel, 1);
    assert_eq!(rig.said(1), [format!("ssubscribe {channel}")]);
    rig.confirm(1, "ssubscribe", &channel);
    rig.message(1, &format!("smessage {channel} x"));
    assert_eq!(rig.got(c), format!("*3|$8|smessage|${}|{channel}|$1|x|", channel.len()));
    rig.message(0, &format!("smessage {channel} stray"));
    assert_eq!(rig.got(c), "");
}

#[test]
fn a_sharded_channel_follows_the_topology() {
    let mut rig = rig();
    let channel = channel_of(0);
    let c = rig.subscriber(&format!("SSUBSCRIBE {channel}"));
    rig.got(c);
    rig.topology_without(0);
    assert_eq!(rig.said(0), [format!("sunsubscribe {channel}")]);
    assert_eq!(rig.said(1), [format!("ssubscribe {channel}")]);
    rig.confirm(0, "sunsubscribe", &channel);
    rig.confirm(1, "ssubscribe", &channel);
    rig.message(1, &format!("smessage {channel} x"));
    assert!(rig.got(c).ends_with("|$1|x|"));
    rig.wait(Duration::from_secs(6));
    assert!(!rig.is_connected(0));
}

/// The topology of a node that lags behind leads back to where a slot was before.
#[test]
fn a_message_that_an_old_owner_had_left_came_behind_newer_ones() {
    let mut rig = rig();
    let channel = channel_of(0);
    let c = rig.subscriber(&format!("SSUBSCRIBE {channel}"));
    rig.got(c);
    rig.topology_without(0);
    rig.confirm(1, "ssubscribe", &channel);
    rig.message(1, &format!("smessage {channel} newer"));
    assert!(rig.got(c).ends_with("|newer|"));
    rig.topology_without(NODES);
    rig.message(0, &format!("smessage {channel} older"));
    assert_eq!(rig.got(c), "", "it was sent before the node heard any of this");
    rig.confirm(0, "sunsubscribe", &channel);
    rig.message(0, &format!("smessage {channel} older"));
    assert_eq!(rig.got(c), "");
    rig.confirm(0, "ssubscribe", &channel);
    rig.message(0, &format!("smessage {channel} newest"));
    assert!(rig.got(c).ends_with("|newest|"));
}

#[test]
fn the_node_of_all_channels_may_be_unlisted_for_a_moment_but_not_for_long() {
    let mut rig = rig();
    let c = rig.subscriber("SUBSCRIBE a");
    rig.got(c);
    let main = rig.only_listener();
    rig.topology_without(main);
    assert!(rig.said(main).is_empty());
    rig.message(main, "message a still");
    assert!(rig.got(c).ends_with("|still|"));
    rig.topology_without(NODES);
    rig.wait(Duration::from_secs(3));
    rig.topology_without(main);
    rig.wait_with_signs_of_life(Duration::from_secs(16));
    let next = rig.listeners();
    assert!(next.len() == 1 && next[0] != main, "{next:?}");
    rig.message(next[0], "message a elsewhere");
    assert!(rig.got(c).ends_with("|elsewhere|"));
}

#[test]
fn sharded_channels_of_two_slots_are_subscribed_to_together() {
    let mut rig = rig();
    let c = rig.client();
    let (far, near) = (channel_of(2), channel_of(0));
    rig.send(c, &format!("SSUBSCRIBE {far} {near}"));
    assert_eq!(
        (rig.said(2), rig.said(0)),
        (vec![format!("ssubscribe {far}")], vec![format!("ssubscribe {near}")])
    );
    rig.confirm(0, "ssubscribe", &near);
    assert_eq!(rig.got(c), "", "not all are carried yet");
    rig.confirm(2, "ssubscribe", &far);
    let confirmation = |name: &str, n| format!("*3|$10|ssubscribe|${}|{name}|:{n}|", name.len());
    assert_eq!(rig.got(c), confirmation(&far, 1) + &confirmation(&near, 2));
    rig.message(0, &format!("smessage {near} hello"));
    assert_eq!(rig.got(c), format!("*3|$8|smessage|${}|{near}|$5|hello|", near.len()));
}

#[test]
fn keyspace_events_come_from_every_primary_and_other_messages_once() {
    let mut rig = rig();
    let c = rig.subscriber("PSUBSCRIBE *");
    rig.got(c);
    assert_eq!(rig.listeners(), [0, 1, 2]);
    for node in 0..NODES {
        rig.message(node, "pmessage * __keyevent@0__:set k");
        assert_eq!(rig.got(c), "*4|$8|pmessage|$1|*|$18|__keyevent@0__:set|$1|k|", "node {node}");
    }
    (0..NODES).for_each(|node| rig.message(node, "pmessage * news x"));
    assert_eq!(rig.got(c), "*4|$8|pmessage|$1|*|$4|news|$1|x|");
}

#[test]
fn keyspace_events_follow_the_primaries() {
    let mut rig = rig();
    let first = rig.subscriber("SUBSCRIBE a");
    let main = rig.only_listener();
    let other = (main + 1) % NODES;
    let c = rig.subscriber("SUBSCRIBE __keyspace@0__:k");
    rig.got(c);
    rig.topology_without(other);
    assert_eq!(rig.said(other), ["unsubscribe __keyspace@0__:k"]);
    rig.confirm(other, "unsubscribe", "__keyspace@0__:k");
    rig.message(other, "message __keyspace@0__:k stray");
    assert_eq!(rig.got(c), "");
    rig.topology_without(NODES);
    assert_eq!(rig.said(other), ["subscribe __keyspace@0__:k"]);
    rig.confirm(other, "subscribe", "__keyspace@0__:k");
    rig.message(other, "message __keyspace@0__:k del");
    assert_eq!(rig.got(c), "*3|$7|message|$16|__keyspace@0__:k|$3|del|");
    // The main node keeps the events channel while it is unlisted, but what it says of keys does not count.
    rig.topology_without(main);
    rig.message(main, "message __keyspace@0__:k stray");
    assert_eq!((rig.got(c), rig.said(main)), (String::new(), Vec::new()));
    assert!(!rig.got(first).is_empty());
}

#[test]
fn a_message_that_the_next_main_node_brings_late_is_not_passed_on_twice() {
    let mut rig = rig();
    let c = rig.subscriber("PSUBSCRIBE *");
    rig.got(c);
    let brings = |rig: &mut Rig, node: usize| {
        rig.message(node, "pmessage * news x");
        !rig.got(c).is_empty()
    };
    let main = (0..NODES).find(|n| brings(&mut rig, *n)).expect("a main node");
    rig.kill(main);
    rig.wait(Duration::from_millis(50));
    // The others stood still when the message came, and say it now, before they read on.
    let others: Vec<usize> = (0..NODES).filter(|n| *n != main).collect();
    assert!(!others.iter().any(|n| brings(&mut rig, *n)));
    rig.confirm_all();
    assert_eq!(others.iter().filter(|n| brings(&mut rig, **n)).count(), 1);
}

#[test]
fn a_primary_that_cannot_be_reached_does_not_keep_others_from_being_heard() {
    let mut rig = rig();
    rig.kill(1);
    let c = rig.subscriber("PSUBSCRIBE __key*");
    assert_eq!(rig.got(c), "*3|$10|psubscribe|$6|__key*|:1|");
    rig.revive(1);
    rig.wait(Duration::from_secs(2));
    assert_eq!(rig.said(1), ["psubscribe __key*"]);
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_and_nobody_else_notices() {
    let mut rig = Rig::new(Config { pubsub_output_limit: 10_000, ..Config::for_tests() });
    let (slow, quick) = (rig.subscriber("SUBSCRIBE a"), rig.subscriber("SUBSCRIBE a"));
    let main = rig.only_listener();
    let body = "x".repeat(1000);
    rig.got(slow);
    for _ in 0..13 {
        rig.message(main, &format!("message a {body}"));
        assert!(rig.got(quick).ends_with("x|"));
    }
    assert_eq!(rig.closed, [slow]);
    assert_eq!(rig.engine.counters().output_limit_closes, 1);
    rig.message(main, "message a y");
    assert!(rig.got(quick).ends_with("y|"));
}

#[test]
fn a_message_to_many_is_held_for_no_more_than_there_is_memory_for() {
    let mut rig = Rig::new(Config { max_memory: 2_000_000, ..Config::for_tests() });
    for _ in 0..20 {
        rig.subscriber("SUBSCRIBE a");
    }
    let main = rig.only_listener();
    let message = request(&["message", "a", &"x".repeat(300_000)]).replacen('*', ">", 1);
    rig.receive(main, message.as_bytes());
    let closed = rig.engine.counters().memory_limit_closes;
    assert!((13..20).contains(&closed) && rig.closed.len() == closed as usize, "{closed} of 20 were closed");
}

#[test]
fn what_is_passed_on_in_one_turn_is_bounded() {
    let mut rig = rig();
    let clients: Vec<_> = (0..20).map(|_| rig.subscriber("SUBSCRIBE a")).collect();
    let main = rig.only_listener();
    let message = request(&["message", "a", &"x".repeat(100_000)]).replacen('*', ">", 1);
    let data = message.repeat(20);
    let key = rig.listener(main).unwrap();
    let taken = rig.engine.backend_bytes(key, data.as_bytes());
    assert!((16 << 20..18 << 20).contains(&(taken * clients.len())), "{taken} of {}", data.len());
    assert!(rig.engine.is_held(key) && rig.engine.has_ready());
    let mut held = Vec::new();
    rig.engine.take_held_backends(&mut held);
    assert_eq!(held, [key]);
    rig.wait(Duration::from_millis(1));
    assert_eq!(rig.engine.backend_bytes(key, &data.as_bytes()[taken..]), taken, "as much in every turn");
    rig.wait(Duration::from_millis(1));
    let rest = data.len() - 2 * taken;
    assert_eq!(rig.engine.backend_bytes(key, &data.as_bytes()[2 * taken..]), rest);
    let got = rig.got(clients[0]);
    assert_eq!(got.matches("*3|$7|message|").count(), 20);
}

#[test]
fn a_subscriber_is_never_idle() {
    let timeout = Duration::from_secs(1);
    let mut rig = Rig::new(Config { client_idle_timeout: timeout, ..Config::for_tests() });
    let (idle, _subscriber) = (rig.client(), rig.subscriber("SUBSCRIBE a"));
    rig.confirm_all();
    rig.wait(timeout * 3);
    assert_eq!(rig.closed, [idle]);
}

/// As in a server, where subscriptions and messages are no replies.
#[test]
fn a_client_that_wants_no_replies_gets_messages_all_the_same() {
    let mut rig = rig();
    let c = rig.client();
    rig.send_all(c, &["CLIENT REPLY OFF", "SUBSCRIBE a", "UNSUBSCRIBE x"]);
    rig.confirm_all();
    rig.resume();
    assert_eq!(rig.got(c), "*3|$9|subscribe|$1|a|:1|*3|$11|unsubscribe|$1|x|:1|");
    let main = rig.only_listener();
    rig.message(main, "message a x");
    assert_eq!(rig.got(c), "*3|$7|message|$1|a|$1|x|");
}

#[test]
fn pubsub_and_client_list_show_subscriptions() {
    let mut rig = rig();
    let c = rig.subscriber("SUBSCRIBE a b");
    rig.send(c, "PSUBSCRIBE p*");
    rig.confirm_all();
    let other = rig.client();
    rig.send_all(other, &["PUBSUB CHANNELS", "PUBSUB NUMPAT", "PUBSUB NUMSUB a x", "PUBSUB SHARDCHANNELS *"]);
    assert_eq!(rig.got(other), "*2|$1|a|$1|b|:1|*4|$1|a|:1|$1|x|:0|*0|");
    rig.send(other, "CLIENT LIST TYPE pubsub");
    let line = rig.got(other);
    assert!(line.contains(" flags=P db=0 sub=2 psub=1 ssub=0 "), "{line}");
    assert_eq!(line.matches("id=").count(), 1, "{line}");
}

#[test]
fn reset_leaves_everything() {
    let mut rig = rig();
    let c = rig.subscriber("SUBSCRIBE a");
    rig.got(c);
    rig.send(c, "RESET");
    assert_eq!(rig.got(c), "+RESET|");
    let main = rig.only_listener();
    assert_eq!(rig.said(main), ["unsubscribe a"]);
    rig.message(main, "message a x");
    assert_eq!(rig.got(c), "");
}

#[test]
fn messages_of_a_channel_are_published_through_one_node() {
    let mut rig = rig();
    let c = rig.client();
    for node in [2, 0, 2] {
        let channel = channel_of(node);
        rig.send(c, &format!("PUBLISH {channel} 1"));
        rig.send(c, &format!("PUBLISH {channel} 2"));
        let expected = [format!("PUBLISH {channel} 1"), format!("PUBLISH {channel} 2")];
        assert_eq!(rig.said_shared(node), expected);
        rig.answer_shared(":0\r\n:3\r\n");
        assert_eq!(rig.got(c), ":0|:0|");
    }
}

#[test]
fn publish_answers_how_many_have_subscribed_whatever_a_node_counts() {
    let mut rig = rig();
    let (a, b) = (rig.subscriber("SUBSCRIBE news"), rig.subscriber("SUBSCRIBE news other"));
    for words in ["PSUBSCRIBE n* *s x*", "SSUBSCRIBE news"] {
        rig.send(a, words);
        rig.confirm_all();
    }
    let c = rig.client();
    let published = |rig: &mut Rig, words: &str, reply: &str| {
        rig.send(c, words);
        rig.answer_shared(reply);
        rig.got(c)
    };
    assert_eq!(published(&mut rig, "PUBLISH news x", ":1\r\n"), ":4|");
    assert_eq!(published(&mut rig, "SPUBLISH news x", ":0\r\n"), ":1|");
    rig.send(b, "UNSUBSCRIBE news");
    rig.engine.client_gone(a);
    assert_eq!(published(&mut rig, "PUBLISH news x", ":3\r\n"), ":0|");
    assert_eq!(published(&mut rig, "PUBLISH other x", ":0\r\n"), ":1|");
    assert_eq!(published(&mut rig, "PUBLISH other x", "-ERR no\r\n"), "-ERR no|");
}

#[test]
fn a_listener_that_falls_silent_is_asked_and_replaced() {
    let mut rig = rig();
    let c = rig.subscriber("SUBSCRIBE a");
    rig.got(c);
    let first = rig.only_listener();
    rig.wait(Duration::from_secs(6));
    assert_eq!(rig.said(first), ["PING"]);
    rig.receive(first, b"+PONG\r\n");
    rig.wait(Duration::from_secs(6));
    assert_eq!(rig.said(first), ["PING"]);
    rig.wait(Duration::from_secs(11));
    rig.wait(Duration::from_millis(50));
    let second = rig.only_listener();
    assert_ne!(first, second);
    assert_eq!(rig.said(second), ["subscribe a"]);
}
