//! The text that Prometheus scrapes (text exposition format 0.0.4). Pure: everything shown is handed in.

use std::fmt::{Display, Write};
use std::time::Duration;

use super::process::ProcessInfo;
use super::workers::WorkerSample;
use crate::base::quotient::Quotient;
use crate::net::topology::TopologyStatus;
use crate::proxy::command_name;
use crate::stats::{Counters, Usage, Usages};

/// Everything the page shows.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) workers: Vec<WorkerSample>,
    pub(super) topology: TopologyStatus,
    pub(super) process: ProcessInfo,
    pub(super) uptime: Duration,
}

/// A sum over all workers: name without prefix, help, and where it stands.
type Row = (&'static str, &'static str, fn(&Counters) -> u64);

const COUNTERS: &[Row] = &[
    ("requests_total", "Commands read from clients.", |c| c.requests),
    ("error_replies_total", "Error replies to clients, from nodes or from the proxy.", |c| c.error_replies),
    ("proxy_errors_total", "Errors that the proxy itself made.", |c| c.proxy_errors),
    ("moved_total", "MOVED redirects followed.", |c| c.moved),
    ("ask_total", "ASK redirects followed.", |c| c.ask),
    ("retries_total", "Parts of requests sent again for another reason than a redirect.", |c| c.retries),
    ("reply_timeouts_total", "Parts of requests that a node did not answer in time.", |c| c.reply_timeouts),
    ("failed_at_once_total", "Parts of requests refused because their node had failed for too long.", |c| {
        c.failed_at_once
    }),
    ("circuits_opened_total", "Times that a node had failed for too long, as one worker saw it.", |c| {
        c.circuits_opened
    }),
    ("backend_connects_total", "Connections to nodes that were opened.", |c| c.backend_connects),
    ("backend_failures_total", "Connections to nodes that failed or were lost.", |c| c.backend_failures),
    ("clients_accepted_total", "Clients accepted.", |c| c.clients_accepted),
    ("clients_refused_total", "Clients refused at the limit.", |c| c.clients_refused),
    ("protocol_errors_total", "Clients closed for protocol errors.", |c| c.protocol_errors),
    ("output_limit_closes_total", "Clients closed at their output limit.", |c| c.output_limit_closes),
    ("memory_limit_closes_total", "Clients closed because all of them held more than -max-memory.", |c| {
        c.memory_limit_closes
    }),
    ("replies_streamed_total", "Replies passed on before their end had come.", |c| c.replies_streamed),
    ("replies_cut_total", "Clients closed as a node was lost in the middle of their reply.", |c| {
        c.replies_cut
    }),
    ("requests_streamed_total", "Requests passed on before their end had come.", |c| c.requests_streamed),
    ("client_bytes_in_total", "Bytes read from clients.", |c| c.client_bytes_in),
    ("client_bytes_out_total", "Bytes written to clients.", |c| c.client_bytes_out),
];

const GAUGES: &[Row] = &[
    ("clients", "Clients connected.", |c| c.clients),
    ("backends", "Connections to nodes that are open.", |c| c.backends),
    ("requests_in_flight", "Requests waiting for a reply.", |c| c.in_flight),
    ("split_requests", "Requests of several parts under way.", |c| c.gathers),
    ("parked_parts", "Parts of requests that wait to be sent again.", |c| c.parked),
    ("waiting_clients", "Clients that wait for the topology or for the end of a pause.", |c| c.waiting),
    ("topics", "Channels and patterns subscribed to, counted by each worker.", |c| c.topics),
    ("timers", "Timers set.", |c| c.timers),
    ("circuits_open", "Nodes whose requests fail at once, counted by each worker.", |c| c.circuits_open),
];

/// The whole page.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let mut page = Page::default();
    build_info(&mut page, &snapshot.topology);
    page.one("uptime_seconds", "gauge", "Time since the start.", snapshot.uptime.as_secs());
    sums(&mut page, &snapshot.workers);
    per_command(&mut page, &snapshot.workers);
    per_worker(&mut page, &snapshot.workers);
    topology(&mut page, &snapshot.topology);
    process(&mut page, &snapshot.process);
    page.text
}

fn build_info(page: &mut Page, topology: &TopologyStatus) {
    page.head("build_info", "gauge", "Always 1; the labels say what runs here and behind it.");
    let (proxy, server) = (env!("CARGO_PKG_VERSION"), escape(&topology.server_version));
    page.sample("build_info", &format!("version=\"{proxy}\",server_version=\"{server}\""), 1);
}

fn sums(page: &mut Page, workers: &[WorkerSample]) {
    let mut sum = Counters::default();
    workers.iter().for_each(|w| sum.add(&w.totals.counters));
    for (name, help, value) in COUNTERS {
        page.one(name, "counter", help, value(&sum));
    }
    for (name, help, value) in GAUGES {
        page.one(name, "gauge", help, value(&sum));
    }
}

