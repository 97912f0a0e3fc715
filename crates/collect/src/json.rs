//! A reader that walks JSON text once and lends out slices of it.
//!
//! Everything that is read or skipped is checked against the grammar (RFC 8259), so a slice that was lent out is JSON
//! and may be stored as it is. Strings are copied only where they hold escapes. Nesting is bounded, and so are numbers: one
//! that is beyond a double is grammar all the same, but whoever reads the stored slice later could make nothing of it.
//!
//! It is our own because the door needs three things at once that no parser gives: the raw slice of a value *and* the
//! fields inside it in the same pass, keys in any order with the last one winning, and a named limit on nesting.
//! `examples/bench_wire.rs` holds it against sonic-rs; a property test holds it against serde_json.

mod text;

use std::borrow::Cow;
use text::unescape;

pub(crate) use text::write_text;

/// Why text is not the JSON that the door reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JsonError {
    /// Where, in bytes from the beginning.
    pub(crate) at: usize,
    /// What was expected, to complete "expected …".
    pub(crate) expected: &'static str,
}

/// The text between two quotes, escapes still in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawText<'a> {
    inner: &'a str,
    escaped: bool,
}

impl<'a> RawText<'a> {
    /// The text that is meant. Half a surrogate pair becomes U+FFFD: browsers send one when a script cuts an emoji.
    pub(crate) fn decode(self) -> Cow<'a, str> {
        self.decode_with(char::REPLACEMENT_CHARACTER)
    }

    /// The text that is meant, of an id. Half a surrogate pair becomes NUL, which no id may hold: one replacement for
    /// all halves would make two ids the same.
    pub(crate) fn decode_id(self) -> Cow<'a, str> {
        self.decode_with('\0')
    }

    fn decode_with(self, half: char) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(unescape(self.inner, half)) } else { Cow::Borrowed(self.inner) }
    }
}

/// One value. Objects and arrays come as the slice that spells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Text(RawText<'a>),
    Number(&'a str),
    Bool(bool),
    Null,
    Object,
    Array(&'a str),
}

/// Walks over JSON text.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth_left: u32,
}

impl<'a> Reader<'a> {
    /// Reads from the beginning of `text`, no deeper than `depth_max` objects and arrays.
    pub(crate) fn new(text: &'a str, depth_max: u32) -> Self {
        Self { text, at: 0, depth_left: depth_max }
    }

