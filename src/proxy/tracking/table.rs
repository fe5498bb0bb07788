//! Who has read which keys. Pure; knows nothing of what is sent.

use std::collections::HashMap;

use crate::base::arena::Key;
use crate::proxy::client::Client;

/// Bytes of a table above which it has to be emptied: a server's own limit is a million keys.
const MOST_BYTES: usize = 32 << 20;

/// What a key costs besides its name and its readers, in bytes: about what the allocator and the table take.
const PER_KEY: usize = 96;
/// What a reader of a key costs.
const PER_READER: usize = std::mem::size_of::<Key<Client>>();

/// Keys that clients of one worker have read and not been told of since.
#[derive(Debug, Default)]
pub struct Table {
    /// By name; readers by their place in the arena, no place twice. Some may have gone.
    readers: HashMap<Box<[u8]>, Vec<Key<Client>>>,
    items: usize,
    name_bytes: usize,
}

impl Table {
    /// Notes that a client reads a key.
    pub fn add(&mut self, name: &[u8], client: Key<Client>) {
        let readers = match self.readers.get_mut(name) {
            Some(readers) => readers,
            None => {
                self.name_bytes += name.len();
                self.readers.entry(name.into()).or_default()
            }
        };
        match readers.binary_search_by_key(&client.index(), |k| k.index()) {
            // Who had this place before has gone.
            Ok(at) => readers[at] = client,
            Err(at) => {
                readers.insert(at, client);
                self.items += 1;
            }
        }
    }

    /// Forgets a key; those who have read it.
    pub fn take(&mut self, name: &[u8]) -> Vec<Key<Client>> {
        let Some((name, readers)) = self.readers.remove_entry(name) else { return Vec::new() };
        self.name_bytes -= name.len();
        self.items -= readers.len();
        readers
    }

    /// Forgets all keys, and gives the memory back.
    pub fn clear(&mut self) {
        *self = Table::default();
    }

    /// Whether it is as large as it may be.
    pub fn is_full(&self) -> bool {
        self.name_bytes + self.readers.len() * PER_KEY + self.items * PER_READER > MOST_BYTES
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.readers.len()
    }

    /// How many readers all keys have together.
    pub fn items(&self) -> usize {
        self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::arena::Arena;

    fn clients(n: u64) -> (Arena<Client>, Vec<Key<Client>>) {
        let mut arena = Arena::default();
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let keys = (0..n).map(|i| arena.insert(Client::new(i, peer, true, Default::default()))).collect();
        (arena, keys)
    }

    #[test]
    fn a_key_has_each_reader_once_and_is_forgotten_when_it_was_taken() {
        let (mut arena, keys) = clients(3);
        let mut table = Table::default();
        for key in [keys[2], keys[0], keys[2], keys[0]] {
            table.add(b"a", key);
        }
        table.add(b"b", keys[1]);
        assert_eq!((table.len(), table.items()), (2, 3));
        assert_eq!(table.take(b"a"), [keys[0], keys[2]]);
        assert_eq!(table.take(b"a"), []);
        // The place of a client that has gone is that of the next one.
        arena.remove(keys[1]);
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let next = arena.insert(Client::new(9, peer, true, Default::default()));
        assert_eq!(next.index(), keys[1].index());
        table.add(b"b", next);
        assert_eq!(table.take(b"b"), [next]);
        assert_eq!((table.len(), table.items(), table.name_bytes), (0, 0, 0));
    }

    #[test]
    fn it_is_full_at_some_time() {
        let (_arena, keys) = clients(1);
        let mut table = Table::default();
        let mut n = 0u64;
        while !table.is_full() {
            table.add(&n.to_be_bytes(), keys[0]);
            n += 1;
        }
        assert!((100_000..1_000_000).contains(&n), "{n} keys");
        table.clear();
        assert_eq!((table.len(), table.is_full()), (0, false));
    }
}
