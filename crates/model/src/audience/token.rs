//! The words of a rule: the lexical grammar of CEL (cel-spec, "Syntax"), without byte strings.

use crate::audience::problem::{Fault, RuleCode, Span};
use crate::feature::value::decimal;

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Name(String),
    Text(String),
    /// In micro-units.
    Number(i64),
    /// An operator or bracket.
    Sign(&'static str),
    End,
}

/// Longer ones first.
const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ",", ".", "(", ")",
    "[", "]", "{", "}",
];

pub(crate) struct Lexer<'a> {
    text: &'a str,
    offset: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, offset: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
            self.offset += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.offset += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    /// The next word and where it is.
    pub(crate) fn next(&mut self) -> Result<(Token, Span), Fault> {
        self.skip_space();
        let start = self.offset;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok((Token::End, Span { start, end: start }));
        };
        let token = if first.is_ascii_digit() || is_fraction(rest) {
            self.number()?
        } else if let Some(quote) = quote_of(rest) {
            self.quoted(quote)?
        } else if first == '_' || first.is_ascii_alphabetic() {
            let more = |character: char| character == '_' || character.is_ascii_alphanumeric();
            let length = rest.find(|character| !more(character)).unwrap_or(rest.len());
            self.offset += length;
            Token::Name(rest.get(..length).unwrap_or_default().to_owned())
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(*sign)) {
            self.offset += sign.len();
            Token::Sign(sign)
        } else {
            return Err(self.unknown(first));
        };
        Ok((token, Span { start, end: self.offset }))
    }

    fn unknown(&self, first: char) -> Fault {
        let span = Span { start: self.offset, end: self.offset + first.len_utf8() };
        let advice = match first {
            '=' => "Compare with `==`.",
            '&' => "Write `&&` for and.",
            '|' => "Write `||` for or.",
            '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{2018}' | '\u{2019}' => "Use straight quotes, \" or '.",
            _ => "Remove it, or put text in quotes.",
        };
        Fault::new(RuleCode::Syntax, span, format!("`{first}` has no meaning here"), advice)
    }

    fn number(&mut self) -> Result<Token, Fault> {
        let rest = self.rest();
        let start = self.offset;
        let hexadecimal = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X"));
        let mut length = match hexadecimal {
            Some(digits) => 2 + run(digits, |byte| byte.is_ascii_hexdigit()),
            None => decimal_length(rest),
        };
        let written = rest.get(..length).unwrap_or_default();
        let value = match hexadecimal {
            Some(_) => i64::from_str_radix(written.get(2..).unwrap_or_default(), 16)
                .ok()
                .and_then(|value| decimal(&value.to_string())),
            None if written.starts_with('.') => decimal(&format!("0{written}")),
            None => decimal(written),
        };
        // `7u` is an unsigned integer in CEL; here a number is a number.
        length += run(rest.get(length..).unwrap_or_default(), |byte| matches!(byte, b'u' | b'U')).min(1);
        let tail =
            run(rest.get(length..).unwrap_or_default(), |byte| byte.is_ascii_alphanumeric() || byte == b'_');
        self.offset += length + tail;
        let span = Span { start, end: self.offset };
        match value {
            Some(micro) if tail == 0 => Ok(Token::Number(micro)),
            Some(_) => Err(Fault::new(
                RuleCode::Syntax,
                span,
                format!("`{}` is not a number", rest.get(..length + tail).unwrap_or_default()),
                "Put a length of time in quotes, e.g. \"7d\", and separate words with blanks.",
            )),
            None => Err(Fault::new(
                RuleCode::Syntax,
                span,
                "the number is malformed or out of range",
                "Numbers lie between -10^12 and 10^12, with up to six decimal places.",
            )),
        }
    }

    fn quoted(&mut self, quote: Quote) -> Result<Token, Fault> {
        let start = self.offset;
        self.offset += quote.prefix + quote.mark.len();
        let mut out = String::new();
        loop {
            let rest = self.rest();
            if rest.starts_with(quote.mark) {
                self.offset += quote.mark.len();
                return Ok(Token::Text(out));
            }
            let one_line = quote.mark.len() == 1;
            match rest.chars().next() {
                Some(line_end @ ('\n' | '\r')) if !one_line => {
                    out.push(line_end);
                    self.offset += 1;
                }
                None | Some('\n' | '\r') => {
                    let span = Span { start, end: self.offset };
                    return Err(Fault::new(
                        RuleCode::Syntax,
                        span,
                        "the text has no end",
                        format!("Close it with {}.", quote.mark),
                    ));
                }
                Some('\\') if !quote.raw => out.push(self.escape()?),
                Some(character) => {
                    out.push(character);
                    self.offset += character.len_utf8();
                }
            }
        }
    }

    /// The character of an escape: those of CEL for strings.
    fn escape(&mut self) -> Result<char, Fault> {
        let start = self.offset;
        let rest = self.rest();
        let kind = rest.chars().nth(1);
        let code = |from: usize, to: usize, radix| {
            let digits = rest.get(from..to).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
            char::from_u32(u32::from_str_radix(digits, radix).ok()?)
        };
        let (found, length) = match kind {
            Some('n') => (Some('\n'), 2),
            Some('t') => (Some('\t'), 2),
            Some('r') => (Some('\r'), 2),
            Some('a') => (Some('\u{7}'), 2),
            Some('b') => (Some('\u{8}'), 2),
            Some('f') => (Some('\u{c}'), 2),
            Some('v') => (Some('\u{b}'), 2),
            Some(same @ ('\\' | '"' | '\'' | '`' | '?')) => (Some(same), 2),
            Some('x' | 'X') => (code(2, 4, 16), 4),
            Some('u') => (code(2, 6, 16), 6),
            Some('U') => (code(2, 10, 16), 10),
            Some('0'..='3') => (code(1, 4, 8), 4),
            _ => (None, 2),
        };
        match found {
            Some(character) => {
                self.offset += length;
                Ok(character)
            }
            None => Err(Fault::new(
                RuleCode::Syntax,
                Span { start, end: start + 1 },
                "no such escape",
                "Write \\\\ for a backslash, or put r before the text: r\"\\d+\".",
            )),
        }
    }
}

struct Quote {
    prefix: usize,
    mark: &'static str,
    raw: bool,
}

fn quote_of(rest: &str) -> Option<Quote> {
    let (prefix, raw) = if rest.starts_with(['r', 'R']) { (1, true) } else { (0, false) };
    let behind = rest.get(prefix..)?;
    let mark = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|mark| behind.starts_with(mark))?;
    Some(Quote { prefix, mark, raw })
}

fn run(text: &str, belongs: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| belongs(*byte)).count()
}

fn is_fraction(rest: &str) -> bool {
    rest.strip_prefix('.').is_some_and(|behind| behind.starts_with(|c: char| c.is_ascii_digit()))
}

fn decimal_length(text: &str) -> usize {
    let digits = |from: usize| run(text.get(from..).unwrap_or_default(), |byte| byte.is_ascii_digit());
    let mut length = digits(0);
    if is_fraction(text.get(length..).unwrap_or_default()) {
        length += 1;
        length += digits(length);
    }
    let rest = text.get(length..).unwrap_or_default();
    if rest.starts_with(['e', 'E']) {
        let sign = usize::from(rest.get(1..).unwrap_or_default().starts_with(['+', '-']));
        let power = digits(length + 1 + sign);
        if power > 0 {
            length += 1 + sign + power;
        }
    }
    length
}
