//! Random events, aggregates and rules, each with its text.

use model::event::{Event, EventKind, Identifiers, Product};
use model::id::{Key, Timestamp};
use proptest::prelude::*;

pub const MINUTE: i64 = 60_000_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;
const START: i64 = 1_750_000_020_000_000;

pub const EVENTS: [&str; 3] = ["Product Viewed", "Product Added", "Order Completed"];
pub const CATEGORIES: [&str; 3] = ["shoes", "hats", ""];
pub const COLORS: [&str; 3] = ["red", "blue", "grün \"hell\""];

#[derive(Clone, Debug)]
pub struct RawProduct {
    pub category: usize,
    pub cents: i64,
    pub quantity: u32,
}

#[derive(Clone, Debug)]
pub struct Raw {
    pub received: i64,
    pub at: i64,
    pub node: usize,
    pub name: usize,
    pub products: Vec<RawProduct>,
    pub category: Option<usize>,
    pub color: Option<usize>,
    pub cents: Option<i64>,
    pub json: String,
}

impl Raw {
    pub fn event(&self) -> Event<'_> {
        let products = self.products.iter().map(|product| Product {
            product_id: "p",
            category: CATEGORIES[product.category],
            quantity: product.quantity,
            price_minor: product.cents,
        });
        Event {
            kind: EventKind::Track,
            source: 1,
            from_server: true,
            value_counts: true,
            dedup_key: Key(1),
            message_id: "m",
            occurred_at: Timestamp(self.at),
            name: EVENTS[self.name],
            identifiers: Identifiers::default(),
            order: None,
            products: products.collect(),
            consent: Vec::new(),
            traits: b"",
            properties: self.json.as_bytes(),
            context: b"",
        }
    }
}

/// Seldom something, often nothing or little.
fn gap() -> impl Strategy<Value = i64> {
    prop_oneof![0..MINUTE, 0..HOUR, 0..2 * DAY, (0_i64..60).prop_map(|count| count * MINUTE)]
}

/// How far before its receipt an event lies: mostly not, sometimes late, sometimes ahead.
fn lag() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0), 2 => 0..2 * HOUR, 1 => 0..12 * DAY, 1 => -5 * MINUTE..0]
}

fn product() -> impl Strategy<Value = RawProduct> {
    (0_usize..3, -500_i64..20_000, 0_u32..4).prop_map(|(category, cents, quantity)| RawProduct {
        category,
        cents,
        quantity,
    })
}

pub fn raws(most: usize) -> impl Strategy<Value = Vec<Raw>> {
    let one = (
        (gap(), lag(), 0_usize..3, 0_usize..3, any::<bool>()),
        prop::collection::vec(product(), 0..3),
        prop::option::of(0_usize..3),
        prop::option::of(0_usize..3),
        prop::option::of(-500_i64..20_000),
    );
    // Half of the streams keep to whole minutes, so that instants meet the ends of granules, ages and funnels exactly.
    (prop::collection::vec(one, 1..most), prop::sample::select(vec![1, MINUTE])).prop_map(|(parts, step)| {
        let mut received = START;
        let mut raws: Vec<Raw> = Vec::new();
        for ((gap, lag, node, name, quoted), products, category, color, cents) in parts {
            received += gap / step * step;
            // No two at the same microsecond: which of those is first is not what is tested here.
            let mut at = received - lag / step * step;
            while raws.iter().any(|raw| raw.at == at) {
                at -= step;
            }
            let json = json(category, color, cents, quoted);
            raws.push(Raw { received, at, node, name, products, category, color, cents, json });
        }
        raws
    })
}

