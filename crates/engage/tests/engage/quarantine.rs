//! Events in quarantine: counted for nobody, let out once, bounded, gone with whom they name; and a replay of the log, also
//! of one that was redacted, ends in the state that is kept.

use super::erased::redact_log;
use super::replay::replay;
use super::shard::{Happening, Id, Shard, browser, email, user};
use engage::{HeldRow, Operation, QuarantineChange, Reply, WhoToErase};
use model::event::{Event, OrderChange};
use model::id::{Key, Timestamp};
use model::quarantine::Quarantined;
use model::record::RecordKind;
use proptest::prelude::*;
use std::sync::Arc;

const DAY_US: i64 = 24 * 3_600 * 1_000_000;
const DAY_S: u32 = 24 * 3_600;

fn held_body(event: &[u8], at: Timestamp, rows_max: u32, kept_s: u32) -> Vec<u8> {
    let mut body = Vec::new();
    let (code, place) = ("off_plan", "properties.secret");
    Quarantined { received_at: at, rows_max, kept_s, code, place, reason: "secret must be string", event }
        .encode(&mut body);
    body
}

fn hold(shard: &mut Shard, happening: &Happening, message: u64, rows_max: u32, kept_s: u32) -> Vec<u8> {
    let at = shard.now.plus_us(happening.after_us);
    let event = happening.encode(at, message);
    shard.apply(RecordKind::QUARANTINED, held_body(&event, at, rows_max, kept_s), at);
    event
}

fn release(shard: &mut Shard, event: Vec<u8>) -> bool {
    let reply = shard.apply(RecordKind::RELEASED, event, shard.now.plus_us(1)).unwrap();
    match Reply::decode(&reply).unwrap() {
        Reply::Quarantine(count) => count == 1,
        other => panic!("{other:?}"),
    }
}

fn rows(shard: &Shard) -> Vec<Arc<HeldRow>> {
    let mut rows = Vec::new();
    shard.view.each_held(|row| {
        rows.push(Arc::clone(row));
        true
    });
    rows
}

#[test]
fn an_event_counts_when_it_is_let_out_and_only_then_and_once() {
    let mut shard = Shard::new();
    let bought = Happening::of(&[user(1)], true).order(OrderChange::Completed, 1, 500);
    let event = hold(&mut shard, &bought, 1, 10, DAY_S);
    assert!(shard.profile(user(1)).is_none(), "nobody is known by it");
    assert!(!shard.is_suppressed(user(1), 1));
    let held = rows(&shard);
    assert_eq!(
        (held.len(), &*held[0].name, &*held[0].code, &*held[0].place),
        (1, "Happened", "off_plan", "properties.secret")
    );
    // The same message again, as after an answer that was lost long ago.
    hold(&mut shard, &bought, 1, 10, DAY_S);
    assert_eq!(rows(&shard), held);
    assert!(release(&mut shard, event.clone()));
    assert!(!release(&mut shard, event), "it is out");
    assert!(shard.is_suppressed(user(1), 1));
    let profile = shard.profile(user(1)).unwrap();
    assert_eq!((profile.aggregate.events, profile.aggregate.revenue[0].value_minor), (1, 500));
    let counts = shard.view.held_counts();
    assert_eq!((counts.held, counts.taken, counts.released), (0, 1, 1));
    assert_eq!(rows(&shard), []);
}

#[test]
fn the_oldest_go_when_there_are_too_many_or_they_are_too_old() {
    let mut shard = Shard::new();
    for message in 0..7 {
        hold(&mut shard, &Happening::of(&[user(1)], true), message, 4, DAY_S);
    }
    let numbers = |shard: &Shard| rows(shard).iter().map(|row| row.number).collect::<Vec<_>>();
    assert_eq!(numbers(&shard), [6, 5, 4, 3]);
    assert_eq!(shard.view.held_counts().dropped, 3);
    // Numbers that are free are passed over.
    let named = QuarantineChange::Discard(vec![3, 4, 99]);
    assert_eq!(shard.command(Operation::Quarantine(named)), Reply::Quarantine(2));
    shard.advance(shard.now.plus_us(DAY_US / 2));
    hold(&mut shard, &Happening::of(&[user(1)], true), 8, 4, DAY_S);
    shard.advance(shard.now.plus_us(DAY_US / 2 + 10));
    assert_eq!(numbers(&shard), [7], "a timer, not the next event, lets them go");
    shard.advance(shard.now.plus_us(DAY_US));
    assert_eq!((numbers(&shard), shard.view.held_counts().held), (vec![], 0));
    let too_many = QuarantineChange::Discard(vec![1; engage::MAX_NAMED + 1]);
    assert!(matches!(shard.command(Operation::Quarantine(too_many)), Reply::Refused(_)));
    let mut again = replay(&shard);
    assert_eq!(shard.state.dump(), again.state.dump());
}

#[derive(Clone, Debug)]
enum Act {
    Happen(Happening),
    Hold(Happening, u64, u32),
    /// Of the events that were ever held, by their place.
    Release(usize),
    Discard(u64),
    Judge(u64),
    Erase(Id),
    Wait(i64),
}

