//! Stated attributes: the members of a JSON object, the latest word on each.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::consent::Said;
use crate::id::{Position, Timestamp};

/// The most traits of one node.
pub const MAX_TRAITS: usize = 100;
/// The longest name of a trait, in bytes.
pub const MAX_TRAIT_NAME_BYTES: usize = 128;
/// The longest value of a trait, in bytes of JSON.
pub const MAX_TRAIT_VALUE_BYTES: usize = 1_024;
/// The most bytes of names and values of one node.
pub const MAX_TRAITS_BYTES: usize = 8_192;

/// One stated attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trait {
    /// Its name, as written in JSON.
    pub name: Box<str>,
    /// Its value: JSON.
    pub value: Box<[u8]>,
    /// When it was stated.
    pub said: Said,
}

/// The traits of a node or profile, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// Sorted by name.
    pub items: Vec<Trait>,
}

impl Traits {
    /// Takes in the members of a JSON object. Returns how many found no room.
    pub fn state(&mut self, object: &[u8], said: Said) -> u32 {
        let mut refused = 0;
        for (name, value) in members(object) {
            if is_contact(name, value) {
                continue;
            }
            refused += u32::from(!self.put(name, value, said));
        }
        refused
    }

    fn put(&mut self, name: &str, value: &[u8], said: Said) -> bool {
        if name.len() > MAX_TRAIT_NAME_BYTES || value.len() > MAX_TRAIT_VALUE_BYTES {
            return false;
        }
        let bytes: usize = self.items.iter().map(|item| item.name.len() + item.value.len()).sum();
        match self.items.binary_search_by(|item| item.name.as_ref().cmp(name)) {
            Ok(at) => {
                let Some(own) = self.items.get_mut(at) else { return false };
                if own.said > said {
                    return true;
                }
                if bytes - own.value.len() + value.len() > MAX_TRAITS_BYTES {
                    return false;
                }
                if *own.value != *value {
                    own.value = value.into();
                }
                own.said = said;
                true
            }
            Err(_)
                if self.items.len() >= MAX_TRAITS || bytes + name.len() + value.len() > MAX_TRAITS_BYTES =>
            {
                false
            }
            Err(at) => {
                self.items.reserve_exact(1);
                self.items.insert(at, Trait { name: name.into(), value: value.into(), said });
                true
            }
        }
    }

    /// The trait of that name.
    pub fn get(&self, name: &str) -> Option<&Trait> {
        let at = self.items.binary_search_by(|item| item.name.as_ref().cmp(name)).ok()?;
        self.items.get(at)
    }

    /// Takes in the traits of another node: of each name the latest. Unbounded beyond the bounds of the nodes.
    pub fn combine(&mut self, other: &Self) {
        for theirs in &other.items {
            match self.items.binary_search_by(|item| item.name.cmp(&theirs.name)) {
                Ok(at) => {
                    if let Some(own) = self.items.get_mut(at)
                        && own.said < theirs.said
                    {
                        *own = theirs.clone();
                    }
                }
                Err(at) => self.items.insert(at, theirs.clone()),
            }
        }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let text: usize = self.items.iter().map(|item| item.name.len() + item.value.len()).sum();
        self.items.capacity() * size_of::<Trait>() + text
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.varint(self.items.len() as u64);
        for item in &self.items {
            encoder.text(&item.name);
            encoder.bytes(&item.value);
            encoder.signed(item.said.at.0);
            encoder.varint(item.said.position.0);
        }
    }

    /// Reads the stored form.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut items = Vec::new();
        for _ in 0..decoder.count()? {
            items.push(Trait {
                name: decoder.text()?.into(),
                value: decoder.bytes()?.into(),
                said: Said { at: Timestamp(decoder.signed()?), position: Position(decoder.varint()?) },
            });
        }
        Ok(Self { items })
    }
}

/// E-mail addresses and phone numbers are kept sealed as identifiers and never in clear: not under their usual names,
/// and no value that looks like an address under any name.
fn is_contact(name: &str, value: &[u8]) -> bool {
    let folded: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let named =
        ["email", "emailaddress", "mail", "phone", "phonenumber", "mobile", "mobilephone", "telephone"];
    named.contains(&folded.as_str()) || value.contains(&b'@')
}

/// A JSON object without the members that are e-mail addresses or phone numbers. Objects in it are looked into to this
/// depth; one that is deeper goes if it holds one. With depth 0, [`Traits`] keep the same of it as before.
pub fn without_contacts(object: &[u8], depth: usize) -> Vec<u8> {
    let mut kept = Vec::with_capacity(object.len());
    put_without_contacts(object, depth, &mut kept);
    kept
}

