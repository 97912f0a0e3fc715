//! The state machine: told what came in, it says what to do. It has no threads, clock, disk or sockets, so that a
//! simulation can drive it from a seed.
//!
//! Whoever drives it keeps to one rule: of a [`Step`], write the entries to the journal first, sync if the step says
//! so, and only then carry out the actions.

mod breaker;
mod bucket;
mod change;
mod commands;
mod lane;
mod queue;
mod stats;

pub use breaker::BreakerState;
pub(crate) use bucket::Bucket;
pub use stats::{Forgotten, Hold, LAG_BUCKETS, LAG_KINDS_MAX, Lag, LaneStatus};

use crate::error::OptionsError;
use crate::ledger::{Entry, Ledger};
use crate::options::LaneOptions;
use crate::parcel::{Moment, Outcome, Parcel, Permit, PermitRequest, Supply};
use lane::{Book, Lane};
use model::id::{EffectId, Key};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Entries are synced at the latest after this time, so that the cursor follows when nothing else asks for it.
const SYNC_EVERY_US: u64 = 1_000_000;
/// And when so many subjects wait for it.
const UNSYNCED_SUBJECTS_MAX: usize = 16_384;

/// One attempt of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The lane's place: that among the options that the core was opened with, then counted on with every lane that
    /// is opened later. No place is used twice, so an answer to a lane that was closed reaches no other.
    pub lane: usize,
    /// Grows with every attempt.
    pub serial: u64,
}

/// What a source gave, or that it gave nothing this time.
pub type Supplies = Option<Supply>;

/// Something to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Ask the lane's source, then call [`Core::supply`].
    Fetch {
        /// The lane.
        lane: usize,
        /// What it has seen.
        after: Option<EffectId>,
        /// How many parcels it has room for.
        limit: usize,
    },
    /// Ask for permits, then call [`Core::on_permits`].
    Ask {
        /// The attempt.
        attempt: AttemptId,
        /// What it consists of.
        requests: Vec<PermitRequest>,
    },
    /// Send, then call [`Core::on_answer`].
    Send {
        /// The attempt.
        attempt: AttemptId,
        /// What to send, in this order.
        parcels: Arc<[Parcel]>,
        /// How long it may take.
        timeout_ms: u64,
    },
    /// The attempt's time is over: whatever is still going on for it may be dropped.
    Abandon {
        /// The attempt.
        attempt: AttemptId,
    },
}

/// What to do next.
#[derive(Debug, Default)]
pub struct Step {
    /// To be written to the journal before anything is done.
    pub entries: Vec<Entry>,
    /// Whether the journal must be durable before anything is done. Call [`Core::on_synced`] when it is.
    pub sync: bool,
    /// What to do, in order.
    pub actions: Vec<Action>,
    /// When to poll again if nothing happens before, in monotonic microseconds.
    pub wake_at_us: Option<u64>,
}

/// Every lane, and the ledger they share.
pub struct Core {
    /// By place.
    lanes: BTreeMap<usize, Lane>,
    next_place: usize,
    /// What closed lanes have counted, by name: a lane that is opened again counts on.
    closed: BTreeMap<String, LaneStatus>,
    /// Subjects that were forgotten lately, up to which effect: a source may still hold what it read before.
    forgotten: BTreeMap<Key, EffectId>,
    ledger: Ledger,
    entries: Vec<Entry>,
    serial: u64,
    synced_us: u64,
    /// Something is not known to be durable.
    unsynced: bool,
    /// A command asks for the next step to be synced.
    sync_now: bool,
    rewrite: bool,
    /// Nothing new begins.
    stopping: bool,
}

impl Core {
    /// Lanes that go on where the ledger left them. Lanes of the ledger that have no options rest.
    pub fn open(options: Vec<LaneOptions>, ledger: Ledger, now: Moment) -> Result<Self, OptionsError> {
        let mut core = Self {
            lanes: BTreeMap::new(),
            next_place: 0,
            closed: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            ledger,
            entries: Vec::new(),
            serial: 0,
            synced_us: now.monotonic_us,
            unsynced: false,
            sync_now: false,
            rewrite: false,
            stopping: false,
        };
        for options in options {
            core.open_lane(options, now)?;
        }
        Ok(core)
    }

