//! The logger that the process has, installed once, from the `log` macros to the files of a directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use log::{debug, error, info, trace, warn, LevelFilter};
use redis_cluster_proxy::config::{LogConfig, Severity, SourceLine, VModule};
use redis_cluster_proxy::net::logger;

const PATIENCE: Duration = Duration::from_secs(60);

/// Where [`say_traced`] logs.
const TRACED_LINE: u32 = line!() + 3;

fn say_traced() {
    info!("traced");
}

struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the link of this severity leads to.
fn read(dir: &Path, severity: &str) -> String {
    let program = std::env::args_os().next().expect("a program");
    let program = Path::new(&program).file_name().expect("a name").to_str().expect("UTF-8").to_string();
    std::fs::read_to_string(dir.join(format!("{program}.{severity}"))).expect(severity)
}

#[test]
fn the_process_logs_as_glog_does() {
    let dir = Dir(std::env::temp_dir().join(format!("rcp-logging-{}", std::process::id())));
    std::fs::create_dir_all(&dir.0).expect("a directory");
    let config = LogConfig {
        log_dir: Some(dir.0.clone()),
        stderrthreshold: Severity::Fatal,
        vmodule: vec![VModule { pattern: "log*ng".into(), level: 1 }],
        log_backtrace_at: vec![SourceLine { file: "logging.rs".into(), line: TRACED_LINE }],
        ..LogConfig::default()
    };
    let handle = logger::init(&config).expect("a logger");
    assert_eq!((handle.level(), log::max_level()), (LevelFilter::Info, LevelFilter::Debug));
    assert!(logger::init(&config).expect_err("a second one").starts_with("logging: "));

    trace!("never");
    debug!("by module");
    info!("an info");
    warn!("a warning");
    say_traced();
    assert!(handle.flush(PATIENCE));
    let text = read(&dir.0, "INFO");
    assert!(text.starts_with("Log file created at: "), "{text}");
    for (letter, message) in [('I', "by module"), ('I', "an info"), ('W', "a warning"), ('I', "traced")] {
        assert!(
            text.lines().any(|l| l.starts_with(letter) && l.ends_with(&format!("] {message}"))),
            "{text}"
        );
    }
    assert!(!text.contains("never"), "{text}");
    assert!(
        text.contains(&format!(" logging.rs:{TRACED_LINE}] traced\n")) && text.contains("say_traced"),
        "{text}"
    );
    assert!(read(&dir.0, "WARNING").ends_with("] a warning\n"));

    handle.set_level(LevelFilter::Error);
    assert_eq!((handle.level(), log::max_level()), (LevelFilter::Error, LevelFilter::Error));
    warn!("silenced");
    error!("an error");
    handle.set_level(LevelFilter::Trace);
    trace!("still not, by module");
    assert!(handle.flush(PATIENCE));
    let text = read(&dir.0, "INFO");
    assert!(text.ends_with("] an error\n") && !text.contains("silenced"), "{text}");

    let thread = std::thread::Builder::new().name("worker-7".into());
    let ended = thread.spawn(|| panic!("boom {}", 1)).expect("a thread").join();
    assert!(ended.is_err());
    let text = read(&dir.0, "FATAL"); // written before the thread ended
    assert!(text.contains("] thread \"worker-7\" panicked: boom 1\n"), "{text}");
    assert!(text.lines().any(|l| l.starts_with('F') && l.contains(" logging.rs:")), "{text}");
    assert!(text.contains("the_process_logs_as_glog_does"), "no backtrace: {text}");
}
