//! The flag table: one row per flag with its name, kind, default, help and setter. Parser, usage text and README
//! table are made from these rows and from nothing else.

use std::path::PathBuf;
use std::time::Duration;

use super::{log, value, ReadPrefer, Settings, Severity};

/// What kind of value a flag takes; in the usage text the names of Go's `flag` package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// May stand alone, meaning true.
    Bool,
    Int,
    Duration,
    String,
    /// Anything with a syntax of its own.
    Value,
}

/// One flag.
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// As one would write it on the command line.
    pub(super) default: &'static str,
    pub(super) help: &'static str,
    pub(super) set: Setter,
}

/// Puts a value into the settings; the error says what would be accepted, to stand after "want".
type Setter = fn(&mut Settings, &str) -> Result<(), String>;

/// All flags but `-help`, by theme.
#[rustfmt::skip] // one row per flag
pub(super) const FLAGS: &[Flag] = &[
    row("addr", Kind::String, "0.0.0.0:8088", "proxy serving address",
        |s, v| put(&mut s.proxy.addr, listen_address(v))),
    row("startup-nodes", Kind::String, "127.0.0.1:7001",
        "comma-separated host:port of cluster nodes that are asked for the topology at start; host names allowed",
        |s, v| put(&mut s.proxy.startup_nodes, startup_nodes(v))),
    row("password", Kind::String, "",
        "password for the cluster nodes; when set, clients must AUTH with the same password",
        |s, v| put(&mut s.proxy.password, Ok(v.to_string()))),
    row("read-prefer", Kind::Value, "0",
        "which node of a shard serves read-only commands: 0 master, 1 slave (replica), 2 slave-same-idc \
         (a replica with the same first two IPv4 segments as this host)",
        |s, v| put(&mut s.proxy.read_prefer, read_prefer(v))),
    row("max-procs", Kind::Int, "0", "worker threads; 0 means one per core available to the process",
        |s, v| put(&mut s.proxy.workers, workers(v))),
    row("debug-addr", Kind::String, "", "admin HTTP address: dashboard, metrics, log level, profiles; off when empty",
        |s, v| put(&mut s.proxy.debug_addr, admin_address(v))),
    row("announce-addr", Kind::String, "",
        "host:port by which clients reach the proxy, told to cluster clients; when empty, the address that each came in at",
        |s, v| put(&mut s.proxy.announce_addr, announce_address(v))),
    row("connect-timeout", Kind::Duration, "3s", "how long connecting to a cluster node may take, handshake included",
        |s, v| put(&mut s.proxy.connect_timeout, timeout(v))),
    row("slots-reload-interval", Kind::Duration, "3s", "how often the slot map is reloaded without a reason",
        |s, v| put(&mut s.proxy.slots_reload_interval, timeout(v))),
    row("backend-idle-connections", Kind::Int, "5", "idle dedicated connections kept per cluster node, at most",
        |s, v| put(&mut s.proxy.backend_idle_connections, count(v, 0, MOST_IDLE))),
    row("backend-init-connections", Kind::Int, "0",
        "idle dedicated connections opened per cluster node in advance; not above backend-idle-connections",
        |s, v| put(&mut s.proxy.backend_init_connections, count(v, 0, MOST_IDLE))),
    row("reply-timeout", Kind::Duration, "10s", "how long a cluster node may take to answer a non-blocking command",
        |s, v| put(&mut s.proxy.reply_timeout, timeout(v))),
    row("retry-timeout", Kind::Duration, "10s",
        "how long a command may wait and be sent again (failover, migration) before the client gets an error",
        |s, v| put(&mut s.proxy.retry_timeout, short_timeout(v))),
    row("drain-timeout", Kind::Duration, "10s", "how long an orderly stop waits for commands in flight; 0 does not wait",
        |s, v| put(&mut s.proxy.drain_timeout, timeout_or_zero(v))),
    row("upgrade-timeout", Kind::Duration, "30s",
        "how long connected clients are served on after another process has taken over (SIGUSR2), before the orderly stop",
        |s, v| put(&mut s.proxy.upgrade_timeout, timeout_or_zero(v))),
    row("max-clients", Kind::Int, "10000", "clients at once, at most",
        |s, v| put(&mut s.proxy.max_clients, count(v, 1, MOST_CLIENTS))),
    row("client-idle-timeout", Kind::Duration, "0s", "a client that sends nothing for so long is closed; 0 means never",
        |s, v| put(&mut s.proxy.client_idle_timeout, timeout_or_zero(v))),
    row("auth-timeout", Kind::Duration, "10s",
        "with -password, a client that has not authenticated after so long is closed; 0 means never",
        |s, v| put(&mut s.proxy.auth_timeout, timeout_or_zero(v))),
    row("tcp-keepalive", Kind::Duration, "300s",
        "a silent client is probed after so long and closed when it does not answer for as long again; 0 means never",
        |s, v| put(&mut s.proxy.tcp_keepalive, timeout_or_zero(v))),
    row("client-output-limit", Kind::Value, "256mb", "bytes of replies waiting for one client at which it is closed",
        |s, v| put(&mut s.proxy.client_output_limit, size(v, 1 << 40, "1024gb"))),
    row("pubsub-output-limit", Kind::Value, "32mb", "bytes of messages waiting for one subscriber at which it is closed",
        |s, v| put(&mut s.proxy.pubsub_output_limit, size(v, 1 << 40, "1024gb"))),
    row("max-memory", Kind::Value, "1gb",
        "bytes that the requests and replies of all clients may take in memory; above it those that hold most are closed; 0 means any number",
        |s, v| put(&mut s.proxy.max_memory, if v == "0" { Ok(0) } else { size(v, 1 << 40, "1024gb") })),
    row("refuse-commands", Kind::String, "",
        "comma-separated commands that are refused besides those that always are; config is all of CONFIG, config|set one of it",
        |s, v| put(&mut s.proxy.refused_commands, command_names(v))),
    row("max-request", Kind::Value, "1gb", "largest request in bytes; one argument has 512mb at most",
        |s, v| put(&mut s.proxy.max_request, size(v, 2 << 30, "2gb"))),
    row("log_dir", Kind::String, "",
        "if non-empty, write log files in this directory, else in the one for temporary files",
        |s, v| put(&mut s.log.log_dir, Ok(directory(v)))),
    row("log_link", Kind::String, "", "if non-empty, add symbolic links in this directory to the log files",
        |s, v| put(&mut s.log.log_link, Ok(directory(v)))),
    row("logtostderr", Kind::Bool, "false", "log to standard error instead of files",
        |s, v| put(&mut s.log.logtostderr, boolean(v))),
    row("alsologtostderr", Kind::Bool, "false", "log to standard error as well as files",
        |s, v| put(&mut s.log.alsologtostderr, boolean(v))),
    row("stderrthreshold", Kind::Value, "2", "logs at or above this threshold go to stderr",
        |s, v| put(&mut s.log.stderrthreshold, severity(v))),
    row("v", Kind::Value, "0", "log level for V logs: 1 debug, 2 trace",
        |s, v| put(&mut s.log.v, integer(v))),
    row("vmodule", Kind::Value, "", "comma-separated list of pattern=N settings for file-filtered logging",
        |s, v| put(&mut s.log.vmodule, log::vmodule(v).ok_or_else(|| VMODULE.into()))),
    row("log_backtrace_at", Kind::Value, "", "when logging hits line file:N, emit a stack trace",
        |s, v| put(&mut s.log.log_backtrace_at, log::source_lines(v).ok_or_else(|| SOURCE_LINES.into()))),
    row("logbuflevel", Kind::Int, "0",
        "buffer log messages logged at this level or lower while more are waiting \
         (-1 means don't buffer; 0 means buffer INFO only; ...)",
        |s, v| put(&mut s.log.logbuflevel, integer(v))),
    row(VERSION, Kind::Bool, "false", "print the version and exit",
        |_, v| boolean(v).map(|_| ())),
];

