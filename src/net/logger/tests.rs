//! The logger without the process-wide one: a sink over real directories and faked disks, and the queue before it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::{Level, Log, Record};

use super::file::Output;
use super::identity::Identity;
use super::line::Line;
use super::sink::{GlogSink, Place};
use super::zone::Zone;
use super::{start, GlogLogger, LogHandle};
use crate::config::{LogConfig, Severity, SourceLine};

/// 2025-11-22 11:18:42 UTC.
const START: u64 = 1_763_810_322;
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory that goes when the test does.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rcp-logger-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("a directory");
        Dir(dir)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("a directory");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// The messages in a log file, without file header and line headers.
    fn messages(&self, name: &str) -> Vec<String> {
        messages(&self.read(name))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn messages(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.split_once(".rs:")?.1.split_once("] "))
        .map(|(_, m)| m.to_string())
        .collect()
}

/// Standard error, or a file, that can be looked into.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("a lock").clone()).expect("UTF-8")
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a lock").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn identity() -> Identity {
    Identity { program: "prog".into(), host: "box".into(), user: "me".into(), pid: 77 }
}

fn place(config: &LogConfig) -> Place {
    Place::new(config, identity(), Zone::named("UTC0"))
}

fn quiet(dir: &Dir) -> LogConfig {
    LogConfig { log_dir: Some(dir.0.clone()), stderrthreshold: Severity::Fatal, ..LogConfig::default() }
}

fn sink(config: &LogConfig) -> (GlogSink, Captured) {
    let stderr = Captured::default();
    (GlogSink::new(config, place(config), Box::new(stderr.clone())), stderr)
}

fn line(severity: Severity, second: u64, text: &str) -> Line {
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(START + second);
    Line { severity, time, thread: 5, file: "code.rs".into(), line: 9, text: text.into(), backtrace: None }
}

const INFO_FILE: &str = "prog.box.me.log.INFO.20251122-111842.77";

#[test]
fn a_line_goes_to_its_file_and_all_lower_ones() {
    let dir = Dir::new();
    let (mut sink, stderr) = sink(&quiet(&dir));
    sink.write(&line(Severity::Info, 0, "one"));
    sink.flush();
    assert_eq!(dir.names(), ["prog.INFO", INFO_FILE]);
    sink.write(&line(Severity::Error, 0, "two"));
    sink.write(&line(Severity::Warning, 1, "three"));
    sink.flush();
    let error = "prog.box.me.log.ERROR.20251122-111842.77";
    let warning = "prog.box.me.log.WARNING.20251122-111842.77";
    assert_eq!(dir.names(), ["prog.ERROR", "prog.INFO", "prog.WARNING", error, INFO_FILE, warning]);
    assert_eq!(dir.messages(INFO_FILE), ["one", "two", "three"]);
    assert_eq!(dir.messages(warning), ["two", "three"]);
    assert_eq!(dir.messages(error), ["two"]);
    assert_eq!(stderr.text(), "");
}

#[test]
fn files_begin_as_in_glog() {
    let dir = Dir::new();
    let (mut sink, _) = sink(&quiet(&dir));
    sink.write(&line(Severity::Info, 0, "one"));
    sink.flush();
    let want = format!(
        "Log file created at: 2025/11/22 11:18:42\nRunning on machine: box\n\
         Binary: Built with rustc for {}/{} (redis-cluster-proxy {})\nPrevious log: <none>\n\
         Log line format: [IWEF]mmdd hh:mm:ss.uuuuuu threadid file:line] msg\n\
         I1122 11:18:42.000000       5 code.rs:9] one\n",
        std::env::consts::OS,
        std::env::consts::ARCH,
        env!("CARGO_PKG_VERSION"),
    );
    assert_eq!(dir.read(INFO_FILE), want);
}

#[test]
fn links_point_to_the_newest_file() {
    let (dir, links) = (Dir::new(), Dir::new());
    let config = LogConfig { log_link: Some(links.0.clone()), ..quiet(&dir) };
    let (mut sink, _) = sink(&config);
    sink.write(&line(Severity::Info, 0, "one"));
    let target = |link: &Path| std::fs::read_link(link).expect("a link");
    assert_eq!(target(&dir.0.join("prog.INFO")), Path::new(INFO_FILE));
    assert_eq!(target(&links.0.join("prog.INFO")), dir.0.join(INFO_FILE));
    sink.reopen();
    sink.write(&line(Severity::Info, 5, "two"));
    sink.flush();
    assert_eq!(target(&dir.0.join("prog.INFO")), Path::new("prog.box.me.log.INFO.20251122-111847.77"));
    assert_eq!(messages(&std::fs::read_to_string(links.0.join("prog.INFO")).expect("a file")), ["two"]);
    assert_eq!(links.names(), ["prog.INFO"]);
}

