//! Fake clients: what they say, in how many pieces, how they read, and how they leave.

use std::collections::{BTreeSet, VecDeque};

use super::history::Kind;
use super::oracle::{Fate, Op, What};
use super::stream::{End, Item};
use super::topics::Inbox;
use super::wire::{self, Value};
use super::world::{Dir, Event, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Talking,
    /// Sends nothing more, and waits for its replies and the end.
    Leaving,
    /// Stays, and waits for nothing.
    Resting,
    Gone,
}

#[derive(Debug)]
pub struct FakeClient {
    pub number: usize,
    pub conn: usize,
    pub state: State,
    /// Requests it still means to send.
    pub left: usize,
    pub sent: VecDeque<Op>,
    pub slow: bool,
    pub next_no: u32,
    pub resp3: bool,
    /// As of the replies that have come; `resp3` is as of the requests that were sent.
    pub speaks3: bool,
    replica: bool,
    authed: bool,
    reading: bool,
    /// Neither reads nor says anything any more, and does not close either.
    dead: bool,
    /// Will say nothing more, and has said so.
    hung_up: bool,
    /// A transaction that began with WATCH, and its hash tag.
    pub watching: Option<(usize, usize)>,
    pub inbox: Inbox,
    /// Its id, once it has asked.
    pub id: Option<i64>,
    /// CLIENT UNBLOCKs of it that are under way, and when the last one was answered.
    pub wakers: usize,
    pub woken_at: u64,
    /// How often it was told that it was unblocked, and how often somebody was told that it would be.
    pub woken: usize,
    pub told_woken: usize,
}

impl FakeClient {
    pub fn done(&self) -> bool {
        matches!(self.state, State::Gone) || self.state == State::Resting && self.sent.is_empty()
    }
}

/// A request and its bytes.
type Said = (Op, Vec<u8>);

impl World {
    pub fn new_client(&mut self) {
        let number = self.clients.len();
        let conn = self.open_client(number);
        let slow = self.dice.chance(self.mix.slow_readers) && !self.healed;
        self.clients.push(FakeClient {
            number,
            conn,
            state: State::Talking,
            left: if self.healed { 3 } else { self.dice.between(1, self.mix.requests * 2) },
            sent: VecDeque::new(),
            slow,
            next_no: 1,
            resp3: false,
            replica: self.mix.replicas_read(),
            authed: self.mix.config.password.is_empty(),
            reading: false,
            speaks3: false,
            dead: false,
            hung_up: false,
            watching: None,
            inbox: Inbox::default(),
            id: None,
            wakers: 0,
            woken_at: 0,
            woken: 0,
            told_woken: 0,
        });
        self.plan(1, Event::Act(number));
    }

    /// A client sends its next requests, or leaves.
    pub fn act(&mut self, client: usize) {
        let c = &self.clients[client];
        if c.state != State::Talking {
            return;
        }
        if c.left == 0 {
            return self.say_goodbye(client);
        }
        if c.sent.len() > 3 * self.mix.depth {
            return self.plan_between(100, 20_000, Event::Act(client));
        }
        let count = self.dice.between(1, self.mix.depth).min(c.left);
        self.clients[client].left -= count;
        let mut said = Vec::new();
        for _ in 0..count {
            said.extend(self.compose(client));
        }
        if self.dice.chance(self.mix.rude) && !self.healed {
            return self.leave_in_the_middle(client, said);
        }
        let mistake = self.dice.chance(self.mix.mistakes);
        if mistake {
            said.push(self.mistake(client));
            self.clients[client].state = State::Leaving;
        }
        self.speak(client, said);
        let pause = *self.dice.pick(&[100, 5_000, 50_000, 400_000]);
        self.plan_between(1, pause, Event::Act(client));
    }

    fn speak(&mut self, client: usize, said: Vec<Said>) {
        let mut bytes = Vec::new();
        for (op, text) in said {
            self.note(format_args!("client {client}: {}. {:?}", op.no, op.what));
            bytes.extend(text);
            self.totals.requests += 1;
            self.clients[client].sent.push_back(op);
        }
        self.send(self.clients[client].conn, Dir::Up, Item::Data(bytes), self.now);
    }

