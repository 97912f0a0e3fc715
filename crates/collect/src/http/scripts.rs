//! Scripts for pages, from the shop's own name: the operator's files, so that pages load no code from elsewhere.
//!
//! They are read once, packed once, and answered from memory. Their addresses are `/scripts/NAME`, and
//! `/analytics.js/v1/KEY/NAME`, which is where Segment's snippet looks on its CDN.

use crate::http::reply::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderValue, IF_NONE_MATCH, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use std::collections::BTreeMap;
use std::io::Write as _;
use thiserror::Error;

/// Scripts at most.
pub const MAX_SCRIPTS: usize = 64;
/// Bytes of one script, at most.
pub const MAX_SCRIPT_BYTES: usize = 8 * 1024 * 1024;
/// Letters of a name, at most.
const MAX_NAME_BYTES: usize = 100;
/// How long a browser may keep a script without asking: as long as a mended one may take to reach every page.
const FRESH: &str = "public, max-age=300";

/// Why scripts cannot be served.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ScriptError {
    /// A name that is no file of a script.
    #[error(
        "{name:?} cannot be served: a name has up to {MAX_NAME_BYTES} letters, digits, dots, hyphens and underscores, \
         and ends with .js, .mjs or .js.map"
    )]
    Name {
        /// What it is called.
        name: String,
    },
    /// One that is too large.
    #[error("{name} has more than {MAX_SCRIPT_BYTES} bytes: serve it from elsewhere")]
    TooLarge {
        /// What it is called.
        name: String,
    },
    /// Too many of them.
    #[error("there are more than {MAX_SCRIPTS} scripts: leave in the folder only what pages load")]
    TooMany,
}

/// All scripts, by name.
#[derive(Debug, Default)]
pub struct Scripts(BTreeMap<String, Script>);

#[derive(Debug)]
struct Script {
    plain: Bytes,
    packed: Bytes,
    /// Of the plain and the packed form.
    tags: [HeaderValue; 2],
    kind: HeaderValue,
}

impl Scripts {
    /// Serves these, by name. `tag` gives a text that is another for another script.
    pub fn new(
        files: impl IntoIterator<Item = (String, Vec<u8>)>,
        tag: impl Fn(&[u8]) -> u64,
    ) -> Result<Self, ScriptError> {
        let mut scripts = BTreeMap::new();
        for (name, plain) in files {
            let script = Script::new(&name, plain, &tag)?;
            if scripts.len() >= MAX_SCRIPTS {
                return Err(ScriptError::TooMany);
            }
            scripts.insert(name, script);
        }
        Ok(Self(scripts))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The answer to a question for a script; `None` if there is none of this name.
    pub(crate) fn answer(&self, name: &str, headers: &HeaderMap) -> Option<Response<Body>> {
        let script = self.0.get(name)?;
        let packed = accepts_gzip(headers) && script.packed.len() < script.plain.len();
        let (body, tag) =
            if packed { (&script.packed, &script.tags[1]) } else { (&script.plain, &script.tags[0]) };
        let mut response = Response::new(Full::new(body.clone()));
        let own = response.headers_mut();
        own.insert(CONTENT_TYPE, script.kind.clone());
        if packed {
            own.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        own.insert(ETAG, tag.clone());
        own.insert(CACHE_CONTROL, HeaderValue::from_static(FRESH));
        own.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        // A page of another name of the shop may load it with `integrity`, for which browsers want this.
        own.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        own.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if is_known(headers, tag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Full::default();
        }
        Some(response)
    }
}

impl Script {
    fn new(name: &str, plain: Vec<u8>, tag: &impl Fn(&[u8]) -> u64) -> Result<Self, ScriptError> {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_map = name.ends_with(".js.map");
        let is_script = name.ends_with(".js") || name.ends_with(".mjs");
        let is_named = name.len() <= MAX_NAME_BYTES && !name.starts_with('.') && name.bytes().all(letters);
        if !is_named || !(is_map || is_script) {
            return Err(ScriptError::Name { name: name.to_owned() });
        }
        if plain.len() > MAX_SCRIPT_BYTES {
            return Err(ScriptError::TooLarge { name: name.to_owned() });
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory cannot fail; what could not be packed goes out plain.
        let packed = encoder.write_all(&plain).and_then(|()| encoder.finish()).unwrap_or_default();
        let packed = if packed.is_empty() { plain.clone() } else { packed };
        let number = tag(&plain);
        let tags = ["", "-gzip"].map(|form| {
            HeaderValue::from_str(&format!("\"{number:016x}{form}\""))
                .unwrap_or(HeaderValue::from_static("\"0\""))
        });
        let kind = if is_map { "application/json" } else { "text/javascript; charset=utf-8" };
        Ok(Self { plain: plain.into(), packed: packed.into(), tags, kind: HeaderValue::from_static(kind) })
    }
}

/// Whether the client takes gzip: it is named, and not with a weight of 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let named = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q=")).and_then(|text| text.parse::<f32>().ok());
        is_gzip && weight.is_none_or(|weight| weight > 0.0)
    })
}

fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let named = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let tag = tag.to_str().unwrap_or_default();
    named.flat_map(|value| value.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag
    })
}
