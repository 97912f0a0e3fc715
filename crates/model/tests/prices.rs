//! What carts cost: worked examples, and properties of random carts against exact fractions.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "helpers of tests fail by panicking")]

#[path = "prices/properties.rs"]
mod properties;
#[path = "prices/shop.rs"]
mod shop;

use model::commerce::discount::DiscountValue::{Amount, FreeShipping, Percentage};
use model::commerce::market::{CashAmount, Conversion, FixedPrice, Market};
use model::commerce::money::Rounding;
use model::commerce::order::Totals;
use model::commerce::price::PriceError;
use model::commerce::shipping::ShippingRate;
use model::money::MAX_MINOR;
use shop::{Cart, Line, code, line, market, rate};

/// Subtotal, discounts, shipping, tax and total.
fn sums(totals: &Totals) -> [i64; 5] {
    [
        totals.subtotal_minor,
        totals.discount_minor,
        totals.shipping_minor,
        totals.tax_minor,
        totals.total_minor,
    ]
}

fn germany(lines: Vec<Line>) -> Cart {
    let rates = vec![rate(b"DE", None, "", 190_000, true), rate(b"DE", None, "books", 70_000, false)];
    Cart::new(market(b"EUR", true), rates, lines)
}

fn california(lines: Vec<Line>) -> Cart {
    let rates = vec![rate(b"US", Some("CA"), "", 72_500, false), rate(b"US", Some("CA"), "", 22_500, false)];
    Cart::new(market(b"USD", false), rates, lines).in_region("CA")
}

#[test]
fn carts_come_out_as_reckoned_by_hand() {
    let ten = || code("TEN", Percentage(100_000), b"EUR");
    let five = || code("FIVE", Amount(5_00), b"EUR");
    let free = || code("FREE", FreeShipping, b"EUR");
    let digital = |mut line: Line| {
        line.variant.requires_shipping = false;
        line
    };
    let untaxed = |mut line: Line| {
        line.variant.taxable = false;
        line
    };
    let yen = Conversion {
        ending_minor: 80,
        ending_of_minor: 100,
        ..Conversion::of_rate(163, 1, *b"EUR", *b"JPY").unwrap()
    };
    let japan = Market { conversion: yen, ..market(b"JPY", true) };
    let kuwait = Market { rounding: Rounding::HalfEven, ..market(b"KWD", false) };
    let two = || vec![line(1, 3, 19_99, ""), line(2, 1, 12_50, "books")];
    let fixed = Some(FixedPrice { variant: 101, price_minor: 17_49, compare_at_minor: None });
    let table = [
        ("nothing", germany(Vec::new()).sent_for(3_90), [0; 5]),
        // 59.97 · 19/119 = 9.575, 12.50 · 7/107 = 0.818, 3.90 · 19/119 = 0.623
        ("VAT is in the price", germany(two()).sent_for(3_90), [72_47, 0, 3_90, 11_02, 76_37]),
        // 53.97 left: 8.617; 11.25 left: 0.736
        ("ten per cent", germany(two()).with_codes(&[ten()]), [72_47, 7_25, 0, 9_36, 65_22]),
        // 5.00 is 4.14 and 0.86 of 65.22: 49.83 left, 7.956; 10.39 left, 0.680
        ("and five euros", germany(two()).with_codes(&[ten(), five()]), [7_247, 1_225, 0, 864, 6_022]),
        (
            "sent for free",
            germany(two()).sent_for(3_90).with_codes(&[free()]),
            [72_47, 3_90, 0, 10_40, 72_47],
        ),
        (
            "nothing to send",
            germany(vec![digital(line(1, 1, 11_90, ""))]).sent_for(3_90),
            [11_90, 0, 0, 1_90, 11_90],
        ),
        ("untaxed", germany(vec![untaxed(line(1, 1, 11_90, ""))]), [11_90, 0, 0, 0, 11_90]),
        (
            "a price of its own",
            germany(vec![Line { fixed, ..line(1, 2, 99_00, "") }]),
            [34_98, 0, 0, 5_59, 34_98],
        ),
        // 25.98: 1.884 and 0.585; 0.10: 0.007 and 0.002
        (
            "two taxes on top",
            california(vec![line(1, 2, 12_99, ""), line(2, 1, 10, "")]).sent_for(5_00),
            [26_08, 0, 5_00, 2_47, 33_55],
        ),
        // Three lines of 0.10: 0.01 each, and not 0.02 of 0.30.
        (
            "tax is rounded by line",
            california((1..=3).map(|number| line(number, 1, 10, "")).collect()),
            [30, 0, 0, 3, 33],
        ),
        // 19.99 EUR are 3258.37 yen, up to 3280; 3280 · 10/110 = 298.2
        (
            "yen",
            Cart::new(japan, vec![rate(b"JP", None, "", 100_000, true)], vec![line(1, 1, 19_99, "")]),
            [3_280, 0, 0, 298, 3_280],
        ),
        // 3.702: 0.1851; 0.250: 0.0125, to the even neighbour
        (
            "dinars have three places",
            Cart::new(
                kuwait,
                vec![rate(b"KW", None, "", 50_000, true)],
                vec![line(1, 3, 1_234, ""), line(2, 1, 250, "")],
            ),
            [3_952, 0, 0, 197, 4_149],
        ),
        // 99 % of what 99 % left; 0.0001 of 1.00 rounds to nothing.
        (
            "nearly nothing",
            germany(vec![line(1, 1, 1_00, "")]).with_codes(&[
                code("A", Percentage(990_000), b"EUR"),
                code("B", Percentage(990_000), b"EUR"),
            ]),
            [1_00, 1_00, 0, 0, 0],
        ),
    ];
    for (name, cart, expected) in table {
        assert_eq!(sums(&cart.totals().unwrap()), expected, "{name}");
    }
}

