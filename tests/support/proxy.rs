//! The proxy under test, started through its own command line.

use std::env;
use std::process::ExitStatus;
use std::time::Duration;

use super::cluster::Cluster;
use super::daemon::Daemon;
use super::frame;
use super::keys::tag_where;
use super::ports::free_port;
use super::raw::RawClient;
use super::temp::TempDir;
use super::wait::wait_until;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_redis-cluster-proxy");

/// A running proxy on a free port of this host; killed on drop.
#[derive(Debug)]
pub struct Proxy {
    /// Where clients are served.
    pub port: u16,
    /// Where the admin address is, when it was asked for.
    pub debug_port: Option<u16>,
    daemon: Daemon,
    dir: TempDir,
}

impl Proxy {
    /// A proxy for `cluster` that serves commands by now.
    pub fn start(cluster: &Cluster, flags: &[&str]) -> Proxy {
        let proxy = Self::launch(&cluster.startup_nodes(), flags);
        proxy.wait_serving(flags.iter().position(|f| *f == "-password").map(|i| flags[i + 1]));
        proxy
    }

    /// A proxy with these startup nodes; only waits until it listens.
    pub fn launch(startup_nodes: &str, flags: &[&str]) -> Proxy {
        let port = free_port();
        let dir = TempDir::new("proxy");
        let mut args = arguments(port, startup_nodes);
        args.extend(flags.iter().map(|f| f.to_string()));
        let program = env::var("PROXY_SUBSTITUTE").unwrap_or_else(|_| BINARY.to_string());
        if program != BINARY {
            let password = flags.iter().position(|f| *f == "-password").map_or("", |i| flags[i + 1]);
            args = ["--port", &port.to_string(), "--save", "", "--requirepass", password]
                .map(String::from)
                .to_vec();
        }
        let daemon = Daemon::start(&program, &args, &dir.path().join("output"));
        let mut proxy = Proxy { port, debug_port: None, daemon, dir };
        proxy.wait_listening();
        proxy
    }

    /// As [`Proxy::start`] with an admin address.
    pub fn with_admin(cluster: &Cluster, flags: &[&str]) -> Proxy {
        let debug_port = free_port();
        let addr = format!("127.0.0.1:{debug_port}");
        let flags: Vec<&str> = flags.iter().copied().chain(["-debug-addr", &addr]).collect();
        let mut proxy = Self::start(cluster, &flags);
        proxy.debug_port = Some(debug_port);
        // It serves clients before it listens there.
        wait_until("the admin address is there", Duration::from_secs(20), || {
            RawClient::try_connect(debug_port).is_ok()
        });
        proxy
    }

    /// A new client.
    pub fn client(&self) -> RawClient {
        RawClient::connect(self.port)
    }

    /// Panics when the process has ended.
    pub fn assert_alive(&mut self) {
        if let Some(status) = self.daemon.exit_status() {
            panic!("the proxy ended with {status}: {}", self.log());
        }
    }

    /// What it has written to its standard output and error.
    pub fn log(&self) -> String {
        self.daemon.output()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// Resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.daemon.status_field("VmRSS").expect("a running proxy")
    }

    /// The most resident memory that it ever had, in KiB.
    pub fn peak_rss_kib(&self) -> u64 {
        self.daemon.status_field("VmHWM").expect("a running proxy")
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        self.daemon.signal(name);
    }

    /// How it ended; panics when it still runs after `limit`.
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        self.daemon.wait_exit(limit)
    }

    /// SIGTERM, then its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_exit(Duration::from_secs(20))
    }

    /// The sum of all metrics whose name and labels contain `part`.
    pub fn metric_sum(&self, part: &str) -> f64 {
        let text = super::http::get(self.debug_port.expect("an admin address"), "/metrics").text();
        let lines = text.lines().filter(|l| !l.starts_with('#') && l.contains(part));
        lines.filter_map(|l| l.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// Waits until a write to every third of the slots is answered with `+OK`.
    pub fn wait_serving(&self, password: Option<&str>) {
        wait_until("the proxy serves", Duration::from_secs(20), || {
            RawClient::try_connect(self.port).is_ok_and(|mut c| {
                let authenticated =
                    password.is_none_or(|p| c.try_call(&["AUTH", p]).is_ok_and(|r| r == b"+OK\r\n"));
                let mut keys =
                    (0..3).map(|third| format!("ready:{{{}}}", tag_where(|slot| slot / 5462 == third)));
                authenticated && keys.all(|k| is_ok(&c.try_call(&["SET", &k, "1"])))
            })
        });
    }

    fn wait_listening(&mut self) {
        wait_until("the proxy listens", Duration::from_secs(20), || {
            self.assert_alive();
            RawClient::try_connect(self.port).is_ok()
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the proxy's output ends with: {}", tail(&self.log()));
        }
    }
}

fn arguments(port: u16, startup_nodes: &str) -> Vec<String> {
    let addr = format!("127.0.0.1:{port}");
    ["-addr", &addr, "-startup-nodes", startup_nodes, "-logtostderr"].map(String::from).to_vec()
}

fn is_ok(reply: &std::io::Result<Vec<u8>>) -> bool {
    reply.as_ref().is_ok_and(|r| !frame::is_error(r))
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
