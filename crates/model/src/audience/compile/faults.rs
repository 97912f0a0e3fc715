//! What is said of rules that cannot be, and the checks of arguments.

use super::{FUNCTIONS, MORE_FUNCTIONS, Type, Typed};
use crate::audience::problem::{Fault, RuleCode, Span, did_you_mean};
use crate::audience::syntax::{Call, Expression, Kind};
use crate::feature::KNOWN_PROPERTIES;
use crate::feature::window::length_text;

pub(super) fn not_a_feature(span: Span) -> Fault {
    Fault::new(
        RuleCode::Type,
        span,
        "a feature is one aggregation of events",
        "Write count, sum, min, max, first, last, distinct, first_at or last_at of an event, e.g. \
         sum(\"Order Completed\", \"value\", \"30d\").",
    )
}

pub(super) fn no_now(span: Span) -> Fault {
    Fault::new(
        RuleCode::Now,
        span,
        "a rule cannot ask what time it is: it has to know when its answer changes",
        "Write since(last_at(\"Event\")) < duration(\"3d\"), or give the function a window: \
         count(\"Event\", \"3d\").",
    )
}

pub(super) fn not_a_condition(part: &Typed) -> Fault {
    let advice = match part.of {
        Type::Number => "Compare it, e.g. with > 0.",
        Type::Text => "Compare it with ==.",
        Type::Time => "Write has(..) to ask whether it ever was, or since(..) < duration(\"3d\").",
        _ => "Compare it, e.g. with < duration(\"3d\").",
    };
    let message = format!("this is {}, where true or false is wanted", part.of.name());
    Fault::new(RuleCode::Type, part.span, message, advice)
}

/// The names of `a.b["c"]`.
pub(super) fn path_of(expression: &Expression) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    let mut rest = expression;
    loop {
        match &rest.kind {
            Kind::Name(name) => {
                names.push(name.as_str());
                names.reverse();
                return Some(names);
            }
            Kind::Member(inner, name) => {
                names.push(name);
                rest = inner;
            }
            Kind::Index(inner, index) => {
                let Kind::Text(name) = &index.kind else { return None };
                names.push(name);
                rest = inner;
            }
            _ => return None,
        }
    }
}

pub(super) fn no_such_name(root: &str, span: Span) -> Fault {
    if root == "now" {
        return no_now(span);
    }
    let advice = if KNOWN_PROPERTIES.contains(&root) || matches!(root, "properties" | "context") {
        format!(
            "`{root}` belongs to events: name it in a filter, e.g. count(\"Product Viewed\", \"7d\", \
             category == \"shoes\")."
        )
    } else {
        let guess = did_you_mean(root, ["traits"]);
        if guess.is_empty() { "Attributes of people are written traits.name.".to_owned() } else { guess }
    };
    Fault::new(RuleCode::UnknownName, span, format!("there is no `{root}`"), advice)
}

pub(super) fn no_such_property(path: &[&str], span: Span) -> Fault {
    let root = path.first().copied().unwrap_or_default();
    if root == "traits" {
        return Fault::new(
            RuleCode::UnknownName,
            span,
            "a filter sees one event, not the person",
            "Take traits out of the filter and combine them with && outside.",
        );
    }
    let known = KNOWN_PROPERTIES.into_iter().chain(["properties", "context"]);
    let guess = did_you_mean(root, known);
    let advice = if path.len() > 1 && KNOWN_PROPERTIES.contains(&root) {
        format!("`{root}` has no members; write properties.{} for what was sent.", path.join("."))
    } else if guess.is_empty() {
        format!("Write properties.{root} for a property of your own.")
    } else {
        format!("{guess} Properties of your own are written properties.{root}.")
    };
    Fault::new(RuleCode::UnknownName, span, format!("events have no `{}`", path.join(".")), advice)
}

pub(super) fn no_such<'a>(
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
    span: Span,
) -> Fault {
    let guess = did_you_mean(name, known);
    let advice =
        if guess.is_empty() { format!("Define the {what} first, or check its name.") } else { guess };
    Fault::new(RuleCode::UnknownName, span, format!("there is no {what} \"{name}\""), advice)
}

