//! Settings, markets, taxes, shipping, codes, prices and places: what operators set.

use crate::catalogue::take_number;
use crate::check;
use crate::command::{Operation, Reply};
use crate::machine::Step;
use crate::refusal::Refusal;
use crate::settings::{Location, MenuLink, ShopSettings};
use crate::state::Row;
use crate::terms::{FixedRow, Part, discount_key, fixed_key};
use crate::view::Change;
use model::commerce::Kind;
use model::commerce::discount::{Discount, DiscountValue, folded};
use model::commerce::market::{FixedPrice, Market};
use model::commerce::money::PPM;
use model::commerce::shipping::ShippingZone;
use model::commerce::tax::TaxRate;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The most markets.
const MARKETS_MAX: usize = 250;
/// The most rates of tax.
const RATES_MAX: usize = 50_000;
/// The most zones, and ways and rates of one.
const ZONES_MAX: usize = 250;
/// The most prices in one command.
const PRICES_MAX: usize = 10_000;
/// The most places.
const LOCATIONS_MAX: usize = 1_000;
/// The longest time that units may be kept for a checkout: a day.
const RESERVATION_MS_MAX: u64 = 24 * 3_600 * 1_000;
/// The most links of a menu, over all its levels.
const LINKS_MAX: usize = 1_000;
/// The deepest menu.
const LINKS_DEPTH_MAX: usize = 3;

impl Step<'_> {
    pub(crate) fn operate_terms(&mut self, operation: Operation) -> Result<Reply, Refusal> {
        match operation {
            Operation::PutSettings(settings) => {
                check_settings(&settings)?;
                self.put_part(Part::Settings(Arc::new(settings)));
            }
            Operation::PutMarkets(markets) => {
                check_markets(&markets)?;
                self.put_part(Part::Markets(Arc::new(markets)));
            }
            Operation::PutTaxRates(rates) => {
                check::count("rates", rates.len(), RATES_MAX)?;
                rates.iter().try_for_each(check_rate)?;
                self.put_part(Part::TaxRates(Arc::new(rates)));
            }
            Operation::PutShippingZones(zones) => {
                check_zones(&zones)?;
                self.put_part(Part::ShippingZones(Arc::new(zones)));
            }
            Operation::PutDiscount(discount) => {
                check_discount(&discount)?;
                self.state.discounts.insert(discount_key(&discount.code), Row(discount.clone()));
                self.show(Change::Discount(discount));
            }
            Operation::DeleteDiscount(code) => {
                let key = discount_key(&code);
                self.state.discounts.get(key).ok_or_else(|| Refusal::unknown("discount", "code"))?;
                self.state.discounts.remove(key);
                self.show(Change::DiscountGone(folded(&code)));
            }
            Operation::PutFixedPrices { market, prices, removed } => {
                self.put_prices(market, prices, &removed)?
            }
            Operation::PutLocation(location) => return self.put_location(location),
            _ => return Err(Refusal::Malformed),
        }
        Ok(Reply::Done)
    }

    fn put_part(&mut self, part: Part) {
        self.state.put_terms(part.clone());
        self.show(Change::Terms(part));
    }

    fn put_prices(
        &mut self,
        market: String,
        prices: Vec<FixedPrice>,
        removed: &[u64],
    ) -> Result<(), Refusal> {
        check::count("prices", prices.len().saturating_add(removed.len()), PRICES_MAX)?;
        let terms = self.state.terms();
        if !terms.markets.iter().any(|one| one.handle == market) {
            return Err(Refusal::unknown("market", "market"));
        }
        for price in &prices {
            self.state
                .stock_row(price.variant)
                .ok_or_else(|| Refusal::unknown("variant", "prices.variant"))?;
            check::price("prices.price_minor", price.price_minor)?;
            check::price("prices.compare_at_minor", price.compare_at_minor.unwrap_or_default())?;
        }
        for variant in removed {
            self.state.fixed.remove(fixed_key(&market, *variant));
            self.show(Change::FixedGone(market.clone(), *variant));
        }
        for price in prices {
            let row = FixedRow { market: market.clone(), price };
            self.state.fixed.insert(fixed_key(&market, price.variant), Row(row.clone()));
            self.show(Change::Fixed(row));
        }
        Ok(())
    }

    fn put_location(&mut self, mut location: Location) -> Result<Reply, Refusal> {
        check::number("number", location.number)?;
        check::filled("name", &location.name)?;
        let mut counters = self.state.counters();
        let is_new =
            location.number == 0 || self.state.locations.get(Kind::Location.key(location.number)).is_none();
        if is_new {
            counters.locations += 1;
            check::count("locations", counters.locations as usize, LOCATIONS_MAX)?;
        }
        take_number(&mut counters.location, &mut location.number);
        self.state.set_counters(counters);
        let number = location.number;
        self.state.locations.insert(Kind::Location.key(number), Row(location.clone()));
        self.show(Change::Location(location));
        Ok(Reply::Number(number))
    }
}

