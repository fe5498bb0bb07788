//! The admin address: health, metrics, log level, profile.

use std::io::Read;

use crate::cluster;
use crate::support::http::{get, request};
use crate::support::load::Load;
use crate::support::Proxy;

fn proxy() -> (Proxy, u16) {
    let proxy = Proxy::with_admin(cluster(), &["-max-procs", "2"]);
    let port = proxy.debug_port.unwrap();
    (proxy, port)
}

#[test]
fn health_is_ok_while_slots_are_served() {
    let (_proxy, port) = proxy();
    let answer = get(port, "/healthz");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn metrics_count_what_clients_do() {
    let (proxy, port) = proxy();
    let requests = || proxy.metric_sum("proxy_requests_total");
    let before = requests();
    let mut c = proxy.client();
    for i in 0..100 {
        c.call(&["SET", &format!("admin:{i}"), "1"]);
    }
    let counted = requests() - before;
    assert!((100.0..=110.0).contains(&counted), "{counted} of 100 counted");
    let answer = get(port, "/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.headers.to_lowercase().contains("content-type: text/plain"), "{}", answer.headers);
    for line in answer.text().lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(value.parse::<f64>().is_ok() && name.starts_with(|c: char| c.is_ascii_lowercase()), "{line}");
    }
}

#[test]
fn unknown_paths_and_methods_are_refused() {
    let (mut proxy, port) = proxy();
    assert_eq!(get(port, "/nosuch").status, 404);
    assert!(get(port, &format!("/{}", "x".repeat(100_000))).status >= 400);
    assert!(request(port, "BREW", "/metrics", "").status >= 400);
    proxy.assert_alive();
    assert_eq!(get(port, "/healthz").status, 200);
}

#[test]
fn the_log_level_changes_while_running() {
    let (mut proxy, port) = proxy();
    for level in ["debug", "info", "warn", "error"] {
        assert_eq!(get(port, &format!("/setloglevel?level={level}")).status, 200, "{level}");
    }
    for bad in ["/setloglevel", "/setloglevel?level=", "/setloglevel?level=loud"] {
        assert_eq!(get(port, bad).status, 400, "{bad}");
    }
    proxy.assert_alive();
}

/// Built in by default; a build without it says so. Names come from the binary itself, so a smaller one must still have them.
#[test]
fn a_profile_names_functions_of_the_proxy() {
    let (mut proxy, port) = proxy();
    let load = Load::start(proxy.port, 4);
    let answer = get(port, "/debug/pprof/profile?seconds=2");
    assert!(load.stop().errors.is_empty());
    proxy.assert_alive();
    if cfg!(feature = "profile") {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut profile = Vec::new();
        flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut profile).expect("gzip");
        let name = b"redis_cluster_proxy::net::reactor";
        assert!(profile.windows(name.len()).any(|w| w == name), "{}", String::from_utf8_lossy(&profile));
    } else {
        assert!(answer.status >= 400);
    }
}
