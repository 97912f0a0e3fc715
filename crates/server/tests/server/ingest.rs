//! The ingest door on a real server: what browsers ask first, the rules of keys, and what a public key cannot do.

use super::support::{Reply, Shop, request};
use serde_json::{Value, json};

/// The number of the first browser key.
const RULES: &str = "/admin/v1/write-keys/1/rules";

fn as_browser(shop: &Shop, call: &str, body: &Value) -> Reply {
    shop.send_as(&shop.credentials.browser_write_key, call, &body.to_string(), &[])
}

fn as_server(shop: &Shop, call: &str, body: &Value) {
    let reply = shop.send(call, &body.to_string());
    assert_eq!(reply.status, 200, "{reply:?}");
}

fn profile(shop: &Shop, kind: &str, value: &str) -> Value {
    let reply = shop.lookup(&shop.credentials.admin_token, kind, value);
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

#[test]
fn sdks_for_browsers_get_their_settings() {
    let shop = Shop::open();
    let (ingest, key) = (shop.running.addresses().ingest, &shop.credentials.browser_write_key);
    let settings = request(ingest, "GET", &format!("/v1/projects/{key}/settings"), &[], None);
    assert_eq!(settings.status, 200, "{settings:?}");
    let segment = &settings.json()["integrations"]["Segment.io"];
    assert_eq!((&segment["apiKey"], &segment["apiHost"]), (&json!(key), &json!(format!("{ingest}/v1"))));
    let source = request(ingest, "GET", &format!("/sourceConfig/?writeKey={key}"), &[], None);
    assert_eq!((source.status, &source.json()["source"]["enabled"]), (200, &json!(true)));
    assert_eq!(shop.admin("DELETE", "/admin/v1/write-keys/1", None).status, 200);
    let source = request(ingest, "GET", &format!("/sourceConfig/?writeKey={key}"), &[], None);
    assert_eq!((source.status, &source.json()["source"]["enabled"]), (200, &json!(false)));
    shop.running.stop().unwrap();
}

#[test]
fn rules_of_a_key_hold_at_once_and_after_a_restart() {
    let shop = Shop::open();
    let track =
        |name: &str| json!({"event": name, "userId": "u", "messageId": name, "properties": {"sku": 1}});
    let rules = json!({"events": ["A", "B"], "events_per_s": 1000, "burst_events": 1000, "plan": {
        "unplanned": "allow", "otherwise": "block",
        "events": {"B": {"properties": {"sku": {"type": "string"}}}}}});
    assert_eq!(shop.admin("GET", RULES, None).json(), json!({}));
    let reply = shop.admin("PUT", RULES, Some(&rules.to_string()));
    assert_eq!(reply.status, 200, "{reply:?}");
    let shop = shop.restart();
    assert_eq!(shop.admin("GET", RULES, None).json(), rules);
    for name in ["A", "B", "C"] {
        let reply = as_browser(&shop, "track", &track(name));
        assert_eq!((reply.status, reply.json()), (200, json!({"success": true})), "{name}");
    }
    as_server(&shop, "track", &track("C"));
    let events = &profile(&shop, "user_id", "u")["events"];
    assert_eq!(events, 2, "A of the browser's key, C of the server's");
    let listed = shop.admin("GET", "/admin/v1/set-aside", None).json();
    let seen: Vec<_> = listed["set_aside"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["event"].as_str().unwrap(), event["code"].as_str().unwrap()))
        .collect();
    assert_eq!(seen, [("C", "event_not_listed"), ("B", "off_plan")]);
    assert_eq!(listed["total"], 2);
    let metrics = request(shop.running.addresses().admin, "GET", "/metrics", &[], None);
    assert!(metrics.body.contains("\nthroughline_ingest_set_aside_total 2\n"), "{}", metrics.body);
    // What cannot be meant is refused, and changes nothing.
    for (body, field) in [
        (json!({"plan": {"events": {"B": {"pattern": "x"}}}}), "plan"),
        (json!({"origins": ["shop.example"]}), "origins"),
        (json!({"events_per_s": 0}), "events_per_s"),
    ] {
        let reply = shop.admin("PUT", RULES, Some(&body.to_string()));
        assert_eq!((reply.status, reply.json()["field"].as_str()), (400, Some(field)), "{reply:?}");
    }
    assert_eq!(shop.admin("GET", RULES, None).json(), rules);
    assert_eq!(shop.admin("PUT", "/admin/v1/write-keys/9/rules", Some("{}")).status, 404);
    assert_eq!(shop.admin("PUT", RULES, Some("{}")).status, 200);
    assert_eq!(as_browser(&shop, "track", &json!({"event": "D", "userId": "u"})).status, 200);
    assert_eq!(profile(&shop, "user_id", "u")["events"], 3);
    shop.running.stop().unwrap();
}

