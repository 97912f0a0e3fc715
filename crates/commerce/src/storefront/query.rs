//! The fields at the top of a query.

use super::context::number_of;
use super::listing::{Wanted, is_published};
use super::names::{Name, Type};
use super::output;
use super::page::{List, MAX_PAGE};
use super::plan::Field;
use super::run::{Run, Stop, Written};
use super::search::Sources;
use super::supply::Supply;
use super::words::words;
use crate::view::Shown;
use model::commerce::product::{Collection, Product};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The versions of the interface that are answered.
const VERSIONS: [&str; 2] = ["2026-04", "unstable"];
/// How many products are recommended.
const RECOMMENDED: usize = 10;
/// The most of each kind that is proposed while somebody types.
const PROPOSED_MAX: usize = 10;
/// The longest words that are searched for, in bytes.
const MAX_SEARCH_BYTES: usize = 1_024;

impl<'a> Run<'a> {
    /// Writes a field at the top of a query.
    pub(crate) fn query(&mut self, field: &'a Field) -> Written {
        let facts = self.facts;
        match field.name {
            Name::Schema | Name::TypeOf => match facts.supplies.get(&field.key) {
                Some(Supply::Written(json)) => {
                    self.out.extend_from_slice(json);
                    Ok(())
                }
                _ => self.null(),
            },
            Name::Shop => self.shop(field),
            Name::PaymentSettings => self.payment_settings(field),
            Name::Localization => self.localization(field),
            Name::Menu => {
                let handle = self.arg(field, "handle").text().unwrap_or_default();
                self.menu(field, handle)
            }
            Name::Product | Name::ProductByHandle => match self.named_product(field, "handle", "id") {
                Some(shown) => self.product(field, shown),
                None => self.null(),
            },
            Name::Products => self.products(field, None),
            Name::Collection | Name::CollectionByHandle => match self.named_collection(field) {
                Some(collection) => self.collection(field, collection),
                None => self.null(),
            },
            Name::Collections => self.collections(field),
            Name::Search => self.search(field),
            Name::PredictiveSearch => self.predictive_search(field),
            Name::ProductRecommendations => self.recommendations(field),
            Name::ProductTags | Name::ProductTypes => self.product_words(field),
            Name::PublicApiVersions => self.list(field, VERSIONS, |run, version| {
                run.object(Type::ApiVersion, &field.selected, |run, field| match field.name {
                    Name::Handle | Name::DisplayName => run.text(version),
                    Name::Supported => run.bool(true),
                    _ => run.unanswered(Type::ApiVersion, field),
                })
            }),
            Name::Cart => self.cart_by_id(field),
            Name::Customer => self.customer_by_token(field),
            Name::Node => {
                let id = self.arg(field, "id").text().unwrap_or_default();
                self.node(field, id)
            }
            Name::Nodes => {
                let ids = self.arg(field, "ids").list();
                self.list(field, ids, |run, id| run.node(field, id.text().unwrap_or_default()))
            }
            // There are no texts of the shop's own yet beside policies.
            Name::Article | Name::Blog | Name::BlogByHandle | Name::Page | Name::PageByHandle => self.null(),
            Name::Articles => self.no_page(field, (Type::ArticleConnection, Type::ArticleEdge)),
            Name::Blogs => self.no_page(field, (Type::BlogConnection, Type::BlogEdge)),
            Name::Pages => self.no_page(field, (Type::PageConnection, Type::PageEdge)),
            _ => self.unanswered(Type::QueryRoot, field),
        }
    }

