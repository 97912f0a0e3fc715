//! Sorted runs: one immutable object with the rows of a checkpoint, or of several merged.
//!
//! `docs/format-store.md` has the bytes. A run is read through a sparse index (first key of each block) and a filter,
//! both in memory; each block carries a CRC32C and, if the region has a key, is sealed.

mod cursor;
mod format;
mod index;
mod writer;

use crate::filter::Probe;
use crate::objects::{ObjectReader, Objects};
use crate::sealing::{BlockKey, Sealing};
use crate::{StoreError, TableId};
use format::{BLOCK_MAX, Footer, Header, Section};
use index::Index;
use model::id::Key;
use std::sync::Arc;

pub(crate) use cursor::RunCursor;
pub(crate) use writer::RunWriter;

/// An open run.
pub(crate) struct Run {
    name: String,
    reader: Arc<dyn ObjectReader>,
    header: Header,
    key: Option<BlockKey>,
    index: Index,
    footer: Footer,
}

/// What a run says about a key.
pub(crate) enum Found {
    /// Its bytes.
    Value(Vec<u8>),
    /// It was deleted.
    Deleted,
    /// Nothing.
    Absent,
}

impl Run {
    /// Opens a run: reads its footer, index and filter.
    pub(crate) fn open(
        objects: &dyn Objects,
        name: &str,
        bytes: u64,
        sealing: Option<&Sealing>,
    ) -> Result<Self, StoreError> {
        let reader = objects.reader(name)?;
        let header = Header::read(&*reader, name)?;
        let footer = Footer::read(&*reader, name, bytes)?;
        let key = match (header.key_id, sealing) {
            (0, _) => None,
            (key_id, Some(sealing)) => Some(sealing.key(key_id, name, header.salt)?),
            (key_id, None) => return Err(StoreError::NoKey { object: name.to_owned(), key_id }),
        };
        let mut run = Self { name: name.to_owned(), reader, header, key, index: Index::default(), footer };
        let index = run.section(Section::Index, footer.index_offset, footer.filter_offset)?;
        let filter = run.section(Section::Filter, footer.filter_offset, footer.end)?;
        run.index = Index::decode(&index, &filter, footer.index_offset)
            .map_err(|_| run.damaged(footer.index_offset, "its index cannot be read"))?;
        Ok(run)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Rows and deletions.
    pub(crate) fn entries(&self) -> u64 {
        self.footer.entries
    }

    /// Bytes of the index and filter in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.index.memory_bytes()
    }

    /// Whether a row may be there, without touching the disk.
    pub(crate) fn may_hold(&self, table: TableId, key: Key, probe: Probe) -> bool {
        self.index.may_hold(table, key, probe)
    }

    /// Looks up a row on disk.
    pub(crate) fn read(&self, table: TableId, key: Key) -> Result<Found, StoreError> {
        let Some(block) = self.index.find(table, key) else { return Ok(Found::Absent) };
        let (start, end) = self.index.extent(block);
        let mut raw = vec![0; (end - start) as usize];
        self.reader.read_exact_at(start, &mut raw)?;
        let body = self.check(block, start, raw)?;
        let mut entries =
            format::Entries::new(&body).ok_or_else(|| self.damaged(start, "a block is empty"))?;
        loop {
            match entries.next_entry() {
                Ok(Some((found, _))) if found < key => {}
                Ok(Some((found, range))) if found == key => {
                    let Some(range) = range else { return Ok(Found::Deleted) };
                    return Ok(Found::Value(body.get(range).unwrap_or_default().to_vec()));
                }
                Ok(_) => return Ok(Found::Absent),
                Err(_) => return Err(self.damaged(start, "a block cannot be read")),
            }
        }
    }

    /// Checks and opens a block as it stands on disk; gives its body.
    fn check(&self, block: u32, offset: u64, mut raw: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let Some((body, crc)) = raw.split_last_chunk::<4>() else {
            return Err(self.damaged(offset, "a block is too short"));
        };
        if format::checksum(block, body) != u32::from_le_bytes(*crc) {
            return Err(self.damaged(offset, "the checksum of a block does not match"));
        }
        if let Some(key) = &self.key {
            let opened = key.open(block, &self.header.bytes, body);
            return opened.ok_or_else(|| self.damaged(offset, "a sealed block does not open"));
        }
        raw.truncate(raw.len() - 4);
        Ok(raw)
    }

    fn section(&self, section: Section, start: u64, end: u64) -> Result<Vec<u8>, StoreError> {
        let len = end.checked_sub(start).and_then(|len| usize::try_from(len).ok());
        let mut raw = vec![0; len.ok_or_else(|| self.damaged(start, "its footer contradicts itself"))?];
        self.reader.read_exact_at(start, &mut raw)?;
        self.check(section as u32, start, raw)
    }

    fn damaged(&self, offset: u64, reason: &'static str) -> StoreError {
        StoreError::Damaged { object: self.name.clone(), offset, reason }
    }
}

// Blocks are numbered below the sections, so one number names either in a checksum or a nonce.
const _: () = assert!(BLOCK_MAX < Section::Index as u32);

#[cfg(test)]
mod tests;
