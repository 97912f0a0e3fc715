//! How the server is: status, probes, metrics, and the description of all this.

use super::Context;
use super::problem::Problem;
use super::route::{Answering, Call, Reply};
use super::types::{BackfillStatus, FeedStatus, Health, Readiness, StatusShown};
use crate::calendar::iso;
use crate::serve::known_from;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The content type of Prometheus' text format.
pub(crate) const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn status(context: Arc<Context>, _: Call) -> Answering {
    Box::pin(async move { Reply::json(200, &status_of(&context)) })
}

/// All figures, read once.
pub(crate) fn status_of(context: &Context) -> StatusShown {
    let status = context.engine.status();
    let view = context.engine.view();
    let counters = context.door.get().map(collect::http::OpenDoor::counters);
    let of_door = |pick: fn(&collect::http::Counters) -> &std::sync::atomic::AtomicU64| {
        counters.map_or(0, |counters| pick(counters).load(Relaxed))
    };
    let log_time_us = status.log_time_us.load(Relaxed);
    StatusShown {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s: context.started.elapsed_s(),
        stopped: status.stopped(),
        durable_next: status.durable_next.load(Relaxed),
        applied_next: status.applied_next.load(Relaxed),
        log_time: iso(log_time_us),
        log_time_us,
        applied: status.applied.load(Relaxed),
        duplicates: status.duplicates.load(Relaxed),
        skipped: status.skipped.load(Relaxed),
        quarantined_events: view.held_counts().held,
        profiles: view.counts().profiles,
        merges: view.counts().merges,
        suppressions_active: view.suppressed_profiles() as u64,
        effects: status.effects.load(Relaxed),
        outbox: status.outbox.load(Relaxed),
        timers: status.timers.load(Relaxed),
        checkpoint_next: status.checkpoint_next.load(Relaxed),
        checkpoints: status.checkpoints.load(Relaxed),
        resident_bytes: status.resident_bytes.load(Relaxed),
        resident_rows: status.resident_rows.load(Relaxed),
        dedup_bytes: status.dedup_bytes.load(Relaxed),
        pause_max_us: status.pause_max_ns.load(Relaxed) / 1_000,
        writes_refused: status.writes_refused.load(Relaxed) || status.dedup_full.load(Relaxed),
        accepted_events: of_door(|counters| &counters.accepted_events),
        accepted_requests: of_door(|counters| &counters.accepted_requests),
        refused_requests: of_door(|counters| &counters.refused_requests),
        deferred_requests: of_door(|counters| &counters.deferred_requests),
        erasure: context.erasures.status(),
        feed: feed_of(context),
        delivery: context.deliveries.status(),
        backfill: BackfillStatus {
            pending: view.backfills().len() as u64,
            problem: context.backfills.problem(),
            counts_from_position: known_from(context).0,
        },
    }
}

fn feed_of(context: &Context) -> FeedStatus {
    let (feed, feeds) = (context.engine.feed(), &context.feeds);
    let (bounds, stats) = (feed.bounds(), feed.stats());
    let lag = feeds.furthest_behind().map(|position| bounds.complete.0.saturating_sub(position));
    FeedStatus {
        start: bounds.start.0,
        complete: bounds.complete.0,
        items: stats.items,
        gaps: stats.gaps,
        disk_bytes: stats.disk_bytes,
        history_bytes: stats.history_bytes,
        waiting_bytes: stats.waiting_bytes,
        readers: feeds.readers.load(Relaxed),
        reader_lag_records: lag.unwrap_or(0),
        sent_items: feeds.items.load(Relaxed),
        sent_bytes: feeds.bytes.load(Relaxed),
        cursors_gone: feeds.gone.load(Relaxed),
        readers_slow: feeds.slow.load(Relaxed),
    }
}

pub(crate) fn healthz(_: Arc<Context>, _: Call) -> Answering {
    Box::pin(async { Reply::json(200, &Health { status: "ok".to_owned() }) })
}

