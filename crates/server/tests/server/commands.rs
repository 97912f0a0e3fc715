//! Commands: done once however often they are sent, and in force when they are answered.

use super::support::{Reply, Shop};
use serde_json::json;

fn with_key(shop: &Shop, method: &str, path: &str, body: &str, key: &str) -> Reply {
    shop.admin_with(method, path, Some(body), &[("idempotency-key", key)])
}

#[test]
fn a_repeated_command_is_done_once_and_answered_alike() {
    let shop = Shop::open();
    let token = r#"{"name":"reader","scopes":["decide"]}"#;
    let write_key = r#"{"name":"app","kind":"browser"}"#;
    let first = with_key(&shop, "POST", "/admin/v1/tokens", token, "k1");
    let made = with_key(&shop, "POST", "/admin/v1/write-keys", write_key, "k2");
    assert_eq!((first.status, made.status), (201, 201), "{first:?} {made:?}");
    let version = shop.admin("DELETE", "/admin/v1/tokens/1", None).status;
    assert_eq!(version, 404);
    let shop = shop.restart();
    assert_eq!(with_key(&shop, "POST", "/admin/v1/tokens", token, "k1").body, first.body);
    assert_eq!(with_key(&shop, "POST", "/admin/v1/write-keys", write_key, "k2").body, made.body);
    let tokens = shop.admin("GET", "/admin/v1/tokens", None).json();
    assert_eq!(tokens["tokens"].as_array().unwrap().len(), 2, "the first admin's and one more");
    assert!(!tokens.to_string().contains("tlt_"), "no secret is listed");
    let other = with_key(&shop, "POST", "/admin/v1/tokens", r#"{"name":"x","scopes":["admin"]}"#, "k1");
    assert_eq!((other.status, other.code().as_str()), (409, "idempotency_conflict"));
    let long = "k".repeat(129);
    assert_eq!(with_key(&shop, "POST", "/admin/v1/tokens", token, &long).code(), "bad_request");
    // Without a key every request is a new one.
    let (one, two) = (shop.token(&["decide"]), shop.token(&["decide"]));
    assert_ne!(one, two);
    shop.running.stop().unwrap();
}

#[test]
fn keys_and_tokens_are_in_force_and_out_of_it_at_once() {
    let shop = Shop::open();
    let made = shop.admin("POST", "/admin/v1/write-keys", Some(r#"{"name":"b","kind":"browser"}"#)).json();
    let (key, number) = (made["key"].as_str().unwrap(), made["number"].as_u64().unwrap());
    assert_eq!((&made["value_counts"], &made["enabled"]), (&false.into(), &true.into()));
    let event = |id: &str| format!(r#"{{"anonymousId":"a","event":"Seen","messageId":"{id}"}}"#);
    assert_eq!(shop.send_as(key, "track", &event("1"), &[]).status, 200);
    assert_eq!(shop.send_as("tlw_unknown", "track", &event("2"), &[]).status, 401);
    assert_eq!(shop.admin("DELETE", &format!("/admin/v1/write-keys/{number}"), None).status, 200);
    assert_eq!(shop.send_as(key, "track", &event("3"), &[]).status, 404);
    let listed = shop.admin("GET", "/admin/v1/write-keys", None).json();
    let disabled = listed["write_keys"].as_array().unwrap().iter().find(|one| one["number"] == number);
    assert_eq!(disabled.unwrap()["enabled"], false);

    let reader = shop.token(&["profile:read"]);
    assert_eq!(shop.lookup(&reader, "anonymous_id", "a").status, 200);
    let listed = shop.admin("GET", "/admin/v1/tokens", None).json();
    let number =
        listed["tokens"].as_array().unwrap().iter().find(|one| one["name"] == "test").unwrap()["number"]
            .as_u64()
            .unwrap();
    assert_eq!(shop.admin("DELETE", &format!("/admin/v1/tokens/{number}"), None).status, 200);
    assert_eq!(shop.lookup(&reader, "anonymous_id", "a").status, 401);
    shop.running.stop().unwrap();
}

#[test]
fn rules_of_identity_reach_the_door() {
    let shop = Shop::open();
    let mut identity = shop.admin("GET", "/admin/v1/settings/identity", None).json();
    let card = json!({ "number": 20, "name": "loyalty_card", "priority": 4, "cap": 2, "window": "year", "unique": false });
    identity["kinds"].as_array_mut().unwrap().push(card);
    let reply = shop.admin("PUT", "/admin/v1/settings/identity", Some(&identity.to_string()));
    assert_eq!(reply.status, 200, "{reply:?}");
    let event = r#"{"userId":"jane","event":"Seen","messageId":"1","context":{"externalIds":[
        {"id":"C-77","type":"loyalty_card","collection":"users","encoding":"none"}]}}"#;
    assert_eq!(shop.send("track", event).status, 200);
    let found = shop.lookup(&shop.token(&["profile:read"]), "loyalty_card", "C-77").json();
    assert_eq!(found["identifiers"].as_array().unwrap().len(), 2, "{found}");
    identity["kinds"][0]["window"] = "century".into();
    let refused = shop.admin("PUT", "/admin/v1/settings/identity", Some(&identity.to_string()));
    assert_eq!((refused.status, refused.json()["field"].as_str()), (400, Some("window")));
    shop.running.stop().unwrap();
}

#[test]
fn an_unmerge_parts_people_again() {
    let shop = Shop::open();
    shop.order("jane", "o-1", "shoe");
    let together =
        r#"{"userId":"jane","event":"Seen","messageId":"m","context":{"traits":{"phone":"+4930123456"}}}"#;
    assert_eq!(shop.send("track", together).status, 200);
    let reader = shop.token(&["profile:read"]);
    let whole = shop.lookup(&reader, "user_id", "jane").json();
    let id = whole["id"].as_str().unwrap();
    let both =
        r#"{"identifiers":[{"type":"user_id","value":"jane"},{"type":"phone","value":"+49 30 123456"}]}"#;
    let path = format!("/admin/v1/profiles/{id}/unmerge");
    shop.order("stranger", "o-2", "hat");
    let stranger = shop.lookup(&reader, "user_id", "stranger").json()["id"].as_str().unwrap().to_owned();
    for (whose, status) in [(stranger.as_str(), 409), ("prf_00000000000000000000000000000001", 404)] {
        let wrong = shop.admin("POST", &format!("/admin/v1/profiles/{whose}/unmerge"), Some(both));
        assert_eq!(wrong.status, status, "{wrong:?}");
    }
    let parted = with_key(&shop, "POST", &path, both, "unmerge");
    assert_eq!(parted.json()["profiles"].as_array().unwrap().len(), 2, "{parted:?}");
    assert_eq!(parted.json()["parted"], true);
    let again = with_key(&shop, "POST", &path, both, "unmerge");
    assert_eq!((again.status, &again.body), (200, &parted.body), "a repetition is answered alike");
    assert_eq!(shop.decide("user_id", "jane", "shoe")["suppressed"], true);
    assert_eq!(shop.decide("phone", "+4930123456", "shoe")["suppressed"], false);
    assert_eq!(shop.admin("POST", &path, Some(both)).status, 409, "they are not joined any more");
    assert_eq!(shop.admin("POST", &path, Some("{}")).code(), "bad_value");
    assert_eq!(shop.status()["profiles"], 3);
    let outbox = shop.admin("GET", "/admin/v1/outbox?limit=1", None).json();
    assert_eq!(outbox["effects"].as_array().unwrap().len(), 1);
    let next = outbox["next"].as_str().unwrap();
    let rest = shop.admin("GET", &format!("/admin/v1/outbox?after={next}"), None).json();
    assert!(
        rest["effects"].as_array().unwrap().iter().any(|effect| effect["kind"] == "profile_unmerged"),
        "{rest}"
    );
    shop.running.stop().unwrap();
}
