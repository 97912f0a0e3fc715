//! What remains of a log when people in it were erased: everything that others did and nothing that the erased did, and
//! a replay of it ends in the state that was kept.

use super::audiences::{any_id, back_fill, back_fill_step, define, everybody, memberships};
use super::replay::replay;
use super::shard::{Happening, Id, Shard, browser, email, user};
use engage::effect::{Body, ERASED};
use engage::{Command, Counted, ErasedNode, Extent, Operation, Parting, WhoToErase, redact};
use model::audience::{DefinitionId, Suppress};
use model::event::{Event, IdentifierKind, OrderChange};
use model::id::{Key, Position, Timestamp};
use model::line::LineSettings;
use model::profile::without_contacts;
use model::record::{Record, RecordKind};
use proptest::prelude::*;
use std::collections::BTreeMap;

const HOUR_US: i64 = 3_600_000_000;

/// What was erased when, as a server learns of it.
pub fn erasures(shard: &Shard) -> BTreeMap<Key, Vec<ErasedNode>> {
    let mut index: BTreeMap<Key, Vec<ErasedNode>> = BTreeMap::new();
    for (_, effect) in &shard.effects {
        let Ok(Body::Erased { nodes, position }) = Body::decode(effect.kind, &effect.body) else { continue };
        for (node, extent) in nodes {
            index.entry(node).or_default().push(ErasedNode { position, extent });
        }
    }
    index
}

fn erased_at(index: &BTreeMap<Key, Vec<ErasedNode>>, node: Key, position: usize) -> Option<ErasedNode> {
    let later = index.get(&node)?.iter().filter(|one| one.position > Position(position as u64));
    later.copied().min_by_key(|one| one.extent as u8)
}

/// The log with everything taken out that names or describes the erased. Returns how many records changed.
pub fn redact_log(shard: &mut Shard) -> usize {
    let index = erasures(shard);
    let mut log = std::mem::take(&mut shard.log);
    let mut changed = 0;
    for (position, (kind, at, body)) in log.iter_mut().enumerate() {
        let record = Record { position: Position(position as u64), received_at: *at, kind: *kind, body };
        let counted = || shard.subjects[position].map_or(Counted::Nowhere, |one| Counted::Under(one.part));
        let find = |node| erased_at(&index, node, position);
        if let Some(redacted) = redact(&record, counted, find) {
            let again = Record { body: &redacted, ..record };
            assert_eq!(redact(&again, counted, find), None, "once is enough");
            // A server that is asked to erase somebody else later may not know any more whose this was.
            assert_eq!(redact(&again, || Counted::Nowhere, |_| None), None);
            *body = redacted;
            changed += 1;
        }
    }
    shard.log = log;
    changed
}