/// 200 where requests can be taken, else 503 with the reasons.
pub(crate) fn readyz(context: Arc<Context>, _: Call) -> Answering {
    Box::pin(async move {
        let readiness = readiness_of(&context);
        Reply::json(if readiness.ready { 200 } else { 503 }, &readiness)
    })
}

/// Whether requests can be taken, and why not.
pub(crate) fn readiness_of(context: &Context) -> Readiness {
    let status = context.engine.status();
    let mut reasons = Vec::new();
    if let Some(reason) = status.stopped() {
        reasons.push(format!("the shard has stopped: {reason}"));
    }
    if status.writes_refused.load(Relaxed) {
        reasons.push("the log refuses writes for now: its disk is full".to_owned());
    }
    if status.dedup_full.load(Relaxed) {
        reasons.push("the window of message ids is full: raise dedup.bytes_max".to_owned());
    }
    if context.door.get().is_none() {
        reasons.push("the ingest door is not open yet".to_owned());
    }
    Readiness { ready: reasons.is_empty(), reasons }
}

/// One metric: name, type, help and value. The names are part of the interface.
type Metric = (&'static str, &'static str, &'static str, fn(&StatusShown) -> f64);

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus has no other numbers, and 2^53 events are far away"
)]
const METRICS: &[Metric] = &[
    ("throughline_uptime_seconds", "gauge", "Time since the start.", |status| status.uptime_s as f64),
    ("throughline_shard_stopped", "gauge", "1 if the shard takes no requests any more.", |status| {
        f64::from(u8::from(status.stopped.is_some()))
    }),
    (
        "throughline_writes_refused",
        "gauge",
        "1 if the disk or the window of message ids is full.",
        |status| f64::from(u8::from(status.writes_refused)),
    ),
    ("throughline_log_durable_position", "gauge", "Position after the last durable record.", |status| {
        status.durable_next as f64
    }),
    ("throughline_applied_position", "gauge", "Position after the last applied record.", |status| {
        status.applied_next as f64
    }),
    ("throughline_checkpoint_position", "gauge", "Position of the last checkpoint.", |status| {
        status.checkpoint_next as f64
    }),
    ("throughline_log_time_seconds", "gauge", "Log time of the last applied record.", |status| {
        status.log_time_us as f64 / 1e6
    }),
    ("throughline_records_applied_total", "counter", "Records applied, duplicates left out.", |status| {
        status.applied as f64
    }),
    ("throughline_duplicates_total", "counter", "Repeated messages that were dropped.", |status| {
        status.duplicates as f64
    }),
    ("throughline_records_skipped_total", "counter", "Records that were put aside.", |status| {
        status.skipped as f64
    }),
    ("throughline_effects_total", "counter", "Effects issued.", |status| status.effects as f64),
    ("throughline_outbox_effects", "gauge", "Effects that wait for delivery.", |status| status.outbox as f64),
    ("throughline_timers", "gauge", "Timers that wait.", |status| status.timers as f64),
    ("throughline_suppressed_profiles", "gauge", "Profiles that are suppressed for something.", |status| {
        status.suppressions_active as f64
    }),
    ("throughline_resident_bytes", "gauge", "Bytes of rows in memory.", |status| {
        status.resident_bytes as f64
    }),
    ("throughline_resident_rows", "gauge", "Rows in memory.", |status| status.resident_rows as f64),
    ("throughline_dedup_bytes", "gauge", "Bytes that message ids take in memory.", |status| {
        status.dedup_bytes as f64
    }),
    ("throughline_apply_pause_max_seconds", "gauge", "The longest stop of the applying thread.", |status| {
        status.pause_max_us as f64 / 1e6
    }),
    ("throughline_ingest_events_total", "counter", "Events that the door took since the start.", |status| {
        status.accepted_events as f64
    }),
    (
        "throughline_ingest_requests_total",
        "counter",
        "Requests that the door took since the start.",
        |status| status.accepted_requests as f64,
    ),
    ("throughline_ingest_refused_total", "counter", "Requests that were wrong.", |status| {
        status.refused_requests as f64
    }),
    ("throughline_ingest_deferred_total", "counter", "Requests that were told to come again.", |status| {
        status.deferred_requests as f64
    }),
    ("throughline_erasures_pending", "gauge", "Erasures whose records are still on the disk.", |status| {
        status.erasure.pending as f64
    }),
    (
        "throughline_feed_items_total",
        "counter",
        "Items that the change feed took since the start.",
        |status| status.feed.items as f64,
    ),
    (
        "throughline_feed_gaps_total",
        "counter",
        "Times that the change feed began anew since the start.",
        |status| status.feed.gaps as f64,
    ),
    ("throughline_feed_disk_bytes", "gauge", "Bytes of the change feed on disk.", |status| {
        status.feed.disk_bytes as f64
    }),
    (
        "throughline_feed_history_bytes",
        "gauge",
        "Bytes of what is left of older items of the change feed, for new audiences.",
        |status| status.feed.history_bytes as f64,
    ),
    (
        "throughline_feed_waiting_bytes",
        "gauge",
        "Bytes of the change feed that wait to be written.",
        |status| status.feed.waiting_bytes as f64,
    ),
    ("throughline_feed_readers", "gauge", "Readers of the change feed.", |status| status.feed.readers as f64),
    (
        "throughline_feed_reader_lag_records",
        "gauge",
        "Records by which the reader furthest behind is behind.",
        |status| status.feed.reader_lag_records as f64,
    ),
    ("throughline_feed_sent_items_total", "counter", "Items sent to readers since the start.", |status| {
        status.feed.sent_items as f64
    }),
    ("throughline_feed_sent_bytes_total", "counter", "Bytes sent to readers since the start.", |status| {
        status.feed.sent_bytes as f64
    }),
    (
        "throughline_feed_cursors_gone_total",
        "counter",
        "Cursors that were refused because they are gone.",
        |status| status.feed.cursors_gone as f64,
    ),
    (
        "throughline_feed_readers_slow_total",
        "counter",
        "Readers that were disconnected because they took nothing.",
        |status| status.feed.readers_slow as f64,
    ),
    (
        "throughline_backfills_count_from_position",
        "gauge",
        "Events before this position are not counted for what is defined now.",
        |status| status.backfill.counts_from_position as f64,
    ),
    ("throughline_backfills_pending", "gauge", "Definitions that do not hold for everybody yet.", |status| {
        status.backfill.pending as f64
    }),
    ("throughline_delivery_destinations", "gauge", "Destinations that are sent to.", |status| {
        status.delivery.destinations as f64
    }),
    ("throughline_delivery_problems", "gauge", "Destinations that cannot be sent to.", |status| {
        status.delivery.problems as f64
    }),
    (
        "throughline_delivery_delivered_total",
        "counter",
        "Messages that destinations accepted, since the start.",
        |status| status.delivery.delivered as f64,
    ),
    ("throughline_delivery_waiting", "gauge", "Messages in memory that wait to be sent.", |status| {
        status.delivery.waiting as f64
    }),
    (
        "throughline_delivery_dead_letters",
        "gauge",
        "Messages that could not be delivered and wait for somebody.",
        |status| status.delivery.dead_letters as f64,
    ),
    (
        "throughline_delivery_losses_total",
        "counter",
        "Times that a destination lost messages because the feed began anew before they were read.",
        |status| status.delivery.losses as f64,
    ),
];

pub(crate) fn metrics(context: Arc<Context>, _: Call) -> Answering {
    Box::pin(async move {
        let status = status_of(&context);
        let mut text = String::with_capacity(4_096);
        for (name, kind, help, value) in METRICS {
            let value = value(&status);
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
        super::write_keys::write_metrics(&context, &mut text);
        crate::quarantine::write_metrics(&context, &mut text);
        crate::deliver::write_metrics(&context, &mut text);
        crate::line::write_metrics(&context, &mut text);
        crate::telemetry::write_metrics(&context, &mut text);
        Ok::<_, Problem>(Reply::text(METRICS_TYPE, text))
    })
}

pub(crate) fn openapi(_: Arc<Context>, _: Call) -> Answering {
    Box::pin(async { Ok(Reply::text("application/json", super::openapi())) })
}
