//! Operators, comparisons and tests of text.

use super::faults::{no_such_function, text_argument};
use super::{Compiler, Kind, MAX_LIST_VALUES, MAX_PATTERN_BYTES, MAX_PATTERN_MEMORY_BYTES, Type, Typed};
use crate::audience::problem::{Fault, RuleCode, Span};
use crate::audience::program::{Comparison, Node, Operator, TextTest};
use crate::audience::syntax::{Call, Expression};
use crate::feature::{Aggregation, Value};
use regex::RegexBuilder;

impl Compiler<'_> {
    pub(super) fn binary(
        &mut self,
        sign: &str,
        left: &Expression,
        right: &Expression,
        span: Span,
    ) -> Result<Typed, Fault> {
        let comparison = match sign {
            "==" => Comparison::Equal,
            "!=" => Comparison::Unequal,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            "in" => return self.among(left, right, span),
            _ => return self.arithmetic(sign, left, right, span),
        };
        if matches!(left.kind, Kind::Null) || matches!(right.kind, Kind::Null) {
            return self.compare_null(comparison, left, right, span);
        }
        let (left, right) = (self.value(left)?, self.value(right)?);
        self.compare(comparison, left, right, span)
    }

    fn compare_null(
        &mut self,
        comparison: Comparison,
        left: &Expression,
        right: &Expression,
        span: Span,
    ) -> Result<Typed, Fault> {
        let other = if matches!(left.kind, Kind::Null) { right } else { left };
        let inner = self.value(other)?;
        let has = self.push(Node::Has(inner.at), span, 1);
        match comparison {
            Comparison::Unequal => Ok(Typed { at: has, of: Type::Bool, span }),
            Comparison::Equal => Ok(self.typed(Node::Not(has), Type::Bool, span, 1)),
            _ => Err(Fault::new(
                RuleCode::Type,
                span,
                "`null` is in no order with anything",
                "Compare with == or !=, or write has(traits.name).",
            )),
        }
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        mut left: Typed,
        mut right: Typed,
        span: Span,
    ) -> Result<Typed, Fault> {
        match (left.of, right.of) {
            (Type::Age, _) => return self.compare_age(comparison, &left, &right, span),
            (_, Type::Age) => return self.compare_age(comparison.turned(), &right, &left, span),
            (Type::Sent, Type::Number) => left = self.as_number(left),
            (Type::Number, Type::Sent) => right = self.as_number(right),
            (Type::Sent, Type::Time) => left = self.as_time(left),
            (Type::Time, Type::Sent) => right = self.as_time(right),
            (Type::Sent, Type::Duration) | (Type::Duration, Type::Sent) => {
                return Err(mismatch(&left, &right, span));
            }
            (Type::Sent, _) | (_, Type::Sent) => {}
            (one, two) if one != two => return Err(mismatch(&left, &right, span)),
            _ => {}
        }
        let in_order = !matches!(comparison, Comparison::Equal | Comparison::Unequal);
        if in_order && (left.of == Type::Bool || right.of == Type::Bool) {
            return Err(Fault::new(
                RuleCode::Type,
                span,
                "true and false are in no order",
                "Write the condition itself, or ! before it.",
            ));
        }
        let node = match self.as_any(comparison, &left, &right) {
            Some(any) => any,
            None => Node::Compare(comparison, left.at, right.at),
        };
        Ok(self.typed(node, Type::Bool, span, 1))
    }

    /// A count compared with zero only asks whether there is any: then no granule but the newest matters, and the
    /// next change is when that one ends.
    fn as_any(&self, comparison: Comparison, left: &Typed, right: &Typed) -> Option<Node> {
        let node = |typed: &Typed| self.program.nodes.get(usize::from(typed.at));
        let (slot, bound, comparison) = match (node(left)?, node(right)?) {
            (Node::Feature(slot), Node::Constant(Value::Number(bound))) => (*slot, *bound, comparison),
            (Node::Constant(Value::Number(bound)), Node::Feature(slot)) => {
                (*slot, *bound, comparison.turned())
            }
            _ => return None,
        };
        let feature = &self.program.slots.get(usize::from(slot))?.feature;
        let one = crate::feature::value::MICRO;
        let wanted = match (comparison, bound) {
            (Comparison::Greater | Comparison::Unequal, 0) => true,
            (Comparison::GreaterOrEqual, bound) if bound > 0 && bound <= one => true,
            (Comparison::Equal | Comparison::LessOrEqual, 0) => false,
            (Comparison::Less, bound) if bound > 0 && bound <= one => false,
            _ => return None,
        };
        (feature.aggregation == Aggregation::Count).then_some(Node::Any(slot, wanted))
    }

    fn compare_age(
        &mut self,
        comparison: Comparison,
        age: &Typed,
        bound: &Typed,
        span: Span,
    ) -> Result<Typed, Fault> {
        let form = "Write e.g. since(last_at(\"Event\")) < duration(\"3d\").";
        let constant = match self.program.nodes.get(usize::from(bound.at)) {
            Some(Node::Constant(Value::Duration(length))) => Some(*length),
            _ => None,
        };
        let Some(length) = constant else {
            return Err(Fault::new(
                RuleCode::Type,
                bound.span,
                format!("since() is compared with a fixed length of time, and this is {}", bound.of.name()),
                form,
            ));
        };
        if matches!(comparison, Comparison::Equal | Comparison::Unequal) {
            return Err(Fault::new(
                RuleCode::Type,
                span,
                "an age is equal to a length of time for a microsecond only",
                "Compare it with <, <=, > or >=.",
            ));
        }
        Ok(self.typed(Node::Since(comparison, age.at, length), Type::Bool, span, 1))
    }

    fn as_number(&mut self, part: Typed) -> Typed {
        self.typed(Node::ToNumber(part.at), Type::Number, part.span, 2)
    }

    fn as_time(&mut self, part: Typed) -> Typed {
        self.typed(Node::ToTime(part.at), Type::Time, part.span, 2)
    }

    fn among(&mut self, left: &Expression, right: &Expression, span: Span) -> Result<Typed, Fault> {
        let form = "Write e.g. traits.country in [\"DE\", \"AT\"].";
        let Kind::List(items) = &right.kind else {
            return Err(Fault::new(
                RuleCode::Type,
                right.span,
                "behind `in` stands a list of fixed values",
                form,
            ));
        };
        if items.is_empty() || items.len() > MAX_LIST_VALUES {
            let message =
                format!("a list has 1 to {MAX_LIST_VALUES} values, and this one has {}", items.len());
            return Err(Fault::new(RuleCode::Arguments, right.span, message, form));
        }
        let mut inner = self.value(left)?;
        let mut values: Vec<Value<'static>> = Vec::with_capacity(items.len());
        let mut of = None;
        for item in items {
            let (value, its) = match &item.kind {
                Kind::Text(text) => (Value::Text(text.clone().into()), Type::Text),
                Kind::Number(micro) => (Value::Number(*micro), Type::Number),
                Kind::Bool(flag) => (Value::Bool(*flag), Type::Bool),
                _ => {
                    let message = "a list holds fixed texts, numbers, or true and false";
                    return Err(Fault::new(RuleCode::Type, item.span, message, form));
                }
            };
            if *of.get_or_insert(its) != its {
                let message = "the values of a list are of one type";
                return Err(Fault::new(RuleCode::Type, item.span, message, form));
            }
            values.push(value);
        }
        let of = of.unwrap_or(Type::Text);
        if inner.of == Type::Sent && of == Type::Number {
            inner = self.as_number(inner);
        }
        if inner.of != Type::Sent && inner.of != of {
            let message = format!("this is {}, and the list holds {}", inner.of.name(), of.name());
            return Err(Fault::new(RuleCode::Type, span, message, "Compare values of one type."));
        }
        let cost = 1 + values.len() as u32 / 4;
        Ok(self.typed(Node::Among(inner.at, values.into_boxed_slice()), Type::Bool, span, cost))
    }

    pub(super) fn minus(&mut self, inner: &Expression, span: Span) -> Result<Typed, Fault> {
        let zero = self.typed(Node::Constant(Value::Number(0)), Type::Number, span, 1);
        let inner = self.value(inner)?;
        self.calculate(Operator::Minus, "-", zero, inner, span)
    }

    fn arithmetic(
        &mut self,
        sign: &str,
        left: &Expression,
        right: &Expression,
        span: Span,
    ) -> Result<Typed, Fault> {
        let operator = match sign {
            "+" => Operator::Plus,
            "-" => Operator::Minus,
            "*" => Operator::Times,
            "/" => Operator::Over,
            _ => {
                return Err(Fault::new(
                    RuleCode::Unsupported,
                    span,
                    format!("rules have no `{sign}`"),
                    "There are +, -, * and /.",
                ));
            }
        };
        let (left, right) = (self.value(left)?, self.value(right)?);
        self.calculate(operator, sign, left, right, span)
    }

    fn calculate(
        &mut self,
        operator: Operator,
        sign: &str,
        mut left: Typed,
        mut right: Typed,
        span: Span,
    ) -> Result<Typed, Fault> {
        let of = match (operator, left.of, right.of) {
            (_, Type::Number | Type::Sent, Type::Number | Type::Sent) => {
                if left.of == Type::Sent {
                    left = self.as_number(left);
                }
                if right.of == Type::Sent {
                    right = self.as_number(right);
                }
                Type::Number
            }
            (Operator::Plus | Operator::Minus, Type::Time, Type::Duration)
            | (Operator::Plus, Type::Duration, Type::Time) => Type::Time,
            (Operator::Minus, Type::Time, Type::Time) => Type::Duration,
            _ => {
                let message = format!("`{sign}` does not go with {} and {}", left.of.name(), right.of.name());
                let advice = "Calculate with numbers, or add a duration to an instant.";
                return Err(Fault::new(RuleCode::Type, span, message, advice));
            }
        };
        Ok(self.typed(Node::Arithmetic(operator, left.at, right.at), of, span, 1))
    }

    pub(super) fn choice(&mut self, parts: &[Expression; 3], span: Span) -> Result<Typed, Fault> {
        let [condition, yes, no] = parts;
        let condition = self.condition(condition, false)?;
        let (yes, no) = (self.value(yes)?, self.value(no)?);
        if yes.of != no.of || yes.of == Type::Age {
            return Err(Fault::new(
                RuleCode::Type,
                span,
                format!("the two outcomes are {} and {}", yes.of.name(), no.of.name()),
                "Both sides of the `:` are of one type, and neither is since(..).",
            ));
        }
        Ok(self.typed(Node::If([condition, yes.at, no.at]), yes.of, span, 1))
    }

    /// `text.startsWith("x")`.
    pub(super) fn method(&mut self, target: &Expression, call: &Call, span: Span) -> Result<Typed, Fault> {
        let test = match call.name.as_str() {
            "startsWith" => Some(TextTest::StartsWith),
            "endsWith" => Some(TextTest::EndsWith),
            "contains" => Some(TextTest::Contains),
            "matches" => None,
            _ => return Err(no_such_function(call)),
        };
        let inner = self.value(target)?;
        if !matches!(inner.of, Type::Text | Type::Sent) {
            return Err(Fault::new(
                RuleCode::Type,
                inner.span,
                format!("`{}` looks at text, and this is {}", call.name, inner.of.name()),
                "Compare it with ==, <, > instead.",
            ));
        }
        let (part, at) = text_argument(call, 0, 1, &format!("traits.name.{}(\"text\")", call.name))?;
        if let Some(test) = test {
            return Ok(self.typed(Node::Text(test, inner.at, part.into()), Type::Bool, span, 4));
        }
        if part.len() > MAX_PATTERN_BYTES {
            let message =
                format!("the pattern has {} bytes, and {MAX_PATTERN_BYTES} are the limit", part.len());
            return Err(Fault::new(RuleCode::Pattern, at, message, "Shorten it, or use contains and ||."));
        }
        let built = RegexBuilder::new(part).size_limit(MAX_PATTERN_MEMORY_BYTES).nest_limit(32).build();
        let pattern = built.map_err(|error| {
            let reason = error.to_string();
            let last = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let last = last.trim_end_matches('.').to_lowercase();
            let advice = "Patterns are those of RE2: no look-around, no back-references, bounded repetition.";
            Fault::new(RuleCode::Pattern, at, format!("the pattern cannot be used: {last}"), advice)
        })?;
        let cost = 20 + part.len() as u32 / 4;
        Ok(self.typed(Node::Matches(inner.at, Box::new(pattern)), Type::Bool, span, cost))
    }
}

fn mismatch(left: &Typed, right: &Typed, span: Span) -> Fault {
    let advice = match (left.of, right.of) {
        (Type::Number, Type::Text) | (Type::Text, Type::Number) => "Write the number without quotes.",
        (Type::Time, _) | (_, Type::Time) => {
            "Compare an instant with another, or its age: since(..) < duration(\"3d\")."
        }
        (Type::Bool, _) | (_, Type::Bool) => "Write the condition itself, or ! before it.",
        _ => "Compare values of one type.",
    };
    let message = format!("{} cannot be compared with {}", left.of.name(), right.of.name());
    Fault::new(RuleCode::Type, span, message, advice)
}
