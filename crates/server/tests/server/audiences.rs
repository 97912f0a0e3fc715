//! Audiences through the door of operators: defined, found for everybody who was there, explained, removed.

use super::support::{Shop, until};
use serde_json::{Value, json};

fn put(shop: &Shop, name: &str, body: &Value) -> super::support::Reply {
    shop.admin("PUT", &format!("/admin/v1/audiences/{name}"), Some(&body.to_string()))
}

fn audience(shop: &Shop, name: &str) -> Value {
    shop.admin("GET", &format!("/admin/v1/audiences/{name}"), None).json()
}

fn is_found(shop: &Shop, name: &str) -> bool {
    audience(shop, name)["backfill"].is_null()
}

fn explain(shop: &Shop, name: &str, user: &str) -> Value {
    let body = json!({ "identifier": { "type": "user_id", "value": user } }).to_string();
    shop.admin("POST", &format!("/admin/v1/audiences/{name}/explain"), Some(&body)).json()
}

fn track(shop: &Shop, user: &str, event: &str, id: &str) {
    let body = format!(
        r#"{{"userId":"{user}","anonymousId":"browser of {user}","event":"{event}","messageId":"{id}","properties":{{"category":"shoes"}}}}"#
    );
    assert_eq!(shop.send("track", &body).status, 200);
}