    /// Fails if anything but blanks is left.
    pub(crate) fn finish(&mut self) -> Result<(), JsonError> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.expected("the end")) }
    }

    /// The first byte of the next value, or 0 at the end.
    pub(crate) fn peek(&mut self) -> u8 {
        self.space();
        self.byte()
    }

    /// Reads the next value; containers are skipped and lent as slices.
    pub(crate) fn value(&mut self) -> Result<Value<'a>, JsonError> {
        match self.peek() {
            b'"' => self.string().map(Value::Text),
            b'{' => self.skip().map(|_| Value::Object),
            b'[' => self.skip().map(Value::Array),
            b't' => self.word("true").map(|()| Value::Bool(true)),
            b'f' => self.word("false").map(|()| Value::Bool(false)),
            b'n' => self.word("null").map(|()| Value::Null),
            _ => {
                let from = self.at;
                self.number()?;
                Ok(Value::Number(self.since(from)))
            }
        }
    }

    /// Skips the next value and lends the slice that spells it.
    pub(crate) fn skip(&mut self) -> Result<&'a str, JsonError> {
        self.space();
        let from = self.at;
        self.skip_value()?;
        Ok(self.since(from))
    }

    /// Reads an object. `each` gets every key and must consume its value. Lends the slice that spells the object.
    pub(crate) fn object<E: From<JsonError>>(
        &mut self,
        mut each: impl FnMut(&mut Self, &str) -> Result<(), E>,
    ) -> Result<&'a str, E> {
        self.space();
        let from = self.at;
        self.open(b'{', "an object")?;
        if self.peek() == b'}' {
            self.at += 1;
        } else {
            loop {
                let key = self.key()?;
                if key.escaped {
                    each(self, &key.decode())?;
                } else {
                    each(self, key.inner)?;
                }
                if self.closes(b'}', "a comma or a closing brace")? {
                    break;
                }
            }
        }
        self.depth_left += 1;
        Ok(self.since(from))
    }

    /// Reads an array. `each` must consume one value. Lends the slice that spells the array.
    pub(crate) fn array<E: From<JsonError>>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<&'a str, E> {
        self.space();
        let from = self.at;
        self.open(b'[', "an array")?;
        if self.peek() == b']' {
            self.at += 1;
        } else {
            loop {
                each(self)?;
                if self.closes(b']', "a comma or a closing bracket")? {
                    break;
                }
            }
        }
        self.depth_left += 1;
        Ok(self.since(from))
    }

    fn skip_value(&mut self) -> Result<(), JsonError> {
        match self.byte() {
            b'"' => self.string().map(|_| ()),
            b'{' => self.skip_object(),
            b'[' => self.array(|reader| reader.skip().map(|_| ())).map(|_| ()),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(),
        }
    }

    /// What [`Reader::object`] does where nobody asks for the members.
    fn skip_object(&mut self) -> Result<(), JsonError> {
        self.open(b'{', "an object")?;
        if self.peek() == b'}' {
            self.at += 1;
        } else {
            loop {
                self.key()?;
                self.space();
                self.skip_value()?;
                if self.closes(b'}', "a comma or a closing brace")? {
                    break;
                }
            }
        }
        self.depth_left += 1;
        Ok(())
    }

    /// A member's key and the colon behind it.
    #[inline]
    fn key(&mut self) -> Result<RawText<'a>, JsonError> {
        self.space();
        let key = self.string()?;
        self.space();
        self.punctuation(b':', "a colon")?;
        Ok(key)
    }

    fn open(&mut self, bracket: u8, expected: &'static str) -> Result<(), JsonError> {
        self.punctuation(bracket, expected)?;
        match self.depth_left.checked_sub(1) {
            Some(left) => {
                self.depth_left = left;
                Ok(())
            }
            None => Err(self.expected("less nesting")),
        }
    }

    /// Consumes a comma (`false`) or the closing bracket (`true`).
    fn closes(&mut self, bracket: u8, expected: &'static str) -> Result<bool, JsonError> {
        let found = self.peek();
        if found != b',' && found != bracket {
            return Err(self.expected(expected));
        }
        self.at += 1;
        Ok(found == bracket)
    }

    fn punctuation(&mut self, byte: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.byte() != byte {
            return Err(self.expected(expected));
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &'static str) -> Result<(), JsonError> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    #[inline]
    fn string(&mut self) -> Result<RawText<'a>, JsonError> {
        let bytes = self.text.as_bytes();
        let from = self.at + 1;
        if self.byte() == b'"' {
            let end = plain_end(bytes, from);
            if bytes.get(end) == Some(&b'"') {
                self.at = end + 1;
                return Ok(RawText { inner: self.text.get(from..end).unwrap_or_default(), escaped: false });
            }
        }
        self.unusual_string()
    }

    /// A string with escapes, or none.
    #[cold]
    fn unusual_string(&mut self) -> Result<RawText<'a>, JsonError> {
        self.punctuation(b'"', "a text in quotes")?;
        let from = self.at;
        loop {
            self.at = plain_end(self.text.as_bytes(), self.at);
            match self.byte() {
                b'"' => break,
                b'\\' => self.escape()?,
                _ => return Err(self.expected("a closing quote before the end or a control character")),
            }
        }
        let inner = self.since(from);
        self.at += 1;
        Ok(RawText { inner, escaped: true })
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match self.byte() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.byte().is_ascii_hexdigit() {
                        return Err(self.expected("four hexadecimal digits"));
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.expected("a known escape")),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let from = self.at;
        if self.byte() == b'-' {
            self.at += 1;
        }
        match self.byte() {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            _ => return Err(self.expected("a value")),
        }
        if self.byte() == b'.' {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.byte(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.byte(), b'+' | b'-') {
                self.at += 1;
            }
            self.some_digits()?;
            return self.within_a_double(from);
        }
        // So many digits and no exponent are less than 1e300.
        if self.at - from > 300 { self.within_a_double(from) } else { Ok(()) }
    }

    #[cold]
    fn within_a_double(&self, from: usize) -> Result<(), JsonError> {
        let is_finite = self.since(from).parse::<f64>().is_ok_and(f64::is_finite);
        if is_finite { Ok(()) } else { Err(JsonError { at: from, expected: "a number below 1.8e308" }) }
    }

    fn some_digits(&mut self) -> Result<(), JsonError> {
        if !self.byte().is_ascii_digit() {
            return Err(self.expected("a digit"));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while self.byte().is_ascii_digit() {
            self.at += 1;
        }
    }

    /// The byte here, 0 at the end. A real 0 is no JSON outside strings, and inside them it is refused anyway.
    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    fn space(&mut self) {
        while matches!(self.byte(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    fn since(&self, from: usize) -> &'a str {
        self.text.get(from..self.at).unwrap_or_default()
    }

    fn expected(&self, expected: &'static str) -> JsonError {
        JsonError { at: self.at, expected }
    }
}

/// Where the bytes that mean themselves inside a string end, looking at eight at a time.
#[inline]
fn plain_end(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let (words, tail) = rest.as_chunks::<8>();
    let mut at = from;
    for word in words {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + tail.iter().take_while(|byte| **byte >= 0x20 && **byte != b'"' && **byte != b'\\').count()
}

/// Marks the bytes of a word that are quotes, backslashes or control characters, in their top bits. Marks above the
/// lowest one may be false (borrows), so only the lowest counts.
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let quotes = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslashes = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    let controls = word.wrapping_sub(ONES * 0x20);
    // A byte with its top bit set is none of them, and each of the three differences may have borrowed its own.
    (quotes | backslashes | controls) & !word & TOPS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEPTH: u32 = 20;

    fn accepts(text: &str) -> bool {
        let mut reader = Reader::new(text, DEPTH);
        reader.skip().is_ok() && reader.finish().is_ok()
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".{0,20}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::hash_map(".{0,9}", inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// The grammar is serde_json's, on valid text and on text with a few bytes replaced, and so is the range of numbers.
        #[test]
        fn it_accepts_what_serde_accepts(
            value in json(), pretty: bool,
            damage in prop::collection::vec((any::<prop::sample::Index>(), "[\\x00-\\x7f]"), 0..3),
        ) {
            let mut text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            for (at, replacement) in damage {
                let at = at.index(text.len());
                if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
                    text.replace_range(at..=at, &replacement);
                }
            }
            let is_grammar = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            let is_too_large = serde_json::from_str::<serde_json::Value>(&text)
                .is_err_and(|error| error.to_string().contains("number out of range"));
            let theirs = is_grammar && !is_too_large;
            prop_assert_eq!(accepts(&text), theirs, "{}", text);
        }

        #[test]
        fn text_reads_back(text in any::<String>()) {
            let mut ours = String::new();
            write_text(&mut ours, &text);
            for spelled in [ours, serde_json::to_string(&text).unwrap()] {
                let mut reader = Reader::new(&spelled, DEPTH);
                let Ok(Value::Text(raw)) = reader.value() else { panic!("{spelled}") };
                prop_assert_eq!(raw.decode(), text.as_str());
            }
        }

        #[test]
        fn escapes_mean_what_serde_says(codes in prop::collection::vec(any::<u16>(), 0..6)) {
            let spelled: String = codes.iter().map(|code| format!("\\u{code:04x}")).collect();
            let spelled = format!("\"{spelled}\"");
            let Ok(Value::Text(raw)) = Reader::new(&spelled, DEPTH).value() else { panic!("{spelled}") };
            let expected = String::from_utf16_lossy(&codes);
            prop_assert_eq!(raw.decode(), expected.as_str());
        }
    }

    #[test]
    fn slices_are_what_was_written() {
        let text = r#" {"a" : [1, {"b":"c\"]}"}] , "d":null} "#;
        let mut seen = Vec::new();
        let raw = Reader::new(text, DEPTH).object(|reader, key| {
            seen.push((key.to_owned(), reader.skip()?));
            Ok::<(), JsonError>(())
        });
        assert_eq!(raw, Ok(text.trim()));
        assert_eq!(seen, [("a".to_owned(), r#"[1, {"b":"c\"]}"}]"#), ("d".to_owned(), "null")]);
    }

    #[test]
    fn numbers_are_within_a_double() {
        let digits = |count: usize| "9".repeat(count);
        let table = [
            ("1.7976931348623157e308".to_owned(), true),
            ("1.8e308".to_owned(), false),
            ("-1E309".to_owned(), false),
            ("1e-999".to_owned(), true),
            ("0e99999999999999999999".to_owned(), true),
            ("1e99999999999999999999".to_owned(), false),
            (digits(300), true),
            (digits(308), true),
            (digits(310), false),
            (format!("{}.5", digits(310)), false),
            (format!("0.{}", digits(400)), true),
        ];
        for (text, expected) in table {
            assert_eq!(accepts(&text), expected, "{text}");
            assert_eq!(serde_json::from_str::<f64>(&text).is_ok(), expected, "{text} by another reader");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(accepts(&nested(DEPTH as usize)));
        assert!(!accepts(&nested(DEPTH as usize + 1)));
        assert!(!accepts(&"[".repeat(1_000_000)));
        let wide = format!("[{}]", vec!["[]"; 1_000].join(","));
        assert!(accepts(&wide), "the depth goes back up");
    }
}
