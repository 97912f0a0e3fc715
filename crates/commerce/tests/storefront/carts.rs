//! What is changed: carts and accounts, with what is wrong said as the published interface says it.

use crate::fixture::{CHECKOUT, Fixture};
use serde_json::{Value, json};

const CART: &str = "id checkoutUrl totalQuantity note attributes { key value }
    cost { subtotalAmount { amount currencyCode } totalAmount { amount currencyCode } totalTaxAmount { amount } }
    discountCodes { code applicable } buyerIdentity { countryCode email phone customer { email displayName } }
    lines(first: 10) { nodes { __typename id quantity attributes { key value }
      cost { amountPerQuantity { amount } totalAmount { amount } }
      discountAllocations { discountedAmount { amount } ... on CartCodeDiscountAllocation { code } }
      merchandise { ... on ProductVariant { id title product { handle } } } } }";

impl Fixture {
    /// What comes of a field of a mutation.
    fn change(&self, field: &str, types: &str, arguments: &str, variables: Value) -> Value {
        let query = format!(
            "mutation({types}) {{ {field}({arguments}) {{ cart {{ {CART} }} userErrors {{ code field message }}
             warnings {{ code target message }} }} }}"
        );
        self.data(&query, variables)[field].take()
    }
}

#[test]
fn a_cart_from_the_first_line_to_the_checkout() {
    let fixture = Fixture::new("cart");
    let id = fixture.cart(json!([{ "merchandiseId": "gid://shopify/ProductVariant/200", "quantity": 2 }]));
    let token = id.strip_prefix("gid://shopify/Cart/").unwrap();
    assert_eq!(token.len(), 32);
    let cart =
        fixture.data(&format!("query($id: ID!) {{ cart(id: $id) {{ {CART} }} }}"), json!({ "id": id }));
    let cart = &cart["cart"];
    assert_eq!(cart["checkoutUrl"], format!("{CHECKOUT}/checkout/{token}"));
    assert_eq!(cart["totalQuantity"], 2);
    assert_eq!(cart["cost"]["subtotalAmount"], json!({ "amount": "25.0", "currencyCode": "EUR" }));
    assert_eq!(cart["cost"]["totalTaxAmount"]["amount"], "3.99", "25.00 holds 19 percent");
    let line = &cart["lines"]["nodes"][0];
    assert_eq!(line["__typename"], "CartLine");
    assert_eq!(line["cost"]["amountPerQuantity"]["amount"], "12.5");
    assert_eq!(line["merchandise"]["product"]["handle"], "olive-oil");

    let added = fixture.change(
        "cartLinesAdd",
        "$id: ID!",
        "cartId: $id, lines: [{ merchandiseId: \"gid://shopify/ProductVariant/300\",
           attributes: [{ key: \"for\", value: \"Ada\" }] }]",
        json!({ "id": id }),
    );
    assert_eq!((&added["userErrors"], &added["warnings"]), (&json!([]), &json!([])));
    let note = &added["cart"]["lines"]["nodes"][1];
    assert_eq!(note["attributes"], json!([{ "key": "for", "value": "Ada" }]));

    let changed = fixture.change(
        "cartLinesUpdate",
        "$id: ID!, $lines: [CartLineUpdateInput!]!",
        "cartId: $id, lines: $lines",
        json!({ "id": id, "lines": [{ "id": line["id"], "quantity": 1 }] }),
    );
    assert_eq!(changed["cart"]["totalQuantity"], 2);
    let removed = fixture.change(
        "cartLinesRemove",
        "$id: ID!, $lines: [ID!]!",
        "cartId: $id, lineIds: $lines",
        json!({ "id": id, "lines": [note["id"]] }),
    );
    assert_eq!(removed["cart"]["totalQuantity"], 1);

    let noted = fixture.change(
        "cartNoteUpdate",
        "$id: ID!",
        "cartId: $id, note: \"Ring \\\"twice\\\"\"",
        json!({ "id": id }),
    );
    assert_eq!(noted["cart"]["note"], "Ring \"twice\"");
    let coded = fixture.change(
        "cartDiscountCodesUpdate",
        "$id: ID!, $codes: [String!]!",
        "cartId: $id, discountCodes: $codes",
        json!({ "id": id, "codes": ["welcome10"] }),
    );
    assert_eq!(coded["cart"]["discountCodes"][0]["applicable"], true, "{coded:#}");
    assert_eq!(coded["cart"]["cost"]["totalAmount"]["amount"], "11.25");
    assert_eq!(
        coded["cart"]["lines"]["nodes"][0]["discountAllocations"][0]["discountedAmount"]["amount"],
        "1.25"
    );
    let unknown = fixture.change(
        "cartDiscountCodesUpdate",
        "$id: ID!, $codes: [String!]!",
        "cartId: $id, discountCodes: $codes",
        json!({ "id": id, "codes": ["NOPE"] }),
    );
    assert_eq!(unknown["warnings"][0]["code"], "DISCOUNT_NOT_FOUND");
    assert_eq!(unknown["cart"]["discountCodes"], json!([{ "code": "NOPE", "applicable": false }]));
}

#[test]
fn more_than_there_is_becomes_what_there_is_with_a_warning() {
    let fixture = Fixture::new("capped");
    let id = fixture.cart(json!([]));
    let added = fixture.change(
        "cartLinesAdd",
        "$id: ID!",
        "cartId: $id, lines: [{ merchandiseId: \"gid://shopify/ProductVariant/102\", quantity: 50 }]",
        json!({ "id": id }),
    );
    assert_eq!(added["cart"]["totalQuantity"], 3);
    assert_eq!(added["warnings"][0]["code"], "MERCHANDISE_NOT_ENOUGH_STOCK");
    assert_eq!(added["warnings"][0]["target"], added["cart"]["lines"]["nodes"][0]["id"]);
    let none = fixture.change(
        "cartLinesAdd",
        "$id: ID!",
        "cartId: $id, lines: [{ merchandiseId: \"gid://shopify/ProductVariant/500\" }]",
        json!({ "id": id }),
    );
    assert_eq!(none["warnings"][0]["code"], "MERCHANDISE_OUT_OF_STOCK", "{none:#}");
    assert_eq!(none["cart"]["totalQuantity"], 3);
}

#[test]
fn a_buyer_a_country_and_an_address() {
    let fixture = Fixture::new("buyer");
    let id = fixture.cart(json!([{ "merchandiseId": "gid://shopify/ProductVariant/200" }]));
    let buyer = fixture.change(
        "cartBuyerIdentityUpdate",
        "$id: ID!, $buyer: CartBuyerIdentityInput!",
        "cartId: $id, buyerIdentity: $buyer",
        json!({ "id": id, "buyer": { "countryCode": "US", "email": "ada@example.com" } }),
    );
    assert_eq!(buyer["userErrors"], json!([]), "{buyer:#}");
    assert_eq!(buyer["cart"]["cost"]["subtotalAmount"], json!({ "amount": "13.99", "currencyCode": "USD" }));
    let kept = fixture.change(
        "cartBuyerIdentityUpdate",
        "$id: ID!, $buyer: CartBuyerIdentityInput!",
        "cartId: $id, buyerIdentity: $buyer",
        json!({ "id": id, "buyer": { "countryCode": "DE", "phone": "+491701234567" } }),
    );
    assert_eq!(kept["cart"]["buyerIdentity"]["email"], "ada@example.com", "what is not named stays");

    let address = json!([{ "selected": true, "address": { "deliveryAddress": {
        "firstName": "Ada", "lastName": "L", "address1": "Weg 1", "city": "Köln", "zip": "50667",
        "countryCode": "DE" } } }]);
    let query = "mutation($id: ID!, $addresses: [CartSelectableAddressInput!]!) {
        cartDeliveryAddressesAdd(cartId: $id, addresses: $addresses) { userErrors { code field } cart {
          delivery { addresses { id selected address { ... on CartDeliveryAddress { city formatted } } } }
          deliveryGroups(first: 2) { nodes { id deliveryOptions { handle estimatedCost { amount } }
            selectedDeliveryOption { handle } deliveryAddress { countryCodeV2 } } } } } }";
    let added = fixture.data(query, json!({ "id": id, "addresses": address }));
    let added = &added["cartDeliveryAddressesAdd"];
    assert_eq!(added["userErrors"], json!([]));
    let selected = &added["cart"]["delivery"]["addresses"][0];
    assert_eq!(selected["address"]["formatted"], json!(["Weg 1", "50667 Köln", "Germany"]));
    let group = &added["cart"]["deliveryGroups"]["nodes"][0];
    assert_eq!(
        group["deliveryOptions"],
        json!([
            { "handle": "standard", "estimatedCost": { "amount": "4.9" } },
            { "handle": "express", "estimatedCost": { "amount": "12.0" } },
        ])
    );
    let choose = |handle: &str| {
        fixture.change(
            "cartSelectedDeliveryOptionsUpdate",
            "$id: ID!, $options: [CartSelectedDeliveryOptionInput!]!",
            "cartId: $id, selectedDeliveryOptions: $options",
            json!({ "id": id, "options": [{ "deliveryGroupId": group["id"], "deliveryOptionHandle": handle }] }),
        )
    };
    assert_eq!(choose("express")["cart"]["cost"]["totalAmount"]["amount"], "24.5");
    assert_eq!(choose("rocket")["userErrors"][0]["code"], "INVALID_DELIVERY_OPTION");
    let removed = fixture.data(
        "mutation($id: ID!, $ids: [ID!]!) { cartDeliveryAddressesRemove(cartId: $id, addressIds: $ids) {
           userErrors { code } cart { delivery { addresses { id } } } } }",
        json!({ "id": id, "ids": [selected["id"]] }),
    );
    assert_eq!(removed["cartDeliveryAddressesRemove"]["cart"]["delivery"]["addresses"], json!([]));
}

