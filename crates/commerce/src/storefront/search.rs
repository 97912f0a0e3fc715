//! Finding products by words. A trait, so that another engine can take the place of this one.

use super::words::words;
use crate::view::{Catalogue, Shown};
use model::id::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The most words of a search.
const MAX_WORDS: usize = 16;
/// How long what was learnt of an older catalogue may be used, while the catalogue goes on changing.
const STALE_MAX_US: i64 = 1_000_000;
/// The most words that a word in the making is taken for.
const MAX_COMPLETIONS: usize = 200;

/// What a word is worth by where it stands.
const IN_TITLE: u32 = 8;
const IN_SKU: u32 = 6;
const IN_TYPE: u32 = 4;
const IN_VENDOR: u32 = 3;
const IN_TAG: u32 = 2;

/// Finds products by words.
pub trait Search: Send + Sync {
    /// The numbers of the products that have all of the words, the best first; among equals the lower number. Where
    /// `completes`, the last word may be the beginning of one.
    fn products(&self, sources: &Sources<'_>, text: &str, completes: bool) -> Vec<u64>;

    /// Words that begin like the text, those of most products first.
    fn suggestions(&self, sources: &Sources<'_>, text: &str, limit: usize) -> Vec<String>;
}

/// What is searched.
#[derive(Clone, Copy)]
pub struct Sources<'s> {
    /// The catalogue.
    pub catalogue: &'s Catalogue,
    /// Which version of it.
    pub version: u64,
    /// When it is.
    pub now: Timestamp,
}

/// An index of words in memory, over titles, vendors, types, tags and stock numbers. It is made anew when the catalogue
/// changed, at most once a second.
#[derive(Default)]
pub struct WordSearch {
    index: Mutex<Option<Arc<Index>>>,
}

struct Index {
    version: u64,
    made_at: Timestamp,
    words: BTreeMap<String, Vec<(u64, u32)>>,
}

impl WordSearch {
    fn index(&self, sources: &Sources<'_>) -> Arc<Index> {
        let mut kept = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = kept.as_ref() {
            let age_us = sources.now.since_us(index.made_at);
            if index.version == sources.version || (0..STALE_MAX_US).contains(&age_us) {
                return Arc::clone(index);
            }
        }
        let index = Arc::new(Index::of(sources));
        *kept = Some(Arc::clone(&index));
        index
    }
}

impl Index {
    fn of(sources: &Sources<'_>) -> Self {
        let mut all: BTreeMap<String, Vec<(u64, u32)>> = BTreeMap::new();
        for (number, shown) in &sources.catalogue.products {
            for (word, worth) in words_of(shown) {
                all.entry(word).or_default().push((*number, worth));
            }
        }
        Self { version: sources.version, made_at: sources.now, words: all }
    }

    /// What each product is worth for a word.
    fn found(&self, word: &str, completes: bool) -> BTreeMap<u64, u32> {
        let mut found: BTreeMap<u64, u32> = BTreeMap::new();
        let mut add = |products: &[(u64, u32)], times: u32| {
            for (number, worth) in products {
                let best = found.entry(*number).or_default();
                *best = (*best).max(worth * times);
            }
        };
        if let Some(products) = self.words.get(word) {
            add(products, 2);
        }
        if completes {
            let beginning = self.words.range(word.to_owned()..).take_while(|(one, _)| one.starts_with(word));
            beginning.take(MAX_COMPLETIONS).for_each(|(_, products)| add(products, 1));
        }
        found
    }
}

/// The words of a product, each with what it is worth.
fn words_of(shown: &Shown) -> BTreeMap<String, u32> {
    let product = &shown.product;
    let mut all: BTreeMap<String, u32> = BTreeMap::new();
    let mut add = |text: &str, worth: u32| {
        for word in words(text) {
            let best = all.entry(word).or_default();
            *best = (*best).max(worth);
        }
    };
    add(&product.title, IN_TITLE);
    for translation in product.translations.iter().filter(|one| one.field == "title") {
        add(&translation.text, IN_TITLE);
    }
    add(&product.product_type, IN_TYPE);
    add(&product.vendor, IN_VENDOR);
    product.tags.iter().for_each(|tag| add(tag, IN_TAG));
    for variant in &product.variants {
        add(&variant.sku, IN_SKU);
        add(&variant.barcode, IN_SKU);
    }
    all
}

impl Search for WordSearch {
    fn products(&self, sources: &Sources<'_>, text: &str, completes: bool) -> Vec<u64> {
        let index = self.index(sources);
        let wanted: Vec<String> = words(text).take(MAX_WORDS).collect();
        let mut found: Option<BTreeMap<u64, u32>> = None;
        for (place, word) in wanted.iter().enumerate() {
            let of_word = index.found(word, completes && place + 1 == wanted.len());
            found = Some(match found {
                None => of_word,
                Some(before) => before
                    .into_iter()
                    .filter_map(|(number, worth)| Some((number, worth + of_word.get(&number)?)))
                    .collect(),
            });
        }
        let mut ranked: Vec<(u64, u32)> = found.unwrap_or_default().into_iter().collect();
        ranked.sort_by_key(|(number, worth)| (std::cmp::Reverse(*worth), *number));
        ranked.into_iter().map(|(number, _)| number).collect()
    }

    fn suggestions(&self, sources: &Sources<'_>, text: &str, limit: usize) -> Vec<String> {
        let index = self.index(sources);
        let wanted: Vec<String> = words(text).take(MAX_WORDS).collect();
        let Some((last, before)) = wanted.split_last() else { return Vec::new() };
        let beginning =
            index.words.range(last.clone()..).take_while(|(word, _)| word.starts_with(last.as_str()));
        let mut words: Vec<(&String, usize)> =
            beginning.take(MAX_COMPLETIONS).map(|(word, products)| (word, products.len())).collect();
        words.sort_by_key(|(word, products)| (std::cmp::Reverse(*products), word.as_str()));
        let whole =
            |word: &str| before.iter().map(String::as_str).chain([word]).collect::<Vec<_>>().join(" ");
        words.into_iter().take(limit).map(|(word, _)| whole(word)).collect()
    }
}
