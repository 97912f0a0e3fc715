//! From a request to its answer: which path, who may, what is refused.

use super::listen::Shared;
use super::{PageAnswer, PageAsked, Refusing};
use crate::storefront::{Effort, GraphqlRequest, RequestContext};
use crate::token_key;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use subtle::ConstantTimeEq;

/// The longest body, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// What a browser sends to say that its page may ask.
const PUBLIC_TOKEN: &str = "x-shopify-storefront-access-token";
/// What a server sends.
const PRIVATE_TOKEN: &str = "shopify-storefront-private-token";
/// Where a server says that the buyer is.
const BUYER_IP: &str = "shopify-storefront-buyer-ip";
/// How long a browser may remember what it was told before it asked, in seconds.
const PREFLIGHT_AGE_S: &str = "7200";
/// How long who is refused is told to wait, in seconds.
const RETRY_AFTER_S: &str = "1";

type Answer = Response<Full<Bytes>>;

/// A body in JSON. What else is in it is passed over, as GraphQL over HTTP says.
#[derive(Deserialize)]
struct Body {
    query: Option<String>,
    #[serde(rename = "operationName")]
    operation_name: Option<String>,
    variables: Option<serde_json::Value>,
}

/// One of the requests that count against the limit.
struct Open<'a>(&'a AtomicUsize);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers a request.
pub(super) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>, peer: SocketAddr) -> Answer {
    let path = request.uri().path();
    if path == "/healthz" {
        return match shared.door.storefront.stopped() {
            None => json(StatusCode::OK, &b"{\"status\":\"ok\"}"[..]),
            // Why is in the log, and nobody's business here.
            Some(_) => json(StatusCode::SERVICE_UNAVAILABLE, &b"{\"status\":\"stopped\"}"[..]),
        };
    }
    let open = &shared.counters.open_requests;
    let before = open.fetch_add(1, Ordering::Relaxed);
    let _open = Open(open);
    let refusing = refusing(shared, before);
    let answer = if let Some(version) = version_of(path) {
        let version = version.to_owned();
        graphql(shared, request, peer, refusing, &version).await
    } else if path.starts_with("/checkout/") && shared.door.pages.is_some() {
        page(shared, request, refusing).await
    } else {
        refused(StatusCode::NOT_FOUND, "NOT_FOUND", "there is nothing here")
    };
    count(shared, answer.status());
    answer
}

fn count(shared: &Shared, status: StatusCode) {
    if status == StatusCode::SERVICE_UNAVAILABLE {
        shared.counters.deferred.fetch_add(1, Ordering::Relaxed);
    } else if status.is_client_error() {
        shared.counters.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// Who is refused: by what others say, and by what is open here.
fn refusing(shared: &Shared, open: usize) -> Refusing {
    let most = shared.options.requests_max;
    let own = match open {
        open if open >= most => Refusing::Checkouts,
        open if open >= most / 4 * 3 => Refusing::Carts,
        open if open >= most / 2 => Refusing::Browsing,
        _ => Refusing::Nobody,
    };
    own.max(shared.door.pressure.get())
}

/// The version in the path of a GraphQL request: `2026-04`, of any year and month of this century, or `unstable`.
fn version_of(path: &str) -> Option<&str> {
    let version = path.strip_prefix("/api/")?.strip_suffix("/graphql.json")?;
    let dated = match version.as_bytes() {
        [b'2', b'0', y1, y2, b'-', m1, m2] => [y1, y2, m1, m2].into_iter().all(u8::is_ascii_digit),
        _ => false,
    };
    (dated || version == "unstable").then_some(version)
}

async fn graphql(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    peer: SocketAddr,
    refusing: Refusing,
    version: &str,
) -> Answer {
    let mut answer = match *request.method() {
        Method::OPTIONS => preflight(request.headers()),
        Method::POST => match posted(shared, request, peer, refusing).await {
            Ok(body) => {
                shared.counters.answered.fetch_add(1, Ordering::Relaxed);
                json(StatusCode::OK, body)
            }
            Err(refused) => *refused,
        },
        _ => {
            let mut answer = refused(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "send a POST");
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
            answer
        }
    };
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
    if let Ok(version) = HeaderValue::from_str(version) {
        headers.insert(HeaderName::from_static("x-shopify-api-version"), version);
    }
    answer
}

/// What a browser is told before it lets a page ask. The requested headers are echoed: clients add ones of their own.
fn preflight(request: &HeaderMap) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_AGE_S));
    headers.insert(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    if let Some(requested) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
    }
    answer
}

