//! What a write key may send: its rules, and what they kept out lately.

use super::Context;
use super::admin::{changed, number};
use super::command::{execute, idempotency_of};
use super::problem::{Code, Problem};
use super::route::{Answering, Call, Reply as Answer};
use super::shape::wire;
use crate::calendar::iso;
use collect::http::{Counters, OpenDoor};
use collect::plan::Plan;
use engage::{KeyRules, Operation};
use serde_json::Value;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The most events a second, and at once, that a rule can name.
const RATE_MAX: u32 = 10_000_000;

/// Finds one of the door's counters.
type Pick = fn(&Counters) -> &AtomicU64;

wire! {
    /// What a write key may send. What is left out is not restricted.
    struct WriteKeyRules {
        /// Origins of the pages that may send with it, such as https://shop.example.
        origins: Option<Vec<String>>,
        /// Names of the track events that it may send. Others are set aside: the request is answered with 200, they are not stored.
        events: Option<Vec<String>>,
        /// Events that may come every second in the long run. More are answered with 429 and Retry-After.
        events_per_s: Option<u32>,
        /// Events that may come at once after a pause; if left out, what may come in ten seconds.
        burst_events: Option<u32>,
        /// The tracking plan: {"unplanned": FATE, "otherwise": FATE, "events": {"Order Completed": a JSON Schema of its properties}, "fates": {"Order Completed": FATE}}, where a fate is "allow", "block" or "quarantine". What is left out allows.
        plan: Option<Value>,
    }

    /// An event that a rule of its write key set aside. Nothing that it said of a person is kept.
    struct SetAsideShown {
        /// When it came.
        at: String,
        /// The number of the write key.
        write_key: u32,
        /// What the event is called.
        event: String,
        /// Its messageId; empty if it had none.
        message_id: String,
        /// event_not_listed, unplanned or off_plan.
        code: String,
        /// What the rule does not like, with the place; values are not repeated.
        reason: String,
    }

    /// Events that were set aside.
    struct SetAsideList {
        /// The newest first: at most 1,000, and none from before the start of the server.
        set_aside: Vec<SetAsideShown>,
        /// How many there were since the start.
        total: u64,
    }
}

pub(crate) fn get_rules(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let number = number(&call)?;
        let settings = context.engine.view().settings();
        if !settings.write_keys.iter().any(|key| key.number == number) {
            return Err(Problem::new(
                Code::NoSuchWriteKey,
                "no write key has this number; list them to see all",
            ));
        }
        let rules = settings.key_rules.iter().find(|rules| rules.number == number);
        Answer::json(200, &rules.map(shown).unwrap_or_default())
    })
}

pub(crate) fn set_rules(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let number = number(&call)?;
        let rules = rules_of(number, call.json()?)?;
        let _alone = context.changing.lock().await;
        changed(execute(&context, idempotency_of(&call)?, Operation::SetKeyRules(rules)).await?)
    })
}

pub(crate) fn set_aside(context: Arc<Context>, _: Call) -> Answering {
    Box::pin(async move {
        let kept_out = context.door.get().map(OpenDoor::kept_out).unwrap_or_default();
        let shown = kept_out.into_iter().map(|kept_out| SetAsideShown {
            at: iso(kept_out.at.0),
            write_key: kept_out.key_number,
            event: kept_out.event.name,
            message_id: kept_out.event.message_id,
            code: kept_out.event.code.to_owned(),
            reason: kept_out.event.reason,
        });
        let set_aside = shown.collect();
        let total = context.door.get().map_or(0, |door| door.counters().set_aside_events.load(Relaxed));
        Answer::json(200, &SetAsideList { set_aside, total })
    })
}