fn json(category: Option<usize>, color: Option<usize>, cents: Option<i64>, quoted: bool) -> String {
    let mut members = vec![r#""noise":[{"color":"none"},"}"]"#.to_owned()];
    if let Some(category) = category {
        members.push(format!("\"category\":\"{}\"", CATEGORIES[category]));
    }
    if let Some(color) = color {
        members.push(format!(" \"color\" : \"{}\"", COLORS[color].replace('"', "\\\"")));
    }
    if let Some(cents) = cents {
        let quote = if quoted { "\"" } else { "" };
        members.push(format!("\"price\":{quote}{}{quote}", decimal(i128::from(cents) * 10_000)));
    }
    format!("{{{}}}", members.join(","))
}

/// Micro-units as a decimal number.
pub fn decimal(micro: i128) -> String {
    let sign = if micro < 0 { "-" } else { "" };
    format!("{sign}{}.{:06}", micro.abs() / 1_000_000, micro.abs() % 1_000_000)
}

#[derive(Clone, Debug)]
pub enum Filter {
    Category(usize),
    NotCategory(usize),
    PriceOver(i64),
    QuantityIn(Vec<u32>),
    Color(usize),
    HasColor,
    Both(Box<Filter>, Box<Filter>),
    Not(Box<Filter>),
}

impl Filter {
    pub fn text(&self) -> String {
        match self {
            Self::Category(category) => format!("category == \"{}\"", CATEGORIES[*category]),
            Self::NotCategory(category) => format!("\"{}\" != category", CATEGORIES[*category]),
            Self::PriceOver(cents) => format!("price > {}", decimal(i128::from(*cents) * 10_000)),
            Self::QuantityIn(list) => {
                let list: Vec<String> = list.iter().map(u32::to_string).collect();
                format!("quantity in [{}]", list.join(", "))
            }
            Self::Color(color) => {
                format!("properties[\"color\"] == \"{}\"", COLORS[*color].replace('"', "\\\""))
            }
            Self::HasColor => "has(properties.color)".to_owned(),
            Self::Both(one, two) => format!("({}) && {}", one.text(), two.text()),
            Self::Not(inner) => format!("!({})", inner.text()),
        }
    }

    pub fn names_products(&self) -> bool {
        match self {
            Self::Category(_) | Self::NotCategory(_) | Self::PriceOver(_) | Self::QuantityIn(_) => true,
            Self::Color(_) | Self::HasColor => false,
            Self::Both(one, two) => one.names_products() || two.names_products(),
            Self::Not(inner) => inner.names_products(),
        }
    }
}

fn filters() -> impl Strategy<Value = Filter> {
    let leaf = prop_oneof![
        (0_usize..3).prop_map(Filter::Category),
        (0_usize..3).prop_map(Filter::NotCategory),
        (0_i64..20_000).prop_map(Filter::PriceOver),
        prop::collection::vec(0_u32..4, 1..3).prop_map(Filter::QuantityIn),
        (0_usize..3).prop_map(Filter::Color),
        Just(Filter::HasColor),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, two)| Filter::Both(one.into(), two.into())),
            inner.prop_map(|one| Filter::Not(one.into())),
        ]
    })
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sort {
    Count,
    Sum,
    Min,
    Max,
    First,
    Last,
    Distinct,
    FirstAt,
    LastAt,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Property {
    Price,
    Category,
    Color,
}

#[derive(Clone, Debug)]
pub struct Metric {
    pub sort: Sort,
    pub event: usize,
    pub property: Option<Property>,
    /// Text, granule, granules.
    pub window: Option<(&'static str, i64, i64)>,
    pub filter: Option<Filter>,
}

impl Metric {
    pub fn text(&self) -> String {
        let name = match self.sort {
            Sort::Count => "count",
            Sort::Sum => "sum",
            Sort::Min => "min",
            Sort::Max => "max",
            Sort::First => "first",
            Sort::Last => "last",
            Sort::Distinct => "distinct",
            Sort::FirstAt => "first_at",
            Sort::LastAt => "last_at",
        };
        let mut text = format!("{name}('{}'", EVENTS[self.event]);
        match self.property {
            Some(Property::Price) => text.push_str(", 'price'"),
            Some(Property::Category) => text.push_str(", 'category'"),
            Some(Property::Color) => text.push_str(", 'properties.color'"),
            None => {}
        }
        if let Some((window, ..)) = self.window {
            text.push_str(&format!(", '{window}'"));
        }
        if let Some(filter) = &self.filter {
            text.push_str(&format!(", {}", filter.text()));
        }
        text + ")"
    }
}

fn windows() -> impl Strategy<Value = Option<(&'static str, i64, i64)>> {
    prop::sample::select(vec![
        None,
        Some(("10m", MINUTE, 10)),
        Some(("1h", 2 * MINUTE, 30)),
        Some(("1d", HOUR, 24)),
        Some(("1w", 6 * HOUR, 28)),
        Some(("14d", 12 * HOUR, 28)),
    ])
}

fn sorts() -> impl Strategy<Value = (Sort, Option<Property>)> {
    use Property::{Category, Color, Price};
    prop_oneof![
        2 => Just((Sort::Count, None)),
        1 => prop::sample::select(vec![(Sort::FirstAt, None), (Sort::LastAt, None)]),
        1 => (prop::sample::select(vec![Sort::Sum, Sort::Min, Sort::Max]), Just(Some(Price))),
        1 => (
            prop::sample::select(vec![Sort::First, Sort::Last, Sort::Distinct]),
            prop::sample::select(vec![Some(Price), Some(Category), Some(Color)]),
        ),
    ]
}

fn metric() -> impl Strategy<Value = Metric> {
    (sorts(), 0_usize..3, windows(), prop::option::of(filters())).prop_map(
        |((sort, property), event, window, filter)| Metric { sort, event, property, window, filter },
    )
}

pub fn metrics() -> impl Strategy<Value = Vec<Metric>> {
    prop::collection::vec(metric(), 1..5)
}

#[derive(Clone, Debug)]
pub enum Rule {
    /// A number metric, an operator, micro-units.
    Number(Metric, &'static str, i128),
    /// A text metric and the color or category it is compared with.
    Text(Metric, &'static str, &'static str),
    /// An instant metric, an operator, microseconds.
    Since(Metric, &'static str, i64),
    /// Two instant metrics.
    Order(Metric, &'static str, Metric),
    Funnel {
        steps: Vec<(usize, Option<Filter>)>,
        within: (&'static str, i64),
        unless: Option<usize>,
    },
    All(Vec<Rule>),
    Any(Vec<Rule>),
    Not(Box<Rule>),
    /// Condition, then, else.
    If(Box<[Rule; 3]>),
}

impl Rule {
    pub fn text(&self) -> String {
        let joined = |parts: &[Self], sign: &str| {
            let parts: Vec<String> = parts.iter().map(|part| format!("({})", part.text())).collect();
            parts.join(sign)
        };
        match self {
            Self::Number(metric, sign, micro) => format!("{} {sign} {}", metric.text(), decimal(*micro)),
            Self::Text(metric, sign, text) => {
                format!("{} {sign} \"{}\"", metric.text(), text.replace('"', "\\\""))
            }
            Self::Since(metric, sign, length) => {
                format!("since({}) {sign} duration(\"{}s\")", metric.text(), length / 1_000_000)
            }
            Self::Order(one, sign, two) => format!("{} {sign} {}", one.text(), two.text()),
            Self::Funnel { steps, within, unless } => {
                let steps: Vec<String> = steps.iter().map(step).collect();
                let unless = unless.map_or(String::new(), |name| format!(", ['{}']", EVENTS[name]));
                format!("funnel([{}], '{}'{unless})", steps.join(", "), within.0)
            }
            Self::All(parts) => joined(parts, " && "),
            Self::Any(parts) => joined(parts, " || "),
            Self::Not(inner) => format!("!({})", inner.text()),
            Self::If(parts) => {
                format!("({}) ? ({}) : ({})", parts[0].text(), parts[1].text(), parts[2].text())
            }
        }
    }
}

fn step((name, filter): &(usize, Option<Filter>)) -> String {
    match filter {
        None => format!("\"{}\"", EVENTS[*name]),
        Some(filter) => format!("event(\"{}\", {})", EVENTS[*name], filter.text()),
    }
}

fn sign() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="])
}

fn instant() -> impl Strategy<Value = Metric> {
    (metric(), any::<bool>()).prop_map(|(metric, first)| Metric {
        sort: if first { Sort::FirstAt } else { Sort::LastAt },
        property: None,
        ..metric
    })
}

fn condition() -> impl Strategy<Value = Rule> {
    let numeric =
        |metric: &Metric| !matches!(metric.sort, Sort::First | Sort::Last | Sort::FirstAt | Sort::LastAt);
    let constant =
        prop_oneof![3 => (0_i128..4).prop_map(|n| n * 1_000_000), 1 => -5_000_000_i128..200_000_000];
    let text = (metric(), any::<bool>(), prop::sample::select(vec![Property::Category, Property::Color]));
    let text = text.prop_map(|(metric, first, property)| Metric {
        sort: if first { Sort::First } else { Sort::Last },
        property: Some(property),
        ..metric
    });
    let words = prop::sample::select(vec!["shoes", "hats", "", "red", "blue", "grün \"hell\""]);
    let length = prop_oneof![0_i64..120, 0_i64..400_000, 0_i64..3_000_000, (0_i64..300).prop_map(|m| m * 60)];
    let steps = prop::collection::vec((0_usize..3, prop::option::weighted(0.3, filters())), 2..4);
    let within = prop::sample::select(vec![("10m", 10 * MINUTE), ("6h", 6 * HOUR), ("3d", 3 * DAY)]);
    prop_oneof![
        4 => (metric().prop_filter("a number", numeric), sign(), constant)
            .prop_map(|(metric, sign, micro)| Rule::Number(metric, sign, micro)),
        1 => (text, sign(), words).prop_map(|(metric, sign, word)| Rule::Text(metric, sign, word)),
        2 => (instant(), prop::sample::select(vec!["<", "<=", ">", ">="]), length)
            .prop_map(|(metric, sign, seconds)| Rule::Since(metric, sign, seconds * 1_000_000)),
        1 => (instant(), sign(), instant()).prop_map(|(one, sign, two)| Rule::Order(one, sign, two)),
        2 => (steps, within, prop::option::of(0_usize..3))
            .prop_map(|(steps, within, unless)| Rule::Funnel { steps, within, unless }),
    ]
}

pub fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let rule = condition().prop_recursive(3, 8, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several.clone().prop_map(Rule::All),
            several.prop_map(Rule::Any),
            inner.clone().prop_map(|one| Rule::Not(one.into())),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(one, two, three)| Rule::If(Box::new([one, two, three]))),
        ]
    });
    prop::collection::vec(rule, 1..4)
}
