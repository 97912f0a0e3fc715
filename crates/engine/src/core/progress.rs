//! What a checkpoint keeps beside rows and message ids: how far the shard has come.

use model::codec::{DecodeError, Decoder, Encoder};
use model::id::{Position, Timestamp};
use std::collections::BTreeMap;

const FORMAT_VERSION: u8 = 1;

/// The most consumers that may acknowledge effects.
pub(crate) const CONSUMERS_MAX: usize = 64;

/// How far a shard has come. Deterministic: the same log gives the same progress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The next record to apply.
    pub next_position: Position,
    /// Log time of the last frame applied.
    pub log_time: Timestamp,
    /// Rules in force.
    pub rules_version: u32,
    /// Effects issued since position 0. A replay of a log that was rewritten after an erasure may count fewer.
    pub effects: u64,
    /// A chain over every effect issued since somebody was last erased, that effect first: equal chains mean equal effects.
    pub effects_digest: u128,
    /// Records dropped as duplicates since position 0.
    pub duplicates: u64,
    /// Records applied since position 0, duplicates left out.
    pub applied: u64,
    /// Records skipped because they make `apply` panic.
    pub skipped: u64,
    /// Who consumes effects and up to where, exclusively.
    pub consumers: BTreeMap<String, Position>,
}

impl Progress {
    pub(crate) fn encode(&self, table_digests: &[(u8, u64)], out: &mut Vec<u8>) {
        let mut encoder = Encoder(out);
        encoder.u8(FORMAT_VERSION);
        encoder.u64(self.next_position.0);
        encoder.i64(self.log_time.0);
        encoder.u32(self.rules_version);
        encoder.u64(self.effects);
        encoder.u128(self.effects_digest);
        encoder.u64(self.duplicates);
        encoder.u64(self.applied);
        encoder.u64(self.skipped);
        encoder.varint(self.consumers.len() as u64);
        for (name, position) in &self.consumers {
            encoder.text(name);
            encoder.u64(position.0);
        }
        encoder.varint(table_digests.len() as u64);
        for (table, digest) in table_digests {
            encoder.u8(*table);
            encoder.u64(*digest);
        }
    }

    /// Reads progress and the digest of each table.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, BTreeMap<u8, u64>), DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let version = decoder.u8()?;
        if version != FORMAT_VERSION {
            return Err(DecodeError::Unknown(u64::from(version)));
        }
        let mut progress = Self {
            next_position: Position(decoder.u64()?),
            log_time: Timestamp(decoder.i64()?),
            rules_version: decoder.u32()?,
            effects: decoder.u64()?,
            effects_digest: decoder.u128()?,
            duplicates: decoder.u64()?,
            applied: decoder.u64()?,
            skipped: decoder.u64()?,
            consumers: BTreeMap::new(),
        };
        for _ in 0..decoder.count()? {
            progress.consumers.insert(decoder.text()?.to_owned(), Position(decoder.u64()?));
        }
        let mut digests = BTreeMap::new();
        for _ in 0..decoder.count()? {
            digests.insert(decoder.u8()?, decoder.u64()?);
        }
        decoder.finish()?;
        Ok((progress, digests))
    }
}
