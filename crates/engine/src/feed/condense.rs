//! Condenses one file of the feed, a block at a time: the writer has other things to do in between.
//!
//! What is left is written to a file of its own, together with the newest file of the history if that is small, so that
//! the history is not many small files. Nothing counts before the file has its name: a crash leaves the feed's file and
//! the history as they were, or both the feed's file and what was made of it, of which opening cuts the latter.

use super::chunk::{each_chunk, read_items};
use super::head::Holds;
use super::history::{HistoryItem, HistoryPacker};
use super::segment::{Draft, Seals, Segment};
use super::{FeedError, FeedOptions};
use model::id::Position;
use std::path::Path;

/// A file of the feed on its way into the history.
pub(super) struct Condensing {
    /// The file that goes.
    pub(super) source: Segment,
    /// The newest file of the history, if the fresh one takes its place.
    pub(super) joined: Option<Segment>,
    fresh: Segment,
    packer: HistoryPacker,
    /// Blocks of both that are done.
    done: usize,
}

impl Condensing {
    pub(super) fn begin(
        seals: &Seals,
        source: Segment,
        joined: Option<Segment>,
        temporary: &Path,
    ) -> Result<Self, FeedError> {
        let first = joined.as_ref().map_or(source.head.first, |joined| joined.head.first);
        let identity = source.head.identity;
        let fresh = Segment::create(seals, temporary.to_owned(), Holds::History, identity, first)?;
        Ok(Self { source, joined, fresh, packer: HistoryPacker::default(), done: 0 })
    }

    /// Does the next block. `false` once there is none.
    pub(super) fn step(&mut self, seals: &Seals, options: &FeedOptions) -> Result<bool, FeedError> {
        let joined = self.joined.as_ref().map_or(0, |joined| joined.blocks.len());
        if self.done < joined {
            self.copy(seals)?;
        } else if self.done - joined < self.source.blocks.len() {
            self.condense(self.done - joined, seals, options)?;
        } else {
            return Ok(false);
        }
        self.done += 1;
        Ok(true)
    }

    /// A block of the history as it is.
    fn copy(&mut self, seals: &Seals) -> Result<(), FeedError> {
        let joined = self.joined.as_ref();
        let Some((file, block)) = joined.and_then(|file| Some((file, file.blocks.get(self.done)?))) else {
            return Ok(());
        };
        let payload = file.payload(seals, block)?;
        let (items, first, last) = (block.items, block.first, block.last);
        let draft =
            Draft { payload, items, first, last, complete: block.complete, at: block.at, whole: true };
        self.fresh.append(seals, &draft)
    }

    fn condense(&mut self, index: usize, seals: &Seals, options: &FeedOptions) -> Result<(), FeedError> {
        let Some(block) = self.source.blocks.get(index) else { return Ok(()) };
        let payload = self.source.payload(seals, block)?;
        let packer = &mut self.packer;
        let read = each_chunk(&payload, &mut |base, at, _, bytes| {
            read_items(base, at, bytes, &mut |item| {
                if let Some(item) = HistoryItem::of(item, options.history_kinds) {
                    packer.put(&item, at, options.block_bytes);
                }
            })
        });
        read.map_err(|_| FeedError::Damaged { file: self.source.name(), offset: block.offset })?;
        for draft in packer.drain() {
            self.fresh.append(seals, &draft?)?;
        }
        if index + 1 == self.source.blocks.len() {
            self.fresh.append(seals, &packer.finish(block.at, block.complete)?)?;
        }
        Ok(())
    }

    /// Gives the fresh file its name.
    pub(super) fn finish(self, seals: &Seals, directory: &Path) -> Result<Segment, FeedError> {
        let path = directory.join(Holds::History.file_name(self.fresh.head.first));
        self.fresh.put_in_place(seals, &path)
    }

    /// Removes what was written: it may speak of somebody who is to be forgotten, and takes room.
    pub(super) fn abandon(&self, seals: &Seals) {
        // Where that fails, the next file of this name or the next start removes it.
        let _ = seals.env.disk.remove(&self.fresh.path);
    }

    /// Up to here nothing is known any more if what is read next is damaged.
    pub(super) fn behind_damage(&self) -> Position {
        let joined = self.joined.as_ref().filter(|joined| self.done < joined.blocks.len());
        joined.unwrap_or(&self.source).complete()
    }
}
