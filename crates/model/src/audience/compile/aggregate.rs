//! Functions over events: aggregations, funnels and the times of events.

use super::faults::{bad_length, near_lengths, no_such_property, one_argument, text_argument, wrong_count};
use super::{Compiler, Kind, MAX_FILTER_COST, MAX_FUNNEL_STEPS, Type, Typed};
use crate::audience::filter::Filter;
use crate::audience::problem::{Fault, RuleCode, Span};
use crate::audience::program::{Funnel, Node};
use crate::audience::syntax::{Call, Expression, canonical};
use crate::feature::window::{MAX_WINDOW_US, MIN_WINDOW_US, length_us};
use crate::feature::{Aggregation, Feature, Property, Slot, Window};
use std::sync::Arc;

/// The longest name of an event in a rule, in bytes.
const MAX_EVENT_NAME_BYTES: usize = 256;
/// The most different features of one rule.
const MAX_RULE_FEATURES: usize = 64;

pub(super) fn of_name(name: &str) -> Option<Aggregation> {
    use Aggregation::{Count, Distinct, First, FirstAt, Last, LastAt, Max, Min, Sum};
    [Count, Sum, Min, Max, First, Last, Distinct, FirstAt, LastAt].into_iter().find(|one| one.name() == name)
}

fn form(aggregation: Aggregation) -> String {
    let property = if aggregation.has_property() { ", \"property\"" } else { "" };
    format!("{}(\"Event Name\"{property}[, \"7d\"][, filter])", aggregation.name())
}

impl Compiler<'_> {
    /// The feature that a call asks for.
    pub(super) fn aggregate(&mut self, aggregation: Aggregation, call: &Call) -> Result<Feature, Fault> {
        let form = form(aggregation);
        let most = if aggregation.has_property() { 4 } else { 3 };
        let (event, event_span) = text_argument(call, 0, most, &form)?;
        check_event(event, event_span)?;
        let property = if aggregation.has_property() {
            Some(property(text_argument(call, 1, most, &form)?)?)
        } else {
            None
        };
        let rest = call.arguments.get(1 + usize::from(property.is_some())..).unwrap_or_default();
        let (window, filter) = match rest {
            [] => (None, None),
            [Expression { kind: Kind::Text(text), span }] => (Some(window(text, *span)?), None),
            [one] => (None, Some(filter(one)?)),
            [Expression { kind: Kind::Text(text), span }, two] => {
                (Some(window(text, *span)?), Some(filter(two)?))
            }
            [one, ..] => {
                return Err(Fault::new(
                    RuleCode::Arguments,
                    one.span,
                    "the window comes first, then the filter",
                    format!("Write {form}; the window is text in quotes."),
                ));
            }
        };
        Ok(Feature { event: event.into(), aggregation, property, window, filter })
    }

    /// The slot of a feature, and its number in this program.
    pub(super) fn intern(&mut self, feature: Feature, span: Span) -> Result<(u16, Arc<Slot>), Fault> {
        let Some((_, interner)) = &mut self.outside else {
            return Err(Fault::new(
                RuleCode::Unsupported,
                span,
                "a filter cannot aggregate",
                "Take it outside.",
            ));
        };
        let slot = interner.slot(feature);
        let index = self.program.slots.iter().position(|own| own.id == slot.id).unwrap_or_else(|| {
            self.program.slots.push(Arc::clone(&slot));
            self.program.slots.len() - 1
        });
        if index >= MAX_RULE_FEATURES {
            return Err(Fault::new(
                RuleCode::TooCostly,
                span,
                format!("the rule looks at more than {MAX_RULE_FEATURES} different aggregates"),
                "Split it into audiences and combine them with audience(\"name\").",
            ));
        }
        Ok((u16::try_from(index).unwrap_or(u16::MAX), slot))
    }

    pub(super) fn featured(&mut self, feature: Feature, span: Span) -> Result<Typed, Fault> {
        let of = match feature.aggregation {
            Aggregation::Count
            | Aggregation::Sum
            | Aggregation::Min
            | Aggregation::Max
            | Aggregation::Distinct => Type::Number,
            Aggregation::FirstAt | Aggregation::LastAt | Aggregation::Times => Type::Time,
            Aggregation::First | Aggregation::Last => Type::Sent,
        };
        let granules = feature.window.map_or(0, |window| u32::try_from(window.granules).unwrap_or(u32::MAX));
        let each = match feature.aggregation {
            Aggregation::Distinct => 8,
            Aggregation::First | Aggregation::Last => 2,
            _ => 1,
        };
        let (slot, _) = self.intern(feature, span)?;
        Ok(self.typed(Node::Feature(slot), of, span, 4 + each * (granules + 1)))
    }

    /// `since(instant)`: it remains the instant, and only says that it is to be compared with now.
    pub(super) fn since(&mut self, call: &Call, span: Span) -> Result<Typed, Fault> {
        let form = "since(last_at(\"Event\")) < duration(\"3d\")";
        let inner = self.value(one_argument(call, form)?)?;
        let at = match inner.of {
            Type::Time => inner.at,
            Type::Sent => self.push(Node::ToTime(inner.at), span, 2),
            other => {
                return Err(Fault::new(
                    RuleCode::Type,
                    inner.span,
                    format!("since() wants an instant, and this is {}", other.name()),
                    format!("Write {form}."),
                ));
            }
        };
        Ok(Typed { at, of: Type::Age, span })
    }

    pub(super) fn funnel(&mut self, call: &Call, span: Span) -> Result<Typed, Fault> {
        let form = "funnel([\"Product Viewed\", event(\"Product Added\", price > 50)], \"1h\"[, [\"Order \
                    Completed\"]])";
        let (steps, within, unless) = match call.arguments.as_slice() {
            [steps, within] => (steps, within, None),
            [steps, within, unless] => (steps, within, Some(unless)),
            _ => return Err(wrong_count(call, form)),
        };
        let steps = self.steps(steps, 2, form)?;
        let within_us = match &within.kind {
            Kind::Text(text) => length_us(text).ok_or_else(|| bad_length(text, within.span))?,
            _ => return Err(wrong_steps(within.span, "the second argument is a length of time", form)),
        };
        if !(1..=MAX_WINDOW_US).contains(&within_us) {
            return Err(Fault::new(
                RuleCode::Window,
                within.span,
                "a funnel takes more than nothing and at most 400 days",
                "Shorten it.",
            ));
        }
        let unless = unless.map_or(Ok(Box::default()), |unless| self.steps(unless, 1, form))?;
        let cost = 20 * (steps.len() + unless.len()) as u32;
        let funnel = Node::Funnel(Box::new(Funnel { steps, within_us, unless }));
        let completed = self.typed(funnel, Type::Time, span, cost);
        if call.name == "funnel_at" {
            return Ok(completed);
        }
        Ok(self.typed(Node::Has(completed.at), Type::Bool, span, 1))
    }

    fn steps(&mut self, list: &Expression, least: usize, form: &str) -> Result<Box<[u16]>, Fault> {
        let Kind::List(items) = &list.kind else {
            return Err(wrong_steps(list.span, "the steps are a list in [ ]", form));
        };
        if items.len() < least || items.len() > MAX_FUNNEL_STEPS {
            let message =
                format!("{least} to {MAX_FUNNEL_STEPS} steps are wanted, and there are {}", items.len());
            return Err(wrong_steps(list.span, &message, form));
        }
        let mut slots = Vec::with_capacity(items.len());
        for item in items {
            let feature = step(item, form)?;
            slots.push(self.intern(feature, item.span)?.0);
        }
        Ok(slots.into_boxed_slice())
    }
}

