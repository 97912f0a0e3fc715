//! Finds one value in the raw JSON of an event, without reading the rest of it into anything.

use std::borrow::Cow;

/// The value under a path of member names, as it was written. `None` if there is none.
pub(crate) fn find<'a>(object: &'a [u8], path: &[impl AsRef<str>]) -> Option<&'a [u8]> {
    let mut value = object.trim_ascii_start();
    for name in path {
        value = member(value, name.as_ref())?;
    }
    Some(value)
}

/// The value of a member of the object that the bytes begin with; of several the first.
fn member<'a>(object: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let mut rest = object.strip_prefix(b"{")?;
    loop {
        rest = rest.trim_ascii_start();
        rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
        let (name, behind) = rest.split_at_checked(string_end(rest)?)?;
        rest = behind.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
        let (value, behind) = rest.split_at_checked(value_end(rest)?)?;
        if is_name(name, wanted) {
            return Some(value.trim_ascii_end());
        }
        rest = behind;
    }
}

fn is_name(quoted: &[u8], wanted: &str) -> bool {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    inner == wanted.as_bytes() || (inner.contains(&b'\\') && text(quoted).is_some_and(|name| name == wanted))
}

/// The length of the string that the bytes begin with, quotes counted.
fn string_end(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut index = 1;
    loop {
        match bytes.get(index)? {
            b'\\' => index += 2,
            b'"' => return Some(index + 1),
            _ => index += 1,
        }
    }
}

/// The length of the value that the bytes begin with: up to the comma or brace that ends it.
fn value_end(bytes: &[u8]) -> Option<usize> {
    let (mut depth, mut index) = (0_u32, 0);
    loop {
        match bytes.get(index)? {
            b'"' => {
                index += string_end(bytes.get(index..)?)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => break,
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => break,
            _ => {}
        }
        index += 1;
    }
    if index == 0 { None } else { Some(index) }
}

/// The text of a quoted string.
pub(crate) fn text(quoted: &[u8]) -> Option<Cow<'_, str>> {
    let inner = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let inner = std::str::from_utf8(inner).ok()?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    let mut out = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next()? {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'u' => out.push(escaped(&mut characters)?),
            other => out.push(other),
        }
    }
    Some(Cow::Owned(out))
}

/// The character of a `\u` escape, or of two that are halves of one.
fn escaped(characters: &mut std::str::Chars<'_>) -> Option<char> {
    let high = hexadecimal(characters)?;
    if !(0xD800..0xDC00).contains(&high) {
        return char::from_u32(high);
    }
    (characters.next() == Some('\\') && characters.next() == Some('u')).then_some(())?;
    let low = hexadecimal(characters)?.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
    char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + low)
}

fn hexadecimal(characters: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |value, _| Some(value * 16 + characters.next()?.to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_by_path() {
        let object =
            br#" {"a": 1, "b" :{"c":[1,{"x":"}"}],"d":"q\"\u00e9\ud83d\ude00"}, "k\u0065y": true,"a":2}"#;
        let cases: [(&str, Option<&str>); 9] = [
            ("a", Some("1")),
            ("b.c", Some(r#"[1,{"x":"}"}]"#)),
            ("b.d", Some(r#""q\"\u00e9\ud83d\ude00""#)),
            ("key", Some("true")),
            ("b.x", None),
            ("a.b", None),
            ("b.c.x", None),
            ("z", None),
            ("", None),
        ];
        for (path, expected) in cases {
            let path: Vec<Box<str>> = path.split('.').map(Into::into).collect();
            let found = find(object, &path).map(|raw| std::str::from_utf8(raw).unwrap());
            assert_eq!(found, expected, "{path:?}");
        }
        assert_eq!(text(br#""q\"\u00e9\ud83d\ude00""#).as_deref(), Some("q\"é😀"));
        assert_eq!(text(br#""\ud83d""#), None);
    }

    proptest! {
        #[test]
        fn nonsense_never_panics(bytes: Vec<u8>, text_like in "[{}\\[\\]\",:a\\\\u0 ]{0,40}") {
            let path = [Box::from("a"), Box::from("a")];
            for object in [bytes.as_slice(), text_like.as_bytes()] {
                let _ = (find(object, &path), text(object));
            }
        }
    }
}
