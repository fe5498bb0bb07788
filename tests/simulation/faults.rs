//! What goes wrong and when: nodes, slots, connections, and the topology thread's view of it all.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::cluster::Moving;
use super::world::{Event, Peer, World};

impl World {
    /// Everything that is not about one connection.
    pub fn happen(&mut self, event: Event) {
        match event {
            Event::Act(client) => self.act(client),
            Event::Read(client) => self.slow_read(client),
            Event::NewClient => self.new_client(),
            Event::Fault => {
                if !self.healed {
                    self.fault();
                    let mean = self.mix.fault_us;
                    self.plan_between(mean / 4, mean * 2, Event::Fault);
                }
            }
            Event::Resume(node) => self.resume(node),
            Event::Restart(node) => self.restart(node),
            Event::Loaded(node) => self.cluster.nodes[node].loading = false,
            Event::Audible(node) => {
                self.cluster.nodes[node].silent = false;
                self.cluster.nodes[node].rejects_auth = false;
            }
            Event::Promote(shard) => self.promote(shard),
            Event::Migrate(tag) => self.migrate(tag),
            Event::Ask => {
                let hinted = std::mem::take(&mut self.asking);
                let map = Rc::new(self.cluster.map());
                self.plan_between(100, 50_000, Event::Publish(map, hinted));
            }
            Event::Publish(map, hinted) => self.publish(map, hinted),
            Event::TimeOut(serial) => self.time_out(serial),
            Event::Feed => self.feed(),
            Event::Bus(node, message) => self.bus_arrived(node, message),
            Event::Keepalive(node) => self.keepalive(node),
            Event::Quick(node) => self.cluster.nodes[node].slow_us = 0,
            other => unreachable!("{other:?}"),
        }
    }

    /// Somebody else executes commands for a slot.
    fn owners_changed(&mut self) {
        for tag in self.cluster.returned() {
            self.oracle.disorder(tag, self.now);
        }
        self.release_blocked();
        self.release_subscribers();
    }

    /// The engine believes that the topology has changed.
    pub fn hint(&mut self) {
        if !self.asking {
            self.asking = true;
            let most = if self.healed { 50_000 } else { *self.dice.pick(&[1000, 50_000, 500_000]) };
            self.plan_between(100, most, Event::Ask);
        }
    }

    fn fault(&mut self) {
        self.totals.faults += 1;
        let node = self.dice.below(self.cluster.nodes.len());
        let shard = self.dice.below(self.cluster.shards.len());
        let tag = self.dice.below(self.cluster.slots.len());
        let mix = &self.mix;
        let gentle = mix.gentle;
        let (stalls, failovers, migrations, sick) = (mix.stalls, mix.failovers, mix.migrations, mix.sick > 0);
        match self.dice.below(14) {
            0 if failovers && !gentle => self.kill(node),
            1 if failovers && !gentle => self.kill(self.cluster.shards[shard].primary),
            2 if failovers => self.promote(shard),
            3 if stalls => self.stall(node),
            4 | 5 if migrations => self.start_migration(tag, shard),
            6 if migrations => {
                self.note(format_args!("tag {tag} is given to shard {shard}"));
                if self.cluster.slots[tag].moving.is_some() {
                    // Keys come back to a node that has refused commands for them.
                    self.oracle.disorder(tag, self.now);
                }
                self.cluster.give(tag, shard);
                self.owners_changed();
            }
            7 if stalls => {
                self.note(format_args!("node {node} is silent"));
                self.cluster.nodes[node].silent = true;
                self.plan_between(10_000, 1_500_000, Event::Audible(node));
            }
            8 if sick => {
                self.note(format_args!("node {node} has another password"));
                self.cluster.nodes[node].rejects_auth = true;
                self.plan_between(10_000, 500_000, Event::Audible(node));
            }
            10 if failovers && !gentle => self.outage(node),
            11 if stalls => self.slow_down(node),
            12 if !gentle && self.mix.connect_faults > 0 => self.publish_the_past(),
            n if !gentle => self.touch_a_conn(n),
            _ => {}
        }
    }

    /// Something happens to a connection between the engine and a node.
    fn touch_a_conn(&mut self, how: usize) {
        let to_node = |c: &super::driver::Conn| c.open && c.connected && matches!(c.peer, Peer::Node(_));
        let conns: Vec<usize> = (0..self.conns.len()).filter(|i| to_node(&self.conns[*i])).collect();
        if conns.is_empty() {
            return;
        }
        let conn = *self.dice.pick(&conns);
        self.note(format_args!("conn {conn} is touched"));
        match how % 4 {
            0 if self.mix.sick > 0 => self.surplus(conn),
            1 => self.break_conn(conn, false),
            2 => self.conns[conn].up.trickles = true,
            _ => self.break_conn(conn, true),
        }
    }

    pub fn node_conns(&self, node: usize) -> Vec<usize> {
        let of = |i: &usize| self.conns[*i].peer == Peer::Node(node);
        (0..self.conns.len()).filter(of).collect()
    }

