//! A gzip file (RFC 1952) whose blocks are stored as they are: profiles are files of that form by convention, and few and
//! short enough to do without compression.
#![cfg_attr(not(all(feature = "profile", unix, target_pointer_width = "64")), allow(dead_code))]

/// Magic number, deflate, no flags, no time, no hint, unknown system.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// `bytes` as a file.
pub(super) fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut out = HEAD.to_vec();
    let mut blocks = bytes.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        let len = block.len() as u16;
        out.push(u8::from(blocks.peek().is_none())); // whether it is the last one; of kind 0
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    if bytes.is_empty() {
        out.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    }
    out.extend_from_slice(&crc32(bytes).to_le_bytes());
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes()); // modulo 2^32 by definition
    out
}

/// Bit by bit, since this is not worth a table.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| crc >> 1 ^ 0xedb8_8320 & (crc & 1).wrapping_neg();
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!((crc32(b""), crc32(b"123456789")), (0, 0xcbf4_3926));
    }

    #[test]
    fn what_is_stored_is_read_back_whatever_its_length() {
        for len in [0, 1, 65_534, 65_535, 65_536, 200_000] {
            let bytes: Vec<u8> = (0..len).map(|i: u32| (i * 7 % 251) as u8).collect();
            let mut back = Vec::new();
            flate2::read::GzDecoder::new(&stored(&bytes)[..]).read_to_end(&mut back).expect("gzip");
            assert!(back == bytes, "{len}");
        }
    }
}
