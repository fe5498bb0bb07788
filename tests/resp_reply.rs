//! The reply framer against cases and against an obvious, slow oracle, whole and cut anywhere; values and element
//! frames against the framer.

use proptest::prelude::*;
use redis_cluster_proxy::resp::{
    children, error_text, is_error, is_push, ReplyError, ReplyFramer, Scan, Value,
};

/// What a run over a stream of replies came to: the ends of whole frames, and how it ended.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    ends: Vec<usize>,
    error: Option<ReplyError>,
}

/// Feeds `chunks` one after the other. Bytes that the framer is done with are never shown to it again.
fn run(chunks: &[&[u8]]) -> Outcome {
    let mut framer = ReplyFramer::new();
    let (mut kept, mut passed, mut ends) = (Vec::new(), 0, Vec::new());
    for chunk in chunks {
        kept.extend_from_slice(chunk);
        loop {
            match framer.scan(&kept) {
                Err(error) => return Outcome { ends, error: Some(error) },
                Ok(Scan::More(n)) => {
                    kept.drain(..n);
                    passed += n;
                    break;
                }
                Ok(Scan::Done(n)) => {
                    assert!(framer.is_fresh());
                    kept.drain(..n);
                    passed += n;
                    ends.push(passed);
                }
            }
        }
        assert_eq!(framer.is_fresh(), ends.last().copied().unwrap_or(0) == passed && kept.is_empty());
    }
    Outcome { ends, error: None }
}

/// The same by recursion over bytes that are all there.
fn oracle(bytes: &[u8]) -> Outcome {
    let mut ends = Vec::new();
    loop {
        let at = ends.last().copied().unwrap_or(0);
        match (Oracle { bytes, at }).value(0) {
            Ok(Some(end)) => ends.push(end),
            Ok(None) => return Outcome { ends, error: None },
            Err(error) => return Outcome { ends, error: Some(error) },
        }
    }
}

struct Oracle<'a> {
    bytes: &'a [u8],
    at: usize,
}

type Found<T> = Result<Option<T>, ReplyError>;

impl<'a> Oracle<'a> {
    /// The end of a value.
    fn value(&mut self, streams: usize) -> Found<usize> {
        loop {
            let Some((kind, text)) = self.line()? else { return Ok(None) };
            let pairs = if matches!(kind, '%' | '|') { 2 } else { 1 };
            match (kind, text.as_str()) {
                ('.' | ';', _) => return Err(ReplyError::UnexpectedStreamPart),
                ('$' | '*', "-1") => return Ok(Some(self.at)),
                ('$', "?") => return self.chunks(),
                ('*' | '~' | '>' | '%', "?") => return self.stream(pairs, streams + 1),
                ('$' | '!' | '=', _) => return self.body(number(&text, i64::from(u32::MAX))?),
                ('*' | '~' | '>' | '%' | '|', _) => {
                    for _ in 0..number(&text, i64::from(i32::MAX))? * pairs {
                        if self.value(streams)?.is_none() {
                            return Ok(None);
                        }
                    }
                    if kind != '|' {
                        return Ok(Some(self.at));
                    }
                }
                ('_', _) => return text.is_empty().then_some(Some(self.at)).ok_or(ReplyError::InvalidScalar),
                ('#', "t" | "f") => return Ok(Some(self.at)),
                ('#', _) => return Err(ReplyError::InvalidScalar),
                (':', _) => {
                    let digits = text.strip_prefix(['+', '-']).unwrap_or(&text);
                    let good = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
                    return good.then_some(Some(self.at)).ok_or(ReplyError::InvalidScalar);
                }
                _ => return Ok(Some(self.at)),
            }
        }
    }

    fn stream(&mut self, pairs: usize, streams: usize) -> Found<usize> {
        if streams > 32 {
            return Err(ReplyError::TooDeep);
        }
        let mut elements = 0;
        loop {
            if self.bytes.get(self.at) == Some(&b'.') {
                let Some((_, text)) = self.line()? else { return Ok(None) };
                let good = text.is_empty() && elements % pairs == 0;
                return good.then_some(Some(self.at)).ok_or(ReplyError::UnexpectedStreamPart);
            }
            if self.value(streams)?.is_none() {
                return Ok(None);
            }
            elements += 1;
        }
    }

