//! What a storefront built on the platform's official starter asks for, page by page, in documents of our own: every field
//! that the starter reads is in them.

use crate::fixture::Fixture;
use apollo_compiler::executable::{Selection, SelectionSet};
use apollo_compiler::{ExecutableDocument, Schema};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const PIECES: &str = "
fragment Price on MoneyV2 { amount currencyCode }
fragment Picture on Image { __typename id url altText width height }
fragment Meta on SEO { title description }
fragment Where on PageInfo { hasPreviousPage hasNextPage startCursor endCursor }
fragment Offered on ProductVariant { id sku title availableForSale price { ...Price } compareAtPrice { ...Price }
  unitPrice { ...Price } image { ...Picture } selectedOptions { name value } product { handle title } }
fragment Tile on Product { __typename id handle title vendor publishedAt trackingParameters
  featuredImage { ...Picture } priceRange { minVariantPrice { ...Price } maxVariantPrice { ...Price } }
  selectedOrFirstAvailableVariant(selectedOptions: [], ignoreUnknownOptions: true, caseInsensitiveMatch: true) { ...Offered } }
fragment Shelf on Collection { __typename id handle title description trackingParameters image { ...Picture } }
fragment Piece on Article { __typename id handle title contentHtml publishedAt trackingParameters
  authorV2 { name } blog { handle } image { ...Picture } seo { ...Meta } }
fragment Sheet on Page { __typename id handle title body trackingParameters seo { ...Meta } }
fragment Words on SearchQuerySuggestion { __typename text styledText trackingParameters }
fragment Entry on MenuItem { id resourceId tags title type url }
fragment Rule on ShopPolicy { id handle title body url }
";

const IN: &str = "$country: CountryCode, $language: LanguageCode";
const CONTEXT: &str = "@inContext(country: $country, language: $language)";

/// A page's document, with its variables.
fn pages() -> Vec<(&'static str, String, Value)> {
    let with = |own: &str, body: &str| format!("query Asked({IN}{own}) {CONTEXT} {{ {body} }}");
    let none = json!({});
    vec![
        (
            "header and footer",
            with(
                ", $menu: String!",
                "shop { id name description primaryDomain { url } brand { logo { image { url } } } }
                 menu(handle: $menu) { id items { ...Entry items { ...Entry } } }",
            ),
            json!({ "menu": "main-menu" }),
        ),
        ("front page", with("", "collections(first: 1, sortKey: UPDATED_AT, reverse: true) { nodes { ...Shelf } }
            products(first: 4, sortKey: UPDATED_AT, reverse: true) { nodes { ...Tile } }"), none.clone()),
        (
            "product",
            with(
                ", $handle: String!, $chosen: [SelectedOptionInput!]!",
                "product(handle: $handle) { ...Tile description descriptionHtml seo { ...Meta }
                   encodedVariantExistence encodedVariantAvailability
                   options { name optionValues { name firstSelectableVariant { ...Offered }
                     swatch { color image { previewImage { url } ... on MediaImage { image { url } } } } } }
                   adjacentVariants(selectedOptions: $chosen) { ...Offered } }",
            ),
            json!({ "handle": "trail-shoe", "chosen": [{ "name": "Size", "value": "M" }] }),
        ),
        (
            "collection",
            with(
                ", $handle: String!, $first: Int, $last: Int, $after: String, $before: String",
                "collection(handle: $handle) { ...Shelf
                   products(first: $first, last: $last, after: $after, before: $before) { nodes { ...Tile } pageInfo { ...Where } } }",
            ),
            json!({ "handle": "shoes", "first": 8, "last": null }),
        ),
        ("collections", with("", "collections(first: 4) { nodes { ...Shelf } pageInfo { ...Where } }"), none.clone()),
        ("catalog", with("", "products(first: 8) { nodes { ...Tile } pageInfo { ...Where } }"), none.clone()),
        (
            "search",
            with(
                ", $term: String!, $first: Int",
                "articles: search(query: $term, types: [ARTICLE], first: $first) { nodes { ... on Article { ...Piece } } }
                 pages: search(query: $term, types: [PAGE], first: $first) { nodes { ... on Page { ...Sheet } } }
                 products: search(query: $term, first: $first, sortKey: RELEVANCE, types: [PRODUCT],
                   unavailableProducts: HIDE) { nodes { ... on Product { ...Tile } } pageInfo { ...Where } }",
            ),
            json!({ "term": "shoe", "first": 8 }),
        ),
        (
            "search while typing",
            with(
                ", $term: String!, $limit: Int!, $scope: PredictiveSearchLimitScope!, $types: [PredictiveSearchType!]",
                "predictiveSearch(query: $term, limit: $limit, limitScope: $scope, types: $types) {
                   articles { ...Piece } collections { ...Shelf } pages { ...Sheet } products { ...Tile } queries { ...Words } }",
            ),
            json!({ "term": "sho", "limit": 5, "scope": "EACH" }),
        ),
        (
            "page, blogs and pieces",
            with(
                ", $handle: String!, $first: Int",
                "page(handle: $handle) { ...Sheet } blogs(first: $first) { nodes { title handle seo { ...Meta } } pageInfo { ...Where } }
                 blog(handle: $handle) { title handle seo { ...Meta } articleByHandle(handle: $handle) { ...Piece }
                   articles(first: $first) { nodes { ...Piece } pageInfo { ...Where } } }",
            ),
            json!({ "handle": "news", "first": 5 }),
        ),
        (
            "policies",
            with(
                "",
                "shop { privacyPolicy { ...Rule } refundPolicy { ...Rule } shippingPolicy { ...Rule } termsOfService { ...Rule }
                   subscriptionPolicy { id handle title body url } }",
            ),
            none,
        ),
    ]
}

