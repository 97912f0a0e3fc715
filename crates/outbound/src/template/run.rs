//! Renders a template with a message.

use super::filters::{Budget, Fault, text};
use super::number::Decimal;
use super::parse::{Block, Chain, Condition, Loop, Operand, Part, Step, Test, What};
use super::write::Writer;
use super::{Kind, RenderFailure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A value of the message or of the template, or one that was made.
#[derive(Clone)]
enum Held<'a> {
    There(&'a Value),
    Made(Rc<Value>),
}

impl<'a> Held<'a> {
    const NOTHING: Self = Self::There(&Value::Null);

    fn made(value: Value) -> Self {
        Self::Made(Rc::new(value))
    }

    fn get(&self) -> &Value {
        match self {
            Self::There(value) => value,
            Self::Made(value) => value,
        }
    }

    /// A part of it. Of what was made it is a copy.
    fn part(
        &self,
        budget: &mut Budget,
        find: impl for<'v> Fn(&'v Value) -> Option<&'v Value>,
    ) -> Result<Self, Fault> {
        match self {
            Self::There(value) => Ok(find(value).map_or(Self::NOTHING, Self::There)),
            Self::Made(value) => match find(value) {
                None => Ok(Self::NOTHING),
                Some(part) => {
                    budget.charge_copy(part)?;
                    Ok(Self::made(part.clone()))
                }
            },
        }
    }
}

/// Why a block was left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    AtItsEnd,
    Break,
    Continue,
}

/// The turns of a loop.
struct Turns {
    at: usize,
    length: usize,
}

struct Run<'a> {
    facts: &'a Value,
    /// Names that the template gave.
    named: BTreeMap<&'a str, Held<'a>>,
    turns: Vec<Turns>,
    writer: Writer,
    budget: Budget,
}

pub(super) fn render(
    kind: Kind,
    block: &Block,
    facts: &Value,
    bytes_max: usize,
) -> Result<String, RenderFailure> {
    let mut run = Run {
        facts,
        named: BTreeMap::new(),
        turns: Vec::new(),
        writer: Writer::new(kind, bytes_max),
        budget: Budget::new(),
    };
    run.block(block)?;
    let first = super::Place { line: 1, column: 1 };
    run.writer.end().map_err(|fault| fault.at(first))
}

impl<'a> Run<'a> {
    fn block(&mut self, block: &'a Block) -> Result<Left, RenderFailure> {
        for part in block {
            let left = self.part(part)?;
            if left != Left::AtItsEnd {
                return Ok(left);
            }
        }
        Ok(Left::AtItsEnd)
    }

    fn part(&mut self, part: &'a Part) -> Result<Left, RenderFailure> {
        let at = |fault: Fault| fault.at(part.place);
        self.budget.charge(0).map_err(at)?;
        match &part.what {
            What::Text(text) => self.writer.plain(text, &mut self.budget).map_err(at)?,
            What::Output(chain, mode) => {
                let value = self.chain(chain, part)?;
                self.writer.value(value.get(), *mode, &mut self.budget).map_err(at)?;
            }
            What::If(branches, otherwise) => {
                for (condition, block) in branches {
                    if self.holds(condition).map_err(at)? {
                        return self.block(block);
                    }
                }
                return self.block(otherwise);
            }
            What::Case(subject, branches, otherwise) => {
                let subject = self.operand(subject).map_err(at)?;
                for (values, block) in branches {
                    for value in values {
                        if self.are_equal(&subject, value).map_err(at)? {
                            return self.block(block);
                        }
                    }
                }
                return self.block(otherwise);
            }
            What::For(looped) => return self.looped(looped, part),
            What::Assign(name, chain) => {
                let value = self.chain(chain, part)?;
                self.named.insert(name, value);
            }
            What::Capture(name, block) => {
                // Without escapes: they are added where it comes out.
                let bytes_max = self.writer.room();
                let outer = std::mem::replace(&mut self.writer, Writer::new(Kind::Plain, bytes_max));
                let left = self.block(block);
                let captured = std::mem::replace(&mut self.writer, outer).into_captured();
                self.named.insert(name, Held::made(Value::from(captured)));
                return left;
            }
            What::Break => return Ok(Left::Break),
            What::Continue => return Ok(Left::Continue),
        }
        Ok(Left::AtItsEnd)
    }

