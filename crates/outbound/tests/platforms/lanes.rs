//! Real lanes: a source of rendered messages, permits that grant, and quick limits.

#![allow(clippy::disallowed_methods, reason = "tests clear their folders")]

use delivery::egress::{AllowRule, Egress, EgressOptions, Network, SystemResolver};
use delivery::env::Env;
use delivery::{
    BreakerOptions, Bytes, Class, LaneOptions, LaneParts, Later, Parcel, Permit, PermitRequest, Permits,
    RateOptions, RetryOptions, Runner, RunnerOptions, Source, SourceError, Supply,
};
use model::id::{EffectId, Key, Position, Timestamp, public_id};
use outbound::platform::Opened;
use outbound::render::{Message, render};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) fn egress() -> Egress {
    let network = Network::parse("127.0.0.1").unwrap();
    let allow = vec![AllowRule { network, ports: None, plain_http: true }];
    let options = EgressOptions { allow, connect_timeout_ms: 500, ..EgressOptions::default() };
    Egress::new(options, Arc::new(SystemResolver), Env::real().clock).unwrap()
}

pub(crate) fn fresh(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("platforms").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// Messages that can be added to while they are read.
#[derive(Default)]
pub(crate) struct Outbox(Mutex<Vec<Parcel>>);

impl Outbox {
    /// Issues a message about a person.
    pub(crate) fn issue(&self, kind: &str, person: u128, mut data: Value) {
        let mut parcels = self.0.lock().unwrap();
        let id = EffectId { position: Position(parcels.len() as u64 + 1), ordinal: 0 };
        let issued_at = Timestamp(Env::real().clock.now_us());
        data["profile"] = Value::from(public_id("prf", Key(person)));
        let data = data.to_string();
        let body = render(&Message { kind, id, issued_at, data: data.as_bytes() }).unwrap();
        parcels.push(Parcel {
            id,
            issued_at,
            kind: 1,
            about: None,
            subject: Key(person),
            class: Class::Transactional,
            idempotency_key: id.to_string(),
            body: Bytes::from(body),
        });
    }

    pub(crate) fn last(&self) -> Option<EffectId> {
        self.0.lock().unwrap().last().map(|parcel| parcel.id)
    }

    pub(crate) fn parcels(&self) -> Vec<Parcel> {
        self.0.lock().unwrap().clone()
    }
}

impl Source for Outbox {
    fn after(&self, after: Option<EffectId>, limit: usize) -> Later<'_, Result<Supply, SourceError>> {
        let parcels = self.0.lock().unwrap();
        let from = parcels.partition_point(|parcel| Some(parcel.id) <= after);
        let found = parcels[from..].iter().take(limit).cloned().collect();
        Box::pin(std::future::ready(Ok(Supply { parcels: found, ..Supply::default() })))
    }
}

struct Granted;

impl Permits for Granted {
    fn request(&self, _destination: &str, requests: Vec<PermitRequest>) -> Later<'_, Vec<Permit>> {
        Box::pin(std::future::ready(vec![Permit::Granted; requests.len()]))
    }

    fn crossed(&self, _destination: &str, _parcels: Arc<[Parcel]>) -> Later<'_, u64> {
        Box::pin(std::future::ready(0))
    }
}

/// The platform's own lane, with waits that suit a test.
pub(crate) fn quick(options: LaneOptions) -> LaneOptions {
    LaneOptions {
        flush_after_ms: 20,
        rate: options.rate.map(|_| RateOptions { attempts_per_second: 1_000, burst: 1_000 }),
        retry: RetryOptions { first_ms: 10, longest_ms: 100, attempts_max: 100, ..options.retry },
        breaker: BreakerOptions { failures: 1_000, ..options.breaker },
        ..options
    }
}

pub(crate) fn run(name: &str, opened: &Opened, outbox: &Arc<Outbox>) -> Runner {
    let lane = LaneParts {
        options: quick(opened.options.clone()),
        source: Arc::clone(outbox) as Arc<dyn Source>,
        destination: Arc::clone(&opened.destination),
    };
    let options = RunnerOptions::at(fresh(name).join("journal"));
    delivery::run(&Env::real(), options, vec![lane], Arc::new(Granted)).unwrap()
}

pub(crate) async fn settled(runner: &Runner, outbox: &Outbox) {
    runner.nudge();
    let mut through = runner.settled_through();
    let last = outbox.last();
    let done = through.wait_for(|through| *through >= last);
    let result = tokio::time::timeout(Duration::from_secs(60), done).await.map(|result| result.is_ok());
    assert_eq!(result, Ok(true), "{:#?}", runner.statuses());
}

pub(crate) fn identifiers(all: &[(&str, &str)]) -> Value {
    all.iter().map(|(kind, value)| json!({ "type": kind, "value": value })).collect()
}
