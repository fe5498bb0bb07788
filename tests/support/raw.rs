//! A client that sends bytes as given and cuts what comes back into whole RESP values.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::frame;

/// How long a reply may take before a test fails, unless the test says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What of `buffer` has been handed out.
    consumed: usize,
}

impl RawClient {
    /// Connects to a port of this host; panics when nobody listens.
    pub fn connect(port: u16) -> Self {
        Self::try_connect(port).unwrap_or_else(|e| panic!("cannot connect to port {port}: {e}"))
    }

    /// Connects to a port of this host.
    pub fn try_connect(port: u16) -> io::Result<Self> {
        Self::try_connect_to("127.0.0.1", port)
    }

    /// Connects to a port of an address.
    pub fn try_connect_to(host: &str, port: u16) -> io::Result<Self> {
        let addr = SocketAddr::new(host.parse().expect("an address"), port);
        let stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(RawClient { stream, buffer: Vec::new(), consumed: 0 })
    }

    /// How long `frame` and its kin wait for more bytes.
    pub fn set_patience(&self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).unwrap();
    }

    /// The socket, for what goes beyond bytes in and out.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("send");
    }

    /// Sends bytes as they are, with a lost connection as an error.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends one command as an array of bulk strings.
    pub fn send_command(&mut self, args: &[impl AsRef<[u8]>]) {
        self.send(&frame::request(args));
    }

    /// Sends one command and returns the bytes of its reply.
    pub fn call(&mut self, args: &[impl AsRef<[u8]>]) -> Vec<u8> {
        self.try_call(args).unwrap_or_else(|e| panic!("{}: {e}", frame::show(&frame::request(args))))
    }

    /// Sends one command, words separated by blanks, and returns the bytes of its reply.
    pub fn line(&mut self, words: &str) -> Vec<u8> {
        self.call(&words.split(' ').collect::<Vec<_>>())
    }

    /// As [`RawClient::call`], with a lost connection as an error.
    pub fn try_call(&mut self, args: &[impl AsRef<[u8]>]) -> io::Result<Vec<u8>> {
        self.stream.write_all(&frame::request(args))?;
        self.try_frame()
    }

    /// The bytes of the next whole value.
    pub fn frame(&mut self) -> Vec<u8> {
        self.try_frame().expect("a reply")
    }

    /// The bytes of the next whole value; an error when the connection ends or the patience does.
    pub fn try_frame(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = frame::end(&self.buffer, self.consumed) {
                let value = self.buffer[self.consumed..end].to_vec();
                self.consumed = end;
                return Ok(value);
            }
            self.read_more()?;
        }
    }

    /// The next `n` values, each as bytes.
    pub fn frames(&mut self, n: usize) -> Vec<Vec<u8>> {
        (0..n).map(|_| self.frame()).collect()
    }

    /// Everything up to the peer's close; panics when it does not close within the patience.
    pub fn until_closed(&mut self) -> Vec<u8> {
        loop {
            match self.read_more() {
                Ok(()) => {}
                // A peer that closes with bytes of ours unread resets the connection: closed as well.
                Err(e)
                    if matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) =>
                {
                    break
                }
                Err(e) => panic!("not closed: {e}; got {}", frame::show(&self.buffer[self.consumed..])),
            }
        }
        self.buffer.split_off(self.consumed)
    }

    /// Says that nothing more will be sent; replies still arrive.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Switches to RESP3.
    pub fn resp3(mut self) -> Self {
        let reply = self.call(&["HELLO", "3"]);
        assert_eq!(reply.first(), Some(&b'%'), "HELLO 3: {}", frame::show(&reply));
        self
    }

    fn read_more(&mut self) -> io::Result<()> {
        if self.consumed == self.buffer.len() {
            self.buffer.clear();
            self.consumed = 0;
        }
        let filled = self.buffer.len();
        self.buffer.resize(filled + 128 * 1024, 0);
        let read = self.stream.read(&mut self.buffer[filled..]);
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(e) => Err(e),
        }
    }
}
