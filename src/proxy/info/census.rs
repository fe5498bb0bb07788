//! The INFO of all primaries, as one.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::Chosen;
use crate::base::sort;
use crate::resp::Value;

/// What INFO was asked for, and what the primaries have said so far.
#[derive(Debug)]
pub struct Census {
    pub(super) chosen: Chosen,
    /// Where the client reached the proxy.
    pub(super) local: Option<SocketAddr>,
    /// Primaries asked.
    asked: usize,
    /// Fields of each primary that has answered.
    nodes: Vec<HashMap<String, String>>,
}

impl Census {
    pub(super) fn new(chosen: Chosen, asked: usize, local: Option<SocketAddr>) -> Self {
        Census { chosen, local, asked, nodes: Vec::new() }
    }

    /// A primary has answered, or was lost; what is not the text of an INFO counts as no answer.
    pub(in crate::proxy) fn add(&mut self, reply: &[u8]) {
        let Ok(Some((value, _))) = Value::parse(reply) else { return };
        let Some(text) = value.as_str() else { return };
        let field = |line: &str| line.split_once(':').map(|(k, v)| (k.to_owned(), v.to_owned()));
        self.nodes.push(text.lines().filter_map(field).collect());
    }

    /// Whether every primary that there is has answered.
    pub(super) fn is_complete(&self) -> bool {
        self.asked > 0 && self.nodes.len() >= self.asked
    }

    /// The sum of a field; `None` unless all primaries say something of it.
    pub(super) fn sum(&self, name: &str) -> Option<i64> {
        self.numbers(name)?.into_iter().reduce(i64::saturating_add)
    }

    /// The largest value of a field.
    pub(super) fn max(&self, name: &str) -> Option<i64> {
        self.numbers(name)?.into_iter().max()
    }

    /// The smallest value of a field.
    pub(super) fn min(&self, name: &str) -> Option<i64> {
        self.numbers(name)?.into_iter().min()
    }

    /// A text field: that of the first primary that differs from `usual`, or `usual`.
    pub(super) fn unlike(&self, name: &str, usual: &str) -> Option<String> {
        let all = self.texts(name)?;
        Some(all.into_iter().find(|text| *text != usual).unwrap_or(usual).to_owned())
    }

    /// The databases that have keys on some primary, in their order.
    pub(super) fn databases(&self) -> Vec<u16> {
        let names = self.nodes.iter().flat_map(|node| node.keys());
        let mut all: Vec<u16> = names.filter_map(|name| name.strip_prefix("db")?.parse().ok()).collect();
        sort::by_key(&mut all, |db| *db);
        all.dedup();
        all
    }

    /// Keys of a database, those that expire, and their mean time to live in milliseconds.
    pub(super) fn keys(&self, db: u16) -> Option<(i64, i64, i64)> {
        let db = format!("db{db}");
        self.is_complete().then(|| {
            let all: Vec<_> = self.nodes.iter().filter_map(|node| keys_of(node.get(&db)?)).collect();
            let (keys, expires) =
                all.iter().fold((0, 0), |(k, e), (keys, expires, _)| (k + keys, e + expires));
            let lives: i64 = all.iter().map(|(_, expires, ttl)| expires.saturating_mul(*ttl)).sum();
            (keys, expires, lives.checked_div(expires).unwrap_or(0))
        })
    }

    fn texts(&self, name: &str) -> Option<Vec<&str>> {
        let of = |node: &'_ HashMap<String, String>| node.contains_key(name);
        let all = self.is_complete() && self.nodes.iter().all(of);
        all.then(|| self.nodes.iter().filter_map(|node| node.get(name)).map(String::as_str).collect())
    }

    fn numbers(&self, name: &str) -> Option<Vec<i64>> {
        self.texts(name)?.into_iter().map(|text| text.parse().ok()).collect()
    }
}

/// `keys=5,expires=2,avg_ttl=1000`, with whatever newer servers add.
fn keys_of(text: &str) -> Option<(i64, i64, i64)> {
    let of = |name: &str| text.split(',').find_map(|f| f.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
    Some((of("keys")?, of("expires")?, of("avg_ttl").unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(texts: &[&str]) -> Census {
        let mut census = Census::new(0, 2, None);
        for text in texts {
            census.add(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
        }
        census
    }

    #[test]
    fn figures_of_all_primaries_become_one() {
        let c = census(&[
            "# A\r\nused_memory:10\r\nstatus:ok\r\ndb0:keys=3,expires=2,avg_ttl=100\r\n",
            "used_memory:5\r\nstatus:err\r\ndb0:keys=4,expires=1,avg_ttl=400,subexpiry=0\r\ndb3:keys=1,expires=0\r\n",
        ]);
        assert_eq!(
            (c.sum("used_memory"), c.max("used_memory"), c.min("used_memory")),
            (Some(15), Some(10), Some(5))
        );
        assert_eq!(c.unlike("status", "ok").as_deref(), Some("err"));
        assert_eq!(c.keys(0), Some((7, 3, 200)));
        assert_eq!((c.keys(3), c.databases()), (Some((1, 0, 0)), [0, 3].into()));
        assert_eq!((c.sum("status"), c.sum("nosuch")), (None, None));
    }

    #[test]
    fn a_primary_that_says_nothing_leaves_the_figures_out() {
        let mut c = census(&["used_memory:10\r\ndb0:keys=3,expires=0,avg_ttl=0\r\n"]);
        c.add(b"-ERR node lost\r\n");
        assert_eq!((c.sum("used_memory"), c.keys(0)), (None, None));
        assert_eq!(Census::new(0, 0, None).keys(0), None);
    }

    #[test]
    fn empty_nodes_have_no_keys() {
        assert_eq!(census(&["# Keyspace\r\n", "# Keyspace\r\n"]).keys(0), Some((0, 0, 0)));
    }
}
