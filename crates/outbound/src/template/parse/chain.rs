//! What stands inside of an output or a tag: values, filters, conditions.

use super::super::filters::{self, Filter};
use super::super::number::Decimal;
use super::super::words::{Placed, Word};
use super::super::{Place, TemplateError};
use super::literal;
use serde_json::Value;

/// The most words of one output or tag.
const WORDS_MAX: usize = 512;
/// How deep brackets may stand in each other.
const BRACKETS_MAX: usize = 8;

/// Something that has a value.
#[derive(Clone, Debug)]
pub(in super::super) enum Operand {
    /// As it was written.
    Literal(Value),
    /// `empty`: equal to what has nothing in it.
    Empty,
    /// `blank`: equal to that, to nothing, `false` and white space.
    Blank,
    /// A name, and what is looked up in its value.
    Path(String, Vec<Step>),
}

/// One step of a path.
#[derive(Clone, Debug)]
pub(in super::super) enum Step {
    /// `.name`.
    Member(String),
    /// `[value]`.
    At(Operand),
}

/// A filter with its arguments.
#[derive(Clone, Debug)]
pub(in super::super) struct Call {
    pub(in super::super) filter: &'static Filter,
    pub(in super::super) arguments: Vec<Operand>,
    pub(in super::super) place: Place,
}

/// A value, and the filters that it goes through.
#[derive(Clone, Debug)]
pub(in super::super) struct Chain {
    pub(in super::super) first: Operand,
    pub(in super::super) calls: Vec<Call>,
}

/// How an output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Mode {
    /// Escaped for its place.
    Escaped,
    /// As JSON: a whole value outside of quotes, its text inside.
    Json,
    /// As it is.
    Raw,
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Test {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Contains,
}

/// What holds or does not.
#[derive(Clone, Debug)]
pub(in super::super) enum Condition {
    /// A value is there, and not `false`.
    Holds(Operand),
    Compare(Operand, Test, Operand),
    Not(Box<Condition>),
    /// As many as there are, from the right: `a and b or c` is `a and (b or c)`, as in Liquid.
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

/// The words of an output or a tag, from the left.
pub(super) struct Words {
    words: std::vec::IntoIter<Placed>,
    place: Place,
    /// Whether there were too many.
    is_too_long: bool,
}

impl Words {
    pub(super) fn new(words: Vec<Placed>, place: Place) -> Self {
        let is_too_long = words.len() > WORDS_MAX;
        Self { words: words.into_iter(), place, is_too_long }
    }

    /// Where the tag, or what was read last, stands.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn wrong(&self, code: &'static str, message: impl Into<String>) -> TemplateError {
        TemplateError { code, place: self.place, message: message.into() }
    }

    pub(super) fn next(&mut self) -> Option<Placed> {
        let next = self.words.next()?;
        self.place = next.1;
        Some(next)
    }

    fn peek(&self) -> Option<&Word> {
        self.words.as_slice().first().map(|(word, _)| word)
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let is_next = matches!(self.peek(), Some(Word::Sign(next)) if *next == sign);
        if is_next {
            self.next();
        }
        is_next
    }

