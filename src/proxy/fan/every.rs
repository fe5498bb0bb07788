//! Commands that go to every primary or to every node, and what is made of the replies.
//!
//! A part for a primary is addressed by a slot of its shard: should it have to be sent again, it finds whoever owns the
//! slot by then. A part for a node that may be a replica has no slot; its node is kept here.

use super::super::across::Question;
use super::super::backend::Kind;
use super::super::client::Client;
use super::super::dispatch::Step;
use super::super::engine::Engine;
use super::super::errors;
use super::super::nodes::Node;
use super::super::order::Sequence;
use super::super::part::{Owner, Part, NO_SLOT};
use super::super::scripts::{script_name, ScriptName};
use super::joined::Joint;
use super::merge::{self, Failure};
use super::{aggregate, latency, Work};
use crate::base::arena::Key;
use crate::command::{Command, Merge};
use crate::resp::{encode, Args, Protocol};

/// How many entries SLOWLOG GET gives when it is not told.
const LOG_ENTRIES: usize = 10;

/// A request that was sent to many nodes.
#[derive(Debug)]
pub(in crate::proxy) struct Asked {
    row: &'static Command,
    merge: Merge,
    protocol: Protocol,
    detail: Detail,
    targets: Vec<Target>,
    /// By target; empty until it has answered.
    pub(super) replies: Vec<Box<[u8]>>,
    /// How far the one reply is, where it can be passed on in pieces.
    pub(super) joint: Option<Joint>,
}

/// Where a part goes.
#[derive(Debug)]
struct Target {
    /// The slot whose owner is asked, or [`NO_SLOT`].
    slot: u16,
    /// The node that is asked where there is no slot.
    node: Key<Node>,
    /// Its name.
    name: String,
    kind: Kind,
}

/// What of the request the merge of the replies depends on.
#[derive(Debug)]
enum Detail {
    None,
    /// SLOWLOG GET: at most so many entries.
    Most(usize),
    /// SCRIPT EXISTS: for each script, whether it would be loaded when it is called.
    Known(Vec<bool>),
    /// SCRIPT LOAD: the script, to be forgotten if the nodes refuse it.
    Script(ScriptName),
}

impl Asked {
    pub(super) fn memory(&self) -> usize {
        self.replies.iter().map(|r| r.len()).sum()
    }

    /// The node that part `index` is for, where it has no slot.
    pub(super) fn target(&self, index: u16) -> Option<Key<Node>> {
        let target = self.targets.get(usize::from(index))?;
        (target.slot == NO_SLOT).then_some(target.node)
    }

    /// The name of the node that part `index` is for, where it has no slot.
    pub(super) fn target_name(&self, index: u16) -> Option<&str> {
        let target = self.targets.get(usize::from(index))?;
        (target.slot == NO_SLOT).then_some(&target.name)
    }

    /// Takes in the reply of part `index`.
    pub(super) fn take(&mut self, index: u16, reply: &[u8]) {
        if let Some(joint) = &mut self.joint {
            joint.note(usize::from(index), reply);
        }
        if let Some(place) = self.replies.get_mut(usize::from(index)) {
            *place = reply.into();
        }
    }

    /// Whether an error only counts when no node did better.
    fn tolerates(&self, error: &[u8]) -> bool {
        (is_kill(self.row) && error.starts_with(b"-NOTBUSY"))
            || (self.row.name == "graph" && error.starts_with(b"-ERR No samples"))
    }
}

/// SCRIPT KILL, FUNCTION KILL.
fn is_kill(row: &Command) -> bool {
    row.name == "kill"
}

impl Engine {
    /// A command for all primaries.
    pub(in crate::proxy) fn every_primary(
        &mut self,
        key: Key<Client>,
        row: &'static Command,
        merge: Merge,
        args: &Args<'_>,
    ) -> Step {
        if is_kill(row) {
            return self.every_node(key, row, merge, args);
        }
        let (resp3, db) = self.clients.get(key).map_or((false, 0), |c| (c.resp3, c.db));
        let kind = Kind { resp3, db, ..Kind::default() };
        let primary =
            |(slot, _): &(u16, Key<Node>)| Target { slot: *slot, node: Key::NONE, name: String::new(), kind };
        let targets = self.nodes.walk().iter().map(primary).collect();
        self.ask_all(key, row, merge, args, targets)
    }

