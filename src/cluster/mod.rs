//! Ring 2: the slot map and what nodes say of it. Pure: asks nobody, knows no socket and no clock.

mod changes;
mod judge;
mod node_info;
mod policy;
mod raw;
mod redirect;
mod slot_map;
mod slots_reply;
mod software;

pub use changes::Changes;
pub use judge::{accept, Doubt, Judge, Report, Verdict};
pub use node_info::ClusterInfo;
pub use policy::{Policy, Urgency};
pub use raw::{RawNode, RawRange, RawTopology};
pub use redirect::{parse_redirect, Redirect, RedirectKind};
pub use slot_map::{NodeInfo, ShardInfo, SlotMap, NO_SHARD, SLOTS};
pub use slots_reply::{parse_slots, TopologyError};
pub use software::Software;
