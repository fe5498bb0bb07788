//! One question to one node: a blocking socket with deadlines. Knows nothing of the other nodes.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::base::time::Time;
use crate::cluster::{parse_slots, ClusterInfo, RawTopology, Software, TopologyError};
use crate::net::clock::Clock;
use crate::net::reserve;
use crate::resp::{encode, Value};

/// Longest answer that is read, in bytes; 16,384 ranges of one slot with two replicas each are about 5 MiB.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// What a node says of the cluster.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) raw: RawTopology,
    pub(super) info: Option<ClusterInfo>,
    pub(super) software: Software,
}

/// Why a node gave no usable answer.
#[derive(Debug)]
pub(super) enum AskError {
    /// The network, or a deadline.
    Io(io::Error),
    /// The node rejects `-password`; its words.
    PasswordRejected(String),
    /// The node wants a password and `-password` is not set.
    PasswordMissing,
    /// A server that is no cluster node.
    NotACluster,
    /// An answer that makes no sense, or another error from the node.
    Topology(TopologyError),
    /// Not RESP, or too long.
    Protocol(String),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Io(e) if e.kind() == io::ErrorKind::WouldBlock => write!(f, "no answer in time"),
            AskError::Io(e) => write!(f, "{e}"),
            AskError::PasswordRejected(text) => {
                write!(f, "it rejects the password of this proxy (check -password): {text}")
            }
            AskError::PasswordMissing => write!(f, "it asks for a password, but -password is not set"),
            AskError::NotACluster => write!(
                f,
                "it is no cluster node (cluster support disabled): -startup-nodes must name nodes of a cluster"
            ),
            AskError::Topology(e) => write!(f, "{e}"),
            AskError::Protocol(text) => write!(f, "{text}"),
        }
    }
}

impl From<io::Error> for AskError {
    fn from(e: io::Error) -> Self {
        AskError::Io(e)
    }
}

/// A connection to a node that can be asked again.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    addr: SocketAddr,
    clock: Clock,
    greeted: bool,
}

impl Link {
    pub(super) fn connect(addr: SocketAddr, timeout: Duration, clock: Clock) -> io::Result<Link> {
        let stream = reserve::with(|| TcpStream::connect_timeout(&addr, timeout))?;
        stream.set_nodelay(true)?;
        Ok(Link { stream, addr, clock, greeted: false })
    }

    /// Asks everything in one write and waits for all of it, `timeout` long. The link is of no use after an error.
    pub(super) fn ask(&mut self, password: &str, timeout: Duration) -> Result<Answer, AskError> {
        let with_auth = !self.greeted && !password.is_empty();
        let deadline = self.clock.now().after(timeout);
        self.stream.set_write_timeout(Some(timeout))?;
        self.stream.write_all(&question(with_auth.then_some(password)))?;
        let replies = self.read_replies(if with_auth { 4 } else { 3 }, deadline)?;
        let replies = match replies.as_slice() {
            [auth, rest @ ..] if with_auth => {
                check_auth(auth)?;
                rest
            }
            all => all,
        };
        self.greeted = true;
        answer(replies, self.addr)
    }

    fn read_replies(&mut self, count: usize, deadline: Time) -> Result<Vec<Value>, AskError> {
        let mut bytes = Vec::new();
        let mut replies = Vec::with_capacity(count);
        let mut taken = 0;
        loop {
            while let Some((value, len)) = next_reply(bytes.get(taken..).unwrap_or_default())? {
                taken += len;
                replies.push(value);
                if replies.len() == count {
                    return Ok(replies);
                }
            }
            self.read_more(&mut bytes, deadline)?;
        }
    }

    fn read_more(&mut self, bytes: &mut Vec<u8>, deadline: Time) -> Result<(), AskError> {
        let left = deadline.since(self.clock.now());
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::WouldBlock).into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut piece = [0; 16 * 1024];
        let read = match self.stream.read(&mut piece) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        };
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection").into());
        }
        if bytes.len() + read > MAX_ANSWER {
            return Err(AskError::Protocol(format!("its answer is longer than {MAX_ANSWER} bytes")));
        }
        bytes.extend_from_slice(piece.get(..read).unwrap_or_default());
        Ok(())
    }
}

fn question(password: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(password) = password {
        encode::request(&mut out, &["AUTH", password]);
    }
    encode::request(&mut out, &["CLUSTER", "SLOTS"]);
    encode::request(&mut out, &["CLUSTER", "INFO"]);
    encode::request(&mut out, &["INFO", "server"]);
    out
}

fn next_reply(bytes: &[u8]) -> Result<Option<(Value, usize)>, AskError> {
    Value::parse(bytes).map_err(|e| AskError::Protocol(format!("its answer is not RESP: {e}")))
}

/// A node without a password says so, and answers what follows; the operator may be about to set one.
fn check_auth(reply: &Value) -> Result<(), AskError> {
    match reply.as_error().map(String::from_utf8_lossy) {
        Some(text)
            if !text.contains("without any password configured") && !text.contains("no password is set") =>
        {
            Err(AskError::PasswordRejected(text.into_owned()))
        }
        _ => Ok(()),
    }
}

fn answer(replies: &[Value], addr: SocketAddr) -> Result<Answer, AskError> {
    let [slots, cluster_info, server_info, ..] = replies else {
        return Err(AskError::Protocol("replies are missing".into()));
    };
    let raw = parse_slots(slots, &addr.ip().to_string()).map_err(|e| match e {
        TopologyError::Refused(text) if text.starts_with("NOAUTH") => AskError::PasswordMissing,
        TopologyError::Refused(text) if text.contains("cluster support disabled") => AskError::NotACluster,
        other => AskError::Topology(other),
    })?;
    let software = server_info.as_bytes().map(Software::parse).unwrap_or_default();
    Ok(Answer { raw, info: cluster_info.as_bytes().map(ClusterInfo::parse), software })
}
