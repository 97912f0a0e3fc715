//! The line's figures: the same for every order of arrival, every late merge, every restart; what a second telling of
//! the definitions says they are; and published again when they were corrected.

#[path = "line/generate.rs"]
mod generate;
#[path = "line/limits.rs"]
mod limits;
#[path = "line/oracle.rs"]
mod oracle;

use super::erased::redact_log;
use super::shard::{Id, Shard, browser, email, user};
use engage::effect::{Body, LINE};
use engage::{Engage, LineRow, Machine, OTHER_CAMPAIGNS, Operation, Parting, Reply, State, WhoToErase};
use engine::{AnyTable, Tables, Value};
use generate::{
    BASE, DAY_US, END, Fact, Flaw, HOUR_US, Rules, What, any_facts, any_rules, arrange, changing_rules,
    crowded, same_goods,
};
use model::event::OrderChange;
use model::id::{Key, Timestamp};
use model::line::{Figures, LineSettings, Measure, NANO, Rate, Span};
use model::record::RecordKind;
use model::suppression::SuppressionSettings;
use oracle::{Expected, expected, people};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const LINE_TABLE: u8 = 28;

/// By hour and the campaign's name.
type Shown = BTreeMap<(i64, String), Figures>;

fn line_settings(rules: &Rules) -> LineSettings {
    let day = i32::try_from(BASE / DAY_US).unwrap();
    let rate = |currency: &[u8; 3], day, nano| Rate { currency: *currency, day, nano };
    let rates = vec![
        rate(b"GBP", day + 5, NANO * 5 / 4),
        rate(b"JPY", 0, NANO * 61 / 10_000),
        rate(b"GBP", day - 9, NANO * 6 / 5),
    ];
    LineSettings {
        currency: Some(*b"EUR"),
        view_window_us: rules.view_us,
        click_window_us: rules.click_us,
        frequency_cap: rules.cap,
        cap_window_us: rules.cap_us,
        duplicate_window_us: rules.duplicate_us,
        grace_us: rules.grace_us,
        sessions: rules.sessions,
        rates: Arc::new(rates),
        ..LineSettings::default()
    }
}

fn shard(rules: &Rules) -> Shard {
    let mut shard = Shard::new();
    let suppression = SuppressionSettings {
        window_us: rules.suppress_us,
        everything: rules.everything,
        refund_lifts: rules.lifts,
        ..SuppressionSettings::default()
    };
    for operation in [Operation::SetSuppression(suppression), Operation::SetLine(line_settings(rules))] {
        let reply = shard.command(operation);
        assert!(matches!(reply, Reply::Settings(_)), "{reply:?}");
    }
    shard
}

/// Changes the line's settings at an instant, which is in the future.
fn set_line(shard: &mut Shard, at: i64, rules: &Rules) -> Result<(), TestCaseError> {
    shard.advance(Timestamp(at - 1));
    let before = figures_of_rows(shard);
    let reply = shard.command(Operation::SetLine(line_settings(rules)));
    prop_assert!(matches!(reply, Reply::Settings(_)), "{:?}", reply);
    prop_assert_eq!(figures_of_rows(shard), before, "a change restates nothing");
    Ok(())
}

fn figures_of_rows(shard: &mut Shard) -> Vec<Figures> {
    rows(shard).into_iter().map(|row| row.figures).collect()
}

/// A fact arrives: as it happens, or at once if that is past.
fn arrive(shard: &mut Shard, facts: &[Fact], index: usize) {
    let at = Timestamp(facts[index].at).max(shard.now.plus_us(1));
    arrive_at(shard, facts, index, at);
}

fn arrive_at(shard: &mut Shard, facts: &[Fact], index: usize, at: Timestamp) {
    shard.apply(RecordKind::EVENT, facts[index].encode(index), at);
}

/// Long enough after the end that everything was published.
fn finish(shard: &mut Shard) {
    let end = shard.now.max(Timestamp(END)).plus_us(3 * HOUR_US);
    shard.advance(end);
}

fn run(facts: &[Fact], rules: &Rules) -> Shard {
    let mut shard = shard(rules);
    (0..facts.len()).for_each(|index| arrive(&mut shard, facts, index));
    finish(&mut shard);
    shard
}