    fn say_goodbye(&mut self, client: usize) {
        match self.dice.below(4) {
            0 => {
                let quit = self.op(client, What::Quit, &[]);
                let mut said = vec![(quit, wire::command(&["QUIT"]))];
                self.clients[client].state = State::Leaving;
                self.speak(client, std::mem::take(&mut said));
                if self.dice.coin() {
                    // Ignored, as it stands behind QUIT.
                    for (op, text) in self.compose(client) {
                        self.oracle.settle(&op, Fate::Refused);
                        self.send(self.clients[client].conn, Dir::Up, Item::Data(text), self.now);
                    }
                }
            }
            1 => {
                self.hang_up(client);
            }
            2 if self.clients[client].sent.is_empty() => self.vanish(client),
            _ => self.clients[client].state = State::Resting,
        }
    }

    /// Cuts the last request short, then closes or resets the connection.
    fn leave_in_the_middle(&mut self, client: usize, mut said: Vec<Said>) {
        let conn = self.clients[client].conn;
        let (op, mut text) = said.pop().unwrap_or_else(|| self.single(client));
        text.truncate(self.dice.below(text.len()));
        self.oracle.settle(&op, Fate::Refused);
        self.speak(client, said);
        self.send(conn, Dir::Up, Item::Data(text), self.now);
        if self.dice.chance(300) {
            // Its host has gone, and nobody will ever say so.
            self.note(format_args!("client {client} falls silent"));
            self.clients[client].dead = true;
            self.gone(client);
        } else if self.dice.coin() {
            self.note(format_args!("client {client} half-closes"));
            self.hang_up(client);
        } else {
            self.vanish(client);
        }
        self.plan_between(1000, 100_000, Event::NewClient);
    }

    fn hang_up(&mut self, client: usize) {
        self.clients[client].state = State::Leaving;
        self.clients[client].hung_up = true;
        self.send(self.clients[client].conn, Dir::Up, Item::Fin, self.now);
    }

    fn vanish(&mut self, client: usize) {
        self.note(format_args!("client {client} vanishes"));
        self.break_conn(self.clients[client].conn, true);
        self.gone(client);
    }

    fn gone(&mut self, client: usize) {
        self.clients[client].state = State::Gone;
        for op in std::mem::take(&mut self.clients[client].sent) {
            self.oracle.settle(&op, Fate::Open);
        }
    }

    /// Bytes, or the end, have arrived at a client.
    pub fn client_input(&mut self, client: usize) {
        let c = &mut self.clients[client];
        if c.dead {
            return;
        }
        if c.slow {
            if !c.reading {
                c.reading = true;
                self.plan_between(1000, 60_000, Event::Read(client));
            }
            return;
        }
        self.client_reads(client, usize::MAX);
    }

    /// A slow client reads a little.
    pub fn slow_read(&mut self, client: usize) {
        self.clients[client].reading = false;
        if self.clients[client].state == State::Gone {
            return;
        }
        let most = *self.dice.pick(&[10, 1000, 30_000]);
        self.client_reads(client, most);
        let down = &self.conns[self.clients[client].conn].down;
        if !down.arrived.is_empty() || down.end != End::Open {
            self.client_input(client);
        }
    }

    fn client_reads(&mut self, client: usize, most: usize) {
        let conn = self.clients[client].conn;
        let more = self.conns[conn].peer_takes(most);
        self.drained(conn);
        while self.clients[client].state != State::Gone {
            let parsed = wire::parse(&self.conns[conn].taken);
            let Some((reply, len)) = parsed.unwrap_or_else(|e| panic!("client {client} got no RESP: {e}"))
            else {
                break;
            };
            self.conns[conn].taken.drain(..len);
            self.client_reply(client, &reply);
        }
        if self.conns[conn].down.end != End::Open && self.clients[client].state != State::Gone && !more {
            self.client_end(client);
        }
    }

    fn client_reply(&mut self, client: usize, reply: &Value) {
        if self.topic_frame(client, reply) {
            return;
        }
        self.totals.replies += 1;
        let Some(op) = self.clients[client].sent.pop_front() else {
            panic!("client {client} got a reply that it did not ask for: {reply:?}");
        };
        let short = |v: &Value| format!("{v:?}").chars().take(150).collect::<String>();
        self.note(format_args!("client {client}: {}. -> {}", op.no, short(reply)));
        if let Err(why) = self.judge(&op, reply) {
            panic!("client {client}, request {}: {:?} was answered {}: {why}", op.no, op.what, short(reply));
        }
    }

