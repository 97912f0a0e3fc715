//! What surrounds the core in a simulated life: the outbox it reads and the destinations it talks to.

use crate::options::{BreakerOptions, DeadLetterOptions, LaneOptions, RateOptions, RetryOptions};
use crate::parcel::{Class, Outcome, Parcel, Supply};
use bytes::Bytes;
use env::seeded::Seed;
use model::id::{EffectId, Key, Position, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// How a destination behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Answers within 5 ms, and truthfully.
    Good,
    /// Answers truthfully, but late: sometimes beyond the time.
    Slow,
    /// Never answers.
    Hanging,
    /// Cannot be reached.
    Dead,
    /// Says yes and forgets; says no and keeps.
    Lying,
    /// Answers twice, and differently.
    Double,
    /// Refuses every fifth parcel for good, and the batch it is in.
    Picky,
    /// Asks to come later.
    Busy,
}

impl Manner {
    pub(super) fn draw(seed: &mut Seed) -> Self {
        match seed.below(9) {
            0 | 1 => Self::Good,
            2 => Self::Slow,
            3 => Self::Hanging,
            4 => Self::Dead,
            5 => Self::Lying,
            6 => Self::Double,
            7 => Self::Picky,
            _ => Self::Busy,
        }
    }

    /// Whether the destination keeps the parcels, and the answers it gives, each after so many milliseconds.
    pub(super) fn meet(self, parcels: &[Parcel], seed: &mut Seed) -> (bool, Vec<(u64, Outcome)>) {
        let retry = |after_ms| Outcome::Retry { reason: "http_503".to_owned(), after_ms };
        let unknown = Outcome::Unknown { reason: "reset".to_owned() };
        let refused = Outcome::Refused { reason: "http_400".to_owned() };
        let quick = 1 + seed.below(4);
        match self {
            Self::Good => (true, vec![(quick, Outcome::Delivered)]),
            Self::Slow => (true, vec![(seed.below(700), Outcome::Delivered)]),
            Self::Hanging => (seed.one_in(2), Vec::new()),
            Self::Dead => (false, vec![(quick, retry(None))]),
            Self::Lying => match seed.below(3) {
                0 => (false, vec![(quick, Outcome::Delivered)]),
                1 => (true, vec![(quick, retry(None))]),
                _ => (true, vec![(quick, unknown)]),
            },
            Self::Double => {
                let second = if seed.one_in(2) { retry(None) } else { refused };
                (true, vec![(quick, Outcome::Delivered), (quick + seed.below(50), second)])
            }
            Self::Picky if parcels.iter().any(|parcel| parcel.id.position.0 % 5 == 0) => {
                (false, vec![(quick, refused)])
            }
            Self::Picky => (true, vec![(quick, Outcome::Delivered)]),
            Self::Busy if seed.one_in(3) => (false, vec![(quick, retry(Some(seed.below(900))))]),
            Self::Busy => (true, vec![(quick, Outcome::Delivered)]),
        }
    }
}

/// The effects of a shard, as one lane sees them.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) parcels: BTreeMap<EffectId, Parcel>,
    /// Everything ever issued, for the judgement at the end.
    pub(super) issued: BTreeSet<EffectId>,
    pub(super) subjects: BTreeMap<EffectId, Key>,
    pub(super) last: Option<EffectId>,
    /// What lies up to here is gone, for a while or for good.
    pub(super) lost_through: Option<EffectId>,
}

impl Outbox {
    pub(super) fn issue(&mut self, id: EffectId, mine: bool, subjects: u64, at: Timestamp, seed: &mut Seed) {
        self.last = Some(id);
        if !mine {
            return;
        }
        let class = if seed.one_in(3) { Class::Marketing } else { Class::Transactional };
        let size = seed.below(120) as usize;
        let parcel = Parcel {
            id,
            issued_at: at,
            kind: 1,
            about: None,
            subject: Key(u128::from(seed.below(subjects))),
            class,
            idempotency_key: id.to_string(),
            body: Bytes::from(vec![b'x'; size]),
        };
        self.issued.insert(id);
        self.subjects.insert(id, parcel.subject);
        self.parcels.insert(id, parcel);
    }

    pub(super) fn after(&self, after: Option<EffectId>, limit: usize) -> Supply {
        let lost_through = self.lost_through.filter(|lost| Some(*lost) > after);
        let after = after.max(lost_through);
        let from = after.unwrap_or(EffectId { position: Position(0), ordinal: 0 });
        let found = self.parcels.range(from..).filter(|(id, _)| Some(**id) != after);
        let parcels: Vec<Parcel> = found.take(limit).map(|(_, parcel)| parcel.clone()).collect();
        let through = if parcels.len() < limit { self.last } else { None };
        Supply { parcels, through, through_at: None, lost_through }
    }

    pub(super) fn trim(&mut self, through: EffectId) -> u64 {
        let before = self.parcels.len();
        self.parcels.retain(|id, _| *id > through);
        (before - self.parcels.len()) as u64
    }
}

/// Small limits, so that short lives meet them all.
pub(super) fn draw_options(name: &str, seed: &mut Seed) -> LaneOptions {
    LaneOptions {
        concurrency_max: 1 + seed.below(5) as usize,
        batch_parcels_max: 1 + (seed.below(2) * seed.below(6)) as usize,
        batch_bytes_max: 50 + seed.below(500) as usize,
        flush_after_ms: seed.below(30),
        rate: seed.one_in(4).then(|| RateOptions {
            attempts_per_second: 20 + seed.below(200) as u32,
            burst: 1 + seed.below(10) as u32,
        }),
        attempt_timeout_ms: 500,
        permit_timeout_ms: 200,
        window_parcels_max: 8 + seed.below(60) as usize,
        window_bytes_max: 4_000 + seed.below(20_000) as usize,
        ahead_max: 8 + seed.below(100) as usize,
        retry: RetryOptions {
            first_ms: 1 + seed.below(50),
            longest_ms: 100 + seed.below(400),
            least_ms: seed.below(20),
            attempts_max: 2 + seed.below(6) as u32,
            give_up_after_ms: 2_000 + seed.below(20_000),
            retry_after_max_ms: 600,
        },
        breaker: BreakerOptions { failures: 1 + seed.below(5) as u32, open_ms: 50, open_max_ms: 400 },
        dead_letters: DeadLetterOptions { letters_max: 3 + seed.below(20) as usize, bytes_max: 5_000 },
        ..LaneOptions::named(name)
    }
}
