//! What the tables above and the runs below say to each other.

use crate::StoreError;
use model::id::Key;

/// A table of a shard. The engine gives the numbers; they are part of the stored form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TableId(pub u8);

/// Reads rows of committed checkpoints.
pub trait RowSource: Send + Sync {
    /// The bytes of a row. `None`: there is no such row, or it was deleted.
    fn read(&self, table: TableId, key: Key) -> Result<Option<Vec<u8>>, StoreError>;
}

/// One changed row handed to a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowChange {
    /// The table it belongs to.
    pub table: TableId,
    /// Its key.
    pub key: Key,
    /// Where its bytes stand in [`Chunk::bytes`], as offset and length. `None`: the row was deleted.
    pub value: Option<(u32, u32)>,
}

/// Changed rows that share one buffer. A later change of the same row replaces an earlier one.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// The rows, in the order of their changes.
    pub rows: Vec<RowChange>,
    /// Their bytes.
    pub bytes: Vec<u8>,
}

impl Chunk {
    /// Appends a row and its new bytes. `false`, and nothing appended, if the chunk's 4 GiB are used up.
    #[must_use]
    pub fn put(&mut self, table: TableId, key: Key, value: &[u8]) -> bool {
        let (Ok(offset), Ok(len)) = (u32::try_from(self.bytes.len()), u32::try_from(value.len())) else {
            return false;
        };
        if offset.checked_add(len).is_none() {
            return false;
        }
        self.bytes.extend_from_slice(value);
        self.rows.push(RowChange { table, key, value: Some((offset, len)) });
        true
    }

    /// Appends the deletion of a row.
    pub fn delete(&mut self, table: TableId, key: Key) {
        self.rows.push(RowChange { table, key, value: None });
    }

    /// The bytes of one of its rows; `None` for a deletion or a range outside the buffer.
    pub fn value(&self, row: &RowChange) -> Option<&[u8]> {
        let (offset, len) = row.value?;
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(len).ok()?)?;
        self.bytes.get(start..end)
    }
}
