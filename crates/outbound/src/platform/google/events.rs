//! Conversions: `events:ingest`, at most 2,000 events a call.

use super::super::Keeping;
use super::super::answer::{Verdict, Verdicts};
use super::super::api::{
    Access, Api, Carried, Counters, Opening, Renewable, check_id, event_name, home_country,
};
use super::super::contact::{Contact, Personal};
use super::super::events as batches;
use super::super::message::{Event, Item, PersonMessage, Place};
use super::later::Requests;
use super::{BASE_URL, GoogleAccount, RATE, consent, destinations, identifiers, judge};
use crate::error::ConfigError;
use crate::render::format_instant;
use crate::webhook::Secret;
use delivery::egress::{Egress, Method};
use delivery::env::Env;
use delivery::{Destination, LaneOptions, Later, Outcome, Parcel, RateOptions};
use model::normalise::PhoneCountry;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Events of one call.
pub const EVENTS_MAX: usize = 2_000;

/// What Google calls the events of a shop.
const EVENTS: &[(&str, &str)] = &[
    ("Order Completed", "purchase"),
    ("Checkout Started", "begin_checkout"),
    ("Product Added", "add_to_cart"),
    ("Product Viewed", "view_item"),
    ("Signed Up", "sign_up"),
];

/// Conversions as they are configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoogleEventsConfig {
    /// A token with the scope `https://www.googleapis.com/auth/datamanager`.
    #[serde(default)]
    pub access_token: Option<Secret>,
    /// Instead of a token: the credentials file that gives tokens, as it stands.
    #[serde(default)]
    pub oauth: Option<Secret>,
    /// Where tokens come from.
    #[serde(default = "super::default_token_url")]
    pub token_url: String,
    /// The account whose conversions they are.
    pub operating_account: GoogleAccount,
    /// The account that the token signs in to, where that is another one.
    #[serde(default)]
    pub login_account: Option<GoogleAccount>,
    /// The conversion action.
    pub conversion_action_id: String,
    /// Events by name, and what Google shall call them, beside the usual ones.
    #[serde(default)]
    pub events: BTreeMap<String, String>,
    /// The country of phone numbers that are written as at home.
    #[serde(default)]
    pub home_country: Option<String>,
    /// Lets Google check the events and do nothing with them.
    #[serde(default)]
    pub validate_only: bool,
    /// Where the API is.
    #[serde(default = "default_base_url")]
    pub base_url: String,
    /// How long a call may take, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// How long after a request its outcome is asked for, in milliseconds.
    #[serde(default = "default_ask_after_ms")]
    pub ask_after_ms: u64,
}

fn default_base_url() -> String {
    BASE_URL.to_owned()
}

fn default_timeout_ms() -> u64 {
    30_000
}

fn default_ask_after_ms() -> u64 {
    60_000
}

impl GoogleEventsConfig {
    /// Conversions of an action with the defaults.
    pub fn new(access_token: Secret, operating_account: GoogleAccount, conversion_action_id: &str) -> Self {
        Self {
            access_token: Some(access_token),
            oauth: None,
            token_url: super::default_token_url(),
            operating_account,
            login_account: None,
            conversion_action_id: conversion_action_id.to_owned(),
            events: BTreeMap::new(),
            home_country: None,
            validate_only: false,
            base_url: default_base_url(),
            timeout_ms: default_timeout_ms(),
            ask_after_ms: default_ask_after_ms(),
        }
    }

    /// The lane that suits it. The day's quota is held by the client, which counts calls; attempts that only hear a
    /// verdict that is known already need none.
    pub fn lane(&self, name: &str) -> LaneOptions {
        let rate = Some(RateOptions { attempts_per_second: 5, burst: 50 });
        LaneOptions { rate, ..batches::lane(name, EVENTS_MAX, 2) }
    }
}

/// Conversions as a destination.
pub struct GoogleEvents {
    api: Api,
    destinations: Value,
    names: BTreeMap<String, String>,
    home: Option<PhoneCountry>,
    validate_only: bool,
    requests: Requests,
    verdicts: Verdicts,
}

impl std::fmt::Debug for GoogleEvents {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("GoogleEvents")
    }
}

impl GoogleEvents {
    /// Checks the configuration.
    pub fn new(
        name: &str,
        config: GoogleEventsConfig,
        egress: &Egress,
        env: &Env,
        keeping: &Keeping<'_>,
    ) -> Result<Self, ConfigError> {
        config.operating_account.check("operating_account")?;
        config.login_account.as_ref().map_or(Ok(()), |account| account.check("login_account"))?;
        check_id("conversion_action_id", &config.conversion_action_id)?;
        let home = home_country(config.home_country.as_deref())?;
        let login = config.login_account.as_ref();
        let destinations = destinations(&config.operating_account, login, &config.conversion_action_id);
        let given = Renewable {
            access_token: config.access_token,
            oauth: config.oauth.as_ref(),
            token_url: &config.token_url,
        };
        let access = Access::open(name, given, egress, &env.clock)?;
        let api = Api::open(Opening {
            name,
            base_url: &config.base_url,
            access,
            carried: Carried::Bearer,
            timeout_ms: config.timeout_ms,
            rate: Some(RATE),
            egress,
            clock: Arc::clone(&env.clock),
        })?;
        Ok(Self {
            api,
            destinations,
            names: config.events,
            home,
            validate_only: config.validate_only,
            requests: Requests::kept(config.ask_after_ms, env, keeping.folder, name)?,
            verdicts: Verdicts::default(),
        })
    }

