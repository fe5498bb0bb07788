//! The caller of the engine, as the reactor is: sockets, turns, dirty lists, effects; only that everything the system
//! could do (short reads, partial writes, early and late events) is drawn by lot.

use redis_cluster_proxy::base::arena::Key;
use redis_cluster_proxy::base::time::Time;
use redis_cluster_proxy::proxy::{Backend, Client, Effect, Intake};

use super::node::Session;
use super::stream::{End, Item, Stream};
use super::world::{Dir, Event, Peer, World};

/// Reads of one socket per turn.
const READS_PER_TURN: usize = 4;

/// Turns in a row without anything moved at which the engine keeps its caller busy for nothing.
const MOST_IDLE_TURNS: u32 = 3000;

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Client(Key<Client>),
    Backend(Key<Backend>),
}

/// A virtual connection, both ends of it.
#[derive(Debug)]
pub struct Conn {
    pub peer: Peer,
    pub whose: Whose,
    pub up: Stream,
    pub down: Stream,
    /// The engine's socket exists.
    pub open: bool,
    pub connected: bool,
    /// The peer still listens and talks.
    pub peer_open: bool,
    /// Read and not consumed by the engine.
    pub unread: Vec<u8>,
    /// Read and not consumed by the peer.
    pub taken: Vec<u8>,
    pub paused: bool,
    pub readable: bool,
    pub session: Session,
    /// Something has happened to it after which what is under way may be lost.
    pub disturbed: bool,
    /// The host at the other end has gone without a word.
    pub silent: bool,
}

impl Conn {
    /// The peer takes bytes off the connection. True when it took as many as it wanted.
    pub fn peer_takes(&mut self, most: usize) -> bool {
        let n = most.min(self.down.arrived.len());
        let bytes = self.down.take(n);
        self.taken.extend_from_slice(&bytes);
        n == most
    }
}

enum Look {
    Data,
    Nothing,
    End,
    Failed,
}

impl World {
    /// A new connection of a client.
    pub fn open_client(&mut self, client: usize) -> usize {
        let key = self.engine.client_opened(([127, 0, 0, 1], 40_000 + client as u16).into());
        self.add_conn(Peer::Client(client), Whose::Client(key), true)
    }

    fn add_conn(&mut self, peer: Peer, whose: Whose, connected: bool) -> usize {
        let cap = self.mix.cap.max(self.mix.padding / 4);
        self.conns.push(Conn {
            peer,
            whose,
            up: Stream::new(usize::MAX),
            down: Stream::new(cap),
            open: true,
            connected,
            peer_open: true,
            unread: Vec::new(),
            taken: Vec::new(),
            paused: false,
            readable: false,
            session: Session::default(),
            disturbed: false,
            silent: false,
        });
        self.conns.len() - 1
    }

