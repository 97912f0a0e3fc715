//! The line's rules one by one: reasons for scrap and their order, ends of windows, limits.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use model::attribution::last_touch;
use model::codec::{Decoder, Encoder};
use model::id::{Key, Timestamp};
use model::line::{
    Bought, CampaignNames, Figures, Ledger, LineError, LineSettings, MAX_FACTS, MAX_LINE_WINDOW_US,
    MAX_SCOPES, MAX_TOUCHES, Measure, Milestone, OPEN_US, Place, SCRAP, Span, Touch, TouchKind, Trail, Word,
    Worth, hour_of, open_from, reckon, tie,
};
use model::suppression::{MAX_PURCHASE_SCOPES, Scope};
use std::cmp::Ordering;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// A midnight.
const T: i64 = 20_000 * DAY;
const ALWAYS: Timestamp = Timestamp(i64::MIN);

fn settings() -> LineSettings {
    LineSettings { currency: Some(*b"EUR"), ..LineSettings::default() }
}

/// Of the campaigns that touches here are of.
fn names() -> CampaignNames {
    CampaignNames::from([(7, "spring".into()), (8, "autumn".into())])
}

fn touch(kind: TouchKind, at: i64) -> Touch {
    Touch {
        at: Timestamp(at),
        kind,
        id: at.unsigned_abs(),
        source: 1,
        campaign: 7,
        product: Scope::EVERYTHING,
        category: Scope::EVERYTHING,
        cost_micro: 10,
        unpriced: false,
        invalid: false,
        unavailable: false,
    }
}

fn shown(at: i64) -> Touch {
    touch(TouchKind::Impression, at)
}

fn trail(touches: &[Touch]) -> Trail {
    let mut trail = Trail::default();
    touches.iter().for_each(|touch| trail.touch(*touch));
    trail
}

fn bought(order: u128, at: i64) -> Bought {
    Bought {
        order: Key(order),
        at: Timestamp(at),
        until: Timestamp(at + 30 * DAY),
        scopes: Box::new([Scope(5)]),
        lifted: false,
        value: Some(Worth::Micro(1_000)),
    }
}

fn sum(ledger: &Ledger) -> Figures {
    ledger.0.values().fold(Figures::default(), |mut sum, own| {
        sum.merge(own, 1);
        sum
    })
}

fn figures(trails: &[&Trail], settings: &LineSettings) -> Figures {
    sum(&reckon(trails, settings, &names(), ALWAYS))
}

/// Makes an impression at noon scrap for the reasons of the mask, and for no other.
fn flawed(mask: u32) -> (Trail, Trail) {
    let noon = T + DAY / 2;
    let is = |bit: u32| mask >> bit & 1 == 1;
    let dear = Touch { cost_micro: 1_000, product: Scope(5), ..shown(noon) };
    let mut own = trail(&[Touch { invalid: is(0), unavailable: is(3), ..dear }]);
    let mut other = Trail::default();
    if is(1) {
        own.buy(Bought { value: None, ..bought(1, noon - 1) });
    }
    if is(2) {
        // Under the same identifier, so that nothing is a duplicate, and of a campaign that allows two.
        (1..=2).for_each(|before| own.touch(shown(noon - before)));
    }
    if is(4) {
        own.say(Word { at: Timestamp(noon), is_withdrawn: true });
    }
    if is(5) {
        other.touch(shown(noon - HOUR));
    }
    (own, other)
}

#[test]
fn an_impression_is_scrap_for_the_first_reason_that_holds() {
    let settings = LineSettings { frequency_cap: 2, ..settings() };
    for mask in 0_u32..1 << SCRAP.len() {
        let (own, other) = flawed(mask);
        let sum = figures(&[&own, &other], &settings);
        // The others before it are cheap, and may be scrap themselves.
        let scrapped: Vec<usize> = (0..SCRAP.len()).filter(|at| sum.get(SCRAP[*at].1) >= 1_000).collect();
        let first = (mask != 0).then(|| mask.trailing_zeros() as usize);
        assert_eq!(scrapped, first.into_iter().collect::<Vec<_>>(), "reasons {mask:06b}");
        let cost = 1_000 + 10 * (sum.get(Measure::Impressions) - 1);
        assert_eq!(sum.get(Measure::SpendMicro), cost, "counted all the same");
    }
    for (at, reason) in SCRAP.iter().enumerate() {
        let (own, other) = flawed(1 << at);
        let sum = figures(&[&own, &other], &settings);
        assert_eq!(
            (sum.get(reason.0), sum.get(reason.1), sum.scrap()),
            (1, 1_000, (1, 1_000)),
            "reason {at}"
        );
    }
}

