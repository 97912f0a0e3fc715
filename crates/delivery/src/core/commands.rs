//! What people ask of the lanes: figures, dead letters, re-sends, forgetting.

use super::Core;
use super::lane::{Book, Lane};
use super::stats::LaneStatus;
use crate::error::CommandError;
use crate::ledger::{DeadLetter, Entry, LaneLedger, Ledger};
use model::id::{EffectId, Key};
use std::ops::Bound;

impl Core {
    /// How every lane stands, in the order of the options.
    pub fn statuses(&self) -> Vec<LaneStatus> {
        self.lanes.iter().map(|lane| self.status_of(lane)).collect()
    }

    /// How many lanes there are.
    pub fn lane_count(&self) -> usize {
        self.lanes.len()
    }

    /// What the lanes share and what survives.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The last effect that no lane needs any more, durably; `None` if there is none yet. What is dead is kept here and
    /// needs no source. Without lanes there is nothing that anybody needs, and `None` all the same.
    pub fn settled_through(&self) -> Option<EffectId> {
        self.lanes.iter().map(|lane| lane.durable_through).min().flatten()
    }

    /// Dead letters of a lane after an id, oldest first.
    pub fn dead_letters(
        &self,
        lane: &str,
        after: Option<EffectId>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, CommandError> {
        let (_, ledger) = self.find(lane)?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(ledger
            .dead
            .range((from, Bound::Unbounded))
            .take(limit)
            .map(|(_, letter)| letter.clone())
            .collect())
    }

    /// Sends a dead letter again, out of order. It stays in the list until it is delivered; if it dies again, it rests
    /// there again.
    pub fn resend(&mut self, lane: &str, id: EffectId) -> Result<(), CommandError> {
        let (place, ledger) = self.find(lane)?;
        let letter = ledger.dead.get(&id);
        let letter = letter.ok_or_else(|| CommandError::NoSuchDeadLetter { lane: lane.to_owned(), id })?;
        if letter.resend {
            return Err(CommandError::UnderWay { lane: lane.to_owned(), id });
        }
        let limit = self.lanes.get(place).map_or(0, |lane| lane.options.dead_letters.letters_max);
        if ledger.dead.len().saturating_sub(ledger.resting_letters) >= limit {
            return Err(CommandError::TooManyUnderWay { lane: lane.to_owned(), limit });
        }
        if let Some(lane) = self.lanes.get_mut(place) {
            let book = &mut Book { ledger: &mut self.ledger, entries: &mut self.entries };
            book.write(Entry::Resend { lane: lane.number, id });
            lane.resends.insert(id);
        }
        self.sync_now = true;
        Ok(())
    }

    /// Drops a dead letter for good.
    pub fn discard(&mut self, lane: &str, id: EffectId) -> Result<(), CommandError> {
        let (place, ledger) = self.find(lane)?;
        let letter = ledger.dead.get(&id);
        let letter = letter.ok_or_else(|| CommandError::NoSuchDeadLetter { lane: lane.to_owned(), id })?;
        if letter.resend {
            return Err(CommandError::UnderWay { lane: lane.to_owned(), id });
        }
        if let Some(number) = self.lanes.get(place).map(|lane| lane.number) {
            self.book().write(Entry::Gone { lane: number, id });
        }
        self.sync_now = true;
        Ok(())
    }

    /// Forgets what lanes hold of a subject up to an effect: dead letters, and parcels that wait. What is under way goes
    /// on. The journal is rewritten with the next step, so that the bytes go too. Returns how much was forgotten.
    pub fn forget(&mut self, subject: Key, up_to: EffectId) -> usize {
        let mut forgotten = 0;
        for lane in &mut self.lanes {
            let book = &mut Book { ledger: &mut self.ledger, entries: &mut self.entries };
            forgotten += lane.forget(subject, up_to, book);
        }
        forgotten += self.forget_at_rest(subject, up_to);
        self.rewrite = true;
        self.sync_now = true;
        forgotten
    }

    /// Letters of lanes that are no longer configured are forgotten as well.
    fn forget_at_rest(&mut self, subject: Key, up_to: EffectId) -> usize {
        let configured: Vec<u32> = self.lanes.iter().map(|lane| lane.number).collect();
        let resting = self.ledger.lanes.iter().filter(|(number, _)| !configured.contains(number));
        let gone: Vec<Entry> = resting
            .flat_map(|(number, ledger)| {
                let letters = ledger.dead.range(..=up_to);
                let mine = letters.filter(|(_, letter)| letter.parcel.subject == subject);
                mine.map(|(id, _)| Entry::Gone { lane: *number, id: *id })
            })
            .collect();
        let count = gone.len();
        for entry in gone {
            self.book().write(entry);
        }
        count
    }

    /// Whether the journal is to be rewritten with the step just made, because something was forgotten. Asking clears it.
    pub fn take_rewrite(&mut self) -> bool {
        std::mem::take(&mut self.rewrite)
    }

    fn find(&self, name: &str) -> Result<(usize, &LaneLedger), CommandError> {
        let unknown = || CommandError::NoSuchLane(name.to_owned());
        let place = self.lanes.iter().position(|lane| lane.options.name == name).ok_or_else(unknown)?;
        let number = self.lanes.get(place).map(|lane| lane.number).ok_or_else(unknown)?;
        self.ledger.lanes.get(&number).map(|ledger| (place, ledger)).ok_or_else(unknown)
    }

    fn status_of(&self, lane: &Lane) -> LaneStatus {
        let ledger = self.ledger.lanes.get(&lane.number);
        LaneStatus {
            held_parcels: lane.queue.len(),
            held_bytes: lane.queue.held_bytes(),
            under_way: lane.attempts.len(),
            oldest_issued_at: lane.queue.oldest_issued_at(),
            dead_letters: ledger.map_or(0, |ledger| ledger.resting_letters),
            dead_letter_bytes: ledger.map_or(0, |ledger| ledger.resting_bytes),
            settled_through: lane.durable_through,
            breaker: Some(lane.breaker.state()),
            hold: lane.hold,
            ..lane.status.clone()
        }
    }
}
