//! The log file of one severity: made when its first line comes, begun anew when it is full, and given a rest when
//! the disk refuses it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::line::Line;
use super::sink::Place;
use super::zone::Stamp;
use crate::config::Severity;

/// Bytes held back before they are written, as in glog.
const BUFFER_BYTES: usize = 256 << 10;
/// How long a file that could not be made or written is left alone.
const REST: Duration = Duration::from_secs(10);

/// Where bytes of a log file go.
pub(super) type Output = Box<dyn Write + Send>;

#[derive(Debug)]
pub(super) struct LogFile {
    severity: Severity,
    open: Option<Open>,
    /// Lines not yet written.
    pending: Vec<u8>,
    pending_lines: u64,
    /// Since when writing fails, counted anew with each attempt.
    failing_since: Option<SystemTime>,
    /// Lines that were not written for that reason.
    lost: u64,
    previous: Option<PathBuf>,
    /// The time of the newest line.
    now: SystemTime,
}

struct Open {
    output: Output,
    path: PathBuf,
    /// Written, or pending.
    bytes: u64,
}

impl LogFile {
    pub(super) fn new(severity: Severity) -> Self {
        LogFile {
            severity,
            open: None,
            pending: Vec::new(),
            pending_lines: 0,
            failing_since: None,
            lost: 0,
            previous: None,
            now: SystemTime::UNIX_EPOCH,
        }
    }

    pub(super) fn severity(&self) -> Severity {
        self.severity
    }

    /// Takes a formatted line of `time`. The error says why lines are being lost.
    pub(super) fn append(&mut self, text: &[u8], time: SystemTime, place: &mut Place) -> io::Result<()> {
        self.now = time;
        if self.is_resting() {
            self.lost += 1;
            return Ok(());
        }
        let taken = self.make_room(text.len(), place);
        if let Err(error) = taken {
            self.lost += 1;
            self.failing_since = Some(time);
            return Err(error);
        }
        self.take(text);
        self.pending_lines += 1;
        Ok(())
    }

    /// Writes what is pending, after a word about lines lost before it.
    pub(super) fn flush(&mut self, place: &mut Place) -> io::Result<()> {
        let Some(open) = self.open.as_mut().filter(|_| !self.pending.is_empty()) else { return Ok(()) };
        let mut note = Vec::new();
        if self.lost > 0 {
            let text = format!("{} log lines lost: the log file could not be written", self.lost);
            let mut line = Line::now(Severity::Warning, "file.rs".into(), line!(), text);
            line.time = self.now;
            line.format(&place.zone, &mut note);
        }
        let written = open.output.write_all(&note).and_then(|()| open.output.write_all(&self.pending));
        match &written {
            Ok(()) => (self.failing_since, self.lost) = (None, 0),
            Err(_) => {
                self.failing_since = Some(self.now);
                self.lost += self.pending_lines;
            }
        }
        self.pending.clear();
        self.pending_lines = 0;
        written
    }

    /// Lets go of the file, so that the next line begins a new one at once.
    pub(super) fn close(&mut self, place: &mut Place) -> io::Result<()> {
        let flushed = self.flush(place);
        self.failing_since = None;
        if let Some(open) = self.open.take() {
            self.previous = Some(open.path);
        }
        flushed
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing_since.is_some()
    }

    /// True shortly after a failure; a clock that was set back does not prolong it.
    fn is_resting(&self) -> bool {
        self.failing_since
            .is_some_and(|since| self.now.duration_since(since).is_ok_and(|passed| passed < REST))
    }

    /// Sees to it that `len` more bytes may be appended.
    fn make_room(&mut self, len: usize, place: &mut Place) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|open| open.bytes.saturating_add(len as u64) >= place.max_bytes) {
            self.close(place)?;
        }
        if self.open.is_none() {
            self.begin(place)?;
        }
        if self.pending.len() + len > BUFFER_BYTES {
            self.flush(place)?;
        }
        Ok(())
    }

    fn begin(&mut self, place: &mut Place) -> io::Result<()> {
        let stamp = place.zone.at(self.now);
        let (path, output) = place.create(self.severity, &stamp)?;
        self.open = Some(Open { output, path, bytes: 0 });
        let header = self.header(place, &stamp);
        self.take(header.as_bytes());
        Ok(())
    }

    fn take(&mut self, text: &[u8]) {
        self.pending.extend_from_slice(text);
        if let Some(open) = &mut self.open {
            open.bytes += text.len() as u64;
        }
    }

    fn header(&self, place: &Place, stamp: &Stamp) -> String {
        let Stamp { year, month, day, hour, minute, second, .. } = stamp;
        let previous = self.previous.as_ref().map_or("<none>".into(), |path| path.display().to_string());
        format!(
            "Log file created at: {year:04}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02}\n\
             Running on machine: {}\n\
             Binary: Built with rustc for {}/{} ({} {})\n\
             Previous log: {previous}\n\
             Log line format: [IWEF]mmdd hh:mm:ss.uuuuuu threadid file:line] msg\n",
            place.identity.host,
            std::env::consts::OS,
            std::env::consts::ARCH,
            env!("CARGO_PKG_NAME"),
            env!("CARGO_PKG_VERSION"),
        )
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("path", &self.path).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
