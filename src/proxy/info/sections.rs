//! The fields of each section. Names and order are those of Redis 7.0.15 where nothing is said of versions; fields that say
//! nothing of a proxy and that no tool needs are left out.

use std::fmt::{Display, Write};

use super::census::Keys;
use super::{hex_id, Facts};
use crate::base::quotient::Quotient;
use crate::command::{self, Since};
use crate::proxy::engine::Engine;
use crate::proxy::pubsub::Scope;

/// What was `redis_mode` is called `server_mode`.
const SERVER_MODE: Since = Since::valkey(8, 0);

pub(super) fn server(e: &Engine, facts: &Facts<'_>, out: &mut String) {
    let uptime = e.now.since(e.around.started).as_secs();
    let wall = e.host.wall_us.saturating_add(e.now.as_micros());
    let port = facts.census.local.map_or(e.around.port, |local| e.announced(local).1);
    let software = &e.software;
    line(out, "redis_version", software.redis_version());
    if software.name() != "redis" {
        line(out, "server_name", software.name());
        line(out, &format!("{}_version", software.name()), software.version());
    }
    line(out, "redis_git_sha1", "00000000");
    line(out, "redis_git_dirty", 0);
    let mode = if software.has(SERVER_MODE) { "server_mode" } else { "redis_mode" };
    line(out, mode, "standalone");
    line(out, "os", &e.host.os);
    line(out, "arch_bits", usize::BITS);
    line(out, "multiplexing_api", "mio");
    line(out, "process_id", e.around.pid);
    line(out, "process_supervised", "no");
    line(out, "run_id", hex_id(&format!("{} {}", e.host.run, e.around.pid)));
    line(out, "tcp_port", port);
    line(out, "server_time_usec", wall);
    line(out, "uptime_in_seconds", uptime);
    line(out, "uptime_in_days", uptime / 86400);
    line(out, "hz", 10);
    line(out, "configured_hz", 10);
    line(out, "executable", &e.host.executable);
    line(out, "config_file", "");
    line(out, "io_threads_active", 0);
}

pub(super) fn clients(e: &Engine, facts: &Facts<'_>, out: &mut String) {
    line(out, "connected_clients", facts.figures.counters.clients);
    line(out, "cluster_connections", 0);
    line(out, "maxclients", e.config.max_clients);
    line(out, "client_recent_max_input_buffer", 0);
    line(out, "client_recent_max_output_buffer", 0);
    line(out, "blocked_clients", facts.figures.blocked);
    line(out, "tracking_clients", facts.figures.tracking);
    // Fields of newer servers than 7.0 are shown where the nodes have them.
    if facts.census.sum("watching_clients").is_some() {
        line(out, "pubsub_clients", facts.figures.subscribers);
        line(out, "watching_clients", facts.figures.watching);
    }
    line(out, "clients_in_timeout_table", 0);
    // Which keys these are is known at the nodes.
    for name in ["total_watched_keys", "total_blocking_keys", "total_blocking_keys_on_nokey"] {
        maybe(out, name, facts.census.sum(name));
    }
}

/// Of the primaries together: clients ask what their data costs. The proxy's own memory is in its section.
pub(super) fn memory(_: &Engine, facts: &Facts<'_>, out: &mut String) {
    let census = facts.census;
    for name in ["used_memory", "used_memory_rss", "used_memory_peak"] {
        with_human(out, name, census.sum(name));
    }
    for name in ["used_memory_overhead", "used_memory_startup", "used_memory_dataset", "allocator_allocated"]
    {
        maybe(out, name, census.sum(name));
    }
    with_human(out, "total_system_memory", census.sum("total_system_memory"));
    maybe(out, "used_memory_vm_eval", census.sum("used_memory_vm_eval"));
    with_human(out, "used_memory_lua", census.sum("used_memory_lua"));
    maybe(out, "used_memory_scripts_eval", census.sum("used_memory_scripts_eval"));
    maybe(out, "number_of_cached_scripts", census.max("number_of_cached_scripts"));
    maybe(out, "number_of_functions", census.max("number_of_functions"));
    maybe(out, "number_of_libraries", census.max("number_of_libraries"));
    maybe(out, "used_memory_vm_functions", census.sum("used_memory_vm_functions"));
    with_human(out, "used_memory_vm_total", census.sum("used_memory_vm_total"));
    maybe(out, "used_memory_functions", census.sum("used_memory_functions"));
    with_human(out, "used_memory_scripts", census.sum("used_memory_scripts"));
    with_human(out, "maxmemory", census.sum("maxmemory"));
    maybe(out, "maxmemory_policy", census.unlike("maxmemory_policy", "noeviction"));
    if let (Some(rss), Some(used @ 1..)) = (census.sum("used_memory_rss"), census.sum("used_memory")) {
        line(out, "mem_fragmentation_ratio", Quotient::new(rss.unsigned_abs(), used.unsigned_abs(), 2));
        line(out, "mem_fragmentation_bytes", rss - used);
    }
    maybe(out, "mem_allocator", census.unlike("mem_allocator", ""));
    maybe(out, "active_defrag_running", census.max("active_defrag_running"));
    maybe(out, "lazyfree_pending_objects", census.sum("lazyfree_pending_objects"));
    maybe(out, "lazyfreed_objects", census.sum("lazyfreed_objects"));
}

