//! The request parser against the cases seen on a server and against an obvious, slow oracle, whole and cut anywhere.

mod resp_cases;

use proptest::prelude::*;
use redis_cluster_proxy::resp::{encode, inline, Limits, Parsed, RequestError, RequestParser};
use resp_cases::{Outcome, CASES, UNAUTHENTICATED};

/// One outcome, owned.
#[derive(Clone, Debug, PartialEq)]
enum Event {
    Args(Vec<Vec<u8>>),
    Empty,
    Error(RequestError),
}

/// Feeds `chunks` one after the other and takes out what is whole, as the engine does. Returns the events and how
/// many bytes the unfinished request has.
fn run(chunks: &[&[u8]], limits: &Limits) -> (Vec<Event>, usize) {
    let mut parser = RequestParser::new();
    let (mut buffer, mut events) = (Vec::new(), Vec::new());
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        loop {
            let (event, len) = match parser.parse(&buffer, limits) {
                Parsed::Incomplete => break,
                Parsed::Empty { len } => (Event::Empty, len),
                Parsed::Request { len } => (Event::Args(spanned(&parser, &buffer)), len),
                Parsed::Inline { len } => (inline_event(&buffer[..len]), len),
                Parsed::Error(error) => (Event::Error(error), 0),
            };
            assert!(parser.is_fresh());
            events.push(event);
            if matches!(events.last(), Some(Event::Error(_))) {
                return (events, 0);
            }
            buffer.drain(..len);
        }
        assert_eq!(parser.is_fresh(), buffer.is_empty());
        assert!((1..=1024 * 1024).contains(&parser.needed()));
    }
    (events, buffer.len())
}

fn spanned(parser: &RequestParser, frame: &[u8]) -> Vec<Vec<u8>> {
    parser.spans().iter().map(|s| frame[s.start as usize..s.end as usize].to_vec()).collect()
}

fn inline_event(line: &[u8]) -> Event {
    inline::split(line).map_or_else(Event::Error, Event::Args)
}

/// What a server makes of `bytes` that come one at a time: the outcome of the shortest prefix that has one.
fn oracle(mut bytes: &[u8], limits: &Limits) -> (Vec<Event>, usize) {
    let mut events = Vec::new();
    'requests: loop {
        for n in 0..=bytes.len() {
            match attempt(&bytes[..n], limits) {
                Ok(None) => {}
                Ok(Some((event, len))) => {
                    events.push(event);
                    bytes = &bytes[len..];
                    if matches!(events.last(), Some(Event::Error(_))) {
                        return (events, 0);
                    }
                    continue 'requests;
                }
                Err(error) => {
                    events.push(Event::Error(error));
                    return (events, 0);
                }
            }
        }
        return (events, bytes.len());
    }
}

type Attempt<T> = Result<Option<T>, RequestError>;

/// One request at the start of `bytes`, from scratch.
fn attempt(bytes: &[u8], limits: &Limits) -> Attempt<(Event, usize)> {
    match bytes.first() {
        None => Ok(None),
        Some(b'*') => attempt_multibulk(bytes, limits),
        Some(_) => {
            let line = find(bytes, b'\n', limits, RequestError::TooBigInline)?;
            Ok(line.map(|end| {
                let event = match inline_event(&bytes[..end]) {
                    Event::Args(words) if words.is_empty() => Event::Empty,
                    other => other,
                };
                (event, end + 1)
            }))
        }
    }
}

fn attempt_multibulk(bytes: &[u8], limits: &Limits) -> Attempt<(Event, usize)> {
    use RequestError::*;
    let Some((count, mut at)) = attempt_number(bytes, limits, TooBigMultibulkCount, |_| None)? else {
        return Ok(None);
    };
    let count = count.filter(|n| *n <= i64::from(i32::MAX)).ok_or(InvalidMultibulkLength)?;
    if count > limits.max_args as i64 {
        return Err(if limits.unauthenticated {
            UnauthenticatedMultibulkLength
        } else {
            InvalidMultibulkLength
        });
    }
    if count <= 0 {
        return Ok(Some((Event::Empty, at)));
    }
    let mut args = Vec::new();
    for _ in 0..count {
        let not_bulk = |first| (first != b'$').then_some(ExpectedBulk(first));
        let Some((len, line)) = attempt_number(&bytes[at..], limits, TooBigBulkCount, not_bulk)? else {
            return Ok(None);
        };
        let len = len.filter(|n| (0..=512 << 20).contains(n)).ok_or(InvalidBulkLength)?;
        if len > limits.max_bulk as i64 {
            return Err(if limits.unauthenticated { UnauthenticatedBulkLength } else { InvalidBulkLength });
        }
        at += line;
        let end = at + len as usize;
        if end + 2 > limits.max_request {
            return Err(TooBigRequest);
        }
        if bytes.len() < end + 2 {
            return Ok(None);
        }
        args.push(bytes[at..end].to_vec());
        at = end + 2;
    }
    Ok(Some((Event::Args(args), at)))
}

