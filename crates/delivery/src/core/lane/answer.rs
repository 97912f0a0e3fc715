//! What becomes of an attempt.

use super::{Attempt, Book, Lane, Stage};
use crate::core::{Action, AttemptId};
use crate::ledger::{DeadReason, Entry};
use crate::parcel::{Class, Moment, Outcome};
use model::id::{EffectId, Key};
use std::collections::BTreeMap;

impl Lane {
    /// Ends attempts whose time is over.
    pub(crate) fn expire(
        &mut self,
        index: usize,
        now: Moment,
        chance: &mut dyn FnMut() -> u64,
        book: &mut Book<'_>,
        actions: &mut Vec<Action>,
    ) {
        while let Some((deadline_us, serial)) = self.deadlines.first().copied() {
            if deadline_us > now.monotonic_us {
                return;
            }
            self.deadlines.pop_first();
            actions.push(Action::Abandon { attempt: AttemptId { lane: index, serial } });
            match self.attempts.get(&serial).map(|attempt| attempt.stage) {
                Some(Stage::Sent) => {
                    self.status.timeouts += 1;
                    let outcome = Outcome::Unknown { reason: "timeout".to_owned() };
                    self.answer(serial, &outcome, now, chance(), book);
                }
                // No answer at all counts as permits that nobody could give.
                Some(Stage::Asking) => self.permits(serial, &[], now, book),
                Some(Stage::Granted) | None => {}
            }
        }
    }

    /// Takes in an outcome. Only the first answer to an attempt under way counts.
    pub(crate) fn answer(
        &mut self,
        serial: u64,
        outcome: &Outcome,
        now: Moment,
        chance: u64,
        book: &mut Book<'_>,
    ) {
        if self.attempts.get(&serial).is_none_or(|attempt| attempt.stage != Stage::Sent) {
            self.status.stray_answers += 1;
            return;
        }
        let Some(attempt) = self.take_attempt(serial) else { return };
        self.status.failed_attempts += u64::from(*outcome != Outcome::Delivered);
        self.tell_breaker(serial, outcome, now, book);
        let mut waits: BTreeMap<Key, u64> = BTreeMap::new();
        let backoff_us = self.backoff_us(&attempt, outcome, chance);
        for id in &attempt.ids {
            let Some(subject) = self.parcel(*id).map(|parcel| parcel.subject) else { continue };
            if let Some(wait_us) = self.answer_one(*id, &attempt, outcome, backoff_us, now, book) {
                waits.insert(subject, wait_us);
            }
        }
        for subject in &attempt.subjects {
            let wait_us = waits.get(subject).copied().unwrap_or(0);
            self.queue.release(*subject, now.monotonic_us.saturating_add(wait_us), now.monotonic_us);
        }
        self.heed_retry_after(outcome, now);
    }

    /// Decides about one parcel. Returns how long its subject waits, if the parcel is to be sent again.
    fn answer_one(
        &mut self,
        id: EffectId,
        attempt: &Attempt,
        outcome: &Outcome,
        backoff_us: u64,
        now: Moment,
        book: &mut Book<'_>,
    ) -> Option<u64> {
        let class = self.parcel(id)?.class;
        match outcome {
            Outcome::Delivered => {
                let parcel = self.parcel(id)?;
                let (kind, lag_us) = (parcel.kind, now.at.since_us(parcel.issued_at));
                self.status.count_lag(kind, lag_us);
                self.status.delivered += 1;
                self.settle(id, book);
                None
            }
            Outcome::Refused { reason } if attempt.ids.len() == 1 => {
                self.kill(id, DeadReason::Refused, reason, now, book);
                None
            }
            Outcome::Refused { .. } => {
                self.queue.get_mut(id)?.tries.alone = true;
                self.again(id, self.options.retry.least_ms * 1_000, now, book)
            }
            Outcome::Unknown { reason } if class == Class::Marketing => {
                self.kill(id, DeadReason::UnknownOutcome, reason, now, book);
                None
            }
            Outcome::Unknown { reason } | Outcome::Retry { reason, .. } => {
                self.strike(id, attempt.probe, reason, backoff_us, now, book)
            }
        }
    }

