//! Slots in the middle of a migration, one step at a time: redirects are followed and never shown.

use crate::support::frame::{self, request, show};
use crate::support::keys::{slot, tag_where};
use crate::support::{Cluster, Proxy, RawClient};

/// A cluster of two primaries, a proxy, and a slot of the first one that was opened towards the second.
struct OpenSlot {
    cluster: Cluster,
    proxy: Proxy,
    tag: String,
}

impl OpenSlot {
    fn new() -> Self {
        let cluster = Cluster::with(3, 0, &[]);
        let proxy = Proxy::start(&cluster, &["-max-procs", "1", "-slots-reload-interval", "1h"]);
        let tag = tag_where(|s| s < 5000);
        OpenSlot { cluster, proxy, tag }
    }

    fn key(&self, name: &str) -> String {
        format!("{{{}}}{name}", self.tag)
    }

    fn open(&self) {
        self.cluster.open_slot(slot(&self.tag), 0, 1);
    }

    fn set(&self, c: &mut RawClient, names: &[&str]) {
        for name in names {
            assert_eq!(c.call(&["SET", &self.key(name), name]), b"+OK\r\n");
        }
    }

    /// Moves the whole slot behind the proxy's back.
    fn move_away(&self) {
        self.cluster.reshard([slot(&self.tag)], 1);
    }
}

fn bulk(value: &str) -> Vec<u8> {
    request(&[value]).split_off(4)
}

#[test]
fn a_moved_slot_is_followed() {
    let s = OpenSlot::new();
    let mut c = s.proxy.client();
    s.set(&mut c, &["a", "b"]);
    s.move_away();
    assert_eq!(c.call(&["GET", &s.key("a")]), bulk("a"));
    assert_eq!(
        c.call(&["MGET", &s.key("a"), "other", &s.key("b")]),
        [b"*3\r\n", &bulk("a")[..], b"$-1\r\n", &bulk("b")].concat()
    );
    s.set(&mut c, &["a"]);
}

#[test]
fn one_moved_part_of_a_split_command_keeps_its_place() {
    let s = OpenSlot::new();
    let mut c = s.proxy.client();
    s.set(&mut c, &["a"]);
    let others: Vec<String> = (0..20).map(|i| format!("place:{i}")).collect();
    others.iter().for_each(|k| assert_eq!(c.call(&["SET", k, k]), b"+OK\r\n"));
    s.move_away();
    let keys: Vec<String> =
        others[..10].iter().cloned().chain([s.key("a")]).chain(others[10..].iter().cloned()).collect();
    let values =
        others[..10].iter().map(String::as_str).chain(["a"]).chain(others[10..].iter().map(String::as_str));
    let expected = request(&values.collect::<Vec<_>>());
    assert_eq!(
        show(&c.call(&["MGET".to_string()].into_iter().chain(keys).collect::<Vec<_>>())),
        show(&expected)
    );
}

#[test]
fn an_ask_is_followed_and_the_slot_stays_where_it_is() {
    let s = OpenSlot::new();
    let mut c = s.proxy.client();
    s.set(&mut c, &["here", "there"]);
    s.open();
    // One key stays, the other goes: `there` is the first in the listing or the second, so both are asked for.
    s.cluster.move_keys(slot(&s.tag), 0, 1, 1);
    for _ in 0..20 {
        assert_eq!(c.call(&["GET", &s.key("here")]), bulk("here"));
        assert_eq!(c.call(&["GET", &s.key("there")]), bulk("there"));
    }
    // A new key is born at the new owner.
    s.set(&mut c, &["new"]);
    assert_eq!(c.call(&["INCR", &s.key("count")]), b":1\r\n");
    assert_eq!(c.call(&["INCR", &s.key("count")]), b":2\r\n");
    let mut target = s.cluster.client(1);
    assert_eq!(target.call(&["ASKING"]), b"+OK\r\n");
    assert_eq!(target.call(&["GET", &s.key("count")]), bulk("2"));
}

