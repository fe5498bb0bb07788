//! What the glog flags say: where log lines go, from which severity on, and which verbose lines are written.
//!
//! Values and their syntax only; who writes lines is `net::logger`.

use std::fmt;
use std::path::PathBuf;

/// How bad a log line is. The order is glog's: a file of one severity also holds everything above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// 0, `I`: all is well; verbose lines too.
    Info,
    /// 1, `W`.
    Warning,
    /// 2, `E`.
    Error,
    /// 3, `F`: a thread came to an end.
    Fatal,
}

impl Severity {
    /// All severities, from the lowest to the highest.
    pub const ALL: [Severity; 4] = [Severity::Info, Severity::Warning, Severity::Error, Severity::Fatal];

    /// The name in file names and flags.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Info => "INFO",
            Severity::Warning => "WARNING",
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        }
    }

    /// The letter that begins a line.
    pub const fn letter(self) -> char {
        match self {
            Severity::Info => 'I',
            Severity::Warning => 'W',
            Severity::Error => 'E',
            Severity::Fatal => 'F',
        }
    }

    /// Reads a number from 0 to 3, or a name in any case.
    pub(super) fn parse(text: &str) -> Option<Severity> {
        let by_number = text.parse::<usize>().ok().and_then(|n| Severity::ALL.get(n).copied());
        by_number.or_else(|| Severity::ALL.into_iter().find(|s| s.name().eq_ignore_ascii_case(text)))
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One `pattern=N` of `-vmodule`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VModule {
    /// A file's base name without `.rs`, or its path without `.rs` when there is a slash in it; `*` and `?` match
    /// anything but a slash, as in Go's `filepath.Match`.
    pub pattern: String,
    /// Verbose lines up to this level are written for files that match.
    pub level: i32,
}

/// One `file:line` of `-log_backtrace_at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// A file's base name, extension included.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

/// The glog flags, checked. Fields are named after their flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `-log_dir`: where log files are made; `None` for the directory for temporary files.
    pub log_dir: Option<PathBuf>,
    /// `-log_link`: a further directory for the symlinks to them.
    pub log_link: Option<PathBuf>,
    /// `-logtostderr`: lines go to standard error and to no file.
    pub logtostderr: bool,
    /// `-alsologtostderr`: lines go to standard error and to files.
    pub alsologtostderr: bool,
    /// `-stderrthreshold`: lines of this severity and above go to standard error as well as to files.
    pub stderrthreshold: Severity,
    /// `-v`: verbose lines up to this level are written; 1 is `debug!`, 2 and above `trace!`.
    pub v: i32,
    /// `-vmodule`: levels for single files instead of `-v`; the first match counts.
    pub vmodule: Vec<VModule>,
    /// `-log_backtrace_at`: a line logged there carries a stack trace.
    pub log_backtrace_at: Vec<SourceLine>,
    /// `-logbuflevel`: lines up to this severity may wait in memory while more lines are being written.
    pub logbuflevel: i32,
}

impl Default for LogConfig {
    fn default() -> Self {
        super::Settings::default().log
    }
}

impl LogConfig {
    /// The value that the flag table's defaults are applied to.
    pub(super) fn blank() -> Self {
        LogConfig {
            log_dir: None,
            log_link: None,
            logtostderr: false,
            alsologtostderr: false,
            stderrthreshold: Severity::Info,
            v: 0,
            vmodule: Vec::new(),
            log_backtrace_at: Vec::new(),
            logbuflevel: 0,
        }
    }
}

/// Reads `-vmodule`: `pattern=N,...`; empty items are skipped, as glog does.
pub(super) fn vmodule(text: &str) -> Option<Vec<VModule>> {
    items(text).map(module).collect()
}

/// Reads `-log_backtrace_at`: `file:line,...`; empty items are skipped, as glog does.
pub(super) fn source_lines(text: &str) -> Option<Vec<SourceLine>> {
    items(text).map(source_line).collect()
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|item| !item.is_empty())
}

fn module(item: &str) -> Option<VModule> {
    let (pattern, level) = item.split_once('=')?;
    // Character classes and escapes have no use in names of source files; taking them literally would surprise.
    let plain = !pattern.is_empty() && !pattern.contains(['[', ']', '\\']);
    let level = level.parse().ok()?;
    plain.then(|| VModule { pattern: pattern.to_string(), level })
}

fn source_line(item: &str) -> Option<SourceLine> {
    let (file, line) = item.split_once(':')?;
    let line = line.parse().ok().filter(|line| *line > 0)?;
    let is_base_name = file.contains('.') && !file.contains('/');
    is_base_name.then(|| SourceLine { file: file.to_string(), line })
}
