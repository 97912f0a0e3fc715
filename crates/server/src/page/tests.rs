//! The page from what it is made of: whatever that holds, the page stays HTML, and short.

use super::gather::{LineSeen, Period, Rates, Seen};
use super::render;
use crate::api::types::{AudienceShown, DestinationShown, Readiness, StatusShown};
use crate::calendar::{HOUR_US, iso};
use crate::line::types::LineShown;
use serde_json::{Value, json};

/// No page is longer, however much there is to show and however much of it has to be escaped.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Tries to leave every place that text can stand in.
const HOSTILE: &str = "</title><script>alert(1)</script>\"' onload=x {{}} <!-- \u{202e}\u{0}";
const START: i32 = 500_000;

fn status() -> StatusShown {
    let mut status = json!({ "version": "1.2.3", "log_time": "", "writes_refused": false });
    for name in [
        "uptime_s",
        "durable_next",
        "applied_next",
        "log_time_us",
        "applied",
        "duplicates",
        "skipped",
        "quarantined_events",
        "profiles",
        "merges",
        "suppressions_active",
        "effects",
        "outbox",
        "timers",
        "checkpoint_next",
        "checkpoints",
        "resident_bytes",
        "resident_rows",
        "dedup_bytes",
        "pause_max_us",
        "accepted_events",
        "accepted_requests",
        "refused_requests",
        "deferred_requests",
    ] {
        status[name] = json!(7);
    }
    let zeros = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), json!(0))).collect::<Value>();
    status["erasure"] =
        zeros(&["pending", "done_before_position", "segments_done", "segments_total", "records_emptied"]);
    status["feed"] = zeros(&[
        "start",
        "complete",
        "items",
        "gaps",
        "disk_bytes",
        "history_bytes",
        "waiting_bytes",
        "readers",
        "reader_lag_records",
        "sent_items",
        "sent_bytes",
        "cursors_gone",
        "readers_slow",
    ]);
    status["backfill"] = zeros(&["pending", "counts_from_position"]);
    status["delivery"] =
        zeros(&["destinations", "problems", "delivered", "waiting", "crossed", "dead_letters", "losses"]);
    for name in ["skipped", "quarantined_events"] {
        status[name] = json!(0);
    }
    serde_json::from_value(status).unwrap()
}

fn seen() -> Seen {
    Seen {
        log_time_us: i64::from(START) * HOUR_US,
        status: status(),
        readiness: Readiness { ready: true, reasons: Vec::new() },
        audiences: Vec::new(),
        audiences_total: 0,
        destinations: Vec::new(),
        destinations_total: 0,
        is_driven: false,
        line: None,
        rates: Rates::default(),
    }
}

fn figures(minor: i64) -> Value {
    let span = json!({ "count": 9, "mean_ms": 90_000_000, "p50_ms": 80_000_001, "p90_ms": 99_000_002, "p99_ms": 99_000_003 });
    let spans: Value = [
        "cycle",
        "impression_to_click",
        "click_to_cart",
        "cart_to_pay",
        "pay_to_capture",
        "capture_to_queued",
        "queued_to_accepted",
        "after_purchase",
    ]
    .iter()
    .map(|name| ((*name).to_owned(), span.clone()))
    .collect();
    let reasons: Value = ["invalid", "purchased", "capped", "unavailable", "unconsented", "duplicate"]
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "impressions": 3, "cost_minor": minor / 12 })))
        .collect();
    json!({
        "throughput": {
            "cash_minor": minor, "cash_with_attention_minor": minor, "cash_with_attention_minor_per_hour": minor as f64,
            "orders": 5, "orders_with_attention": 4, "orders_per_hour": 0.2, "people_with_attention": 4,
            "people_paid": 2, "yield_percent": 50.0,
        },
        "cycle_time": { "spans": spans, "orders_without_impression": 1, "orders_unconfirmed": 2, "negative_spans": 3 },
        "scrap": {
            "spend_minor": minor, "scrapped_minor": minor / 2, "rate_percent": 50.0, "reasons": reasons,
            "unpriced_touches": 1, "unpriced_orders": 0,
        },
        "counts": {},
    })
}

fn line(by: Vec<Value>) -> LineShown {
    let operations = json!({ "failed_attempts": 0, "dead_letters": 0, "records_skipped": 0, "quarantined_events": 0, "refused_requests": 0, "lag_ms": {}, "suppression_lag": {} });
    serde_json::from_value(json!({
        "from": "", "to": "", "currency": "EUR", "position": 1, "settled_before": "", "total": figures(1_234_567),
        "by": by, "operations": operations,
    }))
    .unwrap()
}

