//! A new process takes over from the old one: SIGUSR2, a successor that fails, a socket lent by a supervisor.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::cluster;
use crate::support::daemon::Daemon;
use crate::support::load::Load;
use crate::support::ports::free_port;
use crate::support::proxy::BINARY;
use crate::support::temp::TempDir;
use crate::support::{http, wait_until, Cluster, RawClient};

const LIMIT: Duration = Duration::from_secs(30);

/// A proxy that is started by a program file of its own, so that the file can be replaced.
struct Upgradable {
    daemon: Daemon,
    dir: TempDir,
    port: u16,
    debug_port: u16,
}

impl Upgradable {
    fn start(cluster: &Cluster, flags: &[&str]) -> Upgradable {
        let (dir, port, debug_port) = (TempDir::new("upgrade"), free_port(), free_port());
        let (addr, debug) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{debug_port}"));
        let nodes = cluster.startup_nodes();
        let mut args = vec!["-addr", &addr, "-debug-addr", &debug, "-startup-nodes", &nodes, "-logtostderr"];
        args.extend(["-max-procs", "2"].iter().chain(flags));
        install(&program(&dir), BINARY);
        let output = dir.path().join("output");
        let daemon = Daemon::start(program(&dir).to_str().unwrap(), &args, &output);
        let proxy = Upgradable { daemon, dir, port, debug_port };
        wait_until("the proxy serves", LIMIT, || serves(port));
        proxy
    }

    /// SIGUSR2, and the process that has taken over.
    fn upgrade(&self) -> Successor {
        self.daemon.signal("USR2");
        let mut pid = None;
        wait_until("a new process has taken over", LIMIT, || {
            pid = successors(&self.daemon.output()).pop();
            pid.is_some()
        });
        Successor(pid.unwrap())
    }
}

fn program(dir: &TempDir) -> PathBuf {
    dir.path().join("program")
}

/// Puts a copy of `file` in the place of the program, as an upgrade does.
fn install(program: &Path, file: &str) {
    let new = program.with_extension("new");
    fs::copy(file, &new).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, program).unwrap();
}

/// A process that took over; killed on drop. Nobody here is its parent.
struct Successor(u32);

impl Successor {
    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.0.to_string()]).status();
        assert!(status.is_ok_and(|s| s.success()));
    }

    fn is_there(&self) -> bool {
        fs::read_to_string(format!("/proc/{}/stat", self.0)).is_ok_and(|s| !s.contains(") Z "))
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", &self.0.to_string()]).stderr(Stdio::null()).status();
    }
}

/// Process ids in `process 123 has taken over`.
fn successors(log: &str) -> Vec<u32> {
    let pid = |line: &str| line.split_once(" has taken over")?.0.rsplit_once("process ")?.1.parse().ok();
    log.lines().filter_map(pid).collect()
}

fn serves(port: u16) -> bool {
    RawClient::try_connect(port)
        .is_ok_and(|mut c| c.try_call(&["SET", "up", "1"]).is_ok_and(|r| r == b"+OK\r\n"))
}

/// Connects, asks and goes, again and again.
fn visit(port: u16, stop: &AtomicBool, visits: &AtomicU64) -> Vec<String> {
    let mut errors = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        match RawClient::try_connect(port).and_then(|mut c| c.try_call(&["SET", "visit", "1"])) {
            Ok(reply) if reply == b"+OK\r\n" => {}
            Ok(reply) => errors.push(reply.escape_ascii().to_string()),
            Err(e) => errors.push(e.to_string()),
        }
        visits.fetch_add(1, Ordering::Relaxed);
    }
    errors
}

/// Three processes in a row, under load: nobody is refused, nothing fails, the old ones end with success.
#[test]
fn clients_notice_nothing_of_an_upgrade() {
    let mut proxy = Upgradable::start(cluster(), &["-upgrade-timeout", "60s"]);
    let (stop, visits) = (AtomicBool::new(false), AtomicU64::new(0));
    let seen = |more: u64| {
        let goal = visits.load(Ordering::Relaxed) + more;
        wait_until("more visits", LIMIT, || visits.load(Ordering::Relaxed) >= goal);
    };
    let errors: Vec<String> = thread::scope(|scope| {
        let visitors: Vec<_> = (0..3).map(|_| scope.spawn(|| visit(proxy.port, &stop, &visits))).collect();
        let load = Load::start(proxy.port, 4);
        load.wait_answered(1000);
        let second = proxy.upgrade();
        seen(300);
        // Those who were connected go on with the old process, which ends when the last of them has gone.
        load.wait_answered(1000);
        load.stop().assert_clean();
        assert_eq!(proxy.daemon.wait_exit(LIMIT).code(), Some(0));
        assert_eq!(http::get(proxy.debug_port, "/healthz").status, 200, "the new one has the admin address");
        seen(300);
        second.signal("USR2");
        wait_until("a third process has taken over", LIMIT, || successors(&proxy.daemon.output()).len() == 2);
        let third = Successor(successors(&proxy.daemon.output())[1]);
        seen(300);
        wait_until("the second process has ended", LIMIT, || !second.is_there());
        seen(300);
        stop.store(true, Ordering::Relaxed);
        let errors = visitors.into_iter().flat_map(|v| v.join().unwrap()).collect();
        third.signal("TERM");
        wait_until("the third process has ended", LIMIT, || !third.is_there());
        errors
    });
    println!("{} visits, {} errors: {errors:?}", visits.load(Ordering::Relaxed), errors.len());
    assert!(errors.is_empty(), "{} of {:?}: {errors:?}", errors.len(), visits);
    assert!(RawClient::try_connect(proxy.port).is_err(), "the port is closed when nobody is left");
}