/// A field, its arguments with `$id` for the cart, and the code and field of the error.
type Wrong = (&'static str, &'static str, &'static str, &'static [&'static str]);

#[test]
fn what_is_wrong_with_a_cart_is_said_with_the_published_codes() {
    const GONE: &str = "gid://shopify/Cart/00000000000000000000000000000000";
    const TABLE: &[Wrong] = &[
        (
            "cartLinesAdd",
            "cartId: $id, lines: [{ merchandiseId: \"gid://shopify/ProductVariant/9\" }]",
            "INVALID",
            &["lines", "0", "merchandiseId"],
        ),
        (
            "cartLinesAdd",
            "cartId: $id, lines: [{ merchandiseId: \"gid://shopify/ProductVariant/400\" }]",
            "INVALID",
            &["lines", "0", "merchandiseId"],
        ),
        (
            "cartLinesAdd",
            "cartId: $id, lines: [{ merchandiseId: \"gid://shopify/ProductVariant/200\", quantity: 0 }]",
            "INVALID",
            &["lines", "0", "quantity"],
        ),
        (
            "cartLinesAdd",
            "cartId: $id, lines: [{ merchandiseId: \"gid://shopify/ProductVariant/200\", quantity: -1 }]",
            "INVALID",
            &["lines", "0", "quantity"],
        ),
        (
            "cartLinesAdd",
            "cartId: $id, lines: [{ merchandiseId: \"gid://shopify/ProductVariant/200\", sellingPlanId: \"1\" }]",
            "SELLING_PLAN_NOT_APPLICABLE",
            &["lines", "0", "sellingPlanId"],
        ),
        ("cartLinesRemove", "cartId: $id, lineIds: [\"1\"]", "INVALID_MERCHANDISE_LINE", &["lineIds", "0"]),
        (
            "cartLinesUpdate",
            "cartId: $id, lines: [{ id: \"gid://shopify/Cart/1\", quantity: 1 }]",
            "INVALID_MERCHANDISE_LINE",
            &["lines", "0", "id"],
        ),
        ("cartGiftCardCodesAdd", "cartId: $id, giftCardCodes: [\"A\"]", "INVALID", &["giftCardCodes"]),
        (
            "cartBuyerIdentityUpdate",
            "cartId: $id, buyerIdentity: { customerAccessToken: \"nobody\" }",
            "INVALID",
            &["buyerIdentity", "customerAccessToken"],
        ),
        (
            "cartBuyerIdentityUpdate",
            "cartId: $id, buyerIdentity: { companyLocationId: \"1\" }",
            "INVALID_COMPANY_LOCATION",
            &["buyerIdentity", "companyLocationId"],
        ),
        (
            "cartDeliveryAddressesAdd",
            "cartId: $id, addresses: [{ address: { deliveryAddress: { city: \"Köln\" } } }]",
            "ADDRESS_FIELD_IS_REQUIRED",
            &["addresses", "0", "address", "deliveryAddress", "countryCode"],
        ),
        (
            "cartDeliveryAddressesUpdate",
            "cartId: $id, addresses: [{ id: \"1\" }]",
            "INVALID_DELIVERY_ADDRESS_ID",
            &["addresses", "0", "id"],
        ),
        (
            "cartSelectedDeliveryOptionsUpdate",
            "cartId: $id, selectedDeliveryOptions: [{ deliveryGroupId: \"1\", deliveryOptionHandle: \"x\" }]",
            "INVALID_DELIVERY_GROUP",
            &["selectedDeliveryOptions", "0", "deliveryGroupId"],
        ),
        ("cartNoteUpdate", "cartId: \"nonsense\", note: $id", "INVALID", &["cartId"]),
    ];
    let fixture = Fixture::new("wrong");
    let id = fixture.cart(json!([{ "merchandiseId": "gid://shopify/ProductVariant/200" }]));
    for (field, arguments, code, at) in TABLE {
        let types = if *field == "cartNoteUpdate" { "$id: String!" } else { "$id: ID!" };
        let changed = fixture.change(field, types, arguments, json!({ "id": id }));
        let error = &changed["userErrors"][0];
        assert_eq!(
            (&error["code"], &error["field"]),
            (&json!(code), &json!(at)),
            "{field}({arguments}): {changed:#}"
        );
    }
    let cart = fixture.data("query($id: ID!) { cart(id: $id) { totalQuantity } }", json!({ "id": id }));
    assert_eq!(cart["cart"]["totalQuantity"], 1, "what is wrong changes nothing");
    let gone =
        fixture.change("cartNoteUpdate", "$id: ID!", "cartId: $id, note: \"x\"", json!({ "id": GONE }));
    assert_eq!((&gone["cart"], &gone["userErrors"][0]["field"]), (&Value::Null, &json!(["cartId"])));
    assert_eq!(
        fixture.data("query($id: ID!) { cart(id: $id) { id } }", json!({ "id": GONE })),
        json!({ "cart": null })
    );
}

#[test]
fn several_changes_of_one_request_are_done_in_order() {
    let fixture = Fixture::new("order");
    let id = fixture.cart(json!([]));
    let data = fixture.data(
        "mutation($id: ID!) { a: cartNoteUpdate(cartId: $id, note: \"one\") { cart { note } }
           __typename b: cartNoteUpdate(cartId: $id, note: \"two\") { cart { note } } }",
        json!({ "id": id }),
    );
    assert_eq!(
        data,
        json!({ "a": { "cart": { "note": "one" } }, "__typename": "Mutation", "b": { "cart": { "note": "two" } } })
    );
}

#[test]
fn an_account_from_its_making_to_its_end() {
    let fixture = Fixture::new("account");
    let create = "mutation($input: CustomerCreateInput!) { customerCreate(input: $input) {
        customer { email displayName numberOfOrders } customerUserErrors { code field } } }";
    let made = |email: &str, password: &str| {
        let input = json!({ "email": email, "password": password, "firstName": "Ada" });
        fixture.data(create, json!({ "input": input }))["customerCreate"].take()
    };
    assert_eq!(made("ada@example.com", "1234")["customerUserErrors"][0]["code"], "TOO_SHORT");
    assert_eq!(made("nobody", "12345")["customerUserErrors"][0]["code"], "INVALID");
    assert_eq!(
        made("ada@example.com", "12345"),
        json!({
            "customer": { "email": "ada@example.com", "displayName": "Ada", "numberOfOrders": "0" },
            "customerUserErrors": [],
        })
    );
    assert_eq!(made("ada@example.com", "12345")["customerUserErrors"][0]["code"], "TAKEN");
    let log_in = |email: &str, password: &str| {
        let query =
            "mutation($input: CustomerAccessTokenCreateInput!) { customerAccessTokenCreate(input: $input) {
            customerAccessToken { accessToken expiresAt } customerUserErrors { code } } }";
        let input = json!({ "email": email, "password": password });
        fixture.data(query, json!({ "input": input }))["customerAccessTokenCreate"].take()
    };
    for (email, password) in [("ada@example.com", "12346"), ("eve@example.com", "12345")] {
        assert_eq!(log_in(email, password)["customerUserErrors"][0]["code"], "UNIDENTIFIED_CUSTOMER");
    }
    let token = log_in("ada@example.com", "12345")["customerAccessToken"].take();
    assert_eq!(token["expiresAt"], "2026-12-22T12:00:00Z");
    let who = || {
        let query = "query($token: String!) { customer(customerAccessToken: $token) { email firstName } }";
        fixture.data(query, json!({ "token": token["accessToken"] }))["customer"].take()
    };
    assert_eq!(who(), json!({ "email": "ada@example.com", "firstName": "Ada" }));
    let id = fixture.cart(json!([]));
    let buyer = fixture.change(
        "cartBuyerIdentityUpdate",
        "$id: ID!, $token: String",
        "cartId: $id, buyerIdentity: { customerAccessToken: $token }",
        json!({ "id": id, "token": token["accessToken"] }),
    );
    assert_eq!(buyer["cart"]["buyerIdentity"]["customer"]["displayName"], "Ada", "{buyer:#}");
    let deleted = fixture.data(
        "mutation($token: String!) { customerAccessTokenDelete(customerAccessToken: $token) { deletedAccessToken userErrors { message } } }",
        json!({ "token": token["accessToken"] }),
    );
    assert_eq!(deleted["customerAccessTokenDelete"]["deletedAccessToken"], token["accessToken"]);
    assert_eq!(who(), Value::Null);
}

