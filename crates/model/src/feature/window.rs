//! Sliding windows, in granules.

use crate::event::MAX_AGE_US;
use crate::id::Timestamp;

const MINUTE_US: i64 = 60 * 1_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;

/// The shortest window.
pub const MIN_WINDOW_US: i64 = MINUTE_US;
/// The longest window: events are not placed further back than this.
pub const MAX_WINDOW_US: i64 = MAX_AGE_US;
/// The granules that windows are made of.
pub const GRANULES_US: [i64; 18] = [
    MINUTE_US,
    2 * MINUTE_US,
    5 * MINUTE_US,
    10 * MINUTE_US,
    15 * MINUTE_US,
    30 * MINUTE_US,
    HOUR_US,
    2 * HOUR_US,
    3 * HOUR_US,
    6 * HOUR_US,
    12 * HOUR_US,
    DAY_US,
    2 * DAY_US,
    3 * DAY_US,
    5 * DAY_US,
    7 * DAY_US,
    10 * DAY_US,
    14 * DAY_US,
];
/// A window has at most this many granules where one of [`GRANULES_US`] allows it.
const WANTED_GRANULES: i64 = 32;
/// A window never has more granules than this.
pub const MAX_GRANULES: i64 = 128;

/// A sliding window. An event at `at` counts at log time `now` exactly if
/// `floor(at / granule) >= floor(now / granule) - granules`: so everything of the window's length counts, and at most
/// one granule more. Events dated ahead of `now` count at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// The length of a granule in minutes, one of [`GRANULES_US`]. Granules begin at multiples of it since 1970, in
    /// UTC.
    pub granule_minutes: u32,
    /// How many granules make the window.
    pub granules: i64,
}

impl Window {
    /// The window of a length: the finest granule that divides it into at most 32 parts, or else at most 128. `None`
    /// if the length is out of bounds or no granule divides it.
    pub fn of_length(length_us: i64) -> Option<Self> {
        if !(MIN_WINDOW_US..=MAX_WINDOW_US).contains(&length_us) {
            return None;
        }
        let parts = |most: i64| {
            let granule_us = GRANULES_US
                .into_iter()
                .find(|granule| length_us % granule == 0 && length_us / granule <= most)?;
            let granule_minutes = u32::try_from(granule_us / MINUTE_US).ok()?;
            Some(Self { granule_minutes, granules: length_us / granule_us })
        };
        parts(WANTED_GRANULES).or_else(|| parts(MAX_GRANULES))
    }

    /// The length of a granule in microseconds.
    pub fn granule_us(self) -> i64 {
        i64::from(self.granule_minutes.max(1)) * MINUTE_US
    }

    /// The length in microseconds.
    pub fn length_us(self) -> i64 {
        self.granule_us().saturating_mul(self.granules)
    }

    /// The granule that an instant lies in.
    pub fn granule(self, at: Timestamp) -> i64 {
        // A division by a constant is a multiplication, and one of 32 bits takes a fraction of one of 64.
        let minutes = at.0.div_euclid(MINUTE_US);
        match u32::try_from(minutes) {
            Ok(minutes) => i64::from(minutes / self.granule_minutes.max(1)),
            Err(_) => minutes.div_euclid(i64::from(self.granule_minutes.max(1))),
        }
    }

    /// The oldest granule that counts at `now`.
    pub fn oldest(self, now: Timestamp) -> i64 {
        self.granule(now).saturating_sub(self.granules)
    }

    /// Whether an event at `at` is over at `now`.
    pub fn is_over(self, at: Timestamp, now: Timestamp) -> bool {
        // Nearly every event is younger than the window is long: then no granule has to be found.
        now.since_us(at) > self.length_us() && self.granule(at) < self.oldest(now)
    }

    /// The instant at which a granule stops counting.
    pub fn end_of(self, granule: i64) -> Timestamp {
        let leaves = granule.saturating_add(self.granules).saturating_add(1);
        Timestamp(leaves.saturating_mul(self.granule_us()))
    }
}

