//! Filters of lists. What is no list is a list of one; nothing is an empty one.

use super::super::number::Decimal;
use super::{Budget, Fault, TOO_LARGE_A_NUMBER, number, read, text};
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::BTreeSet;

fn elements(value: &Value) -> &[Value] {
    match value {
        Value::Null => &[],
        Value::Array(all) => all,
        other => std::slice::from_ref(other),
    }
}

/// A list of copies, paid for.
fn list<'v>(all: impl Iterator<Item = &'v Value>, budget: &mut Budget) -> Result<Value, Fault> {
    let mut copies = Vec::new();
    for one in all {
        budget.charge_copy(one)?;
        copies.push(one.clone());
    }
    Ok(Value::Array(copies))
}

/// A member of an object; nothing of anything else.
fn member<'v>(value: &'v Value, name: &str) -> &'v Value {
    value.get(name).unwrap_or(&Value::Null)
}

pub(super) fn first(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    copy(elements(value).first(), budget)
}

pub(super) fn last(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    copy(elements(value).last(), budget)
}

fn copy(value: Option<&Value>, budget: &mut Budget) -> Result<Value, Fault> {
    let value = value.unwrap_or(&Value::Null);
    budget.charge_copy(value)?;
    Ok(value.clone())
}

pub(super) fn compact(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    list(elements(value).iter().filter(|one| !one.is_null()), budget)
}

pub(super) fn concat(value: &Value, more: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    let more = more.first().map_or(&[][..], |more| elements(more));
    list(elements(value).iter().chain(more), budget)
}

pub(super) fn reverse(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    list(elements(value).iter().rev(), budget)
}

pub(super) fn join(value: &Value, by: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    let by = by.first().map_or(" ".into(), |by| text(by));
    let mut joined = String::new();
    for (place, one) in elements(value).iter().enumerate() {
        if place > 0 {
            budget.charge(by.len())?;
            joined.push_str(&by);
        }
        joined.push_str(&read(one, budget)?);
    }
    Ok(Value::from(joined))
}

pub(super) fn map(value: &Value, name: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    let name = name.first().map_or("".into(), |name| text(name));
    list(elements(value).iter().map(|one| member(one, &name)), budget)
}

/// Those whose member is this; or, without a value, those where it is there and not `false`.
pub(super) fn with(value: &Value, how: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    let name = how.first().map_or("".into(), |name| text(name));
    let fits = |one: &&Value| {
        let own = member(one, &name);
        match how.get(1) {
            Some(wanted) => own == *wanted,
            None => !matches!(own, Value::Null | Value::Bool(false)),
        }
    };
    if let Some(wanted) = how.get(1) {
        // Each is held against it.
        (0..elements(value).len()).try_for_each(|_| budget.charge_copy(wanted))?;
    }
    list(elements(value).iter().filter(fits), budget)
}

pub(super) fn sum(value: &Value, name: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    let name = name.first().map(|name| text(name));
    let mut sum = Decimal::ZERO;
    for one in elements(value) {
        budget.charge(0)?;
        let own = name.as_ref().map_or(one, |name| member(one, name));
        sum = sum.plus(number(own)?).ok_or(TOO_LARGE_A_NUMBER)?;
    }
    Ok(sum.value())
}

pub(super) fn uniq(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for one in elements(value) {
        budget.charge_copy(one)?;
        if seen.insert(one.to_string()) {
            kept.push(one);
        }
    }
    list(kept.into_iter(), budget)
}

/// Numbers before texts, texts before what has no order.
pub(super) fn sort(value: &Value, name: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    let name = name.first().map(|name| text(name));
    let mut keyed: Vec<(Sorted<'_>, &Value)> = Vec::new();
    for one in elements(value) {
        budget.charge_copy(one)?;
        keyed.push((Sorted::of(name.as_ref().map_or(one, |name| member(one, name))), one));
    }
    // Every element is compared about so often.
    let depth = usize::try_from(keyed.len().max(1).ilog2()).unwrap_or(0) + 1;
    let longest = keyed.iter().map(|(key, _)| key.length()).max().unwrap_or(0).saturating_add(8);
    budget.charge(keyed.len().saturating_mul(depth).saturating_mul(longest))?;
    keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
    list(keyed.into_iter().map(|(_, one)| one), budget)
}

#[derive(PartialEq, Eq)]
enum Sorted<'v> {
    Number(Decimal),
    Text(&'v str),
    Other,
}

impl<'v> Sorted<'v> {
    fn of(value: &'v Value) -> Self {
        match value {
            Value::Number(_) => Decimal::of(value).map_or(Self::Other, Self::Number),
            Value::String(text) => Self::Text(text),
            _ => Self::Other,
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            _ => 0,
        }
    }

    fn cmp(&self, other: &Self) -> Ordering {
        let rank = |one: &Self| match one {
            Self::Number(_) => 0,
            Self::Text(_) => 1,
            Self::Other => 2,
        };
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            _ => rank(self).cmp(&rank(other)),
        }
    }
}
