//! Log files as glog names them.

use std::fs;
use std::io;
use std::time::Duration;

use crate::cluster;
use crate::support::daemon::Daemon;
use crate::support::load::Load;
use crate::support::namespace;
use crate::support::ports::free_port;
use crate::support::proxy::BINARY;
use crate::support::temp::TempDir;
use crate::support::{wait_until, Cluster, RawClient};

fn start(dir: &TempDir, flags: &[&str]) -> (Daemon, u16) {
    start_for(cluster(), dir, flags)
}

fn start_for(cluster: &Cluster, dir: &TempDir, flags: &[&str]) -> (Daemon, u16) {
    let port = free_port();
    let logs = dir.path().join("logs");
    fs::create_dir_all(&logs).unwrap();
    let (addr, nodes) = (format!("127.0.0.1:{port}"), cluster.startup_nodes());
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

/// Requests go on while nothing can be logged; that is said on standard error, and the log goes on when there is room.
#[test]
fn a_full_disk_for_the_log_harms_no_client() {
    if !namespace::alone("logs::a_full_disk_for_the_log_harms_no_client") {
        return;
    }
    let dir = TempDir::new("full");
    let logs = dir.path().join("logs");
    fs::create_dir_all(&logs).unwrap();
    namespace::run("mount", &["-t", "tmpfs", "-o", "size=256k", "tmpfs", logs.to_str().unwrap()]);
    let cluster = Cluster::with(3, 0, &[]);
    let (mut daemon, port) = start_for(&cluster, &dir, &["-v", "2"]);
    let load = Load::start(port, 4);
    load.wait_answered(200);
    let full = fs::write(logs.join("filler"), vec![0; 1 << 20]).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    wait_until("it says that it cannot log", Duration::from_secs(20), || {
        drop(RawClient::connect(port));
        daemon.output().contains("cannot write log files, will try again")
    });
    load.wait_answered(1000);
    fs::remove_file(logs.join("filler")).unwrap();
    wait_until("the log goes on and tells what is missing", Duration::from_secs(30), || {
        drop(RawClient::connect(port));
        let text = fs::read_to_string(logs.join("redis-cluster-proxy.INFO")).unwrap_or_default();
        text.contains("log lines lost: the log file could not be written")
    });
    load.wait_answered(200);
    let report = load.stop();
    assert!(report.errors.is_empty() && report.wrong.is_empty() && report.lost.is_empty(), "{report:?}");
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(Duration::from_secs(20)).code(), Some(0));
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
