//! A proxy that lets ordinary Redis clients use a Redis or Valkey Cluster as if it were one server.
//!
//! The map of this tree, in rings; a ring uses the rings below it and never the ones above:
//!
//! | ring | module | owns |
//! |---|---|---|
//! | 0 | [`base`] | time, the timer wheel, generation-checked keys, byte buffers; no protocol words |
//! | 1 | [`resp`] | bytes <-> frames; knows no command and no slot |
//! | 1 | [`command`] | what commands mean: the table, key extraction, hash slots; pure; may use `resp` |
//! | 2 | [`cluster`] | the slot map, topology replies, refresh policy; pure |
//! | 3 | [`proxy`] | the engine of one worker, sans-I/O |
//! | 3 | [`stats`] | counters: plain structs owned by workers, summed on read |
//! | 4 | [`net`] | mio, sockets, clocks, threads, signals, logging |
//!
//! [`config`] stands beside the rings: one validated, immutable value that `proxy` and `net` read.
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod base;
pub mod cluster;
pub mod command;
pub mod config;
pub mod net;
pub mod proxy;
pub mod resp;
pub mod stats;
