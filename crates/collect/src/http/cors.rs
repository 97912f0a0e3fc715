//! What a browser must be told before it lets a page send, and before it shows the page an answer.

use crate::http::reply::Body;
use crate::settings::Cors;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use hyper::{Response, StatusCode};

/// How long a browser may remember a preflight, in seconds: RudderStack's value.
const MAX_AGE_S: &str = "900";

/// Answers a preflight. The requested headers are echoed: `*` would not cover `Authorization`.
pub fn preflight(request: &HeaderMap, cors: &Cors) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if !allow(request, cors, &mut response) {
        return response;
    }
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, HEAD"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_S));
    if let Some(requested) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
    }
    response
}

/// Adds to an answer what lets a page of an allowed origin read it. `false` if no page asked or its origin may not.
pub fn allow(request: &HeaderMap, cors: &Cors, response: &mut Response<Body>) -> bool {
    let Some(origin) = request.get(ORIGIN) else {
        return false;
    };
    response.headers_mut().append(VARY, HeaderValue::from_static("Origin"));
    if !origin.to_str().is_ok_and(|origin| cors.allows(origin)) {
        return false;
    }
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    // SDKs wait as long as they are told, if they are allowed to read it.
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
    true
}
