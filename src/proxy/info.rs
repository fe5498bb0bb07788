//! INFO: the fields that clients and tools read when they connect, and the proxy's own section.

use std::fmt::Write;

use super::client::Client;
use super::dispatch::Step;
use super::engine::Engine;
use crate::base::arena::Key;
use crate::resp::{encode, Args};

type Section = (&'static str, fn(&Engine, &mut String));

const SECTIONS: [Section; 5] = [
    ("Server", Engine::info_server),
    ("Clients", Engine::info_clients),
    ("Persistence", Engine::info_persistence),
    ("Replication", Engine::info_replication),
    ("Proxy", Engine::info_proxy),
];

impl Engine {
    /// `INFO [section ...]`.
    pub(super) fn info(&mut self, key: Key<Client>, args: &Args<'_>) -> Step {
        let all =
            |s: &[u8]| [&b"all"[..], b"default", b"everything"].iter().any(|a| s.eq_ignore_ascii_case(a));
        let everything = args.len() == 1 || args.iter().skip(1).any(all);
        let mut text = String::new();
        for (name, write) in SECTIONS {
            if everything || args.iter().skip(1).any(|a| a.eq_ignore_ascii_case(name.as_bytes())) {
                if !text.is_empty() {
                    text.push_str("\r\n");
                }
                text.push_str("# ");
                text.push_str(name);
                text.push_str("\r\n");
                write(self, &mut text);
            }
        }
        let Some(c) = self.clients.get(key) else { return Step::Taken };
        let mut out = Vec::new();
        encode::verbatim(&mut out, text.as_bytes(), c.protocol());
        self.reply(key, &out)
    }

    fn info_server(&self, out: &mut String) {
        let uptime = self.now.since(self.around.started).as_secs();
        line(out, "redis_version", self.version());
        line(out, "redis_mode", "standalone");
        line(out, "os", std::env::consts::OS);
        line(out, "arch_bits", usize::BITS);
        line(out, "multiplexing_api", "mio");
        line(out, "process_id", self.around.pid);
        line(out, "tcp_port", self.around.port);
        line(out, "uptime_in_seconds", uptime);
        line(out, "uptime_in_days", uptime / 86400);
    }

    fn info_clients(&self, out: &mut String) {
        line(out, "connected_clients", self.clients_everywhere.max(self.clients.len() as u64));
        line(out, "maxclients", self.config.max_clients);
        line(out, "blocked_clients", 0);
    }

    fn info_persistence(&self, out: &mut String) {
        line(out, "loading", 0);
    }

    fn info_replication(&self, out: &mut String) {
        line(out, "role", "master");
        line(out, "connected_slaves", 0);
    }

    fn info_proxy(&self, out: &mut String) {
        let c = self.counters();
        line(out, "proxy_version", env!("CARGO_PKG_VERSION"));
        line(out, "proxy_workers", self.around.workers);
        line(out, "proxy_worker", self.around.worker);
        line(out, "proxy_nodes", self.nodes.keys().len());
        line(out, "worker_requests", c.requests);
        line(out, "worker_error_replies", c.error_replies);
        line(out, "worker_redirects", c.moved + c.ask);
    }
}

fn line(out: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{name}:{value}\r\n");
}
