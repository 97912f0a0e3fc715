//! Rust text, just enough of it: what is code and what is comment or string, where a function ends, what is test.
//!
//! This is a scanner, not a parser. It is right for code that `rustfmt` and the compiler accept, which is the only
//! code that reaches it, and it needs no dependency.

mod mask;

pub(crate) use mask::mask;

use std::ops::Range;

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Counted from one.
    pub(crate) line: usize,
    /// From the line of `fn` to the line of the closing brace.
    pub(crate) lines: usize,
}

/// The functions of masked code, nested ones too.
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for start in words(code, "fn") {
        let rest = code.get(start + 2..).unwrap_or_default();
        let name: String = rest.trim_start().chars().take_while(|letter| is_word(*letter)).collect();
        let Some(body) = item_block(code, start) else { continue };
        if name.is_empty() {
            continue;
        }
        found.push(Function {
            name,
            line: line_of(code, start),
            lines: line_of(code, body.end) - line_of(code, start) + 1,
        });
    }
    found
}

/// Masked code with everything blanked that only a test build compiles, and the names of `mod x;` that are test only.
pub(crate) fn without_tests(code: &str) -> (String, Vec<String>) {
    let mut kept = code.as_bytes().to_vec();
    let mut modules = Vec::new();
    for (start, attribute) in attributes(code) {
        if !is_test_only(attribute) {
            continue;
        }
        if code.get(start..).is_some_and(|rest| rest.starts_with("#!")) {
            return (blank(code.as_bytes(), 0..code.len()), modules);
        }
        let end = item_end(code, start + attribute.len());
        let item = code.get(start + attribute.len()..end).unwrap_or_default();
        modules.extend(module_without_body(item));
        kept = blank(&kept, start..end).into_bytes();
    }
    (String::from_utf8_lossy(&kept).into_owned(), modules)
}

/// Every attribute of masked code: where it starts, and its text from `#` to `]`.
pub(crate) fn attributes(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (start, _) in code.match_indices('#') {
        let rest = code.get(start..).unwrap_or_default();
        let opening = if rest.starts_with("#!") { 2 } else { 1 };
        if rest.as_bytes().get(opening) != Some(&b'[') {
            continue;
        }
        if let Some(end) = matching(code, start + opening) {
            found.push((start, code.get(start..=end).unwrap_or_default()));
        }
    }
    found
}

/// Where `word` stands as a whole word.
pub(crate) fn words<'text>(text: &'text str, word: &'text str) -> impl Iterator<Item = usize> + 'text {
    text.match_indices(word).map(|(start, _)| start).filter(move |start| {
        let before = text.get(..*start).and_then(|head| head.chars().next_back());
        let after = text.get(start + word.len()..).and_then(|tail| tail.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The line of a byte, counted from one.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or(text).matches('\n').count() + 1
}

/// The top-level names that code takes from the standard library: `std::fs::read` and `use std::{fs, io}` give `fs`.
pub(crate) fn std_modules(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (start, _) in code.match_indices("std::") {
        let after = start + "std::".len();
        let rest = code.get(after..).unwrap_or_default();
        let Some(inside) = rest
            .strip_prefix('{')
            .and_then(|_| matching(code, after))
            .and_then(|end| code.get(after + 1..end))
        else {
            found.push((start, leading_word(rest)));
            continue;
        };
        let mut depth = 0_usize;
        let mut piece = String::new();
        for letter in inside.chars().chain([',']) {
            match letter {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                ',' if depth == 0 => {
                    found.push((start, leading_word(std::mem::take(&mut piece).trim_start())))
                }
                _ => {}
            }
            if letter != ',' {
                piece.push(letter);
            }
        }
    }
    found
}

fn leading_word(text: &str) -> String {
    text.chars().take_while(|letter| is_word(*letter)).collect()
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// `cfg(test)` and `cfg(all(test, ..))` are test only; `cfg(any(test, ..))` and `cfg(not(test))` are not.
fn is_test_only(attribute: &str) -> bool {
    let squeezed: String = attribute.chars().filter(|letter| !letter.is_whitespace()).collect();
    let inside = squeezed.trim_start_matches("#!").trim_start_matches('#').trim_start_matches("[cfg(");
    squeezed.contains("[cfg(") && (inside.starts_with("test)") || inside.starts_with("all(test,"))
}

/// The block of the item that starts at `start`, if it has one before its `;`.
fn item_block(code: &str, start: usize) -> Option<Range<usize>> {
    let mut at = start;
    while let Some(letter) = code.as_bytes().get(at) {
        match letter {
            b'(' | b'[' => at = matching(code, at)?,
            b';' => return None,
            b'{' => return matching(code, at).map(|end| at..end),
            _ => {}
        }
        at += 1;
    }
    None
}

/// One past the item that follows an attribute: further attributes, then up to `;` or the end of its block.
fn item_end(code: &str, start: usize) -> usize {
    let mut at = start;
    while let Some(letter) = code.as_bytes().get(at) {
        match letter {
            b'(' | b'[' => at = matching(code, at).unwrap_or(code.len()),
            b';' => return at + 1,
            b'{' => return matching(code, at).map_or(code.len(), |end| end + 1),
            _ => {}
        }
        at += 1;
    }
    code.len()
}

/// The name in `mod name;`, if that is what an item is.
fn module_without_body(item: &str) -> Option<String> {
    let at = words(item, "mod").last()?;
    let name = item.get(at + 3..)?.trim().strip_suffix(';')?;
    Some(name.trim().to_owned())
}

/// The byte of the bracket that closes the one at `open`.
fn matching(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, letter) in code.as_bytes().get(open..)?.iter().enumerate() {
        match letter {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return Some(open + offset);
        }
    }
    None
}

/// Spaces in place of a range, lines kept.
fn blank(text: &[u8], range: Range<usize>) -> String {
    let bytes = text
        .iter()
        .enumerate()
        .map(|(at, letter)| if range.contains(&at) && *letter != b'\n' { b' ' } else { *letter })
        .collect::<Vec<u8>>();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
