//! The order in which one client gets its replies: that of its requests, whoever answers first.

use std::collections::VecDeque;

use crate::base::append::append;

/// Number of one request of one client; counts up and wraps.
pub type Sequence = u32;

/// Whether request `a` came before request `b` of the same client; they are less than 2^31 requests apart.
pub fn is_before(a: Sequence, b: Sequence) -> bool {
    a != b && b.wrapping_sub(a) <= Sequence::MAX / 2
}

/// Size up to which the stash keeps what has been passed on, as long as there is something else in it.
const COMPACT_BYTES: usize = 64 * 1024;

/// What is known of one request in flight.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Where in the stash its reply begins, which has come before its turn; or [`WAITING`] or [`MUTED`].
    at: u32,
    /// Bytes of that reply; of the request as long as there is none.
    len: u32,
}

/// In [`Place::at`]: the reply has not come.
const WAITING: u32 = u32::MAX;
/// In [`Place::at`]: the reply has not come and will be dropped.
const MUTED: u32 = u32::MAX - 1;

impl Place {
    fn is_ready(self) -> bool {
        self.at < MUTED
    }
}

/// One place per request in flight, and the replies that came before their turn.
#[derive(Debug, Default)]
pub struct ReplyOrder {
    places: VecDeque<Place>,
    /// Sequence of the first place.
    head: Sequence,
    stash: Vec<u8>,
    /// Bytes of the stash that have not been passed on.
    stash_live: usize,
    /// Places that are ready.
    stashed: usize,
    /// Places that are muted.
    muted: usize,
    /// Requests admitted now get no reply.
    muting: bool,
    /// The head is a request that waits for those behind it.
    held: bool,
    /// Bytes of the requests whose reply has not come.
    pending_bytes: usize,
}

impl ReplyOrder {
    /// Gives the next request, `bytes` long, its place.
    #[inline]
    pub fn admit(&mut self, bytes: u32) -> Sequence {
        let sequence = self.head.wrapping_add(self.places.len() as u32);
        let at = if self.muting { MUTED } else { WAITING };
        self.muted += usize::from(self.muting);
        self.places.push_back(Place { at, len: bytes });
        self.pending_bytes += bytes as usize;
        sequence
    }

    /// As [`ReplyOrder::admit`], for a request that is answered last: those behind it are carried out for it, and their
    /// replies follow its own.
    pub fn hold(&mut self, bytes: u32) -> Sequence {
        debug_assert!(self.is_empty());
        let sequence = self.admit(bytes);
        self.held = true;
        sequence
    }

    /// Whether the head waits for those behind it.
    #[inline]
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// From now on requests are admitted as such whose reply is dropped, or no longer so.
    pub fn set_muting(&mut self, muting: bool) {
        self.muting = muting;
    }

    /// Whether replies to what is admitted now are dropped.
    #[inline]
    pub fn is_muting(&self) -> bool {
        self.muting
    }

    /// How many requests have no reply passed on yet.
    #[inline]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether every request was answered, but the one that waits for the others.
    #[inline]
    pub fn is_settled(&self) -> bool {
        self.places.len() == usize::from(self.held) * (1 + self.stashed)
    }

    /// Whether every request was answered.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of the requests whose reply has not come.
    #[inline]
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Bytes of replies that wait for their turn.
    pub fn stash_len(&self) -> usize {
        self.stash_live
    }

    /// Whether `sequence` is the request whose reply is next.
    #[inline]
    pub fn is_head(&self, sequence: Sequence) -> bool {
        sequence == self.head && !self.places.is_empty()
    }

    /// Whether the reply to `sequence` will be dropped.
    pub fn is_muted(&self, sequence: Sequence) -> bool {
        let place = self.places.get(sequence.wrapping_sub(self.head) as usize);
        self.muted != 0 && place.is_some_and(|p| p.at == MUTED)
    }

    /// Whether `sequence` is the request admitted last.
    pub fn is_newest(&self, sequence: Sequence) -> bool {
        sequence.wrapping_sub(self.head).wrapping_add(1) as usize == self.places.len()
    }

    /// Whether every reply is passed on in its turn and nothing else happens then.
    #[inline]
    pub fn is_ordinary(&self) -> bool {
        self.muted == 0 && !self.held
    }

