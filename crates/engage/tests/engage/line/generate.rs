//! Random streams of a few people with several identifiers each, in a form that both the machine and the oracle read.
//!
//! Who is who, and what an order is, depend in a few cases on what came first; those are other modules' rules. So that
//! the figures of a stream do not depend on its order, the streams keep to this:
//! - a device is used by one person only, and only a server says that a user and an e-mail address are one (a session
//!   that passes from hand to hand, and a browser's claim, are decided by what came before);
//! - an order's reports by the server arrive in one order among themselves, as the first says whose it is and when, and
//!   the last update what it is worth; everything else about the order may come between, before or after;
//! - browsers report one order under one node and at one time, do not update it, and cancel after they reported;
//! - a refund of one id has one amount by each hand;
//! - where suppression is short, updates name the same products, as an order that is over is not looked at again.

use super::super::shard::{Id, browser, email, user};
use model::event::{
    Consent, Event, EventKind, Identifier, IdentifierKind, Identifiers, OrderChange, OrderFact, Product,
};
use model::id::{Key, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;

pub const HOUR_US: i64 = 3_600_000_000;
pub const DAY_US: i64 = 24 * HOUR_US;
/// When streams begin: a midnight.
pub const BASE: i64 = 19_676 * DAY_US;
/// When the last event of a stream has happened.
pub const END: i64 = BASE + 10 * DAY_US;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    Invalid,
    Hidden,
    NotRendered,
    SoldOut,
    OutOfReach,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Shown, clicked, opened: one of [`ATTENTION`].
    Seen {
        name: &'static str,
        campaign: u8,
        product: Option<u8>,
        category: Option<u8>,
        /// In micro-units, and the currency.
        cost: Option<(i64, Option<&'static str>)>,
        flaw: Flaw,
    },
    Cart,
    Pay,
    Page,
    Order {
        change: OrderChange,
        order: u8,
        refund: u8,
        value: i64,
        currency: &'static str,
        products: Vec<(u8, u8)>,
    },
    Confirmation {
        order: u8,
        accepted: bool,
    },
    Word(bool),
    Link,
}

pub const ATTENTION: [&str; 4] = ["Ad Impression", "Ad Click", "Email Opened", "Email Link Clicked"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub ids: Vec<Id>,
    pub server: bool,
    pub counts: bool,
    pub at: i64,
    pub what: What,
}

/// What operators have set.
#[derive(Clone, Debug)]
pub struct Rules {
    pub view_us: i64,
    pub click_us: i64,
    pub cap: u32,
    pub cap_us: i64,
    pub duplicate_us: i64,
    pub grace_us: i64,
    pub sessions: bool,
    pub suppress_us: i64,
    pub everything: bool,
    pub lifts: bool,
    /// What holds for what happens from an instant on; suppression stays as it is.
    pub later: Option<(i64, Box<Rules>)>,
}

impl Rules {
    /// What holds for what happens at an instant.
    pub fn at(&self, at: i64) -> &Self {
        match &self.later {
            Some((since, later)) if at >= *since => later.at(at),
            _ => self,
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            view_us: DAY_US,
            click_us: 7 * DAY_US,
            cap: 10,
            cap_us: DAY_US,
            duplicate_us: DAY_US,
            grace_us: 0,
            sessions: false,
            suppress_us: 30 * DAY_US,
            everything: false,
            lifts: true,
            later: None,
        }
    }
}

pub fn app(number: u8) -> Id {
    Id(IdentifierKind::DEVICE_ID, number)
}

pub fn campaign_name(campaign: u8) -> &'static str {
    ["", "spring sale", "42", "Brand/Ünï"][usize::from(campaign)]
}

