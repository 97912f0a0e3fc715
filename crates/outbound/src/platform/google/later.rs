//! Outcomes that come later: Google takes a request in at once and works on it for minutes. Its id is kept, and asked
//! about until there is an outcome (`GET /requestStatus:retrieve?requestId=…`).
//!
//! Ids are in memory only. After a restart nobody asks for those of before; they count as never heard.

use super::super::answer::plain_code;
use super::super::api::{Api, Counters};
use delivery::egress::Method;
use serde::Deserialize;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Requests that are asked about. Beyond, the oldest counts as never heard.
const REQUESTS_MAX: usize = 1_000;
/// Questions at a time: they share the quota with what is sent.
const QUESTIONS_MAX: usize = 5;
/// The longest time between two questions about one request, in milliseconds.
const ASK_EVERY_MAX_MS: u64 = 30 * 60 * 1_000;
/// How long an outcome is waited for, in milliseconds.
const GIVE_UP_AFTER_MS: u64 = 24 * 60 * 60 * 1_000;
/// The longest id, in bytes.
const ID_BYTES_MAX: usize = 128;

/// Requests that were taken in and have no outcome yet.
pub(super) struct Requests {
    waiting: Mutex<VecDeque<Waiting>>,
    first_ms: u64,
}

struct Waiting {
    id: String,
    taken_ms: u64,
    ask_ms: u64,
    wait_ms: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statuses {
    #[serde(default)]
    request_status_per_destination: Vec<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    request_status: String,
    error_info: Option<Problems>,
    warning_info: Option<Problems>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Problems {
    #[serde(default, alias = "warningCounts")]
    error_counts: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    reason: String,
}

impl Requests {
    /// Asks for the first time after so many milliseconds.
    pub(super) fn new(first_ms: u64) -> Self {
        Self { waiting: Mutex::default(), first_ms }
    }

    pub(super) fn taken_in(&self, api: &Api, id: String) {
        let now_ms = now_ms(api);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(plain) {
            Counters::add(&api.counters.never_heard, 1);
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let ask_ms = now_ms.saturating_add(self.first_ms);
        waiting.push_back(Waiting { id, taken_ms: now_ms, ask_ms, wait_ms: self.first_ms });
        if waiting.len() > REQUESTS_MAX {
            waiting.pop_front();
            Counters::add(&api.counters.never_heard, 1);
        }
    }

    /// Asks about what is due.
    pub(super) async fn ask(&self, api: &Api) {
        for _ in 0..QUESTIONS_MAX {
            let now_ms = now_ms(api);
            let due = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let place = waiting.iter().position(|one| one.ask_ms <= now_ms);
                place.and_then(|place| waiting.remove(place))
            };
            let Some(mut due) = due else { return };
            match answer(api, &due.id).await {
                Some(done) => {
                    let counter = if done { &api.counters.settled } else { &api.counters.failed_later };
                    Counters::add(counter, 1);
                }
                None if now_ms.saturating_sub(due.taken_ms) >= GIVE_UP_AFTER_MS => {
                    tracing::warn!(request = due.id, "google never said what became of a request");
                    Counters::add(&api.counters.never_heard, 1);
                }
                None => {
                    due.wait_ms = due.wait_ms.saturating_mul(2).min(ASK_EVERY_MAX_MS);
                    due.ask_ms = now_ms.saturating_add(due.wait_ms);
                    self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(due);
                }
            }
        }
    }
}

/// Whether a request went well, once Google knows.
async fn answer(api: &Api, id: &str) -> Option<bool> {
    let path = format!("/requestStatus:retrieve?requestId={id}");
    let response = api.call(Method::Get, &path, String::new()).await.ok()?;
    let statuses: Statuses =
        serde_json::from_slice(&response.body).ok().filter(|_| response.status == 200)?;
    let statuses = statuses.request_status_per_destination;
    let mut went_well = true;
    for status in &statuses {
        match status.request_status.as_str() {
            "SUCCESS" => {}
            "FAILED" | "PARTIAL_SUCCESS" => {
                went_well = false;
                let problems = status.error_info.iter().chain(&status.warning_info);
                let reasons: Vec<String> = problems
                    .flat_map(|problems| &problems.error_counts)
                    .map(|problem| plain_code(&problem.reason))
                    .take(10)
                    .collect();
                let status = plain_code(&status.request_status);
                tracing::warn!(
                    request = id,
                    status,
                    ?reasons,
                    "google did not do all of a request: re-sync the list"
                );
            }
            _ => return None,
        }
    }
    (!statuses.is_empty()).then_some(went_well)
}

fn now_ms(api: &Api) -> u64 {
    api.clock.monotonic_ns() / 1_000_000
}
