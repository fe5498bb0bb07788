//! Child processes that end with the test runner, however it ends.
//!
//! Children run under `setpriv --pdeathsig KILL`: the kernel kills them when the *thread* that started them ends. Tests
//! run in threads of their own and share servers, so one thread that lives as long as the process starts them all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use super::wait::eventually;

/// A running program; killed on drop.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    output: PathBuf,
    /// Whether it has children of its own to end: it is asked to, and killed only when it does not.
    is_parent: bool,
}

impl Daemon {
    /// Starts `program` with its standard output and error going to the file `output`.
    pub fn start(program: &str, args: &[impl AsRef<str>], output: &Path) -> Daemon {
        Self::launch(program, args, output, false, Stdio::null())
    }

    /// As [`Daemon::start`] with something to read from.
    pub fn start_with(program: &str, args: &[impl AsRef<str>], output: &Path, stdin: Stdio) -> Daemon {
        Self::launch(program, args, output, false, stdin)
    }

    /// As [`Daemon::start`] for a program that starts others and ends them on SIGTERM.
    pub fn start_parent(program: &str, args: &[impl AsRef<str>], output: &Path) -> Daemon {
        Self::launch(program, args, output, true, Stdio::null())
    }

    fn launch(
        program: &str,
        args: &[impl AsRef<str>],
        output: &Path,
        is_parent: bool,
        stdin: Stdio,
    ) -> Daemon {
        let file = File::create(output).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", if is_parent { "TERM" } else { "KILL" }, program]);
        command.args(args.iter().map(|a| OsString::from(a.as_ref())));
        command.stdin(stdin).stdout(file.try_clone().unwrap()).stderr(file);
        let child = spawn(command).unwrap_or_else(|e| panic!("cannot start {program}: {e}"));
        Daemon { child, output: output.to_path_buf(), is_parent }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name: `STOP`, `CONT`, `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.pid())).status();
        assert!(status.is_ok_and(|s| s.success()), "kill -{name} {} failed", self.pid());
    }

    /// How it ended, or `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// How it ended; panics when it still runs after `limit`.
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        let ended = eventually(limit, || self.exit_status().is_some());
        assert!(ended, "process {} still runs after {limit:?}; its output: {}", self.pid(), self.output());
        self.exit_status().unwrap()
    }

    /// Kills it with SIGKILL and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// A field of `/proc/PID/status` in its own unit, for example `VmRSS` in KiB.
    pub fn status_field(&self, field: &str) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = text.lines().find(|l| l.split(':').next() == Some(field))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.is_parent && self.exit_status().is_none() {
            self.signal("TERM");
            eventually(Duration::from_secs(20), || self.exit_status().is_some());
        }
        self.kill();
    }
}

type Job = (Command, Sender<io::Result<Child>>);

/// Starts `command` from the thread that lives as long as this process.
fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| Mutex::new(start_spawner()));
    let (answer, child) = channel();
    spawner.lock().unwrap_or_else(|e| e.into_inner()).send((command, answer)).unwrap();
    child.recv().unwrap()
}

fn start_spawner() -> Sender<Job> {
    let (jobs, inbox) = channel::<Job>();
    thread::spawn(move || {
        for (mut command, answer) in inbox {
            let _ = answer.send(command.spawn());
        }
    });
    jobs
}
