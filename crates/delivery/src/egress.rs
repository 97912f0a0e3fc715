//! The one client through which anything is fetched or posted because somebody configured or sent a URL.
//!
//! What it holds to, whoever asks:
//! - `https`, unless the operator allows plain HTTP to an address;
//! - a URL has one spelling ([`Target`]); hosts are never put together from templates;
//! - a name is resolved once, every address that it leads to is checked, and only a checked address is connected to;
//!   it stays pinned for the life of the connection;
//! - private, loopback, link-local, metadata and other special addresses are refused, also as IPv6 forms of IPv4
//!   ([`forbidden`]), unless the operator allows them. One such address among several refuses the name;
//! - redirects are not followed unless the request says so, and each hop is checked like the first;
//! - every size, time, count and rate has a bound, per caller where callers could hurt each other.
//!
//! Proxy settings of the environment are not heeded: a proxy would connect where we did not look.

mod address;
mod connect;
mod error;
mod exchange;
mod pool;
mod request;
mod resolve;
mod target;
mod tls;

pub use address::{AllowRule, Network, forbidden};
pub use connect::{Connector, Sockets, Stream};
pub use error::EgressError;
pub use request::{Method, Redirects, Request, Response};
pub use resolve::{Resolver, SystemResolver};
pub use target::{Host, Target, URL_BYTES_MAX};
pub use tls::{Root, read_roots};

use crate::core::Bucket;
use crate::error::OptionsError;
use crate::options::RateOptions;
use env::Clock;
use pool::Pool;
use resolve::Remembered;
use rustls::ClientConfig;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// hyper needs this much to read a head.
const HEAD_BYTES_MIN: usize = 8 * 1024;

/// How the client behaves for everybody.
#[derive(Clone, Debug)]
pub struct EgressOptions {
    /// Where the operator lets it connect although it would refuse.
    pub allow: Vec<AllowRule>,
    /// Certificate authorities beside the public ones.
    pub extra_roots: Vec<Root>,
    /// Connections that may be open, idle ones included.
    pub connections_max: usize,
    /// How long a connection may take to be made, TLS included, in milliseconds, for each address.
    pub connect_timeout_ms: u64,
    /// How long an idle connection is kept, in milliseconds.
    pub idle_ms: u64,
    /// How long an answer of the resolver is used, in milliseconds; 0 to ask for every request. What it leads to is
    /// checked for every request all the same.
    pub resolve_ms: u64,
    /// Bytes of the head of an answer; at least 8,192.
    pub head_bytes_max: usize,
}

impl Default for EgressOptions {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            extra_roots: Vec::new(),
            connections_max: 256,
            connect_timeout_ms: 5_000,
            idle_ms: 30_000,
            resolve_ms: 10_000,
            head_bytes_max: 32 * 1024,
        }
    }
}

/// What one caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerLimits {
    /// Requests under way.
    pub requests_max: usize,
    /// How fast requests may begin; a redirect counts as one more.
    pub rate: Option<RateOptions>,
    /// Bytes of a request's body.
    pub request_bytes_max: usize,
    /// Bytes of an answer's body.
    pub response_bytes_max: usize,
    /// How long a request may take, redirects included, in milliseconds. A request may ask for less.
    pub timeout_ms: u64,
}

impl Default for CallerLimits {
    fn default() -> Self {
        Self {
            requests_max: 64,
            rate: None,
            request_bytes_max: 2 * 1024 * 1024,
            response_bytes_max: 1024 * 1024,
            timeout_ms: 10_000,
        }
    }
}

/// What the client has done since it was made.
#[derive(Debug, Default)]
pub struct EgressCounters {
    /// Connections made.
    pub connected: AtomicU64,
    /// Requests sent on a connection that was there already.
    pub reused: AtomicU64,
    /// Questions to the resolver.
    pub resolved: AtomicU64,
    /// Requests refused for where they lead.
    pub refused: AtomicU64,
}

