//! What is held against the promises, after each step and in the end.

use super::{HEALTHY_LAG_MS_MAX, Life, Side};
use crate::core::{Action, BreakerState, Hold};
use env::seeded::Faults;
use model::id::EffectId;

impl Side {
    /// It left the lane in a way that is right.
    fn is_done(&self, id: &EffectId) -> bool {
        [&self.delivered, &self.refused, &self.dropped, &self.lost].iter().any(|done| done.contains(id))
    }
}

impl Life {
    pub(super) fn check_bounds(&mut self, actions: &[Action]) {
        let Some((core, _)) = &self.core else { return };
        for (place, status) in core.lanes.keys().zip(core.statuses()) {
            let side = &self.sides[self.places[place]];
            let options = &side.options;
            assert_eq!((status.open, &status.name), (true, &options.name));
            assert!(status.delivered == side.counted, "{} counted of {}", status.delivered, side.counted);
            let ledger = &core.ledger.lanes[&core.lanes[place].number];
            if status.under_way == 0 {
                let kept = side.forgotten.iter().find(|id| ledger.dead.contains_key(id));
                assert!(kept.is_none() || self.crashed, "{kept:?} was forgotten, and is kept");
            }
            assert!(status.held_parcels <= options.window_parcels_max * 2);
            assert!(status.under_way <= options.concurrency_max);
            assert!(ledger.ahead.len() <= options.ahead_max + options.window_parcels_max);
            let slack = options.concurrency_max * options.batch_parcels_max + options.window_parcels_max;
            assert!(ledger.resting_letters <= options.dead_letters.letters_max + slack);
            assert!(ledger.tries.len() <= options.window_parcels_max * 2 + ledger.dead.len());
            let resting = ledger.dead.values().filter(|letter| !letter.resend);
            assert_eq!(resting.clone().count(), ledger.resting_letters);
            assert_eq!(resting.map(|letter| letter.size_bytes()).sum::<usize>(), ledger.resting_bytes);
            let asks =
                actions.iter().filter(|a| matches!(a, Action::Ask { attempt, .. } if attempt.lane == *place));
            match status.breaker {
                Some(BreakerState::Open) => {
                    self.seen.count("breaker open", 1);
                    assert_eq!(asks.count(), 0, "an attempt through an open breaker");
                }
                Some(BreakerState::HalfOpen) => {
                    self.seen.count("breaker probes", 1);
                    assert!(asks.count() <= 1, "more than one probe");
                }
                _ => {}
            }
            self.seen.count("retry-after holds", u64::from(status.hold == Some(Hold::RetryAfter)));
            self.seen.count("rate holds", u64::from(status.hold == Some(Hold::Rate)));
            self.seen.count("full holds", u64::from(status.hold == Some(Hold::DeadLettersFull)));
            if side.healthy && !self.crashed {
                let oldest = status.oldest_issued_at.unwrap_or(self.now.at);
                let lag_ms = self.now.at.since_us(oldest) / 1_000;
                assert!(lag_ms <= HEALTHY_LAG_MS_MAX, "a healthy lane is {lag_ms} ms behind");
            }
        }
    }

    /// What counts as settled, durably, was delivered, refused, or lies among the dead.
    pub(super) fn check_settled(&mut self) {
        let Some((core, _)) = &self.core else { return };
        for (place, status) in core.lanes.keys().zip(core.statuses()) {
            let side = &mut self.sides[self.places[place]];
            let ledger = &core.ledger.lanes[&core.lanes[place].number];
            assert!(status.settled_through >= side.settled_through, "the cursor went back");
            side.settled_through = status.settled_through;
            for id in side.outbox.issued.iter().filter(|id| ledger.is_settled(**id)) {
                assert!(side.is_done(id) || ledger.dead.contains_key(id), "{id} is lost");
            }
        }
    }

    /// Everything works from now on; what is left must come out.
    pub(super) fn heal(&mut self) {
        self.world.set_faults(Faults::default());
        self.healed = true;
        for round in 0..6_000 {
            self.advance();
            self.poll();
            if round % 20 == 0
                && let Some((core, _)) = &mut self.core
            {
                core.nudge();
                // Somebody looks after the dead.
                for side in &mut self.sides {
                    for letter in core.dead_letters(&side.options.name, None, 100).unwrap() {
                        if core.resend(&side.options.name, letter.parcel.id).is_ok() {
                            side.resent.insert(letter.parcel.id);
                            side.unknown.remove(&letter.parcel.id);
                        }
                    }
                }
                let last = self.sides.iter().map(|side| side.outbox.last).max().flatten();
                let dead: usize = core.ledger.lanes.values().map(|lane| lane.dead.len()).sum();
                let durable = core.settled_through() == last && !core.unsynced;
                if durable && dead == 0 && self.events.is_empty() {
                    return;
                }
            }
        }
        let statuses = self.core.as_ref().map(|(core, _)| core.statuses());
        panic!("not everything came out although everything works: {statuses:#?}");
    }

    pub(super) fn judge(&mut self) {
        self.check_settled();
        for side in &self.sides {
            for id in &side.outbox.issued {
                assert!(side.is_done(id), "{id} is lost");
            }
        }
        // A last crash changes nothing.
        let before = self.core.as_ref().map(|(core, _)| core.ledger().clone());
        self.end_process();
        self.start();
        assert_eq!(before, self.core.as_ref().map(|(core, _)| core.ledger().clone()));
    }
}