/// The number in the line at the start of `bytes` if it is one, and the length of the line.
fn attempt_number(
    bytes: &[u8],
    limits: &Limits,
    too_big: RequestError,
    bad_first: impl Fn(u8) -> Option<RequestError>,
) -> Attempt<(Option<i64>, usize)> {
    let Some(end) = find(bytes, b'\r', limits, too_big)? else { return Ok(None) };
    if bytes.len() < end + 2 {
        return Ok(None);
    }
    if let Some(error) = bad_first(bytes[0]) {
        return Err(error);
    }
    let text = String::from_utf8_lossy(&bytes[1..end]);
    let number = text.parse::<i64>().ok().filter(|n| n.to_string() == text);
    Ok(Some((number, end + 2)))
}

/// `strchr`, and the limit for lines that do not end.
fn find(bytes: &[u8], ending: u8, limits: &Limits, too_big: RequestError) -> Attempt<usize> {
    let visible = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    match bytes[..visible].iter().position(|b| *b == ending) {
        None if bytes.len() > limits.max_inline => Err(too_big),
        found => Ok(found),
    }
}

fn check_case(bytes: &[u8], expected: Outcome, limits: &Limits) {
    let (events, rest) = run(&[bytes], limits);
    let name = bytes.escape_ascii();
    match expected {
        Outcome::Wait => assert_eq!((events, rest), (vec![], bytes.len()), "{name}"),
        Outcome::Empty => assert_eq!(events, [Event::Empty], "{name}"),
        Outcome::Args(args) => {
            let args = args.iter().map(|a| a.to_vec()).collect();
            assert_eq!(events.first(), Some(&Event::Args(args)), "{name}");
        }
        Outcome::Error(reply) => {
            let Some(Event::Error(error)) = events.last() else { panic!("{name}: {events:?}") };
            let mut written = Vec::new();
            error.write_reply(&mut written);
            assert_eq!(written.escape_ascii().to_string(), reply.escape_ascii().to_string(), "{name}");
        }
    }
}

