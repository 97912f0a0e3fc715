//! Listeners, threads and connections.

use crate::http::body::Budget;
use crate::http::completion::Completions;
use crate::http::gate::{Gate, KeptOut};
use crate::http::ingest;
use crate::http::scripts::Scripts;
use crate::http::trace::Tracer;
use crate::settings::SettingsCell;
use crate::sink::Sink;
use hyper::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::id::Timestamp;
use model::seal::Keys;
use socket2::{Domain, Protocol, Socket, Type};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Connections that the kernel holds for each thread until it accepts them.
const LISTEN_BACKLOG: i32 = 1_024;
/// Bytes of a request's head, and of its body read in one go.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
/// Headers of one request.
const HEADERS_MAX: usize = 64;
/// The pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What a connection beyond the limit is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
Content-Type: application/json\r\nContent-Length: 88\r\n\r\n\
{\"success\":false,\"code\":\"busy\",\"message\":\"too many connections; send the request again\"}";

/// Starts a named thread.
pub type Spawn<'a> = &'a dyn Fn(&str, Box<dyn FnOnce() + Send>) -> io::Result<()>;

/// What the door is made of. Clock and entropy come from outside, so that a test can hold them.
pub struct Door {
    /// Where events go.
    pub sink: Arc<dyn Sink>,
    /// What requests are judged by.
    pub settings: Arc<SettingsCell>,
    /// What identifiers are hashed and sealed with.
    pub keys: Keys,
    /// The time.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// 16 fresh random bytes.
    pub fresh: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
    /// Who follows single requests, if anybody does.
    pub tracer: Option<Arc<dyn Tracer>>,
}

/// How to listen.
#[derive(Clone, Debug)]
pub struct DoorOptions {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads, each with its own listener.
    pub threads: usize,
    /// Connections at a time.
    pub connections_max: usize,
    /// Bytes of requests that are being read or wait for the sink.
    pub in_flight_bytes_max: usize,
    /// How long a connection may take for the head of its next request, idle time included.
    pub head_timeout: Duration,
    /// How long a body may take.
    pub body_timeout: Duration,
    /// How long the sink may take before the client is told to send again.
    pub answer_timeout: Duration,
    /// How long open requests may take after [`OpenDoor::close`].
    pub close_timeout: Duration,
    /// What clients are told to wait where the sink does not say.
    pub retry_after_s: u32,
    /// Whether a proxy in front writes `X-Forwarded-For`.
    pub trust_forwarded_for: bool,
    /// Whether requests say what time it is, in `X-Throughline-Log-Time` (microseconds since 1970). Only for imports
    /// and demonstrations, in a data directory of their own.
    pub heed_log_time: bool,
    /// Scripts that pages load from here.
    pub scripts: Arc<Scripts>,
}

impl DoorOptions {
    /// Listens at `listen` on two threads, with bounds that suit a small machine.
    pub fn at(listen: SocketAddr) -> Self {
        Self {
            listen,
            threads: 2,
            connections_max: 10_000,
            in_flight_bytes_max: 256 * 1024 * 1024,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            // Below the 10 s after which Segment's SDKs hang up.
            answer_timeout: Duration::from_secs(9),
            close_timeout: Duration::from_secs(10),
            retry_after_s: 1,
            trust_forwarded_for: false,
            heed_log_time: false,
            scripts: Arc::default(),
        }
    }
}

/// Why the door did not open.
#[derive(Debug, Error)]
pub enum DoorError {
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {cause}; free the port or choose another address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start a thread of the door: {0}; raise the process limit")]
    Thread(io::Error),
}

/// What has come through since the door opened.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests answered with 200.
    pub accepted_requests: AtomicU64,
    /// Events in them.
    pub accepted_events: AtomicU64,
    /// Requests that were wrong (4xx but 429).
    pub refused_requests: AtomicU64,
    /// Requests that were told to come again (429, 5xx).
    pub deferred_requests: AtomicU64,
    /// Requests among them that came faster than the rules of their key allow.
    pub rate_limited_requests: AtomicU64,
    /// Events that the rules of their key kept out, under an answer of 200.
    pub set_aside_events: AtomicU64,
    /// Events that the plan of their key put in quarantine.
    pub quarantined_events: AtomicU64,
    /// Accepted events that are not as the plan of their key says.
    pub off_plan_events: AtomicU64,
    /// Connections that were turned away.
    pub refused_connections: AtomicU64,
    /// Connections that are open.
    pub open_connections: AtomicUsize,
}

/// A door that is open. Dropping it leaves it open for as long as the process runs.
pub struct OpenDoor {
    address: SocketAddr,
    shared: Arc<Shared>,
    closing: watch::Sender<bool>,
}

