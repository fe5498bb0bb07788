//! The command line as its user meets it: what is accepted, what the errors say, and the texts made from the table.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use redis_cluster_proxy::config::{
    flags_markdown, from_args, Config, Invocation, LogConfig, ReadPrefer, Settings, Severity, SourceLine,
    VModule,
};

fn invoke(line: &str) -> Result<Invocation, String> {
    from_args(line.split_whitespace().map(OsString::from)).map_err(|e| e.to_string())
}

fn run(line: &str) -> Settings {
    match invoke(line) {
        Ok(Invocation::Run(settings)) => *settings,
        other => panic!("{line}: {other:?}"),
    }
}

fn error(line: &str) -> String {
    let text = invoke(line).expect_err(line);
    assert!(!text.contains('\n'), "{line}: more than a line: {text}");
    text.strip_prefix("redis-cluster-proxy: ")
        .unwrap_or_else(|| panic!("{line}: no program name: {text}"))
        .to_string()
}

#[test]
fn an_empty_command_line_gives_the_defaults() {
    let Settings { proxy, log } = run("");
    assert_eq!(proxy.addr, "0.0.0.0:8088");
    assert_eq!(proxy.startup_nodes, ["127.0.0.1:7001"]);
    assert_eq!(proxy.password, "");
    assert_eq!(proxy.connect_timeout, Duration::from_secs(3));
    assert_eq!(proxy.slots_reload_interval, Duration::from_secs(3));
    assert_eq!((proxy.backend_idle_connections, proxy.backend_init_connections), (5, 0));
    assert_eq!(proxy.read_prefer, ReadPrefer::Master);
    assert_eq!(proxy.workers, std::thread::available_parallelism().unwrap().get());
    assert_eq!((proxy.debug_addr, proxy.announce_addr), (None, None));
    assert_eq!(proxy.reply_timeout, Duration::from_secs(10));
    assert_eq!(proxy.retry_timeout, Duration::from_secs(10));
    assert_eq!(proxy.drain_timeout, Duration::from_secs(10));
    assert_eq!(proxy.max_clients, 10_000);
    assert_eq!(proxy.client_idle_timeout, Duration::ZERO);
    assert_eq!(proxy.client_output_limit, 256 << 20);
    assert_eq!(proxy.pubsub_output_limit, 32 << 20);
    assert_eq!(proxy.max_request, 1 << 30);
    let want = LogConfig {
        log_dir: None,
        log_link: None,
        logtostderr: false,
        alsologtostderr: false,
        stderrthreshold: Severity::Error,
        v: 0,
        vmodule: vec![],
        log_backtrace_at: vec![],
        logbuflevel: 0,
    };
    assert_eq!(log, want);
    assert_eq!(LogConfig::default(), want);
    assert_eq!(format!("{:?}", Config::for_tests()), format!("{:?}", run("").proxy));
}

#[test]
fn every_way_of_writing_a_flag_is_understood() {
    for line in
        ["-max-procs 3", "-max-procs=3", "--max-procs 3", "--max-procs=3", "-max-procs 9 -max-procs=3 --"]
    {
        assert_eq!(run(line).proxy.workers, 3, "{line}");
    }
    for line in ["-v 2", "-v=2", "--v=2", "--v 2"] {
        assert_eq!(run(line).log.v, 2, "{line}");
    }
    for line in
        ["-logtostderr", "--logtostderr", "-logtostderr=T", "-logtostderr=1", "-logtostderr=0 -logtostderr"]
    {
        assert!(run(line).log.logtostderr, "{line}");
    }
    for line in ["-logtostderr=false", "--logtostderr=F", "-logtostderr -logtostderr=0"] {
        assert!(!run(line).log.logtostderr, "{line}");
    }
    assert_eq!(run("-password=a=b").proxy.password, "a=b");
    assert_eq!(run("-password --x").proxy.password, "--x");
    assert_eq!(run("-logbuflevel -1").log.logbuflevel, -1);
}

