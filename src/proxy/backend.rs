//! One connection to one node: what was sent, who waits, and how far the handshake is.
//!
//! ```text
//!  Connecting --connected--> Greeting --all greetings answered--> Ready
//!       |                       |                                  |
//!       +------- refused, timed out, lost, protocol doubt ---------+--> closed (gone from the arena)
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use super::client::Client;
use super::engine::Alarm;
use super::nodes::Node;
use super::part::{Greeting, InFlight, Owner, Part, NO_SLOT};
use super::silence::SUSPECT_AFTER;
use super::stream::Flow;
use super::window::Window;
use crate::base::append::append;
use crate::base::arena::Key;
use crate::base::time::Time;
use crate::base::wheel::{TimerKey, Wheel};
use crate::config::Config;
use crate::resp::{encode, ReplyFramer};

/// Capacity of the list of parts that an idle backend keeps.
const KEEP_PARTS: usize = 256;

/// What a backend speaks and is used for; parts of different kinds never share one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// Speaks RESP3.
    pub resp3: bool,
    /// Has sent READONLY: may be asked for keys of its primary.
    pub replica: bool,
    /// Belongs to one client for a while: what it sends may wait at the node, or must meet state kept there.
    pub dedicated: bool,
    /// Carries subscriptions and nothing else.
    pub listener: bool,
    /// Is made to wait for replicas for a moment now and then, so that they tell how far they are.
    pub nudges: bool,
    /// The database that it has selected.
    pub db: u16,
}

impl Kind {
    /// How many kinds of shared backends there are for database 0.
    pub const COUNT: usize = 6;

    /// Listeners speak RESP3, so that messages can be told from replies.
    pub const LISTENER: Kind =
        Kind { resp3: true, replica: false, dedicated: false, listener: true, nudges: false, db: 0 };

    /// Has no replies that anybody reads.
    pub const NUDGES: Kind =
        Kind { resp3: false, replica: false, dedicated: false, listener: false, nudges: true, db: 0 };

    /// Whether the shared backend to a primary, for database 0, is meant.
    #[inline]
    pub fn is_plain(self) -> bool {
        !(self.replica | self.dedicated | self.listener | self.nudges) && self.db == 0
    }

    /// A number below [`Kind::COUNT`] for each kind of shared backend for database 0.
    #[inline]
    pub fn index(self) -> usize {
        debug_assert!(!self.dedicated && self.db == 0);
        match (self.listener, self.nudges) {
            (true, _) => Kind::COUNT - 1,
            (_, true) => Kind::COUNT - 2,
            _ => usize::from(self.resp3) + 2 * usize::from(self.replica),
        }
    }
}

/// How far a backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The socket is not connected yet.
    Connecting,
    /// So many greetings are not answered yet; no user data is written.
    Greeting(u8),
    /// User data flows.
    Ready,
}

