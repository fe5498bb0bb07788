//! A slab whose keys carry a generation, so that a stale key resolves to nothing.

use std::fmt;
use std::marker::PhantomData;

use slab::Slab;

/// Names one value of an [`Arena`], also after the value is gone: then it resolves to nothing.
pub struct Key<T> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// A key that never resolves.
    pub const NONE: Key<T> = Key { index: u32::MAX, generation: 0, of: PhantomData };

    /// The place of the value; places are small numbers and are used again after removal.
    #[inline]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

impl<T> Default for Key<T> {
    fn default() -> Self {
        Key::NONE
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> PartialEq for Key<T> {
    #[inline]
    fn eq(&self, o: &Self) -> bool {
        self.index == o.index && self.generation == o.generation
    }
}

impl<T> Eq for Key<T> {}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// Places that are kept also when nothing is held.
const KEEP_PLACES: usize = 64;

/// Values under generation-checked keys. Insert, remove and look-up are O(1).
#[derive(Debug)]
pub struct Arena<T> {
    slots: Slab<(u32, T)>,
    generation: u32,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Arena { slots: Slab::new(), generation: 0 }
    }
}

impl<T> Arena<T> {
    /// Puts `value` in and returns its key.
    ///
    /// # Panics
    /// When 2^32 - 1 values are held at once.
    pub fn insert(&mut self, value: T) -> Key<T> {
        self.generation = self.generation.wrapping_add(1);
        let index = self.slots.insert((self.generation, value));
        let index = u32::try_from(index).ok().filter(|i| *i != u32::MAX);
        // proven: memory ends long before 2^32 - 1 values
        Key { index: index.expect("arena is full"), generation: self.generation, of: PhantomData }
    }

    /// Takes the value out, or returns `None` when it has gone before.
    pub fn remove(&mut self, key: Key<T>) -> Option<T> {
        self.get(key)?;
        Some(self.slots.remove(key.index()).1)
    }

    /// The value under `key`, unless it has gone.
    #[inline]
    pub fn get(&self, key: Key<T>) -> Option<&T> {
        match self.slots.get(key.index()) {
            Some((generation, value)) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// The value under `key`, unless it has gone.
    #[inline]
    pub fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        match self.slots.get_mut(key.index()) {
            Some((generation, value)) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// Gives the memory back when nothing is held, unless it is little; keys stay stale.
    #[inline]
    pub fn shrink_if_empty(&mut self) {
        if self.slots.is_empty() && self.slots.capacity() > KEEP_PLACES {
            self.slots = Slab::new();
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// All keys and values, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Key<T>, &T)> {
        self.slots.iter().map(|(i, (generation, v))| (key_of(i, *generation), v))
    }

    /// All keys, by place.
    pub fn keys(&self) -> Vec<Key<T>> {
        self.iter().map(|(k, _)| k).collect()
    }
}

/// The key of an occupied place; `insert` has checked that `index` fits.
fn key_of<T>(index: usize, generation: u32) -> Key<T> {
    Key { index: index as u32, generation, of: PhantomData }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_resolves_to_nothing_after_its_place_is_used_again() {
        let mut a = Arena::default();
        let old = a.insert("old");
        assert_eq!(a.remove(old), Some("old"));
        let new = a.insert("new");
        assert_eq!(new.index(), old.index());
        assert_eq!(a.get(old), None);
        assert_eq!(a.remove(old), None);
        assert_eq!(a.get(new), Some(&"new"));
        assert_eq!(a.keys(), vec![new]);
        a.shrink_if_empty();
        assert_eq!(a.get(new), Some(&"new"));
        a.remove(new);
        let newest = a.insert("newest");
        assert_eq!((newest.index(), a.get(new), a.get(newest)), (0, None, Some(&"newest")));
    }

    #[test]
    fn what_a_crowd_needed_is_given_back_when_the_last_has_gone() {
        let mut a = Arena::default();
        let crowd: Vec<Key<u32>> = (0..1000).map(|i| a.insert(i)).collect();
        for key in &crowd {
            assert!(a.slots.capacity() >= 1000);
            a.remove(*key);
            a.shrink_if_empty();
        }
        assert_eq!(a.slots.capacity(), 0);
        let newest = a.insert(7);
        assert_eq!((newest.index(), a.get(crowd[0]), a.get(newest)), (0, None, Some(&7)));
    }

    #[test]
    fn none_never_resolves() {
        let mut a = Arena::default();
        a.insert(1);
        assert_eq!(a.get(Key::NONE), None);
        assert_eq!(a.get_mut(Key::NONE), None);
    }
}
