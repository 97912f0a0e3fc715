//! How channels share what paths of them sold: by hand, against the definitions told again in the plainest way, and
//! against published figures of real paths.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "helpers of tests fail by panicking"
)]

use model::attribution::{
    MAX_CHANNEL_BYTES, MAX_CHANNELS, MAX_PATH_TOUCHES, MAX_TOTAL, PathError, Paths, Shares,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Channels in their order, conversions, and those who did not convert.
type Row<'n> = (&'n [&'n str], u64, u64);

fn added(rows: &[Row<'_>]) -> Paths {
    let mut paths = Paths::default();
    for (path, conversions, nulls) in rows {
        paths.add(path.iter().copied(), *conversions, *nulls).unwrap();
    }
    paths
}

fn close(one: f64, other: f64, error: f64) -> bool {
    (one - other).abs() <= error * other.abs().max(1.0)
}

#[test]
fn small_paths_come_out_as_reckoned_by_hand() {
    // Paths; the chance to convert; then of each channel in order of names: last, Markov, Shapley.
    type Case<'n> = (&'n [Row<'n>], f64, &'n [(u64, f64, f64)]);
    let table: [Case<'_>; 6] = [
        (&[], 0.0, &[]),
        (&[(&["a"], 3, 1)], 0.75, &[(3, 3.0, 3.0)]),
        // Nobody converted: there is nothing to share.
        (&[(&["a", "b"], 0, 4)], 0.0, &[(0, 0.0, 0.0), (0, 0.0, 0.0)]),
        // Without either nobody comes through, so both get half; staying is no step.
        (&[(&["a", "a", "b"], 2, 2)], 0.5, &[(0, 1.0, 1.0), (2, 1.0, 1.0)]),
        // Start leads to a and b, each half. From a: to b, or to nothing, half each. From b all convert. So the chance is
        // 1/4 + 1/2 = 3/4. Without a it is 1/2, a third less; without b it is 0. Shared 1 to 3: 0.25 and 0.75 of 3.
        (&[(&["a", "b"], 1, 0), (&["a"], 0, 1), (&["b"], 2, 0)], 0.75, &[(0, 0.75, 0.5), (3, 2.25, 2.5)]),
        // A circle: a goes on to b half of the time and converts otherwise; b goes back to a half of the time and is lost
        // otherwise. From a: f = 1/2 + f/4, so 2/3. Without b: 1/2, a quarter less; without a: 0. 4 to 1 of 2.
        (
            &[(&["a"], 1, 0), (&["a", "b", "a"], 1, 0), (&["a", "b"], 0, 1)],
            2.0 / 3.0,
            &[(2, 1.6, 1.5), (0, 0.4, 0.5)],
        ),
    ];
    for (rows, chance, expected) in table {
        let shares = added(rows).shares();
        assert!(close(shares.chance, chance, 1e-12), "{rows:?}: {shares:?}");
        assert_eq!(shares.channels.len(), expected.len());
        for (own, (last, markov, shapley)) in shares.channels.iter().zip(expected) {
            assert_eq!(own.last, *last, "{rows:?}");
            assert!(
                close(own.markov, *markov, 1e-12) && close(own.shapley, *shapley, 1e-12),
                "{rows:?}: {own:?}"
            );
        }
    }
}

#[test]
fn paths_that_cannot_be_meant_are_refused_and_change_nothing() {
    let many: Vec<String> = (0..=MAX_CHANNELS).map(|number| format!("channel {number}")).collect();
    let long = "x".repeat(MAX_CHANNEL_BYTES + 1);
    let endless = vec!["a"; MAX_PATH_TOUCHES + 1];
    let table: [(Vec<&str>, u64, u64, PathError); 7] = [
        (vec![], 1, 0, PathError::Empty),
        (vec!["a", ""], 1, 0, PathError::Name(String::new())),
        (vec![&long], 1, 0, PathError::Name(long[..MAX_CHANNEL_BYTES].to_owned())),
        (many.iter().map(String::as_str).collect(), 1, 0, PathError::TooManyChannels),
        (endless, 1, 0, PathError::TooLong),
        (vec!["a"], MAX_TOTAL, 1, PathError::TooMany),
        (vec!["a"], u64::MAX, 1, PathError::TooMany),
    ];
    let mut paths = added(&[(&["a", "b"], 2, 1)]);
    let before = paths.shares();
    let mut codes = BTreeSet::new();
    for (path, conversions, nulls, expected) in table {
        let refused = paths.add(path.iter().copied(), conversions, nulls);
        assert_eq!(refused.as_ref(), Err(&expected));
        codes.insert(expected.code());
        assert_eq!(paths.shares(), before, "{expected:?}");
    }
    assert_eq!(codes.len(), 5, "each reason has a word of its own");
    // As many as there may be: no conversion is lost.
    let mut full = Paths::default();
    for pair in many[..MAX_CHANNELS].windows(2) {
        full.add(pair.iter().map(String::as_str), 1, 1).unwrap();
    }
    let shares = full.shares();
    let sum: f64 = shares.channels.iter().map(|own| own.markov).sum();
    assert_eq!(shares.channels.len(), MAX_CHANNELS);
    assert!(close(sum, MAX_CHANNELS as f64 - 1.0, 1e-9), "{sum}");
}

/// The definition of the Markov shares, told again: the chain is walked until next to nobody is under way, with all
/// channels and then with each of them leading to nothing.
fn walked(rows: &[(Vec<u8>, u64, u64)]) -> BTreeMap<u8, f64> {
    const START: u8 = 100;
    const DONE: u8 = 101;
    const LOST: u8 = 102;
    let mut weights: BTreeMap<(u8, u8), f64> = BTreeMap::new();
    for (path, conversions, nulls) in rows {
        let mut states = vec![START];
        states.extend(path);
        for pair in states.windows(2).filter(|pair| pair[0] != pair[1]) {
            *weights.entry((pair[0], pair[1])).or_default() += (conversions + nulls) as f64;
        }
        let last = *path.last().unwrap();
        *weights.entry((last, DONE)).or_default() += *conversions as f64;
        *weights.entry((last, LOST)).or_default() += *nulls as f64;
    }
    let out = |state: u8| {
        weights.iter().filter(|((from, _), _)| *from == state).map(|(_, weight)| weight).sum::<f64>()
    };
    let chance = |without: Option<u8>| {
        let (mut there, mut done) = (BTreeMap::from([(START, 1.0)]), 0.0);
        for _ in 0..20_000 {
            let mut next: BTreeMap<u8, f64> = BTreeMap::new();
            for (state, share) in &there {
                let out = out(*state);
                for ((_, to), weight) in weights.iter().filter(|((from, _), _)| from == state) {
                    let moved = if out > 0.0 { share * weight / out } else { 0.0 };
                    match *to {
                        DONE => done += moved,
                        to if to == LOST || Some(to) == without => {}
                        to => *next.entry(to).or_default() += moved,
                    }
                }
            }
            there = next;
            if there.values().sum::<f64>() < 1e-15 {
                break;
            }
        }
        done
    };
    let all = chance(None);
    let channels: BTreeSet<u8> = rows.iter().flat_map(|(path, ..)| path.iter().copied()).collect();
    let effect = |channel: u8| if all > 0.0 { 1.0 - chance(Some(channel)) / all } else { 0.0 };
    let effects: BTreeMap<u8, f64> = channels.into_iter().map(|channel| (channel, effect(channel))).collect();
    let (sum, total) = (effects.values().sum::<f64>(), rows.iter().map(|row| row.1).sum::<u64>() as f64);
    effects
        .into_iter()
        .map(|(channel, effect)| (channel, if sum > 0.0 { effect / sum * total } else { 0.0 }))
        .collect()
}

fn any_rows() -> impl Strategy<Value = Vec<(Vec<u8>, u64, u64)>> {
    let path = prop::collection::vec(0_u8..6, 1..7);
    prop::collection::vec((path, 0_u64..4, 0_u64..20), 1..30)
}

fn name(channel: u8) -> String {
    format!("c{channel}")
}

fn of(rows: &[(Vec<u8>, u64, u64)], named: impl Fn(u8) -> String) -> Shares {
    let mut paths = Paths::default();
    for (path, conversions, nulls) in rows {
        let names: Vec<String> = path.iter().map(|channel| named(*channel)).collect();
        paths.add(names.iter().map(String::as_str), *conversions, *nulls).unwrap();
    }
    paths.shares()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn shares_are_what_the_definitions_say_and_sum_to_all_conversions(rows in any_rows()) {
        let shares = of(&rows, name);
        let total = rows.iter().map(|row| row.1).sum::<u64>();
        prop_assert_eq!(shares.conversions, total);
        prop_assert_eq!(shares.channels.iter().map(|own| own.last).sum::<u64>(), total);
        let sum = |of: fn(&model::attribution::Share) -> f64| shares.channels.iter().map(of).sum::<f64>();
        prop_assert!(close(sum(|own| own.markov), total as f64, 1e-9), "{shares:?}");
        prop_assert!(close(sum(|own| own.shapley), total as f64, 1e-9), "{shares:?}");
        let walked = walked(&rows);
        prop_assert_eq!(shares.channels.len(), walked.len());
        for (own, (channel, markov)) in shares.channels.iter().zip(walked) {
            prop_assert_eq!(&own.channel, &name(channel));
            prop_assert!(close(own.markov, markov, 1e-7), "{own:?}, walked {markov}");
            let shapley: f64 = rows.iter().filter(|(path, ..)| path.contains(&channel)).map(|(path, conversions, _)| {
                *conversions as f64 / path.iter().collect::<BTreeSet<_>>().len() as f64
            }).sum();
            prop_assert!(close(own.shapley, shapley, 1e-9), "{own:?}, shared {shapley}");
        }
    }

    #[test]
    fn names_and_the_order_of_paths_mean_nothing(rows in any_rows(), by in 1_u8..6, cut in 0_usize..30) {
        let shares = of(&rows, name);
        let turned = of(&rows, |channel| name((channel + by) % 6));
        for own in &shares.channels {
            let channel: u8 = own.channel[1..].parse().unwrap();
            let other = turned.channels.iter().find(|other| other.channel == name((channel + by) % 6)).unwrap();
            prop_assert_eq!(own.last, other.last);
            prop_assert!(close(own.markov, other.markov, 1e-9) && close(own.shapley, other.shapley, 1e-9));
        }
        // To the bit: another order, and a path told in two parts.
        let mut parts = rows.clone();
        parts.rotate_left(cut.min(rows.len()));
        let (path, conversions, nulls) = parts[0].clone();
        parts[0] = (path.clone(), conversions / 2, nulls);
        parts.push((path, conversions - conversions / 2, 0));
        prop_assert_eq!(of(&parts, name), shares);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the data set is a file where the environment says")]
fn real_paths_come_to_the_published_figures() {
    let Ok(folder) = std::env::var("THROUGHLINE_SHARED_DATA") else {
        eprintln!("SKIPPED: set THROUGHLINE_SHARED_DATA to compare with the figures of real paths");
        return;
    };
    let file = std::path::Path::new(&folder).join("attribution_paths/paths.csv");
    let Ok(text) = std::fs::read_to_string(&file) else {
        eprintln!("SKIPPED: there is no {}", file.display());
        return;
    };
    let mut paths = Paths::default();
    let mut rows = 0;
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        paths
            .add(cells[1].split('>').map(str::trim), cells[2].parse().unwrap(), cells[4].parse().unwrap())
            .unwrap();
        rows += 1;
    }
    let shares = paths.shares();
    assert_eq!((rows, shares.conversions), (6_727, 14_004));
    assert!((shares.chance - 0.225_645_32).abs() < 1e-8, "{}", shares.chance);
    for (channel, last, markov, shapley) in [
        ("alpha", 5_885, 3827.849164, 5430.130952),
        ("iota", 2_747, 2962.553882, 2817.730952),
        ("eta", 2_747, 2311.469567, 2395.600000),
        ("beta", 618, 1727.805210, 1282.219048),
        ("theta", 437, 1233.319044, 703.483333),
        ("lambda", 962, 960.230778, 807.661905),
        ("epsilon", 331, 404.892081, 242.592857),
        ("mi", 0, 0.779531, 0.666667),
    ] {
        let own = shares.channels.iter().find(|own| own.channel == channel).unwrap();
        assert_eq!(own.last, last, "{channel}");
        assert!((own.markov - markov).abs() < 1e-6 && (own.shapley - shapley).abs() < 1e-6, "{own:?}");
    }
}
