//! Replies end at the same places whole and cut anywhere, values and element frames agree with that, and nothing
//! panics.
//!
//! The first byte of the input chooses the length of the segments.

use redis_cluster_proxy::resp::{children, error_text, ReplyError, ReplyFramer, Scan, Value};

/// Looks at one input.
pub fn check(data: &[u8]) {
    let [segment, bytes @ ..] = data else { return };
    let whole = run(bytes, bytes.len().max(1));
    assert_eq!(run(bytes, usize::from(*segment).max(1)), whole);
    assert_eq!(run(bytes, 1), whole);
    let mut start = 0;
    for end in whole.0 {
        look_inside(&bytes[start..end]);
        start = end;
    }
}

/// The ends of the frames in `bytes`, which come in segments, and what was wrong behind the last one.
fn run(bytes: &[u8], segment: usize) -> (Vec<usize>, Option<ReplyError>) {
    let mut framer = ReplyFramer::new();
    let (mut start, mut end, mut ends) = (0, 0, Vec::new());
    loop {
        match framer.scan(&bytes[start..end]) {
            Err(error) => return (ends, Some(error)),
            Ok(Scan::Done(n)) => {
                assert!(n > 0 || start > ends.last().copied().unwrap_or(0));
                start += n;
                ends.push(start);
            }
            Ok(Scan::More(n)) => {
                start += n;
                if end == bytes.len() {
                    return (ends, None);
                }
                end = bytes.len().min(end + segment);
            }
        }
    }
}

fn look_inside(frame: &[u8]) {
    match Value::parse(frame) {
        Ok(parsed) => assert_eq!(parsed.map(|(_, len)| len), Some(frame.len())),
        Err(error) => assert!(matches!(error, ReplyError::TooDeep | ReplyError::InvalidScalar), "{error}"),
    }
    let _ = error_text(frame);
    if let Ok(mut elements) = children(frame) {
        let announced = elements.announced();
        let count = elements
            .by_ref()
            .map(|element| assert_eq!(run(element, element.len()).0, [element.len()]))
            .count();
        assert!(announced.is_none_or(|n| n == count));
    }
}
