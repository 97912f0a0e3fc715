//! Carries spans to the collector, from a thread of its own.
//!
//! Whoever has spans puts them into a bounded queue and never waits: what does not fit is dropped and counted. The thread
//! gathers what comes within a second and posts it. What a collector cannot take now is posted again a few times; then it
//! is dropped and counted too, so a collector that is gone costs a bounded amount of memory and no request anything.

use super::span::Span;
use super::wire;
use bytes::Bytes;
use delivery::egress::{Caller, CallerLimits, Egress, EgressError, Request};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Traces that wait to be sent, each of some seven spans of about 200 bytes.
const TRACES_WAITING_MAX: usize = 1_024;
/// A request holds so many spans, and those of the trace that goes beyond.
const BATCH_SPANS: usize = 512;
/// How long the first span of a batch waits for more.
const BATCH_DELAY: Duration = Duration::from_secs(1);
/// How long one request may take.
const TIMEOUT_MS: u64 = 5_000;
/// A batch is posted so often at most.
const ATTEMPTS_MAX: u32 = 4;
/// The wait after the first failure; it doubles.
const BACKOFF: Duration = Duration::from_millis(500);
/// The longest wait that a collector may ask for.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// How long sending what is left may take at the end.
const FLUSH: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// No batch is larger: 519 spans, none with more than 20 attributes or 32 links.
const BODY_BYTES_MAX: usize = 4 << 20;

/// What became of the spans.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Taken by the collector.
    pub(super) exported: AtomicU64,
    /// Lost: the queue was full, the collector did not take them, or rejected them.
    pub(super) dropped: AtomicU64,
    /// Requests to the collector that failed.
    pub(super) failures: AtomicU64,
}

/// Where spans are put.
pub(super) struct Outbox {
    queue: mpsc::Sender<Vec<Span>>,
    pub(super) counters: Arc<Counters>,
}

