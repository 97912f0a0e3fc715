//! Configurations that cannot work are refused by field, and nothing repeats a secret.

use crate::lanes::fresh;
use delivery::egress::{Egress, EgressOptions, SystemResolver};
use delivery::env::Env;
use outbound::platform::{Keeping, PlatformConfig};
use serde_json::{Value, json};
use std::sync::Arc;

fn good() -> Vec<Value> {
    let lists = json!({ "buyers": "1" });
    let account = json!({ "account_id": "1" });
    vec![
        json!({ "platform": "meta_audience", "access_token": "hunter2", "lists": lists }),
        json!({ "platform": "meta_conversions", "access_token": "hunter2", "pixel_id": "1", "app_secret": "hunter2" }),
        json!({ "platform": "google_audience", "access_token": "hunter2", "lists": lists, "terms_accepted": true,
                "operating_account": account }),
        json!({ "platform": "google_events", "access_token": "hunter2", "operating_account": account,
                "conversion_action_id": "1" }),
        json!({ "platform": "tiktok_events", "access_token": "hunter2", "event_source_id": "1" }),
        json!({ "platform": "criteo_audience", "access_token": "hunter2", "lists": lists }),
    ]
}

fn refusal(config: Value, name: &str) -> Option<String> {
    let config: PlatformConfig = match serde_json::from_value(config) {
        Ok(config) => config,
        Err(error) => return Some(error.to_string()),
    };
    assert!(!format!("{config:?}").contains("hunter2"));
    let strict = Egress::new(EgressOptions::default(), Arc::new(SystemResolver), Env::real().clock).unwrap();
    config
        .open(name, &Env::real(), &strict, &Keeping::in_clear(&fresh(name)))
        .err()
        .map(|error| error.to_string())
}

#[tokio::test]
async fn what_cannot_work_is_refused_by_field_and_secrets_are_not_repeated() {
    for (number, config) in good().into_iter().enumerate() {
        let name = format!("config-{number}");
        assert_eq!(refusal(config.clone(), &name), None);
        let changes = [
            ("base_url", json!("http://platform.test"), "base_url"),
            ("base_url", json!("https://10.0.0.1"), "base_url"),
            ("base_url", json!("https://platform.test/?a=b"), "base_url"),
            ("access_token", json!("hunter2\r\nx: y"), "access_token"),
            ("timeout_ms", json!(0), "timeout_ms"),
            ("timeout_ms", json!(60_001), "timeout_ms"),
            ("colour", json!(1), "colour"),
        ];
        let own = [
            ("home_country", json!("Atlantis"), "home_country"),
            ("lists", json!({}), "lists"),
            ("lists", json!({ "buyers": "1/../2" }), "lists"),
            ("pixel_id", json!("1/2"), "pixel_id"),
            ("event_source_id", json!(""), "event_source_id"),
            ("conversion_action_id", json!("?"), "conversion_action_id"),
            ("operating_account", json!({ "account_id": "ann" }), "operating_account"),
            ("terms_accepted", json!(false), "terms_accepted"),
        ];
        let has = |field: &str| field == "home_country" && number != 5 || config.get(field).is_some();
        let own = own.into_iter().filter(|(field, _, _)| has(field));
        for (field, value, fragment) in changes.into_iter().chain(own) {
            let mut bad = config.clone();
            bad[field] = value.clone();
            let refused = refusal(bad, &name).unwrap_or_default();
            assert!(refused.contains(fragment), "{config} {field} {value}: {refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }
}
