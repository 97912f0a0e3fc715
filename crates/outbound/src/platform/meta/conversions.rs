//! The Conversions API: `POST /{pixel}/events`, at most 1,000 events a call. One bad event rejects all of its call, so a
//! rejected call is halved. Events that are too old would reject a call, so they are refused before it.

use super::super::answer::{Verdict, Verdicts};
use super::super::api::{Access, Api, Carried, Counters, Opening, check_id, event_name, home_country};
use super::super::contact::{Contact, Personal, sha256_hex};
use super::super::events;
use super::super::message::{Event, Place};
use super::{BASE_URL, Hashed, judge, proof};
use crate::error::ConfigError;
use crate::webhook::Secret;
use delivery::egress::{Egress, Method};
use delivery::env::Clock;
use delivery::{Destination, LaneOptions, Later, Outcome, Parcel};
use model::normalise::PhoneCountry;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Events of one call.
pub const EVENTS_MAX: usize = 1_000;
/// How old an event may be, in seconds.
const AGE_MAX_S: i64 = 7 * 24 * 60 * 60;
/// How old an event of a shop with a door may be, in seconds.
const STORE_AGE_MAX_S: i64 = 62 * 24 * 60 * 60;

/// What Meta calls the events of a shop.
const EVENTS: &[(&str, &str)] = &[
    ("Order Completed", "Purchase"),
    ("Checkout Started", "InitiateCheckout"),
    ("Product Added", "AddToCart"),
    ("Product Added to Wishlist", "AddToWishlist"),
    ("Payment Info Entered", "AddPaymentInfo"),
    ("Product Viewed", "ViewContent"),
    ("Products Searched", "Search"),
    ("Signed Up", "CompleteRegistration"),
];

/// The Conversions API as it is configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetaConversionsConfig {
    /// The pixel, or data set.
    pub pixel_id: String,
    /// A token of the pixel.
    pub access_token: Secret,
    /// The app's secret, if the app demands a proof with every call.
    #[serde(default)]
    pub app_secret: Option<Secret>,
    /// Events by name, and what Meta shall call them, beside the usual ones.
    #[serde(default)]
    pub events: BTreeMap<String, String>,
    /// Shows the events among the test events of this code, and nowhere else.
    #[serde(default)]
    pub test_event_code: Option<String>,
    /// The country of phone numbers that are written as at home.
    #[serde(default)]
    pub home_country: Option<String>,
    /// Where the API is.
    #[serde(default = "default_base_url")]
    pub base_url: String,
    /// How long a call may take, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
}

fn default_base_url() -> String {
    BASE_URL.to_owned()
}

fn default_timeout_ms() -> u64 {
    10_000
}

impl MetaConversionsConfig {
    /// Conversions of a pixel with the defaults.
    pub fn new(pixel_id: &str, access_token: Secret) -> Self {
        Self {
            pixel_id: pixel_id.to_owned(),
            access_token,
            app_secret: None,
            events: BTreeMap::new(),
            test_event_code: None,
            home_country: None,
            base_url: default_base_url(),
            timeout_ms: default_timeout_ms(),
        }
    }

    /// The lane that suits it.
    pub fn lane(&self, name: &str) -> LaneOptions {
        events::lane(name, EVENTS_MAX, 4)
    }
}

/// Conversions as a destination.
pub struct MetaConversions {
    api: Api,
    path: String,
    app_secret: Option<Secret>,
    names: BTreeMap<String, String>,
    test_event_code: Option<String>,
    home: Option<PhoneCountry>,
    verdicts: Verdicts,
}

impl std::fmt::Debug for MetaConversions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("MetaConversions")
    }
}

impl MetaConversions {
    /// Checks the configuration.
    pub fn new(
        name: &str,
        config: MetaConversionsConfig,
        egress: &Egress,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        check_id("pixel_id", &config.pixel_id)?;
        let home = home_country(config.home_country.as_deref())?;
        let api = Api::open(Opening {
            name,
            base_url: &config.base_url,
            access: Access::fixed(config.access_token),
            carried: Carried::Bearer,
            timeout_ms: config.timeout_ms,
            rate: None,
            egress,
            clock,
        })?;
        Ok(Self {
            api,
            path: format!("/{}/events", config.pixel_id),
            app_secret: config.app_secret,
            names: config.events,
            test_event_code: config.test_event_code,
            home,
            verdicts: Verdicts::default(),
        })
    }

