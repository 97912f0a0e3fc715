//! Events in quarantine: of each a small row, by which it is found, mended and sent again. Its content is in the log.
//!
//! Rows have numbers that only grow, so the oldest is found by counting on from the last one that went. A second table
//! leads from a message to its row, so that a repeat makes no second one, and from a node to the rows that name it, so
//! that erasing somebody finds them. Nothing here is counted for anybody: that happens when the event is released.

use crate::command::{CommandError, Reply};
use crate::redact::Extent;
use crate::resolve::Step;
use crate::state::State;
use crate::view::Change;
use engine::{TableId, Value, Wanted};
use model::codec::{DecodeError, Decoder, Encoder};
use model::event::{Event, IdentifierKind};
use model::id::{Key, Position, Timestamp};
use model::quarantine::{MAX_ROW_NAME_BYTES, Quarantined, concerns, cut};
use std::collections::VecDeque;
use std::sync::Arc;

pub(crate) const HELD: TableId = TableId(30);
pub(crate) const HELD_BY: TableId = TableId(31);
pub(crate) const HELD_COUNTS: TableId = TableId(32);
/// The one row of the table of counts.
pub(crate) const THE_HELD: Key = Key(0);
/// The most events that one command names.
pub const MAX_NAMED: usize = 1_000;
/// Rows that go with one record or timer because there are too many, or they are too old; the rest follow.
const LET_GO_MAX: usize = 256;

/// Whose timer it is when the oldest row becomes too old.
pub(crate) fn expiry() -> Key {
    Key::of_text("quarantine", "expiry")
}

fn by_message(message: Key) -> Key {
    message.with(Key::of_text("quarantine", "message"))
}

fn by_node(node: Key) -> Key {
    node.with(Key::of_text("quarantine", "node"))
}

/// An event in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// Its number.
    pub number: u64,
    /// What de-duplication knows it by.
    pub message: Key,
    /// Its record.
    pub position: Position,
    /// The number of its write key.
    pub source: u32,
    /// What it is called, perhaps cut.
    pub name: Box<str>,
    /// A stable word for what is wrong with it.
    pub code: Box<str>,
    /// Where in it.
    pub place: Box<str>,
    /// The same for people.
    pub reason: Box<str>,
    /// When it came, by the door's clock.
    pub received_at: Timestamp,
    /// Log time of its record: what its age goes by.
    pub at: Timestamp,
    /// Type and key of each identifier that it names.
    pub identifiers: Box<[(u8, Key)]>,
}

/// How many there are, and what became of the others. Totals since the beginning of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldCounts {
    /// No row has a lower number.
    first: u64,
    /// The number of the next row.
    next: u64,
    /// How long the latest record wants rows to be kept, in seconds.
    kept_s: u32,
    /// Rows that there are.
    pub held: u64,
    /// Events that ever came into quarantine.
    pub taken: u64,
    /// Those that were sent again.
    pub released: u64,
    /// Those that an operator discarded.
    pub discarded: u64,
    /// Those that went because there were too many, or they were too old.
    pub dropped: u64,
    /// Those that went with somebody who was erased.
    pub erased: u64,
}

/// The numbers of rows, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeldBy(VecDeque<u64>);

/// What an operator changes in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuarantineChange {
    /// Rows go; what they lead to stays in the log as long as the log does.
    Discard(Vec<u64>),
    /// Events did not fit when they were to be sent again: number, code, place and reason.
    Judge(Vec<(u64, String, String, String)>),
}

