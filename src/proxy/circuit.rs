//! The circuit of each node: whether it is worth asking at the moment, as this worker sees it.
//!
//! ```text
//!         failed, and nothing was heard of it for the retry timeout
//! Closed -----------------------------------------------------------> Open <---+
//!    ^                                                                 |       | failed before it answered
//!    |                                  a probe's greeting was accepted|       |
//!    +------- answered, seen when it fails the next time -------- HalfOpen ----+
//! ```
//!
//! While a node has failed for less than the retry timeout, parts wait for it: a failover is usually shorter. After
//! that what waits and what comes fails at once, until a probe says otherwise. A slot that another node has got by then
//! is not concerned: each node has a circuit of its own.

use std::time::Duration;

use super::backend::{Backend, Kind, State};
use super::engine::{Alarm, Engine};
use super::errors;
use super::loss::Loss;
use super::nodes::Node;
use super::part::{Part, NO_SLOT};
use crate::base::arena::Key;
use crate::base::quotient::Quotient;
use crate::base::time::Time;

/// First and longest pause between two probes.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Failures so many times the bound apart do not belong together.
const FAR: u32 = 3;

/// Whether parts may be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Position {
    /// They may.
    #[default]
    Closed,
    /// They fail at once.
    Open,
    /// They may, but with the first failure it is open again.
    HalfOpen,
}

/// One failure of a node.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// When it was seen.
    pub now: Time,
    /// When what failed began: a connect, or a silence.
    pub began: Time,
    /// When anything but a greeting was heard of the node last, on whatever connection.
    pub heard: Option<Time>,
}

/// What is remembered of a node's failures.
#[derive(Debug, Default)]
pub struct Circuit {
    position: Position,
    /// The first and the last of its failures between which it answered nothing.
    failing: Option<(Time, Time)>,
    /// How often it accepted a greeting and then failed.
    relapses: u32,
}

impl Circuit {
    /// Whether parts fail at once.
    pub fn is_open(&self) -> bool {
        self.position == Position::Open
    }

    /// Whether the next failure opens it again.
    pub fn is_half_open(&self) -> bool {
        self.position == Position::HalfOpen
    }

    /// How long it has failed.
    pub fn failing_for(&self, now: Time) -> Duration {
        self.failing.map_or(Duration::ZERO, |(first, _)| now.since(first))
    }

    /// It failed; failures much further apart than `bound` have nothing to do with one another. True when it opens.
    pub fn failed(&mut self, failure: Failure, bound: Duration) -> bool {
        let Failure { now, began, heard } = failure;
        let goes_on =
            |last: Time| began <= last.after(bound * FAR) && heard.is_none_or(|heard| heard <= last);
        match &mut self.failing {
            Some((_, last)) if goes_on(*last) || self.position == Position::Open => *last = now,
            failing => {
                *failing = Some((began.max(heard.unwrap_or_default()), now));
                self.position = Position::Closed;
                self.relapses = 0;
            }
        }
        self.relapses += u32::from(self.position == Position::HalfOpen);
        let opens = self.position == Position::HalfOpen
            || (self.position == Position::Closed && self.failing_for(now) >= bound);
        if opens {
            self.position = Position::Open;
        }
        opens
    }

    /// How long to wait before it is probed.
    fn pause(&self) -> Duration {
        FIRST_PAUSE.saturating_mul(1 << self.relapses.min(10)).min(LONGEST_PAUSE)
    }

    /// It accepted a greeting.
    pub fn greeted(&mut self) {
        if self.position == Position::Open {
            self.position = Position::HalfOpen;
        }
    }
}

impl Engine {
    /// A backend of `node` was lost: its circuit may open, and is probed while it is open.
    pub(super) fn note_failure(&mut self, node: Key<Node>, b: &Backend, loss: &Loss) {
        let of_node = match loss {
            Loss::Rejected(..) | Loss::Demoted => false,
            // An idle connection may be closed at any time.
            Loss::Closed(_) => b.state != State::Ready || !b.fifo.is_empty(),
            _ => !b.retired,
        };
        if of_node {
            let others = self.backends.iter().filter(|(_, o)| o.node == node).filter_map(|(_, o)| o.answered);
            let heard = others.chain(b.answered).max();
            let began = if b.state == State::Ready { b.progress } else { b.born };
            let failure = Failure { now: self.now, began, heard };
            let Some(n) = self.nodes.get_mut(node) else { return };
            if n.circuit.failed(failure, self.config.retry_timeout) {
                let failing = n.circuit.failing_for(self.now).as_millis() as u64;
                let seconds = Quotient::new(failing, 1000, 1);
                log::warn!("node {} has failed for {seconds} s: its requests fail at once for now", n.name);
                self.counters.circuits_opened += 1;
            }
        }
        self.probe_later(node);
    }

