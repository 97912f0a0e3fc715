//! What a write key may send. The machine only keeps it: the door applies it before anything reaches the log.

use crate::command::CommandError;
use crate::settings::{MAX_TEXT_BYTES, Settings};
use model::codec::{DecodeError, Decoder, Encoder};
use std::sync::Arc;

/// The most origins, and the most event names, of one key.
pub const MAX_LISTED: usize = 1_000;
/// Bytes that the rules of all keys may take together: every change of a setting copies what is short of them.
const MAX_RULES_BYTES: usize = 8 * 1024 * 1024;

/// The rules of one write key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRules {
    /// The number of the write key.
    pub number: u32,
    /// The version of the settings that brought them. Set by the machine.
    pub version: u32,
    /// Origins of the pages that may send with it; empty: all.
    pub origins: Vec<String>,
    /// Names of the track events that it may send; empty: all.
    pub events: Vec<String>,
    /// Events that may come every second in the long run, and at once.
    pub rate: Option<(u32, u32)>,
    /// The tracking plan, as it was given; empty: none. Whoever sets it has checked that the door can read it.
    pub plan: Arc<str>,
}

impl KeyRules {
    /// Replaces the rules of a key; rules that allow everything are no rules.
    pub(crate) fn set(mut self, settings: &mut Settings) -> Result<(), CommandError> {
        if !settings.write_keys.iter().any(|key| key.number == self.number) {
            return Err(CommandError::Unknown("write key".to_owned()));
        }
        for (field, texts) in [("origins", &self.origins), ("events", &self.events)] {
            if texts.len() > MAX_LISTED {
                return Err(CommandError::Invalid(format!(
                    "{field} may list {MAX_LISTED} texts: list fewer"
                )));
            }
            if texts.iter().any(|text| text.is_empty() || text.len() > MAX_TEXT_BYTES) {
                let message = format!("each of {field} must have 1 to {MAX_TEXT_BYTES} bytes: shorten them");
                return Err(CommandError::Invalid(message));
            }
        }
        if self.rate.is_some_and(|(per_s, burst)| per_s == 0 || burst == 0) {
            let message = "a rate must be at least 1 event, in the long run and at once".to_owned();
            return Err(CommandError::Invalid(message));
        }
        settings.key_rules.retain(|own| own.number != self.number);
        self.version = settings.version;
        if !self.allows_everything() {
            let at = settings.key_rules.partition_point(|own| own.number < self.number);
            settings.key_rules.insert(at, self);
        }
        let bytes: usize = settings.key_rules.iter().map(Self::heap_bytes).sum();
        if bytes > MAX_RULES_BYTES {
            let message = format!("{MAX_RULES_BYTES} bytes of rules of write keys");
            return Err(CommandError::TooMany(message));
        }
        Ok(())
    }

    fn allows_everything(&self) -> bool {
        self.origins.is_empty() && self.events.is_empty() && self.rate.is_none() && self.plan.is_empty()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let listed = self.origins.iter().chain(&self.events);
        listed.map(|text| text.len() + size_of::<String>()).sum::<usize>()
            + self.plan.len()
            + size_of::<Self>()
    }

    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.u32(self.number);
        encoder.u32(self.version);
        for texts in [&self.origins, &self.events] {
            encoder.varint(texts.len() as u64);
            texts.iter().for_each(|text| encoder.text(text));
        }
        let (per_s, burst) = self.rate.unwrap_or_default();
        encoder.u32(per_s);
        encoder.u32(burst);
        encoder.text(&self.plan);
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut rules = Self { number: decoder.u32()?, version: decoder.u32()?, ..Self::default() };
        for texts in [&mut rules.origins, &mut rules.events] {
            for _ in 0..decoder.count()? {
                texts.push(decoder.text()?.to_owned());
            }
        }
        let rate = (decoder.u32()?, decoder.u32()?);
        rules.rate = Some(rate).filter(|rate| *rate != (0, 0));
        rules.plan = decoder.text()?.into();
        Ok(rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{WriteKey, WriteKeyKind};
    use engine::Value;

    /// Whether an error is the expected one.
    type Judge = fn(&CommandError) -> bool;

    fn settings() -> Settings {
        let key = |number| WriteKey {
            key: format!("wk_{number}"),
            number,
            kind: WriteKeyKind::Browser,
            enabled: true,
            value_counts: false,
            name: String::new(),
        };
        Settings { version: 7, write_keys: vec![key(3), key(5)], ..Settings::default() }
    }

    fn rules(number: u32) -> KeyRules {
        KeyRules {
            number,
            version: 0,
            origins: vec!["https://shop.example".to_owned()],
            events: vec!["Order Completed".to_owned(), "Ä".to_owned()],
            rate: Some((5, 50)),
            plan: r#"{"events":{}}"#.into(),
        }
    }

    fn stored(settings: &Settings) -> Vec<u8> {
        let mut bytes = Vec::new();
        settings.encode(&mut bytes);
        bytes
    }

    #[test]
    fn rules_replace_each_other_and_are_stored() {
        let mut settings = settings();
        assert_eq!(rules(5).set(&mut settings), Ok(()));
        assert_eq!(rules(3).set(&mut settings), Ok(()));
        assert_eq!(KeyRules { rate: None, ..rules(5) }.set(&mut settings), Ok(()));
        let expected =
            vec![KeyRules { version: 7, ..rules(3) }, KeyRules { version: 7, rate: None, ..rules(5) }];
        assert_eq!(settings.key_rules, expected, "by number, each with the version that brought it");
        assert_eq!(Settings::decode(&stored(&settings)).as_ref(), Ok(&settings));
        assert_eq!(KeyRules { number: 3, ..KeyRules::default() }.set(&mut settings), Ok(()));
        assert_eq!(settings.key_rules.len(), 1, "rules that allow everything are none");
    }

    /// What was stored before there were rules ends where they begin.
    #[test]
    fn settings_of_before_have_no_rules() {
        let bytes = stored(&settings());
        let (last, before) = bytes.split_last().unwrap();
        assert_eq!((*last, Settings::decode(before)), (0, Ok(settings())));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let many = vec!["https://shop.example".to_owned(); MAX_LISTED + 1];
        let table: [(KeyRules, Judge); 6] = [
            (rules(4), |error| matches!(error, CommandError::Unknown(_))),
            (KeyRules { origins: many, ..rules(3) }, |error| matches!(error, CommandError::Invalid(_))),
            (KeyRules { events: vec![String::new()], ..rules(3) }, |error| {
                matches!(error, CommandError::Invalid(_))
            }),
            (KeyRules { events: vec!["x".repeat(257)], ..rules(3) }, |error| {
                matches!(error, CommandError::Invalid(_))
            }),
            (KeyRules { rate: Some((0, 1)), ..rules(3) }, |error| matches!(error, CommandError::Invalid(_))),
            (KeyRules { plan: "x".repeat(MAX_RULES_BYTES).into(), ..rules(3) }, |error| {
                matches!(error, CommandError::TooMany(_))
            }),
        ];
        for (rules, is_expected) in table {
            let error = rules.clone().set(&mut settings()).unwrap_err();
            assert!(is_expected(&error), "{error:?}");
        }
    }
}
