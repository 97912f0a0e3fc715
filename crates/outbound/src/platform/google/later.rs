//! Outcomes that come later: Google takes a request in at once and works on it for minutes. Its id is kept, and asked
//! about until there is an outcome (`GET /requestStatus:retrieve?requestId=…`).
//!
//! Ids of events are also in a file, `NAME.requests`, so that a restart asks on. Those of lists are in memory only: what
//! nobody acknowledged is said again, which comes to the same.

use super::super::answer::{Verdict, plain_code};
use super::super::api::{Api, Counters};
use super::super::audience::Settled;
use crate::error::ConfigError;
use delivery::egress::Method;
use delivery::env::{Disk, Env, OpenMode};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Requests that are asked about. Beyond, the oldest counts as never heard.
const REQUESTS_MAX: usize = 1_000;
/// Questions at a time: they share the quota with what is sent.
const QUESTIONS_MAX: usize = 5;
/// The longest time between two questions about one request, in milliseconds.
const ASK_EVERY_MAX_MS: u64 = 30 * 60 * 1_000;
/// How long to wait where the quota is spent, at least, in milliseconds.
const ASK_EVERY_MIN_MS: u64 = 1_000;
/// How long an outcome is waited for, in milliseconds.
const GIVE_UP_AFTER_MS: u64 = 24 * 60 * 60 * 1_000;
/// The longest id, in bytes.
const ID_BYTES_MAX: usize = 128;

/// A larger file is none of ours.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Requests that were taken in and have no outcome yet.
pub(super) struct Requests {
    waiting: Arc<Mutex<VecDeque<Waiting>>>,
    first_ms: u64,
    /// Nothing is asked before: the quota is spent.
    quiet_until_ms: AtomicU64,
    /// Requests that nobody will ask about, and that nobody was told of yet.
    given_up: Mutex<Vec<String>>,
    file: Option<Arc<File>>,
}

struct Waiting {
    id: String,
    taken_us: i64,
    ask_ms: u64,
    wait_ms: u64,
}

/// Where ids outlive the process.
struct File {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    path: PathBuf,
    /// One writer at a time, so that the last word is the last one written.
    turn: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    id: String,
    taken_us: i64,
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
    /// Asks for the first time after so many milliseconds; a restart forgets what was asked for.
    pub(super) fn in_memory(first_ms: u64) -> Self {
        Self::new(VecDeque::new(), first_ms, None)
    }

    /// Asks also about what was taken in before a restart.
    pub(super) fn kept(first_ms: u64, env: &Env, folder: &Path, name: &str) -> Result<Self, ConfigError> {
        let file = File {
            disk: Arc::clone(&env.disk),
            folder: folder.to_owned(),
            path: folder.join(format!("{name}.requests")),
            turn: Mutex::default(),
        };
        let kept = file.read().map_err(|error| {
            let path = file.path.display();
            ConfigError::new(
                "name",
                format!("has requests in {path} that cannot be read ({error}): remove it"),
            )
        })?;
        let ask_ms = env.clock.monotonic_ns() / 1_000_000;
        let waiting = |one: Kept| Waiting { id: one.id, taken_us: one.taken_us, ask_ms, wait_ms: first_ms };
        let waiting = kept.into_iter().filter(|one| is_plain(&one.id)).map(waiting).collect();
        Ok(Self::new(waiting, first_ms, Some(Arc::new(file))))
    }

    fn new(waiting: VecDeque<Waiting>, first_ms: u64, file: Option<Arc<File>>) -> Self {
        let waiting = Arc::new(Mutex::new(waiting));
        Self { waiting, first_ms, quiet_until_ms: AtomicU64::new(0), given_up: Mutex::default(), file }
    }

    pub(super) async fn taken_in(&self, api: &Api, id: String) {
        let given_up = if is_plain(&id) {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let ask_ms = now_ms(api).saturating_add(self.first_ms);
            waiting.push_back(Waiting { id, taken_us: api.clock.now_us(), ask_ms, wait_ms: self.first_ms });
            if waiting.len() > REQUESTS_MAX { waiting.pop_front().map(|oldest| oldest.id) } else { None }
        } else {
            Some(id)
        };
        if let Some(id) = given_up {
            Counters::add(&api.counters.never_heard, 1);
            self.given_up.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        }
        self.keep().await;
    }