const RULES: [(&str, &str); 9] = [
    ("curious", r#"distinct("View", "category", "1d") >= 2"#),
    ("spenders", r#"sum("View", "properties.price") > 40"#),
    ("shoes", r#"count("View", "7d", category == "shoes") > 0 && !audience("curious")"#),
    ("gold", r#"traits.plan == "gold""#),
    ("agreed", r#"consent("Advertising")"#),
    ("quiet", r#"count("View", "1h", category == "hats") == 0"#),
    ("ordered", r#"count("Order Completed") >= 2"#),
    ("from mail", r#"last("View", "campaign.source") == "mail""#),
    ("held", r#"max("Ad Click", "cost") >= 3"#),
];

#[derive(Clone, Debug)]
enum Act {
    Happens(Box<Happening>),
    Wait(i64),
    Part(Id, Id),
    Erase(Id),
    /// With so many records of its back-fill.
    Define(usize, usize),
    BackFill,
}

fn any_properties() -> impl Strategy<Value = String> {
    (0_usize..3, 1_u8..30, prop::option::of(0_u8..3), 0_u8..5).prop_map(|(category, price, campaign, cost)| {
        let category = ["shoes", "hats", "bags"][category];
        let campaign = campaign.map(|number| format!(r#","campaign_id":"c{number}""#)).unwrap_or_default();
        format!(
            r#"{{"category":"{category}","price":{price},"cost":{cost},"currency":"EUR","order_id":"order 1"{campaign}}}"#
        )
    })
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let name = prop_oneof![
        5 => Just("View"), 1 => Just("Ad Click"), 1 => Just("Ad Impression"), 1 => Just("Product Added"),
        2 => Just("Other"), 1 => Just("Order Confirmation Accepted"),
    ];
    let traits = prop_oneof![
        5 => Just(String::new()), 1 => Just(r#"{"plan":"gold"}"#.to_owned()),
        1 => Just(r#"{"plan":"tin","email":"a@b.c"}"#.to_owned()),
    ];
    let context = prop_oneof![
        Just("{}"),
        Just(r#"{"campaign":{"source":"mail","name":"c9"}}"#),
        Just(r#"{"campaign":{"source":"web"}}"#),
    ];
    let order = prop_oneof![
        7 => Just(None),
        1 => (0_u8..4, prop_oneof![Just(OrderChange::Completed), Just(OrderChange::Refunded)]).prop_map(Some),
    ];
    // Mostly somebody on one of few devices, named or not, so that devices go from hand to hand.
    let ids = prop_oneof![
        4 => (0_u8..3, 0_u8..2).prop_map(|(who, device)| vec![user(who), browser(device)]),
        4 => (0_u8..2).prop_map(|device| vec![browser(device)]),
        2 => (0_u8..3, 0_u8..3).prop_map(|(who, other)| vec![user(who), email(other)]),
        1 => (0_u8..3).prop_map(|who| vec![email(who)]),
        2 => prop::collection::vec(any_id(), 1..4),
    ];
    (
        ids,
        any::<bool>(),
        (name, traits, context, any_properties(), order),
        prop_oneof![6 => Just(None), 1 => any::<bool>().prop_map(Some)],
        0_i64..40 * 60_000_000,
        prop_oneof![4 => 0_i64..1_000, 1 => 0..30 * HOUR_US],
        prop::bool::weighted(0.05),
    )
        .prop_map(
            |(ids, server, (name, traits, context, properties, order), consent, after_us, late_us, alias)| {
                let context = context.to_owned();
                let one = Happening {
                    traits,
                    consent,
                    after_us,
                    late_us,
                    name,
                    properties,
                    context,
                    alias,
                    ..Happening::of(&ids, server)
                };
                match order {
                    Some((order, change)) if !alias => {
                        Happening { name: "Order Completed", ..one.order(change, order, 10) }
                    }
                    _ => one,
                }
            },
        )
}

/// Mostly two who may be joined.
fn any_pair() -> impl Strategy<Value = (Id, Id)> {
    prop_oneof![
        3 => (0_u8..3, 0_u8..3).prop_map(|(one, other)| (user(one), email(other))),
        2 => (0_u8..3, 0_u8..2).prop_map(|(one, other)| (user(one), browser(other))),
        1 => (any_id(), any_id()),
    ]
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        20 => any_happening().prop_map(|one| Act::Happens(Box::new(one))),
        2 => (0_i64..30 * HOUR_US).prop_map(Act::Wait),
        2 => any_pair().prop_map(|(one, other)| Act::Part(one, other)),
        2 => any_id().prop_map(Act::Erase),
        1 => (0..RULES.len(), 0_usize..4).prop_map(|(number, steps)| Act::Define(number, steps)),
        2 => Just(Act::BackFill),
    ]
}

fn define_one(shard: &mut Shard, number: usize) {
    let (name, rule) = RULES[number];
    let suppress = (name == "held").then_some(Suppress::Everything);
    define(shard, name, rule, suppress);
}

fn act(shard: &mut Shard, act: &Act) {
    match act {
        Act::Happens(happening) => shard.happen(happening),
        Act::Wait(time) => {
            let to = shard.now.plus_us(*time);
            shard.advance(to);
        }
        Act::Part(one, other) => {
            shard.command(Operation::Unmerge(Parting::Pair(one.key(), other.key())));
        }
        Act::Erase(id) => {
            shard.command(Operation::Erase(WhoToErase::Identifier(id.key())));
        }
        Act::Define(number, steps) => {
            define_one(shard, *number);
            let _done = (0..*steps).all(|_| back_fill_step(shard, 50));
        }
        Act::BackFill => {
            back_fill_step(shard, 5);
        }
    }
}

/// Half of the rules from the beginning, others when they come.
fn begin() -> Shard {
    let mut shard = Shard::new();
    let line = LineSettings { currency: Some(*b"EUR"), sessions: true, ..LineSettings::default() };
    shard.command(Operation::SetLine(line));
    [0, 1, 3, 5, 7, 8].into_iter().for_each(|number| define_one(&mut shard, number));
    back_fill(&mut shard, 8);
    shard
}

fn run(acts: &[Act]) -> Shard {
    let mut shard = begin();
    acts.iter().for_each(|one| act(&mut shard, one));
    shard
}

/// What must come out the same: everything that is kept, and what was issued since somebody was last erased.
fn compare(kept: &mut Shard, again: &mut Shard) -> Result<(), TestCaseError> {
    let since = |shard: &Shard| {
        let last = shard.effects.iter().rposition(|(_, effect)| effect.kind == ERASED).unwrap_or(0);
        shard.effects[last..].to_vec()
    };
    for ((table, key, row), (other_table, other_key, other)) in
        kept.state.dump().into_iter().zip(again.state.dump())
    {
        prop_assert_eq!((table, key), (other_table, other_key), "rows");
        prop_assert_eq!(row, other, "table {} row {}", table, key);
    }
    prop_assert_eq!(kept.state.dump().len(), again.state.dump().len());
    prop_assert_eq!(kept.view.counts(), again.view.counts());
    prop_assert_eq!(&kept.timers, &again.timers);
    prop_assert_eq!(since(kept), since(again));
    Ok(())
}

/// An audience that is made up when somebody was erased finds who it would have found before.
fn early_and_late(acts: &[Act], chunk: usize) -> Result<(), TestCaseError> {
    let (mut early, mut late) = (Shard::new(), Shard::new());
    (0..RULES.len()).for_each(|number| define_one(&mut early, number));
    back_fill(&mut early, 8);
    for shard in [&mut early, &mut late] {
        // The same log time for the same acts, although one has had more commands.
        shard.advance(Timestamp(super::shard::START + HOUR_US));
        acts.iter().for_each(|one| act(shard, one));
    }
    redact_log(&mut late);
    (0..RULES.len()).for_each(|number| define_one(&mut late, number));
    back_fill(&mut late, chunk);
    let now = late.now.max(early.now);
    early.advance(now);
    late.advance(now);
    prop_assert_eq!(memberships(&mut early, &everybody()), memberships(&mut late, &everybody()));
    let members = |shard: &Shard| -> Vec<u64> {
        (0..RULES.len()).map(|number| shard.view.tally(DefinitionId(number as u32)).members).collect()
    };
    prop_assert_eq!(members(&early), members(&late));
    Ok(())
}

/// A device whose owner was erased begins anew; when somebody who had a session on it before is erased too, what it had
/// gathered before stays gone.
#[test]
fn what_a_device_gathered_stays_gone_when_a_session_of_it_goes_later() {
    let on_device = |name| Happening { name, ..Happening::of(&[browser(0)], true) };
    let named = |who| {
        Act::Happens(Box::new(Happening { name: "View", ..Happening::of(&[user(who), browser(0)], false) }))
    };
    let ordered = |change| {
        Act::Happens(Box::new(Happening { name: "Order Completed", ..on_device("").order(change, 0, 10) }))
    };
    let acts = [
        ordered(OrderChange::Completed),
        ordered(OrderChange::Refunded),
        named(1),
        named(0),
        Act::Erase(user(1)),
        Act::Happens(Box::new(on_device("View"))),
        Act::Erase(user(0)),
    ];
    for chunk in [1, 3, 5, 90] {
        early_and_late(&acts, chunk).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_replay_of_what_remains_ends_in_the_state_that_was_kept(acts in prop::collection::vec(any_act(), 1..60)) {
        let mut shard = run(&acts);
        redact_log(&mut shard);
        let mut again = replay(&shard);
        compare(&mut shard, &mut again)?;
        // And then time goes on.
        for kept in [&mut shard, &mut again] {
            let end = kept.now.plus_us(60 * HOUR_US);
            kept.advance(end);
        }
        compare(&mut shard, &mut again)?;
    }

    /// An audience that is made up when somebody was erased finds who it would have found before.
    #[test]
    fn a_late_audience_reads_in_what_remains_what_an_early_one_counted(
        acts in prop::collection::vec(any_act().prop_filter("all rules at once", |act| !matches!(act, Act::Define(..))), 1..60),
        chunk in 5_usize..90,
    ) {
        early_and_late(&acts, chunk)?;
    }

    /// Redaction takes no more than what the erased did, and no less.
    #[test]
    fn what_the_erased_did_goes_and_what_others_did_stays(acts in prop::collection::vec(any_act(), 1..60)) {
        let mut acts = acts;
        for (number, act) in acts.iter_mut().enumerate() {
            if let Act::Happens(one) = act {
                one.properties = one.properties.replacen('{', &format!(r#"{{"note":"note {number}.","#), 1);
            }
        }
        let mut shard = run(&acts);
        let index = erasures(&shard);
        let before = shard.log.clone();
        redact_log(&mut shard);
        for (position, ((kind, _, body), (_, _, left))) in before.iter().zip(&shard.log).enumerate() {
            let is_gone = |node| erased_at(&index, node, position).is_some_and(|one| one.extent != Extent::Session);
            if *kind == RecordKind::COMMAND {
                if let Operation::Gather { stretch, .. } = Command::decode(left).unwrap().operation {
                    prop_assert!(!stretch.nodes.iter().any(|one| is_gone(one.node)), "record {}", position);
                }
                continue;
            }
            let (event, left) = (Event::decode(body).unwrap(), Event::decode(left).unwrap());
            let Some(subject) = shard.subjects[position] else { continue };
            for (one, left) in event.identifiers.as_slice().iter().zip(left.identifiers.as_slice()) {
                prop_assert_eq!(left.value, if is_gone(one.key) { &b""[..] } else { one.value });
            }
            if is_gone(subject.part) {
                prop_assert_eq!((left.traits, left.context, left.message_id), (&b""[..], &b""[..], ""));
                prop_assert!(!left.properties.windows(4).any(|part| part == b"note"), "record {}", position);
            } else {
                prop_assert_eq!((left.properties, left.context, left.message_id), (event.properties, event.context, "message"));
                let names_gone = event.identifiers.as_slice().iter().any(|one| !IdentifierKind(one.kind).is_session() && is_gone(one.key));
                let traits = if names_gone { without_contacts(event.traits, 0) } else { event.traits.to_vec() };
                prop_assert!(left.traits == traits || event.traits.is_empty(), "record {}", position);
            }
        }
    }
}

fn with_plan(ids: &[Id], plan: &str) -> Happening {
    Happening { traits: format!(r#"{{"plan":"{plan}"}}"#), name: "Other", ..Happening::of(ids, true) }
}

fn with_gold() -> Shard {
    let mut shard = Shard::new();
    define(&mut shard, "gold", r#"traits.plan == "gold""#, None);
    back_fill(&mut shard, 8);
    shard
}

fn gold(shard: &Shard) -> (u64, u64, u64) {
    let tally = shard.view.tally(DefinitionId(0));
    (tally.members, tally.entries, tally.exits)
}

/// What two were in together is nobody's once they are parted: the log cannot tell it again when one of them is erased.
#[test]
fn two_who_are_parted_keep_nothing_of_what_they_were_in_together() {
    let mut shard = with_gold();
    shard.happen(&Happening { name: "Other", ..Happening::of(&[email(1)], true) });
    shard.happen(&with_plan(&[user(1), email(1)], "gold"));
    assert_eq!(gold(&shard), (1, 1, 0));
    shard.happen(&with_plan(&[user(1)], "tin"));
    shard.happen(&with_plan(&[user(2)], "gold"));
    assert_eq!(gold(&shard), (1, 2, 1));
    act(&mut shard, &Act::Part(user(1), email(1)));
    assert_eq!(gold(&shard), (1, 1, 0));
    act(&mut shard, &Act::Erase(user(1)));
    redact_log(&mut shard);
    let mut again = replay(&shard);
    compare(&mut shard, &mut again).unwrap();
}

#[test]
fn an_audience_counts_nobody_who_was_erased() {
    let mut shard = with_gold();
    for plan in ["gold", "tin", "gold", "tin", "gold"] {
        shard.happen(&with_plan(&[user(1)], plan));
    }
    shard.happen(&with_plan(&[user(2)], "gold"));
    // Counted before, and then one person with the first.
    shard.happen(&with_plan(&[email(1)], "gold"));
    shard.happen(&Happening::of(&[user(1), email(1)], true));
    assert_eq!(gold(&shard), (2, 5, 3));
    act(&mut shard, &Act::Erase(email(1)));
    assert_eq!(gold(&shard), (1, 1, 0));
    redact_log(&mut shard);
    let mut again = replay(&shard);
    compare(&mut shard, &mut again).unwrap();
}

/// Somebody's event as it is left if it is not known any more under which node it was counted.
fn left_of(ids: &[Id], erased: &[(Id, Extent)], counted: Counted) -> Option<(bool, bool)> {
    let traits = r#"{"plan":"gold"}"#.to_owned();
    let body = Happening { traits, ..Happening::of(ids, true) }.encode(Timestamp(5), 1);
    let record =
        Record { position: Position(3), received_at: Timestamp(5), kind: RecordKind::EVENT, body: &body };
    let find = |node: Key| {
        let found = erased.iter().find(|(id, _)| id.key() == node)?;
        Some(ErasedNode { position: Position(9), extent: found.1 })
    };
    let left = redact(&record, || counted, find)?;
    let left = Event::decode(&left).unwrap();
    Some((!left.traits.is_empty(), !left.properties.is_empty()))
}

/// Whether traits and properties stay; `None` where the record stays as it is.
#[test]
fn names_decide_where_it_is_not_known_whose_an_event_was() {
    let (ada, bob, tablet) = (user(1), user(2), browser(1));
    let (whole, node, session) = (Extent::Whole, Extent::Node, Extent::Session);
    let unknown = Counted::Unknown;
    let on_device = Key(77);
    type Case<'a> = (&'a [Id], &'a [(Id, Extent)], Counted, Option<(bool, bool)>);
    let cases: [Case<'_>; 12] = [
        (&[ada], &[(ada, whole)], unknown, Some((false, false))),
        (&[bob], &[(ada, whole)], unknown, None),
        (&[ada, tablet], &[(ada, whole), (tablet, session)], unknown, Some((false, false))),
        (&[bob, tablet], &[(ada, whole), (tablet, session)], unknown, None),
        (&[bob, tablet], &[(ada, whole), (tablet, node)], unknown, Some((true, true))),
        (&[tablet], &[(tablet, whole)], unknown, Some((false, false))),
        (&[tablet], &[(tablet, node)], unknown, Some((true, false))),
        (&[tablet], &[(tablet, session)], unknown, Some((true, false))),
        (&[ada, bob], &[(ada, whole)], unknown, Some((true, false))),
        (&[ada, bob], &[(ada, whole)], Counted::Under(bob.key()), Some((true, true))),
        (&[tablet], &[(tablet, session)], Counted::Under(on_device), None),
        (&[tablet], &[(tablet, session)], Counted::Nowhere, Some((false, false))),
    ];
    for (ids, erased, counted, expected) in cases {
        assert_eq!(left_of(ids, erased, counted), expected, "{ids:?} {erased:?} {counted:?}");
    }
}
