//! Handlers of `/admin/v1/metrics/line` and `/admin/v1/settings/line`.

use super::figures::{open_journeys, shown, total};
use super::types::{LineBucket, LineChanged, LineRules, LineShown, Operations, RateGiven};
use crate::api::{Answering, Call, Code, Context, Problem, Reply, changed, execute, idempotency_of};
use crate::calendar::{DAY_US, HOUR_US, date, iso};
use engage::{Campaigns, LineHours, Operation, Reply as Done};
use model::feature::value::{decimal, instant};
use model::id::Timestamp;
use model::line::{Figures, LineSettings, Place, Rate, campaign, hour_of, open_from};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The most hours, days or campaigns of one answer.
const BUCKETS_MAX: usize = 2_000;
/// The longest time that one answer looks at.
const HOURS_MAX: i32 = 800 * 24;
/// What is looked at where the request does not say.
const HOURS_DEFAULT: i32 = 24;
/// Journeys that began longer before are not looked for: no window is longer, and few confirmations take longer.
const OPEN_HOURS: i32 = 40 * 24;
/// Nano-units in a micro-unit.
const NANO_PER_MICRO: i64 = 1_000;

/// What figures are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Nothing,
    Hour,
    Day,
    Campaign,
}

pub(crate) fn get_settings(context: Arc<Context>, _: Call) -> Answering {
    Box::pin(async move {
        let rules = context.engine.view().settings().line.clone();
        let rates = rules.rates.iter().map(|rate| RateGiven {
            currency: String::from_utf8_lossy(&rate.currency).into_owned(),
            day: date(i64::from(rate.day).saturating_mul(DAY_US)),
            rate: rate_text(rate.nano),
        });
        Reply::json(
            200,
            &LineRules {
                version: Some(rules.version),
                holds_from: holds_from(&rules),
                currency: rules.currency.map(|code| String::from_utf8_lossy(&code).into_owned()),
                view_window_s: rules.view_window_us / 1_000_000,
                click_window_s: rules.click_window_us / 1_000_000,
                frequency_cap: rules.frequency_cap,
                cap_window_s: rules.cap_window_us / 1_000_000,
                duplicate_window_s: rules.duplicate_window_us / 1_000_000,
                grace_s: rules.grace_us / 1_000_000,
                sessions: rules.sessions,
                consent_category: rules.consent_category.to_string(),
                rates: rates.collect(),
            },
        )
    })
}

pub(crate) fn set_settings(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let given: LineRules = call.json()?;
        let micro = |seconds: i64| seconds.saturating_mul(1_000_000);
        let currency = given.currency.as_deref().map(|code| currency_of(code, "currency")).transpose()?;
        let rates = given.rates.iter().map(rate_of).collect::<Result<Vec<Rate>, Problem>>()?;
        let rules = LineSettings {
            currency,
            view_window_us: micro(given.view_window_s),
            click_window_us: micro(given.click_window_s),
            frequency_cap: given.frequency_cap,
            cap_window_us: micro(given.cap_window_s),
            duplicate_window_us: micro(given.duplicate_window_s),
            grace_us: micro(given.grace_s),
            sessions: given.sessions,
            consent_category: given.consent_category.into(),
            rates: Arc::new(rates),
            ..LineSettings::default()
        };
        let _alone = context.changing.lock().await;
        let reply = execute(&context, idempotency_of(&call)?, Operation::SetLine(rules)).await?;
        let Done::Settings(settings_version) = reply else { return changed(reply) };
        let holds_from = holds_from(&context.engine.view().settings().line);
        Reply::json(200, &LineChanged { settings_version, holds_from })
    })
}

/// Since when settings hold, unless it is always.
fn holds_from(rules: &LineSettings) -> Option<String> {
    (rules.since.0 > i64::MIN).then(|| iso(rules.since.0))
}

fn currency_of(text: &str, field: &str) -> Result<[u8; 3], Problem> {
    let message = format!("{text:?} is no currency: send three letters of ISO 4217, e.g. EUR");
    model::money::currency(text).ok_or_else(|| Problem::at(Code::BadValue, field, message))
}

