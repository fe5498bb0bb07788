//! Who talks in a dialogue: clients and nodes. Each method is one step of a script.

use std::cell::{RefCell, RefMut};
use std::net::SocketAddr;
use std::rc::Rc;

use crate::rig::cmd;
use crate::world::{first_command, show, ClientEnd, NodeEnd, World};

/// A client of the proxy.
pub struct Client {
    world: Rc<RefCell<World>>,
    index: usize,
}

impl Client {
    pub fn new(world: &Rc<RefCell<World>>) -> Client {
        let mut w = world.borrow_mut();
        let key = w.engine.client_opened("10.9.9.9:55555".parse().unwrap());
        w.clients.push(ClientEnd {
            key,
            unread: Vec::new(),
            received: Vec::new(),
            paused: false,
            fresh: false,
            eof: false,
            eof_told: false,
            closed: false,
            room: None,
        });
        Client { world: world.clone(), index: w.clients.len() - 1 }
    }

    /// Sends bytes in one segment.
    pub fn sends(&self, bytes: impl AsRef<[u8]>) -> &Self {
        let mut world = self.world.borrow_mut();
        let c = &mut world.clients[self.index];
        assert!(!c.eof, "the client has closed its half");
        c.unread.extend_from_slice(bytes.as_ref());
        c.fresh = true;
        world.settle();
        drop(world);
        self
    }

    /// Sends a command.
    pub fn sends_cmd<T: AsRef<[u8]>>(&self, args: &[T]) -> &Self {
        self.sends(cmd(args))
    }

    /// Sends bytes in segments of `size`.
    pub fn sends_in_pieces(&self, bytes: &[u8], size: usize) -> &Self {
        bytes.chunks(size).for_each(|piece| {
            self.sends(piece);
        });
        self
    }

    /// Asserts what has come, from its beginning.
    #[track_caller]
    pub fn receives(&self, expected: impl AsRef<[u8]>) -> &Self {
        let expected = expected.as_ref();
        let mut world = self.world.borrow_mut();
        let received = &mut world.clients[self.index].received;
        assert!(received.starts_with(expected), "expected {}, got {}", show(expected), show(received));
        received.drain(..expected.len());
        drop(world);
        self
    }

    /// Asserts that an error has come, and nothing else, that begins so and contains all of `words`.
    #[track_caller]
    pub fn receives_error(&self, begins: &str, words: &[&str]) -> &Self {
        let line = self.receives_line();
        assert!(line.starts_with(&format!("-{begins}")), "expected -{begins}..., got {line:?}");
        for word in words {
            assert!(line.contains(word), "expected {word:?} in {line:?}");
        }
        self
    }

    /// The next line that has come, without its end.
    #[track_caller]
    pub fn receives_line(&self) -> String {
        let mut world = self.world.borrow_mut();
        let received = &mut world.clients[self.index].received;
        let end = received.windows(2).position(|w| w == b"\r\n");
        let Some(end) = end else { panic!("expected a line, got {}", show(received)) };
        let line: Vec<u8> = received.drain(..end + 2).collect();
        String::from_utf8_lossy(&line[..end]).into_owned()
    }

    /// Asserts that nothing has come.
    #[track_caller]
    pub fn receives_nothing(&self) -> &Self {
        let world = self.world.borrow();
        let received = &world.clients[self.index].received;
        assert!(received.is_empty(), "expected nothing, got {}", show(received));
        drop(world);
        self
    }

    /// Bytes that have come and were not yet asserted.
    pub fn received_len(&self) -> usize {
        self.world.borrow().clients[self.index].received.len()
    }

    /// Takes what has come.
    pub fn takes_received(&self) -> Vec<u8> {
        std::mem::take(&mut self.world.borrow_mut().clients[self.index].received)
    }

    /// Bytes that it has sent and that the proxy does not read.
    pub fn unread_len(&self) -> usize {
        self.world.borrow().clients[self.index].unread.len()
    }

    /// Closes its half: it sends nothing more.
    pub fn half_closes(&self) -> &Self {
        let mut world = self.world.borrow_mut();
        world.clients[self.index].eof = true;
        world.settle();
        drop(world);
        self
    }

    /// Goes away without a word.
    pub fn resets(&self) {
        let mut world = self.world.borrow_mut();
        let c = &mut world.clients[self.index];
        c.closed = true;
        let key = c.key;
        world.engine.client_gone(key);
        world.engine.check_invariants();
        world.settle();
    }

    /// Closes its side while it is not read, as the event loop sees it.
    pub fn hangs_up(&self) -> &Self {
        let mut world = self.world.borrow_mut();
        let key = world.clients[self.index].key;
        world.engine.client_hung_up(key);
        world.settle();
        drop(world);
        self
    }

    /// Asserts that the proxy has closed the connection.
    #[track_caller]
    pub fn is_closed(&self) -> &Self {
        assert!(self.closed(), "the connection is open");
        self
    }

    /// Asserts that the connection is open.
    #[track_caller]
    pub fn is_open(&self) -> &Self {
        assert!(!self.closed(), "the connection is closed");
        self
    }

    fn closed(&self) -> bool {
        self.world.borrow().clients[self.index].closed
    }

    /// Takes so many bytes more from the proxy, then its socket is full; `None` for no limit.
    pub fn takes(&self, room: Option<usize>) -> &Self {
        let mut world = self.world.borrow_mut();
        let c = &mut world.clients[self.index];
        c.room = room;
        let key = c.key;
        world.engine.client_writable(key);
        world.settle();
        drop(world);
        self
    }
}

/// What a connection to a node is used for, as its greeting shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Plain,
    Resp3,
    Replica,
    Dedicated,
}

