//! The ingest door over the shard: where events go, and what operators have set.

use crate::api::{Context, log_time};
use crate::telemetry::{RequestTrace, Traces};
use anyhow::Context as _;
use collect::http::{
    Door, DoorOptions, MAX_SCRIPT_BYTES, MAX_SCRIPTS, OpenDoor, ScriptError, Scripts, Trace, Tracer,
};
use collect::plan::Plan;
use collect::rules::{KeyRules as DoorRules, Rate};
use collect::settings::{
    DefaultCurrency, DoorSettings, IdentitySettings, QuarantineBounds, WriteKey as DoorKey,
    WriteKeyKind as DoorKind,
};
use collect::sink::{Done, Sink, SinkError};
use engage::{Engage, KeyRules, Settings, WriteKeyKind};
use engine::{Applied, Engine, SubmitError};
use hyper::http::request::Parts;
use model::event::IdentifierKind;
use model::id::Timestamp;
use model::normalise::PhoneCountry;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Hands events to the shard.
#[derive(Clone)]
struct ShardSink {
    engine: Engine<Engage>,
    /// Log time of requests that name none, where it is driven.
    driven: bool,
    /// The one request that this sink is for, if it is followed.
    followed: Option<Arc<RequestTrace>>,
}

impl Sink for ShardSink {
    fn submit(&self, records: Vec<u8>, count: u32, done: Done) -> Result<(), SinkError> {
        // A request that names no time moves a driven log time nowhere: time 0 is always past.
        self.hand_over(self.driven.then_some(Timestamp(0)), records, count, done)
    }

    fn submit_at(
        &self,
        log_time: Timestamp,
        records: Vec<u8>,
        count: u32,
        done: Done,
    ) -> Result<(), SinkError> {
        self.hand_over(Some(log_time), records, count, done)
    }
}

impl ShardSink {
    fn hand_over(
        &self,
        log_time: Option<Timestamp>,
        records: Vec<u8>,
        count: u32,
        done: Done,
    ) -> Result<(), SinkError> {
        let Some(followed) = self.followed.clone() else {
            let told = Box::new(move |result: Result<Applied, SubmitError>| {
                done(result.map(|_| ()).map_err(|error| refused(&error)));
            });
            return self.engine.submit(records, count, log_time, told).map_err(|error| refused(&error));
        };
        let told = Box::new(move |result: Result<Applied, SubmitError>| {
            done(result.map(|applied| followed.applied(applied.stages)).map_err(|error| refused(&error)));
        });
        self.engine.submit_followed(records, count, log_time, told).map_err(|error| refused(&error))
    }
}

/// Follows requests of the door into the shard.
struct DoorTracer {
    traces: Arc<Traces>,
    sink: ShardSink,
}

impl Tracer for DoorTracer {
    fn begin(&self, head: &Parts) -> Option<Arc<dyn Trace>> {
        let request = Arc::new(self.traces.begin(head.uri.path(), &head.headers)?);
        let sink = Arc::new(ShardSink { followed: Some(Arc::clone(&request)), ..self.sink.clone() });
        Some(Arc::new(Followed { request, sink }))
    }
}

/// A request of the door that is followed.
struct Followed {
    request: Arc<RequestTrace>,
    sink: Arc<ShardSink>,
}

impl Trace for Followed {
    fn received(&self, body_bytes: usize) {
        self.request.received(body_bytes);
    }

    fn parsed(&self, events: u32) {
        self.request.parsed(events);
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.sink) as Arc<dyn Sink>
    }

    fn answered(&self, status: u16) {
        self.request.answered(status);
    }
}

fn refused(error: &SubmitError) -> SinkError {
    match error {
        SubmitError::Full { retry_after_s } => SinkError::Full { retry_after_s: *retry_after_s },
        SubmitError::Unavailable { retry_after_s, .. } => {
            SinkError::Unavailable { retry_after_s: *retry_after_s }
        }
    }
}

