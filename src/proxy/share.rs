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
const AWHILE: Duration = Duration::from_millis(COMPANY as u64);
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
    fn came(&self, now: u32) {
        // Not at each command: what is written is taken from the caches of the other processors.
        if self.age(now) >= TOLD_EVERY {
            self.0.store(now, Ordering::Relaxed);
        }
    }

    /// Those of one engine have gone; those of others will say so if they have not.
    fn left(&self, now: u32) {
        self.0.store(now.wrapping_sub(COMPANY), Ordering::Relaxed);
    }

    fn is_about(&self, now: u32) -> bool {
        self.age(now) < COMPANY
    }

    fn age(&self, now: u32) -> u32 {
        now.wrapping_sub(self.0.load(Ordering::Relaxed))
    }
}

/// Who has sent what lately, and how much a client may have at once because of that.
#[derive(Debug)]
pub struct Share {
    company: Arc<Company>,
    /// Who has sent a few commands last, and until when somebody else counts who has.
    few: Key<Client>,
    others_until: Time,
    /// Who has sent more than a few commands last, and until when the few that it sends besides do not count.
    many: Key<Client>,
    many_until: Time,
    /// The turn's time, and the low bits of it in milliseconds.
    now: Time,
    millis: u32,
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
            few: Key::NONE,
            others_until: Time::default(),
            many: Key::NONE,
            many_until: Time::default(),
            now: Time::default(),
            millis: 0,
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
    pub fn sent(&mut self, key: Key<Client>, commands: u64, all: bool) {
        if commands > FEW {
            (self.many, self.many_until) = (key, self.now.after(AWHILE));
            if self.few == key && self.now >= self.others_until {
                // Nobody is company for itself.
                self.few = Key::NONE;
                self.company.left(self.millis);
            }
        } else if all && commands > 0 && (key != self.many || self.now >= self.many_until) {
            if self.few != key {
                if self.few != Key::NONE {
                    self.others_until = self.now.after(AWHILE);
                }
                self.few = key;
            }
            self.company.came(self.millis);
        }
    }

    /// Settles how much is taken of each of `crowd` clients that have more in the turn that begins.
    #[inline]
    pub fn begin_turn(&mut self, crowd: usize, now: Time) {
        (self.crowd, self.now, self.millis) = (crowd, now, now.as_millis() as u32);
        let company = self.company.is_about(self.millis);
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
