//! Which hash slot a key belongs to. Knows keys as bytes, nothing else.
//!
//! A slot is found for every keyed request, so this takes four bytes a step with a table for each of them (2 KiB in all)
//! and looks for the `{` of a hash tag in the same pass; hardly any key has one. Instructions for one key, against crate
//! `crc16`, which takes a byte a step, behind a `memchr` for the `{` (x86-64, callgrind):
//!
//! | bytes of key | 4 | 9 | 16 | 24 | 40 |
//! |---|---|---|---|---|---|
//! | `memchr` and `crc16` | 129 | 194 | 214 | 287 | 428 |
//! | here | 54 | 93 | 132 | 184 | 288 |
//!
//! Eight bytes a step with 4 KiB of tables gain a sixth from 24 bytes on and lose a third below 8.

/// The slot of a key, 0 to 16383: CRC16/XMODEM of the key, or of its hash tag, modulo 16384.
///
/// The hash tag is what stands between the first `{` and the first `}` behind it, if that is not empty (Redis Cluster
/// specification, "Hash tags").
#[inline]
pub fn slot(key: &[u8]) -> u16 {
    // Most tags stand in front; those keys are not worth a first pass.
    if key.first() == Some(&b'{') {
        return crc_of_tag(key) % 16384;
    }
    let (crc, has_brace) = crc16(key);
    let crc = if has_brace { crc_of_tag(key) } else { crc };
    debug_assert!(has_brace || crc == ::crc16::State::<::crc16::XMODEM>::calculate(key));
    crc % 16384
}

#[inline(never)]
fn crc_of_tag(key: &[u8]) -> u16 {
    let tagged = key.iter().position(|b| *b == b'{').and_then(|open| {
        let behind = &key[open + 1..];
        let close = behind.iter().position(|b| *b == b'}')?;
        (close > 0).then(|| &behind[..close])
    });
    crc16(tagged.unwrap_or(key)).0
}

/// The checksum, and whether there is a `{` among the bytes.
#[inline]
fn crc16(bytes: &[u8]) -> (u16, bool) {
    let (mut crc, mut braces) = (0u16, 0u32);
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        braces |= brace_bits(word);
        let [a, b, c, d] = (word ^ u32::from(crc.swap_bytes())).to_le_bytes();
        crc = TABLES[3][usize::from(a)]
            ^ TABLES[2][usize::from(b)]
            ^ TABLES[1][usize::from(c)]
            ^ TABLES[0][usize::from(d)];
    }
    let mut has_brace = braces != 0;
    for byte in words.remainder() {
        has_brace |= *byte == b'{';
        crc = (crc << 8) ^ TABLES[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    (crc, has_brace)
}

/// Not 0 if one of the four bytes is `{`: the usual test for a zero byte.
#[inline]
fn brace_bits(word: u32) -> u32 {
    let zero_at_brace = word ^ u32::from_le_bytes([b'{'; 4]);
    zero_at_brace.wrapping_sub(0x0101_0101) & !zero_at_brace & 0x8080_8080
}

/// `TABLES[n][b]`: the checksum of byte `b` and `n` zero bytes behind it.
static TABLES: [[u16; 256]; 4] = [table(1), table(2), table(3), table(4)];

const fn table(bytes: usize) -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 * bytes {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests;
