//! How many there are, where, and for whom.
//!
//! A [`StockItem`] is all of one variant, over all places. What is *available* is what is on hand, less what is reserved
//! and what is kept back. A reservation takes from what is available and says from where, so that it can be given back or
//! sold exactly; all of it is decided at once, for all lines of an item together, by one writer. That, and nothing else,
//! is why more than there is cannot be sold.

use crate::stored;
use thiserror::Error;

/// The most places that hold stock of one variant.
pub const MAX_PLACES: usize = 256;
/// The most units of one variant in one place; far beyond any shop, and far from overflow.
pub const MAX_UNITS: i64 = 1_000_000_000_000;

stored! {
    /// All of one variant.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct StockItem {
        /// Whether units are counted. What is not counted can always be sold.
        pub tracked: bool,
        /// What happens when there is nothing left.
        pub policy: StockPolicy,
        /// How many, by place, in the order in which places are asked.
        pub levels: Vec<StockLevel>,
    }

    /// What happens when there is nothing left.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum StockPolicy {
        /// Nothing is sold.
        #[default]
        Deny = 1,
        /// So many more are sold than there are.
        Backorder(u32) = 2,
    }

    /// How many are in a place.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct StockLevel {
        /// The place's number.
        pub location: u64,
        /// What is there. Below zero by what was sold on back order.
        pub on_hand: i64,
        /// What of it is promised to checkouts and to orders that were not sent.
        pub reserved: i64,
        /// What is never sold.
        pub safety: i64,
    }

    /// Units of a variant, taken from a place.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Taken {
        /// The variant.
        pub variant: u64,
        /// The place.
        pub location: u64,
        /// How many.
        pub quantity: u32,
    }

    /// A change of a level, as the ledger keeps it. The sum of an item's lines is its levels.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct LedgerLine {
        /// The variant.
        pub variant: u64,
        /// The place.
        pub location: u64,
        /// Change of what is on hand.
        pub on_hand: i64,
        /// Change of what is reserved.
        pub reserved: i64,
        /// Why.
        pub reason: LedgerReason,
    }

    /// Why a level changed.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum LedgerReason {
        /// Somebody counted.
        Counted = 1,
        /// Goods came in.
        Received = 2,
        /// Goods are damaged or gone.
        Lost = 3,
        /// Goods went from one place to another.
        Moved = 4,
        /// A checkout reserved them.
        Reserved = 5,
        /// A checkout gave them back, or its time was over.
        Released = 6,
        /// They were sold: on hand no more.
        Sold = 7,
        /// They came back.
        Returned = 8,
    }
}

/// Why a change of stock is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StockError {
    /// There are not so many.
    #[error("{available} can be sold, {wanted} are wanted")]
    NotEnough {
        /// What can be sold now.
        available: i64,
        /// What was asked for.
        wanted: i64,
        /// What others have reserved and may give back.
        reserved: i64,
    },
    /// The variant has no stock in that place.
    #[error("the variant has no stock in location {0}")]
    NoSuchPlace(u64),
    /// More places, or more units, than there may be.
    #[error("a variant may have {MAX_PLACES} places of at most {MAX_UNITS} units each")]
    TooMuch,
}

impl StockItem {
    /// What can be sold now, back orders included. [`i64::MAX`] where units are not counted.
    pub fn available(&self) -> i64 {
        if !self.tracked {
            return i64::MAX;
        }
        let beyond = match self.policy {
            StockPolicy::Deny => 0,
            StockPolicy::Backorder(limit) => i64::from(limit),
        };
        self.free() + beyond
    }

    /// Takes units for a checkout: from the first places that have them, and what is missing by the policy from the
    /// first place. All or nothing.
    pub fn reserve(&mut self, variant: u64, quantity: u32) -> Result<Vec<Taken>, StockError> {
        if !self.tracked || quantity == 0 {
            return Ok(Vec::new());
        }
        let wanted = i64::from(quantity);
        let available = self.available();
        if wanted > available || self.levels.is_empty() {
            let reserved = self.levels.iter().map(|level| level.reserved).sum();
            return Err(StockError::NotEnough { available: available.max(0), wanted, reserved });
        }
        let mut left = wanted;
        let mut parts = Vec::new();
        for level in &mut self.levels {
            let part = level.free().clamp(0, left);
            take(level, part, variant, &mut parts);
            left -= part;
        }
        if let Some(first) = self.levels.first_mut() {
            take(first, left, variant, &mut parts);
        }
        Ok(merged(parts))
    }

