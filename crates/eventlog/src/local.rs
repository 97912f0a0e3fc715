//! The log in local files: the writer's side.

use crate::error::LogError;
use crate::frame::{self, FrameKind, Header};
use crate::handle::LogHandle;
use crate::open::{self, OpenReport};
use crate::options::{FRAME_BODY_BYTES_MAX, LogOptions};
use crate::segment::{self, Content, DATA_OFFSET, Segment};
use crate::shared::{Entry, Shared};
use crate::spare::Spare;
use crate::{FrameDraft, Log, LogReader};
use env::Env;
use model::id::{Position, Term, Timestamp};
use std::path::Path;
use std::sync::Arc;

/// The buffer of a large append is not kept beyond this size.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// One shard's log in local files. The only writer; dropping it closes the log for appends.
pub struct LocalLog {
    pub(crate) shared: Arc<Shared>,
    pub(crate) active: Active,
    pub(crate) next: Position,
    pub(crate) term: Term,
    pub(crate) last_received_at: Timestamp,
    /// Why no append is possible any more.
    pub(crate) poison: Option<String>,
    pub(crate) buffer: Vec<u8>,
    pub(crate) headers: Vec<Header>,
}

/// The segment that is being written.
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    /// Where the next frame goes.
    pub(crate) offset: u64,
    /// How far the file was written in advance: an append never makes it grow.
    pub(crate) capacity: u64,
}

impl LocalLog {
    /// Opens the log of a data directory, or begins one. Takes the directory's lock until the log and all its handles
    /// and readers are dropped.
    pub fn open(env: &Env, directory: &Path, options: LogOptions) -> Result<(Self, OpenReport), LogError> {
        open::open(env, directory, options)
    }

    /// For everybody but the writer.
    pub fn handle(&self) -> LogHandle {
        LogHandle::new(Arc::clone(&self.shared))
    }

    fn check(&self, term: Term, expected: Position, frames: &[FrameDraft]) -> Result<(), LogError> {
        if let Some(cause) = &self.poison {
            return Err(LogError::Poisoned { cause: cause.clone() });
        }
        if term < self.term {
            return Err(LogError::Deposed { term, seen: self.term });
        }
        if expected != self.next {
            return Err(LogError::Unexpected { expected, next: self.next });
        }
        let mut last = self.last_received_at;
        let mut records = 0_u32;
        for frame in frames {
            if frame.received_at < last {
                return Err(LogError::TimeWentBack { received_at: frame.received_at, last });
            }
            last = frame.received_at;
            limit("the body of a frame", frame.body.len() as u64, FRAME_BODY_BYTES_MAX as u64)?;
            if frame.count == 0 {
                return Err(LogError::OutOfLimits {
                    what: "a frame's count of records",
                    actual: 0,
                    limit: 1,
                });
            }
            records = records.checked_add(frame.count).ok_or(LogError::OutOfLimits {
                what: "an append's count of records",
                actual: u64::from(records) + u64::from(frame.count),
                limit: u64::from(u32::MAX),
            })?;
        }
        self.next.0.checked_add(u64::from(records)).map(|_| ()).ok_or(LogError::OutOfLimits {
            what: "the last position",
            actual: u64::MAX,
            limit: u64::MAX - 1,
        })
    }

    /// Makes sure that the active segment has room. Only here a full disk may be met, and nothing is written yet.
    fn make_room(&mut self, needed_bytes: u64) -> Result<(), LogError> {
        limit("an append", needed_bytes, self.shared.options.segment_bytes - DATA_OFFSET)?;
        let fits = self.active.offset + needed_bytes <= self.active.capacity;
        if fits && !self.must_forget() {
            return Ok(());
        }
        self.begin_segment()
    }

    fn must_forget(&self) -> bool {
        let state = self.shared.state();
        state.segments.last().is_some_and(|active| state.must_forget(active))
    }

    /// Leaves the active segment, in the file of a spare.
    fn begin_segment(&mut self) -> Result<(), LogError> {
        let (ready, forget_requests) = {
            let mut state = self.shared.state();
            let ready = state.spares.pop();
            state.stats.rolls += 1;
            state.stats.rolls_without_spare += u64::from(ready.is_none());
            (ready, state.forget_requests)
        };
        let spare = match ready {
            Some(spare) => spare,
            None => match self.shared.write_spare() {
                Ok(spare) => spare,
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => return Err(self.poisoned(error)),
            },
        };
        self.take_spare(spare, forget_requests)
    }