fn any_id() -> impl Strategy<Value = Id> {
    (0_u8..3, 0_u8..3).prop_map(|(kind, number)| match kind {
        0 => user(number),
        1 => email(number),
        _ => browser(number),
    })
}

fn any_happening() -> impl Strategy<Value = Happening> {
    (prop::collection::vec(any_id(), 1..4), any::<bool>(), prop::option::of(0_u8..3)).prop_map(
        |(mut ids, server, order)| {
            ids.sort();
            ids.dedup();
            let mut happening = Happening::of(&ids, server);
            happening.traits = "{\"name\":\"secret\"}".to_owned();
            match order {
                Some(order) => happening.order(OrderChange::Completed, order, 100),
                None => happening,
            }
        },
    )
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => any_happening().prop_map(Act::Happen),
        6 => (any_happening(), 100_u64..112, 1_u32..8).prop_map(|(happening, message, most)| Act::Hold(happening, message, most)),
        4 => (0_usize..20).prop_map(Act::Release),
        1 => (0_u64..20).prop_map(Act::Discard),
        1 => (0_u64..20).prop_map(Act::Judge),
        2 => any_id().prop_map(Act::Erase),
        1 => (0..2 * DAY_US).prop_map(Act::Wait),
    ]
}

/// What is held, written down in the simplest way: message, identifiers, when, for how long.
#[derive(Default)]
struct Naive {
    held: Vec<(Key, Vec<Id>, Timestamp)>,
    kept_us: i64,
}

impl Naive {
    fn expire(&mut self, now: Timestamp) {
        let kept_us = self.kept_us;
        self.held.retain(|(_, _, at)| at.plus_us(kept_us) > now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_is_bounded_counted_once_and_replayed_also_after_erasures(acts in prop::collection::vec(any_act(), 1..50)) {
        let (mut shard, mut naive) = (Shard::new(), Naive { kept_us: DAY_US, ..Naive::default() });
        let mut events: Vec<Vec<u8>> = Vec::new();
        for act in acts {
            match act {
                Act::Happen(happening) => shard.happen(&happening),
                Act::Hold(happening, message, most) => {
                    let event = hold(&mut shard, &happening, message, most, DAY_S);
                    naive.expire(shard.now);
                    let key = Event::decode(&event).unwrap().dedup_key;
                    if naive.held.iter().all(|(own, ..)| *own != key) {
                        naive.held.push((key, happening.ids.clone(), shard.now));
                        let beyond = naive.held.len().saturating_sub(most as usize);
                        naive.held.drain(..beyond);
                        events.push(event);
                    }
                }
                Act::Release(place) => {
                    let Some(event) = events.get(place).cloned() else { continue };
                    let key = Event::decode(&event).unwrap().dedup_key;
                    naive.expire(shard.now.plus_us(1));
                    let at = naive.held.iter().position(|(own, ..)| *own == key);
                    prop_assert_eq!(release(&mut shard, event), at.is_some());
                    at.map(|at| naive.held.remove(at));
                }
                Act::Discard(number) => {
                    let message = shard.view.held(number).map(|row| row.message);
                    shard.command(Operation::Quarantine(QuarantineChange::Discard(vec![number])));
                    naive.held.retain(|(own, ..)| Some(*own) != message);
                }
                Act::Judge(number) => {
                    let judged = (number, "not_readable".to_owned(), String::new(), "new".to_owned());
                    shard.command(Operation::Quarantine(QuarantineChange::Judge(vec![judged])));
                    prop_assert!(shard.view.held(number).is_none_or(|row| &*row.reason == "new"));
                }
                Act::Erase(id) => {
                    let before: Vec<Id> = shard.profile(id).map_or(Vec::new(), |profile| {
                        let all = [0, 1, 2].into_iter().flat_map(|number| [user(number), email(number), browser(number)]);
                        all.filter(|id| profile.identifiers.iter().any(|one| one.node == id.key() || one.session_of == Some(id.key()))).collect()
                    });
                    shard.command(Operation::Erase(WhoToErase::Identifier(id.key())));
                    naive.expire(shard.now);
                    naive.held.retain(|(_, ids, _)| {
                        let people = ids.iter().any(|id| !id.0.is_session());
                        !ids.iter().any(|id| (!people || !id.0.is_session()) && before.contains(id))
                    });
                }
                Act::Wait(for_us) => shard.advance(shard.now.plus_us(for_us)),
            }
            naive.expire(shard.now);
            let mut held: Vec<Key> = rows(&shard).iter().map(|row| row.message).collect();
            let mut expected: Vec<Key> = naive.held.iter().map(|(key, ..)| *key).collect();
            held.sort();
            expected.sort();
            prop_assert_eq!(&held, &expected);
            let counts = shard.view.held_counts();
            prop_assert_eq!(counts.held, held.len() as u64);
            prop_assert_eq!(counts.taken, counts.held + counts.released + counts.discarded + counts.dropped + counts.erased);
        }
        let mut again = replay(&shard);
        prop_assert_eq!(shard.state.dump(), again.state.dump());
        redact_log(&mut shard);
        let mut redacted = replay(&shard);
        prop_assert_eq!(shard.state.dump(), redacted.state.dump(), "after redaction");
    }
}
