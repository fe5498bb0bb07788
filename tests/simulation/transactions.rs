//! MULTI, EXEC, DISCARD, WATCH: what clients say, how nodes queue and execute, and the judge of both.
//!
//! A block begins with an ECHO of a token of its own, by which a node knows which one it executes: it must be exactly
//! what its client has queued, contiguous, and executed at most once; and EXEC must answer exactly what that node said.

use super::history::{token_of, Kind};
use super::node::shown;
use super::oracle::{Fate, Op, What};
use super::wire::{self, Value};
use super::world::World;

/// A transaction as its client and its node know it.
#[derive(Debug)]
pub struct Txn {
    /// What is inside, and its arguments; the ECHO first.
    inner: Vec<(Op, Vec<Vec<u8>>)>,
    mark: u32,
    watched: Vec<usize>,
    /// The versions of watched keys when WATCH was sent, and when it was answered well.
    before: Vec<usize>,
    watching: Option<Vec<usize>>,
    /// The state of the first watched key that was read behind WATCH.
    seen: Option<usize>,
    /// EXEC must be refused.
    spoiled: bool,
    /// What the node said, and the versions of watched keys and the state of the first right before it executed.
    executed: Option<(Value, Vec<usize>, usize)>,
}

impl Txn {
    pub fn is_spoiled(&self) -> bool {
        self.spoiled
    }
}

/// What a node queues for a connection.
#[derive(Debug, Default)]
pub struct Queue {
    commands: Vec<Vec<Vec<u8>>>,
    refused: bool,
}

/// A key that a connection watches, and its version then.
pub type Watched = (usize, usize);

fn exactly(text: &[u8]) -> What {
    What::Exactly(Value::Simple(text.to_vec()))
}

impl World {
    /// Begins a transaction with WATCH, or says one as a whole.
    pub fn compose_transaction(&mut self, client: usize) -> Vec<(Op, Vec<u8>)> {
        let tag = self.dice.below(self.mix.tags);
        self.pinned = Some(tag);
        let said = if self.dice.coin() { self.watch(client) } else { self.whole(client, Vec::new()) };
        self.pinned = None;
        said
    }

    fn versions(&self, keys: &[usize]) -> Vec<usize> {
        keys.iter().map(|k| self.oracle.keys[*k].version).collect()
    }

    /// WATCH and a read; the rest may follow later.
    fn watch(&mut self, client: usize) -> Vec<(Op, Vec<u8>)> {
        let kind = *self.dice.pick(&[Kind::Log, Kind::Counter]);
        let first = self.key(Some(kind));
        let mut watched = vec![first];
        if self.dice.chance(300) {
            watched.push(self.key(None));
        }
        let txn = self.oracle.txns.len();
        self.oracle.txns.push(Txn {
            inner: Vec::new(),
            mark: 0,
            before: self.versions(&watched),
            watched: watched.clone(),
            watching: None,
            seen: None,
            spoiled: false,
            executed: None,
        });
        let mut args = vec!["WATCH".to_owned()];
        args.extend(watched.iter().map(|k| self.name(*k)));
        let watch = (self.op(client, What::Watch(txn), &[]), wire::command(&args));
        let mut peek = self.op(client, What::Peek(first, txn), &[first]);
        peek.replica = false;
        let peek = (peek, wire::command(&["GET", &self.name(first)]));
        self.clients[client].watching = Some((txn, self.oracle.keys[first].tag));
        vec![watch, peek]
    }

    /// The rest of a transaction that began with WATCH.
    pub fn finish_transaction(&mut self, client: usize, txn: usize, tag: usize) -> Vec<(Op, Vec<u8>)> {
        self.pinned = Some(tag);
        let said = if self.dice.chance(100) {
            vec![(self.op(client, exactly(b"OK"), &[]), wire::command(&["UNWATCH"]))]
        } else {
            self.whole(client, vec![txn])
        };
        self.pinned = None;
        said
    }