/// `loading` is always 0: commands for a node that loads its data wait.
pub(super) fn persistence(_: &Engine, facts: &Facts<'_>, out: &mut String) {
    let census = facts.census;
    line(out, "loading", 0);
    line(out, "async_loading", 0);
    maybe(out, "rdb_changes_since_last_save", census.sum("rdb_changes_since_last_save"));
    maybe(out, "rdb_bgsave_in_progress", census.max("rdb_bgsave_in_progress"));
    maybe(out, "rdb_last_save_time", census.min("rdb_last_save_time"));
    maybe(out, "rdb_last_bgsave_status", census.unlike("rdb_last_bgsave_status", "ok"));
    for name in ["rdb_last_bgsave_time_sec", "rdb_current_bgsave_time_sec", "aof_enabled"] {
        maybe(out, name, census.max(name));
    }
    for name in ["aof_rewrite_in_progress", "aof_rewrite_scheduled", "aof_last_rewrite_time_sec"] {
        maybe(out, name, census.max(name));
    }
    for name in ["aof_last_bgrewrite_status", "aof_last_write_status"] {
        maybe(out, name, census.unlike(name, "ok"));
    }
}

pub(super) fn stats(e: &Engine, facts: &Facts<'_>, out: &mut String) {
    let (census, c) = (facts.census, &facts.figures.counters);
    line(out, "total_connections_received", c.clients_accepted);
    line(out, "total_commands_processed", c.requests);
    maybe(out, "instantaneous_ops_per_sec", census.sum("instantaneous_ops_per_sec"));
    line(out, "total_net_input_bytes", c.client_bytes_in);
    line(out, "total_net_output_bytes", c.client_bytes_out);
    line(out, "rejected_connections", c.clients_refused);
    for name in ["expired_keys", "evicted_keys", "keyspace_hits", "keyspace_misses"] {
        maybe(out, name, census.sum(name));
    }
    line(out, "pubsub_channels", e.subscribed(Scope::Channel));
    line(out, "pubsub_patterns", e.subscribed(Scope::Pattern));
    line(out, "pubsubshard_channels", e.subscribed(Scope::Shard));
    maybe(out, "latest_fork_usec", census.max("latest_fork_usec"));
    maybe(out, "total_forks", census.sum("total_forks"));
    let names = ["tracking_total_keys", "tracking_total_items", "tracking_total_prefixes"];
    names.iter().zip(facts.figures.tracked).for_each(|(name, n)| line(out, name, n));
    line(out, "unexpected_error_replies", 0);
    line(out, "total_error_replies", c.error_replies);
}

pub(super) fn replication(e: &Engine, _: &Facts<'_>, out: &mut String) {
    line(out, "role", "master");
    line(out, "connected_slaves", 0);
    line(out, "master_failover_state", "no-failover");
    line(out, "master_replid", hex_id(&format!("replication {} {}", e.host.run, e.around.pid)));
    line(out, "master_replid2", "0".repeat(40));
    line(out, "master_repl_offset", 0);
    line(out, "second_repl_offset", -1);
    line(out, "repl_backlog_active", 0);
    line(out, "repl_backlog_size", 0);
    line(out, "repl_backlog_first_byte_offset", 0);
    line(out, "repl_backlog_histlen", 0);
}

/// Of the proxy's process.
pub(super) fn cpu(e: &Engine, _: &Facts<'_>, out: &mut String) {
    let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    line(out, "used_cpu_sys", seconds(e.host.system_us));
    line(out, "used_cpu_user", seconds(e.host.user_us));
    line(out, "used_cpu_sys_children", "0.000000");
    line(out, "used_cpu_user_children", "0.000000");
}

/// Clients come to the proxy without encryption only.
pub(super) fn tls(_: &Engine, _: &Facts<'_>, out: &mut String) {
    for cert in ["server_cert", "client_cert", "ca_cert"] {
        line(out, &format!("tls_{cert}_serial"), "none");
        line(out, &format!("tls_{cert}_expires_in_seconds"), 0);
    }
}

/// Those of the nodes.
pub(super) fn modules(_: &Engine, facts: &Facts<'_>, out: &mut String) {
    facts.census.modules().iter().for_each(|module| line(out, "module", module));
}

