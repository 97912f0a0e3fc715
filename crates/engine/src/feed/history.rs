//! What is left of items that followers cannot read any more: which events were accepted, under which of their own keys
//! each was counted, and the few effects that whoever reads old events has to know ([`FeedOptions::history_kinds`]).
//!
//! The feed goes back as far as followers may; its history goes back as far as the log, so that a rule can be made up
//! today about everything that the log holds. A file of the feed is condensed before it goes (`condense.rs`). An event
//! is then the distance of its position and the number of its key, two bytes before compression; only where no key of
//! the record is the one, the key itself is stored.
//!
//! [`FeedOptions::history_kinds`]: super::FeedOptions::history_kinds

use super::chunk::{Chunk, NAMED_MAX, NOT_NAMED, Packer};
use super::head::FileHead;
use super::segment::{BLOCK_BYTES_MAX, BlockRef, Draft, Seals, Segment};
use super::{Batch, EVENT_ORDINAL, Feed, FeedError, Item, Place, READ_ITEMS_MAX, What};
use model::codec::{DecodeError, Decoder, Encoder};
use model::id::{EffectId, Key, Position, Timestamp};
use std::path::Path;

/// Items of a condensed block at most, unless one record alone leads to more. A read gives at most a block.
const BLOCK_ITEMS: u32 = 4 * READ_ITEMS_MAX as u32;
/// Says that an effect follows.
const EFFECT: u8 = 0xFE;
const _: () = assert!(NAMED_MAX < EFFECT && EFFECT < NOT_NAMED);
/// Blocks are small and alike: a higher level finds nothing more.
const COMPRESSION_LEVEL: i32 = 3;

/// What is left of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryItem {
    /// Its key.
    pub id: EffectId,
    /// What is known of it.
    pub what: Kept,
}

/// What is known of an old item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The event at this position was accepted, and counted under this part of its subject.
    Event(Part),
    /// An effect of one of the kinds that are kept was issued.
    Effect {
        /// Its kind.
        kind: u16,
        /// As the machine encoded it.
        body: Vec<u8>,
    },
}

/// The part of its subject that an event was counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// This one of the keys that the record names, in the order in which they stand there.
    Named(u8),
    /// A key that the record does not name.
    Key(Key),
}

/// Some old items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryBatch {
    /// In order; may be empty.
    pub items: Vec<HistoryItem>,
    /// Where to read on.
    pub next: Place,
    /// There is nothing behind them for now.
    pub at_end: bool,
}

impl HistoryItem {
    /// What is left of an item, if anything is.
    pub(super) fn of(item: Item, kinds: &[u16]) -> Option<Self> {
        let what = match item.what {
            What::Event { named: Some(number), .. } => Kept::Event(Part::Named(number)),
            What::Event { part, named: None } => Kept::Event(Part::Key(part)),
            What::Effect { kind, body } if kinds.contains(&kind) => Kept::Effect { kind, body },
            What::Effect { .. } => return None,
        };
        Some(Self { id: item.id, what })
    }

    fn pack(&self, packer: &mut Packer) {
        let distance = packer.step(self.id);
        let mut encoder = Encoder(&mut packer.bytes);
        encoder.varint(distance);
        match &self.what {
            Kept::Event(Part::Named(number)) => encoder.u8(*number),
            Kept::Event(Part::Key(key)) => {
                encoder.u8(NOT_NAMED);
                encoder.u128(key.0);
            }
            Kept::Effect { kind, body } => {
                encoder.u8(EFFECT);
                encoder.varint(u64::from(*kind));
                encoder.varint(u64::from(self.id.ordinal));
                encoder.bytes(body);
            }
        }
    }
}

impl Feed {
    /// Reads what is known of old items from a place on: the same whether they are still in the feed itself or not, so
    /// up to [`Bounds::complete`](super::Bounds::complete). Never waits for more. [`FeedError::Gone`] before
    /// [`Bounds::history`](super::Bounds::history).
    pub fn history(&self, from: Place) -> Result<HistoryBatch, FeedError> {
        let (found, start, end) = {
            let state = self.shared.lock();
            let known = Place::at(state.history_start);
            if from < known {
                return Err(FeedError::Gone {
                    why: "what comes next is older than what is known",
                    start: known,
                });
            }
            let start = Place::at(state.start);
            let mut files = state.history.iter();
            let found = files.find_map(|file| file.block_from(from).map(|block| (file.handle(), *block)));
            ((from < start).then_some(found), start, Place::at(state.complete))
        };
        let Some(found) = found else { return self.recent(from) };
        let (mut items, mut next) = (Vec::new(), start);
        if let Some((file, block)) = found {
            let mut take = |item: HistoryItem| {
                if Place::of(item.id) >= from {
                    items.push(item);
                }
            };
            let read = read_block(&self.shared.seals, &file, &block, &mut take);
            if let Err(error @ FeedError::HistoryDamaged { .. }) = &read {
                let mut state = self.shared.lock();
                // Only if it is still what counts: it may have been written anew.
                if let Some(until) = state.history.iter().find(|own| own.is(&file)).map(Segment::complete) {
                    state.lose_history(until, error);
                }
            }
            read?;
            next = Place::at(block.complete).max(from);
        }
        Ok(HistoryBatch { items, next, at_end: next >= end })
    }

