//! The rules of identity, orders and suppression told again, from scratch and slowly: names are text, edges are a
//! list, a person is whatever a walk over that list reaches, and sums are made by reading everything again.

use super::shard::{Bought, Happening, Id};
use model::event::{IdentifierKind, OrderChange};
use std::collections::{BTreeMap, BTreeSet};

pub const DAY_US: i64 = 86_400_000_000;

fn name(id: Id) -> String {
    let kind = match id.0 {
        IdentifierKind::USER_ID => "1user",
        IdentifierKind::EMAIL => "2email",
        IdentifierKind::PHONE => "3phone",
        IdentifierKind::ANONYMOUS_ID => "8browser",
        IdentifierKind::DEVICE_ID => "9device",
        _ => "5other",
    };
    format!("{kind}:{}", id.1)
}

fn is_device(node: &str) -> bool {
    node.starts_with('8') || node.starts_with('9')
}

fn kind(node: &str) -> &str {
    node.split(':').next().unwrap()
}

#[derive(Clone)]
struct Edge {
    a: String,
    b: String,
    record: usize,
    /// No server has said so.
    claimed: bool,
}

impl Edge {
    fn joins(&self, a: &str, b: &str) -> bool {
        (self.a == a && self.b == b) || (self.a == b && self.b == a)
    }
}

/// Everybody whom a walk over the edges reaches.
fn reach(edges: &[Edge], node: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::from([node.to_owned()]);
    loop {
        let before = reached.len();
        for edge in edges {
            if reached.contains(&edge.a) || reached.contains(&edge.b) {
                reached.insert(edge.a.clone());
                reached.insert(edge.b.clone());
            }
        }
        if reached.len() == before {
            return reached;
        }
    }
}

struct Report {
    node: String,
    server: bool,
    bought: Bought,
    at: i64,
    heard: i64,
    /// The person had reported the same order as bought.
    buyer: bool,
}

/// Everything that happened, with what was concluded from it at the time.
#[derive(Default)]
pub struct Naive {
    /// Node, record, rank within the record.
    seen: Vec<(String, usize, usize)>,
    edges: Vec<Edge>,
    parted: Vec<(String, String)>,
    /// Device, who, when. Only moments at which it carried somebody else's session.
    taken: Vec<(String, String, i64)>,
    shared: BTreeSet<String>,
    carries: BTreeMap<String, String>,
    counted: BTreeMap<String, usize>,
    reports: Vec<Report>,
    record: usize,
}

impl Naive {
    pub fn person(&self, node: &str) -> BTreeSet<String> {
        reach(&self.edges, node)
    }

    fn is_seen(&self, node: &str) -> bool {
        self.seen.iter().any(|(seen, _, _)| seen == node)
    }

    fn see(&mut self, node: &str, rank: usize) {
        if !self.is_seen(node) {
            self.seen.push((node.to_owned(), self.record, rank));
        }
    }

    /// Nodes of one person, oldest first.
    pub fn nodes_of(&self, node: &str) -> Vec<String> {
        let person = self.person(node);
        let mut nodes: Vec<_> = self.seen.iter().filter(|(seen, _, _)| person.contains(seen)).collect();
        nodes.sort_by_key(|(_, record, rank)| (*record, *rank));
        nodes.into_iter().map(|(node, _, _)| node.clone()).collect()
    }

    fn were_parted(&self, a: &str, b: &str) -> bool {
        self.parted.iter().any(|(x, y)| (x == a && y == b) || (x == b && y == a))
    }

    fn known_before(&self, people: &BTreeSet<String>, when: usize) -> bool {
        self.seen.iter().any(|(node, record, _)| *record < when && people.contains(node) && !is_device(node))
    }

    fn try_join(&mut self, a: &str, b: &str, server: bool, alias: bool) -> bool {
        let (left, right) = (self.person(a), self.person(b));
        if left.contains(b) {
            if let Some(there) = self.edges.iter_mut().find(|edge| edge.joins(a, b)) {
                there.claimed &= !server;
            } else if !self.were_parted(a, b) {
                self.add_edge(a, b, server);
            }
            return true;
        }
        if left.iter().any(|x| right.iter().any(|y| self.were_parted(x, y))) {
            return false;
        }
        if !server && self.known_before(&left, self.record) && self.known_before(&right, self.record) {
            return false;
        }
        for (of, cap) in [("1user", if alias { 5 } else { 1 }), ("2email", 5), ("3phone", 5)] {
            let count = |people: &BTreeSet<String>| people.iter().filter(|node| kind(node) == of).count();
            let (l, r) = (count(&left), count(&right));
            if l > 0 && r > 0 && l + r > cap {
                return false;
            }
        }
        self.add_edge(a, b, server);
        true
    }

