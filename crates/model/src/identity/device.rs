//! A device in somebody's hand: whose session it carries now, and whether too many people use it.

use super::IdentitySettings;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::id::{Key, Timestamp};

/// The most takers that a device remembers.
pub const MAX_TAKERS: usize = 8;

/// Somebody who identified on a device that was not theirs at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taker {
    /// The person identifier they identified with.
    pub anchor: Key,
    /// Log time of the last time.
    pub at: Timestamp,
}

/// What is known of a device besides its first session. A device that nobody has taken has none of this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The session node that it carries now.
    pub current: Key,
    /// Distinct takers, by time.
    pub takers: Vec<Taker>,
    /// Enough people took it within the window: from here on it unites nobody.
    pub shared: bool,
    /// It carried another session than its first at some time.
    pub handed_over: bool,
}

impl Device {
    /// A device that carries its own first session.
    pub fn new(current: Key) -> Self {
        Self { current, takers: Vec::new(), shared: false, handed_over: false }
    }

    /// Notes that somebody identified on it while it carried somebody else's session or nobody's.
    pub fn taken_by(&mut self, anchor: Key, now: Timestamp, settings: &IdentitySettings) {
        let since = now.plus_us(settings.shared_window_us.saturating_neg());
        self.takers.retain(|taker| taker.anchor != anchor && taker.at > since);
        if self.takers.len() >= MAX_TAKERS {
            self.takers.remove(0);
        }
        self.takers.push(Taker { anchor, at: now });
        self.shared |= self.takers.len() >= usize::from(settings.shared_takers);
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.u128(self.current.0);
        encoder.bool(self.shared);
        encoder.bool(self.handed_over);
        encoder.varint(self.takers.len() as u64);
        for taker in &self.takers {
            encoder.u128(taker.anchor.0);
            encoder.i64(taker.at.0);
        }
    }

    /// Reads the stored form.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let current = Key(decoder.u128()?);
        let shared = decoder.bool()?;
        let handed_over = decoder.bool()?;
        let mut takers = Vec::new();
        for _ in 0..decoder.count()? {
            takers.push(Taker { anchor: Key(decoder.u128()?), at: Timestamp(decoder.i64()?) });
        }
        Ok(Self { current, takers, shared, handed_over })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_shared_by_distinct_takers_within_the_window_only() {
        let settings = IdentitySettings::default();
        let window = settings.shared_window_us;
        let cases: [(&[(u128, i64)], bool); 4] = [
            (&[(1, 0), (2, 1)], false),
            (&[(1, 0), (2, 1), (1, 2), (2, 3)], false),
            (&[(1, 0), (2, 1), (3, 2)], true),
            (&[(1, 0), (2, window), (3, window + 1)], false),
        ];
        for (takes, shared) in cases {
            let mut device = Device::new(Key(9));
            for (anchor, at) in takes {
                device.taken_by(Key(*anchor), Timestamp(*at), &settings);
            }
            assert_eq!(device.shared, shared, "{takes:?}");
        }
    }
}
