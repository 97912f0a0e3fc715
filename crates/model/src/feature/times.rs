//! When the steps of a funnel were: a few instants in a row, without memory of their own.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::feature::cell::bounded;
use crate::id::Timestamp;
use smallvec::SmallVec;

/// How many of the latest occurrences a step of a funnel keeps, per node and per profile.
pub const MAX_TIMES: usize = 16;
/// Most people are no more nodes than that.
const USUAL_CELLS: usize = 3;

/// The latest different instants of something, in microseconds, at most [`MAX_TIMES`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// Newest first.
    at: [i64; MAX_TIMES],
    len: usize,
}

impl Times {
    /// All of them, newest first.
    pub(crate) fn newest_first(&self) -> &[i64] {
        self.at.get(..self.len).unwrap_or_default()
    }

    /// Takes in the cell that the decoder stands before, and reads past it.
    pub(crate) fn add(&mut self, decoder: &mut Decoder<'_>) -> Result<(), DecodeError> {
        let count = bounded(decoder.count()?, MAX_TIMES)?;
        let mut at = 0_i64;
        for index in 0..count {
            at = if index == 0 { decoder.signed()? } else { at.saturating_sub_unsigned(decoder.varint()?) };
            self.insert(at);
        }
        Ok(())
    }

    fn insert(&mut self, at: i64) {
        let own = self.newest_first();
        // A cell holds them in order, so the first cell's all go to the end.
        let place = match own.last() {
            Some(last) if *last <= at => own.partition_point(|own| *own > at),
            _ => own.len(),
        };
        if own.get(place) == Some(&at) || place == MAX_TIMES {
            return;
        }
        self.len = (self.len + 1).min(MAX_TIMES);
        if let Some(behind) = self.at.get_mut(place..self.len) {
            behind.rotate_right(1);
        }
        if let Some(slot) = self.at.get_mut(place) {
            *slot = at;
        }
    }

    /// Appends the cell.
    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) {
        let own = self.newest_first();
        encoder.varint(own.len() as u64);
        let mut later = None;
        for at in own {
            match later {
                None => encoder.signed(*at),
                Some(later) => encoder.varint(at.abs_diff(later)),
            }
            later = Some(*at);
        }
    }
}

/// The same over the cells of several nodes, read only as far as somebody asks: nearly always the newest few decide.
///
/// Whoever asks goes back in time: no instant may be later than the one asked for before.
#[derive(Debug, Default)]
pub(crate) struct Latest<'a> {
    cells: SmallVec<[Unread<'a>; USUAL_CELLS]>,
    read: Times,
    /// As many of the newest lie behind what was asked for last.
    passed: usize,
}

/// What of a cell was not read yet.
#[derive(Debug)]
struct Unread<'a> {
    decoder: Decoder<'a>,
    next: Option<i64>,
    /// How many come behind the next.
    left: usize,
}

impl Unread<'_> {
    fn advance(&mut self) {
        let before = self.next.take();
        if let (Some(left), Some(before)) = (self.left.checked_sub(1), before) {
            self.left = left;
            self.next = self.decoder.varint().ok().map(|step| before.saturating_sub_unsigned(step));
        }
    }
}

impl<'a> Latest<'a> {
    /// Of these cells. What a damaged cell gave up to the damage stays: it counts as nothing from there on.
    pub(crate) fn of(cells: impl Iterator<Item = &'a [u8]>) -> Self {
        let unread = |cell| {
            let mut decoder = Decoder::new(cell);
            let count = bounded(decoder.count().ok()?, MAX_TIMES).ok()?;
            let left = count.checked_sub(1)?;
            let next = Some(decoder.signed().ok()?);
            Some(Unread { decoder, next, left })
        };
        Self { cells: cells.filter_map(unread).collect(), ..Self::default() }
    }

    /// The one that so many are newer than.
    pub(crate) fn get(&mut self, index: usize) -> Option<i64> {
        while self.read.len <= index {
            let newest = self.cells.iter().filter_map(|cell| cell.next).max()?;
            *self.read.at.get_mut(self.read.len)? = newest;
            self.read.len += 1;
            self.cells.iter_mut().filter(|cell| cell.next == Some(newest)).for_each(Unread::advance);
        }
        self.read.at.get(index).copied()
    }

