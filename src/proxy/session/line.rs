//! A client as one line of CLIENT LIST: a table of fields, of which those are shown that the nodes' software shows.

use std::fmt::Write;
use std::mem;

use crate::base::time::Time;
use crate::cluster::Software;
use crate::command::{self, Since};
use crate::proxy::client::{Client, Labels, NO_COMMAND};
use crate::proxy::pubsub::Scope;

/// Size of a server's fixed output buffer.
const FIXED_OUTPUT: usize = 16 << 10;

/// A field: its name, who shows it, and what writes its value.
type Field = (&'static str, Since, fn(&Seen<'_>, &mut String));

/// All fields, in a server's order. What the proxy does not measure is 0: unread bytes of a request stay with its caller.
const FIELDS: [Field; 36] = [
    ("id", Since::ALWAYS, |s, out| write(out, s.c.id)),
    ("addr", Since::ALWAYS, |s, out| write(out, s.c.peer)),
    ("laddr", Since::ALWAYS, |s, out| write(out, s.c.local)),
    ("fd", Since::ALWAYS, |s, out| write(out, s.c.descriptor)),
    ("name", Since::ALWAYS, |s, out| out.push_str(&s.label(|l| &l.name))),
    ("age", Since::ALWAYS, |s, out| write(out, s.now.since(s.c.since).as_secs())),
    ("idle", Since::ALWAYS, |s, out| write(out, s.now.since(s.c.heard).as_secs())),
    ("flags", Since::ALWAYS, |s, out| out.push_str(&flags(s.c))),
    ("capa", Since::valkey(8, 1), |s, out| out.push_str(if redirects(s.c) { "r" } else { "" })),
    ("db", Since::ALWAYS, |s, out| write(out, s.c.db)),
    ("sub", Since::ALWAYS, |s, out| write(out, s.subscribed(Scope::Channel))),
    ("psub", Since::ALWAYS, |s, out| write(out, s.subscribed(Scope::Pattern))),
    ("ssub", Since::ALWAYS, |s, out| write(out, s.subscribed(Scope::Shard))),
    ("multi", Since::ALWAYS, |s, out| write(out, s.c.multi.as_ref().map_or(-1, |m| i64::from(m.commands())))),
    ("watch", Since::both((7, 4), (8, 0)), |s, out| {
        write(out, s.c.lease.as_ref().map_or(0, |l| l.watched_keys()));
    }),
    ("qbuf", Since::ALWAYS, zero),
    ("qbuf-free", Since::ALWAYS, zero),
    ("argv-mem", Since::ALWAYS, zero),
    ("multi-mem", Since::ALWAYS, zero),
    ("rbs", Since::ALWAYS, zero),
    ("rbp", Since::ALWAYS, zero),
    // What does not fit a server's fixed buffer is in a list; who looks for slow clients looks there.
    ("obl", Since::ALWAYS, |s, out| write(out, s.backlog.min(FIXED_OUTPUT))),
    ("oll", Since::ALWAYS, |s, out| write(out, s.listed().div_ceil(FIXED_OUTPUT))),
    ("omem", Since::ALWAYS, |s, out| write(out, s.listed())),
    ("tot-mem", Since::ALWAYS, |s, out| {
        write(out, mem::size_of::<Client>() + s.c.active.as_ref().map_or(0, |a| a.memory()));
    }),
    ("events", Since::ALWAYS, |s, out| out.push_str(if s.backlog > 0 { "rw" } else { "r" })),
    ("cmd", Since::ALWAYS, |s, out| match s.c.last_command {
        NO_COMMAND => out.push_str("NULL"),
        id => out.push_str(&command::full_name(id)),
    }),
    ("user", Since::ALWAYS, |_, out| out.push_str("default")),
    ("redir", Since::ALWAYS, |s, out| write(out, s.c.redirect())),
    ("resp", Since::ALWAYS, |s, out| out.push(if s.c.resp3 { '3' } else { '2' })),
    ("lib-name", SETINFO, |s, out| out.push_str(&s.label(|l| &l.lib_name))),
    ("lib-ver", SETINFO, |s, out| out.push_str(&s.label(|l| &l.lib_ver))),
    ("io-thread", Since::redis(8, 0), |s, out| write(out, s.worker)),
    ("tot-net-in", TRAFFIC, |s, out| write(out, s.c.traffic.bytes_in)),
    ("tot-net-out", TRAFFIC, |s, out| write(out, s.c.traffic.bytes_out)),
    ("tot-cmds", TRAFFIC, |s, out| write(out, s.c.traffic.commands)),
];

/// Who takes CLIENT SETINFO.
const SETINFO: Since = Since::both((7, 2), (7, 2));

/// Who tells what has passed.
const TRAFFIC: Since = Since::both((8, 2), (8, 0));

/// A client at a moment.
struct Seen<'a> {
    c: &'a Client,
    now: Time,
    worker: usize,
    /// Bytes that it has not taken.
    backlog: usize,
}

/// Writes lines of clients of one worker.
pub(super) struct Liner {
    fields: Vec<&'static Field>,
    worker: usize,
    now: Time,
}

impl Liner {
    /// Lines as the nodes' software has them.
    pub fn new(software: &Software, worker: usize, now: Time) -> Self {
        let fields = FIELDS.iter().filter(|(_, since, _)| software.has(*since)).collect();
        Liner { fields, worker, now }
    }

    /// The line of a client, with its end.
    pub fn line(&self, c: &Client) -> Vec<u8> {
        let backlog = c.active.as_ref().map_or(0, |a| a.backlog());
        let seen = Seen { c, now: self.now, worker: self.worker, backlog };
        let mut text = String::new();
        for (name, _, write) in &self.fields {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(name);
            text.push('=');
            write(&seen, &mut text);
        }
        text.push('\n');
        text.into_bytes()
    }
}

impl Seen<'_> {
    fn label(&self, of: fn(&Labels) -> &Vec<u8>) -> String {
        self.c.labels.as_deref().map(|l| String::from_utf8_lossy(of(l)).into_owned()).unwrap_or_default()
    }

    fn subscribed(&self, scope: Scope) -> usize {
        self.c.subscriber.as_deref().map_or(0, |s| s.len(scope))
    }

    fn listed(&self) -> usize {
        self.backlog.saturating_sub(FIXED_OUTPUT)
    }
}

/// Writing to a string cannot fail.
fn write(out: &mut String, value: impl std::fmt::Display) {
    let _ = write!(out, "{value}");
}

fn zero(_: &Seen<'_>, out: &mut String) {
    out.push('0');
}

/// Whether the client has said that it follows redirects (CLIENT CAPA).
pub(super) fn redirects(c: &Client) -> bool {
    c.labels.as_deref().is_some_and(|l| l.redirects)
}

/// A letter for each thing that is special, `N` for nothing.
pub(super) fn flags(c: &Client) -> String {
    let tracking = c.tracking.as_deref();
    let all = [
        (c.monitor, 'O'),
        (c.subscriber.is_some(), 'P'),
        (c.multi.is_some(), 'x'),
        (c.held || c.is_blocked(), 'b'),
        (tracking.is_some(), 't'),
        (tracking.is_some_and(|t| t.broken), 'R'),
        (tracking.is_some_and(|t| t.options.broadcast), 'B'),
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
