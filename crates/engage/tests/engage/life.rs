//! One person's days: bought, suppressed, merged, parted, refunded, claimed by a browser, handed a tablet.

use super::naive::DAY_US;
use super::shard::{Happening, Id, Shard, browser, email, user};
use engage::effect::Body;
use engage::{
    CommandError, Decision, Explanation, Operation, Parting, Reply, Settings, Token, WriteKey, WriteKeyKind,
};
use model::event::OrderChange::{Cancelled, Completed, Refunded};
use model::id::{Key, Timestamp};
use model::identity::Reason;
use model::suppression::SuppressionSettings;

fn bodies(shard: &Shard) -> Vec<Body> {
    shard.effects.iter().map(|(_, effect)| Body::decode(effect.kind, &effect.body).unwrap()).collect()
}

#[test]
fn a_purchase_suppresses_the_whole_person_until_the_window_ends() {
    let mut shard = Shard::new();
    shard.happen(&Happening::of(&[browser(1)], false));
    assert_eq!(shard.explain(browser(1), 7), Explanation::NothingBought);
    assert_eq!(shard.explain(browser(9), 7), Explanation::UnknownPerson);
    shard.happen(&Happening::of(&[user(1), browser(1)], false));
    shard.happen(&Happening::of(&[user(1)], true).order(Completed, 7, 1_000));
    let bought_at = shard.now;
    let Decision::Suppressed(cause) = shard.decide(browser(1), 7) else { panic!("not suppressed") };
    assert_eq!((cause.until, cause.position.0), (bought_at.plus_us(30 * DAY_US), 2));
    assert_eq!(shard.decide(browser(1), 8), Decision::NotBought);
    // Another device of the same person, later.
    shard.happen(&Happening::of(&[user(1), browser(2)], false));
    assert!(shard.is_suppressed(browser(2), 7));
    // A profile that is merged into it later, both ways round.
    shard.happen(&Happening::of(&[email(1), browser(3)], true));
    assert!(!shard.is_suppressed(browser(3), 7));
    shard.happen(&Happening::of(&[user(1), email(1)], true));
    for id in [user(1), email(1), browser(1), browser(2), browser(3)] {
        assert!(shard.is_suppressed(id, 7), "{id:?}");
    }
    shard.advance(bought_at.plus_us(30 * DAY_US - 1));
    assert!(shard.is_suppressed(email(1), 7));
    shard.advance(bought_at.plus_us(30 * DAY_US));
    assert!(!shard.is_suppressed(email(1), 7));
    assert!(matches!(shard.explain(email(1), 7), Explanation::WindowOver(_)));
    assert_eq!(shard.view.suppressed_profiles(), 0);
    let kinds: Vec<u16> = shard.effects.iter().map(|(_, effect)| effect.kind).collect();
    use engage::effect::{MERGED, SUPPRESSION_ENDED, SUPPRESSION_STARTED};
    assert_eq!(kinds, [SUPPRESSION_STARTED, MERGED, SUPPRESSION_ENDED]);
}

#[test]
fn parting_takes_suppression_back_and_joining_spreads_it() {
    let mut shard = Shard::new();
    shard.happen(&Happening::of(&[email(1)], true));
    shard.happen(&Happening::of(&[user(1)], true).order(Completed, 7, 1_000));
    shard.happen(&Happening::of(&[user(1), email(1)], true));
    assert!(shard.is_suppressed(email(1), 7));
    let reply = shard.command(Operation::Unmerge(Parting::Record(user(1).key(), model::id::Position(2))));
    assert!(matches!(reply, Reply::Unmerged(parts) if parts.len() == 2));
    assert!(!shard.is_suppressed(email(1), 7));
    assert!(shard.is_suppressed(user(1), 7));
    let again = shard.command(Operation::Unmerge(Parting::Pair(user(1).key(), email(1).key())));
    assert_eq!(again, Reply::Refused(CommandError::NotJoined));
}

#[test]
fn refunds_and_cancellations_lift_it_where_the_setting_says_so() {
    for (lifts, change, from_server, suppressed) in [
        (true, Cancelled, true, false),
        (true, Refunded, true, false),
        (false, Cancelled, true, true),
        (false, Refunded, true, true),
        (true, Cancelled, false, true),
        (true, Refunded, false, true),
    ] {
        let mut shard = Shard::new();
        let settings = SuppressionSettings { refund_lifts: lifts, ..SuppressionSettings::default() };
        assert_eq!(shard.command(Operation::SetSuppression(settings)), Reply::Settings(1));
        shard.happen(&Happening::of(&[user(1), browser(1)], true).order(Completed, 7, 1_000));
        shard.happen(&Happening::of(&[browser(1)], from_server).order(change, 7, 1_000));
        let case = format!("{lifts} {change:?} {from_server}");
        assert_eq!(shard.is_suppressed(browser(1), 7), suppressed, "{case}");
        if !suppressed {
            assert_eq!(shard.explain(user(1), 7), Explanation::Undone, "{case}");
        }
    }
}