    /// The same of what followers can still read.
    fn recent(&self, from: Place) -> Result<HistoryBatch, FeedError> {
        let Batch { items, next, at_end } = self.read(from)?;
        let kinds = self.shared.options.history_kinds;
        let items = items.into_iter().filter_map(|item| HistoryItem::of(item, kinds)).collect();
        Ok(HistoryBatch { items, next, at_end })
    }
}

/// Makes condensed blocks.
#[derive(Default)]
pub(super) struct HistoryPacker {
    packer: Packer,
    full: Vec<Chunk>,
}

impl HistoryPacker {
    /// Takes an item in. Blocks end only between records, and hold about so many bytes before compression.
    pub(super) fn put(&mut self, item: &HistoryItem, at: Timestamp, block_bytes: usize) {
        let full = self.packer.len() >= block_bytes || self.packer.items() >= BLOCK_ITEMS;
        if full && self.packer.last_position() < Some(item.id.position) {
            self.full.push(self.packer.take(at, item.id.position));
        }
        item.pack(&mut self.packer);
    }

    /// The blocks that are full.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Result<Draft, FeedError>> {
        self.full.drain(..).map(|chunk| draft_of(&chunk))
    }

    /// A last block, whatever it holds: it says how far everything is known.
    pub(super) fn finish(&mut self, at: Timestamp, complete: Position) -> Result<Draft, FeedError> {
        draft_of(&self.packer.take(at, complete))
    }
}

fn draft_of(chunk: &Chunk) -> Result<Draft, FeedError> {
    let mut payload = Vec::new();
    if chunk.items > 0 {
        Encoder(&mut payload).u32(chunk.bytes.len() as u32);
        let compressed = zstd::bulk::compress(&chunk.bytes, COMPRESSION_LEVEL);
        payload.extend(compressed.map_err(FeedError::io("the feed's history could not be compressed"))?);
    }
    let last = chunk.last.map_or(Place::at(chunk.complete), Place::of);
    let Chunk { items, first, complete, at, .. } = *chunk;
    Ok(Draft { payload, items, first, last, complete, at, whole: true })
}

/// Reads what a condensed block holds.
pub(super) fn read_block(
    seals: &Seals,
    file: &Segment,
    block: &BlockRef,
    visit: &mut dyn FnMut(HistoryItem),
) -> Result<(), FeedError> {
    let damaged = || FeedError::HistoryDamaged { file: file.name(), offset: block.offset };
    let payload = file.payload(seals, block).map_err(|error| match error {
        FeedError::Damaged { .. } => damaged(),
        other => other,
    })?;
    if payload.is_empty() {
        return Ok(());
    }
    let plain = plain_of(&payload).ok_or_else(damaged)?;
    read_items(block.first.position, &plain, visit).map_err(|_| damaged())
}

fn plain_of(payload: &[u8]) -> Option<Vec<u8>> {
    let (plain_bytes, compressed) = payload.split_first_chunk::<4>()?;
    let plain_bytes = u32::from_le_bytes(*plain_bytes) as usize;
    if plain_bytes > BLOCK_BYTES_MAX {
        return None;
    }
    zstd::bulk::decompress(compressed, plain_bytes).ok().filter(|plain| plain.len() == plain_bytes)
}

fn read_items(base: Position, plain: &[u8], visit: &mut dyn FnMut(HistoryItem)) -> Result<(), DecodeError> {
    let mut decoder = Decoder::new(plain);
    let mut position = base;
    while !decoder.is_empty() {
        position = position.plus(decoder.varint()?);
        let (ordinal, what) = match decoder.u8()? {
            EFFECT => {
                let kind = u16::try_from(decoder.varint()?).map_err(|_| DecodeError::Overlong)?;
                let ordinal = u32::try_from(decoder.varint()?).map_err(|_| DecodeError::Overlong)?;
                (ordinal, Kept::Effect { kind, body: decoder.bytes()?.to_vec() })
            }
            NOT_NAMED => (EVENT_ORDINAL, Kept::Event(Part::Key(Key(decoder.u128()?)))),
            number if number <= NAMED_MAX => (EVENT_ORDINAL, Kept::Event(Part::Named(number))),
            other => return Err(DecodeError::Unknown(u64::from(other))),
        };
        visit(HistoryItem { id: EffectId { position, ordinal }, what });
    }
    Ok(())
}

/// Writes a condensed file anew with what is to be kept of it, up to `end`. `None` if that is all of it.
pub(super) fn rewrite(
    seals: &Seals,
    file: &Segment,
    end: Position,
    keeps: &dyn Fn(&HistoryItem) -> bool,
    temporary: &Path,
) -> Result<Option<Segment>, FeedError> {
    let mut drafts = Vec::new();
    let mut changed = file.complete() > end;
    let mut known = file.head.first;
    for block in &file.blocks {
        if known >= end {
            break;
        }
        known = block.complete;
        let mut packer = Packer::default();
        read_block(seals, file, block, &mut |item| {
            if item.id.position < end && keeps(&item) {
                item.pack(&mut packer);
            } else {
                changed = true;
            }
        })?;
        drafts.push(draft_of(&packer.take(block.at, block.complete.min(end)))?);
    }
    if !changed {
        return Ok(None);
    }
    let FileHead { holds, identity, first, .. } = file.head;
    let mut fresh = Segment::create(seals, temporary.to_owned(), holds, identity, first)?;
    for draft in &drafts {
        fresh.append(seals, draft)?;
    }
    fresh.put_in_place(seals, &file.path).map(Some)
}
