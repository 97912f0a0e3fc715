//! Custom audiences: people are put in (`POST /{audience}/users`), taken out (`DELETE`), or put in place of everything
//! (`POST /{audience}/usersreplace`), at most 10,000 rows a call.

use super::super::Keeping;
use super::super::answer::Verdict;
use super::super::api::{Access, Api, Carried, Counters, Opening, home_country};
use super::super::audience::{Answered, Audiences, AudiencesError, Lists, Part};
use super::super::contact::Contact;
use super::super::shadow::Row;
use super::{BASE_URL, Hashed, judge, proof};
use crate::error::ConfigError;
use crate::webhook::Secret;
use delivery::egress::{Egress, Method};
use delivery::env::Env;
use delivery::{LaneOptions, Later};
use model::normalise::PhoneCountry;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows of one call.
pub const ROWS_MAX: usize = 10_000;
/// The columns of a row. A row holds one address or one number, and what is known of the person beside it.
pub const SCHEMA: [&str; 8] = ["EMAIL", "PHONE", "FN", "LN", "CT", "ST", "ZIP", "COUNTRY"];

/// Custom audiences as they are configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetaAudienceConfig {
    /// A token that may manage the audiences.
    pub access_token: Secret,
    /// The app's secret, if the app demands a proof with every call.
    #[serde(default)]
    pub app_secret: Option<Secret>,
    /// Audiences by name, and the ids of their custom audiences.
    pub lists: BTreeMap<String, String>,
    /// The country of phone numbers that are written as at home.
    #[serde(default)]
    pub home_country: Option<String>,
    /// Where the API is.
    #[serde(default = "default_base_url")]
    pub base_url: String,
    /// How long a call may take, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// People in all lists together.
    #[serde(default)]
    pub people_max: Option<usize>,
}

fn default_base_url() -> String {
    BASE_URL.to_owned()
}

fn default_timeout_ms() -> u64 {
    30_000
}

impl MetaAudienceConfig {
    /// Custom audiences with the defaults.
    pub fn new(access_token: Secret, lists: BTreeMap<String, String>) -> Self {
        Self {
            access_token,
            app_secret: None,
            lists,
            home_country: None,
            base_url: default_base_url(),
            timeout_ms: default_timeout_ms(),
            people_max: None,
        }
    }

    /// The lane that suits it.
    pub fn lane(&self, name: &str) -> LaneOptions {
        Audiences::lane(name, 5_000)
    }

    /// Opens it, with its shadow.
    pub fn open(
        self,
        name: &str,
        env: &Env,
        egress: &Egress,
        keeping: &Keeping<'_>,
    ) -> Result<Audiences, AudiencesError> {
        let (names, people_max) = (self.lists.clone(), self.people_max);
        let lists = Arc::new(MetaLists::new(name, self, egress, env)?);
        Audiences::open(env, keeping, name, names, lists, people_max)
    }
}

struct MetaLists {
    api: Api,
    app_secret: Option<Secret>,
    home: Option<PhoneCountry>,
    /// Sessions begun, so that no two have the same number.
    sessions: AtomicU64,
}

#[derive(Serialize)]
struct Session {
    session_id: u64,
    batch_seq: u64,
    last_batch_flag: bool,
    estimated_num_total: u64,
}

#[derive(Serialize)]
struct Payload<'a> {
    schema: [&'a str; 8],
    is_raw: bool,
    data: Vec<&'a RawValue>,
}

#[derive(Serialize)]
struct Call<'a> {
    session: Session,
    payload: Payload<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    appsecret_proof: Option<String>,
}

impl MetaLists {
    fn new(name: &str, config: MetaAudienceConfig, egress: &Egress, env: &Env) -> Result<Self, ConfigError> {
        let home = home_country(config.home_country.as_deref())?;
        let api = Api::open(Opening {
            name,
            base_url: &config.base_url,
            access: Access::fixed(config.access_token),
            carried: Carried::Bearer,
            timeout_ms: config.timeout_ms,
            rate: None,
            egress,
            clock: Arc::clone(&env.clock),
        })?;
        Ok(Self { api, app_secret: config.app_secret, home, sessions: AtomicU64::new(0) })
    }

    async fn call(&self, method: Method, path: String, session: Session, people: Vec<Vec<Row>>) -> Verdict {
        let rows: Vec<&Row> = people.iter().flatten().collect();
        let data: Result<Vec<&RawValue>, _> = rows.iter().map(|row| serde_json::from_slice(row)).collect();
        let Ok(data) = data else { return Verdict::refused("row_unreadable") };
        let payload = Payload { schema: SCHEMA, is_raw: true, data };
        let appsecret_proof =
            self.app_secret.as_ref().zip(self.api.fixed_token()).map(|(secret, token)| proof(&token, secret));
        let Ok(body) = serde_json::to_string(&Call { session, payload, appsecret_proof }) else {
            return Verdict::refused("payload_unwritable");
        };
        match self.api.call(method, &path, body).await {
            Ok(response) => judge(&self.api, &response, rows.len()),
            Err(verdict) => verdict,
        }
    }

    fn session(&self, rows: usize) -> Session {
        let serial = self.sessions.fetch_add(1, Ordering::Relaxed) % 1_000;
        let now_ms = u64::try_from(self.api.clock.now_us() / 1_000).unwrap_or(0);
        Session {
            session_id: now_ms.saturating_mul(1_000) + serial,
            batch_seq: 1,
            last_batch_flag: true,
            estimated_num_total: rows as u64,
        }
    }
}

impl Lists for MetaLists {
    fn rows(&self, contact: &Contact) -> Vec<Row> {
        let counters: &Counters = &self.api.counters;
        let person = Hashed::of(counters, contact, self.home);
        let or_blank = |value: &Option<String>| value.clone().unwrap_or_default();
        let emails = person.emails.iter().map(|email| (email.as_str(), ""));
        let phones = person.phones.iter().map(|phone| ("", phone.as_str()));
        let row = |(email, phone): (&str, &str)| {
            let row = [
                email.to_owned(),
                phone.to_owned(),
                or_blank(&person.first_name),
                or_blank(&person.last_name),
                or_blank(&person.city),
                or_blank(&person.state),
                or_blank(&person.postcode),
                or_blank(&person.country),
            ];
            serde_json::to_vec(&row).ok().map(Vec::into_boxed_slice)
        };
        emails.chain(phones).filter_map(row).collect()
    }

    fn call_max(&self) -> usize {
        ROWS_MAX
    }

    fn weight(&self, rows: usize) -> usize {
        rows
    }

    fn tell<'a>(&'a self, list: &'a str, add: bool, people: Vec<Vec<Row>>) -> Later<'a, Answered> {
        let method = if add { Method::Post } else { Method::Delete };
        let session = self.session(people.iter().map(Vec::len).sum());
        Box::pin(async move { self.call(method, format!("/{list}/users"), session, people).await.into() })
    }

    fn replace<'a>(
        &'a self,
        list: &'a str,
        part: Part,
        people: Vec<Vec<Row>>,
    ) -> Option<Later<'a, Answered>> {
        let session = Session {
            session_id: part.session,
            batch_seq: part.number,
            last_batch_flag: part.last,
            estimated_num_total: part.people,
        };
        let path = format!("/{list}/usersreplace");
        Some(Box::pin(async move { self.call(Method::Post, path, session, people).await.into() }))
    }

    fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.api.counters)
    }
}