/// A connection to a node, shared by many clients or lent to one.
#[derive(Debug)]
pub struct Backend {
    /// Whose it is.
    pub node: Key<Node>,
    /// What it is used for.
    pub kind: Kind,
    /// How far it is.
    pub state: State,
    /// Bytes sent and to be sent.
    pub window: Window,
    /// Who waits for replies, oldest first.
    pub fifo: VecDeque<InFlight>,
    /// Where in the reply at the front of the unread bytes the framer stands.
    pub framer: ReplyFramer,
    /// Bytes of that reply already looked at.
    pub scanned: usize,
    /// When it was opened.
    pub born: Time,
    /// When the node last answered anything but a greeting here.
    pub answered: Option<Time>,
    /// Whether all greetings were answered before the last bytes came.
    pub proven: bool,
    /// It has been silent for a while: nothing more is written until it speaks.
    pub suspect: bool,
    /// When the node last answered or took some of the oldest part, or when that was sent to an idle backend.
    pub progress: Time,
    /// Connect timeout, then reply timeout.
    pub timer: TimerKey<Alarm>,
    /// How long it may leave its oldest part unanswered.
    pub patience: Duration,
    /// Whether it is on the dirty list.
    pub dirty: bool,
    /// The socket took less than it was offered; its next writable event marks the backend.
    pub full: bool,
    /// The client that a dedicated backend is lent to; [`Key::NONE`] while it idles in its node's pool.
    pub user: Key<Client>,
    /// The id that a dedicated backend has as a client of its node, once the node has told it.
    pub id: Option<i64>,
    /// A CLIENT UNBLOCK with its id is on its way, or was: it may be lent to nobody else.
    pub unblocked: bool,
    /// What a node said of a command of the transaction that is being queued there, if it refused one.
    pub block_error: Option<Box<[u8]>>,
    /// Takes no new parts; closed when the last one is answered.
    pub retired: bool,
    /// Takes no new parts because of a large reply; used again when the last one is answered.
    pub detached: bool,
    /// When that was.
    pub detached_at: Time,
    /// Others wait behind that reply, or did when this was looked at last.
    pub crowded: bool,
    /// Is not read because a client has to take something first.
    pub held: bool,
    /// What its bytes are just now.
    pub flow: Flow,
    /// Bytes of the reply at the front that were passed on already.
    pub passed: usize,
}

impl Backend {
    /// A backend that is being connected and will greet the node first.
    pub fn new(node: Key<Node>, kind: Kind, config: &Config, now: Time) -> Self {
        let mut b = Backend {
            node,
            kind,
            state: State::Connecting,
            window: Window::default(),
            fifo: VecDeque::new(),
            framer: ReplyFramer::new(),
            scanned: 0,
            born: now,
            answered: None,
            proven: false,
            suspect: false,
            progress: now,
            timer: Key::NONE,
            patience: config.reply_timeout,
            dirty: false,
            full: false,
            user: Key::NONE,
            id: None,
            unblocked: false,
            block_error: None,
            retired: false,
            detached: false,
            detached_at: now,
            crowded: false,
            held: false,
            flow: if kind.listener { Flow::Messages } else { Flow::Replies },
            passed: 0,
        };
        b.greet(&config.password);
        b
    }

    /// The socket is connected: the greeting may be written.
    pub fn connected(&mut self, now: Time) {
        debug_assert_eq!(self.state, State::Connecting);
        self.state = State::Greeting(u8::try_from(self.greetings()).unwrap_or(u8::MAX));
        self.progress = now;
    }

    /// A greeting was answered without an error. True when it was the last one.
    pub fn greeted(&mut self) -> bool {
        match self.state {
            State::Greeting(n) if n > 1 => {
                self.state = State::Greeting(n - 1);
                false
            }
            _ => {
                self.state = State::Ready;
                self.window.open_gate();
                true
            }
        }
    }

    /// Switches to another database; nothing must be under way. What follows stays behind the gate until that is answered.
    pub fn select(&mut self, db: u16, now: Time) {
        debug_assert!(self.fifo.is_empty());
        self.progress = now;
        self.kind.db = db;
        self.say(Greeting::Select, &[b"SELECT", db.to_string().as_bytes()]);
        self.window.close_gate();
    }

    /// What may be written now; nothing before the socket is connected.
    #[inline]
    pub fn output(&self) -> &[u8] {
        match self.state {
            State::Connecting => &[],
            _ => self.window.unwritten(),
        }
    }

    /// Whether the oldest part was written to its end, so that the node can answer it.
    #[inline]
    pub fn asked(&self) -> bool {
        // The commands of a transaction have no length of their own; EXEC has that of all of them.
        let front = self.fifo.iter().find(|f| f.len != 0);
        front.is_some_and(|f| self.window.front_written(f.len as usize))
    }

    /// Appends a part and its bytes.
    #[inline(always)]
    pub fn push(&mut self, part: Part, bytes: &[u8], now: Time) {
        self.push_by(part, now, |out| out.extend_from_slice(bytes));
    }

