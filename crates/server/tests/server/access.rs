//! Who may do what, and what a wrong request is told. Every documented path is called here.

use super::support::{Reply, Shop, raw, request};
use serde_json::Value;
use std::io::Write as _;
use std::net::SocketAddr;

const SOMEBODY: &str = "prf_00000000000000000000000000000001";

/// A body that each operation takes.
fn body(path: &str, method: &str) -> Option<&'static str> {
    Some(match (method, path) {
        ("POST", "/v1/decide") => r#"{"identifiers":[{"type":"user_id","value":"u"}]}"#,
        ("POST", "/v1/profiles/lookup") => r#"{"identifier":{"type":"user_id","value":"jane"}}"#,
        ("POST", "/admin/v1/write-keys") => r#"{"name":"n","kind":"server"}"#,
        ("POST", "/admin/v1/tokens") => r#"{"name":"n","scopes":["decide"]}"#,
        ("PUT", "/admin/v1/settings/identity") => {
            r#"{"kinds":[{"number":1,"name":"user_id","priority":1,"cap":1,"window":"ever","unique":true}],
            "alias_cap":5,"shared_takers":3,"shared_window_s":2592000,"soft_cap":50}"#
        }
        ("PUT", "/admin/v1/settings/suppression") => {
            r#"{"window_s":60,"products":true,"categories":true,"everything":false,"refund_lifts":true}"#
        }
        ("POST", "/admin/v1/profiles/{id}/unmerge") => r#"{"position":1}"#,
        _ => return None,
    })
}

fn address(shop: &Shop, path: &str) -> SocketAddr {
    let addresses = shop.running.addresses();
    let people = path.starts_with("/v1/") || path.starts_with("/feed/");
    if people { addresses.profiles } else { addresses.admin }
}

fn real(path: &str) -> String {
    path.replace("{id}", SOMEBODY).replace("{number}", "1")
}

#[test]
fn every_operation_answers_as_documented_and_to_its_scope_only() {
    let shop = Shop::open();
    shop.order("jane", "o-1", "shoe");
    let document: Value = serde_json::from_str(&server::api::openapi()).unwrap();
    let nothing = shop.token(&["profile:pii"]);
    let everything = shop.token(&["admin", "profile:read", "profile:pii", "decide", "feed:*"]);
    let operations = server::api::operations();
    assert!(operations.len() >= 20);
    for (method, path, scope) in operations {
        let (address, real, body) = (address(&shop, path), real(path), body(path, method));
        let call = |headers: &[(&str, &str)]| request(address, method, &real, headers, body);
        let bearer = format!("Bearer {everything}");
        let reply = call(&[("authorization", bearer.as_str())]);
        let documented = &document["paths"][path][method.to_ascii_lowercase()]["responses"];
        assert!(
            documented.get(reply.status.to_string()).is_some(),
            "{method} {path} answered {reply:?}, which is not documented"
        );
        assert!(reply.status < 500, "{method} {path}: {reply:?}");
        assert!(reply.head.contains("x-content-type-options: nosniff"));
        assert!(!reply.head.contains("access-control-"), "no CORS here");
        if path != "/healthz" && path != "/readyz" {
            let evil = call(&[("host", "evil.example"), ("authorization", bearer.as_str())]);
            assert_eq!((evil.status, evil.code().as_str()), (403, "bad_host"), "{method} {path}");
        }
        let Some(scope) = scope else { continue };
        for wrong in ["", "Basic abc", "Bearer ", "Bearer tlt_wrong", &format!("Basic {everything}")] {
            let reply = call(&[("authorization", wrong)]);
            assert_eq!(
                (reply.status, reply.code().as_str()),
                (401, "unauthorized"),
                "{method} {path} {wrong}"
            );
            assert!(reply.head.contains("www-authenticate: bearer"));
        }
        let lacking = call(&[("authorization", &format!("Bearer {nothing}"))]);
        assert_eq!((lacking.status, lacking.code().as_str()), (403, "forbidden"), "{method} {path}");
        assert!(lacking.body.contains(scope), "the message names the scope");
    }
    shop.running.stop().unwrap();
}

#[test]
fn each_scope_opens_its_own_paths() {
    let shop = Shop::open();
    for scope in ["admin", "profile:read", "profile:pii", "decide"] {
        let bearer = format!("Bearer {}", shop.token(&[scope]));
        for (method, path, needed) in server::api::operations() {
            // Listing is enough: the others change things.
            if method != "GET" && !path.starts_with("/v1/") {
                continue;
            }
            let reply = request(
                address(&shop, path),
                method,
                &real(path),
                &[("authorization", bearer.as_str())],
                body(path, method),
            );
            let open = needed.is_none_or(|needed| needed == scope);
            assert_eq!(reply.status != 403, open, "{scope} at {method} {path}: {reply:?}");
        }
    }
    shop.running.stop().unwrap();
}

