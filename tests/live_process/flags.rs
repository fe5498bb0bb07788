//! The command line: usage, and one clear line for every mistake.

use std::net::TcpListener;
use std::process::ExitStatus;
use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::ports::free_port;
use crate::support::proxy::BINARY;
use crate::support::temp::TempDir;
use crate::support::wait::eventually;

/// Runs the proxy with flags with which it must not go on; how it ended and what it printed.
fn run(args: &[&str]) -> (ExitStatus, String) {
    let dir = TempDir::new("flags");
    let mut daemon = Daemon::start(BINARY, args, &dir.path().join("output"));
    assert!(
        eventually(Duration::from_secs(10), || daemon.exit_status().is_some()),
        "{args:?}: it runs: {}",
        daemon.output()
    );
    (daemon.wait_exit(Duration::ZERO), daemon.output())
}

#[test]
fn help_lists_every_flag() {
    for help in ["-help", "--help", "-h"] {
        let (_, text) = run(&[help]);
        for flag in [
            "-addr",
            "-startup-nodes",
            "-password",
            "-connect-timeout",
            "-slots-reload-interval",
            "-backend-idle-connections",
            "-backend-init-connections",
            "-read-prefer",
            "-max-procs",
            "-debug-addr",
            "-log_dir",
            "-log_link",
            "-logtostderr",
            "-alsologtostderr",
            "-stderrthreshold",
            "-v ",
            "-vmodule",
            "-log_backtrace_at",
            "-logbuflevel",
        ] {
            assert!(text.contains(&format!("  {flag}")), "{help} does not list {flag}:\n{text}");
        }
        assert!(text.contains("0.0.0.0:8088"), "defaults are shown:\n{text}");
    }
}

#[test]
fn a_bad_flag_is_named_and_the_exit_status_is_2() {
    for (args, named) in [
        (&["-nosuch"][..], "nosuch"),
        (&["-read-prefer", "7"], "read-prefer"),
        (&["-read-prefer", "none"], "read-prefer"),
        (&["-connect-timeout", "abc"], "connect-timeout"),
        (&["-connect-timeout", "3"], "connect-timeout"),
        (&["-slots-reload-interval", "-1s"], "slots-reload-interval"),
        (&["-max-procs", "many"], "max-procs"),
        (&["-max-procs", "-1"], "max-procs"),
        (&["-addr", "nonsense"], "addr"),
        (&["-addr", "127.0.0.1:99999"], "addr"),
        (&["-startup-nodes", ""], "startup-nodes"),
        (&["-startup-nodes", "host-without-port"], "startup-nodes"),
        (&["-backend-init-connections", "9", "-backend-idle-connections", "3"], "backend-init-connections"),
        (&["-logtostderr=perhaps"], "logtostderr"),
        (&["-addr"], "addr"),
    ] {
        let (status, text) = run(args);
        assert_eq!(status.code(), Some(2), "{args:?}: {text}");
        assert!(text.lines().next().is_some_and(|l| l.contains(named)), "{args:?}: {text}");
    }
}

#[test]
fn an_address_in_use_is_one_line_and_a_failure() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let (status, text) = run(&["-addr", &addr, "-startup-nodes", "127.0.0.1:1", "-logtostderr"]);
    assert!(!status.success());
    let about: Vec<&str> = text.lines().filter(|l| l.contains(&addr)).collect();
    assert_eq!(about.len(), 1, "{text}");
    assert!(text.to_lowercase().contains("in use"), "{text}");
}

#[test]
fn a_debug_address_in_use_is_a_failure_too() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let debug = taken.local_addr().unwrap().to_string();
    let addr = format!("127.0.0.1:{}", free_port());
    let (status, text) =
        run(&["-addr", &addr, "-debug-addr", &debug, "-startup-nodes", "127.0.0.1:1", "-logtostderr"]);
    assert!(!status.success(), "{text}");
    assert!(text.contains(&debug), "{text}");
}

/// Each spelling of Go's flag syntax is understood: the only complaint is about the value behind it.
#[test]
fn flags_are_spelled_as_in_go() {
    for spelled in [
        &["-max-procs=bad"][..],
        &["--max-procs=bad"],
        &["--max-procs", "bad"],
        &["-logtostderr", "-max-procs", "bad"],
        &["-logtostderr=true", "-max-procs", "bad"],
        &["-logtostderr=0", "-connect-timeout", "1m30s", "-max-procs", "bad"],
    ] {
        let (status, text) = run(spelled);
        assert_eq!(status.code(), Some(2), "{spelled:?}: {text}");
        assert!(
            text.lines().next().is_some_and(|l| l.contains("max-procs") && l.contains("bad")),
            "{spelled:?}: {text}"
        );
    }
}
