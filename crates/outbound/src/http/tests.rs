//! Requests as templates make them of messages.

use super::*;
use delivery::egress::{Method, Target};
use proptest::prelude::*;
use serde_json::json;

fn config(settings: Value) -> HttpConfig {
    let mut settings = settings;
    settings["url"] = json!("https://api.esp.test:8443/v2/people?fixed=1");
    serde_json::from_value(settings).unwrap()
}

fn message(who: &str) -> Value {
    json!({ "type": "audience.entered", "id": "eff_7_0", "timestamp": "2026-11-22T04:51:00.000000Z",
        "data": { "audience": "carts", "identifiers": [
            { "type": "email", "value": who }, { "type": "email", "value": "second" }, { "type": "user_id", "value": "7" },
        ] } })
}

fn prepared(settings: Value, who: &[&str]) -> Result<Prepared, Unprepared> {
    config(settings).prepare(who.iter().map(|who| message(who)).collect())
}

#[test]
fn a_request_is_what_was_written() {
    let made = prepared(
        json!({ "method": "PATCH", "query": { "a b": "{{ identifiers.email }}" }, "headers": { "X-Who": "{{ identifiers.user_id }}" },
            "content": "form", "body": "to={{ identifiers.email }}&list={{ data.audience }}" }),
        &["a&b@shop.test"],
    );
    let expected = Prepared {
        method: Method::Patch,
        url: "https://api.esp.test:8443/v2/people?fixed=1&a%20b=a%26b%40shop.test".to_owned(),
        headers: vec![
            ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
            ("x-who".to_owned(), "7".to_owned()),
        ],
        body: "to=a%26b%40shop.test&list=carts".to_owned(),
    };
    assert_eq!(made, Ok(expected));
    // Without a body it is the message as it was, or a list of them.
    let body = |settings, who: &[&str]| {
        serde_json::from_str::<Value>(&prepared(settings, who).unwrap().body).unwrap()
    };
    assert_eq!(body(json!({}), &["ann"]), message("ann"));
    assert_eq!(body(json!({ "batch": true }), &["ann", "bob"]), json!([message("ann"), message("bob")]));
    let of_batch = json!({ "batch": true, "body": "{{ messages | map: 'identifiers' | map: 'email' }}" });
    assert_eq!(body(of_batch, &["ann", "bob"]), json!(["ann", "bob"]));
    let own_type = json!({ "headers": { "Content-Type": "application/vnd.esp+json" } });
    assert_eq!(
        prepared(own_type, &["x"]).unwrap().headers,
        [("content-type".to_owned(), "application/vnd.esp+json".to_owned())]
    );
    let get = prepared(json!({ "method": "GET" }), &["x"]).unwrap();
    assert_eq!((get.headers.len(), get.body.as_str(), get.method), (0, "", Method::Get));
}

#[test]
fn what_cannot_be_made_says_which_part_and_nothing_of_the_message() {
    for (settings, reason) in [
        (json!({ "body": "{{ identifiers.email | plus: 1 }}" }), "template_not_a_number at 1:24 of body"),
        (
            json!({ "headers": { "x-a": "{{ identifiers.email }}" } }),
            "template_line_break at 1:1 of headers x-a",
        ),
        (
            json!({ "query": { "a": "{{ identifiers.email | date: '%Y' }}" } }),
            "template_not_a_time at 1:24 of query a",
        ),
        (
            json!({ "query": { "a": "{% for x in data.identifiers %}{{ identifiers.email | append: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' | json | json | json | json | json | json | json | json }}{% endfor %}" } }),
            "template_too_long at 1:32 of query a",
        ),
    ] {
        let error = prepared(settings.clone(), &["ann\n@shop.test"]).expect_err(&settings.to_string());
        assert_eq!(error.reason(), reason, "{settings}");
        assert!(!error.to_string().contains("shop.test"), "{error}");
    }
}

#[test]
fn keys_are_the_messages_own() {
    let parcel = |position: u64, key: &str| Parcel {
        id: model::id::EffectId { position: model::id::Position(position), ordinal: 0 },
        issued_at: model::id::Timestamp(0),
        kind: 1,
        about: None,
        subject: model::id::Key(1),
        class: delivery::Class::Transactional,
        idempotency_key: key.to_owned(),
        body: Bytes::new(),
    };
    let (one, two) = (parcel(1, "eff_1_0"), parcel(2, "eff_2_0"));
    assert_eq!(key(std::slice::from_ref(&one)).as_deref(), Some("eff_1_0"));
    let both = key(&[one.clone(), two.clone()]).unwrap();
    assert!(both.starts_with("batch_") && both.len() == 38, "{both}");
    assert_eq!(key(&[one.clone(), two.clone()]).unwrap(), both);
    assert_ne!(key(&[two, one]).unwrap(), both);
    for bad in ["", "a b", "a\nb", &"x".repeat(257)] {
        assert_eq!(key(&[parcel(1, bad)]), None, "{bad:?}");
    }
}

proptest! {
    /// Whoever somebody is, a message goes where it was written to go, with as many values as were written.
    #[test]
    fn no_message_says_where_it_goes(who in any::<String>(), more in "[/?#&=@:%\\\\. \r\n\t\u{0}a]{0,24}") {
        let settings = json!({ "query": { "who": "{{ identifiers.email }}" }, "body": "{\"who\": \"{{ identifiers.email }}\"}" });
        let who = format!("{who}{more}");
        // A very long one makes the address too long, which is refused.
        let Ok(made) = prepared(settings, &[&who]) else { return Ok(()) };
        let (target, own) = (Target::parse(&made.url).unwrap(), Target::parse("https://api.esp.test:8443/v2/people?fixed=1").unwrap());
        prop_assert!(target.same_origin(&own));
        prop_assert_eq!(target.path_and_query.path(), "/v2/people");
        prop_assert_eq!(made.url.matches(['&', '?']).count(), 2);
        let body: Value = serde_json::from_str(&made.body).unwrap();
        prop_assert_eq!(body["who"].as_str(), Some(who.as_str()));
    }
}
