//! Tracking plans: which events a source sends, and which properties each of them has.
//!
//! A plan is JSON: `{"unplanned": "allow", "otherwise": "quarantine", "events": {"Order Completed": SCHEMA}, "fates":
//! {"Order Completed": "block"}}`, where each schema describes the event's `properties` in a stated part of JSON Schema,
//! draft 2020-12 (see [`Schema`]). What a plan does not like is counted, and set aside or kept in quarantine where the
//! plan says so; it never fails the request it came in, because SDKs drop all events of a refused batch.
//!
//! A plan that says nothing allows everything, as Segment's does until somebody blocks: a plan is first looked at, and
//! then enforced.

mod schema;

pub use schema::{Schema, SchemaError, Violation};

use serde_json::Value;
use std::collections::BTreeMap;
use thiserror::Error;

/// The longest plan, in bytes.
pub const MAX_PLAN_BYTES: usize = 256 * 1024;
/// The most events of one plan.
pub const MAX_PLAN_EVENTS: usize = 1_000;

/// What becomes of an event that a plan does not like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    /// It is stored as if there were no plan; the violation is counted.
    #[default]
    Allow,
    /// It is set aside: not stored, counted, and shown among the latest ones.
    Block,
    /// It is kept in quarantine, content and all, and counts for nobody until somebody sends it again.
    Quarantine,
}

/// The word for an event that the plan does not name.
pub const UNPLANNED: &str = "unplanned";
/// The word for an event that is not as its schema says.
pub const OFF_PLAN: &str = "off_plan";

/// A plan that was read and can be applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Track events that are not in the plan.
    unplanned: Fate,
    /// Events that are not as their schema says.
    otherwise: Fate,
    /// The same for single events, before `otherwise`.
    fates: BTreeMap<String, Fate>,
    events: BTreeMap<String, Schema>,
}

/// Why a plan cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// Not JSON, or not of a plan's form.
    #[error("the plan cannot be read: {0}")]
    Form(String),
    /// Too long.
    #[error("the plan has more than {MAX_PLAN_BYTES} bytes or {MAX_PLAN_EVENTS} events; make it smaller")]
    TooLarge,
    /// A schema that cannot be applied.
    #[error("the schema of {event:?} cannot be used: {error}")]
    Schema {
        /// Whose.
        event: String,
        /// Why.
        error: SchemaError,
    },
}

/// What a plan says of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What becomes of it.
    pub fate: Fate,
    /// [`UNPLANNED`] or [`OFF_PLAN`].
    pub code: &'static str,
    /// Where it is, such as `properties.order_id`; empty if it is the event itself.
    pub place: String,
    /// What the plan does not like, for people: where it is and what it should be. It never repeats a value.
    pub reason: String,
}

impl Plan {
    /// Reads a plan. Unknown members and keywords are mistakes: a rule that is silently left out protects nobody.
    pub fn read(text: &str) -> Result<Self, PlanError> {
        if text.len() > MAX_PLAN_BYTES {
            return Err(PlanError::TooLarge);
        }
        let form = |reason: &str| PlanError::Form(reason.to_owned());
        let plan: Value = serde_json::from_str(text).map_err(|error| PlanError::Form(error.to_string()))?;
        let Value::Object(members) = plan else { return Err(form("it must be an object")) };
        let mut read = Self::default();
        for (name, value) in members {
            match (name.as_str(), value) {
                ("unplanned", value) => read.unplanned = fate(&value).ok_or_else(|| form(FATES))?,
                ("otherwise", value) => read.otherwise = fate(&value).ok_or_else(|| form(FATES))?,
                ("events", Value::Object(events)) => {
                    if events.len() > MAX_PLAN_EVENTS {
                        return Err(PlanError::TooLarge);
                    }
                    for (event, schema) in events {
                        let schema = Schema::compile(&schema)
                            .map_err(|error| PlanError::Schema { event: event.clone(), error })?;
                        read.events.insert(event, schema);
                    }
                }
                ("fates", Value::Object(fates)) => {
                    for (event, word) in fates {
                        read.fates.insert(event, fate(&word).ok_or_else(|| form(FATES))?);
                    }
                }
                ("fates", _) => return Err(form("fates must be an object of fates by event name")),
                ("events", _) => return Err(form("events must be an object of schemas by event name")),
                (other, _) => {
                    return Err(form(&format!(
                        "{other:?} is unknown; a plan has unplanned, otherwise, fates and events"
                    )));
                }
            }
        }
        if let Some(event) = read.fates.keys().find(|event| !read.events.contains_key(*event)) {
            return Err(form(&format!(
                "fates names {event:?}, which events does not: give it a schema, at least true"
            )));
        }
        Ok(read)
    }

