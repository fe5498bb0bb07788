//! Ring 0: what everything else stands on. No protocol words here.

pub mod arena;
pub mod pool;
pub mod random;
pub mod time;
pub mod wheel;
