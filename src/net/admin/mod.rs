//! The admin HTTP server: dashboard, health, metrics, log level, profiles. One thread that accepts, a short-lived one for each
//! request, at most four at once, so that a profile does not stand in the way of a health check.

mod http;
mod metrics;
mod pages;
mod process;
mod workers;

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::net::handover::is_successor;
use crate::net::mesh::WorkerHandle;
use crate::net::topology::TopologyHandle;
use http::Response;
use pages::Pages;

/// Requests served at once, at most.
const MAX_CONNECTIONS: usize = 4;
/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 128;
/// How long a request waits for one of the others to end before it is refused.
const PATIENCE: Duration = Duration::from_millis(250);

/// Sets the log level of the process.
pub type SetLogLevel = Box<dyn Fn(log::LevelFilter) + Send + Sync>;

/// What the admin pages show and act on.
pub struct AdminParts {
    /// All workers, in the order of their numbers.
    pub workers: Vec<WorkerHandle>,
    /// The topology thread.
    pub topology: TopologyHandle,
    /// Called by `/setloglevel`.
    pub set_log_level: SetLogLevel,
}

impl fmt::Debug for AdminParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminParts").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

/// The running server.
#[derive(Debug)]
pub struct AdminHandle {
    addr: SocketAddr,
    socket: TcpListener,
    stopping: Arc<AtomicBool>,
}

impl AdminHandle {
    /// Where it listens, with the port that the system chose when 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Accepts no more requests; those being served are not waited for.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // The thread waits in accept, which this ends.
        let _ = SockRef::from(&self.socket).shutdown(Shutdown::Both);
    }
}

/// Listens at `addr` (`host:port`, or `:port` for all interfaces) and serves on a thread of its own.
///
/// # Errors
/// When it cannot listen there; the text names the flag and the address.
pub fn spawn(addr: &str, parts: AdminParts) -> io::Result<AdminHandle> {
    let listener = listen(addr).map_err(|e| io::Error::new(e.kind(), format!("-debug-addr {addr}: {e}")))?;
    let addr = listener.local_addr()?;
    let socket = listener.try_clone()?;
    let stopping = Arc::new(AtomicBool::new(false));
    let server = Server {
        pages: Arc::new(Pages::new(parts)),
        stopping: Arc::clone(&stopping),
        places: Arc::default(),
    };
    std::thread::Builder::new().name("admin".into()).spawn(move || server.run(&listener))?;
    Ok(AdminHandle { addr, socket, stopping })
}

fn listen(addr: &str) -> io::Result<TcpListener> {
    let addr = addr.strip_prefix(':').map_or_else(|| addr.to_owned(), |port| format!("0.0.0.0:{port}"));
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for a in addr.to_socket_addrs()? {
        match listen_at(a) {
            Ok(listener) => return Ok(listener),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// Only a process that takes over may share the address, with the one it takes over from; that one has allowed it as
/// soon as nobody else could have the address any more.
fn listen_at(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_successor())?;
    socket.bind(&addr.into())?;
    socket.set_reuse_port(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What the accepting thread owns.
struct Server {
    pages: Arc<Pages>,
    stopping: Arc<AtomicBool>,
    places: Arc<Places>,
}

impl Server {
    fn run(&self, listener: &TcpListener) {
        loop {
            let accepted = listener.accept();
            if self.stopping.load(Ordering::Acquire) {
                return;
            }
            match accepted {
                Ok((stream, _)) => self.serve(stream),
                Err(e) => {
                    log::warn!("admin: cannot accept: {e}");
                    // Out of file descriptors, most likely: trying again at once would only spin.
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
        }
    }

    fn serve(&self, mut stream: TcpStream) {
        let Some(place) = Places::take(&self.places) else {
            let refusal = Response::text("503 Service Unavailable", "too many admin requests at once");
            let _ = http::write_refusal(&mut stream, &refusal);
            return;
        };
        let pages = Arc::clone(&self.pages);
        let spawned = std::thread::Builder::new().name("admin-request".into()).spawn(move || {
            let _place = place;
            // What goes wrong here is the other side's doing and its loss.
            if let Err(e) = answer(&mut stream, &pages) {
                log::debug!("admin: {e}");
            }
        });
        if let Err(e) = spawned {
            log::warn!("admin: cannot serve: {e}");
        }
    }
}

fn answer(stream: &mut TcpStream, pages: &Pages) -> io::Result<()> {
    let response = match http::read_request(stream)? {
        Ok(request) => pages.respond(&request),
        Err(refusal) => refusal,
    };
    http::write_response(stream, &response)
}

/// How many requests are being served, and a way to wait for one to end.
#[derive(Default)]
struct Places {
    taken: Mutex<usize>,
    freed: Condvar,
}

impl Places {
    /// A place, when one is free or becomes free in time: requests that follow each other closely may find the
    /// connections of the former ones still closing.
    fn take(places: &Arc<Places>) -> Option<Place> {
        let taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |taken: &mut usize| *taken >= MAX_CONNECTIONS;
        let waited = places.freed.wait_timeout_while(taken, PATIENCE, full);
        let (mut taken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return None;
        }
        *taken += 1;
        Some(Place(Arc::clone(places)))
    }
}

/// A place among the requests being served; given back when dropped.
struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.freed.notify_one();
    }
}
