//! The line on the page: its three numbers with their history, and what they are made of.

use super::chart::{Chart, Part, Point, lying_bar};
use super::gather::LineSeen;
use super::html::Html;
use super::words::{count, minute, money, percent, span};
use crate::api::types::DestinationShown;
use crate::calendar::{HOUR_US, iso};
use crate::line::types::{LineBucket, LineFigures, SpanShown};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Campaigns that are named; those that cost or brought most.
const CAMPAIGNS_MAX: usize = 20;
/// The reasons for scrap, in the order in which they are asked, with the class of their colour.
const REASONS: [(&str, &str, &str); 6] = [
    ("invalid", "r0", "nobody could see it"),
    ("purchased", "r1", "just bought that"),
    ("capped", "r2", "seen too often"),
    ("unavailable", "r3", "could not be bought"),
    ("unconsented", "r4", "had said no"),
    ("duplicate", "r5", "the same person twice"),
];
/// The parts of the cycle, in the order in which somebody goes through them.
const PARTS: [(&str, &str); 6] = [
    ("impression_to_click", "impression → click"),
    ("click_to_cart", "click → cart"),
    ("cart_to_pay", "cart → pay"),
    ("pay_to_capture", "pay → order"),
    ("capture_to_queued", "order → queued"),
    ("queued_to_accepted", "queued → accepted"),
];

pub(super) fn write(html: &mut Html, line: &LineSeen, destinations: &[DestinationShown]) {
    let steps = steps(line);
    html.raw("<div class=\"three\">");
    throughput(html, line, &steps);
    cycle_time(html, line, &steps);
    scrap_rate(html, line, &steps);
    html.raw("</div>");
    history(html, line, &steps);
    html.raw("<div class=\"two\">");
    scrap_reasons(html, line);
    suppression_lag(html, line, destinations);
    html.raw("</div>");
    cycle_parts(html, line);
    campaigns(html, line);
}

/// One hour or day, whether or not anything happened in it.
struct Step<'l> {
    /// `2026-11-22 14:00`, or the day.
    name: String,
    figures: Option<&'l LineFigures>,
}

fn steps(line: &LineSeen) -> Vec<Step<'_>> {
    let known: BTreeMap<&str, &LineFigures> =
        line.history.by.iter().map(|one| (one.from.as_str(), &one.figures)).collect();
    let step = line.period.step();
    let hours = (line.start..line.end).step_by(usize::try_from(step).unwrap_or(1));
    let at = |hour: i32| iso(i64::from(hour).saturating_mul(HOUR_US));
    let named = |from: &str| if step == 1 { minute(from) } else { from.get(..10).unwrap_or(from).to_owned() };
    hours
        .map(|hour| {
            let from = at(hour);
            Step { name: named(&from), figures: known.get(from.as_str()).copied() }
        })
        .collect()
}

fn currency(line: &LineSeen) -> Option<&str> {
    line.history.currency.as_deref()
}

/// An amount per hour, in whole minor units.
fn per_hour(line: &LineSeen, minor: f64) -> String {
    money(minor.round() as i64, currency(line))
}

/// The chart of one of the three numbers.
fn chart(
    html: &mut Html,
    id: &'static str,
    title: &str,
    is_line: bool,
    steps: &[Step],
    read: impl Fn(&LineFigures) -> Option<f64>,
    words: impl Fn(f64) -> String,
) {
    let points: Vec<Point> = steps
        .iter()
        .map(|step| {
            let value = step.figures.and_then(&read);
            let label = value.map(|value| format!("{}: {}", step.name, words(value))).unwrap_or_default();
            Point { value, label }
        })
        .collect();
    let highest = points
        .iter()
        .filter_map(|point| point.value)
        .fold(None, |most: Option<f64>, value| Some(most.map_or(value, |most| most.max(value))));
    let top = highest.map_or_else(|| "nothing yet".to_owned(), |value| format!("highest: {}", words(value)));
    let (from, to) =
        (steps.first().map_or("", |step| &step.name), steps.last().map_or("", |step| &step.name));
    let about = format!("{title} from {from} to {to}, UTC; {top}. The same figures are in the table below.");
    Chart { id, title, about: &about, top: &top, from, to, is_line, points: &points }.draw(html);
}