/// As much as there can be, all of it hostile.
fn overfull() -> Seen {
    let mut seen = seen();
    let name = |number: usize| format!("{number} {}", "\"".repeat(60));
    let audience = |number: usize| {
        serde_json::from_value::<AudienceShown>(json!({
            "name": format!("{HOSTILE}{}", name(number)), "number": 1, "version": 1, "rule": HOSTILE, "members": u64::MAX,
            "entries": u64::MAX, "exits": u64::MAX, "cost": 1, "features": [], "suppress": { "everything": true },
        }))
        .unwrap()
    };
    let destination = |number: usize| {
        let status = json!({
            "delivered": u64::MAX, "attempts": 1, "failed_attempts": 1, "retried": 1, "timeouts": 1,
            "dead_letters": u64::MAX, "refused_by_permit": {}, "crossed": 0, "waiting": u64::MAX, "lag_p50_ms": 1,
            "lag_p99_ms": u64::MAX, "settled_position": 1, "behind_records": 1, "behind_ms": u64::MAX, "breaker": "open",
        });
        serde_json::from_value::<DestinationShown>(json!({
            "name": name(number), "type": "webhook", "url": HOSTILE, "class": "marketing", "kinds": [], "audiences": [],
            "identifiers": [], "events": [], "enabled": true, "consent": "not_needed", "secret_generation": 0, "problem": HOSTILE.repeat(1_000), "status": status,
        }))
        .unwrap()
    };
    seen.audiences = (0..50).map(audience).collect();
    seen.audiences_total = 4_096;
    seen.destinations = (0..50).map(destination).collect();
    seen.destinations_total = 256;
    seen.readiness = Readiness { ready: false, reasons: vec![HOSTILE.repeat(500)] };
    seen.status.stopped = Some(HOSTILE.repeat(500));
    seen.status.backfill.problem = Some(HOSTILE.repeat(500));
    seen.status.erasure.problem = Some(HOSTILE.repeat(500));
    let hours = 7 * 24;
    let at = |hour: i32| iso(i64::from(hour) * HOUR_US);
    let bucket =
        |hour: i32| json!({ "from": at(hour), "to": at(hour + 1), "figures": figures(i64::MAX / 2) });
    let campaign = |number: usize| json!({ "from": "", "to": "", "campaign": format!("{HOSTILE}{}", name(number)), "figures": figures(900_000) });
    seen.line = Some(LineSeen {
        period: Period::Week,
        start: START,
        end: START + hours,
        history: line((START..START + hours).map(bucket).collect()),
        campaigns: line((0..1_000).map(campaign).collect()),
    });
    seen
}

/// A reader of tags that knows nothing but HTML's own rules for them.
fn tags(html: &str) -> Vec<&str> {
    html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()).collect()
}

#[test]
fn whatever_it_shows_the_page_stays_html_and_short() {
    let html = render::page(&overfull()).into_text();
    assert!(html.len() <= PAGE_BYTES_MAX, "{} bytes", html.len());
    println!("{} bytes at most", html.len());
    let scripts: Vec<&str> =
        tags(&html).into_iter().filter(|tag| tag.to_ascii_lowercase().starts_with("script")).collect();
    assert_eq!(scripts, ["script src=\"/page.js\" defer"], "only our own");
    assert!(!html.contains('\u{0}') && !html.contains("<!--"));
    for tag in tags(&html) {
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        // Outside of quotes there are names of attributes only.
        let names: String = tag.split('"').step_by(2).collect();
        assert!(!names.contains("onload") && !names.contains("style") && !names.contains('\''), "{tag}");
    }
    // Everything that is opened is closed, in order.
    let alone = ["!doctype", "meta", "link", "input", "rect", "line", "circle"];
    let mut open: Vec<&str> = Vec::new();
    for tag in tags(&html) {
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        match tag.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed), "<{tag}>"),
            None if tag.ends_with('/')
                || (alone.contains(&name) && !html.contains(&format!("</{name}>"))) => {}
            None => open.push(name),
        }
    }
    assert_eq!(open, Vec::<&str>::new());
    assert!(html.contains("… and 980 that cost less.") && html.contains("… and 4,046 smaller ones."));
}

#[test]
fn a_page_without_trouble_says_so_and_one_with_trouble_says_what_to_do() {
    let well = render::page(&seen()).into_text();
    assert!(well.contains("all is well") && well.contains("Nothing is wrong"), "{well}");
    assert!(well.contains("The line is off") && well.contains("/admin/v1/settings/line"));
    let full = render::page(&overfull()).into_text();
    assert!(full.contains("takes no events") && !full.contains("Nothing is wrong"));
    let mut kept = seen();
    kept.status.quarantined_events = 3;
    let kept = render::page(&kept).into_text();
    assert!(kept.contains("something needs a look") && kept.contains("3 events are in quarantine"));
    let mut skipped = seen();
    skipped.status.skipped = 2;
    let skipped = render::page(&skipped).into_text();
    assert!(skipped.contains("something needs a look") && skipped.contains("2 records were put aside"));
}

#[test]
fn figures_are_those_of_the_line_and_read_like_words() {
    let mut seen = overfull();
    seen.audiences.clear();
    seen.destinations.clear();
    let html = render::page(&seen).into_text();
    for expected in [
        "<data data-figure=\"cash_with_attention\" value=\"1234567\">EUR 12,345.67</data>",
        "<data data-figure=\"cycle_p50\" value=\"80000001\">22 h 13 min</data>",
        "<data data-figure=\"scrap_rate\" value=\"50\">50.0 %</data>",
        "<data data-figure=\"scrap.purchased.cost\" value=\"102880\">EUR 1,028.80</data>",
        "<data data-figure=\"span.click_to_cart.p99\" value=\"99000003\">1 d 3 h</data>",
        "1 touches and 0 orders are in no sum, for want of a rate",
    ] {
        assert!(html.contains(expected), "{expected}");
    }
}
