//! Publish and subscribe: what clients say, how nodes pass messages on to one another, and the judge of what subscribers
//! get.
//!
//! Every message is unique. A subscriber gets it at most once for each subscription, in order of its publisher, only while
//! it is subscribed, and, where nothing fails, exactly once. When all is well again, everybody gets what is published.

use std::collections::{BTreeMap, BTreeSet};

use super::oracle::{Op, What};
use super::wire::{self, Value};
use super::world::{Event, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Channel,
    Pattern,
    Shard,
}

const CHANNELS: &[&str] = &["c0", "c1", "c2", "c3"];
const PATTERNS: &[&str] = &["c*", "c?", "c1*", "*", "__key*"];
/// A channel of keyspace events.
const EVENTS: &str = "__keyevent@0__:set";

impl Scope {
    fn verb(self) -> &'static str {
        ["subscribe", "psubscribe", "ssubscribe"][self as usize]
    }

    fn end(self) -> &'static str {
        ["unsubscribe", "punsubscribe", "sunsubscribe"][self as usize]
    }

    fn all() -> [Scope; 3] {
        [Scope::Channel, Scope::Pattern, Scope::Shard]
    }
}

pub type Topic = (Scope, String);

/// A message that was, or may be, published.
#[derive(Debug)]
pub struct Message {
    publisher: usize,
    no: u32,
    channel: String,
    shard: bool,
    sent_at: u64,
    /// The node that passed it on first, and whether the publisher was told so.
    node: Option<usize>,
    acknowledged: bool,
    /// A node has answered "not now": what was published behind it may have overtaken it.
    pub bounced: bool,
}

/// What a client has subscribed to, and got.
#[derive(Debug, Default)]
pub struct Inbox {
    /// What it means to have subscribed to, once all it sent is answered.
    pub wanted: BTreeSet<Topic>,
    /// By topic: since when.
    pub topics: BTreeMap<Topic, u64>,
    got: BTreeSet<(Topic, usize)>,
    /// The latest message by topic, publisher and node.
    latest: BTreeMap<(Topic, usize, usize), u32>,
    /// Of the request that is being confirmed: how many frames are still to come.
    confirming: Option<usize>,
}

/// Who has subscribed at a node: topics of a connection.
pub type Subscriptions = BTreeSet<Topic>;

fn matches(topic: &Topic, channel: &str, shard: bool) -> bool {
    let one_digit = channel.len() == 2 && channel.starts_with('c');
    match (topic.0, topic.1.as_str()) {
        (Scope::Shard, name) => shard && name == channel,
        _ if shard => false,
        (Scope::Channel, name) => name == channel,
        (Scope::Pattern, "c*") => channel.starts_with('c'),
        (Scope::Pattern, "c?") => one_digit,
        (Scope::Pattern, "c1*") => channel.starts_with("c1"),
        (Scope::Pattern, "*") => true,
        (Scope::Pattern, "__key*") => channel.starts_with("__key"),
        (Scope::Pattern, other) => panic!("an unknown pattern {other}"),
    }
}

fn push(topic: &Topic, channel: &str, id: usize) -> Vec<u8> {
    let kind = ["message", "pmessage", "smessage"][topic.0 as usize];
    let mut words = vec![kind.to_owned(), topic.1.clone()];
    if topic.0 == Scope::Pattern {
        words.push(channel.to_owned());
    }
    words.push(format!("m{id}"));
    let mut out = format!(">{}\r\n", words.len()).into_bytes();
    words.iter().for_each(|w| out.extend(wire::bulk(w.as_bytes())));
    out
}

fn confirmation(verb: &str, name: &str, count: usize) -> Vec<u8> {
    [b">3\r\n".to_vec(), wire::bulk(verb.as_bytes()), wire::bulk(name.as_bytes()), wire::int(count)].concat()
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Bulk(text) => std::str::from_utf8(text).ok(),
        _ => None,
    }
}