fn put_without_contacts(object: &[u8], depth: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    let begin = out.len();
    for (name, value) in members(object) {
        let is_object = depth > 0 && value.first() == Some(&b'{');
        if is_contact(name, if is_object { b"" } else { value }) {
            continue;
        }
        if out.len() > begin {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match is_object {
            true => put_without_contacts(value, depth - 1, out),
            false => out.extend_from_slice(value),
        }
    }
    out.push(b'}');
}

/// The names of the traits that a JSON object states.
pub fn stated_names(object: &[u8]) -> impl Iterator<Item = &str> {
    members(object).map(|(name, _)| name)
}

/// The members of a JSON object, names without their quotes. Ends early at anything that is not JSON.
fn members(object: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    let mut rest = after_space(object).strip_prefix(b"{").unwrap_or_default();
    std::iter::from_fn(move || {
        rest = after_space(rest);
        rest = after_space(rest.strip_prefix(b",").unwrap_or(rest));
        let name_end = string_end(rest)?;
        let name = std::str::from_utf8(rest.get(1..name_end.checked_sub(1)?)?).ok()?;
        rest = after_space(after_space(rest.get(name_end..)?).strip_prefix(b":")?);
        let value_end = value_end(rest)?;
        let value = rest.get(..value_end)?.trim_ascii_end();
        rest = rest.get(value_end..)?;
        Some((name, value))
    })
}

fn after_space(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii_start()
}

/// The length of the string that the bytes begin with, quotes counted.
fn string_end(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut escaped = false;
    for (index, byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(index + 1),
            _ => {}
        }
    }
    None
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(at: i64) -> Said {
        Said { at: Timestamp(at), position: Position(at as u64) }
    }

    #[test]
    fn members_of_objects() {
        let cases: [(&str, &[(&str, &str)]); 7] = [
            ("", &[]),
            ("{}", &[]),
            (r#"{"a":1}"#, &[("a", "1")]),
            (
                r#" { "a" : "x,}\"" , "b":[1,{"c":2}] ,"d":{"e":","} } "#,
                &[("a", r#""x,}\"""#), ("b", r#"[1,{"c":2}]"#), ("d", r#"{"e":","}"#)],
            ),
            (r#"{"a":null,"b":true}"#, &[("a", "null"), ("b", "true")]),
            (r#"{"a":1,"b""#, &[("a", "1")]),
            (r#"[1,2]"#, &[]),
        ];
        for (object, expected) in cases {
            let read: Vec<_> = members(object.as_bytes())
                .map(|(name, value)| (name, std::str::from_utf8(value).unwrap()))
                .collect();
            assert_eq!(read, expected, "{object}");
        }
    }

    #[test]
    fn contact_data_is_never_kept_in_clear() {
        let mut traits = Traits::default();
        traits.state(
            br#"{"email":"a@b.c","E-Mail":"x","phone_number":"1","login":"a@b.c","plan":"gold"}"#,
            said(1),
        );
        let names: Vec<_> = traits.items.iter().map(|item| item.name.as_ref()).collect();
        assert_eq!(names, ["plan"]);
    }

    #[test]
    fn an_object_loses_its_contact_data_at_any_depth() {
        let object = br#" {"plan" : "gold","email":"a@b.c", "list":["x@y"],"deep":{"phone":1,"n":{"mail":"z","k":[1,{"l":2}]}}}"#;
        let cases: [(usize, &str); 3] = [
            (0, r#"{"plan":"gold","deep":{"phone":1,"n":{"mail":"z","k":[1,{"l":2}]}}}"#),
            (1, r#"{"plan":"gold","deep":{"n":{"mail":"z","k":[1,{"l":2}]}}}"#),
            (9, r#"{"plan":"gold","deep":{"n":{"k":[1,{"l":2}]}}}"#),
        ];
        for (depth, expected) in cases {
            assert_eq!(String::from_utf8(without_contacts(object, depth)).unwrap(), expected, "{depth}");
        }
        assert_eq!(without_contacts(br#"{"a":{"b":{"c":"x@y"}}}"#, 1), br#"{"a":{}}"#);
        let (mut before, mut after) = (Traits::default(), Traits::default());
        before.state(object, said(1));
        after.state(&without_contacts(object, 0), said(1));
        assert_eq!(before, after, "what is kept of traits is the same");
    }

    proptest! {
        #[test]
        fn the_latest_word_wins_in_any_order(words in prop::collection::vec((0_usize..4, 0_i64..100), 0..20)) {
            let names = ["a", "b", "c", "d"];
            let (mut forth, mut back) = (Traits::default(), Traits::default());
            for (name, at) in &words {
                forth.state(format!("{{\"{}\":{at}}}", names[*name]).as_bytes(), said(*at));
            }
            for (name, at) in words.iter().rev() {
                let mut one = Traits::default();
                one.state(format!("{{\"{}\":{at}}}", names[*name]).as_bytes(), said(*at));
                back.combine(&one);
            }
            prop_assert_eq!(&forth, &back);
            for item in &forth.items {
                let latest = words.iter().filter(|(name, _)| names[*name] == &*item.name).map(|(_, at)| at).max().unwrap();
                prop_assert_eq!(String::from_utf8(item.value.to_vec()), Ok(latest.to_string()));
            }
        }

        #[test]
        fn nonsense_never_panics_and_bounds_hold(bytes: Vec<u8>, many in 0_usize..300) {
            let mut traits = Traits::default();
            traits.state(&bytes, said(1));
            for index in 0..many {
                traits.state(format!("{{\"name{index}\":\"{}\"}}", "x".repeat(index)).as_bytes(), said(2));
            }
            prop_assert!(traits.items.len() <= MAX_TRAITS);
            prop_assert!(traits.heap_bytes() <= MAX_TRAITS_BYTES + 2 * MAX_TRAITS * size_of::<Trait>());
        }
    }
}
