//! What operators say about the line: its currency, its windows, and what counts as scrap.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::id::Timestamp;
use crate::line::reckon::open_from;
use std::sync::Arc;
use thiserror::Error;

const HOUR_US: i64 = 3_600 * 1_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// The longest window.
pub const MAX_LINE_WINDOW_US: i64 = 30 * DAY_US;
/// The most rates, all currencies and days together.
pub const MAX_RATES: usize = 20_000;
/// The most former settings that are remembered; beyond them the oldest count as their successors say.
pub const MAX_FORMER: usize = 64;
/// One unit, in the unit that rates are kept in.
pub const NANO: i64 = 1_000_000_000;

/// Settings that cannot be meant. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LineError {
    /// A window is out of bounds.
    #[error("{field} must be between 0 and 30 days, in microseconds: send a number in that range")]
    Window {
        /// Its name.
        field: &'static str,
    },
    /// The cap is zero.
    #[error("frequency_cap must be at least 1: send how many impressions of a campaign somebody may see")]
    Cap,
    /// There are too many rates.
    #[error("more than {MAX_RATES} rates: send fewer days or fewer currencies")]
    TooManyRates,
    /// A rate cannot be meant.
    #[error(
        "a rate must be above zero and at most 1,000,000: send units of the line's currency for one unit"
    )]
    Rate,
}

/// What one unit of a currency was worth in the line's currency from a day on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate {
    /// ISO 4217.
    pub currency: [u8; 3],
    /// The first day, in days since 1970, UTC.
    pub day: i32,
    /// Units of the line's currency for one unit, in billionths.
    pub nano: i64,
}

/// Everything. Without a currency the line is off and costs nothing.
///
/// Windows, the cap and what counts hold for what happened from their instant on; what happened before counts as the former
/// settings say, whenever it arrives ([`LineSettings::at`]). So a change restates nothing and no hour mixes two rules for
/// one event. Rates hold for amounts that arrive from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineSettings {
    /// Grows with every change.
    pub version: u32,
    /// Since when they hold, in log time. Of the first that switched the line on: always.
    pub since: Timestamp,
    /// Those before, oldest first, as far as figures are open; without rates, and without former ones of their own.
    pub former: Arc<Vec<Self>>,
    /// What everything is reported in, ISO 4217. `None`: the line is off.
    pub currency: Option<[u8; 3]>,
    /// How long after a view (impression, opened mail) an order is its doing.
    pub view_window_us: i64,
    /// How long after a click, or a session where those count.
    pub click_window_us: i64,
    /// Impressions of one campaign that somebody may see within [`LineSettings::cap_window_us`]. Those that name no
    /// campaign are one together.
    pub frequency_cap: u32,
    /// See [`LineSettings::frequency_cap`]. An impression this long ago, to the microsecond, is out of it.
    pub cap_window_us: i64,
    /// An impression of a campaign that was shown to the same person under another identifier this long before, or
    /// less, is one too many.
    pub duplicate_window_us: i64,
    /// How long after a purchase nobody can be expected to have stopped.
    pub grace_us: i64,
    /// Sessions count as attention: half hours in which somebody did something in a browser or an app.
    pub sessions: bool,
    /// The category of consent that advertising needs.
    pub consent_category: Box<str>,
    /// Sorted by currency and day.
    pub rates: Arc<Vec<Rate>>,
}

impl Default for LineSettings {
    fn default() -> Self {
        Self {
            version: 0,
            since: Timestamp(i64::MIN),
            former: Arc::default(),
            currency: None,
            view_window_us: DAY_US,
            click_window_us: 7 * DAY_US,
            frequency_cap: 10,
            cap_window_us: DAY_US,
            duplicate_window_us: DAY_US,
            grace_us: 0,
            sessions: false,
            consent_category: "Advertising".into(),
            rates: Arc::default(),
        }
    }
}

impl LineSettings {
    /// Whether anything is measured.
    pub fn is_on(&self) -> bool {
        self.currency.is_some()
    }

    /// What held at an instant.
    pub fn at(&self, at: Timestamp) -> &Self {
        if at >= self.since {
            return self;
        }
        let held = self.former.iter().rev().find(|former| at >= former.since);
        held.or_else(|| self.former.first()).unwrap_or(self)
    }

    /// Makes these the successors of others at log time `now`.
    pub fn succeed(&mut self, before: &Self, now: Timestamp) {
        self.version = before.version.saturating_add(1);
        self.since = if before.is_on() { before.since } else { Timestamp(i64::MIN) };
        self.former = Arc::default();
        if !self.is_on() || !before.is_on() {
            return;
        }
        self.former = Arc::clone(&before.former);
        if self.same_rules(before) {
            return;
        }
        let former = Arc::make_mut(&mut self.former);
        former.push(Self { rates: Arc::default(), former: Arc::default(), ..before.clone() });
        self.since = now;
        // Of those that ended before anything that is still looked at, one says as much as all.
        let (_, context) = open_from(now, self);
        let former = Arc::make_mut(&mut self.former);
        let over = former.iter().filter(|one| one.since <= context).count().saturating_sub(1);
        let surplus = former.len().saturating_sub(MAX_FORMER);
        former.drain(..over.max(surplus));
    }

