//! What a lane counts.

use super::breaker::BreakerState;
use crate::ledger::DeadReason;
use model::id::{EffectId, Timestamp};
use std::collections::BTreeMap;

/// Different reasons of permits that are counted apart; the rest is counted as `other`.
const REASONS_MAX: usize = 32;
/// The longest reason kept, in bytes.
const REASON_BYTES_MAX: usize = 64;

/// Buckets of [`Lag`].
pub const LAG_BUCKETS: usize = 32;

/// The most kinds whose lags are counted apart.
pub const LAG_KINDS_MAX: usize = 64;

/// From the record that issued an effect to its acceptance, as a histogram: bucket `n` counts lags below `2^n` ms that
/// no lower bucket counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Counts.
    pub buckets: [u64; LAG_BUCKETS],
    /// The sum of all, in milliseconds.
    pub sum_ms: u64,
    /// The last one, in milliseconds.
    pub last_ms: u64,
}

impl Lag {
    /// How many are counted.
    pub fn count_of(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// A bound in milliseconds that this many of a hundred lags stay below; 0 if none was counted.
    pub fn quantile_ms(&self, percent: u64) -> u64 {
        let wanted = self.count_of().saturating_mul(percent).div_ceil(100);
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            below += count;
            if below >= wanted && wanted > 0 {
                return 1 << bucket;
            }
        }
        0
    }

    /// Takes in what another counted. The last one stays.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *count += more;
        }
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
    }

    pub(super) fn count(&mut self, lag_us: i64) {
        let lag_ms = u64::try_from(lag_us / 1_000).unwrap_or(0);
        let bucket = (u64::BITS - lag_ms.leading_zeros()) as usize;
        if let Some(count) = self.buckets.get_mut(bucket.min(LAG_BUCKETS - 1)) {
            *count += 1;
        }
        self.sum_ms = self.sum_ms.saturating_add(lag_ms);
        self.last_ms = lag_ms;
    }
}

/// Why a lane begins no attempts although it has parcels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The breaker is open.
    Breaker,
    /// The destination asked to wait.
    RetryAfter,
    /// The rate is used up.
    Rate,
    /// The dead-letter list is full.
    DeadLettersFull,
}

/// What became of a request to forget somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Parcels and dead letters that are gone.
    pub forgotten: usize,
    /// Parcels of attempts under way. They go when their attempt ends, whatever comes of it.
    pub under_way: usize,
}

/// What a lane has done since the process began, and how it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneStatus {
    /// The lane's name.
    pub name: String,
    /// Whether it is open: a lane that was closed is still listed, as what it counted stays.
    pub open: bool,
    /// Attempts sent.
    pub attempts: u64,
    /// Attempts that did not end in acceptance, whatever the reason.
    pub failed_attempts: u64,
    /// Parcels for which something was committed while they were on the wire that would have refused their permit,
    /// counted at every attempt.
    pub crossed: u64,
    /// Parcels that the destination accepted.
    pub delivered: u64,
    /// Parcels that wait for another attempt after a failed one, counted at every failure.
    pub retried: u64,
    /// Parcels that died, by [`DeadReason::word`].
    pub dead: BTreeMap<&'static str, u64>,
    /// Parcels that a permit refused, by reason.
    pub permit_refusals: BTreeMap<String, u64>,
    /// Permits that were put off, by reason.
    pub permit_delays: BTreeMap<String, u64>,
    /// Answers to attempts that were no longer under way.
    pub stray_answers: u64,
    /// Attempts given up because no answer came in time.
    pub timeouts: u64,
    /// From issue to acceptance.
    pub lag: Lag,
    /// The same of each kind of message, for the first [`LAG_KINDS_MAX`] kinds that are met.
    pub lag_by_kind: BTreeMap<u16, Lag>,
    /// Parcels in memory.
    pub held_parcels: usize,
    /// Bytes in memory.
    pub held_bytes: usize,
    /// Attempts under way, waits for permits included.
    pub under_way: usize,
    /// When the oldest parcel in memory was issued.
    pub oldest_issued_at: Option<Timestamp>,
    /// Dead letters that rest.
    pub dead_letters: usize,
    /// Bytes of them.
    pub dead_letter_bytes: usize,
    /// Everything up to here is settled, and that is durable.
    pub settled_through: Option<EffectId>,
    /// The last effect that the source has shown.
    pub seen_through: Option<EffectId>,
    /// When that was issued.
    pub seen_at: Option<Timestamp>,
    /// The breaker.
    pub breaker: Option<BreakerState>,
    /// Why nothing begins.
    pub hold: Option<Hold>,
}

impl LaneStatus {
    pub(super) fn count_lag(&mut self, kind: u16, lag_us: i64) {
        self.lag.count(lag_us);
        if self.lag_by_kind.len() < LAG_KINDS_MAX || self.lag_by_kind.contains_key(&kind) {
            self.lag_by_kind.entry(kind).or_default().count(lag_us);
        }
    }

    pub(super) fn count_dead(&mut self, reason: DeadReason) {
        *self.dead.entry(reason.word()).or_default() += 1;
    }

    pub(super) fn count_refusal(&mut self, reason: &str) {
        count_reason(&mut self.permit_refusals, reason);
    }

    pub(super) fn count_delay(&mut self, reason: &str) {
        count_reason(&mut self.permit_delays, reason);
    }
}

fn count_reason(counts: &mut BTreeMap<String, u64>, reason: &str) {
    if let Some(count) = counts.get_mut(reason) {
        *count += 1;
        return;
    }
    let known = counts.len() < REASONS_MAX && reason.len() <= REASON_BYTES_MAX;
    let reason = if known { reason } else { "other" };
    *counts.entry(reason.to_owned()).or_default() += 1;
}