fn rows(shard: &mut Shard) -> Vec<LineRow> {
    let rows = shard.state.dump();
    rows.iter().filter(|row| row.0 == LINE_TABLE).map(|row| LineRow::decode(&row.2).unwrap()).collect()
}

/// The figures; the rows, the view and what was published last are held against each other on the way.
fn figures(shard: &mut Shard) -> Shown {
    let names = shard.view.campaigns();
    let read = shard.view.line(i32::MIN..i32::MAX);
    let shown: BTreeMap<_, _> = read.iter().collect();
    let mut published = BTreeMap::new();
    for (place, correction, figures) in bodies(shard) {
        let times: u32 = published.insert(place, (correction + 1, figures)).map_or(0, |before| before.0);
        assert_eq!(correction, times, "corrections of {place:?} are counted");
    }
    let mut all = Shown::new();
    let mut filled = 0;
    for row in rows(shard) {
        let (times, last) = published.remove(&row.place).unwrap_or_default();
        assert_eq!(times, row.published, "{:?}", row.place);
        assert!(!row.changed && last == row.figures, "what was published last is what holds: {row:?}");
        let name = names.names.get(&row.place.campaign).map_or("", |name| name);
        assert_eq!(name.is_empty(), row.place.campaign == 0);
        if !row.figures.is_empty() {
            filled += 1;
            assert_eq!(shown.get(&row.place), Some(&&row.figures), "the view and the rows agree");
            all.insert((i64::from(row.place.hour), name.to_owned()), row.figures);
        }
    }
    assert_eq!(shown.len(), filled, "nothing is shown that no row says");
    assert!(published.is_empty());
    all
}

