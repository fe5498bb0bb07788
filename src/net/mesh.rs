//! How threads reach workers: a channel and a waker each, and nothing else shared.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use super::channel::Sender;
use crate::base::arena::Key;
use crate::cluster::SlotMap;
use crate::proxy::{Answer, Ask, Question};
use crate::stats::Totals;

/// What a worker can be told.
#[derive(Debug)]
pub enum Message {
    /// Serve this client, accepted by another worker.
    Client(mio::net::TcpStream, SocketAddr),
    /// The topology has changed.
    Topology(Arc<SlotMap>),
    /// Send your counters to this channel; a full or closed channel is ignored.
    Counters(Sender<Totals>),
    /// Another worker's question about this one; the answer goes back to it.
    Ask {
        /// Number of the worker that asks.
        from: usize,
        /// What it calls the question.
        ask: Key<Ask>,
        /// The question.
        question: Arc<Question>,
    },
    /// The answer of another worker.
    Answer(Key<Ask>, Answer),
    /// What clients of another worker sent, for those of this one that watch.
    Show(Vec<u8>),
    /// Stop accepting, since another process does from now on.
    Retire,
    /// Stop accepting, pass this on to the next worker, finish what is in flight within the drain timeout, then end the
    /// thread.
    Drain,
}

/// One worker as the other threads see it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    sender: Sender<Message>,
    waker: Arc<mio::Waker>,
    clients: Arc<AtomicU32>,
}

impl WorkerHandle {
    /// The handle of the worker that reads the other end of `sender` and polls `waker`.
    pub fn new(sender: Sender<Message>, waker: Arc<mio::Waker>) -> Self {
        WorkerHandle { sender, waker, clients: Arc::new(AtomicU32::new(0)) }
    }

    /// Queues `message` and wakes the worker. False when the worker has ended.
    pub fn send(&self, message: Message) -> bool {
        self.sender.send(message) && self.waker.wake().is_ok()
    }

    /// How many clients the worker has or was promised.
    pub fn clients(&self) -> u32 {
        self.clients.load(Ordering::Relaxed)
    }

    /// Counts a client in, by whoever accepts it.
    pub fn client_added(&self) {
        self.clients.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a client out, by the worker that closed it.
    pub fn client_removed(&self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }
}
