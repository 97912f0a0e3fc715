//! Google: audience members and events through the Data Manager API.
//!
//! Sources: `developers.google.com/data-manager/api/reference/rest`; the package `google-ads-datamanager` 0.9.4, whose
//! types read every payload of ours in the tests of `clients/platform-payloads`. The access token goes in the header
//! `Authorization`.
//!
//! A 200 says that a request was taken in, with an id; what became of it is asked later with that id
//! ([`later::Requests`]).
//!
//! | answer | means |
//! |---|---|
//! | 200 with `requestId` | accepted; its outcome is asked for |
//! | `RESOURCE_EXHAUSTED`, 429 | later, in a minute or when `Retry-After` says |
//! | `UNAVAILABLE`, `INTERNAL`, `ABORTED`, `DEADLINE_EXCEEDED`, `CANCELLED`, `UNKNOWN`; 5xx | later |
//! | `UNAUTHENTICATED`, `PERMISSION_DENIED`, `NOT_FOUND`, `FAILED_PRECONDITION` | later, in five minutes: an operator has to act |
//! | `INVALID_ARGUMENT` and any other | refused: halved until the bad one stands alone |
//! | time-out or break after the request was sent | later: events are dropped as repeats by `transactionId`, and lists are sets |

pub mod audience;
pub mod events;
pub mod later;
pub mod normalise;

use super::answer::{Verdict, asked_ms, judge_status, plain_code};
use super::api::{Api, Counters};
use super::contact::{Contact, Personal};
use super::message::{Choice, Consent};
use crate::error::ConfigError;
use delivery::RateOptions;
use delivery::egress::Response;
use model::normalise::PhoneCountry;
use normalise::{Field, processed};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Where Google's API is.
pub const BASE_URL: &str = "https://datamanager.googleapis.com/v1";
/// Where tokens of Google come from.
pub const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
/// Identifiers of one person.
pub const IDENTIFIERS_MAX: usize = 10;
/// Google takes 300 calls a minute and 100,000 a day. One call a second and 200 at once stay within both: 260 in the
/// worst minute, 86,600 in the worst day. Questions about outcomes count.
pub const RATE: RateOptions = RateOptions { attempts_per_second: 1, burst: 200 };
/// How long to wait when a limit is reached and nothing is said, in milliseconds.
const LIMITED_WAIT_MS: u64 = 60_000;

/// An account of Google's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoogleAccount {
    /// Its id, digits only.
    pub account_id: String,
    /// What it is, e.g. `GOOGLE_ADS`, `DISPLAY_VIDEO_ADVERTISER`.
    #[serde(default = "default_account_type")]
    pub account_type: String,
}

fn default_token_url() -> String {
    TOKEN_URL.to_owned()
}

fn default_account_type() -> String {
    "GOOGLE_ADS".to_owned()
}

impl GoogleAccount {
    /// An account of Google Ads.
    pub fn ads(account_id: &str) -> Self {
        Self { account_id: account_id.to_owned(), account_type: default_account_type() }
    }

    fn check(&self, field: &'static str) -> Result<(), ConfigError> {
        let digits = !self.account_id.is_empty() && self.account_id.bytes().all(|byte| byte.is_ascii_digit());
        let named = !self.account_type.is_empty()
            && self.account_type.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        if digits && named && self.account_id.len() <= 20 && self.account_type.len() <= 64 {
            return Ok(());
        }
        Err(ConfigError::new(
            field,
            "must have an `account_id` of digits and an `account_type` like GOOGLE_ADS",
        ))
    }

    fn to_json(&self) -> Value {
        json!({ "accountType": self.account_type, "accountId": self.account_id })
    }
}

/// The member `destinations` of every request.
fn destinations(operating: &GoogleAccount, login: Option<&GoogleAccount>, product: &str) -> Value {
    let mut one = json!({ "operatingAccount": operating.to_json(), "productDestinationId": product });
    if let (Some(map), Some(login)) = (one.as_object_mut(), login) {
        map.insert("loginAccount".to_owned(), login.to_json());
    }
    json!([one])
}

