//! Uniting, parting, and the stored form.

use super::*;
use proptest::prelude::*;

fn member(node: u128, kind: IdentifierKind, position: u64) -> Member {
    let first_seen = FirstSeen { position: Position(position), ordinal: 0, at: Timestamp(position as i64) };
    Member { node: Key(node), lookup: Key(node), kind: kind.0, current: true, first_seen }
}

fn edge(a: u128, b: u128, position: u64) -> Edge {
    Edge {
        a: Key(a),
        b: Key(b),
        position: Position(position),
        message: Key(position.into()),
        kind: EdgeKind::Together,
        claimed: false,
        rules_version: 1,
    }
}

/// A chain of e-mail nodes `first..first + count`, each seen at the position of its number.
fn chain(first: u128, count: u128) -> Component {
    let mut component = Component::default();
    for node in first..first + count {
        component.members.push(member(node, IdentifierKind::EMAIL, node as u64));
        if node > first {
            component.add_edge(edge(node - 1, node, node as u64), true);
        }
    }
    component
}

proptest! {
    #[test]
    fn uniting_and_parting_gives_back_both_sides(left in 1_u128..6, right in 1_u128..6, at: prop::sample::Index, to: prop::sample::Index) {
        let (one, two) = (chain(1, left), chain(100, right));
        let (a, b) = (1 + at.index(left as usize) as u128, 100 + to.index(right as usize) as u128);
        let mut united = two.clone();
        united.absorb(one.clone());
        united.add_edge(edge(a, b, 200), true);
        prop_assert_eq!(united.clone().split().len(), 1);
        prop_assert!(united.part(Key(a), Key(b)));
        let mut parts = united.split();
        prop_assert_eq!(parts.len(), 2);
        for part in &mut parts {
            prop_assert!(part.is_parted(Key(a), Key(b)), "both sides remember it");
            part.tombstones.clear();
        }
        prop_assert_eq!(parts, vec![one, two]);
    }

    #[test]
    fn stored_components_read_back(left in 1_u128..6, right in 1_u128..6) {
        let mut component = chain(1, left);
        component.absorb(chain(50, right));
        component.tombstones.push((Key(1), Key(50)));
        component.members[0].lookup = Key(77);
        component.members[0].current = false;
        for edge in component.edges.iter_mut().step_by(2) {
            edge.claimed = true;
        }
        let mut bytes = Vec::new();
        component.encode(&mut Encoder(&mut bytes));
        let mut decoder = Decoder::new(&bytes);
        prop_assert_eq!(Component::decode(&mut decoder), Ok(component));
        prop_assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn nonsense_is_an_error_or_a_component(bytes: Vec<u8>) {
        let _ = Component::decode(&mut Decoder::new(&bytes));
    }
}

#[test]
fn who_may_unite() {
    let settings = IdentitySettings::default();
    let user = |node, position| Component::single(member(node, IdentifierKind::USER_ID, position));
    let server = Claim { from_server: true, alias: false, position: Position(10), now: Timestamp(10) };
    let browser = Claim { from_server: false, ..server };
    let alias = Claim { alias: true, ..server };
    let mut parted = chain(1, 1);
    parted.tombstones.push((Key(1), Key(50)));
    let session = Component::single(member(7, IdentifierKind::ANONYMOUS_ID, 2));
    let cases = [
        ("two people from a server", chain(1, 2), chain(50, 2), server, Ok(())),
        ("two people from a browser", chain(1, 2), user(3, 3), browser, Err(Reason::BrowserClaim)),
        ("a new id from a browser", chain(1, 2), user(3, 10), browser, Ok(())),
        ("a session from a browser", session, user(3, 3), browser, Ok(())),
        ("two unique ids", user(3, 3), user(4, 4), server, Err(Reason::UniqueConflict)),
        ("two unique ids by alias", user(3, 3), user(4, 4), alias, Ok(())),
        ("six e-mail addresses", chain(1, 3), chain(50, 3), server, Err(Reason::Cap)),
        ("a parted pair", parted, chain(50, 1), server, Err(Reason::Unmerged)),
        ("too many nodes", chain(1, 3), chain(1_000, 998), server, Err(Reason::Full)),
    ];
    for (name, one, two, claim, expected) in cases {
        assert_eq!(one.may_unite(&two, claim, &settings), expected, "{name}");
        assert_eq!(two.may_unite(&one, claim, &settings), expected, "{name}, the other way round");
    }
}

/// Two known persons whom a server joined, a browser's word that would have joined them alone, and the server's parted.
#[test]
fn what_browsers_claim_keeps_nobody_together() {
    let claim = |a, b, position| Edge { claimed: true, ..edge(a, b, position) };
    let join = |edges: &[Edge]| {
        let mut component = Component::default();
        component.members.push(member(1, IdentifierKind::USER_ID, 1));
        component.members.push(member(2, IdentifierKind::EMAIL, 2));
        component.members.push(member(3, IdentifierKind::ANONYMOUS_ID, 3));
        component.members.push(member(4, IdentifierKind::PHONE, 4));
        edges.iter().for_each(|edge| component.confirm(*edge));
        component
    };
    let at = |position| [edge(1, 3, 3), edge(1, 2, position)];
    let cases: [(&str, Vec<Edge>, usize); 6] = [
        ("nothing else", at(5).into(), 2),
        ("a browser, later", [&at(5)[..], &[claim(2, 3, 6)]].concat(), 2),
        ("a server, later", [&at(5)[..], &[edge(2, 3, 6)]].concat(), 1),
        ("a browser, and a server after it", [&at(5)[..], &[claim(2, 3, 6), edge(2, 3, 7)]].concat(), 1),
        ("a server, and a browser after it", [&at(5)[..], &[edge(2, 3, 6), claim(2, 3, 7)]].concat(), 1),
        ("a browser who saw one of them first", vec![edge(1, 3, 3), claim(2, 3, 2), edge(1, 2, 5)], 1),
    ];
    for (name, edges, parts) in cases {
        let mut component = join(&edges);
        component.edges.sort_by_key(|edge| edge.position);
        assert!(component.part(Key(1), Key(2)), "{name}");
        // The last of the four was never joined to anybody.
        let split = component.split();
        assert_eq!(split.len(), parts + 1, "{name}: {split:?}");
        let session = split.iter().find(|part| part.contains(Key(3)));
        assert!(
            session.is_some_and(|part| part.contains(Key(1))),
            "{name}: the session stays with who had it"
        );
    }
}
