//! Texts made of texts: HTML without its marks, and words as they are compared.

/// The most bytes of HTML that are made plain.
const MAX_HTML_BYTES: usize = 64 << 10;

/// The words of an HTML text, with single blanks between them, cut to so many characters.
pub(crate) fn plain_text(html: &str, limit: Option<usize>) -> String {
    let mut end = html.len().min(MAX_HTML_BYTES);
    while !html.is_char_boundary(end) {
        end -= 1;
    }
    let mut rest = html.get(..end).unwrap_or_default();
    let mut plain = String::with_capacity(rest.len());
    let mut gap = false;
    while let Some(character) = rest.chars().next() {
        match character {
            '<' => {
                rest = behind_mark(rest);
                gap = true;
                continue;
            }
            '&' => {
                let (meant, length) = entity(rest);
                push(&mut plain, meant, &mut gap);
                rest = rest.get(length..).unwrap_or_default();
                continue;
            }
            other => push(&mut plain, other, &mut gap),
        }
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
    }
    match limit.and_then(|limit| plain.char_indices().nth(limit)) {
        Some((at, _)) => {
            plain.truncate(at.min(plain.len()));
            let kept = plain.trim_end().len();
            plain.truncate(kept);
            plain.push('…');
            plain
        }
        None => plain,
    }
}

fn push(plain: &mut String, character: char, gap: &mut bool) {
    if character.is_whitespace() {
        *gap = true;
        return;
    }
    if std::mem::take(gap) && !plain.is_empty() {
        plain.push(' ');
    }
    plain.push(character);
}

/// What is behind a mark that the text begins with; of scripts and styles, what is behind their end.
fn behind_mark(text: &str) -> &str {
    for (open, close) in [("<script", "</script"), ("<style", "</style"), ("<!--", "-->")] {
        if text.get(..open.len()).is_some_and(|start| start.eq_ignore_ascii_case(open)) {
            let lower = text.to_ascii_lowercase();
            let Some(at) = lower.find(close) else { return "" };
            let rest = text.get(at..).unwrap_or_default();
            return rest.split_once('>').map_or("", |(_, behind)| behind);
        }
    }
    text.split_once('>').map_or("", |(_, behind)| behind)
}

/// The character that an entity stands for, and how long it is.
fn entity(text: &str) -> (char, usize) {
    let Some(end) = text.bytes().take(10).position(|byte| byte == b';') else { return ('&', 1) };
    let name = text.get(1..end).unwrap_or_default();
    let meant = match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        _ => match name.strip_prefix('#') {
            Some(number) => match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok().and_then(char::from_u32),
                None => number.parse().ok().and_then(char::from_u32),
            },
            None => None,
        },
    };
    meant.map_or(('&', 1), |meant| (meant, end + 1))
}

/// The words of a text as they are compared: in lower case, without what is between them.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|character: char| !character.is_alphanumeric());
    parts.filter(|part| !part.is_empty()).map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_becomes_words() {
        for (html, limit, expected) in [
            ("", None, ""),
            ("<p>One  <b>two</b></p>\n<p>three</p>", None, "One two three"),
            ("a &amp; b &lt;c&gt; &#8364; &#x41; &unknown; &", None, "a & b <c> € A &unknown; &"),
            ("before<script>alert('<b>')</script>after<style>x{}</style>", None, "before after"),
            ("a <!-- not > shown --> b", None, "a b"),
            ("open <b", None, "open"),
            ("Käse und Brot", Some(5), "Käse…"),
            ("short", Some(5), "short"),
            ("short", Some(0), "…"),
        ] {
            assert_eq!(plain_text(html, limit), expected, "{html}");
        }
    }
}
