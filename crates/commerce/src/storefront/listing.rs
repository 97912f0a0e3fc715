//! Lists of products and collections: in which order, and which of them.

use super::catalogue::PRODUCTS;
use super::context::Facts;
use super::input::Arg;
use super::names::{Name, Type};
use super::page::List;
use super::plan::Field;
use super::run::{Run, Stop, Written};
use super::search::Sources;
use super::words::words;
use crate::view::Shown;
use model::commerce::product::{Collection, CollectionOrder, Image, Members, Product, translated};
use model::id::Timestamp;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The types of a page of collections.
pub(crate) const COLLECTIONS: (Type, Type) = (Type::CollectionConnection, Type::CollectionEdge);
/// The most lists that are kept.
const MAX_LISTS: usize = 512;
/// How long a list that depends on stock or sales is kept.
const MOVING_MAX_US: i64 = 5_000_000;
/// The longest `query` of a list, in bytes.
const MAX_QUERY_BYTES: usize = 1_024;

/// The order of a list of products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Number,
    Chosen,
    Title,
    Vendor,
    Kind,
    Price,
    PriceDown,
    Created,
    Newest,
    Updated,
    BestSelling,
}

/// Lists that were made before, by what they are of.
#[derive(Default)]
pub(crate) struct Listings {
    kept: Mutex<BTreeMap<(Option<u64>, Order), Kept>>,
}

struct Kept {
    version: u64,
    made_at: Timestamp,
    moves: bool,
    numbers: Arc<Vec<u64>>,
}

impl Listings {
    /// Products in order: of a collection, or all.
    fn products(&self, facts: &Facts<'_>, of: Option<&Collection>, order: Order) -> Arc<Vec<u64>> {
        let key = (of.map(|collection| collection.number), order);
        {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(list) = kept.get(&key) {
                let fresh = !list.moves || (0..MOVING_MAX_US).contains(&facts.now.since_us(list.made_at));
                if list.version == facts.version && fresh {
                    return Arc::clone(&list.numbers);
                }
            }
        }
        let numbers = Arc::new(ordered(facts, of, order));
        let moves = order == Order::BestSelling || of.is_some_and(depends_on_stock);
        let made = Kept { version: facts.version, made_at: facts.now, moves, numbers: Arc::clone(&numbers) };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_LISTS {
            kept.clear();
        }
        kept.insert(key, made);
        numbers
    }
}

fn depends_on_stock(collection: &Collection) -> bool {
    match &collection.members {
        Members::Chosen(_) => false,
        Members::All(conditions) | Members::Any(conditions) => {
            conditions.contains(&model::commerce::product::Condition::Available)
        }
    }
}

fn ordered(facts: &Facts<'_>, of: Option<&Collection>, order: Order) -> Vec<u64> {
    let products = &facts.catalogue.products;
    let mut members: Vec<&Shown> = match of.map(|collection| &collection.members) {
        None => products.values().map(Arc::as_ref).collect(),
        Some(Members::Chosen(numbers)) => {
            numbers.iter().filter_map(|number| products.get(number)).map(Arc::as_ref).collect()
        }
        Some(_) => {
            let is_in = |shown: &&Arc<Shown>| of.is_some_and(|collection| is_member(collection, shown));
            products.values().filter(is_in).map(Arc::as_ref).collect()
        }
    };
    let price = |shown: &&Shown| shown.product.variants.iter().map(|one| one.price_minor).min();
    match order {
        Order::Chosen => {}
        Order::Number => members.sort_by_key(|one| one.product.number),
        Order::Title => members.sort_by_cached_key(|one| one.product.title.to_lowercase()),
        Order::Vendor => members.sort_by_cached_key(|one| one.product.vendor.to_lowercase()),
        Order::Kind => members.sort_by_cached_key(|one| one.product.product_type.to_lowercase()),
        Order::Price => members.sort_by_key(price),
        Order::PriceDown => members.sort_by_key(|one| Reverse(price(one))),
        Order::Created => members.sort_by_key(|one| one.product.created_at),
        Order::Newest => members.sort_by_key(|one| Reverse(one.product.created_at)),
        Order::Updated => members.sort_by_key(|one| one.product.updated_at),
        Order::BestSelling => {
            members.sort_by_cached_key(|one| Reverse(one.sold.load(std::sync::atomic::Ordering::Relaxed)));
        }
    }
    members.iter().map(|one| one.product.number).collect()
}

