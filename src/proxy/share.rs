//! How much one client gets at once, as against the others.
//!
//! What a client has in flight lies before the requests of others at the nodes, and what is taken of it in a turn before
//! what others send meanwhile. So a client alone may have much of both, for the sake of its throughput, and one in company
//! little, for the sake of the others' latency.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Duration;

use super::client::Client;
use crate::base::arena::Key;
use crate::base::time::Time;

/// Requests in flight of a client alone at which reading it stops. With four times as many a pipeline of 100,000 is a fifth
/// faster.
const ALONE: usize = 1024;

/// The same in company, of all clients that have more, for each primary among which they are spread.
const IN_COMPANY: usize = 16;
/// The same of one client at least.
const LEAST_IN_COMPANY: usize = 48;

/// Commands of one client per turn when nobody else has more; what is left waits for the next turn, after everybody else.
const COMMANDS: u32 = 512;
/// The same in company, of all clients that have more.
const COMMANDS_IN_COMPANY: u32 = 128;
/// Commands of one client per turn however many have more.
const LEAST_COMMANDS: u32 = 32;

/// Whoever sends no more commands than this at once is company for others; clients that pipeline more are none for one
/// another, as they wait for many replies anyway.
const FEW: u64 = 4;

/// For how long, in milliseconds.
const COMPANY: u32 = 100;
/// How old what other engines are told of that may be, in milliseconds.
const TOLD_EVERY: u32 = 10;

/// When a client that counts as company has sent something last, to any engine of the process: their clients wait for the
/// same nodes. In milliseconds of the clock that they share, modulo 2^32.
#[derive(Debug)]
pub struct Company(AtomicU32);

impl Default for Company {
    fn default() -> Self {
        Company(AtomicU32::new(COMPANY.wrapping_neg()))
    }
}

impl Company {
    fn came(&self, now: Time) {
        // Not at each command: what is written is taken from the caches of the other processors.
        if self.age(now) >= TOLD_EVERY {
            self.0.store(millis(now), Ordering::Relaxed);
        }
    }

    fn is_about(&self, now: Time) -> bool {
        self.age(now) < COMPANY
    }

    fn age(&self, now: Time) -> u32 {
        millis(now).wrapping_sub(self.0.load(Ordering::Relaxed))
    }
}

/// The low bits of the time in milliseconds.
fn millis(time: Time) -> u32 {
    time.as_millis() as u32
}

/// Who has sent what lately, and how much a client may have at once because of that.
#[derive(Debug)]
pub struct Share {
    company: Arc<Company>,
    /// Who has sent more than a few commands last, and until when the few that it sends besides do not count.
    many: Key<Client>,
    many_until: Time,
    /// Requests in flight in company, of all clients that have more.
    room: usize,
    /// Requests in flight of a client at which reading it stops.
    pub in_flight: usize,
    /// Commands of one client in this turn.
    pub commands: u32,
    /// Clients that had more to say when this turn began.
    pub crowd: usize,
}

impl Default for Share {
    fn default() -> Self {
        Share {
            company: Arc::default(),
            many: Key::NONE,
            many_until: Time::default(),
            room: LEAST_IN_COMPANY,
            in_flight: ALONE,
            commands: COMMANDS,
            crowd: 0,
        }
    }
}

impl Share {
    /// Clients of other engines count, too, from now on.
    pub fn join(&mut self, company: Arc<Company>) {
        self.company = company;
    }

    /// Requests are spread among so many primaries.
    pub fn spread(&mut self, primaries: usize) {
        self.room = IN_COMPANY * primaries;
    }

    /// So many commands of a client were taken, and it has sent no more (`all`) or was held up behind them.
    #[inline]
    pub fn sent(&mut self, key: Key<Client>, commands: u64, all: bool, now: Time) {
        if commands > FEW {
            (self.many, self.many_until) = (key, now.after(Duration::from_millis(COMPANY.into())));
        } else if all && commands > 0 && (key != self.many || now >= self.many_until) {
            self.company.came(now);
        }
    }

    /// Settles how much is taken of each of `crowd` clients that have more in the turn that begins.
    #[inline]
    pub fn begin_turn(&mut self, crowd: usize, now: Time) {
        self.crowd = crowd;
        let company = self.company.is_about(now);
        let (commands, in_flight) =
            if company { (COMMANDS_IN_COMPANY, self.room) } else { (COMMANDS, ALONE) };
        (self.commands, self.in_flight) = (commands, in_flight);
        if crowd > 1 {
            self.commands = (commands / crowd as u32).max(LEAST_COMMANDS);
            if company {
                self.in_flight /= crowd;
            }
        }
        self.in_flight = self.in_flight.clamp(LEAST_IN_COMPANY, ALONE);
    }
}
