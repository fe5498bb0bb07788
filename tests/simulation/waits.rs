//! Lists, streams and commands that wait for them: what clients say, how nodes keep who is blocked, and the judge of what
//! was delivered.
//!
//! Each element of a list is a token of its own. Once taken off a list it belongs to the connection that the node has
//! answered on; it may be lost with that connection or with its client, and in no other way.

use super::history::{Entry, Kind};
use super::oracle::{Fate, Op, What};
use super::stream::Item;
use super::wire::{self, Value};
use super::world::{Dir, Event, World};

/// A connection that waits at a node, in the order in which they came.
#[derive(Debug)]
pub struct Blocked {
    pub conn: usize,
    pub node: usize,
    pub tag: usize,
    args: Vec<Vec<u8>>,
    serial: u64,
}

/// A command that takes an element, as its client knows it.
#[derive(Debug)]
pub struct Wait {
    pub fate: Fate,
}

/// An element that was taken off a list.
#[derive(Debug)]
pub struct Taken {
    pub conn: usize,
    /// For which command.
    pub wait: usize,
    pub delivered: bool,
}

/// How a command waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Inside a transaction: not at all.
    Never,
    /// So many microseconds.
    After(u64),
    Endless,
}

const DEMOTED: &[u8] =
    b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n";

/// The keys of a command that may wait, as its arguments name them.
pub fn names_of<'a>(name: &str, args: &'a [Vec<u8>]) -> Option<Vec<&'a Vec<u8>>> {
    Some(match name {
        "BLPOP" | "BRPOP" => args[1..args.len() - 1].iter().collect(),
        "BLMPOP" => args[3..5].iter().collect(),
        "BLMOVE" => args[1..3].iter().collect(),
        "XREAD" => vec![&args[4]],
        _ => return None,
    })
}

fn timeout_us(name: &str, args: &[Vec<u8>]) -> u64 {
    let text = |i: usize| String::from_utf8_lossy(&args[i]).into_owned();
    let (text, unit) = match name {
        "XREAD" => (text(2), 1e3),
        "BLMPOP" => (text(1), 1e6),
        _ => (text(args.len() - 1), 1e6),
    };
    let number: f64 = text.parse().unwrap_or_else(|_| panic!("the proxy sent the timeout {text}"));
    (number * unit) as u64
}

impl World {
    /// RPUSH, XADD, or something that waits.
    pub fn compose_wait(&mut self, client: usize) -> (Op, Vec<u8>) {
        let no = self.clients[client].next_no;
        match self.dice.below(10) {
            0..=3 => {
                let key = self.key(Some(Kind::List));
                let count = self.dice.between(1, 3);
                let tokens: Vec<u32> = (0..count).map(|_| self.oracle.token(client, no, Some(key))).collect();
                let mut args = vec!["RPUSH".to_owned(), self.name(key)];
                args.extend(tokens.iter().map(|t| format!("e{t}")));
                (self.op(client, What::Push(tokens), &[key]), wire::command(&args))
            }
            4 => {
                let key = self.key(Some(Kind::Stream));
                let token = self.oracle.token(client, no, Some(key));
                let args = ["XADD", &self.name(key), "*", "f", &format!("e{token}")];
                (self.op(client, What::XAdd(key, token), &[key]), wire::command(&args))
            }
            5 => self.compose_xread(client),
            6 => self.compose_move(client),
            _ => self.compose_pop(client),
        }
    }

    fn draw_timeout(&mut self) -> Timeout {
        if self.pinned.is_some() {
            return Timeout::Never;
        }
        match self.dice.below(4) {
            0 => Timeout::Endless,
            1 => Timeout::After(self.dice.us(1, 20) * 1000),
            _ => Timeout::After(self.dice.us(1, 1500) * 1000),
        }
    }

    fn compose_pop(&mut self, client: usize) -> (Op, Vec<u8>) {
        let key = self.key(Some(Kind::List));
        let wait = self.oracle.waits.len();
        self.oracle.waits.push(Wait { fate: Fate::Open });
        let timeout = self.draw_timeout();
        let (name, text) = (self.name(key), seconds(timeout));
        let mark = format!("{{h{}}}w{wait}", self.oracle.keys[key].tag);
        let args: Vec<&str> = match self.dice.below(4) {
            0 => vec!["BRPOP", &name, &mark, &text],
            1 => vec!["BLMPOP", &text, "2", &mark, &name, "LEFT"],
            2 => vec!["BLPOP", &mark, &name, &text],
            _ => vec!["blpop", &name, &mark, &text],
        };
        (self.op(client, What::Pop { key, wait, timeout }, &[]), wire::command(&args))
    }