impl QuarantineChange {
    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) {
        match self {
            Self::Discard(numbers) => {
                encoder.u8(1);
                encoder.varint(numbers.len() as u64);
                numbers.iter().for_each(|number| encoder.varint(*number));
            }
            Self::Judge(judged) => {
                encoder.u8(2);
                encoder.varint(judged.len() as u64);
                for (number, code, place, reason) in judged {
                    encoder.varint(*number);
                    [code, place, reason].into_iter().for_each(|text| encoder.text(text));
                }
            }
        }
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let tag = decoder.u8()?;
        let count = decoder.count()?;
        match tag {
            1 => Ok(Self::Discard((0..count).map(|_| decoder.varint()).collect::<Result<_, _>>()?)),
            2 => {
                let text = |decoder: &mut Decoder<'_>| decoder.text().map(str::to_owned);
                let one = |decoder: &mut Decoder<'_>| {
                    Ok((decoder.varint()?, text(decoder)?, text(decoder)?, text(decoder)?))
                };
                Ok(Self::Judge((0..count).map(|_| one(decoder)).collect::<Result<_, _>>()?))
            }
            other => Err(DecodeError::Unknown(u64::from(other))),
        }
    }

    fn numbers(&self) -> Vec<u64> {
        match self {
            Self::Discard(numbers) => numbers.clone(),
            Self::Judge(judged) => judged.iter().map(|one| one.0).collect(),
        }
    }
}

impl Step<'_> {
    /// Takes an event in. One whose message is in quarantine already is the same one.
    pub(crate) fn quarantine(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let quarantined = Quarantined::decode(body)?;
        let event = Event::decode(quarantined.event)?;
        if self.state.held_by.get(by_message(event.dedup_key)).is_some() {
            return Ok(());
        }
        let mut counts = self.state.held_counts();
        let number = counts.next;
        let row = HeldRow {
            number,
            message: event.dedup_key,
            position: self.position,
            source: event.source,
            name: cut(event.name, MAX_ROW_NAME_BYTES).into(),
            code: quarantined.code.into(),
            place: quarantined.place.into(),
            reason: quarantined.reason.into(),
            received_at: quarantined.received_at,
            at: self.now,
            identifiers: event.identifiers.as_slice().iter().map(|one| (one.kind, one.key)).collect(),
        };
        counts.next += 1;
        counts.held += 1;
        counts.taken += 1;
        counts.kept_s = quarantined.kept_s;
        for key in row.keys() {
            if let Some(numbers) = self.state.held_by.get_or_insert_with(key, HeldBy::default) {
                numbers.0.push_back(number);
            }
        }
        self.show(number, Some(&row));
        self.state.held.insert(Key(u128::from(number)), row);
        self.set_held_counts(counts);
        self.trim(u64::from(quarantined.rows_max.max(1)));
        Ok(())
    }

    /// Lets an event out, if it is in: `false` if it is not, so that nothing comes out twice.
    pub(crate) fn release(&mut self, event: &Event<'_>) -> bool {
        let found =
            self.state.held_by.get(by_message(event.dedup_key)).and_then(|found| found.0.front().copied());
        let Some(number) = found else { return false };
        if !self.let_go(number) {
            return false;
        }
        self.count_held(|counts| counts.released += 1);
        true
    }

    /// What an operator wants changed. Rows that are not there are left out of the count.
    pub(crate) fn change_quarantine(&mut self, change: QuarantineChange) -> Result<Reply, CommandError> {
        if change.numbers().len() > MAX_NAMED {
            return Err(CommandError::Invalid(format!("name at most {MAX_NAMED} events")));
        }
        let mut done = 0;
        match change {
            QuarantineChange::Discard(numbers) => {
                for number in numbers {
                    if self.let_go(number) {
                        done += 1;
                        self.count_held(|counts| counts.discarded += 1);
                    }
                }
            }
            QuarantineChange::Judge(judged) => {
                for (number, code, place, reason) in judged {
                    let Some(row) = self.state.held.get_mut(Key(u128::from(number))) else { continue };
                    (row.code, row.place, row.reason) = (code.into(), place.into(), reason.into());
                    let row = row.clone();
                    self.show(number, Some(&row));
                    done += 1;
                }
            }
        }
        Ok(Reply::Quarantine(done))
    }

    /// The oldest row has become too old, or was to be looked at.
    pub(crate) fn expire(&mut self) {
        self.trim(u64::MAX);
    }

    /// Rows that name somebody who was erased go.
    pub(crate) fn forget_quarantined(&mut self, erased: &[(Key, Extent)]) {
        let mut numbers: Vec<u64> = Vec::new();
        for (node, _) in erased {
            numbers.extend(self.state.held_by.get(by_node(*node)).iter().flat_map(|found| &found.0));
        }
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let Some(row) = self.state.held.get(Key(u128::from(number))) else { continue };
            let named = row.identifiers.iter().map(|(kind, key)| (IdentifierKind(*kind), *key));
            if concerns(named, |key| erased.iter().any(|(node, _)| *node == key)) && self.let_go(number) {
                self.count_held(|counts| counts.erased += 1);
            }
        }
    }

    /// Lets the oldest go until there are no more than `rows_max` and none is too old, and sets the timer for the next.
    fn trim(&mut self, rows_max: u64) {
        for _ in 0..LET_GO_MAX {
            let counts = self.state.held_counts();
            let Some((number, due)) = self.state.oldest_held() else { break };
            if counts.held <= rows_max && due > self.now {
                break;
            }
            self.let_go(number);
            self.count_held(|counts| counts.dropped += 1);
        }
        let due = self.state.oldest_held().map(|(_, due)| due);
        self.outcome.timer(expiry(), due);
    }

    fn let_go(&mut self, number: u64) -> bool {
        let Some(row) = self.state.held.get(Key(u128::from(number))).cloned() else { return false };
        self.state.held.remove(Key(u128::from(number)));
        for key in row.keys() {
            let Some(numbers) = self.state.held_by.get_mut(key) else { continue };
            if let Ok(at) = numbers.0.binary_search(&number) {
                numbers.0.remove(at);
            }
            if numbers.0.is_empty() {
                self.state.held_by.remove(key);
            }
        }
        self.count_held(|counts| counts.held = counts.held.saturating_sub(1));
        self.show(number, None);
        true
    }

    fn count_held(&mut self, change: impl FnOnce(&mut HeldCounts)) {
        let mut counts = self.state.held_counts();
        change(&mut counts);
        self.set_held_counts(counts);
    }

    fn set_held_counts(&mut self, counts: HeldCounts) {
        self.state.held_counts.insert(THE_HELD, counts);
        self.outcome.changes.push(Change::HeldCounts(counts));
    }

    fn show(&mut self, number: u64, row: Option<&HeldRow>) {
        self.outcome.changes.push(Change::Held { number, row: row.cloned().map(Arc::new) });
    }
}