/// A node, on its newest connection of one role, or an older one.
pub struct Node {
    world: Rc<RefCell<World>>,
    addr: SocketAddr,
    role: Role,
    /// How many open ones of the role are newer.
    newer: usize,
}

impl Node {
    pub fn new(world: &Rc<RefCell<World>>, addr: SocketAddr, role: Role) -> Node {
        Node { world: world.clone(), addr, role, newer: 0 }
    }

    /// The open connection that is older than `newer` others.
    pub fn behind(&self, newer: usize) -> Node {
        Node { world: self.world.clone(), newer, ..*self }
    }

    /// The world and the newest open connection.
    #[track_caller]
    fn conn(&self) -> (RefMut<'_, World>, usize) {
        let world = self.world.borrow_mut();
        let fits = |c: &NodeEnd| {
            let said = |word: &[u8]| c.greeting.iter().any(|g| g.starts_with(word));
            let role = match (said(b"HELLO 3"), said(b"READONLY")) {
                _ if said(b"CLIENT ID") => Role::Dedicated,
                (true, _) => Role::Resp3,
                (_, true) => Role::Replica,
                _ => Role::Plain,
            };
            // A script that asks for no role means the newest one, also where that is dedicated. One whose greeting is
            // in the hands of the script shows no role.
            let fits = role == self.role || (self.role != Role::Replica && role == Role::Dedicated);
            c.addr == self.addr && !c.gone && (fits || c.greeting.is_empty())
        };
        let all = world.conns.iter().enumerate().rev();
        let found = all.filter(|(_, c)| fits(c)).map(|(i, _)| i).nth(self.newer);
        let Some(found) = found else { panic!("no connection to {} ({:?})", self.addr, self.role) };
        (world, found)
    }

    /// Accepts the connect that waits for it.
    #[track_caller]
    pub fn accepts(&self) -> &Self {
        let (mut world, at) = self.conn();
        assert!(world.conns[at].connecting, "it is connected already");
        world.connected(at);
        world.settle();
        drop(world);
        self
    }

    /// Answers the greeting that the proxy sends to a primary when there is no password.
    #[track_caller]
    pub fn greets(&self) -> &Self {
        self.expects(&["CLIENT", "SETNAME", "redis-cluster-proxy"]).replies(b"+OK\r\n")
    }

    /// Refuses the connect that waits for it.
    #[track_caller]
    pub fn refuses_connect(&self) -> &Self {
        assert!(self.conn().0.conns.iter().any(|c| c.connecting), "it is connected already");
        self.goes("Connection refused (os error 111)")
    }

    /// Asserts the next command that has come.
    #[track_caller]
    pub fn expects<T: AsRef<[u8]>>(&self, args: &[T]) -> &Self {
        self.expects_bytes(cmd(args))
    }

    /// Asserts what has come, from its beginning.
    #[track_caller]
    pub fn expects_bytes(&self, expected: impl AsRef<[u8]>) -> &Self {
        let expected = expected.as_ref();
        let (mut world, at) = self.conn();
        let received = &mut world.conns[at].received;
        assert!(
            received.starts_with(expected),
            "{} expected {}, got {}",
            self.addr,
            show(expected),
            show(received)
        );
        received.drain(..expected.len());
        drop(world);
        self
    }

    /// Asserts that nothing (more) has come.
    #[track_caller]
    pub fn expects_nothing(&self) -> &Self {
        let (world, at) = self.conn();
        let received = &world.conns[at].received;
        assert!(received.is_empty(), "{} expected nothing, got {}", self.addr, show(received));
        drop(world);
        self
    }

    /// Takes the whole commands that have come.
    #[track_caller]
    pub fn takes_commands(&self) -> Vec<Vec<Vec<u8>>> {
        let (mut world, at) = self.conn();
        let mut commands = Vec::new();
        let mut begin = 0;
        while let Some((len, words)) = first_command(&world.conns[at].received[begin..]) {
            commands.push(words);
            begin += len;
        }
        world.conns[at].received.drain(..begin);
        commands
    }

    /// Bytes that have come and were not yet asserted.
    #[track_caller]
    pub fn received_len(&self) -> usize {
        let (world, at) = self.conn();
        world.conns[at].received.len()
    }

    /// Sends bytes in one segment.
    #[track_caller]
    pub fn replies(&self, bytes: impl AsRef<[u8]>) -> &Self {
        let (mut world, at) = self.conn();
        world.replies(at, bytes.as_ref());
        world.engine.check_invariants();
        world.settle();
        drop(world);
        self
    }

    /// Bytes that it has sent and that the proxy has not taken.
    #[track_caller]
    pub fn unread_len(&self) -> usize {
        let (world, at) = self.conn();
        world.conns[at].unread.len()
    }

    /// Sends bytes in segments of `size`.
    #[track_caller]
    pub fn replies_in_pieces(&self, bytes: &[u8], size: usize) -> &Self {
        for piece in bytes.chunks(size) {
            self.replies(piece);
        }
        self
    }

    /// Takes so many bytes more from the proxy, then its socket is full; `None` for no limit.
    #[track_caller]
    pub fn takes(&self, room: Option<usize>) -> &Self {
        let (mut world, at) = self.conn();
        world.conns[at].room = room;
        let key = world.conns[at].key;
        world.engine.backend_writable(key);
        world.settle();
        drop(world);
        self
    }

    /// Closes the connection.
    #[track_caller]
    pub fn closes(&self) -> &Self {
        self.goes("the node closed the connection")
    }

    #[track_caller]
    fn goes(&self, why: &str) -> &Self {
        let (mut world, at) = self.conn();
        world.conns[at].gone = true;
        let key = world.conns[at].key;
        world.engine.backend_gone(key, why.to_owned());
        world.engine.check_invariants();
        world.settle();
        drop(world);
        self
    }
}
