//! One destination's way out.

mod answer;
mod begin;

use super::breaker::Breaker;
use super::bucket::Bucket;
use super::queue::{Item, Queue};
use super::stats::{Forgotten, Hold, LaneStatus};
use crate::ledger::{DeadLetter, DeadReason, Entry, LaneLedger, Ledger, Tries, wait_us};
use crate::options::LaneOptions;
use crate::parcel::{BODY_BYTES_MAX, IDEMPOTENCY_KEY_BYTES_MAX, Moment, Parcel, Supply};
use bytes::Bytes;
use model::id::{EffectId, Key};
use std::collections::{BTreeMap, BTreeSet};

/// The most parcels asked of a source at once.
const FETCH_PARCELS_MAX: usize = 1_024;

/// Where a lane writes what it decides; all lanes share one.
pub(crate) struct Book<'a> {
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) entries: &'a mut Vec<Entry>,
}

impl Book<'_> {
    pub(crate) fn write(&mut self, entry: Entry) {
        self.ledger.apply(&entry);
        self.entries.push(entry);
    }
}

/// An attempt under way.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) ids: Vec<EffectId>,
    pub(crate) subjects: BTreeSet<Key>,
    pub(crate) stage: Stage,
    pub(crate) deadline_us: u64,
    pub(crate) probe: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Permits were asked for.
    Asking,
    /// Permits were granted; the next step sends it.
    Granted,
    /// It was sent.
    Sent,
}

pub(crate) struct Lane {
    pub(crate) options: LaneOptions,
    /// The lane's number in the journal.
    pub(crate) number: u32,
    pub(crate) queue: Queue,
    pub(crate) attempts: BTreeMap<u64, Attempt>,
    pub(crate) deadlines: BTreeSet<(u64, u64)>,
    pub(crate) granted: Vec<u64>,
    pub(crate) bucket: Option<Bucket>,
    pub(crate) breaker: Breaker,
    /// The destination asked to wait until this.
    pub(crate) paused_until_us: u64,
    /// The last effect that the source has shown.
    pub(crate) head: Option<EffectId>,
    pub(crate) fetching: bool,
    /// The source had nothing more.
    pub(crate) idle: bool,
    /// The source has lost what comes next: it is asked again when everything before that is settled.
    pub(crate) before_a_loss: bool,
    /// Dead letters that wait to be taken in again.
    pub(crate) resends: BTreeSet<EffectId>,
    /// Settled since the last flush, and not yet in the journal.
    pub(crate) settled: Vec<EffectId>,
    /// Subjects with something settled whose durability is not known.
    pub(crate) unsynced: BTreeSet<Key>,
    pub(crate) durable_through: Option<EffectId>,
    /// The cursor, or what was settled before the lane was opened, is not known to be durable: nothing is sent before.
    pub(crate) sync_first: bool,
    /// Nothing new begins.
    pub(crate) closing: bool,
    /// Parcels under way that are forgotten: whatever becomes of their attempt, nothing is kept of them.
    pub(crate) condemned: BTreeSet<EffectId>,
    pub(crate) hold: Option<Hold>,
    /// When what holds it is over, where that is known.
    pub(crate) hold_until_us: Option<u64>,
    pub(crate) status: LaneStatus,
}

impl Lane {
    pub(crate) fn new(options: LaneOptions, number: u32, ledger: &LaneLedger, now: Moment) -> Self {
        let resends = ledger.dead.values().filter(|letter| letter.resend).map(|letter| letter.parcel.id);
        Self {
            bucket: options.rate.map(|rate| Bucket::new(rate, now.monotonic_us)),
            breaker: Breaker::restore(options.breaker, ledger.breaker, now),
            status: LaneStatus { name: options.name.clone(), ..LaneStatus::default() },
            resends: resends.collect(),
            head: ledger.through,
            durable_through: ledger.through,
            sync_first: false,
            closing: false,
            condemned: BTreeSet::new(),
            options,
            number,
            queue: Queue::default(),
            attempts: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            granted: Vec::new(),
            paused_until_us: 0,
            fetching: false,
            idle: false,
            before_a_loss: false,
            settled: Vec::new(),
            unsynced: BTreeSet::new(),
            hold: None,
            hold_until_us: None,
        }
    }