impl State {
    fn held_counts(&mut self) -> HeldCounts {
        self.held_counts.get(THE_HELD).copied().unwrap_or_default()
    }

    /// The oldest row and when it is too old. Numbers that are free are passed over for good.
    fn oldest_held(&mut self) -> Option<(u64, Timestamp)> {
        let mut counts = self.held_counts();
        if counts.held == 0 {
            return None;
        }
        let before = counts.first;
        while counts.first < counts.next && self.held.get(Key(u128::from(counts.first))).is_none() {
            counts.first += 1;
        }
        if counts.first != before {
            self.held_counts.insert(THE_HELD, counts);
        }
        let row = self.held.get(Key(u128::from(counts.first)))?;
        Some((counts.first, row.at.plus_us(i64::from(counts.kept_s).saturating_mul(1_000_000))))
    }

    /// The rows that taking an event in will touch.
    pub(crate) fn want_quarantined(&self, event: &[u8], wanted: &mut Wanted) {
        if let Ok(message) = Event::peek_dedup_key(event) {
            wanted.unless_known(&self.held_by, by_message(message));
        }
        if let Ok((identifiers, _)) = Event::peek_who(event) {
            let nodes = identifiers.as_slice().iter().map(|one| by_node(one.key));
            nodes.for_each(|key| wanted.unless_known(&self.held_by, key));
        }
        self.want_oldest(wanted);
    }

    /// The rows that letting an event out will touch, beside those of the event.
    pub(crate) fn want_released(&self, event: &[u8], wanted: &mut Wanted) {
        let Ok(message) = Event::peek_dedup_key(event) else { return };
        let Some(found) = wanted.or_ask(&self.held_by, by_message(message)) else { return };
        found.0.iter().for_each(|number| self.want_held(*number, wanted));
    }

