//! What requests cost, to look at: `cargo nextest run -p commerce --run-ignored only cost --no-capture`.

use crate::fixture::Fixture;
use commerce::storefront::GraphqlRequest;
use serde_json::json;
use std::time::Instant;

#[test]
#[ignore = "prints figures and asserts nothing"]
fn what_requests_cost() {
    const TIMES: u32 = 2_000;
    let fixture = Fixture::new("cost");
    let product = "query($handle: String!, $own: [SelectedOptionInput!]!) { product(handle: $handle) { ...P } }
        fragment V on ProductVariant { availableForSale compareAtPrice { amount currencyCode } id
          image { __typename id url altText width height } price { amount currencyCode } product { title handle }
          selectedOptions { name value } sku title unitPrice { amount currencyCode } }
        fragment P on Product { id title vendor handle descriptionHtml description encodedVariantExistence
          encodedVariantAvailability options { name optionValues { name firstSelectableVariant { ...V } swatch { color } } }
          selectedOrFirstAvailableVariant(selectedOptions: $own, ignoreUnknownOptions: true) { ...V }
          adjacentVariants(selectedOptions: $own) { ...V } seo { title description } }";
    let cart = fixture.cart(json!([{ "merchandiseId": "gid://shopify/ProductVariant/200" }]));
    let note = "mutation($id: ID!, $note: String!) { cartNoteUpdate(cartId: $id, note: $note) { cart { id totalQuantity
        cost { totalAmount { amount } } lines(first: 10) { nodes { id quantity merchandise { ... on ProductVariant { title } } } } }
        userErrors { message } } }";
    let list = "{ products(first: 20) { nodes { id title handle priceRange { minVariantPrice { amount } } featuredImage { url } } } }";
    let own = json!([{ "name": "Size", "value": "M" }]);
    for (name, query, variables) in [
        ("product page", product, json!({ "handle": "trail-shoe", "own": own })),
        ("product list", list, json!({})),
        ("cart mutation, with the loop", note, json!({ "id": cart, "note": "x" })),
    ] {
        let mut request = GraphqlRequest {
            query: query.to_owned(),
            operation_name: None,
            variables: variables.as_object().cloned(),
        };
        let bytes = fixture.answer(&request).len();
        let started = Instant::now();
        for _ in 0..TIMES {
            fixture.answer(&request);
        }
        let known_us = started.elapsed().as_micros() / u128::from(TIMES);
        let started = Instant::now();
        for time in 0..100 {
            request.query = format!("{query} # {time}");
            fixture.answer(&request);
        }
        let new_us = started.elapsed().as_micros() / 100;
        eprintln!("{name}: {known_us} µs, {bytes} bytes; {new_us} µs where the document is new");
    }
}
