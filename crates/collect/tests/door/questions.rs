//! Calls without a body of events: settings, pixels, health; and calls that mean nothing here.

use crate::support::{SERVER, ask, door, post, request};
use collect::http::{MAX_SCRIPT_BYTES, MAX_SCRIPTS, ScriptError, Scripts};
use serde_json::{Value, json};
use std::sync::Arc;

const HOST: &str = "127.0.0.1";

fn get(path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    request("GET", path, headers, b"")
}

#[test]
fn analytics_next_is_sent_here_and_nowhere_else() {
    let door = door(|_, _| {});
    let answer = ask(&door, &get("/v1/projects/PUBLIC/settings", &[("Origin", "http://shop.test")]));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        serde_json::from_str::<Value>(&answer.body).unwrap(),
        json!({
            "integrations": {"Segment.io": {"apiKey": "PUBLIC", "apiHost": format!("{HOST}/v1"), "protocol": "http"}},
            "plan": {}, "metrics": {"sampleRate": 0},
        })
    );
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://shop.test"));
    assert_eq!(answer.header("set-cookie"), None);
    for (key, status, code) in [("XXX", 401, "unknown_write_key"), ("OFF", 404, "source_disabled")] {
        let answer = ask(&door, &get(&format!("/v1/projects/{key}/settings"), &[]));
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
    }
}

#[test]
fn only_a_trusted_proxy_says_https() {
    for (trusted, protocol) in [(false, "http"), (true, "https")] {
        let door = door(|options, _| options.trust_forwarded_for = trusted);
        let answer = ask(&door, &get("/v1/projects/WK/settings", &[("X-Forwarded-Proto", "https")]));
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(answer["integrations"]["Segment.io"]["protocol"], protocol);
    }
}

#[test]
fn sdks_of_rudderstack_learn_that_they_may_send() {
    let door = door(|_, _| {});
    let query = "/sourceConfig/?p=npm&v=3.34.1&build=legacy&writeKey=PUBLIC";
    for (path, headers, enabled) in [
        (query, vec![], true),
        ("/sourceConfig", vec![("Authorization", "Basic UFVCTElDOg==")], true),
        (
            "/sourceConfig?p=android&v=1.4.0&writeKey=PUBLIC&bv=34",
            vec![("Content-Type", "application/json")],
            true,
        ),
        (
            "/sourceConfig?bv=18.1&p=swift&v=1.3.1&writeKey=PUBLIC",
            vec![("Content-Type", "application/json")],
            true,
        ),
        ("/sourceConfig/?writeKey=OFF", vec![], false),
    ] {
        let answer = ask(&door, &get(path, &headers));
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let source = serde_json::from_str::<Value>(&answer.body).unwrap()["source"].take();
        assert_eq!(source["enabled"], enabled);
        // Those for phones (rudder-sdk-kotlin 1.4, rudder-sdk-swift 1.3) read nothing where one of these is missing.
        for member in ["id", "name", "writeKey", "workspaceId", "updatedAt"] {
            assert!(source[member].is_string(), "{member}: {source}");
        }
        let off = json!({"enabled": false});
        assert_eq!(source["config"], json!({"statsCollection": {"errors": off, "metrics": off}}));
        assert_eq!(source["destinations"], json!([]));
    }
    for (path, code) in
        [("/sourceConfig/", "missing_write_key"), ("/sourceConfig/?writeKey=XXX", "unknown_write_key")]
    {
        let answer = ask(&door, &get(path, &[]));
        assert_eq!((answer.status, answer.code().as_str()), (401, code));
    }
}