#[test]
fn asked_commands_in_a_pipeline_keep_their_order() {
    let s = OpenSlot::new();
    let mut c = s.proxy.client();
    s.open();
    let key = s.key("list");
    let all: Vec<u8> = (0..500)
        .flat_map(|i| {
            [request(&["RPUSH", &key, &i.to_string()]), request(&["ECHO", &i.to_string()])].concat()
        })
        .collect();
    c.send(&all);
    for i in 0..500 {
        assert_eq!(show(&c.frame()), format!(":{}\\r\\n", i + 1));
        assert_eq!(c.frame(), bulk(&i.to_string()));
    }
    let expected: Vec<String> = (0..500).map(|i| i.to_string()).collect();
    assert_eq!(c.call(&["LRANGE", &key, "0", "-1"]), request(&expected));
}

/// Nodes answer TRYAGAIN to all of these while the slot is half here and half there, and it stays so.
#[test]
fn split_commands_are_executed_once_in_a_half_moved_slot() {
    let s = OpenSlot::new();
    let mut c = s.proxy.client();
    let names: Vec<String> = (0..10).map(|i| format!("k{i}")).collect();
    s.set(&mut c, &names.iter().map(String::as_str).collect::<Vec<_>>());
    s.open();
    assert_eq!(s.cluster.move_keys(slot(&s.tag), 0, 1, 5), 5);
    let with = |command: &str| {
        [command.to_string()].into_iter().chain(names.iter().map(|n| s.key(n))).collect::<Vec<_>>()
    };
    let pairs = names.iter().flat_map(|n| [s.key(n), format!("{n}!")]);
    c.send_command(&with("MGET"));
    c.send_command(&with("EXISTS"));
    c.send_command(&["MSET".to_string()].into_iter().chain(pairs).collect::<Vec<_>>());
    c.send_command(&with("MGET"));
    c.send_command(&with("DEL"));
    c.send_command(&with("UNLINK"));
    let changed: Vec<String> = names.iter().map(|n| format!("{n}!")).collect();
    assert_eq!(show(&c.frame()), show(&request(&names)), "MGET");
    assert_eq!(show(&c.frame()), ":10\\r\\n", "EXISTS");
    assert_eq!(show(&c.frame()), "+OK\\r\\n", "MSET");
    assert_eq!(show(&c.frame()), show(&request(&changed)), "MGET after MSET");
    assert_eq!(show(&c.frame()), ":10\\r\\n", "DEL");
    assert_eq!(show(&c.frame()), ":0\\r\\n", "UNLINK");
}

/// A node answers TRYAGAIN for what cannot be split; when the slot arrives in time, no client sees it.
#[test]
fn a_command_that_must_wait_for_a_migration_is_retried() {
    let s = OpenSlot::new();
    let mut c = s.proxy.client();
    s.set(&mut c, &["x", "y"]);
    s.open();
    assert_eq!(s.cluster.move_keys(slot(&s.tag), 0, 1, 1), 1);
    let (x, y) = (s.key("x"), s.key("y"));
    c.send_command(&["SUNIONSTORE", &s.key("out"), &x, &y]);
    while s.cluster.move_keys(slot(&s.tag), 0, 1, 10) > 0 {}
    s.cluster.close_slot(slot(&s.tag), 0, 1);
    let reply = c.frame();
    // The keys hold strings: the node executed it once it could.
    assert!(frame::text(&reply).starts_with("WRONGTYPE"), "{}", show(&reply));
}

#[test]
fn a_script_that_quotes_a_redirect_is_not_followed() {
    let s = OpenSlot::new();
    let mut c = s.proxy.client();
    let reply = c.call(&["EVAL", "return {err='CUSTOM MOVED 1 127.0.0.1:1'}", "1", &s.key("a")]);
    assert!(frame::text(&reply).starts_with("CUSTOM MOVED"), "{}", show(&reply));
}