/// `"Event"`, `event("Event")` or `event("Event", filter)`.
fn step(item: &Expression, form: &str) -> Result<Feature, Fault> {
    let (event, span, condition) = match &item.kind {
        Kind::Text(event) if !event.is_empty() => (event.as_str(), item.span, None),
        Kind::Call(call) if call.name == "event" && call.target.is_none() => {
            let (event, span) = text_argument(call, 0, 2, "event(\"Event Name\"[, filter])")?;
            (event, span, call.arguments.get(1))
        }
        _ => {
            return Err(wrong_steps(
                item.span,
                "a step is an event's name, or event(\"Name\", filter)",
                form,
            ));
        }
    };
    check_event(event, span)?;
    if let Some(Expression { kind: Kind::Text(_), span }) = condition {
        return Err(Fault::new(
            RuleCode::Arguments,
            *span,
            "a step has no window of its own",
            format!("The second argument of the funnel says in which time: {form}."),
        ));
    }
    let filter = condition.map(filter).transpose()?;
    let aggregation = Aggregation::Times;
    Ok(Feature { event: event.into(), aggregation, property: None, window: None, filter })
}

fn wrong_steps(span: Span, message: &str, form: &str) -> Fault {
    Fault::new(RuleCode::Arguments, span, message, format!("Write {form}."))
}

fn check_event(event: &str, span: Span) -> Result<(), Fault> {
    if event.len() <= MAX_EVENT_NAME_BYTES && event.trim() == event {
        return Ok(());
    }
    Err(Fault::new(
        RuleCode::Arguments,
        span,
        format!("an event's name has at most {MAX_EVENT_NAME_BYTES} bytes and no blanks at its ends"),
        "Write it exactly as it is sent.",
    ))
}

fn property((text, span): (&str, Span)) -> Result<Property, Fault> {
    let path: Vec<&str> = text.split('.').collect();
    Property::of_path(&path).ok_or_else(|| no_such_property(&path, span))
}

fn window(text: &str, span: Span) -> Result<Window, Fault> {
    let length = length_us(text).ok_or_else(|| bad_length(text, span))?;
    if !(MIN_WINDOW_US..=MAX_WINDOW_US).contains(&length) {
        return Err(Fault::new(
            RuleCode::Window,
            span,
            format!("a window of \"{text}\" is out of bounds"),
            "A window is between \"1m\" and \"400d\" long; leave it away for all time.",
        ));
    }
    Window::of_length(length).ok_or_else(|| {
        let near = near_lengths(length);
        let advice =
            if near.is_empty() { "Use a rounder length.".to_owned() } else { format!("Use {near}.") };
        let message = format!("\"{text}\" cannot be divided into at most 128 equal granules");
        Fault::new(RuleCode::Window, span, message, advice)
    })
}

/// Compiles a condition over properties.
fn filter(expression: &Expression) -> Result<Filter, Fault> {
    let mut compiler = Compiler::new(None);
    compiler.program.root = compiler.condition(expression, true)?;
    compiler.check_cost(expression, MAX_FILTER_COST, "filter")?;
    let mut text = String::new();
    canonical(expression, &mut text);
    Ok(Filter::new(compiler.program, &text))
}
