//! The expressions of rules: the grammar of CEL (cel-spec, "Syntax"), without maps, messages and byte strings.
//!
//! A precedence climber with a bound on depth and on size, so that no text can exhaust the stack. Chains of `&&` and
//! `||` are flat lists: their parts are the terms that explanations name.

use crate::audience::problem::{Fault, RuleCode, Span};
use crate::audience::token::{Lexer, Token};
use crate::feature::Value;

/// The longest rule, in bytes.
pub const MAX_RULE_BYTES: usize = 8_192;
/// How deep brackets, calls and operators may nest.
pub const MAX_RULE_DEPTH: usize = 24;
/// How many expressions a rule may have, parts of parts counted.
pub const MAX_RULE_PARTS: usize = 1_024;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expression {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Bool(bool),
    Null,
    Number(i64),
    Text(String),
    Name(String),
    Member(Box<Expression>, String),
    Index(Box<Expression>, Box<Expression>),
    Call(Call),
    List(Vec<Expression>),
    Not(Box<Expression>),
    Minus(Box<Expression>),
    Binary(&'static str, Box<Expression>, Box<Expression>),
    All(Vec<Expression>),
    Any(Vec<Expression>),
    If(Box<[Expression; 3]>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) target: Option<Box<Expression>>,
    pub(crate) name: String,
    pub(crate) name_span: Span,
    pub(crate) arguments: Vec<Expression>,
}

/// Reads a whole rule.
pub(crate) fn parse(text: &str) -> Result<Expression, Fault> {
    if text.len() > MAX_RULE_BYTES {
        return Err(Fault::new(
            RuleCode::TooLong,
            Span { start: text.floor_char_boundary(MAX_RULE_BYTES), end: text.len() },
            format!("the rule has {} bytes, and {MAX_RULE_BYTES} are the limit", text.len()),
            "Split it into audiences and combine them with audience(\"name\").",
        ));
    }
    let mut lexer = Lexer::new(text);
    let (token, span) = lexer.next()?;
    let mut parser = Parser { lexer, token, span, end: 0, depth: 0, parts: 0 };
    let expression = parser.expression()?;
    match parser.token {
        Token::End => Ok(expression),
        _ => Err(parser.unexpected("the rule should end here, or go on with an operator")),
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token,
    span: Span,
    /// Where the word before ended.
    end: usize,
    depth: usize,
    parts: usize,
}

impl Parser<'_> {
    fn advance(&mut self) -> Result<Token, Fault> {
        let (token, span) = self.lexer.next()?;
        self.end = self.span.end;
        self.span = span;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn is(&self, sign: &str) -> bool {
        matches!(&self.token, Token::Sign(own) if *own == sign)
    }

    fn accept(&mut self, sign: &str) -> Result<bool, Fault> {
        if self.is(sign) {
            self.advance()?;
            return Ok(true);
        }
        Ok(false)
    }

    fn expect(&mut self, sign: &str, message: &str) -> Result<(), Fault> {
        if self.accept(sign)? { Ok(()) } else { Err(self.unexpected(message)) }
    }

    fn unexpected(&self, message: &str) -> Fault {
        let advice = match &self.token {
            Token::End => {
                "The rule ends too early: is a bracket, a quote or the right side missing?".to_owned()
            }
            Token::Sign(sign) => format!("Found `{sign}` instead."),
            Token::Name(name) if name == "and" => "Write `&&` for and.".to_owned(),
            Token::Name(name) if name == "or" => "Write `||` for or.".to_owned(),
            Token::Name(name) => format!("Found `{name}` instead."),
            Token::Text(_) => "Found a text in quotes instead.".to_owned(),
            Token::Number(micro) => format!("Found the number {} instead.", Value::Number(*micro)),
        };
        Fault::new(RuleCode::Syntax, self.span, message, advice)
    }

    fn made(&mut self, kind: Kind, start: usize) -> Result<Expression, Fault> {
        let span = Span { start, end: self.end };
        self.parts += 1;
        if self.parts > MAX_RULE_PARTS {
            return Err(Fault::new(
                RuleCode::TooLong,
                span,
                format!("the rule has more than {MAX_RULE_PARTS} parts"),
                "Split it into audiences and combine them with audience(\"name\").",
            ));
        }
        Ok(Expression { kind, span })
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth >= MAX_RULE_DEPTH {
            return Err(Fault::new(
                RuleCode::TooDeep,
                self.span,
                format!("the rule nests deeper than {MAX_RULE_DEPTH} levels"),
                "Take brackets away, or split it into audiences.",
            ));
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn expression(&mut self) -> Result<Expression, Fault> {
        self.deeper(|parser| {
            let start = parser.span.start;
            let condition = parser.chain("||")?;
            if !parser.accept("?")? {
                return Ok(condition);
            }
            let yes = parser.chain("||")?;
            parser.expect(":", "a `:` and the other value should follow")?;
            let no = parser.expression()?;
            parser.made(Kind::If(Box::new([condition, yes, no])), start)
        })
    }

    /// `a || b || c`, where each of them is a chain of `&&`, where each of them is a relation.
    fn chain(&mut self, sign: &'static str) -> Result<Expression, Fault> {
        let start = self.span.start;
        let first = self.link(sign)?;
        if !self.is(sign) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.accept(sign)? {
            parts.push(self.link(sign)?);
        }
        let kind = if sign == "||" { Kind::Any(parts) } else { Kind::All(parts) };
        self.made(kind, start)
    }

    fn link(&mut self, sign: &str) -> Result<Expression, Fault> {
        if sign == "||" { self.chain("&&") } else { self.binary(0) }
    }

    /// Relations (0), sums (1) and products (2), each associative to the left.
    fn binary(&mut self, level: usize) -> Result<Expression, Fault> {
        const LEVELS: [&[&str]; 3] =
            [&["<=", "<", ">=", ">", "==", "!=", "in"], &["+", "-"], &["*", "/", "%"]];
        let Some(signs) = LEVELS.get(level) else { return self.unary() };
        let start = self.span.start;
        let mut left = self.binary(level + 1)?;
        let mut links = 0;
        loop {
            let found = signs.iter().find(|sign| match &self.token {
                Token::Sign(own) => own == *sign,
                Token::Name(name) => name == "in" && **sign == "in",
                _ => false,
            });
            let Some(sign) = found else { return Ok(left) };
            links += 1;
            if links + self.depth > MAX_RULE_DEPTH {
                return self.deeper_than_allowed();
            }
            self.advance()?;
            let right = self.binary(level + 1)?;
            left = self.made(Kind::Binary(sign, Box::new(left), Box::new(right)), start)?;
        }
    }

    /// A chain to the left nests as deep as it is long.
    fn deeper_than_allowed(&mut self) -> Result<Expression, Fault> {
        self.depth = MAX_RULE_DEPTH;
        self.deeper(|parser| parser.unary())
    }

    fn unary(&mut self) -> Result<Expression, Fault> {
        let start = self.span.start;
        if self.accept("!")? {
            let inner = self.deeper(Self::unary)?;
            return self.made(Kind::Not(Box::new(inner)), start);
        }
        if self.accept("-")? {
            let inner = self.deeper(Self::unary)?;
            if let Kind::Number(micro) = inner.kind {
                return self.made(Kind::Number(-micro), start);
            }
            return self.made(Kind::Minus(Box::new(inner)), start);
        }
        self.member()
    }

    fn member(&mut self) -> Result<Expression, Fault> {
        let start = self.span.start;
        let mut inner = self.primary()?;
        let mut links = 0;
        loop {
            links += 1;
            if links + self.depth > MAX_RULE_DEPTH && (self.is(".") || self.is("[")) {
                return self.deeper_than_allowed();
            }
            if self.accept(".")? {
                let name_span = self.span;
                let Token::Name(name) = self.token.clone() else {
                    return Err(self.unexpected("a name should follow the point"));
                };
                self.advance()?;
                inner = if self.is("(") {
                    let arguments = self.arguments()?;
                    let target = Some(Box::new(inner));
                    self.made(Kind::Call(Call { target, name, name_span, arguments }), start)?
                } else {
                    self.made(Kind::Member(Box::new(inner), name), start)?
                };
            } else if self.accept("[")? {
                let index = self.expression()?;
                self.expect("]", "a `]` should follow")?;
                inner = self.made(Kind::Index(Box::new(inner), Box::new(index)), start)?;
            } else {
                return Ok(inner);
            }
        }
    }

    fn arguments(&mut self) -> Result<Vec<Expression>, Fault> {
        self.expect("(", "a `(` should follow")?;
        self.list(")")
    }

    /// Expressions, with commas between them and maybe behind the last, up to a closing sign.
    fn list(&mut self, close: &str) -> Result<Vec<Expression>, Fault> {
        let mut items = Vec::new();
        loop {
            if self.accept(close)? {
                return Ok(items);
            }
            items.push(self.expression()?);
            if !self.accept(",")? {
                self.expect(close, &format!("a `,` or `{close}` should follow"))?;
                return Ok(items);
            }
        }
    }

    fn primary(&mut self) -> Result<Expression, Fault> {
        let (start, span) = (self.span.start, self.span);
        match self.token.clone() {
            Token::Number(micro) => self.leaf(Kind::Number(micro), start),
            Token::Text(text) => self.leaf(Kind::Text(text), start),
            Token::Name(name) => self.named(&name, start, span),
            Token::Sign("(") => {
                self.advance()?;
                let inner = self.expression()?;
                self.expect(")", "a `)` should follow")?;
                Ok(inner)
            }
            Token::Sign("[") => {
                self.advance()?;
                let items = self.list("]")?;
                self.made(Kind::List(items), start)
            }
            Token::Sign("{") => Err(Fault::new(
                RuleCode::Unsupported,
                span,
                "rules have no maps",
                "Compare single values, e.g. traits.address.city == \"Berlin\".",
            )),
            Token::Sign("=") | Token::Sign(_) | Token::End => {
                Err(self.unexpected("a value should stand here"))
            }
        }
    }

    fn leaf(&mut self, kind: Kind, start: usize) -> Result<Expression, Fault> {
        self.advance()?;
        self.made(kind, start)
    }

    fn named(&mut self, name: &str, start: usize, name_span: Span) -> Result<Expression, Fault> {
        match name {
            "true" | "false" => return self.leaf(Kind::Bool(name == "true"), start),
            "null" => return self.leaf(Kind::Null, start),
            "in" | "and" | "or" | "not" => return Err(self.unexpected("a value should stand here")),
            _ => {}
        }
        self.advance()?;
        if matches!(self.token, Token::Text(_)) && matches!(name, "b" | "B" | "rb" | "br") {
            return Err(Fault::new(
                RuleCode::Unsupported,
                name_span,
                "rules have no byte strings",
                "Leave the b before the quotes away.",
            ));
        }
        if self.is("(") {
            let arguments = self.arguments()?;
            let call = Call { target: None, name: name.to_owned(), name_span, arguments };
            return self.made(Kind::Call(call), start);
        }
        self.made(Kind::Name(name.to_owned()), start)
    }
}

/// The canonical text of an expression: brackets everywhere, one way to write each value.
pub(crate) fn canonical(expression: &Expression, out: &mut String) {
    match &expression.kind {
        Kind::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Kind::Null => out.push_str("null"),
        Kind::Number(micro) => out.push_str(&Value::Number(*micro).to_string()),
        Kind::Text(text) => out.push_str(&Value::Text(text.as_str().into()).to_string()),
        Kind::Name(name) => out.push_str(name),
        Kind::Member(inner, name) => {
            canonical(inner, out);
            out.push('.');
            out.push_str(name);
        }
        Kind::Index(inner, index) => {
            canonical(inner, out);
            listed("[", ", ", std::slice::from_ref(index.as_ref()), "]", out);
        }
        Kind::Call(call) => {
            if let Some(target) = &call.target {
                canonical(target, out);
                out.push('.');
            }
            out.push_str(&call.name);
            listed("(", ", ", &call.arguments, ")", out);
        }
        Kind::List(items) => listed("[", ", ", items, "]", out),
        Kind::Not(inner) => {
            out.push('!');
            canonical(inner, out);
        }
        Kind::Minus(inner) => {
            out.push('-');
            canonical(inner, out);
        }
        Kind::Binary(sign, left, right) => {
            out.push('(');
            canonical(left, out);
            out.push_str(&format!(" {sign} "));
            canonical(right, out);
            out.push(')');
        }
        Kind::All(parts) => listed("(", " && ", parts, ")", out),
        Kind::Any(parts) => listed("(", " || ", parts, ")", out),
        Kind::If(parts) => {
            let [condition, yes, no] = parts.as_ref();
            out.push('(');
            canonical(condition, out);
            out.push_str(" ? ");
            canonical(yes, out);
            out.push_str(" : ");
            canonical(no, out);
            out.push(')');
        }
    }
}

fn listed(open: &str, between: &str, items: &[Expression], close: &str, out: &mut String) {
    out.push_str(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(between);
        }
        canonical(item, out);
    }
    out.push_str(close);
}
