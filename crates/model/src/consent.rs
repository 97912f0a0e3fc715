//! Consent: a browser may tighten it, only a server may loosen it, and the latest word wins.
//!
//! Each node keeps, per category, the latest withdrawal, the latest grant by a server and the latest claim of a grant
//! by a browser. Those three are combined over the nodes of a profile by maximum, so the order of merges is nothing.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::id::{Position, Timestamp};

/// The most categories that one node keeps; words about further ones are dropped and counted.
pub const MAX_CATEGORIES: usize = 32;
/// The longest name of a category, in bytes; longer ones are dropped and counted.
pub const MAX_CATEGORY_BYTES: usize = 64;

/// When something was said. The later one wins; the log's order breaks ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said {
    /// The clamped time of the event.
    pub at: Timestamp,
    /// Its place.
    pub position: Position,
}

/// All that was said about one category.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CategoryConsent {
    /// The category.
    pub category: Box<str>,
    /// The latest withdrawal, whoever said so.
    pub withdrawn: Option<Said>,
    /// The latest grant by a server.
    pub granted: Option<Said>,
    /// The latest grant that a browser claimed. It counts only where nobody ever withdrew.
    pub claimed: Option<Said>,
}

impl CategoryConsent {
    /// Whether the person agrees, and since when.
    pub fn standing(&self) -> (bool, Option<Said>) {
        match (self.withdrawn, self.granted) {
            (Some(withdrawn), granted) if granted.is_none_or(|granted| granted < withdrawn) => {
                (false, Some(withdrawn))
            }
            (_, Some(granted)) => (true, Some(granted)),
            _ => (self.claimed.is_some(), self.claimed),
        }
    }
}

/// What a node said, by category name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsentState {
    /// Sorted by category.
    pub categories: Vec<CategoryConsent>,
}

impl ConsentState {
    /// Takes in one word. `false` if it found no room.
    pub fn say(&mut self, category: &str, granted: bool, from_server: bool, said: Said) -> bool {
        let Some(entry) = self.entry(category) else { return false };
        let slot = match (granted, from_server) {
            (false, _) => &mut entry.withdrawn,
            (true, true) => &mut entry.granted,
            (true, false) => &mut entry.claimed,
        };
        *slot = (*slot).max(Some(said));
        true
    }

    fn entry(&mut self, category: &str) -> Option<&mut CategoryConsent> {
        let found = self.categories.binary_search_by(|entry| entry.category.as_ref().cmp(category));
        let at = match found {
            Ok(at) => at,
            Err(_) if self.categories.len() >= MAX_CATEGORIES || category.len() > MAX_CATEGORY_BYTES => {
                return None;
            }
            Err(at) => {
                let entry = CategoryConsent {
                    category: category.into(),
                    withdrawn: None,
                    granted: None,
                    claimed: None,
                };
                self.categories.insert(at, entry);
                at
            }
        };
        self.categories.get_mut(at)
    }

    /// Takes in all that another node said.
    pub fn combine(&mut self, other: &Self) {
        for theirs in &other.categories {
            let Some(own) = self.entry(&theirs.category) else { continue };
            own.withdrawn = own.withdrawn.max(theirs.withdrawn);
            own.granted = own.granted.max(theirs.granted);
            own.claimed = own.claimed.max(theirs.claimed);
        }
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.varint(self.categories.len() as u64);
        for entry in &self.categories {
            encoder.text(&entry.category);
            for said in [entry.withdrawn, entry.granted, entry.claimed] {
                encoder.bool(said.is_some());
                if let Some(said) = said {
                    encoder.signed(said.at.0);
                    encoder.varint(said.position.0);
                }
            }
        }
    }

    /// Reads the stored form.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut categories = Vec::new();
        for _ in 0..decoder.count()? {
            categories.push(CategoryConsent {
                category: decoder.text()?.into(),
                withdrawn: decode_said(decoder)?,
                granted: decode_said(decoder)?,
                claimed: decode_said(decoder)?,
            });
        }
        Ok(Self { categories })
    }
}

fn decode_said(decoder: &mut Decoder<'_>) -> Result<Option<Said>, DecodeError> {
    if !decoder.bool()? {
        return Ok(None);
    }
    Ok(Some(Said { at: Timestamp(decoder.signed()?), position: Position(decoder.varint()?) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(at: u64) -> Said {
        Said { at: Timestamp(at as i64), position: Position(at) }
    }

    #[test]
    fn a_browser_tightens_and_never_loosens() {
        // Each word: granted, from a server. They come in order.
        let cases: [(&[(bool, bool)], bool); 7] = [
            (&[], false),
            (&[(true, false)], true),
            (&[(true, true)], true),
            (&[(true, true), (false, false)], false),
            (&[(false, false), (true, false)], false),
            (&[(false, true), (true, false)], false),
            (&[(false, false), (true, true)], true),
        ];
        for (words, expected) in cases {
            let mut state = ConsentState::default();
            for (index, (granted, from_server)) in words.iter().enumerate() {
                state.say("Advertising", *granted, *from_server, said(index as u64));
            }
            let stands = state.categories.first().is_some_and(|entry| entry.standing().0);
            assert_eq!(stands, expected, "{words:?}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_words_and_of_merges_is_nothing(words in prop::collection::vec((0_usize..3, any::<bool>(), any::<bool>(), 0_u64..50, 0_usize..2), 0..20)) {
            let names = ["Ads", "Mail", "Stats"];
            let mut all = ConsentState::default();
            let mut nodes = [ConsentState::default(), ConsentState::default()];
            for (name, granted, server, at, node) in &words {
                nodes[*node].say(names[*name], *granted, *server, said(*at));
            }
            for (name, granted, server, at, _) in words.iter().rev() {
                all.say(names[*name], *granted, *server, said(*at));
            }
            let [one, two] = nodes;
            let (mut forth, mut back) = (one.clone(), two.clone());
            forth.combine(&two);
            back.combine(&one);
            prop_assert_eq!(&forth, &back);
            prop_assert_eq!(&forth, &all);
            let mut bytes = Vec::new();
            forth.encode(&mut Encoder(&mut bytes));
            prop_assert_eq!(ConsentState::decode(&mut Decoder::new(&bytes)), Ok(forth));
        }
    }
}
