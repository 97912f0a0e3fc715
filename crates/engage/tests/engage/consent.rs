//! Whoever follows what changed knows what everybody chooses of advertising.

use super::audiences::{any_id, everybody};
use super::shard::{Happening, Id, Shard, browser, email, user};
use engage::effect::Body;
use engage::{
    ConsentNeed, Destination, DestinationKind, Operation, Parting, SendingClass, SendingLimits, WhoToErase,
};
use model::id::{Key, Position};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The line goes by the first, a destination by the second, nobody by the third.
const CATEGORIES: [&str; 3] = ["Advertising", "Email", "Statistics"];

#[derive(Clone, Debug)]
enum Act {
    Says(Vec<Id>, bool, Option<bool>, i64, &'static str),
    Part(Id, Id),
    Erase(Id),
}

fn any_act() -> impl Strategy<Value = Act> {
    let ids = prop_oneof![
        2 => any_id().prop_map(|one| vec![one]),
        2 => (any_id(), any_id()).prop_map(|(one, other)| vec![one, other]),
    ];
    let says = prop_oneof![1 => Just(None), 2 => any::<bool>().prop_map(Some)];
    prop_oneof![
        8 => (ids, any::<bool>(), says, 0_i64..3_000_000, prop::sample::select(&CATEGORIES[..]))
            .prop_map(|(ids, server, says, late, category)| Act::Says(ids, server, says, late, category)),
        2 => (any_id(), any_id()).prop_map(|(one, other)| Act::Part(one, other)),
        1 => any_id().prop_map(Act::Erase),
    ]
}

/// What a follower knows.
#[derive(Default)]
struct Follower {
    read: usize,
    chosen: BTreeMap<(Key, String), Option<bool>>,
}

impl Follower {
    fn knows(&self, profile: Key, category: &str) -> Option<bool> {
        self.chosen.get(&(profile, category.to_owned())).copied().flatten()
    }

    fn follow(&mut self, shard: &Shard) {
        for (_, effect) in &shard.effects[self.read..] {
            let of = |profile: Key, category: &str| (profile, category.to_owned());
            match Body::decode(effect.kind, &effect.body).unwrap() {
                Body::Consent { category, before, after } => {
                    assert!(CATEGORIES[..2].contains(&&*category), "nobody goes by it: {effect:?}");
                    let known = self.knows(effect.subject, &category);
                    assert_eq!(before, known, "{effect:?}");
                    assert_ne!(before, after);
                    self.chosen.insert(of(effect.subject, &category), after);
                }
                Body::Merged { from } => self.chosen.retain(|(own, _), _| *own != from),
                // Who was one with them was known by what was known of them.
                Body::Unmerged(parts) => {
                    for category in CATEGORIES {
                        let known = self.knows(effect.subject, category);
                        self.chosen.extend(parts.iter().map(|part| (of(*part, category), known)));
                    }
                }
                Body::Erased { .. } => self.chosen.retain(|(own, _), _| *own != effect.subject),
                _ => {}
            }
        }
        self.read = shard.effects.len();
    }
}

proptest! {
    #[test]
    fn every_change_of_mind_is_told_once(acts in prop::collection::vec(any_act(), 1..60)) {
        let (mut shard, mut follower) = (Shard::new(), Follower::default());
        shard.command(Operation::DefineDestination(going_by("Email")));
        for act in &acts {
            match act {
                Act::Says(ids, server, says, late, category) => {
                    shard.happen(&Happening { consent: *says, category, late_us: *late, ..Happening::of(ids, *server) });
                }
                Act::Part(one, other) => drop(shard.command(Operation::Unmerge(Parting::Pair(one.key(), other.key())))),
                Act::Erase(id) => drop(shard.command(Operation::Erase(WhoToErase::Identifier(id.key())))),
            }
            follower.follow(&shard);
            for id in everybody() {
                let Some(read) = shard.profile(id) else { continue };
                for category in &CATEGORIES[..2] {
                    let known = follower.knows(read.profile, category);
                    prop_assert_eq!(read.aggregate.consent.choice(category), known, "{:?} after {:?}", id, act);
                }
            }
        }
    }
}

/// A destination that asks for consent to this.
fn going_by(category: &str) -> Destination {
    Destination {
        name: "mail".to_owned(),
        kind: DestinationKind::Ndjson,
        consent: ConsentNeed::Required,
        consent_category: Some(category.to_owned()),
        class: SendingClass::Transactional,
        kinds: Vec::new(),
        audiences: Vec::new(),
        identifiers: Vec::new(),
        events: Vec::new(),
        secret_generation: 0,
        overlap: false,
        enabled: true,
        limits: SendingLimits::default(),
        since: Position(0),
    }
}

fn told(shard: &Shard) -> Vec<(Option<bool>, Option<bool>)> {
    let bodies = shard.effects.iter().map(|(_, effect)| Body::decode(effect.kind, &effect.body).unwrap());
    bodies
        .filter_map(|body| match body {
            Body::Consent { before, after, .. } => Some((before, after)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_word_that_changes_nothing_is_not_told() {
    let mut shard = Shard::new();
    let say = |shard: &mut Shard, id: Id, server: bool, says: bool| {
        shard.happen(&Happening { consent: Some(says), ..Happening::of(&[id], server) });
    };
    say(&mut shard, user(1), true, true);
    say(&mut shard, user(1), true, true);
    assert_eq!(told(&shard), [(None, Some(true))]);
    say(&mut shard, browser(1), false, false);
    // A browser loosens nothing.
    say(&mut shard, browser(1), false, true);
    assert_eq!(told(&shard)[1..], [(None, Some(false))]);
    // The two are one: the later word holds.
    shard.happen(&Happening::of(&[user(1), browser(1)], true));
    let all = told(&shard);
    assert_eq!(all.len(), 3, "one of them hears otherwise: {all:?}");
    say(&mut shard, email(1), true, false);
    assert_eq!(told(&shard).len(), 4);
}

/// What nobody goes by is told of to nobody, so that logs of before a destination could name a category replay the same.
#[test]
fn a_category_is_told_of_from_when_a_destination_goes_by_it() {
    let mut shard = Shard::new();
    let say = |shard: &mut Shard, says: bool| {
        shard.happen(&Happening {
            consent: Some(says),
            category: "Email",
            ..Happening::of(&[user(1)], true)
        });
    };
    say(&mut shard, true);
    assert_eq!(told(&shard), []);
    shard.command(Operation::DefineDestination(going_by("Email")));
    say(&mut shard, false);
    assert_eq!(told(&shard), [(Some(true), Some(false))]);
    shard.command(Operation::RemoveDestination("mail".to_owned()));
    say(&mut shard, true);
    assert_eq!(told(&shard).len(), 1);
}
