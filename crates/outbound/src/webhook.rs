//! The generic webhook: one signed POST for each message, as Standard Webhooks describe
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
//!
//! `webhook-id` is the parcel's idempotency key, so a receiver that drops repeats by it gets every message once.

mod sign;

pub use sign::{SECRET_BYTES_MAX, SECRET_BYTES_MIN, Secret, Signer};

use crate::error::ConfigError;
use delivery::egress::{Caller, CallerLimits, Egress, EgressError, Request, Response};
use delivery::env::Clock;
use delivery::{Destination, LaneOptions, Later, Outcome, Parcel};
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;

/// How much of an answer is read: nothing in it matters but the status.
const ANSWER_BYTES_MAX: usize = 4 * 1024;
/// The longest path of a webhook's configuration that may hold headers.
const HEADERS_MAX: usize = 16;
/// The secrets that may sign at a time: the new one, and the old ones while receivers change over.
const SECRETS_MAX: usize = 3;
/// The longest idempotency key that fits a header, in bytes.
const ID_BYTES_MAX: usize = 256;

/// A webhook as it is configured.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where to post: https, and without a user name in it.
    pub url: String,
    /// One secret, or during a change two: every one signs. `whsec_` and 24 to 64 bytes in base64.
    pub secrets: Vec<Secret>,
    /// Headers to add, e.g. `authorization`. Their values are secrets too.
    #[serde(default)]
    pub headers: Vec<(String, Secret)>,
    /// How long a request may take, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// Requests under way.
    #[serde(default = "default_concurrency_max")]
    pub concurrency_max: usize,
}

fn default_timeout_ms() -> u64 {
    10_000
}

fn default_concurrency_max() -> usize {
    16
}

impl fmt::Debug for WebhookConfig {
    /// Without secrets and without the path, which may hold one.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WebhookConfig")
            .field("secrets", &self.secrets.len())
            .field("headers", &self.headers.len())
            .field("timeout_ms", &self.timeout_ms)
            .field("concurrency_max", &self.concurrency_max)
            .finish_non_exhaustive()
    }
}

impl WebhookConfig {
    /// A webhook with one secret and the defaults.
    pub fn new(url: &str, secret: Secret) -> Self {
        Self {
            url: url.to_owned(),
            secrets: vec![secret],
            headers: Vec::new(),
            timeout_ms: default_timeout_ms(),
            concurrency_max: default_concurrency_max(),
        }
    }

    /// The lane that suits it: one message for each request.
    pub fn lane(&self, name: &str) -> LaneOptions {
        LaneOptions {
            concurrency_max: self.concurrency_max,
            batch_parcels_max: 1,
            flush_after_ms: 0,
            // The client's time runs out first, and knows whether anything was sent.
            attempt_timeout_ms: self.timeout_ms.saturating_add(1_000),
            ..LaneOptions::named(name)
        }
    }
}

/// A webhook that can be sent to.
pub struct Webhook {
    caller: Caller,
    /// The request of every message, but for what differs.
    request: Request,
    signer: Signer,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Webhook")
    }
}

impl Webhook {
    /// Checks the configuration, and where the URL leads as far as that is known without a resolver. `name` is the
    /// lane's.
    pub fn new(
        name: &str,
        config: WebhookConfig,
        egress: &Egress,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        egress.check(&config.url).map_err(|error| ConfigError::new("url", error.to_string()))?;
        if config.secrets.is_empty() || config.secrets.len() > SECRETS_MAX {
            return Err(ConfigError::new(
                "secrets",
                "must hold 1 secret, or up to 3 while receivers change over",
            ));
        }
        if config.headers.len() > HEADERS_MAX {
            return Err(ConfigError::new("headers", "must be no more than 16"));
        }
        if config.timeout_ms == 0 || config.timeout_ms > 60_000 {
            return Err(ConfigError::new("timeout_ms", "must be 1 to 60000"));
        }
        if config.concurrency_max == 0 || config.concurrency_max > 1_000 {
            return Err(ConfigError::new("concurrency_max", "must be 1 to 1000"));
        }
        let mut request = Request::post(&config.url, delivery::Bytes::new())
            .response_limit(ANSWER_BYTES_MAX, true)
            .timeout_ms(config.timeout_ms);
        request = plain_header(request, "content-type", "application/json")?;
        for (header, value) in &config.headers {
            if header.to_ascii_lowercase().starts_with("webhook-")
                || header.eq_ignore_ascii_case("content-type")
            {
                let what = format!("must not set `{header}`: it is written for every message");
                return Err(ConfigError::new("headers", what));
            }
            request = plain_header(request, header, value.expose())?;
        }
        let signer = Signer::new(&config.secrets)?;
        let limits = CallerLimits {
            // The lane keeps to its own bound; a request that was just abandoned may still be ending.
            requests_max: config.concurrency_max.saturating_mul(2),
            timeout_ms: config.timeout_ms,
            response_bytes_max: ANSWER_BYTES_MAX,
            ..CallerLimits::default()
        };
        Ok(Self { caller: egress.caller(name, limits), request, signer, clock })
    }