fn bodies(shard: &Shard) -> Vec<(model::line::Place, u32, Figures)> {
    let of_line = shard.effects.iter().filter(|(_, effect)| effect.kind == LINE);
    let bodies = of_line.map(|(_, effect)| Body::decode(effect.kind, &effect.body).unwrap());
    bodies
        .map(|body| match body {
            Body::Line { place, correction, figures } => (place, correction, *figures),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn agree(shown: &Shown, expected: &Expected) -> Result<(), TestCaseError> {
    let mut counts = BTreeMap::new();
    let mut spans = BTreeSet::new();
    for (place, figures) in shown {
        for measure in Measure::ALL.iter().filter(|measure| figures.get(**measure) != 0) {
            counts.insert((place.clone(), measure.name().to_owned()), figures.get(*measure));
        }
        for span in Span::ALL {
            let Some(spread) = figures.span(span) else { continue };
            let key = (place.clone(), span.name().to_owned());
            let mut values = expected.spans.get(&key).cloned().unwrap_or_default();
            values.sort_unstable();
            prop_assert_eq!(spread.count(), values.len() as i64, "{:?}", key);
            prop_assert_eq!(
                spread.sum(),
                values.iter().map(|one| i128::from(*one)).sum::<i128>(),
                "{:?}",
                key
            );
            for per_mille in [0_u32, 500, 900, 990, 1_000] {
                let rank = (values.len() * per_mille as usize).div_ceil(1_000).max(1);
                let (exact, read) = (values[rank - 1], spread.quantile(per_mille).unwrap());
                prop_assert!(read.abs_diff(exact) * 64 <= exact, "{key:?}: {read} for {exact}");
            }
            spans.insert(key);
        }
    }
    let mut wanted = expected.counts.clone();
    wanted.retain(|_, count| *count != 0);
    prop_assert_eq!(counts, wanted);
    prop_assert_eq!(spans, expected.spans.keys().cloned().collect::<BTreeSet<_>>());
    Ok(())
}

/// Who the machine takes for one person is who the oracle does.
fn same_people(shard: &mut Shard, facts: &[Fact]) -> Result<(), TestCaseError> {
    let mut profiles = BTreeMap::new();
    for (id, person) in people(facts) {
        let profile = shard.profile(id).unwrap();
        prop_assert!(
            profile.identifiers.iter().all(|one| !one.shared && one.session_of.is_none()),
            "{:?}",
            id
        );
        prop_assert_eq!(*profiles.entry(person).or_insert(profile.profile), profile.profile, "{:?}", id);
    }
    let distinct: BTreeSet<_> = profiles.values().collect();
    prop_assert_eq!(distinct.len(), profiles.len());
    Ok(())
}

fn scene(most: usize) -> impl Strategy<Value = (Vec<Fact>, Rules)> {
    (any_facts(most), any_rules()).prop_map(|(mut facts, rules)| {
        if rules.suppress_us < 30 * DAY_US {
            same_goods(&mut facts);
        }
        (facts, rules)
    })
}

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::with_cases(cases())
    }
}

/// As many as `PROPTEST_CASES` says.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_figures_are_what_the_definitions_say_in_every_order_of_arrival(
        (facts, rules) in scene(100), keys in prop::collection::vec(any::<u32>(), 100),
    ) {
        let mut live = run(&facts, &rules);
        same_people(&mut live, &facts)?;
        let shown = figures(&mut live);
        agree(&shown, &expected(&facts, &rules))?;

        let mut late = shard(&rules);
        let mut wished: Vec<usize> = (0..facts.len()).collect();
        wished.sort_by_key(|index| keys[*index]);
        for (step, index) in arrange(&facts, wished).into_iter().enumerate() {
            arrive_at(&mut late, &facts, index, Timestamp(END + step as i64));
        }
        finish(&mut late);
        prop_assert_eq!(&shown, &figures(&mut late), "another order of arrival");
        prop_assert_eq!(late.view.campaigns(), live.view.campaigns());

        // The facts that only say who is who come anywhere, or when all is over and published.
        for at_the_end in [false, true] {
            let mut wished: Vec<usize> = (0..facts.len()).collect();
            wished.sort_by_key(|index| match (facts[*index].is_link(), at_the_end) {
                (false, _) => facts[*index].at,
                (true, false) => BASE + i64::from(keys[*index] >> 8) * ((END - BASE) >> 24),
                (true, true) => i64::MAX,
            });
            let mut merged = shard(&rules);
            for index in wished {
                if at_the_end && facts[index].is_link() {
                    finish(&mut merged);
                }
                arrive(&mut merged, &facts, index);
            }
            finish(&mut merged);
            prop_assert_eq!(&shown, &figures(&mut merged), "links at the end: {}", at_the_end);
        }
    }

    /// Changed settings hold for what happens from then on, whatever arrives, merges or is corrected later: nothing that is
    /// counted already moves.
    #[test]
    fn settings_hold_for_what_happens_while_they_do(
        facts in any_facts(80), rules in changing_rules(), keys in prop::collection::vec(any::<u32>(), 80),
    ) {
        let mut facts = facts;
        if rules.suppress_us < 30 * DAY_US {
            same_goods(&mut facts);
        }
        let expected = expected(&facts, &rules);
        let mut live = shard(&rules);
        let mut due = rules.later.as_ref();
        for index in 0..facts.len() {
            while let Some((since, later)) = due.filter(|(since, _)| *since <= facts[index].at) {
                set_line(&mut live, *since, later)?;
                due = later.later.as_ref();
            }
            arrive(&mut live, &facts, index);
        }
        finish(&mut live);
        agree(&figures(&mut live), &expected)?;

        // Told when all is over, under the last settings.
        let mut late = shard(&rules);
        let mut due = rules.later.as_ref();
        while let Some((since, later)) = due {
            set_line(&mut late, *since, later)?;
            due = later.later.as_ref();
        }
        let mut wished: Vec<usize> = (0..facts.len()).collect();
        wished.sort_by_key(|index| keys[*index]);
        for (step, index) in arrange(&facts, wished).into_iter().enumerate() {
            arrive_at(&mut late, &facts, index, Timestamp(END + step as i64));
        }
        finish(&mut late);
        agree(&figures(&mut late), &expected)?;
        restart(&mut late);
        agree(&figures(&mut late), &expected)?;
    }

    /// Which of the things of one instant comes first is told by what they are, not by what arrived first, nor by the keys
    /// under which an installation keeps them.
    #[test]
    fn what_happens_at_one_instant_has_an_order_of_its_own(
        (facts, rules) in scene(60), keys in prop::collection::vec(any::<u32>(), 60),
    ) {
        let facts = crowded(facts);
        let expected = expected(&facts, &rules);
        for (round, salt) in [0_u128, u128::MAX >> 1].into_iter().enumerate() {
            let mut wished: Vec<usize> = (0..facts.len()).collect();
            wished.sort_by_key(|index| keys[*index].rotate_left(16 * round as u32));
            let mut shard = shard(&rules);
            for (step, index) in arrange(&facts, wished).into_iter().enumerate() {
                let body = facts[index].encode_under(index, Key(salt ^ (index as u128 + 1)));
                shard.apply(RecordKind::EVENT, body, Timestamp(END + step as i64));
            }
            finish(&mut shard);
            agree(&figures(&mut shard), &expected)?;
        }
    }

    #[test]
    fn parting_gives_back_what_was_before_the_merge((facts, rules) in scene(60), person in 0_u8..3) {
        let both = |ids: &[Id]| ids.contains(&user(person)) && ids.contains(&email(person));
        let mut facts: Vec<Fact> = facts.into_iter().filter(|fact| !both(&fact.ids)).collect();
        let mut shard = run(&facts, &rules);
        let before = figures(&mut shard);
        let apart = facts.clone();
        facts.push(Fact::new(&[user(person), email(person)], shard.now.0, What::Link));
        arrive(&mut shard, &facts, facts.len() - 1);
        finish(&mut shard);
        let merged = figures(&mut shard);
        agree(&merged, &expected(&facts, &rules))?;
        let reply = shard.command(Operation::Unmerge(Parting::Pair(user(person).key(), email(person).key())));
        prop_assert!(matches!(&reply, Reply::Unmerged(parts) if parts.len() == 2), "{:?}", reply);
        finish(&mut shard);
        let parted = figures(&mut shard);
        prop_assert_eq!(&parted, &before);
        agree(&parted, &expected(&apart, &rules))?;
    }

    #[test]
    fn restarts_and_replays_change_nothing((facts, rules) in scene(80), at in 0_usize..80) {
        let mut whole = run(&facts, &rules);
        let mut halved = shard(&rules);
        for index in 0..facts.len() {
            if index == at {
                restart(&mut halved);
            }
            arrive(&mut halved, &facts, index);
        }
        finish(&mut halved);
        restart(&mut halved);
        prop_assert_eq!(figures(&mut whole), figures(&mut halved));
        prop_assert_eq!(whole.state.dump(), halved.state.dump());
        prop_assert_eq!(&whole.effects, &halved.effects);
        let mut again = replay(&whole);
        prop_assert_eq!(whole.state.dump(), again.state.dump());
        prop_assert_eq!(&whole.effects, &again.effects);
    }

    #[test]
    fn what_was_taken_out_of_the_log_leaves_the_figures((facts, rules) in scene(60), who in 0_u8..3, at in 0_usize..60) {
        let mut shard = shard(&rules);
        for index in 0..facts.len() {
            arrive(&mut shard, &facts, index);
            if index == at {
                shard.command(Operation::Erase(WhoToErase::Identifier(user(who).key())));
            }
        }
        finish(&mut shard);
        redact_log(&mut shard);
        let mut again = replay(&shard);
        prop_assert_eq!(shard.state.dump(), again.state.dump());
        prop_assert_eq!(&shard.effects, &again.effects);
    }
}

