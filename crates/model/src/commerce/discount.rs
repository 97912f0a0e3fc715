//! Codes that make a cart cheaper.
//!
//! Codes are taken in the order in which they were entered. Each stands or does not, for a [`Reason`]; one that may not be
//! used beside others keeps out those that come later, and is kept out by those that came before. What a code takes off is
//! taken from what the ones before it left, so nothing ever falls below zero.

use super::money::{Currency, PPM, Rounding, share};
use super::order::CodeStanding;
use crate::id::Timestamp;
use crate::stored;

stored! {
    /// A code, what it takes off, and for whom.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Discount {
        /// What is typed in. Upper and lower case are the same.
        pub code: String,
        /// What is taken off.
        pub value: DiscountValue,
        /// Only these products; all if empty.
        pub products: Vec<u64>,
        /// Only from this sum of the lines it is for, in minor units of the market's currency.
        pub least_subtotal_minor: i64,
        /// Only for carts in this currency; an amount needs it.
        pub currency: Option<[u8; 3]>,
        /// From when it holds.
        pub from: Timestamp,
        /// Until when, exclusive.
        pub until: Option<Timestamp>,
        /// How often in all.
        pub uses_max: Option<u64>,
        /// How often for one customer, by e-mail address.
        pub uses_per_customer_max: Option<u32>,
        /// Whether others may be used beside it.
        pub combines: bool,
    }

    /// What is taken off.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum DiscountValue {
        /// So many millionths of each line.
        Percentage(u32) = 1,
        /// So much of the sum, shared among the lines.
        Amount(i64) = 2,
        /// Shipping costs nothing.
        FreeShipping = 3,
    }
}

/// A code that was entered, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct CodeFacts<'a> {
    /// As it was entered.
    pub code: &'a str,
    /// What it is; `None` where there is no such code.
    pub discount: Option<&'a Discount>,
    /// How often it was used in orders.
    pub uses: u64,
    /// How often this buyer used it in orders; zero while nobody knows who buys.
    pub customer_uses: u32,
}

/// Why a code does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// There is no such code.
    Unknown,
    /// It was entered before.
    Repeated,
    /// It does not hold yet.
    Early,
    /// It holds no more.
    Expired,
    /// It is for carts in another currency.
    Currency,
    /// Nothing in the cart is what it is for.
    Products,
    /// What it is for does not cost enough.
    Subtotal,
    /// It was used as often as it may be, by all or by this buyer.
    UsedUp,
    /// Another code that was entered before may not be used beside it.
    Combination,
}

impl Reason {
    /// The word for it in [`CodeStanding`].
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Repeated => "repeated",
            Self::Early => "early",
            Self::Expired => "expired",
            Self::Currency => "currency",
            Self::Products => "products",
            Self::Subtotal => "subtotal",
            Self::UsedUp => "used_up",
            Self::Combination => "combination",
        }
    }
}

/// What a code is looked up by: without blanks around it, in lower case.
pub fn folded(code: &str) -> String {
    code.trim().to_lowercase()
}

/// A line as discounts see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Discountable {
    /// The product.
    pub(super) product: u64,
    /// Whether it has to be sent.
    pub(super) requires_shipping: bool,
    /// What it costs before discounts.
    pub(super) subtotal_minor: i64,
    /// What of it is left.
    pub(super) left_minor: i64,
    /// What was taken off, by code.
    pub(super) taken: Vec<(String, i64)>,
}

/// What a cart's codes came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Discounted {
    /// Each code that was entered, in order.
    pub(super) codes: Vec<CodeStanding>,
    /// Whether shipping costs nothing.
    pub(super) free_shipping: bool,
}

/// What all codes of a cart are judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct CartFacts {
    pub(super) currency: Currency,
    pub(super) rounding: Rounding,
    pub(super) at: Timestamp,
}

