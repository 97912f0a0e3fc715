//! What a shadow holds in memory: where each person's rows are in the file, and who shares a row with whom.

use super::frame::{Frame, Place};
use super::{Row, State, Summary};
use model::id::Key;
use ring::digest;
use std::collections::BTreeMap;
use std::ops::Bound;

/// A person in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where the rows are.
    pub(super) place: Place,
    /// Something is not acknowledged.
    unsettled: bool,
}

#[derive(Default)]
struct List {
    people: BTreeMap<Key, Entry>,
    /// How many people want a row, by the first bytes of its hash.
    holders: BTreeMap<u128, u32>,
    summary: Summary,
}

#[derive(Default)]
pub(super) struct Book {
    lists: BTreeMap<String, List>,
    people: usize,
    unsettled: usize,
    live_bytes: u64,
}

/// A number for a row of a person in a list: the first 16 bytes of SHA-256 over all three.
pub(super) fn row_digest(list: &str, person: Key, row: &[u8]) -> u128 {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&(list.len() as u64).to_be_bytes());
    context.update(list.as_bytes());
    context.update(&person.0.to_be_bytes());
    context.update(row);
    first_16(context.finish().as_ref())
}

fn holder_key(row: &[u8]) -> u128 {
    first_16(digest::digest(&digest::SHA256, row).as_ref())
}

fn first_16(hash: &[u8]) -> u128 {
    hash.iter().take(16).fold(0, |sum, byte| (sum << 8) | u128::from(*byte))
}

fn wanted(frame: &Frame) -> impl Iterator<Item = &Row> {
    frame.rows.iter().filter(|(state, _)| *state != State::Removing).map(|(_, row)| row)
}

impl Book {
    pub(super) fn people(&self) -> usize {
        self.people
    }

    pub(super) fn unsettled(&self) -> usize {
        self.unsettled
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    pub(super) fn get(&self, list: &str, person: Key) -> Option<&Entry> {
        self.lists.get(list)?.people.get(&person)
    }

    pub(super) fn lists(&self) -> Vec<String> {
        self.lists.iter().filter(|(_, list)| !list.people.is_empty()).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn summary(&self, list: &str) -> Summary {
        let Some(list) = self.lists.get(list) else { return Summary::default() };
        let unsettled = list.people.values().filter(|entry| entry.unsettled).count() as u64;
        Summary { unsettled, ..list.summary }
    }

    pub(super) fn after(
        &self,
        list: &str,
        after: Option<Key>,
        limit: usize,
        only_unsettled: bool,
    ) -> Vec<Key> {
        let Some(list) = self.lists.get(list) else { return Vec::new() };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = list.people.range((from, Bound::Unbounded));
        let chosen = range.filter(|(_, entry)| entry.unsettled || !only_unsettled);
        chosen.map(|(person, _)| *person).take(limit).collect()
    }

    pub(super) fn entries(&self) -> Vec<Place> {
        let all = self.lists.values().flat_map(|list| list.people.values());
        all.map(|entry| entry.place).collect()
    }

    /// Whether somebody other than the person of this frame wants the row.
    pub(super) fn is_held_by_another(&self, frame: &Frame, row: &Row) -> bool {
        let Some(list) = self.lists.get(&frame.list) else { return false };
        let own = u32::from(wanted(frame).any(|own| own == row));
        list.holders.get(&holder_key(row)).is_some_and(|holders| *holders > own)
    }

    /// Changes who wants what, and the sums.
    pub(super) fn hold(&mut self, old: &Frame, new: &Frame) {
        let list = self.lists.entry(new.list.clone()).or_default();
        for row in wanted(old) {
            let key = holder_key(row);
            let left = list.holders.get(&key).copied().unwrap_or(0).saturating_sub(1);
            if left == 0 {
                list.holders.remove(&key)
            } else {
                list.holders.insert(key, left)
            };
            let digest = row_digest(&old.list, old.person, row);
            list.summary.digest = list.summary.digest.wrapping_sub(digest);
            list.summary.rows = list.summary.rows.saturating_sub(1);
        }
        for row in wanted(new) {
            *list.holders.entry(holder_key(row)).or_default() += 1;
            let digest = row_digest(&new.list, new.person, row);
            list.summary.digest = list.summary.digest.wrapping_add(digest);
            list.summary.rows += 1;
        }
        let (was, is) = (wanted(old).next().is_some(), wanted(new).next().is_some());
        list.summary.people = (list.summary.people + u64::from(is)).saturating_sub(u64::from(was));
    }

    /// Notes where a person's rows are now.
    pub(super) fn place(&mut self, frame: &Frame, place: Place) {
        let list = self.lists.entry(frame.list.clone()).or_default();
        let unsettled = frame.rows.iter().any(|(state, _)| *state != State::Known);
        let old = if frame.rows.is_empty() {
            list.people.remove(&frame.person)
        } else {
            self.live_bytes += u64::from(place.len);
            self.people += 1;
            self.unsettled += usize::from(unsettled);
            list.people.insert(frame.person, Entry { place, unsettled })
        };
        if let Some(old) = old {
            self.live_bytes = self.live_bytes.saturating_sub(u64::from(old.place.len));
            self.people = self.people.saturating_sub(1);
            self.unsettled = self.unsettled.saturating_sub(usize::from(old.unsettled));
        }
    }

    /// Nothing is acknowledged any more.
    pub(super) fn doubt(&mut self) {
        let entries = self.lists.values_mut().flat_map(|list| list.people.values_mut());
        entries.for_each(|entry| entry.unsettled = true);
        self.unsettled = self.people;
    }

    /// The lists that a person is, or may be, in.
    pub(super) fn lists_of(&self, person: Key) -> impl Iterator<Item = &String> {
        self.lists.iter().filter(move |(_, list)| list.people.contains_key(&person)).map(|(name, _)| name)
    }

    /// The places of [`Book::entries`], in that order, have changed.
    pub(super) fn moved(&mut self, places: Vec<Place>) {
        let entries = self.lists.values_mut().flat_map(|list| list.people.values_mut());
        for (entry, place) in entries.zip(places) {
            entry.place = place;
        }
    }
}