#[test]
fn what_stands_in_the_way_is_left_alone() {
    let dir = Dir::new();
    let (victim, link) = (dir.0.join("victim"), dir.0.join("prog.INFO"));
    std::fs::write(&victim, "precious").expect("a file");
    std::fs::write(&link, "no link").expect("a file");
    std::os::unix::fs::symlink(&victim, dir.0.join(INFO_FILE)).expect("a link");
    let (mut sink, stderr) = sink(&quiet(&dir));
    sink.write(&line(Severity::Info, 0, "one"));
    sink.flush();
    assert_eq!(dir.messages(&format!("{INFO_FILE}.1")), ["one"]);
    assert_eq!((dir.read("victim"), dir.read("prog.INFO")), ("precious".into(), "no link".into()));
    assert_eq!(stderr.text(), "");
}

#[test]
fn standard_error_gets_what_the_flags_say() {
    let cases: [(LogConfig, &[&str], bool); 4] = [
        (LogConfig::default(), &["e", "f"], true),
        (LogConfig { stderrthreshold: Severity::Warning, ..LogConfig::default() }, &["w", "e", "f"], true),
        (LogConfig { alsologtostderr: true, ..LogConfig::default() }, &["i", "w", "e", "f"], true),
        (LogConfig { logtostderr: true, ..LogConfig::default() }, &["i", "w", "e", "f"], false),
    ];
    for (config, on_stderr, to_files) in cases {
        let dir = Dir::new();
        let config = LogConfig { log_dir: Some(dir.0.clone()), ..config };
        let (mut sink, stderr) = sink(&config);
        for (severity, text) in Severity::ALL.into_iter().zip(["i", "w", "e", "f"]) {
            sink.write(&line(severity, 0, text));
        }
        sink.flush();
        assert_eq!(messages(&stderr.text()), on_stderr, "{config:?}");
        assert_eq!(dir.names().is_empty(), !to_files, "{config:?}");
    }
}

#[test]
fn a_full_file_is_followed_by_another() {
    let dir = Dir::new();
    let config = quiet(&dir);
    let mut place = place(&config);
    place.max_bytes = 400;
    let mut sink = GlogSink::new(&config, place, Box::new(io::sink()));
    let texts: Vec<String> = (0..3).map(|n| n.to_string().repeat(100)).collect();
    for text in &texts {
        sink.write(&line(Severity::Info, 0, text));
    }
    sink.flush();
    let second = format!("{INFO_FILE}.1");
    assert_eq!(dir.messages(INFO_FILE), [texts[0].as_str()]);
    assert_eq!(dir.messages(&second), [texts[1].as_str()]);
    assert!(dir.read(&second).contains(&format!("\nPrevious log: {}\n", dir.0.join(INFO_FILE).display())));
    assert_eq!(dir.messages("prog.INFO"), [texts[2].as_str()]);
}

#[test]
fn a_moved_file_is_begun_anew_after_reopen() {
    let dir = Dir::new();
    let (mut sink, _) = sink(&quiet(&dir));
    sink.write(&line(Severity::Info, 0, "one"));
    sink.flush();
    std::fs::rename(dir.0.join(INFO_FILE), dir.0.join("moved")).expect("renamed");
    sink.write(&line(Severity::Info, 0, "two"));
    sink.reopen();
    sink.write(&line(Severity::Info, 0, "three"));
    sink.flush();
    assert_eq!(dir.messages("moved"), ["one", "two"]);
    assert_eq!(dir.messages(INFO_FILE), ["three"]);
}

