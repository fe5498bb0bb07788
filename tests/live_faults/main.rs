//! What a client sees while nodes come, go, stall and pass slots on: each test with a cluster of its own.

#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod dying;
mod failover;
mod loss;
mod network;
mod planned;
mod pubsub;
mod redirects;
mod reshard;
mod scene;
mod sick;
mod stall;
mod startup;
mod tracking;
mod witness;