/// The streams are worth comparing: every measure and span comes up, and not once only.
#[test]
fn random_streams_come_to_every_figure() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..200 {
        let (facts, rules) = scene(100).new_tree(&mut runner).unwrap().current();
        let expected = expected(&facts, &rules);
        let counts = expected.counts.iter().filter(|(_, count)| **count != 0).map(|(key, _)| &key.1);
        let names: BTreeSet<&String> = counts.chain(expected.spans.keys().map(|key| &key.1)).collect();
        names.into_iter().for_each(|name| *seen.entry(name.clone()).or_default() += 1);
    }
    let all = Measure::ALL.iter().map(|one| one.name()).chain(Span::ALL.iter().map(|one| one.name()));
    let rare: Vec<_> = all.filter(|name| seen.get(*name).is_none_or(|times| *times < 10)).collect();
    assert!(rare.is_empty(), "these come up in less than 10 streams of 200: {rare:?} {seen:?}");
}

/// All rows and the view, from what is on the disk.
fn restart(shard: &mut Shard) {
    let rows = shard.state.dump();
    let mut state = State::empty();
    let view = Engage.empty_view();
    for (table, key, bytes) in &rows {
        state.visit(&mut |one: &mut dyn AnyTable| {
            if one.id().0 == *table {
                one.fill(*key, Some(bytes)).unwrap();
            }
        });
        Engage.load_view(&view, engine::TableId(*table), *key, bytes);
    }
    assert_eq!(state.dump(), rows);
    (shard.state, shard.view) = (state, view);
}

