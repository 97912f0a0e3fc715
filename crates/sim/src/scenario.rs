//! One seeded life of a shard.

mod check;
mod faults;
mod follow;
mod steps;

use crate::classes::Classes;
use crate::subject::{Around, Explained, Subject, Told};
use crate::truth::{BUCKET_US, WINDOW_US};
use anyhow::{Result, bail};
use engine::core::{Core, Slice};
use engine::feed::{Feed, FeedOptions, Writer};
use engine::recovery::{OpenOptions, Opened, open};
use engine::{DedupOptions, EngineError};
use env::seeded::{Seed, World};
use eventlog::{Frame, LocalLog, LogOptions};
use model::id::{EffectId, Key, Position, Term};
use std::collections::BTreeMap;
use std::path::Path;
use store::{Store, StoreOptions, TableId};

/// The simulated data directory.
pub const DIRECTORY: &str = "/data";
/// Where the clock of every run starts.
const START_US: i64 = 1_700_000_000_000_000;
/// Tries to get ready before the life begins.
const PREPARING_MAX: usize = 400;

/// What a run did, for the summary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Starts, the first included.
    pub starts: u64,
    /// Power losses.
    pub crashes: u64,
    /// Ends of the process without an end of the machine.
    pub kills: u64,
    /// Faults that were set.
    pub faults: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Duplicates dropped.
    pub duplicates: u64,
    /// Checkpoints committed.
    pub checkpoints: u64,
    /// Effects issued.
    pub effects: u64,
    /// Records quarantined after two panics.
    pub quarantined: u64,
    /// Items that a follower took from the feed.
    pub followed: u64,
    /// Times that a follower's cursor was refused.
    pub gone: u64,
    /// What happened beyond the shard.
    pub told: Told,
    /// Digest of everything that happened; the same for the same life.
    pub trace: u64,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.starts += other.starts;
        self.crashes += other.crashes;
        self.kills += other.kills;
        self.faults += other.faults;
        self.acknowledged += other.acknowledged;
        self.duplicates += other.duplicates;
        self.checkpoints += other.checkpoints;
        self.effects += other.effects;
        self.quarantined += other.quarantined;
        self.followed += other.followed;
        self.gone += other.gone;
        let (own, told) = (&mut self.told, &other.told);
        own.attempts += told.attempts;
        own.received += told.received;
        own.refused += told.refused;
        own.crossed += told.crossed;
        own.dead += told.dead;
        own.arrived += told.arrived;
        own.purchases += told.purchases;
        own.judged += told.judged;
        own.refusals += told.refusals;
        self.trace ^= other.trace;
    }
}

/// A running shard, between a start and a crash.
struct Shard<S: Subject> {
    core: Core<S::Rules>,
    log: LocalLog,
    store: Store,
    feed: Feed,
    feed_writer: Writer,
    term: Term,
    /// Durable, not applied yet.
    waiting: Vec<Frame>,
    /// Slices of the checkpoint in progress.
    slices: Vec<Slice>,
    /// The log has refused a write for good.
    poisoned: bool,
    /// Stored rows on their way into memory; `None` while nobody warms.
    warming: Option<Vec<(TableId, Key, Vec<u8>)>>,
}

/// One life.
pub struct Scenario<S: Subject> {
    subject: S,
    world: World,
    seed: Seed,
    shard: Option<Shard<S>>,
    tally: Tally,
    /// Effects that were seen, by id: an id must never mean something else later.
    seen_effects: BTreeMap<EffectId, (u16, Vec<u8>)>,
    /// Positions up to here were applied and answered: the log must hold at least these.
    answered: Position,
    /// A fault is set.
    faulty: bool,
    /// This life trims its log.
    trims: bool,
    /// Somebody outside the process who follows the feed.
    follower: follow::Follower,
    /// The feed's disk refused something: it may begin anew.
    feed_excused: bool,
    /// All frames ever seen in the log: trimming must not take the truth away.
    history: Vec<Frame>,
    options: OpenOptions,
    /// What does not go wrong in this life.
    without: Classes,
    /// What the log explained when it was looked at last.
    explained: Option<Explained>,
}

impl<S: Subject> Scenario<S> {
    /// A life that has not begun.
    pub fn new(number: u64) -> Self {
        Self::without(number, Classes::default())
    }

    /// A life that has not begun, and in which some classes of trouble do not happen.
    pub fn without(number: u64, without: Classes) -> Self {
        let mut seed = Seed::new(number ^ 0x5EED);
        let options = OpenOptions {
            log: LogOptions {
                segment_bytes: 2_048 + seed.below(6_000) + if S::ATTENDS { 16_384 } else { 0 },
                block_bytes: 600,
                spare_segments: seed.below(2) as usize,
                ..LogOptions::default()
            },
            store: StoreOptions {
                block_bytes: 256,
                merge_fan_in: 2 + seed.below(3) as usize,
                runs_max: 8,
                checkpoint_buffer_bytes: 4_096,
                dedup: DedupOptions { window_us: WINDOW_US, bucket_us: BUCKET_US, bytes_limit: 1 << 20 },
                ..StoreOptions::default()
            },
            feed: FeedOptions {
                retention_age_us: None,
                // Every third life lets followers come too late; what is condensed must be whole nevertheless.
                retention_bytes: if number.is_multiple_of(3) { 4_000 } else { u64::MAX },
                segment_bytes: 1_000 + seed.below(4_000),
                block_bytes: 200 + seed.below(800) as usize,
                waiting_bytes_max: usize::MAX,
                room_wait_ms: 0,
                ..FeedOptions::default()
            },
        };
        Self {
            subject: S::new(number, without, &mut seed),
            world: World::new(number, START_US),
            seed,
            shard: None,
            tally: Tally::default(),
            seen_effects: BTreeMap::new(),
            answered: Position(0),
            faulty: false,
            trims: number % 2 == 1,
            follower: follow::Follower::default(),
            feed_excused: false,
            history: Vec::new(),
            options,
            without,
            explained: None,
        }
    }

