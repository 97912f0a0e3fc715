//! What a webhook sends, and what it makes of answers.

use crate::receiver::{Manner, Receiver};
use crate::verify::verify;
use delivery::egress::{AllowRule, Egress, EgressOptions, Network, SystemResolver};
use delivery::env::Env;
use delivery::{Bytes, Class, Destination, Outcome, Parcel};
use model::id::{EffectId, Key, Position, Timestamp};
use outbound::webhook::{Secret, Webhook, WebhookConfig};
use std::sync::Arc;

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(crate) fn egress() -> Egress {
    let network = Network::parse("127.0.0.1").unwrap();
    let allow = vec![AllowRule { network, ports: None, plain_http: true }];
    let options = EgressOptions { allow, connect_timeout_ms: 500, ..EgressOptions::default() };
    Egress::new(options, Arc::new(SystemResolver), Env::real().clock).unwrap()
}

pub(crate) fn parcel(position: u64, subject: u64, class: Class) -> Parcel {
    let id = EffectId { position: Position(position), ordinal: 0 };
    Parcel {
        id,
        issued_at: Timestamp(Env::real().clock.now_us()),
        kind: 1,
        about: None,
        subject: Key(u128::from(subject)),
        class,
        idempotency_key: id.to_string(),
        body: Bytes::from(format!("{{\"subject\":{subject},\"position\":{position}}}")),
    }
}

fn webhook(config: WebhookConfig) -> Webhook {
    Webhook::new("test", config, &egress(), Env::real().clock).unwrap()
}

async fn send(webhook: &Webhook, parcel: Parcel) -> Outcome {
    webhook.send(Arc::from([parcel]), 5_000).await
}

#[tokio::test]
async fn messages_are_signed_and_carry_their_key() {
    let receiver = Receiver::start(Manner::Answer(204, None)).await;
    let mut config = WebhookConfig::new(&receiver.url(), Secret::new(SECRET));
    config.headers = vec![("authorization".to_owned(), Secret::new("Bearer abc"))];
    let webhook = webhook(config);
    let sent = parcel(7, 1, Class::Transactional);
    assert_eq!(send(&webhook, sent.clone()).await, Outcome::Delivered);
    let got = receiver.got().pop().unwrap();
    assert_eq!(got.body, sent.body);
    assert_eq!(got.header("webhook-id"), "eff_7_0");
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("authorization"), "Bearer abc");
    let now_s = Env::real().clock.now_us() / 1_000_000;
    verify(&[SECRET], |name| got.headers.get(name)?.to_str().ok(), &got.body, now_s).unwrap();
}

#[tokio::test]
async fn answers_mean_what_the_documentation_says() {
    let receiver = Receiver::start(Manner::Answer(200, None)).await;
    let mut config = WebhookConfig::new(&receiver.url(), Secret::new(SECRET));
    config.timeout_ms = 200;
    let webhook = webhook(config);
    let retry = |status: u16, after_ms| Outcome::Retry { reason: format!("http_{status}"), after_ms };
    let refused = |reason: &str| Outcome::Refused { reason: reason.to_owned() };
    let unknown = |reason: &str| Outcome::Unknown { reason: reason.to_owned() };
    let table = [
        (Manner::Answer(200, None), Outcome::Delivered),
        (Manner::Answer(202, None), Outcome::Delivered),
        (Manner::Answer(301, None), refused("redirect_not_followed")),
        (Manner::Answer(307, None), refused("redirect_not_followed")),
        (Manner::Answer(400, None), refused("http_400")),
        (Manner::Answer(404, None), refused("http_404")),
        (Manner::Answer(408, None), retry(408, None)),
        (Manner::Answer(410, None), refused("http_410")),
        (Manner::Answer(425, None), retry(425, None)),
        (Manner::Answer(429, Some(7)), retry(429, Some(7_000))),
        (Manner::Answer(500, None), retry(500, None)),
        (Manner::Answer(501, None), refused("http_501")),
        (Manner::Answer(503, Some(120)), retry(503, Some(120_000))),
        (Manner::Answer(505, None), refused("http_505")),
        (Manner::Answer(599, None), retry(599, None)),
        (Manner::Hang, unknown("timeout")),
        (Manner::Break, unknown("exchange")),
    ];
    for (manner, expected) in table {
        receiver.set(manner);
        assert_eq!(send(&webhook, parcel(1, 1, Class::Transactional)).await, expected, "{manner:?}");
    }
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let nobody = self::webhook(WebhookConfig::new(&closed, Secret::new(SECRET)));
    let outcome = send(&nobody, parcel(1, 1, Class::Transactional)).await;
    assert_eq!(outcome, Outcome::Retry { reason: "connect".to_owned(), after_ms: None });
    for key in ["", "a.b", "a b", "a\r\nb", "ü"] {
        let odd = Parcel { idempotency_key: key.to_owned(), ..parcel(1, 1, Class::Transactional) };
        assert_eq!(send(&webhook, odd).await, refused("bad_idempotency_key"), "{key:?}");
    }
}

#[test]
fn configuration_that_cannot_work_is_refused_and_secrets_are_not_repeated() {
    let good = || WebhookConfig::new("https://hooks.example/in", Secret::new(SECRET));
    type Change = fn(&mut WebhookConfig);
    let table: &[(&str, &str, Change)] = &[
        ("url", "https", |config| config.url = "http://hooks.example/".to_owned()),
        ("url", "refused", |config| config.url = "https://10.0.0.1/".to_owned()),
        ("url", "user name", |config| config.url = "https://a:b@hooks.example/".to_owned()),
        ("url", "does not begin", |config| config.url = String::new()),
        ("secrets", "1 secret", |config| config.secrets.clear()),
        ("secrets", "1 secret", |config| config.secrets = vec![Secret::new(SECRET); 4]),
        ("secrets", "twice", |config| config.secrets = vec![Secret::new(SECRET); 2]),
        ("secrets", "whsec_", |config| config.secrets = vec![Secret::new("hunter2hunter2hunter2")]),
        ("headers", "Webhook-Id", |config| {
            config.headers = vec![("Webhook-Id".to_owned(), Secret::new("hunter2"))]
        }),
        ("headers", "host", |config| config.headers = vec![("host".to_owned(), Secret::new("hunter2"))]),
        ("headers", "x-a", |config| {
            config.headers = vec![("x-a".to_owned(), Secret::new("hunter2\r\nx: y"))]
        }),
        ("headers", "16", |config| config.headers = vec![("x-a".to_owned(), Secret::new("hunter2")); 17]),
        ("timeout_ms", "1 to 60000", |config| config.timeout_ms = 0),
        ("concurrency_max", "1 to 1000", |config| config.concurrency_max = 0),
    ];
    let strict = Egress::new(EgressOptions::default(), Arc::new(SystemResolver), Env::real().clock).unwrap();
    for (field, fragment, change) in table {
        let mut config = good();
        change(&mut config);
        let error = Webhook::new("test", config, &strict, Env::real().clock).unwrap_err();
        assert_eq!(error.field, *field, "{error}");
        assert!(error.to_string().contains(fragment), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    assert!(Webhook::new("test", good(), &egress(), Env::real().clock).is_ok());
    let parsed: Result<WebhookConfig, _> =
        serde_json::from_str(r#"{"url": "https://hooks.example/", "secrets": [], "colour": 1}"#);
    assert!(parsed.unwrap_err().to_string().contains("colour"));
}
