//! How fast a lane delivers: core, journal, permits, signatures, client and a receiver, all in this process.

use crate::webhook::{Secret, Webhook, WebhookConfig};
use delivery::egress::{AllowRule, Egress, EgressOptions, Network, SystemResolver};
use delivery::env::Env;
use delivery::{
    Bytes, Class, JournalOptions, LaneOptions, LaneParts, Later, Parcel, Permit, PermitRequest, Permits,
    Runner, RunnerOptions, Source, SourceError, Supply,
};
use model::id::{EffectId, Key, Position, Timestamp};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The receiver reads this much at once.
const BLOCK_BYTES: usize = 16 * 1024;
/// The most bytes of a request that the receiver holds.
const REQUEST_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How long the receiver and the end of the run are waited for.
const PATIENCE: Duration = Duration::from_secs(600);

/// What to measure.
#[derive(Clone, Debug)]
pub struct DeliverBench {
    /// A folder for the journal.
    pub folder: PathBuf,
    /// Effects to deliver.
    pub effects: u64,
    /// Bytes of each body.
    pub body_bytes: usize,
    /// Different subjects, in turn.
    pub subjects: u64,
    /// Requests under way.
    pub concurrency_max: usize,
    /// Every how many effects one is marketing, whose attempts are written down first; 0 for none.
    pub marketing_every: u64,
}

impl DeliverBench {
    /// 50,000 effects of 500 bytes for 10,000 subjects, 64 under way, no marketing.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            effects: 50_000,
            body_bytes: 500,
            subjects: 10_000,
            concurrency_max: 64,
            marketing_every: 0,
        }
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliverFigures {
    /// Effects that the receiver accepted.
    pub delivered: u64,
    /// How long it took, in microseconds.
    pub elapsed_us: u64,
    /// Requests that the receiver saw; more than `delivered` if some were repeated.
    pub received: u64,
    /// Half of the effects were accepted within so many milliseconds of the moment when they could first be sent; a power
    /// of two.
    pub lag_p50_ms: u64,
}

impl DeliverFigures {
    /// Effects a second.
    pub fn per_second(&self) -> u64 {
        let effects = u128::from(self.delivered) * 1_000_000 / u128::from(self.elapsed_us.max(1));
        u64::try_from(effects).unwrap_or(u64::MAX)
    }
}

