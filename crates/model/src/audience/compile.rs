//! From a rule's text to a program: names, types, arguments and cost are checked here, once.

mod aggregate;
mod faults;
mod operators;

use crate::audience::DefinitionId;
use crate::audience::problem::{Fault, RuleCode, Span};
use crate::audience::program::{At, Leaf, Node, Program};
use crate::audience::syntax::{Call, Expression, Kind, parse};
use crate::feature::window::length_us;
use crate::feature::{Feature, FeatureId, Property, Slot, Value, value};
use faults::{
    bad_length, no_now, no_such, no_such_function, no_such_name, no_such_property, not_a_condition,
    not_a_feature, not_in_a_filter, one_argument, path_of, text_argument,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most a rule may cost. One unit is about what looking one small fact up takes; a windowed count costs four and
/// one for each of its granules.
pub const MAX_RULE_COST: u32 = 2_000;
/// The most a filter may cost: it runs for every event of its name.
pub const MAX_FILTER_COST: u32 = 400;
/// The most conditions that a rule may combine with `&&`, `||` and `!`.
pub const MAX_RULE_TERMS: usize = 64;
/// The longest pattern of `matches`, in bytes.
pub const MAX_PATTERN_BYTES: usize = 512;
/// The most memory that a compiled pattern may take, in bytes.
const MAX_PATTERN_MEMORY_BYTES: usize = 64 * 1_024;
/// The most values in a list behind `in`.
pub const MAX_LIST_VALUES: usize = 256;
/// The most steps of a funnel, and again the most that may break it.
pub const MAX_FUNNEL_STEPS: usize = 8;

/// Every function there is, for suggestions.
const FUNCTIONS: [&str; 20] = [
    "audience",
    "consent",
    "contains",
    "count",
    "distinct",
    "duration",
    "endsWith",
    "event",
    "feature",
    "first",
    "first_at",
    "funnel",
    "funnel_at",
    "has",
    "last",
    "last_at",
    "matches",
    "max",
    "min",
    "since",
];
const MORE_FUNCTIONS: [&str; 3] = ["startsWith", "sum", "timestamp"];

/// What a value is known to be before it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    Number,
    Text,
    Time,
    Duration,
    /// What was sent: known only when it is there.
    Sent,
    /// `since(..)`: only ever compared.
    Age,
}

impl Type {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "text",
            Self::Time => "an instant",
            Self::Duration => "a length of time",
            Self::Sent => "whatever was sent",
            Self::Age => "an age",
        }
    }
}

/// Gives features their slots: the same feature gets the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interner {
    pub(crate) ids: BTreeMap<Box<str>, FeatureId>,
    pub(crate) slots: BTreeMap<FeatureId, Arc<Slot>>,
    pub(crate) next: u32,
}

impl Interner {
    fn slot(&mut self, feature: Feature) -> Arc<Slot> {
        let text: Box<str> = feature.to_string().into();
        let id = *self.ids.entry(text).or_insert_with(|| {
            let id = FeatureId(self.next);
            self.next = self.next.saturating_add(1);
            id
        });
        let slot = self.slots.entry(id).or_insert_with(|| Arc::new(Slot { id, feature }));
        Arc::clone(slot)
    }
}

/// What a rule can refer to by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) audiences: BTreeMap<Box<str>, DefinitionId>,
    pub(crate) features: BTreeMap<Box<str>, (DefinitionId, Arc<Slot>)>,
}

/// A compiled rule and what it refers to.
#[derive(Clone, Debug)]
pub(crate) struct CompiledRule {
    pub(crate) program: Program,
    pub(crate) audiences: Vec<(DefinitionId, Span)>,
    pub(crate) features: Vec<DefinitionId>,
}

/// Compiles a rule.
pub(crate) fn rule(text: &str, names: &Names, interner: &mut Interner) -> Result<CompiledRule, Fault> {
    let expression = parse(text)?;
    let mut compiler = Compiler::new(Some((names, interner)));
    compiler.program.root = compiler.condition(&expression, true)?;
    compiler.check_cost(&expression, MAX_RULE_COST, "rule")?;
    Ok(CompiledRule { program: compiler.program, audiences: compiler.audiences, features: compiler.features })
}

/// Compiles the expression of a feature that has a name of its own.
pub(crate) fn feature(text: &str, interner: &mut Interner) -> Result<Arc<Slot>, Fault> {
    let expression = parse(text)?;
    let names = Names::default();
    let mut compiler = Compiler::new(Some((&names, interner)));
    let Kind::Call(call) = &expression.kind else {
        return Err(not_a_feature(expression.span));
    };
    let Some(aggregation) = aggregate::of_name(&call.name).filter(|_| call.target.is_none()) else {
        return Err(not_a_feature(call.name_span));
    };
    let feature = compiler.aggregate(aggregation, call)?;
    Ok(compiler.intern(feature, expression.span)?.1)
}

