//! A request as callers state it, and the answer.

use super::error::EgressError;
use bytes::Bytes;
use hyper::http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;

/// Headers that a request may carry.
const HEADERS_MAX: usize = 32;
/// Bytes of one header's value.
const HEADER_BYTES_MAX: usize = 8 * 1024;
/// Headers that this client writes, or that would change how the message is framed.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Fetch.
    Get,
    /// Post.
    Post,
    /// Put in place of what is there.
    Put,
    /// Change a part, with a body that says what.
    Patch,
    /// Take away, with a body that says what.
    Delete,
}

/// Whether redirects are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// A redirect is an answer like any other.
    Never,
    /// Up to so many. What is not a GET follows only 307 and 308. Headers other than `accept` and `content-type` are
    /// left behind when scheme, host or port change.
    Follow {
        /// How many.
        hops_max: u8,
    },
}

/// A request.
#[derive(Clone)]
pub struct Request {
    /// What to do.
    pub(super) method: Method,
    /// Where: checked by [`super::Target::parse`].
    pub(super) url: String,
    /// Checked headers; see [`Request::header`].
    pub(super) headers: HeaderMap,
    /// What to post.
    pub(super) body: Bytes,
    /// Whether redirects are followed.
    pub(super) redirects: Redirects,
    /// How long it may take, in milliseconds, if less than the caller's limit.
    pub(super) timeout_ms: Option<u64>,
    /// Bytes of the answer's body, if less than the caller's limit.
    pub(super) response_bytes_max: Option<usize>,
    /// Whether an answer beyond the limit is cut there instead of being an error.
    pub(super) cut_response: bool,
}

impl fmt::Debug for Request {
    /// Without path, headers and body: they may hold secrets and personal data.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Request")
            .field("method", &self.method)
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Request {
    /// A fetch of a URL, without following redirects.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: Method::Get,
            url: url.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            redirects: Redirects::Never,
            timeout_ms: None,
            response_bytes_max: None,
            cut_response: false,
        }
    }

    /// A post to a URL, without following redirects.
    pub fn post(url: impl Into<String>, body: Bytes) -> Self {
        Self { method: Method::Post, body, ..Self::get(url) }
    }

    /// The same request with another method.
    #[must_use]
    pub fn method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    /// The same request with another body.
    #[must_use]
    pub fn body(self, body: Bytes) -> Self {
        Self { body, ..self }
    }

    /// Follows redirects, or not.
    #[must_use]
    pub fn redirects(self, redirects: Redirects) -> Self {
        Self { redirects, ..self }
    }

    /// Takes no longer than this, in milliseconds, and no longer than the caller may.
    #[must_use]
    pub fn timeout_ms(self, timeout_ms: u64) -> Self {
        Self { timeout_ms: Some(timeout_ms), ..self }
    }

    /// Reads no more than this of the answer's body, in bytes, and no more than the caller may. With `cut` a longer body
    /// is cut there; without, it is an error.
    #[must_use]
    pub fn response_limit(self, bytes_max: usize, cut: bool) -> Self {
        Self { response_bytes_max: Some(bytes_max), cut_response: cut, ..self }
    }

    /// Adds a header. Refused are names that this client writes itself, and whatever is not one line of plain text.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, EgressError> {
        let bad = |what: &str| EgressError::BadRequest { what: format!("has a header `{name}` that {what}") };
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("is no header name"))?;
        if OURS.contains(&header.as_str()) {
            return Err(bad("is not the caller's to set"));
        }
        if self.headers.len() >= HEADERS_MAX || value.len() > HEADER_BYTES_MAX {
            return Err(bad("is one of more than 32, or longer than 8,192 bytes"));
        }
        let value = HeaderValue::from_str(value).map_err(|_| bad("is not one line of plain text"))?;
        self.headers.append(header, value);
        Ok(self)
    }

    /// Whether an answer with this status is a redirect to be followed.
    pub(super) fn follows(&self, status: u16) -> bool {
        match self.method {
            Method::Get => matches!(status, 301 | 302 | 303 | 307 | 308),
            Method::Post | Method::Put | Method::Patch | Method::Delete => matches!(status, 307 | 308),
        }
    }

    /// Drops what was meant for the first host only.
    pub(super) fn forget_secrets(&mut self) {
        let mut kept = HeaderMap::new();
        for (name, value) in &self.headers {
            if matches!(name.as_str(), "accept" | "content-type") {
                kept.append(name.clone(), value.clone());
            }
        }
        self.headers = kept;
    }
}

/// An answer, read whole.
#[derive(Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, up to the limit.
    pub body: Bytes,
    /// Whether the body was longer.
    pub cut: bool,
}

impl Response {
    /// The first value of a header, if it is plain text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl fmt::Debug for Response {
    /// Without headers and body.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Response")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
