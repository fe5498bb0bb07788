//! Log lines as Go's glog writes them, from the `log` macros to severity files and standard error.
//!
//! ```text
//! worker: log::info! -> filter -> Line -> bounded queue -> log thread: GlogSink -> files, stderr
//! ```
//!
//! A thread that logs formats its message and hands it over without ever waiting: when the queue is full the line is
//! counted instead, and the count is logged once there is room. Only the log thread touches files, standard error
//! and the time zone. Knows nothing of what is logged.

mod file;
mod filter;
mod identity;
mod line;
mod panics;
mod queue;
mod sink;
#[cfg(test)]
mod tests;
mod zone;

use std::backtrace::Backtrace;
use std::sync::Arc;
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use simplelog::{CombinedLogger, SharedLogger};

use crate::config::LogConfig;
use filter::Filter;
use identity::Identity;
use line::Line;
use queue::Queue;
use sink::{GlogSink, Place};
use zone::Zone;

/// Lines that may wait for the log thread.
const QUEUE_LINES: usize = 1024;
/// How long `log::logger().flush()`, which cannot say how long, and a panicking thread wait for the log thread.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes the `log` macros write as `config` says, for the rest of the process, and logs panics as `F` lines.
///
/// Trouble with files is no error: it is said once on standard error, and tried again later. An error is one line:
/// the log thread could not be started, or a logger is there already.
pub fn init(config: &LogConfig) -> Result<LogHandle, String> {
    let place = Place::new(config, Identity::of_this_process(), Zone::local());
    let sink = GlogSink::new(config, place, Box::new(std::io::stderr()));
    let (logger, handle) = start(config, sink, QUEUE_LINES)?;
    CombinedLogger::init(vec![Box::new(logger)]).map_err(|e| format!("logging: {e}"))?;
    // The combined logger assumes that levels never change and so has set the widest.
    log::set_max_level(handle.filter.max_level());
    panics::install(handle.queue.clone());
    Ok(handle)
}

/// The running logger, for those who steer it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogHandle {
    filter: Arc<Filter>,
    queue: Queue,
}

impl LogHandle {
    /// Lets go of all log files; the next line of each severity begins a new one. For SIGHUP. Does not wait.
    pub fn reopen(&self) {
        self.queue.reopen();
    }

    /// Waits until everything logged before is written. False when that takes longer than `timeout`.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.queue.flush(timeout)
    }

    /// Lets lines of `level` and above through from now on; `-vmodule` still decides about verbose lines of the
    /// files it names, unless `level` is below `Info`.
    pub fn set_level(&self, level: LevelFilter) {
        self.filter.set_level(level);
        log::set_max_level(self.filter.max_level());
    }

    /// What `-v` or the last [`LogHandle::set_level`] said.
    pub fn level(&self) -> LevelFilter {
        self.filter.level()
    }
}

/// Starts the log thread over `sink`, with room for `queue_lines` waiting lines.
fn start(config: &LogConfig, sink: GlogSink, queue_lines: usize) -> Result<(GlogLogger, LogHandle), String> {
    let filter = Arc::new(Filter::new(config));
    let queue =
        Queue::start(sink, queue_lines).map_err(|e| format!("logging: cannot start its thread: {e}"))?;
    let handle = LogHandle { filter, queue };
    Ok((GlogLogger { handle: handle.clone() }, handle))
}

/// The end of the pipeline that the `log` macros see.
struct GlogLogger {
    handle: LogHandle,
}

impl Log for GlogLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.handle.filter.max_level()
    }

    fn log(&self, record: &Record<'_>) {
        let filter = &self.handle.filter;
        if filter.allows(record.level(), record.file()) {
            let mut line = Line::of_record(record);
            if filter.wants_backtrace(record.file(), record.line()) {
                line.backtrace = Some(Box::new(Backtrace::force_capture()));
            }
            self.handle.queue.push(line);
        }
    }

    fn flush(&self) {
        self.handle.flush(FLUSH_TIMEOUT);
    }
}

impl SharedLogger for GlogLogger {
    /// The widest that this logger can be set to, since simplelog's loggers take it once and for all.
    fn level(&self) -> LevelFilter {
        LevelFilter::Trace
    }

    fn config(&self) -> Option<&simplelog::Config> {
        None
    }

    fn as_log(self: Box<Self>) -> Box<dyn Log> {
        self
    }
}
