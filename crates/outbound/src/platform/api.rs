//! One platform's API: its address, its credential, and what was counted there.

use super::answer::{Verdict, judge_error};
use super::oauth::Tokens;
use crate::error::ConfigError;
use crate::webhook::Secret;
use delivery::Bytes;
use delivery::egress::{Caller, CallerLimits, Egress, Method, Request, Response};
use delivery::env::Clock;
use model::normalise::PhoneCountry;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The most of an answer that is read. Platforms repeat samples of what they did not like.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// The largest call. 10,000 people with eight hashes each are 6 MB.
const CALL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A credential that can be replaced while it is used: access tokens end, some within the hour.
#[derive(Clone, Debug)]
pub struct Credential(Arc<Mutex<Secret>>);

impl Credential {
    /// Begins with this token.
    pub fn new(token: Secret) -> Self {
        Self(Arc::new(Mutex::new(token)))
    }

    /// The next call uses this token.
    pub fn replace(&self, token: Secret) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    pub(super) fn token(&self) -> Secret {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where the token of a call comes from.
pub(super) enum Access {
    /// Somebody puts it in.
    Fixed(Credential),
    /// It is fetched, and renewed before it ends.
    Renewed(Box<Tokens>),
}

/// What is configured of a platform whose tokens end within the hour.
pub(super) struct Renewable<'a> {
    pub(super) access_token: Option<Secret>,
    pub(super) oauth: Option<&'a Secret>,
    pub(super) token_url: &'a str,
}

impl Access {
    pub(super) fn fixed(token: Secret) -> Self {
        Self::Fixed(Credential::new(token))
    }

    /// The token that is configured, or those that a credentials file gives.
    pub(super) fn open(
        name: &str,
        given: Renewable<'_>,
        egress: &Egress,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        one_of(given.access_token.as_ref(), given.oauth)?;
        match (given.access_token, given.oauth) {
            (Some(token), _) => Ok(Self::fixed(token)),
            (None, Some(file)) => {
                let tokens = Tokens::open(name, file, given.token_url, egress, Arc::clone(clock))?;
                Ok(Self::Renewed(Box::new(tokens)))
            }
            (None, None) => Err(ConfigError::new("access_token", "is missing")),
        }
    }

    async fn token(&self) -> Result<Secret, Verdict> {
        match self {
            Self::Fixed(credential) => Ok(credential.token()),
            Self::Renewed(tokens) => tokens.token().await,
        }
    }
}

/// Either a token or the file that gives tokens.
pub(super) fn one_of(access_token: Option<&Secret>, oauth: Option<&Secret>) -> Result<(), ConfigError> {
    match (access_token, oauth) {
        (Some(_), None) | (None, Some(_)) => Ok(()),
        _ => {
            let what = "or `oauth` must be there, and only one of them: a token, or a file that gives tokens";
            Err(ConfigError::new("access_token", what))
        }
    }
}

/// What a destination has done since it was opened.
#[derive(Debug, Default)]
pub struct Counters {
    /// Calls made.
    pub calls: AtomicU64,
    /// Events or rows that the platform took.
    pub taken: AtomicU64,
    /// Rows that the platform took and could not read.
    pub invalid: AtomicU64,
    /// Values of people that no platform could use, and that were left out.
    pub unusable: AtomicU64,
    /// Messages that were refused before any call, e.g. because they are too old.
    pub refused_here: AtomicU64,
    /// Calls whose outcome came later, and was good.
    pub settled: AtomicU64,
    /// Calls whose outcome came later, and was not, or only in part.
    pub failed_later: AtomicU64,
    /// Calls whose outcome was never heard.
    pub never_heard: AtomicU64,
    /// Milliseconds that all calls took together, from our side.
    pub request_ms: AtomicU64,
    /// How long the oldest call waits for its outcome now, in milliseconds; 0 if none does.
    pub outcome_wait_ms: AtomicU64,
    /// People in all lists now; who is in two counts twice.
    pub people: AtomicU64,
    /// Of how many of them something is not acknowledged now.
    pub unsettled: AtomicU64,
}

impl Counters {
    pub(super) fn set(gauge: &AtomicU64, value: u64) {
        gauge.store(value, Ordering::Relaxed);
    }

    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// How the credential is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carried {
    /// `Authorization: Bearer`.
    Bearer,
    /// A header of this name.
    Header(&'static str),
}

pub(super) struct Api {
    caller: Caller,
    base_url: String,
    access: Access,
    carried: Carried,
    timeout_ms: u64,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counters: Arc<Counters>,
}

/// What an API is opened with.
pub(super) struct Opening<'a> {
    pub(super) name: &'a str,
    pub(super) base_url: &'a str,
    pub(super) access: Access,
    pub(super) carried: Carried,
    pub(super) timeout_ms: u64,
    pub(super) rate: Option<delivery::RateOptions>,
    pub(super) egress: &'a Egress,
    pub(super) clock: Arc<dyn Clock>,
}

impl Api {
    pub(super) fn open(opening: Opening<'_>) -> Result<Self, ConfigError> {
        let base_url = opening.base_url.trim_end_matches('/').to_owned();
        opening.egress.check(&base_url).map_err(|error| ConfigError::new("base_url", error.to_string()))?;
        if base_url.contains('?') {
            return Err(ConfigError::new("base_url", "must not hold a query"));
        }
        if opening.timeout_ms == 0 || opening.timeout_ms > 60_000 {
            return Err(ConfigError::new("timeout_ms", "must be 1 to 60000"));
        }
        let limits = CallerLimits {
            requests_max: 8,
            rate: opening.rate,
            request_bytes_max: CALL_BYTES_MAX,
            response_bytes_max: ANSWER_BYTES_MAX,
            timeout_ms: opening.timeout_ms,
        };
        let api = Self {
            caller: opening.egress.caller(opening.name, limits),
            base_url,
            access: opening.access,
            carried: opening.carried,
            timeout_ms: opening.timeout_ms,
            clock: opening.clock,
            counters: Arc::default(),
        };
        if let Access::Fixed(credential) = &api.access {
            api.request(Method::Post, "/", Bytes::new(), &credential.token())
                .map_err(|error| ConfigError::new("access_token", error))?;
        }
        Ok(api)
    }

