//! What events in quarantine say, read from the log.

use engage::HeldRow;
use eventlog::{Frame, LogHandle, LogReader};
use model::id::Timestamp;
use model::quarantine::Quarantined;
use model::record::{RecordKind, decode_records};

/// Records that are read over to get to the next event; beyond it the log is asked anew.
const READ_OVER_MAX: u64 = 4_096;

/// What a record of the quarantine holds.
pub(super) struct Content {
    /// When the event came.
    pub(super) received_at: Timestamp,
    /// Its stored form.
    pub(super) event: Vec<u8>,
}

/// Reads contents, best in order.
pub(super) struct Contents<'l> {
    log: &'l LogHandle,
    reader: Option<Box<dyn LogReader>>,
    frame: Option<Frame>,
}

impl<'l> Contents<'l> {
    pub(super) fn new(log: &'l LogHandle) -> Self {
        Self { log, reader: None, frame: None }
    }

    /// The content of an event; `None` where the log does not reach back to it any more, or it was emptied.
    pub(super) fn read(&mut self, row: &HeldRow) -> Result<Option<Content>, String> {
        if row.position < self.log.first_position() {
            return Ok(None);
        }
        let at = row.position;
        let reached = self.frame.as_ref().map(Frame::next);
        let is_near = |next: model::id::Position| at.0 >= next.0 && at.0 - next.0 <= READ_OVER_MAX;
        let is_in = self.frame.as_ref().is_some_and(|frame| frame.first <= at && at < frame.next());
        if !is_in && !reached.is_some_and(is_near) {
            self.reader = Some(self.log.read_from(at).map_err(|error| error.to_string())?);
            self.frame = None;
        }
        while self.frame.as_ref().is_none_or(|frame| frame.next() <= at) {
            let Some(reader) = &mut self.reader else { return Ok(None) };
            self.frame = reader.next().map_err(|error| error.to_string())?;
            if self.frame.is_none() {
                return Ok(None);
            }
        }
        Ok(self.frame.as_ref().and_then(|frame| content(frame, row)))
    }
}

fn content(frame: &Frame, row: &HeldRow) -> Option<Content> {
    let mut records = decode_records(&frame.body, frame.first, frame.received_at).flatten();
    let record = records.find(|record| record.position == row.position)?;
    let quarantined =
        (record.kind == RecordKind::QUARANTINED).then(|| Quarantined::decode(record.body).ok()).flatten()?;
    Some(Content { received_at: quarantined.received_at, event: quarantined.event.to_vec() })
}