// What clients say.
impl World {
    /// PUBLISH, SPUBLISH, or something about the client's own subscriptions.
    pub fn compose_topic(&mut self, client: usize) -> (Op, Vec<u8>) {
        let inbox = &self.clients[client].inbox;
        let may_publish = self.clients[client].resp3 || inbox.wanted.is_empty();
        match self.dice.below(10) {
            0..=4 if may_publish => self.compose_publish(client),
            0..=7 => self.compose_subscribe(client),
            _ => self.compose_unsubscribe(client),
        }
    }

    /// What a subscriber may say in RESP2, and sometimes what it may not.
    pub fn compose_subscriber(&mut self, client: usize) -> (Op, Vec<u8>) {
        match self.dice.below(10) {
            0..=2 => self.compose_subscribe(client),
            3..=5 => self.compose_unsubscribe(client),
            6..=8 => {
                let mark = format!("ping-{}", self.dice.number());
                (self.op(client, What::SubscriberPing(mark.clone()), &[]), wire::command(&["PING", &mark]))
            }
            _ => self.single(client),
        }
    }

    fn compose_publish(&mut self, client: usize) -> (Op, Vec<u8>) {
        let shard = self.dice.chance(300);
        let channel = match shard {
            true => format!("{{h{}}}c", self.dice.below(self.mix.tags)),
            false => (*self.dice.pick(CHANNELS)).to_owned(),
        };
        let id = self.oracle.messages.len();
        let op = self.op(client, What::Publish(id), &[]);
        let name = if shard { "SPUBLISH" } else { "PUBLISH" };
        let text = wire::command(&[name, &channel, &format!("m{id}")]);
        self.new_message(client, op.no, &channel, shard);
        (op, text)
    }

    fn new_message(&mut self, publisher: usize, no: u32, channel: &str, shard: bool) -> usize {
        let (channel, sent_at) = (channel.to_owned(), self.now);
        let (node, acknowledged, bounced) = (None, false, false);
        let message = Message { publisher, no, channel, shard, sent_at, node, acknowledged, bounced };
        self.oracle.messages.push(message);
        self.oracle.messages.len() - 1
    }

    fn draw_topics(&mut self) -> (Scope, Vec<String>) {
        let scope = *self.dice.pick(&Scope::all());
        let count = self.dice.between(1, 3);
        let tag = self.dice.below(self.mix.tags);
        let draw = |w: &mut World| match scope {
            Scope::Channel => (*w.dice.pick(CHANNELS)).to_owned(),
            Scope::Pattern => (*w.dice.pick(PATTERNS)).to_owned(),
            Scope::Shard => format!("{{h{tag}}}c"),
        };
        (scope, (0..count).map(|_| draw(self)).collect())
    }

    fn compose_subscribe(&mut self, client: usize) -> (Op, Vec<u8>) {
        let (scope, names) = self.draw_topics();
        let wanted = &mut self.clients[client].inbox.wanted;
        wanted.extend(names.iter().map(|n| (scope, n.clone())));
        let mut args = vec![scope.verb().to_owned()];
        args.extend(names.iter().cloned());
        (self.op(client, What::Subscribe(scope, names), &[]), wire::command(&args))
    }

    fn compose_unsubscribe(&mut self, client: usize) -> (Op, Vec<u8>) {
        let (scope, mut names) = self.draw_topics();
        let wanted = &mut self.clients[client].inbox.wanted;
        if self.dice.chance(400) {
            names.clear();
            wanted.retain(|t| t.0 != scope);
        } else {
            wanted.retain(|t| t.0 != scope || !names.contains(&t.1));
        }
        let mut args = vec![scope.end().to_owned()];
        args.extend(names.iter().cloned());
        (self.op(client, What::Unsubscribe(scope, names), &[]), wire::command(&args))
    }
}

