//! What filters do. Each says what it makes before it makes it, so that the budget is asked first.

mod lists;
mod texts;

use super::number::Decimal;
use super::{Place, RenderFailure, STEP_COST, WORK_MAX, date};
use serde_json::Value;
use std::borrow::Cow;

/// Why something cannot be rendered, before its place is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) what: &'static str,
}

impl Fault {
    pub(super) fn at(self, place: Place) -> RenderFailure {
        RenderFailure { code: self.code, place, what: self.what }
    }
}

const NOT_A_NUMBER: Fault = Fault {
    code: "template_not_a_number",
    what: "a value is no number: give it one with `default`, or test it with `if`",
};
const TOO_LARGE_A_NUMBER: Fault =
    Fault { code: "template_number_too_large", what: "a result is beyond 10^18, or a division by zero" };

/// What a render may still cost.
#[derive(Debug)]
pub(super) struct Budget(u64);

impl Budget {
    pub(super) fn new() -> Self {
        Self(WORK_MAX)
    }

    /// Takes a step, and so many bytes that are made or looked through.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Fault> {
        let cost = STEP_COST.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        match self.0.checked_sub(cost) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => {
                self.0 = 0;
                let what = "the template does too much with this message: loop over less, or make less text";
                Err(Fault { code: "template_too_much_work", what })
            }
        }
    }

    /// What a copy of a value costs: its bytes, and a step for each value in it.
    pub(super) fn charge_copy(&mut self, value: &Value) -> Result<(), Fault> {
        match value {
            Value::String(text) => self.charge(text.len()),
            Value::Array(all) => {
                self.charge(0)?;
                all.iter().try_for_each(|one| self.charge_copy(one))
            }
            Value::Object(all) => {
                self.charge(0)?;
                all.iter().try_for_each(|(name, one)| {
                    self.charge(name.len())?;
                    self.charge_copy(one)
                })
            }
            _ => self.charge(0),
        }
    }
}

/// The function of a filter.
type Run = fn(&Value, &[&Value], &mut Budget) -> Result<Value, Fault>;

/// A filter.
pub(super) struct Filter {
    pub(super) name: &'static str,
    /// How many arguments it takes, at least and at most.
    pub(super) arguments: (usize, usize),
    pub(super) run: Run,
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}

const fn filter(name: &'static str, least: usize, most: usize, run: Run) -> Filter {
    Filter { name, arguments: (least, most), run }
}

/// Every filter but `raw`, which is a mode of an output.
static FILTERS: &[Filter] = &[
    filter("abs", 0, 0, |value, _, _| Ok(number(value)?.abs().value())),
    filter("append", 1, 1, texts::append),
    filter("at_least", 1, 1, |value, to, _| Ok(number(value)?.max(argument(to, 0)?).value())),
    filter("at_most", 1, 1, |value, to, _| Ok(number(value)?.min(argument(to, 0)?).value())),
    filter("base64_encode", 0, 0, texts::base64_encode),
    filter("capitalize", 0, 0, texts::capitalize),
    filter("ceil", 0, 0, |value, _, _| Ok(number(value)?.ceil().value())),
    filter("compact", 0, 0, lists::compact),
    filter("concat", 1, 1, lists::concat),
    filter("date", 1, 1, as_date),
    filter("default", 1, 1, default),
    filter("divided_by", 1, 1, |value, by, _| counted(number(value)?.divided_by(argument(by, 0)?))),
    filter("downcase", 0, 0, texts::downcase),
    filter("escape", 0, 0, texts::escape),
    filter("first", 0, 0, lists::first),
    filter("fixed", 1, 1, fixed),
    filter("floor", 0, 0, |value, _, _| Ok(number(value)?.floor().value())),
    filter("join", 0, 1, lists::join),
    filter("json", 0, 0, as_json),
    filter("last", 0, 0, lists::last),
    filter("lstrip", 0, 0, texts::lstrip),
    filter("map", 1, 1, lists::map),
    filter("minus", 1, 1, |value, by, _| counted(number(value)?.minus(argument(by, 0)?))),
    filter("modulo", 1, 1, |value, by, _| counted(number(value)?.modulo(argument(by, 0)?))),
    filter("plus", 1, 1, |value, by, _| counted(number(value)?.plus(argument(by, 0)?))),
    filter("prepend", 1, 1, texts::prepend),
    filter("remove", 1, 1, texts::remove),
    filter("replace", 2, 2, texts::replace),
    filter("replace_first", 2, 2, texts::replace_first),
    filter("reverse", 0, 0, lists::reverse),
    filter("round", 0, 1, round),
    filter("rstrip", 0, 0, texts::rstrip),
    filter("sha256", 0, 0, texts::sha256),
    filter("size", 0, 0, size),
    filter("slice", 1, 2, texts::slice),
    filter("sort", 0, 1, lists::sort),
    filter("split", 1, 1, texts::split),
    filter("strip", 0, 0, texts::strip),
    filter("strip_newlines", 0, 0, texts::strip_newlines),
    filter("sum", 0, 1, lists::sum),
    filter("times", 1, 1, |value, by, _| counted(number(value)?.times(argument(by, 0)?))),
    filter("truncate", 0, 2, texts::truncate),
    filter("uniq", 0, 0, lists::uniq),
    filter("upcase", 0, 0, texts::upcase),
    filter("url_encode", 0, 0, texts::url_encode),
    filter("where", 1, 2, lists::with),
];

