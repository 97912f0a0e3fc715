//! The private listeners: operators and metrics at `listen.admin`, profile reads and decisions at `listen.profiles`.
//!
//! [`table`] is the one table of routes. `http` finds the row for a request, checks Host, token, size and time, and
//! calls its handler; `openapi` turns the same rows into `docs/openapi.json`.

mod admin;
mod auth;
mod command;
mod content;
mod definitions;
mod health;
mod http;
mod openapi;
mod people;
mod places;
mod problem;
mod read;
mod route;
pub(crate) mod shape;
mod table;
pub(crate) mod types;
mod write_keys;

pub(crate) use admin::{changed, effect_id as parse_effect};
pub(crate) use auth::{ADMIN, DECIDE, PROFILE_PII, PROFILE_READ, hash_of, token_of};
pub(crate) use command::{execute, idempotency_of, number_for};
pub(crate) use definitions::largest_audiences;
pub(crate) use health::{readiness_of, status_of};
pub(crate) use http::{Listening, Rules, listen};
pub(crate) use problem::{Code, Problem};
pub(crate) use read::{shown_identifiers, shown_value};
pub(crate) use route::{Answering, Call, Listener, Reply, Stream};
pub(crate) use table::routes;
pub(crate) use types::ErasureStatus;

use crate::calendar;
use crate::config::Config;
use crate::deliver::Deliveries;
use crate::feed::Feeds;
use crate::page::Pages;
use crate::serve::{AuditLog, Backfills, Erasures, Instant, Secrets};
use crate::telemetry::Traces;
use collect::http::OpenDoor;
use collect::settings::SettingsCell;
use delivery::JournalKeys;
use delivery::egress::Egress;
use engage::Engage;
use engine::Engine;
use model::id::Timestamp;
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;

/// Everything that handlers work with.
pub(crate) struct Context {
    pub(crate) engine: Engine<Engage>,
    pub(crate) config: Config,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) audit: AuditLog,
    pub(crate) erasures: Arc<Erasures>,
    pub(crate) feeds: Arc<Feeds>,
    pub(crate) backfills: Arc<Backfills>,
    pub(crate) deliveries: Deliveries,
    pub(crate) egress: Egress,
    pub(crate) journal_keys: Option<JournalKeys>,
    pub(crate) door_settings: Arc<SettingsCell>,
    /// Set once the door is open.
    pub(crate) door: OnceLock<OpenDoor>,
    /// One change of settings at a time, so that the numbers of keys and tokens cannot meet.
    pub(crate) changing: Mutex<()>,
    /// Log time comes with requests; the clock drives nothing.
    pub(crate) drive_log_time: bool,
    pub(crate) started: Instant,
    pub(crate) pages: Pages,
    /// Where single requests are followed.
    pub(crate) traces: Option<Arc<Traces>>,
}

impl Context {
    /// Log time as readers should see it: the clock's, unless requests drive it.
    pub(crate) fn log_time(&self) -> Timestamp {
        log_time(&self.engine, self.drive_log_time)
    }

    /// What a submission without a log time of its own carries: it never moves a driven log time.
    pub(crate) fn submission_time(&self) -> Option<Timestamp> {
        self.drive_log_time.then_some(Timestamp(0))
    }
}

/// See [`Context::log_time`].
pub(crate) fn log_time(engine: &Engine<Engage>, driven: bool) -> Timestamp {
    let applied = engine.view().as_of().log_time;
    if driven { applied } else { applied.max(Timestamp(calendar::now_us())) }
}

/// `docs/openapi.json`: the OpenAPI 3.1 document of both listeners. A test holds the file against this.
pub fn openapi() -> String {
    let document = openapi::document(&table::routes());
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

/// The paths and methods of the document, with what they need: for tests that call every one of them.
pub fn operations() -> Vec<(&'static str, &'static str, Option<&'static str>)> {
    let scope = |access| match access {
        route::Access::Scope(scope) => Some(scope),
        route::Access::Family(_, all) => Some(all),
        route::Access::Probe | route::Access::Open => None,
    };
    table::routes().iter().map(|route| (route.verb.word(), route.path, scope(route.access))).collect()
}
