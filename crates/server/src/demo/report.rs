//! What is said before and after, and the figures for programs.

use super::audiences::{Late, Shown};
use super::line::{sensitivity, three_numbers};
use super::live::Status;
use super::readback::ReadBack;
use super::retail::Retail;
use super::sender::Outcome;
use super::slices::Tally;
use super::{Stage, VerifyReport};
use crate::calendar::date;
use crate::figures::Figures;
use crate::line::types::LineShown;
use crate::terminal::{Terminal, grouped};
use anyhow::Result;
use std::time::Duration;

/// Everything that a run brought.
pub(super) struct Run<'a> {
    pub(super) tally: &'a Tally,
    pub(super) outcome: &'a Outcome,
    pub(super) sending: Duration,
    /// The server's figures before and after.
    pub(super) before: Status,
    pub(super) after: Status,
    pub(super) read_back: ReadBack,
    pub(super) audiences: Told,
    pub(super) verified: VerifyReport,
    /// The year's three numbers.
    pub(super) line: LineShown,
    /// What the ad network heard, and how late.
    pub(super) messages: u64,
    pub(super) lags_us: Vec<u32>,
}

/// What the server says of the audiences at the end.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) shown: Vec<Shown>,
    pub(super) late: Vec<Late>,
}

impl Told {
    fn shown(&self, name: &str) -> Option<&Shown> {
        self.shown.iter().find(|one| one.name == name)
    }

    /// Late audiences that were not found for everybody, or have another number of members than their twin.
    fn not_as_twin(&self) -> u64 {
        let members = |name: &str| self.shown(name).map(|one| one.members);
        let off = |one: &&Late| {
            one.found.is_none() || members(one.name).is_none() || members(one.name) != members(one.twin)
        };
        self.late.iter().filter(off).count() as u64
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{:<35}{:>10}{:>10}{:>10}", "Audiences", "members", "entries", "exits")];
        for one in &self.shown {
            let mut line = format!(
                "           {:<24}{:>10}{:>10}{:>10}",
                one.name,
                grouped(one.members),
                grouped(one.entries),
                grouped(one.exits)
            );
            if let Some(late) = self.late.iter().find(|late| late.name == one.name) {
                let same = self.shown(late.twin).is_some_and(|twin| twin.members == one.members);
                let found = late.found.map_or("not found for everybody".to_owned(), |(at_us, took)| {
                    format!("found by {} after {:.1} s", date(at_us), took.as_secs_f64())
                });
                line.push_str(&format!(
                    "  since {}, {found}; {} {}",
                    date(late.defined_at_us),
                    if same { "as many as" } else { "NOT as many as" },
                    late.twin
                ));
            }
            lines.push(line);
        }
        lines
    }
}

/// Says what is about to be sent, and which part of it is real.
pub(super) fn introduce(retail: &Retail, terminal: &Terminal) {
    let span = match (retail.baskets.first(), retail.baskets.last()) {
        (Some(first), Some(last)) => format!("{} to {}", date(first.at_us), date(last.at_us)),
        _ => String::new(),
    };
    for line in [
        format!(
            "Real: {} orders with {} product lines by {} households of a US grocer, {span} (times taken as UTC);",
            grouped(retail.baskets.len() as u64),
            grouped(retail.lines.len() as u64),
            grouped(retail.households.len() as u64),
        ),
        format!(
            "      {} campaigns sent to households and {} coupons used, on their real days.",
            grouped(retail.exposures.len() as u64),
            grouped(retail.redemptions.len() as u64)
        ),
        "Synthetic: the devices (two or three browsers and an app for each household, a few shared), their sessions"
            .to_owned(),
        "      before the orders, logins, e-mail addresses and consent; which orders the browser reports as well; what"
            .to_owned(),
        "      comes late or twice; the hour of campaigns and coupons. An ad network that knows every fourth household:"
            .to_owned(),
        "      up to three moments in the six days before an order and three in the two days after it (as likely in each"
            .to_owned(),
        "      doubling from 20 s on) at which it shows an ad for something of that order, unless its list says that the"
            .to_owned(),
        "      household bought of that kind in the last 30 days; 4 to 12 USD for a thousand, 4 % clicked, 2 % unseen."
            .to_owned(),
        "      Checkouts and confirmation mails of those orders. The same on every run, but for the live list's lag."
            .to_owned(),
    ] {
        terminal.say(&line);
    }
}

