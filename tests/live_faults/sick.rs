//! A node that is reached, but sick: what it says or does not say harms nobody but those who need it, and those wait no
//! longer than they must.

use std::time::Duration;

use crate::dying::UNWATCHED;
use crate::scene::Scene;
use crate::support::frame::{is_error, show};
use crate::support::relay::Mode;
use crate::support::wait::{let_pass, timed};
use crate::support::{wait_until, Cluster, Proxy};
use crate::witness::probe::key;
use crate::witness::Crowd;

const CROWD: Crowd = Crowd { pipelines: 2, transactions: 1, queues: 0, channels: 0 };
/// Each worker has a circuit of its own.
const FLAGS: &[&str] =
    &["-max-procs", "1", "-retry-timeout", "2s", "-reply-timeout", "2s", "-connect-timeout", "1s"];

/// What clients of the sick node may hear.
const TRUE_WORDS: &[&str] =
    &["the outcome of this command is unknown", "could be reached within", "has not answered for", UNWATCHED];

/// A node that is sick in one way after the other, for so long that its circuit opens.
#[test]
fn a_sick_node_harms_nobody_else_and_is_found_again() {
    let (cluster, relay) = Cluster::behind_relay();
    let scene = Scene::with("sick node", cluster, FLAGS, CROWD);
    let mut direct = scene.proxy.client();
    for mode in [Mode::Silent, Mode::Reset, Mode::Garbage, Mode::Refuse] {
        relay.set(mode);
        wait_until("its circuit opens", Duration::from_secs(20), || {
            scene.proxy.metric_sum("circuits_open ") > 0.0
        });
        let begin = relay.accepted();
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            let (_, took) = timed(|| direct.call(&["GET", &key(0)]));
            longest = longest.max(took);
            let_pass(Duration::from_millis(10));
        }
        relay.set(Mode::Pass);
        let (_, back) = timed(|| {
            wait_until("it is used again", Duration::from_secs(20), || {
                direct.call(&["SET", &key(0).replace("probe", "again"), "1"]) == b"+OK\r\n"
            });
        });
        scene.note(&format!(
            "{mode:?}: longest of 100 requests with an open circuit {} ms, {} connections to it meanwhile, back after {} ms",
            longest.as_millis(),
            relay.accepted() - begin,
            back.as_millis()
        ));
        assert!(longest < Duration::from_millis(1900), "{mode:?}: a request waited {longest:?}");
        scene.witness.wait_answered(500);
    }
    let (all, ..) = scene.end();
    all.assert_true();
    all.assert_errors_only(TRUE_WORDS);
    assert!(all.stale.is_empty(), "{:?}", all.stale);
    for other in &all.probes[1..] {
        assert!(other.us < 1_000_000, "a client of another shard waited: {other:?}");
    }
}

/// Slow is not dead.
#[test]
fn a_node_that_is_slow_is_borne() {
    let (cluster, relay) = Cluster::behind_relay();
    let scene = Scene::with("slow node", cluster, FLAGS, CROWD);
    relay.set(Mode::Slow);
    scene.witness.wait_answered(300);
    relay.set(Mode::Pass);
    scene.witness.wait_answered(1000);
    assert_eq!(scene.proxy.metric_sum("circuits_opened_total"), 0.0);
    let (all, ..) = scene.end();
    all.assert_unnoticed();
    for other in &all.probes[1..] {
        assert!(other.us < 1_000_000, "a client of another shard waited: {other:?}");
    }
}

/// Each reply is followed by one that nobody asked for: it is never taken for the reply to the next request.
#[test]
fn a_node_that_says_too_much_confuses_nobody() {
    let (cluster, relay) = Cluster::behind_relay();
    let proxy = Proxy::start(&cluster, FLAGS);
    let mut c = proxy.client();
    assert_eq!(c.call(&["SET", &key(0), "value"]), b"+OK\r\n");
    relay.set(Mode::Surplus);
    for i in 0..50 {
        // A greeting that is followed by a surplus reply makes the connection useless, too.
        let reply = c.call(&["GET", &key(0)]);
        assert!(reply == b"$5\r\nvalue\r\n" || is_error(&reply), "GET {i}: {}", show(&reply));
    }
    relay.set(Mode::Pass);
    wait_until("it is used again", Duration::from_secs(20), || {
        c.call(&["GET", &key(0)]) == b"$5\r\nvalue\r\n"
    });
}
