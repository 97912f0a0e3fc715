//! What of a run is in memory: the first key and offset of each block, and the filter.
//!
//! A block holds rows of one table. The filter comes in parts of up to [`PART_ENTRIES`] rows, each sized when its rows
//! are known, so writing needs no guess about how many rows a merge will leave and little memory.

use super::format::HEADER_BYTES;
use crate::TableId;
use crate::filter::{self, LINE_WORDS, Probe};
use model::codec::{DecodeError, Decoder, Encoder};
use model::id::Key;

/// Rows in a part of the filter.
pub(super) const PART_ENTRIES: usize = 1 << 16;
/// Filter bits per row.
const BITS_PER_KEY: u64 = 16;

/// The blocks and filter parts of one table.
struct TableIndex {
    table: TableId,
    /// Number of the first block.
    first_block: u32,
    first_keys: Vec<u128>,
    parts: Vec<Part>,
}

struct Part {
    first_key: u128,
    /// Offset of its words among all, and their number.
    start: usize,
    words: usize,
}

#[derive(Default)]
pub(super) struct Index {
    tables: Vec<TableIndex>,
    /// Where each block begins, and where the last one ends.
    offsets: Vec<u64>,
    words: Vec<u64>,
}

impl Index {
    pub(super) fn memory_bytes(&self) -> u64 {
        let keys: usize = self.tables.iter().map(|table| table.first_keys.len()).sum();
        (keys * 16 + self.offsets.len() * 8 + self.words.len() * 8) as u64
    }

    /// Whether a row may be there, by the filter.
    pub(super) fn may_hold(&self, table: TableId, key: Key, probe: Probe) -> bool {
        let Some(known) = self.table(table) else { return false };
        let part = known.parts.partition_point(|part| part.first_key <= key.0).checked_sub(1);
        let Some(part) = part.and_then(|part| known.parts.get(part)) else { return false };
        self.words
            .get(part.start..part.start + part.words)
            .is_some_and(|words| filter::may_contain(words, probe))
    }

    /// The block that holds a row if any does.
    pub(super) fn find(&self, table: TableId, key: Key) -> Option<u32> {
        let known = self.table(table)?;
        let block = known.first_keys.partition_point(|first| *first <= key.0).checked_sub(1)?;
        Some(known.first_block + block as u32)
    }

    fn table(&self, table: TableId) -> Option<&TableIndex> {
        let found = self.tables.binary_search_by_key(&table, |known| known.table).ok()?;
        self.tables.get(found)
    }

    /// The blocks in which a table's rows stand, as first number and number behind the last.
    pub(super) fn table_blocks(&self, table: TableId) -> (u32, u32) {
        self.table(table)
            .map_or((0, 0), |known| (known.first_block, known.first_block + known.first_keys.len() as u32))
    }

    pub(super) fn blocks(&self) -> u32 {
        self.offsets.len().saturating_sub(1) as u32
    }

    /// Where a block begins and ends.
    pub(super) fn extent(&self, block: u32) -> (u64, u64) {
        let at = |number: usize| self.offsets.get(number).copied().unwrap_or(0);
        (at(block as usize), at(block as usize + 1))
    }

    pub(super) fn decode(index: &[u8], filter: &[u8], blocks_end: u64) -> Result<Self, DecodeError> {
        let mut decoded = Self { offsets: vec![HEADER_BYTES as u64], ..Self::default() };
        let mut decoder = Decoder::new(index);
        for _ in 0..decoder.count()? {
            decoded.decode_table(&mut decoder)?;
        }
        decoder.finish()?;
        let words =
            decoded.tables.iter().flat_map(|table| &table.parts).map(|part| part.words).sum::<usize>();
        let (eights, rest) = filter.as_chunks::<8>();
        if !rest.is_empty() || eights.len() != words || decoded.offsets.last() != Some(&blocks_end) {
            return Err(DecodeError::Trailing);
        }
        decoded.words = eights.iter().map(|raw| u64::from_le_bytes(*raw)).collect();
        Ok(decoded)
    }

    fn decode_table(&mut self, decoder: &mut Decoder<'_>) -> Result<(), DecodeError> {
        let mut table = TableIndex {
            table: TableId(decoder.u8()?),
            first_block: self.blocks(),
            first_keys: Vec::new(),
            parts: Vec::new(),
        };
        let mut end = self.offsets.last().copied().unwrap_or_default();
        for _ in 0..decoder.count()? {
            table.first_keys.push(decoder.u128()?);
            end = end.checked_add(decoder.varint()?).ok_or(DecodeError::Overlong)?;
            self.offsets.push(end);
        }
        let mut start =
            self.tables.last().and_then(|table| table.parts.last()).map_or(0, |part| part.start + part.words);
        for _ in 0..decoder.count()? {
            let first_key = decoder.u128()?;
            let lines = decoder.u32()? as usize;
            table.parts.push(Part { first_key, start, words: lines * LINE_WORDS });
            start += lines * LINE_WORDS;
        }
        self.tables.push(table);
        Ok(())
    }
}

/// Collects the index and filter while a run is written.
#[derive(Default)]
pub(super) struct IndexBuilder {
    tables: Vec<BuiltTable>,
    words: Vec<u8>,
    /// Of the rows of the open filter part.
    probes: Vec<Probe>,
    part_first_key: u128,
}

struct BuiltTable {
    table: TableId,
    blocks: Vec<(u128, u64)>,
    parts: Vec<(u128, u32)>,
}

impl IndexBuilder {
    /// A row follows.
    pub(super) fn row(&mut self, table: TableId, key: Key) {
        let same_table = self.tables.last().is_some_and(|last| last.table == table);
        if !same_table {
            self.close_part();
            self.tables.push(BuiltTable { table, blocks: Vec::new(), parts: Vec::new() });
        } else if self.probes.len() >= PART_ENTRIES {
            self.close_part();
        }
        if self.probes.is_empty() {
            self.part_first_key = key.0;
        }
        self.probes.push(Probe::of_row(table, key));
    }

    /// A block of the given table was written.
    pub(super) fn block(&mut self, table: TableId, first_key: u128, bytes: u64) {
        if let Some(built) = self.tables.iter_mut().rev().find(|built| built.table == table) {
            built.blocks.push((first_key, bytes));
        }
    }

    fn close_part(&mut self) {
        let Some(table) = self.tables.last_mut().filter(|_| !self.probes.is_empty()) else { return };
        let lines = filter::lines_for(self.probes.len() as u64, BITS_PER_KEY);
        let mut words = vec![0; lines as usize * LINE_WORDS];
        for probe in self.probes.drain(..) {
            filter::insert(&mut words, probe);
        }
        self.words.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        table.parts.push((self.part_first_key, lines as u32));
    }

    /// The index and filter sections.
    pub(super) fn finish(mut self) -> (Vec<u8>, Vec<u8>) {
        self.close_part();
        let mut bytes = Vec::new();
        let mut encoder = Encoder(&mut bytes);
        encoder.varint(self.tables.len() as u64);
        for table in &self.tables {
            encoder.u8(table.table.0);
            encoder.varint(table.blocks.len() as u64);
            for (first_key, bytes) in &table.blocks {
                encoder.u128(*first_key);
                encoder.varint(*bytes);
            }
            encoder.varint(table.parts.len() as u64);
            for (first_key, lines) in &table.parts {
                encoder.u128(*first_key);
                encoder.u32(*lines);
            }
        }
        (bytes, self.words)
    }
}
