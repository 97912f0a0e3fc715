//! The line told again, from its definitions alone: plain, slow, by brute force over everything that a person ever did.
//! It calls nothing of the library that it is held against.

use super::super::shard::Id;
use super::generate::{ATTENTION, BASE, DAY_US, Fact, Flaw, HOUR_US, Rules, What, campaign_name};
use model::event::{EventKind, OrderChange};
use std::collections::{BTreeMap, BTreeSet};

/// An hour and the name of a campaign.
pub type Where = (i64, String);

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Expected {
    pub counts: BTreeMap<(Where, String), i64>,
    /// In milliseconds, not sorted.
    pub spans: BTreeMap<(Where, String), Vec<u64>>,
}

impl Expected {
    fn add(&mut self, at: i64, campaign: &str, what: &str, more: i64) {
        if more != 0 {
            let place = (at.div_euclid(HOUR_US), campaign.to_owned());
            *self.counts.entry((place, what.to_owned())).or_default() += more;
        }
    }

    fn span(&mut self, at: i64, campaign: &str, what: &str, us: i64) {
        if us < 0 {
            self.add(at, campaign, "negative_spans", 1);
        } else {
            let place = (at.div_euclid(HOUR_US), campaign.to_owned());
            self.spans.entry((place, what.to_owned())).or_default().push((us / 1_000) as u64);
        }
    }
}

/// The node that a fact is put under: the most important identifier.
pub fn node(fact: &Fact) -> Id {
    *fact.ids.iter().min_by_key(|id| id.0).unwrap()
}

/// For every identifier the smallest one of the same person.
pub fn people(facts: &[Fact]) -> BTreeMap<Id, Id> {
    let mut person: BTreeMap<Id, Id> = facts.iter().flat_map(|fact| &fact.ids).map(|id| (*id, *id)).collect();
    loop {
        let mut quiet = true;
        for fact in facts {
            let least = fact.ids.iter().map(|id| person[id]).min().unwrap();
            for id in &fact.ids {
                quiet &= person[id] == least;
                person.insert(*id, least);
            }
        }
        if quiet {
            return person;
        }
    }
}

/// Micro-units of euros. Pounds are worth 1.2 and from the sixth day on 1.25, yen 0.0061; nobody knows of others.
pub fn euros(micro: i64, currency: &str, at: i64) -> Option<i64> {
    let billionths: i128 = match currency {
        "EUR" => return Some(micro),
        "GBP" if at < BASE + 5 * DAY_US => 1_200_000_000,
        "GBP" => 1_250_000_000,
        "JPY" => 6_100_000,
        _ => return None,
    };
    let exact = i128::from(micro) * billionths;
    let rounded = if exact < 0 {
        -((-exact + 500_000_000) / 1_000_000_000)
    } else {
        (exact + 500_000_000) / 1_000_000_000
    };
    i64::try_from(rounded).ok()
}

/// An order, as all reports together say it is.
struct Order {
    at: i64,
    owner: Id,
    /// Absent where no value counts: a browser's claim, or cancelled.
    cash: Option<Option<i64>>,
    undone: bool,
}

/// That a node reported something as bought.
struct Evidence {
    node: Id,
    order: u8,
    at: i64,
    products: Vec<(u8, u8)>,
}

fn reports(facts: &[Fact], wanted: u8, server: bool, changes: &[OrderChange]) -> Vec<Fact> {
    let fits = |fact: &&Fact| match &fact.what {
        What::Order { change, order, .. } => {
            *order == wanted && changes.contains(change) && fact.server == server
        }
        _ => false,
    };
    facts.iter().filter(fits).cloned().collect()
}

