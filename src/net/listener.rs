//! The socket that clients connect to: opened here, or taken over.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::handover::{self, Origin};
use crate::config::Config;

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 4096;

/// Unanswered probes after which a connection is given up, as with a server.
const PROBES: u32 = 3;
const SECOND: Duration = Duration::from_secs(1);

/// The listening socket that this process was started with, or one at `-addr`.
///
/// # Errors
/// One line that names the address and the system's reason.
pub fn listen(config: &Config) -> Result<(Socket, Origin), String> {
    let Some((socket, origin)) = handover::inherited() else {
        return open(config).map(|socket| (socket, Origin::Own));
    };
    prepare(&socket, config.tcp_keepalive)
        .map_err(|e| format!("the listening socket that was handed over: {e}"))?;
    Ok((socket, origin))
}

/// What accepted sockets inherit from this one (on Linux and the BSDs) need not be set for each of them: no delay,
/// keepalive.
fn prepare(socket: &Socket, keepalive: Duration) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if keepalive.is_zero() {
        return socket.set_keepalive(false);
    }
    // The system counts in seconds.
    let (time, gap) = (keepalive.max(SECOND), (keepalive / PROBES).max(SECOND));
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(time).with_interval(gap).with_retries(PROBES))
}

fn open(config: &Config) -> Result<Socket, String> {
    let addr = &config.addr;
    let addrs = addr.to_socket_addrs().map_err(|e| format!("-addr: cannot resolve {addr}: {e}"))?;
    let mut last = format!("-addr: {addr} has no address");
    for a in addrs {
        match listen_at(a, config.tcp_keepalive) {
            Ok(socket) => return Ok(socket),
            Err(e) => last = format!("-addr: cannot listen on {a}: {e}"),
        }
    }
    Err(last)
}

fn listen_at(addr: SocketAddr, keepalive: Duration) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    prepare(&socket, keepalive)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}