    fn compose_move(&mut self, client: usize) -> (Op, Vec<u8>) {
        let from = self.key(Some(Kind::List));
        let tag = self.oracle.keys[from].tag;
        let to = loop {
            let to = self.key(Some(Kind::List));
            if self.oracle.keys[to].tag == tag {
                break to;
            }
        };
        let timeout = self.draw_timeout();
        let args = ["BLMOVE", &self.name(from), &self.name(to), "LEFT", "RIGHT", &seconds(timeout)];
        (self.op(client, What::Move { from, to, timeout }, &[]), wire::command(&args))
    }

    fn compose_xread(&mut self, client: usize) -> (Op, Vec<u8>) {
        let key = self.key(Some(Kind::Stream));
        // From what somebody is sure of, so that it often waits.
        let after = self.oracle.keys[key].floor.saturating_sub(self.dice.below(2));
        let timeout = self.draw_timeout();
        let ms = match timeout {
            Timeout::After(us) => us / 1000,
            _ => 0,
        };
        let (ms, id) = (ms.to_string(), format!("{after}-0"));
        let args = ["XREAD", "BLOCK", &ms, "STREAMS", &self.name(key), &id];
        (self.op(client, What::XRead { key, after, timeout }, &[key]), wire::command(&args))
    }

    /// Carries out a command on lists and streams if nothing has to be waited for; `None` for other commands.
    pub fn try_now(&mut self, conn: usize, name: &str, args: &[Vec<u8>]) -> Option<Option<Vec<u8>>> {
        let key = |w: &World, name: &Vec<u8>| w.oracle.key_named(name);
        Some(match name {
            "RPUSH" => {
                let list = key(self, &args[1])?;
                args[2..].iter().for_each(|e| self.store(list, e));
                Some(wire::int(self.oracle.keys[list].list.len()))
            }
            "XADD" => {
                let stream = key(self, &args[1])?;
                self.store(stream, &args[4]);
                Some(wire::bulk(format!("{}-0", self.oracle.keys[stream].state()).as_bytes()))
            }
            "XREAD" => self.read_stream(key(self, &args[4])?, conn, &args[5]),
            "BLMOVE" => {
                let (from, to) = (key(self, &args[1])?, key(self, &args[2])?);
                self.oracle.keys[from].pop(true).map(|token| {
                    let list = &mut self.oracle.keys[to];
                    list.version += 1;
                    list.list.push_back(token);
                    self.arrived_at(to);
                    *self.oracle.moves.entry((token, from, to)).or_default() += 1;
                    wire::bulk(format!("e{token}").as_bytes())
                })
            }
            "BLPOP" | "BRPOP" | "BLMPOP" => {
                let names = names_of(name, args).unwrap_or_default();
                let list = names.iter().find_map(|n| key(self, n))?;
                let mark = names.iter().find_map(|n| mark_of(n))?;
                self.oracle.keys[list].pop(name != "BRPOP").map(|token| {
                    let taken = Taken { conn, wait: mark, delivered: false };
                    let before = self.oracle.taken.insert(token, taken);
                    assert!(before.is_none(), "element {token} was taken twice");
                    let element = wire::bulk(format!("e{token}").as_bytes());
                    let inner = if name == "BLMPOP" { b"*1\r\n".to_vec() } else { Vec::new() };
                    let name = wire::bulk(self.oracle.keys[list].name.as_bytes());
                    [b"*2\r\n".to_vec(), name, inner, element].concat()
                })
            }
            _ => return None,
        })
    }

