//! What operators say of a request.

use crate::error::ConfigError;
use crate::template::Kind;
use crate::webhook::Secret;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use delivery::egress::Method;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Messages of a batch, where nothing else is set.
pub(super) const BATCH_MESSAGES: usize = 100;
/// How long a batch that is not full waits, in milliseconds, where nothing else is set.
pub(super) const BATCH_WAIT_MS: u64 = 1_000;
/// The most headers, and the most values of the query.
pub(super) const PAIRS_MAX: usize = 16;

/// The members that are secrets: they come from files.
pub const SECRETS: [&str; 3] = ["bearer", "basic", "api_key"];

/// What a body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// JSON.
    #[default]
    Json,
    /// XML.
    Xml,
    /// HTML.
    Html,
    /// A form.
    Form,
    /// Plain text.
    Plain,
}

impl Content {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Json => Kind::Json,
            Self::Xml | Self::Html => Kind::Markup,
            Self::Form => Kind::Form,
            Self::Plain => Kind::Plain,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Xml => "application/xml; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
            Self::Form => "application/x-www-form-urlencoded",
            Self::Plain => "text/plain; charset=utf-8",
        }
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// Without a body.
    Get,
    /// The usual one.
    #[default]
    Post,
    /// In place of what is there.
    Put,
    /// A part of it.
    Patch,
    /// Away with it.
    Delete,
}

impl HttpMethod {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    pub(super) fn method(self) -> Method {
        match self {
            Self::Get => Method::Get,
            Self::Post => Method::Post,
            Self::Put => Method::Put,
            Self::Patch => Method::Patch,
            Self::Delete => Method::Delete,
        }
    }
}

/// A request as it is configured. Texts of `query`, `headers` and `body` are templates.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Where to: scheme, host, port and path, and what of the query is always the same.
    pub url: String,
    /// What to do.
    #[serde(default)]
    pub method: HttpMethod,
    /// Values of the query, by name.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Headers, by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// What the body is, which decides how values are escaped.
    #[serde(default)]
    pub content: Content,
    /// The body; without one the message itself is sent, as a webhook gets it.
    #[serde(default)]
    pub body: Option<String>,
    /// One request for many messages: the templates know `messages`, a list.
    #[serde(default)]
    pub batch: bool,
    /// How long a request may take, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// Requests under way.
    #[serde(default = "default_concurrency_max")]
    pub concurrency_max: usize,
    /// A token for `Authorization: Bearer`.
    #[serde(default)]
    pub bearer: Option<Secret>,
    /// `user:password` for `Authorization: Basic`.
    #[serde(default)]
    pub basic: Option<Secret>,
    /// The value of the header that `api_key_header` names.
    #[serde(default)]
    pub api_key: Option<Secret>,
    /// The header of `api_key`.
    #[serde(default)]
    pub api_key_header: Option<String>,
}

fn default_timeout_ms() -> u64 {
    10_000
}

fn default_concurrency_max() -> usize {
    16
}

/// What proves who we are.
pub(super) enum Access {
    None,
    Header(String, Secret),
}

impl HttpConfig {
    /// Checks everything but where the URL leads.
    pub fn check(&self) -> Result<(), ConfigError> {
        super::request::Templates::read(self)?;
        self.access().map(drop)
    }

    /// Checks what is no template.
    pub(super) fn check_plain(&self) -> Result<(), ConfigError> {
        if self.timeout_ms == 0 || self.timeout_ms > 60_000 {
            return Err(ConfigError::new("timeout_ms", "must be 1 to 60000"));
        }
        if self.concurrency_max == 0 || self.concurrency_max > 1_000 {
            return Err(ConfigError::new("concurrency_max", "must be 1 to 1000"));
        }
        if self.url.contains("{{") || self.url.contains("{%") {
            let what = "is fixed: where a message goes is never said by a message. Values of the query belong in `query`";
            return Err(ConfigError::new("url", what));
        }
        if self.headers.len() > PAIRS_MAX || self.query.len() > PAIRS_MAX {
            let field = if self.query.len() > PAIRS_MAX { "query" } else { "headers" };
            return Err(ConfigError::new(field, format!("must hold at most {PAIRS_MAX}")));
        }
        if self.method == HttpMethod::Get && self.body.is_some() {
            return Err(ConfigError::new("body", "must be left out: a GET has none"));
        }
        if self.body.is_none() && self.content != Content::Json {
            return Err(ConfigError::new("content", "is what the body is: write a `body`, or leave it out"));
        }
        for name in self.headers.keys() {
            let advice = match name.to_ascii_lowercase().as_str() {
                "authorization" | "cookie" => {
                    "is a secret, and definitions are kept for ever: use `credentials`"
                }
                "idempotency-key" => "is written for every request",
                own if self.api_key_header.as_ref().is_some_and(|key| key.eq_ignore_ascii_case(own)) => {
                    "is the header of `api_key`"
                }
                _ => continue,
            };
            return Err(ConfigError::new("headers", format!("must not set `{name}`: it {advice}")));
        }
        Ok(())
    }

    pub(super) fn access(&self) -> Result<Access, ConfigError> {
        let authorization = |text: String| Access::Header("authorization".to_owned(), Secret::new(text));
        match (&self.bearer, &self.basic, &self.api_key, &self.api_key_header) {
            (None, None, None, None) => Ok(Access::None),
            (Some(token), None, None, None) => Ok(authorization(format!("Bearer {}", token.expose()))),
            (None, Some(pair), None, None) => {
                Ok(authorization(format!("Basic {}", BASE64_STANDARD.encode(pair.expose()))))
            }
            (None, None, Some(key), Some(name)) => Ok(Access::Header(name.clone(), key.clone())),
            (None, None, Some(_), None) => {
                Err(ConfigError::new("api_key_header", "must name the header that the `api_key` goes into"))
            }
            (_, _, None, Some(_)) => {
                Err(ConfigError::new("api_key_header", "needs the credential `api_key`"))
            }
            _ => Err(ConfigError::new("credentials", "are one of bearer, basic and api_key")),
        }
    }
}