fn replay(shard: &Shard) -> Shard {
    let mut again = Shard::new();
    for (kind, at, body) in &shard.log {
        again.apply(*kind, body.clone(), *at);
    }
    again.advance(shard.now);
    again
}

fn shown(campaign: u8) -> What {
    let name = "Ad Impression";
    let cost = Some((1_000_000, Some("EUR")));
    What::Seen { name, campaign, product: None, category: None, cost, flaw: Flaw::None }
}

fn clicked(campaign: u8, cost: i64, currency: &'static str) -> What {
    let name = "Ad Click";
    let cost = Some((cost, Some(currency)));
    What::Seen { name, campaign, product: None, category: None, cost, flaw: Flaw::None }
}

fn order(change: OrderChange, order: u8, value: i64) -> What {
    What::Order { change, order, refund: 0, value, currency: "EUR", products: vec![(1, 1)] }
}

fn total(shard: &mut Shard, measure: Measure) -> i64 {
    rows(shard).iter().map(|row| row.figures.get(measure)).sum()
}

/// Takes facts in, an hour apart, live.
fn told(rules: &Rules, facts: &[(&[Id], What)]) -> Shard {
    let at = |index: usize| BASE + (index as i64 + 1) * HOUR_US;
    let facts = facts.iter().enumerate();
    let facts: Vec<Fact> =
        facts.map(|(index, (ids, what))| Fact::new(ids, at(index), what.clone())).collect();
    run(&facts, rules)
}

#[test]
fn a_late_merge_is_published_as_a_correction() {
    let rules = Rules::default();
    let facts = [
        Fact::new(&[browser(1)], BASE + HOUR_US, shown(1)),
        Fact::new(&[user(1)], BASE + 2 * HOUR_US, shown(1)),
        Fact::new(&[user(1)], BASE + 3 * HOUR_US, order(OrderChange::Completed, 1, 500)),
        Fact::new(&[user(1), browser(1)], BASE + 5 * DAY_US, What::Link),
    ];
    let mut shard = shard(&rules);
    (0..3).for_each(|index| arrive(&mut shard, &facts, index));
    shard.advance(Timestamp(BASE + 4 * HOUR_US + 1));
    let at = |hours: i64| i32::try_from(BASE / HOUR_US + hours).unwrap();
    let first: Vec<_> = bodies(&shard).iter().map(|(place, times, _)| (place.hour, *times)).collect();
    // The first hour of the day says how many people there were; it changed before it was over.
    assert_eq!(first, [(at(0), 0), (at(1), 0), (at(0), 1), (at(2), 0), (at(0), 2), (at(3), 0)]);
    let before = bodies(&shard).len();
    arrive(&mut shard, &facts, 3);
    shard.advance(Timestamp(BASE + 5 * DAY_US + 59_000_000));
    assert_eq!(bodies(&shard).len(), before, "corrections are gathered for a minute");
    finish(&mut shard);
    let corrections = bodies(&shard).split_off(before);
    let second = corrections.iter().find(|(place, ..)| place.hour == at(2)).unwrap();
    assert_eq!((second.1, second.2.get(Measure::ScrapDuplicate)), (1, 1));
    let people = corrections.iter().find(|(place, ..)| place.hour == at(0)).unwrap();
    assert_eq!(people.2.get(Measure::PeopleWithAttention), 1, "two people were one");
    let cycle = corrections.iter().find(|(place, ..)| place.hour == at(1));
    assert!(cycle.is_none(), "the first impression is where it was, and no journey has ended");
    agree(&figures(&mut shard), &expected(&facts, &rules)).unwrap();
}

