//! Sends slices over several connections, and asks about purchases the moment they are accepted.

use super::Stage;
use super::between::Between;
use super::listener::Listener;
use super::slices::{Batch, Slice, Slicer};
use super::story::{Door, Question};
use crate::http_client::{Client, Credential, Endpoint, HttpError, Request, Response, RetryPolicy};
use crate::terminal::Terminal;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde::Deserialize;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// One in so many questions is followed by one whose answer must be no.
const CONTROL_EVERY: u64 = 8;
/// A product that nobody can have bought.
const NEVER_SOLD: &str = "never-sold";
/// Violations told in words; all are counted.
const VIOLATIONS_TOLD_MAX: usize = 20;
/// After a wrong answer it is asked again so often, to tell late from never.
const ASKED_AGAIN_MAX: u32 = 200;
const ASKED_AGAIN_EVERY: Duration = Duration::from_millis(5);

/// How far it is, for whoever draws it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) accepted: AtomicU64,
    pub(super) log_time_us: AtomicI64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Events with a 200.
    pub(super) accepted: u64,
    /// Requests with events, and how long each took to its 200, in microseconds.
    pub(super) posts_us: Vec<u32>,
    /// Times that a request had to be sent again.
    pub(super) retries: u64,
    /// From each asked purchase's 200 to the answer that it is suppressed, in microseconds.
    pub(super) suppressed_us: Vec<u32>,
    /// Purchases whose first answer was not suppressed.
    pub(super) violations: u64,
    pub(super) controls: u64,
    /// Answers that suppressed what nobody bought.
    pub(super) false_suppressions: u64,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.posts_us.extend(other.posts_us);
        self.retries += other.retries;
        self.suppressed_us.extend(other.suppressed_us);
        self.violations += other.violations;
        self.controls += other.controls;
        self.false_suppressions += other.false_suppressions;
    }
}

struct Work {
    log_time_us: i64,
    batches: Vec<Batch>,
}

/// Sends everything, one slice after the other.
pub(super) fn send_all(
    slicer: &mut Slicer<'_>,
    between: &mut Between,
    lanes: usize,
    stage: &dyn Stage,
    progress: &Progress,
    terminal: &Terminal,
    listener: &Listener,
) -> Result<Outcome> {
    let addresses = Addresses::of(stage)?;
    std::thread::scope(|scope| {
        let mut posts = Vec::new();
        let mut workers = Vec::new();
        for _ in 0..lanes {
            let (inbox, take) = sync_channel::<Work>(1);
            let (tell_done, done) = sync_channel::<Result<()>>(1);
            let lane = Lane::new(&addresses, progress, terminal, listener);
            workers.push(scope.spawn(move || lane.run(&take, &tell_done)));
            posts.push(Post { inbox, done });
        }
        let sent = hand_out(slicer, between, &posts, progress);
        // Without its inbox a lane ends.
        drop(posts);
        let mut outcome = Outcome::default();
        for worker in workers {
            outcome.add(worker.join().map_err(|_| anyhow!("a sending thread ended in a panic"))?);
        }
        sent.map(|()| outcome)
    })
}

/// The two ends that a lane is spoken to by. Each lane has its own, so that one that ended is noticed.
struct Post {
    inbox: SyncSender<Work>,
    done: Receiver<Result<()>>,
}

fn hand_out(
    slicer: &mut Slicer<'_>,
    between: &mut Between,
    posts: &[Post],
    progress: &Progress,
) -> Result<()> {
    let ended = || anyhow!("a sending thread ended early");
    let mut next = slicer.next();
    while let Some(slice) = next.take() {
        between.before(&slice)?;
        let Slice { log_time_us, lanes } = slice;
        progress.log_time_us.store(log_time_us, Relaxed);
        let mut at_work = Vec::with_capacity(posts.len());
        for (post, batches) in posts.iter().zip(lanes) {
            if !batches.is_empty() {
                post.inbox.send(Work { log_time_us, batches }).map_err(|_| ended())?;
                at_work.push(post);
            }
        }
        // The next slice is written while this one is on its way.
        next = slicer.next();
        for post in at_work {
            post.done.recv().map_err(|_| ended())??;
        }
        let next_us = next.as_ref().map(|slice| slice.log_time_us);
        between.after(&slicer.story.people, log_time_us, next_us)?;
    }
    Ok(())
}

/// Where to send what, and with which key.
struct Addresses {
    ingest: Endpoint,
    profiles: Endpoint,
    browser: Credential,
    server: Credential,
    decide: Credential,
}

impl Addresses {
    fn of(stage: &dyn Stage) -> Result<Self> {
        Ok(Self {
            ingest: Endpoint::parse(&format!("http://{}", stage.ingest()))?,
            profiles: Endpoint::parse(&format!("http://{}", stage.profiles()))?,
            browser: Credential::WriteKey(stage.browser_write_key().to_owned()),
            server: Credential::WriteKey(stage.server_write_key().to_owned()),
            decide: Credential::Bearer(stage.profile_token().to_owned()),
        })
    }
}

/// One connection to the door, and one to the place that decides.
struct Lane<'a> {
    browser: Client,
    server: Client,
    decide: Client,
    progress: &'a Progress,
    terminal: &'a Terminal,
    listener: &'a Listener,
    policy: RetryPolicy,
    outcome: Outcome,
}

