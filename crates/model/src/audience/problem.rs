//! Why a rule is refused, and where.

use std::ops::Range;
use thiserror::Error;

/// A stable name for each kind of mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleCode {
    /// The text is not an expression.
    Syntax,
    /// A part of CEL that rules do not have.
    Unsupported,
    /// A name that nothing has.
    UnknownName,
    /// A function that there is not.
    UnknownFunction,
    /// Values of types that do not go together.
    Type,
    /// Too few, too many or wrong arguments.
    Arguments,
    /// A window or length of time that cannot be.
    Window,
    /// A regular expression that cannot be.
    Pattern,
    /// A rule may not ask what time it is.
    Now,
    /// Longer than a rule may be.
    TooLong,
    /// Nested deeper than a rule may be.
    TooDeep,
    /// Dearer than a rule may be.
    TooCostly,
    /// Audiences that depend on each other in a circle.
    Cycle,
}

impl RuleCode {
    /// The code as it is shown and sent: it never changes.
    pub fn code(self) -> &'static str {
        match self {
            Self::Syntax => "rule_syntax",
            Self::Unsupported => "rule_unsupported",
            Self::UnknownName => "rule_unknown_name",
            Self::UnknownFunction => "rule_unknown_function",
            Self::Type => "rule_type",
            Self::Arguments => "rule_arguments",
            Self::Window => "rule_window",
            Self::Pattern => "rule_pattern",
            Self::Now => "rule_now",
            Self::TooLong => "rule_too_long",
            Self::TooDeep => "rule_too_deep",
            Self::TooCostly => "rule_too_costly",
            Self::Cycle => "rule_cycle",
        }
    }
}

/// A place in the text of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Bytes before it.
    pub offset: usize,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The line, or the part of a long one, and under it carets below what is meant.
    pub excerpt: String,
}

/// A rule that was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message} (line {line}, column {column}). {advice}", line = place.line, column = place.column)]
pub struct RuleError {
    /// What kind of mistake.
    pub code: RuleCode,
    /// What is wrong, in a sentence without its full stop.
    pub message: String,
    /// What to do about it, in a sentence.
    pub advice: String,
    /// Where.
    pub place: Place,
}

/// A part of a rule's text, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A mistake before it is known in which text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: RuleCode,
    pub(crate) message: String,
    pub(crate) advice: String,
    pub(crate) span: Span,
}

/// Characters of a long line that an excerpt shows before and after the place.
const EXCERPT_CHARACTERS: usize = 60;

impl Fault {
    pub(crate) fn new(
        code: RuleCode,
        span: Span,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { code, message: message.into(), advice: advice.into(), span }
    }

    pub(crate) fn in_text(self, text: &str) -> RuleError {
        let offset = text.floor_char_boundary(self.span.start.min(text.len()));
        let before = text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_text = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        let column = before.get(line_start..).unwrap_or_default().chars().count();
        let skipped = column.saturating_sub(EXCERPT_CHARACTERS);
        let shown: String = line_text.chars().skip(skipped).take(2 * EXCERPT_CHARACTERS).collect();
        let marked = text.get(offset..self.span.end.max(offset)).unwrap_or_default();
        let width = marked.lines().next().unwrap_or_default().chars().count().max(1);
        let room = shown.chars().count().saturating_sub(column - skipped).max(1);
        let excerpt = format!("{shown}\n{}{}", " ".repeat(column - skipped), "^".repeat(width.min(room)));
        let line = before.matches('\n').count() + 1;
        let place = Place { offset, line, column: column + 1, excerpt };
        RuleError { code: self.code, message: self.message, advice: self.advice, place }
    }
}

/// The known name that is most like a wrong one, as a sentence; empty if none is like it.
pub(crate) fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let folded = wrong.to_lowercase();
    let most = 1 + wrong.chars().count() / 4;
    let best = known
        .into_iter()
        .map(|name| (distance(&folded, &name.to_lowercase(), most), name))
        .filter(|(distance, _)| *distance <= most)
        .min();
    best.map(|(_, name)| format!("Did you mean `{name}`?")).unwrap_or_default()
}

/// Levenshtein's distance of two texts, with swapped neighbours counted as one change (optimal string alignment);
/// beyond `most` it may be anything larger.
fn distance(one: &str, two: &str, most: usize) -> usize {
    let (one, two): (Vec<char>, Vec<char>) = (one.chars().collect(), two.chars().collect());
    if one.len().abs_diff(two.len()) > most {
        return most + 1;
    }
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=two.len()).collect();
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
    for (row, left) in one.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, right) in two.iter().enumerate() {
            let mut least = (at(&last, column) + usize::from(left != right))
                .min(at(&last, column + 1) + 1)
                .min(at(&current, column) + 1);
            let swapped =
                row > 0 && column > 0 && one.get(row - 1) == Some(right) && two.get(column - 1) == Some(left);
            if swapped {
                least = least.min(at(&before_last, column - 1) + 1);
            }
            current.push(least);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    at(&last, two.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_point_at_the_place() {
        let text = "count(\"Ä\") > 0\n  && tarits.plan == 1";
        let start = text.find("tarits").unwrap();
        let fault = Fault::new(RuleCode::UnknownName, Span { start, end: start + 6 }, "x", "y");
        let place = fault.in_text(text).place;
        assert_eq!((place.line, place.column), (2, 6));
        assert_eq!(place.excerpt, "  && tarits.plan == 1\n     ^^^^^^");
        let end = Fault::new(RuleCode::Syntax, Span { start: 99, end: 99 }, "x", "y").in_text("a &&").place;
        assert_eq!(end.excerpt, "a &&\n    ^");
        let long = format!("{}!", "x".repeat(300));
        let place =
            Fault::new(RuleCode::Syntax, Span { start: 300, end: 301 }, "x", "y").in_text(&long).place;
        assert_eq!(place.excerpt, format!("{}!\n{}^", "x".repeat(60), " ".repeat(60)));
    }

    #[test]
    fn likely_names() {
        let known = ["traits", "consent", "audience", "count"];
        for (wrong, expected) in [
            ("tarits", "Did you mean `traits`?"),
            ("Count", "Did you mean `count`?"),
            ("audiance", "Did you mean `audience`?"),
            ("zebra", ""),
        ] {
            assert_eq!(did_you_mean(wrong, known), expected);
        }
    }
}