fn rate_of(given: &RateGiven) -> Result<Rate, Problem> {
    let currency = currency_of(&given.currency, "rates.currency")?;
    let at = instant(&given.day).filter(|_| given.day.len() == 10);
    let at = at.ok_or_else(|| {
        let message = format!("{:?} is no day: send one as 2026-11-22", given.day);
        Problem::at(Code::BadValue, "rates.day", message)
    })?;
    let nano = rate_nano(&given.rate).filter(|nano| *nano > 0).ok_or_else(|| {
        let message =
            format!("{:?} is no rate: send a decimal number above zero, e.g. \"1.0842\"", given.rate);
        Problem::at(Code::BadValue, "rates.rate", message)
    })?;
    Ok(Rate { currency, day: i32::try_from(at.0.div_euclid(DAY_US)).unwrap_or_default(), nano })
}

/// Reads up to nine decimal places: [`decimal`] reads six, so the number is read a thousandfold.
pub(crate) fn rate_nano(text: &str) -> Option<i64> {
    let (mantissa, power) = text.trim().split_once(['e', 'E']).unwrap_or((text.trim(), "0"));
    let power: i32 = power.parse().ok()?;
    decimal(&format!("{mantissa}e{}", power.checked_add(3)?))
}

/// A rate as text, without zeros at its end.
pub(crate) fn rate_text(nano: i64) -> String {
    let (whole, rest) = (nano / (1_000_000 * NANO_PER_MICRO), nano % (1_000_000 * NANO_PER_MICRO));
    let digits = format!("{rest:09}");
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() { whole.to_string() } else { format!("{whole}.{digits}") }
}

/// What is asked for.
struct Asked {
    hours: Range<i32>,
    by: By,
    campaign: Option<String>,
}

impl Asked {
    fn of(call: &Call, log_time: Timestamp) -> Result<Self, Problem> {
        let at = |name: &str| -> Result<Option<i32>, Problem> {
            let Some(text) = call.text_parameter(name) else { return Ok(None) };
            let at = instant(&text).ok_or_else(|| {
                Problem::at(
                    Code::BadValue,
                    name,
                    format!("{text:?} is no time: send one as 2026-11-22T14:00:00Z"),
                )
            })?;
            Ok(Some(hour_of(at)))
        };
        let to = at("to")?.unwrap_or_else(|| hour_of(log_time).saturating_add(1));
        let from = at("from")?.unwrap_or(to.saturating_sub(HOURS_DEFAULT));
        if from >= to || to.saturating_sub(from) > HOURS_MAX {
            let message = "from must be before to, by at most 800 days; both are cut to whole hours";
            return Err(Problem::at(Code::BadValue, "from", message));
        }
        let by = match call.parameter("by") {
            None => By::Nothing,
            Some("hour") => By::Hour,
            Some("day") => By::Day,
            Some("campaign") => By::Campaign,
            Some(_) => return Err(Problem::at(Code::BadValue, "by", "by must be hour, day or campaign")),
        };
        let buckets = match by {
            By::Hour => to - from,
            By::Day => (to - from) / 24 + 1,
            By::Nothing | By::Campaign => 0,
        };
        if buckets as usize > BUCKETS_MAX {
            let message = format!("that would be {buckets} parts; ask for at most {BUCKETS_MAX}, or by=day");
            return Err(Problem::at(Code::BadValue, "by", message));
        }
        Ok(Self { hours: from..to, by, campaign: call.text_parameter("campaign") })
    }
}

pub(crate) fn read(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let asked = Asked::of(&call, context.log_time())?;
        Reply::json(200, &Reading::of(&context, asked.hours, asked.campaign).shown(asked.by))
    })
}

/// The line's figures of some hours, read once; they can be shown in several ways.
pub(crate) struct Reading<'c> {
    context: &'c Context,
    hours: Range<i32>,
    campaign: Option<String>,
    log_time: Timestamp,
    position: u64,
    rules: LineSettings,
    names: Arc<Campaigns>,
    /// Also those of before that journeys under way are looked for in.
    figures: LineHours,
    let_go_before: Option<i32>,
    /// Journeys under way.
    open_mean: f64,
}

impl<'c> Reading<'c> {
    /// Reads hours since 1970, the last not counted.
    pub(crate) fn of(context: &'c Context, hours: Range<i32>, named: Option<String>) -> Self {
        let view = context.engine.view();
        let position = view.as_of().next_position.0;
        let figures = view.line(hours.start.saturating_sub(OPEN_HOURS)..hours.end);
        let mut reading = Self {
            context,
            hours,
            campaign: named,
            log_time: context.log_time(),
            position,
            rules: view.settings().line.clone(),
            names: view.campaigns(),
            figures,
            let_go_before: view.line_let_go_before(),
            open_mean: 0.0,
        };
        reading.open_mean = open_journeys(reading.of_campaign(), &reading.hours);
        reading
    }

