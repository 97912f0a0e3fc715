use super::*;
use proptest::prelude::*;

fn purchase((order, at, scope, lifted): (u128, i64, u64, bool)) -> Purchase {
    Purchase {
        order: Key(order),
        at: Timestamp(at),
        until: Timestamp(at + 10),
        position: Position(order as u64),
        scopes: Box::new([Scope(scope), Scope(scope + 1)]),
        lifted,
        from_server: order % 2 == 0,
    }
}

#[test]
fn the_greatest_order_is_kept_whole() {
    let names: Vec<String> = (0..MAX_PRODUCTS).map(|number| format!("p{number}")).collect();
    let product = |name| Product { product_id: name, category: name, quantity: 1, price_minor: 1 };
    let products: Vec<Product<'_>> = names.iter().map(|name| product(name.as_str())).collect();
    let settings = SuppressionSettings { everything: true, ..SuppressionSettings::default() };
    let scopes = settings.scopes(&products);
    assert_eq!(scopes.len(), MAX_PURCHASE_SCOPES);
    let order = Purchase { scopes, from_server: true, ..purchase((0, 0, 1, false)) };
    let mut purchases = Purchases::default();
    assert!(purchases.put(order.clone(), Timestamp(0)).is_empty());
    let mut active = ActiveSet::default();
    active.add_purchase(&order, Timestamp(0));
    assert_eq!(active.scopes.len(), MAX_PURCHASE_SCOPES);
}

#[test]
fn claims_take_no_room_from_a_server() {
    let of = |order: u128, from_server| Purchase {
        scopes: Box::new([Scope(order as u64)]),
        at: Timestamp(order as i64),
        until: Timestamp(1_000_000 + order as i64),
        from_server,
        ..purchase((order, 0, 1, false))
    };
    let (mut purchases, mut active) = (Purchases::default(), ActiveSet::default());
    let first = of(1, true);
    purchases.put(first.clone(), Timestamp(0));
    active.add_purchase(&first, Timestamp(0));
    for order in 2..MAX_ACTIVE as u128 * 2 {
        let claim = of(order, false);
        purchases.put(claim.clone(), Timestamp(0));
        active.add_purchase(&claim, Timestamp(0));
    }
    assert_eq!(purchases.0.len(), MAX_PURCHASES);
    assert_eq!(purchases.0[0], first);
    assert_eq!(active.scopes.len(), MAX_ACTIVE + 1);
    assert!(active.find(&[Scope(1)], Timestamp(5)).is_some_and(|found| found.from_server));
    for order in 0..MAX_PURCHASES as u128 {
        purchases.put(of(1_000_000 + order, true), Timestamp(0));
    }
    assert_eq!(purchases.put(of(7, false), Timestamp(0)), [of(7, false)], "the claim itself made room");
    assert!(purchases.0.iter().all(|own| own.from_server));
}

