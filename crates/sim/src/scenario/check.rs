//! The invariants, each written once. The numbers are those of the promises in ARCHITECTURE.md.

use super::Scenario;
use crate::subject::{Explained, Subject};
use anyhow::{Context, Result, ensure};
use engine::recovery::{LogSource, STATE_FOLDER};
use engine::verify::verify;
use eventlog::Frame;
use model::id::Position;
use std::path::Path;
use std::sync::Arc;
use store::{LocalObjects, Objects};

impl<S: Subject> Scenario<S> {
    /// Reads what the log holds and joins it with what was remembered before it was trimmed.
    pub(super) fn remember_log(&mut self) -> Result<()> {
        let Some(shard) = &self.shard else { return Ok(()) };
        let first = LogSource::first_position(&shard.log);
        self.history.retain(|frame| frame.first < first);
        ensure!(
            self.history.last().is_none_or(|frame| frame.next() == first) || first == Position(0),
            "the log begins at {first}, but what was remembered does not reach it"
        );
        let mut reader = LogSource::read_from(&shard.log, first)?;
        while let Some(frame) = reader.next()? {
            self.history.push(frame);
        }
        Ok(())
    }

    /// Everything, against what the log says.
    pub(super) fn check_all(&mut self) -> Result<()> {
        self.remember_log().context("reading the log back")?;
        let Some(shard) = &mut self.shard else { return Ok(()) };
        let progress = shard.core.progress().clone();
        let applied = progress.next_position;
        let frames: Vec<Frame> = self.history.iter().filter(|frame| frame.first < applied).cloned().collect();
        // Promise 1: what was answered is in the log, and the state ends where the log says.
        ensure!(
            applied >= self.answered,
            "answered up to {}, but the state ends at {applied}",
            self.answered
        );
        let end = frames.last().map_or(Position(0), Frame::next);
        ensure!(end == applied, "the log ends at {end}, the state at {applied}");
        let explained = self.subject.check(&mut shard.core, &frames)?;
        let Explained { effects, feed, duplicates } = &explained;
        // Promise 2: counted once.
        ensure!(
            progress.duplicates == *duplicates,
            "{} duplicates, the log says {duplicates}",
            progress.duplicates
        );
        self.tally.duplicates = *duplicates;
        // Promise 3: the same effects under the same ids.
        ensure!(
            progress.effects == effects.len() as u64,
            "{} effects, the log says {}",
            progress.effects,
            effects.len()
        );
        self.tally.effects = progress.effects;
        for (id, kind, body) in effects {
            let known = self.seen_effects.entry(*id).or_insert_with(|| (*kind, body.clone()));
            ensure!((known.0, &known.1) == (*kind, body), "effect {id} is not what it was before");
        }
        self.check_feed(feed).context("the feed")?;
        self.explained = Some(explained);
        self.check_outbox()
    }

    /// Effects in the outbox are those that were issued, byte for byte.
    fn check_outbox(&mut self) -> Result<()> {
        let Some(shard) = &mut self.shard else { return Ok(()) };
        for issued in shard.core.effects_after(None, usize::MAX) {
            let known = self.seen_effects.get(&issued.id);
            ensure!(
                known == Some(&(issued.effect.kind, issued.effect.body.clone())),
                "the outbox holds {} which the log does not explain",
                issued.id
            );
        }
        Ok(())
    }

    /// A cheap look in the middle of a life.
    pub(super) fn check_some(&mut self) -> Result<()> {
        if self.faults_are_set() {
            return Ok(());
        }
        if self.shard.as_ref().is_some_and(|shard| !shard.poisoned) {
            self.drain()?;
            if self.shard.is_some() {
                return self.check_all();
            }
        }
        Ok(())
    }

    /// Promise 3: the log, applied again from the beginning or from a checkpoint, gives the checkpoints.
    pub(super) fn check_replay(&mut self) -> Result<()> {
        let Some(shard) = &self.shard else { return Ok(()) };
        let env = self.world.env();
        let objects: Arc<dyn Objects> =
            Arc::new(LocalObjects::open(&env, &Path::new(super::DIRECTORY).join(STATE_FOLDER))?);
        for stretch in verify(&objects, &shard.log, S::rules, &self.options)? {
            ensure!(stretch.is_exact(), "replay is not exact: {stretch:?}");
        }
        Ok(())
    }
}
