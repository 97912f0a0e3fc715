//! TikTok's Events API: `POST /open_api/v1.3/event/track/`, with the token in the header `Access-Token`.
//!
//! TikTok's own documentation names no limit of a call in public; 1,000 events are from a second source. TikTok answers
//! 200 and says in `code` what it thinks.
//!
//! | answer | means |
//! |---|---|
//! | code 0 | accepted |
//! | code 40016, 40100, 40133; 429 | later, in a minute or when `Retry-After` says |
//! | code 40001, 40101 to 40105, 40110; 401, 403 | later, in five minutes: an operator has to act |
//! | code 50000 and above; 5xx | later |
//! | any other code, e.g. 40002 | refused: halved until the bad one stands alone |
//! | time-out or break after the request was sent | later: events are dropped as repeats by `event` and `event_id` for 48 hours |

use super::answer::{Verdict, Verdicts, asked_ms, judge_status};
use super::api::{Access, Api, Carried, Counters, Opening, check_id, event_name, home_country};
use super::contact::{Contact, Personal, Unusable, has_foreign_digit, is_space, sha256_hex, strip_lower};
use super::events;
use super::message::{Event, Item, PersonMessage, Place};
use crate::error::ConfigError;
use crate::webhook::Secret;
use delivery::egress::{Egress, Method, Response};
use delivery::env::Clock;
use delivery::{Destination, LaneOptions, Later, Outcome, Parcel};
use model::normalise::PhoneCountry;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where TikTok's API is.
pub const BASE_URL: &str = "https://business-api.tiktok.com/open_api/v1.3";
/// Events of one call.
pub const EVENTS_MAX: usize = 1_000;
/// How long to wait when a limit is reached and nothing is said, in milliseconds.
const LIMITED_WAIT_MS: u64 = 60_000;

/// What TikTok calls the events of a shop.
const EVENTS: &[(&str, &str)] = &[
    ("Order Completed", "CompletePayment"),
    ("Checkout Started", "InitiateCheckout"),
    ("Product Added", "AddToCart"),
    ("Product Added to Wishlist", "AddToWishlist"),
    ("Payment Info Entered", "AddPaymentInfo"),
    ("Product Viewed", "ViewContent"),
    ("Products Searched", "Search"),
    ("Signed Up", "CompleteRegistration"),
];

/// The Events API as it is configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TiktokConfig {
    /// The pixel, or event set.
    pub event_source_id: String,
    /// Where its events come from: `web`, `app`, `offline` or `crm`.
    #[serde(default = "default_event_source")]
    pub event_source: String,
    /// The token.
    pub access_token: Secret,
    /// Events by name, and what TikTok shall call them, beside the usual ones.
    #[serde(default)]
    pub events: BTreeMap<String, String>,
    /// Shows the events among the test events of this code.
    #[serde(default)]
    pub test_event_code: Option<String>,
    /// The country of phone numbers that are written as at home.
    #[serde(default)]
    pub home_country: Option<String>,
    /// Events of one call.
    #[serde(default = "default_batch_max")]
    pub batch_max: usize,
    /// Where the API is.
    #[serde(default = "default_base_url")]
    pub base_url: String,
    /// How long a call may take, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
}

fn default_event_source() -> String {
    "web".to_owned()
}

fn default_batch_max() -> usize {
    // What a large sender uses; the limit is from a second source.
    50
}

fn default_base_url() -> String {
    BASE_URL.to_owned()
}

fn default_timeout_ms() -> u64 {
    10_000
}

impl TiktokConfig {
    /// Events of a pixel with the defaults.
    pub fn new(event_source_id: &str, access_token: Secret) -> Self {
        Self {
            event_source_id: event_source_id.to_owned(),
            event_source: default_event_source(),
            access_token,
            events: BTreeMap::new(),
            test_event_code: None,
            home_country: None,
            batch_max: default_batch_max(),
            base_url: default_base_url(),
            timeout_ms: default_timeout_ms(),
        }
    }

    /// The lane that suits it.
    pub fn lane(&self, name: &str) -> LaneOptions {
        events::lane(name, self.batch_max.clamp(1, EVENTS_MAX), 4)
    }
}

/// TikTok's events as a destination.
pub struct Tiktok {
    api: Api,
    config: TiktokConfig,
    home: Option<PhoneCountry>,
    verdicts: Verdicts,
}

