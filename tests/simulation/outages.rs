//! Larger trouble: hosts that vanish, the whole cluster away and back, nodes under other addresses, slow ones, and views of
//! the cluster that are out of date.

use std::rc::Rc;

use super::stream::End;
use super::world::{Event, World};

impl World {
    /// A node's host is gone at once: nobody closes its connections.
    pub fn vanish_node(&mut self, node: usize) {
        self.note(format_args!("node {node} vanishes"));
        for conn in self.node_conns(node) {
            if self.conns[conn].peer_open {
                let c = &mut self.conns[conn];
                (c.peer_open, c.silent, c.disturbed) = (false, true, true);
                c.session.topics.clear();
                self.unblock(conn);
            }
        }
        self.plan_between(1_000_000, 4_000_000, Event::Keepalive(node));
    }

    /// The system notices that nobody is at the other end.
    pub fn keepalive(&mut self, node: usize) {
        for conn in self.node_conns(node) {
            if self.conns[conn].silent && self.conns[conn].up.end == End::Open {
                self.break_conn(conn, true);
            }
        }
    }

    /// Bytes came to where nobody is: a host that is there again says so.
    pub fn nobody_hears(&mut self, conn: usize) {
        let there = self.conns[conn].peer.node().is_some_and(|n| self.cluster.nodes[n].up);
        if self.conns[conn].silent && there && self.conns[conn].up.end == End::Open {
            self.conns[conn].silent = false;
            self.break_conn(conn, true);
        }
    }

    /// All nodes die and come back, or one comes back elsewhere.
    pub fn outage(&mut self, node: usize) {
        if self.dice.coin() {
            self.note(format_args!("the whole cluster dies"));
            for node in 0..self.cluster.nodes.len() {
                self.kill(node);
            }
        } else {
            self.kill(node);
        }
        for node in 0..self.cluster.nodes.len() {
            if !self.cluster.nodes[node].up && self.dice.chance(300) {
                let addr = &mut self.cluster.nodes[node].addr;
                addr.set_port(addr.port() + 100);
                self.note(format_args!("node {node} will be another address"));
            }
        }
    }

    /// A node takes its time.
    pub fn slow_down(&mut self, node: usize) {
        let slow_us = *self.dice.pick(&[20_000, 200_000, 900_000]);
        self.note(format_args!("node {node} is slow: {slow_us} us"));
        self.cluster.nodes[node].slow_us = slow_us;
        self.plan_between(10_000, 1_500_000, Event::Quick(node));
    }

    /// Some node with an old view of the cluster was believed, for a while.
    pub fn publish_the_past(&mut self) {
        let back = self.dice.below(3) + 1;
        let Some(map) = self.past.len().checked_sub(back).map(|i| Rc::clone(&self.past[i])) else { return };
        self.note(format_args!("the past is published"));
        self.publish(map, true);
        self.hint();
    }
}
