//! The page itself, section by section.

use super::advice::{Advice, advice};
use super::gather::{Period, Seen};
use super::html::Html;
use super::stations::{State, Station, stations};
use super::words::{count, instant, rate, span, total};
use super::{asset_links, line_part};

/// How the line is switched on, with what the documentation recommends.
const SWITCH_ON: &str = "curl -X PUT http://127.0.0.1:7310/admin/v1/settings/line -H \"authorization: Bearer $TOKEN\" \
    -H 'content-type: application/json' -d '{\"currency\":\"EUR\",\"view_window_s\":86400,\
    \"click_window_s\":604800,\"frequency_cap\":10,\"cap_window_s\":86400,\"duplicate_window_s\":86400,\
    \"grace_s\":0,\"sessions\":false,\"consent_category\":\"Advertising\",\"rates\":[]}'";

pub(super) fn page(seen: &Seen) -> Html {
    let mut html = Html::default();
    html.raw("<!doctype html><html lang=\"en\"><head><title>Throughline</title>");
    asset_links(&mut html, true);
    html.raw(
        "</head><body><div id=\"stale\" role=\"status\" hidden>The server does not answer: what stands here is old.\
         </div><main id=\"live\">",
    );
    let (advice, stations) = (advice(seen), stations(seen));
    header(&mut html, seen, &advice);
    what_to_do(&mut html, &advice);
    match &seen.line {
        Some(line) => line_part::write(&mut html, line, &seen.destinations),
        None => line_is_off(&mut html),
    }
    stations_table(&mut html, seen, &stations);
    audiences(&mut html, seen);
    html.raw(
        "<p class=\"hint\">All times are UTC. The figures are those of <code>GET /admin/v1/metrics/line</code>, \
         <code>/admin/v1/status</code>, <code>/admin/v1/audiences</code> and <code>/admin/v1/destinations</code>; point at \
         a short one to read it in full.</p></main></body></html>",
    );
    html
}

fn header(html: &mut Html, seen: &Seen, advice: &[Advice]) {
    let state = if advice.iter().any(|one| one.urgent) {
        State::Stopped
    } else if advice.is_empty() {
        State::Well
    } else {
        State::Waiting
    };
    html.raw("<header><h1>Throughline</h1>");
    state_word(
        html,
        state,
        match state {
            State::Well => "all is well",
            State::Stopped => "takes no events",
            State::Waiting | State::Off => "something needs a look",
        },
    );
    html.raw("<span class=\"soft\">").text(&instant(seen.log_time_us)).raw(" · up ");
    html.text(&span(seen.status.uptime_s.saturating_mul(1_000)))
        .raw(" · version ")
        .text(&seen.status.version);
    html.raw("</span><span class=\"grow\"></span>");
    if let Some(line) = &seen.line {
        html.raw("<nav aria-label=\"Period\">");
        for period in Period::ALL {
            html.raw("<a").attribute("href", format!("/?over={}", period.word()));
            if period == line.period {
                html.raw(" aria-current=\"page\"");
            }
            html.raw(">").text(period.name()).raw("</a>");
        }
        html.raw("</nav>");
    }
    html.raw("<form method=\"post\" action=\"/logout\"><button>Log out</button></form></header>");
}

fn what_to_do(html: &mut Html, advice: &[Advice]) {
    html.raw("<section class=\"card\" aria-label=\"What to do\">");
    if advice.is_empty() {
        html.raw("Nothing is wrong: there is nothing to do.");
    } else {
        html.raw("<h2>What to do</h2><ul class=\"advice\">");
        for one in advice {
            html.raw(if one.urgent { "<li class=\"urgent\">" } else { "<li>" });
            html.raw("<b>").name(&one.what).raw(".</b> ").raw(one.to_do).raw("</li>");
        }
        html.raw("</ul>");
    }
    html.raw("</section>");
}

fn line_is_off(html: &mut Html) {
    html.raw(
        "<section class=\"card\" aria-label=\"The line\"><h2>The line is off</h2>Throughput, cycle time and scrap rate are \
         measured from the moment on at which you say what currency to report in:<pre>",
    );
    html.raw(SWITCH_ON).raw("</pre></section>");
}

