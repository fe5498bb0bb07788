//! How the replies of several nodes become one, for what is not particular to a command's units. Pure: replies in,
//! a reply or its parts out; `None` where a reply has not the form that the command's replies have.

use super::aggregate;
use crate::base::random::Random;
use crate::base::sort;
use crate::resp::{self, encode, Protocol};

/// The replies of all nodes, in the order in which the nodes were asked; some functions here take no errors.
pub(super) type Replies = [Box<[u8]>];

/// Which reply stands for all when some are errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// This one, as it is: all nodes gave it, or one like it.
    Same(usize),
    /// This node gave an error and others did not, or gave another one.
    Of(usize),
}

/// Whether there is an error among the replies; one that is `tolerated` only counts when no node did better.
pub(super) fn failure(replies: &Replies, tolerated: impl Fn(&[u8]) -> bool) -> Option<Failure> {
    if let Some(i) = replies.iter().position(|r| is_error(r) && !tolerated(r)) {
        let same = replies.iter().all(|r| *r == replies[i]);
        return Some(if same { Failure::Same(i) } else { Failure::Of(i) });
    }
    let none_did_better = !replies.is_empty() && replies.iter().all(|r| is_error(r));
    none_did_better.then_some(Failure::Same(0))
}

pub(super) fn is_error(reply: &[u8]) -> bool {
    matches!(reply.first(), Some(b'-' | b'!'))
}

/// The sum of integers.
pub(super) fn sum(replies: &Replies) -> Option<Vec<u8>> {
    let mut sum = 0i64;
    for reply in replies {
        sum = sum.saturating_add(resp::integer(reply)?);
    }
    let mut out = Vec::new();
    encode::integer(&mut out, sum);
    Some(out)
}

/// For each element: 1 when it is 1 in all replies, or `known` anyway.
pub(super) fn all(replies: &Replies, known: &[bool]) -> Option<Vec<u8>> {
    let mut all = vec![true; known.len()];
    for reply in replies {
        let (b'*', count, _) = aggregate(reply)? else { return None };
        if count != known.len() {
            return None;
        }
        for (all, element) in all.iter_mut().zip(resp::children(reply).ok()?) {
            *all &= resp::integer(element)? != 0;
        }
    }
    let mut out = Vec::new();
    encode::array(&mut out, known.len());
    all.iter().zip(known).for_each(|(all, known)| encode::integer(&mut out, i64::from(*all || *known)));
    Some(out)
}

/// A reply that is no null, if there is one; each of them as likely as the others.
pub(super) fn any_not_null(replies: &Replies, random: &mut Random) -> Option<Vec<u8>> {
    let is_null = |r: &[u8]| r.starts_with(b"_") || r.starts_with(b"$-1");
    let found: Vec<&Box<[u8]>> = replies.iter().filter(|r| !is_null(r)).collect();
    let chosen = found.get(random.below(found.len() as u64) as usize).copied().or(replies.first());
    chosen.map(|r| r.to_vec())
}

/// SLOWLOG GET: the latest `limit` entries of all nodes. An entry is an array of an id and a time in seconds, and more.
pub(super) fn log_entries(replies: &Replies, limit: usize) -> Option<Vec<u8>> {
    let mut entries = Vec::new();
    for reply in replies {
        for entry in resp::children(reply).ok()? {
            let mut fields = resp::children(entry).ok()?;
            let id = resp::integer(fields.next()?)?;
            entries.push((resp::integer(fields.next()?)?, id, entry));
        }
    }
    // Stable: what is of one second stays in the order of the nodes, each with its latest entry first.
    sort::by_key(&mut entries, |(seconds, _, _)| std::cmp::Reverse(*seconds));
    entries.truncate(limit);
    let mut out = Vec::new();
    encode::array(&mut out, entries.len());
    entries.iter().for_each(|(_, _, entry)| out.extend_from_slice(entry));
    Some(out)
}

