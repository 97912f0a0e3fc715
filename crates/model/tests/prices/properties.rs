//! Random carts, judged by exact fractions.

use super::shop::{Cart, Line, code, line, market, rate};
use model::commerce::discount::{Discount, DiscountValue};
use model::commerce::market::{Conversion, FixedPrice, Market};
use model::commerce::money::{PPM, Rounding};
use model::commerce::order::{LineTotal, TaxLine, Totals};
use model::commerce::tax::TaxRate;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The active currencies of ISO 4217, metals and test codes left out.
const CURRENCIES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN \
    BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP \
    GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR \
    LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP \
    PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY \
    TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG";

/// A fraction of whole numbers; the denominator is above zero.
#[derive(Clone, Copy, Debug)]
struct Exact(i128, i128);

impl Exact {
    /// Whether a whole number is what rounding may give: at most half a unit away, or less than a whole one for parts that
    /// have to sum to something.
    fn rounds_to(self, minor: i64) -> bool {
        (i128::from(minor) * self.1 - self.0).abs() * 2 <= self.1
    }

    fn is_near(self, minor: i64) -> bool {
        (i128::from(minor) * self.1 - self.0).abs() < self.1
    }
}

fn currencies() -> impl Strategy<Value = [u8; 3]> {
    let all: Vec<[u8; 3]> =
        CURRENCIES.split_whitespace().map(|code| code.as_bytes().try_into().unwrap()).collect();
    prop::sample::select(all)
}

fn roundings() -> impl Strategy<Value = Rounding> {
    prop::sample::select(vec![Rounding::HalfUp, Rounding::HalfEven])
}

fn markets() -> impl Strategy<Value = Market> {
    let conversion =
        (1_i64..400, 1_i64..400, prop_oneof![Just((0, 1)), Just((99, 100)), Just((5, 10)), Just((0, 50))]);
    (currencies(), any::<bool>(), roundings(), prop::option::of(conversion)).prop_map(
        |(currency, included, rounding, conversion)| {
            let converted = |(numerator, denominator, (ending_minor, ending_of_minor))| Conversion {
                numerator,
                denominator,
                ending_minor,
                ending_of_minor,
            };
            let conversion = conversion.map_or(Conversion::SAME, converted);
            Market { rounding, conversion, ..market(&currency, included) }
        },
    )
}

fn rates() -> impl Strategy<Value = Vec<TaxRate>> {
    let region = prop::option::of(prop::sample::select(vec!["R1", "R2"]));
    let class = prop::sample::select(vec!["", "", "books"]);
    let one = (region, class, 0_u32..300_000, any::<bool>());
    let of = |(region, class, rate_ppm, on_shipping): (Option<&str>, &str, u32, bool)| {
        rate(b"ZZ", region, class, rate_ppm, on_shipping)
    };
    prop::collection::vec(one.prop_map(of), 0..4)
}

fn discounts(currency: [u8; 3]) -> impl Strategy<Value = Vec<Discount>> {
    let value = prop_oneof![
        4 => (0_u32..1_500_000).prop_map(DiscountValue::Percentage),
        4 => (-10_i64..20_000).prop_map(DiscountValue::Amount),
        1 => Just(DiscountValue::FreeShipping),
    ];
    let one =
        (0_u8..6, value, prop::collection::vec(1_u64..7, 0..3), 0_i64..3_000, any::<bool>(), any::<bool>());
    let of = move |(name, value, products, least, combines, bound): (u8, _, _, i64, bool, bool)| Discount {
        products,
        least_subtotal_minor: if bound { least } else { 0 },
        combines: combines || bound,
        ..code(&format!("CODE{name}"), value, &currency)
    };
    prop::collection::vec(one.prop_map(of), 0..4)
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let class = prop::sample::select(vec!["", "books", "toys"]);
    let fixed = prop::option::weighted(0.2, 0_i64..100_000);
    // Some of the same price, so that there is something to share that does not divide.
    let price = prop_oneof![0_i64..200, 0_i64..1_000_000, Just(0), Just(10_00), Just(10_00)];
    let quantity = prop_oneof![0_u32..20, Just(1), Just(1)];
    let one = (price, quantity, class, 1_u64..7, fixed, any::<bool>(), any::<bool>());
    prop::collection::vec(one, 0..12).prop_map(|lines| {
        let of = |(index, (price, quantity, class, product, fixed, sent, taxable)): (
            usize,
            (_, _, &str, _, Option<i64>, _, _),
        )| {
            let mut line = line(index as u32 + 1, quantity, price, class);
            line.product = product;
            line.variant.requires_shipping = sent;
            line.variant.taxable = taxable;
            let own = |price_minor| FixedPrice {
                variant: line.variant.number,
                price_minor,
                compare_at_minor: None,
            };
            line.fixed = fixed.map(own);
            line
        };
        lines.into_iter().enumerate().map(of).collect()
    })
}

