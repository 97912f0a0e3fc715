//! The hash table under a [`super::Table`], cut into shards so that growing one never stops the writer for long: one
//! map of 5 million entries was measured to pause 348 ms when it grew, a shard of it pauses about a millisecond.

use hashbrown::HashMap;
use model::id::Key;
use std::hash::{BuildHasherDefault, Hasher};

const SHARD_COUNT: usize = 256;
/// What a row costs beside its value: key, slot, box header and the map's spare room, on average.
pub(super) const SLOT_BYTES: usize = 64;

/// One row's place. Absent rows keep a slot while it is known that they do not exist.
pub(super) struct Slot<V> {
    pub(super) value: Option<Box<V>>,
    /// Digest of the row as last encoded; 0 if it did not exist then.
    pub(super) digest: u64,
    /// The generation of the last change; 0 if it was read from disk.
    pub(super) generation: u32,
    /// Bytes counted for this row.
    pub(super) weight: u32,
    /// The row has been encoded since its last change.
    pub(super) encoded: bool,
    /// Used since the evicting hand passed.
    used: bool,
}

impl<V> Slot<V> {
    pub(super) fn absent() -> Self {
        Self { value: None, digest: 0, generation: 0, weight: 0, encoded: true, used: true }
    }

    pub(super) fn mark_used(&mut self) {
        self.used = true;
    }
}

/// Keys are uniformly distributed already (keyed hashes): hashing them again would only cost time.
#[derive(Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 ^= value;
    }
}

/// A key as two words, so that an entry is 8-byte aligned and no padding is paid.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Words(u64, u64);

impl std::hash::Hash for Words {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

fn words(key: Key) -> Words {
    Words(key.0 as u64, (key.0 >> 64) as u64)
}

fn key_of(words: Words) -> Key {
    Key(u128::from(words.0) | (u128::from(words.1) << 64))
}

type Shard<V> = HashMap<Words, Slot<V>, BuildHasherDefault<AsIs>>;

pub(super) struct Shards<V> {
    shards: Vec<Shard<V>>,
}

impl<V> Shards<V> {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARD_COUNT).map(|_| Shard::default()).collect() }
    }

    fn index(words: Words) -> usize {
        (words.1 >> 56) as usize % SHARD_COUNT
    }

    pub(super) fn get(&self, key: Key) -> Option<&Slot<V>> {
        let words = words(key);
        self.shards.get(Self::index(words))?.get(&words)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Slot<V>> {
        let words = words(key);
        self.shards.get_mut(Self::index(words))?.get_mut(&words)
    }

    /// The slot, made absent and clean if there is none.
    #[expect(clippy::indexing_slicing, reason = "the index is below the fixed number of shards")]
    pub(super) fn entry(&mut self, key: Key) -> &mut Slot<V> {
        let words = words(key);
        self.shards[Self::index(words)].entry(words).or_insert_with(Slot::absent)
    }

    pub(super) fn put(&mut self, key: Key, slot: Slot<V>) {
        let words = words(key);
        if let Some(shard) = self.shards.get_mut(Self::index(words)) {
            shard.insert(words, slot);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(HashMap::len).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Slot<V>)> {
        self.shards.iter().flatten().map(|(words, slot)| (key_of(*words), slot))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "which slots are evicted, in which order, never changes an answer"
    )]
    /// Evicts, from one shard, durable slots that were not used since the last visit. Returns how many, and their bytes.
    pub(super) fn evict(&mut self, hand: usize, committed: u32) -> (usize, usize) {
        let Some(shard) = self.shards.get_mut(hand % SHARD_COUNT) else { return (0, 0) };
        let (before, mut freed) = (shard.len(), 0);
        shard.retain(|_, slot| {
            if slot.generation > committed {
                return true;
            }
            if slot.used {
                slot.used = false;
                return true;
            }
            freed += slot.weight as usize;
            false
        });
        (before - shard.len(), freed)
    }
}
