//! What was said and not acknowledged is said again by itself: after a restart at once, after lost answers and failed
//! requests soon, and ever less often where it does not help.

use super::super::shadow::{ShadowError, Told};
use super::resync::ResyncError;
use super::{Audiences, Settled};
use std::sync::PoisonError;

/// How long nothing is repeated after something was, in milliseconds: a lane that is at work repeats by itself.
const REPEAT_AFTER_MS: u64 = 5_000;
/// The longest time between two repetitions, in milliseconds.
const REPEAT_AFTER_MS_MAX: u64 = 15 * 60 * 1_000;

/// When something is said again.
#[derive(Default)]
pub(super) struct Repeating {
    due_ms: u64,
    wait_ms: u64,
}

impl Repeating {
    fn is_due(&self, now_ms: u64) -> bool {
        now_ms >= self.due_ms
    }

    /// The next time comes soon if it helped, and late if not.
    fn again(&mut self, now_ms: u64, helped: bool) {
        self.wait_ms = if helped {
            REPEAT_AFTER_MS
        } else {
            self.wait_ms.saturating_mul(2).clamp(REPEAT_AFTER_MS, REPEAT_AFTER_MS_MAX)
        };
        self.due_ms = now_ms.saturating_add(self.wait_ms);
    }
}

impl Audiences {
    /// Hears what became of requests, and says again what was not acknowledged when it is time.
    pub(super) async fn settle_and_repeat(&self) {
        let settled = self.lists.settled().await;
        if let Err(error) = self.take_in(settled).await {
            tracing::warn!(code = error.code(), %error, "outcomes could not be written down; they are asked for again");
        }
        let now_ms = self.clock.monotonic_ns() / 1_000_000;
        let is_due = self.repeating.lock().unwrap_or_else(PoisonError::into_inner).is_due(now_ms);
        if !is_due || self.open_words().await == 0 {
            return;
        }
        let before = self.open_words().await;
        let outcome = self.tell_unsettled().await;
        let helped = outcome.is_ok() && self.open_words().await < before;
        if let Err(error) = outcome {
            tell_why(&error);
        }
        let now_ms = self.clock.monotonic_ns() / 1_000_000;
        self.repeating.lock().unwrap_or_else(PoisonError::into_inner).again(now_ms, helped);
    }

    /// Writes down what platforms said later. What is lost of it is only said again.
    async fn take_in(&self, settled: Vec<Settled>) -> Result<(), ShadowError> {
        let told: Vec<Told> =
            self.awaited(|awaited| settled.iter().flat_map(|one| awaited.settle(one)).collect());
        if told.is_empty() {
            return Ok(());
        }
        self.on_shadow(move |shadow| shadow.heard(&told)).await
    }

    /// People of whom something is not acknowledged, and no outcome is awaited.
    async fn open_words(&self) -> usize {
        let unsettled = self.on_shadow(|shadow| Ok(shadow.unsettled())).await.unwrap_or(0);
        let awaited = self.awaited(|awaited| awaited.len());
        unsettled.saturating_sub(awaited)
    }
}

fn tell_why(error: &ResyncError) {
    tracing::warn!(%error, "what a platform did not acknowledge could not be said again; it is tried again");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_help_comes_ever_less_often() {
        let mut repeating = Repeating::default();
        assert!(repeating.is_due(0), "after a start at once");
        let mut waits = Vec::new();
        for _ in 0..10 {
            repeating.again(0, false);
            waits.push(repeating.wait_ms);
        }
        assert_eq!(waits[..3], [5_000, 10_000, 20_000]);
        assert_eq!(waits[9], REPEAT_AFTER_MS_MAX);
        assert!(!repeating.is_due(REPEAT_AFTER_MS_MAX - 1) && repeating.is_due(REPEAT_AFTER_MS_MAX));
        repeating.again(7, true);
        assert_eq!((repeating.wait_ms, repeating.due_ms), (5_000, 5_007));
    }
}