/// Limits of the buckets of times: 64 microseconds, and then twice as long each, up to 8.4 s.
const TIMES: std::ops::RangeInclusive<u32> = 6..=23;

/// A counter of each command: name without prefix, help, and what it is.
type CommandRow = (&'static str, &'static str, fn(&Usage) -> u64);

const PER_COMMAND: &[CommandRow] = &[
    ("command_calls_total", "Calls of the command that were carried out.", Usage::calls),
    ("command_failed_total", "Calls of the command that were answered by an error.", Usage::failed),
    (
        "command_rejected_total",
        "Calls of the command that were refused without being carried out.",
        Usage::rejected,
    ),
];

fn per_command(page: &mut Page, workers: &[WorkerSample]) {
    let mut sum = Usages::default();
    workers.iter().for_each(|w| sum.add(&w.totals.commands));
    for (name, help, value) in PER_COMMAND {
        page.head(name, "counter", help);
        for (command, usage) in sum.iter() {
            page.sample(name, &format!("command=\"{}\"", command_name(command)), value(usage));
        }
    }
    let name = "command_duration_seconds";
    page.head(name, "histogram", "Time from a request to its reply, without calls that block.");
    for (command, usage) in sum.iter() {
        let command = format!("command=\"{}\"", command_name(command));
        for power in TIMES {
            let (limit, count) = (seconds(1 << power), usage.below(1 << power));
            page.sample(&format!("{name}_bucket"), &format!("{command},le=\"{limit}\""), count);
        }
        page.sample(&format!("{name}_bucket"), &format!("{command},le=\"+Inf\""), usage.timed());
        page.sample(&format!("{name}_sum"), &command, seconds(usage.usec()));
        page.sample(&format!("{name}_count"), &command, usage.timed());
    }
}

fn seconds(usec: u64) -> Quotient {
    Quotient::new(usec, 1_000_000, 6)
}

fn per_worker(page: &mut Page, workers: &[WorkerSample]) {
    page.head(
        "worker_up",
        "gauge",
        "Whether the worker answered; its other figures are of its last answer if not.",
    );
    for (index, worker) in workers.iter().enumerate() {
        page.sample("worker_up", &format!("worker=\"{index}\""), u8::from(worker.answered));
    }
    page.head("worker_clients", "gauge", "Clients that the worker has or was promised.");
    for (index, worker) in workers.iter().enumerate() {
        page.sample("worker_clients", &format!("worker=\"{index}\""), worker.clients);
    }
    page.head("worker_requests_total", "counter", "Commands read from clients of the worker.");
    for (index, worker) in workers.iter().enumerate() {
        page.sample("worker_requests_total", &format!("worker=\"{index}\""), worker.totals.counters.requests);
    }
}

fn topology(page: &mut Page, t: &TopologyStatus) {
    page.one("nodes", "gauge", "Nodes of the cluster.", t.nodes);
    page.one("primaries", "gauge", "Primaries of the cluster.", t.primaries);
    page.one("slots_covered", "gauge", "Hash slots that have a primary, of 16384.", t.covered_slots);
    page.one("cluster_epoch", "gauge", "Highest config epoch told by a trusted node.", t.epoch);
    if let Some(age) = t.age {
        let help = "Time since a node told or confirmed the topology.";
        page.one("topology_age_seconds", "gauge", help, Quotient::new(age.as_millis() as u64, 1000, 3));
    }
    page.one("topology_refreshes_total", "counter", "Refreshes of the topology that succeeded.", t.refreshes);
    let help = "Refreshes of the topology in which no node gave a usable answer.";
    page.one("topology_failures_total", "counter", help, t.failures);
}

fn process(page: &mut Page, process: &ProcessInfo) {
    let rows = [
        ("process_resident_memory_bytes", "Resident memory.", process.resident_bytes),
        ("process_open_fds", "Open file descriptors.", process.open_fds),
        ("process_max_fds", "File descriptors allowed.", process.max_fds),
    ];
    for (name, help, value) in rows {
        if let Some(value) = value {
            page.one(name, "gauge", help, value);
        }
    }
}

