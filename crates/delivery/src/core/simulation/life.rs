//! One life from one seed.

mod checks;
mod losses;

use super::world::{Manner, Outbox, draw_options};
use crate::core::{Action, AttemptId, Core};
use crate::error::JournalError;
use crate::journal::{Journal, JournalKeys, JournalOptions};
use crate::ledger::{DeadReason, Entry};
use crate::options::LaneOptions;
use crate::parcel::{Class, Moment, Outcome, Parcel, Permit, PermitRequest, Supply};
use env::seeded::{Faults, Seed, World};
use model::id::{EffectId, Key, Position, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

const STEPS: u64 = 250;
/// A healthy lane beside sick ones gets everything out within this, while nothing crashes. Steps take up to 20 ms.
const HEALTHY_LAG_MS_MAX: i64 = 250;

/// What happened, so that a test that no longer meets a case fails.
#[derive(Debug, Default)]
pub(super) struct Seen(pub(super) BTreeMap<&'static str, u64>);

impl Seen {
    fn count(&mut self, name: &'static str, by: u64) {
        *self.0.entry(name).or_default() += by;
    }
}

enum Event {
    Supply(usize, Option<Supply>),
    Permits(AttemptId, Vec<Permit>),
    Answer(AttemptId, Outcome),
}

/// One lane as the outside sees it.
struct Side {
    options: LaneOptions,
    outbox: Outbox,
    manner: Manner,
    /// The lane stays good and its permits quick, all life long.
    healthy: bool,
    /// Parcels by which something left the lane, with the proof that it was right.
    delivered: BTreeSet<EffectId>,
    refused: BTreeSet<EffectId>,
    /// Parcels that the destination refused when they came by themselves.
    refused_alone: BTreeSet<EffectId>,
    dropped: BTreeSet<EffectId>,
    /// Effects that the lane passed because its source had lost them.
    lost: BTreeSet<EffectId>,
    /// Parcels that were forgotten: nothing may be kept of them when nothing is under way.
    forgotten: BTreeSet<EffectId>,
    /// Parcels that were ever sent again by command: they may leave the order.
    resent: BTreeSet<EffectId>,
    /// Marketing parcels whose outcome nobody knows.
    unknown: BTreeSet<EffectId>,
    /// What went out together, of each subject.
    sends: BTreeMap<Key, Vec<BTreeSet<EffectId>>>,
    sent_ever: BTreeSet<EffectId>,
    kept: BTreeSet<EffectId>,
    sends_this_boot: u64,
    settled_through: Option<EffectId>,
    /// The lane was closed with something under way, which is to it what a crash is to all.
    cut: bool,
    /// Acceptances that the lane must have counted, as long as the process lives.
    counted: u64,
}

/// An attempt on the wire.
struct Flight {
    parcels: Vec<(EffectId, Key, Class)>,
}

pub(super) struct Life {
    seed: Seed,
    world: World,
    options: JournalOptions,
    core: Option<(Core, Journal)>,
    sides: Vec<Side>,
    /// Which side a place of the core belongs to; a lane that was opened again has another place.
    places: BTreeMap<usize, usize>,
    events: BTreeMap<(u64, u64), Event>,
    flights: BTreeMap<AttemptId, Flight>,
    grants: BTreeMap<AttemptId, BTreeSet<EffectId>>,
    next_event: u64,
    next_position: u64,
    now: Moment,
    booted: Moment,
    seen: Seen,
    /// Nothing goes wrong any more.
    healed: bool,
    crashed: bool,
}

impl Life {
    pub(super) fn new(number: u64) -> Self {
        let mut seed = Seed::new(number.wrapping_mul(0x9E37_1234_5678_9ABD));
        let keys = seed.one_in(3).then(|| JournalKeys {
            active: 1,
            keys: Arc::new(BTreeMap::from([(1, Zeroizing::new([7; 32]))])),
        });
        let lanes = 1 + seed.below(3);
        let mut sides = Vec::new();
        for place in 0..=lanes {
            let healthy = place == 0;
            let mut options = draw_options(&format!("lane_{place}"), &mut seed);
            if healthy {
                let name = options.name.clone();
                options = LaneOptions {
                    attempt_timeout_ms: 500,
                    permit_timeout_ms: 200,
                    ..LaneOptions::named(&name)
                };
            }
            let manner = if healthy { Manner::Good } else { Manner::draw(&mut seed) };
            sides.push(Side {
                options,
                outbox: Outbox::default(),
                manner,
                healthy,
                delivered: BTreeSet::new(),
                refused: BTreeSet::new(),
                refused_alone: BTreeSet::new(),
                dropped: BTreeSet::new(),
                lost: BTreeSet::new(),
                forgotten: BTreeSet::new(),
                resent: BTreeSet::new(),
                unknown: BTreeSet::new(),
                sends: BTreeMap::new(),
                sent_ever: BTreeSet::new(),
                kept: BTreeSet::new(),
                sends_this_boot: 0,
                settled_through: None,
                cut: false,
                counted: 0,
            });
        }
        Self {
            world: World::new(number, 0),
            options: JournalOptions { keys },
            core: None,
            sides,
            places: BTreeMap::new(),
            events: BTreeMap::new(),
            flights: BTreeMap::new(),
            grants: BTreeMap::new(),
            next_event: 0,
            next_position: 1,
            now: Moment { at: Timestamp(1_000_000_000), monotonic_us: 5_000 },
            booted: Moment::default(),
            seen: Seen::default(),
            healed: false,
            crashed: false,
            seed,
        }
    }

    pub(super) fn run(mut self) -> Seen {
        self.start();
        for _ in 0..STEPS {
            self.disturb();
            self.advance();
            self.poll();
        }
        self.heal();
        self.judge();
        self.seen
    }

    fn start(&mut self) {
        let folder = Path::new("/data/delivery");
        if self.seed.one_in(4) {
            self.random_faults();
        }
        loop {
            match Journal::open(&self.world.env(), folder, &self.options) {
                Ok((journal, ledger)) => {
                    let options = self.sides.iter().map(|side| side.options.clone()).collect();
                    let core = Core::open(options, ledger, self.now).unwrap();
                    self.core = Some((core, journal));
                    break;
                }
                Err(JournalError::Io { .. } | JournalError::Seal(_)) => {
                    self.seen.count("failed opens", 1);
                    self.end_process();
                    self.world.set_faults(Faults::default());
                }
                Err(error) => panic!("{error}"),
            }
        }
        self.booted = self.now;
        self.places = (0..self.sides.len()).map(|place| (place, place)).collect();
        for side in &mut self.sides {
            (side.sends_this_boot, side.counted) = (0, 0);
        }
        self.check_settled();
    }

    /// Kill -9, or the power.
    fn end_process(&mut self) {
        self.core = None;
        if self.world.is_off() || self.seed.one_in(2) { self.world.crash() } else { self.world.kill() }
    }

    fn crash(&mut self) {
        self.crashed = true;
        self.seen.count("crashes", 1);
        self.end_process();
        self.find_again(2);
        self.events.clear();
        self.grants.clear();
        for (attempt, flight) in std::mem::take(&mut self.flights) {
            self.seen.count("crashes with something on the wire", 1);
            let side = &mut self.sides[self.places[&attempt.lane]];
            side.unknown.extend(
                flight.parcels.iter().filter(|parcel| parcel.2 == Class::Marketing).map(|parcel| parcel.0),
            );
        }
        self.start();
    }

    fn after(&mut self, delay_ms: u64, event: Event) {
        self.next_event += 1;
        self.events.insert((self.now.monotonic_us + delay_ms * 1_000, self.next_event), event);
    }

    /// Things from outside.
    fn disturb(&mut self) {
        match self.seed.below(30) {
            0..12 => self.issue(),
            12 | 13 => {
                let place = 1 + self.seed.below(self.sides.len() as u64 - 1) as usize;
                self.sides[place].manner = Manner::draw(&mut self.seed);
            }
            14 => self.random_faults(),
            15 if self.seed.one_in(2) => self.crash(),
            16 => self.world.set_faults(Faults::default()),
            17..20 => self.command(),
            20 => self.trim(),
            22 => self.change_lane(),
            23 if self.seed.one_in(3) => self.lose(),
            24 if self.seed.one_in(2) => self.find_again(1),
            21 if self.seed.one_in(8) => {
                // The wall clock jumps; only what is stored in wall time may notice.
                self.now.at = self.now.at.plus_us(self.seed.below(4_000_000) as i64 - 2_000_000);
                self.crashed = true;
            }
            _ => {}
        }
    }

    fn issue(&mut self) {
        for _ in 0..self.seed.below(12) {
            let id = EffectId { position: Position(self.next_position), ordinal: self.seed.below(2) as u32 };
            self.next_position += 1 + self.seed.below(3);
            for side in &mut self.sides {
                let mine = !self.seed.one_in(4);
                let subjects = if side.healthy { 1_000 } else { 12 };
                side.outbox.issue(id, mine, subjects, self.now.at, &mut self.seed);
            }
        }
        if let Some((core, _)) = &mut self.core {
            core.nudge();
        }
    }

    fn random_faults(&mut self) {
        let at = self.seed.below(6);
        let mut faults = Faults::default();
        match self.seed.below(6) {
            0..=2 => faults.power_off_at_write = Some(at),
            3 => faults.fail_sync = Some(at),
            4 => faults.fail_write = Some(at),
            _ => faults.fail_read = Some(at),
        }
        self.world.set_faults(faults);
    }

    fn command(&mut self) {
        let place = self.seed.below(self.sides.len() as u64) as usize;
        let Some((core, _)) = &mut self.core else { return };
        let name = self.sides[place].options.name.clone();
        let letters = core.dead_letters(&name, None, 100).unwrap();
        let Some(letter) = letters.get(self.seed.below(letters.len() as u64 + 1) as usize) else { return };
        let id = letter.parcel.id;
        match self.seed.below(8) {
            0 => {
                let up_to = id;
                let subject = letter.parcel.subject;
                core.forget(&BTreeMap::from([(subject, up_to)]));
                self.seen.count("forgotten", 1);
                for side in &mut self.sides {
                    let subject_of = |id: &EffectId| side.outbox.subjects[id];
                    let gone =
                        side.outbox.issued.iter().filter(|id| **id <= up_to && subject_of(id) == subject);
                    side.dropped.extend(gone.copied());
                    side.forgotten
                        .extend(side.dropped.iter().copied().filter(|id| subject_of(id) == subject));
                }
            }
            1 => {
                if core.discard(&name, id).is_ok() {
                    self.sides[place].dropped.insert(id);
                    self.seen.count("discarded", 1);
                }
            }
            _ => {
                if core.resend(&name, id).is_ok() {
                    self.sides[place].resent.insert(id);
                    self.sides[place].unknown.remove(&id);
                    self.seen.count("re-sent", 1);
                }
            }
        }
    }

    /// An operator changes a lane: it is closed, mostly when nothing is under way, and opened again with the same name.
    fn change_lane(&mut self) {
        let index = 1 + self.seed.below(self.sides.len() as u64 - 1) as usize;
        let name = self.sides[index].options.name.clone();
        let Some((core, _)) = &mut self.core else { return };
        let before = core.statuses().into_iter().find(|status| status.name == name).unwrap();
        let Some(place) = core.wind_up(&name) else { return };
        let at_rest = core.is_at_rest(place);
        if !at_rest && !self.seed.one_in(3) {
            // Too much is under way: it goes on as it was, as if the change had been taken back.
            core.lanes.get_mut(&place).unwrap().closing = false;
            return;
        }
        let others: Vec<_> = core.statuses().into_iter().filter(|status| status.name != name).collect();
        core.close_lane(place);
        self.seen.count(if at_rest { "lanes changed at rest" } else { "lanes cut" }, 1);
        let closed = core.statuses().into_iter().find(|status| status.name == name).unwrap();
        assert!(!closed.open && closed.delivered == before.delivered, "what it counted stays");
        // Bounds of what is held stay: a tighter one binds only what comes after it. So does the rate.
        let LaneOptions { window_parcels_max, window_bytes_max, ahead_max, dead_letters, .. } =
            self.sides[index].options;
        let drawn = draw_options(&name, &mut self.seed);
        let options = LaneOptions {
            rate: None,
            window_parcels_max,
            window_bytes_max,
            ahead_max,
            dead_letters,
            ..drawn
        };
        self.sides[index].options = options.clone();
        let opened = core.open_lane(options, self.now).unwrap();
        self.places.insert(opened, index);
        let after = core.statuses().into_iter().find(|status| status.name == name).unwrap();
        assert_eq!((after.open, after.delivered, after.attempts), (true, before.delivered, before.attempts));
        let rest: Vec<_> = core.statuses().into_iter().filter(|status| status.name != name).collect();
        assert_eq!(others, rest, "a change of one lane is felt by another");
        let mine: Vec<AttemptId> =
            self.flights.keys().filter(|attempt| attempt.lane == place).copied().collect();
        for attempt in mine {
            let flight = self.flights.remove(&attempt).unwrap();
            let side = &mut self.sides[index];
            side.cut = true;
            let marketing = flight.parcels.iter().filter(|parcel| parcel.2 == Class::Marketing);
            side.unknown.extend(marketing.map(|parcel| parcel.0));
        }
        self.grants.retain(|attempt, _| attempt.lane != place);
    }

    fn trim(&mut self) {
        let Some((core, _)) = &self.core else { return };
        let Some(through) = core.settled_through() else { return };
        for side in &mut self.sides {
            self.seen.count("trimmed", side.outbox.trim(through));
        }
    }

    /// Moves time and lets events happen.
    fn advance(&mut self) {
        let by_us = if self.healed { 5_000 } else { 1 + self.seed.below(20_000) };
        self.now.monotonic_us += by_us;
        self.now.at = self.now.at.plus_us(by_us as i64);
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > self.now.monotonic_us {
                return;
            }
            let event = entry.remove();
            let chance = self.seed.next_u64();
            if let Event::Supply(lane, supply) = event {
                self.supply(lane, supply);
                continue;
            }
            let Some((core, _)) = &mut self.core else { return };
            match event {
                Event::Supply(..) => {}
                Event::Permits(attempt, permits) => core.on_permits(attempt, &permits, self.now),
                Event::Answer(attempt, outcome) => {
                    core.on_answer(attempt, &outcome, self.now, chance);
                    self.landed(attempt, &outcome);
                }
            }
        }
    }

    /// An attempt is over, as far as its first answer says.
    fn landed(&mut self, attempt: AttemptId, outcome: &Outcome) {
        let Some(flight) = self.flights.remove(&attempt) else { return };
        let side = &mut self.sides[self.places[&attempt.lane]];
        match outcome {
            Outcome::Delivered => {
                self.seen.count("delivered", flight.parcels.len() as u64);
                side.counted += flight.parcels.len() as u64;
                side.delivered.extend(flight.parcels.iter().map(|parcel| parcel.0));
            }
            Outcome::Refused { .. } if flight.parcels.len() > 1 => self.seen.count("batches taken apart", 1),
            Outcome::Refused { .. } => {
                self.seen.count("refused", 1);
                side.refused_alone.extend(flight.parcels.iter().map(|parcel| parcel.0));
            }
            Outcome::Unknown { .. } => {
                self.seen.count("unknown", 1);
                for (id, _, _) in flight.parcels.iter().filter(|parcel| parcel.2 == Class::Marketing) {
                    self.seen.count("marketing unknown", 1);
                    side.unknown.insert(*id);
                }
            }
            Outcome::Retry { .. } => {}
        }
    }

    fn poll(&mut self) {
        let seed = &mut self.seed;
        let Some((core, journal)) = &mut self.core else { return };
        let step = core.poll(self.now, &mut || seed.next_u64());
        for lane in core.lanes.values() {
            lane.queue.check();
        }
        for entry in &step.entries {
            if let Entry::Dead { lane, letter } = entry {
                let alone = self.sides.iter().find(|side| core.ledger.lanes[lane].name == side.options.name);
                let alone = &alone.unwrap().refused_alone;
                assert!(
                    letter.reason != DeadReason::Refused || alone.contains(&letter.parcel.id),
                    "killed by another"
                );
                self.seen.count("dead", 1);
                self.seen.count("gave up", u64::from(letter.reason == DeadReason::GaveUp));
            }
        }
        let rewrite = core.take_rewrite() || self.seed.one_in(50);
        let written = if rewrite {
            self.seen.count("rewrites", 1);
            journal.rewrite(core.ledger())
        } else {
            journal.append(&step.entries, step.sync)
        };
        if written.is_err() {
            self.seen.count("journal errors", 1);
            assert!(matches!(journal.append(&[], true), Err(JournalError::Poisoned)));
            self.crash();
            return;
        }
        if rewrite || step.sync {
            core.on_synced(self.now);
        }
        self.check_bounds(&step.actions);
        for action in step.actions {
            self.act(action);
        }
        if self.seed.one_in(10) {
            self.check_settled();
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Fetch { lane, after, limit } => {
                let side = &self.sides[self.places[&lane]];
                let supply = side.outbox.after(after, limit);
                let sick = !side.healthy && !self.healed;
                self.seen.count("empty supplies", u64::from(supply.parcels.is_empty()));
                let delay_ms = if sick { self.seed.below(20) } else { 0 };
                let supply = if sick && self.seed.one_in(20) { None } else { Some(supply) };
                self.after(delay_ms, Event::Supply(lane, supply));
            }
            Action::Ask { attempt, requests } => self.ask(attempt, &requests),
            Action::Send { attempt, parcels, .. } => self.send(attempt, &parcels),
            Action::Abandon { attempt } => {
                self.grants.remove(&attempt);
                if self.flights.contains_key(&attempt) {
                    self.seen.count("timeouts", 1);
                    self.landed(attempt, &Outcome::Unknown { reason: String::new() });
                } else {
                    self.seen.count("permits lost", 1);
                }
            }
        }
    }

    fn ask(&mut self, attempt: AttemptId, requests: &[PermitRequest]) {
        let side = &self.sides[self.places[&attempt.lane]];
        let sick = !side.healthy && !self.healed;
        if sick && self.seed.one_in(40) {
            return;
        }
        // Wall and monotonic time agree as long as nothing jumps.
        if let Some((core, _)) = self.core.as_ref().filter(|_| !self.crashed) {
            let ledger = &core.ledger.lanes[&core.lanes[&attempt.lane].number];
            for tries in requests.iter().filter_map(|request| ledger.tries.get(&request.parcel.id)) {
                assert!(tries.not_before <= self.now.at, "an attempt before its time");
                self.seen.count("waited for its time", u64::from(tries.not_before > Timestamp(0)));
            }
        }
        let mut granted = BTreeSet::new();
        let mut permits = Vec::new();
        for request in requests {
            let id = request.parcel.id;
            permits.push(match self.seed.below(12) {
                0 if sick => {
                    self.seen.count("permits refused", 1);
                    self.sides[self.places[&attempt.lane]].refused.insert(id);
                    Permit::Refused { reason: "bought".to_owned() }
                }
                1 if sick => {
                    self.seen.count("permits delayed", 1);
                    Permit::Later { reason: "quiet".to_owned(), wait_ms: self.seed.below(300) }
                }
                _ => {
                    granted.insert(id);
                    Permit::Granted
                }
            });
        }
        self.grants.insert(attempt, granted);
        let delay_ms = if sick { self.seed.below(30) } else { self.seed.below(3) };
        self.after(delay_ms, Event::Permits(attempt, permits));
    }

    /// The moment of truth: something goes over the wire.
    fn send(&mut self, attempt: AttemptId, parcels: &[Parcel]) {
        let granted = self.grants.remove(&attempt).expect("an attempt without permits");
        assert!(!parcels.is_empty());
        let others: BTreeSet<Key> = self
            .flights
            .iter()
            .filter(|(other, _)| other.lane == attempt.lane)
            .flat_map(|(_, flight)| flight.parcels.iter().map(|parcel| parcel.1))
            .collect();
        let side = &mut self.sides[self.places[&attempt.lane]];
        let mut last: BTreeMap<Key, EffectId> = BTreeMap::new();
        for parcel in parcels {
            let id = parcel.id;
            assert!(granted.contains(&id), "{id} was sent without a permit");
            assert!(!others.contains(&parcel.subject), "two attempts of one subject at a time");
            assert_eq!(parcel.idempotency_key, id.to_string());
            assert!(side.outbox.issued.contains(&id));
            assert!(!side.unknown.contains(&id), "{id} is marketing and its outcome is unknown");
            assert!(last.insert(parcel.subject, id).is_none_or(|before| before < id), "a batch out of order");
            if side.sent_ever.contains(&id) && side.delivered.contains(&id) && !side.resent.contains(&id) {
                self.seen.count("repeated after a crash", 1);
                assert!(self.crashed || side.cut, "{id} was delivered and is sent again");
                assert_eq!(parcel.class, Class::Transactional);
            }
            if side.lost.remove(&id) {
                self.seen.count("lost effects sent after all", 1);
            }
            if !side.resent.contains(&id) {
                // A later one may have gone out before only together with this one, in a batch that came back.
                let before = side.sends.entry(parcel.subject).or_default();
                let overtaken = before.iter().find(|ids| ids.last() > Some(&id) && !ids.contains(&id));
                assert!(overtaken.is_none(), "{id} is sent after {overtaken:?} of the same subject");
            }
        }
        let mut together: BTreeMap<Key, BTreeSet<EffectId>> = BTreeMap::new();
        for parcel in parcels.iter().filter(|parcel| !side.resent.contains(&parcel.id)) {
            together.entry(parcel.subject).or_default().insert(parcel.id);
        }
        for (subject, ids) in together {
            side.sends.entry(subject).or_default().push(ids);
        }
        side.sent_ever.extend(parcels.iter().map(|parcel| parcel.id));
        side.sends_this_boot += 1;
        let bytes: usize = parcels.iter().map(|parcel| parcel.body.len()).sum();
        assert!(parcels.len() <= side.options.batch_parcels_max);
        assert!(parcels.len() == 1 || bytes <= side.options.batch_bytes_max);
        if let Some(rate) = side.options.rate {
            let passed_us = self.now.monotonic_us - self.booted.monotonic_us;
            let most = u64::from(rate.burst) + passed_us * u64::from(rate.attempts_per_second) / 1_000_000;
            assert!(side.sends_this_boot <= most, "{} sends, {most} allowed", side.sends_this_boot);
        }
        self.seen.count("attempts", 1);
        self.seen.count("batches", u64::from(parcels.len() > 1));
        let manner = if self.healed { Manner::Good } else { side.manner };
        let (kept, answers) = manner.meet(parcels, &mut self.seed);
        if kept {
            side.kept.extend(parcels.iter().map(|parcel| parcel.id));
        }
        if !kept && answers.first().is_some_and(|answer| answer.1 == Outcome::Delivered) {
            self.seen.count("lost by a liar", 1);
        }
        self.seen.count("stray answers", u64::from(answers.len() > 1));
        let parcels = parcels.iter().map(|parcel| (parcel.id, parcel.subject, parcel.class)).collect();
        self.flights.insert(attempt, Flight { parcels });
        for (delay_ms, outcome) in answers {
            self.after(delay_ms, Event::Answer(attempt, outcome));
        }
    }
}
