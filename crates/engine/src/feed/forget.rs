//! Takes erased subjects out of the files of the feed.
//!
//! An item goes if it stands before the erasing record and its subject, its part, or 16 bytes anywhere in its body are
//! one of the keys: the feed does not know what a body means, but keys are 128 bits, little-endian, and do not meet by
//! chance. The erasing effect itself stays: followers that lag behind it must learn of it. So do others of the kinds that
//! the history keeps, and there a file is written anew only where it holds one of the keys itself: an event that says
//! which key of its record it was counted under names nobody.

use super::chunk::{Chunk, Packer, each_chunk, read_items};
use super::head::{FileHead, Holds};
use super::history::{self, Kept, Part};
use super::segment::{BlockRef, Draft, Seals, Segment};
use super::{Feed, FeedError, Item, Place, What};
use crate::machine::Subject;
use model::id::{Key, Position};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// A request to forget.
#[derive(Clone, Debug)]
pub(super) struct Forgetting {
    pub(super) ticket: u64,
    pub(super) keys: Arc<BTreeSet<Key>>,
    pub(super) before: Position,
    /// Files that begin before this position are done.
    pub(super) done_before: Position,
}

impl Feed {
    /// Asks that items before a position that concern one of these keys leave the disk. Returns a ticket: it is done
    /// once [`Feed::forgotten`] gives this number or a greater one. Doing it twice is as doing it once; a restart
    /// forgets the request.
    pub fn forget(&self, keys: BTreeSet<Key>, before: Position) -> u64 {
        let mut state = self.shared.lock();
        state.forget_tickets += 1;
        let ticket = state.forget_tickets;
        let keys = Arc::new(keys);
        state.forgetting.push_back(Forgetting { ticket, keys, before, done_before: Position(0) });
        state.waiting_writer = false;
        drop(state);
        self.shared.work.notify_all();
        ticket
    }

    /// Requests up to this ticket are done.
    pub fn forgotten(&self) -> u64 {
        self.shared.lock().forgotten
    }
}

/// Whether an item goes.
fn concerns(item: &Item, forgetting: &Forgetting, kept_kinds: &[u16]) -> bool {
    if item.id.position >= forgetting.before {
        return false;
    }
    let keys = &forgetting.keys;
    match &item.what {
        What::Effect { kind, .. } if kept_kinds.contains(kind) => false,
        _ if keys.contains(&item.subject) => true,
        What::Event { part, .. } => keys.contains(part),
        What::Effect { body, .. } => body.windows(16).any(|window| {
            <[u8; 16]>::try_from(window).is_ok_and(|bytes| keys.contains(&Key(u128::from_le_bytes(bytes))))
        }),
    }
}

/// Writes a file anew without the items that concern somebody forgotten. `None` if it holds none.
pub(super) fn rewrite(
    seals: &Seals,
    segment: &Segment,
    forgetting: &Forgetting,
    kept_kinds: &[u16],
    temporary: &Path,
) -> Result<Option<Segment>, FeedError> {
    if segment.head.holds == Holds::History {
        let keeps = |item: &history::HistoryItem| match &item.what {
            Kept::Event(Part::Key(key)) => {
                item.id.position >= forgetting.before || !forgetting.keys.contains(key)
            }
            Kept::Event(Part::Named(_)) | Kept::Effect { .. } => true,
        };
        return history::rewrite(seals, segment, segment.complete(), &keeps, temporary);
    }
    let mut drafts = Vec::new();
    let mut changed = false;
    for block in &segment.blocks {
        let goes = |item: &Item| concerns(item, forgetting, kept_kinds);
        drafts.extend(block_without(seals, segment, block, &goes, &mut changed)?);
    }
    if !changed {
        return Ok(None);
    }
    let FileHead { holds, identity, first, .. } = segment.head;
    let mut fresh = Segment::create(seals, temporary.to_owned(), holds, identity, first)?;
    for draft in &drafts {
        fresh.append(seals, draft)?;
    }
    fresh.put_in_place(seals, &segment.path).map(Some)
}

/// A block without some items.
fn block_without(
    seals: &Seals,
    segment: &Segment,
    block: &BlockRef,
    goes: &dyn Fn(&Item) -> bool,
    changed: &mut bool,
) -> Result<Option<Draft>, FeedError> {
    let payload = segment.payload(seals, block)?;
    let mut chunks = Vec::new();
    let read = each_chunk(&payload, &mut |base, at, complete, bytes| {
        let mut packer = Packer::default();
        read_items(base, at, bytes, &mut |item| {
            if goes(&item) {
                *changed = true;
                return;
            }
            match &item.what {
                What::Event { part, named } => {
                    let subject = Subject { whole: item.subject, part: *part, named: *named };
                    packer.event(item.id.position, subject);
                }
                What::Effect { kind, body } => packer.effect(item.id, *kind, item.subject, body),
            }
        })?;
        if !packer.is_empty() {
            chunks.push(Arc::new(packer.take(at, complete)));
        }
        Ok(())
    });
    read.map_err(|_| FeedError::Damaged { file: segment.name(), offset: block.offset })?;
    // The watermark stays, whatever is left.
    chunks.push(Arc::new(Chunk::mark(block.complete, block.at)));
    Ok(Draft::of(&chunks))
}

/// Whether a file may hold items of before a position.
pub(super) fn reaches_before(segment: &Segment, before: Position) -> bool {
    let first = segment.blocks.iter().find(|block| block.items > 0).map(|block| block.first);
    first.is_some_and(|first| first < Place::at(before))
}
