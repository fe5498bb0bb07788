//! The few shapes that nearly all replies have, found with as few instructions as possible. Whatever is not one of
//! them, or not all here, is [`super::ReplyFramer`]'s; both must agree on what is well-formed.

use super::number::{one_digit, short_length, two_digits};

/// How far a line may reach to count as short, bytes.
pub(super) const QUICK_LINE: usize = 24;

/// The end of the frame at the start of `bytes`, when it is a quick value or a short array of them.
#[inline(always)]
pub fn quick_frame(bytes: &[u8]) -> Option<usize> {
    match bytes.first() {
        Some(b'*') => quick_array(bytes),
        _ => quick(bytes),
    }
}

/// An array of up to nine quick values: what MGET is answered, above all in parts, which have one value each.
#[inline(always)]
fn quick_array(bytes: &[u8]) -> Option<usize> {
    const HEAD: usize = 4;
    let (head, values) = bytes.split_first_chunk::<HEAD>()?;
    if head == b"*1\r\n" {
        return quick(values).map(|end| HEAD + end);
    }
    let count = one_digit(u32::from_le_bytes(*head), b'*')?;
    let (end, taken) = take_quick(values, count as u64);
    (head[HEAD - 1] == b'\n' && taken == count as u64).then_some(HEAD + end)
}

/// The end of the value at the start of `bytes`, when it is one of the small whole ones that make up most traffic.
#[inline(always)]
fn quick(bytes: &[u8]) -> Option<usize> {
    let word = u32::from_le_bytes(*bytes.first_chunk()?);
    if let Some(len) = one_digit(word, b'$') {
        return quick_body(bytes, 3, len);
    }
    quick_other(bytes, word)
}

/// As [`quick`], for what has no one digit as its length.
#[inline]
fn quick_other(bytes: &[u8], word: u32) -> Option<usize> {
    if word == u32::from_le_bytes(*b"+OK\r") || word == u32::from_le_bytes(*b"$-1\r") {
        return (bytes.get(4) == Some(&b'\n')).then_some(5);
    }
    if let Some(len) = two_digits(word, b'$') {
        return quick_body(bytes, 4, len);
    }
    match bytes {
        [b':', ..] => quick_integer(bytes),
        [b'$', ..] => quick_bulk(bytes),
        [b'+', ..] => quick_simple(bytes),
        [b'_', b'\r', b'\n', ..] => Some(3),
        _ => None,
    }
}

/// A bulk string whose length has up to seven digits.
fn quick_bulk(bytes: &[u8]) -> Option<usize> {
    let line = bytes.get(1..)?;
    let (len, digits) = short_length(line)?;
    (line.get(digits) == Some(&b'\r')).then_some(())?;
    quick_body(bytes, digits + 2, len)
}

/// Where a bulk string of `len` bytes ends, whose length line has its `\n` at `newline`.
#[inline(always)]
fn quick_body(bytes: &[u8], newline: usize, len: usize) -> Option<usize> {
    let end = newline + 1 + len;
    let ended = bytes.get(end..)?.first_chunk() == Some(b"\r\n");
    (ended && bytes.get(newline) == Some(&b'\n')).then_some(end + 2)
}

/// A short integer.
fn quick_integer(bytes: &[u8]) -> Option<usize> {
    let sign = usize::from(bytes.get(1) == Some(&b'-'));
    let digits = bytes.get(1 + sign..)?;
    let mut count = 0;
    while digits.get(count).is_some_and(u8::is_ascii_digit) && count < QUICK_LINE {
        count += 1;
    }
    let ended = count > 0 && digits.get(count..)?.first_chunk() == Some(b"\r\n");
    ended.then_some(1 + sign + count + 2)
}

/// A short simple string.
fn quick_simple(bytes: &[u8]) -> Option<usize> {
    let newline = bytes.iter().take(QUICK_LINE).position(|b| *b == b'\n')?;
    (bytes.get(newline - 1) == Some(&b'\r')).then_some(newline + 1)
}

/// Passes over the quick values at the start of `bytes`, at most `most`. Returns where they end and how many they are.
pub(super) fn take_quick(bytes: &[u8], most: u64) -> (usize, u64) {
    let mut rest = bytes;
    let mut taken = 0;
    while taken < most {
        let Some(next) = quick(rest).and_then(|n| rest.get(n..)) else { break };
        rest = next;
        taken += 1;
    }
    (bytes.len() - rest.len(), taken)
}
