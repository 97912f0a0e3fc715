//! What the rules of a write key let through, and what became of the rest.

use crate::http::reply::Refusal;
use crate::rules::{Bucket, KeyRules};
use crate::wire::SetAside;
use hyper::StatusCode;
use hyper::header::{HeaderMap, ORIGIN, REFERER};
use model::id::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// How many of the events that were set aside are remembered.
const REMEMBERED_MAX: usize = 1_000;

/// An event that a rule of its write key kept out. It holds nothing that the event said of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptOut {
    /// When it came.
    pub at: Timestamp,
    /// The number of the write key.
    pub key_number: u32,
    /// What it was, and why.
    pub event: SetAside,
}

/// What the door remembers about keys with rules. Keys without rules never come here.
#[derive(Default)]
pub(crate) struct Gate {
    /// By the number of the key. As many as there are keys with a rate.
    buckets: Mutex<HashMap<u32, Bucket>>,
    latest: Mutex<VecDeque<KeptOut>>,
}

impl Gate {
    /// Judges a request before its events are looked at.
    pub(crate) fn admit(
        &self,
        key_number: u32,
        rules: &KeyRules,
        headers: &HeaderMap,
        is_image: bool,
        events: usize,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if !rules.origins.is_empty() && !rules.allows_origin(origin(headers, is_image), is_image) {
            let message =
                "this write key is for pages of other origins; add the page's origin to the key's rules";
            return Err(Refusal::new(StatusCode::FORBIDDEN, "origin_not_allowed", message));
        }
        let Some(rate) = rules.rate else { return Ok(()) };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(key_number).or_insert_with(|| Bucket::full(rate, now));
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        bucket.take(rate, events, now).map_err(Refusal::rate_limited)
    }

    /// Remembers what was kept out, the latest ones.
    pub(crate) fn remember(&self, key_number: u32, at: Timestamp, set_aside: Vec<SetAside>) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.extend(set_aside.into_iter().map(|event| KeptOut { at, key_number, event }));
        let surplus = latest.len().saturating_sub(REMEMBERED_MAX);
        latest.drain(..surplus);
    }

    /// What was kept out lately, the newest first.
    pub(crate) fn latest(&self) -> Vec<KeptOut> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }
}

/// The page that a request comes from. Browsers fetch images without naming the origin, and name the page instead.
fn origin(headers: &HeaderMap, is_image: bool) -> Option<&str> {
    if let Some(origin) = headers.get(ORIGIN) {
        // What is no text is no origin that anybody listed.
        return Some(origin.to_str().unwrap_or_default());
    }
    let page = headers.get(REFERER).filter(|_| is_image)?.to_str().ok()?;
    let (scheme, rest) = page.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    page.get(..scheme.len() + 3 + host.len())
}
