//! The order in which one client gets its replies: that of its requests, whoever answers first.

use std::collections::VecDeque;

/// Number of one request of one client; counts up and wraps.
pub type Sequence = u32;

/// Whether request `a` came before request `b` of the same client; they are less than 2^31 requests apart.
pub fn is_before(a: Sequence, b: Sequence) -> bool {
    a != b && b.wrapping_sub(a) <= Sequence::MAX / 2
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// The reply has not come; the request is so many bytes long.
    Waiting(u32),
    /// The reply has come before its turn and lies in the stash.
    Ready { start: u32, len: u32 },
}

/// One place per request in flight, and the replies that came before their turn.
#[derive(Debug, Default)]
pub struct ReplyOrder {
    places: VecDeque<Place>,
    /// Sequence of the first place.
    head: Sequence,
    stash: Vec<u8>,
    stashed: usize,
    /// Bytes of the requests whose reply has not come.
    pending_bytes: usize,
}

impl ReplyOrder {
    /// Gives the next request, `bytes` long, its place.
    #[inline]
    pub fn admit(&mut self, bytes: u32) -> Sequence {
        let sequence = self.head.wrapping_add(self.places.len() as u32);
        self.places.push_back(Place::Waiting(bytes));
        self.pending_bytes += bytes as usize;
        sequence
    }

    /// How many requests have no reply passed on yet.
    #[inline]
    pub fn len(&self) -> usize {
        self.places.len()
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
        self.stash.len()
    }

    /// Whether `sequence` is the request whose reply is next.
    #[inline]
    pub fn is_head(&self, sequence: Sequence) -> bool {
        sequence == self.head && !self.places.is_empty()
    }

    /// Passes the head whose reply the caller has appended to `out` itself, and what became ready behind it.
    #[inline]
    pub fn pass_head(&mut self, out: &mut Vec<u8>) {
        self.pop();
        if self.stashed != 0 {
            self.pass_ready(out);
        }
    }

    /// Passes the head alone; the caller has made sure that nothing is ready behind it, and appends its reply to the
    /// outbox before anything else gets there.
    #[inline]
    pub fn skip_head(&mut self) {
        debug_assert!(!self.ready_behind_head());
        self.pop();
    }

    /// Whether the reply behind the head has come already, so that passing the head passes more than itself.
    #[inline]
    pub fn ready_behind_head(&self) -> bool {
        self.stashed != 0 && matches!(self.places.get(1), Some(Place::Ready { .. }))
    }

    /// Takes the reply of `sequence`: to `out` when it is its turn, else to the stash. A sequence that has no place is
    /// ignored.
    pub fn complete(&mut self, sequence: Sequence, reply: &[u8], out: &mut Vec<u8>) {
        if self.is_head(sequence) {
            out.extend_from_slice(reply);
            self.pass_head(out);
            return;
        }
        let Some(place) = self.places.get_mut(sequence.wrapping_sub(self.head) as usize) else { return };
        let Place::Waiting(bytes) = *place else {
            debug_assert!(false, "a request was answered twice");
            return;
        };
        self.pending_bytes -= bytes as usize;
        // The stash is held below 4 GiB by the client's output limit.
        *place = Place::Ready { start: self.stash.len() as u32, len: reply.len() as u32 };
        self.stash.extend_from_slice(reply);
        self.stashed += 1;
    }

    /// Forgets everything; capacity is kept. Returns the capacity held in bytes.
    pub fn reset(&mut self) -> usize {
        self.places.clear();
        self.stash.clear();
        self.stashed = 0;
        self.head = 0;
        self.pending_bytes = 0;
        self.places.capacity() * std::mem::size_of::<Place>() + self.stash.capacity()
    }

    fn pop(&mut self) {
        if let Some(Place::Waiting(bytes)) = self.places.pop_front() {
            self.pending_bytes -= bytes as usize;
        }
        self.head = self.head.wrapping_add(1);
    }

    fn pass_ready(&mut self, out: &mut Vec<u8>) {
        while let Some(&Place::Ready { start, len }) = self.places.front() {
            out.extend_from_slice(&self.stash[start as usize..start as usize + len as usize]);
            self.stashed -= 1;
            self.pop();
        }
        if self.stashed == 0 {
            self.stash.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn replies_leave_in_the_order_of_requests() {
        let (mut order, mut out) = (ReplyOrder::default(), Vec::new());
        let (a, b, c) = (order.admit(10), order.admit(10), order.admit(10));
        order.complete(c, b"c", &mut out);
        order.complete(b, b"b", &mut out);
        assert!(out.is_empty());
        assert!(order.ready_behind_head());
        order.complete(a, b"a", &mut out);
        assert_eq!(out, b"abc");
        assert!(order.is_empty());
        assert_eq!(order.stash_len(), 0);
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
            want.extend_from_slice(&reply);
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
