//! A hashed timer wheel: set and cancel are O(1), time comes from outside.
//!
//! The wheel has [`SPOKES`] lists, one per millisecond of a turn of about a second. A timer hangs in the list of its
//! millisecond; those that are more than a turn away hang in a list of their own, which is gone through once per turn:
//! so thousands of them cost one look per turn and not one each. Each timer has a generation, so a key that outlives
//! its timer is harmless.

use super::arena::{Arena, Key};
use super::time::Time;

/// Lists of the wheel; a power of two.
const SPOKES: usize = 1024;

/// Place of the list of timers that are more than a turn away.
const FAR: usize = SPOKES;

/// Microseconds per spoke.
const TICK_US: u64 = 1000;

/// Bits per word of the occupied-spokes set.
const WORD: usize = 64;

/// Names a timer; resolves to nothing after it fired or was cancelled.
pub type TimerKey<T> = Key<Timer<T>>;

/// One pending timer.
#[derive(Debug)]
pub struct Timer<T> {
    tick: u64,
    /// The list it hangs in.
    spoke: usize,
    what: T,
    previous: Key<Timer<T>>,
    next: Key<Timer<T>>,
}

/// Timers that carry a `T` each.
#[derive(Debug)]
pub struct Wheel<T> {
    timers: Arena<Timer<T>>,
    heads: Vec<Key<Timer<T>>>,
    occupied: [u64; SPOKES / WORD],
    /// All timers of ticks before this one have fired.
    tick: u64,
    /// When the far timers are gone through; none of them is due before.
    pour_at: u64,
}

impl<T> Wheel<T> {
    /// An empty wheel that starts at `now`.
    pub fn new(now: Time) -> Self {
        let tick = now.as_micros() / TICK_US;
        let (timers, occupied, pour_at) = (Arena::default(), [0; SPOKES / WORD], tick + SPOKES as u64);
        Wheel { timers, heads: Vec::new(), occupied, tick, pour_at }
    }

    /// Sets a timer that fires with `what` at `at`, rounded up to the millisecond, never before; a time
    /// already looked at counts as the next millisecond.
    pub fn set(&mut self, at: Time, what: T) -> TimerKey<T> {
        if self.heads.is_empty() {
            self.heads.resize(SPOKES + 1, Key::NONE);
        }
        let tick = at.as_micros().div_ceil(TICK_US).max(self.tick);
        let spoke = self.spoke_for(tick, self.tick);
        let none = Key::NONE;
        let key = self.timers.insert(Timer { tick, spoke, what, previous: none, next: none });
        self.link(key, spoke);
        key
    }

    /// Takes a timer away and returns what it carried; `None` when it has fired or was cancelled before.
    pub fn cancel(&mut self, key: TimerKey<T>) -> Option<T> {
        self.unlink(key);
        self.timers.remove(key).map(|t| t.what)
    }

    /// Appends what every timer due at `now` carries to `due`, ordered by millisecond.
    pub fn expire(&mut self, now: Time, due: &mut Vec<T>) {
        let last = now.as_micros() / TICK_US;
        if self.timers.is_empty() {
            self.tick = self.tick.max(last + 1);
            return;
        }
        if last >= self.pour_at {
            self.pour(last);
        }
        let spokes = (last + 1).saturating_sub(self.tick).min(SPOKES as u64);
        for tick in self.tick..self.tick + spokes {
            self.expire_spoke(spoke_of(tick), last, due);
        }
        self.tick = self.tick.max(last + 1);
    }

    /// A time by which [`Wheel::expire`] should be called: never after the first timer is due, and before it about once
    /// per turn of the wheel only. `None` without timers.
    pub fn next(&self) -> Option<Time> {
        if self.timers.is_empty() {
            return None;
        }
        let start = spoke_of(self.tick);
        let near = (0..=SPOKES / WORD).find_map(|i| self.first_in_word(start, i));
        let far = (self.heads[FAR] != Key::NONE).then_some(self.pour_at * TICK_US);
        near.into_iter().chain(far).min().map(Time::from_micros)
    }

    /// How many timers are pending.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether no timer is pending.
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// The list for a timer of `tick`, seen from `now`.
    fn spoke_for(&self, tick: u64, now: u64) -> usize {
        if tick >= now + SPOKES as u64 && tick >= self.pour_at {
            FAR
        } else {
            spoke_of(tick)
        }
    }

    /// Hangs a timer into a list.
    fn link(&mut self, key: TimerKey<T>, spoke: usize) {
        let next = std::mem::replace(&mut self.heads[spoke], key);
        if let Some(t) = self.timers.get_mut(next) {
            t.previous = key;
        }
        if let Some(t) = self.timers.get_mut(key) {
            (t.spoke, t.previous, t.next) = (spoke, Key::NONE, next);
        }
        if spoke != FAR {
            self.occupied[spoke / WORD] |= 1 << (spoke % WORD);
        }
    }

    /// Takes a timer out of its list.
    fn unlink(&mut self, key: TimerKey<T>) {
        let Some(&Timer { spoke, previous, next, .. }) = self.timers.get(key) else { return };
        match self.timers.get_mut(previous) {
            Some(p) => p.next = next,
            None => self.heads[spoke] = next,
        }
        if let Some(n) = self.timers.get_mut(next) {
            n.previous = previous;
        }
        if spoke != FAR && self.heads[spoke] == Key::NONE {
            self.occupied[spoke / WORD] &= !(1 << (spoke % WORD));
        }
    }