#[test]
fn swiss_carts_are_paid_exactly_by_card_and_to_five_rappen_in_cash() {
    let swiss = Market { cash_step_minor: 5, ..market(b"CHF", true) };
    let rates = vec![rate(b"CH", None, "", 81_000, true)];
    for (price, tax, payable, difference) in [(19_92, 1_49, 19_90, -2), (19_93, 1_49, 19_95, 2)] {
        let totals = Cart::new(swiss.clone(), rates.clone(), vec![line(1, 1, price, "")]).totals().unwrap();
        assert_eq!(sums(&totals), [price, 0, 0, tax, price]);
        let cash = CashAmount { payable_minor: payable, difference_minor: difference };
        assert_eq!(swiss.in_cash(totals.total_minor), Some(cash));
    }
}

#[test]
fn what_cannot_be_shared_evenly_goes_by_line_numbers() {
    let cart = |numbers: [u32; 3]| {
        let lines = numbers.iter().map(|number| line(*number, 1, 10_00, "")).collect();
        germany(lines).with_codes(&[code("CENT", Amount(1), b"EUR")])
    };
    for numbers in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        let totals = cart(numbers).totals().unwrap();
        let reduced: Vec<u32> =
            totals.lines.iter().filter(|line| !line.discounts.is_empty()).map(|line| line.number).collect();
        assert_eq!(reduced, [1], "{numbers:?}");
    }
}

#[test]
fn shipping_is_found_for_the_sum_after_discounts() {
    let ten = code("TEN", Percentage(100_000), b"EUR");
    for (price, codes, shipping) in
        [(55_00, vec![], 0), (55_00, vec![ten.clone()], 3_90), (55_56, vec![ten.clone()], 0)]
    {
        let mut cart = germany(vec![line(1, 1, price, "")]).sent_for(3_90).with_codes(&codes);
        let rates = &mut cart.zones[0].methods[0].rates;
        let free = ShippingRate { least_minor: 50_00, price_minor: 0, ..rates[0] };
        rates.insert(0, free);
        assert_eq!(cart.totals().unwrap().shipping_minor, shipping, "{price} with {} codes", codes.len());
    }
}

#[test]
fn what_is_not_offered_is_not_charged() {
    let mut cart = germany(vec![line(1, 1, 10_00, "")]).sent_for(3_90);
    cart.method = Some("balloon".to_owned());
    let (totals, offered, requires_shipping) =
        cart.quoted(|quote| (quote.totals, quote.offers.len(), quote.requires_shipping)).unwrap();
    assert_eq!((totals.shipping, totals.total_minor, offered, requires_shipping), (None, 10_00, 1, true));
}

#[test]
fn what_cannot_be_is_an_error() {
    let one = |quantity, price| germany(vec![line(1, quantity, price, "")]);
    let many = |count| germany((0..count).map(|number| line(number, 1, 1, "")).collect());
    let broken = Conversion { denominator: 0, ..Conversion::SAME };
    let fixed = Some(FixedPrice { variant: 101, price_minor: -1, compare_at_minor: None });
    let halves = vec![line(1, 1, MAX_MINOR / 2, ""), line(2, 1, MAX_MINOR / 2 + 1, "")];
    let table = [
        (one(1, MAX_MINOR), None),
        (one(2, MAX_MINOR / 2), None),
        (one(2, MAX_MINOR), Some(PriceError::TooMuch)),
        (one(1, i64::MAX), Some(PriceError::TooMuch)),
        (germany(halves), Some(PriceError::TooMuch)),
        (california(vec![line(1, 1, MAX_MINOR, "")]), Some(PriceError::TooMuch)),
        (one(1, MAX_MINOR).sent_for(1), Some(PriceError::TooMuch)),
        (one(1, -1), Some(PriceError::BelowZero(1))),
        (germany(vec![Line { fixed, ..line(1, 1, 1, "") }]), Some(PriceError::BelowZero(1))),
        (one(1_000_001, 1), Some(PriceError::TooMany)),
        (many(500), None),
        (many(501), Some(PriceError::TooMany)),
        (
            Cart::new(
                Market { conversion: broken, ..market(b"EUR", true) },
                Vec::new(),
                vec![line(1, 1, 1, "")],
            ),
            Some(PriceError::TooMuch),
        ),
    ];
    for (index, (cart, expected)) in table.into_iter().enumerate() {
        assert_eq!(cart.totals().err(), expected, "case {index}");
    }
}