#[test]
fn ends_of_windows_are_where_they_are_said_to_be() {
    let noon = T + DAY / 2;
    let base = LineSettings { frequency_cap: 1, ..settings() };
    let one = |trail: &Trail, settings: &LineSettings, measure| figures(&[trail], settings).get(measure);
    // Cap: an impression a whole window ago is out of it.
    for (ago, expected) in [(DAY, 0), (DAY - 1, 1), (0, 1)] {
        let mut pair = trail(&[shown(noon)]);
        pair.touch(Touch { id: 1, ..shown(noon - ago) });
        assert_eq!(one(&pair, &base, Measure::ScrapCapped), expected, "{ago}");
    }
    // Duplicates: the same, but for the last instant.
    let roomy = settings();
    for (window, ago, expected) in [(DAY, DAY + 1, 0), (DAY, DAY, 1), (DAY, 0, 1), (0, 0, 1), (0, 1, 0)] {
        let settings = LineSettings { duplicate_window_us: window, ..roomy.clone() };
        let (here, there) = (trail(&[shown(noon)]), trail(&[Touch { id: 1, ..shown(noon - ago) }]));
        assert_eq!(
            figures(&[&here, &there], &settings).get(Measure::ScrapDuplicate),
            expected,
            "{window} {ago}"
        );
    }
    // Bought: after the grace, before the end, never at the instant itself.
    for (grace, shown_at, expected) in [
        (0, noon, 0),
        (0, noon + 1, 1),
        (HOUR, noon + HOUR, 0),
        (HOUR, noon + HOUR + 1, 1),
        (0, noon + 30 * DAY - 1, 1),
        (0, noon + 30 * DAY, 0),
        (0, noon - 1, 0),
    ] {
        let settings = LineSettings { grace_us: grace, ..roomy.clone() };
        let mut buyer = trail(&[Touch { category: Scope(5), ..shown(shown_at) }]);
        buyer.buy(bought(1, noon));
        let sum = figures(&[&buyer], &settings);
        assert_eq!(sum.get(Measure::ScrapPurchased), expected, "{grace} {}", shown_at - noon);
        assert_eq!(sum.span(Span::AfterPurchase).map_or(0, |spread| spread.count()), expected);
    }
    // Consent: from the instant of the word on, and the later word counts.
    for (words, expected) in [
        (&[(noon, false)][..], 1),
        (&[(noon + 1, false)], 0),
        (&[(noon - 9, false), (noon, true)], 0),
        (&[(noon - 9, true), (noon, false)], 1),
        (&[(noon, true), (noon, false)], 1),
        (&[(noon, false), (noon, true)], 1),
        (&[], 0),
    ] {
        let mut person = trail(&[shown(noon)]);
        for (at, granted) in words {
            person.say(Word { at: Timestamp(*at), is_withdrawn: !granted });
        }
        assert_eq!(one(&person, &roomy, Measure::ScrapUnconsented), expected, "{words:?}");
    }
}

#[test]
fn the_cap_is_met_at_one_more_than_it_allows() {
    for cap in [1_u32, 2, 5] {
        let settings = LineSettings { frequency_cap: cap, ..settings() };
        for count in 0..8_u32 {
            let touches: Vec<Touch> = (0..count).map(|at| shown(T + i64::from(at))).collect();
            let sum = figures(&[&trail(&touches)], &settings);
            assert_eq!(sum.get(Measure::ScrapCapped), i64::from(count.saturating_sub(cap)), "{cap} {count}");
        }
        // Other campaigns, clicks, and what nobody could see use up nothing of it.
        let mut person = trail(&[shown(T + 50)]);
        for at in 0..20 {
            person.touch(Touch { campaign: 8 + at as u64, ..shown(T + at) });
            person.touch(touch(TouchKind::Click, T + 20 + at));
            person.touch(Touch { invalid: true, ..shown(T - 20 + at) });
        }
        assert_eq!(figures(&[&person], &settings).get(Measure::ScrapCapped), 0);
    }
}

