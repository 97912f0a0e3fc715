//! A request whose parts operators write as templates: whatever takes JSON, XML or a form over HTTP can be told of what
//! happens, e.g. an e-mail service or a chat.
//!
//! Where it goes is fixed: scheme, host, port and path are written once and never come from a message; values of the query,
//! headers and the body are [`Template`]s, each escaped for its place. A template that cannot be rendered with a message
//! makes a dead letter of that message, and holds nobody up.
//!
//! Every request carries `idempotency-key`: the message's own, or of a batch a digest of theirs, the same whenever the
//! same messages are sent together again.

mod config;
mod request;
#[cfg(test)]
mod tests;

pub use config::{Content, HttpConfig, HttpMethod, SECRETS};
pub use request::{Prepared, Unprepared};

use crate::error::ConfigError;
use crate::webhook::judge;
use config::Access;
use delivery::egress::{Caller, CallerLimits, Egress, EgressError, Request};
use delivery::env::Clock;
use delivery::{Bytes, Destination, LaneOptions, Later, Outcome, Parcel};
use request::Templates;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// How much of an answer is read: nothing in it matters but the status.
const ANSWER_BYTES_MAX: usize = 4 * 1024;
/// The longest idempotency key that fits a header, in bytes.
const ID_BYTES_MAX: usize = 256;

/// A destination that renders requests.
pub struct Http {
    caller: Caller,
    templates: Templates,
    access: Access,
    timeout_ms: u64,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Http {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Http")
    }
}

impl Http {
    /// Checks the configuration, reads its templates once, and checks where the URL leads as far as that is known without
    /// a resolver. `name` is the lane's.
    pub fn new(
        name: &str,
        config: &HttpConfig,
        egress: &Egress,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        egress.check(&config.url).map_err(|error| ConfigError::new("url", error.to_string()))?;
        let templates = Templates::read(config)?;
        let limits = CallerLimits {
            // The lane keeps to its own bound; a request that was just abandoned may still be ending.
            requests_max: config.concurrency_max.saturating_mul(2),
            timeout_ms: config.timeout_ms,
            response_bytes_max: ANSWER_BYTES_MAX,
            ..CallerLimits::default()
        };
        let http = Self {
            caller: egress.caller(name, limits),
            templates,
            access: config.access()?,
            timeout_ms: config.timeout_ms,
            clock,
        };
        // A credential that no header can hold is said when the lane opens. The error names the header only.
        http.authorized(Request::get(config.url.as_str()))
            .map_err(|error| ConfigError::new("credentials", error.to_string()))?;
        Ok(http)
    }

    fn authorized(&self, request: Request) -> Result<Request, EgressError> {
        match &self.access {
            Access::None => Ok(request),
            Access::Header(name, value) => request.header(name, value.expose()),
        }
    }

    fn request(&self, prepared: Prepared, key: &str) -> Result<Request, EgressError> {
        let mut request = Request::post(prepared.url, Bytes::from(prepared.body))
            .method(prepared.method)
            .response_limit(ANSWER_BYTES_MAX, true)
            .timeout_ms(self.timeout_ms);
        for (name, value) in &prepared.headers {
            request = request.header(name, value)?;
        }
        request = self.authorized(request)?;
        request.header("idempotency-key", key)
    }

    async fn attempt(&self, parcels: &[Parcel]) -> Outcome {
        let refused = |reason: String| Outcome::Refused { reason };
        let messages: Result<Vec<Value>, _> =
            parcels.iter().map(|parcel| serde_json::from_slice(&parcel.body)).collect();
        let Ok(messages) = messages else { return refused("message_not_readable".to_owned()) };
        let prepared = match self.templates.prepare(messages) {
            Ok(prepared) => prepared,
            Err(error) => return refused(error.reason()),
        };
        let Some(key) = key(parcels) else { return refused("bad_idempotency_key".to_owned()) };
        match self.request(prepared, &key) {
            Ok(request) => {
                let now_s = self.clock.now_us().div_euclid(1_000_000);
                judge(self.caller.send(request).await, now_s)
            }
            Err(error) => refused(error.code().to_owned()),
        }
    }
}

/// The key of an attempt: the message's, or a digest of the keys of a batch.
fn key(parcels: &[Parcel]) -> Option<String> {
    let keys = parcels.iter().map(|parcel| parcel.idempotency_key.as_str());
    if let [parcel] = parcels {
        let key = &parcel.idempotency_key;
        let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        return (plain && key.len() <= ID_BYTES_MAX).then(|| key.clone());
    }
    let all: Vec<&str> = keys.collect();
    let digest = ring::digest::digest(&ring::digest::SHA256, all.join("\n").as_bytes());
    let hex = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}"));
    Some(format!("batch_{}", hex.collect::<String>()))
}

impl Destination for Http {
    fn send(&self, parcels: Arc<[Parcel]>, _timeout_ms: u64) -> Later<'_, Outcome> {
        Box::pin(async move { self.attempt(&parcels).await })
    }
}

impl HttpConfig {
    /// The lane that suits it: one message for each request, or batches where the template takes them.
    pub fn lane(&self, name: &str) -> LaneOptions {
        LaneOptions {
            concurrency_max: self.concurrency_max,
            batch_parcels_max: if self.batch { config::BATCH_MESSAGES } else { 1 },
            flush_after_ms: if self.batch { config::BATCH_WAIT_MS } else { 0 },
            // The client's time runs out first, and knows whether anything was sent.
            attempt_timeout_ms: self.timeout_ms.saturating_add(1_000),
            ..LaneOptions::named(name)
        }
    }

    /// What a request would be for these messages, without a credential; nothing is sent.
    pub fn prepare(&self, messages: Vec<Value>) -> Result<Prepared, Unprepared> {
        let templates = Templates::read(self).map_err(|error| Unprepared::Config(Box::new(error)))?;
        templates.prepare(messages)
    }
}