    fn judge(&mut self, op: &Op, reply: &Value) -> Result<(), String> {
        let may_now = matches!(
            op.what,
            What::SubscriberPing(_) | What::Subscribe(..) | What::Unsubscribe(..) | What::Quit
        ) || op.what == What::Fails("ERR Protocol error");
        if self.is_restricted(op.client) && !may_now {
            self.oracle.settle(op, Fate::Refused);
            let refused = reply.error().is_some_and(|e| e.starts_with("ERR Can't execute "));
            return if refused { Ok(()) } else { Err("a subscriber may not say that".into()) };
        }
        self.judge_wait(op, reply)?;
        self.judge_transaction(op, reply)?;
        self.judge_topic(op, reply)?;
        self.oracle.reply(op, reply)?;
        let c = &mut self.clients[op.client];
        match (&op.what, reply) {
            (What::Hello, _) => c.speaks3 = op.resp3,
            (What::ClientId, Value::Int(id)) => c.id = Some(*id),
            (What::Unblock { whom, error }, reply) => {
                let whom = &mut self.clients[*whom];
                whom.wakers -= 1;
                whom.woken_at = self.now;
                whom.told_woken += usize::from(*error && *reply == Value::Int(1));
            }
            _ => {}
        }
        Ok(())
    }

    /// The proxy has closed the connection.
    fn client_end(&mut self, client: usize) {
        let c = &self.clients[client];
        let all = c.sent.is_empty();
        let limit = self.engine.counters().output_limit_closes + self.engine.counters().replies_cut > 0;
        let idle = !self.mix.config.client_idle_timeout.is_zero();
        // Who does not say the password in time.
        let stranger = !c.authed && !self.mix.config.auth_timeout.is_zero();
        let allowed = match c.state {
            _ if stranger => true,
            // As a server, which does not wait for somebody who waits for nothing any more.
            State::Leaving if c.hung_up && c.sent.front().is_some_and(Op::waits) => true,
            State::Leaving => all || limit || self.draining || idle && c.slow,
            _ => limit || self.draining || idle && (all || c.slow) && (c.inbox.topics.is_empty() || c.slow),
        };
        assert!(
            allowed,
            "client {client} ({:?}) was closed with {} open: {:?}",
            c.state,
            c.sent.len(),
            c.sent.front()
        );
        self.totals.put_out += u64::from(c.state != State::Leaving && !self.draining);
        let conn = c.conn;
        self.note(format_args!("client {client} was closed"));
        self.break_conn(conn, false);
        self.gone(client);
    }

    pub fn op(&mut self, client: usize, what: What, keys: &[usize]) -> Op {
        let c = &mut self.clients[client];
        let no = c.next_no;
        c.next_no += 1;
        let floors = self.oracle.floors(keys);
        Op { client, no, what, resp3: c.resp3, replica: c.replica, floors, sent_at: self.now }
    }

    /// Something after which the proxy closes the connection.
    fn mistake(&mut self, client: usize) -> Said {
        let texts: &[&[u8]] =
            &[b"*1\r\n:5\r\n", b"*x\r\n", b"*2\r\n$-1\r\n", b"SET 'a\r\n", b"*1\r\n$9999999999\r\n"];
        let text = self.dice.pick(texts).to_vec();
        (self.op(client, What::Fails("ERR Protocol error"), &[]), text)
    }

    /// The next request, or several that belong together.
    fn compose(&mut self, client: usize) -> Vec<Said> {
        let c = &mut self.clients[client];
        if !c.authed {
            return vec![self.introduce(client)];
        }
        if !c.resp3 && !c.inbox.wanted.is_empty() {
            return vec![self.compose_subscriber(client)];
        }
        if let Some((txn, tag)) = c.watching.take_if(|_| self.dice.coin()) {
            return self.finish_transaction(client, txn, tag);
        }
        let busy = self.clients[client].watching.is_some();
        if !busy && self.dice.chance(self.mix.transactions) {
            return self.compose_transaction(client);
        }
        if !busy && self.dice.chance(self.mix.waits) {
            return vec![match self.dice.chance(self.mix.unblocks) {
                true => self.compose_unblock(client),
                false => self.compose_wait(client),
            }];
        }
        // In RESP2 a subscriber could not end its transaction.
        if !busy && self.dice.chance(self.mix.topics) {
            return vec![self.compose_topic(client)];
        }
        vec![match self.dice.below(100) {
            0..=9 => self.local(client),
            10..=11 => self.refused(client),
            12..=13 => (self.op(client, What::Keys, &[]), wire::command(&["KEYS", "*"])),
            14..=59 => self.single(client),
            _ => self.several(client),
        }]
    }