#[test]
fn questions_take_get_head_and_options() {
    let door = door(|_, _| {});
    for path in ["/health", "/version", "/v1/projects/WK/settings", "/sourceConfig/?writeKey=WK"] {
        assert_eq!(ask(&door, &get(path, &[])).status, 200, "{path}");
        let head = String::from_utf8(request("HEAD", path, &[("Connection", "close")], b"")).unwrap();
        assert!(crate::support::ask_head(&door, head.as_bytes()).starts_with("HTTP/1.1 200"), "{path}");
        let wanted = [("Origin", "http://shop.test"), ("Access-Control-Request-Headers", "Authorization")];
        let answer = ask(&door, &request("OPTIONS", path, &wanted, b""));
        assert_eq!(
            (answer.status, answer.header("access-control-allow-headers")),
            (204, Some("Authorization"))
        );
        let answer = ask(&door, &request("POST", path, &[SERVER], b"{}"));
        assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"), "{path}");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    let version: Value = serde_json::from_str(&ask(&door, &get("/version", &[])).body).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(door.memory.take_summaries().is_empty());
}

#[test]
fn an_image_is_an_event() {
    let door = door(|_, _| {});
    let table = [
        (
            "/pixel/v1/track?writeKey=PUBLIC&event=Mail%20Opened&anonymousId=a1",
            "track \"Mail Opened\" anonymous=a1",
        ),
        ("/pixel/v1/page?writeKey=PUBLIC&name=Home&userId=u1&properties.path=%2F", "page \"Home\" user=u1"),
        // A server's key in an address is in everybody's hands.
        ("/pixel/v1/page?writeKey=WK&userId=u1", "page user=u1"),
    ];
    for (path, meant) in table {
        let answer = crate::support::ask_head(&door, &get(path, &[("Connection", "close")]));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let head = answer.to_ascii_lowercase();
        assert!(
            head.contains("content-type: image/gif") && head.contains("cache-control: no-store"),
            "{head}"
        );
        assert!(!head.contains("set-cookie") && answer.contains("GIF89a"), "{answer}");
        let from_server = door.memory.any_from_server();
        assert!(!from_server, "{path} was taken for the shop's word");
        assert_eq!(door.memory.take_summaries(), [meant]);
    }
    let bad = [
        ("/pixel/v1/track?event=E&userId=u", 401, "missing_write_key"),
        ("/pixel/v1/track?writeKey=XXX&event=E&userId=u", 401, "unknown_write_key"),
        ("/pixel/v1/track?writeKey=OFF&event=E&userId=u", 404, "source_disabled"),
        ("/pixel/v1/track?writeKey=PUBLIC&userId=u", 400, "missing_field"),
        ("/pixel/v1/page?writeKey=PUBLIC", 400, "missing_identity"),
        ("/pixel/v1/page?writeKey=PUBLIC&userId=%ff", 400, "bad_query"),
        ("/pixel/v1/page?writeKey=PUBLIC&userId=%", 400, "bad_query"),
        ("/pixel/v1/page?writeKey=PUBLIC&userId=u&a..b=1", 400, "bad_query"),
    ];
    for (path, status, code) in bad {
        let answer = ask(&door, &get(path, &[]));
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
    }
    assert_eq!(ask(&door, &post("/pixel/v1/track?writeKey=PUBLIC&event=E", "{}")).status, 405);
    assert!(door.memory.take_summaries().is_empty());
    assert_eq!(door.open.in_flight_bytes(), 0);
}

#[test]
fn calls_that_mean_nothing_here_say_what_to_use() {
    let door = door(|_, _| {});
    for (call, instead) in
        [("merge", "alias"), ("webhook", "/v1/batch"), ("audiencelist", "throughline apply")]
    {
        let answer = ask(&door, &post(&format!("/v1/{call}"), r#"{"userId":"u"}"#));
        assert_eq!((answer.status, answer.code().as_str()), (400, "call_not_offered"));
        assert!(answer.body.contains(instead), "{}", answer.body);
    }
    let batch = r#"{"batch":[{"type":"page","userId":"u","messageId":"m"}]}"#;
    assert_eq!(ask(&door, &post("/v1/import", batch)).status, 200);
    assert_eq!(door.memory.take_summaries(), ["page user=u"]);
}

#[test]
fn pages_load_the_shops_own_scripts() {
    let code = "console.log('hello');\n".repeat(200);
    let files = [("sdk.min.js", code.as_str()), ("sdk.min.js.map", "{}"), ("other.mjs", "export {}")];
    let files = files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()));
    let scripts = Scripts::new(files, |bytes| bytes.len() as u64).unwrap();
    let door = door(|options, _| options.scripts = Arc::new(scripts));
    let plain = ask(&door, &get("/scripts/sdk.min.js", &[]));
    assert_eq!((plain.status, plain.body.as_str()), (200, code.as_str()));
    assert_eq!(plain.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("Accept-Encoding")));
    assert_eq!(plain.header("set-cookie"), None);
    let tag = plain.header("etag").unwrap().to_owned();
    let known = ask(&door, &get("/scripts/sdk.min.js", &[("If-None-Match", &format!("\"x\", W/{tag}"))]));
    assert_eq!((known.status, known.body.as_str()), (304, ""));
    for (accepted, is_packed) in
        [("gzip, br", true), ("br;q=1.0, GZIP;q=0.5", true), ("gzip;q=0", false), ("br", false)]
    {
        let headers = [("Accept-Encoding", accepted), ("Connection", "close")];
        let head = crate::support::ask_head(&door, &request("HEAD", "/scripts/sdk.min.js", &headers, b""));
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(head.contains("content-encoding: gzip"), is_packed, "{accepted}");
        assert_eq!(head.contains(&format!("etag: {tag}\r\n")), !is_packed, "{accepted}");
    }
    for path in ["/analytics.js/v1/ANY/sdk.min.js", "/scripts/sdk.min.js.map", "/scripts/other.mjs/"] {
        assert_eq!(ask(&door, &get(path, &[])).status, 200, "{path}");
    }
    for path in [
        "/scripts/none.js",
        "/scripts/",
        "/scripts/../sdk.min.js",
        "/scripts/%2e%2e/sdk.min.js",
        "/analytics.js/v1//sdk.min.js",
        "/analytics.js/v1/sdk.min.js",
    ] {
        let answer = ask(&door, &get(path, &[]));
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
    }
    assert_eq!(ask(&door, &post("/scripts/sdk.min.js", "{}")).status, 405);
}

#[test]
fn files_that_are_no_scripts_are_refused() {
    let one =
        |name: &str, bytes: usize| Scripts::new([(name.to_owned(), vec![b' '; bytes])], |_| 0).map(|_| ());
    for name in ["a.html", "a js.js", ".js", ".hidden.js", "a/b.js", "../a.js", "\u{e4}.js", "js"] {
        assert_eq!(one(name, 1), Err(ScriptError::Name { name: name.to_owned() }), "{name}");
    }
    assert_eq!(one("a.js", MAX_SCRIPT_BYTES), Ok(()));
    let too_large = Err(ScriptError::TooLarge { name: "a.js".to_owned() });
    assert_eq!(one("a.js", MAX_SCRIPT_BYTES + 1), too_large);
    let many = (0..=MAX_SCRIPTS).map(|number| (format!("{number}.js"), Vec::new()));
    assert_eq!(Scripts::new(many, |_| 0).map(|_| ()), Err(ScriptError::TooMany));
}