/// Opens the door. Its threads end once it is closed; whoever closes it waits for them.
///
/// The door belongs to the context, so nothing in it may hold the context: neither would ever be dropped.
pub(super) fn open(
    context: &Context,
    options: DoorOptions,
) -> anyhow::Result<(OpenDoor, Vec<JoinHandle<()>>)> {
    let (engine, driven) = (context.engine.clone(), context.drive_log_time);
    let secrets = Arc::clone(&context.secrets);
    let sink = ShardSink { engine: engine.clone(), driven, followed: None };
    let tracer = context.traces.clone().map(|traces| {
        let sink = sink.clone();
        Arc::new(DoorTracer { traces, sink }) as Arc<dyn Tracer>
    });
    let door = Door {
        sink: Arc::new(sink),
        settings: Arc::clone(&context.door_settings),
        keys: context.secrets.keys.clone(),
        now: Arc::new(move || log_time(&engine, driven)),
        fresh: Arc::new(move || secrets.fresh()),
        tracer,
    };
    let threads = Mutex::new(Vec::new());
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body)?;
        threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    };
    let door = door.open(options, &spawn)?;
    Ok((door, threads.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

/// The operator's scripts, read once. Files of other kinds are nobody's to load.
pub(super) fn scripts(folder: &str) -> anyhow::Result<Scripts> {
    if folder.is_empty() {
        return Ok(Scripts::default());
    }
    let context = || format!("ingest.scripts: {folder} cannot be read");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_script = [".js", ".mjs", ".js.map"].iter().any(|ending| name.ends_with(ending));
        let about = std::fs::metadata(entry.path()).with_context(context)?;
        if !is_script || !about.is_file() {
            continue;
        }
        if about.len() > MAX_SCRIPT_BYTES as u64 {
            return Err(ScriptError::TooLarge { name }.into());
        }
        if files.len() >= MAX_SCRIPTS {
            return Err(ScriptError::TooMany.into());
        }
        let bytes = std::fs::read(entry.path()).with_context(context)?;
        files.push((name, bytes));
    }
    Ok(Scripts::new(files, xxhash_rust::xxh3::xxh3_64)?)
}

/// Brings what the door judges by up to what the shard has applied.
pub(crate) fn refresh_door(context: &Context) {
    let settings = context.engine.view().settings();
    let known = context.door_settings.load();
    context.door_settings.store(door_settings(&settings, context, &known));
}

fn door_settings(settings: &Settings, context: &Context, known: &DoorSettings) -> DoorSettings {
    let write_keys = settings.write_keys.iter().map(|key| {
        let kind = match key.kind {
            WriteKeyKind::Browser => DoorKind::Browser,
            WriteKeyKind::Server => DoorKind::Server,
        };
        let door = DoorKey { number: key.number, kind, enabled: key.enabled, value_counts: key.value_counts };
        (key.key.clone(), door)
    });
    let built_in = IdentifierKind::DEVICE_ID.0;
    let external_kinds = settings
        .identity
        .kinds
        .iter()
        .filter(|rule| rule.kind > built_in)
        .map(|rule| (rule.name.clone(), IdentifierKind(rule.kind)));
    let ingest = &context.config.ingest;
    let currency = <[u8; 3]>::try_from(ingest.default_currency.as_bytes());
    DoorSettings {
        write_keys: write_keys.collect(),
        rules: settings.key_rules.iter().map(|rules| (rules.number, rules_of(rules, &known.rules))).collect(),
        identity: IdentitySettings { external_kinds: external_kinds.collect() },
        default_country: PhoneCountry::find(&ingest.default_country),
        default_currency: currency.map(DefaultCurrency).unwrap_or_default(),
        quarantine: QuarantineBounds {
            rows_max: u32::try_from(ingest.quarantine_events_max).unwrap_or(u32::MAX),
            kept_s: u32::try_from(ingest.quarantine_days.saturating_mul(24 * 3_600)).unwrap_or(u32::MAX),
        },
        ..DoorSettings::default()
    }
}

/// The rules of one key, compiled. Those that the door knows already are kept: settings change more often than rules, and
/// a plan takes its time to compile.
fn rules_of(rules: &KeyRules, known: &HashMap<u32, Arc<DoorRules>>) -> Arc<DoorRules> {
    if let Some(known) = known.get(&rules.number).filter(|known| known.version == rules.version) {
        return Arc::clone(known);
    }
    Arc::new(DoorRules {
        version: rules.version,
        origins: rules.origins.iter().cloned().collect(),
        events: rules.events.iter().cloned().collect(),
        rate: rules.rate.map(|(events_per_s, burst_events)| Rate { events_per_s, burst_events }),
        // It was read before the log took it.
        plan: Plan::read(&rules.plan).ok().map(Arc::new),
    })
}
