//! Slots against crate `crc16` and the examples of the cluster specification.

use super::*;
use proptest::prelude::*;

/// The oracle: the specification word by word.
fn naive(key: &[u8]) -> u16 {
    let tag = key.iter().position(|b| *b == b'{').and_then(|open| {
        let close = key[open..].iter().position(|b| *b == b'}')? + open;
        (close > open + 1).then(|| &key[open + 1..close])
    });
    ::crc16::State::<::crc16::XMODEM>::calculate(tag.unwrap_or(key)) % 16384
}

/// The slot of bytes that are hashed whole, whatever they hold.
fn whole(key: &[u8]) -> u16 {
    ::crc16::State::<::crc16::XMODEM>::calculate(key) % 16384
}

#[test]
fn known_slots() {
    // From the specification and from CLUSTER KEYSLOT.
    assert_eq!(slot(b"123456789"), 0x31c3);
    assert_eq!(slot(b"foo"), 12182);
    assert_eq!(slot(b"somekey"), 11058);
    assert_eq!(slot(b"foo{hash_tag}"), 2515);
    assert_eq!(slot(b""), 0);
}

#[test]
fn hash_tags_of_the_specification() {
    assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
    assert_eq!(slot(b"{user1000}.following"), whole(b"user1000"));
    assert_eq!(slot(b"foo{}{bar}"), whole(b"foo{}{bar}"));
    assert_eq!(slot(b"foo{{bar}}zap"), whole(b"{bar"));
    assert_eq!(slot(b"foo{bar}{zap}"), whole(b"bar"));
}

#[test]
fn keys_without_a_tag_are_hashed_whole() {
    for key in [&b"{}x"[..], b"{", b"}", b"{abc", b"abc}", b"}{", b"a}b{c", b"{}{}", b"a{}"] {
        assert_eq!(slot(key), whole(key), "{}", key.escape_ascii());
    }
}

#[test]
fn tags_and_keys_may_hold_any_bytes() {
    assert_eq!(slot(b"a\0b\r\n"), whole(b"a\0b\r\n"));
    assert_eq!(slot(b"x{\0\r\n}y"), whole(b"\0\r\n"));
    assert_eq!(slot(b"{\xff}"), whole(b"\xff"));
    // Neighbours of a brace, which a careless search for bytes in words confuses with it.
    assert_eq!(slot(b"z|zb}x"), whole(b"z|zb}x"));
}

#[test]
fn a_brace_is_seen_at_every_position() {
    for len in 3..40 {
        for open in 0..len - 2 {
            let mut key = vec![b'a'; len];
            key[open] = b'{';
            key[open + 2] = b'}';
            assert_eq!(slot(&key), whole(b"a"), "{len} {open}");
        }
    }
}

proptest! {
    #[test]
    fn any_key(key in proptest::collection::vec(any::<u8>(), 0..70)) {
        prop_assert_eq!(slot(&key), naive(&key));
    }

    #[test]
    fn any_key_of_braces(key in proptest::collection::vec(prop_oneof![Just(b'{'), Just(b'}'), Just(b'a'), Just(b'|'), Just(b'\0')], 0..20)) {
        prop_assert_eq!(slot(&key), naive(&key));
    }
}