    /// What it has done.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.api.counters)
    }

    fn build(&self, message: &PersonMessage, event: &Event) -> Result<Value, Verdict> {
        let name = event_name(&self.names, EVENTS, &event.name)
            .ok_or_else(|| Verdict::refused("event_not_mapped"))?;
        let contact = &message.contact;
        let people = identifiers(&self.api.counters, contact, self.home);
        let clicks = ad_identifiers(contact);
        if people.is_empty() && clicks.is_empty() {
            return Err(Verdict::refused("nothing_to_match"));
        }
        let mut built = Map::new();
        let mut put = |name: &str, value: Value| built.insert(name.to_owned(), value);
        put("eventName", Value::from(name));
        put("transactionId", Value::from(event.order_id.as_deref().unwrap_or(&event.id)));
        put("eventTimestamp", Value::from(format_instant(event.occurred_at)));
        put("eventSource", Value::from(event_source(event.place)));
        if !people.is_empty() {
            put("userData", json!({ "userIdentifiers": people }));
        }
        if !clicks.is_empty() {
            put("adIdentifiers", Value::Object(clicks));
        }
        if let Some(consent) = consent(message.consent) {
            put("consent", consent);
        }
        if let (Some(value), Some(currency)) = (&event.value, &event.currency) {
            put("conversionValue", value.to_json());
            put("currency", Value::from(currency.as_str()));
        }
        let device = device(contact);
        if !device.is_empty() {
            put("eventDeviceInfo", Value::Object(device));
        }
        if !event.items.is_empty() {
            put("cartData", json!({ "items": event.items.iter().map(item).collect::<Vec<_>>() }));
        }
        Ok(Value::Object(built))
    }

    async fn call(&self, events: Vec<Value>) -> Verdict {
        let count = events.len() as u64;
        let mut body = json!({ "destinations": self.destinations, "events": events, "encoding": "HEX" });
        if let (true, Some(map)) = (self.validate_only, body.as_object_mut()) {
            map.insert("validateOnly".to_owned(), Value::from(true));
        }
        let response = match self.api.call(Method::Post, "/events:ingest", body.to_string()).await {
            Ok(response) => response,
            Err(verdict) => return verdict,
        };
        let (verdict, id) = judge(&self.api, &response);
        if let Some(id) = id {
            Counters::add(&self.api.counters.taken, count);
            self.requests.taken_in(&self.api, id).await;
        }
        verdict
    }
}

fn event_source(place: Option<Place>) -> &'static str {
    match place {
        Some(Place::Website) => "WEB",
        Some(Place::App) => "APP",
        Some(Place::PhysicalStore) => "IN_STORE",
        Some(Place::PhoneCall) => "PHONE",
        Some(Place::SystemGenerated) | None => "OTHER",
    }
}

fn texts(all: &[(&str, &Option<Personal>)]) -> Map<String, Value> {
    let known = all.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?)));
    known.map(|(name, value)| (name.to_owned(), Value::from(value.expose()))).collect()
}

fn ad_identifiers(contact: &Contact) -> Map<String, Value> {
    let ids = &contact.click_ids;
    texts(&[("gclid", &ids.gclid), ("gbraid", &ids.gbraid), ("wbraid", &ids.wbraid)])
}

fn device(contact: &Contact) -> Map<String, Value> {
    texts(&[("userAgent", &contact.user_agent), ("ipAddress", &contact.client_ip)])
}

fn item(item: &Item) -> Value {
    let mut line = json!({ "itemId": item.id, "quantity": item.quantity.to_string() });
    if let (Some(map), Some(price)) = (line.as_object_mut(), &item.price) {
        map.insert("unitPrice".to_owned(), price.to_json());
    }
    line
}

impl Destination for GoogleEvents {
    fn send(&self, parcels: Arc<[Parcel]>, timeout_ms: u64) -> Later<'_, Outcome> {
        Box::pin(async move {
            let build = |message: &PersonMessage, event: &Event| self.build(message, event);
            let call = |events| -> Later<'_, Verdict> { Box::pin(self.call(events)) };
            batches::send(&self.api, &self.verdicts, &parcels, timeout_ms, build, call).await
        })
    }

    fn tend(&self, _stopping: bool) -> Later<'_, ()> {
        Box::pin(async move {
            // What became of events is counted, and nobody can be asked to do them again.
            self.requests.ask(&self.api).await;
        })
    }
}