/// A disk that can be full.
#[derive(Clone, Default)]
struct Disk {
    full: Arc<AtomicBool>,
    content: Captured,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.full.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.content.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn sink_on_disk(config: &LogConfig) -> (GlogSink, Disk, Captured) {
    let (disk, stderr) = (Disk::default(), Captured::default());
    let mut place = place(config);
    let for_files = disk.clone();
    place.create = Box::new(move |_| Ok(Box::new(for_files.clone()) as Output));
    (GlogSink::new(config, place, Box::new(stderr.clone())), disk, stderr)
}

#[test]
fn a_full_disk_costs_lines_and_is_told_once() {
    let dir = Dir::new();
    let (mut sink, disk, stderr) = sink_on_disk(&quiet(&dir));
    disk.full.store(true, Ordering::Relaxed);
    for second in 0..25 {
        sink.write(&line(Severity::Info, second, "lost"));
        sink.flush();
    }
    let told = messages(&stderr.text());
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("cannot write log files, will try again: "), "{told:?}");
    disk.full.store(false, Ordering::Relaxed);
    sink.write(&line(Severity::Info, 29, "still resting"));
    sink.write(&line(Severity::Info, 30, "back"));
    sink.flush();
    let want = ["26 log lines lost: the log file could not be written", "back"];
    assert_eq!(messages(&disk.content.text()), want);
    disk.full.store(true, Ordering::Relaxed);
    sink.write(&line(Severity::Info, 31, "lost"));
    sink.flush();
    assert_eq!(messages(&stderr.text()).len(), 2, "a new failure is told again");
}

#[test]
fn a_device_that_is_always_full_is_survived() {
    let dir = Dir::new();
    let (config, stderr) = (quiet(&dir), Captured::default());
    let mut place = place(&config);
    place.create =
        Box::new(|_| Ok(Box::new(std::fs::OpenOptions::new().write(true).open("/dev/full")?) as Output));
    let mut sink = GlogSink::new(&config, place, Box::new(stderr.clone()));
    for second in 0..50 {
        sink.write(&line(Severity::Error, second, "lost"));
    }
    sink.flush();
    assert_eq!(messages(&stderr.text()).len(), 1, "{}", stderr.text());
}

#[test]
fn an_impossible_directory_is_told_once_and_tried_again() {
    let dir = Dir::new();
    let late = dir.0.join("late");
    let config = LogConfig { log_dir: Some(late.clone()), ..quiet(&dir) };
    let (mut place, stderr) = (place(&config), Captured::default());
    place.dirs = vec![late.clone()];
    let mut sink = GlogSink::new(&config, place, Box::new(stderr.clone()));
    sink.write(&line(Severity::Error, 0, "lost"));
    sink.write(&line(Severity::Error, 1, "lost"));
    let told = stderr.text();
    assert_eq!(messages(&told).len(), 1, "{told}");
    assert!(told.contains("/late: No such file or directory"), "{told}");
    std::fs::create_dir(&late).expect("a directory");
    sink.write(&line(Severity::Error, 10, "back"));
    sink.flush();
    let text = std::fs::read_to_string(late.join("prog.INFO")).expect("a file");
    assert_eq!(messages(&text), ["2 log lines lost: the log file could not be written", "back"]);
}

#[test]
fn the_directory_for_temporary_files_is_the_last_resort() {
    let dir = Dir::new();
    let config = LogConfig { log_dir: Some(dir.0.join("missing")), ..quiet(&dir) };
    let (mut place, stderr) = (place(&config), Captured::default());
    assert_eq!(place.dirs, [dir.0.join("missing"), std::env::temp_dir()]);
    place.dirs = vec![dir.0.join("missing"), dir.0.clone()];
    let mut sink = GlogSink::new(&config, place, Box::new(stderr.clone()));
    sink.write(&line(Severity::Error, 0, "one"));
    assert_eq!(dir.messages(INFO_FILE), ["one"]);
    let told = messages(&stderr.text());
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with(&format!("; they go to {}", dir.0.display())), "{told:?}");
}

#[test]
fn lines_up_to_the_buffer_level_are_held_back() {
    let dir = Dir::new();
    let (mut sink, disk, _) = sink_on_disk(&quiet(&dir));
    sink.write(&line(Severity::Info, 0, "held"));
    assert_eq!(disk.content.text(), "");
    sink.write(&line(Severity::Warning, 0, "not held"));
    assert_eq!(messages(&disk.content.text()), ["not held", "held", "not held"]); // WARNING first, then INFO
    let (mut sink, disk, _) = sink_on_disk(&LogConfig { logbuflevel: -1, ..quiet(&dir) });
    sink.write(&line(Severity::Info, 0, "not held"));
    assert_eq!(messages(&disk.content.text()), ["not held"]);
    let (mut sink, disk, _) = sink_on_disk(&LogConfig { logbuflevel: 1, ..quiet(&dir) });
    sink.write(&line(Severity::Warning, 0, "held"));
    assert_eq!(disk.content.text(), "");
}