    /// Passes the head of an ordinary order; the caller appends its reply to the outbox before anything else gets there. True
    /// when the reply behind it has come already: it is for [`ReplyOrder::pass_ready`] then.
    #[inline]
    pub fn pass_head(&mut self) -> bool {
        debug_assert!(self.is_ordinary());
        if let Some(place) = self.places.pop_front() {
            self.pending_bytes -= place.len as usize;
            self.head = self.head.wrapping_add(1);
        }
        self.stashed != 0 && self.places.front().is_some_and(|p| p.is_ready())
    }

    /// Keeps the reply `data[start..start + len]` of `sequence`, which is not the head of an ordinary order. A sequence that
    /// has no place is ignored.
    #[inline]
    pub fn keep(&mut self, sequence: Sequence, data: &[u8], start: usize, len: usize) {
        debug_assert!(self.is_ordinary());
        let Some(place) = self.places.get_mut(sequence.wrapping_sub(self.head) as usize) else { return };
        debug_assert!(!place.is_ready(), "a request was answered twice");
        self.pending_bytes -= place.len as usize;
        self.stashed += 1;
        self.stash_live += len;
        *place = Place { at: self.stash.len() as u32, len: len as u32 };
        append(&mut self.stash, data, start, len);
    }

    /// Takes the reply of `sequence`: to `out` when it is its turn, else to the stash. A sequence that has no place is
    /// ignored.
    pub fn complete(&mut self, sequence: Sequence, reply: &[u8], out: &mut Vec<u8>) {
        self.complete_by(sequence, out, |to| to.extend_from_slice(reply));
    }

    /// As [`ReplyOrder::complete`], for a reply that `write` appends to where it belongs; it is not called for one that
    /// is dropped.
    pub fn complete_by(&mut self, sequence: Sequence, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        if self.is_head(sequence) {
            if self.places.front().is_none_or(|p| p.at != MUTED) {
                write(out);
            }
            self.pop();
            self.held = false;
            if self.stashed != 0 {
                self.pass_ready(out);
            }
            return;
        }
        let Some(place) = self.places.get_mut(sequence.wrapping_sub(self.head) as usize) else { return };
        let start = self.stash.len();
        match place.at {
            WAITING => write(&mut self.stash),
            MUTED => self.muted -= 1,
            _ => {
                debug_assert!(false, "a request was answered twice");
                return;
            }
        }
        let len = self.stash.len() - start;
        self.stashed += 1;
        self.stash_live += len;
        self.pending_bytes -= place.len as usize;
        // The stash is held below 4 GiB by the client's output limit.
        *place = Place { at: start as u32, len: len as u32 };
    }

    /// Memory held beside the struct itself, in bytes.
    pub fn memory(&self) -> usize {
        self.places.capacity() * std::mem::size_of::<Place>() + self.stash.capacity()
    }

    /// Forgets everything; capacity is kept. Returns the capacity held in bytes.
    pub fn reset(&mut self) -> usize {
        self.places.clear();
        self.stash.clear();
        self.stash_live = 0;
        self.stashed = 0;
        self.muted = 0;
        self.muting = false;
        self.held = false;
        self.head = 0;
        self.pending_bytes = 0;
        self.memory()
    }

    fn pop(&mut self) {
        let Some(place) = self.places.pop_front() else { return };
        if place.is_ready() {
            self.stashed -= 1;
            self.stash_live -= place.len as usize;
        } else {
            self.muted -= usize::from(place.at == MUTED);
            self.pending_bytes -= place.len as usize;
        }
        self.head = self.head.wrapping_add(1);
    }

    /// Passes on the replies at the head that have come already. Those that lie behind one another are copied at once.
    pub fn pass_ready(&mut self, out: &mut Vec<u8>) {
        let (mut start, mut end) = (0, 0);
        while let Some(place) = self.places.front().copied().filter(|p| p.is_ready()) {
            if place.at as usize != end {
                append(out, &self.stash, start, end - start);
                start = place.at as usize;
            }
            end = place.at as usize + place.len as usize;
            self.places.pop_front();
            self.stashed -= 1;
            self.stash_live -= place.len as usize;
            self.head = self.head.wrapping_add(1);
        }
        append(out, &self.stash, start, end - start);
        if self.stashed == 0 {
            self.stash.clear();
        } else if self.stash.len() > COMPACT_BYTES && self.stash_live < self.stash.len() / 2 {
            self.compact();
        }
    }

