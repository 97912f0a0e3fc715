//! Ad platforms as destinations: audiences and conversions reach a stand-in with what the platform wants, credentials
//! come from files, and limits are kept.

use super::delivery::{Receiver, add, destination};
use super::support::{Scratch, Shop, until};
use serde_json::{Value, json};
use server::serve::StartOptions;
use std::sync::atomic::Ordering;

const TOKEN: &str = "EAAB-of-the-test";
/// `printf ann@shop.test | sha256sum`.
const ANN_SHA256: &str = "a25a44bc8224feb3a35d541f1d4f66b43c67be44771f512adf3457e24b03bd6c";

/// A shop with an audience, and a folder of credentials.
fn open() -> Shop {
    let scratch = Scratch::new();
    let mut config = scratch.config();
    config.delivery.allow = "127.0.0.0/8+http".to_owned();
    let folder = scratch.0.with_extension("credentials");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("meta-token"), format!("{TOKEN}\n")).unwrap();
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

fn base(receiver: &Receiver) -> String {
    receiver.url.trim_end_matches("/hook").to_owned()
}

fn identify(shop: &Shop, user: &str, email: &str) {
    let body = format!(r#"{{"userId":"{user}","messageId":"is {user}","traits":{{"email":"{email}"}}}}"#);
    assert_eq!(shop.send("identify", &body).status, 200);
}

fn meta_list(receiver: &Receiver) -> Value {
    json!({ "type": "platform", "class": "transactional", "audiences": ["carts"],
        "kinds": ["audience.entered", "audience.exited", "profile.merged", "profile.erased"],
        "identifiers": ["email"], "flush_after_ms": 50,
        "settings": { "platform": "meta_audience", "lists": { "carts": "2385" }, "base_url": base(receiver) },
        "credentials": { "access_token": "meta-token" } })
}

#[test]
fn who_enters_and_leaves_an_audience_is_put_into_the_platforms_list_and_taken_out() {
    let (shop, receiver) = (open(), Receiver::open());
    receiver.status.store(200, Ordering::SeqCst);
    *receiver.says.lock().unwrap() =
        r#"{"audience_id":"2385","num_received":1,"num_invalid_entries":0}"#.to_owned();
    let made = destination(&shop, "meta", &meta_list(&receiver));
    assert_eq!(
        (&made["type"], &made["flush_after_ms"], &made["secret"]),
        (&json!("platform"), &json!(50), &Value::Null)
    );
    assert!(!made.to_string().contains(TOKEN), "{made}");
    identify(&shop, "ann", "Ann@Shop.Test");
    add(&shop, "ann");
    let calls = || receiver.got.lock().unwrap().clone();
    until("ann is put in", || calls().len() == 1);
    let (head, put) = calls()[0].clone();
    assert!(head.starts_with("post /2385/users "), "{head}");
    assert!(head.contains(&format!("authorization: bearer {}", TOKEN.to_lowercase())), "{head}");
    assert_eq!(put["payload"]["data"][0][0], ANN_SHA256, "{put}");
    let body = r#"{"userId":"ann","event":"Order Completed","messageId":"buy","properties":{"order_id":"1","total":5}}"#;
    assert_eq!(shop.send("track", body).status, 200);
    until("ann is taken out", || calls().len() == 2);
    let (head, taken) = calls()[1].clone();
    assert!(head.starts_with("delete /2385/users "), "{head}");
    assert_eq!(taken["payload"]["data"][0][0], ANN_SHA256);
    close(shop);
}

#[test]
fn an_order_becomes_one_conversion_with_its_value_and_its_own_id() {
    let (shop, receiver) = (open(), Receiver::open());
    receiver.status.store(200, Ordering::SeqCst);
    *receiver.says.lock().unwrap() = r#"{"events_received":1}"#.to_owned();
    let made = json!({ "type": "platform", "class": "transactional", "events": ["Order Completed"],
        "identifiers": ["email", "user_id"], "flush_after_ms": 50,
        "settings": { "platform": "meta_conversions", "pixel_id": "77", "base_url": base(&receiver) },
        "credentials": { "access_token": "meta-token" } });
    destination(&shop, "conversions", &made);
    identify(&shop, "ann", "ann@shop.test");
    add(&shop, "ann");
    let order = json!({ "userId": "ann", "event": "Order Completed", "messageId": "m1",
        "context": { "page": { "url": "https://shop.test/thanks" }, "userAgent": "Mozilla/5.0" },
        "properties": { "order_id": "A-1", "total": 49.9, "currency": "EUR",
            "products": [{ "product_id": "sku-1", "quantity": 2, "price": 24.95 }] } });
    assert_eq!(shop.send("track", &order.to_string()).status, 200);
    let calls = || receiver.got.lock().unwrap().clone();
    until("the order arrives", || calls().len() == 1);
    let (head, call) = calls()[0].clone();
    assert!(head.starts_with("post /77/events "), "{head}");
    let sent = &call["data"][0];
    assert_eq!((&sent["event_name"], &sent["event_id"]), (&json!("Purchase"), &json!("A-1")), "{call}");
    assert_eq!(sent["action_source"], "website");
    assert_eq!(sent["event_source_url"], "https://shop.test/thanks");
    assert_eq!(sent["user_data"]["em"], json!([ANN_SHA256]));
    assert_eq!(
        (&sent["custom_data"]["value"], &sent["custom_data"]["currency"]),
        (&json!(49.9), &json!("eur"))
    );
    assert_eq!(sent["custom_data"]["contents"][0]["id"], "sku-1");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(calls().len(), 1, "what it did not ask for was not sent: {:?}", calls());
    close(shop);
}

#[test]
fn what_cannot_work_is_refused_in_words_and_a_missing_credential_is_a_problem_that_heals() {
    let (shop, receiver) = (open(), Receiver::open());
    let good = meta_list(&receiver);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut body = good.clone();
        change(&mut body);
        body
    };
    let table: Vec<(Value, &str, &str)> = vec![
        (changed(&|body| body["settings"] = Value::Null), "settings", "needs settings"),
        (changed(&|body| body["settings"]["platform"] = json!("myspace")), "settings", "meta_audience"),
        (changed(&|body| body["settings"]["lits"] = json!({})), "settings", "lits"),
        (changed(&|body| body["settings"]["access_token"] = json!("EAAB")), "settings", "credentials"),
        (
            changed(&|body| {
                body["settings"]["access_token"] = json!("EAAB");
                body["credentials"] = json!({});
            }),
            "settings",
            "delivery.credentials",
        ),
        (changed(&|body| body["credentials"] = json!({})), "settings", "access_token"),
        (
            changed(&|body| body["credentials"]["access_token"] = json!("../meta-token")),
            "credentials",
            "file's name",
        ),
        (changed(&|body| body["url"] = json!("https://graph.test")), "url", "base_url"),
        (changed(&|body| body["type"] = json!("webhook")), "settings", "platforms"),
        (changed(&|body| body["concurrency_max"] = json!(0)), "concurrency_max", "1 to 1000"),
        (changed(&|body| body["attempts_per_second"] = json!(0)), "attempts_per_second", "at least 1"),
        (changed(&|body| body["flush_after_ms"] = json!(600_001)), "flush_after_ms", "at most"),
    ];
    for (body, field, word) in table {
        let reply = shop.admin("PUT", "/admin/v1/destinations/meta", Some(&body.to_string()));
        let shown = reply.json();
        assert_eq!(reply.status, 400, "{body} -> {shown}");
        assert_eq!(shown["field"], field, "{body} -> {shown}");
        assert!(shown["message"].as_str().unwrap().contains(word), "{body} -> {shown}");
        assert!(!shown.to_string().contains("EAAB"), "{shown}");
    }
    let missing = changed(&|body| body["credentials"]["access_token"] = json!("new-token"));
    destination(&shop, "meta", &missing);
    let shown = || shop.admin("GET", "/admin/v1/destinations/meta", None).json();
    until("the problem is shown", || {
        shown()["problem"].as_str().is_some_and(|problem| problem.contains("new-token"))
    });
    let folder = shop.scratch.0.with_extension("credentials");
    std::fs::write(folder.join("new-token"), TOKEN).unwrap();
    until("it heals by itself", || shown()["problem"].is_null() && !shown()["status"].is_null());
    close(shop);
}
