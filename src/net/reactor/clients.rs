//! The reactor's clients: accepted, spread over workers, read, written, closed.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Token};

use super::{at, put, take, write_once, Reactor, ACCEPT_PAUSE, FIRST_SOCKET, READS_PER_TURN};
use crate::base::arena::Key;
use crate::net::mesh::Message;
use crate::net::reserve;
use crate::net::socket::{Held, Look, Socket};
use crate::proxy::{Client, Intake};

/// Clients accepted per turn.
const ACCEPTS_PER_TURN: usize = 1;
/// Clients accepted before the listener is closed: as many as can wait for that.
const LAST_ACCEPTS: usize = 4096;

/// New bytes of one read at least, however many clients have more.
const LEAST_READ: usize = 32 * 1024;

/// Places for clients that are kept when there is none.
const KEEP_PLACES: usize = 64;
/// How often it is told that no clients can be accepted.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What an accepted client is told when there are too many, as a server says it.
const TOO_MANY_CLIENTS: &[u8] = b"-ERR max number of clients reached\r\n";

impl Reactor {
    /// Accepts some of those who have connected; the others have their turn as well.
    pub(super) fn accept_some(&mut self) {
        self.accept(ACCEPTS_PER_TURN);
    }

    /// Accepts all who have connected; there will be no further ones.
    pub(super) fn accept_last(&mut self) {
        self.accept(LAST_ACCEPTS);
    }

    fn accept(&mut self, most: usize) {
        self.accept_at = None;
        for _ in 0..most {
            let Some(listener) = &self.parts.listener else { return };
            if !reserve::is_full() {
                return self.accept_later("file descriptors are kept for nodes");
            }
            match listener.accept() {
                Ok((stream, peer)) => self.place(stream, peer),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if out_of_resources(&e) => return self.accept_later(&e.to_string()),
                // The client went away before it was accepted.
                Err(_) => {}
            }
        }
        self.accept_at = Some(self.clock.now());
    }

    /// Whoever connects waits in the system's queue.
    #[cold]
    fn accept_later(&mut self, why: &str) {
        let now = self.clock.now();
        self.accept_at = Some(now.after(ACCEPT_PAUSE));
        if self.told_at.is_none_or(|t| now.since(t) >= TOLD_EVERY) {
            self.told_at = Some(now);
            log::warn!("cannot accept clients: {why}; trying again every {ACCEPT_PAUSE:?}");
        }
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
    pub(super) fn adopt(&mut self, mut stream: TcpStream, peer: SocketAddr) {
        let key = self.engine.client_opened(peer);
        if let Ok(local) = stream.local_addr() {
            self.engine.client_reached(key, local, stream.as_raw_fd());
        }
        let registered =
            self.parts.poll.registry().register(&mut stream, client_token(key), Interest::READABLE);
        if put(&mut self.clients, key, Socket::new(stream, key)) {
            self.parts.workers[self.parts.me].client_removed();
        }
        if let Err(e) = registered {
            self.client_failed(key, &e);
        }
    }

    pub(super) fn client_event(&mut self, index: usize, event: &mio::event::Event) {
        let Some(socket) = self.clients.get_mut(index).and_then(Option::as_mut) else { return };
        let key = socket.key;
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            socket.readable = true;
            socket.closing |= event.is_read_closed() || event.is_error();
            if socket.closing && socket.paused {
                self.engine.client_hung_up(key);
            }
            self.pump_client(index);
        }
        if event.is_writable() {
            self.engine.client_writable(key);
        }
    }

    /// Hands a client's bytes to the engine until they run out, the engine has enough, or its share of the turn is used.
    pub(super) fn pump_client(&mut self, index: usize) {
        let crowd = self.engine.crowd().max(1);
        let most = (self.scratch.len() / crowd).max(LEAST_READ);
        for _ in 0..(READS_PER_TURN / crowd).max(1) {
            let Some(socket) = self.clients.get_mut(index).and_then(Option::as_mut) else { return };
            let key = socket.key;
            if !socket.readable || socket.paused {
                // No further event will tell.
                if socket.paused && socket.closing {
                    self.engine.client_hung_up(key);
                }
                return;
            }
            match socket.read(&mut self.scratch, most, &mut self.buffers) {
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

    fn hand_in(&mut self, index: usize, held: Held) {
        let Some(socket) = self.clients.get_mut(index).and_then(Option::as_mut) else { return };
        let data = socket.bytes(held, &self.scratch);
        let (consumed, intake) = self.engine.client_bytes(socket.key, data);
        socket.consumed(held, consumed, &self.scratch, &mut self.buffers);
        socket.paused = intake != Intake::More;
    }

    /// Reading a client goes on.
    pub(super) fn resume_client(&mut self, key: Key<Client>) {
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

    pub(super) fn close_client(&mut self, key: Key<Client>) {
        if take(&mut self.clients, key) {
            let worker = &self.parts.workers[self.parts.me];
            worker.client_removed();
            self.buffers.shrink_to(worker.clients() as usize);
            if worker.clients() == 0 && self.clients.capacity() > KEEP_PLACES {
                // Those that are counted later are put in later, too.
                self.clients = Vec::new();
            }
        }
    }

    pub(super) fn flush_client(&mut self, key: Key<Client>) {
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

/// Out of descriptors or memory: trying again at once would only spin.
fn out_of_resources(error: &io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENOBUFS: i32 = 105;
    reserve::is_wanted(error) || matches!(error.raw_os_error(), Some(ENOMEM | ENOBUFS))
}
