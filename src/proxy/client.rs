//! One accepted client: what it said of itself, and what it waits for.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};

use super::backend::Backend;
use super::engine::Alarm;
use super::fan::Slices;
use super::lease::Lease;
use super::multi::Multi;
use super::order::{ReplyOrder, Sequence};
use super::pubsub::Subscriber;
use super::recover::Parked;
use super::session::Mute;
use super::stream::Upload;
use super::tracking::Tracking;
use crate::base::arena::Key;
use crate::base::pool::Reusable;
use crate::base::time::Time;
use crate::base::wheel::TimerKey;
use crate::resp::{Protocol, RequestParser};

/// Bytes that are written of an [`Outbox`] above which its rest is moved to the front.
const MOVE_BYTES: usize = 64 * 1024;

/// A client. While it waits for nothing it costs little more than this struct.
#[derive(Debug)]
pub struct Client {
    /// CLIENT ID: unique in this process.
    pub id: u64,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The address by which it reached this proxy.
    pub local: SocketAddr,
    /// What it holds while it has requests or replies under way.
    pub active: Option<Box<Active>>,
    /// What it told of itself; rarely anything.
    pub labels: Option<Box<Labels>>,
    /// Its transaction, from MULTI to EXEC.
    pub multi: Option<Box<Multi>>,
    /// Its claim to a backend of its own.
    pub lease: Option<Box<Lease>>,
    /// What it has subscribed to; there only while it has.
    pub subscriber: Option<Box<Subscriber>>,
    /// What it wants to be told of keys that it has read.
    pub tracking: Option<Box<Tracking>>,
    /// The routing epoch of its requests in flight.
    pub epoch: u32,
    /// Idle timeout.
    pub timer: TimerKey<Alarm>,
    /// What has passed between it and the proxy.
    pub traffic: Traffic,
    /// When it last sent or took something, or was seen to wait for a reply.
    pub heard: Time,
    /// When it was accepted.
    pub since: Time,
    /// The descriptor of its socket, for showing only; -1 when unknown.
    pub descriptor: i32,
    /// Row of the command that it sent last, or [`NO_COMMAND`].
    pub last_command: u16,
    /// Which database it has selected.
    pub db: u16,
    /// CLIENT REPLY: whether it gets replies.
    pub mute: Mute,
    /// Has said who it is, or need not.
    pub authenticated: bool,
    /// Speaks RESP3 since HELLO 3.
    pub resp3: bool,
    /// Has sent READONLY: its reads may go to replicas.
    pub readonly: bool,
    /// Nothing more is read from it; closed when its last reply is written.
    pub closing: bool,
    /// Reading it was stopped; it must be resumed.
    pub paused: bool,
    /// Its next request must wait until all earlier ones are answered.
    pub barrier: bool,
    /// A large request of it is passed on as it comes.
    pub uploading: bool,
    /// It waits for replicas.
    pub waits: bool,
    /// Whether it is on the engine's list of clients that CLIENT PAUSE holds up.
    pub held: bool,
    /// Is shown what passes through the proxy.
    pub monitor: bool,
    /// Whether it is on the dirty list.
    pub dirty: bool,
    /// Whether it is on the ready list.
    pub ready: bool,
}

/// In [`Client::last_command`]: none that the table knows.
pub const NO_COMMAND: u16 = u16::MAX;

/// What has passed between a client and the proxy, for CLIENT LIST.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Bytes of requests.
    pub bytes_in: u64,
    /// Bytes of replies that were written.
    pub bytes_out: u64,
    /// Commands, those that were refused and the present one among them.
    pub commands: u64,
}

/// What a client told of itself.
#[derive(Debug, Default)]
pub struct Labels {
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_ver: Vec<u8>,
    /// CLIENT CAPA REDIRECT.
    pub redirects: bool,
}

/// What a client holds only while it has requests or replies under way; lent from a pool.
#[derive(Debug, Default)]
pub struct Active {
    /// The order of its replies.
    pub order: ReplyOrder,
    /// Replies to be written.
    pub out: Outbox,
    /// Parts that wait to be sent again, oldest first.
    pub parked: VecDeque<Parked>,
    /// Its large request that is passed on as it comes.
    pub upload: Option<Box<Upload>>,
    /// Its MGET of very many keys.
    pub slices: Option<Box<Slices>>,
    /// Backends that are not read until the client has taken something.
    pub sources: Vec<Key<Backend>>,
    /// Where parts are that were sent again and are not answered.
    pub wandering: Vec<Wandering>,
    /// The timer that looks at `parked`.
    pub parked_timer: TimerKey<Alarm>,
    /// How often `parked` was looked at in vain.
    pub parked_tries: u32,
    /// Whether it is on the engine's list of clients with parked parts.
    pub waiting: bool,
    /// Where parsing its unfinished request stands.
    pub parser: Option<RequestParser>,
    /// Bytes of that request so far, which its socket keeps; meant only while there is a parser.
    pub unread: usize,
}

/// A part that was sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wandering {
    /// Its slot.
    pub slot: u16,
    /// Of which request.
    pub sequence: Sequence,
    /// Where it is.
    pub backend: Key<Backend>,
}

