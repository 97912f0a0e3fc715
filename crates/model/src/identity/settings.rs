//! What an operator can say about identifier types.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::event::IdentifierKind;
use thiserror::Error;

/// The most types that settings may name.
pub const MAX_KIND_RULES: usize = 64;
/// The longest name of a type, in bytes.
const MAX_KIND_NAME_BYTES: usize = 64;
/// The number of the type without which nobody can be looked up.
const USER_ID: u8 = IdentifierKind::USER_ID.0;
const DAY_US: i64 = 24 * 3_600 * 1_000_000;

/// Settings that cannot be meant. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// A field is outside its range.
    #[error("{field} must be between {least} and {most}: send a value in that range")]
    Range {
        /// The field.
        field: &'static str,
        /// Its least value.
        least: u64,
        /// Its greatest value.
        most: u64,
    },
    /// Two rules for one type.
    #[error("identifier type {0} has two rules: send one")]
    Twice(u8),
    /// Two types of one name.
    #[error("identifier types {0} and {1} have the same name: give each its own")]
    SameName(u8, u8),
    /// No rule for user ids.
    #[error("kinds has no rule for type {USER_ID}, user_id: send the rules of all types, user_id among them")]
    NoUserId,
}

/// Over which time a cap counts: ids first seen within the last week, month or year, or ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CapWindow {
    /// All ids.
    Ever = 0,
    /// 365 days.
    Year = 1,
    /// 30 days.
    Month = 2,
    /// 7 days.
    Week = 3,
}

impl CapWindow {
    fn from_u8(value: u8) -> Result<Self, DecodeError> {
        Ok(match value {
            0 => Self::Ever,
            1 => Self::Year,
            2 => Self::Month,
            3 => Self::Week,
            other => return Err(DecodeError::Unknown(u64::from(other))),
        })
    }

    /// Its length; `None` for ever.
    pub fn length_us(self) -> Option<i64> {
        match self {
            Self::Ever => None,
            Self::Year => Some(365 * DAY_US),
            Self::Month => Some(30 * DAY_US),
            Self::Week => Some(7 * DAY_US),
        }
    }
}

/// The rule for one type of identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindRule {
    /// The type's number.
    pub kind: u8,
    /// Its name on the wire.
    pub name: String,
    /// 1 is the most important.
    pub priority: u8,
    /// How many ids of this type one person may have.
    pub cap: u16,
    /// Over which time.
    pub window: CapWindow,
    /// Two people with different ids of this type are never one person.
    pub unique: bool,
}

/// The identity rules that an operator can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySettings {
    /// Grows with every change.
    pub version: u32,
    /// One rule per type, by type number.
    pub kinds: Vec<KindRule>,
    /// How many ids of a unique type a server may join by `alias`.
    pub alias_cap: u16,
    /// A device is shared from this many distinct takers on.
    pub shared_takers: u8,
    /// Takers count for this long.
    pub shared_window_us: i64,
    /// A profile with more ids than this raises an alert.
    pub soft_cap: u16,
    fallback: KindRule,
}

impl Default for IdentitySettings {
    fn default() -> Self {
        let rule = |kind: IdentifierKind, name: &str, priority, cap, unique| KindRule {
            kind: kind.0,
            name: name.to_owned(),
            priority,
            cap,
            window: CapWindow::Ever,
            unique,
        };
        Self {
            version: 0,
            kinds: vec![
                rule(IdentifierKind::USER_ID, "user_id", 1, 1, true),
                rule(IdentifierKind::EMAIL, "email", 2, 5, false),
                rule(IdentifierKind::PHONE, "phone", 3, 5, false),
                rule(IdentifierKind::ANONYMOUS_ID, "anonymous_id", 250, 500, false),
                rule(IdentifierKind::DEVICE_ID, "device_id", 251, 500, false),
            ],
            alias_cap: 5,
            shared_takers: 3,
            shared_window_us: 30 * DAY_US,
            soft_cap: 50,
            fallback: fallback(),
        }
    }
}

fn fallback() -> KindRule {
    KindRule { kind: 0, name: String::new(), priority: 100, cap: 5, window: CapWindow::Ever, unique: false }
}

impl IdentitySettings {
    /// The rule for a type. A type without one has priority 100 and a cap of 5.
    pub fn rule(&self, kind: u8) -> &KindRule {
        self.kinds.iter().find(|rule| rule.kind == kind).unwrap_or(&self.fallback)
    }

