//! What has to be true of a shard at any moment, as functions of what can be seen: each promise stands here once. Those
//! of sending are in [`crate::outside::Books`].

use engage::{Decision, ProfileRead, View};
use model::id::{Key, Position, Timestamp};
use model::identity::Edge;
use std::collections::{BTreeMap, BTreeSet};

/// Promise 5: when a purchase is answered, the next decision about the buyer and the goods is "no".
pub fn suppressed_at_once(
    view: &View,
    buyer: Key,
    product: &str,
    category: &str,
    purchase: Position,
    now: Timestamp,
) -> Result<(), String> {
    let as_of = view.as_of();
    if as_of.next_position <= purchase {
        return Err(format!("promise 5: {purchase} is answered, and the view stands at {as_of:?}"));
    }
    match view.decide(&[buyer], product, category, now) {
        Decision::Suppressed(_) | Decision::Held(_) => Ok(()),
        decision => {
            Err(format!("promise 5: {buyer} bought {product} at {purchase}, and it says {decision:?}"))
        }
    }
}

/// Who said who is who, by the log.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Records of browsers.
    pub by_browsers: BTreeSet<Position>,
    /// What the shop's own records name together.
    pub by_shop: Vec<(Position, Vec<Key>)>,
}

impl Said {
    /// Whether nobody but browsers said so: the shop's own word may have come later.
    fn is_claim(&self, read: &ProfileRead, edge: &Edge) -> bool {
        let lookup = |node: Key| {
            let one = read.identifiers.iter().find(|one| one.node == node);
            one.and_then(|one| one.session_of).unwrap_or(node)
        };
        let (a, b) = (lookup(edge.a), lookup(edge.b));
        let confirms = |(at, named): &(Position, Vec<Key>)| {
            *at > edge.position && named.contains(&a) && named.contains(&b)
        };
        self.by_browsers.contains(&edge.position) && !self.by_shop.iter().any(confirms)
    }
}

/// Promise 11: what a browser said never joined two persons who were known before, and keeps nobody together whom an
/// operator parted.
pub fn browsers_unite_nobody(read: &ProfileRead, said: &Said) -> Result<(), String> {
    let claims = || read.edges.iter().filter(|edge| said.is_claim(read, edge));
    let positions: BTreeSet<Position> = claims().map(|edge| edge.position).collect();
    for at in positions {
        let mut groups: BTreeMap<Key, (Key, bool)> = BTreeMap::new();
        for one in &read.identifiers {
            let known = !one.kind.is_session() && one.session_of.is_none() && one.first_seen.position < at;
            groups.insert(one.node, (one.node, known));
        }
        for edge in read.edges.iter().filter(|edge| edge.position < at) {
            join(&mut groups, edge.a, edge.b);
        }
        for edge in read.edges.iter().filter(|edge| edge.position == at) {
            if join(&mut groups, edge.a, edge.b) && said.is_claim(read, edge) {
                return Err(format!("promise 11: a browser joined {} and {} at {at}", edge.a, edge.b));
            }
        }
    }
    Ok(())
}

/// Joins two groups; true if both of them were known persons.
fn join(groups: &mut BTreeMap<Key, (Key, bool)>, a: Key, b: Key) -> bool {
    let (Some((one, one_known)), Some((two, two_known))) = (groups.get(&a).copied(), groups.get(&b).copied())
    else {
        return false;
    };
    if one == two {
        return false;
    }
    for (group, known) in groups.values_mut() {
        if *group == one || *group == two {
            (*group, *known) = (one, one_known || two_known);
        }
    }
    one_known && two_known
}

/// A word about consent.
#[derive(Clone, Debug)]
pub struct Word {
    /// Under which node it was counted.
    pub node: Key,
    /// The shop's own word.
    pub from_server: bool,
    /// About what.
    pub category: String,
    /// Yes or no.
    pub granted: bool,
    /// When it was said, and where it stands in the log.
    pub said: (Timestamp, Position),
}

/// Promise 11: nobody agrees who refused later than the shop's own word says yes. What browsers claim loosens nothing.
/// Refusals up to `since` are not looked at: with somebody who was erased, their words went too.
pub fn consent_is_not_loosened(read: &ProfileRead, words: &[Word], since: Position) -> Result<(), String> {
    let nodes: BTreeSet<Key> = read.identifiers.iter().map(|one| one.node).collect();
    let of_person = || words.iter().filter(|word| nodes.contains(&word.node));
    let categories: BTreeSet<&str> = of_person().map(|word| word.category.as_str()).collect();
    for category in categories {
        let of_category = || of_person().filter(|word| word.category == category);
        let refusals = of_category().filter(|word| !word.granted && word.said.1 > since);
        let refused = refusals.map(|word| word.said).max();
        let grants = of_category().filter(|word| word.granted && word.from_server);
        let granted = grants.map(|word| word.said).max();
        let agrees = read.aggregate.consent.choice(category);
        if refused.is_some() && refused > granted && agrees != Some(false) {
            return Err(format!(
                "promise 11: {} refused {category} at {refused:?}, the shop said yes at {granted:?}, and it shows {agrees:?}",
                read.profile
            ));
        }
    }
    Ok(())
}
