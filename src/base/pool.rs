//! Things that are lent while there is work and given back when there is none, last in first out.

/// What can be lent again: emptied, and small enough to be worth keeping.
pub trait Reusable: Default {
    /// Makes it as good as new but for its capacity. False when it has grown too large to be kept.
    fn recycle(&mut self) -> bool;
}

/// Capacity in bytes above which a byte buffer is freed rather than kept.
const KEEP_BYTES: usize = 64 * 1024;

impl Reusable for Vec<u8> {
    fn recycle(&mut self) -> bool {
        self.clear();
        (1..=KEEP_BYTES).contains(&self.capacity())
    }
}

/// A stack of reusable things, bounded in number.
#[derive(Debug)]
pub struct Pool<T> {
    free: Vec<T>,
    most: usize,
}

impl<T: Reusable> Pool<T> {
    /// A pool that keeps at most `most` things.
    pub fn new(most: usize) -> Self {
        Pool { free: Vec::new(), most }
    }

    /// A kept thing, or a new one.
    #[inline]
    pub fn take(&mut self) -> T {
        self.free.pop().unwrap_or_default()
    }

    /// Gives a thing back; it is dropped when it is too large or there are enough.
    #[inline]
    pub fn give(&mut self, mut thing: T) {
        if thing.recycle() && self.free.len() < self.most {
            self.free.push(thing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_small_and_drops_what_has_grown() {
        let mut pool: Pool<Vec<u8>> = Pool::new(1);
        pool.give(vec![1; KEEP_BYTES + 1]);
        assert_eq!(pool.take().capacity(), 0);
        pool.give(vec![1; 100]);
        pool.give(vec![1; 200]);
        let v = pool.take();
        assert!(v.is_empty() && v.capacity() >= 100);
        assert_eq!(pool.take().capacity(), 0);
    }
}