#[test]
fn a_lifted_order_makes_nothing_scrap_and_earns_what_it_earns() {
    for (lifted, expected) in [(false, 1), (true, 0)] {
        let mut person = trail(&[Touch { product: Scope(5), ..shown(T + 5) }]);
        person.buy(Bought { lifted, value: Some(Worth::Micro(0)), ..bought(1, T) });
        let sum = figures(&[&person], &settings());
        assert_eq!((sum.get(Measure::ScrapPurchased), sum.get(Measure::Orders)), (expected, 1));
    }
}

#[test]
fn an_order_is_credited_to_the_last_click_then_view_then_session() {
    use TouchKind::{Click, Impression, MailClick, MailOpen, Session};
    let settings = settings();
    let at = T + 10 * DAY;
    // Kind, how long before the order, valid; then which of them it is.
    type Row<'a> = (&'a [(TouchKind, i64, bool)], Option<usize>);
    let table: [Row<'_>; 13] = [
        (&[], None),
        (&[(Click, 7 * DAY, true)], Some(0)),
        (&[(Click, 7 * DAY + 1, true)], None),
        (&[(Impression, DAY, true)], Some(0)),
        (&[(Impression, DAY + 1, true)], None),
        (&[(Click, 0, true)], Some(0)),
        (&[(Click, -1, true)], None),
        (&[(Click, 6 * DAY, true), (Impression, 1, true)], Some(0)),
        (&[(Click, 6 * DAY, true), (MailClick, 5 * DAY, true)], Some(1)),
        (&[(Impression, 9, true), (MailOpen, 5, true), (Session, 1, true)], Some(1)),
        (&[(Session, 7 * DAY, true)], Some(0)),
        (&[(Click, 5, false), (Impression, 4, false), (MailOpen, 9, true)], Some(2)),
        (&[(TouchKind::Cart, 5, true), (TouchKind::Pay, 4, true)], None),
    ];
    for (row, expected) in table {
        let touch =
            |(kind, ago, valid): (TouchKind, i64, bool)| Touch { invalid: !valid, ..touch(kind, at - ago) };
        let all: Vec<Touch> = row.iter().map(|one| touch(*one)).collect();
        let mut sorted = all.clone();
        sorted.sort_by(|one, other| one.before(other, &names()));
        let credited = last_touch(sorted.iter(), Timestamp(at), &settings);
        assert_eq!(credited, expected.map(|index| &all[index]), "{row:?}");
    }
}

#[test]
fn touches_of_one_instant_have_an_order_that_anybody_can_tell() {
    use TouchKind::{Click, Impression, MailClick, MailOpen, Session};
    // As other programs say: the first sixteen digits of `printf 'message 1' | sha256sum`, and of nothing.
    for (message_id, number) in [("message 1", 0xb526_aef1_a341_cfe6), ("", 0xe3b0_c442_98fc_1c14)] {
        assert_eq!(tie(message_id), number, "{message_id}");
    }
    // Kind, campaign, message, write key: each row comes before the next.
    let rows = [
        (Impression, 0, 9, 9),
        (Impression, 8, 2, 1),
        (Impression, 7, 1, 2),
        (Impression, 7, 2, 1),
        (Impression, 7, 2, 2),
        (Click, 8, 1, 1),
        (Click, 7, 1, 1),
        (MailOpen, 0, 1, 1),
        (MailClick, 0, 1, 1),
        (Session, 0, 1, 0),
    ];
    let made = |(kind, campaign, id, source)| Touch { id, campaign, source, ..touch(kind, T) };
    let all: Vec<Touch> = rows.into_iter().map(made).collect();
    for (place, one) in all.iter().enumerate() {
        for (other_place, other) in all.iter().enumerate() {
            assert_eq!(one.before(other, &names()), place.cmp(&other_place), "{one:?} {other:?}");
            let earlier = Touch { at: Timestamp(T - 1), ..*one };
            assert_eq!(earlier.before(other, &names()), Ordering::Less);
        }
    }
    // In whatever order they come, all are kept, and the last click is that of the mail.
    let mut backwards = all.clone();
    backwards.reverse();
    let (mut one, mut other) = (trail(&all), trail(&backwards));
    assert_eq!(one, other);
    one.buy(bought(1, T));
    other.touch(all[3]);
    let credited = reckon(&[&one], &settings(), &names(), ALWAYS);
    let sold = |campaign| {
        let place = Place { hour: hour_of(Timestamp(T)), campaign };
        credited.0.get(&place).map_or(0, |figures| figures.get(Measure::Orders))
    };
    assert_eq!([0, 7, 8].map(sold), [1, 0, 0]);
    assert_eq!(
        figures(&[&other], &settings()).get(Measure::Impressions),
        5,
        "the same touch again is no other"
    );
}