/// What the proxy has nothing to say of.
pub(super) fn nothing(_: &Engine, _: &Facts<'_>, _: &mut String) {}

/// Of the primaries together.
pub(super) fn keysizes(_: &Engine, facts: &Facts<'_>, out: &mut String) {
    for (name, sizes) in facts.census.distributions() {
        let sizes: Vec<_> = sizes.iter().map(|(size, count)| format!("{size}={count}")).collect();
        line(out, name, sizes.join(","));
    }
}

pub(super) fn errorstats(_: &Engine, facts: &Facts<'_>, out: &mut String) {
    for (code, count) in facts.figures.errors.sorted() {
        line(out, &format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

pub(super) fn commandstats(_: &Engine, facts: &Facts<'_>, out: &mut String) {
    for (command, usage) in facts.figures.commands.iter() {
        let (calls, usec) = (usage.calls(), usage.usec());
        let (rejected, failed) = (usage.rejected(), usage.failed());
        let each = Quotient::new(usec, usage.timed(), 2);
        let text = format_args!(
            "calls={calls},usec={usec},usec_per_call={each},rejected_calls={rejected},failed_calls={failed}"
        );
        line(out, &format!("cmdstat_{}", command::full_name(command)), text);
    }
}

/// From a request to its reply, as this proxy sees it.
pub(super) fn latencystats(_: &Engine, facts: &Facts<'_>, out: &mut String) {
    for (command, usage) in facts.figures.commands.iter().filter(|(_, u)| u.timed() > 0) {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| usage.percentile(share));
        let text = format_args!("p50={p50}.000,p99={p99}.000,p99.9={p999}.000");
        line(out, &format!("latency_percentiles_usec_{}", command::full_name(command)), text);
    }
}

/// A client must not mistake the proxy for a node that redirects.
pub(super) fn cluster(_: &Engine, _: &Facts<'_>, out: &mut String) {
    line(out, "cluster_enabled", 0);
}

/// How servers call keys with parts that expire by themselves.
const VOLATILE: [(&str, Since); 2] =
    [("subexpiry", Since::redis(7, 4)), ("keys_with_volatile_items", Since::valkey(9, 0))];

pub(super) fn keyspace(e: &Engine, facts: &Facts<'_>, out: &mut String) {
    for db in facts.census.databases() {
        if let Some(Keys { keys: keys @ 1.., expires, ttl, volatile }) = facts.census.keys(db) {
            let named = VOLATILE.iter().find(|(_, since)| e.software.has(*since));
            let more = named.map(|(name, _)| format!(",{name}={volatile}")).unwrap_or_default();
            line(out, &format!("db{db}"), format_args!("keys={keys},expires={expires},avg_ttl={ttl}{more}"));
        }
    }
}

/// What is not in a server: of all workers, `proxy_worker` aside.
pub(super) fn proxy(e: &Engine, facts: &Facts<'_>, out: &mut String) {
    let c = &facts.figures.counters;
    line(out, "proxy_version", env!("CARGO_PKG_VERSION"));
    line(out, "proxy_workers", e.around.workers);
    line(out, "proxy_worker", e.around.worker);
    line(out, "proxy_used_memory_rss", e.host.resident_bytes);
    line(out, "proxy_nodes", e.nodes.keys().len());
    line(out, "proxy_primaries", e.nodes.primaries().count());
    line(out, "proxy_slots_covered", e.nodes.covered());
    line(out, "proxy_requests_in_flight", c.in_flight);
    line(out, "proxy_backends", c.backends);
    line(out, "proxy_backend_connects", c.backend_connects);
    line(out, "proxy_backend_failures", c.backend_failures);
    line(out, "proxy_moved", c.moved);
    line(out, "proxy_ask", c.ask);
    line(out, "proxy_retries", c.retries);
    line(out, "proxy_reply_timeouts", c.reply_timeouts);
    line(out, "proxy_circuits_open", c.circuits_open);
    line(out, "proxy_errors", c.proxy_errors);
    line(out, "proxy_protocol_errors", c.protocol_errors);
    line(out, "proxy_output_limit_closes", c.output_limit_closes);
    line(out, "proxy_memory_limit_closes", c.memory_limit_closes);
}

fn line(out: &mut String, name: &str, value: impl Display) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{name}:{value}\r\n");
}

fn maybe(out: &mut String, name: &str, value: Option<impl Display>) {
    if let Some(value) = value {
        line(out, name, value);
    }
}

fn with_human(out: &mut String, name: &str, bytes: Option<i64>) {
    if let Some(bytes) = bytes {
        line(out, name, bytes);
        line(out, &format!("{name}_human"), human(bytes));
    }
}

/// As a server's `bytesToHuman`.
fn human(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    let power = u64::try_from(bytes).unwrap_or(0).max(1).ilog2() / 10;
    match UNITS.get((power as usize).wrapping_sub(1)) {
        None => format!("{bytes}B"),
        Some(unit) => format!("{}{unit}", Quotient::new(bytes.unsigned_abs(), 1 << (10 * power), 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn bytes_for_people() {
        let cases =
            [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (1336816, "1.27M"), (25276510208, "23.54G")];
        for (bytes, text) in cases {
            assert_eq!(human(bytes), text);
        }
    }
}
