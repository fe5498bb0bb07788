//! Just enough of RESP2 and RESP3 to cut a stream of replies into values and to look into them.

/// Where the value that starts at `at` ends, or `None` when the bytes end before it does.
///
/// Panics on bytes that are not RESP: a test then fails with what it got.
pub fn end(bytes: &[u8], at: usize) -> Option<usize> {
    let line_end = line_end(bytes, at)?;
    let after = line_end + 2;
    match bytes[at] {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => Some(after),
        b'$' | b'=' | b'!' => match number(&bytes[at + 1..line_end]) {
            -1 => Some(after),
            n => {
                let end = after + usize::try_from(n).unwrap() + 2;
                (bytes.len() >= end).then_some(end)
            }
        },
        b'*' | b'~' | b'>' => elements(bytes, after, number(&bytes[at + 1..line_end])),
        b'%' => elements(bytes, after, 2 * number(&bytes[at + 1..line_end])),
        b'|' => elements(bytes, after, 2 * number(&bytes[at + 1..line_end]) + 1),
        _ => panic!("not RESP: {:?}", show(&bytes[at..])),
    }
}

/// The body of a bulk, verbatim or simple string, or the text of a number or an error.
pub fn body(frame: &[u8]) -> &[u8] {
    let line_end = line_end(frame, 0).expect("a whole value");
    match frame[0] {
        b'$' if &frame[1..line_end] == b"-1" => b"",
        b'$' => &frame[line_end + 2..frame.len() - 2],
        b'=' => &frame[line_end + 6..frame.len() - 2],
        _ => &frame[1..line_end],
    }
}

/// The body of a value as text.
pub fn text(frame: &[u8]) -> String {
    String::from_utf8_lossy(body(frame)).into_owned()
}

/// The value as an integer; panics when it is none.
pub fn integer(frame: &[u8]) -> i64 {
    assert_eq!(frame.first(), Some(&b':'), "not an integer: {}", show(frame));
    number(body(frame))
}

/// The elements of an array, set, push or map (keys and values in turn).
pub fn items(frame: &[u8]) -> Vec<&[u8]> {
    assert!(matches!(frame.first(), Some(b'*' | b'~' | b'>' | b'%')), "not an aggregate: {}", show(frame));
    let mut at = line_end(frame, 0).unwrap() + 2;
    let mut out = Vec::new();
    while at < frame.len() {
        let next = end(frame, at).unwrap();
        out.push(&frame[at..next]);
        at = next;
    }
    out
}

/// Whether the value is an error.
pub fn is_error(frame: &[u8]) -> bool {
    matches!(frame.first(), Some(b'-' | b'!'))
}

/// Readable form of bytes for messages, cut after 300 characters.
pub fn show(bytes: &[u8]) -> String {
    let text = show_all(bytes);
    match text.char_indices().nth(300) {
        Some((cut, _)) => format!("{}... ({} bytes)", &text[..cut], bytes.len()),
        None => text,
    }
}

/// Readable form of bytes, however many.
pub fn show_all(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// A request as an array of bulk strings.
pub fn request(args: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        let arg = arg.as_ref();
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn elements(bytes: &[u8], mut at: usize, count: i64) -> Option<usize> {
    for _ in 0..count {
        at = end(bytes, at)?;
    }
    Some(at)
}

fn line_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    memchr::memmem::find(rest, b"\r\n").map(|i| at + i)
}

fn number(digits: &[u8]) -> i64 {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|d| d.parse().ok())
        .unwrap_or_else(|| panic!("not a number: {}", show(digits)))
}