fn order(facts: &[Fact], number: u8) -> Option<Order> {
    use OrderChange::{Cancelled, Completed, Refunded, Updated};
    let by_server = reports(facts, number, true, &[Completed, Updated]);
    let by_browser = reports(facts, number, false, &[Completed]);
    let first = by_server.first().or(by_browser.first())?;
    let mut updates =
        by_server.iter().filter(|fact| matches!(fact.what, What::Order { change: Updated, .. }));
    let What::Order { value, currency, .. } = updates.next_back().unwrap_or(first).what.clone() else {
        return None;
    };
    let cancelled = !reports(facts, number, true, &[Cancelled]).is_empty()
        || (by_server.is_empty() && !reports(facts, number, false, &[Cancelled]).is_empty());
    let mut returned: BTreeMap<u8, (i64, &str, bool)> = BTreeMap::new();
    for server in [false, true] {
        for fact in reports(facts, number, server, &[Refunded]) {
            let What::Order { refund, value, currency, .. } = fact.what else { continue };
            returned.insert(refund, (value, currency, fact.counts));
        }
    }
    returned.retain(|_, (_, _, counts)| *counts);
    let minor = |wanted: &str| -> i64 {
        returned.values().filter(|(_, own, _)| *own == wanted).map(|(value, _, _)| value).sum()
    };
    let mut sums: BTreeMap<&str, i64> = returned.values().map(|(_, own, _)| (*own, -minor(own))).collect();
    *sums.entry(currency).or_default() += value;
    let micro = |own: &str, minor: i64| if own == "JPY" { minor * 1_000_000 } else { minor * 10_000 };
    let parts: Vec<Option<i64>> =
        sums.iter().map(|(own, minor)| euros(micro(own, *minor), own, first.at)).collect();
    let cash = parts.into_iter().sum::<Option<i64>>();
    let back = minor(currency);
    Some(Order {
        at: first.at,
        owner: node(first),
        cash: (first.counts && !cancelled).then_some(cash),
        undone: cancelled || (back > 0 && back >= value),
    })
}

fn evidence(facts: &[Fact], number: u8) -> Vec<Evidence> {
    use OrderChange::{Completed, Updated};
    let by_server = reports(facts, number, true, &[Completed, Updated]);
    let by_browser = reports(facts, number, false, &[Completed]);
    let nodes: BTreeSet<Id> = by_server.iter().chain(&by_browser).map(node).collect();
    let mut all = Vec::new();
    for own in nodes {
        let spoken: Vec<&Fact> = by_server.iter().filter(|fact| node(fact) == own).collect();
        let claimed = by_browser.iter().find(|fact| node(fact) == own);
        let first = spoken.first().copied().or(claimed).unwrap();
        let mut updates =
            spoken.iter().filter(|fact| matches!(fact.what, What::Order { change: Updated, .. }));
        let What::Order { products, .. } = &updates.next_back().copied().unwrap_or(first).what else {
            continue;
        };
        all.push(Evidence { node: own, order: number, at: first.at, products: products.clone() });
    }
    all
}

/// The places of `message 0`, `message 1` and so on in the order of their SHA-256, as another program counted them:
/// `sorted(range(128), key=lambda n: hashlib.sha256(f"message {n}".encode()).digest())` in Python, turned round.
const MESSAGE_RANKS: [u8; 128] = [
    58, 82, 63, 125, 15, 114, 42, 44, 53, 102, 85, 74, 78, 48, 117, 38, 7, 22, 59, 26, 89, 47, 95, 72, 67,
    64, 25, 76, 101, 29, 14, 56, 113, 90, 80, 0, 60, 91, 28, 84, 124, 57, 105, 106, 2, 83, 123, 103, 88, 37,
    115, 120, 35, 93, 65, 118, 1, 45, 96, 16, 34, 6, 66, 71, 86, 17, 110, 126, 75, 107, 111, 12, 119, 10, 50,
    97, 94, 81, 21, 116, 46, 122, 8, 39, 61, 4, 112, 127, 24, 23, 20, 3, 19, 30, 41, 77, 73, 52, 62, 108, 87,
    13, 92, 104, 100, 36, 54, 43, 51, 109, 9, 98, 27, 32, 70, 33, 99, 79, 121, 55, 69, 5, 18, 68, 40, 31, 11,
    49,
];

