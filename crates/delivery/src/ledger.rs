//! What must survive: per lane the cursor, what is settled beyond it, failures so far, dead letters and the breaker.
//!
//! The ledger changes only through [`Ledger::apply`], live as well as when the journal is read back.

mod entry;

pub use entry::Entry;

use crate::parcel::{Moment, Parcel};
use model::id::{EffectId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// What is remembered of a parcel that was attempted and is not settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// Attempts so far.
    pub attempts: u32,
    /// Failures that count towards giving up.
    pub strikes: u32,
    /// When the first attempt failed; 0 if none did.
    pub first_failed_at: Timestamp,
    /// Not to be attempted before this.
    pub not_before: Timestamp,
    /// A marketing attempt has begun and its outcome is not known.
    pub on_the_wire: bool,
    /// To be sent in an attempt of its own: a batch with it was refused.
    pub alone: bool,
}

/// Why a parcel died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeadReason {
    /// The destination refused it for good.
    Refused,
    /// It failed too often or for too long.
    GaveUp,
    /// Nobody knows whether it was accepted, and it must not be sent twice.
    UnknownOutcome,
    /// It is beyond the limits of a parcel. Its body was not kept.
    TooLarge,
}

impl DeadReason {
    /// A stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::GaveUp => "gave_up",
            Self::UnknownOutcome => "unknown_outcome",
            Self::TooLarge => "too_large",
        }
    }
}

/// A parcel that could not be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The parcel, whole, so that it can be sent again.
    pub parcel: Parcel,
    /// Why it died.
    pub reason: DeadReason,
    /// What was said last, e.g. `http_400`.
    pub detail: String,
    /// Attempts before it died.
    pub attempts: u32,
    /// When it died.
    pub died_at: Timestamp,
    /// Whether it is on its way again, by command.
    pub resend: bool,
}

impl DeadLetter {
    /// What it costs in memory and in the journal, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.parcel.size_bytes() + self.detail.len()
    }
}

/// What is remembered of a breaker that is not closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BreakerMemory {
    /// How often in a row it opened; 0 for closed.
    pub opened: u32,
    /// When it may be tried next.
    pub until: Timestamp,
}

/// The ledger of one lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneLedger {
    /// The lane's name.
    pub name: String,
    /// Everything up to and including this is settled.
    pub through: Option<EffectId>,
    /// What is settled beyond.
    pub ahead: BTreeSet<EffectId>,
    /// What failed and is not settled.
    pub tries: BTreeMap<EffectId, Tries>,
    /// What died.
    pub dead: BTreeMap<EffectId, DeadLetter>,
    /// Letters that rest, which are those that are not on their way again.
    pub resting_letters: usize,
    /// Bytes of them.
    pub resting_bytes: usize,
    /// The breaker.
    pub breaker: BreakerMemory,
}

impl LaneLedger {
    /// Whether nothing is left to do for the parcel, leaving re-sends of dead letters aside.
    pub fn is_settled(&self, id: EffectId) -> bool {
        self.through.is_some_and(|through| id <= through) || self.ahead.contains(&id)
    }

    fn settle(&mut self, id: EffectId) {
        if !self.is_settled(id) {
            self.ahead.insert(id);
        }
        self.tries.remove(&id);
    }

    fn advance(&mut self, through: EffectId) {
        if self.through.is_some_and(|known| through <= known) {
            return;
        }
        self.through = Some(through);
        while self.ahead.first().is_some_and(|id| *id <= through) {
            self.ahead.pop_first();
        }
        // A dead letter that is being re-sent is tried although its id is settled.
        let over = self.tries.range(..=through).map(|(id, _)| *id);
        let over: Vec<EffectId> = over.filter(|id| !self.dead.contains_key(id)).collect();
        for id in over {
            self.tries.remove(&id);
        }
    }

