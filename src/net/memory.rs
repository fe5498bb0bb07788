//! Memory that is not needed is given back to the system: what was freed, and what only the start needed.
//!
//! glibc hands back by itself only what lies at the ends of its arenas: when a crowd of clients has gone, most of the
//! pages they used stay resident. So a thread that is not on the data path looks now and then, and has the allocator give
//! back all free pages when much more is resident than once was enough, something has happened since it last did, and the
//! process has little to do. With other allocators nothing is done.
//!
//! Most of what is resident after the start is code, of this program and of the C library, that has been run once; the
//! system maps whole neighbourhoods of it. So once that is over, all pages of code are let go: those that are used come back
//! by a fault, without a disk, as they stay in the page cache as long as there is memory.
//!
//! This is the only file with `unsafe`: two calls of the C library.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
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

/// Lets go of the pages of code that were used so far.
pub(super) fn leave_start() {
    // Not there on other systems.
    let Ok(map) = File::open("/proc/self/smaps") else { return };
    clean_code(BufReader::new(map)).into_iter().for_each(drop_code);
}

/// Where code of files is mapped, but for mappings in which somebody, as a debugger, has changed something.
fn clean_code(map: impl BufRead) -> Vec<Range<usize>> {
    let (mut found, mut code) = (Vec::new(), None);
    for line in map.lines().map_while(Result::ok) {
        match line.split_once(' ') {
            Some(("Anonymous:", size)) => {
                found.extend(code.take().filter(|_| size.trim() == "0 kB"));
            }
            Some((range, rest)) if rest.starts_with("r-xp ") && rest.contains(" /") => {
                let number = |text| usize::from_str_radix(text, 16).ok();
                code = range.split_once('-').and_then(|(from, to)| Some(number(from)?..number(to)?));
            }
            _ => {}
        }
    }
    found
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn drop_code(range: Range<usize>) {
    use std::ffi::{c_int, c_void};
    extern "C" {
        /// `int madvise(void *addr, size_t length, int advice)` of `<sys/mman.h>`.
        fn madvise(addr: *mut c_void, length: usize, advice: c_int) -> c_int;
    }
    /// `MADV_DONTNEED` of Linux.
    const DONT_NEED: c_int = 4;
    // SAFETY: the declaration is the C library's. The range is a mapping of a file that nobody writes to and of which no page
    // differs from the file, so whoever runs or reads in it, now or later, finds the same bytes. If the mapping has gone
    // meanwhile, which that of a running program and its libraries has not, the call fails.
    unsafe {
        madvise(range.start as *mut c_void, range.len(), DONT_NEED);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn drop_code(_range: Range<usize>) {}

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
    fn code_that_was_changed_is_kept() {
        let map = "\
            5500-6600 r--p 00000000 fe:00 12 /usr/bin/a\nRss: 8 kB\nAnonymous:             0 kB\n\
            6600-7700 r-xp 00001000 fe:00 12 /usr/bin/a\nRss: 8 kB\nAnonymous:             0 kB\nVmFlags: rd ex\n\
            7700-8800 rw-p 00002000 fe:00 12 /usr/bin/a\nAnonymous:             0 kB\n\
            8800-9900 r-xp 00000000 fe:00 13 /usr/lib/b c.so\nAnonymous:             4 kB\n\
            9900-aa00 r-xp 00000000 00:00 0\nAnonymous:             0 kB\n\
            aa00-bb00 r-xp 00000000 00:00 0      [vdso]\nAnonymous:             0 kB\n\
            ffffb000-ffffc000 r-xp 00000000 fe:00 14 /lib/d.so\nAnonymous: 0 kB\n";
        assert_eq!(clean_code(map.as_bytes()), [0x6600..0x7700, 0xffff_b000..0xffff_c000]);
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn code_runs_on_after_it_was_let_go() {
        let before = clean_code(BufReader::new(File::open("/proc/self/smaps").unwrap()));
        assert!(before.len() >= 2, "this program and the C library: {before:?}");
        leave_start();
        let text: String = (0..1000).map(|n| n.to_string()).collect();
        assert_eq!((text.len(), text.matches("99").count()), (2890, 28));
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