/// Standard error that says when it is written to and then waits for leave.
struct Gate {
    entered: Sender<()>,
    leave: Receiver<()>,
    behind: Captured,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.entered.send(());
        let _ = self.leave.recv(); // once the test has let go of its end, at once
        self.behind.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start_quietly(config: &LogConfig, stderr: Output, queue_lines: usize) -> (GlogLogger, LogHandle) {
    let sink = GlogSink::new(config, place(config), stderr);
    start(config, sink, queue_lines).expect("a log thread")
}

fn log_to(logger: &GlogLogger, level: Level, at: u32, text: &str) {
    let mut record = Record::builder();
    record.level(level).file_static(Some("src/net/mesh.rs")).line(Some(at));
    logger.log(&record.args(format_args!("{text}")).build());
}

#[test]
fn a_full_queue_drops_lines_and_says_how_many() {
    let config = LogConfig { logtostderr: true, ..LogConfig::default() };
    let (entered, has_entered) = channel();
    let (let_go, leave) = channel();
    let behind = Captured::default();
    let gate = Gate { entered, leave, behind: behind.clone() };
    let (logger, handle) = start_quietly(&config, Box::new(gate), 2);
    log_to(&logger, Level::Info, 1, "written");
    has_entered.recv_timeout(PATIENCE).expect("the log thread writes");
    for text in ["waits", "waits too", "dropped", "dropped"] {
        log_to(&logger, Level::Info, 1, text);
    }
    assert!(!handle.flush(Duration::ZERO), "nothing moves");
    drop(let_go);
    assert!(handle.flush(PATIENCE));
    assert_eq!(messages(&behind.text()), ["written", "2 log lines dropped", "waits", "waits too"]);
}

#[test]
fn flush_waits_for_everything_before_it() {
    let config = LogConfig { logtostderr: true, ..LogConfig::default() };
    let stderr = Captured::default();
    let (logger, handle) = start_quietly(&config, Box::new(stderr.clone()), 5000);
    for round in 1..=20 {
        for _ in 0..200 {
            log_to(&logger, Level::Info, 1, "x");
        }
        assert!(handle.flush(PATIENCE));
        assert_eq!(messages(&stderr.text()).len(), round * 200);
    }
}

#[test]
fn a_backtrace_comes_with_the_line_asked_for() {
    let config = LogConfig {
        logtostderr: true,
        log_backtrace_at: vec![SourceLine { file: "mesh.rs".into(), line: 7 }],
        ..LogConfig::default()
    };
    let stderr = Captured::default();
    let (logger, handle) = start_quietly(&config, Box::new(stderr.clone()), 10);
    log_to(&logger, Level::Info, 6, "plain");
    assert!(handle.flush(PATIENCE));
    assert!(stderr.text().ends_with(" mesh.rs:6] plain\n"));
    log_to(&logger, Level::Info, 7, "traced");
    assert!(handle.flush(PATIENCE));
    let text = stderr.text();
    let (_, trace) = text.split_once(" mesh.rs:7] traced\n").expect("the line");
    assert!(trace.contains("a_backtrace_comes_with_the_line_asked_for"), "{trace}");
}

#[test]
fn reopen_reaches_the_log_thread() {
    let dir = Dir::new();
    let config = quiet(&dir);
    let (logger, handle) = start_quietly(&config, Box::new(io::sink()), 10);
    log_to(&logger, Level::Warn, 1, "one");
    assert!(handle.flush(PATIENCE));
    std::fs::rename(dir.0.join("prog.INFO").canonicalize().expect("a file"), dir.0.join("moved"))
        .expect("renamed");
    handle.reopen();
    assert!(handle.flush(PATIENCE));
    log_to(&logger, Level::Info, 1, "two");
    assert!(handle.flush(PATIENCE));
    assert_eq!(dir.messages("moved"), ["one"]);
    assert_eq!(dir.messages("prog.INFO"), ["two"]);
}