    /// AUTH, or something that needs it.
    fn introduce(&mut self, client: usize) -> Said {
        if self.dice.chance(200) {
            let what = What::Fails("NOAUTH ");
            return (self.op(client, what, &[]), wire::command(&["GET", "{h0}r0"]));
        }
        if self.dice.chance(200) {
            return (
                self.op(client, What::Fails("WRONGPASS "), &[]),
                wire::command(&["AUTH", "default", "x"]),
            );
        }
        self.clients[client].authed = true;
        let password = self.mix.config.password.clone();
        (
            self.op(client, What::Exactly(Value::Simple(b"OK".to_vec())), &[]),
            wire::command(&["AUTH", &password]),
        )
    }

    /// What the proxy answers itself.
    fn local(&mut self, client: usize) -> Said {
        let mark = format!("echo-{}", self.dice.number());
        let exactly = |text: &str| What::Exactly(Value::Simple(text.as_bytes().to_vec()));
        let bulk = What::Exactly(Value::Bulk(mark.clone().into_bytes()));
        match self.dice.below(8) {
            0 => (self.op(client, exactly("PONG"), &[]), b"PING\r\n".to_vec()),
            1 => (self.op(client, bulk, &[]), wire::command(&["PING", &mark])),
            2 => (self.op(client, exactly("OK"), &[]), wire::command(&["select", "0"])),
            3 if self.dice.chance(self.mix.resp3) && self.clients[client].inbox.wanted.is_empty() => {
                self.clients[client].resp3 ^= true;
                let version = if self.clients[client].resp3 { "3" } else { "2" };
                (self.op(client, What::Hello, &[]), wire::command(&["HELLO", version]))
            }
            4 if self.dice.chance(self.mix.readonly) => {
                let on = self.dice.coin();
                self.clients[client].replica = on || self.mix.replicas_read();
                let name = if on { "READONLY" } else { "READWRITE" };
                (self.op(client, exactly("OK"), &[]), wire::command(&[name]))
            }
            5 => (self.op(client, bulk, &[]), format!("ECHO {mark}\r\n").into_bytes()),
            _ => (self.op(client, bulk, &[]), wire::command(&["ECHO", &mark])),
        }
    }

    /// What the proxy refuses, wherever the cluster is.
    fn refused(&mut self, client: usize) -> Said {
        match self.dice.below(3) {
            0 => (
                self.op(client, What::Fails("ERR unknown command 'NOSUCH'"), &[]),
                wire::command(&["NOSUCH", "a"]),
            ),
            1 => (self.op(client, What::Fails("ERR wrong number"), &[]), wire::command(&["get"])),
            _ => {
                let args = ["MSETNX", "{h0}r0", "1", "{h1}r0", "2"];
                (self.op(client, What::Fails("CROSSSLOT "), &[]), wire::command(&args))
            }
        }
    }

    /// A key of this kind, or of any kind that is a string; of the pinned hash tag, if there is one.
    pub fn key(&mut self, kind: Option<Kind>) -> usize {
        loop {
            let key = self.dice.below(self.oracle.keys.len());
            let k = &self.oracle.keys[key];
            let here = self.pinned.is_none_or(|tag| tag == k.tag);
            if here && kind.map_or(k.kind.is_string(), |kind| kind == k.kind) {
                return key;
            }
        }
    }

    pub fn name(&self, key: usize) -> String {
        self.oracle.keys[key].name.clone()
    }