fn any_ids() -> impl Strategy<Value = Vec<Id>> {
    let person = prop_oneof![4 => Just(0_u8), 2 => Just(1), 1 => Just(2)];
    (person, 0_u8..14).prop_map(|(person, choice)| match choice {
        0..=2 => vec![browser(2 * person)],
        3 => vec![browser(2 * person + 1)],
        4 => vec![app(person)],
        5..=7 => vec![user(person)],
        8 => vec![user(person), browser(2 * person)],
        9 => vec![browser(2 * person + 1), user(person)],
        10 => vec![user(person), app(person)],
        11 => vec![email(person)],
        12 => vec![user(person), email(person)],
        _ => vec![browser(2 * person), app(person)],
    })
}

/// Mostly within two days and on a grid, so that ends of windows are met exactly and many things happen at one instant.
fn any_at() -> impl Strategy<Value = i64> {
    let jitter = prop_oneof![
        5 => Just(0_i64), 1 => Just(1_i64), 1 => Just(-1_i64), 1 => 0..HOUR_US, 1 => Just(HOUR_US / 2)
    ];
    (prop_oneof![2 => 1_i64..40, 3 => 18_i64..26], jitter)
        .prop_map(|(step, jitter)| BASE + step * DAY_US / 4 + jitter)
}

fn any_seen() -> impl Strategy<Value = What> {
    let name = prop_oneof![7 => Just(0_usize), 3 => Just(1), 1 => Just(2), 1 => Just(3)];
    let currency = prop_oneof![
        5 => Just(Some("EUR")), 3 => Just(Some("GBP")), 1 => Just(Some("usd")), 1 => Just(Some("JPY")),
        1 => Just(None), 1 => Just(Some("money")),
    ];
    let cost = prop::option::weighted(0.7, (prop_oneof![0_i64..3, 0_i64..50_000_000], currency));
    let flaw = prop_oneof![
        8 => Just(Flaw::None), 1 => Just(Flaw::Invalid), 1 => Just(Flaw::Hidden), 1 => Just(Flaw::NotRendered),
        1 => Just(Flaw::SoldOut), 1 => Just(Flaw::OutOfReach),
    ];
    let product = prop::option::weighted(0.5, 0_u8..3);
    let category = prop::option::weighted(0.2, 0_u8..2);
    let campaign = prop_oneof![4 => Just(1_u8), 1 => Just(0), 1 => Just(2), 1 => Just(3)];
    (name, campaign, product, category, cost, flaw).prop_map(
        |(name, campaign, product, category, cost, flaw)| What::Seen {
            name: ATTENTION[name],
            campaign,
            product,
            category,
            cost,
            flaw,
        },
    )
}

fn any_order() -> impl Strategy<Value = What> {
    let change = prop_oneof![
        6 => Just(OrderChange::Completed),
        1 => Just(OrderChange::Updated),
        1 => Just(OrderChange::Cancelled),
        2 => Just(OrderChange::Refunded),
    ];
    let currency = prop_oneof![5 => Just("EUR"), 2 => Just("GBP"), 1 => Just("JPY"), 1 => Just("USD")];
    let products = prop::collection::vec((0_u8..3, 0_u8..2), 1..3);
    (change, 0_u8..4, 0_u8..2, 0_i64..9_999, currency, products).prop_map(
        |(change, order, refund, value, currency, products)| What::Order {
            change,
            order,
            refund,
            value,
            currency,
            products,
        },
    )
}

fn any_what() -> impl Strategy<Value = What> {
    prop_oneof![
        18 => any_seen(),
        4 => Just(What::Cart),
        4 => Just(What::Pay),
        2 => Just(What::Page),
        7 => any_order(),
        7 => (0_u8..4, any::<bool>()).prop_map(|(order, accepted)| What::Confirmation { order, accepted }),
        2 => any::<bool>().prop_map(What::Word),
        2 => Just(What::Link),
    ]
}

