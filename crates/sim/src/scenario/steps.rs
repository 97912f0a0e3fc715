//! What a shard does, one step at a time, in the order the seed chooses.

use super::{Scenario, Shard};
use crate::classes::Class;
use crate::subject::{Around, Subject};
use anyhow::{Result, bail};
use engine::EngineError;
use engine::core::{FrameOutcome, write_checkpoint};
use eventlog::{Frame, FrameDraft, Log};
use model::id::{Position, Timestamp};
use model::record::{RecordKind, encode_record};
use std::panic::{AssertUnwindSafe, catch_unwind};

impl<S: Subject> Scenario<S> {
    pub(super) fn step(&mut self) -> Result<()> {
        if S::ATTENDS && self.seed.one_in(3) {
            return self.attend();
        }
        match self.seed.below(100) {
            0..=23 => self.append(),
            24..=47 => self.apply_one(),
            48..=53 => self.begin_checkpoint(),
            54..=66 => self.slice(),
            67 | 68 => self.write_feed(),
            69 | 70 => self.follow(),
            71..=74 => self.merge(),
            75 | 76 => self.warm(),
            77..=82 => self.seal(),
            83 | 84 => self.trim(),
            85..=90 => self.move_clock(),
            91 | 92 => self.evict(),
            93 | 94 => self.set_a_fault_now(),
            95 if !self.without.has(Class::Kill) => {
                self.kill();
                Ok(())
            }
            96 if !self.without.has(Class::Power) => {
                self.lose_power();
                Ok(())
            }
            95 | 96 => Ok(()),
            _ => self.check_some(),
        }
    }

    /// What is beyond the shard gets a turn.
    fn attend(&mut self) -> Result<()> {
        let faulty = self.faults_are_set();
        let Some(shard) = &mut self.shard else { return Ok(()) };
        let (core, world, seed) = (&mut shard.core, &self.world, &mut self.seed);
        self.subject.attend(&mut Around { core, world, seed, faulty })?;
        if self.world.is_off() {
            self.lose_power();
        }
        Ok(())
    }

    fn set_a_fault_now(&mut self) -> Result<()> {
        if !self.faults_are_set() {
            self.set_a_fault();
        }
        Ok(())
    }

    /// Clock steps: mostly forward, sometimes far, sometimes back.
    fn move_clock(&mut self) -> Result<()> {
        let by_us = match self.seed.below(8) {
            0 => -(self.seed.below(30_000_000) as i64),
            1 => self.seed.below(90_000_000) as i64,
            _ => self.seed.below(2_000_000) as i64,
        };
        if !self.without.has(Class::Clock) {
            self.world.advance(by_us);
        }
        Ok(())
    }

    fn draft(&mut self, received_at: Timestamp) -> FrameDraft {
        let mut body = Vec::new();
        if self.seed.one_in(10) {
            encode_record(&mut body, RecordKind::TICK, &[]);
            return FrameDraft { received_at, control: true, count: 1, body };
        }
        let count = 1 + self.seed.below(5) as u32;
        for _ in 0..count {
            self.subject.message(&mut self.seed, received_at, &mut body);
        }
        FrameDraft { received_at, control: false, count, body }
    }

    pub(super) fn append(&mut self) -> Result<()> {
        let now = Timestamp(self.world.env().clock.now_us());
        let Some(shard) = &self.shard else { return Ok(()) };
        let received_at = now.max(shard.log.last_received_at());
        let drafts: Vec<FrameDraft> = (0..=self.seed.below(2)).map(|_| self.draft(received_at)).collect();
        let Some(shard) = &mut self.shard else { return Ok(()) };
        let first = shard.log.next_position();
        match shard.log.append(shard.term, first, &drafts) {
            Ok(_) if shard.poisoned => bail!("the log took an append after it had failed one for good"),
            Ok(_) => {
                let mut position = first;
                for draft in drafts {
                    let FrameDraft { received_at, control, count, body } = draft;
                    shard.waiting.push(Frame {
                        first: position,
                        count,
                        term: shard.term,
                        received_at,
                        control,
                        body,
                    });
                    position = position.plus(u64::from(count));
                }
            }
            Err(error) if error.is_transient() => self.clear_faults(),
            Err(_) if self.world.is_off() => self.lose_power(),
            Err(_) => {
                shard.poisoned = true;
                self.after_failure();
            }
        }
        Ok(())
    }

    /// A process whose log is poisoned is stopped sooner or later, by its operator or by the power.
    fn after_failure(&mut self) {
        match self.seed.below(3) {
            0 => self.kill(),
            1 => self.lose_power(),
            _ => {}
        }
    }

    fn apply_one(&mut self) -> Result<()> {
        let Some(shard) = &mut self.shard else { return Ok(()) };
        if shard.waiting.is_empty() {
            return Ok(());
        }
        let frame = shard.waiting.remove(0);
        match guarded(shard, &frame) {
            Ok(Ok(outcome)) => self.answered(&frame, &outcome),
            Ok(Err(error)) if self.world.is_off() || self.faults_are_set() => {
                drop(error);
                self.lose_power();
                Ok(())
            }
            Ok(Err(error)) => bail!("applying failed without a fault: {error}"),
            Err(position) if !S::PANICS => bail!("promise 10: applying {position} panicked"),
            Err(position) => {
                // The process notes the position and stops, as the shell does.
                let noted = position.0.to_le_bytes();
                self.world.write_file(&std::path::Path::new(super::DIRECTORY).join("panicked-at"), &noted);
                self.kill();
                Ok(())
            }
        }
    }

