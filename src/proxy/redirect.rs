//! What an error of a node says about where a part should go next. Pure.

/// What to do with a part that a node answered with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The error is the reply.
    Reply,
    /// The slot lives at this address now.
    Moved(Target<'a>),
    /// This one request goes to that address, behind ASKING.
    Ask(Target<'a>),
    /// Not executed; worth another try after a moment, and asking for the topology when `refresh` says so.
    Retry {
        /// Whether the error hints at a changed topology.
        refresh: bool,
    },
}

/// Where a redirect points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The slot, below 16384.
    pub slot: u16,
    /// Host name or address without brackets; empty means the host of the node that answered.
    pub host: &'a str,
    /// Port, never 0.
    pub port: u16,
}

/// Reads the reply `frame`. Which errors say "not executed" is from the Redis sources' `getNodeByQuery` and
/// `processCommand`; everything else, malformed redirects too, is the client's reply.
pub fn verdict(frame: &[u8]) -> Verdict<'_> {
    let Some(text) = frame.strip_prefix(b"-") else { return Verdict::Reply };
    let text = text.strip_suffix(b"\r\n").unwrap_or(text);
    let (word, rest) = match memchr::memchr(b' ', text) {
        Some(i) => (&text[..i], &text[i + 1..]),
        None => (text, &[][..]),
    };
    match word {
        b"MOVED" => target(rest).map_or(Verdict::Reply, Verdict::Moved),
        b"ASK" => target(rest).map_or(Verdict::Reply, Verdict::Ask),
        b"TRYAGAIN" | b"LOADING" | b"BUSYLOADING" => Verdict::Retry { refresh: false },
        b"CLUSTERDOWN" | b"MASTERDOWN" | b"READONLY" => Verdict::Retry { refresh: true },
        _ => Verdict::Reply,
    }
}

/// `3999 127.0.0.1:6381`, `1 :7001`, `1 ::1:7001`, `1 [::1]:7001`, `1 host:7001`.
fn target(rest: &[u8]) -> Option<Target<'_>> {
    let rest = std::str::from_utf8(rest).ok()?;
    let (slot, address) = rest.split_once(' ')?;
    let (host, port) = address.rsplit_once(':')?;
    let slot: u16 = slot.parse().ok().filter(|s| usize::from(*s) < crate::cluster::SLOTS)?;
    let port: u16 = port.parse().ok().filter(|p| *p != 0)?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    Some(Target { slot, host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_read_in_every_form() {
        for (text, host, port) in [
            (&b"-MOVED 3999 127.0.0.1:6381\r\n"[..], "127.0.0.1", 6381),
            (b"-MOVED 3999 :7001\r\n", "", 7001),
            (b"-MOVED 3999 ::1:7001\r\n", "::1", 7001),
            (b"-MOVED 3999 [::1]:7001\r\n", "::1", 7001),
            (b"-MOVED 3999 node-1.example:7001\r\n", "node-1.example", 7001),
        ] {
            assert_eq!(verdict(text), Verdict::Moved(Target { slot: 3999, host, port }));
        }
        let ask = verdict(b"-ASK 16383 10.0.0.1:1\r\n");
        assert_eq!(ask, Verdict::Ask(Target { slot: 16383, host: "10.0.0.1", port: 1 }));
    }

    #[test]
    fn a_malformed_redirect_is_the_clients_reply_and_nothing_dies() {
        for text in [
            &b"-MOVED\r\n"[..],
            b"-MOVED \r\n",
            b"-MOVED 1\r\n",
            b"-MOVED x 127.0.0.1:1\r\n",
            b"-MOVED 16384 127.0.0.1:1\r\n",
            b"-MOVED -1 127.0.0.1:1\r\n",
            b"-MOVED 1 127.0.0.1\r\n",
            b"-MOVED 1 127.0.0.1:\r\n",
            b"-MOVED 1 127.0.0.1:0\r\n",
            b"-MOVED 1 127.0.0.1:65536\r\n",
            b"-ASK 1 \xff:1\r\n",
            b"-MOVEDX 1 127.0.0.1:1\r\n",
        ] {
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
