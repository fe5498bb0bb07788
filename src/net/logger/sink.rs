//! Where lines end: glog's rules of which files and whether standard error. Runs on the log thread and may block.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::file::{LogFile, Output};
use super::identity::Identity;
use super::line::Line;
use super::zone::{Stamp, Zone};
use crate::config::{LogConfig, Severity};

/// At this size a log file is followed by a new one, as in glog.
const MAX_BYTES: u64 = 1800 << 20;
/// Files that one process can begin within a second, per severity.
const MOST_PER_SECOND: u32 = 100;

/// Makes a file that was not there before.
pub(super) type Create = Box<dyn FnMut(&Path) -> io::Result<Output> + Send>;

/// The disk as log files see it, and what they are named after.
pub(super) struct Place {
    /// Tried in this order.
    pub(super) dirs: Vec<PathBuf>,
    link_dir: Option<PathBuf>,
    pub(super) identity: Identity,
    pub(super) zone: Zone,
    pub(super) create: Create,
    pub(super) max_bytes: u64,
    /// Whether files go to another directory than asked for.
    fell_back: bool,
    /// What there is to say about that.
    complaint: Option<String>,
}

impl Place {
    pub(super) fn new(config: &LogConfig, identity: Identity, zone: Zone) -> Self {
        // As in glog, the directory for temporary files is the last resort.
        let dirs = config.log_dir.iter().cloned().chain([std::env::temp_dir()]).collect();
        Place {
            dirs,
            link_dir: config.log_link.clone(),
            identity,
            zone,
            create: Box::new(create_file),
            max_bytes: MAX_BYTES,
            fell_back: false,
            complaint: None,
        }
    }

    /// Makes the log file of `severity` and its links, in the first directory that lets it.
    pub(super) fn create(&mut self, severity: Severity, stamp: &Stamp) -> io::Result<(PathBuf, Output)> {
        let mut failure = None;
        for dir in self.dirs.clone() {
            match self.create_in(&dir, severity, stamp) {
                Ok((path, output)) => {
                    self.link(&dir, &path, severity);
                    self.note_fallback(failure, &dir);
                    return Ok((path, output));
                }
                Err(error) => {
                    failure = Some(io::Error::new(error.kind(), format!("{}: {error}", dir.display())))
                }
            }
        }
        Err(failure.unwrap_or_else(|| io::Error::other("no directory for log files")))
    }

    /// glog says nothing when it uses the last resort, which has cost many an operator a search.
    fn note_fallback(&mut self, failure: Option<io::Error>, dir: &Path) {
        let fell_back_before = std::mem::replace(&mut self.fell_back, failure.is_some());
        if let Some(error) = failure.filter(|_| !fell_back_before) {
            self.complaint = Some(format!("cannot make log files in {error}; they go to {}", dir.display()));
        }
    }

    /// A file begun in the same second as the one before it gets a further number: never is a file overwritten or
    /// followed that is there already, since others may write to the directory for temporary files.
    fn create_in(&mut self, dir: &Path, severity: Severity, stamp: &Stamp) -> io::Result<(PathBuf, Output)> {
        let name = self.identity.file_name(severity, stamp);
        let mut path = dir.join(&name);
        for number in 1..MOST_PER_SECOND {
            match (self.create)(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    path = dir.join(format!("{name}.{number}"));
                }
                made => return made.map(|output| (path, output)),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Lets the symlinks point to `file`. As in glog, what cannot be linked stays unlinked.
    fn link(&self, dir: &Path, file: &Path, severity: Severity) {
        let link = self.identity.link_name(severity);
        if let Some(name) = file.file_name() {
            let _ = replace_link(Path::new(name), dir, &link);
        }
        if let Some(link_dir) = &self.link_dir {
            let _ = std::path::absolute(file).and_then(|file| replace_link(&file, link_dir, &link));
        }
    }
}

/// glog's rules over one [`LogFile`] per severity and standard error.
pub(super) struct GlogSink {
    place: Place,
    /// In the order of `Severity::ALL`; `None` when lines go to standard error only.
    files: Option<[LogFile; 4]>,
    stderr: Output,
    /// Lines from here up go to standard error.
    stderr_from: Severity,
    buffer_level: i32,
    /// Whether the present trouble with files has been told.
    told: bool,
    /// Formatted text, kept for its capacity.
    scratch: Vec<u8>,
}

impl GlogSink {
    pub(super) fn new(config: &LogConfig, place: Place, stderr: Output) -> Self {
        let all_to_stderr = config.logtostderr || config.alsologtostderr;
        GlogSink {
            place,
            files: (!config.logtostderr).then(|| Severity::ALL.map(LogFile::new)),
            stderr,
            stderr_from: if all_to_stderr { Severity::Info } else { config.stderrthreshold },
            buffer_level: config.logbuflevel,
            told: false,
            scratch: Vec::new(),
        }
    }

    /// Writes `line` to the file of its severity and to those of all lower ones, and to standard error if it
    /// belongs there.
    pub(super) fn write(&mut self, line: &Line) {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        line.format(&self.place.zone, &mut text);
        if line.severity >= self.stderr_from {
            let _ = self.stderr.write_all(&text); // nobody is left to be told
        }
        self.each_file(|file, place| match file.severity() {
            severity if severity <= line.severity => file.append(&text, line.time, place),
            _ => Ok(()),
        });
        self.scratch = text;
        if line.severity as i32 > self.buffer_level {
            self.flush();
        }
    }

    /// Writes all that is held back.
    ///
    /// glog holds lines up to `-logbuflevel` back for up to 30 seconds. Here the log thread calls this whenever no
    /// line waits, so that files are never behind for long, and only bursts are written in bulk.
    pub(super) fn flush(&mut self) {
        self.each_file(LogFile::flush);
        let _ = self.stderr.flush();
    }

    /// Lets go of all files.
    pub(super) fn reopen(&mut self) {
        self.each_file(LogFile::close);
    }

    /// Does `work` on every file, the most severe first as glog does, and tells of trouble once until all is well.
    fn each_file(&mut self, mut work: impl FnMut(&mut LogFile, &mut Place) -> io::Result<()>) {
        let mut failure = None;
        for file in self.files.iter_mut().flatten().rev() {
            failure = work(file, &mut self.place).err().or(failure);
        }
        match failure {
            Some(error) if !self.told => {
                self.told = true;
                self.complain(&format!("cannot write log files, will try again: {error}"));
            }
            Some(_) => {}
            None => self.told &= self.files.iter().flatten().any(LogFile::is_failing),
        }
        if let Some(complaint) = self.place.complaint.take() {
            self.complain(&complaint);
        }
    }

    /// Says something about the files where it can be seen without them.
    fn complain(&mut self, complaint: &str) {
        let mut text = Vec::new();
        Line::now(Severity::Error, "sink.rs".into(), line!(), complaint).format(&self.place.zone, &mut text);
        let _ = self.stderr.write_all(&text);
    }
}

fn create_file(path: &Path) -> io::Result<Output> {
    // `create_new` follows no symlink that someone else may have put there.
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    Ok(Box::new(file))
}

/// Makes `dir/name` a symlink to `target` in one step, unless something that is no symlink stands there.
fn replace_link(target: &Path, dir: &Path, name: &str) -> io::Result<()> {
    let link = dir.join(name);
    if link.symlink_metadata().is_ok_and(|there| !there.is_symlink()) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let fresh = dir.join(format!(".{name}.{}", std::process::id()));
    let _ = std::fs::remove_file(&fresh); // left over from a crash
    symlink(target, &fresh)?;
    std::fs::rename(&fresh, &link)
}
