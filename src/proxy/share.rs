//! How much one client gets at once, as against the others.
//!
//! What a client has in flight lies before the requests of others at the nodes, and what is taken of it in a turn before
//! what others send meanwhile. So a client alone may have much of both, for the sake of its throughput, and one in company
//! little, for the sake of the others' latency.

use std::time::Duration;

use super::client::Client;
use super::engine::Engine;
use crate::base::arena::Key;
use crate::base::time::Time;

/// Requests in flight of a client alone at which reading it stops. With four times as many a pipeline of 100,000 is a fifth
/// faster.
const ALONE: usize = 1024;

/// The same in company, for each primary among which they are spread.
const IN_COMPANY: usize = 48;
/// The same in company at least: what a client that pipelines a hundred commands at a time does not reach.
const LEAST_IN_COMPANY: usize = 128;

/// Commands of one client per turn when nobody else has more; what is left waits for the next turn, after everybody else.
const COMMANDS: u32 = 512;
/// The same in company: of all clients that have more, together.
const COMMANDS_IN_COMPANY: u32 = 128;
/// Commands of one client per turn however many have more.
const LEAST_COMMANDS: u32 = 32;

/// How long a client that has sent something counts as company.
const COMPANY: Duration = Duration::from_millis(100);

/// Who has sent something lately, and how much a client may have at once because of that.
#[derive(Debug)]
pub struct Share {
    /// Who has sent something last.
    last: Key<Client>,
    /// Whether more than one client has sent something lately, and until when that holds.
    company: bool,
    company_until: Time,
    /// Requests in flight of the client that has sent something last at which reading it stops.
    pub in_flight: usize,
    /// Commands of one client in this turn.
    pub commands: u32,
    /// Clients that had more to say when this turn began.
    pub crowd: usize,
}

impl Default for Share {
    fn default() -> Self {
        Share {
            last: Key::NONE,
            company: false,
            company_until: Time::default(),
            in_flight: ALONE,
            commands: COMMANDS,
            crowd: 0,
        }
    }
}

impl Share {
    /// Nobody counts as company, until somebody else than the last client sends something; how much is had in company is
    /// settled anew then.
    pub fn disband(&mut self) {
        (self.company, self.in_flight) = (false, ALONE);
    }
}

impl Engine {
    /// A client has sent something: settles how much it may have in flight.
    #[inline]
    pub(super) fn share_with(&mut self, key: Key<Client>) {
        if self.share.last != key {
            self.share.company_until = self.now.after(COMPANY);
            if !self.share.company {
                self.meet();
            }
            self.share.last = key;
        }
    }

    /// Somebody sends something who did not do so last.
    #[cold]
    fn meet(&mut self) {
        if self.share.last != Key::NONE {
            let room = IN_COMPANY * self.nodes.primaries().count();
            (self.share.company, self.share.in_flight) = (true, room.clamp(LEAST_IN_COMPANY, ALONE));
        }
    }

    /// Settles how much is taken of each client in the turn that begins.
    #[inline]
    pub(super) fn share_turn(&mut self) {
        if self.share.company && self.now >= self.share.company_until {
            self.share.disband();
        }
        self.share.crowd = self.ready.len();
        let commands = if self.share.company { COMMANDS_IN_COMPANY } else { COMMANDS };
        self.share.commands = match self.share.crowd {
            0 | 1 => commands,
            crowd => (commands / crowd as u32).max(LEAST_COMMANDS),
        };
    }
}