    fn add_edge(&mut self, a: &str, b: &str, server: bool) {
        let (a, b, record) = (a.to_owned(), b.to_owned(), self.record);
        self.edges.push(Edge { a, b, record, claimed: !server });
    }

    fn session(&self, device: &str) -> String {
        self.carries.get(device).cloned().unwrap_or_else(|| device.to_owned())
    }

    fn identify(&mut self, person: &str, device: &str, server: bool, alias: bool, now: i64, rank: usize) {
        let session = self.session(device);
        if self.person(person).contains(&session) {
            self.try_join(person, &session, server, alias);
            return;
        }
        let mine = format!("{device}@{person}");
        let old = [device.to_owned(), mine.clone()];
        let returns = old.into_iter().find(|node| self.is_seen(node) && self.person(person).contains(node));
        self.taken.retain(|(taken, who, _)| taken != device || who != person);
        self.taken.push((device.to_owned(), person.to_owned(), now));
        let recent = self.taken.iter().filter(|(taken, _, at)| taken == device && *at > now - 30 * DAY_US);
        if recent.count() >= 3 {
            self.shared.insert(device.to_owned());
        }
        if let Some(node) = returns {
            self.carries.insert(device.to_owned(), node.clone());
            self.try_join(person, &node, server, alias);
            return;
        }
        if !self.shared.contains(device) {
            if self.try_join(person, &session, server, alias) {
                return;
            }
            if self.person(&session).iter().all(|node| is_device(node)) {
                return;
            }
        }
        self.see(&mine, 128 + rank);
        self.carries.insert(device.to_owned(), mine.clone());
        self.try_join(person, &mine, server, alias);
    }

    pub fn happen(&mut self, happening: &Happening, now: i64) {
        let mut names: Vec<String> = Vec::new();
        for id in &happening.ids {
            if !names.contains(&name(*id)) {
                names.push(name(*id));
            }
        }
        if happening.alias && !happening.server {
            names.truncate(1);
        } else {
            names.sort_by(|a, b| kind(a).cmp(kind(b)));
        }
        for (rank, node) in names.iter().enumerate() {
            self.see(node, rank);
        }
        let people: Vec<_> = names.iter().filter(|node| !is_device(node)).cloned().collect();
        let devices: Vec<_> = names.iter().filter(|node| is_device(node)).cloned().collect();
        let (server, alias) = (happening.server, happening.alias);
        let node = if let Some(anchor) = people.first().cloned() {
            for other in people.iter().skip(1) {
                self.try_join(&anchor, other, server, alias);
            }
            for (rank, device) in devices.iter().enumerate() {
                self.identify(&anchor, device, server, alias, now, rank);
            }
            anchor
        } else {
            let session = self.session(&devices[0]);
            for other in devices.iter().skip(1) {
                let theirs = self.session(other);
                if !self.shared.contains(&devices[0]) && !self.shared.contains(other) {
                    self.try_join(&session, &theirs, server, alias);
                }
            }
            session
        };
        *self.counted.entry(node.clone()).or_default() += 1;
        if let Some(bought) = happening.bought.clone() {
            let at = (now - happening.late_us).clamp(now - 400 * DAY_US, now + 300_000_000);
            let person = self.person(&node);
            let buyer = self.reports.iter().any(|report| {
                report.bought.order == bought.order
                    && matches!(report.bought.change, OrderChange::Completed | OrderChange::Updated)
                    && person.contains(&report.node)
            });
            self.reports.push(Report { node, server, bought, at, heard: now, buyer });
        }
        self.record += 1;
    }

    pub fn part(&mut self, a: Id, b: Id) -> bool {
        let (a, b) = (name(a), name(b));
        self.record += 1;
        let before = self.edges.len();
        self.edges.retain(|edge| !edge.joins(&a, &b));
        let parted = self.edges.len() < before;
        if parted {
            self.parted.push((a, b));
            self.doubt_claims();
        }
        parted
    }

    /// Tells from the first edge on which claims a browser could have made without what was parted.
    fn doubt_claims(&mut self) {
        let mut kept: Vec<Edge> = Vec::new();
        for edge in std::mem::take(&mut self.edges) {
            let (left, right) = (reach(&kept, &edge.a), reach(&kept, &edge.b));
            let apart = !left.contains(&edge.b);
            let known = self.known_before(&left, edge.record) && self.known_before(&right, edge.record);
            if !(apart && edge.claimed && known) {
                kept.push(edge);
            }
        }
        self.edges = kept;
    }

