//! The engine's own tables: timers and the outbox. They are checkpointed with the machine's.

use crate::machine::{Effect, IssuedEffect};
use model::codec::{DecodeError, Decoder, Encoder};
use model::id::{EffectId, Key, Position, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use store::{AnyTable, Table, TableId, Tables, Value};

/// Timers, by subject.
pub(crate) const TIMERS: TableId = TableId(1);
/// Effects not delivered yet, or kept for inspection.
pub(crate) const OUTBOX: TableId = TableId(2);

/// Effects that the outbox keeps for inspection while nobody consumes them. A constant, not a setting: what the
/// outbox holds is state, and the same log must give the same state everywhere.
pub const OUTBOX_UNCONSUMED_MAX: usize = 65_536;

/// When a subject's timer is due.
pub(crate) struct TimerRow {
    pub(crate) due: Timestamp,
}

impl Value for TimerRow {
    fn encode(&self, out: &mut Vec<u8>) {
        Encoder(out).i64(self.due.0);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let due = Timestamp(decoder.i64()?);
        decoder.finish()?;
        Ok(Self { due })
    }

    fn heap_bytes(&self) -> usize {
        // The ordered index beside the table.
        48
    }
}

/// A row of the outbox.
pub(crate) struct OutboxRow(pub(crate) IssuedEffect);

impl Value for OutboxRow {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut encoder = Encoder(out);
        encoder.u64(self.0.id.position.0);
        encoder.u32(self.0.id.ordinal);
        encoder.i64(self.0.issued_at.0);
        encoder.u16(self.0.effect.kind);
        encoder.u128(self.0.effect.subject.0);
        encoder.bytes(&self.0.effect.body);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let id = EffectId { position: Position(decoder.u64()?), ordinal: decoder.u32()? };
        let issued_at = Timestamp(decoder.i64()?);
        let kind = decoder.u16()?;
        let subject = Key(decoder.u128()?);
        let body = decoder.bytes()?.to_vec();
        decoder.finish()?;
        Ok(Self(IssuedEffect { id, issued_at, effect: Effect { kind, subject, body } }))
    }

    fn heap_bytes(&self) -> usize {
        self.0.effect.body.capacity() + 40
    }
}

/// Outbox rows need uniformly distributed keys like all rows.
fn outbox_key(id: EffectId) -> Key {
    Key((u128::from(id.position.0) << 32) | u128::from(id.ordinal)).with(Key(u128::from(OUTBOX.0)))
}

pub(crate) struct System {
    timers: Table<TimerRow>,
    outbox: Table<OutboxRow>,
    /// Timers by due time: derived from the table.
    due: BTreeSet<(Timestamp, Key)>,
    /// Effects by age: derived from the table.
    issued: BTreeSet<EffectId>,
    /// Up to this one, the outbox holds only effects that say that somebody was erased. Unknown after a start.
    erased_to: Option<EffectId>,
}

impl System {
    pub(crate) fn new() -> Self {
        Self {
            timers: Table::new(TIMERS, "timers"),
            outbox: Table::new(OUTBOX, "outbox"),
            due: BTreeSet::new(),
            issued: BTreeSet::new(),
            erased_to: None,
        }
    }

    /// Rebuilds the ordered indexes from a stored row, on start.
    pub(crate) fn load_index(&mut self, table: TableId, key: Key, row: &[u8]) -> Result<(), DecodeError> {
        match table {
            TIMERS => {
                self.due.insert((TimerRow::decode(row)?.due, key));
            }
            OUTBOX => {
                self.issued.insert(OutboxRow::decode(row)?.0.id);
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn set_timer(&mut self, subject: Key, due: Option<Timestamp>) {
        let before = self.timers.get(subject).map(|row| row.due);
        if before == due {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, subject));
        }
        match due {
            Some(due) => {
                self.due.insert((due, subject));
                self.timers.insert(subject, TimerRow { due });
            }
            None => self.timers.remove(subject),
        }
    }

    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The subjects of the earliest timers that are due at `now`.
    pub(crate) fn due(&self, now: Timestamp, most: usize) -> Vec<Key> {
        let due = self.due.iter().take_while(|(due, _)| *due <= now);
        due.take(most).map(|(_, subject)| *subject).collect()
    }

    /// Takes the earliest timer that is due at `now`.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Option<(Timestamp, Key)> {
        let (due, subject) = *self.due.first()?;
        if due > now {
            return None;
        }
        self.due.pop_first();
        self.timers.remove(subject);
        Some((due, subject))
    }

    pub(crate) fn timers(&self) -> usize {
        self.due.len()
    }

    /// Puts an effect into the outbox, dropping the oldest where nobody consumes.
    pub(crate) fn issue(&mut self, effect: IssuedEffect, consumed: bool) {
        let id = effect.id;
        // An effect's id is its place in the log: there was none of it before.
        self.outbox.insert_new(outbox_key(id), OutboxRow(effect));
        self.issued.insert(id);
        while !consumed && self.issued.len() > OUTBOX_UNCONSUMED_MAX {
            if let Some(oldest) = self.issued.pop_first() {
                self.outbox.remove(outbox_key(oldest));
            }
        }
    }

    /// Drops every effect but those of one kind: somebody is being erased, and what was issued before cannot be issued again
    /// by a replay of a log without them.
    pub(crate) fn forget_before_erasure(&mut self, kept_kind: u16) {
        let start = self.erased_to.map_or(Bound::Unbounded, Bound::Excluded);
        let since: Vec<EffectId> = self.issued.range((start, Bound::Unbounded)).copied().collect();
        for id in since {
            let key = outbox_key(id);
            if self.outbox.get(key).is_none_or(|row| row.0.effect.kind != kept_kind) {
                self.issued.remove(&id);
                self.outbox.remove(key);
            }
        }
    }

    /// The effect that says so is in the outbox.
    pub(crate) fn erased_at(&mut self, id: EffectId) {
        self.erased_to = Some(id);
    }

    /// Drops what every consumer has delivered.
    pub(crate) fn acknowledged(&mut self, consumers: &BTreeMap<String, Position>) {
        let Some(delivered) = consumers.values().min().copied() else { return };
        while let Some(oldest) = self.issued.first().copied() {
            if oldest.position >= delivered {
                break;
            }
            self.issued.pop_first();
            self.outbox.remove(outbox_key(oldest));
        }
    }

    pub(crate) fn outbox_len(&self) -> usize {
        self.issued.len()
    }

    /// Effects after `after`, oldest first.
    pub(crate) fn effects_after(&mut self, after: Option<EffectId>, limit: usize) -> Vec<IssuedEffect> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids: Vec<EffectId> = self.issued.range((start, Bound::Unbounded)).take(limit).copied().collect();
        ids.into_iter().filter_map(|id| self.outbox.get(outbox_key(id)).map(|row| row.0.clone())).collect()
    }
}

impl Tables for System {
    fn visit(&mut self, visitor: &mut dyn FnMut(&mut dyn AnyTable)) {
        visitor(&mut self.timers);
        visitor(&mut self.outbox);
    }
}