impl Outbox {
    /// Takes the spans, or drops and counts them. Never waits.
    pub(super) fn put(&self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        if self.queue.try_send(spans).is_err() {
            self.counters.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// The thread that sends.
pub(super) struct Exporter {
    stopping: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Exporter {
    /// Sends what is left, for [`FLUSH`] at most.
    pub(super) fn stop(self) {
        self.stopping.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("the thread that exports traces panicked");
        }
    }
}

/// Starts the thread.
pub(super) fn start(egress: &Egress, url: String) -> std::io::Result<(Outbox, Exporter)> {
    let limits = CallerLimits {
        requests_max: 1,
        rate: None,
        request_bytes_max: BODY_BYTES_MAX,
        response_bytes_max: ANSWER_BYTES_MAX,
        timeout_ms: TIMEOUT_MS,
    };
    let (queue, waiting) = mpsc::channel(TRACES_WAITING_MAX);
    let (stopping, stop) = watch::channel(false);
    let counters = Arc::new(Counters::default());
    let carrier = Carrier {
        caller: egress.caller("telemetry.traces", limits),
        url,
        counters: Arc::clone(&counters),
        stop,
        failing: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new()
        .name("traces".to_owned())
        .spawn(move || runtime.block_on(carrier.run_until_stopped(waiting)))?;
    Ok((Outbox { queue, counters }, Exporter { stopping, thread }))
}

struct Carrier {
    caller: Caller,
    url: String,
    counters: Arc<Counters>,
    stop: watch::Receiver<bool>,
    /// Whether the last batch was lost: only changes are worth a line.
    failing: bool,
}

/// How a request to the collector went.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// It took the spans, except so many.
    Taken { rejected: u64 },
    /// It may take them later.
    Later { why: String, after: Option<Duration> },
    /// It will never take them.
    Never { why: String },
}

impl Carrier {
    async fn run_until_stopped(self, waiting: mpsc::Receiver<Vec<Span>>) {
        let mut stop = self.stop.clone();
        let overdue = async {
            // An error means that nobody could ask for a stop any more.
            let _ = stop.wait_for(|stop| *stop).await;
            tokio::time::sleep(FLUSH).await;
        };
        tokio::select! {
            () = self.run(waiting) => {}
            () = overdue => {}
        }
    }

    async fn run(mut self, mut waiting: mpsc::Receiver<Vec<Span>>) {
        loop {
            let first = tokio::select! {
                first = waiting.recv() => first,
                _ = self.stop.wait_for(|stop| *stop) => {
                    waiting.close();
                    waiting.recv().await
                }
            };
            let Some(mut batch) = first else { return };
            let gather = async {
                while batch.len() < BATCH_SPANS {
                    let Some(more) = waiting.recv().await else { return };
                    batch.extend(more);
                }
            };
            let mut stop = self.stop.clone();
            tokio::select! {
                () = gather => {}
                () = tokio::time::sleep(BATCH_DELAY) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            self.carry(batch).await;
        }
    }

    /// Posts a batch until it is taken, or for the last time.
    async fn carry(&mut self, batch: Vec<Span>) {
        let count = batch.len() as u64;
        let body = Bytes::from(wire::encode(batch));
        let mut backoff = BACKOFF;
        for attempt in 1..=ATTEMPTS_MAX {
            let (why, wait) = match self.post(body.clone()).await {
                Answer::Taken { rejected } => return self.taken(count, rejected.min(count)),
                Answer::Later { why, after } => (why, Some(after.unwrap_or(backoff).min(BACKOFF_MAX))),
                Answer::Never { why } => (why, None),
            };
            self.counters.failures.fetch_add(1, Ordering::Relaxed);
            let last = attempt == ATTEMPTS_MAX || *self.stop.borrow();
            let Some(wait) = wait.filter(|_| !last) else { return self.lost(count, &why) };
            backoff = backoff.saturating_mul(2);
            let mut stop = self.stop.clone();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
    }

    fn taken(&mut self, count: u64, rejected: u64) {
        self.counters.exported.fetch_add(count - rejected, Ordering::Relaxed);
        self.counters.dropped.fetch_add(rejected, Ordering::Relaxed);
        if std::mem::take(&mut self.failing) {
            tracing::info!("traces are exported again");
        }
    }

    fn lost(&mut self, count: u64, why: &str) {
        self.counters.dropped.fetch_add(count, Ordering::Relaxed);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(why, "traces are lost: the collector does not take them");
        }
    }

    async fn post(&self, body: Bytes) -> Answer {
        let request = Request::post(self.url.as_str(), body)
            .header("content-type", "application/x-protobuf")
            .map(|request| request.response_limit(ANSWER_BYTES_MAX, true));
        let response = match request {
            Ok(request) => self.caller.send(request).await,
            Err(error) => Err(error),
        };
        match response {
            Ok(response) => judged(response.status, response.header("retry-after"), &response.body),
            Err(error) => failed(&error),
        }
    }
}

/// OTLP specification 1.10, "OTLP/HTTP response": 429, 502, 503 and 504 may be tried again, other failures must not.
fn judged(status: u16, retry_after: Option<&str>, body: &[u8]) -> Answer {
    let why = format!("it answered with {status}");
    match status {
        200..300 => Answer::Taken { rejected: wire::rejected(body) },
        429 | 502 | 503 | 504 => {
            let after = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
            Answer::Later { why, after }
        }
        _ => Answer::Never { why },
    }
}

fn failed(error: &EgressError) -> Answer {
    let why = error.to_string();
    if error.is_transient() { Answer::Later { why, after: None } } else { Answer::Never { why } }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Outbox {
        /// One that a test reads.
        pub(in super::super) fn to_test() -> (Self, mpsc::Receiver<Vec<Span>>) {
            let (queue, exported) = mpsc::channel(TRACES_WAITING_MAX);
            (Self { queue, counters: Arc::default() }, exported)
        }
    }

    #[test]
    fn answers_are_judged_as_the_protocol_says() {
        let later = |status: u16, after_s: Option<u64>| Answer::Later {
            why: format!("it answered with {status}"),
            after: after_s.map(Duration::from_secs),
        };
        let never = |status: u16| Answer::Never { why: format!("it answered with {status}") };
        for (status, retry_after, body, expected) in [
            (200, None, &[][..], Answer::Taken { rejected: 0 }),
            (202, None, &[], Answer::Taken { rejected: 0 }),
            (200, None, &[0x0a, 2, 0x08, 3], Answer::Taken { rejected: 3 }),
            (429, Some("7"), &[], later(429, Some(7))),
            (503, Some("soon"), &[], later(503, None)),
            (502, None, &[], later(502, None)),
            (504, None, &[], later(504, None)),
            (500, None, &[], never(500)),
            (400, None, &[], never(400)),
            (404, Some("7"), &[], never(404)),
            (301, None, &[], never(301)),
        ] {
            assert_eq!(judged(status, retry_after, body), expected, "{status}");
        }
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (queue, waiting) = mpsc::channel(2);
        let outbox = Outbox { queue, counters: Arc::default() };
        let dropped = || outbox.counters.dropped.load(Ordering::Relaxed);
        outbox.put(Vec::new());
        outbox.put(Vec::new());
        assert_eq!(dropped(), 0);
        let span = super::super::request::tests::any_span();
        outbox.put(vec![span.clone(), span.clone()]);
        assert_eq!(dropped(), 2);
        drop(waiting);
        outbox.put(vec![span]);
        assert_eq!(dropped(), 3, "nobody sends any more");
    }
}
