//! Whoever follows what changed knows what everybody chooses of advertising.

use super::audiences::{any_id, everybody};
use super::shard::{Happening, Id, Shard, browser, email, user};
use engage::effect::Body;
use engage::{Operation, Parting, WhoToErase};
use model::id::Key;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Act {
    Says(Vec<Id>, bool, Option<bool>, i64),
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
        8 => (ids, any::<bool>(), says, 0_i64..3_000_000).prop_map(|(ids, server, says, late)| Act::Says(ids, server, says, late)),
        2 => (any_id(), any_id()).prop_map(|(one, other)| Act::Part(one, other)),
        1 => any_id().prop_map(Act::Erase),
    ]
}

/// What a follower knows.
#[derive(Default)]
struct Follower {
    read: usize,
    chosen: BTreeMap<Key, Option<bool>>,
}

impl Follower {
    fn follow(&mut self, shard: &Shard) {
        for (_, effect) in &shard.effects[self.read..] {
            let known = self.chosen.get(&effect.subject).copied().flatten();
            match Body::decode(effect.kind, &effect.body).unwrap() {
                Body::Consent { category, before, after } => {
                    assert_eq!((&*category, before), ("Advertising", known), "{effect:?}");
                    assert_ne!(before, after);
                    self.chosen.insert(effect.subject, after);
                }
                Body::Merged { from } => drop(self.chosen.remove(&from)),
                // Who was one with them was known by what was known of them.
                Body::Unmerged(parts) => self.chosen.extend(parts.into_iter().map(|part| (part, known))),
                Body::Erased { .. } => drop(self.chosen.remove(&effect.subject)),
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
        for act in &acts {
            match act {
                Act::Says(ids, server, says, late) => {
                    shard.happen(&Happening { consent: *says, late_us: *late, ..Happening::of(ids, *server) });
                }
                Act::Part(one, other) => drop(shard.command(Operation::Unmerge(Parting::Pair(one.key(), other.key())))),
                Act::Erase(id) => drop(shard.command(Operation::Erase(WhoToErase::Identifier(id.key())))),
            }
            follower.follow(&shard);
            for id in everybody() {
                let Some(read) = shard.profile(id) else { continue };
                let known = follower.chosen.get(&read.profile).copied().flatten();
                prop_assert_eq!(read.aggregate.consent.choice("Advertising"), known, "{:?} after {:?}", id, act);
            }
        }
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