#[test]
fn what_happened_too_long_ago_changes_nothing_any_more() {
    let rules = Rules::default();
    let midnight = BASE + 20 * DAY_US;
    let open = midnight - 14 * DAY_US;
    let mut shard = shard(&rules);
    let facts = [
        Fact::new(&[user(1)], open - 1, shown(1)),
        Fact::new(&[user(1)], open, shown(1)),
        Fact::new(&[user(1)], open - 1, order(OrderChange::Completed, 1, 700)),
        Fact::new(&[user(1)], open, order(OrderChange::Completed, 2, 500)),
        Fact::new(&[browser(1)], open - DAY_US, shown(2)),
        Fact::new(&[browser(1)], open + HOUR_US, shown(2)),
    ];
    for index in 0..facts.len() {
        arrive_at(&mut shard, &facts, index, Timestamp(midnight + 5));
    }
    for (measure, expected) in [
        (Measure::Impressions, 2),
        (Measure::Orders, 1),
        (Measure::CashMicro, 5_000_000),
        (Measure::OrdersWithAttention, 1),
        (Measure::ScrapDuplicate, 0),
    ] {
        assert_eq!(total(&mut shard, measure), expected, "{measure:?}");
    }
    // Two days later, hours that are closed stay as they are, whoever turns out to be one.
    shard.advance(Timestamp(midnight + 2 * DAY_US));
    let before = rows(&mut shard);
    let mut link = facts.to_vec();
    link.push(Fact::new(&[user(1), browser(1)], shard.now.0, What::Link));
    link.push(Fact::new(&[user(1)], open, order(OrderChange::Cancelled, 2, 0)));
    (6..8).for_each(|index| arrive(&mut shard, &link, index));
    finish(&mut shard);
    assert_eq!(rows(&mut shard), before);
}

#[test]
fn figures_are_forgotten_in_the_end() {
    let mut shard = told(&Rules::default(), &[(&[user(1)], shown(1))]);
    assert_eq!(rows(&mut shard).len(), 2);
    shard.advance(Timestamp(BASE + engage::KEPT_US));
    assert_eq!(rows(&mut shard).len(), 1, "the day's hour is over first");
    shard.advance(Timestamp(BASE + engage::KEPT_US + HOUR_US));
    assert_eq!(rows(&mut shard), []);
    assert_eq!(shard.view.line(i32::MIN..i32::MAX).iter().count(), 0);
    assert!(shard.timers.values().all(|due| *due > shard.now));
}

#[test]
fn a_cost_counts_where_it_is_known_and_believed() {
    // Value, currency, from whom: cost in micro-euros, and whether it has no price.
    let table: [(i64, &'static str, bool, bool, i64, i64); 9] = [
        (1_500_000, "EUR", true, true, 1_500_000, 0),
        (1_500_000, "eur", true, true, 1_500_000, 0),
        (1_500_000, "GBP", true, true, 1_800_000, 0),
        (1_500_000, "USD", true, true, 0, 1),
        (1_500_000, "", true, true, 0, 1),
        (0, "USD", true, true, 0, 0),
        (1_500_000, "EUR", false, false, 0, 0),
        (1_500_000, "USD", false, false, 0, 0),
        (1_500_000, "EUR", false, true, 1_500_000, 0),
    ];
    for (cost, currency, server, counts, spend, unpriced) in table {
        let fact = Fact { server, counts, ..Fact::new(&[user(1)], BASE, clicked(1, cost, currency)) };
        let mut shard = run(&[fact], &Rules::default());
        assert_eq!(total(&mut shard, Measure::Clicks), 1);
        let own = (total(&mut shard, Measure::SpendMicro), total(&mut shard, Measure::UnpricedTouches));
        assert_eq!(own, (spend, unpriced), "{cost} {currency} {server} {counts}");
    }
}

#[test]
fn an_order_is_worth_what_was_kept_of_it() {
    use OrderChange::{Cancelled, Completed, Refunded, Updated};
    let dollars = |change, value| What::Order {
        change,
        order: 1,
        refund: 0,
        value,
        currency: "USD",
        products: Vec::new(),
    };
    // Then: orders, cash, orders without a price.
    type Row<'a> = (&'a [What], (i64, i64, i64));
    let table: [Row<'_>; 8] = [
        (&[order(Completed, 1, 500)], (1, 5_000_000, 0)),
        (&[order(Completed, 1, 500), order(Completed, 1, 900)], (1, 5_000_000, 0)),
        (&[order(Completed, 1, 500), order(Updated, 1, 900)], (1, 9_000_000, 0)),
        (&[order(Completed, 1, 500), order(Refunded, 1, 200)], (1, 3_000_000, 0)),
        (&[order(Refunded, 1, 500), order(Completed, 1, 500)], (1, 0, 0)),
        (&[order(Completed, 1, 500), order(Cancelled, 1, 0)], (0, 0, 0)),
        (&[dollars(Completed, 500)], (1, 0, 1)),
        (&[order(Completed, 1, 500), dollars(Refunded, 200)], (1, 0, 1)),
    ];
    for (reports, expected) in table {
        let ids = [user(1)];
        let facts: Vec<(&[Id], What)> = reports.iter().map(|what| (ids.as_slice(), what.clone())).collect();
        let mut shard = told(&Rules::default(), &facts);
        let own = [Measure::Orders, Measure::CashMicro, Measure::UnpricedOrders];
        let [orders, cash, unpriced] = own.map(|measure| total(&mut shard, measure));
        assert_eq!((orders, cash, unpriced), expected, "{reports:?}");
    }
}

