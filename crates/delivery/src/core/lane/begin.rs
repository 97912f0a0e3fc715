//! Beginning attempts: what may leave now, its permits, and the sending itself.

use super::{Attempt, Book, Lane, Stage};
use crate::core::breaker::Leave;
use crate::core::stats::Hold;
use crate::core::{Action, AttemptId};
use crate::ledger::{Entry, LaneLedger};
use crate::parcel::{Class, Moment, Parcel, Permit, PermitRequest};
use model::id::EffectId;
use std::sync::Arc;

impl Lane {
    /// Begins as many attempts as limits allow, by asking for their permits. `serial` gives the next attempt's number.
    pub(crate) fn begin(
        &mut self,
        index: usize,
        now: Moment,
        ledger: &LaneLedger,
        serial: &mut u64,
        actions: &mut Vec<Action>,
    ) {
        (self.hold, self.hold_until_us) = (None, None);
        while self.attempts.len() < self.options.concurrency_max && self.has_batch(now) {
            let limits = self.options.dead_letters;
            let full =
                ledger.resting_letters >= limits.letters_max || ledger.resting_bytes >= limits.bytes_max;
            // What is sent again leaves the list shorter, so it may go even then.
            if full && !self.queue.resend_to_front() {
                self.hold = Some(Hold::DeadLettersFull);
                return;
            }
            if now.monotonic_us < self.paused_until_us {
                self.hold = Some(Hold::RetryAfter);
                self.hold_until_us = Some(self.paused_until_us);
                return;
            }
            let probe = match self.breaker.leave(now.monotonic_us) {
                Leave::Go => false,
                Leave::Probe => true,
                Leave::Wait(until_us) => {
                    self.hold = Some(Hold::Breaker);
                    self.hold_until_us = until_us;
                    return;
                }
            };
            if let Some(bucket) = &mut self.bucket
                && let Err(until_us) = bucket.take(now.monotonic_us)
            {
                self.hold = Some(Hold::Rate);
                self.hold_until_us = Some(until_us);
                return;
            }
            *serial += 1;
            // One parcel is enough to see whether the destination works again.
            let parcels_max = if probe || full { 1 } else { self.options.batch_parcels_max };
            actions.push(self.ask(AttemptId { lane: index, serial: *serial }, parcels_max, probe, now));
        }
    }

    /// When something becomes due by itself, in monotonic microseconds.
    pub(crate) fn wake_at_us(&self, now: Moment, stopping: bool) -> Option<u64> {
        let deadline_us = self.deadlines.first().map(|(deadline_us, _)| *deadline_us);
        if stopping {
            return deadline_us;
        }
        let flush_us = self.flush_at_us();
        let full = self.attempts.len() >= self.options.concurrency_max;
        let batch_us = (self.hold.is_none() && !full && self.queue.ready_parcels() > 0).then_some(flush_us);
        let soon_us = (!self.granted.is_empty()).then_some(now.monotonic_us);
        [deadline_us, self.queue.next_due_us(), self.hold_until_us, batch_us, soon_us]
            .into_iter()
            .flatten()
            .min()
    }

    fn flush_at_us(&self) -> u64 {
        self.queue.ready_since_us().saturating_add(self.options.flush_after_ms * 1_000)
    }

    /// Whether there is a full batch, a smaller one that has waited long enough, or a parcel that goes alone: when a
    /// batch of a thousand is taken apart, each of them would wait for company otherwise.
    fn has_batch(&self, now: Moment) -> bool {
        let ready = self.queue.ready_parcels();
        let waited = ready > 0 && now.monotonic_us >= self.flush_at_us();
        ready >= self.options.batch_parcels_max || waited || self.queue.front_is_alone()
    }

    fn ask(&mut self, attempt: AttemptId, parcels_max: usize, probe: bool, now: Moment) -> Action {
        let ids = self.queue.take_batch(parcels_max, self.options.batch_bytes_max, now.monotonic_us);
        let mut requests = Vec::with_capacity(ids.len());
        let mut subjects = std::collections::BTreeSet::new();
        for item in ids.iter().filter_map(|id| self.queue.get(*id)) {
            subjects.insert(item.parcel.subject);
            requests.push(PermitRequest {
                parcel: item.parcel.clone(),
                attempt: item.tries.attempts.saturating_add(1),
            });
        }
        if probe {
            self.breaker.begin_probe(attempt.serial);
        }
        let deadline_us = now.monotonic_us.saturating_add(self.options.permit_timeout_ms * 1_000);
        self.deadlines.insert((deadline_us, attempt.serial));
        let begun = Attempt { ids, subjects, stage: Stage::Asking, deadline_us, probe };
        self.attempts.insert(attempt.serial, begun);
        Action::Ask { attempt, requests }
    }