fn throughput(html: &mut Html, line: &LineSeen, steps: &[Step]) {
    let figures = &line.history.total.throughput;
    let hourly = figures.cash_with_attention_minor_per_hour;
    html.raw("<section class=\"card\"><h2>Throughput</h2><p class=\"big\">");
    html.figure("throughput", hourly, &per_hour(line, hourly))
        .raw(" <span class=\"unit\">per hour</span></p><p class=\"soft\">");
    html.figure(
        "cash_with_attention",
        figures.cash_with_attention_minor,
        &money(figures.cash_with_attention_minor, currency(line)),
    );
    html.raw(" from ").figure(
        "orders_with_attention",
        figures.orders_with_attention,
        &count(figures.orders_with_attention),
    );
    html.raw(" orders after attention, of ").figure("orders", figures.orders, &count(figures.orders));
    html.raw("; yield ").text(&percent(figures.yield_percent)).raw("</p>");
    let read = |figures: &LineFigures| Some(figures.throughput.cash_with_attention_minor_per_hour);
    chart(html, "throughput", "Throughput", false, steps, read, |value| per_hour(line, value));
    html.raw("</section>");
}

fn cycle_time(html: &mut Html, line: &LineSeen, steps: &[Step]) {
    let figures = &line.history.total.cycle_time;
    html.raw("<section class=\"card\"><h2>Cycle time</h2><p class=\"big\">");
    match figures.spans.get("cycle") {
        Some(cycle) => {
            html.figure("cycle_p50", cycle.p50_ms, &span(cycle.p50_ms))
                .raw(" <span class=\"unit\">half take no longer</span>");
            html.raw("</p><p class=\"soft\">nine of ten within ").figure(
                "cycle_p90",
                cycle.p90_ms,
                &span(cycle.p90_ms),
            );
            html.raw(", 99 % within ").figure("cycle_p99", cycle.p99_ms, &span(cycle.p99_ms));
            html.raw(", of ").figure("cycle_count", cycle.count, &count(cycle.count)).raw(" orders</p>");
        }
        None => {
            html.raw("– <span class=\"unit\">no order was confirmed yet</span></p><p class=\"soft\">");
            html.raw("from the first impression to the accepted confirmation mail</p>");
        }
    }
    let read = |figures: &LineFigures| Some(figures.cycle_time.spans.get("cycle")?.p50_ms as f64);
    chart(html, "cycle", "Cycle time, median", true, steps, read, |value| span(value as u64));
    html.raw("</section>");
}

fn scrap_rate(html: &mut Html, line: &LineSeen, steps: &[Step]) {
    let figures = &line.history.total.scrap;
    html.raw("<section class=\"card\"><h2>Scrap rate</h2><p class=\"big\">");
    let exact = figures.rate_percent.map(|rate| rate.to_string()).unwrap_or_default();
    html.figure("scrap_rate", exact, &percent(figures.rate_percent));
    html.raw(" <span class=\"unit\">of ad money</span></p><p class=\"soft\">");
    html.figure("scrapped", figures.scrapped_minor, &money(figures.scrapped_minor, currency(line)))
        .raw(" of ");
    html.figure("spend", figures.spend_minor, &money(figures.spend_minor, currency(line)));
    html.raw(" could not have done anything</p>");
    let read = |figures: &LineFigures| figures.scrap.rate_percent;
    chart(html, "scrap", "Scrap rate", false, steps, read, |value| percent(Some(value)));
    html.raw("</section>");
}

fn history(html: &mut Html, line: &LineSeen, steps: &[Step]) {
    html.raw("<details class=\"card\"><summary>The charts as a table</summary><div class=\"scroll\"><table><caption>UTC; times \
              in which nothing happened are left out</caption><thead><tr><th scope=\"col\">from</th>\
              <th scope=\"col\" class=\"n\">throughput per hour</th><th scope=\"col\" class=\"n\">cycle time, median</th>\
              <th scope=\"col\" class=\"n\">scrap rate</th><th scope=\"col\" class=\"n\">orders</th></tr></thead><tbody>");
    for step in steps.iter().rev() {
        let Some(figures) = step.figures else { continue };
        let cycle =
            figures.cycle_time.spans.get("cycle").map_or_else(|| "–".to_owned(), |one| span(one.p50_ms));
        html.raw("<tr><th scope=\"row\">").text(&step.name).raw("</th>");
        for cell in [
            per_hour(line, figures.throughput.cash_with_attention_minor_per_hour),
            cycle,
            percent(figures.scrap.rate_percent),
            count(figures.throughput.orders),
        ] {
            html.raw("<td class=\"n\">").text(&cell).raw("</td>");
        }
        html.raw("</tr>");
    }
    html.raw("</tbody></table></div></details>");
}

