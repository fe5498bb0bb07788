//! CLIENT TRACKING: clients are told of each change to what they have read, whatever comes in between.

use std::time::Duration;

use redis_cluster_proxy::config::Config;

use crate::rig;
use crate::rig::{request, Rig, NODES};

/// The message of one change.
fn told(key: &str) -> String {
    format!(">2|$10|invalidate|*1|${}|{key}|", key.len())
}

const ALL: &str = ">2|$10|invalidate|_|";

#[test]
fn tracking_is_on_when_all_primaries_tell_of_changes_and_later_commands_wait_for_it() {
    let mut rig = rig();
    let c = rig.client();
    rig.send(c, "HELLO 3");
    rig.got(c);
    rig.send_all(c, &["CLIENT TRACKING ON", "PING"]);
    for node in 0..NODES {
        assert_eq!(rig.got(c), "");
        assert_eq!(rig.said(node), ["CLIENT TRACKING ON BCAST"]);
        rig.confirm(node, "CLIENT", "");
    }
    assert_eq!(rig.got(c), "+OK|");
    rig.resume();
    assert_eq!(rig.got(c), "+PONG|");
    // Another one shares what is there.
    let other = rig.tracker("");
    rig.send(c, "CLIENT TRACKING OFF");
    assert_eq!(rig.got(c), "+OK|");
    assert!(rig.said(0).is_empty());
    rig.send(other, "RESET");
    assert_eq!(rig.said(0), ["CLIENT TRACKING OFF"]);
    rig.confirm(0, "CLIENT", "");
    rig.confirm_all();
    assert_eq!(rig.engine.holdings().topics, 0);
}

#[test]
fn a_change_is_told_once_to_those_who_have_read_the_key() {
    let mut rig = rig();
    let (a, b) = (rig.tracker(""), rig.tracker(""));
    rig.send(a, "GET k");
    rig.answer_shared("$1\r\nv\r\n");
    assert_eq!(rig.got(a), "$1|v|");
    rig.changed(0, "other k");
    assert_eq!((rig.got(a), rig.got(b)), (told("k"), String::new()));
    rig.changed(0, "k");
    assert_eq!(rig.got(a), "");
    for c in [a, b] {
        rig.send(c, "GET k");
        rig.answer_shared("$1\r\nv\r\n");
        rig.got(c);
    }
    rig.changed(0, "k");
    assert_eq!((rig.got(a), rig.got(b)), (told("k"), told("k")));
}

/// The reply may be older than the change that is heard of before it.
#[test]
fn a_message_does_not_overtake_the_reply_to_a_read_that_is_under_way() {
    let mut rig = rig();
    let c = rig.tracker("");
    rig.send_all(c, &["GET k", "PING"]);
    rig.changed(0, "k");
    assert_eq!(rig.got(c), "");
    rig.answer_shared("$3\r\nold\r\n");
    assert_eq!(rig.got(c), format!("$3|old|+PONG|{}", told("k")));
}

#[test]
fn what_may_have_been_missed_is_told_as_a_change_of_all() {
    let mut rig = rig();
    let c = rig.tracker("");
    let read = |rig: &mut Rig| {
        rig.send(c, "GET k");
        rig.answer_shared("$1\r\nv\r\n");
        assert_eq!(rig.got(c), "$1|v|");
    };
    read(&mut rig);
    let away = usize::from(redis_cluster_proxy::command::slot(b"k")) * NODES / 16384;
    let lost = (away + 1) % NODES;
    rig.kill(lost);
    assert_eq!(rig.got(c), ALL, "a listener was lost");
    read(&mut rig);
    rig.revive(lost);
    rig.wait(Duration::from_secs(2));
    assert_eq!(rig.said(lost), ["CLIENT TRACKING ON BCAST"]);
    assert_eq!(rig.got(c), "");
    rig.confirm(lost, "CLIENT", "");
    assert_eq!(rig.got(c), ALL, "what it did meanwhile is unknown");
    rig.kill(lost);
    assert_eq!(rig.got(c), "", "nothing was read since");
}

#[test]
fn a_new_primary_is_asked_to_tell_and_what_was_read_of_it_before_counts_as_changed() {
    let mut rig = rig();
    rig.topology_without(2);
    let c = rig.tracker("");
    rig.send(c, "GET k");
    rig.answer_shared("$1\r\nv\r\n");
    rig.got(c);
    rig.topology_without(NODES);
    assert_eq!(rig.said(2), ["CLIENT TRACKING ON BCAST"]);
    rig.confirm(2, "CLIENT", "");
    assert_eq!(rig.got(c), ALL);
}

