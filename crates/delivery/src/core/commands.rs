//! What people ask of the lanes: figures, dead letters, re-sends, forgetting.

use super::Core;
use super::lane::{Book, Lane};
use super::stats::{Forgotten, LaneStatus};
use crate::error::CommandError;
use crate::ledger::{DeadLetter, Entry, LaneLedger, Ledger};
use model::id::{EffectId, Key};
use std::collections::BTreeMap;
use std::ops::Bound;

/// The most subjects that sources are watched for after they were forgotten. A source holds what it read for seconds.
const FORGOTTEN_MAX: usize = 65_536;

impl Core {
    /// How every lane stands: open ones in the order in which they were opened, then those that were closed.
    pub fn statuses(&self) -> Vec<LaneStatus> {
        let open = self.lanes.values().map(|lane| self.status_of(lane));
        open.chain(self.closed.values().map(|counted| self.status_at_rest(counted))).collect()
    }

    /// Something was committed while parcels of an attempt were on the wire that would have refused their permit.
    pub fn on_crossed(&mut self, lane: &str, parcels: u64) {
        if let Some(lane) = self.lanes.values_mut().find(|known| known.options.name == lane) {
            lane.status.crossed += parcels;
        } else if let Some(counted) = self.closed.get_mut(lane) {
            counted.crossed += parcels;
        }
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
        self.lanes.values().map(|lane| lane.durable_through).min().flatten()
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
        let limit = self.lanes.get(&place).map_or(0, |lane| lane.options.dead_letters.letters_max);
        if ledger.dead.len().saturating_sub(ledger.resting_letters) >= limit {
            return Err(CommandError::TooManyUnderWay { lane: lane.to_owned(), limit });
        }
        if let Some(lane) = self.lanes.get_mut(&place) {
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
        if let Some(number) = self.lanes.get(&place).map(|lane| lane.number) {
            self.book().write(Entry::Gone { lane: number, id });
        }
        self.sync_now = true;
        Ok(())
    }

    /// Forgets what lanes hold of subjects, of each up to an effect: dead letters, and parcels that wait. What is under
    /// way is forgotten when its attempt ends, and what a source still brings is passed over. The journal is rewritten
    /// with the next step, so that the bytes go too.
    pub fn forget(&mut self, subjects: &BTreeMap<Key, EffectId>) -> Forgotten {
        let mut done = Forgotten::default();
        for lane in self.lanes.values_mut() {
            let book = &mut Book { ledger: &mut self.ledger, entries: &mut self.entries };
            let of_lane = lane.forget(subjects, book);
            done.forgotten += of_lane.forgotten;
            done.under_way += of_lane.under_way;
        }
        done.forgotten += self.forget_at_rest(subjects);
        for (subject, up_to) in subjects {
            self.remember_forgotten(*subject, *up_to);
        }
        // Whoever waits for what is under way asks again and again.
        self.rewrite |= done.forgotten > 0 || done.under_way == 0;
        self.sync_now = true;
        done
    }

    fn remember_forgotten(&mut self, subject: Key, up_to: EffectId) {
        let known = self.forgotten.entry(subject).or_insert(up_to);
        *known = up_to.max(*known);
        if self.forgotten.len() > FORGOTTEN_MAX
            && let Some(earliest) = self.forgotten.iter().min_by_key(|(_, up_to)| **up_to).map(|one| *one.0)
        {
            self.forgotten.remove(&earliest);
        }
    }

    /// Letters of lanes that are no longer configured are forgotten as well.
    fn forget_at_rest(&mut self, subjects: &BTreeMap<Key, EffectId>) -> usize {
        let configured: Vec<u32> = self.lanes.values().map(|lane| lane.number).collect();
        let resting = self.ledger.lanes.iter().filter(|(number, _)| !configured.contains(number));
        let gone: Vec<Entry> = resting
            .flat_map(|(number, ledger)| {
                let concerned =
                    |id: EffectId, subject| subjects.get(&subject).is_some_and(|up_to| id <= *up_to);
                let mine =
                    ledger.dead.iter().filter(move |(id, letter)| concerned(**id, letter.parcel.subject));
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
        let lane = self.lanes.iter().find(|(_, lane)| lane.options.name == name);
        let (place, lane) = lane.ok_or_else(unknown)?;
        self.ledger.lanes.get(&lane.number).map(|ledger| (*place, ledger)).ok_or_else(unknown)
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
            seen_through: lane.head,
            open: true,
            breaker: Some(lane.breaker.state()),
            hold: lane.hold,
            ..lane.status.clone()
        }
    }

    fn status_at_rest(&self, counted: &LaneStatus) -> LaneStatus {
        let ledger = self.ledger.number_of(&counted.name).and_then(|number| self.ledger.lanes.get(&number));
        LaneStatus {
            dead_letters: ledger.map_or(0, |ledger| ledger.resting_letters),
            dead_letter_bytes: ledger.map_or(0, |ledger| ledger.resting_bytes),
            ..counted.clone()
        }
    }
}