#[test]
fn a_journey_has_its_parts_and_its_errors() {
    use TouchKind::{Cart, Click, Impression, Pay};
    let order = T + 10 * DAY;
    let us = |ms: i64| ms * 1_000;
    let mut person = trail(&[
        touch(Impression, order - 7 * DAY - 1),
        touch(Impression, order - us(9_000)),
        touch(Click, order - us(9_500)),
        touch(Click, order - us(8_000)),
        touch(Cart, order - us(6_000)),
        touch(Pay, order - us(3_000)),
    ]);
    person.buy(bought(1, order));
    let span =
        |figures: &Figures, span: Span| figures.span(span).map(|spread| (spread.count(), spread.sum()));
    let sum = figures(&[&person], &settings());
    let parts = [
        (Span::ImpressionToClick, 1_000),
        (Span::ClickToCart, 2_000),
        (Span::CartToPay, 3_000),
        (Span::PayToCapture, 3_000),
    ];
    for (part, ms) in parts {
        assert_eq!(span(&sum, part), Some((1, ms)), "{part:?}");
    }
    assert_eq!((sum.get(Measure::OrdersUnconfirmed), span(&sum, Span::Cycle)), (1, None));
    let reach = |accepted, ms| Milestone { order: Key(1), accepted, at: Timestamp(order + us(ms)) };
    person.reach(reach(false, 40));
    person.reach(reach(true, 90));
    person.reach(reach(true, 100));
    let sum = figures(&[&person], &settings());
    assert_eq!(span(&sum, Span::CaptureToQueued), Some((1, 40)));
    assert_eq!(span(&sum, Span::QueuedToAccepted), Some((1, 50)), "the first time counts");
    assert_eq!(span(&sum, Span::Cycle), Some((1, 9_090)));
    assert_eq!((sum.get(Measure::OrdersUnconfirmed), sum.get(Measure::NegativeSpans)), (0, 0));
    assert_eq!((sum.get(Measure::JourneysBegun), sum.get(Measure::JourneysEnded)), (1, 1));
    // Queued before the order, accepted before all: three spans cannot be, one is no journey.
    person.reach(reach(false, -1));
    person.reach(reach(true, -10_000));
    let sum = figures(&[&person], &settings());
    assert_eq!((sum.get(Measure::NegativeSpans), span(&sum, Span::Cycle)), (3, None));
    assert_eq!(sum.get(Measure::JourneysBegun), 0);
    // Nobody saw it.
    let mut unseen = trail(&[Touch { invalid: true, ..shown(order - 5) }, touch(Click, order - 4)]);
    unseen.buy(bought(1, order));
    let sum = figures(&[&unseen], &settings());
    assert_eq!((sum.get(Measure::OrdersWithoutImpression), sum.get(Measure::OrdersWithAttention)), (1, 1));
    // A wide window of views is one of first impressions too.
    let wide = LineSettings { view_window_us: 9 * DAY, ..settings() };
    assert_eq!(span(&figures(&[&person], &wide), Span::ImpressionToClick).map(|one| one.0), Some(1));
    assert!(figures(&[&person], &wide).span(Span::ImpressionToClick).unwrap().sum() > 6 * 86_400_000);
}

