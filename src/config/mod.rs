//! The command line, validated, as one immutable value. Nothing else reads arguments.
//!
//! `flags` holds the table that everything else here is made from: a new flag is a row there and a field here.

use std::time::Duration;

mod flags;
mod log;
mod parse;
mod usage;
mod value;

pub use self::log::{LogConfig, Severity, SourceLine, VModule};
pub use parse::{from_args, Invocation, UsageError};
pub use usage::flags_markdown;

/// The program's name in usage text and error lines.
pub const PROGRAM: &str = env!("CARGO_PKG_NAME");

/// Everything that the command line says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the proxy does.
    pub proxy: Config,
    /// What becomes of log lines.
    pub log: LogConfig,
}

/// Which node of a shard serves read-only commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPrefer {
    /// 0: always the primary.
    Master,
    /// 1: a replica, the primary when there is none.
    Slave,
    /// 2: a replica whose first two IPv4 segments equal those of this host, else any replica, else the primary.
    SlaveSameIdc,
}

/// Everything the command line says, checked. Fields are named after their flags.
#[derive(Clone, Debug)]
pub struct Config {
    /// `-addr`: where clients are accepted, `host:port`.
    pub addr: String,
    /// `-startup-nodes`: `host:port` each; host names allowed, IPv6 addresses in brackets whatever was written.
    pub startup_nodes: Vec<String>,
    /// `-password`: for the backends, and asked of the clients; empty means none.
    pub password: String,
    /// `-connect-timeout`: how long a connection to a backend may take, its handshake included.
    pub connect_timeout: Duration,
    /// `-slots-reload-interval`: how often the topology is asked for without a reason.
    pub slots_reload_interval: Duration,
    /// `-backend-idle-connections`: idle dedicated connections kept per node, at most.
    pub backend_idle_connections: usize,
    /// `-backend-init-connections`: idle dedicated connections opened per node in advance.
    pub backend_init_connections: usize,
    /// `-read-prefer`.
    pub read_prefer: ReadPrefer,
    /// `-max-procs`: worker threads, already resolved (never 0).
    pub workers: usize,
    /// `-debug-addr`: where the admin HTTP server listens, or `None`.
    pub debug_addr: Option<String>,
    /// `-announce-addr`: `host:port` that cluster clients are told, or `None` for the address that they came in at.
    pub announce_addr: Option<String>,
    /// `-reply-timeout`: how long a node may take to answer a request on a shared backend.
    pub reply_timeout: Duration,
    /// `-retry-timeout`: how long a request may wait and be sent again before the client gets an error.
    pub retry_timeout: Duration,
    /// `-drain-timeout`: how long an orderly stop waits for what is in flight.
    pub drain_timeout: Duration,
    /// `-upgrade-timeout`: how long connected clients are served on after a successor has taken over.
    pub upgrade_timeout: Duration,
    /// `-max-clients`: clients at once, at most.
    pub max_clients: usize,
    /// `-client-idle-timeout`: a client that sends nothing for so long is closed; zero means never.
    pub client_idle_timeout: Duration,
    /// `-auth-timeout`: with a password, a client that has not authenticated after so long is closed; zero means never.
    pub auth_timeout: Duration,
    /// `-tcp-keepalive`: a silent client is probed after so long; zero means never.
    pub tcp_keepalive: Duration,
    /// `-client-output-limit`: bytes of replies waiting for one client at which it is closed.
    pub client_output_limit: usize,
    /// `-pubsub-output-limit`: bytes waiting for one subscriber at which it is closed instead of getting a message.
    pub pubsub_output_limit: usize,
    /// `-max-memory`: bytes held for all clients' requests and replies together; zero means any number.
    pub max_memory: usize,
    /// `-refuse-commands`: commands refused besides those that always are, in lower case: `flushall`, `config|set`.
    pub refused_commands: Vec<String>,
    /// `-max-request`: largest request in bytes, at most 2 GiB.
    pub max_request: usize,
}

impl Default for Settings {
    /// What an empty command line says.
    fn default() -> Self {
        let mut settings = Settings { proxy: Config::blank(), log: LogConfig::blank() };
        for flag in flags::FLAGS {
            let set = (flag.set)(&mut settings, flag.default);
            debug_assert_eq!(set, Ok(()), "the default of -{}", flag.name);
        }
        settings
    }
}

impl Default for Config {
    fn default() -> Self {
        Settings::default().proxy
    }
}

impl Config {
    /// What an empty command line says, for tests to start from.
    pub fn for_tests() -> Config {
        Config::default()
    }

    /// The value that the flag table's defaults are applied to.
    fn blank() -> Self {
        Config {
            addr: String::new(),
            startup_nodes: Vec::new(),
            password: String::new(),
            connect_timeout: Duration::ZERO,
            slots_reload_interval: Duration::ZERO,
            backend_idle_connections: 0,
            backend_init_connections: 0,
            read_prefer: ReadPrefer::Master,
            workers: 1,
            debug_addr: None,
            announce_addr: None,
            reply_timeout: Duration::ZERO,
            retry_timeout: Duration::ZERO,
            drain_timeout: Duration::ZERO,
            upgrade_timeout: Duration::ZERO,
            max_clients: 0,
            client_idle_timeout: Duration::ZERO,
            auth_timeout: Duration::ZERO,
            tcp_keepalive: Duration::ZERO,
            client_output_limit: 0,
            pubsub_output_limit: 0,
            max_memory: 0,
            refused_commands: Vec::new(),
            max_request: 0,
        }
    }
}
