//! Follows the log from a position on, through open and sealed segments, up to the durable end.

use crate::cursor::Cursor;
use crate::error::LogError;
use crate::shared::{Place, Shared};
use crate::{Frame, LogReader};
use model::codec::Decoder;
use model::id::Position;
use std::collections::VecDeque;
use std::sync::Arc;

pub(crate) struct LocalReader {
    shared: Arc<Shared>,
    /// The position of the next record to give out.
    next: Position,
    cursor: Option<Cursor>,
    /// Read but not given out.
    ready: VecDeque<Frame>,
}

impl LocalReader {
    /// Checks that the position is readable.
    pub(crate) fn new(shared: Arc<Shared>, from: Position) -> Result<Self, LogError> {
        shared.locate(from)?;
        Ok(Self { shared, next: from, cursor: None, ready: VecDeque::new() })
    }

    /// Moves to the segment that holds the next record. `false` at the durable end.
    fn advance(&mut self) -> Result<bool, LogError> {
        let Some(Place { segment, offset, end }) = self.shared.locate(self.next)? else {
            return Ok(false);
        };
        match &mut self.cursor {
            Some(cursor) if Arc::ptr_eq(&cursor.segment, &segment) => {
                if cursor.end >= end {
                    return Err(
                        segment.corrupt(cursor.offset, "records are missing at the end of the segment")
                    );
                }
                cursor.end = end;
            }
            _ => self.cursor = Some(Cursor::new(segment, offset, end)),
        }
        Ok(true)
    }

    /// A sealed segment that was replaced or removed under the reader reads like a damaged one: the place is found again.
    /// Each version of a segment is met once, so this ends.
    fn look_again(&mut self, error: LogError) -> Result<(), LogError> {
        if self.cursor.as_ref().is_some_and(|cursor| cursor.segment.is_replaced()) {
            // Whoever replaced it may not have said so yet.
            self.shared.wait_for_background();
        }
        match self.cursor.take() {
            Some(cursor) if !self.shared.is_current(&cursor.segment) => {
                self.ready.clear();
                Ok(())
            }
            cursor => {
                self.cursor = cursor;
                Err(error)
            }
        }
    }

    /// Reads the next stored frame that holds something new into `ready`. `false` at the end of what is known.
    fn fill(&mut self) -> Result<bool, LogError> {
        let Some(cursor) = &mut self.cursor else {
            return Ok(false);
        };
        while let Some(header) = cursor.header()? {
            if header.next() > self.next {
                let read = cursor.read(self.shared.options.keyring.as_ref(), &mut self.ready);
                if read.is_err() {
                    self.ready.clear();
                }
                return Ok(read?.is_some());
            }
            cursor.skip(&header);
        }
        Ok(false)
    }
}

impl LogReader for LocalReader {
    fn next(&mut self) -> Result<Option<Frame>, LogError> {
        loop {
            while let Some(frame) = self.ready.pop_front() {
                if frame.next() <= self.next {
                    continue;
                }
                let frame = self.cut_front(frame)?;
                self.next = frame.next();
                return Ok(Some(frame));
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => {
                    if !self.advance()? {
                        return Ok(None);
                    }
                }
                Err(error) => self.look_again(error)?,
            }
        }
    }
}

impl LocalReader {
    /// Drops the records of a frame that lie before the wanted position.
    fn cut_front(&self, mut frame: Frame) -> Result<Frame, LogError> {
        let extra = self.next.0.saturating_sub(frame.first.0);
        if extra == 0 && frame.first == self.next {
            return Ok(frame);
        }
        let mut decoder = Decoder::new(&frame.body);
        let mut cut = Ok(());
        for _ in 0..extra {
            cut = cut.and_then(|()| decoder.u8()).and_then(|_| decoder.bytes()).map(|_| ());
        }
        match &self.cursor {
            Some(cursor) if frame.first > self.next => {
                Err(cursor.segment.corrupt(cursor.offset, "records are missing before a frame"))
            }
            Some(cursor) if cut.is_err() => {
                Err(cursor.segment.corrupt(cursor.offset, "a frame's records do not fill it"))
            }
            _ => {
                frame.body = decoder.rest().to_vec();
                frame.count = u32::try_from(u64::from(frame.count).saturating_sub(extra)).unwrap_or(0);
                frame.first = self.next;
                Ok(frame)
            }
        }
    }
}
