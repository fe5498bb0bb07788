//! Panics as `F` lines with a backtrace, on disk before the thread unwinds. Release builds do not unwind: there the process
//! ends with the line, whichever thread it was.

use std::backtrace::Backtrace;
use std::borrow::Cow;
use std::panic::{self, PanicHookInfo};

use super::line::{base_name, Line};
use super::queue::{Queue, THREAD_NAME};
use super::FLUSH_TIMEOUT;
use crate::config::Severity;

/// With which status the process ends, as that of a program of one thread that panics.
const STATUS: i32 = 101;

/// Sends panics of all threads to `queue`; those that cannot go there are left to the hook that was set before.
pub(super) fn install(queue: Queue) {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let is_log_thread = std::thread::current().name() == Some(THREAD_NAME);
        let written = !is_log_thread && queue.push(line_of(info)) && queue.flush(FLUSH_TIMEOUT);
        if !written {
            previous(info);
        }
        if cfg!(panic = "abort") {
            std::process::exit(STATUS);
        }
    }));
}

fn line_of(info: &PanicHookInfo<'_>) -> Line {
    let (file, at) = info.location().map_or(("???", 1), |at| (base_name(at.file()), at.line()));
    let thread = std::thread::current();
    let text = format!("thread {:?} panicked: {}", thread.name().unwrap_or("<unnamed>"), message(info));
    let mut line = Line::now(Severity::Fatal, Cow::Owned(file.to_string()), at, text);
    line.backtrace = Some(Box::new(Backtrace::force_capture()));
    line
}

/// The two types that `panic!` makes.
fn message<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    let owned = || payload.downcast_ref::<String>().map(String::as_str);
    payload.downcast_ref::<&str>().copied().or_else(owned).unwrap_or("a value that is no text")
}