fn is_member(collection: &Collection, shown: &Shown) -> bool {
    let product: &Product = &shown.product;
    let available = |variant: &model::commerce::product::Variant| {
        let index = product.variants.iter().position(|one| one.number == variant.number);
        index.is_some_and(|index| shown.available(index) > 0)
    };
    match &collection.members {
        Members::Chosen(numbers) => numbers.contains(&product.number),
        Members::All(conditions) => conditions.iter().all(|one| one.holds(product, available)),
        Members::Any(conditions) => conditions.iter().any(|one| one.holds(product, available)),
    }
}

impl<'a> Run<'a> {
    /// Writes a page of products: of all, or of a collection.
    pub(crate) fn products(&mut self, field: &'a Field, of: Option<&'a Collection>) -> Written {
        let facts: &'a Facts<'a> = self.facts;
        let order = match (self.arg(field, "sortKey").text(), of) {
            (Some("TITLE"), _) => Order::Title,
            (Some("PRICE"), _) => Order::Price,
            (Some("BEST_SELLING"), _) => Order::BestSelling,
            (Some("CREATED" | "CREATED_AT"), _) => Order::Created,
            (Some("UPDATED_AT"), _) => Order::Updated,
            (Some("VENDOR"), _) => Order::Vendor,
            (Some("PRODUCT_TYPE"), _) => Order::Kind,
            (Some("ID"), _) | (_, None) => Order::Number,
            (Some("MANUAL"), Some(_)) => Order::Chosen,
            (_, Some(collection)) => match collection.order {
                CollectionOrder::Manual => Order::Chosen,
                CollectionOrder::Title => Order::Title,
                CollectionOrder::PriceAscending => Order::Price,
                CollectionOrder::PriceDescending => Order::PriceDown,
                CollectionOrder::Newest => Order::Newest,
                CollectionOrder::BestSelling => Order::BestSelling,
            },
        };
        let numbers = facts.listings.products(facts, of, order);
        let reverse = self.arg(field, "reverse").bool().unwrap_or(false);
        let wanted = Wanted::of(self, field)?;
        let page = self.page(field, &List { numbers: &numbers, reverse }, |number| {
            facts
                .catalogue
                .products
                .get(&number)
                .is_some_and(|shown| facts.is_shown(&shown.product) && wanted.takes(facts, shown))
        })?;
        self.connection(field, PRODUCTS, &page, numbers.len(), Run::product_number)
    }

    /// Writes a page of collections: of all, or of those that a product is in.
    fn collections_page(&mut self, field: &'a Field, numbers: &[u64]) -> Written {
        let reverse = self.arg(field, "reverse").bool().unwrap_or(false);
        let page = self.page(field, &List { numbers, reverse }, |_| true)?;
        self.connection(field, COLLECTIONS, &page, numbers.len(), |run, field, number| {
            let facts: &'a Facts<'a> = run.facts;
            match facts.catalogue.collections.get(&number) {
                Some(collection) => run.collection(field, collection),
                None => Err(Stop::Null),
            }
        })
    }

    /// Writes a page of all collections.
    pub(crate) fn collections(&mut self, field: &'a Field) -> Written {
        let facts: &'a Facts<'a> = self.facts;
        let query = self.arg(field, "query").text().unwrap_or_default();
        let wanted: Vec<String> = words(query).collect();
        let all = facts.catalogue.collections.values().filter(|one| is_published(one, facts.now));
        let mut all: Vec<&Arc<Collection>> = all
            .filter(|one| {
                let title = one.title.to_lowercase();
                wanted.iter().all(|word| title.contains(word.as_str()))
            })
            .collect();
        match self.arg(field, "sortKey").text() {
            Some("TITLE") => all.sort_by_cached_key(|one| one.title.to_lowercase()),
            Some("UPDATED_AT") => all.sort_by_key(|one| one.updated_at),
            _ => {}
        }
        let numbers: Vec<u64> = all.iter().map(|one| one.number).collect();
        self.collections_page(field, &numbers)
    }

    /// Writes a page of the collections that a product is in.
    pub(crate) fn collections_of(&mut self, field: &'a Field, shown: &'a Shown) -> Written {
        let facts: &'a Facts<'a> = self.facts;
        let all = facts.catalogue.collections.values();
        let own = all.filter(|one| is_published(one, facts.now) && is_member(one, shown));
        let numbers: Vec<u64> = own.map(|one| one.number).collect();
        self.collections_page(field, &numbers)
    }