fn carts() -> impl Strategy<Value = Cart> {
    let region = prop::sample::select(vec!["R1", "R2", "R3"]);
    (markets(), rates(), lines(), prop::option::of(0_i64..2_000), region)
        .prop_flat_map(|(market, rates, lines, shipping, region)| {
            let discounts = discounts(market.currency);
            (Just((market, rates, lines, shipping, region)), discounts)
        })
        .prop_map(|((market, rates, lines, shipping, region), discounts)| {
            let mut cart = Cart::new(market, rates, lines).with_codes(&discounts).in_region(region);
            cart.country = *b"ZZ";
            match shipping {
                Some(price_minor) => cart.sent_for(price_minor),
                None => cart,
            }
        })
}

fn tax_of(taxes: &[TaxLine]) -> i64 {
    taxes.iter().map(|tax| tax.amount_minor).sum()
}

fn off(line: &LineTotal) -> i64 {
    line.discounts.iter().map(|(_, minor)| minor).sum()
}

/// Every total is the sum of its parts, and nothing is below zero.
fn add_up(totals: &Totals) {
    let on_top = |taxes: &[TaxLine]| if totals.prices_include_tax { 0 } else { tax_of(taxes) };
    for line in &totals.lines {
        assert_eq!(line.subtotal_minor, line.unit_price_minor * i64::from(line.quantity));
        assert_eq!(line.total_minor, line.subtotal_minor - off(line) + on_top(&line.taxes));
        assert!(line.unit_price_minor >= 0 && line.subtotal_minor >= off(line) && line.total_minor >= 0);
        assert!(line.discounts.iter().all(|(_, minor)| *minor > 0));
        assert!(
            line.taxes.iter().all(|tax| tax.amount_minor >= 0) && tax_of(&line.taxes) <= line.total_minor
        );
    }
    let lines = |part: fn(&LineTotal) -> i64| totals.lines.iter().map(part).sum::<i64>();
    assert_eq!(totals.subtotal_minor, lines(|line| line.subtotal_minor));
    let mut discount = lines(off);
    let mut tax = lines(|line| tax_of(&line.taxes));
    let mut total = lines(|line| line.total_minor);
    if let Some(shipping) = &totals.shipping {
        let left = shipping.price_minor - shipping.discount_minor;
        assert!(left >= 0 && left == totals.shipping_minor);
        assert_eq!(shipping.total_minor, left + on_top(&shipping.taxes));
        discount += shipping.discount_minor;
        tax += tax_of(&shipping.taxes);
        total += shipping.total_minor;
    } else {
        assert_eq!(totals.shipping_minor, 0);
    }
    assert_eq!((totals.discount_minor, totals.tax_minor, totals.total_minor), (discount, tax, total));
    let in_order = totals.subtotal_minor - totals.discount_minor
        + totals.shipping.as_ref().map_or(0, |shipping| shipping.price_minor)
        + if totals.prices_include_tax { 0 } else { totals.tax_minor };
    assert_eq!(totals.total_minor, in_order);
}

/// Unit prices are what the exact conversion gives, moved up by less than one step of endings.
fn prices_are_converted(cart: &Cart, totals: &Totals) {
    let Conversion { numerator, denominator, ending_minor, ending_of_minor } = cart.market.conversion;
    for (line, total) in cart.lines.iter().zip(&totals.lines) {
        if let Some(fixed) = line.fixed {
            assert_eq!(total.unit_price_minor, fixed.price_minor);
            continue;
        }
        let exact =
            Exact(i128::from(line.variant.price_minor) * i128::from(numerator), i128::from(denominator));
        let price = total.unit_price_minor;
        let rounded = (price - ending_of_minor + 1..=price).rev().find(|minor| exact.rounds_to(*minor));
        assert!(rounded.is_some(), "{price} for {exact:?}");
        assert!(price == 0 || price.rem_euclid(ending_of_minor) == ending_minor, "{price}");
    }
}

