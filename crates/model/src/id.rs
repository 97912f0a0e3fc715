//! Names for places, times and things.

use std::fmt;

/// The place of a record in its shard's log. Dense: the record after position 7 has position 8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// The place `count` records further on.
    pub fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The reign of one writer over a shard. A higher term deposes a lower one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// An instant: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This instant moved by a number of microseconds, which may be negative.
    pub fn plus_us(self, duration_us: i64) -> Self {
        Self(self.0.saturating_add(duration_us))
    }

    /// Microseconds from `earlier` to this instant; negative if it is not earlier.
    pub fn since_us(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A 128-bit row key. Uniformly distributed (a keyed hash or derived from one), so tables use its bits as they are.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u128);

impl Key {
    /// A key derived from this one and another, in that order. One way in practice: XXH3 over both.
    pub fn with(self, other: Self) -> Self {
        let mut bytes = [0_u8; 32];
        let (first, second) = bytes.split_at_mut(16);
        first.copy_from_slice(&self.0.to_le_bytes());
        second.copy_from_slice(&other.0.to_le_bytes());
        Self(xxhash_rust::xxh3::xxh3_128(&bytes))
    }

    /// A key for public, unprivileged text such as a product id: XXH3, not secret, stable for ever.
    pub fn of_text(domain: &str, text: &str) -> Self {
        let seed = xxhash_rust::xxh3::xxh3_64(domain.as_bytes());
        Self(xxhash_rust::xxh3::xxh3_128_with_seed(text.as_bytes(), seed))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// Writes a key as a public id: a prefix and 32 hexadecimal digits, e.g. `prf_00ff…`.
pub fn public_id(prefix: &str, key: Key) -> String {
    format!("{prefix}_{key}")
}

/// Reads a public id with the given prefix. `None` if it is not one.
pub fn parse_public_id(prefix: &str, text: &str) -> Option<Key> {
    let digits = text.strip_prefix(prefix)?.strip_prefix('_')?;
    let plain = digits.len() == 32
        && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if plain { u128::from_str_radix(digits, 16).ok().map(Key) } else { None }
}

/// The identity of an effect: the record that caused it and its place among that record's effects. It is the same on
/// every replay, so a receiver can drop repeats by it. Shown as `eff_POSITION_ORDINAL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectId {
    /// The record that caused the effect.
    pub position: Position,
    /// 0 for the first effect of that record.
    pub ordinal: u32,
}

impl fmt::Display for EffectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "eff_{}_{}", self.position, self.ordinal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_ids_read_back_and_nothing_else_does() {
        let key = Key(0xDEAD_BEEF);
        let id = public_id("prf", key);
        assert_eq!(parse_public_id("prf", &id), Some(key));
        for bad in [
            "",
            "prf_",
            "prf_12",
            "ord_000000000000000000000000deadbeef",
            "prf_+00000000000000000000000deadbeef",
        ] {
            assert_eq!(parse_public_id("prf", bad), None, "{bad}");
        }
    }
}