    /// A command with one key.
    pub fn single(&mut self, client: usize) -> Said {
        match self.dice.below(12) {
            0..=2 => self.writing(client, "SET", Kind::Register, What::Set),
            3 => self.writing(client, "GETSET", Kind::Register, What::GetSet),
            4..=6 => self.writing(client, "APPEND", Kind::Log, What::Append),
            7 => {
                let key = self.key(Some(Kind::Counter));
                (self.op(client, What::Incr(key), &[key]), wire::command(&["INCR", &self.name(key)]))
            }
            8 => {
                let key = self.key(None);
                (self.op(client, What::Strlen(key), &[key]), wire::command(&["strlen", &self.name(key)]))
            }
            n => {
                let key = self.key(None);
                let op = self.op(client, What::Get(key), &[key]);
                let name = self.name(key);
                (
                    op,
                    if n == 9 {
                        format!("get {name}\r\n").into_bytes()
                    } else {
                        wire::command(&["GET", &name])
                    },
                )
            }
        }
    }

    fn writing(&mut self, client: usize, name: &str, kind: Kind, what: fn(usize, u32) -> What) -> Said {
        let key = self.key(Some(kind));
        let token = self.oracle.token(client, self.clients[client].next_no, Some(key));
        let text = self.text(key, token);
        let op = self.op(client, what(key, token), &[key]);
        (op, wire::command(&[name.as_bytes(), self.name(key).as_bytes(), &text]))
    }

    fn text(&self, key: usize, token: u32) -> Vec<u8> {
        match self.oracle.keys[key].kind {
            Kind::Register => self.oracle.keys[key].register_text(token),
            _ => format!("[{token}]").into_bytes(),
        }
    }

    /// A command with several keys, of one slot or of many.
    pub fn several(&mut self, client: usize) -> Said {
        let count = self.dice.between(1, 8);
        let same_slot = self.dice.coin();
        let registers = self.dice.below(3);
        let kind = (registers > 0).then_some(Kind::Register);
        let first = self.key(kind);
        let tag = self.oracle.keys[first].tag;
        let mut keys = vec![first];
        while keys.len() < count {
            let key = self.key(kind);
            if !same_slot || self.oracle.keys[key].tag == tag {
                keys.push(key);
            }
        }
        if self.mix.slow_moves {
            // A slot may be torn between two nodes for longer than a command with several keys of it waits.
            let mut tags = BTreeSet::new();
            keys.retain(|k| tags.insert(self.oracle.keys[*k].tag));
        }
        match self.dice.below(3) {
            0 if registers > 0 => self.compose_mset(client, &keys),
            1 if registers > 0 => self.compose_delete(client, keys),
            n => {
                let name = *self.dice.pick(&["EXISTS", "TOUCH"]);
                let (what, name) = if n == 2 {
                    (What::MGet(keys.clone()), "MGET")
                } else {
                    (What::Count(keys.clone()), name)
                };
                let mut args = vec![name.to_owned()];
                args.extend(keys.iter().map(|k| self.name(*k)));
                (self.op(client, what, &keys), wire::command(&args))
            }
        }
    }

    fn compose_mset(&mut self, client: usize, keys: &[usize]) -> Said {
        let no = self.clients[client].next_no;
        let mut args = vec![b"MSET".to_vec()];
        let mut pairs = Vec::new();
        for key in keys {
            let token = self.oracle.token(client, no, Some(*key));
            args.push(self.name(*key).into_bytes());
            args.push(self.text(*key, token));
            pairs.push((*key, token));
        }
        (self.op(client, What::MSet(pairs), &[]), wire::command(&args))
    }

    /// DEL, often with a key in each slot that never exists and marks the command.
    fn compose_delete(&mut self, client: usize, keys: Vec<usize>) -> Said {
        let no = self.clients[client].next_no;
        let name = *self.dice.pick(&["DEL", "UNLINK"]);
        let mut args = vec![name.to_owned()];
        args.extend(keys.iter().map(|k| self.name(*k)));
        let mut tags: Vec<usize> = keys.iter().map(|k| self.oracle.keys[*k].tag).collect();
        tags.sort_unstable();
        tags.dedup();
        let mut marks = Vec::new();
        if self.dice.coin() && !self.mix.slow_moves {
            for tag in tags {
                let mark = self.oracle.token(client, no, None);
                args.push(format!("{{h{tag}}}x{mark}"));
                marks.push(mark);
            }
        }
        (self.op(client, What::Del(keys, marks), &[]), wire::command(&args))
    }
}