    /// A command for all nodes, replicas included.
    pub(in crate::proxy) fn every_node(
        &mut self,
        key: Key<Client>,
        row: &'static Command,
        merge: Merge,
        args: &Args<'_>,
    ) -> Step {
        let resp3 = self.clients.get(key).is_some_and(|c| c.resp3);
        let mut targets = Vec::new();
        for node in self.nodes.present() {
            let replica = !self.nodes.is_primary(node);
            let kind = if is_kill(row) {
                self.kind_beside(node)
            } else {
                Kind { resp3, replica, ..Kind::default() }
            };
            let name = self.nodes.get(node).map_or_else(String::new, |n| n.name.clone());
            targets.push(Target { slot: NO_SLOT, node, name, kind });
        }
        self.ask_all(key, row, merge, args, targets)
    }

    /// A kind of backend on which nothing waits, else the one that was answered last: a script that runs is killed from
    /// another connection than the one that waits for it. The replies have the same form in both protocols.
    fn kind_beside(&self, node: Key<Node>) -> Kind {
        let answered = |resp3: &bool| {
            let shared = self.nodes.get(node).map(|n| n.shared).unwrap_or_default();
            let kind = Kind { resp3: *resp3, ..Kind::default() };
            let backend = shared.get(kind.index()).and_then(|k| self.backends.get(*k));
            backend.filter(|b| !b.fifo.is_empty()).map_or(self.now, |b| b.progress)
        };
        let resp3 = answered(&false) < answered(&true);
        Kind { resp3, ..Kind::default() }
    }

    fn ask_all(
        &mut self,
        key: Key<Client>,
        row: &'static Command,
        merge: Merge,
        args: &Args<'_>,
        targets: Vec<Target>,
    ) -> Step {
        if targets.is_empty() {
            self.nobody_serves();
            let mut error = Vec::new();
            errors::unserved(&mut error, NO_SLOT, self.nodes.known());
            return self.reply(key, &error);
        }
        let protocol = self.clients.get(key).map(|c| c.protocol()).unwrap_or_default();
        let parts: Vec<(u16, Kind)> = targets.iter().map(|t| (t.slot, t.kind)).collect();
        let detail = self.detail(row, args);
        let replies = vec![Box::default(); targets.len()];
        let joint = (merge == Merge::Concat && row.name == "keys").then(|| Joint::new(targets.len()));
        let asked = Asked { row, merge, protocol, detail, targets, replies, joint };
        let gather = self.gather(key, row, args.frame().len(), parts.len(), Work::Asked(Box::new(asked)));
        for ((slot, kind), index) in parts.into_iter().zip(0u16..) {
            let owner = Owner::Gather(gather, index);
            let part = Part {
                owner,
                born_us: self.now_us(),
                slot,
                command: row.id,
                attempts: 0,
                kind,
                block: false,
            };
            self.send(part, args.frame());
        }
        Step::Taken
    }

    fn detail(&mut self, row: &'static Command, args: &Args<'_>) -> Detail {
        match (row.container(), row.name) {
            ("script", "load") => {
                self.scripts.remember(args.get(2).unwrap_or_default()).map_or(Detail::None, Detail::Script)
            }
            ("script", "exists") => {
                let known = |name| script_name(name).is_some_and(|n| self.scripts.knows(&n));
                Detail::Known(args.iter().skip(2).map(known).collect())
            }
            // With an option that there is not, the nodes refuse it.
            ("script", "flush") if args.len() == 2 || is_flush_mode(args.get(2)) => {
                self.tell(Question::ForgetScripts);
                Detail::None
            }
            ("config", "resetstat") => {
                self.tell(Question::ResetStats);
                Detail::None
            }
            ("slowlog" | "commandlog", "get") => {
                let count = args.get(2).and_then(|a| std::str::from_utf8(a).ok()?.parse::<i64>().ok());
                Detail::Most(count.map_or(LOG_ENTRIES, |n| usize::try_from(n).unwrap_or(usize::MAX)))
            }
            _ => Detail::None,
        }
    }