    /// Appends a part, and its bytes by `write`.
    #[inline(always)]
    pub fn push_by(&mut self, part: Part, now: Time, write: impl FnOnce(&mut Vec<u8>)) {
        if self.fifo.is_empty() {
            self.progress = now;
        }
        let start = self.window.end();
        write(self.window.tail());
        // A request is at most 2 GiB long, see `Config::max_request`.
        self.fifo.push_back(InFlight { part, len: (self.window.end() - start) as u32 });
    }

    /// As [`Backend::push`], for the bytes `from[start..start + len]`; what stands behind them does not matter.
    #[inline(always)]
    pub fn push_from(&mut self, part: Part, from: &[u8], start: usize, len: usize, now: Time) {
        if self.fifo.is_empty() {
            self.progress = now;
        }
        append(self.window.tail(), from, start, len);
        self.fifo.push_back(InFlight { part, len: len as u32 });
    }

    /// Something was appended: it will be written, and its reply is waited for.
    #[inline(always)]
    pub fn watch(
        &mut self,
        key: Key<Backend>,
        timers: &mut Wheel<Alarm>,
        dirty: &mut Vec<Key<Backend>>,
        now: Time,
    ) {
        if self.timer == Key::NONE {
            self.timer = timers.set(now.after(self.patience.min(SUSPECT_AFTER)), Alarm::Backend(key));
        }
        if !self.dirty {
            self.dirty = true;
            dirty.push(key);
        }
    }

    /// Appends a transaction: MULTI, its commands and EXEC are `commands` in all, `bytes` together. Each is answered by a
    /// frame of its own, only the last one belongs to the part.
    #[inline(never)]
    pub fn push_block(&mut self, part: Part, bytes: &[u8], commands: usize, now: Time) {
        if self.fifo.is_empty() {
            self.progress = now;
        }
        for _ in 1..commands {
            self.fifo.push_back(InFlight { part: Part { owner: Owner::Step, ..part }, len: 0 });
        }
        self.push(part, bytes, now);
    }

    /// The oldest part, `len` bytes long, was answered.
    #[inline]
    pub fn answered(&mut self, len: u32) {
        self.fifo.pop_front();
        self.window.acknowledge(len as usize);
    }

    /// Gives memory back that it has needed once and that an idle one does not need.
    pub fn give_back(&mut self) {
        self.window.give_back();
        if self.fifo.is_empty() && self.fifo.capacity() > KEEP_PARTS {
            self.fifo = VecDeque::new();
        }
    }

    fn greetings(&self) -> usize {
        self.fifo.iter().filter(|f| matches!(f.part.owner, Owner::Handshake(_))).count()
    }

    /// AUTH, HELLO, SELECT, READONLY, CLIENT ID and CLIENT SETNAME in one go; user data stays behind the gate until all are answered.
    fn greet(&mut self, password: &str) {
        if !password.is_empty() {
            self.say(Greeting::Auth, &[b"AUTH", password.as_bytes()]);
        }
        if self.kind.resp3 {
            self.say(Greeting::Hello, &[b"HELLO", b"3"]);
        }
        if self.kind.db != 0 {
            self.say(Greeting::Select, &[b"SELECT", self.kind.db.to_string().as_bytes()]);
        }
        if self.kind.replica {
            self.say(Greeting::ReadOnly, &[b"READONLY"]);
        }
        if self.kind.dedicated {
            self.say(Greeting::Id, &[b"CLIENT", b"ID"]);
        }
        self.say(Greeting::Name, &[b"CLIENT", b"SETNAME", b"redis-cluster-proxy"]);
        self.window.close_gate();
    }

    fn say(&mut self, greeting: Greeting, args: &[&[u8]]) {
        let start = self.window.end();
        encode::request(self.window.tail(), args);
        let len = (self.window.end() - start) as u32;
        let owner = Owner::Handshake(greeting);
        let part =
            Part { owner, born_us: 0, slot: NO_SLOT, command: 0, attempts: 0, kind: self.kind, block: false };
        self.fifo.push_back(InFlight { part, len });
    }
}