    /// Drops what has been passed on: where replies keep coming the stash may never be empty.
    #[cold]
    fn compact(&mut self) {
        let old = std::mem::replace(&mut self.stash, Vec::with_capacity(self.stash_live));
        for place in &mut self.places {
            if place.is_ready() {
                let at = self.stash.len() as u32;
                self.stash.extend_from_slice(&old[place.at as usize..place.at as usize + place.len as usize]);
                place.at = at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn a_stash_that_is_never_empty_does_not_grow() {
        let (mut order, mut out) = (ReplyOrder::default(), Vec::new());
        let reply = |sequence: Sequence| format!("{sequence:>1000}");
        let admit = |order: &mut ReplyOrder| (order.admit(1), order.admit(1));
        admit(&mut order);
        order.complete(1, reply(1).as_bytes(), &mut out);
        for n in (0..20_000).step_by(2) {
            admit(&mut order);
            order.complete(n + 3, reply(n + 3).as_bytes(), &mut out);
            order.complete(n, reply(n).as_bytes(), &mut out);
            assert_eq!(out, [reply(n), reply(n + 1)].concat().as_bytes());
            assert_eq!((out.len(), order.stash_len()), (2000, 1000));
            out.clear();
        }
        assert!(order.memory() < 4 * COMPACT_BYTES, "{}", order.memory());
    }

    #[test]
    fn replies_leave_in_the_order_of_requests() {
        let (mut order, mut out) = (ReplyOrder::default(), Vec::new());
        let (a, b, c) = (order.admit(10), order.admit(10), order.admit(10));
        order.complete(c, b"c", &mut out);
        order.complete(b, b"b", &mut out);
        assert!(out.is_empty());
        order.complete(a, b"a", &mut out);
        assert_eq!(out, b"abc");
        assert!(order.is_empty());
        assert_eq!(order.stash_len(), 0);
    }

    #[test]
    fn muted_requests_keep_their_place_and_say_nothing() {
        let (mut order, mut out) = (ReplyOrder::default(), Vec::new());
        let a = order.admit(10);
        order.set_muting(true);
        let (b, c) = (order.admit(10), order.admit(10));
        order.set_muting(false);
        let d = order.admit(10);
        order.complete(c, b"c", &mut out);
        order.complete(a, b"a", &mut out);
        order.complete(d, b"d", &mut out);
        assert_eq!(out, b"a");
        order.complete(b, b"b", &mut out);
        assert_eq!(out, b"ad");
        assert!(order.is_empty());
        assert_eq!((order.muted + order.stashed, order.pending_bytes(), order.stash_len()), (0, 0, 0));
    }

    #[test]
    fn a_held_request_is_answered_before_those_that_it_waits_for() {
        let (mut order, mut out) = (ReplyOrder::default(), Vec::new());
        let exec = order.hold(10);
        assert!(order.is_settled() && !order.is_empty());
        let a = order.admit(10);
        assert!(!order.is_settled());
        order.complete(a, b"a", &mut out);
        let b = order.admit(10);
        order.complete(b, b"b", &mut out);
        assert!(order.is_settled() && out.is_empty());
        order.complete(exec, b"*2 ", &mut out);
        assert_eq!(out, b"*2 ab");
        assert!(order.is_empty() && order.is_settled() && !order.is_held());
    }

    #[test]
    fn sequences_wrap() {
        let (mut order, mut out) = (ReplyOrder { head: u32::MAX, ..Default::default() }, Vec::new());
        let (a, b) = (order.admit(10), order.admit(10));
        assert_eq!((a, b), (u32::MAX, 0));
        order.complete(b, b"b", &mut out);
        order.complete(a, b"a", &mut out);
        assert_eq!(out, b"ab");
    }

    #[test]
    fn any_order_of_answers_gives_the_order_of_requests() {
        let mut random = Random::new(3);
        let (mut order, mut out, mut want) = (ReplyOrder::default(), Vec::new(), Vec::new());
        let mut open: Vec<(Sequence, Vec<u8>)> = Vec::new();
        for i in 0..5000u32 {
            let reply = i.to_string().into_bytes();
            let muted = random.below(4) == 0;
            if !muted {
                want.extend_from_slice(&reply);
            }
            order.set_muting(muted);
            open.push((order.admit(10), reply));
            while open.len() > random.below(20) as usize {
                let (sequence, reply) = open.swap_remove(random.below(open.len() as u64) as usize);
                order.complete(sequence, &reply, &mut out);
            }
        }
        for (sequence, reply) in open {
            order.complete(sequence, &reply, &mut out);
        }
        assert_eq!(out, want);
        assert!(order.is_empty());
        assert_eq!(order.pending_bytes(), 0);
    }
}
