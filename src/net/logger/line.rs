//! One log line, and glog's format for it: `Lmmdd hh:mm:ss.uuuuuu threadid file:line] msg`.

use std::backtrace::Backtrace;
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::SystemTime;

use log::{Level, Record};

use super::zone::Zone;
use crate::config::Severity;

/// Bytes of a message beyond this are cut, so that a full queue has a size.
const MOST_TEXT: usize = 64 << 10;

/// What a thread hands to the log thread. The backtrace is resolved there, being slow.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) severity: Severity,
    pub(super) time: SystemTime,
    pub(super) thread: u32,
    /// Base name of the source file.
    pub(super) file: Cow<'static, str>,
    pub(super) line: u32,
    pub(super) text: String,
    pub(super) backtrace: Option<Box<Backtrace>>,
}

impl Line {
    pub(super) fn of_record(record: &Record<'_>) -> Self {
        let file = match (record.file_static(), record.file()) {
            (Some(file), _) => Cow::Borrowed(base_name(file)),
            (None, Some(file)) => Cow::Owned(base_name(file).to_string()),
            (None, None) => Cow::Borrowed("???"),
        };
        Line::now(severity_of(record.level()), file, record.line().unwrap_or(1), record.args())
    }

    /// A line of this thread, written now.
    // Log lines say when on the wall's clock, which nothing else here depends on.
    #[allow(clippy::disallowed_methods)]
    pub(super) fn now(
        severity: Severity,
        file: Cow<'static, str>,
        line: u32,
        text: impl fmt::Display,
    ) -> Self {
        let (time, thread) = (SystemTime::now(), THREAD.with(|id| *id));
        Line { severity, time, thread, file, line, text: capped(text), backtrace: None }
    }

    /// Appends the line as it stands in files, its end included.
    pub(super) fn format(&self, zone: &Zone, out: &mut Vec<u8>) {
        let at = zone.at(self.time);
        let mut text = format!(
            "{}{:02}{:02} {:02}:{:02}:{:02}.{:06} {:7} {}:{}] ",
            self.severity.letter(),
            at.month,
            at.day,
            at.hour,
            at.minute,
            at.second,
            at.micros,
            self.thread,
            self.file,
            self.line,
        );
        text.push_str(&self.text);
        if let Some(backtrace) = &self.backtrace {
            let _ = write!(text, "\n{backtrace}"); // a String takes everything
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        out.extend_from_slice(text.as_bytes());
    }
}

/// What follows the last slash.
pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

thread_local! {
    static THREAD: u32 = thread_id();
}

/// The kernel's number for this thread, as in `top -H`; the process's where that cannot be had.
fn thread_id() -> u32 {
    let link = std::fs::read_link("/proc/thread-self").ok();
    let id = link.as_deref().and_then(|path| path.file_name()?.to_str()?.parse().ok());
    id.unwrap_or_else(std::process::id)
}

/// glog has no level below INFO: verbose lines are INFO lines that are not always written.
fn severity_of(level: Level) -> Severity {
    match level {
        Level::Error => Severity::Error,
        Level::Warn => Severity::Warning,
        Level::Info | Level::Debug | Level::Trace => Severity::Info,
    }
}

fn capped(text: impl fmt::Display) -> String {
    let mut capped = Capped(String::new());
    if write!(capped, "{text}").is_err() {
        capped.0.push_str("... (cut)");
    }
    capped.0
}

/// Takes text up to the limit and fails on the rest.
struct Capped(String);

impl fmt::Write for Capped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MOST_TEXT.saturating_sub(self.0.len());
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        let fits = (0..=room).rev().find_map(|end| text.get(..end)).unwrap_or("");
        self.0.push_str(fits);
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn lines_look_as_in_glog() {
        let line = Line {
            severity: Severity::Warning,
            time: UNIX_EPOCH + Duration::from_micros(1_763_810_322_123_456),
            thread: 12345,
            file: "file.rs".into(),
            line: 123,
            text: "msg".into(),
            backtrace: None,
        };
        let mut out = Vec::new();
        line.format(&Zone::named("UTC0"), &mut out);
        Line { text: "msg\n".into(), ..line }.format(&Zone::named("EST5"), &mut out);
        let want = "W1122 11:18:42.123456   12345 file.rs:123] msg\nW1122 06:18:42.123456   12345 file.rs:123] msg\n";
        assert_eq!(String::from_utf8(out).as_deref(), Ok(want));
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        assert_eq!(capped("x".repeat(MOST_TEXT)).len(), MOST_TEXT);
        let cut = capped("é".repeat(MOST_TEXT));
        assert_eq!(cut, format!("{}... (cut)", "é".repeat(MOST_TEXT / 2)));
        let cut = capped(format_args!("x{}", "é".repeat(MOST_TEXT)));
        assert_eq!(cut, format!("x{}... (cut)", "é".repeat(MOST_TEXT / 2 - 1)));
    }

    #[test]
    fn threads_have_numbers_of_their_own() {
        let here = thread_id();
        let there = std::thread::spawn(thread_id).join().expect("a number");
        assert_ne!(here, there);
    }
}