    /// Moves the far timers whose turn has come to their spokes.
    fn pour(&mut self, now: u64) {
        self.pour_at = now + SPOKES as u64;
        let mut key = self.heads[FAR];
        while let Some(t) = self.timers.get(key) {
            let (tick, next) = (t.tick, t.next);
            let spoke = self.spoke_for(tick, now);
            if spoke != FAR {
                self.unlink(key);
                self.link(key, spoke);
            }
            key = next;
        }
    }

    fn expire_spoke(&mut self, spoke: usize, last: u64, due: &mut Vec<T>) {
        let mut key = self.heads[spoke];
        while let Some(t) = self.timers.get(key) {
            let next = t.next;
            if t.tick <= last {
                due.extend(self.cancel(key));
            }
            key = next;
        }
    }

    /// The time of the first occupied spoke in the `i`-th word from the one of spoke `start`, in the order of time.
    fn first_in_word(&self, start: usize, i: usize) -> Option<u64> {
        let word = (start / WORD + i) % (SPOKES / WORD);
        let behind = !0u64 << (start % WORD);
        let mask = match i {
            0 => behind,
            n if n == SPOKES / WORD => !behind,
            _ => !0,
        };
        let bits = self.occupied[word] & mask;
        let spoke = (bits != 0).then(|| word * WORD + bits.trailing_zeros() as usize)?;
        let ahead = (spoke + SPOKES - start) % SPOKES;
        Some((self.tick + ahead as u64) * TICK_US)
    }
}

fn spoke_of(tick: u64) -> usize {
    (tick % SPOKES as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    fn ms(n: u64) -> Time {
        Time::from_micros(n * 1000)
    }

    fn fired(w: &mut Wheel<u32>, now: Time) -> Vec<u32> {
        let mut due = Vec::new();
        w.expire(now, &mut due);
        due
    }

    #[test]
    fn fires_at_its_time_and_never_before() {
        let mut w = Wheel::new(ms(5));
        w.set(Time::from_micros(10_001), 1);
        w.set(ms(5000), 2);
        assert!(fired(&mut w, ms(10)).is_empty());
        assert_eq!(fired(&mut w, ms(11)), vec![1]);
        assert!(fired(&mut w, ms(4999)).is_empty());
        assert_eq!(fired(&mut w, ms(5000)), vec![2]);
        assert!(w.is_empty());
    }

    #[test]
    fn a_timer_in_the_past_fires_at_the_next_look() {
        let mut w = Wheel::new(ms(100));
        w.set(ms(3), 1);
        assert_eq!(fired(&mut w, ms(100)), vec![1]);
    }

    #[test]
    fn a_cancelled_timer_does_not_fire_and_its_key_goes_stale() {
        let mut w = Wheel::new(ms(0));
        let (a, b, c) = (w.set(ms(7), 1), w.set(ms(7), 2), w.set(ms(7), 3));
        assert_eq!(w.cancel(b), Some(2));
        assert_eq!(w.cancel(b), None);
        assert_eq!(w.cancel(c), Some(3));
        assert_eq!(fired(&mut w, ms(7)), vec![1]);
        assert_eq!(w.cancel(a), None);
        assert_eq!(w.next(), None);
    }

    #[test]
    fn next_is_never_after_the_first_timer() {
        let mut w = Wheel::new(ms(1000));
        assert_eq!(w.next(), None);
        let a = w.set(ms(1030), 1);
        w.set(ms(1020), 2);
        assert_eq!(w.next(), Some(ms(1020)));
        assert_eq!(fired(&mut w, ms(1025)), vec![2]);
        assert_eq!(w.next(), Some(ms(1030)));
        w.cancel(a);
        w.set(ms(1025 + 3 * SPOKES as u64), 3);
        assert!(w.next().is_some_and(|t| t <= ms(1025 + 3 * SPOKES as u64)));
    }

    #[test]
    fn far_timers_cost_one_look_per_turn() {
        let mut w = Wheel::new(ms(0));
        for i in 0..1000 {
            w.set(ms(1_000_000 + i), 1);
        }
        let mut looks = 0;
        while let Some(at) = w.next().filter(|t| *t < ms(999_999)) {
            assert!(fired(&mut w, at).is_empty());
            looks += 1;
        }
        assert!(looks <= 1_000_000 / SPOKES, "{looks} looks");
        assert_eq!(fired(&mut w, ms(1_000_000)), vec![1]);
        assert_eq!(fired(&mut w, ms(9_000_000)).len(), 999);
    }

    #[test]
    fn agrees_with_a_sorted_list_over_random_operations() {
        let mut r = Random::new(42);
        let mut w = Wheel::new(ms(0));
        let mut model: Vec<(u64, u32, TimerKey<u32>)> = Vec::new();
        let mut now = 0u64;
        for i in 0..20_000u32 {
            match r.below(4) {
                0 | 1 => {
                    let at = now + 1 + r.below(3000);
                    model.push((at, i, w.set(ms(at), i)));
                }
                2 if !model.is_empty() => {
                    let (_, what, key) = model.swap_remove(r.below(model.len() as u64) as usize);
                    assert_eq!(w.cancel(key), Some(what));
                }
                _ => {
                    now += r.below(40);
                    let mut due = fired(&mut w, ms(now));
                    let mut want: Vec<u32> = model.iter().filter(|t| t.0 <= now).map(|t| t.1).collect();
                    model.retain(|t| t.0 > now);
                    due.sort_unstable();
                    want.sort_unstable();
                    assert_eq!(due, want);
                }
            }
            assert_eq!(w.len(), model.len());
            let first = model.iter().map(|t| ms(t.0)).min();
            assert!(w.next() <= first && w.next().is_some() == first.is_some());
        }
    }
}