/// The client. Cloning is cheap: the parts are shared.
#[derive(Clone)]
pub struct Egress {
    inner: Arc<Inner>,
}

struct Inner {
    options: EgressOptions,
    tls: Arc<ClientConfig>,
    resolver: Arc<dyn Resolver>,
    clock: Arc<dyn Clock>,
    connector: Arc<dyn Connector>,
    remembered: Remembered,
    pool: Pool,
    places: Arc<Semaphore>,
    /// Requests that wait for a place.
    waiting: AtomicUsize,
    counters: EgressCounters,
}

impl Egress {
    /// A client that resolves names with `resolver`, reads time from `clock` and connects over the machine's sockets.
    pub fn new(
        options: EgressOptions,
        resolver: Arc<dyn Resolver>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OptionsError> {
        Self::over(Arc::new(Sockets), options, resolver, clock)
    }

    /// A client over another network than the machine's: a simulated one.
    pub fn over(
        connector: Arc<dyn Connector>,
        options: EgressOptions,
        resolver: Arc<dyn Resolver>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OptionsError> {
        let bad = |option: &'static str, what: &str| {
            Err(OptionsError { lane: "egress".to_owned(), option, what: what.to_owned() })
        };
        if options.connections_max == 0 || options.connections_max > Semaphore::MAX_PERMITS {
            return bad("connections_max", "must be at least 1");
        }
        if options.connect_timeout_ms == 0 {
            return bad("connect_timeout_ms", "must be at least 1");
        }
        if options.head_bytes_max < HEAD_BYTES_MIN {
            return bad("head_bytes_max", "must be at least 8192");
        }
        let inner = Inner {
            tls: tls::client_config(&options.extra_roots)?,
            places: Arc::new(Semaphore::new(options.connections_max)),
            options,
            resolver,
            clock,
            connector,
            remembered: Remembered::default(),
            pool: Pool::default(),
            waiting: AtomicUsize::new(0),
            counters: EgressCounters::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A caller with limits of its own. Its name appears in errors.
    pub fn caller(&self, name: &str, limits: CallerLimits) -> Caller {
        let now_us = self.inner.now_us();
        Caller {
            inner: Arc::clone(&self.inner),
            name: name.to_owned(),
            limits,
            bucket: limits.rate.map(|rate| Mutex::new(Bucket::new(rate, now_us))),
            under_way: Semaphore::new(limits.requests_max.min(Semaphore::MAX_PERMITS)),
        }
    }

    /// Checks a URL as far as that is possible without a resolver: for configuration.
    pub fn check(&self, url: &str) -> Result<Target, EgressError> {
        let target = Target::parse(url)?;
        match &target.host {
            Host::Address(address) => self.inner.admit(&target, &[*address])?,
            Host::Name(_) => self.inner.admit_scheme(&target)?,
        }
        Ok(target)
    }

    /// What it has done.
    pub fn counters(&self) -> &EgressCounters {
        &self.inner.counters
    }

    /// Connections that wait for a request.
    pub fn idle_connections(&self) -> usize {
        self.inner.pool.len()
    }

    /// Closes connections that have waited too long. Call it now and then.
    pub fn tend(&self) {
        self.inner.pool.trim(self.inner.idle_since_us(), false);
    }
}

/// Somebody who makes requests, within limits that no other caller can use up.
pub struct Caller {
    inner: Arc<Inner>,
    name: String,
    limits: CallerLimits,
    bucket: Option<Mutex<Bucket>>,
    under_way: Semaphore,
}

impl Caller {
    /// Makes a request and reads the answer.
    pub async fn send(&self, request: Request) -> Result<Response, EgressError> {
        if request.body.len() > self.limits.request_bytes_max {
            let limit = self.limits.request_bytes_max;
            let what = format!("has a body of {} bytes, the limit is {limit}", request.body.len());
            return Err(EgressError::BadRequest { what });
        }
        let target = Target::parse(&request.url)?;
        let _under_way = self.under_way.try_acquire().map_err(|_| EgressError::Limited {
            caller: self.name.clone(),
            what: "requests_max",
            wait_ms: 100,
        })?;
        let timeout_ms = request.timeout_ms.unwrap_or(u64::MAX).min(self.limits.timeout_ms);
        let progress = exchange::Progress::default();
        let work = self.follow(target.clone(), request, &progress);
        match tokio::time::timeout(Duration::from_millis(timeout_ms), work).await {
            Ok(result) => result,
            Err(_) => Err(EgressError::Timeout {
                target: target.to_string(),
                timeout_ms,
                sent: progress.maybe_sent(),
            }),
        }
    }

    async fn follow(
        &self,
        mut target: Target,
        mut request: Request,
        progress: &exchange::Progress,
    ) -> Result<Response, EgressError> {
        let mut hops_left = match request.redirects {
            Redirects::Never => 0,
            Redirects::Follow { hops_max } => hops_max,
        };
        loop {
            self.take_token()?;
            let limit_bytes =
                request.response_bytes_max.unwrap_or(usize::MAX).min(self.limits.response_bytes_max);
            let response = self.inner.exchange(&target, &request, limit_bytes, progress).await?;
            if request.redirects == Redirects::Never || !request.follows(response.status) {
                return Ok(response);
            }
            let Some(location) = response.header("location") else { return Ok(response) };
            if hops_left == 0 {
                let why = "more often than the request allows";
                return Err(EgressError::Redirect { target: target.to_string(), why });
            }
            hops_left -= 1;
            let refused =
                |cause| EgressError::RedirectRefused { target: target.to_string(), cause: Box::new(cause) };
            let next = target.join(location).map_err(refused)?;
            // Refused here already where that needs no resolver, so that the error says who redirected.
            if let Host::Address(address) = next.host {
                self.inner.admit(&next, &[address]).map_err(refused)?;
            } else {
                self.inner.admit_scheme(&next).map_err(refused)?;
            }
            if !next.same_origin(&target) {
                request.forget_secrets();
            }
            target = next;
        }
    }

    fn take_token(&self) -> Result<(), EgressError> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        let now_us = self.inner.now_us();
        let taken = bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now_us);
        taken.map_err(|at_us| EgressError::Limited {
            caller: self.name.clone(),
            what: "rate",
            wait_ms: at_us.saturating_sub(now_us).div_ceil(1_000),
        })
    }
}

impl Inner {
    fn now_us(&self) -> u64 {
        self.clock.monotonic_ns() / 1_000
    }

