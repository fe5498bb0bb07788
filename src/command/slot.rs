//! Which hash slot a key belongs to. Knows keys as bytes, nothing else.
//!
//! A slot is found for every keyed request. The checksum, CRC16/XMODEM, is the remainder of the key, read as one long
//! polynomial over bits and moved up by 16 places, on division by P = x^16 + x^12 + x^5 + 1. P has few terms, and so have
//! its squares: P^4 = x^64 + x^48 + x^20 + 1. So eight bytes a step are brought below the 64th place by a few shifts, and
//! tables (4 KiB in all) are read for the last eight only. A `{`, which may begin a hash tag, is looked for in the same pass;
//! hardly any key has one. Instructions for one key, call included (x86-64, callgrind):
//!
//! | bytes of key | 4 | 9 | 16 | 24 | 40 |
//! |---|---|---|---|---|---|
//! | four bytes a step by 2 KiB of tables | 65 | 104 | 143 | 195 | 299 |
//! | shifts to the end, no tables | 94 | 131 | 131 | 157 | 209 |
//! | here | 73 | 118 | 118 | 144 | 196 |

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
    let Some(first) = bytes.first_chunk() else {
        let word = short_word(bytes);
        return (checksum(word), brace_bits(word) != 0);
    };
    // The first word gets what is more than a multiple of eight: zeros in front of a polynomial do not matter.
    let (word, odd) = (u64::from_be_bytes(*first), (bytes.len() - 1) % 8 + 1);
    let mut braces = brace_bits(word);
    let mut rest = word >> (64 - 8 * odd);
    for chunk in bytes[odd..].chunks_exact(8) {
        let word = chunk.first_chunk().map_or(0, |c| u64::from_be_bytes(*c));
        braces |= brace_bits(word);
        rest = fold(rest) ^ word;
    }
    (checksum(rest), braces != 0)
}

/// Up to seven bytes as a number, by pieces that overlap.
#[inline]
fn short_word(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (first, last) = (u32::from_be_bytes(*first), u32::from_be_bytes(*last));
        return u64::from(first) << (8 * (len - 4)) | u64::from(last);
    }
    bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// `high` times x^64, modulo P^4: as often as x^64 is taken away, x^48 + x^20 + 1 is added.
#[inline]
fn fold(high: u64) -> u64 {
    let pairs = high ^ high >> 16;
    let quotient = pairs ^ pairs >> 32 ^ high >> 44;
    quotient ^ quotient << 20 ^ quotient << 48
}

/// `rest` times x^16, modulo P.
#[inline]
fn checksum(rest: u64) -> u16 {
    let [a, b, c, d, e, f, g, h] = rest.to_le_bytes();
    let low = TABLES[0][usize::from(a)]
        ^ TABLES[1][usize::from(b)]
        ^ TABLES[2][usize::from(c)]
        ^ TABLES[3][usize::from(d)];
    if rest >> 32 == 0 {
        return low;
    }
    low ^ TABLES[4][usize::from(e)]
        ^ TABLES[5][usize::from(f)]
        ^ TABLES[6][usize::from(g)]
        ^ TABLES[7][usize::from(h)]
}

/// `TABLES[n][b]`: the checksum of byte `b` and `n` zero bytes behind it.
static TABLES: [[u16; 256]; 8] =
    [table(1), table(2), table(3), table(4), table(5), table(6), table(7), table(8)];

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

/// Not 0 if one of the eight bytes is `{`: the usual test for a zero byte.
#[inline]
fn brace_bits(word: u64) -> u64 {
    let zero_at_brace = word ^ u64::from_ne_bytes([b'{'; 8]);
    zero_at_brace.wrapping_sub(0x0101_0101_0101_0101) & !zero_at_brace & 0x8080_8080_8080_8080
}

#[cfg(test)]
mod tests;
