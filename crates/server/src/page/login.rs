//! Logging in and out. The token is exchanged for a session, so that it is not kept in the browser.

use super::html::Html;
use super::{asset_links, document, session};
use crate::api::{Context, Reply, token_of};
use crate::calendar::now_us;
use hyper::HeaderMap;
use hyper::header::{COOKIE, HOST, HeaderValue, LOCATION, ORIGIN, SET_COOKIE};

/// A form is no longer; a token has some fifty bytes.
const FORM_BYTES_MAX: usize = 4_096;

/// The form, and above it what was wrong.
pub(super) fn form(status: u16, problem: &str) -> Reply {
    let mut html = Html::default();
    html.raw("<!doctype html><html lang=\"en\"><head><title>Throughline: log in</title>");
    asset_links(&mut html, false);
    html.raw("</head><body><main class=\"login\"><h1>Throughline</h1>");
    if !problem.is_empty() {
        html.raw("<p role=\"alert\" class=\"problem\">").text(problem).raw("</p>");
    }
    html.raw(
        "<form method=\"post\" action=\"/login\"><input name=\"who\" value=\"admin\" \
         autocomplete=\"username\" hidden><label for=\"token\">Admin token</label>\
         <input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required autofocus \
         spellcheck=\"false\"><button>Log in</button></form>\
         <p class=\"hint\">The server printed it at its first start; if it is lost, start the server with \
         <code>--new-admin-token</code>. The session lasts 12 hours and shows this page, nothing else.</p></main></body></html>",
    );
    document(status, html)
}

/// Whether a form was sent from a page of ours: browsers say where it comes from, and no page can change what they say.
pub(super) fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(HOST.as_str()).unwrap_or_default();
    let own_origin = |origin: &str| {
        let named = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        named.is_some_and(|named| named.eq_ignore_ascii_case(host))
    };
    text(ORIGIN.as_str()).is_none_or(own_origin)
        && text("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none")
}

/// Takes the form. The answer to a right token is a cookie and the way to the page.
pub(super) fn log_in(context: &Context, headers: &HeaderMap, body: &[u8]) -> Reply {
    if !is_from_here(headers) {
        return form(403, "This form came from another site. Log in here.");
    }
    let given = field(body, "token").unwrap_or_default();
    let settings = context.engine.view().settings();
    let Some(token) = token_of(&given, &settings) else {
        tracing::warn!("somebody tried to open the status page with a token that is not valid");
        return form(401, "This token is not valid: it is mistyped or was revoked.");
    };
    if !session::may_see(token) {
        return form(401, "This token lacks the scope admin, which this page needs.");
    }
    tracing::info!(token = token.number, "the status page was opened");
    let cookie = session::open(&context.secrets, token, now_us());
    to_page(&format!("{cookie}; Max-Age={}", session::SESSION_S))
}

/// Forgets the session in this browser.
pub(super) fn log_out(headers: &HeaderMap) -> Reply {
    if !is_from_here(headers) {
        return form(403, "This form came from another site.");
    }
    to_page("; Max-Age=0")
}

/// Whether a request has a session that holds.
pub(super) fn is_in(context: &Context, headers: &HeaderMap) -> bool {
    let settings = context.engine.view().settings();
    let cookies = headers.get(COOKIE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    session::token_of(&context.secrets, &settings, cookies, now_us()).is_some()
}

/// To the page, with a cookie for this host alone, that scripts cannot read and no other site can have sent.
fn to_page(value: &str) -> Reply {
    let mut reply = document(303, Html::default());
    reply.headers.push((LOCATION, HeaderValue::from_static("/")));
    let cookie = format!("{}={value}; Path=/; HttpOnly; SameSite=Strict", session::COOKIE);
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        reply.headers.push((SET_COOKIE, cookie));
    }
    reply
}

/// A field of a form, as browsers encode it.
fn field(body: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= FORM_BYTES_MAX)?;
    let value = text.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_browsers_write_them() {
        for (body, expected) in [
            ("token=tlt_a-b", Some("tlt_a-b")),
            ("a=b&token=x%20y+z%0D%0A", Some("x y z\r\n")),
            ("token=", Some("")),
            ("tokens=x", None),
            ("token=%4", None),
            ("token=%zz", None),
            ("token=%ff", None),
            ("", None),
        ] {
            assert_eq!(field(body.as_bytes(), "token").as_deref(), expected, "{body}");
        }
        assert_eq!(field(format!("token={}", "a".repeat(FORM_BYTES_MAX)).as_bytes(), "token"), None);
    }

    #[test]
    fn only_our_own_pages_send_forms() {
        let headers = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            headers.insert("host", HeaderValue::from_static("127.0.0.1:7310"));
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_str(value).unwrap());
            }
            headers
        };
        for (pairs, expected) in [
            (vec![], true),
            (vec![("origin", "http://127.0.0.1:7310")], true),
            (vec![("origin", "https://127.0.0.1:7310"), ("sec-fetch-site", "same-origin")], true),
            (vec![("sec-fetch-site", "none")], true),
            (vec![("origin", "http://127.0.0.1:7311")], false),
            (vec![("origin", "http://evil.example")], false),
            (vec![("origin", "null")], false),
            (vec![("origin", "http://127.0.0.1:7310"), ("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-site", "same-site")], false),
        ] {
            assert_eq!(is_from_here(&headers(&pairs)), expected, "{pairs:?}");
        }
    }
}
