//! Blocks: many batches in one stored frame, so that they compress well and are sealed at once.
//!
//! The plain body of a block is a sequence of batches, each: flags (`u8`, 1 control), count (varint), term (varint),
//! log time (signed varint, microseconds after the block's), length of the body (varint), body. Positions follow from
//! the block's first position and the counts.

use super::{Batch, BodyFault};
use crate::LogError;
use model::codec::{DecodeError, Decoder, Encoder};
use model::id::{Position, Term, Timestamp};

/// Collects batches for one block.
#[derive(Default)]
pub(crate) struct BlockBuilder {
    plain: Vec<u8>,
    /// What was said of each batch.
    heads: Vec<Head>,
    count: u32,
    compressed: Vec<u8>,
}

/// What a block's header needs to know about its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockFacts {
    pub(crate) first: Position,
    pub(crate) received_at: Timestamp,
    pub(crate) term: Term,
    pub(crate) count: u32,
}

/// A batch without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    first: Position,
    count: u32,
    term: Term,
    received_at: Timestamp,
    control: bool,
}

impl Head {
    fn of(batch: &Batch<'_>) -> Self {
        let Batch { first, count, term, received_at, control, .. } = *batch;
        Self { first, count, term, received_at, control }
    }
}

impl BlockBuilder {
    pub(crate) fn plain_bytes(&self) -> usize {
        self.plain.len()
    }

    pub(crate) fn add(&mut self, batch: &Batch<'_>) {
        let start = self.heads.first().map_or(batch.received_at, |first| first.received_at);
        let mut encoder = Encoder(&mut self.plain);
        encoder.u8(u8::from(batch.control));
        encoder.varint(u64::from(batch.count));
        encoder.varint(batch.term.0);
        encoder.signed(batch.received_at.since_us(start));
        encoder.bytes(batch.body);
        self.count = self.count.saturating_add(batch.count);
        self.heads.push(Head::of(batch));
    }

    /// What the block's header says; `None` if it holds no batch.
    pub(crate) fn facts(&self) -> Option<BlockFacts> {
        let (first, last) = self.heads.first().zip(self.heads.last())?;
        let (Head { first, received_at, .. }, Head { term, .. }) = (*first, *last);
        Some(BlockFacts { first, received_at, term, count: self.count })
    }

    /// Puts the compressed body into `body`, in place of what is there.
    pub(crate) fn compress(
        &mut self,
        compressor: &mut zstd::bulk::Compressor<'_>,
        body: &mut Vec<u8>,
    ) -> Result<(), LogError> {
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(self.plain.len()));
        compressor.compress_to_buffer(&self.plain, &mut self.compressed).map_err(LogError::Compress)?;
        body.clear();
        Encoder(body).u32(u32::try_from(self.plain.len()).unwrap_or(u32::MAX));
        body.extend_from_slice(&self.compressed);
        Ok(())
    }

    /// Whether a block that was read again, with its header's facts, says what was put in.
    pub(crate) fn says(&self, plain: &[u8], facts: BlockFacts) -> bool {
        // The same bytes have the same bodies; that they are also read as they were written is asked of the heads.
        let mut block = BlockReader::new(plain, facts.first, facts.received_at, facts.count);
        let mut heads = self.heads.iter();
        let same_heads = loop {
            match (block.next(), heads.next()) {
                (Ok(Some(batch)), Some(head)) if Head::of(&batch) == *head => {}
                (Ok(None), None) => break true,
                _ => break false,
            }
        };
        same_heads && plain == self.plain
    }

    /// Begins the next block.
    pub(crate) fn clear(&mut self) {
        self.plain.clear();
        self.heads.clear();
        self.count = 0;
    }
}

/// Reads the batches of a block and checks that they fill it exactly.
pub(crate) struct BlockReader<'a> {
    decoder: Decoder<'a>,
    received_at: Timestamp,
    next: Position,
    end: Position,
}

impl<'a> BlockReader<'a> {
    /// The block whose header says so of itself.
    pub(crate) fn new(plain: &'a [u8], first: Position, received_at: Timestamp, count: u32) -> Self {
        let end = first.plus(u64::from(count));
        Self { decoder: Decoder::new(plain), received_at, next: first, end }
    }

    /// The next batch; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Batch<'a>>, BodyFault> {
        if self.decoder.is_empty() {
            let whole = self.next == self.end;
            let fault = "a block holds another number of records than its header says";
            return if whole { Ok(None) } else { Err(BodyFault::Damaged(fault)) };
        }
        let batch = self.batch().map_err(|_| BodyFault::Damaged("a batch in a block cannot be read"))?;
        self.next = batch.next();
        Ok(Some(batch))
    }

    fn batch(&mut self) -> Result<Batch<'a>, DecodeError> {
        let control = self.decoder.bool()?;
        let count = u32::try_from(self.decoder.varint()?).map_err(|_| DecodeError::Overlong)?;
        let term = Term(self.decoder.varint()?);
        let received_at = self.received_at.plus_us(self.decoder.signed()?);
        let body = self.decoder.bytes()?;
        Ok(Batch { first: self.next, count, term, received_at, control, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(plain: &[u8], facts: BlockFacts) -> Option<Vec<Batch<'_>>> {
        let mut block = BlockReader::new(plain, facts.first, facts.received_at, facts.count);
        let mut batches = Vec::new();
        while let Some(batch) = block.next().ok()? {
            batches.push(batch);
        }
        Some(batches)
    }

    proptest! {
        #[test]
        fn the_batches_of_a_block_read_back(
            drawn in prop::collection::vec((1_u32..9, any::<bool>(), 0_u64..3, 0_i64..5, any::<Vec<u8>>()), 1..20),
            other in any::<prop::sample::Index>(),
        ) {
            let (mut next, mut now, mut term) = (Position(50), Timestamp(1_000), Term(1));
            let mut batches = Vec::new();
            let mut builder = BlockBuilder::default();
            for (count, control, term_step, time_step, body) in &drawn {
                term = Term(term.0 + term_step);
                now = now.plus_us(*time_step);
                let batch =
                    Batch { first: next, count: *count, term, received_at: now, control: *control, body };
                next = batch.next();
                builder.add(&batch);
                batches.push(batch);
            }
            let facts = builder.facts().unwrap();
            prop_assert_eq!((facts.first, facts.term), (Position(50), term));
            let (mut compressor, mut body) = (zstd::bulk::Compressor::new(1).unwrap(), vec![7]);
            builder.compress(&mut compressor, &mut body).unwrap();
            let (plain_bytes, compressed) = body.split_first_chunk::<4>().unwrap();
            let plain_bytes = u32::from_le_bytes(*plain_bytes) as usize;
            let plain = zstd::bulk::decompress(compressed, plain_bytes).unwrap();
            prop_assert_eq!(read(&plain, facts), Some(batches));
            prop_assert!(builder.says(&plain, facts));

            // Whatever differs is noticed.
            let wrong = BlockFacts { count: facts.count + 1, ..facts };
            prop_assert!(read(&plain, wrong).is_none() && !builder.says(&plain, wrong));
            for wrong in [
                BlockFacts { first: facts.first.plus(1), ..facts },
                BlockFacts { received_at: facts.received_at.plus_us(1), ..facts },
            ] {
                prop_assert!(!builder.says(&plain, wrong));
            }
            let mut damaged = plain.clone();
            damaged[other.index(plain.len())] ^= 1;
            prop_assert!(!builder.says(&damaged, facts));
            prop_assert!(!builder.says(&plain[..plain.len() - 1], facts));
        }
    }
}