#[test]
fn values_arrive_where_they_belong() {
    let Settings { proxy, log } = run("-addr [::1]:0 -startup-nodes a:1,::1:2,[::2]:3 -connect-timeout 250ms \
        -slots-reload-interval=1m30s -backend-idle-connections 9 -backend-init-connections 9 -read-prefer replica \
        -debug-addr :6060 -announce-addr ::1:6379 -reply-timeout 1s -retry-timeout 2s -drain-timeout 0 -max-clients 1 \
        -client-idle-timeout 1.5h -client-output-limit 64kb -pubsub-output-limit 2mb -max-request 1k -max-request 1m");
    assert_eq!(proxy.addr, "[::1]:0");
    assert_eq!(proxy.startup_nodes, ["a:1", "[::1]:2", "[::2]:3"]);
    assert_eq!(proxy.connect_timeout, Duration::from_millis(250));
    assert_eq!(proxy.slots_reload_interval, Duration::from_secs(90));
    assert_eq!((proxy.backend_idle_connections, proxy.backend_init_connections), (9, 9));
    assert_eq!(proxy.read_prefer, ReadPrefer::Slave);
    assert_eq!(proxy.debug_addr.as_deref(), Some("0.0.0.0:6060"));
    assert_eq!(proxy.announce_addr.as_deref(), Some("[::1]:6379"));
    assert_eq!((proxy.reply_timeout, proxy.retry_timeout), (Duration::from_secs(1), Duration::from_secs(2)));
    assert_eq!((proxy.drain_timeout, proxy.max_clients), (Duration::ZERO, 1));
    assert_eq!(proxy.client_idle_timeout, Duration::from_secs(5400));
    assert_eq!((proxy.client_output_limit, proxy.max_request), (65536, 1_000_000));
    assert_eq!(proxy.pubsub_output_limit, 2 << 20);
    assert_eq!(log, LogConfig::default());
    assert_eq!(run("-debug-addr=").proxy.debug_addr, None);
    assert_eq!(run("-announce-addr=").proxy.announce_addr, None);
    assert_eq!(run("-announce-addr redis.svc:1").proxy.announce_addr.as_deref(), Some("redis.svc:1"));
    assert_eq!(run("-addr :1").proxy.addr, "0.0.0.0:1");
}

#[test]
fn glog_flags_arrive_where_they_belong() {
    let log = run("-log_dir logs -log_link /var/links -alsologtostderr -stderrthreshold=warning -v 1 \
        -vmodule fetch*=2,,net/mesh=-1 -log_backtrace_at main.rs:7,")
    .log;
    assert_eq!(log.log_dir.as_deref(), Some(Path::new("logs")));
    assert_eq!(log.log_link.as_deref(), Some(Path::new("/var/links")));
    assert!(log.alsologtostderr && !log.logtostderr);
    assert_eq!((log.stderrthreshold, log.v), (Severity::Warning, 1));
    let module = |pattern: &str, level| VModule { pattern: pattern.into(), level };
    assert_eq!(log.vmodule, [module("fetch*", 2), module("net/mesh", -1)]);
    assert_eq!(log.log_backtrace_at, [SourceLine { file: "main.rs".into(), line: 7 }]);
    for (text, severity) in [("0", Severity::Info), ("ERROR", Severity::Error), ("3", Severity::Fatal)] {
        assert_eq!(run(&format!("-stderrthreshold {text}")).log.stderrthreshold, severity);
    }
}

#[test]
fn every_name_of_a_read_preference_is_accepted() {
    let names = [
        (ReadPrefer::Master, ["0", "master", "primary"]),
        (ReadPrefer::Slave, ["1", "Slave", "replica"]),
        (ReadPrefer::SlaveSameIdc, ["2", "slave-same-idc", "replica-same-idc"]),
    ];
    for (prefer, names) in names {
        for name in names {
            assert_eq!(run(&format!("-read-prefer={name}")).proxy.read_prefer, prefer, "{name}");
        }
    }
}