    async fn post(&self, parcel: &Parcel) -> Outcome {
        let id = &parcel.idempotency_key;
        let plain = id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.');
        if id.is_empty() || id.len() > ID_BYTES_MAX || !plain {
            return Outcome::Refused { reason: "bad_idempotency_key".to_owned() };
        }
        let timestamp_s = self.clock.now_us().div_euclid(1_000_000);
        let signature = self.signer.sign(id, timestamp_s, &parcel.body);
        let request = self.request.clone().body(parcel.body.clone());
        let request = request
            .header("webhook-id", id)
            .and_then(|request| request.header("webhook-timestamp", &timestamp_s.to_string()))
            .and_then(|request| request.header("webhook-signature", &signature));
        match request {
            Ok(request) => judge(self.caller.send(request).await, timestamp_s),
            Err(error) => Outcome::Refused { reason: error.code().to_owned() },
        }
    }
}

fn plain_header(request: Request, name: &str, value: &str) -> Result<Request, ConfigError> {
    // The error names the header, never its value.
    request.header(name, value).map_err(|error| ConfigError::new("headers", error.to_string()))
}

impl Destination for Webhook {
    fn send(&self, parcels: Arc<[Parcel]>, _timeout_ms: u64) -> Later<'_, Outcome> {
        Box::pin(async move {
            match &parcels[..] {
                [parcel] => self.post(parcel).await,
                // A lane that batches for a webhook is wired wrongly; the core takes the batch apart.
                _ => Outcome::Refused { reason: "webhooks_take_one_message".to_owned() },
            }
        })
    }
}

/// What an answer means for the message.
///
/// Any 2xx accepts it. 408, 425, 429 and 5xx (but 501 and 505) may change; so may a name that does not resolve and a
/// connection that fails. 410 says that nobody listens any more, like any other 4xx: refused. Redirects are not followed,
/// since a signature is meant for one receiver: refused, with advice in the reason.
pub(crate) fn judge(answer: Result<Response, EgressError>, now_s: i64) -> Outcome {
    match answer {
        Ok(response) => judge_status(&response, now_s),
        Err(error) if error.maybe_sent() => Outcome::Unknown { reason: error.code().to_owned() },
        Err(EgressError::Limited { wait_ms, .. }) => {
            Outcome::Retry { reason: "limited".to_owned(), after_ms: Some(wait_ms) }
        }
        // An address that is forbidden today may be allowed, or the name corrected, tomorrow; but not by waiting.
        Err(error) if error.is_transient() => {
            Outcome::Retry { reason: error.code().to_owned(), after_ms: None }
        }
        Err(error) => Outcome::Refused { reason: error.code().to_owned() },
    }
}

fn judge_status(response: &Response, now_s: i64) -> Outcome {
    let reason = format!("http_{}", response.status);
    match response.status {
        200..=299 => Outcome::Delivered,
        300..=399 => Outcome::Refused { reason: "redirect_not_followed".to_owned() },
        408 | 425 | 429 | 500 | 502..=504 | 506..=599 => {
            let after_s = response.header("retry-after").and_then(|text| retry_after_s(text, now_s));
            Outcome::Retry { reason, after_ms: after_s.map(|after_s| after_s.saturating_mul(1_000)) }
        }
        _ => Outcome::Refused { reason },
    }
}

/// `Retry-After` in seconds, or as a date (RFC 9110, 10.2.3) of the form that is to be written.
pub(crate) fn retry_after_s(text: &str, now_s: i64) -> Option<u64> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().unwrap_or(u64::MAX));
    }
    let at_s = parse_http_date(text)?;
    Some(u64::try_from(at_s.saturating_sub(now_s)).unwrap_or(0))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, as seconds since 1970.
fn parse_http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: i64 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(str::parse::<i64>);
    let (hour, minute, second) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?);
    let fits = (1..=31).contains(&day)
        && (1970..=9999).contains(&year)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    if !fits || words.next()? != "GMT" || words.next().is_some() || clock.next().is_some() {
        return None;
    }
    // Hinnant's `days_from_civil`.
    let shifted_year = year - i64::from(month <= 2);
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now_s = 784_111_777;
        let table = [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(86_400)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 06 Nov 1994 25:49:37 GMT", None),
        ];
        for (text, expected) in table {
            assert_eq!(retry_after_s(text, now_s), expected, "{text:?}");
        }
        assert_eq!(parse_http_date("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
    }

    #[test]
    fn errors_of_the_client_mean_what_they_should() {
        let target = String::new;
        let table = [
            (EgressError::Connect { target: target(), why: target() }, "retry"),
            (EgressError::Resolve { host: target(), why: target() }, "retry"),
            (EgressError::Tls { target: target(), why: target() }, "retry"),
            (EgressError::Limited { caller: target(), what: "rate", wait_ms: 5 }, "retry"),
            (EgressError::Timeout { target: target(), timeout_ms: 1, sent: false }, "retry"),
            (EgressError::Timeout { target: target(), timeout_ms: 1, sent: true }, "unknown"),
            (EgressError::Exchange { target: target(), why: target(), sent: true }, "unknown"),
            (EgressError::PlainHttp { target: target() }, "refused"),
            (EgressError::BadUrl { what: "x" }, "refused"),
        ];
        for (error, expected) in table {
            let outcome = match judge(Err(error.clone()), 0) {
                Outcome::Retry { .. } => "retry",
                Outcome::Unknown { .. } => "unknown",
                Outcome::Refused { .. } => "refused",
                Outcome::Delivered => "delivered",
            };
            assert_eq!(outcome, expected, "{error:?}");
        }
    }
}