#[derive(Debug, Deserialize)]
struct Decision {
    suppressed: bool,
    #[serde(default)]
    why: serde_json::Value,
}

impl<'a> Lane<'a> {
    fn new(
        addresses: &Addresses,
        progress: &'a Progress,
        terminal: &'a Terminal,
        listener: &'a Listener,
    ) -> Self {
        let Addresses { ingest, profiles, browser, server, decide } = addresses;
        Self {
            browser: Client::new(ingest.clone(), browser),
            server: Client::new(ingest.clone(), server),
            decide: Client::new(profiles.clone(), decide),
            progress,
            terminal,
            listener,
            policy: RetryPolicy::default(),
            outcome: Outcome::default(),
        }
    }

    fn run(mut self, inbox: &Receiver<Work>, tell_done: &SyncSender<Result<()>>) -> Outcome {
        while let Ok(work) = inbox.recv() {
            let mut result = Ok(());
            for batch in &work.batches {
                result = self.deliver(batch, work.log_time_us);
                if result.is_err() {
                    break;
                }
            }
            let failed = result.is_err();
            if tell_done.send(result).is_err() || failed {
                break;
            }
        }
        self.outcome
    }

    fn deliver(&mut self, batch: &Batch, log_time_us: i64) -> Result<()> {
        let headers = [("X-Throughline-Log-Time", log_time_us.to_string())];
        let request = Request { method: "POST", path: "/v1/batch", headers: &headers, body: &batch.body };
        let client = match batch.door {
            Door::Browser => &mut self.browser,
            Door::Server => &mut self.server,
        };
        let began = Instant::now();
        let retries = &mut self.outcome.retries;
        let terminal = self.terminal;
        let response = self.policy.send(client, request, &mut |outcome, wait| {
            *retries += 1;
            terminal.say(&format!("the door is busy: {}; again in {wait:?}", describe(outcome)));
        })?;
        let accepted_at = Instant::now();
        ensure!(
            response.status == 200,
            "the door refused a batch of {} events with {}: {}",
            batch.events,
            response.status,
            response.quote()
        );
        self.outcome.posts_us.push(micros(accepted_at.duration_since(began)));
        self.outcome.accepted += batch.events;
        self.progress.accepted.fetch_add(batch.events, Relaxed);
        match &batch.question {
            Some(question) => {
                self.listener.expect(&question.user_id.to_string(), began, accepted_at);
                self.ask(question, accepted_at)
            }
            None => Ok(()),
        }
    }

    /// Asks for another device or address of the buyer, at once. Only the first answer counts.
    fn ask(&mut self, question: &Question, accepted_at: Instant) -> Result<()> {
        let product_id = question.product_id.to_string();
        let decision = self.decide(question, &product_id, &question.category)?;
        if decision.suppressed {
            self.outcome.suppressed_us.push(micros(accepted_at.elapsed()));
        } else {
            self.outcome.violations += 1;
            if self.outcome.violations <= VIOLATIONS_TOLD_MAX as u64 {
                self.tell_violation(question, &product_id, &decision)?;
            }
        }
        if (self.outcome.suppressed_us.len() as u64).is_multiple_of(CONTROL_EVERY) {
            self.outcome.controls += 1;
            if self.decide(question, NEVER_SOLD, NEVER_SOLD)?.suppressed {
                self.outcome.false_suppressions += 1;
            }
        }
        Ok(())
    }

    fn tell_violation(&mut self, question: &Question, product_id: &str, first: &Decision) -> Result<()> {
        let began = Instant::now();
        let mut later = "not within a second".to_owned();
        for _ in 0..ASKED_AGAIN_MAX {
            std::thread::sleep(ASKED_AGAIN_EVERY);
            if self.decide(question, product_id, &question.category)?.suppressed {
                later = format!("after another {} ms", began.elapsed().as_millis());
                break;
            }
        }
        self.terminal.say(&format!(
            "VIOLATION: order {} was accepted, but {} {:?} was not suppressed for product {product_id} ({}); \
             suppressed {later}",
            question.order_id, question.identifier.0, question.identifier.1, first.why
        ));
        Ok(())
    }

    fn decide(&mut self, question: &Question, product_id: &str, category: &str) -> Result<Decision> {
        let (kind, value) = &question.identifier;
        let body = serde_json::json!({
            "identifiers": [{"type": kind, "value": value}],
            "product_id": product_id,
            "category": category,
        });
        let body = body.to_string();
        let request = Request { method: "POST", path: "/v1/decide", headers: &[], body: body.as_bytes() };
        let retries = &mut self.outcome.retries;
        let response = self.policy.send(&mut self.decide, request, &mut |_, _| *retries += 1)?;
        if response.status != 200 {
            bail!("/v1/decide answered {}: {}", response.status, response.quote());
        }
        serde_json::from_slice(&response.body).with_context(|| {
            format!("/v1/decide answered something else than a decision: {}", response.quote())
        })
    }
}

fn describe(outcome: &Result<Response, HttpError>) -> String {
    match outcome {
        Ok(response) => format!("{} {}", response.status, response.quote()),
        Err(error) => error.to_string(),
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