/// What each code takes off is its exact part, line by line, and an amount is taken off to the last unit.
fn codes_take_their_part(cart: &Cart, totals: &Totals) {
    let mut left: BTreeMap<u32, i64> =
        totals.lines.iter().map(|line| (line.number, line.subtotal_minor)).collect();
    let mut seen: Vec<&str> = Vec::new();
    for (discount, standing) in cart.discounts.iter().zip(&totals.codes) {
        assert_eq!((standing.code == discount.code, standing.applicable), (true, standing.reason.is_none()));
        if !standing.applicable {
            continue;
        }
        assert!(!seen.contains(&discount.code.as_str()), "a code counts once");
        seen.push(&discount.code);
        let is_for = |line: &&Line| discount.products.is_empty() || discount.products.contains(&line.product);
        let own: Vec<u32> = cart.lines.iter().filter(is_for).map(|line| line.number).collect();
        let all: i64 = own.iter().map(|number| left[number]).sum();
        let mut taken = 0;
        for total in &totals.lines {
            let part = total.discounts.iter().find(|(code, _)| *code == discount.code);
            let part = part.map_or(0, |(_, minor)| *minor);
            taken += part;
            let weight = i128::from(left[&total.number]);
            let fits = match discount.value {
                _ if !own.contains(&total.number) => part == 0,
                DiscountValue::Percentage(ppm) => {
                    Exact(weight * i128::from(ppm.min(1_000_000)), i128::from(PPM)).rounds_to(part)
                }
                DiscountValue::Amount(minor) => {
                    Exact(weight * i128::from(minor.clamp(0, all)), i128::from(all.max(1))).is_near(part)
                }
                DiscountValue::FreeShipping => part == 0,
            };
            assert!(fits, "{part} of {weight} for {discount:?}");
            *left.get_mut(&total.number).unwrap() -= part;
        }
        if let DiscountValue::Amount(minor) = discount.value {
            assert_eq!(taken, minor.clamp(0, all));
        }
    }
    let names = |line: &LineTotal| line.discounts.iter().all(|(code, _)| seen.contains(&code.as_str()));
    assert!(totals.lines.iter().all(names), "only codes that hold take something off");
}

/// Each line of tax is within half a unit of the exact tax on what is left of its line.
fn taxes_are_exact(cart: &Cart, totals: &Totals) {
    for (line, total) in cart.lines.iter().zip(&totals.lines) {
        assert!(line.variant.taxable || total.taxes.is_empty());
        let left = total.subtotal_minor - off(total);
        each_tax_is_exact(left, &total.taxes, totals.prices_include_tax);
        let of_region = |region: Option<&str>| {
            let here: Vec<&TaxRate> =
                cart.rates.iter().filter(|rate| rate.region.as_deref() == region).collect();
            let known = here.iter().any(|rate| rate.tax_class == line.tax_class);
            let class = if known { line.tax_class.as_str() } else { "" };
            let own = here.into_iter().filter(|rate| rate.tax_class == class);
            own.map(|rate| rate.rate_ppm).collect::<Vec<_>>()
        };
        if line.variant.taxable {
            let expected = [of_region(None), of_region(cart.region.as_deref())].concat();
            assert_eq!(total.taxes.iter().map(|tax| tax.rate_ppm).collect::<Vec<_>>(), expected);
        }
    }
    if let Some(shipping) = &totals.shipping {
        let left = shipping.price_minor - shipping.discount_minor;
        each_tax_is_exact(left, &shipping.taxes, totals.prices_include_tax);
    }
}