    fn idle_since_us(&self) -> u64 {
        self.now_us().saturating_sub(self.options.idle_ms.saturating_mul(1_000))
    }

    /// Refuses a target if any of its addresses is refused.
    fn admit(&self, target: &Target, addresses: &[std::net::IpAddr]) -> Result<(), EgressError> {
        for address in addresses {
            let mut rules = self.options.allow.iter().filter(|rule| rule.covers(*address, target.port));
            let refusal = if let Some(rule) = rules.next() {
                (!target.tls && !rule.plain_http && !rules.any(|rule| rule.plain_http))
                    .then(|| EgressError::PlainHttp { target: target.to_string() })
            } else if let Some(why) = forbidden(*address) {
                let target = target.to_string();
                Some(EgressError::ForbiddenAddress { target, address: *address, why })
            } else {
                (!target.tls).then(|| EgressError::PlainHttp { target: target.to_string() })
            };
            if let Some(refusal) = refusal {
                self.counters.refused.fetch_add(1, Ordering::Relaxed);
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Refuses plain HTTP where no rule could allow it, before anybody is asked for an address.
    fn admit_scheme(&self, target: &Target) -> Result<(), EgressError> {
        if target.tls || self.options.allow.iter().any(|rule| rule.plain_http) {
            return Ok(());
        }
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        Err(EgressError::PlainHttp { target: target.to_string() })
    }
}
