//! What is bounded: purchases, touches and campaigns; and what may not be changed.

use super::*;
use engage::{CommandError, MAX_CAMPAIGNS, MAX_CLAIMED_CAMPAIGNS};

#[test]
fn purchases_that_made_room_stay_counted_as_they_were() {
    let mut shard = shard(&Rules::default());
    let total_orders = model::line::MAX_FACTS + 40;
    let wanted = Fact::new(&[user(1)], BASE, order(OrderChange::Completed, 1, 100));
    let mut tell = |change: OrderChange, number: usize| {
        // More orders than the generator's numbers go to, by their text.
        let fact = Fact { at: BASE + number as i64, what: order(change, 1, 100), ..wanted.clone() };
        let body = fact.encode(shard.log.len());
        let event = model::event::Event::decode(&body).unwrap();
        let id = format!("many {number}");
        let fact = event.order.map(|fact| model::event::OrderFact { order_id: &id, ..fact });
        let mut body = Vec::new();
        model::event::Event { order: fact, ..event }.encode(&mut body);
        let at = shard.now.max(Timestamp(BASE)).plus_us(1);
        shard.apply(RecordKind::EVENT, body, at);
        (total(&mut shard, Measure::Orders), total(&mut shard, Measure::CashMicro))
    };
    let mut sums = (0, 0);
    for number in 0..total_orders {
        sums = tell(OrderChange::Completed, number);
    }
    let all = total_orders as i64;
    assert_eq!(sums, (all, all * 1_000_000));
    assert_eq!(tell(OrderChange::Refunded, 0), sums, "what made room is not counted again");
    assert_eq!(tell(OrderChange::Cancelled, 1), sums, "nor taken away");
    assert_eq!(
        tell(OrderChange::Cancelled, total_orders - 1),
        (all - 1, (all - 1) * 1_000_000),
        "this one is known"
    );
}

#[test]
fn touches_that_made_room_stay_counted_as_they_were() {
    let count = model::line::MAX_TOUCHES as i64 + 60;
    let rules = Rules { cap: 2, ..Rules::default() };
    let facts: Vec<Fact> = (0..count).map(|at| Fact::new(&[user(1)], BASE + at, shown(1))).collect();
    let mut shard = run(&facts, &rules);
    assert_eq!(total(&mut shard, Measure::Impressions), count);
    assert_eq!(total(&mut shard, Measure::ScrapCapped), count - 2);
    assert_eq!(total(&mut shard, Measure::PeopleWithAttention), 1);
    assert_eq!(total(&mut shard, Measure::SpendMicro), count * 1_000_000);
}

/// So many campaigns are named, each by an impression.
fn name_campaigns(shard: &mut Shard, from: usize, count: usize, server: bool) {
    for number in from..from + count {
        let fact = Fact { server, counts: server, ..Fact::new(&[user(number as u8)], BASE, shown(1)) };
        let body = fact.encode(0);
        let event = model::event::Event::decode(&body).unwrap();
        let properties = format!(r#"{{"campaign_id":"campaign {number}"}}"#);
        let key = model::id::Key(number as u128 + 1);
        let event = model::event::Event { dedup_key: key, properties: properties.as_bytes(), ..event };
        let mut body = Vec::new();
        event.encode(&mut body);
        shard.apply(RecordKind::EVENT, body, Timestamp(BASE + number as i64));
    }
}

#[test]
fn campaigns_beyond_the_limit_are_one_together() {
    let mut shard = shard(&Rules::default());
    name_campaigns(&mut shard, 0, MAX_CAMPAIGNS + 5, true);
    finish(&mut shard);
    assert_eq!(shard.view.campaigns().names.len(), MAX_CAMPAIGNS + 1);
    let others = &figures(&mut shard)[&(BASE / HOUR_US, OTHER_CAMPAIGNS.to_owned())];
    assert_eq!(others.get(Measure::Impressions), 5);
}

#[test]
fn browsers_cannot_use_up_the_names_of_the_shops_own_campaigns() {
    let mut shard = shard(&Rules::default());
    let claimed = MAX_CLAIMED_CAMPAIGNS;
    name_campaigns(&mut shard, 0, claimed + 70, false);
    assert_eq!(shard.view.campaigns().names.len(), claimed + 1, "and the others together");
    assert_eq!(shard.view.campaigns().claimed.len(), claimed);
    name_campaigns(&mut shard, 5_000, 100, true);
    assert_eq!(shard.view.campaigns().names.len(), claimed + 101);
    finish(&mut shard);
    let others = &figures(&mut shard)[&(BASE / HOUR_US, OTHER_CAMPAIGNS.to_owned())];
    assert_eq!(others.get(Measure::Impressions), 70);
    name_campaigns(&mut shard, 0, 10, true);
    assert_eq!(shard.view.campaigns().claimed.len(), claimed - 10, "a server's word confirms a claim");
}

#[test]
fn the_currency_stays_while_the_line_is_on() {
    let mut shard = shard(&Rules::default());
    let set = |shard: &mut Shard, currency| {
        let settings = model::line::LineSettings { currency, ..line_settings(&Rules::default()) };
        shard.command(Operation::SetLine(settings))
    };
    let own = line_settings(&Rules::default()).currency;
    let refused = set(&mut shard, Some(*b"CHF"));
    assert!(matches!(refused, Reply::Refused(CommandError::Invalid(_))), "{refused:?}");
    assert_eq!(shard.view.settings().line.currency, own);
    for currency in [own, None, Some(*b"CHF")] {
        let reply = set(&mut shard, currency);
        assert!(matches!(reply, Reply::Settings(_)), "{currency:?}: {reply:?}");
    }
}