/// Each part is the time between two stations of the same order, whatever the person did for other orders or for none.
#[test]
fn the_parts_of_a_journey_are_of_the_same_order() {
    use TouchKind::{Cart, Click, Impression, Pay};
    let order = T + 10 * DAY;
    // What there was so many seconds before the order, orders before it, and then: impression to click, click to cart, cart
    // to pay, pay to capture, in seconds.
    type Row<'a> = (&'a [(TouchKind, i64)], &'a [i64], [Option<i64>; 4]);
    let table: [Row<'_>; 12] = [
        (
            &[(Impression, 90), (Click, 80), (Cart, 60), (Pay, 30)],
            &[],
            [Some(10), Some(20), Some(30), Some(30)],
        ),
        // What was bought with the order before is that order's.
        (
            &[(Impression, 90), (Click, 80), (Cart, 70), (Pay, 65), (Click, 40), (Cart, 30), (Pay, 10)],
            &[64],
            [Some(50), Some(10), Some(20), Some(10)],
        ),
        (
            &[(Impression, 90), (Click, 80), (Cart, 70), (Pay, 65), (Pay, 10)],
            &[64],
            [None, None, None, Some(10)],
        ),
        (&[(Impression, 90), (Click, 80), (Cart, 70), (Pay, 65)], &[64], [None; 4]),
        // At the instant of the order before, it is that order's; at the instant of the order, this one's.
        (&[(Impression, 90), (Cart, 64), (Cart, 20), (Pay, 0)], &[64], [None, None, Some(20), Some(0)]),
        (&[(Impression, 90), (Cart, 64)], &[64], [None; 4]),
        // Paying that was broken off, and what came into the cart after it.
        (
            &[(Impression, 90), (Click, 80), (Cart, 70), (Pay, 65), (Cart, 30), (Pay, 12), (Pay, 10)],
            &[],
            [Some(10), Some(50), Some(18), Some(12)],
        ),
        // What came into the cart when paying was done is no station before paying.
        (&[(Impression, 90), (Cart, 70), (Pay, 30), (Cart, 20)], &[], [None, None, Some(40), Some(30)]),
        (&[(Impression, 90), (Click, 50), (Pay, 30), (Cart, 20)], &[], [Some(40), None, None, Some(30)]),
        // The last click before the cart, and not one after it.
        (
            &[(Impression, 90), (Click, 80), (Click, 75), (Cart, 70), (Click, 50), (Pay, 30)],
            &[],
            [Some(15), Some(5), Some(40), Some(30)],
        ),
        // Before the first impression nothing is on the way; without a click there is a way all the same.
        (&[(Cart, 95), (Impression, 90), (Pay, 30)], &[], [None, None, None, Some(30)]),
        (&[(Impression, 90), (Cart, 70), (Pay, 30)], &[100], [None, None, Some(40), Some(30)]),
    ];
    for (steps, before, expected) in table {
        let second = 1_000_000;
        let made = |(kind, ago): &(TouchKind, i64)| touch(*kind, order - ago * second);
        let mut person = trail(&steps.iter().map(made).collect::<Vec<_>>());
        person.buy(bought(1, order));
        for (number, ago) in before.iter().enumerate() {
            person.buy(bought(number as u128 + 2, order - ago * second));
        }
        // An order that does not count, and one of the same instant, end nothing.
        person.buy(Bought { value: None, ..bought(8, order - second) });
        person.buy(bought(9, order));
        let all = reckon(&[&person], &settings(), &names(), Timestamp(order));
        let sum = sum(&all);
        let parts = [Span::ImpressionToClick, Span::ClickToCart, Span::CartToPay, Span::PayToCapture];
        let own = parts.map(|part| sum.span(part).map(|spread| (spread.count(), spread.sum())));
        let twice = expected.map(|one| one.map(|seconds| (2, 2_000 * i128::from(seconds))));
        assert_eq!(own, twice, "{steps:?} {before:?}");
        assert_eq!(sum.get(Measure::NegativeSpans), 0);
    }
}

