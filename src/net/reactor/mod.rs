//! The event loop of one worker: sockets in, sockets out, in fixed phases per turn. Knows no RESP, no command, no slot.
//!
//! Edge-triggered readiness has a trap: an event comes once, when bytes arrive, not while bytes wait. So a socket that
//! was left with unread bytes is remembered (`Socket::readable`), and whoever stopped reading it must resume it: the
//! engine by its ready list, the reactor by `again`. The same holds for writing: what could not be written waits for
//! the next writable event, which `Socket::watched` asks for.

mod across;
mod backends;
mod clients;

use std::io::{self, Write};
use std::mem;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::channel::Receiver;
use super::clock::Clock;
use super::mesh::{Message, WorkerHandle};
use super::socket::Socket;
use super::topology::TopologyHandle;
use crate::base::arena::Key;
use crate::base::pool::Pool;
use crate::base::time::Time;
use crate::proxy::{Backend, Client, Effect, Engine};

/// Token of the waker.
pub const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);
const FIRST_SOCKET: usize = 2;

/// Bytes of one read.
const SCRATCH: usize = 64 * 1024;

/// Reads of one socket per turn; what is left waits for the next turn, after everybody else.
const READS_PER_TURN: usize = 4;

/// Rounds of effects and writing per turn: what one round causes is seen to by the next, and seldom causes more.
const ROUNDS_PER_TURN: usize = 4;

/// How soon accepting is tried again after the system ran out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a reactor is made of.
#[derive(Debug)]
pub struct Parts {
    /// Polls this worker's sockets; its waker is registered under [`WAKER`].
    pub poll: Poll,
    /// What others tell this worker.
    pub inbox: Receiver<Message>,
    /// Where clients are accepted, on one of the workers.
    pub listener: Option<TcpListener>,
    /// Whether the listening socket goes with an orderly stop; else somebody else accepts, now or later.
    pub closes: bool,
    /// All workers, this one among them.
    pub workers: Vec<WorkerHandle>,
    /// Number of this worker.
    pub me: usize,
    /// Clients of all workers at once, at most.
    pub max_clients: usize,
    /// Where hints go.
    pub topology: TopologyHandle,
    /// Tells this run of the process from others.
    pub run: u64,
}

/// What the engine's lists are moved to, so that they can be gone through; empty in between, but for their memory.
#[derive(Debug, Default)]
struct Lists {
    effects: Vec<Effect>,
    backends: Vec<Key<Backend>>,
    clients: Vec<Key<Client>>,
}

/// The event loop of one worker.
#[derive(Debug)]
pub struct Reactor {
    parts: Parts,
    engine: Engine,
    clock: Clock,
    clients: Vec<Option<Socket<Client>>>,
    backends: Vec<Option<Socket<Backend>>>,
    /// Backends with bytes left unread by the last turn.
    again: Vec<Key<Backend>>,
    scratch: Vec<u8>,
    buffers: Pool<Vec<u8>>,
    lists: Lists,
    /// When this turn began.
    now: Time,
    /// When accepting is tried again although no event says that clients wait.
    accept_at: Option<Time>,
    /// When it was told last that no clients can be accepted.
    told_at: Option<Time>,
    draining: bool,
}

impl Reactor {
    /// A reactor that serves `engine`.
    ///
    /// # Errors
    /// When the listener cannot be polled.
    pub fn new(mut parts: Parts, engine: Engine, clock: Clock) -> io::Result<Self> {
        if let Some(listener) = parts.listener.as_mut() {
            parts.poll.registry().register(listener, LISTENER, Interest::READABLE)?;
        }
        let mut reactor = Reactor {
            now: clock.now(),
            parts,
            engine,
            clock,
            clients: Vec::new(),
            backends: Vec::new(),
            again: Vec::new(),
            scratch: vec![0; SCRATCH],
            buffers: Pool::new(256),
            lists: Lists::default(),
            accept_at: None,
            told_at: None,
            draining: false,
        };
        reactor.engine.set_wall(reactor.wall_us());
        Ok(reactor)
    }