    /// MULTI to EXEC or DISCARD.
    fn whole(&mut self, client: usize, watching: Vec<usize>) -> Vec<(Op, Vec<u8>)> {
        let txn = watching.first().copied().unwrap_or_else(|| {
            let (inner, watched, before) = (Vec::new(), Vec::new(), Vec::new());
            let (mark, watching, seen, spoiled, executed) = (0, None, None, false, None);
            self.oracle.txns.push(Txn { inner, mark, watched, before, watching, seen, spoiled, executed });
            self.oracle.txns.len() - 1
        });
        let mut said = vec![(self.op(client, exactly(b"OK"), &[]), wire::command(&["MULTI"]))];
        let no = self.clients[client].next_no;
        let mark = self.oracle.token(client, no, None);
        let echo = What::Exactly(Value::Bulk(format!("#{mark}").into_bytes()));
        let echo = (self.op(client, echo, &[]), wire::command(&["ECHO", &format!("#{mark}")]));
        let mut inner = vec![echo];
        for _ in 0..self.dice.between(0, 4) {
            let mut one = match self.dice.below(6) {
                0 if self.mix.waits > 0 => self.compose_wait(client),
                1 => self.several(client),
                _ => self.single(client),
            };
            one.0.replica = false;
            inner.push(one);
        }
        for (op, text) in inner {
            let queued = (self.op(client, exactly(b"QUEUED"), &[]), text.clone());
            said.push(queued);
            let args = wire::parse_any_command(&text);
            self.oracle.txns[txn].inner.push((op, args));
        }
        self.oracle.txns[txn].mark = mark;
        if self.dice.chance(60) {
            said.push(self.spoil(client));
            self.oracle.txns[txn].spoiled = true;
        }
        if self.dice.chance(80) {
            self.oracle.settle_txn(txn, Fate::Refused);
            said.push((self.op(client, exactly(b"OK"), &[]), wire::command(&["DISCARD"])));
        } else {
            said.push((self.op(client, What::Exec(txn), &[]), wire::command(&["EXEC"])));
        }
        said
    }

    /// Something after which EXEC is refused.
    fn spoil(&mut self, client: usize) -> (Op, Vec<u8>) {
        let (what, args): (&'static str, &[&str]) = match self.dice.below(3) {
            0 => ("CROSSSLOT ", &["MSET", "{h0}r0", "v", "{h1}r0", "v"]),
            1 => ("ERR wrong number", &["GET"]),
            _ => ("ERR 'subscribe' is not supported inside MULTI", &["SUBSCRIBE", "c0"]),
        };
        (self.op(client, What::Fails(what), &[]), wire::command(args))
    }

    /// What a node makes of a command of a connection that is inside MULTI, or that is about transactions.
    pub fn queue(&mut self, conn: usize, node: usize, name: &str, args: &[Vec<u8>]) -> Option<Vec<u8>> {
        let session = &mut self.conns[conn].session;
        match (name, session.queue.is_some()) {
            ("MULTI", false) => session.queue = Some(Queue::default()),
            ("UNWATCH", false) => session.watched.clear(),
            ("WATCH", false) => return Some(self.watch_at(conn, node, args)),
            ("EXEC", true) => return Some(self.execute_block(conn, node)),
            (_, true) => {
                let refusal = self.refuse_queued(node, name, args);
                let queue = self.conns[conn].session.queue.get_or_insert_with(Queue::default);
                queue.commands.push(args.to_vec());
                queue.refused |= refusal.is_some();
                return Some(refusal.unwrap_or_else(|| b"+QUEUED\r\n".to_vec()));
            }
            _ => return None,
        }
        Some(b"+OK\r\n".to_vec())
    }

    fn watch_at(&mut self, conn: usize, node: usize, args: &[Vec<u8>]) -> Vec<u8> {
        let names: Vec<&Vec<u8>> = args[1..].iter().collect();
        if let Some(refusal) = self.refuse_keys(node, &names, false, args) {
            return refusal;
        }
        let keys: Vec<usize> = names.iter().filter_map(|n| self.oracle.key_named(n)).collect();
        for key in keys {
            let version = self.oracle.keys[key].version;
            self.conns[conn].session.watched.push((key, version));
        }
        b"+OK\r\n".to_vec()
    }

