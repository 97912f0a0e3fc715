//! Criteo's contact lists: `PATCH /2026-01/marketing-solutions/audience-segments/{id}/contact-list`.
//!
//! People are named by the SHA-256 of their address, trimmed and in lower case. Limits and lags are not documented in
//! public: a call holds 10,000 identifiers at most, and a re-sync goes by differences. The access token, which ends
//! within the hour, goes in the header `Authorization`.
//!
//! | answer | means |
//! |---|---|
//! | 2xx | accepted; identifiers that Criteo could not read are counted |
//! | 408, 425, 429, 5xx | later, or when `Retry-After` says |
//! | 401, 403, 404 | later, in five minutes: an operator has to act |
//! | any other | refused: halved until the bad one stands alone |
//! | time-out or break after the request was sent | later: lists are sets |

use super::Keeping;
use super::answer::{Verdict, judge_status, plain_code};
use super::api::{Access, Api, Carried, Counters, Opening, Renewable};
use super::audience::{Answered, Audiences, AudiencesError, Lists};
use super::contact::{Contact, Unusable, is_hex, is_space, sha256_hex, strip_lower};
use super::shadow::Row;
use crate::error::ConfigError;
use crate::webhook::Secret;
use delivery::egress::{Egress, Method, Response};
use delivery::env::Env;
use delivery::{LaneOptions, Later};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where Criteo's API is.
pub const BASE_URL: &str = "https://api.criteo.com";
/// Where tokens of Criteo come from.
pub const TOKEN_URL: &str = "https://api.criteo.com/oauth2/token";
/// Identifiers of one call.
pub const IDENTIFIERS_MAX: usize = 10_000;

/// Contact lists as they are configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CriteoConfig {
    /// A token that may manage audiences.
    #[serde(default)]
    pub access_token: Option<Secret>,
    /// Instead of a token: the credentials file that gives tokens, as it stands.
    #[serde(default)]
    pub oauth: Option<Secret>,
    /// Where tokens come from.
    #[serde(default = "default_token_url")]
    pub token_url: String,
    /// Audiences by name, and the ids of their audience segments.
    pub lists: BTreeMap<String, String>,
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

fn default_token_url() -> String {
    TOKEN_URL.to_owned()
}

fn default_base_url() -> String {
    BASE_URL.to_owned()
}

fn default_timeout_ms() -> u64 {
    30_000
}

impl CriteoConfig {
    /// Contact lists with the defaults.
    pub fn new(access_token: Secret, lists: BTreeMap<String, String>) -> Self {
        let (base_url, timeout_ms) = (default_base_url(), default_timeout_ms());
        Self {
            access_token: Some(access_token),
            oauth: None,
            token_url: default_token_url(),
            lists,
            base_url,
            timeout_ms,
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
        let lists = Arc::new(CriteoLists::new(name, self, egress, env)?);
        Audiences::open(env, keeping, name, names, lists, people_max)
    }
}

struct CriteoLists {
    api: Api,
}

#[derive(Deserialize)]
struct Answer {
    data: Option<AnswerData>,
    #[serde(default)]
    errors: Vec<AnswerError>,
}

#[derive(Deserialize)]
struct AnswerData {
    attributes: AnswerAttributes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerAttributes {
    #[serde(default)]
    nb_invalid_identifiers: u64,
}

#[derive(Deserialize)]
struct AnswerError {
    #[serde(default)]
    code: String,
}

impl CriteoLists {
    fn new(name: &str, config: CriteoConfig, egress: &Egress, env: &Env) -> Result<Self, ConfigError> {
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
            rate: None,
            egress,
            clock: Arc::clone(&env.clock),
        })?;
        Ok(Self { api })
    }

    async fn amend(&self, list: &str, add: bool, people: Vec<Vec<Row>>) -> Verdict {
        let texts = people.iter().flatten().map(|row| std::str::from_utf8(row).map(Value::from));
        let Ok(identifiers) = texts.collect::<Result<Vec<Value>, _>>() else {
            return Verdict::refused("row_unreadable");
        };
        let count = identifiers.len() as u64;
        let body = json!({ "data": { "type": "ContactlistAmendment", "attributes": {
            "operation": if add { "add" } else { "remove" },
            "identifierType": "email",
            "identifiers": identifiers,
        }}});
        let path = format!("/2026-01/marketing-solutions/audience-segments/{list}/contact-list");
        match self.api.call(Method::Patch, &path, body.to_string()).await {
            Ok(response) => self.judge(&response, count),
            Err(verdict) => verdict,
        }
    }

    fn judge(&self, response: &Response, count: u64) -> Verdict {
        let answer = serde_json::from_slice::<Answer>(&response.body).ok();
        let code =
            answer.as_ref().and_then(|answer| answer.errors.first()).map(|error| plain_code(&error.code));
        match (response.status, judge_status("criteo", response, &*self.api.clock)) {
            (_, Verdict::Accepted) => match answer.and_then(|answer| answer.data) {
                Some(data) => {
                    Counters::add(&self.api.counters.taken, count);
                    Counters::add(&self.api.counters.invalid, data.attributes.nb_invalid_identifiers);
                    Verdict::Accepted
                }
                None => Verdict::later("criteo_answer_unreadable"),
            },
            (404, _) => Verdict::operator("criteo_http_404"),
            (_, Verdict::Refused { reason }) => Verdict::Refused {
                reason: code.map_or_else(|| reason.clone(), |code| format!("{reason}_{code}")),
            },
            (_, other) => other,
        }
    }
}

/// An address: trimmed, in lower case, hashed. A SHA-256 passes.
pub fn email(value: &str) -> Result<String, Unusable> {
    let value = strip_lower(value);
    if is_hex(&value, 64) {
        return Ok(value);
    }
    let shaped = value.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
    if shaped && !value.contains(is_space) {
        Ok(sha256_hex(&value))
    } else {
        Err(Unusable::new("email", "not_an_address"))
    }
}

impl Lists for CriteoLists {
    fn rows(&self, contact: &Contact) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for one in &contact.emails {
            match email(one.expose()) {
                Ok(hash) => rows.push(hash.into_bytes().into_boxed_slice()),
                Err(_) => Counters::add(&self.api.counters.unusable, 1),
            }
        }
        rows.sort();
        rows.dedup();
        rows
    }

    fn call_max(&self) -> usize {
        IDENTIFIERS_MAX
    }

    fn weight(&self, rows: usize) -> usize {
        rows
    }

    fn tell<'a>(&'a self, list: &'a str, add: bool, people: Vec<Vec<Row>>) -> Later<'a, Answered> {
        Box::pin(async move { self.amend(list, add, people).await.into() })
    }

    fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.api.counters)
    }
}
