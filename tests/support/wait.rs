//! Waiting for a condition. The only place where a test sleeps.

// The tests live in real time; the rest of them asks here.
#![allow(clippy::disallowed_methods)]

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(10);

/// Looks at `condition` until it holds; false when `limit` has passed without.
pub fn eventually(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(STEP);
    }
}

/// Looks at `condition` until it holds; panics with `what` when `limit` has passed without.
pub fn wait_until(what: &str, limit: Duration, condition: impl FnMut() -> bool) {
    assert!(eventually(limit, condition), "still waiting after {limit:?}: {what}");
}

/// Runs `action` and says how long it took.
pub fn timed<T>(action: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    let value = action();
    (value, begin.elapsed())
}

/// Lets `span` pass. For load that must last for a while, never for waiting until something has happened.
pub fn let_pass(span: Duration) {
    thread::sleep(span);
}