    /// Whether nothing but rates differs.
    fn same_rules(&self, other: &Self) -> bool {
        let bare = |own: &Self| Self {
            version: 0,
            since: Timestamp(0),
            former: Arc::default(),
            rates: Arc::default(),
            ..own.clone()
        };
        bare(self) == bare(other)
    }

    /// The widest window that anything open may look back over.
    pub(crate) fn widest_us(&self) -> i64 {
        let windows = |own: &Self| {
            own.click_window_us.max(own.view_window_us).max(own.cap_window_us).max(own.duplicate_window_us)
        };
        self.former.iter().map(windows).fold(windows(self), i64::max)
    }

    /// Whether the settings can be meant. `rates` must be sorted.
    pub fn check(&self) -> Result<(), LineError> {
        for (field, value) in [
            ("view_window_us", self.view_window_us),
            ("click_window_us", self.click_window_us),
            ("cap_window_us", self.cap_window_us),
            ("duplicate_window_us", self.duplicate_window_us),
            ("grace_us", self.grace_us),
        ] {
            if !(0..=MAX_LINE_WINDOW_US).contains(&value) {
                return Err(LineError::Window { field });
            }
        }
        if self.frequency_cap == 0 {
            return Err(LineError::Cap);
        }
        if self.rates.len() > MAX_RATES {
            return Err(LineError::TooManyRates);
        }
        if self.rates.iter().any(|rate| !(1..=1_000_000 * NANO).contains(&rate.nano)) {
            return Err(LineError::Rate);
        }
        Ok(())
    }

    /// An amount in micro-units of the line's currency, by the rate of its day or else the last one before it, rounded
    /// half away from zero. `None` where there is none: an amount that cannot be converted is an error, not zero.
    pub fn convert(&self, micro: i64, currency: [u8; 3], at: Timestamp) -> Option<i64> {
        if self.currency? == currency {
            return Some(micro);
        }
        let day = i32::try_from(at.0.div_euclid(DAY_US)).ok()?;
        let behind = self.rates.partition_point(|rate| (rate.currency, rate.day) <= (currency, day));
        let rate = self.rates.get(behind.checked_sub(1)?).filter(|rate| rate.currency == currency)?;
        let product = i128::from(micro) * i128::from(rate.nano);
        let half = i128::from(NANO / 2) * product.signum();
        i64::try_from((product + half) / i128::from(NANO)).ok()
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        self.encode_own(encoder);
        encoder.varint(self.former.len() as u64);
        self.former.iter().for_each(|former| former.encode_own(encoder));
    }

    /// Reads the stored form.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut settings = Self::decode_own(decoder)?;
        let mut former = Vec::new();
        for _ in 0..decoder.count()? {
            former.push(Self::decode_own(decoder)?);
        }
        settings.former = Arc::new(former);
        Ok(settings)
    }

    fn encode_own(&self, encoder: &mut Encoder<'_>) {
        encoder.u32(self.version);
        encoder.signed(self.since.0);
        encoder.0.extend_from_slice(&self.currency.unwrap_or_default());
        for window in [
            self.view_window_us,
            self.click_window_us,
            self.cap_window_us,
            self.duplicate_window_us,
            self.grace_us,
        ] {
            encoder.signed(window);
        }
        encoder.u32(self.frequency_cap);
        encoder.bool(self.sessions);
        encoder.text(&self.consent_category);
        encoder.varint(self.rates.len() as u64);
        for rate in self.rates.iter() {
            encoder.0.extend_from_slice(&rate.currency);
            encoder.signed(i64::from(rate.day));
            encoder.signed(rate.nano);
        }
    }

    fn decode_own(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let version = decoder.u32()?;
        let since = Timestamp(decoder.signed()?);
        let currency = Some(code(decoder)?).filter(|code| *code != [0; 3]);
        let mut windows = [0; 5];
        for window in &mut windows {
            *window = decoder.signed()?;
        }
        let [view_window_us, click_window_us, cap_window_us, duplicate_window_us, grace_us] = windows;
        let frequency_cap = decoder.u32()?;
        let sessions = decoder.bool()?;
        let consent_category = decoder.text()?.into();
        let mut rates = Vec::new();
        for _ in 0..decoder.count()? {
            let currency = code(decoder)?;
            let day = i32::try_from(decoder.signed()?).map_err(|_| DecodeError::Overlong)?;
            rates.push(Rate { currency, day, nano: decoder.signed()? });
        }
        let rates = Arc::new(rates);
        Ok(Self {
            version,
            since,
            former: Arc::default(),
            currency,
            view_window_us,
            click_window_us,
            frequency_cap,
            cap_window_us,
            duplicate_window_us,
            grace_us,
            sessions,
            consent_category,
            rates,
        })
    }
}