    /// What it has done.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.api.counters)
    }

    fn build(&self, contact: &Contact, event: &Event) -> Result<Value, Verdict> {
        let name = event_name(&self.names, EVENTS, &event.name)
            .ok_or_else(|| Verdict::refused("event_not_mapped"))?;
        let event_time_s = event.occurred_at.0.div_euclid(1_000_000);
        let in_store = event.place == Some(Place::PhysicalStore);
        let age_max_s = if in_store { STORE_AGE_MAX_S } else { AGE_MAX_S };
        if event_time_s < self.api.now_s().saturating_sub(age_max_s) {
            return Err(Verdict::refused("event_too_old"));
        }
        let on_website = event.place == Some(Place::Website);
        if on_website && contact.user_agent.is_none() {
            return Err(Verdict::refused("website_event_without_user_agent"));
        }
        if on_website && event.url.is_none() {
            return Err(Verdict::refused("website_event_without_url"));
        }
        let user_data = self.user_data(contact);
        if user_data.is_empty() {
            return Err(Verdict::refused("nothing_to_match"));
        }
        let mut built = json!({
            "event_name": name,
            "event_time": event_time_s,
            "event_id": event.id,
            "action_source": action_source(event.place),
            "user_data": user_data,
        });
        put(&mut built, "event_source_url", event.url.clone().map(Value::from));
        let custom_data = custom_data(event);
        put(&mut built, "custom_data", (!custom_data.is_empty()).then_some(Value::Object(custom_data)));
        Ok(built)
    }

    fn user_data(&self, contact: &Contact) -> Map<String, Value> {
        let person = Hashed::of(&self.api.counters, contact, self.home);
        let mut data = Map::new();
        let mut external: Vec<String> =
            contact.external_ids.iter().map(|id| sha256_hex(id.expose().trim())).collect();
        external.sort();
        external.dedup();
        let one = |value: Option<String>| value.into_iter().collect::<Vec<_>>();
        let lists = [
            ("em", person.emails),
            ("ph", person.phones),
            ("fn", one(person.first_name)),
            ("ln", one(person.last_name)),
            ("ct", one(person.city)),
            ("st", one(person.state)),
            ("zp", one(person.postcode)),
            ("country", one(person.country)),
            ("external_id", external),
        ];
        for (name, values) in lists {
            if !values.is_empty() {
                data.insert(name.to_owned(), Value::from(values));
            }
        }
        let plain: [(&str, &Option<Personal>); 4] = [
            ("client_ip_address", &contact.client_ip),
            ("client_user_agent", &contact.user_agent),
            ("fbc", &contact.click_ids.fbc),
            ("fbp", &contact.click_ids.fbp),
        ];
        for (name, value) in plain {
            if let Some(value) = value {
                data.insert(name.to_owned(), Value::from(value.expose()));
            }
        }
        data
    }

    async fn call(&self, events: Vec<Value>) -> Verdict {
        let sent = events.len();
        let mut body = json!({ "data": events });
        put(&mut body, "test_event_code", self.test_event_code.clone().map(Value::from));
        let proof =
            self.app_secret.as_ref().zip(self.api.fixed_token()).map(|(secret, token)| proof(&token, secret));
        put(&mut body, "appsecret_proof", proof.map(Value::from));
        match self.api.call(Method::Post, &self.path, body.to_string()).await {
            Ok(response) => judge(&self.api, &response, sent),
            Err(verdict) => verdict,
        }
    }
}

fn put(object: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(map), Some(value)) = (object.as_object_mut(), value) {
        map.insert(name.to_owned(), value);
    }
}

fn action_source(place: Option<Place>) -> &'static str {
    match place {
        Some(Place::Website) => "website",
        Some(Place::App) => "app",
        Some(Place::PhysicalStore) => "physical_store",
        Some(Place::PhoneCall) => "phone_call",
        Some(Place::SystemGenerated) | None => "system_generated",
    }
}

fn custom_data(event: &Event) -> Map<String, Value> {
    let mut data = Map::new();
    let mut put = |name: &str, value: Value| data.insert(name.to_owned(), value);
    if let Some(currency) = &event.currency {
        put("currency", Value::from(currency.to_ascii_lowercase()));
    }
    if let Some(value) = &event.value {
        put("value", value.to_json());
    }
    if let Some(order_id) = &event.order_id {
        put("order_id", Value::from(order_id.as_str()));
    }
    if !event.items.is_empty() {
        let line = |item: &super::super::message::Item| {
            let mut line = json!({ "id": item.id, "quantity": item.quantity });
            self::put(
                &mut line,
                "item_price",
                item.price.as_ref().map(super::super::message::Decimal::to_json),
            );
            line
        };
        put("contents", event.items.iter().map(line).collect());
        put("content_ids", event.items.iter().map(|item| Value::from(item.id.as_str())).collect());
        put("content_type", Value::from("product"));
        put("num_items", Value::from(event.items.iter().map(|item| u64::from(item.quantity)).sum::<u64>()));
    }
    data
}

impl Destination for MetaConversions {
    fn send(&self, parcels: Arc<[Parcel]>, timeout_ms: u64) -> Later<'_, Outcome> {
        Box::pin(async move {
            let build = |message: &super::super::message::PersonMessage, event: &Event| {
                self.build(&message.contact, event)
            };
            let call = |events| -> Later<'_, Verdict> { Box::pin(self.call(events)) };
            events::send(&self.api, &self.verdicts, &parcels, timeout_ms, build, call).await
        })
    }
}