impl Run<'_> {
    /// Repeated messages that the server did not drop, or dropped without cause. A request that was sent again may
    /// repeat any number of its own.
    fn duplicates_off(&self) -> u64 {
        let dropped = self.after.duplicates.saturating_sub(self.before.duplicates);
        if self.outcome.retries > 0 {
            return self.tally.repeated.saturating_sub(dropped);
        }
        dropped.abs_diff(self.tally.repeated)
    }

    /// By how much the line is off from what was sent.
    fn line_off(&self) -> u64 {
        let (total, tally) = (&self.line.total, self.tally);
        let count = |name: &str| total.counts.get(name).copied().unwrap_or_default();
        let off = |name: &str, sent: u64| count(name).abs_diff(i64::try_from(sent).unwrap_or(i64::MAX));
        off("orders", tally.orders)
            + off("impressions", tally.impressions)
            + off("clicks", tally.clicks)
            + total.throughput.cash_minor.abs_diff(tally.orders_minor)
            + count("unpriced_touches").unsigned_abs()
    }

    fn per_second(&self) -> f64 {
        self.outcome.accepted as f64 / self.sending.as_secs_f64().max(1e-9)
    }

    /// What must be zero and is not.
    pub(super) fn broken_promises(&self) -> Vec<String> {
        let counted = [
            (self.outcome.violations, "purchases were accepted and not suppressed at once"),
            (self.outcome.false_suppressions, "answers suppressed what nobody bought"),
            (self.duplicates_off(), "repeated messages were not dropped exactly once"),
            (
                self.read_back.events.abs_diff(self.tally.distinct()),
                "events are missing from profiles, or are too many",
            ),
            (self.read_back.not_one_person, "people are missing, or one with somebody else"),
            (self.read_back.orders_wrong, "households have other orders or revenue than in the data"),
            (
                self.audiences.not_as_twin(),
                "audiences that came late are not what they would be from the beginning",
            ),
            (
                self.read_back.not_as_twin,
                "people are in an audience that came late and not in its twin, or otherwise",
            ),
            (self.read_back.held_wrong, "decisions do not follow the audience that suppresses"),
            (self.line_off(), "the line counted other orders, cash or ads than were sent"),
            (self.after.skipped, "records were set aside because a rule failed on them"),
            (
                u64::from(!self.verified.exact),
                "replay gave another state or other effects, or had no checkpoint to compare with",
            ),
        ];
        let broken = counted.into_iter().filter(|(count, _)| *count > 0);
        broken.map(|(count, what)| format!("{}: {what}", grouped(count))).collect()
    }

    pub(super) fn tell(&self, terminal: &Terminal) {
        let promises = self.broken_promises();
        let broken = promises.iter().map(|promise| format!("BROKEN     {promise}"));
        for line in self.all_lines().into_iter().chain(broken) {
            terminal.say(&line);
        }
    }

    fn all_lines(&self) -> Vec<String> {
        let mut lines = self.what_was_sent();
        lines.extend(self.what_became_of_it());
        lines.extend(self.audiences.lines());
        lines.push(format!(
            "           {} held back by an audience, {} decisions otherwise",
            grouped(self.read_back.held),
            grouped(self.read_back.held_wrong)
        ));
        lines.push(String::new());
        lines.extend(three_numbers(&self.line));
        lines.push(format!(
            "Delivery   {} messages to the ad network; after a purchase's 200: {}",
            grouped(self.messages),
            quantiles(&self.lags_us)
        ));
        lines.extend(sensitivity(&self.line));
        lines
    }

    fn what_was_sent(&self) -> Vec<String> {
        let Self { tally, outcome, .. } = self;
        let real = tally.orders + tally.exposures + tally.redemptions;
        let synthetic = tally.distinct() - real;
        let share = |part: u64| part as f64 * 100.0 / tally.distinct().max(1) as f64;
        vec![
            String::new(),
            format!(
                "Sent       {} events in {:.1} s: {}/s; all accepted, {} requests, {} of them sent again",
                grouped(outcome.accepted),
                self.sending.as_secs_f64(),
                grouped(self.per_second() as u64),
                grouped(outcome.posts_us.len() as u64),
                grouped(outcome.retries)
            ),
            format!(
                "Real       {} ({:.1} %): {} orders worth {}.{:02} USD, {} campaigns, {} coupons",
                grouped(real),
                share(real),
                grouped(tally.orders),
                grouped(tally.orders_minor.unsigned_abs() / 100),
                tally.orders_minor.unsigned_abs() % 100,
                grouped(tally.exposures),
                grouped(tally.redemptions)
            ),
            format!(
                "Synthetic  {} ({:.1} %): {} views, {} put into carts, {} logins, {} orders told by the browser as well",
                grouped(synthetic),
                share(synthetic),
                grouped(tally.viewed),
                grouped(tally.added),
                grouped(tally.logged_in),
                grouped(tally.orders_by_browser)
            ),
            format!(
                "           {} ads shown and {} clicked, {} checkouts begun, {} steps of confirmation mails",
                grouped(tally.impressions),
                grouped(tally.clicks),
                grouped(tally.checkouts),
                grouped(tally.confirmations)
            ),
            format!(
                "           {} came late; {} were sent twice",
                grouped(tally.late),
                grouped(tally.repeated)
            ),
        ]
    }

    fn what_became_of_it(&self) -> Vec<String> {
        let Self { outcome, after, verified, read_back, .. } = self;
        let same = if verified.exact { "the same state and effects" } else { "NOT PROVEN THE SAME" };
        vec![
            format!(
                "Duplicates {} dropped by the server",
                grouped(after.duplicates.saturating_sub(self.before.duplicates))
            ),
            format!(
                "People     {} read back: {} profiles, {} merges; {} missing or confused; {} households with other \
                 orders than in the data",
                grouped(read_back.people),
                grouped(after.profiles),
                grouped(after.merges),
                grouped(read_back.not_one_person),
                grouped(read_back.orders_wrong)
            ),
            format!("Suppressed {} profiles now", grouped(after.suppressions_active)),
            format!("Request    to its 200: {}", quantiles(&outcome.posts_us)),
            format!(
                "Purchase   from its 200 to suppressed, asked for another device or address of the buyer: {}",
                quantiles(&outcome.suppressed_us)
            ),
            format!(
                "           {} asked, {} not suppressed; {} asked for what nobody bought, {} suppressed",
                grouped(outcome.suppressed_us.len() as u64 + outcome.violations),
                grouped(outcome.violations),
                grouped(outcome.controls),
                grouped(outcome.false_suppressions)
            ),
            format!(
                "Replay     {} records in {} stretches between checkpoints, {} effects, in {:.1} s: {same}",
                grouped(verified.records),
                grouped(verified.stretches),
                grouped(verified.effects),
                verified.elapsed.as_secs_f64(),
            ),
            format!("           state {}, effects {}", verified.state_digest, verified.effects_digest),
        ]
    }

    pub(super) fn figures(&self) -> Result<Figures> {
        let events_off = self.read_back.events.abs_diff(self.tally.distinct());
        Figures::new(
            "demo",
            &[
                ("events_per_second", self.per_second()),
                ("purchase_to_suppressed_p50", f64::from(quantile(&self.outcome.suppressed_us, 0.5))),
                ("purchase_to_suppressed_p99", f64::from(quantile(&self.outcome.suppressed_us, 0.99))),
                ("purchase_to_suppressed_max", f64::from(quantile(&self.outcome.suppressed_us, 1.0))),
                ("purchases_not_suppressed", self.outcome.violations as f64),
                ("false_suppressions", self.outcome.false_suppressions as f64),
                ("duplicates_not_dropped", self.duplicates_off() as f64),
                ("events_lost", events_off as f64),
                ("people_confused", self.read_back.not_one_person as f64),
                ("orders_miscounted", self.read_back.orders_wrong as f64),
                ("replay_differences", f64::from(u8::from(!self.verified.exact))),
            ],
        )
    }
}