/// What a part of an expression became.
pub(crate) struct Typed {
    at: At,
    of: Type,
    span: Span,
}

pub(crate) struct Compiler<'c> {
    program: Program,
    /// Absent in a filter, which sees only its event.
    outside: Option<(&'c Names, &'c mut Interner)>,
    audiences: Vec<(DefinitionId, Span)>,
    features: Vec<DefinitionId>,
}

impl<'c> Compiler<'c> {
    fn new(outside: Option<(&'c Names, &'c mut Interner)>) -> Self {
        Self { program: Program::default(), outside, audiences: Vec::new(), features: Vec::new() }
    }

    fn push(&mut self, node: Node, span: Span, cost: u32) -> At {
        let at = At::try_from(self.program.nodes.len()).unwrap_or(At::MAX);
        self.program.nodes.push(node);
        self.program.spans.push(span);
        self.program.cost = self.program.cost.saturating_add(cost);
        at
    }

    fn typed(&mut self, node: Node, of: Type, span: Span, cost: u32) -> Typed {
        Typed { at: self.push(node, span, cost), of, span }
    }

    fn check_cost(&self, expression: &Expression, most: u32, what: &str) -> Result<(), Fault> {
        let cost = self.program.cost;
        if cost <= most {
            return Ok(());
        }
        Err(Fault::new(
            RuleCode::TooCostly,
            expression.span,
            format!("the {what} costs {cost}, and {most} is the limit"),
            "Use fewer or shorter windows, distinct counts, funnels or patterns, or split it into audiences.",
        ))
    }

    /// A condition. `top` as long as only `&&`, `||` and `!` are above it: then its parts are terms.
    fn condition(&mut self, expression: &Expression, top: bool) -> Result<At, Fault> {
        let span = expression.span;
        match &expression.kind {
            Kind::All(parts) | Kind::Any(parts) => {
                let mut compiled = Vec::with_capacity(parts.len());
                for part in parts {
                    compiled.push(self.condition(part, top)?);
                }
                let compiled = compiled.into_boxed_slice();
                let all = matches!(expression.kind, Kind::All(_));
                let node = if all { Node::All(compiled) } else { Node::Either(compiled) };
                Ok(self.push(node, span, 1))
            }
            Kind::Not(inner) => {
                let inner = self.condition(inner, top)?;
                Ok(self.push(Node::Not(inner), span, 1))
            }
            _ => {
                let part = self.value(expression)?;
                if !matches!(part.of, Type::Bool | Type::Sent) {
                    return Err(not_a_condition(&part));
                }
                if top {
                    self.program.terms.push(part.at);
                }
                if self.program.terms.len() > MAX_RULE_TERMS {
                    return Err(Fault::new(
                        RuleCode::TooLong,
                        span,
                        format!("the rule combines more than {MAX_RULE_TERMS} conditions"),
                        "Use `in [..]` for a list of values, or split the rule into audiences.",
                    ));
                }
                Ok(part.at)
            }
        }
    }

    /// Any expression.
    fn value(&mut self, expression: &Expression) -> Result<Typed, Fault> {
        let span = expression.span;
        match &expression.kind {
            Kind::Bool(flag) => Ok(self.typed(Node::Constant(Value::Bool(*flag)), Type::Bool, span, 1)),
            Kind::Number(micro) => {
                Ok(self.typed(Node::Constant(Value::Number(*micro)), Type::Number, span, 1))
            }
            Kind::Text(text) => {
                let constant = Value::Text(text.clone().into());
                Ok(self.typed(Node::Constant(constant), Type::Text, span, 1))
            }
            Kind::Null => Err(Fault::new(
                RuleCode::Type,
                span,
                "`null` can only be compared with == and !=",
                "Write has(traits.name) to ask whether something is there.",
            )),
            Kind::Name(_) | Kind::Member(..) | Kind::Index(..) => self.named(expression),
            Kind::Call(call) => self.call(call, span),
            Kind::List(_) => Err(Fault::new(
                RuleCode::Type,
                span,
                "a list can only stand behind `in`, or be the steps of a funnel",
                "Write e.g. traits.country in [\"DE\", \"AT\"].",
            )),
            Kind::All(_) | Kind::Any(_) | Kind::Not(_) => {
                let at = self.condition(expression, false)?;
                Ok(Typed { at, of: Type::Bool, span })
            }
            Kind::Minus(inner) => self.minus(inner, span),
            Kind::Binary(sign, left, right) => self.binary(sign, left, right, span),
            Kind::If(parts) => self.choice(parts, span),
        }
    }

