//! Sends requests over many kept-alive connections from a few threads, and measures how long answers take.
//!
//! Each lane is a thread with its connections. A closed lane sends the next request when the answer is there; an open
//! one sends at its own pace and counts from the moment a request was due, so that a server which stalls does not look
//! fast.

mod connection;

use super::Generator;
use super::latency::Latencies;
use super::request::{Batches, Source};
use crate::process::ServerProcess;
use connection::Connection;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The pause after a refusal or a broken connection.
const PAUSE: Duration = Duration::from_millis(50);

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// Each connection sends again as soon as it has its answer.
    Closed,
    /// All connections together send so many requests a second.
    PerSecond(f64),
}

/// One thread of load.
pub struct Lane {
    /// Where to.
    pub address: SocketAddr,
    /// Connections.
    pub clients: usize,
    /// When requests are sent.
    pub pace: Pace,
    /// Makes the requests, on the lane's own thread.
    pub source: Box<dyn FnOnce() -> Box<dyn Source> + Send>,
}

impl Lane {
    /// A lane of batches with so many events, or of single ones, to the ingest door.
    pub fn of_events(
        server: &ServerProcess,
        generator: Generator,
        events: u32,
        clients: usize,
        pace: Pace,
    ) -> Self {
        let (address, key) = (server.ports().ingest, server.keys().server_write_key.clone());
        Self {
            address,
            clients,
            pace,
            source: Box::new(move || {
                if events == 1 {
                    Box::new(Batches::single(address, &key, generator))
                } else {
                    Box::new(Batches::new(address, &key, generator, events))
                }
            }),
        }
    }
}

/// What a lane saw while it was recording.
#[derive(Clone, Debug, Default)]
pub struct LaneResult {
    /// How long answers with status 200 took.
    pub latencies: Latencies,
    /// Events of requests that got a 200, while recording or not.
    pub acknowledged_events: u64,
    /// Requests that got another answer, while recording or not.
    pub refused: u64,
    /// Events of requests that got no answer, while recording or not.
    pub unanswered_events: u64,
}

#[derive(Default)]
struct Signals {
    recording: AtomicBool,
    stopping: AtomicBool,
    acknowledged_events: AtomicU64,
    /// Lanes whose source has run dry or that have stopped.
    finished: AtomicU64,
}

/// Load that runs. Stop it with [`Load::stop`].
pub struct Load {
    signals: Arc<Signals>,
    threads: Vec<JoinHandle<std::io::Result<LaneResult>>>,
}

impl Load {
    /// Starts all lanes.
    pub fn start(lanes: Vec<Lane>) -> std::io::Result<Self> {
        let signals = Arc::new(Signals::default());
        let mut threads = Vec::new();
        for (number, lane) in lanes.into_iter().enumerate() {
            let signals = Arc::clone(&signals);
            let body = move || {
                let result = run_lane(lane, &signals);
                signals.finished.fetch_add(1, Relaxed);
                result
            };
            threads.push(std::thread::Builder::new().name(format!("load-{number}")).spawn(body)?);
        }
        Ok(Self { signals, threads })
    }

    /// Latencies count from now on.
    pub fn record(&self) {
        self.signals.recording.store(true, Relaxed);
    }

    /// Events that got a 200 since the start.
    pub fn acknowledged_events(&self) -> u64 {
        self.signals.acknowledged_events.load(Relaxed)
    }

    /// Whether every lane has nothing more to send.
    pub fn is_finished(&self) -> bool {
        self.signals.finished.load(Relaxed) == self.threads.len() as u64
    }

    /// Stops after the answers that are due. One result per lane.
    pub fn stop(self) -> anyhow::Result<Vec<LaneResult>> {
        self.signals.stopping.store(true, Relaxed);
        let mut results = Vec::new();
        for thread in self.threads {
            let result =
                thread.join().map_err(|_| anyhow::anyhow!("a thread of the load generator panicked"))?;
            results.push(result?);
        }
        Ok(results)
    }
}

fn run_lane(lane: Lane, signals: &Arc<Signals>) -> std::io::Result<LaneResult> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shared = Rc::new(LaneState {
        address: lane.address,
        source: RefCell::new((lane.source)()),
        result: RefCell::new(LaneResult::default()),
        signals: Arc::clone(signals),
    });
    let local = tokio::task::LocalSet::new();
    let started = Instant::now();
    for client in 0..lane.clients {
        let schedule = match lane.pace {
            Pace::Closed => None,
            Pace::PerSecond(rate) => Some(Schedule::of(started, rate, client, lane.clients)),
        };
        local.spawn_local(run_client(Rc::clone(&shared), schedule));
    }
    runtime.block_on(local);
    Ok(shared.result.take())
}

/// What the connections of a lane share. They run on one thread.
struct LaneState {
    address: SocketAddr,
    source: RefCell<Box<dyn Source>>,
    result: RefCell<LaneResult>,
    signals: Arc<Signals>,
}

/// When a connection's requests are due.
struct Schedule {
    next: Instant,
    every: Duration,
}

impl Schedule {
    fn of(started: Instant, rate: f64, client: usize, clients: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "there are few connections")]
        let (client, clients) = (client as f64, clients as f64);
        let every = Duration::from_secs_f64(clients / rate.max(1e-6));
        Self { next: started + every.mul_f64(client / clients), every }
    }

    /// Waits for the next request's moment and gives the instant from which its answer counts: late timers of our own
    /// are not the server's fault, a connection that was still busy is.
    async fn due(&mut self) -> Instant {
        let due = self.next;
        self.next += self.every;
        if Instant::now() >= due {
            return due;
        }
        tokio::time::sleep_until(due.into()).await;
        Instant::now()
    }
}

async fn run_client(lane: Rc<LaneState>, mut schedule: Option<Schedule>) {
    let mut connection = None;
    let mut request = Vec::new();
    while !lane.signals.stopping.load(Relaxed) {
        let from = match &mut schedule {
            Some(schedule) => schedule.due().await,
            None => Instant::now(),
        };
        request.clear();
        let events = lane.source.borrow_mut().render(&mut request);
        if events == 0 {
            return;
        }
        if exchange(&lane, &mut connection, &request, events, from).await.is_err() {
            connection = None;
            lane.result.borrow_mut().unanswered_events += u64::from(events);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn exchange(
    lane: &LaneState,
    connection: &mut Option<Connection>,
    request: &[u8],
    events: u32,
    from: Instant,
) -> std::io::Result<()> {
    let open = match connection {
        Some(open) => open,
        None => connection.insert(Connection::open(lane.address).await?),
    };
    let status = open.exchange(request).await?;
    if status == 200 {
        lane.signals.acknowledged_events.fetch_add(u64::from(events), Relaxed);
        let mut result = lane.result.borrow_mut();
        result.acknowledged_events += u64::from(events);
        if lane.signals.recording.load(Relaxed) {
            result.latencies.add(u64::try_from(from.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        return Ok(());
    }
    lane.result.borrow_mut().refused += 1;
    tokio::time::sleep(PAUSE).await;
    Ok(())
}