    fn refuse_queued(&mut self, node: usize, name: &str, args: &[Vec<u8>]) -> Option<Vec<u8>> {
        let names = super::node::names_of(name, args);
        match names.is_empty() {
            true => None,
            false => self.refuse_keys(node, &names, false, args),
        }
    }

    fn execute_block(&mut self, conn: usize, node: usize) -> Vec<u8> {
        let session = &mut self.conns[conn].session;
        let queue = session.queue.take().unwrap_or_default();
        let watched = std::mem::take(&mut session.watched);
        let resp3 = session.resp3;
        let all: Vec<Vec<u8>> = queue.commands.iter().flatten().cloned().collect();
        let names: Vec<&Vec<u8>> = queue
            .commands
            .iter()
            .flat_map(|c| super::node::names_of(&String::from_utf8_lossy(&c[0]).to_ascii_uppercase(), c))
            .collect();
        // As a server, which looks at the keys of EXEC before it looks at what it has refused.
        if !names.is_empty() {
            if let Some(refusal) = self.refuse_keys(node, &names, false, &all) {
                return refusal;
            }
        }
        if queue.refused {
            self.oracle.bounce(&all, self.now);
            return b"-EXECABORT Transaction discarded because of previous errors.\r\n".to_vec();
        }
        if watched.iter().any(|(key, version)| self.oracle.keys[*key].version != *version) {
            return if resp3 { b"_\r\n".to_vec() } else { b"*-1\r\n".to_vec() };
        }
        let txn = self.recognize(&queue);
        let keys = self.oracle.txns[txn].watched.clone();
        let versions = self.versions(&keys);
        let state = keys.first().map_or(0, |k| self.oracle.keys[*k].state());
        self.oracle.execute(self.oracle.txns[txn].mark, None);
        let mut out = format!("*{}\r\n", queue.commands.len()).into_bytes();
        for args in &queue.commands {
            let name = String::from_utf8_lossy(&args[0]).to_ascii_uppercase();
            out.extend(self.execute_inside(conn, &name, args, resp3));
        }
        self.totals.blocks += 1;
        let said = wire::parse(&out).ok().flatten().unwrap_or_else(|| panic!("what a node says is no RESP"));
        self.oracle.txns[txn].executed = Some((said.0, versions, state));
        out
    }

    /// Which transaction a node is about to execute.
    fn recognize(&self, queue: &Queue) -> usize {
        let all = || queue.commands.iter().map(|c| shown(c)).collect::<Vec<_>>().join("; ");
        let mark = queue.commands.first().and_then(|c| token_of(c.get(1)?));
        let Some(txn) = self.oracle.txns.iter().rposition(|t| Some(t.mark) == mark && !t.inner.is_empty())
        else {
            panic!("a node was given a block that no client has queued: {}", all());
        };
        let t = &self.oracle.txns[txn];
        let wanted: Vec<&Vec<Vec<u8>>> = t.inner.iter().map(|(_, args)| args).collect();
        let same =
            wanted.len() == queue.commands.len() && wanted.iter().zip(&queue.commands).all(|(a, b)| *a == b);
        assert!(same, "a node was given another block than its client has queued: {}", all());
        assert!(!t.spoiled, "a block with an error in it was sent to a node: {}", all());
        txn
    }

    fn execute_inside(&mut self, conn: usize, name: &str, args: &[Vec<u8>], resp3: bool) -> Vec<u8> {
        if name == "ECHO" {
            return wire::bulk(&args[1]);
        }
        if let Some(reply) = self.try_now(conn, name, args) {
            let nil = if resp3 { b"_\r\n".to_vec() } else { b"*-1\r\n".to_vec() };
            return reply.unwrap_or(nil);
        }
        let names = super::node::names_of(name, args);
        let keys: Vec<Option<usize>> = names.iter().map(|n| self.oracle.key_named(n)).collect();
        self.execute(name, &keys, args, resp3, false)
    }