// What nodes do.
impl World {
    /// What a node makes of a command about topics; `None` when it is none.
    pub fn topic_command(
        &mut self,
        conn: usize,
        node: usize,
        name: &str,
        args: &[Vec<u8>],
    ) -> Option<Vec<u8>> {
        let words: Vec<String> = args.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect();
        if let "PUBLISH" | "SPUBLISH" = name {
            return Some(self.publish_at(node, &words, name == "SPUBLISH", args));
        }
        let topic = (
            match name {
                "SUBSCRIBE" | "UNSUBSCRIBE" => Scope::Channel,
                "PSUBSCRIBE" | "PUNSUBSCRIBE" => Scope::Pattern,
                "SSUBSCRIBE" | "SUNSUBSCRIBE" => Scope::Shard,
                _ => return None,
            },
            words.get(1)?.clone(),
        );
        assert!(self.conns[conn].session.resp3, "a subscription on a connection of RESP2");
        let on = topic.0.verb().eq_ignore_ascii_case(name);
        if topic.0 == Scope::Shard && on {
            if let Some(refusal) = self.refuse_channel(node, &args[1], args) {
                return Some(refusal);
            }
        }
        let mine = &mut self.conns[conn].session.topics;
        match on {
            true => mine.insert(topic.clone()),
            false => mine.remove(&topic),
        };
        let count = mine.iter().filter(|t| (t.0 == Scope::Shard) == (topic.0 == Scope::Shard)).count();
        Some(confirmation(if on { topic.0.verb() } else { topic.0.end() }, &topic.1, count))
    }

    /// A sharded channel that the node does not serve.
    fn refuse_channel(&mut self, node: usize, name: &[u8], args: &[Vec<u8>]) -> Option<Vec<u8>> {
        let tag = super::node::tag_of(name);
        if let Some(refusal) = self.not_now(node, tag, args) {
            return Some(refusal);
        }
        let owner = self.cluster.slots[tag].owner;
        (self.cluster.primary_of(tag) != node).then(|| self.redirect("MOVED", node, tag, owner))
    }

    fn publish_at(&mut self, node: usize, words: &[String], shard: bool, args: &[Vec<u8>]) -> Vec<u8> {
        if shard {
            if let Some(refusal) = self.refuse_channel(node, &args[1], args) {
                return refusal;
            }
        }
        let id: usize = words[2].strip_prefix('m').and_then(|n| n.parse().ok()).expect("a message");
        let message = &mut self.oracle.messages[id];
        assert!(message.node.is_none(), "message {id} was published twice");
        message.node = Some(node);
        let count = self.pass_on(node, id);
        wire::int(count)
    }

    /// To the subscribers of a node, and to the other nodes that have to hear of it.
    fn pass_on(&mut self, node: usize, id: usize) -> usize {
        let (shard, home) = (self.oracle.messages[id].shard, self.cluster.nodes[node].shard);
        for other in 0..self.cluster.nodes.len() {
            if other != node && (!shard || self.cluster.nodes[other].shard == home) {
                // Quicker than any other way, or one node might bring again what another has brought.
                let at = self.now + self.dice.us(1, 5);
                let last = self.bus.entry((node, other)).or_default();
                *last = at.max(*last);
                let at = *last;
                self.plan_at(at, Event::Bus(other, id));
            }
        }
        self.hand_out(node, id)
    }

    /// A message has come to a node from another one.
    pub fn bus_arrived(&mut self, node: usize, id: usize) {
        let n = &mut self.cluster.nodes[node];
        if n.stalled {
            n.backlog.push(id);
        } else if n.up {
            self.hand_out(node, id);
        }
    }

    fn hand_out(&mut self, node: usize, id: usize) -> usize {
        let (channel, shard) = (self.oracle.messages[id].channel.clone(), self.oracle.messages[id].shard);
        let mut count = 0;
        for conn in self.node_conns(node) {
            let topics: Vec<Topic> = self.conns[conn]
                .session
                .topics
                .iter()
                .filter(|t| matches(t, &channel, shard))
                .cloned()
                .collect();
            for topic in topics {
                count += 1;
                self.node_pushes(conn, push(&topic, &channel, id));
            }
        }
        count
    }

    /// A write makes an event, which a node and its replicas keep to themselves.
    pub fn keyspace_event(&mut self, node: usize) {
        if self.mix.events && self.cluster.is_primary(node) {
            let id = self.new_message(usize::MAX, 0, EVENTS, false);
            self.oracle.messages[id].node = Some(node);
            self.hand_out(node, id);
            let shard = self.cluster.nodes[node].shard;
            for other in self.cluster.shards[shard].nodes.clone() {
                if other != node {
                    self.plan_between(1, 5, Event::Bus(other, id));
                }
            }
        }
    }