fn code(decoder: &mut Decoder<'_>) -> Result<[u8; 3], DecodeError> {
    let mut code = [0; 3];
    code.copy_from_slice(decoder.take(3)?);
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_converted_by_the_rate_of_their_day() {
        let rate = |currency: &[u8; 3], day, nano| Rate { currency: *currency, day, nano };
        let rates = vec![
            rate(b"GBP", 10, 1_200_000_000),
            rate(b"GBP", 12, 1_250_000_000),
            rate(b"JPY", 11, 6_000_000),
        ];
        let settings =
            LineSettings { currency: Some(*b"EUR"), rates: Arc::new(rates), ..LineSettings::default() };
        let table: &[(i64, &[u8; 3], i64, Option<i64>)] = &[
            (5, b"EUR", 0, Some(5)),
            (1_000_000, b"GBP", 9, None),
            (1_000_000, b"GBP", 10, Some(1_200_000)),
            (1_000_000, b"GBP", 11, Some(1_200_000)),
            (-1_000_000, b"GBP", 12, Some(-1_250_000)),
            (250, b"JPY", 11, Some(2)),
            (-250, b"JPY", 400, Some(-2)),
            (1_000_000, b"USD", 400, None),
            (1_000_000, b"XXX", 400, None),
        ];
        for (micro, currency, day, expected) in table {
            let at = Timestamp(day * DAY_US + 3);
            assert_eq!(settings.convert(*micro, **currency, at), *expected, "{micro} {currency:?} {day}");
        }
        let mut bytes = Vec::new();
        settings.encode(&mut Encoder(&mut bytes));
        assert_eq!(LineSettings::decode(&mut Decoder::new(&bytes)).unwrap(), settings);
        assert!(LineSettings::default().convert(1, *b"EUR", Timestamp(0)).is_none(), "the line is off");
    }

    #[test]
    fn settings_hold_from_their_instant_on() {
        let capped =
            |frequency_cap, currency| LineSettings { frequency_cap, currency, ..LineSettings::default() };
        let (on, off) = (Some(*b"EUR"), None);
        // What is set on which day; then: the cap that holds at the ends of days 0, 1, 2, and so on.
        type Row<'a> = (&'a [(i64, u32, Option<[u8; 3]>)], &'a [u32]);
        let table: [Row<'_>; 6] = [
            // The first hold for what happened before them as well.
            (&[(1, 5, on)], &[5, 5]),
            (&[(1, 5, on), (2, 6, on), (3, 7, on)], &[5, 5, 6, 7, 7]),
            // Nothing but rates: the same settings go on.
            (&[(1, 5, on), (2, 5, on)], &[5, 5, 5]),
            (&[(1, 5, on), (2, 6, on), (3, 5, on)], &[5, 5, 6, 5]),
            // While it was off nothing was measured, and what is late counts as is said now.
            (&[(1, 5, on), (2, 6, off), (3, 7, on)], &[7, 7, 7, 7]),
            // Long ago: what nothing looks back to any more is forgotten.
            (&[(1, 5, on), (2, 6, on), (60, 7, on), (90, 8, on)], &[7, 7, 7]),
        ];
        for (changes, expected) in table {
            let mut settings = LineSettings::default();
            for (day, cap, currency) in changes {
                let before = std::mem::replace(&mut settings, capped(*cap, *currency));
                Arc::make_mut(&mut settings.rates).push(Rate {
                    currency: *b"USD",
                    day: *day as i32,
                    nano: NANO,
                });
                settings.succeed(&before, Timestamp(*day * DAY_US));
            }
            let held = |day: usize| settings.at(Timestamp((day as i64 + 1) * DAY_US - 1)).frequency_cap;
            let all: Vec<u32> = (0..expected.len()).map(held).collect();
            assert_eq!(all, expected, "{changes:?}");
            assert_eq!(settings.version as usize, changes.len());
            assert!(
                settings.rates.len() == 1 && settings.former.iter().all(|former| former.rates.is_empty())
            );
            let mut bytes = Vec::new();
            settings.encode(&mut Encoder(&mut bytes));
            assert_eq!(LineSettings::decode(&mut Decoder::new(&bytes)).unwrap(), settings);
        }
        let mut many = capped(1, on);
        for change in 0..200 {
            let before = std::mem::replace(&mut many, capped(change + 2, on));
            many.succeed(&before, Timestamp(100 * DAY_US + i64::from(change)));
            assert!(many.former.len() <= MAX_FORMER);
        }
        assert_eq!(many.at(Timestamp(100 * DAY_US + 198)).frequency_cap, 200);
        assert_eq!(many.at(Timestamp(0)).frequency_cap, 201 - MAX_FORMER as u32);
    }
}
