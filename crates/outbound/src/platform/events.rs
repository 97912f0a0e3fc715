//! What all platforms that take events have in common: reading parcels, calling in batches, settling each parcel.

use super::answer::{Verdict, Verdicts, call_in_halves};
use super::api::{Api, Counters};
use super::message::{Choice, Event, PersonMessage};
use delivery::{LaneOptions, Later, Outcome, Parcel};
use std::sync::atomic::AtomicU64;

/// How long one attempt of a lane may take, in milliseconds.
const ATTEMPT_TIMEOUT_MS: u64 = 120_000;

/// The lane of a platform that takes events in batches.
pub(super) fn lane(name: &str, batch_parcels_max: usize, concurrency_max: usize) -> LaneOptions {
    LaneOptions {
        concurrency_max,
        batch_parcels_max,
        batch_bytes_max: 8 * 1024 * 1024,
        // A call for each event would spend the platform's quota in minutes.
        flush_after_ms: 1_000,
        attempt_timeout_ms: ATTEMPT_TIMEOUT_MS,
        window_parcels_max: batch_parcels_max.saturating_mul(4).max(4_096),
        window_bytes_max: 64 * 1024 * 1024,
        ..LaneOptions::named(name)
    }
}

/// Sends a batch: `build` makes the platform's form of an event, or says why it cannot be sent; `call` makes one call.
pub(super) async fn send<'a>(
    api: &'a Api,
    verdicts: &Verdicts,
    parcels: &[Parcel],
    timeout_ms: u64,
    build: impl Fn(&PersonMessage, &Event) -> Result<serde_json::Value, Verdict>,
    call: impl Fn(Vec<serde_json::Value>) -> Later<'a, Verdict>,
) -> Outcome {
    let out_of_time = api.out_of_time(timeout_ms);
    let mut all = verdicts.recall(parcels);
    let mut built: Vec<(usize, serde_json::Value)> = Vec::new();
    for (place, parcel) in parcels.iter().enumerate() {
        let Some(slot) = all.get_mut(place) else { continue };
        if slot.is_some() {
            continue;
        }
        match read(parcel).and_then(|(message, event)| build(&message, &event)) {
            Ok(event) => built.push((place, event)),
            Err(verdict) => {
                let counter: &AtomicU64 = &api.counters.refused_here;
                Counters::add(counter, 1);
                *slot = Some(verdict);
            }
        }
    }
    let heard = call_in_halves(built.len(), built.len(), out_of_time, |part| {
        let events = built.get(part).unwrap_or_default();
        let call = call(events.iter().map(|(_, event)| event.clone()).collect());
        // Every platform drops repeats by the event's id, for 48 hours at least; a lane gives up after 24.
        Box::pin(async move { call.await.repeatable() })
    });
    for ((place, _), verdict) in built.iter().zip(heard.await) {
        if let Some(slot) = all.get_mut(*place) {
            *slot = Some(verdict);
        }
    }
    let all = all.into_iter().map(|verdict| verdict.unwrap_or_else(|| Verdict::later("not_reached")));
    verdicts.settle(parcels, all.collect())
}

fn read(parcel: &Parcel) -> Result<(PersonMessage, Event), Verdict> {
    let mut message = PersonMessage::read(&parcel.body).map_err(|error| Verdict::refused(error.why))?;
    let event = message.event.take().ok_or_else(|| Verdict::refused("no_event"))?;
    if message.consent.ad_user_data == Some(Choice::Denied) {
        return Err(Verdict::refused("consent_denied"));
    }
    Ok((message, event))
}