#[test]
fn an_audience_is_found_for_everybody_who_was_there_before_it() {
    let shop = Shop::open();
    for user in 0..300 {
        track(&shop, &format!("u{user}"), "Product Viewed", &format!("view {user}"));
        if user % 3 == 0 {
            track(&shop, &format!("u{user}"), "Product Added", &format!("add {user}"));
            // The same message again is one event.
            track(&shop, &format!("u{user}"), "Product Added", &format!("add {user}"));
        }
    }
    let rule = json!({ "rule": r#"count("Product Added", "7d", category == "shoes") == 1"# });
    let defined = put(&shop, "one%20added", &rule);
    assert_eq!((defined.status, &defined.json()["version"]), (200, &json!(1)), "{defined:?}");
    until("the audience is found", || is_found(&shop, "one%20added"));
    assert_eq!(audience(&shop, "one%20added")["members"], 100);
    assert_eq!(audience(&shop, "one%20added")["features"][0]["granule_s"], 21_600);
    // It follows what happens, and a restart changes nothing.
    track(&shop, "u0", "Product Added", "again");
    track(&shop, "u1", "Product Added", "first");
    track(&shop, "u2", "Product Added", "first too");
    let shop = shop.restart();
    let now = audience(&shop, "one%20added");
    assert_eq!((&now["members"], &now["entries"], &now["exits"]), (&json!(101), &json!(102), &json!(1)));
    let (inside, outside) = (explain(&shop, "one%20added", "u1"), explain(&shop, "one%20added", "u0"));
    assert_eq!((&inside["member"], &outside["member"]), (&json!(true), &json!(false)));
    assert!(outside["parts"].to_string().contains("\"2\""), "{outside}");
    let token = shop.token(&["profile:read"]);
    assert_eq!(shop.lookup(&token, "user_id", "u1").json()["audiences"], json!(["one added"]));
    // Removed, everybody leaves it.
    assert_eq!(shop.admin("DELETE", "/admin/v1/audiences/one%20added", None).status, 200);
    until("everybody left", || shop.lookup(&token, "user_id", "u1").json()["audiences"] == json!([]));
    let verified = shop.running.verify().unwrap();
    assert!(verified.iter().all(|stretch| stretch.is_exact()), "{verified:?}");
    shop.running.stop().unwrap();
}

/// Defined all at once, over people who did things before; the server stops at a moment that nobody chose, twice.
#[test]
fn audiences_that_are_found_together_are_those_that_were_there_before() {
    let shop = Shop::open();
    let rules = |own: &str| {
        [
            format!(r#"count("Product Added", category == "shoes" || category == "{own}") > 1"#),
            format!(r#"count("Product Viewed", "7d", category != "{own}") == 1"#),
            format!(r#"distinct("Product Added", "category", "30d", name != "{own}") == 0"#),
            format!(r#"audience("{own} 0") && !audience("{own} 1")"#),
            r#"consent("Advertising")"#.to_owned(),
        ]
    };
    let define_all = |shop: &Shop, own: &str| {
        for (number, rule) in rules(own).iter().enumerate() {
            let defined = put(shop, &format!("{own}%20{number}"), &json!({ "rule": rule }));
            assert_eq!(defined.status, 200, "{defined:?}");
        }
    };
    let all_found =
        |shop: &Shop, own: &str| (0..5).all(|number| is_found(shop, &format!("{own}%20{number}")));
    define_all(&shop, "early");
    until("the early ones are found", || all_found(&shop, "early"));
    for user in 0..120 {
        for view in 0..user % 3 {
            track(&shop, &format!("u{user}"), "Product Viewed", &format!("view {user} {view}"));
        }
        for add in 0..user % 4 {
            track(&shop, &format!("u{user}"), "Product Added", &format!("add {user} {add}"));
        }
    }
    define_all(&shop, "late");
    let shop = shop.restart().restart();
    track(&shop, "u3", "Product Viewed", "one more");
    until("the late ones are found", || all_found(&shop, "late"));
    for number in 0..5 {
        let members = |own: &str| audience(&shop, &format!("{own}%20{number}"))["members"].clone();
        assert_eq!(members("early"), members("late"), "{}", rules("late")[number]);
        assert!(number == 4 || members("late").as_u64() > Some(10), "{}", rules("late")[number]);
    }
    let token = shop.token(&["profile:read"]);
    for user in 0..120 {
        let read = shop.lookup(&token, "user_id", &format!("u{user}")).json();
        let names = read["audiences"].as_array().cloned().unwrap_or_default();
        let of = |own: &str| -> Vec<String> {
            names.iter().filter_map(|name| name.as_str()?.strip_prefix(own)).map(str::to_owned).collect()
        };
        assert_eq!(of("early"), of("late"), "u{user}");
    }
    let verified = shop.running.verify().unwrap();
    assert!(verified.iter().all(|stretch| stretch.is_exact()), "{verified:?}");
    shop.running.stop().unwrap();
}

#[test]
fn an_audience_that_suppresses_holds_back_everywhere() {
    let shop = Shop::open();
    track(&shop, "angry", "Complaint Filed", "1");
    let body = json!({ "rule": r#"count("Complaint Filed") > 0"#, "suppress": { "everything": true } });
    assert_eq!(put(&shop, "complained", &body).status, 200);
    until("it is found", || is_found(&shop, "complained"));
    let decided = shop.decide("anonymous_id", "browser of angry", "anything");
    assert_eq!((&decided["suppressed"], &decided["why"]), (&json!(true), &json!("audience")));
    assert_eq!(decided["audience"], "complained");
    assert_eq!(shop.decide("user_id", "calm", "anything")["suppressed"], false);
    shop.running.stop().unwrap();
}

#[test]
fn what_cannot_be_defined_is_refused_with_its_place() {
    let shop = Shop::open();
    let refused = put(&shop, "x", &json!({ "rule": "count(\"View\") > 0 &&\n tarits.plan == 1" }));
    assert_eq!((refused.status, refused.code().as_str()), (422, "bad_definition"), "{refused:?}");
    let problem = refused.json();
    assert_eq!(problem["rule_code"], "rule_unknown_name");
    assert!(problem["excerpt"].as_str().unwrap().contains("^^^^^^"), "{problem}");
    assert!(problem["message"].as_str().unwrap().contains("line 2"), "{problem}");
    for (body, status, code) in [
        (json!({ "rule": "true", "version": 3 }), 409, "conflict"),
        (json!({ "rule": "true", "suppress": {} }), 400, "bad_value"),
        (json!({ "rule": "true", "suppress": { "everything": true, "category": "x" } }), 400, "bad_value"),
        (json!({ "role": "true" }), 400, "bad_body"),
        (json!({ "rule": "now() > 1" }), 422, "bad_definition"),
    ] {
        let refused = put(&shop, "x", &body);
        assert_eq!((refused.status, refused.code().as_str()), (status, code), "{body}");
    }
    let tried = shop.admin("PUT", "/admin/v1/audiences/x?dry_run=true", Some(r#"{"rule":"true"}"#));
    assert_eq!((tried.status, &tried.json()["dry_run"]), (200, &json!(true)));
    assert_eq!(shop.admin("GET", "/admin/v1/audiences/x", None).code(), "no_such_definition");
    assert_eq!(shop.admin("DELETE", "/admin/v1/audiences/x", None).code(), "no_such_definition");
    // A feature with a name, and what uses it.
    let feature = shop.admin("PUT", "/admin/v1/features/views", Some(r#"{"expression":"count(\"View\")"}"#));
    assert_eq!(feature.status, 200, "{feature:?}");
    assert_eq!(put(&shop, "x", &json!({ "rule": "feature(\"views\") > 2" })).status, 200);
    until("it is found", || is_found(&shop, "x"));
    let used = shop.admin("DELETE", "/admin/v1/features/views", None);
    assert_eq!((used.status, used.code().as_str()), (409, "conflict"));
    shop.running.stop().unwrap();
}