    fn read_stream(&self, key: usize, conn: usize, id: &[u8]) -> Option<Vec<u8>> {
        let text = String::from_utf8_lossy(id);
        let after: usize = text.strip_suffix("-0").and_then(|n| n.parse().ok())?;
        let entries = &self.oracle.keys[key].entries;
        let new = entries.get(after..).filter(|e| !e.is_empty())?;
        let head = if self.conns[conn].session.resp3 { "%1\r\n" } else { "*1\r\n*2\r\n" };
        let mut out = head.as_bytes().to_vec();
        out.extend(wire::bulk(self.oracle.keys[key].name.as_bytes()));
        out.extend(format!("*{}\r\n", new.len()).into_bytes());
        for (i, entry) in new.iter().enumerate() {
            let Entry::Token(token) = entry else { continue };
            out.extend(b"*2\r\n");
            out.extend(wire::bulk(format!("{}-0", after + i + 1).as_bytes()));
            out.extend(b"*2\r\n$1\r\nf\r\n");
            out.extend(wire::bulk(format!("e{token}").as_bytes()));
        }
        Some(out)
    }

    /// A connection waits from now on.
    pub fn block(&mut self, conn: usize, node: usize, tag: usize, name: &str, args: &[Vec<u8>]) {
        self.serial += 1;
        let serial = self.serial;
        match timeout_us(name, args) {
            0 => {}
            us => self.plan(us, Event::TimeOut(serial)),
        }
        self.totals.blocked += 1;
        self.blocked.push(Blocked { conn, node, tag, args: args.to_vec(), serial });
    }

    pub fn is_blocked(&self, conn: usize) -> bool {
        self.blocked.iter().any(|b| b.conn == conn)
    }

    /// A connection has gone.
    pub fn unblock(&mut self, conn: usize) -> bool {
        let before = self.blocked.len();
        self.blocked.retain(|b| b.conn != conn);
        self.blocked.len() < before
    }

    /// Serves whoever waits at a node for what is there by now.
    pub fn serve_blocked(&mut self, node: usize) {
        let mut at = 0;
        while at < self.blocked.len() {
            let b = &self.blocked[at];
            at += 1;
            if b.node != node {
                continue;
            }
            let (conn, args) = (b.conn, b.args.clone());
            let name = String::from_utf8_lossy(&args[0]).to_ascii_uppercase();
            let names = names_of(&name, &args).unwrap_or_default();
            let mut keys = names.iter().filter_map(|n| self.oracle.key_named(n));
            let here = keys.next().is_some_and(|k| self.holds(node, k)) && keys.all(|k| self.holds(node, k));
            let Some(Some(reply)) = here.then(|| self.try_now(conn, &name, &args)).flatten() else {
                continue;
            };
            self.blocked.remove(at - 1);
            self.wake(conn, node, reply);
            // Whoever came before may wait for what was moved.
            at = 0;
        }
    }

    /// A blocked connection gets its reply, and what it sent behind its command is looked at.
    fn wake(&mut self, conn: usize, node: usize, reply: Vec<u8>) {
        let shown = String::from_utf8_lossy(&reply[..reply.len().min(60)]).trim_end().to_owned();
        self.note(format_args!("node {node} conn {conn} wakes: {shown}"));
        self.node_says(conn, reply);
        self.plan(0, Event::Arrive(conn, Dir::Down));
    }

    fn nil_for(&self, conn: usize) -> Vec<u8> {
        if self.conns[conn].session.resp3 { &b"_\r\n"[..] } else { b"*-1\r\n" }.to_vec()
    }

    /// A blocked command has waited long enough.
    pub fn time_out(&mut self, serial: u64) {
        let Some(at) = self.blocked.iter().position(|b| b.serial == serial) else { return };
        let (conn, node) = (self.blocked[at].conn, self.blocked[at].node);
        if self.cluster.nodes[node].stalled {
            return self.plan(5000, Event::TimeOut(serial));
        }
        self.blocked.remove(at);
        let nil = self.nil_for(conn);
        self.wake(conn, node, nil);
    }

    /// A node that answers for a slot no more lets go of who waits for it.
    pub fn release_blocked(&mut self) {
        for at in (0..self.blocked.len()).rev() {
            let (conn, node, tag) = (self.blocked[at].conn, self.blocked[at].node, self.blocked[at].tag);
            if self.cluster.primary_of(tag) == node || self.cluster.nodes[node].stalled {
                continue;
            }
            self.blocked.remove(at);
            let error = match self.cluster.is_primary(node) {
                true => self.redirect("MOVED", node, tag, self.cluster.slots[tag].owner),
                false => DEMOTED.to_vec(),
            };
            self.wake(conn, node, error);
        }
    }

