//! What of the line goes over the wire. The comments are the documentation: OpenAPI shows them.

use crate::api::shape::wire;
use std::collections::BTreeMap;

wire! {
    /// What one unit of a currency is worth in the line's currency, from a day on.
    struct RateGiven {
        /// ISO 4217.
        currency: String,
        /// The first day, e.g. 2026-11-22, in UTC. It holds until the next day that is given.
        day: String,
        /// Units of the line's currency for one unit, as a decimal number in text, e.g. "1.0842".
        rate: String,
    }

    /// What the line is measured by. Changes hold for what happens from then on; what happened before counts as the former settings say, also if it arrives or is corrected later. Rates hold for amounts that arrive from then on.
    struct LineRules {
        /// Grows with every change; ignored in requests.
        version: Option<u32>,
        /// What happened from this instant on counts as is said here. Absent if that is everything; ignored in requests.
        holds_from: Option<String>,
        /// What everything is reported in, ISO 4217. Without it the line is off and costs nothing.
        currency: Option<String>,
        /// How many seconds after a view (an impression, an opened mail) an order counts as its doing.
        view_window_s: i64,
        /// How many seconds after a click, or a session where those count.
        click_window_s: i64,
        /// Impressions of one campaign that somebody may see within the next window.
        frequency_cap: u32,
        /// See frequency_cap, in seconds.
        cap_window_s: i64,
        /// An impression is a duplicate if the same campaign was shown to the same person under another identifier so many seconds before, or less.
        duplicate_window_s: i64,
        /// An impression of what was bought less than so many seconds ago is not held against anybody.
        grace_s: i64,
        /// Sessions (half hours in which somebody was in a browser or an app) count as attention.
        sessions: bool,
        /// The category of consent that advertising needs.
        consent_category: String,
        /// At most 20,000, currencies and days together.
        rates: Vec<RateGiven>,
    }

    /// The line's settings were replaced.
    struct LineChanged {
        /// Grows with every change of settings.
        settings_version: u32,
        /// What happened from this instant on counts as the new settings say; what happened before counts as the former do, also if it arrives or is corrected later. Absent if the new ones hold for everything: nothing but rates changed since the line was switched on.
        holds_from: Option<String>,
    }

    /// Journeys under way, against arrivals times how long they take (Little's law). Over a long steady time both are the same.
    struct LittlesLaw {
        /// Journeys under way, at the mean over the ends of the hours.
        open_mean: f64,
        /// Journeys that began, per hour.
        begun_per_hour: f64,
        /// How long they take at the mean, in hours.
        cycle_mean_hours: f64,
        /// begun_per_hour times cycle_mean_hours.
        expected_open: f64,
    }

    /// Attention that became cash.
    struct Throughput {
        /// What orders brought in, less what went back, in minor units.
        cash_minor: i64,
        /// The same of people who had paid attention within the windows before.
        cash_with_attention_minor: i64,
        /// That, per hour: the throughput.
        cash_with_attention_minor_per_hour: f64,
        /// Orders.
        orders: i64,
        /// Orders of people who had paid attention within the windows before.
        orders_with_attention: i64,
        /// All orders, per hour.
        orders_per_hour: f64,
        /// People who paid attention, each once a day.
        people_with_attention: i64,
        /// Those who also ordered that day with attention before it.
        people_paid: i64,
        /// people_paid of people_with_attention, in percent.
        yield_percent: Option<f64>,
        /// A check of the figures against each other.
        littles_law: Option<LittlesLaw>,
    }

    /// How long something takes. Quantiles are wrong by at most 1/64 of themselves.
    struct SpanShown {
        /// How many there are.
        count: i64,
        /// The mean, in milliseconds.
        mean_ms: u64,
        /// Half take no longer, in milliseconds.
        p50_ms: u64,
        /// Nine of ten take no longer.
        p90_ms: u64,
        /// Ninety-nine of a hundred take no longer.
        p99_ms: u64,
    }

    /// From the first impression to the accepted confirmation.
    struct CycleTime {
        /// cycle is the whole; then its parts, and after_purchase: how long after a purchase what was bought was still advertised.
        spans: BTreeMap<String, SpanShown>,
        /// Orders that no impression came before: they have no cycle time.
        orders_without_impression: i64,
        /// Orders after an impression whose confirmation is not accepted yet.
        orders_unconfirmed: i64,
        /// Spans that would be negative: errors of data.
        negative_spans: i64,
    }

    /// One reason for scrap.
    struct ScrapReason {
        /// Impressions. Each is counted once, under the first reason that holds.
        impressions: i64,
        /// What they cost, in minor units.
        cost_minor: i64,
    }

    /// Ad money that could not have done anything.
    struct Scrap {
        /// What impressions and clicks cost, in minor units.
        spend_minor: i64,
        /// What of it was scrap.
        scrapped_minor: i64,
        /// scrapped_minor of spend_minor, in percent: the scrap rate.
        rate_percent: Option<f64>,
        /// invalid, purchased, capped, unavailable, unconsented, duplicate: asked in this order.
        reasons: BTreeMap<String, ScrapReason>,
        /// Impressions and clicks with a cost in a currency without a rate: an error, and in no sum.
        unpriced_touches: i64,
        /// Orders in a currency without a rate: an error, and in no sum.
        unpriced_orders: i64,
    }

    /// The three numbers.
    struct LineFigures {
        /// Attention that became cash.
        throughput: Throughput,
        /// How long that takes.
        cycle_time: CycleTime,
        /// What was wasted on the way.
        scrap: Scrap,
        /// All counts and amounts that are not zero; those that end in _micro are millionths of the currency.
        counts: BTreeMap<String, i64>,
    }

    /// The three numbers of one hour, day or campaign.
    struct LineBucket {
        /// Its beginning.
        from: String,
        /// Its end.
        to: String,
        /// The campaign; empty is what no campaign is named for.
        campaign: Option<String>,
        /// Its figures.
        figures: LineFigures,
    }

    /// The three numbers, and their history.
    struct LineShown {
        /// The first instant.
        from: String,
        /// The end, not counted.
        to: String,
        /// What money is in; left out while the line is off.
        currency: Option<String>,
        /// Only this campaign, if one was asked for.
        campaign: Option<String>,
        /// Everything before this position of the log is in the answer.
        position: u64,
        /// Figures of hours before this may not change any more.
        settled_before: String,
        /// Figures of hours before this were let go, as all of them took too much memory. Absent if none were.
        kept_from: Option<String>,
        /// All of it together.
        total: LineFigures,
        /// By hour, day or campaign, if that was asked for.
        by: Vec<LineBucket>,
        /// Work that failed and had to be done by people: engineering hours are scrap too.
        operations: Operations,
    }

    /// Work that went wrong, since the server started.
    struct Operations {
        /// Attempts that destinations did not accept.
        failed_attempts: u64,
        /// Messages that could not be delivered and wait for somebody.
        dead_letters: u64,
        /// Records that had to be put aside.
        records_skipped: u64,
        /// Events that tracking plans keep in quarantine and that wait for somebody.
        quarantined_events: u64,
        /// Requests that were wrong.
        refused_requests: u64,
        /// How far behind each destination is, in milliseconds: how late it hears of a purchase. Our own decisions are never behind.
        lag_ms: BTreeMap<String, u64>,
        /// How late each destination heard whom not to advertise to, since the server started. Our own decisions know at once.
        suppression_lag: BTreeMap<String, SuppressionLag>,
    }

    /// From the record that decided whom not to advertise to, to the moment when a channel had accepted the message of it.
    struct SuppressionLag {
        /// Messages that were accepted.
        messages: u64,
        /// Half of them within so many milliseconds; a power of two.
        p50_ms: u64,
        /// 99 of 100 within so many milliseconds; a power of two.
        p99_ms: u64,
        /// What the platform itself takes beyond that, by its own word, in seconds.
        platform_own_lag_s: Option<u64>,
    }
}