pub fn any_rules() -> impl Strategy<Value = Rules> {
    let window =
        || prop_oneof![3 => Just(DAY_US), 1 => Just(DAY_US / 4), 1 => Just(0), 1 => Just(3 * DAY_US)];
    let click = prop_oneof![3 => Just(7 * DAY_US), 1 => Just(DAY_US / 2)];
    let grace = prop_oneof![2 => Just(0_i64), 1 => Just(DAY_US / 4)];
    let suppress = prop_oneof![2 => Just(30 * DAY_US), 1 => Just(2 * DAY_US), 1 => Just(HOUR_US)];
    let flags = (prop::bool::weighted(0.4), prop::bool::weighted(0.2), prop::bool::weighted(0.8));
    (
        (window(), click, prop_oneof![2 => Just(1_u32), 1 => Just(2), 1 => Just(3), 2 => Just(9)]),
        (window(), window(), grace),
        (suppress, flags),
    )
        .prop_map(
            |((view_us, click_us, cap), (cap_us, duplicate_us, grace_us), (suppress_us, flags))| Rules {
                view_us,
                click_us,
                cap,
                cap_us,
                duplicate_us,
                grace_us,
                sessions: flags.0,
                suppress_us,
                everything: flags.1,
                lifts: flags.2,
                later: None,
            },
        )
}

/// Rules that change once or twice on the way, now and then to what they were.
pub fn changing_rules() -> impl Strategy<Value = Rules> {
    let since = || (1_i64..39).prop_map(|step| BASE + step * DAY_US / 4);
    (any_rules(), (since(), any_rules()), prop::option::of((since(), prop::option::of(any_rules()))))
        .prop_map(|(first, (one, second), third)| {
            let suppression = |rules: Rules| Rules {
                suppress_us: first.suppress_us,
                everything: first.everything,
                lifts: first.lifts,
                ..rules
            };
            let third = third.filter(|(other, _)| *other > one);
            let third = third
                .map(|(other, rules)| (other, Box::new(suppression(rules.unwrap_or_else(|| first.clone())))));
            let second = Rules { later: third, ..suppression(second) };
            Rules { later: Some((one, Box::new(second))), ..first }
        })
}

/// See the module.
pub fn any_facts(most: usize) -> impl Strategy<Value = Vec<Fact>> {
    let fact = (any_ids(), any::<bool>(), prop::bool::weighted(0.5), any_at(), any_what());
    let fact = fact.prop_map(|(ids, server, counts, at, what)| Fact { ids, server, counts, at, what });
    prop::collection::vec(fact, 1..most).prop_map(|mut facts| {
        facts.iter_mut().for_each(settle);
        facts.sort_by_key(|fact| fact.at);
        agree(facts)
    })
}

/// The same facts within three instants, so that nearly everything happens together with something else.
pub fn crowded(mut facts: Vec<Fact>) -> Vec<Fact> {
    for fact in &mut facts {
        fact.at = BASE + DAY_US + (fact.at / HOUR_US) % 3 * DAY_US / 4;
    }
    agree(facts)
}

fn settle(fact: &mut Fact) {
    let named = fact.ids.iter().any(|id| id.0 == IdentifierKind::EMAIL);
    let confirms = matches!(fact.what, What::Confirmation { .. });
    fact.server |= (named && fact.ids.len() > 1) || (confirms && fact.counts);
    fact.counts |= fact.server;
    if let What::Order { change, .. } = &mut fact.what
        && *change == OrderChange::Updated
        && !fact.server
    {
        *change = OrderChange::Completed;
    }
}