    fn take_spare(&mut self, spare: Spare, forget_requests: u64) -> Result<(), LogError> {
        let disk = &self.shared.env.disk;
        let directory = &self.shared.directory;
        let path = segment::segment_path(directory, self.next);
        if let Err(error) = disk.rename(&spare.path, &path) {
            let error =
                LogError::io_or_full("rename a spare to", &path, error, self.shared.options.segment_bytes);
            self.shared.state().spares.push(spare);
            return if error.is_transient() { Err(error) } else { Err(self.poisoned(error)) };
        }
        if let Err(error) = disk.sync_directory(directory) {
            let error = LogError::io("sync", directory, error);
            return Err(self.poisoned(error));
        }
        let capacity = self.shared.options.segment_bytes;
        let segment = Arc::new(Segment { first: self.next, path, header: spare.header, file: spare.file });
        let mut state = self.shared.state();
        if state.segments.last().is_some_and(|active| active.content.is_empty()) {
            // It had the same name and is replaced by now.
            state.segments.pop();
        }
        state.segments.push(Entry {
            segment: Arc::clone(&segment),
            content: Content::empty(self.next),
            index: Vec::new(),
            file_bytes: capacity,
            stale: spare.stale,
            forget_requests,
            seal_failed: false,
        });
        drop(state);
        self.active = Active { segment, offset: DATA_OFFSET, capacity };
        Ok(())
    }

    fn encode(&mut self, term: Term, frames: &[FrameDraft]) -> Result<(), LogError> {
        let options = &self.shared.options;
        self.buffer.clear();
        self.headers.clear();
        let mut first = self.next;
        for draft in frames {
            let header = Header {
                kind: FrameKind::Batch,
                control: draft.control,
                compressed: false,
                key: None,
                shard: options.shard,
                region: options.region,
                tag: self.active.segment.header.tag,
                term,
                first,
                count: draft.count,
                group_offset: u32::try_from(first.0 - self.next.0).unwrap_or(u32::MAX),
                received_at: draft.received_at,
                body_bytes: 0,
            };
            let written = frame::write_frame(
                &mut self.buffer,
                header,
                &draft.body,
                options.keyring.as_ref(),
                self.shared.env.entropy.as_ref(),
            )?;
            self.headers.push(written);
            first = first.plus(u64::from(draft.count));
        }
        Ok(())
    }

    fn poisoned(&mut self, error: LogError) -> LogError {
        self.poison = Some(error.to_string());
        self.shared.close();
        error
    }
}

fn limit(what: &'static str, actual: u64, limit: u64) -> Result<(), LogError> {
    if actual <= limit { Ok(()) } else { Err(LogError::OutOfLimits { what, actual, limit }) }
}

impl Log for LocalLog {
    fn first_position(&self) -> Position {
        self.shared.state().first_position()
    }

    fn next_position(&self) -> Position {
        self.next
    }

    fn term(&self) -> Term {
        self.term
    }

    fn last_received_at(&self) -> Timestamp {
        self.last_received_at
    }

    fn append(
        &mut self,
        term: Term,
        expected: Position,
        frames: &[FrameDraft],
    ) -> Result<Position, LogError> {
        self.check(term, expected, frames)?;
        let Some(last) = frames.last() else {
            return Ok(self.next);
        };
        let seal_bytes = if self.shared.options.keyring.is_some() { frame::SEAL_BYTES } else { 0 };
        let needed: usize =
            frames.iter().map(|draft| frame::HEADER_BYTES + draft.body.len() + seal_bytes).sum();
        self.make_room(needed as u64)?;
        self.encode(term, frames)?;
        let file = &self.active.segment.file;
        let written =
            file.write_all_at(self.active.offset, &self.buffer).map_err(|error| ("append to", error));
        let synced = written.and_then(|()| file.sync_data().map_err(|error| ("sync", error)));
        if let Err((action, error)) = synced {
            let error = LogError::io(action, &self.active.segment.path, error);
            return Err(self.poisoned(error));
        }
        let bytes = self.buffer.len() as u64;
        self.active.offset += bytes;
        self.next = self.headers.last().map_or(self.next, Header::next);
        self.term = term;
        self.last_received_at = last.received_at;
        self.shared.publish(&self.headers, bytes);
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        Ok(self.next)
    }

    fn roll(&mut self) -> Result<bool, LogError> {
        if let Some(cause) = &self.poison {
            return Err(LogError::Poisoned { cause: cause.clone() });
        }
        let holds_frames = self.active.offset > DATA_OFFSET;
        if !holds_frames && !self.must_forget() {
            return Ok(false);
        }
        self.begin_segment()?;
        Ok(true)
    }

    fn read_from(&self, from: Position) -> Result<Box<dyn LogReader>, LogError> {
        self.handle().read_from(from)
    }

    fn trim(&mut self, below: Position) -> Result<(), LogError> {
        if below > self.next {
            return Err(LogError::Beyond { position: below, next: self.next });
        }
        self.shared.state().trim(below);
        Ok(())
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        self.shared.close();
    }
}
