//! Destinations whose requests are templates: what arrives, where it goes, what becomes of what cannot be rendered, and a
//! look at it without sending.

use super::delivery::{Receiver, add, destination};
use super::operating::{program, text};
use super::support::{Scratch, Shop, until};
use serde_json::{Value, json};
use server::serve::StartOptions;
use std::sync::atomic::Ordering;

const TOKEN: &str = "esp-of-the-test";
/// Somebody whose name is made to get out of wherever it stands.
const NASTY: &str = "ann\"},&to=bob <b> {{ id }}\\";

/// A shop with an audience, and a folder of credentials.
fn open() -> Shop {
    let scratch = Scratch::new();
    let folder = scratch.0.with_extension("credentials");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("esp-token"), format!("{TOKEN}\n")).unwrap();
    let mut config = scratch.config();
    config.delivery.allow = "127.0.0.0/8+http".to_owned();
    config.delivery.credentials = folder.to_str().unwrap().to_owned();
    let shop = Shop::with(scratch, config, StartOptions::default());
    let rule =
        json!({ "rule": r#"count("Product Added", "7d") > 0 && count("Order Completed", "7d") == 0"# });
    assert_eq!(shop.admin("PUT", "/admin/v1/audiences/carts", Some(&rule.to_string())).status, 200);
    shop
}

fn close(shop: Shop) {
    let folder = shop.scratch.0.with_extension("credentials");
    shop.running.stop().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

fn esp(receiver: &Receiver, settings: &Value) -> Value {
    json!({ "type": "http", "url": receiver.url, "class": "transactional", "kinds": ["audience.entered"],
        "identifiers": ["user_id"], "settings": settings })
}

fn letters(shop: &Shop) -> Vec<Value> {
    let shown = shop.admin("GET", "/admin/v1/destinations/esp/dead-letters", None).json();
    shown["dead_letters"].as_array().cloned().unwrap_or_default()
}

#[test]
fn a_request_is_made_of_templates_and_goes_where_it_was_written() {
    let (shop, receiver) = (open(), Receiver::open());
    let mut body = esp(
        &receiver,
        &json!({ "method": "PUT", "query": { "who is": "{{ identifiers.user_id }}" },
            "headers": { "X-Kind": "{{ type }} of {{ data.audience | upcase }}" },
            "body": "{\"to\": \"{{ identifiers.user_id }}\", \"known\": {{ data.identifiers }}, \"on\": \"{{ timestamp | date: '%Y' }}\"}" }),
    );
    body["credentials"] = json!({ "bearer": "esp-token" });
    let made = destination(&shop, "esp", &body);
    assert_eq!(
        (&made["type"], &made["consent"], &made["problem"]),
        (&json!("http"), &json!("not_needed"), &Value::Null)
    );
    assert!(!made.to_string().contains(TOKEN), "{made}");
    let track = json!({ "userId": NASTY, "event": "Product Added", "messageId": "m" });
    assert_eq!(shop.send("track", &track.to_string()).status, 200);
    until("it arrives", || receiver.got.lock().unwrap().len() == 1);
    let (head, sent) = receiver.got.lock().unwrap()[0].clone();
    let query = "ann%22%7d%2c%26to%3dbob%20%3cb%3e%20%7b%7b%20id%20%7d%7d%5c";
    assert!(head.starts_with(&format!("put /hook?who%20is={query} http/1.1")), "{head}");
    let host = receiver.url.trim_start_matches("http://").trim_end_matches("/hook");
    for line in [
        &format!("host: {host}"),
        &format!("authorization: bearer {TOKEN}"),
        "idempotency-key: eff_",
        "x-kind: audience.entered of carts",
        "content-type: application/json",
    ] {
        assert!(head.contains(line), "{line} {head}");
    }
    assert_eq!(sent["to"], NASTY);
    assert_eq!(sent["known"], json!([{ "type": "user_id", "value": NASTY }]));
    assert!(sent["on"].as_str().unwrap().starts_with("20"), "{sent}");
    // What is shown can be defined again.
    let shown = shop.admin("GET", "/admin/v1/destinations/esp", None).json();
    assert_eq!((&shown["settings"], &shown["url"]), (&body["settings"], &body["url"]));
    close(shop);
}

#[test]
fn a_message_that_cannot_be_rendered_is_a_dead_letter_and_holds_nobody_up() {
    let (shop, receiver) = (open(), Receiver::open());
    destination(
        &shop,
        "esp",
        &esp(&receiver, &json!({ "body": "{\"twice\": {{ identifiers.user_id | times: 2 }}}" })),
    );
    add(&shop, "7");
    add(&shop, "ann");
    add(&shop, "8");
    until("the others arrive", || receiver.got.lock().unwrap().len() == 2);
    until("a dead letter", || letters(&shop).len() == 1);
    let letter = letters(&shop)[0].clone();
    assert_eq!(letter["reason"], "refused");
    assert_eq!(letter["detail"], "template_not_a_number at 1:36 of body", "{letter}");
    // The template is mended, and the letter goes.
    let mended =
        json!({ "body": "{\"twice\": {% if identifiers.user_id == 'ann' %}0{% else %}1{% endif %}}" });
    destination(&shop, "esp", &esp(&receiver, &mended));
    let ids = json!({ "ids": [letter["id"]] }).to_string();
    let again = || shop.admin("POST", "/admin/v1/destinations/esp/dead-letters/resend", Some(&ids)).status;
    until("it is sent again", || again() == 200);
    until("it arrives", || receiver.got.lock().unwrap().iter().any(|(_, body)| body["twice"] == 0));
    close(shop);
}

#[test]
fn answers_mean_what_they_mean_to_webhooks() {
    let (shop, receiver) = (open(), Receiver::open());
    receiver.status.store(429, Ordering::SeqCst);
    let body = json!({ "body": "{\"who\": \"{{ identifiers.user_id }}\"}" });
    destination(&shop, "esp", &esp(&receiver, &body));
    add(&shop, "ann");
    let status = || shop.admin("GET", "/admin/v1/destinations/esp", None).json()["status"].clone();
    until("it is tried again", || status()["retried"].as_u64() > Some(0));
    receiver.status.store(200, Ordering::SeqCst);
    until("it arrives", || receiver.got.lock().unwrap().len() == 1);
    receiver.status.store(422, Ordering::SeqCst);
    add(&shop, "bob");
    until("a dead letter", || letters(&shop).len() == 1);
    assert_eq!(letters(&shop)[0]["detail"], "http_422");
    close(shop);
}

#[test]
fn many_messages_become_one_request() {
    let (shop, receiver) = (open(), Receiver::open());
    let list = "{\"people\": [{% for one in messages %}\"{{ one.identifiers.user_id }}\"{% unless forloop.last %}, {% endunless %}{% endfor %}]}";
    let mut body = esp(&receiver, &json!({ "batch": true, "body": list }));
    body["flush_after_ms"] = json!(300);
    destination(&shop, "esp", &body);
    receiver.status.store(503, Ordering::SeqCst);
    let people: Vec<String> = (0..20).map(|number| format!("user-{number}")).collect();
    people.iter().for_each(|user| add(&shop, user));
    receiver.status.store(200, Ordering::SeqCst);
    let told = || {
        let got = receiver.got.lock().unwrap();
        let all = got.iter().flat_map(|(_, body)| body["people"].as_array().unwrap().clone());
        let mut all: Vec<String> = all.map(|one| one.as_str().unwrap().to_owned()).collect();
        all.sort();
        all
    };
    let mut expected = people;
    expected.sort();
    until("all arrive", || told().len() >= expected.len());
    assert_eq!(told(), expected);
    let got = receiver.got.lock().unwrap().clone();
    assert!(got.len() < expected.len(), "{} requests", got.len());
    assert!(got.iter().any(|(head, _)| head.contains("idempotency-key: batch_")), "{got:?}");
    close(shop);
}

#[test]
fn what_cannot_be_sent_is_refused_when_it_is_written() {
    let (shop, receiver) = (open(), Receiver::open());
    let of = |settings: Value| esp(&receiver, &settings);
    let with = |settings: Value, member: &str, value: Value| {
        let mut body = of(settings);
        body[member] = value;
        body
    };
    let table = [
        (of(json!({ "body": "{{ a" })), "settings.body", "line 1, character 1"),
        (of(json!({ "body": "{\n{{ a | shout }}" })), "settings.body", "line 2, character 8"),
        (of(json!({ "body": "{\"a\": \"{{ id }}}" })), "settings.body", "no JSON"),
        (
            of(json!({ "body": "{% if type == 'audience.entered' %}{ {% endif %}" })),
            "settings.body",
            "no JSON",
        ),
        (
            of(json!({ "body": "{\"a\": {{ data.audience | times: 2 }}}" })),
            "settings.body",
            "audience.entered",
        ),
        (of(json!({ "query": { "a": "{{ a | x }}" } })), "settings.query", "`a`"),
        (of(json!({ "headers": { "x-a": "{% if %}" } })), "settings.headers", "`x-a`"),
        (of(json!({ "headers": { "x-a": "a\nb" } })), "settings.headers", "line break"),
        (of(json!({ "headers": { "host": "evil.test" } })), "settings.headers", "host"),
        (of(json!({ "headers": { "x a": "1" } })), "settings.headers", "header name"),
        (of(json!({ "headers": { "Authorization": "Bearer x" } })), "settings.headers", "credentials"),
        (of(json!({ "headers": { "Idempotency-Key": "1" } })), "settings.headers", "every request"),
        (of(json!({ "method": "BREW" })), "settings", "BREW"),
        (of(json!({ "method": "GET", "body": "{}" })), "settings.body", "GET"),
        (of(json!({ "content": "form" })), "settings.content", "body"),
        (of(json!({ "timeout_ms": 0 })), "settings.timeout_ms", "60000"),
        (of(json!({ "url": "https://evil.test/" })), "settings", "beside"),
        (of(json!({ "hots": "evil.test" })), "settings", "hots"),
        (of(json!({ "bearer": "secret" })), "settings", "delivery.credentials"),
        (of(json!({ "api_key_header": "x-key" })), "settings.api_key_header", "api_key"),
        (
            with(json!({}), "credentials", json!({ "api_key": "esp-token" })),
            "settings.api_key_header",
            "header",
        ),
        (with(json!({}), "credentials", json!({ "bearer": "../esp-token" })), "credentials", "file's name"),
        (with(json!({}), "credentials", json!({ "token": "esp-token" })), "settings", "token"),
        (with(json!({}), "url", json!("https://{{ data.host }}/")), "url", ""),
        (with(json!({}), "url", json!("https://shop.test/{{ id }}")), "url", ""),
        (with(json!({}), "url", json!("https://169.254.169.254/")), "url", ""),
        (with(json!({}), "url", Value::Null), "url", "need"),
        (with(json!({}), "person", json!(["street"])), "person", "postcode"),
    ];
    let mut wrong = Vec::new();
    for (body, field, word) in table {
        let reply = shop.admin("PUT", "/admin/v1/destinations/esp", Some(&body.to_string()));
        let said = reply.json();
        let is_right = reply.status == 400
            && said["field"] == field
            && said["message"].as_str().is_some_and(|message| message.contains(word));
        wrong.extend((!is_right).then(|| format!("{body} {} {said}", reply.status)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(shop.admin("GET", "/admin/v1/destinations/esp", None).status, 404);
    close(shop);
}

#[test]
fn a_preview_shows_what_would_be_sent_and_sends_nothing() {
    let (shop, receiver) = (open(), Receiver::open());
    let preview =
        |body: Value| shop.admin("POST", "/admin/v1/destinations/esp/preview", Some(&body.to_string()));
    let mut definition = esp(
        &receiver,
        &json!({ "query": { "k": "{{ type }}" }, "body": "{\"to\": \"{{ person.first_name }}{{ data.person.first_name }}\"}" }),
    );
    definition["credentials"] = json!({ "bearer": "esp-token" });
    definition["person"] = json!(["first_name"]);
    // Before it is defined.
    let shown = preview(json!({ "definition": definition })).json();
    assert_eq!(
        (&shown["method"], &shown["url"]),
        (&json!("POST"), &json!(format!("{}?k=audience.entered", receiver.url)))
    );
    assert_eq!(shown["headers"]["authorization"], "(its credential)");
    let body: Value = serde_json::from_str(shown["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["to"], "Ann \"Annie\"");
    assert_eq!(shown["messages"][0]["data"]["audience"], "carts");
    assert_eq!(preview(json!({})).status, 404, "it is not defined");
    destination(&shop, "esp", &definition);
    for (given, status, word) in [
        (json!({}), 200, "Annie"),
        (json!({ "messages": [{ "type": "x", "data": { "person": { "first_name": "Zoë" } } }] }), 200, "Zoë"),
        (json!({ "kind": "audience.exited" }), 400, "audience.entered"),
        (json!({ "messages": [] }), 400, "1 to 100"),
        (json!({ "messages": [7] }), 400, "object"),
    ] {
        let reply = preview(given.clone());
        assert_eq!((reply.status, reply.body.contains(word)), (status, true), "{given} {reply:?}");
    }
    // The command says the same.
    let file = shop.scratch.0.with_extension("token");
    std::fs::write(&file, &shop.credentials.admin_token).unwrap();
    let messages = shop.scratch.0.with_extension("messages");
    std::fs::write(&messages, "{\"type\":\"t\",\"data\":{\"person\":{\"first_name\":\"Bob\"}}}\n").unwrap();
    let admin = format!("http://{}", shop.running.addresses().admin);
    let (done, said) = program(&[
        "destinations",
        "preview",
        "esp",
        "--messages",
        text(&messages),
        "--admin",
        &admin,
        "--token-file",
        text(&file),
    ]);
    assert!(done && said.contains("POST ") && said.contains("{\"to\": \"Bob\"}"), "{said}");
    std::fs::remove_file(file).unwrap();
    std::fs::remove_file(messages).unwrap();
    assert_eq!(receiver.got.lock().unwrap().len(), 0);
    close(shop);
}