    /// What to ask the source for, if there is room: the cursor and how many.
    pub(crate) fn wants(&mut self, ledger: &LaneLedger) -> Option<(Option<EffectId>, usize)> {
        let room = self.options.window_parcels_max.saturating_sub(self.queue.open_len());
        // After a restart what is settled ahead is passed again, to find what is not.
        let at_the_front = ledger.ahead.last().copied() <= self.head;
        let full = self.queue.held_bytes() >= self.options.window_bytes_max
            || (ledger.ahead.len() >= self.options.ahead_max && at_the_front)
            || (self.before_a_loss && self.queue.open_len() > 0)
            || room == 0;
        // Small pieces cost a call each: while there is something to do, ask only when a quarter is free.
        let worthwhile =
            room >= self.options.window_parcels_max.div_ceil(4) || self.queue.ready_parcels() == 0;
        if self.fetching || self.idle || full || !worthwhile {
            return None;
        }
        self.fetching = true;
        Some((self.head, room.min(FETCH_PARCELS_MAX)))
    }

    /// Takes in what the source gave. What is out of order or known is ignored; what is forgotten is passed.
    pub(crate) fn supply(
        &mut self,
        supply: Supply,
        forgotten: &BTreeMap<Key, EffectId>,
        now: Moment,
        book: &mut Book<'_>,
    ) {
        self.fetching = false;
        let lost = supply.lost_through.filter(|lost| Some(*lost) > self.head);
        self.before_a_loss = lost.is_some() && self.queue.open_len() > 0;
        if self.before_a_loss {
            return;
        }
        if let Some(lost) = lost {
            self.pass_loss(lost, book);
        }
        self.idle = supply.parcels.is_empty() && supply.through <= self.head;
        for parcel in supply.parcels {
            if self.head.is_some_and(|head| parcel.id <= head) {
                continue;
            }
            let Some(ledger) = book.ledger.lanes.get(&self.number) else { return };
            if ledger.ahead.len() >= self.options.ahead_max && ledger.ahead.last() < Some(&parcel.id) {
                return;
            }
            self.head = Some(parcel.id);
            self.status.seen_at = Some(parcel.issued_at);
            if ledger.is_settled(parcel.id) {
                continue;
            }
            if forgotten.get(&parcel.subject).is_some_and(|up_to| parcel.id <= *up_to) {
                // Settled like any other, or it could come back after a crash and behind what is sent meanwhile.
                self.unsynced.insert(parcel.subject);
                book.ledger.apply(&Entry::Settled { lane: self.number, id: parcel.id });
                self.settled.push(parcel.id);
                continue;
            }
            let tries = ledger.tries.get(&parcel.id).copied().unwrap_or_default();
            self.admit(Item { parcel, tries, resend: false }, now, book);
        }
        self.head = self.head.max(supply.through);
        self.status.seen_at = self.status.seen_at.max(supply.through_at);
    }

    /// Passes what the source has lost, when nothing before it is open: a cursor passes only what is settled. It has to
    /// be durable before anything from beyond is sent. A restart can bring the lost back, and they would go after what
    /// came later of their subjects.
    fn pass_loss(&mut self, lost: EffectId, book: &mut Book<'_>) {
        self.head = Some(lost);
        book.write(Entry::Through { lane: self.number, id: lost });
        self.sync_first = true;
    }

    /// Takes dead letters in again, as far as there is room.
    pub(crate) fn take_resends(&mut self, now: Moment, book: &mut Book<'_>) {
        while self.queue.len() - self.queue.open_len() < self.options.window_parcels_max {
            let Some(id) = self.resends.pop_first() else { return };
            let Some(ledger) = book.ledger.lanes.get(&self.number) else { return };
            let Some(letter) = ledger.dead.get(&id) else { continue };
            let tries = ledger.tries.get(&id).copied();
            let tries = tries.unwrap_or(Tries { attempts: letter.attempts, ..Tries::default() });
            let parcel = letter.parcel.clone();
            self.admit(Item { parcel, tries, resend: true }, now, book);
        }
    }

