//! What the line reads of events, and what is kept of their properties.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use model::event::{Event, EventKind, Identifiers, Product};
use model::id::{Key, Timestamp};
use model::line::{
    LineSettings, MAX_CAMPAIGN_BYTES, Milestone, Noted, Touch, TouchKind, campaign, kept_properties, noted,
    session,
};
use model::suppression::Scope;

const HOUR: i64 = 3_600_000_000;
/// A midnight.
const T: i64 = 20_000 * 24 * HOUR;

fn settings() -> LineSettings {
    LineSettings { currency: Some(*b"EUR"), ..LineSettings::default() }
}

fn event<'a>(name: &'a str, properties: &'a str) -> Event<'a> {
    Event {
        kind: EventKind::Track,
        source: 1,
        from_server: true,
        value_counts: true,
        dedup_key: Key(77),
        message_id: "",
        occurred_at: Timestamp(T),
        name,
        identifiers: Identifiers::default(),
        order: None,
        products: Vec::new(),
        consent: Vec::new(),
        traits: b"",
        properties: properties.as_bytes(),
        context: b"",
    }
}

fn read(event: &Event<'_>) -> Option<(Touch, String)> {
    match noted(event, Timestamp(T), &settings())? {
        Noted::Touch(touch, name) => Some((touch, name.into_owned())),
        Noted::Milestone(_) => None,
    }
}

