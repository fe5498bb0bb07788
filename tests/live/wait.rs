//! WAIT before real replicas.

use std::time::Duration;

use crate::support::frame::{body, text};
use crate::support::wait::timed;
use crate::support::{wait_until, Cluster, Proxy, RawClient};
use crate::{client, pair};

#[test]
fn errors_of_wait_are_those_of_a_server() {
    let mut p = pair();
    for line in ["WAIT", "WAIT 1", "WAIT x 1", "WAIT 1 x", "WAIT 1 -1", "WAIT 01 1", "WAIT 1 1 1"] {
        p.same_line(line);
    }
}

/// The replicas themselves are asked, right behind the answer.
#[test]
fn what_wait_has_answered_for_is_at_the_replicas() {
    let cluster = Cluster::with(3, 3, &[]);
    let proxy = Proxy::start(&cluster, &["-max-procs", "2"]);
    let mut c = proxy.client();
    wait_until("every primary has its replica", Duration::from_secs(20), || {
        c.line("WAIT 1 100") == b":1\r\n"
    });
    let mut nodes: Vec<RawClient> = (0..6).map(|i| cluster.client(i)).collect();
    nodes.iter_mut().for_each(|n| assert_eq!(n.line("READONLY"), b"+OK\r\n"));
    let (mut longest, mut all) = (Duration::ZERO, Duration::ZERO);
    for round in 0..100 {
        let (key, value) = (format!("waited:{round}"), round.to_string());
        assert_eq!(c.call(&["SET", &key, &value]), b"+OK\r\n");
        let (reply, took) = timed(|| c.line("WAIT 1 5000"));
        assert_eq!(text(&reply), "1");
        (longest, all) = (longest.max(took), all + took);
        let has = |n: &mut RawClient| body(&n.call(&["GET", &key])) == value.as_bytes();
        assert_eq!(nodes.iter_mut().filter_map(|n| has(n).then_some(())).count(), 2, "round {round}");
    }
    println!("100 WAITs took {all:?}, the longest {longest:?}");
    assert!(longest < Duration::from_millis(900), "replicas are not made to tell: {longest:?}");
    let (reply, took) = timed(|| c.line("WAIT 5 300"));
    assert_eq!((text(&reply).as_str(), took >= Duration::from_millis(300)), ("1", true));
}

#[test]
fn a_client_that_waits_for_replicas_is_not_read_meanwhile_and_holds_up_nobody() {
    let (mut waits, mut other) = (client(), client());
    // On a busy host a replica may still be on its way to its primary.
    assert_eq!(text(&other.line("WAIT 1 20000")), "1");
    waits.send(b"WAIT 9 400\r\nSET waits:k behind\r\n");
    assert_eq!(other.line("SET waits:k before"), b"+OK\r\n");
    assert_eq!(text(&waits.frame()), "1");
    assert_eq!(waits.frame(), b"+OK\r\n");
    assert_eq!(body(&other.line("GET waits:k")), b"behind");
}
