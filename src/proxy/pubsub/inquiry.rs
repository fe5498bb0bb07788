//! PUBSUB: what the clients of all workers have subscribed to. Subscribers that nodes have besides the proxy do not count.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{names, Scope};
use crate::base::arena::Key;
use crate::command::Command;
use crate::proxy::across::{Answer, Question, Then};
use crate::proxy::client::Client;
use crate::proxy::dispatch::Step;
use crate::proxy::engine::Engine;
use crate::proxy::errors;
use crate::resp::Args;

/// What PUBSUB asks of a worker.
#[derive(Clone, Debug)]
pub enum Inquiry {
    /// The names of topics that have subscribers and match, if there is something to match.
    Names(Scope, Option<Vec<u8>>),
    /// How many subscribers each of these has.
    Counts(Scope, Vec<Vec<u8>>),
}

impl Engine {
    /// The sub-commands of PUBSUB.
    pub(in crate::proxy) fn inquire(
        &mut self,
        key: Key<Client>,
        row: &'static Command,
        args: &Args<'_>,
    ) -> Step {
        let all = || args.iter().skip(2).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let pattern = args.get(2).map(<[u8]>::to_vec);
        let (inquiry, then) = match row.name {
            "channels" | "shardchannels" if args.len() > 3 => {
                let word = String::from_utf8_lossy(args.get(1).unwrap_or_default()).into_owned();
                let why = "unknown subcommand or wrong number of arguments for";
                return self.refuse(key, |out| {
                    errors::say(out, format_args!("ERR {why} '{word}'. Try PUBSUB HELP."))
                });
            }
            "channels" => (Inquiry::Names(Scope::Channel, pattern), Then::Names),
            "shardchannels" => (Inquiry::Names(Scope::Shard, pattern), Then::Names),
            "numpat" => (Inquiry::Names(Scope::Pattern, None), Then::HowManyNames),
            "numsub" => (Inquiry::Counts(Scope::Channel, all()), Then::Counts(all())),
            "shardnumsub" => (Inquiry::Counts(Scope::Shard, all()), Then::Counts(all())),
            _ => return self.refuse(key, |out| errors::not_yet(out, row)),
        };
        self.ask_workers(key, Question::Topics(inquiry), then)
    }

    /// What this worker knows.
    pub(in crate::proxy) fn answer_inquiry(&self, inquiry: &Inquiry) -> Answer {
        match inquiry {
            Inquiry::Names(scope, pattern) => {
                let matches = |name: &[u8]| pattern.as_ref().is_none_or(|p| names::matches(p, name));
                let topics = self.hub.iter().map(|(_, t)| t);
                let found = topics.filter(|t| t.scope == *scope && !t.subscribers.is_empty());
                let found: BTreeSet<Arc<[u8]>> =
                    found.map(|t| t.name.clone()).filter(|n| matches(n)).collect();
                Answer::Names(found)
            }
            Inquiry::Counts(scope, names) => {
                let count = |name: &Vec<u8>| {
                    let topic = self.hub.find(*scope, name).and_then(|t| self.hub.get(t));
                    topic.map_or(0, |t| i64::try_from(t.subscribers.len()).unwrap_or(i64::MAX))
                };
                Answer::Counts(names.iter().map(count).collect())
            }
        }
    }
}