/// Why nothing was measured.
#[derive(Debug, Error)]
pub enum BenchError {
    /// A socket failed.
    #[error("the receiver cannot listen: {0}. Check that loopback sockets are allowed")]
    Receiver(#[from] io::Error),
    /// The folder cannot be used.
    #[error("delivery did not start: {0}")]
    Run(#[from] delivery::RunError),
    /// The options cannot work.
    #[error("the options cannot work: {0}")]
    Options(String),
    /// It took too long.
    #[error("only {delivered} of {effects} effects were delivered: give it a faster disk or fewer effects")]
    TooSlow {
        /// How many were.
        delivered: u64,
        /// How many there are.
        effects: u64,
    },
}

/// Delivers to a receiver on this machine and measures. Call it on a runtime with I/O and time; the processor time is
/// that of the process, which the caller reads before and after.
pub async fn bench_deliver(env: &Env, bench: DeliverBench) -> Result<DeliverFigures, BenchError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let received = Arc::new(AtomicU64::new(0));
    let receiver = tokio::spawn(receive(listener, Arc::clone(&received)));
    let network = Network::parse("127.0.0.1").ok_or_else(|| BenchError::Options("no loopback".to_owned()))?;
    let options = EgressOptions {
        allow: vec![AllowRule { network, ports: Some(vec![port]), plain_http: true }],
        ..EgressOptions::default()
    };
    let options_error = |error: &dyn std::fmt::Display| BenchError::Options(error.to_string());
    let egress = Egress::new(options, Arc::new(SystemResolver), Arc::clone(&env.clock))
        .map_err(|error| options_error(&error))?;
    let secret = Secret::new("whsec_dGhyb3VnaGxpbmUtYmVuY2htYXJrLXNlY3JldA==");
    let mut config = WebhookConfig::new(&format!("http://127.0.0.1:{port}/"), secret);
    config.concurrency_max = bench.concurrency_max;
    let lane = LaneOptions { window_bytes_max: 64 * 1024 * 1024, ..config.lane("bench") };
    let webhook = Webhook::new("bench", config, &egress, Arc::clone(&env.clock))
        .map_err(|error| options_error(&error))?;
    let source = Made { bench: bench.clone(), issued_at: Timestamp(env.clock.now_us()) };
    let parts = LaneParts { options: lane, source: Arc::new(source), destination: Arc::new(webhook) };
    let began_ns = env.clock.monotonic_ns();
    let runner_options =
        RunnerOptions { journal: JournalOptions::default(), ..RunnerOptions::at(&bench.folder) };
    let runner = delivery::run(env, runner_options, vec![parts], Arc::new(AllGranted))?;
    let outcome = tokio::time::timeout(PATIENCE, all_delivered(&runner, bench.effects)).await;
    let elapsed_us = (env.clock.monotonic_ns() - began_ns) / 1_000;
    runner.stop().await;
    receiver.abort();
    let status = runner.statuses().into_iter().next().unwrap_or_default();
    if outcome.is_err() {
        return Err(BenchError::TooSlow { delivered: status.delivered, effects: bench.effects });
    }
    let lag_p50_ms = status.lag.quantile_ms(50);
    let received = received.load(Ordering::Relaxed);
    Ok(DeliverFigures { delivered: status.delivered, elapsed_us, received, lag_p50_ms })
}

async fn all_delivered(runner: &Runner, effects: u64) {
    let mut settled = runner.settled_through();
    let last = EffectId { position: Position(effects), ordinal: 0 };
    // The sender lives as long as the runner, which outlives this.
    let _ = settled.wait_for(|through| *through >= Some(last)).await;
}

/// Effects made up on demand, the same every time.
struct Made {
    bench: DeliverBench,
    issued_at: Timestamp,
}

impl Source for Made {
    fn after(&self, after: Option<EffectId>, limit: usize) -> Later<'_, Result<Supply, SourceError>> {
        let first = after.map_or(0, |id| id.position.0) + 1;
        let last = self.bench.effects.min(first.saturating_add(limit as u64) - 1);
        let parcels = (first..=last).map(|number| self.parcel(number)).collect();
        Box::pin(std::future::ready(Ok(Supply { parcels, ..Supply::default() })))
    }
}

impl Made {
    fn parcel(&self, number: u64) -> Parcel {
        let id = EffectId { position: Position(number), ordinal: 0 };
        let every = self.bench.marketing_every;
        let marketing = every > 0 && number.is_multiple_of(every);
        Parcel {
            id,
            issued_at: self.issued_at,
            kind: 1,
            about: None,
            subject: Key(u128::from(number % self.bench.subjects.max(1))),
            class: if marketing { Class::Marketing } else { Class::Transactional },
            idempotency_key: id.to_string(),
            body: Bytes::from(vec![b'x'; self.bench.body_bytes]),
        }
    }
}

struct AllGranted;

impl Permits for AllGranted {
    fn request(&self, _destination: &str, requests: Vec<PermitRequest>) -> Later<'_, Vec<Permit>> {
        Box::pin(std::future::ready(requests.iter().map(|_| Permit::Granted).collect()))
    }

    fn crossed(&self, _destination: &str, _parcels: Arc<[Parcel]>) -> Later<'_, u64> {
        Box::pin(std::future::ready(0))
    }
}

/// Answers every request with 204, reading no more of HTTP than it must: the receiver is not what is measured.
async fn receive(listener: TcpListener, received: Arc<AtomicU64>) {
    while let Ok((stream, _)) = listener.accept().await {
        let received = Arc::clone(&received);
        tokio::spawn(async move {
            // A connection that breaks is the sender's to notice.
            let _ = receive_on(stream, &received).await;
        });
    }
}

async fn receive_on(mut stream: TcpStream, received: &AtomicU64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut held = Vec::new();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        if let Some(len) = request_len(&held) {
            held.drain(..len);
            received.fetch_add(1, Ordering::Relaxed);
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
            continue;
        }
        let count = stream.read(&mut block).await?;
        if count == 0 || held.len() > REQUEST_BYTES_MAX {
            return Ok(());
        }
        held.extend_from_slice(block.get(..count).unwrap_or_default());
    }
}

/// The length of the first request, if it is there whole.
fn request_len(bytes: &[u8]) -> Option<usize> {
    let head_len = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(bytes.get(..head_len)?).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let whole = head_len.checked_add(length.unwrap_or(0))?;
    (bytes.len() >= whole).then_some(whole)
}
