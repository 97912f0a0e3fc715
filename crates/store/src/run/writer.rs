//! Writes a run front to back.

use super::format::{self, BLOCK_MAX, Footer, Header, Section, VALUE_BYTES_MAX};
use super::index::IndexBuilder;
use crate::objects::{ObjectWriter, Objects};
use crate::sealing::{BlockKey, Sealing};
use crate::{StoreError, TableId};
use model::id::Key;

/// A run in the making. Dropping it leaves nothing behind.
pub(crate) struct RunWriter {
    out: Box<dyn ObjectWriter>,
    header: Header,
    key: Option<BlockKey>,
    block_bytes: usize,
    offset: u64,
    body: Vec<u8>,
    body_table: TableId,
    body_first_key: u128,
    block: u32,
    index: IndexBuilder,
    entries: u64,
    deletions: u64,
}

impl RunWriter {
    pub(crate) fn create(
        objects: &dyn Objects,
        name: &str,
        block_bytes: usize,
        sealing: Option<&Sealing>,
    ) -> Result<Self, StoreError> {
        let (header, key) = match sealing {
            None => (Header::new(0, Default::default()), None),
            Some(sealing) => {
                let salt = sealing.salt()?;
                (Header::new(sealing.active(), salt), Some(sealing.key(sealing.active(), name, salt)?))
            }
        };
        let mut out = objects.create_writer(name)?;
        out.write(&header.bytes)?;
        Ok(Self {
            out,
            header,
            key,
            block_bytes,
            offset: header.bytes.len() as u64,
            body: Vec::with_capacity(block_bytes * 2),
            body_table: TableId(0),
            body_first_key: 0,
            block: 0,
            index: IndexBuilder::default(),
            entries: 0,
            deletions: 0,
        })
    }

    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.offset
    }

    /// Appends a row or deletion. Rows come in ascending order of table and key, each once.
    pub(crate) fn push(&mut self, table: TableId, key: Key, value: Option<&[u8]>) -> Result<(), StoreError> {
        if value.is_some_and(|bytes| bytes.len() > VALUE_BYTES_MAX) {
            return Err(StoreError::TooLarge { what: "a row", limit: VALUE_BYTES_MAX as u64 });
        }
        if !self.body.is_empty() && (table != self.body_table || self.body.len() >= self.block_bytes) {
            self.close_block()?;
        }
        if self.body.is_empty() {
            self.body.push(table.0);
            self.body_table = table;
            self.body_first_key = key.0;
        }
        self.index.row(table, key);
        format::encode_entry(&mut self.body, key, value);
        self.entries += 1;
        self.deletions += u64::from(value.is_none());
        Ok(())
    }

    /// Rows and deletions so far.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Makes the run durable and visible; gives its length.
    pub(crate) fn finish(mut self) -> Result<u64, StoreError> {
        if !self.body.is_empty() {
            self.close_block()?;
        }
        let (index, filter) = std::mem::take(&mut self.index).finish();
        let index_offset = self.offset;
        self.write_part(Section::Index as u32, &index)?;
        let filter_offset = self.offset;
        self.write_part(Section::Filter as u32, &filter)?;
        let (entries, deletions, end) = (self.entries, self.deletions, self.offset);
        let footer = Footer { entries, deletions, index_offset, filter_offset, end }.encode();
        self.out.write(&footer)?;
        let bytes = self.offset + footer.len() as u64;
        self.out.finish()?;
        Ok(bytes)
    }

    fn close_block(&mut self) -> Result<(), StoreError> {
        if self.block >= BLOCK_MAX {
            return Err(StoreError::TooLarge { what: "a run", limit: u64::from(BLOCK_MAX) });
        }
        let body = std::mem::take(&mut self.body);
        let bytes = self.write_part(self.block, &body)?;
        self.index.block(self.body_table, self.body_first_key, bytes);
        self.block += 1;
        self.body = body;
        self.body.clear();
        Ok(())
    }

    fn write_part(&mut self, number: u32, plain: &[u8]) -> Result<u64, StoreError> {
        let sealed = match &self.key {
            None => None,
            Some(key) => Some(key.seal(number, &self.header.bytes, plain)?),
        };
        let body = sealed.as_deref().unwrap_or(plain);
        self.out.write(body)?;
        self.out.write(&format::checksum(number, body).to_le_bytes())?;
        let bytes = body.len() as u64 + 4;
        self.offset += bytes;
        Ok(bytes)
    }
}
