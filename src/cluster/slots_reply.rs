//! The reply of `CLUSTER SLOTS`, which every server of a cluster has given since Redis 3.
//!
//! It already leaves out replicas that failed or are still loading, so `CLUSTER SHARDS` would add nothing here.

use std::collections::HashSet;
use std::fmt;

use super::raw::{RawNode, RawRange, RawTopology};
use super::SLOTS;
use crate::base::sort;
use crate::resp::Value;

/// Nodes in one topology, at most; a cluster is at most about 1,000 (Redis Cluster specification).
const MAX_NODES: usize = 16_384;

/// Longest host name taken, in bytes: a name in the DNS has at most 253.
const MAX_HOST: usize = 255;

/// Why a reply is no topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopologyError {
    /// The node answered with an error; its text without `-`.
    Refused(String),
    /// The reply has another shape than documented; says which part.
    Malformed(&'static str),
    /// A slot or range is not within 0..=16383, or ends before it begins.
    SlotRange {
        /// First slot as told.
        first: i64,
        /// Last slot as told.
        last: i64,
    },
    /// A port is not within 0..=65535.
    Port(i64),
    /// Two ranges hold this slot.
    Overlap(u16),
    /// More nodes than any cluster has.
    TooManyNodes,
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopologyError::Refused(text) => write!(f, "{text}"),
            TopologyError::Malformed(part) => write!(f, "malformed CLUSTER SLOTS reply: {part}"),
            TopologyError::SlotRange { first, last } => {
                write!(f, "malformed CLUSTER SLOTS reply: slots {first}-{last}")
            }
            TopologyError::Port(port) => write!(f, "malformed CLUSTER SLOTS reply: port {port}"),
            TopologyError::Overlap(slot) => {
                write!(f, "malformed CLUSTER SLOTS reply: slot {slot} in two ranges")
            }
            TopologyError::TooManyNodes => write!(f, "more than {MAX_NODES} nodes in CLUSTER SLOTS reply"),
        }
    }
}

impl std::error::Error for TopologyError {}

/// Reads the reply of `CLUSTER SLOTS`. `asked` is the host (name or address, without port) that the question was
/// sent to; it stands in where the reply leaves the host out (`NULL` or empty).
///
/// Nodes whose host is `?` or whose port is 0 (reached by TLS only) are left out. Whatever stands behind the node id
/// is ignored. The ranges come back in the order of their slots.
pub fn parse_slots(reply: &Value, asked: &str) -> Result<RawTopology, TopologyError> {
    if let Some(text) = reply.as_error() {
        return Err(TopologyError::Refused(String::from_utf8_lossy(text).into_owned()));
    }
    let entries = reply.as_array().ok_or(TopologyError::Malformed("no array"))?;
    let mut ranges = entries.iter().map(|e| parse_range(e, asked)).collect::<Result<Vec<_>, _>>()?;
    sort::by_key(&mut ranges, |r| r.first);
    check_overlap(&ranges)?;
    check_nodes(&ranges)?;
    Ok(RawTopology { ranges })
}

fn check_overlap(ranges: &[RawRange]) -> Result<(), TopologyError> {
    for (before, after) in ranges.iter().zip(ranges.iter().skip(1)) {
        if after.first <= before.last {
            return Err(TopologyError::Overlap(after.first));
        }
    }
    Ok(())
}

fn check_nodes(ranges: &[RawRange]) -> Result<(), TopologyError> {
    let nodes = ranges.iter().flat_map(|r| r.primary.iter().chain(&r.replicas));
    let distinct: HashSet<(&str, u16)> = nodes.map(|n| (n.host.as_str(), n.port)).collect();
    if distinct.len() > MAX_NODES {
        return Err(TopologyError::TooManyNodes);
    }
    Ok(())
}

fn parse_range(entry: &Value, asked: &str) -> Result<RawRange, TopologyError> {
    let malformed = TopologyError::Malformed("range");
    let [first, last, primary, replicas @ ..] = entry.as_array().ok_or(malformed.clone())? else {
        return Err(malformed);
    };
    let (Some(first), Some(last)) = (first.as_int(), last.as_int()) else {
        return Err(TopologyError::Malformed("slot"));
    };
    let (first, last) = slots(first, last).ok_or(TopologyError::SlotRange { first, last })?;
    let primary = parse_node(primary, asked)?;
    let replicas =
        replicas.iter().filter_map(|r| parse_node(r, asked).transpose()).collect::<Result<_, _>>()?;
    Ok(RawRange { first, last, primary, replicas })
}

fn slots(first: i64, last: i64) -> Option<(u16, u16)> {
    let (first, last) = (u16::try_from(first).ok()?, u16::try_from(last).ok()?);
    (first <= last && usize::from(last) < SLOTS).then_some((first, last))
}

