//! Scripted dialogues with the engine of one worker: no sockets, no threads, a clock that the script moves.

mod auth;
mod blocking;
mod circuits;
mod clients;
mod databases;
mod failures;
mod forms;
mod joined;
mod limits;
mod losses;
mod peers;
mod plays;
mod redirects;
mod replicas;
mod retries;
mod rig;
mod sessions;
mod silence;
mod slices;
mod splits;
mod streams;
mod topology;
mod transactions;
mod unblock;
mod wait;
mod world;