fn scrap_reasons(html: &mut Html, line: &LineSeen) {
    let scrap = &line.history.total.scrap;
    let rows: Vec<_> = REASONS
        .iter()
        .filter_map(|(name, class, about)| Some((*name, *class, *about, scrap.reasons.get(*name)?)))
        .collect();
    html.raw("<section class=\"card\"><h2>Scrap by reason</h2>");
    let parts: Vec<Part> =
        rows.iter().map(|(_, class, about, reason)| (reason.cost_minor as f64, *class, *about)).collect();
    lying_bar(html, "scrap-bar", scrap.scrapped_minor as f64, &parts);
    html.raw(
        "<table><thead><tr><th scope=\"col\">reason</th><th scope=\"col\" class=\"n\">impressions</th>\
         <th scope=\"col\" class=\"n\">cost</th><th scope=\"col\" class=\"n\">of all ad money</th></tr></thead><tbody>",
    );
    for (name, class, about, reason) in rows {
        html.raw("<tr><th scope=\"row\"><svg class=\"key\" aria-hidden=\"true\" viewBox=\"0 0 1 1\"><rect width=\"1\" height=\"1\"");
        html.attribute("class", class).raw("/></svg>").text(about).raw(" <span class=\"hint\">").text(name);
        html.raw("</span></th><td class=\"n\">");
        html.figure(&format!("scrap.{name}.impressions"), reason.impressions, &count(reason.impressions));
        html.raw("</td><td class=\"n\">");
        html.figure(
            &format!("scrap.{name}.cost"),
            reason.cost_minor,
            &money(reason.cost_minor, currency(line)),
        );
        let share =
            (scrap.spend_minor > 0).then(|| 100.0 * reason.cost_minor as f64 / scrap.spend_minor as f64);
        html.raw("</td><td class=\"n\">").text(&percent(share)).raw("</td></tr>");
    }
    html.raw("</tbody></table></section>");
}

fn suppression_lag(html: &mut Html, line: &LineSeen, destinations: &[DestinationShown]) {
    html.raw("<section class=\"card\"><h2>Suppression lag</h2><p>How long after a purchase what was bought was still advertised \
              to the buyer: ");
    match line.history.total.cycle_time.spans.get("after_purchase") {
        Some(after) => {
            html.raw("half of ")
                .figure("after_purchase_count", after.count, &count(after.count))
                .raw(" such impressions within ");
            html.figure("after_purchase_p50", after.p50_ms, &span(after.p50_ms)).raw(", nine of ten within ");
            html.figure("after_purchase_p90", after.p90_ms, &span(after.p90_ms)).raw(".</p>");
        }
        None => {
            html.raw("it was not, as far as is known.</p>");
        }
    }
    html.raw(
        "<table><caption>How late each hears of a purchase</caption><tbody><tr><th scope=\"row\">decisions of this server</th>\
         <td class=\"n\">at once</td></tr>",
    );
    for one in destinations {
        let Some(status) = &one.status else { continue };
        html.raw("<tr><th scope=\"row\">").name(&one.name).raw("</th><td class=\"n\">");
        let late =
            if status.behind_ms == 0 { "has heard everything".to_owned() } else { span(status.behind_ms) };
        html.figure(&format!("destination.{}.behind_ms", one.name), status.behind_ms, &late)
            .raw("</td></tr>");
    }
    html.raw("</tbody></table></section>");
}

fn cycle_parts(html: &mut Html, line: &LineSeen) {
    let cycle = &line.history.total.cycle_time;
    html.raw("<section class=\"card\"><h2>Where the time goes</h2><ul class=\"parts\">");
    let known = |name: &str| cycle.spans.get(name);
    for (name, about) in PARTS {
        html.raw("<li><span class=\"hint\">").text(about).raw("</span><b>");
        html.text(&known(name).map_or_else(|| "–".to_owned(), |one| span(one.p50_ms))).raw("</b></li>");
    }
    html.raw(
        "</ul><div class=\"scroll\"><table><thead><tr><th scope=\"col\">part</th><th scope=\"col\" class=\"n\">measured</th>\
         <th scope=\"col\" class=\"n\">half within</th><th scope=\"col\" class=\"n\">nine of ten within</th>\
         <th scope=\"col\" class=\"n\">99 % within</th><th scope=\"col\">half of the longest part</th></tr></thead><tbody>",
    );
    let longest = PARTS.iter().filter_map(|(name, _)| Some(known(name)?.p50_ms)).max().unwrap_or(0) as f64;
    for (name, about) in PARTS.iter().chain([&("cycle", "the whole")]) {
        html.raw("<tr><th scope=\"row\">").text(about).raw("</th>");
        span_cells(html, name, known(name));
        html.raw("<td>");
        if let Some(one) = known(name).filter(|_| *name != "cycle") {
            lying_bar(html, "row-bar", longest, &[(one.p50_ms as f64, "spend", "median")]);
        }
        html.raw("</td></tr>");
    }
    html.raw("</tbody></table></div><p class=\"hint\">");
    html.figure(
        "orders_without_impression",
        cycle.orders_without_impression,
        &count(cycle.orders_without_impression),
    );
    html.raw(" orders had no impression before them; the confirmation of ");
    html.figure("orders_unconfirmed", cycle.orders_unconfirmed, &count(cycle.orders_unconfirmed));
    html.raw(" is not accepted yet.</p></section>");
}

