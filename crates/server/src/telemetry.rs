//! Traces: single requests followed through every stage, and sent to a collector of OpenTelemetry.
//!
//! `sampler` chooses few requests, by chance or because the sender asks for it ([`traceparent`]), never more a second
//! than set. `request` notes when one of them passed each stage and makes spans of that; `deliveries` makes one of each
//! attempt to deliver what such a request led to. `exporter` sends them, in the form of `wire`, from a thread and
//! through an egress client of its own: a collector that is slow or gone costs spans, which are counted, and no request
//! anything.
//!
//! **Spans never hold** anything personal, a write key, or a value that somebody sent beside the ids of `traceparent`:
//! only the path of a known route, numbers, positions of the log, and names of destinations.

mod deliveries;
mod exporter;
mod metrics;
mod request;
mod sampler;
mod span;
mod traceparent;
mod wire;

pub(crate) use deliveries::FollowedDestination;
pub(crate) use metrics::write_metrics;
pub(crate) use request::RequestTrace;

use crate::config::Config;
use crate::deliver::allow_rules;
use deliveries::Recent;
use delivery::egress::{
    AllowRule, Egress, EgressError, EgressOptions, Host, Network, SystemResolver, Target,
};
use env::{Clock, Entropy, Env};
use exporter::{Exporter, Outbox};
use hyper::HeaderMap;
use sampler::{Admission, Rate, Sampler};
use span::{Moment, SpanId, TraceId};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use traceparent::Traceparent;

/// What collectors listen at below the endpoint (OTLP specification 1.10, "OTLP/HTTP request").
const TRACES_PATH: &str = "/v1/traces";

/// Everything about traces, where an endpoint is set.
pub(crate) struct Traces {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    sampler: Sampler,
    /// Attempts of deliveries that become spans.
    delivery_rate: Rate,
    recent: Recent,
    outbox: Outbox,
    exporter: Mutex<Option<Exporter>>,
    /// Requests followed.
    followed: AtomicU64,
    /// Requests and deliveries that were to be followed and were not, because of the rate.
    over_rate: AtomicU64,
}

impl Traces {
    /// Starts what exports, if an endpoint is set. The clock of `env` must be the shard's: times of both are compared.
    pub(crate) fn start(config: &Config, env: &Env) -> anyhow::Result<Option<Arc<Self>>> {
        let settings = &config.telemetry.traces;
        if settings.endpoint.is_empty() {
            return Ok(None);
        }
        let url = traces_url(&settings.endpoint)?;
        let egress = egress(config, &url, env)?;
        let mut seed = [0; 8];
        env.entropy.fill(&mut seed)?;
        let (outbox, exporter) = exporter::start(&egress, url)?;
        Ok(Some(Arc::new(Self {
            clock: Arc::clone(&env.clock),
            entropy: Arc::clone(&env.entropy),
            sampler: Sampler::new(
                settings.sample_per_million,
                settings.per_second_max,
                u64::from_le_bytes(seed),
            ),
            delivery_rate: Rate::new(settings.per_second_max),
            recent: Recent::default(),
            outbox,
            exporter: Mutex::new(Some(exporter)),
            followed: AtomicU64::new(0),
            over_rate: AtomicU64::new(0),
        })))
    }

