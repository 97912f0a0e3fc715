//! An exact set of ids that grows without a long pause.

use model::id::Key;

/// Parts that grow on their own: one of a million ids moves 4,000 at a time.
const SHARDS: usize = 256;
const SHARD_SLOTS_MIN: usize = 16;
/// Bits of a slot that repeat bits of the id, so that another id's slot is seldom followed.
const TAG_BITS: u32 = 8;
/// Ids in a shard, as far as a slot can count.
const SHARD_IDS_MAX: usize = (1 << (32 - TAG_BITS)) - 1;
/// Ids in a set that are uniform: four billion, which is beyond the memory of an interval.
pub(super) const IDS_MAX: u64 = (SHARDS * SHARD_IDS_MAX) as u64;

/// Ids in 256 hash tables. Ids are uniform, so their bits serve as they are. The ids themselves are written one behind
/// the other; what is written at random is 4 bytes an id, which mostly stays in the processor's cache.
pub(super) struct IdSet {
    shards: Vec<Shard>,
    len: usize,
}

#[derive(Default)]
struct Shard {
    ids: Vec<u128>,
    /// A power of two of them. 0: empty; else the place of an id, counted from 1, and the id's tag.
    slots: Vec<u32>,
}

impl IdSet {
    pub(super) fn with_capacity(ids: usize) -> Self {
        let (ids, slots) = (ids / SHARDS, (ids / SHARDS * 2).next_power_of_two().max(SHARD_SLOTS_MIN));
        let shards =
            (0..SHARDS).map(|_| Shard { ids: Vec::with_capacity(ids), slots: vec![0; slots] }).collect();
        Self { shards, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds an id that is not there. `false`: the set is full.
    #[must_use]
    pub(super) fn insert(&mut self, id: Key) -> bool {
        let Some(shard) = self.shards.get_mut(shard_of(id)).filter(|shard| shard.ids.len() < SHARD_IDS_MAX)
        else {
            return false;
        };
        shard.insert(id.0);
        self.len += 1;
        true
    }

    pub(super) fn contains(&self, id: Key) -> bool {
        self.shards.get(shard_of(id)).is_some_and(|shard| shard.contains(id.0))
    }

    /// Reads where an id stands or would be put.
    pub(super) fn touch(&self, id: Key) -> u64 {
        let Some(shard) = self.shards.get(shard_of(id)) else { return 0 };
        shard.slots.get(id.0 as usize & shard.slots.len().wrapping_sub(1)).copied().map_or(0, u64::from)
    }

    /// Appends all ids, in no particular order.
    pub(super) fn append_to(&self, out: &mut Vec<u128>) {
        out.reserve(self.len);
        for shard in &self.shards {
            out.extend_from_slice(&shard.ids);
        }
    }
}

fn shard_of(id: Key) -> usize {
    (id.0 >> 120) as usize
}

fn tag(id: u128) -> u32 {
    (id >> 112) as u32 & ((1 << TAG_BITS) - 1)
}

impl Shard {
    fn contains(&self, id: u128) -> bool {
        let start = id as usize & self.slots.len().wrapping_sub(1);
        let (front, back) = self.slots.split_at_checked(start).unwrap_or_default();
        for slot in back.iter().chain(front) {
            if *slot == 0 {
                return false;
            }
            let place = (*slot >> TAG_BITS) as usize - 1;
            if *slot & ((1 << TAG_BITS) - 1) == tag(id) && self.ids.get(place) == Some(&id) {
                return true;
            }
        }
        false
    }

    fn insert(&mut self, id: u128) {
        self.ids.push(id);
        if self.ids.len() * 4 <= self.slots.len() * 3 {
            place(&mut self.slots, id, self.ids.len());
            return;
        }
        self.slots = vec![0; self.slots.len() * 2];
        for (number, id) in self.ids.iter().enumerate() {
            place(&mut self.slots, *id, number + 1);
        }
    }
}

fn place(slots: &mut [u32], id: u128, number: usize) {
    let start = id as usize & slots.len().wrapping_sub(1);
    let (front, back) = slots.split_at_mut(start);
    if let Some(slot) = back.iter_mut().chain(front).find(|slot| **slot == 0) {
        *slot = (number as u32) << TAG_BITS | tag(id);
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
                    prop_assert!(set.insert(Key(id)));
                }
            }
            let mut all = Vec::new();
            set.append_to(&mut all);
            all.sort_unstable();
            prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        }
    }
}