/// Reads a length of time: a whole number and a unit (`s`, `m`, `h`, `d`, `w`), or several of them (`1d12h`).
pub fn length_us(text: &str) -> Option<i64> {
    let (mut total, mut number, mut digits) = (0_i64, 0_i64, 0);
    for byte in text.bytes() {
        if byte.is_ascii_digit() {
            number = number.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
            digits += 1;
            continue;
        }
        let unit = match byte {
            b's' => 1_000_000,
            b'm' => MINUTE_US,
            b'h' => HOUR_US,
            b'd' => DAY_US,
            b'w' => 7 * DAY_US,
            _ => return None,
        };
        if digits == 0 {
            return None;
        }
        total = total.checked_add(number.checked_mul(unit)?)?;
        (number, digits) = (0, 0);
    }
    if digits == 0 && !text.is_empty() { Some(total) } else { None }
}

/// Writes a length of time the way [`length_us`] reads it, in the largest unit that divides it.
pub fn length_text(length_us: i64) -> String {
    for (unit, letter) in [(DAY_US, 'd'), (HOUR_US, 'h'), (MINUTE_US, 'm')] {
        if length_us % unit == 0 && length_us != 0 {
            return format!("{}{letter}", length_us / unit);
        }
    }
    format!("{}s", length_us / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_and_granules() {
        let table: &[(&str, Option<(i64, i64)>)] = &[
            ("1m", Some((MINUTE_US, 1))),
            ("30m", Some((MINUTE_US, 30))),
            ("1h", Some((2 * MINUTE_US, 30))),
            ("24h", Some((HOUR_US, 24))),
            ("7d", Some((6 * HOUR_US, 28))),
            ("1w", Some((6 * HOUR_US, 28))),
            ("30d", Some((DAY_US, 30))),
            ("90d", Some((3 * DAY_US, 30))),
            ("97d", Some((DAY_US, 97))),
            ("365d", Some((5 * DAY_US, 73))),
            ("400d", Some((5 * DAY_US, 80))),
            ("1d12h", Some((2 * HOUR_US, 18))),
            ("131d", None),
            ("401d", None),
            ("59s", None),
            ("0d", None),
            ("61s", None),
        ];
        for (text, expected) in table {
            let window = Window::of_length(length_us(text).unwrap());
            assert_eq!(window.map(|one| (one.granule_us(), one.granules)), *expected, "{text}");
        }
        for bad in ["", "7", "d", "7x", "-7d", "7 d", "1.5d", "99999999999999d"] {
            assert_eq!(length_us(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_window_holds_its_length_and_at_most_a_granule_more(
            minutes in 1_i64..576_000, now in -9_000_000_000_000_000_i64..9_000_000_000_000_000, back in 0_i64..600 * DAY_US,
        ) {
            let Some(window) = Window::of_length(minutes * MINUTE_US) else { return Ok(()) };
            prop_assert_eq!(window.length_us(), minutes * MINUTE_US);
            prop_assert!(window.granules <= MAX_GRANULES);
            let counts = |at: i64| !window.is_over(Timestamp(at), Timestamp(now));
            let plain = (now - back).div_euclid(window.granule_us());
            prop_assert_eq!(window.granule(Timestamp(now - back)), plain);
            prop_assert_eq!(counts(now - back), plain >= now.div_euclid(window.granule_us()) - window.granules);
            if back <= window.length_us() {
                prop_assert!(counts(now - back));
            }
            if back > window.length_us() + window.granule_us() {
                prop_assert!(!counts(now - back));
            }
            let end = window.end_of(window.granule(Timestamp(now)));
            prop_assert!(window.oldest(end) > window.granule(Timestamp(now)));
            prop_assert!(window.oldest(end.plus_us(-1)) <= window.granule(Timestamp(now)));
            prop_assert_eq!(length_us(&length_text(window.length_us())), Some(window.length_us()));
        }
    }
}