/// Everybody has the key of a page.
#[test]
fn a_browser_key_cannot_unite_alias_loosen_or_read() {
    let shop = Shop::open();
    let consent = |agreed: bool| json!({"consent": {"categoryPreferences": {"Advertising": agreed}}});
    for user in ["ann", "bob"] {
        let email = format!("{user}@example.com");
        as_server(
            &shop,
            "identify",
            &json!({"userId": user, "messageId": user, "traits": {"email": email}, "context": consent(false)}),
        );
    }
    let (ann, bob) = (profile(&shop, "user_id", "ann"), profile(&shop, "user_id", "bob"));
    assert_ne!(ann["id"], bob["id"]);
    assert_eq!(ann["consent"]["Advertising"], false);
    let attempts = [
        ("identify", json!({"userId": "ann", "traits": {"email": "bob@example.com"}})),
        ("identify", json!({"userId": "ann", "anonymousId": "device-1"})),
        ("identify", json!({"userId": "bob", "anonymousId": "device-1"})),
        ("alias", json!({"userId": "ann", "previousId": "bob"})),
        ("alias", json!({"userId": "bob", "previousId": "ann"})),
        (
            "track",
            json!({"event": "E", "userId": "ann", "context": {"traits": {"email": "bob@example.com"}}}),
        ),
        (
            "track",
            json!({"event": "E", "userId": "ann", "context": {"externalIds": [{"type": "email", "id": "bob@example.com"}]}}),
        ),
        (
            "group",
            json!({"userId": "ann", "groupId": "g", "context": {"traits": {"email": "bob@example.com"}}}),
        ),
        ("page", json!({"userId": "ann", "context": consent(true)})),
        (
            "identify",
            json!({"anonymousId": "device-2", "traits": {"email": "ann@example.com"}, "context": consent(true)}),
        ),
        (
            "batch",
            json!({"batch": [{"type": "alias", "userId": "ann", "previousId": "bob"}], "context": consent(true)}),
        ),
        (
            "track",
            json!({"event": "Order Completed", "userId": "ann", "properties": {"order_id": "o", "total": 999, "currency": "EUR"}}),
        ),
    ];
    for (call, body) in &attempts {
        let reply = as_browser(&shop, call, body);
        // Taken as what it is, a claim: and whatever it is about, the answer tells nothing.
        assert_eq!((reply.status, reply.json()), (200, json!({"success": true})), "{call} {body}");
        assert!(!reply.head.contains("set-cookie"), "{}", reply.head);
    }
    let ingest = shop.running.addresses().ingest;
    let image = format!(
        "/pixel/v1/track?writeKey={}&event=E&userId=ann&context.traits.email=bob%40example.com",
        shop.credentials.server_write_key
    );
    assert_eq!(request(ingest, "GET", &image, &[], None).status, 200);
    for (kind, own, id) in [
        ("user_id", "ann", &ann["id"]),
        ("email", "ann@example.com", &ann["id"]),
        ("user_id", "bob", &bob["id"]),
        ("email", "bob@example.com", &bob["id"]),
    ] {
        let now = profile(&shop, kind, own);
        assert_eq!(&now["id"], id, "{own} is somebody else now");
        assert_eq!(now["consent"]["Advertising"], false, "a claim loosened the consent of {own}");
        assert_eq!(now["revenue"], json!([]), "a claim brought {own} revenue");
    }
    // Nothing can be read with the key.
    let key = &shop.credentials.browser_write_key;
    let lookup = r#"{"identifier":{"type":"user_id","value":"ann"}}"#;
    let addresses = shop.running.addresses();
    for scheme in ["Bearer", "Basic"] {
        let authorization = format!("{scheme} {key}");
        let headers = [("authorization", authorization.as_str())];
        for (address, method, path, body) in [
            (addresses.profiles, "POST", "/v1/profiles/lookup", Some(lookup)),
            (addresses.profiles, "GET", "/feed/v1", None),
            (addresses.admin, "GET", "/admin/v1/write-keys", None),
            (addresses.admin, "GET", "/admin/v1/quarantine", None),
        ] {
            let reply = request(address, method, path, &headers, body);
            assert_eq!((reply.status, reply.code().as_str()), (401, "unauthorized"), "{path}");
        }
    }
    shop.running.stop().unwrap();
}