#[test]
fn flushall_of_many_nodes_is_told_once_each_time() {
    let mut rig = rig();
    let c = rig.tracker("");
    for _ in 0..3 {
        (0..NODES).for_each(|node| rig.emptied(node));
        assert_eq!(rig.got(c), ALL);
    }
    rig.emptied(1);
    rig.send(c, "GET k");
    rig.answer_shared("$1\r\nv\r\n");
    rig.emptied(2);
    assert_eq!(rig.got(c), format!("{ALL}$1|v|{ALL}"), "it may have been read between the two");
}

#[test]
fn nodes_that_refuse_to_tell_are_a_reason_not_to_begin() {
    let mut rig = rig();
    let c = rig.client();
    rig.send(c, "HELLO 3");
    rig.got(c);
    rig.send(c, "CLIENT TRACKING ON");
    rig.receive(1, b"-NOPERM no permissions to run the 'client|tracking' command\r\n");
    assert_eq!(rig.got(c), "-NOPERM no permissions to run the 'client|tracking' command|");
    rig.send(c, "CLIENT GETREDIR");
    assert_eq!(rig.got(c), ":-1|");
}

#[test]
fn it_is_given_up_when_a_primary_stays_silent() {
    let mut rig = rig();
    let c = rig.client();
    rig.send(c, "CLIENT TRACKING ON");
    rig.confirm(0, "CLIENT", "");
    rig.wait(Config::for_tests().retry_timeout * 2);
    let error = rig.got(c);
    assert!(error.starts_with("-CLUSTERDOWN"), "{error}");
    rig.send(c, "CLIENT TRACKINGINFO");
    assert_eq!(rig.got(c), "*6|$5|flags|*1|$3|off|$8|redirect|:-1|$8|prefixes|*0|");
}

#[test]
fn a_client_that_leaves_while_it_waits_leaves_nothing_behind() {
    let mut rig = rig();
    let (a, b) = (rig.client(), rig.client());
    rig.send(a, "CLIENT TRACKING ON");
    rig.send(b, "CLIENT TRACKING ON");
    rig.engine.client_gone(a);
    rig.confirm_all();
    rig.confirm_all();
    assert_eq!(rig.got(b), "+OK|");
    rig.engine.client_gone(b);
    rig.confirm_all();
    rig.confirm_all();
    assert_eq!(rig.engine.holdings().topics, 0);
}

#[test]
fn a_transaction_reads_when_it_is_executed() {
    let mut rig = rig();
    let c = rig.tracker("");
    rig.send_all(c, &["MULTI", "GET k"]);
    rig.changed(0, "k");
    assert_eq!(rig.got(c), "+OK|+QUEUED|", "it has not been read yet");
    rig.send(c, "EXEC");
    rig.answer_shared("+OK\r\n+QUEUED\r\n*1\r\n$1\r\nv\r\n");
    rig.got(c);
    rig.changed(0, "k");
    assert_eq!(rig.got(c), told("k"));
}

/// It stood within the array, as one of its elements.
#[test]
fn a_message_follows_the_reply_to_a_transaction_that_is_played() {
    let mut rig = rig();
    let c = rig.tracker("");
    rig.send_all(c, &["MULTI", "GET k", "CLIENT ID", "EXEC"]);
    rig.got(c);
    rig.changed(0, "k");
    assert_eq!(rig.got(c), "");
    rig.answer_shared("+OK\r\n+QUEUED\r\n*1\r\n$3\r\nold\r\n");
    rig.resume();
    assert_eq!(rig.got(c), format!("*2|$3|old|:1|{}", told("k")));
}

#[test]
fn who_is_blocked_is_told_at_once_as_that_may_take_for_ever() {
    let mut rig = rig();
    let c = rig.tracker("");
    rig.send(c, "GET k");
    rig.answer_shared("$1\r\nv\r\n");
    rig.got(c);
    rig.send(c, "BLPOP q 0");
    rig.changed(0, "k");
    assert_eq!(rig.got(c), told("k"));
}

#[test]
fn client_reply_off_does_not_silence_messages() {
    let mut rig = rig();
    let c = rig.tracker("");
    rig.send_all(c, &["CLIENT REPLY OFF", "GET k"]);
    rig.changed(0, "k");
    assert_eq!(rig.got(c), "");
    rig.answer_shared("$1\r\nv\r\n");
    assert_eq!(rig.got(c), told("k"));
}

