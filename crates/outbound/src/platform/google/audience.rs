//! Customer Match lists: `audienceMembers:ingest`, `audienceMembers:remove`, and `audienceMembers:removeAll` with
//! `removeAsOfTime`, which takes out whoever was not added again since, so that a list is replaced without being empty.

use super::super::Keeping;
use super::super::answer::Verdict;
use super::super::api::{Access, Api, Carried, Counters, Opening, Renewable, home_country};
use super::super::audience::{Answered, Audiences, AudiencesError, Lists, Part, Settled};
use super::super::contact::Contact;
use super::super::shadow::Row;
use super::later::Requests;
use super::{BASE_URL, GoogleAccount, RATE, destinations, identifiers, judge};
use crate::error::ConfigError;
use crate::render::format_instant;
use crate::webhook::Secret;
use delivery::egress::{Egress, Method};
use delivery::env::Env;
use delivery::{LaneOptions, Later, RateOptions};
use model::id::Timestamp;
use model::normalise::PhoneCountry;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Members of one call.
pub const MEMBERS_MAX: usize = 10_000;

/// Customer Match as it is configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoogleAudienceConfig {
    /// A token with the scope `https://www.googleapis.com/auth/datamanager`.
    #[serde(default)]
    pub access_token: Option<Secret>,
    /// Instead of a token: the credentials file that gives tokens, as it stands.
    #[serde(default)]
    pub oauth: Option<Secret>,
    /// Where tokens come from.
    #[serde(default = "super::default_token_url")]
    pub token_url: String,
    /// The account whose lists they are.
    pub operating_account: GoogleAccount,
    /// The account that the token signs in to, where that is another one.
    #[serde(default)]
    pub login_account: Option<GoogleAccount>,
    /// Audiences by name, and the ids of their user lists.
    pub lists: BTreeMap<String, String>,
    /// Whether the terms of Customer Match were accepted. Nothing is sent unless they were.
    pub terms_accepted: bool,
    /// The country of phone numbers that are written as at home.
    #[serde(default)]
    pub home_country: Option<String>,
    /// Where the API is.
    #[serde(default = "default_base_url")]
    pub base_url: String,
    /// How long a call may take, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// How long after a request its outcome is asked for, in milliseconds.
    #[serde(default = "default_ask_after_ms")]
    pub ask_after_ms: u64,
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

fn default_ask_after_ms() -> u64 {
    60_000
}

impl GoogleAudienceConfig {
    /// Lists of an account with the defaults.
    pub fn new(
        access_token: Secret,
        operating_account: GoogleAccount,
        lists: BTreeMap<String, String>,
    ) -> Self {
        Self {
            access_token: Some(access_token),
            oauth: None,
            token_url: super::default_token_url(),
            operating_account,
            login_account: None,
            lists,
            terms_accepted: true,
            home_country: None,
            base_url: default_base_url(),
            timeout_ms: default_timeout_ms(),
            ask_after_ms: default_ask_after_ms(),
            people_max: None,
        }
    }

    /// The lane that suits it: attempts are spaced so that the day's quota is never spent.
    pub fn lane(&self, name: &str) -> LaneOptions {
        let rate = Some(RateOptions { attempts_per_second: 1, burst: 100 });
        LaneOptions { rate, ..Audiences::lane(name, MEMBERS_MAX) }
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
        let lists = Arc::new(GoogleLists::new(name, self, egress, env)?);
        Audiences::open(env, keeping, name, names, lists, people_max)
    }
}

struct GoogleLists {
    api: Api,
    operating: GoogleAccount,
    login: Option<GoogleAccount>,
    home: Option<PhoneCountry>,
    requests: Requests,
}

impl GoogleLists {
    fn new(
        name: &str,
        config: GoogleAudienceConfig,
        egress: &Egress,
        env: &Env,
    ) -> Result<Self, ConfigError> {
        config.operating_account.check("operating_account")?;
        config.login_account.as_ref().map_or(Ok(()), |account| account.check("login_account"))?;
        if !config.terms_accepted {
            let what = "must be true: accept the terms of Customer Match at Google, then say so here";
            return Err(ConfigError::new("terms_accepted", what));
        }
        let home = home_country(config.home_country.as_deref())?;
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
            operating: config.operating_account,
            login: config.login_account,
            home,
            // What is not acknowledged is said again after a restart: its numbers need not be kept.
            requests: Requests::in_memory(config.ask_after_ms),
        })
    }

    fn to(&self, list: &str) -> Value {
        destinations(&self.operating, self.login.as_ref(), list)
    }

    async fn members(&self, list: &str, add: bool, people: Vec<Vec<Row>>) -> Answered {
        let count = people.len() as u64;
        let members: Option<Vec<Value>> = people.iter().map(|rows| member(rows)).collect();
        let Some(members) = members else { return Verdict::refused("row_unreadable").into() };
        let mut body =
            json!({ "destinations": self.to(list), "audienceMembers": members, "encoding": "HEX" });
        if let (true, Some(map)) = (add, body.as_object_mut()) {
            let terms = json!({ "customerMatchTermsOfServiceStatus": "ACCEPTED" });
            map.insert("termsOfService".to_owned(), terms);
        }
        let path = if add { "/audienceMembers:ingest" } else { "/audienceMembers:remove" };
        self.call(path, body, count).await
    }

    async fn call(&self, path: &str, body: Value, count: u64) -> Answered {
        let response = match self.api.call(Method::Post, path, body.to_string()).await {
            Ok(response) => response,
            Err(verdict) => return verdict.into(),
        };
        let (verdict, id) = judge(&self.api, &response);
        if let Some(id) = &id {
            Counters::add(&self.api.counters.taken, count);
            self.requests.taken_in(&self.api, id.clone()).await;
        }
        Answered { verdict, request: id }
    }

    async fn replace_part(&self, list: &str, part: Part, people: Vec<Vec<Row>>) -> Answered {
        if !part.last {
            return self.members(list, true, people).await;
        }
        let before = format_instant(Timestamp(part.began_us));
        let body = json!({ "destinations": self.to(list), "removeAsOfTime": before });
        self.call("/audienceMembers:removeAll", body, 0).await
    }
}

fn member(rows: &[Row]) -> Option<Value> {
    let identifiers: Result<Vec<Value>, _> = rows.iter().map(|row| serde_json::from_slice(row)).collect();
    Some(json!({ "userData": { "userIdentifiers": identifiers.ok()? } }))
}

impl Lists for GoogleLists {
    fn rows(&self, contact: &Contact) -> Vec<Row> {
        let identifiers = identifiers(&self.api.counters, contact, self.home);
        identifiers.iter().map(|one| one.to_string().into_bytes().into_boxed_slice()).collect()
    }

    fn call_max(&self) -> usize {
        MEMBERS_MAX
    }

    fn weight(&self, _rows: usize) -> usize {
        1
    }

    fn tell<'a>(&'a self, list: &'a str, add: bool, people: Vec<Vec<Row>>) -> Later<'a, Answered> {
        Box::pin(self.members(list, add, people))
    }

    fn replace<'a>(
        &'a self,
        list: &'a str,
        part: Part,
        people: Vec<Vec<Row>>,
    ) -> Option<Later<'a, Answered>> {
        Some(Box::pin(self.replace_part(list, part, people)))
    }

    fn ends_apart(&self) -> bool {
        true
    }

    fn settled(&self) -> Later<'_, Vec<Settled>> {
        Box::pin(self.requests.ask(&self.api))
    }

    fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.api.counters)
    }
}
