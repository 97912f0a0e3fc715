//! Access tokens that end: fetched with a credentials file, renewed before they end, fetched anew when they are refused.

use crate::checks;
use crate::lanes::{Outbox, egress, fresh, identifiers};
use crate::standin::{Call, Held, Manner, StandIn};
use delivery::env::{Clock, Env};
use delivery::{Destination, Outcome};
use outbound::platform::{Keeping, PlatformConfig};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const FILE: &str = r#"{"type": "authorized_user", "client_id": "the id", "client_secret": "s&cret", "refresh_token": "1//rt"}"#;

/// A clock that somebody else moves.
struct Moved {
    real: Arc<dyn Clock>,
    more_s: AtomicU64,
}

impl Clock for Moved {
    fn now_us(&self) -> i64 {
        self.real.now_us()
    }

    fn monotonic_ns(&self) -> u64 {
        self.real.monotonic_ns() + self.more_s.load(Ordering::SeqCst) * 1_000_000_000
    }
}

fn gives(held: &mut Held, call: &Call<'_>) -> (u16, Value) {
    held.bodies.push(call.body.clone());
    if held.fail_next > 0 {
        held.fail_next -= 1;
        return (400, json!({ "error": "invalid_grant", "error_description": "of 1//rt" }));
    }
    (200, json!({ "access_token": "t0ken", "expires_in": 3_600, "token_type": "Bearer" }))
}

fn google(api: &StandIn, tokens: &StandIn) -> Value {
    json!({ "platform": "google_audience", "oauth": FILE, "token_url": format!("{}/o", tokens.url()),
        "operating_account": { "account_id": "123" }, "lists": { "buyers": "111" }, "terms_accepted": true,
        "timeout_ms": 400, "base_url": api.url() })
}

async fn standins() -> (StandIn, StandIn) {
    let api = StandIn::start(checks::google_audience, ("authorization", "Bearer t0ken")).await;
    let form = ("content-type", "application/x-www-form-urlencoded");
    (api, StandIn::start(gives, form).await)
}

fn opened(config: Value, env: &Env, name: &str) -> Result<Arc<dyn Destination>, String> {
    let config: PlatformConfig = serde_json::from_value(config).map_err(|error| error.to_string())?;
    let opened = config.open("tokens", env, &egress(), &Keeping::in_clear(&fresh(name)));
    opened.map(|opened| opened.destination).map_err(|error| error.to_string())
}

#[tokio::test]
async fn tokens_are_fetched_once_and_renewed_before_they_end() {
    let (api, tokens) = standins().await;
    let mut env = Env::real();
    let clock = Arc::new(Moved { real: Arc::clone(&env.clock), more_s: AtomicU64::new(0) });
    env.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    let destination = opened(google(&api, &tokens), &env, "tokens").unwrap();
    let outbox = Outbox::default();
    for person in 1..=8 {
        let email = format!("p{person}@shop.test");
        let data = json!({ "audience": "buyers", "identifiers": identifiers(&[("email", &email)]) });
        outbox.issue("audience.entered", person, data);
    }
    let mut parcels = outbox.parcels().into_iter();
    let fetched = || tokens.held.lock().unwrap().calls;
    let mut send = async || destination.send(Arc::from([parcels.next().unwrap()]), 5_000).await;
    assert_eq!((send().await, fetched()), (Outcome::Delivered, 1));
    assert_eq!((send().await, fetched()), (Outcome::Delivered, 1));
    let said = "grant_type=refresh_token&refresh_token=1%2F%2Frt&client_id=the%20id&client_secret=s%26cret";
    assert_eq!(tokens.held.lock().unwrap().bodies, [json!(said)]);
    // Five minutes before its end it is renewed; that this fails does no harm as long as the old one holds.
    clock.more_s.store(3_200, Ordering::SeqCst);
    assert_eq!((send().await, fetched()), (Outcome::Delivered, 1));
    clock.more_s.store(3_310, Ordering::SeqCst);
    tokens.held.lock().unwrap().fail_next = 1;
    assert_eq!((send().await, fetched()), (Outcome::Delivered, 2));
    assert_eq!((send().await, fetched()), (Outcome::Delivered, 2), "not at every call");
    clock.more_s.store(3_320, Ordering::SeqCst);
    assert_eq!((send().await, fetched()), (Outcome::Delivered, 3));
    // One that the platform refuses is not used again.
    api.script([Manner::Unauthorized]);
    assert!(matches!(send().await, Outcome::Retry { .. }));
    assert_eq!((send().await, fetched()), (Outcome::Delivered, 4));
    tokens.assert_no_complaints();
    api.assert_no_complaints();
}

#[tokio::test]
async fn what_gives_no_token_is_said_without_a_secret() {
    let (api, tokens) = standins().await;
    let env = Env::real();
    let destination = opened(google(&api, &tokens), &env, "no-tokens").unwrap();
    let outbox = Outbox::default();
    outbox.issue(
        "audience.entered",
        1,
        json!({ "audience": "buyers", "identifiers": identifiers(&[("email", "a@b.test")]) }),
    );
    tokens.held.lock().unwrap().fail_next = 1;
    let outcome = destination.send(Arc::from(outbox.parcels()), 5_000).await;
    let Outcome::Retry { reason, after_ms } = outcome else { panic!("{outcome:?}") };
    assert_eq!((reason.as_str(), after_ms), ("oauth_invalid_grant", Some(300_000)));
    assert_eq!(api.held.lock().unwrap().calls, 0);
    let with = |member: &str, value: Value| {
        let mut config = google(&api, &tokens);
        config[member] = value;
        opened(config, &env, "bad-tokens").map(|_| ()).unwrap_err()
    };
    for bad in
        ["not json s&cret", r#"{"client_id": "s&cret"}"#, r#"{"client_id": 7, "client_secret": "s&cret"}"#]
    {
        let error = with("oauth", json!(bad));
        assert!(error.contains("client_id") && !error.contains("s&cret"), "{error}");
    }
    assert!(with("access_token", json!("t0ken")).contains("only one"));
    assert!(with("token_url", json!("ftp://example.com/o")).contains("token_url"));
}

/// Criteo's client asks for itself.
#[tokio::test]
async fn a_client_without_a_refresh_token_asks_for_itself() {
    let api = StandIn::start(checks::criteo, ("authorization", "Bearer t0ken")).await;
    let (_, tokens) = standins().await;
    let file = json!({ "client_id": "c", "client_secret": "s" }).to_string();
    let config = json!({ "platform": "criteo_audience", "oauth": file, "token_url": format!("{}/o", tokens.url()),
        "lists": { "buyers": "111" }, "base_url": api.url() });
    let destination = opened(config, &Env::real(), "criteo-tokens").unwrap();
    let outbox = Outbox::default();
    outbox.issue(
        "audience.entered",
        1,
        json!({ "audience": "buyers", "identifiers": identifiers(&[("email", "a@b.test")]) }),
    );
    assert_eq!(destination.send(Arc::from(outbox.parcels()), 5_000).await, Outcome::Delivered);
    let said = "grant_type=client_credentials&client_id=c&client_secret=s";
    assert_eq!(tokens.held.lock().unwrap().bodies, [json!(said)]);
    api.assert_no_complaints();
}
