//! Ring 0: what everything else stands on. No protocol words here.

pub mod append;
pub mod arena;
pub mod pool;
pub mod quotient;
pub mod random;
pub mod sha1;
pub mod sort;
pub mod time;
pub mod wheel;