    fn looped(&mut self, looped: &'a Loop, part: &Part) -> Result<Left, RenderFailure> {
        let at = |fault: Fault| fault.at(part.place);
        let over = self.operand(&looped.over).map_err(at)?;
        let length = over.get().as_array().map_or(0, Vec::len);
        let mut number = |operand: &'a Option<Operand>, otherwise: usize| -> Result<usize, Fault> {
            let Some(operand) = operand else { return Ok(otherwise) };
            let value = self.operand(operand)?;
            let number = Decimal::of(value.get()).and_then(Decimal::as_i64);
            let fault =
                Fault { code: "template_not_a_number", what: "`limit` or `offset` of a loop is no number" };
            Ok(usize::try_from(number.ok_or(fault)?).unwrap_or(0))
        };
        let from = number(&looped.offset, 0).map_err(at)?.min(length);
        let count = number(&looped.limit, length).map_err(at)?.min(length - from);
        if count == 0 {
            return self.block(&looped.otherwise);
        }
        let before = self.named.remove(looped.name.as_str());
        self.turns.push(Turns { at: 0, length: count });
        for turn in 0..count {
            let place = from + if looped.is_reversed { count - 1 - turn } else { turn };
            self.budget.charge(0).map_err(at)?;
            let one = over.part(&mut self.budget, |all| all.get(place)).map_err(at)?;
            self.named.insert(&looped.name, one);
            if let Some(turns) = self.turns.last_mut() {
                turns.at = turn;
            }
            if self.block(&looped.body)? == Left::Break {
                break;
            }
        }
        self.turns.pop();
        self.named.remove(looped.name.as_str());
        self.named.extend(before.map(|before| (looped.name.as_str(), before)));
        Ok(Left::AtItsEnd)
    }

    fn chain(&mut self, chain: &'a Chain, part: &Part) -> Result<Held<'a>, RenderFailure> {
        let mut value = self.operand(&chain.first).map_err(|fault| fault.at(part.place))?;
        for call in &chain.calls {
            let at = |fault: Fault| fault.at(call.place);
            let arguments: Result<Vec<Held<'a>>, Fault> =
                call.arguments.iter().map(|argument| self.operand(argument)).collect();
            let arguments = arguments.map_err(at)?;
            let arguments: Vec<&Value> = arguments.iter().map(Held::get).collect();
            self.budget.charge(0).map_err(at)?;
            let made = (call.filter.run)(value.get(), &arguments, &mut self.budget).map_err(at)?;
            value = Held::made(made);
        }
        Ok(value)
    }

    fn operand(&mut self, operand: &'a Operand) -> Result<Held<'a>, Fault> {
        let (name, steps) = match operand {
            Operand::Literal(value) => return Ok(Held::There(value)),
            Operand::Empty | Operand::Blank => return Ok(Held::NOTHING),
            Operand::Path(name, steps) => (name.as_str(), steps),
        };
        self.budget.charge(0)?;
        let mut value = match self.named.get(name) {
            Some(value) => value.clone(),
            None => match (name, self.turns.last(), self.facts.get(name)) {
                ("forloop", Some(turns), _) => turns.value(),
                (_, _, Some(value)) => Held::There(value),
                _ => Held::NOTHING,
            },
        };
        for step in steps {
            self.budget.charge(0)?;
            value = match step {
                Step::Member(name) => self.member(&value, name)?,
                Step::At(operand) => {
                    let key = self.operand(operand)?;
                    match key.get() {
                        Value::String(name) => {
                            let name = name.clone();
                            self.member(&value, &name)?
                        }
                        key => {
                            let place = Decimal::of(key).and_then(Decimal::as_i64);
                            self.element(&value, place)?
                        }
                    }
                }
            };
        }
        Ok(value)
    }

    /// A member of an object; `size`, `first` and `last` of a list, `size` of a text.
    fn member(&mut self, value: &Held<'a>, name: &str) -> Result<Held<'a>, Fault> {
        let count = |count: usize| Ok(Held::made(Value::from(count)));
        match (value.get(), name) {
            (Value::Array(all), "size") => count(all.len()),
            (Value::Array(_), "first") => self.element(value, Some(0)),
            (Value::Array(_), "last") => self.element(value, Some(-1)),
            (Value::String(text), "size") => {
                self.budget.charge(text.len())?;
                count(text.chars().count())
            }
            (Value::Object(all), "size") if !all.contains_key("size") => count(all.len()),
            _ => value.part(&mut self.budget, |value| value.get(name)),
        }
    }

    /// An element of a list, from its end where the place is negative.
    fn element(&mut self, value: &Held<'a>, place: Option<i64>) -> Result<Held<'a>, Fault> {
        value.part(&mut self.budget, |value| {
            let (all, place) = (value.as_array()?, place?);
            let place = if place < 0 { place.checked_add(i64::try_from(all.len()).ok()?)? } else { place };
            all.get(usize::try_from(place).ok()?)
        })
    }

    fn holds(&mut self, condition: &'a Condition) -> Result<bool, Fault> {
        self.budget.charge(0)?;
        Ok(match condition {
            Condition::Holds(operand) => {
                !matches!(self.operand(operand)?.get(), Value::Null | Value::Bool(false))
            }
            Condition::Not(other) => !self.holds(other)?,
            Condition::And(one, other) => self.holds(one)? && self.holds(other)?,
            Condition::Or(one, other) => self.holds(one)? || self.holds(other)?,
            Condition::Compare(one, test, other) => {
                let left = self.operand(one)?;
                match test {
                    Test::Equal | Test::NotEqual => {
                        // `empty == x` is `x == empty`.
                        let are_equal = match one {
                            Operand::Empty | Operand::Blank => {
                                let right = self.operand(other)?;
                                self.are_equal(&right, one)?
                            }
                            _ => self.are_equal(&left, other)?,
                        };
                        are_equal == (*test == Test::Equal)
                    }
                    Test::Contains => {
                        let right = self.operand(other)?;
                        self.contains(left.get(), right.get())?
                    }
                    _ => {
                        let right = self.operand(other)?;
                        in_order(left.get(), *test, right.get())
                    }
                }
            }
        })
    }

    fn are_equal(&mut self, value: &Held<'a>, to: &'a Operand) -> Result<bool, Fault> {
        let value = value.get();
        let is_empty = match value {
            Value::String(text) => text.is_empty(),
            Value::Array(all) => all.is_empty(),
            Value::Object(all) => all.is_empty(),
            _ => false,
        };
        Ok(match to {
            Operand::Empty => is_empty,
            Operand::Blank => {
                let is_space = value.as_str().is_some_and(|text| text.trim().is_empty());
                is_empty || is_space || matches!(value, Value::Null | Value::Bool(false))
            }
            other => {
                let other = self.operand(other)?;
                self.budget.charge_copy(value)?;
                are_equal(value, other.get())
            }
        })
    }

    fn contains(&mut self, value: &Value, what: &Value) -> Result<bool, Fault> {
        self.budget.charge_copy(value)?;
        Ok(match (value, what) {
            (_, Value::Null) => false,
            (Value::String(all), what) => all.contains(&*text(what)),
            (Value::Array(all), what) => all.iter().any(|one| are_equal(one, what)),
            (Value::Object(all), what) => what.as_str().is_some_and(|name| all.contains_key(name)),
            _ => false,
        })
    }
}

impl Turns {
    /// `forloop`.
    fn value<'a>(&self) -> Held<'a> {
        let Self { at, length } = *self;
        Held::made(json!({
            "index": at + 1, "index0": at, "rindex": length - at, "rindex0": length - at - 1,
            "first": at == 0, "last": at + 1 == length, "length": length,
        }))
    }
}

/// Numbers are equal by what they are, whatever way they were written.
fn are_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(_), Value::Number(_)) => match (Decimal::of(one), Decimal::of(other)) {
            (Some(one), Some(other)) => one == other,
            _ => one == other,
        },
        _ => one == other,
    }
}

/// Numbers have an order, and texts have one; nothing else has, and the two have none between them.
fn in_order(one: &Value, test: Test, other: &Value) -> bool {
    let order = match (one, other) {
        (Value::Number(_), Value::Number(_)) => {
            Decimal::of(one).zip(Decimal::of(other)).map(|(one, other)| one.cmp(&other))
        }
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    };
    order.is_some_and(|order| match test {
        Test::Less => order.is_lt(),
        Test::LessOrEqual => order.is_le(),
        Test::Greater => order.is_gt(),
        _ => order.is_ge(),
    })
}
