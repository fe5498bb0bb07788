//! What the proxy holds, as its metrics tell it.

use std::fmt;

use crate::support::{http, Proxy};

#[derive(Clone, Copy, Debug)]
pub struct Reading {
    seconds: u64,
    pub resident_kib: u64,
    pub descriptors: u64,
    pub clients: u64,
    backends: u64,
    requests: u64,
    errors: u64,
    /// Split requests, parked parts, waiting clients, topics, requests in flight.
    held: [u64; 5],
    timers: u64,
}

impl Reading {
    pub const HEAD: &str =
        "seconds resident/KiB descriptors clients backends requests errors split parked waiting topics in-flight timers";

    pub fn take(proxy: &Proxy) -> Reading {
        let page = http::get(proxy.debug_port.expect("an admin address"), "/metrics").text();
        let value = |name: &str| {
            let line = page
                .lines()
                .find_map(|l| l.strip_prefix("redis_cluster_proxy_")?.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|v| v.parse::<f64>().ok()).unwrap_or_else(|| panic!("{name} is not in {page}"))
                as u64
        };
        let held = ["split_requests", "parked_parts", "waiting_clients", "topics", "requests_in_flight"];
        Reading {
            seconds: value("uptime_seconds"),
            resident_kib: value("process_resident_memory_bytes") / 1024,
            descriptors: value("process_open_fds"),
            clients: value("clients"),
            backends: value("backends"),
            requests: value("requests_total"),
            errors: value("error_replies_total"),
            held: held.map(value),
            timers: value("timers"),
        }
    }

    /// Whether nothing is kept for clients.
    pub fn holds_nothing(&self) -> bool {
        self.held == [0; 5]
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reading { seconds, resident_kib, descriptors, clients, backends, requests, errors, held, timers } =
            self;
        write!(f, "{seconds:7} {resident_kib:12} {descriptors:11} {clients:7} {backends:8} {requests:8} {errors:6} ")?;
        let [split, parked, waiting, topics, in_flight] = held;
        write!(f, "{split:5} {parked:6} {waiting:7} {topics:6} {in_flight:9} {timers:6}")
    }
}
