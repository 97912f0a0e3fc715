//! Cuts a template into text, outputs and tags, and what stands inside of those into words.

use super::{Place, TemplateError};

/// A word inside of an output or a tag.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    /// A name of something.
    Name(String),
    /// A text in quotes.
    Text(String),
    /// A number as it was written.
    Number(String),
    /// Anything else: `|`, `:`, `,`, `.`, `[`, `]`, `(`, `)`, `=` or a comparison.
    Sign(&'static str),
}

impl Word {
    /// For sentences.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Name(name) => format!("`{name}`"),
            Self::Text(_) => "a text in quotes".to_owned(),
            Self::Number(number) => format!("`{number}`"),
            Self::Sign(sign) => format!("`{sign}`"),
        }
    }
}

/// A word and where it stands.
pub(super) type Placed = (Word, Place);

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    /// Text that comes out as it is.
    Text(String, Place),
    /// `{{ … }}`.
    Output(Vec<Placed>, Place),
    /// `{% … %}`.
    Tag(Vec<Placed>, Place),
}

/// The signs, longer ones first.
const SIGNS: [&str; 17] =
    ["..", "==", "!=", "<>", "<=", ">=", "<", ">", "=", "|", ":", ",", ".", "[", "]", "(", ")"];

/// A place on the way through a text.
#[derive(Clone, Copy)]
struct Cursor<'t> {
    rest: &'t str,
    place: Place,
}

impl<'t> Cursor<'t> {
    fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.pass(character.len_utf8());
        Some(character)
    }

    fn pass(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        for character in passed.chars() {
            if character == '\n' {
                self.place = Place { line: self.place.line.saturating_add(1), column: 1 };
            } else {
                self.place.column = self.place.column.saturating_add(1);
            }
        }
        self.rest = rest;
    }

    /// Passes what comes next if it is this.
    fn take(&mut self, what: &str) -> bool {
        let is_next = self.rest.starts_with(what);
        if is_next {
            self.pass(what.len());
        }
        is_next
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|character| !fits(character)).unwrap_or(self.rest.len());
        let taken = self.rest.get(..end).unwrap_or_default();
        self.pass(end);
        taken
    }
}

/// The pieces of a template in order.
pub(super) fn cut(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut cursor = Cursor { rest: text, place: Place { line: 1, column: 1 } };
    let mut pieces = Vec::new();
    let mut trims = false;
    loop {
        let place = cursor.place;
        let end = opening(cursor.rest).unwrap_or(cursor.rest.len());
        let mut plain = cursor.rest.get(..end).unwrap_or_default();
        cursor.pass(end);
        if trims {
            plain = plain.trim_start();
        }
        let opened = cursor.place;
        let is_output = cursor.take("{{");
        let is_tag = !is_output && cursor.take("{%");
        if (is_output || is_tag) && cursor.take("-") {
            plain = plain.trim_end();
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.to_owned(), place));
        }
        if !is_output && !is_tag {
            return Ok(pieces);
        }
        let close = if is_output { "}}" } else { "%}" };
        let words;
        (words, trims) = words_until(&mut cursor, close, opened)?;
        let name = match words.first() {
            Some((Word::Name(name), _)) if is_tag && words.len() == 1 => name.clone(),
            _ => String::new(),
        };
        if name == "raw" || name == "comment" {
            trims = verbatim(&mut cursor, &name, trims, opened, &mut pieces)?;
            continue;
        }
        pieces.push(if is_output { Piece::Output(words, opened) } else { Piece::Tag(words, opened) });
    }
}

/// Where the next output or tag begins.
fn opening(text: &str) -> Option<usize> {
    text.match_indices('{').map(|(at, _)| at).find(|at| {
        let next = text.as_bytes().get(at + 1);
        matches!(next, Some(b'{' | b'%'))
    })
}

