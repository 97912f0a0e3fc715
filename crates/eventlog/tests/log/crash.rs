//! A seeded life of a log: appends, sealing, trims, restarts, and every fault of the seeded machine at any operation.
//! After each restart everything acknowledged is there, in order, and nothing else except a prefix of the one append
//! that nobody was told about.

use crate::{directory, draft, drain, frames_of, open, small_options};
use env::seeded::{Faults, Seed, World};
use eventlog::{Frame, LocalLog, Log, LogError, LogOptions, LogReader, SealStep, verify};
use model::id::{Position, Term, Timestamp};

/// More with `EVENTLOG_SEEDS=100000`.
const SEEDS: u64 = 3_000;
const STEPS: u64 = 60;

/// What happened over all seeds, so that a test that no longer meets a case fails.
#[derive(Default, Debug)]
struct Seen {
    cuts: u64,
    kept_unacknowledged: u64,
    poisoned: u64,
    full: u64,
    sealed: u64,
    recycled: u64,
    removed: u64,
    failed_opens: u64,
    seal_failures: u64,
    rewritten: u64,
    rolled: u64,
}

struct Life {
    seed: Seed,
    world: World,
    options: LogOptions,
    log: Option<LocalLog>,
    reader: Option<Box<dyn LogReader>>,
    /// Everything acknowledged, and what an open has believed since.
    acknowledged: Vec<Frame>,
    /// The append that failed last, not known to be in the log or not.
    in_doubt: Vec<Frame>,
    /// How many of `acknowledged` the following reader has seen.
    followed: usize,
    trimmed_to: Position,
    term: Term,
    now: Timestamp,
}

impl Life {
    fn new(number: u64) -> Self {
        let mut seed = Seed::new(number.wrapping_mul(0x1234_5678_9ABC_DEF1));
        let sealed = seed.one_in(3);
        let options = LogOptions {
            segment_bytes: 1_536 + seed.below(4_096),
            spare_segments: seed.below(3) as usize,
            start: Position(seed.below(2) * 1_000),
            ..small_options(sealed)
        };
        Self {
            world: World::new(number, 0),
            log: None,
            reader: None,
            acknowledged: Vec::new(),
            in_doubt: Vec::new(),
            followed: 0,
            trimmed_to: options.start,
            options,
            term: Term(1),
            now: Timestamp(1_000),
            seed,
        }
    }

    fn start(&mut self, seen: &mut Seen) {
        if self.seed.one_in(4) {
            self.random_faults();
            match LocalLog::open(&self.world.env(), directory(), self.options.clone()) {
                Ok((log, _)) => drop(log),
                Err(_) => seen.failed_opens += 1,
            }
            self.stop();
        }
        let (log, report) = open(&self.world.env(), &self.options);
        seen.cuts += u64::from(report.cut.is_some());
        assert!(log.first_position() <= self.trimmed_to, "records that were not trimmed are gone");
        let found = drain(log.read_from(log.first_position()).unwrap().as_mut());
        self.check_found(&log, &found, seen);
        let verified = verify(&self.world.env(), directory(), self.options.keyring.as_ref()).unwrap();
        assert_eq!(verified.damage, None);
        assert_eq!(verified.records, log.next_position().0 - log.first_position().0);
        let from = self.acknowledged.len() - self.seed.below(self.acknowledged.len() as u64 + 1) as usize;
        let from = self.acknowledged.get(from).map_or(log.next_position(), |frame| frame.first);
        let from = from.max(log.first_position());
        self.followed = self.acknowledged.partition_point(|frame| frame.first < from);
        self.reader = Some(log.read_from(from).unwrap());
        self.log = Some(log);
    }

    fn check_found(&mut self, log: &LocalLog, found: &[Frame], seen: &mut Seen) {
        let kept_from = self.acknowledged.partition_point(|frame| frame.first < log.first_position());
        let kept = &self.acknowledged[kept_from..];
        assert!(found.len() >= kept.len(), "acknowledged frames are lost: {} of {}", found.len(), kept.len());
        let (known, more) = found.split_at(kept.len());
        assert_eq!(known, kept);
        assert!(
            more.len() <= self.in_doubt.len() && more == &self.in_doubt[..more.len()],
            "frames from nowhere"
        );
        seen.kept_unacknowledged += more.len() as u64;
        self.acknowledged.extend_from_slice(more);
        self.in_doubt.clear();
        let last = self.acknowledged.last();
        assert_eq!(log.next_position(), last.map_or(self.options.start, Frame::next));
        assert_eq!(log.term(), last.map_or(Term(0), |frame| frame.term));
        assert_eq!(log.last_received_at(), last.map_or(Timestamp(0), |frame| frame.received_at));
    }