/// Judges each code and takes off what it takes off. The lines are in the order of their numbers, so that the order in
/// which a cart shows them decides nothing. `None` beyond what amounts may be.
pub(super) fn apply(
    lines: &mut [Discountable],
    codes: &[CodeFacts<'_>],
    cart: CartFacts,
) -> Option<Discounted> {
    let mut outcome = Discounted::default();
    let mut standing: Vec<&Discount> = Vec::new();
    for facts in codes {
        let judged = judge(facts, lines, &standing, cart);
        if let Ok(discount) = judged {
            take_off(lines, discount, facts.code, cart.rounding)?;
            outcome.free_shipping |= discount.value == DiscountValue::FreeShipping;
            standing.push(discount);
        }
        outcome.codes.push(CodeStanding {
            code: facts.code.to_owned(),
            applicable: judged.is_ok(),
            reason: judged.err().map(|reason| reason.word().to_owned()),
        });
    }
    Some(outcome)
}

fn judge<'a>(
    facts: &CodeFacts<'a>,
    lines: &[Discountable],
    standing: &[&Discount],
    cart: CartFacts,
) -> Result<&'a Discount, Reason> {
    let discount = facts.discount.ok_or(Reason::Unknown)?;
    let code = folded(&discount.code);
    let of_amount = matches!(discount.value, DiscountValue::Amount(_));
    let for_others = match discount.currency {
        Some(currency) => currency != cart.currency,
        None => of_amount,
    };
    let own = || lines.iter().filter(|line| discount.is_for(line));
    // Sums of lines were found to be within bounds before: they cannot overflow.
    let subtotal_minor: i64 = own().map(|line| line.subtotal_minor).sum();
    let used_up = discount.uses_max.is_some_and(|most| facts.uses >= most)
        || discount.uses_per_customer_max.is_some_and(|most| facts.customer_uses >= most);
    let with_others = discount.combines && standing.iter().all(|other| other.combines);
    let checks = [
        (standing.iter().any(|other| folded(&other.code) == code), Reason::Repeated),
        (cart.at < discount.from, Reason::Early),
        (discount.until.is_some_and(|until| until <= cart.at), Reason::Expired),
        (for_others, Reason::Currency),
        (own().next().is_none(), Reason::Products),
        (subtotal_minor < discount.least_subtotal_minor, Reason::Subtotal),
        (used_up, Reason::UsedUp),
        (!(standing.is_empty() || with_others), Reason::Combination),
    ];
    match checks.into_iter().find(|(fails, _)| *fails) {
        Some((_, reason)) => Err(reason),
        None => Ok(discount),
    }
}

impl Discount {
    fn is_for(&self, line: &Discountable) -> bool {
        let sent = self.value != DiscountValue::FreeShipping || line.requires_shipping;
        sent && (self.products.is_empty() || self.products.contains(&line.product))
    }
}

