//! Ring 0: what everything else stands on. No protocol words here.

pub mod time;
