//! `make demo`, from start to end: it shows what it promises and leaves no process behind.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::ports::free_port;
use crate::support::proxy::BINARY;
use crate::support::temp::TempDir;
use crate::support::{wait_until, RawClient};

fn script() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/demo.sh").to_str().unwrap().to_string()
}

/// The demo with the binary at hand instead of a release build.
fn start(port: u16, stays: bool, dir: &TempDir) -> Daemon {
    let (port, exit) = (format!("PORT={port}"), if stays { "DEMO_EXIT=0" } else { "DEMO_EXIT=1" });
    let temp = format!("TMPDIR={}", dir.path().display());
    Daemon::start_parent(
        "env",
        &[&port, exit, &format!("DEMO_BINARY={BINARY}"), &temp, &script()],
        &dir.path().join("output"),
    )
}

/// Processes that work in the demo's directory or name it in their command line; the servers and the proxy do.
fn left_over(dir: &TempDir) -> Vec<String> {
    let place = format!("{}/redis-cluster-proxy-demo", dir.path().display());
    let is_of_demo = |process: &Path| {
        let works_there =
            fs::read_link(process.join("cwd")).is_ok_and(|d| d.to_string_lossy().starts_with(&place));
        works_there
            || fs::read(process.join("cmdline")).is_ok_and(|c| String::from_utf8_lossy(&c).contains(&place))
    };
    let processes = fs::read_dir("/proc").unwrap().map(|e| e.unwrap().path());
    processes.filter(|p| is_of_demo(p)).map(|p| p.display().to_string()).collect()
}

fn assert_nothing_left(dir: &TempDir, port: u16) {
    assert_eq!(left_over(dir), Vec::<String>::new(), "processes are left");
    assert!(RawClient::try_connect(port).is_err(), "something still listens");
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .filter(|n| n != "output")
        .collect();
    assert!(left.is_empty(), "files are left: {left:?}");
}

#[test]
fn the_demo_shows_a_set_and_a_get_and_ends() {
    let (dir, port) = (TempDir::new("demo"), free_port());
    let mut demo = start(port, false, &dir);
    let status = demo.wait_exit(Duration::from_secs(120));
    let text = demo.output();
    assert!(status.success(), "{text}");
    for shown in ["SET", "GET", "OK", &format!("redis-cli -p {port}")] {
        assert!(text.contains(shown), "{shown} is not shown:\n{text}");
    }
    assert_nothing_left(&dir, port);
}

#[test]
fn the_demo_stays_until_it_is_told_to_end() {
    let (dir, port) = (TempDir::new("demo"), free_port());
    let mut demo = start(port, true, &dir);
    wait_until("the demo is ready", Duration::from_secs(120), || {
        demo.output().contains("Ctrl-C") || demo.exit_status().is_some()
    });
    assert!(demo.exit_status().is_none(), "{}", demo.output());
    assert_eq!(RawClient::connect(port).line("PING"), b"+PONG\r\n");
    assert!(left_over(&dir).len() >= 7, "six servers and the proxy: {:?}", left_over(&dir));
    demo.signal("TERM");
    demo.wait_exit(Duration::from_secs(30));
    assert_nothing_left(&dir, port);
}

#[test]
fn the_demo_says_when_its_port_is_taken() {
    let (dir, taken) = (TempDir::new("demo"), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let port = taken.local_addr().unwrap().port();
    let mut demo = start(port, false, &dir);
    let status = demo.wait_exit(Duration::from_secs(60));
    assert!(!status.success());
    assert!(demo.output().contains(&format!("port {port} is taken")), "{}", demo.output());
    drop(taken);
    assert_nothing_left(&dir, port);
}