    fn chunks(&mut self) -> Found<usize> {
        loop {
            let Some((kind, text)) = self.line()? else { return Ok(None) };
            if kind != ';' {
                return Err(ReplyError::UnexpectedStreamPart);
            }
            match number(&text, i64::from(u32::MAX))? {
                0 => return Ok(Some(self.at)),
                len if self.body(len)?.is_none() => return Ok(None),
                _ => {}
            }
        }
    }

    fn body(&mut self, len: usize) -> Found<usize> {
        let tail = self.bytes.get(self.at + len..).unwrap_or(b"");
        match tail {
            [] | [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] => {
                self.at += len + 2;
                Ok(Some(self.at))
            }
            _ => Err(ReplyError::MissingLineEnd),
        }
    }

    fn line(&mut self) -> Found<(char, String)> {
        let rest = &self.bytes[self.at..];
        let Some(kind) = rest.first() else { return Ok(None) };
        let limit = match kind {
            b'+' | b'-' | b',' | b'(' => 65536,
            kind if b"$*:%~>|_#!=;.".contains(kind) => 32,
            other => return Err(ReplyError::UnknownType(*other)),
        };
        let newline = rest.iter().position(|b| *b == b'\n');
        if newline.unwrap_or(rest.len()) > limit {
            return Err(ReplyError::LineTooLong);
        }
        let Some(newline) = newline else { return Ok(None) };
        self.at += newline + 1;
        if newline < 2 || rest[newline - 1] != b'\r' {
            return Err(ReplyError::MissingLineEnd);
        }
        Ok(Some((char::from(*kind), rest[1..newline - 1].iter().map(|b| char::from(*b)).collect())))
    }
}

fn number(text: &str, max: i64) -> Result<usize, ReplyError> {
    let number = text.parse::<i64>().ok().filter(|n| n.to_string() == text && (0..=max).contains(n));
    number.and_then(|n| usize::try_from(n).ok()).ok_or(ReplyError::InvalidLength)
}

/// Whole frames, one each.
const FRAMES: &[&[u8]] = &[
    b"+OK\r\n",
    b"+\r\n",
    b"+PONG\r\n",
    b"+a line that is longer than what the quick half looks at\r\n",
    b"-ERR unknown command 'x'\r\n",
    b"-\r\n",
    b":0\r\n",
    b":-12\r\n",
    b":+5\r\n",
    b":1234567890123456789\r\n",
    b":12345678901234567890123456789\r\n",
    b"$-1\r\n",
    b"$0\r\n\r\n",
    b"$3\r\nabc\r\n",
    b"$12\r\n*1\r\n$2\r\n\r\n\r\n\r\n",
    b"$101\r\n-MOVED 1 127.0.0.1:7001 -MOVED 1 127.0.0.1:7001 -MOVED 1 127.0.0.1:7001 -MOVED 1 127.0.0.1:7001 12345\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*1\r\n*0\r\n",
    b"*3\r\n$1\r\na\r\n:1\r\n*2\r\n*-1\r\n$-1\r\n",
    b"*2\r\n*2\r\n+a\r\n*1\r\n-ERR\r\n$0\r\n\r\n",
    b"_\r\n",
    b"#t\r\n",
    b"#f\r\n",
    b",1.5\r\n",
    b",-inf\r\n",
    b",nan\r\n",
    b"(3492890328409238509324850943850943825024385\r\n",
    b"!10\r\nERR failed\r\n",
    b"=8\r\ntxt:text\r\n",
    b"%0\r\n",
    b"%2\r\n+a\r\n:1\r\n+b\r\n%1\r\n+c\r\n_\r\n",
    b"~2\r\n:1\r\n:2\r\n",
    b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n",
    b"|1\r\n+ttl\r\n:3600\r\n*1\r\n|1\r\n+k\r\n+v\r\n:2\r\n",
    b"|0\r\n|1\r\n+a\r\n*1\r\n:1\r\n$1\r\nx\r\n",
    b"$?\r\n;0\r\n",
    b"$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;1\r\nd\r\n;0\r\n",
    b"*?\r\n.\r\n",
    b"*?\r\n:1\r\n*2\r\n:2\r\n:3\r\n$?\r\n;1\r\nx\r\n;0\r\n.\r\n",
    b"%?\r\n+a\r\n:1\r\n|1\r\n+x\r\n+y\r\n+b\r\n~?\r\n*?\r\n.\r\n.\r\n.\r\n",
    b"*2\r\n%?\r\n.\r\n*?\r\n:1\r\n.\r\n",
    b">?\r\n+a\r\n.\r\n",
];

