//! A client script as a child process: what it has done so far, and how it ends.
//!
//! A script prints `done N` now and then and ends when its standard input does, or when its work is done; its last line
//! is `N passed, N failed`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::wait::eventually;

/// A running script. Its standard input is a pipe of ours, so it ends with the test runner, however that ends.
pub struct Script {
    child: Child,
    input: Option<ChildStdin>,
    done: Arc<AtomicU64>,
    text: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

/// How a script ended.
pub struct End {
    /// Whether its exit status and its closing line say that all went well.
    pub is_success: bool,
    /// The last line.
    pub closing_line: String,
    /// All that it printed, progress aside.
    pub text: String,
}

impl Script {
    /// Starts a script of this directory with the proxy's port and further arguments.
    pub fn start(program: &str, script: &str, port: u16, args: &[&str]) -> Script {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(program)
            .arg(root.join("tests/clients").join(script))
            .arg(port.to_string())
            .args(args)
            .env("NODE_PATH", root.join("target/clients/node_modules"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{program}: {e}; make install-tools gets it"));
        let (done, text) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(String::new())));
        let output = follow(child.stdout.take().unwrap(), done.clone(), text.clone());
        let errors = follow(child.stderr.take().unwrap(), done.clone(), text.clone());
        Script { input: child.stdin.take(), child, done, text, readers: vec![output, errors] }
    }

    /// Waits until `n` more operations are done; panics when the script has ended or does not get on.
    pub fn wait_done(&mut self, n: u64) {
        let goal = self.done.load(Ordering::Relaxed) + n;
        let mut ended = false;
        let reached = eventually(Duration::from_secs(60), || {
            ended = self.child.try_wait().unwrap().is_some();
            ended || self.done.load(Ordering::Relaxed) >= goal
        });
        assert!(
            reached && !ended,
            "the script has {}: {}",
            if ended { "ended" } else { "got stuck" },
            self.text.lock().unwrap()
        );
    }

    /// Tells it to end and waits for that.
    pub fn stop(mut self) -> End {
        drop(self.input.take());
        self.wait_end(Duration::from_secs(30))
    }

    /// Waits until it has done its work.
    pub fn finish(self) -> End {
        self.wait_end(Duration::from_secs(90))
    }

    fn wait_end(mut self, limit: Duration) -> End {
        let ended = eventually(limit, || self.child.try_wait().unwrap().is_some());
        let _ = self.child.kill();
        let status = self.child.wait().unwrap();
        self.readers.drain(..).for_each(|r| r.join().unwrap());
        let text = self.text.lock().unwrap().clone();
        let closing_line =
            text.lines().rev().find(|l| l.contains(" passed, ")).unwrap_or("no closing line").to_string();
        let is_success = ended && status.success() && closing_line.ends_with(" passed, 0 failed");
        End { is_success, closing_line, text }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads lines: progress into `done`, everything else into `text`.
fn follow(
    from: impl Read + Send + 'static,
    done: Arc<AtomicU64>,
    text: Arc<Mutex<String>>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            match line.strip_prefix("done ").and_then(|n| n.parse().ok()) {
                Some(n) => done.store(n, Ordering::Relaxed),
                None => *text.lock().unwrap() += &format!("{line}\n"),
            }
        }
    })
}
