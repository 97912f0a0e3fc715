//! Which events of the quarantine a request means.

use super::types::HeldSelection;
use crate::api::{Call, Code, Context, Problem};
use engage::{HeldRow, MAX_NAMED};
use model::quarantine::{MAX_ROW_NAME_BYTES, cut};
use std::sync::Arc;

/// Events of one call where it does not say.
const DEFAULT: usize = 100;

/// What all of the events have in common.
#[derive(Default)]
pub(super) struct Filter {
    write_key: Option<u32>,
    event: Option<String>,
    code: Option<String>,
}

impl Filter {
    pub(super) fn of_query(call: &Call) -> Result<Self, Problem> {
        let write_key = call.parameter("write_key").map(|text| number(text, "write_key")).transpose()?;
        Ok(Self {
            // A number that no key can have finds nothing.
            write_key: write_key.map(|number| u32::try_from(number).unwrap_or(u32::MAX)),
            event: call.text_parameter("event"),
            code: call.text_parameter("code"),
        })
    }

    pub(super) fn takes(&self, row: &HeldRow) -> bool {
        self.write_key.is_none_or(|own| own == row.source)
            && self.event.as_deref().is_none_or(|own| cut(own, MAX_ROW_NAME_BYTES) == &*row.name)
            && self.code.as_deref().is_none_or(|own| own == &*row.code)
    }
}

/// The events of a call, the oldest first.
pub(super) struct Selected {
    pub(super) rows: Vec<Arc<HeldRow>>,
    /// Named, and not there.
    pub(super) gone: u64,
    /// There are more behind the last one.
    pub(super) more: bool,
}

pub(super) fn selected(context: &Context, given: &HeldSelection) -> Result<Selected, Problem> {
    let view = context.engine.view();
    if let Some(ids) = &given.ids {
        if ids.is_empty() || ids.len() > MAX_NAMED {
            return Err(Problem::at(Code::BadValue, "ids", format!("name 1 to {MAX_NAMED} events")));
        }
        let mut ids = ids.clone();
        ids.sort_unstable();
        ids.dedup();
        let after = given.after.unwrap_or_default();
        let wanted = ids.iter().filter(|id| given.after.is_none() || **id > after);
        let found: Vec<_> = wanted.map(|id| view.held(*id)).collect();
        let gone = found.iter().filter(|row| row.is_none()).count() as u64;
        return Ok(Selected { rows: found.into_iter().flatten().collect(), gone, more: false });
    }
    let limit = given.limit.map_or(Ok(DEFAULT), |limit| {
        usize::try_from(limit)
            .ok()
            .filter(|limit| (1..=MAX_NAMED).contains(limit))
            .ok_or_else(|| over(MAX_NAMED))
    })?;
    let filter = Filter { write_key: given.write_key, event: given.event.clone(), code: given.code.clone() };
    let mut rows = Vec::new();
    view.each_held(|row| {
        if given.after.is_some_and(|after| row.number <= after) {
            return false;
        }
        if filter.takes(row) {
            rows.push(Arc::clone(row));
        }
        true
    });
    rows.reverse();
    let more = rows.len() > limit;
    rows.truncate(limit);
    Ok(Selected { rows, gone: 0, more })
}

pub(super) fn limit(given: Option<&str>, default: usize, max: usize) -> Result<usize, Problem> {
    let Some(text) = given else { return Ok(default) };
    text.parse().ok().filter(|limit| (1..=max).contains(limit)).ok_or_else(|| over(max))
}

fn over(max: usize) -> Problem {
    Problem::at(Code::BadRequest, "limit", format!("limit must be 1 to {max}"))
}

pub(super) fn number(text: &str, field: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_| Problem::at(Code::BadRequest, field, "this must be a number".to_owned()))
}
