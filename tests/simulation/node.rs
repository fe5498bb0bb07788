//! A fake node: what it answers to each command, as `getNodeByQuery` and `processCommand` of a server would.

use super::history::{token_of, Entry};
use super::oracle::names_of_node;
use super::stream::{End, Item};
use super::topics::Subscriptions;
use super::transactions::{Queue, Watched};
use super::waits;
use super::wire;
use super::world::{Dir, Event, World};

/// What a node remembers of a connection.
#[derive(Debug, Default)]
pub struct Session {
    asking: bool,
    readonly: bool,
    authed: bool,
    pub resp3: bool,
    /// Inside MULTI.
    pub queue: Option<Queue>,
    pub watched: Vec<Watched>,
    pub topics: Subscriptions,
}

const BOUNCES: &[&str] = &[
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN The cluster is down",
    "LOADING Redis is loading the dataset in memory",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "READONLY You can't write against a read only replica.",
    "OOM command not allowed when used memory > 'maxmemory'.",
];

const GARBAGE: &[&[u8]] =
    &[b"\0\0\0\r\n", b"hello\r\n", b"$x\r\n", b"*-7\r\n", b":12a\r\n", b"HTTP/1.1 400\r\n"];

impl World {
    /// Bytes, or the end, have arrived at a node.
    pub fn node_input(&mut self, conn: usize, node: usize) {
        if self.cluster.nodes[node].stalled {
            return;
        }
        self.conns[conn].peer_takes(usize::MAX);
        while self.conns[conn].peer_open && !self.is_blocked(conn) {
            let Some((args, len)) = wire::parse_command(&self.conns[conn].taken) else { break };
            self.conns[conn].taken.drain(..len);
            let Some(reply) = self.node_reply(conn, node, &args) else {
                self.note(format_args!("node {node} conn {conn}: {} waits", shown(&args)));
                continue;
            };
            self.note(format_args!(
                "node {node} conn {conn}: {} -> {}",
                shown(&args),
                String::from_utf8_lossy(&reply[..reply.len().min(60)]).trim_end()
            ));
            self.node_says(conn, reply);
            self.serve_blocked(node);
        }
        self.drained(conn);
        let c = &mut self.conns[conn];
        if c.peer_open && c.down.end != End::Open {
            c.peer_open = false;
            c.session.topics.clear();
            self.unblock(conn);
            let at = self.now;
            self.send(conn, Dir::Up, Item::Fin, at);
        } else if self.dice.chance(self.mix.sick / 4) && !self.conns[conn].taken.is_empty() {
            // An answer before all of the request is there, as to one that is too large.
            self.node_says(conn, b"-ERR too large\r\n".to_vec());
            self.break_conn(conn, true);
        }
    }

