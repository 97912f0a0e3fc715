//! The bodies of events, read from the log for those who follow the feed: the feed holds only where they are.

use eventlog::{LogError, LogHandle, LogReader};
use model::id::Position;
use model::record::decode_records;
use std::collections::VecDeque;

/// Records that are read over to get to the next event; beyond it the log is asked anew.
const READ_OVER_MAX: u64 = 4_096;

/// Why an event cannot be read.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The log does not reach back to it any more.
    Trimmed,
    /// The log cannot be read.
    Log(LogError),
}

/// Reads bodies, best in order.
#[derive(Default)]
pub(crate) struct EventBodies {
    reading: Option<Events>,
}

impl EventBodies {
    /// The body of the event at a position; `None` where the person was erased.
    pub(crate) fn read(&mut self, log: &LogHandle, position: Position) -> Result<Option<Vec<u8>>, BodyError> {
        if position < log.first_position() {
            return Err(BodyError::Trimmed);
        }
        let is_near =
            |events: &Events| position >= events.next && position.0 - events.next.0 <= READ_OVER_MAX;
        if !self.reading.as_ref().is_some_and(is_near) {
            let reader = log.read_from(position).map_err(BodyError::Log)?;
            self.reading = Some(Events { log: reader, frame: VecDeque::new(), next: position });
        }
        let Some(events) = &mut self.reading else { return Err(BodyError::Trimmed) };
        events.body(position).map_err(BodyError::Log)
    }
}

/// Reads events in order.
struct Events {
    log: Box<dyn LogReader>,
    frame: VecDeque<(Position, Vec<u8>)>,
    /// Records before this one were read over.
    next: Position,
}

impl Events {
    fn body(&mut self, position: Position) -> Result<Option<Vec<u8>>, LogError> {
        loop {
            while let Some((at, body)) = self.frame.pop_front() {
                self.next = at.plus(1);
                if at == position {
                    return Ok(Some(body));
                }
                if at > position {
                    return Ok(None);
                }
            }
            let Some(frame) = self.log.next()? else { return Ok(None) };
            self.next = frame.first;
            if frame.next() <= position {
                self.next = frame.next();
                continue;
            }
            for record in decode_records(&frame.body, frame.first, frame.received_at).flatten() {
                if record.position >= position && record.kind.is_event() {
                    self.frame.push_back((record.position, record.body.to_vec()));
                }
            }
            if self.frame.is_empty() {
                self.next = frame.next();
                return Ok(None);
            }
        }
    }
}
