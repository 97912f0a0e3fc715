//! Who is who, against batch connected components and against the naive telling of the rules.

use super::naive::{DAY_US, Naive};
use super::shard::{Bought, Happening, Id, Shard, browser, email, user};
use engage::{Operation, Parting, Reply};
use model::event::{IdentifierKind, OrderChange};
use model::id::Key;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn any_id() -> impl Strategy<Value = Id> {
    prop_oneof![
        3 => (0_u8..3).prop_map(user),
        3 => (0_u8..7).prop_map(email),
        1 => (0_u8..2).prop_map(|number| Id(IdentifierKind::PHONE, number)),
        3 => (0_u8..3).prop_map(browser),
        1 => (0_u8..2).prop_map(|number| Id(IdentifierKind::DEVICE_ID, number)),
    ]
}

fn any_bought() -> impl Strategy<Value = Bought> {
    let change = prop_oneof![
        4 => Just(OrderChange::Completed),
        1 => Just(OrderChange::Updated),
        1 => Just(OrderChange::Cancelled),
        2 => Just(OrderChange::Refunded),
    ];
    (change, 0_u8..4, 0_u8..3, 1_i64..100, prop::option::of(0_u8..3))
        .prop_map(|(change, order, refund, value, product)| Bought { change, order, refund, value, product })
}

pub fn any_happening() -> impl Strategy<Value = Happening> {
    let after = prop_oneof![8 => 1_i64..1_000, 1 => Just(10 * DAY_US), 1 => Just(31 * DAY_US)];
    let late =
        prop_oneof![6 => Just(0_i64), 1 => 0..20 * DAY_US, 1 => Just(-DAY_US), 1 => Just(900 * DAY_US)];
    (
        prop::collection::vec(any_id(), 1..5),
        any::<bool>(),
        prop::bool::weighted(0.1),
        prop::option::weighted(0.4, any_bought()),
        after,
        late,
    )
        .prop_map(|(ids, server, alias, bought, after_us, late_us)| Happening {
            alias,
            bought,
            after_us,
            late_us,
            ..Happening::of(&ids, server)
        })
}

#[derive(Clone, Debug)]
pub enum Act {
    Happen(Happening),
    Part(Id, Id),
}

pub fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        9 => any_happening().prop_map(Act::Happen),
        1 => (any_id(), any_id()).prop_map(|(a, b)| Act::Part(a, b)),
    ]
}

fn all_ids() -> Vec<Id> {
    let mut ids: Vec<Id> = (0..3).map(user).chain((0..7).map(email)).chain((0..3).map(browser)).collect();
    for number in 0..2 {
        ids.push(Id(IdentifierKind::PHONE, number));
        ids.push(Id(IdentifierKind::DEVICE_ID, number));
    }
    ids
}

