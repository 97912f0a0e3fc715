//! From the first start to the first decision, and over restarts.

use super::support::{Shop, request, until};
use server::serve::verify_directory;

#[test]
fn first_start_to_first_decision() {
    let shop = Shop::open();
    assert_eq!(shop.decide("user_id", "jane", "shoe")["suppressed"], false);
    assert_eq!(shop.decide("user_id", "jane", "shoe")["why"], "nobody_suppressed");
    let visit = r#"{"anonymousId":"phone-1","userId":"jane","messageId":"login"}"#;
    assert_eq!(shop.send("identify", visit).status, 200);
    shop.order("jane", "o-1", "shoe");
    for (kind, value) in [("user_id", "jane"), ("email", " Jane@Example.com "), ("anonymous_id", "phone-1")] {
        let decision = shop.decide(kind, value, "shoe");
        assert_eq!(decision["suppressed"], true, "{kind}: at once after the 200");
        assert_eq!(decision["why"], "bought_product");
        assert!(decision["profile"].as_str().unwrap().starts_with("prf_"));
        assert!(decision["purchase_position"].as_u64() < decision["position"].as_u64());
    }
    assert_eq!(shop.decide("user_id", "jane", "hat")["why"], "not_bought");
    let status = shop.status();
    assert_eq!(
        (&status["profiles"], &status["suppressions_active"], &status["accepted_events"]),
        (&1.into(), &1.into(), &2.into())
    );
    shop.running.stop().unwrap();
}

#[test]
fn personal_values_are_masked_and_reads_are_on_record() {
    let shop = Shop::open();
    shop.order("jane", "o-1", "shoe");
    let plain = shop.token(&["profile:read"]);
    let trusted = shop.token(&["profile:read", "profile:pii"]);
    let masked = shop.lookup(&plain, "email", "jane@example.com");
    assert_eq!(masked.status, 200, "{masked:?}");
    assert!(!masked.body.contains("jane@example.com") && masked.body.contains("j***@example.com"));
    let id = masked.json()["id"].as_str().unwrap().to_owned();
    let clear = shop.profiles(&trusted, "GET", &format!("/v1/profiles/{id}"), None);
    assert!(clear.body.contains("jane@example.com"), "{clear:?}");
    assert_eq!(clear.json()["revenue"][0]["value_minor"], 2000);
    assert_eq!(shop.lookup(&plain, "email", "nobody@example.com").code(), "no_such_profile");
    let audit = std::fs::read_to_string(shop.scratch.0.join("audit/profile-reads.log")).unwrap();
    let lines: Vec<serde_json::Value> =
        audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "one line for each profile that was shown");
    for (line, shown) in lines.iter().zip([false, true]) {
        assert_eq!((&line["profile"], &line["sealed_values_shown"]), (&id.as_str().into(), &shown.into()));
        assert_eq!(line["token"], "test");
    }
    shop.running.stop().unwrap();
}

#[test]
fn a_restart_keeps_everything() {
    let shop = Shop::open();
    shop.order("jane", "o-1", "shoe");
    let reader = shop.token(&["profile:read"]);
    let rules =
        r#"{"window_s":86400,"products":true,"categories":false,"everything":true,"refund_lifts":true}"#;
    assert_eq!(shop.admin("PUT", "/admin/v1/settings/suppression", Some(rules)).status, 200);
    let before = shop.lookup(&reader, "user_id", "jane").json();
    let shop = shop.restart();
    let mut after = shop.lookup(&reader, "user_id", "jane").json();
    after["position"] = before["position"].clone();
    assert_eq!(after, before);
    assert_eq!(shop.decide("user_id", "jane", "shoe")["suppressed"], true);
    let shown = shop.admin("GET", "/admin/v1/settings/suppression", None).json();
    assert_eq!((&shown["window_s"], &shown["everything"]), (&86400.into(), &true.into()));
    shop.order("john", "o-2", "hat");
    assert_eq!(shop.decide("user_id", "john", "anything")["why"], "bought_something");
    // The same message again is no second event, also after the restart.
    let duplicates = shop.status()["duplicates"].as_u64().unwrap();
    shop.order("jane", "o-1", "shoe");
    assert_eq!(shop.status()["duplicates"].as_u64().unwrap(), duplicates + 1);
    let status = shop.status();
    assert_eq!(status["profiles"], 2, "counts are state");
    let Shop { running, scratch, .. } = shop;
    running.stop().unwrap();
    let stretches = verify_directory(&scratch.config()).unwrap();
    assert!(!stretches.is_empty() && stretches.iter().all(engine::verify::Stretch::is_exact));
}

#[test]
fn probes_and_metrics() {
    let shop = Shop::open();
    let admin = shop.running.addresses().admin;
    let elsewhere = [("host", "pod-17.example")];
    assert_eq!(request(admin, "GET", "/healthz", &elsewhere, None).status, 200);
    let ready = request(admin, "GET", "/readyz", &elsewhere, None);
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &true.into()));
    shop.order("jane", "o-1", "shoe");
    until("a checkpoint", || shop.status()["checkpoints"].as_u64().unwrap() > 0);
    let metrics = request(admin, "GET", "/metrics", &[], None);
    assert!(metrics.head.contains("text/plain; version=0.0.4"), "{}", metrics.head);
    assert!(metrics.body.contains("\nthroughline_ingest_events_total 1\n"), "{}", metrics.body);
    let documented = std::fs::read_to_string(super::support::repository("docs/metrics.md")).unwrap();
    for line in metrics.body.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        let name = line.split(' ').next().unwrap();
        assert!(documented.contains(&format!("`{name}`")), "{name} is not in docs/metrics.md");
    }
    shop.running.stop().unwrap();
}