    /// Turns until an orderly stop is complete.
    ///
    /// # Errors
    /// When polling fails, which it does not for any reason from outside.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !(self.draining && self.engine.is_drained()) {
            self.turn(&mut events)?;
        }
        Ok(())
    }

    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        self.poll(events, self.timeout())?;
        self.now = self.clock.now();
        self.engine.tick(self.now);
        self.take(events);
        if self.engine.has_output_both_ways() && !self.engine.has_ready() {
            // Whoever gets a reply asks again while the others get theirs: what comes of that goes to the nodes by the
            // same writes.
            self.effects();
            self.flush_clients();
            self.poll(events, Some(Duration::ZERO))?;
            self.take(events);
        }
        if self.accept_at.is_some_and(|t| t <= self.now) {
            self.accept_some();
        }
        if self.engine.has_ready() {
            // What has just come does not wait for what is left of others.
            self.effects();
            self.flush();
        }
        self.leftovers();
        for _ in 0..ROUNDS_PER_TURN {
            self.effects();
            self.flush();
            if !self.engine.has_output() {
                break;
            }
        }
        self.engine.check_invariants();
        Ok(())
    }

    fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        match self.parts.poll.poll(events, timeout) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => Err(e),
            _ => Ok(()),
        }
    }

    fn take(&mut self, events: &Events) {
        self.effects();
        for event in events.iter() {
            self.event(event);
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if self.engine.has_ready() || self.engine.has_output() || !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = self.engine.deadline().into_iter().chain(self.accept_at).min();
        // As of the turn that has just ended: a timer may be late by the time that it took.
        next.map(|t| t.since(self.now))
    }

    fn event(&mut self, event: &mio::event::Event) {
        match event.token() {
            WAKER => self.inbox(),
            LISTENER => self.accept_some(),
            Token(n) if (n - FIRST_SOCKET) % 2 == 0 => self.client_event((n - FIRST_SOCKET) / 2, event),
            Token(n) => self.backend_event((n - FIRST_SOCKET) / 2, event),
        }
    }

    fn inbox(&mut self) {
        while let Ok(message) = self.parts.inbox.try_recv() {
            match message {
                Message::Client(stream, peer) => self.adopt(stream, peer),
                Message::Topology(map) => self.engine.topology(&map),
                Message::Counters(to) => {
                    to.send(self.engine.totals()); // whoever asked may have stopped waiting
                }
                Message::Ask { from, ask, question } => self.answer(from, ask, &question),
                Message::Answer(ask, answer) => self.engine.answered(ask, answer),
                Message::Show(lines) => self.engine.watched(&lines),
                Message::Retire => drop(self.stop_listening()),
                Message::Drain => self.drain(),
            }
            self.effects();
        }
    }

    /// Stops accepting; who has connected and what has arrived is still taken in, then clients are closed as they are
    /// done, and has the workers behind this one do the same.
    fn drain(&mut self) {
        self.accept_last();
        if let Some(listener) = self.stop_listening().filter(|_| self.parts.closes) {
            // Other descriptors of the socket, such as the standard input, would keep it open.
            let _ = socket2::SockRef::from(&listener).shutdown(std::net::Shutdown::Both);
        }
        // Nobody is given a client any more: the next worker finds this behind those that it was given.
        let _ = self.parts.workers.iter().skip(self.parts.me + 1).any(|w| w.send(Message::Drain));
        self.draining = true;
        for index in 0..self.clients.len() {
            // What has arrived since the last poll was not told yet.
            if let Some(socket) = self.clients.get_mut(index).and_then(Option::as_mut) {
                socket.readable |= !socket.closing;
            }
            self.pump_client(index);
        }
        self.effects();
        self.flush();
        self.engine.drain();
    }

    /// Takes the listener out. While another process has the socket, too, closing it would leave it registered.
    fn stop_listening(&mut self) -> Option<TcpListener> {
        self.accept_at = None;
        let mut listener = self.parts.listener.take()?;
        let _ = self.parts.poll.registry().deregister(&mut listener);
        Some(listener)
    }

    /// What the last turn left, and clients whose reading goes on.
    fn leftovers(&mut self) {
        let mut backends = mem::take(&mut self.lists.backends);
        backends.append(&mut self.again);
        backends.drain(..).for_each(|key| self.pump_backend(key));
        self.engine.take_held_backends(&mut backends);
        backends.drain(..).for_each(|key| self.resume_backend(key));
        self.lists.backends = backends;
        let mut clients = mem::take(&mut self.lists.clients);
        self.engine.take_ready(&mut clients);
        clients.drain(..).for_each(|key| self.resume_client(key));
        self.lists.clients = clients;
    }

    fn effects(&mut self) {
        let mut effects = mem::take(&mut self.lists.effects);
        self.engine.take_effects(&mut effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Connect(key, addr) => self.connect(key, addr),
                Effect::CloseBackend(key) => {
                    take(&mut self.backends, key);
                }
                Effect::ResetBackend(key) => self.reset_backend(key),
                Effect::CloseClient(key) => self.close_client(key),
                Effect::Refresh(hint) => self.parts.topology.hint(hint),
                Effect::Ask(ask, question) => self.ask(ask, &question),
                Effect::Show(worker, lines) => {
                    // One that has ended has no clients.
                    self.parts.workers[worker].send(Message::Show(lines));
                }
            }
        }
        self.lists.effects = effects;
    }

    /// Writes what the turn has gathered: once per backend, then once per client.
    fn flush(&mut self) {
        let mut backends = mem::take(&mut self.lists.backends);
        self.engine.take_dirty_backends(&mut backends);
        for key in backends.drain(..) {
            let Some(socket) = at(&mut self.backends, key) else { continue };
            match write_once(&mut socket.stream, self.engine.backend_output(key)) {
                Ok(n) => self.engine.backend_written(key, n),
                Err(e) => self.backend_failed(key, &e.to_string()),
            }
        }
        self.lists.backends = backends;
        self.flush_clients();
    }

    fn flush_clients(&mut self) {
        let mut clients = mem::take(&mut self.lists.clients);
        self.engine.take_dirty_clients(&mut clients);
        clients.drain(..).for_each(|key| self.flush_client(key));
        self.lists.clients = clients;
    }
}

/// One write of `bytes`; 0 when the socket takes none now.
fn write_once(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    loop {
        match stream.write(bytes) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Puts a socket in its place. True when that closed another one, which the engine has given up but whose effect of
/// closing has not been carried out yet.
fn put<T>(sockets: &mut Vec<Option<Socket<T>>>, key: Key<T>, socket: Socket<T>) -> bool {
    if sockets.len() <= key.index() {
        sockets.resize_with(key.index() + 1, || None);
    }
    sockets[key.index()].replace(socket).is_some()
}

#[inline]
fn at<T>(sockets: &mut [Option<Socket<T>>], key: Key<T>) -> Option<&mut Socket<T>> {
    sockets.get_mut(key.index()).and_then(Option::as_mut).filter(|s| s.key == key)
}

/// Drops the socket of `key`, which closes it. False when it was gone before.
fn take<T>(sockets: &mut [Option<Socket<T>>], key: Key<T>) -> bool {
    if at(sockets, key).is_none() {
        return false;
    }
    sockets[key.index()] = None;
    true
}
