//! Templates in Liquid: the words of an operator around the facts of a message.
//!
//! A template is read once ([`Template::read`]) and rendered for each message ([`Template::render`]). What it is for, its
//! [`Kind`], decides how every `{{ … }}` is escaped, without the author asking for it: a value can end no string, tag,
//! field or line, whatever somebody has as a name. `raw` is the one way around it, and has to be written.
//!
//! The language is the part of Liquid that transforms values: output with filters, `if`, `unless`, `case`, `for`, `assign`,
//! `capture`, `comment`, `raw`. It reaches no file and no other template, and every render ends: each step and each byte that
//! is made costs [`WORK_MAX`], so neither a loop in a loop nor a text that doubles itself takes long or much memory.
//! Why it is our own: docs/decisions/0014-own-part-of-liquid.md. What authors need to know: docs/templates.md.
//!
//! - `words` cuts the text into pieces and words, each with its place;
//! - `parse` makes a tree of them, and says where something is wrong;
//! - `run` walks the tree with a message; `filters`, `number` and `date` are what filters do;
//! - `write` escapes.

mod date;
mod filters;
mod number;
mod parse;
mod run;
mod words;
mod write;

use serde_json::Value;
use std::fmt;
use thiserror::Error;

/// The longest template, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 64 * 1024;
/// The most tags, outputs and pieces of text of a template.
pub const PARTS_MAX: usize = 4_096;
/// How deep blocks may stand in each other.
pub const DEPTH_MAX: usize = 32;
/// What one render may cost: a step is [`STEP_COST`], a byte that is made is 1, and so is a byte that is looked through.
/// A tenth of a second at most, and as a rule a thousandth of it.
pub const WORK_MAX: u64 = 4_000_000;
/// What a step costs: a part that is rendered, a filter, a turn of a loop, an element of a list.
pub const STEP_COST: u64 = 32;

/// What a template's text is, which decides how values are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// JSON. Inside quotes a value is the content of the string; outside of quotes it is a whole value. What comes out is
    /// JSON, or an error.
    Json,
    /// XML or HTML, where text and quoted attributes stand: `&`, `<`, `>` and quotes become entities.
    Markup,
    /// A form, or the value of a query: everything but letters, digits, `-`, `.`, `_` and `~` is percent-encoded.
    Form,
    /// One line: a header. A value with a line break or another control character is an error.
    Line,
    /// Plain text: nothing is escaped.
    Plain,
}

impl Kind {
    /// Every one with its word.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Json, "json"),
        (Self::Markup, "xml"),
        (Self::Form, "form"),
        (Self::Line, "line"),
        (Self::Plain, "plain"),
    ];
}

/// A place in a template's text, from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The character in it.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.line, self.column)
    }
}

/// A template that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {}, character {}: {message}", place.line, place.column)]
pub struct TemplateError {
    /// A stable word.
    pub code: &'static str,
    /// Where.
    pub place: Place,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// A template that could not be rendered with this message. It holds nothing of the message, so that it can be kept and
/// logged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{code} at {place}: {what}")]
pub struct RenderFailure {
    /// A stable word, which begins with `template_`.
    pub code: &'static str,
    /// Where in the template.
    pub place: Place,
    /// What is wrong, for people.
    pub what: &'static str,
}

impl RenderFailure {
    /// The code and the place, for reasons of dead letters.
    pub fn reason(&self) -> String {
        format!("{} at {}", self.code, self.place)
    }
}

/// A template that was read.
#[derive(Clone, Debug)]
pub struct Template {
    kind: Kind,
    block: parse::Block,
}

impl Template {
    /// Reads a template.
    pub fn read(kind: Kind, text: &str) -> Result<Self, TemplateError> {
        let block = parse::read(text)?;
        Ok(Self { kind, block })
    }

    /// What it is for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Renders it. `facts` is an object, whose members are the names that the template knows. What comes out has at most
    /// `bytes_max` bytes.
    pub fn render(&self, facts: &Value, bytes_max: usize) -> Result<String, RenderFailure> {
        run::render(self.kind, &self.block, facts, bytes_max)
    }
}

/// A text as a value of a form or of a query, as [`Kind::Form`] writes it.
pub(crate) fn percent_encoded(text: &str) -> String {
    write::escaped(text, write::form)
}

#[cfg(test)]
mod tests;
