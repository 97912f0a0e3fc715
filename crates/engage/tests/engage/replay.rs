//! The same log gives the same state, also when what it says of the erased was taken out; and rows survive the disk.

use super::erased::redact_log;
use super::identity::{Act, any_act};
use super::shard::{Bought, Happening, Id, Shard, browser, email, user};
use engage::{CommandError, Engage, Machine, Operation, Parting, Reply, State, WhoToErase};
use engine::{AnyTable, Tables};
use model::event::OrderChange;
use model::record::RecordKind;
use proptest::prelude::*;

pub fn replay(shard: &Shard) -> Shard {
    let mut again = Shard::new();
    for (kind, at, body) in &shard.log {
        again.apply(*kind, body.clone(), *at);
    }
    again.advance(shard.now);
    again
}

fn run(acts: &[Act], erase: Option<(usize, Id)>) -> Shard {
    let mut shard = Shard::new();
    for (index, act) in acts.iter().enumerate() {
        match act {
            Act::Happen(happening) => {
                let mut happening = happening.clone();
                happening.traits = format!("{{\"visit\":{index},\"name\":\"secret {index}\"}}");
                happening.consent = (index % 3 == 0).then_some(index % 2 == 0);
                shard.happen(&happening);
            }
            Act::Part(a, b) => {
                shard.command(Operation::Unmerge(Parting::Pair(a.key(), b.key())));
            }
        }
        if let Some((_, id)) = erase.filter(|(at, _)| *at == index) {
            shard.command(Operation::Erase(WhoToErase::Identifier(id.key())));
        }
    }
    shard
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_replay_gives_the_same_state_and_effects(acts in prop::collection::vec(any_act(), 1..40), at in 0_usize..40, who in 0_u8..3) {
        let mut shard = run(&acts, Some((at, user(who))));
        let mut again = replay(&shard);
        prop_assert_eq!(shard.state.dump(), again.state.dump());
        prop_assert_eq!(&shard.effects, &again.effects);
        redact_log(&mut shard);
        let mut redacted = replay(&shard);
        prop_assert_eq!(shard.state.dump(), redacted.state.dump(), "after redaction");
        prop_assert_eq!(&shard.effects, &redacted.effects, "after redaction");
    }

    #[test]
    fn rows_and_view_survive_the_disk(acts in prop::collection::vec(any_act(), 1..40)) {
        let mut shard = run(&acts, None);
        let rows = shard.state.dump();
        let mut loaded = State::empty();
        let view = Engage.empty_view();
        for (table, key, bytes) in &rows {
            loaded.visit(&mut |one: &mut dyn AnyTable| {
                if one.id().0 == *table {
                    one.fill(*key, Some(bytes)).unwrap();
                }
            });
            Engage.load_view(&view, engine::TableId(*table), *key, bytes);
        }
        prop_assert_eq!(loaded.dump(), rows);
        for number in 0..7 {
            for id in [user(number), email(number), browser(number)] {
                for product in 0..3 {
                    let name = format!("product {product}");
                    prop_assert_eq!(view.decide(&[id.key()], &name, "", shard.now), shard.decide(id, product));
                }
            }
        }
    }

    #[test]
    fn nothing_is_left_of_the_erased(acts in prop::collection::vec(any_act(), 1..30), who in 0_u8..3) {
        let mut shard = run(&acts, None);
        let Some(profile) = shard.profile(user(who)) else { return Ok(()) };
        let reply = shard.command(Operation::Erase(WhoToErase::Profile(profile.profile)));
        prop_assert_eq!(reply, Reply::Erased(profile.identifiers.len() as u32));
        prop_assert!(shard.profile(user(who)).is_none());
        for product in 0..3 {
            prop_assert!(!shard.is_suppressed(user(who), product));
        }
        let again = shard.command(Operation::Erase(WhoToErase::Identifier(user(who).key())));
        prop_assert!(matches!(again, Reply::Refused(CommandError::Unknown(_))));
        let erased: Vec<_> = profile.identifiers.iter().map(|one| one.node).collect();
        let rows = shard.state.dump();
        for (table, key, _) in &rows {
            prop_assert!(*table == 20 || !erased.contains(key), "row {} in table {}", key, table);
        }
    }
}

#[test]
fn a_redacted_log_names_nobody() {
    let mut shard = Shard::new();
    let mut happening = Happening::of(&[user(1), browser(1)], true);
    happening.traits = r#"{"name":"Ada"}"#.to_owned();
    happening.bought =
        Some(Bought { change: OrderChange::Completed, order: 1, refund: 0, value: 5, product: Some(1) });
    shard.happen(&happening);
    shard.happen(&Happening::of(&[user(2)], true));
    shard.command(Operation::Erase(WhoToErase::Identifier(browser(1).key())));
    shard.happen(&happening);
    assert_eq!(redact_log(&mut shard), 1, "only what was before, and only of this person");
    let text = |index: usize| String::from_utf8_lossy(&shard.log[index].2).into_owned();
    for word in ["Ada", "secret", "value", "message"] {
        assert!(!text(0).contains(word), "{word}");
    }
    assert!(text(3).contains("Ada"), "a new beginning is kept");
    assert_eq!(shard.log[2].0, RecordKind::COMMAND);
    let mut again = replay(&shard);
    assert_eq!(again.state.dump(), shard.state.dump());
}
