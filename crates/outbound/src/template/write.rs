//! What comes out of a template, with every value escaped for where it stands.

use super::Kind;
use super::filters::{Budget, Fault, text};
use super::parse::Mode;
use serde_json::Value;
use std::fmt::Write as _;

/// Longer than allowed.
const TOO_LONG: Fault =
    Fault { code: "template_too_long", what: "what the template makes of this message is too long" };
/// A value behind a backslash would lose the beginning of its escape.
const BACKSLASH: Fault = Fault {
    code: "template_backslash",
    what: "a value stands right behind a backslash in a text of JSON: write two backslashes, or none",
};
const LINE_BREAK: Fault = Fault {
    code: "template_line_break",
    what: "a value holds a line break or another control character, which a header cannot",
};
const NOT_JSON: Fault = Fault {
    code: "template_not_json",
    what: "what the template makes of this message is no JSON: look for commas too many and quotes too few",
};

/// Takes what a template makes.
pub(super) struct Writer {
    kind: Kind,
    out: String,
    bytes_max: usize,
    /// Of JSON: the place is inside of a text, so a value is its content.
    is_in_text: bool,
    /// Of JSON: behind a backslash in a text.
    is_escaping: bool,
}

impl Writer {
    pub(super) fn new(kind: Kind, bytes_max: usize) -> Self {
        Self { kind, out: String::new(), bytes_max, is_in_text: false, is_escaping: false }
    }

    /// Text of the template, or a value that asks to be taken as it is.
    pub(super) fn plain(&mut self, text: &str, budget: &mut Budget) -> Result<(), Fault> {
        budget.charge(text.len())?;
        if self.kind == Kind::Json {
            for byte in text.bytes() {
                (self.is_in_text, self.is_escaping) = match (self.is_in_text, self.is_escaping, byte) {
                    (true, true, _) => (true, false),
                    (true, false, b'\\') => (true, true),
                    (in_text, _, b'"') => (!in_text, false),
                    (in_text, ..) => (in_text, false),
                };
            }
        }
        self.put(text)
    }

    /// A value.
    pub(super) fn value(&mut self, value: &Value, mode: Mode, budget: &mut Budget) -> Result<(), Fault> {
        budget.charge_copy(value)?;
        match (self.kind, mode) {
            (_, Mode::Raw) => {
                let text = text(value);
                self.plain(&text, budget)
            }
            (Kind::Json, _) if !self.is_in_text => self.put(&value.to_string()),
            (_, Mode::Json) => self.escaped(&value.to_string(), budget),
            (_, Mode::Escaped) => self.escaped(&text(value), budget),
        }
    }

    fn escaped(&mut self, text: &str, budget: &mut Budget) -> Result<(), Fault> {
        // No character takes more than six bytes for one.
        budget.charge(text.len().saturating_mul(6))?;
        match self.kind {
            Kind::Json if self.is_escaping => Err(BACKSLASH),
            Kind::Json => self.put(&escaped(text, json)),
            Kind::Markup => self.put(&escaped(text, markup)),
            Kind::Form => self.put(&escaped(text, form)),
            Kind::Line if text.chars().any(char::is_control) => Err(LINE_BREAK),
            Kind::Line | Kind::Plain => self.put(text),
        }
    }

    fn put(&mut self, text: &str) -> Result<(), Fault> {
        if self.out.len().saturating_add(text.len()) > self.bytes_max {
            return Err(TOO_LONG);
        }
        self.out.push_str(text);
        Ok(())
    }

    /// All of it, checked as far as its kind can be checked.
    pub(super) fn end(self) -> Result<String, Fault> {
        match self.kind {
            Kind::Json if serde_json::from_str::<serde::de::IgnoredAny>(&self.out).is_err() => Err(NOT_JSON),
            Kind::Line if self.out.chars().any(char::is_control) => Err(LINE_BREAK),
            _ => Ok(self.out),
        }
    }

    /// How many bytes may still come.
    pub(super) fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.out.len())
    }

    /// What was captured: text, which is escaped where it comes out.
    pub(super) fn into_captured(self) -> String {
        self.out
    }
}

/// A text with each character as `one` writes it.
pub(super) fn escaped(text: &str, one: fn(&mut String, char)) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|character| one(&mut out, character));
    out
}

/// Inside of a text of JSON. `<`, `>` and `&` are written so that the JSON can stand in a page, and the two line breaks
/// that older readers of JavaScript stumble over.
fn json(out: &mut String, character: char) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => unicode(out, character),
        control if control.is_control() => unicode(out, control),
        other => out.push(other),
    }
}

fn unicode(out: &mut String, character: char) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\u{:04x}", u32::from(character));
}

/// Inside of text or of an attribute in quotes. Characters that XML does not have become U+FFFD.
pub(super) fn markup(out: &mut String, character: char) {
    match character {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&#34;"),
        '\'' => out.push_str("&#39;"),
        '\t' | '\n' => out.push(character),
        // A reader of XML would make a line feed of it.
        '\r' => out.push_str("&#13;"),
        '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
        control if control.is_control() && u32::from(control) < 0x20 => out.push('\u{fffd}'),
        other => out.push(other),
    }
}

/// Inside of a value of a form or a query.
pub(super) fn form(out: &mut String, character: char) {
    if character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_' | '~') {
        return out.push(character);
    }
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        let _ = write!(out, "%{byte:02X}");
    }
}