    /// Writes a collection.
    pub(crate) fn collection(&mut self, field: &'a Field, collection: &'a Collection) -> Written {
        let facts: &'a Facts<'a> = self.facts;
        let language = facts.locale.language.as_str();
        let own =
            |name: &str, own: &'a str| translated(&collection.translations, name, language).unwrap_or(own);
        self.object(Type::Collection, &field.selected, |run, field| match field.name {
            Name::Id => run.id("Collection", collection.number),
            Name::Handle => run.text(&collection.handle),
            Name::Title => run.text(own("title", &collection.title)),
            Name::Description => run.described(field, own("description_html", &collection.description_html)),
            Name::DescriptionHtml => run.text(own("description_html", &collection.description_html)),
            Name::Image => match &collection.image {
                Some(image) => run.collection_image(field, collection.number, image),
                None => run.null(),
            },
            Name::OnlineStoreUrl => run.text_if(facts.page_url("collections", &collection.handle).as_deref()),
            Name::Products => run.products(field, Some(collection)),
            Name::Seo => run.seo(field, &collection.seo, own),
            Name::TrackingParameters => run.null(),
            Name::UpdatedAt => run.instant(collection.updated_at),
            _ => run.unanswered(Type::Collection, field),
        })
    }

    fn collection_image(&mut self, field: &'a Field, number: u64, image: &Image) -> Written {
        self.object(Type::Image, &field.selected, |run, field| match field.name {
            Name::Id => run.id("CollectionImage", number),
            Name::Url => run.text(&image.url),
            Name::AltText => run.filled(&image.alt),
            Name::Width => run.int_if(image.width.map(i64::from)),
            Name::Height => run.int_if(image.height.map(i64::from)),
            _ => run.unanswered(Type::Image, field),
        })
    }
}

/// Whether a collection is shown.
pub(crate) fn is_published(collection: &Collection, now: Timestamp) -> bool {
    collection.published_at.is_some_and(|since| since <= now)
}

/// What products of a list have to be like.
pub(crate) struct Wanted<'f> {
    filters: Vec<Arg<'f>>,
    found: Option<Vec<u64>>,
    terms: Vec<(String, String)>,
}

impl<'f> Wanted<'f> {
    /// Of the arguments `filters`, `productFilters` and `query`.
    pub(crate) fn of(run: &mut Run<'f>, field: &'f Field) -> Result<Self, Stop> {
        let mut filters: Vec<Arg<'f>> = run.arg(field, "filters").list().collect();
        filters.extend(run.arg(field, "productFilters").list());
        let query = match field.name {
            Name::Products => run.arg(field, "query").text().unwrap_or_default(),
            _ => "",
        };
        if query.len() > MAX_QUERY_BYTES {
            let refused = run.fail("BAD_REQUEST", format!("query is longer than {MAX_QUERY_BYTES} bytes"));
            return Err(refused.err().unwrap_or(Stop::Null));
        }
        let (terms, free) = terms_of(query);
        let found = (!free.is_empty()).then(|| {
            let facts = run.facts;
            let sources = Sources { catalogue: facts.catalogue, version: facts.version, now: facts.now };
            let mut numbers = facts.search.products(&sources, &free, free.ends_with('*'));
            numbers.sort_unstable();
            numbers
        });
        Ok(Self { filters, found, terms })
    }

    /// Whether a product is one of them. Filters of one kind add up, filters of several kinds all have to hold.
    pub(crate) fn takes(&self, facts: &Facts<'_>, shown: &Shown) -> bool {
        const KINDS: [&str; 7] = [
            "available",
            "price",
            "productType",
            "productVendor",
            "tag",
            "variantOption",
            "productMetafield",
        ];
        let found = self.found.as_ref().is_none_or(|all| all.binary_search(&shown.product.number).is_ok());
        found
            && self.terms.iter().all(|(name, value)| meets(shown, name, value))
            && KINDS.iter().all(|kind| {
                let mut of_kind =
                    self.filters.iter().filter(|filter| filter.field(kind).is_given()).peekable();
                of_kind.peek().is_none()
                    || of_kind.any(|filter| passes(facts, shown, kind, filter.field(kind)))
            })
    }
}