/// What happens to the purchases of a few nodes of one profile.
#[derive(Clone, Debug)]
enum Step {
    Buy { node: usize, order: u128, scopes: Vec<u64>, lasts: i64, from_server: bool },
    Lift { order: u128, lifted: bool },
    Wait(i64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let buy = (0_usize..4, 0_u128..30, prop::collection::btree_set(1_u64..12, 0..4), 1_i64..40);
    prop_oneof![
        8 => (buy, any::<bool>()).prop_map(|((node, order, scopes, lasts), from_server)| Step::Buy {
            node, order, scopes: scopes.into_iter().collect(), lasts, from_server,
        }),
        1 => (0_u128..30, any::<bool>()).prop_map(|(order, lifted)| Step::Lift { order, lifted }),
        2 => (0_i64..15).prop_map(Step::Wait),
    ]
}

fn computed_anew(nodes: &[Purchases], now: Timestamp, most: usize) -> ActiveSet {
    let mut fresh = ActiveSet::default();
    for one in nodes.iter().flat_map(|node| &node.0) {
        fresh.add_purchase_within(one, now, most);
    }
    fresh
}

proptest! {
    /// Two profiles of two nodes each, with limits that are reached all the time; they become one at the end.
    #[test]
    fn keeping_up_to_date_is_computing_anew(
        steps in prop::collection::vec(any_step(), 0..60), most in 1_usize..6, most_purchases in 1_usize..6, most_scopes in 4_usize..12,
    ) {
        let mut nodes: [Purchases; 4] = Default::default();
        let mut profiles = [ActiveSet::default(), ActiveSet::default()];
        let mut now = Timestamp(0);
        for (position, step) in steps.into_iter().enumerate() {
            match step {
                Step::Buy { node, order, scopes, lasts, from_server } => {
                    let one = Purchase {
                        order: Key(order),
                        at: now,
                        until: now.plus_us(lasts),
                        position: Position(position as u64),
                        scopes: scopes.into_iter().map(Scope).collect(),
                        lifted: false,
                        from_server,
                    };
                    let known = nodes[node].0.iter().any(|own| own.order == one.order);
                    let dropped = nodes[node].put_within(one.clone(), now, most_purchases, most_scopes);
                    let own = node / 2;
                    let before = profiles[own].clone();
                    let rest = nodes[own * 2..own * 2 + 2].iter().flat_map(|node| &node.0);
                    let difference = match known || dropped.contains(&one) {
                        true => None,
                        false => profiles[own].replace_within(&one, &dropped, rest, now, most),
                    };
                    if let Some(difference) = difference {
                        let mut copy = before.clone();
                        copy.apply(&difference);
                        prop_assert_eq!(&copy, &profiles[own]);
                        let started = profiles[own].beyond(&before);
                        let started: Vec<_> = started.iter().map(|one| (one.scope, one.until)).collect();
                        let ended: Vec<_> = before.beyond(&profiles[own]).iter().map(|one| one.scope).collect();
                        prop_assert_eq!(&difference.started, &started);
                        prop_assert_eq!(&difference.ended, &ended);
                    } else {
                        profiles[own] = computed_anew(&nodes[own * 2..own * 2 + 2], now, most);
                    }
                }
                Step::Lift { order, lifted } => {
                    nodes.iter_mut().for_each(|node| node.set_lifted(Key(order), lifted));
                    for own in 0..2 {
                        profiles[own] = computed_anew(&nodes[own * 2..own * 2 + 2], now, most);
                    }
                }
                Step::Wait(time) => now = now.plus_us(time),
            }
            for (own, active) in profiles.iter_mut().enumerate() {
                active.expire(now);
                prop_assert_eq!(&*active, &computed_anew(&nodes[own * 2..own * 2 + 2], now, most));
            }
            for node in &nodes {
                let scopes: usize = node.0.iter().map(|one| one.scopes.len()).sum();
                prop_assert!(node.0.len() <= most_purchases && scopes <= most_scopes);
            }
        }
        let [mut one, mut two] = profiles;
        let again = two.clone();
        two.union_within(&one, most);
        one.union_within(&again, most);
        prop_assert_eq!(&one, &two);
        prop_assert_eq!(&one, &computed_anew(&nodes, now, most));
    }
}

proptest! {
    #[test]
    fn who_is_suppressed_is_what_a_search_of_all_purchases_says(
        bought in prop::collection::vec((0_u128..40, 0_i64..40, 1_u64..9, any::<bool>()), 0..30), now in 0_i64..60, left: prop::sample::Index,
    ) {
        let purchases: Vec<_> = bought.into_iter().map(purchase).collect();
        let mut sides = [ActiveSet::default(), ActiveSet::default()];
        let cut = left.index(purchases.len() + 1);
        for (index, one) in purchases.iter().enumerate() {
            sides[usize::from(index < cut)].add_purchase(one, Timestamp(0));
        }
        let [one, two] = sides;
        let (mut forth, mut back) = (one.clone(), two.clone());
        forth.union(&two);
        back.union(&one);
        prop_assert_eq!(&forth, &back);
        forth.expire(Timestamp(now));
        for scope in 1..10 {
            let expected = purchases.iter().any(|one| {
                !one.lifted && one.until > Timestamp(now) && one.scopes.contains(&Scope(scope))
            });
            prop_assert_eq!(forth.find(&[Scope(scope)], Timestamp(now)).is_some(), expected);
        }
        let mut bytes = Vec::new();
        forth.encode(&mut Encoder(&mut bytes));
        Purchases(purchases.clone()).encode(&mut Encoder(&mut bytes));
        let mut decoder = Decoder::new(&bytes);
        prop_assert_eq!(ActiveSet::decode(&mut decoder), Ok(forth));
        prop_assert_eq!(Purchases::decode(&mut decoder), Ok(Purchases(purchases)));
    }
}