    /// Nodes end subscriptions to channels of slots that they do not serve any more.
    pub fn release_subscribers(&mut self) {
        for conn in 0..self.conns.len() {
            let super::world::Peer::Node(node) = self.conns[conn].peer else { continue };
            if self.cluster.nodes[node].stalled || self.conns[conn].session.topics.is_empty() {
                continue;
            }
            let shard = self.cluster.nodes[node].shard;
            let lost: Vec<Topic> = self.conns[conn]
                .session
                .topics
                .iter()
                .filter(|t| t.0 == Scope::Shard)
                .filter(|t| self.cluster.slots[super::node::tag_of(t.1.as_bytes())].owner != shard)
                .cloned()
                .collect();
            for topic in lost {
                self.conns[conn].session.topics.remove(&topic);
                self.node_pushes(conn, confirmation(topic.0.end(), &topic.1, 0));
            }
        }
    }
}

// What subscribers get.
impl World {
    /// A frame for a client that is about its subscriptions; false when it is something else.
    pub fn topic_frame(&mut self, client: usize, frame: &Value) -> bool {
        let (items, pushed) = match frame {
            Value::Push(items) => (items, true),
            Value::Array(items) => (items, false),
            _ => return false,
        };
        let Some(kind) = items.first().and_then(text) else { return false };
        let scope = match kind {
            "message" | "subscribe" | "unsubscribe" => Scope::Channel,
            "pmessage" | "psubscribe" | "punsubscribe" => Scope::Pattern,
            "smessage" | "ssubscribe" | "sunsubscribe" => Scope::Shard,
            _ => return false,
        };
        assert_eq!(pushed, self.clients[client].speaks3, "client {client}: form of {frame:?}");
        if kind.ends_with("message") {
            self.message(client, scope, &items[1..]);
        } else {
            self.confirmed(client, scope, kind, items);
        }
        true
    }

    fn message(&mut self, client: usize, scope: Scope, words: &[Value]) {
        let words: Vec<&str> = words.iter().filter_map(text).collect();
        let topic = (scope, words[0].to_owned());
        let id: usize = words.last().and_then(|w| w.strip_prefix('m')?.parse().ok()).expect("a message");
        let (m, inbox) = (&self.oracle.messages[id], &mut self.clients[client].inbox);
        let of = format!("client {client} got message {id} for {topic:?}, {m:?}");
        assert!(matches(&topic, &m.channel, m.shard) && m.node.is_some(), "{of}: not for it");
        assert!(scope != Scope::Pattern || words[1] == m.channel, "{of}: wrong channel {words:?}");
        assert!(inbox.topics.contains_key(&topic), "{of}: not subscribed");
        let event = m.channel == EVENTS;
        let again = !inbox.got.insert((topic.clone(), id));
        assert!(!again || (event && self.mix.fault_us > 0), "{of}: again");
        if let (Some(node), false) = (m.node, event || m.bounced) {
            let latest = inbox.latest.entry((topic, m.publisher, node)).or_default();
            assert!(*latest < m.no, "{of}: behind {latest} of the same publisher");
            *latest = m.no;
        }
        self.totals.messages += 1;
    }