async fn posted(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    peer: SocketAddr,
    refusing: Refusing,
) -> Result<Vec<u8>, Box<Answer>> {
    let (head, body) = request.into_parts();
    let is_server = let_in(shared, &head.headers)?;
    if refusing == Refusing::Checkouts {
        return Err(busy());
    }
    let kind = text(&head.headers, "content-type").unwrap_or("application/json");
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let body = read(shared, body).await?;
    let request = match kind.as_str() {
        "application/graphql" => raw(&body)?,
        "application/json" => parsed(&body)?,
        _ => {
            let message = "send application/json or application/graphql";
            let answer = refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message);
            return Err(Box::new(answer));
        }
    };
    // Which requests only look around is known from their plan, and looked at only where it matters.
    if refusing > Refusing::Nobody {
        let effort = shared.door.storefront.effort(&request);
        if refusing >= Refusing::Carts || effort != Some(Effort::Change) {
            return Err(busy());
        }
    }
    let context = RequestContext {
        channel: shared.options.channel.clone(),
        now: (shared.door.now)(),
        buyer_ip: Some(buyer_ip(shared, &head.headers, peer, is_server)),
        idempotency: text(&head.headers, "idempotency-key")
            .map(|key| token_key("storefront-idempotency", key)),
    };
    let answered = shared.door.storefront.execute(&request, &context);
    match tokio::time::timeout(shared.options.answer_timeout, answered).await {
        Ok(body) => Ok(body),
        Err(_) => Err(busy()),
    }
}

/// Whether the caller may ask: `true` if it showed a server's token.
fn let_in(shared: &Shared, headers: &HeaderMap) -> Result<bool, Box<Answer>> {
    let options = &shared.options;
    let shown = |name: &str, tokens: &[String]| {
        let given = text(headers, name).unwrap_or_default();
        // All are compared, each in the same time for every token of that length.
        tokens.iter().fold(false, |found, one| found | bool::from(one.as_bytes().ct_eq(given.as_bytes())))
    };
    if shown(PRIVATE_TOKEN, &options.private_tokens) {
        return Ok(true);
    }
    let open = options.public_tokens.is_empty() && options.private_tokens.is_empty();
    if open || shown(PUBLIC_TOKEN, &options.public_tokens) {
        return Ok(false);
    }
    let message = "the access token is missing or wrong: send X-Shopify-Storefront-Access-Token";
    Err(Box::new(refused(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)))
}