    fn named_product(&self, field: &'a Field, handle: &str, id: &str) -> Option<&'a Shown> {
        let facts = self.facts;
        let shown = match (self.arg(field, id).text(), self.arg(field, handle).text()) {
            (Some(id), _) => facts.catalogue.products.get(&number_of(id, "Product")?)?,
            (None, Some(handle)) => facts.catalogue.product_by_handle(handle)?,
            (None, None) => return None,
        };
        facts.is_shown(&shown.product).then_some(shown.as_ref())
    }

    fn named_collection(&self, field: &'a Field) -> Option<&'a Collection> {
        let facts = self.facts;
        let collection = match (self.arg(field, "id").text(), self.arg(field, "handle").text()) {
            (Some(id), _) => facts.catalogue.collections.get(&number_of(id, "Collection")?)?,
            (None, Some(handle)) => facts.catalogue.collection_by_handle(handle)?,
            (None, None) => return None,
        };
        is_published(collection, facts.now).then_some(collection.as_ref())
    }

    fn node(&mut self, field: &'a Field, id: &str) -> Written {
        let facts = self.facts;
        if let Some(Supply::Cart(cart)) = facts.supplies.get(id) {
            return match cart {
                Some(cart) => self.cart(field, cart),
                None => self.null(),
            };
        }
        if let Some(number) = number_of(id, "Product") {
            return match self.product_by_number(number) {
                Some(shown) => self.product(field, shown),
                None => self.null(),
            };
        }
        if let Some(number) = number_of(id, "ProductVariant") {
            return match facts.catalogue.variant(number) {
                Some((shown, index)) if facts.is_shown(&shown.product) => self.variant(field, shown, index),
                _ => self.null(),
            };
        }
        if let Some(number) = number_of(id, "Collection") {
            return match facts.catalogue.collections.get(&number).filter(|one| is_published(one, facts.now)) {
                Some(collection) => self.collection(field, collection),
                None => self.null(),
            };
        }
        if id == "gid://shopify/Shop/1" {
            return self.shop(field);
        }
        if let Some(handle) = id.strip_prefix("gid://shopify/ShopPolicy/") {
            let policies = &facts.terms.settings.policies;
            return match policies.iter().find(|policy| policy.handle == handle) {
                Some(policy) => self.one_policy(field, policy),
                None => self.null(),
            };
        }
        match id.strip_prefix("gid://shopify/Menu/") {
            Some(handle) => self.menu(field, handle),
            None => self.null(),
        }
    }

    fn sources(&self) -> Sources<'a> {
        let facts = self.facts;
        Sources { catalogue: facts.catalogue, version: facts.version, now: facts.now }
    }

    fn searched(&mut self, field: &'a Field) -> Result<&'a str, Stop> {
        let text = self.arg(field, "query").text().unwrap_or_default();
        if text.len() > MAX_SEARCH_BYTES {
            let message = format!("query is longer than {MAX_SEARCH_BYTES} bytes");
            return Err(self.fail("BAD_REQUEST", message).err().unwrap_or(Stop::Null));
        }
        Ok(text)
    }

    fn wants(&self, field: &'a Field, kind: &str) -> bool {
        let mut types = self.arg(field, "types").list().peekable();
        types.peek().is_none() || types.any(|one| one.text() == Some(kind))
    }

    fn search(&mut self, field: &'a Field) -> Written {
        let facts = self.facts;
        let text = self.searched(field)?;
        let completes = self.arg(field, "prefix").text() != Some("NONE");
        let mut numbers = match self.wants(field, "PRODUCT") {
            true => facts.search.products(&self.sources(), text, completes),
            false => Vec::new(),
        };
        let wanted = Wanted::of(self, field)?;
        let product = |number: &u64| facts.catalogue.products.get(number).map(Arc::as_ref);
        numbers.retain(|number| {
            product(number).is_some_and(|one| facts.is_shown(&one.product) && wanted.takes(facts, one))
        });
        if self.arg(field, "sortKey").text() == Some("PRICE") {
            let price = |one: &Shown| one.product.variants.iter().map(|variant| variant.price_minor).min();
            numbers.sort_by_key(|number| product(number).and_then(price));
        }
        let available = |number: &u64| product(number).is_some_and(Shown::is_available);
        match self.arg(field, "unavailableProducts").text() {
            Some("HIDE") => numbers.retain(available),
            Some("SHOW") => {}
            _ => numbers.sort_by_key(|number| !available(number)),
        }
        let reverse = self.arg(field, "reverse").bool().unwrap_or(false);
        let page = self.page(field, &List { numbers: &numbers, reverse }, |_| true)?;
        let types = (Type::SearchResultItemConnection, Type::SearchResultItemEdge);
        self.connection(field, types, &page, numbers.len(), Run::product_number)
    }

    fn predictive_search(&mut self, field: &'a Field) -> Written {
        let facts = self.facts;
        let text = self.searched(field)?;
        let limit = self.arg(field, "limit").int().unwrap_or(PROPOSED_MAX as i64);
        let limit = usize::try_from(limit).unwrap_or(0).clamp(1, PROPOSED_MAX);
        let hide = self.arg(field, "unavailableProducts").text() == Some("HIDE");
        let (wants_products, wants_collections, wants_queries) =
            (self.wants(field, "PRODUCT"), self.wants(field, "COLLECTION"), self.wants(field, "QUERY"));
        let sources = self.sources();
        self.object(Type::PredictiveSearchResult, &field.selected, |run, field| match field.name {
            Name::Products if wants_products => {
                let mut numbers = facts.search.products(&sources, text, true);
                let shown = |number: &u64| run.product_by_number(*number);
                numbers.retain(|number| shown(number).is_some_and(|one| !hide || one.is_available()));
                numbers.truncate(limit);
                run.list(field, numbers, |run, number| run.product_number(field, number))
            }
            Name::Collections if wants_collections => {
                let wanted: Vec<String> = words(text).collect();
                let fits = |one: &&Arc<Collection>| {
                    let title: Vec<String> = words(&one.title).collect();
                    let has = |word: &String| title.iter().any(|one| one.starts_with(word.as_str()));
                    is_published(one, facts.now) && !wanted.is_empty() && wanted.iter().all(has)
                };
                let found: Vec<&Arc<Collection>> =
                    facts.catalogue.collections.values().filter(fits).take(limit).collect();
                run.list(field, found, |run, one| run.collection(field, one))
            }
            Name::Queries if wants_queries => {
                let words = facts.search.suggestions(&sources, text, limit);
                run.list(field, words, |run, words| run.suggestion(field, &words, text))
            }
            Name::Products | Name::Collections | Name::Queries | Name::Articles | Name::Pages => run.none(),
            _ => run.unanswered(Type::PredictiveSearchResult, field),
        })
    }

    fn suggestion(&mut self, field: &'a Field, words: &str, typed: &str) -> Written {
        self.object(Type::SearchQuerySuggestion, &field.selected, |run, field| match field.name {
            Name::Text => run.text(words),
            Name::StyledText => {
                let typed = typed.trim().to_lowercase();
                let (begun, rest) =
                    words.strip_prefix(typed.as_str()).map_or(("", words), |rest| (typed.as_str(), rest));
                // Words hold letters and digits only, so there is nothing to escape in HTML.
                let mut styled = String::new();
                for (mark, part) in [("mark", begun), ("span", rest)] {
                    if !part.is_empty() {
                        styled.push_str(&format!("<{mark}>{part}</{mark}>"));
                    }
                }
                output::text(&mut run.out, &styled);
                Ok(())
            }
            Name::TrackingParameters => run.null(),
            _ => run.unanswered(Type::SearchQuerySuggestion, field),
        })
    }

    /// Products that have the most in common with one: tags, kind, maker.
    fn recommendations(&mut self, field: &'a Field) -> Written {
        let facts = self.facts;
        let Some(of) = self.named_product(field, "productHandle", "productId") else {
            return self.null();
        };
        let own: &Product = &of.product;
        let alike = |other: &Product| {
            let tags = own.tags.iter().filter(|tag| other.tags.contains(tag)).count();
            let kind = usize::from(!own.product_type.is_empty() && own.product_type == other.product_type);
            let vendor = usize::from(!own.vendor.is_empty() && own.vendor == other.vendor);
            tags + 3 * kind + vendor
        };
        let mut found: Vec<(Reverse<usize>, u64)> = Vec::new();
        for (number, shown) in &facts.catalogue.products {
            let likeness = alike(&shown.product);
            if *number != own.number && likeness > 0 && facts.is_shown(&shown.product) && shown.is_available()
            {
                found.push((Reverse(likeness), *number));
            }
        }
        found.sort_unstable();
        found.truncate(RECOMMENDED);
        self.list(field, found, |run, (_, number)| run.product_number(field, number))
    }

    fn product_words(&mut self, field: &'a Field) -> Written {
        let facts = self.facts;
        let shown = facts.catalogue.products.values().filter(|one| facts.is_shown(&one.product));
        let all: BTreeSet<&'a str> = match field.name {
            Name::ProductTags => shown.flat_map(|one| one.product.tags.iter().map(String::as_str)).collect(),
            _ => shown.map(|one| one.product.product_type.as_str()).filter(|one| !one.is_empty()).collect(),
        };
        let all: Vec<&str> = all.into_iter().take(MAX_PAGE * 40).collect();
        let numbers: Vec<u64> = (0..all.len() as u64).collect();
        let page = self.page(field, &List { numbers: &numbers, reverse: false }, |_| true)?;
        let types = (Type::StringConnection, Type::StringEdge);
        self.connection(field, types, &page, all.len(), |run, _, number| {
            run.text(all.get(number as usize).copied().unwrap_or_default())
        })
    }
}
