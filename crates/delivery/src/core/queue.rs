//! The parcels of a lane, by subject: in order within a subject, in turn between subjects.

use crate::ledger::Tries;
use crate::parcel::Parcel;
use model::id::{EffectId, Key, Timestamp};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A parcel in memory.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) parcel: Parcel,
    pub(crate) tries: Tries,
    /// It is a dead letter on its way again.
    pub(crate) resend: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Stands in `ready`.
    Ready,
    /// A parcel or batch of it is under way.
    UnderWay,
    /// Waits until this, in monotonic microseconds.
    Waiting(u64),
}

#[derive(Debug)]
struct Subject {
    /// What is not under way. Re-sent dead letters come first, because their ids are lower.
    queue: BTreeSet<EffectId>,
    state: State,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    items: BTreeMap<EffectId, Item>,
    held_bytes: usize,
    subjects: BTreeMap<Key, Subject>,
    ready: VecDeque<Key>,
    waiting: BTreeSet<(u64, Key)>,
    /// Parcels of subjects that are ready.
    ready_parcels: usize,
    /// Since when a batch could be begun.
    ready_since_us: u64,
    /// Ids of items that are not re-sends, for the cursor.
    open: BTreeSet<EffectId>,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Parcels that are not re-sent dead letters.
    pub(crate) fn open_len(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(crate) fn ready_parcels(&self) -> usize {
        self.ready_parcels
    }

    /// Whether the parcel whose turn it is goes alone, so that there is nothing to wait for.
    pub(crate) fn front_is_alone(&self) -> bool {
        let subject = self.ready.front().and_then(|key| self.subjects.get(key));
        let id = subject.and_then(|subject| subject.queue.first());
        id.and_then(|id| self.items.get(id)).is_some_and(|item| item.tries.alone)
    }

    pub(crate) fn ready_since_us(&self) -> u64 {
        self.ready_since_us
    }

    pub(crate) fn get(&self, id: EffectId) -> Option<&Item> {
        self.items.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: EffectId) -> Option<&mut Item> {
        self.items.get_mut(&id)
    }

    /// The first parcel that is not settled, re-sends left aside.
    pub(crate) fn first_open(&self) -> Option<EffectId> {
        self.open.first().copied()
    }

    pub(crate) fn oldest_issued_at(&self) -> Option<Timestamp> {
        self.items.first_key_value().map(|(_, item)| item.parcel.issued_at)
    }

    /// When the next waiting subject is due, in monotonic microseconds.
    pub(crate) fn next_due_us(&self) -> Option<u64> {
        self.waiting.first().map(|(due_us, _)| *due_us)
    }

    /// Takes a parcel in; it may not be attempted before `due_us`.
    pub(crate) fn push(&mut self, item: Item, due_us: u64, now_us: u64) {
        let (id, key) = (item.parcel.id, item.parcel.subject);
        self.held_bytes += item.parcel.size_bytes();
        if !item.resend {
            self.open.insert(id);
        }
        self.items.insert(id, item);
        match self.subjects.get_mut(&key) {
            Some(subject) => {
                subject.queue.insert(id);
                if subject.state == State::Ready {
                    self.count_ready(1, now_us);
                }
            }
            None => {
                self.subjects.insert(key, Subject { queue: BTreeSet::from([id]), state: State::UnderWay });
                self.settle_subject(key, due_us, now_us);
            }
        }
    }

    /// Makes ready what has waited long enough.
    pub(crate) fn promote(&mut self, now_us: u64) {
        while let Some((due_us, key)) = self.waiting.first().copied() {
            if due_us > now_us {
                return;
            }
            self.waiting.pop_first();
            self.make_ready(key, now_us);
        }
    }

    /// Takes the next batch: from each ready subject in turn one parcel, and another round as long as there is room.
    /// The subjects are under way until [`Queue::release`].
    pub(crate) fn take_batch(&mut self, parcels_max: usize, bytes_max: usize, now_us: u64) -> Vec<EffectId> {
        let mut batch = Vec::new();
        let mut again = VecDeque::new();
        let mut bytes = 0_usize;
        while batch.len() < parcels_max {
            let (key, first_turn) = match (self.ready.pop_front(), again.pop_front()) {
                (Some(key), later) => {
                    if let Some(later) = later {
                        again.push_front(later);
                    }
                    (key, true)
                }
                (None, Some(key)) => (key, false),
                (None, None) => break,
            };
            let Some(id) = self.subjects.get(&key).and_then(|subject| subject.queue.first().copied()) else {
                if first_turn {
                    // Everything that made it ready was forgotten meanwhile.
                    self.subjects.remove(&key);
                }
                continue;
            };
            let (size, alone) = match self.items.get(&id) {
                Some(item) => (item.parcel.body.len(), item.tries.alone),
                None => (0, false),
            };
            if !batch.is_empty() && (alone || bytes.saturating_add(size) > bytes_max) {
                if first_turn {
                    self.ready.push_front(key);
                }
                break;
            }
            self.take_head(key, id, first_turn);
            batch.push(id);
            bytes = bytes.saturating_add(size);
            again.push_back(key);
            if alone {
                break;
            }
        }
        self.ready_since_us = now_us;
        batch
    }

    /// Brings a subject to the front whose next parcel is a re-sent dead letter. Whether there is one.
    pub(crate) fn resend_to_front(&mut self) -> bool {
        let is_resend = |key: &Key| {
            let next = self.subjects.get(key).and_then(|subject| subject.queue.first());
            next.and_then(|id| self.items.get(id)).is_some_and(|item| item.resend)
        };
        let place = self.ready.iter().position(is_resend);
        let found = place.and_then(|place| self.ready.remove(place));
        if let Some(key) = found {
            self.ready.push_front(key);
        }
        found.is_some()
    }

    fn take_head(&mut self, key: Key, id: EffectId, first_turn: bool) {
        let Some(subject) = self.subjects.get_mut(&key) else { return };
        if first_turn {
            // The whole subject stops being ready; what is left of it waits for the batch to come back.
            self.ready_parcels = self.ready_parcels.saturating_sub(subject.queue.len());
            subject.state = State::UnderWay;
        }
        subject.queue.remove(&id);
    }

    /// Puts a parcel back that was under way. Its subject stays under way.
    pub(crate) fn put_back(&mut self, id: EffectId) {
        if let Some(item) = self.items.get(&id)
            && let Some(subject) = self.subjects.get_mut(&item.parcel.subject)
        {
            subject.queue.insert(id);
        }
    }

    /// Forgets a parcel.
    pub(crate) fn remove(&mut self, id: EffectId) -> Option<Item> {
        let item = self.items.remove(&id)?;
        self.open.remove(&id);
        self.held_bytes = self.held_bytes.saturating_sub(item.parcel.size_bytes());
        if let Some(subject) = self.subjects.get_mut(&item.parcel.subject)
            && subject.queue.remove(&id)
            && subject.state == State::Ready
        {
            self.ready_parcels = self.ready_parcels.saturating_sub(1);
        }
        Some(item)
    }

    /// A subject's batch is back; it may go on at `due_us`.
    pub(crate) fn release(&mut self, key: Key, due_us: u64, now_us: u64) {
        if self.subjects.get(&key).is_some_and(|subject| subject.state == State::UnderWay) {
            self.settle_subject(key, due_us, now_us);
        }
    }

    /// Ids of a subject's parcels that are not under way.
    pub(crate) fn waiting_of(&self, key: Key) -> Vec<EffectId> {
        self.subjects.get(&key).map(|subject| subject.queue.iter().copied().collect()).unwrap_or_default()
    }

    fn settle_subject(&mut self, key: Key, due_us: u64, now_us: u64) {
        let Some(subject) = self.subjects.get_mut(&key) else { return };
        if subject.queue.is_empty() {
            self.subjects.remove(&key);
        } else if due_us > now_us {
            subject.state = State::Waiting(due_us);
            self.waiting.insert((due_us, key));
        } else {
            self.make_ready(key, now_us);
        }
    }

    fn make_ready(&mut self, key: Key, now_us: u64) {
        let Some(subject) = self.subjects.get_mut(&key) else { return };
        if subject.queue.is_empty() {
            self.subjects.remove(&key);
            return;
        }
        subject.state = State::Ready;
        let count = subject.queue.len();
        self.ready.push_back(key);
        self.count_ready(count, now_us);
    }

    fn count_ready(&mut self, count: usize, now_us: u64) {
        if self.ready_parcels == 0 {
            self.ready_since_us = now_us;
        }
        self.ready_parcels += count;
    }

    /// What must always hold, checked by the simulation.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let bytes: usize = self.items.values().map(|item| item.parcel.size_bytes()).sum();
        assert_eq!(bytes, self.held_bytes);
        let count = |state: fn(&State) -> bool| -> usize {
            self.subjects
                .values()
                .filter(|subject| state(&subject.state))
                .map(|subject| subject.queue.len())
                .sum()
        };
        assert_eq!(count(|state| *state == State::Ready), self.ready_parcels);
        for (due_us, key) in &self.waiting {
            assert_eq!(self.subjects.get(key).map(|subject| subject.state), Some(State::Waiting(*due_us)));
        }
        let waiting =
            self.subjects.values().filter(|subject| matches!(subject.state, State::Waiting(_))).count();
        assert_eq!(waiting, self.waiting.len());
        for (key, subject) in &self.subjects {
            assert!(
                subject
                    .queue
                    .iter()
                    .all(|id| self.items.get(id).is_some_and(|item| item.parcel.subject == *key))
            );
        }
    }
}

#[cfg(test)]
mod tests;
