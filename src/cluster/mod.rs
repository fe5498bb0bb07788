//! Ring 2: the slot map and what nodes say of it. Pure: asks nobody, knows no socket and no clock.

mod slot_map;

pub use slot_map::{NodeInfo, ShardInfo, SlotMap, NO_SHARD, SLOTS};
