//! Requests come to the same whole and cut anywhere, spans lie within their frame, and nothing panics.
//!
//! The first byte of the input chooses the limits, the second the length of the segments.

use redis_cluster_proxy::resp::{encode, inline, Limits, Parsed, RequestParser};

/// Looks at one input.
pub fn check(data: &[u8]) {
    let [choice, segment, bytes @ ..] = data else { return };
    let limits = match choice % 3 {
        0 => Limits::default(),
        1 => Limits::unauthenticated(),
        _ => Limits { max_args: 12, max_bulk: 120, max_inline: 16, max_request: 150, unauthenticated: false },
    };
    let whole = run(bytes, bytes.len().max(1), &limits);
    assert_eq!(run(bytes, usize::from(*segment).max(1), &limits), whole);
    assert_eq!(run(bytes, 1, &limits), whole);
}

/// The results of parsing `bytes` in segments, with the arguments of each.
fn run(bytes: &[u8], segment: usize, limits: &Limits) -> Vec<(Parsed, Vec<Vec<u8>>)> {
    let mut parser = RequestParser::new();
    let (mut start, mut end, mut results) = (0, 0, Vec::new());
    loop {
        let unread = &bytes[start..end];
        let parsed = parser.parse(unread, limits);
        let (len, args) = match parsed {
            Parsed::Incomplete if end == bytes.len() => return results,
            Parsed::Incomplete => {
                end = bytes.len().min(end + segment);
                continue;
            }
            Parsed::Request { len } => (len, arguments(&parser, &unread[..len])),
            Parsed::Inline { len } => (len, inline::split(&unread[..len]).unwrap_or_default()),
            Parsed::Empty { len } => (len, Vec::new()),
            Parsed::Error(_) => (0, Vec::new()),
        };
        let stop = matches!(parsed, Parsed::Error(_));
        results.push((parsed, args));
        start += len;
        if stop {
            return results;
        }
        assert!(len > 0);
    }
}

/// The arguments of a whole request, which must come back from an encoder and a second parser.
fn arguments(parser: &RequestParser, frame: &[u8]) -> Vec<Vec<u8>> {
    let args: Vec<Vec<u8>> =
        parser.spans().iter().map(|s| frame[s.start as usize..s.end as usize].to_vec()).collect();
    assert!(!args.is_empty());
    let mut again = Vec::new();
    encode::request(&mut again, &args);
    let mut second = RequestParser::new();
    assert_eq!(second.parse(&again, &Limits::default()), Parsed::Request { len: again.len() });
    assert_eq!(second.spans().len(), args.len());
    args
}
