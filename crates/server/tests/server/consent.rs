//! What people agreed to decides what every type of destination is told, each by the category that it names.

use super::delivery::{Receiver, add, destination, open};
use super::support::{Shop, until};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

fn says(shop: &Shop, user: &str, category: &str, agrees: bool) {
    let body = json!({ "userId": user, "messageId": format!("{user} {category} {agrees}"),
        "context": { "consent": { "categoryPreferences": { category: agrees } } } });
    assert_eq!(shop.send("identify", &body.to_string()).status, 200);
}

/// The users that messages of a kind came about, by name: between people there is no order.
fn users(receiver: &Receiver, kind: &str) -> Vec<String> {
    let got = receiver.got.lock().unwrap();
    let of_kind = got.iter().filter(|(_, body)| body["type"] == kind);
    let user = |body: &Value| body["data"]["identifiers"][0]["value"].as_str().unwrap().to_owned();
    let mut users: Vec<String> = of_kind.map(|(_, body)| user(body)).collect();
    users.sort();
    users
}

fn refused(shop: &Shop, destination: &str) -> Value {
    let shown = shop.admin("GET", &format!("/admin/v1/destinations/{destination}"), None).json();
    shown["status"]["refused_by_permit"].clone()
}

fn hook(receiver: &Receiver) -> Value {
    json!({ "type": "webhook", "url": receiver.url, "class": "transactional", "identifiers": ["user_id"],
        "kinds": ["audience.entered", "audience.exited", "consent.changed"] })
}

#[test]
fn a_webhook_is_told_of_those_who_agreed_to_its_own_category() {
    let shop = open();
    let names = ["mail", "mild", "all"];
    let receivers = names.map(|_| Receiver::open());
    for (name, (receiver, consent)) in
        names.iter().zip(receivers.iter().zip(["required", "unless_denied", "not_needed"]))
    {
        let mut body = hook(receiver);
        body["consent"] = json!(consent);
        body["consent_category"] = json!("Email");
        let made = destination(&shop, name, &body);
        assert_eq!((&made["consent"], &made["consent_category"]), (&json!(consent), &json!("Email")));
    }
    // What is agreed to elsewhere is nothing here.
    says(&shop, "ann", "Email", true);
    says(&shop, "bob", "Advertising", true);
    says(&shop, "cem", "Email", false);
    ["ann", "bob", "cem"].iter().for_each(|user| add(&shop, user));
    let [mail, mild, all] = &receivers;
    until("everybody is where they may be", || {
        let of = |receiver| users(receiver, "audience.entered").len();
        (of(mail), of(mild), of(all)) == (1, 2, 3)
    });
    until("who was kept back is counted", || {
        refused(&shop, "mail") == json!({ "no_consent": 1, "consent_denied": 1 })
            && refused(&shop, "mild") == json!({ "consent_denied": 1 })
            && refused(&shop, "all") == json!({})
    });
    assert_eq!(users(mail, "audience.entered"), ["ann"]);
    assert_eq!(users(mild, "audience.entered"), ["ann", "bob"]);
    // A withdrawal is told of to who asks for it, with the audiences that they are in.
    says(&shop, "ann", "Email", false);
    let of_ann = || {
        let got = mail.got.lock().unwrap();
        let data =
            got.iter().filter(|(_, body)| body["type"] == "consent.changed").map(|(_, body)| &body["data"]);
        data.filter(|data| data["identifiers"][0]["value"] == "ann").cloned().collect::<Vec<Value>>()
    };
    until("ann's word arrives", || of_ann().len() == 2);
    let data = &of_ann()[1];
    assert_eq!((&data["category"], &data["agrees"]), (&json!("Email"), &json!(false)), "{data}");
    assert_eq!(data["audiences"], json!(["carts"]));
    until("so does cem's", || users(mail, "consent.changed").len() == 3);
    assert_eq!(users(mail, "consent.changed"), ["ann", "ann", "cem"], "bob spoke of something else");
    shop.running.stop().unwrap();
}

/// Consent is asked before every attempt, not before the first one alone.
#[test]
fn who_withdraws_between_two_attempts_is_told_of_to_nobody() {
    let (shop, receiver) = (open(), Receiver::open());
    receiver.status.store(503, Ordering::SeqCst);
    let mut body = hook(&receiver);
    body["kinds"] = json!(["audience.entered"]);
    body["consent"] = json!("required");
    destination(&shop, "mail", &body);
    says(&shop, "ann", "Advertising", true);
    add(&shop, "ann");
    let shown = || shop.admin("GET", "/admin/v1/destinations/mail", None).json();
    until("an attempt fails", || shown()["status"]["retried"].as_u64() > Some(0));
    says(&shop, "ann", "Advertising", false);
    receiver.status.store(204, Ordering::SeqCst);
    until("the permit is refused", || refused(&shop, "mail") == json!({ "consent_denied": 1 }));
    assert_eq!(users(&receiver, "audience.entered"), Vec::<String>::new());
    // A change of what is needed holds for what comes.
    body["consent"] = json!("not_needed");
    destination(&shop, "mail", &body);
    add(&shop, "bob");
    until("bob is told of", || users(&receiver, "audience.entered") == ["bob"]);
    shop.running.stop().unwrap();
}

#[test]
fn a_need_that_cannot_be_is_refused() {
    let shop = open();
    let platform = json!({ "type": "platform", "settings": { "platform": "meta_conversions", "pixel_id": "7" },
        "credentials": { "access_token": "t" }, "consent": "not_needed" });
    for (body, field) in [
        (platform, "consent"),
        (json!({ "type": "ndjson", "consent": "perhaps" }), "consent"),
        (json!({ "type": "ndjson", "person": [] }), "person"),
    ] {
        let reply = shop.admin("PUT", "/admin/v1/destinations/x", Some(&body.to_string()));
        assert_eq!((reply.status, &reply.json()["field"]), (400, &json!(field)), "{body} {reply:?}");
    }
    let long = json!({ "type": "ndjson", "consent_category": "x".repeat(65) });
    assert_eq!(shop.admin("PUT", "/admin/v1/destinations/x", Some(&long.to_string())).status, 400);
    shop.running.stop().unwrap();
}
