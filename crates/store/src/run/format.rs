//! The bytes of a run, version 1.

use crate::objects::ObjectReader;
use crate::sealing::SALT_BYTES;
use crate::{StoreError, TableId};
use model::codec::{DecodeError, Decoder, Encoder};
use model::id::Key;
use std::ops::Range;

/// Longest row, in bytes.
pub(crate) const VALUE_BYTES_MAX: usize = 64 << 20;
/// Highest block number.
pub(crate) const BLOCK_MAX: u32 = u32::MAX - 16;
/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 32;
/// Bytes of the footer.
pub(crate) const FOOTER_BYTES: usize = 48;
/// The index and filter of 10 M rows take 40 MB; a thousand times that is damage.
const SECTIONS_BYTES_MAX: u64 = 40 << 30;
const HEADER_MAGIC: &[u8; 8] = b"TLRUN\0\0\x01";
const FOOTER_MAGIC: &[u8; 8] = b"TLRUNEND";

/// The parts behind the blocks, by the number that stands for a block number in checksum and nonce.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Section {
    /// First keys and lengths of blocks.
    Index = u32::MAX - 1,
    /// Filter words.
    Filter = u32::MAX,
}

/// CRC32C over the block's number and its body, so that a block read from a wrong place is noticed.
pub(crate) fn checksum(block: u32, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&block.to_le_bytes()), body)
}

/// The first bytes of a run. With a key, they are bound to every block.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    /// 0: blocks are not sealed.
    pub(crate) key_id: u32,
    pub(crate) salt: [u8; SALT_BYTES],
    pub(crate) bytes: [u8; HEADER_BYTES],
}

impl Header {
    pub(crate) fn new(key_id: u32, salt: [u8; SALT_BYTES]) -> Self {
        let mut encoded = Vec::with_capacity(HEADER_BYTES);
        encoded.extend_from_slice(HEADER_MAGIC);
        Encoder(&mut encoded).u32(key_id);
        encoded.extend_from_slice(&salt);
        encoded.resize(HEADER_BYTES - 4, 0);
        let crc = crc32c::crc32c(&encoded);
        Encoder(&mut encoded).u32(crc);
        let mut bytes = [0; HEADER_BYTES];
        for (to, from) in bytes.iter_mut().zip(encoded) {
            *to = from;
        }
        Self { key_id, salt, bytes }
    }

    pub(crate) fn read(reader: &dyn ObjectReader, name: &str) -> Result<Self, StoreError> {
        let mut bytes = [0; HEADER_BYTES];
        reader.read_exact_at(0, &mut bytes)?;
        let key_id = bytes.get(8..12).and_then(|raw| raw.try_into().ok()).map_or(0, u32::from_le_bytes);
        let salt = bytes.get(12..12 + SALT_BYTES).and_then(|raw| raw.try_into().ok()).unwrap_or_default();
        let expected = Self::new(key_id, salt);
        if expected.bytes == bytes {
            return Ok(expected);
        }
        let reason = "its header is not that of a run of version 1";
        Err(StoreError::Damaged { object: name.to_owned(), offset: 0, reason })
    }
}

/// The last bytes of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Footer {
    /// Rows and deletions.
    pub(crate) entries: u64,
    /// Deletions.
    pub(crate) deletions: u64,
    pub(crate) index_offset: u64,
    pub(crate) filter_offset: u64,
    /// Where the footer begins; not stored.
    pub(crate) end: u64,
}

impl Footer {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        let mut encoder = Encoder(&mut bytes);
        encoder.u64(self.entries);
        encoder.u64(self.deletions);
        encoder.u64(self.index_offset);
        encoder.u64(self.filter_offset);
        bytes.extend_from_slice(FOOTER_MAGIC);
        let crc = crc32c::crc32c(&bytes);
        let mut encoder = Encoder(&mut bytes);
        encoder.u32(crc);
        encoder.u32(0);
        bytes
    }

    pub(crate) fn read(reader: &dyn ObjectReader, name: &str, bytes: u64) -> Result<Self, StoreError> {
        let damaged = |reason| StoreError::Damaged { object: name.to_owned(), offset: bytes, reason };
        if reader.len()? != bytes {
            return Err(damaged("its length is not what the manifest says"));
        }
        let end = bytes.checked_sub(FOOTER_BYTES as u64).ok_or_else(|| damaged("it is too short"))?;
        let mut raw = [0; FOOTER_BYTES];
        reader.read_exact_at(end, &mut raw)?;
        let footer = Self::decode(&raw, end).map_err(|_| damaged("its footer cannot be read"))?;
        let in_order = (HEADER_BYTES as u64) <= footer.index_offset
            && footer.index_offset <= footer.filter_offset
            && footer.filter_offset <= end;
        if footer.encode() != raw || !in_order || end - footer.index_offset > SECTIONS_BYTES_MAX {
            return Err(damaged("its footer does not match"));
        }
        Ok(footer)
    }

    fn decode(raw: &[u8], end: u64) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(raw);
        Ok(Self {
            entries: decoder.u64()?,
            deletions: decoder.u64()?,
            index_offset: decoder.u64()?,
            filter_offset: decoder.u64()?,
            end,
        })
    }
}

/// Appends one row or deletion to a block's body.
pub(crate) fn encode_entry(body: &mut Vec<u8>, key: Key, value: Option<&[u8]>) {
    let mut encoder = Encoder(body);
    encoder.u128(key.0);
    match value {
        None => encoder.varint(0),
        Some(bytes) => {
            encoder.varint(bytes.len() as u64 + 1);
            body.extend_from_slice(bytes);
        }
    }
}

/// A row's key and where its bytes stand in the body; no range for a deletion.
pub(crate) type EntryAt = (Key, Option<Range<usize>>);

/// Walks the rows of a block's body.
pub(crate) struct Entries<'a> {
    table: TableId,
    decoder: Decoder<'a>,
    len: usize,
}

impl<'a> Entries<'a> {
    /// `None` if the body is empty.
    pub(crate) fn new(body: &'a [u8]) -> Option<Self> {
        Self::resume(body, TableId(*body.first()?), 1)
    }

    /// Goes on at an offset that [`Entries::offset`] gave.
    pub(crate) fn resume(body: &'a [u8], table: TableId, offset: usize) -> Option<Self> {
        Some(Self { table, decoder: Decoder::new(body.get(offset..)?), len: body.len() })
    }

    pub(crate) fn table(&self) -> TableId {
        self.table
    }

    /// How much of the body has been read.
    pub(crate) fn offset(&self) -> usize {
        self.len - self.decoder.rest().len()
    }

    /// The next row; `None` behind the last.
    pub(crate) fn next_entry(&mut self) -> Result<Option<EntryAt>, DecodeError> {
        if self.decoder.is_empty() {
            return Ok(None);
        }
        let key = Key(self.decoder.u128()?);
        let Some(len) = self.decoder.varint()?.checked_sub(1) else { return Ok(Some((key, None))) };
        let start = self.offset();
        let len = usize::try_from(len).map_err(|_| DecodeError::Overlong)?;
        self.decoder.take(len)?;
        Ok(Some((key, Some(start..start + len))))
    }
}
