//! When one submission passed each stage, noted where whoever submits asks for it.
//!
//! A submission that nobody follows carries an empty option and pays a branch for it at each stage.

use super::Done;
use model::id::Position;

/// The way of one submission through the shard. Times are in nanoseconds of the shard's own clock,
/// [`env::Clock::monotonic_ns`], and in the order of the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// It entered the queue.
    pub submitted_ns: u64,
    /// The write of its group began.
    pub append_started_ns: u64,
    /// Its group was durable.
    pub durable_ns: u64,
    /// Applying its frame began. Between this and the former it waits for the applying thread.
    pub apply_started_ns: u64,
    /// Its frame was applied.
    pub applied_ns: u64,
    /// Position of its first record.
    pub first: Position,
    /// The group that became durable together.
    pub group: Together,
    /// The frame in it that was applied together; its `frames` is 1.
    pub frame: Together,
    /// Records of the frame that were dropped because they were seen before.
    pub duplicates: u32,
    /// Effects that the frame led to, those of timers that fired before it included.
    pub effects: u32,
    /// Rows that reading ahead for the frame had missed, so that they were read while it was applied.
    pub unplanned_reads: u64,
}

/// What went together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Together {
    /// Submissions.
    pub submissions: u32,
    /// Frames of the log.
    pub frames: u32,
    /// Records.
    pub records: u32,
    /// Bytes of the frames' bodies.
    pub bytes: u64,
}

/// Whoever waits for a part of a frame.
pub(crate) struct Waiter {
    /// Records of the frame that are theirs.
    pub(crate) count: u32,
    pub(crate) done: Done,
    pub(crate) stages: Option<Box<Stages>>,
}