/// Appends the door's series about rules.
pub(crate) fn write_metrics(context: &Context, text: &mut String) {
    let Some(door) = context.door.get() else { return };
    let series: [(&str, &str, Pick); 3] = [
        (
            "throughline_ingest_rate_limited_total",
            "Requests that came faster than the rules of their write key allow, since the start.",
            |counters| &counters.rate_limited_requests,
        ),
        (
            "throughline_ingest_set_aside_total",
            "Events that the rules of their write key kept out, since the start.",
            |counters| &counters.set_aside_events,
        ),
        (
            "throughline_ingest_off_plan_total",
            "Stored events that are not as the plan of their write key says, since the start.",
            |counters| &counters.off_plan_events,
        ),
    ];
    for (name, help, pick) in series {
        let value = pick(door.counters()).load(Relaxed);
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n");
    }
}

fn shown(rules: &KeyRules) -> WriteKeyRules {
    let listed = |texts: &Vec<String>| Some(texts.clone()).filter(|texts| !texts.is_empty());
    WriteKeyRules {
        origins: listed(&rules.origins),
        events: listed(&rules.events),
        events_per_s: rules.rate.map(|(per_s, _)| per_s),
        burst_events: rules.rate.map(|(_, burst)| burst),
        plan: serde_json::from_str(&rules.plan).ok(),
    }
}

fn rules_of(number: u32, given: WriteKeyRules) -> Result<KeyRules, Problem> {
    let bad = |field: &str, message: String| Problem::at(Code::BadValue, field, message);
    let origins = given.origins.unwrap_or_default();
    if let Some(wrong) = origins.iter().find(|origin| !is_origin(origin)) {
        let message = format!("{wrong:?} is no origin: send one like https://shop.example, without a path");
        return Err(bad("origins", message));
    }
    let rate = match (given.events_per_s, given.burst_events) {
        (None, None) => None,
        (None, Some(_)) => {
            return Err(bad("burst_events", "burst_events needs events_per_s beside it".to_owned()));
        }
        (Some(per_s), burst) => {
            Some((per_s, burst.unwrap_or_else(|| per_s.saturating_mul(10).min(RATE_MAX))))
        }
    };
    if let Some((per_s, burst)) = rate
        && !((1..=RATE_MAX).contains(&per_s) && (1..=RATE_MAX).contains(&burst))
    {
        let message = format!("events_per_s and burst_events must be 1 to {RATE_MAX}");
        return Err(bad("events_per_s", message));
    }
    let plan = given.plan.map(|plan| plan.to_string()).unwrap_or_default();
    if !plan.is_empty() {
        Plan::read(&plan).map_err(|error| bad("plan", error.to_string()))?;
    }
    let events = given.events.unwrap_or_default();
    Ok(KeyRules { number, origins, events, rate, plan: plan.into(), ..KeyRules::default() })
}

/// As browsers spell origins: a scheme and a host in small letters, perhaps a port.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let of_scheme = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    let of_host = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte);
    !scheme.is_empty() && scheme.bytes().all(of_scheme) && !host.is_empty() && host.bytes().all(of_host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rules_are_read_or_refused_by_field() {
        let table = [
            (json!({}), None),
            (json!({"origins": ["https://shop.example", "http://localhost:8080"]}), None),
            (json!({"origins": ["https://shop.example/"]}), Some("origins")),
            (json!({"origins": ["https://Shop.example"]}), Some("origins")),
            (json!({"origins": ["shop.example"]}), Some("origins")),
            (json!({"origins": ["*"]}), Some("origins")),
            (json!({"events_per_s": 5}), None),
            (json!({"events_per_s": 0}), Some("events_per_s")),
            (json!({"burst_events": 5}), Some("burst_events")),
            (json!({"events_per_s": 5, "burst_events": 0}), Some("events_per_s")),
            (json!({"plan": {"events": {"E": {"type": "object"}}}}), None),
            (json!({"plan": {"events": {"E": {"typo": 1}}}}), Some("plan")),
            (json!({"plan": []}), Some("plan")),
        ];
        for (given, field) in table {
            let rules = rules_of(1, serde_json::from_value(given.clone()).unwrap());
            assert_eq!(rules.as_ref().err().and_then(|problem| problem.field.as_deref()), field, "{given}");
        }
        let rules = rules_of(1, WriteKeyRules { events_per_s: Some(5), ..WriteKeyRules::default() }).unwrap();
        assert_eq!(rules.rate, Some((5, 50)));
    }
}
