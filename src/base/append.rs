//! Appending to buffers, which happens to every request and every reply. Knows bytes only.

/// Lengths up to which bytes are copied without a call.
const SHORT: usize = 32;
const MIDDLING: usize = 64;

/// Appends `from[start..start + len]` to `to`.
///
/// A copy of a fixed length takes a few instructions and no call. So where the bytes are few and enough others stand behind
/// them, more is copied than wanted, and cut off again.
#[inline(always)]
pub fn append(to: &mut Vec<u8>, from: &[u8], start: usize, len: usize) {
    let end = to.len() + len;
    let rest = &from[start..];
    if len <= SHORT {
        if let Some(chunk) = rest.first_chunk::<SHORT>() {
            to.extend_from_slice(chunk);
            return to.truncate(end);
        }
    } else if len <= MIDDLING {
        if let Some(chunk) = rest.first_chunk::<MIDDLING>() {
            to.extend_from_slice(chunk);
            return to.truncate(end);
        }
    }
    append_all(to, &rest[..len]);
}

#[inline(never)]
fn append_all(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_what_is_asked_for_and_no_more() {
        let from: Vec<u8> = (0..150).collect();
        for start in [0, 1, 60, 100, 149, 150] {
            for len in 0..=from.len() - start {
                let mut to = vec![255];
                append(&mut to, &from, start, len);
                assert_eq!((to[0], &to[1..]), (255, &from[start..start + len]), "{start} {len}");
            }
        }
    }
}