/// Bytes that are no RESP from some point on, and what is wrong with them.
const BROKEN: &[(&[u8], ReplyError)] = &[
    (b"x", ReplyError::UnknownType(b'x')),
    (b"\r\n", ReplyError::UnknownType(b'\r')),
    (b"HTTP/1.1 400 Bad Request\r\n", ReplyError::UnknownType(b'H')),
    (b"*1\r\n\x16\x03\x01", ReplyError::UnknownType(0x16)),
    (b"$3\r\nabcd\r\n", ReplyError::MissingLineEnd),
    (b"$3\r\nabc\r\r", ReplyError::MissingLineEnd),
    (b"$3\r\nabc\n", ReplyError::MissingLineEnd),
    (b"$3\n", ReplyError::MissingLineEnd),
    (b"$3\rxabc\r\n\n", ReplyError::InvalidLength),
    (b"+OK\n", ReplyError::MissingLineEnd),
    (b"+\n", ReplyError::MissingLineEnd),
    (b"+OK\rX\n", ReplyError::MissingLineEnd),
    (b":\r\n", ReplyError::InvalidScalar),
    (b":1x\r\n", ReplyError::InvalidScalar),
    (b":-\r\n", ReplyError::InvalidScalar),
    (b"#x\r\n", ReplyError::InvalidScalar),
    (b"_x\r\n", ReplyError::InvalidScalar),
    (b"$\r\n", ReplyError::InvalidLength),
    (b"$-2\r\n", ReplyError::InvalidLength),
    (b"$+1\r\n", ReplyError::InvalidLength),
    (b"$01\r\n", ReplyError::InvalidLength),
    (b"$4294967296\r\n", ReplyError::InvalidLength),
    (b"$18446744073709551617\r\n", ReplyError::InvalidLength),
    (b"*2147483648\r\n", ReplyError::InvalidLength),
    (b"*-2\r\n", ReplyError::InvalidLength),
    (b"%-1\r\n", ReplyError::InvalidLength),
    (b"~-1\r\n", ReplyError::InvalidLength),
    (b"!-1\r\n", ReplyError::InvalidLength),
    (b"=?\r\n", ReplyError::InvalidLength),
    (b"|?\r\n", ReplyError::InvalidLength),
    (b"$111111111111111111111111111111111", ReplyError::LineTooLong),
    (b".\r\n", ReplyError::UnexpectedStreamPart),
    (b";1\r\na\r\n", ReplyError::UnexpectedStreamPart),
    (b"*1\r\n.\r\n", ReplyError::UnexpectedStreamPart),
    (b"*?\r\n*1\r\n.\r\n", ReplyError::UnexpectedStreamPart),
    (b"*?\r\n|0\r\n.\r\n", ReplyError::UnexpectedStreamPart),
    (b"*?\r\n.x\r\n", ReplyError::UnexpectedStreamPart),
    (b"%?\r\n+a\r\n.\r\n", ReplyError::UnexpectedStreamPart),
    (b"$?\r\n+a\r\n", ReplyError::UnexpectedStreamPart),
    (b"$?\r\n;-1\r\n", ReplyError::InvalidLength),
];