    /// Lives it: `steps` steps, then a start without faults and the final checks.
    pub fn run(mut self, steps: u32) -> Result<Tally> {
        self.prepare()?;
        for _ in 0..steps {
            if self.shard.is_none() {
                self.start()?;
            } else {
                self.step()?;
            }
        }
        self.world.kill();
        self.end();
        for _ in 0..8 {
            self.start()?;
            if self.shard.is_some() {
                break;
            }
        }
        self.drain()?;
        self.check_all()?;
        self.check_replay()?;
        self.finish()?;
        self.tally.told = self.subject.told();
        self.tally.trace = self.digest();
        Ok(self.tally)
    }

    /// What an operator sets first is set before anything else happens.
    fn prepare(&mut self) -> Result<()> {
        for _ in 0..PREPARING_MAX {
            if self.subject.is_ready() {
                break;
            }
            if self.shard.is_none() {
                self.start()?;
            } else {
                self.append()?;
                self.drain()?;
            }
        }
        Ok(())
    }

    /// What is beyond the shard has to come to rest, and to have what it should.
    fn finish(&mut self) -> Result<()> {
        self.clear_faults();
        let Some(shard) = &mut self.shard else { return Ok(()) };
        let frames = self.history.clone();
        let Some(explained) = &self.explained else { return Ok(()) };
        let (core, world, seed) = (&mut shard.core, &self.world, &mut self.seed);
        let around = &mut Around { core, world, seed, faulty: false };
        self.subject.finish(around, &frames, explained)
    }

    /// Of everything that the life has shown.
    fn digest(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        format!("{:?}", self.tally).hash(&mut hasher);
        let digest = self.shard.as_ref().map(|shard| shard.core.progress().effects_digest);
        format!("{digest:?} {}", self.world.writes()).hash(&mut hasher);
        hasher.finish()
    }

    /// Starts the shard, as often as faults or a poisonous record end it again.
    fn start(&mut self) -> Result<()> {
        self.tally.starts += 1;
        self.maybe_fault_the_start();
        let env = self.world.env();
        match open(&env, Path::new(DIRECTORY), S::rules, &self.options) {
            Ok(opened) => self.started(opened),
            Err(EngineError::Panicked { .. }) if S::PANICS => {
                self.excuse_the_feed();
                self.world.kill();
                Ok(())
            }
            Err(error) if self.world.is_off() || self.faults_are_set() => {
                // A fault may end a start; it must not leave anything behind that ends the next one without a fault.
                drop(error);
                self.excuse_the_feed();
                self.lose_power();
                Ok(())
            }
            Err(error) => bail!("a start without a fault failed: {error}"),
        }
    }

    /// In a start that failed, the disk may have refused the feed something: the next one finds that it began anew.
    fn excuse_the_feed(&mut self) {
        self.feed_excused |= self.faults_are_set() && !self.world.is_off();
    }

    fn started(&mut self, opened: Opened<S::Rules>) -> Result<()> {
        if opened.report.quarantined.is_some() {
            self.tally.quarantined += 1;
        }
        if self.world.is_off() {
            // While the replay wrote the feed: the start goes on as long as it needs no disk.
            drop(opened);
            self.lose_power();
            return Ok(());
        }
        // A start that quarantines a record opens the feed twice, and tells nothing of the first time.
        let began_anew = opened.feed.stats().gaps > 0 || opened.report.quarantined.is_some();
        self.feed_excused |= self.faults_are_set() && began_anew;
        self.clear_faults();
        self.shard = Some(Shard {
            core: opened.core,
            log: opened.log,
            store: opened.store,
            feed: opened.feed,
            feed_writer: opened.feed_writer,
            term: opened.term,
            waiting: Vec::new(),
            slices: Vec::new(),
            poisoned: false,
            warming: None,
        });
        if let Some(shard) = &mut self.shard {
            self.subject.began(&mut shard.core, &shard.feed, shard.log.handle(), &self.world);
        }
        self.check_all()
    }

    /// The process is gone.
    fn end(&mut self) {
        self.shard = None;
        self.subject.ended();
    }

    fn lose_power(&mut self) {
        self.end();
        self.tally.crashes += 1;
        self.world.crash();
        self.clear_faults();
    }

    fn kill(&mut self) {
        self.end();
        self.tally.kills += 1;
        self.world.kill();
        self.clear_faults();
    }
}
