//! Sorted id files: 16 bytes an id, in blocks of 255 with a CRC32C. `docs/format-store.md` has the bytes.

use crate::StoreError;
use crate::manifest::IdFileEntry;
use crate::objects::{ObjectReader, ObjectWriter, Objects};
use model::codec::Encoder;
use model::id::Key;
use std::sync::Arc;

/// Ids in a block.
const BLOCK_IDS: usize = 255;
/// Bytes from one block to the next: ids, CRC and padding, so that a look-up reads one page.
const BLOCK_BYTES: usize = 4096;
const CRC_BYTES: usize = 4;
/// Blocks read at once by a sequential reader.
const READ_BLOCKS: u64 = 256;
const FOOTER_MAGIC: &[u8; 8] = b"TLIDS\0\0\x01";
const FOOTER_BYTES: usize = 28;

/// A written id file.
pub(crate) struct IdFile {
    entry: IdFileEntry,
    reader: Arc<dyn ObjectReader>,
    /// The first id of each block.
    first_ids: Vec<u128>,
}

impl IdFile {
    /// Opens a file, reads it once from front to back and calls `take` with every id, in order.
    pub(super) fn open(
        objects: &dyn Objects,
        entry: &IdFileEntry,
        take: &mut dyn FnMut(Key),
    ) -> Result<Self, StoreError> {
        let reader = objects.reader(&entry.name)?;
        let mut file = Self { entry: entry.clone(), reader, first_ids: Vec::new() };
        file.check_footer()?;
        let mut first_ids = Vec::new();
        file.blocks_in_order(&mut |ids| {
            first_ids.extend(ids.first());
            for id in ids {
                take(Key(*id));
            }
        })?;
        file.first_ids = first_ids;
        Ok(file)
    }

    pub(crate) fn entry(&self) -> &IdFileEntry {
        &self.entry
    }

    /// Whether the file holds an id. `buffer` is working space.
    pub(super) fn contains(&self, id: Key, buffer: &mut Vec<u8>) -> Result<bool, StoreError> {
        let Some(block) = self.first_ids.partition_point(|first| *first <= id.0).checked_sub(1) else {
            return Ok(false);
        };
        let block = block as u64;
        self.read_blocks(block, 1, buffer)?;
        let ids = self.checked_ids(block, buffer)?;
        let (ids, _) = ids.as_chunks::<16>();
        Ok(ids.binary_search_by(|raw| u128::from_le_bytes(*raw).cmp(&id.0)).is_ok())
    }

    fn blocks(&self) -> u64 {
        self.entry.count.div_ceil(BLOCK_IDS as u64)
    }

    /// Ids in a block.
    fn ids_in(&self, block: u64) -> usize {
        let left = self.entry.count.saturating_sub(block * BLOCK_IDS as u64);
        usize::try_from(left).map_or(BLOCK_IDS, |left| left.min(BLOCK_IDS))
    }

    fn blocks_end(&self) -> u64 {
        let Some(last) = self.blocks().checked_sub(1) else { return 0 };
        last * BLOCK_BYTES as u64 + (self.ids_in(last) * 16 + CRC_BYTES) as u64
    }

    fn check_footer(&self) -> Result<(), StoreError> {
        let end = self.blocks_end();
        let mut raw = [0; FOOTER_BYTES];
        if self.reader.len()? != end + FOOTER_BYTES as u64 {
            return Err(self.damaged(end, "its length is not what the manifest says"));
        }
        self.reader.read_exact_at(end, &mut raw)?;
        if raw.as_slice() != footer(self.entry.bucket, self.entry.count) {
            return Err(self.damaged(end, "its footer does not match"));
        }
        Ok(())
    }

    fn read_blocks(&self, first: u64, count: u64, buffer: &mut Vec<u8>) -> Result<(), StoreError> {
        let start = first * BLOCK_BYTES as u64;
        let end = ((first + count) * BLOCK_BYTES as u64).min(self.blocks_end());
        buffer.clear();
        buffer.resize(end.saturating_sub(start) as usize, 0);
        self.reader.read_exact_at(start, buffer)
    }