    /// `traits.name`, and in a filter `category` and `properties.name`.
    fn named(&mut self, expression: &Expression) -> Result<Typed, Fault> {
        let span = expression.span;
        let Some(path) = path_of(expression) else {
            return Err(Fault::new(
                RuleCode::Unsupported,
                span,
                "only members of objects can be named",
                "Write traits.name, traits[\"name\"], properties.name or context.name.",
            ));
        };
        let Some((root, rest)) = path.split_first() else { return Err(no_such_name("", span)) };
        if self.outside.is_none() {
            let Some(property) = Property::of_path(&path) else {
                return Err(no_such_property(&path, span));
            };
            let cost = if property.is_of_product() { 2 } else { 20 };
            return Ok(self.typed(Node::Leaf(Leaf::Property(property)), Type::Sent, span, cost));
        }
        match rest.split_first() {
            Some((name, inner)) if *root == "traits" && !name.is_empty() => {
                let inner = inner.iter().map(|name| Box::from(*name)).collect();
                Ok(self.typed(Node::Leaf(Leaf::Trait((*name).into(), inner)), Type::Sent, span, 8))
            }
            None if *root == "traits" => Err(Fault::new(
                RuleCode::Arguments,
                span,
                "which trait?",
                "Name one, e.g. traits.plan or traits[\"plan\"].",
            )),
            _ => Err(no_such_name(root, span)),
        }
    }

    fn call(&mut self, call: &Call, span: Span) -> Result<Typed, Fault> {
        if let Some(target) = &call.target {
            return self.method(target, call, span);
        }
        match call.name.as_str() {
            "has" => {
                let inner = self.value(one_argument(call, "has(traits.name)")?)?;
                if matches!(inner.of, Type::Age | Type::Bool) {
                    return Err(Fault::new(
                        RuleCode::Type,
                        inner.span,
                        format!("has() asks whether a value is there, and this is {}", inner.of.name()),
                        "Write has(traits.name).",
                    ));
                }
                Ok(self.typed(Node::Has(inner.at), Type::Bool, span, 1))
            }
            "duration" => {
                let (text, at) = text_argument(call, 0, 1, "duration(\"3d\")")?;
                let length = length_us(text).ok_or_else(|| bad_length(text, at))?;
                Ok(self.typed(Node::Constant(Value::Duration(length)), Type::Duration, span, 1))
            }
            "timestamp" => {
                let (text, at) = text_argument(call, 0, 1, "timestamp(\"2026-11-27T00:00:00Z\")")?;
                let instant = value::instant(text).ok_or_else(|| {
                    Fault::new(
                        RuleCode::Arguments,
                        at,
                        format!("\"{text}\" is no instant"),
                        "Write it as in RFC 3339, e.g. \"2026-11-27\" or \"2026-11-27T18:00:00+01:00\".",
                    )
                })?;
                Ok(self.typed(Node::Constant(Value::Time(instant)), Type::Time, span, 1))
            }
            _ if self.outside.is_none() => Err(not_in_a_filter(call)),
            _ => self.rule_call(call, span),
        }
    }

    /// Functions that only rules have.
    fn rule_call(&mut self, call: &Call, span: Span) -> Result<Typed, Fault> {
        if let Some(aggregation) = aggregate::of_name(&call.name) {
            let feature = self.aggregate(aggregation, call)?;
            return self.featured(feature, span);
        }
        match call.name.as_str() {
            "consent" => {
                let (category, _) = text_argument(call, 0, 1, "consent(\"Advertising\")")?;
                Ok(self.typed(Node::Leaf(Leaf::Consent(category.into())), Type::Bool, span, 8))
            }
            "audience" => {
                let (name, at) = text_argument(call, 0, 1, "audience(\"name\")")?;
                let audiences = self.outside.as_ref().map(|(names, _)| &names.audiences);
                let found = audiences.and_then(|known| known.get(name)).copied();
                let Some(id) = found else {
                    let known = audiences.into_iter().flat_map(|known| known.keys().map(AsRef::as_ref));
                    return Err(no_such("audience", name, known, at));
                };
                self.audiences.push((id, at));
                Ok(self.typed(Node::Leaf(Leaf::Audience(id)), Type::Bool, span, 4))
            }
            "feature" => {
                let (name, at) = text_argument(call, 0, 1, "feature(\"name\")")?;
                let features = self.outside.as_ref().map(|(names, _)| &names.features);
                let Some((id, slot)) = features.and_then(|known| known.get(name)).cloned() else {
                    let known = features.into_iter().flat_map(|known| known.keys().map(AsRef::as_ref));
                    return Err(no_such("feature", name, known, at));
                };
                self.features.push(id);
                self.featured(slot.feature.clone(), span)
            }
            "since" => self.since(call, span),
            "funnel" | "funnel_at" => self.funnel(call, span),
            "event" => Err(Fault::new(
                RuleCode::Type,
                span,
                "event() is a step of a funnel and has no value of its own",
                "Write count(\"Event\", \"7d\") > 0 to ask whether it happened.",
            )),
            "now" => Err(no_now(span)),
            _ => Err(no_such_function(call)),
        }
    }
}
