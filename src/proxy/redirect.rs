//! What an error of a node says about where a part should go next. Pure.

use crate::cluster::{parse_redirect, Redirect};

/// What to do with a part that a node answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The error is the reply.
    Reply,
    /// Not executed: the slot, or this one request, is for another node.
    Redirect(Redirect<'a>),
    /// Not executed; worth another try after a moment, and asking for the topology when `refresh` says so.
    Retry {
        /// Whether the error hints at a changed topology.
        refresh: bool,
    },
}

/// Reads the reply `frame`. Which errors say "not executed" is from the Redis sources' `getNodeByQuery` and
/// `processCommand`; everything else, malformed redirects too, is the client's reply.
pub fn verdict(frame: &[u8]) -> Verdict<'_> {
    let Some(text) = frame.strip_prefix(b"-") else { return Verdict::Reply };
    let end = text.iter().position(|b| matches!(b, b' ' | b'\r')).unwrap_or(text.len());
    match &text[..end] {
        b"MOVED" | b"ASK" => parse_redirect(frame).map_or(Verdict::Reply, Verdict::Redirect),
        b"TRYAGAIN" | b"LOADING" => Verdict::Retry { refresh: false },
        b"CLUSTERDOWN" | b"MASTERDOWN" | b"READONLY" => Verdict::Retry { refresh: true },
        // Said to a blocked client when its primary becomes a replica; CLIENT UNBLOCK has the same code.
        b"UNBLOCKED" if text.starts_with(b"UNBLOCKED force unblock") => Verdict::Retry { refresh: true },
        _ => Verdict::Reply,
    }
}

/// As [`verdict`], for a script whose keys are in `slot`: it can make any error itself, after it has written. Only what a
/// server says before it runs a script, word for word, says "not executed".
pub fn script_verdict(frame: &[u8], slot: u16) -> Verdict<'_> {
    match verdict(frame) {
        Verdict::Redirect(target) if target.slot != slot => Verdict::Reply,
        Verdict::Retry { .. } if !is_servers_own(frame) => Verdict::Reply,
        verdict => verdict,
    }
}

/// Texts of Redis 7 and Valkey 8 (`shared` objects of `createSharedObjects`, `clusterRedirectClient`). An error of a
/// command that a script has called ends in the name of the script.
fn is_servers_own(frame: &[u8]) -> bool {
    const TEXTS: [&[u8]; 7] = [
        b"-TRYAGAIN Multiple keys request during rehashing of slot",
        b"-CLUSTERDOWN Hash slot not served",
        b"-CLUSTERDOWN The cluster is down",
        b"-MASTERDOWN Link with MASTER is down",
        b"-READONLY You can't write against a read only replica",
        b"-LOADING Redis is loading the dataset in memory",
        b"-LOADING Valkey is loading the dataset in memory",
    ];
    let in_script = memchr::memmem::find(frame, b" script: ").is_some();
    !in_script && TEXTS.iter().any(|text| frame.starts_with(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::RedirectKind;

    #[test]
    fn a_redirect_is_told_from_a_malformed_one() {
        let redirect = |kind| Verdict::Redirect(Redirect { kind, slot: 3999, host: "127.0.0.1", port: 6381 });
        assert_eq!(verdict(b"-MOVED 3999 127.0.0.1:6381\r\n"), redirect(RedirectKind::Moved));
        assert_eq!(verdict(b"-ASK 3999 127.0.0.1:6381\r\n"), redirect(RedirectKind::Ask));
        for text in
            [&b"-MOVED\r\n"[..], b"-MOVED 16384 127.0.0.1:1\r\n", b"-ASK 1 \xff:1\r\n", b"-MOVEDX 1 a:1\r\n"]
        {
            assert_eq!(verdict(text), Verdict::Reply, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn only_errors_that_say_not_executed_are_tried_again() {
        for (text, refresh) in [
            (&b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n"[..], false),
            (b"-LOADING Redis is loading the dataset in memory\r\n", false),
            (b"-CLUSTERDOWN The cluster is down\r\n", true),
            (b"-MASTERDOWN Link with MASTER is down\r\n", true),
            (b"-READONLY You can't write against a read only replica.\r\n", true),
        ] {
            assert_eq!(verdict(text), Verdict::Retry { refresh });
        }
        for text in [
            &b"-MISCONF x\r\n"[..],
            b"-OOM x\r\n",
            b"-NOREPLICAS x\r\n",
            b"-ERR MOVED 1 127.0.0.1:1\r\n",
            b"+OK\r\n",
        ] {
            assert_eq!(verdict(text), Verdict::Reply);
        }
    }
}
