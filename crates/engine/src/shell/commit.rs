//! The committing thread: gathers what waits, appends it with one sync, passes it on to be applied.

use super::apply::Work;
use super::bodies::Bodies;
use super::mailbox::Mailbox;
use super::stages::{Stages, Together, Waiter};
use super::status::Status;
use super::{Applied, Done, EngineOptions};
use crate::error::SubmitError;
use crate::machine::Machine;
use env::Env;
use eventlog::{Frame, FrameDraft, Log, LogError};
use model::id::{Position, Timestamp};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Seconds a caller should wait when the disk is full or the shard is stopping.
pub(crate) const RETRY_UNAVAILABLE_S: u32 = 5;
/// How long an idle committer sleeps before it looks around.
const IDLE: Duration = Duration::from_millis(500);
/// How much longer a loaded committer lets a group grow. A group that is small although many wait costs a sync each.
const LINGER: Duration = Duration::from_micros(700);
/// Submissions in the last group from which on the next one may linger.
const LINGER_FROM_SUBMISSIONS: usize = 8;

/// What waits to be appended.
pub(crate) enum Commit {
    Records(Submission),
    /// Nothing before this position is needed any more.
    Trim(Position),
    /// The open segment is to be closed.
    Roll,
}

pub(crate) struct Submission {
    pub(crate) records: Vec<u8>,
    pub(crate) count: u32,
    pub(crate) control: bool,
    pub(crate) log_time: Option<Timestamp>,
    pub(crate) done: Done,
    /// Where somebody wants to know how it goes on.
    pub(crate) stages: Option<Box<Stages>>,
}

/// A frame and who waits for it, in order.
pub(crate) struct DurableFrame {
    pub(crate) frame: Frame,
    pub(crate) waiters: Vec<Waiter>,
    /// Whether one of them has stages to note.
    pub(crate) followed: bool,
}

pub(crate) struct Committer<L, M: Machine> {
    pub(crate) env: Env,
    pub(crate) log: L,
    /// The oldest position that age and size would keep, at a log time.
    pub(crate) retention_floor: Box<dyn Fn(Timestamp) -> Position + Send>,
    pub(crate) options: EngineOptions,
    pub(crate) inbox: Arc<Mailbox<Commit>>,
    pub(crate) applier: Arc<Mailbox<Work<M>>>,
    pub(crate) status: Arc<Status>,
    pub(crate) bodies: Arc<Bodies>,
}

impl<L: Log, M: Machine> Committer<L, M> {
    pub(crate) fn run(mut self) {
        let mut last_group = 0;
        let mut taken = Vec::new();
        loop {
            if let Some(first) = self.inbox.pop(IDLE) {
                if last_group >= LINGER_FROM_SUBMISSIONS {
                    self.linger();
                }
                taken.push(first);
                self.inbox.drain(self.options.group_bytes_max, &mut taken);
                last_group = taken.len();
                self.commit(&mut taken);
            } else {
                last_group = 0;
                if self.inbox.is_closed() {
                    break;
                }
            }
        }
        // Everything accepted has been passed on: the applier may finish and stop.
        self.applier.close();
    }

    fn linger(&self) {
        let start_ns = self.env.clock.monotonic_ns();
        self.inbox.linger(self.options.group_bytes_min, LINGER);
        let waited_ns = self.env.clock.monotonic_ns().saturating_sub(start_ns);
        self.status.lingered_ns.fetch_add(waited_ns, Relaxed);
    }

    fn commit(&mut self, taken: &mut Vec<Commit>) {
        let now = Timestamp(self.env.clock.now_us());
        let mut drafts: Vec<FrameDraft> = Vec::new();
        let mut waiters: Vec<Vec<Waiter>> = Vec::new();
        let mut followed = false;
        let mut log_time = self.log.last_received_at();
        for commit in taken.drain(..) {
            let submission = match commit {
                Commit::Records(submission) => submission,
                Commit::Trim(below) => {
                    self.trim(below);
                    continue;
                }
                Commit::Roll => {
                    self.roll();
                    continue;
                }
            };
            // Where log time is driven from outside, a submission without one (a command) does not move it.
            let otherwise = if self.options.drive_log_time { log_time } else { now };
            log_time = log_time.max(submission.log_time.unwrap_or(otherwise));
            let joins = drafts.last().is_some_and(|draft| {
                draft.received_at == log_time
                    && draft.control == submission.control
                    && draft.body.len() + submission.records.len() <= self.options.frame_bytes_max
            });
            if !joins {
                drafts.push(FrameDraft {
                    received_at: log_time,
                    control: submission.control,
                    count: 0,
                    body: Vec::new(),
                });
                waiters.push(Vec::new());
            }
            if let (Some(draft), Some(waiting)) = (drafts.last_mut(), waiters.last_mut()) {
                draft.count += submission.count;
                match waiting.len() {
                    0 => draft.body = submission.records,
                    1 => {
                        let alone = std::mem::replace(&mut draft.body, self.bodies.take());
                        draft.body.extend_from_slice(&alone);
                        draft.body.extend_from_slice(&submission.records);
                    }
                    _ => draft.body.extend_from_slice(&submission.records),
                }
                let Submission { count, done, stages, .. } = submission;
                followed |= stages.is_some();
                waiting.push(Waiter { count, done, stages });
            }
        }
        if !drafts.is_empty() {
            self.append(drafts, waiters, followed);
        }
    }