fn passes(facts: &Facts<'_>, shown: &Shown, kind: &str, wanted: Arg<'_>) -> bool {
    let product: &Product = &shown.product;
    let same = |one: &str, other: Option<&str>| other.is_some_and(|other| one.eq_ignore_ascii_case(other));
    match kind {
        "available" => wanted.bool() == Some(shown.is_available()),
        "price" => {
            let scale = 10_f64.powi(i32::from(model::money::exponent(facts.currency)));
            let (least, most) = (wanted.field("min").float(), wanted.field("max").float());
            product.variants.iter().filter_map(|one| facts.unit_price(one)).any(|price| {
                let price = price.price_minor as f64 / scale;
                least.is_none_or(|least| price >= least) && most.is_none_or(|most| price <= most)
            })
        }
        "productType" => same(&product.product_type, wanted.text()),
        "productVendor" => same(&product.vendor, wanted.text()),
        "tag" => product.tags.iter().any(|tag| same(tag, wanted.text())),
        "variantOption" => product.options.iter().any(|option| {
            same(&option.name, wanted.field("name").text())
                && option.values.iter().any(|value| same(&value.name, wanted.field("value").text()))
        }),
        "productMetafield" => product.metafields.iter().any(|one| {
            Some(one.namespace.as_str()) == wanted.field("namespace").text()
                && Some(one.key.as_str()) == wanted.field("key").text()
                && Some(one.value.as_str()) == wanted.field("value").text()
        }),
        _ => true,
    }
}

/// A `query` in the platform's search syntax: `name:value` pairs, which all have to hold, and the words between them.
fn terms_of(query: &str) -> (Vec<(String, String)>, String) {
    let mut terms = Vec::new();
    let mut free = Vec::new();
    let mut rest = query.trim();
    while !rest.is_empty() {
        let name_end = rest.find([':', ' ', '"', '\'']).unwrap_or(rest.len());
        let (head, tail) = rest.split_at(name_end);
        if let Some(value) = tail.strip_prefix(':').filter(|_| !head.is_empty()) {
            let (value, behind) = match value.chars().next() {
                Some(quote @ ('"' | '\'')) => {
                    let inside = value.get(1..).unwrap_or_default();
                    inside.split_once(quote).unwrap_or((inside, ""))
                }
                _ => value.split_once(' ').unwrap_or((value, "")),
            };
            terms.push((head.to_lowercase(), value.trim_matches(['(', ')']).to_lowercase()));
            rest = behind.trim_start();
        } else {
            if !matches!(head, "AND" | "") {
                free.push(head);
            }
            rest = tail.get(1..).unwrap_or_default().trim_start();
        }
    }
    (terms, free.join(" "))
}

fn meets(shown: &Shown, name: &str, value: &str) -> bool {
    let product: &Product = &shown.product;
    let matches = |text: &str| {
        let text = text.to_lowercase();
        match value.strip_suffix('*') {
            Some(beginning) => {
                words(&text).any(|word| word.starts_with(beginning)) || text.starts_with(beginning)
            }
            None => text == value || words(&text).any(|word| word == value),
        }
    };
    let exactly = |text: &str| text.to_lowercase() == value;
    match name {
        "title" => matches(&product.title),
        "vendor" => exactly(&product.vendor),
        "product_type" => exactly(&product.product_type),
        "tag" => product.tags.iter().any(|tag| exactly(tag)),
        "tag_not" | "-tag" => !product.tags.iter().any(|tag| exactly(tag)),
        "available_for_sale" => (value == "true") == shown.is_available(),
        "handle" => product.handle == value,
        "id" => value.rsplit('/').next() == Some(product.number.to_string().as_str()),
        "sku" | "variants.sku" => product.variants.iter().any(|one| exactly(&one.sku)),
        // What is not known narrows nothing, as on the platform.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_pairs_and_words() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (query, terms, free) in [
            ("", vec![], ""),
            ("red shoe", vec![], "red shoe"),
            (
                "tag:sale AND vendor:'Acme Inc' shoe",
                vec![pair("tag", "sale"), pair("vendor", "acme inc")],
                "shoe",
            ),
            ("title:\"a b", vec![pair("title", "a b")], ""),
            (": x", vec![], "x"),
            ("é:ü \"", vec![pair("é", "ü")], ""),
        ] {
            assert_eq!(terms_of(query), (terms, free.to_owned()), "{query}");
        }
    }
}
