//! The ads of the year: a made-up network that shows them to real buyers, five times over.
//!
//! Around each order of the households that the network knows there are moments at which it could show an ad for
//! something of that order's kinds, before it and after it. Five copies of the same campaign are offered every moment.
//! They differ in one thing only: how old their copy of the shop's list of recent buyers is. Four are synced at fixed
//! times; the fifth hears of each purchase by Throughline's own delivery, with the lag that was measured for it.

use super::chance::{Purpose, between, draw, happens, index};
use super::retail::{Basket, Retail};
use crate::calendar::{DAY_US, HOUR_US, MINUTE_US, SECOND_US};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// One household in so many is known to the network.
const KNOWN_EVERY: usize = 4;
/// At most so many moments before an order, and again after it.
const MOMENTS_MAX: i64 = 3;
/// Moments before an order begin at most this long before it.
pub(super) const BEFORE_US_MAX: i64 = 6 * DAY_US;
/// How long recent buyers stay on the list: the shop's own window of suppression.
const LISTED_US: i64 = 30 * DAY_US;
/// The copies of the campaign show their ads so long after each other.
const APART_US: i64 = 1_000;
/// Before anything is measured, delivery is taken to be this slow.
const UNMEASURED_US: i64 = SECOND_US;
/// Of a thousand impressions, so many are in a place where nobody can see them.
const UNSEEN_PER_MILLE: u64 = 20;
/// Of a thousand impressions, so many are clicked.
const CLICKED_PER_MILLE: u64 = 40;
/// An impression costs so much, in millionths of a dollar: 4 to 12 dollars for a thousand.
const COST_MICRO: (i64, i64) = (4_000, 12_000);

/// A copy of the campaign, and how it hears of purchases.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arm {
    pub(super) campaign: &'static str,
    pub(super) about: &'static str,
    /// How often its list is synced; `None`: by delivery.
    every_us: Option<i64>,
}

/// All of them, the slowest first.
pub(super) const ARMS: [Arm; 5] = [
    Arm { campaign: "retarget-nightly", about: "synced nightly", every_us: Some(DAY_US) },
    Arm { campaign: "retarget-6h", about: "synced every 6 h", every_us: Some(6 * HOUR_US) },
    Arm { campaign: "retarget-1h", about: "synced every hour", every_us: Some(HOUR_US) },
    Arm { campaign: "retarget-3min", about: "synced every 3 min", every_us: Some(3 * MINUTE_US) },
    Arm { campaign: "retarget-live", about: "by delivery, live", every_us: None },
];

/// How late deliveries come, measured while the demo runs.
#[derive(Debug, Default)]
pub(super) struct Lag {
    us: AtomicI64,
}

impl Lag {
    /// Notes the latest measure of the slowest of a hundred.
    pub(super) fn set(&self, us: i64) {
        self.us.store(us.max(1), Relaxed);
    }

    fn get(&self) -> i64 {
        match self.us.load(Relaxed) {
            0 => UNMEASURED_US,
            us => us,
        }
    }
}

impl Arm {
    /// Purchases before this instant are on its list at an instant.
    fn knows_until(&self, at_us: i64, lag: &Lag) -> i64 {
        match self.every_us {
            Some(every_us) => at_us.div_euclid(every_us) * every_us,
            None => at_us - lag.get(),
        }
    }
}

/// An ad that is shown, and whether it is clicked.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) arm: Arm,
    pub(super) at_us: i64,
    pub(super) product_id: u32,
    pub(super) category: Arc<str>,
    pub(super) cost_micro: i64,
    pub(super) unseen: bool,
    pub(super) clicked_at_us: Option<i64>,
}

/// The network.
#[derive(Debug)]
pub(super) struct Network {
    /// By household and category, when it was bought; sorted.
    bought: HashMap<(usize, Arc<str>), Vec<i64>>,
    pub(super) lag: Arc<Lag>,
}

impl Network {
    pub(super) fn new(retail: &Retail, lag: Arc<Lag>) -> Self {
        let mut bought: HashMap<(usize, Arc<str>), Vec<i64>> = HashMap::new();
        for basket in retail.baskets.iter().filter(|basket| knows(basket.household)) {
            for line in retail.lines_of(basket) {
                let Some(product) = retail.products.get(&line.product_id) else { continue };
                let times = bought.entry((basket.household, Arc::clone(&product.category))).or_default();
                if times.last() != Some(&basket.at_us) {
                    times.push(basket.at_us);
                }
            }
        }
        Self { bought, lag }
    }