/// The document with the fragments that it uses, and those that they use.
fn whole(document: &str) -> String {
    let pieces: Vec<(&str, &str)> = PIECES
        .split("fragment ")
        .filter_map(|piece| Some((piece.split_whitespace().next()?, piece)))
        .collect();
    let mut text = document.to_owned();
    loop {
        let missing =
            pieces.iter().find(|(name, _)| uses(&text, name) && !text.contains(&format!("fragment {name} ")));
        match missing {
            Some((_, piece)) => text.push_str(&format!("\nfragment {piece}")),
            None => return text,
        }
    }
}

/// Whether a text opens a fragment of this name.
fn uses(text: &str, name: &str) -> bool {
    text.split("...").skip(1).any(|rest| rest.split(|one: char| !one.is_alphanumeric()).next() == Some(name))
}

fn touched(document: &ExecutableDocument, set: &SelectionSet, fields: &mut BTreeSet<String>) {
    for selection in &set.selections {
        match selection {
            Selection::Field(field) => {
                fields.insert(format!("{}.{}", set.ty, field.name));
                touched(document, &field.selection_set, fields);
            }
            Selection::InlineFragment(inline) => touched(document, &inline.selection_set, fields),
            Selection::FragmentSpread(spread) => {
                touched(document, &document.fragments[&spread.fragment_name].selection_set, fields);
            }
        }
    }
}

#[test]
fn each_page_of_a_storefront_gets_what_it_asks_for() {
    let fixture = Fixture::new("starter");
    for (name, document, variables) in pages() {
        for (country, language) in [("DE", "DE"), ("US", "EN"), ("ZZ", "EN")] {
            let mut variables = variables.clone();
            variables["country"] = json!(country);
            variables["language"] = json!(language);
            let data = fixture.data(&whole(&document), variables);
            assert!(data.is_object(), "{name}");
        }
    }
}

#[test]
fn the_documents_read_every_field_that_the_starter_reads() {
    let folder = std::env::var("THROUGHLINE_SHARED_DATA").ok();
    let list =
        folder.and_then(|at| std::fs::read_to_string(format!("{at}/shopify/hydrogen_used_fields.txt")).ok());
    let Some(list) = list else {
        eprintln!("SKIPPED: THROUGHLINE_SHARED_DATA has no shopify/hydrogen_used_fields.txt");
        return;
    };
    let text = include_str!("../../src/storefront/schema.graphql");
    let schema = Schema::parse_and_validate(text, "schema.graphql").unwrap();
    let mut fields = BTreeSet::new();
    for (name, document, _) in pages() {
        let document = ExecutableDocument::parse_and_validate(&schema, whole(&document), name).unwrap();
        for operation in document.operations.iter() {
            touched(&document, &operation.selection_set, &mut fields);
        }
    }
    let missing: Vec<&str> =
        list.lines().filter(|line| !line.is_empty() && !fields.contains(*line)).collect();
    assert_eq!(missing, [""; 0]);
}

/// The operations of the platform's own starter, if a copy of its source is at hand: it is not ours to pass on.
#[test]
fn the_starters_own_documents_are_valid() {
    let Ok(folder) = std::env::var("THROUGHLINE_STARTER_GRAPHQL") else {
        eprintln!("SKIPPED: THROUGHLINE_STARTER_GRAPHQL names no folder with the starter's documents");
        return;
    };
    let text = include_str!("../../src/storefront/schema.graphql");
    let schema = Schema::parse_and_validate(text, "schema.graphql").unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let document = std::fs::read_to_string(&path).unwrap();
        if let Err(error) = ExecutableDocument::parse_and_validate(&schema, document, &path) {
            panic!("{}: {}", path.display(), error.errors);
        }
        seen += 1;
    }
    assert!(seen > 0);
}
