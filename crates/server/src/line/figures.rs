//! The three numbers out of figures.

use super::types::{CycleTime, LineFigures, LittlesLaw, Scrap, ScrapReason, SpanShown, Throughput};
use model::line::{Figures, Measure, Place, SCRAP, Span};
use model::money::exponent;
use std::collections::BTreeMap;
use std::ops::Range;

const MILLISECONDS_PER_HOUR: f64 = 3_600_000.0;

/// Everything together.
pub(crate) fn total<'f>(all: impl Iterator<Item = &'f Figures>) -> Figures {
    let mut total = Figures::default();
    all.for_each(|figures| total.merge(figures, 1));
    total
}

/// The three numbers of `hours` hours. `open` are journeys under way, see [`open_journeys`].
pub(crate) fn shown(
    figures: &Figures,
    hours: f64,
    currency: Option<[u8; 3]>,
    open_mean: Option<f64>,
) -> LineFigures {
    let get = |measure| figures.get(measure);
    let minor = |measure| to_minor(figures.get(measure), currency);
    let per_hour = |amount: f64| if hours > 0.0 { amount / hours } else { 0.0 };
    let with_attention = minor(Measure::CashWithAttentionMicro);
    let throughput = Throughput {
        cash_minor: minor(Measure::CashMicro),
        cash_with_attention_minor: with_attention,
        cash_with_attention_minor_per_hour: per_hour(with_attention as f64),
        orders: get(Measure::Orders),
        orders_with_attention: get(Measure::OrdersWithAttention),
        orders_per_hour: per_hour(get(Measure::Orders) as f64),
        people_with_attention: get(Measure::PeopleWithAttention),
        people_paid: get(Measure::PeoplePaid),
        yield_percent: percent(get(Measure::PeoplePaid), get(Measure::PeopleWithAttention)),
        littles_law: littles_law(figures, hours, open_mean),
    };
    let spans =
        Span::ALL.into_iter().filter_map(|span| Some((span.name().to_owned(), span_shown(figures, span)?)));
    let cycle_time = CycleTime {
        spans: spans.collect(),
        orders_without_impression: get(Measure::OrdersWithoutImpression),
        orders_unconfirmed: get(Measure::OrdersUnconfirmed),
        negative_spans: get(Measure::NegativeSpans),
    };
    let (_, scrapped) = figures.scrap();
    let reasons = SCRAP.iter().map(|(count, cost)| {
        let name = count.name().trim_start_matches("scrap_").to_owned();
        (name, ScrapReason { impressions: get(*count), cost_minor: minor(*cost) })
    });
    let scrap = Scrap {
        spend_minor: minor(Measure::SpendMicro),
        scrapped_minor: to_minor(scrapped, currency),
        rate_percent: percent(scrapped, get(Measure::SpendMicro)),
        reasons: reasons.collect(),
        unpriced_touches: get(Measure::UnpricedTouches),
        unpriced_orders: get(Measure::UnpricedOrders),
    };
    let counts = Measure::ALL.iter().map(|measure| (measure.name().to_owned(), get(*measure)));
    let counts = counts.filter(|(_, count)| *count != 0).collect();
    LineFigures { throughput, cycle_time, scrap, counts }
}

/// Journeys under way at the mean over the ends of the hours. `figures` reach back to before the longest of them.
pub(crate) fn open_journeys<'f>(
    figures: impl Iterator<Item = (Place, &'f Figures)>,
    hours: &Range<i32>,
) -> f64 {
    let mut changes: BTreeMap<i32, i64> = BTreeMap::new();
    for (place, figures) in figures {
        let change = figures.get(Measure::JourneysBegun) - figures.get(Measure::JourneysEnded);
        *changes.entry(place.hour).or_default() += change;
    }
    let mut open: i64 = changes.range(..hours.start).map(|(_, change)| change).sum();
    let mut sum = 0.0;
    for hour in hours.clone() {
        open += changes.get(&hour).copied().unwrap_or_default();
        sum += open as f64;
    }
    sum / f64::from((hours.end - hours.start).max(1))
}

/// Millionths in minor units, rounded half away from zero.
fn to_minor(micro: i64, currency: Option<[u8; 3]>) -> i64 {
    let places = u32::from(currency.map_or(2, exponent)).min(6);
    let scale = 10_i64.pow(6 - places);
    (micro + (scale / 2) * micro.signum()) / scale
}

fn percent(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| 100.0 * part as f64 / whole as f64)
}

fn span_shown(figures: &Figures, span: Span) -> Option<SpanShown> {
    let spread = figures.span(span)?;
    Some(SpanShown {
        count: spread.count(),
        mean_ms: spread.mean()?,
        p50_ms: spread.quantile(500)?,
        p90_ms: spread.quantile(900)?,
        p99_ms: spread.quantile(990)?,
    })
}

fn littles_law(figures: &Figures, hours: f64, open_mean: Option<f64>) -> Option<LittlesLaw> {
    let cycle_mean_hours = figures.span(Span::Cycle)?.mean()? as f64 / MILLISECONDS_PER_HOUR;
    let begun_per_hour = figures.get(Measure::JourneysBegun) as f64 / hours.max(1.0);
    Some(LittlesLaw {
        open_mean: open_mean?,
        begun_per_hour,
        cycle_mean_hours,
        expected_open: begun_per_hour * cycle_mean_hours,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_rounded_to_minor_units_of_its_currency() {
        let table = [
            (1_234_567, Some(*b"EUR"), 123),
            (1_235_000, Some(*b"EUR"), 124),
            (-1_235_000, Some(*b"EUR"), -124),
            (1_500_000, Some(*b"JPY"), 2),
            (1_234_567, Some(*b"KWD"), 1_235),
            (1_234_567, None, 123),
        ];
        for (micro, currency, minor) in table {
            assert_eq!(to_minor(micro, currency), minor, "{micro} {currency:?}");
        }
    }

    #[test]
    fn journeys_under_way_are_those_that_began_and_did_not_end() {
        let mut all = Vec::new();
        for (hour, measure) in [
            (1, Measure::JourneysBegun),
            (3, Measure::JourneysEnded),
            (3, Measure::JourneysBegun),
            (4, Measure::JourneysEnded),
        ] {
            let mut figures = Figures::default();
            figures.add(measure, 1);
            all.push((Place { hour, campaign: 7 }, figures));
        }
        let open = |hours| open_journeys(all.iter().map(|(place, own)| (*place, own)), &hours);
        assert_eq!((open(2..5), open(0..2)), (2.0 / 3.0, 0.5));
    }
}
