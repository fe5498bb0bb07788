//! Ring 4: the only place with mio, sockets, clocks, threads and signals. Knows no command names.

pub mod logger;
pub mod mesh;