    /// CLIENT UNBLOCK at a node.
    pub fn unblock_at(&mut self, node: usize, args: &[Vec<u8>]) -> Vec<u8> {
        let conn: Option<usize> = String::from_utf8_lossy(&args[2]).parse().ok();
        let waits = |c: &usize| self.blocked.iter().any(|b| b.conn == *c && b.node == node);
        let Some(conn) = conn.filter(waits) else { return wire::int(0) };
        self.unblock(conn);
        let reply = match args[3].as_slice() {
            b"ERROR" => b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n".to_vec(),
            _ => self.nil_for(conn),
        };
        self.wake(conn, node, reply);
        wire::int(1)
    }

    /// When faults are over: somebody else gives all who wait what they wait for.
    pub fn feed(&mut self) {
        let mut hungry = Vec::new();
        for c in &self.clients {
            let what = c.sent.front().map(|op| &op.what);
            if let Some(What::Pop { key, .. } | What::Move { from: key, .. } | What::XRead { key, .. }) = what
            {
                hungry.push(*key);
            }
        }
        for key in hungry {
            self.feeds += 1;
            let token = self.oracle.token(usize::MAX, self.feeds, Some(key));
            self.store(key, format!("e{token}").as_bytes());
            self.oracle.tokens[token as usize].fate = Fate::Done;
            self.serve_blocked(self.cluster.primary_of(self.oracle.keys[key].tag));
        }
        if !self.draining {
            self.plan(50_000, Event::Feed);
        }
    }

    /// Judges what a command that may wait was answered.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub fn judge_wait(&mut self, op: &Op, reply: &Value) -> Result<(), String> {
        let timeout = match op.what {
            What::Pop { timeout, .. } | What::Move { timeout, .. } | What::XRead { timeout, .. } => timeout,
            _ => return Ok(()),
        };
        if reply.error().is_some_and(|e| e.starts_with("UNBLOCKED client ")) {
            self.clients[op.client].woken += 1;
            return self.may_be_woken(op);
        }
        let early = match timeout {
            Timeout::Never => false,
            Timeout::After(us) => self.now < op.sent_at + us,
            Timeout::Endless => true,
        };
        if reply.is_nil() && early {
            self.may_be_woken(op)?;
        }
        Ok(())
    }

    fn may_be_woken(&self, op: &Op) -> Result<(), String> {
        let c = &self.clients[op.client];
        match c.wakers > 0 || c.woken_at >= op.sent_at {
            true => Ok(()),
            false => Err("it was not to end yet, and nobody has unblocked it".into()),
        }
    }

    /// CLIENT ID, or CLIENT UNBLOCK of somebody who has asked for the own one.
    pub fn compose_unblock(&mut self, client: usize) -> (Op, Vec<u8>) {
        let known: Vec<(usize, i64)> =
            self.clients.iter().filter_map(|c| Some((c.number, c.id?))).filter(|c| c.0 != client).collect();
        if known.is_empty() || self.dice.chance(300) {
            return (self.op(client, What::ClientId, &[]), wire::command(&["CLIENT", "ID"]));
        }
        let (whom, id) = *self.dice.pick(&known);
        let error = self.dice.coin();
        self.clients[whom].wakers += 1;
        let (id, how) = (id.to_string(), if error { "ERROR" } else { "TIMEOUT" });
        (self.op(client, What::Unblock { whom, error }, &[]), wire::command(&["CLIENT", "UNBLOCK", &id, how]))
    }

    /// When all is over: no element was lost but with its connection or its client.
    pub fn conclude_waits(&mut self) {
        self.totals.delivered = self.oracle.taken.values().filter(|t| t.delivered).count() as u64;
        for (token, t) in self.oracle.taken.iter().filter(|(_, t)| !t.delivered) {
            let conn = &self.conns[t.conn];
            let client_left = self.oracle.waits[t.wait].fate == Fate::Open;
            let let_go = !conn.open && !self.oracle.calm;
            assert!(
                conn.disturbed || client_left || let_go,
                "element {token} was lost: {t:?} {:?}",
                self.oracle.waits[t.wait]
            );
        }
        if self.mix.fault_us > 0 {
            return;
        }
        for c in self.clients.iter().filter(|c| c.state == super::clients::State::Resting) {
            assert!(c.woken >= c.told_woken, "client {}: {} {}", c.number, c.woken, c.told_woken);
        }
    }

    /// What nodes push without being asked.
    pub fn node_pushes(&mut self, conn: usize, bytes: Vec<u8>) {
        if self.conns[conn].peer_open {
            let at = self.now;
            self.send(conn, Dir::Up, Item::Data(bytes), at);
        }
    }
}

