//! Ring 3: the engine of one worker, sans-I/O. Knows no socket, clock, thread or random source.
//!
//! | file | owns |
//! |---|---|
//! | `engine` | the state of a worker and the events that come in |
//! | `client`, `order` | one client; the order of its replies |
//! | `backend`, `window` | one connection to a node; its bytes until they are answered |
//! | `nodes` | nodes, shards, slots as this worker sees them |
//! | `part` | a piece of a request on its way to one node |
//! | `intake` | client bytes -> requests |
//! | `dispatch` | request -> plan -> parts |
//! | `deliver` | node bytes -> replies |
//! | `express` | the short way of plain requests and ordinary replies |
//! | `redirect` | what an error of a node says; pure |
//! | `circuit` | whether a node is worth asking |
//! | `recover`, `loss`, `silence` | redirects and waiting parts; lost backends; nodes that say nothing |
//! | `budget`, `share` | what all clients hold together; how much one gets at once |
//! | `session`, `info`, `cluster_view`, `errors` | what the proxy answers itself |
//! | `across` | questions to all workers |
//! | `holdings` | what is held, as numbers |
//! | `monitor`, `pause` | MONITOR; CLIENT PAUSE |
//! | `refusals`, `settings` | what the operator refuses; what CONFIG SET does |
//! | `foreign` | commands that the table does not know |
//! | `fan` | commands split by slot, or sent to many nodes, and merged |
//! | `scan` | SCAN over all primaries |
//! | `scripts` | scripts seen, loaded where they are called |
//! | `multi` | transactions |
//! | `lease`, `blocking`, `unblock` | backends lent to one client; commands that wait; CLIENT UNBLOCK |
//! | `wait` | WAIT: what replicas have |
//! | `stream` | large replies and requests, passed on as they come |
//! | `pubsub` | topics, subscribers, and the backends that listen for them |
//! | `tracking` | clients that are told when what they have read has changed |

mod across;
mod backend;
mod blocking;
mod budget;
mod circuit;
mod client;
mod cluster_view;
mod databases;
mod deliver;
mod dispatch;
mod engine;
mod errors;
mod express;
mod fan;
mod foreign;
mod forms;
mod holdings;
mod info;
mod intake;
mod lease;
mod loss;
mod monitor;
mod multi;
mod nodes;
mod order;
mod part;
mod pause;
mod play;
mod pubsub;
mod recover;
mod redirect;
mod refusals;
mod scan;
mod scripts;
mod session;
mod settings;
mod share;
mod silence;
mod strangers;
mod stream;
mod tally;
mod tracking;
mod unblock;
mod wait;
mod window;

pub use across::{Answer, Ask, Question};
pub use backend::Backend;
pub use client::Client;
pub use engine::{Common, Effect, Engine, Hint, Surroundings};
pub use holdings::Holdings;
pub use info::{Figures, Host};
pub use intake::Intake;
pub use pause::Scope;
pub use session::Filter;
pub use stream::Sizes;
pub use tally::command_name;
