//! Who is in which audience: against a recount by other code, against a definition that came late and was back-filled,
//! and against the effects that were issued.

use super::naive::DAY_US;
use super::shard::{Happening, Id, Shard, browser, email, user};
use engage::effect::{Body, Cause};
use engage::{
    AudienceRead, Backfill, CommandError, Decision, Draft, Explanation, Extent, Gathered, Operation, PARTS,
    PROFILES, Parting, ProfileRow, Query, Reply, Stretch, part_of,
};
use model::audience::{DefinitionId, DefinitionKind, Suppress};
use model::event::{Event, OrderChange};
use model::feature::FeatureStates;
use model::id::{Key, Position, Timestamp};
use model::order::Reported;
use model::record::RecordKind;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const HOUR_US: i64 = 3_600_000_000;
/// The granules of windows of an hour and of a day, as docs/audiences.md states them.
const GRANULE_OF_HOUR_US: i64 = 2 * 60_000_000;
const GRANULE_OF_DAY_US: i64 = HOUR_US;

const RULES: [(&str, &str); 7] = [
    ("lookers", r#"count("View", "1d") >= 2"#),
    ("buyers", r#"count("Buy") > 0"#),
    ("prospects", r#"count("View") > 0 && !audience("buyers")"#),
    ("gold", r#"traits.plan == "gold""#),
    ("agreed", r#"consent("Advertising")"#),
    ("quiet", r#"count("View", "1h") == 0"#),
    ("ordered", r#"count("Order Completed", "1d") > 0"#),
];

pub fn define(shard: &mut Shard, name: &str, rule: &str, suppress: Option<Suppress>) -> Reply {
    let kind = DefinitionKind::Audience { rule: rule.into(), suppress };
    shard.command(Operation::Define(Draft { name: name.to_owned(), changes: None, kind }))
}

fn define_all(shard: &mut Shard) {
    for (number, (name, rule)) in RULES.iter().enumerate() {
        let reply = define(shard, name, rule, None);
        assert_eq!(reply, Reply::Defined(DefinitionId(number as u32), 1), "{name}");
    }
}

/// Does what the thread of a server does: reads older events, hands in what nodes gathered, names everybody.
pub fn back_fill(shard: &mut Shard, chunk: usize) {
    while back_fill_step(shard, chunk) {}
    assert_eq!(shard.view.backfills(), []);
}

/// Hands in one record, as a thread would that knows nothing but the rows: so between any two, it may have crashed.
/// `false` if there is nothing to do.
pub fn back_fill_step(shard: &mut Shard, chunk: usize) -> bool {
    let mut rows = shard.view.backfills();
    rows.sort_by_key(|row| row.defined_at);
    let stands = |row: &Backfill| (row.read_to, row.chunks);
    if let Some(stand) = rows.iter().filter(|row| row.is_gathering()).map(stands).min() {
        rows.retain(|row| row.is_gathering() && stands(row) == stand);
        gather(shard, &rows, chunk);
        return true;
    }
    let Some(from) = rows.iter().map(|row| row.chunks).min() else { return false };
    let definitions = |rows: &[Backfill]| rows.iter().map(|row| row.definition).collect::<Vec<_>>();
    if from == u64::MAX {
        for definition in definitions(&rows) {
            let reply = shard.command(Operation::Backfilled { definition, chunks: u64::MAX });
            assert!(matches!(reply, Reply::Backfill(_, u64::MAX)), "{reply:?}");
        }
        return true;
    }
    let place_of = |key: &Key| (key.0 >> 64) as u64;
    let joint = rows.iter().map(|row| row.chunks).filter(|place| *place > from).min().unwrap_or(u64::MAX);
    rows.retain(|row| row.chunks == from);
    let all = shard.state.dump().into_iter();
    let live = all.filter(|(table, _, row)| *table == PROFILES.0 && ProfileRow::is_live(row));
    let mut people: Vec<Key> = live.map(|(_, key, _)| key).collect();
    people.retain(|key| (from..joint).contains(&place_of(key)));
    people.sort_unstable();
    let to = people.get(chunk).map_or(joint, place_of);
    people.truncate(chunk);
    let reckon = Operation::Reckon { definitions: definitions(&rows), from, to, people };
    for _again in 0..2 {
        let reply = shard.command(reckon.clone());
        assert!(matches!(reply, Reply::Backfill(_, told) if told == to), "{reply:?}");
    }
    true
}

/// Hands in a half of what nodes gathered in the next stretch, for rows that stand at the same place.
fn gather(shard: &mut Shard, rows: &[Backfill], chunk: usize) {
    let from = rows[0].read_to;
    let last = rows.iter().map(|row| row.defined_at.0).max().unwrap();
    let to = Position(((from.0 / chunk as u64 + 1) * chunk as u64).min(last));
    let parts = if rows[0].chunks == 0 { (0, 300) } else { (300, PARTS) };
    let states = gathered(shard, rows, from, to);
    let own = states.iter().filter(|(node, _)| (parts.0..parts.1).contains(&part_of(**node)));
    let nodes = own.map(|(node, features)| Gathered { node: *node, features: features.clone() }).collect();
    let stretch = Stretch { from, to, parts, nodes };
    let definitions = rows.iter().map(|row| row.definition).collect();
    let operation = Operation::Gather { definitions, stretch };
    for _again in 0..2 {
        let told = shard.command(operation.clone());
        let (read_to, part) = if parts.1 == PARTS { (to.min(rows[0].defined_at), 0) } else { (from, 300) };
        assert_eq!(told, Reply::Backfill(read_to, part));
    }
}

/// What nodes gathered in a stretch, for each definition up to where it was made.
fn gathered(shard: &Shard, rows: &[Backfill], from: Position, to: Position) -> BTreeMap<Key, FeatureStates> {
    let book = shard.view.book();
    let mut states: BTreeMap<Key, FeatureStates> = BTreeMap::new();
    let mut reported = Reported::new((0..to.0).flat_map(|position| erased_at(shard, position)).collect());
    for position in 0..to.0 {
        for node in erased_at(shard, position) {
            states.remove(&node);
            reported.erase(node);
        }
        let (kind, received_at, body) = &shard.log[position as usize];
        let Some(subject) = shard.subjects[position as usize].filter(|_| *kind == RecordKind::EVENT) else {
            continue;
        };
        let event = Event::decode(body).unwrap();
        let (server, counts) = (event.from_server, event.value_counts);
        let is_counted = reported.take(subject.part, event.order.as_ref(), server, counts);
        if position < from.0 || !is_counted {
            continue;
        }
        let at = event.clamped_at(*received_at, model::event::MAX_AGE_US);
        let wanted = |row: &Backfill, slot: &model::feature::Slot| {
            row.features.contains(&slot.id) && position < row.defined_at.0
        };
        let slots = book.features_of(&event).filter(|slot| rows.iter().any(|row| wanted(row, slot)));
        states.entry(subject.part).or_default().record(slots, &event, at, *received_at);
    }
    states
}

/// Nodes that the record at a position erased.
fn erased_at(shard: &Shard, position: u64) -> Vec<Key> {
    let mut erased = Vec::new();
    for (_, effect) in &shard.effects {
        if let Ok(Body::Erased { nodes, position: at }) = Body::decode(effect.kind, &effect.body)
            && at.0 == position
        {
            erased
                .extend(nodes.iter().filter(|(_, extent)| *extent != Extent::Session).map(|(node, _)| *node));
        }
    }
    erased
}

/// The audiences of every profile, by name.
pub fn memberships(shard: &mut Shard, ids: &[Id]) -> BTreeMap<Id, Vec<String>> {
    let book = shard.view.book();
    let mut all = BTreeMap::new();
    for id in ids {
        let Some(read) = shard.profile(*id) else { continue };
        let name = |audience| book.definition(audience).unwrap().name.to_string();
        all.insert(*id, read.audiences.iter().map(|member| name(member.audience)).collect());
    }
    all
}

/// Counts again, from the log and from the nodes under which its events were counted.
fn recount(shard: &mut Shard, id: Id) -> Vec<String> {
    let read = shard.profile(id).unwrap();
    let nodes: BTreeSet<Key> = read.identifiers.iter().map(|identifier| identifier.node).collect();
    let now = shard.now;
    let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut plan: Option<((i64, usize), String)> = None;
    let mut orders = BTreeSet::new();
    for (position, (kind, received_at, body)) in shard.log.iter().enumerate() {
        let Some(subject) = shard.subjects[position].filter(|_| *kind == RecordKind::EVENT) else { continue };
        let event = Event::decode(body).unwrap();
        let at = event.clamped_at(*received_at, model::event::MAX_AGE_US).0;
        let mut counts = true;
        if let Some(fact) = &event.order {
            counts = event.value_counts;
            if counts && fact.change == OrderChange::Completed {
                counts = orders.insert(fact.order_id.to_owned());
            }
        }
        if !nodes.contains(&subject.part) {
            continue;
        }
        if counts {
            times.entry(event.name.to_owned()).or_default().push(at);
        }
        let text = std::str::from_utf8(event.traits).unwrap();
        if let Some(value) = text.strip_prefix("{\"plan\":\"").and_then(|rest| rest.strip_suffix("\"}")) {
            plan = plan.max(Some(((at, position), value.to_owned())));
        }
    }
    let within = |name: &str, granule: i64, parts: i64| {
        let oldest = now.0.div_euclid(granule) - parts;
        times.get(name).into_iter().flatten().filter(|at| at.div_euclid(granule) >= oldest).count()
    };
    let ever = |name: &str| times.get(name).map_or(0, Vec::len);
    let agreed = read.aggregate.consent.categories.iter().any(|category| category.standing().0);
    [
        ("lookers", within("View", GRANULE_OF_DAY_US, 24) >= 2),
        ("buyers", ever("Buy") > 0),
        ("prospects", ever("View") > 0 && ever("Buy") == 0),
        ("gold", plan.is_some_and(|(_, plan)| plan == "gold")),
        ("agreed", agreed),
        ("quiet", within("View", GRANULE_OF_HOUR_US, 30) == 0),
        ("ordered", within("Order Completed", GRANULE_OF_DAY_US, 24) > 0),
    ]
    .into_iter()
    .filter(|(_, member)| *member)
    .map(|(name, _)| name.to_owned())
    .collect()
}

/// What the effects say of who is in what.
fn told(shard: &Shard) -> BTreeSet<(Key, DefinitionId)> {
    let mut told = BTreeSet::new();
    for (_, effect) in &shard.effects {
        if let Ok(Body::Audience { entered, audience, .. }) = Body::decode(effect.kind, &effect.body) {
            let changed = if entered {
                told.insert((effect.subject, audience))
            } else {
                told.remove(&(effect.subject, audience))
            };
            assert!(changed, "nobody enters twice or leaves what they are not in");
        }
    }
    told
}

#[derive(Clone, Debug)]
enum Step {
    Happens(Happening),
    Wait(i64),
    Part(Id, Id),
    Erase(Id),
}

pub fn any_id() -> impl Strategy<Value = Id> {
    (0_u8..3, 0_u8..4).prop_map(|(kind, number)| match kind {
        0 => user(number),
        1 => email(number),
        _ => browser(number),
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let name = prop_oneof![4 => Just("View"), 1 => Just("Buy"), 1 => Just("Other")];
    let traits = prop_oneof![
        6 => Just(String::new()), 1 => Just(r#"{"plan":"gold"}"#.to_owned()), 1 => Just(r#"{"plan":"tin"}"#.to_owned()),
    ];
    let consent = prop_oneof![6 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let order = prop_oneof![8 => Just(None), 1 => (0_u8..4).prop_map(Some)];
    let happens = (
        prop::collection::vec(any_id(), 1..3),
        any::<bool>(),
        (name, traits, consent, order),
        0_i64..40 * 60_000_000,
        prop_oneof![4 => 0_i64..1_000, 1 => 0..30 * HOUR_US, 1 => -10 * 60_000_000_i64..0],
    );
    prop_oneof![
        16 => happens.prop_map(|(ids, server, (name, traits, consent, order), after_us, late_us)| {
            let mut one = Happening { traits, consent, after_us, late_us, name, ..Happening::of(&ids, server) };
            if let Some(order) = order {
                one = Happening { name: "Order Completed", ..one.order(OrderChange::Completed, order, 10) };
            }
            Step::Happens(one)
        }),
        2 => (0_i64..30 * HOUR_US).prop_map(Step::Wait),
        1 => (any_id(), any_id()).prop_map(|(one, other)| Step::Part(one, other)),
        1 => any_id().prop_map(Step::Erase),
    ]
}

fn take(shard: &mut Shard, step: &Step) {
    match step {
        Step::Happens(happening) => shard.happen(happening),
        Step::Wait(time) => {
            let to = shard.now.plus_us(*time);
            shard.advance(to);
        }
        Step::Part(one, other) => {
            shard.command(Operation::Unmerge(Parting::Pair(one.key(), other.key())));
        }
        Step::Erase(id) => {
            shard.command(Operation::Erase(engage::WhoToErase::Identifier(id.key())));
        }
    }
}

pub fn everybody() -> Vec<Id> {
    (0..4).flat_map(|number| [user(number), email(number), browser(number)]).collect()
}

proptest! {
    #[test]
    fn membership_is_what_a_recount_says(steps in prop::collection::vec(any_step(), 1..40)) {
        let mut shard = Shard::new();
        define_all(&mut shard);
        back_fill(&mut shard, 8);
        let mut erased = false;
        for step in &steps {
            take(&mut shard, step);
            erased |= matches!(step, Step::Erase(_));
            let told = told(&shard);
            for id in everybody() {
                let Some(read) = shard.profile(id) else { continue };
                for member in &read.audiences {
                    prop_assert!(told.contains(&(read.profile, member.audience)), "{:?} was told", id);
                }
                let said = told.range((read.profile, DefinitionId(0))..=(read.profile, DefinitionId(u32::MAX)));
                prop_assert_eq!(said.count(), read.audiences.len());
                // What an erased person did is nowhere, but in this test's log.
                if !erased {
                    let found = memberships(&mut shard, &[id]).remove(&id).unwrap();
                    prop_assert_eq!(found, recount(&mut shard, id), "{:?} after {:?}", id, step);
                }
            }
        }
        for tally in RULES.iter().enumerate().map(|(number, _)| DefinitionId(number as u32)) {
            let told = told(&shard).iter().filter(|(_, audience)| *audience == tally).count();
            prop_assert_eq!(shard.view.tally(tally).members, told as u64);
        }
    }

    /// Defined in the middle of everything and back-filled, in chunks of any size, while more happens.
    #[test]
    fn a_late_definition_is_as_good_as_an_early_one(
        before in prop::collection::vec(any_step(), 0..25), after in prop::collection::vec(any_step(), 0..8), chunk in 1_usize..9,
    ) {
        let (mut early, mut late) = (Shard::new(), Shard::new());
        define_all(&mut early);
        back_fill(&mut early, 4);
        for shard in [&mut early, &mut late] {
            // The same log time for the same steps, although one has had more commands.
            shard.advance(Timestamp(super::shard::START + DAY_US));
            before.iter().for_each(|step| take(shard, step));
            shard.advance(Timestamp(super::shard::START + 100 * DAY_US));
        }
        define_all(&mut late);
        late.advance(Timestamp(super::shard::START + 101 * DAY_US));
        early.advance(Timestamp(super::shard::START + 101 * DAY_US));
        for shard in [&mut early, &mut late] {
            after.iter().for_each(|step| take(shard, step));
            let then = Timestamp(super::shard::START + 120 * DAY_US);
            shard.advance(then);
        }
        back_fill(&mut late, chunk);
        let to = early.now.max(late.now).plus_us(1);
        early.advance(to);
        late.advance(to);
        prop_assert_eq!(memberships(&mut early, &everybody()), memberships(&mut late, &everybody()));
        prop_assert!(told(&late).len() == told(&early).len());
    }
}

proptest! {
    /// Defined one after the other, with anything between them: each joins the others in a record wherever they meet.
    /// Whoever hands the records in knows nothing but the rows, so this is also any number of crashes.
    #[test]
    fn definitions_that_share_records_are_as_good_as_early_ones(
        before in prop::collection::vec(any_step(), 0..20),
        between in prop::collection::vec((any_step(), prop::option::of(0..RULES.len()), 0_usize..6), 0..12),
        chunk in 1_usize..9,
    ) {
        let (mut early, mut late) = (Shard::new(), Shard::new());
        define_all(&mut early);
        back_fill(&mut early, 4);
        // The same log time for the same steps, although one has had more commands.
        let day = |number: i64| Timestamp(super::shard::START + number * DAY_US);
        for shard in [&mut early, &mut late] {
            shard.advance(day(1));
            before.iter().for_each(|step| take(shard, step));
        }
        let mut defined = 0;
        let mut number = 100;
        for (step, define_to, records) in &between {
            // Rules look at others that were defined before them, so they come in their order.
            while define_to.is_some_and(|to| defined <= to) {
                define(&mut late, RULES[defined].0, RULES[defined].1, None);
                defined += 1;
            }
            for shard in [&mut early, &mut late] {
                shard.advance(day(number));
                take(shard, step);
            }
            for _ in 0..*records {
                back_fill_step(&mut late, chunk);
            }
            number += 2;
        }
        for (name, rule) in &RULES[defined..] {
            define(&mut late, name, rule, None);
        }
        back_fill(&mut late, chunk);
        for shard in [&mut early, &mut late] {
            shard.advance(day(number + 2));
        }
        prop_assert_eq!(memberships(&mut early, &everybody()), memberships(&mut late, &everybody()));
        prop_assert_eq!(told(&late).len(), told(&early).len());
    }
}

#[test]
fn others_may_be_changed_and_removed_while_definitions_are_found_together() {
    let mut shard = Shard::new();
    let views = r#"count("View") > 0"#;
    define(&mut shard, "done", r#"count("View", "7d") > 0"#, None);
    define(&mut shard, "changed", r#"count("Buy") > 0"#, None);
    back_fill(&mut shard, 8);
    for number in 0..4 {
        shard.happen(&Happening { name: "View", ..Happening::of(&[user(number)], true) });
    }
    define(&mut shard, "first", views, None);
    define(&mut shard, "second", r#"count("View") > 0 && !audience("done")"#, None);
    define(&mut shard, "third", r#"count("View", "2d") > 0"#, None);
    for _ in 0..2 {
        assert!(back_fill_step(&mut shard, 3));
    }
    let refused = |reply: Reply| matches!(reply, Reply::Refused(_));
    let before = shard.state.dump();
    assert!(refused(shard.command(Operation::RemoveDefinition("third".to_owned()))), "it is being found");
    assert!(refused(define(&mut shard, "first", r#"count("View") > 1"#, None)), "it is being found");
    assert!(refused(shard.command(Operation::RemoveDefinition("done".to_owned()))), "another looks at it");
    assert_eq!(shard.state.dump(), before);
    // What others look at nothing of may come and go; one joins those that are being found.
    define(&mut shard, "changed", r#"count("View") > 0 && count("View", "9d") > 0"#, None);
    for _ in 0..3 {
        assert!(back_fill_step(&mut shard, 3));
    }
    let stands = shard.view.backfills();
    let unlike = Operation::Reckon {
        definitions: stands.iter().map(|row| row.definition).collect(),
        from: 0,
        to: 1,
        people: vec![Key(1)],
    };
    let before = shard.state.dump();
    assert!(matches!(shard.command(unlike), Reply::Backfill(..)), "all stand there, or nothing happens");
    assert_eq!(shard.state.dump(), before);
    back_fill(&mut shard, 3);
    assert_eq!(
        shard.command(Operation::RemoveDefinition("third".to_owned())),
        Reply::Defined(DefinitionId(4), 1)
    );
    define(&mut shard, "fourth", views, None);
    back_fill(&mut shard, 2);
    for (id, all) in memberships(&mut shard, &(0..4).map(user).collect::<Vec<_>>()) {
        assert_eq!(all, ["done", "changed", "first", "fourth"], "{id:?}");
    }
}

#[test]
fn records_of_one_definition_as_they_were_once_written_read_as_today() {
    let encoded = |tag: u8, rest: &[u8]| [&[1][..], &[0; 16], &[tag], &7_u32.to_le_bytes(), rest].concat();
    let people = [&3_u64.to_le_bytes()[..], &[1], &9_u128.to_le_bytes()].concat();
    let stretch =
        [&5_u64.to_le_bytes()[..], &8_u64.to_le_bytes(), &0_u32.to_le_bytes(), &4_u32.to_le_bytes(), &[0]];
    let definitions = vec![DefinitionId(7)];
    let stretch_read = Stretch { from: Position(5), to: Position(8), parts: (0, 4), nodes: Vec::new() };
    let cases = [
        (
            encoded(13, &stretch.concat()),
            Operation::Gather { definitions: definitions.clone(), stretch: stretch_read },
        ),
        (encoded(14, &people), Operation::Reckon { definitions, from: 3, to: 4, people: vec![Key(9)] }),
    ];
    for (bytes, operation) in cases {
        let command = engage::Command { idempotency: Key(0), operation };
        assert_eq!(engage::Command::decode(&bytes), Ok(command.clone()));
        let mut today = Vec::new();
        command.encode(&mut today);
        assert_eq!(engage::Command::decode(&today), Ok(command));
    }
}

fn explained(shard: &mut Shard, id: Id, audience: u32) -> Box<AudienceRead> {
    use engage::{Answer, AsOf, Machine};
    let profile = shard.profile(id).unwrap().profile;
    let query = Query::Audience { profile, audience: DefinitionId(audience) };
    let as_of = AsOf { next_position: Position(shard.position), log_time: shard.now };
    match shard.machine.query(&mut shard.state, query, as_of) {
        Answer::Audience(Some(read), _) => read,
        other => panic!("{other:?}"),
    }
}

#[test]
fn entries_and_exits_say_why() {
    let mut shard = Shard::new();
    define(&mut shard, "carts", r#"count("Added", "7d") > 0 && count("Buy", "7d") == 0"#, None);
    back_fill(&mut shard, 8);
    shard.happen(&Happening { name: "Added", ..Happening::of(&[user(1)], true) });
    shard.happen(&Happening { name: "Buy", ..Happening::of(&[user(1)], true) });
    shard.happen(&Happening { name: "Added", ..Happening::of(&[user(2)], true) });
    let week_later = shard.now.plus_us(8 * DAY_US);
    shard.advance(week_later);
    let book = shard.view.book();
    let mut said = Vec::new();
    for (_, effect) in &shard.effects {
        if let Ok(Body::Audience { entered, audience, cause, before, after, .. }) =
            Body::decode(effect.kind, &effect.body)
        {
            let flipped: Vec<String> = book
                .flipped(audience, before, after)
                .into_iter()
                .map(|(text, holds)| format!("{text} {holds}"))
                .collect();
            said.push((entered, cause, flipped.join(", ")));
        }
    }
    let (added, bought) = (r#"count("Added", "7d") > 0"#, r#"count("Buy", "7d") == 0"#);
    assert_eq!(
        said,
        [
            (true, Cause::Event, format!("{added} true")),
            (false, Cause::Event, format!("{bought} false")),
            (true, Cause::Event, format!("{added} true")),
            (false, Cause::Time, format!("{added} false")),
        ]
    );
    let read = explained(&mut shard, user(2), 0);
    assert_eq!((read.member, read.pending), (None, false));
    let conditions: Vec<_> = read.parts.iter().map(|part| (part.text.as_str(), part.holds)).collect();
    assert!(conditions.contains(&(added, false)) && conditions.contains(&(bought, true)), "{conditions:?}");
}

#[test]
fn an_audience_that_suppresses_wins_everywhere() {
    let mut shard = Shard::new();
    shard.happen(&Happening::of(&[user(1), browser(1)], true));
    define(&mut shard, "complained", r#"count("Complained", "30d") > 0"#, Some(Suppress::Everything));
    define(&mut shard, "no shoes", r#"count("Returned") > 0"#, Some(Suppress::Product("product 7".into())));
    back_fill(&mut shard, 8);
    shard.happen(&Happening { name: "Returned", ..Happening::of(&[user(1)], true) });
    let Decision::Held(held) = shard.decide(browser(1), 7) else { panic!("not held") };
    assert_eq!(held.audience, DefinitionId(1));
    assert!(matches!(shard.explain(browser(1), 7), Explanation::Held(_)));
    assert_eq!(shard.decide(browser(1), 8), Decision::NotBought);
    shard.happen(&Happening { name: "Complained", ..Happening::of(&[browser(1)], false) });
    assert!(matches!(shard.decide(user(1), 8), Decision::Held(held) if held.audience == DefinitionId(0)));
    // A purchase beside it, and its end, change nothing about that.
    shard.happen(&Happening::of(&[user(1)], true).order(OrderChange::Completed, 9, 10));
    assert!(matches!(shard.decide(user(1), 8), Decision::Held(_)));
    let later = shard.now.plus_us(32 * DAY_US);
    shard.advance(later);
    assert_eq!(shard.decide(user(1), 8), Decision::NotBought);
    assert!(matches!(shard.decide(user(1), 7), Decision::Held(_)));
    assert_eq!(
        shard.command(Operation::RemoveDefinition("no shoes".to_owned())),
        Reply::Defined(DefinitionId(1), 1)
    );
    back_fill(&mut shard, 8);
    assert_eq!(shard.decide(user(1), 7), Decision::NobodySuppressed);
    assert!(shard.profile(user(1)).unwrap().audiences.is_empty());
}

#[test]
fn a_removed_audience_leaves_nothing_in_the_nodes() {
    use engine::Value;
    let kept = |shard: &mut Shard| {
        let rows = shard.state.dump().into_iter().filter(|(table, _, _)| *table == 16);
        let nodes = rows.map(|(_, _, row)| engage::Node::decode(&row).unwrap());
        nodes.filter(|node| node.aggregate.as_ref().is_some_and(|own| !own.features.is_empty())).count()
    };
    let mut shard = Shard::new();
    define(&mut shard, "one", r#"count("View", "7d") > 0"#, None);
    define(&mut shard, "two", r#"count("Buy") > 0"#, None);
    back_fill(&mut shard, 8);
    for number in 0..3 {
        shard.happen(&Happening { name: "View", ..Happening::of(&[user(number)], true) });
    }
    shard.happen(&Happening { name: "Buy", ..Happening::of(&[user(3)], true) });
    assert_eq!(kept(&mut shard), 4);
    shard.command(Operation::RemoveDefinition("one".to_owned()));
    back_fill(&mut shard, 2);
    assert_eq!(kept(&mut shard), 1, "what the other audience looks at stays");
    define(&mut shard, "two", r#"count("View") > 0"#, None);
    back_fill(&mut shard, 2);
    // Read back from the log: the three who viewed; the buyer's count is gone with the rule.
    assert_eq!(kept(&mut shard), 3);
}

#[test]
fn definitions_that_cannot_be_change_nothing() {
    let mut shard = Shard::new();
    define(&mut shard, "one", r#"count("View") > 0"#, None);
    let before = shard.state.dump();
    let code = |reply: Reply| match reply {
        Reply::Refused(CommandError::Definition { code, excerpt, .. }) => (code, excerpt),
        other => panic!("{other:?}"),
    };
    let (wrong, excerpt) = code(define(&mut shard, "two", r#"count("View") > "many""#, None));
    assert_eq!(wrong, "rule_type");
    assert!(excerpt.contains('^'), "{excerpt}");
    assert_eq!(code(define(&mut shard, " two", "true", None)).0, "definition_name");
    let kind = DefinitionKind::Audience { rule: "true".into(), suppress: None };
    let stale = Draft { name: "one".to_owned(), changes: Some(7), kind };
    assert_eq!(code(shard.command(Operation::Define(stale))).0, "definition_stale");
    assert_eq!(shard.state.dump(), before);
    // The same again is no change; another rule waits until the first one holds for everybody.
    assert_eq!(define(&mut shard, "one", r#"count("View") > 0"#, None), Reply::Defined(DefinitionId(0), 1));
    let reply = define(&mut shard, "one", r#"count("View") > 1"#, None);
    assert!(matches!(reply, Reply::Refused(CommandError::Invalid(_))));
    back_fill(&mut shard, 8);
    assert_eq!(define(&mut shard, "one", r#"count("View") > 1"#, None), Reply::Defined(DefinitionId(0), 2));
}