#[test]
fn clients_that_stay_are_closed_after_the_upgrade_timeout() {
    let mut proxy = Upgradable::start(cluster(), &["-upgrade-timeout", "1s"]);
    let mut staying = RawClient::connect(proxy.port);
    assert_eq!(staying.line("PING"), b"+PONG\r\n");
    let new = proxy.upgrade();
    assert_eq!(staying.line("PING"), b"+PONG\r\n", "it is served on");
    assert_eq!(staying.until_closed(), b"");
    assert_eq!(proxy.daemon.wait_exit(LIMIT).code(), Some(0));
    assert!(serves(proxy.port));
    drop(new);
}

#[test]
fn a_new_program_that_does_not_start_changes_nothing() {
    let mut proxy = Upgradable::start(cluster(), &[]);
    let mut staying = RawClient::connect(proxy.port);
    let broken = proxy.dir.path().join("broken");
    for (text, told) in [("#!/bin/sh\nexit 3\n", "exit status: 3"), ("no program", "can be started")] {
        fs::write(&broken, text).unwrap();
        install(&program(&proxy.dir), broken.to_str().unwrap());
        proxy.daemon.signal("USR2");
        wait_until("the failure is told", LIMIT, || proxy.daemon.output().contains(told));
        assert_eq!(staying.line("PING"), b"+PONG\r\n");
        assert!(serves(proxy.port));
        assert_eq!(http::get(proxy.debug_port, "/healthz").status, 200);
    }
    // And the next try finds it well.
    install(&program(&proxy.dir), BINARY);
    drop(staying);
    let new = proxy.upgrade();
    assert_eq!(proxy.daemon.wait_exit(LIMIT).code(), Some(0));
    assert!(serves(proxy.port));
    drop(new);
}

/// As a supervisor does it that keeps the socket open between two runs (systemd with `StandardInput=socket`).
#[test]
fn a_socket_that_somebody_lends_outlives_the_proxy() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let dir = TempDir::new("lent");
    let args = ["-startup-nodes", &cluster().startup_nodes(), "-logtostderr", "-addr", "127.0.0.1:1"];
    let start = |run: &str| {
        let stdin = Stdio::from(OwnedFd::from(listener.try_clone().unwrap()));
        Daemon::start_with(BINARY, &args, &dir.path().join(run), stdin)
    };
    let mut first = start("first");
    wait_until("the proxy serves", LIMIT, || serves(port));
    first.signal("TERM");
    assert_eq!(first.wait_exit(LIMIT).code(), Some(0));
    let mut between = RawClient::connect(port);
    between.send_command(&["PING"]);
    let _second = start("second");
    assert_eq!(between.frame(), b"+PONG\r\n", "who connected meanwhile is served by the next run");
}

#[test]
fn systemd_is_told_who_serves() {
    let dir = TempDir::new("notify");
    let path = dir.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let told = || {
        let mut bytes = [0; 200];
        let len = socket.recv(&mut bytes).expect("a notification");
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    };
    let (variable, addr) =
        (format!("NOTIFY_SOCKET={}", path.display()), format!("127.0.0.1:{}", free_port()));
    let nodes = cluster().startup_nodes();
    let args = [&variable, BINARY, "-addr", &addr, "-startup-nodes", &nodes, "-logtostderr"];
    let mut daemon = Daemon::start("env", &args, &dir.path().join("output"));
    assert_eq!(told(), "READY=1");
    daemon.signal("USR2");
    let text = told();
    let new = Successor(text.strip_prefix("MAINPID=").and_then(|p| p.parse().ok()).expect(&text));
    assert_eq!(daemon.wait_exit(LIMIT).code(), Some(0));
    new.signal("TERM");
    assert_eq!(told(), "STOPPING=1");
    wait_until("it has ended", LIMIT, || !new.is_there());
}