impl Door {
    /// Opens the door. Its threads are started through `spawn` and end after [`OpenDoor::close`].
    pub fn open(self, options: DoorOptions, spawn: Spawn<'_>) -> Result<OpenDoor, DoorError> {
        let (closing, closed) = watch::channel(false);
        let budget = Budget::new(options.in_flight_bytes_max);
        let mut address = options.listen;
        let threads = options.threads.max(1);
        let shared = Arc::new(Shared {
            door: self,
            options,
            budget,
            counters: Counters::default(),
            gate: Gate::default(),
            closing: AtomicBool::new(false),
        });
        for number in 0..threads {
            let listener = listen(address).map_err(|cause| DoorError::Listen { address, cause })?;
            address = listener.local_addr().map_err(|cause| DoorError::Listen { address, cause })?;
            let (shared, closed) = (shared.clone(), closed.clone());
            let body = Box::new(move || run_thread(listener, &shared, closed));
            spawn(&format!("collect-{number}"), body).map_err(DoorError::Thread)?;
        }
        Ok(OpenDoor { address, shared, closing })
    }
}

impl OpenDoor {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has come through.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// What the rules of write keys kept out lately, the newest first; at most 1,000, and none from before the start.
    pub fn kept_out(&self) -> Vec<KeptOut> {
        self.shared.gate.latest()
    }

    /// Bytes of requests that are being read or wait for the sink.
    pub fn in_flight_bytes(&self) -> usize {
        self.shared.budget.used_bytes()
    }

    /// Stops accepting, lets open requests finish within their time, then ends the threads.
    pub fn close(&self) {
        // Before the word that wakes the connections, which then look at it.
        self.shared.closing.store(true, Ordering::Release);
        self.closing.send_replace(true);
    }
}

/// What all threads of a door share.
pub(crate) struct Shared {
    pub(crate) door: Door,
    pub(crate) options: DoorOptions,
    pub(crate) budget: Arc<Budget>,
    pub(crate) counters: Counters,
    pub(crate) gate: Gate,
    /// What `closing` says, for connections to look at cheaply.
    closing: AtomicBool,
}

impl Shared {
    pub(crate) fn count_refusal(&self, status: StatusCode, code: &str) {
        let later = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        let counter = if later { &self.counters.deferred_requests } else { &self.counters.refused_requests };
        counter.fetch_add(1, Ordering::Relaxed);
        // The shard's "busy" is 429 too, and a code of its own tells them apart.
        if code == "rate_limited" {
            self.counters.rate_limited_requests.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One of the connections that count against the limit.
struct Admitted(Arc<Shared>);

impl Admitted {
    fn new(shared: &Arc<Shared>) -> Option<Self> {
        let admitted = Self(shared.clone());
        let before = shared.counters.open_connections.fetch_add(1, Ordering::Relaxed);
        (before < shared.options.connections_max).then_some(admitted)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.counters.open_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

fn run_thread(listener: std::net::TcpListener, shared: &Arc<Shared>, closed: watch::Receiver<bool>) {
    // Without a runtime this listener never answers; the kernel then gives its connections a reset when it is dropped.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() else {
        return;
    };
    runtime.block_on(async {
        let completions = Arc::new(Completions::default());
        tokio::spawn(Arc::clone(&completions).deliver());
        if let Ok(listener) = TcpListener::from_std(listener) {
            accept(listener, shared, &completions, closed).await;
        }
    });
}

async fn accept(
    listener: TcpListener,
    shared: &Arc<Shared>,
    completions: &Arc<Completions>,
    mut closed: watch::Receiver<bool>,
) {
    let (still_open, mut all_ended) = tokio::sync::mpsc::channel::<Infallible>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closed.wait_for(|closed| *closed) => break,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        match Admitted::new(shared) {
            Some(admitted) => {
                let (closed, still_open) = (closed.clone(), still_open.clone());
                let completions = Arc::clone(completions);
                tokio::spawn(async move {
                    serve(stream, peer, &admitted.0, &completions, closed).await;
                    drop(still_open);
                });
            }
            None => {
                shared.counters.refused_connections.fetch_add(1, Ordering::Relaxed);
                turn_away(&stream);
            }
        }
    }
    drop(listener);
    drop(still_open);
    let _ = tokio::time::timeout(shared.options.close_timeout, all_ended.recv()).await;
}

/// Says why, without waiting for anything: a client that does not read gets nothing.
fn turn_away(stream: &TcpStream) {
    let _ = stream.try_write(FULL);
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    completions: &Arc<Completions>,
    mut closed: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let (shared, completions) = (shared.clone(), completions.clone());
        async move { Ok::<_, Infallible>(ingest::answer(shared, &completions, request, peer).await) }
    });
    // Answers are flushed one by one: with hyper's flush for pipelines, the answer to broken HTTP would stay in the buffer
    // behind the bytes that nobody can read.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.options.head_timeout)
        .keep_alive(true)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    {
        // Asked once, it wakes this task by itself: asking again at each of a connection's steps would cost more than
        // some of the steps.
        let mut closing = pin!(closed.wait_for(|closed| *closed));
        let mut asked = false;
        let ended = poll_fn(|context| {
            if (!asked || shared.closing.load(Ordering::Acquire)) && closing.as_mut().poll(context).is_ready()
            {
                return Poll::Ready(false);
            }
            asked = true;
            connection.as_mut().poll(context).map(|_| true)
        });
        // A connection that breaks is the client's affair: it sends again.
        if ended.await {
            return;
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
