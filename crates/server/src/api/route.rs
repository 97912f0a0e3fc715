//! What a route is, and how a request finds its route. The table itself is in `api/table.rs`.

use super::Context;
use super::problem::{Code, Problem};
use super::shape::ShapeOf;
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The longest Idempotency-Key, in bytes.
pub(crate) const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// Which address a route answers at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// `listen.admin`.
    Admin,
    /// `listen.profiles`.
    Profiles,
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody who reaches the listener, under any Host name: probes know no names.
    Probe,
    /// Anybody who reaches the listener.
    Open,
    /// Bearers of a token with this scope.
    Scope(&'static str),
    /// Bearers of a token with any scope that begins so; the handler looks closer. The second opens everything.
    Family(&'static str, &'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Delete,
}

impl Verb {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// What a route answers with when all is well.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Json(u16, ShapeOf),
    Text(&'static str),
    /// HTML for people, with each status that it may come with and what that means.
    Page(&'static [(u16, &'static str)]),
    /// Lines, without an end that is known beforehand.
    Stream(&'static [&'static str]),
}

/// The future of an answer.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send>>;

/// One row of the table.
pub(crate) struct Route {
    pub(crate) listener: Listener,
    pub(crate) verb: Verb,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    /// Stable name, for generated clients.
    pub(crate) operation: &'static str,
    pub(crate) about: &'static str,
    /// Parameters of the query: name and what it does.
    pub(crate) query: &'static [(&'static str, &'static str)],
    pub(crate) body: Option<ShapeOf>,
    /// Changes state through a command, which takes an Idempotency-Key.
    pub(crate) command: bool,
    pub(crate) answer: Answer,
    /// Codes of its own, beside those that every route has.
    pub(crate) problems: &'static [Code],
    pub(crate) handle: fn(Arc<Context>, Call) -> Answering,
}

/// Who calls, as the audit log names them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    pub(crate) token_number: u32,
    pub(crate) token_name: String,
    pub(crate) scopes: Vec<String>,
}

impl Caller {
    pub(crate) fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|own| own == scope)
    }
}

/// A request that found its route.
#[derive(Debug, Default)]
pub(crate) struct Call {
    pub(crate) caller: Caller,
    pub(crate) captures: Vec<String>,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    /// The part of the path that stands in the place of `{…}`.
    pub(crate) fn capture(&self) -> &str {
        self.captures.first().map_or("", String::as_str)
    }

    /// The value of a parameter of the query that may hold anything, with its percent signs resolved.
    pub(crate) fn text_parameter(&self, name: &str) -> Option<String> {
        self.parameter(name).map(unescaped)
    }

    /// The value of a parameter of the query as it is spelled.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body).map_err(|error| Problem::new(Code::BadBody, error.to_string()))
    }

    /// The caller's Idempotency-Key, if there is one.
    pub(crate) fn idempotency_key(&self) -> Result<Option<&str>, Problem> {
        let Some(value) = self.headers.get("idempotency-key") else {
            return Ok(None);
        };
        let text = value.to_str().ok().filter(|text| (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&text.len()));
        let message = format!("send an Idempotency-Key of 1 to {IDEMPOTENCY_KEY_BYTES_MAX} ASCII characters");
        text.map(Some).ok_or_else(|| Problem::at(Code::BadRequest, "Idempotency-Key", message))
    }
}

/// Pieces of a body that come as they are made.
#[derive(Debug)]
pub(crate) struct Stream(pub(crate) mpsc::Receiver<Bytes>);

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: Bytes,
    /// Comes instead of the body.
    pub(crate) stream: Option<Stream>,
    /// Headers beside those that every answer has; one with their name replaces those.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Reply {
    pub(crate) fn stream(content_type: &'static str, stream: Stream) -> Self {
        Self { stream: Some(stream), ..Self::bytes(200, content_type, Bytes::new()) }
    }

    pub(crate) fn json<T: Serialize>(status: u16, value: &T) -> Result<Self, Problem> {
        let body = serde_json::to_vec(value).map_err(|error| {
            Problem::new(Code::Internal, format!("an answer could not be written: {error}"))
        })?;
        Ok(Self::bytes(status, "application/json", Bytes::from(body)))
    }

    pub(crate) fn text(content_type: &'static str, text: String) -> Self {
        Self::bytes(200, content_type, Bytes::from(text))
    }

    pub(crate) fn bytes(status: u16, content_type: &'static str, body: Bytes) -> Self {
        Self { status, content_type, body, stream: None, headers: Vec::new() }
    }
}

/// Finds the route of a request. Wrong methods are told apart from wrong paths.
pub(crate) fn find<'a>(
    routes: &'a [Route],
    listener: Listener,
    method: &str,
    path: &str,
) -> Result<(&'a Route, Vec<String>), Problem> {
    let mut other_method = false;
    for route in routes.iter().filter(|route| route.listener == listener) {
        if let Some(captures) = matches(route.path, path) {
            if route.verb.word() == method {
                return Ok((route, captures));
            }
            other_method = true;
        }
    }
    Err(if other_method {
        Problem::new(
            Code::MethodNotAllowed,
            format!("{path} does not take {method}; see the OpenAPI document"),
        )
    } else {
        Problem::new(
            Code::NotFound,
            "there is no such path; see /admin/v1/openapi.json of the admin listener",
        )
    })
}

fn matches(template: &str, path: &str) -> Option<Vec<String>> {
    let mut captures = Vec::new();
    let mut given = path.split('/');
    for wanted in template.split('/') {
        let part = given.next()?;
        if wanted.starts_with('{') {
            if part.is_empty() {
                return None;
            }
            captures.push(part.to_owned());
        } else if part != wanted {
            return None;
        }
    }
    given.next().is_none().then_some(captures)
}

/// A value of a query with its percent signs resolved; one that is no text stays as it is.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = behind.get(..2).filter(|_| *first == b'%');
        let value = escaped
            .and_then(|two| std::str::from_utf8(two).ok())
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        match value {
            Some(value) => {
                bytes.push(value);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_whole_and_nothing_else() {
        for (template, path, expected) in [
            ("/a", "/a", Some(vec![])),
            ("/a", "/a/", None),
            ("/a/{id}", "/a/x", Some(vec!["x"])),
            ("/a/{id}", "/a/", None),
            ("/a/{id}", "/a/x/y", None),
            ("/a/{id}/b", "/a/x/b", Some(vec!["x"])),
        ] {
            let expected = expected.map(|parts| parts.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(matches(template, path), expected, "{template} {path}");
        }
    }

    #[test]
    fn percent_signs_are_resolved() {
        for (text, expected) in [("a%3Ab", "a:b"), ("100%", "100%"), ("%zz+%41", "%zz A"), ("%ff", "%ff")] {
            assert_eq!(unescaped(text), expected);
        }
    }
}