impl std::fmt::Debug for Tiktok {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Tiktok")
    }
}

#[derive(Deserialize)]
struct Answer {
    code: i64,
}

impl Tiktok {
    /// Checks the configuration.
    pub fn new(
        name: &str,
        config: TiktokConfig,
        egress: &Egress,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        check_id("event_source_id", &config.event_source_id)?;
        if !matches!(config.event_source.as_str(), "web" | "app" | "offline" | "crm") {
            return Err(ConfigError::new("event_source", "must be web, app, offline or crm"));
        }
        if config.batch_max == 0 || config.batch_max > EVENTS_MAX {
            return Err(ConfigError::new("batch_max", "must be 1 to 1000"));
        }
        let home = home_country(config.home_country.as_deref())?;
        let api = Api::open(Opening {
            name,
            base_url: &config.base_url,
            access: Access::fixed(config.access_token.clone()),
            carried: Carried::Header("access-token"),
            timeout_ms: config.timeout_ms,
            rate: None,
            egress,
            clock,
        })?;
        Ok(Self { api, config, home, verdicts: Verdicts::default() })
    }

    /// What it has done.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.api.counters)
    }

    fn build(&self, contact: &Contact, event: &Event) -> Result<Value, Verdict> {
        let names = &self.config.events;
        let name =
            event_name(names, EVENTS, &event.name).ok_or_else(|| Verdict::refused("event_not_mapped"))?;
        let user = self.user(contact);
        if user.is_empty() {
            return Err(Verdict::refused("nothing_to_match"));
        }
        let mut built = json!({
            "event": name,
            "event_id": event.id,
            "event_time": event.occurred_at.0.div_euclid(1_000_000),
            "user": user,
        });
        let Some(map) = built.as_object_mut() else { return Err(Verdict::refused("payload_unwritable")) };
        let properties = properties(event);
        if !properties.is_empty() {
            map.insert("properties".to_owned(), Value::Object(properties));
        }
        if let (Some(url), Some(Place::Website) | None) = (&event.url, event.place) {
            map.insert("page".to_owned(), json!({ "url": url }));
        }
        Ok(built)
    }

    fn user(&self, contact: &Contact) -> Map<String, Value> {
        let counters = &self.api.counters;
        let phones = contact.phones_e164(self.home);
        Counters::add(&counters.unusable, contact.phones.len().saturating_sub(phones.len()) as u64);
        let usable = |hash: Result<String, Unusable>| {
            if hash.is_err() {
                Counters::add(&counters.unusable, 1);
            }
            hash.ok()
        };
        let mut emails: Vec<String> =
            contact.emails.iter().filter_map(|one| usable(email(one.expose()))).collect();
        let mut phones: Vec<String> = phones.iter().filter_map(|one| usable(phone(one.expose()))).collect();
        let mut external: Vec<String> =
            contact.external_ids.iter().map(|one| sha256_hex(one.expose().trim())).collect();
        let mut user = Map::new();
        for (name, values) in [("email", &mut emails), ("phone", &mut phones), ("external_id", &mut external)]
        {
            values.sort();
            // One value of each kind: the form of several is not documented in public.
            if let Some(first) = values.first() {
                user.insert(name.to_owned(), Value::from(first.as_str()));
            }
        }
        let plain: [(&str, &Option<Personal>); 4] = [
            ("ttclid", &contact.click_ids.ttclid),
            ("ttp", &contact.click_ids.ttp),
            ("ip", &contact.client_ip),
            ("user_agent", &contact.user_agent),
        ];
        for (name, value) in plain {
            if let Some(value) = value {
                user.insert(name.to_owned(), Value::from(value.expose()));
            }
        }
        user
    }

    async fn call(&self, events: Vec<Value>) -> Verdict {
        let count = events.len() as u64;
        let mut body = json!({
            "event_source": self.config.event_source,
            "event_source_id": self.config.event_source_id,
            "data": events,
        });
        if let (Some(map), Some(code)) = (body.as_object_mut(), &self.config.test_event_code) {
            map.insert("test_event_code".to_owned(), Value::from(code.as_str()));
        }
        match self.api.call(Method::Post, "/event/track/", body.to_string()).await {
            Ok(response) => judge(&self.api, &response, count),
            Err(verdict) => verdict,
        }
    }
}