fn buyer_ip(shared: &Shared, headers: &HeaderMap, peer: SocketAddr, is_server: bool) -> IpAddr {
    let stated = if is_server { text(headers, BUYER_IP) } else { None };
    let forwarded = match shared.options.trust_forwarded_for {
        // The last one was written by the proxy in front; those before it by anybody.
        true => text(headers, "x-forwarded-for").and_then(|list| list.rsplit(',').next()),
        false => None,
    };
    let stated = stated.or(forwarded).and_then(|text| text.trim().parse().ok());
    stated.unwrap_or(peer.ip())
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[expect(clippy::disallowed_methods, reason = "this is the bounded helper")]
async fn read(shared: &Shared, body: Incoming) -> Result<Bytes, Box<Answer>> {
    let read = Limited::new(body, BODY_BYTES_MAX).collect();
    match tokio::time::timeout(shared.options.body_timeout, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let message = "the body is larger than 1 MiB: send less at once";
            Err(Box::new(refused(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", message)))
        }
        Ok(Err(_)) => Err(Box::new(refused(StatusCode::BAD_REQUEST, "BAD_REQUEST", "the body ended early"))),
        Err(_) => {
            let message = "the body took too long";
            Err(Box::new(refused(StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMEOUT", message)))
        }
    }
}

fn raw(body: &[u8]) -> Result<GraphqlRequest, Box<Answer>> {
    match std::str::from_utf8(body) {
        Ok(query) => Ok(GraphqlRequest { query: query.to_owned(), ..GraphqlRequest::default() }),
        Err(_) => Err(bad("the document is no UTF-8")),
    }
}

fn parsed(body: &[u8]) -> Result<GraphqlRequest, Box<Answer>> {
    let body: Body = serde_json::from_slice(body).map_err(|_| {
        bad("the body is no JSON object with a text query, an object variables and a text operationName")
    })?;
    let variables = match body.variables {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::Object(variables)) => Some(variables),
        Some(_) => return Err(bad("variables has to be an object")),
    };
    let query = body.query.ok_or_else(|| bad("query is missing"))?;
    let operation_name = body.operation_name.filter(|name| !name.is_empty());
    Ok(GraphqlRequest { query, operation_name, variables })
}

fn bad(message: &str) -> Box<Answer> {
    Box::new(refused(StatusCode::BAD_REQUEST, "BAD_REQUEST", message))
}

fn busy() -> Box<Answer> {
    let message = "the shop has much to do: try again in a moment";
    let mut answer = refused(StatusCode::SERVICE_UNAVAILABLE, "THROTTLED", message);
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
    Box::new(answer)
}

/// A page of the checkout.
async fn page(shared: &Arc<Shared>, request: Request<Incoming>, refusing: Refusing) -> Answer {
    let Some(pages) = &shared.door.pages else {
        return refused(StatusCode::NOT_FOUND, "NOT_FOUND", "there is nothing here");
    };
    if refusing == Refusing::Checkouts {
        return *busy();
    }
    let is_post = match *request.method() {
        Method::GET | Method::HEAD => false,
        Method::POST => true,
        _ => return refused(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "send GET or POST"),
    };
    let (head, body) = request.into_parts();
    let body = match read(shared, body).await {
        Ok(body) => body,
        Err(answer) => return *answer,
    };
    let asked = PageAsked {
        is_post,
        path: head.uri.path_and_query().map_or("/checkout/", |path| path.as_str()),
        body: &body,
        accept_language: text(&head.headers, "accept-language"),
        fetch_site: text(&head.headers, "sec-fetch-site"),
        now: (shared.door.now)(),
    };
    match tokio::time::timeout(shared.options.answer_timeout, pages.answer(asked)).await {
        Ok(answer) => {
            shared.counters.pages.fetch_add(1, Ordering::Relaxed);
            html(answer)
        }
        Err(_) => *busy(),
    }
}

/// Pages are secret by their address: nobody keeps them, frames them, or learns the address from where links lead.
fn html(page: PageAnswer) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(page.html)));
    *answer.status_mut() = StatusCode::from_u16(page.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; base-uri 'none'; frame-ancestors 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(Ok(location)) = page.location.map(HeaderValue::try_from) {
        headers.insert(header::LOCATION, location);
    }
    answer
}

fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// An error in the form of GraphQL. Messages are ours and hold nothing that needs escaping.
fn refused(status: StatusCode, code: &str, message: &str) -> Answer {
    let body =
        format!("{{\"errors\":[{{\"message\":\"{message}\",\"extensions\":{{\"code\":\"{code}\"}}}}]}}");
    json(status, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_months_or_unstable() {
        for (path, expected) in [
            ("/api/2026-04/graphql.json", Some("2026-04")),
            ("/api/2031-10/graphql.json", Some("2031-10")),
            ("/api/unstable/graphql.json", Some("unstable")),
            ("/api/26-04/graphql.json", None),
            ("/api/2026-4/graphql.json", None),
            ("/api/1926-04/graphql.json", None),
            ("/api//graphql.json", None),
            ("/api/2026-04/graphql", None),
            ("/api/graphql.json", None),
            ("/api/2026-04/../graphql.json", None),
        ] {
            assert_eq!(version_of(path), expected, "{path}");
        }
    }
}
