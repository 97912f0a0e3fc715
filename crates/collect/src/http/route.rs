//! Which path is which call, and who is calling.

use crate::http::reply::Refusal;
use crate::settings::{DoorSettings, WriteKey};
use crate::wire::Call;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::{StatusCode, Uri};
use model::event::EventKind;
use std::borrow::Cow;

/// The longest Authorization header that is decoded, in bytes.
const MAX_BASIC_BYTES: usize = 1_024;

const MERGE: &str = "two people are not united by a merge call here; send an alias call with a server key";
const WEBHOOK: &str = "this door does not read the webhooks of other systems; send their events to /v1/batch";
const AUDIENCE_LIST: &str = "audiences are not uploaded here; define them with `throughline apply`";

/// What a path is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Events.
    Events(Call),
    /// A batch from RudderStack's beacon, which cannot set headers: the write key is in the query.
    Beacon,
    /// An image whose address is an event, for mails and pages without scripts.
    Pixel(EventKind),
    /// analytics-next's metrics about itself: accepted and dropped.
    SdkMetrics,
    /// What analytics-next asks before it sends anything. The write key is in the path.
    SegmentSettings,
    /// What RudderStack's SDK for browsers asks before it sends anything.
    RudderSettings,
    /// A call of RudderStack that means nothing here, and what to use instead.
    NotOffered(&'static str),
    /// A script of the operator's, for pages.
    Script,
    /// Whether the door answers.
    Health,
    /// Which version answers.
    Version,
    /// Not ours.
    Other,
}

/// Finds the route of a path. analytics-next shortens the names to their first letters.
pub(crate) fn route(path: &str) -> Route {
    let path = path.strip_suffix('/').unwrap_or(path);
    let Some(call) = path.strip_prefix("/v1/") else {
        return match path {
            "/health" => Route::Health,
            "/version" => Route::Version,
            "/beacon/v1/batch" => Route::Beacon,
            "/pixel/v1/track" => Route::Pixel(EventKind::Track),
            "/pixel/v1/page" => Route::Pixel(EventKind::Page),
            "/sourceConfig" => Route::RudderSettings,
            _ if script_name(path).is_some() => Route::Script,
            _ => Route::Other,
        };
    };
    Route::Events(match call {
        "identify" | "i" => Call::One(EventKind::Identify),
        "track" | "t" => Call::One(EventKind::Track),
        "page" | "p" => Call::One(EventKind::Page),
        "screen" | "s" => Call::One(EventKind::Screen),
        "group" | "g" => Call::One(EventKind::Group),
        "alias" | "a" => Call::One(EventKind::Alias),
        // What RudderStack imports from a warehouse has the shape of a batch.
        "batch" | "b" | "import" => Call::Batch,
        "m" => return Route::SdkMetrics,
        "merge" => return Route::NotOffered(MERGE),
        "webhook" => return Route::NotOffered(WEBHOOK),
        "audiencelist" => return Route::NotOffered(AUDIENCE_LIST),
        other if projects_key(other).is_some() => return Route::SegmentSettings,
        _ => return Route::Other,
    })
}

/// The write key that the path of analytics-next's settings call names, as it is spelled there.
pub(crate) fn settings_key(path: &str) -> Option<Cow<'_, str>> {
    let key = projects_key(path.strip_suffix('/').unwrap_or(path).strip_prefix("/v1/")?)?;
    Some(percent_decoded(key))
}

/// The name of the script that a path is about. On Segment's CDN the key comes before it, which says nothing here.
pub(crate) fn script_name(path: &str) -> Option<&str> {
    let name = match path.strip_prefix("/analytics.js/v1/") {
        Some(rest) => rest.split_once('/').filter(|(key, _)| !key.is_empty())?.1,
        None => path.strip_prefix("/scripts/")?,
    };
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// The write key that the query names.
pub(crate) fn query_key(uri: &Uri) -> Option<Cow<'_, str>> {
    query_value(uri.query().unwrap_or_default(), "writeKey")
}

/// A call that is known and means nothing here.
pub(crate) fn not_offered(instead: &'static str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "call_not_offered", instead)
}

fn projects_key(rest: &str) -> Option<&str> {
    let key = rest.strip_prefix("projects/")?.strip_suffix("/settings")?;
    (!key.is_empty() && !key.contains('/')).then_some(key)
}