fn stations_table(html: &mut Html, seen: &Seen, stations: &[Station]) {
    html.raw(
        "<section class=\"card\"><h2>Stations</h2><div class=\"scroll\"><table><thead><tr><th scope=\"col\">station</th>\
         <th scope=\"col\">state</th><th scope=\"col\" class=\"n\">waiting</th><th scope=\"col\" class=\"n\">per second</th>\
         <th scope=\"col\" class=\"n\">so far</th><th scope=\"col\">how it is</th></tr></thead><tbody>",
    );
    for one in stations {
        station(html, seen, one);
    }
    html.raw("</tbody></table></div>");
    more(
        html,
        seen.destinations_total.saturating_sub(seen.destinations.len()),
        " more destinations; those that need a look are above.",
    );
    html.raw("</section>");
}

/// What is left out so that the page stays short.
fn more(html: &mut Html, left_out: usize, what: &'static str) {
    if left_out > 0 {
        let left_out = i64::try_from(left_out).unwrap_or(i64::MAX);
        html.raw("<p class=\"hint\">… and ").text(&count(left_out)).raw(what).raw("</p>");
    }
}

fn station(html: &mut Html, seen: &Seen, one: &Station) {
    html.raw("<tr><th scope=\"row\">").name(&one.name).raw(" <span class=\"hint\">").text(one.about);
    html.raw("</span></th><td>");
    state_word(html, one.state, one.state.word());
    html.raw("</td><td class=\"n\">");
    let key = |what: &str| {
        let kind = if one.is_destination { "destination" } else { "station" };
        format!("{kind}.{}.{what}", one.name)
    };
    if let Some(queue) = one.queue {
        html.figure(&key("waiting"), queue, &total(queue)).raw(" ").text(one.queue_of);
    }
    html.raw("</td><td class=\"n\">");
    if let Some(per_second) = one.per_second {
        // Rates need two readings.
        html.text(&if seen.rates.over_s > 0.0 { rate(per_second) } else { "…".to_owned() });
    }
    html.raw("</td><td class=\"n\">");
    if let Some(sum) = one.total {
        html.raw("<span").attribute("title", sum).raw(">").figure(&key("total"), sum, &total(sum));
        html.raw("</span> ").text(one.total_of);
    }
    html.raw("</td><td>").name(&one.note).raw("</td></tr>");
}

fn audiences(html: &mut Html, seen: &Seen) {
    html.raw("<section class=\"card\"><h2>Audiences</h2>");
    if seen.audiences.is_empty() {
        html.raw("None is defined yet; <code>docs/audiences.md</code> says how.</section>");
        return;
    }
    html.raw(
        "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">audience</th><th scope=\"col\" class=\"n\">people</th>\
         <th scope=\"col\" class=\"n\">came</th><th scope=\"col\" class=\"n\">left</th><th scope=\"col\">share of all people</th>\
         <th scope=\"col\">how it is</th></tr></thead><tbody>",
    );
    for one in &seen.audiences {
        html.raw("<tr><th scope=\"row\">").name(&one.name).raw("</th>");
        for (what, value) in [("members", one.members), ("entries", one.entries), ("exits", one.exits)] {
            html.raw("<td class=\"n\"").attribute("title", value).raw(">");
            html.figure(&format!("audience.{}.{what}", one.name), value, &total(value)).raw("</td>");
        }
        html.raw("<td>");
        let people = seen.status.profiles as f64;
        super::chart::lying_bar(html, "row-bar", people, &[(one.members as f64, "spend", "in it")]);
        html.raw("</td><td>");
        match (&one.backfill, &one.suppress) {
            (Some(backfill), _) => {
                html.text(&format!("is being found: {} %", backfill.people_percent));
                if backfill.counted_from_position > 0 {
                    html.text(&format!(
                        ", events before {} are not known",
                        total(backfill.counted_from_position)
                    ));
                }
            }
            (None, Some(_)) => {
                html.raw("holds advertising back");
            }
            (None, None) => {}
        }
        html.raw("</td></tr>");
    }
    html.raw("</tbody></table></div>");
    more(html, seen.audiences_total.saturating_sub(seen.audiences.len()), " smaller ones.");
    html.raw("</section>");
}

fn state_word(html: &mut Html, state: State, words: &str) {
    html.raw("<span")
        .attribute("class", format!("state {}", state.word()))
        .raw(">")
        .text(words)
        .raw("</span>");
}