    fn admit(&mut self, mut item: Item, now: Moment, book: &mut Book<'_>) {
        let parcel = &mut item.parcel;
        if parcel.body.len() > BODY_BYTES_MAX || parcel.idempotency_key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
            parcel.body = Bytes::new();
            parcel.idempotency_key.clear();
            self.bury(item, DeadReason::TooLarge, "it is beyond the limits of a parcel", now, book);
            return;
        }
        if item.tries.on_the_wire {
            let detail = "the process ended, or the destination was changed, while it was under way";
            self.bury(item, DeadReason::UnknownOutcome, detail, now, book);
            return;
        }
        let longest_us = self.options.retry.retry_after_max_ms.max(self.options.retry.longest_ms) * 1_000;
        let wait_us = wait_us(item.tries.not_before, now, longest_us);
        self.queue.push(item, now.monotonic_us.saturating_add(wait_us), now.monotonic_us);
    }

    /// A parcel is done with, in whatever way but death.
    pub(crate) fn settle(&mut self, id: EffectId, book: &mut Book<'_>) {
        let Some(item) = self.queue.remove(id) else { return };
        self.condemned.remove(&id);
        self.unsynced.insert(item.parcel.subject);
        if item.resend {
            book.write(Entry::Gone { lane: self.number, id });
        } else {
            // The entry is written with the next flush, where one for the cursor often covers many.
            book.ledger.apply(&Entry::Settled { lane: self.number, id });
            self.settled.push(id);
        }
    }

    /// A parcel that is in the queue dies.
    pub(crate) fn kill(
        &mut self,
        id: EffectId,
        reason: DeadReason,
        detail: &str,
        now: Moment,
        book: &mut Book<'_>,
    ) {
        if self.condemned.contains(&id) {
            self.settle(id, book);
        } else if let Some(item) = self.queue.remove(id) {
            self.bury(item, reason, detail, now, book);
        }
    }

    fn bury(&mut self, item: Item, reason: DeadReason, detail: &str, now: Moment, book: &mut Book<'_>) {
        self.unsynced.insert(item.parcel.subject);
        self.status.count_dead(reason);
        let letter = DeadLetter {
            reason,
            detail: detail.chars().take(DETAIL_CHARS_MAX).collect(),
            attempts: item.tries.attempts,
            died_at: now.at,
            resend: false,
            parcel: item.parcel,
        };
        book.write(Entry::Dead { lane: self.number, letter });
    }

    /// Writes what was settled since the last flush, and moves the cursor.
    pub(crate) fn flush(&mut self, book: &mut Book<'_>) {
        let Some(ledger) = book.ledger.lanes.get(&self.number) else { return };
        let through = match self.queue.first_open() {
            None => self.head,
            Some(open) => ledger.ahead.range(..open).next_back().copied(),
        };
        if let Some(id) = through.filter(|id| ledger.through.is_none_or(|known| *id > known)) {
            book.write(Entry::Through { lane: self.number, id });
        }
        for id in self.settled.drain(..) {
            if through.is_none_or(|through| id > through) {
                book.entries.push(Entry::Settled { lane: self.number, id });
            }
        }
    }

    /// Forgets what concerns subjects, of each up to an effect; what is under way when its attempt ends.
    pub(crate) fn forget(&mut self, subjects: &BTreeMap<Key, EffectId>, book: &mut Book<'_>) -> Forgotten {
        let concerned =
            |parcel: &Parcel| subjects.get(&parcel.subject).is_some_and(|up_to| parcel.id <= *up_to);
        let mut done = Forgotten::default();
        for (subject, up_to) in subjects {
            for id in self.queue.waiting_of(*subject).into_iter().filter(|id| id <= up_to) {
                self.settle(id, book);
                done.forgotten += 1;
            }
        }
        for id in self.attempts.values().flat_map(|attempt| &attempt.ids) {
            if self.queue.get(*id).is_some_and(|item| concerned(&item.parcel)) {
                self.condemned.insert(*id);
                done.under_way += 1;
            }
        }
        let Some(ledger) = book.ledger.lanes.get(&self.number) else { return done };
        let letters = ledger.dead.values().filter(|letter| concerned(&letter.parcel));
        let ids: Vec<EffectId> = letters.map(|letter| letter.parcel.id).collect();
        for id in ids {
            self.resends.remove(&id);
            // One that is under way again goes when its attempt ends.
            if self.queue.get(id).is_none() {
                book.write(Entry::Gone { lane: self.number, id });
                done.forgotten += 1;
            }
        }
        done
    }

    pub(crate) fn parcel(&self, id: EffectId) -> Option<&Parcel> {
        self.queue.get(id).map(|item| &item.parcel)
    }
}

/// The longest text kept of why a parcel died.
const DETAIL_CHARS_MAX: usize = 200;
