//! Counters: plain structs owned by workers, summed on read.

mod commands;

pub use commands::{CommandCounters, Usage, Usages};

/// What one worker counted since it started, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Commands read from clients, whole ones.
    pub requests: u64,
    /// Replies to clients that were errors, from nodes or from the proxy.
    pub error_replies: u64,
    /// Errors that the proxy itself made: no route, timeouts, refused.
    pub proxy_errors: u64,
    /// MOVED redirects followed.
    pub moved: u64,
    /// ASK redirects followed.
    pub ask: u64,
    /// Parts sent again for any other reason (TRYAGAIN, CLUSTERDOWN, LOADING, a lost node ...).
    pub retries: u64,
    /// Parts that timed out waiting for a node.
    pub reply_timeouts: u64,
    /// Parts that failed at once because their node had failed for too long.
    pub failed_at_once: u64,
    /// Times that a node had failed for so long that its circuit was opened.
    pub circuits_opened: u64,
    /// Connections to nodes that were opened.
    pub backend_connects: u64,
    /// Connections to nodes that failed or were lost.
    pub backend_failures: u64,
    /// Clients accepted.
    pub clients_accepted: u64,
    /// Clients refused at the limit.
    pub clients_refused: u64,
    /// Clients closed for protocol errors.
    pub protocol_errors: u64,
    /// Clients closed at their output limit.
    pub output_limit_closes: u64,
    /// Clients closed because all of them together held too much.
    pub memory_limit_closes: u64,
    /// Replies that were passed on before their end had come.
    pub replies_streamed: u64,
    /// Clients closed because a node was lost in the middle of their reply.
    pub replies_cut: u64,
    /// Requests that were passed on before their end had come.
    pub requests_streamed: u64,
    /// Bytes read from clients.
    pub client_bytes_in: u64,
    /// Bytes written to clients.
    pub client_bytes_out: u64,
    /// Clients connected now.
    pub clients: u64,
    /// Backends open now.
    pub backends: u64,
    /// Requests waiting for a reply now.
    pub in_flight: u64,
    /// Requests of several parts under way now.
    pub gathers: u64,
    /// Parts that wait to be sent again now.
    pub parked: u64,
    /// Clients that wait for the topology or for the end of a pause now.
    pub waiting: u64,
    /// Channels and patterns subscribed to now.
    pub topics: u64,
    /// Timers set now.
    pub timers: u64,
    /// Nodes whose circuit is open now.
    pub circuits_open: u64,
}

/// All that one worker counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Of everything.
    pub counters: Counters,
    /// Of each command.
    pub commands: Usages,
}

impl Counters {
    /// These, as they would be if what CONFIG RESETSTAT resets had been 0 when the worker stood at `base`.
    pub fn since(self, base: &Counters) -> Counters {
        Counters {
            requests: self.requests - base.requests,
            error_replies: self.error_replies - base.error_replies,
            clients_accepted: self.clients_accepted - base.clients_accepted,
            clients_refused: self.clients_refused - base.clients_refused,
            client_bytes_in: self.client_bytes_in - base.client_bytes_in,
            client_bytes_out: self.client_bytes_out - base.client_bytes_out,
            ..self
        }
    }

    /// Adds what another worker counted.
    pub fn add(&mut self, o: &Counters) {
        self.requests += o.requests;
        self.error_replies += o.error_replies;
        self.proxy_errors += o.proxy_errors;
        self.moved += o.moved;
        self.ask += o.ask;
        self.retries += o.retries;
        self.reply_timeouts += o.reply_timeouts;
        self.failed_at_once += o.failed_at_once;
        self.circuits_opened += o.circuits_opened;
        self.backend_connects += o.backend_connects;
        self.backend_failures += o.backend_failures;
        self.clients_accepted += o.clients_accepted;
        self.clients_refused += o.clients_refused;
        self.protocol_errors += o.protocol_errors;
        self.output_limit_closes += o.output_limit_closes;
        self.memory_limit_closes += o.memory_limit_closes;
        self.replies_streamed += o.replies_streamed;
        self.replies_cut += o.replies_cut;
        self.requests_streamed += o.requests_streamed;
        self.client_bytes_in += o.client_bytes_in;
        self.client_bytes_out += o.client_bytes_out;
        self.clients += o.clients;
        self.backends += o.backends;
        self.in_flight += o.in_flight;
        self.gathers += o.gathers;
        self.parked += o.parked;
        self.waiting += o.waiting;
        self.topics += o.topics;
        self.timers += o.timers;
        self.circuits_open += o.circuits_open;
    }
}
