//! The live line, and what the server says about itself.

use super::Stage;
use super::sender::Progress;
use crate::calendar::date;
use crate::http_client::{Client, Credential, Endpoint, Request};
use crate::line::types::LineShown;
use crate::terminal::{Terminal, grouped};
use anyhow::{Context as _, Result, ensure};
use model::feature::value::instant;
use model::line::hour_of;
use serde::Deserialize;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long everything acknowledged may take to show up in the server's figures at the end.
const SETTLE_MAX: Duration = Duration::from_secs(20);
/// How often that is looked at, and how soon the live line notices the end.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the chart of the last hours is drawn anew.
const CHART_EVERY: Duration = Duration::from_secs(1);
/// How many hours it has.
const HOURS: usize = 24;
/// From little to much; nothing is a blank.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What is read of `GET /admin/v1/status`; other members are left alone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) durable_next: u64,
    pub(super) applied_next: u64,
    /// Position of the last checkpoint; where the server tells it.
    pub(super) checkpoint_next: Option<u64>,
    /// Repeated events that were dropped, since the log began.
    pub(super) duplicates: u64,
    /// Records that were set aside because they made the rules fail.
    pub(super) skipped: u64,
    pub(super) profiles: u64,
    pub(super) merges: u64,
    pub(super) suppressions_active: u64,
}

impl Status {
    fn lag(&self) -> u64 {
        self.durable_next.saturating_sub(self.applied_next)
    }
}

/// Asks the server about itself.
pub(super) struct Watch {
    client: Client,
}

impl Watch {
    pub(super) fn new(stage: &dyn Stage) -> Result<Self> {
        let endpoint = Endpoint::parse(&format!("http://{}", stage.admin()))?;
        let credential = Credential::Bearer(stage.admin_token().to_owned());
        Ok(Self { client: Client::new(endpoint, &credential) })
    }

    pub(super) fn status(&mut self) -> Result<Status> {
        let request = Request { method: "GET", path: "/admin/v1/status", headers: &[], body: b"" };
        let response = self.client.send(request)?;
        ensure!(
            response.status == 200,
            "/admin/v1/status answered {}: {}",
            response.status,
            response.quote()
        );
        serde_json::from_slice(&response.body)
            .context("/admin/v1/status answered something else than figures")
    }

    /// The figures once all that is durable is applied and a checkpoint covers it, or after a while without: a replay
    /// is compared with checkpoints.
    pub(super) fn settled(&mut self) -> Result<Status> {
        let began = Instant::now();
        loop {
            let status = self.status()?;
            let covered = status.checkpoint_next.is_none_or(|next| next >= status.applied_next);
            if (status.lag() == 0 && covered) || began.elapsed() > SETTLE_MAX {
                return Ok(status);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Cash from people who had paid attention in each of the last 24 hours, newest last.
    fn hours(&mut self) -> Result<Vec<i64>> {
        let path = "/admin/v1/metrics/line?by=hour";
        let response = self.client.send(Request { method: "GET", path, headers: &[], body: b"" })?;
        ensure!(response.status == 200, "{path} answered {}: {}", response.status, response.quote());
        let shown: LineShown = serde_json::from_slice(&response.body)
            .context("the line answered something else than figures")?;
        let hour = |text: &str| instant(text).map(hour_of);
        let to = hour(&shown.to).context("the line's answer has no end")?;
        let mut all = vec![0; HOURS];
        for bucket in &shown.by {
            let back = hour(&bucket.from).and_then(|from| usize::try_from(to - from).ok());
            if let Some(own) = back.and_then(|back| HOURS.checked_sub(back)).and_then(|at| all.get_mut(at)) {
                *own = bucket.figures.throughput.cash_with_attention_minor;
            }
        }
        Ok(all)
    }

    /// Draws the live line until `ended`. Figures that do not come leave the line without them: the run goes on.
    pub(super) fn draw(mut self, progress: &Progress, terminal: &Terminal, ended: &AtomicBool) {
        let mut before = (Instant::now(), 0_u64);
        let mut status = Status::default();
        let (mut chart, mut charted) = (String::new(), Instant::now());
        while !ended.load(Relaxed) {
            std::thread::sleep(LOOK_EVERY);
            if before.0.elapsed() < terminal.every() {
                continue;
            }
            let accepted = progress.accepted.load(Relaxed);
            let passed_s = before.0.elapsed().as_secs_f64();
            let per_second = (accepted.saturating_sub(before.1)) as f64 / passed_s.max(1e-9);
            before = (Instant::now(), accepted);
            let known = self.status().map(|latest| status = latest).is_ok();
            let mut line = format!(
                "{}  {} events  {}/s",
                date(progress.log_time_us.load(Relaxed)),
                grouped(accepted),
                grouped(per_second as u64)
            );
            if known {
                line.push_str(&format!(
                    "  {} profiles  {} merges  {} suppressions  lag {}",
                    grouped(status.profiles),
                    grouped(status.merges),
                    grouped(status.suppressions_active),
                    grouped(status.lag())
                ));
            }
            if terminal.redraws() && charted.elapsed() >= CHART_EVERY {
                charted = Instant::now();
                chart = self.hours().map(|hours| format!("  cash/h {}", blocks(&hours))).unwrap_or_default();
            }
            line.push_str(&chart);
            terminal.progress(&line);
        }
    }
}

/// A chart one line high: each value as a block, the greatest as the highest.
fn blocks(values: &[i64]) -> String {
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    let block = |value: &i64| {
        let share =
            usize::try_from(i128::from(*value) * BLOCKS.len() as i128 / i128::from(most)).unwrap_or(0);
        let block = BLOCKS.get(share.min(BLOCKS.len() - 1));
        block.copied().filter(|_| *value > 0).unwrap_or(' ')
    };
    values.iter().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_drawn_as_blocks_of_their_share() {
        for (values, drawn) in [
            (&[][..], ""),
            (&[0, 0], "  "),
            (&[0, 1, 4, 8], " ▂▅█"),
            (&[-5, 100, 99, 1, 50], " ██▁▅"),
            (&[i64::MAX, i64::MIN, 1], "█ ▁"),
        ] {
            assert_eq!(blocks(values), drawn, "{values:?}");
        }
    }
}
