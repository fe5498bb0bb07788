//! The socket that clients connect to.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 4096;

/// A silent client is probed after this time, so that a half-open connection ends some day.
const KEEPALIVE: Duration = Duration::from_secs(300);

/// Listens at `addr` (`host:port`). What accepted sockets inherit from this one (on Linux and the BSDs) need not be set
/// for each of them: no delay, keepalive.
///
/// # Errors
/// One line that names the address and the system's reason.
pub fn listen(addr: &str) -> Result<mio::net::TcpListener, String> {
    let addrs = addr.to_socket_addrs().map_err(|e| format!("-addr: cannot resolve {addr}: {e}"))?;
    let mut last = format!("-addr: {addr} has no address");
    for a in addrs {
        match listen_at(a) {
            Ok(listener) => return Ok(listener),
            Err(e) => last = format!("-addr: cannot listen on {a}: {e}"),
        }
    }
    Err(last)
}

fn listen_at(addr: SocketAddr) -> io::Result<mio::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(mio::net::TcpListener::from_std(socket.into()))
}
