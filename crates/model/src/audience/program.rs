//! A compiled expression, and how it is evaluated.
//!
//! It is a flat list of small instructions that name each other by number, not closures: it can be compared, sized,
//! shown and walked for an explanation, costs one allocation, and a match over instructions that lie together was not
//! slower than calls through pointers.

use crate::audience::DefinitionId;
use crate::audience::problem::Span;
use crate::feature::value::{MICRO, number};
use crate::feature::{self, FeatureStates, Latest, NEVER, Property, Slot, Value};
use crate::id::Timestamp;
use regex::Regex;
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::sync::Arc;

/// So many further steps of a funnel are looked at without asking for memory.
const USUAL_STEPS: usize = 3;

/// The number of an instruction in its program.
pub(crate) type At = u16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// What a comparison comes to. An absent value is equal to nothing and in no order with anything.
    pub(crate) fn holds(self, order: Option<Ordering>) -> bool {
        match (self, order) {
            (Self::Unequal, order) => order != Some(Ordering::Equal),
            (_, None) => false,
            (Self::Equal, Some(order)) => order == Ordering::Equal,
            (Self::Less, Some(order)) => order == Ordering::Less,
            (Self::LessOrEqual, Some(order)) => order != Ordering::Greater,
            (Self::Greater, Some(order)) => order == Ordering::Greater,
            (Self::GreaterOrEqual, Some(order)) => order != Ordering::Less,
        }
    }

    /// The same with its sides exchanged.
    pub(crate) fn turned(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Plus,
    Minus,
    Times,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

/// Where a fact comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leaf {
    Property(Property),
    /// The name of a trait, and of members in it.
    Trait(Box<str>, Box<[Box<str>]>),
    Consent(Box<str>),
    Audience(DefinitionId),
}

