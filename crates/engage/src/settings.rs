//! What operators have set, current on every door.

use crate::destination::Destination;
use crate::key_rules::KeyRules;
use engine::Value;
use model::codec::{DecodeError, Decoder, Encoder};
use model::identity::IdentitySettings;
use model::line::LineSettings;
use model::suppression::SuppressionSettings;

/// The most write keys of a shard.
pub const MAX_WRITE_KEYS: usize = 10_000;
/// The most tokens of a shard.
pub const MAX_TOKENS: usize = 10_000;
/// The longest text of a key, name or scope, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 256;
/// The most scopes of one token.
pub(crate) const MAX_TOKEN_SCOPES: usize = 64;

/// Who holds a write key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WriteKeyKind {
    /// Public: what comes with it is a claim.
    Browser = 1,
    /// Secret: what comes with it is the shop's word.
    Server = 2,
}

/// A key that lets events in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteKey {
    /// The key as clients send it.
    pub key: String,
    /// Its number, stored with every event. Never used again.
    pub number: u32,
    /// Who holds it.
    pub kind: WriteKeyKind,
    /// Lets events in.
    pub enabled: bool,
    /// The value of orders counts, also from a browser.
    pub value_counts: bool,
    /// What an operator calls it.
    pub name: String,
}

/// A token that lets somebody read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its number. Never used again.
    pub number: u32,
    /// Hash of the secret; the secret itself is nowhere.
    pub hash: [u8; 32],
    /// What it allows, e.g. `profile:read`.
    pub scopes: Vec<String>,
    /// What an operator calls it.
    pub name: String,
}

/// Everything that operators have set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Grows with every change of anything here.
    pub version: u32,
    /// Rules of identity.
    pub identity: IdentitySettings,
    /// Rules of suppression.
    pub suppression: SuppressionSettings,
    /// What the line is measured in.
    pub line: LineSettings,
    /// By number.
    pub write_keys: Vec<WriteKey>,
    /// By number.
    pub tokens: Vec<Token>,
    /// By name.
    pub destinations: Vec<Destination>,
    /// By the number of the write key, of those that may not send everything.
    pub key_rules: Vec<KeyRules>,
}

impl WriteKey {
    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.text(&self.key);
        encoder.u32(self.number);
        encoder.u8(self.kind as u8);
        encoder.bool(self.enabled);
        encoder.bool(self.value_counts);
        encoder.text(&self.name);
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            key: decoder.text()?.to_owned(),
            number: decoder.u32()?,
            kind: match decoder.u8()? {
                1 => WriteKeyKind::Browser,
                2 => WriteKeyKind::Server,
                other => return Err(DecodeError::Unknown(u64::from(other))),
            },
            enabled: decoder.bool()?,
            value_counts: decoder.bool()?,
            name: decoder.text()?.to_owned(),
        })
    }
}

impl Token {
    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.u32(self.number);
        encoder.0.extend_from_slice(&self.hash);
        encoder.varint(self.scopes.len() as u64);
        for scope in &self.scopes {
            encoder.text(scope);
        }
        encoder.text(&self.name);
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let number = decoder.u32()?;
        let mut hash = [0; 32];
        hash.copy_from_slice(decoder.take(32)?);
        let mut scopes = Vec::new();
        for _ in 0..decoder.count()? {
            scopes.push(decoder.text()?.to_owned());
        }
        Ok(Self { number, hash, scopes, name: decoder.text()?.to_owned() })
    }
}

impl Value for Settings {
    fn encode(&self, out: &mut Vec<u8>) {
        let encoder = &mut Encoder(out);
        encoder.u32(self.version);
        self.identity.encode(encoder);
        self.suppression.encode(encoder);
        encoder.varint(self.write_keys.len() as u64);
        self.write_keys.iter().for_each(|key| key.encode(encoder));
        encoder.varint(self.tokens.len() as u64);
        self.tokens.iter().for_each(|token| token.encode(encoder));
        encoder.varint(self.destinations.len() as u64);
        self.destinations.iter().for_each(|destination| destination.encode(encoder));
        self.line.encode(encoder);
        encoder.varint(self.key_rules.len() as u64);
        self.key_rules.iter().for_each(|rules| rules.encode(encoder));
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let version = decoder.u32()?;
        let identity = IdentitySettings::decode(decoder)?;
        let suppression = SuppressionSettings::decode(decoder)?;
        let mut settings = Self { version, identity, suppression, ..Self::default() };
        for _ in 0..decoder.count()? {
            settings.write_keys.push(WriteKey::decode(decoder)?);
        }
        for _ in 0..decoder.count()? {
            settings.tokens.push(Token::decode(decoder)?);
        }
        for _ in 0..decoder.count()? {
            settings.destinations.push(Destination::decode(decoder)?);
        }
        settings.line = LineSettings::decode(decoder)?;
        // Settings that were written before there were rules of keys end here.
        let rules_count = if decoder.is_empty() { 0 } else { decoder.count()? };
        for _ in 0..rules_count {
            settings.key_rules.push(KeyRules::decode(decoder)?);
        }
        decoder.finish()?;
        Ok(settings)
    }

    fn heap_bytes(&self) -> usize {
        (self.write_keys.len() + self.tokens.len() + self.destinations.len()) * 256
            + self.line.rates.len() * size_of::<model::line::Rate>()
            + self.key_rules.iter().map(KeyRules::heap_bytes).sum::<usize>()
    }
}
