//! Which hash slot a key belongs to. Knows keys as bytes, nothing else.

/// The slot of a key, 0 to 16383: CRC16/XMODEM of the key, or of its hash tag, modulo 16384.
///
/// The hash tag is what stands between the first `{` and the first `}` behind it, if that is not empty (Redis Cluster
/// specification, "Hash tags").
#[inline]
pub fn slot(key: &[u8]) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(hashed_part(key)) % 16384
}

#[inline]
fn hashed_part(key: &[u8]) -> &[u8] {
    match memchr::memchr(b'{', key) {
        None => key,
        Some(open) => tag(key, open),
    }
}

fn tag(key: &[u8], open: usize) -> &[u8] {
    let behind = &key[open + 1..];
    match memchr::memchr(b'}', behind) {
        None | Some(0) => key,
        Some(close) => &behind[..close],
    }
}