    fn random_faults(&mut self) {
        let at = self.seed.below(12);
        let capacity = 1_000 + self.seed.below(12_000);
        let mut faults = Faults::default();
        match self.seed.below(8) {
            0..=2 => faults.power_off_at_write = Some(at),
            3 => faults.fail_sync = Some(at),
            4 => faults.fail_write = Some(at),
            5 => faults.fail_read = Some(at),
            _ => faults.capacity_bytes = Some(capacity),
        }
        self.world.set_faults(faults);
    }

    /// Ends the process, with or without the machine.
    fn stop(&mut self) {
        self.reader = None;
        self.log = None;
        if self.world.is_off() || self.seed.one_in(2) {
            self.world.crash();
        } else {
            self.world.kill();
        }
    }

    fn append(&mut self, seen: &mut Seen) {
        let Some(log) = &mut self.log else { return };
        if self.seed.one_in(20) {
            self.term = Term(self.term.0 + 1);
        }
        let mut drafts = Vec::new();
        for _ in 0..self.seed.below(4) {
            self.now = self.now.plus_us(self.seed.below(3) as i64);
            drafts.push(draft(&mut self.seed, self.now, 4, 60));
        }
        let expected = log.next_position();
        let frames = frames_of(&drafts, expected, self.term);
        match log.append(self.term, expected, &drafts) {
            Ok(next) => {
                assert_eq!(next, frames.last().map_or(expected, Frame::next));
                self.acknowledged.extend(frames);
            }
            Err(LogError::StorageFull { .. }) => {
                seen.full += 1;
                self.world.set_faults(Faults::default());
                assert_eq!(log.append(self.term, expected, &drafts).unwrap(), frames.last().unwrap().next());
                self.acknowledged.extend(frames);
            }
            Err(_) => {
                seen.poisoned += 1;
                self.in_doubt = frames;
                let again = log.append(self.term, expected, &drafts);
                assert!(matches!(again, Err(LogError::Poisoned { .. })), "{again:?}");
                self.stop();
                self.start(seen);
            }
        }
    }

    fn background(&mut self, seen: &mut Seen) {
        let Some(log) = &self.log else { return };
        match log.handle().seal_step() {
            Ok(SealStep::Sealed { .. }) => seen.sealed += 1,
            Ok(SealStep::Removed(_)) => seen.removed += 1,
            Ok(SealStep::PreparedSpare | SealStep::Idle) => {}
            Err(_) => seen.seal_failures += 1,
        }
        seen.recycled += log.handle().stats().recycled_spares;
    }

    /// Closes the open segment without an append. Whatever becomes of it, no record comes or goes.
    fn roll(&mut self, seen: &mut Seen) {
        let Some(log) = &mut self.log else { return };
        if self.seed.one_in(3) && log.handle().forget_used_files().is_err() {
            seen.seal_failures += 1;
        }
        let next = log.next_position();
        match log.roll() {
            Ok(began) => {
                seen.rolled += u64::from(began);
                let last = log.handle().segments().pop().unwrap();
                assert_eq!((last.first, last.next, log.next_position()), (next, next, next));
            }
            Err(LogError::StorageFull { .. }) => {
                seen.full += 1;
                assert!(!log.handle().stats().closed);
                self.world.set_faults(Faults::default());
                assert!(log.roll().unwrap(), "a roll that met a full disk left something behind");
            }
            Err(_) => {
                seen.poisoned += 1;
                assert!(matches!(log.roll(), Err(LogError::Poisoned { .. })));
                self.stop();
                self.start(seen);
            }
        }
    }

    fn trim(&mut self) {
        let Some(log) = &mut self.log else { return };
        let (first, next) = (log.first_position().0, log.next_position().0);
        let below = Position(first + self.seed.below(next - first + 1));
        log.trim(below).unwrap();
        assert!(log.first_position() <= below, "a record at or above the trim point is gone");
        self.trimmed_to = self.trimmed_to.max(log.first_position());
    }

