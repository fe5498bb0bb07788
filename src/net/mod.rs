//! Ring 4: the only place with mio, sockets, clocks, threads and signals. Knows no command names.

pub mod clock;
mod listener;
pub mod logger;
pub mod mesh;
mod reactor;
pub mod server;
mod socket;
pub mod topology;