    /// A probe of a node with an open circuit is due.
    pub(super) fn probe(&mut self, node: Key<Node>) {
        let wanted = self.nodes.is_primary(node);
        let Some(n) = self.nodes.get_mut(node) else { return };
        n.probe = Key::NONE;
        if !n.circuit.is_open() || !(n.listed || wanted) {
            return self.nodes.forget(node);
        }
        if n.pause(self.now).is_some() {
            return self.probe_later(node);
        }
        let probe = self.open_backend(node, Kind { dedicated: true, ..Kind::default() });
        if let Some(n) = self.nodes.get_mut(node) {
            n.idle.push(probe);
        }
    }

    /// The circuit of the part's node is open.
    #[cold]
    pub(super) fn fail_at_once(&mut self, part: &Part, node: Key<Node>) {
        let Some(n) = self.nodes.get(node) else { return self.unserved(*part) };
        let mut text = Vec::new();
        let slot = (part.slot != NO_SLOT && self.target_name(part).is_none()).then_some(part.slot);
        errors::unreachable_for(&mut text, &n.name, slot, n.circuit.failing_for(self.now));
        self.counters.failed_at_once += 1;
        self.counters.proxy_errors += 1;
        self.answer(part, &text);
    }

    fn probe_later(&mut self, node: Key<Node>) {
        let Some(n) = self.nodes.get_mut(node).filter(|n| n.circuit.is_open() && n.probe == Key::NONE) else {
            return;
        };
        let full = n.circuit.pause().max(n.pause(self.now).unwrap_or_default()).as_micros() as u64;
        let due = self.now.after(Duration::from_micros(full / 2 + self.random.below(full / 2 + 1)));
        n.probe = self.timers.set(due, Alarm::Probe(node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    /// A connect that failed at once, at this second.
    fn refused(now: u64) -> Failure {
        Failure { now: at(now), began: at(now), heard: None }
    }

    #[test]
    fn it_opens_when_a_node_has_failed_for_the_bound_and_not_before() {
        let mut circuit = Circuit::default();
        for second in 100..110 {
            assert!(!circuit.failed(refused(second), BOUND), "{second}");
        }
        assert!(circuit.failed(refused(110), BOUND) && circuit.is_open());
        assert!(!circuit.failed(refused(111), BOUND), "it is open already");
        assert_eq!(circuit.failing_for(at(112)), Duration::from_secs(12));
    }

    #[test]
    fn one_long_silence_is_enough() {
        let mut circuit = Circuit::default();
        assert!(circuit.failed(Failure { now: at(20), began: at(10), heard: Some(at(9)) }, BOUND));
        let mut circuit = Circuit::default();
        assert!(!circuit.failed(Failure { now: at(19), began: at(10), heard: Some(at(9)) }, BOUND));
    }

    #[test]
    fn failures_far_apart_and_failures_with_an_answer_between_them_do_not_add_up() {
        let mut circuit = Circuit::default();
        for second in (0..1000).step_by(31) {
            assert!(!circuit.failed(refused(second), BOUND));
        }
        for second in 2000..2100 {
            let heard = Some(at(second).after(Duration::from_micros(1)));
            assert!(!circuit.failed(Failure { heard, ..refused(second + 1) }, BOUND), "{second}");
        }
    }

    #[test]
    fn a_greeting_half_opens_it_and_the_next_failure_opens_it_again() {
        let mut circuit = Circuit::default();
        assert!(circuit.failed(Failure { now: at(20), began: at(10), heard: None }, BOUND));
        circuit.greeted();
        assert!(!circuit.is_open());
        assert!(circuit.failed(refused(22), BOUND) && circuit.is_open());
        circuit.greeted();
        assert!(
            !circuit.failed(Failure { heard: Some(at(23)), ..refused(24) }, BOUND),
            "it answered meanwhile"
        );
        assert!(!circuit.is_open());
        assert!(!circuit.failed(refused(30), BOUND));
        assert!(circuit.failed(refused(34), BOUND), "the bound counts from its last answer");
    }

    #[test]
    fn a_greeting_of_a_node_that_only_failed_shortly_changes_nothing() {
        let mut circuit = Circuit::default();
        assert!(!circuit.failed(refused(1), BOUND));
        circuit.greeted();
        assert!(!circuit.failed(refused(2), BOUND) && !circuit.is_open());
    }
}