/// What stands between `raw` or `comment` and its end; a comment says nothing.
fn verbatim(
    cursor: &mut Cursor<'_>,
    name: &str,
    mut trims: bool,
    opened: Place,
    pieces: &mut Vec<Piece>,
) -> Result<bool, TemplateError> {
    let from = *cursor;
    let ended = format!("end{name}");
    while let Some(at) = cursor.rest.find("{%") {
        cursor.pass(at);
        let length = from.rest.len() - cursor.rest.len();
        cursor.pass(2);
        let trims_before = cursor.take("-");
        cursor.take_while(char::is_whitespace);
        if !cursor.take(&ended) {
            continue;
        }
        cursor.take_while(char::is_whitespace);
        let trims_after = cursor.take("-");
        if !cursor.take("%}") {
            continue;
        }
        let mut inside = from.rest.get(..length).unwrap_or_default();
        inside = if trims { inside.trim_start() } else { inside };
        inside = if trims_before { inside.trim_end() } else { inside };
        if name == "raw" && !inside.is_empty() {
            pieces.push(Piece::Text(inside.to_owned(), from.place));
        }
        trims = trims_after;
        return Ok(trims);
    }
    Err(unclosed(opened, format!("`{{% {name} %}}` has no end: write `{{% {ended} %}}` behind it")))
}

/// The words up to the closing sign, and whether the white space behind it goes.
fn words_until(
    cursor: &mut Cursor<'_>,
    close: &str,
    opened: Place,
) -> Result<(Vec<Placed>, bool), TemplateError> {
    let mut words = Vec::new();
    loop {
        cursor.take_while(char::is_whitespace);
        if cursor.take(close) {
            return Ok((words, false));
        }
        if cursor.rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(close)) {
            cursor.pass(1 + close.len());
            return Ok((words, true));
        }
        let place = cursor.place;
        let Some(first) = cursor.rest.chars().next() else {
            let open = if close == "}}" { "{{" } else { "{%" };
            return Err(unclosed(opened, format!("`{open}` has no end: write `{close}` behind it")));
        };
        words.push((word(cursor, first, place)?, place));
    }
}

fn word(cursor: &mut Cursor<'_>, first: char, place: Place) -> Result<Word, TemplateError> {
    if first == '"' || first == '\'' {
        cursor.next();
        let text = cursor.take_while(|character| character != first).to_owned();
        if cursor.next().is_none() {
            return Err(unclosed(place, format!("a text has no end: write {first} behind it")));
        }
        return Ok(Word::Text(text));
    }
    let digit_next =
        cursor.rest.get(1..).is_some_and(|rest| rest.starts_with(|next: char| next.is_ascii_digit()));
    if first.is_ascii_digit() || (first == '-' && digit_next) {
        return Ok(Word::Number(number(cursor)));
    }
    if first.is_ascii_alphabetic() || first == '_' {
        return Ok(Word::Name(name(cursor)));
    }
    if let Some(sign) = SIGNS.iter().find(|sign| cursor.take(sign)) {
        return Ok(Word::Sign(sign));
    }
    Err(TemplateError {
        code: "bad_character",
        place,
        message: format!(
            "{first:?} means nothing here: texts stand in quotes, names have ASCII letters, digits and `_`"
        ),
    })
}

fn number(cursor: &mut Cursor<'_>) -> String {
    let mut text = String::new();
    if cursor.take("-") {
        text.push('-');
    }
    text.push_str(cursor.take_while(|next| next.is_ascii_digit()));
    // Two points are a range, which is refused in words.
    let has_places = cursor
        .rest
        .strip_prefix('.')
        .is_some_and(|rest| rest.starts_with(|next: char| next.is_ascii_digit()));
    if has_places && cursor.take(".") {
        text.push('.');
        text.push_str(cursor.take_while(|next| next.is_ascii_digit()));
    }
    text
}

/// A name. A `-` belongs to it where something follows: before the end of a tag it is the tag's.
fn name(cursor: &mut Cursor<'_>) -> String {
    let mut name = String::new();
    loop {
        name.push_str(cursor.take_while(|next| next.is_ascii_alphanumeric() || next == '_'));
        let goes_on = cursor
            .rest
            .strip_prefix('-')
            .is_some_and(|rest| rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_'));
        if !goes_on || !cursor.take("-") {
            return name;
        }
        name.push('-');
    }
}

fn unclosed(place: Place, message: String) -> TemplateError {
    TemplateError { code: "unclosed", place, message }
}
