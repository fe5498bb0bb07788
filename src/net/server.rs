//! The whole server: its threads, how they start, and how they stop.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Poll, Waker};
use socket2::Socket;

use super::channel::{channel, Receiver};
use super::clock::Clock;
use super::handover::{is_successor, Origin};
use super::listener::listen;
use super::mesh::{Message, WorkerHandle};
use super::reactor::{Parts, Reactor, WAKER};
use super::reserve;
use super::topology::{self, TopologyHandle};
use crate::config::Config;
use crate::proxy::{Common, Engine, Surroundings};

/// Descriptors kept for what is not a client: backends, log files, the admin server.
const SPARE_DESCRIPTORS: u64 = 512;

/// How long a process that takes over may take to learn the topology.
const LEARNING: Duration = Duration::from_secs(10);

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// Where clients are accepted; the port is the real one also where 0 was asked for.
    pub addr: SocketAddr,
    /// The workers.
    pub workers: Vec<WorkerHandle>,
    /// The topology thread.
    pub topology: TopologyHandle,
    threads: Vec<JoinHandle<()>>,
    /// The listening socket once more, to be handed over.
    socket: Socket,
    origin: Origin,
    /// Tells this run of the process from others.
    run: u64,
    /// Shared by all workers.
    common: Common,
}

/// What a worker is made of before its thread runs.
type Seed = (Poll, Receiver<Message>);

/// Binds `-addr`, or takes the socket that was handed over, and starts all threads.
///
/// # Errors
/// One line: the address cannot be listened on, the system has no more threads or descriptors, or the cluster cannot be
/// reached by a process that is to take over.
pub fn start(config: &Arc<Config>) -> Result<Server, String> {
    let config =
        &Arc::new(Config { max_clients: raise_descriptor_limit(config.max_clients), ..(**config).clone() });
    let (socket, origin) = listen(config)?;
    if !reserve::fill() {
        return Err("cannot start: too few open files are allowed".into());
    }
    let addr = socket.local_addr().ok().and_then(|a| a.as_socket()).ok_or("-addr: no internet address")?;
    let system = |e: io::Error| format!("cannot start: {e}");
    let (mut workers, mut seeds) = (Vec::new(), Vec::new());
    for _ in 0..config.workers {
        let (handle, seed) = new_worker().map_err(system)?;
        workers.push(handle);
        seeds.push(seed);
    }
    let topology = topology::spawn(Arc::clone(config), workers.clone()).map_err(system)?;
    if is_successor() {
        learn(&workers, &seeds)?;
    }
    let run = Clock::new().wall_micros();
    let again = socket.try_clone().map_err(system)?;
    let (threads, common) = (Vec::new(), Common::default());
    let mut server = Server { addr, workers, topology, threads, socket: again, origin, run, common };
    let mut listener = Some(TcpListener::from_std(socket.into()));
    for (me, seed) in seeds.into_iter().enumerate() {
        let thread = server.start_worker(config, me, seed, listener.take()).map_err(system)?;
        server.threads.push(thread);
    }
    Ok(server)
}

impl Server {
    /// The listening socket for another process, and whose it is.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn socket(&self) -> io::Result<(OwnedFd, Origin)> {
        Ok((self.socket.try_clone()?.into(), self.origin))
    }

    /// Accepts no more clients, as another process does from now on; those connected are served as before.
    pub fn retire(&self) {
        for worker in &self.workers {
            worker.send(Message::Retire);
        }
    }

    /// How many clients are connected.
    pub fn clients(&self) -> u64 {
        self.workers.iter().map(|w| u64::from(w.clients())).sum()
    }

    /// Orderly stop: finishes what is in flight, within `-drain-timeout`, and waits for the workers to end.
    pub fn stop(self) {
        // One after the other, as the first one accepts and gives clients to the others.
        let _ = self.workers.iter().any(|w| w.send(Message::Drain));
        for thread in self.threads {
            if thread.join().is_err() {
                log::error!("a worker ended by a panic");
            }
        }
        self.topology.stop();
    }

    fn start_worker(
        &self,
        config: &Arc<Config>,
        me: usize,
        (poll, inbox): Seed,
        listener: Option<TcpListener>,
    ) -> io::Result<JoinHandle<()>> {
        let clock = Clock::new();
        let around = Surroundings {
            worker: me,
            workers: self.workers.len(),
            seed: clock.wall_micros().wrapping_mul(2 * me as u64 + 1),
            local_ip: local_ip(config),
            started: clock.now(),
            port: self.addr.port(),
            pid: std::process::id(),
        };
        let mut engine = Engine::new(Arc::clone(config), around, clock.now());
        engine.set_common(&self.common);
        let (workers, topology, max_clients) =
            (self.workers.clone(), self.topology.clone(), config.max_clients);
        let closes = self.origin == Origin::Own;
        let parts =
            Parts { poll, inbox, listener, closes, workers, me, max_clients, topology, run: self.run };
        let mut reactor = Reactor::new(parts, engine, clock)?;
        std::thread::Builder::new().name(format!("worker-{me}")).spawn(move || {
            let _fate = Fate;
            if let Err(e) = reactor.run() {
                log::error!("worker {me} ended: {e}");
            }
        })
    }
}

/// Ends the process when its worker panics: half a server, whose clients hang, is worse than one that is started again.
struct Fate;

impl Drop for Fate {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a worker panicked: the process ends");
            std::process::exit(101);
        }
    }
}

/// Waits for the first topology, so that no client finds a process that does not know the cluster yet.
fn learn(workers: &[WorkerHandle], seeds: &[Seed]) -> Result<(), String> {
    let unknown = || format!("cannot take over: no node of the cluster has answered within {LEARNING:?}");
    // The last one is told last: nobody is given a client before that.
    let ([.., worker], [.., (_, inbox)]) = (workers, seeds) else { return Err(unknown()) };
    let message = inbox.recv_within(LEARNING).map_err(|_| unknown())?;
    worker.send(message);
    Ok(())
}

fn new_worker() -> io::Result<(WorkerHandle, Seed)> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let (sender, inbox) = channel(usize::MAX);
    Ok((WorkerHandle::new(sender, waker), (poll, inbox)))
}

/// Raises the limit of open files as far as needed and allowed; returns how many clients that makes possible.
fn raise_descriptor_limit(max_clients: usize) -> usize {
    let wanted = (max_clients as u64).saturating_add(SPARE_DESCRIPTORS);
    let got = rlimit::increase_nofile_limit(wanted).unwrap_or(1024);
    if got >= wanted {
        return max_clients;
    }
    let possible = usize::try_from(got.saturating_sub(SPARE_DESCRIPTORS).max(got / 2)).unwrap_or(usize::MAX);
    log::warn!("-max-clients {max_clients} needs {wanted} open files, but the system allows {got}: serving {possible}");
    possible
}

/// This host's address on the way to the first startup node that has an IPv4 address; nothing is sent.
fn local_ip(config: &Config) -> Option<Ipv4Addr> {
    let nodes = config.startup_nodes.iter().filter_map(|n| n.to_socket_addrs().ok());
    let node = nodes.flatten().find(SocketAddr::is_ipv4)?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(node).ok()?;
    match socket.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(ip) => Some(ip),
        std::net::IpAddr::V6(_) => None,
    }
}
