//! Many clients at once: all served, evenly spread, cheap while idle.

use std::process::Command;
use std::time::Duration;

use crate::support::frame::{request, show};
use crate::support::{wait_until, Proxy, RawClient};
use crate::{client, fixture};

fn crowd(port: u16, size: usize) -> Vec<RawClient> {
    (0..size).map(|_| RawClient::connect(port)).collect()
}

#[test]
fn two_thousand_clients_are_served_at_once_by_workers_with_even_shares() {
    let mut proxy = Proxy::with_admin(&fixture().cluster, &["-max-procs", "4"]);
    let mut clients = crowd(proxy.port, 2000);
    for (i, c) in clients.iter_mut().enumerate() {
        c.send(
            &[
                request(&["SET", &format!("crowd:{i}"), &i.to_string()]),
                request(&["GET", &format!("crowd:{i}")]),
            ]
            .concat(),
        );
    }
    for (i, c) in clients.iter_mut().enumerate() {
        let expected = [&b"+OK\r\n"[..], &request(&[i.to_string()])[4..]].concat();
        assert_eq!(show(&c.frames(2).concat()), show(&expected), "client {i}");
    }
    let shares = clients_by_worker(&proxy);
    assert_eq!(shares.len(), 4, "{shares:?}");
    assert_eq!(shares.iter().sum::<f64>(), 2000.0, "{shares:?}");
    assert!(shares.iter().all(|s| *s <= 500.0 * 1.25), "{shares:?}");
    drop(clients);
    wait_until("closed clients are forgotten", Duration::from_secs(20), || {
        clients_by_worker(&proxy).iter().sum::<f64>() == 0.0
    });
    proxy.assert_alive();
}

#[test]
fn fifty_clients_are_spread_evenly_too() {
    let proxy = Proxy::with_admin(&fixture().cluster, &["-max-procs", "4"]);
    wait_until("the first clients are gone", Duration::from_secs(20), || {
        clients_by_worker(&proxy).iter().sum::<f64>() == 0.0
    });
    let mut clients = crowd(proxy.port, 50);
    clients.iter_mut().for_each(|c| assert_eq!(c.line("PING"), b"+PONG\r\n"));
    let shares = clients_by_worker(&proxy);
    assert!(shares.iter().all(|s| *s <= 12.5 * 1.25), "{shares:?}");
}

/// Who leaves while others come takes nobody's place and leaves no trace in the count that `-max-clients` is held to.
#[test]
fn clients_that_come_and_go_are_counted_out() {
    let proxy = Proxy::with_admin(&fixture().cluster, &["-max-procs", "4"]);
    for _ in 0..100 {
        let mut clients = crowd(proxy.port, 20);
        clients.iter_mut().for_each(|c| assert_eq!(c.line("PING"), b"+PONG\r\n"));
    }
    wait_until("nobody is counted", Duration::from_secs(10), || {
        clients_by_worker(&proxy).iter().sum::<f64>() == 0.0
    });
}

#[test]
fn an_idle_client_costs_less_than_1_kib() {
    let proxy = Proxy::start(&fixture().cluster, &["-max-procs", "1"]);
    // A first crowd, so that what is kept for use again is there; the measured one comes on top of it.
    let mut first = crowd(proxy.port, 500);
    first.iter_mut().for_each(|c| assert_eq!(c.line("GET idle:k"), b"$-1\r\n"));
    let before = proxy.rss_kib();
    let mut idle = crowd(proxy.port, 3000);
    idle.iter_mut().for_each(|c| assert_eq!(c.line("GET idle:k"), b"$-1\r\n"));
    let after = proxy.rss_kib();
    let each = after.saturating_sub(before) as f64 / 3000.0;
    assert!(each < 1.0, "{each} KiB per idle client ({before} KiB, then {after} KiB)");
}

#[test]
fn clients_above_the_limit_are_told_and_closed() {
    let proxy = Proxy::start(&fixture().cluster, &["-max-procs", "2", "-max-clients", "20"]);
    let served = |c: &mut RawClient| c.try_call(&["PING"]).is_ok_and(|r| r == b"+PONG\r\n");
    let mut clients = Vec::new();
    // Those that waited for the proxy to be ready may still be counted.
    wait_until("20 clients are served", Duration::from_secs(10), || {
        clients = crowd(proxy.port, 20);
        let all_served = clients.iter_mut().all(served);
        if !all_served {
            clients.clear();
        }
        all_served
    });
    for _ in 0..5 {
        assert_eq!(show(&proxy.client().until_closed()), "-ERR max number of clients reached\\r\\n");
    }
    assert!(clients.iter_mut().all(served), "nobody else suffers");
    clients.truncate(10);
    wait_until("there is room again", Duration::from_secs(10), || served(&mut proxy.client()));
}

#[test]
fn memory_is_given_back_after_a_crowd_of_large_values() {
    let proxy = Proxy::start(&fixture().cluster, &["-max-procs", "1"]);
    let value = vec![b'v'; 256 * 1024];
    assert_eq!(proxy.client().call(&[&b"SET"[..], b"memory:large", &value]), b"+OK\r\n");
    let before = proxy.rss_kib();
    for _ in 0..3 {
        let mut clients = crowd(proxy.port, 200);
        clients.iter_mut().for_each(|c| c.send_command(&["GET", "memory:large"]));
        clients.iter_mut().for_each(|c| assert_eq!(c.frame().len(), value.len() + 11));
    }
    let settled = || proxy.rss_kib() < before + 64 * 1024;
    wait_until("memory of 200 times 256 KiB is given back", Duration::from_secs(20), settled);
}

#[test]
fn the_benchmark_with_500_clients_and_pipelines_of_100_runs_clean() {
    let port = fixture().proxy.port.to_string();
    let run = Command::new("redis-benchmark")
        .args([
            "-p", &port, "-c", "500", "-P", "100", "-r", "10000", "-n", "200000", "-t", "get,set", "--csv",
        ])
        .output()
        .expect("redis-benchmark");
    let text = [run.stdout, run.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(run.status.success() && !text.to_lowercase().contains("error"), "{text}");
    assert_eq!(
        text.lines().filter(|l| l.starts_with("\"SET\"") || l.starts_with("\"GET\"")).count(),
        2,
        "{text}"
    );
    assert_eq!(client().line("PING"), b"+PONG\r\n");
}

/// The `clients` gauge of every worker.
fn clients_by_worker(proxy: &Proxy) -> Vec<f64> {
    let text = crate::support::http::get(proxy.debug_port.unwrap(), "/metrics").text();
    let gauge = |l: &&str| l.contains("clients{") && l.contains("worker=");
    text.lines().filter(gauge).filter_map(|l| l.rsplit_once(' ')?.1.parse().ok()).collect()
}
