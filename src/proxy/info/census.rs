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
    /// The modules of the last one.
    modules: Vec<String>,
}

/// The keys of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Keys {
    pub keys: i64,
    /// Those that expire.
    pub expires: i64,
    /// Their mean time to live in milliseconds.
    pub ttl: i64,
    /// Those with parts that expire by themselves.
    pub volatile: i64,
}

impl Census {
    pub(super) fn new(chosen: Chosen, asked: usize, local: Option<SocketAddr>) -> Self {
        Census { chosen, local, asked, nodes: Vec::new(), modules: Vec::new() }
    }

    /// A primary has answered, or was lost; what is not the text of an INFO counts as no answer.
    pub(in crate::proxy) fn add(&mut self, reply: &[u8]) {
        let Ok(Some((value, _))) = Value::parse(reply) else { return };
        let Some(text) = value.as_str() else { return };
        let field = |line: &str| line.split_once(':').map(|(k, v)| (k.to_owned(), v.to_owned()));
        self.nodes.push(text.lines().filter_map(field).collect());
        // It is the only field that stands there more than once.
        self.modules = text.lines().filter_map(|l| l.strip_prefix("module:")).map(str::to_owned).collect();
    }

    /// Whether every primary that there is has answered.
    pub(super) fn is_complete(&self) -> bool {
        self.asked > 0 && self.nodes.len() >= self.asked
    }

    /// What a primary says of each of its modules; nothing unless all have answered.
    pub(super) fn modules(&self) -> &[String] {
        if self.is_complete() {
            &self.modules
        } else {
            &[]
        }
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

    /// How many keys of which sizes there are, by field (`db0_distrib_lists_items`) and lower bound of size. Nothing unless
    /// all primaries have answered.
    pub(super) fn distributions(&self) -> Vec<(&str, Vec<(&str, u64)>)> {
        let mut all = Vec::<(&str, Vec<(&str, u64)>)>::new();
        let fields = self.nodes.iter().filter(|_| self.is_complete()).flatten();
        for (name, text) in fields.filter(|(name, _)| name.contains("_distrib_")) {
            let place = all.iter().position(|(known, _)| known == name).unwrap_or(all.len());
            if place == all.len() {
                all.push((name, Vec::new()));
            }
            let sums = &mut all[place].1;
            for (size, count) in text.split(',').filter_map(|pair| pair.split_once('=')) {
                let count: u64 = count.parse().unwrap_or(0);
                match sums.iter_mut().find(|(known, _)| *known == size) {
                    Some((_, sum)) => *sum = sum.saturating_add(count),
                    None => sums.push((size, count)),
                }
            }
        }
        all.iter_mut().for_each(|(_, sums)| sort::by_key(sums, |(size, _)| bytes_of(size)));
        sort::by_key(&mut all, |(name, _)| *name);
        all
    }

    /// Of the keys of a database.
    pub(super) fn keys(&self, db: u16) -> Option<Keys> {
        let db = format!("db{db}");
        self.is_complete().then(|| {
            let all: Vec<_> = self.nodes.iter().filter_map(|node| keys_of(node.get(&db)?)).collect();
            let lives: i64 = all.iter().map(|k| k.expires.saturating_mul(k.ttl)).sum();
            let mut sum = Keys::default();
            for k in &all {
                sum.keys += k.keys;
                sum.expires += k.expires;
                sum.volatile += k.volatile;
            }
            Keys { ttl: lives.checked_div(sum.expires).unwrap_or(0), ..sum }
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
fn keys_of(text: &str) -> Option<Keys> {
    let of = |name: &str| text.split(',').find_map(|f| f.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
    let volatile = of("subexpiry").or_else(|| of("keys_with_volatile_items"));
    Some(Keys {
        keys: of("keys")?,
        expires: of("expires")?,
        ttl: of("avg_ttl").unwrap_or(0),
        volatile: volatile.unwrap_or(0),
    })
}

/// `512`, `4K`, `1M` as a number, to sort by.
fn bytes_of(size: &str) -> u64 {
    let unit = |letter| "KMGTPE".find(letter).map(|place| 10 * (place as u32 + 1));
    let shift = size.chars().last().and_then(unit);
    let digits = size.trim_end_matches(|c: char| !c.is_ascii_digit());
    digits.parse::<u64>().unwrap_or(0).checked_shl(shift.unwrap_or(0)).unwrap_or(u64::MAX)
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
            "used_memory:5\r\nstatus:err\r\ndb0:keys=4,expires=1,avg_ttl=400,subexpiry=2\r\ndb3:keys=1,expires=0\r\n",
        ]);
        assert_eq!(
            (c.sum("used_memory"), c.max("used_memory"), c.min("used_memory")),
            (Some(15), Some(10), Some(5))
        );
        assert_eq!(c.unlike("status", "ok").as_deref(), Some("err"));
        assert_eq!(c.keys(0), Some(Keys { keys: 7, expires: 3, ttl: 200, volatile: 2 }));
        assert_eq!(c.keys(3), Some(Keys { keys: 1, ..Keys::default() }));
        assert_eq!(c.databases(), [0, 3]);
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
        assert_eq!(census(&["# Keyspace\r\n", "# Keyspace\r\n"]).keys(0), Some(Keys::default()));
    }

    #[test]
    fn sizes_of_all_primaries_become_one() {
        let c =
            census(&["db0_distrib_lists_items:0=1,2=1,1M=1\r\n", "db0_distrib_lists_items:2=2,8=1,1K=1\r\n"]);
        let all = c.distributions();
        let text: Vec<_> = all[0].1.iter().map(|(s, n)| format!("{s}={n}")).collect();
        assert_eq!((all.len(), text.join(",").as_str()), (1, "0=1,2=3,8=1,1K=1,1M=1"));
        assert!(census(&["db0_distrib_lists_items:2=1\r\n"]).distributions().is_empty());
    }
}
