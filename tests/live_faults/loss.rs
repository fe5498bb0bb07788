//! Writes whose fate is unknown are never sent again.

use std::time::Duration;

use crate::support::frame::{is_error, text};
use crate::support::keys::tag_where;
use crate::support::{wait_until, Cluster, Proxy};

/// The node executes INCR and its connection is cut before the reply: the client is told so, and it counts once.
#[test]
fn a_write_is_not_repeated_when_its_connection_is_lost() {
    let cluster = Cluster::with(3, 0, &["--cluster-node-timeout", "60000"]);
    let proxy = Proxy::start(&cluster, &["-max-procs", "1", "-reply-timeout", "30s"]);
    let tag = tag_where(|s| s < 5000);
    let mut c = proxy.client();
    assert_eq!(c.call(&["INCR", &tag]), b":1\r\n");
    let mut admin = cluster.client(0);
    let mut unknown = 0;
    for _ in 0..30 {
        // The node is busy with the script's loop while the INCRs pile up, and then cuts all other connections.
        c.send_command(&["EVAL", "local e=redis.call('TIME') repeat local t=redis.call('TIME') until (t[1]-e[1])*1000000+t[2]-e[2]>20000 return 1", "1", &tag]);
        for _ in 0..10 {
            c.send_command(&["INCR", &tag]);
        }
        assert!(!is_error(&admin.line("CLIENT KILL TYPE normal SKIPME yes")));
        c.frame();
        for _ in 0..10 {
            let reply = c.frame();
            if is_error(&reply) {
                assert!(text(&reply).contains("unknown"), "{}", text(&reply));
                unknown += 1;
            }
        }
    }
    wait_until("served again", Duration::from_secs(10), || !is_error(&c.call(&["GET", &tag])));
    let value: i64 = text(&c.call(&["GET", &tag])).parse().unwrap();
    let certain = 301 - unknown;
    assert!((certain..=301).contains(&value), "counted {value}, certain {certain}, sent 301");
}

/// Reads may be sent again, so a client never learns that a connection was lost under them.
#[test]
fn reads_survive_the_loss_of_connections() {
    let cluster = Cluster::with(3, 0, &[]);
    let proxy = Proxy::start(&cluster, &["-max-procs", "1"]);
    let mut c = proxy.client();
    let keys: Vec<String> = (0..100).map(|i| format!("survive:{i}")).collect();
    keys.iter().for_each(|k| assert_eq!(c.call(&["SET", k, k]), b"+OK\r\n"));
    for round in 0..30 {
        keys.iter().for_each(|k| c.send_command(&["GET", k]));
        assert!(!is_error(&cluster.client(round % 3).line("CLIENT KILL TYPE normal SKIPME yes")));
        for key in &keys {
            assert_eq!(text(&c.frame()), *key, "round {round}");
        }
    }
}