    /// Gives back what was taken.
    pub fn release(&mut self, taken: &Taken) -> Result<LedgerLine, StockError> {
        let level = self.place(taken.location)?;
        level.reserved -= i64::from(taken.quantity);
        Ok(taken.line(0, -1, LedgerReason::Released))
    }

    /// What was taken is sold, and on hand no more.
    pub fn sell(&mut self, taken: &Taken) -> Result<LedgerLine, StockError> {
        let level = self.place(taken.location)?;
        level.reserved -= i64::from(taken.quantity);
        level.on_hand -= i64::from(taken.quantity);
        Ok(taken.line(-1, -1, LedgerReason::Sold))
    }

    /// What was sold is on hand again.
    pub fn restock(&mut self, taken: &Taken) -> Result<LedgerLine, StockError> {
        let level = self.place(taken.location)?;
        level.on_hand += i64::from(taken.quantity);
        Ok(taken.line(1, 0, LedgerReason::Returned))
    }

    /// Changes what is on hand; a place that is not there yet comes to be. What is promised stays promised.
    pub fn adjust(
        &mut self,
        variant: u64,
        location: u64,
        change: i64,
        reason: LedgerReason,
    ) -> Result<LedgerLine, StockError> {
        if self.place(location).is_err() {
            if self.levels.len() >= MAX_PLACES {
                return Err(StockError::TooMuch);
            }
            self.levels.push(StockLevel { location, ..StockLevel::default() });
        }
        let level = self.place(location)?;
        let after = level.on_hand.checked_add(change).filter(|after| after.abs() <= MAX_UNITS);
        level.on_hand = after.ok_or(StockError::TooMuch)?;
        Ok(LedgerLine { variant, location, on_hand: change, reserved: 0, reason })
    }

    /// Sets what is on hand.
    pub fn count(&mut self, variant: u64, location: u64, on_hand: i64) -> Result<LedgerLine, StockError> {
        let before = self.levels.iter().find(|level| level.location == location);
        let change =
            on_hand.checked_sub(before.map_or(0, |level| level.on_hand)).ok_or(StockError::TooMuch)?;
        self.adjust(variant, location, change, LedgerReason::Counted)
    }

    /// Sets what is never sold in a place.
    pub fn keep_back(&mut self, location: u64, safety: i64) -> Result<(), StockError> {
        self.place(location)?.safety = safety.clamp(0, MAX_UNITS);
        Ok(())
    }

    fn free(&self) -> i64 {
        self.levels.iter().map(StockLevel::free).sum()
    }

    fn place(&mut self, location: u64) -> Result<&mut StockLevel, StockError> {
        let mut levels = self.levels.iter_mut();
        levels.find(|level| level.location == location).ok_or(StockError::NoSuchPlace(location))
    }
}

impl StockLevel {
    /// What of it can be sold; below zero where more was promised than is there.
    fn free(&self) -> i64 {
        self.on_hand - self.reserved - self.safety
    }
}

impl Taken {
    /// The line of the ledger for its reservation.
    pub fn reserved(&self) -> LedgerLine {
        self.line(0, 1, LedgerReason::Reserved)
    }

    fn line(&self, on_hand: i64, reserved: i64, reason: LedgerReason) -> LedgerLine {
        let quantity = i64::from(self.quantity);
        LedgerLine {
            variant: self.variant,
            location: self.location,
            on_hand: on_hand * quantity,
            reserved: reserved * quantity,
            reason,
        }
    }
}

fn take(level: &mut StockLevel, units: i64, variant: u64, parts: &mut Vec<Taken>) {
    let Ok(quantity) = u32::try_from(units) else { return };
    if quantity > 0 {
        level.reserved += units;
        parts.push(Taken { variant, location: level.location, quantity });
    }
}