impl super::oracle::Oracle {
    /// Judges a reply with what was taken.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub fn took(&mut self, op: &Op, reply: &Value) -> Result<(), String> {
        match (&op.what, reply) {
            (What::Push(_), Value::Int(n)) if *n > 0 => Ok(()),
            (What::XAdd(..), Value::Bulk(_)) => Ok(()),
            (What::Pop { wait, .. }, value) if value.is_nil() => {
                self.waits[*wait].fate = Fate::Done;
                Ok(())
            }
            (What::Move { .. } | What::XRead { .. }, value) if value.is_nil() => Ok(()),
            (What::Pop { key, wait, .. }, Value::Array(items)) => {
                self.waits[*wait].fate = Fate::Done;
                let [Value::Bulk(name), element] = items.as_slice() else { return Err("form".into()) };
                let element = match element {
                    Value::Array(one) if one.len() == 1 => &one[0],
                    other => other,
                };
                if *name != self.keys[*key].name.as_bytes() {
                    return Err("an element of another list".into());
                }
                let token = element_of(element).ok_or("no element")?;
                let taken = self.taken.get_mut(&token).ok_or("an element that was never taken")?;
                if std::mem::replace(&mut taken.delivered, true) {
                    return Err("an element that was delivered before".into());
                }
                match taken.wait == *wait {
                    true => Ok(()),
                    false => Err(format!("an element that was taken for another: {taken:?}")),
                }
            }
            (What::Move { from, to, .. }, element) => {
                let token = element_of(element).ok_or("no element")?;
                match self.moves.get_mut(&(token, *from, *to)) {
                    Some(n) if *n > 0 => {
                        *n -= 1;
                        Ok(())
                    }
                    _ => Err("an element that was not moved so".into()),
                }
            }
            (What::XRead { key, after, .. }, reply) => self.read_entries(op, *key, *after, reply),
            _ => Err("a reply of the wrong form".into()),
        }
    }

    fn read_entries(&self, op: &Op, key: usize, after: usize, reply: &Value) -> Result<(), String> {
        let (name, entries) = match reply {
            Value::Map(items) if op.resp3 && items.len() == 2 => (&items[0], &items[1]),
            Value::Array(streams) if !op.resp3 && streams.len() == 1 => match &streams[0] {
                Value::Array(items) if items.len() == 2 => (&items[0], &items[1]),
                _ => return Err("form".into()),
            },
            _ => return Err("form".into()),
        };
        let history = &self.keys[key];
        let Value::Array(entries) = entries else { return Err("form".into()) };
        let right_name = *name == Value::Bulk(history.name.clone().into_bytes());
        let all: Vec<Value> = history.entries.iter().enumerate().skip(after).map(entry_of).collect();
        let least = op.floors[0].saturating_sub(after).max(1);
        // The last ones may be lost by now: the reply may have waited for its turn meanwhile.
        let lost = self.lossy && entries.starts_with(&all);
        let right = right_name && entries.len() >= least && (all.starts_with(entries) || lost);
        if right {
            Ok(())
        } else {
            Err(format!("not the entries of {} behind {after}", history.name))
        }
    }
}

fn entry_of((i, entry): (usize, &Entry)) -> Value {
    let bulk = |text: String| Value::Bulk(text.into_bytes());
    let token = if let Entry::Token(t) = entry { *t } else { 0 };
    let fields = Value::Array(vec![bulk("f".into()), bulk(format!("e{token}"))]);
    Value::Array(vec![bulk(format!("{}-0", i + 1)), fields])
}

fn element_of(value: &Value) -> Option<u32> {
    let Value::Bulk(text) = value else { return None };
    std::str::from_utf8(text).ok()?.strip_prefix('e')?.parse().ok()
}

/// Which command that waits a name marks.
fn mark_of(name: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(name).ok()?;
    text.split_once("}w")?.1.parse().ok()
}

fn seconds(timeout: Timeout) -> String {
    match timeout {
        Timeout::After(us) => format!("{}.{:03}", us / 1_000_000, us / 1000 % 1000),
        _ => "0".into(),
    }
}
