//! Where an open segment ends: the frames that chain, and what stands behind the last of them.
//!
//! One append is one write and one sync, and the next append begins only after that sync. So behind the last good
//! frame only frames of the *same* append group can be missing or torn by a crash. A good frame of a later group
//! behind a bad one means that bytes which once were durable are damaged.

use crate::frame::{self, Header, Stored};
use crate::segment::{Content, DATA_OFFSET, SegmentHeader};
use memchr::memmem;
use model::id::{Position, Term, Timestamp};

/// An index entry is kept for about this many bytes of an open segment.
pub(crate) const INDEX_STEP_BYTES: u64 = 256 << 10;

/// Where the first frame at or behind an offset begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) first: Position,
    pub(crate) offset: u64,
}

/// Adds an entry for a frame if the last one is far enough behind.
pub(crate) fn extend_index(index: &mut Vec<IndexEntry>, entry: IndexEntry) {
    let due = index.last().is_none_or(|last| entry.offset >= last.offset + INDEX_STEP_BYTES);
    if due {
        index.push(entry);
    }
}

/// What stands behind the last frame that chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing of this segment.
    Clean,
    /// Pieces of an append that was never acknowledged; up to this offset.
    Torn(u64),
    /// Frames of a later append, the first at this offset: the frame before them was durable once.
    Damaged(u64),
}

/// What was found in an open segment.
pub(crate) struct Scan {
    pub(crate) content: Content,
    pub(crate) tail: Tail,
    /// Where the append group of the last frame begins.
    pub(crate) last_group_offset: u64,
    pub(crate) index: Vec<IndexEntry>,
    /// A key that a frame is sealed with: the one used last.
    pub(crate) key: Option<(u32, u64)>,
}

/// What every frame must continue.
#[derive(Clone, Copy)]
pub(crate) struct Chain {
    pub(crate) next: Position,
    pub(crate) term: Term,
    pub(crate) last_at: Timestamp,
}

impl Chain {
    /// Whether a frame may come next; if so, the chain moves behind it.
    pub(crate) fn accept(&mut self, segment: &SegmentHeader, header: &Header) -> Result<(), &'static str> {
        let place = (header.shard, header.region) == (segment.shard, segment.region);
        if header.tag != segment.tag || !place {
            return Err("a frame belongs to another segment");
        }
        if header.first != self.next || header.first.0.checked_add(u64::from(header.count)).is_none() {
            return Err("a frame does not begin where the one before it ends");
        }
        if header.term < self.term {
            return Err("a frame has a lower term than the one before it");
        }
        if header.received_at < self.last_at {
            return Err("a frame has an earlier log time than the one before it");
        }
        *self = Self { next: header.next(), term: header.term, last_at: header.received_at };
        Ok(())
    }
}

/// Reads an open segment, given as all its bytes.
pub(crate) fn scan(bytes: &[u8], segment: &SegmentHeader, start: Chain) -> Scan {
    let mut chain = start;
    let mut content = Content::empty(start.next);
    content.term = start.term;
    let mut found =
        Scan { content, tail: Tail::Clean, last_group_offset: DATA_OFFSET, index: Vec::new(), key: None };
    let mut group_first = None;
    while let Some(stored) = good_frame(bytes, found.content.end_offset, segment) {
        let header = stored.header;
        if chain.accept(segment, &header).is_err() {
            break;
        }
        let offset = found.content.end_offset;
        if group_first != Some(header.group_first()) {
            group_first = Some(header.group_first());
            found.last_group_offset = offset;
        }
        extend_index(&mut found.index, IndexEntry { first: header.first, offset });
        found.key = header.key.map(|key| (key, offset)).or(found.key);
        found.content.add(&header);
    }
    found.tail = classify_tail(bytes, segment, &found.content);
    found
}

impl Content {
    /// Counts a frame in.
    pub(crate) fn add(&mut self, header: &Header) {
        if self.batches == 0 {
            self.first_at = header.received_at;
        }
        self.next = header.next();
        self.term = header.term;
        self.last_at = header.received_at;
        self.end_offset += header.frame_bytes();
        self.batches += 1;
        self.body_bytes += u64::from(header.body_bytes);
    }
}

fn good_frame<'a>(bytes: &'a [u8], offset: u64, segment: &SegmentHeader) -> Option<Stored<'a>> {
    let rest = bytes.get(usize::try_from(offset).ok()?..)?;
    frame::read_stored(rest).filter(|stored| stored.header.tag == segment.tag)
}

/// Looks for the segment's tag behind the end. Who sends events does not know it, so it is there only if we wrote it.
fn classify_tail(bytes: &[u8], segment: &SegmentHeader, content: &Content) -> Tail {
    let end = usize::try_from(content.end_offset).unwrap_or(usize::MAX);
    let rest = bytes.get(end..).unwrap_or_default();
    let mut tail = Tail::Clean;
    for found in memmem::find_iter(rest, &segment.tag.to_le_bytes()) {
        let Some(at) = found.checked_sub(frame::TAG_OFFSET) else {
            tail = Tail::Torn(content.end_offset + frame::HEADER_BYTES as u64);
            continue;
        };
        let candidate = rest.get(at..).unwrap_or_default();
        let offset = content.end_offset + at as u64;
        match frame::read_stored(candidate) {
            // Whole and ours, and yet not in the chain: if it stands at the end itself, or was appended after what
            // should stand there, something durable is gone.
            Some(stored) if at == 0 || stored.header.group_first() > content.next => {
                return Tail::Damaged(offset);
            }
            Some(stored) => tail = Tail::Torn(offset + stored.header.frame_bytes()),
            None => tail = Tail::Torn(offset + frame::HEADER_BYTES as u64),
        }
    }
    tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameKind;

    #[test]
    fn a_frame_must_continue_the_chain_in_every_way() {
        let segment = SegmentHeader { shard: 1, region: 2, tag: 3, sealed: None };
        let chain = Chain { next: Position(10), term: Term(5), last_at: Timestamp(50) };
        let good = Header {
            kind: FrameKind::Batch,
            control: false,
            compressed: false,
            key: None,
            shard: 1,
            region: 2,
            tag: 3,
            term: Term(5),
            first: Position(10),
            count: 4,
            group_offset: 0,
            received_at: Timestamp(50),
            body_bytes: 0,
        };
        let mut moved = chain;
        assert_eq!(moved.accept(&segment, &good), Ok(()));
        assert_eq!((moved.next, moved.term, moved.last_at), (Position(14), Term(5), Timestamp(50)));
        for (name, bad) in [
            ("shard", Header { shard: 2, ..good }),
            ("region", Header { region: 1, ..good }),
            ("tag", Header { tag: 4, ..good }),
            ("lower term", Header { term: Term(4), ..good }),
            ("earlier position", Header { first: Position(9), ..good }),
            ("later position", Header { first: Position(11), ..good }),
            ("earlier time", Header { received_at: Timestamp(49), ..good }),
        ] {
            let mut moved = chain;
            assert!(moved.accept(&segment, &bad).is_err(), "{name}");
            assert_eq!(moved.next, chain.next, "{name}: a refused frame moved the chain");
        }
        let far = Chain { next: Position(u64::MAX - 1), ..chain };
        let beyond = Header { first: far.next, ..good };
        assert!({ far }.accept(&segment, &beyond).is_err(), "positions end before they wrap");
    }
}
