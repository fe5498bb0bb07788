//! The judge: what each request may be answered, and how often each write may have been executed.

use std::collections::BTreeMap;

use super::history::{token_of, Entry, History, Kind};
use super::mix::Mix;
use super::topics::{Message, Scope};
use super::transactions::Txn;
use super::waits::{Taken, Timeout, Wait};
use super::wire::{self, Value};

/// What became of a write, as its client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Not answered, or its client went before: executed once or not at all.
    Open,
    /// Executed once.
    Done,
    /// The client was told that nobody knows: once or not at all.
    Unknown,
    /// Not executed.
    Refused,
}

/// One write, by one client, to one key.
#[derive(Debug)]
pub struct Token {
    pub client: usize,
    pub no: u32,
    pub key: Option<usize>,
    pub executed: u32,
    /// The state of its key right behind it.
    pub state: usize,
    /// A node has answered "not now": what its client sent behind it may have overtaken it.
    pub bounced: bool,
    pub fate: Fate,
}

/// A request as its client remembers it.
#[derive(Clone, Debug)]
pub struct Op {
    pub client: usize,
    pub no: u32,
    pub what: What,
    pub resp3: bool,
    /// May be answered from a replica, which may lag.
    pub replica: bool,
    /// For each key the state that somebody was sure of when this was sent.
    pub floors: Vec<usize>,
    pub sent_at: u64,
}

