//! Descriptors kept back for connections to nodes: when the process may open no more, new clients wait and nodes do not.
//!
//! There is one reserve in a process, as there is one limit. It is touched when the system has refused a descriptor, and
//! by one load per accepted client.

use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Descriptors kept back.
const KEPT: usize = 32;

/// Sockets that are connected to nothing stand for the descriptors.
static KEEPERS: Mutex<Vec<UnixDatagram>> = Mutex::new(Vec::new());

/// Some were given up and not taken back.
static LACKING: AtomicBool = AtomicBool::new(false);

/// Fills the reserve for the first time; whether that was possible.
pub fn fill() -> bool {
    take_back()
}

/// Makes room for one descriptor; false when nothing is left to be given up.
pub fn give_up() -> bool {
    LACKING.store(true, Ordering::Relaxed);
    KEEPERS.lock().unwrap_or_else(PoisonError::into_inner).pop().is_some()
}

/// Whether nothing is lacking, after an attempt to take back what was given up.
#[inline]
pub fn is_full() -> bool {
    !LACKING.load(Ordering::Relaxed) || take_back()
}

#[cold]
fn take_back() -> bool {
    let mut keepers = KEEPERS.lock().unwrap_or_else(PoisonError::into_inner);
    while keepers.len() < KEPT {
        let Ok(keeper) = UnixDatagram::unbound() else { return false };
        keepers.push(keeper);
    }
    LACKING.store(false, Ordering::Relaxed);
    true
}

/// Out of descriptors, of this process or of the system.
pub fn is_wanted(error: &std::io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// Does what needs a descriptor, at the expense of the reserve if need be.
pub fn with<T>(mut open: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    match open() {
        Err(e) if is_wanted(&e) && give_up() => open(),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_is_taken_back() {
        assert!(fill() && is_full());
        let mut refused = 1;
        let opened = with(|| {
            refused -= 1;
            if refused == 0 {
                Err(std::io::Error::from_raw_os_error(24))
            } else {
                Ok(7)
            }
        });
        assert_eq!(opened.unwrap(), 7);
        assert!(LACKING.load(Ordering::Relaxed));
        assert_eq!(KEEPERS.lock().unwrap().len(), KEPT - 1);
        assert!(is_full());
        assert_eq!(KEEPERS.lock().unwrap().len(), KEPT);
    }
}