fn each_tax_is_exact(left: i64, taxes: &[TaxLine], included: bool) {
    let all: i128 = taxes.iter().map(|tax| i128::from(tax.rate_ppm)).sum();
    for tax in taxes {
        let denominator = i128::from(PPM) + if included { all } else { 0 };
        let exact = Exact(i128::from(left) * i128::from(tax.rate_ppm), denominator);
        assert!(exact.rounds_to(tax.amount_minor), "{tax:?} on {left}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_carts_add_up_and_are_exact(cart in carts()) {
        let totals = cart.totals().unwrap();
        add_up(&totals);
        prices_are_converted(&cart, &totals);
        codes_take_their_part(&cart, &totals);
        taxes_are_exact(&cart, &totals);
    }

    #[test]
    fn the_order_of_lines_changes_no_line_and_no_total(cart in carts(), seed: u64) {
        let totals = cart.totals().unwrap();
        let mut shuffled = cart;
        shuffled.lines.sort_by_key(|line| (u64::from(line.number) ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut other = shuffled.totals().unwrap();
        other.lines.sort_by_key(|line| line.number);
        prop_assert_eq!(other, totals);
    }

    #[test]
    fn tax_included_and_tax_on_top_are_a_unit_apart(
        gross in prop_oneof![0_i64..1_000, 0_i64..1_000_000_000], rates in rates(), currency in currencies(),
        rounding in roundings(),
    ) {
        let cart = |included, minor| {
            let market = Market { rounding, ..market(&currency, included) };
            let mut cart = Cart::new(market, rates.clone(), vec![line(1, 1, minor, "")]).in_region("R1");
            cart.country = *b"ZZ";
            cart.totals().unwrap().lines.remove(0)
        };
        let included = cart(true, gross);
        let net = gross - tax_of(&included.taxes);
        prop_assert!(net >= 0);
        let on_top = cart(false, net);
        prop_assert_eq!(included.taxes.len(), on_top.taxes.len());
        for (one, other) in included.taxes.iter().zip(&on_top.taxes) {
            prop_assert!((one.amount_minor - other.amount_minor).abs() <= 1, "{one:?} and {other:?} of {gross}");
        }
        if included.taxes.len() <= 1 {
            prop_assert!((on_top.total_minor - gross).abs() <= 1);
        }
    }

    #[test]
    fn a_rate_as_it_is_spoken_converts_every_pair_of_currencies(
        from in currencies(), to in currencies(), numerator in 1_i64..1_000_000, denominator in 1_i64..1_000_000,
        minor in 0_i64..1_000_000_000, rounding in roundings(),
    ) {
        let scale = |currency| 10_i128.pow(u32::from(model::money::exponent(currency)));
        let conversion = Conversion::of_rate(numerator, denominator, from, to).unwrap();
        let exact = Exact(
            i128::from(minor) * i128::from(numerator) * scale(to),
            i128::from(denominator) * scale(from),
        );
        match conversion.convert(minor, rounding) {
            Some(converted) => prop_assert!(exact.rounds_to(converted)),
            None => prop_assert!(exact.0 > i128::from(model::money::MAX_MINOR) * exact.1),
        }
    }

    #[test]
    fn no_figures_whatever_make_it_wrap_or_panic(
        cart in carts(), prices in prop::collection::vec(any::<i64>(), 1..12), quantity: u32, rate_ppm: u32,
        shipping: i64, amount: i64, numerator: i64, denominator: i64, ending_minor: i64, ending_of_minor: i64,
    ) {
        let mut cart = cart.sent_for(shipping);
        cart.market.conversion = Conversion { numerator, denominator, ending_minor, ending_of_minor };
        cart.rates.push(rate(b"ZZ", None, "", rate_ppm, true));
        for ((line, price), at) in cart.lines.iter_mut().zip(prices).zip(0..) {
            line.variant.price_minor = price;
            line.variant.weight_grams = u32::MAX;
            line.quantity = if at == 0 { quantity } else { line.quantity };
            line.fixed = (at % 2 == 0).then_some(FixedPrice { variant: 1, price_minor: price >> (at * 5), compare_at_minor: None });
        }
        for discount in &mut cart.discounts {
            discount.value = DiscountValue::Amount(amount);
        }
        if let Ok(totals) = cart.totals() {
            prop_assert!((0..=model::money::MAX_MINOR).contains(&totals.total_minor));
        }
    }
}