    /// Sends a reply, or what a sick node makes of it.
    pub fn node_says(&mut self, conn: usize, mut reply: Vec<u8>) {
        self.totals.largest_reply = self.totals.largest_reply.max(reply.len());
        let slow = self.conns[conn].peer.node().map_or(0, |n| self.cluster.nodes[n].slow_us);
        let at = self.now + self.dice.us(slow / 2, self.mix.think_us.max(slow));
        if !self.dice.chance(self.mix.sick) {
            if self.conns[conn].session.resp3 && self.dice.chance(20) {
                reply.splice(0..0, b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n".iter().copied());
            }
            return self.send(conn, Dir::Up, Item::Data(reply), at);
        }
        self.totals.sick += 1;
        self.conns[conn].disturbed = true;
        self.note(format_args!("conn {conn} is sick"));
        match self.dice.below(3) {
            0 => {
                let garbage = self.dice.pick(GARBAGE).to_vec();
                self.send(conn, Dir::Up, Item::Data(garbage), at);
            }
            1 => {
                reply.truncate(self.dice.below(reply.len()));
                self.send(conn, Dir::Up, Item::Data(reply), at);
                let reset = self.dice.coin();
                self.break_conn(conn, reset);
            }
            // Never answers: the rest of this connection is silence, which in the end the system notices.
            _ => {
                (self.conns[conn].peer_open, self.conns[conn].silent) = (false, true);
                self.conns[conn].session.topics.clear();
                if let Some(node) = self.conns[conn].peer.node() {
                    self.plan_between(1_000_000, 4_000_000, Event::Keepalive(node));
                }
            }
        }
    }

    /// `None` when it waits.
    fn node_reply(&mut self, conn: usize, node: usize, args: &[Vec<u8>]) -> Option<Vec<u8>> {
        let name = String::from_utf8_lossy(&args[0]).to_ascii_uppercase();
        let asking = std::mem::take(&mut self.conns[conn].session.asking);
        let password = &self.mix.config.password;
        let session = &mut self.conns[conn].session;
        match name.as_str() {
            "AUTH" if self.cluster.nodes[node].rejects_auth || args[1] != password.as_bytes() => {
                return Some(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n".to_vec());
            }
            "AUTH" => session.authed = true,
            _ if !password.is_empty() && !session.authed => {
                assert!(token_of(args.last().unwrap_or(&args[0])).is_none(), "a write before AUTH: {args:?}");
                return Some(b"-NOAUTH Authentication required.\r\n".to_vec());
            }
            "HELLO" => {
                session.resp3 = args[1] == b"3";
                let reply =
                    if session.resp3 { "%1\r\n$5\r\nproto\r\n:3\r\n" } else { "*2\r\n$5\r\nproto\r\n:2\r\n" };
                return Some(reply.as_bytes().to_vec());
            }
            "READONLY" => session.readonly = true,
            "ASKING" => session.asking = true,
            "CLIENT" if args[1] == b"ID" => return Some(wire::int(conn)),
            "CLIENT" if args[1] == b"UNBLOCK" => return Some(self.unblock_at(node, args)),
            "CLIENT" => {}
            "PING" => return Some(b"+PONG\r\n".to_vec()),
            "KEYS" => {
                let most = *self.dice.pick(&[1, 10, 200]);
                return Some(names_of_node(node, self.dice.below(most)));
            }
            // What the table does not know, no node here knows either.
            "COMMAND" if self.conns[conn].session.resp3 => return Some(b"*1\r\n_\r\n".to_vec()),
            "COMMAND" => return Some(b"*1\r\n*-1\r\n".to_vec()),
            _ => {
                let done = self.queue(conn, node, &name, args);
                let done = done.or_else(|| self.topic_command(conn, node, &name, args));
                return done.or_else(|| self.keyed(conn, node, &name, args, asking));
            }
        }
        Some(b"+OK\r\n".to_vec())
    }

    /// Why a node does not execute anything now, whatever the keys.
    pub fn not_now(&mut self, node: usize, tag: usize, args: &[Vec<u8>]) -> Option<Vec<u8>> {
        if self.cluster.nodes[node].loading {
            self.oracle.bounce(args, self.now);
            return Some(format!("-{}\r\n", BOUNCES[2]).into_bytes());
        }
        if self.dice.chance(self.mix.bounce) {
            self.oracle.bounce(args, self.now);
            self.totals.bounces += 1;
            return Some(format!("-{}\r\n", self.dice.pick(BOUNCES)).into_bytes());
        }
        if self.dice.chance(20 * usize::from(self.mix.redirect_games)) {
            // The next command may be executed by this very node.
            self.oracle.bounce(args, self.now);
            return Some(self.game(node, tag));
        }
        None
    }

    /// Why a node does not execute a command with these keys, which are of one slot.
    pub fn refuse_keys(
        &mut self,
        node: usize,
        names: &[&Vec<u8>],
        asking: bool,
        args: &[Vec<u8>],
    ) -> Option<Vec<u8>> {
        let tag = tag_of(names[0]);
        assert!(names.iter().all(|n| tag_of(n) == tag), "keys of several slots in {}", shown(args));
        let keys: Vec<Option<usize>> = names.iter().map(|n| self.oracle.key_named(n)).collect();
        self.not_now(node, tag, args).or_else(|| self.refusal(node, tag, &keys, asking, args))
    }

    fn keyed(
        &mut self,
        conn: usize,
        node: usize,
        name: &str,
        args: &[Vec<u8>],
        asking: bool,
    ) -> Option<Vec<u8>> {
        let names = names_of(name, args);
        let tag = tag_of(names[0]);
        let keys: Vec<Option<usize>> = names.iter().map(|n| self.oracle.key_named(n)).collect();
        let reads = matches!(name, "GET" | "MGET" | "EXISTS" | "TOUCH" | "STRLEN");
        let (shard, session) = (self.cluster.nodes[node].shard, &self.conns[conn].session);
        let (resp3, readonly) = (session.resp3, session.readonly);
        let stale =
            readonly && reads && self.cluster.slots[tag].owner == shard && !self.cluster.is_primary(node);
        if stale {
            let refusal = self.not_now(node, tag, args);
            return Some(refusal.unwrap_or_else(|| self.execute(name, &keys, args, resp3, true)));
        }
        if let Some(refusal) = self.refuse_keys(node, &names, asking, args) {
            return Some(refusal);
        }
        match self.try_now(conn, name, args) {
            Some(None) => {
                self.block(conn, node, tag, name, args);
                None
            }
            Some(reply) => reply,
            None => Some(self.execute(name, &keys, args, resp3, false)),
        }
    }

    /// Whether a key is at this node, or comes into being here.
    pub fn holds(&self, node: usize, key: usize) -> bool {
        let (slot, shard) = (&self.cluster.slots[self.oracle.keys[key].tag], self.cluster.nodes[node].shard);
        let moved = slot.moving.as_ref().map(|m| (m.to, m.moved.contains(&key)));
        match moved {
            Some((to, true)) => self.cluster.is_primary(node) && to == shard,
            _ => self.cluster.is_primary(node) && slot.owner == shard,
        }
    }

    /// Why the node does not execute a command for these keys.
    fn refusal(
        &mut self,
        node: usize,
        tag: usize,
        keys: &[Option<usize>],
        asking: bool,
        args: &[Vec<u8>],
    ) -> Option<Vec<u8>> {
        let slot = &self.cluster.slots[tag];
        let shard = self.cluster.nodes[node].shard;
        let owner = self.cluster.primary_of(tag) == node;
        let is_primary = self.cluster.is_primary(node);
        let (to, here): (usize, Vec<bool>) = match &slot.moving {
            None if owner => return None,
            None => return Some(self.redirect("MOVED", node, tag, slot.owner)),
            Some(moving) => {
                let target = is_primary && moving.to == shard;
                if !(owner || target && asking) {
                    return Some(self.redirect("MOVED", node, tag, slot.owner));
                }
                let exists = |k: &Option<usize>| {
                    k.is_some_and(|k| self.oracle.keys[k].exists() && moving.moved.contains(&k) == target)
                };
                (moving.to, keys.iter().map(exists).collect())
            }
        };
        let all = here.iter().all(|h| *h);
        let torn = keys.len() > 1 && !all && (!owner || here.iter().any(|h| *h));
        if torn {
            self.oracle.bounce(args, self.now);
            return Some(format!("-{}\r\n", BOUNCES[0]).into_bytes());
        }
        if owner && !all {
            return Some(self.redirect("ASK", node, tag, to));
        }
        None
    }

    pub fn redirect(&self, kind: &str, from: usize, tag: usize, shard: usize) -> Vec<u8> {
        let target = self.cluster.shards[shard].primary;
        let (slot, n) = (self.cluster.slots[tag].slot, &self.cluster.nodes[target]);
        // Most nodes give addresses, some leave the host out, as all of them have the same.
        let host = match from % 3 {
            0 if self.cluster.names => n.host.clone(),
            1 => String::new(),
            _ => n.addr.ip().to_string(),
        };
        format!("-{kind} {slot} {host}:{}\r\n", n.addr.port()).into_bytes()
    }

    /// A redirect of a node that is wrong about the cluster.
    fn game(&mut self, node: usize, tag: usize) -> Vec<u8> {
        self.totals.games += 1;
        let slot = self.cluster.slots[tag].slot;
        match self.dice.below(4) {
            0 => format!("-MOVED {slot} nowhere.cluster:7000\r\n").into_bytes(),
            1 => format!("-MOVED {slot} 10.9.9.9:7000\r\n").into_bytes(),
            2 => self.redirect("MOVED", node, tag, self.cluster.slots[tag].before),
            _ => format!("-ASK {slot} 10.9.9.9:7000\r\n").into_bytes(),
        }
    }

    pub fn execute(
        &mut self,
        name: &str,
        keys: &[Option<usize>],
        args: &[Vec<u8>],
        resp3: bool,
        stale: bool,
    ) -> Vec<u8> {
        if let ("DEL" | "UNLINK", _) = (name, stale) {
            return self.delete(keys, args);
        }
        let keys: Vec<usize> =
            keys.iter().map(|k| k.unwrap_or_else(|| panic!("key in {}", shown(args)))).collect();
        let key = keys[0];
        let mut values = Vec::new();
        for key in &keys {
            let state = self.oracle.keys[*key].state();
            let lag = if stale { self.dice.below(4).min(state) } else { 0 };
            values.push((state - lag, self.oracle.keys[*key].value(state - lag)));
        }
        let shown = |value: &Option<Vec<u8>>| value.as_ref().map_or(wire::nil(resp3), |v| wire::bulk(v));
        match name {
            "GET" => shown(&values[0].1),
            "MGET" => {
                let mut out = format!("*{}\r\n", keys.len()).into_bytes();
                values.iter().for_each(|v| out.extend(shown(&v.1)));
                out
            }
            "STRLEN" => wire::int(self.oracle.keys[key].len(values[0].0)),
            "EXISTS" | "TOUCH" => wire::int(values.iter().filter(|v| v.1.is_some()).count()),
            "SET" | "GETSET" | "APPEND" => {
                self.store(key, &args[2]);
                if name == "SET" {
                    self.keyspace_event(self.cluster.primary_of(self.oracle.keys[key].tag));
                }
                match name {
                    "SET" => b"+OK\r\n".to_vec(),
                    "GETSET" => shown(&values[0].1),
                    _ => wire::int(self.oracle.keys[key].len(self.oracle.keys[key].state())),
                }
            }
            "MSET" => {
                keys.iter().zip(args[2..].iter().step_by(2)).for_each(|(k, v)| self.store(*k, v));
                b"+OK\r\n".to_vec()
            }
            "INCR" => {
                self.oracle.keys[key].push(Entry::Counted);
                self.arrived_at(key);
                wire::int(self.oracle.keys[key].state())
            }
            other => panic!("the proxy sent {other}"),
        }
    }

    pub fn store(&mut self, key: usize, value: &[u8]) {
        let token = token_of(value).unwrap_or_else(|| panic!("no token in {value:?}"));
        self.oracle.execute(token, Some(Entry::Token(token)));
        self.arrived_at(key);
    }

    fn delete(&mut self, keys: &[Option<usize>], args: &[Vec<u8>]) -> Vec<u8> {
        let mut deleted = 0;
        for (key, name) in keys.iter().zip(&args[1..]) {
            match key {
                Some(key) if self.oracle.keys[*key].exists() => {
                    self.oracle.keys[*key].push(Entry::Deleted);
                    deleted += 1;
                }
                Some(_) => {}
                None => {
                    let mark = token_of(name).unwrap_or_else(|| panic!("no mark in {}", shown(args)));
                    self.oracle.execute(mark, None);
                }
            }
        }
        wire::int(deleted)
    }

    /// A key that is written while its slot moves is where the write was executed: what is at the source stays there
    /// until it is moved, what is not comes into being at the target.
    pub fn arrived_at(&mut self, key: usize) {
        let history = &self.oracle.keys[key];
        let state = history.state();
        let existed = state > 1 && history.entries[state - 2] != Entry::Deleted;
        if let Some(moving) = &mut self.cluster.slots[history.tag].moving {
            if !existed {
                moving.moved.insert(key);
            }
        }
    }

    /// A node answers what nobody asked, on a connection where nothing is under way.
    pub fn surplus(&mut self, conn: usize) {
        let c = &self.conns[conn];
        let quiet =
            c.open && c.connected && c.peer_open && c.down.held == 0 && c.up.held == 0 && c.unread.is_empty();
        let quiet = quiet && !self.is_blocked(conn) && c.taken.is_empty();
        let idle = c.down.last < self.now && c.up.last < self.now;
        if quiet && idle && c.up.end == End::Open {
            self.totals.sick += 1;
            self.conns[conn].up.arrived.extend_from_slice(b"+surplus\r\n");
            self.conns[conn].up.held += 10;
            self.conns[conn].readable = true;
            let failures = self.engine.counters().backend_failures;
            while self.conns[conn].open && !self.conns[conn].up.arrived.is_empty() {
                self.pump(conn);
            }
            let lost = self.engine.counters().backend_failures > failures;
            assert!(lost, "a node answered what nobody asked, and is believed on");
        }
    }
}

pub fn tag_of(name: &[u8]) -> usize {
    let text = String::from_utf8_lossy(name);
    let tag = text.strip_prefix("{h").and_then(|t| t.split('}').next()).and_then(|t| t.parse().ok());
    tag.unwrap_or_else(|| panic!("no tag in {text}"))
}

/// The keys of a command.
pub fn names_of<'a>(name: &str, args: &'a [Vec<u8>]) -> Vec<&'a Vec<u8>> {
    if let Some(names) = waits::names_of(name, args) {
        return names;
    }
    match name {
        "ECHO" => Vec::new(),
        "MSET" => args[1..].iter().step_by(2).collect(),
        "MGET" | "DEL" | "UNLINK" | "EXISTS" | "TOUCH" => args[1..].iter().collect(),
        _ => vec![&args[1]],
    }
}

pub fn shown(args: &[Vec<u8>]) -> String {
    let short = |a: &Vec<u8>| String::from_utf8_lossy(&a[..a.len().min(24)]).into_owned();
    args.iter().map(short).collect::<Vec<_>>().join(" ")
}