    /// Figures of the campaign that was asked for, or of all.
    fn of_campaign(&self) -> impl Iterator<Item = (Place, &Figures)> {
        let wanted = self.campaign.as_deref().map(campaign);
        self.figures.iter().filter(move |(place, _)| wanted.is_none_or(|wanted| place.campaign == wanted))
    }

    /// Those of the hours that were asked for.
    fn asked(&self) -> impl Iterator<Item = (Place, &Figures)> {
        self.of_campaign().filter(|(place, _)| place.hour >= self.hours.start)
    }

    /// The answer, with the figures of each hour, day or campaign.
    pub(crate) fn shown(&self, by: By) -> LineShown {
        let hours = f64::from(self.hours.end - self.hours.start);
        let instant_of = |hour: i32| iso(i64::from(hour).saturating_mul(HOUR_US));
        let (settled, _) = open_from(self.log_time, &self.rules);
        LineShown {
            from: instant_of(self.hours.start),
            to: instant_of(self.hours.end),
            currency: self.rules.currency.map(|code| String::from_utf8_lossy(&code).into_owned()),
            campaign: self.campaign.clone(),
            position: self.position,
            settled_before: iso(settled.0),
            kept_from: self.let_go_before.map(instant_of),
            total: shown(
                &total(self.asked().map(|(_, figures)| figures)),
                hours,
                self.rules.currency,
                Some(self.open_mean),
            ),
            by: self.buckets(by),
            operations: operations(self.context),
        }
    }

    fn buckets(&self, by: By) -> Vec<LineBucket> {
        let key = |place: &Place| match by {
            By::Nothing => None,
            By::Hour => Some((place.hour, 0)),
            By::Day => Some((place.hour.div_euclid(24) * 24, 0)),
            By::Campaign => Some((self.hours.start, place.campaign)),
        };
        let length = match by {
            By::Hour => 1,
            By::Day => 24,
            By::Nothing | By::Campaign => self.hours.end - self.hours.start,
        };
        let mut parts: BTreeMap<(i32, u64), Figures> = BTreeMap::new();
        for (place, figures) in self.asked() {
            if let Some(key) = key(&place) {
                parts.entry(key).or_default().merge(figures, 1);
            }
        }
        let shown_part = |((hour, campaign), figures): ((i32, u64), Figures)| {
            let (from, to) = (hour.max(self.hours.start), (hour + length).min(self.hours.end));
            let name = self.names.names.get(&campaign).map(|name| name.to_string()).unwrap_or_default();
            LineBucket {
                from: iso(i64::from(from) * HOUR_US),
                to: iso(i64::from(to) * HOUR_US),
                campaign: (by == By::Campaign).then_some(name),
                figures: shown(&figures, f64::from(to - from), self.rules.currency, None),
            }
        };
        parts.into_iter().take(BUCKETS_MAX).map(shown_part).collect()
    }
}

fn operations(context: &Context) -> Operations {
    let status = crate::api::status_of(context);
    let (failed_attempts, lag_ms) = crate::deliver::trouble(context);
    Operations {
        failed_attempts,
        dead_letters: status.delivery.dead_letters,
        records_skipped: status.skipped,
        quarantined_events: status.quarantined_events,
        refused_requests: status.refused_requests,
        lag_ms,
        suppression_lag: crate::deliver::suppression_lag(context),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_to_nine_places_and_written_back() {
        let table = [
            ("1", Some(1_000_000_000), "1"),
            ("1.0842", Some(1_084_200_000), "1.0842"),
            ("0.000000001", Some(1), "0.000000001"),
            ("1e-3", Some(1_000_000), "0.001"),
            ("0.0000000001", Some(0), "0"),
            ("x", None, ""),
            ("", None, ""),
            ("1e999999999999", None, ""),
        ];
        for (text, nano, back) in table {
            assert_eq!(rate_nano(text), nano, "{text}");
            if let Some(nano) = nano {
                assert_eq!(rate_text(nano), back);
            }
        }
    }
}
