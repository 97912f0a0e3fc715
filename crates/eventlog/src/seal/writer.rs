//! Writes batches as the blocks of a sealed segment.

use crate::error::LogError;
use crate::frame::block::{BlockBuilder, BlockFacts};
use crate::frame::{self, Batch, BodyReader, FrameKind, Header};
use crate::segment::Content;
use crate::shared::Shared;
use crate::spare::SYNC_STEP_BYTES;
use env::DiskFile;
use model::id::Position;
use std::path::Path;
use std::sync::Arc;

/// Writes batches as blocks.
pub(crate) struct SealWriter<'a> {
    shared: &'a Shared,
    file: Arc<dyn DiskFile>,
    path: &'a Path,
    tag: u64,
    compressor: zstd::bulk::Compressor<'a>,
    block: BlockBuilder,
    /// The body of the block that is being written, and the frame made of it.
    body: Vec<u8>,
    out: Vec<u8>,
    /// Reads each block again.
    bodies: BodyReader,
    content: Content,
    synced: u64,
    /// Of all bytes written, in order.
    check: u32,
}

impl<'a> SealWriter<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        file: Arc<dyn DiskFile>,
        tag: u64,
        path: &'a Path,
        first: Position,
    ) -> Result<Self, LogError> {
        let compressor =
            zstd::bulk::Compressor::new(shared.options.compression_level).map_err(LogError::Compress)?;
        Ok(Self {
            shared,
            file,
            path,
            tag,
            compressor,
            block: BlockBuilder::default(),
            body: Vec::new(),
            out: Vec::new(),
            bodies: BodyReader::default(),
            content: Content::empty(first),
            synced: 0,
            check: 0,
        })
    }

    pub(crate) fn add(&mut self, batch: &Batch<'_>) -> Result<(), LogError> {
        if self.content.batches == 0 {
            self.content.first_at = batch.received_at;
        }
        self.content.batches += 1;
        self.content.body_bytes += batch.body.len() as u64;
        self.content.next = batch.next();
        self.content.term = batch.term;
        self.content.last_at = batch.received_at;
        self.block.add(batch);
        if self.block.plain_bytes() >= self.shared.options.block_bytes { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let Some(facts) = self.block.facts() else {
            return Ok(());
        };
        let options = &self.shared.options;
        let header = Header {
            kind: FrameKind::Block,
            control: false,
            compressed: true,
            key: None,
            shard: options.shard,
            region: options.region,
            tag: self.tag,
            term: facts.term,
            first: facts.first,
            count: facts.count,
            group_offset: 0,
            received_at: facts.received_at,
            body_bytes: 0,
        };
        self.block.compress(&mut self.compressor, &mut self.body)?;
        self.out.clear();
        let entropy = self.shared.env.entropy.as_ref();
        let header =
            frame::write_frame(&mut self.out, header, &self.body, options.keyring.as_ref(), entropy)?;
        if !self.reads_back(&header) {
            return Err(LogError::Corrupt {
                segment: self.path.to_owned(),
                offset: self.content.end_offset,
                what: "a sealed block does not say what was sealed".to_owned(),
            });
        }
        self.block.clear();
        let failed = |action, error| LogError::io_or_full(action, self.path, error, self.out.len() as u64);
        self.file.write_all_at(self.content.end_offset, &self.out).map_err(|error| failed("write", error))?;
        self.check = crc32c::crc32c_append(self.check, &self.out);
        self.content.end_offset += self.out.len() as u64;
        if self.content.end_offset - self.synced >= SYNC_STEP_BYTES {
            self.file.sync_data().map_err(|error| failed("sync", error))?;
            self.synced = self.content.end_offset;
        }
        Ok(())
    }

    /// Whether the frame in `out` is read as what was put into the block. It is read from memory and not from the file:
    /// the plain bytes are still in the processor's cache, so that comparing all of them costs less than keeping and
    /// comparing checksums of them would, and the file then only has to give back these stored bytes.
    fn reads_back(&mut self, header: &Header) -> bool {
        let Some(stored) = frame::read_stored(&self.out) else {
            return false;
        };
        let Header { first, received_at, term, count, .. } = stored.header;
        let plain = self.bodies.read(&stored, self.shared.options.keyring.as_ref());
        let says = |plain| self.block.says(plain, BlockFacts { first, received_at, term, count });
        stored.header == *header && plain.is_ok_and(says)
    }

    pub(crate) fn finish(mut self) -> Result<(Content, u32), LogError> {
        self.flush()?;
        Ok((self.content, self.check))
    }
}