#[test]
fn events_are_read_as_their_names_and_properties_say() {
    for (name, kind) in [
        ("Ad Impression", Some(TouchKind::Impression)),
        ("Ad Click", Some(TouchKind::Click)),
        ("Email Opened", Some(TouchKind::MailOpen)),
        ("Email Link Clicked", Some(TouchKind::MailClick)),
        ("Product Added", Some(TouchKind::Cart)),
        ("Checkout Started", Some(TouchKind::Pay)),
        ("Payment Info Entered", Some(TouchKind::Pay)),
        ("Product Viewed", None),
        ("Order Completed", None),
    ] {
        let touch = read(&event(name, "{}")).map(|read| read.0);
        assert_eq!(touch.map(|touch| touch.kind), kind, "{name}");
        let page = Event { kind: EventKind::Page, ..event(name, "{}") };
        assert_eq!(read(&page), None, "a page of that name is no {name}");
    }
    // Properties; then: cost, unpriced, invalid, unavailable.
    for (properties, expected) in [
        ("{}", (0, false, false, false)),
        (r#"{"cost":0.25,"currency":"EUR"}"#, (250_000, false, false, false)),
        (r#"{"cost":"0.25","currency":"eur"}"#, (250_000, false, false, false)),
        (r#"{"cost":-3,"currency":"EUR"}"#, (0, false, false, false)),
        (r#"{"cost":9e11,"currency":"EUR"}"#, (1_000_000_000_000, false, false, false)),
        (r#"{"cost":1,"currency":"USD"}"#, (0, true, false, false)),
        (r#"{"cost":1}"#, (0, true, false, false)),
        (r#"{"cost":0,"currency":"USD"}"#, (0, false, false, false)),
        (r#"{"invalid":true}"#, (0, false, true, false)),
        (r#"{"viewable":false}"#, (0, false, true, false)),
        (r#"{"rendered":false}"#, (0, false, true, false)),
        (r#"{"in_stock":false}"#, (0, false, false, true)),
        (r#"{"deliverable":false}"#, (0, false, false, true)),
        (r#"{"invalid":false,"viewable":true,"rendered":true,"in_stock":true}"#, (0, false, false, false)),
    ] {
        let own = read(&event("Ad Impression", properties)).unwrap().0;
        assert_eq!((own.cost_micro, own.unpriced, own.invalid, own.unavailable), expected, "{properties}");
    }
    let browser = Event { value_counts: false, ..event("Ad Click", r#"{"cost":1,"currency":"USD"}"#) };
    let own = read(&browser).unwrap().0;
    assert_eq!((own.cost_micro, own.unpriced), (0, false), "a browser's cost is a claim");
}

#[test]
fn campaigns_products_and_confirmations_are_read() {
    let context = r#"{"campaign":{"name":"From a link"}}"#;
    let long = "ü".repeat(MAX_CAMPAIGN_BYTES);
    let sent_long = format!(r#"{{"campaign_id":"{long}"}}"#);
    for (properties, context, name) in [
        ("{}", "{}", ""),
        (r#"{"campaign_id":"spring"}"#, context, "spring"),
        (r#"{"campaign_id":42}"#, "{}", "42"),
        ("{}", context, "From a link"),
        (sent_long.as_str(), "{}", &long[..MAX_CAMPAIGN_BYTES]),
    ] {
        let sent = Event { context: context.as_bytes(), ..event("Ad Click", properties) };
        let (own, read) = read(&sent).unwrap();
        assert_eq!((read.as_str(), own.campaign), (name, campaign(name)));
        assert_eq!(own.campaign == 0, name.is_empty());
    }
    let shoe = Product { product_id: "shoe 1", category: "Shoes", quantity: 1, price_minor: 1 };
    let product =
        Event { products: vec![shoe], ..event("Ad Impression", r#"{"sku":" shoe 1 ","category":"Shoes "}"#) };
    let own = read(&product).unwrap().0;
    assert_eq!((own.product, own.category), (Scope::product("shoe 1"), Scope::category("Shoes")));
    let own = read(&event("Ad Impression", r#"{"category":" Shoes "}"#)).unwrap().0;
    assert_eq!((own.product, own.category), (Scope::EVERYTHING, Scope::category("Shoes")));
    let confirmed = event("Order Confirmation Accepted", r#"{"order_id":17}"#);
    let milestone = Milestone { order: model::order::order_key("17"), accepted: true, at: Timestamp(T) };
    assert_eq!(noted(&confirmed, Timestamp(T), &settings()), Some(Noted::Milestone(milestone)));
    for silent in
        [Event { from_server: false, ..confirmed.clone() }, Event { properties: b"{}", ..confirmed.clone() }]
    {
        assert_eq!(noted(&silent, Timestamp(T), &settings()), None, "a browser accepts no mail");
    }
}

#[test]
fn half_hours_are_those_of_browsers_and_apps() {
    let on = LineSettings { sessions: true, ..settings() };
    for (kind, name, server, expected) in [
        (EventKind::Page, "Home", false, true),
        (EventKind::Screen, "Ad Click", false, true),
        (EventKind::Track, "Product Viewed", false, true),
        (EventKind::Track, "Product Added", false, true),
        (EventKind::Track, "Ad Impression", false, false),
        (EventKind::Track, "Email Opened", false, false),
        (EventKind::Identify, "", false, false),
        (EventKind::Page, "Home", true, false),
    ] {
        let sent = Event { kind, from_server: server, ..event(name, "{}") };
        assert_eq!(session(&sent, Timestamp(T), &settings()), None, "they do not count");
        let own = session(&sent, Timestamp(T + HOUR / 2 - 1), &on);
        assert_eq!(own.map(|own| own.at), expected.then_some(Timestamp(T)), "{kind:?} {name}");
        let next = session(&sent, Timestamp(T + HOUR / 2), &on);
        assert_eq!(next.map(|own| own.at), expected.then_some(Timestamp(T + HOUR / 2)));
    }
}

#[test]
fn what_is_kept_of_properties_reads_as_all_of_them() {
    let everything = r#"{"who":"Ada","campaign_id":"a \"b\" \\ \n ü","category":"Shoes","cost":0.25,"currency":"EUR",
        "invalid":true,"viewable":false,"in_stock":false,"rendered":true}"#;
    let context = r#"{"ip":"1.2.3.4","campaign":{"name":"From a link"}}"#;
    for (name, properties, context) in [
        ("Ad Impression", everything, ""),
        ("Email Link Clicked", r#"{"cost":3}"#, context),
        ("Ad Click", "{}", "{}"),
        ("Order Confirmation Queued", r#"{"order_id":17,"mail":"a@b.c"}"#, context),
    ] {
        let sent = Event { context: context.as_bytes(), ..event(name, properties) };
        let kept = kept_properties(&sent);
        let redacted = event(name, &kept);
        assert_eq!(
            noted(&redacted, Timestamp(T), &settings()),
            noted(&sent, Timestamp(T), &settings()),
            "{kept}"
        );
        assert_eq!(kept_properties(&redacted), kept, "once is enough");
        for secret in ["Ada", "a@b.c", "1.2.3.4"] {
            assert!(!kept.contains(secret), "{kept}");
        }
    }
    assert_eq!(kept_properties(&event("Happened", r#"{"cost":3,"campaign_id":"x"}"#)), "");
    let page = Event { kind: EventKind::Page, ..event("Ad Click", everything) };
    assert_eq!(kept_properties(&page), "");
}