    /// Asks about what is due, and gives what became of requests.
    pub(super) async fn ask(&self, api: &Api) -> Vec<Settled> {
        let given_up = std::mem::take(&mut *self.given_up.lock().unwrap_or_else(PoisonError::into_inner));
        let mut settled: Vec<Settled> =
            given_up.into_iter().map(|request| Settled { request, done: false }).collect();
        self.measure(api);
        if now_ms(api) < self.quiet_until_ms.load(Ordering::Relaxed) {
            return settled;
        }
        for _ in 0..QUESTIONS_MAX {
            let due = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let place = waiting.iter().position(|one| one.ask_ms <= now_ms(api));
                place.and_then(|place| waiting.remove(place))
            };
            let Some(mut due) = due else { break };
            let age_ms = u64::try_from(api.clock.now_us().saturating_sub(due.taken_us)).unwrap_or(0) / 1_000;
            match answer(api, &due.id).await {
                Heard::Outcome(done) => {
                    let counter = if done { &api.counters.settled } else { &api.counters.failed_later };
                    Counters::add(counter, 1);
                    settled.push(Settled { request: due.id, done });
                }
                Heard::Limited { after_ms } => {
                    // It was not asked: that says nothing about the request.
                    let quiet_ms = now_ms(api).saturating_add(after_ms.max(ASK_EVERY_MIN_MS));
                    self.quiet_until_ms.store(quiet_ms, Ordering::Relaxed);
                    self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_front(due);
                    break;
                }
                Heard::Nothing if age_ms >= GIVE_UP_AFTER_MS => {
                    tracing::warn!(request = due.id, "google never said what became of a request");
                    Counters::add(&api.counters.never_heard, 1);
                    settled.push(Settled { request: due.id, done: false });
                }
                Heard::Nothing => {
                    due.wait_ms = due.wait_ms.saturating_mul(2).min(ASK_EVERY_MAX_MS);
                    due.ask_ms = now_ms(api).saturating_add(due.wait_ms);
                    self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(due);
                }
            }
        }
        if !settled.is_empty() {
            self.keep().await;
        }
        settled
    }

    /// How long the oldest request waits for its outcome.
    fn measure(&self, api: &Api) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest_us = waiting.iter().map(|one| one.taken_us).min();
        let wait_us = oldest_us.map_or(0, |oldest_us| api.clock.now_us().saturating_sub(oldest_us));
        Counters::set(&api.counters.outcome_wait_ms, u64::try_from(wait_us).unwrap_or(0) / 1_000);
    }

    /// Writes down what is waited for. A failure costs that a restart does not ask.
    async fn keep(&self) {
        let Some(file) = self.file.clone() else { return };
        let waiting = Arc::clone(&self.waiting);
        let written = tokio::task::spawn_blocking(move || file.write(&waiting)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "a restart will not ask what became of requests to google");
        }
    }
}

impl File {
    fn read(&self) -> io::Result<Vec<Kept>> {
        if !self.disk.exists(&self.path) {
            return Ok(Vec::new());
        }
        let file = self.disk.open(&self.path, OpenMode::Read)?;
        let len = file.len()?;
        if len > FILE_BYTES_MAX {
            return Err(io::Error::other("it is too large"));
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        file.read_exact_at(0, &mut bytes)?;
        let mut kept: Vec<Kept> = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
        kept.truncate(REQUESTS_MAX);
        Ok(kept)
    }

    fn write(&self, waiting: &Mutex<VecDeque<Waiting>>) -> io::Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: Vec<Kept> = {
            let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.iter().map(|one| Kept { id: one.id.clone(), taken_us: one.taken_us }).collect()
        };
        self.disk.create_directory(&self.folder)?;
        let next = self.path.with_extension("requests.next");
        if self.disk.exists(&next) {
            self.disk.remove(&next)?;
        }
        let file = self.disk.open(&next, OpenMode::CreateNew)?;
        file.write_all_at(0, &serde_json::to_vec(&kept).map_err(io::Error::other)?)?;
        file.sync_data()?;
        self.disk.rename(&next, &self.path)?;
        self.disk.sync_directory(&self.folder)
    }
}

fn is_plain(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(plain)
}

/// What a question about a request came to.
enum Heard {
    /// Whether all of it was done.
    Outcome(bool),
    /// Google does not know yet, or says nothing that can be read.
    Nothing,
    /// The quota is spent.
    Limited { after_ms: u64 },
}

/// Whether a request went well, once Google knows.
async fn answer(api: &Api, id: &str) -> Heard {
    let path = format!("/requestStatus:retrieve?requestId={id}");
    let response = match api.call(Method::Get, &path, String::new()).await {
        Ok(response) => response,
        Err(Verdict::Later { after_ms: Some(after_ms), .. }) => return Heard::Limited { after_ms },
        Err(_) => return Heard::Nothing,
    };
    let statuses = serde_json::from_slice::<Statuses>(&response.body).ok().filter(|_| response.status == 200);
    let statuses = statuses.map(|statuses| statuses.request_status_per_destination).unwrap_or_default();
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
                tracing::warn!(request = id, status, ?reasons, "google did not do all of a request");
            }
            _ => return Heard::Nothing,
        }
    }
    if statuses.is_empty() { Heard::Nothing } else { Heard::Outcome(went_well) }
}

fn now_ms(api: &Api) -> u64 {
    api.clock.monotonic_ns() / 1_000_000
}
