//! Short-lived access tokens (RFC 6749): fetched with what a credentials file holds, kept in memory only, renewed before
//! they end, and fetched anew when the platform refuses one.
//!
//! The file is JSON with `client_id` and `client_secret`, and for Google a `refresh_token` (section 6), as `gcloud` and
//! Google's libraries write it; without one the client itself is who asks (section 4.4), as Criteo wants it. Other
//! members are not looked at.

use super::answer::{Verdict, judge_error, plain_code};
use crate::error::ConfigError;
use crate::webhook::Secret;
use delivery::Bytes;
use delivery::egress::{Caller, CallerLimits, Egress, Request, Response};
use delivery::env::Clock;
use serde::Deserialize;
use std::fmt::Write as _;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The most of an answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long a token may take to come, in milliseconds.
const TIMEOUT_MS: u64 = 10_000;
/// A token is renewed so many seconds before it ends, or a quarter of its life if that is less.
const RENEW_BEFORE_S: u64 = 300;
/// The life of a token of which nothing is said, in seconds.
const LIFE_S: u64 = 3_600;
/// No life is believed beyond this, in seconds.
const LIFE_S_MAX: u64 = 24 * 3_600;
/// After a failure nothing is asked for so long, in milliseconds: calls of a lane come many at a time.
const PAUSE_MS: u64 = 5_000;

/// What the file holds.
#[derive(Deserialize)]
struct File {
    client_id: Secret,
    client_secret: Secret,
    refresh_token: Option<Secret>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: Option<Secret>,
    expires_in: Option<u64>,
    error: Option<String>,
}

/// Tokens of one client.
pub(super) struct Tokens {
    caller: Caller,
    url: String,
    file: File,
    clock: Arc<dyn Clock>,
    kept: tokio::sync::Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    token: Option<Token>,
    /// What the last attempt came to, until when it is not repeated, in milliseconds.
    failed: Option<(Verdict, u64)>,
}

struct Token {
    secret: Secret,
    renew_at_ms: u64,
    ends_at_ms: u64,
}

impl Tokens {
    /// Reads what the file says, and checks where tokens come from.
    pub(super) fn open(
        name: &str,
        file: &Secret,
        url: &str,
        egress: &Egress,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        // The reader's message could repeat what stands in the file.
        let file = serde_json::from_str(file.expose()).map_err(|_| {
            let what =
                "must be JSON with client_id, client_secret and, for Google, refresh_token, all of them text";
            ConfigError::new("oauth", what)
        })?;
        egress.check(url).map_err(|error| ConfigError::new("token_url", error.to_string()))?;
        let limits = CallerLimits {
            requests_max: 1,
            rate: None,
            request_bytes_max: 64 * 1024,
            response_bytes_max: ANSWER_BYTES_MAX,
            timeout_ms: TIMEOUT_MS,
        };
        let caller = egress.caller(&format!("{name}-token"), limits);
        Ok(Self { caller, url: url.to_owned(), file, clock, kept: tokio::sync::Mutex::default() })
    }

    /// A token that holds now.
    pub(super) async fn token(&self) -> Result<Secret, Verdict> {
        let mut kept = self.kept.lock().await;
        let now_ms = self.now_ms();
        if let Some(token) = kept.token.as_ref().filter(|token| now_ms < token.renew_at_ms) {
            return Ok(token.secret.clone());
        }
        let fetched = match &kept.failed {
            Some((verdict, until_ms)) if now_ms < *until_ms => Err(verdict.clone()),
            _ => self.fetch().await,
        };
        match fetched {
            Ok(token) => {
                let secret = token.secret.clone();
                (kept.token, kept.failed) = (Some(token), None);
                Ok(secret)
            }
            Err(verdict) => {
                if kept.failed.as_ref().is_none_or(|(_, until_ms)| now_ms >= *until_ms) {
                    tracing::warn!(reason = ?verdict, "an access token could not be renewed; it is tried again");
                    kept.failed = Some((verdict.clone(), self.now_ms().saturating_add(PAUSE_MS)));
                }
                // One that is about to end still holds.
                let holds = kept.token.as_ref().filter(|token| now_ms < token.ends_at_ms);
                holds.map(|token| token.secret.clone()).ok_or(verdict)
            }
        }
    }

    /// The platform refused this token: the next call fetches another one.
    pub(super) async fn refused(&self, token: &Secret) {
        let mut kept = self.kept.lock().await;
        if kept.token.as_ref().is_some_and(|own| own.secret.expose() == token.expose()) {
            kept.token = None;
        }
    }

    async fn fetch(&self) -> Result<Token, Verdict> {
        let File { client_id, client_secret, refresh_token } = &self.file;
        let mut form = Zeroizing::new(String::new());
        match refresh_token {
            Some(token) => {
                form.push_str("grant_type=refresh_token&refresh_token=");
                percent(&mut form, token.expose());
            }
            None => form.push_str("grant_type=client_credentials"),
        }
        for (name, value) in [("client_id", client_id), ("client_secret", client_secret)] {
            let _ = write!(form, "&{name}=");
            percent(&mut form, value.expose());
        }
        let request = Request::post(self.url.clone(), Bytes::copy_from_slice(form.as_bytes()))
            .response_limit(ANSWER_BYTES_MAX, true)
            .header("content-type", "application/x-www-form-urlencoded")
            .and_then(|request| request.header("accept", "application/json"))
            .map_err(|_| Verdict::operator("oauth_request_unusable"))?;
        let began_ms = self.now_ms();
        // To ask twice for a token is no harm.
        let response = self.caller.send(request).await.map_err(|error| judge_error(&error).repeatable())?;
        judge(&response, began_ms)
    }

    fn now_ms(&self) -> u64 {
        self.clock.monotonic_ns() / 1_000_000
    }
}

fn judge(response: &Response, began_ms: u64) -> Result<Token, Verdict> {
    let answer = serde_json::from_slice::<Answer>(&response.body).ok();
    let code = answer.as_ref().and_then(|answer| answer.error.as_deref()).map(plain_code);
    match (response.status, answer) {
        (200, Some(Answer { access_token: Some(secret), expires_in, .. })) if !secret.expose().is_empty() => {
            let life_ms = expires_in.unwrap_or(LIFE_S).clamp(1, LIFE_S_MAX) * 1_000;
            let before_ms = (RENEW_BEFORE_S * 1_000).min(life_ms / 4);
            let ends_at_ms = began_ms.saturating_add(life_ms);
            Ok(Token { secret, renew_at_ms: ends_at_ms.saturating_sub(before_ms), ends_at_ms })
        }
        (408 | 429 | 500..=599, _) => Err(Verdict::later(format!("oauth_http_{}", response.status))),
        // A refresh token that was withdrawn, a client that is not known: somebody has to act.
        (status, _) => {
            Err(Verdict::operator(format!("oauth_{}", code.unwrap_or_else(|| format!("http_{status}")))))
        }
    }
}

/// Appends a value of a form, with everything escaped that is not plain.
fn percent(form: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            form.push(char::from(byte));
        } else {
            let _ = write!(form, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_escaped() {
        let mut form = String::new();
        percent(&mut form, "1//0a-_.~&=+ %ü");
        assert_eq!(form, "1%2F%2F0a-_.~%26%3D%2B%20%25%C3%BC");
    }
}