    /// Whether the settings can be meant.
    pub fn check(&self) -> Result<(), SettingsError> {
        let within = |field, value: u64, least, most| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(SettingsError::Range { field, least, most })
            }
        };
        within("kinds", self.kinds.len() as u64, 1, MAX_KIND_RULES as u64)?;
        if self.kinds.iter().all(|rule| rule.kind != USER_ID) {
            return Err(SettingsError::NoUserId);
        }
        within("alias_cap", u64::from(self.alias_cap), 1, 100)?;
        within("shared_takers", u64::from(self.shared_takers), 2, super::MAX_TAKERS as u64)?;
        // A negative length is as little meant as none.
        let window_us = u64::try_from(self.shared_window_us).unwrap_or(0);
        within("shared_window_us", window_us, 1, 400 * DAY_US.unsigned_abs())?;
        within("soft_cap", u64::from(self.soft_cap), 1, super::MAX_MEMBERS as u64)?;
        for (index, rule) in self.kinds.iter().enumerate() {
            within("cap", u64::from(rule.cap), 1, super::MAX_MEMBERS as u64)?;
            within("name", rule.name.len() as u64, 1, MAX_KIND_NAME_BYTES as u64)?;
            if self.kinds.iter().skip(index + 1).any(|other| other.kind == rule.kind) {
                return Err(SettingsError::Twice(rule.kind));
            }
            if let Some(other) = self.kinds.iter().skip(index + 1).find(|other| other.name == rule.name) {
                return Err(SettingsError::SameName(rule.kind, other.kind));
            }
        }
        Ok(())
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.u32(self.version);
        encoder.varint(self.kinds.len() as u64);
        for rule in &self.kinds {
            encoder.u8(rule.kind);
            encoder.text(&rule.name);
            encoder.u8(rule.priority);
            encoder.u16(rule.cap);
            encoder.u8(rule.window as u8);
            encoder.bool(rule.unique);
        }
        encoder.u16(self.alias_cap);
        encoder.u8(self.shared_takers);
        encoder.i64(self.shared_window_us);
        encoder.u16(self.soft_cap);
    }

    /// Reads the stored form.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let version = decoder.u32()?;
        let mut kinds = Vec::new();
        for _ in 0..decoder.count()? {
            kinds.push(KindRule {
                kind: decoder.u8()?,
                name: decoder.text()?.to_owned(),
                priority: decoder.u8()?,
                cap: decoder.u16()?,
                window: CapWindow::from_u8(decoder.u8()?)?,
                unique: decoder.bool()?,
            });
        }
        Ok(Self {
            version,
            kinds,
            alias_cap: decoder.u16()?,
            shared_takers: decoder.u8()?,
            shared_window_us: decoder.i64()?,
            soft_cap: decoder.u16()?,
            fallback: fallback(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_read_back_and_nonsense_is_named() {
        let settings = IdentitySettings::default();
        assert_eq!(settings.check(), Ok(()));
        let mut bytes = Vec::new();
        settings.encode(&mut Encoder(&mut bytes));
        assert_eq!(IdentitySettings::decode(&mut Decoder::new(&bytes)), Ok(settings.clone()));
        let mut twice = settings.clone();
        twice.kinds.push(twice.kinds[0].clone());
        assert_eq!(twice.check(), Err(SettingsError::Twice(1)));
        let mut same = settings.clone();
        same.kinds[1].name = "user_id".to_owned();
        assert_eq!(same.check(), Err(SettingsError::SameName(1, same.kinds[1].kind)));
        let mut nobody = settings.clone();
        nobody.kinds.remove(0);
        assert_eq!(nobody.check(), Err(SettingsError::NoUserId));
        let out_of_range = |change: fn(&mut IdentitySettings), expected| {
            let mut changed = settings.clone();
            change(&mut changed);
            let error = changed.check();
            assert!(
                matches!(error, Err(SettingsError::Range { field, .. }) if field == expected),
                "{error:?}"
            );
        };
        out_of_range(|changed| changed.shared_takers = 1, "shared_takers");
        out_of_range(|changed| changed.kinds.clear(), "kinds");
        for window_us in [-DAY_US, i64::MIN, 0, 401 * DAY_US] {
            let changed = IdentitySettings { shared_window_us: window_us, ..settings.clone() };
            let error = changed.check();
            assert!(
                matches!(error, Err(SettingsError::Range { field: "shared_window_us", .. })),
                "{window_us}: {error:?}"
            );
        }
    }
}