/// Where a thing is in the order of its instant: what it is, the campaign's name, the message.
type Rank = (i64, usize, &'static str, u8);

/// One thing that a person saw, clicked or opened, or a half hour on the site.
#[derive(Clone)]
struct Touch {
    at: i64,
    rank: Rank,
    node: Id,
    name: &'static str,
    campaign: &'static str,
    valid: bool,
}

struct Someone<'a> {
    rules: &'a Rules,
    facts: Vec<(usize, &'a Fact)>,
    touches: Vec<Touch>,
    evidence: Vec<&'a Evidence>,
    orders: Vec<(u8, &'a Order)>,
}

/// The figures that a stream comes to, whatever the order in which it arrives.
pub fn expected(facts: &[Fact], rules: &Rules) -> Expected {
    let mut all = Expected::default();
    let person = people(facts);
    let orders: Vec<(u8, Order)> =
        (0..8).filter_map(|number| Some((number, order(facts, number)?))).collect();
    let mut known: Vec<Evidence> = (0..8).flat_map(|number| evidence(facts, number)).collect();
    known.retain(|one| {
        let undone = orders.iter().any(|(number, order)| *number == one.order && order.undone);
        !(undone && rules.lifts)
    });
    let everybody: BTreeSet<Id> = person.values().copied().collect();
    for one in everybody {
        let own = |id: Id| person[&id] == one;
        let facts: Vec<_> = facts.iter().enumerate().filter(|(_, fact)| own(node(fact))).collect();
        let someone = Someone {
            rules,
            touches: touches(&facts, rules),
            facts,
            evidence: known.iter().filter(|one| own(one.node)).collect(),
            orders: orders.iter().filter(|(_, order)| own(order.owner)).map(|(n, o)| (*n, o)).collect(),
        };
        someone.attention(&mut all);
        someone.impressions(&mut all);
        someone.bought(&mut all);
    }
    all
}

fn touches(facts: &[(usize, &Fact)], rules: &Rules) -> Vec<Touch> {
    let mut all = Vec::new();
    let mut halves = BTreeSet::new();
    for (number, fact) in facts {
        if let What::Seen { name, campaign, flaw, .. } = &fact.what {
            all.push(Touch {
                at: fact.at,
                rank: rank(fact, *number),
                node: node(fact),
                name,
                campaign: campaign_name(*campaign),
                valid: !matches!(flaw, Flaw::Invalid | Flaw::Hidden | Flaw::NotRendered),
            });
        } else if rules.at(fact.at).sessions && !fact.server && fact.kind() != EventKind::Identify {
            halves.insert(fact.at.div_euclid(HOUR_US / 2));
        }
    }
    for half in halves {
        let at = half * HOUR_US / 2;
        let node = node(facts[0].1);
        let rank = (at, ATTENTION.len(), "", 0);
        all.push(Touch { at, rank, node, name: "session", campaign: "", valid: true });
    }
    all.sort_by_key(|touch| touch.rank);
    all
}

fn rank(fact: &Fact, number: usize) -> Rank {
    let What::Seen { name, campaign, .. } = fact.what else { panic!("{fact:?} is no touch") };
    let kind = ATTENTION.iter().position(|own| *own == name).unwrap();
    (fact.at, kind, campaign_name(campaign), MESSAGE_RANKS[number])
}

impl Someone<'_> {
    fn attention(&self, all: &mut Expected) {
        let mut days = BTreeSet::new();
        for touch in &self.touches {
            let what = match touch.name {
                "Ad Impression" => "impressions",
                "Ad Click" => "clicks",
                "Email Opened" => "mail_opens",
                "Email Link Clicked" => "mail_clicks",
                _ => "sessions",
            };
            all.add(touch.at, touch.campaign, what, 1);
            if touch.valid {
                days.insert(touch.at.div_euclid(DAY_US));
            }
        }
        for (_, fact) in &self.facts {
            if let What::Seen { campaign, .. } = fact.what {
                let (spent, unpriced) = cost(fact);
                all.add(fact.at, campaign_name(campaign), "spend_micro", spent);
                all.add(fact.at, campaign_name(campaign), "unpriced_touches", i64::from(unpriced));
            }
        }
        for day in &days {
            all.add(day * DAY_US, "", "people_with_attention", 1);
        }
        let paid: BTreeSet<i64> = self
            .orders
            .iter()
            .filter(|(_, order)| order.cash.is_some() && self.credited(order.at).is_some())
            .map(|(_, order)| order.at.div_euclid(DAY_US))
            .collect();
        for day in paid.intersection(&days) {
            all.add(day * DAY_US, "", "people_paid", 1);
        }
    }

    fn impressions(&self, all: &mut Expected) {
        for (number, fact) in &self.facts {
            let What::Seen { name: "Ad Impression", campaign, product, category, flaw, .. } = &fact.what
            else {
                continue;
            };
            let campaign = campaign_name(*campaign);
            let bought_ago = self.bought_ago(fact.at, *product, *category);
            if let Some(ago) = bought_ago {
                all.span(fact.at, campaign, "after_purchase", ago);
            }
            let before = |touch: &&Touch| {
                touch.name == "Ad Impression"
                    && touch.valid
                    && touch.campaign == campaign
                    && touch.rank < rank(fact, *number)
            };
            let earlier: Vec<&Touch> = self.touches.iter().filter(before).collect();
            let crowd =
                earlier.iter().filter(|touch| fact.at - touch.at < self.rules.at(fact.at).cap_us).count();
            let elsewhere = earlier.iter().any(|touch| {
                touch.node != node(fact) && fact.at - touch.at <= self.rules.at(fact.at).duplicate_us
            });
            let reason = if matches!(flaw, Flaw::Invalid | Flaw::Hidden | Flaw::NotRendered) {
                "scrap_invalid"
            } else if bought_ago.is_some() {
                "scrap_purchased"
            } else if crowd + 1 > self.rules.at(fact.at).cap as usize {
                "scrap_capped"
            } else if matches!(flaw, Flaw::SoldOut | Flaw::OutOfReach) {
                "scrap_unavailable"
            } else if self.withdrew(fact.at) {
                "scrap_unconsented"
            } else if elsewhere {
                "scrap_duplicate"
            } else {
                continue;
            };
            all.add(fact.at, campaign, reason, 1);
            all.add(fact.at, campaign, &format!("{reason}_micro"), cost(fact).0);
        }
    }

    fn bought_ago(&self, at: i64, product: Option<u8>, category: Option<u8>) -> Option<i64> {
        let hit = |one: &&&Evidence| {
            one.at + self.rules.at(at).grace_us < at
                && at < one.at + self.rules.suppress_us
                && (self.rules.everything
                    || one
                        .products
                        .iter()
                        .any(|(own, kind)| Some(*own) == product || Some(*kind) == category))
        };
        self.evidence.iter().filter(hit).map(|one| at - one.at).min()
    }

    /// The last word that counts: a browser's consent is none. Of several at one instant, a no is the last.
    fn withdrew(&self, at: i64) -> bool {
        let words = self.facts.iter().filter_map(|(_, fact)| match fact.what {
            What::Word(granted) if fact.at <= at && (fact.server || !granted) => Some((fact.at, !granted)),
            _ => None,
        });
        words.max().is_some_and(|(_, withdrawn)| withdrawn)
    }

    fn credited(&self, at: i64) -> Option<&Touch> {
        let last = |names: &[&str], window: i64| {
            let fits = |touch: &&Touch| {
                names.contains(&touch.name) && touch.valid && touch.at <= at && at - touch.at <= window
            };
            self.touches.iter().rfind(fits)
        };
        let rules = self.rules.at(at);
        last(&["Ad Click", "Email Link Clicked"], rules.click_us)
            .or_else(|| last(&["Ad Impression", "Email Opened"], rules.view_us))
            .or_else(|| last(&["session"], rules.click_us))
    }

    fn bought(&self, all: &mut Expected) {
        for (number, order) in &self.orders {
            let Some(cash) = order.cash else { continue };
            let credited = self.credited(order.at);
            let campaign = credited.map_or("", |touch| touch.campaign);
            all.add(order.at, campaign, "orders", 1);
            all.add(order.at, campaign, "unpriced_orders", i64::from(cash.is_none()));
            all.add(order.at, campaign, "cash_micro", cash.unwrap_or(0));
            if credited.is_some() {
                all.add(order.at, campaign, "orders_with_attention", 1);
                all.add(order.at, campaign, "cash_with_attention_micro", cash.unwrap_or(0));
            }
            self.journey(*number, order, campaign, all);
        }
    }

    fn first(&self, from: i64, to: i64, wanted: impl Fn(&Fact) -> bool) -> Option<i64> {
        let fits = |fact: &&Fact| wanted(fact) && fact.at >= from && fact.at <= to;
        self.facts.iter().map(|(_, fact)| *fact).filter(fits).map(|fact| fact.at).min()
    }

    fn journey(&self, number: u8, order: &Order, campaign: &str, all: &mut Expected) {
        let window = self.rules.at(order.at).click_us.max(self.rules.at(order.at).view_us);
        let shown = |touch: &&Touch, name: &str| touch.valid && touch.name == name && touch.at <= order.at;
        let impression = self
            .touches
            .iter()
            .filter(|touch| shown(touch, ATTENTION[0]) && order.at - touch.at <= window)
            .map(|touch| touch.at)
            .min();
        let Some(impression) = impression else {
            all.add(order.at, campaign, "orders_without_impression", 1);
            return;
        };
        // What the order before took with it is not this order's.
        let taken = self.orders.iter().filter(|(_, other)| other.cash.is_some() && other.at < order.at);
        let taken = taken.map(|(_, other)| other.at).max().unwrap_or(i64::MIN);
        let own = |at: i64| at >= impression && at > taken && at <= order.at;
        let steps = |what: What| -> Vec<i64> {
            let all = self.facts.iter().filter(|(_, fact)| fact.what == what && own(fact.at));
            all.map(|(_, fact)| fact.at).collect()
        };
        let (carts, pays) = (steps(What::Cart), steps(What::Pay));
        let paid_last = pays.iter().max().copied().unwrap_or(order.at);
        let cart = carts.into_iter().filter(|at| *at <= paid_last).max();
        let pay = pays.into_iter().filter(|at| cart.is_none_or(|cart| *at >= cart)).min();
        let next = cart.or(pay).unwrap_or(order.at);
        let clicks = self.touches.iter().filter(|touch| shown(touch, ATTENTION[1]) && own(touch.at));
        let click = clicks.map(|touch| touch.at).filter(|at| *at <= next).max();
        let reached = |wanted: bool| {
            self.first(i64::MIN, i64::MAX, |fact| {
                fact.server && fact.what == What::Confirmation { order: number, accepted: wanted }
            })
        };
        let (queued, accepted) = (reached(false), reached(true));
        for (name, from, to) in [
            ("impression_to_click", Some(impression), click),
            ("click_to_cart", click, cart),
            ("cart_to_pay", cart, pay),
            ("pay_to_capture", pay, Some(order.at)),
            ("capture_to_queued", Some(order.at), queued),
            ("queued_to_accepted", queued, accepted),
            ("cycle", Some(impression), accepted),
        ] {
            if let (Some(from), Some(to)) = (from, to) {
                all.span(order.at, campaign, name, to - from);
            }
        }
        match accepted {
            None => all.add(order.at, campaign, "orders_unconfirmed", 1),
            Some(accepted) if accepted >= impression => {
                all.add(impression, campaign, "journeys_begun", 1);
                all.add(accepted, campaign, "journeys_ended", 1);
            }
            Some(_) => {}
        }
    }
}

/// What a touch cost in micro-units of euros, and whether nobody knows. A cost that does not count is none.
fn cost(fact: &Fact) -> (i64, bool) {
    let What::Seen { cost: Some((micro, currency)), .. } = fact.what else { return (0, false) };
    if !fact.counts || micro == 0 {
        return (0, false);
    }
    match euros(micro, &currency.unwrap_or("").to_uppercase(), fact.at) {
        Some(micro) => (micro, false),
        None => (0, true),
    }
}
