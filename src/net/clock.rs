//! The only place that reads the clocks of the system; everything else is told the time.

#![allow(clippy::disallowed_methods)]

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::base::time::Time;

/// Tells the time since an origin that all clocks of this process share. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock; the first one of the process sets the origin.
    pub fn new() -> Self {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        Clock { origin: *ORIGIN.get_or_init(Instant::now) }
    }

    /// Monotonic time since the origin.
    pub fn now(&self) -> Time {
        Time::from_micros(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Unix time in microseconds, 0 before 1970. It may jump, so it is for showing only.
    pub fn wall_micros(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clocks_share_one_origin_and_never_go_back() {
        let (a, b) = (Clock::new(), Clock::default());
        let times = [a.now(), b.now(), a.now(), b.now()];
        assert!(times.is_sorted(), "{times:?}");
    }

    #[test]
    fn the_wall_clock_is_unix_time() {
        // 2020-01-01, so that a mix-up of units or origins shows.
        let micros = Clock::new().wall_micros();
        assert!(micros > 1_577_836_800_000_000 && micros < 10 * 1_577_836_800_000_000);
    }
}