/// Bytes to be written to a socket.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    written: usize,
    /// The last bytes are of a reply whose rest will follow.
    open: bool,
    /// What does not belong to any reply and came in the middle of one.
    aside: Vec<u8>,
}

impl Client {
    /// A client that has just been accepted.
    pub fn new(id: u64, peer: SocketAddr, authenticated: bool, now: Time) -> Self {
        Client {
            id,
            peer,
            local: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            active: None,
            labels: None,
            multi: None,
            lease: None,
            subscriber: None,
            tracking: None,
            epoch: 0,
            timer: Key::NONE,
            traffic: Traffic::default(),
            heard: now,
            since: now,
            descriptor: -1,
            last_command: NO_COMMAND,
            db: 0,
            mute: Mute::Never,
            authenticated,
            resp3: false,
            readonly: false,
            closing: false,
            paused: false,
            barrier: false,
            uploading: false,
            waits: false,
            held: false,
            monitor: false,
            dirty: false,
            ready: false,
        }
    }

    /// The protocol its replies are written in.
    pub fn protocol(&self) -> Protocol {
        if self.resp3 {
            Protocol::Resp3
        } else {
            Protocol::Resp2
        }
    }

    /// Whether it waits for another client, or for replicas.
    pub fn is_blocked(&self) -> bool {
        self.waits || self.lease.as_deref().is_some_and(|l| l.blocked_until().is_some())
    }

    /// Whether every request was answered (though perhaps not written), but an EXEC that is being played.
    #[inline]
    pub fn settled(&self) -> bool {
        self.active.as_ref().is_none_or(|a| a.order.is_settled())
    }

    /// Whether every request was answered.
    pub fn is_answered(&self) -> bool {
        self.active.as_ref().is_none_or(|a| a.order.is_empty())
    }

    /// What can be written to it.
    #[inline]
    pub fn output(&self) -> &[u8] {
        self.active.as_ref().map_or(&[], |a| a.out.unwritten())
    }
}

impl Active {
    /// Whether nothing is under way: it can be given back.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.order.is_empty() && self.out.unwritten().is_empty() && self.parser.is_none()
    }

    /// Memory that it holds, in bytes.
    pub fn memory(&self) -> usize {
        let unread = if self.parser.is_some() { self.unread } else { 0 };
        let slices = self.slices.as_deref().map_or(0, Slices::memory);
        std::mem::size_of::<Self>() + self.out.bytes.capacity() + self.order.memory() + unread + slices
    }

    /// Bytes of replies that the client has not taken yet.
    #[inline]
    pub fn backlog(&self) -> usize {
        self.out.unwritten().len() + self.order.stash_len()
    }
}

impl Reusable for Box<Active> {
    fn recycle(&mut self) -> Option<usize> {
        debug_assert!(self.parked.is_empty());
        self.parked.clear();
        self.parked_timer = Key::NONE;
        self.wandering.clear();
        self.parser = None;
        self.parked_tries = 0;
        self.waiting = false;
        self.out.reset();
        self.sources.clear();
        self.upload = None;
        self.slices = None;
        Some(std::mem::size_of::<Active>() + self.order.reset() + self.out.bytes.capacity())
    }
}

impl Outbox {
    /// Where to append; only appending is allowed.
    #[inline]
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Where to append the beginning or the middle of a reply.
    pub fn begin_reply(&mut self) -> &mut Vec<u8> {
        self.open = true;
        &mut self.bytes
    }

    /// The end of such a reply was appended.
    pub fn end_reply(&mut self) {
        self.open = false;
        self.bytes.append(&mut self.aside);
        self.aside = Vec::new();
    }

    /// Where to append what belongs to no reply: a message, a line of MONITOR.
    #[inline]
    pub fn between(&mut self) -> &mut Vec<u8> {
        if self.open {
            &mut self.aside
        } else {
            &mut self.bytes
        }
    }

    /// Bytes that wait for the end of a reply.
    pub fn aside(&self) -> usize {
        self.aside.len()
    }

    /// What is to be written.
    #[inline]
    pub fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// Notes that the first `n` bytes were written.
    #[inline]
    pub fn wrote(&mut self, n: usize) {
        self.written += n;
        if self.written == self.bytes.len() {
            self.clear();
        } else if self.written > self.bytes.len() / 2 && self.written > MOVE_BYTES {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.written = 0;
    }

    fn reset(&mut self) {
        self.clear();
        self.open = false;
        self.aside = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_comes_in_the_middle_of_a_reply_follows_it() {
        let mut out = Outbox::default();
        out.between().extend_from_slice(b"1");
        out.begin_reply().extend_from_slice(b"rep");
        out.between().extend_from_slice(b"2");
        out.wrote(4);
        assert!(out.unwritten().is_empty());
        out.tail().extend_from_slice(b"ly");
        out.end_reply();
        out.between().extend_from_slice(b"3");
        assert_eq!(out.unwritten(), b"ly23");
    }

    /// Ten thousand idle clients are the common case; with its socket and timer one stays below half a KiB.
    #[test]
    fn an_idle_client_is_small() {
        assert!(std::mem::size_of::<Client>() <= 200, "{} bytes", std::mem::size_of::<Client>());
    }
}