/// LATENCY DOCTOR, LATENCY GRAPH: the text of each node behind its name; nodes that gave an error are left out, and one
/// text that all nodes gave stands alone.
pub(super) fn texts<'a>(
    replies: &Replies,
    name: impl Fn(usize) -> &'a str,
    protocol: Protocol,
) -> Option<Vec<u8>> {
    if replies.windows(2).all(|w| w[0] == w[1]) {
        return replies.first().map(|r| r.to_vec());
    }
    let mut text = Vec::new();
    for (i, reply) in replies.iter().enumerate().filter(|(_, r)| !is_error(r)) {
        let (value, _) = resp::Value::parse(reply).ok()??;
        if !text.is_empty() {
            text.push(b'\n');
        }
        text.extend_from_slice(format!("node {}:\n", name(i)).as_bytes());
        text.extend_from_slice(value.as_bytes()?);
        if text.last() != Some(&b'\n') {
            text.push(b'\n');
        }
    }
    let mut out = Vec::new();
    encode::verbatim(&mut out, &text, protocol);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(texts: &[&str]) -> Vec<Box<[u8]>> {
        texts.iter().map(|t| t.replace('|', "\r\n").into_bytes().into()).collect()
    }

    fn shown(reply: Option<Vec<u8>>) -> Option<String> {
        reply.map(|r| String::from_utf8_lossy(&r).replace("\r\n", "|"))
    }

    #[test]
    fn an_error_of_all_is_told_from_one_of_some() {
        let never = |_: &[u8]| false;
        assert_eq!(failure(&replies(&["+OK|", "+OK|"]), never), None);
        assert_eq!(failure(&replies(&["-ERR x|", "-ERR x|"]), never), Some(Failure::Same(0)));
        assert_eq!(failure(&replies(&["+OK|", "-ERR x|"]), never), Some(Failure::Of(1)));
        assert_eq!(failure(&replies(&["-ERR x|", "-ERR y|"]), never), Some(Failure::Of(0)));
    }

    #[test]
    fn tolerated_errors_count_only_when_no_node_did_better() {
        let idle = |r: &[u8]| r.starts_with(b"-NOTBUSY");
        assert_eq!(failure(&replies(&["-NOTBUSY x|", "+OK|"]), idle), None);
        assert_eq!(failure(&replies(&["-NOTBUSY x|", "-NOTBUSY y|"]), idle), Some(Failure::Same(0)));
        assert_eq!(failure(&replies(&["-NOTBUSY x|", "-UNKILLABLE|", "+OK|"]), idle), Some(Failure::Of(1)));
    }

    #[test]
    fn sums_and_conjunctions() {
        assert_eq!(shown(sum(&replies(&[":2|", ":-5|"]))).as_deref(), Some(":-3|"));
        assert_eq!(sum(&replies(&[":2|", "+OK|"])), None);
        let two = replies(&["*3|:1|:1|:0|", "*3|:1|:0|:0|"]);
        assert_eq!(shown(all(&two, &[false, false, true])).as_deref(), Some("*3|:1|:0|:1|"));
        assert_eq!(all(&two, &[false]), None);
    }

    #[test]
    fn every_reply_that_is_no_null_is_chosen_now_and_then() {
        let mut random = Random::new(5);
        let some = replies(&["$-1|", "$1|a|", "_|", "$1|b|"]);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            seen.insert(shown(any_not_null(&some, &mut random)).unwrap());
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["$1|a|", "$1|b|"]);
        assert_eq!(shown(any_not_null(&replies(&["_|", "_|"]), &mut random)).as_deref(), Some("_|"));
    }

    #[test]
    fn log_entries_are_the_latest_of_all_nodes() {
        let two = replies(&["*2|*2|:9|:500|*2|:8|:300|", "*2|*2|:2|:400|*2|:1|:300|"]);
        assert_eq!(shown(log_entries(&two, 3)).as_deref(), Some("*3|*2|:9|:500|*2|:2|:400|*2|:8|:300|"));
        assert_eq!(log_entries(&replies(&["*1|:1|"]), 3), None);
    }

    #[test]
    fn texts_stand_behind_the_names_of_their_nodes() {
        let names = |i: usize| ["a:1", "b:2"][i];
        let two = replies(&["$2|hi|", "$3|ho\n|"]);
        assert_eq!(
            shown(texts(&two, names, Protocol::Resp2)).as_deref(),
            Some("$27|node a:1:\nhi\n\nnode b:2:\nho\n|")
        );
        let same = replies(&["=6|txt:hi|", "=6|txt:hi|"]);
        assert_eq!(shown(texts(&same, names, Protocol::Resp3)).as_deref(), Some("=6|txt:hi|"));
        let one = replies(&["-ERR No samples|", "=6|txt:ho|"]);
        assert_eq!(shown(texts(&one, names, Protocol::Resp3)).as_deref(), Some("=17|txt:node b:2:\nho\n|"));
    }
}
