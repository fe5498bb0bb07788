//! What happened, summed over seeds.

use redis_cluster_proxy::stats::Counters;

use super::world::World;

#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub turns: u64,
    /// Events, bytes, effects: whatever says that a turn was not for nothing.
    pub moved: u64,
    pub requests: u64,
    pub replies: u64,
    pub errors: u64,
    pub unknown_outcomes: u64,
    pub faults: u64,
    pub bounces: u64,
    pub sick: u64,
    pub games: u64,
    /// Clients whose connection the proxy closed although they had not asked for it.
    pub put_out: u64,
    pub largest_reply: usize,
    /// Transactions that nodes have executed, commands that have waited, elements delivered, messages, subscriptions that
    /// were held to the end.
    pub blocks: u64,
    pub blocked: u64,
    pub delivered: u64,
    pub messages: u64,
    pub subscriptions: u64,
    pub counters: Counters,
}

impl Totals {
    pub fn add(&mut self, o: &Totals) {
        self.turns += o.turns;
        self.moved += o.moved;
        self.requests += o.requests;
        self.replies += o.replies;
        self.errors += o.errors;
        self.unknown_outcomes += o.unknown_outcomes;
        self.faults += o.faults;
        self.bounces += o.bounces;
        self.sick += o.sick;
        self.games += o.games;
        self.put_out += o.put_out;
        self.blocks += o.blocks;
        self.blocked += o.blocked;
        self.delivered += o.delivered;
        self.messages += o.messages;
        self.subscriptions += o.subscriptions;
        self.largest_reply = self.largest_reply.max(o.largest_reply);
        self.counters.add(&o.counters);
    }

    /// A simulation in which nothing happens proves nothing.
    pub fn show_that_it_was_worth_it(&self, seeds: u64) {
        let c = &self.counters;
        if seeds >= 100 {
            let rare =
                [c.moved, c.ask, c.retries, c.reply_timeouts, c.protocol_errors, c.output_limit_closes];
            assert!(rare.iter().all(|n| *n > 0), "something never happened: {self:?}");
            let new = [self.blocks, self.blocked, self.delivered, self.messages, self.subscriptions];
            assert!(new.iter().all(|n| *n > 0), "something never happened: {self:?}");
            assert!(self.unknown_outcomes > 0 && self.put_out > 0, "something never happened: {self:?}");
        }
    }
}

impl World {
    pub fn totals(&self) -> Totals {
        Totals {
            errors: self.oracle.errors,
            unknown_outcomes: self.oracle.unknown_outcomes,
            counters: self.engine.counters(),
            ..self.totals
        }
    }
}
