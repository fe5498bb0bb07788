//! The replies of LATENCY sub-commands that several nodes gave, as one. Pure; `None` for a reply of another form.
//!
//! Forms are those of Redis 7.0 to 8.2 and Valkey 9.1.

use super::merge::Replies;
use crate::base::sort;
use crate::resp::{self, encode, Protocol, Value};

/// LATENCY HISTORY: pairs of a time in seconds and milliseconds, oldest first.
pub(super) fn history(replies: &Replies) -> Option<Vec<u8>> {
    let mut pairs = Vec::new();
    for reply in replies {
        for pair in resp::children(reply).ok()? {
            pairs.push((resp::integer(resp::children(pair).ok()?.next()?)?, pair));
        }
    }
    sort::by_key(&mut pairs, |(seconds, _)| *seconds);
    let mut out = Vec::new();
    encode::array(&mut out, pairs.len());
    pairs.iter().for_each(|(_, pair)| out.extend_from_slice(pair));
    Some(out)
}

/// LATENCY LATEST: an array per event of its name, when it last happened, how long it took then, how long it ever took
/// at most; Valkey adds the sum and the count. All numbers but the name.
pub(super) fn latest(replies: &Replies) -> Option<Vec<u8>> {
    let mut events: Vec<(&[u8], Vec<i64>)> = Vec::new();
    for reply in replies {
        for event in resp::children(reply).ok()? {
            let mut fields = resp::children(event).ok()?;
            let name = fields.next()?;
            let numbers = fields.map(resp::integer).collect::<Option<Vec<i64>>>()?;
            match events.iter_mut().find(|(n, _)| *n == name) {
                Some((_, known)) => add_event(known, &numbers)?,
                None => events.push((name, numbers)),
            }
        }
    }
    let mut out = Vec::new();
    encode::array(&mut out, events.len());
    for (name, numbers) in events {
        encode::array(&mut out, 1 + numbers.len());
        out.extend_from_slice(name);
        numbers.iter().for_each(|n| encode::integer(&mut out, *n));
    }
    Some(out)
}

/// Adds what another node says of the same event.
fn add_event(known: &mut [i64], other: &[i64]) -> Option<()> {
    if known.len() != other.len() || known.len() < 3 {
        return None;
    }
    if other[0] > known[0] {
        known[..2].copy_from_slice(&other[..2]);
    }
    known[2] = known[2].max(other[2]);
    known[3..].iter_mut().zip(&other[3..]).for_each(|(a, b)| *a = a.saturating_add(*b));
    Some(())
}

/// What a node says of one command: how many calls, and for some bounds in microseconds, in their order, how many took no
/// longer.
type Histogram = (i64, Vec<(i64, i64)>);

/// LATENCY HISTOGRAM: by command its calls and their cumulative distribution.
pub(super) fn histograms(replies: &Replies, protocol: Protocol) -> Option<Vec<u8>> {
    let mut commands: Vec<(Vec<u8>, Vec<Histogram>)> = Vec::new();
    for reply in replies {
        let (value, _) = Value::parse(reply).ok()??;
        for (name, histogram) in entries(&value)? {
            let (name, histogram) = (name.as_bytes()?.to_vec(), read_histogram(histogram)?);
            match commands.iter_mut().find(|(n, _)| *n == name) {
                Some((_, all)) => all.push(histogram),
                None => commands.push((name, vec![histogram])),
            }
        }
    }
    let mut out = Vec::new();
    encode::map(&mut out, commands.len(), protocol);
    for (name, all) in commands {
        encode::bulk(&mut out, &name);
        write_histogram(&mut out, &all, protocol);
    }
    Some(out)
}

fn read_histogram(value: &Value) -> Option<Histogram> {
    let calls = value.field(b"calls")?.as_int()?;
    let buckets = entries(value.field(b"histogram_usec")?)?;
    let counts = buckets.iter().map(|(bound, n)| Some((bound.as_int()?, n.as_int()?)));
    let mut counts = counts.collect::<Option<Vec<_>>>()?;
    sort::by_key(&mut counts, |(bound, _)| *bound);
    Some((calls, counts))
}

