//! Consent: a browser may tighten it, only a server may loosen it, and the latest word wins.
//!
//! Each node keeps, per category, the latest withdrawal and the latest grant by a server, and the latest withdrawal and
//! the latest claim of a grant by a browser. Those four are combined over the nodes of a profile by maximum, so the
//! order of merges is nothing. That holds beyond the limits too: what servers said and what browsers said are counted
//! apart, and of each the categories whose names come first stay, so a name that had to go never comes back half.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::id::{Key, Position, Timestamp};

/// The most categories that one node keeps of what servers said, and again of what browsers said; words about further
/// ones are dropped and counted.
pub const MAX_CATEGORIES: usize = 64;
/// The longest name of a category, in bytes; a longer one is kept under its beginning and a digest.
pub const MAX_CATEGORY_BYTES: usize = 64;
/// The bytes that the digest takes at the end of a longer name.
const DIGEST_BYTES: usize = 17;

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
    /// The latest withdrawal by a server.
    pub withdrawn: Option<Said>,
    /// The latest grant by a server.
    pub granted: Option<Said>,
    /// The latest withdrawal by a browser.
    pub declined: Option<Said>,
    /// The latest grant that a browser claimed. It counts only where nobody ever withdrew.
    pub claimed: Option<Said>,
}

impl CategoryConsent {
    fn is_by(&self, server: bool) -> bool {
        if server {
            self.withdrawn.is_some() || self.granted.is_some()
        } else {
            self.declined.is_some() || self.claimed.is_some()
        }
    }

    fn forget(&mut self, server: bool) {
        if server {
            (self.withdrawn, self.granted) = (None, None);
        } else {
            (self.declined, self.claimed) = (None, None);
        }
    }

    /// Whether the person agrees, and since when.
    pub fn standing(&self) -> (bool, Option<Said>) {
        match (self.withdrawn.max(self.declined), self.granted) {
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
    /// Takes in one word. `false` if it, or another instead of it, found no room.
    pub fn say(&mut self, category: &str, granted: bool, from_server: bool, said: Said) -> bool {
        let said_if = |applies: bool| Some(said).filter(|_| applies);
        self.take(&CategoryConsent {
            category: kept_name(category),
            withdrawn: said_if(!granted && from_server),
            granted: said_if(granted && from_server),
            declined: said_if(!granted && !from_server),
            claimed: said_if(granted && !from_server),
        });
        self.bound()
    }

    fn take(&mut self, theirs: &CategoryConsent) {
        match self.categories.binary_search_by(|entry| entry.category.cmp(&theirs.category)) {
            Ok(at) => {
                let Some(own) = self.categories.get_mut(at) else { return };
                own.withdrawn = own.withdrawn.max(theirs.withdrawn);
                own.granted = own.granted.max(theirs.granted);
                own.declined = own.declined.max(theirs.declined);
                own.claimed = own.claimed.max(theirs.claimed);
            }
            Err(at) => self.categories.insert(at, theirs.clone()),
        }
    }

    /// Of each hand, the categories whose names come first stay.
    fn bound(&mut self) -> bool {
        let mut fits = true;
        for server in [true, false] {
            let by_hand = self.categories.iter_mut().filter(|entry| entry.is_by(server));
            for entry in by_hand.skip(MAX_CATEGORIES) {
                entry.forget(server);
                fits = false;
            }
        }
        if !fits {
            self.categories.retain(|entry| entry.is_by(true) || entry.is_by(false));
        }
        fits
    }

    /// Whether the person whose nodes said all this agrees to a category.
    pub fn stands<'a>(nodes: impl Iterator<Item = &'a Self>, category: &str) -> bool {
        Self::choice_of(nodes, category).unwrap_or(false)
    }

    /// What the person whose nodes said all this chose of a category; `None` if nothing was ever said of it.
    pub fn choice_of<'a>(nodes: impl Iterator<Item = &'a Self>, category: &str) -> Option<bool> {
        let name = kept_name(category);
        let mut all = Self::default();
        for node in nodes {
            let said = node.categories.binary_search_by(|entry| entry.category.cmp(&name)).ok();
            said.and_then(|at| node.categories.get(at)).into_iter().for_each(|entry| all.take(entry));
        }
        all.categories.first().map(|entry| entry.standing().0)
    }