#[test]
fn errors_name_the_flag_the_value_and_what_is_accepted() {
    const NODES: &str =
        "want host:port,... such as 10.0.0.1:7001,redis-2:7001,[::1]:7001, port from 1 to 65535";
    const SIZE: &str = "want a number of bytes from 1kb to";
    let cases: &[(&str, String)] = &[
        ("-connect-timeout 3x", r#"-connect-timeout: invalid value "3x": want a duration such as 250ms, 3s or 1m30s"#.into()),
        ("-connect-timeout=-3s", r#"-connect-timeout: invalid value "-3s": want a duration such as 250ms, 3s or 1m30s"#.into()),
        ("-reply-timeout 0", r#"-reply-timeout: invalid value "0": want a duration such as 250ms, 3s or 1m30s, at least 1ms"#.into()),
        ("-drain-timeout 1us", r#"-drain-timeout: invalid value "1us": want 0 or a duration such as 250ms, 3s or 1m30s, at least 1ms"#.into()),
        ("-addr 8088", r#"-addr: invalid value "8088": want host:port such as 0.0.0.0:8088 or [::1]:8088, port up to 65535"#.into()),
        ("-announce-addr host", r#"-announce-addr: invalid value "host": want host:port such as 10.0.0.1:8088 or redis.example.com:6379, port from 1 to 65535, or nothing"#.into()),
        ("-announce-addr :8088", r#"-announce-addr: invalid value ":8088": want host:port such as 10.0.0.1:8088 or redis.example.com:6379, port from 1 to 65535, or nothing"#.into()),
        ("-announce-addr 0.0.0.0:8088", r#"-announce-addr: invalid value "0.0.0.0:8088": want host:port such as 10.0.0.1:8088 or redis.example.com:6379, port from 1 to 65535, or nothing"#.into()),
        ("-announce-addr [::]:8088", r#"-announce-addr: invalid value "[::]:8088": want host:port such as 10.0.0.1:8088 or redis.example.com:6379, port from 1 to 65535, or nothing"#.into()),
        ("-announce-addr host:0", r#"-announce-addr: invalid value "host:0": want host:port such as 10.0.0.1:8088 or redis.example.com:6379, port from 1 to 65535, or nothing"#.into()),
        ("-announce-addr host:65536", r#"-announce-addr: invalid value "host:65536": want host:port such as 10.0.0.1:8088 or redis.example.com:6379, port from 1 to 65535, or nothing"#.into()),
        ("-debug-addr x", r#"-debug-addr: invalid value "x": want host:port such as 0.0.0.0:8088 or [::1]:8088, port up to 65535, or nothing"#.into()),
        ("-startup-nodes=", format!(r#"-startup-nodes: invalid value "": {NODES}; not """#)),
        ("-startup-nodes a:1,,b:2", format!(r#"-startup-nodes: invalid value "a:1,,b:2": {NODES}; not """#)),
        ("-startup-nodes a:1,b:0", format!(r#"-startup-nodes: invalid value "a:1,b:0": {NODES}; not "b:0""#)),
        ("-startup-nodes :7001", format!(r#"-startup-nodes: invalid value ":7001": {NODES}; not ":7001""#)),
        ("-read-prefer 3", r#"-read-prefer: invalid value "3": want 0 (master, primary), 1 (slave, replica) or 2 (slave-same-idc, replica-same-idc)"#.into()),
        ("-max-procs -1", r#"-max-procs: invalid value "-1": want a whole number from 0 to 1024"#.into()),
        ("-max-clients 0", r#"-max-clients: invalid value "0": want a whole number from 1 to 10000000"#.into()),
        ("-max-request 3gb", format!(r#"-max-request: invalid value "3gb": {SIZE} 2gb, such as 1048576, 64kb or 256mb"#)),
        ("-client-output-limit 9", format!(r#"-client-output-limit: invalid value "9": {SIZE} 1024gb, such as 1048576, 64kb or 256mb"#)),
        ("-logtostderr=yes", r#"-logtostderr: invalid value "yes": want true or false"#.into()),
        ("-version=2", r#"-version: invalid value "2": want true or false"#.into()),
        ("-stderrthreshold 4", r#"-stderrthreshold: invalid value "4": want 0 (INFO), 1 (WARNING), 2 (ERROR) or 3 (FATAL)"#.into()),
        ("-v x", r#"-v: invalid value "x": want a whole number"#.into()),
        ("-vmodule a=b", r#"-vmodule: invalid value "a=b": want a comma-separated list of pattern=N such as fetcher=2,net/*=1"#.into()),
        ("-vmodule [a]=1", r#"-vmodule: invalid value "[a]=1": want a comma-separated list of pattern=N such as fetcher=2,net/*=1"#.into()),
        ("-log_backtrace_at main:7", r#"-log_backtrace_at: invalid value "main:7": want a comma-separated list of file:line such as fetcher.rs:120"#.into()),
        (
            "-backend-init-connections 6",
            r#"-backend-init-connections: invalid value "6": want at most -backend-idle-connections, which is 5"#.into(),
        ),
        ("-adr :1", "flag provided but not defined: -adr: did you mean -addr?".into()),
        ("-qqq", "flag provided but not defined: -qqq: see -help for those that are".into()),
        ("-addr", "flag needs an argument: -addr: want -addr value or -addr=value".into()),
        ("-v 1 ---v=2", "bad flag syntax: ---v=2: want -name value or -name=value".into()),
        ("-v 1 -=2", "bad flag syntax: -=2: want -name value or -name=value".into()),
    ];
    for (line, want) in cases {
        assert_eq!(&error(line), want, "{line}");
    }
}

#[test]
fn positional_arguments_are_refused() {
    let want = |arg: &str| {
        format!(
            "unexpected argument {arg:?}: want flags only, such as -addr 0.0.0.0:8088 or -logtostderr=true"
        )
    };
    assert_eq!(error("serve"), want("serve"));
    assert_eq!(error("-logtostderr true"), want("true"));
    assert_eq!(error("-- -v"), want("-v"));
    assert_eq!(error("- -nonsense"), want("-"));
}

#[test]
fn arguments_that_are_not_utf8_are_refused() {
    let args = [OsString::from("-addr"), OsString::from_vec(b"\xff:1".to_vec())];
    let text = from_args(args.into_iter()).expect_err("not UTF-8").to_string();
    assert_eq!(text, r#"redis-cluster-proxy: argument 2 is "\xFF:1": want UTF-8 text"#);
}

#[test]
fn help_and_version_are_texts_and_win_over_values() {
    for line in ["-h", "-help", "--help", "-v x -help"] {
        assert!(
            matches!(invoke(line), Ok(Invocation::Help(text)) if text.starts_with("Usage of redis-")),
            "{line}"
        );
    }
    for line in ["-version", "--version=true", "-version -addr nonsense"] {
        let want = format!("redis-cluster-proxy {}", env!("CARGO_PKG_VERSION"));
        assert!(matches!(invoke(line), Ok(Invocation::Version(text)) if text == want), "{line}");
    }
    assert_eq!(run("-version=false").proxy.max_clients, 10_000);
}

#[test]
fn usage_is_laid_out_as_go_does() {
    let Ok(Invocation::Help(usage)) = invoke("-help") else { panic!("no usage") };
    assert!(usage.starts_with(
        "Usage of redis-cluster-proxy:\n  -addr string\n    \tproxy serving address (default \"0.0.0.0:8088\")\n  \
         -alsologtostderr\n    \tlog to standard error as well as files\n"
    ));
    for row in [
        "\n  -connect-timeout duration\n    \thow long connecting to a cluster node may take, handshake included (default 3s)\n",
        "\n  -client-output-limit value\n    \tbytes of replies waiting for one client at which it is closed (default 256mb)\n",
        "\n  -password string\n    \tpassword for the cluster nodes; when set, clients must AUTH with the same password\n",
        "\n  -max-procs int\n    \tworker threads; 0 means one per core available to the process\n",
        "\n  -stderrthreshold value\n    \tlogs at or above this threshold go to stderr (default 2)\n",
        "\n  -v value\n    \tlog level for V logs: 1 debug, 2 trace\n",
    ] {
        assert!(usage.contains(row), "{row}\nnot in\n{usage}");
    }
    let names: Vec<&str> = usage.lines().filter_map(|line| line.strip_prefix("  -")).collect();
    assert!(names.is_sorted(), "{names:?}");
    assert!(usage.ends_with('\n') && !usage.ends_with("\n\n"));
}

#[test]
fn the_readme_table_has_a_row_for_every_flag() {
    let table = flags_markdown();
    assert!(table.starts_with(
        "| flag | default | meaning |\n|---|---|---|\n| `-addr` | `0.0.0.0:8088` | proxy serving address |\n"
    ));
    let Ok(Invocation::Help(usage)) = invoke("-help") else { panic!("no usage") };
    for name in usage.lines().filter_map(|line| line.strip_prefix("  -")?.split(' ').next()) {
        assert!(table.contains(&format!("| `-{name}` |")), "{name}");
    }
    assert!(table.contains("| `-password` | `\"\"` |"));
}