/// An address: without white space, in lower case, hashed. A SHA-256 passes.
pub fn email(value: &str) -> Result<String, Unusable> {
    let value: String = strip_lower(value).chars().filter(|character| !is_space(*character)).collect();
    if super::contact::is_hex(&value, 64) {
        return Ok(value);
    }
    let shaped = value.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
    if shaped { Ok(sha256_hex(&value)) } else { Err(Unusable::new("email", "not_an_address")) }
}

/// A number in E.164 with its `+`, hashed.
pub fn phone(value: &str) -> Result<String, Unusable> {
    let digits = value.strip_prefix('+').unwrap_or_default();
    let plain = digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain && !has_foreign_digit(value) {
        Ok(sha256_hex(value))
    } else {
        Err(Unusable::new("phone", "not_e164"))
    }
}

fn properties(event: &Event) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut put = |name: &str, value: Value| properties.insert(name.to_owned(), value);
    if let (Some(value), Some(currency)) = (&event.value, &event.currency) {
        put("value", value.to_json());
        put("currency", Value::from(currency.as_str()));
    }
    if let Some(order_id) = &event.order_id {
        put("order_id", Value::from(order_id.as_str()));
    }
    if !event.items.is_empty() {
        let line = |item: &Item| {
            let mut line = json!({ "content_id": item.id, "quantity": item.quantity });
            if let (Some(map), Some(price)) = (line.as_object_mut(), &item.price) {
                map.insert("price".to_owned(), price.to_json());
            }
            line
        };
        put("contents", event.items.iter().map(line).collect());
        put("content_type", Value::from("product"));
    }
    properties
}

fn judge(api: &Api, response: &Response, count: u64) -> Verdict {
    let status = judge_status("tiktok", response, &*api.clock);
    let Ok(answer) = serde_json::from_slice::<Answer>(&response.body) else {
        return if status == Verdict::Accepted { Verdict::later("tiktok_answer_unreadable") } else { status };
    };
    if answer.code == 0 {
        if status == Verdict::Accepted {
            Counters::add(&api.counters.taken, count);
        }
        return status;
    }
    judge_code(answer.code, asked_ms(response, &*api.clock))
}

fn judge_code(code: i64, after_ms: Option<u64>) -> Verdict {
    let reason = format!("tiktok_{code}");
    match code {
        40_016 | 40_100 | 40_133 => Verdict::Later { reason, after_ms: after_ms.or(Some(LIMITED_WAIT_MS)) },
        40_001 | 40_101..=40_105 | 40_110 => Verdict::operator(reason),
        50_000.. => Verdict::Later { reason, after_ms },
        _ => Verdict::Refused { reason },
    }
}

impl Destination for Tiktok {
    fn send(&self, parcels: Arc<[Parcel]>, timeout_ms: u64) -> Later<'_, Outcome> {
        Box::pin(async move {
            let build = |message: &PersonMessage, event: &Event| self.build(&message.contact, event);
            let call = |events| -> Later<'_, Verdict> { Box::pin(self.call(events)) };
            events::send(&self.api, &self.verdicts, &parcels, timeout_ms, build, call).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_codes() {
        assert_eq!(email(" Ann@Shop.Test "), Ok(sha256_hex("ann@shop.test")));
        assert_eq!(email(&sha256_hex("x")), Ok(sha256_hex("x")));
        assert!(email("ann").is_err() && email("@x").is_err());
        assert_eq!(phone("+4930123456"), Ok(sha256_hex("+4930123456")));
        assert!(phone("4930123456").is_err() && phone("+49").is_err() && phone("+49a30123456").is_err());
        let operator = super::super::answer::OPERATOR_WAIT_MS;
        let later = |code: i64, after_ms| Verdict::Later { reason: format!("tiktok_{code}"), after_ms };
        assert_eq!(judge_code(40_002, None), Verdict::refused("tiktok_40002"));
        assert_eq!(judge_code(40_100, Some(7)), later(40_100, Some(7)));
        assert_eq!(judge_code(40_100, None), later(40_100, Some(60_000)));
        assert_eq!(judge_code(40_105, None), later(40_105, Some(operator)));
        assert_eq!(judge_code(51_000, None), later(51_000, None));
    }
}