    pub(super) fn sign(&mut self, sign: &str, advice: &str) -> Result<(), TemplateError> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.unexpected(advice)) }
    }

    pub(super) fn keyword(&mut self, keyword: &str, advice: &str) -> Result<(), TemplateError> {
        match self.next() {
            Some((Word::Name(name), _)) if name == keyword => Ok(()),
            _ => Err(self.wrong("bad_expression", advice)),
        }
    }

    pub(super) fn name(&mut self, what: &str) -> Result<String, TemplateError> {
        match self.next() {
            Some((Word::Name(name), _)) => Ok(name),
            _ => Err(self.wrong("bad_expression", format!("here stands {what}"))),
        }
    }

    /// Nothing follows.
    pub(super) fn end(mut self) -> Result<(), TemplateError> {
        self.no_more()
    }

    fn no_more(&mut self) -> Result<(), TemplateError> {
        match self.next() {
            None => Ok(()),
            Some((word, _)) => {
                Err(self.wrong("bad_expression", format!("{} is one word too many", word.shown())))
            }
        }
    }

    fn unexpected(&mut self, advice: &str) -> TemplateError {
        match self.next() {
            Some((word, _)) => {
                self.wrong("bad_expression", format!("{} is not understood here: {advice}", word.shown()))
            }
            None => self.wrong("bad_expression", format!("something is missing: {advice}")),
        }
    }

    /// A value with its filters, and how it is written.
    pub(super) fn output(&mut self) -> Result<(Chain, Mode), TemplateError> {
        let (chain, mode) = self.chain(true)?;
        self.no_more()?;
        Ok((chain, mode))
    }

    /// A value with its filters, of an assignment.
    pub(super) fn whole_chain(&mut self) -> Result<Chain, TemplateError> {
        let (chain, _) = self.chain(false)?;
        self.no_more()?;
        Ok(chain)
    }

    fn chain(&mut self, is_output: bool) -> Result<(Chain, Mode), TemplateError> {
        if self.is_too_long {
            return Err(self.wrong("too_long", format!("an output or a tag has at most {WORDS_MAX} words")));
        }
        let first = self.operand()?;
        let mut chain = Chain { first, calls: Vec::new() };
        let mut mode = Mode::Escaped;
        while self.take_sign("|") {
            if mode == Mode::Raw {
                return Err(self.wrong("misplaced", "`raw` is the last filter of an output"));
            }
            let name = self.name("the name of a filter")?;
            let place = self.place;
            mode = match name.as_str() {
                "raw" if is_output => Mode::Raw,
                "raw" => {
                    return Err(
                        self.wrong("misplaced", "`raw` is for outputs: write it where the value comes out")
                    );
                }
                "json" if is_output && self.peek().is_none() => Mode::Json,
                _ => Mode::Escaped,
            };
            if mode == Mode::Escaped {
                let call = self.call(&name, place)?;
                chain.calls.push(call);
            }
        }
        Ok((chain, mode))
    }

    fn call(&mut self, name: &str, place: Place) -> Result<Call, TemplateError> {
        let Some(filter) = filters::find(name) else {
            return Err(self.wrong("unknown_filter", filters::unknown(name)));
        };
        let mut arguments = Vec::new();
        if self.take_sign(":") {
            loop {
                arguments.push(self.operand()?);
                if matches!(self.peek(), Some(Word::Sign(":"))) {
                    return Err(self.wrong("bad_arguments", "filters take no named values here"));
                }
                if !self.take_sign(",") {
                    break;
                }
            }
        }
        let (least, most) = filter.arguments;
        if arguments.len() < least || arguments.len() > most {
            let how_many = if least == most { least.to_string() } else { format!("{least} to {most}") };
            let message =
                format!("`{name}` takes {how_many} values behind `:`, and there are {}", arguments.len());
            return Err(TemplateError { code: "bad_arguments", place, message });
        }
        Ok(Call { filter, arguments, place })
    }

    pub(super) fn operand(&mut self) -> Result<Operand, TemplateError> {
        self.operand_in(0)
    }

    fn operand_in(&mut self, depth: usize) -> Result<Operand, TemplateError> {
        if depth > BRACKETS_MAX {
            return Err(
                self.wrong("too_deep", format!("brackets stand {BRACKETS_MAX} deep in each other at most"))
            );
        }
        let advice = "a value is a name, a text in quotes or a number";
        match self.next() {
            Some((Word::Text(text), _)) => Ok(literal(text)),
            Some((Word::Number(number), _)) => {
                let value = Decimal::parse(&number).map(Decimal::value);
                value
                    .map(literal)
                    .ok_or_else(|| self.wrong("bad_number", format!("{number} is too large a number")))
            }
            Some((Word::Name(name), _)) => match name.as_str() {
                "true" => Ok(literal(true)),
                "false" => Ok(literal(false)),
                "nil" | "null" => Ok(literal(Value::Null)),
                "empty" => Ok(Operand::Empty),
                "blank" => Ok(Operand::Blank),
                _ => self.path(name, depth),
            },
            Some((Word::Sign("("), _)) => {
                let message =
                    "ranges and brackets are not understood here: loops go over lists of the message";
                Err(self.wrong("range", message))
            }
            Some((word, _)) => {
                Err(self
                    .wrong("bad_expression", format!("{} is not understood here: {advice}", word.shown())))
            }
            None => Err(self.wrong("bad_expression", format!("something is missing: {advice}"))),
        }
    }

    fn path(&mut self, name: String, depth: usize) -> Result<Operand, TemplateError> {
        let mut steps = Vec::new();
        loop {
            if self.take_sign(".") {
                steps.push(Step::Member(self.name("a name behind the point")?));
            } else if self.take_sign("[") {
                steps.push(Step::At(self.operand_in(depth + 1)?));
                self.sign("]", "write `]` behind it")?;
            } else {
                return Ok(Operand::Path(name, steps));
            }
        }
    }

    /// `value, value or value`.
    pub(super) fn values(&mut self) -> Result<Vec<Operand>, TemplateError> {
        let mut values = vec![self.operand()?];
        loop {
            let is_or = matches!(self.peek(), Some(Word::Name(name)) if name == "or");
            if is_or {
                self.next();
            } else if !self.take_sign(",") {
                self.no_more()?;
                return Ok(values);
            }
            values.push(self.operand()?);
        }
    }

    /// A whole condition.
    pub(super) fn condition(&mut self) -> Result<Condition, TemplateError> {
        let mut tests = vec![(self.test()?, false)];
        while let Some((word, _)) = self.next() {
            let is_and = match &word {
                Word::Name(name) if name == "and" => true,
                Word::Name(name) if name == "or" => false,
                Word::Sign("|") => {
                    return Err(self.wrong(
                        "bad_expression",
                        "filters stand in outputs and `assign`: assign the value first",
                    ));
                }
                other => {
                    let message =
                        format!("{} is not understood here: `and`, `or` or the end is", other.shown());
                    return Err(self.wrong("bad_expression", message));
                }
            };
            if tests.len() >= super::DEPTH_MAX {
                let message =
                    format!("a condition has at most {} parts: assign some of it first", super::DEPTH_MAX);
                return Err(self.wrong("too_deep", message));
            }
            if let Some(last) = tests.last_mut() {
                last.1 = is_and;
            }
            tests.push((self.test()?, false));
        }
        let mut whole = None;
        while let Some((test, is_and)) = tests.pop() {
            whole = Some(match whole {
                None => test,
                Some(right) if is_and => Condition::And(Box::new(test), Box::new(right)),
                Some(right) => Condition::Or(Box::new(test), Box::new(right)),
            });
        }
        whole.ok_or_else(|| self.wrong("bad_expression", "a condition is missing"))
    }

    fn test(&mut self) -> Result<Condition, TemplateError> {
        let left = self.operand()?;
        let test = match self.peek() {
            Some(Word::Sign("==")) => Test::Equal,
            Some(Word::Sign("!=" | "<>")) => Test::NotEqual,
            Some(Word::Sign("<")) => Test::Less,
            Some(Word::Sign("<=")) => Test::LessOrEqual,
            Some(Word::Sign(">")) => Test::Greater,
            Some(Word::Sign(">=")) => Test::GreaterOrEqual,
            Some(Word::Sign("=")) => return Err(self.unexpected("write `==` to compare")),
            Some(Word::Name(name)) if name == "contains" => Test::Contains,
            _ => return Ok(Condition::Holds(left)),
        };
        self.next();
        Ok(Condition::Compare(left, test, self.operand()?))
    }
}