/// The flag that asks for the version instead of running.
pub(super) const VERSION: &str = "version";

const MOST_IDLE: usize = 10_000;
const MOST_CLIENTS: usize = 10_000_000;
const MOST_WORKERS: usize = 1024;
/// Below this a limit in bytes would refuse ordinary commands and replies.
const LEAST_BYTES: u64 = 1024;
const VMODULE: &str = "a comma-separated list of pattern=N such as fetcher=2,net/*=1";
const SOURCE_LINES: &str = "a comma-separated list of file:line such as fetcher.rs:120";
const DURATION: &str = "a duration such as 250ms, 3s or 1m30s";

const fn row(name: &'static str, kind: Kind, default: &'static str, help: &'static str, set: Setter) -> Flag {
    Flag { name, kind, default, help, set }
}

/// Stores what was read, if anything was.
fn put<T>(place: &mut T, read: Result<T, String>) -> Result<(), String> {
    *place = read?;
    Ok(())
}

fn boolean(text: &str) -> Result<bool, String> {
    value::boolean(text).ok_or_else(|| "true or false".into())
}

fn integer(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| "a whole number".into())
}

fn count(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| (least..=most).contains(n));
    number.ok_or_else(|| format!("a whole number from {least} to {most}"))
}

fn workers(text: &str) -> Result<usize, String> {
    match count(text, 0, MOST_WORKERS)? {
        // This call knows cgroup quotas and CPU affinity.
        0 => Ok(std::thread::available_parallelism().map_or(1, |n| n.get())),
        n => Ok(n),
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    let read = value::duration(text).ok_or(DURATION)?;
    at_least_a_millisecond(read).ok_or_else(|| format!("{DURATION}, at least 1ms"))
}

/// The age of a request in flight is kept in 32 bits of microseconds.
fn short_timeout(text: &str) -> Result<Duration, String> {
    let short = timeout(text).ok().filter(|d| *d <= Duration::from_secs(3600));
    short.ok_or_else(|| format!("{DURATION}, at least 1ms and at most 1h"))
}

fn timeout_or_zero(text: &str) -> Result<Duration, String> {
    match value::duration(text).ok_or(DURATION)? {
        Duration::ZERO => Ok(Duration::ZERO),
        read => at_least_a_millisecond(read).ok_or_else(|| format!("0 or {DURATION}, at least 1ms")),
    }
}

/// Workers poll in milliseconds; what is shorter is a slip of the pen.
fn at_least_a_millisecond(read: Duration) -> Option<Duration> {
    (read >= Duration::from_millis(1)).then_some(read)
}

fn size(text: &str, most: u64, most_text: &str) -> Result<usize, String> {
    // On a 32-bit machine the address space is the limit before `most` is.
    let read =
        value::size(text).filter(|n| (LEAST_BYTES..=most).contains(n)).and_then(|n| usize::try_from(n).ok());
    read.ok_or_else(|| format!("a number of bytes from 1kb to {most_text}, such as 1048576, 64kb or 256mb"))
}

fn severity(text: &str) -> Result<Severity, String> {
    Severity::parse(text).ok_or_else(|| "0 (INFO), 1 (WARNING), 2 (ERROR) or 3 (FATAL)".into())
}

fn directory(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn read_prefer(text: &str) -> Result<ReadPrefer, String> {
    match text.to_ascii_lowercase().as_str() {
        "0" | "master" | "primary" => Ok(ReadPrefer::Master),
        "1" | "slave" | "replica" => Ok(ReadPrefer::Slave),
        "2" | "slave-same-idc" | "replica-same-idc" => Ok(ReadPrefer::SlaveSameIdc),
        _ => Err("0 (master, primary), 1 (slave, replica) or 2 (slave-same-idc, replica-same-idc)".into()),
    }
}

/// An empty host means every IPv4 address of the machine, as `:8088` does in Go. Port 0 lets the system choose.
fn listen_address(text: &str) -> Result<String, String> {
    let (host, port) =
        value::host_port(text).ok_or("host:port such as 0.0.0.0:8088 or [::1]:8088, port up to 65535")?;
    Ok(value::join_host_port(if host.is_empty() { "0.0.0.0" } else { host }, port))
}

fn admin_address(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    listen_address(text).map(Some).map_err(|want| format!("{want}, or nothing"))
}

/// Clients must be able to connect to it, so neither host nor port may be left open.
fn announce_address(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    match value::host_port(text) {
        Some((host, port)) if !host.is_empty() && host != "0.0.0.0" && host != "::" && port != 0 => {
            Ok(Some(value::join_host_port(host, port)))
        }
        _ => {
            Err("host:port such as 10.0.0.1:8088 or redis.example.com:6379, port from 1 to 65535, or nothing"
                .into())
        }
    }
}

/// Which of them there are is not known here, and not in full anywhere: modules bring commands of their own.
fn command_names(text: &str) -> Result<Vec<String>, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(command_name).collect()
}

fn command_name(text: &str) -> Result<String, String> {
    let words: Vec<&str> = text.split('|').collect();
    let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic());
    match words.len() <= 2 && words.iter().all(is_word) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!("names of commands such as flushall,config,script|flush; not {text:?}")),
    }
}

fn startup_nodes(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(|node| startup_node(node.trim())).collect()
}

fn startup_node(text: &str) -> Result<String, String> {
    match value::host_port(text) {
        Some((host, port)) if !host.is_empty() && port != 0 => Ok(value::join_host_port(host, port)),
        _ => Err(format!(
            "host:port,... such as 10.0.0.1:7001,redis-2:7001,[::1]:7001, port from 1 to 65535; not {text:?}"
        )),
    }
}
