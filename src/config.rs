//! The command line, validated, as one immutable value. Nothing else reads arguments.

use std::time::Duration;

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
    /// `-startup-nodes`: `host:port` each; host names allowed, IPv6 with or without brackets.
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
    /// `-reply-timeout`: how long a node may take to answer a request on a shared backend.
    pub reply_timeout: Duration,
    /// `-retry-timeout`: how long a request may wait and be sent again before the client gets an error.
    pub retry_timeout: Duration,
    /// `-drain-timeout`: how long an orderly stop waits for what is in flight.
    pub drain_timeout: Duration,
    /// `-max-clients`: clients at once, at most.
    pub max_clients: usize,
    /// `-client-idle-timeout`: a client that sends nothing for so long is closed; zero means never.
    pub client_idle_timeout: Duration,
    /// `-client-output-limit`: bytes of replies waiting for one client at which it is closed.
    pub client_output_limit: usize,
    /// `-max-request`: largest request in bytes, at most 512 MiB.
    pub max_request: usize,
}