    /// Judges the answer to WATCH, to a read behind it, and to EXEC.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub fn judge_transaction(&mut self, op: &Op, reply: &Value) -> Result<(), String> {
        match op.what {
            What::Watch(txn) if reply.error().is_none() => {
                let versions = self.versions(&self.oracle.txns[txn].watched.clone());
                self.oracle.txns[txn].watching = Some(versions);
                match *reply == Value::Simple(b"OK".to_vec()) {
                    true => Ok(()),
                    false => Err("WATCH was not answered OK".into()),
                }
            }
            What::Exec(txn) => self.oracle.judge_exec(op, txn, reply, self.mix.fault_us == 0),
            _ => Ok(()),
        }
    }
}

impl super::oracle::Oracle {
    /// The client knows what became of a transaction.
    pub fn settle_txn(&mut self, txn: usize, fate: Fate) {
        let mark = self.txns[txn].mark;
        if let Some(t) = self.tokens.get_mut(mark as usize).filter(|_| !self.txns[txn].inner.is_empty()) {
            t.fate = fate;
        }
        for i in 1..self.txns[txn].inner.len() {
            let op = self.txns[txn].inner[i].0.clone();
            self.settle(&op, fate);
        }
    }

    /// A read behind WATCH.
    pub fn peeked(&mut self, txn: usize, state: usize) {
        self.txns[txn].seen = Some(state);
    }

    fn judge_exec(&mut self, op: &Op, txn: usize, reply: &Value, faultless: bool) -> Result<(), String> {
        let t = &self.txns[txn];
        let executed = t.executed.is_some();
        if t.spoiled {
            self.settle_txn(txn, Fate::Refused);
            let aborted = reply.error().is_some_and(|e| e.starts_with("EXECABORT "));
            return if aborted { Ok(()) } else { Err("EXEC behind an error was not refused".into()) };
        }
        if let Some(error) = reply.error() {
            let unknown = error.contains("outcome of this command is unknown");
            self.settle_txn(txn, if unknown { Fate::Unknown } else { Fate::Refused });
            // The rest is as with any error.
            return match executed && !unknown {
                true => Err("EXEC was refused, but the transaction was executed".into()),
                false => Ok(()),
            };
        }
        if reply.is_nil() {
            let changed = || t.watched.iter().zip(&t.before).any(|(k, v)| self.keys[*k].version != *v);
            if t.watched.is_empty() || executed || (faultless && !changed()) {
                return Err(format!("null, but watched: {:?}, executed: {executed}", t.watched));
            }
            let wrong = if op.resp3 { Value::Nil2 } else { Value::Nil3 };
            self.settle_txn(txn, Fate::Refused);
            return if *reply == wrong { Err("a null of the other protocol".into()) } else { Ok(()) };
        }
        let Some((said, versions, state)) = &t.executed else {
            return Err("EXEC was answered, but the transaction was not executed".into());
        };
        if let Some(watching) = &t.watching {
            if versions.iter().zip(watching).any(|(then, told)| then > told) {
                return Err("executed although a watched key had changed".into());
            }
            if t.seen.is_some_and(|seen| seen != *state) && !self.lossy {
                return Err(format!("executed in state {state}, but {:?} was read behind WATCH", t.seen));
            }
        }
        if said != reply {
            return Err(format!("the node said {said:?}"));
        }
        let Value::Array(replies) = reply else { return Err("no array".into()) };
        let replies = replies.clone();
        for (i, reply) in replies.iter().enumerate() {
            let op = self.txns[txn].inner[i].0.clone();
            self.reply(&op, reply).map_err(|e| format!("command {i}, {:?}: {e}", op.what))?;
        }
        let mark = self.txns[txn].mark;
        self.tokens[mark as usize].fate = Fate::Done;
        Ok(())
    }
}
