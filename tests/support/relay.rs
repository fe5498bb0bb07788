//! A relay before a node that can be made to misbehave.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicU8, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::wait::let_pass;

/// What it does with what the node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Passes it on.
    Pass,
    /// Accepts connections and requests, and says nothing.
    Silent,
    /// Passes each piece on 200 ms late.
    Slow,
    /// Answers greetings; resets the connection with the first request behind them.
    Reset,
    /// Answers greetings, then sends what is no RESP.
    Garbage,
    /// Passes it on with a reply more that nobody asked for.
    Surplus,
    /// Closes each connection at once.
    Refuse,
}

const MODES: [Mode; 7] =
    [Mode::Pass, Mode::Silent, Mode::Slow, Mode::Reset, Mode::Garbage, Mode::Surplus, Mode::Refuse];

/// A relay on a port of this host; it ends with the process.
#[derive(Debug)]
pub struct Relay {
    mode: Arc<AtomicU8>,
    accepted: Arc<AtomicU64>,
}

impl Relay {
    /// Accepts connections on `port` from now on and passes them on to `target`.
    pub fn start(port: u16, target: u16) -> Relay {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the relay's port");
        let mode = Arc::new(AtomicU8::new(Mode::Pass as u8));
        let accepted = Arc::new(AtomicU64::new(0));
        let relay = Relay { mode: mode.clone(), accepted: accepted.clone() };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accepted.fetch_add(1, Ordering::Relaxed);
                let mode = mode.clone();
                if at(&mode) != Mode::Refuse {
                    thread::spawn(move || serve(client, target, &mode));
                }
            }
        });
        relay
    }

    /// What it does from now on, also with the connections that there are.
    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// How many connections there were.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

fn at(mode: &AtomicU8) -> Mode {
    MODES[usize::from(mode.load(Ordering::SeqCst))]
}

/// One connection: requests in a thread of their own, replies here.
fn serve(client: TcpStream, target: u16, mode: &Arc<AtomicU8>) {
    let Ok(node) = TcpStream::connect(("127.0.0.1", target)) else { return };
    let (Ok(from), Ok(to)) = (client.try_clone(), node.try_clone()) else { return };
    let also = mode.clone();
    thread::spawn(move || forward_requests(from, to, &also));
    forward_replies(node, client, mode);
}

fn forward_requests(mut client: TcpStream, mut node: TcpStream, mode: &AtomicU8) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(n) = client.read(&mut piece) {
        let greets = piece[..n].windows(7).any(|w| w == b"SETNAME") || asks_topology(&piece[..n]);
        if n == 0 || (at(mode) == Mode::Reset && !greets) || at(mode) == Mode::Refuse {
            break;
        }
        // Garbage takes the place of what the node would have done.
        let stops = at(mode) == Mode::Silent || (at(mode) == Mode::Garbage && !greets);
        if at(mode) == Mode::Garbage && !greets {
            let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n");
        }
        if !stops && node.write_all(&piece[..n]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = node.shutdown(Shutdown::Both);
}

fn forward_replies(mut node: TcpStream, mut client: TcpStream, mode: &AtomicU8) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(n) = node.read(&mut piece) {
        if n == 0 {
            break;
        }
        if at(mode) == Mode::Slow {
            let_pass(Duration::from_millis(200));
        }
        if at(mode) == Mode::Silent {
            continue;
        }
        let surplus: &[u8] = if at(mode) == Mode::Surplus { b"$7\r\nsurplus\r\n" } else { b"" };
        if client.write_all(&[&piece[..n], surplus].concat()).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = node.shutdown(Shutdown::Both);
}

fn asks_topology(bytes: &[u8]) -> bool {
    bytes.windows(7).any(|w| w == b"CLUSTER")
}
