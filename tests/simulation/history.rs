//! What was written to each key, in the order in which nodes executed it: the data of the cluster and the judge of what
//! clients read, in one.

use std::collections::{BTreeMap, VecDeque};

use super::wire::Value;

/// What a key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SET, GETSET, MSET, DEL: holds the last token and the name of its key.
    Register,
    /// APPEND only: holds every token.
    Log,
    /// INCR only.
    Counter,
    /// RPUSH, and whatever takes or moves elements: holds tokens.
    List,
    /// XADD only: each entry is a token.
    Stream,
}

impl Kind {
    pub fn is_string(self) -> bool {
        !matches!(self, Kind::List | Kind::Stream)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Token(u32),
    Deleted,
    Counted,
}

/// One key. A state of it is a number of entries.
#[derive(Debug)]
pub struct History {
    pub name: String,
    pub kind: Kind,
    pub tag: usize,
    pub entries: Vec<Entry>,
    /// Of a list: what is in it now.
    pub list: VecDeque<u32>,
    /// How often it was changed.
    pub version: usize,
    /// Whoever reads from a primary sees at least this state: some client was told so.
    pub floor: usize,
    /// Of a log: its text, and the length of it in each state.
    text: Vec<u8>,
    lens: Vec<usize>,
    /// Longest padding of a register's text.
    padding: usize,
    /// Of a counter: the values that clients were given.
    pub given: BTreeMap<usize, usize>,
    /// By client: its latest command that was executed here.
    pub latest: BTreeMap<usize, u32>,
}

impl History {
    pub fn new(name: String, kind: Kind, tag: usize, padding: usize) -> Self {
        History {
            name,
            kind,
            tag,
            entries: Vec::new(),
            list: VecDeque::new(),
            version: 0,
            floor: 0,
            text: Vec::new(),
            lens: vec![0],
            padding,
            given: BTreeMap::new(),
            latest: BTreeMap::new(),
        }
    }

    pub fn state(&self) -> usize {
        self.entries.len()
    }

    pub fn exists(&self) -> bool {
        if self.kind == Kind::List {
            return !self.list.is_empty();
        }
        self.entries.last().is_some_and(|e| *e != Entry::Deleted)
    }

    pub fn push(&mut self, entry: Entry) {
        self.version += 1;
        if let (Kind::List, Entry::Token(token)) = (self.kind, entry) {
            self.list.push_back(token);
        }
        if let (Kind::Log, Entry::Token(token)) = (self.kind, entry) {
            self.text.extend_from_slice(format!("[{token}]").as_bytes());
            self.lens.push(self.text.len());
        }
        self.entries.push(entry);
    }

    /// Takes an element from a list.
    pub fn pop(&mut self, first: bool) -> Option<u32> {
        self.version += 1;
        if first {
            self.list.pop_front()
        } else {
            self.list.pop_back()
        }
    }

    /// Loses the last writes.
    pub fn truncate(&mut self, state: usize) {
        self.version += 1;
        self.entries.truncate(state);
        if self.kind == Kind::Log {
            self.lens.truncate(state + 1);
            self.text.truncate(self.lens[state]);
        }
    }

    /// What SET writes for a token: token, key and padding follow from one another.
    pub fn register_text(&self, token: u32) -> Vec<u8> {
        let mut text = format!("v{token}@{}:", self.name).into_bytes();
        let padding = (token as usize).wrapping_mul(7919) % (self.padding + 1);
        text.resize(text.len() + padding, b'x');
        text
    }

    /// The value in a state.
    pub fn value(&self, state: usize) -> Option<Vec<u8>> {
        let last = *self.entries.get(state.checked_sub(1)?)?;
        match (self.kind, last) {
            (_, Entry::Deleted) => None,
            (Kind::Register, Entry::Token(token)) => Some(self.register_text(token)),
            (Kind::Log, _) => Some(self.text[..self.lens[state]].to_vec()),
            _ => Some(state.to_string().into_bytes()),
        }
    }

    /// Length of the value in a state.
    pub fn len(&self, state: usize) -> usize {
        match self.kind {
            Kind::Log => self.lens[state],
            _ => self.value(state).map_or(0, |v| v.len()),
        }
    }

    /// The state that a read saw, not before `floor`.
    ///
    /// # Errors
    /// A text when the key never had this value since.
    pub fn state_of(&self, read: &Value, floor: usize) -> Result<usize, String> {
        let states = floor..=self.state();
        let found = match read {
            v if v.is_nil() => states.rev().find(|s| self.value(*s).is_none()),
            Value::Bulk(text) => match self.kind {
                Kind::Log => self
                    .lens
                    .iter()
                    .position(|l| *l == text.len())
                    .filter(|s| states.contains(s) && self.text.starts_with(text)),
                Kind::Counter => {
                    String::from_utf8_lossy(text).parse().ok().filter(|s| states.contains(s) && *s > 0)
                }
                Kind::List | Kind::Stream => None,
                Kind::Register => {
                    let token = token_of(text);
                    let is = |e: &Entry| matches!(e, Entry::Token(t) if Some(*t) == token);
                    let state = self.entries.iter().rposition(is).map(|i| i + 1);
                    state.filter(|s| states.contains(s) && self.value(*s).as_ref() == Some(text))
                }
            },
            _ => None,
        };
        let shown = || {
            let from = self.entries.len().saturating_sub(12);
            format!(
                "{} was never {read:?} in states {floor}..={} (latest {:?})",
                self.name,
                self.state(),
                &self.entries[from..]
            )
        };
        found.ok_or_else(shown)
    }

    /// The tokens that are visible in a state.
    pub fn visible(&self, state: usize) -> &[Entry] {
        match (self.kind, state) {
            (_, 0) | (Kind::Counter | Kind::List | Kind::Stream, _) => &[],
            (Kind::Log, _) => &self.entries[..state],
            (Kind::Register, _) => &self.entries[state - 1..state],
        }
    }
}

/// The token in what SET, APPEND, RPUSH or XADD writes, in the mark of a transaction, or in a name that DEL gives as its
/// mark.
pub fn token_of(text: &[u8]) -> Option<u32> {
    let digits = |rest: &[u8], end: u8| {
        let stop = rest.iter().position(|b| *b == end).unwrap_or(rest.len());
        std::str::from_utf8(&rest[..stop]).ok()?.parse().ok()
    };
    match text {
        [b'v', rest @ ..] => digits(rest, b'@'),
        [b'[', rest @ ..] => digits(rest, b']'),
        [b'e' | b'#', rest @ ..] => digits(rest, b' '),
        [b'{', ..] => {
            let mark = text.windows(2).position(|w| w == b"}x")?;
            digits(&text[mark + 2..], b' ')
        }
        _ => None,
    }
}