    /// All nodes have answered.
    pub(super) fn finish_asked(&mut self, key: Key<Client>, sequence: Sequence, asked: Asked) {
        if let Some(failure) = merge::failure(&asked.replies, |e| asked.tolerates(e)) {
            if let Detail::Script(name) = &asked.detail {
                self.scripts.forget(name);
            }
            let error = self.failure(&asked, failure);
            return self.reply_to(key, sequence, &error);
        }
        if let Some(total) = asked.joint.as_ref().and_then(Joint::total) {
            return self.reply_joined(key, sequence, total, asked.replies);
        }
        let reply = self.merged(&asked).unwrap_or_else(|| {
            let mut error = Vec::new();
            errors::unmergeable(&mut error);
            error
        });
        self.reply_to(key, sequence, &reply);
    }

    /// The one reply, when no node failed.
    fn merged(&mut self, asked: &Asked) -> Option<Vec<u8>> {
        let (replies, protocol) = (&asked.replies, asked.protocol);
        match (asked.merge, &asked.detail) {
            (Merge::First, _) => replies.first().map(|r| r.to_vec()),
            (Merge::Sum, _) => merge::sum(replies),
            (Merge::And, Detail::Known(known)) => merge::all(replies, known),
            (Merge::And, _) => None,
            (Merge::AnyNonNil, _) => merge::any_not_null(replies, &mut self.random),
            (Merge::Special, Detail::Most(most)) => merge::log_entries(replies, *most),
            (Merge::Concat | Merge::Special, _) => match (asked.row.container(), asked.row.name) {
                ("latency", "history") => latency::history(replies),
                ("latency", "latest") => latency::latest(replies),
                ("latency", "histogram") => latency::histograms(replies, protocol),
                ("latency", _) => merge::texts(replies, |i| &asked.targets[i].name, protocol),
                (_, "kill") => replies.iter().find(|r| !merge::is_error(r)).map(|r| r.to_vec()),
                _ => None,
            },
        }
    }

    /// The error that stands for all replies. An error that others do not share names its node, unless it is one of the
    /// proxy's that does so already.
    fn failure(&self, asked: &Asked, failure: Failure) -> Vec<u8> {
        let (index, same) = match failure {
            Failure::Same(index) => (index, true),
            Failure::Of(index) => (index, false),
        };
        let (error, target) = (&asked.replies[index], &asked.targets[index]);
        if same || error.starts_with(b"-ERR node ") {
            return error.to_vec();
        }
        let present = self.nodes.primary(target.slot).and_then(|n| self.nodes.get(n));
        let mut named = Vec::new();
        errors::of_node(&mut named, present.map_or(&target.name, |n| &n.name), error);
        named
    }

    /// Passes on the elements of all replies, `total` in all, as one array. They may be large: each is freed as soon as it
    /// is copied.
    fn reply_joined(&mut self, key: Key<Client>, sequence: Sequence, total: usize, replies: Vec<Box<[u8]>>) {
        let bytes: usize = replies.iter().map(|r| r.len()).sum();
        self.reply_by(key, sequence, |out| {
            out.reserve_exact(bytes);
            encode::array(out, total);
            replies.into_iter().for_each(|r| {
                out.extend_from_slice(aggregate(&r).map_or(&[][..], |(_, _, elements)| elements));
            });
        });
    }
}

fn is_flush_mode(option: Option<&[u8]>) -> bool {
    option.is_some_and(|o| o.eq_ignore_ascii_case(b"sync") || o.eq_ignore_ascii_case(b"async"))
}