/// Each node leaves out bounds at which its count does not grow, so the count at a bound is that at its last one.
fn write_histogram(out: &mut Vec<u8>, all: &[Histogram], protocol: Protocol) {
    let mut bounds: Vec<i64> =
        all.iter().flat_map(|(_, counts)| counts.iter().map(|(bound, _)| *bound)).collect();
    sort::by_key(&mut bounds, |bound| *bound);
    bounds.dedup();
    encode::map(out, 2, protocol);
    encode::bulk(out, b"calls");
    encode::integer(out, all.iter().map(|(calls, _)| calls).sum());
    encode::bulk(out, b"histogram_usec");
    encode::map(out, bounds.len(), protocol);
    for bound in bounds {
        let up_to =
            |(_, counts): &Histogram| counts.iter().rfind(|(at, _)| *at <= bound).map_or(0, |(_, n)| *n);
        encode::integer(out, bound);
        encode::integer(out, all.iter().map(up_to).sum());
    }
}

/// The entries of a map, or of the flat array that RESP2 has for one.
fn entries(value: &Value) -> Option<Vec<(&Value, &Value)>> {
    match value {
        Value::Map(entries) => Some(entries.iter().map(|(k, v)| (k, v)).collect()),
        Value::Array(flat) if flat.len() % 2 == 0 => {
            Some(flat.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(texts: &[&str]) -> Vec<Box<[u8]>> {
        texts.iter().map(|t| t.replace('|', "\r\n").into_bytes().into()).collect()
    }

    fn shown(reply: Option<Vec<u8>>) -> String {
        String::from_utf8_lossy(&reply.expect("a merged reply")).replace("\r\n", "|")
    }

    #[test]
    fn history_is_in_the_order_of_time() {
        let two = replies(&["*2|*2|:10|:1|*2|:30|:2|", "*1|*2|:20|:3|"]);
        assert_eq!(shown(history(&two)), "*3|*2|:10|:1|*2|:20|:3|*2|:30|:2|");
    }

    #[test]
    fn an_event_of_several_nodes_is_listed_once() {
        let two = replies(&["*1|*4|$1|e|:10|:5|:90|", "*2|*4|$1|f|:1|:1|:1|*4|$1|e|:20|:7|:8|"]);
        assert_eq!(shown(latest(&two)), "*2|*4|$1|e|:20|:7|:90|*4|$1|f|:1|:1|:1|");
        let valkey = replies(&["*1|*6|$1|e|:10|:5|:90|:95|:2|", "*1|*6|$1|e|:9|:7|:8|:7|:1|"]);
        assert_eq!(shown(latest(&valkey)), "*1|*6|$1|e|:10|:5|:90|:102|:3|");
        assert_eq!(latest(&replies(&["*1|*2|$1|e|:1|", "*1|*2|$1|e|:1|"])), None);
    }

    #[test]
    fn distributions_add_up_at_every_bound() {
        let two = replies(&[
            "*2|$3|get|*4|$5|calls|:5|$14|histogram_usec|*4|:1|:2|:4|:5|",
            "*2|$3|get|*4|$5|calls|:3|$14|histogram_usec|*2|:2|:3|",
        ]);
        assert_eq!(
            shown(histograms(&two, Protocol::Resp2)),
            "*2|$3|get|*4|$5|calls|:8|$14|histogram_usec|*6|:1|:2|:2|:5|:4|:8|"
        );
        let one = replies(&["%1|$3|get|%2|$5|calls|:1|$14|histogram_usec|%1|:1|:1|", "%0|"]);
        assert_eq!(
            shown(histograms(&one, Protocol::Resp3)),
            "%1|$3|get|%2|$5|calls|:1|$14|histogram_usec|%1|:1|:1|"
        );
        assert_eq!(histograms(&replies(&["*1|:1|"]), Protocol::Resp2), None);
    }
}
