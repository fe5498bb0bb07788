//! The reactor's backends: connected, read, lost.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Interest, Token};
use socket2::{SockRef, TcpKeepalive};

use super::{at, put, take, Reactor, FIRST_SOCKET, READS_PER_TURN};
use crate::base::arena::Key;
use crate::net::reserve;
use crate::net::socket::{Held, Look, Socket};
use crate::proxy::Backend;

/// A host that has gone without a word is noticed after this time without traffic and some probes, about a minute in all;
/// where a client is blocked for ever nothing else would tell.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(5));

impl Reactor {
    pub(super) fn connect(&mut self, key: Key<Backend>, addr: SocketAddr) {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let connect = || TcpStream::connect(addr);
        // What is for one client has no claim on what is kept back for all.
        let private = self.engine.is_private(key);
        let connected = if private { connect() } else { reserve::with(connect) };
        let opened = connected.and_then(|mut stream| {
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

    pub(super) fn backend_event(&mut self, index: usize, event: &mio::event::Event) {
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
                socket.closing |= event.is_read_closed() || event.is_error();
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
                // Only latency depends on the one, and on the other how soon some losses are seen.
                let _ = socket.stream.set_nodelay(true);
                let _ = SockRef::from(&socket.stream).set_tcp_keepalive(&KEEPALIVE);
                self.engine.backend_connected(key);
                return true;
            }
        };
        self.backend_failed(key, &error.to_string());
        false
    }

    pub(super) fn pump_backend(&mut self, key: Key<Backend>) {
        for _ in 0..READS_PER_TURN {
            let Some(socket) = at(&mut self.backends, key) else { return };
            if !socket.readable || socket.paused {
                return;
            }
            match socket.read(&mut self.scratch, super::SCRATCH, &mut self.buffers) {
                Look::Data(held) => self.hand_in_replies(key, held),
                Look::Nothing => return,
                Look::End => return self.backend_failed(key, "the node closed the connection"),
                Look::Failed(e) => return self.backend_failed(key, &e.to_string()),
            }
        }
        self.again.push(key);
    }

    fn hand_in_replies(&mut self, key: Key<Backend>, held: Held) {
        let Some(socket) = at(&mut self.backends, key) else { return };
        let data = socket.bytes(held, &self.scratch);
        let consumed = self.engine.backend_bytes(key, data);
        socket.consumed(held, consumed, &self.scratch, &mut self.buffers);
        socket.paused = self.engine.is_held(key);
    }

    /// Reading a backend that the engine had enough of goes on.
    pub(super) fn resume_backend(&mut self, key: Key<Backend>) {
        let Some(socket) = at(&mut self.backends, key) else { return };
        socket.paused = false;
        if let Some(held) = socket.unread() {
            self.hand_in_replies(key, held);
        }
        self.pump_backend(key);
    }

    /// Closes a backend without delivering what its socket still holds. The system would go on trying for minutes where
    /// the network drops packets, and the node would execute it when it is back, after what was written since.
    pub(super) fn reset_backend(&mut self, key: Key<Backend>) {
        if let Some(socket) = at(&mut self.backends, key) {
            let _ = SockRef::from(&socket.stream).set_linger(Some(Duration::ZERO));
            take(&mut self.backends, key);
        }
    }

    pub(super) fn backend_failed(&mut self, key: Key<Backend>, why: &str) {
        self.engine.backend_gone(key, why.to_owned());
        take(&mut self.backends, key);
    }
}

fn backend_token(key: Key<Backend>) -> Token {
    Token(FIRST_SOCKET + key.index() * 2 + 1)
}