/// One part per place.
fn merged(parts: Vec<Taken>) -> Vec<Taken> {
    let mut merged: Vec<Taken> = Vec::with_capacity(parts.len());
    for part in parts {
        match merged.iter_mut().find(|one| one.location == part.location) {
            Some(one) => one.quantity += part.quantity,
            None => merged.push(part),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(policy: StockPolicy, on_hand: &[i64], safety: i64) -> StockItem {
        let level = |(index, on_hand): (usize, &i64)| StockLevel {
            location: index as u64 + 1,
            on_hand: *on_hand,
            reserved: 0,
            safety: if index == 0 { safety } else { 0 },
        };
        StockItem { tracked: true, policy, levels: on_hand.iter().enumerate().map(level).collect() }
    }

    #[test]
    fn places_are_asked_in_order_and_what_is_kept_back_stays() {
        let mut stock = item(StockPolicy::Deny, &[3, 5], 1);
        assert_eq!(stock.available(), 7);
        let taken = stock.reserve(9, 4).unwrap();
        let of = |location, quantity| Taken { variant: 9, location, quantity };
        assert_eq!(taken, [of(1, 2), of(2, 2)]);
        assert_eq!(
            stock.reserve(9, 4),
            Err(StockError::NotEnough { available: 3, wanted: 4, reserved: 4 }),
            "nothing is taken in part"
        );
        assert_eq!(stock.available(), 3);
    }

    #[test]
    fn back_orders_end_at_their_limit() {
        let mut stock = item(StockPolicy::Backorder(2), &[1, 0], 0);
        assert_eq!(stock.reserve(9, 3).unwrap(), [Taken { variant: 9, location: 1, quantity: 3 }]);
        assert!(stock.reserve(9, 1).is_err());
        let mut nowhere = item(StockPolicy::Backorder(2), &[], 0);
        assert!(nowhere.reserve(9, 1).is_err(), "there is no place it could come from");
        let mut uncounted = StockItem::default();
        assert_eq!(uncounted.reserve(9, 1_000_000).unwrap(), []);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Reserve(u32),
        Release(usize),
        Sell(usize),
        Restock(usize),
        Adjust(u64, i64),
        Count(u64, i64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0_u32..6).prop_map(Step::Reserve),
            2 => any::<usize>().prop_map(Step::Release),
            2 => any::<usize>().prop_map(Step::Sell),
            1 => any::<usize>().prop_map(Step::Restock),
            1 => (1_u64..5, -3_i64..6).prop_map(|(place, change)| Step::Adjust(place, change)),
            1 => (1_u64..5, 0_i64..9).prop_map(|(place, count)| Step::Count(place, count)),
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        /// Whatever happens: lines sum to levels, promises are what was taken and not given back or sold, and units are
        /// only promised while there are some, or as far as the policy says.
        #[test]
        fn the_ledger_sums_and_nothing_is_sold_twice(
            limit in prop::option::of(0_u32..4),
            on_hand in prop::collection::vec(0_i64..6, 1..4),
            steps in steps(),
        ) {
            let policy = limit.map_or(StockPolicy::Deny, StockPolicy::Backorder);
            let mut stock = item(policy, &[], 0);
            let mut lines = Vec::new();
            for (index, on_hand) in on_hand.iter().enumerate() {
                lines.push(stock.adjust(1, index as u64 + 1, *on_hand, LedgerReason::Received).unwrap());
            }
            let (mut promised, mut sold): (Vec<Taken>, Vec<Taken>) = (Vec::new(), Vec::new());
            for step in steps {
                let pick = |from: &mut Vec<Taken>, index: usize| (!from.is_empty()).then(|| from.swap_remove(index % from.len()));
                match step {
                    Step::Reserve(quantity) => {
                        let available = stock.available();
                        match stock.reserve(1, quantity) {
                            Ok(taken) => {
                                prop_assert!(i64::from(quantity) <= available.max(0));
                                prop_assert_eq!(taken.iter().map(|one| one.quantity).sum::<u32>(), quantity);
                                lines.extend(taken.iter().map(Taken::reserved));
                                promised.extend(taken);
                            }
                            Err(error) => {
                                prop_assert!(i64::from(quantity) > available, "{error}");
                                prop_assert_eq!(stock.available(), available);
                            }
                        }
                    }
                    Step::Release(index) => if let Some(taken) = pick(&mut promised, index) {
                        lines.push(stock.release(&taken).unwrap());
                    },
                    Step::Sell(index) => if let Some(taken) = pick(&mut promised, index) {
                        lines.push(stock.sell(&taken).unwrap());
                        sold.push(taken);
                    },
                    Step::Restock(index) => if let Some(taken) = pick(&mut sold, index) {
                        lines.push(stock.restock(&taken).unwrap());
                    },
                    Step::Adjust(place, change) => lines.push(stock.adjust(1, place, change, LedgerReason::Lost).unwrap()),
                    Step::Count(place, count) => lines.push(stock.count(1, place, count).unwrap()),
                }
                for level in &stock.levels {
                    let own = lines.iter().filter(|line| line.location == level.location);
                    let (on_hand, reserved) = own.fold((0, 0), |(a, b), line| (a + line.on_hand, b + line.reserved));
                    prop_assert_eq!((on_hand, reserved), (level.on_hand, level.reserved));
                }
                let held: i64 = promised.iter().map(|one| i64::from(one.quantity)).sum();
                prop_assert_eq!(held, stock.levels.iter().map(|level| level.reserved).sum::<i64>());
            }
        }
    }
}
