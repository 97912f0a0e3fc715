//! Takes comments and the insides of strings away, so that a brace or a word found afterwards is code.

/// The same text with comments and string contents replaced by spaces. Lengths and lines stay as they are.
pub(crate) fn mask(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut masked = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(letter) = bytes.get(at) {
        let end = blank_end(bytes, at);
        if end == at {
            masked.push(*letter);
            at += 1;
            continue;
        }
        let span = bytes.get(at..end.min(bytes.len())).unwrap_or_default();
        masked.extend(span.iter().map(|letter| if *letter == b'\n' { b'\n' } else { b' ' }));
        at = end;
    }
    String::from_utf8_lossy(&masked).into_owned()
}

/// One past the comment, string or character that starts at `at`, or `at` when code starts there.
fn blank_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|letter| *letter == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => at + block_comment_length(rest),
        [b'"', ..] => at + string_length(rest),
        [b'r', b'"' | b'#', ..] if starts_raw_string(bytes, at) => at + raw_string_length(rest).unwrap_or(0),
        [b'\'', ..] => at + character_length(rest),
        _ => at,
    }
}

fn block_comment_length(rest: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        match rest.get(at..).unwrap_or_default() {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

fn string_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(letter) = rest.get(at) {
        match letter {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r` begins a raw string unless it ends a word such as `bar`; `br` and `cr` are prefixes themselves.
fn starts_raw_string(bytes: &[u8], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).and_then(|index| bytes.get(index)).copied();
    let is_word =
        |letter: Option<u8>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric() || letter == b'_');
    match before(1) {
        Some(b'b' | b'c') => !is_word(before(2)),
        other => !is_word(other),
    }
}

/// `None` for a raw identifier such as `r#type`.
fn raw_string_length(rest: &[u8]) -> Option<usize> {
    let hashes = rest.iter().skip(1).take_while(|letter| **letter == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let mut closing = vec![b'"'];
    closing.resize(1 + hashes, b'#');
    let body = rest.get(2 + hashes..)?;
    let end = body.windows(closing.len()).position(|window| window == closing)?;
    Some(2 + hashes + end + closing.len())
}

/// The length of a character literal, or zero for a lifetime.
fn character_length(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        // The escaped letter may itself be a quote, so the search starts behind it.
        let tail = rest.get(3..).unwrap_or_default();
        return tail.iter().position(|letter| *letter == b'\'').map_or(rest.len(), |end| 3 + end + 1);
    }
    let letter_length = match rest.get(1) {
        Some(0xF0..) => 4,
        Some(0xE0..) => 3,
        Some(0xC0..) => 2,
        _ => 1,
    };
    if rest.get(1 + letter_length) == Some(&b'\'') { letter_length + 2 } else { 0 }
}