    pub fn kill(&mut self, node: usize) {
        if !self.cluster.nodes[node].up {
            return;
        }
        self.note(format_args!("node {node} dies"));
        self.cluster.nodes[node].up = false;
        if self.mix.stalls && self.dice.chance(250) {
            self.vanish_node(node);
        } else {
            let reset = self.dice.chance(700);
            for conn in self.node_conns(node) {
                if self.conns[conn].peer_open {
                    self.break_conn(conn, reset);
                }
            }
        }
        self.plan_between(20_000, 1_500_000, Event::Restart(node));
        if self.cluster.is_primary(node) {
            let shard = self.cluster.nodes[node].shard;
            self.plan_between(10_000, 800_000, Event::Promote(shard));
        }
    }

    fn restart(&mut self, node: usize) {
        let loading = self.dice.chance(500) && !self.healed;
        self.note(format_args!("node {node} is back, loading: {loading}"));
        self.cluster.nodes[node].up = true;
        self.cluster.nodes[node].loading = loading;
        if loading {
            self.plan_between(1000, 300_000, Event::Loaded(node));
        }
    }

    fn promote(&mut self, shard: usize) {
        let crashed = !self.cluster.nodes[self.cluster.shards[shard].primary].up;
        let done = !self.healed && self.cluster.promote(shard);
        self.owners_changed();
        let primary = self.cluster.shards[shard].primary;
        self.note(format_args!("shard {shard}: failover {done}, now {primary}"));
        if done && crashed && self.mix.lossy {
            self.lose_writes(shard);
        }
    }

    /// The new primary has not heard of the last writes.
    fn lose_writes(&mut self, shard: usize) {
        for key in &mut self.oracle.keys {
            if self.cluster.slots[key.tag].owner == shard {
                key.truncate(key.state().saturating_sub(self.dice.below(3)));
            }
        }
    }

    fn stall(&mut self, node: usize) {
        self.note(format_args!("node {node} stalls"));
        self.cluster.nodes[node].stalled = true;
        self.plan_between(5000, 2_500_000, Event::Resume(node));
        if self.cluster.is_primary(node) && self.mix.failovers && self.dice.coin() {
            let shard = self.cluster.nodes[node].shard;
            self.plan_between(100_000, 1_000_000, Event::Promote(shard));
        }
    }

    fn resume(&mut self, node: usize) {
        self.note(format_args!("node {node} goes on"));
        self.cluster.nodes[node].stalled = false;
        for message in std::mem::take(&mut self.cluster.nodes[node].backlog) {
            self.bus_arrived(node, message);
        }
        self.release_blocked();
        self.release_subscribers();
        for conn in self.node_conns(node) {
            self.peer_input(conn);
        }
    }

    fn start_migration(&mut self, tag: usize, to: usize) {
        let slot = &mut self.cluster.slots[tag];
        if slot.moving.is_none() && slot.owner != to {
            slot.moving = Some(Moving { to, moved: BTreeSet::new() });
            self.note(format_args!("tag {tag} begins to move to shard {to}"));
            self.plan_between(100, 50_000, Event::Migrate(tag));
        }
    }

    /// Moves one more key, or ends the migration.
    fn migrate(&mut self, tag: usize) {
        let Some(moving) = &mut self.cluster.slots[tag].moving else { return };
        let mut rest = (0..self.oracle.keys.len()).filter(|k| {
            let key = &self.oracle.keys[*k];
            key.tag == tag && key.exists() && !moving.moved.contains(k)
        });
        match rest.next() {
            Some(key) => {
                moving.moved.insert(key);
                let longest = if self.mix.slow_moves { 3_000_000 } else { 60_000 };
                self.plan_between(100, longest, Event::Migrate(tag));
            }
            None => {
                let to = moving.to;
                self.note(format_args!("tag {tag} has moved to shard {to}"));
                self.cluster.give(tag, to);
                self.owners_changed();
            }
        }
    }

    /// Faults end: all is well from here on, and clients come to an end.
    pub fn heal(&mut self) {
        self.note(format_args!("healed"));
        self.healed = true;
        let mix = &mut self.mix;
        (mix.connect_faults, mix.bounce, mix.sick, mix.redirect_games) = (0, 0, 0, false);
        // A network slower than the timeouts is a fault too.
        (mix.delay_us, mix.think_us) = (mix.delay_us.min(1000), mix.think_us.min(1000));
        for node in 0..self.cluster.nodes.len() {
            let n = &mut self.cluster.nodes[node];
            (n.up, n.loading, n.silent, n.rejects_auth) = (true, false, false, false);
            n.slow_us = 0;
            if n.stalled {
                self.resume(node);
            }
        }
        for tag in 0..self.cluster.slots.len() {
            if let Some(to) = self.cluster.slots[tag].moving.as_ref().map(|m| m.to) {
                self.cluster.give(tag, to);
            }
        }
        for client in 0..self.clients.len() {
            let c = &mut self.clients[client];
            (c.slow, c.left) = (false, c.left.min(3));
            if self.clients[client].state != super::clients::State::Gone {
                self.client_input(client);
            }
        }
        self.owners_changed();
        self.plan(100_000, Event::Feed);
        // The topology thread asks from time to time anyway.
        self.plan(100_000, Event::Ask);
    }
}