impl Op {
    /// Whether this may wait for somebody else.
    pub fn waits(&self) -> bool {
        matches!(self.what, What::Pop { .. } | What::Move { .. } | What::XRead { .. })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Exactly this frame.
    Exactly(Value),
    /// An error that begins so.
    Fails(&'static str),
    /// HELLO.
    Hello,
    Quit,
    Set(usize, u32),
    GetSet(usize, u32),
    Get(usize),
    Strlen(usize),
    Append(usize, u32),
    Incr(usize),
    /// Keys, and the marks that came along: one per slot.
    Del(Vec<usize>, Vec<u32>),
    Count(Vec<usize>),
    MGet(Vec<usize>),
    /// KEYS.
    Keys,
    MSet(Vec<(usize, u32)>),
    /// RPUSH.
    Push(Vec<u32>),
    XAdd(usize, u32),
    Pop {
        key: usize,
        wait: usize,
        timeout: Timeout,
    },
    /// BLMOVE.
    Move {
        from: usize,
        to: usize,
        timeout: Timeout,
    },
    XRead {
        key: usize,
        after: usize,
        timeout: Timeout,
    },
    ClientId,
    Unblock {
        whom: usize,
        error: bool,
    },
    /// All of a transaction.
    Watch(usize),
    Peek(usize, usize),
    Exec(usize),
    Publish(usize),
    Subscribe(Scope, Vec<String>),
    Unsubscribe(Scope, Vec<String>),
    SubscriberPing(String),
}

#[derive(Debug, Default)]
pub struct Oracle {
    pub keys: Vec<History>,
    pub tokens: Vec<Token>,
    /// Acknowledged writes may be lost, so only what was executed how often is judged.
    pub lossy: bool,
    /// No error is acceptable.
    pub calm: bool,
    /// Counters: INCRs whose outcome nobody knows, by key.
    pub doubtful: Vec<usize>,
    /// When a node last answered "not now".
    pub bounced_at: u64,
    pub unknown_outcomes: u64,
    pub errors: u64,
    /// Commands that wait, elements that were taken by them, and moved by BLMOVE.
    pub waits: Vec<Wait>,
    pub taken: BTreeMap<u32, Taken>,
    pub moves: BTreeMap<(u32, usize, usize), u32>,
    pub txns: Vec<Txn>,
    pub messages: Vec<Message>,
}

/// What an error of the cluster, or of the proxy about the cluster, may begin with.
const HONEST: &[&str] = &[
    "CLUSTERDOWN ",
    "TRYAGAIN ",
    "LOADING ",
    "MASTERDOWN ",
    "READONLY ",
    "MOVED ",
    "ASK ",
    "OOM ",
    "ERR node ",
    "ERR the proxy could not log in",
    "ERR too large",
    "ERR the node where the client waits did not answer",
    "EXECABORT ",
    "UNBLOCKED client unblocked via CLIENT UNBLOCK",
    // The last word of a node when nobody took its place in time.
    "UNBLOCKED force unblock from blocking operation",
];

impl Oracle {
    pub fn new(mix: &Mix) -> Self {
        let mut keys = Vec::new();
        for tag in 0..mix.tags {
            for (letter, kind, count) in [
                ('r', Kind::Register, 2),
                ('a', Kind::Log, 2),
                ('n', Kind::Counter, 1),
                ('l', Kind::List, 2),
                ('s', Kind::Stream, 1),
            ] {
                for n in 0..count {
                    keys.push(History::new(format!("{{h{tag}}}{letter}{n}"), kind, tag, mix.padding));
                }
            }
        }
        let doubtful = vec![0; keys.len()];
        Oracle {
            keys,
            doubtful,
            lossy: mix.lossy,
            calm: mix.fault_us == 0 || mix.gentle,
            ..Oracle::default()
        }
    }

    pub fn token(&mut self, client: usize, no: u32, key: Option<usize>) -> u32 {
        let (executed, state, bounced, fate) = (0, 0, false, Fate::Open);
        self.tokens.push(Token { client, no, key, executed, state, bounced, fate });
        self.tokens.len() as u32 - 1
    }

    pub fn key_named(&self, name: &[u8]) -> Option<usize> {
        self.keys.iter().position(|k| k.name.as_bytes() == name)
    }

    /// A node executes a write.
    pub fn execute(&mut self, token: u32, entry: Option<Entry>) {
        let t = &mut self.tokens[token as usize];
        t.executed += 1;
        assert!(t.executed == 1, "a write was executed twice: token {token} {t:?}");
        assert!(t.fate != Fate::Refused, "a write was executed after it was refused: token {token} {t:?}");
        let (Some(key), Some(entry)) = (t.key, entry) else { return };
        let history = &mut self.keys[key];
        history.push(entry);
        t.state = history.state();
        let latest = history.latest.entry(t.client).or_default();
        // A request whose outcome is unknown may lie in the buffers of a node that stands still.
        assert!(
            *latest <= t.no || t.bounced || t.fate == Fate::Unknown,
            "client {}: request {} was executed behind {latest} on {}: token {token}",
            t.client,
            t.no,
            history.name
        );
        *latest = t.no.max(*latest);
    }

    /// A node answered "not now" to a request with these arguments.
    pub fn bounce(&mut self, args: &[Vec<u8>], now: u64) {
        self.bounced_at = now;
        for arg in &args[1..] {
            if let Some(t) = token_of(arg).and_then(|t| self.tokens.get_mut(t as usize)) {
                t.bounced = true;
            }
            let message =
                std::str::from_utf8(arg).ok().and_then(|a| a.strip_prefix('m')?.parse::<usize>().ok());
            if let Some(m) = message.and_then(|m| self.messages.get_mut(m)) {
                m.bounced = true;
            }
        }
    }

    /// A slot came back to a node that has refused commands for it: what is under way may be executed in any order.
    pub fn disorder(&mut self, tag: usize, now: u64) {
        self.bounced_at = now;
        let keys = &self.keys;
        let open = |t: &&mut Token| t.executed == 0 && t.key.is_some_and(|k| keys[k].tag == tag);
        self.tokens.iter_mut().filter(open).for_each(|t| t.bounced = true);
    }

    pub fn floors(&self, keys: &[usize]) -> Vec<usize> {
        keys.iter().map(|k| self.keys[*k].floor).collect()
    }

    /// The client of these writes has gone, or what it sent was cut off or ignored.
    pub fn settle(&mut self, op: &Op, fate: Fate) {
        for token in tokens_of(&op.what) {
            self.tokens[token as usize].fate = fate;
        }
        match op.what {
            What::Incr(key) if fate != Fate::Refused => self.doubtful[key] += 1,
            What::Pop { wait, .. } => self.waits[wait].fate = fate,
            What::Exec(txn) => self.settle_txn(txn, fate),
            _ => {}
        }
    }

    /// Judges a reply.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub fn reply(&mut self, op: &Op, reply: &Value) -> Result<(), String> {
        if let What::Exactly(expected) = &op.what {
            return expect(expected == reply, || format!("expected {expected:?}"));
        }
        if let What::Fails(prefix) = op.what {
            // The cluster is asked about a command that the proxy does not know, when it can be.
            let asked = prefix.starts_with("ERR unknown command");
            let fits = |e: &str| {
                e.starts_with(prefix)
                    || (asked && (e.starts_with("CLUSTERDOWN ") || e.starts_with("ERR too large")))
            };
            return expect(reply.error().is_some_and(|e| fits(&e)), || format!("expected -{prefix}"));
        }
        match reply.error() {
            Some(error) => self.error(op, &error),
            None => self.success(op, reply),
        }
    }

    fn error(&mut self, op: &Op, error: &str) -> Result<(), String> {
        self.errors += 1;
        if matches!(op.what, What::Exec(txn) if self.txns[txn].is_spoiled()) {
            return Ok(());
        }
        let woken = error.starts_with("UNBLOCKED client ");
        // The question may lie behind replies that have to wait for a client who does not take them.
        let waited = matches!(op.what, What::Unblock { .. }) && error.starts_with("ERR the node where");
        expect(!self.calm || woken || waited, || "an error although nothing went wrong".into())?;
        expect(HONEST.iter().any(|h| error.starts_with(h)), || "an error of no known kind".into())?;
        let unknown = error.contains("outcome of this command is unknown");
        self.unknown_outcomes += u64::from(unknown);
        let parts = match &op.what {
            What::MSet(pairs) => pairs.len(),
            // TRYAGAIN makes one part for each key.
            What::Del(keys, marks) if marks.iter().any(|m| self.tokens[*m as usize].bounced) => {
                keys.len() + 1
            }
            What::Del(_, marks) => marks.len(),
            _ => 1,
        };
        if matches!(op.what, What::Exec(_)) {
            // `judge_exec` has settled that.
            return Ok(());
        }
        // Other parts of a split request may have been executed.
        self.settle(op, if unknown || parts > 1 { Fate::Unknown } else { Fate::Refused });
        for token in tokens_of(&op.what) {
            let t = &self.tokens[token as usize];
            expect(t.fate != Fate::Refused || t.executed == 0, || {
                format!("refused, but it was executed: token {token} {t:?}")
            })?;
        }
        Ok(())
    }

    fn success(&mut self, op: &Op, reply: &Value) -> Result<(), String> {
        for token in tokens_of(&op.what) {
            let t = &mut self.tokens[token as usize];
            t.fate = Fate::Done;
            expect(t.executed == 1, || format!("acknowledged, but not executed once: token {token} {t:?}"))?;
            if let Some(key) = t.key {
                self.keys[key].floor = self.keys[key].floor.max(t.state);
            }
        }
        match (&op.what, reply) {
            (What::Hello, Value::Map(fields)) => {
                expect(op.resp3 && fields.len() == 14, || "form of HELLO".into())
            }
            (What::Hello, Value::Array(fields)) => {
                expect(!op.resp3 && fields.len() == 14, || "form of HELLO".into())
            }
            (What::Set(..) | What::MSet(_) | What::Quit, Value::Simple(ok)) => {
                expect(ok == b"OK", || "not OK".into())
            }
            (What::GetSet(key, token), old) => self.old_value(*key, *token, old, op),
            (What::Get(key), value) => self.read(op, 0, *key, value),
            (What::Append(key, token), Value::Int(len)) => {
                let state = self.tokens[*token as usize].state;
                let right = self.lossy || self.keys[*key].len(state) as i64 == *len;
                expect(right, || format!("not the length behind token {token}"))
            }
            (What::Strlen(key), Value::Int(len)) => self.length(op, *key, *len),
            (What::Incr(key), Value::Int(n)) => self.counted(op, *key, *n),
            (What::Del(keys, _), Value::Int(n)) => {
                expect((0..=keys.len() as i64).contains(n), || "more than there are keys".into())
            }
            (What::Count(keys), Value::Int(n)) => self.count(op, keys, *n),
            (What::Keys, Value::Array(names)) => {
                expect(are_whole(names), || "not all of what each node said".into())
            }
            (What::MGet(keys), Value::Array(values)) if values.len() == keys.len() => {
                (0..keys.len()).try_for_each(|i| self.read(op, i, keys[i], &values[i]))
            }
            (What::Peek(key, txn), value) => {
                self.read(op, 0, *key, value)?;
                if !self.lossy {
                    self.peeked(*txn, self.keys[*key].state_of(value, op.floors[0])?);
                }
                Ok(())
            }
            (What::Watch(_) | What::Exec(_), _)
            | (What::Publish(_) | What::ClientId | What::Unblock { .. }, Value::Int(_))
            | (What::SubscriberPing(_), _) => Ok(()),
            _ => self.took(op, reply),
        }
    }

    fn old_value(&self, key: usize, token: u32, old: &Value, op: &Op) -> Result<(), String> {
        self.null_form(op, old)?;
        if self.lossy {
            return Ok(());
        }
        let before = self.tokens[token as usize].state - 1;
        let value = self.keys[key].value(before);
        let same = match old {
            Value::Bulk(text) => value.as_ref() == Some(text),
            old => old.is_nil() && value.is_none(),
        };
        expect(same, || format!("the value before token {token} was another one"))
    }

    fn null_form(&self, op: &Op, value: &Value) -> Result<(), String> {
        let wrong = if op.resp3 { Value::Nil2 } else { Value::Nil3 };
        expect(*value != wrong, || "a null of the other protocol".into())
    }

    fn read(&self, op: &Op, index: usize, key: usize, value: &Value) -> Result<(), String> {
        self.null_form(op, value)?;
        let history = &self.keys[key];
        if self.lossy {
            return match (value, history.kind) {
                (Value::Bulk(text), Kind::Register) => {
                    expect(token_of(text).is_some_and(|t| history.register_text(t) == *text), || {
                        format!("not a value of {}", history.name)
                    })
                }
                (Value::Bulk(_), _) => Ok(()),
                (v, _) => expect(v.is_nil(), || "neither value nor null".into()),
            };
        }
        let floor = if op.replica { 0 } else { op.floors[index] };
        let state = history.state_of(value, floor)?;
        for entry in history.visible(state) {
            let Entry::Token(token) = entry else { continue };
            let t = &self.tokens[*token as usize];
            // What was sent behind a read that was answered "not now" may have overtaken it.
            let in_order =
                t.client != op.client || t.no < op.no || op.replica || self.bounced_at >= op.sent_at;
            expect(in_order, || format!("sees token {token}, which this client wrote behind it"))?;
        }
        Ok(())
    }

    fn length(&self, op: &Op, key: usize, len: i64) -> Result<(), String> {
        let history = &self.keys[key];
        let floor = if op.replica { 0 } else { op.floors[0] };
        let mut states = floor.min(history.state())..=history.state();
        let right = self.lossy || states.any(|s| history.len(s) as i64 == len);
        expect(right, || format!("{} never had this length since state {floor}", history.name))
    }

    fn counted(&mut self, op: &Op, key: usize, n: i64) -> Result<(), String> {
        if self.lossy {
            return Ok(());
        }
        let history = &mut self.keys[key];
        let n = usize::try_from(n).map_err(|e| e.to_string())?;
        expect(n > op.floors[0] && n <= history.state(), || "not in the range of the counter".into())?;
        history.floor = history.floor.max(n);
        let before = history.given.insert(n, op.client);
        expect(before.is_none(), || "this count was given out twice".into())
    }

    fn count(&self, op: &Op, keys: &[usize], n: i64) -> Result<(), String> {
        let sure = |(i, k): &(usize, &usize)| self.keys[**k].kind != Kind::Register && op.floors[*i] > 0;
        let least = keys.iter().enumerate().filter(sure).count();
        let least = if self.lossy || op.replica { 0 } else { least };
        expect((least as i64..=keys.len() as i64).contains(&n), || format!("{least} keys exist at least"))
    }

    /// When all is over: every write was executed as often as its client was told.
    pub fn conclude(&self) {
        for (i, t) in self.tokens.iter().enumerate() {
            let right = match t.fate {
                Fate::Done => t.executed == 1,
                Fate::Refused => t.executed == 0,
                Fate::Open | Fate::Unknown => t.executed <= 1,
            };
            assert!(right, "token {i} was executed wrongly often: {t:?}");
        }
        for (key, doubtful) in self.keys.iter().zip(&self.doubtful).filter(|_| !self.lossy) {
            if key.kind == Kind::Counter {
                let (told, all) = (key.given.len(), key.state());
                assert!(told <= all && all <= told + doubtful, "{}: {told} {doubtful} {all}", key.name);
            }
        }
    }
}

/// The writes of a request.
fn tokens_of(what: &What) -> Vec<u32> {
    match what {
        What::Set(_, t) | What::GetSet(_, t) | What::Append(_, t) => vec![*t],
        What::Del(_, marks) => marks.clone(),
        What::MSet(pairs) => pairs.iter().map(|p| p.1).collect(),
        What::Push(tokens) => tokens.clone(),
        What::XAdd(_, token) => vec![*token],
        _ => Vec::new(),
    }
}

fn expect(right: bool, text: impl FnOnce() -> String) -> Result<(), String> {
    if right {
        Ok(())
    } else {
        Err(text())
    }
}

/// What a node answers to KEYS: names that tell how many there are.
pub fn names_of_node(node: usize, count: usize) -> Vec<u8> {
    let name = |i: usize| wire::bulk(format!("{node}/{count}/{i}").as_bytes());
    let names: Vec<u8> = (0..count).flat_map(name).collect();
    [format!("*{count}\r\n").into_bytes(), names].concat()
}

/// Whether these are the names of some nodes, all of each, one node after the other.
fn are_whole(names: &[Value]) -> bool {
    let parsed = |value: &Value| match value {
        Value::Bulk(name) => {
            let numbers: Vec<usize> =
                String::from_utf8_lossy(name).split('/').filter_map(|n| n.parse().ok()).collect();
            <[usize; 3]>::try_from(numbers).ok()
        }
        _ => None,
    };
    let mut at = 0;
    while at < names.len() {
        let Some([node, count, 0]) = parsed(&names[at]) else { return false };
        let run = names.get(at..at + count).unwrap_or_default();
        if run.is_empty() || run.iter().enumerate().any(|(i, n)| parsed(n) != Some([node, count, i])) {
            return false;
        }
        at += count;
    }
    true
}
