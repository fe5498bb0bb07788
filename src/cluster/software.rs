//! What the nodes run: Redis, or something that came from it, as `INFO server` tells.

use std::fmt;

use super::node_info::field;

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

    /// The first number of the version if it is Valkey.
    pub fn valkey(&self) -> Option<u32> {
        let (_, version) = self.other.as_ref().filter(|(name, _)| name == "valkey")?;
        version.split('.').next()?.parse().ok()
    }
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
        assert_eq!((redis.valkey(), redis.to_string().as_str()), (None, "7.0.15"));
    }

    #[test]
    fn valkey_has_a_version_of_its_own() {
        let text = b"# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n";
        let valkey = Software::parse(text);
        assert_eq!((valkey.name(), valkey.version(), valkey.redis_version()), ("valkey", "9.1.2", "7.2.4"));
        assert_eq!((valkey.valkey(), valkey.to_string().as_str()), (Some(9), "valkey 9.1.2"));
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
