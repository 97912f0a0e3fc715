//! Small shops to price carts in.

use model::commerce::discount::{CodeFacts, Discount, DiscountValue};
use model::commerce::market::{Conversion, FixedPrice, Market};
use model::commerce::money::Rounding;
use model::commerce::order::Totals;
use model::commerce::price::{LineFacts, PriceError, PriceTerms, Quote, quote};
use model::commerce::product::Variant;
use model::commerce::shipping::{ShippingMethod, ShippingRate, ShippingZone};
use model::commerce::tax::TaxRate;
use model::id::Timestamp;

/// A line of a cart, owned.
#[derive(Clone, Debug)]
pub struct Line {
    pub number: u32,
    pub quantity: u32,
    pub product: u64,
    pub tax_class: String,
    pub variant: Variant,
    pub fixed: Option<FixedPrice>,
}

/// A cart and the shop around it, owned.
#[derive(Clone, Debug)]
pub struct Cart {
    pub market: Market,
    pub rates: Vec<TaxRate>,
    pub zones: Vec<ShippingZone>,
    pub discounts: Vec<Discount>,
    pub lines: Vec<Line>,
    pub country: [u8; 2],
    pub region: Option<String>,
    pub method: Option<String>,
}

impl Cart {
    pub fn new(market: Market, rates: Vec<TaxRate>, lines: Vec<Line>) -> Self {
        let country = rates.first().map_or(*b"ZZ", |rate| rate.country);
        let (zones, discounts) = (Vec::new(), Vec::new());
        Self { market, rates, zones, discounts, lines, country, region: None, method: None }
    }

    /// One way of sending, to everywhere, that is chosen.
    pub fn sent_for(mut self, price_minor: i64) -> Self {
        let rate = ShippingRate { least_grams: 0, most_grams: None, least_minor: 0, price_minor };
        let (handle, title) = ("post".to_owned(), "By post".to_owned());
        let method = ShippingMethod { handle, title, currency: self.market.currency, rates: vec![rate] };
        self.zones =
            vec![ShippingZone { handle: "all".to_owned(), countries: Vec::new(), methods: vec![method] }];
        self.method = Some("post".to_owned());
        self
    }

    pub fn with_codes(mut self, discounts: &[Discount]) -> Self {
        self.discounts = discounts.to_vec();
        self
    }

    pub fn in_region(mut self, region: &str) -> Self {
        self.region = Some(region.to_owned());
        self
    }

    pub fn totals(&self) -> Result<Totals, PriceError> {
        self.quoted(|quote| quote.totals)
    }

    pub fn quoted<T>(&self, take: impl FnOnce(Quote<'_>) -> T) -> Result<T, PriceError> {
        let lines: Vec<LineFacts<'_>> = self.lines.iter().map(Line::facts).collect();
        let codes: Vec<CodeFacts<'_>> = self.discounts.iter().map(facts_of).collect();
        let terms = PriceTerms {
            market: &self.market,
            rates: &self.rates,
            zones: &self.zones,
            codes: &codes,
            at: Timestamp(1_000),
            country: self.country,
            region: self.region.as_deref(),
            shipping_method: self.method.as_deref(),
        };
        quote(&lines, &terms).map(take)
    }
}

impl Line {
    fn facts(&self) -> LineFacts<'_> {
        LineFacts {
            number: self.number,
            quantity: self.quantity,
            product: self.product,
            tax_class: &self.tax_class,
            variant: &self.variant,
            fixed: self.fixed,
        }
    }
}

fn facts_of(discount: &Discount) -> CodeFacts<'_> {
    CodeFacts { code: &discount.code, discount: Some(discount), uses: 0, customer_uses: 0 }
}

pub fn market(currency: &[u8; 3], prices_include_tax: bool) -> Market {
    Market {
        handle: "market".to_owned(),
        name: "Market".to_owned(),
        countries: Vec::new(),
        currency: *currency,
        languages: vec!["en".to_owned()],
        prices_include_tax,
        rounding: Rounding::HalfUp,
        cash_step_minor: 1,
        conversion: Conversion::SAME,
    }
}

pub fn rate(
    country: &[u8; 2],
    region: Option<&str>,
    class: &str,
    rate_ppm: u32,
    on_shipping: bool,
) -> TaxRate {
    TaxRate {
        country: *country,
        region: region.map(str::to_owned),
        tax_class: class.to_owned(),
        name: format!("tax of {rate_ppm}"),
        rate_ppm,
        from: Timestamp(0),
        until: None,
        on_shipping,
    }
}

/// A line of a thing that has to be sent, weighs 100 g and is taxed.
pub fn line(number: u32, quantity: u32, price_minor: i64, tax_class: &str) -> Line {
    let variant = Variant {
        number: u64::from(number) + 100,
        selected: vec![0],
        sku: String::new(),
        barcode: String::new(),
        price_minor,
        compare_at_minor: None,
        requires_shipping: true,
        taxable: true,
        weight_grams: 100,
        image: None,
        unit: None,
    };
    let (product, tax_class) = (u64::from(number), tax_class.to_owned());
    Line { number, quantity, product, tax_class, variant, fixed: None }
}

pub fn code(code: &str, value: DiscountValue, currency: &[u8; 3]) -> Discount {
    Discount {
        code: code.to_owned(),
        value,
        products: Vec::new(),
        least_subtotal_minor: 0,
        currency: Some(*currency),
        from: Timestamp(0),
        until: None,
        uses_max: None,
        uses_per_customer_max: None,
        combines: true,
    }
}