#[test]
fn people_are_counted_by_the_day_and_never_pay_unseen() {
    let mut person = trail(&[touch(TouchKind::Click, T), touch(TouchKind::Click, T + 3 * DAY)]);
    for (order, at) in [(1, T + 1), (2, T + 2), (3, T + DAY), (4, T + 3 * DAY)] {
        person.buy(bought(order, at));
    }
    let ledger = reckon(&[&person], &settings(), &names(), ALWAYS);
    let of = |day: i64, measure| {
        let place = Place { hour: hour_of(Timestamp(T + day * DAY)), campaign: 0 };
        ledger.0.get(&place).map_or(0, |figures| figures.get(measure))
    };
    let days = |measure| [of(0, measure), of(1, measure), of(3, measure)];
    assert_eq!(days(Measure::PeopleWithAttention), [1, 0, 1]);
    assert_eq!(days(Measure::PeoplePaid), [1, 0, 1]);
    assert_eq!(sum(&ledger).get(Measure::OrdersWithAttention), 4);
}

#[test]
fn the_same_order_and_half_hour_under_two_identifiers_are_one() {
    let half = Touch { campaign: 0, cost_micro: 0, id: 5, ..touch(TouchKind::Session, T) };
    let (mut one, mut other) = (trail(&[half]), trail(&[half]));
    one.buy(Bought { value: None, ..bought(1, T + 5) });
    other.buy(bought(1, T + 6));
    for trails in [[&one, &other], [&other, &one]] {
        let sum = figures(&trails, &settings());
        assert_eq!((sum.get(Measure::Sessions), sum.get(Measure::Orders)), (1, 1));
        assert_eq!(sum.get(Measure::CashMicro), 1_000);
    }
    assert_eq!(figures(&[&one], &settings()).get(Measure::Orders), 0, "its value counts elsewhere");
}

#[test]
fn what_is_closed_is_looked_at_and_not_counted() {
    let now = Timestamp(T + 20 * DAY + 5 * HOUR);
    let (open, context) = open_from(now, &settings());
    assert_eq!((open, context), (Timestamp(now.0 - OPEN_US - 5 * HOUR), Timestamp(open.0 - 7 * DAY)));
    let mut person = trail(&[touch(TouchKind::Click, open.0 - 1), touch(TouchKind::Click, open.0)]);
    person.buy(bought(1, open.0 - 1));
    person.buy(bought(2, open.0));
    let other = trail(&[shown(open.0 - 5)]);
    person.touch(shown(open.0 + 5));
    let sum = sum(&reckon(&[&person, &other], &settings(), &names(), open));
    let own = [Measure::Clicks, Measure::Orders, Measure::Impressions, Measure::ScrapDuplicate];
    assert_eq!(own.map(|measure| sum.get(measure)), [1, 1, 1, 1]);
}

#[test]
fn trails_are_bounded_and_what_makes_room_is_the_oldest() {
    let (open, context) = (Timestamp(T), Timestamp(T - DAY));
    let mut full = Trail::default();
    for number in 0..MAX_TOUCHES as i64 + 100 {
        full.prune(open, context);
        full.touch(shown(T + number));
    }
    let count = |trail: &Trail, measure| figures(&[trail], &settings()).get(measure);
    assert_eq!(count(&full, Measure::Impressions), MAX_TOUCHES as i64);
    full.prune(open, context);
    assert_eq!(count(&full, Measure::Impressions), MAX_TOUCHES as i64 - 1, "there is room for the next one");
    full.touch(shown(T + 100));
    full.touch(shown(T + 101));
    assert_eq!(
        count(&full, Measure::Impressions),
        MAX_TOUCHES as i64,
        "the hundred and first was the oldest left"
    );

    let mut facts = Trail::default();
    for number in 0..MAX_FACTS as i64 + 50 {
        facts.prune(open, context);
        facts.buy(bought(number as u128 + 1, T + number));
        facts.say(Word { at: Timestamp(T + number), is_withdrawn: number == 49 });
        facts.reach(Milestone { order: Key(1), accepted: number % 2 == 0, at: Timestamp(T) });
    }
    assert_eq!(count(&facts, Measure::Orders), MAX_FACTS as i64);
    assert!(facts.made_room(Key(1)) && facts.made_room(Key(50)) && !facts.made_room(Key(51)));
    facts.touch(shown(T + 49));
    assert_eq!(count(&facts, Measure::ScrapUnconsented), 0, "that word made room");
    let mut bytes = Vec::new();
    facts.encode(&mut Encoder(&mut bytes));
    assert_eq!(Trail::decode(&mut Decoder::new(&bytes)).unwrap(), facts);
}