#[test]
fn wrong_requests_are_told_what_is_wrong() {
    let shop = Shop::open();
    let admin = |method: &str, path: &str, body: Option<&str>| shop.admin(method, path, body);
    let token = shop.credentials.admin_token.clone();
    let people = |method: &str, path: &str, body: Option<&str>| shop.profiles(&token, method, path, body);
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(2 << 20));
    let long_name = format!(r#"{{"name":"{}","kind":"server"}}"#, "x".repeat(257));
    // Not the log's end: the server's own records (what was delivered, ticks) move it by themselves.
    let changeable = || {
        let lists = ["/admin/v1/tokens", "/admin/v1/write-keys", "/admin/v1/settings/identity"];
        let lists = lists.map(|path| shop.admin("GET", path, None).json());
        (lists, shop.status()["profiles"].clone(), shop.status()["accepted_events"].clone())
    };
    let before = changeable();
    let table: Vec<(Reply, u16, &str)> = vec![
        (admin("GET", "/nothing", None), 404, "not_found"),
        (admin("GET", "/admin/v1/status/", None), 404, "not_found"),
        (admin("GET", "/v1/profiles/prf_1", None), 404, "not_found"),
        (people("GET", "/admin/v1/status", None), 404, "not_found"),
        (admin("POST", "/admin/v1/status", None), 405, "method_not_allowed"),
        (admin("PATCH", "/admin/v1/tokens", None), 405, "method_not_allowed"),
        (people("GET", "/v1/profiles/prf_1", None), 400, "bad_id"),
        (people("GET", "/v1/profiles/jane@example.com", None), 400, "bad_id"),
        (people("GET", &format!("/v1/profiles/{SOMEBODY}"), None), 404, "no_such_profile"),
        (people("POST", "/v1/decide", Some("{")), 400, "bad_body"),
        (people("POST", "/v1/decide", Some(r#"{"identifiers":[],"product_id":"x"}"#)), 400, "bad_identifier"),
        (people("POST", "/v1/decide", Some(r#"{"identifiers":[],"produkt":"x"}"#)), 400, "bad_body"),
        (
            people("POST", "/v1/decide", Some(r#"{"identifiers":[{"type":"shoe_size","value":"9"}]}"#)),
            400,
            "bad_identifier",
        ),
        (
            people("POST", "/v1/decide", Some(r#"{"identifiers":[{"type":"email","value":"null"}]}"#)),
            400,
            "bad_identifier",
        ),
        (admin("POST", "/admin/v1/tokens", Some(&large)), 413, "body_too_large"),
        (admin("POST", "/admin/v1/tokens", Some(r#"{"name":"x","scopes":[]}"#)), 400, "bad_value"),
        (admin("POST", "/admin/v1/tokens", Some(r#"{"name":"x","scopes":["root"]}"#)), 400, "bad_value"),
        (admin("POST", "/admin/v1/write-keys", Some(r#"{"name":"x","kind":"app"}"#)), 400, "bad_value"),
        (admin("POST", "/admin/v1/write-keys", Some(&long_name)), 400, "bad_value"),
        (admin("DELETE", "/admin/v1/tokens/seven", None), 400, "bad_id"),
        (admin("GET", "/admin/v1/outbox?limit=0", None), 400, "bad_request"),
        (admin("GET", "/admin/v1/outbox?after=17", None), 400, "bad_request"),
        (
            shop.admin_with("POST", "/admin/v1/tokens", Some("{}"), &[("content-type", "text/plain")]),
            415,
            "unsupported_media_type",
        ),
    ];
    for (row, (reply, status, code)) in table.iter().enumerate() {
        assert_eq!((reply.status, reply.code().as_str()), (*status, *code), "row {row}: {reply:?}");
        assert!(reply.json()["message"].as_str().unwrap().len() > 15, "row {row}: a sentence");
    }
    assert_eq!(changeable(), before, "nothing was changed");
    // Refused by the rules, in the log's order.
    let table: Vec<(Reply, u16, &str)> = vec![
        (admin("DELETE", "/admin/v1/tokens/7", None), 404, "no_such_token"),
        (admin("DELETE", "/admin/v1/write-keys/7", None), 404, "no_such_write_key"),
        (admin("POST", &format!("/admin/v1/profiles/{SOMEBODY}/erase"), None), 404, "no_such_profile"),
        (
            admin(
                "PUT",
                "/admin/v1/settings/suppression",
                Some(
                    r#"{"window_s":0,"products":true,"categories":true,"everything":false,"refund_lifts":true}"#,
                ),
            ),
            400,
            "bad_value",
        ),
    ];
    for (row, (reply, status, code)) in table.iter().enumerate() {
        assert_eq!((reply.status, reply.code().as_str()), (*status, *code), "row {row}: {reply:?}");
    }
    shop.running.stop().unwrap();
}

#[test]
fn a_slow_client_does_not_hold_a_request_open() {
    let scratch = super::support::Scratch::new();
    let mut config = scratch.config();
    config.private.request_timeout_ms = 200;
    let shop = Shop::with(scratch, config, server::serve::StartOptions::default());
    let head = format!(
        "POST /v1/decide HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{{",
        shop.credentials.admin_token
    );
    let reply = raw(shop.running.addresses().profiles, head.as_bytes());
    assert_eq!((reply.status, reply.code().as_str()), (408, "request_timeout"), "{reply:?}");
    // Garbage is no request; the listener goes on.
    let mut stream = std::net::TcpStream::connect(shop.running.addresses().admin).unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00\r\n\r\n").unwrap();
    assert_eq!(shop.status()["profiles"], 0);
    shop.running.stop().unwrap();
}
