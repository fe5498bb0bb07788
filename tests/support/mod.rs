//! What the live tests stand on: real servers, the real proxy, clients that speak raw bytes.
//!
//! Nothing here knows the proxy's source: it is started as a user would start it and seen only through its sockets,
//! its exit status and `/proc`.
//!
//! Environment, for trying the tests themselves:
//! - `REDIS_SERVER`: the server binary of clusters and references, `redis-server` when unset;
//! - `PROXY_SUBSTITUTE`: a server binary that is started in the place of the proxy, so that a test's expectations can
//!   be compared with a real server.

// Each test binary uses a part of this module.
#![allow(dead_code, unused_imports)]

pub mod cluster;
pub mod compare;
pub mod daemon;
pub mod frame;
pub mod http;
pub mod keys;
pub mod load;
pub mod namespace;
pub mod nodes;
pub mod ports;
pub mod proxy;
pub mod raw;
pub mod relay;
pub mod server;
pub mod temp;
pub mod wait;

pub use cluster::Cluster;
pub use proxy::Proxy;
pub use raw::RawClient;
pub use server::Server;
pub use wait::wait_until;