/// Fills a cart with all that a cart can have, and makes a customer: their token.
pub(crate) fn prepare(fixture: &Fixture, cart: &str) -> String {
    let email = "ada@example.com";
    fixture.data(
        "mutation($email: String!) { customerCreate(input: { email: $email, password: \"12345\" }) { customer { id } } }",
        json!({ "email": email }),
    );
    let token = fixture.data(
        "mutation($email: String!) { customerAccessTokenCreate(input: { email: $email, password: \"12345\" }) {
           customerAccessToken { accessToken } } }",
        json!({ "email": email }),
    );
    let token =
        token["customerAccessTokenCreate"]["customerAccessToken"]["accessToken"].as_str().unwrap().to_owned();
    let customer = fixture.shop_customer(email);
    let address =
        model::commerce::cart::Address { country: *b"DE", city: "Köln".to_owned(), ..Default::default() };
    fixture.operate(commerce::Operation::CustomerAddressPut {
        customer,
        number: 0,
        address,
        is_default: true,
    });
    let data = fixture.data(
        "mutation($id: ID!, $token: String!) {
           a: cartBuyerIdentityUpdate(cartId: $id, buyerIdentity: { customerAccessToken: $token, countryCode: DE }) { userErrors { message } }
           b: cartDiscountCodesUpdate(cartId: $id, discountCodes: [\"WELCOME10\"]) { userErrors { message } }
           c: cartDeliveryAddressesReplace(cartId: $id, addresses: [{ selected: true, address: { deliveryAddress: {
             firstName: \"Ada\", lastName: \"L\", address1: \"Weg 1\", city: \"Köln\", zip: \"50667\", countryCode: DE } } }]) { userErrors { message } }
           d: cartAttributesUpdate(cartId: $id, attributes: [{ key: \"for\", value: \"Ada\" }]) { userErrors { message } }
           e: cartSelectedDeliveryOptionsUpdate(cartId: $id, selectedDeliveryOptions: [{
             deliveryGroupId: \"GROUP\", deliveryOptionHandle: \"standard\" }]) { userErrors { message } } }"
            .replace("GROUP", &cart.replace("Cart/", "CartDeliveryGroup/1?cart="))
            .as_str(),
        json!({ "id": cart, "token": token }),
    );
    for (key, changed) in data.as_object().unwrap() {
        assert_eq!(changed["userErrors"], json!([]), "{key}");
    }
    token
}
