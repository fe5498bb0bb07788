//! Channels between threads: a queue behind a lock that is held for a push or a pop only. Those of the standard library come
//! in three kinds, all of which are built for each kind of message, some ten kilobytes a time.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// An empty queue keeps memory for so many messages.
const KEPT: usize = 1024;

/// A channel in which `limit` messages may wait.
pub fn channel<T>(limit: usize) -> (Sender<T>, Receiver<T>) {
    let state = State { queue: VecDeque::new(), senders: 1, has_receiver: true, is_awaited: false };
    let shared = Arc::new(Shared { state: Mutex::new(state), news: Condvar::new(), limit });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

/// The near end; there may be several.
pub struct Sender<T>(Arc<Shared<T>>);

/// The far end.
pub struct Receiver<T>(Arc<Shared<T>>);

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// None has come so far.
    Yet,
    /// Nobody can send any more.
    Ever,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    news: Condvar,
    limit: usize,
}

struct State<T> {
    queue: VecDeque<T>,
    senders: usize,
    has_receiver: bool,
    /// Whether the receiver waits: to tell it costs a system call.
    is_awaited: bool,
}

impl<T> Sender<T> {
    /// Whether the message was taken: not when `limit` messages wait or the receiver has gone. Never waits for either.
    pub fn send(&self, message: T) -> bool {
        let mut state = self.0.state();
        let is_taken = state.has_receiver && state.queue.len() < self.0.limit;
        if is_taken {
            state.queue.push_back(message);
            self.0.tell(state);
        }
        is_taken
    }
}

impl<T> Receiver<T> {
    /// The next message if there is one already.
    pub fn try_recv(&self) -> Result<T, Nothing> {
        self.0.state().pop()
    }

    /// The next message, waiting for it; none when nobody can send any more.
    pub fn recv(&self) -> Option<T> {
        let mut state = self.0.state();
        state.is_awaited = true;
        let waited = self.0.news.wait_while(state, |s| s.is_still());
        waited.unwrap_or_else(PoisonError::into_inner).pop().ok()
    }

    /// The next message, waiting so long for it at most.
    pub fn recv_within(&self, time: Duration) -> Result<T, Nothing> {
        let mut state = self.0.state();
        state.is_awaited = true;
        let waited = self.0.news.wait_timeout_while(state, time, |s| s.is_still());
        waited.unwrap_or_else(PoisonError::into_inner).0.pop()
    }
}

impl<T> Shared<T> {
    // A thread that panics ends the process, so what a poisoned lock guards makes no difference.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the receiver, if it waits, behind the lock.
    fn tell(&self, state: MutexGuard<'_, State<T>>) {
        let is_awaited = state.is_awaited;
        drop(state);
        if is_awaited {
            self.news.notify_one();
        }
    }
}

impl<T> State<T> {
    fn is_still(&self) -> bool {
        self.queue.is_empty() && self.senders > 0
    }

    /// Ends a wait, too.
    fn pop(&mut self) -> Result<T, Nothing> {
        self.is_awaited = false;
        let message = self.queue.pop_front();
        if self.queue.is_empty() && self.queue.capacity() > KEPT {
            self.queue = VecDeque::new();
        }
        message.ok_or(if self.senders == 0 { Nothing::Ever } else { Nothing::Yet })
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.state().senders += 1;
        Sender(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.senders -= 1;
        if state.senders == 0 {
            self.0.tell(state);
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.has_receiver = false;
        let left = std::mem::take(&mut state.queue);
        drop(state);
        drop(left); // behind the lock, as messages may hold what they like
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn messages_come_in_their_order_up_to_the_limit() {
        let (sender, receiver) = channel(2);
        assert_eq!([1, 2, 3].map(|n| sender.send(n)), [true, true, false]);
        assert_eq!((receiver.try_recv(), receiver.recv()), (Ok(1), Some(2)));
        assert_eq!(receiver.try_recv(), Err(Nothing::Yet));
        assert_eq!(receiver.recv_within(Duration::from_millis(1)), Err(Nothing::Yet));
        assert!(sender.send(4));
        assert_eq!(receiver.recv_within(LONG), Ok(4));
    }

    #[test]
    fn the_last_sender_that_goes_is_noticed_behind_its_messages() {
        let (sender, receiver) = channel(9);
        let other = sender.clone();
        drop(sender);
        assert!(other.send(1));
        drop(other);
        assert_eq!((receiver.recv_within(LONG), receiver.recv()), (Ok(1), None));
        assert_eq!(
            (receiver.try_recv(), receiver.recv_within(LONG)),
            (Err(Nothing::Ever), Err(Nothing::Ever))
        );
    }

    #[test]
    fn nothing_is_taken_for_a_receiver_that_has_gone_and_what_waited_is_dropped() {
        let (sender, receiver) = channel(9);
        let message = Arc::new(());
        assert!(sender.send(Arc::clone(&message)));
        drop(receiver);
        assert_eq!(Arc::strong_count(&message), 1);
        assert!(!sender.send(message));
    }

    #[test]
    fn a_receiver_that_waits_is_woken_by_each_of_several_threads() {
        let (sender, receiver) = channel(usize::MAX);
        let total = thread::scope(|scope| {
            for _ in 0..4 {
                let sender = sender.clone();
                scope.spawn(move || (0..1000).for_each(|n| assert!(sender.send(n))));
            }
            drop(sender);
            let mut total = 0;
            while let Some(n) = receiver.recv() {
                total += n;
            }
            total
        });
        assert_eq!(total, 4 * 499_500);
    }

    #[test]
    fn a_receiver_that_waits_is_woken_by_the_end() {
        let (sender, receiver) = channel::<()>(1);
        thread::scope(|scope| {
            let waits = scope.spawn(|| receiver.recv_within(LONG));
            while !receiver.0.state().is_awaited {
                thread::yield_now();
            }
            drop(sender);
            assert_eq!(waits.join().unwrap(), Err(Nothing::Ever));
        });
    }

    #[test]
    fn a_queue_that_was_long_gives_its_memory_back() {
        let (sender, receiver) = channel(usize::MAX);
        (0..10 * KEPT).for_each(|n| assert!(sender.send(n)));
        (0..10 * KEPT).for_each(|n| assert_eq!(receiver.try_recv(), Ok(n)));
        assert!(receiver.0.state().queue.capacity() <= KEPT);
    }
}
