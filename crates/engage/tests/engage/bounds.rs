//! The browser key is public: whatever list a stranger fills with it, the server's word finds its place.

use super::shard::{Happening, Id, Shard, browser, user};
use model::event::IdentifierKind;
use model::event::OrderChange::{Cancelled, Completed, Refunded};
use model::order::MAX_REPORTERS;

#[test]
fn strangers_who_claim_an_order_do_not_hide_who_bought_it() {
    let mut shard = Shard::new();
    shard.happen(&Happening::of(&[user(1)], true));
    let claims = MAX_REPORTERS as u8 + 2;
    for number in 0..claims {
        shard.happen(&Happening::of(&[browser(number)], false).order(Completed, 7, 1_000));
    }
    shard.happen(&Happening::of(&[user(1)], true).order(Completed, 7, 1_000));
    assert!(shard.is_suppressed(user(1), 7));
    let aggregate = shard.profile(user(1)).unwrap().aggregate;
    assert_eq!((aggregate.orders.len(), aggregate.revenue[0].orders), (1, 1));
    // The first claim made room, and nothing is left of it.
    assert!(!shard.is_suppressed(browser(0), 7));
    assert!(shard.profile(browser(0)).unwrap().aggregate.orders.is_empty());
    assert!(shard.is_suppressed(browser(1), 7));
    shard.happen(&Happening::of(&[user(1)], true).order(Refunded, 7, 1_000));
    for id in (0..claims).map(browser).chain([user(1)]) {
        assert!(!shard.is_suppressed(id, 7), "{id:?}");
    }
}

#[test]
fn what_a_browser_dates_back_does_not_hide_what_the_server_says_later() {
    let mut shard = Shard::new();
    let mut claim = Happening::of(&[user(1)], false).order(Completed, 7, 1_000);
    claim.late_us = 300 * super::naive::DAY_US;
    shard.happen(&claim);
    assert!(!shard.is_suppressed(user(1), 7));
    // Another purchase, by which what is over is forgotten.
    shard.happen(&Happening::of(&[user(1)], true).order(Completed, 8, 1_000));
    shard.happen(&Happening::of(&[user(1)], true).order(Completed, 7, 1_000));
    assert!(shard.is_suppressed(user(1), 7));
}

#[test]
fn a_browser_cancels_what_its_own_person_bought_and_nothing_else() {
    let own = [browser(1), user(1)];
    for (canceller, undone) in [(browser(2), false), (browser(1), true), (user(1), true)] {
        for in_advance in [false, true] {
            let mut shard = Shard::new();
            shard.happen(&Happening::of(&own, false));
            let cancel = Happening::of(&[canceller], false).order(Cancelled, 7, 0);
            if in_advance {
                shard.happen(&cancel);
            }
            shard.happen(&Happening::of(&[browser(1)], false).order(Completed, 7, 1_000));
            if !in_advance {
                shard.happen(&cancel);
            }
            let expected = in_advance || !undone;
            assert_eq!(shard.is_suppressed(user(1), 7), expected, "{canceller:?} {in_advance}");
        }
    }
}

#[test]
fn many_orders_of_one_person_are_lifted_one_by_one() {
    let mut shard = Shard::new();
    let device = Id(IdentifierKind::DEVICE_ID, 1);
    shard.happen(&Happening::of(&[user(1), device], true));
    for order in 0..100 {
        shard.happen(&Happening::of(&[user(1)], true).order(Completed, order, 1_000));
    }
    shard.happen(&Happening::of(&[user(1)], true).order(Refunded, 90, 1_000));
    for order in 0..100 {
        assert_eq!(shard.is_suppressed(device, order), order != 90, "{order}");
    }
}
