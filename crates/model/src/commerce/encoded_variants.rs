//! Which combinations of option values there are, in few bytes: the text of `encodedVariantExistence` and
//! `encodedVariantAvailability`.
//!
//! A combination is an index of a value for each option. All of them are a trie, written depth first: `0:` steps into the
//! first value of an option and `,` steps out again; the last option has no steps, only its values, with `-` for a range
//! and a blank for a gap. So `v1_0:0-2,1:2,` is the first value with the first three, and the second with the third.
//! Storefronts read it with the platform's own library, so nothing of it is ours to choose.

use super::product::{Product, Variant};
use std::collections::BTreeSet;
use std::fmt::Write as _;

const VERSION: &str = "v1_";

impl Product {
    /// The text for those variants that `included` names.
    pub fn encoded_variants(&self, mut included: impl FnMut(&Variant) -> bool) -> String {
        encode(
            self.variants
                .iter()
                .filter(|variant| included(variant))
                .map(|variant| variant.selected.as_slice()),
        )
    }
}

/// The text for combinations, in any order. They have the same number of options; no combinations are no text.
pub fn encode<'a>(combinations: impl Iterator<Item = &'a [u32]>) -> String {
    let sorted: Vec<&[u32]> =
        combinations.filter(|one| !one.is_empty()).collect::<BTreeSet<_>>().into_iter().collect();
    if sorted.is_empty() {
        return String::new();
    }
    let mut text = VERSION.to_owned();
    put(&sorted, 0, &mut text);
    text
}

/// Writes what is below a node: combinations that are the same up to `depth`, in order.
fn put(combinations: &[&[u32]], depth: usize, text: &mut String) {
    let value_of = |combination: &&[u32]| combination.get(depth).copied();
    if combinations.iter().all(|one| one.len() == depth + 1) {
        put_values(combinations.iter().filter_map(value_of), text);
        return;
    }
    for child in combinations.chunk_by(|one, other| value_of(one) == value_of(other)) {
        if let Some(value) = child.first().and_then(value_of) {
            // Writing to a text cannot fail.
            let _ = write!(text, "{value}:");
            put(child, depth + 1, text);
            text.push(',');
        }
    }
}

/// Writes ascending values: ranges with `-`, a blank between them.
fn put_values(values: impl Iterator<Item = u32>, text: &mut String) {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for value in values {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(value) => *last = value,
            _ => ranges.push((value, value)),
        }
    }
    for (index, (first, last)) in ranges.into_iter().enumerate() {
        let gap = if index > 0 { " " } else { "" };
        let _ =
            if first == last { write!(text, "{gap}{first}") } else { write!(text, "{gap}{first}-{last}") };
    }
}

/// Reads such a text, for tests and for imports. `None` if it is none, or names more than `most` combinations.
pub fn decode(text: &str, most: usize) -> Option<Vec<Vec<u32>>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let text = text.strip_prefix(VERSION)?;
    let mut combinations = Vec::new();
    let mut path: Vec<u32> = Vec::new();
    let mut range_from: Option<u32> = None;
    let mut rest = text;
    loop {
        let digits = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
        let (number, behind) = rest.split_at_checked(digits)?;
        let value = if number.is_empty() { None } else { Some(number.parse::<u32>().ok()?) };
        let mut marks = behind.chars();
        let mark = marks.next();
        match (mark, value) {
            (Some(':'), Some(value)) if range_from.is_none() => path.push(value),
            (Some('-'), Some(value)) if range_from.is_none() => range_from = Some(value),
            (Some(' ' | ',') | None, Some(value)) => {
                let from = range_from.take().unwrap_or(value);
                if combinations.len() + (value.checked_sub(from)? as usize) >= most {
                    return None;
                }
                combinations.extend((from..=value).map(|last| {
                    let mut one = path.clone();
                    one.push(last);
                    one
                }));
            }
            (Some(',') | None, None) if range_from.is_none() => {}
            _ => return None,
        }
        if mark == Some(',') {
            path.pop();
        }
        if mark.is_none() {
            return Some(combinations);
        }
        rest = marks.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(combinations: &[&[u32]]) -> String {
        encode(combinations.iter().copied())
    }

    /// Texts that the platform's own decoder was seen to read as these combinations.
    #[test]
    fn texts_as_storefronts_read_them() {
        let table: &[(&[&[u32]], &str)] = &[
            (&[], ""),
            (&[&[0]], "v1_0"),
            (&[&[0], &[1], &[2], &[4], &[5], &[6], &[8], &[9]], "v1_0-2 4-6 8-9"),
            (&[&[1], &[3]], "v1_1 3"),
            (&[&[1, 2], &[0, 0], &[0, 2], &[0, 1]], "v1_0:0-2,1:2,"),
            (&[&[0, 0], &[0, 1], &[1, 0], &[1, 2], &[2, 1], &[2, 2]], "v1_0:0-1,1:0 2,2:1-2,"),
            (&[&[0, 0, 0], &[1, 1, 1], &[2, 2, 2]], "v1_0:0:0,,1:1:1,,2:2:2,,"),
            (
                &[
                    &[0, 0, 0],
                    &[0, 1, 0],
                    &[0, 1, 1],
                    &[1, 0, 0],
                    &[1, 0, 1],
                    &[1, 1, 1],
                    &[2, 0, 1],
                    &[2, 1, 0],
                ],
                "v1_0:0:0,1:0-1,,1:0:0-1,1:1,,2:0:1,1:0,,",
            ),
        ];
        for (combinations, text) in table {
            assert_eq!(encoded(combinations), *text);
            let mut sorted: Vec<Vec<u32>> = combinations.iter().map(|one| one.to_vec()).collect();
            sorted.sort();
            assert_eq!(decode(text, 100), Some(sorted), "{text}");
        }
        for bad in [
            "0-2",
            "v2_0",
            "v1_x",
            "v1_0-",
            "v1_0-:",
            "v1_2-0",
            "v1_0:-",
            "v1_0- 1",
            "v1_99999999999",
            "v1_0-100",
        ] {
            assert_eq!(decode(bad, 100), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            combinations in (1_usize..=3).prop_flat_map(|depth| prop::collection::btree_set(prop::collection::vec(0_u32..7, depth), 0..60))
        ) {
            let text = encode(combinations.iter().map(Vec::as_slice));
            prop_assert_eq!(decode(&text, 60), Some(combinations.into_iter().collect::<Vec<_>>()), "{}", text);
        }
    }
}