    pub(crate) fn want_change(&self, change: &QuarantineChange, wanted: &mut Wanted) {
        change.numbers().into_iter().take(MAX_NAMED).for_each(|number| self.want_held(number, wanted));
    }

    pub(crate) fn want_oldest(&self, wanted: &mut Wanted) {
        if let Some(counts) = wanted.or_ask(&self.held_counts, THE_HELD) {
            self.want_held(counts.first, wanted);
        }
    }

    fn want_held(&self, number: u64, wanted: &mut Wanted) {
        let Some(row) = wanted.or_ask(&self.held, Key(u128::from(number))) else { return };
        row.keys().for_each(|key| wanted.unless_known(&self.held_by, key));
    }
}

impl HeldRow {
    /// Under which keys it is found.
    fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        let nodes = self.identifiers.iter().map(|(_, key)| by_node(*key));
        std::iter::once(by_message(self.message)).chain(nodes)
    }
}

impl Value for HeldRow {
    fn encode(&self, out: &mut Vec<u8>) {
        let encoder = &mut Encoder(out);
        encoder.varint(self.number);
        encoder.u128(self.message.0);
        encoder.varint(self.position.0);
        encoder.u32(self.source);
        [&self.name, &self.code, &self.place, &self.reason].into_iter().for_each(|text| encoder.text(text));
        encoder.i64(self.received_at.0);
        encoder.i64(self.at.0);
        encoder.varint(self.identifiers.len() as u64);
        for (kind, key) in &self.identifiers {
            encoder.u8(*kind);
            encoder.u128(key.0);
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let (number, message) = (decoder.varint()?, Key(decoder.u128()?));
        let (position, source) = (Position(decoder.varint()?), decoder.u32()?);
        let [name, code, place, reason] =
            [decoder.text()?, decoder.text()?, decoder.text()?, decoder.text()?].map(Box::from);
        let (received_at, at) = (Timestamp(decoder.i64()?), Timestamp(decoder.i64()?));
        let mut identifiers = Vec::new();
        for _ in 0..decoder.count()? {
            identifiers.push((decoder.u8()?, Key(decoder.u128()?)));
        }
        decoder.finish()?;
        let identifiers = identifiers.into();
        Ok(Self {
            number,
            message,
            position,
            source,
            name,
            code,
            place,
            reason,
            received_at,
            at,
            identifiers,
        })
    }

    fn heap_bytes(&self) -> usize {
        let texts = [&self.name, &self.code, &self.place, &self.reason];
        texts.iter().map(|text| text.len()).sum::<usize>() + self.identifiers.len() * size_of::<(u8, Key)>()
    }
}

impl Value for HeldBy {
    fn encode(&self, out: &mut Vec<u8>) {
        let encoder = &mut Encoder(out);
        encoder.varint(self.0.len() as u64);
        let mut before = 0;
        for number in &self.0 {
            encoder.varint(number.wrapping_sub(before));
            before = *number;
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let (mut numbers, mut before) = (VecDeque::new(), 0_u64);
        for _ in 0..decoder.count()? {
            before = before.wrapping_add(decoder.varint()?);
            numbers.push_back(before);
        }
        decoder.finish()?;
        Ok(Self(numbers))
    }

    fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<u64>()
    }
}

impl Value for HeldCounts {
    fn encode(&self, out: &mut Vec<u8>) {
        let encoder = &mut Encoder(out);
        let Self { first, next, kept_s, held, taken, released, discarded, dropped, erased } = *self;
        for count in [first, next, u64::from(kept_s), held, taken, released, discarded, dropped, erased] {
            encoder.varint(count);
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let (first, next) = (decoder.varint()?, decoder.varint()?);
        let kept_s = u32::try_from(decoder.varint()?).map_err(|_| DecodeError::Overlong)?;
        let (held, taken, released) = (decoder.varint()?, decoder.varint()?, decoder.varint()?);
        let (discarded, dropped, erased) = (decoder.varint()?, decoder.varint()?, decoder.varint()?);
        decoder.finish()?;
        Ok(Self { first, next, kept_s, held, taken, released, discarded, dropped, erased })
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}