/// In a label a backslash, a quote and a line end are escaped.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The text so far. Writing to a string cannot fail.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(
            self.text,
            "# HELP redis_cluster_proxy_{name} {help}\n# TYPE redis_cluster_proxy_{name} {kind}\n"
        );
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.text, "redis_cluster_proxy_{name}{{{labels}}} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        let _ = writeln!(self.text, "redis_cluster_proxy_{name} {value}");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::stats::{CommandCounters, Totals};

    fn usages() -> Usages {
        let mut counters = CommandCounters::new(500);
        let get = (0..500).find(|id| command_name(*id) == "get").unwrap();
        counters.answered(get, 100, 3);
        counters.answered(get, 3000, 1);
        counters.failed(get);
        counters.usages()
    }

    fn snapshot() -> Snapshot {
        let worker = |answered, clients, requests| WorkerSample {
            answered,
            clients,
            totals: Totals {
                counters: Counters { requests, clients: u64::from(clients), ..Counters::default() },
                commands: usages(),
            },
        };
        Snapshot {
            workers: vec![worker(true, 3, 10), worker(false, 4, 5)],
            topology: TopologyStatus {
                nodes: 6,
                primaries: 3,
                covered_slots: 16384,
                age: Some(Duration::from_millis(1250)),
                server_version: "7.0\"\\\n".into(),
                ..TopologyStatus::default()
            },
            process: ProcessInfo { resident_bytes: Some(4096), open_fds: None, max_fds: Some(1024) },
            uptime: Duration::from_secs(61),
        }
    }

    #[test]
    fn figures_are_summed_and_shown_per_worker() {
        let page = render(&snapshot());
        for line in [
            "requests_total 15",
            "clients 7",
            "worker_up{worker=\"0\"} 1",
            "worker_up{worker=\"1\"} 0",
            "worker_clients{worker=\"1\"} 4",
            "worker_requests_total{worker=\"0\"} 10",
            "nodes 6",
            "slots_covered 16384",
            "topology_age_seconds 1.250",
            "uptime_seconds 61",
            "command_calls_total{command=\"get\"} 8",
            "command_failed_total{command=\"get\"} 2",
            "command_rejected_total{command=\"get\"} 0",
            "command_duration_seconds_bucket{command=\"get\",le=\"0.000064\"} 0",
            "command_duration_seconds_bucket{command=\"get\",le=\"0.000128\"} 6",
            "command_duration_seconds_bucket{command=\"get\",le=\"8.388608\"} 8",
            "command_duration_seconds_bucket{command=\"get\",le=\"+Inf\"} 8",
            "command_duration_seconds_sum{command=\"get\"} 0.006600",
            "command_duration_seconds_count{command=\"get\"} 8",
            "process_resident_memory_bytes 4096",
        ] {
            assert!(
                page.lines().any(|l| l.strip_prefix("redis_cluster_proxy_") == Some(line)),
                "{line}\n{page}"
            );
        }
        assert!(!page.contains("process_open_fds"));
        assert!(page.contains(r#"server_version="7.0\"\\\n""#), "{page}");
    }

    #[test]
    fn every_counter_is_on_the_page() {
        // Each field gets a value of its own, so one that is missing or shown twice is seen.
        let counters = Counters {
            requests: 1001,
            error_replies: 1002,
            proxy_errors: 1003,
            moved: 1004,
            ask: 1005,
            retries: 1006,
            reply_timeouts: 1007,
            backend_connects: 1008,
            backend_failures: 1009,
            clients_accepted: 1010,
            clients_refused: 1011,
            protocol_errors: 1012,
            output_limit_closes: 1013,
            memory_limit_closes: 1038,
            client_bytes_in: 1014,
            client_bytes_out: 1015,
            clients: 1016,
            backends: 1017,
            in_flight: 1018,
            failed_at_once: 1019,
            circuits_opened: 1020,
            circuits_open: 1021,
            gathers: 1022,
            parked: 1023,
            waiting: 1024,
            topics: 1025,
            timers: 1026,
            replies_streamed: 1027,
            requests_streamed: 1028,
            replies_cut: 1029,
        };
        let mut page = Page::default();
        sums(
            &mut page,
            &[WorkerSample { answered: true, clients: 0, totals: Totals { counters, ..Totals::default() } }],
        );
        for value in 1001..=1029 {
            let end = format!(" {value}");
            assert_eq!(page.text.lines().filter(|l| l.ends_with(&end)).count(), 1, "{value}");
        }
    }

    #[test]
    fn the_format_is_that_of_prometheus() {
        let page = render(&snapshot());
        assert!(page.ends_with('\n'));
        let mut typed = HashSet::new();
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(typed.insert(name.to_owned()), "{name} twice");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            } else if !line.starts_with("# HELP ") {
                let name = line.split(['{', ' ']).next().unwrap();
                // A histogram has series of three names.
                let ends = ["_bucket", "_sum", "_count"];
                let base = ends.iter().find_map(|end| name.strip_suffix(end)).filter(|n| typed.contains(*n));
                assert!(typed.contains(base.unwrap_or(name)), "{line}");
                assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
            }
        }
        assert_eq!(page.matches("# HELP ").count(), typed.len());
    }
}
