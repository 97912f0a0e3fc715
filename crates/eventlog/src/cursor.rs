//! Reads the frames of one segment in order.

use crate::Frame;
use crate::error::LogError;
use crate::frame::block::read_block;
use crate::frame::{self, BodyFault, FrameKind, Header, Stored};
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
}

impl Cursor {
    pub(crate) fn new(segment: Arc<Segment>, offset: u64, end: u64) -> Self {
        Self { segment, offset, end, expected: None, buffer: Vec::new(), buffer_offset: 0 }
    }

    /// The header at this place; `None` at the end.
    pub(crate) fn header(&mut self) -> Result<Option<Header>, LogError> {
        if self.offset >= self.end {
            return Ok(None);
        }
        let bytes = self.bytes(frame::HEADER_BYTES)?;
        let header = Header::decode(bytes);
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
        let Some(header) = self.header()? else {
            return Ok(None);
        };
        let frame_bytes = usize::try_from(header.frame_bytes()).unwrap_or(usize::MAX);
        let bytes = self.bytes(frame_bytes)?;
        let decoded = match frame::read_stored(bytes) {
            None => Err(BodyFault::Damaged("the checksum of a frame is wrong")),
            Some(stored) => decode(&stored, keyring, out),
        };
        match decoded {
            Ok(()) => {}
            Err(BodyFault::Damaged(what)) => return Err(self.damage(what)),
            Err(BodyFault::KeyMissing(key)) => {
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

    /// The next `count` bytes, read in large pieces.
    fn bytes(&mut self, count: usize) -> Result<&[u8], LogError> {
        let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
        if count > left {
            return Err(self.damage("the last frame ends behind the end of the segment"));
        }
        let buffered =
            self.offset.checked_sub(self.buffer_offset).and_then(|start| usize::try_from(start).ok());
        let start = match buffered {
            Some(start) if start.saturating_add(count) <= self.buffer.len() => start,
            _ => {
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
                0
            }
        };
        Ok(self.buffer.get(start..start + count).unwrap_or_default())
    }
}

fn decode(
    stored: &Stored<'_>,
    keyring: Option<&Keyring>,
    out: &mut VecDeque<Frame>,
) -> Result<(), BodyFault> {
    let header = &stored.header;
    let body = stored.plain_body(keyring)?;
    match header.kind {
        FrameKind::Block => read_block(&body, header.first, header.received_at, header.count, out),
        FrameKind::Batch => {
            out.push_back(Frame {
                first: header.first,
                count: header.count,
                term: header.term,
                received_at: header.received_at,
                control: header.control,
                body,
            });
            Ok(())
        }
    }
}
