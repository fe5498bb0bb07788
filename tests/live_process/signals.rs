//! SIGTERM, SIGINT, SIGHUP, SIGPIPE.

use std::time::Duration;

use crate::support::frame::request;
use crate::support::keys::tag_where;
use crate::support::{wait_until, Cluster, Proxy, RawClient};
use crate::{cluster, stop};

#[test]
fn sigterm_and_sigint_end_an_idle_proxy_with_success() {
    for signal in ["TERM", "INT"] {
        let mut proxy = Proxy::start(cluster(), &["-max-procs", "2"]);
        let mut idle = proxy.client();
        assert_eq!(idle.line("PING"), b"+PONG\r\n");
        proxy.signal(signal);
        // An idle client holds nothing up: well below the drain timeout.
        let status = proxy.wait_exit(Duration::from_secs(3));
        assert_eq!(status.code(), Some(0), "SIG{signal}");
        assert_eq!(idle.until_closed(), b"");
    }
}

/// What was taken in is answered; new clients are not.
#[test]
fn a_drain_answers_what_is_in_flight() {
    let cluster = Cluster::with(3, 0, &["--cluster-node-timeout", "60000"]);
    let mut proxy =
        Proxy::start(&cluster, &["-max-procs", "1", "-drain-timeout", "15s", "-reply-timeout", "30s"]);
    let tag = tag_where(|s| s < 5000);
    let mut c = proxy.client();
    assert_eq!(c.call(&["SET", &tag, "1"]), b"+OK\r\n");
    cluster.nodes[0].pause();
    c.send(&[request(&["INCR", &tag]), request(&["INCR", &tag])].concat());
    stop::wait_in_flight(&cluster, &proxy);
    proxy.signal("TERM");
    wait_until("new clients are refused", Duration::from_secs(10), || {
        RawClient::try_connect(proxy.port).is_err()
    });
    cluster.nodes[0].resume();
    assert_eq!(c.frames(2).concat(), b":2\r\n:3\r\n");
    assert_eq!(proxy.wait_exit(Duration::from_secs(10)).code(), Some(0));
}

/// They wait in the listener's queue, and would be reset when it is closed.
#[test]
fn clients_that_wait_to_be_accepted_at_sigterm_are_not_reset() {
    for workers in ["1", "2", "4"] {
        let mut proxy = Proxy::start(cluster(), &["-max-procs", workers]);
        proxy.signal("STOP");
        let mut clients: Vec<RawClient> = (0..400).map(|_| proxy.client()).collect();
        clients.iter_mut().for_each(|c| c.send_command(&["PING"]));
        proxy.signal("TERM");
        proxy.signal("CONT");
        for c in &mut clients {
            assert_eq!(c.frame(), b"+PONG\r\n", "{workers} workers");
        }
        assert_eq!(proxy.wait_exit(Duration::from_secs(10)).code(), Some(0));
    }
}

#[test]
fn a_second_signal_ends_the_proxy_at_once() {
    let cluster = Cluster::with(3, 0, &["--cluster-node-timeout", "60000"]);
    let mut proxy =
        Proxy::start(&cluster, &["-max-procs", "1", "-drain-timeout", "60s", "-reply-timeout", "60s"]);
    let tag = tag_where(|s| s < 5000);
    let mut c = proxy.client();
    cluster.nodes[0].pause();
    c.send_command(&["GET", &tag]);
    stop::wait_in_flight(&cluster, &proxy);
    proxy.signal("TERM");
    wait_until("the drain has begun", Duration::from_secs(10), || {
        RawClient::try_connect(proxy.port).is_err()
    });
    proxy.assert_alive();
    proxy.signal("TERM");
    proxy.wait_exit(Duration::from_secs(5));
}

#[test]
fn a_drain_ends_at_its_timeout() {
    let cluster = Cluster::with(3, 0, &["--cluster-node-timeout", "60000"]);
    let mut proxy =
        Proxy::start(&cluster, &["-max-procs", "1", "-drain-timeout", "1s", "-reply-timeout", "60s"]);
    let tag = tag_where(|s| s < 5000);
    let mut c = proxy.client();
    cluster.nodes[0].pause();
    c.send_command(&["GET", &tag]);
    stop::wait_in_flight(&cluster, &proxy);
    proxy.signal("TERM");
    proxy.wait_exit(Duration::from_secs(10));
}

#[test]
fn sighup_and_sigpipe_leave_the_proxy_at_work() {
    let mut proxy = Proxy::start(cluster(), &["-max-procs", "1"]);
    let mut c = proxy.client();
    for signal in ["HUP", "PIPE", "HUP"] {
        proxy.signal(signal);
        assert_eq!(c.line("SET signal:k v"), b"+OK\r\n");
    }
    assert_eq!(proxy.client().line("GET signal:k"), b"$1\r\nv\r\n");
    proxy.assert_alive();
}
