//! The items of one frame, packed: the unit in which the applying side hands items over.
//!
//! An item is the distance of its position from the item before (varint), a tag (varint: 0 for an accepted event, else
//! the effect's kind plus 1), for effects the ordinal (varint), the subject (16 bytes), and then the part (16 bytes) of
//! an event and its number among the keys of the record (a byte), or the body (length, bytes) of an effect. All items of
//! a frame share its log time.

use super::{Item, Place, What};
use crate::machine::Subject;
use model::codec::{DecodeError, Decoder, Encoder};
use model::id::{EffectId, Key, Position, Timestamp};

/// Bytes of a chunk's head within a block.
pub(super) const CHUNK_HEAD_BYTES: usize = 32;
/// The ordinal of an event's own item: it stands behind the effects of its record.
pub const EVENT_ORDINAL: u32 = u32::MAX;
/// Stored instead of a number where the part is none of the keys that the record names.
pub(super) const NOT_NAMED: u8 = u8::MAX;
/// No number is larger.
pub(super) const NAMED_MAX: u8 = 0xF0;

/// Packed items, in order.
#[derive(Debug)]
pub(super) struct Chunk {
    /// The first item; where there is none, the place from which on nothing is known yet.
    pub(super) first: Place,
    /// The last item, if there is one.
    pub(super) last: Option<EffectId>,
    /// Log time of all of them.
    pub(super) at: Timestamp,
    /// Once this chunk is known, every item before this position is.
    pub(super) complete: Position,
    pub(super) items: u32,
    /// A checkpoint stands here: a block ends, and is synced.
    pub(super) mark: bool,
    /// It is the last one of its frame: a file may end here.
    pub(super) whole: bool,
    pub(super) bytes: Vec<u8>,
}

impl Chunk {
    /// A chunk without items that says how far the feed is known.
    pub(super) fn mark(complete: Position, at: Timestamp) -> Self {
        let first = Place::at(complete);
        Self { first, last: None, at, complete, items: 0, mark: true, whole: true, bytes: Vec::new() }
    }

    /// What it weighs in memory, about.
    pub(super) fn weight(&self) -> usize {
        self.bytes.len() + CHUNK_HEAD_BYTES
    }

    /// Appends the stored form.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut encoder = Encoder(out);
        encoder.u64(self.first.position.0);
        encoder.i64(self.at.0);
        encoder.u64(self.complete.0);
        encoder.u32(self.items);
        encoder.u32(self.bytes.len() as u32);
        out.extend_from_slice(&self.bytes);
    }

    /// Reads the items from `from` on, at most `items_max` of them, behind those that `into` holds.
    pub(super) fn read(
        &self,
        from: Place,
        items_max: usize,
        into: &mut Vec<Item>,
    ) -> Result<(), DecodeError> {
        if self.items == 0 {
            return Ok(());
        }
        read_items(self.first.position, self.at, &self.bytes, &mut |item| {
            if Place::of(item.id) >= from && into.len() < items_max {
                into.push(item);
            }
        })
    }
}

/// Reads the chunks of a block's payload: base position, log time, watermark, and the packed items of each.
pub(super) fn each_chunk<'a>(
    payload: &'a [u8],
    visit: &mut dyn FnMut(Position, Timestamp, Position, &'a [u8]) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut decoder = Decoder::new(payload);
    while !decoder.is_empty() {
        let base = Position(decoder.u64()?);
        let at = Timestamp(decoder.i64()?);
        let complete = Position(decoder.u64()?);
        let _items = decoder.u32()?;
        let bytes = decoder.u32()? as usize;
        visit(base, at, complete, decoder.take(bytes)?)?;
    }
    Ok(())
}

/// Reads packed items.
pub(super) fn read_items(
    base: Position,
    at: Timestamp,
    bytes: &[u8],
    visit: &mut dyn FnMut(Item),
) -> Result<(), DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let mut position = base;
    while !decoder.is_empty() {
        position = position.plus(decoder.varint()?);
        let tag = decoder.varint()?;
        let item = if tag == 0 {
            let subject = Key(decoder.u128()?);
            let part = Key(decoder.u128()?);
            let named = Some(decoder.u8()?).filter(|number| *number <= NAMED_MAX);
            let id = EffectId { position, ordinal: EVENT_ORDINAL };
            Item { id, at, subject, what: What::Event { part, named } }
        } else {
            let kind = u16::try_from(tag - 1).map_err(|_| DecodeError::Overlong)?;
            let ordinal = u32::try_from(decoder.varint()?).map_err(|_| DecodeError::Overlong)?;
            let subject = Key(decoder.u128()?);
            let body = decoder.bytes()?.to_vec();
            Item { id: EffectId { position, ordinal }, at, subject, what: What::Effect { kind, body } }
        };
        visit(item);
    }
    Ok(())
}

/// Packs items, one frame at a time.
#[derive(Debug, Default)]
pub(super) struct Packer {
    first: Option<Place>,
    last: Option<EffectId>,
    items: u32,
    pub(super) bytes: Vec<u8>,
}

impl Packer {
    pub(super) fn is_empty(&self) -> bool {
        self.items == 0
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn items(&self) -> u32 {
        self.items
    }

    pub(super) fn last_position(&self) -> Option<Position> {
        self.last.map(|last| last.position)
    }

    /// An event was accepted.
    #[inline]
    pub(super) fn event(&mut self, position: Position, subject: Subject) {
        let Subject { whole, part, named } = subject;
        let named = named.filter(|number| *number <= NAMED_MAX).unwrap_or(NOT_NAMED);
        let distance = self.step(EffectId { position, ordinal: EVENT_ORDINAL });
        // One write for the common case: both varints are a byte.
        if distance < 0x80 {
            let mut item = [named; 35];
            let (head, keys) = item.split_at_mut(2);
            head.copy_from_slice(&[distance as u8, 0]);
            let (first, rest) = keys.split_at_mut(16);
            first.copy_from_slice(&whole.0.to_le_bytes());
            rest.split_at_mut(16).0.copy_from_slice(&part.0.to_le_bytes());
            self.bytes.extend_from_slice(&item);
            return;
        }
        let mut encoder = Encoder(&mut self.bytes);
        encoder.varint(distance);
        encoder.varint(0);
        encoder.u128(whole.0);
        encoder.u128(part.0);
        encoder.u8(named);
    }

    /// An effect was issued.
    pub(super) fn effect(&mut self, id: EffectId, kind: u16, subject: Key, body: &[u8]) {
        let distance = self.step(id);
        let mut encoder = Encoder(&mut self.bytes);
        encoder.varint(distance);
        encoder.varint(u64::from(kind) + 1);
        encoder.varint(u64::from(id.ordinal));
        encoder.u128(subject.0);
        encoder.bytes(body);
    }

    /// Takes note of the next item. Gives how far its position is from the one before.
    pub(super) fn step(&mut self, id: EffectId) -> u64 {
        let before = self.last.map_or(id.position, |last| last.position);
        self.first.get_or_insert(Place::of(id));
        self.last = Some(id);
        self.items += 1;
        id.position.0.saturating_sub(before.0)
    }

    /// Hands out what was packed.
    pub(super) fn take(&mut self, at: Timestamp, complete: Position) -> Chunk {
        let bytes = std::mem::take(&mut self.bytes);
        // The next frame is mostly like this one.
        self.bytes.reserve(bytes.len().min(64 << 10));
        let first = self.first.take().unwrap_or(Place::at(complete));
        let (last, items) = (self.last.take(), std::mem::take(&mut self.items));
        Chunk { first, last, at, complete, items, mark: false, whole: false, bytes }
    }
}