    /// Takes in permits. What was granted is sent with the next step, unless an earlier parcel of its subject has to wait.
    pub(crate) fn permits(&mut self, serial: u64, permits: &[Permit], now: Moment, book: &mut Book<'_>) {
        if self.attempts.get(&serial).is_none_or(|attempt| attempt.stage != Stage::Asking) {
            self.status.stray_answers += 1;
            return;
        }
        let Some(mut attempt) = self.take_attempt(serial) else { return };
        let mut granted = Vec::new();
        let mut waits = std::collections::BTreeMap::new();
        for (place, id) in attempt.ids.iter().enumerate() {
            let Some(subject) = self.parcel(*id).map(|parcel| parcel.subject) else { continue };
            let permit = if permits.len() == attempt.ids.len() { permits.get(place) } else { None };
            match permit {
                _ if self.condemned.contains(id) => self.settle(*id, book),
                _ if waits.contains_key(&subject) => self.queue.put_back(*id),
                Some(Permit::Granted) => granted.push(*id),
                Some(Permit::Refused { reason }) => {
                    self.status.count_refusal(reason);
                    self.settle(*id, book);
                }
                Some(Permit::Later { reason, wait_ms }) => {
                    self.status.count_delay(reason);
                    waits.insert(subject, wait_ms.saturating_mul(1_000));
                    self.queue.put_back(*id);
                }
                None => {
                    self.status.count_delay("no_answer");
                    waits.insert(subject, self.options.retry.first_ms * 1_000);
                    self.queue.put_back(*id);
                }
            }
        }
        let longest_us = self.options.retry.retry_after_max_ms.max(self.options.retry.longest_ms) * 1_000;
        attempt.subjects.retain(|subject| {
            let stays = granted
                .iter()
                .any(|id| self.queue.get(*id).is_some_and(|item| item.parcel.subject == *subject));
            if !stays {
                let wait_us = waits.get(subject).copied().unwrap_or(0).min(longest_us);
                self.queue.release(*subject, now.monotonic_us.saturating_add(wait_us), now.monotonic_us);
            }
            stays
        });
        if granted.is_empty() {
            self.breaker.withdraw(serial);
            if let Some(bucket) = &mut self.bucket {
                bucket.put_back();
            }
            return;
        }
        attempt.ids = granted;
        attempt.stage = Stage::Granted;
        self.granted.push(serial);
        self.attempts.insert(serial, attempt);
    }

    /// Sends what was granted. Returns whether the journal must be synced before.
    pub(crate) fn send(
        &mut self,
        index: usize,
        now: Moment,
        book: &mut Book<'_>,
        actions: &mut Vec<Action>,
    ) -> bool {
        let mut sync = self.sync_first && !self.granted.is_empty();
        for serial in std::mem::take(&mut self.granted) {
            let Some(attempt) = self.attempts.get_mut(&serial) else { continue };
            attempt.stage = Stage::Sent;
            attempt.deadline_us = now.monotonic_us.saturating_add(self.options.attempt_timeout_ms * 1_000);
            self.deadlines.insert((attempt.deadline_us, serial));
            // What came before of the same subject must be durable, or a crash could send it after this.
            sync |= attempt.subjects.iter().any(|subject| self.unsynced.contains(subject));
            let ids = attempt.ids.clone();
            let mut parcels: Vec<Parcel> = Vec::with_capacity(ids.len());
            for id in ids {
                sync |= self.mark_sent(id, book);
                parcels.extend(self.parcel(id).cloned());
            }
            self.status.attempts += 1;
            let attempt = AttemptId { lane: index, serial };
            let timeout_ms = self.options.attempt_timeout_ms;
            actions.push(Action::Send { attempt, parcels: Arc::from(parcels), timeout_ms });
        }
        sync
    }

    /// Counts the attempt; for a marketing parcel it is written down first, so that a crash cannot send it twice.
    fn mark_sent(&mut self, id: EffectId, book: &mut Book<'_>) -> bool {
        let Some(item) = self.queue.get_mut(id) else { return false };
        item.tries.attempts = item.tries.attempts.saturating_add(1);
        let marketing = item.parcel.class == Class::Marketing;
        if marketing {
            item.tries.on_the_wire = true;
            book.write(Entry::Tried { lane: self.number, id, tries: item.tries });
        }
        marketing
    }

    /// Takes an attempt out, with its deadline.
    pub(super) fn take_attempt(&mut self, serial: u64) -> Option<Attempt> {
        let attempt = self.attempts.remove(&serial)?;
        self.deadlines.remove(&(attempt.deadline_us, serial));
        Some(attempt)
    }
}
