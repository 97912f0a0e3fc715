//! When the steps of a funnel were: a few instants in a row, without memory of their own.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::feature::cell::bounded;
use crate::id::Timestamp;

/// How many of the latest occurrences a step of a funnel keeps, per node and per profile.
pub const MAX_TIMES: usize = 16;

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

    /// The earliest after an instant.
    pub(crate) fn earliest_after(&self, at: i64) -> Option<i64> {
        let own = self.newest_first();
        let later = own.partition_point(|own| *own > at);
        own.get(later.checked_sub(1)?).copied()
    }

    /// Whether there is one from `start` to `end`, both included.
    pub(crate) fn any_within(&self, start: i64, end: i64) -> bool {
        let own = self.newest_first();
        own.get(own.partition_point(|own| *own > end)).is_some_and(|newest| *newest >= start)
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
            for at in -1..61 {
                let after = expected.iter().rev().find(|own| **own > at).copied();
                prop_assert_eq!(gathered.earliest_after(at), after);
                for end in at..61 {
                    let any = expected.iter().any(|own| (at..=end).contains(own));
                    prop_assert_eq!(gathered.any_within(at, end), any);
                }
            }
        }
    }
}
