//! What is read: a table of documents and answers.

use crate::fixture::Fixture;
use serde_json::{Value, json};

/// A name, a document, its variables, and the data that it is answered.
type Case = (&'static str, &'static str, Value, Value);

#[test]
fn documents_are_answered() {
    let fixture = Fixture::new("reading");
    for (name, query, variables, expected) in products().into_iter().chain(lists()).chain(language()) {
        assert_eq!(fixture.data(query, variables), expected, "{name}");
    }
}

fn money(amount: &str) -> Value {
    json!({ "amount": amount, "currencyCode": "EUR" })
}

fn products() -> Vec<Case> {
    vec![
        (
            "a product by handle, and the same by id, under two names",
            "{ a: product(handle: \"trail-shoe\") { id title }
               b: product(id: \"gid://shopify/Product/1\") { handle vendor tags } }",
            json!({}),
            json!({
                "a": { "id": "gid://shopify/Product/1", "title": "Trail Shoe" },
                "b": { "handle": "trail-shoe", "vendor": "Acme", "tags": ["shoe", "all"] },
            }),
        ),
        (
            "what is hidden or unknown is not there",
            "{ a: product(handle: \"secret-thing\") { id } b: product(handle: \"nothing\") { id }
               c: product(id: \"gid://shopify/Collection/1\") { id } d: product { id } }",
            json!({}),
            json!({ "a": null, "b": null, "c": null, "d": null }),
        ),
        (
            "the words of an HTML text, cut",
            "{ product(handle: \"olive-oil\") { description short: description(truncateAt: 5) descriptionHtml } }",
            json!({}),
            json!({ "product": {
                "description": "A Olive Oil & more.",
                "short": "A Oli…",
                "descriptionHtml": "<p>A <b>Olive Oil</b> &amp; more.</p>",
            } }),
        ),
        (
            "prices, before and by measure",
            "{ product(handle: \"olive-oil\") { variants(first: 1) { nodes {
                 price { amount currencyCode } compareAtPrice { amount } unitPrice { amount }
                 unitPriceMeasurement { measuredType quantityUnit quantityValue referenceUnit referenceValue } } } } }",
            json!({}),
            json!({ "product": { "variants": { "nodes": [{
                "price": money("12.5"),
                "compareAtPrice": { "amount": "15.0" },
                "unitPrice": { "amount": "25.0" },
                "unitPriceMeasurement": {
                    "measuredType": "VOLUME", "quantityUnit": "ML", "quantityValue": 500.0,
                    "referenceUnit": "L", "referenceValue": 1,
                },
            }] } } }),
        ),
        (
            "which variant is meant by options",
            "query($own: [SelectedOptionInput!]!) { product(handle: \"trail-shoe\") {
               exact: variantBySelectedOptions(selectedOptions: $own) { id }
               unknown: variantBySelectedOptions(selectedOptions: [{ name: \"Taste\", value: \"Sweet\" }]) { id }
               lenient: selectedOrFirstAvailableVariant(selectedOptions: [{ name: \"size\", value: \"m\" }],
                 caseInsensitiveMatch: true) { id }
               strict: selectedOrFirstAvailableVariant(selectedOptions: [{ name: \"size\", value: \"m\" }],
                 ignoreUnknownOptions: false) { id }
               first: selectedOrFirstAvailableVariant { id availableForSale }
               adjacentVariants(selectedOptions: $own) { title } } }",
            json!({ "own": [{ "name": "Size", "value": "S" }, { "name": "Color", "value": "Blue" }] }),
            json!({ "product": {
                "exact": { "id": "gid://shopify/ProductVariant/101" },
                "unknown": null,
                "lenient": { "id": "gid://shopify/ProductVariant/102" },
                "strict": { "id": "gid://shopify/ProductVariant/100" },
                "first": { "id": "gid://shopify/ProductVariant/100", "availableForSale": true },
                "adjacentVariants": [{ "title": "S / Red" }, { "title": "M / Blue" }, { "title": "L / Blue" }],
            } }),
        ),
        (
            "options, and what there is of them",
            "{ product(handle: \"trail-shoe\") { encodedVariantExistence encodedVariantAvailability
                 options(first: 1) { name optionValues { name firstSelectableVariant { id } swatch { color } } }
                 variants(first: 6) { nodes { availableForSale quantityAvailable } } } }",
            json!({}),
            json!({ "product": {
                "encodedVariantExistence": "v1_0:0-1,1:0-1,2:0-1,",
                "encodedVariantAvailability": "v1_0:0,1:0-1,2:0,",
                "options": [{ "name": "Size", "optionValues": [
                    { "name": "S", "firstSelectableVariant": { "id": "gid://shopify/ProductVariant/100" }, "swatch": null },
                    { "name": "M", "firstSelectableVariant": { "id": "gid://shopify/ProductVariant/102" }, "swatch": null },
                    { "name": "L", "firstSelectableVariant": { "id": "gid://shopify/ProductVariant/104" }, "swatch": null },
                ] }],
                "variants": { "nodes": [
                    { "availableForSale": true, "quantityAvailable": 5 },
                    { "availableForSale": false, "quantityAvailable": 0 },
                    { "availableForSale": true, "quantityAvailable": 3 },
                    { "availableForSale": true, "quantityAvailable": 2 },
                    { "availableForSale": true, "quantityAvailable": 1 },
                    { "availableForSale": false, "quantityAvailable": 0 },
                ] },
            } }),
        ),
        (
            "swatches, pictures and fields of the shop's own",
            "{ product(handle: \"trail-shoe\") { options { optionValues { swatch { color image { previewImage { url } } } } }
                 featuredImage { url altText width } media(first: 1, reverse: true) { nodes { mediaContentType
                 ... on MediaImage { image { altText } } } }
                 metafield(namespace: \"care\", key: \"guide\") { type value }
                 metafields(identifiers: [{ key: \"guide\" }, { namespace: \"x\", key: \"guide\" }]) { key } } }",
            json!({}),
            json!({ "product": {
                "options": [
                    { "optionValues": [{ "swatch": null }, { "swatch": null }, { "swatch": null }] },
                    { "optionValues": [
                        { "swatch": { "color": "#ff0000", "image": null } },
                        { "swatch": { "color": null,
                          "image": { "previewImage": { "url": "https://cdn.example/blue.png" } } } },
                    ] },
                ],
                "featuredImage": { "url": "https://cdn.example/front.jpg", "altText": "front", "width": 800 },
                "media": { "nodes": [{ "mediaContentType": "IMAGE", "image": { "altText": "side" } }] },
                "metafield": { "type": "single_line_text_field", "value": "Brush \"dry\"" },
                "metafields": [{ "key": "guide" }, null],
            } }),
        ),
        (
            "fields of one name are merged, also through fragments, and conditions are kept apart",
            "query($yes: Boolean!, $no: Boolean = false) { product(handle: \"trail-shoe\") {
               seo { title } ...More seo @include(if: $no) { description }
               handle @skip(if: $yes) ... @include(if: $yes) { vendor } } }
             fragment More on Product { seo { title description @skip(if: $yes) } ... on Node { id } ... on Trackable { ... on Collection { title } } }",
            json!({ "yes": true }),
            json!({ "product": {
                "seo": { "title": "Shoes for trails" }, "id": "gid://shopify/Product/1", "vendor": "Acme",
            } }),
        ),
        (
            "nodes of several kinds",
            "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Product { title } ... on Shop { name } } }",
            json!({ "ids": [
                "gid://shopify/Product/1", "gid://shopify/ProductVariant/200", "gid://shopify/Collection/2",
                "gid://shopify/Shop/1", "gid://shopify/Product/4", "nonsense",
            ] }),
            json!({ "nodes": [
                { "__typename": "Product", "id": "gid://shopify/Product/1", "title": "Trail Shoe" },
                { "__typename": "ProductVariant", "id": "gid://shopify/ProductVariant/200" },
                { "__typename": "Collection", "id": "gid://shopify/Collection/2" },
                { "__typename": "Shop", "id": "gid://shopify/Shop/1", "name": "Corner Shop" },
                null, null,
            ] }),
        ),
    ]
}

fn lists() -> Vec<Case> {
    let nodes = |handles: &[&str]| -> Value {
        json!({ "nodes": handles.iter().map(|handle| json!({ "handle": handle })).collect::<Vec<_>>() })
    };
    vec![
        (
            "orders of a list",
            "{ byId: products(first: 9) { nodes { handle } } byTitle: products(first: 9, sortKey: TITLE) { nodes { handle } }
               dearest: products(first: 1, sortKey: PRICE, reverse: true) { nodes { handle } }
               last: products(last: 1) { nodes { handle } } }",
            json!({}),
            json!({
                "byId": nodes(&["trail-shoe", "olive-oil", "gift-note", "rare-book"]),
                "byTitle": nodes(&["gift-note", "olive-oil", "rare-book", "trail-shoe"]),
                "dearest": nodes(&["rare-book"]),
                "last": nodes(&["rare-book"]),
            }),
        ),
        (
            "what a query in the platform's syntax narrows",
            "{ a: products(first: 9, query: \"tag:shoe\") { nodes { handle } }
               b: products(first: 9, query: \"vendor:Acme AND available_for_sale:true\") { nodes { handle } }
               c: products(first: 9, query: \"oil\") { nodes { handle } }
               d: products(first: 9, query: \"sku:SKU-300\") { nodes { handle } } }",
            json!({}),
            json!({
                "a": nodes(&["trail-shoe"]),
                "b": nodes(&["trail-shoe", "gift-note"]),
                "c": nodes(&["olive-oil"]),
                "d": nodes(&["gift-note"]),
            }),
        ),
        (
            "collections, chosen and by rule, filtered",
            "{ a: collection(handle: \"everyday\") { title products(first: 9) { nodes { handle } } }
               b: collection(id: \"gid://shopify/Collection/2\") { products(first: 9, filters: [{ available: true },
                  { price: { min: 59, max: 60 } }, { variantOption: { name: \"color\", value: \"blue\" } }])
                  { nodes { handle } } }
               c: collection(handle: \"everyday\") { products(first: 9, filters: [{ productVendor: \"olea\" }, { productVendor: \"Nobody\" }])
                  { nodes { handle } } }
               collections(first: 5) { totalCount nodes { handle } } }",
            json!({}),
            json!({
                "a": { "title": "EVERYDAY", "products": nodes(&["olive-oil", "trail-shoe"]) },
                "b": { "products": nodes(&["trail-shoe"]) },
                "c": { "products": nodes(&["olive-oil"]) },
                "collections": { "totalCount": "2", "nodes": [{ "handle": "everyday" }, { "handle": "shoes" }] },
            }),
        ),
        (
            "searching",
            "{ a: search(query: \"trail shoe\", first: 5, types: [PRODUCT]) { totalCount nodes { ... on Product { handle } } }
               b: search(query: \"acme\", first: 5, unavailableProducts: HIDE) { totalCount }
               c: search(query: \"acme\", first: 5) { totalCount nodes { ... on Product { handle } } }
               d: search(query: \"shoe\", first: 5, types: [ARTICLE]) { nodes { __typename } }
               e: search(query: \"sho\", first: 5, prefix: NONE) { totalCount }
               f: search(query: \"sku-200\") { nodes { ... on Product { handle } } }
               g: search(query: \"wanderschuh\", first: 1) { totalCount } }",
            json!({}),
            json!({
                "a": { "totalCount": 1, "nodes": [{ "handle": "trail-shoe" }] },
                "b": { "totalCount": 2 },
                "c": { "totalCount": 3, "nodes": [
                    { "handle": "trail-shoe" }, { "handle": "gift-note" }, { "handle": "rare-book" }] },
                "d": { "nodes": [] },
                "e": { "totalCount": 0 },
                "f": { "nodes": [{ "handle": "olive-oil" }] },
                "g": { "totalCount": 1 },
            }),
        ),
        (
            "proposals while somebody types",
            "{ predictiveSearch(query: \"sho\", limit: 3) { products { handle } collections { handle } articles { id }
                 queries { text styledText } } }",
            json!({}),
            json!({ "predictiveSearch": {
                "products": [{ "handle": "trail-shoe" }],
                "collections": [{ "handle": "shoes" }],
                "articles": [],
                "queries": [
                    { "text": "shoe", "styledText": "<mark>sho</mark><span>e</span>" },
                    { "text": "shoes", "styledText": "<mark>sho</mark><span>es</span>" },
                ],
            } }),
        ),
        (
            "words of products, and what is like them",
            "{ productTags(first: 5) { nodes } productTypes(first: 1) { edges { node } pageInfo { hasNextPage } }
               productRecommendations(productHandle: \"olive-oil\") { handle } }",
            json!({}),
            json!({
                "productTags": { "nodes": ["all", "shoe"] },
                "productTypes": { "edges": [{ "node": "Shoes" }], "pageInfo": { "hasNextPage": true } },
                "productRecommendations": [{ "handle": "gift-note" }, { "handle": "trail-shoe" }],
            }),
        ),
        (
            "there are no texts of the shop's own",
            "{ page(handle: \"about\") { title } blogs(first: 2) { nodes { handle } pageInfo { hasNextPage endCursor } } }",
            json!({}),
            json!({ "page": null, "blogs": { "nodes": [], "pageInfo": { "hasNextPage": false, "endCursor": null } } }),
        ),
    ]
}

fn language() -> Vec<Case> {
    vec![
        (
            "another language, with words of options",
            "query($language: LanguageCode) @inContext(language: $language) { product(handle: \"trail-shoe\") { title vendor
               options { name values }
               selectedOrFirstAvailableVariant(selectedOptions: [{ name: \"Größe\", value: \"M\" }]) { title } } }",
            json!({ "language": "DE" }),
            json!({ "product": {
                "title": "Wanderschuh", "vendor": "Acme",
                "options": [
                    { "name": "Größe", "values": ["S", "M", "L"] },
                    { "name": "Color", "values": ["Rot", "Blue"] },
                ],
                "selectedOrFirstAvailableVariant": { "title": "M / Rot" },
            } }),
        ),
        (
            "another country has another currency",
            "query($country: CountryCode) @inContext(country: $country) {
               product(handle: \"olive-oil\") { priceRange { minVariantPrice { amount currencyCode } } }
               localization { country { isoCode name currency { isoCode symbol } unitSystem } language { isoCode } } }",
            json!({ "country": "US" }),
            json!({
                // 12.50 * 1.1 = 13.75, up to the next 99.
                "product": { "priceRange": { "minVariantPrice": { "amount": "13.99", "currencyCode": "USD" } } },
                "localization": {
                    "country": { "isoCode": "US", "name": "United States",
                        "currency": { "isoCode": "USD", "symbol": "$" }, "unitSystem": "IMPERIAL_SYSTEM" },
                    "language": { "isoCode": "EN" },
                },
            }),
        ),
        (
            "a currency without cents, and a country that stands for none",
            "query A @inContext(country: JP) { product(handle: \"olive-oil\") { priceRange { minVariantPrice { amount } } } }",
            json!({}),
            json!({ "product": { "priceRange": { "minVariantPrice": { "amount": "2000.0" } } } }),
        ),
        (
            "no country is the shop's",
            "query A @inContext(country: ZZ) { localization { country { isoCode } availableCountries { isoCode } } }",
            json!({}),
            json!({ "localization": { "country": { "isoCode": "DE" }, "availableCountries": [
                { "isoCode": "AT" }, { "isoCode": "DE" }, { "isoCode": "FR" }, { "isoCode": "JP" }, { "isoCode": "US" }] } }),
        ),
        (
            "the shop, its menu and its policies",
            "{ shop { name primaryDomain { host url } privacyPolicy { handle url } refundPolicy { title } brand { slogan } }
               menu(handle: \"main-menu\") { itemsCount items { title type url resourceId items { title type resourceId } } }
               none: menu(handle: \"footer\") { id } }",
            json!({}),
            json!({
                "shop": {
                    "name": "Corner Shop",
                    "primaryDomain": { "host": "corner.example", "url": "https://corner.example" },
                    "privacyPolicy": { "handle": "privacy-policy", "url": "https://corner.example/policies/privacy-policy" },
                    "refundPolicy": null, "brand": null,
                },
                "menu": { "itemsCount": 2, "items": [{
                    "title": "Shoes", "type": "COLLECTION", "url": "https://corner.example/collections/shoes",
                    "resourceId": "gid://shopify/Collection/2",
                    "items": [{ "title": "Trail", "type": "PRODUCT", "resourceId": "gid://shopify/Product/1" }],
                }] },
                "none": null,
            }),
        ),
    ]
}

/// Every page of a list, forwards and backwards, is the whole list; also when something is hidden in between.
#[test]
fn pages_meet_without_gap_or_overlap() {
    let fixture = Fixture::new("pages");
    let walk = |arguments: &str, backwards: bool, size: usize| {
        let (mut seen, mut cursor): (Vec<Value>, Option<String>) = (Vec::new(), None);
        for _ in 0..20 {
            let (count, place) = if backwards { ("last", "before") } else { ("first", "after") };
            let from = cursor.as_ref().map_or(String::new(), |cursor| format!(", {place}: \"{cursor}\""));
            let query = format!(
                "{{ products({count}: {size}{from}{arguments}) {{ edges {{ cursor node {{ handle }} }} nodes {{ handle }}
                   pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }}"
            );
            let page = &fixture.read(&query)["products"];
            let mut handles: Vec<Value> =
                page["edges"].as_array().unwrap().iter().map(|edge| edge["node"].clone()).collect();
            assert_eq!(&Value::Array(handles.clone()), &page["nodes"]);
            let info = &page["pageInfo"];
            assert_eq!(
                info[if backwards { "hasNextPage" } else { "hasPreviousPage" }],
                json!(cursor.is_some())
            );
            if backwards {
                handles.extend(seen);
                seen = handles;
            } else {
                seen.extend(handles);
            }
            let more = info[if backwards { "hasPreviousPage" } else { "hasNextPage" }] == json!(true);
            cursor = info[if backwards { "startCursor" } else { "endCursor" }].as_str().map(str::to_owned);
            if !more {
                return seen;
            }
        }
        panic!("the pages do not end");
    };
    for arguments in ["", ", sortKey: TITLE", ", sortKey: PRICE, reverse: true", ", query: \"all\""] {
        let whole = walk(arguments, false, 250);
        for size in 1..4 {
            assert_eq!(walk(arguments, false, size), whole, "{arguments} by {size}");
            assert_eq!(walk(arguments, true, size), whole, "{arguments} backwards by {size}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_field_is_said_with_its_place() {
    let fixture = Fixture::new("faults");
    let answer = fixture.ask("{\n  shop { name }\n  products(first: 251) { nodes { id } }\n}", json!({}));
    assert_eq!(answer["data"], Value::Null, "products may not be null, so nothing is left");
    assert_eq!(
        answer["errors"],
        json!([{
            "message": "first and last are between 0 and 250",
            "locations": [{ "line": 3, "column": 3 }],
            "path": ["products"],
            "extensions": { "code": "BAD_REQUEST" },
        }])
    );
    let answer = fixture.ask(
        "query($h: String = \"trail-shoe\") { product(handle: $h) { title variants(first: 1) { nodes { id } } }
         oil: product(handle: \"olive-oil\") { title variants { nodes { id } } } }",
        json!({}),
    );
    assert_eq!(answer["data"]["product"]["title"], "Trail Shoe", "what is not concerned is answered");
    assert_eq!(answer["data"]["oil"], Value::Null, "null goes up to where it may be");
    assert_eq!(answer["errors"][0]["path"], json!(["oil", "variants"]));
}
