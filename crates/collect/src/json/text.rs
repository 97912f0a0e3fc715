//! Texts as JSON spells them: written, and read back to what is meant.

/// Writes text as a JSON string.
pub(crate) fn write_text(out: &mut String, text: &str) {
    out.push('"');
    if !text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        out.push_str(text);
        out.push('"');
        return;
    }
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control < ' ' => {
                let code = control as u32;
                out.push_str("\\u00");
                for digit in [code >> 4, code & 15] {
                    out.push(char::from_digit(digit, 16).unwrap_or('0'));
                }
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// The text that is meant. `half` stands in for half a surrogate pair.
pub(crate) fn unescape(inner: &str, half: char) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner.chars();
    let mut high: Option<u32> = None;
    while let Some(character) = rest.next() {
        let escape = if character == '\\' { rest.next() } else { None };
        if escape != Some('u') {
            close_surrogate(&mut out, &mut high, half);
        }
        match escape {
            None => out.push(character),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let code =
                    rest.by_ref().take(4).fold(0, |code, digit| code * 16 + digit.to_digit(16).unwrap_or(0));
                push_code(&mut out, &mut high, code, half);
            }
            Some(other) => out.push(other),
        }
    }
    close_surrogate(&mut out, &mut high, half);
    out
}

fn push_code(out: &mut String, high: &mut Option<u32>, code: u32, half: char) {
    match (high.take(), code) {
        (Some(first), 0xDC00..=0xDFFF) => {
            let whole = 0x1_0000 + ((first - 0xD800) << 10) + (code - 0xDC00);
            out.push(char::from_u32(whole).unwrap_or(half));
        }
        (before, _) => {
            if before.is_some() {
                out.push(half);
            }
            if (0xD800..=0xDBFF).contains(&code) {
                *high = Some(code);
            } else {
                out.push(char::from_u32(code).unwrap_or(half));
            }
        }
    }
}

fn close_surrogate(out: &mut String, high: &mut Option<u32>, half: char) {
    if high.take().is_some() {
        out.push(half);
    }
}
