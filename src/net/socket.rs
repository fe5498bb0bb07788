//! One non-blocking TCP connection and the bytes of it that nobody has consumed yet. Knows nothing of their meaning.

use std::io::{self, Read};

use mio::net::TcpStream;

use crate::base::arena::Key;
use crate::base::pool::Pool;

/// Unconsumed bytes up to which they are read behind in the scratch buffer; more stay in a buffer of their own.
const MOST_CARRIED: usize = 16 * 1024;

/// Most bytes that one read adds to a buffer of its own.
const LARGE_READ: u64 = 1 << 20;

/// A socket, and the engine's key of whose it is.
#[derive(Debug)]
pub struct Socket<T> {
    /// The connection.
    pub stream: TcpStream,
    /// Whose it is.
    pub key: Key<T>,
    /// There may be more to read: no read has come back short since the last readable event.
    pub readable: bool,
    /// The peer has closed its side: reads go on to the end of the stream, however short they are.
    pub closing: bool,
    /// The engine does not want more bytes now.
    pub paused: bool,
    /// Still being connected.
    pub connecting: bool,
    /// Writable events are asked for.
    pub watched: bool,
    unread: Vec<u8>,
}

/// Where the bytes are that one look at a socket gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The first so many bytes of the scratch buffer.
    Scratch(usize),
    /// The socket's own buffer.
    Own,
}

/// What one look at a socket gave.
#[derive(Debug)]
pub enum Look {
    /// New bytes, behind those not consumed before.
    Data(Held),
    /// Nothing for now.
    Nothing,
    /// The peer will send no more.
    End,
    /// The connection is gone.
    Failed(io::Error),
}

impl<T> Socket<T> {
    /// A socket with nothing read yet.
    pub fn new(stream: TcpStream, key: Key<T>) -> Self {
        Socket {
            stream,
            key,
            readable: false,
            closing: false,
            paused: false,
            connecting: false,
            watched: false,
            unread: Vec::new(),
        }
    }

    /// Reads once, `most` bytes at most where they fit into `scratch`; what is left from before stands in front.
    pub fn read(&mut self, scratch: &mut [u8], most: usize, pool: &mut Pool<Vec<u8>>) -> Look {
        if self.unread.len() > MOST_CARRIED {
            return self.read_large();
        }
        let carried = self.unread.len();
        let space = scratch.len().min(carried + most);
        let result = self.stream.read(&mut scratch[carried..space]);
        let count = match result {
            Ok(0) => return Look::End,
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                return Look::Nothing;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Look::Nothing,
            Err(e) => return Look::Failed(e),
        };
        // A short read has emptied the socket: the next bytes bring a new event.
        self.readable = carried + count == space || self.closing;
        if carried > 0 {
            scratch[..carried].copy_from_slice(&self.unread);
            pool.give(std::mem::take(&mut self.unread));
        }
        Look::Data(Held::Scratch(carried + count))
    }

    /// The bytes that were not consumed before, if there are any.
    pub fn unread(&self) -> Option<Held> {
        (!self.unread.is_empty()).then_some(Held::Own)
    }

    /// The bytes themselves.
    #[inline]
    pub fn bytes<'a>(&'a self, held: Held, scratch: &'a [u8]) -> &'a [u8] {
        match held {
            Held::Scratch(len) => &scratch[..len],
            Held::Own => &self.unread,
        }
    }

    /// Keeps what was not consumed.
    #[inline]
    pub fn consumed(&mut self, held: Held, count: usize, scratch: &[u8], pool: &mut Pool<Vec<u8>>) {
        match held {
            Held::Scratch(len) if count < len => {
                if self.unread.capacity() == 0 {
                    self.unread = pool.take();
                }
                self.unread.extend_from_slice(&scratch[count..len]);
            }
            Held::Scratch(_) => {}
            Held::Own if count == self.unread.len() => pool.give(std::mem::take(&mut self.unread)),
            Held::Own => {
                self.unread.drain(..count);
            }
        }
    }

    fn read_large(&mut self) -> Look {
        let before = self.unread.len();
        let result = Read::by_ref(&mut self.stream).take(LARGE_READ).read_to_end(&mut self.unread);
        let came = self.unread.len() - before;
        match result {
            Ok(_) if came == 0 => Look::End,
            Ok(_) => Look::Data(Held::Own),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                if came == 0 {
                    Look::Nothing
                } else {
                    Look::Data(Held::Own)
                }
            }
            Err(e) => Look::Failed(e),
        }
    }
}