/// Everything that can be seen of everybody is the same.
fn agree(shard: &mut Shard, naive: &Naive) -> Result<(), TestCaseError> {
    let mut names: BTreeMap<Key, Vec<String>> = BTreeMap::new();
    for id in all_ids() {
        let profile = shard.profile(id);
        let node = naive.stands_for(id);
        prop_assert_eq!(profile.is_some(), node.is_some(), "{:?}", id);
        let (Some(profile), Some(node)) = (profile, node) else { continue };
        let nodes = naive.nodes_of(&node);
        let former = names.entry(profile.profile).or_insert_with(|| nodes.clone());
        prop_assert_eq!(&*former, &nodes, "one profile, one person: {:?}", id);
        prop_assert_eq!(profile.identifiers.len(), nodes.len(), "{:?} {:?}", id, nodes);
        prop_assert_eq!(profile.aggregate.events as usize, naive.events_of(&node), "{:?}", id);
        let own = profile.aggregate.revenue.first();
        let revenue = own.map_or((0, 0, 0), |own| (own.orders, own.value_minor, own.refunded_minor));
        prop_assert_eq!(revenue, naive.revenue_of(&node), "revenue of {:?}", id);
        for product in 0..3 {
            let expected = naive.is_suppressed(&node, product, shard.now.0);
            prop_assert_eq!(shard.is_suppressed(id, product), expected, "{:?} for product {}", id, product);
        }
        if let Some(device) = profile.identifiers.iter().find(|one| one.node == id.key()) {
            prop_assert_eq!(device.shared, naive.is_shared(id), "{:?} shared", id);
        }
    }
    let people: BTreeSet<_> = names.values().collect();
    prop_assert_eq!(people.len(), names.len(), "one person, one profile");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_global_rejects: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_follows_the_rules_as_told_again(acts in prop::collection::vec(any_act(), 1..40)) {
        let (mut shard, mut naive) = (Shard::new(), Naive::default());
        for (index, act) in acts.iter().enumerate() {
            match act {
                Act::Happen(happening) => {
                    shard.happen(happening);
                    naive.happen(happening, shard.now.0);
                }
                Act::Part(a, b) => {
                    let reply = shard.command(Operation::Unmerge(Parting::Pair(a.key(), b.key())));
                    prop_assert_eq!(matches!(reply, Reply::Unmerged(_)), naive.part(*a, *b), "{:?}", reply);
                }
            }
            if index % 5 == 0 || index + 1 == acts.len() {
                agree(&mut shard, &naive)?;
            }
        }
    }

    /// No caps, conflicts or shared devices: persons are e-mail addresses (five at most), words are a server's, and
    /// every device is used with at most two of them.
    #[test]
    fn identity_is_connected_components(groups in prop::collection::vec(prop::collection::vec((0_u8..5, 0_u8..4, any::<bool>()), 1..4), 1..30)) {
        let mut shard = Shard::new();
        let mut parent: BTreeMap<Id, Id> = BTreeMap::new();
        fn find(parent: &BTreeMap<Id, Id>, mut id: Id) -> Id {
            while parent[&id] != id {
                id = parent[&id];
            }
            id
        }
        for group in &groups {
            // A device belongs to one address, or to nobody: no third taker.
            let ids: Vec<Id> = group.iter().map(|(person, device, named)| {
                if *named { email(*person) } else { browser(*person * 4 + *device) }
            }).collect();
            let persons: BTreeSet<_> = ids.iter().filter(|id| id.0 == IdentifierKind::EMAIL).collect();
            let strange = |id: &&Id| id.0 != IdentifierKind::EMAIL && !persons.is_empty() && !persons.contains(&email(id.1 / 4));
            let ids: Vec<Id> = ids.iter().filter(|id| !strange(id)).copied().collect();
            if ids.is_empty() {
                continue;
            }
            shard.happen(&Happening::of(&ids, true));
            for id in &ids {
                parent.entry(*id).or_insert(*id);
                let (a, b) = (find(&parent, ids[0]), find(&parent, *id));
                parent.insert(b, a);
            }
        }
        let ids: Vec<Id> = parent.keys().copied().collect();
        // The premise is checked, not assumed.
        prop_assume!(ids.iter().all(|id| shard.profile(*id).unwrap().identifiers.iter().all(|one| !one.shared && one.refusal_count == 0 && one.session_of.is_none())));
        for a in &ids {
            for b in &ids {
                let one = shard.profile(*a).unwrap().profile == shard.profile(*b).unwrap().profile;
                prop_assert_eq!(one, find(&parent, *a) == find(&parent, *b), "{:?} {:?}", a, b);
            }
        }
    }

    #[test]
    fn merging_and_parting_leaves_what_was_before(
        acts in prop::collection::vec(any_happening(), 1..25), a in any_id(), b in any_id(), buys in any::<bool>(),
    ) {
        let mut shard = Shard::new();
        acts.iter().for_each(|act| shard.happen(act));
        let person = |id: Id| !id.0.is_session();
        let (one, two) = (shard.profile(a), shard.profile(b));
        let (Some(one), Some(two)) = (one, two) else { return Ok(()) };
        prop_assume!(person(a) && person(b) && one.profile != two.profile);
        let mut joins = Happening::of(&[a, b], true);
        joins.alias = true;
        if buys {
            joins = joins.order(OrderChange::Completed, 200, 5);
        }
        shard.happen(&joins);
        let united = shard.profile(a).unwrap();
        prop_assume!(united.profile == shard.profile(b).unwrap().profile);
        let reply = shard.command(Operation::Unmerge(Parting::Pair(a.key(), b.key())));
        prop_assert!(matches!(&reply, Reply::Unmerged(parts) if parts.len() == 2), "{:?}", reply);
        // The joining event itself was aggregated under the more important of the two, and stays there.
        let anchor = if b.0 < a.0 { b } else { a };
        for (id, before) in [(a, one), (b, two)] {
            let after = shard.profile(id).unwrap();
            prop_assert_eq!(after.profile, before.profile);
            prop_assert_eq!(&after.identifiers, &before.identifiers);
            prop_assert_eq!(&after.edges, &before.edges);
            prop_assert!(after.parted.len() > before.parted.len());
            if id != anchor {
                prop_assert_eq!(&after.aggregate, &before.aggregate);
                prop_assert_eq!(after.suppressed.scopes(), before.suppressed.scopes());
            } else {
                prop_assert_eq!(after.aggregate.events, before.aggregate.events + 1);
            }
        }
        shard.happen(&Happening::of(&[a, b], true));
        prop_assert_ne!(shard.profile(a).unwrap().profile, shard.profile(b).unwrap().profile, "they stay parted");
    }
}
