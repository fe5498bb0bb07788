//! The event loop of one worker: sockets in, sockets out, in fixed phases per turn. Knows no RESP, no command, no slot.
//!
//! Edge-triggered readiness has a trap: an event comes once, when bytes arrive, not while bytes wait. So a socket that
//! was left with unread bytes is remembered (`Socket::readable`), and whoever stopped reading it must resume it: the
//! engine by its ready list, the reactor by `again`. The same holds for writing: what could not be written waits for
//! the next writable event, which `Socket::watched` asks for.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::clock::Clock;
use super::mesh::{Message, WorkerHandle};
use super::socket::{Look, Socket};
use super::topology::TopologyHandle;
use crate::base::arena::Key;
use crate::base::pool::Pool;
use crate::proxy::{Backend, Client, Effect, Engine, Intake};

/// Token of the waker.
pub const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);
const FIRST_SOCKET: usize = 2;

/// Bytes of one read.
const SCRATCH: usize = 64 * 1024;

/// Reads of one socket per turn; what is left waits for the next turn, after everybody else.
const READS_PER_TURN: usize = 4;

/// Clients accepted per turn.
const ACCEPTS_PER_TURN: usize = 256;

/// Rounds of effects and writing per turn: what one round causes is seen to by the next, and seldom causes more.
const ROUNDS_PER_TURN: usize = 4;

/// How soon accepting is tried again after the system ran out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What an accepted client is told when there are too many, as a server says it.
const TOO_MANY_CLIENTS: &[u8] = b"-ERR max number of clients reached\r\n";

