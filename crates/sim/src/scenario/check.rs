//! The invariants, each written once. The numbers are those of the promises in ARCHITECTURE.md.

use super::Scenario;
use crate::ledger::{Ledger, account_key};
use crate::truth::Truth;
use anyhow::{Context, Result, ensure};
use engine::recovery::{LogSource, STATE_FOLDER};
use engine::verify::verify;
use eventlog::Frame;
use model::id::{EffectId, Position};
use std::path::Path;
use std::sync::Arc;
use store::{LocalObjects, Objects};

impl Scenario {
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

    /// Everything, against the truth.
    pub(super) fn check_all(&mut self) -> Result<()> {
        self.remember_log().context("reading the log back")?;
        let Some(shard) = &mut self.shard else { return Ok(()) };
        let applied = shard.core.progress().next_position;
        let frames: Vec<Frame> = self.history.iter().filter(|frame| frame.first < applied).cloned().collect();
        let truth = Truth::of(&frames);
        let progress = shard.core.progress().clone();
        // Promise 1: what was answered is in the log, and what is in the state is what the log says.
        ensure!(
            applied >= self.answered,
            "answered up to {}, but the state ends at {applied}",
            self.answered
        );
        ensure!(truth.next == applied, "the log ends at {}, the state at {applied}", truth.next);
        for account in 0..12 {
            let found = shard.core.query(account)?.unwrap_or_default();
            let expected = truth.accounts.get(&account).cloned().unwrap_or_default();
            ensure!(found == expected, "account {account}: found {found:?}, the log says {expected:?}");
            let view = shard.core.view();
            let shown = view.0.lock().ok().and_then(|balances| balances.get(&account_key(account)).copied());
            ensure!(
                shown.unwrap_or(0) == expected.balance,
                "the view of account {account} shows {shown:?}, the log says {}",
                expected.balance
            );
        }
        // Promise 2: counted once.
        ensure!(
            progress.duplicates == truth.duplicates,
            "{} duplicates, the log says {}",
            progress.duplicates,
            truth.duplicates
        );
        self.tally.duplicates = progress.duplicates;
        // Promise 3: the same effects under the same ids.
        ensure!(
            progress.effects == truth.effects.len() as u64,
            "{} effects, the log says {}",
            progress.effects,
            truth.effects.len()
        );
        self.tally.effects = progress.effects;
        for (position, ordinal, kind, _, body) in truth.effects {
            let id = EffectId { position, ordinal };
            let known = self.seen_effects.entry(id).or_insert_with(|| (kind, body.clone()));
            ensure!(*known == (kind, body), "effect {id} is not what it was before");
        }
        self.check_acknowledged(&truth.counted)?;
        self.check_outbox()
    }

    /// Promise 1: every acknowledged message counted, unless its record panicked twice and is quarantined.
    fn check_acknowledged(&self, counted: &std::collections::BTreeSet<u64>) -> Result<()> {
        for message in &self.acknowledged {
            ensure!(counted.contains(message), "message {message} was acknowledged and does not count");
        }
        Ok(())
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
        for stretch in verify(&objects, &shard.log, || Ledger, &self.options)? {
            ensure!(stretch.is_exact(), "replay is not exact: {stretch:?}");
        }
        Ok(())
    }
}