    /// What the person chose of a category; `None` if nothing was ever said of it.
    pub fn choice(&self, category: &str) -> Option<bool> {
        let name = kept_name(category);
        let at = self.categories.binary_search_by(|entry| entry.category.cmp(&name)).ok()?;
        self.categories.get(at).map(|entry| entry.standing().0)
    }

    /// Takes in all that another node said.
    pub fn combine(&mut self, other: &Self) {
        other.categories.iter().for_each(|theirs| self.take(theirs));
        self.bound();
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.varint(self.categories.len() as u64);
        for entry in &self.categories {
            encoder.text(&entry.category);
            for said in [entry.withdrawn, entry.granted, entry.declined, entry.claimed] {
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
                declined: decode_said(decoder)?,
                claimed: decode_said(decoder)?,
            });
        }
        Ok(Self { categories })
    }
}

/// The name under which a category is kept.
fn kept_name(category: &str) -> Box<str> {
    if category.len() <= MAX_CATEGORY_BYTES {
        return category.into();
    }
    let start = category.get(..category.floor_char_boundary(MAX_CATEGORY_BYTES - DIGEST_BYTES));
    let digest = Key::of_text("consent category", category).0 as u64;
    format!("{}#{digest:016x}", start.unwrap_or_default()).into()
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

    #[test]
    fn junk_of_browsers_takes_no_room_from_a_server() {
        let mut state = ConsentState::default();
        for number in 0..MAX_CATEGORIES as u64 * 3 {
            state.say(&format!("A{number}"), number % 2 == 0, false, said(number));
        }
        assert_eq!(state.categories.len(), MAX_CATEGORIES);
        assert!(state.say("Advertising", true, true, said(1_000)));
        assert!(state.say("Advertising", false, true, said(1_001)));
        let long = "Ä".repeat(MAX_CATEGORY_BYTES);
        assert!(state.say(&long, false, true, said(1_002)));
        assert!(state.say(&format!("{long}!"), true, true, said(1_003)));
        let stands: Vec<_> = state
            .categories
            .iter()
            .filter(|entry| entry.is_by(true))
            .map(|entry| entry.standing().0)
            .collect();
        assert_eq!(stands.len(), 3, "two long names with one beginning are two");
        assert_eq!(stands.iter().filter(|granted| **granted).count(), 1);
        assert!(state.categories.iter().all(|entry| entry.category.len() <= MAX_CATEGORY_BYTES));
    }

    proptest! {
        #[test]
        fn beyond_the_limit_too_the_order_is_nothing(words in prop::collection::vec((0_u32..200, any::<bool>(), any::<bool>(), 0_u64..50), 150..400), parts in 1_usize..5) {
            let mut all = ConsentState::default();
            let mut nodes = vec![ConsentState::default(); parts];
            for (index, (name, granted, server, at)) in words.iter().enumerate() {
                nodes[index % parts].say(&name.to_string(), *granted, *server, said(*at));
            }
            for (name, granted, server, at) in words.iter().rev() {
                all.say(&name.to_string(), *granted, *server, said(*at));
            }
            let (mut forth, mut back) = (ConsentState::default(), ConsentState::default());
            nodes.iter().for_each(|node| forth.combine(node));
            nodes.iter().rev().for_each(|node| back.combine(node));
            prop_assert_eq!(&forth, &all);
            prop_assert_eq!(&back, &all);
            for server in [true, false] {
                prop_assert!(all.categories.iter().filter(|entry| entry.is_by(server)).count() <= MAX_CATEGORIES);
            }
        }

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
