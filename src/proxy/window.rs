//! What goes to one node, kept until its reply has come: the replay window.
//!
//! ```text
//! bytes:   | answered | written, reply awaited | not yet written |
//!          0       acknowledged             written             end
//! ```
//! A redirect or a reconnect takes the bytes of a part from here, so no request is copied while all goes well.

/// Answered bytes at the front above which they are dropped although others still wait behind them.
const COMPACT_BYTES: usize = 64 * 1024;

/// Capacity above which a window gives its memory back as soon as it is empty, not only when it is idle.
const KEEP_BYTES: usize = 1024 * 1024;

/// The bytes sent to one node and not yet answered, and those not yet sent.
#[derive(Debug, Default)]
pub struct Window {
    bytes: Vec<u8>,
    acknowledged: usize,
    written: usize,
    /// Nothing behind this position is written until the gate opens.
    gate: Option<usize>,
}

impl Window {
    /// Closes the gate behind what is in the window now.
    pub fn close_gate(&mut self) {
        self.gate = Some(self.bytes.len());
    }

    /// Writes nothing more until the gate opens, be it in the middle of a part.
    pub fn hold(&mut self) {
        self.gate = Some(self.written);
    }

    /// Lets everything be written.
    pub fn open_gate(&mut self) {
        self.gate = None;
    }

    /// Where to append bytes; only appending is allowed.
    #[inline]
    pub fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// How many bytes are held, answered ones not yet dropped included.
    #[inline]
    pub fn end(&self) -> usize {
        self.bytes.len()
    }

    /// What may be written now.
    #[inline]
    pub fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..self.gate.unwrap_or(self.bytes.len())]
    }

    /// Notes that the first `n` bytes of [`Window::unwritten`] were written.
    #[inline]
    pub fn wrote(&mut self, n: usize) {
        self.written += n;
        debug_assert!(self.written <= self.bytes.len());
    }

    /// Memory that it holds, in bytes.
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// How many bytes are not answered.
    pub fn unanswered(&self) -> usize {
        self.bytes.len() - self.acknowledged
    }

    /// How many bytes were written and not answered.
    pub fn awaited(&self) -> usize {
        self.written - self.acknowledged
    }

    /// Whether the oldest unanswered part, `len` bytes long, was written to its end.
    #[inline]
    pub fn front_written(&self, len: usize) -> bool {
        self.acknowledged + len <= self.written
    }

    /// The bytes of the oldest unanswered part, which is `len` bytes long.
    pub fn front(&self, len: usize) -> &[u8] {
        &self.bytes[self.acknowledged..self.acknowledged + len]
    }

    /// `len` unanswered bytes, `start` bytes behind the oldest one.
    pub fn ahead(&self, start: usize, len: usize) -> &[u8] {
        &self.bytes[self.acknowledged + start..self.acknowledged + start + len]
    }

    /// Drops the newest `len` bytes, unless some of them were written.
    pub fn take_back(&mut self, len: usize) -> bool {
        let unwritten = self.written + len <= self.bytes.len();
        if unwritten {
            self.bytes.truncate(self.bytes.len() - len);
        }
        unwritten
    }

    /// Notes that the oldest unanswered part, `len` bytes long, was answered.
    #[inline]
    pub fn acknowledge(&mut self, len: usize) {
        self.acknowledged += len;
        debug_assert!(self.acknowledged <= self.bytes.len());
    }

    /// Drops answered bytes where that is cheap. Call it once per batch of replies.
    #[inline]
    pub fn tidy(&mut self) {
        if self.acknowledged == self.bytes.len() {
            self.clear();
        } else if self.acknowledged > COMPACT_BYTES && self.acknowledged > self.bytes.len() / 2 {
            self.compact();
        }
    }

    /// Gives the memory of an empty window back that it would keep for the next requests.
    pub fn give_back(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() > COMPACT_BYTES {
            self.bytes = Vec::new();
        }
    }

    fn clear(&mut self) {
        debug_assert_eq!(self.written, self.bytes.len());
        self.bytes.clear();
        self.acknowledged = 0;
        self.written = 0;
        self.gate = self.gate.map(|_| 0);
        if self.bytes.capacity() > KEEP_BYTES {
            self.bytes = Vec::new();
        }
    }

    fn compact(&mut self) {
        self.bytes.drain(..self.acknowledged);
        self.written -= self.acknowledged;
        self.gate = self.gate.map(|g| g.saturating_sub(self.acknowledged));
        self.acknowledged = 0;
        if self.bytes.len() < self.bytes.capacity() / 8 {
            self.bytes.shrink_to(KEEP_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_bytes_until_they_are_answered() {
        let mut w = Window::default();
        w.tail().extend_from_slice(b"oneTWO");
        assert_eq!(w.unwritten(), b"oneTWO");
        assert!(!w.front_written(3));
        w.wrote(4);
        assert!(w.front_written(3));
        assert_eq!(w.front(3), b"one");
        w.acknowledge(3);
        w.tidy();
        assert!(!w.front_written(3));
        assert_eq!((w.front(3), w.unwritten()), (&b"TWO"[..], &b"WO"[..]));
        w.wrote(2);
        w.acknowledge(3);
        w.tidy();
        assert_eq!(w.end(), 0);
    }

    #[test]
    fn nothing_passes_a_closed_gate() {
        let mut w = Window::default();
        w.tail().extend_from_slice(b"AUTH");
        w.close_gate();
        w.tail().extend_from_slice(b"SET");
        assert_eq!(w.unwritten(), b"AUTH");
        w.wrote(4);
        assert!(w.unwritten().is_empty());
        w.acknowledge(4);
        w.open_gate();
        assert_eq!(w.unwritten(), b"SET");
    }

    #[test]
    fn a_window_that_never_drains_does_not_grow() {
        let mut w = Window::default();
        w.tail().extend_from_slice(&[7; 1000]);
        for _ in 0..10_000 {
            w.tail().extend_from_slice(&[7; 1000]);
            w.wrote(1000);
            assert_eq!(w.front(1000), [7; 1000]);
            w.acknowledge(1000);
            w.tidy();
        }
        assert!(w.bytes.capacity() < 4 * COMPACT_BYTES, "{}", w.bytes.capacity());
    }
}