/// Whole, at every split position and byte by byte, `bytes` come to what the oracle says.
fn check_splits(bytes: &[u8]) {
    let expected = oracle(bytes);
    let name = bytes.escape_ascii();
    assert_eq!(run(&[bytes]), expected, "{name}");
    for at in 0..=bytes.len() {
        let (a, b) = bytes.split_at(at);
        assert_eq!(run(&[a, b]), expected, "{name} at {at}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(run(&single), expected, "{name} byte by byte");
}

#[test]
fn frames_end_where_they_end() {
    for frame in FRAMES {
        let name = frame.escape_ascii();
        assert_eq!(run(&[frame]), Outcome { ends: vec![frame.len()], error: None }, "{name}");
        let two = [*frame, *frame].concat();
        assert_eq!(run(&[&two]).ends, [frame.len(), two.len()], "{name}");
        let nested = [b"*3\r\n", *frame, b"$1\r\nx\r\n", *frame].concat();
        assert_eq!(run(&[&nested]).ends, [nested.len()], "{name}");
        check_splits(&two);
        check_splits(&nested);
        check_splits(&[b"%?\r\n", *frame, *frame, b".\r\n"].concat());
    }
}

#[test]
fn broken_bytes_are_refused_with_the_reason() {
    for (bytes, error) in BROKEN {
        assert_eq!(run(&[bytes]).error, Some(*error), "{}", bytes.escape_ascii());
        let behind = [b"*3\r\n:1\r\n", *bytes].concat();
        assert_eq!(run(&[&behind]).error, Some(*error), "{}", behind.escape_ascii());
        check_splits(bytes);
        check_splits(&behind);
    }
}

#[test]
fn text_lines_may_be_64_kib_long_and_not_longer() {
    for kind in [b'+', b'-', b',', b'('] {
        let mut line = vec![b'1'; 64 * 1024];
        line[0] = kind;
        assert_eq!(run(&[&line]).error, None);
        let fits = [&line[..line.len() - 1], b"\r\n"].concat();
        assert_eq!(run(&[&fits]).ends, [fits.len()]);
        line.push(b'1');
        assert_eq!(run(&[&line]).error, Some(ReplyError::LineTooLong));
    }
}

#[test]
fn streams_nest_up_to_a_bound() {
    let nested = |depth: usize| [b"*?\r\n".repeat(depth), b".\r\n".repeat(depth)].concat();
    assert_eq!(run(&[&nested(32)]).ends, [nested(32).len()]);
    assert_eq!(run(&[&nested(33)]).error, Some(ReplyError::TooDeep));
}

#[test]
fn ordinary_nesting_needs_no_stack() {
    let deep = [b"*1\r\n".repeat(100_000), b":1\r\n".to_vec()].concat();
    assert_eq!(run(&[&deep]).ends, [deep.len()]);
    assert_eq!(Value::parse(&deep), Err(ReplyError::TooDeep));
}

#[test]
fn bodies_pass_without_being_kept() {
    let mut framer = ReplyFramer::new();
    assert_eq!(framer.scan(b"$4000000000\r\nabc"), Ok(Scan::More(16)));
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..3814 {
        assert_eq!(framer.scan(&piece), Ok(Scan::More(piece.len())));
    }
    let left = 4_000_000_000u64 - 3 - 3814 * (1 << 20);
    let tail = [vec![b'x'; left as usize], b"\r\n+".to_vec()].concat();
    assert_eq!(framer.scan(&tail), Ok(Scan::Done(tail.len() - 1)));
}

#[test]
fn kinds() {
    assert!(is_push(b'>') && !is_push(b'*'));
    assert!(is_error(b'-') && is_error(b'!') && !is_error(b'$'));
    assert_eq!(error_text(b"-ERR no\r\n"), Some(&b"ERR no"[..]));
    assert_eq!(error_text(b"!6\r\nERR no\r\n"), Some(&b"ERR no"[..]));
    assert_eq!(error_text(b"+OK\r\n"), None);
    assert_eq!(error_text(b"-ERR"), None);
    assert_eq!(error_text(b""), None);
}

#[test]
fn values_agree_with_frames() {
    for frame in FRAMES {
        let name = frame.escape_ascii();
        let beyond = *frame == b":12345678901234567890123456789\r\n";
        match Value::parse(&[*frame, b"+more"].concat()) {
            Ok(Some((_, len))) => assert_eq!(len, frame.len(), "{name}"),
            Err(ReplyError::InvalidScalar) if beyond => {}
            other => panic!("{name}: {other:?}"),
        }
        for at in 0..frame.len() {
            assert_eq!(Value::parse(&frame[..at]), Ok(None), "{name} at {at}");
        }
    }
    for (bytes, error) in BROKEN {
        assert_eq!(Value::parse(bytes), Err(*error), "{}", bytes.escape_ascii());
    }
}

#[test]
fn children_are_the_element_frames() {
    for (left, right) in FRAMES.iter().zip(FRAMES.iter().rev()) {
        for (head, tail) in
            [("*2", ""), ("~2", ""), (">2", ""), ("%1", ""), ("*?", ".\r\n"), ("|1\r\n+a\r\n+b\r\n*2", "")]
        {
            let frame = [head.as_bytes(), b"\r\n", *left, *right, tail.as_bytes()].concat();
            let elements: Vec<&[u8]> = children(&frame).expect("an aggregate").collect();
            assert_eq!(elements, [*left, *right], "{}", frame.escape_ascii());
        }
    }
    assert_eq!(children(b"*0\r\n").map(|c| c.count()), Ok(0));
    assert_eq!(children(b"*7\r\n").map(|c| c.announced()), Ok(Some(7)));
    assert_eq!(children(b"*?\r\n.\r\n").map(|c| c.announced()), Ok(None));
    assert_eq!(children(b"*2\r\n:1\r\n$5\r\nab").map(|c| c.count()), Ok(1), "cut short");
    for frame in [&b"*-1\r\n"[..], b"$1\r\na\r\n", b"+OK\r\n", b"-ERR\r\n"] {
        assert_eq!(children(frame).map(|_| ()), Err(ReplyError::NotAnAggregate));
    }
    assert_eq!(children(b"*x\r\n").map(|_| ()), Err(ReplyError::InvalidLength));
    assert_eq!(children(b"").map(|_| ()), Err(ReplyError::MissingLineEnd));
}

/// Bytes made of pieces of the protocol, so that they often make sense.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let heads = &[
        "*2\r\n",
        "%1\r\n",
        "|1\r\n",
        "*?\r\n",
        "%?\r\n",
        ".\r\n",
        "$?\r\n",
        ";2\r\nab\r\n",
        ";0\r\n",
        "*1\r\n",
        "$5\r\n",
    ];
    let piece = prop_oneof![
        8 => prop::sample::select(FRAMES).prop_map(<[u8]>::to_vec),
        6 => prop::sample::select(&heads[..]).prop_map(|s| s.as_bytes().to_vec()),
        1 => prop::sample::select(BROKEN).prop_map(|(bytes, _)| bytes.to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
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
    fn any_bytes_come_to_what_the_oracle_says(bytes in soup(),
                                              places in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let expected = oracle(&bytes);
        prop_assert_eq!(run(&[&bytes]), expected.clone());
        prop_assert_eq!(run(&cut(&bytes, &places)), expected);
    }

    #[test]
    fn values_and_children_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), soup in soup()) {
        for bytes in [bytes, soup] {
            if let Ok(Some((_, len))) = Value::parse(&bytes) {
                let ends = oracle(&bytes).ends;
                prop_assert_eq!(ends.first(), Some(&len));
            }
            if let Ok(elements) = children(&bytes) {
                prop_assert!(elements.map(<[u8]>::len).sum::<usize>() <= bytes.len());
            }
        }
    }
}
