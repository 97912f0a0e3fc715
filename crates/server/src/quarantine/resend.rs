//! Sends events of the quarantine again, and discards them.
//!
//! What makes an event count once is the shard: a released event counts if, and only if, its row is in quarantine, and in
//! the same step the row goes. So a call that was cut off may be sent again as it is, whatever became of it, and two calls
//! at a time share the events between them. Nothing is remembered here.

use super::contents::Contents;
use super::select::{Selected, selected};
use super::types::{HeldDiscarded, HeldResent, HeldSelection, HeldStays, HeldTried};
use super::{failed, note_read, object};
use crate::api::{Answering, Call, Code, Context, PROFILE_PII, Problem, Reply as Answer, execute};
use collect::mend::Mapping;
use collect::wire::{Encoding, Stays};
use engage::{HeldRow, Operation, QuarantineChange, Reply};
use engine::{Applied, SubmitError};
use model::event::Event;
use model::record::{RecordKind, encode_record};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Events that a dry run shows.
const TRIED_MAX: usize = 20;
/// Bytes of events that one call works on; what is beyond is for the next.
const BYTES_MAX: usize = 8 << 20;

/// A selection, mended and judged.
#[derive(Default)]
struct Prepared {
    /// Records to be sent, and how many.
    records: Vec<u8>,
    count: u32,
    stays: Vec<(Arc<HeldRow>, Stays)>,
    gone: u64,
    tried: Vec<HeldTried>,
    /// The last event that was looked at, if there are more.
    next: Option<u64>,
}

pub(crate) fn resend(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let given: HeldSelection = call.json()?;
        let mapping = given.mapping.as_ref().map_or(Ok(Mapping::default()), Mapping::read);
        let mapping = mapping.map_err(|error| Problem::at(Code::BadValue, "mapping", error.to_string()))?;
        let dry_run = given.dry_run.unwrap_or(false);
        let clear = call.caller.has(PROFILE_PII);
        let (own, selected) = (Arc::clone(&context), selected(&context, &given)?);
        let preparing =
            tokio::task::spawn_blocking(move || prepare(&own, &selected, &mapping, dry_run.then_some(clear)));
        let prepared =
            preparing.await.map_err(|error| failed(&error.to_string()))?.map_err(|error| failed(&error))?;
        for tried in &prepared.tried {
            note_read(&context, &call, tried.id, clear)?;
        }
        let (sent, gone) = if dry_run {
            (u64::from(prepared.count), prepared.gone)
        } else {
            let sent = send(&context, prepared.records, prepared.count).await?;
            judge(&context, &prepared.stays).await?;
            (sent, prepared.gone + u64::from(prepared.count) - sent)
        };
        let stayed = prepared.stays.into_iter().map(|(row, stays)| HeldStays {
            id: row.number,
            code: stays.code.to_owned(),
            place: stays.place,
            reason: stays.reason,
        });
        let tried = dry_run.then_some(prepared.tried);
        Answer::json(200, &HeldResent { sent, stayed: stayed.collect(), gone, tried, next: prepared.next })
    })
}

pub(crate) fn discard(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let given: HeldSelection = call.json()?;
        if given.mapping.is_some() || given.dry_run.is_some() {
            let message = "what is discarded is not mended: leave mapping and dry_run out".to_owned();
            return Err(Problem::at(Code::BadValue, "mapping", message));
        }
        let Selected { rows, more, .. } = selected(&context, &given)?;
        let next = rows.last().filter(|_| more).map(|row| row.number);
        let numbers: Vec<u64> = rows.iter().map(|row| row.number).collect();
        let discarded =
            if numbers.is_empty() { 0 } else { change(&context, QuarantineChange::Discard(numbers)).await? };
        Answer::json(200, &HeldDiscarded { discarded, next })
    })
}

/// Reads, mends and judges. `shown` keeps some events before and after, and says whether addresses may be seen.
fn prepare(
    context: &Context,
    selected: &Selected,
    mapping: &Mapping,
    shown: Option<bool>,
) -> Result<Prepared, String> {
    let settings = context.door_settings.load();
    let fresh = || [0; 16];
    let encoding = Encoding { keys: &context.secrets.keys, settings: &settings, fresh: &fresh };
    let mut contents = Contents::new(context.engine.log());
    let mut prepared = Prepared { gone: selected.gone, ..Prepared::default() };
    let mut bytes = 0;
    for (index, row) in selected.rows.iter().enumerate() {
        let content = contents.read(row)?;
        let event = content.as_ref().map(|content| Event::decode(&content.event)).transpose();
        let (Some(content), Ok(Some(event))) = (&content, event) else {
            prepared.gone += 1;
            continue;
        };
        let again = encoding.again(&event, content.received_at, mapping);
        // A mapping may make an event longer than it was.
        bytes += content.event.len() + again.properties.len();
        if let Some(clear) = shown.filter(|_| prepared.tried.len() < TRIED_MAX) {
            prepared.tried.push(HeldTried {
                id: row.number,
                fits: again.event.is_ok(),
                event: event.name.to_owned(),
                event_after: again.name,
                before: object(event.properties, clear),
                after: object(again.properties.as_bytes(), clear),
            });
        }
        match again.event {
            Ok(body) => {
                encode_record(&mut prepared.records, RecordKind::RELEASED, &body);
                prepared.count += 1;
            }
            Err(stays) => prepared.stays.push((Arc::clone(row), stays)),
        }
        let is_last = index + 1 == selected.rows.len();
        if bytes > BYTES_MAX || is_last {
            prepared.next = (selected.more || !is_last).then_some(row.number);
            break;
        }
    }
    Ok(prepared)
}

/// Hands the events to the shard, all of them in one go, and waits. Returns how many were still in quarantine.
async fn send(context: &Context, records: Vec<u8>, count: u32) -> Result<u64, Problem> {
    if count == 0 {
        return Ok(0);
    }
    let (word, verdict) = oneshot::channel::<Result<Applied, SubmitError>>();
    let done = Box::new(move |result| {
        let _ = word.send(result);
    });
    context.engine.submit(records, count, context.submission_time(), done)?;
    let applied = verdict.await.map_err(|_| {
        let message = "the shard stopped before it answered; send the request again: nothing is sent twice";
        Problem::new(Code::Unavailable, message)
    })??;
    let replies = applied.replies.iter().filter_map(|(_, bytes)| Reply::decode(bytes).ok());
    Ok(replies.filter(|reply| matches!(reply, Reply::Quarantine(1))).count() as u64)
}

/// What does not fit has its new reason.
async fn judge(context: &Context, stays: &[(Arc<HeldRow>, Stays)]) -> Result<(), Problem> {
    let differs = |(row, stays): &&(Arc<HeldRow>, Stays)| {
        (&*row.code, &*row.place, &*row.reason) != (stays.code, stays.place.as_str(), stays.reason.as_str())
    };
    let judged: Vec<_> = stays
        .iter()
        .filter(differs)
        .map(|(row, stays)| (row.number, stays.code.to_owned(), stays.place.clone(), stays.reason.clone()))
        .collect();
    if !judged.is_empty() {
        change(context, QuarantineChange::Judge(judged)).await?;
    }
    Ok(())
}

async fn change(context: &Context, change: QuarantineChange) -> Result<u64, Problem> {
    match execute(context, None, Operation::Quarantine(change)).await? {
        Reply::Quarantine(count) => Ok(u64::from(count)),
        _ => {
            Err(Problem::new(Code::Internal, "the shard gave an answer that does not belong to this request"))
        }
    }
}