    /// Whether an arm's list holds a household for a category at an instant.
    fn lists(&self, arm: &Arm, household: usize, category: &Arc<str>, at_us: i64) -> bool {
        let Some(times) = self.bought.get(&(household, Arc::clone(category))) else { return false };
        let known = times.partition_point(|time| *time < arm.knows_until(at_us, &self.lag));
        let last = known.checked_sub(1).and_then(|last| times.get(last));
        last.is_some_and(|time| at_us - time < LISTED_US)
    }

    /// What is shown around an order.
    pub(super) fn around(&self, retail: &Retail, basket: &Basket) -> Vec<Shown> {
        let lines = retail.lines_of(basket);
        let mut shown = Vec::new();
        for (moment, at_us) in moments(basket).into_iter().enumerate() {
            let drawn = draw(Purpose::Ad, basket.id, 100 + moment as u64);
            let Some(line) = lines.get(index(drawn, lines.len())) else { continue };
            let Some(product) = retail.products.get(&line.product_id) else { continue };
            if product.category.is_empty() {
                continue;
            }
            for (place, arm) in ARMS.into_iter().enumerate() {
                if self.lists(&arm, basket.household, &product.category, at_us) {
                    continue;
                }
                // One after the other, in turns: an order is credited to the last ad before it.
                let turn = (place as u64 + (drawn >> 50)) % ARMS.len() as u64;
                let at_us = at_us + turn as i64 * APART_US;
                let clicked = happens(drawn >> 20, CLICKED_PER_MILLE);
                shown.push(Shown {
                    arm,
                    at_us,
                    product_id: line.product_id,
                    category: Arc::clone(&product.category),
                    cost_micro: between(drawn >> 32, COST_MICRO.0, COST_MICRO.1),
                    unseen: happens(drawn >> 10, UNSEEN_PER_MILLE),
                    clicked_at_us: clicked.then(|| at_us + between(drawn >> 40, 2 * SECOND_US, MINUTE_US)),
                });
            }
        }
        shown
    }
}

/// Whether the network knows a household.
pub(super) fn knows(household: usize) -> bool {
    household.is_multiple_of(KNOWN_EVERY)
}

/// Moments at which an ad could be shown: up to six days before an order, and from twenty seconds to two days after it,
/// as likely in each doubling of that time.
fn moments(basket: &Basket) -> Vec<i64> {
    let drawn = draw(Purpose::Ad, basket.id, 0);
    let (before, after) = (between(drawn, 0, MOMENTS_MAX), between(drawn >> 8, 0, MOMENTS_MAX));
    let earlier = (0..before).map(|number| {
        let drawn = draw(Purpose::Ad, basket.id, 1 + number as u64);
        basket.at_us - between(drawn, 10 * MINUTE_US, BEFORE_US_MAX - MINUTE_US)
    });
    let later = (0..after).map(|number| {
        let drawn = draw(Purpose::Ad, basket.id, 50 + number as u64);
        let least = (20 * SECOND_US) << between(drawn, 0, 12);
        basket.at_us + between(drawn >> 8, least, 2 * least)
    });
    earlier.chain(later).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_list_never_knows_more() {
        let lag = Lag::default();
        lag.set(20_000);
        for number in 0..2_000 {
            let at_us = between(draw(Purpose::Ad, number, 7), 0, 400 * DAY_US);
            let known: Vec<i64> = ARMS.iter().map(|arm| arm.knows_until(at_us, &lag)).collect();
            assert!(known.iter().all(|until| *until <= at_us));
            assert!(known.iter().take(4).is_sorted(), "{known:?} at {at_us}");
        }
    }

    #[test]
    fn buyers_are_listed_from_the_sync_after_their_purchase_for_thirty_days() {
        let category: Arc<str> = "TEA".into();
        let bought_at = 10 * DAY_US + 5 * HOUR_US;
        let bought = HashMap::from([((0, Arc::clone(&category)), vec![bought_at])]);
        let network = Network { bought, lag: Arc::default() };
        network.lag.set(20_000);
        let listed =
            |arm: usize, after_us: i64| network.lists(&ARMS[arm], 0, &category, bought_at + after_us);
        let table = [
            (0, 19 * HOUR_US - 1, false),
            (0, 19 * HOUR_US, true),
            (1, HOUR_US - 1, false),
            (1, HOUR_US, true),
            (3, MINUTE_US, false),
            (3, 3 * MINUTE_US, true),
            (4, 20_000, false),
            (4, 20_001, true),
            (4, LISTED_US, false),
            (0, LISTED_US, false),
        ];
        for (arm, after_us, expected) in table {
            assert_eq!(listed(arm, after_us), expected, "{} after {after_us}", ARMS[arm].campaign);
        }
    }
}
