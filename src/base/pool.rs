//! Things that are lent while there is work and given back when there is none, last in first out.

/// What can be lent again: emptied, and small enough to be worth keeping.
pub trait Reusable: Default {
    /// Makes it as good as new but for its capacity, and tells that, in bytes; `None` when it is not worth keeping.
    fn recycle(&mut self) -> Option<usize>;
}

/// Capacity in bytes above which one thing is freed rather than kept.
const KEEP_BYTES: usize = 256 * 1024;
/// Capacity in bytes of all that a pool keeps, at most.
const KEEP_BYTES_IN_ALL: usize = 4 << 20;

impl Reusable for Vec<u8> {
    fn recycle(&mut self) -> Option<usize> {
        self.clear();
        Some(self.capacity()).filter(|n| *n > 0)
    }
}

/// A stack of reusable things, bounded in number and in bytes.
#[derive(Debug)]
pub struct Pool<T> {
    /// Each with its capacity in bytes.
    free: Vec<(usize, T)>,
    /// The sum of these capacities.
    bytes: usize,
    most: usize,
}

impl<T: Reusable> Pool<T> {
    /// A pool that keeps at most `most` things.
    pub fn new(most: usize) -> Self {
        Pool { free: Vec::new(), bytes: 0, most }
    }

    /// A kept thing, or a new one.
    #[inline]
    pub fn take(&mut self) -> T {
        let Some((size, thing)) = self.free.pop() else { return T::default() };
        self.bytes -= size;
        thing
    }

    /// Gives a thing back; it is dropped when it is too large or there are enough.
    #[inline]
    pub fn give(&mut self, mut thing: T) {
        let Some(size) = thing.recycle() else { return };
        let fits = size <= KEEP_BYTES && self.bytes + size <= KEEP_BYTES_IN_ALL;
        if fits && self.free.len() < self.most {
            self.bytes += size;
            self.free.push((size, thing));
        }
    }

    /// Drops all kept things but `most`: each may be the only one left on its page of memory.
    #[inline]
    pub fn shrink_to(&mut self, most: usize) {
        while self.free.len() > most {
            self.take();
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

    #[test]
    fn keeps_no_more_than_its_share_of_memory() {
        const MOST: usize = KEEP_BYTES_IN_ALL / KEEP_BYTES;
        let mut pool: Pool<Vec<u8>> = Pool::new(10 * MOST);
        for _ in 0..2 {
            (0..2 * MOST).for_each(|_| pool.give(vec![1; KEEP_BYTES]));
            let taken: Vec<usize> = (0..2 * MOST).map(|_| pool.take().capacity()).collect();
            assert_eq!(taken.iter().filter(|n| **n > 0).count(), MOST);
        }
        (0..MOST).for_each(|_| pool.give(vec![1; KEEP_BYTES]));
        pool.shrink_to(3);
        assert_eq!((pool.free.len(), pool.bytes), (3, 3 * KEEP_BYTES));
    }
}
