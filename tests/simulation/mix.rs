//! What one seed is made of: how large, how wild, and which faults.

use std::time::Duration;

use redis_cluster_proxy::config::{Config, ReadPrefer};
use redis_cluster_proxy::proxy::Sizes;

use super::dice::Dice;

/// Chances are in 1/1000 of whatever they are about.
#[derive(Clone, Debug)]
pub struct Mix {
    pub shards: usize,
    pub replicas: usize,
    pub tags: usize,
    pub clients: usize,
    /// Requests per client, about.
    pub requests: usize,
    /// Most requests sent in one go.
    pub depth: usize,
    /// Longest padding of a value, bytes.
    pub padding: usize,
    /// Longest delay of a segment, microseconds.
    pub delay_us: u64,
    /// Longest time a node takes to answer, microseconds.
    pub think_us: u64,
    /// Most segments that one write is cut into.
    pub cuts: usize,
    /// Bytes that a connection holds in each direction.
    pub cap: usize,
    /// Most events taken in one turn.
    pub events_per_turn: usize,
    /// Only what an operator plans: slots move, replicas take over. No client may see an error.
    pub gentle: bool,
    /// Slots are torn between two nodes for longer than anybody waits, so nobody asks for several keys of one.
    pub slow_moves: bool,
    /// Requests that are transactions, wait, or are about topics.
    pub transactions: usize,
    pub waits: usize,
    pub topics: usize,
    /// Of those that wait: CLIENT UNBLOCK.
    pub unblocks: usize,
    /// Writes make keyspace events.
    pub events: bool,
    /// Time between two faults, microseconds; 0 for none.
    pub fault_us: u64,
    pub connect_faults: usize,
    /// A node answers "not executed" to a command.
    pub bounce: usize,
    /// A node does something no node should.
    pub sick: usize,
    pub redirect_games: bool,
    pub migrations: bool,
    pub failovers: bool,
    pub stalls: bool,
    /// Acknowledged writes may be lost in a failover.
    pub lossy: bool,
    /// Nodes have host names, and redirects may name them.
    pub names: bool,
    /// Clients that leave in the middle.
    pub rude: usize,
    pub slow_readers: usize,
    pub resp3: usize,
    pub readonly: usize,
    pub mistakes: usize,
    /// The topology is published although it did not change.
    pub publish_always: bool,
    /// From how many bytes on requests and replies are passed on as they come.
    pub sizes: Sizes,
    pub config: Config,
}

impl Mix {
    pub fn draw(dice: &mut Dice) -> Self {
        let harsh = dice.below(4);
        let on = |dice: &mut Dice, level: usize| harsh >= level && dice.coin();
        let lossy = harsh >= 2 && dice.chance(150);
        let names = dice.chance(300);
        let mut mix = Mix {
            gentle: false,
            slow_moves: false,
            transactions: *dice.pick(&[0, 0, 50, 300]),
            waits: *dice.pick(&[0, 0, 50, 300]),
            topics: *dice.pick(&[0, 0, 50, 300]),
            unblocks: *dice.pick(&[0, 100, 400]),
            events: dice.chance(200),
            shards: dice.between(3, 6),
            replicas: dice.between(0, 2),
            tags: dice.between(3, 10),
            clients: dice.between(2, 8),
            requests: dice.between(20, 150),
            depth: *dice.pick(&[1, 4, 16, 60]),
            padding: *dice.pick(&[0, 10, 200, 200, 3000, 20_000]),
            delay_us: *dice.pick(&[100, 1000, 1000, 20_000]),
            think_us: *dice.pick(&[0, 100, 2000, 30_000]),
            cuts: *dice.pick(&[1, 2, 8, 40]),
            cap: *dice.pick(&[20, 300, 5000, 100_000, 1_000_000]),
            events_per_turn: *dice.pick(&[1, 4, 32, 200]),
            fault_us: [0, 600_000, 150_000, 40_000][harsh],
            connect_faults: if on(dice, 1) { *dice.pick(&[20, 200, 500]) } else { 0 },
            bounce: if on(dice, 1) { *dice.pick(&[2, 20, 100]) } else { 0 },
            sick: if on(dice, 2) { *dice.pick(&[1, 5, 20]) } else { 0 },
            redirect_games: on(dice, 2),
            migrations: harsh >= 1 && dice.chance(700),
            failovers: harsh >= 1 && dice.chance(700),
            stalls: on(dice, 1),
            lossy,
            names,
            rude: if dice.coin() { *dice.pick(&[2, 10, 40]) } else { 0 },
            slow_readers: *dice.pick(&[0, 0, 300, 1000]),
            resp3: *dice.pick(&[0, 300, 1000]),
            readonly: if dice.chance(300) { 400 } else { 0 },
            mistakes: *dice.pick(&[0, 5, 30]),
            publish_always: dice.coin(),
            sizes: *dice.pick(&[
                Sizes::default(),
                Sizes { begin: 50, large: 300, pace: 200, swamp: 400, slice: 2 },
                Sizes { begin: 1000, large: 5000, pace: 1000, swamp: 2000, slice: 4 },
            ]),
            config: config(dice, harsh == 0),
        };
        if dice.chance(150) {
            mix.calm_down();
            mix.slow_moves = dice.coin();
        }
        if mix.slow_moves {
            (mix.transactions, mix.waits) = (0, 0);
        }
        mix
    }

    fn calm_down(&mut self) {
        (self.gentle, self.migrations, self.failovers, self.lossy) = (true, true, true, false);
        (self.connect_faults, self.bounce, self.sick, self.stalls) = (0, 0, 0, false);
        self.redirect_games = false;
        self.fault_us = 150_000;
        // A request that is passed on as it comes cannot be sent again.
        self.sizes.large = usize::MAX;
        (self.delay_us, self.think_us) = (self.delay_us.min(1000), self.think_us.min(2000));
        self.cap = self.cap.max(5000);
        self.config.connect_timeout = Duration::from_secs(3);
        self.config.reply_timeout = Duration::from_secs(3);
        self.config.retry_timeout = Duration::from_secs(4);
    }

    /// Whether a read may be answered by a replica although the client did not ask for that.
    pub fn replicas_read(&self) -> bool {
        self.config.read_prefer != ReadPrefer::Master
    }
}

fn config(dice: &mut Dice, calm: bool) -> Config {
    let ms = |dice: &mut Dice, from: &[u64]| Duration::from_millis(*dice.pick(from));
    Config {
        password: if dice.chance(250) { "sesame".into() } else { String::new() },
        // A network that is slower than the timeouts is a fault too.
        connect_timeout: ms(dice, if calm { &[3000] } else { &[50, 300, 3000] }),
        reply_timeout: ms(dice, &[200, 1000, 3000]),
        retry_timeout: ms(dice, &[100, 1000, 4000]),
        drain_timeout: Duration::from_secs(2),
        client_idle_timeout: if dice.chance(100) { Duration::from_secs(2) } else { Duration::ZERO },
        pubsub_output_limit: *dice.pick(&[1000, 60_000, 32 << 20]),
        client_output_limit: *dice.pick(&[60_000, 400_000, 256 << 20]),
        read_prefer: if dice.chance(200) { ReadPrefer::Slave } else { ReadPrefer::Master },
        ..Config::for_tests()
    }
}