/// Says what stays behind, and what to try.
pub(super) fn leave_open(retail: &Retail, stage: &dyn Stage, terminal: &Terminal) {
    let household = retail.households.first().copied().unwrap_or_default();
    let json = "-H 'Content-Type: application/json'";
    let (ingest, profiles, admin) = (stage.ingest(), stage.profiles(), stage.admin());
    let (browser, profile, administrator) =
        (stage.browser_write_key(), stage.profile_token(), stage.admin_token());
    for line in [
        String::new(),
        format!(
            "The server goes on: events http://{ingest}, profiles http://{profiles}, admin http://{admin}."
        ),
        "End it with Ctrl-C. Things to try:".to_owned(),
        format!("  curl -s http://{admin}/admin/v1/status -H 'Authorization: Bearer {administrator}'"),
        format!(
            "  curl -s http://{profiles}/v1/profiles/lookup -H 'Authorization: Bearer {profile}' {json} -d \
             '{{\"identifier\":{{\"type\":\"user_id\",\"value\":\"{household}\"}}}}'"
        ),
        format!(
            "  curl -s http://{profiles}/v1/decide -H 'Authorization: Bearer {profile}' {json} -d \
             '{{\"identifiers\":[{{\"type\":\"email\",\"value\":\"hh{household}@example.invalid\"}}],\
             \"category\":\"SOFT DRINKS\"}}'"
        ),
        format!(
            "  curl -s -u {browser}: http://{ingest}/v1/track -d \
             '{{\"userId\":\"{household}\",\"event\":\"Product Viewed\",\"properties\":{{\"product_id\":\"1\"}}}}'"
        ),
    ] {
        terminal.say(&line);
    }
}

fn quantiles(samples_us: &[u32]) -> String {
    if samples_us.is_empty() {
        return "nothing measured".to_owned();
    }
    let at = |share| grouped(u64::from(quantile(samples_us, share)));
    format!(
        "p50 {} us, p99 {} us, max {} us ({} times)",
        at(0.5),
        at(0.99),
        at(1.0),
        grouped(samples_us.len() as u64)
    )
}

/// The smallest sample that at least this share of all do not exceed; 0 without samples.
fn quantile(samples_us: &[u32], share: f64) -> u32 {
    let mut sorted = samples_us.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).or(sorted.last()).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let samples: Vec<u32> = (1..=200).rev().collect();
        for (share, expected) in [(0.5, 100), (0.99, 198), (1.0, 200), (0.0, 1)] {
            assert_eq!(quantile(&samples, share), expected, "{share}");
        }
        assert_eq!(quantile(&[7], 0.99), 7);
        assert_eq!(quantile(&[], 0.5), 0);
    }
}
