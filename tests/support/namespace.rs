//! Tests that play in namespaces of their own: a network whose cables can be cut, name tables that can be changed.
//!
//! A test calls [`alone`] first. The process that runs it starts itself anew, for this test only, by `unshare`; that one
//! may do what it likes, and all of it is gone when it ends. Needs root, or a system that lets users have namespaces.

use std::env;
use std::process::{Command, Stdio};

use super::server::Place;
use super::temp::TempDir;

/// Set in the process that plays alone.
const MARK: &str = "PLAYS_IN_A_NAMESPACE";

/// True in a process that has its own network and mounts; else runs the test `name` in one, and returns false
/// when that has passed. Where the system does not allow namespaces this is said, and nothing is tested.
pub fn alone(name: &str) -> bool {
    if env::var_os(MARK).is_some() {
        run("mount", &["-t", "tmpfs", "tmpfs", "/run"]);
        run("ip", &["link", "set", "lo", "up"]);
        return true;
    }
    if let Err(why) = is_possible() {
        eprintln!("NOT TESTED: {name}: no namespaces here: {why}");
        return false;
    }
    let program = env::current_exe().unwrap();
    let status = unshare()
        .arg(program)
        .args([name, "--exact", "--nocapture", "--test-threads", "1"])
        .env(MARK, "1")
        .status()
        .expect("unshare");
    assert!(status.success(), "{name} failed in its namespace: {status}");
    false
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--mount", "--fork", "--kill-child"]);
    command
}

fn is_possible() -> Result<(), String> {
    let script =
        "mount -t tmpfs tmpfs /run && ip link set lo up && ip link add one type veth peer name two && \
                  ip link add three type bridge";
    let output = unshare().args(["sh", "-c", script]).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("unshare: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_string()),
    }
}

/// Runs a program of the system, which must succeed.
pub fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(
        output.status.success(),
        "{program} {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The system's table of host names, as this process and those that it starts see it.
#[derive(Debug)]
pub struct Names {
    file: TempDir,
}

impl Names {
    /// A table of its own in the place of `/etc/hosts`.
    pub fn new() -> Names {
        let file = TempDir::new("names");
        std::fs::write(file.path().join("hosts"), "127.0.0.1 localhost\n").unwrap();
        run("mount", &["--bind", file.path().join("hosts").to_str().unwrap(), "/etc/hosts"]);
        Names { file }
    }

    /// From now on `name` means `addr`, and no other name means anything.
    pub fn set(&self, name: &str, addr: &str) {
        std::fs::write(self.file.path().join("hosts"), format!("127.0.0.1 localhost\n{addr} {name}\n"))
            .unwrap();
    }
}

/// A bridge with an address here, and hosts at its ports.
#[derive(Debug)]
pub struct Bridge;

/// This end of the bridge.
pub const HERE: &str = "10.77.0.1";

impl Bridge {
    /// A bridge without hosts.
    pub fn new() -> Bridge {
        run("ip", &["link", "add", "bridge", "type", "bridge"]);
        run("ip", &["addr", "add", &format!("{HERE}/24"), "dev", "bridge"]);
        run("ip", &["link", "set", "bridge", "up"]);
        Bridge
    }

    /// The address of host `i`.
    pub fn addr(i: usize) -> String {
        format!("10.77.0.{}", 10 + i)
    }

    /// Adds host `i`; servers are started there by [`Bridge::place`].
    pub fn add(&self, i: usize) {
        let (host, port) = (format!("host{i}"), format!("port{i}"));
        run("ip", &["netns", "add", &host]);
        run("ip", &["link", "add", &port, "type", "veth", "peer", "name", "eth", "netns", &host]);
        run("ip", &["-n", &host, "addr", "add", &format!("{}/24", Self::addr(i)), "dev", "eth"]);
        run("ip", &["-n", &host, "link", "set", "eth", "up"]);
        run("ip", &["-n", &host, "link", "set", "lo", "up"]);
        run("ip", &["link", "set", &port, "up"]);
        self.plug(i);
    }

    /// Host `i`, as a place for servers.
    pub fn place(i: usize) -> Place {
        let prefix = ["nsenter".to_string(), format!("--net=/run/netns/host{i}")].to_vec();
        Place { host: Self::addr(i), prefix }
    }

    /// Pulls host `i` off the bridge: packets to and from it are dropped without a word.
    pub fn unplug(&self, i: usize) {
        run("ip", &["link", "set", &format!("port{i}"), "nomaster"]);
    }

    /// Host `i` is on the bridge again.
    pub fn plug(&self, i: usize) {
        run("ip", &["link", "set", &format!("port{i}"), "master", "bridge"]);
    }

    /// Packets from here to host `i` go nowhere, while other hosts reach it; or they do again.
    pub fn misdirect(&self, i: usize, on: bool) {
        let addr = Self::addr(i);
        match on {
            true => run(
                "ip",
                &[
                    "neigh",
                    "replace",
                    &addr,
                    "lladdr",
                    "02:00:00:00:77:77",
                    "nud",
                    "permanent",
                    "dev",
                    "bridge",
                ],
            ),
            false => run("ip", &["neigh", "del", &addr, "dev", "bridge"]),
        }
    }

    /// The system here knows that host `i` cannot be reached and says so at once; or it does not any more.
    pub fn refuse_route(&self, i: usize, on: bool) {
        run(
            "ip",
            &["route", if on { "add" } else { "del" }, "unreachable", &format!("{}/32", Self::addr(i))],
        );
    }
}
