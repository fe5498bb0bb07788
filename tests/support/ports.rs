//! Free ports that no other test process takes meanwhile.
//!
//! A process takes a whole block of ports and holds the block by listening on its first port. Blocks lie below the
//! range from which the kernel picks ports for outgoing connections, and so do the cluster bus ports (port + 10000).

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process;
use std::sync::Mutex;
use std::time::Duration;

const FIRST: u16 = 10_100;
const BLOCK: u16 = 100;
const BLOCKS: u16 = 98;
/// Distance from a server's port to its cluster bus port.
const BUS: u16 = 10_000;

struct Block {
    /// Held open: it marks the block as taken.
    _lock: TcpListener,
    next: u16,
    end: u16,
}

/// A port on which nothing listens, with a free bus port; never given out twice by this process.
pub fn free_port() -> u16 {
    static CURRENT: Mutex<Option<Block>> = Mutex::new(None);
    let mut current = CURRENT.lock().unwrap_or_else(|e| e.into_inner());
    loop {
        let block = current.get_or_insert_with(take_block);
        while block.next < block.end {
            let port = block.next;
            block.next += 1;
            if is_free(port) && is_free(port + BUS) {
                return port;
            }
        }
        // Its lock goes, but the next search starts behind it, so its ports stay ours for long enough.
        *current = Some(take_block());
    }
}

fn take_block() -> Block {
    static TRIED: Mutex<u16> = Mutex::new(0);
    let mut tried = TRIED.lock().unwrap_or_else(|e| e.into_inner());
    let offset = u16::try_from(process::id() % u32::from(BLOCKS)).unwrap();
    for _ in 0..BLOCKS {
        let first = FIRST + (offset + *tried) % BLOCKS * BLOCK;
        *tried += 1;
        if let Ok(lock) = TcpListener::bind(("127.0.0.1", first)) {
            return Block { _lock: lock, next: first + 1, end: first + BLOCK };
        }
    }
    panic!("no free block of ports");
}

/// Whether neither a listener is there nor anything else holds the port.
fn is_free(port: u16) -> bool {
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    TcpStream::connect_timeout(&addr, Duration::from_millis(200)).is_err() && TcpListener::bind(addr).is_ok()
}