    /// Whether the request with these headers is followed. Nearly all are not, and pay for the look at one header and
    /// one draw.
    pub(crate) fn begin(self: &Arc<Self>, path: &str, headers: &HeaderMap) -> Option<RequestTrace> {
        let parent = Traceparent::of(headers);
        if !self.sampler.wants(parent.as_ref()) {
            return None;
        }
        let started = self.now();
        if self.sampler.admit(parent.is_some(), started.monotonic_ns) == Admission::OverRate {
            self.over_rate.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let trace = RequestTrace::new(self, path, parent, started)?;
        self.followed.fetch_add(1, Ordering::Relaxed);
        Some(trace)
    }

    /// Sends what is left, for a short time, and ends the thread.
    pub(crate) fn stop(&self) {
        let exporter = self.exporter.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(exporter) = exporter {
            exporter.stop();
        }
    }

    fn now(&self) -> Moment {
        Moment { unix_us: self.clock.now_us(), monotonic_ns: self.clock.monotonic_ns() }
    }

    /// Fresh ids, or none where the system has no entropy: then nothing is followed.
    fn fresh_trace_id(&self) -> Option<TraceId> {
        self.fresh().map(TraceId)
    }

    fn fresh_span_id(&self) -> Option<SpanId> {
        self.fresh().map(SpanId)
    }

    fn fresh<const BYTES: usize>(&self) -> Option<[u8; BYTES]> {
        let mut bytes = [0; BYTES];
        self.entropy.fill(&mut bytes).ok()?;
        // All zeros mean that there is no id. They come once in 2^64 times, and cost one trace.
        bytes.iter().any(|byte| *byte != 0).then_some(bytes)
    }
}

/// Why the endpoint cannot be used, as far as that is known without asking a resolver.
pub(crate) fn check(config: &Config) -> Result<(), EgressError> {
    let endpoint = &config.telemetry.traces.endpoint;
    if endpoint.is_empty() {
        return Ok(());
    }
    let url = traces_url(endpoint)?;
    match egress(config, &url, &Env::real()) {
        Ok(egress) => egress.check(&url).map(|_| ()),
        // What is wrong is not the endpoint; the start says it.
        Err(_) => Ok(()),
    }
}

/// Where spans are posted.
fn traces_url(endpoint: &str) -> Result<String, EgressError> {
    Target::parse(endpoint)?;
    if endpoint.contains('?') {
        let what = "has a query: leave it out, and let a collector of your own add what another one needs";
        return Err(EgressError::BadUrl { what });
    }
    Ok(format!("{}{TRACES_PATH}", endpoint.trim_end_matches('/')))
}

/// A client of its own: an address that the operator writes down as the endpoint may be connected to, at that port, and
/// no destination may use that.
fn egress(config: &Config, url: &str, env: &Env) -> anyhow::Result<Egress> {
    let mut allow = allow_rules(&config.delivery.allow).unwrap_or_default();
    let target = Target::parse(url)?;
    if let Host::Address(address) = target.host {
        let length_bits = if address.is_ipv4() { 32 } else { 128 };
        let network = Network::parse(&format!("{address}/{length_bits}"));
        allow.extend(network.map(|network| AllowRule {
            network,
            ports: Some(vec![target.port]),
            plain_http: !target.tls,
        }));
    }
    let options = EgressOptions { allow, connections_max: 2, ..EgressOptions::default() };
    Ok(Egress::new(options, Arc::new(SystemResolver), Arc::clone(&env.clock))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use env::seeded::World;
    use tokio::sync::mpsc;

    /// Traces that are exported to a test, in a world whose clock stands.
    pub(super) struct TestTraces {
        pub(super) traces: Arc<Traces>,
        exported: mpsc::Receiver<Vec<span::Span>>,
    }

    impl TestTraces {
        pub(super) fn start(sample_per_million: u64) -> Self {
            let env = World::new(1, 1_795_304_740_000_000).env();
            let (outbox, exported) = Outbox::to_test();
            let traces = Arc::new(Traces {
                clock: env.clock,
                entropy: env.entropy,
                sampler: Sampler::new(sample_per_million, 10, 1),
                delivery_rate: Rate::new(10),
                recent: Recent::default(),
                outbox,
                exporter: Mutex::default(),
                followed: AtomicU64::new(0),
                over_rate: AtomicU64::new(0),
            });
            Self { traces, exported }
        }

        pub(super) fn exported(&mut self) -> Option<Vec<span::Span>> {
            self.exported.try_recv().ok()
        }
    }

    fn checked(endpoint: &str, allow: &str) -> Result<(), &'static str> {
        let mut config = Config::default();
        config.telemetry.traces.endpoint = endpoint.to_owned();
        config.delivery.allow = allow.to_owned();
        check(&config).map_err(|error| error.code())
    }

    #[test]
    fn an_endpoint_is_an_address_that_the_operator_wrote_or_follows_the_rules_of_egress() {
        for (endpoint, allow, expected) in [
            ("", "", Ok(())),
            ("http://127.0.0.1:4318", "", Ok(())),
            ("http://127.0.0.1:4318/", "", Ok(())),
            ("http://[::1]:4318/otlp", "", Ok(())),
            ("https://10.1.2.3:4318", "", Ok(())),
            ("https://collector.example", "", Ok(())),
            ("http://collector.example:4318", "", Err("plain_http")),
            ("http://collector.example:4318", "10.0.0.0/8+http", Ok(())),
            ("127.0.0.1:4318", "", Err("bad_url")),
            ("ftp://127.0.0.1", "", Err("bad_url")),
            ("http://user:secret@127.0.0.1:4318", "", Err("bad_url")),
            ("https://collector.example/?key=1", "", Err("bad_url")),
            ("nonsense", "", Err("bad_url")),
        ] {
            assert_eq!(checked(endpoint, allow), expected, "{endpoint} {allow}");
        }
    }

    #[test]
    fn spans_are_posted_below_the_endpoint() {
        for (endpoint, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("https://collector.example/otlp/", "https://collector.example/otlp/v1/traces"),
        ] {
            assert_eq!(traces_url(endpoint).unwrap(), url);
        }
    }

    #[test]
    fn the_allowance_is_for_the_endpoint_and_nothing_beside_it() {
        let env = Env::real();
        let mut config = Config::default();
        config.telemetry.traces.endpoint = "http://127.0.0.1:4318".to_owned();
        let egress = egress(&config, "http://127.0.0.1:4318/v1/traces", &env).unwrap();
        assert!(egress.check("http://127.0.0.1:4318/v1/traces").is_ok());
        assert!(egress.check("http://127.0.0.1:4319/v1/traces").is_err());
        assert!(egress.check("http://127.0.0.2:4318/v1/traces").is_err());
        let destinations = crate::deliver::egress(&env, &config.delivery.allow).unwrap();
        assert!(destinations.check("http://127.0.0.1:4318/v1/traces").is_err());
    }
}
