//! CPU profiles of the whole process, as `go tool pprof` reads them. Knows nothing of HTTP.
//!
//! Samples come from `pprof`, by SIGPROF at a steady rate of CPU time; while a profile runs, system calls of any
//! thread may return `Interrupted`. Without the cargo feature `profile` (and on machines where the timer of that
//! library does not fit, those of 32 bits) there is no profile.

mod format;
mod gzip;
#[cfg(all(feature = "profile", unix, target_pointer_width = "64"))]
mod symbols;

use std::fmt;
use std::time::Duration;

/// Why there is no profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileError {
    /// This program was built without profiles.
    Unavailable,
    /// Another profile is being taken.
    Busy,
    /// The profiler failed; its words.
    Failed(String),
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProfileError::Unavailable => {
                write!(
                    f,
                    "profiles are not built in: build with the cargo feature `profile` for a 64-bit machine"
                )
            }
            ProfileError::Busy => write!(f, "another profile is being taken"),
            ProfileError::Failed(text) => write!(f, "the profiler failed: {text}"),
        }
    }
}

impl std::error::Error for ProfileError {}

/// Takes a profile for `duration`, on the calling thread, and gives it as a gzip file.
///
/// # Errors
/// [`ProfileError::Busy`] while another one is being taken, and the others as they say.
pub fn cpu(duration: Duration) -> Result<Vec<u8>, ProfileError> {
    sampler::cpu(duration)
}

#[cfg(all(feature = "profile", unix, target_pointer_width = "64"))]
mod sampler {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::format::{Frame, Profile};
    use super::gzip;
    use super::symbols::Symbols;
    use super::ProfileError;
    use crate::net::clock::Clock;

    /// Samples per second of CPU time; not a round number, so as not to march in step with timers.
    const FREQUENCY: i32 = 99;

    /// Samples that stand in these are dropped: unwinding from within the unwinder, or from code without unwind
    /// tables, is not safe. The C library itself stays in, since a proxy spends most of its time in its system calls.
    const BLOCKED: [&str; 3] = ["libgcc", "libunwind", "vdso"];

    static RUNNING: AtomicBool = AtomicBool::new(false);

    /// Lets the next profile run when dropped.
    struct Turn;

    impl Turn {
        fn take() -> Result<Turn, ProfileError> {
            let taken = RUNNING.swap(true, Ordering::Acquire);
            if taken {
                Err(ProfileError::Busy)
            } else {
                Ok(Turn)
            }
        }
    }

    impl Drop for Turn {
        fn drop(&mut self) {
            RUNNING.store(false, Ordering::Release);
        }
    }

    pub(super) fn cpu(duration: Duration) -> Result<Vec<u8>, ProfileError> {
        let _turn = Turn::take()?;
        let started_micros = Clock::new().wall_micros();
        let builder = pprof::ProfilerGuardBuilder::default().frequency(FREQUENCY);
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
        let builder = builder.blocklist(&BLOCKED);
        let guard = builder.build().map_err(failed)?;
        std::thread::sleep(duration);
        let report = guard.report().build_unresolved().map_err(failed)?;
        let mut symbols = Symbols::of_this_process();
        let mut profile = Profile::new(started_micros, duration, FREQUENCY);
        for (stack, count) in &report.data {
            let addresses = stack.frames.iter().map(|frame| frame.ip() as usize);
            let names = addresses.map(|address| symbols.name(address)).collect();
            let thread = stack.thread_name.get(..stack.thread_name_length).unwrap_or_default();
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            profile.sample(without_sampler(names), &String::from_utf8_lossy(thread), count);
        }
        Ok(gzip::stored(&profile.finish()))
    }

    /// A stack begins with how the sample was taken: the handler of the signal, and the system's frame behind it.
    fn without_sampler(mut names: Vec<String>) -> impl Iterator<Item = Vec<Frame>> {
        if let Some(handler) = names.iter().position(|name| name == "perf_signal_handler") {
            names.drain(..(handler + 2).min(names.len()));
        }
        names.into_iter().map(|function| vec![Frame { function, file: String::new(), line: 0 }])
    }

    fn failed(error: impl std::fmt::Display) -> ProfileError {
        ProfileError::Failed(error.to_string())
    }
}

#[cfg(not(all(feature = "profile", unix, target_pointer_width = "64")))]
mod sampler {
    use std::time::Duration;

    use super::ProfileError;

    pub(super) fn cpu(_duration: Duration) -> Result<Vec<u8>, ProfileError> {
        Err(ProfileError::Unavailable)
    }
}
