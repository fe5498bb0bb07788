//! The topology thread: asks nodes who serves which slot and publishes the answer to every worker.
//!
//! This file is what the others see of it. When to ask and whom to believe is decided in `cluster`; here are the
//! thread, its sockets and its log lines. Sockets block, with deadlines, since nothing else runs on this thread.

mod journal;
mod names;
mod node;
mod refresher;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::time::Time;
use crate::config::Config;
use crate::net::channel::{channel, Sender};
use crate::net::clock::Clock;
use crate::net::mesh::WorkerHandle;
pub use crate::proxy::Hint;
use refresher::Refresher;

/// Hints that wait to be read, at most. When there are more, a refresh is due anyway.
const MAX_HINTS: usize = 256;

/// What the topology thread knows, for health checks and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopologyStatus {
    /// Nodes in the present map.
    pub nodes: usize,
    /// Primaries in the present map.
    pub primaries: usize,
    /// Slots that have a primary.
    pub covered_slots: usize,
    /// How long ago the topology was last told or confirmed by a node; `None` before the first time.
    pub age: Option<Duration>,
    /// From which age on the topology counts as stale.
    pub stale_after: Duration,
    /// Why the last refresh failed; `None` when it did not.
    pub last_error: Option<String>,
    /// Refreshes that succeeded.
    pub refreshes: u64,
    /// Refreshes in which no node gave a usable answer.
    pub failures: u64,
    /// Highest config epoch told by a trusted node, 0 when unknown.
    pub epoch: u64,
    /// Name and version of the node that told the present map, empty when unknown.
    pub server_version: String,
}

impl TopologyStatus {
    /// Whether a node has confirmed the topology of late.
    pub fn is_fresh(&self) -> bool {
        self.age.is_some_and(|age| age <= self.stale_after)
    }
}

/// The topology thread as the other threads see it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TopologyHandle {
    hints: Sender<Hint>,
    shared: Arc<Shared>,
    clock: Clock,
}

impl TopologyHandle {
    /// Asks for a refresh. Never waits: when too many hints are waiting already, this one adds nothing to them.
    pub fn hint(&self, hint: Hint) {
        self.hints.send(hint);
    }

    /// A copy of what the thread knows.
    pub fn status(&self) -> TopologyStatus {
        let board = self.shared.board();
        let age = board.confirmed.map(|t| self.clock.now().since(t));
        TopologyStatus { age, ..board.status.clone() }
    }

    /// Tells the thread to end; it does so when the question it is asking, if any, is answered or times out.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        // Any hint wakes the thread; a full channel means that it is about to look anyway.
        self.hint(Hint::Unserved);
    }
}

/// Starts the thread. It asks at once and publishes the first map as soon as a node answers.
///
/// # Errors
/// When the system cannot start another thread.
pub fn spawn(config: Arc<Config>, workers: Vec<WorkerHandle>) -> io::Result<TopologyHandle> {
    let (hints, receiver) = channel(MAX_HINTS);
    let shared = Arc::new(Shared::default());
    let clock = Clock::new();
    let refresher = Refresher::new(config, workers, Arc::clone(&shared), clock);
    std::thread::Builder::new().name("topology".into()).spawn(move || refresher.run(&receiver))?;
    Ok(TopologyHandle { hints, shared, clock })
}

/// What the thread and its handles share.
#[derive(Debug, Default)]
struct Shared {
    board: Mutex<Board>,
    stopping: AtomicBool,
}

impl Shared {
    /// The lock is held for a copy only, never while anything is asked.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// The status and what its `age` is reckoned from.
#[derive(Debug, Default)]
struct Board {
    status: TopologyStatus,
    confirmed: Option<Time>,
}
