//! What is asked of the door without sending events: settings calls of SDKs for browsers, its health and its version.
//!
//! Both families of SDKs send nothing before their settings call was answered. The answers name this door as the place
//! to send to and no other destination, so that a page loads no code and sends no figures elsewhere.

use crate::http::cors;
use crate::http::reply::{self, Body, Refusal};
use crate::http::route::{self, Route};
use crate::http::server::Shared;
use crate::json::write_text;
use crate::settings::DoorSettings;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

/// In which scheme the client spoke to a proxy.
const FORWARDED_PROTO: &str = "x-forwarded-proto";
/// The longest name of a host that is repeated, in bytes: that of a domain, a port and room.
const MAX_HOST_BYTES: usize = 300;

/// Answers one question.
pub(crate) fn answer(shared: &Shared, route: Route, request: &Request<Incoming>) -> Response<Body> {
    let settings = shared.door.settings.load();
    if request.method() == Method::OPTIONS {
        return cors::preflight(request.headers(), &settings.cors);
    }
    let mut response = if matches!(*request.method(), Method::GET | Method::HEAD) {
        let answer = match route {
            Route::Health => Ok(r#"{"status":"ok"}"#.to_owned()),
            Route::SegmentSettings => segment_settings(shared, &settings, request),
            Route::RudderSettings => rudder_settings(&settings, request),
            _ => Ok(format!(r#"{{"name":"throughline","version":"{}"}}"#, env!("CARGO_PKG_VERSION"))),
        };
        answer.map_or_else(|refusal| refused(shared, &refusal), |text| answered(text, route))
    } else {
        shared.count_refusal(StatusCode::METHOD_NOT_ALLOWED, "");
        reply::only("GET, HEAD, OPTIONS")
    };
    cors::allow(request.headers(), &settings.cors, &mut response);
    response
}

/// A script that a page loads; `None` if there is none of this name.
pub(crate) fn script(shared: &Shared, request: &Request<Incoming>) -> Option<Response<Body>> {
    let path = request.uri().path();
    let name = route::script_name(path.strip_suffix('/').unwrap_or(path))?;
    let response = shared.options.scripts.answer(name, request.headers())?;
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Some(response);
    }
    shared.count_refusal(StatusCode::METHOD_NOT_ALLOWED, "");
    Some(reply::only("GET, HEAD"))
}

fn answered(text: String, route: Route) -> Response<Body> {
    let mut response = reply::json(StatusCode::OK, Bytes::from(text));
    if matches!(route, Route::SegmentSettings | Route::RudderSettings) {
        // Every page asks. A key that is disabled stops pages within this time, and the door refuses at once anyway.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=60"));
    }
    response
}

fn refused(shared: &Shared, refusal: &Refusal) -> Response<Body> {
    shared.count_refusal(refusal.status, refusal.code());
    refusal.response()
}

/// One integration, Segment's own, which is this door: analytics-next would load the code of any other.
fn segment_settings(
    shared: &Shared,
    settings: &DoorSettings,
    request: &Request<Incoming>,
) -> Result<String, Refusal> {
    let key = route::settings_key(request.uri().path()).ok_or_else(route::missing_key)?;
    route::known_key(settings, &key)?;
    let headers = request.headers();
    let mut text = String::from(r#"{"integrations":{"Segment.io":{"apiKey":"#);
    write_text(&mut text, &key);
    text.push_str(r#","apiHost":"#);
    write_text(&mut text, &format!("{}/v1", host(headers)?));
    text.push_str(r#","protocol":"#);
    write_text(&mut text, scheme(headers, shared.options.trust_forwarded_for));
    // A rate of 0 keeps analytics-next from sending figures about itself to somebody else.
    text.push_str(r#"}},"plan":{},"metrics":{"sampleRate":0}}"#);
    Ok(text)
}

/// RudderStack's SDKs send to where their page or app says. A disabled key gets an answer that stops them without
/// retries. Those for phones read nothing that lacks a member which they know.
fn rudder_settings(settings: &DoorSettings, request: &Request<Incoming>) -> Result<String, Refusal> {
    let presented = route::presented_key(Route::RudderSettings, request.uri(), request.headers())?;
    let key = presented.or_else(|| route::query_key(request.uri())).ok_or_else(route::missing_key)?;
    let known = settings.write_keys.get(&*key).ok_or_else(route::unknown_key)?;
    let (number, enabled) = (known.number, known.enabled);
    let mut text = format!(r#"{{"source":{{"id":"source-{number}","name":"source-{number}","writeKey":"#);
    write_text(&mut text, &key);
    text.push_str(r#","workspaceId":"throughline","enabled":"#);
    text.push_str(if enabled { "true" } else { "false" });
    text.push_str(
        r#","config":{"statsCollection":{"errors":{"enabled":false},"metrics":{"enabled":false}}},"#,
    );
    text.push_str(r#""destinations":[],"updatedAt":"1970-01-01T00:00:00.000Z"}}"#);
    Ok(text)
}

/// How the client calls this server.
fn host(headers: &HeaderMap) -> Result<&str, Refusal> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    if (1..=MAX_HOST_BYTES).contains(&host.len()) && host.bytes().all(plain) {
        return Ok(host);
    }
    Err(Refusal::new(
        StatusCode::BAD_REQUEST,
        "bad_host",
        "the Host header names no host; send the name under which this server is known",
    ))
}

/// The door itself has no TLS: whoever speaks https to it speaks to a proxy.
fn scheme(headers: &HeaderMap, is_behind_proxy: bool) -> &'static str {
    let forwarded = headers.get_all(FORWARDED_PROTO).iter().next_back().filter(|_| is_behind_proxy);
    match forwarded.and_then(|value| value.to_str().ok()) {
        Some(value) if value.trim().eq_ignore_ascii_case("https") => "https",
        _ => "http",
    }
}
