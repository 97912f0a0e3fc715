//! The quarantine on a real server: kept over restarts, listed, mended, sent once, gone with whom it names.

use super::support::{Shop, request, until};
use serde_json::{Value, json};
use server::serve::verify_directory;

/// The number of the first server key.
const RULES: &str = "/admin/v1/write-keys/2/rules";
const PATH: &str = "/admin/v1/quarantine";

fn plan(shop: &Shop) {
    let rules = json!({"plan": {"unplanned": "allow", "otherwise": "quarantine", "events": {"Order Completed":
        {"required": ["order_id"], "properties": {"order_id": {"type": "string"}}}}}});
    let reply = shop.admin("PUT", RULES, Some(&rules.to_string()));
    assert_eq!(reply.status, 200, "{reply:?}");
}

fn order(shop: &Shop, user: &str, number: u32) {
    let body = json!({"event": "Order Completed", "userId": user, "messageId": format!("{user}-{number}"),
        "context": {"traits": {"email": format!("{user}@example.com")}},
        "properties": {"order_id": number, "total": "20.00", "currency": "EUR"}});
    let reply = shop.send("track", &body.to_string());
    assert_eq!((reply.status, reply.json()), (200, json!({"success": true})), "{reply:?}");
}

fn list(shop: &Shop, query: &str) -> Value {
    let reply = shop.admin("GET", &format!("{PATH}{query}"), None);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn ids(list: &Value) -> Vec<u64> {
    list["quarantined"].as_array().unwrap().iter().map(|one| one["id"].as_u64().unwrap()).collect()
}

fn resend(shop: &Shop, body: &Value) -> Value {
    let reply = shop.admin("POST", &format!("{PATH}/resend"), Some(&body.to_string()));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn revenue(shop: &Shop, user: &str) -> Value {
    let reply = shop.lookup(&shop.credentials.admin_token, "user_id", user);
    if reply.status == 404 { Value::Null } else { reply.json()["revenue"][0]["value_minor"].clone() }
}

fn mapping() -> Value {
    json!([{"cast": {"at": "/order_id", "to": "string"}}])
}

#[test]
fn events_are_kept_over_restarts_mended_and_sent_once() {
    let shop = Shop::open();
    plan(&shop);
    (1..=3).for_each(|number| order(&shop, "ann", number));
    // An SDK that missed the answer sends again.
    order(&shop, "ann", 1);
    assert_eq!(revenue(&shop, "ann"), Value::Null, "it counts for nobody");
    let shop = shop.restart();
    order(&shop, "ann", 2);
    let listed = list(&shop, "");
    assert_eq!((ids(&listed), &listed["held"]), (vec![2, 1, 0], &json!(3)), "{listed}");
    let reason = json!({"write_key": 2, "event": "Order Completed", "code": "off_plan", "place": "properties.order_id",
        "reason": "properties.order_id must be string", "events": 3});
    assert_eq!(listed["reasons"], json!([reason]));
    assert!(
        !listed.to_string().contains("20.00") && !listed.to_string().contains("example.com"),
        "no values"
    );
    let page = list(&shop, "?limit=2");
    assert_eq!((ids(&page), &page["next"]), (vec![2, 1], &json!(1)));
    let page = list(&shop, "?limit=2&before=1");
    assert_eq!((ids(&page), page.get("next")), (vec![0], None));
    for (query, count) in [
        ("?event=Order%20Completed", 3),
        ("?event=Other", 0),
        ("?code=off_plan&write_key=2", 3),
        ("?write_key=1", 0),
    ] {
        assert_eq!(ids(&list(&shop, query)).len(), count, "{query}");
    }
    // One of them, whole: addresses only with the scope for them.
    let one = shop.admin("GET", &format!("{PATH}/0"), None).json();
    assert_eq!(
        (&one["message_id"], &one["properties"]["total"], &one["from_server"]),
        (&json!("ann-1"), &json!("20.00"), &json!(true))
    );
    assert!(
        !one.to_string().contains("ann@example.com") && one.to_string().contains("a***@example.com"),
        "{one}"
    );
    let clear = shop.token(&["admin", "profile:pii"]);
    let bearer = format!("Bearer {clear}");
    let admin = shop.running.addresses().admin;
    let seen = request(admin, "GET", &format!("{PATH}/0"), &[("authorization", &bearer)], None);
    assert!(seen.body.contains("ann@example.com"), "{seen:?}");
    let audit = std::fs::read_to_string(shop.scratch.0.join("audit/profile-reads.log")).unwrap_or_default();
    assert_eq!(audit.matches("quarantined_event_read").count(), 2, "{audit}");
    assert_eq!(shop.admin("GET", &format!("{PATH}/77"), None).code(), "no_such_event");
    // A dry run shows what would be, and changes nothing.
    let tried = resend(&shop, &json!({"event": "Order Completed", "mapping": mapping(), "dry_run": true}));
    assert_eq!((&tried["sent"], &tried["stayed"]), (&json!(3), &json!([])));
    let first = &tried["tried"][0];
    assert_eq!(
        (&first["before"]["order_id"], &first["after"]["order_id"], &first["fits"]),
        (&json!(1), &json!("1"), &json!(true))
    );
    assert_eq!(list(&shop, "")["held"], 3);
    // Without a mapping all stay; with one that cannot be carried out they say so.
    let none = resend(&shop, &json!({"ids": [0, 1, 2]}));
    assert_eq!((&none["sent"], none["stayed"].as_array().unwrap().len()), (&json!(0), 3));
    let wrong =
        resend(&shop, &json!({"ids": [0], "mapping": [{"cast": {"at": "/currency", "to": "number"}}]}));
    assert_eq!(wrong["stayed"][0]["code"], "mapping_failed");
    assert_eq!(list(&shop, "?code=mapping_failed")["quarantined"][0]["id"], 0, "the new reason is kept");
    // Sent once, however often it is asked for.
    let body = json!({"ids": [0, 1, 1, 55], "mapping": mapping()});
    let sent = resend(&shop, &body);
    assert_eq!((&sent["sent"], &sent["gone"], &sent["stayed"]), (&json!(2), &json!(1), &json!([])));
    assert_eq!(revenue(&shop, "ann"), 4_000);
    let again = resend(&shop, &body);
    assert_eq!((&again["sent"], &again["gone"]), (&json!(0), &json!(3)));
    order(&shop, "ann", 1);
    assert_eq!(revenue(&shop, "ann"), 4_000);
    let reply = shop.admin("POST", &format!("{PATH}/discard"), Some(r#"{"code":"off_plan"}"#));
    assert_eq!(reply.json(), json!({"discarded": 1}), "{reply:?}");
    let metrics = request(admin, "GET", "/metrics", &[], None).body;
    for line in ["events 0", "total 3", "resent_total 2", "discarded_total 1", "dropped_total 0"] {
        assert!(metrics.contains(&format!("\nthroughline_ingest_quarantined_{line}\n")), "{line}: {metrics}");
    }
    let shop = shop.restart();
    assert_eq!((revenue(&shop, "ann"), &list(&shop, "")["held"]), (json!(4_000), &json!(0)));
    let Shop { running, scratch, .. } = shop;
    running.stop().unwrap();
    let stretches = verify_directory(&scratch.config()).unwrap();
    assert!(
        !stretches.is_empty() && stretches.iter().all(engine::verify::Stretch::is_exact),
        "{stretches:?}"
    );
}

#[test]
fn what_cannot_be_meant_is_refused_by_field() {
    let shop = Shop::open();
    let table = [
        ("resend", json!({"ids": []}), 400, "ids"),
        ("resend", json!({"ids": vec![1; 1_001]}), 400, "ids"),
        ("resend", json!({"limit": 0}), 400, "limit"),
        ("resend", json!({"limit": 1_001}), 400, "limit"),
        ("resend", json!({"ids": [1], "mapping": {}}), 400, "mapping"),
        ("resend", json!({"ids": [1], "mapping": [{"drop": "/a"}]}), 400, "mapping"),
        ("resend", json!({"ids": [1], "mapping": vec![json!({"remove": "/a"}); 51]}), 400, "mapping"),
        ("resend", json!({"ids": ["1"]}), 400, ""),
        ("resend", json!({"id": [1]}), 400, ""),
        ("discard", json!({"ids": [1], "mapping": []}), 400, "mapping"),
        ("discard", json!({"ids": [1]}), 200, ""),
    ];
    for (what, body, status, field) in table {
        let reply = shop.admin("POST", &format!("{PATH}/{what}"), Some(&body.to_string()));
        assert_eq!(
            (reply.status, reply.json()["field"].as_str().unwrap_or_default()),
            (status, field),
            "{body} {reply:?}"
        );
    }
    for (query, field) in [
        ("?limit=0", "limit"),
        ("?limit=x", "limit"),
        ("?before=x", "before"),
        ("?write_key=-1", "write_key"),
    ] {
        let reply = shop.admin("GET", &format!("{PATH}{query}"), None);
        assert_eq!((reply.status, reply.json()["field"].as_str()), (400, Some(field)), "{query}");
    }
    assert_eq!(shop.admin("GET", &format!("{PATH}/x"), None).code(), "bad_id");
    // Not everybody may look.
    let reader = format!("Bearer {}", shop.token(&["profile:read", "profile:pii"]));
    let reply = request(shop.running.addresses().admin, "GET", PATH, &[("authorization", &reader)], None);
    assert_eq!(reply.status, 403, "{reply:?}");
    shop.running.stop().unwrap();
}

/// Beyond the bound of the configuration the oldest go.
#[test]
fn the_quarantine_keeps_to_its_bound() {
    let scratch = super::support::Scratch::new();
    let mut config = scratch.config();
    config.ingest.quarantine_events_max = 5;
    let shop = Shop::with(scratch, config, server::serve::StartOptions::default());
    plan(&shop);
    (0..12).for_each(|number| order(&shop, "ann", number));
    let listed = list(&shop, "");
    assert_eq!((ids(&listed), &listed["dropped"]), (vec![11, 10, 9, 8, 7], &json!(7)));
    let gone = resend(&shop, &json!({"ids": [0, 11], "mapping": mapping()}));
    assert_eq!((&gone["sent"], &gone["gone"]), (&json!(1), &json!(1)));
    shop.running.stop().unwrap();
}

#[test]
fn an_event_that_names_the_erased_goes_with_them() {
    let shop = Shop::open();
    shop.order("canary-jane", "o-1", "shoe");
    plan(&shop);
    order(&shop, "canary-jane", 5);
    order(&shop, "john", 6);
    let reader = shop.token(&["profile:read"]);
    let id = shop.lookup(&reader, "user_id", "canary-jane").json()["id"].as_str().unwrap().to_owned();
    assert_eq!(shop.admin("POST", &format!("/admin/v1/profiles/{id}/erase"), None).status, 200);
    let listed = list(&shop, "");
    assert_eq!((ids(&listed), &listed["erased"]), (vec![1], &json!(1)), "the row goes at once");
    let late = resend(&shop, &json!({"ids": [0], "mapping": mapping()}));
    assert_eq!((&late["sent"], &late["gone"]), (&json!(0), &json!(1)));
    until("the erasure", || {
        let erasure = &shop.status()["erasure"];
        erasure["pending"] == 0 && erasure["done_before_position"].as_u64().unwrap() > 0
    });
    assert_eq!(shop.status()["erasure"]["records_emptied"], 2, "the order, and the event in quarantine");
    let shop = shop.restart();
    // What is somebody else's is there, and can be sent.
    assert_eq!(resend(&shop, &json!({"ids": [1], "mapping": mapping()}))["sent"], 1);
    assert_eq!(revenue(&shop, "john"), 2_000);
    let Shop { running, scratch, .. } = shop;
    running.stop().unwrap();
    assert_eq!(traces(&scratch.0, b"canary-jane"), Vec::<String>::new());
    let stretches = verify_directory(&scratch.config()).unwrap();
    assert!(
        !stretches.is_empty() && stretches.iter().all(engine::verify::Stretch::is_exact),
        "{stretches:?}"
    );
}

/// Files in which a needle stands.
fn traces(folder: &std::path::Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(traces(&path, needle));
        } else if memchr::memmem::find(&std::fs::read(&path).unwrap(), needle).is_some() {
            found.push(path.display().to_string());
        }
    }
    found
}