    /// One turn of the reactor.
    pub fn turn(&mut self) {
        self.totals.turns += 1;
        let before = self.totals.moved;
        self.engine.tick(Time::from_micros(self.now));
        self.effects();
        for _ in 0..self.dice.between(1, self.mix.events_per_turn) {
            let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= self.now) else { break };
            let event = entry.remove();
            self.totals.moved += 1;
            self.event(event);
            self.engine.check_invariants();
        }
        self.leftovers();
        for _ in 0..self.dice.between(1, 4) {
            self.effects();
            self.flush();
        }
        self.engine.check_invariants();
        self.check_caps();
        self.idle_turns = if self.totals.moved == before { self.idle_turns + 1 } else { 0 };
        assert!(self.idle_turns < MOST_IDLE_TURNS, "the engine spins: {:?}", self.engine.holdings());
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Arrive(conn, Dir::Up) => {
                self.conns[conn].up.settle(self.now);
                if self.conns[conn].up.end == End::Reset {
                    // The system says so by all kinds of events at once.
                    self.plan(0, Event::Writable(conn));
                }
                self.conns[conn].readable = true;
                self.pump(conn);
            }
            Event::Arrive(conn, Dir::Down) => {
                self.conns[conn].down.settle(self.now);
                self.peer_input(conn);
            }
            Event::Writable(conn) => match self.conns[conn].whose {
                _ if !self.conns[conn].open => {}
                Whose::Client(key) => self.engine.client_writable(key),
                Whose::Backend(key) => self.engine.backend_writable(key),
            },
            Event::Connected(conn) if self.conns[conn].open => {
                let Whose::Backend(key) = self.conns[conn].whose else { return };
                self.conns[conn].connected = true;
                self.engine.backend_connected(key);
            }
            Event::Refused(conn) if self.conns[conn].open => self.fail(conn, "connection refused"),
            Event::Connected(_) | Event::Refused(_) => {}
            other => self.happen(other),
        }
    }

    /// The engine's socket has failed, or the node closed it.
    fn fail(&mut self, conn: usize, why: &str) {
        match self.conns[conn].whose {
            Whose::Client(key) => self.engine.client_gone(key),
            Whose::Backend(key) => self.engine.backend_gone(key, why.to_owned()),
        }
        self.close(conn);
    }

    fn look(&mut self, conn: usize) -> Look {
        let chunk = *self.dice.pick(&[1, 50, 2000, 65_536, 65_536]);
        let c = &mut self.conns[conn];
        if !c.up.arrived.is_empty() {
            let bytes = c.up.take(chunk.min(c.up.arrived.len()));
            c.unread.extend_from_slice(&bytes);
            self.totals.moved += 1;
            return Look::Data;
        }
        match c.up.end {
            End::Open => {
                c.readable = false;
                Look::Nothing
            }
            End::Fin => Look::End,
            End::Reset => Look::Failed,
        }
    }

    pub fn pump(&mut self, conn: usize) {
        for _ in 0..READS_PER_TURN {
            let c = &self.conns[conn];
            if !c.open || !c.connected || !c.readable || c.paused {
                return;
            }
            match (self.look(conn), self.conns[conn].whose) {
                (Look::Data, _) => self.hand_in(conn),
                (Look::Nothing, _) => return,
                (Look::End, Whose::Client(key)) => {
                    self.conns[conn].readable = false;
                    return self.engine.client_eof(key);
                }
                (Look::End, _) => return self.fail(conn, "the node closed the connection"),
                (Look::Failed, _) => return self.fail(conn, "connection reset"),
            }
        }
        match self.conns[conn].whose {
            Whose::Client(key) if self.conns[conn].readable && !self.conns[conn].paused => {
                self.engine.read_again(key)
            }
            Whose::Client(_) => {}
            Whose::Backend(_) => self.again.push(conn),
        }
    }

    fn hand_in(&mut self, conn: usize) {
        let c = &mut self.conns[conn];
        match c.whose {
            Whose::Client(key) => {
                let (consumed, intake) = self.engine.client_bytes(key, &c.unread);
                c.unread.drain(..consumed);
                c.paused = intake != Intake::More;
                self.totals.moved += consumed as u64;
            }
            Whose::Backend(key) => {
                let consumed = self.engine.backend_bytes(key, &c.unread);
                c.unread.drain(..consumed);
                c.paused = self.engine.is_held(key);
                self.totals.moved += consumed as u64;
            }
        }
    }

    fn leftovers(&mut self) {
        for conn in std::mem::take(&mut self.again) {
            self.pump(conn);
        }
        let mut held = Vec::new();
        self.engine.take_held_backends(&mut held);
        for key in held {
            let Some(conn) = self.find(Whose::Backend(key)) else { continue };
            self.conns[conn].paused = false;
            if !self.conns[conn].unread.is_empty() {
                self.hand_in(conn);
            }
            self.pump(conn);
        }
        let mut ready = Vec::new();
        self.engine.take_ready(&mut ready);
        for key in ready {
            let Some(conn) = self.find(Whose::Client(key)) else { continue };
            self.conns[conn].paused = false;
            if !self.conns[conn].unread.is_empty() {
                self.hand_in(conn);
            }
            self.pump(conn);
        }
    }

    fn find(&self, whose: Whose) -> Option<usize> {
        self.conns.iter().rposition(|c| c.open && c.whose == whose)
    }

    fn effects(&mut self) {
        let mut effects = Vec::new();
        self.engine.take_effects(&mut effects);
        for effect in effects {
            self.totals.moved += 1;
            match effect {
                Effect::Connect(key, addr) => self.connect(key, addr),
                Effect::CloseBackend(key) | Effect::ResetBackend(key) => {
                    self.close_if_open(Whose::Backend(key))
                }
                Effect::CloseClient(key) => self.close_if_open(Whose::Client(key)),
                // One worker: nobody else is asked or shown anything.
                Effect::Ask(ask, question) if question.wants_host() => {
                    let answer = self.engine.question(&question);
                    self.engine.answered(ask, answer);
                }
                Effect::Ask(..) | Effect::Show(..) => {}
                Effect::Refresh(hint) => {
                    self.note(format_args!("{hint:?}"));
                    self.hint();
                }
            }
        }
    }

    fn close_if_open(&mut self, whose: Whose) {
        if let Some(conn) = self.find(whose) {
            self.close(conn);
        }
    }

    /// The engine's socket is closed; what was written still arrives.
    fn close(&mut self, conn: usize) {
        let peer = self.conns[conn].peer;
        self.note(format_args!("conn {conn} to {peer:?} closed"));
        let c = &mut self.conns[conn];
        c.open = false;
        c.up.drop_arrived();
        c.unread = Vec::new();
        self.send(conn, Dir::Down, Item::Fin, self.now);
    }

    fn connect(&mut self, key: Key<Backend>, addr: std::net::SocketAddr) {
        let node = self.cluster.at(addr);
        let conn = self.add_conn(node.map_or(Peer::Nobody, Peer::Node), Whose::Backend(key), false);
        self.note(format_args!("conn {conn} to {addr}"));
        let delay = self.mix.delay_us;
        let Some(n) = node.map(|n| &self.cluster.nodes[n]) else {
            return self.plan_between(10, delay, Event::Refused(conn));
        };
        let (up, silent) = (n.up, n.silent);
        let faulty = self.dice.chance(self.mix.connect_faults);
        match self.dice.below(3) {
            _ if silent => {}
            0 if faulty => {}
            1 if faulty => self.fail(conn, "no route to host"),
            2 if faulty => self.plan_between(10, delay, Event::Refused(conn)),
            _ if up => self.plan_between(10, delay, Event::Connected(conn)),
            _ => self.plan_between(10, delay, Event::Refused(conn)),
        }
    }

    fn flush(&mut self) {
        let (mut backends, mut clients) = (Vec::new(), Vec::new());
        self.engine.take_dirty_backends(&mut backends);
        for key in backends {
            let Some(conn) = self.find(Whose::Backend(key)) else { continue };
            if self.conns[conn].up.end == End::Reset {
                self.fail(conn, "broken pipe");
                continue;
            }
            let output = self.engine.backend_output(key).to_vec();
            let n = self.write(conn, &output);
            self.engine.backend_written(key, n);
        }
        self.engine.take_dirty_clients(&mut clients);
        for key in clients {
            let Some(conn) = self.find(Whose::Client(key)) else { continue };
            if self.conns[conn].up.end == End::Reset {
                self.fail(conn, "broken pipe");
                continue;
            }
            let output = self.engine.client_output(key).to_vec();
            let n = self.write(conn, &output);
            self.engine.client_written(key, n);
        }
    }

    /// Writes what the virtual system takes; the rest waits for a writable event.
    fn write(&mut self, conn: usize, bytes: &[u8]) -> usize {
        if !self.conns[conn].connected {
            assert!(bytes.is_empty(), "output before the connection is there");
            return 0;
        }
        let room = self.conns[conn].down.room().min(bytes.len());
        let n = if self.dice.chance(100) { self.dice.between(0, room) } else { room };
        if n > 0 {
            self.totals.moved += n as u64;
            self.send(conn, Dir::Down, Item::Data(bytes[..n].to_vec()), self.now);
        }
        if n < bytes.len() {
            self.conns[conn].down.blocked = true;
            self.drained(conn);
        }
        n
    }

    fn check_caps(&self) {
        let held = self.engine.holdings();
        let config = &self.mix.config;
        // One for each backend; idle, parked parts and a hang-up of each client; the probe of each node; questions; topics;
        // listeners; the drain timeout.
        let timers = held.backends + 3 * held.clients + held.nodes + held.asks + 3;
        assert!(held.timers <= timers, "timers for nothing: {held:?}");
        // What comes last may be one merged reply, or a run of them out of one read.
        let last = (8 * self.totals.largest_reply).max(65_536) + 1000;
        assert!(
            held.largest_backlog <= config.client_output_limit.max(config.pubsub_output_limit) + last,
            "{} bytes of replies wait for one client",
            held.largest_backlog
        );
    }
}