/// Promise 11, line by line: what happens, from a browser and from a server.
#[test]
fn what_a_browser_may_not_do() {
    let one = |shard: &mut Shard, a: Id, b: Id| {
        shard.profile(a).unwrap().profile == shard.profile(b).unwrap().profile
    };
    for server in [false, true] {
        let mut shard = Shard::new();
        shard.happen(&Happening::of(&[user(1)], true));
        shard.happen(&Happening::of(&[email(1)], true));
        shard.happen(&Happening::of(&[user(1), email(1)], server));
        assert_eq!(one(&mut shard, user(1), email(1)), server, "unites two known persons");
        let refusals = shard.profile(user(1)).unwrap().identifiers[0].refusals.clone();
        assert_eq!(refusals.first().map(|refusal| refusal.reason), (!server).then_some(Reason::BrowserClaim));
        assert!(shard.profile(user(1)).unwrap().aggregate.events >= 2, "the event is accepted");

        shard.happen(&Happening::of(&[user(1), browser(1)], server));
        assert!(one(&mut shard, user(1), browser(1)), "attaches its own session");

        shard.happen(&Happening::of(&[user(2)], true));
        let alias = Happening { alias: true, ..Happening::of(&[user(1), user(2)], server) };
        shard.happen(&alias);
        assert_eq!(one(&mut shard, user(1), user(2)), server, "joins by alias");

        let order = Happening::of(&[user(1)], server).order(Completed, 5, 700);
        shard.happen(&order);
        shard.happen(&order);
        let revenue = shard.profile(user(1)).unwrap().aggregate.revenue.clone();
        assert_eq!(revenue.first().map(|own| (own.orders, own.value_minor)), server.then_some((1, 700)));

        let mut word = Happening::of(&[user(1)], true);
        word.consent = Some(false);
        shard.happen(&word);
        let mut loosen = Happening::of(&[user(1)], server);
        loosen.consent = Some(true);
        shard.happen(&loosen);
        let consent = shard.profile(user(1)).unwrap().aggregate.consent.clone();
        assert_eq!(consent.categories[0].standing().0, server, "loosens consent");
    }
}

/// Promise 11: whom an operator parts is not kept together by what a browser said meanwhile.
#[test]
fn a_browser_keeps_nobody_together_whom_an_operator_parts() {
    for (words, stays) in
        [(&[false][..], false), (&[true], true), (&[false, true], true), (&[true, false], true)]
    {
        let mut shard = Shard::new();
        shard.happen(&Happening::of(&[user(1), browser(1)], true));
        shard.happen(&Happening::of(&[email(1)], true));
        shard.happen(&Happening::of(&[user(1), email(1)], true));
        for server in words {
            shard.happen(&Happening::of(&[email(1), browser(1)], *server));
        }
        let reply = shard.command(Operation::Unmerge(Parting::Pair(user(1).key(), email(1).key())));
        let parts = if stays { 1 } else { 2 };
        assert!(matches!(&reply, Reply::Unmerged(all) if all.len() == parts), "{words:?}: {reply:?}");
        let mut whose = |id: Id| shard.profile(id).unwrap().profile;
        assert_eq!(whose(user(1)), whose(browser(1)), "{words:?}: the session stays with who had it");
        assert_eq!(whose(user(1)) == whose(email(1)), stays, "{words:?}");
        // And what was parted stays so.
        shard.happen(&Happening::of(&[email(1), browser(1)], false));
        let mut whose = |id: Id| shard.profile(id).unwrap().profile;
        assert_eq!(whose(user(1)) == whose(email(1)), stays, "{words:?}, later");
    }
}

#[test]
fn a_device_goes_from_hand_to_hand_and_unites_no_two_unique_ids() {
    let mut shard = Shard::new();
    shard.happen(&Happening::of(&[browser(1)], false));
    for number in [1, 2, 1, 2] {
        shard.happen(&Happening::of(&[user(number), browser(1)], true));
        let holder = shard.profile(browser(1)).unwrap().profile;
        assert_eq!(holder, shard.profile(user(number)).unwrap().profile, "the last to identify");
        shard.happen(&Happening::of(&[browser(1)], false));
    }
    let (one, two) = (shard.profile(user(1)).unwrap(), shard.profile(user(2)).unwrap());
    assert_ne!(one.profile, two.profile);
    // One anonymous event before the first login, then per visit one named and one anonymous event.
    assert_eq!((one.aggregate.events, two.aggregate.events), (5, 4));
    assert_eq!((one.identifiers.len(), two.identifiers.len()), (2, 2), "returning reuses the session");
    shard.happen(&Happening::of(&[email(5), browser(1)], true));
    shard.happen(&Happening::of(&[email(6), browser(1)], true));
    assert_ne!(shard.profile(email(5)).unwrap().profile, shard.profile(email(6)).unwrap().profile, "shared");
}

