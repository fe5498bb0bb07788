//! Ring 4: the only place with mio, sockets, clocks, threads and signals. Knows no command names.

pub mod admin;
pub mod channel;
pub mod clock;
pub mod handover;
mod host;
pub mod life;
mod listener;
pub mod logger;
mod memory;
pub mod mesh;
mod notify;
pub mod profile;
mod reactor;
mod reserve;
pub mod server;
mod socket;
pub mod topology;
