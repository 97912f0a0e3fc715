//! An exact set of ids that grows without a long pause.

use model::id::Key;

/// Parts that grow on their own: one of a million ids moves 4,000 at a time.
const SHARDS: usize = 256;
const SHARD_SLOTS_MIN: usize = 16;

/// Ids in 256 open-addressing tables. Ids are uniform, so their bits serve as they are.
pub(super) struct IdSet {
    shards: Vec<Shard>,
    len: usize,
    /// Zero marks an empty slot, so the id 0 is kept apart.
    has_zero: bool,
}

#[derive(Default)]
struct Shard {
    /// A power of two of them, or none.
    slots: Vec<u128>,
    used: usize,
}

impl IdSet {
    pub(super) fn with_capacity(ids: usize) -> Self {
        let slots = (ids / SHARDS * 2).next_power_of_two().max(SHARD_SLOTS_MIN);
        let shards = (0..SHARDS).map(|_| Shard { slots: vec![0; slots], used: 0 }).collect();
        Self { shards, len: 0, has_zero: false }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds an id that is not there.
    pub(super) fn insert(&mut self, id: Key) {
        self.len += 1;
        if id.0 == 0 {
            self.has_zero = true;
        } else if let Some(shard) = self.shards.get_mut(shard_of(id)) {
            shard.insert(id.0);
        }
    }

    pub(super) fn contains(&self, id: Key) -> bool {
        if id.0 == 0 {
            return self.has_zero;
        }
        self.shards.get(shard_of(id)).is_some_and(|shard| shard.contains(id.0))
    }

    /// Appends all ids, in no particular order.
    pub(super) fn append_to(&self, out: &mut Vec<u128>) {
        out.reserve(self.len);
        out.extend(self.has_zero.then_some(0));
        for shard in &self.shards {
            out.extend(shard.slots.iter().copied().filter(|slot| *slot != 0));
        }
    }
}

fn shard_of(id: Key) -> usize {
    (id.0 >> 120) as usize
}

impl Shard {
    fn contains(&self, id: u128) -> bool {
        let start = id as usize & self.slots.len().wrapping_sub(1);
        let (front, back) = self.slots.split_at_checked(start).unwrap_or_default();
        for slot in back.iter().chain(front) {
            if *slot == id {
                return true;
            }
            if *slot == 0 {
                return false;
            }
        }
        false
    }

    fn insert(&mut self, id: u128) {
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            let slots = vec![0; (self.slots.len() * 2).max(SHARD_SLOTS_MIN)];
            for old in std::mem::replace(&mut self.slots, slots) {
                if old != 0 {
                    self.place(old);
                }
            }
        }
        self.place(id);
        self.used += 1;
    }

    fn place(&mut self, id: u128) {
        let start = id as usize & self.slots.len().wrapping_sub(1);
        let (front, back) = self.slots.split_at_mut(start);
        if let Some(slot) = back.iter_mut().chain(front).find(|slot| **slot == 0) {
            *slot = id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(ids in prop::collection::vec(prop_oneof![any::<u128>(), 0_u128..300], 0..2_000)) {
            let mut set = IdSet::with_capacity(0);
            let mut model = BTreeSet::new();
            for id in ids {
                prop_assert_eq!(set.contains(Key(id)), model.contains(&id));
                if model.insert(id) {
                    set.insert(Key(id));
                }
            }
            let mut all = Vec::new();
            set.append_to(&mut all);
            all.sort_unstable();
            prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        }
    }
}
