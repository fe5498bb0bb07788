//! Log files as glog names them.

use std::fs;
use std::time::Duration;

use crate::cluster;
use crate::support::daemon::Daemon;
use crate::support::ports::free_port;
use crate::support::proxy::BINARY;
use crate::support::temp::TempDir;
use crate::support::{wait_until, RawClient};

fn start(dir: &TempDir, flags: &[&str]) -> (Daemon, u16) {
    let port = free_port();
    let logs = dir.path().join("logs");
    fs::create_dir_all(&logs).unwrap();
    let (addr, nodes) = (format!("127.0.0.1:{port}"), cluster().startup_nodes());
    let fixed = ["-addr", &addr, "-startup-nodes", &nodes, "-log_dir", logs.to_str().unwrap()];
    let args: Vec<&str> = fixed.into_iter().chain(flags.iter().copied()).collect();
    let daemon = Daemon::start(BINARY, &args, &dir.path().join("output"));
    wait_until("it listens", Duration::from_secs(20), || RawClient::try_connect(port).is_ok());
    (daemon, port)
}

fn names(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path().join("logs")).unwrap();
    entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

/// `redis-cluster-proxy.HOST.USER.log.INFO.YYYYMMDD-HHMMSS.PID`, and `redis-cluster-proxy.INFO` that points there.
#[test]
fn log_files_have_the_names_of_glog() {
    let dir = TempDir::new("logs");
    let (mut daemon, _) = start(&dir, &[]);
    let pid = daemon.pid().to_string();
    let is_info = |n: &String| {
        n.starts_with("redis-cluster-proxy.") && n.contains(".log.INFO.") && n.ends_with(&format!(".{pid}"))
    };
    wait_until("an INFO file", Duration::from_secs(10), || names(&dir).iter().any(is_info));
    let link = fs::read_link(dir.path().join("logs/redis-cluster-proxy.INFO")).expect("a symlink");
    assert!(is_info(&link.file_name().unwrap().to_string_lossy().into_owned()), "{}", link.display());
    daemon.signal("TERM");
    daemon.wait_exit(Duration::from_secs(20));
    let text = fs::read_to_string(dir.path().join("logs/redis-cluster-proxy.INFO")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("Log file created at: "), "{text}");
    assert!(lines.iter().any(|l| is_glog_line(l)), "{text}");
}

#[test]
fn with_logtostderr_there_are_no_files() {
    let dir = TempDir::new("nologs");
    let (mut daemon, _) = start(&dir, &["-logtostderr"]);
    daemon.signal("TERM");
    daemon.wait_exit(Duration::from_secs(20));
    assert_eq!(names(&dir), Vec::<String>::new());
    assert!(daemon.output().lines().any(is_glog_line), "{}", daemon.output());
}

/// `I1122 10:20:30.123456   12345 file.rs:12] text`
fn is_glog_line(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [head, time, thread, place, ..] = words.as_slice() else { return false };
    let digits = |s: &str| s.chars().all(|c| c.is_ascii_digit());
    head.len() == 5
        && head.starts_with(['I', 'W', 'E', 'F'])
        && digits(&head[1..])
        && time.len() == 15
        && digits(thread)
        && place.ends_with(']')
        && place.contains(".rs:")
}