/// What a reactor is made of.
#[derive(Debug)]
pub struct Parts {
    /// Polls this worker's sockets; its waker is registered under [`WAKER`].
    pub poll: Poll,
    /// What others tell this worker.
    pub inbox: Receiver<Message>,
    /// Where clients are accepted, on one of the workers.
    pub listener: Option<TcpListener>,
    /// All workers, this one among them.
    pub workers: Vec<WorkerHandle>,
    /// Number of this worker.
    pub me: usize,
    /// Clients of all workers at once, at most.
    pub max_clients: usize,
    /// Where hints go.
    pub topology: TopologyHandle,
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
    accept_again: bool,
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
        Ok(Reactor {
            parts,
            engine,
            clock,
            clients: Vec::new(),
            backends: Vec::new(),
            again: Vec::new(),
            scratch: vec![0; SCRATCH],
            buffers: Pool::new(256),
            accept_again: false,
            draining: false,
        })
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
        match self.parts.poll.poll(events, self.timeout()) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
            _ => {}
        }
        self.engine.tick(self.clock.now());
        self.effects();
        for event in events.iter() {
            self.event(event);
        }
        if self.accept_again {
            self.accept();
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

    fn timeout(&self) -> Option<Duration> {
        if self.engine.has_ready() || self.engine.has_output() || !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let timer = self.engine.deadline().map(|t| t.since(self.clock.now()));
        let accept = self.accept_again.then_some(ACCEPT_PAUSE);
        timer.into_iter().chain(accept).min()
    }

    fn event(&mut self, event: &mio::event::Event) {
        match event.token() {
            WAKER => self.inbox(),
            LISTENER => self.accept(),
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
                    // Whoever asked may have stopped waiting.
                    let _ = to.try_send(self.engine.counters());
                }
                Message::Drain => self.drain(),
            }
            self.effects();
        }
    }

    /// Stops accepting; what has arrived is still taken in, then clients are closed as they are done.
    fn drain(&mut self) {
        self.parts.listener = None;
        self.accept_again = false;
        self.draining = true;
        for index in 0..self.clients.len() {
            self.pump_client(index);
        }
        self.effects();
        self.flush();
        self.engine.drain();
    }

    fn accept(&mut self) {
        self.accept_again = false;
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = &self.parts.listener else { return };
            match listener.accept() {
                Ok((stream, peer)) => self.place(stream, peer),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if out_of_resources(&e) => {
                    log::warn!("cannot accept clients: {e}; trying again in {ACCEPT_PAUSE:?}");
                    break;
                }
                // The client went away before it was accepted.
                Err(_) => {}
            }
        }
        self.accept_again = true;
    }

    /// Gives an accepted client to the worker that has the fewest.
    fn place(&mut self, mut stream: TcpStream, peer: SocketAddr) {
        let total: u64 = self.parts.workers.iter().map(|w| u64::from(w.clients())).sum();
        if total >= self.parts.max_clients as u64 {
            self.engine.client_refused();
            // It is refused either way.
            let _ = stream.write(TOO_MANY_CLIENTS);
            return;
        }
        let fewest = (0..self.parts.workers.len()).min_by_key(|i| self.parts.workers[*i].clients());
        let chosen = fewest.unwrap_or(self.parts.me);
        self.parts.workers[chosen].client_added();
        if chosen == self.parts.me {
            self.adopt(stream, peer);
        } else {
            self.parts.workers[chosen].send(Message::Client(stream, peer));
        }
    }

    /// Serves a client that is counted already.
    fn adopt(&mut self, mut stream: TcpStream, peer: SocketAddr) {
        let key = self.engine.client_opened(peer);
        let registered =
            self.parts.poll.registry().register(&mut stream, client_token(key), Interest::READABLE);
        put(&mut self.clients, key, Socket::new(stream, key));
        if let Err(e) = registered {
            self.client_failed(key, &e);
        }
    }

    fn client_event(&mut self, index: usize, event: &mio::event::Event) {
        let Some(socket) = self.clients.get_mut(index).and_then(Option::as_mut) else { return };
        let key = socket.key;
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            socket.readable = true;
            self.pump_client(index);
        }
        if event.is_writable() {
            self.engine.client_writable(key);
        }
    }

    /// Hands a client's bytes to the engine until they run out, the engine has enough, or its share of the turn is used.
    fn pump_client(&mut self, index: usize) {
        for _ in 0..READS_PER_TURN {
            let Some(socket) = self.clients.get_mut(index).and_then(Option::as_mut) else { return };
            if !socket.readable || socket.paused {
                return;
            }
            let key = socket.key;
            match socket.read(&mut self.scratch, &mut self.buffers) {
                Look::Data(held) => self.hand_in(index, held),
                Look::Nothing => return,
                Look::End => {
                    socket.readable = false;
                    return self.engine.client_eof(key);
                }
                Look::Failed(e) => return self.client_failed(key, &e),
            }
        }
        if let Some(socket) = self.clients.get(index).and_then(Option::as_ref) {
            if socket.readable && !socket.paused {
                self.engine.read_again(socket.key);
            }
        }
    }

    fn hand_in(&mut self, index: usize, held: super::socket::Held) {
        let Some(socket) = self.clients.get_mut(index).and_then(Option::as_mut) else { return };
        let data = socket.bytes(held, &self.scratch);
        let (consumed, intake) = self.engine.client_bytes(socket.key, data);
        socket.consumed(held, consumed, &self.scratch, &mut self.buffers);
        socket.paused = intake != Intake::More;
    }

    /// Reading a client goes on.
    fn resume_client(&mut self, key: Key<Client>) {
        let Some(socket) = at(&mut self.clients, key) else { return };
        socket.paused = false;
        if let Some(held) = socket.unread() {
            self.hand_in(key.index(), held);
        }
        self.pump_client(key.index());
    }

    fn client_failed(&mut self, key: Key<Client>, error: &io::Error) {
        log::debug!("client lost: {error}");
        self.engine.client_gone(key);
        self.close_client(key);
    }

    fn close_client(&mut self, key: Key<Client>) {
        if take(&mut self.clients, key) {
            self.parts.workers[self.parts.me].client_removed();
        }
    }

    fn backend_event(&mut self, index: usize, event: &mio::event::Event) {
        let Some(socket) = self.backends.get_mut(index).and_then(Option::as_mut) else { return };
        let key = socket.key;
        if socket.connecting && !self.finish_connect(key) {
            return;
        }
        if event.is_writable() {
            self.engine.backend_writable(key);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            if let Some(socket) = at(&mut self.backends, key) {
                socket.readable = true;
            }
            self.pump_backend(key);
        }
    }

    /// Whether the backend is connected now.
    fn finish_connect(&mut self, key: Key<Backend>) -> bool {
        let Some(socket) = at(&mut self.backends, key) else { return false };
        let error = match (socket.stream.take_error(), socket.stream.peer_addr()) {
            (Ok(Some(e)) | Err(e), _) => e,
            (Ok(None), Err(e)) if e.kind() == io::ErrorKind::NotConnected => return false,
            (Ok(None), Err(e)) => e,
            (Ok(None), Ok(_)) => {
                socket.connecting = false;
                // Only latency depends on it.
                let _ = socket.stream.set_nodelay(true);
                self.engine.backend_connected(key);
                return true;
            }
        };
        self.backend_failed(key, &error.to_string());
        false
    }

    fn pump_backend(&mut self, key: Key<Backend>) {
        for _ in 0..READS_PER_TURN {
            let Some(socket) = at(&mut self.backends, key) else { return };
            if !socket.readable {
                return;
            }
            match socket.read(&mut self.scratch, &mut self.buffers) {
                Look::Data(held) => {
                    let data = socket.bytes(held, &self.scratch);
                    let consumed = self.engine.backend_bytes(key, data);
                    socket.consumed(held, consumed, &self.scratch, &mut self.buffers);
                }
                Look::Nothing => return,
                Look::End => return self.backend_failed(key, "the node closed the connection"),
                Look::Failed(e) => return self.backend_failed(key, &e.to_string()),
            }
        }
        self.again.push(key);
    }

    fn backend_failed(&mut self, key: Key<Backend>, why: &str) {
        self.engine.backend_gone(key, why.to_owned());
        take(&mut self.backends, key);
    }

    /// What the last turn left, and clients whose reading goes on.
    fn leftovers(&mut self) {
        for key in std::mem::take(&mut self.again) {
            self.pump_backend(key);
        }
        let mut ready = Vec::new();
        self.engine.take_ready(&mut ready);
        for key in ready {
            self.resume_client(key);
        }
    }

    fn effects(&mut self) {
        let mut effects = Vec::new();
        self.engine.take_effects(&mut effects);
        for effect in effects {
            match effect {
                Effect::Connect(key, addr) => self.connect(key, addr),
                Effect::CloseBackend(key) => {
                    take(&mut self.backends, key);
                }
                Effect::CloseClient(key) => self.close_client(key),
                Effect::Refresh(hint) => self.parts.topology.hint(hint),
            }
        }
    }

    fn connect(&mut self, key: Key<Backend>, addr: SocketAddr) {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let opened = TcpStream::connect(addr).and_then(|mut stream| {
            self.parts.poll.registry().register(&mut stream, backend_token(key), interest)?;
            Ok(stream)
        });
        match opened {
            Ok(stream) => {
                let mut socket = Socket::new(stream, key);
                (socket.connecting, socket.watched) = (true, true);
                put(&mut self.backends, key, socket);
            }
            Err(e) => self.engine.backend_gone(key, e.to_string()),
        }
    }

    /// Writes what the turn has gathered: once per backend, then once per client.
    fn flush(&mut self) {
        let mut backends = Vec::new();
        self.engine.take_dirty_backends(&mut backends);
        for key in backends {
            let Some(socket) = at(&mut self.backends, key) else { continue };
            match write_once(&mut socket.stream, self.engine.backend_output(key)) {
                Ok(n) => self.engine.backend_written(key, n),
                Err(e) => self.backend_failed(key, &e.to_string()),
            }
        }
        let mut clients = Vec::new();
        self.engine.take_dirty_clients(&mut clients);
        for key in clients {
            self.flush_client(key);
        }
    }

    fn flush_client(&mut self, key: Key<Client>) {
        let Some(socket) = at(&mut self.clients, key) else { return };
        let output = self.engine.client_output(key);
        match write_once(&mut socket.stream, output) {
            Ok(n) => {
                let rest = output.len() - n;
                self.engine.client_written(key, n);
                if rest > 0 {
                    self.watch_client(key);
                }
            }
            Err(e) => self.client_failed(key, &e),
        }
    }

    /// Asks for writable events of a client that takes its replies slowly.
    fn watch_client(&mut self, key: Key<Client>) {
        let Some(socket) = at(&mut self.clients, key).filter(|s| !s.watched) else { return };
        socket.watched = true;
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(e) = self.parts.poll.registry().reregister(&mut socket.stream, client_token(key), interest)
        {
            self.client_failed(key, &e);
        }
    }
}

fn client_token(key: Key<Client>) -> Token {
    Token(FIRST_SOCKET + key.index() * 2)
}

fn backend_token(key: Key<Backend>) -> Token {
    Token(FIRST_SOCKET + key.index() * 2 + 1)
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

fn put<T>(sockets: &mut Vec<Option<Socket<T>>>, key: Key<T>, socket: Socket<T>) {
    if sockets.len() <= key.index() {
        sockets.resize_with(key.index() + 1, || None);
    }
    sockets[key.index()] = Some(socket);
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

/// Out of descriptors or memory: trying again at once would only spin.
fn out_of_resources(error: &io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    matches!(error.raw_os_error(), Some(ENOMEM | ENFILE | EMFILE | ENOBUFS))
}