/// Steps in order within a time, and none of some others meanwhile. Slots are numbers in the program's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Funnel {
    pub(crate) steps: Box<[u16]>,
    pub(crate) within_us: i64,
    pub(crate) unless: Box<[u16]>,
}

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Constant(Value<'static>),
    Leaf(Leaf),
    Feature(u16),
    /// Whether a count is above zero, or is not.
    Any(u16, bool),
    /// When a funnel was last completed.
    Funnel(Box<Funnel>),
    All(Box<[At]>),
    Either(Box<[At]>),
    Not(At),
    If([At; 3]),
    Compare(Comparison, At, At),
    /// How long ago an instant was, compared with a length of time in microseconds.
    Since(Comparison, At, i64),
    Among(At, Box<[Value<'static>]>),
    Arithmetic(Operator, At, At),
    ToNumber(At),
    ToTime(At),
    Has(At),
    Text(TextTest, At, Box<str>),
    Matches(At, Box<Regex>),
}

/// Facts of one thing, an event or a person.
pub(crate) trait Source {
    fn fact<'s>(&'s self, leaf: &'s Leaf) -> Value<'s>;
    fn node(&self, index: usize) -> Option<&FeatureStates>;
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    pub(crate) nodes: Vec<Node>,
    /// Where each instruction stands in the text.
    pub(crate) spans: Vec<Span>,
    pub(crate) root: At,
    /// The conditions that `&&`, `||` and `!` combine, in the order of the text.
    pub(crate) terms: Vec<At>,
    pub(crate) slots: Vec<Arc<Slot>>,
    pub(crate) cost: u32,
}

/// One evaluation.
pub(crate) struct Run<'r, S> {
    pub(crate) program: &'r Program,
    pub(crate) source: &'r S,
    pub(crate) now: Timestamp,
}

impl<'r, S: Source> Run<'r, S> {
    /// Whether a condition holds, and an instant before which time alone cannot change that.
    pub(crate) fn truth(&self, at: At) -> (bool, Timestamp) {
        match self.program.nodes.get(usize::from(at)) {
            Some(Node::All(parts)) => self.chain(parts, false),
            Some(Node::Either(parts)) => self.chain(parts, true),
            Some(Node::Not(inner)) => {
                let (holds, next) = self.truth(*inner);
                (!holds, next)
            }
            Some(Node::Any(slot, wanted)) => match self.slot(*slot) {
                Some(slot) => {
                    let (any, next) = feature::any(slot, self.nodes(), self.now);
                    (any == *wanted, next)
                }
                None => (false, NEVER),
            },
            Some(Node::Compare(comparison, left, right)) => {
                let ((left, one), (right, two)) = (self.value(*left), self.value(*right));
                (comparison.holds(left.order(&right)), one.min(two))
            }
            Some(Node::Since(comparison, time, length_us)) => self.since(*comparison, *time, *length_us),
            Some(Node::Among(inner, items)) => {
                let (value, next) = self.value(*inner);
                (items.iter().any(|item| value.order(item) == Some(Ordering::Equal)), next)
            }
            Some(Node::Has(inner)) => {
                let (value, next) = self.value(*inner);
                (value.is_present(), next)
            }
            Some(Node::Text(test, inner, part)) => self.text(*inner, |text| match test {
                TextTest::StartsWith => text.starts_with(part.as_ref()),
                TextTest::EndsWith => text.ends_with(part.as_ref()),
                TextTest::Contains => text.contains(part.as_ref()),
            }),
            Some(Node::Matches(inner, pattern)) => self.text(*inner, |text| pattern.is_match(text)),
            Some(Node::If([condition, yes, no])) => {
                let (holds, one) = self.truth(*condition);
                let (result, two) = self.truth(if holds { *yes } else { *no });
                (result, one.min(two))
            }
            _ => {
                let (value, next) = self.value(at);
                (value.is_true(), next)
            }
        }
    }

    /// The first part that is `decisive` decides, for as long as it stays so.
    fn chain(&self, parts: &[At], decisive: bool) -> (bool, Timestamp) {
        let mut next = NEVER;
        for part in parts {
            let (holds, changes) = self.truth(*part);
            if holds == decisive {
                return (decisive, changes);
            }
            next = next.min(changes);
        }
        (!decisive, next)
    }

    fn since(&self, comparison: Comparison, time: At, length_us: i64) -> (bool, Timestamp) {
        let (value, next) = self.value(time);
        let Value::Time(at) = value else { return (false, next) };
        let holds = comparison.holds(Some(self.now.since_us(at).cmp(&length_us)));
        let reached = at.plus_us(length_us);
        let flips = match comparison {
            Comparison::LessOrEqual | Comparison::Greater => reached.plus_us(1),
            _ => reached,
        };
        (holds, if self.now < flips { next.min(flips) } else { next })
    }

    fn text(&self, inner: At, test: impl FnOnce(&str) -> bool) -> (bool, Timestamp) {
        let (value, next) = self.value(inner);
        match value {
            Value::Text(text) => (test(&text), next),
            _ => (false, next),
        }
    }

    /// What an instruction comes to, and an instant before which time alone cannot change that.
    pub(crate) fn value(&self, at: At) -> (Value<'r>, Timestamp) {
        match self.program.nodes.get(usize::from(at)) {
            Some(Node::Constant(value)) => (borrowed(value), NEVER),
            Some(Node::Leaf(leaf)) => (self.source.fact(leaf), NEVER),
            Some(Node::Feature(slot)) => match self.slot(*slot) {
                Some(slot) => {
                    let (gathered, next) = feature::read(slot, self.nodes(), self.now);
                    (gathered.value(slot.feature.aggregation), next)
                }
                None => (Value::Absent, NEVER),
            },
            Some(Node::Funnel(funnel)) => {
                let completed = self.completed(funnel);
                (completed.map_or(Value::Absent, |at| Value::Time(Timestamp(at))), NEVER)
            }
            Some(Node::If([condition, yes, no])) => {
                let (holds, one) = self.truth(*condition);
                let (value, two) = self.value(if holds { *yes } else { *no });
                (value, one.min(two))
            }
            Some(Node::Arithmetic(operator, left, right)) => {
                let ((left, one), (right, two)) = (self.value(*left), self.value(*right));
                (arithmetic(*operator, &left, &right), one.min(two))
            }
            Some(Node::ToNumber(inner)) => {
                let (value, next) = self.value(*inner);
                (value.to_number(), next)
            }
            Some(Node::ToTime(inner)) => {
                let (value, next) = self.value(*inner);
                (value.to_time(), next)
            }
            Some(_) => {
                let (holds, next) = self.truth(at);
                (Value::Bool(holds), next)
            }
            None => (Value::Absent, NEVER),
        }
    }

    fn slot(&self, index: u16) -> Option<&'r Slot> {
        self.program.slots.get(usize::from(index)).map(Arc::as_ref)
    }

    fn nodes(&self) -> impl Iterator<Item = &'r FeatureStates> + use<'r, S> {
        let source = self.source;
        (0..).map_while(move |index| source.node(index))
    }

    fn times(&self, slot: u16) -> Latest<'r> {
        self.slot(slot).map_or_else(Latest::default, |slot| feature::times(slot, self.nodes()))
    }

    /// For each time of the first step, the earliest completion after it; of those that are in time and that nothing
    /// broke, the latest. A later start has no earlier completion, so the newest start that counts decides.
    fn completed(&self, funnel: &Funnel) -> Option<i64> {
        let (first, others) = funnel.steps.split_first()?;
        let mut starts = self.times(*first);
        starts.get(0)?;
        let mut steps: SmallVec<[Latest<'r>; USUAL_STEPS]> = SmallVec::new();
        for step in others {
            let mut times = self.times(*step);
            times.get(0)?;
            steps.push(times);
        }
        let mut unless: SmallVec<[Latest<'r>; USUAL_STEPS]> =
            funnel.unless.iter().map(|step| self.times(*step)).collect();
        // Newest first, so that each list is read through at most once.
        (0..).map_while(|index| starts.get(index)).find_map(|start| {
            let end = start.saturating_add(funnel.within_us);
            let last = steps
                .iter_mut()
                .try_fold(start, |before, times| times.earliest_after(before).filter(|at| *at <= end))?;
            let broken = unless.iter_mut().any(|times| times.any_within(start, end));
            (!broken).then_some(last)
        })
    }
}

fn borrowed<'r>(value: &'r Value<'static>) -> Value<'r> {
    match value {
        Value::Text(text) => Value::Text(std::borrow::Cow::Borrowed(text)),
        other => other.clone(),
    }
}

fn arithmetic(operator: Operator, left: &Value<'_>, right: &Value<'_>) -> Value<'static> {
    let wide = |micro: i64| i128::from(micro);
    match (operator, left, right) {
        (Operator::Plus, Value::Number(one), Value::Number(two)) => number(wide(*one) + wide(*two)),
        (Operator::Minus, Value::Number(one), Value::Number(two)) => number(wide(*one) - wide(*two)),
        (Operator::Times, Value::Number(one), Value::Number(two)) => {
            number(wide(*one) * wide(*two) / wide(MICRO))
        }
        (Operator::Over, Value::Number(one), Value::Number(two)) if *two != 0 => {
            number(wide(*one) * wide(MICRO) / wide(*two))
        }
        (Operator::Plus, Value::Time(at), Value::Duration(length_us))
        | (Operator::Plus, Value::Duration(length_us), Value::Time(at)) => {
            Value::Time(at.plus_us(*length_us))
        }
        (Operator::Minus, Value::Time(at), Value::Duration(length_us)) => {
            Value::Time(at.plus_us(length_us.saturating_neg()))
        }
        (Operator::Minus, Value::Time(one), Value::Time(two)) => Value::Duration(one.since_us(*two)),
        _ => Value::Absent,
    }
}
