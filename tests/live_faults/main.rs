//! What a client sees while nodes come, go, stall and pass slots on: each test with a cluster of its own.

#[path = "../support/mod.rs"]
mod support;

mod failover;
mod loss;
mod pubsub;
mod redirects;
mod reshard;
mod stall;
mod startup;
