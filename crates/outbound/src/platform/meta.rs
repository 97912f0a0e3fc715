//! Meta: custom audiences and the Conversions API.
//!
//! Sources: `developers.facebook.com/documentation/ads-commerce/marketing-api/audiences/guides/custom-audiences` and
//! `…/conversions-api`; the package `facebook-business` 26.0.3. The access token goes in the header `Authorization`, never in
//! a URL.
//!
//! | answer | means |
//! |---|---|
//! | 200, everything received | accepted |
//! | 200, less received than sent | later: nobody knows which |
//! | code 1, 2, or `is_transient`; 5xx | later |
//! | code 4, 17, 32, 341, 368, 613, 80000 to 80014; 429 | later, in a minute or when `Retry-After` says |
//! | code 10, 102, 190, 200 to 299; 401, 403; subcode 33 (no such object), 1713230 (list blocked) | later, in five minutes: an operator has to act |
//! | any other code, e.g. 100 | refused: halved until the bad one stands alone |
//! | time-out or break after the request was sent | later: events are dropped as repeats by `event_id` and `event_name` for 48 hours, and lists are sets |

pub mod audience;
pub mod conversions;
pub mod normalise;

use super::answer::{Verdict, asked_ms, judge_status};
use super::api::{Api, Counters};
use super::contact::{Contact, Personal};
use crate::webhook::Secret;
use delivery::egress::Response;
use model::normalise::PhoneCountry;
use normalise::{Field, hashed};
use ring::hmac;
use serde::Deserialize;

/// Where Meta's API is, with the version that this was written for.
pub const BASE_URL: &str = "https://graph.facebook.com/v26.0";
/// How long to wait when a limit is reached and nothing is said, in milliseconds.
const LIMITED_WAIT_MS: u64 = 60_000;

#[derive(Deserialize)]
struct Answer {
    error: Option<AnswerError>,
    events_received: Option<u64>,
    num_received: Option<u64>,
    num_invalid_entries: Option<u64>,
}

#[derive(Deserialize)]
struct AnswerError {
    #[serde(default)]
    code: i64,
    #[serde(default)]
    error_subcode: i64,
    #[serde(default)]
    is_transient: bool,
}

/// What an answer means for a call with so many events or rows.
fn judge(api: &Api, response: &Response, sent: usize) -> Verdict {
    let Ok(answer) = serde_json::from_slice::<Answer>(&response.body) else {
        return match judge_status("meta", response, &*api.clock) {
            // A page of somebody in between.
            Verdict::Accepted => Verdict::later("meta_answer_unreadable"),
            other => other,
        };
    };
    if let Some(error) = answer.error {
        return judge_code(&error, asked_ms(response, &*api.clock));
    }
    match judge_status("meta", response, &*api.clock) {
        Verdict::Accepted => {}
        other => return other,
    }
    let received = answer.events_received.or(answer.num_received);
    if received != Some(sent as u64) {
        return Verdict::later("meta_received_less");
    }
    let invalid = answer.num_invalid_entries.unwrap_or(0);
    Counters::add(&api.counters.taken, sent as u64);
    Counters::add(&api.counters.invalid, invalid);
    Verdict::Accepted
}

fn judge_code(error: &AnswerError, after_ms: Option<u64>) -> Verdict {
    let mut reason = format!("meta_{}", error.code);
    if error.error_subcode != 0 {
        reason = format!("{reason}_{}", error.error_subcode);
    }
    match (error.code, error.error_subcode) {
        (_, 33 | 1_713_230) | (10 | 102 | 190 | 200..=299, _) => Verdict::operator(reason),
        (4 | 17 | 32 | 341 | 368 | 613 | 80_000..=80_014, _) => {
            Verdict::Later { reason, after_ms: after_ms.or(Some(LIMITED_WAIT_MS)) }
        }
        (1 | 2, _) => Verdict::Later { reason, after_ms },
        _ if error.is_transient => Verdict::Later { reason, after_ms },
        _ => Verdict::Refused { reason },
    }
}

/// HMAC-SHA256 of the token under the app's secret, in hexadecimal: proof that the caller is the app's server.
fn proof(token: &Secret, app_secret: &Secret) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, app_secret.expose().as_bytes());
    super::contact::hex(hmac::sign(&key, token.expose().as_bytes()).as_ref())
}

/// The hashes of one field, sorted and each once. What cannot be used is left out and counted.
fn all_hashed(counters: &Counters, field: Field, values: &[Personal]) -> Vec<String> {
    let mut all: Vec<String> = Vec::with_capacity(values.len());
    for value in values {
        match hashed(field, value.expose()) {
            Ok(hash) => all.push(hash),
            Err(_) => Counters::add(&counters.unusable, 1),
        }
    }
    all.sort();
    all.dedup();
    all
}

fn one_hashed(counters: &Counters, field: Field, value: Option<&Personal>) -> Option<String> {
    value.and_then(|value| all_hashed(counters, field, std::slice::from_ref(value)).pop())
}

/// Everything of a person by Meta's rules.
struct Hashed {
    emails: Vec<String>,
    phones: Vec<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    city: Option<String>,
    state: Option<String>,
    postcode: Option<String>,
    country: Option<String>,
}

impl Hashed {
    fn of(counters: &Counters, contact: &Contact, home: Option<PhoneCountry>) -> Self {
        let one = |field, value: &Option<Personal>| one_hashed(counters, field, value.as_ref());
        let phones = contact.phones_e164(home);
        let lost = contact.phones.len().saturating_sub(phones.len());
        Counters::add(&counters.unusable, lost as u64);
        Self {
            emails: all_hashed(counters, Field::Email, &contact.emails),
            phones: all_hashed(counters, Field::Phone, &phones),
            first_name: one(Field::FirstName, &contact.first_name),
            last_name: one(Field::LastName, &contact.last_name),
            city: one(Field::City, &contact.city),
            state: one(Field::State, &contact.state),
            postcode: one(Field::Postcode, &contact.postcode),
            country: one(Field::Country, &contact.country),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_the_table_says() {
        let operator = super::super::answer::OPERATOR_WAIT_MS;
        let later = |reason: &str, after_ms| Verdict::Later { reason: reason.to_owned(), after_ms };
        let table = [
            (1, 0, false, later("meta_1", None)),
            (2, 0, false, later("meta_2", None)),
            (4, 0, false, later("meta_4", Some(60_000))),
            (80_003, 0, false, later("meta_80003", Some(60_000))),
            (190, 463, false, later("meta_190_463", Some(operator))),
            (200, 0, false, later("meta_200", Some(operator))),
            (100, 33, false, later("meta_100_33", Some(operator))),
            (100, 1_713_230, false, later("meta_100_1713230", Some(operator))),
            (100, 2_804_003, false, Verdict::refused("meta_100_2804003")),
            (2_650, 0, false, Verdict::refused("meta_2650")),
            (999, 0, true, later("meta_999", None)),
        ];
        for (code, error_subcode, is_transient, expected) in table {
            assert_eq!(
                judge_code(&AnswerError { code, error_subcode, is_transient }, None),
                expected,
                "{code}"
            );
        }
    }

    #[test]
    fn the_proof_is_that_of_the_package() {
        // hmac.new(b"app-secret", b"token", hashlib.sha256).hexdigest(), as `facebook_business/session.py` does it.
        let expected = "4b062935fec529e51d39e89ee371a452c231b1e0c5549ac72d83fc4f3a0b0471";
        let ours = proof(&Secret::new("token"), &Secret::new("app-secret"));
        assert_eq!(ours, expected);
    }
}