/// The write key that the request's head presents: the user name of Basic authorization, or the query where
/// headers cannot be set.
/// A Bearer token is somebody else's: the body then names the key. `Err` if Basic is there and unreadable.
pub(crate) fn presented_key<'a>(
    route: Route,
    uri: &'a Uri,
    headers: &HeaderMap,
) -> Result<Option<Cow<'a, str>>, Refusal> {
    if matches!(route, Route::Beacon | Route::Pixel(_)) {
        return Ok(query_key(uri));
    }
    let Some(header) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let header = header.as_bytes();
    let (scheme, credentials) = header.split_at_checked(6).unwrap_or((header, &[]));
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return Ok(None);
    }
    let decoded = credentials.trim_ascii();
    let decoded = (decoded.len() <= MAX_BASIC_BYTES).then(|| STANDARD.decode(decoded).ok()).flatten();
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(unknown_key)?;
    let key = text.split(':').next().unwrap_or_default();
    Ok(if key.is_empty() { None } else { Some(Cow::Owned(key.to_owned())) })
}

/// Looks a write key up.
pub(crate) fn known_key(settings: &DoorSettings, presented: &str) -> Result<WriteKey, Refusal> {
    let key = settings.write_keys.get(presented).ok_or_else(unknown_key)?;
    if key.enabled {
        return Ok(*key);
    }
    Err(Refusal::new(
        StatusCode::NOT_FOUND,
        "source_disabled",
        "this write key is disabled; enable it or use another",
    ))
}

/// No key at all.
pub(crate) fn missing_key() -> Refusal {
    let message = "send a write key: as the user name of Basic authorization, or as writeKey in the body";
    Refusal::new(StatusCode::UNAUTHORIZED, "missing_write_key", message)
}

/// A key that nobody has.
pub(crate) fn unknown_key() -> Refusal {
    Refusal::new(
        StatusCode::UNAUTHORIZED,
        "unknown_write_key",
        "this write key is not known here; check its spelling",
    )
}

fn query_value<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    if value.is_empty() { None } else { Some(percent_decoded(value)) }
}

fn percent_decoded(value: &str) -> Cow<'_, str> {
    if !value.contains(['%', '+']) {
        return Cow::Borrowed(value);
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next(), rest.next()];
                let code = digits
                    .into_iter()
                    .try_fold(0, |code: u32, digit| Some(code * 16 + char::from(digit?).to_digit(16)?));
                bytes.push(code.map_or(b'?', |code| code as u8));
            }
            other => bytes.push(other),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    #[test]
    fn settings_calls_name_their_key() {
        let table = [
            ("/v1/projects/WK/settings", Some("WK")),
            ("/v1/projects/W%4b/settings/", Some("WK")),
            ("/v1/projects//settings", None),
            ("/v1/projects/a/b/settings", None),
            ("/v1/projects/WK", None),
        ];
        for (path, key) in table {
            assert_eq!(settings_key(path).as_deref(), key, "{path}");
            assert_eq!(route(path) == Route::SegmentSettings, key.is_some(), "{path}");
        }
    }

    #[test]
    fn keys_in_every_place() {
        let table = [
            ("/v1/track", Some("Basic V0s6"), Ok(Some("WK"))),
            ("/v1/track", Some("basic V0s="), Ok(Some("WK"))),
            ("/v1/track", Some("Basic V0s6cGFzcw=="), Ok(Some("WK"))),
            ("/v1/track", Some("Basic Og=="), Ok(None)),
            ("/v1/track", Some("Bearer abc"), Ok(None)),
            ("/v1/track", Some("x"), Ok(None)),
            ("/v1/track", None, Ok(None)),
            ("/v1/track?writeKey=WK", None, Ok(None)),
            ("/v1/track", Some("Basic ???"), Err(())),
            ("/v1/track", Some("Basic /w=="), Err(())),
            ("/beacon/v1/batch?a=b&writeKey=W%4b", None, Ok(Some("WK"))),
            ("/beacon/v1/batch?writeKey=", None, Ok(None)),
            ("/beacon/v1/batch?writeKey=%f", None, Ok(Some("?"))),
            ("/beacon/v1/batch", None, Ok(None)),
            ("/pixel/v1/track?writeKey=WK&event=E", None, Ok(Some("WK"))),
            ("/pixel/v1/page", Some("Basic V0s6"), Ok(None)),
        ];
        for (uri, authorization, expected) in table {
            let uri: Uri = uri.parse().unwrap();
            let mut headers = HeaderMap::new();
            if let Some(value) = authorization {
                headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            }
            let found = presented_key(route(uri.path()), &uri, &headers);
            assert_eq!(
                found.as_ref().map(Option::as_deref).map_err(|_| ()),
                expected,
                "{uri} {authorization:?}"
            );
        }
    }
}