    /// What the plan says of a track event whose `properties` are spelled like this (empty: none). `None`: it is as planned.
    pub fn judge(&self, event: &str, properties: &str) -> Option<Judgement> {
        let Some(schema) = self.events.get(event) else {
            let reason = "the plan does not name this event".to_owned();
            return Some(Judgement { fate: self.unplanned, code: UNPLANNED, place: String::new(), reason });
        };
        let fate = self.fates.get(event).copied().unwrap_or(self.otherwise);
        let properties = if properties.is_empty() { "{}" } else { properties };
        let (place, reason) = match serde_json::from_str::<Value>(properties) {
            Ok(value) => {
                let violation = schema.violation(&value)?;
                (violation.place().to_owned(), violation.to_string())
            }
            // Grammatical, and still not to be read: a number beyond every range, or nested too deep for a schema.
            Err(_) => {
                ("properties".to_owned(), "properties hold a value that no schema describes".to_owned())
            }
        };
        Some(Judgement { fate, code: OFF_PLAN, place, reason })
    }
}

const FATES: &str = "unplanned, otherwise and each of fates must be \"allow\", \"block\" or \"quarantine\"";

fn fate(value: &Value) -> Option<Fate> {
    match value.as_str()? {
        "allow" => Some(Fate::Allow),
        "block" => Some(Fate::Block),
        "quarantine" => Some(Fate::Quarantine),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read_or_refused_with_a_reason() {
        let good = r#"{"unplanned":"block","otherwise":"allow","events":{"E":{"type":"object"}}}"#;
        assert!(Plan::read(good).is_ok());
        assert_eq!(Plan::read("{}"), Ok(Plan::default()));
        let table = [
            ("", "EOF"),
            ("[]", "must be an object"),
            (r#"{"unplanned":"maybe"}"#, "\"allow\", \"block\" or \"quarantine\""),
            (r#"{"otherwise":1}"#, "\"allow\", \"block\" or \"quarantine\""),
            (r#"{"fates":{"E":"maybe"},"events":{"E":{}}}"#, "\"allow\", \"block\" or \"quarantine\""),
            (r#"{"fates":[]}"#, "object of fates"),
            (r#"{"fates":{"E":"block"}}"#, "fates names \"E\""),
            (r#"{"events":[]}"#, "object of schemas"),
            (r#"{"event":{}}"#, "\"event\" is unknown"),
            (r#"{"events":{"E":{"typo":1}}}"#, "the schema of \"E\""),
        ];
        for (text, reason) in table {
            let error = Plan::read(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert_eq!(Plan::read(&" ".repeat(MAX_PLAN_BYTES + 1)), Err(PlanError::TooLarge));
        let events: Vec<String> = (0..=MAX_PLAN_EVENTS).map(|number| format!("\"{number}\":{{}}")).collect();
        assert_eq!(Plan::read(&format!("{{\"events\":{{{}}}}}", events.join(","))), Err(PlanError::TooLarge));
    }

    #[test]
    fn events_are_judged() {
        let plan = Plan::read(
            r#"{"unplanned":"allow","otherwise":"block","events":{
                "Order Completed":{"required":["order_id"],"properties":{"order_id":{"type":"string"}}},"Any":true}}"#,
        )
        .unwrap();
        assert_eq!(plan.judge("Order Completed", r#"{"order_id":"o"}"#), None);
        assert_eq!(plan.judge("Any", ""), None);
        let fate = |event, properties| plan.judge(event, properties).map(|judgement| judgement.fate);
        assert_eq!(fate("Other", ""), Some(Fate::Allow));
        assert_eq!(fate("Order Completed", ""), Some(Fate::Block));
        assert_eq!(fate("Order Completed", r#"{"order_id":1}"#), Some(Fate::Block));
        let named =
            Plan::read(r#"{"otherwise":"allow","fates":{"A":"quarantine"},"events":{"A":false,"B":false}}"#);
        let named = named.unwrap();
        let fates = ["A", "B"].map(|event| named.judge(event, "").map(|judgement| judgement.fate));
        assert_eq!(fates, [Some(Fate::Quarantine), Some(Fate::Allow)], "an event's own fate comes first");
        let secret = plan.judge("Order Completed", r#"{"order_id":["jane@example.com"]}"#).unwrap();
        assert!(!secret.reason.contains("jane"), "{}", secret.reason);
        assert!(secret.reason.contains("properties.order_id"), "{}", secret.reason);
    }
}