    fn bury(&mut self, letter: DeadLetter) {
        self.settle(letter.parcel.id);
        if let Some(before) = self.dead.get(&letter.parcel.id) {
            self.count(before.resend, before.size_bytes(), false);
        }
        self.count(letter.resend, letter.size_bytes(), true);
        self.dead.insert(letter.parcel.id, letter);
    }

    fn unbury(&mut self, id: EffectId) {
        self.tries.remove(&id);
        if let Some(letter) = self.dead.remove(&id) {
            self.count(letter.resend, letter.size_bytes(), false);
        }
    }

    fn wake(&mut self, id: EffectId) {
        if let Some(letter) = self.dead.get_mut(&id).filter(|letter| !letter.resend) {
            letter.resend = true;
            let size_bytes = letter.size_bytes();
            self.count(false, size_bytes, false);
        }
    }

    /// Counts a letter that comes to rest, or no longer rests.
    fn count(&mut self, resend: bool, size_bytes: usize, comes: bool) {
        match (resend, comes) {
            (true, _) => {}
            (false, true) => {
                self.resting_letters += 1;
                self.resting_bytes += size_bytes;
            }
            (false, false) => {
                self.resting_letters = self.resting_letters.saturating_sub(1);
                self.resting_bytes = self.resting_bytes.saturating_sub(size_bytes);
            }
        }
    }
}

/// Every lane's ledger, by the number that the journal gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// By number.
    pub lanes: BTreeMap<u32, LaneLedger>,
}

impl Ledger {
    /// The number of the lane with this name.
    pub fn number_of(&self, name: &str) -> Option<u32> {
        self.lanes.iter().find(|(_, lane)| lane.name == name).map(|(number, _)| *number)
    }

    /// A number that no lane has.
    pub fn next_number(&self) -> u32 {
        self.lanes.last_key_value().map_or(0, |(number, _)| number.saturating_add(1))
    }

    /// Makes one change. Making it twice changes nothing more.
    pub fn apply(&mut self, entry: &Entry) {
        if let Entry::Named { lane, name } = entry {
            self.lanes.entry(*lane).or_default().name.clone_from(name);
            return;
        }
        let Some(lane) = self.lanes.get_mut(&entry.lane()) else { return };
        match entry {
            Entry::Named { .. } => {}
            Entry::Through { id, .. } => lane.advance(*id),
            Entry::Settled { id, .. } => lane.settle(*id),
            Entry::Tried { id, tries, .. } => {
                lane.tries.insert(*id, *tries);
            }
            Entry::Dead { letter, .. } => lane.bury(letter.clone()),
            Entry::Resend { id, .. } => lane.wake(*id),
            Entry::Gone { id, .. } => lane.unbury(*id),
            Entry::Breaker { memory, .. } => lane.breaker = *memory,
        }
    }

    /// The entries that make this ledger out of an empty one.
    pub fn entries(&self) -> Vec<Entry> {
        let mut all = Vec::new();
        for (number, ledger) in &self.lanes {
            let lane = *number;
            all.push(Entry::Named { lane, name: ledger.name.clone() });
            all.extend(ledger.through.map(|id| Entry::Through { lane, id }));
            all.extend(ledger.ahead.iter().map(|id| Entry::Settled { lane, id: *id }));
            all.extend(ledger.dead.values().map(|letter| Entry::Dead { lane, letter: letter.clone() }));
            all.extend(ledger.tries.iter().map(|(id, tries)| Entry::Tried { lane, id: *id, tries: *tries }));
            if ledger.breaker != BreakerMemory::default() {
                all.push(Entry::Breaker { lane, memory: ledger.breaker });
            }
        }
        all
    }
}

/// How long from now until a stored instant, in microseconds: at most `longest_us`, whatever became of the wall clock.
pub(crate) fn wait_us(until: Timestamp, now: Moment, longest_us: u64) -> u64 {
    u64::try_from(until.since_us(now.at)).unwrap_or(0).min(longest_us)
}
