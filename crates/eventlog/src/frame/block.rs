//! Blocks: many batches in one stored frame, so that they compress well and are sealed at once.
//!
//! The plain body of a block is a sequence of batches, each: flags (`u8`, 1 control), count (varint), term (varint),
//! log time (signed varint, microseconds after the block's), length of the body (varint), body. Positions follow from
//! the block's first position and the counts.

use super::BodyFault;
use crate::{Frame, LogError};
use model::codec::{DecodeError, Decoder, Encoder};
use model::id::{Position, Term, Timestamp};
use std::collections::VecDeque;

/// Collects batches for one block.
#[derive(Default)]
pub(crate) struct BlockBuilder {
    plain: Vec<u8>,
    first: Option<(Position, Timestamp)>,
    term: Term,
    count: u32,
}

/// What a block's header needs to know about its batches.
pub(crate) struct BlockFacts {
    pub(crate) first: Position,
    pub(crate) received_at: Timestamp,
    pub(crate) term: Term,
    pub(crate) count: u32,
}

impl BlockBuilder {
    pub(crate) fn plain_bytes(&self) -> usize {
        self.plain.len()
    }

    pub(crate) fn add(&mut self, frame: &Frame) {
        let (_, start) = *self.first.get_or_insert((frame.first, frame.received_at));
        let mut encoder = Encoder(&mut self.plain);
        encoder.u8(u8::from(frame.control));
        encoder.varint(u64::from(frame.count));
        encoder.varint(frame.term.0);
        encoder.signed(frame.received_at.since_us(start));
        encoder.bytes(&frame.body);
        self.count = self.count.saturating_add(frame.count);
        self.term = frame.term;
    }

    /// The block's facts and its compressed body; `None` if it holds no batch. The builder is empty afterwards.
    pub(crate) fn finish(
        &mut self,
        compressor: &mut zstd::bulk::Compressor<'_>,
    ) -> Result<Option<(BlockFacts, Vec<u8>)>, LogError> {
        let Some((first, received_at)) = self.first.take() else {
            return Ok(None);
        };
        let facts =
            BlockFacts { first, received_at, term: self.term, count: std::mem::take(&mut self.count) };
        let compressed = compressor.compress(&self.plain).map_err(LogError::Compress)?;
        let mut body = Vec::with_capacity(compressed.len() + 4);
        Encoder(&mut body).u32(u32::try_from(self.plain.len()).unwrap_or(u32::MAX));
        body.extend_from_slice(&compressed);
        self.plain.clear();
        Ok(Some((facts, body)))
    }
}

/// Reads the batches of a block and checks that they fill it exactly.
pub(crate) fn read_block(
    plain: &[u8],
    first: Position,
    received_at: Timestamp,
    count: u32,
    out: &mut VecDeque<Frame>,
) -> Result<(), BodyFault> {
    let mut decoder = Decoder::new(plain);
    let mut next = first;
    while !decoder.is_empty() {
        let frame = read_batch(&mut decoder, next, received_at)
            .map_err(|_| BodyFault::Damaged("a batch in a block cannot be read"))?;
        next = next.plus(u64::from(frame.count));
        out.push_back(frame);
    }
    if next == first.plus(u64::from(count)) {
        Ok(())
    } else {
        Err(BodyFault::Damaged("a block holds another number of records than its header says"))
    }
}

fn read_batch(decoder: &mut Decoder<'_>, first: Position, start: Timestamp) -> Result<Frame, DecodeError> {
    let control = decoder.bool()?;
    let count = u32::try_from(decoder.varint()?).map_err(|_| DecodeError::Overlong)?;
    let term = Term(decoder.varint()?);
    let received_at = start.plus_us(decoder.signed()?);
    let body = decoder.bytes()?.to_vec();
    Ok(Frame { first, count, term, received_at, control, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::decompress;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_batches_of_a_block_read_back(
            batches in prop::collection::vec((1_u32..9, any::<bool>(), 0_u64..3, 0_i64..5, any::<Vec<u8>>()), 1..20),
        ) {
            let (mut next, mut now, mut term) = (Position(50), Timestamp(1_000), Term(1));
            let mut frames = VecDeque::new();
            let mut builder = BlockBuilder::default();
            for (count, control, term_step, time_step, body) in batches {
                term = Term(term.0 + term_step);
                now = now.plus_us(time_step);
                let frame = Frame { first: next, count, term, received_at: now, control, body };
                next = next.plus(u64::from(count));
                builder.add(&frame);
                frames.push_back(frame);
            }
            let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
            let (facts, body) = builder.finish(&mut compressor).unwrap().unwrap();
            prop_assert_eq!((facts.first, facts.term), (Position(50), term));
            let plain = decompress(&body).unwrap();
            let mut read = VecDeque::new();
            read_block(&plain, facts.first, facts.received_at, facts.count, &mut read).unwrap();
            prop_assert_eq!(read, frames);
            prop_assert!(read_block(&plain, facts.first, facts.received_at, facts.count + 1, &mut VecDeque::new()).is_err());
        }
    }
}