    /// The earliest after an instant.
    pub(crate) fn earliest_after(&mut self, at: i64) -> Option<i64> {
        while self.get(self.passed).is_some_and(|own| own > at) {
            self.passed += 1;
        }
        self.get(self.passed.checked_sub(1)?)
    }

    /// Whether there is one from `start` to `end`, both included. Only `end` is what was asked for.
    pub(crate) fn any_within(&mut self, start: i64, end: i64) -> bool {
        while self.get(self.passed).is_some_and(|own| own > end) {
            self.passed += 1;
        }
        self.get(self.passed).is_some_and(|newest| newest >= start)
    }
}

/// The cell of times with one more that is later than all of them: everything behind the newest stays as it is. `false`
/// if it is not later, and then nothing was written.
pub(crate) fn push_time(cells: &[u8], at: Timestamp, out: &mut Vec<u8>) -> bool {
    let mut decoder = Decoder::new(cells);
    let Ok(count) = decoder.count() else { return false };
    let Ok(newest) = decoder.signed() else { return false };
    if newest >= at.0 || !(1..=MAX_TIMES).contains(&count) {
        return false;
    }
    let mut kept = decoder.rest();
    if count == MAX_TIMES {
        // Only the last byte of a number is below 0x80: what lies behind the last but one is the oldest time.
        let (_, earlier) = kept.split_last().unwrap_or((&0, &[]));
        let end = earlier.iter().rposition(|byte| *byte < 0x80).map_or(0, |last| last + 1);
        kept = kept.get(..end).unwrap_or_default();
    }
    let mut encoder = Encoder(out);
    encoder.varint((count + 1).min(MAX_TIMES) as u64);
    encoder.signed(at.0);
    encoder.varint(at.0.abs_diff(newest));
    encoder.0.extend_from_slice(kept);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::cell::single;
    use crate::feature::{Aggregation, Value};
    use proptest::prelude::*;

    /// The cell of some instants, made by merging one after the other.
    fn merged(instants: &[i64]) -> Vec<u8> {
        let mut times = Times::default();
        for at in instants {
            let mut one = Vec::new();
            assert!(single(Aggregation::Times, Timestamp(*at), &Value::Absent, &mut one));
            times.add(&mut Decoder::new(&one)).expect("a cell that was just made can be read");
        }
        let mut cell = Vec::new();
        times.encode(&mut Encoder(&mut cell));
        cell
    }

    proptest! {
        #[test]
        fn a_later_time_is_put_before_a_cell_as_merging_would(
            mut instants in prop::collection::vec(-1_000_000_i64..1_000_000_000_000, 1..40),
            at in -1_000_000_i64..2_000_000_000_000,
        ) {
            let cell = merged(&instants);
            let mut pushed = Vec::new();
            let is_later = instants.iter().all(|own| *own < at);
            prop_assert_eq!(push_time(&cell, Timestamp(at), &mut pushed), is_later);
            instants.push(at);
            if is_later {
                prop_assert_eq!(pushed, merged(&instants));
            } else {
                prop_assert!(pushed.is_empty());
            }
        }

        #[test]
        fn the_latest_few_different_times_are_kept(
            instants in prop::collection::vec(0_i64..60, 0..80),
        ) {
            let mut gathered = Times::default();
            for half in instants.chunks(7) {
                gathered.add(&mut Decoder::new(&merged(half))).expect("a cell that was just made can be read");
            }
            let mut expected: Vec<i64> = instants.clone();
            expected.sort_unstable_by(|one, other| other.cmp(one));
            expected.dedup();
            // Each half keeps its own latest, so that of all of them none is missing.
            expected.truncate(MAX_TIMES);
            prop_assert_eq!(gathered.newest_first(), expected.as_slice());
            let halves: Vec<Vec<u8>> = instants.chunks(7).map(merged).collect();
            let latest = || Latest::of(halves.iter().map(Vec::as_slice));
            let all: Vec<i64> = (0..).map_while({
                let mut latest = latest();
                move |index| latest.get(index)
            }).collect();
            prop_assert_eq!(&all, &expected);
            for within in 0..9 {
                let (mut after, mut any) = (latest(), latest());
                for at in (-1..61).rev() {
                    let first = expected.iter().rev().find(|own| **own > at).copied();
                    prop_assert_eq!(after.earliest_after(at), first);
                    let is_there = expected.iter().any(|own| (at..=at + within).contains(own));
                    prop_assert_eq!(any.any_within(at, at + within), is_there);
                }
            }
        }
    }
}
