//! Sends batches over one or more connections, and finds the messages that a refused batch was refused for.

use super::{PROBLEMS_TOLD_MAX, Problem, Summary};
use crate::calendar::iso;
use crate::http_client::{Client, Credential, Endpoint, HttpError, Request, Response, RetryPolicy};
use crate::terminal::Terminal;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Batches that wait for each connection.
const WAITING_PER_CONNECTION: usize = 2;

/// Hears what became of batches and messages, while others are still under way. An error ends everything.
pub(crate) trait Watcher: Sync {
    /// A message was refused, or a line is none; then `message` is empty.
    fn refused(&self, problem: &Problem, message: &[u8]) -> Result<(), String>;
    /// Everything of a batch was answered.
    fn done(&self, batch: u64) -> Result<(), String>;
}

/// Messages of one request, each with its line.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    messages: Vec<(u64, Vec<u8>)>,
    bytes: usize,
    /// What a [`Watcher`] knows it by.
    pub(crate) number: u64,
    /// When it left, by which the door corrects the times of its messages; of times that are facts, `None`.
    pub(crate) sent_at_us: Option<i64>,
}

impl Batch {
    pub(crate) fn push(&mut self, line: u64, message: Vec<u8>) {
        self.bytes += message.len() + 1;
        self.messages.push((line, message));
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What all connections share.
pub(crate) struct Delivery<'a> {
    endpoint: Endpoint,
    credential: Credential,
    policy: RetryPolicy,
    skip_bad: bool,
    terminal: &'a Terminal,
    watcher: Option<&'a dyn Watcher>,
    ended: AtomicBool,
    accepted: AtomicU64,
    summary: Mutex<Summary>,
}

impl<'a> Delivery<'a> {
    pub(crate) fn new(
        endpoint: Endpoint,
        credential: Credential,
        policy: RetryPolicy,
        skip_bad: bool,
        terminal: &'a Terminal,
    ) -> Self {
        Self {
            endpoint,
            credential,
            policy,
            skip_bad,
            terminal,
            watcher: None,
            ended: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            summary: Mutex::default(),
        }
    }

    /// The same, watched.
    pub(crate) fn watched_by(self, watcher: &'a dyn Watcher) -> Self {
        Self { watcher: Some(watcher), ..self }
    }

    /// Sends what `feed` gives, until it returns and all is sent.
    pub(crate) fn run(
        &self,
        connections: usize,
        feed: impl FnOnce(&mut dyn FnMut(Batch)) -> io::Result<()>,
    ) -> io::Result<()> {
        let (give, take) = sync_channel::<Batch>(connections * WAITING_PER_CONNECTION);
        let take = Mutex::new(take);
        std::thread::scope(|scope| {
            for _ in 0..connections {
                scope.spawn(|| self.work(&take));
            }
            let result = feed(&mut |batch| {
                let lost = batch.len() as u64;
                if give.send(batch).is_err() {
                    self.summary().not_sent += lost;
                }
            });
            // Without senders the workers end.
            drop(give);
            result
        })
    }

    /// Whether a problem ended it.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    pub(crate) fn count_line(&self) {
        self.summary().lines += 1;
    }

    /// A line that is no message.
    pub(crate) fn bad(&self, problem: Problem) {
        self.summary().bad += 1;
        self.tell(problem, b"");
    }

    pub(crate) fn into_summary(self) -> Summary {
        let mut summary = self.summary.into_inner().unwrap_or_else(PoisonError::into_inner);
        summary.accepted = self.accepted.into_inner();
        summary.problems.sort();
        summary
    }

    fn summary(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, problem: Problem, message: &[u8]) {
        if let Some(Err(why)) = self.watcher.map(|watcher| watcher.refused(&problem, message)) {
            self.end(why);
        }
        let Problem { line, reason } = &problem;
        let told = self.summary().problems.len();
        if told < PROBLEMS_TOLD_MAX {
            let noun = if self.watcher.is_some() { "row" } else { "line" };
            self.terminal.say(&format!("{noun} {line}: {reason}"));
        } else if told == PROBLEMS_TOLD_MAX {
            self.terminal.say("further problems are counted and not told");
        }
        if !self.skip_bad {
            self.end(format!("line {line}: {reason}; --skip-bad goes on after such lines"));
        }
        let mut summary = self.summary();
        // One more than is told marks that the last sentence was said.
        if summary.problems.len() <= PROBLEMS_TOLD_MAX {
            summary.problems.push(problem);
        }
    }

    fn end(&self, why: String) {
        self.ended.store(true, Relaxed);
        self.summary().ended_early.get_or_insert(why);
    }

    fn work(&self, take: &Mutex<Receiver<Batch>>) {
        let mut client = Client::new(self.endpoint.clone(), &self.credential);
        loop {
            let next = take.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(batch) = next else { return };
            let answered =
                batch.messages.is_empty() || self.deliver(&mut client, &batch.messages, batch.sent_at_us);
            if answered && let Some(Err(why)) = self.watcher.map(|watcher| watcher.done(batch.number)) {
                self.end(why);
            }
        }
    }

    /// Sends messages together; of those that are refused together, halves, until the one that is wrong is found.
    /// Whether all were answered.
    fn deliver(&self, client: &mut Client, messages: &[(u64, Vec<u8>)], sent_at_us: Option<i64>) -> bool {
        let count = messages.len() as u64;
        if self.has_ended() {
            // What has ended is not waited for: the queue is emptied, and said to be unsent.
            self.summary().not_sent += count;
            return false;
        }
        match self.post(client, messages, sent_at_us) {
            Ok(response) if (200..300).contains(&response.status) => {
                self.accepted.fetch_add(count, Relaxed);
                true
            }
            Ok(response) if matches!(response.status, 400 | 413 | 422) => match messages {
                [(line, message)] => {
                    self.summary().refused += 1;
                    let reason = format!("refused with {}: {}", response.status, response.quote());
                    self.tell(Problem { line: *line, reason }, message);
                    true
                }
                [] => true,
                several => {
                    let (first, second) = several.split_at(several.len() / 2);
                    let answered = self.deliver(client, first, sent_at_us);
                    self.deliver(client, second, sent_at_us) && answered
                }
            },
            Ok(response) => {
                self.summary().not_sent += count;
                self.end(format!(
                    "{} answered {}: {}",
                    self.endpoint.authority,
                    response.status,
                    response.quote()
                ));
                false
            }
            Err(error) => {
                self.summary().not_sent += count;
                self.end(error.to_string());
                false
            }
        }
    }

    fn post(
        &self,
        client: &mut Client,
        messages: &[(u64, Vec<u8>)],
        sent_at_us: Option<i64>,
    ) -> Result<Response, HttpError> {
        let mut body = b"{\"batch\":[".to_vec();
        for (index, (_, message)) in messages.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(message);
        }
        body.push(b']');
        if let Some(at_us) = sent_at_us {
            body.extend_from_slice(format!(",\"sentAt\":\"{}\"", iso(at_us)).as_bytes());
        }
        body.push(b'}');
        let request = Request { method: "POST", path: "/v1/batch", headers: &[], body: &body };
        self.summary().requests += 1;
        self.policy.send(client, request, &mut |outcome, wait| {
            let mut summary = self.summary();
            summary.retries += 1;
            summary.requests += 1;
            let why = match outcome {
                Ok(response) => format!("{} {}", response.status, response.quote()),
                Err(error) => error.to_string(),
            };
            self.terminal.say(&format!("{why}; again in {:.1} s", wait.as_secs_f64()));
        })
    }
}
