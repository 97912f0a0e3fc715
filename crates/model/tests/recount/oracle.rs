//! The recount: what features and rules mean, written down once more in the plainest way, over the raw events.

use crate::generate::{CATEGORIES, COLORS, Filter, Metric, Property, Raw, Rule, Sort};
use std::collections::BTreeSet;

/// What a metric comes to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worth {
    Nothing,
    Number(i128),
    Text(String),
    Time(i64),
}

fn category(raw: &Raw, product: Option<usize>) -> Option<String> {
    let own = product.map(|index| CATEGORIES[raw.products[index].category]).filter(|name| !name.is_empty());
    own.map(str::to_owned).or_else(|| raw.category.map(|index| CATEGORIES[index].to_owned()))
}

fn price(raw: &Raw, product: Option<usize>) -> Option<i128> {
    let cents = match product {
        Some(index) => Some(raw.products[index].cents),
        None => raw.cents,
    };
    cents.map(|cents| i128::from(cents) * 10_000)
}

fn passes(filter: &Filter, raw: &Raw, product: Option<usize>) -> bool {
    match filter {
        Filter::Category(wanted) => category(raw, product).as_deref() == Some(CATEGORIES[*wanted]),
        Filter::NotCategory(wanted) => category(raw, product).as_deref() != Some(CATEGORIES[*wanted]),
        Filter::PriceOver(cents) => {
            price(raw, product).is_some_and(|price| price > i128::from(*cents) * 10_000)
        }
        Filter::QuantityIn(list) => product.is_some_and(|index| list.contains(&raw.products[index].quantity)),
        Filter::Color(wanted) => raw.color == Some(*wanted),
        Filter::HasColor => raw.color.is_some(),
        Filter::Both(one, two) => passes(one, raw, product) && passes(two, raw, product),
        Filter::Not(inner) => !passes(inner, raw, product),
    }
}

/// The ways to look at an event: as a whole, or at each of its products.
fn views(raw: &Raw, by_product: bool) -> Vec<Option<usize>> {
    if by_product && !raw.products.is_empty() {
        (0..raw.products.len()).map(Some).collect()
    } else {
        vec![None]
    }
}

fn passes_any(filter: Option<&Filter>, raw: &Raw) -> bool {
    filter.is_none_or(|filter| {
        views(raw, filter.names_products()).into_iter().any(|view| passes(filter, raw, view))
    })
}

fn counts(metric: &Metric, raw: &Raw, now: i64) -> bool {
    let in_window = metric.window.is_none_or(|(_, granule, granules)| {
        raw.at.div_euclid(granule) >= now.div_euclid(granule) - granules
    });
    raw.name == metric.event && in_window
}

/// Every value that the property has in events that count, with their times.
fn found(metric: &Metric, seen: &[Raw], now: i64) -> Vec<(i64, Worth)> {
    let mut found = Vec::new();
    for raw in seen.iter().filter(|raw| counts(metric, raw, now)) {
        let of_products = matches!(metric.property, Some(Property::Price | Property::Category));
        if !of_products {
            if passes_any(metric.filter.as_ref(), raw)
                && let Some(color) = raw.color
            {
                found.push((raw.at, Worth::Text(COLORS[color].to_owned())));
            }
            continue;
        }
        for view in views(raw, true) {
            if metric.filter.as_ref().is_some_and(|filter| !passes(filter, raw, view)) {
                continue;
            }
            let worth = match metric.property {
                Some(Property::Price) => price(raw, view).map(Worth::Number),
                _ => category(raw, view).map(Worth::Text),
            };
            found.extend(worth.map(|worth| (raw.at, worth)));
        }
    }
    found
}