fn take_off(lines: &mut [Discountable], discount: &Discount, code: &str, rounding: Rounding) -> Option<()> {
    let own: Vec<usize> = (0..lines.len())
        .filter(|index| lines.get(*index).is_some_and(|line| discount.is_for(line)))
        .collect();
    let left: Vec<i64> =
        own.iter().filter_map(|index| lines.get(*index)).map(|line| line.left_minor).collect();
    let parts: Vec<i64> = match discount.value {
        DiscountValue::Percentage(rate_ppm) => {
            let rate_ppm = i64::from(rate_ppm).min(PPM);
            left.iter().map(|left| rounding.ratio(*left, rate_ppm, PPM)).collect::<Option<_>>()?
        }
        DiscountValue::Amount(minor) => {
            let all: i64 = left.iter().sum();
            if all == 0 { Vec::new() } else { share(minor.clamp(0, all), &left) }
        }
        DiscountValue::FreeShipping => Vec::new(),
    };
    for (index, part) in own.into_iter().zip(parts).filter(|(_, part)| *part > 0) {
        if let Some(line) = lines.get_mut(index) {
            line.left_minor -= part;
            line.taken.push((code.to_owned(), part));
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CART: CartFacts = CartFacts { currency: *b"EUR", rounding: Rounding::HalfUp, at: Timestamp(1_000) };

    fn lines(of: &[(u64, i64)]) -> Vec<Discountable> {
        let line = |(product, subtotal_minor): &(u64, i64)| Discountable {
            product: *product,
            requires_shipping: *product != 9,
            subtotal_minor: *subtotal_minor,
            left_minor: *subtotal_minor,
            taken: Vec::new(),
        };
        of.iter().map(line).collect()
    }

    fn discount(code: &str, value: DiscountValue) -> Discount {
        Discount {
            code: code.to_owned(),
            value,
            products: Vec::new(),
            least_subtotal_minor: 0,
            currency: None,
            from: Timestamp(0),
            until: None,
            uses_max: None,
            uses_per_customer_max: None,
            combines: true,
        }
    }

    fn amount(code: &str, minor: i64) -> Discount {
        Discount { currency: Some(*b"EUR"), ..discount(code, DiscountValue::Amount(minor)) }
    }

    fn entered<'a>(discounts: &'a [Discount]) -> Vec<CodeFacts<'a>> {
        let facts = |discount: &'a Discount| CodeFacts {
            code: &discount.code,
            discount: Some(discount),
            uses: 3,
            customer_uses: 1,
        };
        discounts.iter().map(facts).collect()
    }

    /// What is left of each line, and why each code does not hold.
    fn outcome(of: &[(u64, i64)], discounts: &[Discount]) -> (Vec<i64>, Vec<String>) {
        let mut lines = lines(of);
        let outcome = apply(&mut lines, &entered(discounts), CART).unwrap();
        let reasons = outcome.codes.into_iter().map(|code| code.reason.unwrap_or_default());
        (lines.iter().map(|line| line.left_minor).collect(), reasons.collect())
    }

    #[test]
    fn every_reason_why_a_code_does_not_hold() {
        let ten = || discount("TEN", DiscountValue::Percentage(100_000));
        let expired = |until| Discount { until: Some(Timestamp(until)), ..ten() };
        let least = |least_subtotal_minor| Discount { least_subtotal_minor, products: vec![1], ..ten() };
        let free = |products| Discount { products, ..discount("FREE", DiscountValue::FreeShipping) };
        let table = [
            ("", ten()),
            ("early", Discount { from: Timestamp(1_001), ..ten() }),
            ("", Discount { from: Timestamp(1_000), ..ten() }),
            ("expired", expired(1_000)),
            ("", expired(1_001)),
            ("currency", Discount { currency: Some(*b"USD"), ..ten() }),
            ("", Discount { currency: Some(*b"EUR"), ..ten() }),
            ("currency", Discount { currency: None, ..amount("A", 1) }),
            ("products", Discount { products: vec![7], ..ten() }),
            ("products", free(vec![9])),
            ("", free(Vec::new())),
            ("subtotal", least(10_01)),
            ("", least(10_00)),
            ("used_up", Discount { uses_max: Some(3), ..ten() }),
            ("", Discount { uses_max: Some(4), ..ten() }),
            ("used_up", Discount { uses_per_customer_max: Some(1), ..ten() }),
            ("", Discount { uses_per_customer_max: Some(2), ..ten() }),
        ];
        for (expected, discount) in table {
            let (left, reasons) = outcome(&[(1, 10_00), (9, 5_00)], std::slice::from_ref(&discount));
            assert_eq!(reasons, [expected], "{discount:?}");
            let takes = expected.is_empty() && discount.value != DiscountValue::FreeShipping;
            assert_eq!(left != [10_00, 5_00], takes, "{discount:?}");
        }
        let unknown = CodeFacts { code: " what ", discount: None, uses: 0, customer_uses: 0 };
        let outcome = apply(&mut lines(&[(1, 1)]), &[unknown], CART).unwrap();
        let expected =
            CodeStanding { code: " what ".to_owned(), applicable: false, reason: Some("unknown".to_owned()) };
        assert_eq!(outcome.codes, [expected]);
    }

    #[test]
    fn codes_are_used_together_if_all_may_be() {
        let ten = discount("TEN", DiscountValue::Percentage(100_000));
        let alone = Discount { combines: false, ..amount("ALONE", 1_00) };
        let gone = Discount { until: Some(Timestamp(1)), combines: false, ..ten.clone() };
        let cart = &[(1, 10_00)];
        let reasons = |discounts: &[Discount]| outcome(cart, discounts).1;
        assert_eq!(reasons(&[ten.clone(), alone.clone()]), ["", "combination"]);
        assert_eq!(reasons(&[alone.clone(), ten.clone()]), ["", "combination"]);
        assert_eq!(reasons(&[gone, ten.clone()]), ["expired", ""]);
        assert_eq!(
            reasons(&[ten.clone(), Discount { code: "ten".to_owned(), ..ten.clone() }]),
            ["", "repeated"]
        );
        // 10 % of 10.00, then 1.00; or 1.00, then 10 % of 9.00.
        let one = amount("ONE", 1_00);
        assert_eq!(outcome(cart, &[ten.clone(), one.clone()]), (vec![8_00], vec![String::new(); 2]));
        assert_eq!(outcome(cart, &[one, ten]), (vec![8_10], vec![String::new(); 2]));
    }

    #[test]
    fn amounts_are_shared_and_never_more_than_there_is() {
        let cart = &[(1, 10_00), (2, 10_00), (3, 10_00)];
        let left = |cart: &[(u64, i64)], discount: Discount| outcome(cart, &[discount]).0;
        assert_eq!(left(cart, amount("A", 1_00)), [9_66, 9_67, 9_67]);
        assert_eq!(left(cart, amount("A", 10_000)), [0, 0, 0]);
        assert_eq!(left(cart, amount("A", -1)), [10_00, 10_00, 10_00]);
        assert_eq!(left(cart, Discount { products: vec![2, 3], ..amount("A", 1_01) }), [10_00, 9_49, 9_50]);
        assert_eq!(left(&[(1, 0), (2, 3)], amount("A", 2)), [0, 1]);
        assert_eq!(left(&[(1, 0)], amount("A", 2)), [0]);
        assert_eq!(left(cart, discount("P", DiscountValue::Percentage(3_000_000))), [0, 0, 0]);
    }
}
