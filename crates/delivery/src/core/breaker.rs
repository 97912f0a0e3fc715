//! The circuit breaker: closed, open, or half open with one probe under way.

use crate::ledger::{BreakerMemory, wait_us};
use crate::options::BreakerOptions;
use crate::parcel::Moment;

/// What the breaker says, for status and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Attempts go out.
    Closed,
    /// The destination failed too often; nothing goes out for a while.
    Open,
    /// One attempt tries whether it works again.
    HalfOpen,
}

#[derive(Debug)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until_us: u64,
    },
    /// `probe` is the attempt that tries; `None` while none has begun.
    HalfOpen {
        probe: Option<u64>,
    },
}

/// Whether an attempt may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Yes.
    Go,
    /// Yes, one, as the probe.
    Probe,
    /// Not before this, in monotonic microseconds; `None` for not before the probe is back.
    Wait(Option<u64>),
}

#[derive(Debug)]
pub(crate) struct Breaker {
    options: BreakerOptions,
    state: State,
    /// How often in a row it opened.
    opened: u32,
}

impl Breaker {
    /// Goes on where it was before a restart.
    pub(crate) fn restore(options: BreakerOptions, memory: BreakerMemory, now: Moment) -> Self {
        let state = match memory.opened {
            0 => State::Closed { failures: 0 },
            _ => {
                let wait_us = wait_us(memory.until, now, options.open_max_ms.saturating_mul(1_000));
                State::Open { until_us: now.monotonic_us.saturating_add(wait_us) }
            }
        };
        Self { options, state, opened: memory.opened }
    }

    pub(crate) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether an attempt may begin now. Time alone turns open into half open.
    pub(crate) fn leave(&mut self, now_us: u64) -> Leave {
        match self.state {
            State::Closed { .. } => Leave::Go,
            State::Open { until_us } if now_us < until_us => Leave::Wait(Some(until_us)),
            State::Open { .. } => {
                self.state = State::HalfOpen { probe: None };
                Leave::Probe
            }
            State::HalfOpen { probe: None } => Leave::Probe,
            State::HalfOpen { probe: Some(_) } => Leave::Wait(None),
        }
    }

    /// An attempt begins as the probe.
    pub(crate) fn begin_probe(&mut self, attempt: u64) {
        if let State::HalfOpen { probe } = &mut self.state {
            *probe = Some(attempt);
        }
    }

    /// Whether an attempt is the probe.
    pub(crate) fn is_probe(&self, attempt: u64) -> bool {
        matches!(self.state, State::HalfOpen { probe: Some(probe) } if probe == attempt)
    }

    /// An attempt ended without being sent.
    pub(crate) fn withdraw(&mut self, attempt: u64) {
        if let State::HalfOpen { probe } = &mut self.state
            && *probe == Some(attempt)
        {
            *probe = None;
        }
    }

    /// The destination answered as one that works. Returns what to remember if that changed anything.
    pub(crate) fn success(&mut self, attempt: u64) -> Option<BreakerMemory> {
        match &mut self.state {
            State::Closed { failures } => {
                *failures = 0;
                None
            }
            State::HalfOpen { probe } if *probe == Some(attempt) => {
                self.state = State::Closed { failures: 0 };
                self.opened = 0;
                Some(BreakerMemory::default())
            }
            // Attempts from before it opened say nothing about now.
            State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// The destination failed. Returns what to remember if that changed anything.
    pub(crate) fn failure(&mut self, attempt: u64, now: Moment) -> Option<BreakerMemory> {
        match &mut self.state {
            State::Closed { failures } => {
                *failures = failures.saturating_add(1);
                (*failures >= self.options.failures).then(|| self.open(now))
            }
            State::HalfOpen { probe } if *probe == Some(attempt) => Some(self.open(now)),
            State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    fn open(&mut self, now: Moment) -> BreakerMemory {
        let doublings = self.opened.min(20);
        self.opened = self.opened.saturating_add(1);
        let open_ms = self.options.open_ms.saturating_mul(1 << doublings).min(self.options.open_max_ms);
        let open_us = open_ms.saturating_mul(1_000);
        self.state = State::Open { until_us: now.monotonic_us.saturating_add(open_us) };
        let until = now.at.plus_us(i64::try_from(open_us).unwrap_or(i64::MAX));
        BreakerMemory { opened: self.opened, until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::Timestamp;

    fn at(ms: u64) -> Moment {
        Moment { at: Timestamp(ms as i64 * 1_000 + 77), monotonic_us: ms * 1_000 }
    }

    #[test]
    fn opens_probes_and_closes() {
        let options = BreakerOptions { failures: 3, open_ms: 100, open_max_ms: 300 };
        let mut breaker = Breaker::restore(options, BreakerMemory::default(), at(0));
        assert_eq!(breaker.failure(1, at(0)), None);
        assert_eq!(breaker.failure(2, at(0)), None);
        assert_eq!(breaker.success(3), None);
        assert_eq!(breaker.failure(4, at(0)), None, "a success starts the count anew");
        assert_eq!(breaker.failure(5, at(0)), None);
        let mut memory = breaker.failure(6, at(0)).unwrap();
        for (begin_ms, open_ms) in [(0, 100), (100, 200), (300, 300), (600, 300)] {
            assert_eq!(memory.until, at(begin_ms + open_ms).at);
            assert_eq!(breaker.success(6), None, "a late success does not close it");
            assert_eq!(
                breaker.leave(at(begin_ms + open_ms - 1).monotonic_us),
                Leave::Wait(Some((begin_ms + open_ms) * 1_000))
            );
            // A restart in the middle changes nothing.
            breaker = Breaker::restore(options, memory, at(begin_ms + open_ms - 1));
            assert_eq!(breaker.leave(at(begin_ms + open_ms).monotonic_us), Leave::Probe);
            breaker.begin_probe(7);
            assert_eq!(
                breaker.leave(at(begin_ms + open_ms).monotonic_us),
                Leave::Wait(None),
                "one probe at a time"
            );
            assert_eq!(breaker.failure(6, at(begin_ms + open_ms)), None, "only the probe counts");
            memory = breaker.failure(7, at(begin_ms + open_ms)).unwrap();
        }
        assert_eq!(breaker.leave(at(1_200).monotonic_us), Leave::Probe);
        breaker.begin_probe(8);
        breaker.withdraw(8);
        assert_eq!(
            breaker.leave(at(1_200).monotonic_us),
            Leave::Probe,
            "a probe that was not sent is given again"
        );
        breaker.begin_probe(9);
        assert_eq!(breaker.success(9), Some(BreakerMemory::default()));
        assert_eq!(breaker.leave(at(1_200).monotonic_us), Leave::Go);
    }

    #[test]
    fn a_wall_clock_that_was_wrong_cannot_hold_it_open() {
        let options = BreakerOptions { failures: 1, open_ms: 100, open_max_ms: 300 };
        let memory = BreakerMemory { opened: 1, until: Timestamp(i64::MAX) };
        let mut breaker = Breaker::restore(options, memory, at(0));
        assert_eq!(breaker.leave(299_999), Leave::Wait(Some(300_000)));
        assert_eq!(breaker.leave(300_000), Leave::Probe);
    }
}