fn check_settings(settings: &ShopSettings) -> Result<(), Refusal> {
    check::filled("name", &settings.name)?;
    check::text("description", &settings.description, check::NOTE_BYTES_MAX)?;
    check::name("primary_domain", &settings.primary_domain)?;
    if !settings.email.is_empty() {
        check::email("email", &settings.email)?;
    }
    check::currency("currency", settings.currency)?;
    check::country("country", settings.country)?;
    check::filled("language", &settings.language)?;
    if !(1..=RESERVATION_MS_MAX).contains(&settings.reservation_ms) {
        return Err(Refusal::invalid("reservation_ms", format!("must be from 1 to {RESERVATION_MS_MAX}")));
    }
    check::number("first_order", settings.first_order)?;
    check::count("providers", settings.providers.len(), 20)?;
    settings.providers.iter().try_for_each(|provider| check::filled("providers", provider))?;
    check::count("policies", settings.policies.len(), 50)?;
    for policy in &settings.policies {
        check::handle("policies.handle", &policy.handle)?;
        check::filled("policies.title", &policy.title)?;
        check::text("policies.body_html", &policy.body_html, 512 << 10)?;
    }
    check::count("menus", settings.menus.len(), 50)?;
    for menu in &settings.menus {
        check::handle("menus.handle", &menu.handle)?;
        check::filled("menus.title", &menu.title)?;
        check::count("menu links", check_links(&menu.links, LINKS_DEPTH_MAX)?, LINKS_MAX)?;
    }
    Ok(())
}

/// How many links there are.
fn check_links(links: &[MenuLink], depth_left: usize) -> Result<usize, Refusal> {
    if depth_left == 0 && !links.is_empty() {
        return Err(Refusal::invalid("menus.links", format!("is deeper than {LINKS_DEPTH_MAX} levels")));
    }
    let mut count = links.len();
    for link in links {
        check::filled("menus.links.title", &link.title)?;
        check::text("menus.links.url", &link.url, 2_048)?;
        count += check_links(&link.links, depth_left.saturating_sub(1))?;
    }
    Ok(count)
}

fn check_markets(markets: &[Market]) -> Result<(), Refusal> {
    check::count("markets", markets.len(), MARKETS_MAX)?;
    let mut handles = BTreeSet::new();
    for market in markets {
        check::handle("markets.handle", &market.handle)?;
        check::filled("markets.name", &market.name)?;
        check::currency("markets.currency", market.currency)?;
        market.countries.iter().try_for_each(|country| check::country("markets.countries", *country))?;
        check::count("languages", market.languages.len(), 50)?;
        market.languages.iter().try_for_each(|language| check::filled("markets.languages", language))?;
        let conversion = market.conversion;
        if conversion.numerator <= 0 || conversion.denominator <= 0 || market.cash_step_minor < 0 {
            return Err(Refusal::invalid("markets.conversion", "must be above zero"));
        }
        if !handles.insert(&market.handle) {
            return Err(Refusal::Taken { what: "market".to_owned(), field: "markets.handle".to_owned() });
        }
    }
    Ok(())
}

fn check_rate(rate: &TaxRate) -> Result<(), Refusal> {
    check::country("rates.country", rate.country)?;
    check::name("rates.region", rate.region.as_deref().unwrap_or_default())?;
    check::name("rates.tax_class", &rate.tax_class)?;
    check::filled("rates.name", &rate.name)?;
    if i64::from(rate.rate_ppm) > PPM {
        return Err(Refusal::invalid("rates.rate_ppm", format!("is beyond {PPM}, the whole")));
    }
    Ok(())
}

fn check_zones(zones: &[ShippingZone]) -> Result<(), Refusal> {
    check::count("zones", zones.len(), ZONES_MAX)?;
    let mut handles = BTreeSet::new();
    for zone in zones {
        check::handle("zones.handle", &zone.handle)?;
        zone.countries.iter().try_for_each(|country| check::country("zones.countries", *country))?;
        check::count("methods", zone.methods.len(), ZONES_MAX)?;
        for method in &zone.methods {
            check::handle("zones.methods.handle", &method.handle)?;
            check::filled("zones.methods.title", &method.title)?;
            check::currency("zones.methods.currency", method.currency)?;
            check::count("rates", method.rates.len(), ZONES_MAX)?;
            for rate in &method.rates {
                check::price("zones.methods.rates.price_minor", rate.price_minor)?;
            }
        }
        if !handles.insert(&zone.handle) {
            return Err(Refusal::Taken { what: "zone".to_owned(), field: "zones.handle".to_owned() });
        }
    }
    Ok(())
}

fn check_discount(discount: &Discount) -> Result<(), Refusal> {
    check::filled("code", &discount.code)?;
    check::count("products", discount.products.len(), PRICES_MAX)?;
    check::price("least_subtotal_minor", discount.least_subtotal_minor)?;
    if let Some(currency) = discount.currency {
        check::currency("currency", currency)?;
    }
    match discount.value {
        DiscountValue::Percentage(ppm) if i64::from(ppm) > PPM => {
            Err(Refusal::invalid("value", format!("is beyond {PPM}, the whole")))
        }
        DiscountValue::Amount(minor) => {
            check::price("value", minor)?;
            match discount.currency {
                Some(_) => Ok(()),
                None => Err(Refusal::invalid("currency", "is needed for an amount")),
            }
        }
        DiscountValue::Percentage(_) | DiscountValue::FreeShipping => Ok(()),
    }
}
