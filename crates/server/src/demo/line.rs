//! The three numbers of the year: switched on before it, read after it, and the table of what each lag costs.

use super::Stage;
use super::ads::ARMS;
use super::listener::Listener;
use super::retail::Retail;
use crate::calendar::{DAY_US, date};
use crate::http_client::{Client, Credential, Endpoint, Request};
use crate::line::types::{LineFigures, LineShown};
use crate::terminal::grouped;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// The destination by which the live network hears of purchases.
const DESTINATION: &str = "ad-network";

/// What the line is measured by: the defaults of `docs/line.md`, in the data's currency.
fn rules() -> Value {
    json!({
        "currency": "USD", "view_window_s": 86_400, "click_window_s": 604_800, "frequency_cap": 10,
        "cap_window_s": 86_400, "duplicate_window_s": 86_400, "grace_s": 0, "sessions": false,
        "consent_category": "Advertising", "rates": [],
    })
}

/// Switches the line on, and tells the server where the network hears of who is not to be advertised what.
pub(super) fn begin(stage: &dyn Stage, listener: &Listener) -> Result<()> {
    let destination = json!({
        "type": "webhook", "class": "transactional", "url": listener.url(), "concurrency_max": 64,
        "kinds": ["suppression.started", "suppression.ended"], "identifiers": ["user_id"],
    });
    let mut client = client(stage)?;
    put(&mut client, "/admin/v1/settings/line", &rules())?;
    put(&mut client, &format!("/admin/v1/destinations/{DESTINATION}"), &destination)
}

/// Reads the year's figures.
pub(super) struct Reader {
    client: Client,
    from: String,
    to: String,
}

impl Reader {
    /// From before the first ad to behind the last confirmation.
    pub(super) fn new(retail: &Retail, stage: &dyn Stage) -> Result<Self> {
        let at_us = |basket: Option<&super::retail::Basket>| basket.map_or(0, |basket| basket.at_us);
        Ok(Self {
            client: client(stage)?,
            from: date(at_us(retail.baskets.first()) - 8 * DAY_US),
            to: date(at_us(retail.baskets.last()) + 4 * DAY_US),
        })
    }

    /// The answer for the whole year and for each `campaign` or `day` of it, as the server sent it. A year has fewer
    /// days than an answer may have parts.
    pub(super) fn answer(&mut self, by: &str) -> Result<Vec<u8>> {
        let path = format!("/admin/v1/metrics/line?from={}&to={}&by={by}", self.from, self.to);
        let response = self.client.send(Request { method: "GET", path: &path, headers: &[], body: b"" })?;
        ensure!(response.status == 200, "{path} answered {}: {}", response.status, response.quote());
        Ok(response.body)
    }
}

/// The year's figures, whole and by campaign.
pub(super) fn read(retail: &Retail, stage: &dyn Stage) -> Result<LineShown> {
    let answer = Reader::new(retail, stage)?.answer("campaign")?;
    serde_json::from_slice(&answer).context("/admin/v1/metrics/line answered something else than the line")
}

fn client(stage: &dyn Stage) -> Result<Client> {
    let endpoint = Endpoint::parse(&format!("http://{}", stage.admin()))?;
    Ok(Client::new(endpoint, &Credential::Bearer(stage.admin_token().to_owned())))
}

fn put(client: &mut Client, path: &str, body: &Value) -> Result<()> {
    let body = body.to_string();
    let headers =
        [("Content-Type", "application/json".to_owned()), ("Content-Length", body.len().to_string())];
    let request = Request { method: "PUT", path, headers: &headers, body: body.as_bytes() };
    let response = client.send(request)?;
    ensure!(
        (200..300).contains(&response.status),
        "{path} answered {}: {}",
        response.status,
        response.quote()
    );
    Ok(())
}

/// The three numbers, in words.
pub(super) fn three_numbers(shown: &LineShown) -> Vec<String> {
    let LineFigures { throughput, cycle_time, scrap, .. } = &shown.total;
    let cycle = cycle_time.spans.get("cycle");
    let hours = |milliseconds: u64| milliseconds as f64 / 3_600_000.0;
    vec![
        format!(
            "Throughput {} USD an hour from people who had paid attention: {} of {} orders; yield {:.1} % of people a day",
            money(throughput.cash_with_attention_minor_per_hour as i64),
            grouped(throughput.orders_with_attention.unsigned_abs()),
            grouped(throughput.orders.unsigned_abs()),
            throughput.yield_percent.unwrap_or_default()
        ),
        match cycle {
            Some(cycle) => format!(
                "Cycle time first impression to accepted confirmation: p50 {:.1} h, p90 {:.1} h, p99 {:.1} h ({} orders; {} \
                 without an impression)",
                hours(cycle.p50_ms),
                hours(cycle.p90_ms),
                hours(cycle.p99_ms),
                grouped(cycle.count.unsigned_abs()),
                grouped(cycle_time.orders_without_impression.unsigned_abs())
            ),
            None => "Cycle time no order came after an impression".to_owned(),
        },
        format!(
            "Scrap rate {:.2} %: {} of {} USD went to ads that could not have done anything",
            scrap.rate_percent.unwrap_or_default(),
            money(scrap.scrapped_minor),
            money(scrap.spend_minor)
        ),
    ]
}

/// What each lag costs, slowest first: the same moments, offered to five copies of one campaign.
pub(super) fn sensitivity(shown: &LineShown) -> Vec<String> {
    let mut lines = vec![
        "Lag        Five copies of one campaign were offered the same moments; they differ only in how old their list of".to_owned(),
        "           buyers is. This shows what the lag does under the assumptions above, and is evidence of nothing else."
            .to_owned(),
        format!("           {:<20} {:>12} {:>12} {:>14} {:>9}", "list of buyers", "impressions", "spend USD", "to buyers USD", "of spend"),
    ];
    for arm in ARMS {
        let of = |bucket: &&crate::line::types::LineBucket| bucket.campaign.as_deref() == Some(arm.campaign);
        let Some(figures) = shown.by.iter().find(of).map(|bucket| &bucket.figures) else {
            lines.push(format!("           {:<20} {:>12}", arm.about, "nothing"));
            continue;
        };
        let count = |name: &str| figures.counts.get(name).copied().unwrap_or_default();
        let (spend, scrapped) = (count("spend_micro"), count("scrap_purchased_micro"));
        let percent = if spend > 0 { 100.0 * scrapped as f64 / spend as f64 } else { 0.0 };
        lines.push(format!(
            "           {:<20} {:>12} {:>12} {:>14} {:>8.3} %",
            arm.about,
            grouped(count("impressions").unsigned_abs()),
            money(spend / 10_000),
            money(scrapped / 10_000),
            percent
        ));
    }
    lines
}

fn money(minor: i64) -> String {
    format!("{}.{:02}", grouped(minor.unsigned_abs() / 100), minor.unsigned_abs() % 100)
}