/// `None` for a node that cannot be reached by what the reply says.
fn parse_node(node: &Value, asked: &str) -> Result<Option<RawNode>, TopologyError> {
    let malformed = TopologyError::Malformed("node");
    let [host, port, rest @ ..] = node.as_array().ok_or(malformed.clone())? else {
        return Err(malformed);
    };
    let host = parse_host(host, asked)?;
    let port = port.as_int().ok_or(TopologyError::Malformed("port"))?;
    let port = u16::try_from(port).map_err(|_| TopologyError::Port(port))?;
    let id = rest.first().and_then(Value::as_bytes).and_then(printable).unwrap_or("");
    if host == "?" || port == 0 {
        return Ok(None);
    }
    Ok(Some(RawNode { host: host.to_owned(), port, id: id.to_owned() }))
}

fn parse_host<'a>(host: &'a Value, asked: &'a str) -> Result<&'a str, TopologyError> {
    if host.is_null() {
        return Ok(asked);
    }
    match host.as_bytes().and_then(printable) {
        Some("") => Ok(asked),
        Some(host) => Ok(host),
        None => Err(TopologyError::Malformed("host")),
    }
}

/// Graphic ASCII, not too long: what names, addresses and ids are made of.
fn printable(bytes: &[u8]) -> Option<&str> {
    let sound = bytes.len() <= MAX_HOST && bytes.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(bytes).ok().filter(|_| sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of Redis 7.0.15: three primaries, one replica of the first.
    const PLAIN: &str = "*3\r\n*3\r\n:0\r\n:5460\r\n*4\r\n$9\r\n127.0.0.1\r\n:7911\r\n$40\r\n\
        6c19f240f07341f2e88c009999cc276db9008691\r\n*0\r\n*3\r\n:5461\r\n:10922\r\n*4\r\n$9\r\n127.0.0.1\r\n:7912\r\n\
        $40\r\n85c551000ad18f47e279b159df2fcb350d75714f\r\n*0\r\n*3\r\n:10923\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n\
        :7913\r\n$40\r\nb40f1c69d9d52a72471d645251f822497339ab09\r\n*0\r\n";
    /// With `cluster-preferred-endpoint-type hostname`; the second primary has no `cluster-announce-hostname`.
    const HOSTNAME: &str = "*3\r\n*4\r\n:0\r\n:5460\r\n*4\r\n$20\r\nnode7911.example.com\r\n:7911\r\n$40\r\n\
        6c19f240f07341f2e88c009999cc276db9008691\r\n*2\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n*4\r\n$20\r\n\
        node7914.example.com\r\n:7914\r\n$40\r\n5a12f462c4ab120bf8323bf887ba04ae45b9b74c\r\n*2\r\n$2\r\nip\r\n$9\r\n\
        127.0.0.1\r\n*3\r\n:5461\r\n:10922\r\n*4\r\n$1\r\n?\r\n:7912\r\n$40\r\n\
        85c551000ad18f47e279b159df2fcb350d75714f\r\n*2\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n*3\r\n:10923\r\n:16383\r\n\
        *4\r\n$20\r\nnode7913.example.com\r\n:7913\r\n$40\r\nb40f1c69d9d52a72471d645251f822497339ab09\r\n*2\r\n$2\r\n\
        ip\r\n$9\r\n127.0.0.1\r\n";
    /// With `cluster-preferred-endpoint-type unknown-endpoint`, first range only.
    const UNKNOWN: &str = "*1\r\n*4\r\n:0\r\n:5460\r\n*4\r\n$-1\r\n:7911\r\n$40\r\n\
        6c19f240f07341f2e88c009999cc276db9008691\r\n*4\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n$8\r\nhostname\r\n$20\r\n\
        node7911.example.com\r\n*4\r\n$-1\r\n:7914\r\n$40\r\n5a12f462c4ab120bf8323bf887ba04ae45b9b74c\r\n*4\r\n$2\r\n\
        ip\r\n$9\r\n127.0.0.1\r\n$8\r\nhostname\r\n$20\r\nnode7914.example.com\r\n";

    fn parse(bytes: &str) -> Result<RawTopology, TopologyError> {
        let (value, len) = Value::parse(bytes.as_bytes()).unwrap().expect("a whole reply");
        assert_eq!(len, bytes.len());
        parse_slots(&value, "asked.host")
    }

    fn hosts(topology: &RawTopology) -> Vec<(String, u16)> {
        let nodes = topology.ranges.iter().flat_map(|r| r.primary.iter().chain(&r.replicas));
        nodes.map(|n| (n.host.clone(), n.port)).collect()
    }

    fn host(host: &str, port: u16) -> (String, u16) {
        (host.to_owned(), port)
    }

    #[test]
    fn a_plain_reply() {
        let topology = parse(PLAIN).unwrap();
        let ranges: Vec<_> = topology.ranges.iter().map(|r| (r.first, r.last, r.replicas.len())).collect();
        assert_eq!(ranges, [(0, 5460, 0), (5461, 10922, 0), (10923, 16383, 0)]);
        let first = topology.ranges[0].primary.clone().unwrap();
        assert_eq!((first.host.as_str(), first.port), ("127.0.0.1", 7911));
        assert_eq!(first.id, "6c19f240f07341f2e88c009999cc276db9008691");
        assert_eq!(topology.resolve(|h, p| format!("{h}:{p}").parse().ok()).covered(), SLOTS);
    }

    #[test]
    fn host_names_are_kept_and_an_unknown_one_is_skipped() {
        let topology = parse(HOSTNAME).unwrap();
        assert_eq!(
            hosts(&topology),
            [
                host("node7911.example.com", 7911),
                host("node7914.example.com", 7914),
                host("node7913.example.com", 7913)
            ]
        );
        assert_eq!(topology.ranges[1].primary, None);
        assert_eq!(topology.ranges[0].replicas.len(), 1);
    }

    #[test]
    fn a_null_or_empty_host_is_the_one_that_was_asked() {
        let topology = parse(UNKNOWN).unwrap();
        assert_eq!(hosts(&topology), [host("asked.host", 7911), host("asked.host", 7914)]);
        let empty = parse("*1\r\n*3\r\n:0\r\n:1\r\n*3\r\n$0\r\n\r\n:7001\r\n$0\r\n\r\n").unwrap();
        assert_eq!(hosts(&empty), [host("asked.host", 7001)]);
    }

    #[test]
    fn old_and_odd_servers() {
        // Redis 3 gives no node id; a port of 0 is a node that is reached by TLS only; ranges in any order.
        let topology = parse(
            "*2\r\n*3\r\n:9\r\n:9\r\n*2\r\n$3\r\n::1\r\n:7001\r\n\
             *4\r\n:0\r\n:8\r\n*2\r\n$1\r\nh\r\n:0\r\n*2\r\n$1\r\nh\r\n:65535\r\n",
        );
        let topology = topology.unwrap();
        assert_eq!(topology.ranges[0].primary, None);
        assert_eq!((topology.ranges[0].first, topology.ranges[1].first), (0, 9));
        assert_eq!(hosts(&topology), [host("h", 65535), host("::1", 7001)]);
        assert_eq!(parse("*0\r\n").unwrap().ranges, []);
    }

    #[test]
    fn malformed_replies_are_errors() {
        use TopologyError::*;
        let node = "*2\r\n$1\r\nh\r\n:1\r\n";
        let range = |first: i64, last: i64| format!("*3\r\n:{first}\r\n:{last}\r\n{node}");
        let cases: &[(String, TopologyError)] = &[
            ("+OK\r\n".into(), Malformed("no array")),
            ("$-1\r\n".into(), Malformed("no array")),
            (":1\r\n".into(), Malformed("no array")),
            ("*1\r\n:1\r\n".into(), Malformed("range")),
            ("*1\r\n*0\r\n".into(), Malformed("range")),
            ("*1\r\n*2\r\n:0\r\n:1\r\n".into(), Malformed("range")),
            (format!("*1\r\n*3\r\n$1\r\n0\r\n:1\r\n{node}"), Malformed("slot")),
            ("*1\r\n*3\r\n:0\r\n:1\r\n:2\r\n".into(), Malformed("node")),
            ("*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n$1\r\nh\r\n".into(), Malformed("node")),
            (format!("*1\r\n*4\r\n:0\r\n:1\r\n{node}*0\r\n"), Malformed("node")),
            ("*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n:1\r\n:1\r\n".into(), Malformed("host")),
            ("*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$3\r\na b\r\n:1\r\n".into(), Malformed("host")),
            ("*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\nh\r\n$1\r\n1\r\n".into(), Malformed("port")),
            ("*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\nh\r\n:65536\r\n".into(), Port(65536)),
            ("*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\nh\r\n:-1\r\n".into(), Port(-1)),
            (format!("*1\r\n{}", range(-1, 5)), SlotRange { first: -1, last: 5 }),
            (format!("*1\r\n{}", range(0, 16384)), SlotRange { first: 0, last: 16384 }),
            (format!("*1\r\n{}", range(6, 5)), SlotRange { first: 6, last: 5 }),
            (format!("*1\r\n{}", range(0, i64::MAX)), SlotRange { first: 0, last: i64::MAX }),
            (format!("*2\r\n{}{}", range(5, 9), range(0, 5)), Overlap(5)),
            (format!("*2\r\n{}{}", range(0, 0), range(0, 0)), Overlap(0)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(parse(bytes).as_ref(), Err(expected), "{bytes}");
        }
    }

    #[test]
    fn an_error_of_the_node_is_kept() {
        let error = parse("-ERR This instance has cluster support disabled\r\n").unwrap_err();
        assert_eq!(error.to_string(), "ERR This instance has cluster support disabled");
    }

    #[test]
    fn a_host_name_has_a_limit() {
        let long = "h".repeat(MAX_HOST + 1);
        let reply = format!("*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n${}\r\n{long}\r\n:1\r\n", long.len());
        assert_eq!(parse(&reply), Err(TopologyError::Malformed("host")));
    }
}
