//! Names and patterns: which may see keyspace events, and what matches. Pure.

/// How the channels of keyspace events begin (Redis documentation, "Redis keyspace notifications").
const EVENTS: [&[u8]; 2] = [b"__keyspace@", b"__keyevent@"];

/// Whether `channel` is one on which nodes publish keyspace events.
pub fn is_event(channel: &[u8]) -> bool {
    EVENTS.iter().any(|e| channel.starts_with(e))
}

/// Whether some channel of keyspace events may match `pattern`. Only the letters in front of the first special one are
/// looked at: a pattern that is wrongly taken for one of events costs traffic, not correctness.
pub fn may_match_event(pattern: &[u8]) -> bool {
    let special = |b: &u8| matches!(b, b'*' | b'?' | b'[' | b'\\');
    let literal = &pattern[..pattern.iter().position(special).unwrap_or(pattern.len())];
    if literal.len() == pattern.len() {
        return is_event(pattern);
    }
    EVENTS.iter().any(|e| literal.starts_with(e) || e.starts_with(literal))
}

/// Whether `name` matches the pattern, as a server's `stringmatchlen` has it; in time of at most their product.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Behind the last `*`, and how much of the name it stands in front of.
    let mut star = None;
    while let Some(byte) = name.get(read) {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            star = Some((at, read));
        } else if let Some(len) = one(&pattern[at..], *byte) {
            at += len;
            read += 1;
        } else if let Some((behind, from)) = star {
            (at, read) = (behind, from + 1);
            star = Some((behind, from + 1));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|b| *b == b'*')
}

/// The length of what stands for one byte at the start of the pattern, if it stands for this one.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', b'^', rest @ ..] => match class(rest, byte) {
            (false, len) => Some(len + 2),
            _ => None,
        },
        [b'[', rest @ ..] => match class(rest, byte) {
            (true, len) => Some(len + 1),
            _ => None,
        },
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [first, ..] => (*first == byte).then_some(1),
    }
}

/// Whether a class, without its opening bracket, has this byte, and how long it is. The closing one may be missing.
fn class(mut rest: &[u8], byte: u8) -> (bool, usize) {
    let whole = rest.len();
    let mut is = false;
    loop {
        rest = match rest {
            [b']', after @ ..] => return (is, whole - after.len()),
            [] => return (is, whole),
            [b'\\', escaped, after @ ..] => {
                is |= *escaped == byte;
                after
            }
            [a, b'-', b, after @ ..] => {
                is |= (*a.min(b)..=*a.max(b)).contains(&byte);
                after
            }
            [first, after @ ..] => {
                is |= *first == byte;
                after
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_server() {
        for (pattern, name) in [
            ("*", ""),
            ("*", "x"),
            ("a*c*e", "abcde"),
            ("*ab", "aab"),
            ("a?c", "abc"),
            ("[a-c]x", "bx"),
            ("[c-a]x", "bx"),
            ("[^a]x", "bx"),
            ("[\\]]x", "]x"),
            ("\\*", "*"),
            ("[ab", "b"),
            ("a**", "a"),
            ("", ""),
        ] {
            assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        for (pattern, name) in
            [("", "x"), ("?", ""), ("a", "A"), ("a*c", "abd"), ("[^a]x", "ax"), ("\\*", "x"), ("ab", "a")]
        {
            assert!(!matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        assert!(!matches(&b"*a".repeat(50), &[b'b'; 5000]));
    }

    #[test]
    fn patterns_that_may_see_events_are_told_from_others() {
        for yes in
            ["*", "__key*", "__keyspace@0__:*", "__keyevent@*__:expired", "?_keyspace*", "[_]*", "\\_*"]
        {
            assert!(may_match_event(yes.as_bytes()), "{yes}");
        }
        for no in ["", "news.*", "_key*", "__keyspaces*"] {
            assert!(!may_match_event(no.as_bytes()), "{no}");
        }
        assert!(may_match_event(b"__keyspace@0__:literal"));
        assert!(!may_match_event(b"__keyspace"));
        assert!(!is_event(b"__keyspace"));
    }
}
