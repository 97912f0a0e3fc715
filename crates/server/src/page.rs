//! The status page at `listen.admin`: the three numbers of the line, the stations behind them, and what to do where
//! something is wrong. Rendered here, without a build step; without scripts it renews itself every ten seconds.
//!
//! [`gather`] reads what is shown, by the functions that the API answers with; [`stations`] and [`advice`] say how it is
//! and what to do; [`render`] writes HTML with [`html`], which escapes, [`chart`] and [`words`]. [`login`] exchanges an
//! admin token for a [`session`].
//!
//! **The page never** changes anything, holds a token, loads anything from elsewhere, or shows anybody's personal data.

mod advice;
mod chart;
mod gather;
mod html;
mod line_part;
mod login;
mod render;
mod session;
mod stations;
#[cfg(test)]
mod tests;
mod words;

use crate::api::{Answering, Call, Context, Problem, Reply};
use crate::calendar::now_us;
use bytes::Bytes;
use gather::{Period, Samples};
use html::Html;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_FRAME_OPTIONS};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The style sheet's content type.
pub(crate) const CSS: &str = "text/css; charset=utf-8";
/// The script's.
pub(crate) const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
/// The icon's.
pub(crate) const SVG: &str = "image/svg+xml";
const HTML: &str = "text/html; charset=utf-8";
/// Everything is ours, nothing is inline, nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// A page is shown again for at least so long, whoever asks, and for twenty times as long as it took to make: however
/// many look, and however much there is to count, the page takes at most a twentieth of one processor.
const KEPT_MIN_US: i64 = 1_000_000;
const KEPT_TIMES: i64 = 20;

/// Pages made a moment ago, and the counters they were made from.
#[derive(Default)]
pub(crate) struct Pages(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    samples: Samples,
    /// By what was asked for: there are only so many periods.
    pages: BTreeMap<Option<Period>, Page>,
}

struct Page {
    made_us: i64,
    until_us: i64,
    text: Bytes,
}

/// `GET /`: the page to who is logged in, else the form.
pub(crate) fn page(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        if !login::is_in(&context, &call.headers) {
            return Ok(login::form(200, ""));
        }
        let asked = call.parameter("over");
        let period = Period::ALL.into_iter().find(|one| Some(one.word()) == asked);
        // Counting may take a moment, and this thread answers everybody.
        let making = tokio::task::spawn_blocking(move || made(&context, period));
        let text = making.await.map_err(|error| {
            tracing::error!(error = %error, "the status page could not be made");
            Problem::new(crate::api::Code::Internal, "the page could not be made; the server's log says why")
        })?;
        Ok(with_headers(Reply::bytes(200, HTML, text)))
    })
}

pub(crate) fn log_in(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move { Ok(login::log_in(&context, &call.headers, &call.body)) })
}

pub(crate) fn log_out(_: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move { Ok(login::log_out(&call.headers)) })
}

pub(crate) fn style(_: Arc<Context>, _: Call) -> Answering {
    asset(CSS, include_str!("page/page.css"))
}

pub(crate) fn script(_: Arc<Context>, _: Call) -> Answering {
    asset(JAVASCRIPT, include_str!("page/page.js"))
}

pub(crate) fn icon(_: Arc<Context>, _: Call) -> Answering {
    asset(SVG, include_str!("page/icon.svg"))
}

fn asset(content_type: &'static str, text: &'static str) -> Answering {
    let reply = Reply::bytes(200, content_type, Bytes::from_static(text.as_bytes()));
    Box::pin(async { Ok(with_headers(reply)) })
}

/// The page as it is now, or was a moment ago.
fn made(context: &Context, period: Option<Period>) -> Bytes {
    let mut kept = context.pages.0.lock().unwrap_or_else(PoisonError::into_inner);
    let began_us = now_us();
    if let Some(page) = kept.pages.get(&period)
        && (page.made_us..page.until_us).contains(&began_us)
    {
        return page.text.clone();
    }
    let seen = gather::gather(context, period, &mut kept.samples);
    let text = Bytes::from(render::page(&seen).into_text());
    let made_us = now_us();
    let kept_us = made_us.saturating_sub(began_us).saturating_mul(KEPT_TIMES).max(KEPT_MIN_US);
    let page = Page { made_us, until_us: made_us.saturating_add(kept_us), text: text.clone() };
    kept.pages.insert(period, page);
    text
}

/// What the head of every page links to; those that renew themselves have the script, and a way to do without.
fn asset_links(html: &mut Html, is_live: bool) {
    html.raw(
        "<meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"stylesheet\" href=\"/page.css\">\
         <link rel=\"icon\" href=\"/icon.svg\" type=\"image/svg+xml\">",
    );
    if is_live {
        html.raw("<noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>");
        html.raw("<script src=\"/page.js\" defer></script>");
    }
}

fn document(status: u16, html: Html) -> Reply {
    with_headers(Reply::bytes(status, HTML, Bytes::from(html.into_text())))
}

fn with_headers(mut reply: Reply) -> Reply {
    let same_origin = HeaderValue::from_static("same-origin");
    reply.headers.extend([
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        // Not `no-referrer`: browsers would then name no origin with the form, and it could not be told from others'.
        (REFERRER_POLICY, same_origin.clone()),
        (HeaderName::from_static("cross-origin-opener-policy"), same_origin.clone()),
        (HeaderName::from_static("cross-origin-resource-policy"), same_origin),
    ]);
    reply
}
