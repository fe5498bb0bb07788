//! A client as one line of CLIENT LIST, in the form of a Redis 7.2 server.

use std::fmt::Write;

use crate::base::time::Time;
use crate::command;
use crate::proxy::client::{Client, NO_COMMAND};
use crate::proxy::pubsub::Scope;

/// Size of a server's fixed output buffer.
const FIXED_OUTPUT: usize = 16 << 10;

/// The line with its end. What the proxy does not measure is 0: unread bytes of a request stay with its caller.
pub(super) fn line(c: &Client, now: Time) -> Vec<u8> {
    let (age, idle) = (now.since(c.since).as_secs(), now.since(c.heard).as_secs());
    let labels = c.labels.as_deref();
    let label = |of: fn(&crate::proxy::client::Labels) -> &Vec<u8>| {
        labels.map(|l| String::from_utf8_lossy(of(l)).into_owned()).unwrap_or_default()
    };
    let backlog = c.active.as_ref().map_or(0, |a| a.backlog());
    // Of a server's output what does not fit its fixed buffer is in a list; who looks for slow clients looks there.
    let (fixed, listed) = (backlog.min(FIXED_OUTPUT), backlog.saturating_sub(FIXED_OUTPUT));
    let memory = std::mem::size_of::<Client>() + c.active.as_ref().map_or(0, |a| a.memory());
    let command = match c.last_command {
        NO_COMMAND => "NULL".to_owned(),
        id => command::full_name(id),
    };
    let multi = c.multi.as_ref().map_or(-1, |m| i64::from(m.commands()));
    let subscribed = |scope| c.subscriber.as_deref().map_or(0, |s| s.len(scope));
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "id={} addr={} laddr={} fd={} name={} age={age} idle={idle} flags={} db={} sub={} psub={} ssub={} multi={multi} qbuf=0 \
         qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl={fixed} oll={} omem={listed} tot-mem={memory} events={} \
         cmd={command} user=default redir=-1 resp={} lib-name={} lib-ver={}",
        c.id,
        c.peer,
        c.local,
        c.descriptor,
        label(|l| &l.name),
        flags(c),
        c.db,
        subscribed(Scope::Channel),
        subscribed(Scope::Pattern),
        subscribed(Scope::Shard),
        listed.div_ceil(FIXED_OUTPUT),
        if backlog > 0 { "rw" } else { "r" },
        if c.resp3 { 3 } else { 2 },
        label(|l| &l.lib_name),
        label(|l| &l.lib_ver),
    );
    text.into_bytes()
}

/// A letter for each thing that is special, `N` for nothing.
fn flags(c: &Client) -> String {
    let all = [
        (c.monitor, 'O'),
        (c.subscriber.is_some(), 'P'),
        (c.multi.is_some(), 'x'),
        (c.held || c.is_blocked(), 'b'),
        (c.closing, 'c'),
        (c.readonly, 'r'),
    ];
    let set: String = all.iter().filter(|(on, _)| *on).map(|(_, letter)| *letter).collect();
    if set.is_empty() {
        "N".into()
    } else {
        set
    }
}