    /// Makes a call with a body of JSON; none for a GET.
    pub(super) async fn call(&self, method: Method, path: &str, body: String) -> Result<Response, Verdict> {
        let token = self.access.token().await?;
        let request = self.request(method, path, Bytes::from(body), &token);
        let request = request.map_err(|_| Verdict::operator("credential_unusable"))?;
        Counters::add(&self.counters.calls, 1);
        let began_ns = self.clock.monotonic_ns();
        let answer = self.caller.send(request).await;
        let took_ms = self.clock.monotonic_ns().saturating_sub(began_ns) / 1_000_000;
        Counters::add(&self.counters.request_ms, took_ms);
        let answer = answer.map_err(|error| judge_error(&error))?;
        if let (401, Access::Renewed(tokens)) = (answer.status, &self.access) {
            tokens.refused(&token).await;
        }
        Ok(answer)
    }

    /// The token that is configured, for platforms that want a proof of it.
    pub(super) fn fixed_token(&self) -> Option<Secret> {
        match &self.access {
            Access::Fixed(credential) => Some(credential.token()),
            Access::Renewed(_) => None,
        }
    }

    /// Seconds since 1970.
    pub(super) fn now_s(&self) -> i64 {
        self.clock.now_us().div_euclid(1_000_000)
    }

    /// A function that says when a share of the time of an attempt is over, so that its outcome is still heard.
    pub(super) fn out_of_time(&self, timeout_ms: u64) -> impl Fn() -> bool + use<> {
        let clock = Arc::clone(&self.clock);
        let deadline_ns = clock.monotonic_ns().saturating_add(timeout_ms.saturating_mul(750_000));
        move || clock.monotonic_ns() >= deadline_ns
    }

    fn request(&self, method: Method, path: &str, body: Bytes, token: &Secret) -> Result<Request, String> {
        let (name, value) = match self.carried {
            Carried::Bearer => {
                ("authorization", zeroize::Zeroizing::new(format!("Bearer {}", token.expose())))
            }
            Carried::Header(name) => (name, zeroize::Zeroizing::new(token.expose().to_owned())),
        };
        // The error names the header, never its value.
        Request::post(format!("{}{path}", self.base_url), body)
            .method(method)
            .timeout_ms(self.timeout_ms)
            .response_limit(ANSWER_BYTES_MAX, true)
            .header("content-type", "application/json")
            .and_then(|request| request.header("accept", "application/json"))
            .and_then(|request| request.header(name, &value))
            .map_err(|error| error.to_string())
    }
}

/// The country of phone numbers that are written as at home.
pub(super) fn home_country(code: Option<&str>) -> Result<Option<PhoneCountry>, ConfigError> {
    let Some(code) = code else { return Ok(None) };
    let known = PhoneCountry::find(code);
    let what = "must be the two letters (ISO 3166-1) of a country whose numbers are known, e.g. DE";
    known.map(Some).ok_or_else(|| ConfigError::new("home_country", what))
}

/// Checks an id that becomes a part of a path: letters, digits, `_` and `-`.
pub(super) fn check_id(field: &'static str, id: &str) -> Result<(), ConfigError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=64).contains(&id.len()) && id.bytes().all(plain) {
        return Ok(());
    }
    Err(ConfigError::new(field, "must be 1 to 64 letters, digits, `_` or `-`: copy it from the platform"))
}

/// The platform's name of an event: as configured, or by the table of the platform.
pub(super) fn event_name<'a>(
    own: &'a BTreeMap<String, String>,
    usual: &'a [(&'a str, &'a str)],
    name: &str,
) -> Option<&'a str> {
    let usual =
        || usual.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, theirs)| *theirs);
    own.get(name).map(String::as_str).or_else(usual)
}