    /// Counts a failure against a parcel; it dies of too many.
    fn strike(
        &mut self,
        id: EffectId,
        probe: bool,
        reason: &str,
        backoff_us: u64,
        now: Moment,
        book: &mut Book<'_>,
    ) -> Option<u64> {
        let item = self.queue.get_mut(id)?;
        // A probe that fails says something about the destination, not about the parcel.
        item.tries.strikes = item.tries.strikes.saturating_add(u32::from(!probe));
        if item.tries.first_failed_at.0 == 0 {
            item.tries.first_failed_at = now.at;
        }
        let failing_us = u64::try_from(now.at.since_us(item.tries.first_failed_at)).unwrap_or(0);
        let limits = self.options.retry;
        if item.tries.strikes >= limits.attempts_max || failing_us >= limits.give_up_after_ms * 1_000 {
            self.kill(id, DeadReason::GaveUp, reason, now, book);
            return None;
        }
        self.again(id, backoff_us, now, book)
    }

    fn again(&mut self, id: EffectId, wait_us: u64, now: Moment, book: &mut Book<'_>) -> Option<u64> {
        if self.condemned.contains(&id) {
            self.settle(id, book);
            return None;
        }
        let item = self.queue.get_mut(id)?;
        item.tries.on_the_wire = false;
        item.tries.not_before = now.at.plus_us(i64::try_from(wait_us).unwrap_or(i64::MAX));
        book.write(Entry::Tried { lane: self.number, id, tries: item.tries });
        self.status.retried += 1;
        self.queue.put_back(id);
        Some(wait_us)
    }

    /// Full jitter over a bound that doubles with every failure, and no less than the destination asks for.
    fn backoff_us(&self, attempt: &Attempt, outcome: &Outcome, chance: u64) -> u64 {
        let retry = self.options.retry;
        let strikes = attempt.ids.iter().filter_map(|id| self.queue.get(*id));
        let strikes = strikes.map(|item| item.tries.strikes).max().unwrap_or(0).min(32);
        let bound_ms = retry.first_ms.saturating_mul(1_u64 << strikes).min(retry.longest_ms);
        let bound_us = bound_ms.saturating_mul(1_000);
        let drawn_us = chance % bound_us.saturating_add(1);
        let asked_ms = match outcome {
            Outcome::Retry { after_ms: Some(after_ms), .. } => (*after_ms).min(retry.retry_after_max_ms),
            _ => 0,
        };
        drawn_us.max(retry.least_ms * 1_000).max(asked_ms * 1_000)
    }

    fn tell_breaker(&mut self, serial: u64, outcome: &Outcome, now: Moment, book: &mut Book<'_>) {
        let changed = match outcome {
            Outcome::Delivered | Outcome::Refused { .. } => self.breaker.success(serial),
            // A destination that names a time works, and is heeded otherwise; as the probe it has not shown that it does.
            Outcome::Retry { after_ms: Some(_), .. } if !self.breaker.is_probe(serial) => None,
            Outcome::Retry { .. } | Outcome::Unknown { .. } => self.breaker.failure(serial, now),
        };
        if let Some(memory) = changed {
            book.write(Entry::Breaker { lane: self.number, memory });
        }
    }

    fn heed_retry_after(&mut self, outcome: &Outcome, now: Moment) {
        if let Outcome::Retry { after_ms: Some(after_ms), .. } = outcome {
            let wait_us = (*after_ms).min(self.options.retry.retry_after_max_ms) * 1_000;
            self.paused_until_us = self.paused_until_us.max(now.monotonic_us.saturating_add(wait_us));
        }
    }
}