/// The identifiers of a person, sorted and at most ten. What cannot be used is left out and counted.
fn identifiers(counters: &Counters, contact: &Contact, home: Option<PhoneCountry>) -> Vec<Value> {
    let one = |field: Field, value: &Personal| {
        let value = processed(field, value.expose());
        if value.is_err() {
            Counters::add(&counters.unusable, 1);
        }
        value.ok()
    };
    let phones = contact.phones_e164(home);
    Counters::add(&counters.unusable, contact.phones.len().saturating_sub(phones.len()) as u64);
    let mut emails: Vec<String> =
        contact.emails.iter().filter_map(|email| one(Field::Email, email)).collect();
    let mut phones: Vec<String> = phones.iter().filter_map(|phone| one(Field::Phone, phone)).collect();
    emails.sort();
    emails.dedup();
    phones.sort();
    phones.dedup();
    let emails = emails.into_iter().map(|email| json!({ "emailAddress": email }));
    let phones = phones.into_iter().map(|phone| json!({ "phoneNumber": phone }));
    let of = |field, value: &Option<Personal>| value.as_ref().and_then(|value| one(field, value));
    // An address is matched as a whole, or not at all.
    let address = (|| {
        Some(json!({ "address": {
            "givenName": of(Field::GivenName, &contact.first_name)?,
            "familyName": of(Field::FamilyName, &contact.last_name)?,
            "regionCode": of(Field::RegionCode, &contact.country)?,
            "postalCode": of(Field::PostalCode, &contact.postcode)?,
        }}))
    })();
    emails.chain(phones).chain(address).take(IDENTIFIERS_MAX).collect()
}

fn consent(consent: Consent) -> Option<Value> {
    let word = |choice: Choice| match choice {
        Choice::Granted => "CONSENT_GRANTED",
        Choice::Denied => "CONSENT_DENIED",
    };
    let mut map = Map::new();
    if let Some(choice) = consent.ad_user_data {
        map.insert("adUserData".to_owned(), Value::from(word(choice)));
    }
    if let Some(choice) = consent.ad_personalization {
        map.insert("adPersonalization".to_owned(), Value::from(word(choice)));
    }
    (!map.is_empty()).then_some(Value::Object(map))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    request_id: Option<String>,
    error: Option<AnswerError>,
}

#[derive(Deserialize)]
struct AnswerError {
    #[serde(default)]
    status: String,
    #[serde(default)]
    details: Vec<AnswerDetail>,
}

#[derive(Deserialize)]
struct AnswerDetail {
    reason: Option<String>,
}

/// What an answer means, and the id under which its outcome can be asked for.
fn judge(api: &Api, response: &Response) -> (Verdict, Option<String>) {
    let status = judge_status("google", response, &*api.clock);
    let Ok(answer) = serde_json::from_slice::<Answer>(&response.body) else {
        let verdict =
            if status == Verdict::Accepted { Verdict::later("google_answer_unreadable") } else { status };
        return (verdict, None);
    };
    if let Some(error) = answer.error {
        return (judge_error(&error, asked_ms(response, &*api.clock)), None);
    }
    match (status, answer.request_id) {
        (Verdict::Accepted, None) => (Verdict::later("google_no_request_id"), None),
        (status, id) => (status, id),
    }
}

fn judge_error(error: &AnswerError, after_ms: Option<u64>) -> Verdict {
    let detail = error.details.iter().find_map(|detail| detail.reason.as_deref());
    let mut reason = format!("google_{}", plain_code(&error.status));
    if let Some(detail) = detail {
        reason = format!("{reason}_{}", plain_code(detail));
    }
    match error.status.as_str() {
        "RESOURCE_EXHAUSTED" => Verdict::Later { reason, after_ms: after_ms.or(Some(LIMITED_WAIT_MS)) },
        "UNAVAILABLE" | "INTERNAL" | "ABORTED" | "DEADLINE_EXCEEDED" | "CANCELLED" | "UNKNOWN" => {
            Verdict::Later { reason, after_ms }
        }
        "UNAUTHENTICATED" | "PERMISSION_DENIED" | "NOT_FOUND" | "FAILED_PRECONDITION" => {
            Verdict::operator(reason)
        }
        _ => Verdict::Refused { reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_mean_what_the_table_says() {
        let operator = super::super::answer::OPERATOR_WAIT_MS;
        let later = |reason: &str, after_ms| Verdict::Later { reason: reason.to_owned(), after_ms };
        let error = |status: &str, reason: Option<&str>| AnswerError {
            status: status.to_owned(),
            details: vec![AnswerDetail { reason: reason.map(str::to_owned) }],
        };
        let table = [
            ("RESOURCE_EXHAUSTED", None, later("google_RESOURCE_EXHAUSTED", Some(60_000))),
            ("UNAVAILABLE", None, later("google_UNAVAILABLE", None)),
            (
                "PERMISSION_DENIED",
                Some("NO_ACCESS"),
                later("google_PERMISSION_DENIED_NO_ACCESS", Some(operator)),
            ),
            (
                "INVALID_ARGUMENT",
                Some("BAD ann@shop.test"),
                Verdict::refused("google_INVALID_ARGUMENT_BADannshop.test"),
            ),
            ("", None, Verdict::refused("google_")),
        ];
        for (status, reason, expected) in table {
            assert_eq!(judge_error(&error(status, reason), None), expected, "{status}");
        }
    }
}
