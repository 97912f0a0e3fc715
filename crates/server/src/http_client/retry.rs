//! When to send again, and after how long.

use super::{Client, HttpError, Request, Response};
use std::time::Duration;

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included.
    pub attempts_max: u32,
    /// The wait before the second attempt; it doubles from there, where the server names none.
    pub first_wait: Duration,
    /// No wait is longer, whoever names it.
    pub wait_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts_max: 10, first_wait: Duration::from_millis(200), wait_max: Duration::from_secs(300) }
    }
}

/// What an attempt calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken, or will never be.
    Final,
    /// Send again after this long.
    Again(Duration),
}

impl RetryPolicy {
    /// Judges attempt number `attempt` (the first is 1). A server that is busy or away is asked again, with the same
    /// message ids, so that nothing counts twice; any other answer is final.
    pub fn judge(&self, attempt: u32, outcome: &Result<Response, HttpError>) -> Verdict {
        let named = match outcome {
            Ok(response) if is_passing(response.status) => response.retry_after(),
            Ok(_) | Err(HttpError::Url { .. }) => return Verdict::Final,
            Err(_) => None,
        };
        if attempt >= self.attempts_max {
            return Verdict::Final;
        }
        let doubled = self.first_wait.saturating_mul(1 << attempt.saturating_sub(1).min(20));
        Verdict::Again(named.unwrap_or(doubled).min(self.wait_max))
    }

    /// Sends until the outcome is final. `on_wait` hears of every wait before it begins.
    pub fn send(
        &self,
        client: &mut Client,
        request: Request<'_>,
        on_wait: &mut dyn FnMut(&Result<Response, HttpError>, Duration),
    ) -> Result<Response, HttpError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let outcome = client.send(request);
            match self.judge(attempt, &outcome) {
                Verdict::Final => return outcome,
                Verdict::Again(wait) => {
                    on_wait(&outcome, wait);
                    std::thread::sleep(wait);
                }
            }
        }
    }
}

fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502..=504)
}