/// The filter of a name.
pub(super) fn find(name: &str) -> Option<&'static Filter> {
    FILTERS.iter().find(|filter| filter.name == name)
}

/// What to say of a name that no filter has.
pub(super) fn unknown(name: &str) -> String {
    let known: Vec<&str> = FILTERS.iter().map(|filter| filter.name).chain(["raw"]).collect();
    format!("there is no filter `{name}`; there are {}", known.join(", "))
}

/// A value as text. Lists and objects are written as JSON.
pub(super) fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// The text of a value, paid for.
fn read<'v>(value: &'v Value, budget: &mut Budget) -> Result<Cow<'v, str>, Fault> {
    match value {
        Value::Array(_) | Value::Object(_) => budget.charge_copy(value)?,
        _ => {}
    }
    let text = text(value);
    budget.charge(text.len())?;
    Ok(text)
}

fn number(value: &Value) -> Result<Decimal, Fault> {
    Decimal::of(value).ok_or(NOT_A_NUMBER)
}

fn argument(arguments: &[&Value], at: usize) -> Result<Decimal, Fault> {
    number(arguments.get(at).copied().unwrap_or(&Value::Null))
}

/// A whole number of the arguments, where it is there.
fn count(arguments: &[&Value], at: usize) -> Result<Option<i64>, Fault> {
    let Some(value) = arguments.get(at) else { return Ok(None) };
    number(value)?.as_i64().map(Some).ok_or(TOO_LARGE_A_NUMBER)
}

fn counted(number: Option<Decimal>) -> Result<Value, Fault> {
    number.map(Decimal::value).ok_or(TOO_LARGE_A_NUMBER)
}

fn round(value: &Value, places: &[&Value], _: &mut Budget) -> Result<Value, Fault> {
    let places = count(places, 0)?.map_or(0, |places| usize::try_from(places).unwrap_or(0));
    Ok(number(value)?.round(places).value())
}

/// With so many places, as text: `49.90`.
fn fixed(value: &Value, places: &[&Value], _: &mut Budget) -> Result<Value, Fault> {
    let places = count(places, 0)?.map_or(0, |places| usize::try_from(places).unwrap_or(0));
    Ok(Value::from(number(value)?.fixed(places)))
}

fn default(value: &Value, otherwise: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    let is_nothing = match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        _ => false,
    };
    let value = if is_nothing { otherwise.first().copied().unwrap_or(&Value::Null) } else { value };
    budget.charge_copy(value)?;
    Ok(value.clone())
}

fn size(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    Ok(Value::from(match value {
        Value::Array(all) => all.len(),
        Value::Object(all) => all.len(),
        other => read(other, budget)?.chars().count(),
    }))
}

fn as_json(value: &Value, _: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    budget.charge_copy(value)?;
    Ok(Value::from(value.to_string()))
}

fn as_date(value: &Value, format: &[&Value], budget: &mut Budget) -> Result<Value, Fault> {
    let format = read(format.first().copied().unwrap_or(&Value::Null), budget)?;
    let Some(instant) = date::read(&text(value)) else {
        let what = "a value is no time: `date` reads RFC 3339 and seconds since 1970";
        // What is not there has no date.
        return if value.is_null() {
            Ok(Value::Null)
        } else {
            Err(Fault { code: "template_not_a_time", what })
        };
    };
    // No directive makes more than twenty characters of two.
    budget.charge(format.len().saturating_mul(10))?;
    Ok(Value::from(date::write(instant, &format)))
}
