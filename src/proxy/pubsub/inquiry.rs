//! PUBSUB: about the clients of this proxy, all workers.

use super::Scope;
use crate::base::arena::Key;
use crate::command::Command;
use crate::proxy::client::Client;
use crate::proxy::dispatch::Step;
use crate::proxy::engine::Engine;
use crate::proxy::errors;
use crate::resp::{encode, Args};

impl Engine {
    /// The sub-commands of PUBSUB.
    pub(in crate::proxy) fn inquire(
        &mut self,
        key: Key<Client>,
        row: &'static Command,
        args: &Args<'_>,
    ) -> Step {
        let mut out = Vec::new();
        match row.name {
            "channels" | "shardchannels" if args.len() > 3 => {
                let word = String::from_utf8_lossy(args.get(1).unwrap_or_default()).into_owned();
                let why = "unknown subcommand or wrong number of arguments for";
                return self.refuse(key, |out| {
                    errors::say(out, format_args!("ERR {why} '{word}'. Try PUBSUB HELP."))
                });
            }
            "channels" => self.name_topics(Scope::Channel, args, &mut out),
            "shardchannels" => self.name_topics(Scope::Shard, args, &mut out),
            "numpat" => {
                let patterns = self.subscribed(Scope::Pattern);
                encode::integer(&mut out, i64::try_from(patterns).unwrap_or(i64::MAX));
            }
            "numsub" => self.count_topics(Scope::Channel, args, &mut out),
            "shardnumsub" => self.count_topics(Scope::Shard, args, &mut out),
            _ => return self.refuse(key, |out| errors::not_yet(out, row)),
        }
        self.reply(key, &out)
    }

    /// How many channels or patterns have subscribers.
    pub(in crate::proxy) fn subscribed(&self, scope: Scope) -> usize {
        self.hub.audience.topics(scope)
    }

    /// The names of channels that have subscribers and match, if there is something to match.
    fn name_topics(&self, scope: Scope, args: &Args<'_>, out: &mut Vec<u8>) {
        encode::request(out, &self.hub.audience.names(scope, args.get(2)));
    }

    /// Each of these channels with the number of its subscribers.
    fn count_topics(&self, scope: Scope, args: &Args<'_>, out: &mut Vec<u8>) {
        encode::array(out, 2 * args.len().saturating_sub(2));
        for name in args.iter().skip(2) {
            encode::bulk(out, name);
            encode::integer(out, self.hub.audience.of_topic(scope, name));
        }
    }
}
