//! One real server process, alone or as a node of a cluster.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::daemon::Daemon;
use super::frame;
use super::ports::free_port;
use super::raw::RawClient;
use super::temp::TempDir;
use super::wait::wait_until;

/// A `redis-server` (or what `REDIS_SERVER` names) on a free port of this host.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub port: u16,
    /// The address of its host.
    pub host: String,
    password: Option<String>,
    args: Vec<String>,
    dir: PathBuf,
    daemon: Daemon,
    _temp: Option<TempDir>,
}

/// A host that servers run on.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its address.
    pub host: String,
    /// The words before a command that is to run there.
    pub prefix: Vec<String>,
}

impl Place {
    /// This host.
    pub fn here() -> Place {
        Place { host: "127.0.0.1".into(), prefix: Vec::new() }
    }
}

/// The server binary of clusters and references.
pub fn binary() -> String {
    env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_string())
}

impl Server {
    /// A standalone server with further options of its command line.
    pub fn standalone(options: &[&str]) -> Server {
        Self::standalone_of(&binary(), options)
    }

    /// As [`Server::standalone`], of another program.
    pub fn standalone_of(program: &str, options: &[&str]) -> Server {
        let temp = TempDir::new("server");
        let mut server = Self::start(program, free_port(), temp.path(), options);
        server._temp = Some(temp);
        server.wait_ready();
        server
    }

    /// Starts `program` on `port` with its files in `dir`; does not wait for it.
    pub fn start(program: &str, port: u16, dir: &Path, options: &[&str]) -> Server {
        Self::start_at(&Place::here(), program, port, dir, options)
    }

    /// As [`Server::start`], on another host.
    pub fn start_at(place: &Place, program: &str, port: u16, dir: &Path, options: &[&str]) -> Server {
        let port_text = port.to_string();
        let fixed = [
            ["--port", port_text.as_str()],
            ["--bind", place.host.as_str()],
            ["--dir", dir.to_str().unwrap()],
            ["--save", ""],
            ["--appendonly", "no"],
            ["--protected-mode", "no"],
            ["--maxclients", "6000"],
            ["--repl-diskless-sync-delay", "0"],
            ["--repl-ping-replica-period", "1"],
            ["--enable-debug-command", "yes"],
        ];
        let args: Vec<String> = fixed.iter().flatten().chain(options).map(|a| a.to_string()).collect();
        let password = options.iter().position(|o| *o == "--requirepass").map(|i| options[i + 1].to_string());
        let args = [place.prefix.clone(), vec![program.to_string()], args].concat();
        let daemon = launch(&args, dir);
        Server { port, host: place.host.clone(), password, args, dir: dir.into(), daemon, _temp: None }
    }

    /// Waits until it answers PING.
    pub fn wait_ready(&self) {
        wait_until(&format!("server on port {} answers", self.port), Duration::from_secs(20), || {
            self.try_client().is_some_and(|mut c| c.try_call(&["PING"]).is_ok_and(|r| r == b"+PONG\r\n"))
        });
    }

    /// A new connection, authenticated where the server has a password.
    pub fn client(&self) -> RawClient {
        self.try_client().unwrap_or_else(|| panic!("server on port {} is not there", self.port))
    }

    /// A new connection, or `None` when the server is not there.
    pub fn try_client(&self) -> Option<RawClient> {
        let mut client = RawClient::try_connect_to(&self.host, self.port).ok()?;
        if let Some(password) = &self.password {
            let reply = client.try_call(&["AUTH", password]).ok()?;
            assert_eq!(reply, b"+OK\r\n", "AUTH: {}", frame::show(&reply));
        }
        Some(client)
    }

    /// One command on a connection of its own; the reply as bytes.
    pub fn call(&self, args: &[impl AsRef<[u8]>]) -> Vec<u8> {
        self.client().call(args)
    }

    /// As [`Server::call`], words separated by blanks; the reply's body as text.
    pub fn text(&self, words: &str) -> String {
        frame::text(&self.client().line(words))
    }

    /// As [`Server::text`], but `None` when the server is gone or does not answer within a second.
    pub fn try_text(&self, words: &str) -> Option<String> {
        let mut client = self.try_client()?;
        client.set_patience(Duration::from_secs(1));
        client.try_call(&words.split(' ').collect::<Vec<_>>()).ok().map(|r| frame::text(&r))
    }

    /// As [`Server::text`]; panics unless the reply is `+OK`.
    pub fn ok(&self, words: &str) {
        let reply = self.client().line(words);
        assert_eq!(reply, b"+OK\r\n", "{words} on port {}: {}", self.port, frame::show(&reply));
    }

    /// One field of `INFO section`.
    pub fn info(&self, section: &str, field: &str) -> Option<String> {
        let text = self.try_text(&format!("INFO {section}"))?;
        let line = text.lines().find(|l| l.split(':').next() == Some(field))?;
        line.split_once(':').map(|(_, v)| v.trim().to_string())
    }

    /// How often the server has executed a command, from `INFO commandstats`.
    pub fn calls_of(&self, command: &str) -> u64 {
        let stats = self.info("commandstats", &format!("cmdstat_{command}")).unwrap_or_default();
        let calls = stats.split(',').next().and_then(|f| f.strip_prefix("calls="));
        calls.and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// SIGKILL, without waiting for its end.
    pub fn crash(&self) {
        self.daemon.signal("KILL");
    }

    /// SIGSTOP: connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.daemon.signal("STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.daemon.signal("CONT");
    }

    /// Starts it again with the same options and files after a kill.
    pub fn restart(&mut self) {
        self.kill();
        self.daemon = launch(&self.args, &self.dir);
        self.wait_ready();
    }

    /// Ends it and starts it with the same files at another address.
    pub fn move_to(&mut self, host: &str, port: u16) {
        self.kill();
        (self.host, self.port) = (host.to_string(), port);
        for i in 1..self.args.len() {
            match self.args[i - 1].as_str() {
                "--port" => self.args[i] = port.to_string(),
                "--bind" | "--cluster-announce-ip" => self.args[i] = host.to_string(),
                _ => {}
            }
        }
        self.daemon = launch(&self.args, &self.dir);
        self.wait_ready();
    }
}

fn launch(args: &[String], dir: &Path) -> Daemon {
    Daemon::start(&args[0], &args[1..], &dir.join("output"))
}