    /// Decides what to do now. `chance` gives unpredictable bits, for jitter.
    pub fn poll(&mut self, now: Moment, chance: &mut dyn FnMut() -> u64) -> Step {
        let mut step = Step::default();
        let mut send_sync = false;
        for (place, lane) in &mut self.lanes {
            let (index, stopping) = (*place, self.stopping || lane.closing);
            let book = &mut Book { ledger: &mut self.ledger, entries: &mut self.entries };
            lane.expire(index, now, chance, book, &mut step.actions);
            lane.take_resends(now, book);
            lane.queue.promote(now.monotonic_us);
            if let Some(ledger) = book.ledger.lanes.get(&lane.number).filter(|_| !stopping) {
                lane.begin(index, now, ledger, &mut self.serial, &mut step.actions);
            }
            send_sync |= lane.send(index, now, book, &mut step.actions);
            lane.flush(book);
            if let Some(ledger) = book.ledger.lanes.get(&lane.number).filter(|_| !stopping)
                && let Some((after, limit)) = lane.wants(ledger)
            {
                step.actions.push(Action::Fetch { lane: index, after, limit });
            }
        }
        step.entries = std::mem::take(&mut self.entries);
        if !self.unsynced && !step.entries.is_empty() {
            self.unsynced = true;
            self.synced_us = now.monotonic_us;
        }
        let waiting: usize = self.lanes.values().map(|lane| lane.unsynced.len()).sum();
        let late = now.monotonic_us.saturating_sub(self.synced_us) >= SYNC_EVERY_US;
        step.sync = self.unsynced
            && (send_sync || self.sync_now || late || waiting > UNSYNCED_SUBJECTS_MAX || self.rewrite);
        if step.sync {
            self.sync_now = false;
        }
        step.wake_at_us = self.wake_at_us(now);
        step
    }

    /// Everything that steps have said up to now is durable.
    pub fn on_synced(&mut self, now: Moment) {
        self.unsynced = false;
        self.synced_us = now.monotonic_us;
        for lane in self.lanes.values_mut() {
            // What was settled after the step was made is not in the journal yet.
            if self.entries.is_empty() && lane.settled.is_empty() {
                lane.unsynced.clear();
                lane.sync_first = false;
            }
            lane.durable_through = self.ledger.lanes.get(&lane.number).and_then(|ledger| ledger.through);
        }
    }

    /// Takes in what a source gave; `None` if it gave nothing, to be asked again after [`Core::nudge`].
    pub fn supply(&mut self, lane: usize, supplies: Supplies, now: Moment) {
        let book = &mut Book { ledger: &mut self.ledger, entries: &mut self.entries };
        if let Some(lane) = self.lanes.get_mut(&lane) {
            match supplies {
                Some(supply) => lane.supply(supply, &self.forgotten, now, book),
                None => (lane.fetching, lane.idle) = (false, true),
            }
        }
    }

    /// Sources may have more: ask them again.
    pub fn nudge(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.idle = false;
        }
    }

    /// Begins nothing new from now on; what is under way may end.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Whether an attempt is under way.
    pub fn is_under_way(&self) -> bool {
        self.lanes.values().any(|lane| !lane.attempts.is_empty())
    }

    /// Takes in permits, one for each request of the attempt.
    pub fn on_permits(&mut self, attempt: AttemptId, permits: &[Permit], now: Moment) {
        let book = &mut Book { ledger: &mut self.ledger, entries: &mut self.entries };
        if let Some(lane) = self.lanes.get_mut(&attempt.lane) {
            lane.permits(attempt.serial, permits, now, book);
        }
    }

    /// Takes in the outcome of an attempt.
    pub fn on_answer(&mut self, attempt: AttemptId, outcome: &Outcome, now: Moment, chance: u64) {
        let book = &mut Book { ledger: &mut self.ledger, entries: &mut self.entries };
        if let Some(lane) = self.lanes.get_mut(&attempt.lane) {
            lane.answer(attempt.serial, outcome, now, chance, book);
        }
    }

    /// When something becomes due by itself.
    fn wake_at_us(&self, now: Moment) -> Option<u64> {
        let sync_us = self.unsynced.then(|| self.synced_us.saturating_add(SYNC_EVERY_US));
        let lanes =
            self.lanes.values().filter_map(|lane| lane.wake_at_us(now, self.stopping || lane.closing));
        lanes.chain(sync_us).min()
    }

    fn book(&mut self) -> Book<'_> {
        Book { ledger: &mut self.ledger, entries: &mut self.entries }
    }
}

#[cfg(test)]
mod simulation;
