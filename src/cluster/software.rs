//! What the nodes run: Redis, or something that came from it, as `INFO server` tells.

use std::fmt;

use super::node_info::field;
use crate::command::Since;

/// Longest name or version that is believed.
const MAX_LEN: usize = 64;

/// A server's name and versions; all empty when not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Software {
    /// `redis_version`: of other servers than Redis that of the Redis they are compatible with.
    redis_version: String,
    /// `server_name` and the version of that name, of other servers than Redis.
    other: Option<(String, String)>,
}

impl Software {
    /// Reads an `INFO server` text.
    pub fn parse(text: &[u8]) -> Self {
        let word = |name: &str| field(text, name).filter(|v| is_word(v)).map(str::to_owned);
        let Some(redis_version) = word("redis_version") else { return Software::default() };
        let name = word("server_name").filter(|n| n != "redis");
        let other = name.and_then(|n| word(&format!("{n}_version")).map(|version| (n, version)));
        Software { redis_version, other }
    }

    /// Redis of this version.
    pub fn redis(version: &str) -> Self {
        Software { redis_version: version.to_owned(), other: None }
    }

    /// Whether a node has told.
    pub fn is_known(&self) -> bool {
        !self.redis_version.is_empty()
    }

    /// What it calls itself.
    pub fn name(&self) -> &str {
        self.other.as_ref().map_or("redis", |(name, _)| name)
    }

    /// The version of that name.
    pub fn version(&self) -> &str {
        self.other.as_ref().map_or(&self.redis_version, |(_, version)| version)
    }

    /// The version of Redis that clients may count on.
    pub fn redis_version(&self) -> &str {
        &self.redis_version
    }

    /// Whether it is of a version that does what began with `since`. What is neither Redis nor Valkey counts as the Redis
    /// that it is compatible with.
    pub fn has(&self, since: Since) -> bool {
        let is_valkey = self.name() == "valkey";
        let version = if is_valkey { self.version() } else { self.redis_version() };
        since.includes(is_valkey, numbers(version))
    }
}

/// The first two numbers of a version; one that is missing, or too large, is 0.
fn numbers(version: &str) -> (u8, u8) {
    let mut numbers = version.split('.').map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Redis is called by its version alone.
impl fmt::Display for Software {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.other {
            Some((name, version)) => write!(f, "{name} {version}"),
            None => f.write_str(&self.redis_version),
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_LEN && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_is_known_by_its_version() {
        let redis = Software::parse(b"# Server\r\nredis_version:7.0.15\r\nos:Linux\r\n");
        assert_eq!(redis, Software::redis("7.0.15"));
        assert_eq!((redis.name(), redis.version(), redis.redis_version()), ("redis", "7.0.15", "7.0.15"));
        assert_eq!(redis.to_string(), "7.0.15");
    }

    #[test]
    fn valkey_has_a_version_of_its_own() {
        let text = b"# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n";
        let valkey = Software::parse(text);
        assert_eq!((valkey.name(), valkey.version(), valkey.redis_version()), ("valkey", "9.1.2", "7.2.4"));
        assert_eq!(valkey.to_string(), "valkey 9.1.2");
    }

    #[test]
    fn what_began_with_a_version_is_there_from_then_on() {
        let valkey = |version| {
            let text = format!("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:{version}\r\n");
            Software::parse(text.as_bytes())
        };
        let since = Since::both((7, 4), (8, 1));
        let all = [Software::redis("7.2.6"), Software::redis("7.4.0"), Software::redis("8.0.1")];
        assert_eq!(all.map(|s| s.has(since)), [false, true, true]);
        assert_eq!(
            ["7.2.9", "8.0.1", "8.1.0", "9.0.0"].map(|v| valkey(v).has(since)),
            [false, false, true, true]
        );
        assert!(
            !valkey("9.1.2").has(Since::redis(7, 0)) && !Software::redis("8.2.0").has(Since::valkey(7, 2))
        );
        assert!(Software::redis("255.255.255").has(since) && Software::redis("x").has(Since::ALWAYS));
    }

    #[test]
    fn what_has_another_name_counts_as_the_redis_it_is_compatible_with() {
        let other = Software::parse(b"redis_version:7.4.0\r\nserver_name:other\r\nother_version:1.2\r\n");
        assert!(other.has(Since::redis(7, 4)) && !other.has(Since::both((8, 0), (1, 0))));
    }

    #[test]
    fn a_name_without_a_version_counts_as_redis() {
        for text in [
            &b"redis_version:7.2.4\r\nserver_name:valkey\r\n"[..],
            b"redis_version:7.2.4\nserver_name:redis\n",
        ] {
            assert_eq!(Software::parse(text), Software::redis("7.2.4"));
        }
    }

    #[test]
    fn what_makes_no_sense_is_not_known() {
        let long = [&b"redis_version:"[..], &[b'7'; 65]].concat();
        for text in [&b"redis_version:\r\n"[..], b"# Server\r\n", b"redis_version:7 0\r\n", &long] {
            assert!(!Software::parse(text).is_known());
        }
    }
}
