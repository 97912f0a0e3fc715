//! The log for everybody but its writer: readers, background work, figures.

use crate::error::LogError;
use crate::options::Retention;
use crate::reader::LocalReader;
use crate::segment::{Content, Segment};
use crate::shared::Shared;
use crate::{Frame, LogReader, RewriteReport};
use model::id::{Position, Timestamp};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A shared view of a local log. Cloning is cheap.
#[derive(Clone)]
pub struct LogHandle {
    shared: Arc<Shared>,
}

/// What one call of [`LogHandle::seal_step`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealStep {
    /// There is nothing to do until more is appended or trimmed.
    Idle,
    /// A trimmed segment's file was removed.
    Removed(Position),
    /// A spare segment was prepared.
    PreparedSpare,
    /// A full segment was sealed.
    Sealed {
        /// Where the segment begins.
        first: Position,
        /// What it took before, without the unused rest of the file.
        open_bytes: u64,
        /// What it takes now.
        sealed_bytes: u64,
    },
}

/// Counts since the log was opened, and its state now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Appends, that is, syncs.
    pub appends: u64,
    /// Frames appended.
    pub frames: u64,
    /// Records appended.
    pub records: u64,
    /// Bytes appended, headers included.
    pub appended_bytes: u64,
    /// New segments begun.
    pub rolls: u64,
    /// Of these, those that had to wait for a spare to be written.
    pub rolls_without_spare: u64,
    /// Segments sealed.
    pub sealed_segments: u64,
    /// What they took before.
    pub sealed_from_bytes: u64,
    /// What they take now.
    pub sealed_to_bytes: u64,
    /// Spares made from used files, without writing them anew.
    pub recycled_spares: u64,
    /// Open segments whose files hold what is to be forgotten ([`LogHandle::forget_used_files`]).
    pub files_to_forget: u64,
    /// Segments now, the open ones included.
    pub segments: u64,
    /// Bytes of their files now, spares left out.
    pub file_bytes: u64,
    /// Whether appends are refused, because of a failure or because the writer is gone.
    pub closed: bool,
}

/// What is known of a segment without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Its file.
    pub path: PathBuf,
    /// Whether it is sealed: immutable, compressed and, with a keyring, encrypted.
    pub sealed: bool,
    /// Its first position.
    pub first: Position,
    /// The position after its last record.
    pub next: Position,
    /// Batches, as they were appended.
    pub frames: u64,
    /// Where its last frame ends.
    pub used_bytes: u64,
    /// The length of its file.
    pub file_bytes: u64,
    /// Plain bytes of its batches' bodies; of an open segment, bytes as stored.
    pub body_bytes: u64,
    /// Log time of its first record; 0 if there is none.
    pub first_at: Timestamp,
    /// Log time of its last record; 0 if there is none.
    pub last_at: Timestamp,
}

impl SegmentSummary {
    pub(crate) fn of(segment: &Segment, content: &Content, file_bytes: u64) -> Self {
        Self {
            path: segment.path.clone(),
            sealed: segment.is_sealed(),
            first: content.first,
            next: content.next,
            frames: content.batches,
            used_bytes: content.end_offset,
            file_bytes,
            body_bytes: content.body_bytes,
            first_at: content.first_at,
            last_at: content.last_at,
        }
    }

    /// Records in the segment.
    pub fn records(&self) -> u64 {
        self.next.0.saturating_sub(self.first.0)
    }
}

impl LogHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Reads in order. The first frame begins exactly at `from`.
    pub fn read_from(&self, from: Position) -> Result<Box<dyn LogReader>, LogError> {
        Ok(Box::new(LocalReader::new(Arc::clone(&self.shared), from)?))
    }

    /// The oldest readable position.
    pub fn first_position(&self) -> Position {
        self.shared.state().first_position()
    }

    /// Every record before this position is durable, and none at or behind it is.
    pub fn durable_position(&self) -> Position {
        self.shared.state().durable
    }

    /// Waits until the durable position is beyond `position`, no more appends will come, or the time is over. Returns
    /// the durable position.
    pub fn wait_beyond(&self, position: Position, timeout: Duration) -> Position {
        self.shared.wait_beyond(position, timeout)
    }

    /// Does one unit of background work: removes a trimmed file, seals a full segment or prepares a spare one.
    ///
    /// Call it from one thread of its own, again at once unless it says [`SealStep::Idle`]. An error leaves the log
    /// as it was; a segment that is damaged is then left alone until the next start.
    pub fn seal_step(&self) -> Result<SealStep, LogError> {
        self.shared.seal_step()
    }

    /// Rewrites the segment that begins at `first`, which must not be the one being written. `change` gets every frame
    /// and may change bodies, nothing else. As safe from crashes as sealing: the segment is the old or the new one.
    pub fn rewrite_segment(
        &self,
        first: Position,
        change: &mut dyn FnMut(Frame) -> Frame,
    ) -> Result<RewriteReport, LogError> {
        self.shared.rewrite_segment(first, change)
    }

    /// Makes used files that wait as spares go, and the writer leave a segment file that was used before, at its next
    /// append or [`crate::Log::roll`]; such files are not used again once they are sealed. Call it when an erasure has
    /// rewritten all segments: used files still hold what they held. It is done when [`LogStats::files_to_forget`]
    /// is 0.
    pub fn forget_used_files(&self) -> Result<(), LogError> {
        self.shared.forget_used_files()
    }

    /// The position below which age and size would allow to trim. Pass to [`crate::Log::trim`] the least of this, the
    /// checkpoint's position and the followers'.
    pub fn retention_floor(&self, now: Timestamp, retention: &Retention) -> Position {
        self.shared.state().retention_floor(now, retention)
    }

    /// The segments, oldest first; the last one is being written.
    pub fn segments(&self) -> Vec<SegmentSummary> {
        self.shared.state().summaries()
    }

    /// Counts and state.
    pub fn stats(&self) -> LogStats {
        let state = self.shared.state();
        LogStats {
            segments: state.segments.len() as u64,
            file_bytes: state.segments.iter().map(|entry| entry.file_bytes).sum(),
            closed: state.closed,
            files_to_forget: state.segments.iter().filter(|entry| state.must_forget(entry)).count() as u64,
            ..state.stats
        }
    }
}
