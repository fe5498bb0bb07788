//! Memory that was freed is given back to the system.
//!
//! glibc hands back by itself only what lies at the ends of its arenas: when a crowd of clients has gone, most of the
//! pages they used stay resident. So a thread that is not on the data path looks now and then, and has the allocator give
//! back all free pages when much more is resident than once was enough, something has happened since it last did, and the
//! process has little to do. With other allocators nothing is done.
//!
//! This is the only file with `unsafe`: one call of a function that glibc alone has.
#![allow(unsafe_code)]

use std::time::Duration;

use super::host;
use crate::base::time::Time;

/// How much more than the least may be resident.
const NOTABLE: u64 = 1 << 20;
/// Work after which there may be something to give back: less than this does not free much.
const WORK_US: u64 = 20_000;
/// Work between two looks above which the process is busy, and soon needs again what it frees.
const BUSY_US: u64 = 100_000;
/// Time between two attempts of a process that is not busy, and of one that is: the allocator is locked meanwhile.
const QUIET_PAUSE: Duration = Duration::from_secs(6);
const BUSY_PAUSE: Duration = Duration::from_secs(60);

/// Sees to it that free memory is given back.
#[derive(Debug)]
pub(super) struct Keeper {
    /// The least that was ever resident, in bytes.
    least: u64,
    /// When to look next.
    next: Time,
    /// CPU time at the last look, and when memory was last given back.
    seen_us: u64,
    given_us: u64,
    given: Time,
}

impl Keeper {
    /// How long its owner may sleep between two calls of [`Keeper::look`].
    pub(super) const PERIOD: Duration = Duration::from_secs(2);

    pub(super) fn new(now: Time) -> Self {
        Keeper { least: u64::MAX, next: now, seen_us: 0, given_us: 0, given: now }
    }

    /// Looks, if it is time to, and gives back what is free, if it is worth it.
    pub(super) fn look(&mut self, now: Time) {
        if now < self.next {
            return;
        }
        self.next = now.after(Self::PERIOD);
        let (resident, cpu_us) = host::usage();
        if self.is_worth_it(now, resident, cpu_us) {
            give_back();
            self.least = self.least.min(host::usage().0);
        }
    }

    fn is_worth_it(&mut self, now: Time, resident: u64, cpu_us: u64) -> bool {
        self.least = self.least.min(resident);
        let busy = cpu_us.saturating_sub(self.seen_us) > BUSY_US;
        self.seen_us = cpu_us;
        let pause = if busy { BUSY_PAUSE } else { QUIET_PAUSE };
        let worth = resident > self.least.saturating_add(NOTABLE)
            && cpu_us.saturating_sub(self.given_us) >= WORK_US
            && now.since(self.given) >= pause;
        if worth {
            (self.given, self.given_us) = (now, cpu_us);
        }
        worth
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back() {
    extern "C" {
        /// `int malloc_trim(size_t pad)` of `<malloc.h>`.
        fn malloc_trim(pad: usize) -> std::ffi::c_int;
    }
    // SAFETY: the declaration is glibc's, against which this target links. Any `pad` is allowed; the function may be
    // called by any thread at any time, as it locks each arena that it works on; and it only drops pages that lie wholly
    // in free chunks, so no memory that is in use is touched.
    unsafe {
        malloc_trim(0);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn what_is_in_use_is_left_alone_until_something_has_happened() {
        let mut keeper = Keeper::new(at(0));
        assert!(!keeper.is_worth_it(at(0), 4 * MIB, 50_000), "the start");
        assert!(!keeper.is_worth_it(at(10), 4 * MIB + NOTABLE, 90_000), "little more is resident");
        assert!(keeper.is_worth_it(at(12), 9 * MIB, 120_000));
        assert!(!keeper.is_worth_it(at(14), 9 * MIB, 190_000), "too soon");
        assert!(keeper.is_worth_it(at(20), 9 * MIB, 200_000));
        assert!(!keeper.is_worth_it(at(30), 9 * MIB, 210_000), "nothing has happened");
        assert!(keeper.is_worth_it(at(32), 9 * MIB, 220_000));
    }

    #[test]
    fn a_busy_process_gives_back_once_in_a_while_and_when_it_comes_to_rest() {
        let mut keeper = Keeper::new(at(0));
        assert!(!keeper.is_worth_it(at(0), 4 * MIB, 0));
        let busy = |keeper: &mut Keeper, i: u64| keeper.is_worth_it(at(2 * i), 9 * MIB, 1_000_000 * i);
        let given: Vec<u64> = (1..=65).filter(|i| busy(&mut keeper, *i)).collect();
        assert_eq!(given, [30, 60]);
        assert!(keeper.is_worth_it(at(132), 9 * MIB, 65_000_000 + BUSY_US));
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn what_was_freed_between_things_in_use_is_given_back() {
        // Too small to be mapped each by itself; every hundredth stays in use, so no end of an arena is free.
        let mut pieces: Vec<Vec<u8>> = (0..40_000).map(|_| vec![1; 1000]).collect();
        let grown = host::usage().0;
        let mut n = 0;
        pieces.retain(|_| {
            n += 1;
            n % 100 == 0
        });
        give_back();
        let left = host::usage().0;
        // Other tests run beside this one.
        assert!(left + 15 * MIB < grown, "{left} bytes are resident, {grown} were");
        assert_eq!(pieces.len(), 400);
    }
}
