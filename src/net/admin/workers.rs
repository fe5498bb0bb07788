//! Collects the counters of all workers. A worker that does not answer in time is shown by what it said last.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::net::channel::channel;
use crate::net::clock::Clock;
use crate::net::mesh::{Message, WorkerHandle};
use crate::stats::Totals;

/// How long all workers together may take to answer.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What is known of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WorkerSample {
    /// Whether it answered this time.
    pub(super) answered: bool,
    /// Clients it has or was promised.
    pub(super) clients: u32,
    /// What it said now, or the last time it answered: totals must not go down because one worker is busy.
    pub(super) totals: Totals,
}

/// The workers and what they said last.
#[derive(Debug)]
pub(super) struct Workers {
    handles: Vec<WorkerHandle>,
    last: Mutex<Vec<Totals>>,
}

impl Workers {
    pub(super) fn new(handles: Vec<WorkerHandle>) -> Self {
        let last = Mutex::new(vec![Totals::default(); handles.len()]);
        Workers { handles, last }
    }

    /// Asks all workers at once and waits a second at most. In the order of their numbers.
    pub(super) fn sample(&self) -> Vec<WorkerSample> {
        let clock = Clock::new();
        let deadline = clock.now().after(TIMEOUT);
        let asked: Vec<_> = self
            .handles
            .iter()
            .map(|handle| {
                let (sender, receiver) = channel(1);
                handle.send(Message::Counters(sender)).then_some(receiver)
            })
            .collect();
        let answers: Vec<Option<Totals>> =
            asked.iter().map(|r| r.as_ref()?.recv_within(deadline.since(clock.now())).ok()).collect();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.handles.iter().zip(answers).zip(last.iter_mut());
        all.map(|((handle, answer), last)| {
            let answered = answer.is_some();
            if let Some(totals) = answer {
                *last = totals;
            }
            WorkerSample { answered, clients: handle.clients(), totals: last.clone() }
        })
        .collect()
    }
}