    /// The ids of a block whose bytes begin `raw`, as bytes.
    fn checked_ids<'a>(&self, block: u64, raw: &'a [u8]) -> Result<&'a [u8], StoreError> {
        let offset = block * BLOCK_BYTES as u64;
        let (ids, rest) = raw
            .split_at_checked(self.ids_in(block) * 16)
            .ok_or_else(|| self.damaged(offset, "a block is too short"))?;
        if rest.first_chunk::<CRC_BYTES>() != Some(&checksum(block, ids).to_le_bytes()) {
            return Err(self.damaged(offset, "the checksum of a block does not match"));
        }
        Ok(ids)
    }

    fn blocks_in_order(&self, take: &mut dyn FnMut(&[u128])) -> Result<(), StoreError> {
        let (mut buffer, mut ids) = (Vec::new(), Vec::with_capacity(BLOCK_IDS));
        for first in (0..self.blocks()).step_by(READ_BLOCKS as usize) {
            self.read_blocks(first, READ_BLOCKS.min(self.blocks() - first), &mut buffer)?;
            for (number, raw) in buffer.chunks(BLOCK_BYTES).enumerate() {
                let (chunks, _) = self.checked_ids(first + number as u64, raw)?.as_chunks::<16>();
                ids.clear();
                ids.extend(chunks.iter().map(|raw| u128::from_le_bytes(*raw)));
                take(&ids);
            }
        }
        Ok(())
    }

    fn damaged(&self, offset: u64, reason: &'static str) -> StoreError {
        StoreError::Damaged { object: self.entry.name.clone(), offset, reason }
    }
}

fn checksum(block: u64, ids: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&block.to_le_bytes()), ids)
}

fn footer(bucket: i64, count: u64) -> Vec<u8> {
    let mut bytes = FOOTER_MAGIC.to_vec();
    let mut encoder = Encoder(&mut bytes);
    encoder.i64(bucket);
    encoder.u64(count);
    let crc = crc32c::crc32c(&bytes);
    Encoder(&mut bytes).u32(crc);
    bytes
}

/// An id file in the making. Dropping it leaves nothing behind.
pub(super) struct IdFileWriter {
    out: Box<dyn ObjectWriter>,
    entry: IdFileEntry,
    first_ids: Vec<u128>,
    block: Vec<u8>,
    blocks: u64,
}

impl IdFileWriter {
    pub(super) fn create(
        objects: &dyn Objects,
        name: String,
        bucket: i64,
        level: u32,
    ) -> Result<Self, StoreError> {
        let out = objects.create_writer(&name)?;
        let entry = IdFileEntry { name, bucket, level, count: 0 };
        Ok(Self { out, entry, first_ids: Vec::new(), block: Vec::with_capacity(BLOCK_BYTES), blocks: 0 })
    }

    /// Appends an id. Ids come in ascending order, each once.
    pub(super) fn push(&mut self, id: u128) -> Result<(), StoreError> {
        if self.block.len() == BLOCK_IDS * 16 {
            self.close_block()?;
            // Every block but the last is padded to its full length.
            self.out.write(&[0; BLOCK_BYTES - BLOCK_IDS * 16 - CRC_BYTES])?;
        }
        if self.block.is_empty() {
            self.first_ids.push(id);
        }
        self.block.extend_from_slice(&id.to_le_bytes());
        self.entry.count += 1;
        Ok(())
    }

    pub(super) fn finish(mut self, objects: &dyn Objects) -> Result<IdFile, StoreError> {
        if !self.block.is_empty() {
            self.close_block()?;
        }
        self.out.write(&footer(self.entry.bucket, self.entry.count))?;
        self.out.finish()?;
        let reader = objects.reader(&self.entry.name)?;
        Ok(IdFile { entry: self.entry, reader, first_ids: self.first_ids })
    }

    fn close_block(&mut self) -> Result<(), StoreError> {
        self.out.write(&self.block)?;
        self.out.write(&checksum(self.blocks, &self.block).to_le_bytes())?;
        self.block.clear();
        self.blocks += 1;
        Ok(())
    }
}

/// Reads the ids of a file one after another.
pub(super) struct IdCursor {
    file: Arc<IdFile>,
    next_block: u64,
    buffer: Vec<u8>,
    /// Ids read and not given yet, last one first.
    ids: Vec<u128>,
}

impl IdCursor {
    pub(super) fn new(file: Arc<IdFile>) -> Self {
        Self { file, next_block: 0, buffer: Vec::new(), ids: Vec::new() }
    }

    pub(super) fn next_id(&mut self) -> Result<Option<u128>, StoreError> {
        if self.ids.is_empty() && self.next_block < self.file.blocks() {
            let count = READ_BLOCKS.min(self.file.blocks() - self.next_block);
            self.file.read_blocks(self.next_block, count, &mut self.buffer)?;
            for (number, raw) in self.buffer.chunks(BLOCK_BYTES).enumerate() {
                let (chunks, _) =
                    self.file.checked_ids(self.next_block + number as u64, raw)?.as_chunks::<16>();
                self.ids.extend(chunks.iter().map(|raw| u128::from_le_bytes(*raw)));
            }
            self.ids.reverse();
            self.next_block += count;
        }
        Ok(self.ids.pop())
    }
}
