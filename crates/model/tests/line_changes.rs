//! Whatever is put into somebody's trails or taken out, figures change only from the day of it on. So it is enough to find
//! those again: the difference is the same as between all of before and all of after.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use model::id::{Key, Timestamp};
use model::line::{
    Bought, CampaignNames, Ledger, LineSettings, Milestone, Touch, TouchKind, Trail, Word, Worth,
    changed_from, reckon,
};
use model::suppression::Scope;
use proptest::prelude::*;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
const T: i64 = 20_000 * DAY;
/// Few instants, so that many things happen at the same one, and ends of windows are met.
const STEP: i64 = 6 * HOUR;

/// One change of one of two trails.
#[derive(Clone, Debug)]
enum Edit {
    Touch(Touch),
    Word(Word),
    Reach(Milestone),
    Buy(Bought),
    Unbuy(Key),
}

fn settings() -> LineSettings {
    LineSettings { currency: Some(*b"EUR"), frequency_cap: 2, sessions: true, ..LineSettings::default() }
}

fn at() -> impl Strategy<Value = Timestamp> {
    (0..60_i64).prop_map(|step| Timestamp(T + step * STEP))
}

fn touch() -> impl Strategy<Value = Touch> {
    let kinds = [
        TouchKind::Impression,
        TouchKind::Impression,
        TouchKind::Impression,
        TouchKind::Click,
        TouchKind::MailOpen,
        TouchKind::Session,
        TouchKind::Cart,
        TouchKind::Pay,
    ];
    let kind = prop::sample::select(kinds.to_vec());
    (at(), kind, 0..4_u64, 7..9_u64, 0..3_u64, 0..8_u8).prop_map(
        |(at, kind, id, campaign, product, flags)| {
            let is_step = matches!(kind, TouchKind::Session | TouchKind::Cart | TouchKind::Pay);
            Touch {
                at,
                kind,
                id: if is_step { 0 } else { id },
                source: u32::from(!is_step),
                campaign: if is_step { 0 } else { campaign },
                product: if is_step { Scope::EVERYTHING } else { Scope(product) },
                category: Scope::EVERYTHING,
                cost_micro: if is_step { 0 } else { 10 },
                unpriced: flags == 7,
                invalid: flags == 6,
                unavailable: flags == 5,
            }
        },
    )
}

fn order() -> impl Strategy<Value = Key> {
    (1..5_u128).prop_map(Key)
}

fn bought() -> impl Strategy<Value = Bought> {
    (order(), at(), 0..40_i64, 0..3_u64, any::<bool>(), 0..4_i64).prop_map(
        |(order, at, days, scope, lifted, value)| Bought {
            order,
            at,
            until: at.plus_us(days * DAY),
            scopes: Box::new([Scope(scope)]),
            lifted,
            value: (value > 0).then_some(if value == 1 { Worth::Unpriced } else { Worth::Micro(value) }),
        },
    )
}

fn edit() -> impl Strategy<Value = (usize, Edit)> {
    let what = prop_oneof![
        6 => touch().prop_map(Edit::Touch),
        1 => (at(), any::<bool>()).prop_map(|(at, is_withdrawn)| Edit::Word(Word { at, is_withdrawn })),
        2 => (order(), any::<bool>(), at())
            .prop_map(|(order, accepted, at)| Edit::Reach(Milestone { order, accepted, at })),
        3 => bought().prop_map(Edit::Buy),
        1 => order().prop_map(Edit::Unbuy),
    ];
    (0..2_usize, what)
}

fn apply(trails: &mut [Trail; 2], node: usize, edit: Edit) {
    match edit {
        Edit::Touch(touch) => trails[node].touch(touch),
        Edit::Word(word) => trails[node].say(word),
        Edit::Reach(milestone) => trails[node].reach(milestone),
        Edit::Buy(bought) => trails[node].buy(bought),
        Edit::Unbuy(order) => trails[node].unbuy(order),
    }
}

/// The first instant that an edit is about.
fn first_at(trails: &[Trail; 2], node: usize, edit: &Edit) -> Option<Timestamp> {
    let known = |trail: &Trail, order: Key| trail.bought(order).map(|own| own.at);
    match edit {
        Edit::Touch(touch) => Some(touch.at),
        Edit::Word(word) => Some(word.at),
        Edit::Reach(own) => trails.iter().filter_map(|trail| known(trail, own.order)).min(),
        Edit::Buy(own) => Some(known(&trails[node], own.order).map_or(own.at, |before| before.min(own.at))),
        Edit::Unbuy(order) => known(&trails[node], *order),
    }
}

fn figures(trails: &[Trail; 2], from: Timestamp) -> Ledger {
    let names = CampaignNames::from([(7, "spring".into()), (8, "autumn".into())]);
    reckon(&[&trails[0], &trails[1]], &settings(), &names, from)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_happened_changes_nothing_before_its_day(
        before in prop::collection::vec(edit(), 0..40),
        (node, edit) in edit(),
    ) {
        let mut trails = [Trail::default(), Trail::default()];
        for (node, edit) in before {
            apply(&mut trails, node, edit);
        }
        let first = first_at(&trails, node, &edit);
        let always = Timestamp(i64::MIN);
        let (all, own) = (figures(&trails, always), first.map(|first| figures(&trails, changed_from(first))));
        apply(&mut trails, node, edit);
        let mut all_of_it = figures(&trails, always);
        all_of_it.merge(&all, -1);
        let mut found = Ledger::default();
        if let (Some(first), Some(own)) = (first, own) {
            found = figures(&trails, changed_from(first));
            found.merge(&own, -1);
        }
        prop_assert_eq!(found, all_of_it);
    }
}