fn span_cells(html: &mut Html, name: &str, one: Option<&SpanShown>) {
    let Some(one) = one else {
        html.raw("<td class=\"n\">0</td><td class=\"n\">–</td><td class=\"n\">–</td><td class=\"n\">–</td>");
        return;
    };
    html.raw("<td class=\"n\">")
        .figure(&format!("span.{name}.count"), one.count, &count(one.count))
        .raw("</td>");
    for (quantile, ms) in [("p50", one.p50_ms), ("p90", one.p90_ms), ("p99", one.p99_ms)] {
        html.raw("<td class=\"n\">").figure(&format!("span.{name}.{quantile}"), ms, &span(ms)).raw("</td>");
    }
}

fn campaigns(html: &mut Html, line: &LineSeen) {
    let mut all: Vec<&LineBucket> = line.campaigns.by.iter().collect();
    let weight = |one: &LineBucket| {
        (one.figures.scrap.spend_minor, one.figures.throughput.cash_minor, one.figures.counts.len())
    };
    all.sort_by_key(|one| Reverse(weight(one)));
    html.raw("<section class=\"card\"><h2>Campaigns</h2>");
    if all.is_empty() {
        html.raw("Nothing happened in this time.</section>");
        return;
    }
    let dearest = all.iter().map(|one| one.figures.scrap.spend_minor).max().unwrap_or(0) as f64;
    html.raw(
        "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">campaign</th><th scope=\"col\">ad money, and scrap in it</th>\
         <th scope=\"col\" class=\"n\">ad money</th><th scope=\"col\" class=\"n\">scrap rate</th>\
         <th scope=\"col\" class=\"n\">orders</th><th scope=\"col\" class=\"n\">cash after attention</th></tr></thead><tbody>",
    );
    for one in all.iter().take(CAMPAIGNS_MAX) {
        campaign(html, line, one, dearest);
    }
    html.raw("</tbody></table></div>");
    if let Some(more @ 1..) = all.len().checked_sub(CAMPAIGNS_MAX) {
        html.raw("<p class=\"hint\">… and ").text(&count(more as i64)).raw(" that cost less.</p>");
    }
    html.raw("</section>");
}

fn campaign(html: &mut Html, line: &LineSeen, one: &LineBucket, dearest: f64) {
    let (scrap, throughput) = (&one.figures.scrap, &one.figures.throughput);
    let name = one.campaign.as_deref().unwrap_or_default();
    html.raw("<tr><th scope=\"row\">");
    if name.is_empty() {
        html.raw("<i>none named</i>")
    } else {
        html.name(name)
    };
    html.raw("</th><td>");
    let useful = (scrap.spend_minor - scrap.scrapped_minor).max(0) as f64;
    let parts = [(scrap.scrapped_minor as f64, "wasted", "scrap"), (useful, "spend", "the rest")];
    lying_bar(html, "row-bar", dearest, &parts);
    let key = |what: &str| format!("campaign.{name}.{what}");
    let amount = |minor: i64| money(minor, currency(line));
    html.raw("</td><td class=\"n\">").figure(&key("spend"), scrap.spend_minor, &amount(scrap.spend_minor));
    html.raw("</td><td class=\"n\">").text(&percent(scrap.rate_percent));
    html.raw("</td><td class=\"n\">").figure(&key("orders"), throughput.orders, &count(throughput.orders));
    let cash = throughput.cash_with_attention_minor;
    html.raw("</td><td class=\"n\">").figure(&key("cash"), cash, &amount(cash)).raw("</td></tr>");
}
