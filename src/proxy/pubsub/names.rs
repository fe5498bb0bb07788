//! Which topics may see keyspace events. Pure.

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

#[cfg(test)]
mod tests {
    use super::*;

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
