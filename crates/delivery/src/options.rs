//! What a lane is allowed to do.

use crate::error::OptionsError;
use crate::parcel::BODY_BYTES_MAX;

/// The most lanes of one journal, lanes that were removed from the configuration included.
pub const LANES_MAX: usize = 1_024;
/// The longest name of a lane, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// A day.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// One destination's way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneOptions {
    /// Its name, unique and stable: progress is kept under it. Letters, digits, `_` and `-`.
    pub name: String,
    /// Attempts under way at a time.
    pub concurrency_max: usize,
    /// Parcels of one attempt.
    pub batch_parcels_max: usize,
    /// Bytes of the bodies of one attempt; a single parcel may be larger.
    pub batch_bytes_max: usize,
    /// How long a batch that is not full waits for more, in milliseconds.
    pub flush_after_ms: u64,
    /// How fast attempts may begin; `None` for as fast as answers come.
    pub rate: Option<RateOptions>,
    /// How long an attempt may take, in milliseconds.
    pub attempt_timeout_ms: u64,
    /// How long a permit may take, in milliseconds; after it the permit is asked for again.
    pub permit_timeout_ms: u64,
    /// Parcels held in memory.
    pub window_parcels_max: usize,
    /// Bytes held in memory. Reached by the last parcel taken in, so it can be exceeded by one supply's.
    pub window_bytes_max: usize,
    /// Parcels settled beyond the first one that is not.
    pub ahead_max: usize,
    /// When to try again.
    pub retry: RetryOptions,
    /// When to stop trying for a while.
    pub breaker: BreakerOptions,
    /// What to keep of what could not be delivered.
    pub dead_letters: DeadLetterOptions,
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateOptions {
    /// Attempts a second, in the long run.
    pub attempts_per_second: u32,
    /// Attempts at once after a pause.
    pub burst: u32,
}

/// Exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015): the
/// wait is uniform between 0 and `min(longest, first * 2^(n-1))`, and never below `least`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOptions {
    /// The bound of the first wait, in milliseconds.
    pub first_ms: u64,
    /// The bound of every wait, in milliseconds.
    pub longest_ms: u64,
    /// The shortest wait, in milliseconds.
    pub least_ms: u64,
    /// Failures of a parcel, not counting those while the breaker tried the destination, after which it is dead.
    pub attempts_max: u32,
    /// How long after its first failure a parcel is dead at the next one, in milliseconds.
    pub give_up_after_ms: u64,
    /// The longest wait that a destination may ask for, in milliseconds.
    pub retry_after_max_ms: u64,
}

/// A circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerOptions {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open the first time, in milliseconds; twice as long after each failed probe.
    pub open_ms: u64,
    /// The longest it stays open, in milliseconds.
    pub open_max_ms: u64,
}

/// Bounds of the dead-letter list. A lane whose list is full begins no new attempt until somebody looks: dropping old
/// letters would lose them silently. What is under way when it fills up may still exceed the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetterOptions {
    /// Letters.
    pub letters_max: usize,
    /// Bytes of all letters.
    pub bytes_max: usize,
}

impl LaneOptions {
    /// A lane with defaults that suit a webhook: no batching, 16 at a time, 5 s per attempt, given up after a day.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            concurrency_max: 16,
            batch_parcels_max: 1,
            batch_bytes_max: BODY_BYTES_MAX,
            flush_after_ms: 0,
            rate: None,
            attempt_timeout_ms: 5_000,
            permit_timeout_ms: 5_000,
            window_parcels_max: 4_096,
            window_bytes_max: 16 * 1024 * 1024,
            ahead_max: 65_536,
            retry: RetryOptions {
                first_ms: 500,
                longest_ms: 5 * 60 * 1_000,
                least_ms: 50,
                attempts_max: 16,
                give_up_after_ms: DAY_MS,
                retry_after_max_ms: 60 * 60 * 1_000,
            },
            breaker: BreakerOptions { failures: 8, open_ms: 1_000, open_max_ms: 30_000 },
            dead_letters: DeadLetterOptions { letters_max: 10_000, bytes_max: 64 * 1024 * 1024 },
        }
    }

    /// Refuses values that cannot work, naming the option.
    pub fn validate(&self) -> Result<(), OptionsError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX || !self.name.bytes().all(plain) {
            return Err(self.error("name", "must be 1 to 64 letters, digits, `_` or `-`".to_owned()));
        }
        let ranges: &[(&'static str, u64, u64, u64)] = &[
            ("concurrency_max", self.concurrency_max as u64, 1, 10_000),
            ("batch_parcels_max", self.batch_parcels_max as u64, 1, 100_000),
            ("batch_bytes_max", self.batch_bytes_max as u64, 1, 1 << 30),
            ("flush_after_ms", self.flush_after_ms, 0, DAY_MS),
            ("attempt_timeout_ms", self.attempt_timeout_ms, 1, DAY_MS),
            ("permit_timeout_ms", self.permit_timeout_ms, 1, DAY_MS),
            ("window_parcels_max", self.window_parcels_max as u64, 1, 1_000_000),
            ("window_bytes_max", self.window_bytes_max as u64, 1, 1 << 32),
            ("ahead_max", self.ahead_max as u64, 1, 10_000_000),
            ("retry.first_ms", self.retry.first_ms, 1, DAY_MS),
            ("retry.longest_ms", self.retry.longest_ms, self.retry.first_ms, DAY_MS),
            ("retry.least_ms", self.retry.least_ms, 0, self.retry.longest_ms),
            ("retry.attempts_max", u64::from(self.retry.attempts_max), 1, 1_000_000),
            ("retry.give_up_after_ms", self.retry.give_up_after_ms, 1, 365 * DAY_MS),
            ("retry.retry_after_max_ms", self.retry.retry_after_max_ms, 0, 7 * DAY_MS),
            ("breaker.failures", u64::from(self.breaker.failures), 1, 1_000_000),
            ("breaker.open_ms", self.breaker.open_ms, 1, DAY_MS),
            ("breaker.open_max_ms", self.breaker.open_max_ms, self.breaker.open_ms, DAY_MS),
            ("dead_letters.letters_max", self.dead_letters.letters_max as u64, 1, 1_000_000),
            ("dead_letters.bytes_max", self.dead_letters.bytes_max as u64, 1, 1 << 32),
        ];
        for (option, value, least, most) in ranges.iter().copied() {
            if value < least || value > most {
                return Err(self.error(option, format!("is {value}, and must be {least} to {most}")));
            }
        }
        match self.rate {
            Some(rate) if rate.attempts_per_second == 0 => {
                Err(self.error("rate.attempts_per_second", "is 0, and must be at least 1".to_owned()))
            }
            Some(rate) if rate.burst == 0 => {
                Err(self.error("rate.burst", "is 0, and must be at least 1".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn error(&self, option: &'static str, what: String) -> OptionsError {
        OptionsError { lane: self.name.clone(), option, what }
    }
}
