//! From the bytes of a node straight to the outboxes of clients. Replies that follow one another and are for one client are
//! taken together, and those that lie behind one another in its order are copied at once.

use super::super::backend::Backend;
use super::super::client::{Active, Client};
use super::super::engine::Engine;
use super::super::part::Owner;
use super::super::tally::Tally;
use crate::base::append::append;
use crate::base::arena::Key;
use crate::base::time::Time;
use crate::resp;

impl Engine {
    /// Passes on the replies from `at` on, up to the first one that is not for this way. Returns where that begins.
    pub(in crate::proxy) fn express_replies(
        &mut self,
        key: Key<Backend>,
        data: &[u8],
        mut at: usize,
    ) -> usize {
        loop {
            let Some(b) = self.backends.get(key).filter(|b| b.scanned == 0 && b.framer.is_fresh()) else {
                return at;
            };
            let end = match b.fifo.front().map(|f| f.part.owner) {
                Some(Owner::Client(..)) => self.express_bunches(key, data, at),
                Some(Owner::Gather(..)) => self.express_parts(key, data, at),
                _ => at,
            };
            if end == at {
                return at;
            }
            at = end;
        }
    }

    /// As [`Engine::express_replies`], for one client after the other.
    #[inline(always)]
    fn express_bunches(&mut self, key: Key<Backend>, data: &[u8], mut at: usize) -> usize {
        let Some(b) = self.backends.get_mut(key) else { return at };
        while let Some(Owner::Client(client, _)) = b.fifo.front().map(|f| f.part.owner) {
            let Some(c) = self.clients.get_mut(client) else { break };
            let Some(active) = c.active.as_deref_mut().filter(|a| a.order.is_ordinary()) else { break };
            let waiting = active.backlog();
            self.streams.swamped |= waiting > self.streams.sizes.swamp;
            let (end, moved) = hand_over(b, client, active, data, at, &mut self.tally, self.now);
            if end == at {
                break;
            }
            at = end;
            if moved && !c.dirty {
                c.dirty = true;
                self.dirty_clients.push(client);
            }
            if waiting > self.config.client_output_limit {
                self.output_limit(client);
                break;
            }
        }
        at
    }

    /// As [`Engine::express_replies`], for parts of split requests, up to the last one of a request.
    #[inline(always)]
    fn express_parts(&mut self, key: Key<Backend>, data: &[u8], mut at: usize) -> usize {
        let Some(b) = self.backends.get_mut(key) else { return at };
        while let Some(front) = b.fifo.front() {
            let len = front.len;
            let Owner::Gather(gather, index) = front.part.owner else { break };
            if front.part.attempts != 0 || !b.window.front_written(len as usize) {
                break;
            }
            let Some(g) = self.gathers.get_mut(gather).filter(|g| self.clients.get(g.client).is_some())
            else {
                break;
            };
            let Some(end) = resp::quick_frame(&data[at..]).map(|n| at + n) else { break };
            let Some(missing) = g.take_part(index, data, at, end) else { break };
            b.answered(len);
            at = end;
            if missing == 0 {
                self.split_answered(gather);
                break;
            }
        }
        at
    }
}

/// Takes the replies to one client from `at` on. Returns where they end, and whether its order went on.
#[inline(always)]
fn hand_over(
    b: &mut Backend,
    client: Key<Client>,
    active: &mut Active,
    data: &[u8],
    mut at: usize,
    tally: &mut Tally,
    now: Time,
) -> (usize, bool) {
    let Active { order, out, .. } = active;
    let (out, before) = (out.tail(), order.len());
    // Replies that were passed and are not copied yet.
    let (mut start, mut end) = (at, at);
    while let Some(front) = b.fifo.front() {
        let (len, part) = (front.len, &front.part);
        let Owner::Client(key, sequence) = part.owner else { break };
        if key != client || part.attempts != 0 || !b.window.front_written(len as usize) {
            break;
        }
        let Some(next) = resp::quick_frame(&data[at..]).map(|n| at + n) else { break };
        tally.answered(part, now);
        b.answered(len);
        if !order.is_head(sequence) {
            order.keep(sequence, data, at, next - at);
        } else {
            if end != at {
                if start != end {
                    append(out, data, start, end - start);
                }
                start = at;
            }
            end = next;
            if order.pass_head() {
                append(out, data, start, end - start);
                (start, end) = (next, next);
                order.pass_ready(out);
            }
        }
        at = next;
    }
    if start != end {
        append(out, data, start, end - start);
    }
    (at, order.len() != before)
}
