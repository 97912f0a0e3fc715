//! Places in files, and what is wrong there: `file:line:column`, the line, and carets below what is meant.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Findings that are shown one by one; all are counted.
const SHOWN_MAX: usize = 50;
/// Characters of a long line that are shown before and after the place.
const EXCERPT_CHARACTERS: usize = 70;

/// A file as it was read, with `\n` as the end of every line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SourceFile {
    /// As it is shown: its path.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A part of a file, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: Arc<SourceFile>,
    pub(crate) span: Range<usize>,
}

impl Place {
    /// Line and column, both from 1; columns are characters.
    pub(crate) fn line_and_column(&self) -> (usize, usize) {
        let before = self.before();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (before.matches('\n').count() + 1, column)
    }

    fn before(&self) -> &str {
        let text = &self.file.text;
        text.get(..text.floor_char_boundary(self.span.start)).unwrap_or_default()
    }

    /// The line, or the part of a long one, and carets below what is meant of it.
    fn excerpt(&self) -> String {
        let (text, before) = (&self.file.text, self.before());
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let column = before.get(line_start..).unwrap_or_default().chars().count();
        let meant = text.get(before.len()..text.floor_char_boundary(self.span.end)).unwrap_or_default();
        let width = meant.lines().next().unwrap_or_default().chars().count();
        let skipped = column.saturating_sub(EXCERPT_CHARACTERS);
        let shown: String = line.chars().skip(skipped).take(2 * EXCERPT_CHARACTERS).collect();
        let room = shown.chars().count().saturating_sub(column - skipped);
        let carets = "^".repeat(width.min(room).max(1));
        // A tab is as wide in both lines only where both have it.
        let blank = |character| if character == '\t' { '\t' } else { ' ' };
        let margin: String = shown.chars().take(column - skipped).map(blank).collect();
        format!("    {shown}\n    {margin}{carets}")
    }
}

/// Something that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) place: Option<Place>,
    pub(crate) message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = &self.place else { return formatter.write_str(&self.message) };
        let (line, column) = place.line_and_column();
        write!(formatter, "{}:{line}:{column}: {}\n{}", place.file.name, self.message, place.excerpt())
    }
}

/// Everything that is wrong with the files. Nothing was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings(pub(crate) Vec<Finding>);

impl Findings {
    pub(crate) fn add(&mut self, place: Option<Place>, message: impl Into<String>) {
        self.0.push(Finding { place, message: message.into() });
    }

    /// `value` if nothing is wrong.
    pub(crate) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let (is, things) = if count == 1 { ("is", "thing") } else { ("are", "things") };
        writeln!(formatter, "{count} {things} {is} wrong, and nothing was changed")?;
        for finding in self.0.iter().take(SHOWN_MAX) {
            write!(formatter, "\n{finding}")?;
            writeln!(formatter)?;
        }
        if count > SHOWN_MAX {
            write!(formatter, "\n… and {} more", count - SHOWN_MAX)?;
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}

/// Where a byte of a TOML string's value stands in its source: `raw` is the source with its quotes, `value` what it
/// means. `None` if they do not belong together.
pub(crate) fn offset_in_source(raw: &str, value: &str, wanted: usize) -> Option<usize> {
    let multi_line = raw.starts_with("\"\"\"") || raw.starts_with("'''");
    let has_escapes = raw.starts_with('"');
    let mut at = if multi_line { 3 } else { 1 };
    // A line's end right behind the opening quotes is none of the value.
    if multi_line && raw.get(at..)?.starts_with('\n') {
        at += 1;
    }
    let mut value_at = 0;
    loop {
        let rest = raw.get(at..)?;
        if has_escapes && multi_line && continues_below(rest) {
            at += 1 + rest.get(1..)?.len() - rest.get(1..)?.trim_start().len();
            continue;
        }
        if value_at >= wanted {
            return Some(at);
        }
        value_at += value.get(value_at..)?.chars().next()?.len_utf8();
        at += match rest.chars().next()? {
            '\\' if has_escapes => match rest.chars().nth(1)? {
                'x' => 4,
                'u' => 6,
                'U' => 10,
                _ => 2,
            },
            other => other.len_utf8(),
        };
    }
}

/// A backslash at the end of a line: it and all blanks behind it are none of the value.
fn continues_below(rest: &str) -> bool {
    let behind = rest.strip_prefix('\\').map(|behind| behind.trim_start_matches([' ', '\t']));
    behind.is_some_and(|behind| behind.starts_with('\n'))
}