    /// Erases a record, in place of every frame that the chosen segment holds.
    fn rewrite(&mut self, seen: &mut Seen) {
        let Some(log) = &self.log else { return };
        let segments = log.handle().segments();
        let Some(chosen) = segments.get(self.seed.below(segments.len() as u64) as usize) else { return };
        let target = chosen.first;
        let mut erased = |mut frame: Frame| {
            if frame.first == target {
                frame.body.fill(0);
            }
            frame
        };
        let outcome = log.handle().rewrite_segment(target, &mut erased);
        // A reader that holds the old file keeps reading it, so it starts anew.
        self.reader = None;
        let place = self.acknowledged.iter().position(|frame| frame.first == target);
        let Some(place) = place else { return };
        match outcome {
            Ok(_) => {
                seen.rewritten += 1;
                self.acknowledged[place].body.fill(0);
            }
            Err(LogError::Rewrite { .. }) => {}
            Err(_) => {
                // The segment is the old or the new one: look which, after a restart.
                self.stop();
                self.world.set_faults(Faults::default());
                let (log, _) = open(&self.world.env(), &self.options);
                if log.first_position() <= target {
                    let found = log.read_from(target).unwrap().next().unwrap().unwrap();
                    let old = self.acknowledged[place].clone();
                    assert!(found == old || found == erased(old), "neither the old nor the new segment");
                    self.acknowledged[place] = found;
                }
                drop(log);
                self.start(seen);
            }
        }
    }

    fn follow(&mut self) {
        let Some(reader) = &mut self.reader else { return };
        loop {
            match reader.next() {
                Ok(Some(frame)) => {
                    assert_eq!(Some(&frame), self.acknowledged.get(self.followed), "the reader lost its way");
                    self.followed += 1;
                }
                Ok(None) => {
                    assert_eq!(self.followed, self.acknowledged.len(), "the reader stopped before the end");
                    return;
                }
                // A seeded read error, or a cut of the power.
                Err(LogError::Io { .. }) => return,
                // The reader was slower than the trim.
                Err(LogError::Trimmed { .. }) => {
                    self.reader = None;
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn step(&mut self, seen: &mut Seen) {
        match self.seed.below(21) {
            0..9 => self.append(seen),
            9..14 => self.background(seen),
            14 => self.trim(),
            15 => self.rewrite(seen),
            16 => {
                self.stop();
                self.start(seen);
            }
            17 | 18 => self.random_faults(),
            19 => self.roll(seen),
            _ => self.world.set_faults(Faults::default()),
        }
        self.follow();
        if self.world.is_off() {
            self.stop();
            self.start(seen);
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_whatever_happens() {
    let mut seen = Seen::default();
    let seeds = std::env::var("EVENTLOG_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    for number in 0..seeds {
        let run = std::panic::catch_unwind(|| {
            let mut life = Life::new(number);
            let mut seen = Seen::default();
            life.start(&mut seen);
            for _ in 0..STEPS {
                life.step(&mut seen);
            }
            life.stop();
            life.start(&mut seen);
            seen
        });
        let one = run.unwrap_or_else(|_| panic!("seed {number} failed, see above"));
        seen.cuts += one.cuts;
        seen.kept_unacknowledged += one.kept_unacknowledged;
        seen.poisoned += one.poisoned;
        seen.full += one.full;
        seen.sealed += one.sealed;
        seen.recycled += one.recycled;
        seen.removed += one.removed;
        seen.failed_opens += one.failed_opens;
        seen.seal_failures += one.seal_failures;
        seen.rewritten += one.rewritten;
        seen.rolled += one.rolled;
    }
    println!("{seen:?}");
    let every_case = [
        seen.cuts,
        seen.kept_unacknowledged,
        seen.poisoned,
        seen.full,
        seen.sealed,
        seen.recycled,
        seen.removed,
        seen.failed_opens,
        seen.seal_failures,
        seen.rewritten,
        seen.rolled,
    ];
    assert!(every_case.iter().all(|count| *count >= 20), "a case is hardly met any more: {seen:?}");
}
