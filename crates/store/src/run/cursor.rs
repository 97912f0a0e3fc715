//! Reads a run front to back with large reads.

use super::Run;
use super::format::Entries;
use crate::{StoreError, TableId};
use model::id::Key;
use std::ops::Range;
use std::sync::Arc;

/// Where a sequential reader stands. It begins before its first row.
pub(crate) struct RunCursor {
    run: Arc<Run>,
    next_block: u32,
    end_block: u32,
    read_bytes: usize,
    /// Blocks read ahead, and where they begin in the run.
    ahead: Vec<u8>,
    ahead_offset: u64,
    body: Vec<u8>,
    table: TableId,
    /// How much of the body has been read.
    body_offset: usize,
    key: Key,
    value: Option<Range<usize>>,
}

impl RunCursor {
    /// Over all rows, or over those of one table. `read_bytes` is how much is read at once.
    pub(crate) fn new(run: Arc<Run>, table: Option<TableId>, read_bytes: usize) -> Self {
        let (next_block, end_block) =
            table.map_or((0, run.index.blocks()), |table| run.index.table_blocks(table));
        Self {
            run,
            next_block,
            end_block,
            read_bytes,
            ahead: Vec::new(),
            ahead_offset: 0,
            body: Vec::new(),
            table: TableId(0),
            body_offset: 0,
            key: Key(0),
            value: None,
        }
    }

    /// Moves to the next row. `false` at the end.
    pub(crate) fn advance(&mut self) -> Result<bool, StoreError> {
        loop {
            if let Some(mut entries) = Entries::resume(&self.body, self.table, self.body_offset) {
                let entry = entries.next_entry();
                let entry =
                    entry.map_err(|_| self.run.damaged(self.ahead_offset, "a block cannot be read"))?;
                if let Some((key, value)) = entry {
                    self.body_offset = entries.offset();
                    self.key = key;
                    self.value = value;
                    return Ok(true);
                }
            }
            if !self.load_block()? {
                return Ok(false);
            }
        }
    }

    /// The row it stands on: table, key and bytes; no bytes for a deletion.
    pub(crate) fn row(&self) -> (TableId, Key, Option<&[u8]>) {
        let value = self.value.clone().map(|range| self.body.get(range).unwrap_or_default());
        (self.table, self.key, value)
    }

    pub(crate) fn place(&self) -> (TableId, Key) {
        (self.table, self.key)
    }

    fn load_block(&mut self) -> Result<bool, StoreError> {
        if self.next_block >= self.end_block {
            return Ok(false);
        }
        let (start, end) = self.run.index.extent(self.next_block);
        if end > self.ahead_offset + self.ahead.len() as u64 || start < self.ahead_offset {
            self.read_ahead(start, end)?;
        }
        let from = (start - self.ahead_offset) as usize;
        let raw = self.ahead.get(from..from + (end - start) as usize).unwrap_or_default();
        self.body.clear();
        let mut body = std::mem::take(&mut self.body);
        body.extend_from_slice(raw);
        self.body = self.run.check(self.next_block, start, body)?;
        let entries = Entries::new(&self.body).ok_or_else(|| self.run.damaged(start, "a block is empty"))?;
        self.table = entries.table();
        self.body_offset = entries.offset();
        self.next_block += 1;
        Ok(true)
    }

    fn read_ahead(&mut self, start: u64, end: u64) -> Result<(), StoreError> {
        let mut until = end;
        for block in self.next_block + 1..self.end_block {
            let (_, block_end) = self.run.index.extent(block);
            if block_end - start > self.read_bytes as u64 {
                break;
            }
            until = block_end;
        }
        self.ahead.clear();
        self.ahead.resize((until - start) as usize, 0);
        self.ahead_offset = start;
        let read = self.run.reader.read_exact_at(start, &mut self.ahead);
        if read.is_err() {
            self.ahead.clear();
        }
        read
    }
}
