//! The bounded queue between threads that log and the log thread. Its near end never waits.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::line::Line;
use super::sink::GlogSink;
use crate::config::Severity;
use crate::net::channel::{channel, Nothing, Receiver, Sender};

/// The log thread's name, for `top -H` and for the panic hook, which must not wait for the thread it runs on.
pub(super) const THREAD_NAME: &str = "log";

/// The near end. Cheap to clone; the log thread ends when the last one is gone.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    jobs: Sender<Job>,
    wishes: Arc<Wishes>,
}

impl Queue {
    /// Starts the log thread over `sink`; `lines` may wait for it.
    pub(super) fn start(sink: GlogSink, lines: usize) -> io::Result<Queue> {
        let (jobs, waiting) = channel(lines);
        let wishes = Arc::new(Wishes::default());
        let mut far_end = FarEnd { sink, waiting, lines, wishes: wishes.clone() };
        std::thread::Builder::new().name(THREAD_NAME.into()).spawn(move || far_end.run())?;
        Ok(Queue { jobs, wishes })
    }

    /// Hands `line` over, or counts it when the queue is full. False in the latter case.
    pub(super) fn push(&self, line: Line) -> bool {
        let taken = self.jobs.send(Job::Line(Box::new(line)));
        if !taken {
            self.wishes.dropped.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    pub(super) fn reopen(&self) {
        self.wishes.reopen.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Waits until all lines pushed before are written; false when `timeout` passes first.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let (done, wait) = channel(1);
        self.wishes.flush.lock().unwrap_or_else(PoisonError::into_inner).push(done);
        self.wishes.flush_asked.store(true, Ordering::SeqCst);
        self.wake();
        wait.recv_within(timeout).is_ok()
    }

    /// A full queue needs no waking: wishes are looked at after every job.
    fn wake(&self) {
        self.jobs.send(Job::Wake);
    }
}

#[derive(Debug)]
enum Job {
    /// Boxed, since the queue keeps memory for as many jobs as it has held.
    Line(Box<Line>),
    /// Look at the wishes.
    Wake,
}

/// What the log thread is asked for beside lines; apart from the queue, so that it can be asked for when that is full.
#[derive(Debug, Default)]
struct Wishes {
    dropped: AtomicU64,
    reopen: AtomicBool,
    flush_asked: AtomicBool,
    flush: Mutex<Vec<Sender<()>>>,
}

struct FarEnd {
    sink: GlogSink,
    waiting: Receiver<Job>,
    /// How many jobs `waiting` can hold.
    lines: usize,
    wishes: Arc<Wishes>,
}

impl FarEnd {
    fn run(&mut self) {
        while let Some(job) = self.next() {
            self.work(job);
            self.grant_wishes();
        }
        self.sink.flush();
    }

    /// The next job; before waiting for one, everything held back is written. `None` when nobody can send any more.
    fn next(&mut self) -> Option<Job> {
        match self.waiting.try_recv() {
            Ok(job) => Some(job),
            Err(Nothing::Ever) => None,
            Err(Nothing::Yet) => {
                self.sink.flush();
                self.waiting.recv()
            }
        }
    }

    fn work(&mut self, job: Job) {
        if let Job::Line(line) = job {
            self.sink.write(&line);
        }
    }

    fn grant_wishes(&mut self) {
        self.tell_dropped();
        if take(&self.wishes.reopen) {
            self.sink.reopen();
        }
        if take(&self.wishes.flush_asked) {
            let done = std::mem::take(&mut *self.wishes.flush.lock().unwrap_or_else(PoisonError::into_inner));
            self.drain();
            self.tell_dropped();
            self.sink.flush();
            for waiter in done {
                waiter.send(()); // it may have stopped waiting
            }
        }
    }

    /// Writes what waits now. One queue's worth is enough for that, and an end even if others keep logging.
    fn drain(&mut self) {
        for _ in 0..self.lines {
            let Ok(job) = self.waiting.try_recv() else { break };
            self.work(job);
        }
    }

    fn tell_dropped(&mut self) {
        if self.wishes.dropped.load(Ordering::Relaxed) == 0 {
            return;
        }
        let dropped = self.wishes.dropped.swap(0, Ordering::Relaxed);
        let text = format!("{dropped} log lines dropped");
        self.sink.write(&Line::now(Severity::Warning, "queue.rs".into(), line!(), text));
    }
}

/// Reads and clears; a load first, since this is asked after every line.
///
/// Sequentially consistent on both sides: whoever wished and then found the queue full must be seen after the last
/// of the jobs that filled it.
fn take(flag: &AtomicBool) -> bool {
    flag.load(Ordering::SeqCst) && flag.swap(false, Ordering::SeqCst)
}