#[test]
fn reads_count_where_client_caching_says_so() {
    let mut rig = rig();
    let (yes, no) = (rig.tracker(" OPTIN"), rig.tracker(" OPTOUT"));
    let read = |rig: &mut Rig, c, commands: &[&str]| {
        rig.send_all(c, commands);
        rig.answer_shared("$1\r\nv\r\n");
        rig.got(c);
        rig.changed(0, "k");
        rig.got(c)
    };
    assert_eq!(read(&mut rig, yes, &["GET k"]), "");
    assert_eq!(read(&mut rig, yes, &["CLIENT CACHING YES", "GET k"]), told("k"));
    assert_eq!(read(&mut rig, yes, &["CLIENT CACHING YES", "PING", "GET k"]), "");
    assert_eq!(read(&mut rig, no, &["GET k"]), told("k"));
    assert_eq!(read(&mut rig, no, &["CLIENT CACHING NO", "GET k"]), "");
    rig.send_all(yes, &["CLIENT CACHING YES", "MULTI", "GET k", "EXEC"]);
    rig.answer_shared("+OK\r\n+QUEUED\r\n*1\r\n$1\r\nv\r\n");
    rig.got(yes);
    rig.changed(0, "k");
    assert_eq!(rig.got(yes), told("k"), "it is about a whole transaction");
    assert_eq!(read(&mut rig, yes, &["GET k"]), "", "and not about what follows");
}

#[test]
fn who_broadcasts_is_told_of_all_keys_with_its_prefixes() {
    let mut rig = rig();
    let (some, all) = (rig.tracker(" BCAST PREFIX a: PREFIX b:"), rig.tracker(" BCAST"));
    rig.changed(1, "b:1 a:1 c:1 a:2");
    assert_eq!(rig.got(some), format!(">2|$10|invalidate|*2|$3|a:1|$3|a:2|{}", told("b:1")));
    assert_eq!(rig.got(all), ">2|$10|invalidate|*4|$3|b:1|$3|a:1|$3|c:1|$3|a:2|");
}

/// It was told twice: as one that had read the key, and as one that wants to hear of all.
#[test]
fn who_has_read_a_key_and_broadcasts_now_is_told_once() {
    let mut rig = rig();
    let c = rig.tracker("");
    rig.send(c, "GET k");
    rig.answer_shared("$1\r\nv\r\n");
    rig.got(c);
    let _other = rig.tracker("");
    rig.send_all(c, &["CLIENT TRACKING OFF", "CLIENT TRACKING ON BCAST"]);
    assert_eq!(rig.got(c), "+OK|+OK|");
    rig.changed(0, "k");
    assert_eq!(rig.got(c), told("k"));
}

#[test]
fn another_client_is_told_where_that_is_wanted_and_its_end_too() {
    let mut rig = rig();
    let (reader, listener) = (rig.tracker(""), rig.client());
    rig.send(listener, "CLIENT ID");
    let id = rig.got(listener).trim_matches([':', '|']).to_owned();
    rig.send(listener, "SUBSCRIBE __redis__:invalidate");
    rig.confirm_all();
    rig.got(listener);
    rig.send(reader, &format!("CLIENT TRACKING ON REDIRECT {id}"));
    assert_eq!(rig.got(reader), "+OK|");
    let read = |rig: &mut Rig| {
        rig.send(reader, "GET k");
        rig.answer_shared("$1\r\nv\r\n");
        rig.got(reader);
        rig.changed(0, "k");
    };
    read(&mut rig);
    assert_eq!(rig.got(listener), "*3|$7|message|$20|__redis__:invalidate|*1|$1|k|");
    assert_eq!(rig.got(reader), "");
    rig.engine.client_gone(listener);
    read(&mut rig);
    let broken = format!(">2|$21|tracking-redir-broken|:{id}|");
    assert_eq!(rig.got(reader), broken);
    rig.send(reader, "CLIENT TRACKINGINFO");
    let info = format!("%3|$5|flags|~2|$2|on|$15|broken_redirect|$8|redirect|:{id}|$8|prefixes|*0|");
    assert_eq!(rig.got(reader), info);
}

#[test]
fn scripts_read_the_keys_that_they_declare() {
    let mut rig = rig();
    let c = rig.tracker("");
    let script = "return 1";
    let frame = request(&["EVAL", script, "1", "k"]);
    assert_eq!(rig.engine.client_bytes(c, frame.as_bytes()).0, frame.len());
    rig.answer_shared(":1\r\n");
    rig.got(c);
    rig.changed(0, "k");
    assert_eq!(rig.got(c), told("k"));
}

#[test]
fn what_was_read_does_not_grow_without_bound() {
    let mut rig = rig();
    let c = rig.tracker("");
    let mut reads = 0u32;
    let told_all = (0..2000).any(|_| {
        for _ in 0..500 {
            reads += 1;
            rig.send(c, &format!("GET {{k}}{reads}"));
        }
        rig.answer_shared(&"$1\r\nv\r\n".repeat(500));
        rig.got(c).contains(ALL)
    });
    assert!(told_all && reads > 100_000, "{reads} keys");
    rig.changed(0, "{k}1");
    assert_eq!(rig.got(c), "", "it was told of that one already");
}