    fn confirmed(&mut self, client: usize, scope: Scope, kind: &str, items: &[Value]) {
        let of = format!("client {client}: {items:?}");
        let op = self.clients[client].sent.front().unwrap_or_else(|| panic!("{of} for nothing"));
        let no = op.no;
        let (on, names) = match &op.what {
            What::Subscribe(s, names) if *s == scope => (true, names.clone()),
            What::Unsubscribe(s, names) if *s == scope => (false, names.clone()),
            other => panic!("{of} in answer to {other:?}"),
        };
        assert_eq!(kind, if on { scope.verb() } else { scope.end() }, "{of}");
        let (now, inbox) = (self.now, &mut self.clients[client].inbox);
        let of_scope = inbox.topics.keys().filter(|t| t.0 == scope).count();
        let all = if names.is_empty() { of_scope.max(1) } else { names.len() };
        let left = inbox.confirming.unwrap_or(all);
        let name = text(&items[1]).map(str::to_owned);
        if let Some(expected) = names.get(names.len().wrapping_sub(left)) {
            assert_eq!(name.as_deref(), Some(expected.as_str()), "{of}");
        }
        match (name, on) {
            (Some(name), true) => {
                inbox.topics.entry((scope, name)).or_insert(now);
            }
            (Some(name), false) => {
                let topic = (scope, name);
                inbox.topics.remove(&topic);
                inbox.got.retain(|(t, _)| *t != topic);
            }
            (None, _) => assert!(names.is_empty() && of_scope == 0, "{of}"),
        }
        let shard = scope == Scope::Shard;
        let count = inbox.topics.keys().filter(|t| (t.0 == Scope::Shard) == shard).count();
        assert_eq!(items[2], Value::Int(count as i64), "{of}: count");
        inbox.confirming = Some(left - 1).filter(|n| *n > 0);
        if left == 1 {
            self.clients[client].sent.pop_front();
            self.note(format_args!("client {client}: {no}. confirmed"));
        }
    }

    /// Whether a client may say only what subscribers may.
    pub fn is_restricted(&self, client: usize) -> bool {
        let c = &self.clients[client];
        !c.speaks3 && !c.inbox.topics.is_empty()
    }

    /// Judges the replies to PUBLISH and to PING of a subscriber.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub fn judge_topic(&mut self, op: &Op, reply: &Value) -> Result<(), String> {
        match (&op.what, reply) {
            (What::Publish(id), Value::Int(_)) => {
                let message = &mut self.oracle.messages[*id];
                message.acknowledged = true;
                match message.node {
                    Some(_) => Ok(()),
                    None => Err("published, but no node has seen it".into()),
                }
            }
            (What::SubscriberPing(mark), reply) => {
                let mark = Value::Bulk(mark.clone().into_bytes());
                let long = Value::Array(vec![Value::Bulk(b"pong".to_vec()), mark.clone()]);
                let right = if self.is_restricted(op.client) { long } else { mark };
                match *reply == right {
                    true => Ok(()),
                    false => Err(format!("expected {right:?}")),
                }
            }
            _ => Ok(()),
        }
    }

    /// Publishes to every channel when all is well again.
    pub fn publish_probes(&mut self) -> Vec<usize> {
        let shards = (0..self.mix.tags).map(|tag| (format!("{{h{tag}}}c"), true));
        let channels: Vec<(String, bool)> =
            CHANNELS.iter().map(|c| ((*c).to_owned(), false)).chain(shards).collect();
        let mut probes = Vec::new();
        for (no, (channel, shard)) in channels.into_iter().enumerate() {
            let id = self.new_message(usize::MAX - 1, no as u32 + 1, &channel, shard);
            let node = match shard {
                true => self.cluster.primary_of(super::node::tag_of(channel.as_bytes())),
                false => self.dice.below(self.cluster.nodes.len()),
            };
            self.oracle.messages[id].node = Some(node);
            self.oracle.messages[id].acknowledged = true;
            self.pass_on(node, id);
            probes.push(id);
        }
        if self.mix.events {
            for shard in 0..self.cluster.shards.len() {
                probes.push(self.oracle.messages.len());
                self.keyspace_event(self.cluster.shards[shard].primary);
            }
        }
        probes
    }

    /// Every subscriber has what it must have: the probes, and, where nothing failed, whatever was published since its
    /// subscription was confirmed.
    pub fn conclude_topics(&mut self, probes: &[usize]) {
        for c in self.clients.iter().filter(|c| c.state == super::clients::State::Resting) {
            for (topic, since) in &c.inbox.topics {
                for (id, m) in self.oracle.messages.iter().enumerate() {
                    let faultless = self.mix.fault_us == 0 && m.acknowledged && m.sent_at > *since;
                    let due = (faultless || probes.contains(&id)) && matches(topic, &m.channel, m.shard);
                    assert!(
                        !due || c.inbox.got.contains(&(topic.clone(), id)),
                        "client {} did not get message {id} for {topic:?} (since {since}): {m:?}",
                        c.number
                    );
                }
                self.totals.subscriptions += 1;
            }
        }
    }
}
