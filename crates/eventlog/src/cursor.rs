//! Reads the frames of one segment in order.

use crate::Frame;
use crate::error::LogError;
use crate::frame::block::BlockReader;
use crate::frame::{self, Batch, BodyFault, BodyReader, FrameKind, Header};
use crate::keyring::Keyring;
use crate::segment::Segment;
use model::id::Position;
use std::collections::VecDeque;
use std::sync::Arc;

/// How much is read at once, unless a frame is larger.
const READ_BYTES: usize = 256 << 10;

/// A place between two frames of a segment.
pub(crate) struct Cursor {
    pub(crate) segment: Arc<Segment>,
    pub(crate) offset: u64,
    /// Nothing at or behind this offset may be read.
    pub(crate) end: u64,
    /// The position of the frame at `offset`, once one frame has been passed.
    expected: Option<Position>,
    buffer: Vec<u8>,
    buffer_offset: u64,
    bodies: BodyReader,
}

/// Why a frame's batches were not all visited.
enum Stop {
    Fault(BodyFault),
    Visitor(LogError),
}

impl Cursor {
    pub(crate) fn new(segment: Arc<Segment>, offset: u64, end: u64) -> Self {
        Self {
            segment,
            offset,
            end,
            expected: None,
            buffer: Vec::new(),
            buffer_offset: 0,
            bodies: BodyReader::default(),
        }
    }

    /// The header at this place; `None` at the end.
    pub(crate) fn header(&mut self) -> Result<Option<Header>, LogError> {
        if self.offset >= self.end {
            return Ok(None);
        }
        let start = self.fill(frame::HEADER_BYTES)?;
        let header = self.buffer.get(start..).and_then(Header::decode);
        let header = header.ok_or_else(|| self.damage("there is no frame header where one must be"))?;
        let owner = &self.segment.header;
        if (header.tag, header.shard, header.region) != (owner.tag, owner.shard, owner.region) {
            return Err(self.damage("a frame belongs to another segment"));
        }
        if self.expected.is_some_and(|expected| expected != header.first) || header.first < self.segment.first
        {
            return Err(self.damage("a frame does not begin where the one before it ends"));
        }
        Ok(Some(header))
    }

    /// Passes the frame of this header without reading its body.
    pub(crate) fn skip(&mut self, header: &Header) {
        self.offset += header.frame_bytes();
        self.expected = Some(header.next());
    }

    /// Reads the frame at this place, appends its batches to `out` and passes it. `None` at the end.
    pub(crate) fn read(
        &mut self,
        keyring: Option<&Keyring>,
        out: &mut VecDeque<Frame>,
    ) -> Result<Option<Header>, LogError> {
        self.visit(keyring, &mut |batch| {
            out.push_back(batch.to_frame());
            Ok(())
        })
    }

    /// Reads the frame at this place, lends its batches to `each` in order and passes it. `None` at the end. Batches
    /// that come before a damaged one are lent too.
    pub(crate) fn visit(
        &mut self,
        keyring: Option<&Keyring>,
        each: &mut dyn FnMut(Batch<'_>) -> Result<(), LogError>,
    ) -> Result<Option<Header>, LogError> {
        let Some(header) = self.header()? else {
            return Ok(None);
        };
        let frame_bytes = usize::try_from(header.frame_bytes()).unwrap_or(usize::MAX);
        let start = self.fill(frame_bytes)?;
        let bytes = self.buffer.get(start..start + frame_bytes).unwrap_or_default();
        match visit_stored(bytes, keyring, &mut self.bodies, each) {
            Ok(()) => {}
            Err(Stop::Visitor(error)) => return Err(error),
            Err(Stop::Fault(BodyFault::Damaged(what))) => return Err(self.damage(what)),
            Err(Stop::Fault(BodyFault::KeyMissing(key))) => {
                return Err(LogError::KeyMissing {
                    key,
                    segment: self.segment.path.clone(),
                    offset: self.offset,
                });
            }
        }
        self.skip(&header);
        Ok(Some(header))
    }

    fn damage(&self, what: &str) -> LogError {
        self.segment.corrupt(self.offset, what)
    }

    /// Makes sure that the next `count` bytes are in the buffer, which is read in large pieces, and says where.
    fn fill(&mut self, count: usize) -> Result<usize, LogError> {
        let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
        if count > left {
            return Err(self.damage("the last frame ends behind the end of the segment"));
        }
        let buffered =
            self.offset.checked_sub(self.buffer_offset).and_then(|start| usize::try_from(start).ok());
        if let Some(start) = buffered.filter(|start| start.saturating_add(count) <= self.buffer.len()) {
            return Ok(start);
        }
        self.buffer.resize(count.max(READ_BYTES.min(left)), 0);
        self.buffer_offset = self.offset;
        let read = self.segment.file.read_exact_at(self.offset, &mut self.buffer);
        if let Err(error) = read {
            self.buffer.clear();
            return match error.kind() {
                std::io::ErrorKind::UnexpectedEof => Err(self.damage("the file is cut short")),
                _ => Err(LogError::io("read", &self.segment.path, error)),
            };
        }
        Ok(0)
    }
}

fn visit_stored(
    bytes: &[u8],
    keyring: Option<&Keyring>,
    bodies: &mut BodyReader,
    each: &mut dyn FnMut(Batch<'_>) -> Result<(), LogError>,
) -> Result<(), Stop> {
    let damaged = Stop::Fault(BodyFault::Damaged("the checksum of a frame is wrong"));
    let stored = frame::read_stored(bytes).ok_or(damaged)?;
    let Header { kind, first, count, term, received_at, control, .. } = stored.header;
    let body = bodies.read(&stored, keyring).map_err(Stop::Fault)?;
    match kind {
        FrameKind::Batch => {
            each(Batch { first, count, term, received_at, control, body }).map_err(Stop::Visitor)
        }
        FrameKind::Block => {
            let mut block = BlockReader::new(body, first, received_at, count);
            while let Some(batch) = block.next().map_err(Stop::Fault)? {
                each(batch).map_err(Stop::Visitor)?;
            }
            Ok(())
        }
    }
}