#[test]
fn an_order_is_of_the_earliest_time_that_the_server_says_whichever_report_comes_first() {
    use OrderChange::{Completed, Updated};
    let hour = |number: i64| BASE + number * HOUR_US;
    let said = |change, at: i64, server| Fact {
        server,
        counts: server,
        ..Fact::new(&[user(1)], hour(at), order(change, 1, 500))
    };
    let reports = [
        said(Completed, 5, true),
        said(Completed, 3, true),
        said(Updated, 4, true),
        // A browser's word is none where there is a server's.
        said(Completed, 1, false),
        Fact::new(&[user(1)], hour(3) + 1, shown(1)),
    ];
    let mut answers = BTreeSet::new();
    for first in 0..reports.len() {
        for second in (0..reports.len()).filter(|second| *second != first) {
            let mut arrival = vec![first, second];
            arrival.extend((0..reports.len()).filter(|other| ![first, second].contains(other)));
            let mut shard = shard(&Rules::default());
            for (step, index) in arrival.into_iter().enumerate() {
                arrive_at(&mut shard, &reports, index, Timestamp(END + step as i64));
            }
            finish(&mut shard);
            let shown = figures(&mut shard);
            let hours: Vec<i64> = shown
                .iter()
                .filter(|(_, own)| own.get(Measure::Orders) != 0)
                .map(|(place, _)| place.0)
                .collect();
            assert_eq!(hours, [hour(3) / HOUR_US], "arrival begins with {first} and {second}");
            answers.insert(format!("{shown:?}"));
        }
    }
    assert_eq!(answers.len(), 1, "whatever the order of arrival");
}

#[test]
fn a_half_hour_is_one_session_however_many_devices() {
    let rules = Rules { sessions: true, ..Rules::default() };
    let half = HOUR_US / 2;
    let page = |id: Id, at: i64, what: What| Fact {
        server: false,
        counts: false,
        ..Fact::new(&[id], BASE + at, what)
    };
    // When, and what, on two devices of one person; then how many sessions there are.
    type Row<'a> = (&'a [(u8, i64, What)], i64);
    let table: [Row<'_>; 6] = [
        (&[(1, 0, What::Page), (1, half - 1, What::Page)], 1),
        (&[(1, 0, What::Page), (1, half, What::Page)], 2),
        (&[(1, 0, What::Page), (2, half - 1, What::Page)], 1),
        (&[(1, 0, What::Cart), (2, 5, What::Pay)], 1),
        (&[(1, 0, shown(1)), (2, 5, clicked(1, 0, "EUR"))], 0),
        (&[(1, 0, What::Word(false)), (2, 5, What::Link)], 0),
    ];
    for (events, expected) in table {
        let mut facts: Vec<Fact> =
            events.iter().map(|(device, at, what)| page(browser(*device), *at, what.clone())).collect();
        for device in [1, 2] {
            facts.push(Fact::new(&[user(1), browser(device)], BASE + 2 * HOUR_US, What::Link));
        }
        let mut shard = run(&facts, &rules);
        assert_eq!(total(&mut shard, Measure::Sessions), expected, "{events:?}");
        let mut off = run(&facts, &Rules::default());
        assert_eq!(total(&mut off, Measure::Sessions), 0);
    }
}