    /// The node that an identifier stands for.
    pub fn stands_for(&self, id: Id) -> Option<String> {
        let node = name(id);
        self.is_seen(&node).then(|| if is_device(&node) { self.session(&node) } else { node })
    }

    pub fn is_shared(&self, id: Id) -> bool {
        self.shared.contains(&name(id))
    }

    pub fn events_of(&self, node: &str) -> usize {
        self.person(node).iter().filter_map(|node| self.counted.get(node)).sum()
    }

    fn statements(&self, order: u8) -> Vec<&Report> {
        let states = |report: &&Report| {
            report.bought.order == order
                && matches!(report.bought.change, OrderChange::Completed | OrderChange::Updated)
        };
        let all: Vec<_> = self.reports.iter().filter(states).collect();
        if all.iter().any(|report| report.server) {
            all.into_iter().filter(|report| report.server).collect()
        } else {
            all
        }
    }

    /// Value if not cancelled, sum of refunds, all for nothing.
    fn worth(&self, order: u8) -> Option<(String, i64, i64, bool, bool)> {
        let statements = self.statements(order);
        let first = statements.first()?;
        let last = statements
            .iter()
            .enumerate()
            .rev()
            .find(|(at, report)| *at == 0 || report.bought.change == OrderChange::Updated);
        let value = last.unwrap().1.bought.value;
        let of = |change| {
            self.reports
                .iter()
                .filter(move |report| report.bought.order == order && report.bought.change == change)
        };
        let cancelled =
            of(OrderChange::Cancelled).any(|report| report.server || (report.buyer && !first.server));
        let mut refunded = 0;
        for refund in 0..=u8::MAX {
            // Only a server's refund counts in these tests: browser keys' values do not.
            let amount =
                of(OrderChange::Refunded).find(|report| report.bought.refund == refund && report.server);
            refunded += amount.map_or(0, |report| report.bought.value.abs());
        }
        let undone = cancelled || (refunded > 0 && refunded >= value);
        Some((first.node.clone(), value, refunded, cancelled || !first.server, undone))
    }

    /// Orders, value and refunds of a person.
    pub fn revenue_of(&self, node: &str) -> (i64, i64, i64) {
        let person = self.person(node);
        let mut sum = (0, 0, 0);
        for order in 0..=u8::MAX {
            let Some((owner, value, refunded, worthless, _)) = self.worth(order) else { continue };
            if person.contains(&owner) && !worthless {
                sum = (sum.0 + 1, sum.1 + value, sum.2 + refunded);
            }
        }
        sum
    }

    pub fn is_suppressed(&self, node: &str, product: u8, now: i64) -> bool {
        let person = self.person(node);
        (0..=u8::MAX).any(|order| {
            let Some((_, _, _, _, undone)) = self.worth(order) else { return false };
            !undone && person.iter().any(|node| self.evidence(node, order, product, now))
        })
    }

    /// Whether what a node reported of an order suppresses a product at `now`.
    fn evidence(&self, node: &str, order: u8, product: u8, now: i64) -> bool {
        // When, what, and whether a server has said so here.
        let mut bought: Option<(i64, Option<u8>, bool)> = None;
        let mut stated: Option<bool> = None;
        for report in self.reports.iter().filter(|report| report.bought.order == order) {
            let again = match report.bought.change {
                OrderChange::Completed => false,
                OrderChange::Updated => true,
                _ => continue,
            };
            let decides = match stated {
                None => true,
                Some(by_server) if report.server => !by_server || again,
                Some(by_server) => again && !by_server,
            };
            if decides {
                stated = Some(report.server);
            }
            if report.node != node {
                continue;
            }
            bought = match bought {
                None => Some((report.at, report.bought.product, report.server)),
                Some((at, former, false)) if report.server => {
                    // What is over by the server's first word leaves no products behind.
                    let former = former.filter(|_| at + 30 * DAY_US > report.heard);
                    Some((report.at, report.bought.product.or(former), true))
                }
                Some((at, former, server)) if decides => Some((at, report.bought.product.or(former), server)),
                kept => kept,
            };
        }
        bought.is_some_and(|(at, what, _)| what == Some(product) && at + 30 * DAY_US > now)
    }
}