/// Whole, at every split position and byte by byte, `bytes` come to what the oracle says.
fn check_splits(bytes: &[u8], limits: &Limits) {
    let expected = oracle(bytes, limits);
    let name = bytes.escape_ascii();
    assert_eq!(run(&[bytes], limits), expected, "{name}");
    for at in 0..=bytes.len() {
        let (a, b) = bytes.split_at(at);
        assert_eq!(run(&[a, b], limits), expected, "{name} at {at}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(run(&single, limits), expected, "{name} byte by byte");
}

/// Limits that short inputs can break.
fn tight() -> Limits {
    Limits { max_args: 12, max_bulk: 120, max_inline: 16, max_request: 150, unauthenticated: false }
}

#[test]
fn outcomes_are_those_of_a_server() {
    CASES.iter().for_each(|(bytes, outcome)| check_case(bytes, *outcome, &Limits::default()));
    UNAUTHENTICATED
        .iter()
        .for_each(|(bytes, outcome)| check_case(bytes, *outcome, &Limits::unauthenticated()));
}

#[test]
fn outcomes_do_not_depend_on_where_the_bytes_are_cut() {
    for (bytes, _) in CASES.iter().chain(UNAUTHENTICATED) {
        let pipelined = [*bytes, b"*2\r\n$3\r\nGET\r\n$11\r\nhello world\r\n", *bytes].concat();
        for limits in [Limits::default(), Limits::unauthenticated(), tight()] {
            check_splits(bytes, &limits);
            check_splits(&pipelined, &limits);
        }
    }
}

#[test]
fn lengths_of_every_width_and_many_arguments() {
    for len in [0, 1, 9, 10, 11, 99, 100, 101, 999, 1000, 1001, 70_000] {
        for count in [1, 2, 9, 10, 65, 200] {
            let args: Vec<Vec<u8>> =
                (0..count).map(|i| vec![i as u8; if i % 3 == 1 { len } else { i % 20 }]).collect();
            let mut bytes = Vec::new();
            encode::request(&mut bytes, &args);
            let expected = (vec![Event::Args(args)], 0);
            assert_eq!(run(&[&bytes], &Limits::default()), expected, "{count} of {len}");
            let (a, b) = bytes.split_at(bytes.len() / 2);
            assert_eq!(run(&[a, b], &Limits::default()), expected, "{count} of {len}, split");
        }
    }
}

#[test]
fn a_line_may_be_64_kib_long_and_not_longer() {
    let limit = 64 * 1024;
    let error = |bytes: &[u8]| match run(&[bytes], &Limits::default()).0.first() {
        Some(Event::Error(error)) => Some(*error),
        _ => None,
    };
    for (prefix, too_big, fits) in [
        ("", RequestError::TooBigInline, None),
        ("*", RequestError::TooBigMultibulkCount, Some(RequestError::InvalidMultibulkLength)),
        ("*1\r\n$", RequestError::TooBigBulkCount, Some(RequestError::InvalidBulkLength)),
    ] {
        let in_line = prefix.len() - prefix.rfind('\n').map_or(0, |i| i + 1);
        let line = |len: usize| [prefix.as_bytes(), &vec![b'1'; len - in_line]].concat();
        assert_eq!(error(&line(limit)), None);
        let ending: &[u8] = if prefix.is_empty() { b"\n" } else { b"\r\n" };
        assert_eq!(error(&[line(limit), ending.to_vec()].concat()), fits);
        assert_eq!(error(&line(limit + 1)), Some(too_big));
        assert_eq!(error(&[line(limit + 2), b"\r\n".to_vec()].concat()), Some(too_big));
        let nul = [prefix.as_bytes(), &vec![0; limit + 1]].concat();
        assert_eq!(error(&nul), Some(too_big), "a NUL hides the line end");
    }
}

#[test]
fn the_whole_request_is_limited_at_the_announcement() {
    let limits = Limits { max_request: 60, ..Limits::default() };
    let fits = b"*2\r\n$3\r\nGET\r\n$40\r\n";
    assert_eq!(run(&[fits], &limits), (vec![], fits.len()));
    let exceeds = b"*2\r\n$3\r\nGET\r\n$41\r\n";
    let (unended, _) = exceeds.split_at(exceeds.len() - 1);
    assert_eq!(run(&[unended], &limits), (vec![], unended.len()), "the length line is not whole");
    assert_eq!(run(&[exceeds], &limits).0, [Event::Error(RequestError::TooBigRequest)]);
}

#[test]
fn many_small_arguments_are_limited_together() {
    for count in [3, 4, 5, 12] {
        let mut bytes = Vec::new();
        encode::request(&mut bytes, &vec!["0123456789"; count]);
        for max_request in bytes.len() - 20..bytes.len() + 2 {
            check_splits(&bytes, &Limits { max_request, ..Limits::default() });
        }
    }
}

#[test]
fn needed_tells_what_is_missing() {
    let limits = Limits::default();
    let mut parser = RequestParser::new();
    assert_eq!(parser.needed(), 1);
    assert_eq!(parser.parse(b"*2\r\n$3\r\nSET\r\n$100\r\nabc", &limits), Parsed::Incomplete);
    assert_eq!(parser.needed(), 99);
    parser.reset();
    assert_eq!(parser.parse(b"*3\r\n$3\r\nSE", &limits), Parsed::Incomplete);
    assert_eq!(parser.needed(), 3 + 2 * 6);
    parser.reset();
    assert_eq!(parser.parse(b"*1\r\n$500000000\r\n", &limits), Parsed::Incomplete);
    assert_eq!(parser.needed(), 1024 * 1024, "an announcement must not size a buffer");
    assert!(!parser.is_fresh());
}

#[test]
fn spans_are_given_back_after_a_huge_request() {
    let limits = Limits::default();
    let mut bytes = Vec::new();
    encode::request(&mut bytes, &vec!["x"; 100_000]);
    let mut parser = RequestParser::new();
    assert_eq!(parser.parse(&bytes, &limits), Parsed::Request { len: bytes.len() });
    assert_eq!(parser.spans().len(), 100_000);
    assert_eq!(parser.parse(b"*1\r\n$4\r\nPING\r\n", &limits), Parsed::Request { len: 14 });
    assert_eq!(parser.spans().len(), 1);
}

/// Bytes made of pieces of the protocol, so that they often make sense.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(CASES).prop_map(|(bytes, _)| bytes.to_vec()),
        2 => prop::collection::vec(any::<u8>(), 0..6),
        6 => prop::sample::select(&["\r\n", "\n", "*", "$", "*2\r\n", "$3\r\n", "$12\r\n", "$100\r\n", "abc", "\r", "0"][..])
            .prop_map(|s| s.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// `bytes` cut at the given places.
fn cut<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = places.iter().map(|p| p.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
}

proptest! {
    #[test]
    fn arguments_come_back(args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..150), 1..20),
                           places in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut bytes = Vec::new();
        encode::request(&mut bytes, &args);
        prop_assert_eq!(run(&cut(&bytes, &places), &Limits::default()), (vec![Event::Args(args)], 0));
    }

    #[test]
    fn any_bytes_come_to_what_the_oracle_says(bytes in soup(), kind in 0..3,
                                              places in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let limits = [Limits::default(), Limits::unauthenticated(), tight()][kind as usize].clone();
        let expected = oracle(&bytes, &limits);
        prop_assert_eq!(run(&[&bytes], &limits), expected.clone());
        prop_assert_eq!(run(&cut(&bytes, &places), &limits), expected);
    }

    #[test]
    fn quoted_words_come_back(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..6)) {
        let line: Vec<String> = words.iter()
            .map(|w| format!("\"{}\"", w.iter().map(|b| format!("\\x{b:02x}")).collect::<String>()))
            .collect();
        prop_assert_eq!(inline::split(line.join(" ").as_bytes()), Ok(words));
    }
}