#[test]
fn the_oldest_purchases_forget_what_was_bought_and_stay_counted() {
    let (open, context) = (Timestamp(T), Timestamp(T - DAY));
    let many = |order: u128, at: i64| {
        let first = order as u64 * 10_000;
        let scopes = (first..first + MAX_PURCHASE_SCOPES as u64).map(Scope).collect();
        Bought { scopes, ..bought(order, at) }
    };
    let mut full = Trail::default();
    for number in 0..40 {
        full.prune(open, context);
        full.buy(many(number as u128 + 1, T + number));
        assert!(full.heap_bytes() < 40 * 256 + 8 * MAX_SCOPES, "{number}: {}", full.heap_bytes());
    }
    assert_eq!(figures(&[&full], &settings()).get(Measure::Orders), 40);
    let scrapped = |order: u64| {
        let advertised = Touch { product: Scope(order * 10_000), ..shown(T + HOUR) };
        figures(&[&full, &trail(&[advertised])], &settings()).get(Measure::ScrapPurchased)
    };
    assert_eq!([1, 36, 37, 38, 39, 40].map(scrapped), [0, 0, 1, 1, 1, 1]);
}

#[test]
fn pruning_keeps_what_can_still_matter() {
    let (open, context) = (Timestamp(T), Timestamp(T - DAY));
    let mut old =
        trail(&[shown(context.0 - 1), shown(context.0), Touch { product: Scope(5), ..shown(T + 5) }]);
    for (at, granted) in [(context.0 - 9, true), (context.0 - 8, false)] {
        old.say(Word { at: Timestamp(at), is_withdrawn: !granted });
    }
    old.buy(Bought { until: Timestamp(T - 1), ..bought(1, T - 2 * DAY) });
    old.buy(Bought { until: Timestamp(T + 9), ..bought(2, T - 2 * DAY) });
    old.reach(Milestone { order: Key(9), accepted: true, at: Timestamp(context.0 - 1) });
    let settings = LineSettings { duplicate_window_us: DAY, ..settings() };
    let before = reckon(&[&old], &settings, &names(), open);
    old.prune(open, context);
    assert_eq!(reckon(&[&old], &settings, &names(), open), before, "nothing that is open changes");
    assert_eq!((old.bought(Key(1)), old.bought(Key(2)).is_some()), (None, true));
    let between = Bought { until: context, ..bought(3, context.0) };
    old.buy(between.clone());
    old.prune(open, context);
    assert_eq!(old.bought(Key(3)), Some(&between), "it may be the order before one that is open");
    old.unbuy(Key(3));
    assert_eq!(figures(&[&old], &settings).get(Measure::Impressions), 2);
    assert_eq!(sum(&before).get(Measure::ScrapPurchased), 1);
    old.unbuy(Key(2));
    let sum = sum(&reckon(&[&old], &settings, &names(), open));
    assert_eq!(sum.get(Measure::ScrapUnconsented), 1, "the last word before the context still holds");
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    for (field, change) in [
        ("view_window_us", (|own, to| own.view_window_us = to) as fn(&mut LineSettings, i64)),
        ("click_window_us", |own, to| own.click_window_us = to),
        ("cap_window_us", |own, to| own.cap_window_us = to),
        ("duplicate_window_us", |own, to| own.duplicate_window_us = to),
        ("grace_us", |own, to| own.grace_us = to),
    ] {
        for (to, fine) in
            [(0, true), (MAX_LINE_WINDOW_US, true), (-1, false), (MAX_LINE_WINDOW_US + 1, false)]
        {
            let mut own = settings();
            change(&mut own, to);
            let expected = if fine { Ok(()) } else { Err(LineError::Window { field }) };
            assert_eq!(own.check(), expected, "{field} {to}");
        }
    }
    assert_eq!(LineSettings { frequency_cap: 0, ..settings() }.check(), Err(LineError::Cap));
}