    /// The callers get their 200.
    fn answered(&mut self, frame: &Frame, outcome: &FrameOutcome) -> Result<()> {
        let Some(shard) = &mut self.shard else { return Ok(()) };
        self.tally.acknowledged += self.subject.answered(&mut shard.core, frame, outcome)?;
        self.answered = self.answered.max(frame.next());
        Ok(())
    }

    /// Applies everything that waits.
    pub(super) fn drain(&mut self) -> Result<()> {
        while self.shard.as_ref().is_some_and(|shard| !shard.waiting.is_empty()) {
            self.apply_one()?;
        }
        Ok(())
    }

    fn begin_checkpoint(&mut self) -> Result<()> {
        if let Some(shard) = &mut self.shard
            && shard.core.can_checkpoint()
            && shard.core.has_changed_since_checkpoint()
        {
            shard.core.begin_checkpoint();
        }
        Ok(())
    }

    fn slice(&mut self) -> Result<()> {
        let rows = 1 + self.seed.below(12) as usize;
        let Some(shard) = &mut self.shard else { return Ok(()) };
        if shard.core.is_encoding() {
            let slice = shard.core.checkpoint_slice(rows);
            shard.slices.push(slice);
        }
        if shard.slices.last().is_none_or(|slice| slice.finish.is_none()) {
            return Ok(());
        }
        if !self.sync_feed() {
            return Ok(());
        }
        let Some(shard) = &mut self.shard else { return Ok(()) };
        match write_checkpoint(&shard.store, shard.term, &shard.slices) {
            Ok(_) => {
                shard.slices.clear();
                shard.core.checkpoint_committed();
                self.tally.checkpoints += 1;
            }
            // Tried again on a later step: the slices are still there.
            Err(_) if self.world.is_off() => self.lose_power(),
            Err(store::StoreError::DiskFull { .. } | store::StoreError::Io { .. }) => self.clear_faults(),
            Err(_) if self.faults_are_set() => self.kill(),
            Err(error) => bail!("a checkpoint failed without a fault: {error}"),
        }
        Ok(())
    }

    fn background(&mut self, what: &str, outcome: Result<(), String>) -> Result<()> {
        match outcome {
            Ok(()) => Ok(()),
            Err(_) if self.world.is_off() => {
                self.lose_power();
                Ok(())
            }
            Err(_) if self.faults_are_set() => Ok(()),
            Err(_) if self.shard.as_ref().is_some_and(|shard| shard.poisoned) => Ok(()),
            Err(error) => bail!("{what} failed without a fault: {error}"),
        }
    }

    fn merge(&mut self) -> Result<()> {
        let budget = 200 + self.seed.below(4_000);
        let Some(shard) = &self.shard else { return Ok(()) };
        let outcome = shard.store.merge_step(budget).map(|_| ()).map_err(|error| error.to_string());
        self.background("a merge", outcome)
    }

    fn seal(&mut self) -> Result<()> {
        let Some(shard) = &self.shard else { return Ok(()) };
        let outcome = shard.log.handle().seal_step().map(|_| ()).map_err(|error| error.to_string());
        self.background("sealing", outcome)
    }

    /// Every other life trims its log behind the checkpoints; then the truth keeps its own copy.
    fn trim(&mut self) -> Result<()> {
        if !self.trims {
            return Ok(());
        }
        self.remember_log()?;
        let Some(shard) = &mut self.shard else { return Ok(()) };
        let outcome = shard.log.trim(shard.store.oldest_kept_position()).map_err(|error| error.to_string());
        self.background("trimming", outcome)
    }

    /// Reads rows ahead, a few at a time, while everything else goes on.
    fn warm(&mut self) -> Result<()> {
        let rows_max = 1 + self.seed.below(12) as usize;
        let Some(shard) = &mut self.shard else { return Ok(()) };
        let Some(waiting) = &mut shard.warming else {
            let mut rows = Vec::new();
            let mut failed = None;
            for table in shard.core.begin_warming() {
                for row in shard.store.scan(table) {
                    match row {
                        Ok((key, bytes)) => rows.push((table, key, bytes)),
                        Err(error) => failed = Some(error.to_string()),
                    }
                }
            }
            if failed.is_none() {
                shard.warming = Some(rows);
            }
            return self.background("reading ahead", failed.map_or(Ok(()), Err));
        };
        for (table, key, bytes) in waiting.drain(..rows_max.min(waiting.len())) {
            shard.core.warm(table, &[(key, bytes)])?;
        }
        if waiting.is_empty() {
            shard.core.end_warming();
            shard.warming = None;
        }
        Ok(())
    }

    fn evict(&mut self) -> Result<()> {
        if let Some(shard) = &mut self.shard {
            for _ in 0..256 {
                shard.core.evict_some(0);
            }
        }
        Ok(())
    }
}

/// Applies a frame; the outer error is the position of a panic.
fn guarded<S: Subject>(
    shard: &mut Shard<S>,
    frame: &Frame,
) -> Result<Result<FrameOutcome, EngineError>, Position> {
    let outcome = catch_unwind(AssertUnwindSafe(|| shard.core.apply_frame(frame)));
    outcome.map_err(|_| shard.core.applying().unwrap_or_default())
}