    fn append(&mut self, drafts: Vec<FrameDraft>, mut waiters: Vec<Vec<Waiter>>, followed: bool) {
        let first = self.log.next_position();
        let started_ns = self.env.clock.monotonic_ns();
        match self.log.append(self.options.term, first, &drafts) {
            Ok(next) => {
                let durable_ns = self.env.clock.monotonic_ns();
                self.status.appended(started_ns, durable_ns, next);
                self.status.writes_refused.store(false, Relaxed);
                if followed {
                    note_durable(&drafts, &mut waiters, started_ns, durable_ns);
                }
                self.pass_on(first, drafts, waiters);
            }
            Err(error) => self.refuse(&error, waiters),
        }
    }

    fn pass_on(&self, first: Position, drafts: Vec<FrameDraft>, waiters: Vec<Vec<Waiter>>) {
        let mut position = first;
        let mut group = Vec::with_capacity(drafts.len());
        for (draft, waiters) in drafts.into_iter().zip(waiters) {
            let frame = Frame {
                first: position,
                count: draft.count,
                term: self.options.term,
                received_at: draft.received_at,
                control: draft.control,
                body: draft.body,
            };
            position = position.plus(u64::from(draft.count));
            let followed = waiters.iter().any(|waiter| waiter.stages.is_some());
            group.push(DurableFrame { frame, waiters, followed });
        }
        if let Err(Work::Group(group)) = self.applier.push(Work::Group(group), 1) {
            // The applier has stopped. The records are durable; whether they count is found on the next start.
            for waiter in group.into_iter().flat_map(|durable| durable.waiters) {
                (waiter.done)(Err(self.status.unavailable()));
            }
        }
    }

    fn refuse(&self, error: &LogError, waiters: Vec<Vec<Waiter>>) {
        if error.is_transient() {
            self.status.writes_refused.store(true, Relaxed);
            tracing::warn!(error = %error, "the log refuses writes for now");
        } else {
            tracing::error!(error = %error, "the log takes no more writes");
            self.status.stop(error.to_string());
        }
        let reason =
            SubmitError::Unavailable { reason: error.to_string(), retry_after_s: RETRY_UNAVAILABLE_S };
        for waiter in waiters.into_iter().flatten() {
            (waiter.done)(Err(reason.clone()));
        }
    }

    fn roll(&mut self) {
        match self.log.roll() {
            Ok(_) => {}
            Err(error) if error.is_transient() => {
                tracing::warn!(error = %error, "the open segment could not be closed; ask again");
            }
            Err(error) => self.refuse(&error, Vec::new()),
        }
    }

    fn trim(&mut self, below: Position) {
        let below = below.min((self.retention_floor)(self.log.last_received_at()));
        if below > self.log.first_position()
            && let Err(error) = self.log.trim(below)
        {
            tracing::warn!(error = %error, "old segments could not be removed");
        }
    }
}

/// Writes down when a group was written and what was in it, for whoever follows a part of it.
fn note_durable(drafts: &[FrameDraft], waiters: &mut [Vec<Waiter>], started_ns: u64, durable_ns: u64) {
    let together = |drafts: &[FrameDraft], waiters: &[Vec<Waiter>]| Together {
        submissions: waiters.iter().map(|waiting| waiting.len() as u32).sum(),
        frames: drafts.len() as u32,
        records: drafts.iter().map(|draft| draft.count).sum(),
        bytes: drafts.iter().map(|draft| draft.body.len() as u64).sum(),
    };
    let group = together(drafts, waiters);
    for (draft, waiting) in drafts.iter().zip(waiters) {
        let frame = together(std::slice::from_ref(draft), std::slice::from_ref(waiting));
        for stages in waiting.iter_mut().filter_map(|waiter| waiter.stages.as_mut()) {
            stages.append_started_ns = started_ns;
            stages.durable_ns = durable_ns;
            (stages.group, stages.frame) = (group, frame);
        }
    }
}

/// Tells everyone who waits for a frame what became of their records. `applied` is what all who follow it are told.
pub(crate) fn answer(
    waiters: Vec<Waiter>,
    first: Position,
    outcome: crate::core::FrameOutcome,
    next: Position,
    applied: &Stages,
) {
    let (duplicates, effects) = (outcome.duplicates, outcome.effects);
    let mut replies = outcome.replies.into_iter().peekable();
    let mut start = 0;
    for Waiter { count, done, mut stages } in waiters {
        let end = start + count;
        let mut own = Vec::new();
        while let Some((index, reply)) = replies.next_if(|(index, _)| *index < end) {
            own.push((index - start, reply));
        }
        if let Some(stages) = &mut stages {
            stages.first = first.plus(u64::from(start));
            stages.apply_started_ns = applied.apply_started_ns;
            stages.applied_ns = applied.applied_ns;
            stages.unplanned_reads = applied.unplanned_reads;
            (stages.duplicates, stages.effects) = (duplicates, effects);
        }
        start = end;
        done(Ok(Applied { replies: own, next_position: next, stages }));
    }
}
