//! Keys by slot, so that a test can say which node it means.

use crc16::{State, XMODEM};

/// How many hash slots there are.
pub const SLOTS: u16 = 16384;

/// The slot of a key without braces, or of a bare tag.
pub fn slot(tag: &str) -> u16 {
    State::<XMODEM>::calculate(tag.as_bytes()) % SLOTS
}

/// A tag (to be put between braces) whose slot satisfies `wanted`; the same one for the same condition.
pub fn tag_where(wanted: impl Fn(u16) -> bool) -> String {
    tags_where(wanted).next().unwrap()
}

/// All tags whose slots satisfy `wanted`, each with a slot of its own at first.
pub fn tags_where(wanted: impl Fn(u16) -> bool) -> impl Iterator<Item = String> {
    (0u32..).map(|i| format!("t{i}")).filter(move |tag| wanted(slot(tag)))
}