pub fn value(metric: &Metric, seen: &[Raw], now: i64) -> Worth {
    let events =
        seen.iter().filter(|raw| counts(metric, raw, now) && passes_any(metric.filter.as_ref(), raw));
    let found = found(metric, seen, now);
    let number = |worth: &(i64, Worth)| match worth.1 {
        Worth::Number(micro) => micro,
        _ => 0,
    };
    match metric.sort {
        Sort::Count => Worth::Number(events.count() as i128 * 1_000_000),
        Sort::FirstAt => events.map(|raw| raw.at).min().map_or(Worth::Nothing, Worth::Time),
        Sort::LastAt => events.map(|raw| raw.at).max().map_or(Worth::Nothing, Worth::Time),
        Sort::Sum => Worth::Number(found.iter().map(number).sum()),
        Sort::Min => found.iter().map(number).min().map_or(Worth::Nothing, Worth::Number),
        Sort::Max => found.iter().map(number).max().map_or(Worth::Nothing, Worth::Number),
        Sort::Distinct => {
            let different: BTreeSet<Worth> = found.into_iter().map(|(_, worth)| worth).collect();
            Worth::Number(different.len() as i128 * 1_000_000)
        }
        // Several products of one event have one time: then any of them may be it, see `among`.
        Sort::First | Sort::Last => among(metric.sort, &found),
    }
}

/// Of the earliest event's values the smallest, of the latest one's the largest: numbers by size, texts by their bytes.
fn among(sort: Sort, found: &[(i64, Worth)]) -> Worth {
    let key = |worth: &Worth| match worth {
        Worth::Number(micro) => (2, *micro, Vec::new()),
        Worth::Text(text) => (3, 0, text.as_bytes().to_vec()),
        _ => (0, 0, Vec::new()),
    };
    let keyed = found.iter().map(|(at, worth)| (*at, key(worth), worth.clone()));
    let chosen = if sort == Sort::First { keyed.min() } else { keyed.max() };
    chosen.map_or(Worth::Nothing, |(_, _, worth)| worth)
}

fn compare<T: PartialOrd>(sign: &str, one: Option<T>, two: Option<T>) -> bool {
    match (sign, one, two) {
        ("!=", Some(one), Some(two)) => one != two,
        ("!=", _, _) => true,
        ("==", Some(one), Some(two)) => one == two,
        ("<", Some(one), Some(two)) => one < two,
        ("<=", Some(one), Some(two)) => one <= two,
        (">", Some(one), Some(two)) => one > two,
        (">=", Some(one), Some(two)) => one >= two,
        _ => false,
    }
}

pub fn holds(rule: &Rule, seen: &[Raw], now: i64) -> bool {
    let time = |metric: &Metric| match value(metric, seen, now) {
        Worth::Time(at) => Some(at),
        _ => None,
    };
    match rule {
        Rule::Number(metric, sign, micro) => {
            let found = match value(metric, seen, now) {
                Worth::Number(found) => Some(found),
                _ => None,
            };
            compare(sign, found, Some(*micro))
        }
        Rule::Text(metric, sign, word) => {
            let found = match value(metric, seen, now) {
                Worth::Text(found) => Some(found),
                _ => None,
            };
            compare(sign, found, Some((*word).to_owned()))
        }
        Rule::Since(metric, sign, length) => compare(sign, time(metric).map(|at| now - at), Some(*length)),
        Rule::Order(one, sign, two) => compare(sign, time(one), time(two)),
        Rule::Funnel { steps, within, unless } => {
            let times = |name: usize, filter: Option<&Filter>| -> Vec<i64> {
                let of_step = seen.iter().filter(|raw| raw.name == name && passes_any(filter, raw));
                let times: BTreeSet<i64> = of_step.map(|raw| raw.at).collect();
                times.into_iter().rev().take(16).collect()
            };
            let steps: Vec<Vec<i64>> =
                steps.iter().map(|(name, filter)| times(*name, filter.as_ref())).collect();
            let broken = unless.map_or(Vec::new(), |name| times(name, None));
            steps[0].iter().any(|start| {
                let end = start + within.1;
                !broken.iter().any(|at| at >= start && *at <= end) && reaches(&steps[1..], *start, end)
            })
        }
        Rule::All(parts) => parts.iter().all(|part| holds(part, seen, now)),
        Rule::Any(parts) => parts.iter().any(|part| holds(part, seen, now)),
        Rule::Not(inner) => !holds(inner, seen, now),
        Rule::If(parts) => holds(if holds(&parts[0], seen, now) { &parts[1] } else { &parts[2] }, seen, now),
    }
}

/// Tries every way through the steps.
fn reaches(steps: &[Vec<i64>], after: i64, end: i64) -> bool {
    match steps.split_first() {
        None => true,
        Some((step, rest)) => step.iter().any(|at| *at > after && *at <= end && reaches(rest, *at, end)),
    }
}
