//! When two replies are the same.

use crate::support::frame::{body, is_error, items, show};

/// How the replies to a command are compared. Errors and replies of different types always by their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Equal bytes.
    Bytes,
    /// The elements in any order.
    Set,
    /// Field and value in turn; the pairs in any order.
    Pairs,
    /// A cursor and elements in any order.
    ScanSet,
    /// A cursor and pairs in any order.
    ScanPairs,
    /// Elements at every depth in any order.
    Deep,
    /// The type, and how many elements it has: the content is random or a time.
    Shape,
    /// Integers that differ by at most this much: they were measured at different moments.
    Near(i64),
    /// All fields but those of [`IDENTITY`].
    Hello,
}

/// What of a HELLO is the connection's, and what the proxy has none of.
const IDENTITY: [&[u8]; 2] = [b"id", b"modules"];

/// Whether the replies are the same.
pub fn same(how: How, got: &[u8], expected: &[u8]) -> bool {
    if got == expected {
        return true;
    }
    if is_error(got) || is_error(expected) || got.first() != expected.first() {
        return false;
    }
    match how {
        How::Near(most) => match (number(got), number(expected)) {
            (Some(a), Some(b)) => a.abs_diff(b) <= most.unsigned_abs() && (a < 0) == (b < 0),
            _ => false,
        },
        how => normal(how, got) == normal(how, expected),
    }
}

/// The replies to a transaction: element by element, as its commands are compared.
pub fn same_exec(queued: &[(String, How)], got: &[u8], expected: &[u8]) -> bool {
    if got == expected {
        return true;
    }
    if got.first() != Some(&b'*') || expected.first() != Some(&b'*') {
        return false;
    }
    items(got).len() == queued.len()
        && items(expected).len() == queued.len()
        && first_difference(queued, got, expected).is_none()
}

/// The first command of a transaction whose replies differ, with them.
pub fn first_difference<'a>(
    queued: &'a [(String, How)],
    got: &'a [u8],
    expected: &'a [u8],
) -> Option<(&'a str, &'a [u8], &'a [u8])> {
    let elements = |reply: &'a [u8]| if reply.starts_with(b"*") { items(reply) } else { Vec::new() };
    let pairs = elements(got).into_iter().zip(elements(expected));
    let mut all = queued.iter().zip(pairs);
    all.find(|((_, how), (a, b))| !same(*how, a, b)).map(|((what, _), (a, b))| (what.as_str(), a, b))
}

/// The reply with everything that may differ put in order or taken away.
fn normal(how: How, reply: &[u8]) -> Vec<Vec<u8>> {
    let is_aggregate = matches!(reply.first(), Some(b'*' | b'~' | b'%')) && !reply.starts_with(b"*-1");
    if !is_aggregate {
        return match how {
            How::Shape if is_null(reply) => vec![b"null".to_vec()],
            How::Shape => vec![reply[..1].to_vec()],
            _ => vec![reply.to_vec()],
        };
    }
    let all = items(reply);
    match how {
        How::Set => sorted(all.iter().map(|i| i.to_vec())),
        How::Pairs => sorted(all.chunks(2).map(<[_]>::concat)),
        How::ScanSet => [vec![all[0].to_vec()], normal(How::Set, all[1])].concat(),
        How::ScanPairs => [vec![all[0].to_vec()], normal(How::Pairs, all[1])].concat(),
        How::Deep => sorted(all.iter().map(|i| normal(How::Deep, i).concat())),
        How::Shape => vec![reply[..1].to_vec(), all.len().to_string().into_bytes()],
        How::Hello => all.chunks(2).filter(|f| !IDENTITY.contains(&body(f[0]))).map(<[_]>::concat).collect(),
        How::Bytes | How::Near(_) => vec![reply.to_vec()],
    }
}

fn sorted(elements: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = elements.collect();
    all.sort();
    all
}

fn number(reply: &[u8]) -> Option<i64> {
    (reply.first() == Some(&b':')).then(|| show(body(reply)).parse().ok())?
}

/// Whether a reply is a null of any form.
pub fn is_null(reply: &[u8]) -> bool {
    matches!(reply, b"$-1\r\n" | b"*-1\r\n" | b"_\r\n")
}

/// The comparison can fail: each way tells apart what it must.
#[test]
fn replies_that_differ_are_told_apart() {
    assert!(same(How::Set, b"*2\r\n:1\r\n:2\r\n", b"*2\r\n:2\r\n:1\r\n"));
    assert!(!same(How::Set, b"*2\r\n:1\r\n:2\r\n", b"*2\r\n:2\r\n:2\r\n"));
    assert!(!same(How::Bytes, b"*2\r\n:1\r\n:2\r\n", b"*2\r\n:2\r\n:1\r\n"));
    assert!(same(How::Pairs, b"%2\r\n:1\r\n:2\r\n:3\r\n:4\r\n", b"%2\r\n:3\r\n:4\r\n:1\r\n:2\r\n"));
    assert!(!same(How::Pairs, b"%2\r\n:1\r\n:2\r\n:3\r\n:4\r\n", b"%2\r\n:1\r\n:4\r\n:3\r\n:2\r\n"));
    assert!(same(How::Near(1), b":10\r\n", b":11\r\n"));
    assert!(!same(How::Near(1), b":-1\r\n", b":0\r\n"));
    assert!(!same(How::Shape, b"*1\r\n:1\r\n", b"*0\r\n"));
    assert!(!same(How::Shape, b"$-1\r\n", b"$1\r\nx\r\n"));
    assert!(!same(How::Shape, b"-ERR a\r\n", b"-ERR b\r\n"));
    let of = |how| [("TTL k".to_string(), how)];
    assert!(same_exec(&of(How::Near(2)), b"*1\r\n:1\r\n", b"*1\r\n:2\r\n"));
    assert!(!same_exec(&of(How::Bytes), b"*1\r\n:1\r\n", b"*1\r\n:2\r\n"));
}