pub(super) fn no_such_function(call: &Call) -> Fault {
    let advice = match call.name.as_str() {
        "size" => {
            "Count events with count(\"Event\"), different values with distinct(\"Event\", \"property\")."
        }
        "int" | "uint" | "double" | "string" | "bool" => {
            "Values are converted where they are compared: leave it away."
        }
        "exists" | "all" | "filter" | "map" => "Rules have no loops: filter events inside count(..).",
        "avg" | "average" => "Divide: sum(..) / count(..).",
        _ => "",
    };
    let advice = if advice.is_empty() {
        let guess = did_you_mean(&call.name, FUNCTIONS.into_iter().chain(MORE_FUNCTIONS));
        if guess.is_empty() {
            format!("There are {}, {}.", FUNCTIONS.join(", "), MORE_FUNCTIONS.join(", "))
        } else {
            guess
        }
    } else {
        advice.to_owned()
    };
    let message = format!("there is no function `{}`", call.name);
    Fault::new(RuleCode::UnknownFunction, call.name_span, message, advice)
}

pub(super) fn not_in_a_filter(call: &Call) -> Fault {
    if call.name == "now" {
        return no_now(call.name_span);
    }
    let known = FUNCTIONS.contains(&call.name.as_str()) || MORE_FUNCTIONS.contains(&call.name.as_str());
    if !known {
        return no_such_function(call);
    }
    Fault::new(
        RuleCode::UnknownFunction,
        call.name_span,
        format!("`{}` cannot stand in a filter, which sees one event only", call.name),
        "Take it out of the filter and combine the two with && outside.",
    )
}

pub(super) fn bad_length(text: &str, span: Span) -> Fault {
    Fault::new(
        RuleCode::Window,
        span,
        format!("\"{text}\" is no length of time"),
        "Write a whole number and a unit: \"90s\", \"30m\", \"12h\", \"7d\", \"2w\" or \"1d12h\".",
    )
}

pub(super) fn wrong_count(call: &Call, form: &str) -> Fault {
    let count = call.arguments.len();
    let message = format!("`{}` has the wrong number of arguments: {count}", call.name);
    let last = call.arguments.last().map_or(call.name_span, |last| call.name_span.to(last.span));
    Fault::new(RuleCode::Arguments, last, message, format!("Write {form}."))
}

pub(super) fn one_argument<'e>(call: &'e Call, form: &str) -> Result<&'e Expression, Fault> {
    match call.arguments.as_slice() {
        [one] => Ok(one),
        _ => Err(wrong_count(call, form)),
    }
}

/// Argument number `index` of at most `most`, which must be text in quotes that says something.
pub(super) fn text_argument<'e>(
    call: &'e Call,
    index: usize,
    most: usize,
    form: &str,
) -> Result<(&'e str, Span), Fault> {
    if call.arguments.len() > most {
        return Err(wrong_count(call, form));
    }
    let Some(argument) = call.arguments.get(index) else { return Err(wrong_count(call, form)) };
    match &argument.kind {
        Kind::Text(text) if !text.is_empty() => Ok((text, argument.span)),
        Kind::Text(_) => Err(Fault::new(
            RuleCode::Arguments,
            argument.span,
            format!("the text in `{}` is empty", call.name),
            format!("Write {form}."),
        )),
        _ => Err(Fault::new(
            RuleCode::Arguments,
            argument.span,
            format!("`{}` wants text in quotes here", call.name),
            format!("Write {form}."),
        )),
    }
}

/// Lengths that a window could have had, around one that it cannot.
pub(super) fn near_lengths(length: i64) -> String {
    let lower = (1..=40).map(|step| length - step * 86_400_000_000);
    let upper = (1..=40).map(|step| length + step * 86_400_000_000);
    let can_be = |length: &i64| crate::feature::Window::of_length(*length).is_some();
    let found = [lower.clone().find(can_be), upper.clone().find(can_be)];
    found.into_iter().flatten().map(length_text).collect::<Vec<_>>().join(" or ")
}