#[test]
fn suppression_follows_the_session_that_the_device_carries() {
    let mut shard = Shard::new();
    shard.happen(&Happening::of(&[user(1), browser(1)], true).order(Completed, 7, 10));
    assert!(shard.is_suppressed(browser(1), 7));
    shard.happen(&Happening::of(&[user(2), browser(1)], true));
    assert!(!shard.is_suppressed(browser(1), 7), "somebody else holds it");
    assert!(shard.is_suppressed(user(1), 7));
    shard.happen(&Happening::of(&[user(1), browser(1)], true));
    assert!(shard.is_suppressed(browser(1), 7));
}

#[test]
fn refused_edges_are_seen_once_and_counted() {
    let mut shard = Shard::new();
    for _ in 0..3 {
        shard.happen(&Happening::of(&[user(1), user(2)], true));
    }
    let refused: Vec<_> =
        bodies(&shard).into_iter().filter(|body| matches!(body, Body::EdgeRefused { .. })).collect();
    assert_eq!(refused.len(), 1);
    let profile = shard.profile(user(1)).unwrap();
    assert_eq!(profile.identifiers[0].refusal_count, 3);
    assert_eq!(profile.identifiers[0].refusals[0].reason, Reason::UniqueConflict);
    assert_eq!(profile.aggregate.events, 3);
    assert_eq!(shard.profile(user(2)).unwrap().aggregate.events, 0);
}

#[test]
fn commands_change_settings_once() {
    let mut shard = Shard::new();
    let key = WriteKey {
        key: "wk_1".to_owned(),
        number: 3,
        kind: WriteKeyKind::Browser,
        enabled: true,
        value_counts: false,
        name: "shop".to_owned(),
    };
    let define = Operation::DefineWriteKey(key.clone());
    assert_eq!(shard.command_with(Key(5), define.clone()), Reply::Settings(1));
    assert_eq!(shard.command_with(Key(5), define.clone()), Reply::Settings(1), "a repeat changes nothing");
    assert_eq!(
        shard.command_with(Key(5), Operation::DisableWriteKey(3)),
        Reply::Refused(CommandError::Conflict)
    );
    assert_eq!(shard.view.settings().write_keys, vec![key]);
    assert_eq!(shard.command(Operation::DisableWriteKey(3)), Reply::Settings(2));
    assert!(!shard.view.settings().write_keys[0].enabled);
    assert!(matches!(shard.command(Operation::DisableWriteKey(4)), Reply::Refused(CommandError::Unknown(_))));
    let token =
        Token { number: 1, hash: [1; 32], scopes: vec!["profile:read".to_owned()], name: String::new() };
    assert_eq!(shard.command(Operation::DefineToken(token)), Reply::Settings(3));
    assert_eq!(shard.command(Operation::RevokeToken(1)), Reply::Settings(4));
    let wrong = SuppressionSettings { window_us: 0, ..SuppressionSettings::default() };
    assert!(matches!(
        shard.command(Operation::SetSuppression(wrong)),
        Reply::Refused(CommandError::Invalid(_))
    ));
    assert_eq!(shard.view.settings().version, 4, "what is refused changes nothing");
    let later = shard.now.plus_us(3 * DAY_US);
    shard.advance(later);
    assert_eq!(shard.command_with(Key(5), define), Reply::Settings(5), "answers are kept for a while");
    assert_eq!(*shard.view.settings(), Settings { version: 5, ..(*shard.view.settings()).clone() });
}

#[test]
fn what_is_no_command_or_event_is_refused_and_changes_nothing() {
    use model::record::RecordKind;
    let mut shard = Shard::new();
    shard.happen(&Happening::of(&[user(1)], true));
    let before = shard.state.dump();
    for kind in [RecordKind::COMMAND, RecordKind::EVENT] {
        for body in [&b""[..], b"\x01", &[9; 40]] {
            let reply = shard.apply(kind, body.to_vec(), Timestamp(shard.now.0 + 1)).unwrap();
            assert_eq!(Reply::decode(&reply), Ok(Reply::Refused(CommandError::Malformed)));
        }
    }
    assert_eq!(shard.state.dump(), before);
}
