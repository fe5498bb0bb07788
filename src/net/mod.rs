//! Ring 4: the only place with mio, sockets, clocks, threads and signals. Knows no command names.

pub mod admin;
pub mod clock;
pub mod mesh;
pub mod profile;
pub mod topology;
