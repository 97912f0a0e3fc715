//! Events that a tracking plan keeps out with their content: listed, shown, mended, sent again or discarded.
//!
//! The list is read from the shard's view, without the loop; contents are read from the log. `quarantine/resend.rs` sends
//! again. A number names an event for ever, and is gone with it.

mod contents;
mod resend;
mod select;
pub(crate) mod types;

pub(crate) use resend::{discard, resend};

use crate::api::{Answering, Call, Code, Context, PROFILE_PII, Problem, Reply, shown_value};
use crate::calendar::iso;
use contents::{Content, Contents};
use engage::HeldRow;
use model::event::{Event, IdentifierKind};
use model::profile::without_contacts;
use select::Filter;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use types::{HeldEvent, HeldIdentifier, HeldList, HeldReason, HeldShown};

/// Events of one answer.
const SHOWN_MAX: usize = 1_000;
/// Events of one answer where the request does not say.
const SHOWN_DEFAULT: usize = 100;
/// Reasons of one answer, the most frequent ones.
const REASONS_MAX: usize = 100;
/// How deep objects are searched for addresses and phone numbers.
const CONTACTS_DEPTH: usize = 16;

pub(crate) fn list(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let filter = Filter::of_query(&call)?;
        let limit = select::limit(call.parameter("limit"), SHOWN_DEFAULT, SHOWN_MAX)?;
        let before = call.parameter("before").map(|text| select::number(text, "before")).transpose()?;
        let view = context.engine.view();
        let mut rows: Vec<Arc<HeldRow>> = Vec::new();
        view.each_held(|row| {
            if filter.takes(row) {
                rows.push(Arc::clone(row));
            }
            true
        });
        let reasons = reasons(&rows);
        rows.retain(|row| before.is_none_or(|before| row.number < before));
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|row| row.number);
        let counts = view.held_counts();
        Reply::json(
            200,
            &HeldList {
                quarantined: rows.iter().map(|row| shown(row)).collect(),
                next,
                reasons,
                held: counts.held,
                taken: counts.taken,
                resent: counts.released,
                discarded: counts.discarded,
                dropped: counts.dropped,
                erased: counts.erased,
            },
        )
    })
}

pub(crate) fn get(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let number = call.capture().parse();
        let number = number
            .map_err(|_| Problem::new(Code::BadId, "the path ends with a number, as the list shows it"))?;
        let row = context.engine.view().held(number).ok_or_else(not_there)?;
        let own = Arc::clone(&context);
        let wanted = Arc::clone(&row);
        let reading = tokio::task::spawn_blocking(move || Contents::new(own.engine.log()).read(&wanted));
        let content =
            reading.await.map_err(|error| failed(&error.to_string()))?.map_err(|error| failed(&error))?;
        let content = content.ok_or_else(not_there)?;
        let clear = call.caller.has(PROFILE_PII);
        note_read(&context, &call, number, clear)?;
        Reply::json(200, &whole(&context, &row, &content, clear)?)
    })
}

/// Writes the audit line, before anything is shown.
fn note_read(context: &Context, call: &Call, number: u64, clear: bool) -> Result<(), Problem> {
    let noted = context.audit.quarantined(&call.caller.token_name, call.caller.token_number, number, clear);
    noted.map_err(|error| {
        tracing::error!(error = %error, "the audit log cannot be written: contents of the quarantine are not shown");
        Problem::new(Code::Unavailable, "the audit log cannot be written, so nothing personal is shown")
    })
}

fn not_there() -> Problem {
    Problem::new(
        Code::NoSuchEvent,
        "this event is not in quarantine: it was sent, discarded, or became too old",
    )
}

fn failed(error: &str) -> Problem {
    tracing::error!(error, "an event of the quarantine could not be read");
    Problem::new(Code::Internal, "the event could not be read; the server's log says why")
}

/// How many events there are of each name, word and place, the most frequent first.
fn reasons(rows: &[Arc<HeldRow>]) -> Vec<HeldReason> {
    let mut counts: BTreeMap<(u32, &str, &str, &str), (u64, &str)> = BTreeMap::new();
    for row in rows {
        let of = counts.entry((row.source, &row.name, &row.code, &row.place)).or_insert((0, &row.reason));
        of.0 += 1;
    }
    let mut reasons: Vec<HeldReason> = counts
        .into_iter()
        .map(|((write_key, event, code, place), (events, reason))| HeldReason {
            write_key,
            event: event.to_owned(),
            code: code.to_owned(),
            place: place.to_owned(),
            reason: reason.to_owned(),
            events,
        })
        .collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.events));
    reasons.truncate(REASONS_MAX);
    reasons
}

fn shown(row: &HeldRow) -> HeldShown {
    HeldShown {
        id: row.number,
        write_key: row.source,
        event: row.name.to_string(),
        code: row.code.to_string(),
        place: row.place.to_string(),
        reason: row.reason.to_string(),
        received_at: iso(row.received_at.0),
        position: row.position.0,
    }
}

fn whole(context: &Context, row: &HeldRow, content: &Content, clear: bool) -> Result<HeldEvent, Problem> {
    let event = Event::decode(&content.event).map_err(|error| failed(&error.to_string()))?;
    let settings = context.engine.view().settings();
    let identifiers = event.identifiers.as_slice().iter().map(|one| {
        let kind = IdentifierKind(one.kind);
        let rule = settings.identity.kinds.iter().find(|rule| rule.kind == one.kind);
        let (value, masked) = shown_value(kind, one.key, one.value, &context.secrets.keys, clear);
        let r#type = rule.map_or_else(|| format!("type_{}", one.kind), |rule| rule.name.clone());
        HeldIdentifier { r#type, value, masked }
    });
    Ok(HeldEvent {
        id: row.number,
        write_key: row.source,
        event: event.name.to_owned(),
        code: row.code.to_string(),
        place: row.place.to_string(),
        reason: row.reason.to_string(),
        received_at: iso(row.received_at.0),
        occurred_at: iso(event.occurred_at.0),
        message_id: event.message_id.to_owned(),
        from_server: event.from_server,
        identifiers: identifiers.collect(),
        properties: object(event.properties, clear),
        traits: object(event.traits, clear),
        context: object(event.context, clear),
    })
}

/// An object as it is shown: with addresses and phone numbers only to who may see them.
fn object(bytes: &[u8], clear: bool) -> Option<Value> {
    if bytes.is_empty() {
        return None;
    }
    let kept = if clear { bytes.to_vec() } else { without_contacts(bytes, CONTACTS_DEPTH) };
    serde_json::from_slice(&kept).ok()
}

/// Appends the series about the quarantine. They are the shard's own counts, so a restart does not begin them anew.
pub(crate) fn write_metrics(context: &Context, text: &mut String) {
    let counts = context.engine.view().held_counts();
    let series = [
        ("quarantined_events", "gauge", "Events in quarantine.", counts.held),
        ("quarantined_total", "counter", "Events that tracking plans put in quarantine.", counts.taken),
        (
            "quarantined_resent_total",
            "counter",
            "Events of the quarantine that were sent again.",
            counts.released,
        ),
        (
            "quarantined_discarded_total",
            "counter",
            "Events of the quarantine that operators discarded.",
            counts.discarded,
        ),
        (
            "quarantined_dropped_total",
            "counter",
            "Events of the quarantine that went because there were too many or they were too old.",
            counts.dropped,
        ),
    ];
    for (name, kind, help, value) in series {
        let name = format!("throughline_ingest_{name}");
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
}