/// Makes reports of one order by one hand agree; drops what browsers cancel before they reported it.
fn agree(facts: Vec<Fact>) -> Vec<Fact> {
    let mut claims: BTreeMap<u8, Fact> = BTreeMap::new();
    let mut refunds: BTreeMap<(u8, u8, bool), (i64, &'static str, bool)> = BTreeMap::new();
    let mut goods: BTreeMap<u8, Vec<(u8, u8)>> = BTreeMap::new();
    let mut kept = Vec::new();
    for mut fact in facts {
        let Fact { server, counts, what, .. } = &mut fact;
        if let What::Order { change, order, refund, value, currency, products } = what {
            let (change, order, server) = (*change, *order, *server);
            if change == OrderChange::Refunded {
                let first = refunds.entry((order, *refund, server)).or_insert((*value, currency, *counts));
                (*value, *currency, *counts) = *first;
            } else if change != OrderChange::Cancelled && server {
                goods.entry(order).or_insert_with(|| products.clone());
            } else if change == OrderChange::Completed {
                fact = claims.entry(order).or_insert(fact).clone();
            } else if !server {
                let Some(claim) = claims.get(&order) else { continue };
                fact.ids.clone_from(&claim.ids);
                fact.at = fact.at.max(claim.at);
            }
        }
        kept.push(fact);
    }
    kept.sort_by_key(|fact| fact.at);
    kept
}

/// With short suppression an order's reports by the server name the same products.
pub fn same_goods(facts: &mut [Fact]) {
    let mut goods: BTreeMap<u8, Vec<(u8, u8)>> = BTreeMap::new();
    for fact in facts.iter_mut().filter(|fact| fact.server) {
        if let What::Order {
            change: OrderChange::Completed | OrderChange::Updated, order, products, ..
        } = &mut fact.what
        {
            *products = goods.entry(*order).or_insert_with(|| products.clone()).clone();
        }
    }
}

/// The group of facts that keep their order among themselves.
fn group(fact: &Fact) -> Option<(u8, bool)> {
    let What::Order { change, order, .. } = &fact.what else { return None };
    match change {
        OrderChange::Completed | OrderChange::Updated => Some((*order, fact.server)),
        OrderChange::Cancelled if !fact.server => Some((*order, false)),
        _ => None,
    }
}

/// An order of arrival: as wished, but for what has to keep its own order.
pub fn arrange(facts: &[Fact], mut wished: Vec<usize>) -> Vec<usize> {
    let mut slots: BTreeMap<(u8, bool), Vec<usize>> = BTreeMap::new();
    for (slot, index) in wished.iter().enumerate() {
        if let Some(group) = group(&facts[*index]) {
            slots.entry(group).or_default().push(slot);
        }
    }
    for slots in slots.values() {
        let mut own: Vec<usize> = slots.iter().map(|slot| wished[*slot]).collect();
        own.sort_unstable();
        for (slot, index) in slots.iter().zip(own) {
            wished[*slot] = index;
        }
    }
    wished
}

impl Fact {
    pub fn new(ids: &[Id], at: i64, what: What) -> Self {
        Self { ids: ids.to_vec(), server: true, counts: true, at, what }
    }

    pub fn is_link(&self) -> bool {
        self.what == What::Link
    }

    pub fn name(&self) -> &'static str {
        match &self.what {
            What::Seen { name, .. } => name,
            What::Cart => "Product Added",
            What::Pay if self.at % 2 == 0 => "Checkout Started",
            What::Pay => "Payment Info Entered",
            What::Page => "Home",
            What::Order { change: OrderChange::Completed, .. } => "Order Completed",
            What::Order { change: OrderChange::Updated, .. } => "Order Updated",
            What::Order { change: OrderChange::Cancelled, .. } => "Order Cancelled",
            What::Order { change: OrderChange::Refunded, .. } => "Order Refunded",
            What::Confirmation { accepted: true, .. } => "Order Confirmation Accepted",
            What::Confirmation { accepted: false, .. } => "Order Confirmation Queued",
            What::Word(_) | What::Link => "",
        }
    }

    pub fn kind(&self) -> EventKind {
        match self.what {
            What::Page => EventKind::Page,
            What::Word(_) | What::Link => EventKind::Identify,
            _ => EventKind::Track,
        }
    }

    /// The stored event, as the door would hand it in. `number` is its identity.
    pub fn encode(&self, number: usize) -> Vec<u8> {
        self.encode_under(number, Key(1 << 100 | (number as u128 + 1)))
    }

    /// The same in an installation whose secret makes `dedup_key` of its message id.
    pub fn encode_under(&self, number: usize, dedup_key: Key) -> Vec<u8> {
        let message_id = format!("message {number}");
        let mut identifiers = Identifiers::default();
        for id in &self.ids {
            identifiers.push(Identifier { kind: id.0.0, key: id.key(), value: b"value" });
        }
        let (properties, context) = self.json(number);
        let texts = self.texts();
        let products = texts.goods.iter();
        let products = products.map(|(product_id, category)| Product {
            product_id,
            category,
            quantity: 1,
            price_minor: 1,
        });
        let order = match &self.what {
            What::Order { change, value, currency, .. } => {
                let currency = currency.as_bytes().try_into().unwrap();
                let change = *change;
                let (order_id, refund_id) = (texts.order.as_str(), texts.refund.as_str());
                Some(OrderFact { change, order_id, refund_id, value_minor: *value, currency })
            }
            _ => None,
        };
        let consent = match self.what {
            What::Word(granted) => vec![
                Consent { category: "Analytics", granted: !granted },
                Consent { category: "Advertising", granted },
            ],
            _ => Vec::new(),
        };
        let event = Event {
            kind: self.kind(),
            source: 1,
            from_server: self.server,
            value_counts: self.counts,
            dedup_key,
            message_id: &message_id,
            occurred_at: Timestamp(self.at),
            name: self.name(),
            identifiers,
            order,
            products: products.collect(),
            consent,
            traits: b"",
            properties: properties.as_bytes(),
            context: context.as_bytes(),
        };
        let mut body = Vec::new();
        event.encode(&mut body);
        body
    }

    fn texts(&self) -> Texts {
        let mut texts = Texts::default();
        match &self.what {
            What::Order { order, refund, products, .. } => {
                texts.order = format!("order {order}");
                texts.refund = format!("refund {refund}");
                texts.goods =
                    products.iter().map(|(product, category)| goods(*product, Some(*category))).collect();
            }
            What::Seen { product: Some(product), category, .. } => {
                texts.goods = vec![goods(*product, *category)];
            }
            _ => {}
        }
        texts
    }

    fn json(&self, number: usize) -> (String, String) {
        let mut fields: Vec<String> = Vec::new();
        let mut context = "{}".to_owned();
        match &self.what {
            What::Seen { campaign, product, category, cost, flaw, .. } => {
                match (*campaign, number % 2) {
                    (0, _) => {}
                    (2, _) => fields.push(r#""campaign_id":42"#.to_owned()),
                    (other, 0) => fields.push(format!(r#""campaign_id":"{}""#, campaign_name(other))),
                    (other, _) => {
                        context = format!(r#"{{"campaign":{{"name":"{}"}}}}"#, campaign_name(other))
                    }
                }
                let name = if number.is_multiple_of(3) { "sku" } else { "product_id" };
                fields.extend(product.map(|product| format!(r#""{name}":"product {product}""#)));
                fields.extend(category.map(|category| format!(r#""category":"category {category}""#)));
                if let Some((micro, currency)) = cost {
                    fields.push(format!(r#""cost":{}.{:06}"#, micro / 1_000_000, micro % 1_000_000));
                    fields.extend(currency.map(|code| format!(r#""currency":"{code}""#)));
                }
                fields.extend(match flaw {
                    Flaw::None => None,
                    Flaw::Invalid => Some(r#""invalid":true"#.to_owned()),
                    Flaw::Hidden => Some(r#""viewable":false"#.to_owned()),
                    Flaw::NotRendered => Some(r#""rendered":false"#.to_owned()),
                    Flaw::SoldOut => Some(r#""in_stock":false"#.to_owned()),
                    Flaw::OutOfReach => Some(r#""deliverable":false"#.to_owned()),
                });
            }
            What::Confirmation { order, .. } => fields.push(format!(r#""order_id":"order {order}""#)),
            _ => {}
        }
        (format!("{{{}}}", fields.join(",")), context)
    }
}

#[derive(Default)]
struct Texts {
    order: String,
    refund: String,
    goods: Vec<(String, String)>,
}

fn goods(product: u8, category: Option<u8>) -> (String, String) {
    (format!("product {product}"), category.map(|number| format!("category {number}")).unwrap_or_default())
}
